"""The front of granting: hours, places, and who is told what."""

from dataclasses import replace

from fonshare_agent.core import Core, Promise
from fonshare_agent.ftp.tickets import Ticket, TicketDesk, secret_hash
from fonshare_agent.model import GroupId, NodeId, SharePath
from fonshare_agent.protocol.messages import (
    BundleAsk,
    BundleWish,
    CatalogueCopyAsk,
    JobEnded,
    PlaceFree,
    PushAsk,
    PushEnded,
    TicketAsk,
    TicketRefuse,
    decode,
    encode,
)
from fonshare_agent.protocol.places import TURN_S
from fonshare_agent.serving import REFUSED_MAX, Serving

GROUP = GroupId(b"g" * 32)
ANNA, BOB = (NodeId(name * 32) for name in (b"a", b"b"))
FILM = SharePath.parse("film.mkv")


def ticket_ask(job: str, request: bytes = b"r" * 16) -> TicketAsk:
    return TicketAsk(request, job, "Films", FILM, None, b"certificate", ())


def ticket(member: NodeId, job: str) -> Ticket:
    return Ticket(
        id=member[:8] + job.encode().ljust(8),
        secret_hash=secret_hash(b"s"),
        peer=member,
        peer_fingerprint=member,
        group=GROUP,
        job=job,
        share="Films",
        path=FILM,
        direction="read",
        size=1,
        root=None,
        block_size=1,
        opener=lambda: 0,
    )


class World:
    """Granting that grants whatever comes to it, unless told otherwise."""

    def __init__(self, places: int = 1) -> None:
        self.now, self.may_send, self.grants = 0.0, True, True
        self.core = Core(lambda: self.now)
        self.desk = TicketDesk(lambda: self.now, lambda ticket: True)
        self.came: list[object] = []
        self.sessions: dict[tuple[NodeId, str], object] = {}
        self.said: list[tuple[NodeId, object]] = []
        self.push: Promise[None] = Promise()
        self.serving = Serving(
            *(self.core, self.desk, self, self),
            lambda group, member, message: self.said.append((member, message)) or True,
            lambda: self.may_send,
            places,
        )

    async def on_ticket_ask(self, group, member, ask):
        self.came.append(ask)
        if self.grants:
            self.retire(group, member, ask.job)
            granted = ticket(member, ask.job)
            self.desk.grant(granted)
            session = self.sessions.setdefault((member, ask.job), object())
            self.desk.redeem(granted.id, b"s", member, session)

    on_bundle_ask = on_ticket_ask

    async def on_copy_ask(self, group, member, ask):
        self.came.append(ask)

    async def on_push_ask(self, group, member, ask):
        self.came.append(ask)
        await self.push

    def on_job_ended(self, group, member, ended):
        self.retire(group, member, ended.job)

    def retire(self, group, member, job):
        self.desk.retire(lambda one: (one.peer, one.job) == (member, job))

    def ask(self, member: NodeId, job: str) -> object:
        """Return what *member* is told, None if its question goes on to granting."""
        before = len(self.said), len(self.came)
        work = self.serving.on_ticket_ask(GROUP, member, ticket_ask(job))
        self.core.spawn(work).result()
        if len(self.came) > before[1]:
            assert len(self.said) == before[0]
            return None
        return self.said[-1][1]

    def end(self, member: NodeId, job: str) -> None:
        self.serving.on_job_ended(GROUP, member, JobEnded(job))

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.core._timers and self.core._timers[0][0] <= until:
            self.now = max(self.now, self.core._timers[0][0])
            self.core.run_once()
        self.now = until


def queued(place: int) -> TicketRefuse:
    return TicketRefuse(b"r" * 16, "queued", place)


def test_who_finds_no_place_is_told_its_place_in_the_queue_and_when_its_turn_comes():
    world = World()
    assert world.ask(ANNA, "1") is None
    assert world.ask(ANNA, "1") is None, "the next file of a job that is served"
    assert world.ask(ANNA, "2") == queued(1)
    assert world.ask(BOB, "1") == queued(1)
    assert world.ask(ANNA, "2") == queued(2)
    world.said.clear()
    world.pass_time(5)
    assert world.said == []
    world.end(ANNA, "1")
    world.pass_time(1)
    assert world.said == [(BOB, PlaceFree("1"))]
    assert world.ask(ANNA, "2") == queued(1)
    assert world.ask(BOB, "1") is None
    world.pass_time(200)
    assert not world.core._timers, "nobody waits, so nobody looks"


