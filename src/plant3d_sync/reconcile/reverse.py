"""The inverse of what a run did: a step that puts it back, or why it stays as it is. Pure.

===========  =======================================================================================
recorded     inverse
===========  =======================================================================================
create       archive, if nobody edited the asset
archive      restore with what it held
restore      archive, if nobody edited the asset
update       update with the values before, of every field that still holds what was written
adopt        likewise; the identity itself is never taken back
push         push of the texts before, of every cell that still holds what was written
===========  =======================================================================================

What goes back is held: the next run does not bring it again, until somebody types. Information that went along with an
update goes back along with it, while it is still what that update wrote; it is never held, and never put back by itself.
"""

from __future__ import annotations

import msgspec

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.model.change import Change, LeftAlone, WrittenRow
from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Hold, Link, LinkState, known
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import INFORMATION
from plant3d_sync.model.step import After, Archive, Cell, Push, Restore, Update, head
from plant3d_sync.model.version import is_counted
from plant3d_sync.words import said

Inverse = Update | Restore | Archive | Push

_HELD_AS_A_WHOLE = {WHOLE: Hold(side="synapse", value=None)}


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """What an undo does about one change: a step, and what is left alone."""

    step: Inverse | None = None
    left: tuple[LeftAlone, ...] = ()


def reverse(change: Change, link: Link | None, row: WrittenRow, *, write_mode: str) -> Reversal:
    """The inverse of a change, given the pair as it is now. `row`: what a push wrote, else empty.

    A field goes back only while it still holds what was written. `write_mode`: `write` of the project. Raises
    NeedsPersonError for an operation that it does not know.
    """
    if link is None:
        return _left(WHOLE, None, "the pair is not linked any more")
    if link.archived_in_synapse and change.op not in ("create", "archive", "restore"):
        return _left(WHOLE, link.tag, "archived since")
    if change.side == "plant3d":
        return _push(change, link, row, write_mode)
    match change.op:
        case "create":
            return _create(change, link)
        case "archive":
            return _archive(change, link)
        case "restore":
            return _restore(change, link)
        case "update" | "adopt":
            return _update(change, link)
        case _:  # nobody knows what it did, so nobody knows what puts it back
            raise NeedsPersonError(
                f"Change {change.change_id} of {said(change.tag)} is recorded as {said(change.op)}, which this version cannot undo. "
                "Nothing was planned.",
                hint="Undo with the version that made the run, or put the values back by hand.",
                code="undo_unknown_change",
            )


def _left(field: str, now: Value, why: str) -> Reversal:
    return Reversal(left=(LeftAlone(field=field, value_now=now, why=why),))


def _is_edited(link: Link) -> bool:
    """Whether SYNAPSE holds anything that is not ours. A field that was never read is empty there because nobody wrote it."""
    base = link.base or {}
    return any(name in base or value is not None for name, value in link.synapse_delta.items())


def _create(change: Change, link: Link) -> Reversal:
    if link.state is LinkState.ARCHIVED:
        return _left(WHOLE, link.tag, "already archived")
    if (is_counted(link.asset_version) and link.asset_version != 1) or _is_edited(link):
        return _left(WHOLE, link.tag, "edited since")
    return Reversal(step=_archived("undo_create", change, link))


def _archive(change: Change, link: Link) -> Reversal:
    """The asset lives again with what it held. It stays, until its item is seen in Plant 3D and vanishes anew."""
    if link.state is not LinkState.ARCHIVED or not link.archived_in_synapse:
        return _left(WHOLE, link.tag, "not archived any more")
    return Reversal(
        step=Restore(
            **head(link),
            after=After(holds=_HELD_AS_A_WHOLE),
            why={WHOLE: "undo"},
            undo_change=change.change_id,
        )
    )


def _restore(change: Change, link: Link) -> Reversal:
    """The asset is archived again."""
    if link.archived_in_synapse:
        return _left(WHOLE, link.tag, "already archived")
    if _is_edited(link):
        return _left(WHOLE, link.tag, "edited since")
    return Reversal(step=_archived("undo", change, link))


def _archived(why: str, change: Change, link: Link) -> Archive:
    return Archive(
        **head(link),
        after=After(state=LinkState.ARCHIVED, holds=_HELD_AS_A_WHOLE),
        why={WHOLE: why},
        undo_change=change.change_id,
    )


def _update(change: Change, link: Link) -> Reversal:
    held = link.synapse_fields()
    back: dict[str, Value] = {}
    was: dict[str, Value] = {}
    holds: dict[str, Hold] = {}
    left: list[LeftAlone] = []
    for name, (old, new) in change.fields.items():
        if name in change.information:
            continue
        if name == "plant3d_id":
            why = "an identity is never taken back"
            left.append(LeftAlone(field=name, value_now=link.plant3d_id, why=why))
        elif held.get(name) != new:
            left.append(LeftAlone(field=name, value_now=held.get(name), why="edited since"))
        elif old != new:
            back[name], was[name] = old, new
            holds[name] = Hold(side="synapse", value=_plant3d_now(link, name), kept=old)
    if not back:
        return Reversal(left=tuple(left))
    why_back = dict.fromkeys(back, "undo")
    for name in change.information:
        old, new = change.fields[name]
        if held.get(name) == new != old:
            back[name], was[name], why_back[name] = old, new, INFORMATION
    step = Update(
        **head(link),
        old_tag=link.tag if "tag" in back else None,
        set=back,
        was=was,
        after=After(holds=holds, ends=sorted(back)),
        why=why_back,
        undo_change=change.change_id,
    )
    return Reversal(step=step, left=tuple(left))


def _plant3d_now(link: Link, name: str) -> Value:
    """Plant 3D's value as last seen."""
    entry = link.pending.get(name)
    if entry is not None:
        return known(entry.plant3d)
    return link.base_plant.get(name, (link.base or {}).get(name))


def _push(change: Change, link: Link, row: WrittenRow, write_mode: str) -> Reversal:
    cells: list[Cell] = []
    left: list[LeftAlone] = []
    for (name, (old, new)), cell in zip(change.fields.items(), row.cells, strict=False):
        now = _plant3d_now(link, name)
        held = link.synapse_fields().get(name)
        if write_mode != "sql":
            why = f"Plant 3D may not be written to (write: {write_mode})"
            left.append(LeftAlone(field=name, value_now=now, why=why))
            continue
        if now != new:
            left.append(LeftAlone(field=name, value_now=now, why="edited since"))
            continue
        if held != _synapse_then(change, link, name):
            left.append(LeftAlone(field=name, value_now=held, why="edited since"))
            continue
        cells.append(
            Cell(
                field=name,
                column=cell.column,
                table_class=cell.table_class,
                old=cell.new,
                new=cell.old,
                ticks=row.ticks,
                plant3d=now,
                synapse=held,
                why="undo",
                hold=True,
                kept=old,
            )
        )
    if not cells:
        return Reversal(left=tuple(left))
    step = Push(**head(link), cells=cells, undo_change=change.change_id, undo="undo", row_guid=row.guid)
    return Reversal(step=step, left=tuple(left))


def _synapse_then(change: Change, link: Link, name: str) -> Value:
    """What SYNAPSE held when the change was made: what a push carried is the base, what an undo kept away is held."""
    hold = link.holds.get(name)
    if change.op == "undo" and hold is not None:
        return hold.value
    return (link.base or {}).get(name)


__all__ = ["Inverse", "Reversal", "reverse"]
