"""What a node holds while it arrives: who hears of it, and who may read it."""

import os
import threading

import pytest

from fonshare_agent.errors import ContentChanged, NotFound, StorageError
from fonshare_agent.holdings import HELD_BYTES_MIN, HOLDINGS_MAX
from fonshare_agent.model import Root
from fonshare_agent.parts import ANSWER_S, FORGET_S, REST_S, TELL_S, stamp_at
from fonshare_agent.protocol.content import content_root
from fonshare_agent.protocol.messages import (
    BlocksAsk,
    BlocksPage,
    Parts,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketGrant,
    TicketRefuse,
)
from fonshare_agent.protocol.parts import pack
from fonshare_agent.transfer.partial import Partial
from index_nodes import ALICE, BOB, CAROL, CLUB, FAMILLE
from test_copies import CERTIFICATE, World
from transfer_world import BLOCK, content_of, hashes_of

COUNT = HELD_BYTES_MIN // BLOCK
DATA = content_of(HELD_BYTES_MIN)
HASHES = hashes_of(DATA)
ROOT = content_root(len(DATA), HASHES)


def a_map(*blocks):
    return pack(sum(1 << one for one in blocks), COUNT)


NOTHING, WHOLE = a_map(), a_map(*range(COUNT))


class Lanes:
    coming = a_map(7)


class Node(World):
    """Alice, who fetches the content for a job of the family."""

    def __init__(self, folder):
        super().__init__(folder)
        self.kept = Partial.open(self.disk, "job", 0, len(DATA), ROOT)
        self.kept.set_hashes(HASHES)
        self.news = []
        self.sent.clear()

    def hold(self, owner="job.0", group=FAMILLE, root=ROOT, size=HELD_BYTES_MIN):
        holding = self.do(self.holdings.open(group, root, size, owner, self.kept))
        if holding is not None:
            holding.arrive(Lanes(), lambda *words: self.news.append(words))
        return holding

    def take(self, *blocks):
        for index in blocks:
            with self.kept.write_block(index) as writer:
                writer.write(DATA[index * BLOCK : (index + 1) * BLOCK])
                assert writer.finish()

    def hear(self, member, have, asks=False, group=FAMILLE, root=ROOT):
        self.holdings.on_parts(group, member, Parts(root, have, asks))

    def said(self):
        """What was sent since the last look."""
        sent, self.sent[:] = list(self.sent), []
        return sent

    def ask_ticket(self, member=BOB, group=FAMILLE, root=ROOT, certificate=CERTIFICATE):
        ask = TicketAsk(bytes(16), "theirs", None, None, root, certificate, ())
        self.sent.clear()
        self.do(self.granting.on_ticket_ask(group, member, ask))
        [(to, answer)] = self.said()
        assert to == member
        return answer

    def finish(self, name=b"film.mkv"):
        self.take(*range(COUNT))
        folder = os.fsencode(self.disk.path / "downloads")
        placed = self.kept.finish(folder, name, 0)
        return os.path.join(folder, placed)


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    yield made
    made.kept.close()
    for worker in (made.store, made.files):
        worker.stop()


def test_the_group_is_asked_once_and_who_holds_the_same_is_answered(node):
    node.take(1, 2)
    holding = node.hold()
    node.said()
    node.do(node.holdings.open(FAMILLE, ROOT, len(DATA), "job.0", node.kept))
    assert node.said() == [(None, Parts(ROOT, a_map(1, 2), True))]
    node.hear(BOB, a_map(3), asks=True)
    assert node.said() == [(BOB, Parts(ROOT, a_map(1, 2), False))]
    assert holding.partners == {BOB: a_map(3)}
    assert node.news == [(BOB, a_map(3))]
    node.hear(BOB, a_map(3), asks=True)
    assert not node.said(), "not again at once"
    node.now += ANSWER_S
    node.hear(BOB, a_map(3), asks=True)
    assert len(node.said()) == 1


def test_who_holds_nothing_says_nothing(node):
    node.hear(BOB, a_map(3), asks=True)
    node.hold()
    node.said()
    node.hear(BOB, a_map(3), asks=True, group=CLUB)
    node.hear(BOB, a_map(3), asks=True, root=Root(bytes(32)))
    node.hear(BOB, b"\xff", asks=True)  # no bitmap of this file
    assert not node.said()
    assert not node.news


