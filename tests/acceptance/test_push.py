"""SYNAPSE's edits reach Plant 3D: exactly they, exactly once, and nothing else in the database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from msgspec.structs import replace

from plant3d_sync.bootstrap import make_app, pushable_columns, utc_ticks
from plant3d_sync.connectors.base import CellWrite
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter
from plant3d_sync.sample import edits
from plant3d_sync.sample.project import write_project
from tests.support import invariants
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    at_rest,
    both,
    cell,
    changed_cells,
    description,
    kept,
    now,
    ok,
    only_these,
    planned,
    push,
    redescribed,
    refusals,
    revision,
    stamped,
    undone,
    user_describes,
    values_only,
)
from tests.support.world import NAME, SOURCE, UNTOUCHED, MakeWorld, Said, World, new_world


@pytest.fixture
def ready(make_world: MakeWorld) -> World:
    """A pulled project that may be written to."""
    world = make_world(write="sql", drawings_unseen="closed")
    world.pulled()
    return world


def one(world: World, entity: str = "equipment", number: int = 0) -> int:
    return world.items(entity)[number].pnpid


# ---------------------------------------------------------------- what arrives


@pytest.mark.parametrize("command", ["push", "now"])
def test_descriptions_edited_in_synapse_arrive_in_plant_3d_and_nothing_else_differs(
    ready: World, command: str
) -> None:
    wanted: dict[int, str | None] = {
        one(ready, "equipment"): "Pompe à boue, révisée",
        one(ready, "instruments"): "Transmetteur de débit №2",
        one(ready, "valves"): "Vanne d'isolement <&> 'neuve'",
        one(ready, "lines"): "Conduite d'eau brute",
    }
    for pnpid, text in wanted.items():
        user_describes(ready, pnpid, text)
    before, writes = kept(ready), ready.writes()
    report = ok(ready.cli(command, NAME))
    assert report["writes"] == {"synapse": 0, "plant3d": 4}
    assert report["push_stats"]["updated"] == 4 and report["outcome"] == "clean"
    only_these(before, ready, wanted)
    assert ready.writes() == writes, "the push wrote nothing into SYNAPSE"
    for pnpid, text in wanted.items():
        assert both(ready, pnpid) == (text, text)
    at_rest(ready)
    invariants.both_sides_agree(ready)


def test_a_description_emptied_in_synapse_follows_the_blank_policy_and_loses_nothing_silently(
    ready: World,
) -> None:
    pnpid = next(item.pnpid for item in ready.items("equipment") if item.description)
    text = cell(ready, pnpid)
    user_describes(ready, pnpid, None)
    push(ready)
    assert both(ready, pnpid) in ((None, None), (text, None)), "emptied on both sides, or kept in Plant 3D"
    at_rest(ready)


def test_the_pulls_echo_of_a_push_writes_nothing_back(ready: World) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "Edited once")
    push(ready)
    writes, version = ready.writes(), ready.asset_of(pnpid)["version"]
    assert ready.pulled()["writes"] == {"synapse": 0, "plant3d": 0}
    assert (ready.writes(), ready.asset_of(pnpid)["version"]) == (writes, version)


def test_two_edits_one_after_the_other_arrive_one_after_the_other(ready: World) -> None:
    pnpid = one(ready)
    start = revision(ready, pnpid)
    for number, text in enumerate(("First", "Second", "First"), start=1):
        user_describes(ready, pnpid, text)
        push(ready)
        assert (cell(ready, pnpid), revision(ready, pnpid)) == (text, start + number)
    at_rest(ready)


def test_a_real_drawings_folder_lets_items_of_closed_drawings_through(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    write_project(tmp_path / "plant", items=80)
    world = make_world(write="sql", drawings=str(tmp_path / "plant" / "PID DWG"))
    world.pulled()
    pnpid = one(world)
    user_describes(world, pnpid, "Drawing is closed")
    assert push(world)["writes"]["plant3d"] == 1
    assert cell(world, pnpid) == "Drawing is closed"


def test_only_the_asked_assets_are_pushed_and_the_others_wait(ready: World) -> None:
    first, second = one(ready), one(ready, number=1)
    chosen = user_describes(ready, first, "Chosen")["id"]
    user_describes(ready, second, "Not chosen")
    waiting = cell(ready, second)
    before = kept(ready)
    assert push(ready, "--asset-ids", chosen)["writes"]["plant3d"] == 1
    only_these(before, ready, {first: "Chosen"})
    assert cell(ready, second) == waiting
    assert push(ready)["writes"]["plant3d"] == 1
    assert cell(ready, second) == "Not chosen"
    at_rest(ready)


# ---------------------------------------------------------------- what does not


def test_without_permission_the_push_is_planned_and_shown_and_nothing_is_written(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.pulled()
    pnpid = one(world)
    user_describes(world, pnpid, "Would be written")
    before = world.fingerprint()
    for report in (push(world), now(world)):
        assert report["writes"] == {"synapse": 0, "plant3d": 0}
        assert report["push_stats"]["total"] == 1 and report["push_stats"]["skipped"] == 1
    shown = ok(world.cli("show", planned(world)["plan_id"]))
    (line,) = [line for line in shown["lines"] if line["op"] == "push"]
    assert line["cells"][0]["new"] == "Would be written" and line["needs"] == "write_off"
    assert world.fingerprint() == before and description(world, pnpid) == "Would be written"
    world.configure(write="sql", drawings_unseen="closed")
    assert push(world)["writes"]["plant3d"] == 1, "once allowed, what waited is written"
    assert cell(world, pnpid) == "Would be written"


def test_a_dry_run_stores_a_plan_and_changes_no_other_byte(ready: World) -> None:
    user_describes(ready, one(ready), "Dry")
    bytes_before, assets = ready.fingerprint(), ready.assets()
    left_out = ("plan", "plan_chunk", "audit", "audit_head")
    tables = ready.every_table(but=left_out)
    report = push(ready, "--dry-run")
    assert report["dry_run"] and report["plan_id"] and report["push_stats"]["updated"] == 1
    assert (ready.fingerprint(), ready.assets()) == (bytes_before, assets)
    assert ready.every_table(but=left_out) == tables
    assert not list(ready.folder.rglob("*backups*/*.dcf"))


def test_no_push_or_pull_touches_what_synapse_owns(ready: World) -> None:
    pnpid = one(ready)
    asset = ready.asset_of(pnpid)
    ready.user_edits(
        asset["id"], priority=2, notes="keep", status="Installed", fbs_code="F1", description="New"
    )
    before = ready.assets()
    now(ready)
    push(ready)
    ready.pulled("--full")
    after = {asset["id"]: asset for asset in ready.assets()}
    for old in before:
        assert {name: old[name] for name in UNTOUCHED} == {name: after[old["id"]][name] for name in UNTOUCHED}


@pytest.mark.parametrize(
    ("policy", "found"), [("restore", "was"), ("propose", "999 mm"), ("ignore", "999 mm")]
)
def test_an_edit_of_plant_3ds_own_field_in_synapse_is_drift_and_never_written_into_plant_3d(
    make_world: MakeWorld, policy: str, found: str
) -> None:
    world = make_world(write="sql", drawings_unseen="closed", drift={"attributes.size": policy})
    world.pulled()
    pnpid = next(i.pnpid for i in world.items("valves") if world.asset_of(i.pnpid)["attributes"].get("size"))
    asset = world.asset_of(pnpid)
    world.user_edits(asset["id"], attributes={"size": "999 mm"})
    before = world.fingerprint()
    push(world)
    now(world)
    size = world.asset_of(pnpid)["attributes"]["size"]
    assert size == (asset["attributes"]["size"] if found == "was" else found)
    assert world.fingerprint() == before
    at_rest(world)
    drift = [row for row in world.findings("drift") if row["pnpid"] == pnpid]
    assert bool(drift) == (policy == "propose"), "what was put back is not listed for ever"


def test_an_edited_tag_is_a_work_item_or_put_back_but_never_written_into_plant_3d(
    make_world: MakeWorld,
) -> None:
    world = make_world(write="sql", drawings_unseen="closed", drift={"tag": "propose"})
    world.pulled()
    pnpid = one(world)
    world.user_edits(world.asset_of(pnpid)["id"], tag="SYN-1")
    before = world.fingerprint()
    now(world)
    assert world.fingerprint() == before and world.asset_of(pnpid)["tag"] == "SYN-1"
    (found,) = [row for row in world.findings("drift") if row["pnpid"] == pnpid]
    assert "SYN-1" in found["data"]["message"]


# ---------------------------------------------------------------- the last function before the write


def forged(world: World, pnpid: int, column: str, table: str, new: str) -> CellWrite:
    ((name, stamp),) = world.sql("SELECT PnPClassName, PnPTimestamp FROM PnPBase WHERE PnPID = ?", pnpid)
    return CellWrite(
        pnpid=pnpid,
        plant3d_id=world.guid(pnpid),
        class_name=name,
        table_class=table,
        column=column,
        old=world.sql(f"SELECT [{column}] FROM [{table}] WHERE PnPID = ?", pnpid)[0][0],
        new=new,
        expected_timestamp=stamp,
        tag="any",
        field="description",
    )


FORGED = [
    ("Tag", "Equipment", "P-999"),
    ("Manufacturer", "EngineeringItems", "ACME"),
    ("PnPClassName", "PnPBase", "Tank"),
    ("PnPStatus", "PnPBase", "1"),
]


@contextmanager
def writer_of(world: World) -> Iterator[PlantWriter]:
    with patch.dict(os.environ, world.environment({})):
        app = make_app(world.config)
        project = app.project(NAME)
    snapshot = project.source.snapshot()
    try:
        rules = project.rules(snapshot.catalog)
        with PlantWriter(
            world.dcf,
            catalog=snapshot.catalog,
            allowed=pushable_columns(snapshot.catalog, rules),
            drawings=DrawingLocks(None, unseen_counts_as_open=False),
            clock=utc_ticks,
        ) as writer:
            yield writer
    finally:
        snapshot.close()


@pytest.mark.parametrize(("column", "table", "new"), FORGED)
def test_whoever_calls_the_writer_directly_cannot_write_another_column(
    ready: World, column: str, table: str, new: str
) -> None:
    pnpid, before = one(ready), ready.fingerprint()
    write = forged(ready, pnpid, column, table, new)
    allowed = forged(ready, pnpid, "Description", "EngineeringItems", "allowed")
    with writer_of(ready) as writer:
        (refused,) = writer.write([write])
        assert refused.status == "refused", refused
        assert ready.fingerprint() == before
        (disguised,) = (
            writer.write([replace(allowed, table_class=table)]) if table != "EngineeringItems" else (refused,)
        )
        assert disguised.status == "refused", "another table under an allowed column's name"
        assert writer.write([allowed])[0].status == "applied", "the writer itself works"


@pytest.mark.parametrize(("column", "table", "new"), FORGED)
def test_a_stored_plan_that_was_tampered_with_cannot_write_another_column(
    ready: World, column: str, table: str, new: str
) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "Honest")
    plan_id = planned(ready, "--direction", "push")["plan_id"]
    tamper(
        ready,
        plan_id,
        pnpid,
        {
            "column": column,
            "table_class": table,
            "new": new,
            "old": forged(ready, pnpid, column, table, new).old,
        },
    )
    before = ready.fingerprint()
    said = ready.apply(plan_id)
    assert said.code != 0 and ready.fingerprint() == before, said.out
    assert cell(ready, pnpid) != "Honest"
    assert push(ready)["writes"]["plant3d"] == 1, "the next honest run works"
    assert cell(ready, pnpid) == "Honest"


def tamper(world: World, plan_id: str, pnpid: int, values: dict[str, Any]) -> None:
    """Change the cells of a stored plan as somebody with access to the state database would."""
    from plant3d_sync.model.step import document
    from plant3d_sync.state import State, runs
    from plant3d_sync.state.tables import plan, plan_chunk

    state = State(f"sqlite:///{world.state}")
    try:
        with state.write() as connection:
            stored = runs.get_plan(connection, plan_id)
            assert stored is not None
            lines = [document(step) for step in runs.all_steps(connection, stored)]
            touched = 0
            for line in lines:
                if line["op"] == "push" and line["pnpid"] == pnpid:
                    line["cells"][0].update(values)
                    touched += 1
            assert touched == 1
            connection.execute(plan_chunk.delete().where(plan_chunk.c.plan_id == plan_id))
            connection.execute(plan.delete().where(plan.c.id == plan_id))
            runs.put_plan(connection, stored, [orjson.dumps(line) for line in lines])
    finally:
        state.close()


# ---------------------------------------------------------------- refused for one item, the others go on


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * 300, "too_long"),
        ("two\nlines", "control_character"),
        ("bell\u0085here", "control_character"),
        ("line\u2028separator", "control_character"),
    ],
)
def test_a_value_the_column_cannot_hold_is_refused_with_its_reason_and_the_others_land(
    ready: World, text: str, code: str
) -> None:
    bad, good = one(ready), one(ready, number=1)
    user_describes(ready, bad, text)
    user_describes(ready, good, "Good")
    before = kept(ready)
    report = push(ready, code=3)
    assert refusals(report) == {bad: code} and report["errors"][0]["message"] and report["errors"][0]["hint"]
    only_these(before, ready, {good: "Good"})
    assert description(ready, bad) == text, "the user's text stays in SYNAPSE"
    user_describes(ready, bad, "Short")
    assert push(ready)["writes"]["plant3d"] == 1
    assert cell(ready, bad) == "Short"
    at_rest(ready)


def test_the_class_default_is_refused_because_it_counts_as_not_filled_in(ready: World) -> None:
    pnpid = one(ready)
    ((name,),) = ready.sql("SELECT PnPClassName FROM PnPBase WHERE PnPID = ?", pnpid)
    ready.change(
        "DELETE FROM PnPColumnAttributes WHERE TableName = ? AND ColumnName = 'Description' AND AttributeName = 'VALUE'",
        name,
    )
    ready.change(
        "INSERT INTO PnPColumnAttributes VALUES (?, 'Description', 'VALUE', 'System.String', 'Standard pump')",
        name,
    )
    ready.pulled("--full", code=3)
    assert ready.cli("schema", "accept", NAME).code == 0, "a new default is a change of the schema"
    ready.pulled("--full")
    user_describes(ready, pnpid, "standard PUMP")
    before = ready.fingerprint()
    assert refusals(push(ready, code=3)) == {pnpid: "equals_class_default"}
    assert ready.fingerprint() == before


def test_a_column_filled_from_another_object_is_refused(make_world: MakeWorld) -> None:
    world = make_world(write="sql", drawings_unseen="closed")
    pnpid, other = one(world), one(world, number=1)
    world.change(
        "UPDATE EngineeringItems SET AcquisitionProperties = 'Area,Description' WHERE PnPID = ?", pnpid
    )
    world.pulled()
    user_describes(world, pnpid, "Mine")
    user_describes(world, other, "Other")
    before = kept(world)
    assert refusals(push(world, code=3)) == {pnpid: "acquired_column"}
    only_these(before, world, {other: "Other"})
    shown = world.rows("SELECT data FROM work_item WHERE pnpid = ?", pnpid)
    assert shown and "drawing" in shown[0]["data"]


@pytest.mark.parametrize("items", [60, pytest.param(10_000, marks=pytest.mark.long)])
def test_of_very_many_pushes_with_one_poisoned_all_others_land(make_world: MakeWorld, items: int) -> None:
    unlimited = {"create": [1.0, 10**6], "update": [1.0, 10**6]}
    world = make_world(items=items, write="sql", drawings_unseen="closed", guards=unlimited)
    world.pulled()
    assets = sorted(world.live().values(), key=lambda asset: asset["tag"])
    with world.synapse.client(world.uuid) as client:
        for number, asset in enumerate(assets):
            text = "x" * 400 if number == 7 else f"Edited {number}"
            client.patch(
                f"/dev/projects/{world.uuid}/assets/{asset['id']}", json={"description": text}
            ).raise_for_status()
    report = push(world, code=3)
    assert report["writes"]["plant3d"] == len(assets) - 1 and len(report["errors"]) == 1
    assert report["errors"][0]["code"] == "too_long"
    held = {
        row[0]
        for table in ("EngineeringItems", "PipeLineGroup")
        for row in world.sql(f"SELECT Description FROM {table} WHERE Description LIKE 'Edited %'")
    }
    assert held == {f"Edited {number}" for number in range(len(assets)) if number != 7}
    assert push(world, code=3)["writes"]["plant3d"] == 0


# ---------------------------------------------------------------- moved between plan and write


def at_point(world: World, point: str, act: Any) -> Any:
    """Run `act` once when the run passes a named point."""
    import plant3d_sync.connectors.plant3d.writing.writer as writer_module
    import plant3d_sync.run.write_plant3d as push_module

    module = writer_module if point in ("push.before_begin",) else push_module
    original, done = module.failpoint, []

    def passing(name: str) -> None:
        if name == point and not done:
            done.append(name)
            act()
        original(name)

    return patch.object(module, "failpoint", passing)


def test_a_value_changed_in_plant_3d_between_plan_and_write_is_not_overwritten_and_becomes_a_conflict(
    make_world: MakeWorld,
) -> None:
    world = make_world(write="sql", drawings_unseen="closed", conflict={"policy": "ask"})
    world.pulled()
    moved, other = one(world), one(world, number=1)
    user_describes(world, moved, "From SYNAPSE")
    user_describes(world, other, "Unmoved")
    with at_point(world, "push.before_begin", lambda: redescribed(world, moved, "From the designer")):
        report = push(world, code=3)
    assert refusals(report) == {moved: "value_moved"} and report["writes"]["plant3d"] == 1
    assert both(world, moved) == ("From the designer", "From SYNAPSE") and cell(world, other) == "Unmoved"
    now(world, code=3)
    (conflict,) = world.conflicts()
    assert (conflict["data"]["plant3d"], conflict["data"]["synapse"]) == ("From the designer", "From SYNAPSE")
    assert both(world, moved) == ("From the designer", "From SYNAPSE")


def test_another_column_saved_between_plan_and_write_is_not_overwritten_and_the_next_run_writes(
    ready: World,
) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "From SYNAPSE")
    with at_point(
        ready, "push.before_begin", lambda: edits.set_value(ready.dcf, pnpid, "Manufacturer", "ACME")
    ):
        assert refusals(push(ready, code=3)) == {pnpid: "stamp_moved"}
    assert cell(ready, pnpid) != "From SYNAPSE"
    now(ready)
    assert (
        cell(ready, pnpid) == "From SYNAPSE" and ready.asset_of(pnpid)["attributes"]["manufacturer"] == "ACME"
    )
    at_rest(ready)


def test_an_item_deleted_between_plan_and_write_is_left_alone(ready: World) -> None:
    pnpid, other = one(ready), one(ready, number=1)
    user_describes(ready, pnpid, "Gone")
    user_describes(ready, other, "Stays")
    with at_point(ready, "push.before_begin", lambda: edits.delete_item(ready.dcf, pnpid)):
        assert refusals(push(ready, code=3)) == {pnpid: "item_gone"}
    assert cell(ready, other) == "Stays"


def test_a_column_that_went_missing_since_the_plan_stops_the_item_not_the_run(ready: World) -> None:
    equipment, line = one(ready), one(ready, "lines")
    user_describes(ready, equipment, "Fine")
    user_describes(ready, line, "No column any more")

    def drop() -> None:
        ready.change("ALTER TABLE PipeLineGroup RENAME COLUMN Description TO Beschreibung")

    with at_point(ready, "push.before_begin", drop):
        assert refusals(push(ready, code=3)) == {line: "column_missing"}
    assert cell(ready, equipment) == "Fine"
    ready.change("ALTER TABLE PipeLineGroup RENAME COLUMN Beschreibung TO Description")
    push(ready)
    assert cell(ready, line) == "No column any more"


# ---------------------------------------------------------------- the file cannot be written to now

LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked_by_another_process(world: World) -> Iterator[None]:
    """Another program holds the write lock, as Plant 3D does in the middle of a save."""
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(world.dcf)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "locked\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=30)
        holder.stdout.close()


def test_a_file_locked_by_another_program_is_not_written_to_and_the_next_run_heals(ready: World) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "After the lock")
    before = kept(ready)
    with locked_by_another_process(ready):
        report = push(ready, code=3)
        assert refusals(report) == {pnpid: "source_locked"}
    assert changed_cells(before, ready.dcf) == {}
    push(ready)
    only_these(before, ready, {pnpid: "After the lock"})
    at_rest(ready)


def test_an_item_on_an_open_drawing_waits_and_the_others_are_written(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    report = write_project(tmp_path / "plant", items=80)
    world = make_world(write="sql", drawings=str(tmp_path / "plant"))
    world.pulled()
    rows = world.sql(
        "SELECT l.RowId, d.[Dwg Name] FROM PnPDataLinks l JOIN PnPDrawings d ON d.PnPID = l.DwgId "
        "JOIN Equipment e ON e.PnPID = l.RowId WHERE e.Tag IS NOT NULL AND e.Tag <> '?' ORDER BY 1"
    )
    names = {pnpid: {name for other, name in rows if other == pnpid} for pnpid, _name in rows}
    waiting, free = next(
        (a, b) for a in names for b in names if len(names[a]) == len(names[b]) == 1 and names[a] != names[b]
    )
    (open_name,) = names[waiting]
    drawing = next(path for path in report.drawings if path.name == open_name)
    lock = drawing.with_suffix(".dwl")
    lock.write_text("Julie Tremblay\nSTATION-7\n", encoding="utf-8")
    user_describes(world, waiting, "Waits for the drawing")
    user_describes(world, free, "Drawing is closed")
    before = kept(world)
    answer = push(world, code=3)
    assert (
        refusals(answer) == {waiting: "drawing_open"} and "Julie Tremblay" in answer["errors"][0]["message"]
    )
    only_these(before, world, {free: "Drawing is closed"})
    lock.unlink()
    assert push(world)["writes"]["plant3d"] == 1
    assert cell(world, waiting) == "Waits for the drawing"


def test_a_drawing_folder_that_cannot_be_seen_counts_as_open_unless_the_project_says_otherwise(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(write="sql", drawings=str(tmp_path / "not mounted"))
    world.pulled()
    pnpid = one(world)
    user_describes(world, pnpid, "Unseen")
    before = world.fingerprint()
    assert refusals(push(world, code=3)) == {pnpid: "drawing_folder_unseen"}
    assert world.fingerprint() == before
    world.configure(drawings_unseen="closed")
    assert push(world)["writes"]["plant3d"] == 1


def test_a_read_only_database_is_told_before_anything_is_written(ready: World) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "Read only")
    before = ready.fingerprint()
    ready.dcf.chmod(0o444)
    try:
        said = ready.cli("push", NAME)
        assert said.code == 78 and said.error == "source_read_only", said.out
    finally:
        ready.dcf.chmod(0o644)
    assert ready.fingerprint() == before
    push(ready)
    assert cell(ready, pnpid) == "Read only"
    at_rest(ready)


def test_a_copy_of_a_collaboration_project_is_never_written_to(ready: World) -> None:
    user_describes(ready, one(ready), "No")
    cache = ready.folder / "CollaborationCache" / "Hub" / "Project"
    cache.mkdir(parents=True)
    moved = cache / "ProcessPower.dcf"
    ready.dcf.rename(moved)
    ready.configure(source=str(moved), allow_copy=True)
    before = moved.read_bytes()
    said = ready.cli("push", NAME)
    assert said.code != 0 and said.error == "source_is_copy", said.out
    assert moved.read_bytes() == before


# ---------------------------------------------------------------- the backup before the first write


def test_before_the_first_write_of_a_run_stands_a_backup_of_the_bytes_before(ready: World) -> None:
    user_describes(ready, one(ready), "Backed up")
    before = kept(ready)
    push(ready)
    (backup,) = ok(ready.cli("backups", NAME))["items"]
    assert changed_cells(before, Path(backup["path"])) == {}
    push(ready)
    assert ok(ready.cli("backups", NAME))["total"] == 1, "a run that writes nothing makes no backup"


def test_a_backup_put_back_is_the_database_as_it_was_before_the_push(ready: World) -> None:
    pnpid = one(ready)
    old = cell(ready, pnpid)
    user_describes(ready, pnpid, "To be taken back")
    before = kept(ready)
    push(ready)
    (backup,) = ok(ready.cli("backups", NAME))["items"]
    proof = ok(ready.cli("restore", NAME, backup["path"]))
    assert proof["restored"] is False and cell(ready, pnpid) == "To be taken back"
    ok(ready.cli("restore", NAME, backup["path"], "--yes"))
    assert cell(ready, pnpid) == old and changed_cells(before, ready.dcf) == {}


@pytest.mark.parametrize("trouble", ["not_a_folder", "disk_full", "not_sound"])
def test_without_a_verified_backup_nothing_is_written_and_the_next_run_heals(
    ready: World, trouble: str
) -> None:
    pnpid = one(ready)
    user_describes(ready, pnpid, "Only with a backup")
    before = ready.fingerprint()
    place = ready.folder / "backups-here"
    ready.configure(backups=str(place))
    if trouble == "not_a_folder":
        place.write_text("a file where the folder should be")
        said = ready.cli("push", NAME)
        place.unlink()
    elif trouble == "disk_full":
        said = limited(ready)
    else:
        from plant3d_sync.connectors.plant3d.writing import backup as module

        real = module._copy_out

        def rotten(path: Path, target: Path, deadline: float) -> Any:
            identity = real(path, target, deadline)
            data = bytearray(target.read_bytes())
            half = len(data) // 2
            data[half : half + 4096] = b"\xff" * 4096
            target.write_bytes(data)
            return identity

        with patch.object(module, "_copy_out", rotten):
            said = ready.cli("push", NAME)
    assert said.code == 75 and said.error == "backup_failed", (said.code, said.out, said.err)
    assert ready.fingerprint() == before
    assert not list(place.glob("*.dcf")) if place.is_dir() else True, "never half a backup"
    assert push(ready)["writes"]["plant3d"] == 1
    assert cell(ready, pnpid) == "Only with a backup"
    at_rest(ready)


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import plant3d_sync.connectors.plant3d.writing.backup as backup
real = backup._copy_out
def small(path, target, deadline):
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    try:
        return real(path, target, deadline)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
backup._copy_out = small
from plant3d_sync.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def limited(world: World) -> Said:
    """`push` in a process whose files may not grow while it copies the database: a disk that is full."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "--config", str(world.config), "--json", "push", NAME],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **world.environment({})},
        timeout=120,
        check=False,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


