"""Findings as a design lead works with them: looked for, by cause, acknowledged, taken back."""

from __future__ import annotations

from typing import TypedDict

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.document import Document
from plant3d_sync.model.moment import posix
from plant3d_sync.run.project import iso
from plant3d_sync.state import Connection, State, acknowledgements, audit, seals
from plant3d_sync.state import findings as kept
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.acknowledgements import FINDING, Said, Word
from plant3d_sync.state.findings import Wanted
from plant3d_sync.usecases.quarantine import checked_reason

NAMED_IN_AUDIT = 200
"""How many findings an entry of the audit names; their number is always there."""


class Listed(TypedDict):
    """Findings one by one and by cause; `total`: how many match, `acknowledged`: how many somebody acknowledged."""

    findings: list[Document]
    total: int
    groups: list[Document]
    acknowledged: int


def list_findings(
    connection: Connection, project: str, wanted: Wanted, *, now: float, limit: int = 100, offset: int = 0
) -> Listed:
    """What the last complete read found odd and is still so, one by one and by cause, drawing and class."""
    number = _number(connection, project)
    items, total = kept.open_findings(connection, number, wanted, now=now, limit=limit, offset=offset)
    return {
        "findings": [document(item) for item in items],
        "total": total,
        "groups": list_groups(connection, project, wanted, now=now),
        "acknowledged": kept.count_acknowledged(connection, number, now=now),
    }


def list_groups(connection: Connection, project: str, wanted: Wanted, *, now: float) -> list[Document]:
    """Findings by cause, drawing and class, the largest group first."""
    found = kept.groups(connection, _number(connection, project), wanted, now=now)
    return [{**one, "first_seen": iso(one["first_seen"])} for one in found]


def every_finding(connection: Connection, project: str, wanted: Wanted, *, now: float) -> list[Document]:
    """All that match, one by one."""
    return [
        document(item) for item in kept.matching(connection, _number(connection, project), wanted, now=now)
    ]


def document(item: kept.Found) -> Document:
    """A finding with its number and who acknowledged it."""
    shown = {name: value for name, value in item.items() if name not in ("key", "acknowledged")}
    return {**shown, "first_seen": iso(item["first_seen"]), "acknowledged": _said(item["acknowledged"])}


def _said(said: Said | None) -> Document | None:
    if said is None:
        return None
    return {"by": said.by, "at": iso(said.at), "reason": said.reason, "until": iso(said.until)}


def acknowledge(
    state: State,
    project: str,
    wanted: Wanted,
    *,
    reason: str,
    until: float | None,
    by: str,
    at: float,
) -> list[Document]:
    """Say of the findings that match that they were looked at: they are not listed as open until they move, or until
    that date. Nothing is decided by it: what is skipped stays skipped, and no run has to compare.

    Raises NeedsPersonError `reason_missing`, `date_over`; NotFoundError `finding_unknown`; then nothing was done.
    """
    why = checked_reason(reason)
    if until is not None and until <= at:
        raise NeedsPersonError(
            f"The date {iso(until)} is over. Nothing was acknowledged.",
            hint="Give a day that is still to come, or none.",
            code="date_over",
        )
    with state.write() as connection:
        seals.check_choices(connection, project, nothing="Nothing was done.", writing=True)
        found = _found(connection, project, wanted, now=at)
        about = {str(one["key"]): None for one in found}
        word = Word(reason=why, by=by, at=at, until=until)
        acknowledgements.say(connection, project, FINDING, about, word)
        _audit(
            connection, project, "findings.acknowledged", found, by=by, at=at, reason=why, until=iso(until)
        )
    return _again(state, project, found, now=at)


def take_back(state: State, project: str, wanted: Wanted, *, by: str, at: float) -> list[Document]:
    """The findings that match are open again. Raises NotFoundError `finding_unknown`; then nothing was done."""
    with state.write() as connection:
        seals.check_choices(connection, project, nothing="Nothing was done.", writing=True)
        found = _found(connection, project, wanted, now=at)
        numbers = [one["acknowledged"].number for one in found if one["acknowledged"] is not None]
        acknowledgements.end(connection, numbers, acknowledgements.TAKEN_BACK, at=at)
        _audit(connection, project, "findings.reopened", found, by=by, at=at)
    return _again(state, project, found, now=at)


def _found(connection: Connection, project: str, wanted: Wanted, *, now: float) -> list[kept.Found]:
    found = list(kept.matching(connection, _number(connection, project), wanted, now=now))
    missing = (wanted.ids or frozenset()) - {one["id"] for one in found}
    if missing or not found:
        raise NotFoundError(
            f"{project} has no finding {min(missing)}. Nothing was done."
            if missing
            else f"{project} has no such finding. Nothing was done.",
            hint=f"`plant3d-sync findings {project} --status all` shows those that are still so, with their ids.",
            code="finding_unknown",
        )
    return found


def _again(state: State, project: str, found: list[kept.Found], *, now: float) -> list[Document]:
    ids = frozenset(one["id"] for one in found)
    with state.read() as connection:
        return every_finding(connection, project, Wanted(status="all", ids=ids), now=now)


def _audit(
    connection: Connection,
    project: str,
    action: str,
    found: list[kept.Found],
    *,
    by: str,
    at: float,
    **more: object,
) -> None:
    named = [f"{one['id']} {one['code']} {one['tag'] or one['pnpid'] or ''}".strip() for one in found]
    audit.append(
        connection,
        project,
        action=action,
        actor=by,
        at=at,
        findings=named[:NAMED_IN_AUDIT],
        total=len(found),
        **more,
    )


def posix_day(text: str) -> float:
    """The beginning of a day (UTC), or a moment (RFC 3339), as POSIX seconds. Raises NotFoundError `date_invalid`."""
    try:
        return posix(text.strip())
    except (ValueError, OverflowError):
        raise NotFoundError(
            f"{text[:40]!r} is not a date. Nothing was done.",
            hint="Write it as 2026-11-30, or as 2026-11-30T14:00:00Z.",
            code="date_invalid",
        ) from None


def _number(connection: Connection, project: str) -> int:
    known = project_state.get(connection, project)
    return known.number if known is not None else 0
