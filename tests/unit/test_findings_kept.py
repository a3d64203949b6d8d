"""A finding is told once, as it is now, until it is gone; a person's word about it ends with it, or on its day."""

from __future__ import annotations

from msgspec.structs import replace

from plant3d_sync.model.record import Finding
from plant3d_sync.state import State, acknowledgements, findings
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.findings import Found, Wanted

TAGLESS = Finding(
    code="untagged", message="It has no tag.", pnpid=1, class_name="Pump", drawing="D-1", hint="Give it one."
)
MISSED = Finding(code="missing", message="Not seen 1 time.", pnpid=2, class_name="Pump", drawing="D-1")


def read(state: State, *found: Finding, at: float) -> None:
    """A complete read found these."""
    with state.write() as connection:
        findings.replace_findings(connection, project_state.ensure(connection, "mine").number, found, at)


def listed(state: State, now: float = 100.0, status: str = "all") -> list[Found]:
    with state.read() as connection:
        number = project_state.ensure(connection, "mine").number
        return list(findings.matching(connection, number, Wanted(status=status), now=now))


def knows(state: State, *, until: float | None = None) -> None:
    """Somebody says of all of them that he knows."""
    about = {one["key"]: None for one in listed(state)}
    with state.write() as connection:
        acknowledgements.say(
            connection,
            "mine",
            acknowledgements.FINDING,
            about,
            acknowledgements.Word(reason="phase 2", by="anna", at=50.0, until=until),
        )


def words(state: State) -> int:
    with state.read() as connection:
        return len(acknowledgements.standing(connection, "mine", acknowledgements.FINDING))


def test_what_is_still_so_keeps_its_number_and_its_age_and_what_is_gone_is_closed(state: State) -> None:
    read(state, TAGLESS, MISSED, at=1.0)
    first = listed(state)
    read(state, TAGLESS, at=2.0)
    (left,) = listed(state)
    assert left in first and left["first_seen"] == 1.0


def test_how_often_an_item_was_missed_is_the_same_finding_with_other_words(state: State) -> None:
    read(state, MISSED, at=1.0)
    read(state, replace(MISSED, message="Not seen 2 times."), at=2.0)
    (one,) = listed(state)
    assert (one["first_seen"], one["message"]) == (1.0, "Not seen 2 times.")


def test_an_item_that_is_drawn_elsewhere_now_is_told_there(state: State) -> None:
    read(state, TAGLESS, at=1.0)
    read(state, replace(TAGLESS, drawing="D-2"), at=2.0)
    (one,) = listed(state)
    assert (one["first_seen"], one["drawing"]) == (1.0, "D-2")


def test_a_word_ends_with_its_finding_and_does_not_come_back_with_it(state: State) -> None:
    read(state, TAGLESS, at=1.0)
    knows(state)
    read(state, at=2.0)
    read(state, TAGLESS, at=3.0)
    (one,) = listed(state)
    assert one["acknowledged"] is None and words(state) == 0


def test_a_word_counts_until_its_day_and_the_next_read_ends_it(state: State) -> None:
    read(state, TAGLESS, at=1.0)
    knows(state, until=60.0)
    assert listed(state, 59.0, "open") == [] and len(listed(state, 60.0, "open")) == 1
    read(state, TAGLESS, at=59.0)
    assert words(state) == 1
    read(state, TAGLESS, at=60.0)
    assert words(state) == 0


def test_groups_are_of_one_cause_drawing_and_class_and_the_largest_comes_first(state: State) -> None:
    many = [replace(TAGLESS, pnpid=number, message=f"{number}") for number in range(3)]
    read(state, replace(TAGLESS, pnpid=9, drawing="D-0"), *many, at=1.0)
    with state.read() as connection:
        number = project_state.ensure(connection, "mine").number
        found = findings.groups(connection, number, Wanted(), now=2.0)
    assert [(one["drawing"], one["count"]) for one in found] == [("D-1", 3), ("D-0", 1)]
