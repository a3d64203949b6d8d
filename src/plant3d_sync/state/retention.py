"""What is old enough goes, in small transactions; what somebody may need to prove or to finish stays.

Pruned: ended runs with their errors and events, plans that do not wait, change entries, finished intents, closed
findings, slots, stored answers, traces of processes that are gone. Never pruned: the audit trail (its chain
stays whole), links and bases, conflicts, the record of every cell written into Plant 3D, plans that wait, the newest intent.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.run import OVER
from plant3d_sync.state import audit, seals
from plant3d_sync.state.store import State
from plant3d_sync.state.tables import (
    change,
    component,
    finding,
    idempotency,
    intent,
    plan,
    plan_chunk,
    run,
    run_error,
    run_event,
    slot,
)

BATCH = 500
"""Rows per transaction: a run that goes on meanwhile waits for milliseconds, not minutes."""

DAY = 86_400.0
SYSTEM = "system"
"""The audit chain of what concerns no single project."""

GONE_AFTER = 7 * DAY
"""A process not seen for so long is forgotten."""

WAITING_PLANS = ("draft", "guarded", "approved", "applying")


def prune(state: State, *, now: float, days: float, batch: int = BATCH) -> dict[str, int]:
    """Remove what is older than `days`. Returns rows removed per table; audited if there were any."""
    limit = now - days * DAY
    steps: dict[str, Callable[[Connection], int]] = {
        "run": lambda connection: _runs(connection, limit, batch),
        "plan": lambda connection: _plans(connection, limit, batch),
        "change": lambda connection: _rows(connection, change, change.c.id, change.c.at < limit, batch),
        "intent": lambda connection: _rows(
            connection,
            intent,
            intent.c.id,
            sa.and_(intent.c.status != "open", intent.c.done_at < limit) & _not_newest(intent.c.id),
            batch,
        ),
        "finding": lambda connection: _rows(
            connection, finding, finding.c.id, finding.c.closed_at < limit, batch
        ),
        "slot": lambda connection: _slots(connection, limit),
        "idempotency": lambda connection: (
            connection.execute(sa.delete(idempotency).where(idempotency.c.created_at < limit)).rowcount
        ),
        "component": lambda connection: (
            connection.execute(
                sa.delete(component).where(
                    component.c.seen_at < now - GONE_AFTER, component.c.kind.in_(["worker", "scheduler"])
                )
            ).rowcount
        ),
    }
    begun = _Begun(now, limit)
    removed = {name: _until_done(state, step, begun) for name, step in steps.items()}
    found = {name: count for name, count in removed.items() if count}
    if found:
        with state.write() as connection:
            audit.append(
                connection,
                SYSTEM,
                action="retention.pruned",
                actor="retention",
                at=now,
                days=str(days),
                rows=found,
            )
    return removed


class _Begun(msgspec.Struct):
    """Whether the audit knows of this pruning: what is gone since is no forgery, also if it is killed half-way."""

    at: float
    limit: float
    told: bool = False

    def tell(self, connection: Connection) -> None:
        """With the first rows that go."""
        if not self.told:
            audit.append(
                connection,
                SYSTEM,
                action=seals.PRUNED,
                actor="retention",
                at=self.at,
                before=f"{self.limit:.6f}",
            )
            self.told = True


def _until_done(state: State, step: Callable[[Connection], int], begun: _Begun) -> int:
    total = 0
    while True:
        with state.write() as connection:
            done = step(connection)
            if done:
                begun.tell(connection)
        total += done
        if not done:
            return total


def _not_newest(key: sa.Column[int]) -> sa.ColumnElement[bool]:
    """SQLite gives the number of its newest row again once that is gone; cells and seals that stay go by these numbers."""
    return key < sa.select(sa.func.max(key)).scalar_subquery()


def _rows(
    connection: Connection,
    table: sa.Table,
    key: sa.Column[int],
    old: sa.ColumnElement[bool],
    batch: int,
) -> int:
    ids = connection.execute(sa.select(key).where(old).order_by(key).limit(batch)).scalars().all()
    if not ids:
        return 0
    return connection.execute(sa.delete(table).where(key.in_(ids))).rowcount


def _runs(connection: Connection, limit: float, batch: int) -> int:
    """Ended runs, unless a plan of theirs still waits."""
    waits = sa.select(plan.c.run_id).where(plan.c.status.in_(WAITING_PLANS), plan.c.run_id.is_not(None))
    ids = (
        connection.execute(
            sa.select(run.c.id)
            .where(
                run.c.completed_at < limit,
                run.c.status.in_(OVER),
                run.c.id.not_in(waits),
            )
            .order_by(run.c.seq)
            .limit(batch)
        )
        .scalars()
        .all()
    )
    if not ids:
        return 0
    for table in (run_error, run_event):
        connection.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
    return connection.execute(sa.delete(run).where(run.c.id.in_(ids))).rowcount


def _plans(connection: Connection, limit: float, batch: int) -> int:
    """Plans that were applied, replaced or refused; their steps may be large, so few at a time."""
    ids = (
        connection.execute(
            sa.select(plan.c.id)
            .where(plan.c.created_at < limit, plan.c.status.not_in(WAITING_PLANS))
            .order_by(plan.c.created_at)
            .limit(max(1, batch // 25))
        )
        .scalars()
        .all()
    )
    if not ids:
        return 0
    connection.execute(sa.delete(plan_chunk).where(plan_chunk.c.plan_id.in_(ids)))
    return connection.execute(sa.delete(plan).where(plan.c.id.in_(ids))).rowcount


def _slots(connection: Connection, limit: float) -> int:
    """Old slots, but never a project's newest: it says where the schedule stands."""
    newest = sa.select(sa.func.max(slot.c.slot)).where(
        slot.c.project == sa.literal_column("outer_slot.project")
    )
    outer = slot.alias("outer_slot")
    old = connection.execute(
        sa.select(outer.c.project, outer.c.slot)
        .where(outer.c.at < limit, outer.c.slot < newest.scalar_subquery())
        .limit(BATCH)
    ).all()
    for row in old:
        connection.execute(sa.delete(slot).where(slot.c.project == row.project, slot.c.slot == row.slot))
    return len(old)
