"""A whole emulated router: a MIPS machine with 64 MB, its kernel, a USB port.

qemu-system-mipsel's malta board with Debian's kernel, driven over its serial line (the
shell there) and QEMU's own control socket (the USB disk). Its ports are the same ones
at GUEST on this side. The root file system is an ext4 image that `build_image` makes of
a folder; what the machine changes of it is forgotten when it ends.
"""

import json
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from userland import Userland

GUEST, HOST = "10.0.2.15", "10.0.2.2"  # as QEMU's own network has them
KERNEL_PACKAGE, BUSYBOX_PACKAGE = "linux-image-4kc-malta", "busybox-static"
# For the initial RAM disk: what reaches the root file system.
EARLY = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic")
# Loaded later, by what needs them.
LATE = ("ehci-pci", "usb-storage", "vfat", "nls_cp437", "nls_ascii", "nls_utf8")
INIT = """#!/bin/sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/modules/$module"; done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
	$B usleep 100000; tries=$((tries + 1))
done
$B mount -t ext4 -o noatime /dev/vda /newroot || exec $B sh
for place in proc sys dev; do $B mount --move /$place /newroot/$place; done
exec $B switch_root /newroot /etc/rc.machine
"""
RC = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /var/run /var/lock /var/log
mount -t devpts pts /dev/pts
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up
ip route add default via 10.0.2.2
hostname router; dmesg -n 3
stty -F /dev/ttyS0 -echo -onlcr
echo "READY after $(cut -d' ' -f1 /proc/uptime)"
while :; do PS1= PS2= setsid sh -c 'exec sh < /dev/ttyS0 > /dev/ttyS0 2>&1'; done
"""


class MachineFailed(Exception):
    """The machine did not do what it was told; the text has what it said."""


def build_image(userland: Userland, root: Path, out: Path, size_mb: int) -> None:
    """Make kernel, initial RAM disk and root image in *out* of the folder *root*.

    *root* is given the kernel's late modules and the first script that runs.
    """
    out.mkdir(parents=True, exist_ok=True)
    kernel, busybox = _unpack_kernel(userland, out)
    version = next((kernel / "lib/modules").iterdir()).name
    subprocess.run(["depmod", "-b", str(kernel), version], check=True)
    early = [path for name in EARLY for path in _modules(kernel, version, name)]
    _write_initrd(out, busybox, list(dict.fromkeys(early)))
    for name in LATE:
        for path in _modules(kernel, version, name):
            into = root / path.relative_to(kernel)
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(
            kernel / "lib/modules" / version / name, root / "lib/modules" / version
        )
    subprocess.run(["depmod", "-b", str(root), version], check=True)
    _write(root / "etc" / "rc.machine", RC)
    shutil.copy(kernel / "boot" / f"vmlinuz-{version}", out / "vmlinuz")
    (out / "root.ext4").unlink(missing_ok=True)
    subprocess.run(
        [
            *("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-N", "20000"),
            *("-O", "^has_journal,^metadata_csum", "-d", str(root)),
            *(str(out / "root.ext4"), f"{size_mb}M"),
        ],
        check=True,
    )


def _unpack_kernel(userland: Userland, out: Path) -> tuple[Path, Path]:
    """Return the folders with the kernel's package and a static busybox, unpacked."""
    kernel, busybox = out / "kernel", out / "busybox"
    if not (kernel.exists() and busybox.exists()):
        environment = userland.apt_environment
        shown = subprocess.run(
            ["apt-cache", "depends", KERNEL_PACKAGE],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        named = re.search(r"Depends: (linux-image-\d\S*)", shown.stdout)
        if named is None:
            raise MachineFailed(f"Debian has no {KERNEL_PACKAGE} any more")
        with tempfile.TemporaryDirectory(dir=out) as work:
            command = ["apt-get", "-qq", "download", named[1], BUSYBOX_PACKAGE]
            subprocess.run(command, cwd=work, env=environment, check=True)
            for file in Path(work).glob("*.deb"):
                into = busybox if file.name.startswith(BUSYBOX_PACKAGE) else kernel
                subprocess.run(["dpkg-deb", "-x", str(file), str(into)], check=True)
    return kernel, busybox


def _modules(kernel: Path, version: str, name: str) -> list[Path]:
    """Return the module's file and those it needs, these first."""
    shown = subprocess.run(
        ["modprobe", "-d", str(kernel), "-S", version, "--show-depends", name],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in shown.stdout.splitlines()]
    return [Path(words[1]) for words in lines if words[0] == "insmod"]


def _write_initrd(out: Path, busybox: Path, modules: list[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=out) as folder:
        tree = Path(folder)
        for name in ("bin", "proc", "sys", "dev", "newroot", "modules"):
            (tree / name).mkdir()
        shutil.copy(busybox / "bin" / "busybox", tree / "bin")
        (tree / "bin" / "sh").symlink_to("busybox")
        for path in modules:
            shutil.copy(path, tree / "modules")
        order = "".join(f"{path.name}\n" for path in modules)
        (tree / "modules" / "order").write_text(order)
        _write(tree / "init", INIT)
        command = "find . | cpio -o -H newc --quiet -R 0:0 | gzip -6"
        with (out / "initrd.gz").open("wb") as file:
            subprocess.run(command, shell=True, cwd=tree, stdout=file, check=True)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


class Machine:
    """One running machine; leaving its `with` block switches it off."""

    def __init__(self, out: Path, memory_mb: int, cpu: str, ports: list[int]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fonshare-vm-"))
        forwarded = "".join(f",hostfwd=tcp:{GUEST}:{one}-:{one}" for one in ports)
        relaxed = " ieee754=relaxed" if cpu == "P5600" else ""
        self._log = (self._folder / "qemu.log").open("wb")
        self._process = subprocess.Popen(
            [
                *("qemu-system-mipsel", "-M", "malta", "-m", str(memory_mb)),
                *("-cpu", cpu, "-display", "none", "-vga", "none", "-no-reboot"),
                *("-kernel", str(out / "vmlinuz"), "-initrd", str(out / "initrd.gz")),
                *("-append", f"console=ttyS0 quiet panic=-1{relaxed}"),
                *("-serial", f"unix:{self._folder}/serial,server=on,wait=off"),
                *("-qmp", f"unix:{self._folder}/control,server=on,wait=off"),
                "-drive",
                f"file={out}/root.ext4,format=raw,if=none,id=root,snapshot=on",
                *("-device", "virtio-blk-pci,drive=root"),
                *("-netdev", f"user,id=net{forwarded}"),
                *("-device", "virtio-net-pci,netdev=net,romfile="),
                *("-device", "usb-ehci,id=usb"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._serial = self._connect("serial")
        self._control = self._connect("control")
        self._answers = self._control.makefile("r")
        self._answers.readline()
        self._ask("qmp_capabilities")
        self._said, self._count = b"", 0

    def __enter__(self) -> "Machine":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.cut_power()

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._folder / name))
                return connection
            except OSError as error:
                connection.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self._folder / "qemu.log").read_text()
                    raise MachineFailed(f"qemu does not start: {said}") from error
                time.sleep(0.05)

    def _ask(self, command: str, **arguments: Any) -> Any:
        message = {"execute": command, "arguments": arguments}
        self._control.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = json.loads(self._answers.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MachineFailed(f"{command}: {answer['error']}")

    def wait_for(self, pattern: str, within_s: float) -> re.Match[bytes]:
        """Read the serial line up to *pattern*."""
        deadline, wanted = time.monotonic() + within_s, re.compile(pattern.encode())
        while not (found := wanted.search(self._said)):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                said = self._said[-2000:].decode(errors="replace")
                raise MachineFailed(
                    f"not within {within_s:.0f} s: {pattern}; it said {said}"
                )
            if select.select([self._serial], [], [], min(left_s, 1))[0]:
                data = self._serial.recv(1 << 16)
                if not data:
                    raise MachineFailed(f"it ended: {self._said[-2000:]!r}")
                self._said += data
        self._said = self._said[found.end() :]
        return found

    def run(self, command: str, within_s: float = 300) -> str:
        """Run a shell command in the machine; return what it printed."""
        self._count += 1
        begin, end = f"B{self._count}B", f"E{self._count}E"
        line = (
            f'echo "{begin}""="; {{ {command}\n}} </dev/null 2>&1; echo "{end}""=$?="\n'
        )
        self._serial.sendall(line.encode())
        self.wait_for(f"{begin}=\r?\n", within_s)
        found = self.wait_for(f"(?s)(.*?){end}=(\\d+)=\r?\n", within_s)
        said = found[1].decode(errors="replace").replace("\r\n", "\n")
        if found[2] != b"0":
            raise MachineFailed(f"{command}\n  -> {int(found[2])}: {said}")
        return said

    def plug(self, image: Path) -> None:
        """Plug in a USB disk."""
        file = {"driver": "file", "filename": str(image)}
        self._ask(
            "blockdev-add", **{"driver": "raw", "node-name": "disk", "file": file}
        )
        self._ask(
            "device_add", driver="usb-storage", id="stick", drive="disk", bus="usb.0"
        )

    def unplug(self) -> None:
        """Pull the USB disk, whatever the machine is doing with it."""
        self._ask("device_del", id="stick")
        deadline = time.monotonic() + 30
        while True:
            try:
                self._ask("blockdev-del", **{"node-name": "disk"})
                return
            except MachineFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def cut_power(self) -> None:
        """End it at once, as a power cut does."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        for one in (self._serial, self._control):
            one.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
