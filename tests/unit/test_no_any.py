"""Where a value's type is known it is named: `Any` stands neither in the core nor in what can be asked for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "plant3d_sync"
PACKAGES = ("model", "reconcile", "usecases", "run")


@pytest.mark.parametrize("package", PACKAGES)
def test_any_stands_nowhere(package: str) -> None:
    said = {
        path.stem
        for path in (SOURCE / package).rglob("*.py")
        if re.search(r"\bAny\b", path.read_text(encoding="utf-8"))
    }
    assert said == set()


def test_the_type_checker_holds_it_too() -> None:
    """It also sees an `Any` that another module's alias brings."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    overrides = config["tool"]["mypy"]["overrides"]
    [held] = [one["module"] for one in overrides if one.get("disallow_any_explicit") is True]
    assert set(held) == {f"plant3d_sync.{name}.*" for name in PACKAGES}
    assert not any(one.get("disallow_any_explicit") is False for one in overrides)
