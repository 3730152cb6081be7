"""The tables of follows in state.db: what is followed, what was seen and fetched.

Part of StateStore, under its rules: each method is one transaction, durable when it
returns. Must not know how anything is found or fetched.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fonshare_agent.errors import UsageError
from fonshare_agent.index.state_ended import UNRECORDED
from fonshare_agent.index.state_tables import Tables
from fonshare_agent.model import ENDED, GroupId, NodeId, SharePath

FOLLOWS_MAX: Final = 50
_COLUMNS: Final = (
    "number, id, grp, member, share, path, budget, wants_all, ready, folder"
)
FILE_BYTES_MIN: Final = 4096  # a block of the disk, and rows: no file is for nothing
_ENDED: Final = ", ".join(f"'{state.value}'" for state in ENDED)
# As `charge`, of sizes that can be added up: what a friend says may be anything.
_CHARGE: Final = f"max(min(size, {1 << 50}), {FILE_BYTES_MIN})"


def charge(size: int) -> int:
    """Return what a file of *size* bytes takes of a budget."""
    return max(size, FILE_BYTES_MIN)


@dataclass(frozen=True, slots=True)
class Follow:
    """One standing wish. The store sets `number`, and `ready` when it is told."""

    number: int
    id: str
    group: GroupId
    member: NodeId
    share: str
    path: SharePath | None  # None: the whole share
    budget: int  # bytes
    wants_all: bool  # also what was there at the beginning
    is_ready: bool = False  # that has been gone through
    folder: bytes | None = None  # of a kept place: where its files go, below the disk

    def covers(self, share: str, path: SharePath) -> bool:
        """Whether that file lies in what is followed."""
        top = self.path.parts if self.path else ()
        return share == self.share and path.parts[: len(top)] == top


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that a follow's job has put there. `place` is below the disk."""

    number: int
    job: str
    place: bytes
    size: int
    modified: int


