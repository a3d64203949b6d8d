"""Who accepts a change of the schema while a run is under way is not overruled by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.model.schema import Schema, Used
from plant3d_sync.run.schema import Look, remember
from plant3d_sync.state import State, schemas
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.schemas import Kept
from tests.support.state import empty_state

BEFORE, NOW = (
    Schema(mapping="m", classes={"Pump": Used(base="Equipment", columns={"Description": facts})})
    for facts in (["EngineeringItems", "System.String", 255], None)
)
FIRST = Kept(accepted=BEFORE, accepted_at=1.0, accepted_by="sync", step={"step": "s"}, offered=NOW)
ACCEPTED = Kept(accepted=NOW, accepted_at=2.0, accepted_by="anna")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    (tmp_path / "state.db").write_bytes(empty_state())
    made = State(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


@pytest.mark.parametrize(("stored", "kept"), [(FIRST, "sync"), (ACCEPTED, "anna")])
def test_the_word_of_a_person_goes_before_that_of_a_run_that_began_earlier(
    state: State, stored: Kept, kept: str
) -> None:
    with state.write() as connection:
        number = project_state.ensure(connection, "mine").number
        schemas.put(connection, number, stored)
        remember(connection, number, Look(kept=FIRST, now=BEFORE), at=3.0, by="sync")
        found = schemas.get(connection, number)
    assert found is not None and found.accepted_by == kept
    assert found.accepted == (NOW if kept == "anna" else BEFORE)


@pytest.mark.parametrize("accepted", [BEFORE, NOW, Schema(mapping="m", classes={})])
def test_the_catalogue_as_it_is_stands_for_the_accepted_one_only_if_it_is_the_same(
    state: State, accepted: Schema
) -> None:
    with state.write() as connection:
        number = project_state.ensure(connection, "mine").number
        schemas.put(connection, number, Kept(accepted=accepted, accepted_at=1.0, accepted_by="sync"))
        for now in (
            BEFORE,
            NOW,
            Schema(mapping="m", classes={}),
            Schema(mapping="n", classes=BEFORE.classes),
        ):
            kept = schemas.get(connection, number, now)
            assert kept is not None and kept.accepted == accepted
            assert (kept.accepted is now) == (now == accepted)
