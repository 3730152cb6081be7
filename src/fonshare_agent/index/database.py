"""Opens SQLite databases that live on a disk which may be pulled at any moment.

Owns: creation, numbered migrations, the integrity check, the pragmas, and the
translation of SQLite's errors into ours. Rules it keeps:

- No shared memory and no mmap: a page fault on a pulled disk would kill the process.
  Exclusive locking is therefore set before the journal mode is touched; it also keeps
  a second agent out. A database has one connection.
- A new database is built beside its place and renamed there, so a half-made one is
  never found.
- Only a cache (`on_damage` given) is ever rebuilt, when damaged or of a newer version;
  anything else, and another program's, raises and stays.

It must not know what the tables mean: that is in schema/NAME-NNNN.sql and its users.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from fonshare_agent.errors import (
    DatabaseDamaged,
    DatabaseInUse,
    DatabaseTooNew,
    DiskFull,
    StorageError,
)

SCHEMA_FOLDER = Path(__file__).parent / "schema"
# Page cache of each database: the router has 64 MB for everything. A scan is no quicker
# with more (docs/decisions/0094).
CACHE_KIB = 512
# Compiled statements take some 4 KB each. Scanning, hashing and searching need up to 24
# at a time, and compile nothing twice with so many.
STATEMENTS_KEPT = 32
# The log is copied into the database, which syncs both, each time it has grown so far:
# a page that many transactions change is then copied once. 32 KiB of memory.
WAL_PAGES = 4000
WAL_KEPT_BYTES = 16 << 20  # a log grown by one large transaction is cut back to this
_SIDECARS = ("-journal", "-wal", "-shm")
_CLEAN_SUFFIX = "-clean"
# Extended result codes carry the primary one in their low byte.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Synchronous = Literal["NORMAL", "FULL", "EXTRA"]
Journal = Literal["DELETE", "WAL"]


def open_database(
    path: Path,
    schema_name: str,
    *,
    synchronous: Synchronous,
    on_damage: Callable[[str], None] | None = None,
    journal: Journal = "DELETE",
    cache_kib: int = CACHE_KIB,
    schema_folder: Path = SCHEMA_FOLDER,
) -> sqlite3.Connection:
    """Open *path*, making or migrating it as schema/SCHEMA_NAME-*.sql say.

    The connection is in autocommit mode (use `transaction`) and may be handed from
    thread to thread, but used by one at a time. With *on_damage* the database is a
    cache: what keeps it from being used is reported to it, then it is made anew.
    Without, that raises DatabaseDamaged or DatabaseTooNew, and the file stays.
    """
    steps = _migrations(schema_name, schema_folder)
    with translated_os(path):
        try:
            return _open(path, schema_name, steps, synchronous, journal, cache_kib)
        except (DatabaseDamaged, DatabaseTooNew) as error:
            if on_damage is None:
                raise
            on_damage(str(error))
            _create(path, schema_name, steps)
        return _open(path, schema_name, steps, synchronous, journal, cache_kib)


def close_database(connection: sqlite3.Connection, path: Path) -> None:
    """Close *connection*, noting that nothing was left unfinished.

    The note spares the next start the integrity check. On a lost disk the note (or
    the close) fails quietly: the next start checks.
    """
    try:
        connection.close()
        note = _fingerprint(path)
    except (sqlite3.Error, OSError):
        return
    with contextlib.suppress(OSError):
        _beside(path, _CLEAN_SUFFIX).write_text(note)


def discard_database(path: Path) -> None:
    """Delete a cache that is damaged and closed, with all that belongs to it."""
    with translated_os(path):
        for suffix in ("", *_SIDECARS, _CLEAN_SUFFIX):
            _beside(path, suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def translated_os(path: Path) -> Iterator[None]:
    """Turn the system's errors into StorageErrors."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path.name}: {error.strerror}", thing=str(path)) from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, all of it or, if it raises, nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full or lost disk makes SQLite roll back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the disk or the file into StorageErrors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    """Return ours for *error*; a mistake of ours in SQL stays what it is."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    what = f"{path.name}: {error}"
    if primary in _DAMAGED:
        return DatabaseDamaged(what, thing=str(path))
    if primary == sqlite3.SQLITE_FULL:
        return DiskFull(what, thing=str(path))
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseInUse(f"{path.name} is used by another agent", thing=str(path))
    if primary in (
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ):
        return StorageError(what, thing=str(path))
    return error


def _migrations(schema_name: str, folder: Path) -> list[str]:
    """Return the migrations' SQL; number N takes a database from N-1 to N."""
    pattern = re.compile(re.escape(schema_name) + r"-(\d{4})\.sql")
    found = {
        int(match[1]): file
        for file in folder.iterdir()
        if (match := pattern.fullmatch(file.name))
    }
    if sorted(found) != list(range(1, len(found) + 1)) or not found:
        raise ValueError(f"migrations of {schema_name!r} are not numbered 1, 2, 3, …")
    return [found[number].read_text("utf-8") for number in sorted(found)]


def _application_id(schema_name: str) -> int:
    # Shown by file(1) and checked here: "Fon" and the schema's first letter.
    return int.from_bytes(b"Fon" + schema_name[:1].encode(), "big")


