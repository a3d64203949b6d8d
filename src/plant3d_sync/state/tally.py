"""Counters of a project that only grow, kept in the state database.

They stay right with any number of processes, and whatever is pruned: nothing is counted again from the runs. What a
process counted travels in the transaction that stores what it counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import dump, insert_if_new, load_map, set_columns
from plant3d_sync.state.tables import component

KIND = "tally"
CALLS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds; upper bounds for calls to SYNAPSE."""
PHASES = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds; upper bounds for the phases of a run."""
LOCKS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds; upper bounds for how long a Plant 3D file is kept locked."""

Key = tuple[str, ...]
"""Name of the counter, then its labels, then (durations) `sum` or an upper bound."""

_STORED = sa.select(component.c.data).where(component.c.name == sa.bindparam("whose")).with_for_update()


class Counts:
    """What was counted and is not stored yet."""

    def __init__(self) -> None:
        self._held: dict[Key, float] = {}

    def add(self, *key: str, by: float = 1) -> None:
        """Count."""
        if by:
            self._held[key] = self._held.get(key, 0) + by

    def observe(self, *key: str, seconds: float, bounds: Sequence[float]) -> None:
        """Count a duration: its sum, and how many were within each bound but not within the one before."""
        within = next((str(bound) for bound in bounds if seconds <= bound), "+Inf")
        self.add(*key, "sum", by=max(seconds, 0.0))
        self.add(*key, within)

    def store(self, connection: Connection, project: str, at: float) -> None:
        """Add everything to the stored counters. Last in its transaction: others wait for the row meanwhile."""
        if not self._held:
            return
        name = f"{KIND}:{project}"
        row = connection.execute(_STORED, {"whose": name}).first()
        if row is None:
            insert_if_new(connection, component, {"name": name, "kind": KIND, "seen_at": at})
            row = connection.execute(_STORED, {"whose": name}).one()
        stored = load_map(row.data)
        for key, number in self._held.items():
            text = "|".join(key)
            stored[text] = stored.get(text, 0) + number
        set_columns(connection, component, "name", name, {"seen_at": at, "data": dump(stored)})
        self._held = {}


def read(connection: Connection) -> dict[str, dict[Key, float]]:
    """The stored counters by project."""
    rows = connection.execute(sa.select(component.c.name, component.c.data).where(component.c.kind == KIND))
    return {
        row.name.removeprefix(f"{KIND}:"): {
            tuple(text.split("|")): number for text, number in load_map(row.data).items()
        }
        for row in rows
    }
