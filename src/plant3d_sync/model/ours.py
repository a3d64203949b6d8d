"""Values of ours in Plant 3D: what we wrote into a cell, replaced there, or put into a workbook, and what it held before."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from plant3d_sync.model.record import Value


class Origin(Enum):
    """How a value came to be one of ours."""

    WRITTEN = "written"  # we wrote it and saw it there
    INTENDED = "intended"  # we were about to write it, and no receipt says what became of that
    REPLACED = "replaced"  # it stood there before we wrote
    WORKBOOK = "workbook"  # a designer may import it any day
    HELD = "held"  # SYNAPSE was given it, because Plant 3D held it then


class Ours(NamedTuple):
    """One value of ours of one cell; one that was `HELD` has the field in `column`, and no table. `at`: POSIX seconds; `ticks`: the row's stamp our write left, None if not known."""

    table: str
    column: str
    value: Value
    origin: Origin
    at: float
    ticks: int | None = None
