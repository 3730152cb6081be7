"""What an idle node does without is not in its memory, and is there when it is used."""

import signal
import sys

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import DiskMissing
from fonshare_agent.on_demand import OnDemand
from nodes import SWITCHES, NodeProcess, eventually

# The service, which tells what it has loaded when it gets a signal.
TELLING = """
import signal, sys
from fonshare_agent import resident
def tell(*_):
    loaded = (name for name, one in sys.modules.items() if type(one) is type(sys))
    print("loaded:", *sorted(loaded), flush=True)
signal.signal(signal.SIGUSR1, tell)
sys.exit(resident.main())
"""

# What brings each part into memory, and modules that tell whether it is there. None of
# these, nor the parts below, may be there before.
USES = [
    (
        ["find", "words"],
        "control.search_handlers index.finder index.query index.search",
    ),
    (["search", "ls"], "index.saved index.state_searches index.news"),
    (["ls"], "control.file_handlers"),
    (["doctor"], "doctor doctor_storage"),
    (["group", "requests"], "control.group_handlers"),
]
# Used with members, or when the owner asks for it; other tests do.
UNUSED = """
    index.browse invites protocol.inviting protocol.joining bundles gathering
    protocol.plan transfer.lanes backup command_line
"""


def names(words: str) -> set[str]:
    return {f"fonshare_agent.{word}" for word in words.split()}


def loaded(node: NodeProcess) -> set[str]:
    """What *node* has in memory now."""

    def told() -> list[str]:
        lines = node.log.read_text().splitlines()
        return [line for line in lines if line.startswith("loaded: ")]

    before = len(told())
    assert node.process is not None
    node.process.send_signal(signal.SIGUSR1)
    lines = eventually(lambda: told()[before:], "the node tells what it has loaded")
    return set(lines[0].split()[1:])


def test_an_idle_node_has_no_part_loaded_that_it_does_not_use(make_node):
    node = make_node("alice")
    node.program = [sys.executable, *SWITCHES, "-c", TELLING]
    node.start()
    eventually(lambda: node("status")["broker"]["connected"], "the broker is there")
    late = names(UNUSED).union(*(names(parts) for _, parts in USES))
    assert loaded(node) & late == set()
    for command, parts in USES:
        node(*command)
        assert names(parts) - loaded(node) == set(), command
    assert node.stop() == 0


# --- the part itself


@pytest.fixture
def world():
    core = Core(lambda: 0.0)
    worker = Worker("files", core)
    worker.start()
    yield core, worker
    worker.stop()


def got(core, part):
    promise = core.spawn(part.get())
    while not promise.is_settled:
        core.run_once()
    return promise.result()


def test_a_part_is_loaded_by_the_files_thread_and_made_once_by_the_core(world):
    import threading

    core, worker = world
    threads = []

    def make():
        threads.append(threading.current_thread().name)
        return object()

    def load():
        threads.append(threading.current_thread().name)
        return make

    part = OnDemand(worker, load)
    assert part.made is None
    both = [core.spawn(part.get()), core.spawn(part.get())]
    while not all(one.is_settled for one in both):
        core.run_once()
    assert both[0].result() is both[1].result() is part.made
    assert got(core, part) is part.made
    assert threads.count(threading.current_thread().name) == 1
    assert set(threads) == {threading.current_thread().name, "files"}


def test_a_part_that_cannot_be_read_is_missing_until_it_can(world):
    core, worker = world
    failures = [ImportError("gone"), OSError("gone")]

    def load():
        if failures:
            raise failures.pop()
        return lambda: "made"

    part = OnDemand(worker, load)
    for _ in range(2):
        with pytest.raises(DiskMissing, match="part of the agent cannot be read"):
            got(core, part)
    assert got(core, part) == "made"
