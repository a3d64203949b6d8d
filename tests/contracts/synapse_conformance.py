"""The 15 checks of the SYNAPSE target contract, for any server that claims to speak it.

A subclass gives the fixture `synapse` (a `Target`). Projects, keys and user edits need the /dev helpers of the
reference server; against a server without them the checks that cannot do otherwise are skipped and say so, and
the others use the one project named by the target.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson
import pytest

LONG = os.environ.get("P3DSYNC_LONG") == "1"
WRITING_SECONDS = 60 if LONG else 2
MANY_ASSETS = 50_000 if LONG else 2_000
API = "/api/v1/integration"
Item = dict[str, Any]

ASSET_FIELDS = {
    *(
        "id",
        "project_id",
        "plant3d_id",
        "version",
        "seq",
        "tag",
        "asset_type",
        "asset_subtype",
        "description",
    ),
    *(
        "attributes",
        "discipline_code",
        "parent_asset_id",
        "status",
        "fbs_code",
        "lbs_code",
        "wbs_code",
        "priority",
    ),
    *(
        "tags",
        "m_files_links",
        "workflow_status",
        "notes",
        "created_at",
        "updated_at",
        "deleted_at",
        "field_info",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """A server that holds each batch just before its commit: `in_batch` waits until one is there."""

    url: str
    in_batch: Callable[[], None]
    kill: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server under test. `stalled` and `restarted` start it again on the same data, where that is possible."""

    url: str
    key: str
    fixed_project: str | None = None
    stalled: Callable[[], AbstractContextManager[Stalled]] | None = None
    restarted: Callable[[], AbstractContextManager[str]] | None = None

    def has_dev(self) -> bool:
        return httpx2.get(f"{self.url}/dev/writes", headers={"X-API-Key": self.key}).status_code == 200

    def need_dev(self) -> None:
        if not self.has_dev():
            pytest.skip("this SYNAPSE has no /dev helpers, which this check needs")

    def dev(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        answer = httpx2.request(
            method, f"{self.url}/dev{path}", headers={"X-API-Key": self.key}, content=content
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def project(self) -> Project:
        """An empty project, or a fresh corner (own tags and ids) of the fixed one."""
        if self.fixed_project:
            return Project(url=self.url, key=self.key, id=self.fixed_project)
        return self.empty_project()

    def empty_project(self) -> Project:
        """A project nobody else uses; needs the /dev helpers."""
        return Project(url=self.url, key=self.key, id=str(self.dev("POST", "/projects", {})["id"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project as one key sees it, with names that no other test uses."""

    url: str
    key: str
    id: str
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=120))

    def name(self, text: str) -> str:
        return f"{self.prefix}-{text}"

    def call(self, method: str, path: str, content: object = None, **headers: str) -> httpx2.Response:
        """Any operation. Header names with `_` for `-`; a header given as empty text is left out."""
        named = {"X-API-Key": self.key, "X-Project-ID": self.id, "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = content if isinstance(content, bytes) or content is None else orjson.dumps(content)
        kept = {name: value for name, value in named.items() if value}
        return self.http.request(method, f"{self.url}{API}{path}", content=body, headers=kept)

    def batch(self, items: Sequence[object], key: str | None = None, **envelope: object) -> httpx2.Response:
        body = {"items": list(items), **envelope}
        return self.call("POST", "/assets/batch", body, Idempotency_Key=key or uuid.uuid4().hex)

    def apply(self, items: Sequence[object], **envelope: object) -> list[Item]:
        """The results of a batch that must be answered with 200."""
        answer = self.batch(items, **envelope)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    def upsert(self, name: str, **values: object) -> Item:
        """An item for the asset `name`; `tag` is made unique to this test."""
        if isinstance(tag := values.get("tag"), str):
            values["tag"] = self.name(tag)
        return {"op": "upsert", "plant3d_id": self.name(name), "set": values}

    def create(self, *names: str) -> list[Item]:
        """Assets whose tag is their name, in upper case."""
        results = self.apply([self.upsert(name, tag=name.upper(), asset_type="Equipment") for name in names])
        assert statuses(results) == ["created"] * len(names)
        return results

    def asset(self, asset_id: str) -> Item:
        answer = self.call("GET", f"/assets/{asset_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def page(self, cursor: str | None = None, limit: int = 1000, **parameters: str) -> Item:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        where = (
            f"/assets/changes?limit={limit}"
            + (f"&cursor={cursor}" if cursor else "")
            + (f"&{query}" if query else "")
        )
        answer = self.call("GET", where)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def pages(self, cursor: str | None = None, limit: int = 1000) -> Iterator[Item]:
        """Pages until the feed has no more."""
        more = True
        while more:
            page = self.page(cursor, limit)
            yield page
            cursor, more = page["next_cursor"], page["has_more"]

    def everything(self, cursor: str | None = None) -> list[Item]:
        return [entry for page in self.pages(cursor) for entry in page["items"]]

    def max_seq(self) -> int:
        return int(self.page(limit=1)["max_seq"])


def statuses(results: Sequence[Item]) -> list[str]:
    return [result["status"] for result in results]


def codes(results: Sequence[Item]) -> list[str | None]:
    return [result.get("code") for result in results]


def assert_problem(answer: httpx2.Response, status: int, kind: str) -> Item:
    """The answer is this refusal, as JSON, with the id that its header has too."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    problem = dict(answer.json())
    assert problem["type"] == kind
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert status != 422 or all({"loc", "msg"} <= set(error) for error in problem["errors"])
    return problem


class SynapseConformance:
    """Section H of the contract, one test a check."""

    def test_h01_a_field_the_sync_may_not_write_is_refused_and_nothing_of_the_item_is_stored(
        self, synapse: Target
    ) -> None:
        project = synapse.project()
        results = project.apply(
            [
                project.upsert("a", tag="A", asset_type="Equipment", colour="red"),
                project.upsert("b", tag="B", asset_type="Equipment", priority=2),
                project.upsert("c", tag="C", asset_type="Equipment", notes="mine"),
                project.upsert("d", tag="D", asset_type="Equipment"),
            ]
        )
        assert codes(results) == ["unknown_field", "field_not_writable", "field_not_writable", None]
        assert [result.get("field") for result in results] == ["colour", "priority", "notes", None]
        held = {entry["asset"]["plant3d_id"]: entry["asset"] for entry in project.everything()}
        assert [project.name(name) in held for name in "abcd"] == [False, False, False, True]
        assert set(held[project.name("d")]) == ASSET_FIELDS

    def test_h02_the_same_batch_again_changes_nothing(self, synapse: Target) -> None:
        project = synapse.project()
        items = [
            project.upsert("a", tag="A", asset_type="Equipment", attributes={"size": 6.5}, description="pump")
        ]
        first = project.batch(items, key="once-" + project.prefix)
        seq = project.max_seq()
        again = project.batch(items, key="once-" + project.prefix)
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        other_key = project.batch(items)
        assert statuses(other_key.json()["results"]) == ["unchanged"]
        assert other_key.json()["results"][0]["version"] == 1
        assert project.max_seq() == seq

    def test_h03_a_key_is_good_for_one_body_and_for_one_call_at_a_time(self, synapse: Target) -> None:
        project = synapse.project()
        key = uuid.uuid4().hex
        assert (
            project.batch([project.upsert("a", tag="A", asset_type="Equipment")], key=key).status_code == 200
        )
        reused = project.batch([project.upsert("b", tag="B", asset_type="Equipment")], key=key)
        assert_problem(reused, 422, "idempotency_key_reused")
        assert len(project.everything()) == 1 or synapse.fixed_project
        assert_problem(project.call("POST", "/assets/batch", {"items": []}), 400, "idempotency_key_required")
        assert self._a_refused_twin(project).headers["retry-after"]

    def _a_refused_twin(self, project: Project) -> httpx2.Response:
        """Send one large batch twice at once until the two really overlap; both orders of events are right."""
        for attempt in range(20):
            items = [
                project.upsert(f"{attempt}-{n}", tag=f"{attempt}-{n}", asset_type="Line") for n in range(1000)
            ]
            key = uuid.uuid4().hex
            start = threading.Barrier(2)

            def send(
                items: list[Item] = items, key: str = key, start: threading.Barrier = start
            ) -> httpx2.Response:
                start.wait()
                return project.batch(items, key=key)

            with ThreadPoolExecutor(2) as pool:
                answers = [future.result() for future in [pool.submit(send), pool.submit(send)]]
            good = [answer for answer in answers if answer.status_code == 200]
            assert good
            assert all(answer.content == good[0].content for answer in good)
            if len(good) == 1:
                (refused,) = (answer for answer in answers if answer is not good[0])
                assert_problem(refused, 409, "request_in_progress")
                return refused
        raise AssertionError("two calls with one key never met, in 20 attempts")

    def test_h04_tags_are_judged_on_the_state_after_the_whole_batch(self, synapse: Target) -> None:
        project = synapse.project()
        project.create("a", "b", "c", "d", "e", "f", "g", "h")
        swap = project.apply([project.upsert("a", tag="B"), project.upsert("b", tag="A")])
        assert statuses(swap) == ["updated", "updated"]
        chain = [project.upsert("c", tag="D"), project.upsert("d", tag="E"), project.upsert("e", tag="NEW")]
        assert statuses(project.apply(chain)) == ["updated"] * 3
        cycle = [project.upsert("f", tag="G"), project.upsert("g", tag="H"), project.upsert("h", tag="F")]
        assert statuses(project.apply(cycle)) == ["updated"] * 3
        broken = [
            project.upsert("c", tag="E"),
            project.upsert("d", tag="NEW"),
            project.upsert("e", tag="F"),
            project.upsert("a", description="the rest is applied"),
        ]
        results = project.apply(broken)
        assert codes(results) == ["tag_taken", "tag_taken", "tag_taken", None]
        assert results[2]["other"]["plant3d_id"] == project.name("h")
        assert statuses(results)[3] == "updated"
        tags = {entry["asset"]["plant3d_id"]: entry["asset"]["tag"] for entry in project.everything()}
        expected = dict(zip("abcdefgh", ["B", "A", "D", "E", "NEW", "G", "H", "F"], strict=True))
        assert {key: tags[project.name(key)] for key in expected} == {
            k: project.name(v) for k, v in expected.items()
        }

    def test_h05_two_new_assets_with_one_tag_both_fail(self, synapse: Target) -> None:
        project = synapse.project()
        results = project.apply(
            [
                project.upsert("a", tag="X", asset_type="Equipment"),
                project.upsert("b", tag="X", asset_type="Equipment"),
                project.upsert("c", tag="Y", asset_type="Equipment"),
            ]
        )
        assert codes(results) == ["tag_taken", "tag_taken", None]
        assert [result["other"] for result in results[:2]] == [None, None]

    def test_h06_an_archived_asset_gives_up_its_tag(self, synapse: Target) -> None:
        project = synapse.project()
        (first,) = project.create("a")
        archive = {"op": "archive", "plant3d_id": project.name("a"), "if_version": 1}
        assert statuses(project.apply([archive])) == ["archived"]
        assert statuses(project.apply([archive])) == ["unchanged"]
        assert statuses(project.apply([project.upsert("b", tag="A", asset_type="Equipment")])) == ["created"]
        (met,) = project.apply([project.upsert("a", description="x")])
        assert (met["status"], met["code"], met["current"]["id"]) == ("conflict", "archived", first["id"])
        (restored,) = project.apply([{**project.upsert("a"), "restore": True}])
        assert (restored["code"], restored["other"]["plant3d_id"]) == ("tag_taken", project.name("b"))
        (renamed,) = project.apply([{**project.upsert("a", tag="A2"), "restore": True}])
        assert (renamed["status"], renamed["restored"], renamed["id"]) == ("updated", True, first["id"])

    def test_h07_a_condition_on_description_looks_at_the_description_only(self, synapse: Target) -> None:
        synapse.need_dev()
        project = synapse.project()
        (created,) = project.create("a")
        path = f"/projects/{project.id}/assets/{created['id']}"
        synapse.dev("PATCH", path, {"priority": 1})
        guarded = {**project.upsert("a", description="mine"), "if_field_versions": {"description": 1}}
        (passed,) = project.apply([guarded])
        assert (passed["status"], passed["version"]) == ("updated", 3)
        synapse.dev("PATCH", path, {"description": "theirs", "_by": "user:anna"})
        guarded = {**project.upsert("a", description="mine again"), "if_field_versions": {"description": 3}}
        (failed,) = project.apply([guarded])
        assert (failed["status"], failed["code"]) == ("conflict", "field_version_mismatch")
        assert failed["current"]["description"] == "theirs"
        assert failed["current"]["field_info"]["description"]["version"] == 4
        assert failed["current"]["field_info"]["description"]["by"] == "user:anna"

    def test_h08_a_reader_beside_eight_writers_misses_nothing(self, synapse: Target) -> None:
        project = synapse.project()
        cursor = None
        for page in project.pages():
            cursor = page["next_cursor"]
        done = threading.Event()
        with ThreadPoolExecutor(9) as pool:
            reader = pool.submit(self._read_until, project, cursor, done)
            writers = [pool.submit(self._write_for_a_while, synapse, project, number) for number in range(8)]
            wait(writers)
            done.set()
            last_seq = {key: seq for writer in writers for key, seq in writer.result().items()}
            seen = reader.result()
        numbers = [seq for _, seq in seen]
        assert all(earlier < later for earlier, later in zip(numbers, numbers[1:], strict=False))
        assert set(last_seq.items()) <= set(seen)
        assert len(last_seq) > 8

    def _write_for_a_while(self, synapse: Target, project: Project, number: int) -> dict[str, int]:
        """Create and change assets of one writer; gives the last `seq` of each."""
        mine = Project(url=synapse.url, key=project.key, id=project.id, prefix=project.name(f"w{number}"))
        dice = random.Random(number)
        last: dict[str, int] = {}
        count = 0
        until = time.monotonic() + WRITING_SECONDS
        while time.monotonic() < until:
            count += 1
            items = [mine.upsert(f"n{count}", tag=f"N{count}", asset_type="Line")]
            old = {f"n{dice.randint(1, count - 1)}" for _ in range(3)} if count > 1 else set()
            items += [mine.upsert(name, description=f"{count} {dice.random()}") for name in sorted(old)]
            last |= {result["plant3d_id"]: result["seq"] for result in mine.apply(items)}
        return last

    def _read_until(
        self, project: Project, cursor: str | None, done: threading.Event
    ) -> list[tuple[str, int]]:
        """Poll until the writers are done, then once more to the end."""
        seen: list[tuple[str, int]] = []
        reader = Project(url=project.url, key=project.key, id=project.id)
        last_round = False
        while not last_round:
            last_round = done.is_set()
            for page in reader.pages(cursor, limit=50):
                seen += [(entry["asset"]["plant3d_id"], entry["seq"]) for entry in page["items"]]
                cursor = page["next_cursor"]
        return seen

    def test_h09_a_full_pass_yields_every_asset_while_a_writer_changes_some(self, synapse: Target) -> None:
        project = synapse.project()
        for start in range(0, MANY_ASSETS, 1000):
            names = [f"n{number}" for number in range(start, start + 1000)]
            items = [project.upsert(name, tag=name, asset_type="Line") for name in names]
            assert statuses(project.apply(items)) == ["created"] * 1000
        writer = Project(url=project.url, key=project.key, id=project.id, prefix=project.prefix)
        dice = random.Random(9)
        seen: set[str] = set()
        with ThreadPoolExecutor(1) as pool:
            for page in project.pages(limit=200):
                seen |= {entry["asset"]["plant3d_id"] for entry in page["items"]}
                name = f"n{dice.randrange(MANY_ASSETS)}"
                pool.submit(writer.apply, [writer.upsert(name, description=f"{len(seen)}")]).result()
        assert {project.name(f"n{number}") for number in range(MANY_ASSETS)} <= seen
        totals = project.page(limit=1, include="totals")["totals"]
        assert totals["live"] + totals["archived"] == len(seen)
        assert totals["linked"] == len(seen) or synapse.fixed_project

    def test_h10_a_server_killed_in_the_middle_of_a_batch_has_applied_nothing(self, synapse: Target) -> None:
        if synapse.stalled is None or synapse.restarted is None:
            pytest.skip("this SYNAPSE cannot be killed and restarted from here")
        project = synapse.project()
        items = [project.upsert(f"n{number}", tag=f"N{number}", asset_type="Line") for number in range(100)]
        with synapse.stalled() as stalled, ThreadPoolExecutor(1) as pool:
            victim = Project(url=stalled.url, key=project.key, id=project.id, prefix=project.prefix)
            call = pool.submit(victim.batch, items, "kill-" + project.prefix)
            stalled.in_batch()
            stalled.kill()
            with pytest.raises(httpx2.TransportError):
                call.result()
        with synapse.restarted() as url:
            survivor = Project(url=url, key=project.key, id=project.id, prefix=project.prefix)
            assert survivor.everything() == []
            answer = survivor.batch(items, "kill-" + project.prefix)
            assert answer.status_code == 200
            assert "idempotency-replayed" not in answer.headers
            assert statuses(answer.json()["results"]) == ["created"] * 100
            assert [entry["seq"] for entry in survivor.everything()] == list(range(1, 101))

    def test_h11_after_a_restored_backup_old_cursors_are_refused_and_a_new_pass_is_clean(
        self, synapse: Target
    ) -> None:
        synapse.need_dev()
        project = synapse.empty_project()
        project.create("a", "b", "c")
        cursor = project.page()["next_cursor"]
        assert project.page(cursor)["items"] == []
        synapse.dev("POST", f"/projects/{project.id}/new-epoch")
        assert_problem(project.call("GET", f"/assets/changes?cursor={cursor}"), 410, "cursor_reset")
        assert [entry["asset"]["plant3d_id"] for entry in project.everything()] == [
            project.name(n) for n in "abc"
        ]
        assert project.page(project.page()["next_cursor"])["items"] == []
        other = synapse.empty_project()
        foreign = other.call("GET", f"/assets/changes?cursor={project.page()['next_cursor']}")
        assert_problem(foreign, 400, "invalid_cursor")
        assert_problem(project.call("GET", "/assets/changes?cursor=nonsense"), 400, "invalid_cursor")

    def test_h12_attributes_are_merged_as_a_json_merge_patch(self, synapse: Target) -> None:
        project = synapse.project()
        first = {"size": 6, "spec": "CS150", "range": {"low": 0, "high": 10.5}, "flags": [1, None]}
        (created,) = project.apply([project.upsert("a", tag="A", asset_type="Line", attributes=first)])
        patch = {"spec": None, "range": {"high": 12.0, "unit": "bar"}, "rating": 150}
        (result,) = project.apply([project.upsert("a", attributes=patch)], reply="full")
        expected = b'{"flags":[1,null],"range":{"high":12.0,"low":0,"unit":"bar"},"rating":150,"size":6}'
        assert orjson.dumps(result["asset"]["attributes"], option=orjson.OPT_SORT_KEYS) == expected
        assert result["asset"] == project.asset(created["id"])
        (same,) = project.apply([project.upsert("a", attributes={"spec": None, "size": 6})])
        assert same["status"] == "unchanged"
        (number,) = project.apply([project.upsert("a", attributes={"size": "6"})])
        assert number["status"] == "updated"
        (large,) = project.apply([project.upsert("a", attributes={"text": "x" * 65_536})])
        assert (large["status"], large["code"]) == ("error", "attributes_too_large")
        fits = project.apply(
            [project.upsert("b", tag="B", asset_type="Line", attributes={"t": "x" * (65_536 - 8)})]
        )
        assert statuses(fits) == ["created"]

    def test_h13_a_patch_needs_the_version_it_was_made_for(self, synapse: Target) -> None:
        project = synapse.project()
        (created,) = project.create("a")
        path = f"/assets/{created['id']}"
        for number in (1, 2):
            done = project.call("PATCH", path, {"description": f"text {number}"}, If_Match=f'"{number}"')
            assert (done.status_code, done.headers["etag"]) == (200, f'"{number + 1}"')
        assert_problem(project.call("PATCH", path, {"description": "x"}), 428, "precondition_required")
        assert project.call("PATCH", path, {"description": "x"}, If_Match="*").status_code in (400, 428)
        for stale in ('"2"', 'W/"3"'):
            refused = project.call("PATCH", path, {"description": "x"}, If_Match=stale)
            assert assert_problem(refused, 412, "version_mismatch")["current"] == project.asset(created["id"])
        assert project.asset(created["id"])["description"] == "text 2"
        assert project.call("GET", path, If_None_Match='"3"').status_code == 304
        assert project.call("GET", path, If_None_Match='"2"').headers["etag"] == '"3"'
        merge = "application/merge-patch+json"
        cleared = project.call("PATCH", path, {"description": None}, If_Match='"3"', Content_Type=merge)
        assert cleared.json()["description"] is None
        project.create("b")
        taken = project.call("PATCH", path, {"tag": project.name("B")}, If_Match='"4"')
        assert assert_problem(taken, 409, "tag_taken")["other"]["plant3d_id"] == project.name("b")
        project.apply([{"op": "archive", "plant3d_id": project.name("a")}])
        assert_problem(project.call("PATCH", path, {"description": "x"}, If_Match='"5"'), 409, "archived")

    def test_h14_a_key_opens_only_what_it_was_made_for(self, synapse: Target) -> None:
        synapse.need_dev()
        project, other = synapse.empty_project(), synapse.empty_project()

        def call(
            scopes: Sequence[str], projects: Sequence[str] | None = None, expires: str | None = None
        ) -> Project:
            body = {"name": "narrow", "scopes": list(scopes), "projects": projects, "expires_at": expires}
            return Project(url=synapse.url, key=synapse.dev("POST", "/keys", body)["key"], id=project.id)

        item = project.upsert("a", tag="A", asset_type="Line")
        reader, writer = call(["assets:read"]), call(["assets:sync"])
        assert reader.call("GET", "/assets/changes").status_code == 200
        assert reader.batch([item]).status_code == 403
        assert writer.batch([item]).status_code == 200
        assert writer.call("GET", "/assets/changes").status_code == 403
        elsewhere = call(["assets:read"], projects=[other.id])
        assert_problem(elsewhere.call("GET", "/assets/changes"), 403, "project_forbidden")
        expired = call(["assets:read"], expires="2020-01-01T00:00:00Z")
        assert expired.call("GET", "/assets/changes").status_code == 401
        assert project.call("GET", "/assets/changes", X_API_Key="wrong").status_code == 401
        assert project.call("GET", "/assets/changes", X_API_Key="").status_code == 401
        assert project.call("GET", "/assets/changes", Authorization="Bearer x").status_code == 400
        unknown = project.call("GET", "/assets/changes", X_Project_ID=str(uuid.uuid4()))
        assert_problem(unknown, 404, "project_not_found")

    def test_h15_a_wrong_slash_is_404_and_every_error_is_json_with_a_request_id(
        self, synapse: Target
    ) -> None:
        project = synapse.project()
        for path in ("/capabilities/", "/assets/changes/", "/assets/batch/"):
            method = "POST" if "batch" in path else "GET"
            answer = project.call(method, path, Idempotency_Key="x")
            assert answer.status_code == 404
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        mine = project.call("GET", "/assets/not-there", X_Request_ID="mine-1")
        assert mine.status_code == 404
        assert (mine.json()["request_id"], mine.headers["x-request-id"]) == ("mine-1", "mine-1")
        refusals = [
            project.call("DELETE", "/capabilities"),
            project.call("GET", f"/assets/{uuid.uuid4()}"),
            project.call("GET", "/assets/changes", X_Project_ID=""),
            project.call("GET", "/assets/changes?limit=0"),
            project.call("POST", "/assets/batch", b"{not json", Idempotency_Key="x"),
            project.call("POST", "/assets/batch", {"items": [], "colour": 1}, Idempotency_Key="x"),
            project.batch([]),
            project.batch([{}] * 1001),
            project.call("POST", "/assets/batch", b" " * (5 * 1024 * 1024 + 1), Idempotency_Key="x"),
        ]
        assert [answer.status_code for answer in refusals] == [405, 404, 400, 400, 422, 422, 422, 413, 413]
        for answer in refusals:
            assert_problem(answer, answer.status_code, answer.json()["type"])
