"""Seals: digests in the hash chain of the rows that may lead to a write.

A plain UPDATE in the state database could make `undo`, `apply` or a recovery write a value nobody decided. So every
such row is sealed when it is stored and each time it moves on: its digest is entered in a chain of the audit next to
the project's own (`rows:PROJECT`; `choices:` and `requests:` for what people decide; `rows:system` for keys). The
newest seal of a row counts. Whoever is about to act on rows recomputes them first (`check_…`), `verify` all of them.

Change entries have one seal a call (ADR 10): the digest over them, and four bytes of each that tell which one moved.
What the lines of a project are made of has one digest in the newest entry of `lines:PROJECT`, since every run asks for it.
Rows written before seals existed are known by the first entry of `rows:system` and are `not_covered`.
Not sealed: links and what a read found. What they say SYNAPSE holds goes into Plant 3D only once SYNAPSE says so too.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import sys
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.errors import NeedsPersonError
from plant3d_sync.model.run import OVER
from plant3d_sync.state import audit
from plant3d_sync.state.audit import Broken
from plant3d_sync.state.codec import bare_rows, load_map
from plant3d_sync.state.tables import (
    Name,
    acknowledgement,
    api_key,
    audit_head,
    change,
    conflict,
    intent,
    line_members,
    plan,
    plan_chunk,
    plant_write,
    run,
)
from plant3d_sync.state.tables import audit as audit_table
from plant3d_sync.state.tables import project as project_table

BEGUN = "seals.begun"
SEALED = "rows.sealed"
ACTOR = "plant3d-sync"
ROWS, CHOICES, REQUESTS, LINES = "rows", "choices", "requests", "lines"
SYSTEM = f"{ROWS}:system"
WAITING_PLANS = ("draft", "guarded", "approved", "applying")
PRUNED = "retention.begun"
ENDED = "ended"
"""Stands in place of a digest for a request that must never be carried out any more."""
_AT_ONCE = 500
"""Keys in one statement, and digests in one entry."""


class _Kind(msgspec.Struct, frozen=True):
    """A table whose rows are sealed one by one, and the columns under the seal."""

    table: sa.Table
    key: sa.Column[Any]
    chain: str
    columns: tuple[str, ...]


def _all_but(table: sa.Table, *left_out: str) -> tuple[str, ...]:
    return tuple(str(column.name) for column in table.columns if column.name not in left_out)


_KINDS = {
    "plan": _Kind(plan, plan.c.id, ROWS, _all_but(plan)),
    "intent": _Kind(intent, intent.c.id, ROWS, _all_but(intent)),
    "conflict": _Kind(conflict, conflict.c.seq, CHOICES, _all_but(conflict)),
    "acknowledgement": _Kind(acknowledgement, acknowledgement.c.id, CHOICES, _all_but(acknowledgement)),
    "api_key": _Kind(api_key, api_key.c.id, SYSTEM, _all_but(api_key, "last_used_at")),
    "run": _Kind(
        run,
        run.c.id,
        REQUESTS,
        (
            "id",
            "project",
            "direction",
            "trigger",
            "requested_by",
            "request_id",
            "dry_run",
            "options",
            "created_at",
        ),
    ),
}
_THESE = {
    name: sa.select(kind.table).where(kind.key.in_(sa.bindparam("keys", expanding=True))).order_by(kind.key)
    for name, kind in _KINDS.items()
}
_CELL_COLUMNS = _all_but(plant_write)


def columns(kind: str) -> tuple[str, ...]:
    """The columns of a table that are under a seal."""
    if kind == "change":
        return _all_but(change)
    return _CELL_COLUMNS if kind == "plant_write" else _KINDS[kind].columns


def chain_name(kind: str, project: str) -> str:
    """The chain that holds a project's seals of one kind; a name too long for the column stands as its digest."""
    name = f"{kind}:{project}"
    if len(name) <= (Name.length or 0):
        return name
    return f"{kind}:{hashlib.blake2b(project.encode(), digest_size=20).hexdigest()}"


# ---------------------------------------------------------------- digests


_LARGE = 1000
"""Bytes above which a stored piece stands in the text under a seal as its own digest."""


def _plain(value: object) -> object:
    if isinstance(value, bytes) and len(value) > _LARGE:
        return {"sha256": hashlib.sha256(value).hexdigest()}
    return _in_full(value)


def _with_blake2b(value: object) -> object:
    if isinstance(value, bytes) and len(value) > _LARGE:
        return {"blake2b": digest_of(value)}
    return _in_full(value)


