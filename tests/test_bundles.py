"""Many small files by one question: what is granted, and what is made of it."""

import errno
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fonshare_agent.attempts import Attempts
from fonshare_agent.bundles import Bundles, Outcome, _Place, _sort_out, _that_fit
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskMissing
from fonshare_agent.fetching import Fetcher
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting_bundles import BundleGranting
from fonshare_agent.index.records import FileStamp, OwnFile
from fonshare_agent.index.state import StateStore
from fonshare_agent.index.state_records import Job, JobFile
from fonshare_agent.model import GroupId, JobState, NodeId, Root, SharePath
from fonshare_agent.protocol.content import BUNDLE_BYTES_MAX, BUNDLED_BYTES_MAX
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    BundleAsk,
    BundleGrant,
    BundlePart,
    BundleWish,
    TicketRefuse,
    encode,
)
from fonshare_agent.reasons import Postponed
from fonshare_agent.transfer.disk_errors import translation
from fonshare_agent.transfer.worker import reason_of
from fonshare_agent.watch import Watch
from waiting import PATIENCE_S

GROUP, MEMBER = GroupId(bytes(32)), NodeId(b"m" * 32)
CERTIFICATE = b"certificate"


def root(number: int) -> Root:
    return Root(bytes([number]) * 32)


def drive(core, work):
    """Run *core* until *work* is done; return what came of it."""
    done, until = core.spawn(work), time.monotonic() + PATIENCE_S
    while not done.is_settled:
        assert time.monotonic() < until
        core.call_later(0.01, lambda: None)
        core.run_once()
    return done.result()


# --- the source ---------------------------------------------------------------------


class Source:
    """A `BundleGranting` over files that the test names."""

    def __init__(self, files: dict[str, tuple[int, Root | None]]) -> None:
        self.core = Core(time.monotonic)
        self.store = Worker("s", self.core)
        self.store.start()
        self.files, self.is_published, self.is_own = files, True, True
        self.has_disk = True
        self.hashed, self.sent, self.retired = [], [], []
        self.desk = TicketDesk(time.monotonic, lambda ticket: True)
        self.granting = BundleGranting(
            SimpleNamespace(
                is_own_certificate=lambda *_: self.is_own,
                retire=lambda *words: self.retired.append(words),
                opener=lambda own: lambda: own.path,
                demand_disk=self.demand_disk,
            ),
            self.store,
            SimpleNamespace(own_file=self.own_file),
            self.desk,
            SimpleNamespace(snapshot=SimpleNamespace(allows=lambda *_: self.allows())),
            lambda share, path: self.hashed.append(str(path)),
            lambda group, member, message: self.sent.append(message) or True,
            SimpleNamespace(
                certificate=b"ours", addresses=lambda _: (), trust=lambda _: None
            ),
            os.urandom,
        )

    async def demand_disk(self) -> None:
        if not self.has_disk:
            raise DiskMissing("the disk is missing")

    def allows(self) -> bool:
        return self.is_published

    def own_file(self, group, share, path):
        if str(path) not in self.files:
            return None
        size, known = self.files[str(path)]
        return OwnFile(share, path, FileStamp(1, size, 5_000_000_000), known)

    def ask(self, *names: str, pinned: Root | None = None):
        wishes = tuple(BundleWish(SharePath.parse(name), pinned) for name in names)
        ask = BundleAsk(bytes(16), "job", "Films", wishes, CERTIFICATE, ())
        drive(self.core, self.granting.on_bundle_ask(GROUP, MEMBER, ask))
        return self.sent[-1]


@pytest.fixture
def source():
    made = Source(
        {
            "a": (10, root(1)),
            "unhashed": (10, None),
            "large": (BUNDLED_BYTES_MAX + 1, root(2)),
            "b": (0, root(3)),
        }
    )
    yield made
    made.store.stop()


def test_each_file_is_granted_or_refused_by_itself(source):
    answer = source.ask("a", "gone", "unhashed", "large", "b")
    assert isinstance(answer, BundleGrant)
    assert [one.reason for one in answer.files] == [
        *("", "not_here", "hashing", "alone", "")
    ]
    assert answer.files[0] == BundlePart("", 10, 5, root(1))
    assert source.hashed == ["unhashed"]
    [ticket] = source.desk.live()
    assert (ticket.id, ticket.size, ticket.share) == (answer.ticket, 10, "Films")
    assert ticket.bundle.sizes == (10, 0)
    opened = [str(ticket.bundle.open_part(index)) for index in (0, 1)]
    assert opened == ["a", "b"], "in the order of the grant"
    assert source.retired == [(GROUP, MEMBER, "job")]


