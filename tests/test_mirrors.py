"""Which mirror is read when: one at a time, hourly, sooner after a trouble."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fonshare_agent.core import Core, Promise
from fonshare_agent.errors import AgentBusy, FonshareError, NotFound
from fonshare_agent.mirror import kept, logins
from fonshare_agent.mirror import mirrors as module
from fonshare_agent.mirror.mirrors import (
    AGAIN_S,
    BEGIN_S,
    HOURS_S,
    LOOKS_MAX,
    PERIOD_S,
    Mirrors,
)
from fonshare_agent.settings import ShareSettings

WHOLE = {"is_complete": True, "files": 3, "bytes": 30, "fetched": 1, "held": 0}
LOST = {"error": {"code": "fxp.lost", "message": "gone", "thing": "", "next": ""}}


class AtOnce:
    """A worker that does everything where it is asked; readings end by `finish`."""

    def start(self) -> None:
        return

    def dismiss(self) -> None:
        return

    def run(self, function, *args, **kwargs):
        promise: Promise = Promise()
        if getattr(function, "__name__", "") == "hold":
            function(promise)
        else:
            promise.resolve(function(*args, **kwargs))
        return promise


class World:
    """Two mirrors, a clock, and readings that end when they are told to."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.now, self.may_move = 0.0, True
        self.readings: list[tuple[str, Promise]] = []
        self.stops: list[str] = []
        self.moved: list[str] = []
        self.core = Core(lambda: self.now)
        self.settings = SimpleNamespace(
            state=folder / "state",
            keys=folder / "keys",
            disk=folder / "disk",
            ftp=SimpleNamespace(address="0.0.0.0", port=2121),
        )
        (folder / "keys").mkdir()
        world = self

        class Talk:
            def __init__(self, find_flow, on_told) -> None:
                return

            def hold(self, promise: Promise) -> None:
                world.readings.append((world.reading(), promise))

            def stop(self, why: str, grace_s: float = 0.0) -> None:
                world.stops.append(why)

        monkeypatch.setattr(module, "Conversation", Talk)
        self.all_mirrors: list[Mirrors] = []
        self.mirrors = self.make()

    def make(self) -> Mirrors:
        mirrors = Mirrors(
            self.core,
            AtOnce(),  # type: ignore[arg-type]
            self.settings,  # type: ignore[arg-type]
            lambda address: None,
            lambda: self.may_move,
            lambda share: self.moved.append(share.name),
        )
        mirrors._worker = AtOnce()  # type: ignore[assignment]
        self.all_mirrors.append(mirrors)
        return mirrors

    def reading(self) -> str:
        names = ("Old", "Other")
        states = {name: self.mirrors.told(name) for name in names}
        return next(
            (n for n, told in states.items() if told and told["state"] == "reading"),
            "a look",
        )

    def share(self, name: str) -> ShareSettings:
        path = self.settings.disk / "mirrors" / name
        return ShareSettings(name, path, (), f"ftp://{name.lower()}.example/")

    def follow(self, *names: str) -> None:
        shares = [self.share(name) for name in names]
        self.core.spawn(self.mirrors.follow(shares)).result()

    def finish(self, report: dict) -> None:
        _, promise = self.readings.pop()
        promise.resolve(dict(report))

    def go_on(self, seconds: float) -> None:
        """Let so much time pass, timer by timer."""
        until = self.now + seconds
        while (timers := self.core._timers) and timers[0][0] <= until:
            self.now = max(self.now, timers[0][0])
            self.core.run_once()
        self.now = until

    def names(self) -> list[str]:
        return [name for name, _ in self.readings]


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path, monkeypatch)
    yield made
    for one in made.all_mirrors:  # what is still being read must begin nothing new
        made.core.spawn(one.stop())
        for _, promise in made.readings:
            promise.resolve({"stopped": "the node ends"})


