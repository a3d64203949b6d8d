"""Undo a run: a plan that puts back every field it wrote, except what was edited since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.model.record import Value
from plant3d_sync.model.run import is_live
from plant3d_sync.state import intents, links, runs
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import StoredPlan
from plant3d_sync.state.tables import plant_write
from plant3d_sync.usecases.project import World

JsonLine = dict[str, Any]


def undo_plan(
    world: World,
    project: str | None,
    run_id: str,
    *,
    change_id: int | None = None,
    by: str = "cli",
    write_mode: str = "off",
) -> dict[str, Any]:
    """Store the plan; writes nothing until it is applied. Answers {plan_id, restores, left_alone}.

    A field goes back only while it still holds what the run wrote. A created asset is archived, if nobody edited it;
    an archived one lives again.
    Raises NotFoundError (no such run or change), NeedsPersonError (nothing to undo, the run still runs).
    """
    with world.state.read() as connection:
        run = runs.get(connection, run_id)
        if run is None or (project is not None and run.project != project):
            raise NotFoundError(
                f"There is no run {run_id}. Nothing was planned.", hint="`plant3d-sync runs PROJECT`"
            )
        if is_live(run.status):
            raise NeedsPersonError("The run is not over. Nothing was planned.", hint="Wait for its end.")
        changes = intents.changes_of_run(connection, run_id)
        if change_id is not None:
            changes = [change for change in changes if change["id"] == change_id]
            if not changes:
                raise NotFoundError(f"Run {run_id} has no change {change_id}. Nothing was planned.")
        known = project_state.get(connection, run.project)
        linked = links.by_ids(connection, [change["link_id"] for change in changes if change["link_id"]])
        lines: list[JsonLine] = []
        left: list[dict[str, Any]] = []
        for change in changes:
            link = linked.get(change["link_id"])
            _undo_change(connection, change, link, write_mode, lines, left)
    restores = sum(len(line.get("set") or line.get("cells") or [1]) for line in lines)
    stored = _plan(world, run.project, run_id, lines, by, known, left)
    with world.state.write() as connection:
        runs.put_plan(connection, stored, [orjson.dumps(line) for line in lines])
    return {
        "plan_id": stored.plan_id,
        "project": run.project,
        "run_id": run_id,
        "restores": restores,
        "left_alone": left,
    }


def _undo_change(
    connection: Connection,
    change: Mapping[str, Any],
    link: Link | None,
    write_mode: str,
    lines: list[JsonLine],
    left: list[dict[str, Any]],
) -> None:
    if link is None:
        left.append(_left(change, "*", None, "the pair is not linked any more"))
    elif link.archived_in_synapse and change["op"] not in ("create", "archive", "restore"):
        left.append(_left(change, "*", link.tag, "archived since"))
    elif change["side"] == "plant3d":
        _undo_push(connection, change, link, write_mode, lines, left)
    elif change["op"] == "create":
        _undo_create(change, link, lines, left)
    elif change["op"] == "archive":
        _undo_archive(change, link, lines, left)
    elif change["op"] == "restore":
        _undo_restore(change, link, lines, left)
    else:
        _undo_update(change, link, lines, left)


def _left(change: Mapping[str, Any], field: str, now: Value, why: str) -> dict[str, Any]:
    return {
        "change_id": change["id"],
        "pnpid": change["pnpid"],
        "tag": change["tag"],
        "side": change["side"],
        "field": field,
        "value_now": now,
        "reason": why,
    }


def _line(op: str, change: Mapping[str, Any], link: Link) -> JsonLine:
    return {
        "op": op,
        "entity": link.entity,
        "pnpid": link.pnpid,
        "id": link.plant3d_id,
        "class": link.class_name,
        "tag": link.tag,
        "link_id": link.link_id,
        "asset_id": link.asset_id,
        "asset_version": link.asset_version,
        "description_version": link.description_version,
        "undo_change": change["id"],
    }


def _undo_create(
    change: Mapping[str, Any], link: Link, lines: list[JsonLine], left: list[dict[str, Any]]
) -> None:
    if link.state is LinkState.ARCHIVED:
        left.append(_left(change, "*", link.tag, "already archived"))
        return
    if link.asset_version != 1 or link.synapse_delta:
        left.append(_left(change, "*", link.tag, "edited since"))
        return
    lines.append(_archive_again("undo_create", change, link))


def _undo_archive(
    change: Mapping[str, Any], link: Link, lines: list[JsonLine], left: list[dict[str, Any]]
) -> None:
    """The asset lives again with what it held. It stays, until its item is seen in Plant 3D and vanishes anew."""
    if link.state is not LinkState.ARCHIVED or not link.archived_in_synapse:
        left.append(_left(change, "*", link.tag, "not archived any more"))
        return
    line = _line("restore", change, link)
    line["set"] = {}
    line["why"] = {"*": "undo"}
    line["after"] = {"holds": {"*": ["synapse", None, None]}}
    lines.append(line)


def _undo_restore(
    change: Mapping[str, Any], link: Link, lines: list[JsonLine], left: list[dict[str, Any]]
) -> None:
    """The asset is archived again."""
    if link.archived_in_synapse:
        left.append(_left(change, "*", link.tag, "already archived"))
        return
    if link.synapse_delta:
        left.append(_left(change, "*", link.tag, "edited since"))
        return
    lines.append(_archive_again("undo", change, link))


def _archive_again(why: str, change: Mapping[str, Any], link: Link) -> JsonLine:
    line = _line("archive", change, link)
    line["why"] = {"*": why}
    line["after"] = {"holds": {"*": ["synapse", None, None]}}
    return line


def _undo_update(
    change: Mapping[str, Any], link: Link, lines: list[JsonLine], left: list[dict[str, Any]]
) -> None:
    held = link.synapse_fields()
    line = _line("update", change, link)
    line["set"], line["was"], line["why"] = {}, {}, {}
    holds = {name: [hold.side, hold.value, hold.kept] for name, hold in link.holds.items()}
    for name, (old, new) in change["fields"].items():
        if name == "plant3d_id":
            left.append(_left(change, name, link.plant3d_id, "an identity is never taken back"))
        elif held.get(name) != new:
            left.append(_left(change, name, held.get(name), "edited since"))
        elif old != new:
            line["set"][name], line["was"][name], line["why"][name] = old, new, "undo"
            holds[name] = ["synapse", _plant3d_now(link, name), old]
    if not line["set"]:
        return
    if "tag" in line["set"]:
        line["old_tag"] = link.tag
    line["after"] = {
        "holds": holds,
        "pending": {name: dict(entry) for name, entry in link.pending.items() if name not in line["set"]},
    }
    lines.append(line)


def _plant3d_now(link: Link, name: str) -> Value:
    """Plant 3D's value as last seen."""
    entry = link.pending.get(name)
    if entry is not None:
        value = entry.get("p")
        return value if isinstance(value, str | int | float | bool) else None
    return link.base_plant.get(name, (link.base or {}).get(name))


