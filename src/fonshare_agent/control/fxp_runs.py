"""The copies between others' servers that the agent has begun, each in a process.

What is known of one lies in two files of RUN/fxp, which its owner alone may read:
NAME.json, the row that it answers with, kept up to date by the process itself, and
NAME.lock, which that process holds as long as it lives. So they are known after a
restart of the agent, too, which ends none of them. Passwords are in the process alone.
Blocks on the disk: files thread.
"""

import fcntl
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fonshare_agent import model
from fonshare_agent.config_check import absolute
from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import FxpBusy, FxpEnded, NotAllowed, NotFound, StorageError
from fonshare_agent.spawning import spawn

MODULE: Final = "fonshare_agent.transfer.fxp_child"
RUNS_MAX: Final = 2  # at once: each takes the memory of a program
KEPT_MAX: Final = 20  # of those that have ended, the newest
LOCK_FD: Final = 3  # in the process
ENDED: Final = tuple(state.value for state in model.ENDED)
ALL: Final = "all"
# What is kept of the wish, to be given again: all but its passwords.
WISH: Final = (
    *("source", "target", "relay", "overwrite", "plain_data"),
    *("src_pin", "dst_pin", "ca"),
)

Row = dict[str, JSON]


class FxpRuns:
    """Those of one node."""

    def __init__(self, run: Path, disk: Path) -> None:
        self._folder, self._disk = run / "fxp", disk
        self._children: set[int] = set()  # whose end nobody has taken note of

    def begin(self, arguments: dict[str, JSON]) -> list[JSON]:
        """Begin what `fxp start` asks for; return its row. Raises what cannot be."""
        from fonshare_agent.transfer.fxp_tls import read_pin
        from fonshare_agent.transfer.fxp_url import ServerUrl

        wish = {name: arguments[name] for name in WISH}
        urls = [ServerUrl.parse(str(wish[name])) for name in ("source", "target")]
        for pin in (wish["src_pin"], wish["dst_pin"]):
            if pin is not None:
                read_pin(str(pin))
        if wish["ca"] is not None:
            wish["ca"] = str(absolute(self._disk, str(wish["ca"])))
        rows = self._rows()
        if sum(row["state"] not in ENDED for row in rows) >= RUNS_MAX:
            raise FxpBusy(f"{RUNS_MAX} copies between servers are running already")
        self._forget_oldest(rows)
        row: Row = {
            **_row_before(urls[0].server, rows),
            "entry": str(urls[0]),
            "path": str(urls[1]),
            "wish": wish,
        }
        passwords = [arguments[f"{one}_password"] or "" for one in ("source", "target")]
        self._start(row, {"wish": wish, "passwords": passwords, "row": row})
        return [row]

    def rows(self) -> list[JSON]:
        """Return them all, the newest last."""
        return [*self._rows()]

    def stop(self, name: str) -> list[JSON]:
        """Have one end; what has arrived stays at its target."""
        row = self._find(name)
        if row["state"] not in ENDED:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self._process(name), signal.SIGTERM)
        return [row]

    def forget(self, name: str) -> list[JSON]:
        """Take one that has ended off the list; ALL takes all of these."""
        if name == ALL:
            gone = [row for row in self._rows() if row["state"] in ENDED]
        else:
            gone = [self._find(name)]
        for row in gone:
            if row["state"] not in ENDED:
                raise NotAllowed(
                    "the copy has not ended", thing=name, next="Stop it first."
                )
            self._remove(str(row["id"]))
        return [*gone]

    # --- files ---

    def _rows(self) -> list[Row]:
        self._take_note_of_ends()
        try:
            names = [
                one[:-5] for one in os.listdir(self._folder) if one.endswith(".json")
            ]
        except FileNotFoundError:
            return []
        found = [self._read(name) for name in sorted(names, key=_number)]
        return [row for row in found if row is not None]

    def _read(self, name: str) -> Row | None:
        lives = self._lives(name)  # before: its last words are written when it is gone
        try:
            [row] = json.loads((self._folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        if not lives and row["state"] not in ENDED:
            why = FxpEnded("the process that copied has ended", thing=row["entry"])
            row.update(state="failed", error=why.as_dict())
        return dict(row)

    def _lives(self, name: str) -> bool:
        try:
            lock = os.open(self._folder / f"{name}.lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _process(self, name: str) -> int:
        return int((self._folder / f"{name}.lock").read_text())

    def _find(self, name: str) -> Row:
        for row in self._rows():
            if row["id"] == name:
                return row
        raise NotFound(
            "there is no such copy", thing=name, next="See `fonshare fxp ls`."
        )

    def _remove(self, name: str) -> None:
        for ending in ("json", "lock"):
            (self._folder / f"{name}.{ending}").unlink(missing_ok=True)

    def _forget_oldest(self, rows: list[Row]) -> None:
        over = [str(row["id"]) for row in rows if row["state"] in ENDED]
        for name in over[: max(0, len(over) - KEPT_MAX + 1)]:
            self._remove(name)

    # --- processes ---

    def _start(self, row: Row, task: dict[str, Any]) -> None:
        name = str(row["id"])
        note, lock_file = self._folder / f"{name}.json", self._folder / f"{name}.lock"
        try:
            self._folder.mkdir(0o700, exist_ok=True)
            lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with open(os.open(note, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                    json.dump([row], file)
                told = json.dumps({**task, "note": str(note)}).encode()
                os.write(lock, str(self._spawn(lock, told)).encode())
            finally:
                os.close(lock)
        except OSError as error:
            self._remove(name)
            raise StorageError(
                f"the copy cannot be begun: {error.strerror}", thing=str(self._folder)
            ) from None

    def _spawn(self, lock: int, told: bytes) -> int:
        ours, theirs = os.pipe()
        try:
            try:
                actions = [
                    (os.POSIX_SPAWN_DUP2, ours, 0),
                    (os.POSIX_SPAWN_DUP2, lock, LOCK_FD),
                ]
                child = spawn(MODULE, actions)
                self._children.add(child)
            finally:
                os.close(ours)
            with open(theirs, "wb", closefd=False) as pipe:
                pipe.write(told)
        finally:
            os.close(theirs)
        return child

    def _take_note_of_ends(self) -> None:
        for child in [*self._children]:
            if os.waitpid(child, os.WNOHANG)[0]:
                self._children.discard(child)


def _row_before(server: str, rows: list[Row]) -> Row:
    """Return the row of a copy that has not begun, under a name that *rows* lack."""
    last = max((_number(str(row["id"])) for row in rows), default=0)
    return {
        "id": f"fxp-{last + 1}",
        "name": server,
        "size": 0,
        "done_bytes": 0,
        "state": "locating",
        "sources": [server],
        "error": None,
        "files": 0,
        "skipped": 0,
        "failed": 0,
        "failures": [],
        "relayed": None,
    }


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
