"""Who may sign in: the logins of `ftp.users` that may write, by the settings' hashes.

The settings are read anew when their files have changed, so a new password holds at
once; if the logins are others then, everybody is signed out. One password is checked
at a time: it costs 4 MiB and some 60 ms.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

from fonshare_agent.config import check_source, load_settings, read_source
from fonshare_agent.config_yaml import CHANGES_FILE
from fonshare_agent.errors import SettingsError
from fonshare_agent.passwords import hash_password, verify_password
from fonshare_agent.settings import Settings, UserSettings

# Compared with when there is no such login, so that finding that out takes as long.
NOBODY = hash_password("", b"\0" * 16)
Stamp = tuple[tuple[int, int, int] | None, ...]


class Owners:
    """The logins of one settings file. Any thread."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path, self._on_change = path, on_change
        self._lock = threading.Lock()
        self._stamp: Stamp = ()  # of nothing: the first look reads them whole
        self._logins = b""
        self._settings = load_settings(path, needs_hashes=False)

    def settings(self) -> Settings:
        """Return the settings as they are now; if they are broken, as they were."""
        with self._lock:
            try:
                return self._look()
            except SettingsError:
                return self._settings

    def verify(self, name: str, password: str) -> str | None:
        """Return the login that *password* opens, or None.

        Without a *name* any login that may write will do. Raises SettingsError if the
        settings cannot be read now.
        """
        with self._lock:
            users = [user for user in self._look().ftp.users if user.may_write]
            if name:
                users = [user for user in users if user.name == name]
            found = None
            for user in users or [UserSettings("", NOBODY, "write")]:
                # All are tried: which one it was, the time taken does not tell.
                if verify_password(user.password_hash, password) and user.name:
                    found = found or user.name
            return found

    def _look(self) -> Settings:
        stamp = _stamp(self._files())
        if stamp != self._stamp:
            source = read_source(self._path)
            settings, logins = check_source(source), _fingerprint(source.raw)
            # Remembered only now: had it failed, the next look would try again.
            self._settings, self._stamp = settings, stamp
            before, self._logins = self._logins, logins
            if before and before != logins:
                self._on_change()
        return self._settings

    def _files(self) -> tuple[Path, ...]:
        return (self._path, self._settings.state / CHANGES_FILE)


def demand_owner(settings: Settings) -> None:
    """Raise SettingsError if nobody could sign in."""
    if not any(user.may_write for user in settings.ftp.users):
        raise SettingsError(
            "ftp.users: has no login with access: write, and the page is for such",
            thing=str(settings.path or ""),
            next="Add one, then start `fonshare web` again.",
        )


def _fingerprint(raw: object) -> bytes:
    ftp = raw.get("ftp") if isinstance(raw, dict) else None
    users = ftp.get("users") if isinstance(ftp, dict) else None
    return hashlib.sha256(json.dumps(users, default=str).encode()).digest()


def _stamp(files: tuple[Path, ...]) -> Stamp:
    return tuple(map(_stamp_of, files))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
