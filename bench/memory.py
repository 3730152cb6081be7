"""Resident memory of an idle node on a 32-bit userland, against its budget.

    make bench  (or: python bench/memory.py [--json FILE] [--idle] [--debian RELEASE])

What is measured is what the router runs: the agent with settings in UCI, FTP, TLS, MQTT
and the index open, one group, one share; Debian's Python 3.11 for i386 with the
vendored libraries, natively on this machine; then the same node with a friend, while it
fetches and while it reads a large folder (busy.py). Another release of Debian has
another Python: `--debian trixie` 3.13, as OpenWrt 25.12 has, with its paho. As on
OpenWrt the standard library is there compiled only, docstrings included, and the
package's /usr/bin/fonshare starts the agent. First each part's imports alone, so that a
change that costs shows where. Exit status 1 when the agent is over its budget.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from busy import MOVED_AT_ONCE, a_friend, measure_fetch, measure_scan
from demo_nodes import DemoFailed, Ports, start_broker, wait_for
from environment import OLD_PAHO
from fonshare_agent.passwords import hash_password
from userland import Userland

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VENDORED = ROOT / "package" / "fonshare-agent" / "vendored.txt"
PACKAGES = ["dash", "python3", "python3-nacl", "python3-paho-mqtt"]
BUDGET = {"resident_kib": 22 * 1024, "anonymous_kib": 10 * 1024}  # DESIGN section 7
# While it works, whatever a resting node leaves out of memory until then.
BUSY_BUDGET = {kind: most + 3 * 1024 for kind, most in BUDGET.items()}
SETTLE_S = 10.0  # after the last thing that happened
WAIT_S = 60.0
IDLE, MOVING, SCANNING = "agent, idle", "moving 4 blocks", "scanning 100,000 files"
LIBRARY, FILES = "usr/lib/fonshare", 100
RUN = "/usr/bin/python3"
# How the package's program runs Python (files/usr/bin/fonshare).
SWITCHES = ("-OO", "-X", "no_debug_ranges")
PROGRAM = "usr/bin/fonshare"
# musl, OpenWrt's libc, has one heap for all threads, and gives what has 128 KiB or more
# back when it is freed. glibc does so until the first such piece: then it keeps what is
# as large, which is 4 MiB once a password was checked. Nor does musl keep for each
# thread what it has freed.
AS_MUSL = (
    "MALLOC_ARENA_MAX=1",
    "MALLOC_MMAP_THRESHOLD_=131072",
    "GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
)
PAHO = "usr/lib/python3/dist-packages/paho"
FEED = ("usr/lib/python3.*", "usr/lib/python3/dist-packages")

# Each alone, then what they sum up to. `sleep` keeps them there to be looked at.
IMPORTS = {
    "python3 alone": "",
    "core, queues, logging": "import fonshare_agent.core",
    "settings": "import fonshare_agent.config",
    "sqlite3, a database open": "import sqlite3; d = sqlite3.connect(':memory:')",
    "ssl, a context made": "import ssl; c = ssl.create_default_context()",
    "PyNaCl": "import nacl.bindings",
    "paho": "import fonshare_agent.links.mqtt_link",
    "FTP server": "import fonshare_agent.ftp.server",
    "all of the agent": "import fonshare_agent.resident as r; r.load()",
}


def main() -> int:
    """Measure, print a table, write JSON; the exit status."""
    parser = argparse.ArgumentParser(description="Memory of an idle node, 32-bit.")
    default = BUILD / "bench" / "memory.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE")
    parser.add_argument("--idle", action="store_true", help="nothing but the idle node")
    parser.add_argument("--debian", default="", metavar="RELEASE", help="as trixie")
    options = parser.parse_args()
    userland = build_userland(options.debian)
    if options.idle:
        _print_table(_measure_agent(userland, is_idle_all=True))
        return 0
    rows = {name: _measure_import(userland, code) for name, code in IMPORTS.items()}
    rows |= _measure_agent(userland)
    _print_table(rows)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(_report(userland, rows), indent=1) + "\n")
    return 1 if _over(rows) else 0


def build_userland(release: str = "") -> Userland:
    """Return a userland with the agent installed and all of it compiled."""
    name = "-".join(filter(None, ("userland-i386", release)))
    userland = Userland(BUILD / name, "i386", release)
    userland.build(PACKAGES)
    if release:  # OpenWrt 25.12 still has 1.6.1, as bookworm has
        shutil.rmtree(userland.root / PAHO)
        shutil.copytree(
            ROOT / ".venv" / f"paho-{OLD_PAHO}" / "paho", userland.root / PAHO
        )
    install_agent(userland.root)
    compile_all(userland)
    return userland


def install_agent(root: Path) -> None:
    """Put the agent and what the package vendors where the package will have them."""
    library = root / LIBRARY
    shutil.rmtree(library, ignore_errors=True)
    shutil.copytree(
        ROOT / "src" / "fonshare_agent",
        library / "fonshare_agent",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install"),
            *("--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes"),
            *("--no-compile", "--target", str(library), "-r", str(VENDORED)),
        ],
        check=True,
    )
    shutil.copy(ROOT / "files" / PROGRAM, root / PROGRAM)


def compile_all(userland: Userland) -> None:
    """Compile everything, since doing so leaves traces in a process's memory.

    The feed's packages have .pyc instead of .py, without any optimization; the agent is
    compiled in place when it is installed.
    """
    root = userland.root
    folders = [folder for pattern in FEED for folder in root.glob(pattern)]
    inside = [f"/{folder.relative_to(root)}" for folder in folders]
    userland.run(RUN, "-m", "compileall", "-q", "-b", *inside)
    for folder in folders:
        for source in folder.rglob("*.py"):
            source.unlink()
    userland.run(*python("-m", "fonshare_agent.compiling", f"/{LIBRARY}"))
    userland.run(*python("-m", "fonshare_agent.compact_copies"))


def python(*arguments: str) -> list[str]:
    return [f"PYTHONPATH=/{LIBRARY}", RUN, *SWITCHES, *arguments]


def _measure_import(userland: Userland, code: str) -> dict[str, int]:
    """Return the memory of a process that has run *code*."""
    program = f"{code}\nprint('ready', flush=True); input()"
    command = userland.command(*python("-c", program))
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise SystemExit(f"this fails in the userland: {code}")
    figures = memory_of(child.pid)
    child.communicate("\n")
    return figures


def memory_of(pid: int) -> dict[str, int]:
    """Return KiB resident, of it anonymous, and the threads of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {
        "resident_kib": int(fields["VmRSS"].split()[0]),
        "anonymous_kib": int(fields["RssAnon"].split()[0]),
        "threads": int(fields["Threads"]),
    }


