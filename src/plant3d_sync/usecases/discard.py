"""Discard a plan that nobody wants."""

from __future__ import annotations

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.run.plans import DISCARDED, close
from plant3d_sync.state import State, audit, runs
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import StoredPlan


def discard(state: State, plan_id: str, *, by: str, at: float) -> StoredPlan:
    """Close a plan that nobody wants. Nothing of it is written; the next run decides anew.

    Raises NotFoundError; NeedsPersonError `plan_begun` when it was begun, applied or closed before.
    """
    with state.write() as connection:
        stored = runs.get_plan(connection, plan_id)
        if stored is None:
            raise NotFoundError(
                f"There is no plan {plan_id}. Nothing was done.",
                hint="`plant3d-sync runs PROJECT` lists plan ids.",
            )
        if not close(connection, stored, PlanStatus.SUPERSEDED, {"why": DISCARDED, "run_id": None}):
            raise NeedsPersonError(
                f"Plan {plan_id} is {stored.status}, so it does not wait any more. Nothing was done.",
                hint=f"`plant3d-sync show {plan_id}` says what became of it.",
                code="plan_begun",
            )
        project_state.update(connection, stored.project, force_compare=True)  # it may name this plan
        audit.append(connection, stored.project, action="plan.discarded", actor=by, at=at, plan=plan_id)
        found = runs.get_plan(connection, plan_id)
        if found is None:
            raise AssertionError("the plan was just stored")
        return found