def _in_full(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else repr(value)


def _digest(row: Row[Any], columns: Sequence[str], plain: Callable[[object], object] = _plain) -> str:
    """Over the columns that hold something, by name: a column that a later version adds changes no digest."""
    values = {name: value for name in columns if (value := getattr(row, name)) is not None}
    return digest_of(orjson.dumps(values, default=plain, option=orjson.OPT_SORT_KEYS))


def _is_sealed(row: Row[Any], columns: Sequence[str], sealed: str) -> bool:
    """Whether a row is what was sealed; large pieces stood otherwise under the seals of earlier versions."""
    return any(sealed == _digest(row, columns, plain) for plain in (_plain, _with_blake2b, _in_full))


def digest_of(text: bytes) -> str:
    """The digest of a short text, as hexadecimal text."""
    return hashlib.blake2b(text, digest_size=32).hexdigest()


_SHA256 = "sha256:"


def digest_of_piece(piece: bytes) -> str:
    """The digest of a stored piece, however large it is. SHA-256, for which processors have instructions."""
    return _SHA256 + hashlib.sha256(piece).hexdigest()


def is_piece(piece: bytes, digest: str) -> bool:
    """Whether it is the piece with this digest, of which earlier versions made another kind."""
    return digest == (digest_of_piece(piece) if digest.startswith(_SHA256) else digest_of(piece))


def _marks(lines: Iterable[bytes]) -> str:
    marks = array("I", map(zlib.crc32, lines))
    if sys.byteorder == "little":
        marks.byteswap()
    return base64.b64encode(marks.tobytes()).decode()


# ---------------------------------------------------------------- sealing


def _enter(connection: Connection, chain: str, at: float, **facts: object) -> None:
    audit.append(connection, chain, action=SEALED, actor=ACTOR, at=at, **facts)


def seal(connection: Connection, kind: str, keys: Iterable[object], *, at: float) -> None:
    """Enter the digests of these rows as they are now, in the transaction that wrote them."""
    what = _KINDS[kind]
    wanted = list(keys)
    for start in range(0, len(wanted), _AT_ONCE):
        rows = connection.execute(_THESE[kind], {"keys": wanted[start : start + _AT_ONCE]}).fetchall()
        by_chain: dict[str, dict[str, str]] = {}
        for row in rows:
            chain = what.chain if what.chain == SYSTEM else chain_name(what.chain, row.project)
            name = f"{kind}:{row._mapping[what.key]}"
            by_chain.setdefault(chain, {})[name] = _digest(row, what.columns)
        for chain, digests in by_chain.items():
            _enter(connection, chain, at, rows=digests)


_ONE_PLAN = sa.select(plan).where(plan.c.id == sa.bindparam("wanted"))


def seal_plan(
    connection: Connection, project: str, plan_id: str, chunks: Sequence[str], *, at: float
) -> None:
    """A new plan, with the digest of each chunk of its steps."""
    row = connection.execute(_ONE_PLAN, {"wanted": plan_id}).one()
    digests = {f"plan:{plan_id}": _digest(row, _KINDS["plan"].columns)}
    _enter(
        connection, chain_name(ROWS, project), at, rows=digests, chunks={f"chunks:{plan_id}": list(chunks)}
    )


def seal_changes(
    connection: Connection, project: str, first: Mapping[str, Any], lines: Sequence[bytes], *, at: float
) -> str:
    """The change entries of one call, of which `first` names project, run and intent; returns their digest.

    `lines`: see `audit.change_lines`; computed where the rows are written, so nothing is read again.
    """
    digest = audit.digest_of_lines(lines)
    facts = {
        "project": first["project"],
        "run": first["run_id"],
        "intent": first["intent_id"],
        "rows": len(lines),
        "digest": digest,
        "marks": _marks(lines),
    }
    _enter(connection, chain_name(ROWS, project), at, changes=facts)
    return digest


def seal_cells(connection: Connection, project: str, intent_id: int, *, at: float) -> None:
    """The before-images of one intent as they are now."""
    digests = [_digest(row, _CELL_COLUMNS) for row in _cells(connection, intent_id)]
    _enter(connection, chain_name(ROWS, project), at, rows={f"cells:{intent_id}": digests})


LineRow = tuple[str, str, str]
"""Identity of a line, PnPGuid of the row that stands for it, its members as stored."""


def seal_lines(
    connection: Connection, project: str, rows: Sequence[LineRow], moved: Collection[str], *, at: float
) -> None:
    """What all lines of a project are made of (`rows`), of which these were written now.

    One digest over all of them, and one of each that was written, so that `verify` can name a row. Without any rows
    all are forgotten.
    """
    each = {row[0]: _digest_of_line(row) for row in rows if row[0] in moved}
    whole, chain = _digest_of_lines(rows), chain_name(LINES, project)
    _enter(connection, chain, at, digest=whole, lines=each)
    if len(each) > _FEW:
        _enter(connection, chain, at, digest=whole, lines={})  # the newest is read in every run


_FEW = 50


def _digest_of_lines(rows: Iterable[LineRow]) -> str:
    return digest_of("\n".join(map("\t".join, sorted(rows))).encode("utf-8", "surrogatepass"))


def _digest_of_line(row: LineRow) -> str:
    return hashlib.blake2b(_line_text(row), digest_size=8).hexdigest()


def _line_text(row: LineRow) -> bytes:
    return "\t".join(row).encode("utf-8", "surrogatepass")


NO_LINES = _digest_of_lines(())


def end_request(connection: Connection, project: str, run_id: str, *, at: float) -> None:
    """A request that is not to be carried out any more, whatever its row may say later."""
    _enter(connection, chain_name(REQUESTS, project), at, rows={f"run:{run_id}": ENDED})


def _cells(connection: Connection, intent_id: int) -> Sequence[Row[Any]]:
    return connection.execute(
        sa.select(plant_write).where(plant_write.c.intent_id == intent_id).order_by(plant_write.c.id)
    ).fetchall()


# ---------------------------------------------------------------- reading the chains


class _ChainBroken(Exception):
    """A chain of seals does not hold in itself."""

    def __init__(self, chain: str, seq: int) -> None:
        super().__init__(chain)
        self.chain, self.seq = chain, seq


_CHAIN = (
    sa.select(audit_table, audit_head.c.seq.label("head_seq"), audit_head.c.hash.label("head_hash"))
    .select_from(audit_table.outerjoin(audit_head, audit_head.c.project == audit_table.c.project))
    .where(audit_table.c.project == sa.bindparam("chain"))
    .order_by(audit_table.c.seq)
    .execution_options(yield_per=1000)
)


def _walk(connection: Connection, chain: str) -> Iterator[dict[str, Any]]:
    """The entries of a chain in order, each with its number. Raises _ChainBroken where it does not hold.

    Entries and head are asked in one statement: in a writing transaction each statement sees its own moment, and others
    add entries meanwhile.
    """
    seq, last, end = 0, audit.GENESIS, (0, "")
    for row in connection.execute(_CHAIN, {"chain": chain}):
        if (
            row.seq != seq + 1
            or row.prev != last
            or row.hash != audit.hash_of(last, row.seq, chain, row.body)
        ):
            raise _ChainBroken(chain, row.seq)
        seq, last, end = row.seq, row.hash, (row.head_seq, row.head_hash)
        yield {**orjson.loads(row.body), "seq": seq}
    if seq:
        if end != (seq, last):
            raise _ChainBroken(chain, seq)
    elif connection.execute(sa.select(audit_head.c.seq).where(audit_head.c.project == chain)).first():
        if not connection.execute(_CHAIN, {"chain": chain}).first():
            raise _ChainBroken(chain, seq)
        yield from _walk(connection, chain)  # its first entry came between two statements


class _Batch(msgspec.Struct, frozen=True):
    """The seal of the change entries of one call."""

    chain: str
    seq: int
    project: int
    run: str
    intent: int
    rows: int
    digest: str
    at: float


class _Found(msgspec.Struct):
    """What the chains say: the newest seal by row, and the seals of change entries by intent, oldest first."""

    rows: dict[str, Any] = msgspec.field(default_factory=dict)
    batches: dict[int, list[_Batch]] = msgspec.field(default_factory=dict)

    def read(
        self,
        connection: Connection,
        chain: str,
        wanted: set[str] | None = None,
        runs: set[str] | None = None,
    ) -> None:
        """Take in a chain; only these rows and the changes of these runs, None for all."""
        for entry in _walk(connection, chain):
            if entry["action"] != SEALED:
                continue
            for part in ("rows", "chunks"):
                for name, digest in entry.get(part, {}).items():
                    if wanted is None or name in wanted:
                        self.rows[name] = digest
            facts = entry.get("changes")
            if facts is not None and (runs is None or facts["run"] in runs):
                self.batches.setdefault(facts["intent"], []).append(
                    _Batch(
                        chain=chain,
                        seq=entry["seq"],
                        project=facts["project"],
                        run=facts["run"],
                        intent=facts["intent"],
                        rows=facts["rows"],
                        digest=facts["digest"],
                        at=float(entry["at"]),
                    )
                )


class _System(msgspec.Struct, frozen=True):
    """What `rows:system` says: which rows are older than the seals, and the newest seal of each key."""

    begun: Mapping[str, Any]
    keys: Mapping[str, str]

    def is_older(self, kind: str, row: Row[Any]) -> bool:
        """Whether the row may stand without a seal: it was written before there were any."""
        begun = self.begun
        if not begun:
            return False
        match kind:
            case "plan":
                if row.status in WAITING_PLANS:
                    return row.id in begun["plans"]
                return bool(row.created_at <= float(begun["at"]))
            case "intent":
                return row.id in begun["open"] if row.status == "open" else row.id <= begun["intent"]
            case "conflict":
                if row.status != "pending" and row.carried_out == 0:
                    return row.seq in begun["choices"]
                return bool(row.seq <= begun["conflict"])
            case "acknowledgement":
                return False  # the table is younger than the seals
            case "api_key":
                return row.id in begun["keys"]
            case "run":
                return bool(row.seq <= begun["run"])
            case "plant_write":
                return bool(row.id <= begun["plant_write"] and (row.intent_id or 0) <= begun["intent"])
            case _:  # change
                return bool(row.id <= begun["change"] and row.intent_id <= begun["intent"])


_systems: dict[str, _System] = {}
"""By the hash of the chain's head: the same head, the same entries. Asked at every request with a key."""


_SYSTEM_HEAD = sa.select(audit_head.c.hash).where(audit_head.c.project == SYSTEM)


def _system(connection: Connection) -> _System:
    head = connection.execute(_SYSTEM_HEAD).scalar()
    known = _systems.get(head) if head is not None else None
    if known is not None:
        return known
    begun: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for entry in _walk(connection, SYSTEM):
        if entry["action"] == BEGUN and entry["seq"] == 1:
            begun = {name: set(value) if isinstance(value, list) else value for name, value in entry.items()}
        keys |= entry.get("rows", {})
    found = _System(begun, keys)
    if head is not None:
        if len(_systems) >= 8:
            _systems.clear()
        _systems[head] = found
    return found


# ---------------------------------------------------------------- what does not hold


class Altered(msgspec.Struct, frozen=True):
    """A row that is not what was stored, or that nobody of ours stored."""

    project: str
    table: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.table} {self.row} of {self.project} {self.what}"


