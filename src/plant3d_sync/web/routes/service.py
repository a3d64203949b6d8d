"""The service itself: alive, ready, health, metrics, its description."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import HTMLResponse

from plant3d_sync.errors import SyncError
from plant3d_sync.state.keys import AUDIT_CHAIN
from plant3d_sync.state.store import SCHEMA
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import HEADER, Call, Needs
from plant3d_sync.web.context import Context
from plant3d_sync.web.errors import Refused, dump
from plant3d_sync.web.pages import docs_page
from plant3d_sync.web.routes.common import refusals

router = APIRouter(tags=["service"])

AnyKey = Annotated[Call, Depends(Needs(None))]
CanRead = Annotated[Call, Depends(Needs("read"))]


@router.get("/livez", operation_id="livez", summary="The process answers", response_model=s.Alive)
@router.get("/healthz", include_in_schema=False, response_model=s.Alive)
async def livez() -> s.Alive:
    """Touches nothing. Asynchronous, so that it answers when every thread is busy."""
    return s.Alive(status="ok")


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="This process can serve",
    response_model=s.Ready,
    response_model_exclude_none=True,
    responses={status: one for status, one in refusals().items() if status in (422, 500, 503)},
)
def readyz(request: Request, verbose: Annotated[str | None, Query(max_length=10)] = None) -> s.Ready:
    """The state database answers and has the right schema. Plant 3D or SYNAPSE being away changes nothing here."""
    checks, good = _checks(request.app.state.context)
    if not good:
        raise Refused(
            503,
            "not_ready",
            "This process cannot serve now.",
            hint="Look at the state database.",
            headers={"Retry-After": "5"},
            extra={"checks": checks},
        )
    return s.Ready(status="ready", checks=checks if verbose is not None else None)


def _checks(context: Context) -> tuple[dict[str, str], bool]:
    try:
        version = context.state.schema_version()
    except SyncError as error:
        return {"state": error.error_code}, False
    good = version == SCHEMA
    checks = {
        "state": "ok",
        "schema": "ok" if good else f"at {version}, needed {SCHEMA}",
        "queue": "ok" if context.bell.alive() else "degraded: Redis does not answer, workers poll",
    }
    return checks, good


@router.get(
    "/health",
    operation_id="getHealth",
    summary="Service health check",
    response_model=s.HealthDetail | s.HealthAnswer,
    responses={status: one for status, one in refusals().items() if status in (422, 500)},
)
async def health(
    request: Request,
    x_api_key: Annotated[
        str | None, Header(alias=HEADER, description="With a valid key the answer says more.")
    ] = None,
) -> Response:
    """What the worker last found, judged by its age. Answers within a second even if a side hangs."""
    answer = await request.app.state.watch.answer(x_api_key)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {"description": "Text format 0.0.4.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **{status: one for status, one in refusals().items() if status not in (404,)},
    },
)
def metrics(call: CanRead) -> Response:
    """Metrics of the service and of the projects this key may see."""
    names = call.context.visible(call.key)
    if call.key.projects is None:
        names.append(AUDIT_CHAIN)  # the service's own audit trail
    text = call.request.app.state.metrics.render(names)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(call: AnyKey) -> Response:
    """The description of this API for tools."""
    return Response(dump(call.request.app.openapi()), media_type="application/json")


@router.get("/docs", include_in_schema=False)
def docs(call: AnyKey) -> Response:
    """The description of this API for people."""
    return HTMLResponse(
        docs_page(call.request.app.openapi()),
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        },
    )
