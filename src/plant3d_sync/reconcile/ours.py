"""Is what a Plant 3D cell holds an edit, or a copy of something of ours?

A session that is open since morning, an old backup or an old workbook brings back what we wrote or replaced: nobody
typed it now. A run that was overtaken may write after the run that took over has compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from plant3d_sync.model.ours import Origin, Ours
from plant3d_sync.model.record import Value

ALIVE_SECONDS = 30 * 86_400.0
"""So long a copy may live, however often the cell was written since."""

ALIVE_COUNT = 10
"""How many values of one cell are remembered as ours, however old."""


def of_field(known: Sequence[Ours], alive: Sequence[Ours], name: str, now: float) -> list[Ours]:
    """The values that Plant 3D held in a field before we wrote its cell last (`alive`: what is ours there): a session that
    is open since then holds one of them. None where we never wrote: there a designer goes back to what he likes.
    """
    written = max((one.at for one in alive if one.origin is Origin.WRITTEN), default=None)
    if written is None:
        return []
    return [
        one
        for one in reversed(known)
        if one.origin is Origin.HELD and one.column == name and now - ALIVE_SECONDS <= one.at <= written
    ]


class Copy(Enum):
    """What a value that left the base is."""

    NO = "no"  # an edit
    OLD = "old"  # an older value of ours, or one we replaced or that stood there before: nobody knows whether somebody meant it
    LATE = "late"  # the write of a run that was overtaken: nobody saved the row since


def of_cell(known: Sequence[Ours], table: str, column: str, now: float) -> list[Ours]:
    """The values of one cell that a copy may still hold, newest first. `known`: oldest first."""
    where = (table.lower(), column.lower())
    own = [one for one in reversed(known) if (one.table.lower(), one.column.lower()) == where]
    return [one for place, one in enumerate(own) if place < ALIVE_COUNT or one.at >= now - ALIVE_SECONDS]


def what_it_is(
    cell: Value, ticks: int | None, alive: Sequence[Ours], same: Callable[[Value, Value], bool]
) -> Copy:
    """What the text of a cell that moved away from the base is. `ticks`: the row's stamp; `alive`: newest first."""
    matching = [one for one in alive if same(cell, one.value)]
    if not matching:
        return Copy.NO
    newest = matching[0]
    if newest.origin is Origin.WRITTEN and newest.ticks is not None and newest.ticks == ticks:
        return Copy.LATE
    if newest is alive[0] and newest.origin is Origin.INTENDED:
        return Copy.LATE
    if newest is alive[0] and newest.origin is Origin.WRITTEN:
        return Copy.NO  # what Plant 3D moved to since came from a designer, and so does moving back
    return Copy.OLD
