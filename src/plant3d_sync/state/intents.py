"""Intents, and the changes they became: no write without an intent committed first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.change import Change
from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.fields import flat
from plant3d_sync.model.ours import Origin, Ours
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import INFORMATION
from plant3d_sync.model.step import Restore, Step, Update, from_text, list_text
from plant3d_sync.state import audit, runs, seals
from plant3d_sync.state.codec import bulk_insert, load_map, set_columns
from plant3d_sync.state.lease import Fence
from plant3d_sync.state.links import CREATED_COLUMNS, CreatedRow
from plant3d_sync.state.tables import change, intent, link


class Intent(msgspec.Struct, kw_only=True):
    """One external call that is about to be made, or was.

    `body`: towards SYNAPSE the question that was put under its key, to learn whether the call was ever received; else b"".
    """

    intent_id: int
    project: str
    run_id: str
    plan_id: str
    side: str
    fence: int
    key: str
    body: bytes
    steps: list[Step]
    status: str
    created_at: float


_INSERT = sa.insert(intent)
_OPEN = (
    sa.select(intent)
    .where(intent.c.project == sa.bindparam("whose"), intent.c.status == "open")
    .order_by(intent.c.id)
)


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """One external call that is about to be made.

    `refs`: where the steps stand in the stored plan, as [chunk, first, last + 1]; then they are not stored again.
    """

    run_id: str
    plan_id: str
    side: str
    key: str
    steps: Sequence[Step]
    at: float
    body: bytes = b""
    refs: Sequence[Sequence[int]] | None = None


def record(connection: Connection, fence: Fence, meant: Meant) -> int:
    """Store what is about to be written, under the current fence. Returns the intent's id."""
    fence.check(connection)
    done = connection.execute(
        _INSERT,
        {
            "project": fence.project,
            "run_id": meant.run_id,
            "plan_id": meant.plan_id,
            "side": meant.side,
            "fence": fence.number,
            "idempotency_key": meant.key,
            "body": meant.body,
            "lines": orjson.dumps({"refs": meant.refs}) if meant.refs is not None else list_text(meant.steps),
            "status": "open",
            "created_at": meant.at,
        },
    )
    key_row = done.inserted_primary_key
    if key_row is None:
        raise AssertionError("an inserted intent has an id")
    seals.seal(connection, "intent", [key_row[0]], at=meant.at)
    return int(key_row[0])


NOT_APPLIED = "not_applied"
"""Status of an intent that was found not carried out. If its run only slept, it may still be."""

NEVER_RECEIVED = "never_received"
"""Status of an intent of which SYNAPSE said that it never came. Its key is used up, so it cannot be carried out late."""


def close(connection: Connection, intent_id: int, *, status: str, at: float) -> None:
    """Mark an intent: done, not applied, or never received; of one not applied everything is kept."""
    values: dict[str, object] = {"status": status, "done_at": at}
    if status != NOT_APPLIED:
        values |= {"body": b"", "lines": b"[]"}
    set_columns(connection, intent, "id", intent_id, values)
    seals.seal(connection, "intent", [intent_id], at=at)


def ask(connection: Connection, intent_id: int, *, question: bytes, at: float) -> None:
    """Note what is about to be sent under the key of an open intent, in place of its batch."""
    set_columns(connection, intent, "id", intent_id, {"body": question})
    seals.seal(connection, "intent", [intent_id], at=at)


def is_used_up(connection: Connection, project: str, key: str) -> bool:
    """Whether a question was put under this key, so that no batch may be sent under it any more."""
    return connection.execute(_USED_UP, {"whose": project, "the_key": key}).first() is not None


_USED_UP = (
    sa.select(intent.c.id)
    .where(
        intent.c.project == sa.bindparam("whose"),
        sa.or_(
            intent.c.status == NEVER_RECEIVED,
            sa.and_(intent.c.status == NOT_APPLIED, intent.c.side == "synapse", intent.c.body != b""),
        ),
        intent.c.idempotency_key == sa.bindparam("the_key"),
    )
    .limit(1)
)


