"""How a test waits: for a condition, with a patience that no busy machine uses up.

A test never asserts how long something took. What must not wait is shown by what it
would have had to wait for: an event that has not come yet, a pause of an hour.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0  # well below pytest's own limit, so that it is this which speaks
LOOK_S = 0.01


def wait_until(
    condition: Callable[[], T],
    what: str = "the condition",
    *,
    within_s: float = PATIENCE_S,
    look_s: float = LOOK_S,
) -> T:
    """Return the first true value of *condition*; fail when it stays false."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(look_s)
    return value
