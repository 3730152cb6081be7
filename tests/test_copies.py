"""The source's side of long catalogues: copies, broadcasts, questions of many."""

import os
import threading
import time
from types import SimpleNamespace

import pytest

from fonshare_agent import copies as copies_module
from fonshare_agent.catching_up import CatchingUp
from fonshare_agent.copies import KEPT_S, RENEW_S, Copies, Copy
from fonshare_agent.core import Core, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskFull
from fonshare_agent.ftp.tickets import TicketDesk
from fonshare_agent.granting import Granting
from fonshare_agent.holdings import Holdings
from fonshare_agent.index.records import Listing
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import IndexId, NodeId
from fonshare_agent.protocol.certificate import fingerprint, self_signed_certificate
from fonshare_agent.protocol.envelope import DECOMPRESSED_MAX
from fonshare_agent.protocol.messages import (
    PAGE_BYTES,
    BlocksAsk,
    BlocksPage,
    CatalogueAsk,
    CatalogueCopyAsk,
    CatalogueDelta,
    PushAsk,
    PushEnded,
    TicketGrant,
    TicketRefuse,
    encode,
)
from fonshare_agent.published import Snapshot
from fonshare_agent.sharing import GATHER_S, Sharing
from fonshare_agent.transfer.copy_files import CopyReader
from fonshare_agent.ways import Ways
from index_nodes import ALICE, BOB, CAROL, CLUB, FAMILLE

DEADLINE_S = 30.0
CERTIFICATE = self_signed_certificate(bytes(32))


class World:
    """Alice's side: real index, disk, copies and desk; what she sends is recorded."""

    def __init__(self, folder):
        self.now = 1000.0
        self.core = Core(lambda: self.now)
        self.core._thread = threading.get_ident()
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        for worker in (self.store, self.files):
            worker.start()
        (folder / "disk").mkdir()
        self.disk = Disk(folder / "disk", folder / "disk-id", os.urandom)
        self.disk.open()
        self.index = IndexStore(folder / "index.db", ALICE, os.urandom)
        self.on_store(lambda: self.index.publish({"Films": frozenset([FAMILLE])}))
        self.on_store(self.publish_all)
        self.sent, self.announced = [], 0
        self.members, self.shares = {BOB, CAROL}, {"Films"}
        self.copies = Copies(
            self.core,
            self.store,
            self.files,
            self.index,
            self.disk,
            lambda group: group == FAMILLE,
            lambda root: any(t.root == root for t in self.desk.live()),
        )
        self.desk = TicketDesk(self.core.clock, lambda t: self.granting.is_allowed(t))
        statement = SimpleNamespace(tls_fingerprint=fingerprint(CERTIFICATE))
        member = SimpleNamespace(statement=statement)
        roster = SimpleNamespace(members=dict.fromkeys((BOB, CAROL), member))
        outside = SimpleNamespace(
            certificate=b"ours",
            addresses=lambda given: (),
            dialable=lambda given: given,
            trust=lambda certificate: None,
        )
        self.pushed = []
        workers = SimpleNamespace(push=self._push)
        self.holdings = Holdings(
            self.core, self.files, self.disk, self.desk, self._send
        )
        self.granting = Granting(
            self.core,
            self.store,
            self.index,
            self.disk,
            self.copies,
            self.holdings,
            self.desk,
            workers,
            self,
            lambda group: roster,
            lambda share, path: None,
            self._send,
            outside,
            Ways(self.core, self.store, None),
            os.urandom,
            lambda path: None,
        )
        self.sharing = Sharing(
            self.core,
            self.store,
            self.index,
            self._send,
            self._announce,
            lambda: None,
            CatchingUp(
                self.core, self.store, self.index, self._send, lambda *told: None
            ),
        )
        self.do(self.sharing.add_group(FAMILLE))

    @property
    def snapshot(self):
        return Snapshot(
            {FAMILLE: frozenset(self.members)}, {FAMILLE: frozenset(self.shares)}
        )

    async def _push(self, task):
        with open(task.opener(), "rb") as file:
            self.pushed.append(file.read()[task.first : task.end])
        return ""

    def _send(self, group, to, message):
        self.sent.append((to, message))
        return True

    def _announce(self, group):
        self.announced += 1

    def publish_all(self):
        while self.index.tidy_some()[0]:
            pass

    def on_store(self, work):
        return self.store.run_and_wait(work)

    def offer(self, first, end, name="é"):
        """Offer files more, as a scan finds them."""
        files = [
            (f"{name}{number}".encode(), 1, 10**18, number + 1)
            for number in range(first, end)
        ]
        for at in range(0, len(files), 500):
            page = [Listing((), files[at : at + 500])]
            self.on_store(lambda page=page: self.index.take_listings("Films", page))

    def head(self):
        return self.on_store(lambda: self.index.own_head(FAMILLE))

    def do(self, work):
        done = self.core.spawn(work)
        self.run_until(lambda: done.is_settled)
        return done.result()

    def run_until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            self.core.post(lambda: None)
            self.core.run_once()
            time.sleep(0.0005)

    def pass_time(self, seconds):
        """Let time pass, and what is due then be done."""
        self.now += seconds
        for _ in range(10):
            for worker in (self.store, self.files):
                worker.run_and_wait(lambda: None)
            mark = []
            self.core.post(lambda mark=mark: mark.append(True))
            self.run_until(lambda mark=mark: mark)

    def ask(self, member=BOB, after=0, index_id=None):
        """Ask for a copy until the answer is another than `copying`."""
        head = self.head()
        ask = CatalogueCopyAsk(
            bytes(16), "0job", index_id or head[0], after, CERTIFICATE, ()
        )
        while True:
            self.do(self.granting.on_copy_ask(FAMILLE, member, ask))
            to, answer = self.sent.pop()
            assert to == member
            if not isinstance(answer, TicketRefuse) or answer.reason != "copying":
                return answer
            self.run_until(lambda: self.copies._writing is None)

    def read(self):
        """The pages of the one copy there is."""
        [copy] = self.copies._kept.values()
        opened = self.copies.open_file(copy)
        reader = CopyReader(self.disk, opened, copy.file.size, is_whole=True)
        pages, number = [], copy.after
        while (page := reader.read_after(number)) is not None:
            pages.append(page)
            number = page.upto
        reader.close()
        return pages

    def files_there(self):
        folder = self.disk.path / ".fonshare" / "copies"
        return sorted(one.name for one in folder.iterdir()) if folder.exists() else []

    def close(self):
        self.on_store(self.index.close)
        for worker in (self.store, self.files):
            worker.stop()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


