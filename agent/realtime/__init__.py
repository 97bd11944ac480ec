"""The Realtime protocol of OpenAI, spoken to a session of this agent: `docs/realtime.md` lists what is supported.

    client ─> wire ─> dialogue ─> orders ─> microphone, body, gate      the session
                         │  ▲
    client <── events <──┘  └── packets <────────────────── watcher

`dialogue` (with `hearing`, `answering`, `items`, `settings`) is the core: synchronous, no I/O, no clock. `connection`
is the rim around it, and `app` the door: `app.route` makes the route for any Starlette application.
"""
