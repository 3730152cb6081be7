"""The folders of the own shares, and what is known to be in each.

Owns the table `own_folder`, and answers for the scanner what a folder held when it was
last seen. Runs on the store thread.
"""

import sqlite3
from collections.abc import Sequence

from fonshare_agent.index.database import transaction
from fonshare_agent.index.tree import Parts

# The table, and in it the column that says in what folder.
_FILES, _FOLDERS = ("own_file", "folder"), ("own_folder", "parent")


class OwnFolders:
    """The tree of folders below each own share."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def known_names(
        self, share: str, folder: Parts, after: bytes, limit: int, is_folder: bool
    ) -> list[bytes]:
        """Return the next names of files, or of folders, in *folder*, in order."""
        found = self.locate(share, folder)
        if found is None:
            return []
        table, column = _FOLDERS if is_folder else _FILES
        rows = self._connection.execute(
            f"SELECT name FROM {table} WHERE share = ? AND {column} = ? AND name > ?"
            " AND gone IS NULL ORDER BY name LIMIT ?",
            (*found, after, limit),
        )
        return [name for (name,) in rows]

    def mark_gone(
        self,
        share: str,
        folder: Parts,
        files: Sequence[bytes],
        folders: Sequence[bytes],
    ) -> None:
        """Mark what is no longer in *folder*; `drop_gone` then acts on it."""
        found = self.locate(share, folder)
        if found is None:
            return
        with transaction(self._connection):
            for (table, column), names in ((_FILES, files), (_FOLDERS, folders)):
                self._connection.executemany(
                    f"UPDATE {table} SET gone = 1"
                    f" WHERE share = ? AND {column} = ? AND name = ?",
                    [(*found, name) for name in names],
                )

    def locate(self, share: str, folder: Parts) -> tuple[int, int] | None:
        """Return the ids of *share* and of its *folder*."""
        row = self._connection.execute(
            "SELECT id FROM share WHERE name = ?", (share,)
        ).fetchone()
        if row is None:
            return None
        number = 0
        for name in folder:
            found = self._connection.execute(
                "SELECT id FROM own_folder WHERE share = ? AND parent = ? AND name = ?",
                (row[0], number, name),
            ).fetchone()
            if found is None:
                return None
            number = found[0]
        return row[0], number


class FolderIds:
    """The ids of one share's folders, remembered for one transaction."""

    def __init__(self, connection: sqlite3.Connection, share: int) -> None:
        self._connection = connection
        self._share = share
        self._known: dict[Parts, int] = {(): 0}  # 0: the share's top
        self._fresh: set[int] = set()  # made in this transaction
        self._empty: set[int] = set()

    def make(self, parts: Parts) -> int:
        """Return the id of a folder, making it if it is new."""
        known = self._known.get(parts)
        if known is None:
            parent = self.make(parts[:-1])
            known = self._known[parts] = self._make_child(parent, parts[-1])
        return known

    def is_empty(self, folder: int) -> bool:
        """Tell whether it is known without looking that no file is in *folder*."""
        return folder in self._empty

    def note_filled(self, folder: int) -> None:
        self._empty.discard(folder)

    def count_in(self, folder: int) -> int:
        """Return how many folders are known in *folder* itself."""
        (folders,) = self._connection.execute(
            "SELECT count(*) FROM own_folder WHERE share = ? AND parent = ?"
            " AND gone IS NULL",
            (self._share, folder),
        ).fetchone()
        return int(folders)

    def _make_child(self, parent: int, name: bytes) -> int:
        key = (self._share, parent, name)
        # A folder that was just made has none, and needs not be asked.
        row = None
        if parent not in self._fresh:
            row = self._connection.execute(
                "SELECT id, gone FROM own_folder"
                " WHERE share = ? AND parent = ? AND name = ?",
                key,
            ).fetchone()
        if row is None:
            cursor = self._connection.execute(
                "INSERT INTO own_folder (share, parent, name) VALUES (?, ?, ?)", key
            )
            number = cursor.lastrowid or 0
            self._fresh.add(number)
            self._empty.add(number)
            return number
        if row[1] is not None:
            self._connection.execute(
                "UPDATE own_folder SET gone = NULL WHERE id = ?", (row[0],)
            )
        return int(row[0])


class FolderPaths:
    """Paths of own folders, remembered for one transaction."""

    QUERY = "SELECT parent, name FROM own_folder WHERE id = ?"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, Parts] = {0: ()}

    def parts(self, folder: int) -> Parts:
        known = self._known.get(folder)
        if known is None:
            parent, name = self._connection.execute(self.QUERY, (folder,)).fetchone()
            known = (*self.parts(parent), name)
            self._known[folder] = known
        return known
