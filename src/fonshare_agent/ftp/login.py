"""TLS and logging in, on any control connection.

A door says what it demands by `needs_tls` and `needs_protected_data`, which hold before
USER and before any data connection. A failed login is answered late, without the loop
waiting, and nothing else of that session is heard meanwhile.
"""

from typing import Any

from fonshare_agent.ftp.lines import LineSession
from fonshare_agent.ftp.tls import TlsState

LOGIN_ATTEMPTS_MAX = 3
NEEDS_DATA = frozenset(["PASV", "EPSV", "PORT", "EPRT"])


class LoginSession(LineSession):
    """See the module's text."""

    session_tickets = 1
    needs_tls = False  # before USER
    needs_protected_data = False  # before PASV, EPSV, PORT, EPRT

    def __init__(self, conn: Any, server: Any, ioloop: Any) -> None:
        self._is_protected = self._has_pbsz = False
        self._is_stranger = True
        super().__init__(conn, server, ioloop)
        self._extra_feats = ["AUTH TLS", "PBSZ", "PROT"] if self.tls_context() else []
        self._login_timer = self.call_later(server.login_timeout_s, self._on_login_late)

    # --- what the classes above fill in

    def tls_context(self) -> Any:
        """The context for this door's handshakes; None: no TLS here."""
        raise NotImplementedError

    def has_owner_rights(self) -> bool:
        return False

    def drop_data(self) -> None:
        """Close every data connection."""

    def find_refusal(self, command: str, argument: str) -> str | None:
        if command in ("USER", "PASS") and self.needs_tls and not self.is_secured:
            return "530 TLS is required here: send AUTH TLS first"
        refusal = super().find_refusal(command, argument)
        if (
            refusal is None
            and command in NEEDS_DATA
            and self.needs_protected_data
            and not self._is_protected
        ):
            return "521 Data must be protected: send PBSZ 0 and PROT P first"
        return refusal

    # --- TLS

    def ftp_AUTH(self, line: str) -> None:
        context = self.tls_context()
        if self.tls_state is not TlsState.PLAIN:
            self.respond("503 Already using TLS")
        elif context is None:
            self.respond("534 This server has no certificate")
        elif line.upper() not in ("TLS", "TLS-C", "SSL", "TLS-P"):
            self.respond("504 Only AUTH TLS is known")
        elif self.ac_in_buffer or self._held:
            # Commands smuggled in before the handshake must not count after it.
            self.close()
        elif self.leave_account():
            self.respond("234 Ready for TLS")
            if (
                self.producer_fifo
            ):  # must not go out encrypted; a tiny reply never waits
                self.close()
            else:
                self.start_tls(context)

    def ftp_PBSZ(self, line: str) -> None:
        if self.is_secured:
            self._has_pbsz = True
            self.respond("200 PBSZ=0")
        else:
            self.respond("503 PBSZ needs TLS")

    def ftp_PROT(self, line: str) -> None:
        level = line.upper()
        if not self.is_secured or not self._has_pbsz:
            self.respond("503 PROT needs TLS and PBSZ 0 first")
        elif level == "P" or (level == "C" and not self.needs_protected_data):
            self._is_protected = level == "P"
            self.respond(f"200 Protection set to {level}")
        else:
            self.respond("536 That level is not possible here")

    # --- login

    def fail_login(self) -> None:
        """Answer 530 after a while, during which nothing else is heard."""
        self.attempted_logins += 1
        self._is_working = True
        self.call_later(self.server.failed_login_delay_s, self._on_login_failed)

    def _on_login_failed(self) -> None:
        self._is_working = False
        self.username = ""
        self.respond("530 Login incorrect")
        if self.attempted_logins >= LOGIN_ATTEMPTS_MAX:
            self.close_when_done()
        else:
            self._rearm_login()
            self._run_held()

    def succeed_login(self) -> None:
        """The client is who it says; it no longer counts as a stranger."""
        self.authenticated = True
        self.attempted_logins = 0
        self._stop_counting()
        if not self._login_timer.cancelled:
            self._login_timer.cancel()
        self.respond("230 Logged in")

    def _rearm_login(self) -> None:
        if not self._login_timer.cancelled:
            self._login_timer.cancel()
        self._login_timer = self.call_later(
            self.server.login_timeout_s, self._on_login_late
        )

    def _on_login_late(self) -> None:
        if self._is_working:  # a password is being checked, or a failure delayed
            self._rearm_login()
        else:
            self.respond("421 Login took too long")
            self.close_when_done()

    def leave_account(self) -> bool:
        """Be a stranger again, as before the login; False, and the session ends, if
        there are too many: none could be kept for who comes else."""
        if self.authenticated:
            if not self.server.take_in(self.remote_ip):
                self.respond("421 Too many connections without a login")
                self.close_when_done()
                return False
            self._is_stranger = True
            self._rearm_login()
        self.flush_account()
        return True

    def flush_account(self) -> None:
        self.drop_data()
        self.authenticated = False
        self.username = ""
        self._restart_position = 0

    def close(self) -> None:
        super().close()
        self._stop_counting()

    def _stop_counting(self) -> None:
        if self._is_stranger:
            self._is_stranger = False
            self.server.strangers.leave(self.remote_ip)
