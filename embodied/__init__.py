"""Carrying actions out, and reporting what really happened. Knows nothing of policies."""
