"""The contract's description in OpenAPI terms, added to what FastAPI generates from the routes."""

from __future__ import annotations

from plant3d_sync.synapse_dev.batch import MAX_ITEMS, STATUSES
from plant3d_sync.synapse_dev.feed import DEFAULT_PAGE, MAX_CURSOR, MAX_PAGE
from plant3d_sync.synapse_dev.jsons import Json

Schema = dict[str, Json]

TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
VERSION: Schema = {"type": "integer", "minimum": 1}
KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
OBJECT: Schema = {"type": "object"}
HEADER_ETAG: Schema = {"ETag": {"schema": TEXT}}
ITEM_CODES: list[Json] = [
    "version_mismatch",
    "field_version_mismatch",
    "exists",
    "archived",
    "invalid_value",
    "unknown_field",
    "field_not_writable",
    "missing_field",
    "tag_taken",
    "not_found",
    "duplicate_in_batch",
    "attributes_too_large",
]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


def text(limit: int, *, least: int = 0, null: bool = False) -> Schema:
    kind: Json = ["string", "null"] if null else "string"
    return {"type": kind, "minLength": least, "maxLength": limit}


def closed(properties: Schema, required: list[str] | None = None) -> Schema:
    """An object that refuses other members; `required` None means all of them."""
    names: list[Json] = list(properties if required is None else required)
    return {"type": "object", "additionalProperties": False, "required": names, "properties": properties}


ASSET_SET = closed(
    {
        "tag": {**text(100, least=1), "description": "One line, no outer blanks"},
        "asset_type": text(50, least=1),
        "asset_subtype": text(100, null=True),
        "description": text(4000, null=True),
        "attributes": {
            "type": "object",
            "description": "JSON merge patch, RFC 7396; at most 64 KiB afterwards",
        },
    },
    required=[],
)
FIELD_INFO = closed({"version": VERSION, "updated_at": TIME, "by": TEXT})
ASSET = closed(
    {
        "id": UUID,
        "project_id": UUID,
        "plant3d_id": nullable(KEY),
        "version": VERSION,
        "seq": VERSION,
        "tag": TEXT,
        "asset_type": TEXT,
        "asset_subtype": nullable(TEXT),
        "description": nullable(TEXT),
        "attributes": OBJECT,
        "discipline_code": nullable(TEXT),
        "parent_asset_id": nullable(UUID),
        "status": {"type": "string", "enum": ["Design", "Installed", "Decommissioned"]},
        "fbs_code": nullable(TEXT),
        "lbs_code": nullable(TEXT),
        "wbs_code": nullable(TEXT),
        "priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": TEXT},
        "m_files_links": {"type": "array", "items": {}},
        "workflow_status": nullable(TEXT),
        "notes": nullable(TEXT),
        "created_at": TIME,
        "updated_at": TIME,
        "deleted_at": nullable(TIME),
        "field_info": closed({"description": ref("FieldInfo")}),
    }
)
UPSERT = closed(
    {
        "op": {"const": "upsert"},
        "plant3d_id": KEY,
        "set": ref("AssetSet"),
        "if_version": COUNT,
        "if_field_versions": closed({"description": VERSION}, required=[]),
        "link_by_tag": {"type": "boolean", "default": False},
        "restore": {"type": "boolean", "default": False},
        "ref": text(64),
    },
    required=["op", "plant3d_id", "set"],
)
ARCHIVE = closed(
    {"op": {"const": "archive"}, "plant3d_id": KEY, "if_version": VERSION, "ref": text(64)},
    required=["op", "plant3d_id"],
)
BATCH_REQUEST = closed(
    {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": {},
            "description": "Each an UpsertItem or ArchiveItem; a bad item is an item error, not a 422",
        },
        "reply": {"type": "string", "enum": ["minimal", "full"], "default": "minimal"},
    },
    required=["items"],
)
OTHER: Schema = {**closed({"id": UUID, "plant3d_id": nullable(KEY), "tag": TEXT}), "type": ["object", "null"]}
BATCH_RESULT = closed(
    {
        "index": COUNT,
        "plant3d_id": nullable(KEY),
        "ref": TEXT,
        "status": {"type": "string", "enum": list(STATUSES)},
        "linked": {"const": True},
        "restored": {"const": True},
        "id": UUID,
        "version": VERSION,
        "seq": INTEGER,
        "asset": ref("Asset"),
        "code": {"type": "string", "enum": ITEM_CODES},
        "field": TEXT,
        "message": TEXT,
        "current": ref("Asset"),
        "other": OTHER,
    },
    required=["index", "plant3d_id", "status"],
)
BATCH_RESPONSE = closed(
    {
        "request_id": TEXT,
        "counts": closed({status: COUNT for status in STATUSES}),
        "max_seq": {"type": "integer", "description": "Highest seq of the project after the commit"},
        "results": {"type": "array", "items": ref("BatchResult")},
    }
)
CHANGE = closed(
    {"seq": INTEGER, "change": {"type": "string", "enum": ["upsert", "archive"]}, "asset": ref("Asset")}
)
CHANGE_PAGE = closed(
    {
        "items": {"type": "array", "items": CHANGE},
        "next_cursor": TEXT,
        "has_more": {"type": "boolean"},
        "max_seq": INTEGER,
        "totals": closed({"live": COUNT, "archived": COUNT, "linked": COUNT}),
    },
    required=["items", "next_cursor", "has_more", "max_seq"],
)
TEXTS: Schema = {"type": "array", "items": TEXT}
CAPABILITIES = closed(
    {
        "contract": {"type": "string", "description": "major.minor; a client refuses another major"},
        "synapse_version": TEXT,
        "server_time": TIME,
        "limits": closed(
            {
                "max_batch_items": INTEGER,
                "max_body_bytes": INTEGER,
                "max_page": INTEGER,
                "idempotency_hours": INTEGER,
            }
        ),
        "writable_fields": TEXTS,
        "shared_fields": TEXTS,
        "owned_attribute_keys": TEXTS,
    }
)
PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "A stable machine word"},
        "detail": TEXT,
        "request_id": TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {"loc": {"type": "array", "items": {}}, "msg": TEXT},
            },
        },
        "current": ref("Asset"),
        "other": OTHER,
    },
}
COMPONENTS: Schema = {
    "schemas": {
        "AssetSet": ASSET_SET,
        "FieldInfo": FIELD_INFO,
        "Asset": ASSET,
        "UpsertItem": UPSERT,
        "ArchiveItem": ARCHIVE,
        "BatchRequest": BATCH_REQUEST,
        "BatchResult": BATCH_RESULT,
        "BatchResponse": BATCH_RESPONSE,
        "ChangePage": CHANGE_PAGE,
        "Capabilities": CAPABILITIES,
        "Problem": PROBLEM,
    },
    "securitySchemes": {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    },
}


def parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": place, "required": required, "schema": schema}


PROJECT = parameter("X-Project-ID", "header", UUID, required=True)


def operation(parameters: list[Schema], body: dict[str, str] | None = None) -> dict[str, object]:
    """What an operation reads from the request by itself. `body`: media type -> schema name."""
    extra: dict[str, object] = {"parameters": parameters, "security": [{"apiKey": []}, {"bearer": []}]}
    if body:
        content = {media: {"schema": ref(name)} for media, name in body.items()}
        extra["requestBody"] = {"required": True, "content": content}
    return extra


REFUSAL: dict[str, object] = {
    "description": "Refused or failed; nothing was applied",
    "content": {"application/json": {"schema": ref("Problem")}},
}


def responses(
    schema: str, *refusals: int, headers: Schema | None = None
) -> dict[int | str, dict[str, object]]:
    """The good answer, and the problems this operation may answer with."""
    good: dict[str, object] = {
        "description": "OK",
        "content": {"application/json": {"schema": ref(schema)}},
        "headers": headers or {},
    }
    return {200: good, **dict.fromkeys(refusals, REFUSAL)}


CAPABILITIES_DOC = operation([])
BATCH_DOC = operation(
    [
        PROJECT,
        parameter("Idempotency-Key", "header", {**KEY, "pattern": "^[!-~]+$"}, required=True),
    ],
    {"application/json": "BatchRequest"},
)
CHANGES_DOC = operation(
    [
        PROJECT,
        parameter("cursor", "query", text(MAX_CURSOR)),
        parameter(
            "limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}
        ),
        parameter("include", "query", {"type": "string", "enum": ["totals"]}),
    ]
)
GET_DOC = operation([PROJECT, parameter("If-None-Match", "header", TEXT)])
PATCH_DOC = operation(
    [PROJECT, parameter("If-Match", "header", TEXT, required=True)],
    {"application/json": "AssetSet", "application/merge-patch+json": "AssetSet"},
)
