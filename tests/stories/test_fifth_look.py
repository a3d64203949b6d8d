"""Stories that a fifth player of the docs told: what comes after a person's word was carried out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from tests.stories.conftest import TellRestorable
from tests.support.story import Story, Tell, promise

# ---------------------------------------------------------------- a choice is carried out once


def asked(tell: Tell, **options: object) -> Story:
    """Both sides edited the description of P-1, and a person is to decide."""
    story = tell(conflict={"policy": "ask"}, **options)
    story.designer.types("P-1", "description", "The designer's")
    story.user.types("P-1", "description", "The user's")
    story.run.now()
    return story


def is_carried_out(story: Story, field: str = "description") -> None:
    (done, *_) = story.conflicts("P-1", field, status="resolved")
    promise(done["carried_out"] and not done["void_reason"], done)


@pytest.mark.parametrize("choice", ["synapse", "plant3d", pytest.param("manual", marks=pytest.mark.long)])
def test_a_choice_that_a_stored_plan_carried_out_is_not_carried_out_again(tell: Tell, choice: str) -> None:
    story = asked(tell)
    designer, user, run, then = story.cast
    run.resolve("P-1", choice, carry_out=False, value="A third" if choice == "manual" else "")
    run.apply(run.plan())
    if choice == "manual":
        run.apply(run.plan())
    is_carried_out(story)
    if choice == "plant3d":
        user.types("P-1", "description", "The user's")
        run.now()
        then.arrived_or_asked("P-1", "The user's")
    else:
        designer.types("P-1", "description", "The designer's")
        run.now()
        then.arrived_or_asked("P-1", "The designer's")
    is_carried_out(story)
    then.all_is_well()


def test_a_choice_that_was_stale_in_a_stored_plan_is_not_said_to_be_carried_out(tell: Tell) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    run.resolve("P-1", "plant3d", carry_out=False)
    plan = run.plan()
    designer.types("P-1", "description", "Typed since")
    run.apply(plan)
    (waits,) = story.conflicts("P-1", status="resolved")
    promise(not waits["carried_out"], waits)
    run.now()
    then.is_asked("P-1", "description", "Typed since", "The user's")


@pytest.mark.parametrize("at", ["run.before_finish", "push.committed"])
def test_a_choice_that_a_killed_run_carried_out_is_not_carried_out_again(tell: Tell, at: str) -> None:
    story = asked(tell)
    designer, _user, run, then = story.cast
    run.resolve("P-1", "synapse", carry_out=False)
    run.killed(at)
    then.both_sides_hold("P-1", "The user's")
    if at != "run.before_finish":
        run.now()
    designer.types("P-1", "description", "The designer's")
    run.now()
    then.arrived_or_asked("P-1", "The designer's")
    is_carried_out(story)
    then.all_is_well()


def archived_by_a_user(tell: Tell) -> Story:
    """The asset of P-1 was archived while its item was edited, and a person is to decide."""
    story = tell()
    story.user.archives("P-1")
    story.designer.types("P-1", "description", "Typed while it was archived")
    story.run.now()
    return story


@pytest.mark.parametrize("killed", [False, True])
def test_an_asset_restored_by_a_choice_and_archived_again_stays_archived(tell: Tell, *, killed: bool) -> None:
    story = archived_by_a_user(tell)
    _designer, user, run, then = story.cast
    run.resolve("P-1", "plant3d", "*", carry_out=False)
    if killed:
        run.killed("run.before_finish")
    else:
        run.apply(run.plan())
    then.lives("P-1")
    user.archives("P-1")
    for _ in range(2):
        run.now()
        then.is_archived("P-1")
        then.is_told("P-1")
    is_carried_out(story, "*")


def test_a_choice_to_leave_an_asset_archived_is_not_asked_again_after_its_run_died(tell: Tell) -> None:
    story = archived_by_a_user(tell)
    _designer, _user, run, then = story.cast
    run.resolve("P-1", "synapse", "*", carry_out=False)
    run.killed("guards.passed")
    run.now()
    then.is_not_asked("P-1")
    then.is_archived("P-1")
    is_carried_out(story, "*")


def test_who_types_his_words_again_over_a_third_value_is_heard(tell: Tell) -> None:
    story = asked(tell, write="off")
    _designer, user, run, then = story.cast
    run.resolve("P-1", "manual", value="A third")
    then.synapse_holds("P-1", "A third")
    user.types("P-1", "description", "The user's")
    run.now()
    then.synapse_holds("P-1", "The user's")
    then.is_asked("P-1", "description", "The designer's", "The user's")


def test_a_run_in_which_nothing_moved_is_not_clean_while_an_archived_asset_is_asked_about(tell: Tell) -> None:
    story = archived_by_a_user(tell)
    for _ in range(2):
        said = story.run.now()
        promise(said.code == 3 and said.json["outcome"] == "with_issues", said)
        story.then.is_asked("P-1")


# ---------------------------------------------------------------- a field that is left out for a while


def leaves_the_model_out(story: Story) -> None:
    story.mapping({"EngineeringItems": {"fields": {"attributes.model": None}}})
    story.run.now()


def test_what_was_undone_stays_so_while_its_field_is_left_out(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    user.types("P-1", "model", "The user's")
    run.undone(run.now())
    run.now()
    leaves_the_model_out(story)
    story.shares_model()
    run.now()
    then.plant3d_holds("P-1", "M-1", "model")
    then.synapse_holds("P-1", "The user's", "model")
    then.is_told("P-1")
    user.types("P-1", "model", "A newer one")
    run.now()
    then.both_sides_hold("P-1", "A newer one", "model")


@pytest.mark.parametrize("asked_before", [True, False])
def test_an_old_session_stays_a_question_when_its_field_is_left_out_for_a_while(
    tell: Tell, *, asked_before: bool
) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    user.types("P-1", "model", "One")
    run.now()
    user.types("P-1", "model", "Two")
    run.now()
    if asked_before:
        designer.saves_an_old_session("P-1", "model", "One")
        run.now()
    leaves_the_model_out(story)
    if not asked_before:
        designer.saves_an_old_session("P-1", "model", "One")
        run.now()
    story.shares_model()
    for _ in range(2):
        run.now()
        then.synapse_holds("P-1", "Two", "model")
        then.is_asked("P-1", "model", "One", "Two")


def test_an_older_synapse_stays_a_question_when_its_field_is_left_out_for_a_while(
    restorable: TellRestorable,
) -> None:
    world = restorable()
    story = world.story
    _designer, user, run, then = story.cast
    story.shares_model()
    run.now()
    backup = world.backs_up()
    user.types("P-1", "model", "The user's")
    run.now()
    world.restores(backup)
    run.now()
    then.is_asked("P-1", "model")
    leaves_the_model_out(story)
    story.shares_model()
    run.now()
    then.plant3d_holds("P-1", "The user's", "model")
    then.is_asked("P-1", "model", "The user's", "M-1")


# ---------------------------------------------------------------- what else stands in a workbook


def makes_a_workbook(story: Story, *words: str) -> Path:
    path = story.world.folder / "to-import.xlsx"
    story.run.command("workbook", "mine", "-o", str(path), *words)
    return path


def exports(story: Story, *tags: str) -> Path:
    """A Data Manager export of these items."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Tag", "Description", "PnPID", "PnPGuid"])
    for tag in tags:
        sheet.append([tag, story.cell(tag), str(story.items[tag]), story.guids[tag]])
    path = story.world.folder / "export.xlsx"
    book.save(path)
    return path


