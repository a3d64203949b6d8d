"""What the use cases see of the two systems.

Plant 3D is read through a snapshot: one moment of the database, copied and closed before it is looked at.
SYNAPSE is a port that says what it can (`Capabilities`), so that a poorer backend fits without touching the core.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from plant3d_sync.errors import ConfigError
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.reading import PLAIN, Reading
from plant3d_sync.model.record import Asset, FieldInfo, Fields, Finding, PlantItem, SourceIdentity

# ---------------------------------------------------------------- Plant 3D


class ItemBatch(msgspec.Struct, kw_only=True):
    """A piece of a scan: ids whose digest is the known one, and full items for all others."""

    unchanged: list[int]
    changed: list[PlantItem]
    unsettled: list[int] = msgspec.field(default_factory=list)
    """Items that are there, and that somebody kept saving while they were read: what they hold is unknown this time."""


class PlantSnapshot(Protocol):
    """One moment of one Plant 3D database, readable without touching the database any more."""

    identity: SourceIdentity
    catalog: Catalog
    lock_ms: float
    """How long the source was held by our read lock, in milliseconds."""
    folded: dict[str, int]
    """Class -> rows that the last scan found to be part of another item of that class (line groups with one number)."""

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Rows of PnPBase per concrete class, for the classes asked (0 for lazy ones)."""
        ...

    def scan(
        self, classes: Sequence[str], known: Mapping[int, bytes], reading: Reading = PLAIN
    ) -> Iterator[ItemBatch]:
        """Every item of these concrete classes, once, ordered by class and PnPID, about 500 a batch.

        `reading`: what the mapping wants of a read, `RuleSet.reading`.
        `known` maps PnPID to the digest stored at the last run; an item with that digest comes back in `unchanged`.
        """
        ...

    def column_values(self, classes: Collection[str], column: str) -> dict[int, object]:
        """PnPID -> what the items of these classes hold in a column; without the items whose row is missing."""
        ...

    def drawings_of(self, pnpids: Collection[int]) -> dict[int, str]:
        """The drawings these items are drawn in, by number or file name, several joined by "; "; a line group's are those
        of its segments. An item that is in none is left out.
        """
        ...

    def classes_of(self, pnpids: Collection[int]) -> dict[int, str]:
        """The classes of these rows; one that is not there is left out."""
        ...

    def findings(self) -> Sequence[Finding]:
        """What is odd in the database: whole-database hazards plus those met by the scans so far."""
        ...

    def close(self) -> None:
        """Remove the local copy."""
        ...


class PlantSource(Protocol):
    """A Plant 3D database that can be read."""

    name: str
    """For people: the path or the URL without password."""

    def signature(self) -> str | None:
        """Cheap token of the file; equal means nothing was committed. None when there is no cheap test.

        Raises ConfigError where the login is refused, since `snapshot` would be refused too.
        """
        ...

    def snapshot(self) -> PlantSnapshot:
        """Copy one moment. Raises ConfigError (not a Plant 3D database, no access) or RetryLaterError (busy, away)."""
        ...


class CellWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One planned change of one text cell in Plant 3D."""

    pnpid: int
    plant3d_id: str
    class_name: str
    table_class: str
    column: str
    old: str | None
    new: str | None
    expected_timestamp: int
    tag: str = ""
    field: str = ""
    drawing: str | None = None


class CellReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell.

    status: `applied`; `found_applied` (an earlier attempt had done it); `stale` (the cell or its stamp moved);
    `refused` (a rule forbids it); `waiting` (drawing open, file locked: try again later).
    """

    pnpid: int
    column: str
    status: Literal["applied", "found_applied", "stale", "refused", "waiting"]
    code: str = ""
    message: str = ""
    value: str | None = None
    timestamp: int | None = None


# ---------------------------------------------------------------- SYNAPSE


KEPT_HOURS: Final = 24
"""How long SYNAPSE keeps the answer to a batch at the least, by the contract."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What this SYNAPSE can do, and its limits. `skew_seconds` = its clock minus ours.

    `idempotency_hours`: how long it keeps the answer to a batch; 0 if it keeps none.
    """

    contract: str
    version: str
    feed: bool = True
    versions: bool = True
    archive: bool = True
    max_batch_items: int = 1000
    max_body_bytes: int = 5 * 1024 * 1024
    max_page: int = 1000
    idempotency_hours: int = KEPT_HOURS
    writable_fields: tuple[str, ...] = ()
    shared_fields: tuple[str, ...] = ("description",)
    skew_seconds: float | None = None


class ChangePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the change feed. Store the page first, then `next_cursor`."""

    assets: list[Asset]
    next_cursor: str
    has_more: bool
    totals: Mapping[str, int] | None = None
    max_seq: int | None = None
    """The project's newest sequence number as the answer says it; None if it does not."""
    shows_all: bool = False
    """Whether the pass shows everything although it has a cursor, as a SYNAPSE without a feed does."""
    proved: bool = True
    """Whether a pass that shows everything is known to be complete; if not, absence means nothing."""
    unreadable: frozenset[str] = frozenset()
    """Identities whose assets are there and cannot be shown."""


class AssetWrite(msgspec.Struct, kw_only=True):
    """One upsert or archive. `set` holds canonical fields (`attributes.size` and so on); absent = leave."""

    op: Literal["upsert", "archive"]
    plant3d_id: str
    set: Fields = msgspec.field(default_factory=dict)
    if_version: int | None = None
    if_description_version: int | None = None
    link_by_tag: bool = False
    restore: bool = False
    ref: str | None = None


class Creation(msgspec.Struct, frozen=True, gc=False):
    """An upsert of an asset that SYNAPSE must not hold yet, its fields grouped (`model.fields`) as JSON with sorted keys.

    Says what an `AssetWrite` with `if_version=0` says, where the fields are at hand as text.
    """

    plant3d_id: str
    text: bytes


class WriteResult(msgspec.Struct, kw_only=True):
    """What SYNAPSE says of one item, in the order sent.

    status: created, updated, unchanged, archived, conflict, error, or `unknown` when the answer lacked the item.
    `asset` is the asset as stored after the write (read back) or, for a conflict, as it stands.
    `replayed`: SYNAPSE kept this answer of an earlier delivery, and did nothing now.
    """

    plant3d_id: str
    status: str
    code: str = ""
    field: str = ""
    message: str = ""
    asset: Asset | None = None
    asset_id: str | None = None
    version: int | None = None
    other: Mapping[str, object] | None = None
    linked: bool = False
    restored: bool = False
    replayed: bool = False


class Echo(msgspec.Struct, frozen=True, gc=False):
    """SYNAPSE's answer for an item that it created and now holds exactly as sent: no other field has a value.

    The usual case of a first pull, told without the whole asset. `description`: its version, time and author.
    """

    plant3d_id: str
    asset_id: str
    version: int
    seq: int
    description: FieldInfo


class CursorReset(Exception):
    """SYNAPSE's history was broken (restored backup): read again from the beginning."""


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What one item of a batch sets. `columns`: tag, kind, subtype, description, None for what it does not set.

    `attributes`: as JSON with sorted keys, b"" for none.
    """

    columns: tuple[object, object, object, object]
    attributes: bytes


class _Named(msgspec.Struct, gc=False):
    plant3d_id: str


class _Items(msgspec.Struct, gc=False):
    items: list[_Named]


_ITEMS: Final = msgspec.json.Decoder(_Items)


class Batch(msgspec.Struct, frozen=True):
    """One call to SYNAPSE: the exact `body`, which is what the idempotency key stands for, and of whom its items are.

    `sent`: what each item sets, where that is known; only then can an answer be told by an `Echo`.
    """

    body: bytes
    ids: tuple[str, ...]
    sent: tuple[Sent, ...] = ()

    @classmethod
    def of(cls, body: bytes) -> Batch:
        """A batch whose body was stored. Raises ConfigError `intent_unreadable`."""
        try:
            items = _ITEMS.decode(body).items
        except (msgspec.MsgspecError, UnicodeDecodeError):
            items = []
        if not items:
            raise ConfigError(
                "A stored batch cannot be read. Nothing was sent.",
                code="intent_unreadable",
                hint="The state database is damaged; restore it from a backup, then run again.",
            )
        return cls(body, tuple(item.plant3d_id for item in items))

    def in_full(self) -> Batch:
        """The same, answered with the whole asset of every item."""
        return Batch(self.body, self.ids)


class SynapsePort(Protocol):
    """SYNAPSE, for one project.

    Errors: ConfigError (401, 403, unknown project, another contract, not JSON at all), RetryLaterError (no
    connection, 429, 5xx, cut or nonsensical answers after the retries of one call).
    """

    def capabilities(self) -> Capabilities:
        """Ask what is there. Cached after the first call."""
        ...

    def changes(self, cursor: str | None, *, totals: bool = False) -> Iterator[ChangePage]:
        """Everything (no cursor) or everything since `cursor`, page by page. Raises CursorReset."""
        ...

    def encode(self, writes: Sequence[AssetWrite | Creation]) -> Batch:
        """One batch call, with the exact body that is sent."""
        ...

    def send(self, batch: Batch, *, key: str) -> Sequence[WriteResult | Echo]:
        """Send one batch under an idempotency key. Safe to repeat with the same key and body.

        One answer for each item, in the order sent; one that was created and is held exactly as sent may be an `Echo`.
        """
        ...

    def get(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        ...

    def limits(self) -> Sequence[Limit]:
        """What this SYNAPSE cannot do, as far as was seen; nothing where it has the whole contract."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
