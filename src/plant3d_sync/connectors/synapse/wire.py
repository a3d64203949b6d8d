"""The bodies of SYNAPSE's integration contract 1.x, and the canonical fields they carry.

A canonical field `attributes.size` is the key `size` of the object `attributes`; only the first dot separates, so
an attribute called `a.b` is the field `attributes.a.b`. Attributes that hold an object or a list are shown as
their JSON text with sorted keys (comparable, and never sent back by anything here).

SYNAPSE sends all its columns always, but only the attributes that exist: an `attributes.*` field that an asset
lacks is *empty* in SYNAPSE, not unknown. The empty text is read as None and written as null.

Nothing is repaired: what breaks the contract raises `WireError`, whose text never holds a value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
import orjson

from plant3d_sync.connectors.base import (
    KEPT_HOURS,
    AssetWrite,
    Batch,
    Capabilities,
    ChangePage,
    Creation,
    Sent,
    WriteResult,
)
from plant3d_sync.connectors.synapse.errors import WireError
from plant3d_sync.errors import ConfigError, SkipRecordError
from plant3d_sync.model.fields import Grouped, attribute_field, attribute_key, flat
from plant3d_sync.model.record import Asset, FieldInfo, Value

PREFIX: Final = "/api/v1/integration"
DEEPEST: Final = 1024
"""Levels of nesting that orjson reads; one more is an error."""
LARGEST: Final = 2**63 - 1
"""The largest whole number that we can store."""
PLAIN_FIELDS: Final = frozenset({"tag", "asset_type", "asset_subtype", "description"})
"""The columns a sync may write; everything else it may write is an attribute."""

SUCCESSES: Final = frozenset({"created", "updated", "unchanged", "archived"})
STATUSES: Final = SUCCESSES | {"conflict", "error"}
DEFAULT_BODY_BYTES: Final = 5 * 1024 * 1024
MAX_CURSOR: Final = 512

_ASSET_MEMBERS: Final = frozenset(
    [
        "id",
        "project_id",
        "plant3d_id",
        "version",
        "seq",
        "tag",
        "asset_type",
        "asset_subtype",
        "description",
        "attributes",
        "deleted_at",
        "field_info",
    ]
)


# ---------------------------------------------------------------- what we send


def write_item(write: AssetWrite) -> dict[str, object]:
    """One item of a batch. Raises ConfigError when a field is not one a sync may write."""
    item: dict[str, object] = {"op": write.op, "plant3d_id": write.plant3d_id}
    if write.if_version is not None:
        item["if_version"] = write.if_version
    if write.ref is not None:
        item["ref"] = write.ref
    if write.op == "archive":
        return item
    item["set"] = _nest(write)
    if write.if_description_version is not None:
        item["if_field_versions"] = {"description": write.if_description_version}
    if write.link_by_tag:
        item["link_by_tag"] = True
    if write.restore:
        item["restore"] = True
    return item


_KEYS: dict[str, str] = {}
"""`attributes.x` -> `x`, for the field names met so far (as many as the mapping has)."""


def _nest(write: AssetWrite) -> dict[str, object]:
    values: dict[str, object] = {}
    attributes: dict[str, Value] = {}
    key_of = _KEYS.get
    for name, value in write.set.items():
        if value.__class__ is str:
            value = value or None
        elif value.__class__ is float and value - value != 0.0:
            raise _unsendable(write, name, "not a finite number")
        key = key_of(name)
        if key is not None:
            attributes[key] = value
        elif name in PLAIN_FIELDS:
            values[name] = value
        elif (key := attribute_key(name)) is not None:
            _KEYS[name] = key
            attributes[key] = value
        else:
            raise ConfigError(
                f"The field '{name}' is not one a sync may write to SYNAPSE. Nothing was sent.",
                code="field_not_writable",
                hint="Map to tag, description, asset_type, asset_subtype or attributes.<name>.",
                details={"field": name, "plant3d_id": write.plant3d_id},
            )
    if attributes:
        values["attributes"] = attributes
    return values


def _unsendable(write: AssetWrite, name: str, why: str) -> SkipRecordError:
    return SkipRecordError(
        f"A value of the item {write.plant3d_id} cannot be sent to SYNAPSE ({why}). Nothing was sent.",
        code="invalid_value",
        hint="Correct the value in Plant 3D, or leave the field out of the mapping.",
        details={"plant3d_id": write.plant3d_id, "field": name},
    )


def encode_batch(
    writes: Sequence[AssetWrite | Creation], *, max_body_bytes: int = DEFAULT_BODY_BYTES
) -> Batch:
    """One batch call: the same writes give the same bytes, whatever the order of fields.

    Raises SkipRecordError for one item that cannot be sent (`invalid_value`, or `batch_too_large` if it is too
    large alone), ConfigError `batch_too_large` when the batch has to be split, `field_not_writable` for a field
    a sync must not write.
    """
    items: list[bytes] = []
    sent: list[Sent] = []
    for write in writes:
        try:
            one = _as_it_stands(write.text) if type(write) is Creation else None
            if one is not None and type(write) is Creation:
                items.append(_CREATION % (orjson.dumps(write.plant3d_id), write.text))
            else:
                item = write_item(_in_values(write))
                one = _as_sent(item)
                items.append(orjson.dumps(item, option=orjson.OPT_SORT_KEYS))
        except orjson.JSONEncodeError:
            raise _culprit(_in_values(write)) from None
        sent.append(one)
    body = _BODY % b",".join(items)
    if len(body) > max_body_bytes:
        raise _too_large(writes, len(body), max_body_bytes)
    return Batch(body, tuple([write.plant3d_id for write in writes]), tuple(sent))


_BODY: Final = b'{"items":[%b],"reply":"full"}'
_CREATION: Final = b'{"if_version":0,"op":"upsert","plant3d_id":%b,"set":%b}'


def _in_values(write: AssetWrite | Creation) -> AssetWrite:
    if isinstance(write, AssetWrite):
        return write
    fields: Grouped = orjson.loads(write.text)
    return AssetWrite(op="upsert", plant3d_id=write.plant3d_id, set=flat(fields), if_version=0)


class _Set(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What a creation may set, grouped."""

    tag: Value = None
    asset_type: Value = None
    asset_subtype: Value = None
    description: Value = None
    attributes: msgspec.Raw = msgspec.Raw()


