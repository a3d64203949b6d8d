"""What does not hold in the state database is said in whole sentences, so that it is said in each language."""

from __future__ import annotations

import re

import pytest

from plant3d_sync.language import speaking, tr
from plant3d_sync.state.seals.altered import ADDED, CHANGED, GONE, MOVED, TOUCHED, Altered, refusal
from plant3d_sync.state.seals.verify import broken_of

ENGLISH = re.compile(r"\b(was|were|of|and|more|from|entries|entry|one|or|row)\b")
ROWS = [
    "7f3a9c",
    "7f3a9c/12",
    "(one between 1 and 3)",
    "(of intent 4)",
    "(of an intent)",
    "(of run 7f3a, intent 3)",
]


@pytest.mark.parametrize("what", [CHANGED, ADDED, GONE, MOVED, TOUCHED])
@pytest.mark.parametrize("row", [*ROWS, "(one or more)"])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_refusal_of_altered_rows_is_french_for_a_french_reader(what: str, row: str, count: int) -> None:
    one = Altered("usine", "plan_chunk", row, what)
    said = refusal([one] * count, "Nothing was written.").message
    assert said.startswith("The state database was altered from outside: plan_chunk ")
    with speaking("fr"):
        told = tr(said)
    assert not ENGLISH.search(told), told
    assert "usine" in told and (count == 1 or str(count - 1) in told)


@pytest.mark.parametrize("what", [CHANGED, ADDED, GONE, MOVED, TOUCHED])
def test_so_is_what_the_walk_over_all_rows_finds(what: str) -> None:
    found = broken_of(Altered("usine", "plan", "7f3a9c", what))
    assert str(found) == f"plan 7f3a9c {what} (row_altered)"
    with speaking("fr"):
        for text in (found.what, str(found)):
            assert not ENGLISH.search(tr(text).replace("(row_altered)", "")), tr(text)
        several = f"The audit trail does not hold: {found.project}, {found}, and 3 more. Nothing was changed."
        assert not ENGLISH.search(tr(several).replace("(row_altered)", "")), tr(several)