_ANY_OPEN = _OPEN.limit(1)


def settled_elsewhere(connection: Connection, project: str, intent_id: int, key: str) -> bool:
    """Whether the same request was sent under another intent, or somebody found this one done in our place."""
    row = connection.execute(
        sa.select(intent.c.id).where(
            intent.c.project == project,
            intent.c.idempotency_key == key,
            sa.or_(intent.c.id != intent_id, intent.c.status == "done"),
        )
    ).first()
    return row is not None


def still_open(connection: Connection, project: str) -> list[Intent]:
    """Intents whose outcome nobody has stored: a process died, or a reply was lost."""
    rows = connection.execute(_OPEN, {"whose": project}).fetchall()
    return [
        Intent(
            intent_id=row.id,
            project=row.project,
            run_id=row.run_id,
            plan_id=row.plan_id,
            side=row.side,
            fence=row.fence,
            key=row.idempotency_key,
            body=row.body,
            steps=_steps(connection, row.plan_id, row.lines),
            status=row.status,
            created_at=row.created_at,
        )
        for row in rows
    ]


def any_open(connection: Connection, project: str) -> bool:
    """Whether the outcome of some call is not stored."""
    return connection.execute(_ANY_OPEN, {"whose": project}).first() is not None


def _steps(connection: Connection, plan_id: str, stored: bytes) -> list[Step]:
    """The steps themselves, or looked up in the plan they stand in."""
    if stored.startswith(b"["):
        return from_text(stored)
    steps: list[Step] = []
    read: dict[int, list[Step]] = {}
    for chunk, first, end in orjson.loads(stored)["refs"]:
        if chunk not in read:
            read[chunk] = runs.steps_of(connection, plan_id, chunk)
        steps += read[chunk][first:end]
    return steps


class ChangeRow(TypedDict):
    """One entry of the history, as stored. `fields`: JSON, see `fields_with_why`."""

    project: int
    run_id: str
    intent_id: int
    link_id: int | None
    pnpid: int
    tag: str
    side: str
    op: str
    outcome: str
    fields: str
    at: float


def put_changes(connection: Connection, project: str, rows: Sequence[ChangeRow]) -> str:
    """What one call really wrote, one row per asset or item, in bulk; returns the digest for the audit.

    `fields`: field -> [old, new].
    """
    if not rows:
        return audit.digest_of(())
    bulk_insert(connection, change, tuple(rows[0]), [tuple(row.values()) for row in rows])
    return seals.seal_changes(connection, project, rows[0], audit.change_lines(rows), at=rows[0]["at"])


_OF_CREATED = (
    sa.select(
        link.c.project,
        link.c.run_id,
        sa.bindparam("intent", type_=change.c.intent_id.type),
        link.c.id,
        link.c.pnpid,
        link.c.tag,
        sa.literal("synapse"),
        sa.literal("create"),
        sa.literal("created"),
        link.c.base,
        sa.bindparam("at", type_=change.c.at.type),
    )
    .where(link.c.id.between(sa.bindparam("first"), sa.bindparam("last")))
    .order_by(link.c.id)
)
_PUT_CREATED = sa.insert(change).from_select(
    [
        "project",
        "run_id",
        "intent_id",
        "link_id",
        "pnpid",
        "tag",
        "side",
        "op",
        "outcome",
        "fields",
        "at",
    ],
    _OF_CREATED,
)


_PNPID, _TAG, _BASE, _PROJECT, _RUN = (
    CREATED_COLUMNS.index(name) for name in ("pnpid", "tag", "base", "project", "run_id")
)


def put_created(
    connection: Connection, project: str, rows: Sequence[CreatedRow], *, intent_id: int, at: float
) -> str:
    """The change entries of pairs that were just stored by `links.insert_created`; returns the digest for the audit.

    What a creation changed is its base, so the database copies it from there. The link ids follow one another.
    """
    given = {"intent": intent_id, "at": at, "first": rows[0][0], "last": rows[-1][0]}
    connection.execute(_PUT_CREATED, given)
    lines = [
        orjson.dumps((row[0], row[_PNPID], row[_TAG], "synapse", "create", "created", row[_BASE], at))
        for row in rows
    ]
    first = {"project": rows[0][_PROJECT], "run_id": rows[0][_RUN], "intent_id": intent_id}
    return seals.seal_changes(connection, project, first, lines, at=at)


