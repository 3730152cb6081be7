"""Folds names and words so that people find what they mean.

Owns what counts as the same letter: decomposed and composed, accented and plain,
capital and small (DESIGN section 6: SQLite's trigram tokenizer cannot do this before
3.45). Pure. Words are data: no character of a word has a meaning to the search.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import islice

TRIGRAM = 3  # characters the index is made of
QUERY_CHARS_MAX = 512  # twice the longest name; what follows narrows nothing
CHARACTERS_KEPT = 2048  # a few scripts; names of others' must not fill the memory
GRAMS_MAX = 48  # trigrams looked up; hits are checked against all the words anyway

# Where a word begins inside a name: a letter or digit after something else; each
# character of a script that is written without spaces is a word of its own.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
# Compiled when a name needs it (`re` keeps it): it would be a twentieth of a start.
_WORD_START = rf"(?<![^\W_])(?=[^\W_])|(?=[{_SPACELESS}])|(?<=[{_SPACELESS}])(?=\w)"
_ASCII_WORD_START = re.compile(r"(?<![a-z0-9])(?=[a-z0-9])")
_BREAKS = re.compile(r"[\s/]+")


def fold(text: str) -> str:
    """Return *text* without case, accents and differences of composition."""
    return text.lower() if text.isascii() else text.translate(_folds)


def fold_name(raw: bytes) -> str:
    """Return a file name folded; bytes that are not UTF-8 stay distinct."""
    return fold(raw.decode("utf-8", "surrogateescape"))


class _Folds(dict[int, str]):
    """What each character becomes, for `str.translate`; filled as it is used.

    One by one is right, and ten times as fast as the whole text: what depends on the
    neighbours is only in which order marks stand, and all marks go.
    """

    def __missing__(self, code: int) -> str:
        if len(self) >= CHARACTERS_KEPT:
            self.clear()
        # Casefolding may compose or decompose anew (ß, ŉ): marks go after it as well.
        folded = _without_marks(_without_marks(chr(code)).casefold())
        self[code] = folded
        return folded


_folds = _Folds()


def _without_marks(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def index_text(folded: str) -> str:
    """Return what of *folded* goes into the trigram index.

    Two spaces stand before each word: the trigrams `  a` and ` ab` then find the
    words that begin with one or two given letters.
    """
    starts = _ASCII_WORD_START if folded.isascii() else re.compile(_WORD_START)
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
    last = len(marked) - TRIGRAM
    if last < 0:
        return []
    # Side by side, not overlapping: each letter once tells nearly as much, and every
    # trigram costs a walk through all entries that have it.
    return [marked[min(at, last) :][:TRIGRAM] for at in range(0, last + TRIGRAM, 3)]


class Matcher:
    """Tells how well a folded place and name hold every word, if they do.

    Words of one or two letters must begin a word; signs may stand anywhere.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = []
        for word in words:
            is_short = len(word) < TRIGRAM and index_text(word).startswith("  ")
            self._words.append(_Word(word, must_begin=is_short))

    def rank(self, name: str, get_above: Callable[[], str]) -> int | None:
        """Return how good a match is: 0 is best, None is none.

        0: the name has each word as a whole one. 1: the name holds all of them. 2: it
        holds some, the folders the others. 3: only the folders do. *get_above* gives
        the folders, empty or ending with `/`, which no word holds; it is asked only if
        the name does not have everything.
        """
        missing = [word for word in self._words if not word.is_in(name)]
        if not missing:
            return 0 if all(word.is_whole_in(name) for word in self._words) else 1
        above = get_above()
        if not all(word.is_in(above) for word in missing):
            return None
        return 2 if len(missing) < len(self._words) else 3


class _Word:
    """One word to find; if it *must_begin*, then only where a word begins."""

    def __init__(self, word: str, *, must_begin: bool) -> None:
        self._word = word
        self._beginning = (
            re.compile(f"(?:{_WORD_START}){re.escape(word)}") if must_begin else None
        )
        begin = r"(?<![^\W_])" if word[0].isalnum() else ""
        end = r"(?![^\W_])" if word[-1].isalnum() else ""
        self._whole = re.compile(begin + re.escape(word) + end)

    def is_in(self, folded: str) -> bool:
        return self._word in folded and (
            self._beginning is None or self._beginning.search(folded) is not None
        )

    def is_whole_in(self, folded: str) -> bool:
        return self._whole.search(folded) is not None
