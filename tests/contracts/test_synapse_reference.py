"""The reference server passes the contract's conformance suite, on SQLite and on PostgreSQL, and keeps its own promises.

With P3DSYNC_CONFORMANCE_URL and P3DSYNC_CONFORMANCE_KEY (and, for a server without /dev helpers,
P3DSYNC_CONFORMANCE_PROJECT) the suite runs against that server instead.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

pytest.register_assert_rewrite("tests.contracts.synapse_conformance")

from plant3d_sync.errors import ConfigError  # noqa: E402
from plant3d_sync.synapse_dev.main import listen  # noqa: E402
from tests.contracts.synapse_conformance import (  # noqa: E402
    Project,
    Stalled,
    SynapseConformance,
    Target,
    assert_problem,
    codes,
    statuses,
)
from tests.support.synapse_dev import (  # noqa: E402
    new_database,
    postgresql,
    synapse_in_thread,
    synapse_process,
)

ELSEWHERE = os.environ.get("P3DSYNC_CONFORMANCE_URL")
KEY = "conformance-key"


@pytest.fixture(scope="module", params=["elsewhere"] if ELSEWHERE else ["sqlite", "postgresql"])
def synapse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if ELSEWHERE:
        key = os.environ["P3DSYNC_CONFORMANCE_KEY"]
        project = os.environ.get("P3DSYNC_CONFORMANCE_PROJECT")
        yield Target(url=ELSEWHERE.rstrip("/"), key=key, fixed_project=project)
    elif request.param == "sqlite":
        with reference(str(tmp_path_factory.mktemp("synapse") / "synapse.db")) as target:
            yield target
    else:
        with postgresql() as server, reference(new_database(server)) as target:
            yield target


@contextmanager
def reference(db: str) -> Iterator[Target]:
    """The reference server on this database, and two ways to start it once more on the same data."""

    @contextmanager
    def stalled() -> Iterator[Stalled]:
        with synapse_process(db, api_key=KEY, stall=120) as server:

            def in_batch() -> None:
                server.wait_for_complaint("stalling before commit")

            yield Stalled(url=server.synapse.url, in_batch=in_batch, kill=server.kill)

    @contextmanager
    def restarted() -> Iterator[str]:
        with synapse_process(db, api_key=KEY) as server:
            yield server.synapse.url

    with synapse_in_thread(db, api_key=KEY) as running:
        yield Target(url=running.url, key=running.api_key, stalled=stalled, restarted=restarted)


class TestReferenceServer(SynapseConformance):
    """H.1 to H.15."""


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Target]:
    with synapse_in_thread(api_key=KEY) as running:
        yield Target(url=running.url, key=running.api_key)


@pytest.fixture
def project(in_memory: Target) -> Project:
    return in_memory.project()


def unlinked(target: Target, project: Project, tag: str) -> str:
    """An asset somebody made in SYNAPSE by hand."""
    body = {"tag": project.name(tag), "description": "by hand"}
    return str(target.dev("POST", f"/projects/{project.id}/assets", body)["id"])


def test_an_unlinked_asset_is_taken_over_by_its_tag_only_on_request(
    in_memory: Target, project: Project
) -> None:
    asset_id = unlinked(in_memory, project, "P-1")
    item = project.upsert("a", tag="P-1", asset_type="Equipment")
    (refused,) = project.apply([item])
    assert (refused["code"], refused["other"]["id"], refused["other"]["plant3d_id"]) == (
        "tag_taken",
        asset_id,
        None,
    )
    (linked,) = project.apply([{**item, "link_by_tag": True}])
    assert (linked["status"], linked["linked"], linked["id"], linked["version"]) == (
        "updated",
        True,
        asset_id,
        2,
    )
    assert project.asset(asset_id)["plant3d_id"] == project.name("a")
    assert project.asset(asset_id)["field_info"]["description"]["by"] == "user:dev"


def test_two_items_cannot_take_over_the_same_asset(in_memory: Target, project: Project) -> None:
    asset_id = unlinked(in_memory, project, "P-1")
    items = [{**project.upsert(name, tag="P-1"), "link_by_tag": True} for name in "ab"]
    assert codes(project.apply(items)) == ["tag_taken", "tag_taken"]
    assert project.asset(asset_id)["plant3d_id"] is None


def test_a_tag_freed_by_an_archive_of_the_same_batch_can_be_taken(project: Project) -> None:
    project.create("a")
    archive = {"op": "archive", "plant3d_id": project.name("a")}
    results = project.apply([project.upsert("b", tag="A", asset_type="Line"), archive])
    assert statuses(results) == ["created", "archived"]


def test_the_same_plant3d_id_twice_fails_both_and_only_those(project: Project) -> None:
    items = [
        project.upsert(name, tag=tag, asset_type="Line") for name, tag in (("a", "A"), ("b", "B"), ("a", "C"))
    ]
    assert codes(project.apply(items)) == ["duplicate_in_batch", None, "duplicate_in_batch"]


def test_conditions_on_versions(project: Project) -> None:
    project.create("a")
    absent = {**project.upsert("a", description="x"), "if_version": 0}
    stale = {**project.upsert("a", description="x"), "if_version": 7}
    unknown = {**project.upsert("new", tag="N", asset_type="Line"), "if_version": 1}
    fresh = {**project.upsert("new", tag="N", asset_type="Line"), "if_version": 0, "ref": "row 7"}
    assert codes(project.apply([absent])) == ["exists"]
    assert codes(project.apply([stale, unknown])) == ["version_mismatch", "not_found"]
    (created,) = project.apply([fresh])
    assert (created["status"], created["ref"]) == ("created", "row 7")
    assert codes(project.apply([{"op": "archive", "plant3d_id": project.name("nobody")}])) == ["not_found"]
    assert codes(project.apply([{"op": "archive", "plant3d_id": project.name("a"), "if_version": 5}])) == [
        "version_mismatch"
    ]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"tag": " A"}, "tag"),
        ({"tag": "A\nB"}, "tag"),
        ({"tag": "x" * 101}, "tag"),
        ({"tag": None}, "tag"),
        ({"asset_type": ""}, "asset_type"),
        ({"asset_subtype": 5}, "asset_subtype"),
        ({"description": "x" * 4001}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"attributes": None}, "attributes"),
        ({"attributes": {"a": ["deep", {"b": "\x00"}]}}, "attributes"),
        ({"attributes": {"\x00": 1}}, "attributes"),
    ],
)
def test_a_value_that_cannot_be_stored_is_the_items_error(
    project: Project, values: dict[str, object], field: str
) -> None:
    item = {"op": "upsert", "plant3d_id": "a", "set": {"tag": "T", "asset_type": "Line", **values}}
    (result,) = project.apply([item])
    assert (result["status"], result["code"], result["field"]) == ("error", "invalid_value", field)
    assert project.everything() == []


def test_attributes_nested_without_end_are_refused(project: Project) -> None:
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"a": deep}
    (result,) = project.apply([project.upsert("a", tag="A", asset_type="Line", attributes=deep)])
    assert (result["code"], result["field"]) == ("invalid_value", "attributes")


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        ("text", "invalid_value", None),
        ({"plant3d_id": "a", "set": {}}, "missing_field", "op"),
        ({"op": "delete", "plant3d_id": "a"}, "invalid_value", "op"),
        ({"op": "archive"}, "missing_field", "plant3d_id"),
        ({"op": "archive", "plant3d_id": "a\tb"}, "invalid_value", "plant3d_id"),
        ({"op": "archive", "plant3d_id": "a", "restore": True}, "unknown_field", "restore"),
        ({"op": "archive", "plant3d_id": "a", "if_version": True}, "invalid_value", "if_version"),
        ({"op": "upsert", "plant3d_id": "a"}, "missing_field", "set"),
        ({"op": "upsert", "plant3d_id": "a", "set": {"tag": "T"}}, "missing_field", "asset_type"),
        ({"op": "upsert", "plant3d_id": "a", "set": {}, "ref": "x" * 65}, "invalid_value", "ref"),
        (
            {"op": "upsert", "plant3d_id": "a", "set": {}, "if_field_versions": {"tag": 1}},
            "unknown_field",
            "if_field_versions.tag",
        ),
    ],
)
def test_a_malformed_item_fails_alone(project: Project, item: object, code: str, field: str | None) -> None:
    bad, good = project.apply([item, project.upsert("good", tag="GOOD", asset_type="Line")])
    assert (bad["index"], bad["status"], bad["code"], bad.get("field")) == (0, "error", code, field)
    assert good["status"] == "created"


@pytest.mark.parametrize("backwards", [False, True])
def test_a_broken_chain_of_a_thousand_renames_fails_as_a_whole(project: Project, backwards: bool) -> None:
    names = [f"n{number}" for number in range(1000)]
    for start in (0, 500):
        project.create(*names[start : start + 500])
    project.create("blocker")
    targets = [*(name.upper() for name in names[1:]), "BLOCKER"]
    items = [project.upsert(name, tag=tag) for name, tag in zip(names, targets, strict=True)]
    assert set(codes(project.apply(items[::-1] if backwards else items))) == {"tag_taken"}


def test_a_user_edit_counts_like_any_change_but_is_not_a_sync_write(
    in_memory: Target, project: Project
) -> None:
    (created,) = project.create("a")
    before = in_memory.dev("GET", "/writes")
    path = f"/projects/{project.id}/assets/{created['id']}"
    stamp = {
        "description": "typed by hand",
        "_by": "user:luc",
        "_at": "2024-05-06T07:08:09Z",
        "m_files_links": ["m:1"],
    }
    edited = in_memory.dev("PATCH", path, stamp)
    info = {"version": 2, "updated_at": "2024-05-06T07:08:09.000000Z", "by": "user:luc"}
    assert (edited["version"], edited["seq"], edited["field_info"]["description"]) == (2, 2, info)
    assert edited["m_files_links"] == ["m:1"]
    assert in_memory.dev("PATCH", path, {"description": "typed by hand"})["version"] == 2
    assert in_memory.dev("GET", "/writes") == before
    assert in_memory.dev("PATCH", path, {"deleted_at": True})["deleted_at"]
    assert project.everything()[0]["change"] == "archive"
    in_memory.dev("DELETE", path)
    assert project.everything() == []


def test_the_ledger_tells_what_the_sync_wrote(in_memory: Target, project: Project) -> None:
    before = in_memory.dev("GET", "/writes")
    (created,) = project.create("a")
    key = uuid.uuid4().hex
    items = [
        project.upsert("a", tag="A"),
        project.upsert("b", colour=1),
        project.upsert("c", tag="C", asset_type="x"),
    ]
    for _ in range(2):
        project.batch(items, key=key)
    project.call("PATCH", f"/assets/{created['id']}", {"description": "x"}, If_Match='"1"')
    after = in_memory.dev("GET", "/writes")
    assert after["by_project"][project.id] == {"requests": 3, "items": 5, "effective": 3}
    assert after["requests"] - before["requests"] == 3
    assert after["replays"] - before["replays"] == 1
    assert after["recent"][-2]["key"] == key
    assert after["recent"][-2]["counts"] == {"created": 1, "unchanged": 1, "error": 1}


def test_capabilities_need_a_key_and_name_the_limits(in_memory: Target, project: Project) -> None:
    assert project.call("GET", "/capabilities", X_API_Key="").status_code == 401
    said = project.call("GET", "/capabilities").json()
    assert said["contract"] == "1.0"
    assert said["writable_fields"] == ["tag", "asset_type", "asset_subtype", "description", "attributes"]
    assert said["limits"]["max_batch_items"] == 1000


def test_the_dev_helpers_are_closed_to_other_keys(in_memory: Target) -> None:
    body = {"name": "client", "scopes": ["assets:read", "assets:sync"], "projects": None}
    key = in_memory.dev("POST", "/keys", body)["key"]
    assert httpx2.get(f"{in_memory.url}/dev/writes", headers={"X-API-Key": key}).status_code == 403
    assert httpx2.get(f"{in_memory.url}/dev/writes").status_code == 401


def test_the_description_of_the_api_has_every_operation_and_resolves(in_memory: Target) -> None:
    document = httpx2.get(f"{in_memory.url}/openapi.json").json()
    operations = {one.get("operationId") for path in document["paths"].values() for one in path.values()}
    assert {"getCapabilities", "batchAssets", "listChanges", "getAsset", "patchAsset"} <= operations
    named = set(document["components"]["schemas"])
    text = json.dumps(document)
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= named


def test_a_backup_restored_without_a_new_epoch_is_noticed_by_a_cursor_from_its_future(tmp_path: Path) -> None:
    live, backup = tmp_path / "live.db", tmp_path / "backup.db"
    with synapse_in_thread(str(live), api_key=KEY) as running:
        project = Project(url=running.url, key=KEY, id=running.project)
        project.create("a")
        with sqlite3.connect(live) as source, sqlite3.connect(backup) as copy:
            source.backup(copy)
        source.close()
        copy.close()
        project.create("b")
        cursor = project.page()["next_cursor"]
    with synapse_in_thread(str(backup), api_key=KEY) as running:
        old = Project(url=running.url, key=KEY, id=running.project)
        answer = old.call("GET", f"/assets/changes?cursor={cursor}")
        assert (answer.status_code, answer.json()["type"]) == (410, "cursor_reset")


@pytest.mark.parametrize(
    ("damage", "status", "kind"),
    [
        ("drop table synapse_assets", 503, "unavailable"),
        ("update synapse_api_keys set projects = 'broken'", 500, "internal_error"),
    ],
)
def test_a_failing_database_is_a_problem_without_database_text(
    tmp_path: Path, damage: str, status: int, kind: str
) -> None:
    db = tmp_path / "synapse.db"
    with synapse_in_thread(str(db), api_key=KEY) as running:
        with closing(sqlite3.connect(db)) as connection, connection:
            connection.execute(damage)
        answer = Project(url=running.url, key=KEY, id=running.project).call("GET", "/assets/changes")
    problem = assert_problem(answer, status, kind)
    assert not {"sqlite", "synapse_assets", "broken", "select"} & set(str(problem).lower().split())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"priority": 1}, "field_not_writable"),
        ({"colour": 1}, "unknown_field"),
        ({"tag": ""}, "invalid_value"),
        ({"attributes": {"text": "x" * 65_536}}, "attributes_too_large"),
        (["no", "object"], "validation_error"),
        (b"{not json", "validation_error"),
    ],
)
def test_a_patch_that_cannot_be_taken_is_422_and_changes_nothing(
    project: Project, body: object, kind: str
) -> None:
    (created,) = project.create("a")
    path = f"/assets/{created['id']}"
    assert_problem(project.call("PATCH", path, body, If_Match='"1"'), 422, kind)
    assert project.asset(created["id"])["version"] == 1


@pytest.mark.parametrize(
    "query", ["cursr=abc", "limit=5&limit=6", "limit=1001", "limit=x", "include=all", "cursor="]
)
def test_a_feed_parameter_that_is_not_understood_is_refused(project: Project, query: str) -> None:
    assert project.call("GET", f"/assets/changes?{query}").status_code == 400


@pytest.mark.parametrize(
    "cursor",
    ["e30", "W10", "eyJlIjoxLCJwIjoxLCJzIjoxfQ", "eyJlIjoiYSIsInAiOiJiIiwicyI6LTF9", "%C3%A9", "x" * 600],
)
def test_a_cursor_that_was_never_given_out_is_refused(project: Project, cursor: str) -> None:
    assert_problem(project.call("GET", f"/assets/changes?cursor={cursor}"), 400, "invalid_cursor")


def test_a_body_that_is_not_called_json_is_refused(project: Project) -> None:
    answer = project.call("POST", "/assets/batch", b"x", Content_Type="text/plain", Idempotency_Key="x")
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 9),
        ("status", "Lost"),
        ("plant3d_id", ""),
        ("parent_asset_id", "x"),
        ("tags", "x"),
        ("deleted_at", "noon"),
        ("version", 3),
        ("_at", "2024-01-01"),
    ],
)
def test_a_user_edit_that_makes_no_sense_is_refused(
    in_memory: Target, project: Project, field: str, value: object
) -> None:
    asset_id = unlinked(in_memory, project, "P-1")
    url = f"{in_memory.url}/dev/projects/{project.id}/assets/{asset_id}"
    answer = httpx2.patch(url, headers={"X-API-Key": in_memory.key}, json={field: value})
    assert answer.status_code == 422
    assert project.asset(asset_id)["version"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_the_process_prints_one_ready_line_and_ends_cleanly_when_asked(tmp_path: Path) -> None:
    wanted = str(uuid.uuid4())
    db = str(tmp_path / "kept.db")
    with synapse_process(db, api_key="k-1", project=wanted) as server:
        assert set(json.loads(server.ready_line)) == {"url", "api_key", "projects"}
        assert server.synapse.project == wanted
        with server.synapse.client() as client:
            assert client.get("/health").json()["status"] == "ok"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
    with synapse_process(db, api_key="k-2") as server:
        assert json.loads(server.ready_line)["projects"] == [wanted]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"db": "mysql://localhost/x"}, "synapse_dev_db"),
        ({"db": "/nowhere/at/all/synapse.db"}, "synapse_dev_db"),
        ({"project": "not-a-uuid"}, "synapse_dev_project"),
        ({"host": "256.1.1.1"}, "synapse_dev_port"),
    ],
)
def test_wrong_settings_are_refused_before_anything_listens(arguments: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listen(**arguments)
    assert caught.value.error_code == code
    assert caught.value.hint


def test_a_file_with_tables_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.dcf"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE PnPBase (PnPID INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        listen(db=str(path))
    assert caught.value.error_code == "synapse_dev_db"
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["other.dcf"]
