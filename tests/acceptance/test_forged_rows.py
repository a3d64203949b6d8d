"""Whoever can write into the state database, and nothing else, cannot make us write: every row that leads to a write
is sealed in the audit's chain, is named by `audit verify`, and is refused before any write.

One small world is made once; each case forges one column of one row in a copy of its state.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.run.project import World as Clocked
from plant3d_sync.state import State, keys, seals, tables
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    both,
    description,
    now,
    ok,
    planned,
    push,
    redescribed,
    small_worlds,
    user_describes,
)
from tests.support.world import NAME, World

FORGED = "Forged"


@dataclass(frozen=True)
class Scene:
    """A world, copies of its state at some moments, and the names of what is in it."""

    world: World
    copies: dict[str, Path]
    push_run: str
    plan: str
    request: str
    key: str

    def at(self, moment: str) -> None:
        """Put the state of that moment back."""
        for beside in ("-wal", "-shm"):
            Path(str(self.world.state) + beside).unlink(missing_ok=True)
        shutil.copyfile(self.copies[moment], self.world.state)

    def forge(self, statement: str, *values: object) -> None:
        """Somebody's plain statement in the state database; it must have met a row."""
        with closing(sqlite3.connect(self.world.state)) as connection:
            assert connection.execute(statement, values).rowcount > 0, statement
            connection.commit()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, reference_synapse: RunningSynapse) -> Scene:
    folder = tmp_path_factory.mktemp("forged")
    world = small_worlds(folder, reference_synapse)(conflict={"policy": "ask"})
    copies: dict[str, Path] = {}

    def keep(moment: str) -> None:
        copies[moment] = folder / f"{moment}.db"
        with closing(sqlite3.connect(world.state)) as here, closing(sqlite3.connect(copies[moment])) as there:
            here.backup(there)
            there.execute("PRAGMA journal_mode=DELETE")

    def killed(point: str, *words: str) -> None:
        env = {"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": point}
        assert world.apart(*words, NAME, env=env).code == -signal.SIGKILL

    world.pulled()
    pumps = [item.pnpid for item in world.items("equipment")]
    for pnpid in pumps[:3]:
        user_describes(world, pnpid, f"Up {pnpid}")
    push_run = push(world)["run_id"]
    for pnpid in pumps[5:7]:
        user_describes(world, pnpid, "User's")
        redescribed(world, pnpid, "Designer's")
    now(world, code=3)
    first = ok(world.cli("conflicts", NAME))["items"][0]
    ok(world.cli("resolve", first["id"], "synapse", "--no-run"))
    redescribed(world, pumps[4], "Planned only")
    plan = planned(world, "--direction", "pull", code=3)["plan_id"]
    with state_of(world) as state:
        clocked = Clocked(state=state, clock=lambda: 1_800_000_000.0)
        asked = enqueue(clocked, NAME, "both", by="desk", plan_id=plan, approve_guards=False)
        with state.write() as connection:
            _key_id, key = keys.create(connection, "desk", ["read"], projects=[NAME], now=1.0)
    keep("calm")
    killed("pull.intent_stored", "pull")
    keep("pull killed")
    ok(world.pull(), 3)
    user_describes(world, pumps[8], "Killed on the way")
    killed("push.intent_stored", "push")
    keep("push killed")
    return Scene(world, copies, push_run, plan, asked.run_id, key)


@contextmanager
def state_of(world: World) -> Iterator[State]:
    state = State(f"sqlite:///{world.state}")
    try:
        yield state
    finally:
        state.close()


def altered_rows(scene: Scene) -> list[tuple[str | None, str | None]]:
    """(table, row) of what `audit verify` says was altered."""
    with state_of(scene.world) as state, state.read() as connection:
        found = seals.verify(connection)
    assert all(item.code == "row_altered" for item in found.broken), found.broken
    return [(item.table, item.row) for item in found.broken]


