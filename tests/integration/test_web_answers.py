"""What the service answers is true, in words for people, and the same on every address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from plant3d_sync.model.record import Finding
from plant3d_sync.state import findings, keys
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.tables import api_key
from tests.support.webapp import MINE, Desk, desk


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        made.well()
        yield made


def gets(service: Desk) -> list[str]:
    """Every address that answers GET, with real ids in it."""
    real = {
        "{sync_id}": service.run(),
        "{plan_id}": service.plan(),
        "{conflict_id}": service.conflict(),
        "{link_id}": str(service.linked()),
        "{project_id}": MINE,
    }
    found = ["/api/v1/openapi.json", "/healthz"]
    for path, methods in service.web.openapi()["paths"].items():
        if "get" in methods:
            for name, one in real.items():
                path = path.replace(name, one)
            needed = [
                p["name"]
                for p in methods["get"].get("parameters", [])
                if p["in"] == "query" and p["required"]
            ]
            found.append(path + (f"?project_id={MINE}" if needed else ""))
    return found


# ---------------------------------------------------------------- every address


def test_every_address_refuses_a_parameter_it_does_not_know(service: Desk) -> None:
    for path in gets(service):
        asked = f"{path}{'&' if '?' in path else '?'}limt=3"
        answer = service.client.get(asked, headers=service.headers())
        assert answer.status_code == 422, asked
        [error] = answer.json()["errors"]
        assert (error["field"], error["where"]) == ("limt", "query"), asked


def test_an_unknown_parameter_is_told_with_the_nearest_one(service: Desk) -> None:
    for wrong, meant in (
        ("project", "project_id"),
        ("Limit", "limit"),
        ("state", "status"),
        ("ofset", "offset"),
    ):
        answer = service.get("/api/v1/conflicts", project_id=MINE, **{wrong: "1"})
        assert answer.status_code == 422
        assert f"did you mean {meant}?" in answer.json()["detail"]
    post = service.post("/api/v1/sync/pull?wiat=3", {"project_id": MINE})
    assert post.status_code == 422 and "did you mean wait?" in post.json()["detail"]
    assert service.statuses() == []


def test_an_unknown_name_in_a_body_is_told_with_the_nearest_one(service: Desk) -> None:
    answer = service.post("/api/v1/sync/pull", {"project": MINE, "fullsync": True})
    assert answer.status_code == 422
    messages = {one["field"]: one["message"] for one in answer.json()["errors"]}
    assert messages == {
        "project_id": "is needed",
        "project": "is not known here; did you mean project_id?",
        "fullsync": "is not known here; did you mean full_sync?",
    }
    nested = service.post(
        "/api/v1/conflicts/resolve", {"project_id": MINE, "resolution": "plant3d", "filter": {"tag": "P-1"}}
    )
    [error] = nested.json()["errors"]
    assert (error["field"], error["message"]) == ("filter.tag", "is not known here; did you mean asset_tag?")


def test_whatever_answers_get_answers_head(service: Desk) -> None:
    for path in gets(service):
        whole = service.client.get(path, headers=service.headers()) if "/events" not in path else None
        bare = service.client.head(path, headers=service.headers())
        assert bare.status_code == 200, path
        assert bare.content == b"", path
        if whole is not None:
            assert bare.headers["content-type"] == whole.headers["content-type"], path
            assert bare.headers.get("etag") == whole.headers.get("etag"), path
    assert service.client.head("/health").status_code == 200  # without a key too
    assert service.client.head(f"/api/v1/conflicts?project_id={MINE}").status_code == 401


def test_an_unknown_method_is_refused_with_every_method_that_is_known(service: Desk) -> None:
    run = service.run()
    for path, allowed in (
        ("/api/v1/plans", "GET, HEAD, POST"),
        ("/api/v1/keys", "GET, HEAD, POST"),
        ("/api/v1/conflicts/resolve", "GET, HEAD, POST"),  # GET: a conflict of that name, there is none
        ("/health", "GET, HEAD"),
        (f"/api/v1/sync/{run}", "GET, HEAD"),
        (f"/api/v1/sync/{run}/cancel", "POST"),
    ):
        answer = service.client.delete(path, headers=service.headers())
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), path


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/v1/sync/pull", '{"project_id": }', "body"),
        ("/api/v1/sync/pull", "[]", "body"),
        ("/api/v1/sync/pull", "null", "body"),
        ("/api/v1/sync/pull", '{"project_id": null}', "project_id"),
        ("/api/v1/sync/pull", '{"project_id": "mine", "full_sync": "maybe"}', "full_sync"),
        ("/api/v1/sync/pull", '{"project_id": "mine", "entity_types": "lines"}', "entity_types"),
        ("/api/v1/sync/pull", '{"project_id": "mine", "entity_types": ["pumps"]}', "entity_types.0"),
        ("/api/v1/sync/push", '{"project_id": "mine", "asset_ids": [null]}', "asset_ids.0"),
        ("/api/v1/sync/push", '{"project_id": "a\\u0000b"}', "project_id"),
        (
            "/api/v1/conflicts/CONFLICT/resolve",
            '{"resolution": "manual", "manual_value": {"a": 1}}',
            "manual_value",
        ),
        (
            "/api/v1/conflicts/CONFLICT/resolve",
            '{"resolution": "manual", "manual_value": [1]}',
            "manual_value",
        ),
        ("/api/v1/keys", '{"name": "n", "scopes": [], "expires_days": "soon"}', "scopes"),
    ],
)
def test_no_word_of_python_is_in_a_refusal(service: Desk, path: str, body: str, field: str) -> None:
    path = path.replace("CONFLICT", service.conflict())
    answer = service.client.post(
        path, content=body, headers={**service.headers(), "Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    fields = [one["field"] for one in problem["errors"]]
    assert fields[0] == field and len(set(fields)) == len(fields)
    for text in (problem["detail"], *(one["message"] for one in problem["errors"])):
        for python in (
            "None",
            "Value error",
            "dictionary",
            "Input should",
            "^[",
            "valid list",
            "object to extract",
        ):
            assert python not in text, text
        assert not any(part.isdigit() for part in text.split(":")[0].split(".")[:1]), text


# ---------------------------------------------------------------- what the plan says


@pytest.mark.parametrize("wanted", [["all"], ["all", "lines"], [], None])
def test_all_entity_types_may_be_called_all(service: Desk, wanted: list[str] | None) -> None:
    for path in ("/api/v1/sync/pull", "/api/v1/plans"):
        run_id = service.post(path, {"project_id": MINE, "entity_types": wanted}).json()["sync_id"]
        stored = service.get(f"/api/v1/sync/{run_id}").json()
        assert stored["status"] == "queued"
        service.end(run_id)


def test_health_says_that_there_is_no_redis_and_means_it(service: Desk) -> None:
    body = service.client.get("/health").json()
    assert list(body)[:5] == [
        "status", "plant3d_connection", "synapse_connection", "redis_connection", "version"
    ]  # fmt: skip
    assert (body["redis_connection"], body["queue"]) == ("ok", "embedded")


def test_without_redis_the_queue_is_the_run_table_and_fails_with_it(service: Desk) -> None:
    with service.state.write() as connection:
        connection.execute(sa.text("ALTER TABLE component RENAME TO elsewhere"))
    body = service.client.get("/health").json()
    assert (body["redis_connection"], body["queue"], body["status"]) == ("error", "embedded", "offline")


def test_a_key_was_never_used_before_it_was_made(service: Desk) -> None:
    service.clock.now += 1234.0
    key = service.key("read", "admin", name="late")
    service.client.get("/api/v1/keys", headers={"X-API-Key": key})
    [shown] = service.get("/api/v1/keys", name="late").json()["items"]
    assert shown["last_used_at"] >= shown["created_at"]
    with service.state.write() as connection:  # as an older version stored it
        connection.execute(
            sa.update(api_key).where(api_key.c.name == "late").values(last_used_at=service.clock() - 1234.0)
        )
        [one] = [key for key in keys.list_keys(connection) if key.name == "late"]
    assert one.last_used_at == one.created_at


# ---------------------------------------------------------------- deciding


def test_a_decision_needs_the_version_it_was_made_on(service: Desk) -> None:
    made = service.conflict()
    path = f"/api/v1/conflicts/{made}/resolve"
    for headers in ({}, {"If-Match": "*"}):
        answer = service.post(path, {"resolution": "plant3d"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (428, "version_required")
        assert answer.json()["current"]["plant3d_value"] == "from Plant 3D"
        assert answer.headers["ETag"] == '"1"'
    assert service.get(f"/api/v1/conflicts/{made}").json()["status"] == "pending"
    assert service.statuses() == []
    assert service.post(path, {"resolution": "plant3d", "version": 2}).status_code == 412
    assert service.post(path, {"resolution": "plant3d", "version": 1}).status_code == 200


def test_many_decisions_may_be_bound_to_the_preview_they_were_made_on(service: Desk) -> None:
    service.conflict()
    body = {"project_id": MINE, "resolution": "plant3d"}
    seen = service.post("/api/v1/conflicts/resolve", body).json()["seen"]
    service.conflict()
    late = service.post("/api/v1/conflicts/resolve", {**body, "preview": False, "seen": seen})
    assert (late.status_code, late.json()["code"]) == (412, "conflict_moved")
    assert service.get("/api/v1/conflicts", project_id=MINE).json()["total"] == 2
    seen = service.post("/api/v1/conflicts/resolve", body).json()["seen"]
    done = service.post("/api/v1/conflicts/resolve", {**body, "preview": False, "seen": seen}).json()
    assert len(done["resolved"]) == 2


# ---------------------------------------------------------------- lists


def put_findings(service: Desk) -> None:
    with service.state.write() as connection:
        number = project_state.ensure(connection, MINE).number
        found = [
            Finding(code="drift", message="one", column="description", tag="P-1", class_name="Pump", pnpid=1),
            Finding(code="drift", message="two", column="notes", tag="V-1", class_name="Valve", pnpid=2),
            Finding(code="no_tag", message="three", column=None, tag=None, class_name="Pump", pnpid=3),
        ]
        findings.replace_findings(connection, number, found, service.clock())
        work = [
            {"pnpid": 1, "field": "description", "tag": "P-1"},
            {"pnpid": 2, "field": "notes", "tag": "V-1"},
        ]
        findings.replace_work_items(connection, number, work, service.clock())


def listed(service: Desk, path: str, **wanted: object) -> tuple[int, int]:
    """(how many are shown, total)"""
    answer = service.get(path, **wanted)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return len(body["items"]), body["total"]


def test_every_list_can_be_narrowed_by_what_its_rows_say(service: Desk) -> None:
    put_findings(service)
    service.run(direction="push")
    service.run(status="failed")
    service.run(outcome="guarded")
    service.plan()
    service.plan(status="guarded")
    service.linked(tag="P-1")
    mine = {"project_id": MINE}
    for path, wanted, expected in [
        ("/api/v1/findings", {**mine, "code": "drift", "asset_tag": "P-*"}, 1),
        ("/api/v1/findings", {**mine, "class_name": "Pump"}, 2),
        ("/api/v1/findings", {**mine, "column": "notes"}, 1),
        ("/api/v1/drift", {**mine, "field": "notes"}, 1),
        ("/api/v1/drift", {**mine, "asset_tag": "?-1"}, 2),
        ("/api/v1/drift", {**mine, "class_name": "Pump"}, 1),
        ("/api/v1/work-items", {**mine, "field": "notes"}, 1),
        ("/api/v1/work-items", {**mine, "asset_tag": "P-*"}, 1),
        ("/api/v1/sync/history", {**mine, "status": "failed"}, 1),
        ("/api/v1/sync/history", {**mine, "direction": "push"}, 1),
        ("/api/v1/sync/history", {**mine, "outcome": "guarded"}, 1),
        ("/api/v1/plans", {**mine, "status": "guarded"}, 1),
        ("/api/v1/plans", {**mine, "direction": "push"}, 0),
        ("/api/v1/items", {**mine, "entity": "equipment"}, 1),
        ("/api/v1/items", {**mine, "state": "archived"}, 0),
        ("/api/v1/items", {**mine, "class_name": "Valve"}, 0),
        ("/api/v1/projects", {"active": "false"}, 0),
        ("/api/v1/projects", {"active": "true"}, 2),
        ("/api/v1/keys", {"name": "nobody"}, 0),
        ("/api/v1/keys", {"valid": "true"}, 1),
        ("/api/v1/audit", {"action": "key.*", "actor": "test"}, 1),
        ("/api/v1/audit", {"action": "plan.*"}, 0),
    ]:  # fmt: skip
        assert listed(service, path, **wanted) == (expected, expected), (path, wanted)
        if expected > 1:
            assert listed(service, path, **wanted, limit=1) == (1, expected), (path, wanted)
            assert listed(service, path, **wanted, limit=9, offset=1) == (expected - 1, expected)


def test_a_word_that_a_filter_does_not_know_is_refused(service: Desk) -> None:
    for path, name in (
        ("/api/v1/plans", "status"),
        ("/api/v1/sync/history", "outcome"),
        ("/api/v1/items", "entity"),
        ("/api/v1/items", "state"),
    ):
        answer = service.get(path, project_id=MINE, **{name: "nonsense"})
        assert answer.status_code == 422, path
        assert answer.json()["errors"][0]["field"] == name
