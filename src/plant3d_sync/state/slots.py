"""The schedule's slots: a unique row for each project and slot decides who starts its run."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import insert_if_new
from plant3d_sync.state.tables import slot


def is_known(connection: Connection, project: str, begin: int) -> bool:
    """Whether somebody has taken this slot. `begin` in milliseconds since 1970."""
    statement = sa.select(slot.c.slot).where(slot.c.project == project, slot.c.slot == begin)
    return connection.execute(statement).first() is not None


def last_until(connection: Connection, project: str, begin: int) -> int | None:
    """The begin of the newest slot that was taken up to this one."""
    return connection.execute(
        sa.select(sa.func.max(slot.c.slot)).where(slot.c.project == project, slot.c.slot <= begin)
    ).scalar()


def take(connection: Connection, project: str, begin: int, *, at: float, skipped: int = 0) -> bool:
    """True if this slot is ours."""
    return insert_if_new(connection, slot, {"project": project, "slot": begin, "at": at, "skipped": skipped})


def note(connection: Connection, project: str, begin: int, run_id: str | None, *, skipped: int) -> None:
    """What came of a slot: the run that stands for it, and whether it gave way."""
    connection.execute(
        sa.update(slot)
        .where(slot.c.project == project, slot.c.slot == begin)
        .values(run_id=run_id, skipped=skipped)
    )