def changes_of_run(connection: Connection, run_id: str, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Everything a run wrote, in order, or the first `limit` of it."""
    rows = connection.execute(
        sa.select(change).where(change.c.run_id == run_id).order_by(change.c.id).limit(limit)
    )
    return [_change(row) for row in rows]


def recorded(connection: Connection, run_id: str) -> list[Change]:
    """Everything a run wrote, in order, for an undo."""
    return [
        Change(
            change_id=row["id"],
            link_id=row["link_id"],
            intent_id=row["intent_id"],
            pnpid=row["pnpid"],
            tag=row["tag"],
            side=row["side"],
            op=row["op"],
            fields={name: (old, new) for name, (old, new) in row["fields"].items()},
            information=tuple(name for name, why in row["why"].items() if why == INFORMATION),
        )
        for row in changes_of_run(connection, run_id)
    ]


LATE = "late"
"""Outcome of a write into SYNAPSE that an overtaken run made after another one had taken over."""


_NEWEST = sa.select(change).where(
    change.c.id.in_(
        sa.select(sa.func.max(change.c.id))
        .where(change.c.link_id.in_(sa.bindparam("links", expanding=True)), change.c.side == "synapse")
        .group_by(change.c.link_id)
    )
)
_NEVER_HEARD_OF = (
    sa.select(intent)
    .where(
        intent.c.project == sa.bindparam("whose"),
        intent.c.side == "synapse",
        intent.c.status == NOT_APPLIED,
        intent.c.id > sa.bindparam("since"),
    )
    .order_by(intent.c.id)
)


def late_values(
    connection: Connection, project: str, link_ids: Sequence[int]
) -> dict[int, Mapping[str, Value]]:
    """Link -> field -> what SYNAPSE may hold of an overtaken run, where nothing of ours was written there since.

    The run has noted that it wrote it, or it died before it could say so. Raises NeedsPersonError `row_altered`.
    """
    if not link_ids:
        return {}
    rows = connection.execute(_NEWEST, {"links": list(link_ids)}).fetchall()
    late, begun = _never_heard_of(
        connection, project, {one: 0 for one in link_ids} | {row.link_id: row.intent_id or 0 for row in rows}
    )
    noted = {row.run_id for row in rows if row.outcome == LATE}
    if begun or noted:
        seals.check_late(
            connection,
            project,
            run_ids=noted,
            intent_ids=begun,
            nothing="Nothing was planned or written.",
        )
    return late | {
        row.link_id: {name: new for name, (_old, new) in fields_of(row.op, row.fields).items()}
        for row in rows
        if row.outcome == LATE
    }


def _never_heard_of(
    connection: Connection, project: str, since: Mapping[int, int]
) -> tuple[dict[int, Mapping[str, Value]], set[int]]:
    """What closed intents meant to write into these links, and which intents. `since`: link -> intent of our newest
    write there.
    """
    rows = connection.execute(_NEVER_HEARD_OF, {"whose": project, "since": min(since.values())})
    meant: dict[int, Mapping[str, Value]] = {}
    begun: set[int] = set()
    for row in rows.fetchall():
        for step in _steps(connection, row.plan_id, row.lines):
            if not isinstance(step, Update | Restore) or step.link_id not in since:
                continue
            if step.link_id is not None and row.id > since[step.link_id]:
                meant[step.link_id] = step.set
                begun.add(row.id)
    return meant, begun


def values_sent(connection: Connection, link_ids: Sequence[int]) -> dict[int, list[Ours]]:
    """Link -> every value that SYNAPSE was given for its fields, oldest first: Plant 3D held each of them then."""
    if not link_ids:
        return {}
    rows = connection.execute(
        sa.select(change.c.link_id, change.c.op, change.c.fields, change.c.at)
        .where(change.c.link_id.in_(link_ids), change.c.side == "synapse")
        .order_by(change.c.id)
    )
    sent: dict[int, list[Ours]] = {}
    for row in rows:
        given = fields_of(row.op, row.fields).items()
        sent.setdefault(row.link_id, []).extend(
            Ours("", name, value=new, origin=Origin.HELD, at=row.at) for name, (_old, new) in given
        )
    return sent


def count_changes(connection: Connection, run_id: str) -> int:
    """How much a run wrote."""
    statement = sa.select(sa.func.count()).select_from(change).where(change.c.run_id == run_id)
    return int(connection.execute(statement).scalar() or 0)


def counts_of_run(connection: Connection, run_id: str) -> list[tuple[str, str, int]]:
    """(kind of item, operation, items) of what a run wrote into SYNAPSE; the kind is empty where the link is gone."""
    rows = connection.execute(
        sa.select(link.c.entity, change.c.op, sa.func.count().label("items"))
        .select_from(change.outerjoin(link, link.c.id == change.c.link_id))
        .where(change.c.run_id == run_id, change.c.side == "synapse")
        .group_by(link.c.entity, change.c.op)
    )
    return [(row.entity or "", row.op, int(row.items)) for row in rows]


def count_sent(connection: Connection, run_id: str) -> int:
    """Writes of a run into SYNAPSE that changed something there."""
    statement = sa.select(sa.func.count()).where(
        change.c.run_id == run_id, change.c.side == "synapse", change.c.outcome != "unchanged"
    )
    return int(connection.execute(statement).scalar() or 0)


def changed_by_plan(connection: Connection, project: str, plan_id: str) -> list[tuple[str, str, int]]:
    """(side, operation, PnPID) of every change that was made while this plan was carried out."""
    rows = connection.execute(
        sa.select(change.c.side, change.c.op, change.c.pnpid)
        .join(intent, sa.and_(intent.c.run_id == change.c.run_id, intent.c.id == change.c.intent_id))
        .where(intent.c.project == project, intent.c.plan_id == plan_id)
    )
    return [(row.side, row.op, row.pnpid) for row in rows]


def all_open(connection: Connection) -> list[tuple[int, str]]:
    """(intent, plan) of every intent whose outcome nobody has stored, of all projects. Their steps are not read."""
    rows = connection.execute(sa.select(intent.c.id, intent.c.plan_id).where(intent.c.status == "open"))
    return [(row.id, row.plan_id) for row in rows]


def _change(row: Any) -> dict[str, Any]:
    return {**row._mapping, "fields": fields_of(row.op, row.fields), "why": why_of(row.op, row.fields)}


def fields_with_why(fields: Mapping[str, Sequence[object]], why: Mapping[str, object]) -> dict[str, Any]:
    """What a change stores: field -> [old, new, the rule that decided], and `*` for what concerns the whole item."""
    whole = why.get(WHOLE)
    stored: dict[str, Any] = {}
    for name, (old, new) in fields.items():
        reason = why.get(name) or whole
        stored[name] = [old, new] if reason is None else [old, new, reason]
    if whole is not None and not fields:
        stored[WHOLE] = [None, None, whole]
    return stored


def fields_of(op: str, text: str | None) -> dict[str, Any]:
    """The fields of a change as field -> [old, new]; a creation stores only the new values, as its base does."""
    fields = load_map(text)
    if op != "create":
        return {name: value[:2] for name, value in fields.items() if name != WHOLE}
    made: dict[str, Any] = flat(fields)
    return {
        name: value[:2] if isinstance(value, list) else [None, value]
        for name, value in made.items()
        if value is not None and name != WHOLE
    }


def why_of(op: str, text: str | None) -> dict[str, str]:
    """The rule that decided each field of a change, `*` for the whole item. Older changes may not say it."""
    if op == "create":
        return {WHOLE: "new_item"}
    fields = load_map(text)
    return {name: value[2] for name, value in fields.items() if isinstance(value, list) and len(value) > 2}
