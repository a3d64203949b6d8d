"""The interval that is told of an edit holds it, whatever the clocks say; where both are known the newer wins."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from plant3d_sync.model.outcome import Clocks, Times
from plant3d_sync.model.side import Side
from plant3d_sync.reconcile import dating
from plant3d_sync.reconcile.latest import newest, suggest
from plant3d_sync.usecases.conflicts import SUGGESTED

HOUR, DAY = 3600.0, 86_400.0
START = 1_800_000_000.0
FAULTS = {
    "right": 0.0,
    "two seconds behind": -2.0,
    "a minute behind": -60.0,
    "an hour behind": -HOUR,
    "an hour ahead": HOUR,
    "a day behind": -DAY,
    "a day ahead": DAY,
    "years behind": -400 * DAY,
}
WINDOWS = (60.0, 300.0, HOUR, 8 * HOUR, 3 * DAY)


def winner(plant3d: float, synapse: float, until: float, stamp: float | None, clocks: Clocks) -> Side | None:
    """Who wins when both sides were last seen equal at START and are both seen changed at `until`."""
    return newest(
        Times(
            now=until,
            tolerance=clocks.tolerance,
            plant3d=dating.plant3d_edit(START, until, stamp, clocks),
            synapse=dating.synapse_edit(START, until, synapse + (clocks.skew or 0.0), clocks),
            row_stamp=stamp,
            synapse_stamp=synapse + (clocks.skew or 0.0),
            skew=clocks.skew,
        )
    )[0]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_workstations_clock_makes_no_wrong_winner(fault: float) -> None:
    """Its rows may be saved again later, for another reason; its clock may be wrong by any of these."""
    clocks = Clocks(skew=0.0, skew_before=0.0)
    decided = 0
    for window in WINDOWS:
        moments = [window * part / 12 for part in range(1, 12)]
        for edited, saved, synapse in product(moments, moments, moments):
            if saved < edited:
                continue
            found = winner(START + edited, START + synapse, START + window, START + saved + fault, clocks)
            if found is not None:
                decided += 1
                truth = Side.PLANT3D if edited > synapse else Side.SYNAPSE
                assert found is truth, (window, edited, saved, synapse)
    assert decided > 100 if abs(fault) <= 60 else True, "true stamps decide"


def of_a_clock_behind_by(lag: float, clocks: Clocks) -> set[bool]:
    """Whether each winner is the right one, for edits of a workstation that is so far behind."""
    found: set[bool] = set()
    for window in WINDOWS:
        moments = [window * part / 12 for part in range(1, 12)]
        for edited, synapse in product(moments, moments):
            side = winner(START + edited, START + synapse, START + window, START + edited - lag, clocks)
            if side is not None and edited != synapse:
                found.add(side is (Side.PLANT3D if edited > synapse else Side.SYNAPSE))
    return found


@pytest.mark.parametrize("lag", [150.0, 600.0, 1800.0])
def test_a_workstation_that_was_shown_to_be_behind_makes_no_wrong_winner(lag: float) -> None:
    clocks = Clocks(skew=0.0, skew_before=0.0, lag=lag)
    assert False not in of_a_clock_behind_by(lag, clocks)
    assert False in of_a_clock_behind_by(lag, replace(clocks, lag=0.0)), "nothing has shown it yet"


BEFORE = START - 5000.0
"""The stamp that a row had when it was last seen, at START."""


@pytest.mark.parametrize("ahead", [300.0, 1800.0, 3000.0, HOUR, 5400.0, DAY])
def test_our_own_clock_ahead_of_everybody_elses_makes_no_wrong_winner(ahead: float) -> None:
    """SYNAPSE's clock is as much behind ours as the workstations' are, and that is known."""
    clocks = Clocks(skew=-ahead, skew_before=-ahead)
    decided = 0
    for window in (2 * HOUR, 8 * HOUR, 3 * DAY):
        moments = [window * part / 12 for part in range(1, 12)]
        for edited, saved, synapse in product(moments, moments, moments):
            if saved < edited:
                continue
            found = winner(START + edited, START + synapse, START + window, START + saved - ahead, clocks)
            if found is not None:
                decided += 1
                truth = Side.PLANT3D if edited > synapse else Side.SYNAPSE
                assert found is truth, (window, edited, saved, synapse)
    assert decided > 20, "that nothing is decided proves nothing"


@pytest.mark.parametrize(
    ("former", "stamp", "clocks", "lag"),
    [
        (BEFORE, START - 121, Clocks(), 421.0),
        (BEFORE, START - 119, Clocks(), 0.0),
        (BEFORE, START + 10, Clocks(), 0.0),
        (BEFORE, START - 1000, Clocks(tolerance=900.0), 1300.0),
        (BEFORE, START - 1000, Clocks(tolerance=1000.0), 0.0),
        (BEFORE, START - 121, Clocks(file_changed=START + 100), 221.0),
        (BEFORE, START + 50, Clocks(file_changed=START + 200), 0.0),
        (BEFORE, START + 50, Clocks(file_changed=START + 200, one_commit=True), 150.0),
        (BEFORE, START + 100, Clocks(file_changed=START + 200, one_commit=True), 0.0),
        (BEFORE, BEFORE, Clocks(), 0.0),
        (BEFORE, BEFORE - 1, Clocks(), 0.0),
        (BEFORE, None, Clocks(), 0.0),
        (None, START - 121, Clocks(), 0.0),
    ],
    ids=[
        "stamped before our last sight",
        "within the tolerance",
        "after our last sight",
        "behind by more than the settings allow",
        "behind by what the settings allow",
        "the file changed no later than that",
        "the file changed several times",
        "the one change of the file was later",
        "the one change of the file was a little later",
        "not stamped since",
        "a copy of an earlier day",
        "no stamp",
        "no stamp before",
    ],
)
def test_a_stamp_shows_that_a_workstation_is_behind(
    former: float | None, stamp: float | None, clocks: Clocks, lag: float
) -> None:
    assert dating.lag_shown(START, START + 300, former, stamp, clocks) == lag
    assert dating.lag_shown(None, START + 300, former, stamp, clocks) == 0.0


def test_an_interval_of_an_earlier_run_ends_as_much_later_as_the_lag_that_is_known_now() -> None:
    seen = dating.plant3d_edit(START, START + 300, START + 10, Clocks())
    assert dating.with_lag(seen, Clocks()) == seen
    wider = dating.with_lag(seen, Clocks(lag=600.0))
    assert wider is not None and (wider.at_base, wider.away) == (START, START + 130 + 600)
    assert dating.with_lag(None, Clocks(lag=600.0)) is None


@pytest.mark.parametrize(
    "stamp", [None, 0.0, START - 1.0], ids=["missing", "none", "of before our last sight"]
)
def test_a_stamp_that_says_nothing_bounds_nothing(stamp: float | None) -> None:
    seen = dating.plant3d_edit(START, START + 300, stamp, Clocks())
    assert (seen.at_base, seen.away) == (START, START + 300)


@pytest.mark.parametrize("gap", [6.0, -6.0])
def test_six_seconds_are_enough_where_our_own_clock_saw_the_file_change(gap: float) -> None:
    edited = START + 100
    clocks = Clocks(skew=7.5, skew_before=7.0, file_changed=edited, one_commit=True)
    found = winner(edited, edited + gap, START + 300, edited - 0.5, clocks)
    assert found is (Side.SYNAPSE if gap > 0 else Side.PLANT3D)


@pytest.mark.parametrize(
    "clocks",
    [
        Clocks(skew=0.0, skew_before=0.0, file_changed=None),
        Clocks(skew=0.0, skew_before=0.0, file_changed=START + 290),
        Clocks(skew=0.0, skew_before=30.0, file_changed=START + 100),
        Clocks(skew=0.0, skew_before=None, file_changed=START + 100),
        Clocks(skew=None, file_changed=START + 100),
        Clocks(skew=0.0, skew_before=0.0, file_changed=START - 5),
        Clocks(skew=0.0, skew_before=0.0, file_changed=START + 4000),
    ],
    ids=[
        "the file is elsewhere",
        "it changed again",
        "a clock was set",
        "first run",
        "skew unknown",
        "file older than our last sight",
        "file of the future",
    ],
)
def test_six_seconds_are_not_enough_for_the_clocks_of_others(clocks: Clocks) -> None:
    assert winner(START + 100, START + 106, START + 300, START + 100, clocks) is None


def test_one_change_of_the_file_dates_the_edit_only_if_the_rows_stamp_agrees() -> None:
    clocks = Clocks(skew=0.0, skew_before=0.0, file_changed=START + 200, one_commit=True)
    assert dating.plant3d_edit(START, START + 300, START + 200, clocks).at_base == START + 199
    assert dating.plant3d_edit(START, START + 300, START + 50, clocks).at_base == START
    several = replace(clocks, one_commit=False)
    assert dating.plant3d_edit(START, START + 300, START + 200, several).at_base == START


@pytest.mark.parametrize(
    ("seconds", "gap", "expected"),
    [
        (None, 121, Side.SYNAPSE),
        (None, 119, None),
        (600.0, 599, None),
        (600.0, 1202, Side.SYNAPSE),
        (0.0, 1.5, None),
        (0.0, 4.5, Side.SYNAPSE),
    ],
)
def test_the_settings_say_how_far_a_workstations_clock_is_trusted(
    seconds: float | None, gap: float, expected: Side | None
) -> None:
    clocks = replace(Clocks.allowing(seconds), skew=0.0, skew_before=0.0)
    gap += clocks.exact if expected and seconds is None else 0
    assert winner(START + 100, START + 100 + gap, START + 3000, START + 100, clocks) is expected


@pytest.mark.parametrize(
    ("stamp", "edited", "side", "why"),
    [
        (START + 100, START + 160, Side.SYNAPSE, "synapse_edited_later"),
        (START + 160, START + 100, Side.PLANT3D, "plant3d_saved_later"),
        (START - 600 * DAY, START + 100, Side.SYNAPSE, "synapse_edited_later"),
        (None, START + 100, Side.PLANT3D, "plant3d_saved_later"),
        (START + 100, None, Side.SYNAPSE, "synapse_edited_later"),
    ],
)
def test_what_is_suggested_follows_the_later_of_the_two_latest_moments(
    stamp: float | None, edited: float | None, side: Side, why: str
) -> None:
    times = Times(
        now=START + 300,
        plant3d=dating.plant3d_edit(START, START + 300, None, Clocks()),
        synapse=dating.synapse_edit(START, START + 300, None, Clocks()),
        row_stamp=stamp,
        synapse_stamp=edited,
        skew=0.0,
    )
    assert suggest("the longer text of the two", "short", times) == (side, why)
    assert SUGGESTED[why], "and it is told in words"


def test_without_any_time_the_side_that_says_more_is_suggested() -> None:
    times = Times(now=START)
    assert suggest("short", "the longer one", times) == (Side.SYNAPSE, "says_more")
    assert suggest("the longer one", "short", times) == (Side.PLANT3D, "says_more")


@pytest.mark.parametrize("changed", [START - 5.0, START, START + 301.0])
def test_a_time_of_the_file_that_cannot_be_right_bounds_nothing(changed: float) -> None:
    seen = dating.plant3d_edit(START, START + 300, None, Clocks(file_changed=changed, one_commit=True))
    assert (seen.at_base, seen.away) == (START, START + 300)
