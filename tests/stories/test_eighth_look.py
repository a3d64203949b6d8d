"""Stories that an eighth player of the docs told: what was known to be left."""

from __future__ import annotations

import pytest

from tests.stories.test_more_than_text import is_quiet, sharing, types
from tests.support.story import Story, Tell, promise
from tests.support.world import NAME

# ---------------------------------------------------------------- an array of SYNAPSE, and a list in a cell


def test_an_array_of_synapse_is_written_into_plant_3d_as_a_list_and_comes_back_as_one(tell: Tell) -> None:
    story = sharing(tell, "list", "a;b")
    designer, _user, run, then = story.cast
    types(story, ["b", "a"])
    is_quiet(story)
    then.plant3d_holds("P-1", "a;b", "D1")
    types(story, ["b", "c"])
    pushed = run.now()
    then.plant3d_holds("P-1", "b; c", "D1")
    promise(story.held("P-1", "note") == ["b", "c"], "the user's array was written over")
    is_quiet(story)
    designer.types("P-1", "D1", "b; c; d")
    run.now()
    promise(story.held("P-1", "note") == "b; c; d", f"SYNAPSE holds {story.held('P-1', 'note')!r}")
    is_quiet(story)
    run.undone(pushed)
    then.plant3d_holds("P-1", "b; c; d", "D1")


@pytest.mark.parametrize("typed", [["b; c", "d"], [["b"], "c"], {"b": "c"}])
def test_what_no_cell_can_say_stays_in_synapse_and_is_told(tell: Tell, typed: object) -> None:
    story = sharing(tell, "list", "a;b")
    _designer, _user, run, then = story.cast
    types(story, typed)
    for _ in range(2):
        run.now()
        then.plant3d_holds("P-1", "a;b", "D1")
        promise(story.held("P-1", "note") == typed, "the user's value was written over")
    then.is_told("P-1")


# ---------------------------------------------------------------- links accept, and what its run says


def newest_run(story: Story) -> dict[str, object]:
    (ran,) = story.world.cli("runs", NAME, "--limit", "1").json["items"]
    return dict(ran)


def test_the_run_of_links_accept_says_what_it_wrote(tell: Tell) -> None:
    story = tell()
    designer, user, run, _then = story.cast
    for tag in ("P-8", "P-9"):
        user.adds(tag, "The user's words")
        designer.adds(tag)
    run.now()
    run.command("links", "accept", NAME)
    ran = newest_run(story)
    promise(ran["writes"] == {"synapse": 2, "plant3d": 0}, f"it says {ran['writes']}")
    stats = ran["stats"]
    assert isinstance(stats, dict)
    promise((stats["total"], stats["updated"], stats["unchanged"]) == (2, 2, 0), f"it counts {stats}")
    promise(ran["by_entity"]["equipment"]["updated"] == 2, f"it counts {ran['by_entity']}")  # type: ignore[index]
    run.command("links", "accept", NAME)
    promise(newest_run(story)["writes"] == {"synapse": 0, "plant3d": 0}, "nothing was left to write")


def test_a_link_that_needed_no_write_counts_as_none(tell: Tell) -> None:
    story = tell()
    designer, user, run, _then = story.cast
    designer.adds("P-9")
    user.adds("P-9", "The user's words")
    run.command("links", "accept", NAME)
    story.loses_its_state()
    run.command("links", "accept", NAME)
    ran = newest_run(story)
    promise(ran["writes"] == {"synapse": 0, "plant3d": 0}, f"it says {ran['writes']}")
    stats = ran["stats"]
    assert isinstance(stats, dict)
    promise(stats["updated"] == 0 and stats["unchanged"] == stats["total"], f"it counts {stats}")
