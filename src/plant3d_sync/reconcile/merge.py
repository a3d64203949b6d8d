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
P of an older copy    conflict                     as above                    conflict
S of an older backup  as above                     conflict                    conflict
====================  ===========================  ==========================  =======================

"P put back": we wrote into Plant 3D, and it holds again what it held before, or an older value of ours. A session that
was still open may have saved its old copy, or a designer did it on purpose: the value cannot tell, so neither side wins
by itself (nor fills it a blank without a base). "P a late write", "S a late write": a run that was overtaken wrote it,
and nobody since. (Only shared fields are ever pushed.)
"Of an older copy": the row, or the asset, went back (`older.py`): its value is nobody's
edit, so it neither wins nor is overwritten by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from plant3d_sync.model.link import Hold, Interval
from plant3d_sync.model.outcome import FieldOutcome, Resolution, Times, Verdict
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import BlankPolicy, ConflictPolicy, DriftPolicy, FieldRule
from plant3d_sync.model.side import Owner, Side
from plant3d_sync.reconcile.definitions import MAPPING_CHANGED
from plant3d_sync.reconcile.older import OLDER_COPY, OLDER_SYNAPSE

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


def is_blank(value: Value) -> bool:
    """None, or text without a visible character."""
    return value is None or (isinstance(value, str) and not value.strip())


def merge_field(
    rule: FieldRule,
    *,
    base: Value | NoBase,
    base_plant: Value | NoBase,
    plant3d: Value,
    synapse: Value,
    same: Same,
    times: Times,
    resolution: Resolution | None = None,
    hold: Hold | None = None,
    frozen: bool = False,
    put_back: bool = False,
    late: bool = False,
    late_in_synapse: bool = False,
    reverts: int = 0,
    no_edit: str = "",
) -> FieldOutcome:
    """Decide the value one field should have on both sides.

    `base` is SYNAPSE's spelling of the last agreed value, `base_plant` Plant 3D's (they differ only where
    SYNAPSE altered what it was given). Both values must be known; a field that was not read is not merged.
    `put_back`: we wrote this field into Plant 3D last, and Plant 3D holds again what it held before. `reverts`: how
    often that happened, while it is so or still undecided; else 0. `no_edit`: the side that moved did so because a copy
    of an earlier day was put back there (`reconcile/older.py`), or the mapping takes Plant 3D's value from elsewhere
    (`reconcile/definitions.py`), as the kind of the question.
    `late`: Plant 3D holds what a run of ours wrote that was overtaken meanwhile; no designer moved it.
    `late_in_synapse`: SYNAPSE does; no user moved it.
    """
    name = rule.field

    def out(verdict: Verdict, value: Value, reason: str, loses: Value = None) -> FieldOutcome:
        return FieldOutcome(field=name, verdict=verdict, value=value, loses=loses, reason=reason)

    if same(plant3d, synapse):
        return out(Verdict.SETTLED, plant3d, "equal")
    if hold is not None:
        restored, source = (synapse, plant3d) if hold.side == Side.SYNAPSE.value else (plant3d, synapse)
        if same(source, hold.value) and same(restored, hold.kept):
            return out(Verdict.LEAVE, None, "held_after_undo")
    if isinstance(base, NoBase) or isinstance(base_plant, NoBase):
        return _without_base(rule, plant3d, synapse, resolution, same, times, is_ours=put_back or late)
    plant_moved = not same(plant3d, base_plant)
    synapse_moved = not same(synapse, base)
    if not plant_moved and not synapse_moved:
        return out(Verdict.SETTLED, plant3d, "agreed_alteration")
    if frozen:
        resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
        return resolved or out(Verdict.CONFLICT, None, "flip_flop")
    if late_in_synapse and rule.owner is not Owner.SYNAPSE:
        resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
        return resolved or out(Verdict.TO_SYNAPSE, plant3d, "late_write_of_ours", synapse)
    if no_edit == MAPPING_CHANGED and rule.owner is not Owner.SYNAPSE:
        redefined = _of_another_mapping(rule, plant3d, synapse, synapse_moved, resolution, same)
        if redefined is not None:
            return redefined
    elif no_edit and rule.owner is not _OTHERS[no_edit]:
        resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
        return resolved or _of_an_earlier_day(rule, no_edit)
    match rule.owner:
        case Owner.PLANT3D:
            return _owned_by_plant3d(rule, plant3d, synapse, plant_moved, synapse_moved)
        case Owner.SYNAPSE:
            return _owned_by_synapse(rule, plant3d, synapse, synapse_moved)
        case Owner.SHARED:
            resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
            if resolved is not None:
                return resolved
            if late:
                return _put_right(rule, plant3d, synapse)
            if put_back or reverts >= REVERT_LIMIT:
                return _reverted(rule, plant3d, synapse, times, put_back)
            return _shared(rule, plant3d, synapse, plant_moved, synapse_moved, times)


