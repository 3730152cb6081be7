"""What the emulated router installs first: the feed's packages that ours depends on.

They are made of the user land, cut up as OpenWrt's feeds have it, and taken out of the
router's root, which then has as little as a router on its first day. On a disk they are
the folder that `make bundle` makes, and its install.sh installs them.
"""

import shutil
import subprocess
from pathlib import Path

import ipk
from bundle import make as make_bundle

LIB, PYTHON = "usr/lib/mipsel-linux-gnu/", "usr/lib/python3.11/"
MODULES, SITE = f"{PYTHON}lib-dynload/", "usr/lib/python3/dist-packages/"
# Package: what its files begin with. A file is of the first that fits; in this order
# they are installed.
FEED = {
    "libatomic1": (f"{LIB}libatomic.",),
    "zlib": (f"{LIB}libz.",),
    "libexpat": (f"{LIB}libexpat",),
    "libffi": (f"{LIB}libffi.",),
    "libsqlite3-0": (f"{LIB}libsqlite3.",),
    "libsodium": (f"{LIB}libsodium.",),
    "libopenssl3": (f"{LIB}libssl.", f"{LIB}libcrypto.", f"{LIB}ossl-modules/"),
    "python3-openssl": (f"{PYTHON}ssl.", f"{MODULES}_ssl.", f"{MODULES}_hashlib."),
    "python3-sqlite3": (f"{PYTHON}sqlite3/", f"{MODULES}_sqlite3."),
    "python3-logging": (f"{PYTHON}logging/",),
    "python3-urllib": (f"{PYTHON}urllib/",),
    "python3-codecs": (f"{MODULES}_codecs_", f"{MODULES}_multibytecodec."),
    "python3-cffi": (f"{SITE}_cffi_backend.",),
    "python3-pynacl": (f"{SITE}nacl/", f"{SITE}PyNaCl"),
    "python3-paho-mqtt": (f"{SITE}paho",),
    "python3-light": (PYTHON, "usr/bin/python3"),
}
VERSION = "1-r1"
STATUS = """Package: libc
Version: 1-r1
Status: install user installed
Architecture: all
Installed-Time: 1

"""


def cut(root: Path, agent: Path, out: Path) -> int:
    """Move the feed's packages from *root* to *out*, a folder to install from.

    *agent* is our own package's file. Return how many bytes they have in files.
    """
    shutil.rmtree(out, ignore_errors=True)
    (out / "ours").mkdir(parents=True)
    shutil.copy(agent, out / "ours")
    wanted = make_bundle(out / "ours", out)
    absent = set(wanted) - set(FEED)
    if absent:
        raise RuntimeError(f"not known which files are of {', '.join(sorted(absent))}")
    size = sum(_cut_one(name, root, out) for name in FEED)
    order = "".join(f"{_file_name(name)}\n" for name in FEED)
    (out / "order.txt").write_text(order)
    shutil.rmtree(out / "ours")
    (root / "usr/lib/opkg/status").write_text(STATUS)
    return size


def _file_name(name: str) -> str:
    return f"{name}_{VERSION}_mipsel.ipk"


def _cut_one(name: str, root: Path, out: Path) -> int:
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    data, control, inner = (work / one for one in ("data", "control", "ipk"))
    for folder in (data, control, inner):
        folder.mkdir(parents=True)
    size = 0
    for path in sorted(root.rglob("*")):
        inside = str(path.relative_to(root))
        if inside.startswith(FEED[name]) and (path.is_symlink() or path.is_file()):
            size += 0 if path.is_symlink() else path.stat().st_size
            place = data / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    if not size:
        raise RuntimeError(f"the user land has no {name}")
    (control / "control").write_text(
        f"Package: {name}\nVersion: {VERSION}\nDepends: libc\n"
        f"Architecture: mipsel\nInstalled-Size: {size}\nDescription: {name}\n"
    )
    for folder in (data, control):
        ipk.pack(folder, ["."], inner / f"{folder.name}.tar.gz", 1)
    (inner / "debian-binary").write_text("2.0\n")
    names = ("./debian-binary", "./data.tar.gz", "./control.tar.gz")
    ipk.pack(inner, names, out / _file_name(name), 1)
    shutil.rmtree(work)
    return size


def on_a_disk(folder: Path, disk: Path, size_mb: int) -> Path:
    """Make *disk*, a USB disk's image that has *folder* on it as `bundle`."""
    tree = disk.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    shutil.copytree(folder, tree / "bundle")
    disk.unlink(missing_ok=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(disk), f"{size_mb}M"]
    subprocess.run(command, check=True)
    shutil.rmtree(tree)
    return disk
