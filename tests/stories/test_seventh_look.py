"""Stories that a seventh player of the docs told: settings, lines, guards and adopted assets, move by move."""

from __future__ import annotations

import pytest

from tests.stories.test_third_look import first_group_goes, second_group
from tests.support.dcf import Dcf
from tests.support.story import Story, Tell

# ---------------------------------------------------------------- an undo, and another group that stands for its line


@pytest.mark.parametrize("other", ["The second group's", None], ids=["another text", "nothing"])
def test_what_was_undone_does_not_go_into_the_group_that_stands_for_its_line_next(
    unpulled: Tell, other: str | None
) -> None:
    story = unpulled()
    _designer, user, run, then = story.cast
    second_group(story, other)
    run.now()
    user.types("L-1", "description", "The user's")
    run.undone(run.now())
    run.now()
    first_group_goes(story)
    for _ in range(2):
        run.now()
        then.plant3d_holds("L-1", other)
        then.synapse_holds("L-1", "The user's")
        then.is_told("L-1")
    user.types("L-1", "description", "A newer one")
    run.now()
    then.both_sides_hold("L-1", "A newer one")


def test_a_designer_who_types_into_the_group_that_stands_for_its_line_ends_an_undo(unpulled: Tell) -> None:
    story = unpulled()
    designer, user, run, then = story.cast
    second_group(story, "The second group's")
    run.now()
    user.types("L-1", "description", "The user's")
    run.undone(run.now())
    first_group_goes(story)
    run.now()
    designer.types("L-1", "description", "The designer's")
    run.now()
    then.arrived_or_asked("L-1", "The designer's")


# ---------------------------------------------------------------- a column that is deleted and made again


def the_model_goes(story: Story) -> None:
    """Project Setup deletes the column, and a person accepts that."""
    dcf = Dcf.existing(story.world.dcf)
    dcf.sql("DELETE FROM PnPProperties WHERE PropertyName = 'ModelNumber'")
    dcf.sql("ALTER TABLE EngineeringItems DROP COLUMN ModelNumber")
    dcf.sql("UPDATE PnPDatabase SET MetadataRevision = MetadataRevision + 1")
    story.run.now()
    story.run.command("schema", "accept", "mine")
    story.run.now()


def the_model_is_made_again(story: Story) -> None:
    """Empty, as new columns are."""
    story.designer.adds_column("EngineeringItems", "ModelNumber")


@pytest.mark.parametrize("shared", [True, False])
def test_a_column_that_is_deleted_and_made_again_empties_nothing(tell: Tell, *, shared: bool) -> None:
    story = tell(share_model=shared)
    designer, _user, run, then = story.cast
    the_model_goes(story)
    the_model_is_made_again(story)
    for _ in range(2):
        run.now()
        then.synapse_holds("P-1", "M-1", "model")
        then.is_told("P-1")
    designer.types("P-1", "model", "Typed into the new column")
    run.now()
    then.both_sides_hold("P-1", "Typed into the new column", "model")


@pytest.mark.parametrize("shared", [True, False])
def test_it_empties_nothing_later_either_when_something_else_of_the_item_moves(
    tell: Tell, *, shared: bool
) -> None:
    story = tell(share_model=shared)
    designer, user, run, then = story.cast
    the_model_goes(story)
    the_model_is_made_again(story)
    run.now()
    designer.types("P-1", "description", "Something else")
    run.now()
    run.pull("--full")
    then.synapse_holds("P-1", "M-1", "model")
    then.is_told("P-1")


def test_a_user_is_heard_about_a_field_whose_column_was_made_again(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    the_model_goes(story)
    the_model_is_made_again(story)
    run.now()
    user.types("P-1", "model", "The user's")
    run.now()
    then.arrived_or_asked("P-1", "The user's", "model")
    then.synapse_holds("P-1", "The user's", "model")
