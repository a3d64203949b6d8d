"""What the chains of seals say, once they were found to hold in themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.state import audit
from plant3d_sync.state.codec import load_map
from plant3d_sync.state.seals.covered import BEGUN, PRUNED, SEALED, SYSTEM, WAITING_PLANS, Kind
from plant3d_sync.state.tables import audit as audit_table
from plant3d_sync.state.tables import audit_head


class ChainBroken(Exception):
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


def walk(connection: Connection, chain: str) -> Iterator[dict[str, Any]]:
    """The entries of a chain in order, each with its number. Raises ChainBroken where it does not hold.

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
            raise ChainBroken(chain, row.seq)
        seq, last, end = row.seq, row.hash, (row.head_seq, row.head_hash)
        yield {**orjson.loads(row.body), "seq": seq}
    if seq:
        if end != (seq, last):
            raise ChainBroken(chain, seq)
    elif connection.execute(sa.select(audit_head.c.seq).where(audit_head.c.project == chain)).first():
        if not connection.execute(_CHAIN, {"chain": chain}).first():
            raise ChainBroken(chain, seq)
        yield from walk(connection, chain)  # its first entry came between two statements


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


def newest(connection: Connection, chain: str) -> Mapping[str, Any] | None:
    """The newest entry of a chain, if there is one, without a look at those before. Raises ChainBroken."""
    row = connection.execute(_NEWEST, {"chain": chain}).first()
    if row is None:
        return None
    if row.hash != row.head_hash or row.hash != audit.hash_of(row.prev, row.head_seq, chain, row.body):
        raise ChainBroken(chain, row.head_seq)
    return load_map(row.body)


class Batch(msgspec.Struct, frozen=True):
    """The seal of the change entries of one call."""

    chain: str
    seq: int
    project: int
    run: str
    intent: int
    rows: int
    digest: str
    at: float


class System(msgspec.Struct, frozen=True):
    """What `rows:system` says: which rows are older than the seals, and the newest seal of each key."""

    begun: Mapping[str, Any]
    keys: dict[str, str]

    def is_older(self, kind: Kind, row: Row[Any]) -> bool:
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
            case "change":
                return bool(row.id <= begun["change"] and row.intent_id <= begun["intent"])
            case _:
                assert_never(kind)


_systems: dict[str, System] = {}
"""By the hash of the chain's head: the same head, the same entries. Asked at every request with a key."""
_KEPT = 8
_SYSTEM_HEAD = sa.select(audit_head.c.hash).where(audit_head.c.project == SYSTEM)


def system_of(connection: Connection) -> System:
    """What the chain of the system says. Raises ChainBroken."""
    head = connection.execute(_SYSTEM_HEAD).scalar()
    known = _systems.get(head) if head is not None else None
    if known is not None:
        return known
    begun: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for entry in walk(connection, SYSTEM):
        if entry["action"] == BEGUN and entry["seq"] == 1:
            begun = {name: set(value) if isinstance(value, list) else value for name, value in entry.items()}
        keys |= entry.get("rows", {})
    found = System(begun, keys)
    if head is not None:
        if len(_systems) >= _KEPT:
            _systems.clear()
        _systems[head] = found
    return found


class Seals(msgspec.Struct, frozen=True):
    """What the chains say: the newest seal by row, and the seals of change entries by intent, oldest first."""

    system: System
    rows: dict[str, Any] = msgspec.field(default_factory=dict)
    batches: dict[int, list[Batch]] = msgspec.field(default_factory=dict)

    def read(
        self,
        connection: Connection,
        chain: str,
        wanted: set[str] | None = None,
        runs: set[str] | None = None,
    ) -> None:
        """Take in a chain; only these rows and the changes of these runs, None for all. Raises ChainBroken."""
        for entry in walk(connection, chain):
            if entry["action"] != SEALED:
                continue
            for part in ("rows", "chunks"):
                for name, digest in entry.get(part, {}).items():
                    if wanted is None or name in wanted:
                        self.rows[name] = digest
            facts = entry.get("changes")
            if facts is not None and (runs is None or facts["run"] in runs):
                self.batches.setdefault(facts["intent"], []).append(
                    Batch(
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


def pruned_before(connection: Connection) -> float:
    """Change entries older than this may be gone: retention removed them."""
    newest_one = 0.0
    rows = connection.execute(
        sa.select(audit_table.c.body).where(
            audit_table.c.project == "system", audit_table.c.body.like(f'%"{PRUNED}"%')
        )
    )
    for row in rows:
        newest_one = max(newest_one, float(load_map(row.body).get("before", 0)))
    return newest_one