def test_another_root_than_the_pinned_one_has_changed(source):
    answer = source.ask("a", pinned=root(9))
    assert [one.reason for one in answer.files] == ["changed"]
    assert source.desk.live() == []


def test_no_bundle_is_larger_than_agreed(source):
    names = [f"n{at}" for at in range(20)]
    source.files |= {name: (BUNDLED_BYTES_MAX, root(1)) for name in names}
    answer = source.ask(*names)
    assert [one.reason for one in answer.files] == [""] * 16 + ["alone"] * 4
    [ticket] = source.desk.live()
    assert ticket.size == BUNDLE_BYTES_MAX


def test_without_a_right_to_the_share_nothing_is_told(source):
    source.is_published = False
    assert source.ask("a") == TicketRefuse(bytes(16), "not_here")
    source.has_disk = False
    assert source.ask("a") == TicketRefuse(bytes(16), "not_here")
    source.is_published, source.is_own = True, False
    assert source.ask("a") == TicketRefuse(bytes(16), "not_here")
    assert source.desk.live() == []


def test_without_a_disk_there_is_no_ticket_for_it(source):
    source.has_disk = False
    assert source.ask("a", "b") == TicketRefuse(bytes(16), "disk")
    assert source.desk.live() == []


def test_a_share_that_is_withdrawn_while_files_are_looked_up_is_not_granted(source):
    def own_file(group, share, path):
        source.is_published = False
        return OwnFile(share, path, FileStamp(1, 1, 1), root(1))

    source.granting._index.own_file = own_file
    assert source.ask("a") == TicketRefuse(bytes(16), "not_here")
    assert source.desk.live() == []


# --- the asker ----------------------------------------------------------------------


def a_place(number: int, size: int = 10, pinned: Root | None = None, name="f"):
    path = SharePath.parse(f"{name}{number}")
    file = JobFile("job", number, path, size, 7, pinned)
    return _Place(file, "Films", path)


def test_a_question_holds_no_more_than_one_message_and_one_bundle():
    assert len(_that_fit([a_place(at) for at in range(400)])) == 256
    large = [a_place(at, BUNDLED_BYTES_MAX) for at in range(400)]
    assert len(_that_fit(large)) == 16
    long = [a_place(at, name="é" * 120 + "/" + "ü" * 100) for at in range(256)]
    fit = _that_fit(long)
    assert 10 < len(fit) < 256
    wishes = tuple(BundleWish(one.path, bytes(32)) for one in fit)
    ask = BundleAsk(bytes(16), "job", "Films", wishes, b"", ())
    assert len(encode(ask)) < PAGE_BYTES * 1.1


def test_what_is_not_granted_comes_by_itself_or_later():
    places = [a_place(at) for at in range(4)]
    outcome = Outcome()
    parts = [
        BundlePart("", 12, 99, root(1)),
        BundlePart("hashing"),
        BundlePart("not_here"),
        BundlePart("", 3, 99, root(2)),
    ]
    wanted = _sort_out(places, parts, outcome)
    assert [(one.number, one.size, one.root) for one in wanted] == [
        *((0, 12, root(1)), (3, 3, root(2)))
    ]
    assert [one.modified for one in wanted] == [99, 99]
    assert (outcome.hashing, outcome.alone) == ({1}, {2})


@pytest.mark.parametrize(
    "part",
    [
        BundlePart("", 10, 9, root(2)),  # another content than the pinned one
        BundlePart("", 11, 9, root(1)),  # whose size the root says, too
        BundlePart("", BUNDLED_BYTES_MAX + 1, 9, root(1)),
    ],
)
def test_a_bundle_of_what_was_not_asked_for_is_refused_whole(part):
    places = [a_place(0, pinned=root(1)), a_place(1)]
    outcome = Outcome()
    assert _sort_out(places, [part, BundlePart("", 1, 1, root(3))], outcome) == []
    assert outcome.alone == {0, 1}


