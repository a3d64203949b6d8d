"""One field: three-way merge against the stored base.

The whole truth table (B base, P Plant 3D, S SYNAPSE, compared by meaning):

====================  ===========================  ==========================  =======================
situation             owned by Plant 3D            owned by SYNAPSE            shared
====================  ===========================  ==========================  =======================
P = S                 base := value                same                        same
only P moved          write S                      drift                       write S
only S moved          drift                        push, or wait for CAD       push, or wait for CAD
both moved, differ    write S, loser kept          push, loser kept, or wait   tie rule, or conflict
no base, P = S        base := value                same                        same
no base, one blank    owner's value; a blank       owner's value; a blank      fill the blank
                      owner never erases           owner never erases
no base, differ       write S                      push, or wait for CAD       conflict
P put back            as above                     as above                    conflict
P a late write        as above                     as above                    push S
S a late write        write P                      as above                    write P
P of another mapping  write S                      as above                    write S, or conflict
P of another row      as above                     as above                    push S
P of an older copy    conflict                     as above                    conflict
S of an older backup  as above                     conflict                    conflict
words of a row gone   as above                     as above                    conflict
S perhaps typed back  as above                     as above                    conflict
told apart since      write S                      push, or wait for CAD       conflict
====================  ===========================  ==========================  =======================

"P put back": we wrote into Plant 3D, and it holds again what it held before, or an older value of ours. A session that
was still open may have saved its old copy, or a designer did it on purpose: the value cannot tell, so neither side wins
by itself (nor fills it a blank without a base). "P a late write", "S a late write": a run that was overtaken wrote it,
and nobody since. (Only shared fields are ever pushed.)
"Of an older copy": the row, or the asset, went back (`older.py`): its value is nobody's
edit, so it neither wins nor is overwritten by itself. "Perhaps typed back": SYNAPSE holds again what it held before a
write of ours whose answer was lost for good. "Of another row": another group stands for its line now, and
SYNAPSE's words were written into the one before. "Words of a row gone": what a question was about stood in the row that
stood for the line before; the question stays.
"Told apart since": no side moved; two spellings that were the same are not for the comparator of today.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from plant3d_sync.model.link import Hold
from plant3d_sync.model.outcome import FieldOutcome, Resolution, Times, Verdict
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import BlankPolicy, ConflictPolicy, DriftPolicy, FieldRule
from plant3d_sync.model.side import Owner, Side
from plant3d_sync.reconcile.definitions import COMPARED_OTHERWISE, MAPPING_CHANGED
from plant3d_sync.reconcile.latest import newest, suggest
from plant3d_sync.reconcile.older import ANSWER_LOST, OLDER_COPY, OLDER_SYNAPSE, OTHER_ROW

Same = Callable[[Value, Value], bool]

REVERT_LIMIT = 2
"""After this many times that our write was put back in Plant 3D, the field is frozen until a person decides."""


class NoBase:
    """A value that is not a value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NO_BASE: Final = NoBase("NO_BASE")
"""The two sides never agreed on this field. Distinct from an empty base."""


BLANK_KEPT: Final = "blank_kept"
"""Why both sides keep what they hold: a blank may not erase."""


NEW_COLUMN: Final = "new_column"
"""Why SYNAPSE keeps what it holds: nothing was typed yet into the column that the field has now."""

ASKED_BY_RULE: Final = "both_changed"
"""The question where both sides moved and a person has to say, whatever the times prove."""


CHOICE_VOID: Final = "choice_void"
"""The question where a choice was void because one side took back what it was made on."""


def is_blank(value: Value) -> bool:
    """None, or text without a visible character."""
    return value is None or (isinstance(value, str) and not value.strip())


