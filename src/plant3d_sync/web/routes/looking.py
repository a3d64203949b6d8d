"""Looking: projects, findings, drift, work items, items with their history, the mapping, the audit, keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from plant3d_sync.mapping.file import ClassSpec, MappingFile, load_mapping
from plant3d_sync.model.link import LinkState
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import keys, links, lists, schemas
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.findings import Wanted
from plant3d_sync.usecases import clocks
from plant3d_sync.usecases.findings import acknowledge, document, every_finding, list_groups, take_back
from plant3d_sync.usecases.findings_export import export
from plant3d_sync.usecases.health import Status
from plant3d_sync.usecases.schema import accept
from plant3d_sync.usecases.status import read_status
from plant3d_sync.web import documents
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import Call, Decides, Needs
from plant3d_sync.web.errors import Refused, unknown_project, wrong_field
from plant3d_sync.web.idempotency import Answer, Ticket, once
from plant3d_sync.web.routes.common import IdPath, Limit, Offset, ProjectQuery, Text, refusals

router = APIRouter(prefix="/api/v1")

CanRead = Annotated[Call, Depends(Needs("read"))]
CanResolve = Annotated[Call, Depends(Decides("resolve"))]
IsAdmin = Annotated[Call, Depends(Needs("admin"))]
AdminDecides = Annotated[Call, Depends(Decides("admin"))]


# ---------------------------------------------------------------- projects


@router.get(
    "/projects",
    operation_id="listProjects",
    tags=["projects"],
    summary="List projects",
    response_model=s.Projects,
    responses=refusals(),
)
def projects(call: CanRead, active: bool | None = None, limit: Limit = 100, offset: Offset = 0) -> s.Projects:
    """Projects of the configuration that the key may see, by name."""
    names = sorted(
        name
        for name in call.context.visible(call.key)
        if active is None or call.context.entry(name).active is active
    )
    items = [_project_info(call, _status(call, name)) for name in names[offset : offset + limit]]
    return s.Projects(
        items=[s.ProjectInfo.model_validate(item) for item in items],
        total=len(names),
        limit=limit,
        offset=offset,
    )


def _status(call: Call, name: str) -> Status:
    context = call.context
    with context.state.read() as connection:
        return read_status(connection, context.watched(name), now=context.clock())


def _project_info(call: Call, found: Status) -> dict[str, Any]:
    entry = call.context.entry(found.project.name)
    return {
        "project_id": found.project.name,
        "synapse_project_id": entry.synapse_project_id,
        "active": entry.active,
        "direction": entry.direction,
        "write": call.context.write_mode(found.project.name),
        "interval_minutes": found.project.interval / 60.0,
        "last_sync": documents.when(found.last_sync),
        "health": found.health.value,
        "pending_conflicts": found.pending_conflicts,
    }


@router.get(
    "/projects/{project_id}",
    operation_id="getProject",
    tags=["projects"],
    summary="Get a project",
    response_model=s.ProjectDetail,
    responses=refusals(),
)
def project(
    project_id: Annotated[str, Path(min_length=1, max_length=200, pattern=s.NO_NUL)], call: CanRead
) -> s.ProjectDetail:
    """A project with its health and counts."""
    name = call.project(project_id)
    found = _status(call, name)
    number = _number(call, name)
    with call.context.state.read() as connection:
        by_entity = lists.entity_counts(connection, number)
        by_code = finding_state.counts_by_code(connection, number)
        _items, work = lists.work_items(connection, number, limit=1, offset=0)
        all_links = links.count(connection, number)
    return s.ProjectDetail.model_validate(
        _project_info(call, found)
        | {
            "next_scheduled": documents.when(found.next_scheduled),
            "reasons": [documents.reason(one) for one in found.reasons],
            "connections": {side: documents.connection(one) for side, one in found.connections.items()},
            "links": all_links,
            "links_by_entity": by_entity,
            "findings_by_code": by_code,
            "work_items": work,
            "waiting": found.waiting_counts,
            "mapping": list(call.context.entry(name).mapping),
        }
    )


@router.get(
    "/projects/{project_id}/schema",
    operation_id="getSchema",
    tags=["projects"],
    summary="Get the change of the schema that waits",
    response_model=s.SchemaNow,
    responses=refusals(),
)
def schema(
    project_id: Annotated[str, Path(min_length=1, max_length=200, pattern=s.NO_NUL)], call: CanRead
) -> s.SchemaNow:
    """What the last complete run found changed in the classes and columns that the mapping uses."""
    return _schema(call, call.project(project_id))


def _schema(call: Call, name: str) -> s.SchemaNow:
    with call.context.state.read() as connection:
        kept = schemas.get(connection, _number(call, name))
    return s.SchemaNow.model_validate(
        {
            "step": (kept.step or None) if kept is not None else None,
            "accepted_at": documents.when(kept.accepted_at) if kept is not None else None,
            "accepted_by": kept.accepted_by if kept is not None else None,
        }
    )


@router.post(
    "/projects/{project_id}/schema/accept",
    operation_id="acceptSchema",
    tags=["projects"],
    summary="Accept the change of the schema that waits",
    response_model=s.SchemaNow,
    responses=refusals(400, 409, 413),
)
def accept_schema(
    project_id: Annotated[str, Path(min_length=1, max_length=200, pattern=s.NO_NUL)],
    body: s.AcceptSchemaBody,
    call: CanResolve,
) -> Response:
    """From the next run on, the fields concerned are compared again. Nothing is archived by it."""
    name = call.project(project_id)

    def work(_ticket: Ticket) -> Answer:
        context = call.context
        accept(context.state, name, step=body.step, by=call.by, at=context.clock())
        return Answer(status=200, body=_schema(call, name))

    return once(call, body, work)


@router.get(
    "/projects/{project_id}/clocks",
    operation_id="getClocks",
    tags=["projects"],
    summary="Get what is known of the clocks",
    response_model=s.ClocksNow,
    responses=refusals(),
)
def project_clocks(
    project_id: Annotated[str, Path(min_length=1, max_length=200, pattern=s.NO_NUL)], call: CanRead
) -> s.ClocksNow:
    """SYNAPSE's skew, and how far behind a workstation was ever shown to be: both widen what counts as the same moment."""
    return _clocks(call, call.project(project_id))


