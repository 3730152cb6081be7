"""The two alternating backups of state.db, and the way back from them.

Owns `state.db.backup-1` and `-2`. Rules kept: a backup is complete, synced and verified
before it takes its place, so one good one always exists; it carries no life, so that
whoever is brought back from it begins a new incarnation; a damaged state.db is put
aside, not deleted. Must not know what the tables mean, but for `meta`.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from fonshare_agent.errors import DatabaseDamaged, StorageError
from fonshare_agent.index.database import open_database, transaction, translated

SCHEMA: Final = "state"
SLOTS: Final = ("backup-1", "backup-2")
ASIDE: Final = "damaged"
_SIDECARS: Final = ("", "-journal", "-wal", "-shm", "-clean")


def open_or_recover(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """Open state.db; if damaged or gone, from the newest good backup, else a new one.

    Returns the connection and, when something was lost, one line that says what.
    """
    try:
        if path.exists() or not any(_slot(path, name).exists() for name in SLOTS):
            return _open(path), None
        reason = f"{path.name} is gone"
    except DatabaseDamaged as damage:
        reason = str(damage)
    _put_aside(path)
    for backup in _newest_first(path):
        _copy(backup, path)
        return _open(path), f"{reason}; brought back from {backup.name}"
    return _open(path), f"{reason}; no backup is good, so it begins anew"


def back_up(connection: sqlite3.Connection, path: Path) -> None:
    """Replace the older of the two backups by what *connection* holds now."""
    with translated(path), transaction(connection):
        connection.execute("UPDATE meta SET backup = backup + 1")
    (number,) = connection.execute("SELECT backup FROM meta").fetchone()
    new = path.with_name(path.name + ".backup-new")
    _remove(new)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with translated(path), contextlib.closing(sqlite3.connect(new)) as copy:
        connection.backup(copy)
        copy.execute("UPDATE meta SET life = NULL, place = NULL")
        copy.commit()
    _open(new).close()  # verified: integrity_check over what really is on the disk
    _sync(new)
    new.replace(_slot(path, SLOTS[number % 2]))
    _sync(path.parent)


def _open(path: Path) -> sqlite3.Connection:
    return open_database(path, SCHEMA, synchronous="FULL")


def _newest_first(path: Path) -> list[Path]:
    """Return the backups that are good, the newest first."""
    found = []
    for slot in (_slot(path, name) for name in SLOTS):
        if not slot.exists():
            continue
        try:
            with contextlib.closing(_open(slot)) as backup:
                (number,) = backup.execute("SELECT backup FROM meta").fetchone()
        except DatabaseDamaged:
            continue
        found.append((number, slot))
    return [slot for _, slot in sorted(found, reverse=True)]


def _copy(backup: Path, path: Path) -> None:
    # Imported here: it brings compressors, and copies are made back once in years.
    import shutil

    new = path.with_name(path.name + ".new")
    try:
        _remove(new)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        shutil.copyfile(backup, new)
        _sync(new)
        new.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", thing=str(path)) from None


def _put_aside(path: Path) -> None:
    """Move the damaged file, with its journal, out of the way; keep the last one."""
    for suffix in _SIDECARS:
        old = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            old.replace(path.with_name(f"{path.name}.{ASIDE}{suffix}"))


def _remove(path: Path) -> None:
    for suffix in _SIDECARS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _slot(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}")


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
