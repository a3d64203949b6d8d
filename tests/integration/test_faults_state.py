"""The state database fails in the middle of a run, is restored, or belongs to another version; the clock steps; two
do the same at one moment; settings change under a run.

Whatever it was, the next runs end where undisturbed ones would have, and nothing was written twice.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import orjson
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.cli.main import run as cli
from plant3d_sync.errors import ConfigError, NeedsPersonError, RetryLaterError, SyncError
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.state import State, keys, runs, tables
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.store import SCHEMA
from plant3d_sync.state.tables import metadata
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.conflicts import Choice, resolve_conflict
from plant3d_sync.worker.scheduler import planned_projects
from tests.support import invariants, postgres
from tests.support.asking import enqueue
from tests.support.both_ways import edited, end, journal, plant, same, whole_again, without_times
from tests.support.broken_state import MARK, CommitProxy, Trouble, When, in_trouble
from tests.support.jobs import DEAD, Queueing, together, wait_until
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.wayback import at_rest, both, ok, redescribed, small_plant, small_worlds, user_describes
from tests.support.webapp import MINE, SECRET, Desk, desk
from tests.support.world import NAME, SOURCE, MakeWorld, Row, World

# ---------------------------------------------------------------- worlds


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def make_small(tmp_path: Path, synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, synapse)


def plain_url(world: World) -> str:
    """The address of this world's PostgreSQL as psycopg takes it."""
    url = make_url(world.top["state_db_url"]).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


