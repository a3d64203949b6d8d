"""What a run answers is about this run: its own counts, its own reason, what waits for the workbook."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import ok, push, small_worlds, user_describes
from tests.support.world import NAME, MakeWorld


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


def test_a_push_with_nothing_to_do_does_not_report_the_counts_of_the_pull(make_small: MakeWorld) -> None:
    world = make_small(write="workbook")
    world.pulled()
    push(world)
    report = push(world)
    assert report["unchanged_source"] is True
    assert (report["stats"]["total"], report["stats"]["unchanged"], report["by_entity"]) == (0, 0, {})
    assert report["push_stats"] == {**report["push_stats"], "total": 0}
    assert "pull_stats" not in report
    both = ok(world.cli("now", NAME))
    assert both["pull_stats"]["total"] > 0 and both["push_stats"]["total"] == 0


def test_a_preview_of_a_push_tells_what_the_workbook_would_hold(make_small: MakeWorld) -> None:
    world = make_small(write="workbook")
    world.pulled()
    for item in world.items("equipment")[:3]:
        user_describes(world, item.pnpid, f"Text {item.pnpid}")
    preview = ok(world.cli("push", NAME, "--dry-run"))
    assert preview["planned_writes"]["plant3d"] == 0 and preview["for_workbook"] == 3
    made = ok(world.cli("workbook", NAME, "-o", str(world.folder / "out.xlsx")))
    assert made["written"] == 3


def test_a_plan_says_which_of_its_grounds_moved(make_small: MakeWorld) -> None:
    world = make_small(write="workbook")
    world.pulled()
    user_describes(world, world.items("equipment")[0].pnpid, "From SYNAPSE")
    plan = ok(world.cli("plan", NAME))["plan_id"]
    world.configure(write="off")
    refused = world.cli("apply", plan)
    assert refused.error == "plan_stale"
    message = refused.json["error"]["message"]
    assert "setting of the project" in message and "mapping" not in message
    world.configure(write="workbook", mapping=["stock", "mine.yml"])
    (world.folder / "mine.yml").write_text("version: 1\n", encoding="utf-8")
    refused = world.cli("apply", plan)
    assert "The mapping changed" in refused.json["error"]["message"]
