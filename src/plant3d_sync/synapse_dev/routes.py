"""The integration API as an ASGI app: routes, problems, request ids, body limit."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from sqlalchemy.exc import DBAPIError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plant3d_sync.synapse_dev import assets, openapi
from plant3d_sync.synapse_dev.batch import IDEMPOTENCY_HOURS, MAX_BODY_BYTES, MAX_ITEMS, run_batch
from plant3d_sync.synapse_dev.callers import READ, SYNC
from plant3d_sync.synapse_dev.feed import MAX_PAGE, changes, read_request
from plant3d_sync.synapse_dev.fields import OWNED_ATTRIBUTE_KEYS, SHARED_FIELDS, WRITABLE_FIELDS
from plant3d_sync.synapse_dev.jsons import Json
from plant3d_sync.synapse_dev.problems import Problem
from plant3d_sync.synapse_dev.server import Answer, Call, Server, authorize, identify, json_answer
from plant3d_sync.synapse_dev.single import get_asset, patch_asset

CONTRACT_VERSION = "1.0"
DRAIN_BYTES = 64 * 1024 * 1024
JSON_TYPES = frozenset({"", "application/json", "application/merge-patch+json"})

log = logging.getLogger("plant3d_sync.synapse_dev")


def create_app(
    server: Server, *, title: str, prefix: str = "", more: Callable[[FastAPI], None] | None = None
) -> ASGIApp:
    """The five operations below `prefix`, ready to be run or mounted. `more` adds routes of the server's own."""
    app = FastAPI(
        title=title,
        version=CONTRACT_VERSION,
        redirect_slashes=False,
        responses={"default": openapi.REFUSAL},
    )
    add_integration_routes(app, server, prefix)
    if more is not None:
        more(app)
    add_problem_handlers(app)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    return Edge(app)


def described(app: FastAPI) -> dict[str, Any]:
    """What FastAPI generates, with the contract's schemas."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {}).update(openapi.COMPONENTS)
        app.openapi_schema = document
    return app.openapi_schema


class Edge:
    """Around the app: gives each request an id, reads its body up to the limit, and returns the id.

    Async because ASGI is; everything behind it is plain functions. A body over the limit is read and thrown
    away, so that the client gets its 413 instead of a broken connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = chosen_request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["body"] = await limited_body(receive)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        await self._app(scope, receive, send_with_id)


def chosen_request_id(scope: Scope) -> str:
    """The caller's X-Request-ID if it is 1 to 128 printable characters, else a new one."""
    for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
        if name == b"x-request-id" and 1 <= len(value) <= 128 and all(0x21 <= byte <= 0x7E for byte in value):
            return value.decode("ascii")
    return uuid.uuid4().hex


async def limited_body(receive: Receive) -> bytes | None:
    """The body, or None if it is over the limit."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more and size <= DRAIN_BYTES:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        more = message["type"] == "http.request" and message.get("more_body", False)
    return b"".join(parts) if size <= MAX_BODY_BYTES else None


def respond(answer: Answer) -> Response:
    media_type = "application/json" if answer.status not in (204, 304) else None
    return Response(answer.body, answer.status, dict(answer.headers), media_type)


def request_id_of(request: Request) -> str:
    return cast(str, request.state.request_id)


def body_of(request: Request) -> bytes | None:
    """The body; a media type that is not JSON is refused."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES:
        raise Problem(415, "unsupported_media_type", "Send JSON.")
    return cast("bytes | None", request.state.body)


