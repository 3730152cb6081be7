"""A node with a share on a real folder and a real index, scanned step by step."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fonshare_agent.errors import DiskMissing
from fonshare_agent.index.records import Applied, Delta, Found, Gap
from fonshare_agent.index.scanner import Scanner
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, NodeId, Root, SharePath

if TYPE_CHECKING:
    import pytest

FAMILLE, CLUB = GroupId(b"F" * 32), GroupId(b"C" * 32)
ALICE, BOB, CAROL = NodeId(b"a" * 32), NodeId(b"b" * 32), NodeId(b"c" * 32)


class Node:
    """One node; its clocks stand still unless a test moves them."""

    def __init__(self, folder: Path, me: NodeId = ALICE) -> None:
        self.folder = folder
        self.me = me
        self.moved: list[GroupId] = []
        self.hashed: list[tuple[str, SharePath, Root]] = []
        self.clock = 1000.0
        self.now = 4e9  # long after any file of the test was written
        self.disk_is_there = True
        self.disk_checks = 0
        self.is_busy = False
        folder.mkdir(parents=True, exist_ok=True)
        self.index = IndexStore(
            folder / "index.db",
            me,
            os.urandom,
            clock=lambda: self.clock,
        )
        self.scanner = Scanner(
            self.index,
            lambda work: work(),
            check_disk=self.check_disk,
            on_catalogue_moved=self.moved.extend,
            on_hashed=lambda share, path, root: self.hashed.append((share, path, root)),
            is_busy=lambda: self.is_busy,
            clock=lambda: self.clock,
            now=lambda: self.now,
        )

    def check_disk(self) -> None:
        self.disk_checks += 1
        if not self.disk_is_there:
            raise DiskMissing("the disk is not there")

    def share(self, name: str = "Films") -> Path:
        path = self.folder / "disk" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, **shares: Iterable[GroupId]) -> None:
        """Publish each named share to its groups, and scan."""
        self.index.publish({name: frozenset(groups) for name, groups in shares.items()})
        self.scanner.set_shares({name: self.share(name) for name in shares})
        self.settle()

    def settle(self, steps: int = 100_000) -> None:
        """Let the scanner do all it has to do now."""
        for _ in range(steps):
            if not self.scanner.step():
                return
        raise AssertionError("the scanner finds no rest")

    def rescan(self) -> None:
        self.scanner.rescan()
        self.settle()

    def close(self) -> None:
        self.scanner.stop()
        self.index.close()

    # --- seen by others ---

    def deltas(
        self, group: GroupId, to: "Node", entries: int = 1000
    ) -> list[Applied | Gap]:
        """Bring *to*'s copy of this node's catalogue up to date."""
        answers: list[Applied | Gap] = []
        own_id, head = self.index.own_head(group)
        while to.index.replica_head(group, self.me) != (own_id, head):
            known = to.index.replica_head(group, self.me)
            delta = self.index.delta(group, *known, max_entries=entries)
            answers.append(
                to.index.apply_delta(group, self.me, delta, complete_at=head)
            )
            assert len(answers) < 10_000
        return answers

    def delta(self, group: GroupId, after: int = 0, entries: int = 1000) -> Delta:
        own_id, _ = self.index.own_head(group)
        return self.index.delta(group, own_id, after, max_entries=entries)

    def names(self, words: str, **options: object) -> list[str]:
        """Return share/path of what a search finds, sorted."""
        result = self.index.search(words, **options)  # type: ignore[arg-type]
        assert result.is_complete
        return sorted(shown(found) for found in result.found)

    def listed(self, group: GroupId, member: NodeId) -> set[tuple[object, ...]]:
        """Return all entries of one catalogue, as browsing shows them."""
        entries: set[tuple[object, ...]] = set()
        after = None
        while page := self.index.browse(
            group=group, member=member, limit=2, after=after
        ):
            for top in page:
                entries |= set(self._below(top))
            after = page[-1]
        return entries

    def _below(self, top: Found) -> Iterable[tuple[object, ...]]:
        after = None
        while page := self.index.browse(
            group=top.group,
            member=top.member,
            share=top.share,
            folder=top.path,
            limit=3,
            after=after,
        ):
            for found in page:
                if found.kind == "file":
                    yield (shown(found), found.size, found.modified, found.root)
                else:
                    yield from self._below(found)
            after = page[-1]


def shown(found: Found) -> str:
    """Return share/path of *found*, exact for any bytes."""
    raw = b"" if found.path is None else b"/" + found.path.raw
    return (found.share.encode() + raw).decode("utf-8", "surrogateescape")


def count_reads(monkeypatch: "pytest.MonkeyPatch") -> list[int]:
    """Return a list that grows with each read of hashing, by how many bytes it had."""
    counts: list[int] = []
    really = os.readv

    def readv(descriptor: int, buffers: Any) -> int:
        counts.append(really(descriptor, buffers))
        return counts[-1]

    monkeypatch.setattr(os, "readv", readv)
    return counts