@dataclass(slots=True, kw_only=True)
class OnPostgresql(World):
    """A world whose memory is in PostgreSQL."""

    def rows(self, statement: str, *values: object) -> list[Row]:
        with psycopg.connect(plain_url(self), autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(statement.replace("?", "%s"), values).fetchall()  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URI of a PostgreSQL server of our own."""
    with postgres.server() as uri:
        yield uri


@pytest.fixture(scope="module")
def set_up(server: str) -> Iterator[str]:
    """A database with our tables and nothing in them, to make others from."""
    with postgres.empty_database(server) as url:
        state = State(url)
        state.ready()
        state.close()
        yield url


@pytest.fixture
def make_on_postgresql(
    tmp_path: Path, synapse: RunningSynapse, server: str, set_up: str
) -> Iterator[MakeWorld]:
    """The same worlds with their memory in PostgreSQL."""
    small_plant(tmp_path / "small.dcf")
    with ExitStack() as stack:

        def make(*, name: str, **options: Any) -> World:
            url = stack.enter_context(postgres.empty_database(server, template=set_up))
            world = OnPostgresql(
                folder=tmp_path / name,
                synapse=synapse,
                uuid=synapse.new_project(),
                url=synapse.url,
                top={"state_db_url": url},
            )
            world.folder.mkdir()
            shutil.copyfile(tmp_path / "small.dcf", world.dcf)
            world.configure(write="sql", drawings_unseen="closed", **options)
            return world

        yield make


# ---------------------------------------------------------------- runs that meet trouble


def now(app: App) -> str:
    """One run both ways, as a person starts it. Its outcome, or the code of the error it ended with."""
    try:
        report = Engine(app.world(), app.project(NAME)).run(Request(asked=Asked(direction=Direction.BOTH)))
    except SyncError as error:
        assert isinstance(error, RetryLaterError), f"{error.error_code}: {error.message}"
        return error.error_code
    return report.outcome


def later(world: World) -> None:
    """Half a minute later: nobody holds the project any more."""
    state = State(world.top.get("state_db_url") or f"sqlite:///{world.state}")
    with state.write() as connection:
        connection.exec_driver_sql("UPDATE lease SET expires_at = 0")
    state.close()


Make = Callable[..., World]
_known: dict[str, Row] = {}


def reference(make: Make, kind: str) -> Row:
    """Where an undisturbed history ends."""
    if kind not in _known:
        world = edited(make, "undisturbed")
        with in_trouble(world, Trouble()) as app:
            assert now(app) == "clean"
        _known[kind] = end(world)
    return _known[kind]


def disturbed(make: Make, trouble: Trouble, kind: str) -> tuple[World, str]:
    """A history in which one run meets this trouble; then time passes, and it is over. The run's answer."""
    expected = reference(make, kind)
    world = edited(make, f"{trouble.kind}-{trouble.at}-{int(trouble.lasting)}")
    with in_trouble(world, trouble) as app:
        said = now(app)
    assert trouble.met, f"a run has only {len(trouble.said)} statements"
    invariants.writes_had_intents(world)
    later(world)
    whole_again(world, expected)
    return world, said


def statements(make: Make) -> list[str]:
    """Every statement of an undisturbed run."""
    trouble = Trouble()
    with in_trouble(edited(make, "counted"), trouble) as app:
        assert now(app) == "clean"
    return trouble.said


# ---------------------------------------------------------------- E1: locked


POINTS = {"receipts of SYNAPSE": "INSERT INTO link", "receipts of Plant 3D": "UPDATE plant_write"}
"""Transactions that must not get lost, by the beginning of a statement that stands in them."""


def commit_of(said: list[str], mark: str) -> int:
    """Number of the commit that ends the transaction with such a statement."""
    first = next(number for number, text in enumerate(said) if text.startswith(mark))
    return next(number for number, text in enumerate(said, 1) if number > first and text == "COMMIT")


@pytest.mark.parametrize(
    ("point", "lasting"), [("receipts of SYNAPSE", False), ("receipts of Plant 3D", True)]
)
def test_a_state_database_locked_at_a_commit_that_decides_is_healed_by_the_next_run(
    make_small: MakeWorld, point: str, lasting: bool
) -> None:
    at = commit_of(statements(make_small), POINTS[point])
    _world, code = disturbed(make_small, Trouble(at=at, lasting=lasting), "sqlite")
    assert code == "state_unavailable"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_state_database_locked_at_any_statement_is_healed_by_the_next_run(
    make_small: MakeWorld, lasting: bool
) -> None:
    for number in range(1, len(statements(make_small)) + 1):
        _world, code = disturbed(make_small, Trouble(at=number, lasting=lasting), "sqlite")
        assert code == "state_unavailable", number


# ---------------------------------------------------------------- E2: full


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_state_database_that_cannot_grow_from_any_statement_on_is_healed_by_the_next_run(
    make_small: MakeWorld,
) -> None:
    codes = Counter(
        disturbed(make_small, Trouble(at=number, kind="full"), "sqlite")[1]
        for number in range(1, len(statements(make_small)) + 1)
    )
    assert set(codes) <= {"state_full", "clean"}, codes
    assert codes["state_full"] > 20, codes


FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END $$
"""
AT_ONCE = "CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION no_room()"
AT_COMMIT = (
    "CREATE CONSTRAINT TRIGGER no_room AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION no_room()"
)


def without_room(make: Make, table: str, trigger: str) -> str:
    """A history in which PostgreSQL finds no room for rows of this table during one run. The run's answer."""
    expected = reference(make, "postgresql")
    world = edited(make, f"full-{table}-{trigger is AT_COMMIT}")
    with psycopg.connect(plain_url(world), autocommit=True) as admin:
        admin.execute(FULL)
        admin.execute(trigger.format(f'"{table}"'))  # type: ignore[call-overload]
        with in_trouble(world, Trouble()) as app:
            said = now(app)
        admin.execute(f'DROP TRIGGER no_room ON "{table}"')  # type: ignore[call-overload]
    invariants.writes_had_intents(world)
    later(world)
    whole_again(world, expected)
    return said


def test_a_postgresql_without_room_is_told_and_healed_by_the_next_run(make_on_postgresql: MakeWorld) -> None:
    assert without_room(make_on_postgresql, "change", AT_COMMIT) == "state_full"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trigger", [AT_ONCE, AT_COMMIT], ids=["statement", "commit"])
def test_a_postgresql_without_room_for_any_table_is_healed_by_the_next_run(
    make_on_postgresql: MakeWorld, trigger: str
) -> None:
    codes = {
        table: without_room(make_on_postgresql, table, trigger)
        for table in sorted(metadata.tables)
        if not table.startswith("audit") or trigger is AT_ONCE
    }
    assert set(codes.values()) == {"state_full", "clean"}
    assert {"run", "lease", "plan", "plan_chunk", "intent", "link", "change", "project", "plant_write"} <= {
        table for table, code in codes.items() if code == "state_full"
    }


# ---------------------------------------------------------------- E3: the connection drops


def cut_at(make: Make, at: int | str, when: When) -> None:
    """A history in which the connection drops at a commit of one run: that of a transaction with such a statement, or the
    statement with this number that the run's own thread says. By the commits of all connections, one of the run's watch or of its
    lease may be the one that is met.
    """
    expected = reference(make, "postgresql")
    world = edited(make, f"cut-{when}-{str(at).replace(' ', '-')}")
    straight = world.top["state_db_url"]
    trouble = Trouble(at=at, kind="marked") if isinstance(at, int) else Trouble()
    with CommitProxy(straight) as proxy:
        world.top["state_db_url"] = proxy.url
        world.configure()
        with in_trouble(world, trouble) as app:
            app.state.ready()
            trouble.said.clear()
            proxy.cut_transaction(at if isinstance(at, str) else MARK, when)
            said = now(app)
        assert proxy.cuts == 1, f"nothing was cut in {proxy.commits} commits"
    world.top["state_db_url"] = straight
    world.configure()
    assert said == "state_unavailable"
    invariants.writes_had_intents(world)
    later(world)
    whole_again(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_a_connection_lost_after_a_commit_and_before_its_answer_is_settled_by_looking(
    make_on_postgresql: MakeWorld, point: str
) -> None:
    cut_at(make_on_postgresql, POINTS[point], "after")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_connection_lost_at_any_commit_is_settled_by_looking(
    make_on_postgresql: MakeWorld, when: When
) -> None:
    trouble = Trouble()
    with in_trouble(edited(make_on_postgresql, "counted"), trouble) as app:
        app.state.ready()
        trouble.said.clear()
        assert now(app) == "clean"
    commits = [number for number, said in enumerate(trouble.said, 1) if said == "COMMIT"]
    assert len(commits) > 10
    for number in commits:
        cut_at(make_on_postgresql, number, when)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_connection_that_the_server_ends_before_any_statement_is_healed_by_the_next_run(
    make_on_postgresql: MakeWorld,
) -> None:
    for number in range(1, len(statements(make_on_postgresql)) + 1):
        _world, code = disturbed(make_on_postgresql, Trouble(at=number, kind="gone"), "postgresql")
        assert code in ("state_unavailable", "clean"), number


def press(service: Desk, key: str) -> httpx2.Response:
    """Ask for a pull by the API."""
    answer: httpx2.Response = service.post(
        "/api/v1/sync/pull", {"project_id": MINE}, "sync", headers={"Idempotency-Key": key}
    )
    return answer


def pressed_again(service: Desk, key: str) -> str:
    """Ask with this key until it is accepted, as a client that was told to try again; the run's id."""
    answer = press(service, key)
    if answer.status_code == 409:
        assert answer.json()["code"] == "idempotency_in_progress"
        service.clock.now += 121
        answer = press(service, key)
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["sync_id"])


@pytest.mark.parametrize(
    "when", ["after", *(pytest.param(w, marks=pytest.mark.long) for w in ("before", "half"))]
)
def test_a_request_whose_commit_got_lost_is_carried_out_once_when_it_is_repeated(
    tmp_path: Path, server: str, set_up: str, when: When
) -> None:
    """Whichever commit of the service it was, also when the run was done before the caller asked again."""
    with postgres.empty_database(server, template=set_up) as url, CommitProxy(url) as proxy:
        state = State(proxy.url)
        with desk(tmp_path, state=state) as service:
            service.headers("sync")
            press(service, "first")
            service.end(pressed_again(service, "first"))
            proxy.cut(0, when)
            service.end(str(press(service, "counted").json()["sync_id"]))
            for number in range(1, proxy.commits + 1):
                before = len(service.statuses())
                proxy.cut(number, when)
                answer = press(service, f"key-{number}")
                proxy.at = 0
                assert answer.status_code in (202, 503), answer.text
                for run_id in waiting(service):
                    service.end(run_id)
                run_id = pressed_again(service, f"key-{number}")
                assert len(service.statuses()) == before + 1, f"commit {number}"
                if answer.status_code == 202:
                    assert run_id == answer.json()["sync_id"]
                if service.statuses()[-1] == "queued":
                    service.end(run_id)
        state.close()


def waiting(service: Desk) -> list[str]:
    with service.state.read() as connection:
        return [run.run_id for run in runs.history(connection, MINE, statuses=["queued"])]


# ---------------------------------------------------------------- E4: restored from a backup


def backed_up(world: World) -> bytes:
    """A copy of our state, as a backup makes it."""
    with closing(sqlite3.connect(world.state)) as one, closing(sqlite3.connect(":memory:")) as copy:
        one.backup(copy)
        return copy.serialize()


def restored(world: World, backup: bytes) -> None:
    """Put an older state back."""
    for path in world.folder.glob("state.db*"):
        path.unlink()
    world.state.write_bytes(backup)


def test_after_a_restore_equal_values_settle_and_different_ones_are_asked(make_small: MakeWorld) -> None:
    """Since the backup each side was edited, agreed upon, and then edited once more on one of them."""
    world = make_small(name="restored")
    world.pulled()
    agreed, ours, theirs, untouched = (item.pnpid for item in world.items("equipment")[:4])
    backup = backed_up(world)
    for pnpid in (agreed, theirs):
        redescribed(world, pnpid, "Agreed since")
    user_describes(world, ours, "Agreed since")
    ok(world.cli("now", NAME))
    redescribed(world, ours, "Designer's, later")
    user_describes(world, theirs, "User's, later")
    writes, plant = world.writes(), world.fingerprint()
    restored(world, backup)
    ok(world.cli("now", NAME), 3)
    assert {row["tag"] for row in conflicts_of(world)} == {tag_of(world, ours), tag_of(world, theirs)}
    assert both(world, agreed) == ("Agreed since",) * 2
    assert both(world, ours) == ("Designer's, later", "Agreed since"), "nobody won silently"
    assert both(world, theirs) == ("Agreed since", "User's, later"), "nobody won silently"
    assert both(world, untouched)[0] == both(world, untouched)[1]
    assert (world.writes(), world.fingerprint()) == (writes, plant), "what was agreed is not written again"
    for conflict, side in zip(conflicts_of(world), ("plant3d", "synapse"), strict=True):
        ok(world.cli("resolve", conflict["id"], side))
    ok(world.cli("now", NAME))
    at_rest(world)
    invariants.one_asset_per_identity(world)


def tag_of(world: World, pnpid: int) -> str:
    return str(world.link_of(pnpid)["tag"])


def conflicts_of(world: World) -> list[Row]:
    """Pending conflicts with the item's tag."""
    tags = {row["id"]: row["tag"] for row in world.rows("SELECT id, tag FROM link")}
    return [conflict | {"tag": tags[conflict["link_id"]]} for conflict in world.conflicts()]


def test_the_gap_that_a_restored_backup_leaves_in_the_audit_trail_is_shown_by_an_export_kept_elsewhere(
    make_small: MakeWorld, tmp_path: Path
) -> None:
    world = make_small(name="restored")
    world.pulled()
    backup = backed_up(world)
    redescribed(world, world.items("equipment")[0].pnpid, "Written after the backup")
    world.pulled()
    kept = str(tmp_path / "audit.jsonl")
    assert world.cli("audit", "export", "--output", kept).code == 0
    assert world.cli("audit", "verify", "--against", kept).code == 0
    restored(world, backup)
    assert world.cli("audit", "verify").code == 0, "an older trail is sound in itself"
    said = world.cli("audit", "verify", "--against", kept)
    assert (said.code, said.error) == (78, "audit_broken")
    assert "is missing" in said.json["error"]["message"]
    world.pulled()  # writes nothing, so adds nothing; then something else happens instead
    redescribed(world, world.items("equipment")[1].pnpid, "Another history")
    world.pulled()
    said = world.cli("audit", "verify", "--against", kept)
    assert said.code == 78
    assert "is another one" in said.json["error"]["message"]
    (tmp_path / "audit.jsonl").write_text("no export")
    assert world.cli("audit", "verify", "--against", kept).error == "audit_export_invalid"


# ---------------------------------------------------------------- E6: two versions


NUMBER = f"{int(SCHEMA) + 1:04d}"
NEXT = f"""
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "{NUMBER}", "{SCHEMA}", None, None


def upgrade():
    op.add_column("run", sa.Column("weather", sa.Text))
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a program whose schema is one step further than this one's."""
    folder = tmp_path_factory.mktemp("newer")
    package = folder / "plant3d_sync"
    shutil.copytree(SOURCE / "plant3d_sync", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "state/migrations/versions" / f"{NUMBER}_weather.py").write_text(NEXT)
    store = package / "state/store.py"
    text = store.read_text(encoding="utf-8")
    assert f'SCHEMA = "{SCHEMA}"' in text
    store.write_text(text.replace(f'SCHEMA = "{SCHEMA}"', f'SCHEMA = "{NUMBER}"'), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_a_state_that_does_not_answer_now_is_not_taken_for_an_empty_one(make_small: MakeWorld) -> None:
    """Or a moment's lock would upgrade a database that was to be backed up first."""
    world = make_small(name="asleep")
    world.pulled()
    with closing(sqlite3.connect(world.state)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    before = world.every_table()
    with in_trouble(world, Trouble(at=1)) as app, pytest.raises(RetryLaterError):
        app.state.ready()
    assert world.every_table() == before


def untouched(world: World) -> tuple[object, ...]:
    """Everything a refused program must leave as it was."""
    return world.every_table(), world.writes(), world.fingerprint()


def test_program_and_state_of_different_versions_are_refused_and_nothing_is_touched(
    make_small: MakeWorld, newer: dict[str, str]
) -> None:
    world = make_small(name="versions")
    world.pulled()
    redescribed(world, world.items("equipment")[0].pnpid, "Waits for the upgrade")
    before = untouched(world)
    said = world.process("now", NAME, env=newer)
    assert (said.code, said.error) == (78, "schema_version")
    assert "db upgrade" in said.json["error"]["hint"]
    assert untouched(world) == before
    said = world.process("db", "upgrade", env=newer)
    assert ok(said) | {"state_db": ""} == {"before": SCHEMA, "after": NUMBER, "state_db": ""}
    before = untouched(world)
    for words in (
        ("now", NAME),
        ("worker", "--burst"),
        ("scheduler",),
        ("serve", "--port", "0"),
        ("db", "upgrade"),
    ):
        said = world.cli(*words)
        assert (said.code, said.error) == (78, "schema_version"), words
        assert "A newer plant3d-sync" in said.json["error"]["hint"]
    assert untouched(world) == before
    assert ok(world.process("now", NAME, env=newer))["stats"]["updated"] == 1


@contextmanager
def started(world: World, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process that goes on; killed at the end of the block."""
    with (world.folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), *words],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **world.environment({})},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=30)


def log_of(world: World, word: str) -> str:
    return (world.folder / f"{word}.log").read_text(encoding="utf-8")


@pytest.mark.long
def test_services_of_an_older_version_end_by_themselves_once_a_newer_one_moved_the_schema(
    make_small: MakeWorld, newer: dict[str, str]
) -> None:
    world = make_small(name="services", interval_minutes=0.05)
    world.pulled()
    with started(world, "worker") as worker, started(world, "scheduler") as scheduler:
        wait_until(lambda: "worker.started" in log_of(world, "worker"), what="a worker")
        wait_until(lambda: "scheduler.started" in log_of(world, "scheduler"), what="a scheduler")
        wait_until(lambda: world.process("db", "upgrade", env=newer).code == 0, what="a moment without a run")
        assert worker.wait(timeout=60) == 78
        assert scheduler.wait(timeout=60) == 78
    for word in ("worker", "scheduler"):
        assert "A newer plant3d-sync brought the database there" in log_of(world, word), word
    redescribed(world, world.items("equipment")[0].pnpid, "Waits for the newer program")
    assert ok(world.process("now", NAME, env=newer))["stats"]["updated"] == 1


def test_the_schema_is_not_moved_under_a_run_that_is_going(
    make_small: MakeWorld, newer: dict[str, str]
) -> None:
    world = make_small(name="busy")
    world.pulled()
    before = untouched(world)
    with in_trouble(world, Trouble()) as app, Lease(app.state, NAME, "a-run"):
        said = world.process("db", "upgrade", env=newer)
    assert (said.code, said.error) == (75, "project_busy")
    assert NAME in said.json["error"]["message"]
    assert world.rows("SELECT version_num FROM alembic_version") == [{"version_num": SCHEMA}]
    assert untouched(world)[1:] == before[1:]


# ---------------------------------------------------------------- G4: settings change under a run


BEGUN = "version: 1\nextends: base.yml\n"
BASE = "version: 1\nclasses:\n  HandValves: {fields: {attributes.size: {column: Size, owner: plant3d}}}\n"
CHANGED = """version: 1
classes:
  HandValves: {fields: {attributes.bore: {column: Size, owner: plant3d}}}
  Equipment: {fields: {description: {column: Description, owner: plant3d}}}
"""


def mapped(make: Make, name: str) -> World:
    """Edits on both sides under a mapping of the project's own, which stands in a file that its file extends."""
    world = edited(make, name)
    (world.folder / "own.yml").write_text(BEGUN)
    (world.folder / "base.yml").write_text(BASE)
    world.configure(mapping=["stock", "own.yml"])
    return world


def run_with(world: World, progress: Callable[[str, int, int | None], None]) -> str:
    """One run both ways of a program that was started now."""
    with in_trouble(world, Trouble()) as app:
        report = Engine(app.world(progress), app.project(NAME)).run(
            Request(asked=Asked(direction=Direction.BOTH))
        )
    return report.outcome


def held(world: World) -> Row:
    """What both sides hold now, without random identities and without when a row was saved."""
    assets = [{**without_times(asset), "plant3d_id": None} for asset in world.dump_synapse()]
    return {"synapse": assets, "plant3d": plant(world)}


def phases(make: Make) -> list[str]:
    """Every sign of progress that a run gives, in order."""
    met: list[str] = []
    run_with(mapped(make, "phases"), lambda phase, _done, _total: met.append(phase))
    return met


@pytest.mark.parametrize("phase", ["feed", "write", pytest.param("every one", marks=pytest.mark.long)])
def test_a_mapping_changed_in_mid_run_counts_from_the_next_run_on(make_small: MakeWorld, phase: str) -> None:
    """Ownership and names of fields change; no run is half under one mapping and half under the other."""
    undisturbed = mapped(make_small, "undisturbed")
    assert run_with(undisturbed, lambda *_: None) == "clean"
    after_one = held(undisturbed)
    (undisturbed.folder / "base.yml").write_text(CHANGED)
    expected = end(undisturbed)
    assert {asset["attributes"].get("bore") for asset in expected["synapse"]} == {None, '2"'}, (
        "it was changed"
    )
    steps = phases(make_small)
    assert {"feed", "compare", "write", "push"} <= set(steps)
    for number in range(len(steps)) if phase == "every one" else [steps.index(phase)]:
        world = mapped(make_small, f"changed-at-{number}")
        seen: list[str] = []

        def change(phase: str, _done: int, _total: int | None) -> None:
            if len(seen) == number:  # noqa: B023 - called within this round
                (world.folder / "base.yml").write_text(CHANGED)  # noqa: B023
            seen.append(phase)  # noqa: B023

        assert run_with(world, change) == "clean"
        assert len(seen) == len(steps)
        same(held(world), after_one)
        same(end(world), expected)


def test_a_project_switched_off_in_mid_run_counts_from_the_next_start_on(make_small: MakeWorld) -> None:
    undisturbed = edited(make_small, "undisturbed")
    assert run_with(undisturbed, lambda *_: None) == "clean"
    world = edited(make_small, "switched-off")
    run_with(world, lambda *_: world.configure(active=False))
    same(held(world), held(undisturbed))
    assert set(journal(world).values()) == {1}
    app = make_app(world.config, world.environment({}))
    assert planned_projects(app) == [], "and no slot asks for a run"


def test_writing_forbidden_in_mid_run_is_heard_before_the_next_cell_and_loses_nothing(
    make_small: MakeWorld,
) -> None:
    undisturbed = edited(make_small, "undisturbed")
    assert run_with(undisturbed, lambda *_: None) == "clean"
    world = edited(make_small, "forbidden")
    before = world.fingerprint()
    with pytest.raises(ConfigError) as stopped:
        run_with(world, lambda *_: world.configure(write="off"))
    assert stopped.value.error_code == "write_off"
    assert world.fingerprint() == before and not journal(world)
    run_with(world, lambda *_: None)
    assert world.fingerprint() == before, "nor by a later run"
    world.configure(write="sql")
    assert run_with(world, lambda *_: None) == "clean"
    same(held(world), held(undisturbed))
    assert set(journal(world).values()) == {1}


# ---------------------------------------------------------------- G1, G3: two web processes


@dataclass(slots=True, kw_only=True)
class Webs:
    """Two web processes on one state, and a way to put facts into it."""

    desk: Desk
    urls: list[str]

    def ask(self, number: int, path: str, body: object, **headers: str) -> httpx2.Response:
        """POST to one of the two."""
        given = {**self.desk.headers(), **headers}
        with httpx2.Client(base_url=self.urls[number % 2], timeout=60, verify=False) as client:
            return client.post(path, json=body, headers=given)

    def at_once(self, *calls: Callable[[int], httpx2.Response]) -> list[httpx2.Response]:
        """These requests at the same moment, the processes in turn."""
        self.desk.headers()
        answers = together(*(functools.partial(call, number) for number, call in enumerate(calls)))
        return [answer for answer in answers if isinstance(answer, httpx2.Response)]


@pytest.fixture(scope="module", params=["postgresql", pytest.param("sqlite", marks=pytest.mark.long)])
def webs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webs]:
    """Real processes, as two machines behind a load balancer would be."""
    folder = tmp_path_factory.mktemp("webs")
    with ExitStack() as stack:
        env, state = {"SYNAPSE_API_KEY": SECRET}, None
        if request.param == "postgresql":
            url = stack.enter_context(postgres.empty_database(request.getfixturevalue("server")))
            env["STATE_DB_URL"] = url
            state = State(url)
            state.ready()
            stack.callback(state.close)
        made = stack.enter_context(desk(folder, state=state))
        made.clock.now = time.time()
        urls = []
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "plant3d_sync", "--config", str(folder / "plant3d-sync.yml")]
                    + ["serve", "--port", "0"],
                    stdout=subprocess.PIPE,
                    stderr=(folder / f"serve{number}.log").open("wb"),
                    env={**os.environ, "PYTHONPATH": str(SOURCE), **env},
                )
            )
            for number in range(2)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdout is not None
            urls.append(str(orjson.loads(process.stdout.readline())["url"]))
        yield Webs(desk=made, urls=urls)


