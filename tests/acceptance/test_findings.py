"""Findings a design lead can work with: by cause, drawing and class; told once; acknowledged; exported."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.acceptance.test_schema_steps import served
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, World, new_world

Row = dict[str, Any]
BROKEN = "P-7\nA"


@pytest.fixture
def plant(tmp_path: Path, reference_synapse: RunningSynapse) -> World:
    """Two drawings; pumps without a tag, one with a line break in it, a valve whose row with the tag is missing."""
    dcf = Dcf(tmp_path / "new.dcf")
    with dcf.at_once():
        for name in ("Equipment", "HandValves"):
            dcf.add("PnPTagEnlistedColumns", TagRegistyName="Tags", TableName=name, ColumnName="Tag")
        one = dcf.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
        two = dcf.add("PnPDrawings", PnPType="DWG", PnID="PID-2")
        for number in range(3):
            dcf.draw(one, dcf.add("CentrifugalPump", Tag="P-?", Description=f"Pump {number}"))
        dcf.draw(two, dcf.add("CentrifugalPump", Tag="P-?"))
        broken = dcf.add("CentrifugalPump", Tag=BROKEN)
        dcf.register("P-7", broken)
        dcf.draw(two, broken)
        dcf.draw(two, dcf.add("CentrifugalPump", Tag="P-8\nA"))
        dcf.draw(two, dcf.add("GateValve", without=("HandValves",)))
        dcf.draw(two, dcf.add("CentrifugalPump", Tag="=P-1", Description="CS150\nCS300\nSS316"))
    return new_world(tmp_path / "world", reference_synapse, dcf.path, coverage={"warn": 0})


def told(world: World, *words: str) -> Row:
    document: Row = world.cli("findings", NAME, *words).json
    return document


def codes(document: Row) -> list[str]:
    return sorted(one["code"] for one in document["findings"])


def test_one_cause_is_told_once_and_names_its_drawing(plant: World) -> None:
    plant.pulled()
    found = {(one["pnpid"], one["code"]): one for one in told(plant)["findings"]}
    assert codes(told(plant)) == [
        "invalid_tag",
        "line_break",
        "not_registered",
        "tag_from_registry",
        "tag_unknown",
        *["untagged"] * 4,
    ]
    assert {one["drawing"] for one in found.values()} == {"PID-1", "PID-2"}
    for code in ("invalid_tag", "tag_from_registry"):
        (broken,) = [one for one in found.values() if one["code"] == code]
        assert broken["drawing"] == "PID-2" and broken["data"]["also"] == ["line_break"]
    (unknown,) = [one for one in found.values() if one["code"] == "tag_unknown"]
    assert "no row in HandValves" in unknown["message"] and unknown["data"]["also"] == ["row_missing"]
    (meant,) = [one for one in found.values() if one["code"] == "line_break"]
    assert meant["column"] == "Description" and "if it is meant" in meant["hint"]


def test_groups_by_cause_drawing_and_class_are_the_largest_first(plant: World) -> None:
    plant.pulled()
    groups = told(plant)["groups"]
    first = groups[0]
    assert (first["code"], first["drawing"], first["class"], first["count"]) == (
        "untagged",
        "PID-1",
        "CentrifugalPump",
        3,
    )
    assert first["hint"] and [one["count"] for one in groups] == sorted(
        (one["count"] for one in groups), reverse=True
    )
    assert sum(one["count"] for one in groups) == told(plant)["total"]
    only = told(plant, "--drawing", "PID-1")
    assert only["total"] == 3 and len(only["groups"]) == 1
    assert told(plant, "--class", "Gate*")["total"] == 1 and told(plant, "--tag", "P-[?]")["total"] == 4
    assert told(plant, "--since", "2999-01-01")["total"] == 0
    assert plant.cli("findings", NAME, "--since", "soon").error == "date_invalid"
    assert plant.cli("findings", NAME, "--status", "nothing").code == 2


def test_what_was_looked_at_is_not_listed_until_it_moves_or_its_day_comes(plant: World) -> None:
    plant.pulled()
    words = ("acknowledge", NAME, "--code", "untagged", "--drawing", "PID-1")
    assert plant.cli(*words).error == "reason_missing"
    assert plant.cli("acknowledge", NAME, "--reason", "all of them").code == 2
    assert plant.cli(*words, "--reason", "phase 2", "--until", "2001-01-01").error == "date_over"
    done = plant.cli(*words, "--reason", "phase 2", "--until", "2999-01-01")
    assert done.json["total"] == 3 and done.json["findings"][0]["acknowledged"]["reason"] == "phase 2"
    assert codes(told(plant)).count("untagged") == 1
    known = told(plant, "--status", "acknowledged")
    assert known["total"] == 3 and known["findings"][0]["acknowledged"]["by"] == "cli"
    plant.pulled("--full")
    assert told(plant, "--status", "acknowledged")["total"] == 3, "still so, still known"
    moved = known["findings"][0]["pnpid"]
    plant.change("UPDATE Equipment SET Tag = 'TBD' WHERE PnPID = ?", moved)
    plant.change("UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 100000000 WHERE PnPID = ?", moved)
    plant.change("UPDATE Equipment SET Tag = 'P-1' WHERE PnPID = ?", known["findings"][1]["pnpid"])
    plant.pulled()
    left = told(plant, "--status", "acknowledged")["findings"]
    assert known["findings"][2]["pnpid"] in {one["pnpid"] for one in left}
    skipped = {one["pnpid"] for one in told(plant, "--status", "all", "--code", "untagged")["findings"]}
    assert known["findings"][1]["pnpid"] not in skipped
    again = plant.cli("acknowledge", NAME, "--code", "untagged", "--take-back").json
    assert again["total"] == len(left) and told(plant, "--status", "acknowledged")["total"] == 0
    assert plant.cli("acknowledge", NAME, "999", "--reason", "x").error == "finding_unknown"
    actions = [json.loads(row["body"])["action"] for row in plant.rows("SELECT body FROM audit")]
    assert {"findings.acknowledged", "findings.reopened"} <= set(actions)


def test_a_forged_word_about_a_finding_is_seen(plant: World) -> None:
    plant.pulled()
    plant.cli("acknowledge", NAME, "--code", "untagged", "--reason", "phase 2")
    with closing(sqlite3.connect(plant.state)) as state, state:
        state.execute("UPDATE acknowledgement SET until = 1e12")
    assert plant.cli("audit", "verify").code == 78


def test_they_leave_as_a_workbook_and_as_csv_with_the_same_numbers(plant: World, tmp_path: Path) -> None:
    plant.pulled()
    total = told(plant)["total"]
    book_path, csv_path = tmp_path / "findings.xlsx", tmp_path / "findings.csv"
    assert plant.cli("findings", NAME, "--export", str(book_path)).json["path"] == str(book_path)
    plant.cli("findings", NAME, "--export", str(csv_path))
    book = openpyxl.load_workbook(book_path)
    groups, each = (list(book[name].iter_rows(values_only=True)) for name in ("By cause", "One by one"))
    assert len(each) == total + 1 and sum(int(str(row[4])) for row in groups[1:]) == total
    assert groups[1][:5] == ("untagged", None, "PID-1", "CentrifugalPump", 3)
    rows = list(csv.reader(io.StringIO(csv_path.read_text("utf-8-sig"))))
    assert len(rows) == total + 1 and rows[0][:3] == ["code", "drawing", "class"]
    assert "'=P-1" in {cell for row in rows for cell in row}, "no cell passes for a formula"
    assert plant.cli("findings", NAME, "--export", str(tmp_path / "findings.pdf")).error == "format_unknown"
    assert plant.cli("findings", NAME, "--export", str(tmp_path / "no" / "f.csv")).code == 75
    plant.cli("--lang", "fr", "findings", NAME, "--export", str(book_path))
    assert openpyxl.load_workbook(book_path).sheetnames == ["Par cause", "Un par un"]


def test_the_same_over_http(plant: World) -> None:
    plant.pulled()
    params = {"project_id": NAME}
    with served(plant) as client:
        listed = client.get("/api/v1/findings", params=params | {"drawing": "PID-1"}).json()
        assert listed["total"] == 3 and listed["items"][0]["drawing"] == "PID-1"
        groups = client.get("/api/v1/findings/groups", params=params).json()
        shown = told(plant)
        assert groups["findings"] == shown["total"] and groups["total"] == len(shown["groups"])
        assert [one["count"] for one in groups["items"]] == [one["count"] for one in shown["groups"]]
        for form in ("xlsx", "csv"):
            answer = client.get("/api/v1/findings/export", params=params | {"format": form})
            assert answer.status_code == 200 and f"findings.{form}" in answer.headers["content-disposition"]
        body = {"project_id": NAME, "filter": {"code": "untagged"}, "reason": "phase 2"}
        done = client.post("/api/v1/findings/acknowledge", json=body)
        assert done.status_code == 200 and done.json()["total"] == 4
        assert client.get("/api/v1/findings", params=params | {"code": "untagged"}).json()["total"] == 0
        later = client.get("/api/v1/findings", params=params | {"first_seen_after": "2999-01-01T00:00:00Z"})
        assert later.json()["total"] == 0
        back = client.post("/api/v1/findings/acknowledge", json={**body, "take_back": True})
        assert back.json()["total"] == 4
        assert client.post("/api/v1/findings/acknowledge", json={**body, "filter": {}}).status_code == 422
        assert client.post("/api/v1/findings/acknowledge", json={**body, "reason": ""}).status_code == 409
        nothing = {**body, "filter": {"code": "nothing"}}
        assert client.post("/api/v1/findings/acknowledge", json=nothing).status_code == 404


def test_an_item_that_left_something_behind_is_one_finding_however_often_it_is_missed(plant: World) -> None:
    plant.configure(missing={"reads": 9, "minutes": 0})
    plant.pulled()
    ((pnpid,),) = plant.sql("SELECT PnPID FROM Equipment WHERE Tag = '=P-1'")
    plant.change("DELETE FROM PnPBase WHERE PnPID = ?", pnpid)
    plant.pulled()
    (gone,) = [one for one in told(plant)["findings"] if one["pnpid"] == pnpid]
    assert gone["code"] == "missing" and gone["drawing"] == "PID-2"
    assert {"orphan_row", "dangling_link"} <= set(gone["data"]["also"])
    assert set(gone["data"]["tables"]) >= {"Equipment", "CentrifugalPump"}
    plant.cli("acknowledge", NAME, str(gone["id"]), "--reason", "it comes back")
    plant.pulled("--full")
    (again,) = told(plant, "--status", "acknowledged")["findings"]
    assert again["id"] == gone["id"] and again["first_seen"] == gone["first_seen"]
    assert again["message"] != gone["message"] and told(plant)["acknowledged"] == 1
