"""Plans by where they stand: which wait, which are begun, and which a request names."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.model.run import LIVE
from plant3d_sync.state import seals
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.tables import plan, run

WAITING = (PlanStatus.DRAFT.value, PlanStatus.GUARDED.value)
"""Plans that nobody has begun: `apply` carries them out."""

BEGUN = (PlanStatus.APPROVED.value, PlanStatus.APPLYING.value)
"""Plans that are being carried out, or were left half-way."""

_BEGUN = (
    sa.select(plan.c.id)
    .where(
        plan.c.project == sa.bindparam("whose"), plan.c.status.in_(BEGUN), plan.c.id != sa.bindparam("but")
    )
    .order_by(plan.c.created_at, plan.c.id)
)


def begun(connection: Connection, project: str, *, but: str | None) -> list[str]:
    """Plans of the project that stand as being applied, oldest first, except this one."""
    rows = connection.execute(_BEGUN, {"whose": project, "but": but or ""})
    return [row.id for row in rows]


_DECIDED_BEFORE = sa.select(plan.c.id).where(
    plan.c.project == sa.bindparam("whose"),
    plan.c.status.in_(WAITING),
    plan.c.created_at < sa.bindparam("before"),
    plan.c.id != sa.bindparam("but"),
    plan.c.undo_of.is_(None),
)
_ASKED_FOR = sa.select(run.c.options).where(run.c.project == sa.bindparam("whose"), run.c.status.in_(LIVE))


def decided_before(connection: Connection, project: str, at: float, *, but: str) -> list[str]:
    """Plans of the project that wait since before `at`, except this one. Plans that undo a run are none of them."""
    rows = connection.execute(_DECIDED_BEFORE, {"whose": project, "before": at, "but": but})
    return list(rows.scalars())


def asked_for(connection: Connection, project: str) -> set[str]:
    """Plans that a request which waits, or goes on, is to apply."""
    rows = connection.execute(_ASKED_FOR, {"whose": project}).scalars()
    return {str(options["plan_id"]) for text in rows if (options := load_map(text)).get("plan_id")}


def newest(connection: Connection) -> str | None:
    """The plan that was stored last, of whatever project."""
    return connection.execute(
        sa.select(plan.c.id).order_by(plan.c.created_at.desc()).limit(1)
    ).scalar_one_or_none()


def supersede(connection: Connection, plan_id: str, *, at: float) -> None:
    """Close a plan that is not over, whatever its row holds, and seal it as it is now."""
    connection.execute(
        sa.update(plan)
        .where(plan.c.id == plan_id, plan.c.status.in_(seals.WAITING_PLANS))
        .values(status=PlanStatus.SUPERSEDED.value)
    )
    seals.seal(connection, "plan", [plan_id], at=at)
