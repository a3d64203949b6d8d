"""What each line was made of when it was last read: its groups and segments, and the row that stands for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.link import LinkState
from plant3d_sync.model.reading import KnownLine
from plant3d_sync.state import seals
from plant3d_sync.state.codec import bare_rows, bulk_insert
from plant3d_sync.state.links import CHUNK, Brief
from plant3d_sync.state.tables import line_members
from plant3d_sync.state.tables import project as project_table

_DEAD = (LinkState.ARCHIVED.value, LinkState.UNLINKED.value)
_MEMBERS = msgspec.json.Decoder(tuple[int, ...])


class Made(NamedTuple):
    """What a line is made of. `row_guid`: PnPGuid of the row that stands for it."""

    row_guid: str
    members: tuple[int, ...]


def known(
    connection: Connection,
    project: str,
    number: int,
    classes: Collection[str],
    briefs: Iterable[Brief] | None = None,
) -> tuple[KnownLine, ...]:
    """The lines that have an asset, in the order in which they were linked. One linked before members were remembered has
    its own row alone. `briefs`: all links of the project, where they were read already.

    Raises NeedsPersonError `row_altered`: a row that somebody else wrote could lead a value into another line's row.
    """
    names = sorted(classes)
    if not names:
        return ()
    rows = seals.line_rows(connection, number)
    seals.check_lines(connection, project, rows, nothing=_NOTHING)
    made = {row[0]: row for row in rows}

    def line(row: tuple[Any, ...]) -> KnownLine:
        identity, pnpid, tag, state = row
        _, row_guid, members = made.get(identity, (identity, identity, ""))
        return KnownLine(
            identity=identity,
            pnpid=pnpid,
            row_guid=row_guid,
            tag=tag,
            members=_MEMBERS.decode(members) if members else (pnpid,),
            live=state not in _DEAD,
        )

    if briefs is not None:
        return tuple(
            line((one.plant3d_id, one.pnpid, one.tag, one.state))
            for one in briefs
            if one.class_name in classes
        )
    query = _LINKED.format(marks=", ".join("?" * len(names)))
    return tuple(bare_rows(connection, query, (number, *names), line))


_NOTHING = "Nothing was planned or written."

_LINKED = """
SELECT plant3d_id, pnpid, tag, state FROM link WHERE project = ? AND class_name IN ({marks}) ORDER BY id
"""


def remember(
    connection: Connection, project: str, number: int, lines: Mapping[str, Made], *, at: float
) -> None:
    """Identity -> what the line is made of now. Raises NeedsPersonError `row_altered` where the rest is not ours."""
    if not lines:
        return
    stored = seals.line_rows(connection, number)
    seals.check_lines(connection, project, stored, nothing=_NOT_ENDED)
    names = sorted(lines)
    old = sorted(lines.keys() & {row[0] for row in stored})
    for start in range(0, len(old), CHUNK):
        connection.execute(
            sa.delete(line_members).where(
                line_members.c.project == number, line_members.c.plant3d_id.in_(old[start : start + CHUNK])
            )
        )
    bulk_insert(
        connection,
        line_members,
        ("project", "plant3d_id", "row_guid", "members"),
        [
            (number, one, lines[one].row_guid, msgspec.json.encode(lines[one].members).decode())
            for one in names
        ],
    )
    seals.seal_lines(connection, project, seals.line_rows(connection, number), set(names), at=at)


_NOT_ENDED = "What the run wrote is recorded; how it ended is not."


def check(connection: Connection, project: str, number: int, *, nothing: str) -> None:
    """Whether all lines of a project are made of what we stored. Raises NeedsPersonError `row_altered`."""
    seals.check_lines(connection, project, seals.line_rows(connection, number), nothing=nothing)


def forget(connection: Connection, project: str, number: int, *, at: float) -> None:
    """Nothing is known of any line any more; the next complete read finds it again."""
    strays = line_members.c.project.not_in(sa.select(project_table.c.number))
    connection.execute(sa.delete(line_members).where(sa.or_(line_members.c.project == number, strays)))
    seals.seal_lines(connection, project, (), (), at=at)


def row_guid(connection: Connection, project: int, identity: str) -> str:
    """PnPGuid of the row that stands for a line, where that is not the line's identity; else empty."""
    found = connection.execute(
        sa.select(line_members.c.row_guid).where(
            line_members.c.project == project, line_members.c.plant3d_id == identity
        )
    ).scalar()
    return "" if found is None or found == identity else str(found)