class Situation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one field when it is merged. Both values are known; a field that was not read is not merged.

    `base` is SYNAPSE's spelling of the last agreed value, `base_plant` Plant 3D's (they differ only where
    SYNAPSE altered what it was given). `resolution`: what a person chose. `hold`: what an undo keeps away.
    `put_back`: we wrote this field into Plant 3D last, and Plant 3D holds again what it held before. `reverts`: how
    often that happened, while it is so or still undecided; else 0. `frozen`: it was written too often between the same two
    values. `no_edit`: the side that moved did so because a copy of an earlier day was put back there
    (`reconcile/older.py`), or the mapping takes Plant 3D's value from elsewhere (`reconcile/definitions.py`), as the kind
    of the question. `late`: Plant 3D holds what a run of ours wrote that was overtaken meanwhile; no designer moved it.
    `late_in_synapse`: SYNAPSE does; no user moved it. `new_column`: Plant 3D's side is blank because the field has a column
    again, or for the first time, in which nothing was typed yet. `words`: what a person is asked about in place of Plant 3D's
    value, because another group stands for the line since. `asked`: the reason why a person was asked about just these two values, or
    is now because a choice is void; "" if nobody was.
    """

    rule: FieldRule
    base: Value | NoBase
    base_plant: Value | NoBase
    plant3d: Value
    synapse: Value
    same: Same
    times: Times
    resolution: Resolution | None = None
    hold: Hold | None = None
    frozen: bool = False
    put_back: bool = False
    late: bool = False
    late_in_synapse: bool = False
    reverts: int = 0
    no_edit: str = ""
    new_column: bool = False
    words: Value | UnsetType = UNSET
    asked: str = ""


def has_moved(value: Value, base: Value | NoBase, same: Same) -> bool:
    """Whether a side holds another value than both agreed on; where they never agreed, nobody can tell."""
    return not isinstance(base, NoBase) and not same(value, base)


def merge_field(at: Situation) -> FieldOutcome:
    """Decide the value one field should have on both sides."""
    if at.same(at.plant3d, at.synapse):
        return _outcome(at, Verdict.SETTLED, "equal", at.plant3d)
    if _is_held_after_undo(at):
        return _outcome(at, Verdict.LEAVE, "held_after_undo")
    if isinstance(at.base, NoBase) or isinstance(at.base_plant, NoBase):
        return _without_base(at)
    plant_moved = has_moved(at.plant3d, at.base_plant, at.same)
    synapse_moved = has_moved(at.synapse, at.base, at.same)
    if not plant_moved and not synapse_moved:
        if at.no_edit == COMPARED_OTHERWISE:
            return _compared_otherwise(at)
        return _outcome(at, Verdict.SETTLED, "agreed_alteration", at.plant3d)
    return _nobodys_edit(at, synapse_moved) or _by_owner(at, plant_moved, synapse_moved)


# ---------------------------------------------------------------- what is nobody's edit


def _is_held_after_undo(at: Situation) -> bool:
    """Whether both sides still hold what they held when an undo put the one back and kept the other's value away.

    Where another group stands for a line since, or the mapping names another column, nobody typed what that holds:
    SYNAPSE's value is kept away from there too.
    """
    hold = at.hold
    if hold is None:
        return False
    in_synapse = hold.side == Side.SYNAPSE.value
    restored, source = (at.synapse, at.plant3d) if in_synapse else (at.plant3d, at.synapse)
    if at.no_edit in (OTHER_ROW, MAPPING_CHANGED) and not in_synapse:
        return at.same(source, hold.value)
    return at.same(source, hold.value) and at.same(restored, hold.kept)


def _nobodys_edit(at: Situation, synapse_moved: bool) -> FieldOutcome | None:
    """A field that is frozen, or of which a side moved without anybody having edited it; None: the owner's rule decides."""
    owner = at.rule.owner
    if at.frozen:
        return _resolved(at) or _outcome(at, Verdict.CONFLICT, "flip_flop")
    if at.late_in_synapse and owner is not Owner.SYNAPSE:
        return _resolved(at) or _to_synapse(at, "late_write_of_ours")
    if not at.no_edit or owner is _OTHERS[at.no_edit]:
        return None
    if at.no_edit == MAPPING_CHANGED:
        return _of_another_mapping(at, synapse_moved)
    if at.no_edit == OTHER_ROW:
        if at.words is not UNSET:
            return _resolved(at) or _ask(at, OTHER_ROW, *suggest(at.words, at.synapse, at.times))
        return _resolved(at) or _put_right(at, OTHER_ROW)
    if at.no_edit == ANSWER_LOST:
        return _resolved(at) or _ask(at, ANSWER_LOST, Side.SYNAPSE, "perhaps_typed_back")
    return _resolved(at) or _of_an_earlier_day(at)


_OTHERS: Final = {
    OLDER_COPY: Owner.SYNAPSE,
    OLDER_SYNAPSE: Owner.PLANT3D,
    MAPPING_CHANGED: Owner.SYNAPSE,
    OTHER_ROW: Owner.SYNAPSE,
    ANSWER_LOST: Owner.PLANT3D,
}
"""Whose fields a side that nobody edited cannot decide: the other side owns them, and its rule stands."""


def _of_another_mapping(at: Situation, synapse_moved: bool) -> FieldOutcome | None:
    """Nobody edited Plant 3D: what it holds elsewhere goes to a SYNAPSE that did not move, and else is a question.

    None: the owner's rule says the same.
    """
    if at.rule.owner is Owner.PLANT3D and synapse_moved:
        return None
    if not synapse_moved:
        if at.new_column:
            return _outcome(at, Verdict.LEAVE, NEW_COLUMN, loses=at.synapse)
        return None if _must_not_erase(at, at.plant3d) else _to_synapse(at, MAPPING_CHANGED)
    return _resolved(at) or _ask(at, MAPPING_CHANGED, Side.SYNAPSE, "nobody_edited_plant3d")


