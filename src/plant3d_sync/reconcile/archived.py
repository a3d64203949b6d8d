"""The item lives in Plant 3D, its asset is archived in SYNAPSE."""

from __future__ import annotations

from msgspec.structs import replace

from plant3d_sync.model.conflict import ARCHIVED_IN_SYNAPSE, WHOLE
from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.step import After, Touch, head
from plant3d_sync.reconcile import pair, questions
from plant3d_sync.reconcile.case import FOLLOWED, SIDE_MOVED, Case, Decision, skipped
from plant3d_sync.reconcile.context import Context


def is_so(case: Case) -> bool:
    """Whether the asset was archived when it was last seen, whoever did it: one that a person restored lives.

    So is one that is gone altogether and not to be made again.
    """
    if case.asset is not None:
        return case.asset.archived
    return case.link is not None and (case.link.archived_in_synapse or case.link.lost_in_synapse)


def decide(case: Case, on: Context) -> Decision:
    """Brought back if we archived it or a person says so; else left alone, and asked about once the item is edited."""
    link = case.link
    if link is None:
        return _left_alone(case, None)
    choice = on.choice(link, ARCHIVED_IN_SYNAPSE)
    void = choice is not None and choice.plant3d_ticks not in (None, case.item.timestamp)
    fates = () if choice is None else ((choice.conflict_id, SIDE_MOVED if void else FOLLOWED),)
    chosen = None if choice is None or void else choice.chosen
    if chosen == "plant3d":
        if on.pulls:
            return _with(pair.decide(case, link, on, restore="resolved"), fates)
        return _left_alone(case, link)  # this run does not restore: the choice waits
    if chosen is not None:
        return replace(_left_alone(case, link), choices=fates, steps=(_stays_archived(case, link),))
    held = WHOLE in link.holds  # what was undone is not done again
    if not held and on.pulls and _as_gone(link):
        return _with(pair.decide(case, link, on, restore="came_back"), fates)
    left = replace(_left_alone(case, link), choices=fates)
    if void or _is_edited(case, link, on):
        return replace(left, conflicts=(questions.archived_in_synapse(case.item, link, case.tag),))
    return left


def _with(decision: Decision, fates: tuple[tuple[str, str], ...]) -> Decision:
    return replace(decision, choices=fates + decision.choices)


def _as_gone(link: Link) -> bool:
    """Whether we archived the asset because its item was gone: how it was missed is still remembered."""
    return link.state is LinkState.ARCHIVED and link.missing is not None


def _is_edited(case: Case, link: Link, on: Context) -> bool:
    """Whether the item is not as it was compared. After a write of ours its row was not read again: its values tell."""
    if link.digest:
        return case.item.digest != link.digest
    base = {**(link.base or {}), **link.base_plant}
    return any(
        name in base and not on.rules.same[name](value, base[name])
        for name, value in case.translated.fields.items()
    )


def _left_alone(case: Case, link: Link | None) -> Decision:
    """An archived asset gave up its tag."""
    tag = case.tag or (link.tag if link else None)
    if link is not None and link.lost_in_synapse:  # a word of a person keeps it from being made again
        decision = skipped(
            case.item,
            tag,
            "archived_in_synapse",
            "The asset is not in SYNAPSE any more. Making it was undone, so it is not made again.",
            "If it is wanted, draw the item anew in Plant 3D: it arrives as a new asset.",
        )
    else:
        decision = skipped(
            case.item,
            tag,
            "archived_in_synapse",
            "The asset was archived in SYNAPSE while the item lives in Plant 3D. Left alone.",
            "Restore the asset in SYNAPSE, or delete the item in Plant 3D.",
        )
    return replace(decision, uncompared=True, looked_at=(WHOLE,), released=link.tag if link else None)


def _stays_archived(case: Case, link: Link) -> Touch:
    """A person chose that the asset stays archived: the item as it is now is not asked about again."""
    item, begun = case.item, head(link)
    begun["pnpid"], begun["class_name"] = item.pnpid, item.class_name
    seen = After(
        state=link.state, digest=item.digest.hex(), ticks=item.timestamp, revision=item.revision, ends=[]
    )
    return Touch(**begun, after=seen, drawing=item.drawing)
