"""What is done for processes: when memory runs out, and until a child has ended."""

import os
import signal
import time
from pathlib import Path

LOOK_S = 0.01  # between two looks at whether it has ended


def offer_to_oom_killer(score: int, process: int | str = "self") -> None:
    """Have the kernel end *process* when memory runs out: the sooner, the higher
    *score* is (1000: first). OSError: it has ended, or there is no /proc."""
    Path(f"/proc/{process}/oom_score_adj").write_text(str(score))


def reap(child: int, until: float) -> int | None:
    """Wait for the end of *child* and return its exit status; None if it had not ended
    at *until* (of `time.monotonic`), and was killed. Blocks."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(LOOK_S)
