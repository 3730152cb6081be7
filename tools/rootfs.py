"""A part of `make deps`: the emulated router's user land, in build/rootfs-ARCHITECTURE.

    python3 tools/rootfs.py ARCHITECTURE...

Debian's packages, unpacked: for mipsel, as the Fonera is, whose programs run under
qemu-user (Debian's qemu-user-static); for i386, 32 bits as well, without an emulator.
As on OpenWrt the shell and the small programs are busybox's, /var is memory, and
Python's library is compiled only. What else makes an OpenWrt of it lies in
tests/rootfs/stand_in, and is laid over it when it is entered.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from userland import Userland

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("busybox", "python3", "python3-nacl", "python3-paho-mqtt")
LIBRARIES = ("/usr/lib/python3.11", "/usr/lib/python3/dist-packages")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATORS = {"mipsel": "qemu-mipsel"}
STAMP = ".as-openwrt"


def folder(architecture: str) -> Path:
    """Return where the user land lies."""
    return ROOT / "build" / f"rootfs-{architecture}" / "root"


def build(architecture: str) -> Path:
    """Unpack and fit out the user land unless that has been done; return its folder."""
    root = folder(architecture)
    userland = Userland(root.parent, architecture)
    userland.build(list(PACKAGES))
    if (root / STAMP).exists():
        return root
    for applet in subprocess.check_output(["busybox", "--list"], text=True).split():
        if not (root / "usr/bin" / applet).is_symlink():
            program = root / "usr/bin" / applet
            if not program.exists() and not (root / "usr/sbin" / applet).exists():
                program.symlink_to("busybox")
    shutil.rmtree(root / "var", ignore_errors=True)
    (root / "var").symlink_to("tmp")
    (root / "packages").mkdir(exist_ok=True)
    (root / "case").mkdir(exist_ok=True)
    _compile(userland, architecture)
    (root / STAMP).touch()
    return root


def given(place: Path) -> Path:
    """Return the folder of a real OpenWrt that *place*, a folder or an archive, holds.

    RuntimeError if it lacks what the package depends on, which needs a network.
    """
    root = place.resolve()
    if root.is_file():
        state = root.stat()
        name = f"rootfs-given-{state.st_size}-{state.st_mtime_ns}"
        root = ROOT / "build" / name
        if not root.exists():
            fresh = root.with_name(f"{name}.new")
            fresh.mkdir(parents=True, exist_ok=True)
            command = ["tar", "-xf", str(place), "-C", str(fresh)]
            subprocess.run(command, check=True)
            fresh.rename(root)
    if not (root / "usr/bin/python3").exists():
        raise RuntimeError(
            f"{place} has no Python: install there what the package depends on, as"
            " tests/rootfs/Dockerfile does"
        )
    return root


def _compile(userland: Userland, architecture: str) -> None:
    """Leave of Python's library only what is compiled, as OpenWrt's packages do."""
    command = ["-m", "compileall", "-q", "-b"]
    if sys.version_info[:2] == (3, 11):  # the same bytecode, and far quicker
        folders = [str(userland.root / path[1:]) for path in LIBRARIES]
        strip = ["-s", str(userland.root)]
        subprocess.run([sys.executable, *command, *strip, *folders], check=False)
    else:
        register(architecture)
        userland.run("/usr/bin/python3", *command, *LIBRARIES)
    for path in LIBRARIES:
        for source in (userland.root / path[1:]).rglob("*.py"):
            if source.with_suffix(".pyc").exists():
                source.unlink()


def register(architecture: str) -> None:
    """Have the kernel run the architecture's programs by the emulator. Needs root."""
    name = EMULATORS.get(architecture)
    if name is None or (BINFMT / name).exists():
        return
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", BINFMT], check=True)
    line = Path(f"/usr/lib/binfmt.d/{name}.conf").read_text()
    (BINFMT / "register").write_text(line)


def main(arguments: list[str]) -> int:
    """Build it, or say that it cannot be; always 0, as tools/packages.py."""
    try:
        for architecture in arguments:
            build(architecture)
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        print(
            f"The router's user land cannot be had here, its tests are skipped: {error}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
