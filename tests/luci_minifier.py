"""What LuCI's build does to scripts: the rules of JSMin, which its jsmin keeps to.

It knows no JavaScript, only characters: it drops comments, and blanks and line ends
that it takes for needless by what stands around them. A slash begins a regular
expression only after certain characters. Written from those rules; raises Broken where
jsmin ends with an error.
"""

ENDS = ""  # what is read behind the last character
QUOTES = "'\"`"
AFTER_LINE_END = "{[(+-!~"  # a line end before these stays
BEFORE_LINE_END = "}])+-\"'`"  # and after these
BEFORE_REGEX = "(,=:[!&|?+-~*/{};"
SIGNS = "+-*/"


class Broken(Exception):
    """The minifier would end with an error."""


def minify(source: str) -> str:
    """Return *source* as LuCI's packages hold it."""
    return _Minifier(source).run()


def _is_word(char: str) -> bool:
    return char != ENDS and (char.isalnum() or char in "_$\\" or char > "~")


class _Minifier:
    def __init__(self, source: str) -> None:
        self._source, self._at = source, 0
        self._written: list[str] = []
        self._last, self._before = ENDS, ENDS  # read by _next, and before that
        self._a, self._b = "\n", ENDS

    def run(self) -> str:
        self._read_b()
        while self._a != ENDS:
            a, b = self._a, self._b
            if a == " ":
                keep = _is_word(b)
                self._write_a() if keep else self._drop_a()
            elif a == "\n":
                if b == " ":
                    self._read_b()
                elif _is_word(b) or (b != ENDS and b in AFTER_LINE_END):
                    self._write_a()
                else:
                    self._drop_a()
            elif not _is_word(a) and (
                b == " " or (b == "\n" and a not in BEFORE_LINE_END)
            ):
                self._read_b()
            else:
                self._write_a()
        return "".join(self._written)

    # --- reading ---------------------------------------------------------------------

    def _get(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _peek(self) -> str:
        char = self._source[self._at : self._at + 1]
        if char == ENDS or char == "\n" or char >= " ":
            return char
        return "\n" if char == "\r" else " "

    def _next(self) -> str:
        char = self._get()
        if char == "/" and self._peek() == "/":
            while char not in ("\n", ENDS):
                char = self._get()
        elif char == "/" and self._peek() == "*":
            end = self._source.find("*/", self._at + 1)
            if end < 0:
                raise Broken("a comment has no end")
            self._at, char = end + 2, " "
        self._before, self._last = self._last, char
        return char

    # --- acting ----------------------------------------------------------------------

    def _write_a(self) -> None:
        self._written.append(self._a)
        is_sign = self._a in SIGNS and self._b != ENDS and self._b in SIGNS
        if self._before in ("\n", " ") and is_sign:
            self._written.append(self._before)
        self._drop_a()

    def _drop_a(self) -> None:
        self._a = self._b
        if self._a != ENDS and self._a in QUOTES:
            self._copy_string()
        self._read_b()

    def _copy_string(self) -> None:
        quote = self._a
        while True:
            self._written.append(self._a)
            self._a = self._get()
            if self._a == quote:
                return
            if self._a == "\\":
                self._written.append(self._a)
                self._a = self._get()
            if self._a == ENDS:
                raise Broken("a string has no end")

    def _read_b(self) -> None:
        self._b = self._next()
        if self._b != "/" or self._a == ENDS or self._a not in BEFORE_REGEX:
            return
        self._written.append(self._a + (" " if self._a in "/*" else "") + "/")
        is_set = False
        while True:
            self._a = self._get()
            if self._a == ENDS:
                raise Broken("a regular expression has no end")
            if self._a == "/" and not is_set:
                if self._peek() in ("/", "*") and self._peek() != ENDS:
                    raise Broken("a comment follows a regular expression")
                break
            if self._a == "\\":
                self._written.append(self._a)
                self._a = self._get()
            else:
                is_set = self._a == "[" or (is_set and self._a != "]")
            self._written.append(self._a)
        self._b = self._next()
