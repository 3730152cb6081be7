"""Which broker of a group is meant: named as it is, or as it is shown."""

import os
import time

import pytest

from fonshare_agent.control.group_handlers import broker_among
from fonshare_agent.control.views import shown_broker
from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import NotFound, UsageError
from fonshare_agent.links.broker_url import BrokerUrl
from fonshare_agent.links.links import Handlers, Links
from fonshare_agent.links.mqtt_link import MqttLink

ANNA, BOB, OPEN = (
    BrokerUrl.parse(one).encode()
    for one in ("mqtts://anna:a@one.example", "mqtt://bob:b@two.example:99", "mqtt://x")
)
BROKERS = (ANNA, "no address", BOB, OPEN)


def among(text: str, brokers: tuple[str, ...] = BROKERS) -> str:
    return broker_among(brokers, BrokerUrl.parse(text))


def test_a_broker_is_removed_by_its_address_or_by_what_is_shown_of_it():
    for one in (ANNA, BOB, OPEN):
        assert among(one) == one
        shown = shown_broker(one)
        assert shown is not None
        assert "anna" not in shown
        assert ":a@" not in shown
        assert among(shown) == one
    assert shown_broker(ANNA) == "mqtts://…@one.example"


def test_what_an_admin_wrote_that_is_no_address_is_not_shown():
    assert shown_broker("no address") is None


def test_an_address_that_is_none_or_more_than_one_of_the_groups_is_refused():
    with pytest.raises(NotFound):
        among("mqtts://…@elsewhere.example")
    other = BrokerUrl.parse("mqtts://carol:c@one.example").encode()
    with pytest.raises(UsageError):
        among("mqtts://…@one.example", (ANNA, other))
    assert among(other, (ANNA, other)) == other


def test_no_file_is_opened_because_a_groups_address_names_it(tmp_path):
    pipe = tmp_path / "pipe"  # opening it would wait for ever
    os.mkfifo(pipe)
    made: list[MqttLink] = []

    def make_link(url, new_will, on_event):
        made.append(MqttLink(url, new_will=new_will, on_event=on_event, draw=bytes))
        return made[-1]

    core, url = Core(time.monotonic), f"mqtts://127.0.0.1:9?ca={pipe}"
    links = Links(
        core,
        Worker("closer", core),
        make_link,
        bytes,
        b"secret",
        Handlers(lambda: {url}, lambda _: set(), print, print, print),
    )
    links.refresh_now()
    made[0].stop()
    assert made[0].url.ca is None


def test_what_is_no_address_is_complained_of_once(caplog):
    core, wanted = Core(time.monotonic), {"no address"}
    handlers = Handlers(lambda: wanted, lambda _: set(), print, print, print)
    links = Links(core, Worker("closer", core), print, bytes, b"secret", handlers)
    for _ in range(3):
        links.refresh_now()
    assert caplog.text.count("no address") == 1
    wanted.clear()
    links.refresh_now()
    wanted.add("no address")
    links.refresh_now()
    assert caplog.text.count("no address") == 2
