"""A bundle through a real friends' door: small files in one stream into a batch."""

import os
import threading

import pytest

from fonshare_agent.disk import open_below
from fonshare_agent.errors import ContentChanged, DiskMissing
from fonshare_agent.ftp.bundles import BundleSource
from fonshare_agent.ftp.tickets import Bundle
from fonshare_agent.model import Root, SharePath
from fonshare_agent.protocol.content import content_root
from fonshare_agent.transfer import reading
from fonshare_agent.transfer.batch import Batch, BatchFile
from fonshare_agent.transfer.reading import FetchBundle
from fonshare_agent.transfer.wire import connect
from fonshare_agent.transfer.worker import RELAYED
from transfer_world import SECRET, Watch, content_of, hashes_of, two_nodes
from waiting import wait_until

SIZES = (0, 10, 70_000, 300_000, 0, 5)


@pytest.fixture
def world(tmp_path):
    with two_nodes(tmp_path) as made:
        made.contents = [content_of(size, at) for at, size in enumerate(SIZES)]
        for at, content in enumerate(made.contents):
            (made.served.disk / f"{at}.txt").write_bytes(content)
        yield made


def a_bundle(world, before=lambda index: None) -> Bundle:
    def open_part(index):
        before(index)
        root = os.open(world.served.disk, os.O_RDONLY)
        try:
            return open_below(root, SharePath.parse(f"{index}.txt"), os.O_RDONLY)
        finally:
            os.close(root)

    return Bundle(tuple(len(one) for one in world.contents), open_part)


def a_batch(world) -> Batch:
    def root(data: bytes) -> Root:
        return content_root(len(data), hashes_of(data))

    folder = os.fsencode(world.disk.path / "downloads")
    files = [
        BatchFile(at, len(one), root(one), 1, folder, b"%d" % at)
        for at, one in enumerate(world.contents)
    ]
    return Batch.open(world.disk, "job", files)


def begin(world, batch, bundle=None, ticket=None, **changes):
    bundle = bundle or a_bundle(world)
    if ticket is None:
        ticket = world.grant(bundle=bundle, size=sum(bundle.sizes), recorded=None)
    values = {
        "ticket": ticket.id,
        "secret": SECRET,
        "addresses": world.addresses,
        "peer_fingerprint": world.peer.tls_fingerprint,
        "batch": batch,
        "watch": world.watch,
    }
    task = FetchBundle(**(values | changes))
    return world._begin(lambda: world.workers.fetch(task))


def fetch(world, batch, **changes):
    return world.settled(begin(world, batch, **changes))


def arrived(world):
    folder = world.disk.path / "downloads"
    return {int(path.name): path.read_bytes() for path in folder.iterdir()}


class Relay:
    """Stands for a relay to the world's door, which is at none of these addresses."""

    addresses = (("the relay", 1),)

    def __init__(self, door) -> None:
        self.door, self.dialled = door, []

    def dial(self, addresses, patience):
        self.dialled += addresses
        [place] = self.door if list(addresses) == [RELAYED] else addresses
        return connect([place], patience)[0], addresses[0]


def test_a_bundle_comes_by_a_relay_where_there_is_no_other_way(world):
    relay, batch = Relay(world.addresses), a_batch(world)
    assert fetch(world, batch, addresses=[], relay=relay) == ""
    assert [door for door, _ in relay.dialled] == ["relay", "127.0.0.1"]
    placed = batch.finish()
    batch.remove()
    assert len(placed) == len(SIZES)


def test_all_files_of_a_bundle_arrive(world):
    batch = a_batch(world)
    assert fetch(world, batch) == ""
    assert len(batch.finish()) == len(SIZES)
    assert arrived(world) == dict(enumerate(world.contents))
    assert world.watch.done_bytes == sum(SIZES)
    batch.remove()


def test_a_file_that_vanished_or_changed_costs_itself_alone(world):
    def before(index):
        if index == 3:
            raise ContentChanged("another one")

    (world.served.disk / "1.txt").unlink()
    batch = a_batch(world)
    assert fetch(world, batch, bundle=a_bundle(world, before)) == ""
    assert set(batch.finish()) == {0, 2, 4, 5}
    assert batch.wrong == {1, 3}
    batch.remove()


def test_a_disk_that_is_pulled_at_the_source_ends_the_bundle(world):
    def before(index):
        if index == 3:
            raise DiskMissing("pulled")

    batch = a_batch(world)
    assert fetch(world, batch, bundle=a_bundle(world, before)) == "source.lost"
    assert set(batch.finish()) <= {0, 1, 2}
    batch.remove()


def test_what_came_before_a_revocation_is_kept(world):
    reached, may_go_on = threading.Event(), threading.Event()

    def before(index):
        if index == 3:
            reached.set()
            may_go_on.wait(60)

    bundle = a_bundle(world, before)
    ticket = world.grant(bundle=bundle, size=sum(bundle.sizes), recorded=None)
    batch = a_batch(world)
    ended = begin(world, batch, bundle, ticket)
    assert reached.wait(60)
    world.served.desk.revoke(lambda one: one is ticket)
    may_go_on.set()
    assert world.settled(ended) == "source.lost"
    assert 3 not in batch.finish()
    batch.remove()


def test_a_right_that_was_taken_away_is_seen_before_a_byte_is_sent(world):
    bundle = a_bundle(world)
    ticket = world.grant(bundle=bundle, size=sum(bundle.sizes), recorded=None)
    world.served.forbidden.add(ticket.id)
    batch = a_batch(world)
    assert fetch(world, batch, ticket=ticket) == "source.lost"
    assert world.watch.done_bytes == 0
    batch.remove()


def test_a_bundle_on_a_slow_line_is_cut_at_a_files_end_and_the_session_serves_on(
    world, monkeypatch
):
    monkeypatch.setattr(reading, "BUNDLE_S", 0.0)
    held = world.grant()
    assert world.fetch(world.partial(), ticket=held) == ""
    batch = a_batch(world)
    assert fetch(world, batch) == ""
    placed = batch.finish()
    assert set(placed) == {0}
    batch.remove()
    world.watch = Watch()
    assert world.fetch(world.partial(1)) == ""


def test_a_cancelled_bundle_lets_go(tmp_path):
    with two_nodes(tmp_path, kib_s=40) as world:
        world.contents = [content_of(100_000, at) for at in range(9)]
        for at, content in enumerate(world.contents):
            (world.served.disk / f"{at}.txt").write_bytes(content)
        batch = a_batch(world)
        ended = begin(world, batch)
        wait_until(lambda: world.watch.done_bytes > 0)
        world.watch.is_cancelled = True
        assert world.settled(ended) == "source.lost"
        assert len(batch.finish()) < 9
        batch.remove()


@pytest.mark.parametrize("offset", [0, 5, 10, 70_009, 70_010, 370_012, 370_015])
def test_a_bundle_can_be_read_from_anywhere(world, offset):
    source = BundleSource(a_bundle(world), offset, 4096)
    got = bytearray()
    while source.read_now() is None:
        got += source.read()
    source.close()
    assert got == b"".join(world.contents)[offset:]
