"""A router that has not been set up: its settings as shipped, a disk, and no agent yet.

`fonshare setup` runs as root has it (router_program.py), stores the answers by uci's
stand-in, and the service it restarts is a real agent with these settings.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nodes import NodeProcess
from programs import require_program
from settings_files import take_ports

ROOT = Path(__file__).parent.parent
UCI = ROOT / "tests/rootfs/stand_in/usr/sbin/uci"
PROGRAM = ROOT / "tests" / "router_program.py"
# A file system of its own, as a disk is one: the agent refuses the router's. It is
# shown elsewhere, since nothing in /dev is taken for a disk.
MEMORY = Path("/dev/shm")
# As proc(5) has it: the system's partition is mounted elsewhere as well (extroot).
MOUNTS = """\
23 1 8:1 / /overlay rw - ext4 /dev/sda1 rw
24 1 0:21 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper
25 24 8:1 / /mnt/root rw - ext4 /dev/sda1 rw
26 24 8:2 / {disk} rw - ext4 /dev/sda2 rw
27 24 8:33 / /mnt/broken ro - ext4 /dev/sdc1 ro
"""
OURS = """
config disk disk
	option keys '{folder}/keys'
	option run '{folder}/run'

config ftp ftp
	option address '127.0.0.1'
	option passive_ports '{passive}'
	option friends_passive_ports '{friends_passive}'
"""


class RouterBox(NodeProcess):
    """The node of a router, once `fonshare setup` has made it one."""

    def __init__(self, folder: Path, disk: Path, more: str = "") -> None:
        super().__init__(folder, "router", "")
        self.disk, self.ports = disk, take_ports()
        self.env["PATH"] = f"{folder / 'bin'}:{self.env['PATH']}"  # the agent's, too
        self.settings = folder / "etc" / "fonshare"
        self.control = folder / "run" / "control.sock"
        self.asked = folder / "asked"  # what the service was asked for
        for name in ("etc", "run", "bin"):
            (folder / name).mkdir(exist_ok=True)
        passive, friends = self.ports.passive, self.ports.friends_passive
        shipped = (ROOT / "files/etc/config/fonshare").read_text()
        ours = OURS.format(
            folder=folder,
            passive="{}-{}".format(*passive),
            friends_passive="{}-{}".format(*friends),
        )
        self.settings.write_text(shipped + ours + more)
        (folder / "mounts").write_text(MOUNTS.format(disk=disk))
        busybox = require_program("busybox")
        for name, line in (
            ("uci", f'exec {busybox} ash {UCI} -c {folder}/etc "$@"'),
            ("service", f'echo "$*" > {self.asked}'),
        ):
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / "bin" / name).chmod(0o755)

    @property
    def programs(self) -> dict[str, Callable[[list[str]], tuple[int, str]]]:
        """What LuCI may run there, as luci_stand_in.RouterFiles wants it."""
        return {"/usr/bin/fonshare": self._fonshare, "/etc/init.d/fonshare": self._act}

    def _fonshare(self, words: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, PROGRAM, self.folder, *words],
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        if self.asked.exists():
            self._act(self.asked.read_text().split())
            self.asked.unlink()
        return done.returncode, done.stdout

    def _act(self, words: list[str]) -> tuple[int, str]:
        if words != ["start"]:
            self.stop()
        if words != ["stop"] and self.process is None:
            self.launch()
        return 0, ""


@contextmanager
def router_box(folder: Path, more: str = "") -> Iterator[RouterBox]:
    """A router in *folder* for the time of a `with` block; *more* is set already."""
    memory = Path(tempfile.mkdtemp(prefix="fonshare-", dir=MEMORY))
    memory.chmod(0o755)
    folder.mkdir(parents=True)
    disk = folder / "sda2"
    disk.symlink_to(memory)
    box = RouterBox(folder, disk, more)
    try:
        yield box
    except BaseException:
        print(f"--- router\n{box.tail() if box.log.exists() else ''}")
        raise
    finally:
        box.stop()
        shutil.rmtree(memory)
