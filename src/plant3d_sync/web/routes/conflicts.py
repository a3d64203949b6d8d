"""`/api/v1/conflicts`: see them, decide them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response

from plant3d_sync.errors import NeedsPersonError, RetryLaterError
from plant3d_sync.model.side import Direction
from plant3d_sync.usecases.conflicts import (
    Choice,
    ConflictDocument,
    Wanted,
    find_conflict,
    list_conflicts,
    resolve_conflict,
)
from plant3d_sync.usecases.wish import Wish
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import Call, Decides, Needs
from plant3d_sync.web.errors import Refused, wrong_field
from plant3d_sync.web.idempotency import Answer, Ticket, once
from plant3d_sync.web.routes.common import IdPath, Limit, Offset, ProjectQuery, Text, refusals
from plant3d_sync.web.routes.sync import ask

router = APIRouter(prefix="/api/v1/conflicts", tags=["conflicts"])

CanRead = Annotated[Call, Depends(Needs("read"))]
CanResolve = Annotated[Call, Depends(Decides("resolve"))]

BULK = 1000
"""How many conflicts one call decides."""

SHOWN = 50
"""How many a preview shows in full."""


@router.get(
    "",
    operation_id="listConflicts",
    summary="List conflicts",
    response_model=s.Conflicts,
    responses=refusals(),
)
def conflicts(
    call: CanRead,
    project_id: ProjectQuery,
    status: Annotated[Literal["pending", "resolved", "all"], Query()] = "pending",
    field: Text = None,
    kind: Text = None,
    asset_tag: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Conflicts:
    """Conflicts of a project, oldest first; the unresolved ones unless asked otherwise. Tags may hold `*` and `?`."""
    items, total = list_conflicts(
        call.context.state,
        call.project(project_id),
        Wanted(status=status, field=field, tag=asset_tag, kind=kind),
        limit=limit,
        offset=offset,
    )
    return s.Conflicts(
        items=[s.Conflict.model_validate(item) for item in items], total=total, limit=limit, offset=offset
    )


@router.post(
    "/resolve",
    operation_id="resolveConflicts",
    summary="Resolve many conflicts",
    response_model=s.BulkResolved,
    responses=refusals(400, 409, 412, 413),
)
def resolve_many(body: s.BulkResolveBody, call: CanResolve) -> Response:
    """Decide all pending conflicts that match the filter. Shows them first: only `preview: false` decides."""
    project = call.project(body.project_id)

    def work(ticket: Ticket) -> Answer:
        return Answer(status=200, body=_bulk(call, ticket, project, body))

    return once(call, body, work)


def _bulk(call: Call, ticket: Ticket, project: str, body: s.BulkResolveBody) -> s.BulkResolved:
    wanted = body.filter
    found, total = list_conflicts(
        call.context.state,
        project,
        Wanted(field=wanted.field, tag=wanted.asset_tag, kind=wanted.kind),
        limit=BULK,
    )
    if wanted.ids is not None:
        found = [item for item in found if item["id"] in wanted.ids]
        total = len(found)
    seen = _seen(found)
    if body.seen is not None and body.seen != seen:
        raise Refused(
            412,
            "conflict_moved",
            "Conflicts that match came, went or moved since the preview.",
            hint="Look at the preview again, then decide with its `seen`.",
        )
    resolved: list[str] = []
    left: list[dict[str, str]] = []
    for item in found:
        choice = item["suggested_resolution"] if body.resolution == "suggested" else body.resolution
        if choice not in ("plant3d", "synapse"):
            left.append({"id": item["id"], "reason": "there is no suggestion"})
        elif body.preview or _decide(call, project, item, choice, body.note, left):
            resolved.append(item["id"])
    sync_id = None if body.preview or not resolved else _carry_out(call, ticket, project)
    return s.BulkResolved(
        preview=body.preview,
        total=total,
        resolved=resolved,
        left_alone=left,
        items=[s.Conflict.model_validate(item) for item in found[:SHOWN]] if body.preview else [],
        sync_id=sync_id,
        seen=seen,
    )


def _seen(found: Sequence[Mapping[str, Any]]) -> str:
    """What a preview showed, as one word: the conflicts and their versions."""
    text = "\n".join(sorted(f"{item['id']} {item['version']}" for item in found))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _decide(
    call: Call,
    project: str,
    item: Mapping[str, Any],
    choice: str,
    note: str | None,
    left: list[dict[str, str]],
) -> bool:
    try:
        resolve_conflict(
            call.context.world,
            item["id"],
            Choice(resolution=choice, note=note),
            by=call.by,
            version=item["version"],
            write_mode=call.context.write_mode(project),
        )
    except NeedsPersonError as error:
        left.append({"id": item["id"], "reason": error.error_code})
        return False
    return True


def _carry_out(call: Call, ticket: Ticket, project: str) -> str | None:
    """Queue the run that carries choices out; None if a plan waits, then the run after it does."""
    try:
        return ask(call, ticket, project, Wish.to(Direction.BOTH), trigger="resolve").run_id
    except RetryLaterError as error:
        if error.error_code != "run_waiting":
            raise
        return None


@router.get(
    "/{conflict_id}",
    operation_id="getConflict",
    summary="Get conflict details",
    response_model=s.Conflict,
    responses=refusals(),
)
def conflict(conflict_id: IdPath, call: CanRead, response: Response) -> s.Conflict:
    """Base, both values, both times, both authors where known, and a suggestion with its reason."""
    found = _visible(call, conflict_id)
    response.headers["ETag"] = f'"{found["version"]}"'
    return s.Conflict.model_validate(found)


def _visible(call: Call, conflict_id: str) -> ConflictDocument:
    found = find_conflict(call.context.state, conflict_id)
    return call.found(found, found["project_id"] if found else None, "conflict", conflict_id)


@router.post(
    "/{conflict_id}/resolve",
    operation_id="resolveConflict",
    summary="Resolve a conflict",
    response_model=s.Resolved,
    responses=refusals(400, 409, 412, 413, 428),
)
def resolve(
    conflict_id: IdPath,
    body: s.ResolveBody,
    call: CanResolve,
    if_match: Annotated[
        str | None, Header(max_length=60, description='The version you looked at, as in ETag: `"3"`.')
    ] = None,
) -> Response:
    """Decide a conflict. The decision is bound to the two values it was made between: name the version you saw."""
    found = _visible(call, conflict_id)
    version = body.version if if_match is None else version_of(if_match)
    if version is None:
        raise _version_needed(found)
    project = str(found["project_id"])
    if body.resolution == "manual" and "manual_value" not in body.model_fields_set:
        raise wrong_field("manual_value", "is needed when resolution is manual", "missing")

    def work(ticket: Ticket) -> Answer:
        done = resolve_conflict(
            call.context.world,
            conflict_id,
            Choice(resolution=body.resolution, manual_value=body.manual_value, note=body.note),
            by=call.by,
            version=version,
            write_mode=call.context.write_mode(project),
        )
        sync_id = _carry_out(call, ticket, project)
        return Answer(status=200, body=s.Resolved.model_validate({**done, "sync_id": sync_id}))

    return once(call, body, work)


def _version_needed(found: Mapping[str, Any]) -> Refused:
    """428: whoever does not say what was seen may decide about values that nobody looked at."""
    return Refused(
        428,
        "version_required",
        "A decision needs the version of the conflict that it was made on.",
        hint=f'Look at the two values, then send If-Match: "{found["version"]}" (or `version` in the body).',
        headers={"ETag": f'"{found["version"]}"'},
        extra={"current": found},
    )


def version_of(if_match: str | None) -> int | None:
    """The version in an If-Match header: None for none and `*`, -1 (which no object has) for anything else."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