# --- copies ---------------------------------------------------------------------------


def test_a_copy_holds_the_catalogue_in_pages_that_follow_one_another(world):
    world.offer(0, 3000)
    grant = world.ask()
    assert isinstance(grant, TicketGrant)
    pages = world.read()
    assert [one.after for one in pages[1:]] == [one.upto for one in pages[:-1]]
    assert pages[-1].upto == pages[-1].head == world.head()[1]
    assert sum(len(one.changes) for one in pages) == 3000
    [ticket] = world.desk.live()
    assert (ticket.root, ticket.size) == (grant.root, grant.size)
    assert ticket.copy_of == {"Films"}


def test_one_copy_serves_all_and_is_not_written_again_for_each(world):
    world.offer(0, 3000)
    first = world.ask(BOB)
    assert world.ask(CAROL).root == first.root
    assert world.ask(CAROL, after=1000).root == first.root, "it begins before that"
    world.offer(3000, 3100)
    assert world.ask(BOB).root == first.root, "the rest comes in pages"
    assert len(world.files_there()) == 1


def test_a_member_cannot_keep_us_writing(world):
    world.offer(0, 3000)
    world.ask()
    end = world.head()[1]
    for number in range(5):
        world.offer(3000 * (number + 1), 3000 * (number + 2))
        world.now += 1
        assert world.ask(after=end) == TicketRefuse(bytes(16), "busy")
    world.now += RENEW_S
    assert isinstance(world.ask(after=end), TicketGrant)
    assert next(iter(world.read())).after == end
    assert len(world.files_there()) == 1, "the old one is gone"


@pytest.mark.parametrize("after", [3000, 10**9])
def test_who_has_all_gets_no_copy(world, after):
    world.offer(0, 3000)
    assert world.ask(after=after) == TicketRefuse(bytes(16), "not_here")
    other = world.ask(index_id=IndexId(b"other678"))
    assert other == TicketRefuse(bytes(16), "not_here")
    assert world.files_there() == []