def _measure_agent(
    userland: Userland, *, is_idle_all: bool = False
) -> dict[str, dict[str, int]]:
    """Return the figures of a node at rest; unless that *is_idle_all*, also in use."""
    ports = Ports()
    with running_broker(ports) as broker_port:
        first_port = ports.take(30)
        fill_disk(userland.disk)
        prepare_node(userland.root, first_port, broker_port)
        with running_agent(userland) as child:
            _ask(userland, "group", "create", "Famille")
            wait_for("the index", lambda: _is_idle(userland), WAIT_S)
            time.sleep(SETTLE_S)
            idle = memory_of(child.pid)
            if is_idle_all:
                return {IDLE: idle}
            _use_ftp(first_port)
            time.sleep(SETTLE_S)
            rows = {IDLE: idle, "agent, after FTPS": memory_of(child.pid)}
            broker_url = f"mqtt://127.0.0.1:{broker_port}"
            return rows | _measure_busy(userland, child.pid, ports, broker_url)


def _measure_busy(
    userland: Userland, pid: int, ports: Ports, broker: str
) -> dict[str, dict[str, int]]:
    """Return the figures of the same node with a friend, and while it works."""
    ask, measure = partial(_ask, userland), partial(memory_of, pid)
    rows = {}
    with a_friend(ask, BUILD / "bench" / "friends", ports, broker, "Famille"):
        time.sleep(SETTLE_S)
        rows["agent, after an invite"] = measure()
        rows[MOVING] = measure_fetch(ask, measure)
    time.sleep(SETTLE_S)
    rows["agent, thereafter"] = measure()
    disk = Path(f"/proc/{pid}/root/mnt/disk")
    rows[SCANNING] = measure_scan(ask, disk, "films", measure)
    return rows


def fill_disk(disk: Path) -> None:
    shutil.rmtree(disk, ignore_errors=True)
    (disk / "films").mkdir(parents=True)
    for number in range(FILES):
        (disk / "films" / f"film {number}.mkv").write_bytes(os.urandom(1000))


