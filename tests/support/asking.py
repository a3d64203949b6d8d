"""A run is asked for, as a door of the service asks."""

from __future__ import annotations

from plant3d_sync.run.project import World
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.wish import Asker, Wish


def enqueue(
    world: World, project: str, direction: str, *, by: str, trigger: str = "api", **wish: object
) -> Run:
    """The waiting run."""
    asked = Wish.to(direction, **wish)  # type: ignore[arg-type]
    return queue.enqueue(world, project, asked, Asker(by=by, trigger=trigger))
