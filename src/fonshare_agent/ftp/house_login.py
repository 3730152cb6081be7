"""Who came in by the house door, what they may see, and how their paths are read.

Outside the house only the owner exists, and only by TLS.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fonshare_agent.errors import BadPath, FonshareError
from fonshare_agent.ftp.accounts import Account
from fonshare_agent.ftp.filesystem import Parts, View, resolve
from fonshare_agent.ftp.loop import FTPHandler
from fonshare_agent.ftp.replies import reply_to_error
from fonshare_agent.ftp.session import ControlSession

if TYPE_CHECKING:
    from fonshare_agent.ftp.doors import HouseDoor

WRITING = frozenset(
    [
        "STOR",
        "APPE",
        "DELE",
        "RMD",
        "XRMD",
        "MKD",
        "XMKD",
        "RNFR",
        "RNTO",
        "MFMT",
        "ALLO",
    ]
)
NOTHING = View(folders=(), can_write=False)


def _entry(argument: bool | None, *, before_login: bool = False) -> dict[str, Any]:
    return {"perm": None, "auth": not before_login, "arg": argument, "help": ""}


class HouseLogin(ControlSession):
    """See the module's text."""

    server: "HouseDoor"
    proto_cmds = {
        name: entry
        for name, entry in FTPHandler.proto_cmds.items()
        # Modes are the agent's business; REIN and STOU nobody sends.
        if name not in ("STOU", "REIN", "SITE CHMOD")
    } | {
        "AUTH": _entry(True, before_login=True),
        "PBSZ": _entry(True, before_login=True),
        "PROT": _entry(True, before_login=True),
    }

    def __init__(self, conn: Any, server: "HouseDoor", ioloop: Any) -> None:
        self._view = NOTHING
        self._cwd: Parts = ()
        self._from: Parts | None = None
        self._asked_partial: Parts | None = None
        super().__init__(conn, server, ioloop)
        self.is_outside = not server.is_house(self.remote_ip)
        self.needs_tls = self.needs_protected_data = self.is_outside

    def tls_context(self) -> Any:
        return self.server.context

    def has_owner_rights(self) -> bool:
        return self.authenticated and self._view.can_write

    def find_refusal(self, command: str, argument: str) -> str | None:
        refusal = super().find_refusal(command, argument)
        if refusal is None and command in WRITING and not self._view.can_write:
            return "550 This login may only read"
        return refusal

    # --- login

    def ftp_USER(self, line: str) -> None:
        if self.authenticated and not self.leave_account():
            return
        self.username = line
        self.respond("331 Send the password")

    def ftp_PASS(self, line: str) -> None:
        if self.authenticated or not self.username:
            self.respond("503 Send USER first")
            return
        accounts = self.server.accounts
        self.work(
            accounts.check,
            self.username,
            line,
            then=self._on_checked,
            failed=self._on_not_checked,
            pool=self.server.passwords,
        )

    def _on_checked(self, account: Account | None) -> None:
        # Outside the house there are no guests, even with the right password.
        if account is None or (self.is_outside and not account.is_owner):
            self.fail_login()
        elif not account.is_owner and not self.server.has_room_for_guest():
            self.respond("421 Too many guests; try again later")
            self.close_when_done()
        else:
            folders = None if account.is_owner else self.server.guest_folders
            self._view = View(folders, can_write=account.is_owner)
            self.succeed_login()

    def _on_not_checked(self, error: OSError | FonshareError) -> None:
        """Nobody knows whether the password is right: the client is to come again."""
        self.respond(f"421 {error}; try again later")
        self.close_when_done()

    def flush_account(self) -> None:
        super().flush_account()
        self._view, self._cwd, self._from = NOTHING, (), None

    # --- paths

    def _path(self, text: str) -> Parts | None:
        """Return the path a command names, or answer why not and return None."""
        try:
            return resolve(self._cwd, text)
        except BadPath as error:
            self.respond(reply_to_error(error))
            return None

    def _do(
        self, text: str, function: Callable[..., Any], then: Callable[[Any], None]
    ) -> None:
        """Work on the one path that a command names."""
        path = self._path(text)
        if path is not None:
            self.work(function, self._view, path, then=then)
