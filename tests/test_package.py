"""What the router gets: the package's Makefile, the init script, the files.

The Makefile is evaluated by GNU make over tools/openwrt, the init script by a shell in
which OpenWrt's functions only note how they are called. Both stand-ins are written from
facts and prove what is ours, not that OpenWrt takes it.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rootfs
from fonshare_agent import __version__
from fonshare_agent.config_docs import uci_sections
from init_script import SCRIPT, updated
from openwrt_package import STAND_IN as STAND_IN_FOLDER
from openwrt_package import MakeFailed, evaluate, install
from programs import require_program

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "package" / "fonshare-agent"
# The parts of the standard library that OpenWrt ships apart, by what they hold: those
# of 24.10 (Python 3.11) and 25.12 (3.13). `urllib` brings `email`. All else is `light`.
SPLITS = {
    "asyncio": {"asyncio"},
    "cgi": {"cgi", "cgitb"},  # up to 24.10, as the next two
    "distutils": {"distutils"},
    "lib2to3": {"lib2to3"},
    "codecs": {"unicodedata"},
    "ctypes": {"ctypes"},
    "dbm": {"dbm"},
    "decimal": {"decimal"},
    "logging": {"logging"},
    "lzma": {"lzma"},
    "multiprocessing": {"multiprocessing"},
    "ncurses": {"curses"},
    "openssl": {"_ssl", "_hashlib"},
    "pydoc": {"doctest", "pydoc", "pydoc_data"},
    "readline": {"readline"},
    "sqlite3": {"sqlite3"},
    "unittest": {"unittest"},
    "urllib": {"urllib", "email"},
    "uuid": {"uuid"},
    "venv": {"ensurepip", "venv"},
    "xml": {"xml", "xmlrpc", "pyexpat"},
}
# What 3.11 had and 3.13 has not, of the standard library.
GONE_BY_3_13 = {
    *("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt"),
    *("distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib"),
    *("ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib"),
    *("uu", "xdrlib"),
}


@pytest.fixture
def libraries(tmp_path) -> Path:
    for name in ("pyftpdlib", "asyncore", "asynchat"):
        folder = tmp_path / "libraries" / name
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__init__.py").touch()
    return tmp_path / "libraries"


@pytest.fixture
def metadata(tmp_path) -> dict[str, str]:
    return evaluate("fonshare-agent", tmp_path)[0].fields


def test_the_package_is_for_every_router_and_names_itself(metadata):
    assert metadata["NAME"] == "fonshare-agent"
    assert metadata["VERSION"] == f"{__version__}-r1"
    assert re.fullmatch(r"\d+(\.\d+)+-r\d+", metadata["VERSION"]), "apk takes no more"
    assert metadata["PKGARCH"] == "all"
    assert metadata["conffiles"].split() == [
        "/etc/config/fonshare",
        "/etc/fonshare/",
        "/etc/mosquitto/fonshare/",
    ]
    assert metadata["description"].split()[:2] == ["Shares", "folders"]


def test_the_service_has_a_user_with_a_fixed_number(metadata):
    assert re.fullmatch(r"fonshare=(\d+):fonshare=\1", metadata["USERID"])
    assert f"USER={metadata['USERID'].split('=')[0]}\n" in SCRIPT.read_text()


def test_it_depends_on_each_part_of_python_that_the_agent_imports(metadata):
    code = "import sys, fonshare_agent.agent, fonshare_agent.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(run.stdout.split())
    needed = {f"python3-{name}" for name, held in SPLITS.items() if held & loaded}
    depends = {name.lstrip("+") for name in metadata["DEPENDS"].split()}
    assert needed <= depends
    assert depends - needed == {
        "python3-light",
        "python3-paho-mqtt",
        "python3-pynacl",
    }


def test_what_is_imported_later_lies_in_them_too(metadata):
    """Or in what every Python has: 24.10's has more than 25.12's."""
    named = named_anywhere(ROOT / "src" / "fonshare_agent")
    needed = {f"python3-{name}" for name, held in SPLITS.items() if held & named}
    assert needed <= {name.lstrip("+") for name in metadata["DEPENDS"].split()}
    assert not named & GONE_BY_3_13
    assert named & sys.stdlib_module_names > {"logging", "sqlite3", "getpass"}


def named_anywhere(folder: Path) -> set[str]:
    """The modules that the package's source imports, inside functions as well."""
    named: set[str] = set()
    for file in folder.rglob("*.py"):
        if "web" in file.relative_to(folder).parts:  # not in the package
            continue
        for one in ast.walk(ast.parse(file.read_text())):
            if isinstance(one, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in one.names}
            elif isinstance(one, ast.ImportFrom) and one.module and not one.level:
                named.add(one.module.partition(".")[0])
    return named


