"""All statements on SYNAPSE's assets. Set-based: a batch costs a handful of statements, however many assets.

Lists go in as one JSON text, which every driver can send. Versions, times, the description's trio and `seq` are
the database's own work (triggers of the migration); what it made of a change is read back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from app.integration.assets import FIELD_NAMES, Asset
from app.integration.jsons import canonical, parse
from app.integration.kinds import SAVED_BY_SCREENS, type_word
from app.integration.store import Overtaken, lock_number

TIMES = ("created_at", "updated_at", "deleted_at", "description_at")
JSONS = ("attributes", "tags", "m_files_links")
OTHER_NAMES = {"status": "lifecycle_status"}


def selected(name: str) -> str:
    """A field of the contract as an expression over `assets AS a`."""
    column = f"a.{OTHER_NAMES.get(name, name)}"
    if name in TIMES:
        return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    if name in JSONS:
        return f"CAST({column} AS text)"
    if name == "asset_type":
        return "coalesce(a.asset_type, a.type)"
    return column


# `deleted_at` is SYNAPSE's own column and may have no zone: within our transactions it then means UTC.
FIELDS = ", ".join(selected(name) for name in FIELD_NAMES).replace(
    "a.deleted_at AT TIME ZONE", "CAST(a.deleted_at AS timestamptz) AT TIME ZONE"
)
LISTED = "(SELECT value FROM jsonb_array_elements_text(CAST(:{} AS jsonb)) AS listed(value))"


@dataclass(frozen=True)
class ProjectRow:
    """A project's counter (`seq`, the last number given) and its epoch."""

    id: str
    seq: int
    epoch: str


@dataclass(frozen=True)
class Totals:
    """How many assets a project has; `linked` counts live and archived ones."""

    live: int
    archived: int
    linked: int


@dataclass(frozen=True)
class Saved:
    """Stored assets by id, and the project's last number after them."""

    assets: Mapping[str, Asset]
    seq: int


PROJECT = sa.text(
    "SELECT p.id, coalesce(i.seq, 0), coalesce(i.epoch, '') FROM projects AS p"
    " LEFT JOIN integration_projects AS i ON i.project_id = p.id WHERE p.id = :project"
)


def project_row(connection: sa.Connection, project_id: str) -> ProjectRow | None:
    """The project, if there is one."""
    row = connection.execute(PROJECT, {"project": project_id}).one_or_none()
    return None if row is None else ProjectRow(id=row[0], seq=row[1], epoch=row[2])


def open_project(connection: sa.Connection, project_id: str) -> ProjectRow | None:
    """The project, to be written to; other writers of this API wait for it until this transaction ends.

    People and rules do not: everybody takes rows first and the counter last, at commit.
    """
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": lock_number(f"integration\n{project_id}")}
    )
    return project_row(connection, project_id)


BY_KEY = sa.text(
    f"SELECT {FIELDS} FROM assets AS a WHERE a.project_id = :project AND a.plant3d_id IN {LISTED.format('keys')}"
)
LOCK = sa.text(
    "SELECT a.id FROM assets AS a JOIN (SELECT b.id FROM assets AS b WHERE b.project_id = :project"
    f" AND b.plant3d_id IN {LISTED.format('keys')} UNION SELECT c.id FROM assets AS c WHERE c.project_id = :project"
    f" AND c.plant3d_id IS NULL AND c.live_tag IN {LISTED.format('tags')}) AS wanted ON wanted.id = a.id"
    " ORDER BY a.id FOR NO KEY UPDATE OF a"
)


def assets_by_key(connection: sa.Connection, project_id: str, keys: Collection[str]) -> dict[str, Asset]:
    """The assets with these `plant3d_id`s, archived ones included."""
    found = _read(connection, BY_KEY, project=project_id, keys=_list(keys))
    return {str(asset.plant3d_id): asset for asset in found}


