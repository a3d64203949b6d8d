"""Stories that a fourth player of the docs told: a word that was said, and nobody acted on it."""

from __future__ import annotations

import uuid

import pytest

from tests.support.dcf import Dcf
from tests.support.story import Story, Tell, promise

LIMIT = {"update": [0.01, 1]}

# ---------------------------------------------------------------- plans


def test_a_run_that_a_guard_stops_names_a_plan_that_waits_also_after_one_was_discarded(tell: Tell) -> None:
    story = tell(guards=LIMIT)
    designer, _user, run, then = story.cast
    designer.saves({("P-1", "description"): "One", ("P-2", "description"): "Two"})
    run.command("discard", run.now().json["plan_id"])
    stopped = run.now()
    promise(stopped.code == 5, stopped)
    promise(run.apply(stopped.json["plan_id"], "--approve-guards").code == 0, "the plan cannot be applied")
    then.both_sides_hold("P-1", "One")
    then.both_sides_hold("P-2", "Two")


# ---------------------------------------------------------------- choices that a designer carries out


def asked_where_nothing_is_pushed(tell: Tell) -> Story:
    """Both sides edited a shared field that the mapping does not push."""
    story = tell(conflict={"policy": "ask"})
    story.mapping({"EngineeringItems": {"fields": {"description": {"push": False}}}})
    story.run.now()
    story.designer.types("P-1", "description", "The designer's")
    story.user.types("P-1", "description", "The user's")
    story.run.now()
    return story


@pytest.mark.parametrize(
    ("choice", "value"),
    [("synapse", "The user's"), pytest.param("manual", "A third", marks=pytest.mark.long)],
)
def test_a_choice_that_only_a_designer_can_carry_out_waits_for_him(
    tell: Tell, choice: str, value: str
) -> None:
    story = asked_where_nothing_is_pushed(tell)
    designer, _user, run, then = story.cast
    run.resolve("P-1", choice, value=value if choice == "manual" else "")
    for _ in range(2):
        run.pull("--full")
        then.is_not_asked("P-1")
        waiting = run.command("waiting", "mine").json["items"]
        promise([(one["kind"], one["tag"]) for one in waiting] == [("work_item", "P-1")], waiting)
        promise(value in waiting[0]["message"], waiting)
        (kept,) = story.conflicts("P-1", status="resolved")
        promise(not kept["void_reason"] and not kept["carried_out"], kept)
    designer.types("P-1", "description", value)
    run.now()
    then.both_sides_hold("P-1", value)
    (done,) = story.conflicts("P-1", status="resolved")
    promise(done["carried_out"], done)
    then.all_is_well()


def test_a_choice_that_waits_for_a_designer_ends_when_he_types_something_else(tell: Tell) -> None:
    story = asked_where_nothing_is_pushed(tell)
    designer, _user, run, then = story.cast
    run.resolve("P-1", "synapse")
    designer.types("P-1", "description", "Something else")
    run.now()
    then.is_asked("P-1", "description", "Something else", "The user's")


def test_an_open_question_is_decided_by_an_owner_that_a_person_names(tell: Tell) -> None:
    story = tell(conflict={"policy": "ask"})
    designer, user, run, then = story.cast
    designer.types("HV-1", "description", "The designer's")
    run.pull("--entity-types", "equipment")
    user.types("HV-1", "description", "The user's newer")
    run.now()
    then.is_asked("HV-1", "description", "The designer's", "The user's newer")
    story.mapping({"EngineeringItems": {"fields": {"description": {"owner": "plant3d"}}}})
    run.now()
    then.both_sides_hold("HV-1", "The designer's")
    then.is_not_asked("HV-1")
    then.history_shows("The designer's", "The user's newer")
    then.all_is_well()


# ---------------------------------------------------------------- copies of an earlier day


def test_what_was_drawn_after_an_older_copy_is_archived_by_a_person_only(tell: Tell) -> None:
    story = tell(missing={"reads": 2, "minutes": 0, "policy": "archive"})
    designer, _user, run, then = story.cast
    copy = designer.copies_file()
    designer.adds("P-5", description="Drawn after the copy")
    run.now()
    designer.puts_back(copy)
    run.apply(run.now().json["plan_id"], "--approve-guards")
    for tag in ("P-1", "P-2", "P-3"):
        designer.types(tag, "description", f"{tag}, typed into the copy")
        run.now()
        then.lives("P-5")
        then.is_told("P-5")
    run.apply(run.plan())
    then.is_archived("P-5")


