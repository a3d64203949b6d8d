"""A small project with changes on both sides, and the end of an undisturbed run to compare with."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from plant3d_sync.sample import edits
from tests.support import invariants
from tests.support.wayback import both, changed_cells, contents, now, redescribed, retagged, user_describes
from tests.support.world import MakeWorld, Row, World

UP = ("equipment", "instruments", "lines")
"""Kinds whose first item is described anew in SYNAPSE."""


def edited(make_small: MakeWorld, name: str) -> World:
    """Three descriptions to push; below it one to pull, a rename and a new item."""
    world = make_small(name=name)
    world.pulled()
    for entity in UP:
        pnpid = world.items(entity)[0].pnpid
        user_describes(world, pnpid, f"Pushed {entity}")
    valve = world.items("valves")[0].pnpid
    redescribed(world, valve, "Pulled")
    retagged(world, valve, "HV-7777")
    edits.add_item(world.dcf, "GateValve", {"Tag": "HV-9002"})
    return world


def plant(world: World) -> dict[str, Any]:
    """The database without times; revisions tell how often each item was saved."""
    found: dict[str, Any] = {}
    for table, (head, *rows) in contents(world.dcf).items():
        drop = head.index("PnPTimestamp") if "PnPTimestamp" in head else None
        found[table] = [tuple(value for i, value in enumerate(row) if i != drop) for row in rows]
    return found


def end(world: World) -> Row:
    """Run to rest, and what both sides and our memory hold then."""
    for _ in range(2):
        now(world)
    dump = without_times(world.dump())
    for link in dump["links"]:
        link.pop("digest")  # holds the stamp, which is a time
    for asset in dump["synapse"]:
        asset.pop("plant3d_id") if asset["tag"] == "HV-9002" else None
    for link in dump["links"]:
        link.pop("plant3d_id") if link["tag"] == "HV-9002" else None
    return {**dump, "plant3d": plant(world), "journal": journal(world)}


_SAVED = re.compile(r'"[^"]*plant3d_updated_at":(\[[^]]*]|"[^"]*"|null),?')


def without_times(part: Any) -> Any:
    """The same without what SYNAPSE is told of when an item was saved, which is a time."""
    if isinstance(part, dict):
        return {
            name: without_times(value)
            for name, value in part.items()
            if not str(name).endswith("plant3d_updated_at")
        }
    if isinstance(part, list | tuple):
        return type(part)(without_times(one) for one in part)
    return _SAVED.sub("", part) if isinstance(part, str) else part


def journal(world: World) -> Counter[tuple[int, str, str]]:
    """Cells that were written, each as often as it was."""
    rows = world.rows("SELECT pnpid, column_name, new_value, status FROM plant_write")
    return Counter(
        (row["pnpid"], row["column_name"], row["new_value"])
        for row in rows
        if row["status"] in ("applied", "found_applied")
    )


def same(one: Row, other: Row) -> None:
    """Part by part, so that a difference is readable. GUIDs of items added by the test are random."""
    for part in one:
        if part == "plant3d":
            differing = [
                t for t in one[part] if without_guids(one[part][t]) != without_guids(other[part].get(t))
            ]
            assert differing == [], f"tables differ: {differing}"
        elif part == "synapse":
            assert sorted(one[part], key=lambda a: a["tag"]) == sorted(other[part], key=lambda a: a["tag"])
        else:
            assert one[part] == other[part], part


def without_guids(rows: list[tuple[Any, ...]] | None) -> list[tuple[Any, ...]]:
    return [tuple(v for v in row if not (isinstance(v, bytes) and len(v) == 16)) for row in rows or []]


def whole_again(world: World, expected: Row, *, but: Sequence[str] = ()) -> None:
    """Rested, the world is as after an undisturbed run. `but`: columns of links that may differ."""
    found, wanted = copy.deepcopy(end(world)), copy.deepcopy(expected)
    for link in (*found["links"], *wanted["links"]):
        for name in but:
            link.pop(name)
    same(found, wanted)
    assert set(journal(world).values()) == {1}, "each cell was written once"
    for entity in UP:
        pnpid = world.items(entity)[0].pnpid
        assert both(world, pnpid) == (f"Pushed {entity}",) * 2
    invariants.no_run_is_stuck(world)
    invariants.one_asset_per_identity(world)
    invariants.source_is_sound(world)
    for backup in world.folder.rglob("*backups*/**/*.dcf"):
        assert changed_cells(backup, backup) == {}, "a backup that can be read"
