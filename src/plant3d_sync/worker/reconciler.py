"""What bells lose, the table keeps: find runs that nobody carries on and runs that nobody heard of."""

from __future__ import annotations

from plant3d_sync.logs import get_logger
from plant3d_sync.run.project import World
from plant3d_sync.state import audit
from plant3d_sync.state.retention import SYSTEM
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue

EVERY = 2.0
"""Seconds between two looks."""


class Reconciler:
    """Every worker has one; two looking at once change nothing twice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = float("-inf")

    def look(self, *, now: float) -> list[Run]:
        """Put abandoned runs back, at most every `EVERY` seconds (`now`: monotonic). Returns those changed."""
        if now - self._last < EVERY:
            return []
        self._last = now
        changed = queue.recover_stale(self._world)
        for run in changed:
            get_logger().warning(
                "run.abandoned",
                run_id=run.run_id,
                project=run.project,
                status=run.status,
                attempts=run.attempts,
            )
        return changed


REFUSALS_EVERY = 60.0
"""Seconds between two entries about rings that are not ours; the first one is reported at once."""

REASONS_KEPT = 20
"""Different reasons that one entry names; their texts come from whoever rang."""

OTHERS = "other reasons"


class Refusals:
    """Rings that are not ours: counted by reason, and told as sums. Whoever floods the bell fills no table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._counts: dict[str, int] = {}
        self._job: str | None = None
        self._told_at = float("-inf")

    def note(self, reason: str, job_id: str | None) -> None:
        """Count one; nothing else is done for it."""
        if reason not in self._counts and len(self._counts) >= REASONS_KEPT:
            reason = OTHERS
        self._counts[reason] = self._counts.get(reason, 0) + 1
        self._job = self._job or job_id

    def tell(self, *, now: float, last: bool = False) -> None:
        """Write the sums into log and audit trail, at most once a minute (`now`: monotonic) and at the end.

        Counts that could not be written are kept.
        """
        if not self._counts or (not last and now - self._told_at < REFUSALS_EVERY):
            return
        total = sum(self._counts.values())
        with self._world.state.write() as connection:
            audit.append(
                connection,
                SYSTEM,
                action="queue.refused",
                actor="unknown",
                at=self._world.clock(),
                count=total,
                reasons=dict(self._counts),
                job=self._job,
            )
        get_logger().warning("queue.refused", count=total, reasons=self._counts, job_id=self._job)
        self._counts, self._job, self._told_at = {}, None, now
