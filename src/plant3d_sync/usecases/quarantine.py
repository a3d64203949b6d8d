"""What people do with rows that were refused: see them, try them now, leave them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.model.record import Value
from plant3d_sync.model.refused import Key
from plant3d_sync.run.project import iso
from plant3d_sync.state import Connection, State, acknowledgements, audit, seals
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import quarantine as kept
from plant3d_sync.state.acknowledgements import QUARANTINE, Said, Word
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.findings import fits
from plant3d_sync.state.quarantine import Kept

STATUSES = ("waiting", "ignored", "all")
REASON_LENGTH = 2000
"""Characters of a reason."""


class Ignored(TypedDict):
    """Who leaves a row alone, and why."""

    by: str
    at: str | None
    reason: str


Refused = TypedDict(
    "Refused",
    {
        "id": int,
        "tag": str | None,
        "pnpid": int,
        "plant3d_id": str | None,
        "class": str | None,
        "entity": str,
        "drawing": str | None,
        "field": str | None,
        "into": str,
        "code": str,
        "message": str | None,
        "hint": str | None,
        "plant3d_value": Value,
        "synapse_value": Value,
        "attempts": int,
        "first_at": str | None,
        "last_at": str | None,
        "next_try_at": str | None,
        "ignored": Ignored | None,
    },
)
"""A refused row with everything known about it; its members are those of the interface."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which refused rows are looked for; None means any. `status`: one of `STATUSES`. `tag` may hold `*` and `?`."""

    status: str = "waiting"
    code: str | None = None
    field: str | None = None
    tag: str | None = None

    def fits(self, row: Refused) -> bool:
        """Whether it is one of those."""
        return (
            (self.status == "all" or (row["ignored"] is not None) == (self.status == "ignored"))
            and self.code in (None, row["code"])
            and self.field in (None, row["field"])
            and (self.tag is None or fits(row["tag"], self.tag))
        )


WAITING = Wanted()


def list_quarantine(
    connection: Connection, project: str, wanted: Wanted = WAITING, *, limit: int = 100, offset: int = 0
) -> tuple[list[Refused], int]:
    """Refused rows of a project, oldest first, and how many there are."""
    known = project_state.get(connection, project)
    rows = kept.rows_of(connection, known.number) if known is not None else []
    words = acknowledgements.standing(connection, project, QUARANTINE) if rows else {}
    found = [shown for row in rows if wanted.fits(shown := document(row, words))]
    return found[offset : offset + limit], len(found)


def document(row: Kept, words: Mapping[str, Said]) -> Refused:
    """One refused row with everything known about it."""
    data = load_map(row.data)
    said = kept.word_for(row, words)
    return {
        "id": row.id,
        "tag": data.get("tag"),
        "pnpid": row.pnpid,
        "plant3d_id": data.get("plant3d_id"),
        "class": data.get("class"),
        "entity": row.entity,
        "drawing": data.get("drawing"),
        "field": row.field or None,
        "into": row.side,
        "code": row.code,
        "message": data.get("message"),
        "hint": data.get("hint"),
        "plant3d_value": data.get("plant3d"),
        "synapse_value": data.get("synapse"),
        "attempts": row.attempts,
        "first_at": iso(row.first_at),
        "last_at": iso(row.last_at),
        "next_try_at": None if said is not None else iso(max(row.next_try_at, row.last_at)),
        "ignored": None if said is None else {"by": said.by, "at": iso(said.at), "reason": said.reason},
    }


def find_row(connection: Connection, row_id: int) -> tuple[Refused | None, str | None]:
    """One refused row and the project it belongs to; None and None if there is none with this id."""
    row, project = kept.find(connection, row_id)
    if row is None or project is None:
        return None, None
    return document(row, acknowledgements.standing(connection, project, QUARANTINE)), project


def retry(state: State, project: str, ids: Sequence[int] | None, *, by: str, at: float) -> list[Refused]:
    """Let refused rows be tried in the next run, ignored ones too where they are named. `ids`: None means every row that
    nobody ignores. Raises NotFoundError `quarantine_unknown` for an id that is not there; then nothing was done.
    """
    with state.write() as connection:
        seals.check_choices(connection, project, nothing="Nothing was done.", writing=True)
        rows = _rows(connection, project, ids)
        words = acknowledgements.standing(connection, project, QUARANTINE)
        if ids is None:
            rows = [row for row in rows if kept.word_for(row, words) is None]
        ended = [said.number for row in rows if (said := words.get(_word(row))) is not None]
        acknowledgements.end(connection, ended, acknowledgements.TAKEN_BACK, at=at)
        if rows:
            kept.try_now(connection, [row.id for row in rows])
            project_state.update(connection, project, force_compare=True)
            audit.append(connection, project, action="quarantine.retried", actor=by, at=at, rows=_named(rows))
        return [document(row, {}) for row in rows]


def ignore(
    state: State, project: str, ids: Sequence[int], *, reason: str, by: str, at: float
) -> list[Refused]:
    """Leave refused rows alone until what was refused moves. Raises NeedsPersonError `reason_missing`; NotFoundError
    `quarantine_unknown` for an id that is not there; then nothing was done.
    """
    why = checked_reason(reason)
    with state.write() as connection:
        seals.check_choices(connection, project, nothing="Nothing was done.", writing=True)
        rows = _rows(connection, project, ids)
        about = {_word(row): str(row.digest) for row in rows}
        acknowledgements.say(connection, project, QUARANTINE, about, Word(reason=why, by=by, at=at))
        if rows:
            project_state.update(connection, project, force_compare=True)
            audit.append(
                connection,
                project,
                action="quarantine.ignored",
                actor=by,
                at=at,
                rows=_named(rows),
                reason=why,
            )
        words = acknowledgements.standing(connection, project, QUARANTINE)
        return [document(row, words) for row in rows]


def checked_reason(reason: str) -> str:
    """A reason without blanks around it. Raises NeedsPersonError `reason_missing` for none, or one that is too long."""
    text = reason.strip()
    if text and len(text) <= REASON_LENGTH:
        return text
    raise NeedsPersonError(
        f"A reason of 1 to {REASON_LENGTH} characters is needed. Nothing was done.",
        hint="Say why in a few words: whoever looks later has only them.",
        code="reason_missing",
    )


def _rows(connection: Connection, project: str, ids: Sequence[int] | None) -> list[Kept]:
    known = project_state.get(connection, project)
    rows = kept.rows_of(connection, known.number) if known is not None else []
    if ids is None:
        return rows
    by_id = {row.id: row for row in rows}
    unknown = [one for one in ids if one not in by_id]
    if unknown:
        raise NotFoundError(
            f"The quarantine of {project} has no row {unknown[0]}. Nothing was done.",
            hint=f"`plant3d-sync quarantine list {project} --status all` shows the ids; a row that was written is gone.",
            code="quarantine_unknown",
        )
    return [by_id[one] for one in dict.fromkeys(ids)]


def _word(row: Kept) -> str:
    return kept.word_of(Key(row.pnpid, row.field, row.code))


def _named(rows: Sequence[Kept]) -> list[str]:
    """For the audit: PnPID, field, code."""
    return [f"{row.pnpid} {row.field or '*'} {row.code}" for row in rows]
