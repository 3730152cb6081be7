"""An invite as a QR picture."""

from typing import Final

from fonshare_agent.errors import UsageError
from fonshare_agent.web.refusals import LibraryMissing

TEXT_MAX: Final = 1024  # characters: an invite has some 300


def draw_qr(text: str) -> str:
    """Return *text* as a QR picture in SVG, dark on light in any theme."""
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
    return picture.svg_inline(
        dark="#000",
        light="#fff",
        border=4,
        omitsize=True,
        svgclass=None,
        lineclass=None,
    )