def test_they_are_read_one_after_the_other_soon_after_the_start_and_hourly(world):
    world.follow("Old", "Other")
    assert not world.names()
    world.go_on(BEGIN_S)
    assert world.names() == ["Old"]
    world.go_on(PERIOD_S)
    assert world.names() == ["Old"], "one at a time"
    world.finish(WHOLE)
    assert world.names() == ["Other"]
    world.finish({**WHOLE, "fetched": 0})
    assert world.moved == ["Old"], "nothing of the other has changed"
    assert world.mirrors.told("Old")["next_s"] == PERIOD_S
    world.go_on(PERIOD_S - 1)
    assert not world.names()
    world.go_on(1)
    assert world.names() == ["Old"]


def test_a_reading_that_broke_off_is_tried_again_later_and_later(world):
    world.follow("Old")
    world.go_on(BEGIN_S)
    world.finish({**WHOLE, "held": 7})
    read_at = world.mirrors.told("Old")["read_at"]
    world.go_on(PERIOD_S)
    for pause_s in (AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S):
        world.finish({**LOST, "held": 0})
        told = world.mirrors.told("Old")
        assert (told["error"]["code"], told["read_at"]) == ("fxp.lost", read_at)
        assert told["held"] == 7, "only a whole reading tells what is gone"
        assert told["next_s"] == pause_s
        world.go_on(pause_s)
    world.finish(WHOLE)
    assert world.mirrors.told("Old")["error"] is None
    world.go_on(PERIOD_S)
    for _ in range(12):
        world.finish(LOST)
        world.go_on(PERIOD_S)
    assert world.names() == ["Old"], "never less often than hourly"


def test_outside_the_hours_nothing_is_read(world):
    world.may_move = False
    world.follow("Old")
    world.go_on(BEGIN_S + HOURS_S)
    assert not world.names()
    assert world.mirrors.told("Old")["state"] == "closed"
    world.may_move = True
    world.go_on(HOURS_S)
    assert world.names() == ["Old"]
    world.may_move = False
    world.go_on(HOURS_S)
    assert world.stops == ["hours"]
    world.finish({**WHOLE, "stopped": "hours"})
    world.go_on(HOURS_S)
    assert not world.names()
    world.may_move = True
    world.go_on(HOURS_S)
    assert world.names() == ["Old"], "it goes on with the hours"


def test_what_was_gone_at_once_goes_when_it_is_confirmed(world):
    world.follow("Old")
    assert world.mirrors.confirm("Old") == 0
    assert world.mirrors.confirm("Films") == 0, "no mirror"
    world.go_on(BEGIN_S)
    world.finish({**WHOLE, "held": 7})
    assert world.mirrors.confirm("Old") == 7
    assert world.names() == ["Old"], "at once"
    assert world.mirrors._mirrors["Old"].is_confirmed
    world.finish(WHOLE)
    assert not world.mirrors._mirrors["Old"].is_confirmed


def test_what_is_asked_for_while_it_is_read_comes_after_it(world):
    world.follow("Old")
    world.go_on(BEGIN_S)
    world.finish({**WHOLE, "held": 7})
    world.go_on(PERIOD_S)
    assert world.names() == ["Old"]
    assert world.mirrors.confirm("Old") == 7, "this reading does not know it yet"
    world.finish({**WHOLE, "held": 7})
    assert world.names() == ["Old"], "it is read once more"
    assert world.mirrors._mirrors["Old"].is_confirmed
    world.finish(WHOLE)
    assert not world.names()
    assert not world.mirrors._mirrors["Old"].is_confirmed


def test_a_reading_that_fails_by_a_bug_of_ours_does_not_stop_the_others(world):
    world.follow("Old", "Other")
    world.go_on(BEGIN_S)
    world.readings.pop()[1].reject(IndexError("a bug"))
    assert world.names() == ["Other"]
    world.finish(WHOLE)
    world.go_on(PERIOD_S)
    assert world.names() == ["Old"]


