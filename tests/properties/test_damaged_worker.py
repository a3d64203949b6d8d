"""One damaged file after the other is run: none ends a worker, and the project waits or goes on."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.bootstrap import App
from plant3d_sync.errors import SyncError
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.state import runs
from plant3d_sync.worker.main import Worker
from tests.properties.test_damaged_sources import DAMAGES, OURS
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

WHOLE = Request(asked=Asked(direction=Direction.BOTH, full=True))


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=20)


@pytest.fixture
def app(plant: Plant) -> Iterator[App]:
    made = plant.app()
    yield made
    made.state.close()


def outcome_of_a_run(app: App) -> str:
    """What a run comes to. Whatever is no error of ours ends a worker, and so this."""
    try:
        return Engine(app.world(), app.project("mine")).run(WHOLE).outcome
    except SyncError as error:
        assert error.exit_code in OURS
        return error.error_code


def played(app: App, plant: Plant, seeds: range) -> Counter[str]:
    path = plant.folder / "mine.dcf"
    healthy = path.read_bytes()
    beside = sorted(os.listdir(plant.folder))
    found: Counter[str] = Counter()
    for seed in seeds:
        chance = random.Random(seed)
        data = bytearray(healthy)
        DAMAGES[seed % len(DAMAGES)](chance, data)
        path.write_bytes(data)
        found[outcome_of_a_run(app)] += 1
        assert path.read_bytes() == data, f"seed {seed} changed the source"
        new = set(os.listdir(plant.folder)) - set(beside)
        assert not {name for name in new if "mine.dcf" in name}, (
            f"seed {seed} left something beside the source"
        )
    path.write_bytes(healthy)
    return found


def test_no_damaged_file_ends_a_run_but_by_an_error_of_ours(app: App, plant: Plant) -> None:
    found = played(app, plant, range(14))
    assert found["source_damaged"] > 2, found
    assert outcome_of_a_run(app) in ("clean", "with_issues", "guarded"), "a whole file is there again"


def test_a_worker_given_a_damaged_file_waits_and_goes_on_with_a_whole_one(app: App, plant: Plant) -> None:
    path = plant.folder / "mine.dcf"
    healthy = path.read_bytes()
    noise = bytearray(healthy)
    noise[4096 : 20 * 4096] = random.Random(1).randbytes(19 * 4096)
    path.write_bytes(noise)
    run = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
    worker = Worker(app)
    assert worker.work(burst=True) == 1
    with app.state.read() as connection:
        waiting = runs.get(connection, run.run_id)
    assert waiting is not None and waiting.status == "queued"
    assert (waiting.error or {}).get("code") == "source_damaged"
    path.write_bytes(healthy)
    assert outcome_of_a_run(app) == "clean"


@pytest.mark.long
@pytest.mark.parametrize("block", range(8))
def test_no_damaged_file_of_many_ends_a_worker(app: App, plant: Plant, block: int) -> None:
    found = played(app, plant, range(1000 + block * 50, 1050 + block * 50))
    assert found["source_damaged"] > 5, found
