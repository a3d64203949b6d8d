"""Stories whose SYNAPSE is a 0.2: without conditions, a read right before each write is all that protects anybody's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.synapse_dev.v02.main import Running
from tests.support.freezer import Freezer
from tests.support.story import Story, Tell, promise
from tests.support.synapse_v02 import synapse_v02
from tests.support.v02_story import V02World, v02_story


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with synapse_v02() as running:
        yield running


@pytest.fixture
def tell_v02(tmp_path: Path, served: Running, drawn: Path, story_freezer: Freezer) -> Tell:
    """`tell_v02(**project settings)`: a story on a SYNAPSE 0.2 whose sides agree."""

    def tell(**options: object) -> Story:
        story = v02_story(tmp_path / "story", served, drawn, story_freezer, **options)
        assert story.run.now().code == 0, story.world.heard[-1]
        return story

    return tell


def changes_asset(story: Story, of: str, **members: object) -> None:
    """Another program, or a screen, changes members of the asset."""
    assert isinstance(story.world, V02World)
    story.world.running.backend.edit(story.asset(of)["id"], **members)


def test_nothing_is_archived_over_words_that_were_typed_just_before(tell_v02: Tell) -> None:
    story = tell_v02()
    designer, user, run, then = story.cast
    designer.deletes("P-1")
    with run.between():
        user.types("P-1", "description", "Typed just before")
    then.lives("P-1")
    run.now()
    then.is_asked("P-1", "description", "Typed just before")
    then.lives("P-1")


@pytest.mark.parametrize("column", ["Tag", "Manufacturer"])
def test_what_another_program_keeps_in_mechanical_just_before_our_write_stays(
    tell_v02: Tell, column: str
) -> None:
    story = tell_v02()
    designer, _user, run, then = story.cast
    designer.types("P-1", column, "P-11")
    with run.between():
        changes_asset(story, "P-1", mechanical={**story.asset("P-1")["mechanical"], "weight": 5})
    run.now()
    kept = story.asset("P-1")["mechanical"]
    promise(kept.get("weight") == 5, f"the other program's value is gone: {kept}")
    promise(column != "Tag" or story.asset("P-1")["tag"] == "P-11", "the new tag did not arrive")
    then.all_is_well()


def test_an_archived_asset_that_got_another_tag_just_before_keeps_it(tell_v02: Tell) -> None:
    story = tell_v02()
    designer, _user, run, then = story.cast
    designer.deletes("P-1")
    run.now()
    then.is_archived("P-1")
    designer.retags("P-2", "P-1")
    with run.between():
        changes_asset(story, "P-1", tag="Kept by Marie")
    run.now()
    promise(story.asset("P-1")["tag"] == "Kept by Marie", story.asset("P-1"))
    promise(story.asset("P-2")["tag"] == "P-1", story.asset("P-2"))


def test_an_asset_of_a_user_with_the_tag_of_a_new_item_can_be_accepted(tell_v02: Tell) -> None:
    story = tell_v02()
    designer, user, run, then = story.cast
    user.adds("P-77", "The user's")
    designer.adds("P-77", description="The designer's")
    run.now()
    said = run.command("links", "accept", "mine").json
    promise((said["linked"], said["errors"]) == (1, []), said)
    run.now()
    then.is_asked("P-77", "description", "The designer's", "The user's")
    run.resolve("P-77", "synapse")
    then.both_sides_hold("P-77", "The user's")
    then.all_is_well()


def test_an_asset_that_was_edited_since_it_was_offered_is_asked_about_after_it_is_accepted(
    tell_v02: Tell,
) -> None:
    story = tell_v02()
    designer, user, run, then = story.cast
    made = user.adds("P-77", "The user's")
    designer.adds("P-77", description="The designer's")
    run.now()
    story.edit_asset(made["id"], description="The user's newer words")
    run.command("links", "accept", "mine")
    run.now()
    then.is_asked("P-77", "description", "The designer's", "The user's newer words")


def test_the_old_value_typed_back_over_a_write_whose_answer_was_lost_is_asked_about(tell_v02: Tell) -> None:
    """No answer is kept at all there: what still stands of the write tells that it was made."""
    story = tell_v02()
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's")
    run.killed("pull.reply_received")
    then.synapse_holds("P-1", "The designer's")
    user.types("P-1", "description", "Pump 1, as drawn")
    for _ in range(2):
        run.now()
        then.synapse_holds("P-1", "Pump 1, as drawn")
        then.plant3d_holds("P-1", "The designer's")
        then.is_asked("P-1", "description", "The designer's", "Pump 1, as drawn")
    run.resolve("P-1", "synapse")
    then.both_sides_hold("P-1", "Pump 1, as drawn")


def test_a_write_that_never_came_is_made_although_another_field_was_edited(tell_v02: Tell) -> None:
    story = tell_v02()
    designer, user, run, then = story.cast
    designer.types("P-1", "description", "The designer's")
    run.killed("pull.intent_stored")
    changes_asset(story, "P-1", notes="a note")
    user.types("P-2", "description", "The user's")
    run.now()
    then.is_not_asked("P-1")
    then.both_sides_hold("P-1", "The designer's")
    then.both_sides_hold("P-2", "The user's")
