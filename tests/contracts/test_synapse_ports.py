"""What every SYNAPSE port must do: one suite for the one in memory and for the real client on the reference server.

The last test runs random histories through both and compares everything they say.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from plant3d_sync.connectors.base import AssetWrite, CursorReset, SynapsePort, WriteResult
from plant3d_sync.connectors.memory import MEMORY_PROJECT, MemorySynapse
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse_v02.client import SynapseV02
from plant3d_sync.errors import ConfigError, SkipRecordError
from plant3d_sync.model.record import Asset, Value
from plant3d_sync.synapse_dev.main import Listening, listen
from plant3d_sync.synapse_dev.v02.main import Running
from tests.support.synapse_v02 import synapse_v02

KEY = "contract-suite-key"


class World(Protocol):
    """A project of SYNAPSE with people in it."""

    @property
    def port(self) -> SynapsePort: ...

    def create(self, tag: str) -> str: ...

    def edit(self, asset_id: str, **members: object) -> None: ...

    def new_epoch(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemorySynapse(page_size=2)

    @property
    def port(self) -> SynapsePort:
        return self.memory

    def create(self, tag: str) -> str:
        return self.memory.user_create(tag)

    def edit(self, asset_id: str, **members: object) -> None:
        self.memory.user_edit(asset_id, **members)  # type: ignore[arg-type]

    def new_epoch(self) -> None:
        self.memory.new_epoch()


class HttpWorld:
    def __init__(self, url: str) -> None:
        self.people = httpx2.Client(base_url=url, headers={"X-API-Key": KEY}, trust_env=False)
        self.project: str = self._post("/dev/projects", {})["id"]
        self.client = SynapseClient(url, KEY, self.project, page_size=2, retry_attempts=1)

    @property
    def port(self) -> SynapsePort:
        return self.client

    def _post(self, path: str, body: dict[str, object]) -> dict[str, str]:
        answer = self.people.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, str] = answer.json() if answer.content else {}
        return found

    def create(self, tag: str) -> str:
        return self._post(f"/dev/projects/{self.project}/assets", {"tag": tag, "asset_type": "Equipment"})[
            "id"
        ]

    def edit(self, asset_id: str, **members: object) -> None:
        answer = self.people.patch(f"/dev/projects/{self.project}/assets/{asset_id}", json=members)
        answer.raise_for_status()

    def new_epoch(self) -> None:
        self._post(f"/dev/projects/{self.project}/new-epoch", {})

    def close(self) -> None:
        self.client.close()
        self.people.close()


class V02World:
    """SYNAPSE 0.2 as it is. It has no versions, no feed, no idempotency: what rests on those is not asked of it."""

    def __init__(self, running: Running) -> None:
        self.backend = running.backend
        self.project = running.backend.add_project()
        self.client = SynapseV02(
            running.url,
            running.user,
            running.password,
            self.project,
            page_size=2,
            retry_attempts=1,
            requests_per_second=0,
            fresh_seconds=0,
        )

    @property
    def port(self) -> SynapsePort:
        return self.client

    def create(self, tag: str) -> str:
        return self.backend.create(self.project, tag)

    def edit(self, asset_id: str, **members: object) -> None:
        members.pop("priority", None)
        self.backend.edit(asset_id, **members)

    def new_epoch(self) -> None:
        pytest.skip("SYNAPSE 0.2 has no epoch")

    def close(self) -> None:
        self.client.close()


def counts(world: World) -> bool:
    """Whether this SYNAPSE counts versions."""
    return world.port.capabilities().versions


@pytest.fixture(scope="module")
def server_v02() -> Iterator[Running]:
    with synapse_v02() as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    running = listen(api_key=KEY)
    thread = threading.Thread(target=running.serve)
    thread.start()
    yield running
    running.stop()
    thread.join()


@pytest.fixture(params=["memory", "http", "0.2"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    made = (
        V02World(request.getfixturevalue("server_v02"))
        if request.param == "0.2"
        else HttpWorld(request.getfixturevalue("server").ready.url)
    )
    yield made
    made.close()


def upsert(
    plant3d_id: str,
    *,
    if_version: int | None = None,
    if_description_version: int | None = None,
    link_by_tag: bool = False,
    restore: bool = False,
    **values: Value,
) -> AssetWrite:
    """`attributes__size` stands for `attributes.size`."""
    return AssetWrite(
        op="upsert",
        plant3d_id=plant3d_id,
        set={name.replace("__", "."): value for name, value in values.items()},
        if_version=if_version,
        if_description_version=if_description_version,
        link_by_tag=link_by_tag,
        restore=restore,
    )


def pump(plant3d_id: str, tag: str, **values: Value) -> AssetWrite:
    write = upsert(plant3d_id, tag=tag, asset_type="Equipment")
    write.set = {**write.set, **{name.replace("__", "."): value for name, value in values.items()}}
    return write


def archive(plant3d_id: str, if_version: int | None = None) -> AssetWrite:
    return AssetWrite(op="archive", plant3d_id=plant3d_id, if_version=if_version)


def send(world: World, *writes: AssetWrite) -> list[WriteResult]:
    return world.port.send(world.port.encode(writes).in_full(), key=uuid.uuid4().hex)


def told(results: list[WriteResult]) -> list[str]:
    return [result.code or result.status for result in results]


def everything(world: World) -> list[Asset]:
    return [asset for page in world.port.changes(None) for asset in page.assets]


def stored(result: WriteResult) -> Asset:
    assert result.asset is not None
    return result.asset


# ---------------------------------------------------------------- writing


def test_a_created_asset_is_read_back_as_stored(world: World) -> None:
    (result,) = send(world, pump("a", "P-1", description="Feed", attributes__size='6"', attributes__rate=1.5))
    assert result.status == "created"
    assert dict(stored(result).fields) == {
        "tag": "P-1",
        "asset_type": "Equipment",
        "asset_subtype": None,
        "description": "Feed",
        "attributes.size": '6"',
        "attributes.rate": 1.5,
    }
    assert (stored(result).archived, stored(result).plant3d_id) == (False, "a")
    if counts(world):
        assert (stored(result).version, stored(result).field_info["description"].version) == (1, 1)
    assert world.port.get(stored(result).asset_id) == stored(result)


def test_writing_the_same_again_changes_nothing(world: World) -> None:
    (first,) = send(world, pump("a", "P-1", attributes__size="6"))
    (second,) = send(world, pump("a", "P-1", attributes__size="6"))
    assert second.status == "unchanged"
    assert second.asset == first.asset


def test_the_same_key_and_body_give_the_same_answer_and_one_effect(world: World) -> None:
    body = world.port.encode([pump("a", "P-1")]).in_full()
    first, second = world.port.send(body, key="k-1"), world.port.send(body, key="k-1")
    if not counts(world):  # a repeat is harmless all the same
        assert [result.status for result in (*first, *second)] == ["created", "unchanged"]
        assert first[0].asset == second[0].asset
        return
    assert [result.replayed for result in (*first, *second)] == [False, True]
    assert [replace(first[0], replayed=True)] == second
    assert [asset.version for asset in everything(world)] == [1]


def test_a_key_used_again_with_another_body_is_refused(world: World) -> None:
    if not counts(world):
        pytest.skip("SYNAPSE 0.2 knows no such keys")
    world.port.send(world.port.encode([pump("a", "P-1")]).in_full(), key="k-1")
    with pytest.raises(ConfigError) as caught:
        world.port.send(world.port.encode([pump("b", "P-2")]).in_full(), key="k-1")
    assert caught.value.error_code == "synapse_refused"
    assert caught.value.details["type"] == "idempotency_key_reused"
    assert [asset.plant3d_id for asset in everything(world)] == ["a"]


def test_a_question_under_a_key_that_came_is_refused_and_the_answer_is_as_it_was_then(world: World) -> None:
    """What recovery rests on: `run/asking.py`."""
    if not counts(world):
        assert world.port.capabilities().idempotency_hours == 0
        return
    body, question = (
        world.port.encode([pump("a", "P-1")]).in_full(),
        world.port.encode([archive("nobody knows it")]).in_full(),
    )
    (made,) = world.port.send(body, key="k-1")
    world.edit(made.asset_id or "", description="a user's")
    with pytest.raises(ConfigError) as caught:
        world.port.send(question, key="k-1")
    assert caught.value.details["type"] == "idempotency_key_reused"
    (kept,) = world.port.send(body, key="k-1")
    assert kept.replayed and kept.asset == made.asset
    assert [asset.fields["description"] for asset in everything(world)] == ["a user's"]


def test_a_question_under_a_key_that_never_came_changes_nothing_and_uses_the_key_up(world: World) -> None:
    if not counts(world):
        assert world.port.capabilities().idempotency_hours == 0
        return
    assert world.port.capabilities().idempotency_hours >= 24
    body, question = (
        world.port.encode([pump("a", "P-1")]).in_full(),
        world.port.encode([archive("nobody knows it")]).in_full(),
    )
    (first,), (second,) = world.port.send(question, key="k-1"), world.port.send(question, key="k-1")
    assert (first.status, first.code) == ("error", "not_found") and not first.replayed and second.replayed
    with pytest.raises(ConfigError):
        world.port.send(body, key="k-1")
    assert everything(world) == []


def test_absent_fields_stay_and_none_clears(world: World) -> None:
    send(world, pump("a", "P-1", description="Feed", attributes__size="6", attributes__spec="CS"))
    (result,) = send(world, upsert("a", description=None, attributes__size=None))
    assert dict(stored(result).fields) == {
        "tag": "P-1",
        "asset_type": "Equipment",
        "asset_subtype": None,
        "description": None,
        "attributes.spec": "CS",
    }


def test_the_empty_text_and_none_are_the_same(world: World) -> None:
    send(world, pump("a", "P-1", description="", attributes__size=""))
    (result,) = send(world, pump("a", "P-1", description=None, attributes__size=None))
    assert result.status == "unchanged"


def test_a_swap_and_a_cycle_of_tags_are_updates(world: World) -> None:
    send(world, *(pump(key, f"P-{key}") for key in "abcde"))
    results = send(
        world,
        upsert("a", tag="P-b"),
        upsert("b", tag="P-a"),
        upsert("c", tag="P-d"),
        upsert("d", tag="P-e"),
        upsert("e", tag="P-c"),
    )
    assert told(results) == ["updated"] * 5
    assert {asset.plant3d_id: asset.tag for asset in everything(world)} == {
        "a": "P-b", "b": "P-a", "c": "P-d", "d": "P-e", "e": "P-c",
    }  # fmt: skip


def test_a_chain_whose_end_is_taken_fails_as_a_whole_and_alone(world: World) -> None:
    holder = world.create("P-taken")
    send(world, pump("a", "P-a"), pump("b", "P-b"))
    results = send(world, upsert("a", tag="P-b"), upsert("b", tag="P-taken"), pump("c", "P-c"))
    assert told(results) == ["tag_taken", "tag_taken", "created"]
    assert results[1].other is not None
    assert results[1].other["id"] == holder
    assert results[1].field == "tag"


def test_two_items_of_a_batch_that_want_one_tag_both_fail(world: World) -> None:
    results = send(world, pump("a", "P-1"), pump("b", "P-1"), pump("c", "P-2"))
    assert told(results) == ["tag_taken", "tag_taken", "created"]
    assert [result.other for result in results[:2]] == [None, None]


def test_one_id_twice_in_a_batch_fails_for_both(world: World) -> None:
    assert told(send(world, pump("a", "P-1"), pump("a", "P-2"))) == ["duplicate_in_batch"] * 2


def test_conditions_that_fail_give_the_asset_as_it_stands(world: World) -> None:
    (made,) = send(world, pump("a", "P-1", description="Feed"))
    version, described = stored(made).version, stored(made).field_info["description"].version
    world.edit(stored(made).asset_id, description="Feed pump")
    for write, code in (
        (upsert("a", description="x", if_description_version=described), "field_version_mismatch"),
        (upsert("a", description="x", if_version=version), "version_mismatch"),
        (upsert("a", description="x", if_version=0), "exists"),
        (archive("a", if_version=version), "version_mismatch"),
    ):
        (result,) = send(world, write)
        assert (result.status, result.code) == ("conflict", code)
        assert stored(result).fields["description"] == "Feed pump"
        if counts(world):
            assert (result.version, stored(result).field_info["description"].by) == (2, "user:dev")


def test_a_field_condition_does_not_mind_other_fields(world: World) -> None:
    (made,) = send(world, pump("a", "P-1", description="Feed"))
    world.edit(stored(made).asset_id, priority=2)
    described = stored(made).field_info["description"].version
    (result,) = send(world, upsert("a", description="Feed pump", if_description_version=described))
    assert result.status == "updated"
    assert result.version == 3 or not counts(world)


def test_archiving_keeps_the_asset_and_frees_its_tag(world: World) -> None:
    send(world, pump("a", "P-1"))
    (gone,) = send(world, archive("a"))
    assert (gone.status, stored(gone).archived) == ("archived", True)
    assert stored(gone).version == 2 or not counts(world)
    assert told(send(world, archive("a"))) == ["unchanged"]
    assert told(send(world, upsert("a", description="x"))) == ["archived"]
    assert told(send(world, pump("b", "P-1"))) == ["created"]
    if counts(world):
        assert told(send(world, upsert("a", description="x", restore=True))) == ["tag_taken"]
    else:  # it has given its tag up by another name
        assert told(send(world, upsert("a", tag="P-1", restore=True))) == ["tag_taken"]
    (back,) = send(world, upsert("a", tag="P-2", restore=True))
    assert (back.status, back.restored, stored(back).archived) == ("updated", True, False)


def test_an_unlinked_asset_is_taken_over_by_tag_only_when_asked(world: World) -> None:
    asset_id = world.create("P-1")
    assert told(send(world, pump("a", "P-1"))) == ["tag_taken"]
    (linked,) = send(world, upsert("a", tag="P-1", description="Feed", link_by_tag=True))
    assert (linked.status, linked.linked, linked.asset_id) == ("updated", True, asset_id)
    assert stored(linked).plant3d_id == "a"
    assert told(send(world, upsert("b", tag="P-1", asset_type="Equipment", link_by_tag=True))) == [
        "tag_taken"
    ]


def test_values_synapse_cannot_hold_fail_alone(world: World) -> None:
    results = send(
        world,
        pump("a", " P-1"),
        pump("b", "x" * 101),
        pump("c", "P-3", description="x\0"),
        pump("d", "P-4", attributes__big="x" * 70_000),
        upsert("e", tag="P-5"),
        archive("f"),
        pump("g", "P-7"),
    )
    assert told(results) == [
        "invalid_value", "invalid_value", "invalid_value", "attributes_too_large", "missing_field", "not_found",
        "created",
    ]  # fmt: skip
    assert [asset.plant3d_id for asset in everything(world)] == ["g"]


def test_a_value_json_cannot_hold_is_refused_before_anything_is_sent(world: World) -> None:
    with pytest.raises(SkipRecordError):
        world.port.encode([pump("a", "P-1", attributes__rate=float("nan"))]).in_full()


# ---------------------------------------------------------------- reading


def test_changes_give_each_asset_once_in_order_then_only_what_is_new(world: World) -> None:
    send(world, *(pump(key, f"P-{key}") for key in "abcde"))
    first = list(world.port.changes(None))
    assert [len(page.assets) for page in first] == [2, 2, 1]
    assert [page.has_more for page in first] == [True, True, False]
    sequence = [asset.seq for page in first for asset in page.assets]
    assert sequence == sorted(set(sequence))
    send(world, upsert("b", description="new"))
    world.create("P-user")
    later = [asset for page in world.port.changes(first[-1].next_cursor) for asset in page.assets]
    if world.port.capabilities().feed:
        assert [asset.tag for asset in later] == ["P-b", "P-user"]
    else:
        known = {asset.asset_id: asset.version for page in first for asset in page.assets}
        assert {asset.tag for asset in later if known.get(asset.asset_id) != asset.version} == {
            "P-b",
            "P-user",
        }


def test_an_asset_changed_during_a_pass_is_seen_again_and_none_is_missed(world: World) -> None:
    send(world, *(pump(key, f"P-{key}") for key in "abcd"))
    if not world.port.capabilities().feed:
        pytest.skip("SYNAPSE 0.2 is read whole before the first page is given")
    pages = world.port.changes(None)
    seen = [asset.plant3d_id for asset in next(pages).assets]
    send(world, upsert("a", description="moved"))
    seen += [asset.plant3d_id for page in pages for asset in page.assets]
    assert sorted(str(key) for key in seen) == ["a", "a", "b", "c", "d"]


def test_nothing_new_is_an_empty_page_with_a_cursor(world: World) -> None:
    (page,) = world.port.changes(None)
    assert (page.assets, page.has_more) == ([], False)
    (again,) = world.port.changes(page.next_cursor)
    assert again.assets == []


def test_totals_count_live_archived_and_linked(world: World) -> None:
    world.create("P-user")
    send(world, pump("a", "P-a"), pump("b", "P-b"))
    send(world, archive("b"))
    last = list(world.port.changes(None, totals=True))[-1]
    assert last.totals == {"live": 2, "archived": 1, "linked": 2}


def test_a_broken_history_resets_the_cursor(world: World) -> None:
    send(world, pump("a", "P-a"))
    cursor = list(world.port.changes(None))[-1].next_cursor
    world.new_epoch()
    with pytest.raises(CursorReset):
        list(world.port.changes(cursor))
    assert [asset.plant3d_id for asset in everything(world)] == ["a"]


@pytest.mark.parametrize("cursor", ["nonsense", "e1.x", "%%"])
def test_a_cursor_that_never_was_one_resets_too(cursor: str, world: World) -> None:
    with pytest.raises(CursorReset):
        list(world.port.changes(cursor))


def test_nested_attributes_are_shown_as_stable_text(world: World) -> None:
    if not counts(world):
        pytest.skip("attributes of assets that are not ours are not in SYNAPSE 0.2")
    asset_id = world.create("P-1")
    world.edit(asset_id, attributes={"custom": {"b": 1, "a": [1, None]}, "size": ""})
    asset = world.port.get(asset_id)
    assert asset is not None
    assert asset.fields["attributes.custom"] == '{"a":[1,null],"b":1}'
    assert asset.fields["attributes.size"] is None


def test_an_unknown_asset_is_none(world: World) -> None:
    assert world.port.get(str(uuid.uuid4())) is None


def test_capabilities_name_the_contract_and_the_shared_field(world: World) -> None:
    if not counts(world):
        able = world.port.capabilities()
        assert (able.contract, able.version, able.skew_seconds, able.max_batch_items) == (
            "0.2",
            "0.2.2",
            None,
            100,
        )
        assert able.shared_fields == ("description",)
        return
    able = world.port.capabilities()
    assert able.contract.startswith("1.")
    assert able.shared_fields == ("description",)
    assert "tag" in able.writable_fields
    assert able.skew_seconds is not None
    assert world.port.capabilities().max_batch_items == 1000


# ---------------------------------------------------------------- both, compared

IDS = st.sampled_from(["a", "b", "c", "d"])
TAGS = st.sampled_from(["P-1", "P-2", "P-3", "P-4", "", " P-5"])
TEXTS = st.sampled_from([None, "", "Feed", "Feed pump"])
VERSIONS = st.sampled_from([None, None, None, 0, 1, 2, 3])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "tag": TAGS,
        "asset_type": st.sampled_from(["Equipment", "Valve"]),
        "description": TEXTS,
        "attributes.size": st.sampled_from([None, "6", 6, 6.5, True]),
        "attributes.spec": TEXTS,
    },
)
UPSERTS = st.builds(
    AssetWrite,
    op=st.just("upsert"),
    plant3d_id=IDS,
    set=VALUES,
    if_version=VERSIONS,
    if_description_version=st.sampled_from([None, None, 1, 2]),
    link_by_tag=st.booleans(),
    restore=st.booleans(),
)
CREATES = st.builds(lambda key, tag: pump(key, tag), IDS, st.sampled_from(["P-1", "P-2", "P-3", "P-4"]))
ARCHIVES = st.builds(archive, IDS, st.sampled_from([None, 1, 2]))
BATCHES = st.lists(st.one_of(UPSERTS, CREATES, ARCHIVES), min_size=1, max_size=5)
EDITS = st.tuples(
    st.integers(0, 5),
    st.fixed_dictionaries(
        {}, optional={"description": st.sampled_from([None, "by hand"]), "priority": st.integers(1, 5)}
    ),
)
STEPS = st.lists(
    st.one_of(BATCHES, EDITS, st.sampled_from(["create P-1", "create P-9"])), min_size=1, max_size=8
)


def comparable(asset: Asset | None, ids: dict[str, int]) -> object:
    """An asset without ids and times of its own; ids numbered in the order met."""
    if asset is None:
        return None
    number = ids.setdefault(asset.asset_id, len(ids))
    info = {name: (one.version, one.by.partition(":")[0]) for name, one in asset.field_info.items()}
    return (
        number,
        asset.plant3d_id,
        asset.version,
        asset.archived,
        sorted(asset.fields.items(), key=repr),
        info,
    )


def history(world: World, steps: list[object]) -> list[object]:
    """Run the steps; everything the port said, comparable between worlds."""
    said: list[object] = []
    ids: dict[str, int] = {}
    for step in steps:
        if isinstance(step, str):
            tag = step.removeprefix("create ")
            if all(asset.archived or asset.tag != tag for asset in everything(world)):
                world.create(tag)
        elif isinstance(step, tuple):
            assets = everything(world)
            if assets and step[1] and not assets[step[0] % len(assets)].archived:
                world.edit(assets[step[0] % len(assets)].asset_id, **step[1])
        elif isinstance(step, list):
            said.append(
                [
                    (r.status, r.code, r.field, r.linked, r.restored, r.version, comparable(r.asset, ids))
                    for r in send(world, *step)
                ]
            )
        said.append([comparable(asset, ids) for asset in everything(world)])
    return said


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_memory_and_reference_server_say_the_same_of_any_history(
    server: Listening, steps: list[object]
) -> None:
    over_http = HttpWorld(server.ready.url)
    try:
        assert history(MemoryWorld(), steps) == history(over_http, steps)
    finally:
        over_http.close()


# ---------------------------------------------------------------- the lies of the one in memory


def test_a_lost_answer_leaves_the_batch_applied() -> None:
    memory = MemorySynapse()
    memory.lies.lose_replies = 1
    body = memory.encode([pump("a", "P-1")]).in_full()
    with pytest.raises(Exception, match="not known"):
        memory.send(body, key="k-1")
    assert [result.status for result in memory.send(body, key="k-1")] == ["created"]
    assert (memory.effective_writes, [delivery.replayed for delivery in memory.deliveries]) == (
        1,
        [False, True],
    )


def test_an_altered_value_is_stored_and_read_back_altered() -> None:
    memory = MemorySynapse()
    memory.lies.alter = lambda key, name, value: str(value).upper() if name == "description" else None
    (result,) = memory.send(memory.encode([pump("a", "p-1", description="Feed")]).in_full(), key="k-1")
    assert stored(result).fields["description"] == "FEED"
    assert stored(result).tag == "p-1"


def test_results_left_out_are_unknown_though_applied() -> None:
    memory = MemorySynapse()
    memory.lies.drop_results = 1
    results = memory.send(memory.encode([pump("a", "P-1"), pump("b", "P-2")]).in_full(), key="k-1")
    assert [result.status for result in results] == ["created", "unknown"]
    assert len(memory.assets()) == 2


def test_a_person_s_edit_can_be_dated() -> None:
    memory = MemorySynapse(project_id=MEMORY_PROJECT)
    asset_id = memory.user_create("P-1")
    moment = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    edited = memory.user_edit(asset_id, description="by hand", at=moment)
    assert edited.field_info["description"].updated_at == "2020-01-02T03:04:05.000000Z"
