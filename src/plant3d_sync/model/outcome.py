"""What the merge says about one field."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

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


class FieldOutcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Verdict for one field: the value to have on both sides, the one that loses, and why (a stable word)."""

    field: str
    verdict: Verdict
    value: Value = None
    loses: Value = None
    reason: str = ""
    suggestion: str = ""
    suggestion_reason: str = ""


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
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


TOLERANCE: Final = 120.0
"""Seconds that the clock of another machine may be off: of a workstation always, of SYNAPSE while nobody measured it."""
EXACT: Final = 3.0
"""The same for SYNAPSE's clock, while it keeps its distance to ours from run to run."""
LAG_SEEN = "clocks.lag_seen"
"""Audit entry of a run that found a workstation further behind than any before."""

LEAST: Final = 2.0
"""No two clocks are compared more closely than this, whatever the settings say."""


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """What a run knows of the clocks. `skew`: SYNAPSE's minus ours, None = unknown; `skew_before`: as the last run found it.

    `file_changed`: when Plant 3D's file was changed last (POSIX seconds), None where our own clock does not say so.
    `one_commit`: that was its only change since the last complete read. `lag`: how far behind a workstation of the project
    was shown to be, at most; 0.0: none was shown to be behind by more than the tolerance.
    """

    tolerance: float = TOLERANCE
    exact: float = EXACT
    skew: float | None = None
    skew_before: float | None = None
    file_changed: float | None = None
    one_commit: bool = False
    lag: float = 0.0

    @property
    def behind(self) -> float:
        """How far a workstation's clock may be behind ours: as far as one was shown to be, or as SYNAPSE's is.

        Where our own clock is ahead, it is ahead of all of them.
        """
        return max(self.lag, -(self.skew or 0.0))

    @classmethod
    def allowing(cls, seconds: float | None) -> Clocks:
        """With the tolerance of the settings; None: what is known of such clocks."""
        return cls() if seconds is None else cls(tolerance=seconds, exact=max(seconds, LEAST))


class Times(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything the tie rule may look at. POSIX seconds; `skew` = SYNAPSE's clock minus ours, None = unknown.

    `plant3d`, `synapse`: when each side changed, on our clock. `row_stamp`: when the item's row was saved last, by the
    clock of a workstation. `synapse_stamp`: when the field was edited, by SYNAPSE's clock.
    """

    now: float
    tolerance: float = TOLERANCE
    plant3d: Interval | None = None
    synapse: Interval | None = None
    row_stamp: float | None = None
    synapse_stamp: float | None = None
    skew: float | None = None
