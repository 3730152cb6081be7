"""Fetching and pushing through a real friends' door."""

import os
import shutil
import socket
import threading
import time
from contextlib import closing

import pytest

from fonshare_agent.core import Core
from fonshare_agent.errors import (
    BlockLacking,
    ConnectionLost,
    DiskFull,
    FonshareError,
    SourceRefused,
)
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.parts import open_parts
from fonshare_agent.nodekeys import load_or_create
from fonshare_agent.protocol.parts import pack
from fonshare_agent.receiving import missing_range
from fonshare_agent.transfer import block_reading, session_pool
from fonshare_agent.transfer.block_reading import GATHERED_BYTES
from fonshare_agent.transfer.lanes import Lanes
from fonshare_agent.transfer.session import Credentials, Session
from fonshare_agent.transfer.wire import Patience, client_context
from fonshare_agent.transfer.worker import PUSHERS, reason_of
from transfer_world import BLOCK, SECRET, Watch, content_of, two_nodes
from waiting import PATIENCE_S, wait_until


@pytest.fixture
def world(tmp_path):
    with two_nodes(tmp_path) as made:
        yield made


def arrived(world, partial):
    """Finish the partial and return what lies under its name."""
    folder = os.fsencode(world.disk.path / "downloads")
    name = partial.finish(folder, b"film.mkv", 0)
    assert name is not None
    return (world.disk.path / "downloads" / os.fsdecode(name)).read_bytes()


def test_a_file_is_fetched_whole(world):
    partial = world.partial()
    assert world.fetch(partial) == ""
    assert world.watch.done_bytes == len(world.data)
    assert arrived(world, partial) == world.data


class Gathered:
    """How much each data connection waits for, seen when it ends."""

    def __init__(self):
        self.bytes = []

    def add(self, whose, find):
        self._connection = find()

    def drop(self, whose):
        how = socket.SOL_SOCKET, socket.SO_RCVLOWAT
        if self._connection.fileno() >= 0:  # else it was closed before
            self.bytes.append(self._connection.getsockopt(*how))


@pytest.mark.parametrize(
    ("size", "fast_s", "gathered"),
    [
        (3 * BLOCK, [3600], 1),
        (12 * BLOCK, [3600], GATHERED_BYTES),
        (12 * BLOCK, [0], 1),
        (20 * BLOCK, [3600, 0], 1),
    ],
)
def test_a_fast_line_is_read_in_larger_pieces_than_packets(
    tmp_path, monkeypatch, size, fast_s, gathered
):
    """*fast_s*: what passes for fast in the first MiB, and in the second."""

    class Fast:
        def __gt__(self, passed_s):
            return passed_s < fast_s.pop(0)

    monkeypatch.setattr(block_reading, "FAST_S", Fast())
    seen = Gathered()
    with two_nodes(tmp_path, size, traffic=seen) as world:
        partial = world.partial()
        assert world.fetch(partial) == ""
        assert arrived(world, partial) == world.data
    assert seen.bytes == [gathered]


def test_forty_megabytes_go_on_where_they_were_cut_off(tmp_path):
    with two_nodes(tmp_path, 40 << 20) as world:
        partial = world.partial()
        ended = world.begin_fetch(partial)
        wait_until(lambda: world.watch.done_bytes > 10 << 20)
        world.watch.is_cancelled = True
        assert world.settled(ended) == "source.lost"
        partial.sync()
        partial.close()
        again = world.partial()
        assert 0 < again.done_bytes < len(world.data)

        world.watch = Watch()
        assert world.fetch(again) == ""
        assert arrived(world, again) == world.data


