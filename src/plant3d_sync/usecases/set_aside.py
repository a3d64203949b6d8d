"""Rows that were altered from outside are set aside: none of them leads to a write, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.state import audit, intents, keys, runs, seals
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.audit import Broken
from plant3d_sync.state.tables import api_key, intent, plan, plant_write
from plant3d_sync.state.tables import project as project_table
from plant3d_sync.state.tables import run as run_table
from plant3d_sync.usecases.project import World

REFUSED = "refused"
"""Status of an intent that was set aside: the next run compares what it may have written."""


def set_aside(world: World, *, by: str) -> list[Broken]:
    """Close every row that `audit verify` names, as far as it could still lead to a write; returns those rows.

    A plan is superseded, an open intent is left to the next comparison, a choice is void, a request ends, a key is
    revoked. Change entries and before-images stay named: their runs cannot be undone. Audited.
    """
    with world.state.read() as connection:
        found = [item for item in seals.verify(connection).broken if item.row is not None]
    if not found:
        return []
    by_table: dict[str, list[str]] = {}
    for item in found:
        by_table.setdefault(str(item.table), []).append(str(item.row))
    now = world.clock()
    with world.state.write() as connection:
        plans = {*by_table.get("plan", ()), *(row.split("/")[0] for row in by_table.get("plan_chunk", ()))}
        _plans(connection, plans, now)
        _intents(connection, by_table, plans, now)
        numbers = [int(row) for row in by_table.get("conflict", ())]
        finding_state.void(connection, numbers, "the row was altered from outside", at=now)
        _requests(connection, by_table.get("run", ()), now)
        _keys(connection, by_table.get("api_key", ()), now)
        for name in sorted({audit.project_of(item.project) for item in found}):
            rows = [f"{item.table} {item.row}" for item in found if audit.project_of(item.project) == name]
            audit.append(connection, name, action="rows.set_aside", actor=by, at=now, rows=rows)
            if connection.execute(
                sa.select(project_table.c.name).where(project_table.c.name == name)
            ).first():
                project_state.update(connection, name, force_compare=True)
    return found


def _plans(connection: Connection, ids: Iterable[str], now: float) -> None:
    for plan_id in sorted(ids):
        connection.execute(
            sa.update(plan)
            .where(plan.c.id == plan_id, plan.c.status.in_(seals.WAITING_PLANS))
            .values(status=PlanStatus.SUPERSEDED.value)
        )
        seals.seal(connection, "plan", [plan_id], at=now)


def _intents(connection: Connection, by_table: dict[str, list[str]], plans: set[str], now: float) -> None:
    cells = [int(row) for row in by_table.get("plant_write", ()) if row.isdigit()]
    named = [int(row) for row in by_table.get("intent", ())]
    waiting = connection.execute(sa.select(intent.c.id, intent.c.plan_id).where(intent.c.status == "open"))
    of_cells = set(
        connection.execute(sa.select(plant_write.c.intent_id).where(plant_write.c.id.in_(cells))).scalars()
    )
    for row in waiting.fetchall():
        if row.id in named or row.plan_id in plans or row.id in of_cells:
            intents.close(connection, row.id, status=REFUSED, at=now)
    seals.seal(connection, "intent", named, at=now)


def _requests(connection: Connection, ids: Iterable[str], now: float) -> None:
    for run_id in ids:
        found = connection.execute(
            sa.select(run_table.c.status, run_table.c.project).where(run_table.c.id == run_id)
        ).first()
        if found is None:
            continue
        if found.status == "queued":
            runs.update(
                connection,
                run_id,
                status="completed",
                outcome="cancelled",
                completed_at=now,
                next_try_at=None,
            )
        seals.end_request(connection, found.project, run_id, at=now)


def _keys(connection: Connection, ids: Iterable[str], now: float) -> None:
    for key_id in ids:
        connection.execute(
            sa.update(api_key)
            .where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        seals.seal(connection, keys.KIND, [key_id], at=now)
