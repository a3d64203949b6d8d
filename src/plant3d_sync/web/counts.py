"""How many runs a project has, without counting a million rows for every page."""

from __future__ import annotations

import threading
import time

import msgspec

from plant3d_sync.state import Connection, runs

TRUST_SECONDS = 600.0
"""A number counted in full is only carried on for so long: pruning may take rows from the middle."""


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    first: int
    last: int
    total: int
    counted_at: float


class RunCounts:
    """Counts in full once, then only the rows that came since. A pruned store is counted again."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def of(self, connection: Connection, project: str) -> int:
        """Number of runs of a project."""
        edges = runs.first_and_last(connection, project)
        if edges is None:
            return 0
        first, last = edges
        with self._lock:
            known = self._known.get(project)
        now = time.monotonic()
        if known is None or known.first != first or now - known.counted_at > TRUST_SECONDS:
            known = _Known(
                first=first, last=last, total=runs.count_after(connection, project, 0), counted_at=now
            )
        elif known.last != last:
            more = runs.count_after(connection, project, known.last)
            known = _Known(first=first, last=last, total=known.total + more, counted_at=known.counted_at)
        with self._lock:
            self._known[project] = known
        return known.total