class Asker:
    """`Bundles` whose source answers, and whose connections fail, as the test says."""

    def __init__(self, path) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.store.start()
        self.files.start()
        (path / "disk").mkdir()
        disk = Disk(path / "disk", path / "disk-id", os.urandom)
        disk.open()
        self.reason, self.knocks, self.forgotten = "unreachable", [], []
        self.is_detour_needed, self.relay = False, None
        self.fetched = 0
        member = SimpleNamespace(statement=SimpleNamespace(tls_fingerprint=b"tls"))
        roster = SimpleNamespace(members={MEMBER: member})
        self.bundles = Bundles(
            *(self.store, self.files, None, None, disk, self, self),
            lambda group: SimpleNamespace(roster=roster),
            SimpleNamespace(
                certificate=b"", addresses=lambda _: (), dialable=lambda shown: shown
            ),
            SimpleNamespace(
                can_be_asked=lambda *_: True,
                note_used=lambda *_: None,
                note_place=lambda *_: None,
            ),
            self,
        )
        target = os.fsencode(disk.path / "kino")
        self.job = Job("job", GROUP, MEMBER, "Films", None, "share", "Films", target, 0)
        self.disk = disk
        self.small = [a_place(number).file for number in range(3)]

    # --- as the source

    def ask(self, group, source, question, **_):
        wishes = question(bytes(16)).files
        parts = tuple(BundlePart("", 10, 7, root(1)) for _ in wishes)
        granted = Promise()
        granted.resolve(BundleGrant(bytes(16), bytes(16), bytes(16), b"", (), parts))
        return granted

    # --- as the bringer, and the workers

    @property
    def detours(self):
        return self

    def is_needed(self, source):
        return self.is_detour_needed

    async def find(self, group, source, addresses, owner):
        return self.relay

    def note_knock(self, source, reason):
        self.knocks.append(reason)

    def forget(self, source):
        self.forgotten.append(source)

    def fetch(self, task):
        self.fetched += 1
        ended = Promise()
        ended.resolve(self.reason)
        return ended

    def run(self):
        return drive(self.core, self.bundles.bring(self.job, self.small, Watch()))

    def close(self) -> None:
        self.store.stop()
        self.files.stop()


@pytest.fixture
def asker(tmp_path):
    made = Asker(tmp_path)
    yield made
    made.close()


def test_who_is_not_reached_costs_one_file_the_others_wait_for_what_it_finds(asker):
    outcome = asker.run()
    assert (outcome.scout, outcome.settled, outcome.reason) == (0, set(), "")
    assert asker.knocks == ["unreachable"]


def test_a_relay_that_is_over_leaves_each_file_to_itself(asker):
    asker.is_detour_needed, asker.relay = True, "relay"
    outcome = asker.run()
    assert (outcome.scout, outcome.alone) == (None, {0, 1, 2})
    assert (asker.knocks, asker.forgotten) == ([], [MEMBER])


def test_without_any_way_nobody_knocks_once_more(asker):
    asker.is_detour_needed = True
    outcome = asker.run()
    assert (outcome.scout, outcome.alone) == (None, {0, 1, 2})
    assert (asker.fetched, asker.knocks) == (0, [])


# --- the attempt --------------------------------------------------------------------


@pytest.mark.parametrize("is_link", [False, True])
def test_what_would_find_no_place_is_not_fetched_but_says_so_itself(asker, is_link):
    asker.reason = ""
    in_the_way = asker.disk.path / "kino" / "Films"
    in_the_way.parent.mkdir()
    if is_link:
        in_the_way.symlink_to(asker.disk.path)
    else:
        in_the_way.write_bytes(b"the owner's")
    outcome = asker.run()
    assert (outcome.alone, outcome.reason, asker.fetched) == ({0, 1, 2}, "", 0)
    in_the_way.unlink()
    assert asker.run().reason == ""
    assert asker.fetched == 1


def fetch_singly(asker):
    fetcher = Fetcher(asker.store, asker.files, None, asker.disk, None, None)
    with pytest.raises(Postponed) as caught:
        drive(asker.core, fetcher.fetch(asker.job, asker.small[0], Watch()))
    return caught.value.reason


def test_a_file_that_lies_where_its_folder_shall_be_is_named_before_anything_is_asked(
    asker,
):
    (asker.disk.path / "kino").write_bytes(b"the owner's")
    reason = fetch_singly(asker)
    assert (reason.code, reason.state) == ("target.barred", JobState.QUEUED)
    assert "'kino'" in reason.text
    asker.job = replace(asker.job, target=b"/elsewhere")
    assert fetch_singly(asker).code == "target.elsewhere"


def test_what_the_system_refuses_for_its_place_is_not_called_a_missing_disk(asker):
    for number in (errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG):
        found = translation(asker.disk, OSError(number, os.strerror(number)))
        assert reason_of(found) == "target.barred"
    assert reason_of(translation(asker.disk, OSError(5, "I/O error"))) == "disk.missing"


