"""Refused rows wait alone: offered again at growing distances, at once when they move, and left alone when a person says so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from plant3d_sync.model.plan import RowError
from plant3d_sync.model.refused import Ignored, Key, Refused, digest_of, offer_of
from plant3d_sync.model.step import Archive
from plant3d_sync.reconcile.case import Decision, Fate
from plant3d_sync.reconcile.quarantine import Quarantine
from plant3d_sync.state import State, acknowledgements, intents, seals
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import quarantine as kept
from plant3d_sync.state.acknowledgements import QUARANTINE
from plant3d_sync.usecases import quarantine as verbs

ONE = RowError(
    code="too_long",
    message="4001 characters.",
    plant3d_id="guid-1",
    pnpid=1,
    tag="P-1",
    field="description",
    plant3d="one",
    into="synapse",
    offer=b"one",
)
CELL = replace(ONE, pnpid=2, plant3d_id="guid-2", into="plant3d", code="control_character", offer=b"")


def met(
    state: State,
    *errors: RowError,
    at: float = 1.0,
    settled: Sequence[str] = ("synapse", "plant3d"),
    aside: Sequence[str] = (),
    left_alone: Sequence[int] = (),
    run_id: str | None = None,
    looks_at_words: bool = True,
) -> None:
    """The end of a run that met these refusals."""
    with state.write() as connection:
        number = project_state.ensure(connection, "mine").number
        kept.keep(
            connection,
            number,
            "mine",
            kept.Looked(
                errors=errors,
                at=at,
                entity_of={},
                drawing_of={},
                settled=settled,
                aside=aside,
                left_alone=left_alone,
                run_id=run_id,
            ),
        )
        if looks_at_words:
            kept.end_moved(connection, number, "mine", at=at)


def rows(state: State) -> list[kept.Kept]:
    with state.read() as connection:
        return kept.rows_of(connection, project_state.ensure(connection, "mine").number)


def left_alone(state: State, *ids: int) -> None:
    verbs.ignore(state, "mine", ids, reason="as agreed", by="anna", at=2.0)


def words(state: State) -> int:
    with state.read() as connection:
        return len(acknowledgements.standing(connection, "mine", QUARANTINE))


def wakes_a_run(state: State) -> bool:
    """Whether the next run compares; asked once."""
    with state.write() as connection:
        known = project_state.ensure(connection, "mine")
        project_state.update(connection, "mine", force_compare=False)
        return known.force_compare


def test_the_pauses_between_tries_are_doubled_up_to_an_hour() -> None:
    assert [kept.retry_after(tries) for tries in range(1, 8)] == [0, 300, 600, 1200, 2400, 3600, 3600]
    assert kept.retry_after(10_000) == 3600


def test_each_try_counts_and_one_that_was_held_back_does_not(state: State) -> None:
    met(state, ONE)
    met(state, ONE, at=2.0)
    met(state, replace(ONE, held=True), at=3.0)
    (row,) = rows(state)
    assert (row.attempts, row.first_at, row.last_at, row.next_try_at) == (2, 1.0, 2.0, 302.0)


def test_what_moved_is_another_refusal(state: State) -> None:
    met(state, ONE)
    met(state, replace(ONE, plant3d="another", offer=b"another"), at=9.0)
    (row,) = rows(state)
    assert (row.attempts, row.first_at, row.next_try_at) == (1, 9.0, 9.0)


def test_a_run_that_found_out_about_one_side_leaves_the_other_alone(state: State) -> None:
    met(state, ONE, CELL)
    met(state, settled=["synapse"])
    assert [row.side for row in rows(state)] == ["plant3d"]
    met(state, settled=["plant3d"])
    assert rows(state) == []


def test_a_row_of_an_item_that_was_not_compared_stays(state: State) -> None:
    met(state, ONE)
    met(state, aside=["guid-1"])
    assert len(rows(state)) == 1


def test_what_a_run_wrote_is_refused_no_more_though_the_rest_of_its_item_waits(state: State) -> None:
    met(state, ONE)
    written: intents.ChangeRow = {
        "project": 1,
        "run_id": "r",
        "intent_id": 1,
        "link_id": None,
        "pnpid": 1,
        "tag": "P-1",
        "side": "synapse",
        "op": "update",
        "outcome": "updated",
        "fields": "{}",
        "at": 2.0,
    }
    with state.write() as connection:
        intents.put_changes(connection, "mine", [written])
    met(state, aside=["guid-1"], run_id="another")
    assert len(rows(state)) == 1
    met(state, aside=["guid-1"], run_id="r")
    assert rows(state) == []


def test_a_row_that_a_person_left_alone_stays_and_his_word_with_it(state: State) -> None:
    met(state, ONE)
    (row,) = rows(state)
    left_alone(state, row.id)
    met(state, left_alone=[row.id])
    assert len(rows(state)) == 1 and words(state) == 1


@pytest.mark.parametrize("looks_at_words", [True, False])
def test_a_word_ends_with_its_row(state: State, looks_at_words: bool) -> None:
    met(state, ONE)
    left_alone(state, rows(state)[0].id)
    met(state, looks_at_words=looks_at_words)
    assert rows(state) == [] and words(state) == 0
    with state.read() as connection:
        assert seals.verify(connection).broken == [], "its end is sealed too"


def test_a_word_ends_when_what_it_was_said_of_moves(state: State) -> None:
    met(state, ONE)
    left_alone(state, rows(state)[0].id)
    met(state, ONE, at=3.0)
    assert words(state) == 1
    met(state, replace(ONE, plant3d="another", offer=b"another"), at=4.0)
    assert words(state) == 0


def test_a_word_counts_only_for_what_it_was_said_of_even_before_it_ends(state: State) -> None:
    met(state, ONE)
    left_alone(state, rows(state)[0].id)
    met(state, replace(ONE, plant3d="another", offer=b"another"), at=3.0, looks_at_words=False)
    with state.read() as connection:
        ((row,),) = kept.read(connection, project_state.ensure(connection, "mine").number, "mine").values()
    assert row.ignored is None and words(state) == 1


def test_a_cell_that_nobody_wants_to_write_any_more_is_refused_no_more(state: State) -> None:
    met(state, CELL)
    with state.write() as connection:
        kept.forget_pushes(connection, project_state.ensure(connection, "mine").number, "mine", at=2.0)
    assert rows(state) == []


def test_who_tries_a_row_tries_it_now_and_the_next_run_compares(state: State) -> None:
    for at in (1.0, 2.0, 3.0):
        met(state, ONE, at=at)
    (row,) = rows(state)
    assert row.next_try_at > 600 and not wakes_a_run(state)
    verbs.retry(state, "mine", [row.id], by="anna", at=4.0)
    assert rows(state)[0].next_try_at == 0.0 and wakes_a_run(state)


def test_who_leaves_a_row_alone_is_told_of_by_the_next_run(state: State) -> None:
    met(state, ONE)
    left_alone(state, rows(state)[0].id)
    assert wakes_a_run(state)


def test_who_tries_all_rows_leaves_alone_what_was_left_alone_and_a_name_takes_it_back(state: State) -> None:
    met(state, ONE, CELL)
    one, cell = rows(state)
    left_alone(state, one.id)
    assert [row["id"] for row in verbs.retry(state, "mine", None, by="anna", at=4.0)] == [cell.id]
    assert words(state) == 1
    verbs.retry(state, "mine", [one.id], by="anna", at=5.0)
    assert words(state) == 0


# ---------------------------------------------------------------- the next decision

STEP = Archive(
    link_id=1,
    asset_id="a",
    entity="equipment",
    pnpid=1,
    plant3d_id="guid-1",
    class_name="Pump",
    tag="P-1",
    asset_version=3,
    description_version=None,
)
OFFERED = replace(ONE, offer=offer_of(STEP))
WAITS = Refused(
    number=7,
    key=Key(1, "description", "too_long"),
    into="synapse",
    digest=digest_of(OFFERED),
    offered=True,
    attempts=3,
    next_try_at=1000.0,
    error=OFFERED,
)
ASKED = Ignored(by="anna", at=1.0, reason="as agreed")
DECIDED = Decision(fate=Fate.UPDATED, steps=(STEP,), archived=True)


def settled_at(now: float, *known: Refused, decided: Decision = DECIDED) -> Decision:
    return Quarantine(rows={1: known}, now=now).settle(1, decided)


def test_a_step_waits_for_its_time_and_its_item_counts_as_not_compared() -> None:
    early = settled_at(999.0, WAITS)
    assert early.steps == () and early.uncompared and early.waits and not early.archived
    assert [error.held for error in early.errors] == [True] and early.fate is Fate.ERRORS
    assert settled_at(1000.0, WAITS) == DECIDED


def test_another_step_than_the_refused_one_waits_for_nothing() -> None:
    other = msgspec.structs.replace(STEP, asset_version=4)
    assert settled_at(0.0, WAITS, decided=msgspec.structs.replace(DECIDED, steps=(other,))).steps == (other,)


def test_what_a_person_left_alone_is_neither_offered_nor_an_error_whatever_the_time() -> None:
    left = settled_at(1e9, msgspec.structs.replace(WAITS, ignored=ASKED))
    assert left.steps == () and left.errors == () and left.fate is Fate.SKIPPED
    assert [one.code for one in left.findings] == ["ignored"]


def test_a_word_about_one_refusal_does_not_hide_the_next() -> None:
    ignored = msgspec.structs.replace(WAITS, offered=False, ignored=ASKED)
    again = Decision(fate=Fate.ERRORS, errors=(OFFERED,))
    assert settled_at(0.0, ignored, decided=again).errors == ()
    moved = Decision(fate=Fate.ERRORS, errors=(replace(OFFERED, offer=b"another"),))
    assert settled_at(0.0, ignored, decided=moved) == moved
