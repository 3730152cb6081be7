"""A whole emulated router: a MIPS machine with 64 MB, its kernel, a USB port.

qemu-system-mipsel's malta board with Debian's kernel (vm_image.py), driven by a shell
at the other end of a virtio port and by QEMU's own control socket (the USB disk). Its
ports are the same ones at its address on this side.

The machine's clock counts instructions and so goes slower where this PC is busy:
nothing in the machine is late for a deadline of its kernel because the PC had other
things to do, and what it takes there is the same anywhere. Who waits for the machine
waits by the turns that the PC gives it, for the same reason.
"""

import contextlib
import json
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from demo_nodes import die_with_parent
from vm_image import MachineFailed

# As QEMU's own network has them; the second router is in a network of its own.
NETWORKS = ("10.0.2", "10.0.3")
# Two to the power of this: nanoseconds by the machine's clock for an instruction. So
# the clock keeps about pace with the PC's, by which the node outside has its deadlines.
CLOCK_SHIFT = 4
# The Fonera's core: of its 384 million cycles a second, an instruction that waits for
# memory needs more than one.
ROUTER_NS = 4
USB_ID, DISK_NODE = "stick", "disk"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a machine is to be: its kernel's folder, its root image, how it boots."""

    kernel: Path
    root: Path
    cpu: str
    memory_mb: int = 64
    number: int = 0  # which of NETWORKS
    ports: tuple[int, ...] = ()
    is_root_kept: bool = False  # else what it changes of its root is forgotten
    extroot_s: int = 0  # how long its boot waits for the disk to lie over its root

    @property
    def guest(self) -> str:
        return f"{NETWORKS[self.number]}.15"

    @property
    def host(self) -> str:
        return f"{NETWORKS[self.number]}.2"


