"""The Realtime protocol of OpenAI, spoken to a session of this agent: `docs/realtime.md` lists what is supported.

    client ─> wire ─> dialogue ─> orders ─> microphone, body, gate      the session
                         │  ▲
    client <── events <──┘  └── packets <────────────────── watcher

`dialogue` (with `hearing`, `answering`, `items`, `settings`) is the core: synchronous, no I/O, no clock. `connection`
is the rim around it, and `app` the door: `app.route` makes the route for any Starlette application.

Such a session cannot be replayed. Elsewhere a tap only looks, and all that decides is a packet; here the client decides
beside them: `judging`, behind the tap `Watcher`, sets the waits of the turn-taker (and `connection` does, for
`session.update`), and `watching.Gate`, put before the conductor's policy, lets a reply begin when a client event says
so. None of this is on the bus. To replay it, these three would have to be percepts (the client's turn detection, the
end of what it committed, the release of a turn), published by `ClientMicrophone` as text and the wish to stop are,
and taken in by the conductor itself. Until then no recorder is put into these sessions.
"""
