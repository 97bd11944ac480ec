"""Connected sockets: found, connected, encrypted, each step with a bound, and each failure in one sentence.

aiomqtt would do this in a thread that cannot be cancelled, and tells DNS, TCP and TLS apart by texts of the system.
"""

import asyncio
import socket
import ssl

from embodied.link.address import Address
from embodied.link.port import LinkBroken, LinkRefused

TRY_S = 5.0
"""For name, connection and encryption together."""


async def connect(address: Address) -> socket.socket:
    """A connected socket to the broker, not blocking, without Nagle's delay. Raises `LinkBroken`, `LinkRefused`.

    Cancelled, it closes what it opened.
    """
    context = trust(address) if address.tls else None
    try:
        async with asyncio.timeout(TRY_S):
            plain = await _plain(address)
            return plain if context is None else await _encrypted(plain, context, address)
    except TimeoutError:
        raise LinkBroken(
            f"{address} did not answer within {TRY_S:.0f} s: is the host right, and is it reachable?"
        ) from None


def trust(address: Address) -> ssl.SSLContext:
    """Whom to believe, and who we are. Raises `LinkRefused` for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise LinkRefused(f"the certificates in {address.ca!r} (ca) cannot be read: {_plainly(error)}") from None
    if address.cert:
        try:
            # Without a password OpenSSL asks for one on the terminal, and everything stands until somebody types.
            context.load_cert_chain(address.cert, address.key or None, password="")
        except (OSError, ssl.SSLError) as error:
            files = f"{address.cert!r} (cert)" + (f" with {address.key!r} (key)" if address.key else "")
            raise LinkRefused(
                f"the own certificate {files} cannot be used: {_plainly(error)} (a key must not have a pass phrase)"
            ) from None
    return context


async def _plain(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise LinkBroken(f"no host is called {address.host!r}: check the name, and the network") from None
    trouble: OSError | None = None
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            trouble = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if isinstance(trouble, ConnectionRefusedError):
        raise LinkBroken(f"nothing listens at {address}: is the broker running, and is the port right?")
    raise LinkBroken(f"{address} cannot be reached: {_plainly(trouble)}")


async def _encrypted(plain: socket.socket, context: ssl.SSLContext, address: Address) -> socket.socket:
    try:
        sock = context.wrap_socket(plain, server_hostname=address.host, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        plain.close()
        raise LinkBroken(f"{address} went away while encryption was set up: {_plainly(error)}") from None
    try:
        while True:
            try:
                sock.do_handshake()
                return sock
            except ssl.SSLWantReadError:
                await _ready(sock, reading=True)
            except ssl.SSLWantWriteError:
                await _ready(sock, reading=False)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise LinkRefused(
            f"the certificate of {address} is not trusted ({error.verify_message.rstrip('.')}): "
            "give the file of its authority (ca), and the name that is in the certificate"
        ) from None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        sock.close()
        raise LinkBroken(
            f"{address} ended the connection while encryption was set up: "
            "if this port is not encrypted, write mqtt:// instead of mqtts://"
        ) from None
    except ssl.SSLError as error:
        sock.close()
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
            said = f"{address} does not speak TLS: is the port right, or is mqtt:// meant?"
        else:
            said = f"{address} and we cannot agree on encryption: {_plainly(error)}"
        raise LinkRefused(said) from None
    except OSError as error:
        sock.close()
        raise LinkBroken(f"{address} went away while encryption was set up: {_plainly(error)}") from None
    except BaseException:
        sock.close()
        raise


async def _ready(sock: socket.socket, *, reading: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    add(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(sock.fileno())


def _plainly(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
