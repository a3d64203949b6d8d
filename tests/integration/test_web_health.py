"""Health from facts, however the state database behaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from starlette.testclient import TestClient

from plant3d_sync.errors import RetryLaterError
from plant3d_sync.jobqueue import RedisBell
from plant3d_sync.run.project import World
from plant3d_sync.state import State, runs
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.tables import run as run_table
from plant3d_sync.web import create_app
from tests.support.webapp import MINE, OTHER, Desk, configured, desk

PLAN = {"status", "plant3d_connection", "synapse_connection", "redis_connection", "version"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


def status(service: Desk, project: str = MINE) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/api/v1/sync/status", "read", project_id=project).json()
    return found


def codes(service: Desk) -> list[str]:
    return [reason["code"] for reason in status(service)["reasons"]]


def test_health_without_a_key_has_the_plans_fields_and_the_kind_of_queue(service: Desk) -> None:
    service.well()
    answer = service.client.get("/health")
    assert set(answer.json()) == {*PLAN, "queue"}
    assert answer.json()["status"] == "healthy"
    assert {answer.json()[f"{side}_connection"] for side in ("plant3d", "synapse", "redis")} == {"ok"}
    wrong = service.client.get("/health", headers={"X-API-Key": "p3s_0_0"})
    assert set(wrong.json()) == {*PLAN, "queue"}


def test_health_with_a_key_says_more_but_only_of_the_keys_projects(service: Desk) -> None:
    service.well()
    body = service.client.get("/health", headers={"X-API-Key": service.key("read", projects=[MINE])}).json()
    assert body["queue"] == "embedded"
    assert [project["project_id"] for project in body["projects"]] == [MINE]


def test_all_well_is_healthy_and_says_when_the_next_run_starts(service: Desk) -> None:
    service.well()
    found = status(service)
    assert (found["health"], found["reasons"], found["current_job"]) == ("healthy", [], None)
    assert found["last_sync"] == "2027-01-15T08:00:00Z"
    assert found["next_scheduled"] == "2027-01-15T08:05:00Z"


@pytest.mark.parametrize(
    ("seconds", "code", "health"),
    [(61, "worker_silent", "offline"), (901, "success_too_old", "offline")],
)
def test_silence_alone_makes_it_unhealthy(service: Desk, seconds: float, code: str, health: str) -> None:
    service.well()
    service.clock.now += seconds
    assert code in codes(service)
    assert status(service)["health"] == health
    assert status(service)["next_scheduled"] is None  # nobody would start it


def test_a_check_older_than_three_intervals_counts_as_not_checked(service: Desk) -> None:
    service.well()
    service.clock.now += 899
    assert service.client.get("/health").json()["plant3d_connection"] == "ok"
    service.clock.now += 2
    assert service.client.get("/health").json()["plant3d_connection"] == "error"
    assert status(service)["connections"]["plant3d"]["code"] == "not_checked"


def test_plant3d_away_is_degraded_and_both_sides_away_is_offline(service: Desk) -> None:
    service.well()
    service.probed(plant3d=False)
    assert (status(service)["health"], codes(service)) == ("degraded", ["plant3d_unreachable"])
    assert service.client.get("/health").json()["plant3d_connection"] == "error"
    assert service.client.get("/health").json()["synapse_connection"] == "ok"
    service.probed(plant3d=False, synapse=False)
    assert status(service)["health"] == "offline"


def test_what_waits_for_people_or_goes_wrong_is_a_reason(service: Desk) -> None:
    service.well()
    service.conflict()
    assert codes(service) == ["conflicts_pending"]
    service.probed(skew=-300.0)
    assert codes(service) == ["conflicts_pending", "clock_skew"]
    service.run(status="failed", error={"code": "credentials", "message": "401", "hint": ""})
    assert "last_run_failed" in codes(service)
    service.run(outcome="guarded")
    assert "guard_stopped" in codes(service) and "last_run_failed" not in codes(service)
    service.run()
    assert codes(service) == ["conflicts_pending", "clock_skew"]
    assert status(service)["health"] == "degraded"


def test_a_run_that_waits_long_or_fell_silent_is_a_reason(service: Desk) -> None:
    service.run(status="queued", error={"code": "down", "message": "Plant 3D is locked."})
    running = service.run(status="running", phase="compare", phase_done=3, phase_total=7)
    service.clock.now += 901
    service.well()
    assert {"run_waiting", "run_silent"} <= set(codes(service))
    found = status(service)
    assert found["current_job"]["sync_id"] == running
    assert found["current_job"]["progress"] == {"phase": "compare", "done": 3, "total": 7}
    assert found["waiting_job"]["status"] == "queued"


def test_a_project_that_is_switched_off_is_not_judged(service: Desk) -> None:
    service.well(MINE)
    service.app.config.projects[OTHER].active = False
    assert service.client.get("/health").json()["status"] == "healthy"
    assert status(service, OTHER)["next_scheduled"] is None


def test_with_no_project_that_is_synchronised_nothing_is_well(service: Desk) -> None:
    """Nothing was looked at: that is not "all of it is well"."""
    service.well()
    for entry in service.app.config.projects.values():
        entry.active = False
    body = service.client.get("/health").json()
    assert set(body) == {*PLAN, "queue"}
    assert (body["status"], body["plant3d_connection"], body["synapse_connection"]) == (
        "offline",
        "error",
        "error",
    )
    service.app.config.projects.clear()
    body = service.client.get("/health", headers=service.headers("read")).json()
    assert (body["status"], body["plant3d_connection"], body["synapse_connection"]) == (
        "offline",
        "error",
        "error",
    )
    assert [reason["code"] for reason in body["reasons"]] == ["no_project"]


def test_a_cancelled_run_hides_neither_a_failure_nor_a_guard(service: Desk) -> None:
    service.well()
    service.run(status="failed", error={"code": "credentials", "message": "401", "hint": ""})
    service.run(outcome="cancelled")
    service.run(outcome="clean", dry_run=1)
    assert codes(service) == ["last_run_failed"]
    service.run(outcome="guarded")
    for _ in range(25):
        service.run(outcome="cancelled")
    assert codes(service) == ["guard_stopped"]
    tied = service.run()
    with service.state.write() as connection:
        runs.update(connection, tied, trigger="links")
    assert codes(service) == ["guard_stopped"], "tying pairs by hand looks at no guard"
    service.run()
    assert codes(service) == []


def test_ctrl_c_is_no_failure_of_the_project(service: Desk) -> None:
    service.well()
    service.run(status="failed", outcome="cancelled", error={"code": "interrupted", "message": "Ctrl-C"})
    with service.state.write() as connection:
        connection.execute(sa.update(run_table).values(outcome="cancelled"))
    assert codes(service) == []


def test_the_success_that_counts_is_of_what_the_schedule_does(service: Desk) -> None:
    service.well()
    with service.state.write() as connection:
        project_state.update(connection, MINE, pull_ok_at=service.clock() - 1000, push_ok_at=service.clock())
    assert codes(service) == ["success_too_old"], "pushes by hand do not hide that pulls fail"
    service.app.config.projects[MINE].direction = "push"
    assert codes(service) == []
    with service.state.write() as connection:
        project_state.update(connection, MINE, push_ok_at=None)
    assert codes(service) == ["never_synced"]


class Stuck(State):
    """A state database that answers when it is told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.go_on = threading.Event()
        self.go_on.set()
        self.away = False
        self.gave_up = False

    def _hang(self) -> None:
        if not self.go_on.wait(timeout=60):
            self.gave_up = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._hang()
        if self.away:
            raise RetryLaterError("password=hunter2 at host", code="state_unavailable")
        with super().read() as connection:
            yield connection

    def schema_version(self) -> str | None:
        self._hang()
        return super().schema_version()


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[tuple[Desk, Stuck]]:
    with desk(tmp_path):
        pass
    state = Stuck(f"sqlite:///{tmp_path / 'state.db'}")
    with desk(tmp_path, state=state) as made:
        made.well()
        try:
            yield made, state
        finally:
            state.go_on.set()
    state.close()