def test_a_copy_is_for_members_with_their_own_certificate_only(world):
    world.offer(0, 3000)
    ask = CatalogueCopyAsk(
        bytes(16), "0job", world.head()[0], 0, self_signed_certificate(b"x" * 32), ()
    )
    world.do(world.granting.on_copy_ask(FAMILLE, BOB, ask))
    assert world.sent.pop()[1] == TicketRefuse(bytes(16), "not_here")
    assert world.files_there() == []


def test_removal_and_unsharing_end_the_right_to_a_copy(world):
    world.offer(0, 3000)
    world.ask()
    [ticket] = world.desk.live()
    assert world.granting.is_allowed(ticket)
    world.shares = set()
    assert not world.granting.is_allowed(ticket)
    world.granting.revoke_lost_rights()
    assert world.desk.live() == []
    assert isinstance(world.ask(CAROL), TicketRefuse), "its names are not shared now"
    world.shares = {"Films", "More"}
    assert isinstance(world.ask(CAROL), TicketGrant)
    [ticket] = world.desk.live()
    world.members.remove(CAROL)
    assert not world.granting.is_allowed(ticket)


def test_block_hashes_and_pushes_of_a_copy_are_for_those_who_may_read_it(world):
    world.offer(0, 3000)
    grant = world.ask()
    blocks = BlocksAsk(bytes(16), None, None, grant.root, 0)
    world.do(world.granting.on_blocks_ask(FAMILLE, BOB, blocks))
    assert world.sent.pop()[1] == BlocksPage(bytes(16), grant.root, 0, grant.hashes)
    push = PushAsk(
        *(bytes(16), "0job", None, None, grant.root, bytes(16), bytes(16), ()),
        first=5,
        end=10**9,
    )
    world.do(world.granting.on_push_ask(FAMILLE, BOB, push))
    assert world.sent.pop()[1] == PushEnded(bytes(16), "")
    assert len(world.pushed[0]) == grant.size - 5
    world.shares = set()
    world.do(world.granting.on_blocks_ask(FAMILLE, BOB, blocks))
    assert world.sent.pop()[1] == TicketRefuse(bytes(16), "not_here")
    world.do(world.granting.on_push_ask(FAMILLE, BOB, push))
    assert world.sent.pop()[1] == PushEnded(bytes(16), "not_here")
    other = BlocksAsk(bytes(16), None, None, bytes(32), 0)
    world.shares = {"Films"}
    world.do(world.granting.on_blocks_ask(FAMILLE, BOB, other))
    assert world.sent.pop()[1] == TicketRefuse(bytes(16), "not_here")


def test_a_copy_goes_when_nobody_wants_it_any_more(world):
    world.offer(0, 3000)
    world.ask()
    [name] = world.files_there()
    [ticket] = world.desk.live()
    session = object()
    world.desk._holders[ticket.id] = session
    world.desk._expires.pop(ticket.id)
    world.pass_time(KEPT_S)
    assert world.files_there() == [name], "it is read still"
    world.desk.release(session)
    world.pass_time(KEPT_S)
    assert world.files_there() == []


def test_a_start_removes_what_was_left(world):
    world.offer(0, 3000)
    world.ask()
    (world.disk.path / ".fonshare/copies/writing").write_bytes(b"cut")
    world.do(world.copies.wipe())
    assert world.files_there() == []


def test_a_full_disk_is_told_at_once_and_not_tried_again_and_again(world, monkeypatch):
    made = []

    def full(disk):
        made.append(True)
        raise DiskFull("the disk is full")

    monkeypatch.setattr(copies_module, "CopyWriter", full)
    world.offer(0, 3000)
    for _ in range(3):
        assert world.ask() == TicketRefuse(bytes(16), "disk")
    assert len(made) == 1


def test_a_copy_ends_with_the_group_and_with_the_numbers(world):
    world.offer(0, 3000)
    find = world.copies._has_group
    world.copies._has_group = lambda group: world.copies._writing is None
    ask = CatalogueCopyAsk(bytes(16), "0job", world.head()[0], 0, CERTIFICATE, ())
    world.do(world.granting.on_copy_ask(FAMILLE, BOB, ask))
    world.run_until(lambda: world.copies._writing is None)
    assert world.files_there() == []
    world.copies._has_group = find
    real = world.index.delta

    def renumbered(*args, **limits):
        if args[2] == 500:
            world.index.reset_index_id(FAMILLE)
        return real(*args, **limits)

    world.index.delta = renumbered
    world.do(world.granting.on_copy_ask(FAMILLE, BOB, ask))
    world.run_until(lambda: world.copies._writing is None)
    assert world.files_there() == []


