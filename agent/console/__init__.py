"""The console: an agent in a browser. One HTTP server with a page, a WebSocket, and the recordings.

`agent.console.host` runs it; nothing here is imported before it is asked for. Needs the extra `web`.
"""
