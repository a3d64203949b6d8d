"""`/api/v1/plans`: make one, read it, apply exactly it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response

from plant3d_sync.errors import GuardStop, NeedsPersonError
from plant3d_sync.model.side import Direction
from plant3d_sync.run import leftovers
from plant3d_sync.state import audit, lists, runs
from plant3d_sync.state.runs import StoredPlan
from plant3d_sync.usecases.discard import discard as discard_plan
from plant3d_sync.usecases.show import reads_needed
from plant3d_sync.usecases.wish import Wish
from plant3d_sync.web import documents
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import Call, Decides, Needs
from plant3d_sync.web.idempotency import Answer, Ticket, once
from plant3d_sync.web.routes.common import IdPath, Limit, Offset, ProjectQuery, Wait, accepted_or, refusals
from plant3d_sync.web.routes.conflicts import version_of
from plant3d_sync.web.routes.sync import ask, await_end, job_answer, waiting_place

router = APIRouter(prefix="/api/v1/plans", tags=["plans"])

CanRead = Annotated[Call, Depends(Needs("read"))]
CanSync = Annotated[Call, Depends(Decides("sync"))]
CanWrite = Annotated[Call, Depends(Decides("write"))]

_DONE: dict[str, Any] = {"model": s.SyncJob, "description": "The run is done."}


@router.get("", operation_id="listPlans", summary="List plans", response_model=s.Plans, responses=refusals())
def plans(
    call: CanRead,
    project_id: ProjectQuery,
    status: s.PlanStatus | None = None,
    direction: s.Direction | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> s.Plans:
    """Plans of a project, newest first."""
    project = call.project(project_id)
    with call.context.state.read() as connection:
        found, total = lists.plans(
            connection, project, limit=limit, offset=offset, status=status, direction=direction
        )
    return s.Plans(
        items=[s.PlanInfo.model_validate(documents.plan_members(plan)) for plan in found],
        total=total,
        limit=limit,
        offset=offset,
    )


@router.post(
    "",
    operation_id="makePlan",
    summary="Make a plan",
    status_code=202,
    response_model=s.SyncJob,
    responses=accepted_or(_DONE, 400, 409, 413),
)
def make(body: s.PlanBody, call: CanSync, wait: Wait = 0) -> Response:
    """Ask what a run would do. The worker makes the plan and writes nothing else; the run's `plan_id` names it."""
    project = call.project(body.project_id)

    def work(ticket: Ticket) -> Answer:
        with waiting_place(call, wait) as seconds:
            wish = Wish.to(
                Direction(body.direction),
                entity_types=body.entity_types,
                full=body.full_sync,
                asset_ids=body.asset_ids,
                dry_run=True,
            )
            run = ask(call, ticket, project, wish, trigger="plan")
            return job_answer(await_end(call, run, seconds))

    return once(call, body, work)


@router.get(
    "/{plan_id}",
    operation_id="getPlan",
    summary="Get a plan with its steps",
    response_model=s.PlanDetail,
    responses=refusals(),
)
def plan(
    plan_id: IdPath, call: CanRead, response: Response, limit: Limit = 100, offset: Offset = 0
) -> s.PlanDetail:
    """Every write with its reason, before the first write. Steps are paged."""
    stored = _visible(call, plan_id)
    with call.context.state.read() as connection:
        lines = lists.plan_lines(connection, stored, limit=limit, offset=offset)
        note = leftovers.note(connection, stored)
        remembered = runs.remembered(connection, stored)
    response.headers["ETag"] = f'"{stored.version}"'
    return s.PlanDetail.model_validate(
        documents.plan_members(stored)
        | {
            "lines": [documents.plan_line(number, line, reads_needed(stored)) for number, line in lines],
            "limit": limit,
            "offset": offset,
            "by_entity": {
                name: documents.stats(found) for name, found in (stored.header.get("by_entity") or {}).items()
            },
            "left_alone": stored.header.get("left_alone") or [],
            "note": note,
            "remembered": remembered,
        }
    )


def _visible(call: Call, plan_id: str) -> StoredPlan:
    with call.context.state.read() as connection:
        stored = runs.get_plan(connection, plan_id)
    return call.found(stored, stored.project if stored else None, "plan", plan_id)


@router.post(
    "/{plan_id}/apply",
    operation_id="applyPlan",
    summary="Apply a plan",
    status_code=202,
    response_model=s.SyncJob,
    responses=accepted_or(_DONE, 400, 409, 412, 413),
)
def apply(
    plan_id: IdPath,
    call: CanWrite,
    body: s.ApplyBody | None = None,
    wait: Wait = 0,
    if_match: Annotated[
        str | None, Header(max_length=60, description='The version you looked at, as in ETag: `"1"`.')
    ] = None,
) -> Response:
    """Carry out exactly this plan. Steps whose values moved since are refused as stale, the others are written."""
    stored = _visible(call, plan_id)
    wanted = body or s.ApplyBody(approve_guards=False)

    def work(ticket: Ticket) -> Answer:
        if not ticket.again:
            _check(stored, wanted, version_of(if_match))
        with waiting_place(call, wait) as seconds:
            wish = Wish.to(stored.direction, plan_id=plan_id, approve_guards=wanted.approve_guards)
            run = ask(call, ticket, stored.project, wish, trigger="apply")
            _note_approval(call, stored, wanted, run.run_id)
            return job_answer(await_end(call, run, seconds))

    return once(call, wanted, work)


@router.post(
    "/{plan_id}/discard",
    operation_id="discardPlan",
    summary="Discard a plan",
    response_model=s.PlanInfo,
    responses=refusals(400, 409),
)
def discard(plan_id: IdPath, call: CanWrite) -> Response:
    """Close a plan that nobody wants. Nothing of it is written; the next run decides anew."""
    _visible(call, plan_id)

    def work(_ticket: Ticket) -> Answer:
        done = discard_plan(call.context.state, plan_id, by=call.by, at=call.context.clock())
        return Answer(status=200, body=s.PlanInfo.model_validate(documents.plan_members(done)))

    return once(call, None, work)


def _check(stored: StoredPlan, wanted: s.ApplyBody, version: int | None) -> None:
    """Refuse what the worker would refuse anyway, while the caller still listens."""
    if version is not None and version != stored.version:
        raise NeedsPersonError(
            "The plan changed since you looked. Nothing was queued.",
            hint="Look at it again, then apply it.",
            code="plan_moved",
            details={
                "current": {
                    "plan_id": stored.plan_id,
                    "status": stored.status,
                    "version": stored.version,
                    "lines_total": stored.lines,
                }
            },
        )
    if stored.status in ("applied", "expired", "superseded"):
        raise NeedsPersonError(
            f"The plan is {stored.status} already. Nothing was queued.",
            hint="Make a new plan.",
            code=f"plan_{stored.status}",
        )
    if stored.status == "guarded" and not wanted.approve_guards:
        raise GuardStop(
            "A guard stopped this plan. Nothing was queued.",
            hint="Look at its steps; if they are right, apply it with `approve_guards: true`.",
            details={"guards": stored.header.get("guards", [])},
        )


def _note_approval(call: Call, stored: StoredPlan, wanted: s.ApplyBody, run_id: str) -> None:
    with call.context.state.write() as connection:
        audit.append(
            connection,
            stored.project,
            action="plan.approved",
            actor=call.by,
            at=call.context.clock(),
            plan=stored.plan_id,
            fingerprint=stored.fingerprint,
            guards_approved=wanted.approve_guards,
            run=run_id,
        )
