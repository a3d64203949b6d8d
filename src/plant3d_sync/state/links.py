"""Links: the pairs, their bases, and what is open on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from sys import intern
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.fields import flat
from plant3d_sync.model.link import Flip, Hold, InSynapse, Interval, Link, LinkState, Missing, Open
from plant3d_sync.model.record import Asset, FieldInfo
from plant3d_sync.model.step import Create, base_text
from plant3d_sync.state.codec import bare_rows, bulk_insert, dump, load, load_map, update_of
from plant3d_sync.state.projects import link_id as first_id
from plant3d_sync.state.tables import link, project, tag_history, unlinked_asset

CHUNK = 500


def key_of(identity: str) -> int:
    """A short stand-in for an identity in the index: 64 bits of its BLAKE2b.

    Two of a million links share one with a chance of 3 in 100 million; the second of them could not be stored.
    """
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big", signed=True)


class Brief(msgspec.Struct, gc=False):
    """The few columns every run needs of every link."""

    pnpid: int
    tag: str
    state: str
    digest: bytes | None
    open: bool
    class_name: str
    plant3d_id: str
    entity: str
    in_synapse: InSynapse


def briefs(connection: Connection, number: int) -> Iterator[Brief]:
    """All links of a project, briefly, in the order in which they were made. `open`: something on it was not settled."""
    return bare_rows(connection, _BRIEFS, (first_id(number, 0), first_id(number + 1, 0), number), _brief)


def _brief(row: tuple[Any, ...]) -> Brief:
    """The few words that many links share are kept once: memory grows with the links."""
    pnpid, tag, state, digest, is_open, class_name, plant3d_id, entity, gone = row
    return Brief(
        pnpid,
        tag,
        intern(state),
        digest,
        bool(is_open),
        intern(class_name),
        plant3d_id,
        intern(entity),
        _WHERE[gone],
    )


_WHERE = tuple(InSynapse)

_BRIEFS = """
SELECT pnpid, tag, state, digest,
       pending IS NOT NULL OR synapse_delta IS NOT NULL OR missing IS NOT NULL OR base IS NULL OR gone_in_synapse <> 0
       OR looked_at IS NOT NULL,
       class_name, plant3d_id, entity, gone_in_synapse
