"""`make bundle`: one folder to carry to a router without a network of its own.

    python3 tools/bundle.py IPK-FOLDER OUT-FOLDER

Holds our packages, package/bundle/ and the names of the feed's packages that ours
depend on. fetch.py there fetches those on a PC, install.sh installs all on the router.
"""

import shutil
import sys
from pathlib import Path

from ipk import read_control
from openwrt_package import PACKAGES

LIST = "feed-packages.txt"
PAGES = "luci-"  # what these need is there with LuCI; where it is not, nor are they


def make(ipks: Path, out: Path) -> list[str]:
    """Fill *out*; return the names of the feed's packages in it."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*fonshare*.ipk"):
        old.unlink()
    depends: set[str] = set()
    ours = set()
    for file in sorted(ipks.glob("*.ipk")):
        shutil.copy(file, out)
        lines = read_control(file).splitlines()
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        ours.add(fields["Package"])
        if not fields["Package"].startswith(PAGES):
            depends |= set(fields["Depends"].split(", "))
    names = sorted(depends - ours - {"libc"})
    (out / LIST).write_text("".join(f"{name}\n" for name in names))
    for file in sorted((PACKAGES / "bundle").iterdir()):
        if file.is_file():
            shutil.copy(file, out)
    return names


def main(arguments: list[str]) -> int:
    """Make the bundle; the exit status."""
    ipks, out = map(Path, arguments)
    names = make(ipks, out)
    print(f"{out}: fetch.py there brings {len(names)} packages and what they need")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
