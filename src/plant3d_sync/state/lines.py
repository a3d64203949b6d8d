"""What each line was made of when it was last read: its groups and segments, and the row that stands for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.model.link import LinkState
from plant3d_sync.model.reading import KnownLine
from plant3d_sync.state.codec import bare_rows
from plant3d_sync.state.links import CHUNK
from plant3d_sync.state.tables import line_members

_DEAD = (LinkState.ARCHIVED.value, LinkState.UNLINKED.value)
_MEMBERS = msgspec.json.Decoder(tuple[int, ...])


class Made(NamedTuple):
    """What a line is made of. `row_guid`: PnPGuid of the row that stands for it."""

    row_guid: str
    members: tuple[int, ...]


def known(connection: Connection, number: int, classes: Collection[str]) -> tuple[KnownLine, ...]:
    """The lines that have an asset. One linked before members were remembered has its own row alone."""
    names = sorted(classes)
    if not names:
        return ()
    query = _KNOWN.format(marks=", ".join("?" * len(names)))
    return tuple(bare_rows(connection, query, (number, *names), _known))


_KNOWN = """
SELECT link.plant3d_id, link.pnpid, link.tag, link.state, line_members.row_guid, line_members.members
FROM link LEFT JOIN line_members
    ON line_members.project = link.project AND line_members.plant3d_id = link.plant3d_id
WHERE link.project = ? AND link.class_name IN ({marks})
ORDER BY link.id
"""


def _known(row: tuple[Any, ...]) -> KnownLine:
    identity, pnpid, tag, state, row_guid, members = row
    return KnownLine(
        identity=identity,
        pnpid=pnpid,
        row_guid=row_guid or identity,
        tag=tag,
        members=_MEMBERS.decode(members) if members else (pnpid,),
        live=state not in _DEAD,
    )


def remember(connection: Connection, number: int, lines: Mapping[str, Made]) -> None:
    """Identity -> what the line is made of now."""
    names = sorted(lines)
    for start in range(0, len(names), CHUNK):
        piece = names[start : start + CHUNK]
        connection.execute(
            sa.delete(line_members).where(
                line_members.c.project == number, line_members.c.plant3d_id.in_(piece)
            )
        )
        connection.execute(
            sa.insert(line_members),
            [
                {
                    "project": number,
                    "plant3d_id": one,
                    "row_guid": lines[one].row_guid,
                    "members": msgspec.json.encode(lines[one].members).decode(),
                }
                for one in piece
            ],
        )


def row_guid(connection: Connection, project: int, identity: str) -> str:
    """PnPGuid of the row that stands for a line, where that is not the line's identity; else empty."""
    found = connection.execute(
        sa.select(line_members.c.row_guid).where(
            line_members.c.project == project, line_members.c.plant3d_id == identity
        )
    ).scalar()
    return "" if found is None or found == identity else str(found)
