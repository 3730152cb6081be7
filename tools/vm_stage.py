"""What the parts of the story are told on: broker, friend, routers, and the table.

All in one network namespace: the broker and the friend's node run on this PC.
"""

import ftplib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

from demo_nodes import DemoFailed, Node, Ports, start_broker, wait_for
from vm_image import MachineFailed
from vm_machine import NETWORKS, Machine, Plan
from vm_router import GROUP, PATIENCE_S, PORTS, Router, some_bytes

# What ends one part and lets the others go on; the last two are FTP's from outside.
FAILURES = (
    *(MachineFailed, DemoFailed, OSError, subprocess.CalledProcessError),
    *(EOFError, ftplib.Error),
)
FRIEND_FILE, FRIEND_MB = "song.bin", 8
MODIFIED = 1_000_000_001
# So slow that something can happen while its file is moved: the friend lives in the
# PC's time, and a machine may need a minute of it to end the command that asked.
FRIEND_KIB_S = 32


class Stage:
    """One part's world; `close` ends all of it."""

    def __init__(self, folder: Path, memory_mb: int, cpu: str) -> None:
        self.folder = folder
        self._memory_mb, self._cpu = memory_mb, cpu
        self._stack, self._ports = ExitStack(), Ports()
        self._began = time.monotonic()
        self._broker_port = 0
        self.figures: list[str] = []

    def close(self) -> None:
        self._stack.close()

    def tell(self, text: str, *, is_figure: bool = False) -> None:
        """Show what has been seen; a figure is repeated in the table at the end."""
        print(f"{time.monotonic() - self._began:6.0f} s  {text}", flush=True)
        if is_figure:
            self.figures.append(text)

    # --- the world outside ---

    def broker(self) -> str:
        """The broker's URL, the same for all: it is in the group's roster."""
        if not self._broker_port:
            shutil.rmtree(self.folder / "outside", ignore_errors=True)
            self._broker_port = self._ports.take(1)
            folder = self.folder / "outside" / "broker"
            broker, _ = start_broker(folder, self._broker_port, False, "0.0.0.0")
            self._stack.callback(broker.end)
        return f"mqtt://{NETWORKS[0]}.2:{self._broker_port}"

    def friend(self, more: Mapping[str, bytes] = MappingProxyType({})) -> Node:
        """A node outside, up, with one file of FRIEND_MB that it sends slowly.

        *more* are files of MODIFIED that it shares as well.
        """
        broker, folder = self.broker(), self.folder / "outside"
        friend = Node("friend", folder, self._ports, broker)
        text = friend.settings.read_text().replace(
            "port_mapping: off",
            f"port_mapping: off, public_name: {NETWORKS[0]}.2, "
            "allow_private_addresses: true",
        )
        text = text.replace("address: 127.0.0.1", "address: 0.0.0.0")
        text += f"limits: {{upload_kib_s: {FRIEND_KIB_S}}}\n"
        friend.settings.write_text(text)
        (friend.disk / "songs").mkdir()
        for name, data in more.items():
            file = friend.disk / "songs" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
            os.utime(file, (MODIFIED, MODIFIED))
        (friend.disk / "songs" / FRIEND_FILE).write_bytes(some_bytes(FRIEND_MB))
        friend.start()
        self._stack.callback(friend.end)
        friend.wait_until_up()
        return friend

    # --- the routers ---

    def plan(self, root: Path, number: int = 0, **more: object) -> Plan:
        return Plan(
            **{
                "kernel": self.folder,
                "root": root,
                "memory_mb": self._memory_mb,
                "cpu": self._cpu,
                "number": number,
                "ports": PORTS,
                **more,
            }  # type: ignore[arg-type]
        )

    @property
    def installed(self) -> Path:
        """The root image with the package, as the part `install` left it."""
        image = self.folder / "installed.ext4"
        if not image.exists():
            raise MachineFailed("there is no installed router: run the part `install`")
        return image

    def copy_of_installed(self) -> Path:
        """A root image that a machine may change for good."""
        return Path(shutil.copy(self.installed, self.folder / "kept.ext4"))

    @contextmanager
    def router(
        self, plan: Plan, disk: Path | None = None, name: str = "fonera"
    ) -> Iterator[Router]:
        """A booted router; when the block ends, by whatever, its power is cut."""
        with Machine(plan, disk) as machine:
            router = Router(machine, name)
            self.tell(router.boot())
            try:
                yield router
            except FAILURES as error:
                try:
                    said = machine.run("dmesg | tail -n 25; logread | tail -n 25", 60)
                except MachineFailed:
                    said = "it says nothing more"
                raise MachineFailed(f"{error!r}\nin the machine:\n{said}") from error

    @contextmanager
    def started(
        self, disk: Path, name: str = "fonera", number: int = 0
    ) -> Iterator[Router]:
        """A router with its disk, set up and up."""
        with self.router(self.plan(self.installed, number), disk, name) as router:
            router.until("grep -q /mnt/disk /proc/mounts")
            router.configure(self.broker())
            router.start()
            yield router

    def meet(self, router: Router, friend: Node) -> None:
        """The friend joins the router's group and shares its folder there."""
        router.run("mkdir -p /mnt/disk/films && chown fonshare /mnt/disk/films || true")
        router.run(f"fonshare group create {GROUP}")
        router.run(f"fonshare share add films --name Films --group {GROUP}")
        code = router.run(f"fonshare group invite {GROUP} --accept-first").split()[-1]
        friend.ask("group", "join", code, "--yes")
        wait_for("the friend's joining", lambda: _others(friend), PATIENCE_S)
        friend.ask("share", "add", "songs", "--name", "Songs", "--group", GROUP)
        self.tell("a node outside has joined the router's group")

    def serve(self, router: Router, friend: Node, name: str, data: bytes) -> None:
        """The friend fetches a file of the router."""
        wait_for(f"{name} is listed", lambda: friend.ask("find", name), PATIENCE_S)
        entry = f"{GROUP}/{router.name}/Films/{name}"
        job = friend.ask("get", entry, "--wait")[0]
        if Path(job["path"]).read_bytes() != data:
            raise MachineFailed("the friend has another file than the router sent")
        self.tell("the router has served a file to the friend")

    def fetch(self, router: Router, friend: Node, *, is_waiting: bool = True) -> None:
        """The router fetches the friend's file, or begins to."""
        router.get(f"{GROUP}/{friend.name}/Songs/{FRIEND_FILE}")
        if is_waiting:
            self.expect_fetched(router, friend)

    def wait_until_moving(self, router: Router) -> None:
        """Return when a part of the friend's file is on the router's disk."""
        router.until(
            "[ $(du -s /mnt/disk/.fonshare/partial | cut -f1) -gt 500 ]", pause_ms=200
        )

    def expect_fetched(self, router: Router, friend: Node) -> None:
        """Wait for the friend's file on the router's disk, whole; it may hurry now."""
        friend.ask("limits", "--upload", "0")
        router.until(f"find /mnt/disk/downloads -name {FRIEND_FILE} | grep -q .", 1000)
        sent = (friend.disk / "songs" / FRIEND_FILE).read_bytes()
        router.expect(router.found(FRIEND_FILE), sent)
        self.tell("the router has fetched a file from the friend")


def _others(node: Node) -> list[str]:
    """Whom a node outside knows in its groups, itself apart."""
    members = [one["name"] for row in node.ask("group", "ls") for one in row["members"]]
    return [name for name in members if name != node.name]
