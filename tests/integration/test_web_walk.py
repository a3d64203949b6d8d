"""The plan's walk by the API alone, on real parts: a sample project, the reference SYNAPSE, a worker, the web."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from plant3d_sync.state import keys
from plant3d_sync.state.tables import component
from plant3d_sync.web import create_app
from plant3d_sync.worker.main import Worker
from tests.support.jobs import Plant, build_plant
from tests.support.synapse_dev import synapse_in_thread

MINE = "mine"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with synapse_in_thread(api_key="walk-key-1234567890") as synapse:
        made = build_plant(tmp_path, synapse, [MINE])
        made.options[MINE] = {"write": "sql", "drawings_unseen": "closed", "conflict": {"policy": "ask"}}
        made.write_config()
        yield made


@contextmanager
def working(plant: Plant) -> Iterator[None]:
    """A worker in this process, until the end of the block."""
    worker = Worker(plant.app())
    thread = threading.Thread(target=worker.work, name="worker")
    thread.start()
    try:
        yield
    finally:
        worker.stop.ask()
        thread.join(timeout=60)


@contextmanager
def client_of(plant: Plant) -> Iterator[TestClient]:
    """The web service without any credential for Plant 3D; a key that may do everything."""
    app = plant.app()
    with app.state.write() as connection:
        _id, key = keys.create(connection, "walk", keys.SCOPES, now=app.world().clock())
    with TestClient(create_app(app, poll=0.05), headers={"X-API-Key": key}) as client:
        yield client
    app.state.close()


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def a_linked_item(client: TestClient) -> tuple[dict[str, Any], Any]:
    for item in ok(client.get("/api/v1/items", params={"project_id": MINE}))["items"]:
        if item["entity"] == "equipment":
            detail = ok(client.get(f"/api/v1/items/{item['link_id']}"))
            return detail, {field["field"]: field for field in detail["fields"]}
    raise AssertionError("the sample has equipment")


def edit_in_synapse(plant: Plant, asset: str, value: str) -> None:
    with plant.synapse.client(plant.projects[MINE]) as client:
        client.patch(
            f"/dev/projects/{plant.projects[MINE]}/assets/{asset}", json={"description": value}
        ).raise_for_status()


def description_column(plant: Plant, pnpid: int) -> str:
    with sqlite3.connect(plant.folder / f"{MINE}.dcf") as database:
        [row] = database.execute("SELECT Description FROM EngineeringItems WHERE PnPID = ?", (pnpid,))
    return str(row[0])


def edit_in_plant3d(plant: Plant, pnpid: int, value: str) -> None:
    with sqlite3.connect(plant.folder / f"{MINE}.dcf") as database:
        database.execute("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", (value, pnpid))
        database.execute(
            "UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 10000000 WHERE PnPID = ?", (pnpid,)
        )


def test_the_walk_of_the_plan_by_the_api(plant: Plant) -> None:
    with client_of(plant) as client, working(plant):
        pulled = ok(client.post("/api/v1/sync/pull?wait=60", json={"project_id": MINE}))
        assert pulled["status"] == "completed" and pulled["stats"]["created"] > 0
        again = ok(client.post("/api/v1/sync/pull?wait=60", json={"project_id": MINE, "full_sync": True}))
        assert (again["stats"]["created"], again["stats"]["updated"]) == (0, 0)

        history = ok(client.get("/api/v1/sync/history", params={"project_id": MINE}))
        assert [item["sync_id"] for item in history["items"]] == [again["sync_id"], pulled["sync_id"]]
        status = ok(client.get("/api/v1/sync/status", params={"project_id": plant.projects[MINE]}))
        assert status["last_sync"] and status["current_job"] is None

        item, _fields = a_linked_item(client)
        edit_in_synapse(plant, item["asset_id"], "pushed by the walk")
        pushed = ok(client.post("/api/v1/sync/push?wait=60", json={"project_id": MINE, "asset_ids": []}))
        assert pushed["status"] == "completed"
        assert ok(client.get(f"/api/v1/sync/{pushed['sync_id']}"))["writes"]["plant3d"] == 1
        assert description_column(plant, item["pnpid"]) == "pushed by the walk"
        ok(client.post("/api/v1/sync/pull?wait=60", json={"project_id": MINE}))

        edit_in_synapse(plant, item["asset_id"], "said by SYNAPSE")
        edit_in_plant3d(plant, item["pnpid"], "said by Plant 3D")
        both = ok(client.post("/api/v1/sync/now?wait=60", json={"project_id": MINE}))
        assert set(both) >= {"sync_id", "pull_stats", "push_stats"}
        [conflict] = ok(client.get("/api/v1/conflicts", params={"project_id": MINE}))["items"]
        assert (conflict["asset_tag"], conflict["field"]) == (item["asset_tag"], "description")
        assert (conflict["plant3d_value"], conflict["synapse_value"]) == (
            "said by Plant 3D",
            "said by SYNAPSE",
        )

        shown = client.get(f"/api/v1/conflicts/{conflict['id']}")
        decided = ok(
            client.post(
                f"/api/v1/conflicts/{conflict['id']}/resolve",
                json={"resolution": "manual", "manual_value": "agreed"},
                headers={"If-Match": shown.headers["ETag"]},
            )
        )
        assert decided["applied_value"] == "agreed"
        story = client.get(f"/api/v1/sync/{decided['sync_id']}/events")  # ends with the run
        assert "event: end" in story.text
        until_agreed(client, item["link_id"])
        assert description_column(plant, item["pnpid"]) == "agreed"
        asset = next(one for one in plant.assets(MINE) if one["id"] == item["asset_id"])
        assert asset["description"] == "agreed"
        history = ok(client.get(f"/api/v1/items/{item['link_id']}"))["history"]
        rules = [(change["side"], change["why"]) for change in history]
        assert rules[-2:] == [("plant3d", {"description": "synapse_changed"}), ("synapse", {"*": "new_item"})]
        assert {why["description"] for _side, why in rules[:-2]} == {"resolved"}
        assert ok(client.get("/api/v1/conflicts", params={"project_id": MINE}))["total"] == 0


def until_agreed(client: TestClient, link_id: str) -> None:
    """One run writes the decision into SYNAPSE, the next into Plant 3D."""
    for _ in range(3):
        fields = {one["field"]: one for one in ok(client.get(f"/api/v1/items/{link_id}"))["fields"]}
        if fields["description"]["base_value"] == "agreed" and fields["description"]["waiting"] is None:
            return
        ok(client.post("/api/v1/sync/push?wait=60", json={"project_id": MINE}))
    raise AssertionError(fields)


def test_a_plan_is_previewed_applied_and_undone_by_the_api(plant: Plant) -> None:
    with client_of(plant) as client, working(plant):
        ok(client.post("/api/v1/sync/pull?wait=60", json={"project_id": MINE}))
        item, _fields = a_linked_item(client)
        edit_in_plant3d(plant, item["pnpid"], "a better text")
        before = plant.effective_writes(MINE)

        preview = ok(client.post("/api/v1/plans?wait=60", json={"project_id": MINE, "direction": "pull"}))
        assert preview["dry_run"] is True
        plan = ok(client.get(f"/api/v1/plans/{preview['plan_id']}"))
        writes = [line for line in plan["lines"] if line["set"]]
        [line] = writes
        assert line["set"].pop("attributes.plant3d_updated_at"), "when the row was saved goes along"
        assert (line["asset_tag"], line["set"]) == (item["asset_tag"], {"description": "a better text"})
        assert plant.effective_writes(MINE) == before

        applied = ok(client.post(f"/api/v1/plans/{preview['plan_id']}/apply?wait=60", json={}))
        assert (applied["status"], applied["plan_id"]) == ("completed", preview["plan_id"])
        assert plant.effective_writes(MINE) == before + 1

        undo = ok(client.post(f"/api/v1/sync/{applied['sync_id']}/undo", json={}), 201)
        assert (undo["restores"], undo["left_alone"]) == (1, [])
        ok(client.post(f"/api/v1/plans/{undo['plan_id']}/apply?wait=60", json={}))
        asset = next(one for one in plant.assets(MINE) if one["id"] == item["asset_id"])
        assert asset["description"] != "a better text"


def test_health_becomes_healthy_by_the_workers_own_checks(plant: Plant) -> None:
    with client_of(plant) as client, working(plant):
        ok(client.post("/api/v1/sync/pull?wait=60", json={"project_id": MINE}))
        app = client.app.state.context.app  # type: ignore[attr-defined]
        with app.state.write() as connection:
            connection.execute(
                sa.insert(component).values(name="s", kind="scheduler", seen_at=app.world().clock())
            )
        health = ok(client.get("/health"))
        assert (health["plant3d_connection"], health["synapse_connection"]) == ("ok", "ok")
        reasons = [one["code"] for one in health["projects"][0]["reasons"]]
        assert (health["status"], reasons) == ("healthy", [])
