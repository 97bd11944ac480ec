"""Robots that speak something else, behind our guards."""
