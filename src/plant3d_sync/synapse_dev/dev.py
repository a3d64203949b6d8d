"""Helpers for tests only: projects, keys, user edits, purges. They need the key the server was started with.

Edits made here count versions and `seq` like any writer, but are not in the write ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from plant3d_sync.synapse_dev import assets, keys, queries
from plant3d_sync.synapse_dev.assets import Asset, new_asset, timestamp
from plant3d_sync.synapse_dev.callers import READ, SYNC
from plant3d_sync.synapse_dev.decide import changed
from plant3d_sync.synapse_dev.fields import (
    WRITABLE_FIELDS,
    Refused,
    check_set,
    check_text,
    optional_text,
)
from plant3d_sync.synapse_dev.items import valid_key
from plant3d_sync.synapse_dev.jsons import Json, canonical, storage_fault
from plant3d_sync.synapse_dev.queries import ProjectRow, bumped
from plant3d_sync.synapse_dev.server import Answer, Server, json_answer, project_not_found, uuid_text
from plant3d_sync.synapse_dev.single import find, read_object, refuse_taken_tag, refused
from plant3d_sync.synapse_dev.tables import assets as assets_table
from plant3d_sync.synapse_dev.tables import projects

DEFAULT_AUTHOR = "user:dev"
STATUSES = ("Design", "Installed", "Decommissioned")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEdit:
    """A user's change: checked values by column, and who signs a description change, when."""

    values: Mapping[str, str | int | None]
    sync_fields: Mapping[str, Json]
    by: str
    at: str | None


def add_project(server: Server, body: bytes) -> Answer:
    """Create a project, with the given id if there is one; an id that exists already is simply confirmed."""
    try:
        content = read_object(body or b"{}")
        project_id = checked_uuid("id", content["id"]) if content.get("id") else str(uuid.uuid4())
        name = check_text("name", content.get("name", "dev"), 200)
    except Refused as refusal:
        raise refused(refusal) from refusal
    with server.store.writing() as connection:
        created = ensure_project(connection, project_id, name)
    return json_answer({"id": project_id}, status=201 if created else 200)


def ensure_project(connection: sa.Connection, project_id: str, name: str) -> bool:
    """True if the project had to be created."""
    if queries.project_row(connection, project_id) is not None:
        return False
    row = {"id": project_id, "name": name, "seq": 0, "epoch": new_epoch_word(), "created_at": assets.now()}
    connection.execute(sa.insert(projects).values(row))
    return True


def add_key(server: Server, body: bytes) -> Answer:
    """Create a key with scopes, projects (null: all) and expiry."""
    try:
        content = read_object(body)
        name = check_text("name", content.get("name"), 200)
        scopes = text_list("scopes", content.get("scopes", []))
        allowed = content.get("projects")
        key_projects = (
            None if allowed is None else [checked_uuid("projects", p) for p in text_list("projects", allowed)]
        )
        expiry = content.get("expires_at")
        expires_at = None if expiry is None else checked_time("expires_at", expiry)
        if not {READ, SYNC}.issuperset(scopes):
            raise Refused("invalid_value", "scopes", f"scopes may be {READ} and {SYNC}")
    except Refused as refusal:
        raise refused(refusal) from refusal
    with server.store.writing() as connection:
        key_id, key = keys.add_key(
            connection, name=name, scopes=scopes, projects=key_projects, expires_at=expires_at
        )
    return json_answer({"id": key_id, "key": key}, status=201)


def list_assets(server: Server, project_id: str) -> Answer:
    """Every asset of the project, live and archived, by `seq`."""
    with server.store.reading() as connection:
        known_project(connection, project_id)
        found = queries.assets_after(connection, project_id, 0)
    return json_answer({"items": [asset.wire() for asset in found], "total": len(found)})


def add_asset(server: Server, project_id: str, body: bytes) -> Answer:
    """Create an asset as a user: unlinked unless the body holds a `plant3d_id`."""
    edit = read_edit(body)
    tag = edit.sync_fields.get("tag")
    if not isinstance(tag, str):
        raise refused(Refused("missing_field", "tag", "tag is required to create an asset"))
    with server.store.writing() as connection:
        project = known_project(connection, project_id, lock=True)
        blank = new_asset(
            id=str(uuid.uuid4()),
            project_id=project_id,
            plant3d_id=None,
            values={"tag": tag, "asset_type": "Equipment"},
            now=assets.now(),
            by=edit.by,
        )
        asset = replace(edited(blank, edit), seq=project.seq + 1, description_at=edit.at or blank.created_at)
        refuse_taken(connection, None, asset)
        queries.store(connection, [(None, asset)])
        queries.set_counter(connection, project_id, asset.seq)
    return json_answer(asset.wire(), status=201)


def edit_asset(server: Server, project_id: str, asset_id: str, body: bytes) -> Answer:
    """Change any field as a user. `attributes` is a merge patch; `deleted_at` true or a time archives, null restores.

    `_by` signs the change. `_at` sets the time of the description, which then counts as saved again.
    """
    edit = read_edit(body)
    with server.store.writing() as connection:
        project = known_project(connection, project_id, lock=True)
        before = find(connection, project_id, asset_id)
        after = edited(before, edit)
        refuse_taken(connection, before, after)
        if after != before or edit.at is not None:
            moment = assets.now()
            after = bumped(before, after, seq=project.seq + 1, now=moment, by=edit.by)
            if edit.at is not None:
                after = replace(
                    after, description_version=after.version, description_at=edit.at, description_by=edit.by
                )
            queries.store(connection, [(before, after)])
            queries.set_counter(connection, project_id, after.seq)
    return json_answer(after.wire())


