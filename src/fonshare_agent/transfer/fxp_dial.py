"""Opens the TCP connection to a third party's FTP server, one address after another."""

import socket
from typing import Final

from fonshare_agent.errors import FxpUnreachable

CONNECT_S: Final = 20.0  # for each address


def dial(
    host: str, port: int, family: socket.AddressFamily | None, name: str
) -> socket.socket:
    """Return a connection; addresses of *family* come first. FxpUnreachable if none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label is empty or long
        raise FxpUnreachable(f"its name is not known: {error}", thing=name) from None
    complaint = "it has no address"
    for kind, _, _, _, address in sorted(found, key=lambda one: one[0] != family):
        connected = socket.socket(kind, socket.SOCK_STREAM)
        connected.settimeout(CONNECT_S)
        try:
            connected.connect(address)
        except OSError as error:
            connected.close()
            complaint = error.strerror or "no answer in time"
            continue
        # A line that has died while data moves elsewhere must be noticed.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    raise FxpUnreachable(f"cannot connect: {complaint}", thing=name)
