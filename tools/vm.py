"""`make vm`: a 64 MB MIPS router, whole, with the package, a USB disk and a friend.

    python3 tools/vm.py [--cpu 24Kc|P5600] [--memory MB]

Installs the package in the machine, plugs in a USB disk, starts the service, stores and
fetches a file by FTP from outside, lets the router found a group that a node outside
joins, fetches a file in both directions, pulls the disk and puts it back, and prints
what memory all of it took. In a network namespace of its own: broker and friend run on
this machine. OpenWrt's own programs are the stand-ins of tests/rootfs.
"""

import argparse
import contextlib
import ftplib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ipk
import rootfs
import vendored
from demo_nodes import Node, Ports, start_broker, wait_for
from packages import Package, install, missing
from userland import Userland
from vm_machine import GUEST, HOST, Machine, build_image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "vm"
STAND_INS = ROOT / "tests" / "rootfs" / "stand_in"
NEEDED = (
    Package("qemu-system-mipsel", "qemu-system-mips", "the machine"),
    Package("depmod", "kmod", "its kernel's modules"),
    Package("cpio", "cpio", "its first RAM disk"),
    Package("mke2fs", "e2fsprogs", "its disks"),
)
IMAGE_MB, DISK_MB, FILE_MB = 200, 64, 4
PATIENCE_S = 900.0  # the machine is slow, and this one may be busy
GROUP, PASSWORD = "Famille", "secret"
PORTS = [2121, 2122, *range(30000, 30020)]
MEMORY = "grep -E 'VmHWM|VmRSS|RssAnon|Threads' /proc/$(agent)/status"
AGENT = """#!/bin/sh
for one in /proc/[0-9]*; do
	grep -q resident "$one/cmdline" 2> /dev/null && echo "${one#/proc/}" && exit 0
done
exit 1
"""