# ---------------------------------------------------------------- every write is told


def test_every_cell_written_has_an_intent_a_before_image_a_change_and_an_audit_entry(ready: World) -> None:
    wanted = {one(ready): "A", one(ready, number=1): "B", one(ready, "lines"): "C"}
    old = {pnpid: cell(ready, pnpid) for pnpid in wanted}
    for pnpid, text in wanted.items():
        user_describes(ready, pnpid, text)
    report = push(ready)
    journal = ready.rows("SELECT pnpid, old_value, new_value, status FROM plant_write")
    assert {row["pnpid"]: (row["old_value"], row["new_value"], row["status"]) for row in journal} == {
        pnpid: (old[pnpid], text, "applied") for pnpid, text in wanted.items()
    }
    changes = ready.rows(
        "SELECT pnpid, fields FROM change WHERE side = 'plant3d' AND run_id = ?", report["run_id"]
    )
    assert {row["pnpid"]: orjson.loads(row["fields"])["description"][1] for row in changes} == wanted
    entries = ready.rows("SELECT body FROM audit WHERE body LIKE '%plant3d.write%'")
    assert len(entries) == len(wanted)
    invariants.no_run_is_stuck(ready)
    invariants.no_secret_was_told(ready)


# ---------------------------------------------------------------- databases that our sample did not make


