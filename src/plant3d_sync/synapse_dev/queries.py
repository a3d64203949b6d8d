"""All statements on assets and projects. Set-based: a batch costs a handful of statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import sqlalchemy as sa

from plant3d_sync.synapse_dev.assets import FIELD_NAMES, Asset, now, timestamp
from plant3d_sync.synapse_dev.tables import assets, idempotency, projects

ASSET_COLUMNS = [assets.c[name] for name in FIELD_NAMES]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """A project's counter (`seq`, the last number given) and its epoch."""

    id: str
    seq: int
    epoch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many assets a project has; `linked` counts live and archived ones."""

    live: int
    archived: int
    linked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Stored assets by id, and the project's last number after them."""

    assets: Mapping[str, Asset]
    seq: int


def open_project(connection: sa.Connection, project_id: str) -> ProjectRow | None:
    """The project, to be written to; other writers of it wait until this transaction ends."""
    return project_row(connection, project_id, lock=True)


def project_row(connection: sa.Connection, project_id: str, *, lock: bool = False) -> ProjectRow | None:
    """The project; with `lock`, other writers of it wait until this transaction ends."""
    statement = sa.select(projects.c.id, projects.c.seq, projects.c.epoch).where(projects.c.id == project_id)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return None if row is None else ProjectRow(id=row.id, seq=row.seq, epoch=row.epoch)


def set_counter(connection: sa.Connection, project_id: str, seq: int) -> None:
    connection.execute(sa.update(projects).where(projects.c.id == project_id).values(seq=seq))


def assets_by_key(connection: sa.Connection, project_id: str, keys: Collection[str]) -> dict[str, Asset]:
    """The assets with these `plant3d_id`s, archived ones included."""
    where = (assets.c.project_id == project_id, assets.c.plant3d_id.in_(keys))
    return {
        str(asset.plant3d_id): asset for asset in _read(connection, sa.select(*ASSET_COLUMNS).where(*where))
    }


def assets_to_change(
    connection: sa.Connection, project_id: str, keys: Collection[str], _link_tags: Collection[str]
) -> dict[str, Asset]:
    """The assets with these `plant3d_id`s. The project's lock keeps everybody else from all of its assets."""
    return assets_by_key(connection, project_id, keys)


def assets_by_live_tag(connection: sa.Connection, project_id: str, tags: Collection[str]) -> dict[str, Asset]:
    """The live assets that hold these tags."""
    where = (assets.c.project_id == project_id, assets.c.live_tag.in_(tags))
    return {asset.tag: asset for asset in _read(connection, sa.select(*ASSET_COLUMNS).where(*where))}


def asset_by_id(
    connection: sa.Connection, project_id: str, asset_id: str, *, lock: bool = False
) -> Asset | None:
    """The asset; who wants to change it holds the project's lock already."""
    where = (assets.c.project_id == project_id, assets.c.id == asset_id)
    found = _read(connection, sa.select(*ASSET_COLUMNS).where(*where))
    return found[0] if found else None


def assets_after(
    connection: sa.Connection, project_id: str, seq: int, limit: int | None = None
) -> list[Asset]:
    """Assets whose last change has a number above `seq`, ascending."""
    statement = (
        sa.select(*ASSET_COLUMNS)
        .where(assets.c.project_id == project_id, assets.c.seq > seq)
        .order_by(assets.c.seq)
        .limit(limit)
    )
    return _read(connection, statement)


def totals(connection: sa.Connection, project_id: str) -> Totals:
    statement = sa.select(
        sa.func.count(assets.c.id).label("all"),
        sa.func.count(assets.c.deleted_at).label("archived"),
        sa.func.count(assets.c.plant3d_id).label("linked"),
    ).where(assets.c.project_id == project_id)
    every, archived, linked = connection.execute(statement).one()
    return Totals(live=every - archived, archived=archived, linked=linked)


def save(
    connection: sa.Connection,
    project: ProjectRow,
    changes: Sequence[tuple[Asset | None, Asset]],
    *,
    by: str,
) -> Saved:
    """Store (before, after) pairs with their new versions, times and numbers, and move the project's counter."""
    moment = now()
    numbered = [
        (before, bumped(before, after, seq=seq, now=moment, by=by))
        for seq, (before, after) in enumerate(changes, project.seq + 1)
    ]
    store(connection, numbered)
    seq = project.seq + len(numbered)
    if numbered:
        set_counter(connection, project.id, seq)
    return Saved(assets={after.id: after for _, after in numbered}, seq=seq)


def bumped(before: Asset | None, after: Asset, *, seq: int, now: str, by: str) -> Asset:
    """The next version; the description's version, time and author move only with the description."""
    if before is None:
        return replace(after, seq=seq)
    version = before.version + 1
    moved = replace(after, version=version, seq=seq, updated_at=now)
    if before.description == after.description:
        return moved
    return replace(moved, description_version=version, description_at=now, description_by=by)


def store(connection: sa.Connection, changes: Sequence[tuple[Asset | None, Asset]]) -> None:
    """Store (before, after) pairs as they are. Tags are let go of first, so that swaps meet no unique index half-way."""
    released = [
        before.id
        for before, after in changes
        if before and before.live_tag is not None and before.live_tag != after.live_tag
    ]
    if released:
        connection.execute(sa.update(assets).where(assets.c.id.in_(released)).values(live_tag=None))
    updated = [_row(after) for before, after in changes if before is not None]
    if updated:
        statement = sa.update(assets).where(assets.c.id == sa.bindparam("row_id"))
        connection.execute(statement, [{"row_id": row.pop("id"), **row} for row in updated])
    created = [_row(after) for before, after in changes if before is None]
    if created:
        connection.execute(sa.insert(assets), created)


def _row(asset: Asset) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(asset, name) for name in FIELD_NAMES}
    row["live_tag"] = asset.live_tag
    return row


def _read(connection: sa.Connection, statement: sa.Select[tuple[object, ...]]) -> list[Asset]:
    rows = cast("Sequence[Sequence[object]]", connection.execute(statement).all())
    return [Asset(**dict(zip(FIELD_NAMES, row, strict=True))) for row in rows]  # type: ignore[arg-type]


def kept_answer(
    connection: sa.Connection, project_id: str, caller: str, key: str
) -> tuple[str, bytes] | None:
    """Digest of the body and answer kept for this key, if it is not new."""
    row = connection.execute(
        sa.select(idempotency.c.body_hash, idempotency.c.answer).where(
            idempotency.c.project_id == project_id,
            idempotency.c.caller == caller,
            idempotency.c.key == key,
        )
    ).one_or_none()
    return None if row is None else (row.body_hash, bytes(row.answer))


def keep_answer(
    connection: sa.Connection, project_id: str, caller: str, key: str, *, body_hash: str, answer: bytes
) -> None:
    """Keep the answer in the same transaction as the changes: both are there or neither."""
    connection.execute(
        sa.insert(idempotency).values(
            project_id=project_id,
            caller=caller,
            key=key,
            body_hash=body_hash,
            answer=answer,
            created_at=now(),
        )
    )


def forget_answers(connection: sa.Connection, *, older_than_hours: int) -> None:
    oldest = timestamp(datetime.now(UTC) - timedelta(hours=older_than_hours))
    connection.execute(sa.delete(idempotency).where(idempotency.c.created_at < oldest))
