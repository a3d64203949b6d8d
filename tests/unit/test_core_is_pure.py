"""The core can be read and tested with nothing at hand but Python and two libraries that only hold and write data."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "plant3d_sync"
LIBRARIES = {"msgspec", "orjson"}
OURS = {"model", "reconcile", "errors", "words"}
"""Parts of this program that the core may know."""


def imported(path: Path) -> Iterator[str]:
    """The modules that a file names in imports, wherever in it they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole way"
            yield from (f"{node.module}.{one.name}" for one in node.names)


@pytest.mark.parametrize(
    "path", [*SOURCE.glob("model/*.py"), *SOURCE.glob("reconcile/*.py")], ids=lambda p: p.stem
)
def test_the_core_imports_nothing_else(path: Path) -> None:
    for name in imported(path):
        package, *rest = name.split(".")
        if package == "plant3d_sync":
            assert rest[0] in OURS, name
        else:
            assert package in sys.stdlib_module_names | LIBRARIES, name
