"""What a row of the command table is made of. Pure words; the table is commands.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None

# Of a listing, if nobody says how many: less than 1 MiB of answer.
ROWS_UNASKED = 1000


class Kind(Enum):
    """What a value may be; the values are the words used in complaints."""

    TEXT = "text"
    INTEGER = "a whole number"
    CHOICE = "a choice"
    SWITCH = "true or false"
    SIZE = "a size"  # in a request: bytes, or text as people write it
    AGE = "an age"  # in a request: seconds, or text as people write it


class Page(list[JSON]):
    """An answer of many rows that may not be all.

    `more` is the cursor that goes on behind them. `has_more` without it: the same
    command gives the rest. `is_cut`: the time was over before everything was looked at.
    """

    def __init__(
        self,
        rows: Iterable[JSON] = (),
        more: str | None = None,
        *,
        has_more: bool = False,
        is_cut: bool = False,
    ) -> None:
        super().__init__(rows)
        self.more, self.is_cut = more, is_cut
        self.has_more = has_more or more is not None

    def rest(self) -> dict[str, JSON]:
        """Return what is said besides the rows: the arguments of `__init__`."""
        return {"more": self.more, "has_more": self.has_more, "is_cut": self.is_cut}


class Place(Enum):
    """Where a command does its work."""

    AGENT = "agent"  # a request over the control socket
    HERE = "here"  # in the process of the command line; needs no running agent


class Access(Enum):
    """What LuCI's rights need for it."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional argument or flag; `name` is its key in a request."""

    name: str
    help: str
    kind: Kind = Kind.TEXT
    optional: bool = False  # flags say `required` by not being optional
    repeated: bool = False
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**31 - 1
    default: int | str | None = None
    is_sent: bool = True  # False: only the command line reads it
    is_secret: bool = False  # True: in requests only, for all can read a command line
    is_file: bool = False  # for completion: names something on this machine
    shown: str = ""  # how help writes the value; else the name in capitals

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def word(self) -> str:
        if self.choices and not self.shown:
            return "|".join(self.choices)
        return self.shown or self.name.upper().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    name: str  # as typed: "group invite"
    help: str
    example: str  # what follows `fonshare `
    answer: str = ""  # the JSON, in the words of the contract
    arguments: tuple[Argument, ...] = ()
    flags: tuple[Argument, ...] = ()
    access: Access = Access.READ
    # Of a WRITE one: with this switch it only looks; "": without any argument.
    looks_with: str | None = None
    place: Place = Place.AGENT
    is_shown: bool = True  # False: a step of another command, not for people

    @property
    def typed_flags(self) -> tuple[Argument, ...]:
        """The flags that the command line takes."""
        return tuple(flag for flag in self.flags if not flag.is_secret)

    @property
    def handler(self) -> str:
        """The name of its method in Handlers."""
        return self.name.replace(" ", "_")
