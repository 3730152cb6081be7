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
        tree = _Bare().visit(ast.parse(data, path))
        return compacted(super().source_to_code(tree, path, **options))


class _Bare(ast.NodeTransformer):
    """Takes the annotations out, but for those that make a class what it is."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._bare_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._bare_function(node)

    def _bare_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns, given = None, node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        for one in (*named, given.vararg, given.kwarg):
            if one is not None:
                one.annotation = None
        # Those of its variables are never evaluated; but they say what is local.
        for inner in ast.iter_child_nodes(node):
            self._visit_below(inner)
        return node

    def _visit_below(self, node: ast.AST) -> None:
        """Visit functions and classes inside of a function, and nothing else of it."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.visit(node)
            return
        for inner in ast.iter_child_nodes(node):
            self._visit_below(inner)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        is_dataclass = any(
            "dataclass" in ast.unparse(one) for one in node.decorator_list
        )
        for one in node.body:
            if not isinstance(one, ast.AnnAssign):
                self.visit(one)
            elif is_dataclass and not _is_meant(one):
                one.annotation = ast.copy_location(ast.Constant(None), one.annotation)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """A module's own: only the value is read by anybody."""
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
