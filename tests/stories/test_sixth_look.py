"""Stories that a sixth player of the docs told: a run died, and somebody typed the old value back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plant3d_sync.bootstrap import make_app
from plant3d_sync.state.retention import prune
from tests.support.story import Story, Tell, promise

AS_DRAWN = "Pump 1, as drawn"

# ---------------------------------------------------------------- a write into Plant 3D that a run did not live to record


def typed_by_a_user(tell: Tell) -> Story:
    """A user's words are on their way into Plant 3D."""
    story = tell()
    story.user.types("P-1", "description", "The user's")
    return story


def chosen_for_plant3d(tell: Tell) -> Story:
    """A person chose SYNAPSE's value."""
    story = tell(conflict={"policy": "ask"})
    story.designer.types("P-1", "description", AS_DRAWN + " and edited")
    story.user.types("P-1", "description", "The user's")
    story.run.now()
    story.run.resolve("P-1", "synapse", carry_out=False)
    return story


@pytest.mark.parametrize("on_its_way", [typed_by_a_user, chosen_for_plant3d])
def test_who_types_the_old_value_back_over_a_write_that_a_dead_run_made_is_asked(
    tell: Tell, on_its_way: Callable[[Tell], Story]
) -> None:
    story = on_its_way(tell)
    designer, _user, run, then = story.cast
    before = story.cell("P-1")
    run.killed("push.committed")
    then.plant3d_holds("P-1", "The user's")
    designer.types("P-1", "description", before)
    for _ in range(2):
        run.now()
        then.plant3d_holds("P-1", before)
        then.is_asked("P-1", "description", before, "The user's")
    run.resolve("P-1", "plant3d")
    then.both_sides_hold("P-1", before)
    then.all_is_well()


@pytest.mark.parametrize("at", ["push.intent_stored", "push.before_commit"])
def test_a_write_that_a_dead_run_did_not_make_is_made_where_somebody_saved_the_row_once(
    tell: Tell, at: str
) -> None:
    story = typed_by_a_user(tell)
    designer, _user, run, then = story.cast
    run.killed(at)
    designer.types("P-1", "manufacturer", "Another maker")
    run.now()
    then.both_sides_hold("P-1", "The user's")
    then.all_is_well()


def test_of_two_cells_that_a_dead_run_wrote_the_one_that_was_typed_back_is_asked_about(tell: Tell) -> None:
    story = tell(share_model=True)
    designer, user, run, then = story.cast
    model = story.cell("P-1", "model")
    user.types("P-1", "description", "The user's")
    user.types("P-1", "model", "The user's model")
    run.killed("push.committed")
    designer.types("P-1", "model", model)
    run.now()
    then.both_sides_hold("P-1", "The user's")
    then.plant3d_holds("P-1", model, "model")
    then.is_asked("P-1", "model", "The user's model")
    run.resolve("P-1", "plant3d", "model")
    then.both_sides_hold("P-1", model, "model")
    then.all_is_well()


def test_an_undo_of_a_push_that_a_dead_run_made_does_not_write_over_what_is_typed_since(tell: Tell) -> None:
    story = typed_by_a_user(tell)
    designer, _user, run, then = story.cast
    before = story.cell("P-1")
    pushed = run.now()
    plan = run.undo(pushed).json["plan_id"]
    run.killed("push.committed", "apply", plan)
    then.plant3d_holds("P-1", before)
    designer.types("P-1", "description", "The user's")
    run.now()
    then.plant3d_holds("P-1", "The user's")
    run.now()
    then.both_sides_hold("P-1", "The user's")


# ---------------------------------------------------------------- a write to SYNAPSE whose answer was lost


