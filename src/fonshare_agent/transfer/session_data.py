"""The bytes of a ticket's file on their way: one data connection of a session.

Each ends in one reply on the control connection, which says what the peer found. One
thread at a time. Must not know how a data connection is opened.
"""

from typing import TYPE_CHECKING

from fonshare_agent.errors import ConnectionLost, FonshareError, SourceRefused
from fonshare_agent.transfer.wire import Pace, Wire

if TYPE_CHECKING:
    from fonshare_agent.transfer.session import Session


class Download:
    """The bytes of a file from some offset on."""

    def __init__(self, session: "Session", wire: Wire) -> None:
        self._session, self._wire = session, wire
        self._pace = Pace(wire.patience)

    def fill(self, view: memoryview) -> int:
        """Read until *view* is full; fewer bytes come only at the end."""
        return self._wire.fill(view, self._pace)

    def gather(self, count: int) -> None:
        """From now on it may come in such pieces, a fifth of a second late at most."""
        self._wire.gather(count)

    def finish(self) -> None:
        """Demand that the file ends here, and that the peer found nothing amiss.

        Raises SourceChanged if the file changed while it was read.
        """
        extra = self._wire.receive_into(memoryview(bytearray(1)))
        self._wire.close()
        if extra:
            raise SourceRefused("the peer sends more than the file has")
        self._session._expect_end()

    def explain(self) -> FonshareError:
        """End it; return why the bytes ended too soon, as the peer says it."""
        self._wire.close()
        try:
            self._session._expect_end()
        except FonshareError as error:
            return error
        return ConnectionLost("the file ended too soon")

    def break_off(self) -> None:
        """Want no more of the file; the session serves on."""
        self._wire.close()
        self._session._end_early()

    def close(self) -> None:
        """Hang up without waiting for anything. A second call does nothing."""
        self._wire.close()


class Upload:
    """Bytes on their way into a file at the peer."""

    def __init__(self, session: "Session", wire: Wire) -> None:
        self._session, self._wire = session, wire

    def send(self, view: memoryview) -> None:
        self._wire.send(view)

    def finish(self) -> None:
        """Say that this was all, and wait until the peer confirms it."""
        self._wire.end_sending()
        self._wire.close()
        self._session._expect_end()

    def close(self) -> None:
        """Hang up; the peer takes what it got for cut short. Twice does nothing."""
        self._wire.close()
