"""Stories of five to nine moves, told by somebody who reads the docs and thinks "and if just then …".

Each was seen to break a promise. Numbers and kinds are those of the issue; what a story asserts is what must hold,
in every way that is allowed. An expected failure fails by `BrokenPromise` only: a story that was arranged wrongly
is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.story import BrokenPromise, Tell, promise


def broken(kind: str, what: str) -> pytest.MarkDecorator:
    """The story breaks a promise until its kind is repaired."""
    return pytest.mark.xfail(strict=True, raises=BrokenPromise, reason=f"kind {kind}: {what}")


ANY_SECOND_COUNTS = {"tolerance_seconds": 0}
"""The newest wins however little later it is: a story takes seconds, what it tells takes hours."""


# ---------------------------------------------------------------- 1 to 3: writes without their condition


def test_story_01_a_user_types_an_attribute_just_before_the_run_writes_it(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    designer.types("P-1", "model", "Model of the designer")
    with run.between():
        user.types("P-1", "model", "Model of the user")
    then.kept_or_asked("P-1", "Model of the user", "model")
    run.now()
    then.kept_or_asked("P-1", "Model of the user", "model")
    then.all_is_well()


def test_story_02_a_user_unarchives_and_types_just_before_the_run_restores(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("P-1")
    run.now()
    assert story.asset("P-1")["deleted_at"] is not None
    designer.brings_back(deleted)
    with run.between():
        user.unarchives("P-1")
        user.types("P-1", "description", "Typed after un-archiving")
    then.kept_or_asked("P-1", "Typed after un-archiving")
    run.now()
    then.kept_or_asked("P-1", "Typed after un-archiving")
    then.all_is_well()


def test_story_03_an_item_comes_back_after_a_user_unarchived_its_asset_and_typed(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    deleted = designer.deletes("P-1")
    run.now()
    assert story.asset("P-1")["deleted_at"] is not None
    user.unarchives("P-1")
    user.types("P-1", "description", "Typed while the item was away")
    run.now()
    designer.brings_back(deleted)
    run.now()
    then.kept_or_asked("P-1", "Typed while the item was away")
    run.now()
    then.arrived_or_asked("P-1", "Typed while the item was away")
    then.all_is_well()


# ---------------------------------------------------------------- 4 to 9: what was not looked at


def test_story_04_an_asset_that_a_user_restored_after_an_undo_is_kept_up_again(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.adds("P-9", description="A new pump")
    created = run.now()
    run.undone(created)
    assert story.asset("P-9")["deleted_at"] is not None
    plan = run.plan()
    user.unarchives("P-9")
    run.apply(plan)
    run.now()
    designer.types("P-9", "description", "The designer goes on")
    run.now()
    run.now()
    then.both_sides_hold("P-9", "The designer goes on")
    then.all_is_well()


def test_story_05_a_mapped_column_that_appears_in_the_project_later_arrives(
    tell: Tell, drawn_without_model: Path
) -> None:
    story = tell(dcf=drawn_without_model)
    designer, _user, run, then = story.cast
    designer.adds_column("EngineeringItems", "ModelNumber")
    designer.types("P-1", "model", "Filled in later")
    run.now()
    run.now()
    then.synapse_holds("P-1", "Filled in later", "model")
    then.all_is_well()


def test_story_06_the_newest_edit_wins_although_the_item_was_in_row_error_meanwhile(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    taken = user.adds("P-77", "An asset nobody linked")
    run.now()
    designer.retags("P-1", "P-77")
    designer.types("P-1", "description", "The designer's, first")
    assert "tag_taken" in run.now().out
    user.types("P-1", "description", "The user's, later")
    run.now()
    story.edit_asset(taken["id"], tag="P-78")
    run.now()
    then.arrived_or_asked("P-1", "The user's, later")
    then.all_is_well()


def test_story_07_a_choice_outlives_a_row_error(tell: Tell) -> None:
    story = tell(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's words")
    user.types("P-1", "description", "The user's words")
    designer.retags("P-1", "P-" + "1" * 128)
    run.now()
    assert story.told("P-1")
    run.resolve("P-1", "synapse", carry_out=False)
    run.now()
    assert story.told("P-1")
    designer.retags("P-1", "P-1")
    run.now()
    run.now()
    then.both_sides_hold("P-1", "The user's words")
    then.all_is_well()


def gone_but_edited(tell: Tell, **options: Any) -> Any:
    """An item is deleted after a user edited its asset: a person is asked."""
    story = tell(**options)
    designer, user, run, _then = story.cast
    user.types("P-1", "description", "Edited before the item went")
    designer.deletes("P-1")
    run.now()
    assert [item["field"] for item in story.conflicts("P-1")] == ["*"]
    return story


@pytest.mark.parametrize("other", [("push",), ("pull", "--entity-types", "valves")], ids=["push", "valves"])
def test_story_08_a_choice_to_archive_waits_for_a_run_that_can_do_it(
    tell: Tell, other: tuple[str, ...]
) -> None:
    story = gone_but_edited(tell)
    _designer, _user, run, then = story.cast
    run.resolve("P-1", "plant3d", "*", carry_out=False)
    run.command(other[0], "mine", *other[1:])
    then.is_not_asked("P-1")
    run.now()
    then.is_archived("P-1")
    then.is_not_asked("P-1")
    then.all_is_well()


def test_story_09_a_choice_to_archive_is_void_when_the_user_types_again(tell: Tell) -> None:
    story = gone_but_edited(tell)
    _designer, user, run, then = story.cast
    run.resolve("P-1", "plant3d", "*", carry_out=False)
    user.types("P-1", "description", "Typed after the choice")
    run.pull()
    then.lives("P-1")
    then.is_asked("P-1", "*", "Typed after the choice")
    then.all_is_well()


# ---------------------------------------------------------------- 10 to 12: copies and backups


def older_copy(tell: Tell) -> Any:
    """A copy of the database is taken, then the designer goes on."""
    story = tell()
    designer, _user, run, _then = story.cast
    older = designer.copies_file()
    designer.saves({(tag, "description"): f"{tag}, newer" for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2")})
    assert run.now().code == 0
    return story, older


def test_story_10_an_older_copy_is_still_stopped_after_another_plan_was_applied(tell: Tell) -> None:
    story, older = older_copy(tell)
    designer, _user, run, then = story.cast
    plan = run.plan()
    designer.puts_back(older)
    assert run.now().code == 5
    run.apply(plan)
    then.was_stopped(run.now())
    then.synapse_holds("P-1", "P-1, newer")
    then.all_is_well()


def test_story_11_an_older_copy_that_was_saved_twice_is_known_all_the_same(tell: Tell) -> None:
    story, older = older_copy(tell)
    designer, _user, run, then = story.cast
    designer.puts_back(older)
    designer.saves_again("FT-1")
    designer.saves_again("FT-2")
    said = run.now()
    for tag in ("P-1", "P-2", "P-3", "HV-1", "HV-2"):
        then.synapse_holds(tag, f"{tag}, newer")
        if said.code != 5:
            then.is_asked(tag, "description", f"{tag}, newer")
    then.all_is_well()


def test_story_12_a_synapse_restored_from_a_backup_does_not_win_over_a_newer_text(
    restorable: Callable[..., Any],
) -> None:
    synapse = restorable()
    story = synapse.story
    designer, _user, run, then = story.cast
    assert run.now().code == 0
    backup = synapse.backs_up()
    designer.types("P-1", "description", "Newer than the backup")
    run.now()
    then.both_sides_hold("P-1", "Newer than the backup")
    synapse.restores(backup)
    said = run.now()
    then.plant3d_holds("P-1", "Newer than the backup")
    if said.code != 5:
        then.is_asked("P-1", "description", "Newer than the backup")
    then.all_is_well()


# ---------------------------------------------------------------- 13 and 14: what is missing


WITHOUT_PUMPS = {"CentrifugalPump": {"entity": "none"}}


def test_story_13_an_item_deleted_while_its_class_was_left_out_is_missed(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    story.mapping(WITHOUT_PUMPS)
    run.now()
    designer.deletes("P-1")
    story.mapping(None)
    for _ in range(3):
        run.now()
    if story.asset("P-1")["deleted_at"] is None:
        then.is_told("P-1")
    then.all_is_well()


def test_story_14_three_saves_within_seconds_are_not_thirty_minutes(tell: Tell) -> None:
    story = tell(missing={"reads": 3, "minutes": 30, "policy": "archive"})
    designer, _user, run, then = story.cast
    designer.deletes("P-1")
    run.pull()
    for tag in ("P-2", "P-3", "P-2"):
        designer.saves_again(tag)
        run.pull()
    then.lives("P-1")
    then.all_is_well()


# ---------------------------------------------------------------- 15 and 16: doors around the checks


def test_story_15_a_second_project_with_a_copy_of_the_source_is_refused(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    second = story.second_project(designer.copies_file())
    second.designer.types("P-1", "manufacturer", "Changed in the copy")
    said = run.now("second")
    then.synapse_holds("P-1", "Sulzer", "manufacturer")
    promise(said.code != 0, f"not refused: {said.out}")
    second.designer.deletes("P-2")
    run.now("second")
    run.now("second")
    then.lives("P-2")
    then.all_is_well()


def test_story_16_links_are_not_accepted_under_another_synapse_project(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.adds("P-9", manufacturer="KSB")
    foreign = story.another_synapse_project()
    foreign.user_adds(tag="P-9", description="Of the other plant", asset_type="Equipment")
    ours = story.points_at(foreign.uuid)
    assert run.now().code == 78
    said = run.command("links", "accept", "mine")
    story.points_at(ours)
    run.now()
    run.now()
    then.plant3d_holds("P-9", None)
    (asset,) = foreign.assets()
    promise(asset["plant3d_id"] is None, f"the foreign asset was tied: {asset}")
    promise(said.code in (5, 78), f"not refused: {said.out}")
    then.both_sides_hold("P-9", "KSB", "manufacturer")
    then.all_is_well()


# ---------------------------------------------------------------- 17 to 20


D1_FIRST = {"Equipment": {"fields": {"description": {"column": ["D1", "Description"], "owner": "shared"}}}}


def test_story_17_a_changed_mapping_is_nobodys_edit(unpulled: Tell) -> None:
    story = unpulled(conflict=ANY_SECOND_COUNTS)
    designer, user, run, then = story.cast
    designer.types("P-1", "D1", "What stood in D1 all along")
    assert run.now().code == 0
    user.types("P-1", "description", "The user's words")
    run.pull()
    story.mapping(D1_FIRST, description=["D1", "Description"])
    run.now()
    then.arrived_or_asked("P-1", "The user's words")
    then.all_is_well()


def test_story_18_what_a_user_types_after_a_first_pull_was_killed_arrives(unpulled: Tell) -> None:
    story = unpulled()
    _designer, user, run, then = story.cast
    run.killed("pull.reply_received", "pull", "mine")
    user.types("P-4", "description", "Filled in by the user")
    run.now()
    run.pull("--full")
    run.now()
    then.both_sides_hold("P-4", "Filled in by the user")
    then.all_is_well()


def test_story_19_what_a_user_types_while_a_run_adopts_arrives(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    story.loses_its_state()
    designer.types("P-1", "manufacturer", "KSB")
    with run.between():
        user.types("P-1", "description", "Typed during the adoption")
    run.now()
    run.now()
    then.arrived_or_asked("P-1", "Typed during the adoption")
    then.all_is_well()


def test_story_20_an_item_under_another_pnpid_goes_on_after_links_accept(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.redraws("P-1")
    said = run.now()
    assert "identity_mismatch" in said.out and "links accept" in said.out
    run.command("links", "accept", "mine")
    designer.types("P-1", "description", "The designer goes on")
    said = run.now()
    promise("identity_mismatch" not in said.out, f"the hint did not help: {said.out}")
    then.both_sides_hold("P-1", "The designer goes on")
    then.all_is_well()


# ---------------------------------------------------------------- 21 to 23: our own echo


def test_story_21_a_session_open_since_morning_saves_its_first_copy_after_two_pushes(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    morning = story.cell("P-1")
    for text in ("The user's first", "The user's second"):
        user.types("P-1", "description", text)
        run.now()
        then.both_sides_hold("P-1", text)
    designer.saves_an_old_session("P-1", "description", morning)
    run.now()
    then.synapse_holds("P-1", "The user's second")
    then.is_asked("P-1", "description", "The user's second")
    then.all_is_well()


def test_story_22_an_old_workbook_is_known_as_ours(tell: Tell) -> None:
    story = tell(write="workbook")
    designer, user, run, then = story.cast
    user.types("P-1", "description", "In the workbook")
    run.now()
    run.command("workbook", "mine", "-o", str(story.world.folder / "old.xlsx"))
    user.types("P-1", "description", "Newer than the workbook")
    run.now()
    run.now()
    designer.imports(story.world.folder / "old.xlsx")
    assert story.cell("P-1") == "In the workbook"
    run.now()
    then.synapse_holds("P-1", "Newer than the workbook")
    then.is_asked("P-1", "description", "Newer than the workbook")
    then.all_is_well()


def test_story_23_the_late_write_of_an_overtaken_run_is_put_right(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    story.world.env["P3DSYNC_LEASE_SECONDS"] = "2"
    user.types("P-1", "description", "Taken back later")
    with run.between(at="push.before_begin") as frozen:
        user.types("P-1", "description", "Pump 1, as drawn")
        run.takes_over()
        frozen.go_on()
    run.now()
    run.now()
    then.both_sides_hold("P-1", "Pump 1, as drawn")
    then.all_is_well()


# ---------------------------------------------------------------- 24 to 26, 29: undo and choices


def test_story_24_an_undo_leaves_an_edit_alone_that_waits_for_a_locked_file(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("P-1", "description", "Pushed")
    pushed = run.push()
    with designer.holds_the_file():
        user.types("P-1", "description", "Newer than the push")
        run.now(env={"P3DSYNC_SOURCE_DEADLINE_SECONDS": "0.1"})
    plan = run.undo(pushed)
    run.apply(plan.json["plan_id"])
    for _ in range(3):
        run.now()
    then.both_sides_hold("P-1", "Newer than the push")
    left = plan.json["left_alone"]
    promise([entry["field"] for entry in left] == ["description"], f"left alone: {left}")
    then.all_is_well()


def test_story_25_two_undos_of_one_item_both_hold(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("P-1", "description", "Unwanted text")
    first = run.now()
    designer.types("P-1", "manufacturer", "Unwanted make")
    second = run.now()
    plans = [run.undo(ran).json["plan_id"] for ran in (first, second)]
    for plan in plans:
        assert run.apply(plan).code == 0
    assert (story.held("P-1"), story.held("P-1", "manufacturer")) == ("Pump 1, as drawn", "Sulzer")
    run.now()
    then.synapse_holds("P-1", "Pump 1, as drawn")
    then.synapse_holds("P-1", "Sulzer", "manufacturer")
    then.all_is_well(but=[("P-1", "description")])
    then.synapse_holds("P-1", "Pump 1, as drawn")
    then.synapse_holds("P-1", "Sulzer", "manufacturer")


def test_story_26_a_choice_made_while_a_run_works_is_carried_out_by_the_next_one(tell: Tell) -> None:
    story = tell(conflict={"policy": "ask"})
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's words")
    user.types("P-1", "description", "The user's words")
    run.now()
    designer.saves_again("P-2")
    with run.between():
        run.resolve("P-1", "synapse")
    run.now()
    then.is_not_asked("P-1")
    then.both_sides_hold("P-1", "The user's words")
    then.all_is_well()


def test_story_27_a_mass_of_descriptions_emptied_in_synapse_is_stopped(
    unpulled: Tell, drawn_large: Path
) -> None:
    story = unpulled(dcf=drawn_large)
    _designer, user, run, then = story.cast
    assert run.now().code == 0
    pumps = [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:300]
    before = story.world.fingerprint()
    user.empties(pumps)
    said = run.now()
    promise(story.world.fingerprint() == before, f"cells were emptied: {said.out}")
    then.was_stopped(said)
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    then.all_is_well()
    applied = run.apply(said.json["plan_id"], "--approve-guards")
    promise(applied.json["writes"]["plant3d"] == len(pumps), f"approved, yet not carried out: {applied.out}")
    then.both_sides_hold(pumps[0], None)
    then.all_is_well()


@pytest.mark.long
def test_story_27_a_mass_of_descriptions_emptied_in_synapse_goes_into_no_workbook_unseen(
    unpulled: Tell, drawn_large: Path
) -> None:
    story = unpulled(dcf=drawn_large, write="workbook")
    _designer, user, run, then = story.cast
    assert run.now().code == 0
    pumps = [tag for tag in story.items if tag.startswith("P-") and len(tag) > 3][:300]
    user.empties(pumps)
    words = ("workbook", "mine", "-o", str(story.world.folder / "emptied.xlsx"))
    refused = run.command(*words)
    promise(refused.code == 5, f"the workbook was made: {refused.out}")
    said = run.now()
    promise(said.code == 5, f"no guard stopped it: {said.out}")
    run.apply(said.json["plan_id"], "--approve-guards")
    made = run.command(*words)
    promise(made.code in (0, 3) and made.json["written"] == len(pumps), f"approved, yet not made: {made.out}")
    then.all_is_well(but=[(tag, "description") for tag in pumps])


def test_story_28_a_description_that_a_user_clears_stays_cleared(unpulled: Tell) -> None:
    story = unpulled()
    designer, user, run, then = story.cast
    story.mapping(D1_FIRST, description=["D1", "Description"])
    designer.types("P-1", "D1", "The first column")
    assert run.now().code == 0
    user.types("P-1", "description", None)
    for _ in range(3):
        run.now()
    if story.conflicts("P-1"):
        then.is_asked("P-1")
    else:
        then.both_sides_hold("P-1", None)
    then.all_is_well()


def test_story_29_an_undo_without_permission_to_write_says_that_nothing_goes_back(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Pushed")
    pushed = run.push()
    story.settings(write="off")
    plan = run.undo(pushed)
    if plan.code == 0 and plan.json["restores"]:
        said = run.apply(plan.json["plan_id"])
        then.was_stopped(said)
    then.all_is_well(but=[("P-1", "description")])