def test_one_idempotency_key_at_two_processes_at_the_same_moment_does_it_once(webs: Webs) -> None:
    """Making an API key cannot be joined like a run: done twice, there would be two."""
    for round_ in range(5):
        body, header = {"name": f"twin-{round_}", "scopes": ["read"]}, {"Idempotency-Key": f"k-{round_}"}
        call = functools.partial(
            lambda number, body, header: webs.ask(number, "/api/v1/keys", body, **header),
            body=body,
            header=header,
        )
        answers = webs.at_once(*[call] * 6)
        codes = Counter(answer.status_code for answer in answers)
        assert set(codes) <= {201, 409}, [answer.text for answer in answers]
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
            "idempotency_in_progress"
        }
        last = webs.ask(round_, "/api/v1/keys", body, **header)
        assert last.status_code == 201
        ids = {answer.json()["id"] for answer in [*answers, last] if answer.status_code == 201}
        assert len(ids) == 1
        with webs.desk.state.read() as connection:
            assert sum(key.name == f"twin-{round_}" for key in keys.list_keys(connection)) == 1


def test_presses_at_two_processes_at_the_same_moment_make_one_run(webs: Webs) -> None:
    for _ in range(5):
        before = len(webs.desk.statuses())
        call = functools.partial(lambda number: webs.ask(number, "/api/v1/sync/pull", {"project_id": MINE}))
        answers = webs.at_once(*[call] * 6)
        assert {answer.status_code for answer in answers} == {202}
        (run_id,) = {answer.json()["sync_id"] for answer in answers}
        assert len(webs.desk.statuses()) == before + 1
        webs.desk.end(run_id)


