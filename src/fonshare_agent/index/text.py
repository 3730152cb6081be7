"""Folds names and words so that people find what they mean.

Owns what counts as the same letter: decomposed and composed, accented and plain,
capital and small (DESIGN section 6: SQLite's trigram tokenizer cannot do this before
3.45). Pure. Words are data: no character of a word has a meaning to the search.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import islice

TRIGRAM = 3  # characters the index is made of
QUERY_CHARS_MAX = 512  # twice the longest name; what follows narrows nothing
CHARACTERS_KEPT = 2048  # a few scripts; names of others' must not fill the memory
GRAMS_MAX = 48  # trigrams looked up; hits are checked against all the words anyway

# Where a word begins inside a name: a letter or digit after something else; each
# character of a script that is written without spaces is a word of its own.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD_START = re.compile(
    rf"(?<![^\W_])(?=[^\W_])|(?=[{_SPACELESS}])|(?<=[{_SPACELESS}])(?=\w)"
)
_ASCII_WORD_START = re.compile(r"(?<![a-z0-9])(?=[a-z0-9])")
_BREAKS = re.compile(r"[\s/]+")


def fold(text: str) -> str:
    """Return *text* without case, accents and differences of composition."""
    if text.isascii():
        return text.lower()
    # Casefolding may compose or decompose anew (ß, ŉ): marks go after it as well.
    return _without_marks(_without_marks(text).casefold())


def fold_name(raw: bytes) -> str:
    """Return a file name folded; bytes that are not UTF-8 stay distinct."""
    return fold(raw.decode("utf-8", "surrogateescape"))


class _Marks(dict[int, int | None]):
    """Maps combining marks to nothing, for `str.translate`; filled as it is used."""

    def __missing__(self, code: int) -> int | None:
        if len(self) >= CHARACTERS_KEPT:
            self.clear()
        kept = None if unicodedata.combining(chr(code)) else code
        self[code] = kept
        return kept


_marks = _Marks()


def _without_marks(text: str) -> str:
    return unicodedata.normalize("NFKD", text).translate(_marks)


def index_text(folded: str) -> str:
    """Return what of *folded* goes into the trigram index.

    Two spaces stand before each word: the trigrams `  a` and ` ab` then find the
    words that begin with one or two given letters.
    """
    starts = _ASCII_WORD_START if folded.isascii() else _WORD_START
    marked = starts.sub("  ", folded)
    # FTS5 takes UTF-8 only; what cannot be encoded is not searchable by letters.
    return marked.encode("utf-8", "replace").decode()


def split_words(query: str) -> tuple[str, ...]:
    """Return the folded words of *query*, each once; a `/` parts words as in paths."""
    words = _BREAKS.split(fold(query[:QUERY_CHARS_MAX]))
    return tuple(dict.fromkeys(word for word in words if word))


def match_expression(words: Iterable[str]) -> str | None:
    """Return the FTS5 expression that all texts holding *words* satisfy.

    Others may satisfy it too (letters elsewhere in the name): check with `Matcher`.
    None if the index cannot narrow the search, as for `%` alone.
    """
    grams: dict[str, None] = {}
    for word in words:
        grams.update(dict.fromkeys(_grams(word)))
    if not grams:
        return None
    quoted = ('"' + gram.replace('"', '""') + '"' for gram in islice(grams, GRAMS_MAX))
    return " AND ".join(quoted)


def _grams(word: str) -> list[str]:
    marked = index_text(word)
    if marked.startswith("  "):
        if len(word) >= TRIGRAM:
            marked = marked[2:]  # it may begin inside a word of the name
        elif len(marked) > TRIGRAM:
            marked = marked[1:]
    return [marked[at : at + TRIGRAM] for at in range(len(marked) - TRIGRAM + 1)]


class Matcher:
    """Tells whether a folded text holds every word; short ones begin a word of it."""

    def __init__(self, words: Iterable[str]) -> None:
        self._plain = []
        self._marked = []
        for word in words:
            marked = index_text(word)
            if len(word) < TRIGRAM and marked.startswith("  "):
                self._marked.append(marked)
            else:
                self._plain.append(word)

    def matches(self, folded: str) -> bool:
        if not all(word in folded for word in self._plain):
            return False
        if not self._marked:
            return True
        text = index_text(folded)
        return all(word in text for word in self._marked)
