"""What holds for the suite itself: no wall clock decides a test."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import mssql, odbc_manager

TESTS = Path(__file__).resolve().parents[1]
CLOCKS = {"monotonic", "perf_counter", "time", "process_time"}
LEAST = 30
"""Seconds: a shorter bound on real time fails on a busy machine, and then says nothing about the program."""


def test_how_long_an_example_takes_fails_no_property() -> None:
    profile = hypothesis.settings.default
    assert profile is not None
    assert (profile.deadline, profile.derandomize) == (None, True)


def short_bounds(tree: ast.AST) -> Iterator[int]:
    """Lines that compare a difference of two readings of a clock with less than a hang takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(_reads_a_clock, ast.walk(node))):
            for bound in ast.walk(node):
                if isinstance(bound, ast.Constant) and _is_short(bound.value):
                    yield node.lineno


def _is_short(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < LEAST


def _reads_a_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS


@pytest.mark.parametrize("bad", ["time.monotonic() - began < 1.0", "1 + 2 > time.time() - then"])
def test_a_short_bound_on_real_time_is_seen(bad: str) -> None:
    assert list(short_bounds(ast.parse(f"assert {bad}"))) != []


def test_no_test_compares_real_time_with_less_than_a_hang_takes() -> None:
    found = {
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        for line in short_bounds(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 12),
    reason="ceODBC's wheels are for Linux and Python 3.11",
)
def test_microsofts_driver_is_usable_with_what_the_lock_installs() -> None:
    """Each test with it would be skipped, and say so, but hundreds of skipped tests were overlooked once."""
    assert mssql.WHY_NO_ODBC == ""
    assert list(odbc_manager.bundled_libraries()) == ["libltdl.so.7", "libodbc.so.2"]


def test_a_library_keeps_its_length_when_its_names_become_the_usual_ones() -> None:
    names = {"libltdl-3a30a669.so.7": "libltdl.so.7"}
    changed = odbc_manager.usual_names(b"\0libltdl-3a30a669.so.7\0libc.so.6\0", names)
    assert changed == b"\0libltdl.so.7" + bytes(9) + b"\0libc.so.6\0"


def test_a_machine_without_a_manager_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odbc_manager, "MANAGER", "libodbc-of-nobody.so.2")
    monkeypatch.setattr(odbc_manager, "BUNDLED", ())
    monkeypatch.setattr(odbc_manager, "bundled_libraries", lambda: {"some": Path("thing")})
    assert "libodbc-of-nobody.so.2" in (why := odbc_manager.provide("driver")) and "unixODBC" in why
