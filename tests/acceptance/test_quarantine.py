"""Rows that were refused: where somebody sees them, tries them now, leaves them alone, and that nothing else waits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_schema_steps import served
from tests.support.dcf import Dcf
from tests.support.faulty_http import Seen
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, World, new_world, recorded

Row = dict[str, Any]
LINES = "Pump of unit 3\nsee data sheet"


@pytest.fixture
def plant(tmp_path: Path, reference_synapse: RunningSynapse) -> World:
    """Three pumps on one drawing, nothing pulled yet; what SYNAPSE's users type is written into the file."""
    dcf = Dcf(tmp_path / "new.dcf")
    with dcf.at_once():
        drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="D-1")
        for number in range(3):
            pump = dcf.add("CentrifugalPump", Tag=f"P-{number}", Description=f"Pump {number}")
            dcf.draw(drawing, pump)
    return new_world(tmp_path / "world", reference_synapse, dcf.path, write="sql", drawings_unseen="closed")


def pump(world: World, tag: str) -> int:
    ((pnpid,),) = world.sql("SELECT PnPID FROM Equipment WHERE Tag = ?", tag)
    return int(pnpid)


def described(world: World, tag: str, text: str) -> None:
    """As a designer does: the value, and the stamp of the row."""
    pnpid = pump(world, tag)
    world.change("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", text, pnpid)
    world.change("UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 100000000 WHERE PnPID = ?", pnpid)


def refused(world: World, *words: str) -> list[Row]:
    rows: list[Row] = world.cli("quarantine", "list", NAME, *words).json["items"]
    return rows


def waits(world: World) -> Row:
    counts: Row = world.cli("waiting", NAME).json["counts"]
    return {kind: count for kind, count in counts.items() if count}


@contextmanager
def refusing(world: World, text: str) -> Iterator[Callable[[], int]]:
    """SYNAPSE gets a value it must refuse in place of this text; tells how often it was offered."""
    offered: list[int] = []

    def request(seen: Seen) -> bytes:
        if text.encode() in seen.body:
            offered.append(1)
            return seen.body.replace(text.encode(), b"y" * 4001)
        return seen.body

    with recorded(world) as recorder:
        recorder.request = request
        yield lambda: len(offered)


def test_what_synapse_refuses_waits_alone_and_is_tried_at_growing_distances(plant: World) -> None:
    with refusing(plant, "Pump 1") as offered:
        first = plant.pulled(code=3)
        assert first["stats"]["created"] == 2, "a quarantine never blocks the line"
        assert offered() == 1
        (row,) = refused(plant)
        assert (row["tag"], row["field"], row["into"], row["attempts"]) == (
            "P-1",
            "description",
            "synapse",
            1,
        )
        assert row["plant3d_value"] == "Pump 1" and row["drawing"] == "D-1" and row["ignored"] is None
        plant.pulled(code=3)
        assert offered() == 2 and refused(plant)[0]["attempts"] == 2
        described(plant, "P-2", "Another pump")
        report = plant.pulled(code=3)
        assert report["stats"]["updated"] == 1 and report["stats"]["errors"] == 1
        assert offered() == 2, "its time has not come, though the run compared everything"
        assert refused(plant)[0]["attempts"] == 2
        assert waits(plant) == {"quarantine": 1, "total": 1}
        described(plant, "P-1", "Pump 1, moved")
        plant.pulled(code=3)
        assert offered() == 3, "what moved is tried at once"
        described(plant, "P-1", "Short")
        assert plant.pulled()["stats"]["created"] == 1
    assert refused(plant, "--status", "all") == [] and waits(plant) == {}


def test_a_person_tries_it_now(plant: World) -> None:
    with refusing(plant, "Pump 1") as offered:
        plant.pulled(code=3)
        plant.pulled(code=3)
        (row,) = refused(plant)
        tried = plant.cli("quarantine", "retry", NAME, str(row["id"]))
        assert tried.code == 0 and offered() == 3
        assert [one["attempts"] for one in tried.json["left"]] == [3]
    assert plant.cli("quarantine", "retry", NAME, "--all").json["left"] == []
    assert plant.asset_of(pump(plant, "P-1"))["description"] == "Pump 1"
    assert plant.cli("quarantine", "retry", NAME, str(row["id"])).error == "quarantine_unknown"
    assert plant.cli("quarantine", "retry", NAME).code == 2


