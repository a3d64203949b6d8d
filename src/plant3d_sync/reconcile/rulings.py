"""What is ruled of tags once every item was seen: who loses his step over his tag, and what people are told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.reconcile.case import Fate
from plant3d_sync.reconcile.context import Knowledge
from plant3d_sync.reconcile.piles import Piles
from plant3d_sync.reconcile.quarantine import IGNORED, told_of
from plant3d_sync.reconcile.tags import Holder, Tags


class Loss(msgspec.Struct, frozen=True, gc=False):
    """Nothing is written for the item: what it counts as, and why."""

    pnpid: int
    entity: str
    fate: Fate
    code: str


class Ruling(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One ruling. `guid`: an item that counts as not compared. `loss`: whose step is left out."""

    guid: str | None = None
    loss: Loss | None = None
    finding: Finding | None = None
    error: RowError | None = None


def rulings(
    tags: Tags, piles: Piles, strays: Mapping[str, tuple[str, str]], know: Knowledge
) -> Iterator[Ruling]:
    """Shared tags, tags that read the same, tags that are taken, in this order. `strays`: those whose item is not there.

    Carry out each before the next is asked for: a step that is withdrawn takes no tag and frees none.
    """
    for pnpid, holder, told in tags.shared():
        yield _shared(pnpid, holder, told, know)
    for asset_id, tag in strays.values():
        tags.stray(tag, asset_id)
    for item, holder, held, told in tags.look_alikes(piles.creations):
        yield _alike(item, holder, told, know, held=held)
    for pnpid, entity, error in tags.refused(piles.renames, piles.creations):
        yield _taken(tags.holder(pnpid), Loss(pnpid, entity, Fate.ERRORS, error.code), error, know)


def _shared(pnpid: int, holder: Holder, told: Finding, know: Knowledge) -> Ruling:
    if holder.entity not in know.entities:
        return Ruling(guid=holder.plant3d_id)
    loss = Loss(pnpid, holder.entity, Fate.SKIPPED, told.code)
    return Ruling(guid=holder.plant3d_id, loss=loss, finding=told)


def _alike(pnpid: int | None, holder: Holder, told: Finding, know: Knowledge, *, held: bool) -> Ruling:
    if pnpid is None:
        return Ruling(finding=told)
    if holder.entity not in know.entities:
        return Ruling()
    if not held:
        return Ruling(finding=told)
    loss = Loss(pnpid, holder.entity, Fate.SKIPPED, told.code)
    return Ruling(guid=holder.plant3d_id, loss=loss, finding=told)


def _taken(holder: Holder, loss: Loss, error: RowError, know: Knowledge) -> Ruling:
    ignored = know.quarantine.ignored(error)
    if ignored is None:
        return Ruling(guid=holder.plant3d_id, loss=loss, error=error)
    left_alone = Loss(loss.pnpid, loss.entity, Fate.SKIPPED, IGNORED)
    return Ruling(guid=holder.plant3d_id, loss=left_alone, finding=told_of(ignored))
