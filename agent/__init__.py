"""Composition only: wires streams, policies and bodies into a session, and is the command line."""