CHANGED, ADDED, GONE = "was changed", "was added", "was removed"


def refusal(found: Sequence[Altered | str], nothing: str) -> NeedsPersonError:
    """Says which rows were altered, and that nothing was done with them. `nothing`: what did not happen."""
    rest = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return NeedsPersonError(
        f"The state database was altered from outside: {found[0]}{rest}. {nothing}",
        hint="`plant3d-sync audit verify` names every row. Restore the state database from a backup, or set the rows "
        "aside with `plant3d-sync audit set-aside`, then make a new plan.",
        code="row_altered",
        details={
            "rows": [
                {"project": one.project, "table": one.table, "row": one.row, "what": one.what}
                if isinstance(one, Altered)
                else {"what": one}
                for one in found[:100]
            ]
        },
    )


def _of_row(
    kind: str, row: Row[Any], found: Mapping[str, Any], system: _System, project: str
) -> tuple[Altered | None, bool]:
    """What does not hold of a row that is sealed by itself, and whether a seal covers it."""
    what = _KINDS[kind]
    key = row._mapping[what.key]
    sealed = found.get(f"{kind}:{key}")
    if sealed is not None:
        holds = row.status in OVER if sealed == ENDED else _is_sealed(row, what.columns, sealed)
        return (None if holds else Altered(project, kind, str(key), CHANGED)), True
    if kind == "plan" and row.lines == 0 and row.chunks == 0:
        return None, True  # nothing can be written by it
    if system.is_older(kind, row):
        return None, False
    return Altered(project, kind, str(key), ADDED), True


