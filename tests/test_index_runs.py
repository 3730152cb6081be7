"""Entries that were numbered together are found again, page by page."""

import random
import sqlite3
from pathlib import Path

import pytest

import fonshare_agent.index
from fonshare_agent.index.runs import Runs, entries_after

SCHEMA = Path(fonshare_agent.index.__file__).parent / "schema" / "index-0001.sql"


@pytest.fixture
def connection():
    with sqlite3.connect(":memory:", isolation_level=None) as opened:
        opened.executescript(SCHEMA.read_text("utf-8"))
        yield opened
    opened.close()


class Log:
    """The entries of one catalogue with their numbers, as `Offering` gives them."""

    def __init__(self, connection, catalogue=1):
        self.connection, self.catalogue = connection, catalogue
        self.head = 0
        self.numbers = {}  # by id
        self.runs = Runs(connection, catalogue)

    def _insert(self, seq):
        name = b"%d-%d" % (self.catalogue, len(self.numbers))
        cursor = self.connection.execute(
            "INSERT INTO entry (catalogue, folder, name, size, modified, seq)"
            " VALUES (?, ?, ?, 1, 1, ?)",
            (self.catalogue, self.head, name, seq),
        )
        return cursor.lastrowid

    def add(self, count, *, together):
        first = None
        for number in range(self.head + 1, self.head + count + 1):
            entry = self._insert(None if together else number)
            self.numbers[entry] = number
            first = first or entry
        if together:
            self.runs.add(self.head + 1, first, count)
            self.runs.close()
        self.head += count

    def renumber(self, entry):
        self.head += 1
        self.numbers[entry] = self.head
        self.connection.execute(
            "UPDATE entry SET seq = ? WHERE id = ?", (self.head, entry)
        )

    def remove(self, entry):
        self.head += 1  # the tombstone's
        del self.numbers[entry]
        self.connection.execute("DELETE FROM entry WHERE id = ?", (entry,))

    def page(self, after, limit):
        rows = entries_after(self.connection, self.catalogue, after, limit)
        return sorted(row[0] for row in rows)[:limit]


@pytest.mark.parametrize("seed", range(6))
def test_no_page_misses_a_number_whatever_became_of_the_runs(connection, seed):
    rng = random.Random(seed)
    log, other = Log(connection), Log(connection, 2)
    for _ in range(40):
        kind = rng.randrange(5)
        if kind == 0 or not log.numbers:
            log.add(rng.randint(1, 6), together=True)
        elif kind == 1:
            log.add(rng.randint(1, 4), together=False)
        elif kind == 2:
            other.add(rng.randint(1, 3), together=rng.random() < 0.5)
        else:
            for entry in rng.sample(list(log.numbers), min(3, len(log.numbers))):
                (log.renumber if kind == 3 else log.remove)(entry)
    for one in (log, other):
        numbers = sorted(one.numbers.values())
        for after in range(one.head + 2):
            for limit in (1, 2, 3, 5, 100):
                left = [number for number in numbers if number > after]
                assert one.page(after, limit) == left[:limit]


def test_a_page_does_not_look_through_runs_of_later_pages(connection):
    """Most of a run is numbered again soon, when its files have their hashes."""
    log = Log(connection)
    log.add(50, together=False)
    log.add(5000, together=True)
    for entry in range(51, 5051):
        log.renumber(entry)
    steps = 0

    def count():
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 10)
    assert log.page(0, 5) == [1, 2, 3, 4, 5]
    connection.set_progress_handler(None, 0)
    assert steps < 100