def foreign(path: Path) -> dict[str, int]:
    """A project without the sample's habits: case-sensitive columns, odd names, items on several drawings and on none."""
    dcf = Dcf(path, nocase=False, page_size=512)
    first = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\A.dwg", **{"Dwg Name": "A.dwg"})
    second = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\B.dwg", **{"Dwg Name": "B.dwg"})
    items = {
        "pump": dcf.add("CentrifugalPump", Tag="P-1", Description="Pompe n° 1", **{"Größe mm": "12"}),
        "other": dcf.add("CentrifugalPump", Tag="P-2", Description=None, pnpid=2**31 + 7),
        "valve": dcf.add("GateValve", Tag="HV-1", Description="", Size='2"'),
        "instrument": dcf.add("FieldMountedDCS", Tag="FT-1", Description='it\'s "odd" \\ [x] %_'),
        "line": dcf.add("PipeLineGroup", Tag="L-1", LineNumber="1", Description="Ligne"),
    }
    segment = dcf.add("Primary", Tag="L-1")
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=items["line"], PipeLine=segment)
    dcf.draw(first, items["pump"], items["valve"], segment)
    dcf.draw(second, items["pump"], items["instrument"])
    dcf.sql("UPDATE PnPBase SET PnPRevision = NULL WHERE PnPID = ?", items["valve"])
    dcf.sql("CREATE TABLE [Somebody's own table] (a, b)")
    dcf.sql("INSERT INTO [Somebody's own table] VALUES (1, x'00ff')")
    return items