def test_the_store_is_free_between_two_pages(world):
    world.offer(0, 3000)
    longest = []
    real = world.index.delta

    def measured(*args, **limits):
        longest.append(limits["max_entries"])
        return real(*args, **limits)

    world.index.delta = measured
    world.ask()
    assert len(longest) == 6
    assert max(longest) == 500


# --- broadcasts and questions ---------------------------------------------------------


def deltas(world):
    return [(to, one) for to, one in world.sent if isinstance(one, CatalogueDelta)]


def broadcast(world):
    world.sent.clear()
    world.sharing.note_moved([FAMILLE])
    world.pass_time(10)
    return deltas(world)


def test_a_few_pages_are_sent_to_all_and_more_is_left_to_copies(world):
    world.offer(0, 1800)
    sent = broadcast(world)
    assert [to for to, _ in sent] == [None] * 4
    assert sent[-1][1].upto == world.head()[1]
    assert world.announced == 1
    world.offer(1800, 22_000)
    assert broadcast(world) == []
    assert world.announced == 2, "the head says it"
    assert world.sharing.own_head(FAMILLE) == world.head()


def test_what_is_too_much_to_be_sent_is_not_read(world, monkeypatch):
    def read(*_, **__):
        raise AssertionError("a page was made for nothing")

    world.offer(0, 2001)
    with monkeypatch.context() as patched:
        patched.setattr(world.index, "delta", read)
        assert broadcast(world) == []
    assert world.announced == 1
    world.offer(2001, 2020)
    assert [to for to, _ in broadcast(world)] == [None]


def test_a_page_is_sent_before_the_next_is_read(world, monkeypatch):
    world.offer(0, 1800)
    read, sent_before = world.index.delta, []

    def noted(*arguments, **limits):
        sent_before.append(len(deltas(world)))
        return read(*arguments, **limits)

    monkeypatch.setattr(world.index, "delta", noted)
    broadcast(world)
    assert sent_before == [0, 1, 2, 3]


def test_broadcasts_are_no_faster_than_the_members_take_them(world):
    world.offer(0, 1800)
    world.sharing.note_moved([FAMILLE])
    world.pass_time(0.3)
    assert len(deltas(world)) == 4
    world.offer(1800, 1810)
    world.sharing.note_moved([FAMILLE])
    world.pass_time(0.5)
    assert len(deltas(world)) == 4
    world.pass_time(1.5)
    assert len(deltas(world)) == 5


def test_what_several_ask_for_is_sent_once_to_all(world):
    world.offer(0, 3000)
    index_id, _ = world.head()
    for number in range(40):
        ask = CatalogueAsk(index_id, 500)
        world.do(world.sharing.on_ask(FAMILLE, NodeId(bytes([number]) * 32), ask))
    alone = CatalogueAsk(index_id, 700)
    world.do(world.sharing.on_ask(FAMILLE, BOB, alone))
    world.pass_time(GATHER_S)
    sent = [(to, one.after) for to, one in deltas(world)]
    assert sent == [(None, 500), (BOB, 700)]


def test_a_page_of_names_that_weigh_six_times_as_much_on_the_wire_fits(world):
    raw = [b"\xff" * 240 + b"%06d" % number for number in range(500)]
    files = [(name, 1, 10**18, 1) for name in raw]
    world.on_store(lambda: world.index.take_listings("Films", [Listing((), files)]))
    page = world.on_store(
        lambda: world.index.delta(
            FAMILLE, None, 0, max_entries=500, max_bytes=PAGE_BYTES
        )
    )
    message = CatalogueDelta(page.index_id, 0, page.upto, 500, tuple(page.changes))
    assert len(encode(message)) < DECOMPRESSED_MAX


def test_another_groups_copy_is_not_found(world):
    world.offer(0, 3000)
    grant = world.ask()
    assert isinstance(world.copies.find(FAMILLE, grant.root), Copy)
    assert world.copies.find(CLUB, grant.root) is None
