"""Lists for people: pages in a stable order, with their totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.link import Link
from plant3d_sync.model.step import Step
from plant3d_sync.state import intents, runs
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.findings import fits
from plant3d_sync.state.runs import CHUNK_LINES, StoredPlan
from plant3d_sync.state.tables import audit, change, link, plan, tag_history, work_item


def _total(connection: Connection, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    """Rows of a table."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar() or 0)


def plans(
    connection: Connection,
    project: str,
    *,
    limit: int,
    offset: int,
    status: str | None = None,
    direction: str | None = None,
) -> tuple[list[StoredPlan], int]:
    """Plans, newest first, and how many there are."""
    statuses = () if status is None else (status,)
    found = runs.plans(
        connection, project, limit=limit, offset=offset, statuses=statuses, direction=direction
    )
    given = {plan.c.project: project, plan.c.status: status, plan.c.direction: direction}
    return found, _total(
        connection, plan, *(column == value for column, value in given.items() if value is not None)
    )


def plan_lines(
    connection: Connection, stored: StoredPlan, *, limit: int, offset: int
) -> list[tuple[int, Step]]:
    """Some steps of a plan with their numbers (from 0)."""
    found: list[tuple[int, Step]] = []
    end = min(offset + limit, stored.lines)
    for number in range(offset // CHUNK_LINES, stored.chunks):
        first = number * CHUNK_LINES
        if first >= end:
            break
        for n, step in enumerate(runs.steps_of(connection, stored.plan_id, number), first):
            if offset <= n < end:
                found.append((n, step))
    return found


def entity_counts(connection: Connection, number: int) -> dict[str, int]:
    """Live links per entity."""
    rows = connection.execute(
        sa.select(link.c.entity, sa.func.count())
        .where(link.c.project == number, link.c.state.not_in(["archived", "unlinked", "out"]))
        .group_by(link.c.entity)
        .order_by(link.c.entity)
    )
    return {row[0]: row[1] for row in rows}


def work_items(
    connection: Connection,
    number: int,
    *,
    limit: int,
    offset: int,
    field: str | None = None,
    tag: str | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """What designers have to change, by item and field. `tag` may hold `*` and `?`."""
    where = [work_item.c.project == number]
    if field is not None:
        where.append(work_item.c.field == field)
    statement = sa.select(work_item).where(*where).order_by(work_item.c.pnpid, work_item.c.field)
    if tag is None:
        rows = connection.execute(statement.limit(limit).offset(offset))
        return [_work_item(row) for row in rows], _total(connection, work_item, *where)
    found = [
        _work_item(row) for row in connection.execute(statement) if fits(load_map(row.data).get("tag"), tag)
    ]
    return found[offset : offset + limit], len(found)


def _work_item(row: Row[Any]) -> dict[str, Any]:
    facts = {name: value for name, value in load_map(row.data).items() if name not in ("pnpid", "field")}
    return {"pnpid": row.pnpid, "field": row.field, "first_seen": row.first_seen, "data": facts}


LinkRow = Row[Any]
"""One row of the links."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A link found by its tag, or by a former one."""

    row: LinkRow
    old_tag: str | None


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """Only links of this kind, in this state, of this class; None means all."""

    entity: str | None = None
    state: str | None = None
    class_name: str | None = None


def search_items(
    connection: Connection, number: int, text: str | None, only: Only, *, limit: int, offset: int
) -> tuple[list[Found], int]:
    """Links whose present or former tag begins with `text` (upper and lower case are the same), by tag."""
    given = {link.c.entity: only.entity, link.c.state: only.state, link.c.class_name: only.class_name}
    where = [link.c.project == number, *(column == one for column, one in given.items() if one is not None)]
    former: dict[int, str] = {}
    if text is not None:
        pattern = _prefix(text)
        former = _former(connection, number, pattern)
        where.append(
            sa.or_(sa.func.lower(link.c.tag).like(pattern, escape="\\"), link.c.id.in_(sorted(former)))
        )
    rows = connection.execute(
        sa.select(link).where(*where).order_by(link.c.tag, link.c.id).limit(limit).offset(offset)
    )
    lowered = (text or "").lower()
    found = [
        Found(row=row, old_tag=None if row.tag.lower().startswith(lowered) else former.get(row.id))
        for row in rows
    ]
    return found, _total(connection, link, *where)


FORMER_TAGS = 500
"""How many former tags are searched; a longer text finds fewer."""


def _former(connection: Connection, number: int, pattern: str) -> dict[int, str]:
    rows = connection.execute(
        sa.select(tag_history.c.link_id, tag_history.c.old_tag)
        .where(
            tag_history.c.project == number, sa.func.lower(tag_history.c.old_tag).like(pattern, escape="\\")
        )
        .order_by(tag_history.c.id.desc())
        .limit(FORMER_TAGS)
    )
    found: dict[int, str] = {}
    for row in rows:
        found.setdefault(row.link_id, row.old_tag)
    return found


def _prefix(text: str) -> str:
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped + "%"


def link_row(connection: Connection, link_id: int) -> LinkRow | None:
    """One link."""
    return connection.execute(sa.select(link).where(link.c.id == link_id)).first()


def field_values(item: Link) -> dict[str, dict[str, Any]]:
    """Per field: base, both sides as last seen, and why it waits."""
    base: Mapping[str, Any] = item.base or {}
    synapse = item.synapse_fields()
    fields: dict[str, dict[str, Any]] = {}
    for name in sorted({*base, *synapse, *item.pending}):
        entry = item.pending.get(name)
        plant3d: object = item.base_plant.get(name, base.get(name))
        held: object = synapse.get(name)
        if entry is not None:
            plant3d = plant3d if entry.plant3d is UNSET else entry.plant3d
            held = held if entry.synapse is UNSET else entry.synapse
        fields[name] = {
            "base_value": base.get(name),
            "has_base": name in base,
            "plant3d_value": plant3d,
            "synapse_value": held,
            "waiting": None if entry is None else entry.why,
        }
    return fields


def item_history(
    connection: Connection, link_id: int, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Our writes of one pair, newest first, and how many there are."""
    where = change.c.link_id == link_id
    rows = connection.execute(
        sa.select(change).where(where).order_by(change.c.id.desc()).limit(limit).offset(offset)
    )
    found = [
        {
            "change_id": row.id,
            "at": row.at,
            "sync_id": row.run_id,
            "side": row.side,
            "op": row.op,
            "outcome": row.outcome,
            "fields": intents.fields_of(row.op, row.fields),
            "why": intents.why_of(row.op, row.fields),
        }
        for row in rows
    ]
    return found, _total(connection, change, where)


def audit_entries(
    connection: Connection,
    chain: str,
    *,
    limit: int,
    offset: int,
    action: str | None = None,
    actor: str | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Entries of a chain, newest first. Entries are numbered without gaps, so the newest number is the total."""
    if action is not None or actor is not None:
        return _some_audit_entries(connection, chain, action, actor, limit=limit, offset=offset)
    newest = int(
        connection.execute(sa.select(sa.func.max(audit.c.seq)).where(audit.c.project == chain)).scalar() or 0
    )
    rows = connection.execute(
        sa.select(audit)
        .where(audit.c.project == chain, audit.c.seq <= newest - offset)
        .order_by(audit.c.seq.desc())
        .limit(limit)
    )
    return [_audit_entry(row) for row in rows], newest


def _some_audit_entries(
    connection: Connection, chain: str, action: str | None, actor: str | None, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Entries with this action and actor. What they hold stands in their signed text: every one is read."""
    statement = sa.select(audit).where(audit.c.project == chain).order_by(audit.c.seq.desc())
    found: list[dict[str, Any]] = []
    count = 0
    for row in connection.execute(statement.execution_options(yield_per=1000)):
        entry = _audit_entry(row)
        if (action is None or fits(entry["action"], action)) and (
            actor is None or fits(entry["actor"], actor)
        ):
            if offset <= count < offset + limit:
                found.append(entry)
            count += 1
    return found, count


def _audit_entry(row: Row[Any]) -> dict[str, Any]:
    facts = orjson.loads(row.body)
    return {
        "seq": row.seq,
        "action": str(facts.pop("action", "")),
        "actor": str(facts.pop("actor", "")),
        "at": float(facts.pop("at", 0.0)),
        "hash": row.hash,
        "prev": row.prev,
        "facts": facts,
    }
