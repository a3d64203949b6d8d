"""The run table as the queue, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from plant3d_sync.errors import ConfigError, NotFoundError, RetryLaterError
from plant3d_sync.model.side import Direction
from plant3d_sync.state import audit
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.wish import Wish
from tests.support.asking import enqueue
from tests.support.jobs import DEAD, Queueing, together


def ask(jobs: Queueing, project: str = "p", direction: str = "pull", **more: object) -> Run:
    return enqueue(jobs.world, project, direction, by="test", **more)  # type: ignore[arg-type]


def take(jobs: Queueing, *projects: str) -> Run:
    run = queue.claim(jobs.world, jobs.holder, projects or ("p",))
    assert run is not None
    return run


def offline() -> RetryLaterError:
    return RetryLaterError("Plant 3D cannot be reached. Nothing was done.", code="source_away")


def test_fifty_presses_at_once_make_one_waiting_run(jobs: Queueing) -> None:
    queue.cancel(
        jobs.world, ask(jobs).run_id
    )  # the project is known: nothing but its lock orders the presses
    answers = together(*[lambda: ask(jobs, direction="both", trigger="now").run_id] * 50)
    assert len(set(answers)) == 1
    assert jobs.statuses("p") == ["completed", "queued"]


def test_presses_while_a_run_goes_share_one_follow_up_that_waits_for_the_burst_to_end(jobs: Queueing) -> None:
    first = ask(jobs, direction="both", trigger="now")
    running = take(jobs)
    assert running.run_id == first.run_id
    followers = {ask(jobs, direction="both", trigger="now").run_id for _ in range(20)}
    assert queue.complete(jobs.world, running, outcome="clean", result={"stats": {}})
    assert len(followers) == 1
    assert queue.claim(jobs.world, jobs.holder, ["p"]) is None, "the burst is not over"
    jobs.clock.pass_(queue.NOW_SPACING)
    assert take(jobs).run_id in followers


def test_a_second_request_widens_the_waiting_run(jobs: Queueing) -> None:
    one = ask(jobs, entity_types=["lines"])
    two = ask(jobs, direction="push", entity_types=["valves"], asset_ids=["b", "a"], full=True)
    assert two.run_id == one.run_id
    wish = Wish.of(two)
    assert (wish.direction, wish.entity_types, wish.full, wish.asset_ids) == (
        Direction.BOTH,
        ("lines", "valves"),
        True,
        ("a", "b"),
    )


def test_a_push_of_everything_is_not_narrowed_by_a_push_of_one_asset(jobs: Queueing) -> None:
    ask(jobs, direction="push")
    assert Wish.of(ask(jobs, direction="push", asset_ids=["a"])).asset_ids is None


def test_a_preview_never_becomes_a_write_by_joining(jobs: Queueing) -> None:
    preview = ask(jobs, dry_run=True)
    with pytest.raises(RetryLaterError) as refused:
        ask(jobs)
    assert refused.value.error_code == "run_waiting"
    assert jobs.run(preview.run_id).dry_run
    assert len(jobs.runs()) == 1


def test_two_workers_never_claim_the_same_run_nor_the_same_project(jobs: Queueing) -> None:
    names = [f"p{number}" for number in range(4)]
    for name in names:
        ask(jobs, name)
    claimed = [
        run for run in together(*[lambda: queue.claim(jobs.world, jobs.holder, names)] * 8) if run is not None
    ]
    ids = [run.run_id for run in claimed if isinstance(run, Run)]
    assert len(ids) == len(set(ids))
    while (run := queue.claim(jobs.world, jobs.holder, names)) is not None:
        ids.append(run.run_id)
    assert sorted(ids) == sorted(run.run_id for run in jobs.runs())


def test_a_project_with_a_running_run_is_passed_over(jobs: Queueing) -> None:
    ask(jobs)
    take(jobs)
    ask(jobs)
    assert queue.claim(jobs.world, jobs.holder, ["p"]) is None
    assert jobs.statuses("p") == ["running", "queued"]


def test_a_project_that_always_fails_does_not_starve_the_others(jobs: Queueing) -> None:
    ask(jobs, "bad")
    jobs.clock.pass_(1)
    ask(jobs, "good")
    first = take(jobs, "bad", "good")
    assert first.project == "bad"
    queue.requeue(jobs.world, first, offline(), interval=300)
    ask(jobs, "bad")
    assert take(jobs, "bad", "good").project == "good"


def test_a_run_that_cannot_be_done_waits_longer_each_time_but_never_longer_than_the_interval(
    jobs: Queueing,
) -> None:
    ask(jobs)
    pauses = []
    for _ in range(6):
        run = take(jobs)
        queue.requeue(jobs.world, run, offline(), interval=480)
        waiting = jobs.run(run.run_id)
        assert waiting.status == "queued"
        assert waiting.error is not None
        assert waiting.error["code"] == "source_away"
        assert waiting.next_try_at is not None
        pauses.append(round(waiting.next_try_at - jobs.clock.now))
        jobs.clock.pass_(pauses[-1])
    assert pauses == [60, 120, 300, 480, 480, 480]


def late(done: int) -> RetryLaterError:
    return RetryLaterError("too long", code="deadline", details={"done": done})


def test_a_run_that_meets_its_deadline_pauses_and_goes_on_as_long_as_it_gets_on(jobs: Queueing) -> None:
    ask(jobs)
    for done in (500, 1, 0, 0, 3, 0, 0, 7):
        run = take(jobs)
        assert queue.requeue(jobs.world, run, late(done), interval=300)
        waiting = jobs.run(run.run_id)
        assert waiting.status == "queued" and waiting.next_try_at is not None
        assert waiting.next_try_at - jobs.clock.now >= 60
        assert queue.claim(jobs.world, jobs.holder, ["p"]) is None, "no loop without a pause"
        jobs.clock.now = waiting.next_try_at


def test_a_run_that_never_gets_on_before_its_deadline_ends_after_three_times(jobs: Queueing) -> None:
    ask(jobs)
    pauses = []
    for _ in range(queue.FRUITLESS_LIMIT):
        run = take(jobs)
        assert queue.requeue(jobs.world, run, late(0), interval=300)
        next_try = jobs.run(run.run_id).next_try_at
        if next_try is not None:
            pauses.append(next_try - jobs.clock.now)
            jobs.clock.now = next_try
    assert pauses == [60, 120]
    (ended,) = jobs.runs("p")
    assert (ended.status, ended.outcome) == ("failed", "failed")
    assert ended.error is not None
    assert ended.error["code"] == "deadline_no_progress"
    assert "P3DSYNC_RUN_DEADLINE_MINUTES" in ended.error["hint"]


def test_a_person_who_asks_again_does_not_sit_out_the_pause(jobs: Queueing) -> None:
    run = ask(jobs)
    queue.requeue(jobs.world, take(jobs), offline(), interval=600)
    assert queue.claim(jobs.world, jobs.holder, ["p"]) is None
    ask(jobs, trigger="schedule")
    assert queue.claim(jobs.world, jobs.holder, ["p"]) is None
    ask(jobs)
    assert take(jobs).run_id == run.run_id


def test_one_who_was_away_too_long_cannot_end_a_run_that_another_carries_on(jobs: Queueing) -> None:
    ask(jobs)
    sleeper = take(jobs)
    queue.release(jobs.world, sleeper)
    other = take(jobs)
    assert other.run_id == sleeper.run_id
    assert not queue.fail(jobs.world, sleeper, ConfigError("too late"))
    assert not queue.requeue(jobs.world, sleeper, offline(), interval=60)
    assert not queue.complete(jobs.world, sleeper, outcome="clean", result={})
    assert not queue.beat(jobs.world, sleeper, phase="write", done=1, total=2)
    assert queue.beat(jobs.world, other, phase="write", done=1, total=2)
    assert jobs.run(other.run_id).status == "running"


def test_a_request_that_came_while_a_run_is_interrupted_is_covered_by_it(jobs: Queueing) -> None:
    old = ask(jobs, entity_types=["lines"])
    run = take(jobs)
    later = ask(jobs, entity_types=["valves"], full=True)
    queue.release(jobs.world, run)
    assert jobs.statuses("p") == ["queued", "completed"]
    assert jobs.run(later.run_id).result == {"continued_by": old.run_id}
    wish = Wish.of(jobs.run(old.run_id))
    assert wish.full
    assert wish.entity_types == ("lines", "valves")


def test_cancelling_a_waiting_run_ends_it_and_a_running_one_is_asked_to_stop(jobs: Queueing) -> None:
    running = ask(jobs)
    take(jobs)
    waiting = ask(jobs)
    assert queue.cancel(jobs.world, waiting.run_id).outcome == "cancelled"
    asked = queue.cancel(jobs.world, running.run_id)
    assert (asked.status, asked.cancel_requested) == ("running", True)
    queue.release(jobs.world, asked)
    assert jobs.run(running.run_id).outcome == "cancelled"
    with pytest.raises(NotFoundError):
        queue.cancel(jobs.world, "nonsense")
    with jobs.world.state.read() as connection:
        told = [(entry["action"], entry["run"]) for entry in audit.entries(connection, "p", limit=2)]
    assert told == [("run.cancelled", running.run_id), ("run.cancelled", waiting.run_id)]


def test_a_silent_run_is_carried_on_after_lease_and_ten_seconds_not_before(jobs: Queueing) -> None:
    ask(jobs)
    run = queue.claim(jobs.world, DEAD, ["p"])
    assert run is not None
    jobs.clock.pass_(jobs.world.lease_seconds + queue.STALE_GRACE - 1)
    assert queue.recover_stale(jobs.world) == []
    jobs.clock.pass_(2)
    (found,) = queue.recover_stale(jobs.world)
    assert (found.run_id, found.status) == (run.run_id, "queued")
    assert take(jobs).attempts == 2


def test_a_silent_run_whose_lease_is_held_is_left_alone(jobs: Queueing) -> None:
    ask(jobs)
    run = queue.claim(jobs.world, DEAD, ["p"])
    assert run is not None
    with Lease(jobs.world.state, "p", run.run_id):
        jobs.clock.pass_(3600)
        assert queue.recover_stale(jobs.world) == []
    assert len(queue.recover_stale(jobs.world)) == 1


def test_a_run_that_loses_five_workers_in_a_row_ends_as_abandoned(jobs: Queueing) -> None:
    asked = ask(jobs)
    for _ in range(queue.LOST_LIMIT):
        assert queue.claim(jobs.world, DEAD, ["p"]) is not None
        jobs.clock.pass_(3600)
        queue.recover_stale(jobs.world)
    run = jobs.run(asked.run_id)
    assert (run.status, run.outcome) == ("failed", "failed")
    assert run.error is not None
    assert run.error["code"] == "abandoned"


def test_a_run_by_hand_whose_process_is_gone_is_ended_not_repeated(jobs: Queueing) -> None:
    run = ask(jobs)
    take(jobs)
    jobs.set_run(run.run_id, options=None, trigger="cli")
    jobs.clock.pass_(3600)
    (found,) = queue.recover_stale(jobs.world)
    assert (found.status, found.error and found.error["code"]) == ("failed", "abandoned")


def test_requests_claims_and_losses_at_once_never_leave_two_running_or_two_waiting_runs(
    jobs: Queueing,
) -> None:
    def requester() -> None:
        for _ in range(15):
            ask(jobs)

    def worker() -> None:
        for _ in range(15):
            run = queue.claim(jobs.world, jobs.holder, ["p"])
            with jobs.world.state.read() as connection:
                rows = connection.execute(
                    sa.text(
                        "SELECT status, count(*) FROM run WHERE status IN ('running', 'queued') GROUP BY 1"
                    )
                ).all()
            assert all(count == 1 for _, count in rows), rows
            if run is not None:
                queue.release(jobs.world, run)

    together(requester, requester, worker, worker)
    assert set(jobs.statuses("p")) <= {"queued", "completed"}
    assert jobs.statuses("p").count("queued") == 1