def _of_chunks(
    connection: Connection, plan_id: str, sealed: Sequence[str] | None, project: str
) -> list[Altered]:
    """The chunks of a plan's steps; one that is older than the seals has none (None)."""
    if sealed is None:
        return []
    rows = connection.execute(
        sa.select(plan_chunk.c.n, plan_chunk.c.lines)
        .where(plan_chunk.c.plan_id == plan_id)
        .order_by(plan_chunk.c.n)
        .execution_options(yield_per=10)
    )
    holds: dict[int, bool] = {}
    for n, stored in rows:
        is_known = 0 <= n < len(sealed)
        holds[n] = is_known and is_piece(stored if isinstance(stored, bytes) else b"", sealed[n])
    found = [
        Altered(project, "plan_chunk", f"{plan_id}/{n}", CHANGED if n in holds else GONE)
        for n in range(len(sealed))
        if not holds.get(n)
    ]
    return found + [
        Altered(project, "plan_chunk", f"{plan_id}/{n}", ADDED) for n in sorted(holds) if n >= len(sealed)
    ]


def _of_cells(
    rows: Sequence[Row[Any]], sealed: Sequence[str] | None, system: _System
) -> tuple[list[Altered], int]:
    """What does not hold of the before-images of one intent, and how many are older than the seals."""
    if sealed is None:
        older = [row for row in rows if system.is_older("plant_write", row)]
        found = [Altered(row.project, "plant_write", str(row.id), ADDED) for row in rows if row not in older]
        return found, len(older)
    digests = [_digest(row, _CELL_COLUMNS) for row in rows]
    found = [
        Altered(row.project, "plant_write", str(row.id), CHANGED)
        for row, digest in zip(rows, digests, strict=True)
        if digest not in sealed
    ]
    if not found and digests != list(sealed):
        where = f"of intent {rows[0].intent_id}" if rows else "of an intent"
        found.append(Altered(rows[0].project if rows else "?", "plant_write", where, GONE))
    return found, 0


def _of_changes(
    connection: Connection,
    rows: Sequence[Row[Any]],
    batches: Sequence[_Batch],
    system: _System,
    project: str,
    pruned: float,
) -> tuple[list[Altered], int]:
    """What does not hold of the change entries of one intent, in the order they were stored, and how many are older."""
    older = [row for row in rows if system.is_older("change", row)]
    rest = rows[len(older) :]
    found: list[Altered] = []
    for batch in batches:
        part, rest = rest[: batch.rows], rest[batch.rows :]
        lines = [_line(row) for row in part]
        heads = all((row.project, row.run_id) == (batch.project, batch.run) for row in part)
        if heads and len(part) == batch.rows and audit.digest_of_lines(lines) == batch.digest:
            continue
        if not part:
            if batch.at >= pruned:
                where = f"entries of run {batch.run}, intent {batch.intent}"
                found.append(Altered(project, "change", where, GONE))
            continue
        found += _which(connection, part, lines, batch, project)
    found += [Altered(project, "change", str(row.id), ADDED) for row in rest]
    return found, len(older)