def _compared_otherwise(at: Situation) -> FieldOutcome:
    """Both sides agreed on two spellings that are two values now: the owner's holds, and else a person says which."""
    match at.rule.owner:
        case Owner.PLANT3D:
            return (
                _blank_kept(at, at.synapse)
                if _must_not_erase(at, at.plant3d)
                else _to_synapse(at, at.no_edit)
            )
        case Owner.SYNAPSE:
            if _must_not_erase(at, at.synapse):
                return _blank_kept(at, at.plant3d)
            return _into_plant3d(at, at.synapse, at.no_edit)
        case Owner.SHARED:
            return _resolved(at) or _ask(at, at.no_edit, *suggest(at.plant3d, at.synapse, at.times))


def _of_an_earlier_day(at: Situation) -> FieldOutcome:
    """One side went back to an earlier day: a person has to say whether that is meant."""
    newer = Side.SYNAPSE if at.no_edit == OLDER_COPY else Side.PLANT3D
    return _ask(at, at.no_edit, newer, "the_other_side_is_newer")


def _of_ours(at: Situation) -> FieldOutcome | None:
    """Plant 3D holds a value of ours; None: what it holds is an edit."""
    if at.late:
        return _put_right(at, "late_write_of_ours")
    if at.put_back or at.reverts >= REVERT_LIMIT:
        return _reverted(at, put_back=at.put_back)
    return None


def _put_right(at: Situation, reason: str) -> FieldOutcome:
    """Nobody moved Plant 3D but we, by a write that came too late, or another row that stands for a line: SYNAPSE's value holds."""
    if _must_not_erase(at, at.synapse):
        return _blank_kept(at, at.plant3d)
    return _into_plant3d(at, at.synapse, reason)


def _reverted(at: Situation, *, put_back: bool) -> FieldOutcome:
    """Our write into Plant 3D was undone there, by an open session or on purpose: a person has to say which."""
    if put_back:
        return _ask(at, "reverted", Side.SYNAPSE, "put_back_after_our_write")
    return _ask(at, "reverted", suggest(at.plant3d, at.synapse, at.times)[0], "frozen_after_put_back")


# ---------------------------------------------------------------- who owns the field


def _by_owner(at: Situation, plant_moved: bool, synapse_moved: bool) -> FieldOutcome:
    match at.rule.owner:
        case Owner.PLANT3D:
            return _owned_by_plant3d(at, plant_moved, synapse_moved)
        case Owner.SYNAPSE:
            return _owned_by_synapse(at, synapse_moved)
        case Owner.SHARED:
            return _resolved(at) or _of_ours(at) or _shared(at, plant_moved, synapse_moved)


def _owned_by_plant3d(at: Situation, plant_moved: bool, synapse_moved: bool) -> FieldOutcome:
    if not plant_moved:
        return _drift(at, keep=at.plant3d, other=at.synapse, restore=Verdict.TO_SYNAPSE)
    if _must_not_erase(at, at.plant3d):
        return _blank_kept(at, at.synapse)
    return _to_synapse(at, "plant3d_owner_over_synapse_edit" if synapse_moved else "plant3d_changed")


def _owned_by_synapse(at: Situation, synapse_moved: bool) -> FieldOutcome:
    if not synapse_moved:
        restore = Verdict.TO_PLANT3D if at.rule.push else Verdict.WAIT
        return _drift(at, keep=at.synapse, other=at.plant3d, restore=restore)
    if _must_not_erase(at, at.synapse):
        return _blank_kept(at, at.plant3d)
    return _into_plant3d(at, at.synapse, "synapse_changed")


def _shared(at: Situation, plant_moved: bool, synapse_moved: bool) -> FieldOutcome:
    if plant_moved and synapse_moved:
        return _both_moved(at)
    if at.asked == CHOICE_VOID:  # decided on other values than these: keeping still decides nothing
        return _ask(at, CHOICE_VOID, *suggest(at.plant3d, at.synapse, at.times))
    if plant_moved:
        if _must_not_erase(at, at.plant3d):
            return _blank_kept(at, at.synapse)
        return _to_synapse(at, "plant3d_changed")
    if _must_not_erase(at, at.synapse):
        return _blank_kept(at, at.plant3d)
    return _into_plant3d(at, at.synapse, "synapse_changed")


def _both_moved(at: Situation) -> FieldOutcome:
    """The later edit wins, if that is certain and the mapping does not want a person to say."""
    winner, why = newest(at.times)
    if _must_not_erase(at, at.plant3d) or _must_not_erase(at, at.synapse):
        winner, why = None, "blank_against_edit"
    if winner is None:
        return _ask(at, why, *suggest(at.plant3d, at.synapse, at.times))
    if at.rule.conflict is ConflictPolicy.ASK or at.asked == ASKED_BY_RULE:
        return _ask(at, ASKED_BY_RULE, winner, why)
    if winner is Side.PLANT3D:
        return _to_synapse(at, why)
    return _into_plant3d(at, at.synapse, why)


