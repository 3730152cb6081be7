"""The case files of tests/rootfs/cases, and the router's user land that runs them.

A case file begins with what it shows, in words. `$ COMMAND` is run by the router's
shell; the lines below are what it must print (empty ones do not count), `…` standing
for anything in a line, and alone for any number of lines; `? N` is its exit status if
not 0. `< PATH` writes the lines up to one with a single dot into a file. All commands
of a case see what the ones before have done; each case begins with a fresh router, or
with one on which the package was installed just before, where its file says
`@ installed`: that is done once for all of them, since emulated it takes the longest.

Of the same form is what was observed with OpenWrt's own programs (observed/*.case, with
the programs and their versions as `@ with`): a stand-in is held to it, and OBSERVE=1
with a ROOTFS that has the real ones writes down anew what they say (`record`).
"""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import rootfs
from programs import refuse, require_program

HERE = Path(__file__).parent / "rootfs"
STAND_INS = HERE / "stand_in"
TIMEOUT_S = 1100
FLASH = "48m"  # of what a router's own system may write; a case can fill it up
# In namespaces and over a memory file system of its own: neither the user land nor the
# machine changes, and all that was started dies with the first process.
ENTER = """
set -e
layers=$1 case=$2 packages=$3 size=$4
base=$case/router
mkdir -p $base
mount -t tmpfs -o size=$size router $base
mkdir $base/upper $base/work $base/root
options=lowerdir=$layers,upperdir=$base/upper,workdir=$base/work
root=$base/root
mount -t overlay router $root -o $options
mkdir -p $root/proc $root/tmp $root/dev $root/case $root/packages
mount -t proc proc $root/proc
[ ! -e $root/proc/kmsg ] || mount --bind /dev/null $root/proc/kmsg
mount -t tmpfs tmp $root/tmp
mount -t tmpfs dev $root/dev
for name in null zero full random urandom tty; do
    : > $root/dev/$name
    mount --bind /dev/$name $root/dev/$name
done
mkdir $root/dev/shm $root/dev/pts
mount -t devpts -o newinstance,ptmxmode=666 pts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
mount --bind $case $root/case
mount --bind $packages $root/packages
ip link set lo up
chroot $root sh /case/boot.sh
[ -z "$5" ] || cp -a $base/upper $5
"""
INSTALLING = """The package is installed.

$ opkg install /packages/fonshare-agent.ipk
…
Configuring fonshare-agent.
"""


@dataclass
class Step:
    """One command, what it must print and how it must end."""

    command: str
    line: int
    expected: list[str] = field(default_factory=list)
    status: int = 0

    @property
    def pattern(self) -> str:
        """What the whole output must match."""
        parts = []
        for line in self.expected:
            if line == "…":
                parts.append(r"(?:.*\n)*?")
            else:
                parts.append(".*".join(map(re.escape, line.split("…"))) + r"\n")
        return "".join(parts)


@dataclass
class Case:
    """A case file: what it shows, and its steps."""

    name: str
    description: str
    steps: list[Step]
    is_installed: bool = False
    programs: list[str] = field(default_factory=list)  # with version and date


def read_case(name: str, text: str) -> Case:
    """Read a case file's text; SyntaxError for a line that is none of its forms."""
    description, steps, is_installed, programs = [], [], False, []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if line.startswith("$ "):
            steps.append(Step(line[2:], number))
        elif line.startswith("< "):
            text = "".join(f"{one}\n" for one in _block(lines))
            quoted = f"printf %s {shlex.quote(text)} > {shlex.quote(line[2:])}"
            steps.append(Step(quoted, number))
        elif line.startswith("? "):
            steps[-1].status = int(line[2:])
        elif line == "@ installed":
            is_installed = True
        elif line.startswith("@ with "):
            programs.append(line.removeprefix("@ with "))
        elif line.startswith("#"):
            continue
        elif steps and line:
            steps[-1].expected.append(line)
        elif line:
            description.append(line)
    if not description or not steps:
        raise SyntaxError(f"{name}.case: a description first, then commands")
    return Case(name, " ".join(description), steps, is_installed, programs)


