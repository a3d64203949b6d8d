"""Stories of the same twelve kinds that nobody told: another field, another kind of item, another command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.story import BrokenPromise, Story, Tell, promise


def broken(kind: str, what: str) -> pytest.MarkDecorator:
    """The story breaks a promise until its kind is repaired."""
    return pytest.mark.xfail(strict=True, raises=BrokenPromise, reason=f"kind {kind}: {what}")


ANY_SECOND_COUNTS = {"tolerance_seconds": 0}
ASK = {"policy": "ask"}


# ---------------------------------------------------------------- kind 1: not looked at is not unchanged


def test_kind_01_an_edit_that_a_run_of_other_entities_passed_by_is_not_younger_for_it(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's, first")
    run.pull("--entity-types", "valves")
    user.types("P-1", "description", "The user's, later")
    run.pull("--entity-types", "valves")
    run.now()
    then.arrived_or_asked("P-1", "The user's, later")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_an_edit_of_an_item_whose_tag_is_on_two_items_is_not_younger_for_it(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.retags("HV-1", "HV-2")
    designer.types("HV-1", "description", "The designer's, first")
    run.now()
    user.types("HV-1", "description", "The user's, later")
    run.now()
    designer.retags("HV-1", "HV-1")
    run.now()
    then.arrived_or_asked("HV-1", "The user's, later")
    then.all_is_well()


@pytest.mark.parametrize("tag", ["HV-2", "HV-" + "1" * 128], ids=["two items with one tag", "too long"])
@pytest.mark.long
def test_kind_01_a_question_stays_open_while_its_item_cannot_be_compared(tell: Tell, tag: str) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    asked = story.the_conflict("HV-1")
    designer.retags("HV-1", tag)
    run.now()
    run.now()
    then.is_asked("HV-1", "description", "The designer's words", "The user's words")
    promise(story.the_conflict("HV-1")["id"] == asked["id"], "it is another question now")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_question_stays_open_while_its_cell_cannot_be_read(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    with designer.loses_a_row("HV-1"):
        run.now()
        then.is_asked("HV-1")
    run.now()
    then.is_asked("HV-1", "description", "The designer's words", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_choice_waits_while_its_item_shares_its_tag_with_another(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    designer.retags("HV-1", "HV-2")
    run.now()
    run.resolve("HV-1", "synapse", carry_out=False)
    run.now()
    designer.retags("HV-1", "HV-1")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_choice_waits_while_its_cell_cannot_be_read(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's words")
    user.types("HV-1", "description", "The user's words")
    run.now()
    run.resolve("HV-1", "synapse", carry_out=False)
    with designer.loses_a_row("HV-1"):
        run.now()
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_field_that_comes_into_the_mapping_later_overwrites_nobody(unpulled: Tell) -> None:
    story = unpulled()
    designer, user, run, then = story.cast
    designer.types("P-1", "D1", "What the drawing says")
    assert run.now().code == 0
    user.types("P-1", "note", "What the user says")
    run.now()
    fields = {"attributes.note": {"column": "D1", "owner": "shared"}}
    story.mapping({"CentrifugalPump": {"fields": fields}}, note=["D1"])
    run.now()
    run.now()
    then.arrived_or_asked("P-1", "What the user says", "note")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_mapped_column_that_appears_and_is_filled_after_a_run_arrives(
    tell: Tell, drawn_without_model: Path
) -> None:
    story = tell(dcf=drawn_without_model)
    designer, _user, run, then = story.cast
    designer.adds_column("EngineeringItems", "ModelNumber")
    run.now()
    designer.types("FT-1", "model", "Filled in after a run")
    run.now()
    then.synapse_holds("FT-1", "Filled in after a run", "model")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_a_mapped_column_that_appears_while_its_item_is_set_aside_arrives(
    tell: Tell, drawn_without_model: Path
) -> None:
    story = tell(dcf=drawn_without_model)
    designer, _user, run, then = story.cast
    designer.retags("HV-1", "HV-2")
    designer.adds_column("EngineeringItems", "ModelNumber")
    designer.types("HV-1", "model", "Filled in while two items shared a tag")
    run.now()
    run.now()
    designer.retags("HV-1", "HV-1")
    run.now()
    then.synapse_holds("HV-1", "Filled in while two items shared a tag", "model")
    then.all_is_well()


# ---------------------------------------------------------------- kind 2: decisions that hang on one message


def unarchived_after(tell: Tell) -> Story:
    """A user archives an asset, a run sees it, the user restores it."""
    story = tell()
    user, run = story.user, story.run
    user.archives("HV-1")
    run.now()
    assert story.told("HV-1")
    user.unarchives("HV-1")
    return story


def goes_on(story: Story) -> None:
    """Edits of both sides arrive again."""
    designer, user, run, then = story.cast
    run.now()
    designer.types("HV-1", "description", "The designer goes on")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The designer goes on")
    user.types("HV-1", "description", "The user goes on")
    run.now()
    then.both_sides_hold("HV-1", "The user goes on")
    then.all_is_well()


def test_kind_02_an_asset_restored_by_a_user_is_kept_up_after_a_run_that_found_the_file_locked(
    tell: Tell,
) -> None:
    story = unarchived_after(tell)
    with story.designer.shuts_the_file():
        assert story.run.now(env={"P3DSYNC_SOURCE_DEADLINE_SECONDS": "0.1"}).code == 75
    goes_on(story)


@pytest.mark.long
def test_kind_02_an_asset_restored_by_a_user_is_kept_up_after_a_run_of_other_entities(tell: Tell) -> None:
    story = unarchived_after(tell)
    story.run.pull("--entity-types", "equipment")
    goes_on(story)


@pytest.mark.parametrize("point", ["feed.page_stored", "plan.stored"])
@pytest.mark.long
def test_kind_02_an_asset_restored_by_a_user_is_kept_up_after_a_run_that_was_killed(
    tell: Tell, point: str
) -> None:
    story = unarchived_after(tell)
    story.run.killed(point)
    goes_on(story)


@pytest.mark.long
def test_kind_02_an_asset_restored_by_a_user_is_kept_up_after_a_push(tell: Tell) -> None:
    story = unarchived_after(tell)
    story.run.push()
    goes_on(story)


def restored_after_undo(tell: Tell) -> Story:
    """The undo of a creation archived the asset; a user restores it."""
    story = tell()
    designer, user, run, _then = story.cast
    designer.adds("HV-9", "GateValve", description="A new valve")
    run.undone(run.now())
    assert story.asset("HV-9")["deleted_at"] is not None
    user.unarchives("HV-9")
    return story


def edit_arrives(story: Story) -> None:
    """The restored valve is kept up again."""
    designer, _user, run, then = story.cast
    run.now()
    designer.types("HV-9", "description", "The designer goes on")
    run.now()
    run.now()
    then.both_sides_hold("HV-9", "The designer goes on")
    then.all_is_well()


@pytest.mark.long
def test_kind_02_an_undone_creation_restored_by_a_user_is_kept_up_after_a_run_of_other_entities(
    tell: Tell,
) -> None:
    story = restored_after_undo(tell)
    story.run.pull("--entity-types", "equipment")
    edit_arrives(story)


@pytest.mark.long
def test_kind_02_an_undone_creation_restored_by_a_user_is_kept_up_after_a_locked_file(tell: Tell) -> None:
    story = restored_after_undo(tell)
    with story.designer.shuts_the_file():
        assert story.run.now(env={"P3DSYNC_SOURCE_DEADLINE_SECONDS": "0.1"}).code == 75
    edit_arrives(story)


@pytest.mark.parametrize("point", ["feed.page_stored", "plan.stored"])
@pytest.mark.long
def test_kind_02_an_undone_creation_restored_by_a_user_is_kept_up_after_a_killed_run(
    tell: Tell, point: str
) -> None:
    story = restored_after_undo(tell)
    story.run.killed(point)
    edit_arrives(story)


@pytest.mark.long
def test_kind_02_an_edit_that_only_a_killed_run_read_arrives(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Read by a run that died")
    user.types("P-1", "model", "U-1")
    run.killed("feed.page_stored")
    run.now()
    then.both_sides_hold("P-1", "Read by a run that died")
    then.both_sides_hold("P-1", "U-1", "model")
    then.all_is_well()


# ---------------------------------------------------------------- kind 3: paths beside the merge


@pytest.mark.parametrize("tag", ["FT-1", "HV-1"])
def test_kind_03_an_item_that_comes_back_edited_meets_what_a_user_typed_meanwhile(
    tell: Tell, tag: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes(tag)
    run.now()
    user.unarchives(tag)
    user.types(tag, "description", "The user's, meanwhile")
    run.now()
    designer.brings_back(deleted)
    designer.types(tag, "description", "The designer's, on coming back")
    run.now()
    then.is_asked(tag, "description", "The user's, meanwhile", "The designer's, on coming back")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_what_a_user_typed_into_an_archived_asset_stands_when_the_item_comes_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("HV-1")
    run.now()
    user.types("HV-1", "description", "Typed into the archived asset")
    run.now()
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Typed into the archived asset")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_a_shared_attribute_typed_meanwhile_stands_when_the_item_comes_back(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    deleted = designer.deletes("P-1")
    run.now()
    user.unarchives("P-1")
    user.types("P-1", "model", "U-1")
    run.now()
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.arrived_or_asked("P-1", "U-1", "model")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_what_a_user_types_between_links_accept_and_the_run_arrives_or_is_asked(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    asset = user.adds("P-9", "Before the link")
    designer.adds("P-9", description="The designer's text")
    run.now()
    run.command("links", "accept", "mine")
    story.edit_asset(asset["id"], description="After the link")
    run.now()
    then.arrived_or_asked("P-9", "After the link")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_what_a_user_changes_after_a_first_pull_was_killed_arrives(unpulled: Tell) -> None:
    story = unpulled()
    story.shares_model()
    _designer, user, run, then = story.cast
    run.killed("pull.reply_received", "pull", "mine")
    user.types("HV-1", "description", "Changed by the user")
    user.types("P-4", "model", "U-4")
    run.now()
    run.now()
    then.arrived_or_asked("HV-1", "Changed by the user")
    then.arrived_or_asked("P-4", "U-4", "model")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_an_update_found_again_after_a_crash_agrees_on_no_edit_of_a_user(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "manufacturer", "KSB")
    run.killed("pull.reply_received")
    user.types("P-1", "description", "Typed after the crash")
    run.now()
    run.now()
    then.both_sides_hold("P-1", "Typed after the crash")
    then.both_sides_hold("P-1", "KSB", "manufacturer")
    then.all_is_well()


@pytest.mark.long
def test_kind_03_what_a_user_typed_before_the_state_was_lost_is_asked_when_a_run_adopts(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "manufacturer", "KSB")
    user.types("P-1", "description", "Typed before the state was lost")
    story.loses_its_state()
    run.now()
    run.now()
    then.arrived_or_asked("P-1", "Typed before the state was lost")
    then.all_is_well()


# ---------------------------------------------------------------- kind 4: writes without their condition


@pytest.mark.parametrize(
    ("tag", "field", "column"), [("P-1", "manufacturer", "Manufacturer"), ("HV-1", "size", "Size")]
)
def test_kind_04_what_an_owners_rule_overwrites_is_in_the_history(
    tell: Tell, tag: str, field: str, column: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types(tag, column, "The owner's value")
    with run.between():
        user.types(tag, field, "Overwritten by the owner's rule")
    run.now()
    if story.held(tag, field) != "Overwritten by the owner's rule":
        then.history_shows("Overwritten by the owner's rule")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_tag_that_a_user_typed_just_before_a_rename_is_in_the_history(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.retags("P-1", "P-100")
    with run.between():
        story.edit_asset(story.asset("P-1")["id"], tag="P-USER")
    run.now()
    if story.asset("P-1")["tag"] != "P-USER":
        then.history_shows("P-USER")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_an_asset_that_a_user_edits_just_before_it_is_archived_is_a_question(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.deletes("P-1")
    with run.between():
        user.types("P-1", "description", "Typed just before the archive")
    run.now()
    then.lives("P-1")
    then.is_asked("P-1", "*", "Typed just before the archive")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_an_older_plan_does_not_overwrite_an_attribute_typed_since(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    designer.types("P-1", "model", "Of the designer")
    plan = run.plan()
    user.types("P-1", "model", "Typed after the plan")
    run.apply(plan)
    then.kept_or_asked("P-1", "Typed after the plan", "model")
    run.now()
    then.kept_or_asked("P-1", "Typed after the plan", "model")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_plan_that_is_applied_writes_no_attribute_over_one_typed_just_before(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    designer.types("HV-1", "model", "Of the designer")
    plan = run.plan()
    with run.between("apply", plan, at="pull.before_intent"):
        user.types("HV-1", "model", "Typed while the plan is applied")
    then.kept_or_asked("HV-1", "Typed while the plan is applied", "model")
    run.now()
    then.kept_or_asked("HV-1", "Typed while the plan is applied", "model")
    then.all_is_well()


@pytest.mark.parametrize("tag", ["P-1", "HV-1", "FT-1", "L-1"])
@pytest.mark.long
def test_kind_04_a_cell_that_a_designer_types_just_before_the_push_is_not_overwritten(
    tell: Tell, tag: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types(tag, "description", "The user's words")
    with run.between():
        designer.types(tag, "description", "The designer's, just now")
    run.now()
    then.is_asked(tag, "description", "The user's words", "The designer's, just now")
    then.all_is_well()


@pytest.mark.long
def test_kind_04_a_description_that_a_user_types_just_before_the_run_writes_it_is_kept(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("L-1", "description", "The designer's words")
    with run.between():
        user.types("L-1", "description", "The user's, just now")
    run.now()
    then.kept_or_asked("L-1", "The user's, just now")
    then.all_is_well()


# ---------------------------------------------------------------- kind 5: memory of one step


def test_kind_05_the_second_last_of_three_pushed_values_is_known_as_ours(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    for text in ("First", "Second", "Third"):
        user.types("FT-1", "description", text)
        run.push()
    designer.saves_an_old_session("FT-1", "description", "First")
    run.now()
    then.synapse_holds("FT-1", "Third")
    then.is_asked("FT-1", "description", "Third")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_an_old_session_of_a_shared_attribute_is_known_after_two_pushes(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    for text in ("U-1", "U-2"):
        user.types("P-1", "model", text)
        run.now()
    designer.saves_an_old_session("P-1", "model", "M-1")
    run.now()
    then.synapse_holds("P-1", "U-2", "model")
    then.is_asked("P-1", "model", "U-2")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_an_old_session_is_known_after_one_push(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("L-1", "description", "The user's words")
    run.now()
    designer.saves_an_old_session("L-1", "description", "Line 1, as drawn")
    run.now()
    then.synapse_holds("L-1", "The user's words")
    then.is_asked("L-1", "description", "The user's words")
    then.all_is_well()


def test_kind_05_an_old_session_is_known_when_the_item_comes_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    for text in ("First", "Second", "Third"):
        user.types("HV-1", "description", text)
        run.now()
    deleted = designer.deletes("HV-1")
    run.now()
    then.is_archived("HV-1")
    designer.brings_back(deleted)
    designer.saves_an_old_session("HV-1", "description", "First")
    run.now()
    then.synapse_holds("HV-1", "Third")
    then.is_asked("HV-1", "description", "Third")
    then.all_is_well()


def test_kind_05_an_old_session_is_known_when_a_person_has_the_asset_restored(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    for text in ("First", "Second", "Third"):
        user.types("HV-1", "description", text)
        run.now()
    user.archives("HV-1")
    run.now()
    designer.saves_an_old_session("HV-1", "description", "First")
    run.now()
    run.resolve("HV-1", "plant3d", "*")
    then.lives("HV-1")
    then.synapse_holds("HV-1", "Third")
    then.is_asked("HV-1", "description", "Third")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_the_older_of_two_workbooks_is_known_as_ours(tell: Tell) -> None:
    story = tell(write="workbook")
    designer, user, run, then = story.cast
    for number, text in enumerate(("In the first workbook", "In the second workbook"), start=1):
        user.types("HV-1", "description", text)
        run.command("workbook", "mine", "-o", str(story.world.folder / f"{number}.xlsx"))
        run.now()
    designer.imports(story.world.folder / "2.xlsx")
    run.now()
    then.both_sides_hold("HV-1", "In the second workbook")
    designer.imports(story.world.folder / "1.xlsx")
    run.now()
    then.synapse_holds("HV-1", "In the second workbook")
    then.is_asked("HV-1", "description", "In the second workbook")
    then.all_is_well()


def test_kind_05_the_late_write_of_an_overtaken_run_does_not_undo_a_newer_text(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    story.world.env["P3DSYNC_LEASE_SECONDS"] = "2"
    user.types("HV-1", "description", "Older")
    with run.between(at="push.before_begin") as frozen:
        user.types("HV-1", "description", "Newer")
        run.takes_over()
        frozen.go_on()
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Newer")
    then.all_is_well()


@pytest.mark.long
def test_kind_05_an_overtaken_run_that_wrote_late_does_not_say_that_it_wrote_nothing(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    story.world.env["P3DSYNC_LEASE_SECONDS"] = "2"
    user.types("HV-1", "description", "Taken back later")
    with run.between(at="push.before_begin") as frozen:
        user.types("HV-1", "description", "Valve 1, as drawn")
        run.takes_over()
        before = story.world.fingerprint()
        said = frozen.go_on()
    if story.world.fingerprint() != before:
        promise("othing more" not in said.out, f"it wrote: {said.out}")
    then.no_word_is_lost()


# ---------------------------------------------------------------- kind 6: plans carry intentions


def test_kind_06_what_was_undone_stays_so_after_its_cell_could_not_be_read_once(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "Unwanted")
    run.undone(run.push())
    assert story.values_of("HV-1", "description") == ("Valve 1, as drawn", "Unwanted")
    with designer.loses_a_row("HV-1"):
        run.now()
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.parametrize("tag", ["HV-2", "HV-" + "1" * 128], ids=["two items with one tag", "too long"])
@pytest.mark.long
def test_kind_06_what_was_undone_stays_so_after_a_row_error(tell: Tell, tag: str) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "Unwanted")
    run.undone(run.push())
    designer.retags("HV-1", tag)
    run.now()
    designer.retags("HV-1", "HV-1")
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.long
def test_kind_06_a_plan_made_before_an_undo_does_not_bring_back_what_was_undone(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("P-1", "description", "Unwanted")
    first = run.now()
    designer.types("P-1", "manufacturer", "KSB")
    plan = run.plan()
    run.undone(first)
    run.apply(plan)
    run.now()
    then.synapse_holds("P-1", "Pump 1, as drawn")
    then.all_is_well(but=[("P-1", "description")])
    then.synapse_holds("P-1", "Pump 1, as drawn")


@pytest.mark.long
def test_kind_06_a_push_planned_before_an_undo_does_not_bring_back_what_was_undone(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "Unwanted")
    first = run.push()
    user.types("HV-1", "model", "U-1")
    plan = run.plan()
    run.undone(first)
    run.apply(plan)
    run.now()
    run.now()
    then.plant3d_holds("HV-1", "Valve 1, as drawn")
    then.both_sides_hold("HV-1", "U-1", "model")
    then.all_is_well(but=[("HV-1", "description")])


@pytest.mark.long
def test_kind_06_a_plan_made_before_a_choice_does_not_lose_it(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's words")
    user.types("P-1", "description", "The user's words")
    run.now()
    designer.types("P-1", "manufacturer", "KSB")
    plan = run.plan()
    run.resolve("P-1", "synapse", carry_out=False)
    run.apply(plan)
    run.now()
    then.both_sides_hold("P-1", "The user's words")
    then.both_sides_hold("P-1", "KSB", "manufacturer")
    then.all_is_well()


@pytest.mark.long
def test_kind_06_an_undo_of_two_pushes_of_one_item_leaves_both_undone(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Unwanted text")
    first = run.push()
    user.types("P-1", "model", "Unwanted model")
    second = run.push()
    for ran in (first, second):
        run.undone(ran)
    run.now()
    run.now()
    then.plant3d_holds("P-1", "Pump 1, as drawn")
    then.plant3d_holds("P-1", "M-1", "model")
    then.all_is_well(but=[("P-1", "description"), ("P-1", "model")])


# ---------------------------------------------------------------- kind 7: what guards compare with


def older_copy(tell: Tell) -> Story:
    """An older copy of the database stands in its place."""
    story = tell()
    designer, run = story.designer, story.run
    older = designer.copies_file()
    designer.saves({(tag, "description"): f"{tag}, newer" for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2")})
    assert run.now().code == 0
    designer.puts_back(older)
    return story


@pytest.mark.parametrize(
    "other",
    [
        ("pull", "mine", "--entity-types", "instruments"),
        ("push", "mine"),
        ("pull", "mine", "--full"),
        ("links", "accept", "mine"),
        ("links", "propose", "mine"),
        ("plan", "mine"),
        ("doctor", "mine"),
    ],
    ids=" ".join,
)
def test_kind_07_an_older_copy_is_still_stopped_after_any_other_command(
    tell: Tell, other: tuple[str, ...]
) -> None:
    story = older_copy(tell)
    _designer, _user, run, then = story.cast
    run.command(*other)
    run.command(*other)
    said = run.now()
    then.was_stopped(said)
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    then.synapse_holds("P-1", "P-1, newer")


@pytest.mark.long
def test_kind_07_an_older_copy_is_still_stopped_after_an_undo(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("FT-1", "description", "Pushed")
    pushed = run.push()
    older = designer.copies_file()
    designer.saves({(tag, "description"): f"{tag}, newer" for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2")})
    assert run.now().code == 0
    designer.puts_back(older)
    run.undone(pushed)
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    then.synapse_holds("P-1", "P-1, newer")


@pytest.mark.long
def test_kind_07_an_older_copy_that_went_on_for_a_while_does_not_overwrite_newer_texts(tell: Tell) -> None:
    story = older_copy(tell)
    designer, _user, run, then = story.cast
    for tag in ("FT-1", "FT-2", "L-1"):
        designer.types(tag, "description", f"{tag}, drawn in the older copy")
    said = run.now()
    for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2"):
        then.synapse_holds(tag, f"{tag}, newer")
        if said.code != 5:
            then.is_asked(tag, "description", f"{tag}, newer")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_a_restored_synapse_does_not_win_over_a_users_text_that_reached_plant_3d(
    restorable: Callable[..., Any],
) -> None:
    synapse = restorable()
    story = synapse.story
    _designer, user, run, then = story.cast
    assert run.now().code == 0
    backup = synapse.backs_up()
    user.types("HV-1", "description", "Typed after the backup")
    run.now()
    then.both_sides_hold("HV-1", "Typed after the backup")
    synapse.restores(backup)
    said = run.now()
    then.plant3d_holds("HV-1", "Typed after the backup")
    if said.code != 5:
        then.is_asked("HV-1", "description", "Typed after the backup")
    then.all_is_well()


@pytest.mark.long
def test_kind_07_a_restored_synapse_does_not_win_in_a_full_pull_and_push(
    restorable: Callable[..., Any],
) -> None:
    synapse = restorable()
    story = synapse.story
    designer, _user, run, then = story.cast
    assert run.now().code == 0
    backup = synapse.backs_up()
    designer.types("L-1", "description", "Newer than the backup")
    run.now()
    synapse.restores(backup)
    run.pull("--full")
    run.push()
    then.plant3d_holds("L-1", "Newer than the backup")
    then.all_is_well()


# ---------------------------------------------------------------- kind 8: states nobody visits again


def without(class_name: str) -> dict[str, Any]:
    return {class_name: {"entity": "none"}}


def test_kind_08_an_edit_made_while_the_class_was_left_out_arrives(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    story.mapping(without("GateValve"))
    run.now()
    designer.types("HV-1", "description", "Edited meanwhile")
    user.types("HV-2", "description", "Typed meanwhile")
    run.now()
    story.mapping(None)
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "Edited meanwhile")
    then.both_sides_hold("HV-2", "Typed meanwhile")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_a_valve_deleted_while_its_class_was_left_out_is_missed(tell: Tell) -> None:
    story = tell(missing={"reads": 1, "minutes": 0, "policy": "ask"})
    designer, _user, run, then = story.cast
    story.mapping(without("GateValve"))
    designer.deletes("HV-1")
    run.now()
    story.mapping(None)
    for _ in range(3):
        run.now()
    then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_a_live_asset_whose_item_went_while_it_was_archived_is_told(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("HV-1")
    run.now()
    designer.deletes("HV-1")
    run.now()
    user.unarchives("HV-1")
    run.now()
    run.now()
    if story.asset("HV-1")["deleted_at"] is None:
        then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_asset_that_a_user_restores_after_its_item_was_archived_is_told(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.deletes("FT-1")
    run.now()
    user.unarchives("FT-1")
    run.now()
    run.now()
    if story.asset("FT-1")["deleted_at"] is None:
        then.is_told("FT-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_asset_of_ours_whose_item_went_while_the_state_was_lost_is_told(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.deletes("HV-1")
    story.loses_its_state()
    run.now()
    run.now()
    if story.asset("HV-1")["deleted_at"] is None:
        then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_08_an_item_redrawn_under_another_pnpid_goes_on(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.redraws("HV-1")
    run.now()
    run.command("links", "accept", "mine")
    user.types("HV-1", "description", "The user goes on")
    run.now()
    run.now()
    then.both_sides_hold("HV-1", "The user goes on")
    then.all_is_well()


# ---------------------------------------------------------------- kind 9: doors around the checks


@pytest.mark.parametrize(
    "command",
    [
        ("now", "second"),
        ("pull", "second"),
        ("push", "second"),
        ("links", "accept", "second"),
    ],
    ids=" ".join,
)
def test_kind_09_a_second_project_on_the_same_synapse_project_changes_nothing_of_the_first(
    tell: Tell, command: tuple[str, ...]
) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    second = story.second_project(designer.copies_file())
    second.designer.types("HV-1", "size", "Changed in the copy")
    said = run.command(*command)
    then.synapse_holds("HV-1", '2"', "size")
    promise(said.code != 0 or "accept" in command, f"not refused: {said.out}")
    second.designer.deletes("HV-2")
    run.command(*command)
    run.command(*command)
    then.lives("HV-2")
    then.all_is_well()


@pytest.mark.long
def test_kind_09_a_plan_of_a_second_project_on_the_same_synapse_project_is_not_applied(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    second = story.second_project(designer.copies_file())
    second.designer.types("HV-1", "size", "Changed in the copy")
    planned = run.command("plan", "second")
    plan = planned.json.get("plan_id")
    if planned.code in (0, 3) and plan:
        run.apply(plan)
    then.synapse_holds("HV-1", '2"', "size")
    then.all_is_well()


def another_database(story: Story) -> None:
    """The source is the database of another plant."""
    story.world.change("UPDATE PnPDatabase SET DBID = ?", bytes(range(16)))


@pytest.mark.long
def test_kind_09_links_are_not_accepted_with_another_database(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.adds("HV-9", "GateValve", description="Of the other database")
    asset = user.adds("HV-9", "Ours", "Valve")
    another_database(story)
    assert run.now().code == 5
    said = run.command("links", "accept", "mine")
    (found,) = [each for each in story.world.assets() if each["id"] == asset["id"]]
    promise(found["plant3d_id"] is None, f"an asset was tied to an item of another database: {found}")
    promise(said.code in (5, 78), f"not refused: {said.out}")


@pytest.mark.parametrize("command", ["apply", "undo"])
@pytest.mark.long
def test_kind_09_nothing_is_applied_under_another_synapse_project(tell: Tell, command: str) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "First")
    first = run.now()
    designer.types("HV-1", "description", "Second")
    plan = run.undo(first).json["plan_id"] if command == "undo" else run.plan()
    foreign = story.another_synapse_project()
    ours = story.points_at(foreign.uuid)
    said = run.apply(plan)
    promise(said.code == 78, f"not refused: {said.out}")
    promise(foreign.assets() == [], "something was written into the other plant")
    story.points_at(ours)
    run.now()
    then.both_sides_hold("HV-1", "Second")
    then.all_is_well()


# ---------------------------------------------------------------- kind 10: what a choice was made on


def archived_but_edited(tell: Tell) -> Story:
    """A user archived an asset whose item a designer edited: a person is asked."""
    story = tell()
    designer, user, run, _then = story.cast
    user.archives("HV-1")
    run.now()
    designer.types("HV-1", "description", "Edited after the archive")
    run.now()
    assert [item["field"] for item in story.conflicts("HV-1")] == ["*"]
    return story


@pytest.mark.parametrize(
    "other", [("push", "mine"), ("pull", "mine", "--entity-types", "lines")], ids=" ".join
)
def test_kind_10_a_choice_to_restore_waits_for_a_run_that_can_do_it(
    tell: Tell, other: tuple[str, ...]
) -> None:
    story = archived_but_edited(tell)
    _designer, _user, run, then = story.cast
    run.resolve("HV-1", "plant3d", "*", carry_out=False)
    run.command(*other)
    run.now()
    then.lives("HV-1")
    then.both_sides_hold("HV-1", "Edited after the archive")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_to_leave_it_archived_is_void_when_the_designer_goes_on(tell: Tell) -> None:
    story = archived_but_edited(tell)
    designer, _user, run, then = story.cast
    run.resolve("HV-1", "synapse", "*", carry_out=False)
    designer.types("HV-1", "description", "Edited after the choice")
    run.now()
    run.now()
    then.is_told("HV-1")
    then.is_asked("HV-1", "*")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_to_restore_meets_what_a_user_typed_after_it(tell: Tell) -> None:
    story = archived_but_edited(tell)
    _designer, user, run, then = story.cast
    run.resolve("HV-1", "plant3d", "*", carry_out=False)
    user.unarchives("HV-1")
    user.types("HV-1", "description", "Typed after the choice")
    run.now()
    then.kept_or_asked("HV-1", "Typed after the choice")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_to_archive_is_not_carried_out_after_the_item_came_back(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("HV-1", "description", "Edited before the item went")
    deleted = designer.deletes("HV-1")
    run.now()
    run.resolve("HV-1", "plant3d", "*", carry_out=False)
    designer.brings_back(deleted)
    run.now()
    run.now()
    then.lives("HV-1")
    then.arrived_or_asked("HV-1", "Edited before the item went")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_a_choice_to_archive_that_is_void_says_why(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("FT-1", "description", "Edited before the item went")
    designer.deletes("FT-1")
    run.now()
    asked = story.the_conflict("FT-1", "*")
    run.resolve("FT-1", "plant3d", "*", carry_out=False)
    user.types("FT-1", "description", "Typed after the choice")
    run.now()
    then.lives("FT-1")
    record = run.command("conflict", asked["id"]).out
    promise("void" in record, f"the record does not say that it is void: {record}")
    then.all_is_well()


@pytest.mark.parametrize("side", ["plant3d", "synapse"])
@pytest.mark.long
def test_kind_10_a_choice_of_a_value_is_void_when_a_side_moved_after_it(tell: Tell, side: str) -> None:
    story = tell(conflict=ASK, share_model=True)
    designer, user, run, then = story.cast
    designer.types("P-1", "model", "D-1")
    user.types("P-1", "model", "U-1")
    run.now()
    run.resolve("P-1", "synapse" if side == "plant3d" else "plant3d", "model", carry_out=False)
    (designer if side == "plant3d" else user).types("P-1", "model", "Typed after the choice")
    run.now()
    then.is_asked("P-1", "model", "Typed after the choice")
    then.all_is_well()


@pytest.mark.long
def test_kind_10_an_undo_on_the_workbook_route_says_that_nothing_goes_back(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("HV-1", "description", "Pushed")
    pushed = run.push()
    story.settings(write="workbook")
    plan = run.undo(pushed)
    if plan.code == 0 and plan.json["restores"]:
        then.was_stopped(run.apply(plan.json["plan_id"]))
    then.all_is_well(but=[("HV-1", "description")])


# ---------------------------------------------------------------- kind 11: hasty time


def test_kind_11_six_runs_within_seconds_are_not_thirty_minutes(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 30, "policy": "archive"})
    designer, user, run, then = story.cast
    designer.deletes("HV-1")
    for number in range(3):
        designer.saves_again("P-2")
        run.now()
        user.types("P-3", "description", f"Edit {number}")
        run.now()
    then.lives("HV-1")
    then.is_told("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_11_an_item_that_comes_back_in_between_is_missed_anew(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 0, "policy": "archive"})
    designer, _user, run, then = story.cast
    for _ in range(2):
        deleted = designer.deletes("HV-1")
        run.pull()
        designer.brings_back(deleted)
        run.pull()
    then.lives("HV-1")
    deleted = designer.deletes("HV-1")
    run.pull()
    then.lives("HV-1")
    then.all_is_well()


@pytest.mark.long
def test_kind_11_nobody_is_asked_to_archive_before_the_minutes_are_over(tell: Tell) -> None:
    story = tell(missing={"reads": 1, "minutes": 30, "policy": "ask"})
    designer, _user, run, then = story.cast
    designer.deletes("L-1")
    for tag in ("P-2", "P-3"):
        run.now()
        designer.saves_again(tag)
    plan = run.plan()
    run.apply(plan)
    then.lives("L-1")
    then.all_is_well()


# ---------------------------------------------------------------- kind 12: guards look both ways


def many_pumps(unpulled: Tell, drawn_large: Path, count: int, **options: Any) -> tuple[Story, list[str]]:
    story = unpulled(dcf=drawn_large, **options)
    assert story.run.now().code == 0
    return story, [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:count]


@pytest.mark.long
def test_kind_12_a_fifth_of_the_descriptions_emptied_in_synapse_is_stopped(
    unpulled: Tell, drawn_large: Path
) -> None:
    story, pumps = many_pumps(unpulled, drawn_large, 60)
    before = story.world.fingerprint()
    story.user.empties(pumps)
    said = story.run.push()
    promise(story.world.fingerprint() == before, "cells were emptied")
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    story.then.all_is_well()


@pytest.mark.long
def test_kind_12_a_mass_of_descriptions_overwritten_in_synapse_is_stopped(
    unpulled: Tell, drawn_large: Path
) -> None:
    story, pumps = many_pumps(unpulled, drawn_large, 250)
    before = story.world.fingerprint()
    story.user.overwrites(pumps, "Test")
    said = story.run.now()
    promise(story.world.fingerprint() == before, "cells were overwritten")
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    story.then.all_is_well()


def test_kind_12_a_mass_of_descriptions_emptied_goes_into_no_workbook_where_nothing_is_written(
    unpulled: Tell, drawn_large: Path
) -> None:
    story, pumps = many_pumps(unpulled, drawn_large, 60, write="off")
    story.user.empties(pumps)
    promise(story.run.now().code in (0, 3), "a run that writes nothing there is not stopped")
    words = ("workbook", "mine", "-o", str(story.world.folder / "emptied.xlsx"))
    refused = story.run.command(*words)
    promise(refused.code == 5, f"the workbook was made: {refused.out}")
    made = story.run.command(*words, "--approve-guards")
    promise(made.code in (0, 3) and made.json["written"] == len(pumps), f"approved, not made: {made.out}")
    again = story.run.command(*words)
    promise(again.code in (0, 3), f"what was in a workbook counts again: {again.out}")


def test_kind_12_a_guarded_push_goes_through_when_a_person_approves(
    unpulled: Tell, drawn_large: Path
) -> None:
    story, pumps = many_pumps(unpulled, drawn_large, 60)
    story.user.empties(pumps)
    said = story.run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    story.run.apply(said.json["plan_id"], "--approve-guards")
    story.then.both_sides_hold(pumps[0], None)
    story.then.both_sides_hold(pumps[-1], None)
    story.then.all_is_well()
