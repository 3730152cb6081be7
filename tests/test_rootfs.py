"""The package on an emulated router: MIPS programs, busybox, OpenWrt's ways.

Under the emulator starting the agent takes seconds and compiling it half a minute of
CPU, so the cases of ON_MIPS run on it here, and the others on 32-bit programs of this
machine's own kind; `make rootfs` has all of them on MIPS, says what each took, and with
ROOTFS=FOLDER runs them in a real OpenWrt's user land.
"""

import os
import re
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ipk
import vendored
from rootfs_cases import HERE, Case, cases, record, router

EPOCH = 1_800_000_000
FAST = {"10-install"}
ON_MIPS = FAST | {"11-missing", "21-upgrade", "23-removal"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package, and the same as an older and a newer version."""
    folder = tmp_path_factory.mktemp("packages")
    libraries = vendored.bring()
    shutil.move(
        ipk.build("fonshare-agent", folder, libraries, EPOCH),
        folder / "fonshare-agent.ipk",
    )
    for version in ("0.0.9", "99.0"):
        file = ipk.build(
            "fonshare-agent", folder, libraries, EPOCH, PKG_VERSION=version
        )
        shutil.move(file, folder / f"fonshare-agent-{version}.ipk")
    return folder


@contextmanager
def timed(what: str, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Say how long it took, where cases run one after another."""
    began, cpu = time.monotonic(), cpu_of_children()
    yield
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with capsys.disabled():
            took, cpu = time.monotonic() - began, cpu_of_children() - cpu
            print(f"\n{what}: {took:.0f} s, {cpu:.0f} s of CPU", flush=True)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            one, id=one.name, marks=[] if one.name in FAST else pytest.mark.full
        )
        for one in cases()
    ],
)
def test_the_package_on_the_router(case: Case, packages, tmp_path, capsys):
    machine = router(packages, "mipsel" if case.name in ON_MIPS else "i386")
    if case.is_installed:
        with timed("installed, once for all cases that begin so", capsys):
            machine.installed(tmp_path / "installing")
    with timed(case.name, capsys):
        complaints = machine.run(case, tmp_path / "case")
    assert not complaints, "\n\n".join(complaints)


@pytest.mark.full
@pytest.mark.parametrize("case", cases("observed"), ids=lambda case: case.name)
def test_what_was_observed_with_openwrts_own_programs_holds_here(case: Case, tmp_path):
    """In the stand-ins; with ROOTFS in the real ones, which OBSERVE=1 writes down."""
    (tmp_path / "packages").mkdir()
    machine = router(tmp_path / "packages", "i386")
    complaints = machine.run(case, tmp_path / "case")
    if "ROOTFS" in os.environ and "OBSERVE" in os.environ:
        file = HERE / "observed" / f"{case.name}.case"
        file.write_text(record(case, file.read_text(), tmp_path / "case"))
        return
    assert not complaints, "\n\n".join(complaints)


# What Debian's busybox has and OpenWrt's has not, as 24.10 and 25.12 configure it.
ABSENT = r"""
    \bfind\ .*-(not|delete|empty|quit|ok|and)\b | \bnc\ .*-[lp] | \bsleep\ \d*\.
    | (?:^|[|;&]\ |\$\()\s*(?:
        base64|chpasswd|comm|dos2unix|hostname|install|join|lsof|mountpoint|nohup|nproc
        |od|paste|realpath|rev|shred|shuf|split|stat|stty|sum|tac|timeout|tty|usleep
        |watch|whoami|xxd
        |ps\ .*fonshare  # the line is cut off where a terminal's would be
    )\ .
"""


@pytest.mark.parametrize("place", ["files", "package/bundle", "tests/rootfs"])
def test_on_the_router_nothing_is_used_that_its_busybox_has_not(place):
    """Else what passes on the stand-ins would fail on the box."""
    texts = ("*.case", "*.sh", "bin/*", "init.d/*", "uci-defaults/*", "60-fonshare")
    folder = HERE.parent.parent / place
    shells = [file for text in texts for file in folder.rglob(text) if file.is_file()]
    assert shells
    for file in shells:
        for line in file.read_text().splitlines():
            command = re.sub(r"""'[^']*'|"[^"]*"|\$\(\(.*\)\)""", "''", line)
            found = re.search(ABSENT, command.removeprefix("$ "), re.VERBOSE)
            assert found is None, f"{file.name}: {line}"


def test_what_was_observed_names_the_programs_and_their_versions():
    for case in cases("observed"):
        assert case.programs, case.name
        for program in case.programs:
            assert re.fullmatch(r"[a-z]+ [0-9a-f]{7,10} \d{4}-\d\d-\d\d", program)
            assert program.split()[1] in (HERE / "observed/README.md").read_text()
