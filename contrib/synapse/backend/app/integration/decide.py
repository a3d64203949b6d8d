# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Decides a batch: from the items and the assets they touch to one outcome each. No database, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from app.integration.assets import Asset, new_asset
from app.integration.fields import Changes, Refused, merged_attributes
from app.integration.items import Archive, BadItem, Item, Upsert
from app.integration.tags import Claim, refused_claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, into which project, when; and where new ids come from."""

    project_id: str
    by: str
    now: str
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The stored assets a batch may touch: by `plant3d_id` (live and archived), and live ones by tag."""

    by_key: Mapping[str, Asset]
    by_tag: Mapping[str, Asset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An item whose conditions hold: the asset before (None: create) and as it would be afterwards."""

    item: Upsert | Archive
    before: Asset | None
    after: Asset
    linked: bool = False
    restored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An item of which nothing is applied; `status` is conflict (with `current`) or error."""

    item: Item
    status: str
    code: str
    message: str
    field: str | None = None
    current: Asset | None = None
    other: Asset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An item that is applied: created, updated, unchanged or archived."""

    item: Upsert | Archive
    status: str
    before: Asset | None
    after: Asset
    linked: bool
    restored: bool

    @property
    def effective(self) -> bool:
        return self.status != "unchanged"


Outcome: TypeAlias = Done | Failed


def tags_to_take_over(items: Iterable[Item]) -> set[str]:
    """The tags by which items may take over an asset that nobody has linked yet."""
    return {
        item.changes.tag
        for item in items
        if isinstance(item, Upsert) and item.link_by_tag and item.changes.tag is not None
    }


def tags_to_look_up(items: Iterable[Item], by_key: Mapping[str, Asset]) -> set[str]:
    """Every tag some item may newly take, a restored asset's own included."""
    wanted: set[str] = set()
    for item in items:
        if isinstance(item, Upsert):
            stored = by_key.get(item.plant3d_id)
            tag = item.changes.tag or (stored.tag if stored else None)
            if tag is not None:
                wanted.add(tag)
    return wanted


def decide(items: Sequence[Item], known: Known, writer: Writer) -> list[Outcome]:
    """One outcome per item, in order. Versions, `seq` and times move when the changes are stored."""
    proposals = refuse_taken_tags(
        refuse_double_links([propose(item, known, writer) for item in items]), known
    )
    return [proposal if isinstance(proposal, Failed) else settle(proposal) for proposal in proposals]


def propose(item: Item, known: Known, writer: Writer) -> Proposal | Failed:
    """What the item would do on its own, before tags are judged."""
    try:
        match item:
            case BadItem():
                raise item.refusal
            case Archive():
                return propose_archive(item, known.by_key.get(item.plant3d_id), writer)
            case Upsert():
                return propose_upsert(item, known, writer)
    except Refused as refusal:
        return Failed(
            item=item, status="error", code=refusal.code, field=refusal.field, message=refusal.message
        )


def propose_archive(item: Archive, before: Asset | None, writer: Writer) -> Proposal | Failed:
    """Archiving an archived asset is unchanged, whatever its version: a repeat stays harmless."""
    if before is None:
        raise Refused("not_found", "plant3d_id", "no asset has this plant3d_id")
    if before.deleted_at is not None:
        return Proposal(item=item, before=before, after=before)
    if item.if_version is not None and item.if_version != before.version:
        return conflict(item, before, "version_mismatch", f"the asset is at version {before.version}")
    return Proposal(item=item, before=before, after=replace(before, deleted_at=writer.now))


def propose_upsert(item: Upsert, known: Known, writer: Writer) -> Proposal | Failed:
    before = known.by_key.get(item.plant3d_id)
    linked = False
    if before is None and item.link_by_tag and item.changes.tag is not None:
        holder = known.by_tag.get(item.changes.tag)
        if holder is not None and holder.plant3d_id is None:
            before, linked = holder, True
    if before is None:
        return propose_create(item, writer)
    if failed := failed_condition(item, before):
        return failed
    return Proposal(
        item=item,
        before=before,
        after=replace(changed(before, item.changes), plant3d_id=item.plant3d_id, deleted_at=None),
        linked=linked,
        restored=before.deleted_at is not None,
    )


def propose_create(item: Upsert, writer: Writer) -> Proposal:
    absent = "no asset has this plant3d_id, so it has no such version"
    if item.if_version:
        raise Refused("not_found", "if_version", absent)
    if item.if_description is not None:
        raise Refused("not_found", "if_field_versions", absent)
    for field in ("tag", "asset_type"):
        if field not in item.changes.texts:
            raise Refused("missing_field", field, f"{field} is required to create an asset")
    values = {**item.changes.texts, "attributes": merged_attributes("{}", item.changes.attributes)}
    asset = new_asset(
        id=writer.new_id(),
        project_id=writer.project_id,
        plant3d_id=item.plant3d_id,
        values=values,
        now=writer.now,
        by=writer.by,
    )
    return Proposal(item=item, before=None, after=asset)


def failed_condition(item: Upsert, before: Asset) -> Failed | None:
    """The first condition of the item that the stored asset does not meet."""
    if before.deleted_at is not None and not item.restore:
        return conflict(item, before, "archived", "the asset is archived; send restore to bring it back")
    if item.if_version == 0:
        return conflict(item, before, "exists", "the asset exists already")
    if item.if_version is not None and item.if_version != before.version:
        return conflict(item, before, "version_mismatch", f"the asset is at version {before.version}")
    if item.if_description is not None and before.description_version > item.if_description:
        message = f"description changed at version {before.description_version}"
        return conflict(item, before, "field_version_mismatch", message, field="description")
    return None


def conflict(item: Item, current: Asset, code: str, message: str, *, field: str | None = None) -> Failed:
    return Failed(item=item, status="conflict", code=code, message=message, field=field, current=current)


def changed(asset: Asset, changes: Changes) -> Asset:
    """The asset with the sent fields; its version and times do not move yet."""
    texts = changes.texts
    tag, asset_type = texts.get("tag"), texts.get("asset_type")
    return replace(
        asset,
        tag=asset.tag if tag is None else tag,
        asset_type=asset.asset_type if asset_type is None else asset_type,
        asset_subtype=texts.get("asset_subtype", asset.asset_subtype),
        description=texts.get("description", asset.description),
        attributes=merged_attributes(asset.attributes, changes.attributes),
    )


def refuse_double_links(proposals: Sequence[Proposal | Failed]) -> list[Proposal | Failed]:
    """Two items that want to take over the same unlinked asset both fail: it has only one tag to give."""
    wanted = Counter(entry.before.id for entry in proposals if isinstance(entry, Proposal) and entry.before)
    return [
        tag_taken(entry, None)
        if isinstance(entry, Proposal) and entry.before and wanted[entry.before.id] > 1
        else entry
        for entry in proposals
    ]


def refuse_taken_tags(proposals: Sequence[Proposal | Failed], known: Known) -> list[Proposal | Failed]:
    claims = [
        Claim(index=entry.item.index, before=entry.before, after_tag=entry.after.live_tag)
        for entry in proposals
        if isinstance(entry, Proposal)
    ]
    refused = refused_claims(claims, known.by_tag)
    return [
        tag_taken(entry, refused[entry.item.index])
        if isinstance(entry, Proposal) and entry.item.index in refused
        else entry
        for entry in proposals
    ]


def tag_taken(proposal: Proposal, other: Asset | None) -> Failed:
    by = "another item of this batch" if other is None else "another live asset"
    message = f"the tag would be held by {by} too"
    return Failed(
        item=proposal.item, status="error", code="tag_taken", field="tag", message=message, other=other
    )


def settle(proposal: Proposal) -> Done:
    """What becomes of the proposal; nothing effective changed means that nothing is stored."""
    before, after = proposal.before, proposal.after
    if before is None:
        status = "created"
    elif before == after:
        status = "unchanged"
    else:
        status = "archived" if isinstance(proposal.item, Archive) else "updated"
    return Done(
        item=proposal.item,
        status=status,
        before=before,
        after=after,
        linked=proposal.linked,
        restored=proposal.restored,
    )


def stored(done: Done, asset: Asset) -> Done:
    """The item with its asset as it is stored: version, `seq` and times are what the store made of them."""
    moved = done.before is None or asset.version != done.before.version
    return replace(done, after=asset, status=done.status if moved else "unchanged")