def _line(row: Row[Any]) -> bytes:
    return audit.change_lines([dict(row._mapping)])[0]


def _which(
    connection: Connection, rows: Sequence[Row[Any]], lines: Sequence[bytes], batch: _Batch, project: str
) -> list[Altered]:
    """The rows of a batch that moved, by their four bytes."""
    body = connection.execute(
        sa.select(audit_table.c.body).where(
            audit_table.c.project == batch.chain, audit_table.c.seq == batch.seq
        )
    ).scalar()
    marks = base64.b64decode(load_map(body)["changes"]["marks"])
    sealed = [marks[start : start + 4] for start in range(0, len(marks), 4)]
    found = []
    for row, line in zip(rows, lines, strict=True):
        known = zlib.crc32(line).to_bytes(4, "big") in sealed
        if not known or (row.project, row.run_id) != (batch.project, batch.run):
            found.append(Altered(project, "change", str(row.id), CHANGED))
    if not found:
        where = f"one of {rows[0].id} to {rows[-1].id}"
        found.append(Altered(project, "change", where, "was changed, moved or removed"))
    return found


# ---------------------------------------------------------------- before a write


def _chain_says(error: _ChainBroken) -> str:
    return f"the audit chain {error.chain} does not hold at entry {error.seq}"


def check_plan(connection: Connection, project: str, plan_id: str, *, nothing: str) -> None:
    """A stored plan, its steps, and what was written of it already. Raises NeedsPersonError `row_altered`."""
    row = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).first()
    if row is None:
        return
    begun = connection.execute(
        sa.select(intent).where(intent.c.project == project, intent.c.plan_id == plan_id)
    ).fetchall()
    wanted = {f"plan:{plan_id}", f"chunks:{plan_id}", *(f"intent:{one.id}" for one in begun)}
    whose = {one.run_id for one in begun}
    try:
        system, found = _system(connection), _Found()
        found.read(connection, chain_name(ROWS, project), wanted, whose)
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    altered = [one for one in [_of_row("plan", row, found.rows, system, project)[0]] if one]
    altered += _of_chunks(connection, plan_id, found.rows.get(f"chunks:{plan_id}"), project)
    altered += [
        one for item in begun if (one := _of_row("intent", item, found.rows, system, project)[0]) is not None
    ]
    for run_id in sorted(whose):
        altered += _altered_changes(connection, project, run_id, found, system)
    if altered:
        raise refusal(altered, nothing)


def check_run(connection: Connection, project: str, run_id: str, *, nothing: str) -> None:
    """What a run wrote, with every before-image of its items. Raises NeedsPersonError `row_altered`."""
    ours = sa.select(plant_write.c.pnpid).where(plant_write.c.run_id == run_id)
    written = sa.select(change.c.pnpid).where(change.c.run_id == run_id, change.c.side == "plant3d")
    counted = sa.and_(
        plant_write.c.project == project,
        plant_write.c.pnpid.in_(ours.union(written)),
        plant_write.c.status.in_(("applied", "found_applied", "intended")),
    )
    of_run = sa.and_(plant_write.c.run_id == run_id, plant_write.c.intent_id.is_not(None))
    cells = connection.execute(sa.select(plant_write).where(sa.or_(counted, of_run))).fetchall()
    wanted = {f"cells:{row.intent_id}" for row in cells}
    try:
        system, found = _system(connection), _Found()
        found.read(connection, chain_name(ROWS, project), wanted, {run_id})
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    altered = _altered_changes(connection, project, run_id, found, system)
    for intent_id in sorted({row.intent_id for row in cells if row.intent_id is not None}):
        rows = _cells(connection, intent_id)
        altered += _of_cells(rows, found.rows.get(f"cells:{intent_id}"), system)[0]
    altered += [Altered(project, "plant_write", str(row.id), ADDED) for row in cells if row.intent_id is None]
    if altered:
        raise refusal(altered, nothing)


def _altered_changes(
    connection: Connection, project: str, run_id: str, found: _Found, system: _System
) -> list[Altered]:
    rows = connection.execute(
        sa.select(change).where(change.c.run_id == run_id).order_by(change.c.intent_id, change.c.id)
    ).fetchall()
    by_intent = {number: list(group) for number, group in groupby(rows, key=lambda row: row.intent_id)}
    pruned = pruned_before(connection)
    altered: list[Altered] = []
    for number in sorted(
        by_intent.keys() | {n for n, seals in found.batches.items() if seals[0].run == run_id}
    ):
        seals = [one for one in found.batches.get(number, ()) if one.run == run_id]
        altered += _of_changes(connection, by_intent.get(number, []), seals, system, project, pruned)[0]
    return altered


