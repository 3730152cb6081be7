"""Whatever fails, in whatever order: no file is lost or damaged, and no job."""

import os
import random

import pytest

from brokers import Mosquitto
from fault_loop import FOLDER, GROUP, KIB, SHARE, FaultLoop
from nodes import NodeProcess, befriend, running, share
from programs import IS_CI

FULL_ROUNDS, FULL_S = 3, 75.0
SEED = "FAULT_SEED"  # in the environment: that round again, as far as time repeats


def play(tmp_path, seed, seconds, within_s, *, size_max, kib_s):
    print(f"{SEED}={seed}")
    with Mosquitto(tmp_path / "broker") as broker:
        nodes = [
            NodeProcess(
                tmp_path / name,
                name,
                broker.url,
                limits={"upload_kib_s": kib_s, "transfers": 2},
            )
            for name in ("alice", "bob", "carol")
        ]
        with running(*nodes):
            befriend(GROUP, *nodes)
            for node in nodes:
                share(node, FOLDER, SHARE, GROUP)
            loop = FaultLoop(seed, broker, *nodes, size_max=size_max)
            try:
                loop.run(seconds)
                loop.settle(within_s)
            finally:
                loop.bring_back(float("inf"))  # what is frozen cannot be stopped
                print("\n".join(loop.history))


def test_a_short_round_of_faults_loses_nothing(tmp_path):
    seed = int(os.environ.get(SEED, "7"))
    play(tmp_path, seed, 6.0, 40.0, size_max=512 * KIB, kib_s=1024)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(FULL_ROUNDS))
def test_long_rounds_of_faults_lose_nothing(tmp_path, number):
    drawn = number if IS_CI else random.SystemRandom().randrange(1 << 32)
    seed = int(os.environ.get(SEED, drawn))
    play(tmp_path, seed, FULL_S, 100.0, size_max=4 << 20, kib_s=1536)
