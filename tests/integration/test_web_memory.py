"""The web process over a day of runs: what it holds does not grow with what it answered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from plant3d_sync.state import keys
from plant3d_sync.worker import main as worker
from tests.integration.test_web_walk import working
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.synapse_dev import synapse_in_thread

MINE = "mine"
RUNS = 1000
WARM = 300
"""Runs until everything that is kept once (statements, templates, pools, pages of the state database) is there."""
ROOM = 1024 * 1024
"""Bytes. Pages of a growing state database (4 MB a connection at most), and what the allocator cannot give back."""
ENDED = ("completed", "failed")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with synapse_in_thread(api_key="memory-key-1234567890") as synapse:
        made = build_plant(tmp_path, synapse, [MINE])
        made.env["P3DSYNC_RATE_LIMIT"] = "1000000/minute"
        made.write_config()
        yield made


@pytest.mark.parametrize(("command", "usual"), [("serve", True), ("scheduler", True), ("pull", False)])
def test_a_process_that_lasts_collects_its_garbage_as_usual(command: str, usual: bool) -> None:
    """Where it did so once in a million objects, the web process held on to all that lay in circles."""
    script = (
        "import gc, sys; usual = gc.get_threshold(); from plant3d_sync.cli.main import main\n"
        "try: main()\n"
        "finally: print(gc.get_threshold() == usual, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.split()[-1] == str(usual), done.stderr


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_web_process_does_not_grow_over_a_thousand_runs(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LISTEN", 0.01)  # nobody rings here
    app = plant.app()
    with app.state.write() as connection:
        _id, key = keys.create(connection, "memory", keys.SCOPES, now=app.world().clock())
    held: list[int] = []
    with plant.process("serve", "--port", "0") as web:
        assert web.stdout is not None
        url = json.loads(web.stdout.readline())["url"]
        with (
            httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=60, verify=False) as client,
            working(plant),
        ):

            def run_once(number: int) -> None:
                asked = client.post(
                    "/api/v1/sync/pull", json={"project_id": MINE, "full_sync": number % 10 == 0}
                )
                assert asked.status_code == 202, asked.text
                where = f"/api/v1/sync/{asked.json()['sync_id']}"
                wait_until(lambda: client.get(where).json()["status"] in ENDED, what="the run ends")
                for path in ("sync/status", "sync/history", "findings", "waiting"):
                    answer = client.get(f"/api/v1/{path}", params={"project_id": MINE})
                    assert answer.status_code == 200, (path, answer.text)
                assert client.get("/metrics").status_code == 200
                held.append(psutil.Process(web.pid).memory_info().rss)

            wait_until(lambda: client.get("/livez").status_code == 200, what="the web service answers")
            for number in range(RUNS):
                run_once(number)
    app.state.close()
    before, after = max(held[WARM - 50 : WARM]), max(held[-50:])
    assert after - before <= ROOM, f"{before >> 10} KiB after {WARM} runs, {after >> 10} KiB after {RUNS}"
