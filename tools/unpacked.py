"""Servers of others that are not to be installed: unpacked only.

    python3 tools/unpacked.py [--list]

vsftpd, pure-ftpd and ProFTPD conflict as packages, and each would start itself as a
service; so would miniupnpd, which forwards ports for whoever asks. So their packages
are only fetched (`apt-get download`) and unpacked (`dpkg -x`) into build/unpacked/NAME,
with the libraries that are not installed here; nothing of them is configured or
started. Needs no root, but package lists: where there are none and we may, they are
fetched. It never fails, as tools/packages.py; tests ask for a server by
`require_server` (tests/programs.py).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packages import root_prefix

FOLDER = Path(__file__).parent.parent / "build" / "unpacked"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A program out of packages that are not installed."""

    name: str
    program: str  # its path below the folder
    packages: tuple[str, ...]
    purpose: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def environment(self) -> dict[str, str]:
        """What the program needs to find its own libraries."""
        folders = [*self.folder.glob("usr/lib/*-linux-*"), self.folder / "usr/lib"]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}

    @property
    def is_here(self) -> bool:
        return (self.folder / self.program).exists()


SERVERS = (
    Unpacked("vsftpd", "usr/sbin/vsftpd", ("vsftpd",), "`fonshare fxp` with vsftpd"),
    Unpacked(
        "pure-ftpd",
        "usr/sbin/pure-ftpd",
        ("pure-ftpd",),
        "`fonshare fxp` with pure-ftpd",
    ),
    Unpacked(
        "proftpd",
        "usr/sbin/proftpd",
        ("proftpd-core", "proftpd-mod-crypto"),
        "`fonshare fxp` with ProFTPD",
    ),
    Unpacked(
        "miniupnpd",
        "usr/sbin/miniupnpd",
        ("miniupnpd-nftables",),
        "port mapping, as the provider's box",
    ),
)


def unpack(wanted: Unpacked) -> bool:
    """Fetch and unpack *wanted* with what it lacks; False where that cannot be."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    left, seen = list(wanted.packages), set(wanted.packages)
    with tempfile.TemporaryDirectory(dir=FOLDER) as work:
        into = Path(work) / "tree"
        while left:
            name = left.pop()
            if not _unpack_one(name, Path(work), into):
                return False
            for library in _missing_libraries(name):
                if library not in seen:
                    seen.add(library)
                    left.append(library)
        shutil.rmtree(wanted.folder, ignore_errors=True)
        into.rename(wanted.folder)
    return wanted.is_here


def _unpack_one(name: str, work: Path, into: Path) -> bool:
    before = set(work.glob("*.deb"))
    if not _runs("apt-get", "download", "-qq", name, folder=work):
        return False
    return all(
        _runs("dpkg", "-x", str(file), str(into), folder=work)
        for file in set(work.glob("*.deb")) - before
    )


def _runs(*words: str, folder: Path) -> bool:
    run = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if run.returncode != 0:
        print(run.stderr.strip(), file=sys.stderr)
    return run.returncode == 0


def _missing_libraries(package: str) -> Iterator[str]:
    """The library packages that *package* needs and this machine has not."""
    run = subprocess.run(
        ["apt-cache", "depends", package], capture_output=True, text=True
    )
    for line in run.stdout.splitlines():
        kind, _, name = line.strip().lstrip("|").partition(": ")
        if kind == "Depends" and name.startswith("lib") and not _is_installed(name):
            yield name


def _is_installed(package: str) -> bool:
    run = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
    )
    return run.stdout == "installed"


def _fetch_lists() -> None:
    prefix = root_prefix()
    if prefix is not None:
        subprocess.run(
            [*prefix, "apt-get", "update", "-qq"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )


def main(arguments: list[str]) -> int:
    """Unpack what is missing or name it; always 0."""
    if "--list" in arguments:
        for server in SERVERS:
            print(f"{server.name:18} {server.purpose}")
        return 0
    absent = [server for server in SERVERS if not server.is_here]
    if not absent:
        return 0
    if shutil.which("apt-get") is not None:
        print("Unpacking:", *(server.name for server in absent), flush=True)
        if not all(unpack(server) for server in absent):
            _fetch_lists()
            for server in absent:
                if not server.is_here:
                    unpack(server)
    for server in absent:
        if not server.is_here:
            print(f"Not to be had here, its tests are skipped: {server.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