def test_a_place_for_which_nothing_was_granted_is_free_at_once():
    world = World()
    world.grants = False
    assert world.ask(ANNA, "1") is None
    assert world.ask(BOB, "1") is None


def test_a_session_that_ends_frees_its_place():
    world = World()
    world.ask(ANNA, "1")
    world.pass_time(60)
    world.desk.release(world.sessions[ANNA, "1"])
    assert world.ask(BOB, "1") is None


def test_a_push_holds_the_place_of_its_job():
    world = World()
    world.grants = False
    world.ask(ANNA, "1")
    ask = PushAsk(
        b"q" * 16, "1", "Films", FILM, b"r" * 32, b"t" * 16, b"s" * 16, (), 0, 1
    )
    pushing = world.core.spawn(world.serving.on_push_ask(GROUP, ANNA, ask))
    world.pass_time(60)
    assert world.ask(BOB, "1") == queued(1)
    world.push.resolve(None)
    assert pushing.is_settled
    assert world.ask(BOB, "1") is None


def test_a_long_turn_ends_for_the_sake_of_another_friend():
    world = World()
    world.ask(ANNA, "1")
    world.pass_time(TURN_S - 10)
    assert world.ask(BOB, "1") == queued(1)
    world.said.clear()
    world.pass_time(5)
    assert world.desk.in_use(), "not before its time"
    world.pass_time(7)
    assert not world.desk.in_use()
    assert world.said == [(BOB, PlaceFree("1"))]


def test_outside_of_the_hours_nobody_is_served_and_who_reads_is_cut():
    world = World()
    world.ask(ANNA, "1")
    world.serving.end_if_closed()
    assert world.desk.in_use()
    world.may_send = False
    world.serving.end_if_closed()
    assert not world.desk.live()
    assert world.ask(ANNA, "1") == TicketRefuse(b"r" * 16, "hours", 0)
    push = PushAsk(
        b"q" * 16, "1", None, None, b"r" * 32, b"t" * 16, b"s" * 16, (), 0, 1
    )
    world.core.spawn(world.serving.on_push_ask(GROUP, ANNA, push)).result()
    assert world.said[-1] == (ANNA, PushEnded(b"q" * 16, "source.hours"))
    copy = CatalogueCopyAsk(b"c" * 16, "1", b"i" * 8, 0, b"certificate", ())
    world.core.spawn(world.serving.on_copy_ask(GROUP, ANNA, copy)).result()
    assert world.said[-1] == (ANNA, TicketRefuse(b"c" * 16, "busy", 0))


def test_who_was_refused_is_called_when_the_disk_is_back_or_the_hours_begin():
    world = World()
    world.grants = False  # as without a disk
    assert world.ask(ANNA, "1") is None
    assert world.ask(ANNA, "1") is None
    world.grants = True
    world.ask(BOB, "1")
    world.serving.call_refused()
    assert world.said == [(ANNA, PlaceFree("1"))], "who was served is not called"
    world.said.clear()
    world.serving.call_refused()
    assert world.said == []
    world.may_send = False
    world.serving.end_if_closed()
    world.ask(BOB, "2")
    assert world.said.pop() == (BOB, TicketRefuse(b"r" * 16, "hours", 0))
    world.may_send = True
    world.serving.end_if_closed()
    assert world.said == [(BOB, PlaceFree("2"))]


def test_no_more_are_called_than_a_burst_of_messages_may_be():
    world = World()
    world.may_send = False
    for number in range(3 * REFUSED_MAX):
        world.ask(BOB, str(number))
    world.said.clear()
    world.serving.call_refused()
    assert len(world.said) == REFUSED_MAX
    assert world.said[-1] == (BOB, PlaceFree(str(3 * REFUSED_MAX - 1)))


def test_bundles_need_a_place_as_well():
    world = World()
    world.ask(ANNA, "1")
    wishes = (BundleWish(FILM, None),)
    bundle = BundleAsk(b"b" * 16, "1", "Films", wishes, b"certificate", ())
    world.core.spawn(world.serving.on_bundle_ask(GROUP, BOB, bundle)).result()
    assert world.said[-1] == (BOB, replace(queued(1), request=b"b" * 16))


def test_a_refusal_of_an_older_node_names_no_place():
    body = encode(queued(4))
    older = body.replace(b',"place":4', b"").replace(b'"place":4,', b"")
    assert decode("ticket_refuse", body) == queued(4)
    assert decode("ticket_refuse", older) == queued(0)
