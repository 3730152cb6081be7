"""The messages about ratings (docs/protocol/ratings.md). Read by messages.py.

Loaded with the first of them that comes: most groups need none.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from fonshare_agent.protocol.fields import (
    BadMessage,
    blob,
    block_hashes,
    number,
    short_blob,
)
from fonshare_agent.protocol.message import Message

LOG_BYTES: Final = 8
STARS_MAX: Final = 5
PAGE_RATINGS: Final = 512  # an envelope of 32 KiB


@dataclass(frozen=True, slots=True)
class Ratings(Message):
    """My ratings with numbers in (`after`, `upto`] of my log, whose head is `head`.

    `stars` has a byte for each of `roots`: 1 to 5, or 0 for one that I have taken back.
    """

    KIND: ClassVar[str] = "ratings"
    log: bytes = blob(LOG_BYTES)
    after: int = number()
    upto: int = number()
    head: int = number()
    roots: tuple[bytes, ...] = block_hashes()
    stars: bytes = short_blob(PAGE_RATINGS)

    def __post_init__(self) -> None:
        if not self.after <= self.upto <= self.head:
            raise BadMessage("its numbers are out of order")
        if len(self.roots) > PAGE_RATINGS or len(self.roots) != len(self.stars):
            raise BadMessage("expected as many stars as roots, in a page of them")
        if any(stars > STARS_MAX for stars in self.stars):
            raise BadMessage("expected 0 to 5 stars")


@dataclass(frozen=True, slots=True)
class RatingsAsk(Message):
    """Send what comes after this number of your log."""

    KIND: ClassVar[str] = "ratings_ask"
    log: bytes = blob(LOG_BYTES)
    after: int = number()


RATING_KINDS: dict[str, type[Message]] = {
    kind.KIND: kind for kind in (Ratings, RatingsAsk)
}
