"""Before a write: the rows that lead to it are looked at, and none is made where one of them does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.state.codec import load_map
from plant3d_sync.state.seals.altered import (
    ADDED,
    Altered,
    Whose,
    of_cells,
    of_changes,
    of_chunks,
    of_row,
    refusal,
    refused_if_broken,
)
from plant3d_sync.state.seals.chains import ChainBroken, Seals, pruned_before, system_of
from plant3d_sync.state.seals.covered import CHOICES, KINDS, REQUESTS, ROWS, RowKind, chain_name
from plant3d_sync.state.seals.making import cells_of
from plant3d_sync.state.tables import acknowledgement, change, conflict, intent, plan, plant_write, run


def _said(connection: Connection, chain: str, wanted: set[str], runs: set[str], *, nothing: str) -> Seals:
    """What the chains say of these rows and of the changes of these runs."""
    with refused_if_broken(nothing):
        seals = Seals(system_of(connection))
        seals.read(connection, chain, wanted, runs)
    return seals


def check_plan(connection: Connection, project: str, plan_id: str, *, nothing: str) -> None:
    """A stored plan, its steps, and what was written of it already. Raises NeedsPersonError `row_altered`."""
    row = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).first()
    if row is None:
        return
    begun = connection.execute(
        sa.select(intent).where(intent.c.project == project, intent.c.plan_id == plan_id)
    ).fetchall()
    wanted = {f"plan:{plan_id}", f"chunks:{plan_id}", *(f"intent:{one.id}" for one in begun)}
    runs = {one.run_id for one in begun}
    seals = _said(connection, chain_name(ROWS, project), wanted, runs, nothing=nothing)
    altered = [
        *of_row("plan", row, seals, project).altered,
        *of_chunks(connection, plan_id, seals, project).altered,
    ]
    for one in begun:
        altered += of_row("intent", one, seals, project).altered
    for run_id in sorted(runs):
        altered += _changes(connection, run_id, seals, project)
    if altered:
        raise refusal(altered, nothing)


def check_run(connection: Connection, project: str, run_id: str, *, nothing: str) -> None:
    """What a run wrote, with every before-image of its items. Raises NeedsPersonError `row_altered`."""
    ours = sa.select(plant_write.c.pnpid).where(plant_write.c.run_id == run_id)
    written = sa.select(change.c.pnpid).where(change.c.run_id == run_id, change.c.side == "plant3d")
    counted = sa.and_(
        plant_write.c.project == project,
        plant_write.c.pnpid.in_(ours.union(written)),
        plant_write.c.status.in_(("applied", "found_applied", "intended")),
    )
    of_run = sa.and_(plant_write.c.run_id == run_id, plant_write.c.intent_id.is_not(None))
    cells = connection.execute(sa.select(plant_write).where(sa.or_(counted, of_run))).fetchall()
    wanted = {f"cells:{row.intent_id}" for row in cells}
    seals = _said(connection, chain_name(ROWS, project), wanted, {run_id}, nothing=nothing)
    altered = _changes(connection, run_id, seals, project)
    for intent_id in sorted({row.intent_id for row in cells if row.intent_id is not None}):
        altered += of_cells(cells_of(connection, intent_id), intent_id, seals).altered
    altered += [Altered(project, "plant_write", str(row.id), ADDED) for row in cells if row.intent_id is None]
    if altered:
        raise refusal(altered, nothing)


def _changes(connection: Connection, run_id: str, seals: Seals, project: str) -> list[Altered]:
    """What does not hold of the changes of a run."""
    rows = connection.execute(
        sa.select(change).where(change.c.run_id == run_id).order_by(change.c.intent_id, change.c.id)
    ).fetchall()
    by_intent = {number: list(group) for number, group in groupby(rows, key=lambda row: row.intent_id)}
    whose = Whose(project, seals, pruned_before(connection))
    sealed = {number for number, batches in seals.batches.items() if batches[0].run == run_id}
    altered: list[Altered] = []
    for number in sorted(by_intent.keys() | sealed):
        batches = [one for one in seals.batches.get(number, ()) if one.run == run_id]
        altered += of_changes(connection, by_intent.get(number, []), batches, whose).altered
    return altered


_RECOVERED = (
    sa.select(intent)
    .where(intent.c.project == sa.bindparam("whose"), intent.c.status == "open")
    .order_by(intent.c.id)
)


def check_recovery(connection: Connection, project: str, *, nothing: str) -> None:
    """Open intents, the plans their steps stand in, and their cells. Raises NeedsPersonError `row_altered`."""
    waiting = connection.execute(_RECOVERED, {"whose": project}).fetchall()
    if waiting:
        _check_intents(connection, project, waiting, set(), nothing)


def check_late(
    connection: Connection, project: str, *, run_ids: Iterable[str], intent_ids: Iterable[int], nothing: str
) -> None:
    """What says that a value in SYNAPSE is a late write of ours: the changes of these runs, and these intents.

    Raises NeedsPersonError `row_altered`.
    """
    rows = connection.execute(sa.select(intent).where(intent.c.id.in_(list(intent_ids)))).fetchall()
    _check_intents(connection, project, rows, set(run_ids), nothing)


def _check_intents(
    connection: Connection, project: str, waiting: Sequence[Row[Any]], run_ids: set[str], nothing: str
) -> None:
    plans = sorted({row.plan_id for row in waiting if not _is_inline(row.lines)})
    wanted = {f"{kind}:{row.id}" for row in waiting for kind in ("intent", "cells")}
    wanted |= {f"{kind}:{plan_id}" for plan_id in plans for kind in ("plan", "chunks")}
    seals = _said(connection, chain_name(ROWS, project), wanted, run_ids, nothing=nothing)
    altered: list[Altered] = []
    for run_id in sorted(run_ids):
        altered += _changes(connection, run_id, seals, project)
    for row in waiting:
        altered += of_row("intent", row, seals, project).altered
        cells = cells_of(connection, row.id)
        if cells or f"cells:{row.id}" in seals.rows:
            altered += of_cells(cells, row.id, seals).altered
    for plan_id in plans:
        stored = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).first()
        if stored is not None:
            altered += of_row("plan", stored, seals, project).altered
        altered += of_chunks(connection, plan_id, seals, project).altered
    if altered:
        raise refusal(altered, nothing)


def _is_inline(lines: bytes | str) -> bool:
    """Whether an intent holds its steps itself; else it names places in a plan."""
    return lines[:1] in (b"[", "[")


_OF_CONFLICT = sa.select(conflict).where(conflict.c.project == sa.bindparam("whose")).order_by(conflict.c.id)
_ONE_CONFLICT = _OF_CONFLICT.where(conflict.c.id == sa.bindparam("wanted"))
_CHOICES = _OF_CONFLICT.where(conflict.c.carried_out == 0, conflict.c.chosen.is_not(None))
_SAID = (
    sa.select(acknowledgement)
    .where(acknowledgement.c.project == sa.bindparam("whose"), acknowledgement.c.ended_at.is_(None))
    .order_by(acknowledgement.c.id)
)
_HELD = {statement: statement.with_for_update() for statement in (_ONE_CONFLICT, _CHOICES, _SAID)}


def check_choices(
    connection: Connection, project: str, *, nothing: str, writing: bool, conflict_id: str | None = None
) -> None:
    """Choices that wait to be carried out and what people left alone, or one conflict. Raises NeedsPersonError
    `row_altered`. `writing`: in a writing transaction, so the rows are kept from others until it ends; else a row and its
    seal, which are read one after the other, could be of two moments.
    """

    def found_by(statement: sa.Select[Any], **more: str) -> Sequence[Row[Any]]:
        statement = _HELD[statement] if writing else statement
        return connection.execute(statement, {"whose": project, **more}).fetchall()

    rows: list[tuple[RowKind, Row[Any]]]
    if conflict_id is None:
        rows = [("conflict", row) for row in found_by(_CHOICES)]
        rows += [("acknowledgement", row) for row in found_by(_SAID)]
    else:
        rows = [("conflict", row) for row in found_by(_ONE_CONFLICT, wanted=conflict_id)]
    if not rows:
        return
    wanted = {f"{kind}:{row._mapping[KINDS[kind].key]}" for kind, row in rows}
    seals = _said(connection, chain_name(CHOICES, project), wanted, set(), nothing=nothing)
    altered = [one for kind, row in rows for one in of_row(kind, row, seals, project).altered]
    if altered:
        raise refusal(altered, nothing)


def check_request(connection: Connection, run_id: str, *, nothing: str) -> None:
    """A queued request somebody made. Raises NeedsPersonError `row_altered`.

    The scheduler's own ask for what the configuration says and are not sealed; they may name no plan.
    """
    row = connection.execute(sa.select(run).where(run.c.id == run_id)).first()
    if row is None:
        return
    name = f"run:{run_id}"
    seals = _said(connection, chain_name(REQUESTS, row.project), {name}, set(), nothing=nothing)
    if name not in seals.rows and _is_slot(row):
        return
    if altered := of_row("run", row, seals, row.project).altered:
        raise refusal(altered, nothing)


def is_asked_for(row: Row[Any]) -> bool:
    """Whether somebody asked for this run, which is sealed then; what a command does at once is not asked for."""
    return bool(load_map(row.options).get("queued")) and not _is_slot(row)


def _is_slot(row: Row[Any]) -> bool:
    return row.trigger == "schedule" and not load_map(row.options).get("plan_id") and not row.dry_run


def key_holds(connection: Connection, row: Row[Any]) -> bool:
    """Whether a key's row is what was stored when it was made, or ended."""
    try:
        system = system_of(connection)
    except ChainBroken:
        return False
    return not of_row("api_key", row, Seals(system, system.keys), "system").altered
