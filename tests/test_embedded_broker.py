"""The broker that `make run` falls back to is good enough for a link.

The tests are those of test_mqtt_link.py that any broker must let pass.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import test_mqtt_link as link
from brokers import EmbeddedBroker

SCRIPT = Path(__file__).parent.parent / "tools" / "embedded_broker.py"

topic = link.topic
at_once = link._nothing_happens_by_the_tick


@pytest.fixture(scope="module")
def any_broker(tmp_path_factory):
    with EmbeddedBroker(tmp_path_factory.mktemp("embedded")) as broker:
        yield broker


test_messages = link.test_messages_arrive_once_live_and_retained
test_subscriptions = link.test_only_the_topics_last_asked_for_arrive
test_confirmations = link.test_confirmed_messages_make_room_for_the_next
test_flow = link.test_an_owner_that_is_behind_stops_the_reading_and_loses_nothing
test_will = link.test_a_lost_line_leaves_the_will_and_the_next_connection_has_another
test_farewell = link.test_a_farewell_is_delivered_and_drops_the_will


def test_it_ends_with_the_program_that_started_it(tmp_path):
    broker = EmbeddedBroker(tmp_path).start()
    child = broker._child
    child.stdin.close()

    assert child.wait(10) == 0


def test_it_wants_a_port():
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)

    assert run.returncode == 2
    assert "usage" in run.stderr