def _clocks(call: Call, name: str) -> s.ClocksNow:
    tolerance = call.context.entry(name).conflict.tolerance_seconds
    with call.context.state.read() as connection:
        return s.ClocksNow.model_validate(clocks.clocks_now(connection, name, tolerance).to_dict())


@router.post(
    "/projects/{project_id}/clocks/forget",
    operation_id="forgetLag",
    tags=["projects"],
    summary="Forget the worst lag of a workstation",
    response_model=s.ClocksNow,
    responses=refusals(400, 409, 413),
)
def forget_lag(
    project_id: Annotated[str, Path(min_length=1, max_length=200, pattern=s.NO_NUL)],
    body: s.ForgetLagBody,
    call: AdminDecides,
) -> Response:
    """Once its clock is right: edits are dated by the tolerance alone again. A stamp that shows a lag again is remembered again."""
    name = call.project(project_id)

    def work(_ticket: Ticket) -> Answer:
        context = call.context
        clocks.forget_lag(context.state, name, reason=body.reason, by=call.by, at=context.clock())
        return Answer(status=200, body=_clocks(call, name))

    return once(call, body, work)


def _number(call: Call, name: str) -> int:
    """The project's number in our tables; 0 (which none has) before its first run."""
    with call.context.state.read() as connection:
        known = project_state.get(connection, name)
    return known.number if known is not None else 0


# ---------------------------------------------------------------- findings, drift, work items


FindingStatus = Annotated[Literal["open", "acknowledged", "all"], Query()]


