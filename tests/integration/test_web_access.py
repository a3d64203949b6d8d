"""Who gets in: every address, with every kind of wrong key. The table is made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from plant3d_sync.errors import ConfigError
from plant3d_sync.state import keys
from plant3d_sync.web import create_app
from plant3d_sync.web.auth import OPEN, Needs
from tests.support.webapp import MINE, OTHER, SECRET, UUIDS, Desk, configured, desk

BODIES = {
    "/api/v1/sync/pull": {"project_id": MINE},
    "/api/v1/sync/push": {"project_id": MINE},
    "/api/v1/sync/now": {"project_id": MINE},
    "/api/v1/plans": {"project_id": MINE},
    "/api/v1/conflicts/resolve": {"project_id": MINE, "resolution": "plant3d"},
    "/api/v1/conflicts/{conflict_id}/resolve": {"resolution": "plant3d", "version": 1},
    "/api/v1/keys": {"name": "n", "scopes": ["read"], "project_id": MINE},
    "/api/v1/projects/{project_id}/schema/accept": {},
    "/api/v1/projects/{project_id}/clocks/forget": {"reason": "it follows NTP now"},
    "/api/v1/findings/acknowledge": {"project_id": MINE, "reason": "agreed", "filter": {"code": "untagged"}},
    "/api/v1/quarantine/{row_id}/ignore": {"reason": "agreed"},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


def scope_of(route: APIRoute) -> str | None:
    [need] = [one.call for one in route.dependant.dependencies if isinstance(one.call, Needs)]
    return need.scope


def guarded_routes(service: Desk) -> list[tuple[str, APIRoute]]:
    found = [
        (method, route)
        for route in every_route(service)
        for method in sorted(route.methods - {"HEAD"})
        if route.path not in OPEN | {"/", "/docs/{name}"}  # theirs: test_web_pages
    ]
    assert len(found) > 25
    return found


def every_route(service: Desk) -> list[APIRoute]:
    routes: list[APIRoute] = []
    for route in service.web.routes:
        inner = getattr(route, "original_router", None)
        routes += [one for one in inner.routes if isinstance(one, APIRoute)] if inner is not None else []
        routes += [route] if isinstance(route, APIRoute) else []
    return routes


def ask(service: Desk, method: str, path: str, headers: dict[str, str], template: str) -> int:
    wait = "?wait=0" if template.startswith("/api/v1/sync/now") else ""
    described = service.web.openapi()["paths"].get(template, {}).get(method.lower(), {})
    takes = {one["name"] for one in described.get("parameters", []) if one["in"] == "query"}
    params = {"project_id": MINE} if "project_id" in takes else {}
    answer = service.client.request(
        method,
        path + wait,
        params=params or None,
        headers=headers,
        json=BODIES.get(template) if method == "POST" else None,
    )
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"]
    return answer.status_code


def concrete(service: Desk, template: str) -> str:
    """The address of an object of the project `mine`."""
    makers = {
        "sync_id": lambda: service.run(status="queued" if template.endswith("cancel") else "completed"),
        "plan_id": service.plan,
        "conflict_id": service.conflict,
        "link_id": service.linked,
        "project_id": lambda: MINE,
        "row_id": service.refused,
        "key_id": lambda: service.key("read", projects=[MINE], name=f"victim of {template}").split("_")[1],
    }
    return re.sub(r"\{(\w+)\}", lambda found: str(makers[found[1]]()), template)


def test_no_address_answers_without_a_key_or_with_a_wrong_one(service: Desk) -> None:
    good = service.key()
    kid, secret = good.split("_", 2)[1:]
    wrong = [
        "",
        "nonsense",
        f"p3s_{kid}_{secret[:-1]}",
        f"p3s_000000000000_{secret}",
        "p3s__",
        "x" * 5000,
        secret,
    ]
    for method, route in guarded_routes(service):
        path = concrete(service, route.path)
        assert ask(service, method, path, {}, route.path) == 401, (method, route.path)
        assert ask(service, method, path, {"X-API-Key": wrong[2]}, route.path) in (401, 429), (
            method,
            route.path,
        )
    for text in wrong:
        assert ask(service, "GET", "/api/v1/projects", {"X-API-Key": text}, "") in (401, 429), text


def test_an_unknown_address_does_not_tell_strangers_that_it_is_unknown(service: Desk) -> None:
    assert service.client.get("/api/v1/nothing-here").status_code == 401
    assert service.get("/api/v1/nothing-here").status_code == 404


def test_a_key_without_the_scope_is_refused_everywhere_and_one_with_it_nowhere(service: Desk) -> None:
    for method, route in guarded_routes(service):
        scope = scope_of(route)
        path = concrete(service, route.path)
        others = [name for name in keys.SCOPES if name != scope]
        if scope is not None:
            assert ask(service, method, path, service.headers(*others), route.path) == 403, (
                method,
                route.path,
            )
        only = service.headers(*([scope] if scope else ["sync"]))
        status = ask(service, method, path, only, route.path)
        if route.path.endswith(("/schema/accept", "/findings/acknowledge", "/clocks/forget")):
            assert status == 404, "no change of a schema waits, no finding, and no clock is behind"
            continue
        assert status not in (401, 403, 404, 422, 500), (method, route.path, status)


def test_a_key_of_another_project_sees_none_of_this_one(service: Desk) -> None:
    foreign = {"X-API-Key": service.key(projects=[OTHER])}
    harmless = {"/api/v1/projects", "/api/v1/keys", "/metrics", "/api/v1/openapi.json"}
    for method, route in guarded_routes(service):
        path = concrete(service, route.path)
        status = ask(service, method, path, foreign, route.path)
        if route.path in harmless and method == "GET":
            assert status == 200, (method, route.path)
            text = service.client.get(route.path, headers=foreign).text
            if route.path != "/api/v1/openapi.json":
                assert f'"{MINE}"' not in text and UUIDS[MINE] not in text, route.path
        else:
            assert status == 404, (method, route.path, status)


MISSING = {"link_id": "99999999999", "row_id": "99999999999"}


def addresses_with_an_id(service: Desk) -> list[tuple[str, str, str]]:
    """(method, address, name of the id) of all that takes an id, from the OpenAPI document."""
    found = [
        (method.upper(), template, parameter["name"])
        for template, methods in service.web.openapi()["paths"].items()
        for method, operation in methods.items()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    ]
    assert len(found) >= 11, found
    return found


def test_a_foreign_object_and_a_missing_one_look_the_same(service: Desk) -> None:
    """Byte for byte, but for the id that was asked for."""
    foreign = {"X-API-Key": service.key(projects=[OTHER]), "X-Request-ID": "one-and-the-same"}
    for method, template, name in addresses_with_an_id(service):
        there = concrete(service, template)
        missing = re.sub(r"\{\w+\}", MISSING.get(name, "0123456789abcdef"), template)
        ids = [re.fullmatch(re.sub(r"\{\w+\}", "(.+)", template), path)[1] for path in (there, missing)]
        answers = []
        for path, shown in zip((there, missing), ids, strict=True):
            body = BODIES.get(template) if method == "POST" else None
            answer = service.client.request(method, path, headers=foreign, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
            headers = {
                key: value for key, value in answer.headers.items() if key not in ("date", "content-length")
            }
            answers.append((headers, re.sub(rf"\b{re.escape(shown)}\b", "ID", answer.text)))
        assert answers[0] == answers[1], (method, template)


def test_a_foreign_project_and_a_missing_one_look_the_same(service: Desk) -> None:
    foreign = {"X-API-Key": service.key(projects=[OTHER]), "X-Request-ID": "one-and-the-same"}
    asked = 0
    for template, methods in service.web.openapi()["paths"].items():
        takes = {one["name"] for one in methods.get("get", {}).get("parameters", [])}
        if "project_id" not in takes or "{" in template:
            continue
        answers = {
            service.client.get(template, params={"project_id": name}, headers=foreign).content.replace(
                name.encode(), b"ID"
            )
            for name in (MINE, UUIDS[MINE], "nowhere")
        }
        assert len(answers) == 1 and b'"status":404' in answers.pop(), template
        asked += 1
    assert asked >= 8


def test_a_project_can_be_named_by_its_synapse_uuid_but_not_by_a_stranger(service: Desk) -> None:
    path = "/api/v1/sync/status"
    assert service.get(path, project_id=UUIDS[MINE].upper()).json()["project_id"] == MINE
    foreign = {"X-API-Key": service.key(projects=[OTHER])}
    answer = service.client.get(path, params={"project_id": UUIDS[MINE]}, headers=foreign)
    assert answer.status_code == 404
    assert MINE not in answer.json()["hint"].replace(UUIDS[MINE], "")


def test_an_expired_key_and_a_revoked_one_are_refused_at_once(service: Desk) -> None:
    short = service.key("read", days=1.0)
    long = service.key("read", name="long")
    for key in (short, long):
        assert service.client.get("/api/v1/projects", headers={"X-API-Key": key}).status_code == 200
    service.clock.now += 86_401
    assert service.client.get("/api/v1/projects", headers={"X-API-Key": short}).status_code == 401
    revoked = service.post(f"/api/v1/keys/{long.split('_')[1]}/revoke", None, "admin")
    assert revoked.status_code == 200 and revoked.json()["revoked_at"]
    assert service.client.get("/api/v1/projects", headers={"X-API-Key": long}).status_code == 401


def test_a_name_belongs_to_one_living_key(service: Desk) -> None:
    body = {"name": "Synapse  desk", "scopes": ["read"]}
    old = service.post("/api/v1/keys", body, "admin").json()
    for name in ("Synapse  desk", "synapse desk", "SYNAPSE DESK", "\uff33ynapse desk"):
        taken = service.post("/api/v1/keys", {**body, "name": name}, "admin")
        assert (taken.status_code, taken.json()["code"]) == (409, "key_name_taken"), name
    new = service.post("/api/v1/keys", {**body, "name": "Synapse desk 2"}, "admin").json()
    for made in (old, new):
        assert service.client.get("/api/v1/projects", headers={"X-API-Key": made["key"]}).status_code == 200
    service.post(f"/api/v1/keys/{old['id']}/revoke", None, "admin")
    again = service.post("/api/v1/keys", body, "admin")
    assert again.status_code == 201, "the name is free once its key is revoked"
    short = service.post("/api/v1/keys", {**body, "name": "short", "expires_days": 1}, "admin")
    service.clock.now += 86_401
    assert short.status_code == 201
    assert service.post("/api/v1/keys", {**body, "name": "short"}, "admin").status_code == 201, "or expired"


@pytest.mark.parametrize(
    "name",
    [
        "admin",
        "ADMIN",
        " Admin ",
        "\uff41\uff44\uff4d\uff49\uff4e",
        "cli",
        "\u24d2\u24db\u24d8",
        "Scheduler",
        "sync",
        "system",
    ],
)
def test_no_key_is_called_as_the_program_calls_itself(service: Desk, name: str) -> None:
    refused = service.post("/api/v1/keys", {"name": name, "scopes": ["read"]}, "admin")
    assert (refused.status_code, refused.json()["code"]) == (422, "key_name_reserved")


@pytest.mark.parametrize("name", ["ad\u200bmin", "a\nb", "\u202etset", "   ", "\u2060"])
def test_a_name_that_cannot_be_seen_as_it_is_is_none(service: Desk, name: str) -> None:
    refused = service.post("/api/v1/keys", {"name": name, "scopes": ["read"]}, "admin")
    assert (refused.status_code, refused.json()["code"]) == (422, "key_name_invalid")


def test_every_actor_of_ours_is_a_reserved_name() -> None:
    """What the code writes as an actor, nobody may call himself."""
    found = set()
    for path in Path(keys.__file__).parents[1].rglob("*.py"):
        if "synapse_dev" not in path.parts:
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'\b(?:actor|by|requested_by)(?:: str)? ?= ?"([^"]+)"', text))
    assert {"cli", "scheduler", "sync", "retention"} <= found
    ours = {name for name in found if ":" not in name}  # the others are SYNAPSE's words in our doubles of it
    assert ours <= keys.RESERVED, ours - keys.RESERVED


def test_who_did_it_is_a_keys_id_and_its_name(service: Desk) -> None:
    key = service.key("admin", name="two of one")
    service.client.post("/api/v1/keys", json={"name": "made", "scopes": ["read"]}, headers={"X-API-Key": key})
    [entry] = [one for one in service.audited() if one["action"] == "key.created" and one["name"] == "made"]
    assert entry["actor"] == f"key:{key.split('_')[1]}:two of one"


def test_a_key_bound_to_a_project_cannot_make_one_that_is_not(service: Desk) -> None:
    bound = {"X-API-Key": service.key("admin", projects=[MINE])}
    body = {"name": "wider", "scopes": ["read"]}
    assert service.client.post("/api/v1/keys", json=body, headers=bound).status_code == 403
    inside = service.client.post("/api/v1/keys", json={**body, "project_id": MINE}, headers=bound)
    assert inside.status_code == 201
    assert service.client.get("/api/v1/audit", headers=bound).status_code == 404


def test_the_key_itself_is_stored_nowhere(service: Desk, tmp_path: Path) -> None:
    made = service.post(
        "/api/v1/keys", {"name": "n", "scopes": ["read"]}, "admin", headers={"Idempotency-Key": "k1"}
    )
    key = made.json()["key"]
    again = service.post(
        "/api/v1/keys", {"name": "n", "scopes": ["read"]}, "admin", headers={"Idempotency-Key": "k1"}
    )
    assert again.json() == {"id": made.json()["id"], "key": None}
    assert again.headers["Idempotency-Replayed"] == "true"
    secret = key.split("_", 2)[2].encode()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert made.json()["id"].encode() in stored
    assert secret not in stored


def test_the_hour_of_last_use_is_remembered(service: Desk) -> None:
    key = service.key("read", name="clock")
    service.client.get("/api/v1/projects", headers={"X-API-Key": key})
    listed = service.get("/api/v1/keys", "admin").json()["items"]
    [mine] = [one for one in listed if one["id"] == key.split("_")[1]]
    assert mine["last_used_at"] == "2027-01-15T08:00:00Z"


def test_many_requests_of_one_key_are_slowed_down_and_another_key_is_not(tmp_path: Path) -> None:
    with desk(tmp_path, P3DSYNC_RATE_LIMIT="5/minute") as service:
        first, second = ({"X-API-Key": service.key("read", name=name)} for name in ("one", "two"))
        answers = [service.client.get("/api/v1/projects", headers=first) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert answers[-1].json()["code"] == "too_many_requests"
        assert service.client.get("/api/v1/projects", headers=second).status_code == 200


def test_somebody_who_tries_keys_is_slowed_down_and_a_good_key_from_there_is_not(service: Desk) -> None:
    tries = [
        service.client.get("/api/v1/projects", headers={"X-API-Key": f"p3s_{n:012x}_a"}) for n in range(62)
    ]
    assert {answer.status_code for answer in tries[:60]} == {401}
    assert tries[-1].status_code == 429
    assert service.get("/api/v1/projects", "read").status_code == 200


@pytest.mark.parametrize(
    "environ",
    [
        {"SYNAPSE_API_KEY": "internal-service-key"},
        {"PLANT3D_DB_USER": "sa"},
        {"PLANT3D_DB_PASSWORD": "secret"},
    ],
)
def test_the_service_does_not_start_with_the_values_of_the_examples(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        create_app(configured(tmp_path, **environ))
    assert refused.value.error_code == "weak_secrets"
    create_app(configured(tmp_path, **environ, DEBUG="true"))


def test_browsers_of_other_origins_are_closed_out_unless_listed(tmp_path: Path) -> None:
    ask_first = {"Origin": "https://synapse.example", "Access-Control-Request-Method": "GET"}
    with desk(tmp_path) as closed:
        answer = closed.client.options("/api/v1/projects", headers=ask_first)
        assert "access-control-allow-origin" not in answer.headers
    with desk(tmp_path, P3DSYNC_CORS_ORIGINS="https://synapse.example") as listed:
        answer = listed.client.options("/api/v1/projects", headers=ask_first)
        assert answer.headers["access-control-allow-origin"] == "https://synapse.example"
        other = listed.client.options(
            "/api/v1/projects", headers={**ask_first, "Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers
    with pytest.raises(ConfigError):
        create_app(configured(tmp_path, P3DSYNC_CORS_ORIGINS="*"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("sync.example.com", 200),
        ("SYNC.example.com:8002", 200),
        ("a.inner.example", 200),
        ("[::1]:8002", 200),
        ("evil.example", 400),
        ("sync.example.com.evil.example", 400),
        ("inner.example", 400),
        ("", 400),
    ],
)
def test_a_call_under_a_name_that_is_not_listed_is_refused(tmp_path: Path, host: str, status: int) -> None:
    with desk(tmp_path, P3DSYNC_ALLOWED_HOSTS="sync.example.com, *.inner.example,[::1]") as listed:
        answer = listed.client.get("/api/v1/projects", headers=listed.headers("read", Host=host))
        assert answer.status_code == status, answer.text
        if status != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "host_refused"
            assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
        for path in ("/livez", "/readyz"):
            assert listed.client.get(path, headers={"Host": host}).status_code == 200, "asked by address"


def test_any_name_will_do_while_none_is_listed_and_a_wrong_list_is_refused(tmp_path: Path) -> None:
    with desk(tmp_path) as service:
        headers = service.headers("read", Host="whatever.example")
        assert service.client.get("/api/v1/projects", headers=headers).status_code == 200
    for names in ("https://sync.example.com", "sync.example.com:8002", "a.*.example", "*"):
        with pytest.raises(ConfigError) as refused:
            create_app(configured(tmp_path, P3DSYNC_ALLOWED_HOSTS=names))
        assert refused.value.error_code == "settings_invalid"


def test_no_answer_holds_a_secret(service: Desk) -> None:
    secrets = [SECRET, service.key().split("_", 2)[2]]
    for method, route in guarded_routes(service):
        path = concrete(service, route.path)
        wait = "?wait=0" if route.path.endswith("/now") else ""
        answer = service.client.request(
            method,
            path + wait,
            params=None if wait else {"project_id": MINE},
            headers=service.headers(),
            json=BODIES.get(route.path),
        )
        for secret in secrets:
            assert secret not in answer.text and secret not in str(answer.headers), (method, route.path)
    for path in sorted(OPEN):
        assert all(
            secret not in service.client.get(path, headers=service.headers()).text for secret in secrets
        )


def test_every_answer_carries_the_headers_that_browsers_heed(service: Desk) -> None:
    for path in ("/health", "/api/v1/projects", "/docs", "/nothing"):
        headers = service.client.get(path, headers=service.headers()).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Request-ID"]
