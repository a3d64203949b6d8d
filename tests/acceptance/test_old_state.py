"""A state database as version 86e46eb wrote it: its plans, intents and changes are read and carried on as it would have.

`tests/data/world-86e46eb.zip` holds it with both systems as they stood; `tests/support/old_world.py` tells how it was
made: of a dozen items, links accepted and adopted, runs both ways, an undo whose fields are held, an archived item,
one missing, a question that waits. The stage `waiting` has a plan with steps of all nine kinds; in the other three a
process died between a call and its receipt, so that an intent is open.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from plant3d_sync.model.plan import Op
from tests.support import invariants
from tests.support.old_world import ARCHIVE, kinds_of, unpacked
from tests.support.wayback import both, cell, description, now, ok, undone
from tests.support.world import NAME, Row, World

pytestmark = pytest.mark.skipif(os.name != "posix", reason="its paths are those of POSIX systems")

STEPS = [
    ("archive", "HV-4"),
    ("update", "P-88"),
    ("update", "P-5"),
    ("restore", "HV-1"),
    ("adopt", "HV-600"),
    ("create", "HV-601"),
    ("push", "P-6"),
    ("settle", "P-6"),
    ("settle", "P-7"),
    ("missing", "HV-3"),
]


def waiting_plan(world: World) -> str:
    ((found),) = world.rows("SELECT id FROM plan WHERE status = 'draft'")
    return str(found["id"])


def pnpid_of(world: World, tag: str) -> int:
    ((found),) = world.rows("SELECT pnpid FROM link WHERE tag = ?", tag)
    return int(found["pnpid"])


def settled(world: World) -> None:
    """Two more runs write nothing, no intent is open, and what is remembered is what both sides hold."""
    for report in (now(world, code=3), ok(world.pull("--full"), 3)):
        assert report["writes"] == {"synapse": 0, "plant3d": 0} and report["errors"] == []
    assert world.rows("SELECT id FROM intent WHERE status = 'open'") == []
    ok(world.cli("audit", "verify"))
    invariants.bases_were_shared(world)
    invariants.one_asset_per_identity(world)
    invariants.no_run_is_stuck(world)


def as_planned(world: World) -> None:
    """Both sides hold what the waiting plan said."""
    assert "P-88" in world.live() and "P-8" not in world.live()
    assert both(world, pnpid_of(world, "P-5")) == ("Edited in Plant 3D",) * 2
    assert both(world, pnpid_of(world, "P-6")) == ("Edited in SYNAPSE",) * 2
    assert both(world, pnpid_of(world, "P-7")) == ("The same on both sides",) * 2
    assert {"HV-1", "HV-600", "HV-601"} <= world.live().keys()
    assert world.link_of(pnpid_of(world, "HV-1"))["state"] == "active"


def test_a_waiting_plan_is_shown_and_applied_step_by_step(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "waiting", tmp_path / "world") as world:
        plan_id = waiting_plan(world)
        assert kinds_of(world, plan_id) == set(Op)
        shown = ok(world.cli("show", plan_id))
        assert [(line["op"], line["tag"]) for line in shown["lines"]] == STEPS
        update = next(line for line in shown["lines"] if line["tag"] == "P-5")
        assert update["set"] == {"description": "Edited in Plant 3D"}
        assert update["was"] == {"description": "Pump 5"}
        assert shown["waiting_for_person"] == {"archive": 1}
        report = ok(world.apply(plan_id), 3)
        assert report["errors"] == []
        assert report["writes"] == {"synapse": 6, "plant3d": 1}
        assert report["stats"]["archived"] == 1 and "HV-4" not in world.live()
        as_planned(world)
        settled(world)


def test_a_run_s_changes_are_shown_and_undone(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "waiting", tmp_path / "world") as world:
        runs = [row["id"] for row in world.rows("SELECT id FROM run ORDER BY seq")]
        changes: Counter[tuple[str, str]] = Counter()
        for run in runs:
            for row in world.rows("SELECT side, op FROM change WHERE run_id = ?", run):
                changes[row["side"], row["op"]] += 1
        assert changes == {
            ("synapse", "create"): 13,
            ("synapse", "adopt"): 2,
            ("synapse", "update"): 5,
            ("synapse", "archive"): 1,
            ("plant3d", "push"): 1,
            ("plant3d", "undo"): 1,
        }
        (undoing,) = world.rows("SELECT plan_id, id FROM run WHERE trigger = 'apply' ORDER BY seq LIMIT 1")
        pushed = pnpid_of(world, "P-3")
        assert both(world, pushed) == ("Pump 3", "From SYNAPSE"), "held since the push was undone"
        plan: Row = undone(world, undoing["id"])
        assert plan["restores"] == 3 and plan["left_alone"] == []
        ok(world.apply(plan["plan_id"]))
        assert both(world, pushed) == ("From SYNAPSE", "From SYNAPSE")
        assert description(world, pnpid_of(world, "P-1")) == "From the designer"
        assert "P-22" in world.live()


def test_an_archived_asset_lives_again_when_its_run_is_undone(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "waiting", tmp_path / "world") as world:
        (archiving,) = world.rows("SELECT run_id FROM change WHERE op = 'archive'")
        plan = undone(world, archiving["run_id"])
        assert plan["restores"] == 1
        ok(world.apply(plan["plan_id"]))
        assert "HV-1" in world.live()


@pytest.mark.parametrize("stage", ["killed-pull", "killed-apply"])
def test_a_call_to_synapse_without_a_receipt_is_found(tmp_path: Path, stage: str) -> None:
    with unpacked(ARCHIVE, stage, tmp_path / "world") as world:
        ((intent),) = world.rows("SELECT id, side FROM intent WHERE status = 'open'")
        assert intent["side"] == "synapse"
        before = world.writes()
        now(world, code=3)
        assert world.writes() == before, "nothing is sent twice"
        found = world.rows("SELECT op, outcome FROM change WHERE intent_id = ?", intent["id"])
        assert {row["outcome"] for row in found} == {"found_applied"}
        assert Counter(row["op"] for row in found) >= Counter(["create", "update", "update", "restore"])
        as_planned(world)
        settled(world)


def test_what_a_user_types_into_an_asset_whose_receipt_was_lost_arrives(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "killed-pull", tmp_path / "world") as world:
        world.user_edits(world.live()["HV-601"]["id"], description="Typed after the crash")
        now(world, code=3)
        assert both(world, pnpid_of(world, "HV-601")) == ("Typed after the crash",) * 2
        settled(world)


def test_a_cell_in_plant_3d_without_a_receipt_is_found(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "killed-push", tmp_path / "world") as world:
        ((intent),) = world.rows("SELECT id, side FROM intent WHERE status = 'open'")
        assert intent["side"] == "plant3d"
        pushed = pnpid_of(world, "P-6")
        assert cell(world, pushed) == "Edited in SYNAPSE"
        before = world.fingerprint()
        now(world, code=3)
        assert world.fingerprint() == before, "nothing is written twice"
        found = world.rows("SELECT pnpid, outcome FROM change WHERE intent_id = ?", intent["id"])
        assert found == [{"pnpid": pushed, "outcome": "found_applied"}]
        as_planned(world)
        settled(world)


def test_the_commands_that_read_say_what_is_there(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "waiting", tmp_path / "world") as world:
        for row in world.rows("SELECT id, status FROM plan"):
            shown = ok(world.cli("show", row["id"]))
            assert shown["status"] == row["status"]
        for row in world.rows("SELECT id FROM run"):
            assert ok(world.cli("show", row["id"]))["run_id"] == row["id"]
        (disputed,) = world.conflicts()
        assert disputed["field"] == "description"
        assert ok(world.cli("runs", NAME))["total"] == len(world.rows("SELECT id FROM run"))


def test_what_is_older_than_the_seals_is_told_apart_from_what_was_added_since(tmp_path: Path) -> None:
    with unpacked(ARCHIVE, "waiting", tmp_path / "world") as world:
        found = ok(world.cli("audit", "verify"))
        assert found["broken"] == []
        assert {"plan", "change", "intent", "plant_write"} <= found["not_covered"].keys()
        plan_id = waiting_plan(world)
        with closing(sqlite3.connect(world.state)) as connection:
            connection.execute(
                "INSERT INTO plan SELECT 'added', " + PLAN + " FROM plan WHERE id = ?", [plan_id]
            )
            connection.execute("UPDATE plan SET status = 'draft' WHERE id <> ? AND lines > 0", [plan_id])
            connection.commit()
        refused = world.apply("added")
        assert (refused.code, refused.error) == (3, "row_altered"), "slipped in among the older ones"
        broken = world.cli("audit", "verify").json["error"]["details"]["broken"]
        assert {(place["table"], place["code"]) for place in broken} == {("plan", "row_altered")}
        assert "added" in {place["row"] for place in broken} and plan_id not in {p["row"] for p in broken}


PLAN = (
    "project, direction, status, created_at, created_by, run_id, fingerprint, mapping_digest, identity, signature,"
    " header, lines, chunks, applied_at, applied_by, undo_of, version"
)
