"""A project edited by an SQL tool: what arrives, and that the rest is named."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import openpyxl
import pytest

from tests.acceptance.test_schema_steps import served
from tests.support.pruned_project import (
    GROUPS_WITHOUT_SEGMENT,
    ITEMS,
    LINE_NUMBERS,
    REGISTERED,
    Pruned,
    pruned_project,
)
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, World, new_world


@pytest.fixture(scope="session")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    return pruned_project(tmp_path_factory.mktemp("pruned") / "ProcessPower.dcf")


@pytest.fixture
def project(pruned: Pruned, tmp_path: Path, reference_synapse: RunningSynapse) -> World:
    """The pruned project, nothing pulled yet."""
    return new_world(tmp_path / "pruned", reference_synapse, pruned.dcf.path)


def test_what_only_the_registry_knows_arrives(project: World, pruned: Pruned) -> None:
    report = project.pulled()
    by_entity = {name: stats["created"] for name, stats in report["by_entity"].items()}
    assert by_entity["equipment"] == 9 + REGISTERED["equipment"]
    assert by_entity["valves"] == 3 + REGISTERED["valves"]
    assert by_entity["instruments"] == 31 + REGISTERED["instruments"]
    assert by_entity["lines"] == LINE_NUMBERS, "every number that the drawings show"
    said = {row["pnpid"] for row in project.findings("tag_from_registry")}
    assert said == set(pruned.registered)
    again = project.pulled()
    assert again["writes"] == {"synapse": 0, "plant3d": 0}
    assert {row["pnpid"] for row in project.findings("tag_from_registry")} == said, "still true, still told"


def test_a_disagreement_of_row_and_registry_is_asked_and_the_row_is_used(
    project: World, pruned: Pruned
) -> None:
    project.pulled()
    (question,) = [f for f in project.findings("registry_mismatch") if f["pnpid"] == pruned.mismatch]
    own = question["data"]["data"]["own"]
    assert question["data"]["data"]["registered"] == "1001-H" and own == "H-1001"
    assert project.asset_of(pruned.mismatch)["tag"] == own


def test_nothing_is_renamed_by_the_registry_alone(project: World, pruned: Pruned) -> None:
    project.pulled()
    item = pruned.registered[0]
    tag = project.asset_of(item)["tag"]
    project.change("UPDATE PnPTagRegistry SET Tag = 'V-9999' WHERE RowId = ?", item)
    report = project.pulled()
    assert project.asset_of(item)["tag"] == tag and report["writes"]["synapse"] == 0
    (lost,) = project.findings("tag_lost")
    assert "V-9999" in lost["data"]["message"] and tag in lost["data"]["message"]


def test_a_tag_that_an_item_shows_goes_before_the_registry_entry_of_another_one(
    project: World, pruned: Pruned
) -> None:
    shown, registered = pruned.readable[0], pruned.registered[0]
    (tag,) = project.sql("SELECT Tag FROM Equipment WHERE PnPID = ?", shown)[0]
    project.change("DELETE FROM PnPTagRegistry WHERE RowId = ?", shown)
    project.change("UPDATE PnPTagRegistry SET Tag = ? WHERE RowId = ?", tag, registered)
    project.pulled()
    assert project.asset_of(shown)["tag"] == tag
    assert [f["pnpid"] for f in project.findings("duplicate_tag") if f["data"]["tag"] == tag] == [registered]


def test_the_run_says_how_much_arrived_and_why_the_rest_did_not(project: World) -> None:
    doctor = {line["check"]: line for line in project.cli("doctor", NAME).json["checks"]}["coverage"]
    preview = project.pulled("--dry-run")["coverage"]
    report = project.pulled()
    covered = report["coverage"]
    assert covered["whole"] == ITEMS and covered["handed_over"] == report["stats"]["created"] >= 197
    assert covered["handed_over"] + sum(covered["reasons"].values()) == ITEMS, "nothing is left unexplained"
    for entity, part in covered["by_entity"].items():
        assert part["handed_over"] + sum(part["reasons"].values()) == part["whole"], entity
    assert covered["reasons"]["tag_unknown"] == 32 + 5 + 103
    assert covered["by_entity"]["lines"]["reasons"]["line_not_drawn"] == GROUPS_WITHOUT_SEGMENT
    assert report["outcome"] == "with_issues", "a fifth of the project is not clean"
    assert preview == covered
    assert doctor["result"] == "warning" and doctor["code"] == "coverage_low"
    assert f"{covered['handed_over']} of {ITEMS}" in doctor["message"]
    quiet = project.pulled()
    assert quiet["unchanged_source"] and quiet["outcome"] == "with_issues"
    assert quiet["coverage"] == covered


def test_a_project_sets_its_own_floor(project: World) -> None:
    project.configure(coverage={"warn": 0.1})
    report = project.pulled()
    assert report["outcome"] == "clean" and report["coverage"]["warn"] == 0.1
    project.configure(coverage={"warn": 2})
    assert project.pull().code == 78


def test_what_nobody_edited_is_undone_although_some_of_its_fields_were_never_read(project: World) -> None:
    first = project.pulled()
    asset = next(one for one in project.assets() if one["tag"] == "P-1004")
    project.user_edits(asset["id"], attributes={**(asset.get("attributes") or {}), "area": "typed by a user"})
    project.pulled()
    undone = project.cli("undo", first["run_id"]).json
    assert undone["restores"] == first["stats"]["created"] - 1
    assert [(one["tag"], one["reason"]) for one in undone["left_alone"]] == [("P-1004", "edited since")]


def test_the_same_numbers_in_cli_api_metrics_and_workbook(project: World, tmp_path: Path) -> None:
    report = project.pulled()
    covered = report["coverage"]
    shown = project.cli("findings", NAME, "--limit", "100000").json
    assert shown["total"] == len(shown["findings"]) == report["stats"]["findings"]
    assert shown["total"] == sum(report["findings_by_code"].values())
    nowhere = ("registry_orphan", "orphan_row", "foreign_row", "dangling_link", "dangling_relation")
    for one in shown["findings"]:
        if one["pnpid"] is not None and one["class"] != "PipeLineGroup" and one["code"] not in nowhere:
            assert one["drawing"] and one["class"], one
    groups = shown["groups"]
    assert sum(group["count"] for group in groups) == shown["total"] and len(groups) < shown["total"] / 10
    largest = groups[0]
    assert (largest["code"], largest["count"]) == ("line_not_drawn", GROUPS_WITHOUT_SEGMENT)
    causes = [(one["pnpid"], one["code"]) for one in shown["findings"]]
    unknown = {pnpid for pnpid, code in causes if code == "tag_unknown"}
    assert len(unknown) == covered["reasons"]["tag_unknown"]
    assert not [code for pnpid, code in causes if pnpid in unknown and code != "tag_unknown"], "told once"
    book_path = tmp_path / "findings.xlsx"
    project.cli("findings", NAME, "--export", str(book_path))
    book = openpyxl.load_workbook(book_path, read_only=True)
    by_cause, each = (list(book[name].iter_rows(values_only=True)) for name in ("By cause", "One by one"))
    assert len(each) - 1 == shown["total"] and [row[4] for row in by_cause[1:]] == [
        group["count"] for group in groups
    ]
    with served(project) as client:
        params = {"project_id": NAME}
        assert client.get("/api/v1/findings/groups", params=params).json()["findings"] == shown["total"]
        assert client.get(f"/api/v1/projects/{NAME}").json()["findings_by_code"] == report["findings_by_code"]
        status = client.get("/api/v1/sync/status", params=params).json()
        same = ("whole", "handed_over", "share", "reasons")
        assert {name: status["coverage"][name] for name in same} == {name: covered[name] for name in same}
        assert status["waiting"] == project.cli("waiting", NAME).json["counts"]
        metrics = client.get("/metrics").text
    open_now = re.findall(r'^plant3d_sync_findings_open\{code="(\w+)".*\} (.*)$', metrics, re.MULTILINE)
    assert {code: float(count) for code, count in open_now} == report["findings_by_code"]
    left = re.findall(r"^plant3d_sync_not_handed_over_records\{.*\} (.*)$", metrics, re.MULTILINE)
    assert sum(map(float, left)) == ITEMS - covered["handed_over"]


def test_a_project_with_its_own_standard_is_told_so_once_and_nothing_is_guessed(
    project: World, pruned: Pruned
) -> None:
    project.pulled()
    (told,) = project.findings("letters_unread")
    assert told["data"]["message"].startswith("16 of 31 instruments have no function letters")
    kinds = Counter(
        (asset["asset_subtype"], asset["attributes"]["instrument_type"])
        for asset in project.assets()
        if "KSA" in asset["tag"]
    )
    assert kinds == {("Unknown", "Unknown"): 16}
    project.pulled("--full")
    assert len(project.findings("letters_unread")) == 1
