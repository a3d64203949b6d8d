"""What people said they know of: refused rows that are left alone, findings that were looked at.

A word of a person stands until it is taken back, its date is over, or what it was said of moves. It is sealed: one about
a refused row keeps values from being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.state import seals
from plant3d_sync.state.tables import acknowledgement

SEAL: Final = "acknowledgement"
QUARANTINE, FINDING = "quarantine", "finding"
"""What a word is about."""

MOVED, TAKEN_BACK, OVER, REPLACED, GONE, ALTERED = (
    "moved",
    "taken_back",
    "over",
    "replaced",
    "gone",
    "altered",
)
"""Why a word ended."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says: why, who, when, and until when it is to stand (POSIX seconds; None: without an end)."""

    reason: str
    by: str
    at: float
    until: float | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One word that stands. `digest`: of what it was said of; `until`: POSIX seconds, None without an end."""

    number: int
    key: str
    digest: str | None
    reason: str
    by: str
    at: float
    until: float | None


_STANDING = (
    sa.select(acknowledgement)
    .where(
        acknowledgement.c.project == sa.bindparam("whose"),
        acknowledgement.c.kind == sa.bindparam("about"),
        acknowledgement.c.ended_at.is_(None),
    )
    .order_by(acknowledgement.c.id)
)


def standing(connection: Connection, project: str, kind: str) -> dict[str, Said]:
    """The words of a project that stand, by the key of what they are about."""
    rows = connection.execute(_STANDING, {"whose": project, "about": kind})
    return {row.key: _said(row) for row in rows}


def _said(row: Row[tuple[object, ...]]) -> Said:
    return Said(
        number=row.id,
        key=row.key,
        digest=row.digest,
        reason=row.reason,
        by=row.said_by,
        at=row.at,
        until=row.until,
    )


def say(connection: Connection, project: str, kind: str, about: Mapping[str, str | None], word: Word) -> None:
    """Note a word about each of these (key -> digest of what it is said of); one about the same thing is replaced."""
    before = standing(connection, project, kind)
    end(connection, [before[key].number for key in about if key in before], REPLACED, at=word.at)
    made = []
    for key, digest in about.items():
        done = connection.execute(
            sa.insert(acknowledgement).values(
                project=project,
                kind=kind,
                key=key,
                digest=digest,
                reason=word.reason,
                said_by=word.by,
                at=word.at,
                until=word.until,
            )
        )
        number = done.inserted_primary_key
        if number is None:
            raise AssertionError("an inserted row has a number")
        made.append(number[0])
    seals.seal(connection, SEAL, made, at=word.at)


def end(connection: Connection, numbers: Iterable[int], why: str, *, at: float) -> None:
    """These words do not stand any more."""
    wanted = sorted(set(numbers))
    if not wanted:
        return
    connection.execute(
        sa.update(acknowledgement)
        .where(acknowledgement.c.id.in_(wanted), acknowledgement.c.ended_at.is_(None))
        .values(ended_at=at, ended_why=why)
    )
    seals.seal(connection, SEAL, wanted, at=at)


def reseal(connection: Connection, numbers: Iterable[int], *, at: float) -> None:
    """These rows stand as they are now, whatever was done to them: those that had ended before, too."""
    seals.seal(connection, SEAL, sorted(set(numbers)), at=at)