def test_nothing_is_altered_in_a_state_that_only_we_wrote(scene: Scene) -> None:
    for moment in scene.copies:
        scene.at(moment)
        assert altered_rows(scene) == []
        found = ok(scene.world.cli("audit", "verify"))
        assert (found["broken"], found["not_covered"]) == ([], {})


# ---------------------------------------------------------------- every column


@dataclass(frozen=True)
class Target:
    """One row that leads to a write: in which moment, which, and what refuses it (None: it is not acted on)."""

    table: sa.Table
    moment: str
    where: str
    columns: tuple[str, ...]
    unused: tuple[str, ...] = ()
    """Columns that, altered, keep the row from being acted on: it is named all the same."""


TARGETS = [
    Target(tables.change, "calm", "run_id = :push_run", seals.columns("change"), ("run_id",)),
    Target(tables.plant_write, "calm", "run_id = :push_run", seals.columns("plant_write"), ("intent_id",)),
    Target(tables.plan, "calm", "id = :plan", seals.columns("plan"), ("id",)),
    Target(tables.plan_chunk, "calm", "plan_id = :plan", ("plan_id", "n", "lines")),
    Target(tables.intent, "pull killed", "status = 'open'", seals.columns("intent"), ("project", "status")),
    Target(tables.intent, "push killed", "status = 'open'", seals.columns("intent"), ("project", "status")),
    Target(
        tables.plant_write, "push killed", "status = 'intended'", seals.columns("plant_write"), ("intent_id",)
    ),
    Target(
        tables.plan_chunk,
        "pull killed",
        "plan_id = (SELECT plan_id FROM intent WHERE status = 'open')",
        ("lines",),
    ),
    Target(
        tables.conflict,
        "calm",
        "status = 'resolved' AND carried_out = 0",
        seals.columns("conflict"),
        ("project", "carried_out"),
    ),
    Target(tables.run, "calm", "id = :request", seals.columns("run"), ("id",)),
    Target(tables.api_key, "calm", "name = 'desk'", seals.columns("api_key"), ("id",)),
]
CASES = [
    pytest.param(target, column, id=f"{target.table.name}.{column} when {target.moment}")
    for target in TARGETS
    for column in target.columns
]


def other(table: sa.Table, column: str, value: object) -> object:
    """Another value of the same kind."""
    match value:
        case bytes():
            return b"[]" if value != b"[]" else b"[0]"
        case int():
            return value + 1000
        case float():
            return value + 1
        case None:
            numeric = isinstance(table.c[column].type, sa.Integer | sa.Double)
            return 1 if numeric else '{"x":1}'
        case _:
            return '{"forged":1}' if str(value).startswith("{") else FORGED


def acted_on(scene: Scene, target: Target) -> None:
    """What a command would ask of these rows before its first write."""
    with state_of(scene.world) as state, state.read() as connection:
        match target.table.name:
            case "change" | "plant_write" if target.moment == "calm":
                seals.check_run(connection, NAME, scene.push_run, nothing="Nothing.")
            case "plan" | "plan_chunk" if target.moment == "calm":
                seals.check_plan(connection, NAME, scene.plan, nothing="Nothing.")
            case "intent" | "plant_write" | "plan_chunk":
                seals.check_recovery(connection, NAME, nothing="Nothing.")
            case "conflict":
                seals.check_choices(connection, NAME, nothing="Nothing.", writing=False)
            case "run":
                seals.check_request(connection, scene.request, nothing="Nothing.")
            case _:
                if keys.verify(connection, scene.key, now=2.0) is None:
                    raise NeedsPersonError("", code="row_altered")


