"""SYNAPSE refuses what was decided on values that moved: the same run looks again, and its numbers stay true."""

from __future__ import annotations

from typing import Any

import pytest

from plant3d_sync.bootstrap import make_app
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from tests.support.story import Story, Tell, promise
from tests.support.world import NAME

COUNTED = ("created", "updated", "unchanged", "skipped", "errors")


def adds_up(report: dict[str, Any]) -> None:
    stats = report["stats"]
    promise(stats["total"] == sum(stats[name] for name in COUNTED), f"the counts do not add up: {stats}")


def reported(story: Story, edit: Any, *words: str) -> dict[str, Any]:
    """A run during which somebody edits after its plan was made."""
    with story.run.between(*words) as frozen:
        edit()
    report: dict[str, Any] = frozen.said().json
    return report


def test_an_edit_of_another_field_in_between_costs_no_error_and_no_second_run(tell: Tell) -> None:
    story = tell()
    designer, user, _run, then = story.cast
    designer.types("P-1", "manufacturer", "KSB")
    designer.types("P-2", "manufacturer", "KSB")
    report = reported(story, lambda: user.types("P-1", "description", "Typed in between"))
    adds_up(report)
    promise(report["errors"] == [], f"the run reports what it put right itself: {report['errors']}")
    promise(report["stats"]["updated"] == 2, f"both were updated: {report['stats']}")
    then.synapse_holds("P-1", "KSB", "manufacturer")
    then.kept_or_asked("P-1", "Typed in between")
    then.all_is_well()


@pytest.mark.long
def test_what_becomes_a_question_in_between_is_listed_by_the_same_run(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, _run, then = story.cast
    designer.types("P-1", "model", "Model of the designer")
    report = reported(story, lambda: user.types("P-1", "model", "Model of the user"))
    adds_up(report)
    then.kept_or_asked("P-1", "Model of the user", "model")
    promise(report["stats"]["updated"] + report["stats"]["conflicts"] >= 1, f"in no count: {report['stats']}")
    then.all_is_well()


@pytest.mark.long
def test_an_asset_edited_just_before_it_is_archived_becomes_a_question(tell: Tell) -> None:
    story = tell()
    designer, user, _run, then = story.cast
    designer.deletes("P-1")
    report = reported(story, lambda: user.types("P-1", "description", "Still needed"))
    adds_up(report)
    promise(report["stats"]["archived"] == 0, f"archived over an unseen edit: {report['stats']}")
    then.lives("P-1")
    promise([one["field"] for one in story.world.conflicts()] == ["*"], "nobody is asked")


def test_a_run_that_ends_while_it_looks_again_tells_what_it_wrote(tell: Tell) -> None:
    story = tell()
    designer, user, _run, _then = story.cast
    for tag in ("P-1", "P-2"):
        designer.types(tag, "manufacturer", "KSB")
    world = story.world
    app = make_app(world.config, world.environment({"SYNC_BATCH_SIZE": "1"}))
    request = Request(asked=Asked(direction=Direction.BOTH))
    looks = 0

    def progress(phase: str, done: int, _total: int | None) -> None:
        nonlocal looks
        looks += phase == "compare"
        if phase == "compare" and looks == 1:
            for tag in ("P-1", "P-2"):
                user.types(tag, "description", "Typed in between")
        if phase == "write" and looks == 2 and done == 1:
            request.hurry.set()

    ours = app.world()
    ours.progress = progress
    with pytest.raises(RetryLaterError):
        Engine(ours, app.project(NAME)).run(request)
    app.state.close()
    [last, *_] = world.cli("runs", NAME).json["items"]
    promise(last["writes"]["synapse"] == 1, f"it wrote one of the two: {last['writes']}")
    promise(last["stats"]["updated"] == 1 and last["stats"]["errors"] == 0, f"{last['stats']}")
