"""A run ends when it is asked to, wherever it is: neither a SYNAPSE nor a share that says nothing any more holds it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from plant3d_sync.bootstrap import App
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.run.engine import Cancelled, Engine, Request
from plant3d_sync.state import runs
from plant3d_sync.usecases import queue
from plant3d_sync.worker.main import Worker
from plant3d_sync.worker.process import Stop
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant, wait_until
from tests.support.share import share
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread

LONG = "900"
"""Seconds after which a call that nobody ends would end by itself: longer than any of these tests may take."""


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    made = build_plant(tmp_path, synapse, ["mine"], items=10)
    made.env |= {"P3DSYNC_HTTP_TIMEOUT_SECONDS": LONG}
    return made


@contextmanager
def silent() -> Iterator[tuple[str, threading.Event]]:
    """The address of a server that takes a call and never answers, and whether somebody has called."""
    called, over = threading.Event(), threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0.1)
        kept = []

        def listen() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                kept.append(connection)
                connection.settimeout(5)
                if connection.recv(10):
                    called.set()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", called
        finally:
            over.set()
            thread.join(timeout=10)
            for connection in kept:
                connection.close()


@pytest.fixture
def held(plant: Plant) -> Iterator[tuple[App, threading.Event]]:
    """A project whose SYNAPSE takes every call and answers none."""
    with silent() as (url, called):
        app = plant.app()
        app.config.synapse.url = url
        yield app, called
        app.state.close()


def see(app: App, run_id: str) -> runs.Run:
    with app.state.read() as connection:
        run = runs.get(connection, run_id)
    assert run is not None
    return run


def ends(work: threading.Thread) -> bool:
    """Whether it ends at all: nothing but being asked ends it."""
    work.join(timeout=60)
    return not work.is_alive()


def test_a_run_that_waits_for_an_answer_ends_when_it_is_cancelled(
    held: tuple[App, threading.Event],
) -> None:
    app, called = held
    run = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
    worker = Worker(app)
    work = threading.Thread(target=lambda: worker.work(burst=True))
    work.start()
    assert called.wait(30)
    queue.cancel(app.world(), run.run_id, by="test")
    wait_until(lambda: see(app, run.run_id).status != "running", what="the end of the run")
    assert ends(work)
    ended = see(app, run.run_id)
    assert (ended.status, ended.outcome) == ("completed", "cancelled")


def test_a_worker_whose_run_waits_for_an_answer_ends_when_it_is_stopped(
    held: tuple[App, threading.Event],
) -> None:
    app, called = held
    run = enqueue(app.world(), "mine", "pull", trigger="api", by="test")
    stop = Stop()
    worker = Worker(app, stop=stop)
    work = threading.Thread(target=worker.work)
    work.start()
    assert called.wait(30)
    stop.ask()
    assert ends(work)
    assert see(app, run.run_id).status == "queued", "the run waits for another worker"


def test_a_run_that_waits_for_an_answer_ends_at_its_deadline(held: tuple[App, threading.Event]) -> None:
    app, _called = held
    request = Request(deadline=time.monotonic() + 1)
    with pytest.raises(RetryLaterError) as late:
        Engine(app.world(), app.project("mine")).run(request)
    assert late.value.error_code == "deadline"


def test_a_run_that_pauses_between_two_tries_ends_when_it_is_stopped(plant: Plant) -> None:
    """Nobody listens there; the next try would be in half an hour."""
    plant.env |= {"SYNC_RETRY_ATTEMPTS": "3", "SYNC_RETRY_DELAY_SECONDS": "1800"}
    app = plant.app()
    app.config.synapse.url = "http://127.0.0.1:9"
    request = Request()
    errors: list[Exception] = []

    def run() -> None:
        try:
            Engine(app.world(), app.project("mine")).run(request)
        except (RetryLaterError, Cancelled) as error:
            errors.append(error)

    work = threading.Thread(target=run)
    work.start()
    wait_until(lambda: bool(app.state) and work.is_alive(), what="the run")
    time.sleep(1)
    request.deadline = 0.0
    assert ends(work)
    assert [getattr(error, "error_code", "") for error in errors] == ["deadline"]
    app.state.close()


@pytest.fixture
def two(tmp_path: Path, synapse: RunningSynapse) -> Iterator[App]:
    """`away` lies on a share that hangs, `mine` does not."""
    plant = build_plant(tmp_path, synapse, ["away", "mine"], items=10)
    folder = tmp_path / "share"
    folder.mkdir()
    with share(folder) as made:
        made.silent = True
        app = plant.app()
        app.config.projects["away"].source = str(folder / "ProcessPower.dcf")
        yield app
        app.state.close()


def test_a_share_that_hangs_holds_neither_a_cancel_nor_the_other_projects(two: App) -> None:
    run = enqueue(two.world(), "away", "pull", trigger="api", by="test")
    other = enqueue(two.world(), "mine", "pull", trigger="api", by="test")
    worker = Worker(two)
    work = threading.Thread(target=lambda: worker.work(burst=True), daemon=True)
    work.start()
    wait_until(lambda: see(two, run.run_id).status == "running", what="the run on the share")
    time.sleep(1)
    queue.cancel(two.world(), run.run_id, by="test")
    wait_until(lambda: see(two, run.run_id).status != "running", what="the end of the run")
    assert see(two, run.run_id).outcome == "cancelled"
    work.join(timeout=60)
    assert see(two, other.run_id).status == "completed"


def test_a_share_that_hangs_is_left_when_its_time_is_over_and_said_so(
    two: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plant3d_sync.connectors.plant3d.helper.SPARE", 0.0)
    monkeypatch.setattr("plant3d_sync.connectors.plant3d.reading.open.LOOK_SECONDS", 1.0)
    with pytest.raises(RetryLaterError) as late:
        Engine(two.world(), two.project("away")).run(Request())
    assert late.value.error_code == "source_silent"
