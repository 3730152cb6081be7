"""Changes to settings on the router, by the `uci` command. Decides nothing.

Rules: argument lists, never a shell. A password's hash goes through the standard input
of `uci batch`, since /proc shows arguments to every process. `uci` works on a copy of
the file in a folder of its own, so that half of a change is never committed, and what
the owner staged by hand (`uci set` without commit) is neither committed nor lost.
`uci batch` reports no failure, so the copy is read and must say what was asked.

The agent's user may write its own file but not the folder of all packages' settings, so
what `uci` made of the copy is written over the file (docs/decisions/0072).
"""

import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fonshare_agent.config import Settings, Source, check_source, read_source, share_row
from fonshare_agent.config_uci import quote_uci
from fonshare_agent.errors import NotFound, SettingsError, SettingsUnwritten
from fonshare_agent.settings import ShareSettings

TIMEOUT_S = 30  # a commit to JFFS2 during garbage collection takes seconds

Run = Callable[[Sequence[str], str], str]  # (arguments, standard input) -> output


def run_command(arguments: Sequence[str], stdin: str) -> str:
    """Run one program to its end; raise SettingsUnwritten unless it succeeds."""
    # Imported here: settings change seldom, and it would stay in the agent's memory.
    import subprocess

    try:
        done = subprocess.run(
            arguments,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = getattr(error, "strerror", None) or f"no end after {TIMEOUT_S} s"
        raise SettingsUnwritten(f"cannot run {arguments[0]}: {why}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SettingsUnwritten(f"{arguments[0]} failed: {last}")
    return done.stdout


class UciWriter:
    """The SettingsWriter of a node whose settings are the UCI file at *path*."""

    def __init__(self, path: Path, *, run: Run = run_command, program: str = "uci"):
        self._path = path
        self._package = path.name
        self._run = run
        self._program = program

    def add_share(self, share: ShareSettings) -> Settings:
        """Add *share* as an anonymous section."""
        disk = check_source(read_source(self._path)).disk
        # UCI has no empty lists: a share for nobody yet has no option `groups`.
        row = {name: value for name, value in share_row(share, disk).items() if value}

        def edit(raw: dict[str, Any]) -> None:
            raw["shares"].append(row)

        def store(uci: Callable[..., str]) -> None:
            section = f"{self._package}.{uci('add', self._package, 'share').strip()}"
            for option in ("name", "path", "mirror_of", "mirror_pin", "mirror_ca"):
                if option in row:
                    uci("set", f"{section}.{option}={row[option]}")
            for group in share.groups:
                uci("add_list", f"{section}.groups={group}")

        return self._change(edit, store)

    def remove_share(self, name: str) -> Settings:
        """Remove the share called *name*."""
        number = self._number("share", name, self._raw()["shares"])

        def edit(raw: dict[str, Any]) -> None:
            del raw["shares"][number]

        def store(uci: Callable[..., str]) -> None:
            uci("delete", f"{self._package}.@share[{number}]")

        return self._change(edit, store)

    def set_limits(self, limits: Mapping[str, int | str]) -> Settings:
        """Set the named options of the section `limits`."""
        # UCI has texts; what is on or off is 1 or 0 there.
        limits = {
            name: str(int(value)) if isinstance(value, bool) else value
            for name, value in limits.items()
        }

        def edit(raw: dict[str, Any]) -> None:
            raw["limits"] = {**raw.get("limits", {}), **limits}

        def store(uci: Callable[..., str]) -> None:
            uci("set", f"{self._package}.limits=limits")
            for option, value in limits.items():
                uci("set", f"{self._package}.limits.{option}={value}")

        return self._change(edit, store)

    def replace_password(self, user: str, password_hash: str) -> Settings:
        """Put *password_hash* in the place of the user's password."""
        number = self._number("user", user, self._raw()["ftp"]["users"])

        def edit(raw: dict[str, Any]) -> None:
            raw["ftp"]["users"][number]["password"] = password_hash

        def store(uci: Callable[..., str]) -> None:
            option = f"{self._package}.@user[{number}].password"
            uci("batch", stdin=f"set {option}={quote_uci(password_hash)}\n")

        return self._change(edit, store)

    def _raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = read_source(self._path).raw
        return raw

    def _number(self, kind: str, name: str, rows: list[dict[str, Any]]) -> int:
        for number, row in enumerate(rows):
            if row.get("name") == name:
                return number
        raise NotFound(
            f"there is no {kind} {name!r} in {self._path}",
            thing=name,
            next="See `fonshare share ls`."
            if kind == "share"
            else "The settings name the users of FTP under ftp.users.",
        )

    def _change(
        self,
        edit: Callable[[dict[str, Any]], None],
        store: Callable[[Callable[..., str]], None],
    ) -> Settings:
        """Check the settings as *edit* makes them, then let *store* write them."""
        wanted = read_source(self._path)
        edit(wanted.raw)
        if unused := check_source(wanted).unused:
            known = check_source(read_source(self._path)).unused
            if added := [line for line in unused if line not in known]:
                raise SettingsError("\n".join(added), thing=str(self._path))

        def check(written: Source) -> None:
            if written.raw != wanted.raw:
                raise SettingsUnwritten(
                    f"`{self._program}` did not write what it was told",
                    thing=str(self._path),
                )

        return self._store(store, check)

    def apply(self, batch: str) -> Settings:
        """Do the lines of *batch*, as `uci batch` has them, if that is valid then."""
        return self._store(lambda uci: uci("batch", stdin=batch), check_source)

    def _store(
        self,
        store: Callable[[Callable[..., str]], object],
        check: Callable[[Source], object],
    ) -> Settings:
        """Have *store* change a copy of the file; write it back if *check* agrees."""
        import tempfile  # here for the same reason as subprocess

        with tempfile.TemporaryDirectory(prefix="fonshare-uci-") as work:
            copy, staged = Path(work, "config", self._package), Path(work, "staged")
            copy.parent.mkdir()
            staged.mkdir()
            before = self._path.read_bytes()
            copy.write_bytes(before)
            options = ("-c", str(copy.parent), "-t", str(staged))

            def uci(*arguments: str, stdin: str = "") -> str:
                return self._run([self._program, *options, *arguments], stdin)

            store(uci)
            uci("commit", self._package)
            check(replace(read_source(copy), path=self._path))
            self._overwrite(before, copy.read_bytes())
        return check_source(read_source(self._path))

    def _overwrite(self, before: bytes, after: bytes) -> None:
        """Write *after* over *before*; the length changes last, once it is safe."""
        try:
            with self._path.open("r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # as uci does
                if file.read() != before:
                    raise SettingsUnwritten(
                        f"{self._path} was just changed by somebody else",
                        thing=str(self._path),
                    )
                os.pwrite(file.fileno(), after, 0)
                os.fsync(file.fileno())
                file.truncate(len(after))
                os.fsync(file.fileno())
        except OSError as error:
            raise SettingsUnwritten(
                f"{self._path} cannot be written: {error.strerror}",
                thing=str(self._path),
            ) from error
