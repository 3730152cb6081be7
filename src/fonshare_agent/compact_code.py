"""Code objects without what the agent never reads, and which else stays in memory.

A traceback names the same files, lines and functions as before. Gone are

- entries in the tables of line numbers: the compiler writes one for every instruction,
  though most are of the line before (two thirds of the tables);
- the qualified names of functions: "open() takes no arguments" instead of
  "Session.open()";
- docstrings, which -OO drops only from what is compiled here.

Knows nothing of files or modules, and imports nothing: what it makes small comes after.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

# The table's format is of CPython 3.11 and later (Objects/locations.md): runs of up to
# 8 code units of two bytes, here always without columns.
_UNIT_BYTES, _RUN_UNITS = 2, 8
_LINE_ONLY, _NO_LINE = 0x80 | 13 << 3, 0x80 | 15 << 3
_IS_FUNCTION = 0x1 | 0x2  # CO_OPTIMIZED, CO_NEWLOCALS
# So long that no function uses the same text as a value of its own as well.
_DOCSTRING_MIN = 40


def compacted(code: CodeType) -> CodeType:
    """Return *code*, and all code inside it, without what the module's text lists."""
    kind, constants = type(code), code.co_consts
    if any(isinstance(one, kind) for one in constants):
        constants = tuple(
            compacted(one) if isinstance(one, kind) else one for one in constants
        )
    if _has_docstring(code):
        constants = (None, *constants[1:])
    table = _line_table(code)
    return code.replace(
        co_consts=constants,
        co_linetable=min(table, code.co_linetable, key=len),
        co_qualname=code.co_name,
    )


def _has_docstring(code: CodeType) -> bool:
    """Whether the first constant is one: a function's, but no comprehension's."""
    if code.co_flags & _IS_FUNCTION != _IS_FUNCTION or code.co_name.startswith("<"):
        return False
    first = code.co_consts[0] if code.co_consts else None
    return isinstance(first, str) and len(first) >= _DOCSTRING_MIN


def _line_table(code: CodeType) -> bytes:
    table, before = bytearray(), code.co_firstlineno
    for units, line in _runs(code):
        head, step = _NO_LINE, b""
        if line is not None:
            head, step = _LINE_ONLY, _signed(line - before)
            before = line
        while units > _RUN_UNITS:
            table.append(head | _RUN_UNITS - 1)
            table += step
            step = b"" if line is None else b"\0"  # the same line
            units -= _RUN_UNITS
        table.append(head | units - 1)
        table += step
    return bytes(table)


def _runs(code: CodeType) -> list[tuple[int, int | None]]:
    """Return how many code units in a row are of one line, and that line."""
    runs: list[tuple[int, int | None]] = []
    start, stop = 0, 0
    last: int | None = None
    for begin, end, line in code.co_lines():
        if line != last:
            if begin > start:
                runs.append(((begin - start) // _UNIT_BYTES, last))
            start, last = begin, line
        stop = end
    if stop > start:
        runs.append(((stop - start) // _UNIT_BYTES, last))
    return runs


def _signed(number: int) -> bytes:
    """Six bits a byte, lowest first; the very lowest is the sign."""
    rest = abs(number) << 1 | (number < 0)
    if rest < 64:
        return rest.to_bytes(1, "little")
    coded = bytearray()
    while rest > 63:
        coded.append(rest & 63 | 64)
        rest >>= 6
    coded.append(rest)
    return bytes(coded)