def test_of_two_decisions_at_the_same_moment_one_counts_and_the_other_sees_it(webs: Webs) -> None:
    for _ in range(5):
        conflict = webs.desk.conflict()
        path = f"/api/v1/conflicts/{conflict}/resolve"

        def decide(number: int, resolution: str, path: str = path) -> httpx2.Response:
            return webs.ask(number, path, {"resolution": resolution}, **{"If-Match": '"1"'})

        choices = ["plant3d", "synapse", "plant3d", "synapse"]
        answers = webs.at_once(*(functools.partial(decide, resolution=choice) for choice in choices))
        codes = [answer.status_code for answer in answers]
        assert sorted(codes) == [200, 412, 412, 412], [answer.text for answer in answers]
        counted = choices[codes.index(200)]
        assert {
            answer.json()["current"]["resolution"] for answer in answers if answer.status_code == 412
        } == {counted}
        stored = webs.desk.get(f"/api/v1/conflicts/{conflict}", "read").json()
        assert stored["resolution"] == counted
        webs.desk.end(answers[codes.index(200)].json()["sync_id"])


def test_a_plan_applied_at_two_processes_at_the_same_moment_is_one_run(webs: Webs) -> None:
    for _ in range(5):
        plan = webs.desk.plan()
        before = len(webs.desk.statuses())

        def apply(number: int, path: str = f"/api/v1/plans/{plan}/apply") -> httpx2.Response:
            return webs.ask(number, path, {}, **{"If-Match": '"1"'})

        answers = webs.at_once(*[apply] * 4)
        taken = [answer for answer in answers if answer.status_code == 202]
        assert {answer.status_code for answer in answers} <= {202, 409, 412}, [a.text for a in answers]
        (run_id,) = {answer.json()["sync_id"] for answer in taken}
        assert len(webs.desk.statuses()) == before + 1
        webs.desk.end(run_id)


