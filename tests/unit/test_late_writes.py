"""What SYNAPSE may hold of a run that was overtaken: only what nothing of ours was written over since."""

from __future__ import annotations

from collections.abc import Mapping

from plant3d_sync.model.record import Value
from plant3d_sync.model.step import After, Update
from plant3d_sync.state import State, intents
from plant3d_sync.state.codec import dump
from plant3d_sync.state.intents import LATE, NOT_APPLIED
from plant3d_sync.state.lease import Lease

ONE, TWO = 5, 6
"""Links."""


def meant(state: State, link_id: int, text: str) -> int:
    """A run was about to write this, died, and was found not to have done so."""
    step = Update(
        entity="equipment",
        pnpid=link_id,
        plant3d_id=f"guid-{link_id}",
        class_name="Pump",
        tag=f"P-{link_id}",
        link_id=link_id,
        asset_id="a",
        set={"description": text},
        after=After(),
    )
    with Lease(state, "mine", "run") as held, state.write() as connection:
        number = intents.record(
            connection,
            held.fence,
            intents.Meant(
                run_id="run", plan_id="plan", side="synapse", key="k", body=b"{}", steps=[step], at=1.0
            ),
        )
        intents.close(connection, number, status=NOT_APPLIED, at=2.0)
    return number


def wrote(state: State, link_id: int, text: str, *, intent_id: int, outcome: str = "updated") -> None:
    """A run wrote this, or noted that it did although it had been overtaken."""
    row: intents.ChangeRow = {
        "project": 1,
        "run_id": f"run of {intent_id}",
        "intent_id": intent_id,
        "link_id": link_id,
        "pnpid": link_id,
        "tag": f"P-{link_id}",
        "side": "synapse",
        "op": "update",
        "outcome": outcome,
        "fields": dump({"description": ["before", text]}),
        "at": 3.0,
    }
    with state.write() as connection:
        intents.put_changes(connection, "mine", [row])


def late(state: State, *links: int) -> dict[int, Mapping[str, Value]]:
    with state.read() as connection:
        return intents.late_values(connection, "mine", links)


def test_what_was_meant_and_not_heard_of_may_have_arrived(state: State) -> None:
    meant(state, ONE, "late")
    assert late(state, ONE, TWO) == {ONE: {"description": "late"}}


def test_what_was_noted_late_stands_there(state: State) -> None:
    wrote(state, ONE, "late", intent_id=1, outcome=LATE)
    assert late(state, ONE, TWO) == {ONE: {"description": "late"}}


def test_a_late_write_that_we_wrote_over_since_stands_nowhere(state: State) -> None:
    wrote(state, ONE, "late", intent_id=1, outcome=LATE)
    wrote(state, ONE, "newer", intent_id=2)
    assert late(state, ONE) == {}


def test_what_was_meant_before_our_newest_write_stands_nowhere_whatever_another_item_waits_for(
    state: State,
) -> None:
    before = meant(state, ONE, "late")
    wrote(state, ONE, "newer", intent_id=before + 1)
    assert late(state, ONE, TWO) == {}
