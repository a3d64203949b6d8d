"""When runs are due: slots, late ticks, retention."""

from __future__ import annotations

import threading
import time
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from plant3d_sync.state import audit, projects, retention, runs
from plant3d_sync.state.runs import Run
from plant3d_sync.state.tables import change, idempotency, intent, plan, run_event, slot
from plant3d_sync.usecases import health, queue
from plant3d_sync.usecases.status import read_status
from plant3d_sync.worker.process import Stop
from plant3d_sync.worker.scheduler import (
    Planned,
    Scheduler,
    Wakes,
    planned_projects,
    prune_when_due,
    slot_of,
    tick,
)
from tests.support.asking import enqueue
from tests.support.jobs import Plant, Queueing, together, wait_until
from tests.support.synapse_dev import RunningSynapse

FIVE = Planned(name="p", interval_ms=300_000, direction="pull")


def slots(jobs: Queueing) -> list[tuple[int, bool]]:
    with jobs.world.state.read() as connection:
        rows = connection.execute(sa.select(slot.c.slot, slot.c.skipped).order_by(slot.c.slot)).all()
    return [(row.slot // 1000, bool(row.skipped)) for row in rows]


def finish(jobs: Queueing) -> None:
    run = queue.claim(jobs.world, jobs.holder, ["p"])
    assert run is not None
    assert queue.complete(jobs.world, run, outcome="clean", result={"stats": {}})


def test_however_many_schedulers_look_a_slot_makes_one_run(jobs: Queueing) -> None:
    answers = together(*[lambda: tick(jobs.world, FIVE)] * 12)
    assert len([answer for answer in answers if answer]) == 1
    assert len(jobs.runs()) == 1


def test_each_slot_makes_one_run_and_looks_in_between_make_none(jobs: Queueing) -> None:
    for _ in range(60):
        if tick(jobs.world, FIVE):
            finish(jobs)
        jobs.clock.pass_(30)
    assert slots(jobs) == [(1_800_000_000 + 300 * n, False) for n in range(6)]
    assert len(jobs.runs()) == 6


def test_after_a_long_pause_the_newest_slot_stands_for_all_missed_ones(jobs: Queueing) -> None:
    tick(jobs.world, FIVE)
    finish(jobs)
    jobs.clock.pass_(300 * 5 + 20)
    tick(jobs.world, FIVE)
    assert len(jobs.runs()) == 2
    assert [skipped for _, skipped in slots(jobs)] == [False, True, True, True, True, False]


def test_slots_that_find_a_run_still_waiting_join_it_and_count_as_skipped(jobs: Queueing) -> None:
    for _ in range(4):
        tick(jobs.world, FIVE)
        jobs.clock.pass_(300)
    assert len(jobs.runs()) == 1
    assert [skipped for _, skipped in slots(jobs)] == [False, True, True, True]


def test_a_run_longer_than_the_interval_leaves_one_run_waiting_not_a_pile(jobs: Queueing) -> None:
    tick(jobs.world, FIVE)
    assert queue.claim(jobs.world, jobs.holder, ["p"]) is not None
    for _ in range(10):
        jobs.clock.pass_(300)
        tick(jobs.world, FIVE)
    assert jobs.statuses("p") == ["running", "queued"]


def test_a_slot_gives_way_to_a_preview_that_waits(jobs: Queueing) -> None:
    enqueue(jobs.world, "p", "pull", dry_run=True, by="test")
    assert tick(jobs.world, FIVE) is None
    assert slots(jobs) == [(1_800_000_000, True)]


def test_a_clock_that_was_a_day_ahead_does_not_silence_the_schedule(jobs: Queueing) -> None:
    jobs.clock.pass_(86_400)
    tick(jobs.world, FIVE)
    finish(jobs)
    jobs.clock.pass_(-86_400)
    assert tick(jobs.world, FIVE)


@pytest.mark.parametrize("years", [3, 30])
@pytest.mark.parametrize("seconds", [0.2, 10.0])
def test_years_that_a_clock_jumped_over_are_one_time_to_wake_up(years: int, seconds: float) -> None:
    """The library asks for every missed time, one by one, and keeps them all."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now = start + timedelta(days=365 * years)
    trigger = Wakes(seconds=seconds, timezone=UTC)
    due: datetime | None = start
    times = []
    while due is not None and due <= now:
        times.append(due)
        assert len(times) < 5
        due = trigger.get_next_fire_time(due, now)
    assert now - times[-1] <= timedelta(seconds=seconds)
    assert due is not None and now < due <= now + timedelta(seconds=seconds)


def test_a_scheduler_whose_clock_jumps_years_ahead_starts_the_next_slot_says_so_and_can_be_ended(
    tmp_path: Path,
) -> None:
    plant = Plant(
        folder=tmp_path,
        synapse=RunningSynapse(url="http://127.0.0.1:9", api_key="k-nothing-listens", project="none"),
        projects={"p": "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"},
        state_url=f"sqlite:///{tmp_path / 'state.db'}",
        options={"p": {"interval_minutes": 0.01}},
    )
    plant.write_config()
    app = plant.app()
    stop = Stop()

    def newest() -> float:
        with app.state.read() as connection:
            found = connection.execute(sa.select(sa.func.max(slot.c.slot))).scalar()
        return (found or 0) / 1000

    def reasons() -> list[str]:
        watched = health.Watched(name="p", active=True, interval=300.0)
        with app.state.read() as connection:
            found = read_status(connection, watched, now=time.time())
        return [reason.code for reason in found.reasons]

    with time_machine.travel(datetime(2026, 6, 1, tzinfo=UTC)) as clock:
        tracemalloc.start()
        scheduler = Scheduler(app, stop=stop)
        thread = threading.Thread(target=scheduler.run)
        thread.start()
        try:
            before = wait_until(newest, what="the first slot")
            clock.shift(timedelta(days=3 * 365))
            wait_until(lambda: newest() > before + 86_400 * 1000, what="a slot after the jump")
            wait_until(lambda: "clock_jumped" in reasons(), what="the jump in the status")
            _, peak = tracemalloc.get_traced_memory()
            assert peak < 50_000_000
        finally:
            stop.ask()
            thread.join(timeout=60)
            tracemalloc.stop()
        assert not thread.is_alive()
    app.state.close()


def test_a_clock_that_is_years_ahead_does_not_prune_what_is_young(jobs: Queueing) -> None:
    old_and_new(jobs)
    assert prune_when_due(jobs.world, 400) is not None
    jobs.clock.pass_(3 * 365 * 86_400)
    assert prune_when_due(jobs.world, 400) is None
    assert "completed-1" in [run.run_id for run in jobs.runs()]
    jobs.clock.pass_(-3 * 365 * 86_400)
    assert prune_when_due(jobs.world, 400) is not None, (
        "nor does it end the daily work once it is right again"
    )
    assert "completed-1" in [run.run_id for run in jobs.runs()]


def test_after_a_long_time_switched_off_pruning_begins_a_day_later(jobs: Queueing) -> None:
    old_and_new(jobs)
    prune_when_due(jobs.world, 400)
    jobs.clock.pass_(3 * 365 * 86_400)
    assert prune_when_due(jobs.world, 400) is None
    jobs.clock.pass_(86_400)
    removed = prune_when_due(jobs.world, 400)
    assert removed is not None and removed["run"] == 1


def test_a_changed_interval_goes_on_with_the_new_slots(jobs: Queueing) -> None:
    tick(jobs.world, FIVE)
    finish(jobs)
    jobs.clock.pass_(60)
    assert tick(jobs.world, Planned(name="p", interval_ms=60_000, direction="pull"))


@pytest.mark.parametrize("day", [datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 3, 14, tzinfo=UTC)])
def test_hours_in_which_clocks_change_in_toronto_have_twelve_slots_like_any_other(
    jobs: Queueing, day: datetime
) -> None:
    made = 0
    for minute in range(4 * 60, 9 * 60, 2):  # the change is at 06:00 and at 07:00 UTC
        jobs.clock.now = (day + timedelta(minutes=minute)).timestamp()
        if tick(jobs.world, FIVE):
            made += 1
            finish(jobs)
    assert made == 5 * 12


@given(st.floats(0, 4e9), st.integers(1, 86_400_000))
def test_a_moment_lies_in_its_slot(now: float, interval: int) -> None:
    begin = slot_of(now, interval)
    assert begin <= now * 1000 < begin + interval


def test_inactive_projects_are_left_out_and_a_project_may_have_its_own_interval(tmp_path: Path) -> None:
    plant = Plant(
        folder=tmp_path,
        synapse=RunningSynapse(url="http://127.0.0.1:9", api_key="k-nothing-listens", project="none"),
        projects={name: str(uuid.uuid4()) for name in ("on", "off", "own")},
        state_url=f"sqlite:///{tmp_path / 'state.db'}",
        options={"off": {"active": False}, "own": {"interval_minutes": 30, "direction": "both"}},
    )
    plant.write_config()
    found = {item.name: (item.interval_ms, item.direction) for item in planned_projects(plant.app())}
    assert found == {"on": (300_000, "pull"), "own": (1_800_000, "both")}


# ---------------------------------------------------------------- retention


def old_and_new(jobs: Queueing) -> None:
    """The same at 500 days of age and now."""
    for number, age in enumerate((500 * 86_400.0, 0.0)):
        at = jobs.clock.now - age
        with jobs.world.state.write() as connection:
            projects.ensure(connection, "p")
            for status in ("completed", "queued"):
                run_id = f"{status}-{number}"
                runs.insert(
                    connection,
                    Run(run_id=run_id, project="p", direction="pull", status=status, created_at=at),
                )
                runs.event(connection, run_id, "queued", at)
                runs.put_errors(connection, run_id, [{"code": "x"}])
                if status == "completed":
                    runs.update(connection, run_id, completed_at=at)
            for status in ("applied", "guarded"):
                connection.execute(
                    sa.insert(plan).values(
                        id=f"{status}-{number}",
                        project="p",
                        direction="pull",
                        status=status,
                        created_at=at,
                        fingerprint="f",
                        mapping_digest="m",
                        header="{}",
                        lines=0,
                        chunks=0,
                    )
                )
            connection.execute(
                sa.insert(change),
                [
                    {
                        "project": 1,
                        "run_id": f"completed-{number}",
                        "intent_id": 1,
                        "pnpid": line,
                        "tag": "t",
                        "side": "synapse",
                        "op": "update",
                        "outcome": "updated",
                        "fields": "{}",
                        "at": at,
                    }
                    for line in range(1200)
                ],
            )
            for status in ("done", "not_applied", "open"):
                connection.execute(
                    sa.insert(intent).values(
                        project="p",
                        run_id=f"completed-{number}",
                        plan_id="p",
                        side="synapse",
                        fence=1,
                        idempotency_key=f"{status}-{number}",
                        body=b"",
                        lines=b"[]",
                        status=status,
                        created_at=at,
                        done_at=None if status == "open" else at,
                    )
                )
            connection.execute(sa.insert(slot).values(project="p", slot=int(at * 1000), at=at))
            connection.execute(
                sa.insert(idempotency).values(
                    key=f"k{number}", caller="c", route="r", body_hash="h", created_at=at
                )
            )
            audit.append(connection, "p", action="test", actor="test", at=at, n=number)


def test_what_is_old_is_pruned_and_what_waits_or_proves_stays(jobs: Queueing) -> None:
    old_and_new(jobs)
    removed = retention.prune(jobs.world.state, now=jobs.clock.now, days=400)
    assert {name: count for name, count in removed.items() if count} == {
        "run": 1,
        "plan": 1,
        "change": 1200,
        "intent": 2,
        "slot": 1,
        "idempotency": 1,
    }
    assert [run.run_id for run in jobs.runs()] == ["completed-0", "queued-0", "completed-1", "queued-1"][1:]
    with jobs.world.state.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(change)).scalar() == 1200
        assert connection.execute(sa.select(sa.func.count()).select_from(run_event)).scalar() == 3
        assert {row.id for row in connection.execute(sa.select(plan.c.id))} == {
            "guarded-0",
            "applied-1",
            "guarded-1",
        }
        _, broken = audit.verify(connection)
        (told,) = audit.entries(connection, retention.SYSTEM, limit=1)
    assert broken == []
    assert (told["action"], told["rows"]) == (
        "retention.pruned",
        {n: count for n, count in removed.items() if count},
    )


def test_pruning_again_removes_nothing_and_writes_no_entry(jobs: Queueing) -> None:
    old_and_new(jobs)
    retention.prune(jobs.world.state, now=jobs.clock.now, days=400)
    with jobs.world.state.read() as connection:
        before = audit.verify(connection)
    assert not any(retention.prune(jobs.world.state, now=jobs.clock.now, days=400).values())
    with jobs.world.state.read() as connection:
        assert audit.verify(connection) == before


def test_pruning_happens_once_a_day_however_many_schedulers_ask(jobs: Queueing) -> None:
    answers = together(*[lambda: prune_when_due(jobs.world, 400)] * 6)
    assert len([answer for answer in answers if answer is not None]) == 1
    jobs.clock.pass_(3600)
    assert prune_when_due(jobs.world, 400) is None
    jobs.clock.pass_(86_400)
    assert prune_when_due(jobs.world, 400) is not None
