"""Opening databases on a disk that may be pulled: index/database.py."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from fonshare_agent.errors import (
    DatabaseDamaged,
    DatabaseInUse,
    DatabaseTooNew,
    DiskFull,
    StorageError,
)
from fonshare_agent.index.database import (
    close_database,
    open_database,
    transaction,
    translated,
)

FIRST = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name BLOB) STRICT;"
SECOND = "ALTER TABLE thing ADD COLUMN size INTEGER;"


@pytest.fixture
def schemas(tmp_path):
    folder = tmp_path / "schema"
    folder.mkdir()
    (folder / "index-0001.sql").write_text(FIRST)
    return folder


@pytest.fixture
def opened(tmp_path, schemas):
    """Opens databases with the test's schema and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def open_one(path=tmp_path / "index.db", **options):
            options = {"synchronous": "NORMAL", "journal": "WAL"} | options
            connection = open_database(path, "index", schema_folder=schemas, **options)
            stack.callback(connection.close)
            return connection

        yield open_one


def fill(connection, rows=2000):
    with transaction(connection):
        connection.executemany(
            "INSERT INTO thing(name) VALUES (?)",
            [(b"name %d" % number * 9,) for number in range(rows)],
        )


def setting(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_database_has_its_mark_its_version_and_no_shared_memory(opened, tmp_path):
    connection = opened()
    fill(connection)

    assert setting(connection, "application_id") == int.from_bytes(b"Foni", "big")
    assert setting(connection, "user_version") == 1
    assert setting(connection, "journal_mode") == "wal"
    assert setting(connection, "locking_mode") == "exclusive"
    assert setting(connection, "mmap_size") == 0
    assert setting(connection, "cache_size") < 0
    names = {path.name for path in tmp_path.iterdir()} - {"schema"}
    assert names == {"index.db", "index.db-wal"}
    assert (tmp_path / "index.db").stat().st_mode & 0o777 == 0o600


def test_a_second_agent_is_kept_out(opened, tmp_path):
    opened()
    code = (
        "import sys; from pathlib import Path\n"
        "from fonshare_agent.index.database import open_database\n"
        "open_database(Path(sys.argv[1]), 'index', synchronous='NORMAL',"
        " journal='WAL', schema_folder=Path(sys.argv[2]))"
    )
    arguments = [str(tmp_path / "index.db"), str(tmp_path / "schema")]
    other = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True
    )
    assert DatabaseInUse.__name__ in other.stderr