def test_only_missing_blocks_are_read(world):
    partial = world.partial()
    for index in (0, 2):
        offset, length = partial.content.range(index)
        with partial.write_block(index) as writer:
            writer.write(world.data[offset : offset + length])
            assert writer.finish()
    # What need not be read may be rubbish at the source.
    stamp = world.source.stat()
    with open(world.source, "r+b") as file:
        file.write(bytes(BLOCK))
    os.utime(world.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert world.fetch(partial) == ""
    assert arrived(world, partial) == world.data


def test_a_complete_partial_asks_for_nothing_more(world):
    partial = world.partial()
    world.fetch(partial)
    assert world.fetch(partial) == ""


def test_bytes_that_are_wrong_twice_ban_the_source_and_the_right_ones_stay(world):
    stamp = world.source.stat()
    with open(world.source, "r+b") as file:
        file.seek(BLOCK + 7)
        file.write(b"damage")
    os.utime(world.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    partial = world.partial()

    assert world.fetch(partial) == "source.corrupt"
    assert partial.has(0)
    assert not partial.has(1)


def test_a_block_that_was_wrong_once_is_fetched_a_second_time(world):
    partial = world.partial()
    broken = world.data[:BLOCK] + bytes(9) + world.data[BLOCK + 9 :]
    other = world.folder / "broken"
    other.write_bytes(broken)
    opened = []

    def opener():
        opened.append(1)
        path = other if len(opened) == 1 else world.source
        return os.open(path, os.O_RDONLY)

    ticket = world.grant(opener=opener, recorded=None)
    assert world.fetch(partial, ticket=ticket) == ""
    assert len(opened) == 2
    assert arrived(world, partial) == world.data


def test_a_file_that_changed_since_the_grant_is_told(world):
    ticket = world.grant()
    os.utime(world.source, (5, 5))
    assert world.fetch(world.partial(), ticket=ticket) == "source.changed"


def test_a_file_that_shrinks_under_the_ticket_ends_the_fetch(world):
    world.source.write_bytes(world.data[: BLOCK + 5])
    ticket = world.grant(recorded=None)
    assert world.fetch(world.partial(), ticket=ticket) in (
        "source.changed",
        "source.lost",
    )


def test_a_ticket_of_another_secret_is_refused(world):
    partial = world.partial()
    assert world.fetch(partial, secret=b"x" * 16) == "source.lost"
    assert partial.done_bytes == 0


def test_a_node_with_another_certificate_gets_no_word_from_us(world):
    stranger = load_or_create(world.folder / "stranger", os.urandom)
    ticket = world.grant()
    partial = world.partial()
    fingerprint = stranger.tls_fingerprint
    reason = world.fetch(partial, ticket=ticket, peer_fingerprint=fingerprint)

    assert reason == "unreachable"
    # The ticket was not even shown: it is still good.
    assert world.fetch(partial, ticket=ticket) == ""


def test_addresses_where_nobody_or_somebody_else_answers_are_passed_over(
    world, tmp_path
):
    with two_nodes(tmp_path / "else") as other:
        addresses = [("127.0.0.1", 1), *other.addresses, ("::1", 1), *world.addresses]
        assert world.fetch(world.partial(), addresses=addresses) == ""


def test_a_peer_that_nobody_can_reach_is_unreachable(world):
    addresses = [("127.0.0.1", 1), ("::1", 1)]
    assert world.fetch(world.partial(), addresses=addresses) == "unreachable"
    assert world.fetch(world.partial(), addresses=[]) == "unreachable"


def test_one_session_serves_one_job_after_another(world):
    first, second = world.partial(0), world.partial(1)
    sessions = []

    def note(*arguments, **options):
        sessions.append(1)
        return real(*arguments, **options)

    real = session_pool.Session.open
    session_pool.Session.open = note
    try:
        held = world.grant()  # while any ticket is held the door keeps the session
        assert world.fetch(first, ticket=held) == ""
        world.tend()
        assert world.fetch(second) == ""
    finally:
        session_pool.Session.open = real
    assert len(sessions) == 1
    assert arrived(world, second) == world.data


def test_a_kept_session_that_has_died_is_replaced(world):
    held = world.grant()
    assert world.fetch(world.partial(0), ticket=held) == ""
    world.served.desk.revoke(lambda ticket: True)  # 421: the door hangs up

    assert world.fetch(world.partial(1)) == ""
    world.tend()
    assert world.fetch(world.partial(2)) == ""


def test_what_was_opened_before_the_ticket_was_there_serves_it(world, monkeypatch):
    held, opened, real = world.grant(), [], Session._begin_on_new

    def note(*arguments):
        opened.append(1)
        return real(*arguments)

    monkeypatch.setattr(Session, "_begin_on_new", note)
    assert world.fetch(world.partial(0), ticket=held) == ""
    assert opened == [1]
    world.expect()
    assert world.fetch(partial := world.partial(1)) == ""
    assert opened == [1]
    assert arrived(world, partial) == world.data


def test_on_a_connection_opened_ahead_nothing_comes_without_a_ticket(world):
    with closing(open_session(world, world.grant())) as session:
        world.served.desk.retire(lambda ticket: True)  # the session may stay
        session.prepare()
        assert session.is_ready
        with pytest.raises(SourceRefused, match="No ticket"):
            session.read_from(0)
        session.take_ticket(Credentials(world.grant().id, b"x" * 16), ahead=True)
        with pytest.raises(SourceRefused, match="no such ticket"):
            session.read_from(0)


def test_a_range_in_the_middle_leaves_the_session_in_step(world):
    partial = world.partial()
    ticket = world.grant()
    for index in (1, 3):
        offset, length = partial.content.range(index)
        with partial.write_block(index) as writer:
            writer.write(world.data[offset : offset + length])
            writer.finish()
    assert partial.gaps() == [(0, 1), (2, 3)]

    assert world.fetch(partial, ticket=ticket) == ""
    assert arrived(world, partial) == world.data


def test_a_revoked_ticket_ends_the_fetch_long_before_the_file_ends(tmp_path):
    with two_nodes(tmp_path, 40 << 20, kib_s=4000) as world:
        partial = world.partial()
        ticket = world.grant()
        ended = world.begin_fetch(partial, ticket=ticket)
        wait_until(lambda: world.watch.done_bytes > 0)
        world.served.desk.revoke(lambda one: one is ticket)
        assert world.settled(ended) == "source.lost"
        assert world.watch.done_bytes < 40 << 20


def test_a_full_disk_stops_the_fetch_and_keeps_what_there_is(world, monkeypatch):
    partial = world.partial()
    real = partial.write_block

    def write_block(index):
        if index == 2:
            raise DiskFull("no room")
        return real(index)

    monkeypatch.setattr(partial, "write_block", write_block)
    assert world.fetch(partial) == "disk.full"
    assert partial.gaps() == [(2, 4)]
    monkeypatch.undo()
    assert world.fetch(partial) == ""


def test_a_pulled_disk_stops_the_fetch(world):
    partial = world.partial()
    shutil.rmtree(world.disk.path / ".fonshare")
    assert world.fetch(partial) == "disk.missing"


def test_cancelling_is_prompt_even_while_the_limit_holds_everything_up(tmp_path):
    with two_nodes(tmp_path, 1 << 20, kib_s=40) as world:
        ended = world.begin_fetch(world.partial())
        wait_until(lambda: world.watch.done_bytes > 0)
        world.watch.is_cancelled = True
        assert world.settled(ended) == "source.lost"
        assert world.watch.done_bytes < 1 << 20


def test_the_limit_holds_the_rate_down(tmp_path):
    with two_nodes(tmp_path, 1 << 20, kib_s=1024) as world:
        started = time.monotonic()
        assert world.fetch(world.partial()) == ""
        assert time.monotonic() - started > 0.7


def test_stopping_cancels_what_runs(tmp_path):
    with two_nodes(tmp_path, 1 << 20, kib_s=40) as world:
        ended = world.begin_fetch(world.partial())
        wait_until(lambda: world.watch.done_bytes > 0)
        world.workers.stop()
        assert world.settled(ended) == "source.lost"
        assert world.watch.done_bytes < 1 << 20


# --- pushes -----------------------------------------------------------------------


def write_ticket(world, partial):
    return world.grant(
        direction="write",
        opener=partial.open_for_writing,
        writing=partial.writing,
        on_written=partial.verify_written,
    )


def test_a_file_is_pushed_whole(world):
    partial = world.partial()
    ticket = write_ticket(world, partial)
    assert world.settled(world.begin_push(ticket)) == ""
    assert partial.is_complete
    assert arrived(world, partial) == world.data


def test_only_the_missing_stretch_is_pushed(world):
    partial = world.partial()
    with partial.write_block(0) as writer:
        writer.write(world.data[:BLOCK])
        assert writer.finish()
    first, end = missing_range(partial)
    assert first == BLOCK
    ticket = write_ticket(world, partial)

    assert world.settled(world.begin_push(ticket, first=first, end=end)) == ""
    assert arrived(world, partial) == world.data


def test_a_push_of_other_bytes_does_not_complete_the_partial(world):
    partial = world.partial()
    ticket = write_ticket(world, partial)
    world.source.write_bytes(content_of(len(world.data), seed=2))
    world.settled(world.begin_push(ticket))
    assert partial.done_bytes == 0


def test_a_push_whose_right_is_lost_stops(tmp_path):
    with two_nodes(tmp_path, 1 << 20, kib_s=400) as world:
        partial = world.partial()
        allowed = [True]
        ended = world.begin_push(
            write_ticket(world, partial), is_allowed=lambda: allowed[0]
        )
        wait_until(lambda: partial.done_bytes > 0)
        allowed[0] = False
        assert world.settled(ended) == "source.lost"
        assert not partial.is_complete


def test_a_push_without_a_right_ticket_is_refused(world):
    partial = world.partial()
    ticket = write_ticket(world, partial)
    reading = world.grant()
    assert world.settled(world.begin_push(reading)) == "source.lost"
    assert world.settled(world.begin_push(ticket, secret=b"x" * 16)) == "source.lost"
    assert partial.done_bytes == 0


def test_a_source_that_is_gone_or_too_short_is_told_to_the_peer(world):
    partial = world.partial()
    ended = world.begin_push(
        write_ticket(world, partial), opener=lambda: os.open("/nowhere", os.O_RDONLY)
    )
    assert world.settled(ended) == "source.vanished"
    world.source.write_bytes(world.data[:100])
    ended = world.begin_push(write_ticket(world, partial))
    assert world.settled(ended) == "source.changed"


def test_a_push_goes_on_beside_fetches_that_take_all_their_threads(tmp_path):
    with two_nodes(tmp_path, kib_s=1200) as world:
        running = [world.begin_fetch(world.partial(n)) for n in range(3)]
        pushed = world.partial(9)
        assert world.settled(world.begin_push(write_ticket(world, pushed))) == ""
        world.watch.is_cancelled = True
        for one in running:
            world.settled(one)


def test_pushes_beyond_the_hands_there_are_do_not_wait_nor_hold_up_the_tending(world):
    gate = threading.Event()

    def opener() -> int:
        assert gate.wait(PATIENCE_S)
        return os.open(world.source, os.O_RDONLY)

    running = [
        world.begin_push(write_ticket(world, world.partial(n)), opener=opener)
        for n in range(PUSHERS)
    ]
    one_more = write_ticket(world, world.partial(9))
    assert world.settled(world.begin_push(one_more)) == "source.busy"
    world.tend()
    assert all(ended.empty() for ended in running)
    gate.set()
    for ended in running:
        assert world.settled(ended) == ""
    assert world.settled(world.begin_push(one_more)) == ""


def test_every_error_has_a_reason_and_an_unknown_one_means_try_again():
    assert reason_of(ConnectionLost("x")) == "source.lost"
    assert reason_of(FonshareError("x")) == "source.lost"


def test_no_secret_shows_in_a_repr(world):
    shown = []
    world.workers.fetch = lambda task: shown.append(repr(task)) or _settled(world.core)
    world.begin_fetch(world.partial()).get(timeout=PATIENCE_S)
    assert repr(SECRET) not in shown[0]


def _settled(_: Core):
    from fonshare_agent.core import Promise

    promise = Promise()
    promise.resolve("")
    return promise


class Arriving:
    """The peer's film as it would be while it arrives there: some blocks of it."""

    def __init__(self, world, have):
        self.world, self.have, self.asked = world, set(have), 0
        self.count = -(-len(world.data) // BLOCK)
        self.lost = None  # a block that is not here any more, when it comes to it

    def has(self, index):
        return index in self.have and index != self.lost

    def maps(self):
        self.asked += 1
        if self.asked > 3:  # the rest has come meanwhile
            self.have, self.lost = set(range(self.count)), None
        return pack(sum(1 << one for one in self.have), self.count), bytes(1)


def fetch_from_partner(world, held, monkeypatch):
    monkeypatch.setattr("fonshare_agent.transfer.block_reading.ASK_S", 0.0)
    partial = world.partial()
    lanes = Lanes(partial, time.monotonic, lambda count: None)
    lane = lanes.open("peer", is_partner=True)
    ticket = world.grant(held=held, recorded=None)
    assert world.fetch(partial, ticket=ticket, lane=lane) == ""
    assert arrived(world, partial) == world.data


def test_a_file_comes_from_who_is_fetching_it_itself(world, monkeypatch):
    held = Arriving(world, {1, 3})
    fetch_from_partner(world, held, monkeypatch)
    assert held.asked > 3


def test_a_block_that_the_partner_has_lost_is_no_failure(world, monkeypatch):
    held = Arriving(world, {0, 1, 2})
    held.lost = 1
    fetch_from_partner(world, held, monkeypatch)


def open_session(world, ticket):
    return Session.open(
        world.addresses,
        client_context(world.me.certificate_path, world.me.private_key_path),
        world.peer.tls_fingerprint,
        Credentials(ticket.id, SECRET),
        Patience(time.monotonic, lambda: False, 20.0),
    )


def test_of_a_file_that_is_arriving_nothing_else_can_be_read(world):
    held = Arriving(world, {0, 2})
    ticket = world.grant(held=held, recorded=None)
    session = open_session(world, ticket)
    try:
        for begin in (
            lambda: session.read_from(10),
            lambda: session.read_blocks([(0, 2)]),
        ):
            download, got = begin(), bytearray(2 * BLOCK)
            count = download.fill(memoryview(got))
            assert count in (BLOCK, BLOCK - 10)
            assert bytes(got[:count]) == world.data[BLOCK - count : BLOCK]
            assert isinstance(download.explain(), BlockLacking)
        download = session.read_blocks([(0, 1), (2, 3)])
        got = bytearray(2 * BLOCK)
        assert download.fill(memoryview(got)) == 2 * BLOCK
        assert bytes(got) == world.data[:BLOCK] + world.data[2 * BLOCK : 3 * BLOCK]
        download.finish()
        with pytest.raises(SourceRefused, match="501"):
            session.read_blocks([(0, 9)])
    finally:
        session.close()


def test_blocks_of_a_whole_file_are_read_by_name(world):
    ticket = world.grant()
    session = open_session(world, ticket)
    try:
        with pytest.raises(SourceRefused, match="504"):
            session.ask_maps()
        download = session.read_blocks([(1, 2), (3, 4)])
        got = bytearray(BLOCK + 1000)
        assert download.fill(memoryview(got)) == len(got)
        assert bytes(got) == world.data[BLOCK : 2 * BLOCK] + world.data[3 * BLOCK :]
        download.finish()
    finally:
        session.close()
    sending = open_parts(ticket, 0, [(1, 2)], 1 << 16)
    os.utime(world.source, ns=(1, 1))
    assert sending.finish(End(How.COMPLETE, BLOCK)).startswith("450 changed")
