"""The files of the page: its shell, ours; and its modules, which LuCI shows as well.

Nothing here is secret. Only files that lie in one of two folders are served, by plain
names, so no path leads anywhere else.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Final

from fonshare_agent.web.exchange import Request, Response
from fonshare_agent.web.refusals import NoSuchPage
from fonshare_agent.web.words import load_words

HERE: Final = Path(__file__).parent
SHELL: Final = HERE / "shell"  # what only this host needs: the sign-in, the frame
MODULES: Final = HERE / "modules"  # the page itself, a link into luci-app-fonshare
WORDS: Final = HERE / "po"  # likewise
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}(\.[a-z0-9]{1,10}){1,2}\Z")
FOLDER: Final = re.compile(r"[a-z0-9]{1,20}\Z")


class PageFiles:
    """What is served to everybody, by address."""

    def __init__(self, modules: Path = MODULES, words: Path = WORDS) -> None:
        self._modules, self._words = modules, words

    def find(self, request: Request) -> Response:
        """Return the file at the request's path, or raise NoSuchPage."""
        if request.path == "/":
            return _file(request, SHELL, ["index.html"])
        folder, *names = request.path.removeprefix("/").split("/")
        if folder == "shell":
            return _file(request, SHELL, names)
        if folder == "page":
            return _file(request, self._modules, names)
        if folder == "words" and len(names) == 1 and names[0].endswith(".json"):
            words = load_words(self._words, names[0].removesuffix(".json"))
            return _cached(request, json.dumps(words).encode("ascii"), ".json")
        raise _missing(request)


def _file(request: Request, folder: Path, names: list[str]) -> Response:
    *folders, name = names or [""]
    if not (NAME.match(name) and all(map(FOLDER.match, folders))):
        raise _missing(request)
    file = folder.joinpath(*names)
    kind = file.suffix.lower()
    if kind not in KINDS:
        raise _missing(request)
    try:
        return _cached(request, file.read_bytes(), kind)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise _missing(request) from None


def _cached(request: Request, raw: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
    head = (("ETag", tag),)
    known = [one.strip() for one in request.header("If-None-Match").split(",")]
    if tag in known:
        return Response(status="304 Not Modified", headers=head, is_cached=True)
    return Response(raw, KINDS[kind], headers=head, is_cached=True)


def _missing(request: Request) -> NoSuchPage:
    return NoSuchPage("there is nothing at this address", thing=request.path[:80])
