"""What bells lose, the table keeps: find runs that nobody carries on and runs that nobody heard of."""

from __future__ import annotations

from plant3d_sync.logs import get_logger
from plant3d_sync.state import audit
from plant3d_sync.state.retention import SYSTEM
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.project import World

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


def refused(world: World, reason: str, job_id: str | None) -> None:
    """Something rang that is not ours: keep who-did-what, do nothing else."""
    get_logger().warning("queue.refused", reason=reason, job_id=job_id)
    with world.state.write() as connection:
        audit.append(
            connection,
            SYSTEM,
            action="queue.refused",
            actor="unknown",
            at=world.clock(),
            reason=reason,
            job=job_id,
        )
