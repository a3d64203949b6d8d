"""The run table as a queue: who waits, what is due, and who has it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.run import RunStatus
from plant3d_sync.state import projects, runs
from plant3d_sync.state.lease import is_held
from plant3d_sync.state.runs import Run
from plant3d_sync.state.store import State
from plant3d_sync.state.tables import lease, project, run

LOOKED_AT = 50
"""How many due runs are looked at for one that may start."""


def lock_project(connection: Connection, name: str) -> None:
    """Hold the project's row for the rest of the transaction, making it if it is new.

    SQLite has one writer anyway; PostgreSQL locks the row, so that two requests decide one after the other.
    """
    if connection.dialect.name == "sqlite":
        projects.ensure(connection, name)
        return
    statement = sa.select(project.c.name).where(project.c.name == name).with_for_update()
    while connection.execute(statement).first() is None:
        number = sa.select(sa.func.coalesce(sa.func.max(project.c.number), 0) + 1).scalar_subquery()
        from sqlalchemy.dialects import postgresql  # here: it costs every start 30 ms

        connection.execute(
            postgresql.insert(project).values(name=name, number=number).on_conflict_do_nothing()
        )


def try_lock(connection: Connection, name: str) -> bool:
    """`lock_project` of a known project without waiting: False if another process holds it."""
    if connection.dialect.name == "sqlite":
        return True
    row = connection.execute(
        sa.select(project.c.name).where(project.c.name == name).with_for_update(skip_locked=True)
    ).first()
    return row is not None


def oldest(connection: Connection, name: str, status: RunStatus) -> Run | None:
    """The project's first run with this status."""
    row = connection.execute(
        sa.select(run.c.id)
        .where(run.c.project == name, run.c.status == status.value)
        .order_by(run.c.seq)
        .limit(1)
    ).first()
    return runs.get(connection, row.id) if row else None


def newest_of(connection: Connection, name: str, direction: str) -> tuple[float, str] | None:
    """(asked at, trigger) of the project's newest run of this direction that was no preview."""
    row = connection.execute(
        sa.select(run.c.created_at, run.c.trigger)
        .where(run.c.project == name, run.c.direction == direction, run.c.dry_run == 0)
        .order_by(run.c.seq.desc())
        .limit(1)
    ).first()
    return None if row is None else (float(row.created_at), str(row.trigger))


def due(
    connection: Connection, names: Sequence[str], *, now: float, longest_pause: float
) -> list[tuple[str, str]]:
    """(run, project), longest due first: a run that was put back goes behind those that became due before it.

    A run from the future, or one that would wait longer than any pause lasts, was stored before our clock was set
    back: it is due. A project with a running run is passed over.
    """
    since = sa.func.coalesce(run.c.next_try_at, run.c.created_at)
    busy = run.alias("busy")
    rows = connection.execute(
        sa.select(run.c.id, run.c.project)
        .where(
            run.c.status == RunStatus.QUEUED.value,
            run.c.project.in_(list(names)),
            sa.or_(
                since <= now,
                sa.and_(run.c.created_at > now, run.c.attempts == 0),
                since > now + longest_pause,
            ),
            ~sa.exists().where(busy.c.project == run.c.project, busy.c.status == RunStatus.RUNNING.value),
        )
        .order_by(since, run.c.attempts, run.c.seq)
        .limit(LOOKED_AT)
    )
    return [(row.id, row.project) for row in rows]


def take(connection: Connection, run_id: str, *, now: float) -> bool:
    """Make a waiting run a running one, with one attempt more. False if it does not wait any more."""
    taken = connection.execute(
        sa.update(run)
        .where(run.c.id == run_id, run.c.status == RunStatus.QUEUED.value)
        .values(
            status=RunStatus.RUNNING.value,
            started_at=sa.func.coalesce(run.c.started_at, now),
            heartbeat_at=now,
            next_try_at=None,
            phase=None,
            phase_done=None,
            phase_total=None,
            attempts=run.c.attempts + 1,
        )
    )
    return taken.rowcount == 1


def running(connection: Connection) -> list[str]:
    """Every run that stands as running, of whatever project."""
    return list(
        connection.execute(sa.select(run.c.id).where(run.c.status == RunStatus.RUNNING.value)).scalars()
    )


def holds_lease(connection: Connection, state: State, of: Run, *, seconds: float) -> bool:
    """Whether a living process holds the project's lease for this run. `seconds`: how long a lease lasts."""
    row = connection.execute(
        sa.select(lease.c.holder, lease.c.expires_at, state.now_sql().label("now")).where(
            lease.c.project == of.project
        )
    ).first()
    if row is None or not is_held(row.holder, row.expires_at, row.now, seconds):
        return False
    return bool(orjson.loads(row.holder).get("run") == of.run_id)