def test_a_person_leaves_it_alone_until_its_value_moves(plant: World) -> None:
    with refusing(plant, "Pump 1") as offered:
        plant.pulled(code=3)
        (row,) = refused(plant)
        words = ("quarantine", "ignore", NAME, str(row["id"]), "--reason")
        assert plant.cli(*words, "  ").error == "reason_missing"
        (said,) = plant.cli(*words, "as agreed").json["items"]
        assert said["ignored"]["by"] == "cli" and said["ignored"]["reason"] == "as agreed"
        report = plant.pulled("--full")
        assert report["stats"]["errors"] == 0 and report["stats"]["skipped"] == 1 and offered() == 1
        assert report["coverage"]["reasons"] == {"ignored": 1}
        (told,) = plant.findings("ignored")
        assert "as agreed" in told["data"]["message"]
        assert waits(plant) == {} and refused(plant) == [] and len(refused(plant, "--status", "ignored")) == 1
        described(plant, "P-1", "Pump 1, moved")
        plant.pulled(code=3)
        assert offered() == 2, "the word was about another value"
        assert len(refused(plant)) == 1
        (entry,) = [e for e in audited(plant) if e["action"] == "quarantine.ignored"]
        assert entry["actor"] == "cli" and entry["reason"] == "as agreed"


def audited(world: World) -> list[Row]:
    return [json.loads(row["body"]) for row in world.rows("SELECT body FROM audit WHERE project = ?", NAME)]


def test_a_forged_word_keeps_nothing_from_being_written(plant: World) -> None:
    with refusing(plant, "Pump 1"):
        plant.pulled(code=3)
        (row,) = refused(plant)
        plant.cli("quarantine", "ignore", NAME, str(row["id"]), "--reason", "as agreed")
        with closing(sqlite3.connect(plant.state)) as state, state:
            state.execute("UPDATE acknowledgement SET reason = 'somebody else'")
        assert plant.pull().error == "row_altered"
        assert plant.cli("audit", "verify").code == 78
        assert plant.cli("audit", "set-aside").code == 0
        plant.pulled("--full", code=3)
        assert len(refused(plant)) == 1
    assert plant.cli("audit", "verify").code == 0


def test_a_text_of_two_lines_for_a_cell_waits_once_and_can_be_left_alone(plant: World) -> None:
    plant.pulled()
    plant.user_edits(plant.asset_of(pump(plant, "P-1"))["id"], description=LINES)
    for _ in range(2):
        assert plant.cli("now", NAME).code == 3
    (row,) = refused(plant)
    assert (row["code"], row["into"], row["synapse_value"]) == ("control_character", "plant3d", LINES)
    assert row["plant3d_value"] == "Pump 1"
    assert waits(plant) == {"quarantine": 1, "total": 1}, "one thing is told once"
    plant.cli("quarantine", "ignore", NAME, str(row["id"]), "--reason", "stays in SYNAPSE")
    assert plant.cli("now", NAME).code == 0 and waits(plant) == {}
    plant.pulled()
    assert len(refused(plant, "--status", "ignored")) == 1, "a pull says nothing about cells"
    plant.user_edits(plant.asset_of(pump(plant, "P-1"))["id"], description="One line")
    assert plant.cli("now", NAME).code == 0
    assert plant.sql("SELECT Description FROM EngineeringItems WHERE PnPID = ?", pump(plant, "P-1")) == [
        ("One line",)
    ]
    assert refused(plant, "--status", "all") == []


def test_what_we_refuse_before_we_offer_it_stands_there_too(plant: World) -> None:
    described(plant, "P-1", "x" * 4001)
    plant.pulled(code=3)
    (row,) = refused(plant)
    assert (row["code"], row["field"]) == ("too_long", "description") and row["plant3d_value"] == "x" * 4001
    plant.cli("quarantine", "ignore", NAME, str(row["id"]), "--reason", "archive only")
    assert plant.pulled()["stats"]["skipped"] == 1
    described(plant, "P-1", "Short")
    assert plant.pulled()["stats"]["created"] == 1 and refused(plant, "--status", "all") == []


def test_a_purged_asset_is_made_again_without_anybody_asking(plant: World) -> None:
    plant.pulled()
    asset = plant.asset_of(pump(plant, "P-1"))
    with plant.client() as client:
        client.delete(f"/dev/projects/{plant.uuid}/assets/{asset['id']}").raise_for_status()
    described(plant, "P-1", "Moved")
    plant.pull()
    assert plant.pull().code == 0, "no error that never ends"
    assert plant.asset_of(pump(plant, "P-1"))["description"] == "Moved"
    assert waits(plant) == {}