_SET: Final = msgspec.json.Decoder(_Set)


def _as_it_stands(text: bytes) -> Sent | None:
    """What a creation sets whose text is sent as it stands; None for what is sent otherwise: an empty text, for which
    SYNAPSE gets null, a key without a name (or a text that ends with a quote, which looks alike), or what no sync may write.
    """
    if b'""' in text:
        return None
    try:
        one = _SET.decode(text)
    except msgspec.MsgspecError:
        return None
    return Sent((one.tag, one.asset_type, one.asset_subtype, one.description), bytes(one.attributes))


def _as_sent(item: dict[str, object]) -> Sent:
    """What one item holds. Its attributes become JSON here, once for the body and for the comparison with the answer."""
    values = item.get("set")
    if type(values) is not dict:
        return Sent((None, None, None, None), b"")
    attributes = values.get("attributes")
    text = b""
    if attributes is not None:
        text = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)
        values["attributes"] = orjson.Fragment(text)
    held = values.get
    return Sent((held("tag"), held("asset_type"), held("asset_subtype"), held("description")), text)


def _culprit(write: AssetWrite) -> SkipRecordError:
    """Why JSON cannot hold an item: a lone surrogate, or a whole number of more than 64 bits."""
    for name, value in write.set.items():
        if not _encodable(value) or not _encodable(name):
            return _unsendable(write, name, "JSON cannot hold it")
    return _unsendable(write, "plant3d_id", "JSON cannot hold its id")