FROM link WHERE id >= ? AND id < ? AND +project = ? ORDER BY id
"""
"""By their ids, which begin with the project: its rows lie together, and no index is asked for each of them."""


def _pair(row: tuple[Any, ...]) -> tuple[str, int]:
    return row[0], row[1]


def versions(connection: Connection, number: int, guids: Sequence[str]) -> dict[str, int]:
    """plant3d_id -> version of the asset as last seen, for links that have a base."""
    found: dict[str, int] = {}
    wanted = set(guids)
    for start in range(0, len(guids), CHUNK):
        keys = list(map(key_of, guids[start : start + CHUNK]))
        marks = ", ".join("?" * len(keys))
        query = (
            "SELECT plant3d_id, asset_version FROM link "  # noqa: S608 - only marks are put in
            f"WHERE project = ? AND base IS NOT NULL AND guid_key IN ({marks})"
        )
        found.update(
            pair for pair in bare_rows(connection, query, (number, *keys), _pair) if pair[0] in wanted
        )
    return found


_BY_GUIDS = sa.select(link).where(
    link.c.project == sa.bindparam("whose"), link.c.guid_key.in_(sa.bindparam("keys", expanding=True))
)
_BY_ITEMS = sa.select(link).where(
    link.c.project == sa.bindparam("whose"), link.c.pnpid.in_(sa.bindparam("keys", expanding=True))
)
_BY_IDS = sa.select(link).where(link.c.id.in_(sa.bindparam("keys", expanding=True)))


def by_items(connection: Connection, number: int, guids: Sequence[str], pnpids: Sequence[int]) -> list[Link]:
    """Full links of these identities or row ids."""
    found: dict[int, Link] = {}
    wanted = set(guids)
    for start in range(0, len(guids), CHUNK):
        keys = list(map(key_of, guids[start : start + CHUNK]))
        for row in connection.execute(_BY_GUIDS, {"whose": number, "keys": keys}):
            if row.plant3d_id in wanted:
                found[row.id] = to_model(row)
    for start in range(0, len(pnpids), CHUNK):
        piece_ids = list(pnpids[start : start + CHUNK])
        for row in connection.execute(_BY_ITEMS, {"whose": number, "keys": piece_ids}):
            if row.id not in found:
                found[row.id] = to_model(row)
    return list(found.values())


def by_ids(connection: Connection, ids: Iterable[int]) -> dict[int, Link]:
    """Full links by link id."""
    wanted = sorted(set(ids))
    found: dict[int, Link] = {}
    for start in range(0, len(wanted), CHUNK):
        for row in connection.execute(_BY_IDS, {"keys": wanted[start : start + CHUNK]}):
            found[row.id] = to_model(row)
    return found


def unknown_assets(connection: Connection, project_name: str, asset_ids: Iterable[str]) -> list[str]:
    """Which of these ids belong to no asset we know in this project, linked or not; sorted."""
    left = sorted(set(asset_ids))
    for known in (link, unlinked_asset):
        found: set[str] = set()
        for start in range(0, len(left), CHUNK):
            found.update(
                connection.execute(
                    sa.select(known.c.asset_id)
                    .join(project, project.c.number == known.c.project)
                    .where(project.c.name == project_name, known.c.asset_id.in_(left[start : start + CHUNK]))
                ).scalars()
            )
        left = [one for one in left if one not in found]
    return left


def any_pending(connection: Connection, number: int, why: str) -> bool:
    """Whether any field of a project is open for this reason."""
    found = connection.execute(
        sa.select(link.c.id)
        .where(link.c.project == number, link.c.pending.contains(f'"why":"{why}"'))
        .limit(1)
    ).first()
    return found is not None


def absences(connection: Connection, number: int) -> list[Missing]:
    """How long each item on the ladder of absence has been missed, those left out whose archiving was undone."""
    rows = connection.execute(
        sa.select(link.c.missing, link.c.holds).where(
            link.c.project == number, link.c.state == LinkState.MISSING, link.c.missing.is_not(None)
        )
    )
    found = (load(row.missing) for row in rows if WHOLE not in load_map(row.holds))
    return [
        Missing(since=one[0], reads=one[1], last_counted=one[2], signature=one[3]) for one in found if one
    ]


def waiting_since(connection: Connection, number: int) -> list[str]:
    """Since when each value waits for the import of a workbook (UTC, ISO)."""
    rows = connection.execute(
        sa.select(link.c.pending).where(link.c.project == number, link.c.pending.contains('"since":'))
    )
    return [
        str(entry["since"]) for row in rows for entry in load_map(row.pending).values() if entry.get("since")
    ]


def count(connection: Connection, number: int) -> int:
    """Links of a project in any state."""
    return int(connection.execute(sa.select(sa.func.count()).where(link.c.project == number)).scalar() or 0)


_OPEN = msgspec.json.Decoder(dict[str, Open])
_OBSERVED = msgspec.json.Decoder(dict[str, dict[str, Interval]])
_HOLDS = msgspec.json.Decoder(dict[str, Hold])
_FLIPS = msgspec.json.Decoder(dict[str, Flip])
_MISSING = msgspec.json.Decoder(Missing)


def to_model(row: Row[Any]) -> Link:
    """A row as the frozen noun."""
    base = None if row.base is None else flat(load_map(row.base))
    return Link(
        link_id=row.id,
        pnpid=row.pnpid,
        plant3d_id=row.plant3d_id,
        class_name=row.class_name,
        entity=row.entity,
        asset_id=row.asset_id,
        asset_version=row.asset_version,
        description_version=row.description_version,
        description_at=row.description_at,
        description_by=row.description_by,
        tag=row.tag,
        state=LinkState(row.state),
        digest=row.digest or b"",
        ticks=row.ticks,
        revision=row.revision,
        looked_at=row.looked_at,
        mapping_version=row.mapping_version,
        drawing=row.drawing,
        base=base,
        base_plant=load_map(row.base_plant),
        synapse_delta=load_map(row.synapse_delta),
        pending=_OPEN.decode(row.pending) if row.pending else {},
        observed=_OBSERVED.decode(row.observed) if row.observed else {},
        holds=_HOLDS.decode(row.holds) if row.holds else {},
        flips=_FLIPS.decode(row.flips) if row.flips else {},
        missing=_MISSING.decode(row.missing) if row.missing else None,
        in_synapse=InSynapse(row.gone_in_synapse),
        went_back=bool(row.went_back),
    )


def to_row(item: Link) -> dict[str, Any]:
    """The columns that hold a link, but for its id, its project and the run that made it."""
    return {
        "pnpid": item.pnpid,
        "plant3d_id": item.plant3d_id,
        "class_name": item.class_name,
        "entity": item.entity,
        "asset_id": item.asset_id,
        "asset_version": item.asset_version,
        "description_version": item.description_version,
        "description_at": item.description_at,
        "description_by": item.description_by,
        "tag": item.tag,
        "state": item.state.value,
        "gone_in_synapse": item.in_synapse.value,
        "digest": item.digest or None,
        "ticks": item.ticks,
        "revision": item.revision,
        "looked_at": item.looked_at,
        "mapping_version": item.mapping_version,
        "went_back": int(item.went_back),
        "base": None if item.base is None else dump(item.base) or "{}",
        "base_plant": dump(item.base_plant),
        "synapse_delta": dump(item.synapse_delta),
        "pending": dump(item.pending),
        "observed": dump(item.observed),
        "holds": dump(item.holds),
        "flips": dump(item.flips),
        "missing": dump(item.missing),
        "drawing": item.drawing,
    }


def add(connection: Connection, items: Sequence[Link], *, number: int, run_id: str) -> None:
    """New links of a project, made by this run."""
    insert_many(
        connection,
        [{"id": item.link_id, "project": number, "run_id": run_id, **to_row(item)} for item in items],
    )


def save(connection: Connection, items: Sequence[Link]) -> None:
    """Links as they are now."""
    update_many(connection, [{"link_id": item.link_id, **to_row(item)} for item in items])


def insert_many(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """New links in bulk."""
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        key = key_of(row["plant3d_id"])
        groups.setdefault((*row, "guid_key"), []).append((*row.values(), key))
    for columns, values in groups.items():
        bulk_insert(connection, link, columns, values)


CREATED_COLUMNS = (
    "id",
    "project",
    "pnpid",
    "plant3d_id",
    "class_name",
    "entity",
    "asset_id",
    "asset_version",
    "description_version",
    "description_at",
    "description_by",
    "tag",
    "state",
    "digest",
    "ticks",
    "base",
    "drawing",
    "run_id",
    "guid_key",
    "revision",
)
"""What a freshly created pair fills; the other columns stay empty."""
CreatedRow = tuple[
    int,
    int,
    int,
    str,
    str,
    str,
    str,
    int,
    int,
    str | None,
    str,
    str,
    str,
    bytes,
    int,
    str,
    str | None,
    str,
    int,
    int | None,
]


class CreatedAsset(Protocol):
    """What SYNAPSE says of an asset that it created just as sent."""

    @property
    def asset_id(self) -> str:
        """Its id."""
        ...

    @property
    def version(self) -> int:
        """Its version."""
        ...

    @property
    def description(self) -> FieldInfo:
        """Version, time and author of its description."""
        ...


def created_rows(
    steps: Sequence[Create],
    assets: Sequence[CreatedAsset],
    *,
    first: int,
    number: int,
    run_id: str,
) -> list[CreatedRow]:
    """As `reconcile.advance.created` and `to_row` for usual creations whose assets are just what was sent.

    Their link ids go up from `first`. Fast because nothing is parsed: the base is the text that was sent.
    """
    rows: list[CreatedRow] = []
    from_hex = bytes.fromhex
    for link_id, (step, asset) in enumerate(zip(steps, assets, strict=True), first):
        after, identity = step.after, step.plant3d_id
        info = asset.description
        rows.append(
            (
                link_id,
                number,
                step.pnpid,
                identity,
                step.class_name,
                step.entity,
                asset.asset_id,
                asset.version,
                info.version,
                info.updated_at,
                info.by,
                step.tag,
                "active",
                from_hex(after.digest or ""),
                after.ticks or 0,
                base_text(bytes(step.text), bytes(after.blank)),
                step.drawing,
                run_id,
                key_of(identity),
                after.revision,
            )
        )
    return rows


def insert_created(connection: Connection, rows: Sequence[CreatedRow]) -> None:
    """New links of assets that were created as sent, as `created_rows` makes them. Each row is in the order of `CREATED_COLUMNS`."""
    bulk_insert(connection, link, CREATED_COLUMNS, rows)


def update_many(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set the same columns of many links; each row has `link_id` and the columns."""
    if not rows:
        return
    columns = [name for name in rows[0] if name != "link_id"]
    connection.execute(
        update_of(link, "id", tuple(columns)),
        [{"the_key": row["link_id"], **{"to_" + name: row[name] for name in columns}} for row in rows],
    )


