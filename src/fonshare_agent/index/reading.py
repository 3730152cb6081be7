"""How urgent the kernel takes a thread's reading of the disk to be.

Linux derives it from the nice value only within one class, which mq-deadline, the usual
scheduler of a USB disk, does not tell apart; so the class is set (ioprio_set(2)). The C
library has no such function, and the number of the call is another on each machine.
"""

import os
import sys
import threading
from functools import cache

from fonshare_agent.libc import INT, MissingCall, libc_call

AS_NICE = 0  # best effort, as the nice value says
IDLE = 3 << 13  # when nobody else reads or writes; at the latest after some seconds
_THREAD = 1  # what is set is that of one thread; 0 is the one that calls

# By the beginning of what uname says, and the bits of a number in this process: one of
# 32 may run under a kernel of 64.
_SET = {
    ("x86_64", 64): 251,
    ("x86_64", 32): 289,
    ("i", 32): 289,
    ("aarch64", 64): 30,
    ("aarch64", 32): 314,
    ("arm", 32): 314,
    ("mips", 32): 4314,
    ("mips", 64): 5273,
    ("ppc", 32): 273,
    ("ppc", 64): 273,
    ("riscv", 64): 30,
    ("loongarch", 64): 30,
}


def step_back(nice: int) -> None:
    """Make the calling thread at least that nice; only root could make it less."""
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < nice:
        os.setpriority(os.PRIO_PROCESS, thread, nice)


def set_reading(urgency: int) -> bool:
    """Set it for the calling thread; False if this machine has no such thing."""
    number = _own_number()
    if number is None:
        return False
    try:
        libc_call("syscall", INT, INT, INT, INT)(number, _THREAD, 0, urgency)
    except (MissingCall, OSError):
        return False
    return True


@cache
def _own_number() -> int | None:
    return set_number(os.uname().machine, sys.maxsize.bit_length() + 1)


def set_number(machine: str, bits: int) -> int | None:
    """Return the number of ioprio_set on *machine*; that of ioprio_get is one more."""
    for (begin, width), number in _SET.items():
        if machine.startswith(begin) and width == bits:
            return number
    return None