def add_integration_routes(app: FastAPI, server: Server, prefix: str) -> None:
    """The five operations of the contract."""

    def call(request: Request, scope: str) -> Call:
        return authorize(server, request.headers, request_id_of(request), scope)

    @app.get(
        f"{prefix}/capabilities",
        operation_id="getCapabilities",
        openapi_extra=openapi.CAPABILITIES_DOC,
        responses=openapi.responses("Capabilities", 400, 401),
    )
    def capabilities(request: Request) -> Response:
        """Contract version, limits, and who owns which field. 404 means a SYNAPSE without this contract."""
        identify(server, request.headers)
        return respond(json_answer(capabilities_content(server)))

    @app.post(
        f"{prefix}/assets/batch",
        operation_id="batchAssets",
        openapi_extra=openapi.BATCH_DOC,
        responses=openapi.responses(
            "BatchResponse", 400, 401, 403, 404, 409, 413, 415, 422, 500, 503,
            headers={"Idempotency-Replayed": {"schema": {"type": "string", "enum": ["true"]}}},
        ),
    )  # fmt: skip
    def batch(request: Request) -> Response:
        """Upsert and archive up to 1,000 assets; one result each. The same key again repeats the answer."""
        granted = call(request, SYNC)
        return respond(run_batch(server, granted, request.headers.get("idempotency-key"), body_of(request)))

    @app.get(
        f"{prefix}/assets/changes",
        operation_id="listChanges",
        openapi_extra=openapi.CHANGES_DOC,
        responses=openapi.responses("ChangePage", 400, 401, 403, 404, 410),
    )
    def list_changes(request: Request) -> Response:
        """Everything, or everything since a cursor, in the order of change, archived assets included."""
        granted = call(request, READ)
        return respond(changes(server, granted, read_request(request.query_params.multi_items())))

    @app.get(
        f"{prefix}/assets/{{asset_id}}",
        operation_id="getAsset",
        openapi_extra=openapi.GET_DOC,
        responses={
            **openapi.responses("Asset", 400, 401, 403, 404, headers=openapi.HEADER_ETAG),
            304: {"description": "Not modified"},
        },
    )
    def get_one(request: Request, asset_id: str) -> Response:
        """One asset; its ETag is its version."""
        granted = call(request, READ)
        return respond(get_asset(server, granted, asset_id, request.headers.get("if-none-match")))

    @app.patch(
        f"{prefix}/assets/{{asset_id}}",
        operation_id="patchAsset",
        openapi_extra=openapi.PATCH_DOC,
        responses=openapi.responses(
            "Asset", 400, 401, 403, 404, 409, 412, 413, 415, 422, 428, headers=openapi.HEADER_ETAG
        ),
    )
    def patch_one(request: Request, asset_id: str) -> Response:
        """Change one asset if it is still at the version in If-Match."""
        granted = call(request, SYNC)
        if_match = request.headers.get("if-match")
        return respond(patch_asset(server, granted, asset_id, if_match, body_of(request)))


def capabilities_content(server: Server) -> dict[str, object]:
    return {
        "contract": CONTRACT_VERSION,
        "synapse_version": server.version,
        "server_time": assets.now(),
        "limits": {
            "max_batch_items": MAX_ITEMS,
            "max_body_bytes": MAX_BODY_BYTES,
            "max_page": MAX_PAGE,
            "idempotency_hours": IDEMPOTENCY_HOURS,
        },
        "writable_fields": WRITABLE_FIELDS,
        "shared_fields": SHARED_FIELDS,
        "owned_attribute_keys": OWNED_ATTRIBUTE_KEYS,
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Every error is JSON with a request id, 404, 405 and 500 included."""

    def answer(request: Request, problem: Problem) -> Response:
        body = orjson.dumps(problem.body(request_id_of(request)))
        return Response(body, problem.status, problem.headers, "application/json")

    def refused(request: Request, error: Exception) -> Response:
        return answer(request, cast(Problem, error))

    def http_error(request: Request, error: Exception) -> Response:
        failure = cast(HTTPException, error)
        kind = {404: "not_found", 405: "method_not_allowed"}.get(failure.status_code, "http_error")
        headers: Mapping[str, str] = failure.headers or {}
        return answer(request, Problem(failure.status_code, kind, "No such operation here.", headers=headers))

    def invalid(request: Request, error: Exception) -> Response:
        found = cast(RequestValidationError, error).errors()
        errors: list[Json] = [{"loc": list(one["loc"]), "msg": one["msg"]} for one in found]
        return answer(
            request, Problem(422, "validation_error", "The request is not valid.", extra={"errors": errors})
        )

    def database_down(request: Request, error: Exception) -> Response:
        log.error("database failed: %s", type(cast(DBAPIError, error).orig).__name__)
        problem = Problem(503, "unavailable", "The database is busy or away.", headers={"Retry-After": "1"})
        return answer(request, problem)

    def crashed(request: Request, _error: Exception) -> Response:
        return answer(request, Problem(500, "internal_error", "The server failed. Nothing was applied."))

    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(OperationalError, database_down)
    app.add_exception_handler(Exception, crashed)
