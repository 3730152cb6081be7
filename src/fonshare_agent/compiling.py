"""`python -m fonshare_agent.compiling FOLDER...`: how the package compiles itself.

As compileall does it, but compact (compact_code.py), and for the switches of this very
process: they decide which .pyc Python looks for.
"""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType
from typing import Any

from fonshare_agent.compact_code import compacted


class _Compiler(SourceFileLoader):
    def source_to_code(self, *given: Any, **options: Any) -> CodeType:  # type: ignore[override]
        return compacted(super().source_to_code(*given, **options))


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