def _wanted(
    code: Text = None,
    asset_tag: Text = None,
    class_name: Text = None,
    column: Text = None,
    drawing: Text = None,
    first_seen_after: datetime | None = None,
    status: FindingStatus = "open",
) -> Wanted:
    """The filters of the lists of findings. Texts but the code may hold `*` and `?`."""
    since = first_seen_after
    return Wanted(
        code=code,
        tag=asset_tag,
        class_name=class_name,
        column=column,
        drawing=drawing,
        since=None if since is None else since.replace(tzinfo=since.tzinfo or UTC).timestamp(),
        status=status,
    )


WantedFindings = Annotated[Wanted, Depends(_wanted)]


@router.get(
    "/findings",
    operation_id="listFindings",
    tags=["findings"],
    summary="List open findings",
    response_model=s.Findings,
    responses=refusals(),
)
def findings(
    call: CanRead, project_id: ProjectQuery, wanted: WantedFindings, limit: Limit = 100, offset: Offset = 0
) -> s.Findings:
    """What the last complete read found odd in the Plant 3D data. Tags, classes, columns and drawings may hold `*` and `?`."""
    number = _number(call, call.project(project_id))
    with call.context.state.read() as connection:
        rows, total = finding_state.open_findings(
            connection, number, wanted, now=call.context.clock(), limit=limit, offset=offset
        )
    return s.Findings(
        items=[_finding(document(row)) for row in rows], total=total, limit=limit, offset=offset
    )


def _finding(row: dict[str, Any]) -> s.Finding:
    return s.Finding.model_validate(
        {**row, "asset_tag": row.get("tag"), "class_name": row.get("class"), "data": row.get("data") or {}}
    )


@router.get(
    "/findings/groups",
    operation_id="listFindingGroups",
    tags=["findings"],
    summary="List open findings by cause, drawing and class",
    response_model=s.FindingGroups,
    responses=refusals(),
)
def finding_groups(
    call: CanRead, project_id: ProjectQuery, wanted: WantedFindings, limit: Limit = 100, offset: Offset = 0
) -> s.FindingGroups:
    """The same findings, the largest group first, with one hint a group."""
    name = call.project(project_id)
    with call.context.state.read() as connection:
        groups = list_groups(connection, name, wanted, now=call.context.clock())
    return s.FindingGroups(
        items=[
            s.FindingGroup.model_validate({**one, "class_name": one["class"]})
            for one in groups[offset : offset + limit]
        ],
        total=len(groups),
        findings=sum(one["count"] for one in groups),
        limit=limit,
        offset=offset,
    )


_FORMS = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}


@router.get(
    "/findings/export",
    operation_id="exportFindings",
    tags=["findings"],
    summary="Export open findings as a workbook or CSV",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {one: {"schema": {"type": "string"}} for one in _FORMS.values()},
        },
        **refusals(),
    },
)
def export_findings(
    call: CanRead,
    project_id: ProjectQuery,
    wanted: WantedFindings,
    file_format: Annotated[Literal["xlsx", "csv"], Query(alias="format")] = "xlsx",
) -> Response:
    """All that match, by cause and one by one."""
    name = call.project(project_id)
    now = call.context.clock()
    with call.context.state.read() as connection:
        found = every_finding(connection, name, wanted, now=now)
        groups = list_groups(connection, name, wanted, now=now)
    return Response(
        export(found, groups, file_format),
        media_type=_FORMS[file_format],
        headers={"Content-Disposition": "; ".join(("attachment", f"filename=findings.{file_format}"))},
    )


@router.post(
    "/findings/acknowledge",
    operation_id="acknowledgeFindings",
    tags=["findings"],
    summary="Acknowledge findings",
    response_model=s.AcknowledgedFindings,
    responses=refusals(400, 409, 413),
)
def acknowledge_findings(body: s.AcknowledgeBody, call: CanResolve) -> Response:
    """They are not listed as open until they move, or until that date. Nothing else changes by it."""
    name = call.project(body.project_id)
    asked = body.filter
    wanted = Wanted(
        ids=None if asked.ids is None else frozenset(asked.ids),
        code=asked.code,
        tag=asked.asset_tag,
        class_name=asked.class_name,
        drawing=asked.drawing,
        status="acknowledged" if body.take_back else "all",
    )
    if not wanted.is_narrow:
        raise wrong_field("filter", "names no finding", "missing")
    until = None if body.until is None else body.until.replace(tzinfo=body.until.tzinfo or UTC).timestamp()

    def work(_ticket: Ticket) -> Answer:
        context = call.context
        at = context.clock()
        if body.take_back:
            done = take_back(context.state, name, wanted, by=call.by, at=at)
        else:
            done = acknowledge(
                context.state, name, wanted, reason=body.reason, until=until, by=call.by, at=at
            )
        shown = s.AcknowledgedFindings(items=[_finding(one) for one in done[:1000]], total=len(done))
        return Answer(status=200, body=shown)

    return once(call, body, work)