class Story:
    """What is shown, step by step; each says how long it took."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self._began = machine, time.monotonic()

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s  {text}", flush=True)

    def run(self, command: str) -> str:
        return self.machine.run(command, PATIENCE_S)

    def until(self, command: str) -> None:
        """Repeat a command in the machine until it succeeds."""
        self.run(
            f"tries=0; until {{ {command}; }} > /dev/null 2>&1; do sleep 1; "
            f"tries=$((tries + 1)); [ $tries -lt {PATIENCE_S:.0f} ] || exit 1; done"
        )

    # --- the parts ---

    def install(self) -> None:
        self.tell(f"booted: {self._free()}")
        self.run("opkg install /packages/fonshare-agent.ipk")
        self.tell(f"installed and compiled: {self._free()}")

    def plug(self, disk: Path) -> None:
        self.run("modprobe ehci-pci && modprobe usb-storage")
        self.machine.plug(disk)
        self.until("test -b /dev/sda")
        self.run("mkdir -p /mnt/disk && mount -t ext4 -o noatime /dev/sda /mnt/disk")
        self.run("chown fonshare /mnt/disk")
        self.tell("USB disk plugged in and mounted")

    def start(self, broker: str) -> None:
        options = {
            "node.enabled": "1",
            "node.name": "fonera",
            "node.port_mapping": "off",
            "node.allow_private_addresses": "1",
            "disk.path": "/mnt/disk",
            "mqtt.broker": broker,
        }
        batch = [f"set fonshare.{name}='{value}'" for name, value in options.items()]
        batch.append(f"add_list fonshare.ftp.house_networks={HOST}/32")
        self.run(f"printf '%s\\n' {shlex.join(batch)} | uci batch")
        self.run(
            "uci add fonshare user && uci set fonshare.@user[0].name=owner && "
            f"uci set fonshare.@user[0].password={PASSWORD} && "
            "uci set fonshare.@user[0].access=write && uci commit fonshare"
        )
        before = float(self.run("cut -d' ' -f1 /proc/uptime"))
        self.run("/etc/init.d/fonshare start")
        self.until("logread | grep -q 'is up'")
        ready = float(self.run("cut -d' ' -f1 /proc/uptime")) - before
        self.tell(f"the service is up, {ready:.1f} s after its start by its own clock")
        self.show_memory("idle")

    def use_ftp(self) -> None:
        data = os.urandom(FILE_MB << 20)
        with ftplib.FTP() as ftp:
            ftp.connect(GUEST, 2121, timeout=PATIENCE_S)
            ftp.login("owner", PASSWORD)
            ftp.mkd("films")
            began = time.monotonic()
            with (FOLDER / "sent").open("wb+") as file:
                file.write(data)
                file.seek(0)
                ftp.storbinary("STOR films/film.bin", file)
            up, began = time.monotonic() - began, time.monotonic()
            got = hashlib.sha256()
            ftp.retrbinary("RETR films/film.bin", got.update)
            down = time.monotonic() - began
        if got.digest() != hashlib.sha256(data).digest():
            raise SystemExit("FTP gave back another file")
        speeds = f"{FILE_MB / up:.1f} MB/s up, {FILE_MB / down:.1f} down"
        self.tell(f"FTP from outside: {FILE_MB} MB stored and fetched, {speeds}")
        self.show_memory("after FTP")

    def meet(self, friend: Node) -> None:
        """The friend joins the router's group; each fetches a file of the other."""
        self.run(f"fonshare group create {GROUP}")
        self.run(f"fonshare share add films --name Films --group {GROUP}")
        code = self.run(f"fonshare group invite {GROUP} --accept-first").split()[-1]
        friend.ask("group", "join", code, "--yes")
        self.until(f"fonshare group ls | grep -q {friend.name}")
        self.tell("a node outside has joined the router's group")
        (friend.disk / "songs").mkdir()
        (friend.disk / "songs" / "song.bin").write_bytes(os.urandom(FILE_MB << 20))
        friend.ask("share", "add", "songs", "--name", "Songs", "--group", GROUP)
        wait_for(
            "the router's file in the friend's list",
            lambda: friend.ask("find", "film.bin"),
            PATIENCE_S,
        )
        jobs = friend.ask("get", f"{GROUP}/fonera/Films/film.bin", "--wait")
        if Path(jobs[0]["path"]).read_bytes() != (FOLDER / "sent").read_bytes():
            raise SystemExit("the friend has another file than the router sent")
        self.tell("the router has served a file to the friend")
        self.until("fonshare find song.bin | grep -q song.bin")
        self.run(f"fonshare get {GROUP}/{friend.name}/Songs/song.bin --wait")
        sum_here = self.run("find /mnt/disk/downloads -name song.bin | xargs sha256sum")
        wanted = (friend.disk / "songs" / "song.bin").read_bytes()
        if sum_here.split()[0] != hashlib.sha256(wanted).hexdigest():
            raise SystemExit("the router has another file than the friend sent")
        self.tell("the router has fetched a file from the friend")
        self.show_memory("after serving and fetching")

    def pull_the_disk(self, disk: Path) -> None:
        self.machine.unplug()
        self.until("fonshare status | grep -q '^disk  *missing'")
        self.tell("disk pulled: the agent runs, and says so")
        self.run("umount -l /mnt/disk")
        self.machine.plug(disk)
        self.until("ls /dev/sd? && mount -t ext4 $(ls /dev/sd? | tail -n 1) /mnt/disk")
        self.until("fonshare status | grep -q '^disk .* free of'")
        self.tell("disk put back: it goes on")
        self.show_memory("thereafter")

    def show_memory(self, when: str) -> None:
        fields = dict(re.findall(r"(\w+):\s+(\d+)", self.run(MEMORY)))
        figures = ", ".join(
            f"{name} {int(number):,}" for name, number in fields.items()
        )
        self.tell(f"  memory {when} (KiB): {figures}; {self._free()}")

    def _free(self) -> str:
        said = self.run("grep -E 'MemTotal|MemAvailable' /proc/meminfo")
        total, free = re.findall(r"(\d+) kB", said)
        return f"{int(free):,} of {int(total):,} KiB of memory free"


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
    for name in ("etc/init.d", "etc/rc.d", "mnt/disk", "tmp", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    file = ipk.build("fonshare-agent", FOLDER, vendored.bring(), ipk.source_date())
    file.replace(root / "packages" / "fonshare-agent.ipk")
    program = root / "usr" / "bin" / "agent"
    program.write_text(AGENT)
    program.chmod(0o755)
    build_image(Userland(lower.parent, "mipsel"), root, FOLDER, IMAGE_MB)


def show(memory_mb: int, cpu: str) -> None:
    """The story, in a network namespace of its own."""
    for words in (
        "link set lo up",
        f"addr add {HOST} dev lo",
        # What goes to the machine comes from its network's host, as it must seem to.
        f"route add local {GUEST} dev lo src {HOST}",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    disk, outside = FOLDER / "disk.ext4", FOLDER / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    disk.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(disk), f"{DISK_MB}M"], check=True)
    with contextlib.ExitStack() as stack:
        ports = Ports()
        broker_port = ports.take(1)
        broker, _ = start_broker(outside / "broker", broker_port, False)
        stack.callback(broker.end)
        url = f"mqtt://{HOST}:{broker_port}"
        friend = Node("friend", outside, ports, f"mqtt://127.0.0.1:{broker_port}")
        settings = friend.settings.read_text().replace(
            "port_mapping: off",
            f"port_mapping: off, public_name: {HOST}, allow_private_addresses: true",
        )
        friend.settings.write_text(
            settings.replace("address: 127.0.0.1", "address: 0.0.0.0")
        )
        friend.start()
        stack.callback(friend.end)
        friend.wait_until_up()
        machine = stack.enter_context(Machine(FOLDER, memory_mb, cpu, PORTS))
        machine.wait_for("READY after", PATIENCE_S)
        story = Story(machine)
        story.install()
        story.plug(disk)
        story.start(url)
        story.use_ftp()
        story.meet(friend)
        story.pull_the_disk(disk)


def main() -> int:
    """Prepare, enter a namespace, tell the story; the exit status."""
    parser = argparse.ArgumentParser(description="A 64 MB MIPS router, shown.")
    parser.add_argument("--cpu", default="24Kc", choices=("24Kc", "34Kf", "P5600"))
    parser.add_argument("--memory", type=int, default=64, metavar="MB")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        show(options.memory, options.cpu)
        return 0
    prepare()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--net", *user, sys.executable, *sys.argv, "--inside"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
