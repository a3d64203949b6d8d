"""Stories of the twelve kinds, told by readers of the docs: what changes when nobody typed anything."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support.dcf import Dcf
from tests.support.story import Story, Tell, promise

ASK = {"policy": "ask"}


def shares_a_note(story: Story, **options: Any) -> None:
    """The mapping shares `attributes.note` of pumps."""
    rule = {"attributes.note": {"column": "D1", "owner": "shared", **options}}
    story.mapping({"CentrifugalPump": {"fields": rule}}, note=["D1"])


# ---------------------------------------------------------------- kind 1: a changed mapping


@pytest.mark.parametrize(
    ("loose", "cell", "typed"),
    [
        ("caseless", "Abc", "ABC"),
        pytest.param("number", "12.50", "12,5", marks=pytest.mark.long),
    ],
)
def test_kind_01_two_spellings_that_a_stricter_mapping_tells_apart_are_asked_about(
    tell: Tell, loose: str, cell: str, typed: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    shares_a_note(story, compare=loose)
    designer.types("P-1", "D1", cell)
    run.now()
    user.types("P-1", "note", typed)
    run.now()
    then.is_not_asked("P-1", "note")
    shares_a_note(story)
    run.now()
    run.now()
    then.is_asked("P-1", "note", cell, typed)
    run.resolve("P-1", "synapse", "note")
    then.plant3d_holds("P-1", typed, "D1")
    then.all_is_well()


@pytest.mark.long
def test_kind_01_what_counts_as_the_same_again_is_no_question_any_more(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    shares_a_note(story, compare="caseless")
    designer.types("P-1", "D1", "Abc")
    run.now()
    user.types("P-1", "note", "ABC")
    run.now()
    shares_a_note(story)
    run.now()
    shares_a_note(story, compare="caseless")
    run.now()
    then.is_not_asked("P-1", "note")


# ---------------------------------------------------------------- kind 3: an item that goes and comes back


def test_kind_03_an_older_copy_stays_a_question_when_its_item_goes_and_comes_back(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    copy = designer.copies_file()
    designer.types("P-1", "description", "Typed after the copy")
    run.now()
    designer.puts_back(copy)
    run.apply(run.now().json["plan_id"], "--approve-guards")
    run.now()
    then.is_asked("P-1")
    deleted = designer.deletes("P-1")
    run.now()
    then.is_archived("P-1")
    designer.brings_back(deleted)
    run.now()
    then.synapse_holds("P-1", "Typed after the copy")
    then.is_asked("P-1", "description", "Typed after the copy")


# ---------------------------------------------------------------- kind 3: a line that another row stands for


def second_group(story: Story, description: str | None) -> None:
    """The line L-1 has a second group, with a segment of its own."""
    dcf = Dcf.existing(story.world.dcf)
    dcf.next_relation = 100
    made = dict(PnPGuid=uuid.uuid4().bytes_le)
    group = dcf.add("PipeLineGroup", Tag="L-1", LineNumber="1", Description=description, **made)
    segment = dcf.add("Primary", Tag="L-1", PnPGuid=uuid.uuid4().bytes_le)
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)


def first_group_goes(story: Story) -> None:
    gone = story.designer.deletes("L-1")
    ((story.items["L-1"],),) = story.world.sql("SELECT PnPID FROM PipeLineGroup WHERE Tag = 'L-1'")
    assert gone


@pytest.mark.parametrize("other", ["The second group's", None], ids=["another text", "nothing"])
def test_kind_03_a_text_of_a_group_that_stands_for_its_line_now_is_nobodys_edit(
    unpulled: Tell, other: str | None
) -> None:
    story = unpulled()
    _designer, user, run, then = story.cast
    second_group(story, other)
    run.now()
    user.types("L-1", "description", "The user's")
    run.now()
    then.plant3d_holds("L-1", "The user's")
    first_group_goes(story)
    run.now()
    then.both_sides_hold("L-1", "The user's")
    then.is_not_asked("L-1")
    if other:
        then.history_shows(other)


@pytest.mark.long
def test_kind_03_the_words_of_a_user_wait_while_nothing_may_be_written(unpulled: Tell) -> None:
    story = unpulled()
    _designer, user, run, then = story.cast
    second_group(story, "The second group's")
    run.now()
    user.types("L-1", "description", "The user's")
    run.now()
    first_group_goes(story)
    story.settings(write="off")
    run.now()
    run.now()
    then.synapse_holds("L-1", "The user's")
    user.types("L-1", "description", "The user's, later")
    run.now()
    story.settings(write="sql")
    run.now()
    then.both_sides_hold("L-1", "The user's, later")


@pytest.mark.long
def test_kind_03_what_a_designer_types_into_the_group_that_stands_for_its_line_now_arrives(
    unpulled: Tell,
) -> None:
    story = unpulled()
    designer, _user, run, then = story.cast
    second_group(story, "The second group's")
    run.now()
    first_group_goes(story)
    run.now()
    then.both_sides_hold("L-1", "The second group's")
    designer.types("L-1", "description", "Typed into the second group")
    run.now()
    then.both_sides_hold("L-1", "Typed into the second group")
    then.is_not_asked("L-1")


# ---------------------------------------------------------------- kind 8: what stays apart is told


def test_kind_08_what_an_undo_keeps_apart_is_told(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("P-1", "description", "Undone")
    run.undone(run.now())
    run.now()
    promise(story.values_of("P-1", "description") == ("Undone", "Pump 1, as drawn"), "it was not undone")
    then.is_told("P-1")
    run.now()
    then.is_told("P-1")
    designer.types("P-1", "description", "Typed since")
    run.now()
    promise(not story.told("P-1"), "what is over is told still")


def test_kind_08_a_blank_that_erases_nothing_is_told(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    story.mapping({"EngineeringItems": {"fields": {"description": {"blank": "keep"}}}})
    run.now()
    user.types("P-1", "description", None)
    run.now()
    promise(story.values_of("P-1", "description") == ("Pump 1, as drawn", None), "it was not kept")
    then.is_told("P-1")


# ---------------------------------------------------------------- kind 10: the end of a question, and of a choice


def both_edited(tell: Tell) -> Story:
    """Both sides edited the description of P-1, and a person is asked."""
    story = tell(conflict=ASK)
    story.designer.types("P-1", "description", "The designer's")
    story.user.types("P-1", "description", "The user's")
    story.run.now()
    story.then.is_asked("P-1")
    return story


def test_kind_10_a_choice_that_a_new_owner_overrules_says_so(tell: Tell) -> None:
    story = both_edited(tell)
    story.run.resolve("P-1", "synapse", carry_out=False)
    story.mapping({"EngineeringItems": {"fields": {"description": {"owner": "plant3d"}}}})
    story.run.now()
    story.then.both_sides_hold("P-1", "The designer's")
    (choice,) = story.conflicts("P-1", status="resolved")
    promise(choice["void_reason"] == "the mapping decides the field otherwise now", choice)


@pytest.mark.parametrize("chosen", [False, True], ids=["a question", "a choice"])
def test_kind_10_what_was_asked_about_an_asset_that_is_made_again_ends(tell: Tell, chosen: bool) -> None:
    story = both_edited(tell)
    if chosen:
        story.run.resolve("P-1", "synapse", carry_out=False)
    story.user.purges("P-1")
    story.run.pull("--full")
    story.then.both_sides_hold("P-1", "The designer's")
    story.then.is_not_asked("P-1")
    (ended,) = story.conflicts("P-1", status="resolved")
    promise(
        ended["void_reason"] == "the asset was removed from SYNAPSE" if chosen else ended["carried_out"],
        ended,
    )
