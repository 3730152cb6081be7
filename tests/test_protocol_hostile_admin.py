"""An admin who signs what it likes: others stay whole, also at their next start.

Seeded: operations and grants that are signed well, whose fields, parents and sealed
copies are not what an honest node would write; presences and questions likewise.
"""

import random
from contextlib import suppress

import pytest

from fonshare_agent.errors import PeerError
from fonshare_agent.protocol.envelope import Channel, Header
from fonshare_agent.protocol.epochs import SEALED_KEY_BYTES, make_grant
from fonshare_agent.protocol.group_events import (
    VerifiedGrants,
    VerifiedOperations,
    verify_content,
)
from fonshare_agent.protocol.keys import Context, KeyStatement, SealingKey, Signer
from fonshare_agent.protocol.messages import (
    Grants,
    Hello,
    Message,
    Operations,
    Presence,
    RosterAsk,
    Welcome,
    decode,
    encode,
)
from fonshare_agent.protocol.operations import operation_hash
from fonshare_agent.protocol.signed import open_record, sign_record, to_text
from fonshare_agent.protocol.topics import liveness_topic
from test_protocol_group import a_group
from wire import BROKER, Wire, WireNode

STEPS, RESTART_EVERY = 60, 7
MOST = 2**63 - 1
STRANGERS = [Signer(bytes([number]) * 32) for number in range(200, 206)]


class Hostile:
    """What *anna*, an admin, and those she takes in sign and send."""

    def __init__(self, anna: WireNode, nodes: list[WireNode], seed: int) -> None:
        self.anna, self.random = anna, random.Random(seed)
        self.known = [one.hash for one in anna.group.log.operations()]
        self.ids = [one.id for one in nodes] + [one.node_id for one in STRANGERS]

    def message(self) -> Message:
        draw, author = self.random, self.random.choice([self.anna.signer, *STRANGERS])
        match draw.randrange(6):
            case 0 | 1:
                count = draw.randrange(1, 4)
                return Operations(tuple(self.operation(author) for _ in range(count)))
            case 2 | 3:
                return Grants((self.grant(), self.grant()))
            case 4:
                return Presence(
                    draw.choice([self.statement(), draw.randbytes(90), b""]),
                    liveness_topic(draw.randbytes(20)),
                    draw.randbytes(32),
                    draw.randbytes(8),
                    draw.choice([0, MOST]),
                    tuple(self.heads()),
                )
            case _:
                return draw.choice(
                    [
                        Hello(draw.randbytes(16), tuple(self.heads())),
                        RosterAsk(tuple(self.heads())),
                        Welcome(draw.randbytes(16), True, bytes(8), MOST, ()),
                    ]
                )

    def heads(self) -> list[bytes]:
        count = self.random.randrange(1, 4)
        found = [*self.known, self.random.randbytes(32)]
        return sorted({self.random.choice(found) for _ in range(count)})

    def statement(self, signer: Signer | None = None) -> bytes:
        signer = signer or self.random.choice([self.anna.signer, *STRANGERS])
        version = self.random.choice([0, 1, MOST, self.random.randrange(9)])
        sealing = SealingKey(self.random.randbytes(32)).public
        return KeyStatement.make(signer, "x", version, bytes(32), sealing).encode()

    def operation(self, author: Signer) -> bytes:
        draw = self.random
        member = {"member": to_text(draw.choice([*self.ids, draw.randbytes(32)]))}
        addresses = ["mqtt://h", "no address", "", "x" * 1024, "mqtts://h?ca=/dev/zero"]
        kind, more = draw.choice(
            [
                ("admit", {"statement": to_text(self.statement())}),
                ("remove", member),
                ("name_admin", member),
                ("unname_admin", member),
                ("set_brokers", {"brokers": draw.sample(addresses, draw.randrange(4))}),
                ("leave", {}),
                ("of a later version", {"anything": [1]}),
            ]
        )
        heads = [to_text(one) for one in self.heads()]
        fields = {"kind": kind, "parents": heads, **more}
        raw = sign_record(author, Context.OPERATION, fields)
        self.known.append(operation_hash(raw))
        return raw

    def grant(self) -> bytes:
        draw, roster = self.random, self.anna.group.roster
        number = draw.choice([1, 2, MOST, draw.randrange(1, 9)])
        honest = make_grant(
            self.anna.signer, roster, number, draw.randbytes(32), draw.randbytes
        )
        _, fields = open_record(honest.raw, Context.EPOCH_GRANT)
        for node in list(fields["sealed"]):
            match draw.randrange(4):
                case 0:
                    fields["sealed"][node] = to_text(bytes(SEALED_KEY_BYTES))
                case 1:
                    junk = draw.randbytes(SEALED_KEY_BYTES)
                    fields["sealed"][node] = to_text(junk)
                case 2 if len(fields["sealed"]) > 1:
                    del fields["sealed"][node]
        if draw.random() < 0.3:
            fields["heads"] = [to_text(one) for one in self.heads()]
        return sign_record(self.anna.signer, Context.EPOCH_GRANT, fields)


def give(node: WireNode, sender: WireNode, message: Message) -> None:
    """Hand over what came sealed well, under an epoch that both know."""
    group, now = node.group, node.wire.now
    epochs = [*group.epoch_keys]
    epoch = group.sending_epoch or (epochs[-1] if epochs else None)
    if epoch is None:
        return
    message = group.sift(sender.id, message, now)
    again = decode(message.KIND, encode(message))
    assert again is not None
    message = verify_content(again)
    is_state = isinstance(message, Presence | VerifiedOperations | VerifiedGrants)
    channel = Channel.STATE if is_state else Channel.COMMAND
    sender.counter += 1
    header = Header(
        *(sender.id, group.group, epoch.number, None, channel, again.KIND),
        *(sender.incarnation, sender.counter),
    )
    group.receive(header, epoch, message, BROKER, now)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(6))
def test_whatever_an_admin_signs_the_others_take_the_group_up_again(seed: int) -> None:
    wire = Wire(seed=seed)
    anna, bob, carl = a_group(wire, "anna", "bob", "carl")
    hostile = Hostile(anna, [anna, bob, carl], seed)
    for step in range(STEPS):
        with suppress(PeerError):
            give(carl, anna, hostile.message())
        wire.now += hostile.random.choice([0, 1, 10, 60])
        carl.group.handle_timer(wire.now)
        carl.group.take_events()
        carl.group.take_messages()
        if step % RESTART_EVERY == 0 and carl.id in carl.group.roster.members:
            epoch = carl.group.sending_epoch
            carl.restart()
            assert carl.group.sending_epoch == epoch
