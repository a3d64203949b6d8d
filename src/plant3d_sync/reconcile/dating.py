"""When a side was edited: an interval on our own clock, as narrow as what is known of the clocks allows.

Below stands our last sight of the value both sides agreed on. Above stands what was first seen changed: at the latest
now, and no later than

- Plant 3D's file was changed, where our own clock says when (a file on a disk of this machine);
- the row was saved, by the clock of a workstation, plus the tolerance. A row stamp never dates a field from below: the row
  may have been saved again for another reason. If the file had a single change since our last sight, and the row's stamp
  agrees with it, that change is the edit.

SYNAPSE dates the field itself, so its time bounds the edit from both sides, by the tolerance of its clock.

A clock that is wrong widens an interval or leaves it as it is, so that it still holds the edit: a stamp of before our last
sight or of the future does not count. A workstation may be a whole hour behind (summer time, the wrong zone) or a whole day
without anything that shows it, if its stamp is older than that; such a stamp bounds the edit by that much less.

Our own clock may be the wrong one: where it is ahead of SYNAPSE's, it counts as ahead of every workstation's by as much.

A workstation that is behind by less than that shows it as soon as it stamps a row earlier than we saw that row without the
stamp. The worst such lag of the project is remembered, and widens every interval from then on.
"""

from __future__ import annotations

from typing import Final

from plant3d_sync.model.link import Interval
from plant3d_sync.model.outcome import LEAST, Clocks

HOUR: Final = 3600.0
DAY: Final = 86_400.0


def plant3d_edit(last_sight: float | None, now: float, row_stamp: float | None, clocks: Clocks) -> Interval:
    """When a cell was edited that was seen changed now. `last_sight`: when it last held the agreed value; None: never."""
    since, until = last_sight, now
    changed = clocks.file_changed
    if changed is not None and last_sight is not None and last_sight < changed <= now:
        until = changed
        if clocks.one_commit and row_stamp is not None and abs(row_stamp - changed) <= LEAST:
            since = max(last_sight, changed - 1.0)
    if row_stamp is not None and last_sight is not None and last_sight <= row_stamp:
        until = min(
            until,
            row_stamp
            + max(clocks.tolerance, clocks.behind, LEAST)
            + _hidden_fault(until - row_stamp, clocks),
        )
    return Interval(at_base=since, away=until)


def lag_shown(
    last_sight: float | None, now: float, former_stamp: float | None, row_stamp: float | None, clocks: Clocks
) -> float:
    """How far behind a workstation is, at most, if the stamp it gave a row shows that it is behind at all; else 0.0.

    `former_stamp`: the stamp that the row had at our last sight. A new one was given after that, by a single change of the
    file at the moment of that change. What the tolerance allows for shows nothing.
    """
    if last_sight is None or former_stamp is None or row_stamp is None or row_stamp <= former_stamp:
        return 0.0
    since, until = last_sight, now
    changed = clocks.file_changed
    if changed is not None and last_sight < changed <= now:
        until = changed
        since = changed if clocks.one_commit else last_sight
    return until - row_stamp if since - row_stamp > max(clocks.tolerance, LEAST) else 0.0


def with_lag(seen: Interval | None, clocks: Clocks) -> Interval | None:
    """An interval that may have been found before the lag of a workstation was: its end may be as much later."""
    if seen is None or clocks.behind <= clocks.tolerance:
        return seen
    return Interval(at_base=seen.at_base, away=seen.away + clocks.behind)


def _hidden_fault(age: float, clocks: Clocks) -> float:
    """How far behind a workstation may be that stamped a row so long before the latest possible moment."""
    if age < HOUR - clocks.tolerance:
        return 0.0
    return HOUR if age < DAY - clocks.tolerance else DAY


def synapse_edit(last_sight: float | None, now: float, stamp: float | None, clocks: Clocks) -> Interval:
    """When a field was edited that was seen changed now. `stamp`: as SYNAPSE says, by its clock."""
    seen = Interval(at_base=last_sight, away=now)
    if stamp is None or clocks.skew is None:
        return seen
    margin = clocks.exact if _is_steady(clocks) else max(clocks.tolerance, LEAST)
    edited = stamp - clocks.skew
    if edited > now + margin or (last_sight is not None and edited < last_sight - margin):
        return seen
    since = edited - margin if last_sight is None else max(last_sight, edited - margin)
    until = min(now, edited + margin)
    return Interval(at_base=since, away=until) if since < until else seen


def _is_steady(clocks: Clocks) -> bool:
    """Whether neither SYNAPSE's clock nor ours was set since the last run."""
    return (
        clocks.skew is not None
        and clocks.skew_before is not None
        and abs(clocks.skew - clocks.skew_before) <= LEAST
    )
