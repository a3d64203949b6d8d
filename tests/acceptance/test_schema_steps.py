"""A change of the schema is not a change of values: it is shown, and the fields concerned wait for a person."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import make_app
from plant3d_sync.state import keys
from plant3d_sync.web import create_app
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, World, new_world

Row = dict[str, Any]
MAPPING = """
version: 1
extends: stock
classes:
  EngineeringItems:
    fields:
      description: {column: [ACME_Desc, Description], owner: shared}
"""


@pytest.fixture
def world(tmp_path: Path, reference_synapse: RunningSynapse) -> World:
    """Forty pumps, described in a column that the project added, pulled once."""
    dcf = Dcf(tmp_path / "new.dcf")
    with dcf.at_once():
        dcf.column("EngineeringItems", "ACME_Desc")
        drawing = dcf.add("PnPDrawings", PnPType="DWG", PnID="D-1")
        for number in range(40):
            dcf.draw(drawing, dcf.add("CentrifugalPump", Tag=f"P-{number}", ACME_Desc=f"Pump {number}"))
        dcf.draw(drawing, dcf.add("GateValve", Tag="HV-1", Normally="NO", Size="25"))
    (tmp_path / "mine.yml").write_text(MAPPING)
    made = new_world(tmp_path / "world", reference_synapse, dcf.path, mapping=[str(tmp_path / "mine.yml")])
    assert made.pulled()["stats"]["created"] == 41
    return made


def descriptions(world: World) -> set[str | None]:
    return {asset["description"] for tag, asset in world.live().items() if tag.startswith("P-")}


def deletes_the_column(world: World) -> None:
    """As Project Setup does: out of the catalogue, and out of the table."""
    world.change("DELETE FROM PnPProperties WHERE PropertyName = 'ACME_Desc'")
    world.change("DELETE FROM PnPColumnAttributes WHERE ColumnName = 'ACME_Desc'")
    world.change("ALTER TABLE EngineeringItems DROP COLUMN ACME_Desc")


def step_of(world: World) -> Row | None:
    found: Row | None = world.cli("schema", "show", NAME).json["step"]
    return found


def test_a_deleted_column_empties_nothing(world: World) -> None:
    deletes_the_column(world)
    shown = step_of(world)
    assert shown is not None, "before anything is decided"
    report = world.pulled(code=3)
    assert report["writes"]["synapse"] == 0 and report["outcome"] == "with_issues"
    assert descriptions(world) == {f"Pump {number}" for number in range(40)}
    (change,) = report["schema_step"]["changes"]
    assert (change["kind"], change["column"], change["fields"]) == (
        "column_removed",
        "ACME_Desc",
        ["description"],
    )
    assert report["schema_step"]["step"] == shown["step"] and change["items"] == 41
    (told,) = world.findings("schema_step")
    assert "ACME_Desc" in told["data"]["message"]
    doctor = {line["check"]: line for line in world.cli("doctor", NAME).json["checks"]}["project schema"]
    assert doctor["code"] == "schema_step" and "ACME_Desc" in doctor["message"]
    (waits,) = world.cli("waiting", NAME).json["items"]
    assert (waits["kind"], waits["id"]) == ("schema_step", shown["step"])
    file = next(iter(world.options["mapping"]))
    checked = world.cli("mapping", "check", file, "--project", NAME).json["problems"]
    assert [one["severity"] for one in checked if one["code"] == "schema_step"] == ["warning"]
    quiet = world.pulled(code=3)
    assert quiet["outcome"] == "with_issues" and quiet["schema_step"] == report["schema_step"]


def test_the_rest_of_a_run_goes_on_while_a_step_waits(world: World) -> None:
    deletes_the_column(world)
    world.change("UPDATE InLineAssets SET Size = '50'")
    world.change("UPDATE EngineeringItems SET Manufacturer = 'KSB' WHERE PnPID IN (SELECT PnPID FROM Pumps)")
    assert world.pulled(code=3)["writes"]["synapse"] == 41
    assert descriptions(world) == {f"Pump {number}" for number in range(40)}
    assert {a["attributes"].get("manufacturer") for a in world.live().values()} == {"KSB", None}


def test_an_accepted_step_is_a_change_of_the_mapping_and_the_next_run_compares(world: World) -> None:
    deletes_the_column(world)
    world.pulled(code=3)
    waiting = step_of(world)
    assert waiting is not None
    assert world.cli("schema", "accept", NAME, "--step", "another").error == "schema_moved"
    done = world.cli("schema", "accept", NAME, "--step", waiting["step"])
    assert done.code == 0 and done.json["accepted"] == waiting["step"]
    assert step_of(world) is None and world.findings("missing") == []
    report = world.pulled()
    assert "schema_step" not in report and world.findings("schema_step") == []
    assert report["stats"]["archived"] == 0
    assert world.cli("schema", "accept", NAME).error == "schema_no_step"


def test_an_edit_made_while_a_step_waits_arrives_once_it_is_accepted(world: World) -> None:
    world.change("UPDATE PnPProperties SET Length = 4 WHERE PropertyName = 'Size'")
    world.change("UPDATE InLineAssets SET Size = '50'")
    world.pulled(code=3)
    assert world.live()["HV-1"]["attributes"]["size"] == "25"
    with closing(sqlite3.connect(world.state)) as state, state:
        state.execute("UPDATE catalogue SET step = json_set(step, '$.since', '2020-02-02T00:00:00Z')")
    world.pulled("--full", code=3)
    waiting = step_of(world)
    assert waiting is not None and waiting["since"] == "2020-02-02T00:00:00Z", "as old as its first run"
    world.cli("schema", "accept", NAME)
    world.pulled()
    assert world.live()["HV-1"]["attributes"]["size"] == "50"


def test_a_step_that_is_put_right_in_plant_3d_is_over(world: World) -> None:
    deletes_the_column(world)
    world.pulled(code=3)
    world.change("INSERT INTO PnPProperties VALUES ('EngineeringItems', 'ACME_Desc', 'System.String', 255)")
    world.change("ALTER TABLE EngineeringItems ADD COLUMN ACME_Desc VarChar (255) collate nocase")
    world.change(
        "UPDATE EngineeringItems SET ACME_Desc = 'Again ' || PnPID WHERE PnPID IN (SELECT PnPID FROM Pumps)"
    )
    report = world.pulled()
    assert step_of(world) is None and "schema_step" not in report
    assert report["writes"]["synapse"] == 40


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (
            "UPDATE PnPProperties SET PropertyType = 'System.Double' WHERE PropertyName = 'Size'",
            "column_changed",
        ),
        ("UPDATE PnPProperties SET Length = 4 WHERE PropertyName = 'Size'", "column_changed"),
        (
            "INSERT INTO PnPColumnAttributes VALUES ('InLineAssets', 'Size', 'VALUE', 'T', '25')",
            "column_changed",
        ),
        (
            "INSERT INTO PnPColumnAttributes VALUES ('InLineAssets', 'Size', 'PICKLISTNAME', 'T', 'Sizes')",
            "column_changed",
        ),
    ],
)
def test_every_kind_of_change_holds_what_it_concerns(world: World, change: str, kind: str) -> None:
    world.change(change)
    report = world.pulled(code=3)
    (told,) = report["schema_step"]["changes"]
    assert told["kind"] == kind and told["fields"] == ["attributes.size"] and told["items"] == 1
    assert world.live()["HV-1"]["attributes"]["size"] == "25" and report["writes"]["synapse"] == 0


def test_items_that_enter_by_a_new_class_are_named_and_wait(world: World) -> None:
    dcf = Dcf.existing(world.dcf)
    dcf.declare("VapourBottle", "Equipment", {})
    assert step_of(world) is None, "a class without items concerns nobody"
    item = dcf.add("VapourBottle", Tag="VB-1")
    report = world.pulled(code=3)
    assert report["schema_step"]["enter"] == {
        "count": 1,
        "items": [{"pnpid": item, "tag": "VB-1", "class": "VapourBottle"}],
    }
    assert "VB-1" not in world.live()
    world.cli("schema", "accept", NAME)
    assert world.pulled()["stats"]["created"] == 1 and "VB-1" in world.live()


def test_items_that_leave_with_their_class_are_named_and_nothing_is_archived(world: World) -> None:
    world.change("UPDATE PnPTables SET BaseTable = 'Lines' WHERE TableName = 'GateValve'")
    report = world.pulled(code=3)
    assert report["schema_step"]["leave"]["count"] == 1
    assert report["schema_step"]["leave"]["items"][0]["tag"] == "HV-1"
    assert "HV-1" in world.live() and report["stats"]["archived"] == 0
    world.cli("schema", "accept", NAME)
    assert world.pulled()["stats"]["archived"] == 0 and "HV-1" in world.live()


def doctor(world: World) -> dict[str, Row]:
    return {line["check"]: line for line in world.cli("doctor", NAME).json["checks"]}


def test_doctor_counts_what_waits_for_the_step_as_the_run_does(world: World) -> None:
    dcf = Dcf.existing(world.dcf)
    dcf.declare("VapourBottle", "Equipment", {})
    dcf.add("VapourBottle", Tag="VB-1")
    covered = world.pulled(code=3)["coverage"]
    assert (covered["whole"], covered["handed_over"], covered["reasons"]) == (42, 41, {"schema_step": 1})
    assert "brings 41 of 42 (97 %); the rest: schema_step 1" in doctor(world)["coverage"]["message"]


def test_a_class_that_left_is_told_with_the_items_that_left(world: World) -> None:
    world.change("UPDATE PnPTables SET BaseTable = 'Lines' WHERE TableName = 'GateValve'")
    (told,) = world.pulled(code=3)["schema_step"]["changes"]
    assert (told["kind"], told["items"]) == ("class_removed", 1) and "left alone" in told["message"]


@pytest.mark.parametrize("by", ["schema", "mapping"])
def test_items_with_an_asset_that_left_are_told_by_name_for_as_long_as_they_are_left_alone(
    world: World, tmp_path: Path, by: str
) -> None:
    if by == "schema":
        world.change("UPDATE PnPTables SET BaseTable = 'Lines' WHERE TableName = 'GateValve'")
    else:
        (tmp_path / "mine.yml").write_text(MAPPING + "  HandValves: {entity: none}\n")
    code = 3 if by == "schema" else 0
    assert world.pulled(code=code)["findings_by_code"]["out_of_mapping"] == 1
    if by == "schema":
        world.cli("schema", "accept", NAME)
    world.pulled()
    (told,) = world.findings("out_of_mapping")
    assert told["data"]["tag"] == "HV-1" and "HV-1" in world.live()
    assert "left alone: 1" in doctor(world)["coverage"]["message"]
    if by == "mapping":
        (tmp_path / "mine.yml").write_text(MAPPING)
        world.pulled()
        assert world.findings("out_of_mapping") == []


def test_what_the_mapping_newly_names_is_no_change_of_the_schema(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(MAPPING.replace("[ACME_Desc, Description]", "Description"))
    assert step_of(world) is None
    report = world.pulled()
    assert "schema_step" not in report


@contextmanager
def served(world: World) -> Iterator[TestClient]:
    """The web service beside the command line, with a key that may do everything."""
    app = make_app(world.config, world.environment({}))
    with app.state.write() as connection:
        _id, secret = keys.create(
            connection, "tester", keys.SCOPES, projects=None, expires_days=None, now=time.time(), by="test"
        )
    web = create_app(app, world=app.world(), poll=0.01)
    with TestClient(web, base_url="http://plant3d-sync", headers={"X-API-Key": secret}) as client:
        yield client


def test_the_api_shows_and_accepts_the_step(world: World) -> None:
    deletes_the_column(world)
    world.pulled(code=3)
    with served(world) as client:
        shown = client.get(f"/api/v1/projects/{NAME}/schema").json()
        assert shown["step"]["changes"][0]["column"] == "ACME_Desc"
        refused = client.post(f"/api/v1/projects/{NAME}/schema/accept", json={"step": "another"})
        assert refused.status_code == 409 and refused.json()["code"] == "schema_moved"
        health = client.get(f"/api/v1/projects/{NAME}").json()
        assert "schema_step" in {reason["code"] for reason in health["reasons"]}
        done = client.post(f"/api/v1/projects/{NAME}/schema/accept", json={"step": shown["step"]["step"]})
        assert done.status_code == 200 and done.json()["step"] is None
        assert client.post(f"/api/v1/projects/{NAME}/schema/accept", json={}).status_code == 404


# ---------------------------------------------------------------- a changed mapping


def test_what_a_changed_mapping_would_do_is_shown_before_it_does(world: World, tmp_path: Path) -> None:
    unchanged = world.cli("mapping", "diff", NAME).json
    assert unchanged["fields"] == {} and unchanged["changed"] is False
    (tmp_path / "other.yml").write_text(
        "version: 1\nextends: mine.yml\nclasses:\n"
        "  Pumps: {fields: {attributes.note: {column: ACME_Desc}}}\n  HandValves: {entity: none}\n"
    )
    before = world.every_table()
    shown = world.cli("mapping", "diff", NAME, "--mapping", str(tmp_path / "other.yml")).json
    assert shown["changed"] is True and shown["fields"]["attributes.note"]["changes"] == 40
    example = shown["fields"]["attributes.note"]["examples"][0]
    assert example["was"] is None and example["now"].startswith("Pump ")
    assert [item["tag"] for item in shown["leave"]["items"]] == ["HV-1"] and shown["archived"] == 0
    assert world.every_table() == before, "nothing was stored"
    world.configure(mapping=[str(tmp_path / "other.yml")])
    report = world.pulled()
    assert report["stats"]["updated"] == 40 and report["stats"]["archived"] == 0 and "HV-1" in world.live()


def test_every_mapping_that_was_used_is_kept(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(MAPPING.replace("[ACME_Desc, Description]", "Description"))
    world.pulled()
    versions = world.cli("mapping", "versions", NAME).json
    columns = [
        one["mapping"]["classes"]["engineeringitems"]["fields"]["description"]["column"]
        for one in versions["items"]
    ]
    assert columns == [["Description"], ["ACME_Desc", "Description"]]
