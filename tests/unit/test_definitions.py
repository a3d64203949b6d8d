"""A changed mapping is nobody's edit: which definitions a link was compared under, and what a plan makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.model.link import Open
from plant3d_sync.model.outcome import Resolution
from plant3d_sync.model.side import Direction
from plant3d_sync.model.step import After, Touch
from plant3d_sync.reconcile.advance import remembered
from plant3d_sync.reconcile.definitions import MAPPING_CHANGED, UNKNOWN, Definitions
from plant3d_sync.reconcile.planning import Draft
from plant3d_sync.usecases.conflicts import KINDS
from tests.support.builders import item, lines, link, plan, writes

OLD, NEW = {"Pump": {"description": "old", "tag": "t"}}, {"description": "new", "tag": "t"}


def definitions(**more: Any) -> Definitions:
    """The description comes from elsewhere since version 1; version 2 is the current one unless it is new."""
    facts: dict[str, Any] = {"current": None, "last": 1, "is_new": True, "earlier": {1: OLD}}
    return Definitions(now=lambda _class_name, name: NEW[name], **(facts | more))


CURRENT: dict[str, Any] = {"current": 2, "last": 2, "is_new": False}


@pytest.mark.parametrize(
    ("version", "known", "changed"),
    [
        (None, {}, True),  # compared by the last complete read, under the mapping before
        (None, CURRENT, False),
        (1, CURRENT, True),  # set aside by the read that stored version 2
        (2, CURRENT, False),
        (UNKNOWN, CURRENT, True),
        (None, {"last": None}, True),  # a state of an earlier version, and the mapping is another one
        (None, {"last": None, "is_new": False}, False),
    ],
)
def test_a_link_knows_under_which_definitions_it_was_compared(
    version: int | None, known: dict[str, Any], changed: bool
) -> None:
    held = link(item(1, "P-1", "agreed"), mapping_version=version)
    assert definitions(**known).changed(held, "Pump", "description") is changed


def test_only_the_field_itself_counts() -> None:
    assert not definitions().changed(link(item(1, "P-1", "agreed")), "Pump", "tag")


def planned(plant3d: str, synapse: str, *, more: Any = None, **link_facts: Any) -> Draft:
    held = link(item(1, "P-1", "agreed"), synapse_delta={"description": synapse}, **link_facts)
    if synapse == "agreed":
        held = replace(held, synapse_delta={})
    return plan([item(1, "P-1", plant3d)], [held], **{"definitions": definitions(), **(more or {})})


def test_what_stands_elsewhere_goes_to_a_synapse_that_did_not_move() -> None:
    (line,) = writes(planned("stood there all along", "agreed"))
    assert (line["set"], line["why"]) == (
        {"description": "stood there all along"},
        {"description": "mapping_changed"},
    )


def test_it_is_a_question_when_somebody_typed_in_synapse() -> None:
    draft = planned("stood there all along", "typed by a user")
    assert not writes(draft)
    (conflict,) = draft.conflicts
    assert (conflict.kind, conflict.suggestion) == (MAPPING_CHANGED, "synapse")
    assert MAPPING_CHANGED in KINDS


def test_the_question_stays_although_the_next_run_compares_under_the_new_mapping() -> None:
    asked = {
        "description": Open(
            why="conflict", plant3d="stood there", synapse="typed by a user", no_edit=MAPPING_CHANGED
        )
    }
    more = {"definitions": definitions(**CURRENT)}
    again = planned("stood there", "typed by a user", pending=asked, more=more)
    assert [conflict.kind for conflict in again.conflicts] == [MAPPING_CHANGED]
    (step,) = lines(again)
    assert step["after"]["pending"]["description"]["no_edit"] == MAPPING_CHANGED
    edited = planned("edited since", "typed by a user", pending=asked, more=more)
    assert [conflict.kind for conflict in edited.conflicts] != [MAPPING_CHANGED]


@pytest.mark.parametrize(("chosen", "op"), [("stood there", "update"), ("typed by a user", "push")])
def test_a_choice_is_carried_out(chosen: str, op: str) -> None:
    choice = Resolution(
        conflict_id="c",
        plant3d_value="stood there",
        synapse_value="typed by a user",
        chosen=chosen,
        by="anna",
    )
    more = {"resolutions": {(1001, "description"): choice}, "direction": Direction.BOTH}
    assert op in [line["op"] for line in lines(planned("stood there", "typed by a user", more=more))]


def test_a_comparison_brings_the_link_up_to_date() -> None:
    held = link(item(1, "P-1", "agreed"), mapping_version=1)
    step = Touch("equipment", 1, "guid", "Pump", "P-1", link_id=1, after=After(digest="00"))
    assert remembered(held, step).mapping_version is None
