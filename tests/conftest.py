"""What holds for every test: nothing is left behind, nothing is skipped unseen in CI.

Hypothesis draws anew at each run where a person works, and always the same in CI, so
that there a result depends on the commit alone.
"""

import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from brokers import Mosquitto
from browser import page_server, running_chromium
from leftovers import Belongings, wait_for_leftovers
from nodes import NodeProcess
from packages import PACKAGES, find_program
from programs import IS_CI, missing_text

settings.register_profile("here", deadline=None)
settings.register_profile("long", deadline=None, max_examples=10_000)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if IS_CI else "here")

WANTED = ("is not installed", "is missing: ")  # how a skip names a program
HAS_FAILED = pytest.StashKey[bool]()

# A shell that runs us in the background has SIGINT ignored, and so would the programs
# be that the tests start and press Ctrl-C for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, children or open files behind."""
    marker = request.node.get_closest_marker("leaves_behind")
    if marker is not None:
        assert marker.kwargs.get("reason") or marker.args, "say why in the marker"
        yield
        return
    before = Belongings.now()
    yield
    if request.node.stash.get(HAS_FAILED, False):
        return  # a failed test's frames live on in its report, with all they hold
    # What fixtures gave is still held here; files that close with it are not forgotten.
    request.node.funcargs.clear()
    left = wait_for_leftovers(before)
    if left:
        pytest.fail(f"the test left behind:\n{left}", pytrace=False)


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests of this process."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def page_address():
    """Where the page's modules are served, in front of a stand-in host."""
    with page_server() as address:
        yield address


@pytest.fixture
def broker(tmp_path):
    """A Mosquitto of the test's own."""
    with Mosquitto(tmp_path / "broker") as mosquitto:
        yield mosquitto


@pytest.fixture
def make_node(tmp_path, broker):
    """Return what makes a node in a folder of its own; nothing runs yet."""

    def make(folder, name=None, url=None, **settings):
        url = url or broker.url
        return NodeProcess(tmp_path / folder, name or folder, url, **settings)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """A test without its program is skipped where a person works, and fails in CI."""
    report = yield
    if call.excinfo is not None:
        item.stash[HAS_FAILED] = True
    error = call.excinfo.value if call.excinfo else None
    program = _find_missing_program(error)
    if program is not None and not IS_CI:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, missing_text(program))
    reason = str(report.longrepr)
    if report.skipped and IS_CI and any(words in reason for words in WANTED):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr[2]}"
    return report


def _find_missing_program(error: BaseException | None) -> str | None:
    """Return the program for want of which *error* was raised."""
    if isinstance(error, FileNotFoundError):
        for package in PACKAGES:
            if error.filename == package.program and not find_program(package.program):
                return package.program
    return None
