"""A stored plan: it writes nothing until it is applied, and then exactly what it says, as far as it still holds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plant3d_sync.sample import edits
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
    small_worlds,
    user_describes,
)
from tests.support.world import NAME, MakeWorld, Row, World


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def ready(make_small: MakeWorld) -> World:
    """A pulled project that may be written to."""
    world = make_small()
    world.pulled()
    return world


def edited_both_ways(world: World) -> tuple[int, int]:
    """One description edited in SYNAPSE and another in Plant 3D."""
    upwards, downwards = (item.pnpid for item in world.items("equipment")[:2])
    user_describes(world, upwards, "From SYNAPSE")
    redescribed(world, downwards, "From the designer")
    return upwards, downwards


def test_a_plan_of_both_directions_writes_nothing_and_apply_writes_exactly_it(ready: World) -> None:
    upwards, downwards = edited_both_ways(ready)
    before, writes = kept(ready), ready.writes()
    tables = ready.every_table(but=("plan", "plan_chunk", "audit", "audit_head"))
    plan = planned(ready)
    assert (plan["pull_stats"]["updated"], plan["push_stats"]["updated"]) == (1, 1)
    assert changed_cells(before, ready.dcf) == {} and ready.writes() == writes
    assert ready.every_table(but=("plan", "plan_chunk", "audit", "audit_head")) == tables
    late = ready.items("valves")[0].pnpid
    user_describes(ready, late, "Edited after the plan")
    report = ok(ready.apply(plan["plan_id"]))
    assert report["writes"] == {"synapse": 1, "plant3d": 1}
    only_these(before, ready, {upwards: "From SYNAPSE"})
    assert both(ready, downwards) == ("From the designer", "From the designer")
    assert cell(ready, late) != "Edited after the plan", "only what the plan says"
    now(ready)
    assert cell(ready, late) == "Edited after the plan"
    at_rest(ready)


@pytest.mark.parametrize("direction", ["pull", "push"])
def test_a_plan_of_one_direction_leaves_the_other_alone(ready: World, direction: str) -> None:
    upwards, downwards = edited_both_ways(ready)
    report = ok(ready.apply(planned(ready, "--direction", direction)["plan_id"]))
    expected = {"synapse": 1, "plant3d": 0} if direction == "pull" else {"synapse": 0, "plant3d": 1}
    assert report["writes"] == expected
    assert (cell(ready, upwards) == "From SYNAPSE") == (direction == "push")
    assert (description(ready, downwards) == "From the designer") == (direction == "pull")
    now(ready)
    at_rest(ready)


def test_lines_that_moved_since_the_plan_are_refused_and_the_rest_is_applied(ready: World) -> None:
    saved, retyped, recell, fine = (item.pnpid for item in ready.items("equipment")[:4])
    for pnpid in (saved, retyped, recell, fine):
        user_describes(ready, pnpid, f"Planned {pnpid}")
    plan = planned(ready)
    edits.set_value(ready.dcf, saved, "Manufacturer", "ACME")
    user_describes(ready, retyped, "Typed again")
    redescribed(ready, recell, "The designer was faster")
    before = kept(ready)
    report = ok(ready.apply(plan["plan_id"]), 3)
    assert refusals(report) == dict.fromkeys((saved, retyped, recell), "stale")
    assert report["writes"]["plant3d"] == 1
    only_these(before, ready, {fine: f"Planned {fine}"})
    assert description(ready, retyped) == "Typed again"
    now(ready, code=3)
    assert both(ready, recell) == ("The designer was faster", f"Planned {recell}"), (
        "both moved: that one is asked"
    )
    assert cell(ready, saved) == f"Planned {saved}" and cell(ready, retyped) == "Typed again"


def test_a_line_of_a_deleted_item_is_refused(ready: World) -> None:
    gone, fine = (item.pnpid for item in ready.items("equipment")[:2])
    user_describes(ready, gone, "Gone")
    user_describes(ready, fine, "Fine")
    plan = planned(ready)
    edits.delete_item(ready.dcf, gone)
    assert refusals(ok(ready.apply(plan["plan_id"]), 3)) == {gone: "stale"}
    assert cell(ready, fine) == "Fine"


def test_a_line_whose_asset_was_archived_since_is_refused(ready: World) -> None:
    gone, fine = (item.pnpid for item in ready.items("equipment")[:2])
    user_describes(ready, gone, "Gone")
    user_describes(ready, fine, "Fine")
    plan = planned(ready)
    old = cell(ready, gone)
    ready.user_edits(ready.asset_of(gone)["id"], deleted_at=True)
    assert refusals(ok(ready.apply(plan["plan_id"]), 3)) == {gone: "stale"}
    assert (cell(ready, gone), cell(ready, fine)) == (old, "Fine")


def test_a_plan_is_applied_once(ready: World) -> None:
    upwards, _ = edited_both_ways(ready)
    plan = planned(ready)
    ok(ready.apply(plan["plan_id"]))
    before, writes = ready.fingerprint(), ready.writes()
    again = ready.apply(plan["plan_id"])
    assert again.code == 3 and again.error == "plan_applied", again.out
    assert (ready.fingerprint(), ready.writes()) == (before, writes)


@pytest.mark.parametrize("direction", ["pull", "push", "both"])
def test_the_answer_to_a_plan_that_was_applied_already_names_the_plan_and_its_direction(
    ready: World, direction: str
) -> None:
    edited_both_ways(ready)
    plan_id = planned(ready, "--direction", direction)["plan_id"]
    ok(ready.apply(plan_id))
    again = ready.apply(plan_id)
    assert again.error == "plan_applied"
    assert (again.json["direction"], again.json["plan_id"]) == (direction, plan_id)


def test_a_plan_is_refused_after_the_mapping_changed(ready: World) -> None:
    upwards, downwards = edited_both_ways(ready)
    plan = planned(ready)
    mapping = ready.folder / "mine.yml"
    mapping.write_text("version: 1\n", encoding="utf-8")
    ready.configure(mapping=["stock", "mine.yml"])
    before, writes = ready.fingerprint(), ready.writes()
    refused = ready.apply(plan["plan_id"])
    assert refused.code == 3 and refused.error == "plan_stale", refused.out
    assert (ready.fingerprint(), ready.writes()) == (before, writes)
    ok(ready.apply(planned(ready)["plan_id"]))
    assert cell(ready, upwards) == "From SYNAPSE"


def test_a_plan_for_direct_writing_is_refused_once_writing_was_switched_off(ready: World) -> None:
    upwards, _ = edited_both_ways(ready)
    plan = planned(ready)
    ready.configure(write="off")
    before, writes = ready.fingerprint(), ready.writes()
    refused = ready.apply(plan["plan_id"])
    assert refused.code == 3 and refused.error == "plan_stale", refused.out
    assert (ready.fingerprint(), ready.writes()) == (before, writes)


def test_an_older_plan_does_not_undo_a_newer_one(ready: World) -> None:
    pnpid = ready.items("equipment")[0].pnpid
    user_describes(ready, pnpid, "First")
    older = planned(ready)["plan_id"]
    user_describes(ready, pnpid, "Second")
    newer = planned(ready)["plan_id"]
    ok(ready.apply(newer))
    assert both(ready, pnpid) == ("Second", "Second")
    ok(ready.apply(older), 3)
    assert both(ready, pnpid) == ("Second", "Second")
    at_rest(ready)


def test_a_run_that_a_guard_stopped_does_not_say_that_it_handed_anything_over(make_small: MakeWorld) -> None:
    world = make_small(guards={"update": [0.05, 3]})
    world.pulled()
    for item in world.items("equipment")[:9]:
        redescribed(world, item.pnpid, f"Mass {item.pnpid}")
    stopped = world.cli("pull", NAME, as_json=False)
    assert stopped.code == 5
    assert "Would hand over: " in stopped.out and "\nHanded over: " not in stopped.out


def test_a_run_that_a_guard_stopped_is_carried_out_when_a_person_approves_it(make_small: MakeWorld) -> None:
    world = make_small(guards={"update": [0.05, 3]})
    world.pulled()
    upwards, *many = (item.pnpid for item in world.items("equipment")[:9])
    user_describes(world, upwards, "From SYNAPSE")
    for pnpid in many:
        redescribed(world, pnpid, f"Mass {pnpid}")
    before, writes = kept(world), world.writes()
    stopped = now(world, code=5)
    assert [hit["name"] for hit in stopped["guards"]] == ["update"]
    assert changed_cells(before, world.dcf) == {} and world.writes() == writes, (
        "a guard stops both directions"
    )
    refused = world.apply(stopped["plan_id"])
    assert refused.code == 5 and refused.error == "guard"
    same = (
        "plan_id",
        "outcome",
        "stats",
        "by_entity",
        "push_stats",
        "writes",
        "guards",
        "errors",
        "planned_writes",
        "waiting_for_person",
    )
    assert {name: refused.json[name] for name in same} == {name: stopped[name] for name in same}
    assert refused.json["run_id"] is None, "no run was begun"
    assert changed_cells(before, world.dcf) == {} and world.writes() == writes
    report = ok(world.apply(stopped["plan_id"], "--approve-guards"))
    assert report["findings_by_code"] == {} and report["unchanged_source"] is False
    assert report["planned_writes"] == stopped["planned_writes"]
    assert report["writes"] == {"synapse": len(many), "plant3d": 1}
    only_these(before, world, {upwards: "From SYNAPSE"})
    at_rest(world)


def test_a_push_after_a_stopped_run_is_not_lost(make_small: MakeWorld) -> None:
    world = make_small(guards={"update": [0.05, 3]})
    world.pulled()
    upwards, *many = (item.pnpid for item in world.items("equipment")[:9])
    old = {pnpid: cell(world, pnpid) for pnpid in many}
    user_describes(world, upwards, "From SYNAPSE")
    for pnpid in many:
        redescribed(world, pnpid, f"Mass {pnpid}")
    now(world, code=5)
    for pnpid in many:
        redescribed(world, pnpid, old[pnpid])
    now(world)
    assert cell(world, upwards) == "From SYNAPSE"
    at_rest(world)
    assert push(world)["writes"] == {"synapse": 0, "plant3d": 0}


# ---------------------------------------------------------------- an application that ends half-way


def begun(world: World, *words: str, at: str, edits_made: int = 5) -> list[int]:
    """Edits of a designer in batches of two, written by a process that is killed at a named point."""
    pnpids = [item.pnpid for item in world.items("equipment")[:edits_made]]
    for pnpid in pnpids:
        redescribed(world, pnpid, f"New {pnpid}")
    world.env["SYNC_BATCH_SIZE"] = "2"
    words = words or ("apply", planned(world, "--direction", "pull")["plan_id"])
    said = world.apart(*words, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": at})
    assert said.code == -9, said.err
    return pnpids


def newest_plan(world: World) -> Row:
    (row,) = world.rows("SELECT id, status FROM plan ORDER BY created_at DESC LIMIT 1")
    return row


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
@pytest.mark.parametrize("at", ["pull.receipts_stored:1", "pull.reply_received:1"])
def test_a_plan_whose_application_was_killed_is_carried_on_by_applying_it_again(
    ready: World, at: str
) -> None:
    pnpids = begun(ready, at=at)
    plan = newest_plan(ready)
    assert plan["status"] == "applying"
    writes = ready.writes()
    report = ok(ready.apply(plan["id"]))
    assert ready.writes() - writes == len(pnpids) - 2, "nothing twice"
    assert (report["written_before"], report["errors"], report["outcome"]) == (2, [], "clean")
    assert report.get("found_applied", {}).get("synapse", 0) == (2 if "reply" in at else 0)
    assert {description(ready, pnpid) for pnpid in pnpids} == {f"New {pnpid}" for pnpid in pnpids}
    assert newest_plan(ready)["status"] == "applied"
    at_rest(ready)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
def test_the_next_run_settles_a_plan_whose_application_was_killed_and_says_what_is_left(ready: World) -> None:
    pnpids = begun(ready, at="pull.receipts_stored:1")
    plan = newest_plan(ready)["id"]
    run = now(ready)
    shown = ok(ready.cli("show", plan))
    assert shown["status"] == "superseded"
    settled = shown["settled"]
    assert (settled["run_id"], settled["written"], settled["left"]) == (run["run_id"], 2, 3)
    assert {line["pnpid"] for line in settled["left_lines"]} <= set(pnpids)
    assert {description(ready, pnpid) for pnpid in pnpids} == {f"New {pnpid}" for pnpid in pnpids}
    before, writes = ready.fingerprint(), ready.writes()
    again = ready.apply(plan)
    assert (again.code, again.error) == (3, "plan_superseded")
    assert "2 of its steps were written, 3 were not" in again.json["error"]["message"]
    assert (ready.fingerprint(), ready.writes()) == (before, writes)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
@pytest.mark.parametrize("words", [(), ("now", NAME)], ids=["by a person", "by a run"])
def test_a_plan_of_which_nothing_is_left_counts_as_applied(ready: World, words: tuple[str, ...]) -> None:
    begun(ready, *words, at="run.before_finish:1")
    plan = newest_plan(ready)["id"]
    now(ready)
    shown = ok(ready.cli("show", plan))
    assert (shown["status"], shown["settled"]["left"], shown["settled"]["written"]) == ("applied", 0, 5)
    assert ready.apply(plan).error == "plan_applied"
    assert ready.rows("SELECT id FROM plan WHERE status IN ('applying', 'approved')") == []


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
def test_a_plan_left_behind_is_settled_although_plant_3d_is_as_it_was_before_it(ready: World) -> None:
    """The designers put their file back: a run that finds everything as it was would not look at the plan."""
    ready.pulled()
    assert ready.pulled().get("unchanged_source")
    aside = shutil.copy2(ready.dcf, ready.folder / "aside.dcf")
    (pnpid,) = begun(ready, "pull", NAME, at="plan.stored:1", edits_made=1)
    plan = newest_plan(ready)
    assert plan["status"] == "approved"
    shutil.copy2(aside, ready.dcf)
    ready.pulled()
    settled = ok(ready.cli("show", plan["id"]))
    assert settled["status"] == "superseded"
    assert [line["pnpid"] for line in settled["settled"]["left_lines"]] == [pnpid]