def purge_asset(server: Server, project_id: str, asset_id: str) -> Answer:
    """Remove the row for good, without a new epoch: what a careless administrator does."""
    with server.store.writing() as connection:
        known_project(connection, project_id, lock=True)
        asset = find(connection, project_id, asset_id)
        connection.execute(sa.delete(assets_table).where(assets_table.c.id == asset.id))
    return Answer(status=204)


def new_epoch(server: Server, project_id: str) -> Answer:
    """What an administrator does after restoring a backup: every older cursor becomes a 410."""
    epoch = new_epoch_word()
    with server.store.writing() as connection:
        known_project(connection, project_id, lock=True)
        connection.execute(sa.update(projects).where(projects.c.id == project_id).values(epoch=epoch))
    return json_answer({"epoch": epoch})


def new_epoch_word() -> str:
    """Random, so that an epoch never comes back, not even after restoring a backup of the project row."""
    return uuid.uuid4().hex


def known_project(connection: sa.Connection, project_id: str, *, lock: bool = False) -> ProjectRow:
    checked = uuid_text(project_id)
    project = None if checked is None else queries.project_row(connection, checked, lock=lock)
    if project is None:
        raise project_not_found()
    return project


def refuse_taken(connection: sa.Connection, before: Asset | None, after: Asset) -> None:
    refuse_taken_tag(connection, before, after)
    if after.plant3d_id is None or (before is not None and before.plant3d_id == after.plant3d_id):
        return
    if queries.assets_by_key(connection, after.project_id, [after.plant3d_id]):
        raise refused(Refused("invalid_value", "plant3d_id", "another asset has this plant3d_id"))


def edited(asset: Asset, edit: UserEdit) -> Asset:
    """The asset with the user's values; its version does not move yet."""
    try:
        return replace(changed(asset, check_set(edit.sync_fields)), **edit.values)  # type: ignore[arg-type]
    except Refused as refusal:
        raise refused(refusal) from refusal


def read_edit(body: bytes) -> UserEdit:
    """Check the body of a user edit; an unknown field is refused here too."""
    content = read_object(body)
    try:
        by = check_text("_by", content.pop("_by", DEFAULT_AUTHOR), 200)
        at = checked_time("_at", content.pop("_at")) if "_at" in content else None
        sync_fields = {name: content.pop(name) for name in WRITABLE_FIELDS if name in content}
        values = {name: check_user_value(name, value) for name, value in content.items()}
    except Refused as refusal:
        raise refused(refusal) from refusal
    return UserEdit(values=values, sync_fields=sync_fields, by=by, at=at)


def check_user_value(name: str, value: Json) -> str | int | None:
    check = USER_CHECKS.get(name)
    if check is None:
        raise Refused("unknown_field", name, "no such field, or one that the server sets")
    return check(value)


def check_status(value: Json) -> str:
    if value not in STATUSES:
        raise Refused("invalid_value", "status", "status: Design, Installed or Decommissioned")
    return str(value)


def check_priority(value: Json) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
        raise Refused("invalid_value", "priority", "priority: 1 to 5")
    return value


def check_key(value: Json) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not valid_key(value):
        raise Refused("invalid_value", "plant3d_id", "1 to 128 characters without control characters")
    return value


def check_deleted_at(value: Json) -> str | None:
    """true: now; a time: then; null or false: live."""
    if value is True:
        return assets.now()
    return checked_time("deleted_at", value) if value else None


def check_parent(value: Json) -> str | None:
    return None if value is None else checked_uuid("parent_asset_id", value)


def json_list(name: str) -> Callable[[Json], str]:
    def check(value: Json) -> str:
        if not isinstance(value, list) or storage_fault(value):
            raise Refused("invalid_value", name, f"{name} must be a list that can be stored")
        return canonical(value)

    return check


USER_CHECKS: Mapping[str, Callable[[Json], str | int | None]] = {
    "plant3d_id": check_key,
    "discipline_code": optional_text("discipline_code", 50),
    "parent_asset_id": check_parent,
    "status": check_status,
    "fbs_code": optional_text("fbs_code", 50),
    "lbs_code": optional_text("lbs_code", 50),
    "wbs_code": optional_text("wbs_code", 50),
    "priority": check_priority,
    "tags": json_list("tags"),
    "m_files_links": json_list("m_files_links"),
    "workflow_status": optional_text("workflow_status", 100),
    "notes": optional_text("notes", 20_000),
    "deleted_at": check_deleted_at,
}


def checked_uuid(name: str, value: Json) -> str:
    checked = uuid_text(value) if isinstance(value, str) else None
    if checked is None:
        raise Refused("invalid_value", name, f"{name} must be a UUID")
    return checked


def checked_time(name: str, value: Json) -> str:
    """An RFC 3339 time with a zone, as UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused("invalid_value", name, f"{name} must be an RFC 3339 time with a zone")
    return timestamp(moment)


def text_list(name: str, value: Json) -> list[str]:
    if not isinstance(value, list):
        raise Refused("invalid_value", name, f"{name} must be a list")
    return [check_text(name, entry, 200) for entry in value]