@pytest.mark.parametrize(
    "file", ["tests/rootfs/Dockerfile", "docs/router/fonera-2.0n.md"]
)
def test_who_installs_them_by_hand_has_the_whole_list(metadata, file):
    named = set(re.findall(r"python3-[a-z0-9-]+", (ROOT / file).read_text()))
    assert named == {name.lstrip("+") for name in metadata["DEPENDS"].split()}


def test_an_archive_of_a_real_openwrt_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setattr(rootfs, "ROOT", tmp_path)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").touch()
    archive = tmp_path / "openwrt.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", tmp_path, "usr"], check=True)

    folder = rootfs.given(archive)

    assert (folder / "usr/bin/python3").exists()
    (folder / "mark").touch()
    assert (rootfs.given(archive) / "mark").exists()
    assert rootfs.given(folder) == folder
    (folder / "usr/bin/python3").unlink()
    with pytest.raises(RuntimeError, match="Dockerfile"):
        rootfs.given(folder)


def test_the_recipes_make_the_routers_tree(tmp_path, libraries):
    root = install("fonshare-agent", tmp_path, libraries) / "fonshare-agent"

    agent = root / "usr/lib/fonshare/fonshare_agent"
    source = ROOT / "src" / "fonshare_agent"
    kinds = ("*.py", "*.sql", "*.cnf", "french.txt")
    wanted = {f.relative_to(source) for kind in kinds for f in source.rglob(kind)}
    wanted = {file for file in wanted if file.parts[0] != "web"}  # LuCI shows the page
    assert {f.relative_to(agent) for f in agent.rglob("*") if f.is_file()} == wanted
    assert not list(root.rglob("__pycache__"))
    assert (root / "usr/lib/fonshare/pyftpdlib/__init__.py").exists()
    assert (root / "usr/lib/fonshare/VERSION").read_text() == f"{__version__}-r1\n"
    modes = {name: (root / name).stat().st_mode & 0o777 for name in MODES}
    assert modes == MODES


def test_every_file_for_the_router_is_in_the_package(tmp_path, libraries):
    root = install("fonshare-agent", tmp_path, libraries) / "fonshare-agent"

    for file in (ROOT / "files").rglob("*"):
        installed = root / file.relative_to(ROOT / "files")
        assert file.is_dir() or installed.read_bytes() == file.read_bytes()


MODES = {
    "etc/init.d/fonshare": 0o755,
    "etc/config/fonshare": 0o600,
    "etc/uci-defaults/fonshare": 0o644,
    "etc/hotplug.d/block/60-fonshare": 0o644,
    "etc/hotplug.d/ntp/60-fonshare": 0o644,
    "usr/bin/fonshare": 0o755,
    "usr/lib/fonshare/fonshare_agent/agent.py": 0o644,
}


def test_an_sdk_sees_that_the_source_has_changed():
    """It looks at the package's own folder only, unless it is told where else."""
    tell = "--eval=tell: ; @echo $(realpath $(PKG_FILE_DEPENDS))"
    where = f"TOPDIR={STAND_IN_FOLDER}"
    command = ["make", "-s", "-C", PACKAGE, where, "FONSHARE_VENDORED=/", tell, "tell"]
    told = subprocess.check_output(command, text=True).split()
    assert told == [f"{ROOT}/src/fonshare_agent", f"{ROOT}/files", "/"]


