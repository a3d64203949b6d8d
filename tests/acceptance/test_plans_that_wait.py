"""Plans that wait for somebody: which ones, and how they end without being applied."""

from __future__ import annotations

from tests.acceptance.test_schema_steps import served
from tests.support.world import NAME, World


def waiting(world: World) -> list[str]:
    return [plan["plan_id"] for plan in world.cli("runs", NAME).json["plans"]]


def planned(world: World) -> str:
    plan_id: str = world.pulled("--dry-run")["plan_id"]
    assert plan_id in waiting(world)
    return plan_id


def test_a_plan_whose_work_a_later_run_did_waits_for_nobody(world: World) -> None:
    plan_id = planned(world)
    world.pulled()
    assert waiting(world) == []
    shown = world.cli("show", plan_id).json
    assert (shown["status"], shown["settled"]["why"]) == ("superseded", "decided_anew")
    refused = world.apply(plan_id)
    assert (refused.code, refused.error) == (
        3,
        "plan_superseded",
    ) and "decided everything anew" in refused.out


def test_a_plan_of_both_directions_is_over_once_a_pull_did_all_of_it(settled: World) -> None:
    settled.change("UPDATE EngineeringItems SET Manufacturer = 'KSB'")
    plan_id: str = settled.cli("plan", NAME).json["plan_id"]
    settled.pulled()
    assert waiting(settled) == []
    assert settled.cli("show", plan_id).json["settled"]["why"] == "decided_anew"


def test_a_plan_of_both_directions_waits_on_after_a_pull_if_it_pushes(settled: World) -> None:
    settled.configure(write="sql", drawings_unseen="closed")
    asset = settled.asset_of(settled.items("equipment")[0].pnpid)
    settled.user_edits(asset["id"], description="Typed in SYNAPSE")
    plan_id: str = settled.cli("plan", NAME).json["plan_id"]
    settled.pulled("--full")
    assert waiting(settled) == [plan_id]
    assert settled.cli("push", NAME).code == 0
    assert waiting(settled) == []


def test_a_plan_made_under_another_mapping_has_expired(settled: World) -> None:
    settled.change("UPDATE EngineeringItems SET Manufacturer = 'KSB'")
    plan_id = planned(settled)
    mapping = settled.folder / "mine.yml"
    mapping.write_text(
        "version: 1\nextends: stock\nclasses: {Equipment: {fields: {attributes.area: null}}}\n"
    )
    settled.configure(mapping=[str(mapping)])
    settled.pulled()
    assert settled.cli("show", plan_id).json["status"] == "expired" and waiting(settled) == []
    assert settled.apply(plan_id).error == "plan_expired"


def test_what_waits_for_a_person_goes_on_waiting(settled: World) -> None:
    settled.configure(missing={"reads": 1, "minutes": 0})
    pump = settled.items("equipment")[0]
    settled.change("DELETE FROM PnPBase WHERE PnPID = ?", pump.pnpid)
    settled.pulled()
    plan_id = planned(settled)
    settled.pulled("--full")
    assert waiting(settled) == [plan_id]
    assert settled.apply(plan_id).code == 0
    assert waiting(settled) == []


def test_a_plan_can_be_discarded(world: World) -> None:
    plan_id, other = planned(world), planned(world)
    done = world.cli("discard", plan_id)
    assert done.code == 0 and done.json["status"] == "superseded"
    assert waiting(world) == [other]
    assert world.cli("discard", plan_id).error == "plan_begun"
    assert world.cli("discard", "nothing").code == 2
    assert world.apply(plan_id).error == "plan_superseded"
    with served(world) as client:
        answer = client.post(f"/api/v1/plans/{other}/discard")
        assert answer.status_code == 200 and answer.json()["settled"]["why"] == "discarded"
    assert waiting(world) == []
    assert world.pulled()["stats"]["created"] > 0, "the next run decides anew"


def test_steps_that_only_remember_are_counted_apart_where_plans_are_listed_and_shown(settled: World) -> None:
    settled.change("UPDATE EngineeringItems SET Comment = 'no field of an asset'")
    plan_id: str = settled.cli("push", NAME, "--dry-run").json["plan_id"]
    [listed] = settled.cli("runs", NAME).json["plans"]
    shown = settled.cli("show", plan_id)
    assert (
        listed["lines"] == listed["remembered"] == shown.json["remembered"] > 1 and shown.json["lines"] == []
    )
    said = settled.cli("show", plan_id, as_json=False).out
    assert f"{listed['lines']} steps write nothing: they only update what is remembered." in said
    with served(settled) as client:
        answer = client.get(f"/api/v1/plans/{plan_id}").json()
    assert (answer["lines_total"], answer["remembered"]) == (listed["lines"], listed["lines"])
    settled.cli("discard", plan_id)
    assert settled.cli("show", plan_id).json["settled"]["left"] == 0, "nothing of it was to be written"
