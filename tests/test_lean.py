"""The resident process is smaller than its modules, and does the same."""

import dataclasses
import json
import marshal
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import CodeType

import pytest

from fonshare_agent import compact_copies
from fonshare_agent.compact_code import compacted
from fonshare_agent.compiling import compile_below
from fonshare_agent.errors import DiskMissing

SOURCE = Path(__file__).parent.parent / "src" / "fonshare_agent"


def all_code(code: CodeType) -> list[CodeType]:
    inside = [one for one in code.co_consts if isinstance(one, CodeType)]
    return [code, *(deep for one in inside for deep in all_code(one))]


def line_of_each_unit(code: CodeType) -> list[int | None]:
    return [
        line
        for begin, end, line in code.co_lines()
        for _ in range(begin, end, 2)
    ]  # fmt: skip


def compiled_modules() -> list[CodeType]:
    library = Path(os.__file__).parent
    files = [*SOURCE.rglob("*.py"), *library.glob("*.py")]
    return [compile(file.read_bytes(), file, "exec") for file in files]


def test_compact_code_has_the_lines_it_had_in_far_smaller_tables():
    before = after = 0
    for module in compiled_modules():
        pairs = zip(all_code(module), all_code(compacted(module)), strict=True)
        for was, now in pairs:
            assert line_of_each_unit(now) == line_of_each_unit(was), was
            before += len(was.co_linetable)
            after += len(now.co_linetable)
    assert after < before / 2


LONG = "A docstring as the standard library has them, of a few words."
FAR = "\n" * 300  # more lines in one step than fit into six bits
MODULE = f'''
class Thing:
    def told(self):
        "{LONG}"
        return [
            one for one in "ab"
        ], "{LONG[:20]}"

    def fail(self):{FAR}
        raise ValueError("here")
'''


def test_compact_code_runs_the_same_without_docstrings_and_qualified_names():
    names: dict[str, type] = {}
    exec(compacted(compile(MODULE, "module.py", "exec")), names)
    thing = names["Thing"]()
    assert thing.told() == (["a", "b"], LONG[:20])
    assert thing.told.__doc__ is None
    assert thing.told.__qualname__ == "told"
    with pytest.raises(ValueError, match="here") as caught:
        thing.fail()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.name) == ("module.py", "fail")
    assert frame.lineno == 1 + MODULE.splitlines().index(
        '        raise ValueError("here")'
    )


def test_the_package_compiles_what_python_then_takes(tmp_path, monkeypatch):
    (tmp_path / "compiled").mkdir()
    module = tmp_path / "compiled" / "module.py"
    module.write_text(MODULE)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    compile_below(tmp_path)

    program = (
        "from compiled import module as m; print(m.__cached__, m.Thing.told.__doc__)"
    )
    cached, docstring = subprocess.check_output(
        [sys.executable, "-v", "-c", program], cwd=tmp_path, text=True, stderr=2
    ).split()
    assert Path(cached).is_file()
    assert docstring == "None"


ANNOTATED = """
from dataclasses import dataclass, fields
from typing import ClassVar, Final, NamedTuple

LIMIT: Final = 3
later: dict[str, int]

@dataclass(frozen=True, slots=True)
class Value:
    number: int
    names: list[str]
    KNOWN: ClassVar[int] = 4

    def told(self, first: int, *rest: str, last: bool = True, **more: str) -> str:
        shown: str
        def inner(one: int) -> str:
            return str(one)
        shown = inner(first)
        return shown + repr((rest, last, more))

class Pair(NamedTuple):
    left: int
    right: str = "r"
"""


def test_compiled_for_the_package_functions_have_no_annotations(tmp_path, monkeypatch):
    (tmp_path / "annotated.py").write_text(ANNOTATED)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    compile_below(tmp_path)
    said = subprocess.check_output(
        [
            *(sys.executable, "-c"),
            "import annotated as a; v = a.Value(1, []); print(a.Value.KNOWN, a.LIMIT, "
            "[one.name for one in a.fields(v)], v, a.Pair(1), v.told(1, 'b', c='d'), "
            "a.Value.told.__annotations__, a.__annotations__, "
            "a.Pair.__annotations__, sep='\\n')",
        ],
        cwd=tmp_path,
        text=True,
    )
    assert said.splitlines() == [
        *("4", "3", "['number', 'names']", "Value(number=1, names=[])"),
        *("Pair(left=1, right='r')", "1(('b',), True, {'c': 'd'})", "{}", "{}"),
        "{'left': <class 'int'>, 'right': <class 'str'>}",
    ]


@pytest.fixture
def feed_module(tmp_path, monkeypatch):
    """A compiled file of the feed's, and a folder for copies."""
    monkeypatch.setattr(compact_copies, "FOLDER", str(tmp_path / "copies"))
    file = tmp_path / "module.pyc"
    file.write_bytes(b"the very same header of 16" + marshal.dumps(1))
    return file


