"""What friends offer, in a real index, behind a real FTP service."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from fonshare_agent.core import Core, Worker
from fonshare_agent.errors import NotFound
from fonshare_agent.friends_tree import FriendsTree
from fonshare_agent.groups import pick_node
from fonshare_agent.index.records import Delta
from fonshare_agent.index.store import IndexStore
from fonshare_agent.model import GroupId, IndexId, NodeId, SharePath
from fonshare_agent.protocol.fields import Change
from fonshare_agent.protocol.keys import node_id_text

ME = NodeId(b"m" * 32)
GROUP = GroupId(b"G" * 32)
MODIFIED = 1_700_000_000


@dataclass
class Groups:
    """Stands for the groups: one of them, its members by name."""

    label_: str = "Famille"
    members: dict[NodeId, str] = field(default_factory=lambda: {ME: "me"})

    def labels(self):
        return {self.label_: GROUP}

    def get(self, label):
        if label != self.label_:
            raise NotFound(f"there is no group {label!r}")
        return GROUP

    def roster(self, group):
        return SimpleNamespace(members=self.members)

    def member_name(self, group, member):
        name = self.members[member]
        is_twin = list(self.members.values()).count(name) > 1
        return f"{name} ({node_id_text(member)[:7]})" if is_twin else name

    def get_member(self, group, text):
        named = [m for m in self.members if self.member_name(group, m) == text]
        return pick_node(named, list(self.members), text)


class Offers:
    """The core, the store and the index of a node, running."""

    def __init__(self, folder: Any) -> None:
        self.core = Core(time.monotonic)
        self.store, self.files = Worker("store", self.core), Worker("files", self.core)
        self.store.start()
        self.files.start()
        self.groups = Groups()
        self.index: IndexStore = self.store.run_and_wait(
            lambda: IndexStore(folder / "index.db", ME, os.urandom)
        )
        self.tree = FriendsTree(
            *(self.core, self.store, self.index),
            *(self.groups, ME),  # type: ignore[arg-type]
        )
        self._heads: dict[NodeId, int] = {}
        self._thread = threading.Thread(target=self.core.run, daemon=True)
        self._thread.start()

    def member(self, name: str, letter: bytes) -> NodeId:
        node = NodeId(letter * 32)
        self.groups.members[node] = name
        return node

    def offer(self, member: NodeId, share: str, *paths: bytes, size: int = 5) -> None:
        """Let *member* offer files; what it offered before stays."""
        changes = [
            Change(share, SharePath.parse(path), size, MODIFIED, None, False)
            for path in paths
        ]
        after = self._heads.get(member, 0)
        head = self._heads[member] = after + len(changes)
        delta = Delta(IndexId(member[:16]), after, head, changes)
        self.store.run_and_wait(
            lambda: self.index.apply_delta(GROUP, member, delta, complete_at=head)
        )

    def close(self) -> None:
        self.store.run_and_wait(self.index.close)
        self.core.stop()
        self._thread.join()
        self.store.stop()
        self.files.stop()


@contextlib.contextmanager
def offers(folder: Any) -> Iterator[Offers]:
    made = Offers(folder)
    try:
        yield made
    finally:
        made.close()