# ---------------------------------------------------------------- lists


def test_a_copy_whose_original_was_deleted_waits_once_for_the_reason_of_today(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    guid = uuid.UUID(story.guids["P-1"]).bytes_le
    copy = Dcf.existing(story.world.dcf).add("CentrifugalPump", Tag="P-1", Description="Copy", PnPGuid=guid)
    run.now()
    designer.deletes("P-1")
    story.items["P-1"] = copy
    run.now()
    waiting = run.command("waiting", "mine").json["items"]
    promise([one["code"] for one in waiting] == ["identity_mismatch"], waiting)
    run.command("links", "accept", "mine")
    user.types("P-1", "description", "The user's")
    run.now()
    promise(run.command("quarantine", "list", "mine").json["items"] == [], "it still waits")
    then.arrived_or_asked("P-1", "The user's")


# ---------------------------------------------------------------- classes that get another name


def test_items_whose_class_got_another_name_are_not_said_to_be_left_alone(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    dcf = Dcf.existing(story.world.dcf)
    for table in ("PnPTables", "PnPProperties", "PnPTableAttributes"):
        dcf.sql(f"UPDATE {table} SET TableName = 'SlurryPump' WHERE TableName = 'CentrifugalPump'")
    dcf.sql("UPDATE PnPTables SET PhysicalName = 'SlurryPump' WHERE TableName = 'SlurryPump'")
    dcf.sql("ALTER TABLE CentrifugalPump RENAME TO SlurryPump")
    dcf.sql("UPDATE PnPBase SET PnPClassName = 'SlurryPump' WHERE PnPClassName = 'CentrifugalPump'")
    dcf.sql("UPDATE PnPDatabase SET MetadataRevision = MetadataRevision + 1")
    run.now()
    run.command("schema", "accept", "mine")
    user.types("P-1", "description", "The user's")
    run.now()
    then.both_sides_hold("P-1", "The user's")
    told = {one["code"] for one in run.command("findings", "mine", "--each").json["findings"]}
    promise(told == {"class_changed"}, told)


# ---------------------------------------------------------------- lines that a mapping joins


def second_line(story: Story) -> None:
    """The line L-2, whose LineNumber is that of L-1."""
    dcf = Dcf.existing(story.world.dcf)
    dcf.next_relation = 100
    group = dcf.add("PipeLineGroup", Tag="L-2", LineNumber="1", PnPGuid=uuid.uuid4().bytes_le)
    segment = dcf.add("Primary", Tag="L-2", PnPGuid=uuid.uuid4().bytes_le)
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)
    story.knows("L-2", group)


def test_a_line_that_a_changed_mapping_joins_with_another_one_is_archived_by_a_person_only(
    unpulled: Tell,
) -> None:
    story = unpulled()
    designer, user, run, then = story.cast
    second_line(story)
    run.now()
    user.types("L-2", "description", "The user's")
    run.now()
    story.mapping({"PipeLineGroup": {"fields": {"tag": {"column": "LineNumber"}}}})
    for _ in range(2):
        run.now()
        then.lives("L-2")
        then.is_told("L-2")
    story.mapping(None)
    run.now()
    then.lives("L-2")
    then.both_sides_hold("L-2", "The user's")
    designer.saves({("L-2", "Tag"): "L-1"})
    run.now()
    then.is_archived("L-2")


@pytest.mark.long
def test_a_line_group_that_becomes_a_part_of_its_number_is_archived_by_a_person_only(unpulled: Tell) -> None:
    story = unpulled()
    designer, _user, run, then = story.cast
    second_line(story)
    story.mapping({"PipeLineGroup": {"by": "group"}})
    run.now()
    designer.saves({("L-2", "Tag"): "L-1"})
    run.now()
    story.mapping(None)
    for _ in range(2):
        run.now()
        then.lives("L-2")
        then.is_told("L-2")
    run.apply(run.plan())
    then.is_archived("L-2")
