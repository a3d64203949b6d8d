"""Killed at any step of a push or of a run both ways: the next run ends where an undisturbed one would have, each
cell written once.

The processes are real and end by SIGKILL. By default every named point is met once; `P3DSYNC_LONG=1` meets every
passage of every point.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from plant3d_sync.failpoints import PULL_POINTS, PUSH_POINTS
from tests.support.both_ways import UP, edited, end, whole_again
from tests.support.faulty_http import Answer, Seen
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    STAMPS,
    at_rest,
    both,
    cell,
    changed_cells,
    kept,
    now,
    ok,
    push,
    redescribed,
    revision,
    small_worlds,
    undone,
    user_describes,
    values_only,
)
from tests.support.world import NAME, SOURCE, MakeWorld, Recorder, Row, World, recorded

KILLED = -signal.SIGKILL
ELSEWHERE = {
    "recover.receipts_stored": "only after a crash: test_killed_again_while_recovering",
    "resolve.stored": "only in `resolve`: test_killed_after_a_choice_was_stored",
}
"""Points that this scenario cannot meet."""

RUN_POINTS = [point for point in PULL_POINTS + PUSH_POINTS if point not in ELSEWHERE]

OURS = ("push.", "pull.reply_received", "pull.bookkeeping_stored", "run.before_finish")
"""Points that every run of the tests kills here; the others are killed in a pull by its own tests, and here in long runs."""


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


def killed(world: World, *words: str, at: str) -> None:
    said = world.apart(*words, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": at})
    assert said.code == KILLED, f"{at} was not met: {said.code} {said.err}"


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Row]:
    """Ends of runs that nobody killed, by command."""
    return {}


def reference(make_small: MakeWorld, known: dict[str, Row], command: str) -> Row:
    if command not in known:
        world = edited(make_small, "undisturbed")
        ok(world.cli(command, NAME))
        known[command] = end(world)
        assert len(known[command]["journal"]) == len(UP)
    return known[command]


@pytest.mark.parametrize(
    "point",
    [
        point if point.startswith(OURS) and number % 3 == 0 else pytest.param(point, marks=pytest.mark.long)
        for number, point in enumerate(RUN_POINTS)
    ],
)
def test_killed_at_each_point_of_a_run_both_ways_the_next_run_ends_where_an_undisturbed_one_would(
    make_small: MakeWorld, undisturbed: dict[str, Row], point: str
) -> None:
    expected = reference(make_small, undisturbed, "now")
    world = edited(make_small, "killed")
    killed(world, "now", NAME, at=f"{point}:1")
    whole_again(world, expected)


def passages(world: World, trace: Path, *words: str) -> list[str]:
    """name:n of every passage of a run that is not killed."""
    said = world.apart(*words, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINT_TRACE": str(trace)})
    assert said.code == 0, said.err
    counts: Counter[str] = Counter()
    found = []
    for name in trace.read_text().split():
        counts[name] += 1
        found.append(f"{name}:{counts[name]}")
    return found


@pytest.mark.long
@pytest.mark.parametrize("command", ["now", "push"])
def test_killed_at_every_passage_of_every_point(
    make_small: MakeWorld, undisturbed: dict[str, Row], tmp_path: Path, command: str
) -> None:
    expected = reference(make_small, undisturbed, command)
    found = passages(edited(make_small, "traced"), tmp_path / "trace", command, NAME)
    assert len(found) > 40 if command == "now" else 30
    wrong = []
    for number, at in enumerate(found):
        world = edited(make_small, f"killed{number}")
        killed(world, command, NAME, at=at)
        try:
            whole_again(world, expected)
        except AssertionError as error:
            wrong.append(f"{at}: {str(error)[:300]}")
    assert wrong == []


def test_every_point_of_a_push_is_met_by_this_scenario_or_by_a_test_of_its_own(
    make_small: MakeWorld, tmp_path: Path
) -> None:
    met = {at.split(":")[0] for at in passages(edited(make_small, "traced"), tmp_path / "trace", "now", NAME)}
    assert met == set(RUN_POINTS), (set(RUN_POINTS) - met, met - set(RUN_POINTS))
    assert set(ELSEWHERE) <= {*PULL_POINTS, *PUSH_POINTS}
    here = globals()
    for why in ELSEWHERE.values():
        assert why.split(": ")[1] in here


def test_a_cell_committed_before_the_receipt_is_found_and_not_written_again(make_small: MakeWorld) -> None:
    world = edited(make_small, "killed")
    pnpid = world.items("equipment")[0].pnpid
    before = kept(world)
    start = revision(world, pnpid)
    killed(world, "push", NAME, at="push.committed:1")
    (first,) = {key[1] for key in values_only(changed_cells(before, world.dcf))}
    report = now(world)
    assert report["found_applied"] == {"synapse": 0, "plant3d": 1}
    assert ok(world.cli("show", report["run_id"]))["found_applied"] == report["found_applied"]
    outcomes = world.rows("SELECT pnpid, outcome FROM change WHERE side = 'plant3d' ORDER BY pnpid")
    assert Counter(row["outcome"] for row in outcomes) == {"found_applied": 1, "applied": 2}
    (found,) = [row["pnpid"] for row in outcomes if row["outcome"] == "found_applied"]
    assert found == first
    assert revision(world, pnpid) == start + 1
    at_rest(world)
    (change,) = world.rows("SELECT run_id FROM change WHERE outcome = 'found_applied'")
    (killed_run,) = world.rows("SELECT id, status, outcome FROM run WHERE id = ?", change["run_id"])
    assert killed_run["status"] != "running", (
        "the write belongs to the run that made it, and that run is over"
    )


@pytest.mark.parametrize("first", ["push.committed:2", "pull.reply_received:1"])
def test_killed_again_while_recovering(
    make_small: MakeWorld, undisturbed: dict[str, Row], first: str
) -> None:
    expected = reference(make_small, undisturbed, "now")
    world = edited(make_small, "killed")
    killed(world, "now", NAME, at=first)
    killed(world, "now", NAME, at="recover.receipts_stored:1")
    whole_again(world, expected)


def test_killed_after_a_choice_was_stored(make_small: MakeWorld) -> None:
    world = make_small(conflict={"policy": "ask"})
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "User's")
    redescribed(world, pnpid, "Designer's")
    now(world, code=3)
    (conflict,) = world.conflicts()
    killed(world, "resolve", conflict["id"], "synapse", at="resolve.stored")
    now(world)
    assert both(world, pnpid) == ("User's", "User's")
    at_rest(world)


def test_killed_while_carrying_out_a_choice(make_small: MakeWorld) -> None:
    world = make_small(conflict={"policy": "ask"})
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "User's")
    redescribed(world, pnpid, "Designer's")
    now(world, code=3)
    (conflict,) = world.conflicts()
    killed(world, "resolve", conflict["id"], "manual", "--value", "Third", at="pull.reply_received:1")
    for _ in range(2):
        now(world)
    assert both(world, pnpid) == ("Third", "Third")
    at_rest(world)


def test_killed_while_applying_an_undo(make_small: MakeWorld) -> None:
    world = make_small()
    world.pulled()
    pnpid = world.items("lines")[0].pnpid
    old, start = cell(world, pnpid), revision(world, pnpid)
    user_describes(world, pnpid, "Pushed")
    run = push(world)
    plan = undone(world, run["run_id"])["plan_id"]
    killed(world, "apply", plan, at="push.committed:1")
    for _ in range(2):
        now(world)
    assert both(world, pnpid) == (old, "Pushed"), "undone, held, and not pushed again"
    assert revision(world, pnpid) == start + 2
    at_rest(world)


# ---------------------------------------------------------------- two at once, and answers that get lost


def test_two_processes_at_once_write_each_cell_once(
    make_small: MakeWorld, undisturbed: dict[str, Row]
) -> None:
    expected = reference(make_small, undisturbed, "now")
    world = edited(make_small, "two")
    command = [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), "--json", "now", NAME]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **world.environment({})}
    both_of_them = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    codes = sorted(process.wait(timeout=120) for process in both_of_them)
    for process in both_of_them:
        process.communicate()
    assert codes in ([0, 0], [0, 75]), codes
    whole_again(world, expected)


@pytest.mark.parametrize("attempts", ["1", "3"], ids=["seen by the next run", "repeated with the same key"])
def test_a_lost_answer_of_synapse_leaves_no_second_write(
    make_small: MakeWorld, undisturbed: dict[str, Row], attempts: str
) -> None:
    expected = reference(make_small, undisturbed, "now")
    world = edited(make_small, "lost")
    lost: list[str] = []

    def lose(seen: Seen, answer: Answer) -> Answer:
        if seen.target.endswith("/assets/batch") and not lost:
            lost.append(seen.headers["idempotency-key"])
            return Answer(silent=True)
        return answer

    with recorded(world) as recorder:
        assert isinstance(recorder, Recorder)
        recorder.edit = lose
        said = world.cli("now", NAME, env={"SYNC_RETRY_ATTEMPTS": attempts})
        assert said.code == (75 if attempts == "1" else 0), (said.code, said.err)
    assert len(lost) == 1
    whole_again(world, expected)


def test_the_stamps_of_the_comparison_are_the_only_thing_left_out() -> None:
    assert STAMPS == ("PnPTimestamp", "PnPRevision")
