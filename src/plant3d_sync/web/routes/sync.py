"""`/api/v1/sync`: ask for runs, watch them, stop them, undo them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.run import is_over
from plant3d_sync.model.side import Direction
from plant3d_sync.state import runs
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.naming import check_assets
from plant3d_sync.usecases.status import read_status
from plant3d_sync.usecases.undo import undo_plan
from plant3d_sync.usecases.wish import Asker, Wish
from plant3d_sync.web import documents
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import Call, Decides, Needs
from plant3d_sync.web.errors import Refused
from plant3d_sync.web.idempotency import Answer, Ticket, once
from plant3d_sync.web.routes.common import IdPath, Limit, Offset, ProjectQuery, Wait, accepted_or, refusals
from plant3d_sync.web.stream import event_stream

router = APIRouter(prefix="/api/v1/sync", tags=["sync"])

CanRead = Annotated[Call, Depends(Needs("read"))]
CanSync = Annotated[Call, Depends(Decides("sync"))]
CanWrite = Annotated[Call, Depends(Decides("write"))]

LONGEST_CHAIN = 10
"""How many runs may have continued one another before we stop following."""


def ask(call: Call, ticket: Ticket, project: str, wish: Wish, *, trigger: str = "api") -> Run:
    """Queue a run, or join the one that waits. A repetition finds the run of its first attempt."""
    context = call.context
    if ticket.again:
        with context.state.read() as connection:
            known = runs.get(connection, ticket.run_id)
        if known is not None:
            return known
    failpoint("web.before_queue")
    asker = Asker(by=call.by, trigger=trigger, request_id=call.request_id)
    run = queue.enqueue(context.world, project, wish, asker, run_id=ticket.run_id)
    failpoint("web.queued")
    context.bell.ring(run.run_id)
    return run


def accepted(run: Run) -> dict[str, str]:
    """Headers of an answer about a run that is not done."""
    headers = {"Location": f"/api/v1/sync/{run.run_id}"}
    return headers if is_over(run.status) else {**headers, "Retry-After": "2"}


@contextmanager
def waiting_place(call: Call, seconds: float) -> Iterator[float]:
    """How long the caller may wait; held from before anything is done. Refuses 429 a key that waits too often already."""
    if seconds <= 0:
        yield 0.0
        return
    with call.context.waiters.one(call.key.key_id) as place:
        if place == "share":
            raise Refused(
                429,
                "too_many_waits",
                "This key waits for as many runs as it may.",
                hint="Wait for an answer first, or ask with wait=0 and look at the run later.",
                headers={"Retry-After": "5"},
            )
        yield seconds if place == "taken" else 0.0


def await_end(call: Call, run: Run, seconds: float) -> Run:
    """The run at its end, or as it is after so long, or when this process is to end. Follows one that another continues."""
    context = call.context
    run = latest(call, run)
    end = time.monotonic() + seconds
    while not is_over(run.status) and time.monotonic() < end:
        ending = context.ending.wait(min(context.poll, max(end - time.monotonic(), 0.0)))
        run = latest(call, run)
        if ending:
            break
    return run


def latest(call: Call, run: Run) -> Run:
    """The run as it is now, or the one that does its work in its place."""
    with call.context.state.read() as connection:
        for _ in range(LONGEST_CHAIN):
            found = runs.get(connection, run.run_id) or run
            heir = found.result.get("continued_by")
            after = runs.get(connection, str(heir)) if heir else None
            if after is None:
                return found
            run = after
    return run


def job_answer(run: Run) -> Answer:
    """202 while it goes on, 200 when it is done."""
    done = is_over(run.status)
    return Answer(status=200 if done else 202, body=documents.job(run), headers=accepted(run))


def visible_run(call: Call, run_id: str) -> Run:
    """A run the key may see. Refuses 404."""
    with call.context.state.read() as connection:
        run = runs.get(connection, run_id)
    return call.found(run, run.project if run else None, "run", run_id)


_DONE: dict[str, Any] = {"model": s.SyncJob, "description": "The run is done."}


@router.post(
    "/pull",
    operation_id="pull",
    summary="Pull data from Plant 3D to SYNAPSE",
    status_code=202,
    response_model=s.SyncJob,
    responses=accepted_or(_DONE, 400, 409, 413),
)
def pull(body: s.PullBody, call: CanSync, wait: Wait = 0) -> Response:
    """Ask for a pull. A project has at most one running and one waiting run; a second request joins the waiting one."""
    project = call.project(body.project_id)

    def work(ticket: Ticket) -> Answer:
        with waiting_place(call, wait) as seconds:
            wish = Wish.to(Direction.PULL, entity_types=body.entity_types, full=body.full_sync)
            run = ask(call, ticket, project, wish)
            return job_answer(await_end(call, run, seconds))

    return once(call, body, work)


@router.post(
    "/push",
    operation_id="push",
    summary="Push data from SYNAPSE to Plant 3D",
    status_code=202,
    response_model=s.SyncJob,
    responses=accepted_or(_DONE, 400, 409, 413),
)
def push(body: s.PushBody, call: CanSync, wait: Wait = 0) -> Response:
    """Ask for a push of shared fields. What is really written depends on the project's write setting."""
    project = call.project(body.project_id)

    def work(ticket: Ticket) -> Answer:
        if body.asset_ids and not ticket.again:
            check_assets(call.context.state, project, body.asset_ids)
        with waiting_place(call, wait) as seconds:
            run = ask(call, ticket, project, Wish.to(Direction.PUSH, asset_ids=body.asset_ids))
            return job_answer(await_end(call, run, seconds))

    return once(call, body, work)