_RECOVERED = (
    sa.select(intent)
    .where(intent.c.project == sa.bindparam("whose"), intent.c.status == "open")
    .order_by(intent.c.id)
)


def check_recovery(connection: Connection, project: str, *, nothing: str) -> None:
    """Open intents, the plans their steps stand in, and their cells. Raises NeedsPersonError `row_altered`."""
    waiting = connection.execute(_RECOVERED, {"whose": project}).fetchall()
    if waiting:
        _check_intents(connection, project, waiting, set(), nothing)


def check_late(
    connection: Connection, project: str, *, run_ids: Iterable[str], intent_ids: Iterable[int], nothing: str
) -> None:
    """What says that a value in SYNAPSE is a late write of ours: the changes of these runs, and these intents.

    Raises NeedsPersonError `row_altered`.
    """
    rows = connection.execute(sa.select(intent).where(intent.c.id.in_(list(intent_ids)))).fetchall()
    _check_intents(connection, project, rows, set(run_ids), nothing)


def _check_intents(
    connection: Connection, project: str, waiting: Sequence[Row[Any]], run_ids: set[str], nothing: str
) -> None:
    plans = sorted({row.plan_id for row in waiting if not _is_inline(row.lines)})
    wanted = {f"{kind}:{row.id}" for row in waiting for kind in ("intent", "cells")}
    wanted |= {f"{kind}:{plan_id}" for plan_id in plans for kind in ("plan", "chunks")}
    try:
        system, found = _system(connection), _Found()
        found.read(connection, chain_name(ROWS, project), wanted, run_ids)
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    altered: list[Altered] = []
    for run_id in sorted(run_ids):
        altered += _altered_changes(connection, project, run_id, found, system)
    for row in waiting:
        altered += [one for one in [_of_row("intent", row, found.rows, system, project)[0]] if one]
        cells = _cells(connection, row.id)
        if cells or f"cells:{row.id}" in found.rows:
            altered += _of_cells(cells, found.rows.get(f"cells:{row.id}"), system)[0]
    for plan_id in plans:
        stored = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).first()
        if stored is not None:
            altered += [one for one in [_of_row("plan", stored, found.rows, system, project)[0]] if one]
        altered += _of_chunks(connection, plan_id, found.rows.get(f"chunks:{plan_id}"), project)
    if altered:
        raise refusal(altered, nothing)


def _is_inline(lines: bytes | str) -> bool:
    """Whether an intent holds its steps itself; else it names places in a plan."""
    return lines[:1] in (b"[", "[")


_OF_CONFLICT = sa.select(conflict).where(conflict.c.project == sa.bindparam("whose")).order_by(conflict.c.id)
_ONE_CONFLICT = _OF_CONFLICT.where(conflict.c.id == sa.bindparam("wanted"))
_CHOICES = _OF_CONFLICT.where(conflict.c.carried_out == 0, conflict.c.chosen.is_not(None))
_SAID = (
    sa.select(acknowledgement)
    .where(acknowledgement.c.project == sa.bindparam("whose"), acknowledgement.c.ended_at.is_(None))
    .order_by(acknowledgement.c.id)
)
_HELD = {statement: statement.with_for_update() for statement in (_ONE_CONFLICT, _CHOICES, _SAID)}


def check_choices(
    connection: Connection, project: str, *, nothing: str, writing: bool, conflict_id: str | None = None
) -> None:
    """Choices that wait to be carried out and what people left alone, or one conflict. Raises NeedsPersonError
    `row_altered`. `writing`: in a writing transaction, so the rows are kept from others until it ends; else a row and its
    seal, which are read one after the other, could be of two moments.
    """

    def found_by(statement: sa.Select[Any], **more: str) -> Sequence[Row[Any]]:
        statement = _HELD[statement] if writing else statement
        return connection.execute(statement, {"whose": project, **more}).fetchall()

    if conflict_id is None:
        rows = [("conflict", row) for row in found_by(_CHOICES)]
        rows += [("acknowledgement", row) for row in found_by(_SAID)]
    else:
        rows = [("conflict", row) for row in found_by(_ONE_CONFLICT, wanted=conflict_id)]
    if not rows:
        return
    try:
        system, found = _system(connection), _Found()
        wanted = {f"{kind}:{row._mapping[_KINDS[kind].key]}" for kind, row in rows}
        found.read(connection, chain_name(CHOICES, project), wanted, set())
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    altered = [one for kind, row in rows if (one := _of_row(kind, row, found.rows, system, project)[0])]
    if altered:
        raise refusal(altered, nothing)


def check_request(connection: Connection, run_id: str, *, nothing: str) -> None:
    """A queued request somebody made. Raises NeedsPersonError `row_altered`.

    The scheduler's own ask for what the configuration says and are not sealed; they may name no plan.
    """
    row = connection.execute(sa.select(run).where(run.c.id == run_id)).first()
    if row is None:
        return
    try:
        system, found = _system(connection), _Found()
        found.read(connection, chain_name(REQUESTS, row.project), {f"run:{run_id}"}, set())
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    if f"run:{run_id}" not in found.rows and _is_slot(row):
        return
    altered, _covered = _of_row("run", row, found.rows, system, row.project)
    if altered is not None:
        raise refusal([altered], nothing)


