"""What we remember of each project as a whole."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict
from sqlalchemy.engine import Connection

from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.side import Direction
from plant3d_sync.state.codec import dump, insert_if_new, load, load_map, set_columns
from plant3d_sync.state.tables import project


class ProjectState(msgspec.Struct, kw_only=True):
    """One row of memory per project. Times are POSIX seconds on our clock.

    `standing`: the last complete decision with its inputs. `stirs`: how often something asked for a comparison.
    """

    name: str
    number: int
    synapse_project_id: str | None = None
    identity: SourceIdentity | None = None
    signature: str | None = None
    mapping_digest: str | None = None
    mapping_version: int | None = None
    feed_cursor: str | None = None
    feed_read_at: float | None = None
    plant_read_at: float | None = None
    pull_ok_at: float | None = None
    push_ok_at: float | None = None
    last_counts: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    waiting: int = 0
    force_compare: bool = False
    skew: float | None = None
    skew_before: float | None = None
    """As it was stored; a run sets `skew` to what it finds itself."""
    plant_lag: float | None = None
    """How far behind a workstation of the project was ever shown to be, at most (seconds)."""
    next_link: int = 1
    probe: dict[str, object] = msgspec.field(default_factory=dict)
    standing: dict[str, Any] = msgspec.field(default_factory=dict)
    stirs: int = 0


_BY_NAME = sa.select(project).where(project.c.name == sa.bindparam("wanted"))


_NAME_OF = sa.select(project.c.name).where(project.c.number == sa.bindparam("wanted"))
_STIR = sa.update(project).where(project.c.name == sa.bindparam("whose")).values(stirs=project.c.stirs + 1)
_STIRS = sa.select(project.c.stirs).where(project.c.name == sa.bindparam("whose"))


def stirs(connection: Connection, name: str) -> int:
    """How often something asked for a comparison so far."""
    return int(connection.execute(_STIRS, {"whose": name}).scalar() or 0)


def get(connection: Connection, name: str) -> ProjectState | None:
    """The project's memory, None before its first run."""
    row = connection.execute(_BY_NAME, {"wanted": name}).first()
    if row is None:
        return None
    identity = load(row.identity)
    return ProjectState(
        name=row.name,
        number=row.number,
        synapse_project_id=row.synapse_project_id,
        identity=SourceIdentity(**identity) if identity else None,
        signature=row.signature,
        mapping_digest=row.mapping_digest,
        mapping_version=row.mapping_version,
        feed_cursor=row.feed_cursor,
        feed_read_at=row.feed_read_at,
        plant_read_at=row.plant_read_at,
        pull_ok_at=row.pull_ok_at,
        push_ok_at=row.push_ok_at,
        last_counts=load_map(row.last_counts),
        waiting=row.waiting,
        force_compare=bool(row.force_compare),
        skew=row.skew,
        skew_before=row.skew,
        plant_lag=row.plant_lag,
        next_link=row.next_link,
        probe=load_map(row.probe),
        standing=load_map(row.standing),
        stirs=row.stirs,
    )


def name_of(connection: Connection, number: int) -> str | None:
    """The name of the project with this number."""
    found = connection.execute(_NAME_OF, {"wanted": number}).scalar()
    return None if found is None else str(found)


def first_pull_is_unfinished(known: ProjectState) -> bool:
    """Whether no pull of the project has come to its end yet: the links there are say nothing about its size.

    They are of a first pull that was interrupted, or were linked by hand before it. The fact is stored by the pull
    itself; that other runs ended meanwhile (cancelled, covered by another one, a push) says nothing about it.
    """
    return known.pull_ok_at is None


def succeeded(direction: Direction, at: float | None) -> dict[str, float | None]:
    """Columns that say when a pull or push last did its work to the end, after a run of this direction did."""
    values = {}
    if direction is not Direction.PUSH:
        values["pull_ok_at"] = at
    if direction is not Direction.PULL:
        values["push_ok_at"] = at
    return values


def ensure(connection: Connection, name: str) -> ProjectState:
    """The project's memory, made if it is new."""
    known = get(connection, name)
    if known is not None:
        return known
    while True:  # another process may take the name or the number at the same moment
        number = (connection.execute(sa.select(sa.func.max(project.c.number))).scalar() or 0) + 1
        if insert_if_new(connection, project, {"name": name, "number": number}):
            return ProjectState(name=name, number=number)
        known = get(connection, name)
        if known is not None:
            return known


def update(connection: Connection, name: str, **values: object) -> None:
    """Set columns by name; `identity`, `last_counts`, `probe`, `standing` are given as objects.

    `force_compare=True` asks for a comparison: whatever was decided before does not stand any more. It is counted, so
    that a run which ends after it without having seen it cannot make it forgotten.
    """
    identity = values.get("identity")
    if isinstance(identity, SourceIdentity):
        values["identity"] = dump(asdict(identity))
    for key in ("last_counts", "probe", "standing"):
        if key in values:
            values[key] = dump(values[key])
    if "force_compare" in values:
        values["force_compare"] = int(bool(values["force_compare"]))
        if values["force_compare"]:
            connection.execute(_STIR, {"whose": name})
    set_columns(connection, project, "name", name, values)


def link_id(number: int, seq: int) -> int:
    """Link ids are ours: project number in the high part, so that bulk inserts need no answer from the database."""
    return (number << 40) | seq