@router.post(
    "/now",
    operation_id="syncNow",
    summary="Immediate bidirectional sync",
    response_model=s.SyncNow,
    responses={
        202: {"model": s.SyncNow, "description": "Not done yet; the figures so far."},
        **refusals(400, 409, 413),
    },
)
def now(body: s.NowBody, call: CanSync, wait: Wait = 30) -> Response:
    """Synchronise both directions and wait for the result, at most `wait` seconds.

    If a run is going already, that one is returned and at most one more is queued behind it.
    """
    project = call.project(body.project_id)

    def work(ticket: Ticket) -> Answer:
        with waiting_place(call, wait) as seconds:
            run, follow_up = press(call, ticket, project)
            run = await_end(call, run, seconds)
        done = is_over(run.status)
        return Answer(
            status=200 if done else 202,
            body=documents.now_answer(run, follow_up.run_id if follow_up is not None else None),
            headers=accepted(run),
        )

    return once(call, body, work)


def press(call: Call, ticket: Ticket, project: str) -> tuple[Run, Run | None]:
    """The run a caller of `now` gets, and the one that waits behind it."""
    going = queue.running(call.context.world, project)
    try:
        asked = ask(call, ticket, project, Wish.to(Direction.BOTH), trigger="now")
    except RetryLaterError as error:
        if going is None or error.error_code != "run_waiting":
            raise
        return going, queue.waiting(call.context.world, project)
    if going is None or asked.run_id == going.run_id:
        return asked, None
    return going, asked


@router.get(
    "/status",
    operation_id="getStatus",
    summary="Get current sync status",
    response_model=s.SyncStatus,
    responses=refusals(),
)
def status(call: CanRead, project_id: ProjectQuery) -> s.SyncStatus:
    """Last sync, next one, what goes on, and health with its reasons."""
    context = call.context
    watched = context.watched(call.project(project_id))
    with context.state.read() as connection:
        found = read_status(connection, watched, now=context.clock())
    return documents.status(found, context.queue_kind)