@pytest.mark.parametrize(("target", "column"), CASES)
def test_a_forged_column_is_named_and_its_row_is_refused(scene: Scene, target: Target, column: str) -> None:
    scene.at(target.moment)
    acted_on(scene, target)
    names = {"push_run": scene.push_run, "plan": scene.plan, "request": scene.request}
    where = target.where
    for name, value in names.items():
        where = where.replace(f":{name}", f"'{value}'")
    with closing(sqlite3.connect(scene.world.state)) as connection:
        row, value = connection.execute(
            f'SELECT rowid, "{column}" FROM "{target.table.name}" WHERE {where} ORDER BY rowid LIMIT 1'
        ).fetchone()
    scene.forge(
        f'UPDATE "{target.table.name}" SET "{column}" = ? WHERE rowid = ?',
        other(target.table, column, value),
        row,
    )
    named = altered_rows(scene)
    assert target.table.name in {table for table, _row in named}, named
    if column in target.unused:
        return
    with pytest.raises(NeedsPersonError) as caught:
        acted_on(scene, target)
    assert caught.value.error_code == "row_altered"


def test_a_column_of_a_sealed_table_is_sealed_or_left_out_for_a_reason() -> None:
    reasons = {
        "api_key": {"last_used_at"},
        "run": {column.name for column in tables.run.columns} - set(seals.columns("run")),
    }
    for target in TARGETS:
        name = target.table.name
        if name == "plan_chunk":
            continue
        left_out = {column.name for column in target.table.columns} - set(target.columns)
        assert left_out == reasons.get(name, set()), name


# ---------------------------------------------------------------- rows that come and go

ADDED = {
    "change": "INSERT INTO change SELECT id + 5000, project, run_id, intent_id, link_id, pnpid, tag, side, op, outcome,"
    " fields, at FROM change WHERE run_id = ? LIMIT 1",
    "plant_write": "INSERT INTO plant_write (project, run_id, intent_id, pnpid, table_name, column_name, old_value,"
    " new_value, status, at) SELECT project, run_id, intent_id, pnpid, table_name, column_name, 'Forged', new_value,"
    " status, at FROM plant_write WHERE run_id = ? LIMIT 1",
}


@pytest.mark.parametrize("table", ADDED)
def test_a_row_that_somebody_added_is_named_and_refused(scene: Scene, table: str) -> None:
    scene.at("calm")
    scene.forge(ADDED[table], scene.push_run)
    assert table in {name for name, _row in altered_rows(scene)}
    with pytest.raises(NeedsPersonError, match="altered from outside"):
        acted_on(scene, Target(getattr(tables, table), "calm", "", ()))


@pytest.mark.parametrize("table", ["change", "plant_write"])
@pytest.mark.parametrize("which", ["min", "max"])
def test_a_row_that_somebody_removed_is_missed(scene: Scene, table: str, which: str) -> None:
    scene.at("calm")
    scene.forge(
        f"DELETE FROM {table} WHERE id = (SELECT {which}(id) FROM {table} WHERE run_id = ?)", scene.push_run
    )
    assert {name for name, _row in altered_rows(scene)} == {table}
    with pytest.raises(NeedsPersonError, match="altered from outside"):
        acted_on(scene, Target(getattr(tables, table), "calm", "", ()))


