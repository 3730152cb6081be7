"""What one member can make this node do for it: bounded, whatever it asks."""

import os
import time
from types import SimpleNamespace

import pytest

from fonshare_agent.catching_up import CatchingUp
from fonshare_agent.core import Core, Worker
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, IndexId, NodeId
from fonshare_agent.protocol.certificate import fingerprint, self_signed_certificate
from fonshare_agent.protocol.messages import BlocksAsk, CatalogueAsk, TicketRefuse
from fonshare_agent.protocol.reach_messages import RelayAsk
from fonshare_agent.receiving import shows_own_certificate
from fonshare_agent.routing import OPEN_MAX, Routing
from fonshare_agent.sharing import Sharing
from fonshare_agent.transfer_side import TransferSide
from waiting import PATIENCE_S

GROUP, MEMBER = GroupId(bytes(32)), NodeId(bytes(32))


def run_until(core: Core, condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        core.call_later(0.01, lambda: None)
        core.run_once()


def test_a_member_that_asks_on_while_the_disk_hangs_fills_no_memory():
    core = Core(time.monotonic)
    begun, disk = [], core.sleep(3600)

    async def answer(group, member, ask):
        begun.append(ask)
        await disk

    async def get():
        return SimpleNamespace(granting=SimpleNamespace(on_blocks_ask=answer))

    moving = SimpleNamespace(get=get)
    routing = Routing(core, *(None,) * 5, moving, *(None,) * 4)
    other = NodeId(b"o" * 32)
    for _ in range(3 * OPEN_MAX):
        routing.on_command(GROUP, MEMBER, a_question())
    assert len(begun) == OPEN_MAX
    routing.on_command(GROUP, other, a_question())
    assert len(begun) == OPEN_MAX + 1, "others are served all the same"
    disk.resolve(None)
    routing.on_command(GROUP, MEMBER, a_question())
    assert len(begun) == OPEN_MAX + 2


def test_a_node_that_is_no_relay_says_so_and_loads_nothing_for_it():
    sent = []
    channel = SimpleNamespace(send=lambda *words: sent.append(words))
    routing = Routing(None, channel, *(None,) * 9, is_relay=False)
    routing.on_command(GROUP, MEMBER, RelayAsk(bytes(16), bytes(32), ()))
    assert sent == [(GROUP, MEMBER, TicketRefuse(bytes(16), "not_here"))]


def a_question() -> BlocksAsk:
    return BlocksAsk(bytes(16), "Films", None, bytes(32), 0)


@pytest.fixture
def sharing(tmp_path):
    core = Core(time.monotonic)
    store = Worker("s", core)
    store.start()
    index = IndexStore(tmp_path / "index.db", MEMBER, os.urandom)
    store.run_and_wait(lambda: index.publish({"Films": frozenset([GROUP])}))
    sent = []
    sharing = Sharing(
        core,
        store,
        index,
        lambda group, to, message: sent.append(message) or True,
        lambda group: None,
        lambda: None,
        CatchingUp(core, store, index, None, lambda *told: None),
    )
    yield SimpleNamespace(core=core, store=store, index=index, own=sharing, sent=sent)
    store.run_and_wait(index.close)
    store.stop()


def test_no_member_can_have_our_catalogue_numbered_anew_again_and_again(sharing):
    def do(work):
        done = sharing.core.spawn(work)
        run_until(sharing.core, lambda: done.is_settled)
        done.result()

    def head():
        return sharing.store.run_and_wait(lambda: sharing.index.own_head(GROUP))

    do(sharing.own.add_group(GROUP))
    before: list[IndexId] = [head()[0]]
    for _ in range(4):
        index_id, number = head()
        do(sharing.own.on_ask(GROUP, MEMBER, CatalogueAsk(index_id, number + 9)))
        before.append(head()[0])
    assert before[0] != before[1], "our database may be an old one"
    assert len(set(before[1:])) == 1


def test_a_source_cannot_have_a_ticket_for_writing_made_out_to_another():
    own, other = (self_signed_certificate(bytes([n]) * 32) for n in (1, 2))
    statement = SimpleNamespace(tls_fingerprint=fingerprint(own))
    members = {MEMBER: SimpleNamespace(statement=statement)}
    machine = SimpleNamespace(roster=SimpleNamespace(members=members))
    for certificate, is_right in ((own, True), (other, False)):
        grant = SimpleNamespace(certificate=certificate)
        assert shows_own_certificate(machine, MEMBER, grant) is is_right
    assert not shows_own_certificate(machine, NodeId(b"x" * 32), grant)


def test_the_friends_door_trusts_the_members_of_the_rosters_and_nobody_else():
    trusted, revoked = [], []
    members = {name: [NodeId(name * 32)] for name in (b"a", b"b")}
    machines = {
        GroupId(name * 32): SimpleNamespace(
            roster=SimpleNamespace(
                members={
                    node: SimpleNamespace(
                        statement=SimpleNamespace(tls_fingerprint=node[::-1] + b"!")
                    )
                    for node in nodes
                }
            )
        )
        for name, nodes in members.items()
    }
    labels = {"A": GroupId(b"a" * 32), "B": GroupId(b"b" * 32), "gone": GROUP}
    side = SimpleNamespace(
        moving=SimpleNamespace(
            made=SimpleNamespace(
                granting=SimpleNamespace(revoke_lost_rights=lambda: revoked.append(1)),
                relaying=SimpleNamespace(revoke_lost_rights=lambda: revoked.append(2)),
            )
        ),
        ftp=SimpleNamespace(trust_only=trusted.append),
        _talking=SimpleNamespace(
            groups=SimpleNamespace(labels=lambda: labels),
            channel=SimpleNamespace(find_machine=machines.get),
        ),
    )
    TransferSide.revoke_lost_rights(side)
    assert trusted == [{b"a" * 32 + b"!", b"b" * 32 + b"!"}]
    assert revoked == [1, 2]