def gone_is_known(connection: Connection, number: int) -> None:
    """A run that ended said which assets are archived in SYNAPSE; only later ones count as newly lost."""
    connection.execute(
        sa.update(link)
        .where(link.c.project == number, link.c.gone_in_synapse == InSynapse.ARCHIVED)
        .values(gone_in_synapse=InSynapse.ARCHIVED_TOLD)
    )


_LIVE = sa.select(link.c.id, link.c.plant3d_id).where(
    link.c.project == sa.bindparam("whose"), link.c.gone_in_synapse == InSynapse.LIVE
)


def mark_lost(connection: Connection, number: int, seen: set[str]) -> int:
    """Remember which live assets a complete read of SYNAPSE did not show, whatever became of their items. Returns how
    many are new.
    """
    rows = connection.execute(_LIVE, {"whose": number}).fetchall()
    lost = [row.id for row in rows if row.plant3d_id not in seen]
    for start in range(0, len(lost), CHUNK):
        connection.execute(
            sa.update(link)
            .where(link.c.id.in_(lost[start : start + CHUNK]))
            .values(gone_in_synapse=InSynapse.LOST)
        )
    return len(lost)


def not_compared(
    connection: Connection, number: int, guids: Iterable[str], at: float | None, version: int | None = None
) -> None:
    """A complete read did not compare these items: each keeps the time when it was compared last, `at` at the latest.

    Without a time no complete read compared them before. `version`: that of the mapping of the reads before, if this
    read was made under another one.
    """
    keys = sorted({key_of(guid) for guid in guids})
    for start in range(0, len(keys), CHUNK):
        connection.execute(
            sa.update(link)
            .where(
                link.c.project == number,
                link.c.guid_key.in_(keys[start : start + CHUNK]),
                link.c.looked_at.is_(None),
            )
            .values(looked_at=at or 0.0)
        )
        if version is not None:
            connection.execute(
                sa.update(link)
                .where(
                    link.c.project == number,
                    link.c.guid_key.in_(keys[start : start + CHUNK]),
                    link.c.mapping_version.is_(None),
                )
                .values(mapping_version=version)
            )