def check_lines(connection: Connection, project: str, rows: Sequence[LineRow], *, nothing: str) -> None:
    """What the lines of a project are made of, all of its rows. Raises NeedsPersonError `row_altered`.

    Asked in every run, so only the newest entry of the chain is looked at: whoever can forge that one and its hash can
    forge the chain.
    """
    try:
        sealed = _newest_of_lines(connection, chain_name(LINES, project))
    except _ChainBroken as error:
        raise refusal([_chain_says(error)], nothing) from error
    if (sealed or NO_LINES) != _digest_of_lines(rows):
        raise refusal(
            [Altered(project, "line_members", "(one or more)", "was changed, added or removed")], nothing
        )


_NEWEST = (
    sa.select(audit_table, audit_head.c.seq.label("head_seq"), audit_head.c.hash.label("head_hash"))
    .select_from(
        audit_head.outerjoin(
            audit_table,
            sa.and_(audit_table.c.project == audit_head.c.project, audit_table.c.seq == audit_head.c.seq),
        )
    )
    .where(audit_head.c.project == sa.bindparam("chain"))
)


def _newest_of_lines(connection: Connection, chain: str) -> str | None:
    """The digest over all lines in the newest entry, if there is one."""
    row = connection.execute(_NEWEST, {"chain": chain}).first()
    if row is None:
        return None
    if row.hash != row.head_hash or row.hash != audit.hash_of(row.prev, row.head_seq, chain, row.body):
        raise _ChainBroken(chain, row.head_seq)
    return str(load_map(row.body)["digest"])


def _needs_a_seal(row: Row[Any]) -> bool:
    """Whether somebody asked for this run; what a command does at once is not asked for."""
    return bool(load_map(row.options).get("queued")) and not _is_slot(row)


def _is_slot(row: Row[Any]) -> bool:
    return row.trigger == "schedule" and not load_map(row.options).get("plan_id") and not row.dry_run


def key_holds(connection: Connection, row: Row[Any]) -> bool:
    """Whether a key's row is what was stored when it was made, or ended."""
    try:
        system = _system(connection)
    except _ChainBroken:
        return False
    return _of_row("api_key", row, system.keys, system, "system")[0] is None


# ---------------------------------------------------------------- everything


def pruned_before(connection: Connection) -> float:
    """Change entries older than this may be gone: retention removed them."""
    newest = 0.0
    rows = connection.execute(
        sa.select(audit_table.c.body).where(
            audit_table.c.project == "system", audit_table.c.body.like(f'%"{PRUNED}"%')
        )
    )
    for row in rows:
        newest = max(newest, float(load_map(row.body).get("before", 0)))
    return newest


class Verified(msgspec.Struct, frozen=True):
    """The entries seen, what does not hold, and by table the rows that are older than the seals."""

    entries: int
    broken: list[Broken]
    not_covered: dict[str, int]


def verify(connection: Connection) -> Verified:
    """Walk every chain and recompute the digest of every sealed row, in a reading transaction."""
    count, broken = audit.verify(connection)
    try:
        system = _system(connection)
        found = _read_all(connection)
    except _ChainBroken as error:  # told by `audit.verify` too
        if not broken:
            broken.append(Broken(project=error.chain, seq=error.seq, what="does not hold"))
        return Verified(count, broken, {})
    altered: list[Altered] = []
    older: dict[str, int] = {}
    for kind in _KINDS:
        _verify_rows(connection, kind, found, system, altered, older)
    _verify_cells(connection, found, system, altered, older)
    _verify_changes(connection, found, system, altered, older)
    _verify_lines(connection, altered)
    broken += [
        Broken(
            project=one.project,
            seq=0,
            what=f"{one.table} {one.row} {one.what}",
            code="row_altered",
            table=one.table,
            row=one.row,
        )
        for one in altered
    ]
    return Verified(count, broken, older)


_KEYS = {kind: sa.select(what.key) for kind, what in _KINDS.items()}
_CELL_INTENTS = sa.select(plant_write.c.intent_id).where(plant_write.c.intent_id.is_not(None)).distinct()


def _read_all(connection: Connection) -> _Found:
    found = _Found()
    there: set[str] = set()
    for kind, keys in _KEYS.items():
        there |= {f"{kind}:{key}" for key in connection.execute(keys).scalars()}
    there |= {name.replace("plan:", "chunks:", 1) for name in there if name.startswith("plan:")}
    there |= {f"cells:{number}" for number in connection.execute(_CELL_INTENTS).scalars()}
    names = connection.execute(sa.select(audit_head.c.project)).scalars().all()
    for chain in sorted(names):
        if chain.startswith((f"{ROWS}:", f"{CHOICES}:", f"{REQUESTS}:", f"{LINES}:")):
            found.read(connection, chain, there)
    return found