# ---------------------------------------------------------------- G3: at the same moment, in the engine


def test_a_plan_applied_by_two_processes_at_once_is_carried_out_once(make_small: MakeWorld) -> None:
    world, expected = edited(make_small, "twice"), reference(make_small, "sqlite")
    plan = ok(world.cli("plan", NAME))["plan_id"]
    with started(world, "--json", "apply", plan) as one, started(world, "--json", "apply", plan) as other:
        codes = sorted(process.wait(timeout=60) for process in (one, other))
    assert codes in ([0, 3], [0, 75]), log_of(world, "--json")
    assert world.rows("SELECT status FROM plan WHERE id = ?", plan) == [{"status": "applied"}]
    whole_again(world, expected)


def deciding(world: World, conflict: Row, *choice: str) -> tuple[threading.Thread, list[bool]]:
    """A person about to decide; whether the decision was taken is noted in the list."""
    taken: list[bool] = []

    def decide() -> None:
        app = make_app(world.config, world.environment({}))
        try:
            resolve_conflict(
                app.world(),
                conflict["id"],
                Choice(resolution=choice[0], manual_value=choice[-1]),
                version=conflict["version"],
            )
            taken.append(True)
        except NeedsPersonError as error:
            assert error.error_code == "conflict_moved"
            taken.append(False)
        finally:
            app.state.close()

    return threading.Thread(target=decide), taken


