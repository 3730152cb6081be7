"""A broker for machines without Mosquitto: `python tools/embedded_broker.py PORT`.

Listens on loopback only, keeps nothing, and ends when its standard input does: it
never outlives the program that started it. Made of iotcore (extra `demo`), which held
the conformance test of our link (tests/test_embedded_broker.py) where amqtt did not
(docs/decisions/embedded-broker.md). Not for use by others: anybody may log in.
"""

import logging
import os
import sys
import threading

PAYLOAD_MAX = 262144  # twice our largest envelope; iotcore's default is 20 KiB
CONNECTIONS_MAX = 64


def main(arguments: list[str]) -> int:
    """Serve until standard input ends."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        print("usage: python tools/embedded_broker.py PORT", file=sys.stderr)
        return 2
    try:
        from iotcore.iotcore import IotCoreBroker
    except ImportError:
        print(
            "The embedded broker is not installed: pip install 'iotcore==0.4.0', "
            "or install mosquitto.",
            file=sys.stderr,
        )
        return 1
    # It reports each message of each client as an error, topics included.
    logging.basicConfig(level=logging.CRITICAL)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    IotCoreBroker(
        listen="127.0.0.1",
        port=int(arguments[0]),
        max_payload_size=PAYLOAD_MAX,
        max_connections=CONNECTIONS_MAX,
    ).run_forever()
    return 0


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # the broker's loop has no other end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
