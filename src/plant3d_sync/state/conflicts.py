"""Conflicts: what people are asked, and what they chose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypedDict, cast

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.outcome import Resolution
from plant3d_sync.model.record import Value
from plant3d_sync.state import seals
from plant3d_sync.state.codec import dump, load, load_map
from plant3d_sync.state.tables import conflict, link

_PENDING = sa.select(conflict).where(
    conflict.c.project == sa.bindparam("whose"), conflict.c.status == "pending"
)
_PENDING_HELD = _PENDING.with_for_update()
_QUESTIONS = _PENDING.with_only_columns(conflict.c.plant3d_id, conflict.c.field)
_CHOICES = sa.select(conflict).where(
    conflict.c.project == sa.bindparam("whose"), conflict.c.carried_out == 0, conflict.c.chosen.is_not(None)
)
_WAITING_CHOICES = (
    sa.select(conflict, link.c.pending, link.c.state, link.c.gone_in_synapse, link.c.ticks)
    .join(link, link.c.id == conflict.c.link_id, isouter=True)
    .where(conflict.c.project == sa.bindparam("whose"), conflict.c.carried_out == 0)
)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a run, at this moment (POSIX seconds), found of the questions.

    `drafts`: those it found. `examined`: whether it looked at one (identity and field). `fates`: what became of the choices
    that were looked at, see `Draft.fates`. `planned_choices`: those known when the plan was made.
    """

    run_id: str
    at: float
    drafts: Sequence[Mapping[str, Any]]
    examined: Callable[[Mapping[str, Any]], bool]
    fates: Mapping[str, str]
    planned_choices: Collection[str]


def sync_conflicts(
    connection: Connection, project: str, found: Comparison, *, new_id: Callable[[], str]
) -> list[str]:
    """Make the open conflicts and choices agree with what a comparison found.

    Known ones keep their id and age; if a side moved since, the values are refreshed and the version grows. Ones that
    were examined and not found again close themselves. A choice that was not looked at waits; so does one made since
    the plan, if it answers the same question found again.
    Returns the ids that are new.
    """
    at, fates = found.at, found.fates
    known = {
        (row.plant3d_id, row.field): row
        # held until the end: who decides meanwhile waits, and then sees what this run found
        for row in connection.execute(_PENDING_HELD, {"whose": project})
    }
    created: list[str] = []
    touched: list[int] = []
    chosen = {(row.plant3d_id, row.field): row for row in _waiting_choices(connection, project)}
    for draft in found.drafts:
        row = known.pop((draft["plant3d_id"], draft["field"]), None)
        if row is not None:
            if _asked_again(connection, row, draft):
                touched.append(row.seq)
            continue
        choice = chosen.get((draft["plant3d_id"], draft["field"]))
        if choice is not None and choice.id not in found.planned_choices and _same_values(choice, draft):
            continue  # decided while this run was under way: the next one carries it out
        if choice is not None:
            _end_choice(connection, choice, void=fates.get(choice.id) or "a side moved elsewhere")
            touched.append(choice.seq)
        created.append(new_id())
        touched.append(_insert_conflict(connection, project, draft, created[-1], found.run_id, at))
    for row in known.values():
        if found.examined({"link_id": row.link_id, "plant3d_id": row.plant3d_id, "field": row.field}):
            _converged(connection, row, at)
            touched.append(row.seq)
    touched += _close_choices(connection, project, fates)
    seals.seal(connection, "conflict", sorted(set(touched)), at=at)
    return created


def _asked_again(connection: Connection, row: Row[Any], draft: Mapping[str, Any]) -> bool:
    """An open question was found again: its values are refreshed if a side moved. Whether anything of it changed."""
    old = load_map(row.data)
    values: dict[str, Any] = {}
    if row.asset_tag != draft["tag"]:  # renamed meanwhile; the question is the same
        values["asset_tag"] = draft["tag"]
    moved = old.get("plant3d") != draft["plant3d"] or old.get("synapse") != draft["synapse"]
    if moved or row.kind != draft["kind"]:
        values |= {
            "kind": draft["kind"],
            "data": dump(dict(draft)),
            "version": row.version + 1,
            "resolution": None,
            "chosen": None,
            "asset_tag": draft["tag"],
            "link_id": draft.get("link_id"),
        }
    if values:
        connection.execute(sa.update(conflict).where(conflict.c.seq == row.seq).values(**values))
    return bool(values)


def _converged(connection: Connection, row: Row[Any], at: float) -> None:
    """An open question was examined and not found again."""
    connection.execute(
        sa.update(conflict)
        .where(conflict.c.seq == row.seq)
        .values(
            status="resolved",
            resolution=row.resolution or "converged",
            resolved_by=row.resolved_by or "sync",
            resolved_at=at,
            version=row.version + 1,
        )
    )


