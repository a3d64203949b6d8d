"""Stories of runs that are cut, of backups that are put back, and of writes that nobody heard of: "and if just then …"."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from typing import Any

import pytest

from plant3d_sync.model.side import Direction
from tests.support.story import Story, Tell, promise

ANY_SECOND_COUNTS = {"tolerance_seconds": 0}
ASK = {"policy": "ask"}
DRAWN = "Valve 1, as drawn"


# ---------------------------------------------------------------- kind 1: not looked at is not unchanged


def test_kind_01_a_field_whose_sides_came_back_to_the_base_keeps_no_date(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's")
    run.push()  # sees it, may not carry it
    designer.types("HV-1", "description", DRAWN)
    run.now()
    user.types("HV-1", "description", "The user's")
    designer.types("HV-1", "description", "The designer's")
    run.now()
    then.is_asked("HV-1", "description", "The designer's", "The user's")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_question_that_both_took_back_leaves_nothing_behind(tell: Tell) -> None:
    story = tell(conflict={**ASK, **ANY_SECOND_COUNTS})
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's")
    user.types("HV-1", "description", "The user's")
    run.now()
    then.is_asked("HV-1")
    designer.types("HV-1", "description", DRAWN)
    user.types("HV-1", "description", DRAWN)
    run.now()
    then.is_not_asked("HV-1")
    user.types("HV-1", "description", "The user's")
    run.now()
    then.both_sides_hold("HV-1", "The user's")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_what_was_put_back_and_mended_is_no_question_any_more(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "First")
    run.now()
    designer.saves_an_old_session("HV-1", "description", DRAWN)
    run.now()
    then.is_asked("HV-1")
    designer.types("HV-1", "description", "First")
    run.now()
    then.is_not_asked("HV-1")
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-1", "The designer goes on")
    then.all_is_well()


@pytest.mark.parametrize("phase", ["compare", "write"])
@pytest.mark.long
def test_kind_01_edits_around_a_run_that_was_cut_are_no_younger_for_it(tell: Tell, phase: str) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "Carried before the cut")
    designer.types("HV-1", "description", "The designer's, first")
    run.cut(phase)
    user.types("HV-1", "description", "The user's, later")
    run.now()
    then.arrived_or_asked("HV-1", "The user's, later")
    then.both_sides_hold("P-1", "Carried before the cut")
    then.all_is_well()


# ---------------------------------------------------------------- kind 2: decisions that hang on one message


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("compare", marks=pytest.mark.long),
        "write",
        pytest.param("push", marks=pytest.mark.long),
    ],
)
def test_kind_02_what_a_run_read_before_it_was_cut_is_acted_upon(tell: Tell, phase: str) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's")
    designer.types("P-2", "description", "The designer's too")
    user.types("HV-1", "description", "The user's")
    user.types("HV-2", "description", "The user's too")
    run.cut(phase)
    user.types("HV-1", "description", "The user's, newer")
    run.now()
    then.both_sides_hold("HV-1", "The user's, newer")
    then.both_sides_hold("HV-2", "The user's too")
    then.both_sides_hold("P-2", "The designer's too")
    then.all_is_well()


@pytest.mark.long
def test_kind_02_an_asset_that_a_cut_run_saw_archived_is_told(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("HV-1")
    designer.types("P-1", "description", "The designer's")
    run.cut("compare")
    run.now()
    then.is_told("HV-1")
    user.unarchives("HV-1")
    designer.types("P-1", "description", "The designer's, newer")
    run.cut("write")
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-1", "The designer goes on")
    then.all_is_well()


# ---------------------------------------------------------------- kind 3: paths beside the merge


def test_kind_03_an_item_redrawn_while_its_asset_was_purged_has_one_asset(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's")
    run.now()
    user.purges("HV-1")
    designer.redraws("HV-1")
    run.pull("--full")
    run.command("links", "accept", "mine")
    run.now()
    designer.types("HV-1", "size", '3"')
    run.now()
    user.types("HV-1", "description", "Typed into the new one")
    run.now()
    then.synapse_holds("HV-1", '3"', "size")
    then.both_sides_hold("HV-1", "Typed into the new one")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_an_asset_purged_while_its_item_was_away_is_made_again_once(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.now()
    then.is_archived("HV-1")
    user.purges("HV-1")
    run.pull("--full")
    designer.brings_back(deleted)
    designer.types("HV-1", "description", "Back again")
    run.now()
    run.now()
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "Back again")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_an_item_created_before_the_cut_meets_what_a_user_typed_into_it(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.adds("HV-8", "GateValve", description="Drawn, eight")
    designer.adds("HV-9", "GateValve", description="Drawn, nine")
    run.cut("write")
    (made,) = [tag for tag in ("HV-8", "HV-9") if story.asset_or_none(tag)]
    user.types(made, "description", "Typed at once")
    run.now()
    then.both_sides_hold(made, "Typed at once")
    then.lives("HV-8")
    then.lives("HV-9")
    then.all_is_well()


# ---------------------------------------------------------------- kind 4: writes without their condition


def test_kind_04_a_cell_that_a_designer_types_after_the_push_was_cut_is_kept(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    tags = ("HV-1", "HV-2", "HV-3")
    for tag in tags:
        user.types(tag, "description", f"{tag} of the user")
    run.cut("push", Direction.PUSH)
    waiting = [tag for tag in tags if story.cell(tag) != f"{tag} of the user"]
    promise(len(waiting) == 2, f"it was cut after one cell, and {waiting} wait")
    designer.types(waiting[0], "description", "Typed after the cut")
    run.now()
    then.plant3d_holds(waiting[0], "Typed after the cut")
    then.is_asked(waiting[0], "description", "Typed after the cut")
    then.both_sides_hold(waiting[1], f"{waiting[1]} of the user")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_plan_made_before_a_backup_was_put_back_overwrites_nothing(tell: Tell) -> None:
    story, backup = pushed_twice(tell)
    designer, user, run, then = story.cast
    designer.types("HV-2", "description", "The designer's")
    user.types("HV-1", "description", "Third")
    plan = run.plan()
    put_back(story, backup)
    story.typed("plant3d", "HV-2", "description", None)  # the administrator threw it away with the file
    run.apply(plan)
    run.now()
    then.kept_or_asked("HV-1", "Third")
    then.all_is_well()


# ---------------------------------------------------------------- kind 5: memory of one step


@pytest.mark.parametrize("field", ["description", pytest.param("model", marks=pytest.mark.long)])
def test_kind_05_a_late_write_into_synapse_that_nobody_heard_of_is_ours(tell: Tell, field: str) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    before = story.cell("P-1", field)
    designer.types("P-1", field, "Taken back later")
    with run.overtaken("pull.intent_stored", dies_at="pull.reply_received"):
        designer.types("P-1", field, before)
    then.synapse_holds("P-1", "Taken back later", field)  # it wrote late, and died
    run.now()
    run.now()
    then.both_sides_hold("P-1", before, field)
    user.types("P-1", field, "The user's")
    run.now()
    then.both_sides_hold("P-1", "The user's", field)
    then.all_is_well()


@pytest.mark.long
def test_kind_05_a_user_who_types_what_a_dead_run_meant_to_write_is_heard(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "Two had this idea")
    run.killed("pull.intent_stored")
    designer.types("HV-1", "description", DRAWN)
    run.now()
    user.types("HV-1", "description", "Two had this idea")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Two had this idea")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_a_late_write_nobody_heard_of_does_not_hide_a_users_edit(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "Taken back later")
    with run.overtaken("pull.intent_stored", dies_at="pull.reply_received"):
        designer.types("HV-1", "description", DRAWN)
    user.types("HV-1", "description", "The user's, over the late one")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's, over the late one")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_a_late_write_into_plant3d_that_nobody_heard_of_is_ours(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "Taken back later")
    with run.overtaken("push.before_begin", dies_at="push.read_back"):
        user.types("HV-1", "description", DRAWN)
    then.plant3d_holds("HV-1", "Taken back later")  # it wrote late, and died
    run.now()
    run.now()
    then.both_sides_hold("HV-1", DRAWN)
    then.all_is_well()


def pushed_twice(tell: Tell, **options: Any) -> tuple[Story, str]:
    """HV-1 was written twice; the backup made before the second push holds the first text."""
    story = tell(**options)
    for text in ("First", "Second"):
        story.user.types("HV-1", "description", text)
        story.run.now()
    story.then.both_sides_hold("HV-1", "Second")
    return story, story.backups()[-1]


def put_back(story: Story, backup: str) -> None:
    said = story.run.command("restore", "mine", backup, "--yes")
    assert said.json["restored"], said.out


def test_kind_05_a_backup_of_plant3d_that_is_put_back_is_no_edit(tell: Tell) -> None:
    story, backup = pushed_twice(tell)
    designer, _user, run, then = story.cast
    put_back(story, backup)
    then.plant3d_holds("HV-1", "First")
    run.now()
    then.synapse_holds("HV-1", "Second")
    then.is_asked("HV-1", "description", "First", "Second")
    designer.types("HV-2", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-2", "The designer goes on")
    run.resolve("HV-1", "synapse")
    run.now()
    then.both_sides_hold("HV-1", "Second")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_a_backup_put_back_and_edited_at_once_is_asked(tell: Tell) -> None:
    story, backup = pushed_twice(tell)
    designer, user, run, then = story.cast
    put_back(story, backup)
    designer.types("HV-1", "description", "Typed over the old text")
    user.types("HV-2", "description", "Typed beside it")
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Typed over the old text")
    then.both_sides_hold("HV-2", "Typed beside it")
    then.all_is_well()


# ---------------------------------------------------------------- kind 6: plans carry intentions


@pytest.mark.long
def test_kind_06_an_undo_after_a_backup_was_put_back_brings_nothing_older(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "First")
    run.now()
    user.types("HV-1", "description", "Second")
    pushed = run.now()
    undo = run.undo(pushed).json["plan_id"]
    put_back(story, story.backups()[-1])
    run.apply(undo)
    run.now()
    run.now()
    then.kept_or_asked("HV-1", "Second")
    designer.types("HV-2", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-2", "The designer goes on")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.long
def test_kind_06_a_plan_of_the_state_that_was_thrown_away_is_unknown(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    yesterday = story.keeps_its_state()
    designer.types("HV-1", "description", "Older")
    plan = run.plan()
    story.puts_its_state_back(yesterday)
    designer.types("HV-1", "description", "Newer")
    said = story.world.cli("apply", plan)
    promise(said.code == 2, f"the plan is known: {said.out}")
    run.now()
    then.both_sides_hold("HV-1", "Newer")
    then.all_is_well()


def test_kind_06_what_was_undone_and_taken_back_can_be_typed_again_on_purpose(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "Undone once")
    run.undone(run.push())
    run.now()
    user.types("HV-1", "description", DRAWN)
    run.now()
    user.types("HV-1", "description", "Undone once")
    run.now()
    then.both_sides_hold("HV-1", "Undone once")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_what_a_designer_takes_back_after_an_undo_can_be_drawn_again(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "Undone once")
    run.undone(run.now())
    run.now()
    then.synapse_holds("HV-1", DRAWN)
    designer.types("HV-1", "description", DRAWN)
    run.now()
    designer.types("HV-1", "description", "Undone once")
    run.now()
    then.both_sides_hold("HV-1", "Undone once")
    then.all_is_well()


# ---------------------------------------------------------------- kind 7: what guards compare with


def test_kind_07_yesterdays_state_overwrites_nobody(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    yesterday = story.keeps_its_state()
    designer.types("HV-1", "description", "The designer's, today")
    user.types("HV-2", "description", "The user's, today")
    run.now()
    story.puts_its_state_back(yesterday)
    user.types("HV-1", "description", "The user's, after it")
    designer.types("HV-2", "description", "The designer's, after it")
    run.now()
    then.is_asked("HV-1", "description", "The user's, after it", "The designer's, today")
    then.arrived_or_asked("HV-2", "The designer's, after it")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_yesterdays_state_beside_yesterdays_plant_is_stopped_or_asks(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    yesterday, older = story.keeps_its_state(), designer.copies_file()
    designer.types("HV-1", "description", "The designer's, today")
    user.types("HV-2", "description", "The user's, today")
    run.now()
    story.puts_its_state_back(yesterday)
    designer.puts_back(older)
    run.now()
    run.now()
    then.synapse_holds("HV-1", "The designer's, today")
    then.kept_or_asked("HV-2", "The user's, today")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_a_backup_put_back_beside_yesterdays_state(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "First")
    run.now()
    yesterday = story.keeps_its_state()
    user.types("HV-1", "description", "Second")
    run.now()
    backup = story.backups()[-1]
    put_back(story, backup)
    story.puts_its_state_back(yesterday)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Second")
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-1", "The designer goes on")
    then.all_is_well()


# ---------------------------------------------------------------- kind 8: states nobody visits again


@pytest.mark.long
def test_kind_08_what_was_made_since_yesterdays_state_is_kept_up(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    yesterday = story.keeps_its_state()
    designer.adds("HV-7", "GateValve", description="Drawn today")
    run.now()
    story.puts_its_state_back(yesterday)
    run.now()
    user.types("HV-7", "description", "The user's")
    run.now()
    then.both_sides_hold("HV-7", "The user's")
    designer.deletes("HV-7")
    run.now()
    run.now()
    then.is_archived("HV-7")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_what_was_archived_since_yesterdays_state_is_told_and_comes_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    yesterday = story.keeps_its_state()
    deleted = designer.deletes("HV-1")
    run.now()
    then.is_archived("HV-1")
    story.puts_its_state_back(yesterday)
    run.now()
    user.types("HV-1", "description", "Typed into the archived one")
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_asset_purged_since_the_run_was_cut_is_told_or_made_again(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's")
    designer.types("HV-1", "description", "The designer's too")
    run.cut("write")
    user.purges("HV-1")
    run.now()
    run.pull("--full")
    run.now()
    then.both_sides_hold("P-1", "The designer's")
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "The designer's too")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_asset_that_was_archived_and_then_purged_can_be_had_again(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("HV-1")
    run.now()
    user.purges("HV-1")
    run.now()
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    if story.asset_or_none("HV-1") is None:
        then.is_told("HV-1")
        run.resolve("HV-1", "plant3d", "*")
        run.now()
        run.now()
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "The designer goes on")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_what_was_undone_and_purged_is_not_made_again_by_itself(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.adds("HV-7", "GateValve", description="Drawn by mistake")
    run.undone(run.now())
    then.is_archived("HV-7")
    user.purges("HV-7")
    run.now()
    designer.types("P-1", "description", "The designer goes on")
    run.now()
    promise(story.asset_or_none("HV-7") is None, "what was undone is there again")
    then.both_sides_hold("P-1", "The designer goes on")
    then.is_told("HV-7")


@pytest.mark.long
def test_kind_08_an_asset_a_person_kept_and_another_purged_comes_back_with_its_item(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's words")
    deleted = designer.deletes("HV-1")
    run.now()
    run.resolve("HV-1", "synapse", "*")
    then.lives("HV-1")
    user.purges("HV-1")
    story.typed("synapse", "HV-1", "description", None)
    run.pull("--full")  # no feed tells of a purge
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.lives("HV-1")
    user.types("HV-1", "description", "Typed into the new one")
    run.now()
    then.both_sides_hold("HV-1", "Typed into the new one")
    then.all_is_well()


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.long
def test_kind_08_an_asset_purged_while_its_item_is_missed(tell: Tell, edited: bool) -> None:
    story = tell(missing={"reads": 2, "minutes": 0, "policy": "archive"})
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    if edited:
        user.types("HV-1", "description", "Asks whether it may go")
    run.now()
    user.purges("HV-1")
    story.typed("synapse", "HV-1", "description", None)
    run.pull("--full")
    run.now()
    then.is_not_asked("HV-1", "*")
    designer.brings_back(deleted)
    designer.types("HV-1", "description", "Back again")
    run.now()
    run.now()
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "Back again")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_a_plan_made_before_the_asset_was_purged_ends_with_a_reason(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's")
    designer.types("P-1", "description", "The designer's too")
    plan = run.plan()
    user.purges("HV-1")
    run.apply(plan)
    run.now()
    run.now()
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "The designer's")
    then.both_sides_hold("P-1", "The designer's too")
    then.all_is_well()


# ---------------------------------------------------------------- kind 9: doors around the checks


@pytest.mark.long
def test_kind_09_a_file_that_is_no_backup_of_this_project_is_not_put_back(
    tell: Tell, drawn_large: Any
) -> None:
    story, backup = pushed_twice(tell)
    _designer, _user, run, then = story.cast
    foreign = story.world.folder / "foreign.dcf"
    foreign.write_bytes(drawn_large.read_bytes())
    with closing(sqlite3.connect(foreign)) as connection, connection:
        connection.execute("UPDATE PnPDatabase SET DBID = ?", (str(uuid.uuid4()),))
    before = story.world.fingerprint()
    said = story.world.cli("restore", "mine", str(foreign), "--yes")
    promise(said.code not in (0, 1), f"it was put back: {said.out}")
    promise(story.world.fingerprint() == before, "Plant 3D was written")
    run.now()
    put_back(story, backup)
    run.now()
    then.synapse_holds("HV-1", "Second")
    then.all_is_well()


# ---------------------------------------------------------------- kind 10: a choice without what it was made on


def asked(tell: Tell) -> Story:
    story = tell(conflict=ASK)
    story.designer.types("HV-1", "description", "The designer's words")
    story.user.types("HV-1", "description", "The user's words")
    story.run.now()
    story.then.is_asked("HV-1")
    return story


def test_kind_10_a_choice_whose_run_was_cut_is_carried_out_once(tell: Tell) -> None:
    story = asked(tell)
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "Comes first")
    run.resolve("HV-1", "plant3d", carry_out=False)
    run.cut("write")
    run.now()
    then.both_sides_hold("HV-1", "The designer's words")
    user.types("HV-1", "description", "The user's, after the choice")
    run.now()
    then.both_sides_hold("HV-1", "The user's, after the choice")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_meets_a_backup_that_was_put_back(tell: Tell) -> None:
    story, backup = pushed_twice(tell, conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("HV-2", "description", "The designer's words")
    user.types("HV-2", "description", "The user's words")
    run.now()
    run.resolve("HV-2", "plant3d", carry_out=False)
    put_back(story, backup)
    story.typed("plant3d", "HV-2", "description", None)  # thrown away with the file
    run.now()
    run.now()
    then.kept_or_asked("HV-2", "The user's words")
    then.synapse_holds("HV-1", "Second")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_that_yesterdays_state_does_not_know_is_asked_again(tell: Tell) -> None:
    story = asked(tell)
    _designer, user, run, then = story.cast
    yesterday = story.keeps_its_state()
    run.resolve("HV-1", "synapse")
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    story.puts_its_state_back(yesterday)
    user.types("HV-1", "description", "The user's newest")
    run.now()
    then.kept_or_asked("HV-1", "The user's newest")
    then.all_is_well()


# ---------------------------------------------------------------- kind 11: hasty time


@pytest.mark.long
def test_kind_11_runs_that_were_cut_are_no_reads(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 0, "policy": "archive"})
    designer, _user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    for number in range(3):
        designer.types("P-1", "description", f"Number {number}")
        run.cut("compare")
    then.lives("HV-1")
    run.now()
    then.lives("HV-1")
    designer.brings_back(deleted)
    run.now()
    then.lives("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_11_yesterdays_state_counts_an_absence_anew(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 30, "policy": "archive"})
    designer, _user, run, then = story.cast
    yesterday = story.keeps_its_state()
    deleted = designer.deletes("HV-1")
    run.now()
    story.puts_its_state_back(yesterday)
    for number in range(3):
        designer.types("P-1", "description", f"Number {number}")
        run.now()
    then.lives("HV-1")
    then.is_told("HV-1")
    designer.brings_back(deleted)
    run.now()
    then.all_is_well()


# ---------------------------------------------------------------- kind 12: guards look both ways


@pytest.mark.long
def test_kind_12_an_approval_ends_with_its_plan_also_when_that_was_cut(
    unpulled: Tell, drawn_large: Any
) -> None:
    story = unpulled(dcf=drawn_large)
    designer, user, run, then = story.cast
    assert run.now().code == 0
    pumps = [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:60]
    user.empties(pumps)
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    run.killed("push.receipt_stored", "apply", said.json["plan_id"], "--approve-guards")
    designer.types(pumps[-1], "description", "Typed after the cut")
    run.now()
    then.plant3d_holds(pumps[-1], "Typed after the cut")
    then.is_told(pumps[-1])
    then.no_word_is_lost()


@pytest.mark.long
def test_kind_12_a_backup_with_empty_cells_empties_nothing_in_synapse(
    unpulled: Tell, drawn_large: Any
) -> None:
    story = unpulled(dcf=drawn_large)
    designer, user, run, then = story.cast
    empty = designer.copies_file()
    assert run.now().code == 0
    pumps = [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:60]
    designer.saves({(tag, "description"): f"{tag}, newer" for tag in pumps})
    run.now()
    designer.puts_back(empty)
    for tag in pumps:
        designer.saves_an_old_session(tag, "description", None)
    user.types("HV-1", "description", "The user's")
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    then.synapse_holds(pumps[0], f"{pumps[0]}, newer")
