"""Plans whose application ended half-way: what of them was written, and what becomes of the rest.

Whoever holds the lease knows that nobody else applies a plan of the project, so a plan that still stands as being
applied was left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import assert_never

from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.model.run import is_live
from plant3d_sync.model.step import Absent, Adopt, Archive, Create, Push, Restore, Settle, Step, Touch, Update
from plant3d_sync.run.project import World
from plant3d_sync.state import Connection, audit, intents, runs
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state.lease import Fence
from plant3d_sync.state.plans import BEGUN
from plant3d_sync.state.runs import StoredPlan

LEFT_SHOWN = 200
"""How many steps that were not written are named in the plan; their number is always there."""

Done = frozenset[tuple[str, int]]
"""(what was done, PnPID) of steps that were carried out; into Plant 3D there is one kind only."""


def done_steps(connection: Connection, stored: StoredPlan) -> Done:
    """The steps of a plan whose effect is recorded."""
    rows = intents.changed_by_plan(connection, stored.project, stored.plan_id)
    return frozenset(("push" if side == "plant3d" else op, pnpid) for side, op, pnpid in rows)


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
            end_choices(connection, stored, at=world.clock())
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


def end_choices(
    connection: Connection, stored: StoredPlan, *, failed: Collection[str] = (), at: float
) -> None:
    """What a person chose, and this plan carried out, ends: it is not carried out again over what is typed since.

    `failed`: identities of items of which a step was not carried out.
    """
    ids = frozenset(stored.header.get("carries_out") or ())
    conflict_state.end_carried_out(connection, stored.project, ids, failed=failed, at=at)


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
            case Push():
                if step.needs is None:
                    yield step
            case Adopt():
                if step.set:
                    yield step
            case Archive():
                if by_person or step.needs is None:
                    yield step
            case Settle() | Touch() | Absent():
                pass  # only our own memory changes
            case _:
                assert_never(step)


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
