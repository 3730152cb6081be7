"""A share of the emulated router whose index is written when the disk is pulled."""

import json
from pathlib import PurePosixPath

from vm_image import MachineFailed
from vm_router import GROUP, Router

SHARE, DISK = "films", PurePosixPath("/mnt/disk")
LARGE, LARGE_MB, FILES = "large.bin", 24, 1500
LOG = DISK / ".fonshare" / "index.db-wal"
GROWN_BYTES = 60_000  # of that log: some commits, and as many again are to come


class Scanned:
    """One large file, hashed, and many small ones that come by and by."""

    def __init__(self, router: Router) -> None:
        """Share the large file; return when its hash is known, and on the disk."""
        self._router, self._folders = router, 0
        router.run(f"mkdir {DISK / SHARE} && chown fonshare {DISK / SHARE}")
        large = DISK / SHARE / LARGE
        router.run(f"dd if=/dev/urandom of={large} bs=64k count={LARGE_MB * 16}")
        router.run(f"fonshare group create {GROUP}")
        router.run(f"fonshare share add {SHARE} --name Films --group {GROUP}")
        place = f"{GROUP}/{router.name}/Films"
        self._list = f"fonshare ls {place} --json"
        router.until(f'{self._list} | grep -q \'"root": "\'', pause_ms=3000)
        self.root = self._large_root()
        router.run("sync")

    def write_and_wait(self) -> None:
        """Write many files; return in the midst of their way into the index."""
        folder = DISK / SHARE / str(self._folders)
        self._folders += 1
        self._router.run(
            f"mkdir {folder} && i=0 && while [ $i -lt {FILES} ]; do "
            f": > {folder}/$i.txt; i=$((i + 1)); done; sync"
        )
        grown = int(self._router.run(f"stat -c %s {LOG}")) + GROWN_BYTES
        self._router.until(f"[ $(stat -c %s {LOG}) -gt {grown} ]", pause_ms=100)

    def expect_all(self) -> None:
        """The large file's hash is there at once, and soon all files are."""
        if self._large_root() != self.root:
            raise MachineFailed("the hash of the large file is gone")
        count = 1 + FILES * self._folders
        found = f"fonshare status --json | grep -q '\"files\": {count}\\b'"
        self._router.until(found, pause_ms=3000)
        index = json.loads(self._router.run("fonshare status --json"))["index"]
        if index["rebuilt"] is not None:
            raise MachineFailed(f"the index was made anew: {index['rebuilt']}")

    def _large_root(self) -> object:
        rows = json.loads(self._router.run(self._list))
        return next((row["root"] for row in rows if row["name"] == LARGE), None)
