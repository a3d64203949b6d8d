"""Breaks as data: one promise of the program broken at one place, and the tests that have to notice.

Each `*.toml` beside this file holds `[[break]]` tables:

- `name`: what the broken program does, in words.
- `promise`: the key of the promise in `promises.toml`.
- `where`: module and function (`run/receipts.py:_Receipts.settle`; without a function: the whole module). A break is
  tied to what a function does, not to a line.
- `was`, `is`: the code in that function that is replaced, and by what. It stands there exactly once.
- `tests`: the tests that stand for the promise: files or node ids.
- `equivalent`: why no test can notice, if that is so.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "src" / "plant3d_sync"


class DoesNotApply(Exception):
    """The code that a break replaces is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One broken promise."""

    name: str
    promise: str
    where: str
    was: str
    to: str
    tests: tuple[str, ...]
    equivalent: str = ""
    source: str = field(default="", compare=False)

    @property
    def module(self) -> str:
        """Path of the module below the package."""
        return self.where.partition(":")[0]

    @property
    def import_name(self) -> str:
        """Name of the module for an import."""
        dotted = self.module.removesuffix(".py").replace("/", ".")
        return f"{SOURCE.name}.{dotted}".removesuffix(".__init__")

    @property
    def function(self) -> str:
        """Name of the function with its classes; "" for the whole module."""
        return self.where.partition(":")[2]

    def applied(self, text: str) -> str:
        """The module's text with the break in it. Raises DoesNotApply."""
        first, last = _span(text, self.function, self.where)
        lines = text.splitlines(keepends=True)
        body = "".join(lines[first:last])
        if body.count(self.was) != 1:
            raise DoesNotApply(f"{self.name}: {self.where} holds {self.was!r} {body.count(self.was)} times")
        if self.was.strip() == self.to.strip():
            raise DoesNotApply(f"{self.name}: nothing is broken by it")
        changed = body.replace(self.was, self.to)
        ast.parse(f"if True:\n{changed}" if changed[:1].isspace() else changed)
        return "".join([*lines[:first], changed, *lines[last:]])


_parsed = functools.lru_cache(maxsize=64)(ast.parse)


def _span(text: str, function: str, where: str) -> tuple[int, int]:
    """The lines of a function or class: first, and the one after the last."""
    nodes: list[ast.stmt] = _parsed(text).body
    found: ast.stmt | None = None
    for name in filter(None, function.split(".")):
        found = next((node for node in nodes if getattr(node, "name", None) == name), None)
        if not isinstance(found, ast.FunctionDef | ast.ClassDef):
            raise DoesNotApply(f"there is no {where}")
        nodes = found.body
    if found is None:
        return 0, len(text.splitlines())
    return found.lineno - 1, found.end_lineno or found.lineno


def all_breaks() -> list[Break]:
    """Every break, file by file."""
    return [one for path in sorted(HERE.glob("*.toml")) if path.stem != "promises" for one in _of_file(path)]


def _of_file(path: Path) -> Iterator[Break]:
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["break"]:
        given = {**entry, "to": entry["is"], "tests": tuple(entry["tests"]), "source": path.name}
        del given["is"]
        yield Break(**given)


def promises() -> dict[str, dict[str, str]]:
    """Key -> what is promised, how it is kept, which tests besides those of the breaks hold it."""
    return tomllib.loads((HERE / "promises.toml").read_text(encoding="utf-8"))
