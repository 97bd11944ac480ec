"""What a broker's reason code means to a user: to try again or not, and what to do. Codes of MQTT 5, section 2.4.

Codes of 3.1.1 are turned into these by paho. Pure.
"""

from embodied.link.port import LinkBroken, LinkDenied, LinkError, LinkRefused

_AGAIN = {
    0x80: "for no reason that it gave", 0x81: "it could not read what was sent",
    0x82: "it could not read what was sent",
    0x83: "for a reason of its own", 0x88: "it is not available", 0x89: "it is busy", 0x8B: "it is shutting down",
    0x8D: "it heard nothing for too long", 0x93: "too much was sent at once", 0x95: "a message was too large for it",
    0x96: "messages came too fast for it", 0x97: "a quota is used up", 0x98: "its owner closed the connection",
    0x9F: "there were too many connections in a short time", 0xA0: "the connection stood for as long as it allows",
}  # fmt: skip
_NEVER = {
    0x84: "it does not speak this version of MQTT: set protocol to auto or 3.1.1",
    0x85: "it does not take this client id: a broker may bind it to the user, or to a certificate",
    0x86: "user name or password are wrong: check the user in the address, and the variable VISAVIS_MQTT_PASSWORD",
    0x87: "user name or password are wrong, or this client may not connect: check the user in the address, the "
    "variable VISAVIS_MQTT_PASSWORD, and the broker's access list",
    0x8A: "this client is banned: ask the broker's owner",
    0x8C: "it wants another way to log in, which is not spoken here",
    0x8E: "another client with the same id took over: give each its own id",
    0x8F: "it does not take one of the subscriptions",
    0x90: "it does not take a topic",
    0x9A: "it keeps no messages (retain), which the contract needs: use another broker",
    0x9B: "it does not know QoS 1, which the contract needs: use another broker",
    0x9C: "another server is to be used: ask its owner which",
    0x9D: "it has moved: ask its owner where to",
    0xA2: "it does not take wildcards, which the contract needs: use another broker",
}  # fmt: skip


def refusal(where: str, code: int) -> LinkError:
    """Why the broker at `where` did not take, or ended, a connection with reason `code`."""
    if code in _NEVER:
        return LinkRefused(f"the broker {where} refused: {_NEVER[code]} (MQTT reason 0x{code:02X})")
    return LinkBroken(
        f"the broker {where} ended the connection: {_AGAIN.get(code, _AGAIN[0x80])} (MQTT reason 0x{code:02X})"
    )


def denied(where: str, what: str, code: int) -> LinkDenied:
    """The broker did not take a subscription or a message, `what`."""
    return LinkDenied(
        f"the broker {where} does not let this client {what}: "
        f"check its access list for this user (MQTT reason 0x{code:02X})"
    )
