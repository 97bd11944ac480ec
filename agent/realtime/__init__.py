"""The Realtime protocol of OpenAI, spoken to a session of this agent: `docs/realtime.md` lists what is supported.

    wire.py ──> dialogue.py ──> orders          a synchronous core: client events and packets in, server events out
    packets ──>  (hearing, answering)
    connection.py                               the rim: one WebSocket, one session, bounded queues
    app.py                                      the route, who may come in, and how many

`app.route` makes the route for any Starlette application; nothing else is needed from outside.
"""
