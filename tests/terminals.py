"""The command line as a person meets it: on a (pseudo) terminal."""

import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from fcntl import ioctl

from waiting import PATIENCE_S


class Terminal:
    """`fonshare` with a pseudo-terminal for stdin, stdout and stderr."""

    def __init__(self, *argv: str, columns: int = 80) -> None:
        self.shown = ""
        self._seen = 0
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "fonshare_agent", *argv])
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

    def wait_for(self, text: str) -> None:
        """Wait until *text* comes, after what was waited for before."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown[self._seen :]:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.shown!r}"
            assert self._read(), f"{text!r} never came: {self.shown!r}"
        self._seen = self.shown.index(text, self._seen) + len(text)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE_S)
        assert ready, f"nothing more came: {self.shown!r}"
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # the program closed its end
            return False
        self.shown += chunk.decode()
        return bool(chunk)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read what is left and return the exit status."""
        while self._read():
            pass
        os.close(self._master)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._master)
