"""One data connection: sends a source or receives into a sink, plain or by TLS.

A channel is *confirmed* when it may carry data: at once if plain, after the handshake
(and whatever the session demands of the certificate) if by TLS. Then `send_from` or
`receive_into` starts the one transfer it is for, and `on_over` is called exactly once,
with the socket closed and no worker busy with it any more.

The disk is only touched on workers, except for bytes that are in the page cache
already. An upload fills one buffer while a worker writes the other (`Buffers`), so a
slow disk makes the sender wait, not the loop. Plain downloads use sendfile.

An end is COMPLETE only if the peer said so: end of file on an upload (with close_notify
where TLS is used), everything handed to the kernel on a download.
"""

import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fonshare_agent.errors import FonshareError, TooLong
from fonshare_agent.ftp.ends import End, How
from fonshare_agent.ftp.flow import Flow
from fonshare_agent.ftp.loop import READ, WRITE
from fonshare_agent.ftp.streams import NOT_YET, Buffers, FileSource, Sink, Source
from fonshare_agent.ftp.tls import TlsChannel, TlsState, has_left
from fonshare_agent.ftp.workers import Outcome, WorkerFailed, WorkerPool

STALL_TIMEOUT_S = 60.0  # a transfer that moves nothing for so long is cut
NOT_YET_S = 0.05  # before a source that has nothing yet is asked again
BURST_BYTES = 1 << 20  # what one channel sends before the others get their turn

log = logging.getLogger(__name__)


