"""Says what is wrong where a part that is loaded on first use cannot be read.

The agent's files may lie on a disk that is gone (a router's /usr, with extroot): who
needed the part then says so, and the next use tries again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from fonshare_agent.errors import DiskMissing


@contextmanager
def loading() -> Iterator[None]:
    """Import such parts in this block; raises DiskMissing if they cannot be read."""
    try:
        yield
    except (ImportError, OSError) as error:
        raise DiskMissing(f"a part of the agent cannot be read now: {error}") from error