def quarrelling(make: Make, name: str) -> tuple[World, int, Row]:
    """A world with one conflict: the item, and the conflict."""
    world = make(name=name, conflict={"policy": "ask"})
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "User's")
    redescribed(world, pnpid, "Designer's")
    ok(world.cli("now", NAME), 3)
    (conflict,) = world.conflicts()
    return world, pnpid, conflict


def decide_during(make: Make, at: int, name: str, choice: tuple[str, ...]) -> bool:
    """The sides came to agree; while the run that closes their conflict is at statement number `at`, somebody decides.

    Both keep the value they agreed on, whoever was first. Whether the decision was taken.
    """
    world, pnpid, conflict = quarrelling(make, name)
    redescribed(world, pnpid, "User's")
    person, taken = deciding(world, conflict, *choice)
    trouble = Trouble(at=at, meanwhile=lambda: (person.start(), person.join(0.3)))
    with in_trouble(world, trouble) as app:
        assert now(app) in ("clean", "with_issues")
    assert trouble.met
    person.join(60)
    for _ in range(2):
        ok(world.cli("now", NAME))
    assert both(world, pnpid) == ("User's",) * 2
    assert world.conflicts() == []
    at_rest(world)
    assert world.cli("audit", "verify").code == 0
    (stored,) = world.rows("SELECT resolution FROM conflict")
    assert stored["resolution"] == (choice[0] if taken[0] else "converged"), "what a person decided is kept"
    return taken[0]


