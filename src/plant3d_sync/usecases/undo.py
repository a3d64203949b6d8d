"""Undo a run: a plan that puts back every field it wrote, except what was edited since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.link import Hold, Link, LinkState, known
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.model.record import Value
from plant3d_sync.model.run import is_live
from plant3d_sync.model.step import After, Archive, Cell, Push, Restore, Update, to_text
from plant3d_sync.model.version import is_counted
from plant3d_sync.state import Connection, intents, lines, links, runs, seals
from plant3d_sync.state import cells as journal
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import StoredPlan
from plant3d_sync.usecases.project import World

Undoing = Update | Restore | Archive | Push


@dataclass(slots=True)
class _Undo:
    """The steps that put back, and the fields that stay as they are, with the reason."""

    steps: list[Undoing] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)

    def leave(self, change: Mapping[str, Any], name: str, now: Value, why: str) -> None:
        """This field is left alone."""
        self.left.append(
            {
                "change_id": change["id"],
                "pnpid": change["pnpid"],
                "tag": change["tag"],
                "side": change["side"],
                "field": name,
                "value_now": now,
                "reason": why,
            }
        )


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
        seals.one_moment(connection)
        run = runs.get(connection, run_id)
        if run is None or (project is not None and run.project != project):
            raise NotFoundError(
                f"There is no run {run_id}. Nothing was planned.", hint="`plant3d-sync runs PROJECT`"
            )
        if is_live(run.status):
            raise NeedsPersonError("The run is not over. Nothing was planned.", hint="Wait for its end.")
        seals.check_run(connection, run.project, run_id, nothing="Nothing was planned.")
        changes = intents.changes_of_run(connection, run_id)
        if change_id is not None:
            changes = [change for change in changes if change["id"] == change_id]
            if not changes:
                raise NotFoundError(f"Run {run_id} has no change {change_id}. Nothing was planned.")
        stored_project = project_state.get(connection, run.project)
        linked = links.by_ids(connection, [change["link_id"] for change in changes if change["link_id"]])
        undo = _Undo()
        for change in changes:
            _undo_change(connection, change, linked.get(change["link_id"]), write_mode, undo)
    restores = sum(_values(step) for step in undo.steps)
    stored = _plan(world, run.project, run_id, undo, by, stored_project)
    with world.state.write() as connection:
        runs.put_plan(connection, stored, map(to_text, undo.steps))
    return {
        "plan_id": stored.plan_id,
        "project": run.project,
        "run_id": run_id,
        "restores": restores,
        "left_alone": undo.left,
    }


def _values(step: Undoing) -> int:
    """How many values a step puts back; an asset that is archived or lives again counts as one."""
    match step:
        case Push():
            return len(step.cells)
        case Update() | Restore():
            return len(step.set) or 1
        case Archive():
            return 1
        case _:
            assert_never(step)


def _undo_change(
    connection: Connection, change: Mapping[str, Any], link: Link | None, write_mode: str, undo: _Undo
) -> None:
    if link is None:
        undo.leave(change, "*", None, "the pair is not linked any more")
    elif link.archived_in_synapse and change["op"] not in ("create", "archive", "restore"):
        undo.leave(change, "*", link.tag, "archived since")
    elif change["side"] == "plant3d":
        _undo_push(connection, change, link, write_mode, undo)
    elif change["op"] == "create":
        _undo_create(change, link, undo)
    elif change["op"] == "archive":
        _undo_archive(change, link, undo)
    elif change["op"] == "restore":
        _undo_restore(change, link, undo)
    else:
        _undo_update(change, link, undo)


_HELD_AS_A_WHOLE = {"*": Hold(side="synapse", value=None)}


def _is_edited(link: Link) -> bool:
    """Whether SYNAPSE holds anything that is not ours. A field that was never read is empty there because nobody wrote it."""
    base = link.base or {}
    return any(name in base or value is not None for name, value in link.synapse_delta.items())


def _undo_create(change: Mapping[str, Any], link: Link, undo: _Undo) -> None:
    if link.state is LinkState.ARCHIVED:
        undo.leave(change, "*", link.tag, "already archived")
    elif (is_counted(link.asset_version) and link.asset_version != 1) or _is_edited(link):
        undo.leave(change, "*", link.tag, "edited since")
    else:
        undo.steps.append(_archive_again("undo_create", change, link))


def _undo_archive(change: Mapping[str, Any], link: Link, undo: _Undo) -> None:
    """The asset lives again with what it held. It stays, until its item is seen in Plant 3D and vanishes anew."""
    if link.state is not LinkState.ARCHIVED or not link.archived_in_synapse:
        undo.leave(change, "*", link.tag, "not archived any more")
        return
    undo.steps.append(
        Restore(
            entity=link.entity,
            pnpid=link.pnpid,
            plant3d_id=link.plant3d_id,
            class_name=link.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            description_version=link.description_version,
            after=After(holds=_HELD_AS_A_WHOLE),
            why={"*": "undo"},
            undo_change=change["id"],
        )
    )


def _undo_restore(change: Mapping[str, Any], link: Link, undo: _Undo) -> None:
    """The asset is archived again."""
    if link.archived_in_synapse:
        undo.leave(change, "*", link.tag, "already archived")
    elif _is_edited(link):
        undo.leave(change, "*", link.tag, "edited since")
    else:
        undo.steps.append(_archive_again("undo", change, link))


def _archive_again(why: str, change: Mapping[str, Any], link: Link) -> Archive:
    return Archive(
        entity=link.entity,
        pnpid=link.pnpid,
        plant3d_id=link.plant3d_id,
        class_name=link.class_name,
        tag=link.tag,
        link_id=link.link_id,
        asset_id=link.asset_id,
        asset_version=link.asset_version,
        description_version=link.description_version,
        after=After(state=LinkState.ARCHIVED, holds=_HELD_AS_A_WHOLE),
        why={"*": why},
        undo_change=change["id"],
    )


def _undo_update(change: Mapping[str, Any], link: Link, undo: _Undo) -> None:
    held = link.synapse_fields()
    back: dict[str, Value] = {}
    was: dict[str, Value] = {}
    holds: dict[str, Hold] = {}
    for name, (old, new) in change["fields"].items():
        if name == "plant3d_id":
            undo.leave(change, name, link.plant3d_id, "an identity is never taken back")
        elif held.get(name) != new:
            undo.leave(change, name, held.get(name), "edited since")
        elif old != new:
            back[name], was[name] = old, new
            holds[name] = Hold(side="synapse", value=_plant3d_now(link, name), kept=old)
    if not back:
        return
    undo.steps.append(
        Update(
            entity=link.entity,
            pnpid=link.pnpid,
            plant3d_id=link.plant3d_id,
            class_name=link.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            description_version=link.description_version,
            old_tag=link.tag if "tag" in back else None,
            set=back,
            was=was,
            after=After(holds=holds, ends=sorted(back)),
            why=dict.fromkeys(back, "undo"),
            undo_change=change["id"],
        )
    )


def _plant3d_now(link: Link, name: str) -> Value:
    """Plant 3D's value as last seen."""
    entry = link.pending.get(name)
    if entry is not None:
        return known(entry.plant3d)
    return link.base_plant.get(name, (link.base or {}).get(name))


