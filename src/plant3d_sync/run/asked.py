"""What a caller wants planned."""

from __future__ import annotations

import msgspec

from plant3d_sync.model.side import Direction, Entity


class Asked(msgspec.Struct, kw_only=True):
    """What a caller wants planned."""

    direction: Direction = Direction.PULL
    entities: frozenset[Entity] = frozenset(Entity)
    full: bool = False
    only_assets: frozenset[str] | None = None

    @property
    def all_kinds(self) -> bool:
        """Whether no kind of asset is left out."""
        return self.entities == frozenset(Entity)

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.all_kinds and self.only_assets is None

    @property
    def compares_all(self) -> bool:
        """Whether every item of the kinds is compared: the read dates what the next one finds moved."""
        return self.only_assets is None and self.direction is not Direction.PUSH
