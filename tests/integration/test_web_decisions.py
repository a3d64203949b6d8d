"""Conflicts, plans, items and findings by the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.model.record import Finding
from plant3d_sync.state import findings
from plant3d_sync.state import projects as project_state
from tests.support.webapp import MINE, OTHER, UUIDS, Desk, desk


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


# ---------------------------------------------------------------- conflicts


def test_a_conflict_has_the_plans_fields_and_ours(service: Desk) -> None:
    made = service.conflict(tag="P-101")
    answer = service.get(f"/api/v1/conflicts/{made}", "read")
    plan = "id asset_tag field plant3d_value synapse_value plant3d_updated_at synapse_updated_at suggested_resolution"
    ours = "base_value status detected_at suggested_reason resolution resolved_by resolved_at version"
    assert set(f"{plan} {ours}".split()) <= set(answer.json())
    assert answer.headers["ETag"] == '"1"'
    [listed] = service.get("/api/v1/conflicts", "read", project_id=UUIDS[MINE]).json()["items"]
    assert listed == answer.json()


def test_a_value_put_back_over_our_write_is_a_kind_of_its_own(service: Desk) -> None:
    service.conflict()
    made = service.conflict(kind="reverted", suggestion="synapse", why="put_back_after_our_write")
    [shown] = service.get("/api/v1/conflicts", "read", project_id=MINE, kind="reverted").json()["items"]
    assert (shown["id"], shown["kind"], shown["suggested_reason"]) == (
        made,
        "reverted",
        "put_back_after_our_write",
    )
    assert "session" in shown["explanation"]


def test_a_conflict_is_decided_and_a_run_carries_it_out(service: Desk) -> None:
    made = service.conflict()
    answer = service.post(
        f"/api/v1/conflicts/{made}/resolve",
        {"resolution": "manual", "manual_value": "agreed", "note": "by phone"},
        "resolve",
        headers={"If-Match": '"1"'},
    )
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["applied_value"]) == ("resolved", "agreed")
    assert body["applied_to"] == {"plant3d": "off", "synapse": "waiting"}
    run = service.get(f"/api/v1/sync/{body['sync_id']}", "read").json()
    assert (run["direction"], run["trigger"]) == ("both", "resolve")
    resolved = service.get("/api/v1/conflicts", "read", project_id=MINE, status="resolved").json()
    assert [item["resolved_by"] for item in resolved["items"]] == [service.actor("resolve")]
    assert service.get("/api/v1/conflicts", "read", project_id=MINE).json()["total"] == 0


def test_a_decision_about_values_that_moved_is_refused_with_the_new_state(service: Desk) -> None:
    made = service.conflict()
    stale = service.post(
        f"/api/v1/conflicts/{made}/resolve", {"resolution": "plant3d"}, headers={"If-Match": '"7"'}
    )
    assert stale.status_code == 412
    assert stale.json()["current"]["id"] == made
    assert stale.headers["ETag"] == '"1"'
    assert service.statuses() == []
    first = service.post(f"/api/v1/conflicts/{made}/resolve", {"resolution": "plant3d", "version": 1})
    assert first.status_code == 200
    second = service.post(f"/api/v1/conflicts/{made}/resolve", {"resolution": "synapse", "version": 1})
    assert second.status_code == 412
    assert second.json()["current"]["resolution"] == "plant3d"


def test_manual_without_a_value_names_the_field_and_with_null_blanks_it(service: Desk) -> None:
    made = service.conflict()
    path = f"/api/v1/conflicts/{made}/resolve"
    missing = service.post(path, {"resolution": "manual", "version": 1})
    assert missing.status_code == 422
    assert missing.json()["errors"][0]["field"] == "manual_value"
    blank = service.post(path, {"resolution": "manual", "manual_value": None, "version": 1})
    assert (blank.status_code, blank.json()["applied_value"]) == (200, None)


def test_many_conflicts_are_shown_first_and_decided_only_when_told(service: Desk) -> None:
    service.conflict(tag="P-1")
    service.conflict(tag="P-2")
    service.conflict(tag="V-1")
    body = {"project_id": MINE, "filter": {"asset_tag": "P-*"}, "resolution": "plant3d"}
    shown = service.post("/api/v1/conflicts/resolve", body, "resolve").json()
    assert (shown["preview"], shown["total"], len(shown["items"])) == (True, 2, 2)
    assert service.get("/api/v1/conflicts", project_id=MINE).json()["total"] == 3
    done = service.post("/api/v1/conflicts/resolve", {**body, "preview": False}, "resolve").json()
    assert sorted(done["resolved"]) == sorted(shown["resolved"])
    assert done["sync_id"]
    left = service.get("/api/v1/conflicts", project_id=MINE).json()["items"]
    assert [item["asset_tag"] for item in left] == ["V-1"]


def test_suggested_leaves_those_alone_that_have_no_suggestion(service: Desk) -> None:
    sure, unsure = service.conflict(suggestion="synapse"), service.conflict(suggestion="manual")
    body = {"project_id": MINE, "resolution": "suggested", "preview": False}
    done = service.post("/api/v1/conflicts/resolve", body).json()
    assert done["resolved"] == [sure]
    assert [entry["id"] for entry in done["left_alone"]] == [unsure]
    assert service.get(f"/api/v1/conflicts/{sure}").json()["resolution"] == "synapse"


def test_conflicts_are_paged_in_a_stable_order(service: Desk) -> None:
    made = [service.conflict() for _ in range(5)]
    service.conflict(OTHER)
    pages = [
        service.get("/api/v1/conflicts", project_id=MINE, limit=2, offset=start).json() for start in (0, 2, 4)
    ]
    assert [item["id"] for page in pages for item in page["items"]] == made
    assert {page["total"] for page in pages} == {5}


# ---------------------------------------------------------------- plans


def test_a_plan_is_asked_for_as_a_preview_run(service: Desk) -> None:
    answer = service.post("/api/v1/plans", {"project_id": MINE, "direction": "pull"}, "sync")
    assert (answer.status_code, answer.json()["dry_run"]) == (202, True)
    other = service.post("/api/v1/sync/pull", {"project_id": MINE}, "sync")
    assert (other.status_code, other.json()["code"]) == (409, "run_waiting")


def test_the_lines_of_a_plan_are_paged_over_its_chunks(service: Desk) -> None:
    plan = service.plan(lines=1203)
    page = service.get(f"/api/v1/plans/{plan}", "read", limit=5, offset=498).json()
    assert [line["n"] for line in page["lines"]] == [498, 499, 500, 501, 502]
    assert page["lines"][0]["set"] == {"description": "new"}
    assert "after" not in page["lines"][0]
    last = service.get(f"/api/v1/plans/{plan}", "read", limit=5, offset=1200).json()
    assert [line["n"] for line in last["lines"]] == [1200, 1201, 1202]
    assert (page["lines_total"], page["stats"]["updated"]) == (1203, 1203)


def test_a_plan_is_applied_exactly_and_the_approval_is_audited(service: Desk) -> None:
    plan = service.plan()
    answer = service.post(f"/api/v1/plans/{plan}/apply", {}, "write", headers={"If-Match": '"1"'})
    assert answer.status_code == 202
    with service.state.read() as connection:
        from plant3d_sync.state import runs

        run = runs.get(connection, answer.json()["sync_id"])
    assert run is not None and run.options["plan_id"] == plan and run.trigger == "apply"
    [entry] = [entry for entry in service.audited() if entry["action"] == "plan.approved"]
    assert (entry["plan"], entry["actor"]) == (plan, service.actor("write"))


def test_a_guarded_plan_needs_the_approval_of_its_guards(service: Desk) -> None:
    plan = service.plan(status="guarded")
    refused = service.post(f"/api/v1/plans/{plan}/apply", None, "write")
    assert (refused.status_code, refused.json()["code"]) == (409, "guard")
    assert refused.json()["guards"][0]["name"] == "create"
    assert service.statuses() == []
    assert service.post(f"/api/v1/plans/{plan}/apply", {"approve_guards": True}, "write").status_code == 202


def test_a_plan_that_is_done_or_changed_is_not_applied(service: Desk) -> None:
    done = service.post(f"/api/v1/plans/{service.plan(status='applied')}/apply", {}, "write")
    assert (done.status_code, done.json()["code"]) == (409, "plan_applied")
    changed = service.post(f"/api/v1/plans/{service.plan()}/apply", {}, "write", headers={"If-Match": '"9"'})
    assert (changed.status_code, changed.json()["code"]) == (412, "plan_moved")
    assert changed.json()["current"]["version"] == 1


# ---------------------------------------------------------------- items


def test_an_item_is_found_by_the_beginning_of_its_tag_and_by_a_former_one(service: Desk) -> None:
    service.linked(tag="P-101", former="PMP-1")
    service.linked(tag="P-102")
    service.linked(tag="P_1%X")
    service.linked(OTHER, tag="P-101")
    found = service.get("/api/v1/items", "read", project_id=MINE, tag="p-10").json()
    assert [item["asset_tag"] for item in found["items"]] == ["P-101", "P-102"]
    former = service.get("/api/v1/items", "read", project_id=MINE, tag="PMP").json()
    assert [(item["asset_tag"], item["matched_old_tag"]) for item in former["items"]] == [("P-101", "PMP-1")]
    literal = service.get("/api/v1/items", "read", project_id=MINE, tag="P_1%").json()
    assert [item["asset_tag"] for item in literal["items"]] == ["P_1%X"]
    assert service.get("/api/v1/items", "read", project_id=MINE).json()["total"] == 3


def test_an_item_tells_where_each_value_comes_from_and_what_happened(service: Desk) -> None:
    link = service.linked(tag="P-101")
    body = service.get(f"/api/v1/items/{link}", "read").json()
    fields = {field["field"]: field for field in body["fields"]}
    assert fields["description"] == {
        "field": "description",
        "owner": "shared",
        "base_value": "old",
        "has_base": True,
        "plant3d_value": "from Plant 3D",
        "synapse_value": "from SYNAPSE",
        "waiting": "conflict",
    }
    assert (fields["tag"]["owner"], fields["tag"]["plant3d_value"], fields["tag"]["waiting"]) == (
        "plant3d",
        "P-101",
        None,
    )
    assert [(change["op"], change["fields"], change["why"]) for change in body["history"]] == [
        ("create", {"description": [None, "old"]}, {"*": "new_item"})
    ]


# ---------------------------------------------------------------- findings


def test_findings_and_drift_are_listed_by_code(service: Desk) -> None:
    with service.state.write() as connection:
        number = project_state.ensure(connection, MINE).number
        findings.replace_findings(
            connection,
            number,
            [
                Finding(code="untagged", message="no tag", pnpid=1),
                Finding(
                    code="drift",
                    message="m",
                    hint="h",
                    pnpid=2,
                    column="tag",
                    tag="P-1",
                    data={"plant3d": "a", "synapse": "b"},
                ),
            ],
            service.clock(),
        )
        findings.replace_work_items(
            connection, number, [{"pnpid": 2, "field": "tag", "what": "change it"}], 1.0
        )
    everything = service.get("/api/v1/findings", "read", project_id=MINE).json()
    assert [item["code"] for item in everything["items"]] == ["drift", "untagged"]
    assert service.get("/api/v1/findings", "read", project_id=MINE, code="untagged").json()["total"] == 1
    [drift] = service.get("/api/v1/drift", "read", project_id=MINE).json()["items"]
    assert (drift["field"], drift["plant3d_value"], drift["synapse_value"]) == ("tag", "a", "b")
    [work] = service.get("/api/v1/work-items", "read", project_id=MINE).json()["items"]
    assert (work["pnpid"], work["data"]) == (2, {"what": "change it"})
    detail = service.get(f"/api/v1/projects/{MINE}", "read").json()
    assert (detail["findings_by_code"], detail["work_items"]) == ({"drift": 1, "untagged": 1}, 1)


def test_a_project_that_never_ran_has_empty_lists_rather_than_errors(service: Desk) -> None:
    for path in ("findings", "drift", "work-items", "items", "plans", "conflicts", "audit", "sync/history"):
        answer = service.get(f"/api/v1/{path}", project_id=MINE)
        assert (answer.status_code, answer.json()["items"], answer.json()["total"]) == (200, [], 0), path


def test_the_audit_pages_backwards_through_a_projects_chain(service: Desk) -> None:
    for _ in range(5):
        decision = {"resolution": "plant3d", "version": 1}
        service.post(f"/api/v1/conflicts/{service.conflict()}/resolve", decision)
    page = service.get("/api/v1/audit", "admin", project_id=MINE, limit=2, offset=1).json()
    assert [entry["seq"] for entry in page["items"]] == [4, 3]
    assert (page["total"], page["items"][0]["action"]) == (5, "conflict.resolved")
    assert page["items"][0]["prev"] == page["items"][1]["hash"]
