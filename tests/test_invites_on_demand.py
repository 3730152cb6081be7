"""Invites are loaded when they are wanted, and what goes wrong then is said."""

import sys

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import DiskMissing
from fonshare_agent.invites_on_demand import InvitesOnDemand


class Kept:
    """A state store that holds documents of these names."""

    def __init__(self, *names):
        self.names = names

    def document_names(self, begin):
        return [name for name in self.names if name.startswith(begin)]


class Built:
    """Stands for the invites; says what was asked of it."""

    def __init__(self):
        self.links = None
        self.is_loaded = False
        self.second_joiners = ["Famille"]
        self.sessions = self

    def wire(self, links):
        self.links = links

    async def load(self):
        self.is_loaded = True

    def requests(self):
        return ["a request"]

    def brokers(self):
        return {"mqtt://broker"}


@pytest.fixture
def world():
    core = Core(lambda: 0.0)
    worker = Worker("files", core)
    worker.start()
    yield core, worker
    worker.stop()


def run(core, coroutine):
    """Return what *coroutine* returns, with the core's turns taken here."""
    promise = core.spawn(coroutine)
    while not promise.is_settled:
        core.run_once()
    return promise.result()


def on_demand(world, *names):
    core, worker = world
    invites = InvitesOnDemand(worker, worker, Kept(*names), Built)
    invites.wire("the links")
    return core, invites


def test_while_nobody_invites_there_are_none(world):
    core, invites = on_demand(world, "other/document")
    run(core, invites.load())
    assert (invites.requests(), invites.second_joiners) == ([], [])
    assert (invites.brokers(), invites.topics("mqtt://broker")) == (set(), set())
    assert not invites.receive("mqtt://broker", "topic", b"")


@pytest.mark.parametrize("name", ["invite/abc", "join/abc"])
def test_what_was_under_way_goes_on_at_the_start(world, name):
    core, invites = on_demand(world, name)
    run(core, invites.load())
    assert invites.brokers() == {"mqtt://broker"}
    assert run(core, invites.get()).is_loaded


def test_the_first_who_asks_has_them_made_and_wired_once(world):
    core, invites = on_demand(world)
    first = run(core, invites.get())
    assert first.links == "the links"
    assert run(core, invites.get()) is first
    assert invites.requests() == ["a request"]
    assert invites.second_joiners == ["Famille"]


def test_where_the_files_are_gone_the_command_says_so_and_the_next_tries_again(
    world, monkeypatch
):
    core, invites = on_demand(world)
    with monkeypatch.context() as gone:
        gone.setitem(sys.modules, "fonshare_agent.invites", None)
        with pytest.raises(DiskMissing, match="part of the agent cannot be read"):
            run(core, invites.get())
    assert run(core, invites.get()).links == "the links"
