"""Times as they are written: RFC 3339 texts, of ours and of SYNAPSE, and the ticks of Plant 3D."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

TICKS: Final = 10_000_000
"""Ticks of one second, as Plant 3D stamps its rows: 100 ns steps since the year 1, in UTC."""
EPOCH_TICKS: Final = 621_355_968_000_000_000
"""The beginning of 1970 in them."""


def moment(stamp: str) -> datetime:
    """What a text says; one without a zone means UTC. Raises ValueError."""
    when = datetime.fromisoformat(stamp)
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def posix(stamp: str) -> float:
    """The same in POSIX seconds. Raises ValueError."""
    return moment(stamp).timestamp()
