"""The page of the fault tables: current, complete, and every test on it exists."""

from __future__ import annotations

import ast

import pytest

from tests.support.fault_tables import PAGE, ROOT, TABLES, named, page


def test_the_page_is_what_the_list_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.support.fault_tables"


@pytest.mark.long
def test_every_test_named_in_the_fault_tables_exists() -> None:
    missing = []
    for file, name in sorted(named()):
        path = ROOT / "tests" / file
        tree = (
            ast.parse(path.read_text(encoding="utf-8"))
            if path.exists()
            else ast.Module(body=[], type_ignores=[])
        )
        if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
            missing.append(f"{file}::{name}")
    assert missing == []


def test_every_row_has_a_test_or_says_why_not() -> None:
    rows = [row for _title, rows in TABLES.values() for row in rows]
    assert [row.number for row in rows if not row.tests and not row.not_run] == []
    numbers = {row.number for row in rows}
    assert numbers == {
        *(f"A{number}" for number in range(1, 8)),
        *(f"B{number}" for number in range(1, 12)),
        *(f"C{number}" for number in range(1, 12)),
        *(f"D{number}" for number in range(1, 7)),
        *(f"E{number}" for number in range(1, 7)),
        *(f"F{number}" for number in range(1, 5)),
        *(f"G{number}" for number in range(1, 6)),
        *(f"H{number}" for number in range(1, 10)),
    }