def test_a_workbook_shows_what_an_item_holds_where_another_one_gets_a_value(tell: Tell) -> None:
    story = tell(share_model=True, write="workbook")
    _designer, user, run, _then = story.cast
    user.types("P-1", "model", "The user's")
    user.types("P-2", "description", "The user's")
    run.now()
    shown = story.in_workbook(makes_a_workbook(story))
    promise("M-2" in shown, f"a blank stands where P-2 has its model: {shown}")


def test_a_workbook_imported_late_takes_back_nothing_that_stood_next_to_its_values(tell: Tell) -> None:
    story = tell(share_model=True, write="workbook")
    designer, user, run, then = story.cast
    user.types("P-1", "model", "The user's")
    run.now()
    book = makes_a_workbook(story)
    designer.types("P-1", "description", "Typed since")
    run.now()
    designer.imports(book)
    run.now()
    then.synapse_holds("P-1", "Typed since")
    then.is_asked("P-1", "description", "Typed since", "Pump 1, as drawn")


@pytest.mark.parametrize("stale", [True, False])
def test_a_filled_export_takes_back_nothing_that_a_designer_typed_since(tell: Tell, *, stale: bool) -> None:
    story = tell(write="workbook")
    designer, user, run, then = story.cast
    export = exports(story, "P-1", "P-2")
    if stale:
        designer.types("P-1", "description", "Typed since")
    user.types("P-2", "description", "The user's")
    run.now()
    book = makes_a_workbook(story, "--from", str(export))
    if not stale:
        designer.types("P-1", "description", "Typed since")
        run.now()
    designer.imports(book)
    run.now()
    then.both_sides_hold("P-2", "The user's")
    then.synapse_holds("P-1", "Typed since")
    then.is_asked("P-1", "description", "Typed since", "Pump 1, as drawn")


# ---------------------------------------------------------------- a refused row that a person left alone


def leaves_pumps_out(story: Story) -> None:
    story.mapping({"Pumps": {"entity": "none"}})
    story.run.now()
    story.mapping(None)


def archives_and_restores(story: Story) -> None:
    story.user.archives("P-1")
    story.run.now()
    story.user.unarchives("P-1")


def deletes_and_brings_back(story: Story) -> None:
    deleted = story.designer.deletes("P-1")
    story.run.now()
    story.designer.brings_back(deleted)


@pytest.mark.parametrize("away", [leaves_pumps_out, archives_and_restores, deletes_and_brings_back])
def test_what_a_person_left_alone_stays_so_while_its_pair_is_not_compared(
    tell: Tell, away: Callable[[Story], None]
) -> None:
    story = tell(missing={"reads": 3, "minutes": 0, "policy": "ask"})
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Two\nlines")
    run.now()
    (refused,) = run.command("quarantine", "list", "mine").json["items"]
    run.command("quarantine", "ignore", "mine", str(refused["id"]), "--reason", "as agreed")
    run.now()
    away(story)
    for _ in range(2):
        said = run.now()
        promise(not said.json["errors"], said)
        promise(run.command("quarantine", "list", "mine").json["items"] == [], "it is refused again")
    user.types("P-1", "description", "Two\nother lines")
    promise(run.now().json["errors"], "nobody left this one alone")
    user.types("P-1", "description", "One line")
    run.now()
    then.both_sides_hold("P-1", "One line")
