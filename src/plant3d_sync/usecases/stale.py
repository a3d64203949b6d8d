"""Before a stored plan is applied: which of its lines still hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.state import links
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.usecases.feed import Feed
from plant3d_sync.usecases.project import Project, World

JsonLine = dict[str, Any]


def split_stale(
    world: World,
    project: Project,
    known: ProjectState,
    feed: Feed,
    snapshot: PlantSnapshot,
    rules: RuleSet,
    lines: Sequence[JsonLine],
) -> tuple[list[JsonLine], list[tuple[JsonLine, str]]]:
    """Lines whose two sides still hold what the plan was made of, and the others with the reason."""
    digests = {
        int(line["pnpid"]): bytes.fromhex(line["after"]["digest"])
        for line in lines
        if (line.get("after") or {}).get("digest")
    }
    moved: set[int] = set()
    seen: set[int] = set()
    items: dict[int, PlantItem] = {}
    wanted = {int(line["pnpid"]) for line in lines}
    for batch in snapshot.scan(sorted(rules.classes), digests):
        seen.update(batch.unchanged)
        for item in batch.changed:
            seen.add(item.pnpid)
            if item.pnpid in digests:
                moved.add(item.pnpid)
            if item.pnpid in wanted:
                items[item.pnpid] = item
    with world.state.read() as connection:
        linked = {
            link.plant3d_id: link
            for link in links.by_items(connection, known.number, [str(line["id"]) for line in lines], [])
        }
        loose = {row[2]: row[0] for row in links.unlinked(connection, known.number) if not row[4]}
    fresh: list[JsonLine] = []
    stale: list[tuple[JsonLine, str]] = []
    for line in lines:
        why = _why_stale(line, seen, moved, items, linked.get(str(line["id"])), feed, loose, rules)
        if why is None:
            fresh.append(line)
        else:
            stale.append((line, why))
    return fresh, stale


def _why_stale(
    line: JsonLine,
    seen: set[int],
    moved: set[int],
    items: dict[int, PlantItem],
    link: Link | None,
    feed: Feed,
    loose: dict[str, str],
    rules: RuleSet,
) -> str | None:
    pnpid, op = int(line["pnpid"]), line["op"]
    if (line.get("why") or {}).get("*") in ("undo", "undo_create"):
        return _why_undo_is_stale(line, link)  # whether the item lives in Plant 3D does not matter
    if op in ("archive", "missing"):
        return "The item is back in Plant 3D." if pnpid in seen else None
    if pnpid not in seen:
        return "The item is gone from Plant 3D."
    if op == "push":
        return _stale_cells(line, items.get(pnpid), link, rules)
    if pnpid in moved:
        return "The item changed in Plant 3D."
    if op == "create":
        again = link is not None and link.lost_in_synapse and bool(line.get("link_id"))
        if (link is not None and not again) or line["id"] in feed.news:
            return "SYNAPSE holds the asset already."
        return "SYNAPSE holds another asset with this tag." if line["tag"] in loose else None
    if link is None:
        return None if op == "adopt" else "The item is not linked any more."
    held = link.synapse_fields()
    for name, value in (line.get("was") or {}).items():
        if name not in (line.get("set") or {}):
            continue
        if not _same(rules, name, held.get(name), value):
            return f"{name} changed in SYNAPSE."
    return None


def _why_undo_is_stale(line: JsonLine, link: Link | None) -> str | None:
    if link is None:
        return "The item is not linked any more."
    if link.archived_in_synapse != (line["op"] == "restore"):
        return "The asset was archived or restored in SYNAPSE."
    return None


def _stale_cells(line: JsonLine, item: PlantItem | None, link: Link | None, rules: RuleSet) -> str | None:
    if link is not None and link.archived_in_synapse:
        return "The asset was archived in SYNAPSE."
    held = link.synapse_fields() if link is not None else {}
    for cell in line["cells"]:
        if link is not None and not _same(rules, cell["field"], held.get(cell["field"]), cell["synapse"]):
            return f"{cell['field']} changed in SYNAPSE."
        if item is None:
            continue  # unchanged since: the writer compares value and stamp again
        if item.values.get(cell["column"]) != cell["old"]:
            return f"{cell['field']} changed in Plant 3D."
        if item.timestamp != cell["ticks"]:
            return "The item was saved in Plant 3D since."
    return None


def _same(rules: RuleSet, name: str, one: Value, two: Value) -> bool:
    if one == two:
        return True
    same = rules.same.get(name)
    return same is not None and same(one, two)
