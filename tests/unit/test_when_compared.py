"""An edit is dated by the last comparison of its own item, whatever the project's last read looked at."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.model.link import Hold, InSynapse, Interval, LinkState, Open
from plant3d_sync.model.step import After, Touch
from plant3d_sync.reconcile.advance import remembered
from plant3d_sync.reconcile.planning import Draft
from tests.support.builders import item, lines, link, plan

FIRST, LAST, NOW = 100.0, 500.0, 600.0
WHEN = {"now": NOW, "last_plant3d_read": LAST, "last_synapse_read": LAST}


def seen_after(draft: Draft) -> Any:
    """Since when the edit of the description in Plant 3D may be, as the question shows it."""
    (conflict,) = draft.conflicts
    assert conflict.plant3d_seen is not None
    return conflict.plant3d_seen.at_base


def both_edited(**more: Any) -> tuple[Any, Any]:
    held = link(item(1, "P-1", "agreed"), synapse_delta={"description": "the user's"}, **more)
    return item(1, "P-1", "the designer's"), held


@pytest.mark.parametrize(("looked_at", "since"), [(None, LAST), (FIRST, FIRST), (0.0, None)])
def test_an_edit_may_be_as_old_as_the_last_comparison_of_its_item(
    looked_at: float | None, since: float | None
) -> None:
    drawn, held = both_edited(looked_at=looked_at)
    assert seen_after(plan([drawn], [held], **WHEN)) == since


def test_the_newest_wins_by_what_is_known_of_the_item_itself() -> None:
    """The user's edit lies between the item's last comparison and the project's last read: nobody can tell."""
    user = {"description": {"s": Interval(at_base=200.0, away=300.0)}}
    waits = {"description": Open(why="waits_for_push", plant3d="agreed", synapse="the user's")}
    drawn, held = both_edited(looked_at=FIRST, observed=user, pending=waits)
    assert [conflict.field for conflict in plan([drawn], [held], **WHEN).conflicts] == ["description"]
    compared = replace(held, looked_at=None)
    assert not plan([drawn], [compared], **WHEN).conflicts, "compared since: the designer's is younger"


def test_a_comparison_ends_it() -> None:
    _drawn, held = both_edited(looked_at=FIRST)
    step = Touch("equipment", 1, "guid", "Pump", "P-1", link_id=1, after=After(digest="00"))
    assert remembered(held, step).looked_at is None


def test_a_field_that_could_not_be_read_keeps_the_time_of_its_last_comparison() -> None:
    held = link(item(1, "P-1", "agreed"), synapse_delta={"description": "the user's"})
    draft = plan([item(1, "P-1", without=("Remark",))], [held], **WHEN)
    (step,) = lines(draft)
    assert step["after"]["observed"]["description"]["p"] == [LAST, NOW]
    readable = replace(held, observed={"description": {"p": Interval(at_base=FIRST, away=200.0)}})
    assert seen_after(plan([item(1, "P-1", "the designer's")], [readable], **WHEN)) == FIRST


def uncompared(*args: Any, **more: Any) -> list[int]:
    return sorted(int(guid[-12:]) for guid in plan(*args, **more).uncompared)


def test_what_a_read_did_not_compare_is_named() -> None:
    pumps = [item(n, f"P-{n}", "agreed") for n in range(1, 8)]
    links = [link(one) for one in pumps]
    held = {"*": Hold(side="synapse", value=None)}
    links[5] = replace(links[5], state=LinkState.ARCHIVED, in_synapse=InSynapse.ARCHIVED, holds=held)
    read = [
        pumps[0],
        item(2, "P-" + "2" * 200, "agreed"),  # no usable tag: it keeps its asset's, the rest is compared
        item(3, "P-X", "agreed"),  # two items with one tag
        item(4, "P-X", "agreed"),
        item(5, "P-7", "agreed"),  # a tag that another asset keeps
        pumps[5],  # archived in SYNAPSE
        # 7 is absent
    ]
    assert uncompared(read, links) == [3, 4, 5, 6, 7]


def test_an_item_with_a_disputed_identity_is_not_compared() -> None:
    drawn = item(1, "P-1", "agreed")
    moved = replace(link(drawn), pnpid=9)
    assert uncompared([drawn], [moved]) == [1]
