"""`python -m fonshare_agent.compiling FOLDER...`: how the package compiles itself.

As compileall does it, but compact (compact_code.py) and without annotations, and for
the switches of this very process: they decide which .pyc Python looks for. Annotations
are what type checkers read; making them at each import takes a twelfth of a start.
"""

import ast
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType
from typing import Any

from fonshare_agent.compact_code import compacted

# What dataclasses looks for in the annotations of a class.
_MEANT = ("ClassVar", "InitVar", "KW_ONLY")


class _Compiler(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, **options: Any) -> CodeType:  # type: ignore[override]
        tree = ast.parse(data, path)
        _bare(tree.body, "module")
        return compacted(super().source_to_code(tree, path, **options))


def _bare(body: list[ast.stmt], owner: str) -> None:
    """Take the annotations out of the statements of a module, class or function.

    Those stay that make a class what it is. Looks at statements only: what else the
    tree is made of is ten times as much.
    """
    for number, one in enumerate(body):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            _bare_function(one)
        elif isinstance(one, ast.ClassDef):
            made_by = map(ast.unparse, one.decorator_list)
            is_dataclass = any("dataclass" in text for text in made_by)
            _bare(one.body, "dataclass" if is_dataclass else "class")
        elif isinstance(one, ast.AnnAssign):
            body[number] = _bare_variable(one, owner)
        else:
            for name in ("body", "orelse", "finalbody"):
                _bare(getattr(one, name, []), owner)
            for inner in (*getattr(one, "handlers", ()), *getattr(one, "cases", ())):
                _bare(inner.body, owner)


def _bare_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    node.returns, given = None, node.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    for one in (*named, given.vararg, given.kwarg):
        if one is not None:
            one.annotation = None
    _bare(node.body, "function")


def _bare_variable(node: ast.AnnAssign, owner: str) -> ast.stmt:
    if owner == "dataclass" and not _is_meant(node):
        node.annotation = ast.copy_location(ast.Constant(None), node.annotation)
    if owner != "module":  # a function's are never evaluated, and say what is local
        return node
    if node.value is None:
        return ast.copy_location(ast.Pass(), node)
    return ast.copy_location(ast.Assign([node.target], node.value), node)


def _is_meant(node: ast.AnnAssign) -> bool:
    text = ast.unparse(node.annotation)
    return any(name in text for name in _MEANT)


def compile_below(folder: Path) -> None:
    """Compile every module below *folder* anew.

    Raises SyntaxError for what is no Python, OSError for what cannot be read.
    """
    for file in sorted(folder.rglob("*.py")):
        Path(cache_from_source(str(file))).unlink(missing_ok=True)
        _Compiler(file.stem, str(file)).get_code(file.stem)


def main() -> int:
    """Compile what is below the folders named; the exit status."""
    sys.dont_write_bytecode = False  # OpenWrt's Python writes none by itself
    for name in sys.argv[1:]:
        compile_below(Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
