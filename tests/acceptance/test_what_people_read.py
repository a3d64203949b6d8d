"""What the commands tell people: where skipped items are, what waits for a decision, and what to do next."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from plant3d_sync.cli.main import run
from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import ok, planned, redescribed, retagged, small_worlds, user_describes
from tests.support.world import NAME, MakeWorld, World


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def ready(make_small: MakeWorld) -> World:
    """A small project after its first pull; after two reads an absence needs a person."""
    world = make_small(missing={"reads": 2, "minutes": 0})
    world.pulled()
    return world


def text(world: World, *words: str) -> str:
    """What a command prints for people."""
    out = io.StringIO()
    with patch.dict(os.environ, world.environment({})), contextlib.redirect_stdout(out):
        run(["--config", str(world.config), *words])
    return out.getvalue()


def line_with(said: str, *parts: str) -> str:
    """The one line that holds all of these."""
    (found,) = [line for line in said.splitlines() if all(part in line for part in parts)]
    return found


# ---------------------------------------------------------------- findings


def test_skipped_items_are_found_by_the_command_that_the_run_names(make_small: MakeWorld) -> None:
    world = make_small()
    one, two, three = world.items("equipment")[:3]
    retagged(world, one.pnpid, "P-?")
    retagged(world, three.pnpid, str(two.tag))
    assert "Findings: 3 (duplicate_tag 2, untagged 1); plant3d-sync findings mine" in text(
        world, "pull", NAME, "--dry-run"
    )
    assert ok(world.cli("findings", NAME)) == {
        "findings": [],
        "total": 0,
        "groups": [],
        "acknowledged": 0,
    }, "a plan stores none"
    report = world.pulled()
    assert "plant3d-sync findings mine" in line_with(text(world, "show", report["run_id"]), "Findings: 3")
    found = ok(world.cli("findings", NAME))
    assert (len(found["findings"]), found["total"]) == (3, 3)
    (untagged,) = ok(world.cli("findings", NAME, "--code", "untagged"))["findings"]
    assert (untagged["code"], untagged["tag"], untagged["pnpid"]) == ("untagged", "P-?", one.pnpid)
    assert untagged["class"] == "CentrifugalPump" and untagged["first_seen"].endswith("Z")
    limited = ok(world.cli("findings", NAME, "--limit", "1"))
    assert (len(limited["findings"]), limited["total"]) == (1, 3)
    said = text(world, "findings", NAME)
    assert untagged["message"] in line_with(said, "untagged", "P-?", f"PnPID {one.pnpid}")
    assert f"  what to do: {untagged['hint']}" in said.splitlines()
    assert said.splitlines()[-1] == "Findings: 3 (duplicate_tag 2, untagged 1)."


def test_assets_that_wait_to_be_linked_are_shown_with_the_command_that_proposes_links(
    make_small: MakeWorld,
) -> None:
    world = make_small()
    world.user_adds(tag=world.items("equipment")[0].tag, asset_type="Equipment")
    assert "plant3d-sync links propose mine" in text(world, "pull", NAME)
    assert "plant3d-sync links propose mine" in text(world, "findings", NAME)


def test_a_lost_tag_is_told_with_both_tags(ready: World) -> None:
    item = ready.items("valves")[0]
    retagged(ready, item.pnpid, "HV-??")
    ready.pulled()
    said = text(ready, "findings", NAME, "--code", "tag_lost")
    assert f"the tag is HV-?? now; SYNAPSE keeps {item.tag}." in said


# ---------------------------------------------------------------- what waits for a person


def test_what_only_a_person_carries_out_is_told_before_it_is_done(ready: World) -> None:
    gone = ready.items("valves")[0]
    tag = str(gone.tag)
    edits.delete_item(ready.dcf, gone.pnpid)
    first = text(ready, "pull", NAME)
    assert "Missing from Plant 3D: 1" in first.splitlines()
    run_id = line_with(first, "Run id: ").partition(": ")[2]
    shown = line_with(text(ready, "show", run_id), "missing ", tag, "1 of 2 reads")
    assert "looked for again" in shown
    second = text(ready, "pull", NAME)
    assert (
        "Missing from Plant 3D: 1 (1 waits for a person: plant3d-sync plan mine, then apply)"
        in second.splitlines()
    )
    run_id = line_with(second, "Run id: ").partition(": ")[2]
    assert "pending" in line_with(text(ready, "show", run_id), "archive ", tag, "2 of 2 reads")
    document = planned(ready, "--direction", "pull")
    plan = document["plan_id"]
    assert document["waiting_for_person"] == {"archive": 1}
    assert ok(ready.cli("show", plan))["waiting_for_person"] == {"archive": 1}
    preview = text(ready, "pull", NAME, "--dry-run")
    assert "carries it out" in line_with(
        preview, "1 step waits for a person (archive 1): plant3d-sync apply "
    )
    said = text(ready, "show", plan)
    assert f"1 step waits for a person (archive 1): plant3d-sync apply {plan} carries it out" in said
    assert "only when a person applies the plan" in line_with(said, "archive ", tag, "3 reads, 2 needed")
    applied = ok(ready.apply(plan))
    assert (applied["stats"]["archived"], applied["waiting_for_person"]) == (1, {})
    assert ok(ready.cli("show", plan))["waiting_for_person"] == {}


def test_the_plan_of_an_unattended_run_says_how_to_carry_out_what_it_left(ready: World) -> None:
    edits.delete_item(ready.dcf, ready.items("valves")[0].pnpid)
    ready.pulled()
    report = ready.pulled()
    assert report["waiting_for_person"] == {"archive": 1}
    assert (
        "1 step waits for a person (archive 1): this run left it; plant3d-sync plan mine, then apply."
        in text(ready, "show", report["plan_id"]).splitlines()
    )


def test_nothing_that_waits_is_told_too(ready: World) -> None:
    dry = ok(ready.cli("pull", NAME, "--dry-run"))
    assert dry["waiting_for_person"] == {} and ready.pulled()["waiting_for_person"] == {}
    assert ok(ready.cli("show", dry["plan_id"]))["waiting_for_person"] == {}
    assert "person" not in text(ready, "plan", NAME)


# ---------------------------------------------------------------- plans


def test_runs_name_their_plans_and_stored_plans_that_wait_are_listed(make_small: MakeWorld) -> None:
    world = make_small(guards={"update": [0.05, 3]})
    first = world.pulled()
    for item in world.items("equipment")[:9]:
        redescribed(world, item.pnpid, f"Mass {item.pnpid}")
    draft = planned(world, "--direction", "pull", code=5)["plan_id"]
    guarded = world.pulled(code=5)["plan_id"]
    redescribed(world, world.items("equipment")[9].pnpid, "One more")
    dry = ok(world.cli("pull", NAME, "--dry-run"), 5)["plan_id"]
    document = ok(world.cli("runs", NAME))
    assert [(one["plan_id"], one["status"]) for one in document["plans"]] == [
        (dry, "guarded"),
        (guarded, "guarded"),
        (draft, "guarded"),
    ]
    assert document["plans_total"] == 3 and document["plans"][0]["lines"] == 10
    said = text(world, "runs", NAME)
    assert first["plan_id"] in line_with(said, first["run_id"])
    assert "Plans that wait: 3" in said and "guarded" in line_with(said, dry, "pull")
    assert "Runs: 2." in said.splitlines()
    ok(world.apply(dry, "--approve-guards"))
    assert dry not in [one["plan_id"] for one in ok(world.cli("runs", NAME))["plans"]]


def test_a_plan_without_anything_for_plant_3d_does_not_speak_of_it(ready: World) -> None:
    assert "Into Plant 3D" not in text(ready, "push", NAME)
    pushed = "Into Plant 3D: "
    quiet = [line for line in text(ready, "plan", NAME).splitlines() if line.startswith(pushed)]
    assert [line for line in quiet if line == pushed.rstrip() or line == pushed] == []
    user_describes(ready, ready.items("equipment")[0].pnpid, "From a user")
    assert "updated 1" in line_with(text(ready, "plan", NAME), pushed)


# ---------------------------------------------------------------- the rest


def test_a_row_error_says_what_to_do(make_small: MakeWorld) -> None:
    world = make_small()
    world.change("UPDATE PnPBase SET PnPGuid = NULL WHERE PnPID = ?", world.items("equipment")[0].pnpid)
    report = world.pulled(code=3)
    hints = {f"      what to do: {error['hint']}" for error in report["errors"] if error["hint"]}
    assert hints
    assert hints <= set(text(world, "pull", NAME, "--full").splitlines())
    assert hints <= set(text(world, "show", report["run_id"]).splitlines())


def test_inspect_speaks_in_tables_to_people(make_world: MakeWorld) -> None:
    world = make_world(items=80, dirty=0.1)
    said = text(world, "inspect", str(world.dcf))
    assert "{'" not in said and "None" not in said
    document = ok(world.cli("inspect", str(world.dcf)))
    for entry in document["classes"]:
        line_with(said, f"{entry['class']}  ", f"  {entry['count']}")
    for entry in document["custom_columns"]:
        line_with(said, f"{entry['class']}  ", f"  {entry['column']}  ")
    for entry in document["findings"]:
        assert f"  {entry['code']}: {entry['count']}" in said.splitlines()
        assert entry["examples"][0]["message"] in said


def test_counts_are_told_without_bending_words(ready: World) -> None:
    assert "Conflicts: 0." in text(ready, "conflicts", NAME).splitlines()
