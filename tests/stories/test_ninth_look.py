"""Stories that a ninth player of the docs told: a word of a person, and then nobody looks at its item for a while."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.story import ARCHIVING, Row, Story, Tell, promise
from tests.support.world import Said

AS_DRAWN = "Pump 1, as drawn"

# ---------------------------------------------------------------- a class that is left out for a while


def leaves_pumps_out(story: Story, *words: str) -> None:
    """The class of the item leaves the mapping for two runs, and comes back."""
    story.mapping({"Pumps": {"entity": "none"}})
    for _ in range(2):
        story.run.command(*(words or ("now", "mine")))
    story.mapping(None)


@pytest.mark.parametrize("words", [("now", "mine"), ("pull", "mine", "--full")])
def test_an_asset_that_a_person_leaves_archived_is_not_asked_about_again_when_its_class_comes_back(
    tell: Tell, words: tuple[str, ...]
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.archives("P-1")
    designer.types("P-1", "description", "Typed while it was archived")
    run.now()
    run.resolve("P-1", "synapse", "*")
    leaves_pumps_out(story, *words)
    for _ in range(2):
        run.now()
        then.is_not_asked("P-1")
        then.is_archived("P-1")
        then.is_told("P-1")
    designer.types("P-1", "description", "Typed since")
    run.now()
    then.is_asked("P-1")


def test_an_asset_that_a_person_keeps_is_not_asked_about_again_when_its_class_comes_back(tell: Tell) -> None:
    story = tell(missing={"reads": 1, "minutes": 0, "policy": "ask"}, write="off")
    designer, user, run, then = story.cast
    user.types("P-1", "description", "The user's")
    run.now()
    gone = designer.deletes("P-1")
    run.now()
    run.resolve("P-1", "synapse", "*")
    leaves_pumps_out(story)
    for _ in range(2):
        run.now()
        then.is_not_asked("P-1")
        then.lives("P-1")
        then.is_told("P-1")
    designer.brings_back(gone)
    story.settings(write="sql")
    run.now()
    then.both_sides_hold("P-1", "The user's")
    then.all_is_well()


def test_an_asset_that_a_user_took_back_is_not_archived_again_when_its_class_comes_back(tell: Tell) -> None:
    story = tell(missing=ARCHIVING)
    designer, user, run, then = story.cast
    gone = designer.deletes("P-1")
    run.now()
    then.is_archived("P-1")
    user.unarchives("P-1")
    run.now()
    story.mapping({"Pumps": {"entity": "none"}})
    run.now()
    then.is_told("P-1")
    story.mapping(None)
    for _ in range(3):
        run.now()
        then.lives("P-1")
        then.is_told("P-1")
    designer.brings_back(gone)
    user.types("P-1", "description", "The user's")
    run.now()
    then.both_sides_hold("P-1", "The user's")
    then.all_is_well()


def test_an_item_that_comes_back_while_its_class_is_left_out_meets_the_asset_that_a_user_took_back(
    tell: Tell,
) -> None:
    story = tell(missing=ARCHIVING)
    designer, user, run, then = story.cast
    gone = designer.deletes("P-1")
    run.now()
    user.unarchives("P-1")
    run.now()
    story.mapping({"Pumps": {"entity": "none"}})
    run.now()
    designer.brings_back(gone)
    run.now()
    user.types("P-1", "description", "The user's")
    story.mapping(None)
    run.now()
    then.both_sides_hold("P-1", "The user's")
    then.all_is_well()


# ---------------------------------------------------------------- an undo, and a mapping that names another column


def names_another_column(story: Story, *columns: str) -> None:
    story.mapping(
        {"CentrifugalPump": {"fields": {"description": {"column": list(columns), "owner": "shared"}}}}
    )


@pytest.mark.parametrize("columns", [("D1",), ("D1", "Description")])
@pytest.mark.parametrize("filled", [True, False])
def test_what_was_undone_does_not_go_into_the_column_that_the_mapping_names_next(
    tell: Tell, columns: tuple[str, ...], *, filled: bool
) -> None:
    story = tell()
    designer, user, run, then = story.cast
    if filled:
        designer.types("P-1", "D1", "Stands in D1")
    user.types("P-1", "description", "The user's")
    run.undone(run.now())
    run.now()
    names_another_column(story, *columns)
    for _ in range(2):
        run.now()
        then.plant3d_holds("P-1", "Stands in D1" if filled else None, "D1")
        then.synapse_holds("P-1", "The user's")
        then.is_told("P-1")
    story.mapping(None)
    for _ in range(2):
        run.now()
        then.plant3d_holds("P-1", AS_DRAWN)
        then.synapse_holds("P-1", "The user's")
        then.is_told("P-1")
    user.types("P-1", "description", "A newer one")
    run.now()
    then.both_sides_hold("P-1", "A newer one")
    then.all_is_well()


def test_a_designer_who_types_into_the_column_that_the_mapping_names_next_ends_an_undo(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("P-1", "description", "The user's")
    run.undone(run.now())
    run.now()
    names_another_column(story, "D1")
    run.now()
    designer.types("P-1", "D1", "The designer's")
    run.now()
    if story.conflicts("P-1"):
        then.is_asked("P-1", "description", "The designer's", "The user's")
    else:
        then.plant3d_holds("P-1", "The designer's", "D1")
        then.synapse_holds("P-1", "The designer's")


@pytest.mark.parametrize("emptied", ["before it", "meanwhile"])
def test_a_cell_that_is_empty_when_its_field_comes_back_is_told_with_the_mapping_as_the_reason(
    tell: Tell, emptied: str
) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    if emptied == "before it":
        designer.types("P-1", "description", None)
    story.mapping({"EngineeringItems": {"fields": {"description": None}}})
    run.now()
    if emptied == "meanwhile":
        designer.types("P-1", "description", None)
    story.mapping(None)
    for _ in range(2):
        run.now()
        then.synapse_holds("P-1", AS_DRAWN)
        (told,) = run.command("findings", "mine", "--code", "blank_kept").json["findings"]
        promise("mapping" in told["message"] and "nothing was typed" not in told["message"], told)
    designer.saves({("P-1", "description"): "Filled"})
    run.now()
    then.both_sides_hold("P-1", "Filled")
    designer.types("P-1", "description", None)
    run.now()
    then.both_sides_hold("P-1", None)
    then.all_is_well()


# ---------------------------------------------------------------- a refused row that a person left alone


def refused(story: Story, status: str = "waiting") -> list[Row]:
    found: list[Row] = story.run.command("quarantine", "list", "mine", "--status", status).json["items"]
    return found


def two_lines(story: Story, text: str) -> None:
    """They cannot go into a cell."""
    story.user.types("P-1", "description", f"Two\n{text}")


def too_long(story: Story, text: str) -> None:
    """SYNAPSE does not take it."""
    story.designer.types("P-1", "description", text * 1000)


def left_alone(tell: Tell, wrong: Callable[[Story, str], None] = two_lines) -> Story:
    """Something cannot be written, and a person leaves it alone."""
    story = tell()
    wrong(story, "lines")
    story.run.now()
    (row,) = refused(story)
    story.run.command("quarantine", "ignore", "mine", str(row["id"]), "--reason", "as agreed")
    story.run.now()
    return story


def its_row_is_missing(story: Story) -> None:
    with story.designer.loses_a_row("P-1"):
        story.run.now()
        story.run.pull("--full")


def the_cell_cannot_be_read(story: Story) -> None:
    (found,) = story.world.sql("SELECT Description FROM EngineeringItems WHERE PnPID = ?", story.items["P-1"])
    for value in (b"\xff\xfe", *found):
        story.world.change(
            "UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", value, story.items["P-1"]
        )
        story.run.now()


def its_row_is_copied(story: Story) -> None:
    story.designer.redraws("P-1")
    for _ in range(2):
        story.run.now()
    story.run.command("links", "accept", "mine")


@pytest.mark.parametrize("away", [its_row_is_missing, the_cell_cannot_be_read, its_row_is_copied])
@pytest.mark.parametrize("wrong", [two_lines, too_long])
def test_what_a_person_left_alone_stays_so_while_its_cell_is_not_compared(
    tell: Tell, wrong: Callable[[Story, str], None], away: Callable[[Story], None]
) -> None:
    story = left_alone(tell, wrong)
    designer, _user, run, then = story.cast
    away(story)
    for _ in range(2):
        said = run.now()
        promise(not said.json["errors"], said)
        promise(not refused(story), "it is refused again")
        promise(len(refused(story, "ignored")) == 1, "the word of a person is gone")
    verified = run.command("audit", "verify")
    promise(verified.code == 0, verified)
    wrong(story, "other lines")
    promise(run.now().json["errors"], "nobody left this one alone")
    for write in (designer.types, story.user.types):
        write("P-1", "description", "One line")
    run.now()
    then.both_sides_hold("P-1", "One line")
    promise(not refused(story, "all"), "it is over")
    then.all_is_well()


@pytest.mark.parametrize("away", [its_row_is_missing, its_row_is_copied])
def test_what_was_settled_while_its_cell_was_not_compared_is_over(
    tell: Tell, away: Callable[[Story], None]
) -> None:
    story = left_alone(tell)
    _designer, user, run, then = story.cast
    away(story)
    user.types("P-1", "description", AS_DRAWN)
    run.now()
    promise(not refused(story, "all"), "it is over")
    user.types("P-1", "description", "Two\nlines")
    promise(run.now().json["errors"], "the word was said of a value that moved since")


def test_a_row_that_a_person_accepts_is_not_refused_any_more_whatever_else_is_refused_of_its_item(
    tell: Tell,
) -> None:
    story = tell()
    too_long(story, "lines")
    story.run.now()
    its_row_is_copied(story)
    for _ in range(2):
        story.run.now()
        promise([row["code"] for row in refused(story)] == ["too_long"], refused(story))


def test_a_copied_row_that_nobody_accepts_does_not_end_what_a_person_left_alone(tell: Tell) -> None:
    story = left_alone(tell)
    before = story.items["P-1"]
    story.designer.redraws("P-1")
    story.run.now()
    promise([row["code"] for row in refused(story)] == ["identity_mismatch"], refused(story))
    story.world.change("UPDATE PnPBase SET PnPID = ? WHERE PnPID = ?", before, story.items["P-1"])
    for table in ("EngineeringItems", "Equipment", "Pumps", "CentrifugalPump"):
        story.world.change(f"UPDATE {table} SET PnPID = ? WHERE PnPID = ?", before, story.items["P-1"])
    story.world.change("UPDATE PnPDataLinks SET RowId = ? WHERE RowId = ?", before, story.items["P-1"])
    story.items["P-1"] = before
    for _ in range(2):
        said = story.run.now()
        promise(not said.json["errors"], said)
        promise(not refused(story), "it is refused again")


# ---------------------------------------------------------------- what a command says of itself


def changes_the_length(story: Story, length: int) -> None:
    """Project Setup gives the column of the description another length."""
    for statement in (
        f"UPDATE PnPProperties SET Length = {length} WHERE PropertyName = 'Description'",
        "UPDATE PnPDatabase SET MetadataRevision = MetadataRevision + 1",
    ):
        story.world.change(statement)


@pytest.mark.parametrize("moved", [True, False])
def test_a_run_that_leaves_something_to_decide_does_not_end_as_one_that_is_done(
    tell: Tell, *, moved: bool
) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    changes_the_length(story, 80)
    if moved:
        designer.types("P-1", "description", "The designer's")
    for words in (("now", "mine"), ("now", "mine"), ("pull", "mine", "--full"), ("plan", "mine")):
        said = run.command(*words)
        promise(said.json["outcome"] == "with_issues" and said.code == 3, (words, said))
    run.command("schema", "accept", "mine")
    said = run.now()
    promise(said.json["outcome"] == "clean" and said.code == 0, said)
    if moved:
        then.both_sides_hold("P-1", "The designer's")


@pytest.mark.parametrize(
    "words", [("check-config",), ("settings", "show"), ("mapping", "check", "none.yml"), ("now", "mine")]
)
@pytest.mark.parametrize("where", ["variable", "file"])
def test_every_command_speaks_the_language_of_the_settings(
    tell: Tell, words: tuple[str, ...], where: str
) -> None:
    story = tell()
    english = story.world.cli(*words, as_json=False)
    asked = {"P3DSYNC_LANGUAGE": "fr-CA"} if where == "variable" else {}
    if where == "file":
        if words[0] == "mapping":
            pytest.skip("reads no configuration")
        story.world.top["language"] = "fr-CA"
        story.world.configure()
    french = story.world.cli("--lang", "fr", *words, as_json=False)
    said = story.world.cli(*words, as_json=False, env=asked)
    promise(said.code == english.code, said)
    promise(_words(french) != _words(english), "it is the same in both languages")
    promise(_words(said) == _words(french), said)


def _words(said: Said) -> set[str]:
    """Without what differs between two runs."""
    return {word for word in (said.out + said.err).split() if word.isalpha()}