def assets_to_change(
    connection: sa.Connection, project_id: str, keys: Collection[str], link_tags: Collection[str]
) -> dict[str, Asset]:
    """The assets with these `plant3d_id`s. They, and unlinked live ones with these tags, are locked in the order of
    their ids, as SYNAPSE's own bulk update takes them."""
    connection.execute(LOCK, {"project": project_id, "keys": _list(keys), "tags": _list(link_tags)}).all()
    return assets_by_key(connection, project_id, keys)


BY_TAG = sa.text(
    f"SELECT {FIELDS} FROM assets AS a WHERE a.project_id = :project AND a.live_tag IN {LISTED.format('tags')}"
)


def assets_by_live_tag(connection: sa.Connection, project_id: str, tags: Collection[str]) -> dict[str, Asset]:
    """The live assets that hold these tags."""
    return {asset.tag: asset for asset in _read(connection, BY_TAG, project=project_id, tags=_list(tags))}


BY_ID = f"SELECT {FIELDS} FROM assets AS a WHERE a.project_id = :project AND a.id = :id"


def asset_by_id(
    connection: sa.Connection, project_id: str, asset_id: str, *, lock: bool = False
) -> Asset | None:
    """The asset; with `lock` nobody else changes it until this transaction ends."""
    statement = sa.text(BY_ID + (" FOR NO KEY UPDATE OF a" if lock else ""))
    found = _read(connection, statement, project=project_id, id=asset_id)
    return found[0] if found else None


AFTER = sa.text(
    f"SELECT {FIELDS} FROM assets AS a WHERE a.project_id = :project AND a.seq > :seq ORDER BY a.seq LIMIT :limit"
)


def assets_after(connection: sa.Connection, project_id: str, seq: int, limit: int) -> list[Asset]:
    """Assets whose last change has a number above `seq`, ascending."""
    return _read(connection, AFTER, project=project_id, seq=seq, limit=limit)


def totals(connection: sa.Connection, project_id: str) -> Totals:
    statement = sa.text(
        "SELECT count(*), count(deleted_at), count(plant3d_id) FROM assets WHERE project_id = :project"
    )
    every, archived, linked = connection.execute(statement, {"project": project_id}).one()
    return Totals(live=every - archived, archived=archived, linked=linked)


# What the API may change, and nothing else: all other columns keep what people, rules and imports wrote.
# Found again by the version that was read, so that a change in between is noticed, whoever made it.
UPDATE = sa.text(
    "UPDATE assets AS a SET plant3d_id = r.plant3d_id, tag = r.tag, type = coalesce(r.type, a.type),"
    " asset_type = r.asset_type, asset_subtype = r.asset_subtype, description = r.description,"
    " attributes = r.attributes,"
    " deleted_at = CASE WHEN r.archived THEN coalesce(a.deleted_at, clock_timestamp()) END"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id text, version bigint, plant3d_id text, tag text,"
    " type text, asset_type text, asset_subtype text, description text, attributes jsonb, archived boolean)"
    " WHERE a.id = r.id AND a.version = r.version"
)
INSERT = (
    "INSERT INTO assets (id, project_id, plant3d_id, tag, type, asset_type, asset_subtype, description,"
    " attributes{columns}) SELECT r.id, :project, r.plant3d_id, r.tag, r.type, r.asset_type, r.asset_subtype,"
    " r.description, r.attributes{values}"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id text, plant3d_id text, tag text, type text,"
    " asset_type text, asset_subtype text, description text, attributes jsonb)"
)
BY_IDS = sa.text(
    f"SELECT {FIELDS} FROM assets AS a WHERE a.project_id = :project AND a.id IN {LISTED.format('ids')}"
)
ACTOR = sa.text("SELECT set_config('synapse.actor', :by, true)")


