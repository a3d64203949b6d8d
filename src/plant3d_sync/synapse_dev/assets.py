"""The asset as this server holds it, and as it goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TypeAlias

import orjson

Wire: TypeAlias = dict[str, object]  # JSON ready for orjson, with stored JSON as ready-made fragments


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One row. `attributes`, `tags` and `m_files_links` are canonical JSON text; times are RFC 3339 text.

    An archived asset (`deleted_at` set) keeps its tag for the reader but no longer holds it.
    `description_*` say when the description last changed: asset version, time and author.
    """

    id: str
    project_id: str
    plant3d_id: str | None
    version: int
    seq: int
    tag: str
    asset_type: str
    asset_subtype: str | None
    description: str | None
    attributes: str
    discipline_code: str | None
    parent_asset_id: str | None
    status: str
    fbs_code: str | None
    lbs_code: str | None
    wbs_code: str | None
    priority: int | None
    tags: str
    m_files_links: str
    workflow_status: str | None
    notes: str | None
    created_at: str
    updated_at: str
    deleted_at: str | None
    description_version: int
    description_at: str
    description_by: str

    @property
    def live_tag(self) -> str | None:
        """The tag this asset holds against others: none once archived."""
        return self.tag if self.deleted_at is None else None

    def wire(self) -> Wire:
        """The asset of the contract; every field is always present."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "plant3d_id": self.plant3d_id,
            "version": self.version,
            "seq": self.seq,
            "tag": self.tag,
            "asset_type": self.asset_type,
            "asset_subtype": self.asset_subtype,
            "description": self.description,
            "attributes": orjson.Fragment(self.attributes),
            "discipline_code": self.discipline_code,
            "parent_asset_id": self.parent_asset_id,
            "status": self.status,
            "fbs_code": self.fbs_code,
            "lbs_code": self.lbs_code,
            "wbs_code": self.wbs_code,
            "priority": self.priority,
            "tags": orjson.Fragment(self.tags),
            "m_files_links": orjson.Fragment(self.m_files_links),
            "workflow_status": self.workflow_status,
            "notes": self.notes,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted_at": self.deleted_at,
            "field_info": {
                "description": {
                    "version": self.description_version,
                    "updated_at": self.description_at,
                    "by": self.description_by,
                }
            },
        }

    def holder(self) -> Wire:
        """What a `tag_taken` answer says about the asset that holds the tag."""
        return {"id": self.id, "plant3d_id": self.plant3d_id, "tag": self.tag}


FIELD_NAMES = tuple(field.name for field in fields(Asset))
WIRE_NAMES = frozenset(
    name for name in FIELD_NAMES if name not in {"description_version", "description_at", "description_by"}
) | {"field_info"}


def new_asset(
    *, id: str, project_id: str, plant3d_id: str | None, values: Mapping[str, str | None], now: str, by: str
) -> Asset:
    """A fresh asset at version 1; `seq` is given when it is stored. Status starts as Design."""
    return Asset(
        id=id,
        project_id=project_id,
        plant3d_id=plant3d_id,
        version=1,
        seq=0,
        tag=str(values["tag"]),
        asset_type=str(values["asset_type"]),
        asset_subtype=values.get("asset_subtype"),
        description=values.get("description"),
        attributes=values.get("attributes") or "{}",
        discipline_code=None,
        parent_asset_id=None,
        status="Design",
        fbs_code=None,
        lbs_code=None,
        wbs_code=None,
        priority=None,
        tags="[]",
        m_files_links="[]",
        workflow_status=None,
        notes=None,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        description_version=1,
        description_at=now,
        description_by=by,
    )


def timestamp(moment: datetime) -> str:
    """UTC, RFC 3339, Z, always six digits of microseconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> str:
    """The server's clock."""
    return timestamp(datetime.now(timezone.utc))
