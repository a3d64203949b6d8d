"""Plans by where they stand: which wait, which are begun, and which a request names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
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


class Says(msgspec.Struct, frozen=True):
    """What a stored plan says that it would do; None where an earlier version stored it and it does not say.

    `writes`: side -> how much would be written there. `remembered`: steps that only update what is remembered.
    """

    writes: Mapping[str, int] | None = None
    remembered: int | None = None
    waiting_for_person: Mapping[str, int] = {}

    @classmethod
    def of(cls, header: str) -> Says:
        """Only these of a header's members are read: it may hold thousands of row errors."""
        try:
            return _READ.decode(header)
        except msgspec.MsgspecError:
            return cls()  # altered from outside: it waits on, and whoever looks at it is told

    def is_work(self, status: str) -> bool:
        """Whether a person is asked for: a guard stopped it, or something would be written, or it does not say."""
        stopped = status == PlanStatus.GUARDED
        return stopped or self.writes is None or any(self.writes.values()) or any(self.waiting_for_person)


_READ = msgspec.json.Decoder(Says)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that waits for a person. `steps`: those that people are shown."""

    plan_id: str
    project: str
    direction: str
    status: str
    created_at: float
    steps: int


_NOT_BEGUN = (
    sa.select(
        plan.c.id,
        plan.c.project,
        plan.c.direction,
        plan.c.status,
        plan.c.created_at,
        plan.c.lines,
        plan.c.header,
    )
    .where(plan.c.status.in_(WAITING))
    .order_by(plan.c.created_at, plan.c.id)
)


def waiting(connection: Connection, project: str | None = None) -> list[Waiting]:
    """Plans that nobody has begun and that are work for a person, oldest first; of all projects if none is named.

    One that would write nothing is none: every run does by itself what it would do.
    """
    statement = _NOT_BEGUN if project is None else _NOT_BEGUN.where(plan.c.project == project)
    found: list[Waiting] = []
    for row in connection.execute(statement):
        says = Says.of(row.header)
        if says.is_work(row.status):
            found.append(
                Waiting(
                    plan_id=row.id,
                    project=row.project,
                    direction=row.direction,
                    status=row.status,
                    created_at=row.created_at,
                    steps=row.lines - (says.remembered or 0),
                )
            )
    return found


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
