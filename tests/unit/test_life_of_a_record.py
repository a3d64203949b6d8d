"""The page that tells one item's way names functions that exist. That an item passes them: the acceptance test of this name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import plant3d_sync

SOURCE = Path(plant3d_sync.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "explanation" / "life-of-a-record.md"
NAMED = re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE.read_text(encoding="utf-8"))


def defined(file: str) -> set[str]:
    """Functions and classes of a module, methods with their class."""
    found: set[str] = set()
    for node in ast.parse((SOURCE / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda one: one)
def test_a_function_that_the_page_names_exists(file: str, name: str) -> None:
    assert name in defined(file)