def test_the_same_numbers_everywhere_and_the_verbs_over_http(plant: World) -> None:
    described(plant, "P-1", "x" * 4001)
    plant.pulled(code=3)
    described(plant, "P-2", "Typed since")
    plant.pulled("--dry-run", code=3)
    with served(plant) as client:
        counts = client.get("/api/v1/waiting", params={"project_id": NAME}).json()["counts"]
        assert counts == plant.cli("waiting", NAME).json["counts"] == plant.cli("runs", NAME).json["waiting"]
        assert (counts["quarantine"], counts["plan"], counts["total"]) == (1, 1, 2)
        assert client.get("/api/v1/sync/status", params={"project_id": NAME}).json()["waiting"] == counts
        assert client.get(f"/api/v1/projects/{NAME}").json()["waiting"] == counts
        metrics = client.get("/metrics").text.splitlines()
        for kind, count in counts.items():
            line = f'plant3d_sync_waiting_for_person{{kind="{kind}",project="{NAME}"}} {float(count)}'
            assert kind == "total" or line in metrics, line
        assert f'plant3d_sync_quarantined_records{{class_kind="equipment",project="{NAME}"}} 1.0' in metrics
        reasons = client.get("/api/v1/sync/status", params={"project_id": NAME}).json()["reasons"]
        assert "rows_refused" in {one["code"] for one in reasons}
        only = client.get("/api/v1/waiting", params={"project_id": NAME, "kind": "quarantine"}).json()
        (row,) = client.get("/api/v1/quarantine", params={"project_id": NAME}).json()["items"]
        assert [one["id"] for one in only["items"]] == [str(row["id"])] and only["items"][0][
            "drawing"
        ] == "D-1"
        tried = client.post(f"/api/v1/quarantine/{row['id']}/retry")
        assert tried.status_code == 200 and tried.json()["sync_id"]
        assert client.post(f"/api/v1/quarantine/{row['id']}/ignore", json={"reason": " "}).status_code == 409
        said = client.post(f"/api/v1/quarantine/{row['id']}/ignore", json={"reason": "as agreed"})
        assert said.status_code == 200 and said.json()["ignored"]["by"].startswith("key:")
        assert client.get("/api/v1/quarantine", params={"project_id": NAME}).json()["total"] == 0
        assert client.post("/api/v1/quarantine/999/retry").status_code == 404


def test_an_archiving_that_synapse_refuses_leaves_the_quarantine_once_it_is_done(plant: World) -> None:
    plant.configure(missing={"reads": 1, "minutes": 0, "policy": "archive"})
    plant.pulled()
    plant.change("DELETE FROM PnPBase WHERE PnPID = ?", pump(plant, "P-1"))

    def request(seen: Seen) -> bytes:
        return seen.body.replace(b'"op":"archive"', b'"op":"explode"')

    with recorded(plant) as recorder:
        recorder.request = request
        assert plant.pull().code == plant.pull().code == 3
        (row,) = refused(plant)
        assert row["tag"] == "P-1" and row["attempts"] == 2
        plant.cli("quarantine", "ignore", NAME, str(row["id"]), "--reason", "stays for now")
        assert plant.pull().code == 0 and "P-1" in plant.live()
    assert plant.cli("quarantine", "retry", NAME, str(row["id"])).json["left"] == []
    assert "P-1" not in plant.live() and waits(plant) == {}


def test_a_row_without_an_identity_of_its_own_is_found_by_its_tag(plant: World) -> None:
    plant.change("UPDATE PnPBase SET PnPGuid = NULL WHERE PnPID = ?", pump(plant, "P-1"))
    plant.pulled(code=3)
    (row,) = refused(plant)
    assert (row["code"], row["tag"], row["drawing"]) == ("bad_guid", "P-1", "D-1")


def test_items_with_one_guid_are_told_once_with_the_way_out_that_is_theirs(plant: World) -> None:
    with closing(sqlite3.connect(plant.dcf)) as connection, connection:
        connection.execute(
            "UPDATE PnPBase SET PnPGuid = (SELECT PnPGuid FROM PnPBase WHERE PnPID = ?) WHERE PnPID = ?",
            (pump(plant, "P-0"), pump(plant, "P-1")),
        )
    assert plant.pull().code == 3
    assert plant.findings("duplicate_guid") == []
    rows = plant.cli("waiting", NAME).json["items"]
    assert [row["code"] for row in rows] == ["duplicate_guid"] * 2
    assert all(row["hint"].startswith("Delete the copy in Plant 3D and draw it anew") for row in rows)
    ids = [str(row["id"]) for row in refused(plant)]
    assert plant.cli("quarantine", "ignore", NAME, *ids, "--reason", "next week").code == 0
    plant.pulled()
    assert [row["code"] for row in plant.findings()] == ["ignored", "ignored"]


def test_what_is_asked_is_not_told_a_second_time(plant: World) -> None:
    plant.configure(write="workbook", missing={"reads": 1, "minutes": 0}, workbook_days=0.0000001)
    plant.pulled()
    for tag in ("P-1", "P-2"):
        plant.user_edits(plant.live()[tag]["id"], description=f"{tag} typed in SYNAPSE")
    plant.cli("now", NAME)
    assert waits(plant) == {"workbook": 2, "total": 2}
    plant.change("DELETE FROM PnPBase WHERE PnPID = ?", pump(plant, "P-2"))
    plant.cli("now", NAME)
    assert waits(plant) == {"conflict": 2, "total": 2}, "an import that never came, an item that went"
