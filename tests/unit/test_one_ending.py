"""A run ends in one way: `state.runs.end` says so in its row, and nothing else does."""

from __future__ import annotations

import ast
from pathlib import Path

import plant3d_sync

SOURCE = Path(plant3d_sync.__file__).parent


def test_no_other_statement_says_that_a_run_has_ended() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("synapse_dev/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                given = {keyword.arg for keyword in node.keywords}
                if called in ("update", "update_claimed", "values") and given & {"completed_at", "outcome"}:
                    found.append(f"{name}:{node.lineno}")
    assert found == []
