"""What every state database must do: the same promises on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy.exc import DBAPIError

from plant3d_sync.errors import ConfigError, LeaseLost, NeedsPersonError, RetryLaterError
from plant3d_sync.model.link import Flip, Hold, InSynapse, Interval, Link, LinkState, Missing, Open
from plant3d_sync.model.ours import Origin
from plant3d_sync.model.record import Asset, FieldInfo, Finding, SourceIdentity
from plant3d_sync.model.step import Touch, to_text
from plant3d_sync.reconcile import advance
from plant3d_sync.state import (
    State,
    audit,
    findings,
    intents,
    lines,
    links,
    ours,
    projects,
    runs,
    seals,
    tables,
)
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.lease import Fence, Lease
from plant3d_sync.state.store import SCHEMA, _alembic_config
from plant3d_sync.state.tables import audit as audit_table
from plant3d_sync.state.tables import audit_head, lease, metadata
from plant3d_sync.state.whose import holder_name
from tests.support.builders import item
from tests.support.builders import link as model_link
from tests.support.postgres import empty_database, server

IDENTITY = SourceIdentity(
    dbid="d",
    pnpid_counter=7,
    change_counter=None,
    signature="é",
    newest_timestamp=638_000_000_000_000_001,
    rows=3,
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as uri:
        yield uri


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """A state database that holds nothing yet."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'deep' / 'state.db'}"
        if kind == "postgresql":
            url = stack.enter_context(empty_database(request.getfixturevalue("postgres")))
        state = State(url)
        stack.callback(state.close)
        yield state