def test_partners_are_told_what_is_new_but_not_more_often_than_agreed(node):
    node.hold()
    node.hear(BOB, NOTHING)
    node.hear(CAROL, WHOLE)
    node.said()
    node.take(4)
    node.pass_time(TELL_S - 0.1)
    assert not node.said()
    node.pass_time(0.2)
    assert node.said() == [(BOB, Parts(ROOT, a_map(4), False))], "Carol lacks nothing"
    node.pass_time(TELL_S)
    assert not node.said(), "nothing is new"


def test_a_partner_that_has_nothing_any_more_is_forgotten(node):
    holding = node.hold()
    node.hear(BOB, a_map(3))
    node.hear(BOB, None)
    assert node.news == [(BOB, a_map(3)), (BOB, None)]
    assert not holding.partners


def test_a_member_of_the_group_may_read_what_is_verified(node):
    holding = node.hold()
    node.take(2)
    node.said()
    answer = node.ask_ticket()
    assert isinstance(answer, TicketGrant)
    assert (answer.root, answer.size) == (ROOT, len(DATA))
    assert list(answer.hashes) == HASHES
    [ticket] = node.desk.live()
    assert node.granting.is_allowed(ticket)
    assert ticket.held is holding
    assert ticket.held.has(2)
    assert not ticket.held.has(3)
    assert ticket.held.maps() == (a_map(2), a_map(7))
    with open(ticket.opener(), "rb") as file:
        assert file.read()[2 * BLOCK : 3 * BLOCK] == DATA[2 * BLOCK : 3 * BLOCK]
    node.members.discard(BOB)
    assert not node.granting.is_allowed(ticket), "removed meanwhile"


def test_nobody_else_gets_a_ticket_and_all_of_them_the_same_answer(node):
    nothing_held = node.ask_ticket()
    node.hold()
    node.said()
    for answer in (
        node.ask_ticket(group=CLUB),
        node.ask_ticket(root=bytes(32)),
        node.ask_ticket(root=None),
        node.ask_ticket(certificate=b"another's"),
        node.ask_ticket(member=ALICE),
    ):
        assert answer == nothing_held == TicketRefuse(bytes(16), "not_here")
    node.members.discard(BOB)
    assert isinstance(node.ask_ticket(), TicketRefuse)
    assert not node.desk.live()


def test_block_hashes_come_in_pages_from_who_holds_the_content(node):
    node.hold()
    node.said()
    ask = BlocksAsk(bytes(16), None, None, ROOT, 5)
    node.do(node.granting.on_blocks_ask(FAMILLE, BOB, ask))
    assert node.said() == [(BOB, BlocksPage(bytes(16), ROOT, 5, tuple(HASHES[5:])))]


def test_when_an_attempt_is_over_the_tickets_die_and_later_partners_hear_it(node):
    node.take(1)
    holding = node.hold()
    node.hear(BOB, NOTHING)
    node.ask_ticket()
    node.holdings.end("another")
    assert node.desk.live()
    node.holdings.end("job.0")
    assert not node.desk.live()
    assert not node.said()
    assert isinstance(node.ask_ticket(), TicketRefuse)
    node.hear(CAROL, a_map(5))
    assert holding.partners == {BOB: NOTHING, CAROL: a_map(5)}
    assert node.hold() is holding, "the next attempt knows them"
    assert node.said() == [(None, Parts(ROOT, a_map(1), True))]
    assert node.news[-2:] == [(BOB, NOTHING), (CAROL, a_map(5))]
    node.holdings.end("job.0")
    node.pass_time(FORGET_S)
    node.pass_time(TELL_S + 0.1)
    assert node.said()[-2:] == [
        (BOB, Parts(ROOT, None, False)),
        (CAROL, Parts(ROOT, None, False)),
    ]
    assert node.holdings.find(FAMILLE, ROOT) is None


def test_who_reads_while_the_file_gets_its_name_waits_for_it(node):
    holding = node.hold()
    node.hear(BOB, NOTHING)
    place = node.finish()
    later = threading.Timer(0.05, holding.rest, stamp_at(node.disk, place))
    later.start()
    with open(holding.open_file(), "rb") as file:
        assert file.read() == DATA
    later.join()


def test_a_job_that_waits_is_tried_again_when_somebody_fetches_the_same(node):
    woken = []
    node.holdings.wire(lambda: woken.append(True))
    node.hear(BOB, NOTHING, asks=True)
    node.hold()
    node.hear(BOB, NOTHING)
    node.holdings.end("job.0")
    node.hear(BOB, NOTHING, asks=True, group=CLUB)
    node.hear(BOB, None)
    assert not woken
    node.hear(BOB, NOTHING, asks=True)
    assert woken == [True]
    node.hold()
    node.hear(BOB, NOTHING)
    assert woken == [True], "it is being fetched"


