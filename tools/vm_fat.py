"""The part `vfat` of `make vm`: what a stick as it comes from a shop takes and refuses.

FAT has no owners, no two names that differ in case only, no `:` or `?` in a name, no
file of 4 GiB, and dates of two seconds.
"""

import ftplib
import io
import os
import re

from demo_nodes import Node, wait_for
from vm_image import MachineFailed
from vm_router import GROUP, PATIENCE_S, Router, some_bytes
from vm_stage import FRIEND_FILE, MODIFIED, Stage

DISK_MB = 5 << 10  # a file beyond 4 GiB would find room
TOO_LARGE = 1 << 32
SMALL = 20_000
SNOWMAN = "Été \N{SNOWMAN} \N{GRINNING FACE}.bin"
# What the friend shares, and what becomes of its name; of names that are the same on
# FAT one gets a number.
NAMES = {
    SNOWMAN: SNOWMAN,
    "Part 1: the sea?.bin": "Part 1_ the sea_.bin",
    "Side A: calm/one.bin": "Side A_ calm/one.bin",
    "end.": "end_",
    "...": "___",
    "SONG.bin": "SONG.bin",
    FRIEND_FILE: f"{FRIEND_FILE.removesuffix('.bin')} (2).bin",
}


def awkward_files() -> dict[str, bytes]:
    """Return what the friend is to share besides its song."""
    return {name: os.urandom(SMALL) for name in NAMES if name != FRIEND_FILE}


def set_up(stage: Stage, router: Router) -> None:
    """Set it up with the disk mounted as it comes; do what setup says to do."""
    said = router.set_up(stage.broker())
    row = re.search(r"^/mnt/disk +(\S+) +(uci set .*)$", said, re.MULTILINE)
    if row is None:
        raise MachineFailed(f"setup names no remedy: {said}")
    if row[1] != "read" or "chown" in said:
        raise MachineFailed(f"setup says something else of the disk: {said}")
    router.wait_until_said("trouble: ")
    stage.tell(f"setup says of the disk: {row[0]}")
    router.run(row[2])
    router.wait_until_up()
    stage.tell("did that: up by itself", is_figure=True)


def use_names(stage: Stage, router: Router) -> None:
    """Names that FAT takes or refuses, by FTP from outside."""
    data = some_bytes(1)
    with router.ftp() as ftp:
        ftp.storbinary(f"STOR films/{SNOWMAN}", io.BytesIO(data))
        try:
            ftp.storbinary("STOR films/a:b.bin", io.BytesIO(data))
        except ftplib.error_perm as error:
            stage.tell(f"a name that FAT refuses, by FTP: {error}")
        else:
            raise MachineFailed("FAT has taken a name with a colon")
        ftp.rename(f"films/{SNOWMAN}", f"films/{SNOWMAN.upper()}")
        names = ftp.nlst("films")
        if SNOWMAN.upper() not in names or SNOWMAN in names:
            raise MachineFailed(f"a name is not as it was told: {names}")
        ftp.delete(f"films/{SNOWMAN.upper()}")


def fetch_names(stage: Stage, router: Router, friend: Node) -> None:
    """The router fetches all that the friend shares, as FAT can have it."""
    friend.ask("limits", "--upload", "0")  # nothing happens meanwhile
    router.get(f"{GROUP}/{friend.name}/Songs")
    top = f"/mnt/disk/downloads/{GROUP}/{friend.name}/Songs"
    for name, kept in NAMES.items():
        router.until(f"[ -f '{top}/{kept}' ]")
        router.expect(f"{top}/{kept}", (friend.disk / "songs" / name).read_bytes())
    found = router.run(f"cd {top} && find . -type f").split("\n")[:-1]
    if sorted(found) != sorted(f"./{kept}" for kept in NAMES.values()):
        raise MachineFailed(f"other names: {found}")
    date = int(router.run(f"stat -c %Y '{top}/SONG.bin'"))
    if date != MODIFIED - 1:
        raise MachineFailed(f"a date of {date}")
    stage.tell(
        f"{len(found)} files of a friend, by names that FAT can have: "
        f"{', '.join(found)}; their dates even",
        is_figure=True,
    )


def refuse_too_large(stage: Stage, router: Router, friend: Node) -> None:
    """A file of 4 GiB is refused before anything of it is fetched."""
    (friend.disk / "huge").mkdir()
    with (friend.disk / "huge" / "huge.bin").open("wb") as file:
        file.truncate(TOO_LARGE)
    friend.ask("share", "add", "huge", "--name", "Huge", "--group", GROUP)
    wait_for("4 GiB are hashed", lambda: _is_hashed(friend), PATIENCE_S)
    router.get(f"{GROUP}/{friend.name}/Huge/huge.bin")
    router.until("fonshare jobs | grep -q 'FAT: 4 GiB'", 5000)
    used = int(router.run("du -s /mnt/disk/.fonshare/partial | cut -f1"))
    stage.tell(
        f"4 GiB from a friend: refused, with the reason; {used} KiB of it on the disk",
        is_figure=True,
    )


def _is_hashed(friend: Node) -> bool:
    return any(row.get("root") for row in friend.ask("find", "huge.bin"))
