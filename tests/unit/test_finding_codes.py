"""Every code that a finding or a refused row may have stands on docs/reference/findings.md, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import plant3d_sync

SOURCE = Path(plant3d_sync.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
PLACES = ("reconcile", "connectors/plant3d", "run", "usecases", "mapping", "model")
NAMED = {"Finding", "RowError", "ConvertError", "SkipRecordError", "CellReceipt"}
"""Made with `code=`."""
AT = {
    "skipped": 2,
    "finding": 2,
    "_finding": 1,
    "_error": 1,
    "row_error": 1,
    "Refusal": 1,
    "Oddity": 0,
    "Outcome": 1,
}
"""Functions and classes that take the code at this place."""
NOT_OURS = {"mapping_invalid"}
"""Codes beside sentences that are about a file, not about a row."""
_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def codes_of(node: ast.expr) -> Iterator[str]:
    """Texts that may stand for a code."""
    match node:
        case ast.Constant(value=str(text)) if _CODE.fullmatch(text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from codes_of(body)
            yield from codes_of(orelse)


def says_something(node: ast.expr) -> bool:
    """A sentence."""
    match node:
        case ast.Constant(value=str(text)):
            return " " in text
        case ast.JoinedStr() | ast.BinOp():
            return True
    return False


def raised() -> set[str]:
    found: set[str] = set()
    for place in PLACES:
        for path in sorted((SOURCE / place).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                found |= set(in_node(node, path.stem))
    return found - NOT_OURS


def in_node(node: ast.AST, module: str) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if name in NAMED:
                for keyword in keywords:
                    if keyword.arg == "code":
                        yield from codes_of(keyword.value)
            elif name in AT and len(args) > AT[name]:
                yield from codes_of(args[AT[name]])
        case ast.Tuple(elts=[first, second, *_]) if module in WITH_PAIRS and says_something(second):
            yield from codes_of(first)
        case ast.Assign(targets=[ast.Name(id="IGNORED" | "SHOWS_THROUGH" | "SAME_LINE")], value=value):
            yield from codes_of(value)
        case ast.Assign(targets=[ast.Name(id="code")], value=value) if module == "questions":
            yield from codes_of(value)
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="reasons"), slice=name)]):
            yield from codes_of(name)
        case ast.AnnAssign(target=ast.Name(id="DRAWING_CODES"), value=ast.Call(args=[ast.Set(elts=names)])):
            for one in names:
                yield from codes_of(one)
        case ast.Assign(
            targets=[ast.Tuple(elts=[ast.Name(id="code"), *_])], value=ast.Tuple(elts=[first, *_])
        ):
            yield from codes_of(first)
        case ast.Assign(targets=[ast.Name(id="_REFUSALS")], value=ast.Dict(keys=keys)):
            for key in keys:
                if key is not None:
                    yield from codes_of(key)
        case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=None), second])) if module == "cells":
            yield from codes_of(second)
        case ast.Return(value=ast.Tuple(elts=[first, second])) if module == "cells" and says_something(
            second
        ):
            yield from codes_of(first)


WITH_PAIRS = {"absence", "newcomer", "reader"}
"""Modules in which a code and its sentence stand as a pair."""


def documented() -> list[str]:
    return re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_code_that_is_raised_is_documented_and_no_other() -> None:
    known = documented()
    assert sorted(known) == sorted(set(known)), "each once"
    assert set(known) == raised()


def test_the_scan_sees_every_way_in_which_a_code_is_written() -> None:
    expected = {"untagged", "tag_lost", "line_break", "row_missing", "asset_without_item", "shows_through"}
    assert expected | {"control_character", "value_moved", "not_a_number", "ignored", "missing"} <= raised()
