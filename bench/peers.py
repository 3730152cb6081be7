"""What others need to bring one file to several: aria2 by BitTorrent, and Syncthing.

`aria2_s` and `syncthing_s` return the seconds from the moment when all programs are up
and know of each other's addresses until the last receiver has the file, and how many
copies the source has sent (None: not measured). What is one at a time to one receiver
is in beside.py.
"""

import hashlib
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from swarm import Net

PIECE = 256 * 1024
TRACKER_PORT = 6969
WITHIN_S = 1200.0
LOOK_S = 0.25


@contextmanager
def programs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """End whatever was appended."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_files(
    files: Sequence[Path],
    content: bytes,
    begun: float,
    look_s: float = LOOK_S,
    is_over: Callable[[Path], bool] = lambda file: True,
) -> float:
    """Return when the last of *files* was complete: of the right size, and *is_over*
    where that may come early."""
    wanted = hashlib.sha256(content).digest()
    left = list(files)
    while left:
        assert time.monotonic() - begun < WITHIN_S, f"{left} did not come"
        time.sleep(look_s)
        left = [
            file
            for file in left
            if not (_has_size(file, len(content)) and is_over(file))
        ]
    took = time.monotonic() - begun
    for file in files:
        assert hashlib.sha256(file.read_bytes()).digest() == wanted
    return took


def _has_size(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size == size


# --- BitTorrent ---------------------------------------------------------------------


def bencode(value: Any) -> bytes:
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            items = sorted(value.items())
            return b"d" + b"".join(bencode(k) + bencode(v) for k, v in items) + b"e"
    raise TypeError(type(value))


def torrent(source: Path, tracker: str) -> bytes:
    """Describe a file, or all files of a folder."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    content = b"".join(file.read_bytes() for file in files)
    info: dict[bytes, Any] = {
        b"name": source.name.encode(),
        b"piece length": PIECE,
        b"pieces": b"".join(
            hashlib.sha1(content[at : at + PIECE]).digest()
            for at in range(0, len(content), PIECE)
        ),
    }
    if source.is_dir():
        info[b"files"] = [
            {b"length": file.stat().st_size, b"path": [file.name.encode()]}
            for file in files
        ]
    else:
        info[b"length"] = len(content)
    announce = f"http://{tracker}:{TRACKER_PORT}/announce".encode()
    return bencode({b"announce": announce, b"info": info})


