"""Signs of life and small facts of our processes: one row by name, with when it was written.

A worker's and a scheduler's presence, who carries out a project's run, when the clock was set, and when a daily task
was done last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import dump, insert_if_new, load_map
from plant3d_sync.state.tables import component

DAILY = 86_400.0


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says, and when (POSIX seconds) it was written."""

    seen_at: float
    facts: Mapping[str, Any]


def show(
    connection: Connection, name: str, *, kind: str, at: float, facts: Mapping[str, object] | None = None
) -> None:
    """Write the row now, making it if it is new."""
    values = {"kind": kind, "seen_at": at, "data": dump(facts)}
    changed = connection.execute(sa.update(component).where(component.c.name == name).values(**values))
    if changed.rowcount == 0:
        insert_if_new(connection, component, {"name": name, **values})


def remove(connection: Connection, name: str) -> None:
    """The process ended as it should."""
    connection.execute(sa.delete(component).where(component.c.name == name))


def get(connection: Connection, name: str) -> Sign | None:
    """One row."""
    row = connection.execute(
        sa.select(component.c.seen_at, component.c.data).where(component.c.name == name)
    ).first()
    return None if row is None else Sign(seen_at=row.seen_at, facts=load_map(row.data))


def newest(connection: Connection, kind: str) -> Sign | None:
    """The row of this kind that was written last."""
    row = connection.execute(
        sa.select(component.c.seen_at, component.c.data)
        .where(component.c.kind == kind)
        .order_by(component.c.seen_at.desc())
        .limit(1)
    ).first()
    return None if row is None else Sign(seen_at=row.seen_at, facts=load_map(row.data))


def first_today(connection: Connection, name: str, *, now: float) -> bool:
    """Whether a daily task was not done for a day; it is marked as done now, so that one process only is told so."""
    taken = connection.execute(
        sa.update(component)
        .where(
            component.c.name == name,
            # one from the future was written before the clock was set back
            sa.or_(component.c.seen_at <= now - DAILY, component.c.seen_at > now + DAILY),
        )
        .values(seen_at=now)
    ).rowcount
    return bool(taken) or insert_if_new(connection, component, {"name": name, "kind": name, "seen_at": now})