def _block(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if line == ".":
            return
        yield line
    raise SyntaxError("no single dot ends the file's text")


def cases(folder: str = "cases") -> list[Case]:
    files = sorted((HERE / folder).glob("*.case"))
    return [read_case(file.stem, file.read_text()) for file in files]


def record(case: Case, text: str, folder: Path) -> str:
    """Return the case file's *text* with what was said when it was run in *folder*.

    What is expected already, and was said, stays as it stands, with its `…`.
    """
    lines, number = [], 0
    source = iter(text.splitlines())
    for line in source:
        if line.startswith("< "):
            number += 1
            lines.append(line)
            while lines[-1] != ".":
                lines.append(next(source))
        elif line.startswith("$ "):
            number += 1
            step = case.steps[number - 1]
            said, status = _outcome(folder, number)
            fits = re.fullmatch(step.pattern, said)
            lines += [line, *(step.expected if fits else said.splitlines())]
            lines += [f"? {status}"] if status else []
        elif not number or not line or line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


class Router:
    """A router's user land: folders laid over each other, the first on top."""

    def __init__(self, layers: Sequence[Path], packages: Path) -> None:
        self._layers, self._packages = layers, packages

    def run(self, case: Case, folder: Path) -> list[str]:
        """Run *case*, with *folder* for its files; what went otherwise, in words."""
        layers = self._layers
        if case.is_installed:
            layers = [self.installed(folder.with_name("installing")), *layers]
        return self._enter(case, folder, layers)

    def installed(self, folder: Path) -> Path:
        """Return the layer that an installation of the package adds, kept in build/."""
        place = "-".join(self._layers[-1].relative_to("/").parts[-2:])
        kept = rootfs.ROOT / "build" / "rootfs-installed" / place
        kept.mkdir(parents=True, exist_ok=True)
        layer = kept / self._state()
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if layer.exists():
                return layer
            for outdated in kept.iterdir():
                shutil.rmtree(outdated)
            fresh = layer.with_suffix(".new")
            case = read_case("installing", INSTALLING)
            if complaints := self._enter(case, folder, self._layers, fresh):
                raise RuntimeError("\n".join(complaints))
            fresh.rename(layer)
        return layer

    def _state(self) -> str:
        """Return a name for what the layer of an installation depends on."""
        digest = hashlib.sha256((self._packages / "fonshare-agent.ipk").read_bytes())
        for layer in self._layers:
            # A user land changes only by being made anew, but anyone edits a stand-in.
            files = sorted(layer.rglob("*")) if layer == STAND_INS else [layer]
            for file in files:
                digest.update(f"{file} {file.stat().st_mtime_ns}\0".encode())
        return digest.hexdigest()[:16]

    def _enter(
        self, case: Case, folder: Path, layers: Sequence[Path], keep: Path | None = None
    ) -> list[str]:
        self._prepare(case, folder)
        done = subprocess.run(
            [
                *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"),
                # What is unmounted outside goes here too, see tests/disks.py.
                *("--propagation", "slave", "--kill-child", "sh", "-c", ENTER, "enter"),
                *(":".join(map(str, layers)), str(folder), str(self._packages), FLASH),
                str(keep or ""),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={"PATH": os.environ["PATH"]},
        )
        if done.returncode != 0:
            return [f"the router did not boot: {done.stdout}{done.stderr}"]
        return [
            complaint
            for number, step in enumerate(case.steps, 1)
            if (complaint := _judge(case, step, folder, number))
        ]

    def _prepare(self, case: Case, folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        for file in (HERE / "boot.sh", *(HERE / "bin").iterdir()):
            into = folder if file.name == "boot.sh" else folder / "bin"
            (into / file.name).write_text(file.read_text())
            (into / file.name).chmod(0o755)
        for number, step in enumerate(case.steps, 1):
            (folder / f"{number}.sh").write_text(step.command + "\n")


def _outcome(folder: Path, number: int) -> tuple[str, int]:
    """Return what a step said, without empty lines, and how it ended."""
    lines = (folder / f"{number}.out").read_text(errors="replace").splitlines()
    said = "".join(f"{line}\n" for line in lines if line)
    return said, int((folder / f"{number}.status").read_text())


def _judge(case: Case, step: Step, folder: Path, number: int) -> str:
    said, status = _outcome(folder, number)
    if status == step.status and re.fullmatch(step.pattern, said):
        return ""
    expected = "\n".join(step.expected)
    return (
        f"{case.name}.case, line {step.line}: $ {step.command}\n"
        f"said ({status}):\n{said}expected ({step.status}):\n{expected}"
    )


def router(packages: Path, architecture: str) -> Router:
    """Return the user land to test with; skip the test where there can be none.

    ROOTFS_ARCHITECTURE asks for another than *architecture*; ROOTFS names a folder or
    an archive with a real OpenWrt, which brings its own programs and has what our
    package depends on.
    """
    if os.geteuid():
        pytest.skip("a user land of its own needs root")
    require_program("unshare")
    if given := os.environ.get("ROOTFS"):
        return Router([rootfs.given(Path(given))], packages)
    architecture = os.environ.get("ROOTFS_ARCHITECTURE", architecture)
    if architecture in rootfs.EMULATORS:
        require_program(f"{rootfs.EMULATORS[architecture]}-static")
    try:
        root = rootfs.build(architecture)
        rootfs.register(architecture)
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        refuse(f"Debian's user land for {architecture} is missing: {error}")
    return Router([STAND_INS, root], packages)
