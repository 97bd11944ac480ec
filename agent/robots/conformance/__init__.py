"""Whether a robot keeps the contract: each promise tried, on purpose and for real."""