class Attempt:
    """`Attempts` over a real state.db; bundles and single fetches are the test's."""

    def __init__(self, path, sizes) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        self.state = StateStore(path / "state.db", "disk", time.monotonic)
        job = Job("job", GROUP, MEMBER, "Films", None, "share", "Films", b"/t", 0)
        files = [
            JobFile("job", at, SharePath.parse(f"f{at}"), size, 1, None)
            for at, size in enumerate(sizes)
        ]
        self.job = self.state.add_job(job, files)
        self.store.start()
        self.files.start()
        self.singly, self.bundles, self.told = [], [], []
        self.fails: dict[int, str] = {}
        self.is_way_unknown = False
        disk = SimpleNamespace(refuses_names=False)
        self.attempts = Attempts(
            self.store,
            self.files,
            self.state,
            None,
            SimpleNamespace(fetch=self.fetch, disk=disk),
            lambda: SimpleNamespace(bring=self.bring),
            self.told.append,
        )

    async def fetch(self, job, file, watch):
        self.singly.append(file.number)
        if file.number in self.fails:
            raise Postponed(self.fails[file.number])
        return await self.record(file)

    async def record(self, file):
        done = JobFile(
            *("job", file.number, file.path, file.size, 1),
            state=JobState.DONE,
            final_name=file.path.name,
        )
        await self.store.run(self.state.update_file, done)
        return done

    async def bring(self, job, files, watch):
        self.bundles.append([file.number for file in files])
        if self.is_way_unknown:
            self.is_way_unknown = False
            return Outcome(scout=files[0].number)
        outcome = Outcome(alone={one.number for one in files} & self.fails.keys())
        for file in files:
            if file.number not in self.fails:
                outcome.done.append(await self.record(file))
        return outcome

    def run(self):
        return drive(self.core, self.attempts.bring(self.job, Watch()))

    def close(self) -> None:
        self.store.run_and_wait(self.state.close)
        self.store.stop()
        self.files.stop()


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    monkeypatch.setattr("fonshare_agent.attempts.discard_partials", lambda *words: None)
    large = BUNDLED_BYTES_MAX + 1
    made = Attempt(tmp_path, [1, large, 2, 3, large, 4])
    yield made
    made.close()


def test_small_files_come_together_and_large_ones_by_themselves(attempt):
    assert attempt.run() is True
    assert (attempt.bundles, attempt.singly) == ([[0, 2, 3, 5]], [1, 4])
    assert sorted(path.name for path in attempt.told) == [f"f{n}" for n in range(6)]


def test_one_goes_ahead_to_find_the_way_and_the_others_come_together(attempt):
    attempt.is_way_unknown = True
    assert attempt.run() is True
    assert attempt.bundles == [[0, 2, 3, 5], [2, 3, 5]]
    assert attempt.singly == [0, 1, 4]


def test_a_file_that_must_wait_holds_up_no_other(attempt):
    attempt.fails = {1: "source.vanished", 3: "source.hashing"}
    with pytest.raises(Postponed) as caught:
        attempt.run()
    assert caught.value.reason.code == "source.hashing", "it is worth trying soonest"
    missing = attempt.store.run_and_wait(
        lambda: attempt.state.files("job", (JobState.QUEUED,))
    )
    assert [file.number for file in missing] == [1, 3]


def test_a_changed_file_begins_anew_and_the_others_come(attempt):
    attempt.fails = {0: "source.changed"}
    with pytest.raises(Postponed):
        attempt.run()
    file = attempt.store.run_and_wait(lambda: attempt.state.get_file("job", 0))
    assert file.root is None
    assert attempt.singly == [0, 1, 4]


def test_what_holds_up_all_ends_the_attempt_at_once(attempt):
    attempt.fails = {1: "source.lost"}
    with pytest.raises(Postponed):
        attempt.run()
    assert attempt.singly == [1]


def test_without_our_own_files_a_folder_waits_for_the_disk(attempt, monkeypatch):
    def fail():
        raise ModuleNotFoundError("No module named 'fonshare_agent.bundles'")

    monkeypatch.setattr("fonshare_agent.attempts._import_bundles", fail)
    with pytest.raises(Postponed) as caught:
        attempt.run()
    assert caught.value.reason.code == "disk.missing"
    monkeypatch.undo()
    monkeypatch.setattr("fonshare_agent.attempts.discard_partials", lambda *words: None)
    assert attempt.run() is True
