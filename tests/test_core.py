"""The core thread and its workers: a bug costs one call, an end is an end."""

import logging
import threading
import time
import weakref

import pytest

from fonshare_agent.asking import Asking, NoAnswer
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import Starting
from fonshare_agent.model import GroupId, NodeId


def test_a_call_or_timer_that_fails_does_not_end_the_core(caplog):
    core, story = Core(time.monotonic), []
    core.post(lambda: 1 // 0)
    core.call_later(0.0, lambda: [].pop())
    core.call_later(0.02, lambda: (story.append("still here"), core.stop()))
    with caplog.at_level(logging.CRITICAL):
        core.run()
    assert story == ["still here"]


def test_who_asks_a_worker_that_has_ended_is_told_and_does_not_wait():
    core = Core(time.monotonic)
    worker = Worker("w", core)
    worker.start()
    assert worker.stop()
    promise = worker.run(lambda: 1)
    assert promise.is_settled
    with pytest.raises(Starting):
        promise.result()
    with pytest.raises(Starting):
        worker.run_and_wait(lambda: 1)


def test_a_worker_that_hangs_is_left_behind_after_a_while():
    core, release = Core(time.monotonic), threading.Event()
    worker = Worker("w", core)
    worker.start()
    worker.run(release.wait)
    assert not worker.stop(timeout_s=0.05)
    release.set()
    assert worker.stop(timeout_s=5.0)


def test_a_worker_that_waits_keeps_nothing_of_what_it_did():
    class Batch:
        pass

    worker, batch = Worker("w", Core(time.monotonic)), Batch()
    gone = threading.Event()
    weakref.finalize(batch, gone.set)
    worker.start()
    worker.run_and_wait(lambda batch=batch: batch is None)
    del batch
    assert gone.wait(20)
    worker.stop()


def test_questions_end_when_nobody_will_answer():
    core = Core(time.monotonic)
    asking = Asking(core, lambda group, to, message: True, bytes)
    asked = GroupId(bytes(32)), NodeId(bytes(32)), lambda request: request
    first = asking.ask(*asked)
    assert not first.is_settled
    asking.stop()
    for promise in (first, asking.ask(*asked)):
        with pytest.raises(NoAnswer):
            promise.result()