def test_all_changes_of_a_run_that_somebody_removed_are_missed(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("DELETE FROM change WHERE run_id = ?", scene.push_run)
    assert {name for name, _row in altered_rows(scene)} == {"change"}
    with pytest.raises(NeedsPersonError, match="was removed"):
        acted_on(scene, Target(tables.change, "calm", "", ()))


def test_steps_that_somebody_added_to_a_plan_are_named_and_refused(scene: Scene) -> None:
    scene.at("calm")
    scene.forge(
        "INSERT INTO plan_chunk (plan_id, n, lines) SELECT plan_id, 99, lines FROM plan_chunk WHERE plan_id = ?",
        scene.plan,
    )
    assert altered_rows(scene) == [("plan_chunk", f"{scene.plan}/99")]
    with pytest.raises(NeedsPersonError, match="was added"):
        acted_on(scene, Target(tables.plan_chunk, "calm", "", ()))


@pytest.mark.parametrize(
    ("options", "holds"), [('{"queued":true}', True), ('{"queued":true,"plan_id":"p"}', False)]
)
def test_a_forged_slot_that_names_a_plan_is_refused(scene: Scene, options: str, holds: bool) -> None:
    """What the scheduler asks for is not sealed: it can only ask for what the configuration says."""
    scene.at("calm")
    scene.forge(
        "INSERT INTO run (id, project, direction, trigger, status, dry_run, options, created_at) "
        "VALUES ('forged', ?, 'pull', 'schedule', 'queued', 0, ?, 1.0)",
        NAME,
        options,
    )
    refused = nullcontext() if holds else pytest.raises(NeedsPersonError, match="altered from outside")
    with state_of(scene.world) as state, state.read() as connection, refused:
        seals.check_request(connection, "forged", nothing="Nothing.")


def test_two_rows_that_changed_places_are_found(scene: Scene) -> None:
    scene.at("calm")
    with closing(sqlite3.connect(scene.world.state)) as connection:
        ids = [
            row[0]
            for row in connection.execute(
                "SELECT id FROM change WHERE run_id = ? ORDER BY id", [scene.push_run]
            )
        ]
    for old, new in ((ids[0], -1), (ids[1], ids[0]), (-1, ids[1])):
        scene.forge("UPDATE change SET id = ? WHERE id = ?", new, old)
    assert altered_rows(scene)


def test_the_row_of_a_large_call_is_named(scene: Scene) -> None:
    scene.at("calm")
    with closing(sqlite3.connect(scene.world.state)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM change WHERE op = 'create' ORDER BY id")]
    scene.forge("UPDATE change SET fields = replace(fields, 'Pump', 'Bomb') WHERE id = ?", ids[3])
    assert altered_rows(scene) == [("change", str(ids[3]))]


def test_a_chain_of_seals_that_was_cut_refuses_too(scene: Scene) -> None:
    scene.at("calm")
    with closing(sqlite3.connect(scene.world.state)) as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute("DELETE FROM audit WHERE project = 'rows:mine'")
        connection.execute("DELETE FROM audit_head WHERE project = 'rows:mine'")
        connection.commit()
    with pytest.raises(NeedsPersonError):
        acted_on(scene, TARGETS[0])
    assert ("plan", scene.plan) in altered_rows(scene)


def test_a_seal_that_was_altered_with_its_row_refuses_too(scene: Scene) -> None:
    """Who writes the seal anew as well breaks the chain it stands in."""
    scene.at("calm")
    with closing(sqlite3.connect(scene.world.state)) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE plan SET created_by = 'Forged' WHERE id = ?", [scene.plan])
        connection.commit()
    with state_of(scene.world) as state, state.write() as connection:
        seals.seal(connection, "plan", [scene.plan], at=1.0)
        forged = connection.exec_driver_sql(
            "SELECT body FROM audit WHERE project = 'rows:mine' ORDER BY seq DESC LIMIT 1"
        ).scalar()
        connection.exec_driver_sql(
            "UPDATE audit SET body = ? WHERE project = 'rows:mine' AND body LIKE ?",
            (forged, f"%chunks:{scene.plan}%"),
        )
    with pytest.raises(NeedsPersonError, match="does not hold"):
        acted_on(scene, next(one for one in TARGETS if one.table is tables.plan))


def test_a_request_that_was_cancelled_cannot_be_made_to_wait_again(scene: Scene) -> None:
    scene.at("calm")
    with state_of(scene.world) as state:
        clocked = Clocked(state=state, clock=lambda: 1_800_000_001.0)
        queue.cancel(clocked, scene.request)
        assert altered_rows(scene) == [], "a cancelled request is nothing odd"
        scene.forge("UPDATE run SET status = 'queued', outcome = NULL WHERE id = ?", scene.request)
        with state.read() as connection, pytest.raises(NeedsPersonError):
            seals.check_request(connection, scene.request, nothing="Nothing.")


# ---------------------------------------------------------------- the commands


def refused(scene: Scene, *words: str) -> None:
    """The command ends with `row_altered`, and neither side was written to."""
    world = scene.world
    before = world.fingerprint(), world.writes()
    said = world.cli(*words)
    assert said.error == "row_altered", (said.out, said.err)
    assert said.code == 3 and "Nothing" in said.json["error"]["message"]
    assert (world.fingerprint(), world.writes()) == before
    broken = world.cli("audit", "verify")
    assert (broken.code, broken.error) == (78, "audit_broken")
    assert "row_altered" in broken.json["error"]["message"]


def test_undo_does_not_write_a_value_forged_into_the_changes(scene: Scene) -> None:
    scene.at("calm")
    scene.forge(
        "UPDATE change SET fields = replace(fields, 'Pump', 'Forged') WHERE run_id = ?", scene.push_run
    )
    refused(scene, "undo", scene.push_run)


def test_undo_does_not_write_a_value_forged_into_the_before_images(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("UPDATE plant_write SET old_value = 'Forged' WHERE run_id = ?", scene.push_run)
    refused(scene, "undo", scene.push_run)


def test_apply_does_not_write_a_value_forged_into_the_steps(scene: Scene) -> None:
    scene.at("calm")
    scene.forge(
        "UPDATE plan_chunk SET lines = CAST(replace(CAST(lines AS TEXT), 'Planned only', 'Forged') AS BLOB)"
        " WHERE plan_id = ?",
        scene.plan,
    )
    refused(scene, "apply", scene.plan)


def test_apply_does_not_take_a_plan_that_was_made_to_wait_again(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("UPDATE plan SET status = 'draft' WHERE status = 'applied' AND lines > 0")
    ((plan_id,),) = [
        tuple(row.values())
        for row in scene.world.rows(
            "SELECT id FROM plan WHERE status = 'draft' AND lines > 0 AND id <> ? LIMIT 1", scene.plan
        )
    ]
    refused(scene, "apply", plan_id)


@pytest.mark.parametrize("moment", ["pull killed", "push killed"])
def test_recovery_does_not_take_a_forged_intent(scene: Scene, moment: str) -> None:
    scene.at(moment)
    scene.forge("UPDATE intent SET plan_id = 'other' WHERE status = 'open'")
    refused(scene, "pull", NAME)


def test_a_run_does_not_carry_out_a_forged_choice(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("UPDATE conflict SET chosen = '[\"Forged\"]' WHERE carried_out = 0")
    refused(scene, "now", NAME)


def test_a_question_cannot_be_turned_into_a_choice_or_be_altered_before_one(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("UPDATE conflict SET data = replace(data, 'Designer', 'Forged') WHERE status = 'pending'")
    ((number,),) = [
        tuple(r.values()) for r in scene.world.rows("SELECT id FROM conflict WHERE status = 'pending'")
    ]
    refused(scene, "resolve", number, "plant3d", "--no-run")
    scene.forge(
        "UPDATE conflict SET status = 'resolved', carried_out = 0, chosen = '[\"F\"]' WHERE status = 'pending'"
    )
    refused(scene, "now", NAME)


# ---------------------------------------------------------------- what is remembered of both sides, under no seal


@pytest.fixture
def linked(tmp_path: Path, reference_synapse: RunningSynapse) -> World:
    world = small_worlds(tmp_path, reference_synapse)()
    world.pulled()
    return world


def forge(world: World, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(world.state)) as connection:
        assert connection.execute(statement, values).rowcount > 0, statement
        connection.commit()


@pytest.mark.parametrize(
    ("column", "direct"),
    [
        ("synapse_delta", True),
        ("synapse_delta", False),
        *(
            pytest.param(column, direct, marks=pytest.mark.long)
            for column in ("base", "base_plant", "pending", "observed", "holds")
            for direct in (True, False)
        ),
    ],
)
def test_a_value_forged_into_a_link_reaches_neither_side(linked: World, column: str, direct: bool) -> None:
    """What a link says SYNAPSE holds is written into Plant 3D only once SYNAPSE says so itself."""
    pumps = [item.pnpid for item in linked.items("equipment")]
    what: dict[str, dict[str, object]] = {
        "pending": {"description": {"why": "waiting", "synapse": FORGED, "given": [FORGED, FORGED]}},
        "observed": {"description": {"s": [1.0, 2.0]}},
        "holds": {"description": ["plant3d", FORGED, FORGED]},
    }
    text = json.dumps(what.get(column, {"description": FORGED}))
    forge(linked, f"UPDATE link SET {column} = ?, digest = NULL WHERE pnpid = ?", text, pumps[2])
    redescribed(linked, pumps[5], "A designer's, so that the run compares")
    if direct:
        said = [linked.cli("now", NAME) for _ in range(2)]
    else:
        plan = linked.cli("plan", NAME, "--direction", "push")
        said = [linked.apply(plan.json["plan_id"]), linked.cli("now", NAME)]
    assert all(one.code in (0, 3) and "Traceback" not in one.err for one in said), said
    assert both(linked, pumps[2]) == ("Pump 3", "Pump 3")
    assert FORGED.encode() not in linked.dcf.read_bytes()


def test_a_users_words_are_not_taken_for_a_late_write_of_ours_because_a_forged_change_says_so(
    linked: World,
) -> None:
    pump = linked.items("equipment")[2].pnpid
    user_describes(linked, pump, "The user's words")
    forge(
        linked,
        "UPDATE change SET outcome = 'late', op = 'update', fields = ? WHERE side = 'synapse' AND pnpid = ?",
        '{"description":["Pump 3","The user\'s words"]}',
        pump,
    )
    said = linked.cli("now", NAME)
    assert (said.code, said.error) == (3, "row_altered"), said.out
    assert description(linked, pump) == "The user's words"


# ---------------------------------------------------------------- the way out

SET_ASIDE = {
    "intent": ("push killed", "UPDATE intent SET plan_id = 'other' WHERE status = 'open'"),
    "its cells": ("push killed", "UPDATE plant_write SET new_value = 'Forged' WHERE status = 'intended'"),
    "its plan": ("pull killed", "UPDATE plan_chunk SET lines = '[]'"),
    "choice": ("calm", "UPDATE conflict SET chosen = '[\"Forged\"]' WHERE carried_out = 0"),
    "request": ("calm", "UPDATE run SET options = 'no JSON' WHERE status = 'queued'"),
    "key": ("calm", "UPDATE api_key SET scopes = '[\"admin\"]'"),
}


@pytest.mark.parametrize("kind", SET_ASIDE)
def test_altered_rows_are_set_aside_and_lead_to_no_write(scene: Scene, kind: str) -> None:
    moment, statement = SET_ASIDE[kind]
    scene.at(moment)
    scene.forge(statement)
    assert ok(scene.world.cli("audit", "set-aside"))["set_aside"]
    with state_of(scene.world) as state, state.read() as connection:
        seals.check_recovery(connection, NAME, nothing="Nothing.")
        seals.check_choices(connection, NAME, nothing="Nothing.", writing=False)
        left = {item.table for item in seals.verify(connection).broken}
        assert left <= {"plan_chunk", "plant_write"}, left
        if kind in ("key", "request"):
            assert (keys.verify(connection, scene.key, now=2.0) is None) == (kind == "key")
    assert ok(scene.world.cli("audit", "set-aside"))["set_aside"] == [] or left


def test_a_request_whose_row_is_no_json_ends_as_altered(scene: Scene) -> None:
    scene.at("calm")
    scene.forge("UPDATE run SET options = 'no JSON' WHERE id = ?", scene.request)
    said = scene.world.apart("worker", "--burst")
    assert said.code == 0, (said.out, said.err)
    ((status, error),) = [
        tuple(r.values())
        for r in scene.world.rows("SELECT status, error FROM run WHERE id = ?", scene.request)
    ]
    assert status == "failed" and "row_altered" in error
