"""Operations 4 and 5: one asset with its ETag, and one guarded change."""

from __future__ import annotations

import re

import orjson
import sqlalchemy as sa

from plant3d_sync.synapse_dev import queries
from plant3d_sync.synapse_dev.assets import Asset
from plant3d_sync.synapse_dev.decide import changed
from plant3d_sync.synapse_dev.fields import Changes, Refused, check_set
from plant3d_sync.synapse_dev.jsons import Json, parse
from plant3d_sync.synapse_dev.problems import Problem, unreadable
from plant3d_sync.synapse_dev.server import (
    Answer,
    Call,
    Server,
    asset_not_found,
    json_answer,
    project_not_found,
    repeated,
    uuid_text,
)

STRONG_TAG = re.compile(r'(?:^|,)\s*"([^"]*)"\s*(?=,|$)')


def get_asset(server: Server, call: Call, asset_id: str, if_none_match: str | None) -> Answer:
    """The asset, or 304 if the caller already has this version."""
    with server.store.reading() as connection:
        asset = find(connection, call.project_id, asset_id)
    headers = {"ETag": etag(asset)}
    if if_none_match is not None and (if_none_match.strip() == "*" or matches(if_none_match, asset)):
        return Answer(status=304, headers=headers)
    return json_answer(asset.wire(), headers=headers)


def patch_asset(
    server: Server, call: Call, asset_id: str, if_match: str | None, body: bytes | None
) -> Answer:
    """Change the asset if it is still at the version named by `If-Match`. `Problem`: nothing was applied."""
    if if_match is None or if_match.strip() == "*":
        raise Problem(428, "precondition_required", 'Send If-Match with the version you read, such as "3".')
    if body is None:
        raise Problem(413, "body_too_large", "The body is too large.")
    changes = read_changes(body)
    status, answer = repeated(lambda: attempt(server, call, asset_id, if_match, changes))
    server.ledger.wrote(project_id=call.project_id, request_id=call.request_id, key=None, counts={status: 1})
    return answer


def attempt(server: Server, call: Call, asset_id: str, if_match: str, changes: Changes) -> tuple[str, Answer]:
    """One transaction: what became of the asset (updated or unchanged), and the answer."""
    with server.store.writing() as connection:
        project = queries.open_project(connection, call.project_id)
        if project is None:
            raise project_not_found()
        before = find(connection, call.project_id, asset_id, lock=True)
        after = guarded_change(connection, before, if_match, changes)
        if after != before:
            saved = queries.save(connection, project, [(before, after)], by=call.caller.author)
            after = saved.assets[before.id]
        status = "unchanged" if after.version == before.version else "updated"
        return status, json_answer(after.wire(), headers={"ETag": etag(after)})


def guarded_change(connection: sa.Connection, before: Asset, if_match: str, changes: Changes) -> Asset:
    """The asset as it would be, version not moved yet; 412, 409 or 422 if it may not be so."""
    if not matches(if_match, before):
        current: Json = orjson.loads(orjson.dumps(before.wire()))
        detail = f"The asset is at version {before.version}."
        raise Problem(
            412, "version_mismatch", detail, extra={"current": current}, headers={"ETag": etag(before)}
        )
    if before.deleted_at is not None:
        raise Problem(409, "archived", "The asset is archived.")
    try:
        after = changed(before, changes)
    except Refused as refusal:
        raise refused(refusal) from refusal
    refuse_taken_tag(connection, before, after)
    return after


def refuse_taken_tag(connection: sa.Connection, before: Asset | None, after: Asset) -> None:
    """409 if another live asset holds the tag that `after` would hold."""
    if after.live_tag is None or (before is not None and before.live_tag == after.live_tag):
        return
    holder = queries.assets_by_live_tag(connection, after.project_id, [after.live_tag]).get(after.live_tag)
    if holder is not None:
        other: Json = orjson.loads(orjson.dumps(holder.holder()))
        raise Problem(409, "tag_taken", "Another live asset holds this tag.", extra={"other": other})


def read_changes(body: bytes) -> Changes:
    """The body of a PATCH: the same members as `set` of a batch item."""
    try:
        return check_set(read_object(body))
    except Refused as refusal:
        raise refused(refusal) from refusal


def read_object(body: bytes) -> dict[str, Json]:
    try:
        content = parse(body)
    except ValueError as error:
        raise unreadable([], "not JSON") from error
    if not isinstance(content, dict):
        raise unreadable([], "an object expected")
    return content


def refused(refusal: Refused) -> Problem:
    """A refused value outside a batch: 422 with the item's code as type."""
    loc: list[Json] = ["body", *([refusal.field] if refusal.field else [])]
    errors: list[Json] = [{"loc": loc, "msg": refusal.message}]
    return Problem(422, refusal.code, refusal.message, extra={"errors": errors})


def find(connection: sa.Connection, project_id: str, asset_id: str, *, lock: bool = False) -> Asset:
    """The asset of this project, else 404. With `lock` nobody else changes it until the transaction ends."""
    known = uuid_text(asset_id) or asset_id  # people may have given an asset any id
    asset = None if "\x00" in known else queries.asset_by_id(connection, project_id, known, lock=lock)
    if asset is None:
        raise asset_not_found()
    return asset


def etag(asset: Asset) -> str:
    return f'"{asset.version}"'


def matches(header: str, asset: Asset) -> bool:
    """True if one of the header's strong tags is the asset's version; weak ones never match."""
    return str(asset.version) in STRONG_TAG.findall(header)