def remember_tag(
    connection: Connection, number: int, link_id: int, old: str, new: str, at: float, run_id: str
) -> None:
    """Keep the old tag findable."""
    connection.execute(
        sa.insert(tag_history).values(
            project=number, link_id=link_id, old_tag=old, new_tag=new, at=at, run_id=run_id
        )
    )


# ---------------------------------------------------------------- assets without a link


def unlinked(connection: Connection, number: int) -> Iterator[tuple[str, str | None, str, str, bool]]:
    """(asset id, plant3d_id, tag, type, archived) of every SYNAPSE asset we know without a link."""
    statement = sa.select(
        unlinked_asset.c.asset_id,
        unlinked_asset.c.plant3d_id,
        unlinked_asset.c.tag,
        unlinked_asset.c.asset_type,
        unlinked_asset.c.archived,
    ).where(unlinked_asset.c.project == number)
    for row in connection.execute(statement):
        yield row[0], row[1], row[2], row[3] or "", bool(row[4])


def unlinked_by_plant3d_id(connection: Connection, number: int, guids: Sequence[str]) -> dict[str, Asset]:
    """Known SYNAPSE assets that carry one of these identities but have no link of ours."""
    found: dict[str, Asset] = {}
    for start in range(0, len(guids), CHUNK):
        rows = connection.execute(
            sa.select(unlinked_asset).where(
                unlinked_asset.c.project == number,
                unlinked_asset.c.plant3d_id.in_(guids[start : start + CHUNK]),
            )
        )
        for row in rows:
            found[row.plant3d_id] = asset_of(row)
    return found


