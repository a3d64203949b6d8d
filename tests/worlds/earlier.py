"""Play the worlds of today against a checkout of an earlier version: what its modules lack is put beside them."""

from __future__ import annotations

import sqlite3
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PLANT = "plant3d_sync.connectors.plant3d"
MOVED = {
    f"{PLANT}.reading": (PLANT, ("catalog", "open", "snapshot")),
    "plant3d_sync.run": ("plant3d_sync.usecases", ("project",)),
}
"""Package of today -> where modules of it stood before."""
NEWER = {f"{PLANT}.elsewhere": ("elsewhere", "may_hang")}
"""Modules that worlds reach into, and what they look for there."""


def use(tree: Path) -> None:
    """From now on `plant3d_sync` is that of the checkout. Before anything of the program is imported."""
    sys.path[:0] = [str(tree / "src")]
    for name, members in NEWER.items():
        _stands_at(name, dict.fromkeys(members))
    for name, (before, shorts) in MOVED.items():
        old = {short: import_module(f"{before}.{short}") for short in shorts}
        _stands_at(name, old)
        sys.modules.update({f"{name}.{short}": module for short, module in old.items()})
    _stands_at("plant3d_sync.model.fields", {"flat": dict})  # a link's fields stood flat
    import_module(f"{PLANT}.open").__dict__.setdefault("elsewhere", None)
    import_module(f"{PLANT}.mounts").__dict__.setdefault("may_hang", None)
    state: Any = import_module("plant3d_sync.state").State
    if not hasattr(state, "_looked_at"):
        state._looked_at = False


def _stands_at(name: str, members: dict[str, Any]) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module
    package, _, short = name.rpartition(".")
    setattr(import_module(package), short, module)


def forgiving(world: Any) -> None:
    """Tables and columns that the earlier state lacks hold nothing."""
    rows = world.rows
    world.lists = False

    def known(self: Any, statement: str, *values: object) -> list[dict[str, Any]]:
        try:
            return list(rows(self, statement, *values))
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):
                raise
            return []

    world.rows = known
