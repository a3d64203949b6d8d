"""How much arrives is one number: the run, `doctor`, the status and the metrics say the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from plant3d_sync.sample import edits
from tests.acceptance.test_schema_steps import doctor, served
from tests.support.world import NAME, World


def tags_are_lost(world: World) -> None:
    for item in world.items("instruments")[:12]:
        edits.rename_tag(world.dcf, item.pnpid, "?")


def a_tag_is_shared(world: World) -> None:
    first, second = world.items("valves")[:2]
    world.change("UPDATE HandValves SET Tag = ? WHERE PnPID = ?", first.tag, second.pnpid)


def an_asset_that_is_not_linked_has_the_tag(world: World) -> None:
    world.user_adds(tag="NEW-1", asset_type="Valve")
    edits.rename_tag(world.dcf, world.items("valves")[0].pnpid, "NEW-1")


def a_value_is_refused_and_left_alone(world: World) -> None:
    item = world.items("equipment")[0]
    edits.set_value(world.dcf, item.pnpid, "Description", "d" * 4001)
    world.pulled(code=3)
    (row,) = world.cli("quarantine", "list", NAME).json["items"]
    world.cli("quarantine", "ignore", NAME, str(row["id"]), "--reason", "agreed")


def an_item_is_gone(world: World) -> None:
    edits.delete_item(world.dcf, world.items("equipment")[0].pnpid)


def told(covered: Mapping[str, Any]) -> str:
    share = f"{int(covered['share'] * 100)} %"
    rest = ", ".join(f"{code} {count}" for code, count in covered["reasons"].items())
    return f"{covered['handed_over']} of {covered['whole']} ({share})" + (
        f"; the rest: {rest}" if rest else ""
    )


@pytest.mark.parametrize(
    "happens",
    [
        tags_are_lost,
        a_tag_is_shared,
        an_asset_that_is_not_linked_has_the_tag,
        a_value_is_refused_and_left_alone,
        an_item_is_gone,
    ],
)
def test_doctor_counts_as_the_run_does(settled: World, happens: Callable[[World], None]) -> None:
    happens(settled)
    covered = settled.pull().json["coverage"]
    assert doctor(settled)["coverage"]["message"] == f"this mapping brings {told(covered)}"
    if happens is not tags_are_lost:
        return
    assert covered["handed_over"] == covered["whole"], "what was handed over once and lost its tag still is"
    with served(settled) as client:
        status = client.get("/api/v1/sync/status", params={"project_id": NAME}).json()
        metrics = client.get("/metrics").text
    assert status["coverage"]["handed_over"] == covered["handed_over"]
    assert set(re.findall(r"^plant3d_sync_coverage_ratio\{.*\} (.*)$", metrics, re.MULTILINE)) == {"1.0"}


def test_doctor_counts_without_synapse_and_without_a_state(settled: World) -> None:
    covered = settled.pulled()["coverage"]
    settled.url = "http://127.0.0.1:9"
    settled.configure()
    assert doctor(settled)["coverage"]["message"].endswith(told(covered))
    settled.state.write_bytes(b"no database" * 100)
    assert "brings" in doctor(settled)["coverage"]["message"]
