"""Others in the emulated router who take its memory, and what a new login is told."""

import ftplib

from vm_image import MachineFailed
from vm_router import Router

PLACE = "/tmp/full"
PIECE_KIB = 64
BEYOND_KIB = 8 * 1024
ALL_MB = 64


class Others:
    """Files in memory: nothing but their removal gives it back."""

    def __init__(self, router: Router) -> None:
        self._router, self._pieces, self._taken_kib = router, 0, 0
        router.run(f"mkdir {PLACE} && mount -t tmpfs -o size={ALL_MB}m full {PLACE}")

    def __str__(self) -> str:
        at_once = self._router.at_once_kib()
        return f"others took {self._taken_kib:,} KiB, {at_once:,} can be had at once"

    def take_all_but(self, kib: int) -> None:
        """Take until no more than *kib* can be had at once."""
        while (more := self._router.at_once_kib() - kib) > 0:
            self._take(max(4, more // PIECE_KIB))

    def take_all(self) -> None:
        """Take more than there is: less than the agent has, so that this is enough."""
        self._take((self._router.at_once_kib() + BEYOND_KIB) // PIECE_KIB)

    def give_back(self) -> None:
        self._router.run(f"rm -f {PLACE}/*")
        self._taken_kib = 0

    def _take(self, pieces: int) -> None:
        self._pieces += 1
        file = f"{PLACE}/{self._pieces}"
        self._router.run(f"dd if=/dev/zero of={file} bs={PIECE_KIB}k count={pieces}")
        self._taken_kib += pieces * PIECE_KIB


def refusal(router: Router) -> str:
    """Return how a new login is refused; MachineFailed if it is not."""
    try:
        with router.ftp():
            raise MachineFailed("a login was let in")
    except ftplib.error_temp as error:
        return str(error)
