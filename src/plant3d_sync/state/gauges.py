"""What the metrics show of the state database as a whole: counts and ages over every project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.run import LIVE
from plant3d_sync.state import plans
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.tables import audit_head, backup, conflict, finding, project, run


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one project, direction and outcome. `within`: how many lasted no longer than each bound."""

    project: str
    direction: str
    outcome: str
    count: int
    seconds: float
    within: Sequence[int]


def ended_up_to(connection: Connection) -> int:
    """The number up to which every run is over."""
    open_from = connection.execute(sa.select(sa.func.min(run.c.seq)).where(run.c.status.in_(LIVE))).scalar()
    newest = int(connection.execute(sa.select(sa.func.max(run.c.seq))).scalar() or 0)
    return newest if open_from is None else int(open_from) - 1


def ended(connection: Connection, *, after: int, up_to: int, bounds: Sequence[float]) -> Iterator[Ended]:
    """Runs with these numbers that were no previews, added up. `bounds` in seconds."""
    lasted = run.c.completed_at - run.c.started_at
    duration = sa.case((lasted < 0, 0.0), else_=lasted)  # our clock was set back meanwhile
    outcome = sa.func.coalesce(run.c.outcome, run.c.status)
    rows = connection.execute(
        sa.select(
            run.c.project,
            run.c.direction,
            outcome,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(duration), 0.0),
            *(sa.func.sum(sa.case((duration <= bound, 1), else_=0)) for bound in bounds),
        )
        .where(run.c.seq > after, run.c.seq <= up_to, run.c.dry_run == 0)
        .group_by(run.c.project, run.c.direction, outcome)
    )
    for row in rows:
        yield Ended(
            project=row[0],
            direction=row[1],
            outcome=row[2],
            count=int(row[3]),
            seconds=float(row[4]),
            within=[int(number) for number in row[5:]],
        )


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A project's memory as the metrics show it. Times are POSIX seconds, `skew` and `plant_lag` seconds."""

    name: str
    pull_ok_at: float | None
    push_ok_at: float | None
    skew: float | None
    plant_lag: float | None
    last_counts: Mapping[str, Any]


def projects(connection: Connection) -> list[Known]:
    """Every project, by name."""
    rows = connection.execute(
        sa.select(
            project.c.name,
            project.c.pull_ok_at,
            project.c.push_ok_at,
            project.c.skew,
            project.c.plant_lag,
            project.c.last_counts,
        ).order_by(project.c.name)
    )
    return [
        Known(
            name=row.name,
            pull_ok_at=row.pull_ok_at,
            push_ok_at=row.push_ok_at,
            skew=row.skew,
            plant_lag=row.plant_lag,
            last_counts=load_map(row.last_counts),
        )
        for row in rows
    ]


def live_runs(connection: Connection) -> list[tuple[str, str, int, float | None]]:
    """(project, status, runs, earliest start) of runs that wait or go on."""
    rows = connection.execute(
        sa.select(run.c.project, run.c.status, sa.func.count(), sa.func.min(run.c.started_at))
        .where(run.c.status.in_(LIVE))
        .group_by(run.c.project, run.c.status)
    )
    return [(row[0], row[1], int(row[2]), row[3]) for row in rows]


def pending_conflicts(connection: Connection) -> list[tuple[str, int, float]]:
    """(project, conflicts, found first) of conflicts that wait for a decision."""
    rows = connection.execute(
        sa.select(conflict.c.project, sa.func.count(), sa.func.min(conflict.c.detected_at))
        .where(conflict.c.status == "pending")
        .group_by(conflict.c.project)
    )
    return [(row[0], int(row[1]), float(row[2])) for row in rows]


def waiting_plans(connection: Connection) -> list[tuple[str, int, float]]:
    """(project, plans, made first) of plans that wait for a person."""
    found: dict[str, list[float]] = {}
    for one in plans.waiting(connection):
        found.setdefault(one.project, []).append(one.created_at)
    return [(name, len(made), min(made)) for name, made in found.items()]


def open_findings(connection: Connection) -> list[tuple[str, str, int]]:
    """(project, code, findings) of open findings, acknowledged or not."""
    rows = connection.execute(
        sa.select(project.c.name, finding.c.code, sa.func.count())
        .join(finding, finding.c.project == project.c.number)
        .where(finding.c.closed_at.is_(None))
        .group_by(project.c.name, finding.c.code)
        .order_by(project.c.name, finding.c.code)
    )
    return [(row[0], row[1], int(row[2])) for row in rows]


def backups(connection: Connection) -> list[tuple[str, float, int]]:
    """(project, newest, bytes) of backups that are still there."""
    rows = connection.execute(
        sa.select(backup.c.project, sa.func.max(backup.c.created_at), sa.func.sum(backup.c.bytes))
        .where(backup.c.removed_at.is_(None))
        .group_by(backup.c.project)
    )
    return [(row[0], float(row[1]), int(row[2] or 0)) for row in rows]


def audit_chains(connection: Connection) -> list[tuple[str, int]]:
    """(chain, entries) of the audit."""
    return [
        (row.project, int(row.seq))
        for row in connection.execute(sa.select(audit_head.c.project, audit_head.c.seq))
    ]
