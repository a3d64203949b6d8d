"""Both sides edit a field between the same two runs: the newer wins where the clocks tell, and else a person is asked."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest

from tests.support.story import Story, Tell, promise, ticks_now
from tests.support.wayback import bench

TICKS = 10_000_000


def at(moment: float) -> str:
    """This moment as SYNAPSE says it."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def user_types(story: Story, tag: str, text: str, moment: float) -> None:
    """A user's edit at this moment, by SYNAPSE's clock."""
    story.edit_asset(story.asset(tag)["id"], _by="user:marie", _at=at(moment), description=text)
    story.typed("synapse", tag, "description", text)


def stamps(story: Story, tag: str, ticks: int | None) -> None:
    """The workstation's clock says something else: the row that was just saved carries this stamp."""
    with closing(sqlite3.connect(story.world.dcf)) as connection, connection:
        connection.execute("UPDATE PnPBase SET PnPTimestamp = ? WHERE PnPID = ?", (ticks, story.items[tag]))


def quarrel(story: Story, *, gap: float, fault: float | None = 0.0, more: bool = False) -> None:
    """The designer saves now, the user edits `gap` seconds later (or earlier), and a run comes after both.

    `fault`: how far off the workstation's clock is, None: it leaves no stamp. `more`: another item is saved at the end.
    """
    now = time.time()
    with bench(story.world, at=now - 30) as before:
        before.run()
    story.designer.types("HV-1", "description", "The designer's")
    if fault is None:
        stamps(story, "HV-1", None)
    elif fault:
        stamps(story, "HV-1", ticks_now() + int(fault * TICKS))
    user_types(story, "HV-1", "The user's", time.time() + gap)
    if more:
        story.designer.types("P-1", "description", "Another item")
    with bench(story.world, at=time.time() + 60) as after:
        after.run()


def suggested(story: Story) -> tuple[str, str]:
    """What a person is told to look at first, and why."""
    asked = story.the_conflict("HV-1")
    promise(bool(asked["suggested_explanation"]), f"the reason is not told in words: {asked}")
    return asked["suggested_resolution"], asked["suggested_reason"]


def test_a_user_who_edits_six_seconds_after_the_designer_wins(unpulled: Tell) -> None:
    story = unpulled()
    quarrel(story, gap=6)
    story.then.both_sides_hold("HV-1", "The user's")
    story.then.is_not_asked("HV-1")


def test_a_designer_who_saves_six_seconds_after_the_user_wins(unpulled: Tell) -> None:
    story = unpulled()
    quarrel(story, gap=-6)
    story.then.both_sides_hold("HV-1", "The designer's")
    story.then.is_not_asked("HV-1")


def test_when_the_file_was_saved_more_than_once_nobody_knows_that_the_designer_was_last(
    unpulled: Tell,
) -> None:
    story = unpulled()
    quarrel(story, gap=-6, more=True)
    story.then.is_asked("HV-1", "description", "The designer's", "The user's")
    promise(suggested(story) == ("plant3d", "plant3d_saved_later"), suggested(story))


def test_edits_a_second_apart_go_to_a_person(unpulled: Tell) -> None:
    story = unpulled()
    quarrel(story, gap=1)
    story.then.is_asked("HV-1", "description", "The designer's", "The user's")
    promise(suggested(story) == ("synapse", "synapse_edited_later"), suggested(story))


@pytest.mark.parametrize("fault", [None, -3600.0, 3600.0, -86_400.0, 86_400.0, -40.0], ids=str)
def test_a_workstation_whose_clock_is_wrong_never_makes_the_older_edit_win(
    unpulled: Tell, fault: float | None
) -> None:
    story = unpulled()
    quarrel(story, gap=-6, fault=fault, more=True)
    story.then.is_asked("HV-1", "description", "The designer's", "The user's")
    story.then.plant3d_holds("HV-1", "The designer's")
    story.then.synapse_holds("HV-1", "The user's")


def test_a_workstation_that_once_showed_that_it_is_behind_makes_no_wrong_winner_later(unpulled: Tell) -> None:
    """It is twenty minutes behind: what the designer saves now carries a stamp of before the user's edit."""
    story, now = unpulled(), time.time()
    with bench(story.world, at=now - 8000) as first:
        first.run()
    story.designer.types("P-1", "description", "Saved by a clock that is behind")
    stamps(story, "P-1", ticks_now() - 9000 * TICKS)
    with bench(story.world, at=now - 4000) as shows:
        shows.run()
    story.designer.types("HV-1", "description", "The designer's")
    stamps(story, "HV-1", ticks_now() - 1200 * TICKS)
    user_types(story, "HV-1", "The user's", time.time() - 600)
    with bench(story.world, at=time.time() + 60) as after:
        after.run()
    story.then.is_asked("HV-1", "description", "The designer's", "The user's")
    assert story.world.rows("SELECT plant_lag FROM project")[0]["plant_lag"] > 1200
