"""Stories that an eighth player of the docs told: what was known to be left."""

from __future__ import annotations

import pytest

from tests.stories.test_more_than_text import is_quiet, sharing, types
from tests.stories.test_seventh_look import the_model_goes, the_model_is_made_again
from tests.stories.test_third_look import first_group_goes, second_group
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


# ---------------------------------------------------------------- an old file, and a choice that was carried out since

ASK = {"policy": "ask"}


def goes_on(story: Story) -> None:
    """A person lets through what a guard stopped, if one did; then two more runs."""
    said = story.run.now()
    if said.code == 5:
        story.run.apply(said.json["plan_id"], "--approve-guards")
    story.run.now()
    story.run.now()


@pytest.mark.parametrize("kept", ["before the words", "before the choice"])
@pytest.mark.parametrize(
    ("choice", "chosen"), [("synapse", "The user's"), ("plant3d", "The designer's"), ("manual", "A third")]
)
def test_what_a_person_chose_is_not_lost_to_an_older_file(
    tell: Tell, kept: str, choice: str, chosen: str
) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    old = designer.copies_file()
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    if kept == "before the choice":
        old = designer.copies_file()
    run.resolve("P-1", choice, value="A third" if choice == "manual" else "")
    run.now()
    then.both_sides_hold("P-1", chosen)
    designer.puts_back(old)
    goes_on(story)
    then.synapse_holds("P-1", chosen)
    if story.cell("P-1") != chosen:
        then.is_asked("P-1", "description", chosen)
    then.history_shows("The user's" if choice != "synapse" else "The designer's")


