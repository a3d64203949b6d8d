"""Everything that waits for a person, in one list: no run settles it by itself.

Each thing stands in it once, under one kind; the counts are the same in CLI, API and metrics because they are made here.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final, Literal, get_args

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import LinkState
from plant3d_sync.model.moment import posix
from plant3d_sync.state import acknowledgements, plans, schemas
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import quarantine as kept
from plant3d_sync.state.codec import load, load_map
from plant3d_sync.state.tables import conflict, link, quarantine, work_item
from plant3d_sync.words import counted

WaitingKind = Literal["conflict", "plan", "archive", "schema_step", "quarantine", "workbook", "work_item"]
KINDS: Final[tuple[WaitingKind, ...]] = get_args(WaitingKind)
"""Kinds of things that wait, in the order they are listed: a question, a plan that would write and that nobody applied, an item whose archiving has to
be approved, a change of the schema, a refused row, a value for a workbook, work for a designer."""


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that waits. `since`: POSIX seconds. `hint`: what corrects it, where that depends on the thing."""

    kind: WaitingKind
    id: str
    message: str
    since: float | None
    tag: str | None = None
    pnpid: int | None = None
    field: str | None = None
    class_name: str | None = None
    drawing: str | None = None
    code: str | None = None
    hint: str = ""


def counts(connection: Connection, project: str) -> dict[str, int]:
    """How much waits, by kind; every kind is there, and `total`."""
    found: dict[str, int] = dict.fromkeys(KINDS, 0)
    for one in waits(connection, project):
        found[one.kind] += 1
    return {**found, "total": sum(found.values())}


def oldest(connection: Connection, project: str) -> dict[str, tuple[int, float | None]]:
    """By kind of which anything waits: how many, and since when the oldest does (POSIX seconds)."""
    found: dict[str, tuple[int, float | None]] = {}
    for one in waits(connection, project):
        count, since = found.get(one.kind, (0, None))
        dates = [at for at in (since, one.since) if at is not None]
        found[one.kind] = (count + 1, min(dates, default=None))
    return found


def waits(connection: Connection, project: str) -> Iterator[Waits]:
    """Everything that waits in a project, by kind, the oldest of each first."""
    yield from _conflicts(connection, project)
    yield from _plans(connection, project)
    known = project_state.get(connection, project)
    if known is None:
        return
    asked = _asked(connection, project)
    yield from _archives(connection, known.number, asked)
    yield from _schema(connection, known.number)
    rows = kept.rows_of(connection, known.number)
    words = acknowledgements.standing(connection, project, acknowledgements.QUARANTINE) if rows else {}
    for row in rows:
        if kept.word_for(row, words) is None:
            data = load_map(row.data)
            yield Waits(
                kind="quarantine",
                id=str(row.id),
                message=str(data.get("message") or ""),
                hint=str(data.get("hint") or ""),
                since=row.first_at,
                tag=data.get("tag"),
                pnpid=row.pnpid,
                field=row.field or None,
                class_name=data.get("class"),
                drawing=data.get("drawing"),
                code=row.code,
            )
    yield from _workbook(connection, known.number, asked)
    yield from _work(connection, known.number)


def _conflicts(connection: Connection, project: str) -> Iterator[Waits]:
    rows = connection.execute(
        sa.select(conflict)
        .where(conflict.c.project == project, conflict.c.status == "pending")
        .order_by(conflict.c.seq)
    )
    for row in rows:
        yield Waits(
            kind="conflict",
            id=row.id,
            message=f"Somebody has to say what becomes of {row.asset_tag} ({row.kind})."
            if row.field == WHOLE
            else f"Somebody has to choose the value of {row.field} of {row.asset_tag} ({row.kind}).",
            since=row.detected_at,
            tag=row.asset_tag,
            field=row.field,
            drawing=load_map(row.data).get("drawing"),
            code=row.kind,
        )


