"""What to do: turn-taking and policies. Percepts in, actions out; no devices, no sockets but a model server's."""
