"""Shared fields that are more than text: a converter reads the cell, and writes it again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.story import Story, Tell, promise

KINDS: list[Any] = [
    pytest.param("number", "12,50", 12.5, 13.25, "13.25", id="a number"),
    pytest.param("integer", "1 250", 1250, 3, "3", id="a whole number", marks=pytest.mark.long),
    pytest.param("yes_no", "Oui", True, False, "Non", id="yes or no"),
    pytest.param("list", "a;b", "a; b", "b\nc", "b; c", id="a list", marks=pytest.mark.long),
    pytest.param("celsius", "185 °F", 85, 90.5, "90.5 °C", id="a temperature", marks=pytest.mark.long),
    pytest.param(
        "measure", "12,5 bar", "12,5 bar", "13 bar", "13 bar", id="a measure", marks=pytest.mark.long
    ),
    pytest.param("upper", "ab", "AB", "CD", "CD", id="capitals", marks=pytest.mark.long),
    pytest.param("text", "twelve", "twelve", 13, "13", id="a number in a text", marks=pytest.mark.long),
]


def sharing(tell: Tell, convert: str, cell: str, **options: Any) -> Story:
    """P-1 has a note, read by this converter and shared; both sides agree on it."""
    story = tell(**options)
    rule = {"attributes.note": {"column": "D1", "owner": "shared", "convert": convert}}
    story.mapping({"CentrifugalPump": {"fields": rule}}, note=["D1"])
    story.designer.types("P-1", "D1", cell)
    assert story.run.now().code == 0, story.world.heard[-1]
    return story


def types(story: Story, value: object) -> None:
    story.edit_asset(story.asset("P-1")["id"], attributes={"note": value})


def is_quiet(story: Story) -> None:
    said = story.run.now()
    promise(said.json["writes"] == {"synapse": 0, "plant3d": 0}, f"it writes again: {said.out}")
    story.then.is_not_asked("P-1", "note")


@pytest.mark.parametrize(("convert", "cell", "field", "typed", "stored"), KINDS)
def test_what_a_user_types_is_written_as_the_cell_is_written_and_can_be_undone(
    tell: Tell, convert: str, cell: str, field: object, typed: object, stored: str
) -> None:
    story = sharing(tell, convert, cell)
    _designer, _user, run, then = story.cast
    promise(story.held("P-1", "note") == field, f"SYNAPSE was given {story.held('P-1', 'note')!r}")
    types(story, typed)
    pushed = run.now()
    then.plant3d_holds("P-1", stored, "D1")
    promise(story.held("P-1", "note") == typed, "the user's value was written over")
    is_quiet(story)
    run.undone(pushed)
    then.plant3d_holds("P-1", cell, "D1")
    is_quiet(story)
    promise(story.held("P-1", "note") == typed, "the user's value was written over")


def test_the_same_number_written_otherwise_is_no_edit_on_either_side(tell: Tell) -> None:
    story = sharing(tell, "number", "12,50")
    designer, _user, run, then = story.cast
    types(story, 12.50)
    is_quiet(story)
    then.plant3d_holds("P-1", "12,50", "D1")
    designer.types("P-1", "D1", "12.5")
    run.now()
    promise(story.held("P-1", "note") == 12.5, "the number moved")
    is_quiet(story)
    then.plant3d_holds("P-1", "12.5", "D1")


def test_an_old_session_is_known_although_the_field_is_a_number(tell: Tell) -> None:
    story = sharing(tell, "number", "12,50")
    designer, _user, run, then = story.cast
    for typed in (13, 14, 15):
        types(story, typed)
        run.now()
    designer.saves_an_old_session("P-1", "D1", "13")
    run.now()
    promise(story.held("P-1", "note") == 15, "an old copy won")
    then.is_asked("P-1", "note", "13", "15")
    run.resolve("P-1", "synapse", "note")
    then.plant3d_holds("P-1", "15", "D1")


@pytest.mark.long
def test_a_designer_who_types_just_before_a_number_is_pushed_is_not_overwritten(tell: Tell) -> None:
    story = sharing(tell, "number", "12,50", conflict={"policy": "ask"})
    designer, _user, run, then = story.cast
    types(story, 13)
    with run.between(at="push.preflight_passed"):
        designer.types("P-1", "D1", "14")
    run.now()
    then.plant3d_holds("P-1", "14", "D1")
    then.is_asked("P-1", "note", "13", "14")


@pytest.mark.parametrize(
    ("choice", "value", "decided", "stored"),
    [
        pytest.param("synapse", "", 13, "13", marks=pytest.mark.long),
        pytest.param("plant3d", "", 14, "14", marks=pytest.mark.long),
        ("manual", "15,5", 15.5, "15.5"),
    ],
)
def test_a_choice_about_a_number_stays_a_number(
    tell: Tell, choice: str, value: str, decided: float, stored: str
) -> None:
    story = sharing(tell, "number", "12,50", conflict={"policy": "ask"})
    designer, _user, run, then = story.cast
    types(story, 13)
    designer.types("P-1", "D1", "14")
    run.now()
    run.resolve("P-1", choice, "note", value=value)
    run.now()
    promise(story.held("P-1", "note") == decided, f"SYNAPSE holds {story.held('P-1', 'note')!r}")
    then.plant3d_holds("P-1", stored, "D1")
    is_quiet(story)


def test_what_is_no_number_waits_with_the_reason_and_the_others_go_on(tell: Tell) -> None:
    story = sharing(tell, "number", "12,50")
    _designer, user, run, then = story.cast
    types(story, "about 13")
    user.types("HV-1", "description", "The user's words")
    said = run.now()
    then.both_sides_hold("HV-1", "The user's words")
    then.plant3d_holds("P-1", "12,50", "D1")
    promise(story.held("P-1", "note") == "about 13", "the user's value was written over")
    then.is_told("P-1")
    promise("about 13" in said.out and "not a number" in said.out, said.out)


def test_a_number_goes_through_a_workbook(tell: Tell) -> None:
    story = sharing(tell, "number", "12,50", write="workbook")
    _designer, _user, run, _then = story.cast
    types(story, 13.25)
    run.now()
    book = story.world.folder / "numbers.xlsx"
    said = run.command("workbook", "mine", "-o", str(book))
    texts = story.in_workbook(book)
    promise("13.25" in texts, f"the workbook holds {texts}: {said.out}")
