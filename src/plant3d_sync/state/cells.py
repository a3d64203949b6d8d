"""The journal of cells in Plant 3D: what each held before, what was meant, and what became of it. Sealed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.change import WrittenCell
from plant3d_sync.model.step import Push
from plant3d_sync.state import seals
from plant3d_sync.state.tables import plant_write

WRITTEN = ("applied", "found_applied")
"""Statuses of a cell that holds what was meant."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell. `ticks`: the stamp of its row afterwards."""

    pnpid: int
    column: str
    status: str
    ticks: int | None


def intend(
    connection: Connection, project: str, steps: Iterable[Push], *, run_id: str, intent_id: int, at: float
) -> None:
    """Before-images of every cell of these steps, committed before the first of them is written."""
    connection.execute(
        sa.insert(plant_write),
        [
            {
                "project": project,
                "run_id": run_id,
                "intent_id": intent_id,
                "pnpid": step.pnpid,
                "table_name": cell.table_class,
                "column_name": cell.column,
                "old_value": cell.old,
                "new_value": cell.new,
                "old_ticks": cell.ticks,
                "status": "intended",
                "at": at,
            }
            for step in steps
            for cell in step.cells
        ],
    )
    seals.seal_cells(connection, project, intent_id, at=at)


def note(
    connection: Connection, project: str, intent_id: int, answers: Iterable[Answer], *, at: float
) -> None:
    """What became of cells that an intent meant."""
    for answer in answers:
        connection.execute(
            sa.update(plant_write)
            .where(
                plant_write.c.intent_id == intent_id,
                plant_write.c.pnpid == answer.pnpid,
                plant_write.c.column_name == answer.column,
            )
            .values(status=answer.status, new_ticks=answer.ticks)
        )
    seals.seal_cells(connection, project, intent_id, at=at)


def unrecorded(connection: Connection, intent_id: int) -> set[tuple[int, str]]:
    """(PnPID, column) of cells of which nobody has stored yet what became of them."""
    rows = connection.execute(
        sa.select(plant_write.c.pnpid, plant_write.c.column_name).where(
            plant_write.c.intent_id == intent_id, plant_write.c.status == "intended"
        )
    )
    return {(row.pnpid, row.column_name) for row in rows}


def written(connection: Connection, intent_id: int, pnpid: int) -> tuple[WrittenCell, ...]:
    """The cells of an item that hold what the intent meant, in the order in which they were meant."""
    rows = connection.execute(
        sa.select(plant_write)
        .where(
            plant_write.c.intent_id == intent_id,
            plant_write.c.pnpid == pnpid,
            plant_write.c.status.in_(WRITTEN),
        )
        .order_by(plant_write.c.id)
    )
    return tuple(
        WrittenCell(table_class=row.table_name, column=row.column_name, old=row.old_value, new=row.new_value)
        for row in rows
    )


def newest_stamp(connection: Connection, project: str, pnpid: int) -> int | None:
    """The stamp that our newest write left in an item's row; None if we never wrote there."""
    return connection.execute(
        sa.select(sa.func.max(plant_write.c.new_ticks)).where(
            plant_write.c.project == project,
            plant_write.c.pnpid == pnpid,
            plant_write.c.status.in_(WRITTEN),
        )
    ).scalar()


def count_written(connection: Connection, run_id: str) -> int:
    """Cells of Plant 3D that a run wrote."""
    statement = sa.select(sa.func.count()).where(
        plant_write.c.run_id == run_id, plant_write.c.status.in_(WRITTEN)
    )
    return int(connection.execute(statement).scalar() or 0)


def intents_of(connection: Connection, ids: Sequence[int]) -> set[int]:
    """The intents under which these cells were to be written."""
    rows = connection.execute(sa.select(plant_write.c.intent_id).where(plant_write.c.id.in_(ids)))
    return set(rows.scalars())
