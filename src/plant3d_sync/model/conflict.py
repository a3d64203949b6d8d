"""A question for a person, as a plan found it."""

from __future__ import annotations

import msgspec
from msgspec.structs import asdict

from plant3d_sync.model.link import Interval
from plant3d_sync.model.record import Value

WHOLE = "*"
"""The field of a question about a whole item."""
ARCHIVED_IN_SYNAPSE, GONE_FROM_PLANT3D = "archived_in_synapse", "gone_from_plant3d"
"""Questions about a whole item."""
SHOWS_THROUGH = "shows_through"
"""A field that cannot be emptied by emptying one cell."""


class ConflictDraft(msgspec.Struct, kw_only=True):
    """A conflict as the plan found it; the state decides whether it is new, known or closed."""

    link_id: int | None
    plant3d_id: str
    asset_id: str | None
    tag: str
    field: str
    kind: str
    base: Value
    has_base: bool
    plant3d: Value
    synapse: Value
    plant3d_seen: Interval | None
    synapse_seen: Interval | None
    synapse_at: str | None
    synapse_by: str | None
    suggestion: str
    suggestion_reason: str
    drawing: str | None
    plant3d_ticks: int | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        data: dict[str, object] = asdict(self)
        for name in ("plant3d_seen", "synapse_seen"):
            seen = data[name]
            data[name] = [seen.at_base, seen.away] if isinstance(seen, Interval) else None
        return data
