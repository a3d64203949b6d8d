"""The state database fails in the middle of a run, is restored, or belongs to another version; the clock steps; two
do the same at one moment; settings change under a run.

Whatever it was, the next runs end where undisturbed ones would have, and nothing was written twice.
"""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.errors import RetryLaterError, SyncError
from plant3d_sync.model.side import Direction
from plant3d_sync.state import State, keys
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.store import SCHEMA
from plant3d_sync.state.tables import metadata
from plant3d_sync.usecases.engine import Engine, Request
from plant3d_sync.usecases.make_plan import Asked
from plant3d_sync.worker.scheduler import planned_projects
from tests.support import invariants, postgres
from tests.support.both_ways import edited, end, journal, plant, same, whole_again
from tests.support.broken_state import CommitProxy, Trouble, When, in_trouble
from tests.support.jobs import together, wait_until
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


def cut_at(make: Make, at: int, when: When) -> None:
    """A history in which the connection drops at the commit number `at` of one run."""
    expected = reference(make, "postgresql")
    world = edited(make, f"cut-{when}-{at}")
    straight = world.top["state_db_url"]
    with CommitProxy(straight) as proxy:
        world.top["state_db_url"] = proxy.url
        world.configure()
        with in_trouble(world, Trouble()) as app:
            app.state.ready()
            proxy.cut(at, when)
            said = now(app)
        assert proxy.cuts == 1, f"a run has only {proxy.commits} commits"
    world.top["state_db_url"] = straight
    world.configure()
    assert said == "state_unavailable"
    invariants.writes_had_intents(world)
    later(world)
    whole_again(world, expected)


def commits(said: list[str], mark: str) -> int:
    """Which commit ends the transaction with such a statement, from 1."""
    return said[: commit_of(said, mark)].count("COMMIT")


@pytest.mark.parametrize("point", POINTS)
def test_a_connection_lost_after_a_commit_and_before_its_answer_is_settled_by_looking(
    make_on_postgresql: MakeWorld, point: str
) -> None:
    cut_at(make_on_postgresql, commits(statements(make_on_postgresql), POINTS[point]), "after")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_connection_lost_at_any_commit_is_settled_by_looking(
    make_on_postgresql: MakeWorld, when: When
) -> None:
    for number in range(1, statements(make_on_postgresql).count("COMMIT") + 1):
        cut_at(make_on_postgresql, number, when)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_connection_that_the_server_ends_before_any_statement_is_healed_by_the_next_run(
    make_on_postgresql: MakeWorld,
) -> None:
    for number in range(1, len(statements(make_on_postgresql)) + 1):
        _world, code = disturbed(make_on_postgresql, Trouble(at=number, kind="gone"), "postgresql")
        assert code in ("state_unavailable", "clean"), number


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
    """What both sides hold now, without random identities."""
    assets = [{**asset, "plant3d_id": None} for asset in world.dump_synapse()]
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


def test_settings_changed_in_mid_run_count_from_the_next_start_on(make_small: MakeWorld) -> None:
    """Writing is forbidden and the project switched off while a run goes on."""
    undisturbed = edited(make_small, "undisturbed")
    assert run_with(undisturbed, lambda *_: None) == "clean"
    world = edited(make_small, "switched-off")
    run_with(world, lambda *_: world.configure(write="off", active=False))
    same(held(world), held(undisturbed))
    assert set(journal(world).values()) == {1}
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "Nobody may write this")
    before = world.fingerprint()
    run_with(world, lambda *_: None)
    assert world.fingerprint() == before
    app = make_app(world.config, world.environment({}))
    assert planned_projects(app) == [], "and no slot asks for a run"


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
