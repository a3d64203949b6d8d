"""A SYNAPSE that never lets a run get on: the run ends, says what it saw, and may be ended meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.bootstrap import App
from plant3d_sync.connectors.base import ChangePage, CursorReset
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.state import projects as project_state
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.jobs import Plant, build_plant
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=40)


@pytest.fixture
def app(plant: Plant) -> Iterator[App]:
    made = plant.app()
    yield made
    made.state.close()


class Between:
    """The real SYNAPSE; something happens each time a page of changes was read."""

    def __init__(self, port: Any, then: Any) -> None:
        self._port, self._then = port, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def changes(self, cursor: str | None, **options: Any) -> Iterator[ChangePage]:
        for page in self._port.changes(cursor, **options):
            self._then()
            yield page


def engine(app: App, then: Any) -> Engine:
    project = app.project("mine")
    project.synapse = Between(project.synapse, then)  # type: ignore[assignment]
    return Engine(app.world(), project)


def test_a_history_that_breaks_again_and_again_is_left_after_the_second_time(app: App) -> None:
    read: list[None] = []

    def breaks() -> None:
        read.append(None)
        raise CursorReset("cursor_reset")

    with pytest.raises(RetryLaterError) as caught:
        engine(app, breaks).run(Request())
    assert caught.value.error_code == "synapse_answer_unusable"
    assert caught.value.details["resets"] == len(read) == 2


def test_a_history_that_breaks_once_is_read_again(app: App, plant: Plant) -> None:
    read: list[None] = []

    def breaks_once() -> None:
        read.append(None)
        if len(read) == 1:
            raise CursorReset("cursor_reset")

    assert engine(app, breaks_once).run(Request()).outcome == "clean"
    assert len(plant.assets("mine")) == 40


def test_a_run_is_ended_between_two_pages(app: App) -> None:
    """Told to hurry, and by a person; what was read before need not be read again."""
    Engine(app.world(), app.project("mine")).run(Request())
    request = Request(run_id=enqueue(app.world(), "mine", "pull", by="test").run_id, attempt=1)
    claimed = queue.claim(app.world(), "{}", ["mine"])
    assert claimed is not None
    request.deadline = time.monotonic() + 3600

    with pytest.raises(RetryLaterError) as caught:
        engine(app, request.hurry.set).run(request)
    assert caught.value.error_code == "deadline"
    request.deadline = None
    request.hurry.clear()
    report = engine(app, lambda: queue.cancel(app.world(), claimed.run_id)).run(request)
    assert report.outcome == "cancelled"
    with app.state.read() as connection:
        known = project_state.get(connection, "mine")
    assert known is not None and known.force_compare