def test_a_compact_copy_counts_while_its_origin_is_there(feed_module):
    code = compacted(compile(MODULE, "module.py", "exec"))
    path = str(feed_module)
    assert compact_copies.find("a.module", path) is None

    compact_copies.keep("a.module", path, code)

    assert compact_copies.find("a.module", path) == code
    assert compact_copies.find("another", path) is None


@pytest.mark.parametrize("change", ["other header", "other size", "other time"])
def test_no_copy_is_taken_for_a_file_that_came_with_an_upgrade(feed_module, change):
    state, was = feed_module.stat(), feed_module.read_bytes()
    compact_copies.keep("module", str(feed_module), compile("1", "m.py", "exec"))
    if change == "other time":
        os.utime(feed_module, ns=(0, state.st_mtime_ns + 1))
    else:
        now = b"THE" + was[3:] if change == "other header" else was + b"."
        feed_module.write_bytes(now)
        os.utime(feed_module, ns=(0, state.st_mtime_ns))
    assert compact_copies.find("module", str(feed_module)) is None


@pytest.mark.parametrize("damage", ["cut short", "of zeros"])
def test_a_copy_that_power_did_not_let_be_whole_is_not_taken(feed_module, damage):
    """Found by reading: one cut short ended every start with an EOFError."""
    path = str(feed_module)
    compact_copies.keep("module", path, compile("print(1)", "m.py", "exec"))
    (copy,) = Path(compact_copies.FOLDER).iterdir()
    was = copy.read_bytes()
    copy.write_bytes(was[:-20] + (bytes(20) if damage == "of zeros" else b""))
    assert compact_copies.find("module", path) is None
    copy.write_bytes(was)
    assert compact_copies.find("module", path) is not None


COPIES = f"""
import sys
sys.path[:0] = {sys.path!r}
from fonshare_agent import compact_copies
compact_copies.FOLDER = sys.argv[1]
"""


def test_what_dataclasses_writes_is_compiled_once(tmp_path):
    """Kept by the one process, taken by the next, in which nothing is compiled."""
    command = [sys.executable, "-S", "-OO", "-c"]
    keeping = COPIES + "sys.exit(compact_copies.main())"
    subprocess.run([*command, keeping, tmp_path], check=True)
    said = subprocess.check_output(
        [
            *command,
            COPIES
            + """
import builtins
compiled, usual = [], compile
def noting(text, name, *given, **more):
    if name == "<string>":
        compiled.append(text)
    return usual(text, name, *given, **more)
builtins.compile = noting
from fonshare_agent import resident
resident.load()
from fonshare_agent.model import SharePath
print(len(compiled), SharePath.parse("a/b"))
""",
            tmp_path,
        ],
        text=True,
    )
    assert said.split() == ["0", "a/b"]


# --- the resident process


RESIDENT = f"""
import sys
sys.path[:0] = {sys.path!r}
from fonshare_agent import resident
resident.load()
"""