def test_old_databases_are_migrated_step_by_step_and_backed_up(
    opened, schemas, tmp_path
):
    connection = opened()
    fill(connection)
    close_database(connection, tmp_path / "index.db")
    (schemas / "index-0002.sql").write_text(SECOND)

    migrated, fresh = opened(), opened(tmp_path / "fresh.db")

    shape = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    assert migrated.execute(shape).fetchall() == fresh.execute(shape).fetchall()
    assert setting(migrated, "user_version") == 2
    assert migrated.execute("SELECT count(*) FROM thing").fetchone() == (2000,)
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db.before-2")) as backup:
        assert setting(backup, "user_version") == 1
        assert backup.execute("SELECT count(*) FROM thing").fetchone() == (2000,)


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    opened, schemas, tmp_path
):
    close_database(opened(), tmp_path / "index.db")
    (schemas / "index-0002.sql").write_text(SECOND + "INSERT INTO nothing VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        opened()
    (schemas / "index-0002.sql").unlink()

    connection = opened()

    assert setting(connection, "user_version") == 1
    assert len(connection.execute("PRAGMA table_info(thing)").fetchall()) == 2


def test_a_database_of_a_newer_version_is_refused_and_not_touched(
    opened, schemas, tmp_path
):
    (schemas / "index-0002.sql").write_text(SECOND)
    close_database(opened(), tmp_path / "index.db")
    (schemas / "index-0002.sql").unlink()
    before = (tmp_path / "index.db").read_bytes()

    with pytest.raises(DatabaseTooNew, match="version is 2, this one knows 1"):
        opened()

    assert (tmp_path / "index.db").read_bytes() == before


def test_a_cache_of_a_newer_version_is_made_anew_and_the_reason_told(
    opened, schemas, tmp_path
):
    """Who goes back to an older version has a service that runs."""
    (schemas / "index-0002.sql").write_text(SECOND)
    newer, reasons = opened(), []
    fill(newer)
    close_database(newer, tmp_path / "index.db")
    (schemas / "index-0002.sql").unlink()

    older = opened(on_damage=reasons.append)

    [reason] = reasons
    assert reason.endswith("(its version is 2, this one knows 1)")
    assert setting(older, "user_version") == 1
    assert older.execute("SELECT count(*) FROM thing").fetchone() == (0,)
    fill(older)
    close_database(older, tmp_path / "index.db")
    (schemas / "index-0002.sql").write_text(SECOND)
    again = opened(on_damage=pytest.fail)
    assert setting(again, "user_version") == 2
    assert again.execute("SELECT count(*) FROM thing").fetchone() == (2000,)


def test_another_programs_database_is_refused_and_not_touched(opened, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("PRAGMA application_id = 99")
    before = (tmp_path / "index.db").read_bytes()

    with pytest.raises(StorageError, match="another program"):
        opened(on_damage=pytest.fail)

    assert (tmp_path / "index.db").read_bytes() == before


def noise(content):
    return bytes((byte * 7 + place) % 251 for place, byte in enumerate(content))


DAMAGES = {
    "cut in half": lambda content: content[: len(content) // 2],
    "cut off inside a page": lambda content: content[:5000],
    "noise": noise,
    "noise after the header": lambda content: content[:4096] + noise(content[4096:]),
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_rebuilt_and_the_reason_told(opened, tmp_path, damage):
    path = tmp_path / "index.db"
    connection = opened()
    fill(connection)
    close_database(connection, path)
    path.write_bytes(damage(path.read_bytes()))
    reasons = []

    rebuilt = opened(on_damage=reasons.append)

    assert len(reasons) == 1
    assert reasons[0].startswith("index.db")
    assert rebuilt.execute("SELECT count(*) FROM thing").fetchone() == (0,)
    fill(rebuilt)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_never_rebuilt(opened, tmp_path, damage):
    path = tmp_path / "index.db"
    connection = opened(synchronous="FULL", journal="DELETE")
    fill(connection)
    close_database(connection, path)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)

    with pytest.raises(DatabaseDamaged):
        opened(synchronous="FULL", journal="DELETE")

    assert path.read_bytes() == damaged


def test_damage_of_the_same_size_and_second_is_found_after_an_unclean_end(
    opened, tmp_path
):
    path = tmp_path / "index.db"
    connection = opened()
    fill(connection)
    connection.close()  # without the note of close_database
    path.write_bytes(DAMAGES["noise after the header"](path.read_bytes()))
    reasons = []

    opened(on_damage=reasons.append)

    assert reasons


def test_the_note_of_a_clean_end_serves_once(opened, tmp_path):
    note = tmp_path / "index.db-clean"
    close_database(opened(), tmp_path / "index.db")
    assert note.exists()

    opened()

    assert not note.exists()


def test_what_a_crash_left_beside_a_new_database_is_not_replayed_into_it(
    opened, tmp_path
):
    connection = opened()
    fill(connection)
    wal = (tmp_path / "index.db-wal").read_bytes()
    connection.close()
    (tmp_path / "index.db").unlink()
    (tmp_path / "index.db-wal").write_bytes(wal)
    (tmp_path / "index.db.new").write_bytes(b"half made")

    fresh = opened()

    assert fresh.execute("SELECT count(*) FROM thing").fetchone() == (0,)
    assert not (tmp_path / "index.db.new").exists()


def test_a_failed_transaction_changes_nothing_and_the_next_one_works(opened):
    connection = opened()

    with contextlib.suppress(ZeroDivisionError), transaction(connection):
        connection.execute("INSERT INTO thing(name) VALUES (x'00')")
        raise ZeroDivisionError
    fill(connection, 3)

    assert connection.execute("SELECT count(*) FROM thing").fetchone() == (3,)


def test_a_full_disk_is_told_apart_from_damage(opened, tmp_path):
    connection = opened()
    connection.execute("PRAGMA max_page_count = 4")

    def fill_up():
        with translated(tmp_path / "index.db"):
            fill(connection)

    with pytest.raises(DiskFull):
        fill_up()

    assert not connection.in_transaction


def test_a_folder_that_is_not_there_is_a_storage_error(opened, tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        opened(tmp_path / "missing" / "index.db")