def count_pending(connection: Connection, project: str) -> int:
    """How many conflicts of a project wait for a decision."""
    statement = sa.select(sa.func.count()).select_from(conflict)
    waiting = statement.where(conflict.c.project == project, conflict.c.status == "pending")
    return int(connection.execute(waiting).scalar() or 0)


def open_questions(connection: Connection, project: str) -> frozenset[tuple[str, str]]:
    """(identity, field) of the conflicts nobody decided yet."""
    rows = connection.execute(_QUESTIONS, {"whose": project})
    return frozenset((row.plant3d_id, row.field) for row in rows)


VOID = 2
"""`carried_out` of a choice that was not carried out and never will be: 0 waits, 1 was carried out."""


def _waiting_choices(connection: Connection, project: str) -> list[Row[Any]]:
    """Choices that are neither carried out nor void, with what their link remembers."""
    return list(connection.execute(_WAITING_CHOICES, {"whose": project}).fetchall())


def end_carried_out(
    connection: Connection, project: str, ids: Collection[str], *, failed: Collection[str] = (), at: float
) -> None:
    """End those of these choices, which a stored plan was to carry out, that it did carry out.

    `failed`: identities of items of which a step was not carried out.
    """
    if not ids:
        return
    ended = []
    for choice in _waiting_choices(connection, project):
        if choice.id in ids and choice.plant3d_id not in failed and _is_carried_out(choice):
            _end_choice(connection, choice)
            ended.append(choice.seq)
    seals.seal(connection, "conflict", ended, at=at)


def _same_values(choice: Row[Any], draft: Mapping[str, Any]) -> bool:
    """Whether a choice was made on just the two values that were found."""
    made_on = load_map(choice.data)
    return all(made_on.get(side) == draft.get(side) for side in ("plant3d", "synapse"))


def _close_choices(connection: Connection, project: str, fates: Mapping[str, str]) -> list[int]:
    """A choice ends when it was carried out on its own link, or when what it was made on moved; nothing else ends it.

    Returns the numbers of those that ended.
    """
    ended = []
    for choice in _waiting_choices(connection, project):
        fate = fates.get(choice.id)
        if fate:
            _end_choice(connection, choice, void=fate)
        elif fate is not None and _is_carried_out(choice):
            _end_choice(connection, choice)
        else:
            continue
        ended.append(choice.seq)
    return ended


def _is_carried_out(choice: Row[Any]) -> bool:
    """Whether the link says so: a write that was planned may have been refused."""
    if choice.field != WHOLE:
        return choice.field not in load_map(choice.pending)
    kept = load(choice.chosen)[0] == "synapse"
    if choice.kind == "gone_from_plant3d":
        return bool(choice.state == ("unlinked" if kept else "archived"))
    if kept:  # nothing is written: that the item as it was asked about was looked at is what there is to do
        return load_map(choice.data).get("plant3d_ticks") in (None, choice.ticks)
    return not choice.gone_in_synapse


def _end_choice(connection: Connection, choice: Row[Any], *, void: str = "") -> None:
    values: dict[str, Any] = {"carried_out": VOID if void else 1}
    if void:
        values["note"] = f"{choice.note or ''} [void: {void}]".strip()
        values["data"] = dump({**load_map(choice.data), "void": void})
    connection.execute(sa.update(conflict).where(conflict.c.seq == choice.seq).values(**values))


def void(connection: Connection, numbers: Sequence[int], why: str, *, at: float) -> None:
    """End these choices, without carrying them out; questions among them stay, as they are now."""
    waiting = sa.select(conflict).where(
        conflict.c.seq.in_(numbers), conflict.c.status != "pending", conflict.c.carried_out == 0
    )
    for row in connection.execute(waiting).fetchall():
        connection.execute(
            sa.update(conflict)
            .where(conflict.c.seq == row.seq)
            .values(carried_out=VOID, data=dump({"void": why}), note=f"[void: {why}]")
        )
    seals.seal(connection, "conflict", numbers, at=at)


def _insert_conflict(
    connection: Connection, project: str, draft: Mapping[str, Any], conflict_id: str, run_id: str, at: float
) -> int:
    done = connection.execute(
        sa.insert(conflict).values(
            id=conflict_id,
            project=project,
            link_id=draft.get("link_id"),
            plant3d_id=draft["plant3d_id"],
            asset_id=draft.get("asset_id"),
            asset_tag=draft["tag"],
            field=draft["field"],
            kind=draft["kind"],
            status="pending",
            data=dump(dict(draft)),
            detected_at=at,
            detected_run=run_id,
        )
    )
    key_row = done.inserted_primary_key
    if key_row is None:
        raise AssertionError("an inserted conflict has a number")
    return int(key_row[0])