def test_health_and_liveness_answer_while_the_state_database_hangs(stuck: tuple[Desk, Stuck]) -> None:
    service, state = stuck
    assert service.client.get("/health").json()["status"] == "healthy"
    headers = service.headers("read")
    state.go_on.clear()
    busy = [
        threading.Thread(target=lambda: service.client.get("/api/v1/projects", headers=headers))
        for _ in range(45)
    ]
    for thread in busy:
        thread.start()
    answer = service.client.get("/health")  # were it not answered while reads hang, this would never return
    assert answer.json() == {**answer.json(), "status": "offline", "plant3d_connection": "error"}
    assert service.client.get("/livez").status_code == 200
    ready = service.client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert "no answer in time" in ready.json()["checks"]["state"]
    assert not state.gave_up, "it was answered only after the reads had given up"
    state.go_on.set()
    for thread in busy:
        thread.join(timeout=60)
    assert service.client.get("/health").json()["status"] == "healthy"


def test_an_unreachable_state_database_is_503_without_its_address(stuck: tuple[Desk, Stuck]) -> None:
    service, state = stuck
    headers = service.headers("read")
    state.away = True
    answer = service.client.get("/api/v1/projects", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "state_unavailable")
    assert answer.headers["Retry-After"]
    assert "hunter2" not in answer.text
    assert service.client.get("/health").json()["status"] == "offline"


