"""Small files for the router: the program's start, hotplug and uci-defaults scripts.

Run by Debian's sh and by busybox, over stand-ins for what OpenWrt has besides.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from programs import require_program

ROOT = Path(__file__).parent.parent
FILES = ROOT / "files"


@pytest.fixture(params=["sh", "busybox"])
def shell(request) -> list[str]:
    path = require_program(request.param)
    return [path, "ash"] if request.param == "busybox" else [path]


# --- /usr/bin/fonshare, as the service starts it ------------------------------------


class Service:
    """The program with stand-ins for python3 and sleep, and an uptime of ours."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.folder, self._shell = folder, shell
        text = (FILES / "usr/bin/fonshare").read_text()
        for name in ("/proc/uptime", "/var/run/fonshare"):
            assert name in text
            text = text.replace(name, str(folder / name.rsplit("/", 1)[1]))
        (folder / "program").write_text(text)
        (folder / "fonshare").mkdir()
        for name in ("python3", "sleep"):
            program = folder / name
            program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
            program.chmod(0o755)

    def start(self, uptime_s: int, *, supervised: str = "1") -> list[str]:
        """Start it as procd does; the words of what it became."""
        (self.folder / "uptime").write_text(f"{uptime_s}.37 12.00\n")
        path = f"{self.folder}:/usr/bin:/bin"
        run = subprocess.run(
            [*self._shell, self.folder / "program", "agent"],
            env={"PATH": path, "FONSHARE_SUPERVISED": supervised},
            capture_output=True,
            text=True,
        )
        assert run.stderr == ""
        return run.stdout.split()


@pytest.fixture
def service(tmp_path, shell) -> Service:
    return Service(tmp_path, shell)


def test_what_keeps_failing_is_started_less_and_less_often(service):
    now_s, pauses, starts = 100, [], 0
    for _ in range(20):
        words = service.start(now_s)
        now_s += 15  # it runs for five seconds, procd waits ten
        if words[0] == "sleep":
            pauses.append(int(words[1]))
            now_s += pauses[-1]
        else:
            starts += 1
    assert pauses == [10, 30, 70, 150, 300, 300, 300, 300, 300, 300]
    assert starts == len(pauses), "each pause is followed by a start"


def test_what_has_run_for_long_is_started_at_once(service):
    assert service.start(100)[0] == "python3"
    assert service.start(115)[0] == "sleep"
    assert service.start(140)[0] == "python3"
    assert service.start(140 + 3600)[0] == "python3"
    assert service.start(140 + 3615) == ["sleep", "10"], "counted anew"


def test_whoever_starts_it_by_hand_need_not_wait(service):
    for now_s in (100, 101, 102):
        assert service.start(now_s, supervised="")[0] == "python3"


@pytest.mark.parametrize("damage", ["\0\0\0\n", "x y z\n", "90", "$(reboot) 1 no\n"])
def test_damage_in_its_memory_of_starts_does_not_keep_it_from_starting(service, damage):
    (service.folder / "fonshare" / "starts").write_text(damage)
    assert service.start(100)[0] == "python3"