def test_a_choice_that_waits_for_plant_3d_is_not_lost_to_an_older_file(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    old = designer.copies_file()
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    with designer.holds_the_file():
        run.resolve("P-1", "manual", value="A third")
    then.synapse_holds("P-1", "A third")
    then.plant3d_holds("P-1", "The designer's")
    designer.puts_back(old)
    goes_on(story)
    then.arrived_or_asked("P-1", "A third")  # nobody typed what the older file holds
    then.history_shows("A third")


def test_newer_words_over_a_carried_out_choice_outlive_an_older_file(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    old = designer.copies_file()
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    run.resolve("P-1", "plant3d")
    run.now()
    user.types("P-1", "description", "Newer")
    designer.puts_back(old)
    goes_on(story)
    then.synapse_holds("P-1", "Newer")
    then.is_asked("P-1", "description", "Newer")


@pytest.mark.parametrize("choice", ["synapse", "plant3d"])
def test_what_a_person_chose_about_an_item_that_was_gone_loses_no_words_to_an_older_file(
    tell: Tell, choice: str
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    old = designer.copies_file()
    designer.deletes("P-1")
    user.types("P-1", "description", "The user's")
    run.now()
    run.resolve("P-1", choice, "*")
    run.now()
    designer.puts_back(old)
    goes_on(story)
    then.kept_or_asked("P-1", "The user's")
    then.is_told("P-1") if story.asset("P-1")["deleted_at"] else then.arrived_or_asked("P-1", "The user's")


# ---------------------------------------------------------------- a question about a line, and the group whose words it shows


def asked_about_a_line(unpulled: Tell, other: str | None) -> Story:
    """A designer and a user typed into the line L-1, which has a second group; who was last, nobody can tell."""
    story = unpulled(conflict=ASK)
    second_group(story, other)
    story.run.now()
    story.user.types("L-1", "description", "The user's")
    story.designer.types("L-1", "description", "The designer's")
    story.run.now()
    story.then.is_asked("L-1", "description", "The designer's", "The user's")
    return story


OTHERS = pytest.mark.parametrize(
    "other",
    ["The second group's", "Line 1, as drawn", None],
    ids=["another text", "the same text", "nothing"],
)


@OTHERS
@pytest.mark.parametrize(("choice", "chosen"), [("plant3d", "The designer's"), ("synapse", "The user's")])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_question_about_a_line_outlives_the_group_whose_words_it_shows(
    unpulled: Tell, other: str | None, choice: str, chosen: str, when: str
) -> None:
    story = asked_about_a_line(unpulled, other)
    _designer, _user, run, then = story.cast
    if when == "before":
        run.resolve("L-1", choice, carry_out=False)
        first_group_goes(story)
    else:
        first_group_goes(story)
        for _ in range(2):
            run.now()
            then.is_asked("L-1", "description", "The designer's", "The user's")
            then.plant3d_holds("L-1", other)
            then.synapse_holds("L-1", "The user's")
        run.resolve("L-1", choice)
    run.now()
    run.now()
    then.both_sides_hold("L-1", chosen)
    then.is_not_asked("L-1")
    story.comes_to_rest(3)


@OTHERS
def test_a_third_value_is_written_into_the_group_that_stands_for_the_line_now(
    unpulled: Tell, other: str | None
) -> None:
    story = asked_about_a_line(unpulled, other)
    _designer, _user, run, then = story.cast
    first_group_goes(story)
    run.now()
    run.resolve("L-1", "manual", value="A third")
    run.now()
    then.both_sides_hold("L-1", "A third")
    then.is_not_asked("L-1")


def test_newer_words_of_a_user_are_shown_in_the_question_about_a_line_whose_group_is_gone(
    unpulled: Tell,
) -> None:
    story = asked_about_a_line(unpulled, "The second group's")
    _designer, user, run, then = story.cast
    first_group_goes(story)
    run.now()
    user.types("L-1", "description", "Newer")
    run.now()
    then.is_asked("L-1", "description", "The designer's", "Newer")
    then.plant3d_holds("L-1", "The second group's")


@pytest.mark.parametrize("seen", [True, False])
def test_what_a_designer_types_into_the_other_group_is_asked_about_instead(
    unpulled: Tell, seen: bool
) -> None:
    story = asked_about_a_line(unpulled, "The second group's")
    designer, _user, run, then = story.cast
    first_group_goes(story)
    if seen:
        run.now()
    designer.types("L-1", "description", "Into the second")
    run.now()
    then.is_asked("L-1", "description", "Into the second", "The user's")
    run.resolve("L-1", "plant3d")
    run.now()
    then.both_sides_hold("L-1", "Into the second")


def test_a_group_that_is_brought_back_brings_its_question_back(unpulled: Tell) -> None:
    story = asked_about_a_line(unpulled, "The second group's")
    designer, _user, run, then = story.cast
    first = story.items["L-1"]
    gone = designer.deletes("L-1")
    run.now()
    designer.brings_back(gone)
    story.items["L-1"] = first
    run.now()
    then.is_asked("L-1", "description", "The designer's", "The user's")
    then.plant3d_holds("L-1", "The designer's")
    run.resolve("L-1", "plant3d")
    run.now()
    then.both_sides_hold("L-1", "The designer's")


# ---------------------------------------------------------------- a question, and a policy that changes


def asked_by_policy(tell: Tell) -> Story:
    """Both typed, and the user is known to have been the last one; still a person is asked."""
    story = tell(conflict=ASK)
    story.designer.types("HV-1", "description", "The designer's")
    story.run.pull("--entity-types", "equipment")
    story.user.types("HV-1", "description", "The user's newer")
    story.run.now()
    story.then.is_asked("HV-1", "description", "The designer's", "The user's newer")
    story.settings(conflict={"policy": "newest"})
    return story


def test_a_question_stays_a_question_when_time_decides_from_now_on(tell: Tell) -> None:
    story = asked_by_policy(tell)
    _designer, _user, run, then = story.cast
    for words in ((), ("--full",)):
        run.pull(*words)
        run.now()
        then.is_asked("HV-1", "description", "The designer's", "The user's newer")
    then.plant3d_holds("HV-1", "The designer's")
    run.resolve("HV-1", "plant3d")
    run.now()
    then.both_sides_hold("HV-1", "The designer's")
    then.is_not_asked("HV-1")


def test_an_edit_after_the_question_is_decided_by_the_policy_of_its_day(tell: Tell) -> None:
    story = asked_by_policy(tell)
    _designer, user, run, then = story.cast
    run.now()
    user.types("HV-1", "description", "The user's, once more")
    run.now()
    then.both_sides_hold("HV-1", "The user's, once more")
    then.is_not_asked("HV-1")
    then.history_shows("The designer's")


def test_a_question_ends_when_the_designer_types_what_the_user_typed(tell: Tell) -> None:
    story = asked_by_policy(tell)
    designer, _user, run, then = story.cast
    designer.types("HV-1", "description", "The user's newer")
    run.now()
    then.is_not_asked("HV-1")
    then.both_sides_hold("HV-1", "The user's newer")


# ---------------------------------------------------------------- a column that is made again, and what is said of it


def test_what_is_said_of_a_column_that_was_made_again_fits(tell: Tell) -> None:
    story = tell(share_model=True)
    _designer, user, run, then = story.cast
    the_model_goes(story)
    the_model_is_made_again(story)
    run.now()
    for _ in range(2):
        found = run.command("findings", NAME, "--code", "blank_kept").json["findings"]
        (told,) = [one for one in found if one["tag"] == "P-1"]
        promise("made again" in told["message"] and "M-1" in told["message"], told["message"])
        promise("Type the value that holds into Plant 3D" in told["hint"], told["hint"])
        run.now()
    user.types("P-1", "model", None)
    run.now()
    found = run.command("findings", NAME, "--code", "blank_kept").json["findings"]
    promise(all(one["tag"] != "P-1" for one in found), "both sides are empty, and it is still told")
    then.is_not_asked("P-1", "model")


# ---------------------------------------------------------------- somebody says off while a run works


@pytest.mark.parametrize("at", ["push.preflight_passed", "push.backup_verified"])
def test_who_says_off_in_the_middle_of_a_run_is_heard_before_the_next_cell(tell: Tell, at: str) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "The user's")
    with run.between(at=at):
        story.settings(write="off")
    then.plant3d_holds("P-1", "Pump 1, as drawn")
    ran = newest_run(story)
    error = ran["error"]
    promise(isinstance(error, dict) and error["code"] == "write_off", f"the run says {error}")
    run.now()
    then.plant3d_holds("P-1", "Pump 1, as drawn")
    story.settings(write="sql")
    run.now()
    then.both_sides_hold("P-1", "The user's")


# ---------------------------------------------------------------- a choice, and a side that takes back what it was made on


@pytest.mark.parametrize(
    ("who", "choice"),
    [("user", "synapse"), ("user", "manual"), ("designer", "plant3d"), ("designer", "manual")],
)
@pytest.mark.parametrize("answer", ["plant3d", "synapse"])
def test_a_choice_that_is_void_because_a_side_took_its_words_back_is_asked_again(
    tell: Tell, who: str, choice: str, answer: str
) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    before = story.cell("P-1")
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    run.resolve("P-1", choice, carry_out=False, value="A third" if choice == "manual" else "")
    (user if who == "user" else designer).types("P-1", "description", before)
    kept = "The designer's" if who == "user" else "The user's"
    for _ in range(2):
        run.now()
        run.pull("--full")
        run.now()
        then.is_asked("P-1", "description", kept, str(before))
        then.plant3d_holds("P-1", before if who == "designer" else kept)
        then.synapse_holds("P-1", before if who == "user" else kept)
    (void,) = story.conflicts("P-1", status="resolved")
    promise(void["void_reason"] == "a side moved elsewhere", void)
    run.resolve("P-1", answer)
    run.now()
    then.both_sides_hold("P-1", kept if (answer == "plant3d") == (who == "user") else before)
    then.is_not_asked("P-1")


@pytest.mark.parametrize(("who", "choice"), [("user", "plant3d"), ("designer", "synapse")])
def test_who_takes_back_what_was_not_chosen_asks_nothing(tell: Tell, who: str, choice: str) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    before = story.cell("P-1")
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    run.resolve("P-1", choice, carry_out=False)
    (user if who == "user" else designer).types("P-1", "description", before)
    run.now()
    then.both_sides_hold("P-1", "The designer's" if who == "user" else "The user's")
    then.is_not_asked("P-1")


def test_words_taken_back_before_anybody_decided_end_the_question(tell: Tell) -> None:
    story = tell(conflict=ASK)
    designer, user, run, then = story.cast
    before = story.cell("P-1")
    designer.types("P-1", "description", "The designer's")
    user.types("P-1", "description", "The user's")
    run.now()
    user.types("P-1", "description", before)
    run.now()
    then.both_sides_hold("P-1", "The designer's")
    then.is_not_asked("P-1")
