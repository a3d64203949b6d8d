"""Plans whose application ended half-way: what of them was written, and what becomes of the rest.

Whoever holds the lease knows that nobody else applies a plan of the project, so a plan that still stands as being
applied was left behind.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.model.run import is_live
from plant3d_sync.model.step import Adopt, Archive, Create, Push, Restore, Step, Update
from plant3d_sync.state import audit, runs
from plant3d_sync.state.lease import Fence
from plant3d_sync.state.runs import StoredPlan
from plant3d_sync.state.tables import change, intent
from plant3d_sync.state.tables import plan as plan_table
from plant3d_sync.usecases.project import World

BEGUN = (PlanStatus.APPROVED.value, PlanStatus.APPLYING.value)
LEFT_SHOWN = 200
"""How many steps that were not written are named in the plan; their number is always there."""

Done = frozenset[tuple[str, int]]
"""(what was done, PnPID) of steps that were carried out; into Plant 3D there is one kind only."""


def begun(connection: Connection, project: str, *, but: str | None) -> list[str]:
    """Plans of the project that stand as being applied, except the one that is about to be."""
    rows = connection.execute(
        sa.select(plan_table.c.id)
        .where(
            plan_table.c.project == project, plan_table.c.status.in_(BEGUN), plan_table.c.id != (but or "")
        )
        .order_by(plan_table.c.created_at, plan_table.c.id)
    )
    return [row.id for row in rows]


def done_steps(connection: Connection, stored: StoredPlan) -> Done:
    """The steps of a plan whose effect is recorded."""
    rows = connection.execute(
        sa.select(change.c.side, change.c.op, change.c.pnpid)
        .join(intent, sa.and_(intent.c.run_id == change.c.run_id, intent.c.id == change.c.intent_id))
        .where(intent.c.project == stored.project, intent.c.plan_id == stored.plan_id)
    )
    return frozenset(("push" if row.side == "plant3d" else row.op, row.pnpid) for row in rows)


def is_done(step: Step, done: Done) -> bool:
    """Whether this step was carried out."""
    return (step.op.value, step.pnpid) in done


def settle(world: World, fence: Fence, run_id: str, plan_ids: list[str]) -> None:
    """Say of each plan that was left behind what became of it: applied after all, or superseded, with what is left.

    Call it after recovery, when every write that did happen is recorded. What is left is not lost: the comparison
    of the next run finds it again.
    """
    for plan_id in plan_ids:
        with world.state.read() as connection:
            stored = runs.get_plan(connection, plan_id)
            if stored is None:
                continue
            done = done_steps(connection, stored)
            by_person = applied_by_person(connection, stored)
            left_total, left = 0, []
            for step in _writes(connection, stored, by_person=by_person):
                if is_done(step, done):
                    continue
                left_total += 1
                if left_total <= LEFT_SHOWN:
                    left.append({"op": step.op.value, "tag": step.tag, "pnpid": step.pnpid})
        status = PlanStatus.SUPERSEDED if left_total else PlanStatus.APPLIED
        settled = {"run_id": run_id, "written": len(done), "left": left_total, "left_lines": left}
        with world.state.write() as connection:
            fence.check(connection)
            if not runs.set_plan(
                connection,
                plan_id,
                expect=BEGUN,
                status=status.value,
                header={**stored.header, "settled": settled},
            ):
                continue
            audit.append(
                connection,
                stored.project,
                action="plan.settled",
                actor="sync",
                at=world.clock(),
                run=run_id,
                plan=plan_id,
                status=status.value,
                written=len(done),
                left=left_total,
            )


def applied_by_person(connection: Connection, stored: StoredPlan) -> bool:
    """Whether a person applied the plan: then steps that need a person were to be written too."""
    run = runs.get(connection, stored.run_id) if stored.run_id else None
    return run is not None and run.trigger == "apply"


def _writes(connection: Connection, stored: StoredPlan, *, by_person: bool) -> Iterator[Step]:
    """The steps that were to be written."""
    for step in runs.all_steps(connection, stored):
        match step:
            case Create() | Update() | Restore():
                yield step
            case Push() if step.needs is None:
                yield step
            case Adopt() if step.set:
                yield step
            case Archive() if by_person or step.needs is None:
                yield step
            case _:  # waits for somebody, or only our own memory changes
                pass


def note(connection: Connection, stored: StoredPlan) -> str | None:
    """What a person should know about a plan that stands as being applied while nobody does."""
    if stored.status not in BEGUN:
        return None
    run = runs.get(connection, stored.run_id) if stored.run_id else None
    if run is not None and is_live(run.status):
        return None
    return (
        "Its run ended before the plan did. `apply` carries on with what is left of it; "
        "otherwise the next run says what was written and supersedes it."
    )


__all__ = ["BEGUN", "applied_by_person", "begun", "done_steps", "is_done", "note", "settle"]
