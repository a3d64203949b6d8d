"""What the tests of jobs share: state databases of both kinds, a clock to turn, projects that really run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson
import sqlalchemy as sa
import yaml

import plant3d_sync
from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.run.project import World
from plant3d_sync.state import State, runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import run as run_table
from plant3d_sync.state.whose import holder_name
from tests.support.state import empty_state
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import template

SOURCE = str(Path(plant3d_sync.__file__).parents[1])
T = TypeVar("T")
DEAD = orjson.dumps({"host": "another-machine", "pid": 1, "born": 1.0, "run": "worker"}).decode()
"""A holder nobody here can judge: only its silence tells."""


@dataclass(slots=True)
class Clock:
    """Time that moves when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass(slots=True, kw_only=True)
class Queueing:
    """A state database and a clock: enough for the queue."""

    world: World
    clock: Clock
    holder: str = field(default_factory=lambda: holder_name("worker"))

    def runs(self, project: str | None = None) -> list[Run]:
        """All runs, oldest first."""
        with self.world.state.read() as connection:
            return runs.history(connection, project, limit=10_000)[::-1]

    def run(self, run_id: str) -> Run:
        """One run as it is now."""
        with self.world.state.read() as connection:
            found = runs.get(connection, run_id)
        assert found is not None
        return found

    def statuses(self, project: str) -> list[str]:
        return [run.status for run in self.runs(project)]

    def set_run(self, run_id: str, **values: object) -> None:
        with self.world.state.write() as connection:
            connection.execute(sa.update(run_table).where(run_table.c.id == run_id).values(**values))


@contextmanager
def queueing(url: str) -> Iterator[Queueing]:
    state = State(url)
    state.ready()
    clock = Clock()
    try:
        yield Queueing(world=World(state=state, clock=clock), clock=clock)
    finally:
        state.close()


def together(*work: Callable[[], object]) -> list[object]:
    """Run these at the same moment, each in its own thread; their results, or the first exception."""
    barrier = threading.Barrier(len(work))
    answers: dict[int, object] = {}
    failures: list[BaseException] = []

    def start(number: int) -> None:
        barrier.wait(timeout=30)
        try:
            answers[number] = work[number]()
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            failures.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    if failures:
        raise failures[0]
    return [answers[number] for number in range(len(work))]


def wait_until(ask: Callable[[], T], *, what: str, seconds: float = 60.0) -> T:
    """Ask until the answer is true; for what other processes do."""
    limit = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < limit:
        answer = ask()
        if answer:
            return answer
        pause.wait(0.05)
    raise AssertionError(f"did not happen within {seconds} s: {what}")


@dataclass(slots=True, kw_only=True)
class Plant:
    """Projects with their own Plant 3D files and their own projects in one SYNAPSE."""

    folder: Path
    synapse: RunningSynapse
    projects: dict[str, str]
    state_url: str
    redis_url: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "plant3d-sync.yml"

    def write_config(self) -> None:
        document = {
            "state_db_url": self.state_url,
            "synapse": {"url": self.synapse.url},
            "projects": {
                name: {"synapse_project_id": uid, "source": f"{name}.dcf", **self.options.get(name, {})}
                for name, uid in self.projects.items()
            },
        }
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        env = {
            "SYNAPSE_API_KEY": self.synapse.api_key,
            "SYNC_RETRY_DELAY_SECONDS": "0",
            "SYNC_RETRY_ATTEMPTS": "1",
            "P3DSYNC_LEASE_SECONDS": "3",
            **self.env,
        }
        if self.redis_url:
            env["REDIS_URL"] = self.redis_url
        return env

    def app(self) -> App:
        return make_app(self.config, self.environment())

    @contextmanager
    def process(self, *words: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command as a process of its own; killed at the end of the block if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "plant3d_sync", "--config", str(self.config), *words],
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"{words[0]}-{uuid.uuid4().hex[:6]}.log").open("w"),
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": SOURCE, **self.environment(), **(env or {})},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=30)
            assert process.stdout is not None
            process.stdout.close()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def assets(self, name: str) -> list[dict[str, object]]:
        """Every asset of a project in SYNAPSE."""
        with self.synapse.client(self.projects[name]) as client:
            answer = client.get(f"/dev/projects/{self.projects[name]}/assets")
            answer.raise_for_status()
            items: list[dict[str, object]] = answer.json()["items"]
            return items

    def effective_writes(self, name: str) -> int:
        with self.synapse.client(self.projects[name]) as client:
            report = client.get("/dev/writes").json()
        return int(report["by_project"].get(self.projects[name], {}).get("effective", 0))


def build_plant(
    folder: Path, synapse: RunningSynapse, names: list[str], *, items: int = 60, state_url: str | None = None
) -> Plant:
    """One small sample, copied for every project, and a state in which nothing is yet."""
    sample = template(folder, items=items)
    for name in names:
        shutil.copyfile(sample, folder / f"{name}.dcf")
    if state_url is None:
        (folder / "state.db").write_bytes(empty_state())
    plant = Plant(
        folder=folder,
        synapse=synapse,
        projects={name: synapse.new_project() for name in names},
        state_url=state_url or f"sqlite:///{folder / 'state.db'}",
    )
    plant.write_config()
    return plant