def asset_of(row: Row[Any]) -> Asset:
    """An unlinked asset's row as the noun."""
    return Asset(
        asset_id=row.asset_id,
        plant3d_id=row.plant3d_id,
        version=row.version,
        seq=0,
        archived=bool(row.archived),
        fields=load_map(row.fields),
        field_info={name: FieldInfo(**info) for name, info in load_map(row.info).items()},
    )


def put_unlinked(connection: Connection, number: int, assets: Sequence[Asset]) -> None:
    """Remember assets without a link (insert or replace). Of one that is given twice the last counts."""
    once = list({asset.asset_id: asset for asset in assets}.values())
    for start in range(0, len(once), CHUNK):
        piece = once[start : start + CHUNK]
        connection.execute(
            sa.delete(unlinked_asset).where(
                unlinked_asset.c.project == number,
                unlinked_asset.c.asset_id.in_([asset.asset_id for asset in piece]),
            )
        )
        connection.execute(
            sa.insert(unlinked_asset),
            [
                {
                    "project": number,
                    "asset_id": asset.asset_id,
                    "plant3d_id": asset.plant3d_id,
                    "tag": asset.tag,
                    "asset_type": str(asset.fields.get("asset_type") or ""),
                    "version": asset.version,
                    "archived": int(asset.archived),
                    "fields": dump(dict(asset.fields)) or "{}",
                    "info": dump(
                        {
                            name: {"version": info.version, "updated_at": info.updated_at, "by": info.by}
                            for name, info in asset.field_info.items()
                        }
                    ),
                }
                for asset in piece
            ],
        )


def unlinked_versions(connection: Connection, number: int) -> dict[str, int]:
    """asset id -> version of the unlinked assets as last seen."""
    rows = connection.execute(
        sa.select(unlinked_asset.c.asset_id, unlinked_asset.c.version).where(
            unlinked_asset.c.project == number
        )
    )
    return {row.asset_id: row.version for row in rows}


def identities(connection: Connection, number: int) -> dict[str, str]:
    """asset id -> identity of all pairs."""
    rows = connection.execute(sa.select(link.c.asset_id, link.c.plant3d_id).where(link.c.project == number))
    return {row.asset_id: row.plant3d_id for row in rows}


def drop_unlinked(connection: Connection, number: int, asset_ids: Sequence[str]) -> None:
    """Forget assets that have a link now."""
    for start in range(0, len(asset_ids), CHUNK):
        connection.execute(
            sa.delete(unlinked_asset).where(
                unlinked_asset.c.project == number,
                unlinked_asset.c.asset_id.in_(asset_ids[start : start + CHUNK]),
            )
        )


_ANY_UNLINKED = (
    sa.select(unlinked_asset.c.asset_id).where(unlinked_asset.c.project == sa.bindparam("whose")).limit(1)
)


def any_unlinked(connection: Connection, number: int) -> bool:
    """Whether we know any SYNAPSE asset without a link."""
    found = connection.execute(_ANY_UNLINKED, {"whose": number}).first()
    return found is not None


_CLEAR_UNLINKED = sa.delete(unlinked_asset).where(unlinked_asset.c.project == sa.bindparam("whose"))


def clear_unlinked(connection: Connection, number: int) -> None:
    """Forget all assets without a link (before a full feed read)."""
    connection.execute(_CLEAR_UNLINKED, {"whose": number})
