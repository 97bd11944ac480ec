"""What recordings tell about the agent's own choices: data on its answers, and a better wait for its turns."""
