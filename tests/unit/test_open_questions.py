"""A question ends when its own item was looked at, or a person decides; nothing else ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.state import State
from plant3d_sync.state import conflicts as conflict_state
from tests.support.state import empty_state

QUESTION: dict[str, Any] = {
    "link_id": 5,
    "plant3d_id": "looked at",
    "asset_id": "x",
    "tag": "P-1",
    "field": "description",
    "kind": "both_changed",
    "plant3d": "a",
    "synapse": "b",
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    (tmp_path / "state.db").write_bytes(empty_state())
    made = State(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


def compared(state: State, *found: dict[str, Any], only: str | None = None, **fates: str) -> None:
    """A run that found these questions; with `only` it looked at one item."""
    numbers = iter(range(100))
    with state.write() as connection:
        conflict_state.sync_conflicts(
            connection,
            "mine",
            conflict_state.Comparison(
                run_id="r",
                at=1.0,
                drafts=found,
                examined=lambda row: only is None or row["plant3d_id"] == only,
                fates=fates,
                planned_choices=[
                    one["id"] for one in conflict_state.conflicts(connection, "mine", status="all")[0]
                ],
            ),
            new_id=lambda: f"{found[0]['plant3d_id']} {next(numbers)}",
        )


def asked(state: State) -> list[str]:
    with state.read() as connection:
        return [one["plant3d_id"] for one in conflict_state.conflicts(connection, "mine")[0]]


def decide(state: State, version: int = 1) -> bool:
    with state.write() as connection:
        return conflict_state.choose(
            connection,
            "looked at 0",
            conflict_state.Chosen(resolution="plant3d", value="a", note=None, by="eve", at=2.0),
            version=version,
        )


def test_a_run_that_looks_at_less_closes_no_other_question(state: State) -> None:
    compared(state, QUESTION, {**QUESTION, "plant3d_id": "passed over"})
    compared(state, only="looked at")
    assert asked(state) == ["passed over"]


def test_a_question_that_was_decided_is_not_decided_again(state: State) -> None:
    compared(state, QUESTION)
    assert decide(state)
    assert not decide(state, version=1) and not decide(state, version=2)


def test_a_choice_that_no_run_looked_at_waits(state: State) -> None:
    compared(state, QUESTION)
    assert decide(state)
    compared(state, only="passed over")
    with state.read() as connection:
        assert conflict_state.resolutions(connection, "mine").keys() == {(5, "description")}
    compared(state, **{"looked at 0": "a side moved elsewhere"})
    with state.read() as connection:
        assert conflict_state.resolutions(connection, "mine") == {}
