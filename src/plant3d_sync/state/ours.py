"""Which values of Plant 3D's cells are ours: read from the record of cells, which is never pruned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.ours import Origin, Ours
from plant3d_sync.state.codec import bulk_insert
from plant3d_sync.state.links import CHUNK
from plant3d_sync.state.tables import plant_write

FOLLOWED = "followed"
"""Status of a value of ours that came with its item when that got another row: what stood under the old row."""

IN_WORKBOOK = "workbook"
"""Status of a cell that was put into a workbook; `run_id` is then the plan's id."""

_CELL = ("pnpid", "table_name", "column_name", "old_value", "new_value")

_ORIGINS = {
    "applied": Origin.WRITTEN,
    "found_applied": Origin.WRITTEN,
    "intended": Origin.INTENDED,
    FOLLOWED: Origin.WRITTEN,
    IN_WORKBOOK: Origin.WORKBOOK,
}


def by_pnpid(connection: Connection, project: str, pnpids: Iterable[int]) -> dict[int, list[Ours]]:
    """What is ours in the cells of these items, oldest first."""
    wanted = sorted(set(pnpids))
    found: defaultdict[int, list[Ours]] = defaultdict(list)
    for start in range(0, len(wanted), CHUNK):
        for row in connection.execute(
            sa.select(plant_write)
            .where(
                plant_write.c.project == project,
                plant_write.c.pnpid.in_(wanted[start : start + CHUNK]),
                plant_write.c.status.in_(list(_ORIGINS)),
            )
            .order_by(plant_write.c.id)
        ):
            found[row.pnpid].extend(_values(row))
    return dict(found)


def _values(row: Row[Any]) -> list[Ours]:
    where, origin = (row.table_name, row.column_name), _ORIGINS[row.status]
    new = Ours(*where, value=row.new_value, origin=origin, at=row.at, ticks=row.new_ticks)
    if origin is not Origin.WRITTEN:
        return [new]
    return [Ours(*where, value=row.old_value, origin=Origin.REPLACED, at=row.at), new]


def follow(connection: Connection, project: str, rows: Mapping[int, int]) -> None:
    """Items stand in other rows now (old PnPID -> new one): what is ours in their cells is so there too.

    The stamps were the old rows'; they say nothing of the new ones.
    """
    columns = [plant_write.c[name] for name in ("run_id", *_CELL, "status", "at")]
    found = connection.execute(
        sa.select(*columns)
        .where(
            plant_write.c.project == project,
            plant_write.c.pnpid.in_(list(rows)),
            plant_write.c.status.in_([status for status in _ORIGINS if status != "intended"]),
        )
        .order_by(plant_write.c.id)
    ).fetchall()
    moved = [
        {
            **row._mapping,
            "project": project,
            "pnpid": rows[row.pnpid],
            "status": IN_WORKBOOK if row.status == IN_WORKBOOK else FOLLOWED,
        }
        for row in found
    ]
    if moved:
        connection.execute(sa.insert(plant_write), moved)


def note_workbook(
    connection: Connection, project: str, *, plan_id: str, cells: Sequence[Mapping[str, object]], at: float
) -> None:
    """These cells (`pnpid`, `table_name`, `column_name`, `old_value`, `new_value`) are in a workbook now.

    A value that was in an earlier workbook is noted once, with the newer time.
    """
    if not cells:
        return
    again = sa.delete(plant_write).where(
        plant_write.c.project == project,
        plant_write.c.status == IN_WORKBOOK,
        plant_write.c.pnpid == sa.bindparam("whose"),
        plant_write.c.table_name == sa.bindparam("of_table"),
        plant_write.c.column_name == sa.bindparam("of_column"),
        plant_write.c.new_value.is_not_distinct_from(sa.bindparam("of_value", type_=sa.Text)),
    )
    connection.execute(
        again,
        [
            {
                "whose": cell["pnpid"],
                "of_table": cell["table_name"],
                "of_column": cell["column_name"],
                "of_value": cell["new_value"],
            }
            for cell in cells
        ],
    )
    bulk_insert(
        connection,
        plant_write,
        ("project", "run_id", "pnpid", "table_name", "column_name", "old_value", "new_value", "status", "at"),
        [(project, plan_id, *(cell[name] for name in _CELL), IN_WORKBOOK, at) for cell in cells],
    )
