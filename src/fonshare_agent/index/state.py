"""state.db: what this node must not forget, nor ever do twice.

Owns counters leased in blocks, documents, and jobs with their files; what other tables
there are is said in state_late.py. Rules kept: every method is one transaction, durable
when it returns, and joins the caller's where there is one (`transaction`); no method
returns more rows than its limit. Belongs to the one store thread, which may block. Must
not know what a job does or a message means.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fonshare_agent.errors import NotFound, StorageError
from fonshare_agent.index import database
from fonshare_agent.index.database import close_database, translated
from fonshare_agent.index.state_backup import back_up, open_or_recover
from fonshare_agent.index.state_late import LateTables
from fonshare_agent.index.state_records import (
    FILE_COLUMNS,
    JOB_COLUMNS,
    Job,
    JobFile,
    file_of,
    job_of,
)
from fonshare_agent.model import ENDED, SIZE_MAX, GroupId, JobState, NodeId, SharePath

log = logging.getLogger(__name__)

BACKUP_PERIOD_S: Final = 600.0  # what is lost at most is this much of a job's progress
PAGE: Final = 100


class StateStore(LateTables):
    """The one connection to state.db. *disk_id* names the disk it lies on."""

    def __init__(self, path: Path, disk_id: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._disk_id = disk_id
        self._clock = clock  # monotonic seconds
        self._connection, self.recovered = open_or_recover(path)
        if self.recovered:
            log.warning("state was damaged: %s", self.recovered)
        self._depth = 0
        self._backed_up_at = clock()
        self._changes_then = self.changes()

    def close(self) -> None:
        """Close the file; on a lost disk quietly."""
        close_database(self._connection, self._path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything in the block one transaction; blocks may be nested.

        An error in an inner block must end the outer one too.
        """
        if self._depth:
            yield
            return
        with translated(self._path), database.transaction(self._connection):
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def changes(self) -> int:
        """Return how many rows were written since this was opened."""
        return self._connection.total_changes

    def back_up_if_due(self) -> bool:
        """Back up what changed, once per BACKUP_PERIOD_S; tell whether it was done."""
        now = self._clock()
        has_changed = self.changes() != self._changes_then
        if not has_changed or now - self._backed_up_at < BACKUP_PERIOD_S:
            return False
        self.back_up()
        return True

    def back_up(self) -> None:
        """Back up now."""
        back_up(self._connection, self._path)
        self._backed_up_at = self._clock()
        self._changes_then = self.changes()

    # --- life: whose incarnation this file belongs to -----------------------------

    def life(self) -> bytes | None:
        """Return the life begun here; None if the file is new, restored or moved."""
        ((life, place),) = self._rows("SELECT life, place FROM meta")
        if life is None or place != self._place():
            return None
        return bytes(life)

    def begin_life(self, life: bytes) -> None:
        """Record durably that this file belongs to *life* and lies here."""
        self._write("UPDATE meta SET life = ?, place = ?", (life, self._place()))

    def _place(self) -> str:
        # A copy brought back by hand has another inode. FAT gives new ones with every
        # mount: there the incarnation rises more often, which costs one small write.
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            path = str(self._path)
            raise StorageError(f"{path}: {error.strerror}", thing=path) from None
        return f"{self._disk_id}:{inode}"

    # --- counters -------------------------------------------------------------------

    def lease_counters(self, group: GroupId, channel: int, count: int) -> int:
        """Return the first of *count* counters that are the caller's from now on."""
        sql = (
            "INSERT INTO counter (grp, channel, next) VALUES (?, ?, ? + 1)"
            " ON CONFLICT DO UPDATE SET next = next + ? RETURNING next"
        )
        if count < 1:
            raise ValueError(f"cannot lease {count} counters")
        with self.transaction():
            rows = self._connection.execute(sql, (group, channel, count, count))
            ((following,),) = rows.fetchall()
        return int(following) - count

    def forget_group(self, group: GroupId) -> None:
        """Drop the group's jobs, follows, searches, ratings; its counters stay."""
        with self.transaction():
            for table in ("job", "saved_search", "follow", "rater"):
                self._write(f"DELETE FROM {table} WHERE grp = ?", (group,))

    # --- documents ------------------------------------------------------------------

    def get_document(self, name: str) -> Any:
        """Return the JSON value kept under *name*, None if there is none."""
        rows = self._rows("SELECT body FROM document WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def put_document(self, name: str, value: Any) -> None:
        """Keep *value* under *name*; None removes it."""
        if value is None:
            self._write("DELETE FROM document WHERE name = ?", (name,))
            return
        body = json.dumps(value, separators=(",", ":"))
        sql = "REPLACE INTO document (name, body) VALUES (?, ?)"
        self._write(sql, (name, body))

    def document_names(self, prefix: str = "") -> list[str]:
        """Return the names that begin with *prefix*, sorted."""
        sql = "SELECT name FROM document WHERE substr(name, 1, ?) = ? ORDER BY name"
        return [name for (name,) in self._rows(sql, (len(prefix), prefix))]

    # --- jobs -------------------------------------------------------------------------

    def add_job(self, job: Job, files: Iterable[JobFile] = ()) -> Job:
        """Store a new job at the end of the queue; return it as stored.

        *files* is read as it is stored, so a folder of any size needs no memory.
        """
        with self.transaction():
            self._connection.execute(
                "INSERT INTO job (id, grp, member, share, path, kind, name, target,"
                " created, state, error_code, error_text, follow, position)"
                " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                " max(0, coalesce(max(position), 0)) + 1 FROM job",
                (
                    *(job.id, job.group, job.member, job.share),
                    *(job.path.raw if job.path else b"", job.kind, job.name),
                    *(job.target, job.created, job.state.value),
                    *(job.error_code, job.error_text, job.follow),
                ),
            )
            self.add_files(job.id, files)
            return self.get_job(job.id)

    def add_files(self, job_id: str, files: Iterable[JobFile]) -> None:
        """Add *files* to a job that is there already."""
        with self.transaction():
            number = self._number(job_id)
            for file in files:
                self._connection.execute(
                    f"INSERT INTO job_file (job, {FILE_COLUMNS})"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, *_file_values(file)),
                )
                self._count(number, None, file)

    def find_job(self, job_id: str) -> Job | None:
        """Return the job, None if it is unknown."""
        rows = self._rows(f"SELECT {JOB_COLUMNS} FROM job WHERE id = ?", (job_id,))
        return job_of(rows[0]) if rows else None

    def get_job(self, job_id: str) -> Job:
        """Return the job; NotFound if it is unknown."""
        job = self.find_job(job_id)
        if job is None:
            raise _no_job(job_id)
        return job

    def jobs(
        self,
        after: int | None = None,
        limit: int = PAGE,
        states: Sequence[JobState] = tuple(JobState),
    ) -> list[Job]:
        """Return jobs in the order of the queue, those behind position *after*."""
        after = -SIZE_MAX if after is None else after
        sql = (
            f"SELECT {JOB_COLUMNS} FROM job WHERE position > ?"
            f" AND state IN ({_marks(states)}) ORDER BY position LIMIT ?"
        )
        values = (after, *(state.value for state in states), limit)
        return [job_of(row) for row in self._rows(sql, values)]

    def find_same(
        self,
        group: GroupId,
        member: NodeId,
        share: str,
        path: SharePath | None,
        *,
        also_ended: bool = False,
    ) -> Job | None:
        """Return the newest job for this very entry that has not ended yet."""
        states = [one for one in JobState if also_ended or one not in ENDED]
        sql = (
            f"SELECT {JOB_COLUMNS} FROM job WHERE grp = ? AND member = ?"
            f" AND share = ? AND path = ? AND state IN ({_marks(states)})"
            " ORDER BY number DESC LIMIT 1"
        )
        entry = (group, member, share, path.raw if path else b"")
        rows = self._rows(sql, (*entry, *(state.value for state in states)))
        return job_of(rows[0]) if rows else None

    def final_names(self, jobs: Iterable[Job]) -> list[bytes]:
        """Return the name of each on the disk; b"" of one that is gone."""
        sql = (
            "SELECT iif(kind = 'file', final_name, NULL) FROM job LEFT JOIN job_file f"
            " ON f.job = job.number AND f.number = 0 WHERE id = ?"
        )
        found = [(job, self._rows(sql, (job.id,))) for job in jobs]
        return [(rows[0][0] or job.entry_name) if rows else b"" for job, rows in found]

    def update_job(
        self, job_id: str, state: JobState, error_code: str = "", error_text: str = ""
    ) -> Job:
        """Set where the job stands, and why."""
        with self.transaction():
            self._write(
                "UPDATE job SET state = ?, error_code = ?, error_text = ?, ended ="
                " iif(?, (SELECT coalesce(max(ended), 0) + 1 FROM job), NULL)"
                " WHERE id = ?",
                (state.value, error_code, error_text, state in ENDED, job_id),
            )
            return self.get_job(job_id)

    def begin_job(self, job_id: str) -> bool:
        """Note that an attempt begins; False if the job is not to run any more.

        Why the last one ended stays told until bytes come again.
        """
        with self.transaction():
            job = self.find_job(job_id)
            if job is None or job.has_ended or job.state is JobState.PAUSED:
                return False
            if not job.error_code:
                self.update_job(job_id, JobState.LOCATING)
            return True

    def move_job(self, job_id: str, *, to_front: bool) -> Job:
        """Put the job before or behind all others in the queue."""
        place = "min(0, min(position)) - 1" if to_front else "max(0, max(position)) + 1"
        with self.transaction():
            self._write(
                f"UPDATE job SET position = (SELECT {place} FROM job) WHERE id = ?",
                (job_id,),
            )
            return self.get_job(job_id)

    def retarget_job(self, job_id: str, target: bytes) -> Job:
        """Let the job's files go into *target*, unless one is there or about to be."""
        with self.transaction():
            self._write(
                "UPDATE job SET target = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM"
                " job_file WHERE job = job.number AND state IN ('verifying', 'done'))",
                (target, job_id),
            )
            return self.get_job(job_id)

    def delete_job(self, job_id: str) -> None:
        """Forget a job and its files."""
        self._write("DELETE FROM job WHERE id = ?", (job_id,))

    def totals(self) -> dict[JobState, int]:
        """Return how many jobs stand in each state."""
        counted = dict.fromkeys(JobState, 0)
        sql = "SELECT state, count(*) FROM job GROUP BY state"
        counted.update((JobState(state), n) for state, n in self._rows(sql))
        return counted

    # --- the files of a job -----------------------------------------------------------

    def files(
        self,
        job_id: str,
        states: Sequence[JobState] = tuple(JobState),
        after: int = -1,
        limit: int = PAGE,
    ) -> list[JobFile]:
        """Return files of the job in these states, by number, those behind *after*."""
        sql = (
            f"SELECT {FILE_COLUMNS} FROM job_file WHERE job = ? AND number > ?"
            f" AND state IN ({_marks(states)}) ORDER BY number LIMIT ?"
        )
        values = (*(state.value for state in states), limit)
        rows = self._rows(sql, (self._number(job_id), after, *values))
        return [file_of(job_id, row) for row in rows]

    def get_file(self, job_id: str, number: int) -> JobFile:
        """Return one file of the job; NotFound if it has none of that number."""
        rows = self.files(job_id, after=number - 1, limit=1)
        if not rows or rows[0].number != number:
            raise NotFound(
                f"job {job_id} has no file {number}",
                thing=job_id,
                next="See `fonshare jobs`.",
            )
        return rows[0]

    def update_file(self, file: JobFile) -> None:
        """Replace what is known of a file, and the job's sums with it."""
        with self.transaction():
            before = self.get_file(file.job, file.number)
            number = self._number(file.job)
            columns = ", ".join(f"{one} = ?" for one in FILE_COLUMNS.split(", "))
            self._connection.execute(
                f"UPDATE job_file SET {columns} WHERE job = ? AND number = ?",
                (*_file_values(file), number, file.number),
            )
            self._count(number, before, file)

    def update_files(self, files: Iterable[JobFile]) -> None:
        """As `update_file` for each of *files*, all or none."""
        with self.transaction():
            for file in files:
                self.update_file(file)

    def _count(self, job: int, before: JobFile | None, after: JobFile) -> None:
        # Sizes are what a friend says: together they may be more than a number holds.
        new, old = _sums(after), _sums(before)
        change = [now - then for now, then in zip(new, old, strict=True)]
        if any(change):
            self._connection.execute(
                "UPDATE job SET files = files + ?, files_done = files_done + ?,"
                f" size = max(0, min(size + ?, {SIZE_MAX})),"
                f" done_bytes = max(0, min(done_bytes + ?, {SIZE_MAX}))"
                " WHERE number = ?",
                (*change, job),
            )

    def _number(self, job_id: str) -> int:
        rows = self._rows("SELECT number FROM job WHERE id = ?", (job_id,))
        if not rows:
            raise _no_job(job_id)
        return int(rows[0][0])

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with translated(self._path):
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        with self.transaction():
            self._connection.execute(sql, values)


def _sums(file: JobFile | None) -> tuple[int, int, int, int]:
    if file is None:
        return 0, 0, 0, 0
    return 1, int(file.state is JobState.DONE), file.size, file.done_bytes


def _file_values(file: JobFile) -> tuple[Any, ...]:
    return (
        *(file.number, file.path.raw, file.size, file.modified, file.root),
        *(file.state.value, file.error_code, file.final_name, file.done_bytes),
    )


def _no_job(job_id: str) -> NotFound:
    return NotFound(
        f"there is no job {job_id}", thing=job_id, next="See `fonshare jobs`."
    )


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