def prepare_node(root: Path, port: int, broker_port: int) -> None:
    """Write the node's settings and the house's certificate; no keys yet."""
    shutil.rmtree(root / "etc" / "fonshare", ignore_errors=True)
    certificate = root / "etc" / "fonshare.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "3650"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=bench"),
            *("-keyout", f"{certificate}.key", "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    password = hash_password("secret", os.urandom(16))
    (root / "etc" / "config").mkdir(exist_ok=True)
    (root / "etc" / "config" / "fonshare").write_text(f"""
config node 'node'
	option name 'bench'
	option enabled '1'
	option port_mapping 'off'
config disk 'disk'
	option path '/mnt/disk'
	option keys '/etc/fonshare'
	option run '/run'
config ftp 'ftp'
	option address '127.0.0.1'
	option port '{port}'
	option friends_port '{port + 1}'
	option passive_ports '{port + 2}-{port + 11}'
	option friends_passive_ports '{port + 12}-{port + 21}'
	option certificate '/etc/fonshare.pem'
	option certificate_key '/etc/fonshare.pem.key'
config mqtt 'mqtt'
	option broker 'mqtt://127.0.0.1:{broker_port}'
config limits 'limits'
	option transfers '{MOVED_AT_ONCE}'
config user
	option name 'owner'
	option password '{password}'
	option access 'write'
config share
	option name 'Films'
	option path 'films'
	list groups 'Famille'
""")


@contextmanager
def running_broker(ports: Ports) -> Iterator[int]:
    """Run a new broker, and give its port."""
    port = ports.take(1)
    folder = BUILD / "bench" / "broker"
    shutil.rmtree(folder, ignore_errors=True)
    broker, _ = start_broker(folder, port, False)
    try:
        yield port
    finally:
        broker.end()


@contextmanager
def running_agent(userland: Userland) -> Iterator[subprocess.Popen[bytes]]:
    command = userland.command(*AS_MUSL, f"/{PROGRAM}", "agent")
    log = BUILD / "bench" / "agent.log"
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for("the agent", lambda: _status(userland) is not None, WAIT_S)
        wait_for("the broker", lambda: _is_connected(userland), WAIT_S)
        yield child
    except DemoFailed as error:
        raise SystemExit(f"{error}\n{log.read_text()}") from None
    finally:
        child.terminate()
        child.wait(WAIT_S)


def _ask(userland: Userland, *words: str) -> Any:
    command = python("-m", "fonshare_agent", "--json", *words)
    return json.loads(userland.run(*command))


def _status(userland: Userland) -> Any:
    try:
        return _ask(userland, "status")
    except RuntimeError:  # not yet
        return None


def _is_connected(userland: Userland) -> bool:
    return bool(_status(userland)["broker"]["connected"])


def _is_idle(userland: Userland) -> bool:
    index = _status(userland)["index"]
    return index["files"] == FILES and not index["scanning"]


def _use_ftp(port: int) -> None:
    """Log in by TLS, list a folder and read a file, as the house does."""
    import ftplib
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with ftplib.FTP_TLS(context=context) as ftp:
        ftp.connect("127.0.0.1", port, timeout=WAIT_S)
        ftp.login("owner", "secret")
        ftp.prot_p()
        listed: list[str] = []
        ftp.retrlines("LIST films", listed.append)
        ftp.retrbinary("RETR films/film 1.mkv", lambda _: None)
        if len(listed) != FILES:
            raise SystemExit(f"the listing has {len(listed)} lines, not {FILES}")


def _over(rows: dict[str, dict[str, int]]) -> list[str]:
    """Return the names of the rows that are over their budget."""
    idle = rows[IDLE]
    over = [
        name
        for name in (MOVING, SCANNING)
        if name in rows
        and any(rows[name][kind] > most for kind, most in BUSY_BUDGET.items())
    ]
    return over + [IDLE] * any(idle[kind] > most for kind, most in BUDGET.items())


def _print_table(rows: dict[str, dict[str, int]]) -> None:
    print(f"\n{'KiB, 32-bit Python':28}{'resident':>10}{'anonymous':>11}{'threads':>9}")
    for name, row in rows.items():
        figures = f"{row['resident_kib']:10,}{row['anonymous_kib']:11,}"
        print(f"{name:28}{figures}{row['threads']:9}")
    resident, anonymous = BUDGET.values()
    print(f"{'budget, idle':28}{resident:10,}{anonymous:11,}")
    resident, anonymous = BUSY_BUDGET.values()
    print(f"{'budget, at work':28}{resident:10,}{anonymous:11,}")
    for name in _over(rows):
        print(f"OVER the budget: {name}.")


def _report(userland: Userland, rows: dict[str, dict[str, int]]) -> dict[str, Any]:
    code = "import platform, sqlite3, ssl; print(platform.python_version(), "
    code += "sqlite3.sqlite_version, ssl.OPENSSL_VERSION, sep='; ')"
    return {
        "what": "memory of an idle node",
        "userland": "Debian i386",
        "versions": userland.run(RUN, "-c", code).strip(),
        "budget": BUDGET,
        "budget_busy": BUSY_BUDGET,
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
