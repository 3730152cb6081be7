"""Settings files for tests: a node on loopback with ports of its own."""

import os
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fonshare_agent.config import Settings, SourceKind, validate
from fonshare_agent.errors import SettingsError

PORTS = 20  # the two doors, and nine data ports for each
# Below Linux' ephemeral ports, so that no outgoing connection takes one meanwhile.
FIRST, LAST = 12000, 32000


@dataclass(frozen=True)
class Ports:
    """A run of free ports as the settings want them."""

    port: int
    friends_port: int
    passive: tuple[int, int]
    friends_passive: tuple[int, int]

    @classmethod
    def from_run(cls, first: int) -> "Ports":
        house, friends = (first + 2, first + 10), (first + 11, first + PORTS - 1)
        return cls(first, first + 1, house, friends)


def _runs() -> Iterator[int]:
    # Each process of a parallel run walks the blocks in an order of its own.
    firsts = list(range(FIRST, LAST, PORTS))
    random.Random(os.getpid()).shuffle(firsts)
    yield from firsts


_untried = _runs()


def take_ports() -> Ports:
    """Return a run of ports that nobody listens on; each call gives another run."""
    for first in _untried:
        with ExitStack() as stack:
            try:
                for port in range(first, first + PORTS):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return Ports.from_run(first)
    raise RuntimeError("no run of free ports is left")


def write_settings(
    folder: Path,
    *,
    name: str = "alice",
    broker: str = "",
    ports: Ports | None = None,
    address: str = "127.0.0.1",
    shares: Sequence[dict[str, object]] = (),
    users: Sequence[dict[str, object]] | None = None,
    **more: dict[str, object],
) -> Path:
    """Make a node's disk below *folder* and return its settings file.

    *more* adds or replaces options by section: ``limits={"transfers": 4}``.
    """
    ports = ports or take_ports()
    (folder / "disk").mkdir(parents=True, exist_ok=True)
    if users is None:
        users = [
            {"name": "owner", "password": "secret", "access": "write"},
            {"name": "guest", "password": "", "access": "read"},
        ]
    sections: dict[str, object] = {
        # Off: tests ask only the routers that they have made themselves.
        "node": {"name": name, "port_mapping": "off"},
        "disk": "./disk",
        "state": "./state",
        "ftp": {
            "address": address,
            "port": ports.port,
            "passive_ports": "{}-{}".format(*ports.passive),
            "friends_port": ports.friends_port,
            "friends_passive_ports": "{}-{}".format(*ports.friends_passive),
            "users": list(users),
        },
        "mqtt": {"broker": broker},
        "shares": list(shares),
    }
    for section, options in more.items():
        known = sections.get(section, {})
        both = isinstance(known, dict) and isinstance(options, dict)
        sections[section] = {**known, **options} if both else options
    path = folder / "fonshare.yaml"
    path.write_text(yaml.safe_dump(sections, allow_unicode=True, sort_keys=False))
    return path


SETTINGS_FILE = Path("/srv/node/fonshare.yaml")


def check(
    *,
    kind: SourceKind = SourceKind.YAML,
    needs_hashes: bool = True,
    **sections: object,
) -> Settings:
    """Return the settings of a small valid node, with *sections* put in or over."""
    merged: dict[str, object] = {"node": {"name": "alice"}}
    merged |= {"disk": "/mnt/disk", "state": "/var/state"}
    for section, value in sections.items():
        known = merged.get(section)
        both = isinstance(known, dict) and isinstance(value, dict)
        merged[section] = {**known, **value} if both else value
    return validate(merged, kind=kind, path=SETTINGS_FILE, needs_hashes=needs_hashes)


def complaints(**sections: object) -> str:
    """Return what is said against *sections* in such a node."""
    with pytest.raises(SettingsError) as caught:
        check(**sections)
    return str(caught.value)
