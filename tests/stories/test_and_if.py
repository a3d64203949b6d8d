"""More stories of the twelve kinds, told by an adversary: "and if just then …"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.story import Story, Tell, promise

ANY_SECOND_COUNTS = {"tolerance_seconds": 0}
ASK = {"policy": "ask"}
LOCKED = {"P3DSYNC_SOURCE_DEADLINE_SECONDS": "0.1"}


def without(class_name: str) -> dict[str, Any]:
    return {class_name: {"entity": "none"}}


def asked(tell: Tell, tag: str = "HV-1") -> Story:
    """Both sides edited one description, and a person is asked."""
    story = tell(conflict=ASK)
    story.designer.types(tag, "description", "The designer's words")
    story.user.types(tag, "description", "The user's words")
    story.run.now()
    story.then.is_asked(tag)
    return story


# ---------------------------------------------------------------- kind 1: not looked at is not unchanged


@pytest.mark.long
def test_kind_01_a_second_edit_seen_only_by_a_run_of_other_entities_is_the_newest(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's, first")
    run.pull("--entity-types", "equipment")
    designer.types("HV-1", "description", "The designer's, later")
    run.pull("--entity-types", "lines")
    user.types("HV-1", "description", "The user's, last")
    run.now()
    then.arrived_or_asked("HV-1", "The user's, last")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_an_edit_made_while_the_row_was_broken_is_no_younger_for_it(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's, first")
    with designer.loses_a_row("HV-1"):
        run.now()
        user.types("HV-1", "description", "The user's, later")
        run.now()
    run.now()
    then.arrived_or_asked("HV-1", "The user's, later")
    then.all_is_well()


def with_note(story: Story) -> None:
    """The mapping shares an attribute that the stock mapping does not know."""
    rule = {"attributes.note": {"column": "D1", "owner": "shared"}}
    story.mapping({"CentrifugalPump": {"fields": rule}}, note=["D1"])


@pytest.mark.long
def test_kind_01_a_field_that_leaves_the_mapping_and_comes_back_keeps_both_edits(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    with_note(story)
    designer.types("P-1", "D1", "As agreed")
    run.now()
    then.synapse_holds("P-1", "As agreed", "note")
    story.mapping(None)
    designer.types("P-1", "D1", "Of the designer")
    run.now()
    user.types("P-1", "note", "Of the user")
    run.now()
    with_note(story)
    run.now()
    then.is_asked("P-1", "note", "Of the designer", "Of the user")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_only_one_side_edits_a_field_while_it_is_out_of_the_mapping(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    with_note(story)
    designer.saves({("P-1", "D1"): "As agreed", ("P-2", "D1"): "As agreed too"})
    run.now()
    story.mapping(None)
    designer.types("P-1", "D1", "Of the designer")
    user.types("P-2", "note", "Of the user")
    run.now()
    run.pull("--full")
    with_note(story)
    run.now()
    run.now()
    then.arrived_or_asked("P-1", "Of the designer", "note")
    then.arrived_or_asked("P-2", "Of the user", "note")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_question_outlives_the_time_its_class_is_left_out(tell: Tell) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    story.mapping(without("GateValve"))
    run.now()
    designer.types("HV-1", "description", "The designer's newer words")
    run.now()
    story.mapping(None)
    run.now()
    then.is_asked("HV-1", "description", "The designer's newer words", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_choice_outlives_the_time_its_class_is_left_out(tell: Tell) -> None:
    story = asked(tell)
    _designer, _user, run, then = story.cast
    run.resolve("HV-1", "synapse", carry_out=False)
    story.mapping(without("GateValve"))
    run.now()
    run.now()
    story.mapping(None)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_choice_waits_for_a_run_of_its_entity(tell: Tell) -> None:
    story = asked(tell)
    _designer, _user, run, then = story.cast
    run.resolve("HV-1", "synapse", carry_out=False)
    run.pull("--entity-types", "equipment")
    run.push("--asset-ids", story.asset("P-1")["id"])
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_an_edit_waits_for_a_push_of_its_asset(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's words")
    run.push("--asset-ids", story.asset("HV-2")["id"])
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    designer.types("HV-1", "size", '3"')
    run.pull()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.synapse_holds("HV-1", '3"', "size")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_edits_found_by_a_run_that_was_killed_are_no_younger_for_it(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's, first")
    run.killed("plan.before_store")
    user.types("HV-1", "description", "The user's, later")
    run.now()
    then.arrived_or_asked("HV-1", "The user's, later")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_renamed_edited_item_whose_tag_is_taken_loses_no_edit(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    loose = user.adds("HV-9", "Another valve", "Instrument")
    designer.retags("HV-1", "HV-9")
    designer.types("HV-1", "description", "The designer's, first")
    run.now()
    user.types("HV-1", "description", "The user's, later")
    run.now()
    story.edit_asset(loose["id"], deleted_at=True)
    run.now()
    then.arrived_or_asked("HV-1", "The user's, later")
    then.all_is_well()


# ---------------------------------------------------------------- kind 2: decisions that hang on one message


@pytest.mark.parametrize("point", ["pull.intent_stored", "pull.reply_received", "run.before_finish"])
@pytest.mark.long
def test_kind_02_an_edit_that_a_killed_run_read_beside_its_own_write_arrives(tell: Tell, point: str) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "manufacturer", "KSB")
    user.types("HV-1", "description", "The user's words")
    run.killed(point)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.both_sides_hold("P-1", "KSB", "manufacturer")
    then.all_is_well()


@pytest.mark.long
def test_kind_02_an_archive_that_only_a_limited_run_read_is_told_and_taken_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("HV-1")
    run.pull("--entity-types", "equipment")
    with designer.shuts_the_file():
        run.now(env=LOCKED)
    run.now()
    then.is_told("HV-1")
    user.unarchives("HV-1")
    run.pull("--entity-types", "lines")
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    then.both_sides_hold("HV-1", "The designer goes on")
    then.all_is_well()


@pytest.mark.long
def test_kind_02_an_edit_read_by_a_dry_run_arrives(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's words")
    run.plan()
    run.pull("--dry-run")
    run.command("links", "propose", "mine")
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


# ---------------------------------------------------------------- kind 3: paths beside the merge


@pytest.mark.long
def test_kind_03_an_item_that_comes_back_with_another_tag_meets_a_users_edit(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.now()
    user.types("HV-1", "description", "Typed into the archived asset")
    designer.brings_back(deleted)
    designer.retags("HV-1", "HV-11")
    run.now()
    run.now()
    then.lives("HV-1")
    then.synapse_holds("HV-1", "HV-11", "tag")
    then.arrived_or_asked("HV-1", "Typed into the archived asset")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_an_item_comes_back_while_another_has_its_tag(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.now()
    designer.adds("HV-1b", "GateValve", description="The new one")
    designer.retags("HV-1b", "HV-1")
    run.now()
    designer.brings_back(deleted)
    run.now()
    then.is_told("HV-1")
    designer.retags("HV-1b", "HV-1b")
    run.now()
    run.now()
    then.lives("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_a_restore_that_was_killed_meets_a_users_edit(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.now()
    designer.brings_back(deleted)
    designer.types("HV-1", "description", "The designer's, on coming back")
    run.killed("pull.reply_received")
    user.types("HV-1", "description", "The user's, since")
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "The user's, since")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_an_archive_that_was_killed_meets_a_user_who_restores_it(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.killed("pull.reply_received")
    user.unarchives("HV-1")
    user.types("HV-1", "description", "Still needed")
    run.now()
    then.is_told("HV-1")
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Still needed")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_a_lost_state_with_edits_on_both_sides_asks(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    user.types("FT-1", "description", None)
    story.loses_its_state()
    run.now()
    then.is_asked("HV-1", "description", "The designer's words", "The user's words")
    run.resolve("HV-1", "plant3d")
    then.both_sides_hold("HV-1", "The designer's words")
    then.all_is_well()


def test_kind_03_links_accepted_for_a_users_asset_overwrite_nothing(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.adds("P-9", "The user's words")
    designer.adds("P-9", description="The designer's words")
    run.now()
    then.is_told("P-9")
    run.command("links", "accept", "mine")
    run.now()
    then.is_asked("P-9", "description", "The designer's words", "The user's words")
    run.resolve("P-9", "synapse")
    run.now()
    then.both_sides_hold("P-9", "The user's words")
    then.all_is_well()


# ---------------------------------------------------------------- kind 4: writes without their condition


@pytest.mark.parametrize("field", ["description", "model"])
@pytest.mark.long
def test_kind_04_a_choice_is_not_carried_out_over_what_is_typed_just_then(tell: Tell, field: str) -> None:
    story = tell(share_model=True, conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("P-1", field, "Of the designer")
    user.types("P-1", field, "Of the user")
    run.now()
    if not story.conflicts("P-1", field):
        pytest.skip("the mapping of this field decides by itself")
    run.resolve("P-1", "plant3d", field, carry_out=False)
    with run.between():
        user.types("P-1", field, "Typed just then")
    run.now()
    then.kept_or_asked("P-1", "Typed just then", field)
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_designer_types_just_before_a_choice_is_pushed(tell: Tell) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    run.resolve("HV-1", "synapse", carry_out=False)
    with run.between(at="push.preflight_passed"):
        designer.types("HV-1", "description", "Typed just then")
    run.now()
    run.now()
    then.is_asked("HV-1", "description", "Typed just then")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_user_renames_the_asset_just_before_it_is_updated(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    with run.between():
        story.edit_asset(story.asset("HV-1")["id"], tag="HV-1-OLD")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The designer's words")
    then.history_shows("HV-1-OLD")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_an_undo_does_not_overwrite_what_is_typed_just_then(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    ran = run.now()
    undo = run.undo(ran).json["plan_id"]
    with run.between("apply", undo, at="pull.before_intent"):
        user.types("HV-1", "description", "The user's, just then")
    then.kept_or_asked("HV-1", "The user's, just then")
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "The user's, just then")
    then.all_is_well()


# ---------------------------------------------------------------- kind 5: memory of one step


def test_kind_05_an_old_session_is_known_after_the_item_was_redrawn(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    for text in ("First", "Second", "Third"):
        user.types("HV-1", "description", text)
        run.now()
    designer.redraws("HV-1")
    run.now()
    run.command("links", "accept", "mine")
    run.now()
    designer.saves_an_old_session("HV-1", "description", "First")
    run.now()
    then.synapse_holds("HV-1", "Third")
    then.is_asked("HV-1", "description", "Third")
    then.all_is_well()


def test_kind_05_a_late_write_into_synapse_does_not_undo_what_the_designer_took_back(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    story.world.env["P3DSYNC_LEASE_SECONDS"] = "2"
    designer.types("HV-1", "description", "Taken back later")
    with run.between(at="pull.intent_stored") as frozen:
        designer.types("HV-1", "description", "Valve 1, as drawn")
        run.takes_over()
        frozen.go_on()
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_an_undone_value_that_an_old_session_saves_is_no_edit(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "First")
    run.now()
    user.types("HV-1", "description", "Second")
    pushed = run.now()
    run.undone(pushed)
    run.now()
    designer.saves_an_old_session("HV-1", "description", "Valve 1, as drawn")
    run.now()
    then.synapse_holds("HV-1", "Second")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.long
def test_kind_05_a_workbook_imported_after_the_route_changed_is_known(tell: Tell) -> None:
    story = tell(write="workbook")
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "In the workbook")
    book = story.world.folder / "old.xlsx"
    run.command("workbook", "mine", "-o", str(book))
    run.now()
    story.settings(write="sql")
    user.types("HV-1", "description", "Written directly")
    run.now()
    then.both_sides_hold("HV-1", "Written directly")
    designer.imports(book)
    run.now()
    then.synapse_holds("HV-1", "Written directly")
    then.is_asked("HV-1", "description", "Written directly")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_an_old_session_is_known_although_the_write_is_off_now(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    for text in ("First", "Second", "Third"):
        user.types("HV-1", "description", text)
        run.now()
    story.settings(write="off")
    designer.saves_an_old_session("HV-1", "description", "First")
    run.now()
    run.now()
    then.synapse_holds("HV-1", "Third")
    then.is_asked("HV-1", "description", "Third")
    then.all_is_well()


# ---------------------------------------------------------------- kind 6: plans carry intentions


def test_kind_06_an_undo_of_an_undo_brings_the_value_back_for_good(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "Wanted after all")
    ran = run.now()
    undone = run.undone(ran)
    run.now()
    run.undone(undone)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Wanted after all")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_an_undo_planned_before_a_newer_edit_leaves_the_edit(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "Unwanted")
    ran = run.now()
    undo = run.undo(ran).json["plan_id"]
    user.types("HV-1", "description", "Typed since")
    run.now()
    run.apply(undo)
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Typed since")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_a_plan_applied_after_the_item_went_creates_and_loses_nothing(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    designer.adds("HV-7", "GateValve", description="A new one")
    plan = run.plan()
    designer.deletes("HV-7")
    run.apply(plan)
    story.typed("plant3d", "HV-7", "description", None)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The designer's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_two_plans_of_one_edit_are_both_applied(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "Older")
    first = run.plan()
    designer.types("HV-1", "description", "Newer")
    second = run.plan()
    run.apply(second)
    run.apply(first)
    user.types("HV-2", "description", "The user's words")
    run.now()
    then.both_sides_hold("HV-1", "Newer")
    then.both_sides_hold("HV-2", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_what_was_undone_stays_so_while_the_class_is_out_and_back(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "Unwanted")
    run.undone(run.push())
    story.mapping(without("GateValve"))
    run.now()
    story.mapping(None)
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.long
def test_kind_06_what_was_undone_stays_so_when_the_item_goes_and_comes_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "Unwanted")
    run.undone(run.push())
    run.now()
    deleted = designer.deletes("HV-1")
    run.now()
    run.now()
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.all_is_well(but=[("HV-1", "description")])


# ---------------------------------------------------------------- kind 7: what guards compare with


def newer_than_a_copy(tell: Tell) -> tuple[Story, Any]:
    story = tell()
    older = story.designer.copies_file()
    story.designer.saves(
        {(tag, "description"): f"{tag}, newer" for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2")}
    )
    assert story.run.now().code == 0
    return story, older


def test_kind_07_items_drawn_after_an_older_copy_are_not_archived(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    older = designer.copies_file()
    designer.adds("HV-7", "GateValve", description="Drawn after the copy")
    run.now()
    designer.types("HV-1", "description", "Typed after the copy")
    run.now()
    designer.puts_back(older)
    for tag in ("FT-1", "FT-2", "L-1", "P-1", "P-2"):
        designer.types(tag, "description", f"{tag}, in the older copy")
    run.now()
    run.now()
    then.lives("HV-7")
    then.is_told("HV-7")
    then.synapse_holds("HV-1", "Typed after the copy")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_an_older_copy_is_stopped_after_a_mapping_change(tell: Tell) -> None:
    story, older = newer_than_a_copy(tell)
    designer, _user, run, then = story.cast
    designer.puts_back(older)
    story.shares_model()
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    story.mapping(None)
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    then.synapse_holds("P-1", "P-1, newer")


@pytest.mark.long
def test_kind_07_an_older_copy_put_away_again_goes_on_as_if_nothing_was(tell: Tell) -> None:
    story, older = newer_than_a_copy(tell)
    designer, user, run, then = story.cast
    newer = designer.copies_file()
    designer.puts_back(older)
    promise(run.now().code == 5, "no guard stopped it")
    user.types("HV-1", "description", "Typed while it was stopped")
    designer.puts_back(newer)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Typed while it was stopped")
    then.both_sides_hold("P-1", "P-1, newer")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_an_older_copy_with_an_approved_guard_still_asks(tell: Tell) -> None:
    story, older = newer_than_a_copy(tell)
    designer, _user, run, then = story.cast
    designer.puts_back(older)
    said = run.now()
    run.apply(said.json["plan_id"], "--approve-guards")
    run.now()
    then.synapse_holds("P-1", "P-1, newer")
    then.is_asked("P-1", "description", "P-1, newer")
    run.resolve("P-1", "plant3d")
    run.now()
    then.both_sides_hold("P-1", "Pump 1, as drawn")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_a_restored_synapse_and_a_designer_who_goes_on(restorable: Callable[..., Any]) -> None:
    synapse = restorable()
    story = synapse.story
    designer, user, run, then = story.cast
    assert run.now().code == 0
    backup = synapse.backs_up()
    user.types("HV-1", "description", "Typed after the backup")
    run.now()
    synapse.restores(backup, new_epoch=False)
    designer.types("HV-1", "size", '3"')
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Typed after the backup")
    then.all_is_well()


# ---------------------------------------------------------------- kind 8: states nobody visits again


@pytest.mark.long
def test_kind_08_an_asset_archived_and_then_both_sides_edited(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("HV-1")
    run.now()
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    then.is_asked("HV-1", "*")
    run.resolve("HV-1", "plant3d", "*")
    run.now()
    then.lives("HV-1")
    then.arrived_or_asked("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_item_that_went_while_its_class_was_out_and_is_back_goes_on(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    story.mapping(without("GateValve"))
    deleted = designer.deletes("HV-1")
    run.now()
    user.types("HV-1", "description", "Typed meanwhile")
    run.now()
    designer.brings_back(deleted)
    story.mapping(None)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Typed meanwhile")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_item_deleted_and_drawn_anew_with_its_tag(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "Of the old one")
    designer.deletes("HV-1")
    designer.adds("HV-1n", "GateValve", description="Of the new one")
    designer.retags("HV-1n", "HV-1")
    run.now()
    run.now()
    then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_asset_removed_from_synapse_comes_back_and_is_kept_up(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    with story.world.client() as client:
        asset = story.asset("HV-1")["id"]
        client.delete(f"/dev/projects/{story.world.uuid}/assets/{asset}").raise_for_status()
    run.pull("--full")
    run.now()
    designer.types("HV-1", "size", '3"')
    run.now()
    user.types("HV-1", "description", "Typed into the new one")
    run.now()
    then.synapse_holds("HV-1", '3"', "size")
    then.both_sides_hold("HV-1", "Typed into the new one")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_a_kept_asset_whose_item_comes_back_goes_on(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "The user's words")
    deleted = designer.deletes("HV-1")
    run.now()
    run.resolve("HV-1", "synapse", "*")
    then.lives("HV-1")
    user.types("HV-1", "description", "The user's newer words")
    run.now()
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's newer words")
    then.all_is_well()


# ---------------------------------------------------------------- kind 9: doors around the checks


@pytest.mark.parametrize("command", ["undo", "resolve", "workbook"])
@pytest.mark.long
def test_kind_09_no_other_command_writes_under_another_synapse_project(tell: Tell, command: str) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    user.types("HV-2", "description", "Pushed")
    pushed = run.now()
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    conflict = story.the_conflict("HV-1")["id"]
    before = story.world.fingerprint()
    mine = story.points_at(story.another_synapse_project().uuid)
    if command == "undo":
        undo = run.undo(pushed)
        if undo.code == 0:
            run.apply(undo.json["plan_id"])
    elif command == "resolve":
        run.command("resolve", conflict, "synapse")
    else:
        run.command("workbook", "mine", "-o", str(story.world.folder / "no.xlsx"))
    promise(story.world.fingerprint() == before, "Plant 3D was written under another SYNAPSE project")
    story.points_at(mine)
    run.now()
    run.now()
    if command == "resolve":
        then.arrived_or_asked("HV-1", "The user's words")
    then.all_is_well(but=[("HV-2", "description")] if command == "undo" else [])


# ---------------------------------------------------------------- kind 10: a choice without what it was made on


def test_kind_10_a_choice_of_a_third_value_meets_an_edit_made_between_its_two_writes(tell: Tell) -> None:
    story = asked(tell)
    designer, user, run, then = story.cast
    run.resolve("HV-1", "manual", carry_out=False, value="A third value")
    run.pull()
    user.types("HV-1", "description", "Typed after half of it")
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Typed after half of it")
    then.all_is_well()
    designer.types("HV-2", "description", "Goes on")
    run.now()
    then.both_sides_hold("HV-2", "Goes on")


@pytest.mark.long
def test_kind_10_a_choice_while_plant3d_is_locked_is_carried_out_later(tell: Tell) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    with designer.holds_the_file():
        run.resolve("HV-1", "synapse")
        run.now()
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_made_with_write_off_is_carried_out_when_it_is_allowed(tell: Tell) -> None:
    story = asked(tell)
    _designer, _user, run, then = story.cast
    story.settings(write="off")
    run.resolve("HV-1", "synapse")
    run.now()
    story.settings(write="sql")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_is_void_when_the_item_went_and_its_asset_was_edited(tell: Tell) -> None:
    story = asked(tell)
    designer, user, run, then = story.cast
    run.resolve("HV-1", "plant3d", carry_out=False)
    deleted = designer.deletes("HV-1")
    run.now()
    user.types("HV-1", "description", "Typed after the choice")
    run.now()
    designer.brings_back(deleted)
    run.now()
    then.arrived_or_asked("HV-1", "Typed after the choice")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_of_a_killed_run_is_carried_out_once(tell: Tell) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    run.resolve("HV-1", "plant3d", carry_out=False)
    run.killed("pull.reply_received")
    designer.types("HV-1", "description", "Typed after the kill")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Typed after the kill")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_choices_about_all_questions_void_only_the_one_that_moved(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    for tag in ("HV-1", "HV-2", "FT-1"):
        designer.types(tag, "description", f"{tag} of the designer")
        user.types(tag, "description", f"{tag} of the user")
    run.now()
    run.command("resolve", "--all", "synapse", "--project", "mine", "--yes", "--no-run")
    designer.types("HV-2", "description", "Moved since")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "HV-1 of the user")
    then.both_sides_hold("FT-1", "FT-1 of the user")
    then.is_asked("HV-2", "description", "Moved since", "HV-2 of the user")
    then.all_is_well()


# ---------------------------------------------------------------- kind 11: hasty time


@pytest.mark.long
def test_kind_11_runs_of_other_entities_and_locked_files_are_no_reads(tell: Tell) -> None:
    story = tell(missing={"reads": 3, "minutes": 0, "policy": "archive"})
    designer, _user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    for _ in range(3):
        run.pull("--entity-types", "equipment")
    with designer.shuts_the_file():
        run.now(env=LOCKED)
    run.push()
    then.lives("HV-1")
    designer.brings_back(deleted)
    run.now()
    then.lives("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_11_an_absence_that_the_mapping_hid_begins_when_it_is_seen(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 30, "policy": "archive"})
    designer, _user, run, then = story.cast
    story.mapping(without("GateValve"))
    designer.deletes("HV-1")
    for _ in range(3):
        run.now()
        designer.saves_again("P-1")
    story.mapping(None)
    run.now()
    designer.saves_again("P-1")
    run.now()
    then.lives("HV-1")
    then.is_told("HV-1")


# ---------------------------------------------------------------- kind 12: guards look both ways


@pytest.mark.long
def test_kind_12_cells_that_a_guard_held_back_are_written_once_approved_and_edited(
    unpulled: Tell, drawn_large: Any
) -> None:
    story = unpulled(dcf=drawn_large)
    designer, user, run, then = story.cast
    assert run.now().code == 0
    pumps = [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:60]
    user.empties(pumps)
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    designer.types(pumps[0], "description", "Typed while it was stopped")
    run.apply(said.json["plan_id"], "--approve-guards")
    then.plant3d_holds(pumps[0], "Typed while it was stopped")
    then.plant3d_holds(pumps[1], None)
