"""Two homes that a bad line joins: real machines, a fake clock, what each stored."""

import random
from dataclasses import dataclass

from fonshare_agent.protocol.codes import InviteCode
from fonshare_agent.protocol.epochs import extend_grant, make_grant
from fonshare_agent.protocol.invite import (
    AdmissionWanted,
    Admitted,
    Invitation,
    InviterKnown,
    JoinerAdmitted,
    JoinerKnown,
    Joining,
    Refused,
    StateChanged,
)
from fonshare_agent.protocol.operations import Admit
from fonshare_agent.protocol.roster import OperationLog
from membership import ANNA, BEN, BROKERS, CLEO, drawer

BROKER = "mqtt://broker.example"
EPOCH_KEY = bytes(range(32))


class Home:
    """One side: a machine, what it stored, and what its person saw."""

    def __init__(self, node, seed):
        self.node, self.draw = node, drawer(seed)
        self.disk = None
        self.seen = []
        self.decides = lambda machine: machine.accept()

    def start(self, machine):
        self.machine = machine
        return self

    def restart(self, now):
        """Lose power: go on from what was stored."""
        self.machine = self.load(now)

    def step(self, stores=True):
        """Act on events, store, and return the frames; False: the power goes first."""
        while events := self.machine.take_events():
            for event in events:
                if isinstance(event, StateChanged):
                    if not stores:
                        return []
                    self.disk = event.state
                    self.machine.stored(event.version)
                else:
                    self.seen.append(event)
                    self.act(event)
        return self.machine.take_frames()

    def act(self, event):
        if isinstance(event, JoinerKnown | InviterKnown):
            self.decides(self.machine)

    def saw(self, kind):
        return [event for event in self.seen if isinstance(event, kind)]


class InviterHome(Home):
    def __init__(self, seed=b"inviter", **options):
        super().__init__(ANNA, seed)
        self.log = OperationLog(ANNA.creates())
        self.grants = [make_grant(ANNA.signer, self.log, 1, EPOCH_KEY, self.draw)]
        self.start(
            Invitation.begin(
                ANNA.signer, ANNA.statement, "Films", BROKER, self.draw, 0.0, **options
            )
        )

    def load(self, now):
        return Invitation.from_dict(self.disk, ANNA.signer, self.draw, now)

    def act(self, event):
        super().act(event)
        if isinstance(event, AdmissionWanted):
            self.admit(event)

    def admit(self, event):
        if not self.log.fold().is_member(event.node_id):
            joiner = next(n for n in (BEN, CLEO) if n.id == event.node_id)
            self.log.append(ANNA.signer, Admit(joiner.statement))
            self.grants.append(
                extend_grant(
                    ANNA.signer,
                    self.grants[0],
                    EPOCH_KEY,
                    [joiner.statement],
                    self.draw,
                )
            )
        raws = [grant.raw for grant in self.grants]
        self.machine.admit(self.log.raw_operations(), raws, BROKERS)

    @property
    def is_admitted(self):
        return bool(self.saw(JoinerAdmitted)) and not self.saw(Refused)


class JoinerHome(Home):
    def __init__(self, code, node=BEN, seed=b"joiner", now=0.0):
        super().__init__(node, seed)
        self.code = InviteCode.parse(code.encode())
        self.start(
            Joining(self.code, node.signer, node.statement, self.keys, self.draw, now)
        )

    def keys(self):
        return [self.node.sealing]

    def load(self, now):
        return Joining.from_dict(self.disk, self.node.signer, self.keys, self.draw, now)

    @property
    def is_admitted(self):
        return bool(self.saw(Admitted))


@dataclass
class Wire:
    """Delivers after a random while, or not, or twice, in any order."""

    homes: list
    rng: random.Random
    loss: float = 0.0
    now: float = 0.0

    def __post_init__(self):
        self.flying = []
        self.passed = []  # all frames ever, for those who listen

    def carry(self, home, stores=True):
        for topic, payload in home.step(stores):
            self.passed.append((topic, payload))
            for _ in range(self.rng.choice((1, 1, 1, 2))):
                if self.rng.random() >= self.loss:
                    at = self.now + self.rng.uniform(0.01, 5.0 if self.loss else 0.02)
                    self.flying.append((at, topic, payload))
        if self.loss and self.passed and self.rng.random() < 0.1:
            self.flying.append((self.now + 1.0, *self.rng.choice(self.passed)))

    def run(self, until, each=lambda: None):
        """Play until *until*, or until nothing is left to do."""
        for home in self.homes:
            self.carry(home)
        while (due := self._next()) is not None and due <= until:
            self.now = max(self.now, due)
            arrived = [one for one in self.flying if one[0] <= self.now]
            self.flying = [one for one in self.flying if one[0] > self.now]
            for home in self.homes:
                home.machine.handle_timer(self.now)
                for _, topic, payload in arrived:
                    if topic in home.machine.topics():
                        home.machine.receive(payload, self.now)
                        self.carry(home)
                self.carry(home)
            each()
        self.now = until

    def _next(self):
        due = [one[0] for one in self.flying]
        for home in self.homes:
            deadline = home.machine.next_deadline()
            due += [] if deadline is None else [max(deadline, self.now)]
        return min(due, default=None)


def meet(inviter=None, **wire):
    inviter = inviter or InviterHome()
    joiner = JoinerHome(inviter.machine.code)
    return inviter, joiner, Wire([inviter, joiner], random.Random(1), **wire)
