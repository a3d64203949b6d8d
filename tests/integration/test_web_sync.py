"""Asking for runs by the API, watching and stopping them. A test plays the worker by ending runs itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from plant3d_sync.state import runs
from plant3d_sync.state.tables import idempotency
from plant3d_sync.state.tables import run as run_table
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.web.context import STREAMS, STREAMS_OF_A_KEY, WAITERS_OF_A_KEY
from tests.support.webapp import MINE, Desk, desk

BODY = {"project_id": MINE}
STATS = {"total": 9, "created": 3, "updated": 2, "unchanged": 4, "skipped": 0, "errors": 0}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


def count(service: Desk) -> int:
    return len(service.statuses())


# ---------------------------------------------------------------- pull, push


def test_a_pull_is_accepted_and_says_where_to_look(service: Desk) -> None:
    answer = service.post(
        "/api/v1/sync/pull", {**BODY, "entity_types": ["valves"], "full_sync": True}, "sync"
    )
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "queued"
    assert set(body["stats"]) >= {"total", "created", "updated", "skipped", "errors"}
    assert answer.headers["Location"] == f"/api/v1/sync/{body['sync_id']}"
    with service.state.read() as connection:
        stored = runs.get(connection, body["sync_id"])
    assert stored is not None
    assert (
        stored.direction,
        stored.requested_by,
        stored.options["entity_types"],
        stored.options["full"],
    ) == (
        "pull",
        service.actor(),
        ["valves"],
        True,
    )
    assert stored.request_id == answer.headers["X-Request-ID"]


def test_missing_entity_types_and_no_asset_ids_mean_everything(service: Desk) -> None:
    pull = service.post("/api/v1/sync/pull", BODY).json()
    push = service.post("/api/v1/sync/push", {"project_id": "other", "asset_ids": []}).json()
    with service.state.read() as connection:
        one, two = (runs.get(connection, found["sync_id"]) for found in (pull, push))
    assert one is not None and two is not None
    assert one.options["entity_types"] == ["equipment", "instruments", "lines", "valves"]
    assert two.direction == "push" and "asset_ids" not in two.options


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"project_id": MINE, "entity_types": ["pumps"]}, "entity_types.0"),
        ({"project_id": MINE, "full_sync": "perhaps"}, "full_sync"),
        ({"entity_types": []}, "project_id"),
        ({"project_id": MINE, "entity_type": ["valves"]}, "entity_type"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_queued(
    service: Desk, body: dict[str, Any], field: str
) -> None:
    answer = service.post("/api/v1/sync/pull", body)
    assert answer.status_code == 422
    problem = answer.json()
    assert [error["field"] for error in problem["errors"]] == [field]
    assert field in problem["detail"]
    assert problem["did_not_happen"] == "Nothing was done."
    assert count(service) == 0


def test_a_body_that_is_not_json_is_named_as_the_problem(service: Desk) -> None:
    answer = service.client.post("/api/v1/sync/pull", content=b"{", headers=service.headers())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "body"


def test_an_unknown_project_is_404_and_the_hint_names_those_there_are(service: Desk) -> None:
    answer = service.post("/api/v1/sync/pull", {"project_id": "mien"})
    assert answer.status_code == 404
    assert answer.json()["code"] == "project_unknown"
    assert "mine, other" in answer.json()["hint"]


def test_a_second_request_joins_the_waiting_run(service: Desk) -> None:
    first = service.post("/api/v1/sync/pull", BODY).json()
    second = service.post("/api/v1/sync/push", BODY).json()
    assert second["sync_id"] == first["sync_id"]
    assert second["direction"] == "both"
    assert count(service) == 1


def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_while(tmp_path: Path) -> None:
    with desk(tmp_path, P3DSYNC_MAX_BODY_BYTES="2048") as service:
        large = orjson.dumps({"project_id": MINE, "asset_ids": ["x" * 100] * 40})
        told = service.client.post("/api/v1/sync/push", content=large, headers=service.headers())
        untold = service.client.post(
            "/api/v1/sync/push", content=iter([large[:1500], large[1500:]]), headers=service.headers()
        )
        for answer in (told, untold):
            assert answer.status_code == 413
            assert answer.json()["code"] == "body_too_large"
        assert count(service) == 0


# ---------------------------------------------------------------- ids of requests


def test_the_callers_request_id_comes_back_and_a_dangerous_one_does_not(service: Desk) -> None:
    kept = service.client.get("/health", headers={"X-Request-ID": "click-42"})
    assert kept.headers["X-Request-ID"] == "click-42"
    replaced = service.client.get("/health", headers={"X-Request-ID": "a b<script>"})
    assert replaced.headers["X-Request-ID"] not in ("", "a b<script>")
    problem = service.client.get("/api/v1/projects", headers={"X-Request-ID": "click-43"}).json()
    assert problem["request_id"] == "click-43"


def test_a_fault_of_the_service_is_a_problem_without_its_cause(service: Desk) -> None:
    with service.state.write() as connection:
        connection.execute(sa.text("UPDATE run SET stats = NULL"))
        connection.execute(sa.text("DROP TABLE conflict"))
    answer = service.get("/api/v1/conflicts", project_id=MINE)
    assert answer.status_code in (500, 503)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "conflict" not in answer.json()["detail"].lower().replace("/api/v1/conflicts", "")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


# ---------------------------------------------------------------- the same request twice


def test_the_same_idempotency_key_gives_the_stored_answer(service: Desk) -> None:
    key = {"Idempotency-Key": "once"}
    first = service.post("/api/v1/sync/pull", BODY, headers=key)
    service.end(first.json()["sync_id"])
    second = service.post("/api/v1/sync/pull", BODY, headers=key)
    assert second.json() == first.json()
    assert second.status_code == first.status_code
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert count(service) == 1


def test_an_idempotency_key_is_refused_for_another_request_and_free_for_another_caller(service: Desk) -> None:
    key = {"Idempotency-Key": "once"}
    service.post("/api/v1/sync/pull", BODY, headers=key)
    other_body = service.post("/api/v1/sync/pull", {**BODY, "full_sync": True}, headers=key)
    other_route = service.post("/api/v1/sync/push", BODY, headers=key)
    for answer in (other_body, other_route):
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency_key_reused"
    other_caller = service.client.post(
        "/api/v1/sync/push", json=BODY, headers={"X-API-Key": service.key(name="another"), **key}
    )
    assert other_caller.status_code == 202


def test_a_refused_request_does_not_use_up_its_idempotency_key(service: Desk) -> None:
    plan = service.plan(status="guarded")
    key = {"Idempotency-Key": "try"}
    assert service.post(f"/api/v1/plans/{plan}/apply", {}, headers=key).status_code == 409
    with service.state.write() as connection:
        runs.set_plan(connection, plan, status="draft")
    assert service.post(f"/api/v1/plans/{plan}/apply", {}, headers=key).status_code == 202


def test_a_repetition_while_the_first_is_going_is_told_so(service: Desk) -> None:
    key = {"Idempotency-Key": "slow"}
    answers: list[Any] = []
    first = threading.Thread(
        target=lambda: answers.append(service.post("/api/v1/sync/now?wait=30", BODY, headers=key))
    )
    service.headers()
    first.start()
    until(lambda: count(service) == 1)
    again = service.post("/api/v1/sync/now?wait=30", BODY, headers=key)
    assert again.status_code == 409
    assert again.json()["code"] == "idempotency_in_progress"
    with service.state.read() as connection:
        [run_id] = connection.execute(sa.select(run_table.c.id)).scalars()
    service.end(run_id)
    first.join(timeout=30)
    assert answers[0].status_code == 200


def test_after_a_crash_between_queueing_and_answering_the_repetition_finds_the_same_run(
    service: Desk,
) -> None:
    """The row of a process that died: it names the id its run would get."""
    key = {"Idempotency-Key": "crash"}
    first = service.post("/api/v1/sync/pull", BODY, headers=key).json()
    forget_answer(service, first["sync_id"], pid_is_dead=True)
    service.end(first["sync_id"])
    again = service.post("/api/v1/sync/pull", BODY, headers=key)
    assert again.json()["sync_id"] == first["sync_id"]
    assert count(service) == 1


def test_after_a_crash_before_queueing_the_repetition_queues_the_run(service: Desk) -> None:
    key = {"Idempotency-Key": "crash"}
    first = service.post("/api/v1/sync/pull", BODY, headers=key).json()
    with service.state.write() as connection:
        connection.execute(sa.delete(run_table))
    forget_answer(service, first["sync_id"], pid_is_dead=True)
    again = service.post("/api/v1/sync/pull", BODY, headers=key)
    assert again.status_code == 202
    assert count(service) == 1


def test_a_process_of_another_machine_counts_as_gone_only_after_two_minutes(service: Desk) -> None:
    key = {"Idempotency-Key": "crash"}
    first = service.post("/api/v1/sync/pull", BODY, headers=key).json()
    forget_answer(service, first["sync_id"], pid_is_dead=False)
    assert service.post("/api/v1/sync/pull", BODY, headers=key).status_code == 409
    service.clock.now += 121
    assert service.post("/api/v1/sync/pull", BODY, headers=key).json()["sync_id"] == first["sync_id"]


def forget_answer(service: Desk, run_id: str, *, pid_is_dead: bool) -> None:
    """As a process left it that died before it answered: on this machine, or on one that nobody can look at."""
    holder = orjson.loads(holder_name(run_id))
    holder |= {"pid": 2**22 + 1} if pid_is_dead else {"host": "elsewhere", "boot": "another", "pid": 1}
    marker = orjson.dumps({"run_id": run_id, "holder": orjson.dumps(holder).decode()}).decode()
    with service.state.write() as connection:
        connection.execute(sa.update(idempotency).values(status_code=None, answer=marker))


def until(ask: Any) -> None:
    limit = time.monotonic() + 30
    pause = threading.Event()
    while not ask():
        assert time.monotonic() < limit
        pause.wait(0.01)


# ---------------------------------------------------------------- now


def test_now_waits_for_the_end_and_gives_both_statistics(service: Desk) -> None:
    service.headers()
    worker = threading.Thread(target=lambda: play_worker(service))
    worker.start()
    answer = service.post("/api/v1/sync/now", BODY, "sync")
    worker.join(timeout=30)
    assert answer.status_code == 200
    assert answer.json()["pull_stats"]["created"] == 3
    assert answer.json()["push_stats"]["updated"] == 1
    assert (answer.json()["status"], answer.json()["outcome"]) == ("completed", "clean")


def play_worker(service: Desk) -> None:
    until(lambda: count(service) == 1)
    run = queue.claim(service.world, "{}", [MINE])
    assert run is not None
    result = {"pull_stats": STATS, "push_stats": {"total": 1, "updated": 1}}
    service.end(run.run_id, stats=STATS, result=result)


def test_now_answers_202_with_the_figures_so_far_when_it_takes_longer(service: Desk) -> None:
    running = service.run(
        status="running", direction="both", stats=STATS, phase="compare", phase_done=5, phase_total=9
    )
    answer = service.post("/api/v1/sync/now?wait=0.05", BODY)
    assert answer.status_code == 202
    body = answer.json()
    assert body["sync_id"] == running
    assert body["pull_stats"]["total"] == 9
    assert body["progress"] == {"phase": "compare", "done": 5, "total": 9}
    assert answer.headers["Location"].endswith(running)


def test_now_while_a_run_is_going_returns_it_and_queues_one_follow_up(service: Desk) -> None:
    running = service.run(status="running")
    answers = [service.post("/api/v1/sync/now?wait=0", BODY).json() for _ in range(3)]
    assert {answer["sync_id"] for answer in answers} == {running}
    assert len({answer["follow_up"] for answer in answers}) == 1
    assert service.statuses() == ["running", "queued"]


def test_a_run_that_another_one_continues_says_which(service: Desk) -> None:
    heir = service.run()
    merged = service.run(outcome="cancelled", result={"continued_by": heir})
    answer = service.get(f"/api/v1/sync/{merged}", "read").json()
    assert (answer["outcome"], answer["continued_by"]) == ("cancelled", heir)
    assert service.get(f"/api/v1/sync/{heir}", "read").json()["continued_by"] is None


def test_now_follows_a_run_that_another_one_continues(service: Desk) -> None:
    heir = service.run(result={"pull_stats": STATS})
    service.run(status="running")
    going = queue.running(service.world, MINE)
    assert going is not None
    service.headers()

    def end_once_it_is_followed() -> None:
        until = time.monotonic() + 30
        while count(service) < 3 and time.monotonic() < until:  # the one that waits behind it
            time.sleep(0.01)
        service.end(going.run_id, outcome="cancelled", result={"continued_by": heir})

    ender = threading.Thread(target=end_once_it_is_followed)
    ender.start()
    answer = service.post("/api/v1/sync/now", BODY)
    ender.join()
    assert answer.json()["sync_id"] == heir


def test_fifty_presses_of_now_make_one_run_and_every_caller_gets_its_id(service: Desk) -> None:
    headers = service.headers()
    answers: list[Any] = []
    callers = [
        threading.Thread(
            target=lambda: answers.append(
                service.client.post("/api/v1/sync/now?wait=0", json=BODY, headers=headers)
            )
        )
        for _ in range(50)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert [answer.status_code for answer in answers] == [202] * 50
    assert len({answer.json()["sync_id"] for answer in answers}) == 1
    assert count(service) == 1


def test_a_key_that_waits_too_often_is_told_to_and_another_key_still_waits(service: Desk) -> None:
    headers = service.headers()
    other = {"X-API-Key": service.key(name="another")}
    service.run(status="running")
    answers: list[int] = []
    callers = [
        threading.Thread(
            target=lambda: answers.append(
                service.client.post("/api/v1/sync/now?wait=60", json=BODY, headers=headers).status_code
            )
        )
        for _ in range(45)
    ]
    for caller in callers:
        caller.start()
    until(lambda: len(answers) >= 45 - WAITERS_OF_A_KEY)
    assert answers == [429] * (45 - WAITERS_OF_A_KEY)
    assert service.client.get("/api/v1/sync/status", params=BODY, headers=headers).status_code == 200
    refused = service.client.post("/api/v1/sync/now", json=BODY, headers=headers)
    assert refused.json()["code"] == "too_many_waits" and int(refused.headers["Retry-After"]) > 0
    assert service.client.post("/api/v1/sync/now?wait=0", json=BODY, headers=headers).status_code == 202
    others: list[int] = []
    second = threading.Thread(
        target=lambda: others.append(
            service.client.post("/api/v1/sync/now?wait=60", json=BODY, headers=other).status_code
        )
    )
    second.start()
    places = service.web.state.context.waiters
    until(lambda: places._held.total() == WAITERS_OF_A_KEY + 1)
    going = queue.running(service.world, MINE)
    assert going is not None
    service.end(going.run_id)
    for caller in [*callers, second]:
        caller.join(timeout=60)
    assert sorted(set(answers)) == [200, 429]
    assert others == [200]
    assert places._held.total() == 0


def test_a_wait_that_is_refused_has_queued_nothing(service: Desk) -> None:
    places = service.web.state.context.waiters
    key_id = service.key().split("_")[1]
    for _ in range(WAITERS_OF_A_KEY):
        assert places.take(key_id) == "taken"
    plan = service.plan()
    for path, body in (
        ("/api/v1/sync/now?wait=5", BODY),
        ("/api/v1/sync/pull?wait=5", BODY),
        ("/api/v1/sync/push?wait=5", BODY),
        ("/api/v1/plans?wait=5", BODY),
        (f"/api/v1/plans/{plan}/apply?wait=5", {}),
    ):
        answer = service.post(path, body)
        assert (answer.status_code, answer.json()["did_not_happen"]) == (429, "Nothing was done."), path
    assert count(service) == 0


# ---------------------------------------------------------------- looking


def test_history_is_newest_first_with_a_total_that_stays_right(service: Desk) -> None:
    made = [service.run() for _ in range(5)]
    service.run("other")
    first = service.get("/api/v1/sync/history", project_id=MINE, limit=2).json()
    assert [item["sync_id"] for item in first["items"]] == made[:2:-1]
    assert (first["total"], first["limit"], first["offset"]) == (5, 2, 0)
    rest = service.get("/api/v1/sync/history", project_id=MINE, offset=2).json()
    assert [item["sync_id"] for item in rest["items"]] == made[2::-1]
    made.append(service.run())
    assert service.get("/api/v1/sync/history", project_id=MINE).json()["total"] == 6
    with service.state.write() as connection:
        connection.execute(sa.delete(run_table).where(run_table.c.id.in_(made[:2])))
    assert service.get("/api/v1/sync/history", project_id=MINE).json()["total"] == 4
    assert service.get("/api/v1/sync/history", project_id="other").json()["total"] == 1


def test_a_line_of_the_history_has_the_pinned_fields(service: Desk) -> None:
    service.run(stats=STATS, errors_total=2)
    [item] = service.get("/api/v1/sync/history", project_id=MINE).json()["items"]
    pinned = "sync_id project_id direction trigger status outcome started_at completed_at stats errors_total"
    assert set(pinned.split()) <= set(item)
    assert item["started_at"] == "2027-01-15T08:00:00Z"


def test_a_run_shows_its_row_errors_by_the_plans_names(service: Desk) -> None:
    run = service.run(outcome="with_issues", errors_total=3, plan_id="p1")
    with service.state.write() as connection:
        runs.put_errors(
            connection,
            run,
            [
                {
                    "plant3d_id": f"g{n}",
                    "tag": f"P-{n}",
                    "field": "tag",
                    "code": "duplicate",
                    "message": "m",
                    "hint": "h",
                }
                for n in range(3)
            ],
        )
    body = service.get(f"/api/v1/sync/{run}", errors_limit=2, errors_offset=1).json()
    assert [error["asset_tag"] for error in body["errors"]] == ["P-1", "P-2"]
    assert set(body["errors"][0]) >= {"plant3d_id", "asset_tag", "field", "code", "message", "hint"}
    assert (body["plan_id"], body["errors_total"]) == ("p1", 3)


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_is_asked_to_stop(service: Desk) -> None:
    waiting = service.post("/api/v1/sync/pull", BODY).json()["sync_id"]
    ended = service.post(f"/api/v1/sync/{waiting}/cancel", None, "sync")
    assert (ended.status_code, ended.json()["outcome"]) == (200, "cancelled")
    running = service.run(status="running")
    asked = service.post(f"/api/v1/sync/{running}/cancel", None, "sync")
    assert asked.status_code == 202
    assert service.get(f"/api/v1/sync/{running}").json()["cancel_requested"] is True
    assert [entry["actor"] for entry in service.audited() if entry["action"] == "run.cancelled"] == [
        service.actor("sync")
    ] * 2


# ---------------------------------------------------------------- events


def frames(text: str) -> list[tuple[str | None, str, Any]]:
    """(id, event, data) of each frame."""
    found = []
    for block in text.strip().split("\n\n"):
        members = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in members:
            found.append((members.get("id"), members["event"], orjson.loads(members["data"])))
    return found


def test_the_stream_tells_the_whole_story_and_ends_with_the_run(service: Desk) -> None:
    run = service.run(stats=STATS)
    for name in ("queued", "started", "completed"):
        service.event(run, name, attempt=1)
    answer = service.get(f"/api/v1/sync/{run}/events", "read")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = frames(answer.text)
    assert [name for _number, name, _data in told] == ["queued", "started", "completed", "end"]
    assert told[-1][2]["stats"]["created"] == 3


def test_last_event_id_replays_only_what_was_missed(service: Desk) -> None:
    run = service.run()
    for name in ("queued", "started", "phase", "completed"):
        service.event(run, name)
    numbers = [
        number for number, _name, _data in frames(service.get(f"/api/v1/sync/{run}/events").text) if number
    ]
    headers = {**service.headers(), "Last-Event-ID": numbers[1] or ""}
    told = frames(service.client.get(f"/api/v1/sync/{run}/events", headers=headers).text)
    assert [name for _number, name, _data in told] == ["phase", "completed", "end"]
    wrong = service.client.get(f"/api/v1/sync/{run}/events", headers={**headers, "Last-Event-ID": "x"})
    assert wrong.status_code == 422


def test_a_running_run_is_told_as_it_goes(service: Desk) -> None:
    run = service.run(status="running", outcome=None, phase="read")
    answers: list[str] = []
    headers = service.headers()
    reader = threading.Thread(
        target=lambda: answers.append(service.client.get(f"/api/v1/sync/{run}/events", headers=headers).text)
    )
    reader.start()
    service.event(run, "phase", phase="compare")
    service.end(run)
    reader.join(timeout=30)
    told = [name for _number, name, _data in frames(answers[0])]
    assert told[-1] == "end"
    assert "phase" in told


def test_a_stream_gives_its_place_back(service: Desk) -> None:
    run = service.run()
    for _ in range(70):
        assert service.get(f"/api/v1/sync/{run}/events").status_code == 200
    places = service.web.state.context.streams
    key_id = service.key().split("_")[1]
    taken = [places.take(key_id) for _ in range(STREAMS_OF_A_KEY + 1)]
    assert taken == ["taken"] * STREAMS_OF_A_KEY + ["share"]
    refused = service.get(f"/api/v1/sync/{run}/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    other = {"X-API-Key": service.key(name="another")}
    assert service.client.get(f"/api/v1/sync/{run}/events", headers=other).status_code == 200
    for number in range(STREAMS - STREAMS_OF_A_KEY):
        assert places.take(f"key {number}") == "taken"
    assert places.take("one more") == "full"
    assert service.client.get(f"/api/v1/sync/{run}/events", headers=other).status_code == 429


# ---------------------------------------------------------------- undo


def test_an_undo_makes_a_plan_and_writes_nothing(service: Desk) -> None:
    run = service.run()
    answer = service.post(f"/api/v1/sync/{run}/undo", {}, "write")
    assert answer.status_code == 201
    assert answer.json()["restores"] == 0
    plan = service.get(answer.headers["Location"]).json()
    assert (plan["undo_of"], plan["status"]) == (run, "draft")
    going = service.run(status="running")
    assert service.post(f"/api/v1/sync/{going}/undo", {}, "write").status_code == 409
    assert service.post(f"/api/v1/sync/{run}/undo", {"change_id": 99}, "write").status_code == 404


def test_a_push_of_an_asset_nobody_knows_is_404_and_queues_nothing(service: Desk) -> None:
    answer = service.post("/api/v1/sync/push", {"project_id": MINE, "asset_ids": ["no-such-asset"]})
    assert answer.status_code == 404
    assert answer.json()["code"] == "asset_unknown"
    assert "no-such-asset" in answer.json()["detail"]
    with service.state.read() as connection:
        assert runs.count(connection, MINE) == 0
