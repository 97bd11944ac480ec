"""Recordings as datasets that LeRobot reads. Docs: docs/lerobot.md."""