def _without_base(at: Situation) -> FieldOutcome:
    """First sync of a pair: no side is known to have moved, so nothing filled is ever erased.

    Nor does an older value of ours fill a blank by itself.
    """
    owner = at.rule.owner
    if is_blank(at.plant3d):
        if owner is Owner.PLANT3D:
            return _outcome(at, Verdict.DRIFT, "first_sync_owner_blank", at.synapse)
        return _into_plant3d(at, at.synapse, "first_sync_fill_blank")
    if is_blank(at.synapse):
        if owner is Owner.SYNAPSE:
            return _outcome(at, Verdict.DRIFT, "first_sync_owner_blank", at.plant3d)
        if (at.put_back or at.late) and owner is Owner.SHARED:
            return _resolved(at) or _reverted(at, put_back=True)
        return _outcome(at, Verdict.TO_SYNAPSE, "first_sync_fill_blank", at.plant3d)
    match owner:
        case Owner.PLANT3D:
            return _to_synapse(at, "first_sync_owner")
        case Owner.SYNAPSE:
            return _into_plant3d(at, at.synapse, "first_sync_owner")
        case Owner.SHARED:
            side, because = suggest(at.plant3d, at.synapse, at.times)
            return _resolved(at) or _ask(at, "first_sync_differs", side, because)


def _drift(at: Situation, *, keep: Value, other: Value, restore: Verdict) -> FieldOutcome:
    """An edit on the side that does not own the field."""
    match at.rule.drift:
        case DriftPolicy.RESTORE:
            if _must_not_erase(at, keep):
                return _blank_kept(at, other)
            return _outcome(at, restore, "drift_restored", keep, other)
        case DriftPolicy.PROPOSE:
            return _outcome(at, Verdict.DRIFT, "drift_proposed", keep, other)
        case DriftPolicy.IGNORE:
            return _outcome(at, Verdict.DRIFT, "drift_ignored", keep, other)


def _resolved(at: Situation) -> FieldOutcome | None:
    """A person's choice, if both sides still hold the values it was chosen between.

    A choice is carried out in steps (first one side, then the other); a side that already holds the
    chosen value is where the choice wants it, so it does not void the choice.
    """
    choice = at.resolution
    if choice is None or not still_holds(at, choice):
        return None
    chosen = choice.chosen
    if not (choice.given or at.same(at.synapse, chosen)):
        return _outcome(at, Verdict.TO_SYNAPSE, "resolved", chosen, at.synapse)
    return _into_plant3d(at, chosen, "resolved")


def still_holds(at: Situation, choice: Resolution) -> bool:
    """Whether both sides hold what the choice was made on, or the chosen value already."""
    same, chosen = at.same, choice.chosen
    asked = at.plant3d if at.words is UNSET else at.words
    plant_ok = same(asked, choice.plant3d_value) or same(at.plant3d, chosen)
    synapse_ok = choice.given or same(at.synapse, chosen) or same(at.synapse, choice.synapse_value)
    return plant_ok and synapse_ok


# ---------------------------------------------------------------- what is done


def _must_not_erase(at: Situation, value: Value) -> bool:
    """Whether a side is empty and the mapping keeps the other's value then."""
    return at.rule.blank is BlankPolicy.KEEP and is_blank(value)


def _blank_kept(at: Situation, kept: Value) -> FieldOutcome:
    return _outcome(at, Verdict.LEAVE, BLANK_KEPT, loses=kept)


def _to_synapse(at: Situation, reason: str) -> FieldOutcome:
    return _outcome(at, Verdict.TO_SYNAPSE, reason, at.plant3d, at.synapse)


def _into_plant3d(at: Situation, value: Value, reason: str) -> FieldOutcome:
    """A value for Plant 3D: pushed where the mapping allows it, else a work item for a designer."""
    if at.rule.push:
        return _outcome(at, Verdict.TO_PLANT3D, reason, value, at.plant3d)
    return _outcome(at, Verdict.WAIT, "waiting_for_cad", value, at.plant3d)


def _ask(at: Situation, reason: str, side: Side, because: str) -> FieldOutcome:
    """A person has to choose. `side`: which one to look at first, and why."""
    return FieldOutcome(
        field=at.rule.field,
        verdict=Verdict.CONFLICT,
        reason=reason,
        suggestion=side.value,
        suggestion_reason=because,
    )


def _outcome(
    at: Situation, verdict: Verdict, reason: str, value: Value = None, loses: Value = None
) -> FieldOutcome:
    return FieldOutcome(field=at.rule.field, verdict=verdict, value=value, loses=loses, reason=reason)
