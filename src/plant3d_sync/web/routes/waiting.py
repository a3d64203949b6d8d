"""`/api/v1/waiting` and `/api/v1/quarantine`: what waits for a person, and refused rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.model.side import Direction
from plant3d_sync.state.waiting import counts, waits
from plant3d_sync.usecases import quarantine as use
from plant3d_sync.usecases.quarantine import Refused
from plant3d_sync.usecases.waiting import document
from plant3d_sync.usecases.wish import Wish
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import Call, Decides, Needs
from plant3d_sync.web.idempotency import Answer, Ticket, once
from plant3d_sync.web.routes.common import Limit, Offset, ProjectQuery, Text, refusals
from plant3d_sync.web.routes.sync import ask

router = APIRouter(prefix="/api/v1", tags=["waiting"])

CanRead = Annotated[Call, Depends(Needs("read"))]
CanResolve = Annotated[Call, Depends(Decides("resolve"))]
RowId = Annotated[int, Path(ge=1, le=2**53, description="Id of a row, as `GET /api/v1/quarantine` shows it.")]


@router.get(
    "/waiting",
    operation_id="listWaiting",
    summary="List what waits for a person",
    response_model=s.Waiting,
    responses=refusals(),
)
def waiting(
    call: CanRead,
    project_id: ProjectQuery,
    kind: Annotated[s.WaitingKind | None, Query()] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Waiting:
    """Questions, plans, refused rows, values for a workbook, work for designers: no run settles them by itself."""
    name = call.project(project_id)
    with call.context.state.read() as connection:
        found = [one for one in waits(connection, name) if kind in (None, one.kind)]
        amounts = counts(connection, name)
    return s.Waiting(
        items=[_shown(document(one, name)) for one in found[offset : offset + limit]],
        total=len(found),
        counts=s.WaitingCounts.model_validate(amounts),
        limit=limit,
        offset=offset,
    )


def _shown(item: dict[str, Any]) -> s.WaitingItem:
    return s.WaitingItem.model_validate({**item, "asset_tag": item["tag"], "class_name": item["class"]})


@router.get(
    "/quarantine",
    operation_id="listQuarantine",
    summary="List refused rows",
    response_model=s.Quarantine,
    responses=refusals(),
)
def quarantine(
    call: CanRead,
    project_id: ProjectQuery,
    status: Annotated[Literal["waiting", "ignored", "all"], Query()] = "waiting",
    code: Text = None,
    field: Text = None,
    asset_tag: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Quarantine:
    """Rows that SYNAPSE, Plant 3D or we refused, oldest first. Tags may hold `*` and `?`."""
    name = call.project(project_id)
    with call.context.state.read() as connection:
        items, total = use.list_quarantine(
            connection,
            name,
            use.Wanted(status=status, code=code, field=field, tag=asset_tag),
            limit=limit,
            offset=offset,
        )
    return s.Quarantine(items=[_row(item, name) for item in items], total=total, limit=limit, offset=offset)


def _row(item: Refused, project: str) -> s.QuarantineRow:
    return s.QuarantineRow.model_validate(
        {**item, "asset_tag": item["tag"], "class_name": item["class"], "project_id": project}
    )


def _visible(call: Call, row_id: int) -> str:
    """The project of a row the key may see; 404 for any other."""
    with call.context.state.read() as connection:
        found, project = use.find_row(connection, row_id)
    call.found(found, project, "row", row_id)
    return str(project)


@router.post(
    "/quarantine/{row_id}/retry",
    operation_id="retryQuarantined",
    summary="Try a refused row again now",
    response_model=s.QuarantineTried,
    responses=refusals(400, 409),
)
def retry(row_id: RowId, call: CanResolve) -> Response:
    """Queues a run that tries it; a row that was ignored is not any more."""
    project = _visible(call, row_id)

    def work(ticket: Ticket) -> Answer:
        context = call.context
        (row,) = use.retry(context.state, project, [row_id], by=call.by, at=context.clock())
        body = s.QuarantineTried(row=_row(row, project), sync_id=_carry_out(call, ticket, project))
        return Answer(status=200, body=body)

    return once(call, None, work)


def _carry_out(call: Call, ticket: Ticket, project: str) -> str | None:
    """Queue the run that tries it; None if a plan waits, then the run after it does."""
    direction = Direction.PULL if call.context.write_mode(project) == "off" else Direction.BOTH
    try:
        return ask(call, ticket, project, Wish.to(direction), trigger="retry").run_id
    except RetryLaterError as error:
        if error.error_code != "run_waiting":
            raise
        return None


@router.post(
    "/quarantine/{row_id}/ignore",
    operation_id="ignoreQuarantined",
    summary="Leave a refused row alone",
    response_model=s.QuarantineRow,
    responses=refusals(400, 409, 413),
)
def ignore(row_id: RowId, body: s.IgnoreBody, call: CanResolve) -> Response:
    """Until its value moves it is no error of a run any more, and is not tried."""
    project = _visible(call, row_id)

    def work(_ticket: Ticket) -> Answer:
        context = call.context
        (row,) = use.ignore(
            context.state, project, [row_id], reason=body.reason, by=call.by, at=context.clock()
        )
        return Answer(status=200, body=_row(row, project))

    return once(call, body, work)