def _undo_push(
    connection: Connection,
    change: Mapping[str, Any],
    link: Link,
    write_mode: str,
    lines: list[JsonLine],
    left: list[dict[str, Any]],
) -> None:
    written = connection.execute(
        sa.select(plant_write).where(
            plant_write.c.intent_id == change["intent_id"],
            plant_write.c.pnpid == change["pnpid"],
            plant_write.c.status.in_(["applied", "found_applied"]),
        )
    ).fetchall()
    cells = []
    for (name, (old, new)), row in zip(change["fields"].items(), written, strict=False):
        now = _plant3d_now(link, name)
        if now != new:
            left.append(_left(change, name, now, "edited since"))
            continue
        ticks = link_ticks(connection, link) or row.new_ticks
        cells.append(
            {
                "field": name,
                "column": row.column_name,
                "table_class": row.table_name,
                "old": row.new_value,
                "new": row.old_value,
                "ticks": ticks,
                "plant3d": now,
                "synapse": link.synapse_fields().get(name),
                "why": "undo",
                "hold": True,
                "kept": old,
            }
        )
    if not cells:
        return
    line = _line("push", change, link)
    line["cells"] = cells
    line["undo"] = "undo"
    if write_mode != "sql":
        line["needs"] = "write_" + write_mode
    lines.append(line)


def link_ticks(connection: Connection, link: Link) -> int | None:
    """PnPTimestamp as last read, None if the item was not read since our own write."""
    from plant3d_sync.state.tables import link as link_table

    if not link.digest:
        return None
    return connection.execute(sa.select(link_table.c.ticks).where(link_table.c.id == link.link_id)).scalar()


def _plan(
    world: World,
    project: str,
    run_id: str,
    lines: list[JsonLine],
    by: str,
    known: project_state.ProjectState | None,
    left: list[dict[str, Any]],
) -> StoredPlan:
    by_entity: dict[str, dict[str, int]] = {}
    total = dict.fromkeys(STAT_NAMES, 0)
    for line in lines:
        if line["op"] == "push":
            continue
        name = "archived" if line["op"] == "archive" else "updated"
        per = by_entity.setdefault(line["entity"], dict.fromkeys(STAT_NAMES, 0))
        for counts in (per, total):
            counts[name] += 1
            if name == "updated":
                counts["total"] += 1
            else:
                counts["total"] += 1
                counts["unchanged"] += 1
    push = dict.fromkeys(STAT_NAMES, 0)
    push["total"] = push["updated"] = sum(1 for line in lines if line["op"] == "push")
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(orjson.dumps(line))
    return StoredPlan(
        plan_id=world.new_id(),
        project=project,
        direction="both",
        status="draft",
        created_at=world.clock(),
        created_by=by,
        run_id=None,
        fingerprint=digest.hexdigest(),
        mapping_digest=(known.mapping_digest if known else None) or "",
        identity=known.identity if known else None,
        signature=None,
        header={
            "stats": total,
            "by_entity": by_entity,
            "push_stats": push,
            "guards": [],
            "errors": [],
            "undo_of": run_id,
            "left_alone": left,
        },
        lines=len(lines),
        chunks=(len(lines) + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES,
        undo_of=run_id,
    )
