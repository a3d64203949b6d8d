"""What is known of the clocks of a project, and how a person has the worst lag of a workstation forgotten."""

from __future__ import annotations

import msgspec

from plant3d_sync.errors import NotFoundError
from plant3d_sync.model.document import Document
from plant3d_sync.model.outcome import LAG_SEEN, LEAST, Clocks
from plant3d_sync.run.project import iso
from plant3d_sync.state import Connection, State, audit, lists
from plant3d_sync.state import projects as project_state
from plant3d_sync.usecases.quarantine import checked_reason


class WorstLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind a workstation was shown to be, at most, and by which row. The row is None if no entry tells it."""

    seconds: float
    seen_at: str | None
    run_id: str | None
    pnpid: int | None
    tag: str | None


class ClocksNow(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between two clocks and a decision by time; its members are those of the interface.

    `plant3d_tolerance_seconds`: what counts for Plant 3D now, the larger one of tolerance and lag.
    """

    project: str
    synapse_skew_seconds: float | None
    tolerance_seconds: float
    plant3d_tolerance_seconds: float
    workstation_lag: WorstLag | None

    def to_dict(self) -> Document:
        """As in JSON."""
        document: Document = msgspec.to_builtins(self)
        return document


def clocks_now(connection: Connection, project: str, tolerance: float | None) -> ClocksNow:
    """As the last run left it. `tolerance`: of the project's settings, seconds."""
    known = project_state.get(connection, project)
    allowed = max(Clocks.allowing(tolerance).tolerance, LEAST)
    lag = known.plant_lag if known is not None else None
    return ClocksNow(
        project=project,
        synapse_skew_seconds=known.skew if known is not None else None,
        tolerance_seconds=allowed,
        plant3d_tolerance_seconds=max(allowed, lag or 0.0),
        workstation_lag=None if lag is None else _seen(connection, project, lag),
    )


def _seen(connection: Connection, project: str, lag: float) -> WorstLag:
    entries, _total = lists.audit_entries(connection, project, limit=1, offset=0, action=LAG_SEEN)
    facts = entries[0]["facts"] if entries else {}
    return WorstLag(
        seconds=lag,
        seen_at=iso(entries[0]["at"]) if entries else None,
        run_id=facts.get("run"),
        pnpid=facts.get("pnpid"),
        tag=facts.get("tag"),
    )


def forget_lag(state: State, project: str, *, reason: str, by: str, at: float) -> WorstLag:
    """Count the workstations of a project as set right: what they showed so far widens no interval any more.

    The next run compares by the tolerance alone; a stamp that shows a lag again is remembered again. Raises NotFoundError
    `clocks_no_lag` if none is remembered, NeedsPersonError `reason_missing`; then nothing was done.
    """
    why = checked_reason(reason)
    with state.write() as connection:
        known = project_state.get(connection, project)
        if known is None or known.plant_lag is None:
            raise NotFoundError(
                f"No workstation of {project} was ever shown to be behind, or that is forgotten. Nothing was done.",
                hint=f"`plant3d-sync clocks show {project}` shows what is known of the clocks.",
                code="clocks_no_lag",
            )
        forgotten = _seen(connection, project, known.plant_lag)
        project_state.update(connection, project, plant_lag=None, force_compare=True)
        audit.append(
            connection,
            project,
            action="clocks.lag_forgotten",
            actor=by,
            at=at,
            seconds=known.plant_lag,
            reason=why,
        )
    return forgotten