def _undo_push(
    connection: Connection, change: Mapping[str, Any], link: Link, write_mode: str, undo: _Undo
) -> None:
    written = journal.written(connection, change["intent_id"], change["pnpid"])
    cells: list[Cell] = []
    for (name, (old, new)), row in zip(change["fields"].items(), written, strict=False):
        now = _plant3d_now(link, name)
        held = link.synapse_fields().get(name)
        if write_mode != "sql":
            undo.leave(change, name, now, f"Plant 3D may not be written to (write: {write_mode})")
            continue
        if now != new:
            undo.leave(change, name, now, "edited since")
            continue
        if held != _synapse_then(change, link, name):
            undo.leave(change, name, held, "edited since")
            continue
        cells.append(
            Cell(
                field=name,
                column=row.column_name,
                table_class=row.table_name,
                old=row.new_value,
                new=row.old_value,
                ticks=_stamp(connection, row.project, link),
                plant3d=now,
                synapse=held,
                why="undo",
                hold=True,
                kept=old,
            )
        )
    if not cells:
        return
    undo.steps.append(
        Push(
            entity=link.entity,
            pnpid=link.pnpid,
            plant3d_id=link.plant3d_id,
            class_name=link.class_name,
            tag=link.tag,
            link_id=link.link_id,
            asset_id=link.asset_id,
            asset_version=link.asset_version,
            description_version=link.description_version,
            cells=cells,
            undo_change=change["id"],
            undo="undo",
            row_guid=lines.row_guid(connection, change["project"], link.plant3d_id),
        )
    )


def _stamp(connection: Connection, project: str, link: Link) -> int | None:
    """The stamp the item's row has: as last read, or as our newest write left it if it was not read since."""
    if link.digest:
        return link.ticks
    return journal.newest_stamp(connection, project, link.pnpid)


def _synapse_then(change: Mapping[str, Any], link: Link, name: str) -> Value:
    """What SYNAPSE held when the change was made: what a push carried is the base, what an undo kept away is held."""
    hold = link.holds.get(name)
    if change["op"] == "undo" and hold is not None:
        return hold.value
    return (link.base or {}).get(name)


def _plan(
    world: World,
    project: str,
    run_id: str,
    undo: _Undo,
    by: str,
    stored_project: project_state.ProjectState | None,
) -> StoredPlan:
    by_entity: dict[str, dict[str, int]] = {}
    total = dict.fromkeys(STAT_NAMES, 0)
    for step in undo.steps:
        if isinstance(step, Push):
            continue
        name = "archived" if isinstance(step, Archive) else "updated"
        per = by_entity.setdefault(step.entity, dict.fromkeys(STAT_NAMES, 0))
        for counts in (per, total):
            counts[name] += 1
            if name == "updated":
                counts["total"] += 1
            else:
                counts["total"] += 1
                counts["unchanged"] += 1
    push = dict.fromkeys(STAT_NAMES, 0)
    push["total"] = push["updated"] = sum(1 for step in undo.steps if isinstance(step, Push))
    digest = hashlib.blake2b(digest_size=16)
    for step in undo.steps:
        digest.update(to_text(step))
    return StoredPlan(
        plan_id=world.new_id(),
        project=project,
        direction="both",
        status="draft",
        created_at=world.clock(),
        created_by=by,
        run_id=None,
        fingerprint=digest.hexdigest(),
        mapping_digest=(stored_project.mapping_digest if stored_project else None) or "",
        identity=stored_project.identity if stored_project else None,
        signature=None,
        header={
            "stats": total,
            "by_entity": by_entity,
            "push_stats": push,
            "guards": [],
            "errors": [],
            "undo_of": run_id,
            "left_alone": undo.left,
        },
        lines=len(undo.steps),
        chunks=(len(undo.steps) + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES,
        undo_of=run_id,
    )
