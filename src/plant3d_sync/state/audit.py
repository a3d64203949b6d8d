"""Who did what: append-only, each entry chained to the one before by SHA-256, per project.

An entry about a write to SYNAPSE or Plant 3D carries a digest over its change entries, so that the
change table is covered by the chain too, without one hash per row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.state.codec import canonical, dump, insert_if_new, load_map, plainly
from plant3d_sync.state.tables import audit, audit_head, component

GENESIS = "0" * 64


def digest_of(changes: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over change entries in the order in which they are stored, see `change_lines`."""
    return digest_of_lines(change_lines(changes))


def change_lines(changes: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """What the digest of change entries is taken over, a line each: every column but those all of one call share."""
    return [orjson.dumps([entry[name] for name in _OF_CHANGE], default=repr) for entry in changes]


_OF_CHANGE = ("link_id", "pnpid", "tag", "side", "op", "outcome", "fields", "at")


def digest_of_lines(lines: Iterable[bytes]) -> str:
    """The digest over lines that were made already."""
    return hashlib.sha256(b"\n".join([*lines, b""])).hexdigest()  # each line ends with a line break


_HEAD = "SELECT seq, hash FROM audit_head WHERE project = ?"
_INSERT = "INSERT INTO audit (project, seq, body, prev, hash) VALUES (?, ?, ?, ?, ?)"
_FIRST = "INSERT INTO audit_head (project, seq, hash) VALUES (?, ?, ?)"
_NEXT = "UPDATE audit_head SET seq = ?, hash = ? WHERE project = ?"
"""As plain text: a run of many items adds four entries for each batch it sends."""


def append(
    connection: Connection, project: str, *, action: str, actor: str, at: float, **facts: object
) -> int:
    """Add one entry in the caller's transaction, so that it tells exactly what was committed with it."""
    locked = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"  # SQLite has one writer at a time
    head = plainly(connection, _HEAD + locked, (project,)).first()
    seq, prev = (head.seq, head.hash) if head else (0, GENESIS)
    body = canonical({"action": action, "actor": actor, "at": f"{at:.6f}", **facts})
    entry_hash = hash_of(prev, seq + 1, project, body)
    plainly(connection, _INSERT, (project, seq + 1, body, prev, entry_hash))
    if head is None:
        plainly(connection, _FIRST, (project, 1, entry_hash))
    else:
        plainly(connection, _NEXT, (seq + 1, entry_hash, project))
    return int(seq) + 1


def hash_of(prev: str, seq: int, project: str, body: str) -> str:
    """The hash of an entry with this number and text, after the entry with the hash `prev`."""
    return hashlib.sha256(f"{prev}|{project}|{seq}|{body}".encode()).hexdigest()


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the chain does not hold."""

    project: str
    seq: int
    what: str
    code: str = "entry_altered"
    """`row_altered` for a row next to the chain (`plant3d_sync.state.seals`); `table` and `row` name it then."""
    table: str | None = None
    row: str | None = None

    def __str__(self) -> str:
        return f"{self.what} (row_altered)" if self.row is not None else f"entry {self.seq}: {self.what}"


def project_of(chain: str) -> str:
    """The project a chain belongs to: the name of the chain, or what follows the kind of its rows."""
    kind, _, name = chain.partition(":")
    return name if name and kind in ("rows", "choices", "requests", "lines") else chain


def verify(connection: Connection) -> tuple[int, list[Broken]]:
    """Walk every chain. Returns the number of entries and every break: changed, missing, reordered, cut off."""
    count = 0
    broken: list[Broken] = []
    expected: dict[str, tuple[int, str]] = {}
    rows = connection.execute(
        sa.select(audit).order_by(audit.c.project, audit.c.seq).execution_options(yield_per=1000)
    )
    for row in rows:
        count += 1
        seq, prev = expected.get(row.project, (0, GENESIS))
        if row.seq != seq + 1:
            broken.append(Broken(project=row.project, seq=row.seq, what=f"entries after {seq} are missing"))
        elif row.prev != prev:
            broken.append(Broken(project=row.project, seq=row.seq, what="does not follow the entry before"))
        if row.hash != hash_of(row.prev, row.seq, row.project, row.body):
            broken.append(Broken(project=row.project, seq=row.seq, what="the entry was changed"))
        expected[row.project] = (row.seq, row.hash)
    for head in connection.execute(sa.select(audit_head)):
        seq, entry_hash = expected.pop(head.project, (0, GENESIS))
        if head.seq != seq:
            broken.append(Broken(project=head.project, seq=seq, what=f"entries up to {head.seq} are missing"))
        elif head.hash != entry_hash:
            broken.append(
                Broken(project=head.project, seq=seq, what="the head does not match the last entry")
            )
    for name, (seq, _hash_of_last) in expected.items():
        broken.append(Broken(project=name, seq=seq, what="the head is missing"))
    return count, broken


CHECK = "audit-check"


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The last walk over all chains: when, how many entries, and what does not hold, by chain."""

    at: float
    entries: int
    broken: Mapping[str, str]


def keep_check(connection: Connection, count: int, broken: Sequence[Broken], at: float) -> None:
    """Remember what a walk found, for those who watch."""
    first: dict[str, str] = {}
    for item in broken:
        first.setdefault(project_of(item.project), str(item))
    values = {"kind": CHECK, "seen_at": at, "data": dump({"entries": count, "broken": first})}
    if not insert_if_new(connection, component, {"name": CHECK, **values}):
        connection.execute(sa.update(component).where(component.c.name == CHECK).values(**values))


def last_check(connection: Connection) -> Checked | None:
    """What the last walk found, None if there was none."""
    row = connection.execute(
        sa.select(component.c.seen_at, component.c.data).where(component.c.name == CHECK)
    ).first()
    if row is None or not row.data:
        return None
    data = load_map(row.data)
    return Checked(at=row.seen_at, entries=int(data["entries"]), broken=data["broken"])


def compare(connection: Connection, kept: Iterable[Mapping[str, object]]) -> list[Broken]:
    """What an export kept elsewhere holds and this trail does not: a restored backup, or a trail written anew.

    One finding per chain, at its first difference. Newer entries of this trail are no difference.
    """
    last: dict[str, int] = {}
    found: dict[str, Broken] = {}
    one = sa.select(audit.c.hash).where(
        audit.c.project == sa.bindparam("whose"), audit.c.seq == sa.bindparam("number")
    )
    for entry in kept:
        project, seq = str(entry["project"]), int(str(entry["seq"]))
        last[project] = max(seq, last.get(project, 0))
        if project in found:
            continue
        here = connection.execute(one, {"whose": project, "number": seq}).scalar()
        if here != entry["hash"]:
            what = "is missing" if here is None else "is another one"
            found[project] = Broken(project=project, seq=seq, what=what)
    return [
        Broken(
            project=item.project,
            seq=item.seq,
            what=f"{item.what}; the export has entries up to {last[item.project]}",
        )
        for item in found.values()
    ]


def entries(
    connection: Connection, project: str, *, limit: int = 100, offset: int = 0
) -> Iterator[dict[str, object]]:
    """Entries of one project, newest first."""
    rows = connection.execute(
        sa.select(audit)
        .where(audit.c.project == project)
        .order_by(audit.c.seq.desc())
        .limit(limit)
        .offset(offset)
    )
    for row in rows:
        yield {"seq": row.seq, "hash": row.hash, "prev": row.prev, **orjson.loads(row.body)}


def export(connection: Connection) -> Iterator[dict[str, object]]:
    """Every entry of every chain in order, with what `verify` needs: it can be checked without the database."""
    rows = connection.execute(
        sa.select(audit).order_by(audit.c.project, audit.c.seq).execution_options(yield_per=1000)
    )
    for row in rows:
        yield {"project": row.project, "seq": row.seq, "prev": row.prev, "hash": row.hash, "body": row.body}