@router.get(
    "/history",
    operation_id="getHistory",
    summary="Sync history log",
    response_model=s.History,
    responses=refusals(),
)
def history(
    call: CanRead,
    project_id: ProjectQuery,
    status: s.RunStatus | None = None,
    outcome: s.Outcome | None = None,
    direction: s.Direction | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> s.History:
    """Runs of a project, newest first; only those of a status, an outcome or a direction if asked."""
    project = call.project(project_id)
    statuses = () if status is None else (status,)
    with call.context.state.read() as connection:
        found = runs.history(
            connection,
            project,
            limit=limit,
            offset=offset,
            statuses=statuses,
            outcome=outcome,
            direction=direction,
        )
        if statuses or outcome is not None or direction is not None:
            total = runs.count(connection, project, statuses=statuses, outcome=outcome, direction=direction)
        else:
            total = call.context.counts.of(connection, project)
    return s.History(items=[documents.log(run) for run in found], total=total, limit=limit, offset=offset)


@router.get(
    "/{sync_id}",
    operation_id="getSync",
    summary="Get specific sync job details",
    response_model=s.SyncDetail,
    responses=refusals(),
)
def details(
    sync_id: IdPath,
    call: CanRead,
    errors_limit: Annotated[int, Query(ge=0, le=10_000)] = 1000,
    errors_offset: Offset = 0,
) -> s.SyncDetail:
    """One run with its row errors."""
    run = visible_run(call, sync_id)
    with call.context.state.read() as connection:
        errors = runs.errors(connection, sync_id, limit=errors_limit, offset=errors_offset)
    return documents.detail(run, errors)


@router.get(
    "/{sync_id}/events",
    operation_id="streamSync",
    summary="Progress of a run as server-sent events",
    response_class=Response,
    responses={
        200: {
            "description": "`queued`, `started`, `phase`, … with their number as id; `progress` and `end` without.",
            "content": {
                "text/event-stream": {"example": 'event: phase\nid: 42\ndata: {"phase": "read"}\n\n'}
            },
        },
        **refusals(),
    },
)
def events(
    sync_id: IdPath,
    call: CanRead,
    last_event_id: Annotated[
        str | None,
        Header(max_length=20, pattern=r"^[0-9]{1,18}$", description="Replay what came after this event."),
    ] = None,
) -> Response:
    """The story of a run as it happens. The stream ends with the run."""
    run = visible_run(call, sync_id)
    if getattr(call.request.state, "head", False):
        return Response(media_type="text/event-stream")
    return event_stream(call, run, after=int(last_event_id) if last_event_id else 0)


@router.post(
    "/{sync_id}/cancel",
    operation_id="cancelSync",
    summary="Stop a run",
    status_code=202,
    response_model=s.SyncJob,
    responses=accepted_or(_DONE, 400, 409, 413),
)
def cancel(sync_id: IdPath, call: CanSync) -> Response:
    """A waiting run ends at once, a running one between two batches; what it wrote stays and is recorded."""
    visible_run(call, sync_id)

    def work(_ticket: Ticket) -> Answer:
        run = queue.cancel(call.context.world, sync_id, by=call.by)
        call.context.bell.ring(run.run_id)
        return job_answer(run)

    return once(call, None, work)


@router.post(
    "/{sync_id}/undo",
    operation_id="undoSync",
    summary="Make a plan that undoes a run",
    status_code=201,
    response_model=s.UndoPlan,
    responses=refusals(400, 409, 413),
)
def undo(sync_id: IdPath, call: CanWrite, body: s.UndoBody | None = None) -> Response:
    """Plan to put back every field the run wrote, except what was edited since. Apply the plan to do it."""
    run = visible_run(call, sync_id)
    wanted = body or s.UndoBody(change_id=None)

    def work(_ticket: Ticket) -> Answer:
        made = undo_plan(
            call.context.world,
            run.project,
            sync_id,
            change_id=wanted.change_id,
            by=call.by,
            write_mode=call.context.write_mode(run.project),
        )
        document = s.UndoPlan(
            plan_id=made["plan_id"],
            project_id=run.project,
            sync_id=sync_id,
            restores=made["restores"],
            left_alone=made["left_alone"],
        )
        return Answer(status=201, body=document, headers={"Location": f"/api/v1/plans/{made['plan_id']}"})

    return once(call, wanted, work)
