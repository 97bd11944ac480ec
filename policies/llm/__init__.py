"""The policy of a language model: what it is asked, and what becomes of its answers."""