def closing_statements(make: Make) -> list[str]:
    """Statements of a run that closes a conflict."""
    world, pnpid, _conflict = quarrelling(make, "closing")
    redescribed(world, pnpid, "User's")
    trouble = Trouble()
    with in_trouble(world, trouble) as app:
        now(app)
    return trouble.said


def test_a_decision_taken_while_a_run_finds_new_values_is_never_carried_out_on_them(
    make_on_postgresql: MakeWorld,
) -> None:
    """It was made between other values: it is refused, or void, and nobody's word is replaced."""

    def moved(name: str) -> tuple[World, int, Row]:
        world, pnpid, conflict = quarrelling(make_on_postgresql, name)
        redescribed(world, pnpid, "Designer's second thought")
        return world, pnpid, conflict

    world, pnpid, _conflict = moved("counted")
    trouble = Trouble()
    with in_trouble(world, trouble) as app:
        now(app)
    at = next(n for n, text in enumerate(trouble.said, 1) if text.startswith("UPDATE conflict SET"))
    world, pnpid, conflict = moved("decided")
    person, taken = deciding(world, conflict, "manual", "Third")
    with in_trouble(world, Trouble(at=at, meanwhile=lambda: (person.start(), person.join(1)))) as app:
        now(app)
    person.join(60)
    assert taken == [False]
    for _ in range(2):
        ok(world.cli("now", NAME), 3)
    assert both(world, pnpid) == ("Designer's second thought", "User's")
    (again,) = world.conflicts()
    assert (again["data"]["plant3d"], again["resolution"]) == ("Designer's second thought", None)


def test_a_decision_taken_while_a_run_closes_the_conflict_leaves_both_sides_equal(
    make_on_postgresql: MakeWorld,
) -> None:
    said = closing_statements(make_on_postgresql)
    early, late = (
        next(number for number, text in enumerate(said, 1) if text.startswith(mark))
        for mark in ("UPDATE link", "UPDATE conflict SET")
    )
    for number in (early, late):
        decide_during(make_on_postgresql, number, f"at-{number}", ("manual", "Third"))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("choice", [("manual", "Third"), ("plant3d",)])
def test_a_decision_taken_at_any_moment_of_such_a_run_leaves_both_sides_equal(
    make_on_postgresql: MakeWorld, choice: tuple[str, ...]
) -> None:
    said = closing_statements(make_on_postgresql)
    taken = {
        decide_during(make_on_postgresql, number, f"at-{number}", choice)
        for number in range(1, len(said) + 1)
    }
    assert taken == {True, False}, "some came in time and some too late"


# ---------------------------------------------------------------- F1: the clock is set in mid-run


HOUR, DAY = 3600.0, 86400.0


@dataclass(slots=True)
class Machine:
    """The clock of the machine, on which both our program and SQLite look; set once, at a certain look."""

    step: float
    at: int
    looks: int = 0
    ahead: float = 0.0

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == self.at:
            self.ahead = self.step
        return time.time() + self.ahead

    def for_sqlite(self, connection: sqlite3.Connection) -> None:
        connection.create_function("julianday", 1, lambda _now: (time.time() + self.ahead) / DAY + 2440587.5)


def run_on(world: World, machine: Machine) -> None:
    """One run both ways on this machine, which must be clean, and not late."""
    with in_trouble(world, Trouble()) as app:

        @sa.event.listens_for(app.state.engine, "connect")
        def same_clock(connection: Any, _record: object) -> None:
            machine.for_sqlite(connection)

        engine = Engine(msgspec.structs.replace(app.world(), clock=machine), app.project(NAME))
        report = engine.run(Request(asked=Asked(direction=Direction.BOTH), deadline=time.monotonic() + 600))
    assert report.outcome == "clean"


def set_at(make: Make, step: float, at: int) -> int:
    """A history in whose middle the clock is set; then it runs on, or is set right again. Looks of that run."""
    expected = reference(make, "sqlite")
    world = edited(make, f"clock-{step:.0f}-{at}")
    machine = Machine(step=step, at=at)
    run_on(world, machine)
    for run in ok(world.cli("runs", NAME))["items"]:
        assert run["completed_at"] >= run["started_at"], "no run takes less than no time"
    whole_again(world, expected)
    return machine.looks


@pytest.mark.parametrize("step", [-HOUR, DAY], ids=["an hour back", "a day forward"])
def test_a_clock_set_in_mid_run_changes_no_result(make_small: MakeWorld, step: float) -> None:
    set_at(make_small, step, 9)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [-DAY, -HOUR, HOUR, DAY])