def resident(program: str) -> str:
    """What *program* prints in a process that has loaded the agent as the service."""
    command = [sys.executable, "-S", "-OO", "-c", RESIDENT + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


VALUES = """
import dataclasses, json
from fonshare_agent.transfer.placing import Spot
spot = Spot(3, b"name")
refused = []
for change in (lambda: setattr(spot, "name", b""), lambda: delattr(spot, "folder"),
               lambda: setattr(spot, "other", 1)):
    try:
        change()
    except dataclasses.FrozenInstanceError as error:
        refused.append(str(error))
print(json.dumps({
    "refused": refused, "shown": repr(spot), "equal": spot == Spot(3, b"name"),
    "hashed": hash(spot) == hash((3, b"name")),
    "replaced": repr(dataclasses.replace(spot, folder=4)),
}))
"""


def test_values_are_as_frozen_and_shown_as_without_it():
    found = json.loads(resident(VALUES))
    assert found == {
        "refused": [
            "cannot assign to field 'name'",
            "cannot delete field 'folder'",
            "cannot assign to field 'other'",
        ],
        "shown": "Spot(folder=3, name=b'name')",
        "equal": True,
        "hashed": True,
        "replaced": "Spot(folder=4, name=b'name')",
    }


CLASSES = """
import dataclasses, gc
gc.collect()
OF = [one for one in gc.get_objects() if isinstance(one, type)
      and dataclasses.is_dataclass(one) and "fonshare_agent." in one.__module__]
"""


def test_nothing_is_written_for_a_frozen_class_that_is_replaced_at_once():
    said = resident("""
import builtins, dataclasses
texts, usual = [], exec
def noting(text, *given):
    texts.append(text)
    return usual(text, *given)
dataclasses.exec = noting

@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    number: int

print(*(name for name in ("__init__", "__setattr__", "__delattr__")
        if any(f"def {name}(" in text for text in texts)))
""")
    writes_all_at_once = sys.version_info >= (3, 14)
    assert said.split()[0] == "__init__"
    assert writes_all_at_once or said.split() == ["__init__"]


def test_no_class_is_there_twice():
    names = resident(
        CLASSES + "print(*(f'{one.__module__}.{one.__qualname__}' for one in OF))"
    ).split()
    assert len(names) > 100
    assert sorted(names) == sorted(set(names))


def test_no_subclass_of_a_frozen_value_is_none_itself():
    """Ours refuse every change; the standard library's only in the very class."""
    found = resident(
        CLASSES
        + """
print(*(two.__qualname__ for one in OF if one.__dataclass_params__.frozen
        for two in one.__subclasses__() if "__dataclass_params__" not in vars(two)))
"""
    )
    assert found.split() == []


def test_a_bug_is_logged_with_its_lines_though_tokenize_is_away():
    said = resident("""
import logging, sys
logging.basicConfig(stream=sys.stdout)
from fonshare_agent.model import SharePath
try:
    SharePath.parse(None)
except AttributeError:
    logging.exception("a bug")
except TypeError:
    logging.exception("a bug")
print(type(sys.modules.get("tokenize")) is type(sys))
""")
    assert "Traceback" in said
    assert "model.py" in said
    assert said.endswith("False\n")


def test_a_bug_is_logged_when_the_disk_with_pythons_library_is_gone():
    said = resident("""
import logging, sys
from fonshare_agent.model import SharePath
logging.basicConfig(stream=sys.stdout)
sys.meta_path.clear()
try:
    SharePath.parse(None)
except (AttributeError, TypeError):
    logging.exception("a bug")
""")
    assert "Traceback" in said
    assert "model.py" in said


def test_what_was_put_off_works_when_it_is_called():
    said = resident("""
import nacl.bindings
print("nacl.bindings.crypto_generichash" in sys.modules)
print(len(nacl.bindings.crypto_hash_sha256(b"")))
""")
    assert said.split() == ["False", "32"]


LATE = """
import sys
before = set(sys.modules)
import fonshare_agent.invites, fonshare_agent.index.finder
"""


def test_what_is_loaded_later_is_as_lean():
    """Both of these bring dataclasses, named tuples and generic types."""
    said = resident(
        LATE
        + CLASSES
        + """
names = [f"{one.__module__}.{one.__qualname__}" for one in OF]
print(len(set(sys.modules) - before) > 5, len(names) - len(set(names)))
"""
    )
    assert said.split() == ["True", "0"]


def test_the_reader_of_archives_goes_and_comes_back_for_who_asks():
    said = resident("""
hooks = [one.__module__ for one in sys.path_hooks]
print("zipimport" in sys.modules, "zipimport" in hooks, len(hooks))
import zipimport
print(zipimport.zipimporter.__name__)
""")
    assert said.split() == ["False", "False", "2", "zipimporter"]


TYPES = """
import dataclasses, json
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, Literal, NamedTuple, NewType
from typing import ParamSpec, Protocol, Self, TextIO, TypeVar, cast

T, P, Id = TypeVar("T"), ParamSpec("P"), NewType("Id", bytes)
LIMIT: Final = 3

class Row(NamedTuple):
    id: Id
    size: int | None = None
    def doubled(self) -> "Row":
        return self._replace(size=self.size * 2)

class Box(Generic[T]):
    def put(self, value: T | None, how: Callable[P, T], *args: P.args) -> Self:
        self.value: T = value
        return self

class Door(Protocol):
    def open(self, mode: Literal["r", "w"], where: TextIO | Any) -> Id | None: ...

@dataclasses.dataclass(frozen=True, slots=True)
class Counted(Door):
    KIND: ClassVar[str] = "counted"
    DEEP: ClassVar[dict[str, int]] = {}
    count: int = 0
    def open(self, mode, where):
        return Id(b"id")

print(json.dumps([
    Row(Id(b"a"))._asdict()["size"], Row(b"a", 2).doubled().size, len(Row(b"a")),
    repr(Row(b"a", 1)), Box[int]().put(LIMIT, abs).value, cast(str, 4),
    [one.name for one in dataclasses.fields(Counted)], Counted.KIND,
    Counted().open("r", None) == b"id", isinstance(Row(b"a"), tuple),
]))
"""


def test_types_that_only_checkers_read_work_without_the_module_typing():
    wanted = [None, 4, 2, "Row(id=b'a', size=1)", 3, 4, ["count"], "counted", True]
    assert json.loads(resident(TYPES)) == [*wanted, True]
    assert json.loads(
        subprocess.check_output([sys.executable, "-c", TYPES], text=True)
    ) == [*wanted, True]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="NamedTuple needs it")
