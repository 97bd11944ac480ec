"""The wire between an agent and a robot: a small port to a broker, MQTT behind it, and what keeps it connected.

port.py      what a transport is: dial, publish, subscribe, receive
mqtt.py      the port on MQTT (session.py: on aiomqtt; sockets.py, reasons.py: why it does not work, in sentences)
memory.py    a broker inside the process, for tests and virtual time
link.py      connected again and again; outbox.py: loses nothing that it promised, and keeps only what is newest
address.py   mqtt://...;  acl.py: who may publish what, for mosquitto
broker.py    a broker of our own: mosquitto, or embedded.py: amqtt in an environment of its own
ping.py      a self-test of the way to the broker;  offset.py: the robot's clock as we see it, to be shown only
"""