@pytest.mark.parametrize("at", ["pull.reply_received", "pull.intent_stored"])
def test_who_types_the_old_value_back_in_synapse_over_a_write_that_a_dead_run_made_is_heard(
    tell: Tell, at: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    before = story.held("P-1")
    designer.types("P-1", "description", "The designer's")
    run.killed(at)
    user.types("P-1", "description", before)
    run.now()
    if at == "pull.reply_received":
        then.both_sides_hold("P-1", before)
    else:
        then.both_sides_hold("P-1", "The designer's")
    then.all_is_well()


# ---------------------------------------------------------------- a refused row that a person left alone


def left_alone(tell: Tell, **options: object) -> Story:
    """A user's two lines cannot go into a cell, and a person leaves them alone."""
    story = tell(**options)
    story.user.types("P-1", "description", "Two\nlines")
    story.run.now()
    (refused,) = story.run.command("quarantine", "list", "mine").json["items"]
    story.run.command("quarantine", "ignore", "mine", str(refused["id"]), "--reason", "as agreed")
    story.run.now()
    return story


LEFT_OUT = {
    "the field": {"description": None},
    "the way into Plant 3D": {"description": {"push": False}},
}


@pytest.mark.parametrize("how", list(LEFT_OUT))
@pytest.mark.parametrize("only_pulled", [False, True])
def test_what_a_person_left_alone_stays_so_while_its_field_is_left_out(
    tell: Tell, how: str, *, only_pulled: bool
) -> None:
    story = left_alone(tell)
    _designer, user, run, then = story.cast
    story.mapping({"EngineeringItems": {"fields": LEFT_OUT[how]}})
    for _ in range(2):
        if only_pulled:
            run.pull()
        else:
            run.now()
    story.mapping(None)
    for _ in range(2):
        said = run.now()
        promise(not said.json["errors"], said)
        promise(run.command("quarantine", "list", "mine").json["items"] == [], "it is refused again")
    user.types("P-1", "description", "Two\nother lines")
    promise(run.now().json["errors"], "nobody left this one alone")
    user.types("P-1", "description", "One line")
    run.now()
    then.both_sides_hold("P-1", "One line")
    then.all_is_well()


def test_what_was_settled_while_its_field_was_left_out_is_over_when_it_comes_back(tell: Tell) -> None:
    story = left_alone(tell)
    designer, user, run, then = story.cast
    story.mapping({"EngineeringItems": {"fields": LEFT_OUT["the field"]}})
    run.now()
    user.types("P-1", "description", story.cell("P-1"))
    story.mapping(None)
    run.now()
    promise(run.command("quarantine", "list", "mine", "--status", "all").json["items"] == [], "it is over")
    user.types("P-1", "description", "Two\nlines")
    promise(run.now().json["errors"], "the word was said of a value that moved since")


@pytest.mark.parametrize("designer_empties", [True, False])
def test_an_empty_value_that_another_column_shows_through_is_settled_by_what_the_advice_says(
    tell: Tell, *, designer_empties: bool
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    columns = ["D1", "Description"]
    rule = {"description": {"column": columns, "owner": "shared"}}
    story.mapping({"Equipment": {"fields": rule}}, description=columns)
    run.now()
    designer.types("P-1", "D1", "Stands before")
    run.now()
    then.synapse_holds("P-1", "Stands before")
    user.types("P-1", "description", None)
    run.now()
    run.resolve("P-1", "synapse")
    (refused,) = run.now().json["errors"]
    promise(refused["code"] == "shows_through", refused)
    promise("conflict" not in refused["hint"].lower(), refused)
    if designer_empties:
        designer.types("P-1", "D1", None)
        designer.types("P-1", "Description", None)
    else:
        user.types("P-1", "description", "Filled again")
    for _ in range(2):
        said = run.now()
    promise(not said.json["errors"], said)
    then.both_sides_hold("P-1", None if designer_empties else "Filled again")
    then.all_is_well()


# ---------------------------------------------------------------- after a long time in which nothing moved


def grows_old(story: Story) -> None:
    """Everything that may go is old enough and goes."""
    app = make_app(story.world.config, story.world.environment({}))
    prune(app.state, now=app.world().clock(), days=0)
    app.state.close()


def test_what_is_written_after_all_that_was_written_grew_old_is_not_taken_for_it(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "The first")
    run.now()
    user.types("P-1", "description", "The second")
    run.now()
    grows_old(story)
    user.types("P-1", "description", "The third")
    pushed = run.now()
    verified = run.command("audit", "verify")
    promise(verified.code == 0, verified)
    run.undone(pushed)
    then.plant3d_holds("P-1", "The second")
    verified = run.command("audit", "verify")
    promise(verified.code == 0, verified)


def test_a_call_that_wrote_many_and_grew_old_is_not_taken_for_a_forgery(tell: Tell) -> None:
    story = tell()
    grows_old(story)
    verified = story.run.command("audit", "verify")
    promise(verified.code == 0, verified)
    story.designer.types("P-1", "description", "Typed since")
    ran = story.run.now()
    verified = story.run.command("audit", "verify")
    promise(verified.code == 0, verified)
    story.run.undone(ran)
    story.then.synapse_holds("P-1", "Pump 1, as drawn")


def test_an_old_copy_is_known_after_all_that_was_written_grew_old(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("P-1", "description", "The first")
    run.now()
    grows_old(story)
    user.types("P-1", "description", "The second")
    run.now()
    designer.types("P-1", "description", "The first")
    run.now()
    then.synapse_holds("P-1", "The second")
    then.is_asked("P-1", "description", "The first", "The second")
