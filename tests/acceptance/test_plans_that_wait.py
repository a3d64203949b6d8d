"""Plans that wait for somebody: which ones, and how they end without being applied."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

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


def only_remembers(world: World) -> str:
    """A plan whose steps would write nothing anywhere."""
    world.change("UPDATE EngineeringItems SET Comment = 'no field of an asset'")
    plan_id: str = world.cli("push", NAME, "--dry-run").json["plan_id"]
    return plan_id


def waits_everywhere(world: World) -> dict[str, object]:
    """How many plans wait, as each place that counts or lists them says it."""
    counts = world.cli("runs", NAME).json
    listed = world.cli("waiting", NAME, "--kind", "plan").json
    with served(world) as client:
        at_api = client.get("/api/v1/waiting", params={"project_id": NAME, "kind": "plan"}).json()
        status = client.get(f"/api/v1/projects/{NAME}").json()
        metrics = client.get("/metrics").text
    found = re.findall(
        r'^plant3d_sync_(?:plan_pending\{project="mine"|waiting_for_person\{kind="plan",project="mine")\} (.*)$',
        metrics,
        re.MULTILINE,
    )
    return {
        "runs": (len(counts["plans"]), counts["plans_total"], counts["waiting"]["plan"]),
        "waiting": (listed["total"], listed["counts"]["plan"]),
        "api": (at_api["total"], status["waiting"]["plan"]),
        "metrics": sum(map(float, found)),
    }


def test_a_plan_that_would_write_nothing_waits_for_nobody(settled: World) -> None:
    plan_id = only_remembers(settled)
    assert waits_everywhere(settled) == {"runs": (0, 0, 0), "waiting": (0, 0), "api": (0, 0), "metrics": 0.0}
    assert settled.cli("show", plan_id).json["status"] == "draft", "whoever asks for it sees it"
    assert settled.apply(plan_id).code == 0, "and may apply it"


def test_a_plan_that_would_write_waits_with_the_steps_that_people_are_shown(settled: World) -> None:
    settled.configure(write="sql", drawings_unseen="closed")
    asset = settled.asset_of(settled.items("equipment")[0].pnpid)
    settled.user_edits(asset["id"], description="Typed in SYNAPSE")
    plan_id = only_remembers(settled)
    assert waits_everywhere(settled) == {"runs": (1, 1, 1), "waiting": (1, 1), "api": (1, 1), "metrics": 2.0}
    [waits] = settled.cli("waiting", NAME, "--kind", "plan").json["items"]
    [listed] = settled.cli("runs", NAME).json["plans"]
    shown = len(settled.cli("show", plan_id).json["lines"])
    assert shown == listed["lines"] - listed["remembered"] < listed["lines"]
    assert waits["message"] == f"Nobody applied a plan of {shown} steps (push)."


def test_a_guarded_plan_waits_although_it_would_write_nothing(settled: World) -> None:
    plan_id = only_remembers(settled)
    forge(settled, "UPDATE plan SET status = 'guarded' WHERE id = ?", plan_id)
    assert waiting(settled) == [plan_id], "no run goes on before somebody looked at it"


def test_steps_that_only_remember_are_counted_apart_where_plans_are_listed_and_shown(settled: World) -> None:
    plan_id = only_remembers(settled)
    shown = settled.cli("show", plan_id)
    assert shown.json["remembered"] > 1 and shown.json["lines"] == []
    said = settled.cli("show", plan_id, as_json=False).out
    assert f"{shown.json['remembered']} steps write nothing: they only update what is remembered." in said
    assert at_the_api(settled, plan_id) == [shown.json["remembered"]] * 2
    settled.cli("discard", plan_id)
    assert settled.cli("show", plan_id).json["settled"]["left"] == 0, "nothing of it was to be written"


def test_the_steps_of_a_plan_that_does_not_say_it_tell_how_many_only_remember(settled: World) -> None:
    """Earlier versions stored plans without that number, and without what they would write."""
    plan_id = only_remembers(settled)
    count = settled.cli("show", plan_id).json["remembered"]
    forge(
        settled,
        "UPDATE plan SET header = json_remove(header, '$.remembered', '$.writes') WHERE id = ?",
        plan_id,
    )
    [listed] = settled.cli("runs", NAME).json["plans"]
    assert listed["remembered"] is None, "a list reads no steps, and does not say that there are none"
    assert settled.cli("show", plan_id).json["remembered"] == count
    assert at_the_api(settled, plan_id) == [count, None]
    settled.cli("discard", plan_id)
    assert settled.cli("show", plan_id).json["settled"]["left"] == 0


def at_the_api(world: World, plan_id: str) -> list[int | None]:
    """`remembered` of the plan asked for by its id, and in the list."""
    with served(world) as client:
        alone = client.get(f"/api/v1/plans/{plan_id}").json()
        listed = client.get("/api/v1/plans", params={"project_id": NAME}).json()["items"]
    return [
        alone["remembered"],
        next(one["remembered"] for one in listed if one["plan_id"] == plan_id),
    ]


def forge(world: World, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(world.state)) as connection, connection:
        connection.execute(statement, values)
