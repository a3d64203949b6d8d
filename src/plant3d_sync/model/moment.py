"""Times as they are written: RFC 3339 texts, of ours and of SYNAPSE."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(stamp: str) -> datetime:
    """What a text says; one without a zone means UTC. Raises ValueError."""
    when = datetime.fromisoformat(stamp)
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def posix(stamp: str) -> float:
    """The same in POSIX seconds. Raises ValueError."""
    return moment(stamp).timestamp()