def test_without_python_it_says_so_in_one_line(service, tmp_path):
    (tmp_path / "python3").unlink()
    run = subprocess.run(
        ["/bin/sh", tmp_path / "program", "status"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "python3 is missing" in run.stderr


def test_without_a_part_of_python_the_agent_names_it_in_one_line(tmp_path):
    code = (
        "import sys; sys.modules['sqlite3'] = None; sys.argv = ['fonshare']; "
        "from fonshare_agent.resident import main; sys.exit(main())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "`sqlite3` is missing" in run.stderr


def test_a_damaged_package_says_so_in_one_line(tmp_path):
    package = tmp_path / "fonshare_agent"
    shutil.copytree(ROOT / "src" / "fonshare_agent", package)
    (package / "disk.py").write_bytes(b"")  # as a power cut leaves what is not synced
    run = subprocess.run(
        [sys.executable, "-m", "fonshare_agent.resident"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "is damaged (ImportError: " in run.stderr


# --- what is compiled -----------------------------------------------------------------


COMPILE = r"""
logger() { echo "log $*"; }
. "$1"
LIBRARY=$2
compile
"""


class Library:
    """The package's folder, a Python that notes what it is told, and the script."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.folder, self._shell = folder / "library", shell
        (self.folder / "__pycache__").mkdir(parents=True)
        (self.folder / "VERSION").write_text("1.0-r1\n")
        self._bin = folder / "bin"
        self._bin.mkdir()
        self.use("python3.11")

    def use(self, name: str, status: int = 0) -> None:
        python, link = self._bin / name, self._bin / "python3"
        python.write_text(f'#!/bin/sh\necho "$PYTHONPATH" >> {self.folder}/ran\n')
        python.open("a").write(f"exit {status}\n")
        python.chmod(0o755)
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    def compile(self) -> tuple[bool, str]:
        """Whether it was compiled anew, and what the log says."""
        (self.folder / "ran").unlink(missing_ok=True)
        init = FILES / "etc/init.d/fonshare"
        run = subprocess.run(
            [*self._shell, "-c", COMPILE, "rc.common", init, self.folder],
            env={"PATH": f"{self._bin}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stderr) == (0, "")
        return (self.folder / "ran").exists(), run.stdout


def test_it_is_compiled_once_for_each_version_and_each_python(shell, tmp_path):
    """apk starts a new version before the package's script; Python may be upgraded."""
    library = Library(tmp_path, shell)
    assert library.compile() == (True, "")
    assert library.compile() == (False, "")
    assert not (library.folder / "__pycache__").exists(), "of modules that are gone"

    (library.folder / "VERSION").write_text("1.1-r1\n")
    assert library.compile() == (True, "")
    library.use("python3.13")
    assert library.compile() == (True, "")
    assert library.compile() == (False, "")
    compiled = (library.folder / "COMPILED").read_text()
    assert compiled == "1.1-r1 python3.13\n"


def test_where_it_cannot_be_compiled_it_is_started_all_the_same(shell, tmp_path):
    library = Library(tmp_path, shell)
    library.use("python3.11", status=1)
    assert library.compile()[1].count("cannot compile") == 1
    assert not (library.folder / "COMPILED").exists()
    library.use("python3.11")
    assert library.compile() == (True, "")


# --- disks that come ----------------------------------------------------------------


WAKE = r"""
logger() { echo "log $*"; }
restart() { echo restart; }
. "$1"
RUN=$2
wake
"""


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        (None, ""),
        ("100 0 no\n", ""),
        ("100 30 no\n", ""),
        ("100 30 yes\n", "restart\n"),
    ],
)
def test_a_disk_that_comes_ends_only_a_pause(shell, tmp_path, starts, expected):
    if starts:
        (tmp_path / "starts").write_text(starts)
    init = FILES / "etc/init.d/fonshare"
    run = subprocess.run(
        [*shell, "-c", WAKE, "rc.common", init, tmp_path],
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("kind", "action", "woken"),
    [
        *((kind, "add", "wake\n") for kind in ("block", "mount")),
        *((kind, "remove", "") for kind in ("block", "mount")),
        ("block", "change", ""),
        ("ntp", "stratum", "wake\n"),
        ("ntp", "step", "wake\n"),
        ("ntp", "periodic", ""),
        ("ntp", "unsync", ""),
    ],
)
def test_hotplug_wakes_the_service_when_a_disk_or_the_time_comes(
    shell, tmp_path, kind, action, woken
):
    service = tmp_path / "service"
    service.write_text('#!/bin/sh\necho "$@"\n')
    service.chmod(0o755)
    text = (FILES / f"etc/hotplug.d/{kind}/60-fonshare").read_text()
    script = text.replace("/etc/init.d/fonshare", str(service))
    run = subprocess.run(
        [*shell, "-c", script],
        env={"ACTION": action, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == (woken, "")


# --- settings after an installation or an upgrade -------------------------------------


UCI = r"""
uci() {
	[ "$1" != -q ] || shift
	echo "$*" >> "$OUT/calls"
	case "$1" in
	get) grep -q "^$2\$" "$OUT/has" ;;
	esac
}
"""


def uci_defaults(shell: list[str], out: Path, has: list[str]) -> list[str]:
    """Run the script where the settings have *has*; what it changes."""
    (out / "has").write_text("".join(f"{one}\n" for one in has))
    (out / "calls").unlink(missing_ok=True)
    text = (FILES / "etc/uci-defaults/fonshare").read_text()
    text = text.replace("/etc/config/fonshare", str(out / "fonshare"))
    run = subprocess.run(
        [*shell, "-c", UCI + text],
        env={"OUT": str(out), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    calls = (out / "calls").read_text().splitlines()
    return [call for call in calls if not call.startswith("get ")]


SECTIONS = ("node", "disk", "ftp", "mqtt", "downloads", "limits")
NAMED = [f"fonshare.{one}" for one in SECTIONS]


def test_settings_that_are_whole_are_left_as_they_are(shell, tmp_path):
    assert uci_defaults(shell, tmp_path, NAMED) == [], "a commit drops the comments"


def test_a_section_that_is_missing_is_added(shell, tmp_path):
    has = [one for one in NAMED if one != "fonshare.downloads"]
    assert uci_defaults(shell, tmp_path, has) == [
        "set fonshare.downloads=downloads",
        "commit fonshare",
    ]


def test_settings_that_were_deleted_come_back_empty(shell, tmp_path):
    changes = uci_defaults(shell, tmp_path, [])
    assert (tmp_path / "fonshare").exists()
    assert changes == [
        *(f"set fonshare.{section}={section}" for section in SECTIONS),
        "commit fonshare",
    ]
