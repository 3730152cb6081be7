"""Which broker of a group is meant: named as it is, or as it is shown."""

import pytest

from fonshare_agent.control.group_handlers import broker_among
from fonshare_agent.control.views import shown_broker
from fonshare_agent.errors import NotFound, UsageError
from fonshare_agent.links.broker_url import BrokerUrl

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
