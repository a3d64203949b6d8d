"""Which backups of Plant 3D's database were made, by which run, and whether a write followed."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.tables import backup, plant_write, run

_NOT_WRITTEN = ("waiting", "refused")
"""Statuses of a cell that was not written for certain."""


def record(
    connection: Connection, project: str, *, run_id: str, path: str, size: int, sha256: str, at: float
) -> None:
    """Note a verified backup; `size` in bytes."""
    connection.execute(
        sa.insert(backup).values(
            project=project, run_id=run_id, path=path, bytes=size, sha256=sha256, created_at=at
        )
    )


def without_write(connection: Connection, project: str) -> frozenset[str]:
    """Paths of backups whose run is known to have written nothing into Plant 3D.

    A run that history does not hold any more, or one that stopped between intent and receipt, may have written.
    """
    maybe_written = sa.exists().where(
        plant_write.c.run_id == backup.c.run_id, plant_write.c.status.not_in(_NOT_WRITTEN)
    )
    known = sa.exists().where(run.c.id == backup.c.run_id)
    rows = connection.execute(
        sa.select(backup.c.path).where(
            backup.c.project == project, backup.c.removed_at.is_(None), known, ~maybe_written
        )
    )
    return frozenset(row.path for row in rows)


def note_removed(connection: Connection, project: str, paths: Collection[str], *, at: float) -> None:
    """These files are gone."""
    connection.execute(
        sa.update(backup)
        .where(backup.c.project == project, backup.c.path.in_(paths), backup.c.removed_at.is_(None))
        .values(removed_at=at)
    )
