"""Nodes with long catalogues, made and read while their agents rest.

Scanning and hashing are not what these tests are about, so the files are put into the
index by its own methods, in the state in which a scan and a hashing leave it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from fonshare_agent.index.records import (
    Found,
    Listing,
    SeenFile,
    seen_file,
)
from fonshare_agent.index.store import BATCH, IndexStore
from fonshare_agent.nodekeys import load_or_create
from nodes import NodeProcess, running, share

GROUP, SHARE = "Famille", "Films"
IN_A_FOLDER = 100
FOLDERS_AT_ONCE = 10


def found_group(node: NodeProcess) -> None:
    """Let the node make a group and publish an empty folder to it."""
    with running(node):
        node("group", "create", GROUP)
        share(node, "films", SHARE, GROUP)


def add_entries(
    node: NodeProcess, first: int, end: int, *, on_disk: bool = True
) -> None:
    """Offer so many files more; the agent must not run.

    Not *on_disk* only the index has them. Then the share's folder must go as well: a
    scan that finds no folder takes nothing for deleted.
    """
    top = node.disk / "films"
    with opened_index(node) as index:
        listings: list[Listing] = []
        for start in range(first, end, IN_A_FOLDER):
            folder = f"album {start // IN_A_FOLDER:05}"
            numbers = range(start, min(end, start + IN_A_FOLDER))
            names = [f"Bréhat {number:07}.ogg" for number in numbers]
            if on_disk:
                (top / folder).mkdir(exist_ok=True)
                files = make_files(top / folder, names)
            else:
                files = [
                    (os.fsencode(name), 0, 10**18, number)
                    for name, number in zip(names, numbers, strict=True)
                ]
            listings.append(Listing((folder.encode(),), files))
            if len(listings) == FOLDERS_AT_ONCE:
                index.take_listings(SHARE, listings)
                listings = []
        index.take_listings(SHARE, listings)
        hash_all(index)


def make_files(folder: Path, names: list[str]) -> list[SeenFile]:
    """Make empty files; return how a scan sees them."""
    seen = []
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names:
            file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at)
            seen.append(seen_file(os.fsencode(name), os.fstat(file)))
            os.close(file)
    finally:
        os.close(at)
    return seen


def hash_all(index: IndexStore) -> None:
    """Leave the entries as if they had been hashed; nobody fetches them."""
    index._connection.execute("PRAGMA cache_size = -100000")  # roots come in any order
    for table in ("own_file", "entry"):
        index._connection.execute(
            f"UPDATE {table} SET root = randomblob(32) WHERE root IS NULL"
        )


@contextmanager
def opened_index(node: NodeProcess) -> Iterator[IndexStore]:
    """Open the index of a node whose agent does not run."""
    assert node.process is None
    me = load_or_create(node.folder / "state" / "keys", os.urandom).signer.node_id
    index = IndexStore(node.folder / "state" / "index.db", me, os.urandom)
    try:
        yield index
    finally:
        index.close()


def entries(index: IndexStore, *, own: bool) -> Iterator[tuple[object, ...]]:
    """All that the node itself offers, or all that others offer to it."""
    for top in index.browse():
        if top.own is own:
            for found in below(index, top):
                yield found.share, found.path, found.size, found.modified, found.root


def below(index: IndexStore, top: Found) -> Iterator[Found]:
    after = None
    while page := index.walk_folder(top, after, BATCH):
        yield from page
        after = page[-1].path


def assert_equal_catalogues(source: NodeProcess, receiver: NodeProcess) -> int:
    """Compare what *source* offers with the replica; return how many entries."""
    with opened_index(source) as ours, opened_index(receiver) as theirs:
        mine, replica = entries(ours, own=True), entries(theirs, own=False)
        count = 0
        while (page := list(islice(mine, BATCH))) or count == 0:
            assert list(islice(replica, BATCH)) == page
            count += len(page)
        assert next(replica, None) is None
    return count
