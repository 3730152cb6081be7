"""The hashes of a large file: they fill several messages."""

import time
from types import SimpleNamespace

import pytest

from fonshare_agent.bringing import PAGES_AT_ONCE, Bringer
from fonshare_agent.core import Core, Promise
from fonshare_agent.model import GroupId, NodeId
from fonshare_agent.protocol.content import BLOCK_SIZE_MIN
from fonshare_agent.protocol.messages import BlocksPage
from fonshare_agent.receiving import Granted
from waiting import PATIENCE_S

BLOCKS = 1700
HASHES = [b"%032d" % number for number in range(BLOCKS)]
ROOT = bytes(32)


class Asking:
    """A source that answers a little later, with at most *page* hashes."""

    def __init__(self, core, page):
        self.core, self.page = core, page
        self.firsts, self.open, self.most = [], 0, 0

    def ask(self, group, member, make, owner=""):
        ask, promise = make(b""), Promise()
        self.firsts.append(ask.first)
        self.open += 1
        self.most = max(self.most, self.open)

        def answer():
            self.open -= 1
            page = tuple(HASHES[ask.first : ask.first + self.page])
            promise.resolve(BlocksPage(b"", ROOT, ask.first, page))

        self.core.call_later(0.01, answer)
        return promise


def gather(first_page, page):
    """Return the hashes that come together, and the source."""
    core = Core(time.monotonic)
    asking = Asking(core, page)
    bringer = Bringer(core, None, None, None, asking, *[None] * 5)
    grant = SimpleNamespace(hashes=tuple(HASHES[:first_page]), root=ROOT)
    who = GroupId(bytes(32)), NodeId(bytes(32)), "job.0", "job", "Films", None
    kept = SimpleNamespace(size=BLOCKS * BLOCK_SIZE_MIN)
    done = core.spawn(bringer._all_hashes(Granted(*who, grant), kept))
    until = time.monotonic() + PATIENCE_S
    while not done.is_settled:
        assert time.monotonic() < until
        core.run_once()
    return done.result(), asking


def test_pages_of_hashes_are_asked_for_beside_one_another():
    hashes, asking = gather(512, 512)
    assert hashes == HASHES
    assert asking.firsts == [512, 1024, 1536]
    assert asking.most == 3


@pytest.mark.parametrize(("first_page", "page"), [(512, 300), (400, 512), (0, 512)])
def test_a_source_with_other_pages_than_its_first_gives_all_of_them(first_page, page):
    hashes, asking = gather(first_page, page)
    assert hashes[:BLOCKS] == HASHES
    assert asking.most <= PAGES_AT_ONCE


def test_a_source_that_has_no_more_ends_it():
    assert gather(512, 0)[0] is None