class ConflictFacts(TypedDict, total=False):
    """What a question was asked about: both sides' values of the field, when and by whom, and what is suggested."""

    base: Value
    has_base: bool
    plant3d: Value
    synapse: Value
    plant3d_ticks: int | None
    synapse_at: str | None
    plant3d_seen: Sequence[float | None] | None
    synapse_seen: Sequence[float | None] | None
    synapse_by: str | None
    drawing: str | None
    suggestion: str | None
    suggestion_reason: str | None
    void: str | None


class ConflictRow(TypedDict):
    id: str
    project: str
    link_id: int | None
    plant3d_id: str | None
    asset_id: str | None
    asset_tag: str
    field: str
    kind: str
    status: str
    detected_at: float
    detected_run: str | None
    resolution: str | None
    chosen: Value
    has_choice: bool
    carried_out: bool
    void: str | None
    note: str | None
    resolved_by: str | None
    resolved_at: float | None
    version: int
    data: ConflictFacts


"""A question with the choice that was made, if one was. Times: POSIX seconds."""


def conflicts(
    connection: Connection,
    project: str | None,
    *,
    status: str = "pending",
    limit: int = 100,
    offset: int = 0,
) -> tuple[list[ConflictRow], int]:
    """Conflicts, oldest first, and how many there are. `status`: pending, resolved or all."""
    where = [] if project is None else [conflict.c.project == project]
    if status != "all":
        where.append(conflict.c.status == status)
    total = connection.execute(sa.select(sa.func.count()).select_from(conflict).where(*where)).scalar() or 0
    rows = connection.execute(
        sa.select(conflict).where(*where).order_by(conflict.c.seq).limit(limit).offset(offset)
    )
    return [conflict_dict(row) for row in rows], int(total)


def get_conflict(connection: Connection, conflict_id: str) -> ConflictRow | None:
    """One conflict."""
    row = connection.execute(sa.select(conflict).where(conflict.c.id == conflict_id)).first()
    return conflict_dict(row) if row else None


def conflict_dict(row: Row[Any]) -> ConflictRow:
    """A conflict's row with its facts."""
    return {
        "id": row.id,
        "project": row.project,
        "link_id": row.link_id,
        "plant3d_id": row.plant3d_id,
        "asset_id": row.asset_id,
        "asset_tag": row.asset_tag,
        "field": row.field,
        "kind": row.kind,
        "status": row.status,
        "detected_at": row.detected_at,
        "detected_run": row.detected_run,
        "resolution": row.resolution,
        "chosen": load(row.chosen)[0] if row.chosen else None,
        "has_choice": row.chosen is not None,
        "carried_out": row.status != "pending" and row.carried_out == 1,
        "void": load_map(row.data).get("void"),
        "note": row.note,
        "resolved_by": row.resolved_by,
        "resolved_at": row.resolved_at,
        "version": row.version,
        "data": cast(ConflictFacts, load_map(row.data)),
    }


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a person chose, by which resolution, who and when (POSIX seconds)."""

    resolution: str
    value: object
    note: str | None
    by: str
    at: float


def choose(connection: Connection, conflict_id: str, chosen: Chosen, *, version: int) -> bool:
    """Store a person's choice, only if nobody decided or the values moved since `version`."""
    done = connection.execute(
        sa.update(conflict)
        .where(conflict.c.id == conflict_id, conflict.c.status == "pending", conflict.c.version == version)
        .values(
            status="resolved",
            carried_out=0,
            resolution=chosen.resolution,
            chosen=orjson.dumps([chosen.value]).decode(),
            note=chosen.note,
            resolved_by=chosen.by,
            resolved_at=chosen.at,
            version=version + 1,
        )
    )
    if done.rowcount != 1:
        return False
    number = connection.execute(sa.select(conflict.c.seq).where(conflict.c.id == conflict_id)).scalar()
    seals.seal(connection, "conflict", [number], at=chosen.at)
    return True


def resolutions(connection: Connection, project: str) -> dict[tuple[int, str], Resolution]:
    """Choices that wait to be carried out, by link and field."""
    rows = connection.execute(_CHOICES, {"whose": project})
    found: dict[tuple[int, str], Resolution] = {}
    for row in rows:
        data = load_map(row.data)
        if row.link_id is None:
            continue
        found[(row.link_id, row.field)] = Resolution(
            conflict_id=row.id,
            plant3d_value=data.get("plant3d"),
            synapse_value=data.get("synapse"),
            chosen=load(row.chosen)[0],
            by=row.resolved_by or "",
            kind=row.kind,
            plant3d_ticks=data.get("plant3d_ticks"),
        )
    return found
