"""What others need to bring files from one end of a line to the other, one at a time.

vsftpd with curl, and with lftp for a folder, plain and by TLS; aria2 by BitTorrent; and
Syncthing. What is not installed is left out. All that is up before it is wished for is
up: servers, seeds, a client that takes orders. Sessions last: what comes second goes by
the session of the first where the program has one (curl's control connection,
Syncthing's; BitTorrent begins anew with each torrent, aria2 only runs already).

The clock begins with the wish: curl's own for its files, the order to aria2 or, as for
lftp, the start of the program; for Syncthing, which has no wish, when the source is
told that there is something new, for a large file when it has hashed that, since all
others have hashed before. None of them syncs what it has written; only FonShare does.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ftp_service import make_certificate
from fxp_servers import third_party
from nodes import eventually
from peers import (
    WITHIN_S,
    aria2,
    finished,
    look_anew,
    seeding,
    syncthings,
    wait_for_files,
)
from swarm import Net

LOOK_S = 0.01
RPC = "http://127.0.0.1:6800/jsonrpc"
# Says when it sends its standard input, by the clock that all processes have.
POST = """
import sys, time, urllib.request
body = sys.stdin.buffer.read()
print(time.monotonic(), flush=True)
urllib.request.urlopen(sys.argv[1], body).read()
"""

T = TypeVar("T")
Way = Callable[[Net, Path, Path, Sequence[str]], list[float]]
FolderWay = Callable[[Net, Path, Path], float]


def each_s(net: Net, folder: Path, sizes: dict[str, int]) -> dict[str, list[float]]:
    """Return by program how long each file of these sizes took, one after another."""
    names = list(sizes)
    return {
        name: way(net, place, _made(place / "source", sizes), names)
        for name, place, way in _installed(folder, WAYS)
    }


def folder_s(net: Net, folder: Path, source: Path) -> dict[str, float]:
    """Return by program how long all files of *source* took, as one folder."""
    return {
        name: way(net, place, source)
        for name, place, way in _installed(folder, FOLDER_WAYS)
    }


def _installed(
    folder: Path, ways: dict[str, tuple[str, T]]
) -> Iterator[tuple[str, Path, T]]:
    """Yield each way whose program is here, and a place for it that is gone after."""
    for number, (name, (program, way)) in enumerate(ways.items()):
        if shutil.which(program) is None:
            print(f"  {name}: not installed")
            continue
        place = folder / f"beside{number}"
        place.mkdir()
        yield name, place, way
        shutil.rmtree(place)


def _made(folder: Path, sizes: dict[str, int]) -> Path:
    folder.mkdir()
    for name, size in sizes.items():
        (folder / name).write_bytes(os.urandom(size))
    return folder


# --- FTP ----------------------------------------------------------------------------


@contextmanager
def _vsftpd(net: Net, place: Path, source: Path) -> Iterator[str]:
    """Serve a copy of *source* at node 0; yields the address of its files."""
    pair = make_certificate(place, "others")
    server = subprocess.Popen(
        [*net.inside(0), sys.executable, __file__, net.address(0), *pair],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port, disk = json.loads(server.stdout.readline())
        shutil.copytree(source, Path(disk) / source.name)
        yield f"{net.address(0)}:{port}/pub/{source.name}"
    finally:
        server.communicate()


def _serve(address: str, certificate: str, key: str) -> None:
    """Be vsftpd in whatever namespace this runs, until standard input ends."""
    pair = (Path(certificate), Path(key))
    with third_party("vsftpd", address, pair=pair) as server:
        print(json.dumps([server.port, str(server.disk)]), flush=True)
        sys.stdin.read()


def _curl(net: Net, place: Path, source: Path, names: Sequence[str]) -> list[float]:
    return _by_curl(net, place, source, names)


def _curl_tls(net: Net, place: Path, source: Path, names: Sequence[str]) -> list[float]:
    return _by_curl(net, place, source, names, "--ssl-reqd", "--insecure")


def _by_curl(
    net: Net, place: Path, source: Path, names: Sequence[str], *more: str
) -> list[float]:
    """In one session, as curl does with several addresses of one server."""
    words = ["curl", "-sS", "--user", "anonymous:bench", "-w", r"%{time_total}\n"]
    with _vsftpd(net, place, source) as where:
        for name in names:
            words += ["-o", str(place / name), f"ftp://{where}/{name}"]
        shown = _run([*net.inside(1), *words, *more])
    for name in names:
        assert (place / name).read_bytes() == (source / name).read_bytes()
    return [float(line) for line in shown.split()]


def _lftp(net: Net, place: Path, source: Path) -> float:
    return _by_lftp(net, place, source, "set ftp:ssl-allow no")


def _lftp_tls(net: Net, place: Path, source: Path) -> float:
    return _by_lftp(
        net, place, source, "set ftp:ssl-force yes; set ftp:ssl-protect-data yes"
    )


def _by_lftp(net: Net, place: Path, source: Path, settings: str) -> float:
    with _vsftpd(net, place, source) as where:
        host, _, path = where.partition("/")
        script = (
            f"set net:max-retries 2; set ssl:verify-certificate no; {settings};"
            f" mirror -P 4 /{path} {place / 'came'}; exit"
        )
        begun = time.monotonic()
        _run([*net.inside(1), "lftp", "-u", "anonymous,bench", "-e", script, host])
        took = time.monotonic() - begun
    assert sorted(os.listdir(place / "came")) == sorted(os.listdir(source))
    return took


def _run(words: Sequence[str]) -> str:
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, timeout=WITHIN_S
    )
    return done.stdout


# --- aria2 --------------------------------------------------------------------------


def _aria2(net: Net, place: Path, source: Path, names: Sequence[str]) -> list[float]:
    took = []
    target = place / "came"
    target.mkdir()
    with _ordered(net, place, source, names) as order:
        for number, name in enumerate(names):
            begun = order(number)
            content = (source / name).read_bytes()

            def is_over(_: Path, wanted: int = number + 1) -> bool:
                return finished(target) >= wanted

            files = [target / name]
            took.append(wait_for_files(files, content, begun, LOOK_S, is_over))
    return took


def _aria2_folder(net: Net, place: Path, source: Path) -> float:
    target = place / "came"
    target.mkdir()
    home = place / "seed"  # aria2 may write beside what it offers
    shutil.copytree(source, home / source.name)
    with _ordered(net, place, home, [source.name]) as order:
        begun = order(0)
        came = target / source.name
        return _wait_for_all(came, source, begun, lambda: finished(target) > 0)


@contextmanager
def _ordered(
    net: Net, place: Path, home: Path, names: Sequence[str]
) -> Iterator[Callable[[int], float]]:
    """Yield what has node 1 begin with one of *names* and returns when that was."""
    target = place / "came"
    with seeding(net, home, names, place) as (running, torrents):
        running.append(aria2(net, 1, target, "--enable-rpc"))

        def call(method: str, *parameters: object) -> float:
            asked = {"jsonrpc": "2.0", "id": "1", "method": method}
            done = subprocess.run(
                [*net.inside(1), sys.executable, "-c", POST, RPC],
                input=json.dumps(asked | {"params": parameters}).encode(),
                capture_output=True,
                timeout=WITHIN_S,
                check=False,
            )
            return 0.0 if done.returncode else float(done.stdout)

        eventually(lambda: call("aria2.getVersion"), "aria2 takes orders")
        files = [base64.b64encode(one.read_bytes()).decode() for one in torrents]
        yield lambda number: call("aria2.addTorrent", files[number])


# --- Syncthing ----------------------------------------------------------------------


def _syncthing(
    net: Net, place: Path, source: Path, names: Sequence[str]
) -> list[float]:
    took = []
    with syncthings(net, place) as homes:
        for name in names:
            content = (source / name).read_bytes()
            hidden = homes[0] / "data" / f".{name}"
            hidden.write_bytes(content)
            hidden.rename(hidden.with_name(name))
            told = time.monotonic()
            look_anew(net)
            # A small one may have come before the source says that it has looked.
            begun = told if len(content) < 1 << 20 else time.monotonic()
            file = homes[1] / "data" / name
            took.append(wait_for_files([file], content, begun, LOOK_S))
    return took


def _syncthing_folder(net: Net, place: Path, source: Path) -> float:
    with syncthings(net, place) as homes:
        shutil.copytree(source, homes[0] / "data" / source.name)
        begun = time.monotonic()
        look_anew(net)
        return _wait_for_all(homes[1] / "data" / source.name, source, begun)


def _wait_for_all(
    target: Path,
    source: Path,
    begun: float,
    is_over: Callable[[], bool] = lambda: True,
) -> float:
    """Return when *target* has all that *source* has; what is not whole has another
    name, or *is_over* tells."""
    wanted = sorted(os.listdir(source))
    while True:
        assert time.monotonic() - begun < WITHIN_S, "not all came"
        took = time.monotonic() - begun
        if is_over() and target.is_dir() and sorted(os.listdir(target)) == wanted:
            break
        time.sleep(LOOK_S)
    for name in wanted:
        assert (target / name).read_bytes() == (source / name).read_bytes()
    return took


WAYS: dict[str, tuple[str, Way]] = {
    "FTP, curl": ("curl", _curl),
    "FTP by TLS, curl": ("curl", _curl_tls),
    "aria2": ("aria2c", _aria2),
    "Syncthing": ("syncthing", _syncthing),
}
FOLDER_WAYS: dict[str, tuple[str, FolderWay]] = {
    "vsftpd, lftp, 4 at once": ("lftp", _lftp),
    "vsftpd, lftp, TLS, 4": ("lftp", _lftp_tls),
    "aria2": ("aria2c", _aria2_folder),
    "Syncthing": ("syncthing", _syncthing_folder),
}


if __name__ == "__main__":
    _serve(*sys.argv[1:])
