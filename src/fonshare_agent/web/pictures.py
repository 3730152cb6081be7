"""An invite as a QR picture, told as the path that a browser draws."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from fonshare_agent.control.rows import JSON
from fonshare_agent.errors import UsageError
from fonshare_agent.web.refusals import LibraryMissing

TEXT_MAX: Final = 1024  # characters: an invite has some 300
BORDER: Final = 4  # modules around it, as the standard asks


def draw_qr(text: str) -> dict[str, JSON]:
    """Return *text* as {size, path}: the path of an SVG of size by size modules.

    No markup: a page that takes none cannot be made to show any.
    """
    try:
        import segno
    except ModuleNotFoundError as error:
        raise LibraryMissing(
            "QR pictures need a library", thing=str(error.name)
        ) from None
    try:
        picture = segno.make(text, error="m", micro=False)
    except ValueError:
        raise UsageError("the text is too long for a QR picture", thing="qr") from None
    rows = [bytes(row) for row in picture.matrix]
    return {"size": len(rows) + 2 * BORDER, "path": "".join(_path(rows))}


def _path(rows: list[bytes]) -> Iterator[str]:
    """Yield a flat box for each run of dark modules."""
    for y, row in enumerate(rows, BORDER):
        x = BORDER
        for is_dark, run in groupby(row):
            length = len(list(run))
            if is_dark:
                yield f"M{x} {y}h{length}v1h-{length}z"
            x += length