def test_what_has_arrived_is_held_until_nobody_lacks_any_of_it(node):
    holding = node.hold()
    node.hear(BOB, NOTHING)
    node.ask_ticket()
    place = node.finish()
    holding.rest(*stamp_at(node.disk, place))
    node.kept.close()
    node.holdings.end("job.0")
    assert node.said() == [(BOB, Parts(ROOT, WHOLE, False))]
    [ticket] = node.desk.live()
    with open(ticket.opener(), "rb") as file:
        assert file.read() == DATA
    assert ticket.held.maps() == (WHOLE, NOTHING)
    node.pass_time(TELL_S + 0.1)
    assert node.desk.live()
    node.hear(BOB, WHOLE)
    node.pass_time(TELL_S + 0.1)
    assert not node.desk.live()
    assert node.holdings.find(FAMILLE, ROOT) is None


def test_what_has_arrived_is_not_held_for_ever(node):
    holding = node.hold()
    node.hear(BOB, NOTHING)
    holding.rest(*stamp_at(node.disk, node.finish()))
    node.pass_time(REST_S - TELL_S)
    assert node.holdings.find(FAMILLE, ROOT) is holding
    holding.maps()  # somebody reads
    node.pass_time(REST_S - TELL_S)
    assert node.holdings.find(FAMILLE, ROOT) is holding
    node.pass_time(TELL_S + 0.1)
    assert node.holdings.find(FAMILLE, ROOT) is None


def test_an_arrived_file_that_its_owner_changes_is_not_read_as_it_was(node):
    holding = node.hold()
    node.hear(BOB, NOTHING)
    place = node.finish()
    holding.rest(*stamp_at(node.disk, place))
    with open(place, "ab") as file:
        file.write(b"more")
    with pytest.raises(ContentChanged):
        holding.open_file()
    os.unlink(place)
    with pytest.raises(FileNotFoundError):
        holding.open_file()


def test_small_files_a_second_job_and_too_many_are_not_held(node):
    assert node.hold(size=HELD_BYTES_MIN - 1) is None
    assert node.hold(size=1 << 42) is None
    holding = node.hold()
    assert node.hold(owner="job.1") is None
    holding.rest(*stamp_at(node.disk, node.finish()))
    for number in range(HOLDINGS_MAX):
        root = Root(number.to_bytes(32, "big"))
        node.do(node.holdings.open(FAMILLE, root, len(DATA), str(number)))
    assert node.hold(owner="more", root=Root(b"r" * 32)) is None


def test_before_anything_is_here_there_is_nothing_to_read(node):
    holding = node.do(node.holdings.open(FAMILLE, ROOT, len(DATA), "job.0"))
    assert holding.maps() == (NOTHING, NOTHING)
    assert not holding.has(0)
    assert not holding.hashes(0, 10)
    with pytest.raises(NotFound):
        holding.open_file()
    assert isinstance(node.ask_ticket(), TicketRefuse)
    holding.begin(node.kept)
    node.kept.close()
    with pytest.raises(StorageError):
        holding.open_file()


def test_a_source_that_only_pushes_is_asked_for_this_node_s_part(node):
    holding = node.hold()
    node.take(0)
    node.hear(BOB, a_map(1))
    node.hear(CAROL, WHOLE)
    first, end = holding.own_range(node.kept, ALICE)
    # Carol has all of it, so nobody lacks a copy: half of it, Bob the other half.
    assert (first, end) == (BLOCK, 16 * BLOCK)
    assert holding.may_push(0, BLOCK)
    assert not holding.may_push(0, BLOCK + 1)


def test_of_what_is_held_only_verified_bytes_are_pushed(node):
    holding = node.hold()
    node.take(2)
    node.said()
    for first, end, reason in ((2, 3, ""), (2, 4, "not_here"), (0, 3, "not_here")):
        ask = PushAsk(
            *(bytes(16), "theirs", None, None, ROOT, bytes(16), bytes(16), ()),
            *(first * BLOCK, end * BLOCK),
        )
        node.do(node.granting.on_push_ask(FAMILLE, BOB, ask))
        assert node.said() == [(BOB, PushEnded(bytes(16), reason))]
    assert node.pushed == [DATA[2 * BLOCK : 3 * BLOCK]]
    assert holding.has(2)
