"""The emulated router as its owner has it: installed, set up, used from outside.

What is done with a machine (vm_machine.py) in words of FonShare; the parts of the story
in vm_parts.py are told with it.
"""

import ftplib
import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from vm_image import MachineFailed
from vm_machine import CLOCK_SHIFT, ROUTER_NS, Machine

PATIENCE_S = 3600.0  # with the machine; what this PC is busy with does not count
GROUP, PASSWORD = "Famille", "secret"
FTP_PORT = 2121
PORTS = (FTP_PORT, FTP_PORT + 1, *range(30000, 30020))
ROUTER_SECOND = ROUTER_NS / (1 << CLOCK_SHIFT)  # of a second of its clock
STARTTIME, TICKS_A_SECOND = 19, 100  # in /proc/PID/stat, counted after the name
STATUS = "grep -E 'VmHWM|VmRSS|RssAnon|Threads' /proc/$(agent)/status"
# Which process the agent is; a program of its own in the machine.
AGENT = """#!/bin/sh
for one in /proc/[0-9]*; do
	grep -q resident "$one/cmdline" 2> /dev/null && echo "${one#/proc/}" && exit 0
done
exit 1
"""
# Runs a command and says what memory the machine had least while it ran, what was taken
# of it at most (by programs, and by files in memory), and what was said then.
LEAST = """#!/bin/sh
"$@" > /tmp/least.said 2>&1 &
least=999999 most=0
while kill -0 $! 2> /dev/null; do
	taken=0
	while read -r name number _; do
		case $name in
		MemAvailable:) [ "$number" -ge "$least" ] || least=$number ;;
		AnonPages: | Shmem:) taken=$((taken + number)) ;;
		esac
	done < /proc/meminfo
	if [ "$taken" -gt "$most" ]; then
		most=$taken
		while read -r line; do said=$line; done < /tmp/least.said
	fi
	usleep 500000
done
wait $! || { cat /tmp/least.said; exit 1; }
echo "$least $most $said"
"""
PROGRAMS = {"agent": AGENT, "least": LEAST}


