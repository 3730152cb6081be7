"""What the tables of state.db that are loaded late have in common.

Part of StateStore, which says how SQL is run.
"""

import contextlib
from collections.abc import Callable
from typing import Any


class Tables:
    """*rows* and *write* run SQL; *transaction* makes several of them one."""

    def __init__(
        self,
        rows: Callable[..., list[Any]],
        write: Callable[..., None],
        transaction: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._rows, self._write, self._transaction = rows, write, transaction
