"""state.db as each older version has left it: all that was in it is in it still."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from fonshare_agent.index import database
from fonshare_agent.index.state import StateStore

STEPS = sorted(database.SCHEMA_FOLDER.glob("state-*.sql"))
VALUES = {"INTEGER": 1, "TEXT": "1", "BLOB": b"\x01"}
Rows = dict[str, tuple[list[str], list[tuple[object, ...]]]]


def older(path: Path, version: int) -> Rows:
    """Make a state.db by the first migrations alone; return what it was filled with."""
    schema = path.with_name("schema")
    schema.mkdir()
    for step in STEPS[:version]:
        shutil.copy(step, schema)
    connection = database.open_database(
        path, "state", synchronous="FULL", schema_folder=schema
    )
    rows: Rows = {}
    for table in tables(connection):
        columns, values = zip(*kinds(connection, table), strict=True)
        marks = ", ".join("?" * len(columns))
        connection.execute(f"REPLACE INTO {table} VALUES ({marks})", values)
        rows[table] = (list(columns), [values])
    database.close_database(connection, path)
    return rows


def tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in found.fetchall()]


def kinds(connection: sqlite3.Connection, table: str) -> list[tuple[str, object]]:
    """Return each column of a table with a value that it takes."""
    found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [(name, VALUES[kind]) for _, name, kind, *_ in found]


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
def test_an_upgrade_keeps_every_row_of_an_older_state(tmp_path, version):
    path = tmp_path / "state.db"
    before = older(path, version)
    assert len(before) >= 7

    StateStore(path, "disk", clock=lambda: 0.0).close()

    with contextlib.closing(sqlite3.connect(path)) as after:
        assert after.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        assert after.execute("PRAGMA foreign_key_check").fetchall() == []
        for table, (columns, rows) in before.items():
            shown = ", ".join(columns)
            assert after.execute(f"SELECT {shown} FROM {table}").fetchall() == rows
        assert schema_of(after) == fresh_schema(tmp_path)
    copy = tmp_path / f"state.db.before-{version + 1}"
    assert copy.exists() == (version < len(STEPS))
    if copy.exists():
        with contextlib.closing(sqlite3.connect(copy)) as kept:
            assert kept.execute("PRAGMA user_version").fetchone() == (version,)


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    sql = "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name"
    return connection.execute(sql).fetchall()


def fresh_schema(folder: Path) -> list[tuple[str, str]]:
    path = folder / "fresh.db"
    StateStore(path, "disk", clock=lambda: 0.0).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return schema_of(connection)


def test_a_migration_that_fails_leaves_the_older_state_as_it_was(tmp_path):
    """As a newer version's might, on a router whose disk is full."""
    path = tmp_path / "state.db"
    older(path, 2)
    schema = tmp_path / "broken"
    schema.mkdir()
    for step in STEPS[:2]:
        shutil.copy(step, schema)
    (schema / "state-0003.sql").write_text(
        "CREATE TABLE half (a INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"
    )

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        database.open_database(path, "state", synchronous="FULL", schema_folder=schema)

    with contextlib.closing(sqlite3.connect(path)) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (2,)
        assert "half" not in tables(kept)
    StateStore(path, "disk", clock=lambda: 0.0).close()  # the next good one goes on
