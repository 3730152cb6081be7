"""`make vm`: a 64 MB MIPS router, whole, with the package, a USB disk and a friend.

    python3 tools/vm.py [--cpu 24Kf|24Kc|P5600] [--memory MB] [PART...]

Each PART boots the machine and tells one part of the story (vm_parts.py); without any,
all of them, one after another. Ends with a table; exit status 1 if a part has failed.
In a network namespace of its own: broker and friend run on this machine. OpenWrt's own
programs are the stand-ins of tests/rootfs.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ipk
import rootfs
import vendored
import vm_feed
import vm_image
import vm_router
from packages import Package, install, missing
from userland import Userland
from vm_image import build_image, write_image
from vm_machine import NETWORKS
from vm_parts import PARTS
from vm_router import PROGRAMS
from vm_stage import FAILURES, Stage

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "vm"
STAND_INS = ROOT / "tests" / "rootfs" / "stand_in"
NEEDED = (
    Package("qemu-system-mipsel", "qemu-system-mips", "the machine"),
    Package("depmod", "kmod", "its kernel's modules"),
    Package("cpio", "cpio", "its first RAM disk"),
    Package("mke2fs", "e2fsprogs", "its disks"),
    Package("mkfs.vfat", "dosfstools", "its disk as a shop sells it"),
    Package("mosquitto", "mosquitto", "the broker outside"),
)
IMAGE_MB = 200
# The Fonera's core with a floating-point unit, which Debian's programs are made for: on
# the bare 24Kc the kernel emulates what they do with it (decision 0118).
CPU = "24Kf"
PASSED, FAILED = "PASS", "FAIL"


def prepare() -> None:
    """Have in FOLDER what the machine is made of. Uses the network."""
    absent = missing(NEEDED)
    if absent and not install([one.name for one in absent]):
        names = ", ".join(one.name for one in absent)
        raise SystemExit(f"These Debian packages are missing: {names}")
    lower = rootfs.build("mipsel")
    root = FOLDER / "root"
    shutil.rmtree(root, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for source in (lower, STAND_INS):
        # A stand-in replaces busybox's link of its name, not busybox.
        copy = ["cp", "-a", "--remove-destination", f"{source}/.", str(root)]
        subprocess.run(copy, check=True)
    folders = ("etc/init.d", "etc/rc.d", "mnt/disk", "tmp", "root", "rom", "overlay")
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
    file = ipk.build("fonshare-agent", FOLDER, vendored.bring(), ipk.source_date())
    _forget_another_package(file)
    shutil.copy(file, root / "packages" / "fonshare-agent.ipk")
    for name, text in PROGRAMS.items():
        program = root / "usr" / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    build_image(Userland(lower.parent, "mipsel"), root, FOLDER, IMAGE_MB)
    vm_feed.cut(root, file, FOLDER / "bundle")
    file.unlink()
    write_image(root, FOLDER / "bare.ext4", IMAGE_MB)


def _forget_another_package(file: Path) -> None:
    """Remove the installed router if it is not of this very package and image."""
    stamp, digest = FOLDER / "installed.of", hashlib.sha256(file.read_bytes())
    for made_by in (vm_image.__file__, vm_router.__file__, vm_feed.__file__):
        digest.update(Path(made_by).read_bytes())
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        (FOLDER / "installed.ext4").unlink(missing_ok=True)
        stamp.write_text(digest.hexdigest())


def show(names: list[str], memory_mb: int, cpu: str) -> int:
    """Tell the parts, in a network namespace of its own; the exit status."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in NETWORKS:
        host, guest = f"{network}.2", f"{network}.15"
        for words in (
            f"addr add {host} dev lo",
            # What goes to a machine comes from its network's host, as it must seem to.
            f"route add local {guest} dev lo src {host}",
        ):
            subprocess.run(["ip", *words.split()], check=True)
    if "install" not in names and not (FOLDER / "installed.ext4").exists():
        names.insert(0, "install")
    rows = [_tell_part(name, memory_mb, cpu) for name in names]
    print(f"\n{'part':10}{'outcome':9}{'s':>6}  what was seen ({cpu}, {memory_mb} MB)")
    for name, (outcome, seconds, figures) in zip(names, rows, strict=True):
        first, *rest = figures or [""]
        print(f"{name:10}{outcome:9}{seconds:6.0f}  {first}")
        for text in rest:
            print(f"{'':27}{text}")
    passed = sum(outcome == PASSED for outcome, _, _ in rows)
    minutes = sum(seconds for _, seconds, _ in rows) / 60
    print(f"{passed} of {len(rows)} parts passed, in {minutes:.0f} minutes")
    return 0 if passed == len(rows) else 1


def _tell_part(name: str, memory_mb: int, cpu: str) -> tuple[str, float, list[str]]:
    """Return a part's outcome, how long it took here, and its figures."""
    print(f"\n{name}: {PARTS[name].__doc__}", flush=True)
    began, outcome = time.monotonic(), FAILED
    stage = Stage(FOLDER, memory_mb, cpu)
    try:
        PARTS[name](stage)
        outcome = PASSED
    except FAILURES as error:
        print(f"{name}: {error!r}", flush=True)
    finally:
        stage.close()
    seconds = time.monotonic() - began
    print(f"{outcome}: {name}, {seconds:.0f} s", flush=True)
    return outcome, seconds, stage.figures


def main() -> int:
    """Prepare, enter a namespace, tell the story; the exit status."""
    parser = argparse.ArgumentParser(description="A 64 MB MIPS router, shown.")
    parser.add_argument("--cpu", default=CPU, choices=(CPU, "24Kc", "34Kf", "P5600"))
    parser.add_argument("--memory", type=int, default=64, metavar="MB")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if options.inside:
        names = options.parts or list(PARTS)
        return show(names, options.memory, options.cpu)
    prepare()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--net", *user, sys.executable, *sys.argv, "--inside"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
