"""What lies on a share is written by a process of its own. It hangs, or is killed, at any step: the run ends at once, and the
next one ends where an undisturbed one would, each cell written once.

A process that is stopped stands for one that hangs in a call; a folder of drawings that lies on no disk makes the project
one on a share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.state import runs
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.both_ways import UP, edited, end, whole_again
from tests.support.jobs import wait_until
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import cell, ok, small_worlds
from tests.support.world import NAME, SOURCE, MakeWorld, Row, World

NO_DISK = "/proc/tty"
pytestmark = pytest.mark.skipif(
    not os.path.isdir(NO_DISK), reason="needs a file system that is no disk: /proc"
)

POINTS = (
    "push.before_begin",
    "push.begun",
    "push.expected_read",
    "push.updated",
    "push.before_commit",
    "push.committed",
    "push.read_back",
)
"""Points that the process passes which writes."""


def each_point(in_every_run: str) -> list[object]:
    return [one if one == in_every_run else pytest.param(one, marks=pytest.mark.long) for one in POINTS]


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    make = small_worlds(tmp_path, reference_synapse)
    return lambda **options: make(**{"drawings": NO_DISK, **options})


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Row]:
    return {}


def reference(make_small: MakeWorld, known: dict[str, Row]) -> Row:
    if not known:
        world = edited(make_small, "undisturbed")
        ok(world.process("now", NAME))
        known["now"] = end(world)
        assert len(known["now"]["journal"]) == len(UP)
    return known["now"]


@contextmanager
def at_work(world: World, *words: str, at: str) -> Iterator[subprocess.Popen[str]]:
    """A command whose writing process stands still at a point; the block begins when it does."""
    trace = world.folder / "trace"
    with (world.folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), *words],
            stdout=said,
            stderr=said,
            text=True,
            cwd=world.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(SOURCE),
                **world.environment({}),
                "P3DSYNC_TEST": "1",
                "P3DSYNC_FAILPOINTS": f"{at}:1:stop",
                "P3DSYNC_FAILPOINT_TRACE": str(trace),
            },
        )
        try:
            wait_until(lambda: trace.exists() and at in trace.read_text().split(), what=at)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=30)


@contextmanager
def app_of(world: World) -> Iterator[App]:
    app = make_app(world.config, world.environment({}))
    try:
        yield app
    finally:
        app.state.close()


def last_run(app: App) -> runs.Run:
    with app.state.read() as connection:
        return runs.history(connection, NAME, limit=1)[0]


@pytest.mark.parametrize("point", each_point("push.updated"))
def test_a_write_that_hangs_is_ended_by_a_cancel_and_the_next_run_ends_where_an_undisturbed_one_would(
    make_small: MakeWorld, undisturbed: dict[str, Row], point: str
) -> None:
    expected = reference(make_small, undisturbed)
    world = edited(make_small, "hangs")
    with at_work(world, "now", NAME, at=point) as process, app_of(world) as app:
        queue.cancel(app.world(), last_run(app).run_id, by="test")
        process.wait(timeout=30)
        assert last_run(app).outcome == "cancelled"
    assert "Traceback" not in (world.folder / "said").read_text()
    whole_again(world, expected)


def test_a_push_that_is_cancelled_between_two_items_writes_no_further_one(
    make_small: MakeWorld, undisturbed: dict[str, Row]
) -> None:
    """On a disk of our own nobody is killed: the run itself asks before each item."""
    expected = reference(make_small, undisturbed)
    world = edited(lambda **options: make_small(**{"drawings": None, **options}), "between")
    with at_work(world, "now", NAME, at="push.committed") as process, app_of(world) as app:
        queue.cancel(app.world(), last_run(app).run_id, by="test")
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=60)
        assert last_run(app).outcome == "cancelled"
    found = world.rows("SELECT status FROM plant_write ORDER BY id")
    assert [row["status"] for row in found] == ["applied"] + ["waiting"] * (len(UP) - 1)
    whole_again(world, expected)


def test_a_worker_whose_write_hangs_ends_when_it_is_stopped_and_another_one_goes_on(
    make_small: MakeWorld, undisturbed: dict[str, Row]
) -> None:
    expected = reference(make_small, undisturbed)
    world = edited(make_small, "stopped")
    with app_of(world) as app:
        enqueue(app.world(), NAME, "both", trigger="api", by="test")
        with at_work(world, "worker", at="push.updated") as process:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        assert last_run(app).status == "queued", "the run waits for another worker"
        said = world.process("worker", "--burst")
        assert said.code == 0, said.err
        assert last_run(app).status == "completed"
    whole_again(world, expected)


@pytest.mark.parametrize("point", each_point("push.committed"))
def test_a_writing_process_that_dies_is_told_and_the_next_run_ends_where_an_undisturbed_one_would(
    make_small: MakeWorld, undisturbed: dict[str, Row], point: str
) -> None:
    expected = reference(make_small, undisturbed)
    world = edited(make_small, "dies")
    said = world.process("now", NAME, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:1"})
    assert (said.code, said.json["error"]["code"]) == (75, "source_helper"), (said.out, said.err)
    whole_again(world, expected)


def test_nothing_is_written_any_more_once_the_program_is_gone(make_small: MakeWorld) -> None:
    """Also by a process that stood still until then: it ends with who started it."""
    world = edited(make_small, "gone")
    before = cell(world, world.items("equipment")[0].pnpid)
    with at_work(world, "now", NAME, at="push.updated") as process:
        helpers = _children(process.pid)
        assert helpers
        process.kill()
        process.wait(timeout=30)
        for one in helpers:
            os.kill(one, signal.SIGCONT)
        wait_until(lambda: not any(map(_lives, helpers)), what="the end of the writing process")
    wanted = world.items("equipment")[0].pnpid
    assert cell(world, wanted) == before


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
