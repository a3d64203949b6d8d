"""Undo a run: a plan that puts back every field it wrote, except what was edited since."""

from __future__ import annotations

import hashlib
from typing import TypedDict, assert_never

import msgspec

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.change import Change, WrittenRow
from plant3d_sync.model.link import Link
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import INFORMATION
from plant3d_sync.model.run import is_live
from plant3d_sync.model.step import Archive, Push, Restore, Update, to_text
from plant3d_sync.reconcile.reverse import Inverse, Reversal, reverse
from plant3d_sync.run.project import World
from plant3d_sync.state import Connection, intents, lines, links, runs, seals
from plant3d_sync.state import cells as journal
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import StoredPlan


class _Undo(msgspec.Struct):
    """The steps that put back, and the fields that stay as they are, with the reason."""

    steps: list[Inverse] = msgspec.field(default_factory=list)
    left: list[dict[str, Value]] = msgspec.field(default_factory=list)

    def add(self, change: Change, reversal: Reversal) -> None:
        """What is done about one change."""
        if reversal.step is not None:
            self.steps.append(reversal.step)
        self.left += [
            {
                "change_id": change.change_id,
                "pnpid": change.pnpid,
                "tag": change.tag,
                "side": change.side,
                "field": one.field,
                "value_now": one.value_now,
                "reason": one.why,
            }
            for one in reversal.left
        ]


class Undone(TypedDict):
    """The plan that puts back: how many values it restores, and the fields that stay as they are."""

    plan_id: str
    project: str
    run_id: str
    restores: int
    left_alone: list[dict[str, Value]]


def undo_plan(
    world: World,
    project: str | None,
    run_id: str,
    *,
    change_id: int | None = None,
    by: str = "cli",
    write_mode: str = "off",
) -> Undone:
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
        seals.check_run(connection, run.project, run_id, nothing="Nothing was planned.")
        changes = intents.recorded(connection, run_id)
        if change_id is not None:
            changes = [change for change in changes if change.change_id == change_id]
            if not changes:
                raise NotFoundError(f"Run {run_id} has no change {change_id}. Nothing was planned.")
        stored_project = project_state.get(connection, run.project) or project_state.ProjectState(
            name=run.project, number=0
        )
        lines.check(connection, run.project, stored_project.number, nothing="Nothing was planned.")
        linked = links.by_ids(connection, [change.link_id for change in changes if change.link_id])
        undo = _Undo()
        for change in changes:
            link = linked.get(change.link_id or 0)
            row = WrittenRow() if link is None else _row(connection, stored_project, change, link)
            undo.add(change, reverse(change, link, row, write_mode=write_mode))
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


def _values(step: Inverse) -> int:
    """How many values a step puts back, besides information; an asset that is archived or lives again counts as one."""
    match step:
        case Push():
            return len(step.cells)
        case Update() | Restore():
            return sum(step.why.get(name) != INFORMATION for name in step.set) or 1
        case Archive():
            return 1
        case _:
            assert_never(step)


def _row(
    connection: Connection, project: project_state.ProjectState, change: Change, link: Link
) -> WrittenRow:
    """What a push wrote, and where; its stamp as last read, or as our newest write left it if it was not read since."""
    if change.side != "plant3d":
        return WrittenRow()
    return WrittenRow(
        cells=journal.written(connection, change.intent_id, change.pnpid),
        ticks=link.ticks if link.digest else journal.newest_stamp(connection, project.name, link.pnpid),
        guid=lines.row_guid(connection, project.number, link.plant3d_id),
    )


def _plan(
    world: World,
    project: str,
    run_id: str,
    undo: _Undo,
    by: str,
    stored_project: project_state.ProjectState,
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
            counts["total"] += 1
            counts["unchanged"] += name == "archived"
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
        mapping_digest=stored_project.mapping_digest or "",
        identity=stored_project.identity,
        signature=None,
        header={
            "stats": total,
            "by_entity": by_entity,
            "push_stats": push,
            "guards": [],
            "errors": [],
            "writes": {"synapse": total["total"], "plant3d": push["total"]},
            "remembered": 0,
            "undo_of": run_id,
            "left_alone": undo.left,
        },
        lines=len(undo.steps),
        chunks=(len(undo.steps) + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES,
        undo_of=run_id,
    )
