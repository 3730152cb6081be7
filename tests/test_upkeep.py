"""What a node does now and then, over real keys and a real state.db."""

import os
import time
from dataclasses import dataclass, field

import pytest

from fonshare_agent.core import Core, Worker
from fonshare_agent.index.state import StateStore
from fonshare_agent.leave_notices import LeaveNotices
from fonshare_agent.nodekeys import SEALING_PERIOD_S, load_or_create
from fonshare_agent.upkeep import Upkeep
from waiting import PATIENCE_S


class Nothing:
    """Stands for the parts that this is not about."""

    def __init__(self, core: Core) -> None:
        self.core, self.renewed = core, 0

    def age(self, uptime_s):
        self.aged = uptime_s

    def tend(self):
        return self.core.sleep(0)

    def purge_uploads(self, older_than_s: float) -> int:
        return 0

    def renew_keys(self) -> None:
        self.renewed += 1


@dataclass
class Ground:
    core: Core
    store: Worker
    files: Worker
    closer: Worker
    state: StateStore
    keys: object
    draw: object = field(default=os.urandom)


@pytest.fixture
def ground(tmp_path):
    core = Core(time.monotonic)
    worker = Worker("w", core)
    worker.start()
    state = StateStore(tmp_path / "state.db", "disk", time.monotonic)
    keys = load_or_create(tmp_path / "keys", os.urandom)
    yield Ground(core, worker, worker, worker, state, keys)
    worker.run_and_wait(state.close)
    worker.stop()


def test_the_sealing_key_is_renewed_by_uptime_over_restarts(ground):
    before, parts = ground.keys.sealing.public, Nothing(ground.core)
    first = ground.keys.statement("anna")
    now = [1000.0]
    ground.core.clock = lambda: now[0]

    def tend(upkeep: Upkeep) -> None:
        done = ground.core.spawn(upkeep.tend())
        deadline = time.monotonic() + PATIENCE_S
        while not done.is_settled:
            assert time.monotonic() < deadline
            ground.core.post(lambda: None)
            ground.core.run_once()
            now[0] += 0.02
        done.result()

    for _ in range(2):  # two runs of half the period each
        leaving = LeaveNotices(ground.core, ground.store, ground.state, None)
        upkeep = Upkeep(ground, parts, parts.tend, parts, parts.tend, leaving)
        tend(upkeep)
        assert ground.keys.sealing.public == before
        now[0] += SEALING_PERIOD_S / 2 + 10
        tend(upkeep)
    assert ground.keys.sealing.public != before
    assert ground.keys.previous_sealing.public == before
    assert parts.renewed == 1
    assert ground.keys.statement("anna").version == first.version + 1
