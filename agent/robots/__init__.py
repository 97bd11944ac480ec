"""Robots of the command line: the robot's own program, the agent that attaches to one, and what tests either."""