def test_ready_means_the_state_database_and_nothing_else(service: Desk) -> None:
    assert service.client.get("/readyz").json() == {"status": "ready"}
    service.probed(plant3d=False, synapse=False)
    assert service.client.get("/readyz?verbose").json()["checks"] == {
        "state": "ok",
        "schema": "ok",
        "queue": "ok",
    }
    with service.state.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'older'")
    answer = service.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert service.client.get("/livez").status_code == 200


def test_redis_away_is_told_and_runs_are_still_accepted(tmp_path: Path) -> None:
    with desk(tmp_path) as service:
        service.well()
        headers = service.headers()
    app = configured(tmp_path)
    bell = RedisBell("redis://127.0.0.1:9/1")
    web = create_app(app, world=World(state=app.state, clock=service.clock), bell=bell)
    with TestClient(web) as client:
        health = client.get("/health", headers=headers).json()
        assert (health["redis_connection"], health["status"], health["queue"]) == (
            "error",
            "degraded",
            "redis",
        )
        (reason,) = health["reasons"]
        assert reason["code"] == "redis_unreachable" and "refused" in reason["message"]
        asked = client.post("/api/v1/sync/pull", json={"project_id": MINE}, headers=headers)
        assert asked.status_code == 202
        assert client.get("/readyz?verbose").json()["checks"]["queue"].startswith("degraded")
    app.state.close()


def test_a_redis_that_says_nothing_is_told_and_takes_no_process_out_of_service(tmp_path: Path) -> None:
    """Frozen, it takes connections and answers none: seconds go by before that is an error."""
    app = configured(tmp_path)
    app.state.ready()
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        bell = RedisBell(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
        with TestClient(create_app(app, bell=bell)) as client:
            answer = client.get("/readyz?verbose")
            assert (answer.status_code, answer.json()["checks"]["state"]) == (200, "ok")
            assert answer.json()["checks"]["queue"].startswith("degraded")
    app.state.close()


# ---------------------------------------------------------------- metrics


def metric(text: str, name: str) -> dict[str, float]:
    lines = [
        line
        for line in text.splitlines()
        if line.startswith(f"plant3d_sync_{name}") and not line.startswith("#")
    ]
    return {
        line.rsplit(" ", 1)[0].removeprefix("plant3d_sync_"): float(line.rsplit(" ", 1)[1]) for line in lines
    }


def test_metrics_count_what_is_stored_and_carry_on(service: Desk) -> None:
    service.well()
    for _ in range(3):
        service.run(completed_at=service.clock() + 10)
    service.run(status="failed", outcome="failed", completed_at=service.clock() + 100)
    service.run(status="queued")
    service.conflict()
    with service.state.write() as connection:
        project_state.update(connection, MINE, skew=1.5)
    text = service.get("/metrics", "read").text
    runs = metric(text, "runs_total")
    assert runs['runs_total{direction="pull",outcome="clean",project="mine"}'] == 3
    assert sum(runs.values()) == 4
    seconds = metric(text, "run_duration_seconds")
    assert (
        seconds['run_duration_seconds_bucket{direction="pull",le="15.0",outcome="clean",project="mine"}'] == 3
    )
    assert seconds['run_duration_seconds_sum{direction="pull",outcome="clean",project="mine"}'] == 30
    assert metric(text, "queue_waiting_runs") == {'queue_waiting_runs{project="mine"}': 1}
    assert metric(text, "conflicts_open") == {'conflicts_open{project="mine"}': 1}
    assert metric(text, "clock_skew") == {'clock_skew_seconds{project="mine",side="synapse"}': 1.5}
    assert list(metric(text, "worker_last_seen_timestamp_seconds").values()) == [1_800_000_000.0]
    assert metric(text, "build_info")


def test_metrics_are_shown_of_the_keys_projects_only(service: Desk) -> None:
    service.run()
    service.run(OTHER)
    headers = {"X-API-Key": service.key("read", projects=[OTHER])}
    text = service.client.get("/metrics", headers=headers).text
    assert 'project="other"' in text
    assert 'project="mine"' not in text
