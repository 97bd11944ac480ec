"""The agent's side of a robot somewhere else: found, watched, asked, steered and stopped over a link."""
