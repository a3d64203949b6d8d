"""The service itself: alive, ready, health, metrics, its description."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.exceptions import HTTPException

from plant3d_sync import __version__
from plant3d_sync.errors import SyncError
from plant3d_sync.language import DEFAULT, LANGUAGES, accepted, known
from plant3d_sync.state.keys import AUDIT_CHAIN
from plant3d_sync.usecases.status import limits_of
from plant3d_sync.web import pages
from plant3d_sync.web import schemas as s
from plant3d_sync.web.auth import HEADER, Call, Needs
from plant3d_sync.web.description import described
from plant3d_sync.web.errors import Refused, dump
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
async def readyz(request: Request, verbose: Annotated[str | None, Query(max_length=10)] = None) -> s.Ready:
    """The state database answers and has the right schema. Plant 3D or SYNAPSE being away changes nothing here."""
    checks, good = await request.app.state.watch.readiness()
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


@router.get(
    "/health",
    operation_id="getHealth",
    summary="Service health check",
    response_model=s.HealthDetail | s.HealthAnswer,
    responses={status: one for status, one in refusals().items() if status in (422, 429, 500)},
)
async def health(
    request: Request,
    x_api_key: Annotated[
        str | None, Header(alias=HEADER, description="With a valid key the answer says more.")
    ] = None,
) -> Response:
    """What the worker last found, judged by its age. Answers within a second even if a side hangs.

    A wrong key is as none here, but counted: too many from one address are refused (429).
    """
    answer = await request.app.state.watch.answer(x_api_key, request.scope)
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
    """The description of this API for tools, and for whoever reads it in them: its texts are in the reader's language."""
    return _described(call.request)


@router.get("/", include_in_schema=False)
def root(request: Request) -> Response:
    """What this is, for a browser. Programs find nothing here."""
    if not pages.wants_html(request.headers.get("accept", "")):
        raise HTTPException(404)
    lang = _language(request)
    limits: list[str] = []
    context = request.app.state.context
    # the page is for finding one's way, also while the state database is away
    with suppress(SyncError), context.state.read() as connection:
        limits = limits_of(connection, context.app.project_names())
    return pages.page(pages.welcome(__version__, lang, limits), lang=lang)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    """The description of this API for people, to read and to try out."""
    lang = _language(request)
    return pages.page(pages.reference(lang), lang=lang)


@router.get("/docs/plain", include_in_schema=False)
def docs_plain(request: Request) -> Response:
    """The same on one page, without scripts."""
    lang = _language(request)
    return pages.page(pages.plain_reference(described(request.app.openapi(), lang), lang), lang=lang)


def _language(request: Request) -> str:
    """Of a page: the one in its address, else the one that the browser prefers, else the one of the settings."""
    spoken = _spoken(request)
    return spoken if spoken in LANGUAGES else DEFAULT


def _spoken(request: Request) -> str:
    asked = known(request.query_params.get("lang"))
    return asked or accepted(request.headers.get("accept-language")) or request.app.state.context.app.language


def _described(request: Request) -> Response:
    lang = _spoken(request)
    headers = {"Content-Language": lang, "Vary": "Accept-Language"}
    document = described(request.app.openapi(), lang)
    return Response(dump(document), media_type="application/json", headers=headers)


@router.get("/docs/openapi.json", include_in_schema=False)
def docs_description(request: Request) -> Response:
    """What the pages show. A browser that opens them has no key yet."""
    return _described(request)


@router.get("/docs/{name}", include_in_schema=False)
def docs_asset(name: str, request: Request) -> Response:
    """A file that the pages load."""
    if name not in pages.ASSETS:
        raise HTTPException(404)
    return pages.asset_answer(name, request)
