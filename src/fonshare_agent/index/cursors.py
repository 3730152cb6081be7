"""Cursors: where a listing goes on, as one opaque word that stays valid.

A cursor holds the sort key of a row and not its number, so rows that come and go in
between move nothing. It comes back from anybody: what does not have the shape asked for
is a UsageError. Pure.
"""

import base64
import json

from fonshare_agent.errors import UsageError

NUMBER_MAX = 2**63 - 1  # what SQLite holds


def write(*values: int | str) -> str:
    """Return the word that `read` takes apart again."""
    text = json.dumps(values, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def read(cursor: str, first: str, *kinds: type) -> list[int | str]:
    """Return the values behind *first*, which says what kind of cursor it must be."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise refused(cursor) from None
    if not isinstance(values, list) or len(values) != len(kinds) + 1:
        raise refused(cursor)
    if values[0] != first or [type(value) for value in values[1:]] != list(kinds):
        raise refused(cursor)
    if any(type(one) is int and abs(one) > NUMBER_MAX for one in values):
        raise refused(cursor)
    return values[1:]


def refused(cursor: str) -> UsageError:
    """Return the complaint about *cursor*."""
    return UsageError(
        "--after takes a cursor that the same command gave, with the same --sort",
        thing=ascii(cursor)[:80],
        next="Leave --after out to begin anew.",
    )