def _owned_by_plant3d(
    rule: FieldRule, plant3d: Value, synapse: Value, plant_moved: bool, synapse_moved: bool
) -> FieldOutcome:
    if not plant_moved:
        return _drift(rule, keep=plant3d, other=synapse, restore=Verdict.TO_SYNAPSE)
    if is_blank(plant3d) and rule.blank is BlankPolicy.KEEP:
        return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=synapse)
    reason = "plant3d_owner_over_synapse_edit" if synapse_moved else "plant3d_changed"
    return FieldOutcome(
        field=rule.field, verdict=Verdict.TO_SYNAPSE, value=plant3d, loses=synapse, reason=reason
    )


def _owned_by_synapse(rule: FieldRule, plant3d: Value, synapse: Value, synapse_moved: bool) -> FieldOutcome:
    if not synapse_moved:
        restore = Verdict.TO_PLANT3D if rule.push else Verdict.WAIT
        return _drift(rule, keep=synapse, other=plant3d, restore=restore)
    if is_blank(synapse) and rule.blank is BlankPolicy.KEEP:
        return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=plant3d)
    return _into_plant3d(rule, synapse, plant3d, "synapse_changed")


def _shared(
    rule: FieldRule,
    plant3d: Value,
    synapse: Value,
    plant_moved: bool,
    synapse_moved: bool,
    times: Times,
) -> FieldOutcome:
    if plant_moved and not synapse_moved:
        if is_blank(plant3d) and rule.blank is BlankPolicy.KEEP:
            return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=synapse)
        return FieldOutcome(
            field=rule.field,
            verdict=Verdict.TO_SYNAPSE,
            value=plant3d,
            loses=synapse,
            reason="plant3d_changed",
        )
    if synapse_moved and not plant_moved:
        if is_blank(synapse) and rule.blank is BlankPolicy.KEEP:
            return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=plant3d)
        return _into_plant3d(rule, synapse, plant3d, "synapse_changed")
    winner, why = newest(times)
    if rule.blank is BlankPolicy.KEEP and (is_blank(plant3d) or is_blank(synapse)):
        winner, why = None, "blank_against_edit"
    if winner is None or rule.conflict is ConflictPolicy.ASK:
        side, because = (winner, why) if winner else suggest(plant3d, synapse, times)
        return FieldOutcome(
            field=rule.field,
            verdict=Verdict.CONFLICT,
            reason="both_changed" if winner else why,
            suggestion=side.value,
            suggestion_reason=because,
        )
    if winner is Side.PLANT3D:
        return FieldOutcome(
            field=rule.field, verdict=Verdict.TO_SYNAPSE, value=plant3d, loses=synapse, reason=why
        )
    return _into_plant3d(rule, synapse, plant3d, why)


def _of_another_mapping(
    rule: FieldRule,
    plant3d: Value,
    synapse: Value,
    synapse_moved: bool,
    resolution: Resolution | None,
    same: Same,
) -> FieldOutcome | None:
    """Nobody edited Plant 3D: what it holds elsewhere goes to a SYNAPSE that did not move, and else is a question.

    None: the owner's rule says the same.
    """
    if rule.owner is Owner.PLANT3D and synapse_moved:
        return None
    if not synapse_moved:
        if is_blank(plant3d) and rule.blank is BlankPolicy.KEEP:
            return None
        return FieldOutcome(
            field=rule.field,
            verdict=Verdict.TO_SYNAPSE,
            value=plant3d,
            loses=synapse,
            reason=MAPPING_CHANGED,
        )
    resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
    return resolved or FieldOutcome(
        field=rule.field,
        verdict=Verdict.CONFLICT,
        reason=MAPPING_CHANGED,
        suggestion=Side.SYNAPSE.value,
        suggestion_reason="nobody_edited_plant3d",
    )


_OTHERS: Final = {OLDER_COPY: Owner.SYNAPSE, OLDER_SYNAPSE: Owner.PLANT3D, MAPPING_CHANGED: Owner.SYNAPSE}
"""Whose fields an older copy of the one side cannot decide: the other side owns them, and its rule stands."""


