"""What is old goes; what somebody may need to prove or to finish stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from plant3d_sync.state import State, audit
from plant3d_sync.state.retention import DAY, prune
from plant3d_sync.state.tables import change, finding, intent, plan, run, slot
from tests.support.state import empty_state

NOW = 1_800_000_000.0
OLD, YOUNG = NOW - 100 * DAY, NOW - 10 * DAY

RUN: dict[str, Any] = {"project": "mine", "direction": "pull", "trigger": "cli"}
PLAN: dict[str, Any] = {
    "project": "mine",
    "direction": "pull",
    "fingerprint": "f",
    "mapping_digest": "m",
    "header": "{}",
    "lines": 0,
    "chunks": 0,
}
INTENT: dict[str, Any] = {
    "project": "mine",
    "run_id": "r",
    "plan_id": "p",
    "side": "synapse",
    "fence": 1,
    "idempotency_key": "k",
    "body": b"",
    "lines": b"[]",
}
CHANGE: dict[str, Any] = {
    "project": 1,
    "run_id": "r",
    "intent_id": 1,
    "pnpid": 1,
    "tag": "P-1",
    "side": "synapse",
    "op": "update",
    "outcome": "updated",
    "fields": "{}",
}
FINDING: dict[str, Any] = {"project": 1, "code": "untagged", "data": "{}"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    (tmp_path / "state.db").write_bytes(empty_state())
    made = State(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


def left(state: State, table: sa.Table, column: str, *rows: dict[str, Any]) -> set[Any]:
    """What retention of 90 days leaves of these rows."""
    with state.write() as connection:
        for row in rows:
            connection.execute(sa.insert(table).values(**row))
    prune(state, now=NOW, days=90)
    with state.read() as connection:
        return set(connection.execute(sa.select(table.c[column])).scalars())


def test_an_open_intent_stays_however_old(state: State) -> None:
    rows = [
        {**INTENT, "idempotency_key": key, "status": status, "created_at": OLD, "done_at": done}
        for key, status, done in [("open", "open", None), ("old", "done", OLD), ("young", "done", YOUNG)]
    ]
    assert left(state, intent, "idempotency_key", *rows) == {"open", "young"}


@pytest.mark.parametrize("status", ["draft", "guarded", "approved", "applying"])
def test_a_plan_that_waits_stays_with_its_run(state: State, status: str) -> None:
    with state.write() as connection:
        for name, is_at in (("waits", status), ("over", "applied")):
            connection.execute(
                sa.insert(plan).values(**PLAN, id=name, status=is_at, created_at=OLD, run_id=f"run-{name}")
            )
    rows = [
        {**RUN, "id": name, "status": "completed", "created_at": OLD, "completed_at": OLD}
        for name in ("run-waits", "run-over", "run-alone")
    ]
    assert left(state, run, "id", *rows) == {"run-waits"}
    with state.read() as connection:
        assert set(connection.execute(sa.select(plan.c.id)).scalars()) == {"waits"}


def test_a_run_that_is_not_over_and_a_young_one_stay(state: State) -> None:
    rows = [
        {**RUN, "id": name, "status": status, "created_at": OLD, "completed_at": ended}
        for name, status, ended in [
            ("queued again", "queued", OLD),
            ("going on", "running", OLD),
            ("over", "failed", OLD),
            ("young", "completed", YOUNG),
        ]
    ]
    assert left(state, run, "id", *rows) == {"queued again", "going on", "young"}


def test_young_changes_and_open_findings_stay(state: State) -> None:
    old, young = {**CHANGE, "tag": "old", "at": OLD}, {**CHANGE, "intent_id": 2, "at": YOUNG}
    assert left(state, change, "tag", old, young) == {"P-1"}
    rows = [
        {**FINDING, "key": key, "first_seen": OLD, "closed_at": closed}
        for key, closed in [("open", None), ("young", YOUNG), ("old", OLD)]
    ]
    assert left(state, finding, "key", *rows) == {"open", "young"}


def test_a_number_that_cells_and_seals_go_by_is_never_given_again(state: State) -> None:
    row = {**INTENT, "status": "done", "created_at": OLD, "done_at": OLD}
    assert left(state, intent, "id", *({**row, "run_id": name} for name in ("a", "b"))) == {2}
    assert left(state, intent, "id", {**row, "run_id": "c"}) == {3}


def test_the_newest_slot_of_a_project_stays_however_old(state: State) -> None:
    rows = [{"project": "mine", "slot": number, "at": OLD} for number in (1, 2, 3)]
    assert left(state, slot, "slot", *rows) == {3}


def test_what_was_removed_is_told_in_the_audit_and_nothing_of_nothing(state: State) -> None:
    def entries() -> list[dict[str, object]]:
        with state.read() as connection:
            return list(audit.entries(connection, "system"))

    prune(state, now=NOW, days=90)
    assert entries() == []
    left(state, change, "tag", {**CHANGE, "at": OLD})
    told = [one for one in entries() if "rows" in one]  # the seals learn of it as well
    assert [(one["action"], one["rows"]) for one in told] == [("retention.pruned", {"change": 1})]