def test_without_the_vendored_libraries_nothing_is_built(tmp_path):
    with pytest.raises(MakeFailed, match=r"vendored\.txt"):
        install("fonshare-agent", tmp_path, tmp_path / "nowhere")


def test_what_is_vendored_is_pinned_by_version_and_hash():
    lines = (PACKAGE / "vendored.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    form = r"(\w+)==\d+(\.\d+)+ --hash=sha256:[0-9a-f]{64}"
    names = [re.fullmatch(form, pin)[1] for pin in pins]
    assert names == ["pyftpdlib", "pyasyncore", "pyasynchat"]


# --- the init script --------------------------------------------------------------


@pytest.fixture(params=["sh", "busybox"])
def shell(request) -> list[str]:
    path = require_program(request.param)
    return [path, "ash"] if request.param == "busybox" else [path]


@pytest.mark.parametrize("script", ["etc/init.d/fonshare", "usr/bin/fonshare"])
def test_the_shell_can_read_it(shell, script):
    run = subprocess.run([*shell, "-n", ROOT / "files" / script], capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"")


def test_the_options_in_the_init_script_are_those_of_the_table():
    script = SCRIPT.read_text()
    assert updated(script) == script, "write it again: python tools/init_script.py"


STAND_IN = r"""
PATH_OF_SCRIPT=$1 ENABLED=$2 INVALID=$3
config_load() { :; }
config_get_bool() { eval "$1=$ENABLED"; }
config_get() {
	case "$2.$3" in
	ftp.port) eval "$1=${PORT:-$4}" ;;
	*) eval "$1=$4" ;;
	esac
}
config_foreach() { "$1" "cfg_$2"; }
uci_load_validate() {
	echo "validate $2 $3"
	result=0; [ "$2" = "$INVALID" ] && result=1
	[ -z "$4" ] || "$4" "$3" "$result"
}
logger() { echo "log $*"; }
for name in mkdir chown chgrp chmod rm; do eval "$name() { echo $name \$*; }"; done
for name in procd_open_instance procd_set_param procd_close_instance \
	procd_add_reload_trigger procd_add_validation procd_open_data procd_close_data \
	procd_add_mdns_service json_add_object json_close_object json_add_array \
	json_close_array json_add_string; do
	eval "$name() { echo $name \$*; }"
done
. "$PATH_OF_SCRIPT"
"""


def run_init(
    shell: list[str], what: str, enabled: int = 1, invalid: str = ""
) -> tuple[int, list[str]]:
    """Source the script among noting functions, do *what*; the calls it made."""
    script = f"{STAND_IN}\n{what}"
    run = subprocess.run(
        [*shell, "-c", script, "rc.common", SCRIPT, str(enabled), invalid],
        capture_output=True,
        text=True,
    )
    assert run.stderr == ""
    return run.returncode, run.stdout.splitlines()


def test_as_shipped_it_only_says_how_to_begin(shell):
    status, calls = run_init(shell, "start_service", enabled=0)

    assert status == 0
    assert len(calls) == 1
    assert "fonshare setup" in calls[0]
    shipped = (ROOT / "files/etc/config/fonshare").read_text()
    assert "\n\toption enabled '0'\n" in shipped


def test_enabled_it_runs_the_agent_as_its_own_user_for_ever(shell):
    status, calls = run_init(shell, "start_service")

    assert status == 0
    for call in (
        "procd_set_param command /usr/bin/fonshare agent",
        "procd_set_param user fonshare",
        "procd_set_param respawn 3600 10 0",
        "procd_set_param stdout 1",
        "procd_set_param stderr 1",
        "chmod 700 /etc/fonshare",
        "chmod 660 /etc/config/fonshare",
    ):
        assert call in calls
    assert calls[-1] == "procd_close_instance"


@pytest.mark.parametrize("section", uci_sections())
def test_every_kind_of_section_is_looked_at_and_a_broken_one_named(shell, section):
    status, calls = run_init(shell, "start_service", invalid=section)

    assert status == 1
    assert sum(section in call for call in calls if call.startswith("log ")) == 1
    assert not [call for call in calls if call.startswith("procd_")]


def test_only_the_friends_door_is_opened_and_only_the_house_door_announced(shell):
    _, calls = run_init(shell, "PORT=2200 start_service")

    began, ended = calls.index("procd_open_data"), calls.index("procd_close_data")
    assert ended < calls.index("procd_close_instance"), "else it is not the service's"
    told = calls[began:ended]
    opened = [call.split()[-1] for call in told if " dest_port " in call]
    assert opened == ["2201", "30010-30019"]
    for field in ("type rule", "src wan", "proto tcp", "target ACCEPT"):
        assert told.count(f"json_add_string {field}") == len(opened)
    assert [call for call in told if "mdns_service" in call] == [
        "procd_add_mdns_service ftp tcp 2200"
    ]


@pytest.mark.parametrize("failing", ["mkdir", "chown"])
def test_without_its_folders_it_says_so_in_one_line_and_is_not_started(shell, failing):
    status, calls = run_init(shell, f"{failing}() {{ return 1; }}; start_service")

    assert status == 1
    assert len([call for call in calls if call.startswith("log ")]) == 1
    assert not [call for call in calls if call.startswith("procd_")]


def test_a_change_of_settings_reloads_and_all_options_are_told_to_procd(shell):
    _, calls = run_init(shell, "service_triggers")

    assert "procd_add_reload_trigger fonshare" in calls
    told = {call.split("validate_")[1] for call in calls if "validate_" in call}
    assert told == set(uci_sections())


@pytest.fixture
def wrapper(tmp_path) -> list[str | Path]:
    """How to run the program as installed, its folder moved to the source."""
    text = (ROOT / "files/usr/bin/fonshare").read_text()
    assert "\nLIBRARY=/usr/lib/fonshare\n" in text
    program = tmp_path / "fonshare"
    program.write_text(text.replace("/usr/lib/fonshare", str(ROOT / "src")))
    path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
    return ["env", path, "sh", program]


def test_the_library_folder_and_the_program_fit_together(wrapper):
    said = subprocess.check_output([*wrapper, "--version"], text=True)
    assert __version__ in said


def test_nothing_is_imported_from_the_folder_where_root_happens_to_be(
    wrapper, tmp_path
):
    """Which may be the disk: guests, friends and the FTP logins put files there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("argparse", "fonshare_agent", "runpy", "signal"):
        (disk / f"{name}.py").write_text("print('taken in')")
    said = subprocess.check_output([*wrapper, "--version"], cwd=disk, text=True)
    assert said == f"fonshare {__version__}\n"


def test_the_service_runs_without_the_command_line_in_memory(tmp_path):
    """`fonshare agent` alone is the service; with options it is a command as ever."""
    wrapper = tmp_path / "fonshare"
    wrapper.write_text((ROOT / "files/usr/bin/fonshare").read_text())
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)

    def started(*words: str) -> list[str]:
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        command = ["sh", wrapper, *words]
        return subprocess.check_output(command, env=path, text=True).split()

    switches = ["-P", "-OO", "-X", "no_debug_ranges", "-m"]
    assert started("agent") == [*switches, "fonshare_agent.resident"]
    asked = ["agent", "-c", "f.yaml"]
    assert started(*asked) == [*switches, "fonshare_agent", *asked]
    made = " ".join(SCRIPT.read_text().replace("\\\n", " ").split())
    assert f"""python3 {" ".join(switches)} "$@" """ in made
    for module in ("compiling", "compact_copies"):
        assert f"run_python fonshare_agent.{module} " in made
