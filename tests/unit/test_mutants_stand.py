"""A break is put into the running program only where nothing but the bodies of functions differs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants.breaks import ROOT, all_breaks
from tests.mutants.runner import files_of, groups
from tests.mutants.stand import CannotExchange, exchange, in_a_fork

TEXT = """
import functools
from contextlib import contextmanager

LIMIT = 1


def plain():
    return [LIMIT for _ in "a"][0]


@functools.cache
def kept():
    return 1


class Box:
    size = 1

    def method(self):
        return self.size

    @property
    def shown(self):
        return 1

    @staticmethod
    def still():
        return 1

    @contextmanager
    def opened(self):
        yield 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "exchanged.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("exchanged")
    del sys.modules["exchanged"]


def seen(module: ModuleType) -> list[int]:
    box = module.Box()
    with box.opened() as opened:
        return [module.plain(), box.method(), box.shown, box.still(), opened]


@pytest.mark.parametrize(
    ("was", "to", "now"),
    [
        ("[LIMIT for", "[2 for", [2, 1, 1, 1, 1]),
        ("return self.size", "return 2", [1, 2, 1, 1, 1]),
        ("def shown(self):\n        return 1", "def shown(self):\n\n        return 2", [1, 1, 2, 1, 1]),
        ("def still():\n        return 1", "def still():\n        return 2", [1, 1, 1, 2, 1]),
        ("yield 1", "yield 2", [1, 1, 1, 1, 2]),
    ],
    ids=[
        "inside a function",
        "a method",
        "a property, a line longer",
        "a static method",
        "below a decorator",
    ],
)
def test_the_body_of_a_function_is_exchanged_and_nothing_else(
    module: ModuleType, was: str, to: str, now: list[int]
) -> None:
    box = module.Box
    assert seen(module) == [1, 1, 1, 1, 1]
    exchange(module, TEXT, TEXT.replace(was, to))
    assert seen(module) == now and module.Box is box


@pytest.mark.parametrize(
    ("was", "to"),
    [
        ("LIMIT = 1", "LIMIT = 2"),
        ("size = 1", "size = 2"),
        ("@functools.cache\ndef kept():\n    return 1", "@functools.cache\ndef kept():\n    return 2"),
        ("def plain():", "def plain(more=1):"),
        ("    @property\n", ""),
        ("LIMIT = 1", "LIMIT = 1  # the same"),
    ],
    ids=[
        "a constant",
        "a class body",
        "a function that keeps its answers",
        "a parameter",
        "a decorator",
        "nothing",
    ],
)
def test_what_is_more_than_the_body_of_a_function_is_left_to_the_copy(
    module: ModuleType, was: str, to: str
) -> None:
    with pytest.raises(CannotExchange):
        exchange(module, TEXT, TEXT.replace(was, to))
    assert seen(module) == [1, 1, 1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked on Windows")
def test_what_a_fork_does_is_seen_by_its_code_and_its_words_alone(module: ModuleType, tmp_path: Path) -> None:
    def broken() -> int:
        exchange(module, TEXT, TEXT.replace("return self.size", "return 7"))
        os.write(1, b"said in the fork\n")
        return int(module.Box().method())

    assert in_a_fork(broken, tmp_path / "log", 60) == (7, "said in the fork\n")
    assert seen(module) == [1, 1, 1, 1, 1]


def test_every_break_stands_in_one_group_and_its_module_can_be_imported() -> None:
    made = groups(all_breaks())
    assert sum(map(len, made)) == len(all_breaks())
    assert all(len({files_of(one) for one in group}) == 1 for group in made)
    for one in all_breaks():
        assert (ROOT / "src" / one.import_name.replace(".", "/")).with_suffix(
            ".py"
        ).is_file() or one.module.endswith("__init__.py")