def _of_an_earlier_day(rule: FieldRule, older: str) -> FieldOutcome:
    """One side went back to an earlier day: a person has to say whether that is meant."""
    return FieldOutcome(
        field=rule.field,
        verdict=Verdict.CONFLICT,
        reason=older,
        suggestion=(Side.SYNAPSE if older == OLDER_COPY else Side.PLANT3D).value,
        suggestion_reason="the_other_side_is_newer",
    )


def _put_right(rule: FieldRule, plant3d: Value, synapse: Value) -> FieldOutcome:
    """Only we moved Plant 3D, by a write that came too late: SYNAPSE's value holds."""
    if is_blank(synapse) and rule.blank is BlankPolicy.KEEP:
        return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=plant3d)
    return _into_plant3d(rule, synapse, plant3d, "late_write_of_ours")


def _reverted(rule: FieldRule, plant3d: Value, synapse: Value, times: Times, put_back: bool) -> FieldOutcome:
    """Our write into Plant 3D was undone there, by an open session or on purpose: a person has to say which."""
    return FieldOutcome(
        field=rule.field,
        verdict=Verdict.CONFLICT,
        reason="reverted",
        suggestion=(Side.SYNAPSE if put_back else suggest(plant3d, synapse, times)[0]).value,
        suggestion_reason="put_back_after_our_write" if put_back else "frozen_after_put_back",
    )


def _without_base(
    rule: FieldRule,
    plant3d: Value,
    synapse: Value,
    resolution: Resolution | None,
    same: Same,
    times: Times,
    *,
    is_ours: bool,
) -> FieldOutcome:
    """First sync of a pair: no side is known to have moved, so nothing filled is ever erased.

    `is_ours`: Plant 3D holds an older value of ours, which fills no blank by itself.
    """
    if is_blank(plant3d):
        if rule.owner is Owner.PLANT3D:
            return FieldOutcome(
                field=rule.field, verdict=Verdict.DRIFT, value=synapse, reason="first_sync_owner_blank"
            )
        return _into_plant3d(rule, synapse, plant3d, "first_sync_fill_blank")
    if is_blank(synapse):
        if rule.owner is Owner.SYNAPSE:
            return FieldOutcome(
                field=rule.field, verdict=Verdict.DRIFT, value=plant3d, reason="first_sync_owner_blank"
            )
        if is_ours and rule.owner is Owner.SHARED:
            resolved = _apply_resolution(rule, plant3d, synapse, resolution, same)
            return resolved or _reverted(rule, plant3d, synapse, times, put_back=True)
        return FieldOutcome(
            field=rule.field, verdict=Verdict.TO_SYNAPSE, value=plant3d, reason="first_sync_fill_blank"
        )
    match rule.owner:
        case Owner.PLANT3D:
            return FieldOutcome(
                field=rule.field,
                verdict=Verdict.TO_SYNAPSE,
                value=plant3d,
                loses=synapse,
                reason="first_sync_owner",
            )
        case Owner.SYNAPSE:
            return _into_plant3d(rule, synapse, plant3d, "first_sync_owner")
        case Owner.SHARED:
            side, because = suggest(plant3d, synapse, times)
            return _apply_resolution(rule, plant3d, synapse, resolution, same) or FieldOutcome(
                field=rule.field,
                verdict=Verdict.CONFLICT,
                reason="first_sync_differs",
                suggestion=side.value,
                suggestion_reason=because,
            )


def _into_plant3d(rule: FieldRule, value: Value, loses: Value, reason: str) -> FieldOutcome:
    """A value for Plant 3D: pushed where the mapping allows it, else a work item for a designer."""
    if rule.push:
        return FieldOutcome(
            field=rule.field, verdict=Verdict.TO_PLANT3D, value=value, loses=loses, reason=reason
        )
    return FieldOutcome(
        field=rule.field, verdict=Verdict.WAIT, value=value, loses=loses, reason="waiting_for_cad"
    )


def _drift(rule: FieldRule, *, keep: Value, other: Value, restore: Verdict) -> FieldOutcome:
    """An edit on the side that does not own the field."""
    if is_blank(keep) and rule.blank is BlankPolicy.KEEP and rule.drift is DriftPolicy.RESTORE:
        return FieldOutcome(field=rule.field, verdict=Verdict.LEAVE, reason="blank_kept", loses=other)
    match rule.drift:
        case DriftPolicy.RESTORE:
            return FieldOutcome(
                field=rule.field, verdict=restore, value=keep, loses=other, reason="drift_restored"
            )
        case DriftPolicy.PROPOSE:
            return FieldOutcome(
                field=rule.field, verdict=Verdict.DRIFT, value=keep, loses=other, reason="drift_proposed"
            )
        case DriftPolicy.IGNORE:
            return FieldOutcome(
                field=rule.field, verdict=Verdict.DRIFT, value=keep, loses=other, reason="drift_ignored"
            )


