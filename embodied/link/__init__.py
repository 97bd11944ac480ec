"""The wire between an agent and a robot: a small port to a broker, MQTT behind it, and what keeps it connected.

port.py      what a transport is: dial, publish, subscribe, receive
mqtt.py      the port on aiomqtt;  memory.py: a broker inside the process, for tests and virtual time
link.py      connected again and again; an outbox that loses nothing it promised, and keeps only what is newest
"""
