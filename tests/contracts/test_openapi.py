"""The API keeps its word: every answer is documented, every operation is in the reference, nothing ends in a 500."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from plant3d_sync.web.auth import Needs
from tests.support.webapp import MINE, Desk, desk

DOCS = Path(__file__).parents[2] / "docs" / "reference"
PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("openapi")
    with desk(folder, P3DSYNC_RATE_LIMIT="1000000/minute") as made:
        made.well()
        yield made


def tried(service: Desk, examples: int) -> Iterator[Callable[[Callable[[Any], None]], None]]:
    """For each operation: a way to run a check over generated requests."""
    described = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", service.web, headers=service.headers(), timeout=300
    )
    for found in described.get_all_operations():
        cases = found.ok().as_strategy()
        tune = settings(
            max_examples=examples,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        yield lambda check, cases=cases, tune=tune: tune(given(case=cases)(lambda case: check(case)))()


@pytest.mark.timeout(1500)
def test_every_answer_is_as_documented_and_none_is_a_server_error(service: Desk) -> None:
    headers = service.headers()
    answered: Counter[str] = Counter()
    real = {
        "sync_id": service.run(),
        "plan_id": service.plan(),
        "conflict_id": service.conflict(),
        "link_id": str(service.linked(former="OLD-1")),
        "project_id": MINE,
    }

    def check(case: Any) -> None:
        if "wait" in (case.query or {}) or case.operation.path == "/api/v1/sync/now":
            case.query["wait"] = 0
        if case.operation.path.startswith("/api/v1/keys/"):
            case.path_parameters["key_id"] = "000000000000"  # not the one we come in with
        name = f"{case.operation.method} {case.operation.path}"
        if answered[name] % 2:  # every other request is about something that exists
            for where in (case.path_parameters, case.query, case.body):
                if isinstance(where, dict):
                    where.update({one: real[one] for one in where if one in real})
        response = case.call(headers=headers, timeout=300)
        case.validate_response(response, checks=PROMISES)
        answered[name] += 1

    for run in tried(service, 12):
        run(check)
    assert set(answered) == {f"{method.lower()} {path}" for method, path, _ in operations(service)}


def test_every_refusal_of_a_stranger_is_documented(service: Desk) -> None:
    def check(case: Any) -> None:
        response = case.call(headers={"X-API-Key": "p3s_000000000000_wrong"}, timeout=300)
        case.validate_response(response, checks=PROMISES)

    for run in tried(service, 1):
        run(check)


# ---------------------------------------------------------------- the description


def operations(service: Desk) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in service.web.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_plans_endpoints_are_there_by_name(service: Desk) -> None:
    plan = """
        POST /api/v1/sync/pull, POST /api/v1/sync/push, POST /api/v1/sync/now, GET /api/v1/sync/status,
        GET /api/v1/sync/history, GET /api/v1/sync/{sync_id}, GET /api/v1/conflicts,
        GET /api/v1/conflicts/{conflict_id}, POST /api/v1/conflicts/{conflict_id}/resolve, GET /health
    """
    wanted = {one.strip() for one in plan.split(",")}
    assert wanted <= {f"{method} {path}" for method, path, _operation in operations(service)}


@pytest.mark.parametrize(
    ("schema", "members"),
    [
        ("PullBody", "project_id entity_types full_sync"),
        ("PushBody", "project_id asset_ids"),
        ("SyncJob", "sync_id status stats"),
        ("Stats", "total created updated skipped errors"),
        ("SyncNow", "sync_id pull_stats push_stats"),
        ("SyncStatus", "last_sync next_scheduled current_job health"),
        ("History", "items total"),
        ("SyncDetail", "sync_id status started_at completed_at stats errors"),
        (
            "Conflict",
            "id asset_tag field plant3d_value synapse_value plant3d_updated_at synapse_updated_at suggested_resolution",
        ),
        ("ResolveBody", "resolution manual_value"),
        ("Resolved", "status applied_value"),
        ("HealthAnswer", "status plant3d_connection synapse_connection redis_connection version"),
    ],
)
def test_the_plans_fields_keep_their_names(service: Desk, schema: str, members: str) -> None:
    assert set(members.split()) <= set(service.web.openapi()["components"]["schemas"][schema]["properties"])


def test_the_plans_defaults_hold(service: Desk) -> None:
    history = service.web.openapi()["paths"]["/api/v1/sync/history"]["get"]["parameters"]
    defaults = {one["name"]: one["schema"].get("default") for one in history}
    assert (defaults["limit"], defaults["offset"]) == (50, 0)
    assert (
        service.web.openapi()["components"]["schemas"]["PullBody"]["properties"]["full_sync"]["default"]
        is False
    )


def test_every_operation_has_a_name_a_summary_a_text_and_its_refusals(service: Desk) -> None:
    names = []
    for method, path, operation in operations(service):
        names.append(operation["operationId"])
        assert operation["summary"] and operation.get("description"), path
        if path.startswith("/api/"):
            assert {"401", "403", "404", "422", "429", "500", "503"} <= set(operation["responses"]), (
                method,
                path,
            )
            assert operation["security"] == [{"ApiKey": []}], path
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert len(names) == len(set(names))


def test_every_reference_in_the_description_leads_somewhere(service: Desk) -> None:
    document = service.web.openapi()
    known = set(document["components"]["schemas"])
    found = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert found <= known


def test_all_posts_take_an_idempotency_key(service: Desk) -> None:
    for method, path, operation in operations(service):
        takes = "idempotency-key" in {one["name"].lower() for one in operation.get("parameters", [])}
        assert takes == (method == "POST"), path


def documented(name: str) -> dict[str, str]:
    """Operation -> scope, from the tables of the reference."""
    text = (DOCS / name).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(GET|POST) (/[^`]*)` \| ([^|]+) \|", text, re.MULTILINE)
    return {f"{method} {path}": scope.strip().strip("`") for method, path, scope in rows}


def scopes(service: Desk) -> dict[str, str]:
    found: dict[str, str] = {}
    for outer in service.web.routes:
        router = getattr(outer, "original_router", None)
        for route in router.routes if router is not None else []:
            if not isinstance(route, APIRoute):
                continue
            needs = [one.call.scope for one in route.dependant.dependencies if isinstance(one.call, Needs)]
            scope = "no key" if not needs else (needs[0] or "any key")
            found |= {f"{method} {route.path}": scope for method in route.methods - {"HEAD"}}
    return found


def test_the_english_reference_lists_every_operation_with_its_scope(service: Desk) -> None:
    assert documented("api.md") == scopes(service)


def test_the_french_reference_lists_every_operation_with_its_scope(service: Desk) -> None:
    words = {"aucune clé": "no key", "toute clé": "any key"}
    assert {name: words.get(scope, scope) for name, scope in documented("api.fr.md").items()} == scopes(
        service
    )


def test_the_description_is_valid_under_the_version_it_names(service: Desk) -> None:
    document = service.web.openapi()
    assert document["openapi"].startswith("3.1.")
    errors = [
        f"{list(one.absolute_path)}: {one.message}" for one in OpenAPIV31SpecValidator(document).iter_errors()
    ]
    assert errors == []
    assert "itemSchema" not in str(document)  # a word of 3.2; 3.1 lets unknown words pass in silence


def test_the_plain_page_lists_every_operation_without_a_script(service: Desk) -> None:
    page = service.client.get("/docs/plain").text
    for method, path, _operation in operations(service):
        assert f"<code>{method} {path}</code>" in page
    assert "<script" not in page and "<style" not in page


def test_what_the_pages_show_is_the_description(service: Desk) -> None:
    assert service.client.get("/docs/openapi.json").json() == service.get("/api/v1/openapi.json").json()


def test_examples_of_bodies_are_accepted(service: Desk) -> None:
    for path in ("pull", "push"):
        ref = service.web.openapi()["components"]["schemas"][f"{path.title()}Body"]
        for example in ref["examples"]:
            assert service.post(f"/api/v1/sync/{path}", example).status_code == 202, path
    assert service.get("/api/v1/sync/status", project_id=MINE).status_code == 200
