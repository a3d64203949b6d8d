"""Who may take what over: real processes, in PID namespaces of their own as containers have them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

import plant3d_sync
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.state import State
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.whose import holder_name, is_alive
from plant3d_sync.usecases import queue
from tests.support.asking import enqueue
from tests.support.jobs import Queueing, queueing

SOURCE = str(Path(plant3d_sync.__file__).parents[1])
APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A process tree with process numbers of its own, under the same host name: what two containers look like."""

HOLD = """
import sys
from plant3d_sync.state import State
from plant3d_sync.state.lease import Lease
with Lease(State(sys.argv[1]), "mine", "inner", seconds=60):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKE = """
import sys
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.state import State
from plant3d_sync.state.lease import Lease
try:
    with Lease(State(sys.argv[1]), "mine", "other", seconds=60):
        print("taken")
except RetryLaterError as error:
    print(error.error_code)
"""
CLAIM = """
import sys
from plant3d_sync.state import State
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.run.project import World
run = queue.claim(World(state=State(sys.argv[1])), holder_name("worker"), ["mine"])
print(holder_name("worker"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def apart() -> Sequence[str]:
    try:
        able = subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        able = False
    if not able:
        pytest.skip("no PID namespaces here (unshare): two containers of one host name were NOT tried")
    return APART


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Queueing]:
    with queueing(f"sqlite:///{tmp_path / 'state.db'}") as made:
        yield made


@contextmanager
def process(
    program: str, state: State, before: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A program beside us and its first line; it ends with the block."""
    url = state.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [*before, sys.executable, "-c", program, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip(), running
        finally:
            running.kill()


def test_a_lease_in_another_pid_namespace_holds_although_host_name_and_number_look_dead(
    jobs: Queueing, apart: Sequence[str]
) -> None:
    state = jobs.world.state
    with process(HOLD, state, apart) as (said, _):
        assert said == "held"
        with pytest.raises(RetryLaterError, match="inner"), Lease(state, "mine", "outer"):
            pass
        with process(TAKE, state, apart) as (said, _):
            assert said == "project_busy"


def test_a_lease_of_ours_holds_for_a_process_in_another_pid_namespace(
    jobs: Queueing, apart: Sequence[str]
) -> None:
    with Lease(jobs.world.state, "mine", "outer"), process(TAKE, jobs.world.state, apart) as (said, _):
        assert said == "project_busy"


def test_a_run_claimed_in_another_pid_namespace_is_left_to_its_claimer(
    jobs: Queueing, apart: Sequence[str]
) -> None:
    enqueue(jobs.world, "mine", "pull", by="test")
    with process(CLAIM, jobs.world.state, apart) as (holder, _):
        (run,) = jobs.runs()
        assert (run.status, is_alive(holder)) == ("running", None)
        jobs.clock.now = run.heartbeat_at or 0.0
        assert queue.recover_stale(jobs.world) == []


def test_a_process_of_our_own_is_known_to_live_and_to_be_gone_however_its_clock_was_set(
    jobs: Queueing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil tells the start by the clock of the day: that moves when the clock is set."""
    import psutil

    enqueue(jobs.world, "mine", "pull", by="test")
    with process(CLAIM, jobs.world.state) as (holder, running):
        assert is_alive(holder) is True
        born = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: born(self) + 86_400)
        assert is_alive(holder) is True
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert is_alive(holder) is False


@pytest.mark.parametrize("changed", ["host", "boot", "space", "born"])
def test_nothing_but_the_same_process_number_of_the_same_boot_and_namespace_proves_a_death(
    changed: str,
) -> None:
    me = orjson.loads(holder_name("r"))
    gone = me | {"pid": 2**22 + 1}
    assert is_alive(orjson.dumps(gone).decode()) is False
    assert is_alive(orjson.dumps(gone | {changed: None}).decode()) is None
    assert is_alive(orjson.dumps(me | {"born": me["born"] - 100}).decode()) is False, (
        "the number was given again"
    )
    assert is_alive(orjson.dumps(me).decode()) is True


def test_what_an_older_version_wrote_proves_nothing() -> None:
    me = orjson.loads(holder_name("r"))
    old = {"host": me["host"], "pid": 2**22 + 1, "born": 1.0, "run": "r"}
    assert is_alive(orjson.dumps(old).decode()) is None
