"""Where envelopes travel: topics and key tags, both meaningless without the epoch key.

Owns the names under which a group meets on a broker (docs/protocol/topics.md). Rule:
every name is an HMAC under a key derived from the epoch key, so that nothing links two
groups of a node, two epochs of a group, or a topic and the key tags seen on it.
"""

import hmac
from typing import Final

from fonshare_agent.model import NodeId, base32
from fonshare_agent.protocol.keys import Context, hkdf

TOPIC_PREFIX: Final = "fonshare/"  # one level, so that a broker's ACL can name it
TOPIC_BYTES: Final = 20  # 32 characters of base32, no padding; not to be guessed
KEY_TAG_BYTES: Final = 16


class EpochTopics:
    """The topics and key tags of one epoch of one group."""

    __slots__ = ("_tag_key", "_topic_key")

    def __init__(self, epoch_key: bytes) -> None:
        self._topic_key = hkdf(epoch_key, Context.TOPICS)
        self._tag_key = hkdf(epoch_key, Context.KEY_TAGS)

    def bulletin(self) -> str:
        """The topic that every member reads."""
        return self._topic(b"bulletin")

    def inbox(self, node: NodeId) -> str:
        """The topic that *node* alone needs to read."""
        return self._topic(b"inbox", node)

    def presence(self, node: NodeId) -> str:
        """The topic of *node*'s retained presence."""
        return self._topic(b"presence", node)

    def key_tag(self) -> bytes:
        """The tag of envelopes to the whole group."""
        return _tag(self._tag_key, KEY_TAG_BYTES, b"group")

    def direct_key_tag(self, node: NodeId, sealing_public: bytes) -> bytes:
        """The tag of envelopes sealed to this sealing key of *node*."""
        return _tag(self._tag_key, KEY_TAG_BYTES, b"direct", node, sealing_public)

    def _topic(self, *parts: bytes) -> str:
        return TOPIC_PREFIX + base32(_tag(self._topic_key, TOPIC_BYTES, *parts))

    def __repr__(self) -> str:
        return "<EpochTopics>"


def liveness_topic(random20: bytes) -> str:
    """Return the topic of a connection's last will, which looks like any other."""
    if len(random20) != TOPIC_BYTES:
        raise ValueError(f"a liveness topic is drawn from {TOPIC_BYTES} bytes")
    return TOPIC_PREFIX + base32(random20)


def _tag(key: bytes, length: int, *parts: bytes) -> bytes:
    # Each part behind its length, so that no two lists of parts read the same.
    message = b"".join(bytes([len(part)]) + part for part in parts)
    return hmac.digest(key, message, "sha256")[:length]