class DataChannel(TlsChannel):
    """See the module's text. Loop thread only."""

    def __init__(
        self,
        sock: socket.socket,
        io: Any,
        *,
        files: WorkerPool,
        buffer_size: int,
        upload_buffer_size: int,
        context: ssl.SSLContext | None,
        on_confirmed: Callable[["DataChannel"], None],
        on_gone: Callable[["DataChannel"], None],
        throttle: Callable[[str], Flow | None] | None = None,
    ) -> None:
        super().__init__(sock, ioloop=io)
        self._files, self._buffer_size = files, buffer_size
        self._buffers = Buffers(buffer_size, upload_buffer_size)
        self._on_confirmed, self._on_gone = on_confirmed, on_gone
        self._throttle = throttle
        self._flow: Flow | None = None
        self._must_be_secured = context is not None
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._on_over: Callable[[End], None] | None = None
        self._end: End | None = None
        self._is_reported = False
        self._has_job = False  # a worker is busy for this channel
        self._is_pausing = False
        self._view = memoryview(b"")  # read but not sent yet
        self._use_sendfile = True
        self.moved = self._moved_at_check = 0
        if context is not None:
            self.start_tls(context)
        else:
            self._on_confirmed(self)

    def add_channel(self, map: Any = None, events: Any = None) -> None:
        """Nothing is looked for yet: `start_tls` or a transfer says what."""
        super().add_channel(events=0)

    # --- the session's verbs

    def send_from(self, source: Source, on_over: Callable[[End], None]) -> None:
        """Send all of *source*, close, then call *on_over*."""
        self._source = source
        self._use_sendfile = isinstance(source, FileSource) and not self.is_secured
        if self._use_sendfile:
            # Only full packets until the end, which closing sends: a tenth faster.
            with suppress(OSError):  # the peer has gone already
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self._start("up", self._pump, on_over)

    def receive_into(self, sink: Sink, on_over: Callable[[End], None]) -> None:
        """Receive into *sink* until the peer closes, then call *on_over*."""
        self._sink = sink
        self._buffers.open()
        # At once: a record may wait within TLS, where the poller sees nothing.
        self._start("down", self._receive, on_over)

    def _start(
        self, direction: str, move: Callable[[], None], on_over: Callable[[End], None]
    ) -> None:
        self._on_over, self._moved_at_check = on_over, -1
        self._begin_flow(direction)
        if self._demand_protection():
            move()
        if not self._end:  # a small file is over already
            self.call_later(STALL_TIMEOUT_S, self._check_progress)

    def _demand_protection(self) -> bool:
        """Never one byte in clear where TLS was agreed, whoever calls too early."""
        if self._must_be_secured and not self.is_secured:
            self.cut("the data connection is not protected")
            return False
        return True

    def cut(self, reason: str) -> None:
        """End the transfer at once."""
        self._finish(End(How.CUT, reason=reason))

    # --- sending

    def _pump(self) -> None:
        budget = BURST_BYTES
        while self._source and not (self._end or self._has_job) and self._has_turn():
            sent = self._send_file() if self._use_sendfile else self._send_view()
            if sent is None:
                break
            self.moved += sent
            budget -= sent
            self._spend(sent)
            if budget <= 0:
                break
        self.update_events()

    def _send_view(self) -> int | None:
        """Send some; None if there is nothing to do before the next event."""
        assert self._source is not None
        if not self._view:
            chunk = self._source.read_now()
            if chunk is None:
                self._run(self._source.read, then=self._on_chunk)
                return None
            if not chunk:
                self._finish(End(How.COMPLETE))
                return None
            self._view = chunk
        try:
            sent = int(self.socket.send(self._view[: self._room()]))
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return None
        except OSError:
            self.cut("the client closed the data connection")
            return None
        self._view = self._view[sent:]
        return sent

    def _send_file(self) -> int | None:
        assert isinstance(self._source, FileSource)
        source = self._source
        if source.left == 0:
            self._finish(End(How.COMPLETE))
            return None
        count = source.find_warm(min(source.left, self._room()))
        if count == 0:
            self._run(source.warm, then=self._on_warm)
            return None
        try:
            sent = os.sendfile(self._fileno, source.fd, source.offset, count)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW):
                self._use_sendfile = False  # this file system has none
                return 0
            if error.errno == errno.EIO:
                self._finish(End(How.FAILED, error=error))
            else:
                self.cut("the client closed the data connection")
            return None
        if sent == 0:  # shorter than it was: the reading path says so
            self._use_sendfile = False
        source.offset += sent
        return sent

    def _on_chunk(self, outcome: Outcome[memoryview]) -> None:
        self._view = outcome.get()
        if self._view is NOT_YET:
            self._wait_for_source()
        elif not self._view:
            self._finish(End(How.COMPLETE))
        else:
            self._pump()

    def _wait_for_source(self) -> None:
        """Ask again later; a client that has gone would not be noticed by sending."""
        if has_left(self._fileno, is_any_byte_the_end=self.is_secured):
            self.cut("the client closed the data connection")
        else:
            self._is_pausing = True
            self.call_later(NOT_YET_S, self._go_on)

    def _on_warm(self, outcome: Outcome[None]) -> None:
        outcome.get()
        self._pump()

    # --- the limit of bandwidth

    def _begin_flow(self, direction: str) -> None:
        self._flow = self._throttle(direction) if self._throttle else None
        if self._flow:
            self._flow.watch(lambda: self.socket)

    def _has_turn(self) -> bool:
        """Tell whether bytes may move now; else `_go_on` comes when they may."""
        if self._is_pausing:
            return False
        wait_s = self._flow.wait_s(self._room()) if self._flow else 0.0
        if wait_s > 0:
            self._is_pausing = True
            self.call_later(wait_s, self._go_on)
        return wait_s <= 0

    def _room(self) -> int:
        """How many bytes may move at once."""
        if self._flow is None:
            return BURST_BYTES
        return self._flow.left or max(self._buffer_size, 1 << 16)

    def _spend(self, count: int) -> None:
        if self._flow:
            self._flow.spend(count)

    def _go_on(self) -> None:
        self._is_pausing = False
        if self._source is not None:
            self._pump()
        else:
            self._receive()

    # --- receiving

    def _receive(self) -> None:
        while self._sink and not self._end and self._has_turn():
            if self._buffers.is_full:
                if self._has_job:
                    break
                self._flush()
            if not self._fill():
                break
        self.update_events()

    def _fill(self) -> bool:
        """Receive until the buffer is full or the turn is over; False if there is no
        more now. By TLS this goes round for every 16 KiB: little may happen here."""
        read, view = self.socket.recv_into, self._buffers.rest()[: self._room()]
        total, count = 0, 1
        end: End | None = None
        try:
            while count and total < len(view):
                count = read(view[total:])
                total += count
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            count = -1
        except ssl.SSLZeroReturnError:
            count = 0
        except OSError:
            end = End(How.CUT, reason="the data connection broke")
        self._take(total)
        if end or not count:
            self._finish(end or End(How.COMPLETE))
        return end is None and count > 0

    def _take(self, count: int) -> None:
        self._buffers.filled += count
        self.moved += count
        self._spend(count)
        assert self._sink is not None
        room = self._sink.room()
        if room is not None and not self._has_job and self._buffers.filled > room:
            self._buffers.filled = room
            error = TooLong("more bytes than the ticket's file has")
            self._finish(End(How.FAILED, error=error))

    def _flush(self) -> None:
        """Let a worker write what has come; go on into the other buffer."""
        assert self._sink is not None
        full = self._buffers.turn(is_last=self._closed)
        self._run(self._sink.write, full, then=self._on_written)

    def _on_written(self, outcome: Outcome[None]) -> None:
        outcome.get()
        self._receive()

    # --- workers

    def _run(
        self,
        function: Callable[..., Any],
        *args: Any,
        then: Callable[[Outcome[Any]], None],
    ) -> None:
        self._has_job = True

        def done(outcome: Outcome[Any]) -> None:
            self._has_job = False
            if outcome.error is not None:
                self._fail(outcome.error)
            elif self._end is None:
                then(outcome)
            self._settle()

        self._files.run(function, *args, then=done)
        self.update_events()

    # --- the end

    def _fail(self, error: OSError | FonshareError) -> None:
        # Also after the end: bytes that could not be written undo a COMPLETE.
        self._end = End(How.FAILED, error=error)
        self.close()

    def _finish(self, end: End) -> None:
        if self._end is None:
            self._end = end
            if end.how is How.COMPLETE:
                self.end_tls()
            else:
                self.close()

    def _settle(self) -> None:
        """Write what is left of an upload, then report; once."""
        if not self._closed or self._has_job or self._is_reported:
            return
        assert self._end is not None
        error = self._end.error
        if self._sink and self._buffers.filled and isinstance(error, TooLong | None):
            self._flush()  # of what is too long, all up to the limit is well
            return
        self._is_reported = True
        if self._on_over is None:
            self._on_gone(self)
        else:
            end = self._end
            self._on_over(End(end.how, self.moved, end.reason, end.error))

    def _check_progress(self) -> None:
        if self.moved == self._moved_at_check and not self._has_job:
            self.cut("nothing moved for too long")
            return
        self._moved_at_check = self.moved
        self.call_later(STALL_TIMEOUT_S, self._check_progress)

    # --- what tls.py, the poller and asynchat ask

    def wanted_events(self) -> int:
        if self._end or self._is_pausing:
            return 0
        if self._source is not None:
            return 0 if self._has_job else WRITE
        if self._sink is not None:
            return 0 if self._buffers.is_full and self._has_job else READ
        return 0

    def on_secured(self) -> None:
        self._on_confirmed(self)

    def readable(self) -> bool:
        return self.tls_state is TlsState.SHAKING or self._sink is not None

    def writable(self) -> bool:
        return self._sink is None

    def handle_read(self) -> None:
        self._receive()

    def handle_write(self) -> None:
        self._pump()

    def handle_close(self) -> None:
        self._finish(End(How.CUT, reason="the data connection broke"))

    def handle_error(self) -> None:
        log.exception("a data connection failed")
        self._fail(WorkerFailed("internal error"))

    def close(self) -> None:
        if not self._closed:
            if self._flow:
                self._flow.close()
            super().close()
            if self._end is None:
                self._end = End(How.CUT, reason="the data connection was closed")
            self._settle()