def _apply_resolution(
    rule: FieldRule, plant3d: Value, synapse: Value, resolution: Resolution | None, same: Same
) -> FieldOutcome | None:
    """A person's choice, if both sides still hold the values it was chosen between.

    A choice is carried out in steps (first one side, then the other); a side that already holds the
    chosen value is where the choice wants it, so it does not void the choice.
    """
    if resolution is None:
        return None
    chosen = resolution.chosen
    plant_ok = same(plant3d, resolution.plant3d_value) or same(plant3d, chosen)
    there = resolution.given or same(synapse, chosen)
    synapse_ok = there or same(synapse, resolution.synapse_value)
    if not (plant_ok and synapse_ok):
        return None
    if not there:
        return FieldOutcome(
            field=rule.field, verdict=Verdict.TO_SYNAPSE, value=chosen, loses=synapse, reason="resolved"
        )
    return _into_plant3d(rule, chosen, plant3d, "resolved")


def suggest(plant3d: Value, synapse: Value, times: Times) -> tuple[Side, str]:
    """The side to look at first, and why: of which the latest possible moment of its edit is later, by what it says itself.

    That is no proof (a row may have been saved again, a clock may be wrong), so nothing is decided by it. Without
    times: the side that says more.
    """
    saved = times.plant3d.away if times.plant3d is not None else times.row_stamp
    if saved is not None and times.row_stamp is not None:
        saved = min(saved, times.row_stamp)
    edited = times.synapse.away if times.synapse is not None else None
    if times.synapse_stamp is not None:
        edited = times.synapse_stamp - (times.skew or 0.0)
    if saved is not None and edited is not None and abs(saved - edited) > SAME_MOMENT:
        later = saved > edited
        return (Side.PLANT3D, "plant3d_saved_later") if later else (Side.SYNAPSE, "synapse_edited_later")
    longer = len(str(synapse or "")) > len(str(plant3d or ""))
    return (Side.SYNAPSE if longer else Side.PLANT3D), "says_more"


SYNAPSE_LATER: Final = "synapse_changed_later"
PLANT3D_LATER: Final = "plant3d_changed_later"
BY_TIME: Final = frozenset({SYNAPSE_LATER, PLANT3D_LATER})
"""Reasons of what was decided because one edit is the later one."""

SAME_MOMENT: Final = 0.001
"""Seconds: two sides that were first seen changed by the same read."""


def newest(times: Times) -> tuple[Side | None, str]:
    """Which side was edited last, or None and the reason why nobody can tell.

    Each side's change is known as an interval on our clock (`reconcile/dating.py`); where they do not overlap the newer
    wins. SYNAPSE dates the field; against an interval of Plant 3D that stamp counts only if its clock's skew is known and
    the stamp is plausible: not in the future, and inside the interval in which we saw the change appear.
    """
    plant, synapse = times.plant3d, times.synapse
    if plant is None:
        return None, "plant3d_change_not_observed"
    if any(
        seen is not None and seen.at_base is not None and seen.at_base >= seen.away
        for seen in (plant, synapse)
    ):
        return None, "our_clock_went_back"
    if synapse is not None:
        if synapse.at_base is not None and synapse.at_base >= plant.away:
            return Side.SYNAPSE, SYNAPSE_LATER
        if plant.at_base is not None and plant.at_base >= synapse.away:
            return Side.PLANT3D, PLANT3D_LATER
    if times.synapse_stamp is None:
        return None, "synapse_time_missing"
    if times.skew is None:
        return None, "clock_skew_unknown"
    stamp = times.synapse_stamp - times.skew
    if not _plausible(stamp, synapse, times):
        return None, "synapse_time_implausible"
    if plant.at_base is not None and stamp < plant.at_base - times.tolerance:
        return Side.PLANT3D, PLANT3D_LATER
    if stamp > plant.away + times.tolerance:
        return Side.SYNAPSE, SYNAPSE_LATER
    return None, "changed_at_about_the_same_time"


def _plausible(stamp: float, seen: Interval | None, times: Times) -> bool:
    if stamp > times.now + times.tolerance:
        return False
    if seen is None:
        return True
    if stamp > seen.away + times.tolerance:
        return False
    return seen.at_base is None or stamp >= seen.at_base - times.tolerance
