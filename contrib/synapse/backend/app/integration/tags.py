# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Who may hold which tag: judged on the state after the whole batch, so swaps and chains work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.integration.assets import Asset


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one item does to tags: `before` is the asset as stored (None: to be created), `after_tag` the
    tag it would hold live afterwards (None: it is archived)."""

    index: int
    before: Asset | None
    after_tag: str | None

    @property
    def before_tag(self) -> str | None:
        return self.before.live_tag if self.before else None

    @property
    def takes(self) -> bool:
        """True if the item newly takes its tag; an item that keeps its tag never fails because of it."""
        return self.after_tag is not None and self.after_tag != self.before_tag


def refused_claims(claims: Iterable[Claim], holders: Mapping[str, Asset]) -> dict[int, Asset | None]:
    """Index of each item that cannot have its tag -> the asset that keeps it, or None (two items want it).

    `holders` are the live assets that hold, before the batch, any tag somebody wants. When a tag would be
    held twice, all items that newly take it fail and fall back to the tag they had, which may make that
    one too many as well, and so on. Keepers only ever grow, so the order of judging does not matter.
    """
    claims = list(claims)
    takers: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.after_tag is not None and claim.takes:
            takers[claim.after_tag].append(claim)
    keepers = _keepers(claims, holders)
    refused: dict[int, Asset | None] = {}
    waiting = list(takers)
    while waiting:
        tag = waiting.pop()
        if len(takers[tag]) + (tag in keepers) < 2:
            continue
        for claim in takers.pop(tag):
            refused[claim.index] = keepers.get(tag)
            if claim.before is not None and claim.before_tag is not None:
                keepers[claim.before_tag] = claim.before
                waiting.append(claim.before_tag)
    return refused


def _keepers(claims: Iterable[Claim], holders: Mapping[str, Asset]) -> dict[str, Asset]:
    """Tag -> the asset that holds it now and does not let go of it in this batch."""
    leaving = {claim.before.id for claim in claims if claim.before and claim.before_tag != claim.after_tag}
    keepers = {tag: asset for tag, asset in holders.items() if asset.id not in leaving}
    for claim in claims:
        if claim.before is not None and claim.before_tag is not None and claim.before.id not in leaving:
            keepers[claim.before_tag] = claim.before
    return keepers
