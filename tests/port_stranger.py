"""A stranger who rushes to a range of ports, again and again, until stdin is closed.

    python3 port_stranger.py HOST FIRST LAST

Shakes hands by TLS where it can, as a client without a certificate, waits for data, and
at its end tells how many bytes it was given. The first connection is told at once.
"""

import socket
import ssl
import sys
import threading
from contextlib import suppress

is_over = threading.Event()
connected: list[int] = []
got: list[int] = []


def rush(host: str, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while not is_over.wait(0.001):
        with suppress(OSError), socket.create_connection((host, port), 0.5) as raw:
            if not connected:
                connected.append(port)
                print("connected", flush=True)
            with context.wrap_socket(raw) as secured:
                got.append(len(secured.recv(65536)))


def main(host: str, first: int, last: int) -> None:
    threads = [
        threading.Thread(target=rush, args=(host, port))
        for port in range(first, last + 1)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    is_over.set()
    for thread in threads:
        thread.join()
    print(sum(got))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
