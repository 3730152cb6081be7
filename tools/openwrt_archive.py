"""An unpacked SDK or ImageBuilder of OpenWrt, from a folder, an archive or an address.

    python3 tools/openwrt_archive.py FOLDER|ARCHIVE|URL

Prints the folder. What is fetched is checked against the sha256sums that OpenWrt keeps
beside it, and stays in build/openwrt.
"""

import hashlib
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "openwrt"
TIMEOUT_S = 60


class NotUsable(Exception):
    """Why there is no folder, in words for a person."""


def unpacked(place: str, folder: Path = FOLDER) -> Path:
    """Return the folder that *place* names or holds, unpacked below *folder*."""
    if "://" not in place:
        path = Path(place).expanduser().resolve()
        if path.is_dir():
            return path
        if not path.is_file():
            raise NotUsable(f"there is no {place!r}")
        return _unpack(path, folder)
    name = place.rsplit("/", 1)[-1]
    archive = folder / name
    if not archive.exists():
        _download(place, archive)
    return _unpack(archive, folder)


def _download(address: str, archive: Path) -> None:
    beside = address.rsplit("/", 1)[0] + "/sha256sums"
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f"{archive.name}.part")
    try:
        with urllib.request.urlopen(beside, timeout=TIMEOUT_S) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines()]
        sums = {words[1].lstrip("*"): words[0] for words in lines if len(words) == 2}
        digest = hashlib.sha256()
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer,
            partial.open("wb") as file,
        ):
            while data := answer.read(1 << 20):
                digest.update(data)
                file.write(data)
    except OSError as error:
        raise NotUsable(f"{address} cannot be fetched: {error}") from error
    if sums.get(archive.name) != digest.hexdigest():
        raise NotUsable(f"{address} is not what {beside} says")
    partial.rename(archive)


def _unpack(archive: Path, folder: Path) -> Path:
    into = folder / archive.name.split(".tar")[0]
    if not into.is_dir():
        work = folder / f"{into.name}.new"
        work.mkdir(parents=True, exist_ok=True)
        command = ["tar", "-xaf", str(archive), "-C", str(work), "--strip-components=1"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:  # .zst without zstd, above all
            raise NotUsable(f"{archive.name} cannot be unpacked: {run.stderr.strip()}")
        work.rename(into)
    return into


def main(arguments: list[str]) -> int:
    """Print the folder; the exit status."""
    try:
        print(unpacked(arguments[0]))
    except NotUsable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
