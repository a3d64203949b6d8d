"""The page that tells one item's way names the functions that it passes, in the order in which it comes to them."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import plant3d_sync
from plant3d_sync import bootstrap
from plant3d_sync.mapping.compile import compile_rules
from tests.support.world import NAME, World

SOURCE = Path(plant3d_sync.__file__).parent
PAGE = (SOURCE.parents[1] / "docs" / "explanation" / "life-of-a-record.md").read_text(encoding="utf-8")
FIRST_PULL, _, REST = PAGE.partition("A pair that exists goes the same way")
PAIR, _, _MORE = REST.partition("## What may happen to it")


def named(text: str) -> list[str]:
    return [f"{file}:{name}" for file, name in re.findall(r"`([\w/]+\.py):([\w.]+)`", text)]


@contextmanager
def followed() -> Iterator[list[str]]:
    """Functions of ours in the order in which they are called first, in every thread that begins meanwhile."""
    passed: dict[str, None] = {}
    home = f"{SOURCE}{os.sep}"

    def look(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(home):
            file = code.co_filename.removeprefix(home).replace(os.sep, "/")
            passed.setdefault(f"{file}:{code.co_qualname}")

    found: list[str] = []
    before: Callable[..., object] | None = sys.getprofile()
    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
        found += passed


def in_order(passed: list[str], wanted: list[str]) -> list[str]:
    return [one for one in passed if one in wanted]


@pytest.fixture(autouse=True)
def nothing_compiled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite compiles equal mappings once; a process of its own compiles them."""
    monkeypatch.setattr(bootstrap, "compile_rules", compile_rules)


def test_a_first_pull_comes_to_each_function_that_the_page_names_in_that_order(world: World) -> None:
    way = named(FIRST_PULL)
    with followed() as passed:
        world.pulled()
    assert len(way) > 20 and in_order(passed, way) == way


def test_a_pair_that_exists_comes_to_each_function_that_the_page_names(settled: World) -> None:
    settled.configure(write="sql", drawings_unseen="closed")
    pump, other = settled.items("equipment")[:2]
    settled.change("UPDATE EngineeringItems SET Manufacturer = 'KSB' WHERE PnPID = ?", pump.pnpid)
    settled.user_edits(settled.asset_of(other.pnpid)["id"], description="Typed in SYNAPSE")
    with followed() as passed:
        report = settled.cli("now", NAME)
        run_id = report.json["run_id"]
        settled.cli("undo", run_id)
        settled.cli("show", settled.cli("plan", NAME).json["plan_id"])
    way = named(PAIR)
    to_synapse = way[: way.index("run/write_plant3d.py:apply_push")]
    assert report.code == 0 and set(way) <= set(passed)
    assert in_order(passed, to_synapse) == to_synapse