class Tracker(http.server.BaseHTTPRequestHandler):
    """Tells everybody of everybody."""

    peers: ClassVar[set[tuple[str, int]]] = set()

    def do_GET(self) -> None:
        asked = urllib.parse.parse_qs(self.path.partition("?")[2])
        self.peers.add((self.client_address[0], int(asked["port"][0])))
        compact = b"".join(
            socket.inet_aton(host) + struct.pack(">H", port)
            for host, port in sorted(self.peers)
        )
        body = bencode({b"interval": 5, b"min interval": 2, b"peers": compact})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing of it is kept."""


def aria2_s(net: Net, folder: Path, size: int) -> tuple[float, float | None]:
    content = os.urandom(size)
    homes = [folder / f"peer{number}" for number in range(net.count)]
    for home in homes:
        home.mkdir()
    (homes[0] / "film.mkv").write_bytes(content)
    with seeding(net, homes[0], ["film.mkv"], folder) as (running, [film]):
        begun = time.monotonic()
        for number in range(1, net.count):
            running.append(aria2(net, number, homes[number], film))
        files = [home / "film.mkv" for home in homes[1:]]

        def is_over(file: Path) -> bool:
            return finished(file.parent) > 0

        return wait_for_files(files, content, begun, is_over=is_over), None


@contextmanager
def seeding(
    net: Net, home: Path, names: Sequence[str], place: Path
) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[Path]]]:
    """Have node 0 offer what lies in *home*; yields a list of programs to be ended,
    and the torrents, below *place*."""
    torrents = [place / f"{name}.torrent" for name in names]
    for name, file in zip(names, torrents, strict=True):
        file.write_bytes(torrent(home / name, net.hub_address))
    with programs() as running:
        tracker = [sys.executable, __file__, net.hub_address]
        running.append(subprocess.Popen([*net.inside_hub, *tracker]))
        time.sleep(1.0)
        running.append(aria2(net, 0, home, "--check-integrity=true", *torrents))
        time.sleep(5.0)  # it has hashed its files and announced itself
        yield running, torrents


def aria2(
    net: Net, number: int, home: Path, *more: str | Path
) -> subprocess.Popen[bytes]:
    # Its control file stays for up to a minute after the end; the hook is called then.
    hook = home.with_name(f"{home.name}.hook")
    hook.write_text(f"#!/bin/sh\nprintf . >> '{_marks(home)}'\n")
    hook.chmod(0o755)
    words = [
        "aria2c",
        "--seed-ratio=0",
        "--enable-dht=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=true",
        "--file-allocation=none",
        "--bt-tracker-interval=3",
        "--bt-max-peers=0",
        "--summary-interval=0",
        "--quiet=true",
        f"--dir={home}",
        f"--on-bt-download-complete={hook}",
        *more,
    ]
    return subprocess.Popen([*net.inside(number), *words], stdout=subprocess.DEVNULL)


def finished(home: Path) -> int:
    """How many torrents the aria2 that lives there has whole and verified."""
    marks = _marks(home)
    return marks.stat().st_size if marks.exists() else 0


def _marks(home: Path) -> Path:
    return home.with_name(f"{home.name}.whole")


# --- Syncthing ----------------------------------------------------------------------


def syncthing_s(net: Net, folder: Path, size: int) -> tuple[float, float | None]:
    content = os.urandom(size)
    with syncthings(net, folder) as homes:
        begun = time.monotonic()
        (homes[0] / "data" / ".film").write_bytes(content)
        (homes[0] / "data" / ".film").rename(homes[0] / "data" / "film.mkv")
        look_anew(net)
        files = [home / "data" / "film.mkv" for home in homes[1:]]
        return wait_for_files(files, content, begun), None


def look_anew(net: Net) -> None:
    """Tell node 0 that there is something new; returns when it has hashed that."""
    _call(net, 0, "/rest/db/scan?folder=bench", method="POST")


@contextmanager
def syncthings(net: Net, folder: Path) -> Iterator[list[Path]]:
    """One in each namespace, all connected; yields where they live."""
    homes = [folder / f"st{number}" for number in range(net.count)]
    ids = [_syncthing_id(home) for home in homes]
    for number, home in enumerate(homes):
        _configure(net, number, home, ids)
    with programs() as running:
        for number, home in enumerate(homes):
            running.append(_syncthing(net, number, home))
        for number in range(net.count):
            _wait_connected(net, number, net.count - 1)
        yield homes


KEY = "bench"


def _syncthing_id(home: Path) -> str:
    subprocess.run(
        ["syncthing", "generate", f"--home={home}"],
        check=True,
        timeout=120,
        capture_output=True,
    )
    (home / "data" / ".stfolder").mkdir(parents=True)
    shown = subprocess.run(
        ["syncthing", f"--home={home}", "--device-id"],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout.split()[-1]


def _configure(net: Net, number: int, home: Path, ids: Sequence[str]) -> None:
    # One of two calls the other: if both do, at the same time, neither call may last.
    places = [
        f"tcp://{net.address(at)}:22000" if at <= number else "dynamic"
        for at in range(len(ids))
    ]
    devices = "".join(
        f'<device id="{one}" name="n{at}"><address>{place}</address></device>'
        for at, (one, place) in enumerate(zip(ids, places, strict=True))
    )
    shared = "".join(f'<device id="{one}"></device>' for one in ids)
    kind = "sendonly" if number == 0 else "receiveonly"
    (home / "config.xml").write_text(
        f"""<configuration version="35">
<folder id="bench" path="{home / "data"}" type="{kind}" rescanIntervalS="3600"
 fsWatcherEnabled="false">{shared}</folder>{devices}
<gui enabled="true"><address>{_page(number)}</address><apikey>{KEY}</apikey></gui>
<options><listenAddress>tcp://{net.address(number)}:22000</listenAddress>
<globalAnnounceEnabled>false</globalAnnounceEnabled>
<localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>
<reconnectionIntervalS>2</reconnectionIntervalS><urAccepted>-1</urAccepted>
<crashReportingEnabled>false</crashReportingEnabled>
<autoUpgradeIntervalH>0</autoUpgradeIntervalH>
<limitBandwidthInLan>false</limitBandwidthInLan></options></configuration>
"""
    )


def _syncthing(net: Net, number: int, home: Path) -> subprocess.Popen[bytes]:
    words = ["syncthing", "serve", f"--home={home}", "--no-browser", "--no-restart"]
    return subprocess.Popen(
        [*net.inside(number), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "STNOUPGRADE": "1"},
    )


def _page(number: int) -> str:
    """Where a program listens for commands: of its own where all share one loopback."""
    return f"127.0.0.{number + 1}:8384"


def _call(net: Net, number: int, path: str, method: str = "GET") -> Any:
    words = ["curl", "-s", "-X", method, "-H", f"X-API-Key: {KEY}"]
    shown = subprocess.run(
        [*net.inside(number), *words, f"http://{_page(number)}{path}"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return json.loads(shown.stdout) if shown.stdout else None


def _wait_connected(net: Net, number: int, count: int) -> None:
    until = time.monotonic() + 180.0
    while time.monotonic() < until:
        found = _call(net, number, "/rest/system/connections") or {}
        connected = [
            one for one in found.get("connections", {}).values() if one["connected"]
        ]
        if len(connected) >= count:
            return
        time.sleep(0.5)
    raise AssertionError(f"Syncthing {number} has not found all others")


if __name__ == "__main__":
    where = (sys.argv[1], TRACKER_PORT)
    http.server.ThreadingHTTPServer(where, Tracker).serve_forever()