def test_who_wants_more_of_typing_gets_it():
    said = resident("""
import sys, typing
print(type(typing).__name__)
from typing import get_overloads as more
from typing import Any
print(type(sys.modules["typing"]).__name__, callable(more), Any)
""")
    assert said.split() == ["_Deferred", "module", "True", "typing.Any"]


def test_errors_of_tls_keep_their_names():
    said = resident("""
import _ssl, gc, ssl
tables = [one for one in gc.get_referents(_ssl) if type(one) is dict]
names = next(one for one in tables if (20, 134) in one)
print(names[20, 134] if len(names) < 800 else len(names))
try:
    ssl.create_default_context().load_verify_locations(cadata="no certificate")
except ssl.SSLError as error:
    print(error.reason, error)
""")
    named, explained = said.splitlines()
    assert named == "CERTIFICATE_VERIFY_FAILED"
    assert "certificate" in explained or "line" in explained


def test_lean_dataclasses_show_no_more_than_the_usual_ones():
    from fonshare_agent.lean_dataclasses import lean_dataclass

    def fields():
        return {
            "__annotations__": {"name": str, "secret": str},
            "secret": dataclasses.field(repr=False),
        }

    usual = dataclasses.dataclass(frozen=True, slots=True)(type("A", (), fields()))
    lean = lean_dataclass(frozen=True, slots=True)(type("A", (), fields()))
    assert repr(lean("a", "b")) == repr(usual("a", "b"))
    assert "b" not in repr(lean("a", "b"))


def kinds(dataclass):
    """Dataclasses of every sort that there is here, made by *dataclass*."""
    field = dataclasses.field

    @dataclass(frozen=True, slots=True)
    class Two:
        one: int
        two: str = ""

    @dataclass(frozen=True)
    class None_:
        pass

    @dataclass(frozen=True, slots=True)
    class One:
        one: int
        other: int = field(default=0, compare=False)

    @dataclass(slots=True)
    class Changing:
        one: list

    @dataclass(frozen=True, slots=True)
    class Below(Two):
        three: int = 3

    class Plain(Two):
        pass

    @dataclass(frozen=True)
    class Own:
        one: int

        def __eq__(self, other):
            return True

        def __hash__(self):
            return 7

    @dataclass(frozen=True)
    class Hashed:
        one: int
        two: int = field(default=1, hash=False)

    @dataclass(order=True)
    class Ordered:
        one: int

    @dataclass(eq=False)
    class Same:
        one: int

    return [
        *(Two(1), Two(1), Two(1, "b"), None_(), None_(), One(1, 2), One(1, 3), One(2)),
        *(Changing([1]), Changing([1]), Changing([2]), Below(1), Below(1, "", 4)),
        *(Plain(1), Plain(1), Own(1), Own(2), Hashed(1, 2), Hashed(1, 3), Ordered(1)),
        *(Ordered(1), Ordered(2), Same(1), Same(1), (1, ""), None),
    ]


def test_lean_dataclasses_compare_and_hash_as_the_usual_ones():
    from fonshare_agent.lean_dataclasses import lean_dataclass, usual_dataclass

    def hashes(values):
        return [
            hash(one) if type(one).__hash__ not in (None, object.__hash__) else None
            for one in values
        ]

    lean, usual = kinds(lean_dataclass), kinds(usual_dataclass)
    for one, other in zip(lean, usual, strict=True):
        assert [one == each for each in lean] == [other == each for each in usual]
        assert [one != each for each in lean] == [other != each for each in usual]
    assert hashes(lean) == hashes(usual)
    with pytest.raises(TypeError, match="unhashable"):
        hash(lean[8])


def test_where_the_command_lines_files_are_gone_the_agent_still_says_why_it_ends():
    said = resident("""
import sys
sys.modules["fonshare_agent.terminal"] = None
sys.stderr = sys.stdout
def refuse():
    from fonshare_agent.errors import DiskMissing
    raise DiskMissing("the disk is away")
resident.load = lambda: lambda path: refuse()
print(resident.main())
""")
    status = DiskMissing.exit_status
    assert said.splitlines() == ["fonshare: the disk is away", str(status)]


def test_an_idle_node_does_without_what_streams():
    """The agent's modules as they are when nobody reads and no file arrives."""
    script = (
        "import sys; from fonshare_agent.resident import load; load();"
        "print(*(m for m in sys.modules if m.startswith('fonshare_agent.')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "fonshare_agent.streaming_on_demand" in loaded
    late = ("streaming", "friends_tree", "friends_reading", "transfer.stream")
    late += ("protocol.stream_plan", "ftp.arriving")
    assert not {f"fonshare_agent.{name}" for name in late} & set(loaded)
