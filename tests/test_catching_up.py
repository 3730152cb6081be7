"""How a replica catches up: by copies while they are good, by pages where they are not.

Real core, stores, disk and partials; the member, its answers and its line are the
test's.
"""

import hashlib
import os
import struct
import threading
import time
from types import SimpleNamespace

import pytest

from fonshare_agent import copy_fetching
from fonshare_agent.asking import NoAnswer
from fonshare_agent.catching_up import COPY_FROM, COPY_PAUSE_S, PAGE_PAUSE_S, CatchingUp
from fonshare_agent.copy_fetching import CopyFetcher
from fonshare_agent.core import Core, Promise, Worker
from fonshare_agent.disk import Disk
from fonshare_agent.errors import DiskFull
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import IndexId, SharePath
from fonshare_agent.protocol.catalogue_copy import pack
from fonshare_agent.protocol.certificate import fingerprint, self_signed_certificate
from fonshare_agent.protocol.content import content_root
from fonshare_agent.protocol.messages import (
    CatalogueAsk,
    CatalogueCopyAsk,
    CatalogueDelta,
    Change,
    JobEnded,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.transfer.partial_files import list_copies
from index_nodes import ALICE, BOB, FAMILLE
from transfer_world import BLOCK, hashes_of

DEADLINE_S = 30.0
INDEX, OTHER = IndexId(b"indexid8"), IndexId(b"another8")
CERTIFICATE = self_signed_certificate(bytes(32))
FAR = COPY_FROM + 1000


def change(number, *, path=None, size=1):
    path = path or f"album/{number:06}.ogg"
    root = hashlib.sha256(b"%d" % number).digest()
    return Change("Films", SharePath.parse(path), size, 1, root, False)


def pages(first, end, step=100, index_id=INDEX, head=None):
    return [
        CatalogueDelta(
            index_id,
            after,
            after + step,
            head or end,
            tuple(change(number) for number in range(after, after + step)),
        )
        for after in range(first, end, step)
    ]


def packed(*some):
    return b"".join(map(pack, some))


class Line:
    """Brings what the member serves; `breaks_at` ends it there, once."""

    def __init__(self):
        self.raw, self.breaks_at, self.reason = b"", None, "source.lost"
        self.begun_with = []

    async def bring(self, granted, kept, watch):
        if not kept.has_hashes:
            kept.set_hashes(hashes_of(self.raw))
        self.begun_with.append(kept.done_bytes)
        for first, end in kept.gaps():
            for index in range(first, end):
                at, length = kept.content.range(index)
                if self.breaks_at is not None and at + length > self.breaks_at:
                    kept.sync()
                    self.breaks_at = None
                    return self.reason
                with kept.write_block(index) as writer:
                    writer.write(self.raw[at : at + length])
                    assert writer.finish()
        kept.sync()
        return ""


class World:
    """Bob, who follows what alice offers."""

    def __init__(self, folder):
        (folder / "disk").mkdir(exist_ok=True)
        self.now = 1000.0
        self.core = Core(lambda: self.now)
        self.core._thread = threading.get_ident()
        self.store, self.files = Worker("s", self.core), Worker("f", self.core)
        for worker in (self.store, self.files):
            worker.start()
        self.disk = Disk(folder / "disk", folder / "disk-id", os.urandom)
        self.disk.open()
        self.index = IndexStore(folder / "index.db", BOB, os.urandom)
        self.sent, self.refusal, self.line = [], None, Line()
        self.asked: list[CatalogueCopyAsk] = []
        self.catching_up = CatchingUp(
            self.core, self.store, self.index, self._note_sent, lambda *told: None
        )
        statement = SimpleNamespace(tls_fingerprint=fingerprint(CERTIFICATE))
        members = {ALICE: SimpleNamespace(statement=statement)}
        self.machine = SimpleNamespace(
            roster=SimpleNamespace(members=members),
            peers=SimpleNamespace(can_be_asked=lambda member: True),
        )
        outside = SimpleNamespace(certificate=b"", addresses=lambda given: ())
        self.fetcher = CopyFetcher(
            self.core,
            self.files,
            self.disk,
            self.line,
            self,
            lambda group: self.machine,
            self._note_sent,
            outside,
        )
        self.catching_up.wire(self.fetcher)
        self.catching_up.add_group(FAMILLE)

    def _note_sent(self, group, to, message):
        self.sent.append(message)
        return True

    def ask(self, group, member, make):
        """What Asking does, with the member's answer."""
        promise: Promise[object] = Promise()
        self.asked.append(make(bytes(16)))
        if self.refusal == "":
            promise.reject(NoAnswer("silent"))
        elif self.refusal is not None:
            promise.resolve(TicketRefuse(bytes(16), self.refusal))
        else:
            promise.resolve(self._grant())
        return promise

    def _grant(self):
        raw = self.line.raw
        hashes = hashes_of(raw)
        root = content_root(len(raw), hashes)
        return TicketGrant(
            bytes(16),
            bytes(16),
            bytes(16),
            CERTIFICATE,
            (),
            root,
            len(raw),
            0,
            tuple(hashes),
        )

    # --- what a test does ---

    def serve(self, raw, *, head, index_id=INDEX):
        """Let alice serve the copy *raw* and tell her head; wait for the end."""
        self.line.raw = raw
        self.catching_up.note_head(FAMILLE, ALICE, (index_id, head))
        self.rest()

    def hear(self, page):
        self.core.spawn(self.catching_up.on_delta(FAMILLE, ALICE, page))
        self.rest()

    def pass_time(self, seconds):
        self.now += seconds
        self.rest()

    def rest(self):
        """Run until nothing is under way, and no timer is due."""
        deadline, quiet = time.monotonic() + DEADLINE_S, 0
        while quiet < 3:
            assert time.monotonic() < deadline
            for worker in (self.store, self.files):
                worker.run_and_wait(lambda: None)
            mark = []
            self.core.post(lambda mark=mark: mark.append(True))
            while not mark:
                self.core.run_once()
            follow = self.catching_up._groups.get(FAMILLE, {}).get(ALICE)
            is_busy = (follow and follow.is_copying) or self.fetcher._running
            quiet = 0 if is_busy and not self.is_waiting else quiet + 1

    is_waiting = False  # whether a copy may stay under way

    @property
    def head(self):
        return self.store.run_and_wait(lambda: self.index.replica_head(FAMILLE, ALICE))

    def names(self):
        def read():
            found = []
            for top in self.index.browse(group=FAMILLE, member=ALICE):
                after = None
                while page := self.index.walk_folder(top, after, 500):
                    found += page
                    after = page[-1].path
            return [one.path.raw.decode() for one in found]

        return self.store.run_and_wait(read)

    def partials(self):
        return list_copies(self.disk)

    def page_asks(self):
        return [one for one in self.sent if isinstance(one, CatalogueAsk)]

    def close(self):
        self.store.run_and_wait(self.index.close)
        for worker in (self.store, self.files):
            worker.stop()


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make():
        worlds.append(World(tmp_path))
        return worlds[-1]

    yield make
    worlds[-1].close()


@pytest.fixture
def world(make_world):
    return make_world()


def expected(end):
    return [f"album/{number:06}.ogg" for number in range(end)]


def test_what_is_far_behind_comes_as_a_copy_and_the_rest_as_a_page(world):
    world.serve(packed(*pages(0, FAR)), head=FAR + 10)
    assert world.head == (INDEX, FAR)
    assert world.names() == expected(FAR)
    assert world.page_asks() == [CatalogueAsk(INDEX, FAR)]
    assert any(isinstance(one, JobEnded) for one in world.sent)
    assert world.partials() == set(), "nothing is left of it"


def test_what_is_a_little_behind_comes_as_a_page(world):
    world.serve(b"", head=COPY_FROM)
    assert world.asked == []
    assert world.page_asks() == [CatalogueAsk(INDEX, 0)]


def test_nobody_is_asked_for_a_copy_before_it_would_hear_it(world):
    world.machine.peers.can_be_asked = lambda member: False
    world.serve(packed(*pages(0, FAR)), head=FAR)
    assert (world.asked, world.page_asks()) == ([], [])
    world.machine.peers.can_be_asked = lambda member: True
    world.catching_up.note_ready(FAMILLE, ALICE)
    world.rest()
    assert world.head == (INDEX, FAR)


def test_the_old_replica_stays_visible_until_the_new_one_is_complete(world):
    world.serve(packed(*pages(0, FAR)), head=FAR)
    world.pass_time(3600)
    whole = packed(*pages(0, FAR + 1000, index_id=OTHER))
    world.serve(whole[: len(whole) // 4], head=FAR + 1000, index_id=OTHER)
    assert world.names() == expected(FAR), "a part of the new one is hidden"
    assert world.head[0] == OTHER
    assert 0 < world.head[1] < FAR
    world.line.raw = whole
    world.pass_time(COPY_PAUSE_S)
    assert world.names() == expected(FAR + 1000)


HOSTILE = {
    "a gap": [*pages(0, 200), *pages(300, FAR)],
    "another order": [*pages(0, 200), *pages(300, 400), *pages(200, FAR)],
    "another index": [*pages(0, 200), *pages(200, FAR, index_id=OTHER)],
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_a_copy_that_lies_is_taken_up_to_the_lie(world, lie):
    world.serve(packed(*HOSTILE[lie]), head=FAR)
    assert world.head == (INDEX, 200)
    assert world.names() == expected(200)
    assert world.partials() == set()


@pytest.mark.parametrize(
    "garbage",
    [
        os.urandom(5000),
        bytes(5000),
        b"\xff" * 5000,
        struct.pack(">IQ", 100, 300) + bytes(100),
        pack(pages(200, 300)[0])[:-1],
    ],
    ids=["random", "zeros", "ones", "not packed", "cut"],
)
def test_a_damaged_copy_is_taken_up_to_the_damage_and_comes_again_later(world, garbage):
    world.serve(packed(*pages(0, 200)) + garbage, head=FAR)
    assert world.head == (INDEX, 200)
    assert world.partials() == set()
    begun = len(world.asked)
    world.pass_time(COPY_PAUSE_S)
    assert len(world.asked) == begun + 1
    assert world.asked[-1].after == 200, "what was taken is not asked for again"


@pytest.mark.parametrize(
    "raw", [b"\xff" * 5000, packed(*pages(0, 100))], ids=["damaged", "nothing new"]
)
def test_who_serves_useless_copies_is_asked_ever_more_rarely(world, raw):
    world.serve(packed(*pages(0, 100)), head=100 + FAR)
    world.line.raw = raw
    world.sent.clear()
    asked = len(world.asked)
    world.pass_time(700)
    for number in range(6):
        pause_s = COPY_PAUSE_S * 2**number
        world.pass_time(pause_s / 2)
        assert len(world.asked) == asked + number + 1, "not yet"
        world.catching_up.note_ready(FAMILLE, ALICE)
        world.pass_time(pause_s / 2)
        world.catching_up.note_ready(FAMILLE, ALICE)
        world.rest()


def test_repeated_changes_and_absurd_numbers_spoil_only_that_catalogue(world):
    same = tuple(change(0, path="a", size=number) for number in range(100))
    far = CatalogueDelta(INDEX, 100, 2**62, 2**62, same)
    first = CatalogueDelta(INDEX, 0, 100, 2**62, same)
    world.serve(packed(first, far), head=2**62)
    assert world.head == (INDEX, 2**62)
    assert world.names() == ["a"]


def test_what_broke_off_is_taken_and_goes_on_where_it_was(world):
    raw = packed(*pages(0, 9_000))
    assert len(raw) > 2 * BLOCK, "some blocks"
    world.line.breaks_at = 2 * BLOCK
    world.serve(raw, head=9_000)
    assert 0 < world.head[1] < 9_000
    assert world.partials(), "what came of it stays"
    world.pass_time(COPY_PAUSE_S)
    assert world.asked[-1].after > 0
    assert world.line.begun_with == [0, 2 * BLOCK]
    assert world.head == (INDEX, 9_000)
    assert world.names() == expected(9_000)
    assert world.partials() == set()


def test_a_power_cut_amid_a_copy_costs_what_was_not_synced(make_world, tmp_path):
    first = make_world()
    raw = packed(*pages(0, 9_000))
    first.line.breaks_at = 2 * BLOCK
    first.serve(raw, head=9_000)
    reached = first.head[1]
    first.close()
    again = make_world()
    again.core.spawn(again.fetcher.keep_partials())
    again.serve(raw, head=9_000)
    assert again.asked[0].after == reached
    assert again.line.begun_with == [2 * BLOCK]
    assert again.names() == expected(9_000)


def test_an_unfinished_copy_that_nobody_asks_for_again_goes(world):
    world.line.breaks_at = 2 * BLOCK
    world.serve(packed(*pages(0, 9_000)), head=9_000)
    assert world.partials()
    world.refusal = "busy"
    world.pass_time(copy_fetching.KEPT_S + 1)
    assert world.partials() == set()


def test_a_broadcast_that_is_quicker_does_not_spoil_a_copy(world):
    some = pages(0, FAR)
    take = world.catching_up._take

    async def taken_after_a_broadcast(group, member, follow, page):
        if page.after == 500:
            [half] = pages(500, 550, 50)
            await world.catching_up.on_delta(group, member, half)
        return await take(group, member, follow, page)

    world.catching_up._take = taken_after_a_broadcast
    world.serve(packed(*some), head=FAR)
    assert world.head == (INDEX, FAR)
    assert world.names() == expected(FAR)


@pytest.mark.parametrize("gone", ["group", "member"])
def test_a_copy_of_who_is_gone_leaves_nothing(world, gone):
    take = world.catching_up._take

    async def left_meanwhile(group, member, follow, page):
        if page.after == 0:
            if gone == "group":
                world.core.spawn(world.catching_up.drop_group(group))
            else:
                await world.catching_up.keep_members(group, lambda: set())
        return await take(group, member, follow, page)

    world.catching_up._take = left_meanwhile
    world.serve(packed(*pages(0, FAR)), head=FAR)
    assert world.names() == []
    assert world.head == (None, 0)
    assert world.partials() == set()


@pytest.mark.parametrize("refusal", ["busy", "disk", ""])
def test_where_no_copy_can_be_had_pages_come_slowly(world, refusal):
    world.refusal = refusal
    world.serve(b"", head=2 * FAR)
    assert world.page_asks() == [], "the first time it may be the line"
    world.pass_time(COPY_PAUSE_S)
    assert len(world.asked) == 2
    some = pages(0, 2 * FAR, 500)
    for number, page in enumerate(some[:2]):
        assert len(world.page_asks()) == number + 1
        world.hear(page)
        assert len(world.page_asks()) == number + 1, "not at once"
        world.pass_time(PAGE_PAUSE_S)
    assert world.head == (INDEX, 1000)


def test_a_full_disk_ends_a_copy_and_gives_its_room_back(world, monkeypatch):
    def no_room(disk, wanted):
        raise DiskFull("the disk is full")

    monkeypatch.setattr(copy_fetching, "demand_room", no_room)
    world.serve(packed(*pages(0, FAR)), head=FAR)
    assert world.names() == []
    assert world.partials() == set()


def test_who_is_copying_for_ever_holds_nobody_up(world):
    world.refusal = "copying"
    world.is_waiting = True
    world.serve(b"", head=FAR)
    assert world.fetcher._running is None, "the place is free"
    asked = len(world.asked)
    world.pass_time(1.0)
    assert len(world.asked) == asked + 1
    world.refusal, world.is_waiting = None, False
    world.line.raw = packed(*pages(0, FAR))
    world.pass_time(2.0)
    assert world.head == (INDEX, FAR)


def test_a_copy_larger_than_any_may_be_is_not_begun(world, monkeypatch):
    monkeypatch.setattr(copy_fetching, "COPY_BYTES_MAX", 100)
    world.serve(packed(*pages(0, FAR)), head=FAR)
    assert world.line.begun_with == []


def test_a_line_that_drips_is_given_up(world):
    dripping: Promise[None] = Promise()

    async def drip(granted, kept, watch):
        watch.done_bytes = 1
        world.watch = watch
        await dripping
        return "source.lost"

    world.line.bring = drip
    world.is_waiting = True
    world.line.raw = bytes(10)
    world.serve(bytes(10), head=FAR)
    world.pass_time(copy_fetching.LOOK_S)
    assert world.watch.is_cancelled
    dripping.resolve(None)
    world.is_waiting = False
    world.rest()