@pytest.fixture(scope="module")
def ready_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state database after its migrations; tests get copies of it."""
    path = tmp_path_factory.mktemp("ready") / "state.db"
    state = State(f"sqlite:///{path}")
    state.upgrade()
    with state.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    state.close()
    return path


@pytest.fixture(scope="module")
def ready_postgres(postgres: str) -> Iterator[str]:
    with empty_database(postgres) as url:
        state = State(url)
        state.upgrade()
        state.close()
        yield url


@pytest.fixture
def state_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("ready_sqlite"), tmp_path / "state.db")
        yield f"sqlite:///{tmp_path / 'state.db'}"
        return
    template = request.getfixturevalue("ready_postgres")
    with empty_database(request.getfixturevalue("postgres"), template=template) as url:
        yield url


@pytest.fixture
def state(state_url: str) -> Iterator[State]:
    """A state database of this version."""
    state = State(state_url)
    yield state
    state.close()


# ------------------------------------------------------------------ schema


def test_an_empty_database_is_brought_to_this_version_once(empty: State) -> None:
    assert empty.schema_version() is None
    assert empty.upgrade() == (None, SCHEMA)
    assert empty.upgrade() == (SCHEMA, SCHEMA)
    assert empty.head() == SCHEMA


def test_the_migrations_make_exactly_the_tables_the_code_uses(empty: State) -> None:
    empty.upgrade()
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_links_of_the_first_schema_are_found_after_the_upgrade_and_stay_unique(empty: State) -> None:
    first = [
        row_of(full_link(), 1, id=n, pnpid=n, plant3d_id=f"guid-{n}", asset_version=n) for n in (1, 2, 3)
    ]
    _as_first_schema(empty, first)
    assert empty.upgrade() == ("0001", SCHEMA)
    with empty.read() as connection:
        assert [one.link_id for one in links.by_items(connection, 1, ["guid-2", "guid-9"], [])] == [2]
        assert links.versions(connection, 1, ["guid-1", "guid-3"]) == {"guid-1": 1, "guid-3": 3}
    with pytest.raises(ConfigError), empty.write() as connection:
        links.insert_many(connection, [row_of(full_link(), 1, id=4, pnpid=4, plant3d_id="guid-2")])


def _as_first_schema(empty: State, rows: Sequence[dict[str, Any]], *conflicts: dict[str, Any]) -> None:
    """A database as the first version made it, with these links and conflicts."""
    with empty.engine.connect() as connection:
        config = _alembic_config(empty.url)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
        for table, of_table in (("link", rows), ("conflict", conflicts)):
            there = {column["name"] for column in sa.inspect(connection).get_columns(table)}
            for row in of_table:
                names = [name for name in row if name in there]
                marks = ", ".join(f":{name}" for name in names)
                connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"), row)
        connection.commit()


def test_links_that_left_the_mapping_are_told_from_those_that_a_person_unlinked(empty: State) -> None:
    states = ("unlinked", "unlinked", "unlinked", "active", "archived")
    rows = [
        row_of(full_link(), 1, id=n, pnpid=n, plant3d_id=f"guid-{n}") | {"state": state}
        for n, state in enumerate(states, 1)
    ]
    asked = {"project": "mine", "field": "*", "kind": "gone_from_plant3d", "data": "{}", "status": "resolved"}
    made = {"detected_at": 1.0, "seq": 1, "id": "c-1", "link_id": 2, "resolution": "synapse"}
    other = {**made, "seq": 2, "id": "c-2", "link_id": 3, "resolution": "plant3d"}
    _as_first_schema(empty, rows, asked | made, asked | other)
    assert empty.upgrade() == ("0001", SCHEMA)
    with empty.read() as connection:
        found = links.by_ids(connection, range(1, 6))
    assert [found[n].state.value for n in range(1, 6)] == ["out", "unlinked", "out", "active", "archived"]
    assert {one.in_synapse for one in found.values()} == {InSynapse.ARCHIVED}, "nothing else moved"


def test_what_lines_are_made_of_is_under_a_seal_after_the_upgrade_as_it_stood(empty: State) -> None:
    with empty.engine.connect() as connection:
        config = _alembic_config(empty.url)
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.execute(sa.text("INSERT INTO project (name, number) VALUES ('mine', 3), ('bare', 4)"))
        connection.execute(
            sa.text("INSERT INTO line_members VALUES (3, 'b', 'é\u2028', '[1,2]'), (3, 'a', 'a', '[]')")
        )
        connection.commit()
    assert empty.upgrade() == ("0013", SCHEMA)
    with empty.write() as connection:
        lines.check(connection, "mine", 3, nothing="")
        lines.check(connection, "bare", 4, nothing="")
        lines.remember(connection, "mine", 3, {"c": lines.Made("c", (7,))}, at=1.0)
        connection.execute(sa.text("UPDATE line_members SET row_guid = 'x' WHERE plant3d_id = 'b'"))
        with pytest.raises(NeedsPersonError):
            lines.check(connection, "mine", 3, nothing="")
    with empty.read() as connection:
        assert [(one.table, one.row) for one in seals.verify(connection).broken] == [("line_members", "b")]
    with empty.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0013")
        left = connection.execute(sa.text("SELECT count(*) FROM audit WHERE project LIKE 'lines:%'"))
        assert left.scalar() == 0


def test_a_state_of_an_older_version_keeps_what_it_remembers(empty: State) -> None:
    """Revision 0002 is what the first release wrote."""
    with empty.engine.connect() as connection:
        config = _alembic_config(empty.url)
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            sa.text(
                "INSERT INTO project (name, number, synapse_project_id, feed_cursor, next_link, settings) "
                "VALUES ('mine', 3, 'uuid', 'c-7', 42, '{}')"
            )
        )
        connection.commit()
    assert empty.upgrade() == ("0002", SCHEMA)
    with empty.read() as connection:
        known = projects.get(connection, "mine")
    assert known is not None
    assert (known.number, known.synapse_project_id, known.feed_cursor, known.next_link) == (
        3,
        "uuid",
        "c-7",
        42,
    )
    with empty.engine.connect() as connection:
        config = _alembic_config(empty.url)
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        connection.commit()
        assert connection.execute(sa.text("SELECT name, settings FROM project")).all() == [("mine", None)]


GROUPED = '{"attributes":{"a.b":null,"size":"6"},"tag":"P-1","attributes.note":null,"description":null}'
FLAT = {
    "attributes.a.b": None,
    "attributes.size": "6",
    "tag": "P-1",
    "attributes.note": None,
    "description": None,
}


def test_a_base_is_read_with_its_attributes_apart_and_as_it_was_stored_before(state: State) -> None:
    stored = [GROUPED, orjson.dumps(FLAT).decode()]
    with state.write() as connection:
        links.insert_many(
            connection,
            [
                row_of(full_link(), 1, id=n, pnpid=n, plant3d_id=f"guid-{n}", base=text)
                for n, text in enumerate(stored, 1)
            ],
        )
    with state.read() as connection:
        assert [dict(one.base or {}) for one in links.by_ids(connection, [1, 2]).values()] == [FLAT, FLAT]


def test_the_version_before_is_left_bases_that_it_can_read(empty: State) -> None:
    empty.ready()
    with empty.write() as connection:
        links.insert_many(connection, [row_of(full_link(), 1, base=GROUPED)])
    with empty.engine.connect() as connection:
        config = _alembic_config(empty.url)
        config.attributes["connection"] = connection
        command.downgrade(config, "0015")
        connection.commit()
        assert orjson.loads(connection.execute(sa.text("SELECT base FROM link")).scalar_one()) == FLAT


def test_an_identity_that_only_shares_its_short_key_is_not_taken_for_another(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "key_of", lambda identity: 7)
    with state.write() as connection:
        links.insert_many(connection, [row_of(full_link(), 1, plant3d_id="guid-1")])
    with state.read() as connection:
        assert links.by_items(connection, 1, ["guid-2"], []) == []
        assert links.versions(connection, 1, ["guid-2"]) == {}


def test_an_empty_database_is_set_up_by_the_first_run(empty: State) -> None:
    empty.ready()
    assert empty.schema_version() == SCHEMA
    empty.ready()


def test_a_database_of_another_version_is_refused_with_the_command_to_run(state: State) -> None:
    with state.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(ConfigError) as caught:
        state.ready()
    assert caught.value.error_code == "schema_version"
    assert "db upgrade" in caught.value.hint


def test_an_unknown_kind_of_database_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        State("mysql+pymysql://u:p@host/name")
    assert caught.value.error_code == "state_url"


def test_a_server_that_is_away_says_so_without_the_password() -> None:
    away = State("postgresql://someone:hunter2@127.0.0.1:1/none")
    with pytest.raises(RetryLaterError) as caught:
        away.ready()
    assert caught.value.error_code == "state_unavailable"
    assert "hunter2" not in str(caught.value.to_dict())
    assert "hunter2" not in away.shown


def test_an_error_inside_a_transaction_leaves_nothing_behind(state: State) -> None:
    with pytest.raises(KeyError), state.write() as connection:
        projects.ensure(connection, "mine")
        raise KeyError("in the middle")
    with state.read() as connection:
        assert projects.get(connection, "mine") is None


# ------------------------------------------------------------------ round trips


def test_a_project_is_remembered(state: State) -> None:
    with state.write() as connection:
        first = projects.ensure(connection, "mine")
        second = projects.ensure(connection, "other")
        projects.update(
            connection,
            "mine",
            identity=IDENTITY,
            last_counts={"a": {"b": 1}},
            skew=-3600.25,
            force_compare=True,
            plant_read_at=1_767_225_600.123456,
            waiting=3,
        )
    with state.read() as connection:
        known = projects.get(connection, "mine")
        assert projects.ensure(connection, "mine").number == first.number != second.number
    assert known is not None
    assert (known.identity, known.last_counts, known.force_compare) == (IDENTITY, {"a": {"b": 1}}, True)
    assert (known.skew, known.plant_read_at, known.waiting) == (-3600.25, 1_767_225_600.123456, 3)


def full_link() -> Link:
    return model_link(
        item(5, "P-5", "é \U0001f600 = 1"),
        class_name="Pump",
        state=LinkState.MISSING,
        digest=b"\x00\x01\xff",
        ticks=638_000_000_000_000_001,
        revision=7,
        looked_at=1.5,
        mapping_version=3,
        went_back=True,
        drawing="PID-1",
        base_plant={"description": "longer"},
        synapse_delta={"attributes.spec": None},
        pending={"description": Open(why="conflict", plant3d="a", synapse=None)},
        observed={
            "description": {"p": Interval(at_base=None, away=2.5), "s": Interval(at_base=1.25, away=3.0)}
        },
        holds={"description": Hold(side="synapse", value=None, kept="x")},
        flips={"description": Flip(3, "pair", "plant3d", 1)},
        missing=Missing(
            since="2026-01-01T00:00:00+00:00",
            reads=2,
            last_counted="2026-01-02T00:00:00+00:00",
            signature=None,
        ),
        in_synapse=InSynapse.ARCHIVED,
        description_at="2026-01-01T00:00:00Z",
        description_by="sam",
    )


def row_of(one: Link, number: int, **more: Any) -> dict[str, Any]:
    missing = one.missing
    return {
        "id": one.link_id,
        "project": number,
        "pnpid": one.pnpid,
        "plant3d_id": one.plant3d_id,
        "class_name": one.class_name,
        "entity": one.entity,
        "asset_id": one.asset_id,
        "asset_version": one.asset_version,
        "description_version": one.description_version,
        "description_at": one.description_at,
        "description_by": one.description_by,
        "tag": one.tag,
        "state": one.state.value,
        "gone_in_synapse": one.in_synapse.value,
        "digest": one.digest,
        "ticks": one.ticks,
        "revision": one.revision,
        "looked_at": one.looked_at,
        "mapping_version": one.mapping_version,
        "went_back": int(one.went_back),
        "base": dump(one.base),
        "base_plant": dump(one.base_plant),
        "synapse_delta": dump(one.synapse_delta),
        "pending": dump(one.pending),
        "observed": dump(
            {n: {s: [i.at_base, i.away] for s, i in d.items()} for n, d in one.observed.items()}
        ),
        "holds": dump({n: [h.side, h.value, h.kept] for n, h in one.holds.items()}),
        "flips": dump({n: list(f) for n, f in one.flips.items()}),
        "missing": dump([missing.since, missing.reads, missing.last_counted, missing.signature])
        if missing
        else None,
        "drawing": one.drawing,
        "run_id": "r",
    } | more


def test_a_link_comes_back_as_it_was_stored(state: State) -> None:
    one = replace(full_link(), link_id=projects.link_id(1, 1))
    with state.write() as connection:
        links.insert_many(connection, [row_of(one, 1)])
    with state.read() as connection:
        assert links.by_items(connection, 1, [one.plant3d_id], []) == [one]
        assert links.by_items(connection, 1, [], [5]) == [one]
        assert links.by_items(connection, 2, [one.plant3d_id], [5]) == [], "projects do not see each other"
        assert links.by_ids(connection, [one.link_id]) == {one.link_id: one}
        [brief] = links.briefs(connection, 1)
    assert (brief.open, brief.in_synapse, brief.tag, brief.digest) == (
        True,
        True,
        "P-5",
        b"\x00\x01\xff",
    )


def test_what_an_older_version_remembered_of_a_field_s_writes_still_loads(state: State) -> None:
    one = full_link()
    with state.write() as connection:
        links.insert_many(connection, [row_of(one, 1, flips='{"description":[3,"pair"]}')])
    with state.read() as connection:
        [found] = links.by_items(connection, 1, [one.plant3d_id], [])
    assert found.flips == {"description": Flip(writes=3, pair="pair", last="", reverts=0)}


def test_a_settled_link_is_not_open_and_an_empty_base_is_not_no_base(state: State) -> None:
    settled = model_link(item(1, "A"), link_id=projects.link_id(1, 1), base={})
    never = model_link(item(2, "B"), link_id=projects.link_id(1, 2), base=None)
    with state.write() as connection:
        links.insert_many(connection, [row_of(settled, 1, base="{}"), row_of(never, 1)])
    with state.read() as connection:
        assert {brief.pnpid: brief.open for brief in links.briefs(connection, 1)} == {1: False, 2: True}
        found = links.by_ids(connection, [settled.link_id, never.link_id])
    assert (found[settled.link_id].base, found[never.link_id].base) == ({}, None)


def test_links_are_found_and_changed_in_any_number(state: State) -> None:
    many = [model_link(item(n, f"T-{n}"), base={"tag": f"T-{n}"}) for n in range(1, 1202)]
    with state.write() as connection:
        links.insert_many(connection, [row_of(one, 1) for one in many])
        links.update_many(
            connection, [{"link_id": one.link_id, "tag": "new", "asset_version": 9} for one in many[:700]]
        )
    with state.read() as connection:
        assert links.count(connection, 1) == 1201
        assert len(links.by_items(connection, 1, [one.plant3d_id for one in many], [])) == 1201
        found = links.by_ids(connection, [one.link_id for one in many])
    assert sum(one.tag == "new" and one.asset_version == 9 for one in found.values()) == 700


def test_one_identity_has_one_link(state: State) -> None:
    one = model_link(item(1, "A"))
    with pytest.raises(ConfigError) as refused, state.write() as connection:
        links.insert_many(connection, [row_of(one, 1), row_of(one, 1, id=77)])
    assert refused.value.error_code == "state_refused"
    with state.read() as connection:
        assert links.count(connection, 1) == 0


def test_assets_without_a_link_are_kept_replaced_and_dropped(state: State) -> None:
    loose = Asset(
        asset_id="x",
        plant3d_id="g",
        version=3,
        seq=0,
        archived=False,
        fields={"tag": "A", "description": None},
        field_info={"description": FieldInfo(version=2, updated_at="t", by="sam")},
    )
    with state.write() as connection:
        links.put_unlinked(connection, 1, [loose])
        links.put_unlinked(connection, 1, [loose])
    with state.read() as connection:
        assert list(links.unlinked(connection, 1)) == [("x", "g", "A", "", False)]
        assert links.unlinked_by_plant3d_id(connection, 1, ["g", "h"]) == {"g": loose}
    with state.write() as connection:
        links.drop_unlinked(connection, 1, ["x"])
    with state.read() as connection:
        assert list(links.unlinked(connection, 1)) == []


def test_of_an_asset_that_one_page_shows_twice_the_later_counts(state: State) -> None:
    def shown(version: int) -> Asset:
        return Asset(
            asset_id="x",
            plant3d_id=None,
            version=version,
            seq=0,
            archived=False,
            fields={"tag": f"A-{version}"},
        )

    with state.write() as connection:
        links.put_unlinked(connection, 1, [shown(1), shown(2)])
    with state.read() as connection:
        assert list(links.unlinked(connection, 1)) == [("x", None, "A-2", "", False)]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b")], ids=["one project", "two projects"])
def test_two_processes_that_meet_new_projects_at_once_agree(state: State, names: tuple[str, str]) -> None:
    both_ready = threading.Barrier(2, timeout=30)
    made: dict[int, int] = {}

    def ensure(index: int) -> None:
        both_ready.wait()
        with state.write() as connection:
            made[index] = projects.ensure(connection, names[index]).number

    for _again in range(10):
        threads = [threading.Thread(target=ensure, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(made) == [0, 1], "none of them failed"
        assert (made[0] == made[1]) is (names[0] == names[1])
        made.clear()
        with state.write() as connection:
            connection.execute(sa.delete(metadata.tables["project"]))


def test_what_waits_without_a_base_is_not_forgotten_when_synapse_changes() -> None:
    fields = {"tag": "B", "description": "theirs", "attributes.other": "x"}
    assert advance.delta({"tag": "A"}, fields) == {"tag": "B"}
    assert advance.delta({"tag": "A"}, fields, ["description"]) == {"tag": "B", "description": "theirs"}
    assert advance.delta(None, fields) == fields


def step_of(pnpid: int) -> Touch:
    return Touch(
        entity="equipment", pnpid=pnpid, plant3d_id=f"g-{pnpid}", class_name="Pump", tag=f"P-{pnpid}"
    )


def test_a_plan_of_many_lines_comes_back_in_order(state: State) -> None:
    stored = runs.StoredPlan(
        plan_id="p",
        project="mine",
        direction="pull",
        status="draft",
        created_at=1.5,
        created_by="eve",
        run_id="r",
        fingerprint="f",
        mapping_digest="m",
        identity=IDENTITY,
        signature=None,
        header={"stats": {"total": 1}},
        lines=1203,
        chunks=3,
    )
    with state.write() as connection:
        runs.put_plan(connection, stored, [to_text(step_of(n)) for n in range(1203)])
    with state.read() as connection:
        assert runs.get_plan(connection, "p") == stored
        assert [step.pnpid for step in runs.all_steps(connection, stored)] == list(range(1203))
        assert runs.get_plan(connection, "q") is None


def test_a_plan_is_approved_once(state: State) -> None:
    test_a_plan_of_many_lines_comes_back_in_order(state)
    with state.write() as connection:
        assert runs.set_plan(connection, "p", expect=["draft"], status="approved")
        assert not runs.set_plan(connection, "p", expect=["draft"], status="approved")
    with state.read() as connection:
        found = runs.get_plan(connection, "p")
    assert found is not None
    assert (found.status, found.version) == ("approved", 2)


def test_a_run_and_its_story_come_back(state: State) -> None:
    with state.write() as connection:
        for name in ("r1", "r2"):
            runs.insert(
                connection, runs.Run(run_id=name, project="mine", direction="pull", options={"full": True})
            )
        runs.update(
            connection, "r1", status="completed", outcome="clean", stats={"total": 4}, completed_at=9.5
        )
        runs.put_errors(connection, "r1", [{"code": "a"}, {"code": "b"}])
        runs.put_errors(connection, "r1", [{"code": "c"}])
        runs.event(connection, "r1", "started", 1.0)
        runs.event(connection, "r1", "guard", 2.0, which="update")
    with state.read() as connection:
        assert [one.run_id for one in runs.history(connection, "mine")] == ["r2", "r1"]
        assert [one.run_id for one in runs.history(connection, None, statuses=["completed"])] == ["r1"]
        assert runs.count(connection, "mine") == 2
        done = runs.get(connection, "r1")
        assert [error["code"] for error in runs.errors(connection, "r1")] == ["a", "b", "c"]
        story = runs.events(connection, "r1")
        assert runs.events(connection, "r1", after=story[0]["id"]) == story[1:]
    assert done is not None
    assert (done.stats, done.options, done.outcome, done.completed_at) == (
        {"total": 4},
        {"full": True},
        "clean",
        9.5,
    )
    assert [(event["event"], event.get("which")) for event in story] == [
        ("started", None),
        ("guard", "update"),
    ]


def finding(code: str = "untagged", pnpid: int = 1, message: str = "No tag.") -> Finding:
    return Finding(code=code, message=message, pnpid=pnpid, tag="T\ud800", data={"others": [2]})


def test_findings_keep_their_age_while_they_last_and_close_when_gone(state: State) -> None:
    with state.write() as connection:
        findings.replace_findings(connection, 1, [finding(), finding(pnpid=2), finding()], 10.0)
        findings.replace_findings(connection, 1, [finding(), finding("drift")], 20.0)
    with state.read() as connection:
        found, total = findings.open_findings(connection, 1, now=0.0)
        assert findings.counts_by_code(connection, 1) == {"untagged": 1, "drift": 1}
        only, count = findings.open_findings(connection, 1, findings.Wanted(code="untagged"), now=0.0)
    assert total == 2
    assert {one["code"]: one["first_seen"] for one in found} == {"untagged": 10.0, "drift": 20.0}
    assert (len(only), count) == (1, 1)


def test_work_items_keep_their_age(state: State) -> None:
    work = {"pnpid": 1, "field": "attributes.note", "what": "x"}
    with state.write() as connection:
        findings.replace_work_items(connection, 1, [work], 10.0)
        findings.replace_work_items(connection, 1, [work | {"what": "y"}, {"pnpid": 2, "field": "tag"}], 20.0)
    with state.read() as connection:
        assert [(one["pnpid"], one["first_seen"]) for one in findings.work_items(connection, 1)] == [
            (1, 10.0),
            (2, 20.0),
        ]
    with state.write() as connection:
        findings.replace_work_items(connection, 1, [], 30.0)
    with state.read() as connection:
        assert findings.work_items(connection, 1) == []


# ------------------------------------------------------------------ conflicts


def found_conflict(
    plant3d: str = "a", synapse: str | None = "b", field: str = "description"
) -> dict[str, Any]:
    return {
        "link_id": 5,
        "plant3d_id": "g",
        "asset_id": "x",
        "tag": "P-1",
        "field": field,
        "kind": "both_changed",
        "plant3d": plant3d,
        "synapse": synapse,
    }


class Desk:
    """The conflict desk of one project, run after run."""

    def __init__(self, state: State) -> None:
        self.state, self.numbers = state, iter(range(1, 100))

    def run(
        self, *found: dict[str, Any], examined: bool = True, planned: bool = True, **fates: str
    ) -> list[str]:
        """`planned`: whether the run knew the choices when it planned. `fates`: what became of them, by id."""
        with self.state.write() as connection:
            return conflict_state.sync_conflicts(
                connection,
                "mine",
                conflict_state.Comparison(
                    run_id="r",
                    at=1.0,
                    drafts=found,
                    examined=lambda _row: examined,
                    fates=fates,
                    planned_choices=["c1"] if planned else [],
                ),
                new_id=lambda: f"c{next(self.numbers)}",
            )

    def all(self, status: str = "pending") -> list[dict[str, Any]]:
        with self.state.read() as connection:
            return conflict_state.conflicts(connection, "mine", status=status)[0]

    def waits(self, *fields: str) -> None:
        """The link with these fields open, as a run leaves it."""
        one = model_link(
            item(1, "P-1"), link_id=5, plant3d_id="g", pending={name: Open(why="x") for name in fields}
        )
        with self.state.write() as connection:
            if links.count(connection, 1) == 0:
                links.insert_many(connection, [row_of(one, 1)])
            links.save(connection, [one])

    def choose(self, version: int, chosen: object = "a") -> bool:
        with self.state.write() as connection:
            return conflict_state.choose(
                connection,
                "c1",
                conflict_state.Chosen(resolution="plant3d", value=chosen, note=None, by="eve", at=2.0),
                version=version,
            )

    def resolutions(self) -> dict[tuple[int, str], Any]:
        with self.state.read() as connection:
            return conflict_state.resolutions(connection, "mine")


def test_a_conflict_survives_ten_runs_with_its_id(state: State) -> None:
    desk = Desk(state)
    assert desk.run(found_conflict()) == ["c1"]
    for _ in range(10):
        assert desk.run(found_conflict()) == []
        assert desk.run(examined=False) == [], "a run that did not look does not close it"
    assert [(one["id"], one["status"], one["version"]) for one in desk.all()] == [("c1", "pending", 1)]


def test_a_conflict_closes_itself_when_the_sides_agree(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict(), found_conflict(field="*"))
    desk.run(found_conflict(field="*"))
    assert [one["field"] for one in desk.all()] == ["*"]
    assert [one["resolution"] for one in desk.all("resolved")] == ["converged"]
    assert desk.run(found_conflict(), found_conflict(field="*")) == ["c3"], (
        "a new disagreement is a new conflict"
    )


def test_a_choice_is_bound_to_the_version_that_was_seen(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    assert desk.choose(version=1)
    assert not desk.choose(version=1), "somebody else was faster"
    [(key, resolution)] = desk.resolutions().items()
    assert key == (5, "description")
    assert (resolution.plant3d_value, resolution.synapse_value, resolution.chosen) == ("a", "b", "a")


@pytest.mark.parametrize("chosen", [None, "", "by hand", 0])
def test_even_nothing_can_be_chosen(state: State, chosen: object) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    desk.choose(version=1, chosen=chosen)
    [resolution] = desk.resolutions().values()
    assert resolution.chosen == chosen
    assert desk.all("resolved")[0]["has_choice"]


def test_a_choice_is_void_once_a_side_moves(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    desk.waits("description")
    desk.choose(version=1)
    assert desk.run(found_conflict(synapse=None)) == ["c2"], "a person has to look again"
    assert desk.resolutions() == {}
    [one] = desk.all()
    assert (one["id"], one["has_choice"], one["data"]["synapse"]) == ("c2", False, None)
    assert "void" in desk.all("resolved")[0]["note"]


def test_a_choice_waits_until_it_is_carried_out(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    desk.choose(version=1)
    desk.waits("description")
    for _ in range(3):
        assert desk.run(c1="") == []
        assert len(desk.resolutions()) == 1
    desk.waits()
    desk.run()
    assert len(desk.resolutions()) == 1, "a run that did not look at the item carried nothing out"
    desk.run(c1="")
    assert desk.resolutions() == {}
    assert desk.all() == []
    assert [(one["carried_out"], one["void"]) for one in desk.all("resolved")] == [(True, None)]


def test_a_choice_that_no_longer_fits_is_void_with_the_reason_and_not_carried_out(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    desk.choose(version=1)
    desk.run(c1="both sides agree on another value")
    assert desk.resolutions() == {}
    [one] = desk.all("resolved")
    assert (one["carried_out"], one["void"]) == (False, "both sides agree on another value")


def test_a_choice_made_while_a_run_is_under_way_waits_for_the_next_one(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    desk.waits("description")
    desk.choose(version=1)
    assert desk.run(found_conflict(), planned=False) == [], "it found the question that was just answered"
    assert desk.all() == [] and len(desk.resolutions()) == 1
    assert desk.run(found_conflict(synapse="moved"), planned=False) == ["c2"]
    assert desk.resolutions() == {}


@pytest.mark.parametrize(
    ("chosen", "state_of_link", "done"),
    [("plant3d", "active", False), ("plant3d", "archived", True), ("synapse", "unlinked", True)],
)
def test_a_choice_about_a_whole_item_ends_when_the_link_says_so(
    state: State, chosen: str, state_of_link: str, done: bool
) -> None:
    desk = Desk(state)
    desk.run(found_conflict(field="*") | {"kind": "gone_from_plant3d"})
    desk.waits()
    desk.choose(version=1, chosen=chosen)
    with state.write() as connection:
        links.update_many(connection, [{"link_id": 5, "state": state_of_link}])
    desk.run(c1="")
    assert (desk.resolutions() == {}) is done


def test_values_that_move_before_a_choice_ask_for_a_fresh_look(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    assert desk.run(found_conflict(synapse=None)) == []
    [one] = desk.all()
    assert (one["id"], one["version"], one["data"]["synapse"]) == ("c1", 2, None)
    assert not desk.choose(version=1)
    assert desk.choose(version=2)


def test_an_open_conflict_that_turns_out_to_be_another_one_says_so_under_its_id(state: State) -> None:
    desk = Desk(state)
    desk.run(found_conflict())
    assert desk.run(found_conflict() | {"kind": "reverted"}) == []
    assert [(one["id"], one["kind"], one["version"]) for one in desk.all()] == [("c1", "reverted", 2)]


# ------------------------------------------------------------------ intents


def test_an_intent_needs_the_current_fence_and_stays_open_until_closed(state: State) -> None:
    facts: dict[str, Any] = {
        "run_id": "r",
        "plan_id": "p",
        "side": "synapse",
        "key": "k",
        "body": b"{}",
        "at": 1.0,
    }
    with Lease(state, "mine", "r") as held:
        with state.write() as connection:
            number = intents.record(connection, held.fence, intents.Meant(steps=[step_of(1)], **facts))
        with pytest.raises(LeaseLost), state.write() as connection:
            intents.record(connection, Fence("mine", held.fence.number - 1), intents.Meant(steps=[], **facts))
        with state.read() as connection:
            [one] = intents.still_open(connection, "mine")
        assert (one.intent_id, one.key, one.steps, one.fence) == (
            number,
            "k",
            [step_of(1)],
            held.fence.number,
        )
        with state.write() as connection:
            intents.close(connection, number, status="done", at=2.0)
        with state.read() as connection:
            assert intents.still_open(connection, "mine") == []


def test_changes_come_back_by_run_and_by_item(state: State) -> None:
    rows = [
        {
            "project": 1,
            "run_id": "r",
            "intent_id": 1,
            "link_id": n % 2,
            "pnpid": n,
            "tag": "T",
            "side": "synapse",
            "op": "update",
            "outcome": "updated",
            "fields": dump({"tag": [None, f"T-{n}"]}),
            "at": float(n),
        }
        for n in range(4)
    ]
    with state.write() as connection:
        intents.put_changes(connection, "mine", rows)
    with state.read() as connection:
        assert [change["fields"]["tag"][1] for change in intents.changes_of_run(connection, "r")] == [
            f"T-{n}" for n in range(4)
        ]


# ------------------------------------------------------------------ lease


def expire(state: State) -> None:
    with state.write() as connection:
        connection.execute(sa.update(lease).values(expires_at=state.now_sql() - 1.0))


def holder_of(connection: Any, project: str) -> dict[str, Any] | None:
    """Who holds the lease, None if nobody does."""
    row = connection.execute(sa.select(lease).where(lease.c.project == project)).first()
    return {**orjson.loads(row.holder), "fence": row.fence} if row is not None and row.holder else None


def test_a_second_run_is_refused_while_the_first_lives(state: State) -> None:
    with Lease(state, "mine", "r1"):
        with pytest.raises(RetryLaterError) as caught, Lease(state, "mine", "r2"):
            pass
        assert caught.value.error_code == "project_busy"
        assert "r1" in caught.value.message
        with Lease(state, "other", "r3"):
            pass
    with Lease(state, "mine", "r4") as after:
        assert after.fence.number == 2


def test_an_expired_lease_is_taken_over_and_the_old_run_cannot_write(state: State) -> None:
    with Lease(state, "mine", "r1", seconds=600.0) as old:
        expire(state)
        with Lease(state, "mine", "r2") as new:
            assert new.fence.number == old.fence.number + 1
            with pytest.raises(LeaseLost), state.write() as connection:
                projects.ensure(connection, "mine")
                old.fence.check(connection)
            with state.read() as connection:
                assert projects.get(connection, "mine") is None, "rolled back as a whole"
            with state.write() as connection:
                new.fence.check(connection)
        with state.read() as connection:
            assert holder_of(connection, "mine") is None


def test_the_old_run_s_end_does_not_free_the_new_run_s_lease(state: State) -> None:
    old = Lease(state, "mine", "r1", seconds=600.0)
    old.__enter__()
    expire(state)
    with Lease(state, "mine", "r2") as new:
        old.__exit__()
        with state.read() as connection:
            holder = holder_of(connection, "mine")
        assert holder is not None
        assert (holder["run"], holder["fence"]) == ("r2", new.fence.number)


def test_a_given_back_fence_is_void(state: State) -> None:
    with Lease(state, "mine", "r1") as held:
        pass
    with pytest.raises(LeaseLost), state.write() as connection:
        held.fence.check(connection)


def test_a_killed_holder_on_this_machine_is_replaced_at_once(state: State, state_url: str) -> None:
    program = (
        "import sys, time\n"
        "from plant3d_sync.state import State\n"
        "from plant3d_sync.state.lease import Lease\n"
        "Lease(State(sys.argv[1]), 'mine', 'dead', seconds=3600).__enter__()\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    source = str(Path(sys.modules["plant3d_sync"].__file__ or "").parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", program, state_url],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        with pytest.raises(RetryLaterError), Lease(state, "mine", "early"):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Lease(state, "mine", "heir") as heir:
        assert heir.fence.number == 2


def test_a_holder_on_another_machine_is_waited_for(state: State) -> None:
    elsewhere = orjson.loads(holder_name("far")) | {"host": "another-machine", "pid": 999_999}
    with state.write() as connection:
        connection.execute(
            sa.insert(lease).values(
                project="mine",
                holder=orjson.dumps(elsewhere).decode(),
                fence=4,
                expires_at=state.now_sql() + 60.0,
            )
        )
    with pytest.raises(RetryLaterError), Lease(state, "mine", "near"):
        pass
    expire(state)
    with Lease(state, "mine", "near") as near:
        assert near.fence.number == 5


def test_the_heartbeat_moves_the_end_of_the_lease(state: State) -> None:
    beaten = threading.Event()
    with Lease(state, "mine", "r", seconds=0.6, on_beat=beaten.set) as held:
        expire(state)
        assert beaten.wait(30)
        with state.read() as connection:
            row = connection.execute(sa.select(lease.c.expires_at, state.now_sql().label("now"))).one()
        assert row.expires_at > row.now - 0.6
        assert not held.lost.is_set()


def test_a_heartbeat_that_finds_another_holder_says_so(state: State) -> None:
    with Lease(state, "mine", "r1", seconds=0.3) as held:
        with state.write() as connection:
            connection.execute(sa.update(lease).values(fence=lease.c.fence + 1))
        assert held.lost.wait(30)


def test_leases_go_by_the_database_s_clock(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    with state.read() as connection:
        theirs = connection.execute(sa.select(state.now_sql())).scalar()
    assert theirs is not None
    assert abs(theirs - time.time()) < 60, "POSIX seconds, UTC"
    with Lease(state, "mine", "r1"):
        monkeypatch.setattr(time, "time", lambda: theirs + 1e9)
        with pytest.raises(RetryLaterError), Lease(state, "mine", "r2"):
            pass


def test_of_many_that_want_the_lease_at_once_one_gets_it(state: State) -> None:
    ready, done, got, refused = threading.Barrier(6), threading.Event(), [], []

    def want(name: str) -> None:
        ready.wait(30)
        try:
            with Lease(state, "mine", name):
                got.append(name)
                done.wait(30)
        except RetryLaterError as error:
            refused.append(error.error_code)
            if len(refused) == 5:
                done.set()

    threads = [threading.Thread(target=want, args=(f"r{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(got), refused) == (1, ["project_busy"] * 5)


# ------------------------------------------------------------------ audit


def write_audit(state: State, entries: int = 4) -> None:
    with state.write() as connection:
        for n in range(entries):
            assert (
                audit.append(connection, "mine", action="a", actor="eve", at=n + 0.5, n=n, text="é") == n + 1
            )
        audit.append(connection, "other", action="b", actor="bob", at=9.0)


def broken(state: State) -> list[audit.Broken]:
    with state.read() as connection:
        return audit.verify(connection)[1]


def tamper(state: State, *statements: Any) -> list[audit.Broken]:
    """As somebody with full rights on the database would: without the triggers."""
    with state.write() as connection:
        if state.dialect == "sqlite":
            for verb in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER audit_no_{verb}")
        else:
            connection.exec_driver_sql("DROP TRIGGER audit_no_change ON audit")
        for statement in statements:
            connection.execute(statement)
    return broken(state)


def at_seq(seq: int) -> sa.ColumnElement[bool]:
    return sa.and_(audit_table.c.project == "mine", audit_table.c.seq == seq)


def test_an_untouched_trail_is_sound_and_readable(state: State) -> None:
    write_audit(state)
    with state.read() as connection:
        assert audit.verify(connection) == (5, [])
        newest = next(iter(audit.entries(connection, "mine", limit=1)))
    assert (newest["seq"], newest["n"], newest["actor"], newest["text"]) == (4, 3, "eve", "é")


@pytest.mark.parametrize("seq", [1, 2, 4])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", '{"action":"a"}'),
        ("prev", "f" * 64),
        ("hash", "f" * 64),
        ("seq", 99),
        ("project", "elsewhere"),
    ],
)
def test_every_changed_column_is_named(state: State, column: str, value: object, seq: int) -> None:
    write_audit(state)
    found = tamper(state, sa.update(audit_table).where(at_seq(seq)).values({column: value}))
    assert found
    assert {one.project for one in found} & {"mine", "elsewhere"}
    assert "other" not in {one.project for one in found}
    if column in ("body", "hash"):
        assert seq in {one.seq for one in found}


@pytest.mark.parametrize("seq", [1, 2, 4])
def test_a_removed_entry_is_named(state: State, seq: int) -> None:
    write_audit(state)
    found = tamper(state, sa.delete(audit_table).where(at_seq(seq)))
    assert any("missing" in one.what for one in found)
    assert {one.project for one in found} == {"mine"}


def test_a_trail_that_vanished_as_a_whole_is_named(state: State) -> None:
    write_audit(state)
    found = tamper(state, sa.delete(audit_table).where(audit_table.c.project == "mine"))
    assert [one.project for one in found] == ["mine"]


def test_swapped_entries_are_named(state: State) -> None:
    write_audit(state)
    found = tamper(
        state,
        sa.update(audit_table).where(at_seq(2)).values(seq=50),
        sa.update(audit_table).where(at_seq(3)).values(seq=2),
        sa.update(audit_table).where(at_seq(50)).values(seq=3),
    )
    assert {2, 3} <= {one.seq for one in found}


def test_an_inserted_entry_is_named_even_with_a_good_hash(state: State) -> None:
    write_audit(state)
    with state.read() as connection:
        last = connection.execute(sa.select(audit_table).where(at_seq(4))).one()
    good = audit.hash_of(last.hash, 5, "mine", "{}")
    found = tamper(
        state, sa.insert(audit_table).values(project="mine", seq=5, body="{}", prev=last.hash, hash=good)
    )
    assert [one.project for one in found] == ["mine"]


@pytest.mark.parametrize("change", [{"seq": 3}, {"seq": 5}, {"hash": "f" * 64}, None])
def test_a_changed_or_removed_head_is_named(state: State, change: dict[str, object] | None) -> None:
    write_audit(state)
    where = audit_head.c.project == "mine"
    statement = (
        sa.delete(audit_head).where(where)
        if change is None
        else sa.update(audit_head).where(where).values(change)
    )
    assert [one.project for one in tamper(state, statement)] == ["mine"]


@pytest.mark.parametrize("verb", ["UPDATE audit SET body = 'x'", "DELETE FROM audit"])
def test_the_database_itself_refuses_to_change_the_trail(state: State, verb: str) -> None:
    write_audit(state)
    with pytest.raises((DBAPIError, ConfigError), match="append-only"), state.write() as connection:
        connection.exec_driver_sql(verb)
    assert broken(state) == []


def test_an_entry_tells_only_what_was_committed_with_it(state: State) -> None:
    write_audit(state)
    with pytest.raises(KeyError), state.write() as connection:
        audit.append(connection, "mine", action="x", actor="eve", at=1.0)
        raise KeyError
    with state.read() as connection:
        assert audit.verify(connection) == (5, [])


def test_the_digest_of_changes_covers_every_column_and_the_order() -> None:
    one = {
        "link_id": 7,
        "pnpid": 1,
        "tag": "T",
        "side": "synapse",
        "op": "update",
        "outcome": "updated",
        "fields": "{}",
        "at": 1.0,
    }
    digests = {audit.digest_of([one | {name: "changed"}]) for name in one} | {
        audit.digest_of([one]),
        audit.digest_of([]),
        audit.digest_of([one, one | {"pnpid": 2}]),
        audit.digest_of([one | {"pnpid": 2}, one]),
    }
    assert len(digests) == len(one) + 4


# ------------------------------------------------------------------ full


def test_a_full_state_database_is_told_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    roomy = State(url)
    roomy.upgrade()
    with roomy.write() as connection:
        projects.ensure(connection, "mine")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    roomy.close()
    monkeypatch.setenv("P3DSYNC_TEST", "1")
    monkeypatch.setenv("P3DSYNC_TEST_MAX_PAGES", str(int(pages or 0) + 3))
    tight = State(url)
    with pytest.raises(RetryLaterError) as caught, tight.write() as connection:
        projects.update(connection, "mine", waiting=9)
        links.insert_many(connection, [row_of(model_link(item(n, "T" * 90)), 1) for n in range(2000)])
    assert caught.value.error_code == "state_full"
    with tight.read() as connection:
        known = projects.get(connection, "mine")
        assert links.count(connection, 1) == 0
    assert known is not None
    assert known.waiting == 0
    with tight.write() as connection:
        projects.update(connection, "mine", waiting=1)
    tight.close()


# ---------------------------------------------------------------- a file that is not ours


def test_a_file_that_is_no_state_of_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = {"PnPBase": "Plant 3D", "invoice": "other tables"}
    for table, why in foreign.items():
        path = tmp_path / f"{table}.dcf"
        with closing(sqlite3.connect(path)) as made, made:
            made.execute(f"CREATE TABLE {table} (id INTEGER)")
        before = path.read_bytes()
        with pytest.raises(ConfigError) as caught:
            State(f"sqlite:///{path}")
        assert caught.value.error_code == "state_not_ours" and why in caught.value.message
        assert path.read_bytes() == before
    text = tmp_path / "notes.txt"
    text.write_text("a" * 5000, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        State(f"sqlite:///{text}")
    assert caught.value.error_code == "state_not_ours"
    assert not list(tmp_path.glob("*-wal")) and not list(tmp_path.glob("*-journal"))


def test_an_empty_file_and_one_of_ours_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    State(f"sqlite:///{path}").upgrade()
    assert State(f"sqlite:///{path}").schema_version() is not None


# ------------------------------------------------------------------ values of ours in Plant 3D


def test_what_we_wrote_replaced_or_put_into_a_workbook_is_ours(state: State) -> None:
    def cell(pnpid: int, new: str | None) -> dict[str, object]:
        return {
            "pnpid": pnpid,
            "table_name": "EngineeringItems",
            "column_name": "Description",
            "old_value": "drawn",
            "new_value": new,
        }

    rows = [
        {"project": whose, "run_id": "r", "status": status, "at": 1.0, "new_ticks": ticks, **cell(7, new)}
        for whose, status, ticks, new in (
            ("mine", "applied", 5, "pushed"),
            ("mine", "intended", None, "about to"),
            ("mine", "stale", None, "never"),
            ("mine", "refused", None, "never"),
            ("other", "applied", 5, "another project's"),
        )
    ]
    with state.write() as connection:
        connection.execute(sa.insert(tables.plant_write), rows)
        for at in (2.0, 3.0):  # the same workbook again
            cells = [cell(7, "for import"), cell(7, None), cell(8, "for import")]
            ours.note_workbook(connection, "mine", plan_id="p", cells=cells, at=at)
        found = ours.by_pnpid(connection, "mine", [7, 9])
    assert [(one.value, one.origin, one.at, one.ticks) for one in found.pop(7)] == [
        ("drawn", Origin.REPLACED, 1.0, None),
        ("pushed", Origin.WRITTEN, 1.0, 5),
        ("about to", Origin.INTENDED, 1.0, None),
        ("for import", Origin.WORKBOOK, 3.0, None),
        (None, Origin.WORKBOOK, 3.0, None),
    ]
    assert not found
