"""The inverse of what a run did, as a table: what was recorded, what the pair holds now -> the step, or why not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.model.change import Change, LeftAlone, WrittenCell, WrittenRow
from plant3d_sync.model.link import Hold, InSynapse, Link, LinkState
from plant3d_sync.model.plan import Op
from plant3d_sync.model.step import Update
from plant3d_sync.reconcile.reverse import Reversal, reverse

CELL = WrittenCell(table_class="Valve", column="Description", old="before", new="after")
ROW = WrittenRow(cells=(CELL,), ticks=7)


def change(op: str, *, side: str = "synapse", **fields: tuple[str | None, str | None]) -> Change:
    return Change(change_id=9, link_id=1, intent_id=3, pnpid=7, tag="HV-7", side=side, op=op, fields=fields)


def pair(**more: Any) -> Link:
    known = Link(
        link_id=1,
        pnpid=7,
        plant3d_id="guid-7",
        class_name="GateValve",
        entity="valves",
        asset_id="a",
        asset_version=1,
        description_version=1,
        tag="HV-7",
        digest=b"\1",
        base={"tag": "HV-7", "description": "after"},
    )
    for name, value in more.items():
        setattr(known, name, value)
    return known


def reversed_(change: Change, link: Link | None, *, write_mode: str = "sql") -> Reversal:
    return reverse(change, link, ROW if change.side == "plant3d" else WrittenRow(), write_mode=write_mode)


UPDATE = change("update", description=("before", "after"))
PUSH = change("push", side="plant3d", description=("before", "after"))
ARCHIVED = {"state": LinkState.ARCHIVED, "in_synapse": InSynapse.ARCHIVED}


@pytest.mark.parametrize(
    ("recorded", "now", "inverse"),
    [
        (change("create"), pair(), Op.ARCHIVE),
        (change("archive"), pair(**ARCHIVED), Op.RESTORE),
        (change("restore"), pair(), Op.ARCHIVE),
        (UPDATE, pair(), Op.UPDATE),
        (change("adopt", description=("before", "after")), pair(), Op.UPDATE),
        (PUSH, pair(), Op.PUSH),
    ],
    ids=lambda value: getattr(value, "op", None) if isinstance(value, Change) else None,
)
def test_every_recorded_write_has_its_inverse(recorded: Change, now: Link, inverse: Op) -> None:
    found = reversed_(recorded, now)
    assert found.left == ()
    assert found.step is not None
    assert (found.step.op, found.step.undo_change) == (inverse, 9)


@pytest.mark.parametrize(
    ("recorded", "now", "why"),
    [
        (UPDATE, None, "the pair is not linked any more"),
        (UPDATE, pair(**ARCHIVED), "archived since"),
        (PUSH, pair(**ARCHIVED), "archived since"),
        (change("create"), pair(**ARCHIVED), "already archived"),
        (change("create"), pair(asset_version=2), "edited since"),
        (change("create"), pair(synapse_delta={"description": "typed"}), "edited since"),
        (change("archive"), pair(), "not archived any more"),
        (change("archive"), pair(state=LinkState.ARCHIVED), "not archived any more"),
        (change("restore"), pair(**ARCHIVED), "already archived"),
        (change("restore"), pair(synapse_delta={"description": "typed"}), "edited since"),
        (UPDATE, pair(synapse_delta={"description": "typed"}), "edited since"),
        (change("adopt", plant3d_id=(None, "guid-7")), pair(), "an identity is never taken back"),
        (PUSH, pair(base_plant={"description": "typed"}), "edited since"),
        (PUSH, pair(synapse_delta={"description": "typed"}), "edited since"),
    ],
)
def test_what_was_edited_since_is_left_alone_with_its_reason(
    recorded: Change, now: Link | None, why: str
) -> None:
    found = reversed_(recorded, now)
    assert found.step is None
    assert [one.why for one in found.left] == [why]


def test_a_write_of_a_kind_that_nobody_knows_is_not_put_back_as_if_it_were_an_update() -> None:
    with pytest.raises(NeedsPersonError, match="cannot undo"):
        reversed_(change("merged", description=("before", "after")), pair())


def test_a_creation_whose_unread_fields_are_still_empty_was_not_edited() -> None:
    assert reversed_(change("create"), pair(synapse_delta={"note": None})).step is not None


def test_nothing_goes_back_into_plant_3d_without_permission() -> None:
    found = reversed_(PUSH, pair(), write_mode="off")
    assert found == Reversal(
        left=(
            LeftAlone(
                field="description",
                value_now="after",
                why="Plant 3D may not be written to (write: off)",
            ),
        )
    )


def test_of_several_fields_only_those_go_back_that_still_hold_what_was_written() -> None:
    recorded = change("update", description=("before", "after"), note=("one", "two"))
    found = reversed_(recorded, pair())
    assert found.step is not None
    assert [(one.field, one.why) for one in found.left] == [("note", "edited since")]


def test_what_goes_back_is_held_until_somebody_types() -> None:
    found = reversed_(UPDATE, pair()).step
    assert found is not None
    assert found.after.holds == {"description": Hold(side="synapse", value="after", kept="before")}
    assert found.after.ends == ["description"]


def saved(*, now: str) -> Reversal:
    """The undo of an update that took the time of the save along, where SYNAPSE shows this time now."""
    recorded = replace(
        change("update", description=("before", "after"), saved=("1 June", "2 June")), information=("saved",)
    )
    return reversed_(recorded, pair(base={"description": "after", "saved": now}))


def test_information_goes_back_along_and_is_not_held() -> None:
    found = saved(now="2 June").step
    assert isinstance(found, Update)
    assert found.set == {"description": "before", "saved": "1 June"}
    assert found.why == {"description": "undo", "saved": "information"}
    assert set(found.after.holds) == {"description"}


def test_information_that_a_later_update_took_along_is_left_without_a_word() -> None:
    found = saved(now="3 June")
    assert isinstance(found.step, Update)
    assert found.step.set == {"description": "before"}
    assert found.left == ()


def test_information_is_not_put_back_by_itself() -> None:
    recorded = replace(change("update", saved=("1 June", "2 June")), information=("saved",))
    assert reversed_(recorded, pair(base={"saved": "2 June"})) == Reversal()


def test_a_cell_goes_back_under_the_stamp_that_its_row_has_now() -> None:
    found = reversed_(PUSH, pair()).step
    assert found is not None
    (cell,) = found.cells
    assert (cell.old, cell.new, cell.ticks, cell.hold, cell.kept) == ("after", "before", 7, True, "before")


def test_the_undo_of_an_undo_is_judged_by_what_the_first_one_put_away() -> None:
    first = change("undo", side="plant3d", description=("before", "after"))
    held = pair(
        synapse_delta={"description": "away"},
        holds={"description": Hold(side="synapse", value="away", kept="after")},
    )
    assert reversed_(first, held).step is not None
