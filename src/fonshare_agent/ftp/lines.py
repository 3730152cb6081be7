"""The lines of a control connection: one command at a time, nothing ever waits here.

While a worker is busy for a session, or a transfer runs, further lines are kept, and
reading stops when too many wait or too many replies are unread. So replies keep the
order of the commands. Only ABOR and a bare STAT are heard during a transfer.

session.py adds transfers and data connections, login.py TLS and the login.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fonshare_agent.errors import FonshareError
from fonshare_agent.ftp.listing import FACTS
from fonshare_agent.ftp.loop import READ, WRITE, FTPHandler, async_chat
from fonshare_agent.ftp.replies import one_line, reply_to_error
from fonshare_agent.ftp.tls import TlsChannel
from fonshare_agent.ftp.workers import Outcome, Runs

if TYPE_CHECKING:
    from fonshare_agent.ftp.doors import Door

LINE_BYTES_MAX = 8192  # a command and a path of 4096 bytes, with Telnet's doublings
HELD_LINES_MAX = 32  # commands sent ahead of their turn before reading stops
REPLIES_MAX = 64  # not taken by the client yet before reading stops

log = logging.getLogger(__name__)


class LineSession(TlsChannel, FTPHandler):  # type: ignore[misc]
    """See the module's text. Loop thread only; `server` is the door."""

    server: "Door"
    data_channel: Any
    socket: Any
    _idler: Any
    _in_buffer: list[bytes]
    ac_in_buffer_size = 4096
    encoding = "utf-8"
    unicode_errors = "surrogateescape"  # names are bytes; any byte makes the round trip
    banner = "FonShare"
    timeout = 300.0

    def __init__(self, conn: Any, server: "Door", ioloop: Any) -> None:
        self._held: deque[bytes] = deque()
        self._is_working = False
        self._is_skipping = False
        self._active_at = time.monotonic()
        super().__init__(conn, server, ioloop=ioloop)
        self._available_facts = list(FACTS)
        self._current_facts = list(FACTS)

    # --- what the classes above fill in

    @property
    def is_transferring(self) -> bool:
        """Whether a transfer goes on, from its 150 to its last reply."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether the next command must wait."""
        return self._is_working or self.is_transferring

    # --- lines in, replies out

    def collect_incoming_data(self, data: bytes) -> None:
        self._in_buffer_len += len(data)
        if self._in_buffer_len > LINE_BYTES_MAX:
            self._is_skipping = True
            self._in_buffer.clear()
        else:
            self._in_buffer.append(data)

    def found_terminator(self) -> None:
        line = b"".join(self._in_buffer)
        self._in_buffer, self._in_buffer_len = [], 0
        if self._is_skipping:  # the rest of a line must not pass as a command
            self._is_skipping = False
            self.respond("500 Command too long")
            return
        self.rearm_idle()
        if self._held or not self._may_obey(line):
            self._held.append(line)
            self.update_events()
        else:
            self._obey(line)

    def _may_obey(self, line: bytes) -> bool:
        if not self.is_busy:
            return True
        is_urgent = line.upper().endswith(b"ABOR") or line.upper() == b"STAT"
        return is_urgent and self.is_transferring and not self._is_working

    def _obey(self, line: bytes) -> None:
        text = self.decode(line)
        command, _, argument = text.partition(" ")
        command = command.upper()
        if command == "SITE":
            sub, _, argument = argument.partition(" ")
            command = f"SITE {sub.upper()}"
        if command not in self.proto_cmds and command[-4:] in ("ABOR", "STAT", "QUIT"):
            command = command[-4:]  # Telnet's interrupt stands before it
        refusal = self.find_refusal(command, argument)
        if refusal:
            self.respond(refusal)
        else:
            getattr(self, "ftp_" + command.replace(" ", "_"))(argument)

    def find_refusal(self, command: str, argument: str) -> str | None:
        """Return the reply that turns the command down, if it must be."""
        entry = self.proto_cmds.get(command)
        if entry is None:
            return "500 Command not understood"
        if entry["arg"] is True and not argument:
            return "501 The command needs an argument"
        if entry["arg"] is False and argument:
            return "501 The command takes no argument"
        if not self.authenticated and entry["auth"]:
            return "530 Log in with USER and PASS first"
        return None

    def respond(self, resp: str, logfun: Any = None) -> None:
        if not self._closed:
            self.push(one_line(resp) + "\r\n")

    def respond_w_warning(self, resp: str) -> None:
        self.respond(resp)

    def push(self, data: str) -> None:
        self.push_bytes(data.encode(self.encoding, self.unicode_errors))

    def push_bytes(self, data: bytes) -> None:
        async_chat.push(self, data)

    def _run_held(self) -> None:
        while self._held and not self._closed and self._may_obey(self._held[0]):
            self._obey(self._held.popleft())
        if not self._closed:
            self.update_events()

    # --- work on other threads

    def work(
        self,
        function: Callable[..., Any],
        *args: Any,
        then: Callable[[Any], None],
        failed: Callable[[OSError | FonshareError], None] | None = None,
        pool: Runs | None = None,
    ) -> None:
        """Run *function* on a worker, then ``then(value)`` here; errors become replies,
        unless *failed* takes them.

        If the session is gone by then, `abandon` gets the outcome instead.
        """
        self._is_working = True

        def done(outcome: Outcome[Any]) -> None:
            self._is_working = False
            if self._closed:
                self.abandon(outcome)
                return
            try:
                value = outcome.get()
            except (OSError, FonshareError) as error:
                (failed or self._respond_to)(error)
            else:
                self._go_on(then, value)
            self._run_held()

        (pool or self.server.files).run(function, *args, then=done)

    def _respond_to(self, error: OSError | FonshareError) -> None:
        self.respond(reply_to_error(error))

    def _go_on(self, then: Callable[[Any], None], value: Any) -> None:
        is_done = False
        try:
            then(value)
            is_done = True
        finally:
            if not is_done:  # a bug of ours; the client must not wait for ever
                self.close()

    def abandon(self, outcome: Outcome[Any]) -> None:
        """The outcome of work whose session has ended."""

    # --- time, events, the end

    def handle_timeout(self) -> None:
        """The one timer of idleness is due: look since when nothing happened."""
        if self.is_busy:
            self.rearm_idle()
        left = self._active_at + self.timeout - time.monotonic()
        if left > 0:
            self._idler = self.ioloop.call_later(
                left, self.handle_timeout, _errback=self.handle_error
            )
        else:
            self.respond("421 Idle for too long")
            self.close_when_done()

    def rearm_idle(self) -> None:
        """Count idleness from now on. A timer of its own for each line would cost more
        than the line."""
        self._active_at = time.monotonic()

    def wanted_events(self) -> int:
        is_full = (
            len(self._held) >= HELD_LINES_MAX or len(self.producer_fifo) >= REPLIES_MAX
        )
        events = 0 if is_full else READ
        return events | WRITE if self.producer_fifo else events

    def initiate_send(self) -> None:
        async_chat.initiate_send(self)  # pyftpdlib's own would set the events itself
        if not self._closed:
            self.update_events()

    def log(self, msg: str, logfun: Any = None) -> None:
        """pyftpdlib's lines hold names and addresses: for debugging only."""
        log.debug("%s", msg)

    logline = logerror = log

    def log_exception(self, instance: Any) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            log.debug("a control connection broke", exc_info=True)
        else:
            log.exception("an FTP session failed")
