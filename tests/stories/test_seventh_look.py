"""Stories that a seventh player of the docs told: settings, lines, guards and adopted assets, move by move."""

from __future__ import annotations

import pytest

from tests.stories.test_third_look import first_group_goes, second_group
from tests.support.story import Tell

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
