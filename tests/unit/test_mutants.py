"""Deliberate breaks of the program are data, and the data is current. `dev.py mutants` tries them."""

from __future__ import annotations

import ast
import functools

import pytest

from tests.mutants.breaks import ROOT, SOURCE, Break, DoesNotApply, all_breaks, promises
from tests.mutants.runner import touches

BREAKS = all_breaks()
ONE = Break(
    name="one",
    promise="quiet",
    where="m.py:Outer.inner",
    was="return 1",
    to="return 2",
    tests=("tests/unit/test_mutants.py",),
    source="some.toml",
)
TEXT = "class Outer:\n    def inner(self):\n        return 1\n\n\ndef inner():\n    return 1\n"


@functools.cache
def defined_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_a_break_still_applies_and_its_tests_exist(one: Break) -> None:
    one.applied((SOURCE / one.module).read_text(encoding="utf-8"))
    assert one.promise in promises()
    assert one.tests
    for test in one.tests:
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0] in defined_in(file), f"there is no {test}"


def test_there_are_enough_of_them_and_each_has_its_own_name() -> None:
    assert len({one.name for one in BREAKS}) == len(BREAKS) >= 150


def test_a_break_is_put_into_the_function_it_names() -> None:
    assert ONE.applied(TEXT) == TEXT.replace("return 1", "return 2", 1)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("inner", "another"),
        TEXT.replace("return 1", "return 3"),
        TEXT.replace(
            "        return 1", "        return 1 if self else 0 or (lambda: 1)()\n        return 1"
        ),
    ],
    ids=["the function is gone", "the code is gone", "it stands there twice"],
)
def test_a_break_that_does_not_apply_any_more_is_told(text: str) -> None:
    with pytest.raises(DoesNotApply):
        ONE.applied(text)


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("src/plant3d_sync/m.py", True),
        ("tests/mutants/some.toml", True),
        ("tests/unit/test_mutants.py", True),
        ("src/plant3d_sync/other.py", False),
    ],
)
def test_a_break_is_tried_when_its_module_its_tests_or_its_data_changed(file: str, asked: bool) -> None:
    assert touches(ONE, [file]) is asked