@router.get(
    "/drift",
    operation_id="listDrift",
    tags=["findings"],
    summary="List drift",
    response_model=s.Drifts,
    responses=refusals(),
)
def drift(
    call: CanRead,
    project_id: ProjectQuery,
    field: Text = None,
    asset_tag: Text = None,
    class_name: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Drifts:
    """Fields edited on the side that does not own them. Fields, tags and classes may hold `*` and `?`."""
    number = _number(call, call.project(project_id))
    with call.context.state.read() as connection:
        rows, total = finding_state.open_findings(
            connection,
            number,
            Wanted(code="drift", tag=asset_tag, class_name=class_name, column=field, status="all"),
            now=call.context.clock(),
            limit=limit,
            offset=offset,
        )
    return s.Drifts(items=[_drift(row) for row in rows], total=total, limit=limit, offset=offset)


def _drift(row: Mapping[str, Any]) -> s.Drift:
    data = row.get("data") or {}
    return s.Drift(
        id=row["id"],
        asset_tag=row.get("tag"),
        field=row.get("column"),
        plant3d_value=data.get("plant3d"),
        synapse_value=data.get("synapse"),
        reason=data.get("reason"),
        drawing=data.get("drawing"),
        pnpid=row.get("pnpid"),
        class_name=row.get("class"),
        message=row.get("message"),
        hint=row.get("hint"),
        first_seen=documents.at(row["first_seen"]),
    )


@router.get(
    "/work-items",
    operation_id="listWorkItems",
    tags=["findings"],
    summary="List work for designers",
    response_model=s.WorkItems,
    responses=refusals(),
)
def work_items(
    call: CanRead,
    project_id: ProjectQuery,
    field: Text = None,
    asset_tag: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.WorkItems:
    """What has to be changed in drawings, since we may not write it. Tags may hold `*` and `?`."""
    number = _number(call, call.project(project_id))
    with call.context.state.read() as connection:
        rows, total = lists.work_items(
            connection, number, limit=limit, offset=offset, field=field, tag=asset_tag
        )
    items = [
        s.WorkItem(
            pnpid=row["pnpid"],
            field=row["field"],
            first_seen=documents.at(row["first_seen"]),
            data=row["data"],
        )
        for row in rows
    ]
    return s.WorkItems(items=items, total=total, limit=limit, offset=offset)


# ---------------------------------------------------------------- items


@router.get(
    "/items",
    operation_id="listItems",
    tags=["items"],
    summary="Find linked items by tag",
    response_model=s.Items,
    responses=refusals(),
)
def items(
    call: CanRead,
    project_id: ProjectQuery,
    tag: Text = None,
    entity: s.EntityType | None = None,
    state: LinkState | None = None,
    class_name: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Items:
    """Pairs whose present or former tag begins with `tag`; all of them without it. Ordered by tag."""
    name = call.project(project_id)
    with call.context.state.read() as connection:
        only = lists.Only(entity=entity, state=None if state is None else state.value, class_name=class_name)
        found, total = lists.search_items(
            connection, _number(call, name), tag, only, limit=limit, offset=offset
        )
    return s.Items(
        items=[
            s.Item.model_validate(_item(name, one.row) | {"matched_old_tag": one.old_tag}) for one in found
        ],
        total=total,
        limit=limit,
        offset=offset,
    )


def _item(project: str, row: lists.LinkRow) -> dict[str, Any]:
    return {
        "link_id": str(row.id),
        "project_id": project,
        "asset_tag": row.tag,
        "entity": row.entity,
        "class_name": row.class_name,
        "plant3d_id": row.plant3d_id,
        "pnpid": row.pnpid,
        "asset_id": row.asset_id,
        "state": row.state,
        "drawing": row.drawing,
    }


@router.get(
    "/items/{link_id}",
    operation_id="getItem",
    tags=["items"],
    summary="Get one item with its fields and history",
    response_model=s.ItemDetail,
    responses=refusals(),
)
def item(
    link_id: Annotated[str, Path(pattern=r"^[0-9]{1,18}$")],
    call: CanRead,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.ItemDetail:
    """Where each value comes from: the base, both sides, the owner, and every write of ours."""
    with call.context.state.read() as connection:
        row = lists.link_row(connection, int(link_id))
        name = project_state.name_of(connection, row.project) if row is not None else None
        row, name = call.found((row, name) if row and name else None, name, "item", link_id)
        history, total = lists.item_history(connection, int(link_id), limit=limit, offset=offset)
    owners = _owners(call, name, row.class_name)
    fields = [
        s.ItemField(field=field, owner=owners.get(field), **values)
        for field, values in lists.field_values(links.to_model(row)).items()
    ]
    return s.ItemDetail.model_validate(
        _item(name, row)
        | {
            "fields": fields,
            "history": [change | {"at": documents.at(change["at"])} for change in history],
            "history_total": total,
        }
    )


def _mapping(call: Call, name: str) -> MappingFile:
    app = call.context.app
    return load_mapping(list(call.context.entry(name).mapping), base_dir=app.base_dir)


def _owners(call: Call, name: str, class_name: str) -> dict[str, Any]:
    """Owner per field. Which class inherits from which only Plant 3D knows: where classes differ, none is named."""
    mapping = _mapping(call, name)
    owners: dict[str, set[str]] = {}
    for spec in mapping.classes.values():
        for field, one in spec.fields.items():
            if one is not None:
                owners.setdefault(field, set()).add(one.entry.owner.value if one.entry.owner else "plant3d")
    found = {field: next(iter(names)) for field, names in owners.items() if len(names) == 1}
    own = mapping.classes.get(class_name.lower())
    if own is not None:
        found |= {
            field: one.entry.owner.value
            for field, one in own.fields.items()
            if one is not None and one.entry.owner is not None
        }
    return {"asset_type": "plant3d", **found}


# ---------------------------------------------------------------- mapping


@router.get(
    "/mapping",
    operation_id="getMapping",
    tags=["projects"],
    summary="Get the mapping of a project",
    response_model=s.MappingAnswer,
    responses=refusals(),
)
def mapping(call: CanRead, project_id: ProjectQuery) -> s.MappingAnswer:
    """The mapping as written, all files merged, not yet compared with the Plant 3D project."""
    name = call.project(project_id)
    merged = _mapping(call, name)
    with call.context.state.read() as connection:
        known = project_state.get(connection, name)
    return s.MappingAnswer(
        project_id=name,
        sources=list(merged.sources),
        placeholders=list(merged.placeholders),
        digest=known.mapping_digest if known is not None else None,
        classes=[_mapping_class(spec) for _key, spec in sorted(merged.classes.items())],
    )


def _mapping_class(spec: ClassSpec) -> s.MappingClass:
    fields = [
        s.MappingField.model_validate(
            {
                "field": field,
                "columns": list(one.entry.column or []),
                "owner": one.entry.owner.value if one.entry.owner else None,
                "convert": one.entry.convert,
                "push": one.entry.push,
                "drift": one.entry.drift.value if one.entry.drift else None,
                "conflict": one.entry.conflict.value if one.entry.conflict else None,
            }
        )
        for field, one in sorted(spec.fields.items())
        if one is not None
    ]
    return s.MappingClass(
        class_name=spec.name, entity=str(spec.entity) if spec.entity is not None else None, fields=fields
    )


# ---------------------------------------------------------------- audit and keys


@router.get(
    "/audit",
    operation_id="listAudit",
    tags=["admin"],
    summary="Who did what",
    response_model=s.Audit,
    responses=refusals(),
)
def audit(
    call: IsAdmin,
    project_id: Text = None,
    action: Text = None,
    actor: Text = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Audit:
    """Audit entries of a project, newest first; without a project those of the service itself (keys).

    `action` and `actor` may hold `*` and `?`.
    """
    if project_id is None and call.key.projects is not None:
        raise unknown_project("(the service)", call.context.visible(call.key))
    chain = keys.AUDIT_CHAIN if project_id is None else call.project(project_id)
    with call.context.state.read() as connection:
        rows, total = lists.audit_entries(
            connection, chain, limit=limit, offset=offset, action=action, actor=actor
        )
    entries = [s.AuditEntry.model_validate(row | {"at": documents.at(row["at"])}) for row in rows]
    return s.Audit(items=entries, total=total, limit=limit, offset=offset)


@router.get(
    "/keys",
    operation_id="listKeys",
    tags=["admin"],
    summary="List API keys",
    response_model=s.Keys,
    responses=refusals(),
)
def api_keys(
    call: IsAdmin,
    name: Text = None,
    valid: bool | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> s.Keys:
    """Keys without their secrets. A key bound to projects sees only keys bound to some of them.

    `name` may hold `*` and `?`; `valid`: neither revoked nor expired.
    """
    now = call.context.clock()
    with call.context.state.read() as connection:
        found = [
            key
            for key in keys.list_keys(connection)
            if _within(call, key.projects)
            and (name is None or finding_state.fits(key.name, name))
            and (valid is None or key.valid(now) is valid)
        ]
    return s.Keys(
        items=[_key_info(key) for key in found[offset : offset + limit]],
        total=len(found),
        limit=limit,
        offset=offset,
    )


def _within(call: Call, wanted: tuple[str, ...] | None) -> bool:
    own = call.key.projects
    return own is None or (wanted is not None and set(wanted) <= set(own))


def _key_info(key: keys.ApiKey) -> s.KeyInfo:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    data = key.to_dict()
    return s.KeyInfo.model_validate(data | {name: documents.when(getattr(key, name)) for name in times})


@router.post(
    "/keys",
    operation_id="createKey",
    tags=["admin"],
    summary="Make an API key",
    status_code=201,
    response_model=s.NewKey,
    responses=refusals(400, 409, 413),
)
def create_key(body: s.KeyBody, call: AdminDecides) -> Response:
    """The key is shown in this answer and never again."""
    wanted = (call.project(body.project_id),) if body.project_id is not None else None
    if not _within(call, wanted):
        raise Refused(
            403,
            "scope_missing",
            "This key is bound to projects and can only make keys for them.",
            hint="Name the project in `project_id`.",
        )

    def work(_ticket: Ticket) -> Answer:
        with call.context.state.write() as connection:
            key_id, key = keys.create(
                connection,
                body.name,
                body.scopes,
                projects=wanted,
                expires_days=body.expires_days,
                now=call.context.clock(),
                by=call.by,
            )
        return Answer(status=201, body=s.NewKey(id=key_id, key=key), kept=s.NewKey(id=key_id, key=None))

    return once(call, body, work)


@router.post(
    "/keys/{key_id}/revoke",
    operation_id="revokeKey",
    tags=["admin"],
    summary="Revoke an API key",
    response_model=s.KeyInfo,
    responses=refusals(400, 409, 413),
)
def revoke_key(key_id: IdPath, call: AdminDecides) -> Response:
    """From now on the key is refused."""
    with call.context.state.read() as connection:
        known = keys.get(connection, key_id)
    call.found(known if known and _within(call, known.projects) else None, None, "key", key_id)

    def work(_ticket: Ticket) -> Answer:
        with call.context.state.write() as connection:
            done = keys.revoke(connection, key_id, now=call.context.clock(), by=call.by)
        return Answer(status=200, body=_key_info(done))

    return once(call, None, work)