def test_a_clock_set_at_any_look_of_a_run_changes_no_result(make_small: MakeWorld, step: float) -> None:
    looks = set_at(make_small, step, 1)
    assert looks > 10
    for number in range(2, looks + 1):
        set_at(make_small, step, number)


def test_runs_that_wait_are_due_although_our_clock_was_set_back(jobs: Queueing) -> None:
    fresh = enqueue(jobs.world, "fresh", "pull", by="test")
    enqueue(jobs.world, "again", "pull", by="test")
    claimed = queue.claim(jobs.world, jobs.holder, ["again"])
    assert claimed is not None
    assert queue.requeue(jobs.world, claimed, RetryLaterError("later"), interval=60.0)
    assert queue.claim(jobs.world, jobs.holder, ["again"]) is None, "it pauses"
    for project, run_id, back in (("fresh", fresh.run_id, 300), ("again", claimed.run_id, HOUR)):
        jobs.clock.now -= back
        found = queue.claim(jobs.world, jobs.holder, [project])
        assert found is not None and found.run_id == run_id, project


def test_a_lost_run_is_found_although_our_clock_was_set_back(jobs: Queueing) -> None:
    """Its worker died on another machine: its last sign of life and its lease lie in the future now."""
    enqueue(jobs.world, "p", "pull", by="test")
    claimed = queue.claim(jobs.world, DEAD, ["p"])
    assert claimed is not None
    holder = orjson.loads(DEAD) | {"run": claimed.run_id}
    with jobs.world.state.write() as connection:
        connection.execute(
            sa.insert(tables.lease).values(
                project="p",
                holder=orjson.dumps(holder).decode(),
                fence=1,
                expires_at=jobs.world.state.now_sql() + HOUR,
            )
        )
    assert queue.recover_stale(jobs.world) == []
    jobs.clock.now -= HOUR
    (found,) = queue.recover_stale(jobs.world)
    assert (found.run_id, found.status) == (claimed.run_id, "queued")
    with Lease(jobs.world.state, "p", "another-run") as lease:
        assert lease.fence.number == 2


def test_a_worker_of_another_machine_that_beats_is_left_alone(jobs: Queueing) -> None:
    """Clocks of machines differ a little; what is a little ahead of ours is alive."""
    enqueue(jobs.world, "p", "pull", by="test")
    assert queue.claim(jobs.world, DEAD, ["p"]) is not None
    jobs.clock.now -= 120
    assert queue.recover_stale(jobs.world) == []


SET_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long ahead(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("AHEAD_FILE"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t which, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, at);
    if (which == CLOCK_REALTIME) at->tv_sec += ahead();
    return done;
}
int gettimeofday(struct timeval *at, void *zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int done = real(at, zone);
    at->tv_sec += ahead();
    return done;
}
time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}
"""


@pytest.fixture(scope="module")
def own_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives a process, and everything in it, a clock that can be set while it runs."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SET_CLOCK)
    library = folder / "clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "clock.c"), "-ldl"], check=True
    )
    return library


@pytest.mark.long
def test_whole_processes_whose_clock_is_set_while_they_work_lose_no_run_and_double_none(
    make_small: MakeWorld, own_clock: Path
) -> None:
    """Worker and scheduler under a clock that goes an hour back, a day forward, and right again."""
    world, expected = edited(make_small, "processes"), reference(make_small, "sqlite")
    ahead = world.folder / "ahead"
    ahead.write_text("0")
    world.env |= {"LD_PRELOAD": str(own_clock), "AHEAD_FILE": str(ahead), "P3DSYNC_LEASE_SECONDS": "3"}
    world.configure(interval_minutes=0.05, direction="both")
    with started(world, "worker"), started(world, "scheduler"):
        for seconds in (0, -3600, 86400, 0):
            ahead.write_text(str(seconds))
            before = len(ended_runs(world))
            wait_until(lambda: len(ended_runs(world)) >= before + 2, what=f"two runs at {seconds}")  # noqa: B023
            newest = ended_runs(world)[-1]
            assert abs(newest["created_at"] - time.time() - seconds) < 60, "they did live in that time"
    world.env.clear()
    world.configure(interval_minutes=None, direction=None)
    assert {run["outcome"] for run in ended_runs(world)} == {"clean"}
    later(world)
    whole_again(world, expected)


def ended_runs(world: World) -> list[Row]:
    return world.rows("SELECT * FROM run WHERE status = 'completed' AND trigger = 'schedule' ORDER BY seq")


# ---------------------------------------------------------------- F2: the hour that comes twice


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process is set as on POSIX")
@pytest.mark.parametrize(
    "moments",
    [("2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"), ("2027-03-14T06:59:59Z", "2027-03-14T07:00:00Z")],
    ids=["01:30 comes twice", "02:00 does not come"],
)
def test_every_time_is_shown_with_its_zone_so_that_half_past_one_is_told_from_half_past_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moments: tuple[str, str]
) -> None:
    monkeypatch.setenv("TZ", "America/Toronto")
    time.tzset()
    try:
        with desk(tmp_path) as service:
            for moment in moments:
                service.clock.now = datetime.fromisoformat(moment).timestamp()
                service.run()
            items = service.get("/api/v1/sync/history", "read", project_id=MINE).json()["items"]
            assert [item["started_at"] for item in items] == list(moments)[::-1], "newest first"
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                cli(["--config", str(tmp_path / "plant3d-sync.yml"), "runs", MINE])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [word for word in said.getvalue().split() if word.startswith("202")] == list(moments)[::-1]
