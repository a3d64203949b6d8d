"""Promises that two layers hold: each layer is shown alone, where the other one would hide that it is gone."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.connectors.plant3d.writing.cells import Outcome
from plant3d_sync.connectors.plant3d.writing.write_sqlite import SqliteCells
from tests.support.plant_writing import ALLOWED, make_project
from tests.support.story import ARCHIVING, Story, Tell
from tests.support.world import NAME, recorded


def sent(story: Story, *words: str) -> list[dict[str, Any]]:
    """The items that this command sends to SYNAPSE. Each request had an intent under its key before."""
    with recorded(story.world) as recorder:
        story.run.command(*(words or ("now", NAME)))
    assert recorder.unintended == [], "a key is the hash of project, run and body, and stored before the call"
    return [item for batch in recorder.batches for item in batch["items"]]


# ---------------------------------------------------------------- what a request says


def test_the_first_pull_creates_only_what_is_not_there(unpulled: Tell) -> None:
    items = sent(unpulled())
    assert items and {item["if_version"] for item in items} == {0}


def test_a_single_creation_with_an_unusual_value_has_the_same_condition(tell: Tell) -> None:
    story = tell()
    story.designer.adds("P-9", description='says "hello"')
    story.designer.types("P-1", "description", "So that the batch is not one of creations alone")
    creation = next(item for item in sent(story) if item["set"].get("tag") == "P-9")
    assert creation["if_version"] == 0


def test_a_description_goes_under_the_version_of_the_asset_and_of_the_field(tell: Tell) -> None:
    story = tell()
    story.user.types("P-1", "notes", "Another field moves the asset, not the description")
    story.designer.types("P-1", "description", "Typed by the designer")
    (item,) = sent(story)
    asset = story.asset("P-1")
    assert item["if_version"] == asset["version"] - 1
    assert item["if_field_versions"] == {"description": 1}


def test_an_archive_goes_under_the_version_it_was_decided_on(tell: Tell) -> None:
    story = tell()
    version = story.asset("P-1")["version"]
    story.designer.deletes("P-1")
    (item,) = sent(story)
    assert (item["op"], item["if_version"]) == ("archive", version)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("size", ["1", "2"])
def test_a_circle_of_renames_is_not_cut_by_the_size_of_a_batch(tell: Tell, size: str) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    for old, new in (("P-1", "P-2"), ("P-2", "P-3"), ("P-3", "P-1")):
        designer.retags(old, new)
    assert run.now(env={"SYNC_BATCH_SIZE": size}).code == 0
    assert [story.asset(tag)["tag"] for tag in ("P-1", "P-2", "P-3")] == ["P-2", "P-3", "P-1"]
    then.all_is_well()


# ---------------------------------------------------------------- after a crash


def test_an_update_that_was_never_sent_is_not_taken_for_done(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.types("P-1", "manufacturer", "KSB")
    run.killed("pull.intent_stored")
    user.types("P-1", "notes", "The asset moved meanwhile")
    run.now()
    assert story.asset("P-1")["attributes"]["manufacturer"] == "KSB"
    then.all_is_well()


def test_an_archive_that_was_never_sent_is_not_taken_for_done(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    designer.deletes("P-1")
    run.killed("pull.intent_stored")
    user.types("P-1", "notes", "The asset moved meanwhile")
    run.now()
    then.is_archived("P-1")
    then.all_is_well()


def test_a_cell_that_was_never_written_is_not_taken_for_done(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Typed by the user")
    run.killed("push.before_begin")
    run.now()
    then.both_sides_hold("P-1", "Typed by the user")
    then.all_is_well()


def test_a_receipt_tells_what_the_file_holds_and_not_what_was_written(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    user.types("P-1", "description", "Typed by the user")
    with run.between(at="push.committed"):
        designer.types("P-1", "description", "Typed a moment after our commit")
    journal = story.world.rows("SELECT status FROM plant_write")
    assert [row["status"] for row in journal] == ["stale"]
    run.now()
    then.arrived_or_asked("P-1", "Typed a moment after our commit")
    then.all_is_well()


# ---------------------------------------------------------------- what counts as read


def test_a_save_while_the_file_is_copied_is_read_by_the_next_run(tell: Tell) -> None:
    story = tell()
    designer, _user, run, then = story.cast
    designer.types("P-2", "description", "So that there is something to copy")
    with run.between(at="source.copy_closed"):
        designer.types("P-1", "description", "Saved right after the copy")
    run.now()
    then.both_sides_hold("P-1", "Saved right after the copy")


def test_a_read_is_dated_by_its_beginning(tell: Tell) -> None:
    story = tell()
    designer, _user, run, _then = story.cast
    designer.types("P-1", "description", "Something to do")
    with run.between():
        frozen_at = time.time()
    (row,) = story.world.rows("SELECT plant_read_at FROM project")
    assert row["plant_read_at"] < frozen_at, "what was saved while the run went on is later than its read"


# ---------------------------------------------------------------- stored plans


def test_apply_does_not_archive_an_item_that_is_back(tell: Tell) -> None:
    story = tell(missing={**ARCHIVING, "policy": "ask"})
    designer, _user, run, then = story.cast
    deleted = designer.deletes("P-1")
    plan = run.plan()
    designer.brings_back(deleted)
    said = run.apply(plan)
    then.lives("P-1")
    assert [error["code"] for error in said.json["errors"]] == ["stale"]
    then.all_is_well()


def test_apply_pushes_no_value_that_synapse_does_not_hold_any_more(tell: Tell) -> None:
    story = tell()
    _designer, user, run, then = story.cast
    user.types("P-1", "description", "Planned")
    plan = run.plan()
    user.types("P-1", "description", "Typed since")
    run.apply(plan)
    then.plant3d_holds("P-1", "Pump 1, as drawn")
    then.all_is_well()
    then.both_sides_hold("P-1", "Typed since")


def test_a_run_that_failed_does_not_let_the_decision_before_it_stand(tell: Tell) -> None:
    story = tell()
    designer, user, run, then = story.cast
    run.now()
    user.types("P-1", "description", "Read by the run that fails")
    with designer.shuts_the_file():
        assert run.command("now", NAME, env={"P3DSYNC_SOURCE_DEADLINE_SECONDS": "1"}).code == 75
    run.now()
    then.both_sides_hold("P-1", "Read by the run that fails")


def test_a_run_of_a_project_pointed_at_another_synapse_project_is_refused(tell: Tell) -> None:
    story = tell()
    story.points_at(story.another_synapse_project().uuid)
    said = story.run.now()
    assert (said.code, said.error) == (78, "synapse_project_changed")


# ---------------------------------------------------------------- the last layer before Plant 3D


@pytest.fixture
def cells(tmp_path: Path) -> SqliteCells:
    """The store of a small project, open for writing."""
    database = make_project(tmp_path / "project", items=10).database
    return SqliteCells.open(database, deadline_ms=0, mounts=lambda _path: "local")


def test_an_update_meets_no_row_that_holds_another_value(cells: SqliteCells) -> None:
    ((pnpid, held),) = cells.connection.execute("SELECT PnPID, Description FROM EngineeringItems LIMIT 1")
    cells.begin()
    assert cells.set_cell("EngineeringItems", "Description", pnpid, "something else", "new") == 0
    assert cells.set_cell("EngineeringItems", "Description", pnpid, held, "new") == 1
    ((stamp,),) = cells.connection.execute("SELECT PnPTimestamp FROM PnPBase WHERE PnPID = ?", (pnpid,))
    assert cells.set_base(pnpid, stamp - 1, stamp + 1, 2) == 0
    assert cells.set_base(pnpid, stamp, stamp + 1, 2) == 1
    cells.rollback()
    cells.close()


def test_a_transaction_holds_the_write_lock_from_its_beginning(cells: SqliteCells) -> None:
    cells.begin()
    locked = pytest.raises(sqlite3.OperationalError, match="locked")
    with closing(sqlite3.connect(cells.path, timeout=0, isolation_level=None)) as designer, locked:
        designer.execute("BEGIN IMMEDIATE")
    cells.rollback()
    cells.close()


def test_the_last_function_before_the_file_judges_the_column_again(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", items=10)
    cell = project.item(column="Tag", table_class="Equipment", new="P-999")
    with project.writer(allowed=ALLOWED) as writer, pytest.raises(Outcome, match="never|not let"):
        writer._set_cell(writer._need_store(), cell, cell.old)  # whoever calls it
