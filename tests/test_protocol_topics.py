import json
import re
from pathlib import Path

import pytest

from fonshare_agent.model import NodeId
from fonshare_agent.protocol.topics import EpochTopics, liveness_topic

VECTOR = json.loads((Path(__file__).parent / "vectors" / "topics.json").read_text())
ANNA, BEN = NodeId(b"a" * 32), NodeId(b"b" * 32)
SEALING = b"s" * 32


def hexed(name):
    return bytes.fromhex(VECTOR[name])


def names(topics):
    """Return everything a broker could see of one epoch."""
    return [
        topics.bulletin(),
        *(f(node) for f in (topics.inbox, topics.presence) for node in (ANNA, BEN)),
        topics.key_tag().hex(),
        topics.direct_key_tag(ANNA, SEALING).hex(),
        topics.direct_key_tag(BEN, SEALING).hex(),
        topics.direct_key_tag(ANNA, b"t" * 32).hex(),
    ]


def test_topics_and_key_tags_equal_the_golden_ones():
    topics, node = EpochTopics(hexed("epoch_key")), NodeId(hexed("node"))

    assert topics.bulletin() == VECTOR["bulletin"]
    assert topics.inbox(node) == VECTOR["inbox"]
    assert topics.presence(node) == VECTOR["presence"]
    assert topics.key_tag() == hexed("key_tag")
    assert topics.direct_key_tag(node, hexed("sealing")) == hexed("direct_key_tag")
    assert liveness_topic(hexed("random")) == VECTOR["liveness"]


def test_nothing_that_a_broker_sees_is_used_twice_or_shared_by_two_epochs():
    seen = names(EpochTopics(b"1" * 32)) + names(EpochTopics(b"2" * 32))

    assert len(set(seen)) == len(seen)
    tails = {one.removeprefix("fonshare/")[:12] for one in seen}
    assert len(tails) == len(seen)


def test_every_topic_is_one_plain_level_that_any_broker_takes():
    topics = EpochTopics(b"1" * 32)

    for topic in (topics.bulletin(), topics.inbox(ANNA), topics.presence(ANNA)):
        assert re.fullmatch(r"fonshare/[a-z2-7]{32}", topic)
    # A liveness topic looks like the others: it says nothing by its shape.
    assert re.fullmatch(r"fonshare/[a-z2-7]{32}", liveness_topic(bytes(20)))


def test_a_liveness_topic_needs_all_its_randomness():
    with pytest.raises(ValueError, match="20 bytes"):
        liveness_topic(bytes(19))


def test_no_epoch_key_shows_in_a_repr():
    assert repr(EpochTopics(b"1" * 32)) == "<EpochTopics>"