class Router:
    """One router; what it says about itself goes to *tell*."""

    def __init__(self, machine: Machine, name: str = "fonera") -> None:
        self.machine, self.name = machine, name

    def boot(self) -> str:
        """Wait for it; return what is to be said of it."""
        booted_s = self.machine.wait_until_booted(PATIENCE_S)
        return f"booted in {booted_s * ROUTER_SECOND:.0f} s: {self.free()}"

    def run(self, command: str, within_s: float = PATIENCE_S) -> str:
        return self.machine.run(command, within_s)

    def until(self, command: str, pause_ms: int = 500) -> None:
        """Repeat a command in the machine until it succeeds."""
        tries = int(PATIENCE_S * 1000 / pause_ms)
        self.run(
            f"tries=0; until {{ {command}; }} > /dev/null 2>&1; do "
            f"usleep {pause_ms * 1000}; tries=$((tries + 1)); "
            f"[ $tries -lt {tries} ] || {{ logread | tail -n 5; exit 1; }}; done"
        )

    def uptime_s(self) -> float:
        """What its CPU has done since it was switched on, in seconds of a Fonera."""
        return float(self.run("cut -d' ' -f1 /proc/uptime")) * ROUTER_SECOND

    # --- the service ---

    def configure(self, broker: str) -> None:
        """Write its settings: one owner, a broker, the disk at /mnt/disk."""
        self._set(
            {
                "node.enabled": "1",
                "node.name": self.name,
                "node.port_mapping": "off",
                "disk.path": "/mnt/disk",
                "mqtt.broker": broker,
            }
        )
        self.run(
            "uci add fonshare user && uci set fonshare.@user[0].name=owner && "
            f"uci set fonshare.@user[0].password={PASSWORD} && "
            "uci set fonshare.@user[0].access=write && uci commit fonshare"
        )
        self.run("/etc/init.d/fonshare enable")

    def _set(self, options: dict[str, str]) -> None:
        """Write settings, and that the networks of this story are taken for others."""
        options = {**options, "node.allow_private_addresses": "1"}
        batch = [f"set fonshare.{name}='{value}'" for name, value in options.items()]
        host = self.machine.plan.host
        batch.append(f"add_list fonshare.ftp.house_networks={host}/32")
        self.run(f"printf '%s\\n' {shlex.join(batch)} | uci batch")
        self.run("uci commit fonshare")

    def set_up(self, broker: str) -> str:
        """Have `fonshare setup` ask; return what it said after the last answer."""
        self._set({})
        answers = (
            ("Name of this node", self.name),
            ("Disk, by its number", "1"),
            ("Password", PASSWORD),
            ("Again", PASSWORD),
            ("Folders that guests", ""),
            ("Which broker", broker),
            ("Port of the house", ""),
            ("Ask the router upstream", "no"),
        )
        return self.machine.answer("fonshare setup", answers, PATIENCE_S)

    def start(self) -> tuple[float, float]:
        """Start the service; return the seconds until it is up, on a Fonera.

        First all of them, then those since the agent's process began: what is before
        that is the work of the stand-ins of uci and procd, which are shell.
        """
        self.run("rm -f /var/log/messages")
        before = self.uptime_s()
        self.run("/etc/init.d/fonshare start")
        self.wait_until_up()
        up = self.uptime_s()
        fields = self.run("cat /proc/$(agent)/stat").rpartition(")")[2].split()
        began = int(fields[STARTTIME]) / TICKS_A_SECOND * ROUTER_SECOND
        return up - before, up - began

    def wait_until_up(self) -> None:
        # Looking takes CPU from what is waited for: not more often than this, which is
        # a quarter of a second of a Fonera.
        self.until("logread | grep -q 'is up'", pause_ms=1000)

    def get(self, entry: str) -> None:
        """Have it fetched, as soon as it is listed there."""
        self.until(f"fonshare get {shlex.quote(entry)}", pause_ms=5000)

    def wait_until_said(self, text: str, times: int = 1) -> None:
        """Wait for so many lines of the log: a command would take the agent's CPU."""
        self.until(
            f'[ "$(logread | grep -c {shlex.quote(text)})" -ge {times} ]', pause_ms=1000
        )

    def memory(self) -> str:
        """What the agent takes, and what the machine has left."""
        fields = dict(re.findall(r"(\w+):\s+(\d+)", self.run(STATUS)))
        figures = [f"{name} {int(number):,}" for name, number in fields.items()]
        return f"memory (KiB): {', '.join(figures)}; {self.free()}"

    def free(self) -> str:
        said = self.run("grep -E 'MemTotal|MemAvailable' /proc/meminfo")
        total, free = re.findall(r"(\d+) kB", said)
        return f"{int(free):,} of {int(total):,} KiB of memory free"

    def used_kib(self, path: str) -> int:
        """How much of the file system at *path* is used."""
        return int(self.run(f"df -k {path} | tail -n 1").split()[-4])

    def at_once_kib(self) -> int:
        """What memory it can give at once, as the agent counts it before a login."""
        said = self.run("grep -E '^MemFree|ctive.file' /proc/meminfo")
        return sum(map(int, re.findall(r"(\d+) kB", said)))

    def killed(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        return int(self.run("grep oom_kill /proc/vmstat").split()[1])

    def emulated(self) -> int:
        """How many floating-point instructions its kernel did for want of a unit."""
        debug = "/sys/kernel/debug"
        self.run(f"[ -e {debug}/mips ] || mount -t debugfs debug {debug}")
        return int(self.run(f"cat {debug}/mips/fpuemustats/emulated"))

    # --- files ---

    @contextmanager
    def ftp(self) -> Iterator[ftplib.FTP]:
        """A session of the owner, from outside."""
        with ftplib.FTP() as ftp:
            ftp.connect(self.machine.plan.guest, FTP_PORT, timeout=PATIENCE_S)
            ftp.login("owner", PASSWORD)
            yield ftp

    def sha256(self, path: str) -> str:
        return self.run(f"sha256sum {shlex.quote(path)}").split()[0]

    def expect(self, path: str, data: bytes) -> None:
        """Hold a file of the router against what it must be."""
        if self.sha256(path) != hashlib.sha256(data).hexdigest():
            raise MachineFailed(f"{path} is another file")

    def found(self, name: str) -> str:
        """The path of the one file of this name on its disk."""
        paths = self.run(f"find /mnt/disk -name {shlex.quote(name)}").split("\n")[:-1]
        if len(paths) != 1:
            raise MachineFailed(f"not one file {name}: {paths}")
        return paths[0]


def some_bytes(megabytes: int) -> bytes:
    return os.urandom(megabytes << 20)
