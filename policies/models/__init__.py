"""Models that answer an `Ask`: each is an actuator, for a question takes time, may fail and can be cut.

They are the only part of the policies that opens a connection. What they answer comes back as packets.
"""