def _encodable(value: Value) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _too_large(
    writes: Sequence[AssetWrite | Creation], size: int, limit: int
) -> ConfigError | SkipRecordError:
    details: dict[str, object] = {"bytes": size, "max_body_bytes": limit, "items": len(writes)}
    if len(writes) == 1:
        return SkipRecordError(
            f"The item {writes[0].plant3d_id} alone makes {size} bytes; SYNAPSE takes {limit}. It was not sent.",
            code="batch_too_large",
            hint="Shorten its texts in Plant 3D, or map fewer columns.",
            details={**details, "plant3d_id": writes[0].plant3d_id},
        )
    return ConfigError(
        f"A batch of {len(writes)} items makes {size} bytes; SYNAPSE takes {limit}. It was not sent.",
        code="batch_too_large",
        hint="Lower SYNC_BATCH_SIZE.",
        details=details,
    )


# ---------------------------------------------------------------- what we read


def load(raw: bytes) -> object:
    """JSON to objects. Refuses NaN, infinities and invalid UTF-8; of a key given twice the last one counts."""
    try:
        value: object = orjson.loads(raw)
        return value
    except orjson.JSONDecodeError as error:
        place, size = error.pos, len(raw)
    raise WireError(f"not valid JSON (at character {place} of {size} bytes)")


def _refuse(what: str) -> str:
    raise WireError(f"{what} is missing or of the wrong type")


def _text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    if isinstance(value, str) and value:
        return value
    return _refuse(f"'{key}'")


def _optional_text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else _refuse(f"'{key}'")


def _whole(raw: Mapping[str, object], key: str, least: int) -> int:
    value = raw.get(key)
    if type(value) is int and least <= value <= LARGEST:
        return value
    raise WireError(f"'{key}' is not a whole number of at least {least}")


def _flag(raw: Mapping[str, object], key: str) -> bool:
    value = raw.get(key, False)
    if type(value) is bool:
        return value
    raise WireError(f"'{key}' is not true or false")


def _time(value: object, what: str) -> str:
    """A time of the contract (RFC 3339, UTC, `Z`), checked and returned as it came."""
    if isinstance(value, str) and value.endswith("Z"):
        try:
            datetime.fromisoformat(value)
            return value
        except ValueError:
            pass
    raise WireError(f"{what} is not a UTC time")


def read_asset(raw: object, project_id: str) -> Asset:
    """One asset, every part checked that we use. `project_id`: lower case; another project's asset is refused."""
    if not isinstance(raw, dict):
        raise WireError("an asset is not an object")
    if not raw.keys() >= _ASSET_MEMBERS:
        raise WireError(f"an asset lacks {', '.join(sorted(_ASSET_MEMBERS - raw.keys()))}")
    asset_id, plant3d_id, version, seq = raw["id"], raw["plant3d_id"], raw["version"], raw["seq"]
    tag, asset_type, subtype = raw["tag"], raw["asset_type"], raw["asset_subtype"]
    description, attributes, deleted_at = raw["description"], raw["attributes"], raw["deleted_at"]
    info, project = raw["field_info"], raw["project_id"]
    if not (
        type(asset_id) is str
        and asset_id
        and (plant3d_id is None or (type(plant3d_id) is str and 0 < len(plant3d_id) <= 128))
        and type(version) is int
        and 1 <= version <= LARGEST
        and type(seq) is int
        and 1 <= seq <= LARGEST
        and type(tag) is str
        and tag
        and type(asset_type) is str
        and (subtype is None or type(subtype) is str)
        and (description is None or type(description) is str)
        and type(attributes) is dict
        and (deleted_at is None or type(deleted_at) is str)
        and type(info) is dict
        and type(project) is str
    ):
        raise WireError("an asset has a member of the wrong type")
    if project != project_id and project.lower() != project_id:
        raise WireError("an asset belongs to another project")
    fields: dict[str, Value] = {
        "tag": tag,
        "asset_type": asset_type,
        "asset_subtype": subtype or None,
        "description": description or None,
    }
    for key, value in attributes.items():
        kind = type(value)
        if kind is dict or kind is list:
            value = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        fields[attribute_field(key)] = None if value == "" else value
    return Asset(
        asset_id=asset_id,
        plant3d_id=plant3d_id,
        version=version,
        seq=seq,
        archived=deleted_at is not None,
        fields=fields,
        field_info=_field_info(info, version),
    )