def test_a_share_that_is_removed_is_read_no_more(world):
    world.follow("Old", "Other")
    world.go_on(BEGIN_S)
    world.follow("Other")
    assert world.stops == ["removed"]
    world.finish({"stopped": "removed"})
    assert world.mirrors.told("Old") is None
    assert world.names() == ["Other"]
    with pytest.raises(NotFound):
        world.mirrors.refresh("Old")


def test_the_last_report_outlives_the_node(world):
    world.follow("Old")
    world.go_on(BEGIN_S)
    world.finish(WHOLE)
    world.mirrors = world.make()
    world.follow("Old")
    told = world.mirrors.told("Old")
    assert (told["files"], told["bytes"]) == (3, 30)
    world.core.spawn(world.mirrors.forget(world.share("Old"))).result()
    world.mirrors = world.make()
    world.follow("Old")
    assert world.mirrors.told("Old")["files"] == 0


def test_without_its_password_it_says_how_to_give_it(world):
    share = ShareSettings(
        "Old", world.settings.disk / "mirrors", (), "ftp://me@old.example/"
    )
    world.core.spawn(world.mirrors.follow([share])).result()
    world.go_on(BEGIN_S)
    assert not world.names()
    assert "share password" in world.mirrors.told("Old")["error"]["next"]


@pytest.mark.parametrize(
    ("url", "is_read"),
    [
        ("ftps://me@old.example:2121/films", True),
        ("ftps://me@OLD.example:2121/music", True),  # another folder there
        ("ftp://me@old.example:2121/films", False),  # in clear
        ("ftps://me@old.example/films", False),
        ("ftps://you@old.example:2121/films", False),
        ("ftps://me@other.example:2121/films", False),
    ],
)
def test_a_password_goes_to_no_server_but_the_one_it_was_given_for(world, url, is_read):
    keys = world.settings.keys
    logins.keep_password(keys, "Old", "ftps://me@old.example:2121/films", "geheim")
    share = ShareSettings("Old", world.settings.disk / "mirrors", (), url)
    world.core.spawn(world.mirrors.follow([share])).result()
    world.go_on(BEGIN_S)
    assert bool(world.names()) == is_read
    if not is_read:
        assert "share password" in world.mirrors.told("Old")["error"]["next"]
        logins.keep_password(keys, "Old", url, "other")
        world.mirrors.refresh("Old")
        assert world.names() == ["Old"]


def test_without_a_user_no_others_password_is_sent(world):
    keys, url = world.settings.keys, "ftp://old.example/"
    logins.keep_password(keys, "Old", "ftp://me@old.example/", "geheim")
    share = ShareSettings("Old", world.settings.disk / "mirrors", (), url)
    task = kept.task_with_password(world.settings, share, is_confirmed=False)
    assert task["password"] == ""
    assert task["door"] == ["0.0.0.0", 2121]


def test_a_password_of_which_no_server_is_noted_is_none(world):
    (world.settings.keys / logins.FILE).write_text('{"Old": "geheim"}')
    (world.settings.keys / logins.FILE).chmod(0o600)
    url = "ftp://me@old.example/"
    assert logins.read_password(world.settings.keys, "Old", url) is None


def test_servers_are_tried_two_at_a_time(world, monkeypatch):
    """Each is a process: whoever may give commands could begin any number."""
    monkeypatch.setattr(module, "Worker", lambda name, core: AtOnce())
    share = world.share("Old")
    looks = [world.core.spawn(world.mirrors.look(share, "")) for _ in range(3)]
    assert world.names() == ["a look"] * LOOKS_MAX
    with pytest.raises(AgentBusy):
        looks[-1].result()
    world.finish({})
    world.finish(LOST)
    assert looks[1].result() is None
    with pytest.raises(FonshareError):
        looks[0].result()
    again = world.core.spawn(world.mirrors.look(share, ""))
    world.finish({})
    assert again.result() is None