def _open(
    path: Path,
    schema_name: str,
    steps: list[str],
    synchronous: Synchronous,
    journal: Journal,
    cache_kib: int,
) -> sqlite3.Connection:
    if not path.exists():
        _create(path, schema_name, steps)
    is_checked = _take_clean_note(path)
    connection = _connect(path)
    try:
        with translated(path):
            with _unreadable_is_damaged(path):
                _hold(connection)
                _check_header(connection, path, schema_name, len(steps))
                _set_up(connection, synchronous, journal, cache_kib)
                if journal == "DELETE" or not is_checked:
                    _check_integrity(connection, path, is_thorough=journal == "DELETE")
            _migrate(connection, path, steps)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    with translated(path):
        return sqlite3.connect(
            path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_KEPT,
        )


@contextlib.contextmanager
def _unreadable_is_damaged(path: Path) -> Iterator[None]:
    """A header that says nonsense is a plain error to SQLite."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
            raise
        raise DatabaseDamaged(f"{path.name}: {error}", thing=str(path)) from error


def _hold(connection: sqlite3.Connection) -> None:
    # Exclusive before anything is read: SQLite then keeps the WAL index on the heap
    # (sqlite.org/wal.html section 8), and never creates or maps a -shm file.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    connection.execute("PRAGMA mmap_size = 0").fetchall()


def _set_up(
    connection: sqlite3.Connection,
    synchronous: Synchronous,
    journal: Journal,
    cache_kib: int,
) -> None:
    for setting in (
        f"cache_size = -{cache_kib}",
        "temp_store = MEMORY",  # /tmp is memory on the router anyway
        f"journal_mode = {journal}",
        f"synchronous = {synchronous}",
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"journal_size_limit = {WAL_KEPT_BYTES}",
        "foreign_keys = ON",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    # The lock is taken by the first write and then kept: take it before starting.
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")


def _check_header(
    connection: sqlite3.Connection, path: Path, schema_name: str, known: int
) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    )
    if application == 0 and version == 0:
        raise DatabaseDamaged(f"{path.name} is empty", thing=str(path))
    if application != _application_id(schema_name) or version > known:
        # Noise looks like anything: only a sound database can be somebody else's.
        _check_integrity(connection, path, is_thorough=False)
    if application != _application_id(schema_name):
        raise StorageError(
            f"{path.name} belongs to another program",
            thing=str(path),
            next="Move that file away and start again.",
        )
    if version > known:
        raise DatabaseTooNew(
            f"{path.name} was written by a newer FonShare (its version is {version},"
            f" this one knows {known})",
            thing=str(path),
        )


def _check_integrity(
    connection: sqlite3.Connection, path: Path, *, is_thorough: bool
) -> None:
    # quick_check leaves out the comparison of indexes with their tables: reading a
    # cache of a million entries twice would keep the router's disk busy for minutes.
    kind = "integrity_check" if is_thorough else "quick_check"
    for (verdict,) in connection.execute(f"PRAGMA {kind}(1)"):
        if verdict != "ok":
            raise DatabaseDamaged(f"{path.name}: {verdict}", thing=str(path))


def _migrate(connection: sqlite3.Connection, path: Path, steps: list[str]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if 0 < version < len(steps):
        _back_up(connection, path, version)
    for number in range(version + 1, len(steps) + 1):
        # executescript would commit a transaction begun outside the script.
        script = f"BEGIN;\n{steps[number - 1]}\nPRAGMA user_version = {number};\nCOMMIT"
        try:
            connection.executescript(script)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    target = _beside(path, f".before-{version + 1}")
    target.unlink(missing_ok=True)
    with contextlib.closing(_connect(target)) as copy:
        connection.backup(copy)
    _sync_file(target)
    _sync_folder(path.parent)


def _create(path: Path, schema_name: str, steps: list[str]) -> None:
    """Make the database beside *path* and rename it there.

    What an old one left goes first: SQLite would replay its journal into the new file.
    """
    new = _beside(path, ".new")
    _remove(new)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with translated(path), contextlib.closing(_connect(new)) as connection:
        connection.execute(f"PRAGMA application_id = {_application_id(schema_name)}")
        _migrate(connection, path, steps)
    for suffix in (*_SIDECARS, _CLEAN_SUFFIX):
        _beside(path, suffix).unlink(missing_ok=True)
    _sync_file(new)
    new.replace(path)
    _sync_folder(path.parent)


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDECARS):
        _beside(path, suffix).unlink(missing_ok=True)


def _take_clean_note(path: Path) -> bool:
    """Remove the note of a clean close; tell whether it fitted this very file."""
    note = _beside(path, _CLEAN_SUFFIX)
    try:
        text = note.read_text()
    except (OSError, UnicodeDecodeError):
        return False
    has_leftovers = any(_beside(path, suffix).exists() for suffix in _SIDECARS)
    fits = not has_leftovers and _fits(text, path)
    note.unlink(missing_ok=True)
    # Durable before the first write: later damage must not find the note again.
    _sync_folder(path.parent)
    return fits


def _fingerprint(path: Path) -> str:
    info = path.stat()
    return f"{info.st_size} {info.st_mtime_ns}"


def _fits(note: str, path: Path) -> bool:
    if note == _fingerprint(path):
        return True
    # FAT keeps even seconds: after a remount the finer part of the time is gone.
    size, _, modified_ns = note.partition(" ")
    info = path.stat()
    is_coarse = info.st_mtime_ns % 2_000_000_000 == 0
    return (
        is_coarse
        and size == str(info.st_size)
        and modified_ns.isdecimal()
        and int(modified_ns) // 2_000_000_000 == info.st_mtime_ns // 2_000_000_000
    )


def device_of(path: Path) -> int | None:
    """Return what disk the folder of *path* is on; None if it is not there."""
    try:
        return path.parent.stat().st_dev
    except OSError:
        return None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some file systems (FAT over FUSE) cannot sync a folder; they order it so.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