def _plans(connection: Connection, project: str) -> Iterator[Waits]:
    for one in plans.waiting(connection, project):
        yield Waits(
            kind="plan",
            id=one.plan_id,
            message=counted(
                one.steps,
                f"A guard stopped a plan of {one.steps} step ({one.direction}).",
                f"A guard stopped a plan of {one.steps} steps ({one.direction}).",
            )
            if one.status == "guarded"
            else counted(
                one.steps,
                f"Nobody applied a plan of {one.steps} step ({one.direction}).",
                f"Nobody applied a plan of {one.steps} steps ({one.direction}).",
            ),
            since=one.created_at,
            code=one.status,
        )


def _asked(connection: Connection, project: str) -> set[tuple[int, str]]:
    """(link, field) of the open questions: what is asked is not told a second time as waiting otherwise."""
    rows = connection.execute(
        sa.select(conflict.c.link_id, conflict.c.field).where(
            conflict.c.project == project, conflict.c.status == "pending", conflict.c.link_id.is_not(None)
        )
    )
    return {(row.link_id, row.field) for row in rows}


def _archives(connection: Connection, number: int, asked: Container[tuple[int, str]]) -> Iterator[Waits]:
    rows = connection.execute(
        sa.select(link.c.id, link.c.tag, link.c.pnpid, link.c.class_name, link.c.drawing, link.c.missing)
        .where(link.c.project == number, link.c.state == LinkState.PENDING.value)
        .order_by(link.c.id)
    )
    for row in rows:
        if (row.id, WHOLE) in asked:
            continue
        missing = load(row.missing)
        yield Waits(
            kind="archive",
            id=str(row.id),
            message=f"{row.tag} is not in Plant 3D any more. It stays in SYNAPSE until somebody decides.",
            since=posix(missing[0]) if missing else None,
            tag=row.tag,
            pnpid=row.pnpid,
            class_name=row.class_name,
            drawing=row.drawing,
        )


def _schema(connection: Connection, number: int) -> Iterator[Waits]:
    step = schemas.waiting(connection, number)
    if step:
        yield Waits(
            kind="schema_step",
            id=str(step["step"]),
            message=" ".join(change["message"] for change in step["changes"][:3]),
            since=posix(step["since"]),
        )


def _workbook(connection: Connection, number: int, asked: Container[tuple[int, str]]) -> Iterator[Waits]:
    rows = connection.execute(
        sa.select(link.c.id, link.c.tag, link.c.pnpid, link.c.class_name, link.c.drawing, link.c.pending)
        .where(
            link.c.project == number,
            link.c.state == LinkState.ACTIVE.value,  # an item that is missed takes no cell
            link.c.pending.is_not(None),
            link.c.pending.contains('"why":"push_workbook"'),
        )
        .order_by(link.c.id)
    )
    for row in rows:
        for name, entry in load_map(row.pending).items():
            if entry.get("why") == "push_workbook" and (row.id, name) not in asked:
                yield Waits(
                    kind="workbook",
                    id=f"{row.id}/{name}",
                    message=f"{name} of {row.tag} waits for the import of a workbook.",
                    since=posix(since) if (since := entry.get("since")) else None,
                    tag=row.tag,
                    pnpid=row.pnpid,
                    field=name,
                    class_name=row.class_name,
                    drawing=row.drawing,
                )


def _work(connection: Connection, number: int) -> Iterator[Waits]:
    """Work for designers; of a refused cell the quarantine tells."""
    refused = sa.exists().where(
        quarantine.c.project == work_item.c.project,
        quarantine.c.pnpid == work_item.c.pnpid,
        quarantine.c.field == work_item.c.field,
    )
    rows = connection.execute(
        sa.select(work_item)
        .where(work_item.c.project == number, ~refused)
        .order_by(work_item.c.first_seen, work_item.c.pnpid, work_item.c.field)
    )
    for row in rows:
        data = load_map(row.data)
        yield Waits(
            kind="work_item",
            id=f"{row.pnpid}/{row.field}",
            message=str(data.get("what") or ""),
            since=row.first_seen,
            tag=data.get("tag"),
            pnpid=row.pnpid,
            field=row.field,
            class_name=data.get("class"),
            drawing=data.get("drawing"),
        )