def save(
    connection: sa.Connection,
    project: ProjectRow,
    changes: Sequence[tuple[Asset | None, Asset]],
    *,
    by: str,
) -> Saved:
    """Store (before, after) pairs, signed by `by`, and give what the database made of them.

    Updates go first: they may let go of tags that new assets take. The numbers are taken here, not at commit, because
    the answer is built before it.
    """
    if not changes:
        return Saved(assets={}, seq=project.seq)
    connection.execute(ACTOR, {"by": by})
    updated = [_updated(before, after) for before, after in changes if before is not None]
    if updated:
        result = connection.execute(UPDATE, {"rows": orjson.dumps(updated).decode()})
        if result.rowcount != len(updated):
            raise Overtaken
    created = [_created(after) for before, after in changes if before is None]
    if created:
        words: dict[str, str] = connection.get_execution_options().get("integration_on_create", {})
        statement = INSERT.format(
            columns="".join(f", {name}" for name in words),
            values="".join(f", '{word}'" for word in words.values()),
        )
        rows = {"project": project.id, "rows": orjson.dumps(created).decode()}
        connection.execute(sa.text(statement), rows)
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    stored = _read(
        connection, BY_IDS, project=project.id, ids=_list([after.id for _, after in changes])
    )
    moved = project_row(connection, project.id)
    return Saved(assets={asset.id: asset for asset in stored}, seq=project.seq if moved is None else moved.seq)


def _created(asset: Asset) -> dict[str, object]:
    return {
        "id": asset.id,
        "plant3d_id": asset.plant3d_id,
        "tag": asset.tag,
        "type": type_word(asset.asset_type, asset.asset_subtype),
        "asset_type": asset.asset_type,
        "asset_subtype": asset.asset_subtype,
        "description": asset.description,
        "attributes": orjson.Fragment(asset.attributes),
    }


def _updated(before: Asset, after: Asset) -> dict[str, object]:
    """The screens' word follows the kind only to a word that they can save."""
    kinds = [(one.asset_type, one.asset_subtype) for one in (before, after)]
    word = type_word(*kinds[1])
    return {
        **_created(after),
        "type": word if kinds[0] != kinds[1] and word in SAVED_BY_SCREENS else None,
        "version": before.version,
        "archived": after.deleted_at is not None,
    }


def kept_answer(
    connection: sa.Connection, project_id: str, caller: str, key: str
) -> tuple[str, bytes] | None:
    """Digest of the body and answer kept for this key, if it is not new."""
    row = connection.execute(
        sa.text(
            "SELECT body_hash, answer FROM integration_answers"
            " WHERE project_id = :project AND caller = :caller AND key = :key"
        ),
        {"project": project_id, "caller": caller, "key": key},
    ).one_or_none()
    return None if row is None else (row[0], bytes(row[1]))


def keep_answer(
    connection: sa.Connection, project_id: str, caller: str, key: str, *, body_hash: str, answer: bytes
) -> None:
    """Keep the answer in the same transaction as the changes: both are there or neither."""
    connection.execute(
        sa.text(
            "INSERT INTO integration_answers (project_id, caller, key, body_hash, answer)"
            " SELECT id, :caller, :key, :body_hash, :answer FROM projects WHERE id = :project"
        ),
        {"project": project_id, "caller": caller, "key": key, "body_hash": body_hash, "answer": answer},
    )


def forget_answers(connection: sa.Connection, *, older_than_hours: int) -> None:
    connection.execute(
        sa.text("DELETE FROM integration_answers WHERE created_at < now() - make_interval(hours => :hours)"),
        {"hours": older_than_hours},
    )


def _list(values: Collection[str]) -> str:
    return orjson.dumps(list(values)).decode()


def _read(connection: sa.Connection, statement: sa.TextClause, **parameters: object) -> list[Asset]:
    """Assets in the order of the rows; stored JSON in its canonical text, as the decisions compare it."""
    return [_asset(row) for row in connection.execute(statement, parameters).all()]


def _asset(row: Sequence[Any]) -> Asset:
    values = dict(zip(FIELD_NAMES, row))  # noqa: B905 (both have the contract's fields)
    for name in JSONS:
        values[name] = canonical(parse(values[name].encode()))
    return Asset(**values)