class Turns:
    """A clock for who waits for a process: it stands still while this PC is busy.

    What counts is the time in which the process had the PC, or did not want it. The
    kernel says how long each thread has waited for its turn.
    """

    def __init__(self, threads: Path) -> None:
        """*threads* is the process's folder /proc/PID/task."""
        self._threads = threads

    def __call__(self) -> float:
        return time.monotonic() - self._kept_waiting_s()

    def _kept_waiting_s(self) -> float:
        # Of the threads the one that emulates the processor has waited longest.
        waited_ns = [0]
        for file in self._threads.glob("*/schedstat"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                waited_ns.append(int(file.read_text().split()[1]))
        return max(waited_ns) / 1e9


class Line:
    """What the machine says at one of its ends, and is told there."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float]) -> None:
        self._connection, self._clock, self._said = connection, clock, b""

    def close(self) -> None:
        self._connection.close()

    def send(self, text: str) -> None:
        self._connection.sendall(text.encode())

    def wait_for(self, pattern: str, within_s: float) -> re.Match[bytes]:
        """Read what it says up to *pattern*; *within_s* is by the line's clock."""
        deadline, wanted = self._clock() + within_s, re.compile(pattern.encode())
        while not (found := wanted.search(self._said)):
            left_s = deadline - self._clock()
            if left_s <= 0:
                said = self._said[-2000:].decode(errors="replace")
                raise MachineFailed(
                    f"not within {within_s:.0f} s: {pattern}; it said {said}"
                )
            if select.select([self._connection], [], [], min(left_s, 1))[0]:
                data = self._connection.recv(1 << 16)
                if not data:
                    raise MachineFailed(f"it ended: {self._said[-2000:]!r}")
                self._said += data
        self._said = self._said[found.end() :]
        return found


class Machine:
    """One running machine; leaving its `with` block cuts its power."""

    def __init__(self, plan: Plan, disk: Path | None = None) -> None:
        self.plan = plan
        self._folder = Path(tempfile.mkdtemp(prefix="fonshare-vm-"))
        self._log = (self._folder / "qemu.log").open("wb")
        self._process = subprocess.Popen(
            self._command(plan),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),
        )
        self._count, turns = 0, Turns(Path(f"/proc/{self._process.pid}/task"))
        self._shell = Line(self._connect("shell"), turns)
        self._terminal = Line(self._connect("tty"), turns)
        self._control = self._connect("control")
        self._answers = self._control.makefile("r")
        self._answers.readline()
        self._ask("qmp_capabilities")
        if disk is not None:
            self.plug(disk)
        self._ask("cont")

    def _command(self, plan: Plan) -> list[str]:
        forwarded = "".join(
            f",hostfwd=tcp:{plan.guest}:{one}-:{one}" for one in plan.ports
        )
        options = f"console=ttyS0 quiet panic=-1 address={plan.guest}"
        if plan.cpu == "P5600":
            options += " ieee754=relaxed"
        if plan.extroot_s:
            options += f" extroot_s={plan.extroot_s}"
        snapshot = "off" if plan.is_root_kept else "on"
        return [
            *("qemu-system-mipsel", "-M", "malta", "-m", str(plan.memory_mb), "-S"),
            *("-cpu", plan.cpu, "-display", "none", "-vga", "none", "-no-reboot"),
            *("-icount", f"shift={CLOCK_SHIFT}", "-rtc", "clock=vm"),
            *("-kernel", str(plan.kernel / "vmlinuz"), "-append", options),
            *("-initrd", str(plan.kernel / "initrd.gz")),
            *("-serial", f"file:{self._folder}/console"),
            *("-qmp", f"unix:{self._folder}/control,server=on,wait=off"),
            *("-chardev", f"socket,id=sh,path={self._folder}/shell,server=on,wait=off"),
            *("-chardev", f"socket,id=tty,path={self._folder}/tty,server=on,wait=off"),
            *("-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=sh,nr=1"),
            *("-device", "virtconsole,chardev=tty,nr=2"),
            "-drive",
            f"file={plan.root},format=raw,if=none,id=root,snapshot={snapshot}",
            *("-device", "virtio-blk-pci,drive=root"),
            *("-netdev", f"user,id=net,net={NETWORKS[plan.number]}.0/24{forwarded}"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "usb-ehci,id=usb"),
        ]

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

    # --- the shell ---

    def wait_until_booted(self, within_s: float) -> float:
        """Return after how many seconds of its own the machine had booted."""
        try:
            return float(self._shell.wait_for(r"READY after (\S+)\r?\n", within_s)[1])
        except MachineFailed as error:
            said = (self._folder / "console").read_bytes()[-3000:]
            raise MachineFailed(f"{error}; {said.decode(errors='replace')}") from None

    def run(self, command: str, within_s: float = 300) -> str:
        """Run a shell command in the machine; return what it printed."""
        self._count += 1
        begin, end = f"B{self._count}B", f"E{self._count}E"
        line = (
            f'echo "{begin}""="; {{ {command}\n}} </dev/null 2>&1; echo "{end}""=$?="\n'
        )
        self._shell.send(line)
        self._shell.wait_for(f"{begin}=\r?\n", within_s)
        found = self._shell.wait_for(f"(?s)(.*?){end}=(\\d+)=\r?\n", within_s)
        said = found[1].decode(errors="replace").replace("\r\n", "\n")
        if found[2] != b"0":
            raise MachineFailed(f"{command}\n  -> {int(found[2])}: {said}")
        return said

    def answer(
        self, command: str, answers: Iterable[tuple[str, str]], within_s: float
    ) -> str:
        """Run a command on its terminal, as somebody who answers its questions.

        Return what it said after the last one.
        """
        shown = "exec <> /dev/hvc0 >&0 2>&0; stty sane"
        end = 'echo "END""=$?="'
        script = shlex.quote(f"{shown}; {command}; {end}")
        self.run(f"setsid sh -c {script} > /dev/null 2>&1 &")
        for question, text in answers:
            self._terminal.wait_for(re.escape(question), within_s)
            self._terminal.send(f"{text}\n")
        found = self._terminal.wait_for(r"(?s)(.*)END=(\d+)=", within_s)
        said = found[1].decode(errors="replace").replace("\r\n", "\n")
        if found[2] != b"0":
            raise MachineFailed(f"{command}\n  -> {int(found[2])}: {said}")
        return said

    # --- the hardware ---

    def plug(self, image: Path) -> None:
        """Plug in a USB disk."""
        file = {"driver": "file", "filename": str(image)}
        node = {"driver": "raw", "node-name": DISK_NODE, "file": file}
        self._ask("blockdev-add", **node)
        device = {"driver": "usb-storage", "id": USB_ID, "drive": DISK_NODE}
        self._ask("device_add", **device, bus="usb.0")

    def unplug(self) -> None:
        """Pull the USB disk, whatever the machine is doing with it."""
        self._ask("device_del", id=USB_ID)
        deadline = time.monotonic() + 30
        while True:
            try:
                self._ask("blockdev-del", **{"node-name": DISK_NODE})
                return
            except MachineFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def cut_power(self) -> None:
        """End it at once, as a power cut does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._answers.close()
        for one in (self._shell, self._terminal, self._control):
            one.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
