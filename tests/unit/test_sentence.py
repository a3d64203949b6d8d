"""Each step says what it does, in one place: what `show` and the API print is read from the steps that `apply` reads."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from plant3d_sync import language
from plant3d_sync.model.link import LinkState, Missing, Open
from plant3d_sync.model.sentence import gone, sentences
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    After,
    AfterCreation,
    Archive,
    Cell,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    Touch,
    Update,
    values_text,
)
from plant3d_sync.web import documents

HEAD: dict[str, Any] = {
    "entity": "valves",
    "pnpid": 7,
    "plant3d_id": "g",
    "class_name": "GateValve",
    "tag": "HV-1",
}
MISSING = After(
    state=LinkState.PENDING,
    missing=Missing(since="2026-11-27", reads=2, last_counted="2026-11-27", signature=None),
)
CELL = Cell(
    field="description", column="Description", table_class="Equipment", old=None, new="b", ticks=1, plant3d=None, synapse="b",
    why="only SYNAPSE changed",
)  # fmt: skip
STEPS: list[tuple[Step, list[str]]] = [
    (
        Create(**HEAD, after=AfterCreation(), text=values_text({"tag": "HV-1"})),
        ["create   HV-1  (GateValve, PnPID 7)"],
    ),
    (
        Update(
            **HEAD, set={"size": "3", "note": None}, was={"size": "2"}, why={"size": "only Plant 3D changed"}
        ),
        [
            "update   HV-1 · size · Plant 3D to SYNAPSE · '2' to '3' · only Plant 3D changed",
            "update   HV-1 · note · Plant 3D to SYNAPSE · nothing to nothing · ",
        ],
    ),
    (Adopt(**HEAD), ["adopt    HV-1  (GateValve, PnPID 7)"]),
    (Restore(**HEAD), ["restore  HV-1  (GateValve, PnPID 7)"]),
    (
        Archive(**HEAD, after=MISSING, needs="person"),
        [
            "archive  HV-1  (GateValve, PnPID 7) · not seen since 2026-11-27 (2 of 3 reads) · pending: it is archived only "
            "when a person applies the plan"
        ],
    ),
    (Archive(**HEAD), ["archive  HV-1  (GateValve, PnPID 7)"]),
    (
        Push(**HEAD, cells=[CELL], needs="person"),
        [
            "push     HV-1 · description · SYNAPSE to Plant 3D · nothing to 'b' · only SYNAPSE changed · person"
        ],
    ),
    (
        Settle(**HEAD, after=After(pending={"size": Open(why="conflict", plant3d="2", synapse="3")})),
        ["open     HV-1 · size · '2' / '3' · conflict"],
    ),
    (Touch(**HEAD), ["touch    HV-1 · nothing is written; what was seen is remembered"]),
    (
        Absent(**HEAD, after=MISSING),
        [
            "missing  HV-1  (GateValve, PnPID 7) · not seen since 2026-11-27 (2 of 3 reads) · pending: it stays in SYNAPSE "
            "until somebody decides"
        ],
    ),
]


@pytest.mark.parametrize(("step", "told"), STEPS, ids=lambda one: type(one).__name__)
def test_a_step_says_what_it_does(step: Step, told: list[str]) -> None:
    assert sentences(step, needed=3) == told


def test_no_kind_of_step_is_silent() -> None:
    assert {type(step) for step, _ in STEPS} == set(get_args(Step))
    assert all(sentences(step) for step, _ in STEPS)


@pytest.mark.parametrize(
    ("needed", "english", "french"),
    [
        (None, "2 reads", "2 lectures"),
        (1, "2 reads, 1 needed", "2 lectures"),
        (3, "2 of 3 reads", "2 lectures sur 3"),
    ],
)
def test_reads_are_counted_against_what_is_asked_for(needed: int | None, english: str, french: str) -> None:
    [told] = sentences(Absent(**HEAD, after=MISSING), needed=needed)
    assert f"({english})" in told
    with language.speaking("fr"):
        said = language.tr(told)
    assert french in said and "non vu depuis" in said and "quelqu'un décide" in said


def test_only_an_absent_item_is_gone() -> None:
    assert [type(step).__name__ for step, _ in STEPS if gone(step) is not None] == ["Archive", "Absent"]


def test_the_api_says_the_same_sentences_in_the_language_of_whoever_asks() -> None:
    step, told = STEPS[1]
    line = documents.plan_line(1, step, 3).model_dump()
    assert line["sentences"] == told
    with language.speaking("fr"):
        [first, _] = language.tr_members(line, language.TOLD)["sentences"]
    assert first.startswith("update   HV-1 · size · Plant 3D vers SYNAPSE · '2' devient '3'")
