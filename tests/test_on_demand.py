"""What an idle node does without is not in its memory, and is there when it is used."""

import signal
import sys

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskMissing
from fonshare_agent.on_demand import OnDemand
from fonshare_agent.reasons import Postponed
from fonshare_agent.transfer.leftovers import discard_job, has_leftovers, kept_jobs
from fonshare_agent.transfer_side import Attempter, Copier
from nodes import SWITCHES, NodeProcess, eventually, running

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
    (["disk", "ls"], "disk_folders"),
    (["settings"], "control.settings_handlers config_docs"),
    (["follow", "ls"], "control.follow_handlers index.state_follows"),
    (["rate", "ls"], "control.rating_handlers"),
    (["fxp", "ls"], "control.fxp_handlers control.fxp_runs"),
]
# Used with members, or when the owner asks for it; other tests do.
UNUSED = """
    moving granting copies copy_fetching bringing detours attempts sources fetching
    transfer.worker transfer.session transfer.session_data
    transfer.partial transfer.copy_files
    index.browse invites protocol.inviting protocol.joining bundles gathering
    protocol.plan transfer.lanes backup command_line
    streaming transfer.stream protocol.stream_plan friends_tree
    friends_reading ftp.arriving social.follow social.holding
    social.ratings index.state_ratings protocol.rating_messages
    spawning transfer.fxp_url
"""


def names(words: str) -> set[str]:
    return {f"fonshare_agent.{word}" for word in words.split()}


def loaded(node: NodeProcess) -> set[str]:
    """What *node* has in memory now."""

    def told() -> list[str]:
        lines = node.log.read_text().splitlines(keepends=True)
        whole = (line for line in lines if line.endswith("\n"))  # it is a long one
        return [line for line in whole if line.startswith("loaded: ")]

    before = len(told())
    assert node.process is not None
    node.process.send_signal(signal.SIGUSR1)
    lines = eventually(lambda: told()[before:], "the node tells what it has loaded")
    return set(lines[0].split()[1:])


def test_an_idle_node_has_no_part_loaded_that_it_does_not_use(make_node):
    node = make_node("alice")
    node.program = [sys.executable, *SWITCHES, "-c", TELLING]
    late = names(UNUSED).union(*(names(parts) for _, parts in USES))
    with running(node):
        eventually(lambda: node("status")["broker"]["connected"], "the broker is there")
        assert loaded(node) & late == set()
        for command, parts in USES:
            node(*command)
            assert names(parts) - loaded(node) == set(), command


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


# --- what moves files


def finished(core, coroutine):
    promise = core.spawn(coroutine)
    while not promise.is_settled:
        core.run_once()
    return promise


def test_a_job_and_a_copy_wait_while_what_moves_files_cannot_be_read(world):
    core, worker = world

    def load():
        raise ImportError("gone")

    moving = OnDemand(worker, load)
    attempter = Attempter(moving, None)
    waits = finished(core, attempter.bring(None, None))
    with pytest.raises(Postponed) as postponed:
        waits.result()
    assert postponed.value.reason.code == "disk.missing"
    attempter.give_up("job")
    attempter.end(None)
    copier = Copier(moving, lambda group, member: True)
    assert finished(core, copier.fetch(*b"gmi", 0, None)).result() == "disk.missing"
    copier.cancel(b"g", b"m")


def test_what_is_not_whole_is_seen_without_loading_what_makes_it(tmp_path):
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path / "disk-id", bytes)
    disk.open()
    assert not has_leftovers(disk)
    for folder in ("partial", "copies"):
        place = tmp_path / "disk" / ".fonshare" / folder
        place.mkdir(parents=True)
        assert not has_leftovers(disk)
        (place / "abc-0").mkdir()
        assert has_leftovers(disk)
        (place / "abc-0").rmdir()
        assert not has_leftovers(disk)
    (tmp_path / "disk" / ".fonshare" / "partial" / "abc-0").mkdir()
    assert kept_jobs(disk) == {"abc"}
    discard_job(disk, "other")
    assert kept_jobs(disk) == {"abc"}
    discard_job(disk, "abc")
    assert not has_leftovers(disk)


def test_a_start_removes_what_was_kept_for_no_job(make_node):
    node = make_node("alice")
    with running(node):
        pass
    left = node.disk / ".fonshare" / "partial" / "abcdefgh-0"
    left.mkdir(parents=True)
    (left / "data").write_bytes(b"old")
    copies = node.disk / ".fonshare" / "copies"
    copies.mkdir(exist_ok=True)
    (copies / "writing").write_bytes(b"old")
    with running(node):
        eventually(
            lambda: not left.exists() and not any(copies.iterdir()), "it is gone"
        )
