"""What somebody asks of a run, and who asks: as a request says it, and as the run keeps it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from plant3d_sync.model.side import Direction, Entity
from plant3d_sync.state.runs import Run


class Asker(msgspec.Struct, frozen=True):
    """Who asks for a run, and by what: a person's name or key, the door (`api`, `now`, `schedule`, …), the request's id."""

    by: str
    trigger: str = "api"
    request_id: str | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of a run, as kept in the run's options."""

    direction: Direction
    entity_types: tuple[str, ...]
    full: bool
    asset_ids: tuple[str, ...] | None
    dry_run: bool
    plan_id: str | None
    approve_guards: bool

    @classmethod
    def to(
        cls,
        direction: Direction | str,
        *,
        entity_types: Iterable[str] | None = None,
        full: bool = False,
        asset_ids: Iterable[str] | None = None,
        dry_run: bool = False,
        plan_id: str | None = None,
        approve_guards: bool = False,
    ) -> Wish:
        """What a caller names. `entity_types` None or empty means all; `asset_ids` None or empty means all modified."""
        assets = tuple(sorted(set(asset_ids or ())))
        return cls(
            direction=Direction(direction),
            entity_types=tuple(sorted({Entity(name).value for name in entity_types or Entity})),
            full=full,
            asset_ids=assets or None,
            dry_run=dry_run,
            plan_id=plan_id,
            approve_guards=approve_guards,
        )

    def options(self) -> dict[str, object]:
        """JSON form, without what is not set."""
        data: dict[str, object] = {"queued": True, "entity_types": list(self.entity_types), "full": self.full}
        if self.asset_ids is not None:
            data["asset_ids"] = list(self.asset_ids)
        if self.plan_id is not None:
            data |= {"plan_id": self.plan_id, "approve_guards": self.approve_guards}
        return data

    @staticmethod
    def of(run: Run) -> Wish:
        """What a stored run was asked to do."""
        options = run.options
        assets = options.get("asset_ids")
        return Wish(
            direction=Direction(run.direction),
            entity_types=tuple(options.get("entity_types") or sorted(Entity)),
            full=bool(options.get("full")),
            asset_ids=None if assets is None else tuple(assets),
            dry_run=run.dry_run,
            plan_id=options.get("plan_id"),
            approve_guards=bool(options.get("approve_guards")),
        )


def merge(one: Wish, two: Wish) -> Wish:
    """The smallest wish that covers both: full wins, entity types and assets add up, pull and push make both."""
    pushes = [wish for wish in (one, two) if wish.direction is not Direction.PULL]
    assets: tuple[str, ...] | None = None
    if pushes and all(wish.asset_ids is not None for wish in pushes):
        assets = tuple(sorted({asset for wish in pushes for asset in wish.asset_ids or ()}))
    return Wish(
        direction=one.direction if one.direction is two.direction else Direction.BOTH,
        entity_types=tuple(sorted({*one.entity_types, *two.entity_types})),
        full=one.full or two.full,
        asset_ids=assets,
        dry_run=one.dry_run and two.dry_run,
        plan_id=one.plan_id,
        approve_guards=one.approve_guards or two.approve_guards,
    )
