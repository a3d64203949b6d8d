"""Sources on a share of the tests' own: one that takes its time, and one that falls silent."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.mounts import may_hang
from plant3d_sync.sample import write_sample
from plant3d_sync.state import runs
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.share import READ, Share, share
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

PROMISED_MS = 1000.0


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where the share is mounted, and what it shows."""
    seen, real = tmp_path / "seen", tmp_path / "real"
    seen.mkdir()
    real.mkdir()
    return seen, real


def test_a_link_that_leads_to_a_share_is_found_without_asking_the_share(folders: tuple[Path, Path]) -> None:
    seen, real = folders
    (real.parent / "link").symlink_to(seen / "deep")
    (real.parent / "circle").symlink_to(real.parent / "circle")
    with share(seen, behind=real) as made:
        made.silent = True
        assert may_hang(seen / "a") and may_hang(real.parent / "link" / "b") and may_hang(real, seen)
        assert not may_hang(real / "x" / ".." / "y") and not may_hang(real.parent / "circle")


def test_a_source_on_a_share_is_read_in_few_large_calls_and_is_whole(folders: tuple[Path, Path]) -> None:
    seen, real = folders
    path = real / "ProcessPower.dcf"
    write_sample(path, items=2000)
    with share(seen, behind=real) as made:
        snapshot = open_source(seen).snapshot()
        largest_first = path.stat().st_size // made.largest
        assert made.calls.count(READ) < largest_first + 20
    with closing(sqlite3.connect(path)) as direct:
        [items] = direct.execute("SELECT count(*) FROM PnPBase").fetchone()
    assert snapshot.identity.rows == items
    assert snapshot.ask("PRAGMA integrity_check") == [("ok",)]
    snapshot.close()


@pytest.mark.long
@pytest.mark.parametrize("milliseconds", [10, 30])
def test_the_lock_is_short_on_a_slow_share(folders: tuple[Path, Path], milliseconds: int) -> None:
    seen, real = folders
    write_sample(real / "ProcessPower.dcf", items=15_000)
    with share(seen, behind=real, delay=milliseconds / 1000):
        snapshot = open_source(seen).snapshot()
    snapshot.close()
    assert snapshot.lock_ms < PROMISED_MS


def doctor(plant: Plant) -> str:
    with plant.process("--json", "doctor", "mine") as process:
        assert process.stdout is not None
        return process.stdout.read()


@pytest.fixture
def plant(tmp_path: Path, folders: tuple[Path, Path], synapse: RunningSynapse) -> Plant:
    """`mine` lies on the share, `other` does not."""
    seen, real = folders
    made = build_plant(tmp_path, synapse, ["mine", "other"], items=10)
    (tmp_path / "mine.dcf").rename(real / "ProcessPower.dcf")
    made.options = {"mine": {"source": str(seen)}}
    made.write_config()
    return made


@pytest.mark.long
def test_doctor_says_beforehand_that_a_share_is_too_slow(plant: Plant, folders: tuple[Path, Path]) -> None:
    with share(folders[0], behind=folders[1], largest=16 * 1024) as made:
        made.read_delay = 0.05
        said = doctor(plant)
    assert '"lock_long"' in said and '"read time"' in said


@pytest.fixture
def silent_at_reading(plant: Plant, folders: tuple[Path, Path]) -> Iterator[Share]:
    """A share that answers until the bytes of the file are asked for, and takes every call without an answer from then on."""
    with share(folders[0], behind=folders[1]) as made:

        def watch() -> None:
            while READ not in made.calls:
                time.sleep(0.001)
            made.silent = True

        threading.Thread(target=watch, daemon=True).start()
        yield made


def test_a_worker_on_a_share_that_falls_silent_serves_the_others_and_ends_when_it_is_stopped(
    plant: Plant, silent_at_reading: Share
) -> None:
    app = plant.app()
    mine = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
    other = enqueue(app.world(), "other", "pull", trigger="api", by="test")

    def now(run_id: str) -> Run:
        with app.state.read() as connection:
            found = runs.get(connection, run_id)
        assert found is not None
        return found

    def status(run_id: str) -> str:
        return f"{now(run_id).status} {now(run_id).outcome}"

    with plant.process("worker") as worker:
        wait_until(lambda: silent_at_reading.silent, what="the silence of the share")
        wait_until(lambda: status(mine.run_id).startswith("running"), what="the run on the share")
        queue.cancel(app.world(), mine.run_id, by="test")
        wait_until(lambda: status(mine.run_id) == "completed cancelled", what="the end of the run")
        wait_until(lambda: status(other.run_id).startswith("completed"), what="the run of the other project")
        again = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
        # told at once that the share is silent, it waits for its next try: how long it runs is nothing to wait for
        wait_until(lambda: now(again.run_id).attempts > 0, what="another try on the share")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    app.state.close()
    assert "Traceback" not in plant.logs()


PROMISED_SECONDS = 3.0
"""Within which cancel and stop take effect, always. Only long tests hold it by a clock; others count looks at one."""


@pytest.mark.long
def test_cancel_and_stop_take_effect_in_the_promised_time_where_a_share_is_silent(
    plant: Plant, silent_at_reading: Share
) -> None:
    app = plant.app()
    mine = enqueue(app.world(), "mine", "pull", trigger="api", by="test")

    def status(run_id: str) -> str:
        with app.state.read() as connection:
            found = runs.get(connection, run_id)
        assert found is not None
        return found.status

    with plant.process("worker") as worker:
        wait_until(lambda: silent_at_reading.silent, what="the silence of the share")
        wait_until(lambda: status(mine.run_id) == "running", what="the run on the share")
        began = time.monotonic()
        queue.cancel(app.world(), mine.run_id, by="test")
        wait_until(lambda: status(mine.run_id) == "completed", what="the end of the run")
        assert time.monotonic() - began <= PROMISED_SECONDS
        again = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
        wait_until(lambda: status(again.run_id) != "queued", what="another try on the share")
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        assert time.monotonic() - began <= PROMISED_SECONDS
    app.state.close()


def test_a_command_on_a_silent_share_ends_with_what_is_wrong(
    plant: Plant, folders: tuple[Path, Path]
) -> None:
    plant.env |= {"P3DSYNC_SOURCE_DEADLINE_SECONDS": "1"}
    with share(folders[0], behind=folders[1]) as made:
        made.silent = True
        process = subprocess.Popen(
            [sys.executable, "-m", "plant3d_sync", "--config", str(plant.config), "--json", "doctor", "mine"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **plant.environment()},
        )
        out, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "source_silent" in out, (out, err)
    assert "Traceback" not in err