def _field_info(raw: Mapping[str, object], asset_version: int) -> dict[str, FieldInfo]:
    if "description" not in raw:
        raise WireError("an asset lacks field_info of 'description'")
    infos: dict[str, FieldInfo] = {}
    for name, info in raw.items():
        if not isinstance(info, dict):
            raise WireError("an entry of field_info is not an object")
        version, moment, author = info.get("version"), info.get("updated_at"), info.get("by")
        if type(version) is not int or not 1 <= version <= asset_version:
            raise WireError("an entry of field_info has a member of the wrong type")
        if type(author) is not str or type(moment) is not str:
            raise WireError("an entry of field_info has a member of the wrong type")
        infos[name] = info_of(version, moment, author)
    return infos


@lru_cache(maxsize=64)
def info_of(version: int, moment: object, author: str) -> FieldInfo:
    """The assets of one batch share this; the moment is checked once."""
    return FieldInfo(version=version, updated_at=_time(moment, "'updated_at' of a field"), by=author)


def read_page(raw: object, project_id: str, *, after: int, totals: bool) -> tuple[ChangePage, int]:
    """One page of changes and its largest `seq`. `after`: largest `seq` of this pass so far (0 at its start).

    A pass hands out ascending sequence numbers; a page that goes back would hide changes, so it is refused.
    """
    if not isinstance(raw, dict):
        raise WireError("a page of changes is not an object")
    entries, cursor, more = raw.get("items"), raw.get("next_cursor"), raw.get("has_more")
    if type(entries) is not list or type(more) is not bool:
        raise WireError("a page of changes lacks 'items' or 'has_more'")
    if type(cursor) is not str or not 0 < len(cursor) <= MAX_CURSOR:
        raise WireError("a page of changes has no usable 'next_cursor'")
    max_seq = _whole(raw, "max_seq", 0)
    assets: list[Asset] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise WireError("an entry of the changes is not an object")
        asset = read_asset(entry.get("asset"), project_id)
        if entry.get("seq") != asset.seq or asset.seq <= after:
            raise WireError("the changes are not in ascending order of 'seq'")
        if entry.get("change") != ("archive" if asset.archived else "upsert"):
            raise WireError("an entry of the changes contradicts its asset")
        after = asset.seq
        assets.append(asset)
    counted = _totals(raw.get("totals")) if totals or raw.get("totals") is not None else None
    page = ChangePage(assets=assets, next_cursor=cursor, has_more=more, totals=counted, max_seq=max_seq)
    return page, after


def _totals(raw: object) -> dict[str, int]:
    if not isinstance(raw, dict):
        raise WireError("a page of changes lacks the totals asked for")
    return {key: _whole(raw, key, 0) for key in ("live", "archived", "linked")}


def read_results(raw: object, ids: Sequence[str], project_id: str) -> tuple[list[WriteResult], int]:
    """One result for each item sent, in the order sent, and how many entries of the answer fitted none of them.

    An entry counts for an item only if both `index` and `plant3d_id` are its own. An item without a sound entry
    gets the status `unknown`: it may or may not have been applied.
    """
    entries, extra = _placed(raw, ids)
    return [_result_of(entry, ids[index], project_id) for index, entry in enumerate(entries)], extra