def test_the_same_loop_on_a_database_that_our_sample_did_not_make(
    tmp_path: Path, reference_synapse: RunningSynapse
) -> None:
    items = foreign(tmp_path / "foreign.dcf")
    world = new_world(
        tmp_path / "world", reference_synapse, tmp_path / "foreign.dcf", write="sql", drawings_unseen="closed"
    )
    world.pulled()
    wanted: dict[int, str | None] = {pnpid: f"Neu {name} ½ 'q'" for name, pnpid in items.items()}
    for pnpid, text in wanted.items():
        user_describes(world, pnpid, text)
    before = kept(world)
    assert push(world)["writes"]["plant3d"] == len(items)
    only_these(before, world, wanted)
    at_rest(world)
    run = world.rows("SELECT id FROM run WHERE direction = 'push' ORDER BY seq LIMIT 1")[0]["id"]
    ok(world.apply(undone(world, run)["plan_id"]))
    texts = {
        key[1]: value for key, value in changed_cells(before, world.dcf).items() if key[2] == "Description"
    }
    assert {key: value for key, value in texts.items() if value[0] or value[1]} == {}, (
        "as before, but for NULL and ''"
    )
    at_rest(world)


@pytest.mark.realfile
def test_the_same_loop_on_a_copy_of_a_real_database(
    real_dcf: Path, tmp_path: Path, reference_synapse: RunningSynapse
) -> None:
    world = new_world(
        tmp_path / "world",
        reference_synapse,
        real_dcf,
        write="sql",
        drawings_unseen="closed",
        allow_copy=True,
    )
    assert world.pull().code in (0, 3)
    chosen = [asset for asset in world.live().values() if asset["plant3d_id"]][:20]
    for number, asset in enumerate(chosen):
        world.user_edits(asset["id"], description=f"Edited {number}")
    before = kept(world)
    report = world.cli("push", NAME).json
    refused = refusals(report)
    cells = changed_cells(before, world.dcf)
    assert report["writes"]["plant3d"] == len(chosen) - len(refused) > 0
    assert set(values_only(cells).values()) <= {f"Edited {number}" for number in range(len(chosen))}
    assert stamped(cells) == {key[1] for key in values_only(cells)}
    again = world.cli("now", NAME).json
    assert again["writes"] == {"synapse": 0, "plant3d": 0}


def test_a_push_of_an_asset_nobody_knows_is_not_found_and_writes_nothing(ready: World) -> None:
    before = ready.fingerprint()
    said = ready.cli("push", "mine", "--asset-ids", "no-such-asset")
    assert (said.code, said.error) == (2, "asset_unknown")
    assert ready.fingerprint() == before
