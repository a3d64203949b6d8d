"""What each side holds, at one moment."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Value = str | int | float | bool | None
"""A canonical field value. None is "empty"; NULL and the empty text of a database both become None."""

Fields = Mapping[str, Value]
"""Canonical field name -> value. A field that is absent was not read (unknown), which is never a change."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing about the source that stops nothing.

    `code` is a stable word; `pnpid` names the row if there is one; `drawing` what it is drawn in.
    """

    code: str
    message: str
    pnpid: int | None = None
    class_name: str | None = None
    column: str | None = None
    tag: str | None = None
    hint: str = ""
    data: Mapping[str, object] = msgspec.field(default_factory=dict)
    drawing: str | None = None


class PlantItem(msgspec.Struct, kw_only=True, gc=False):
    """One Plant 3D item that may become an asset, with everything that belongs to it.

    `values`: column name -> raw value over the class's own and inherited columns. A column whose
    level has a table but no row for this item is absent and named in `unknown`.
    `timestamp`: .NET ticks (100 ns since year 1, UTC) of `PnPBase.PnPTimestamp`.
    Relations hold PnPIDs and, where asked for, tags. Mutable only for speed; nobody changes it after reading.

    A line by its number: `number`, and `groups`, all its line groups; `pnpid` is the row that stands for it. `row_guid`:
    that row's PnPGuid where the line is known by another one. `follows`: the row that stood for it before.
    `segment_values`: column in lower case -> its values on the segments, in the order of `segments`; a column that one
    of them lacks the row for is left out. None for what is no line.
    """

    pnpid: int
    guid: str
    class_name: str
    timestamp: int
    revision: int
    values: dict[str, Value]
    unknown: frozenset[str] = frozenset()
    drawing: str | None = None
    drawing_title: str | None = None
    drawing_id: int | None = None
    segments: tuple[int, ...] = ()
    lines: tuple[str, ...] = ()
    line_groups: tuple[int, ...] = ()
    from_tag: str | None = None
    to_tag: str | None = None
    owner: str | None = None
    owner_id: int | None = None
    loop: str | None = None
    segment_tag: str | None = None
    registry_tag: str | None = None
    digest: bytes = b""
    number: str | None = None
    groups: tuple[int, ...] = ()
    row_guid: str = ""
    follows: int | None = None
    segment_values: Mapping[str, tuple[Value, ...]] | None = None
    sharing: tuple[int, ...] = ()
    """PnPIDs of all items with this PnPGuid, this one among them; empty when it is its own."""


class FieldInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Version, time and author of a shared field in SYNAPSE (rule 9 of the contract). No time: SYNAPSE keeps none."""

    version: int
    updated_at: str | None
    by: str


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One asset as SYNAPSE holds it.

    `fields` holds the canonical fields (`tag`, `description`, `asset_type`, `asset_subtype`,
    `attributes.<key>`); other columns of SYNAPSE are not read here, hence cannot be touched.
    """

    asset_id: str
    plant3d_id: str | None
    version: int
    seq: int
    archived: bool
    fields: Fields
    field_info: Mapping[str, FieldInfo] = msgspec.field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag; SYNAPSE never holds an asset without one."""
        return str(self.fields.get("tag") or "")


class SourceIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which database this is, and how far its counters stood.

    `dbid`: GUID of `PnPDatabase.DBID` (a lineage: copies keep it). `pnpid_counter`: `PnPSys_PnPBase_PnPID.cnt`.
    `change_counter`: SQLite header bytes 24-27, None on SQL Server. `signature`: cheap token of the file
    (path, size, mtime, counter) for "nothing happened", None on SQL Server.
    `newest_timestamp`: largest PnPTimestamp (ticks). `rows`: rows of PnPBase.
    `changed_at`: when the file was changed last (POSIX seconds), where our own clock says so: on a local file system, and
    only while every commit moves the file; else None.
    """

    dbid: str
    pnpid_counter: int
    change_counter: int | None
    signature: str | None
    newest_timestamp: int
    rows: int
    engine: str = "sqlite"
    copy_kind: str | None = None
    changed_at: float | None = None