class FollowTables(Tables):
    """Follows, and what each has seen and fetched."""

    def all(self) -> list[Follow]:
        """Return all follows, at most FOLLOWS_MAX, oldest first."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM follow ORDER BY number")
        return [_follow(row) for row in rows]

    def put(self, follow: Follow) -> None:
        """Keep a follow; the one of that place gets the new budget."""
        if follow.budget < FILE_BYTES_MIN:
            raise UsageError(
                f"a budget of {follow.budget} bytes is used before the first file:"
                f" each takes at least {FILE_BYTES_MIN}",
                thing="budget",
                next="Give a size with its unit, as in `--budget 20G`.",
            )
        with self._transaction():
            if self._rows("SELECT 1 FROM follow WHERE id = ?", (follow.id,)):
                self._write(
                    "UPDATE follow SET budget = ? WHERE id = ?",
                    (follow.budget, follow.id),
                )
                return
            ((count,),) = self._rows("SELECT count(*) FROM follow")
            if count >= FOLLOWS_MAX:
                raise UsageError(
                    f"{FOLLOWS_MAX} places are followed, which is the most",
                    next="End one with `fonshare unfollow`.",
                )
            self._write(
                "INSERT INTO follow (id, grp, member, share, path, budget, wants_all,"
                " folder) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(follow.id, follow.group, follow.member, follow.share),
                    *(follow.path.raw if follow.path else b"", follow.budget),
                    *(int(follow.wants_all), follow.folder),
                ),
            )

    def set_ready(self, follow: Follow) -> None:
        """What was there at the beginning has been gone through."""
        self._write("UPDATE follow SET ready = 1 WHERE number = ?", (follow.number,))

    def remove(self, follow: Follow) -> None:
        """Forget a follow; what it has fetched is the owner's from now on."""
        with self._transaction():
            self._write("UPDATE job SET follow = NULL WHERE follow = ?", (follow.id,))
            self._write("DELETE FROM follow WHERE number = ?", (follow.number,))

    # --- what is not new any more ---

    def unseen(self, follow: Follow, tags: Iterable[int]) -> set[int]:
        """Return those of *tags* that are new."""
        sql = "SELECT 1 FROM follow_seen WHERE follow = ? AND tag = ?"
        return {tag for tag in tags if not self._rows(sql, (follow.number, tag))}

    def was_fetched(self, tag: int) -> bool:
        """Whether any follow has brought that content here."""
        sql = "SELECT 1 FROM follow_seen WHERE fetched AND tag = ? LIMIT 1"
        return bool(self._rows(sql, (tag,)))

    def note_seen(
        self, follow: Follow, tags: Iterable[int], *, is_fetched: bool = False
    ) -> None:
        """From now on *tags* are not new; nothing if the follow has ended."""
        sql = (
            "INSERT INTO follow_seen (follow, tag, fetched)"
            " SELECT number, ?, ? FROM follow WHERE number = ? ON CONFLICT DO NOTHING"
        )
        with self._transaction():
            for tag in tags:
                self._write(sql, (tag, int(is_fetched), follow.number))

    def forget_seen(self, follow: Follow, tags: Iterable[int]) -> None:
        """From now on *tags* are new again."""
        sql = "DELETE FROM follow_seen WHERE follow = ? AND tag = ?"
        with self._transaction():
            for tag in tags:
                self._write(sql, (follow.number, tag))

    # --- what it holds ---

    def used_bytes(self, follow: Follow) -> int:
        """Return what its files take, with what its jobs are to bring."""
        ((held,),) = self._rows(
            f"SELECT coalesce(sum({_CHARGE}), 0) FROM follow_file WHERE follow = ?",
            (follow.number,),
        )
        ((coming,),) = self._rows(
            f"SELECT coalesce(sum({_CHARGE}), 0) FROM job WHERE follow = ?"
            f" AND (state NOT IN ({_ENDED}) OR {UNRECORDED})",
            (follow.id,),
        )
        return int(held) + int(coming)

    def open_jobs(self, follow: Follow) -> list[str]:
        """Return the ids of its jobs that have not ended."""
        rows = self._rows(
            f"SELECT id FROM job WHERE follow = ? AND state NOT IN ({_ENDED})",
            (follow.id,),
        )
        return [job for (job,) in rows]

    def unrecorded_jobs(self) -> list[str]:
        """Return the done jobs of follows whose files are not on record yet."""
        rows = self._rows(
            f"SELECT id FROM job WHERE follow IS NOT NULL AND {UNRECORDED}"
        )
        return [job for (job,) in rows]

    def add_file(self, follow: str, file: Fetched) -> None:
        """Put a file on record that a job of *follow* has brought; once."""
        self._write(
            "INSERT INTO follow_file (follow, job, place, size, modified)"
            " SELECT number, ?, ?, ?, ? FROM follow WHERE id = ?"
            " ON CONFLICT DO NOTHING",
            (file.job, file.place, file.size, file.modified, follow),
        )

    def files(self, follow: Follow, after: int = 0, limit: int = 100) -> list[Fetched]:
        """Return files on record, oldest first, those behind number *after*."""
        rows = self._rows(
            "SELECT number, job, place, size, modified FROM follow_file"
            " WHERE follow = ? AND number > ? ORDER BY number LIMIT ?",
            (follow.number, after, limit),
        )
        return [Fetched(*row) for row in rows]

    def count_files(self, follow: Follow) -> int:
        ((count,),) = self._rows(
            "SELECT count(*) FROM follow_file WHERE follow = ?", (follow.number,)
        )
        return int(count)

    def claim(self, job: str) -> None:
        """What *job* brings, or has brought, is no more the follow's."""
        with self._transaction():
            self._write("UPDATE job SET follow = NULL WHERE id = ?", (job,))
            self._write("DELETE FROM follow_file WHERE job = ?", (job,))


def _follow(row: tuple[Any, ...]) -> Follow:
    number, entry, group, member, share, path, budget, wants_all, *rest = row
    ready, folder = rest
    return Follow(
        number,
        entry,
        GroupId(group),
        NodeId(member),
        share,
        SharePath.parse(path) if path else None,
        budget,
        bool(wants_all),
        bool(ready),
        folder,
    )
