"""What the merge says about one field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plant3d_sync.model.link import Interval
from plant3d_sync.model.record import Value


class Verdict(StrEnum):
    """The seven things that can happen to a field."""

    SETTLED = "settled"  # both sides hold it (or may differ by an agreed alteration): base := value
    TO_SYNAPSE = "to_synapse"
    TO_PLANT3D = "to_plant3d"
    DRIFT = "drift"  # an edit on the side that does not own the field, left alone by policy
    CONFLICT = "conflict"  # a person has to choose
    WAIT = "wait"  # somebody must act: a designer, or a push that is not part of this run
    LEAVE = "leave"  # nothing is known or nothing may be done


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOutcome:
    """Verdict for one field: the value to have on both sides, the one that loses, and why (a stable word)."""

    field: str
    verdict: Verdict
    value: Value = None
    loses: Value = None
    reason: str = ""
    suggestion: str = ""
    suggestion_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A chosen value, with the two values it was chosen between; void once a side moves elsewhere.

    `given`: SYNAPSE was sent the choice and still holds what it made of it, perhaps another spelling.
    `kind`: the question that was asked. `plant3d_ticks`: the row's stamp when it was asked, None if not known.
    """

    conflict_id: str
    plant3d_value: Value
    synapse_value: Value
    chosen: Value
    by: str
    given: bool = False
    kind: str = ""
    plant3d_ticks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Everything the tie rule may look at. POSIX seconds; `skew` = SYNAPSE's clock minus ours, None = unknown."""

    now: float
    tolerance: float = 120.0
    plant3d: Interval | None = None
    synapse: Interval | None = None
    synapse_stamp: float | None = None
    skew: float | None = None
