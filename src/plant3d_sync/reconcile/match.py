"""Pair items and assets that never met: by identity, else by tag; doubtful pairs are shown, not made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from plant3d_sync.model.record import Asset
from plant3d_sync.model.side import ASSET_TYPES
from plant3d_sync.model.tags import look_alike_key, misread_key, telling_apart
from plant3d_sync.words import said

ENTITY_OF = {name: entity.value for entity, name in ASSET_TYPES.items()}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An item without a link. `tag` is None while it has no complete tag."""

    pnpid: int
    plant3d_id: str
    class_name: str
    tag: str | None
    asset_type: str


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed link. `certain`: one item, one asset, same type; only these are accepted without a person's pick."""

    tag: str
    pnpid: int
    plant3d_id: str
    class_name: str
    entity: str
    asset_id: str
    reason: str
    certain: bool
    asset_tag: str = ""
    """Tag of the asset, where it only looks like the item's."""


def propose(items: Sequence[Candidate], assets: Sequence[Asset]) -> list[Pair]:
    """All pairs with a reason, in the order of tags.

    Identity (`plant3d_id` already on the asset) is certain. A tag is certain when exactly one item and one asset
    hold it and the asset has no other identity; a differing type makes it a question.
    """
    alike: dict[str, list[Asset]] = {}
    for asset in assets:
        if not asset.plant3d_id:
            alike.setdefault(misread_key(look_alike_key(asset.tag)), []).append(asset)
    by_identity = {asset.plant3d_id: asset for asset in assets if asset.plant3d_id}
    by_tag: dict[str, list[Asset]] = {}
    for asset in assets:
        by_tag.setdefault(asset.tag, []).append(asset)
    tag_count: dict[str, int] = {}
    for item in items:
        if item.tag:
            tag_count[item.tag] = tag_count.get(item.tag, 0) + 1
    pairs: list[Pair] = []
    for item in items:
        mine = by_identity.get(item.plant3d_id)
        if mine is not None:
            pairs.append(_pair(item, mine, "identity", certain=True))
            continue
        if item.tag and item.tag not in by_tag:
            for asset in alike.get(misread_key(look_alike_key(item.tag)), ()):
                reason = f"the tag reads like {said(asset.tag)}: {telling_apart(item.tag, asset.tag)}"
                pairs.append(replace(_pair(item, asset, reason, certain=False), asset_tag=asset.tag))
            continue
        for asset in by_tag.get(item.tag or "", ()):
            if asset.plant3d_id:
                pairs.append(_pair(item, asset, "tag, but the asset has another identity", certain=False))
            elif tag_count[item.tag or ""] > 1:
                pairs.append(_pair(item, asset, "tag, but several items hold it", certain=False))
            elif asset.fields.get("asset_type") != item.asset_type:
                pairs.append(
                    _pair(
                        item, asset, f"tag, but the type is {asset.fields.get('asset_type')}", certain=False
                    )
                )
            else:
                pairs.append(_pair(item, asset, "tag and type", certain=True))
    return sorted(pairs, key=lambda pair: (pair.tag, pair.pnpid))


def picked(pairs: Sequence[Pair], tags: Collection[str]) -> list[Pair]:
    """Pairs of tags that only look alike, named by a person, whose item and asset are in no other pair."""
    items = Counter(pair.plant3d_id for pair in pairs)
    assets = Counter(pair.asset_id for pair in pairs)
    return [
        pair
        for pair in pairs
        if pair.asset_tag and pair.tag in tags and items[pair.plant3d_id] == assets[pair.asset_id] == 1
    ]


def _pair(item: Candidate, asset: Asset, reason: str, *, certain: bool) -> Pair:
    return Pair(
        tag=item.tag or asset.tag,
        pnpid=item.pnpid,
        plant3d_id=item.plant3d_id,
        class_name=item.class_name,
        entity=ENTITY_OF[item.asset_type],
        asset_id=asset.asset_id,
        reason=reason,
        certain=certain,
    )
