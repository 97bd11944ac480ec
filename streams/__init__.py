"""Devices, time and models: how the world becomes packets, and packets become percepts.

Knows nothing of conversation, policies or robots.
"""