def _verify_rows(
    connection: Connection,
    kind: str,
    found: _Found,
    system: _System,
    altered: list[Altered],
    older: dict[str, int],
) -> None:
    what = _KINDS[kind]
    for row in _pages(connection, what.table, what.key):
        if kind == "run" and f"run:{row.id}" not in found.rows and not _needs_a_seal(row):
            continue
        project = "system" if kind == "api_key" else row.project
        one, covered = _of_row(kind, row, found.rows, system, project)
        if one is not None:
            altered.append(one)
        elif not covered:
            older[kind] = older.get(kind, 0) + 1
        if kind == "plan":
            altered += _of_chunks(connection, row.id, found.rows.get(f"chunks:{row.id}"), project)


@functools.cache
def _paged(table: sa.Table, key: sa.Column[Any]) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The first page, and the one after a key."""
    first = sa.select(table).order_by(key).limit(_AT_ONCE)
    return first, first.where(key > sa.bindparam("last", type_=key.type))


def _pages(connection: Connection, table: sa.Table, key: sa.Column[Any]) -> Iterator[Row[Any]]:
    """All rows by their key, a page at a time: other statements may run in between."""
    first, further = _paged(table, key)
    last: Any = None
    while True:
        rows = connection.execute(*((first,) if last is None else (further, {"last": last}))).fetchall()
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]._mapping[key]


def _verify_cells(
    connection: Connection, found: _Found, system: _System, altered: list[Altered], older: dict[str, int]
) -> None:
    for number in sorted(connection.execute(_CELL_INTENTS).scalars()):
        rows = _cells(connection, number)
        more, before = _of_cells(rows, found.rows.get(f"cells:{number}"), system)
        altered += more
        if before:
            older["plant_write"] = older.get("plant_write", 0) + before
    loose = sa.select(plant_write).where(
        plant_write.c.intent_id.is_(None), plant_write.c.status.in_(("applied", "found_applied", "intended"))
    )
    altered += [
        Altered(row.project, "plant_write", str(row.id), ADDED)
        for row in connection.execute(loose).fetchall()
    ]


def _verify_lines(connection: Connection, altered: list[Altered]) -> None:
    """Name the lines that are not made of what was stored."""
    projects = connection.execute(sa.select(project_table.c.number, project_table.c.name)).fetchall()
    for number, name in projects:
        sealed: dict[str, str] = {}
        for entry in _walk(connection, chain_name(LINES, name)):
            sealed = {**sealed, **entry["lines"]} if entry["digest"] != NO_LINES else {}
        rows = {row[0]: _digest_of_line(row) for row in line_rows(connection, number)}
        altered += [
            Altered(name, "line_members", identity, CHANGED if identity in sealed else ADDED)
            for identity, digest in sorted(rows.items())
            if sealed.get(identity) != digest
        ]
        altered += [Altered(name, "line_members", one, GONE) for one in sorted(sealed.keys() - rows.keys())]
    known = {number for number, _name in projects}
    strays = connection.execute(sa.select(line_members.c.project, line_members.c.plant3d_id)).fetchall()
    altered += [
        Altered("?", "line_members", row.plant3d_id, ADDED) for row in strays if row.project not in known
    ]


def line_rows(connection: Connection, number: int) -> list[LineRow]:
    """What all lines of a project are made of, as stored."""
    query = "SELECT plant3d_id, row_guid, members FROM line_members WHERE project = ?"
    return list(bare_rows(connection, query, (number,), _as_line))


def _as_line(row: tuple[Any, ...]) -> LineRow:
    identity, row_guid, members = row
    return str(identity), str(row_guid), str(members)


def _verify_changes(
    connection: Connection, found: _Found, system: _System, altered: list[Altered], older: dict[str, int]
) -> None:
    pruned = pruned_before(connection)
    numbers = connection.execute(sa.select(project_table.c.number, project_table.c.name))
    names = {row.number: row.name for row in numbers}
    held: dict[int, list[Row[Any]]] = {}
    seen: dict[int, int] = {}

    def compare(number: int, rows: Sequence[Row[Any]], batches: Sequence[_Batch]) -> None:
        whose = names.get(batches[0].project, "?")
        altered.extend(_of_changes(connection, rows, batches, system, whose, pruned)[0])

    for row in _pages(connection, change, change.c.id):
        number = row.intent_id
        if system.is_older("change", row):
            older["change"] = older.get("change", 0) + 1
            continue
        batches, place = found.batches.get(number, []), seen.get(number, 0)
        if place == len(batches):
            altered.append(Altered(names.get(row.project, "?"), "change", str(row.id), ADDED))
            continue
        held.setdefault(number, []).append(row)
        if len(held[number]) == batches[place].rows:
            compare(number, held.pop(number), batches[place : place + 1])
            seen[number] = place + 1
    for number, batches in found.batches.items():
        left = batches[seen.get(number, 0) :]
        if left:
            compare(number, held.get(number, []), left)
