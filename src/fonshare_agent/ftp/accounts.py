"""Who may log in at the house door. Verifying takes seconds: workers only.

A name that does not exist costs as much time as a wrong password, so that nobody learns
which names exist.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Verify = Callable[[str, str], bool]  # stored hash, password


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the settings. An empty `password_hash` means: no password asked."""

    name: str
    password_hash: str = field(repr=False)
    access: Literal["read", "write"]

    @property
    def is_owner(self) -> bool:
        return self.access == "write"


class Accounts:
    """The users of the settings, and how their passwords are checked."""

    def __init__(self, accounts: Iterable[Account], verify: Verify) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._verify = verify

    def check(self, name: str, password: str) -> Account | None:
        """Return the account if the password is right. Slow."""
        account = self._accounts.get(name)
        if account is None:
            self._spend_time(password)
            return None
        if not account.password_hash:
            # Only reading may be free; the settings refuse this too.
            return None if account.is_owner else account
        return account if self._verify(account.password_hash, password) else None

    def _spend_time(self, password: str) -> None:
        for account in self._accounts.values():
            if account.password_hash:
                self._verify(account.password_hash, password)
                return
