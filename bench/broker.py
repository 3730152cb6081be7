"""Resident memory of the broker that `fonshare broker` sets up, on a 32-bit userland.

    make bench-broker     (or: PYTHONPATH=tools python bench/broker.py)

Debian's Mosquitto for i386, natively on this machine, with exactly the files that the
command writes: nobody connected, then members by TLS, each with the topics of two
groups and a retained message, as nodes have them. Needs root or user namespaces.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo_nodes import Ports, wait_for
from fonshare_agent import broker_setup
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.mqtt_link import LinkEvent, MqttLink, Received
from fonshare_agent.model import base32
from userland import Userland

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
FILES = "etc/mosquitto/fonshare"
MEMBERS = (8, 64)  # a circle; as many as a group may have
TOPICS = 8  # of a member of two groups: bulletins, inboxes, presences
MESSAGE_BYTES = 2048  # most envelopes are no larger
SETTLE_S = 3.0
WAIT_S = 60.0


def main() -> int:
    """Measure and print a table; the exit status."""
    userland = Userland(BUILD / "userland-broker", "i386")
    userland.build(["mosquitto"])
    port = Ports().take(1)
    password = "of the bench"
    url = _set_up(userland.root, port, password)
    with _broker(userland, port) as pid:
        time.sleep(SETTLE_S)
        rows = {"nobody connected": _memory(pid)}
        for members in MEMBERS:
            with ExitStack() as stack:
                for number in range(members):
                    stack.enter_context(_member(url, number))
                time.sleep(SETTLE_S)
                rows[f"{members} members"] = _memory(pid)
    print(f"{'Mosquitto, i386':24}{'resident':>10}{'anonymous':>11}  KiB")
    for name, (resident, anonymous) in rows.items():
        print(f"{name:24}{resident:>10,}{anonymous:>11,}")
    return 0


def _set_up(root: Path, port: int, password: str) -> BrokerUrl:
    """Write the files as the command does; return how a member connects."""
    folder = root / FILES
    shutil.rmtree(folder, ignore_errors=True)
    broker_setup.FOLDER, broker_setup.USER = folder, "root"
    login = broker_setup.Login("bench", broker_setup.prove(password, os.urandom(12)))
    pin = broker_setup.write_files([login], port, None)
    conf = folder / broker_setup.CONF
    # Inside, the files are where they would be on a router.
    conf.write_text(conf.read_text().replace(f"{root}/", "/"))
    return BrokerUrl(True, "127.0.0.1", port, login.name, password, pin=pin)


@contextmanager
def _broker(userland: Userland, port: int) -> Iterator[int]:
    command = userland.command("/usr/sbin/mosquitto", "-c", f"/{FILES}/fonshare.conf")
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        listens = f":{port:04X} "
        wait_for("the broker", lambda: listens in _sockets(child.pid), WAIT_S)
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def _sockets(pid: int) -> str:
    return Path(f"/proc/{pid}/net/tcp").read_text()


@contextmanager
def _member(url: BrokerUrl, number: int) -> Iterator[None]:
    topics = {_topic(number, one) for one in range(TOPICS)}

    def on_event(event: LinkEvent) -> None:
        if isinstance(event, Received):
            link.handled(event)

    link = MqttLink(
        url,
        new_will=lambda: (_topic(number, TOPICS), os.urandom(32)),
        on_event=on_event,
        draw=os.urandom,
    )
    link.set_subscriptions(topics)
    link.start()
    try:
        wait_for("a member", lambda: link.is_connected, WAIT_S)
        link.publish(min(topics), os.urandom(MESSAGE_BYTES), retain=True)
        yield
    finally:
        link.stop()


def _topic(member: int, number: int) -> str:
    return f"fonshare/{base32((member * 100 + number).to_bytes(20, 'big'))}"


def _memory(pid: int) -> tuple[int, int]:
    """Return KiB resident, and of it anonymous, of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]), int(fields["RssAnon"].split()[0])


if __name__ == "__main__":
    sys.exit(main())
