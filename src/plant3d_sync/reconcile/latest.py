"""Both sides moved: which edit is the later one, or which to look at first."""

from __future__ import annotations

from typing import Final

from plant3d_sync.model.link import Interval
from plant3d_sync.model.outcome import Times
from plant3d_sync.model.record import Value
from plant3d_sync.model.side import Side


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