def _placed(raw: object, ids: Sequence[str]) -> tuple[list[dict[str, object] | None], int]:
    """The entry of each item sent, None where there is none, and how many fitted none."""
    if not isinstance(raw, dict):
        raise WireError("the answer to a batch is not an object")
    entries = raw.get("results")
    if type(entries) is not list:
        raise WireError("the answer to a batch lacks 'results'")
    found: list[dict[str, object] | None] = [None] * len(ids)
    extra, count = 0, len(ids)
    for entry in entries:
        index = entry.get("index") if type(entry) is dict else None
        if (
            type(index) is int
            and 0 <= index < count
            and entry.get("plant3d_id") == ids[index]
            and found[index] is None
        ):
            found[index] = entry
        else:
            extra += 1
    return found, extra


def _unknown(plant3d_id: str, code: str, message: str) -> WriteResult:
    return WriteResult(plant3d_id=plant3d_id, status="unknown", code=code, message=message)


def _result_of(entry: Mapping[str, object] | None, plant3d_id: str, project_id: str) -> WriteResult:
    if entry is None:
        return _unknown(plant3d_id, "not_answered", "the answer did not mention this item")
    try:
        return _result(entry, plant3d_id, project_id)
    except WireError as error:
        return _unknown(plant3d_id, "bad_answer", str(error))


def _result(entry: Mapping[str, object], plant3d_id: str, project_id: str) -> WriteResult:
    status = _text(entry, "status")
    if status not in STATUSES:
        raise WireError("'status' is not a word of the contract")
    done = status in SUCCESSES
    raw_asset = entry.get("asset" if done else "current")
    asset = None
    if done or raw_asset is not None:
        asset = read_asset(raw_asset, project_id)
        if asset.plant3d_id != plant3d_id:
            raise WireError("the answer holds the asset of another item")
    elif status == "conflict":
        raise WireError("a conflict without 'current'")
    other = entry.get("other")
    if other is not None and not isinstance(other, dict):
        raise WireError("'other' is not an object")
    return WriteResult(
        plant3d_id=plant3d_id,
        status=status,
        code="" if done else _text(entry, "code"),
        field=_optional_text(entry, "field"),
        message=_optional_text(entry, "message"),
        asset=asset,
        asset_id=asset.asset_id if asset else None,
        version=asset.version if asset else None,
        other=other,
        linked=_flag(entry, "linked"),
        restored=_flag(entry, "restored"),
    )


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `capabilities`, and SYNAPSE's clock at that moment."""

    capabilities: Capabilities
    server_time: datetime


def read_capabilities(raw: object) -> Greeting:
    """Version, limits and ownership, as SYNAPSE declares them."""
    if not isinstance(raw, dict) or not isinstance(raw.get("limits"), dict):
        raise WireError("the capabilities lack 'limits'")
    limits = raw["limits"]
    return Greeting(
        capabilities=Capabilities(
            contract=_text(raw, "contract"),
            version=_text(raw, "synapse_version"),
            max_batch_items=_whole(limits, "max_batch_items", 1),
            max_body_bytes=_whole(limits, "max_body_bytes", 1),
            max_page=_whole(limits, "max_page", 1),
            idempotency_hours=(
                _whole(limits, "idempotency_hours", 0) if "idempotency_hours" in limits else KEPT_HOURS
            ),
            writable_fields=_words(raw, "writable_fields"),
            shared_fields=_words(raw, "shared_fields"),
        ),
        server_time=datetime.fromisoformat(_time(raw.get("server_time"), "'server_time'")),
    )


def _words(raw: Mapping[str, object], key: str) -> tuple[str, ...]:
    words = raw.get(key)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise WireError(f"'{key}' is not a list of words")
    return tuple(words)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """SYNAPSE's own words about a refusal; empty when the answer was not a problem of the contract."""

    type: str = ""
    detail: str = ""
    request_id: str = ""


def read_problem(raw: bytes) -> Problem:
    """The problem in an answer of 4xx or 5xx; a proxy's HTML page gives an empty one."""
    try:
        value = load(raw)
        if not isinstance(value, dict):
            return Problem()
        return Problem(
            type=_optional_text(value, "type"),
            detail=_optional_text(value, "detail"),
            request_id=_optional_text(value, "request_id"),
        )
    except WireError:
        return Problem()
