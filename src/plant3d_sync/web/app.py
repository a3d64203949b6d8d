"""Makes the web application from settings and configuration."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from plant3d_sync import __version__
from plant3d_sync.bootstrap import App
from plant3d_sync.errors import ConfigError
from plant3d_sync.jobqueue import Bell, make_bell
from plant3d_sync.run.project import World
from plant3d_sync.settings import Settings, weak_points
from plant3d_sync.web import errors
from plant3d_sync.web.auth import HEADER, Gate, RateLimits
from plant3d_sync.web.connections import trusted_proxies
from plant3d_sync.web.context import Context
from plant3d_sync.web.description import ABOUT, description
from plant3d_sync.web.languages import Languages
from plant3d_sync.web.layers import BodyLimit, Envelope, HeadAsGet, KnownHosts
from plant3d_sync.web.metrics import Metrics
from plant3d_sync.web.parameters import only_known
from plant3d_sync.web.routes import conflicts, looking, plans, service, sync, waiting
from plant3d_sync.web.watch import Watch


def create_app(
    app: App, *, world: World | None = None, bell: Bell | None = None, poll: float = 0.2
) -> FastAPI:
    """The web service. It opens the state database, and neither Plant 3D nor SYNAPSE.

    `world`, `bell`, `poll` (seconds between looks at a run somebody waits for): other than the configured ones.
    Raises ConfigError `weak_secrets` for sample secrets or an `sa` login unless DEBUG, RetryLaterError when the
    state database is away.
    """
    settings = app.settings
    refuse_weak(app)
    rates = RateLimits(settings.p3dsync_rate_limit)
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url is not None else None
    context = Context(
        app=app,
        world=world or app.world(),
        bell=bell or make_bell(redis_url),
        poll=poll,
    )
    web = with_routes()
    web.state.context = context
    web.state.watch = Watch(context, rates)
    web.state.metrics = Metrics(context)
    context.state.answer_within(ANSWER_SECONDS)
    errors.install(web)
    web.add_middleware(HeadAsGet)
    web.add_middleware(Gate, context=lambda: context, rates=rates)
    web.add_middleware(BodyLimit, most=settings.p3dsync_max_body_bytes)
    _add_cors(web, settings)
    _add_known_hosts(web, settings)
    web.add_middleware(Languages, default=lambda: app.language)
    web.add_middleware(Envelope)
    if proxies := trusted_proxies(settings.p3dsync_trusted_proxies):
        web.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return web


def with_routes() -> FastAPI:
    """Every address with its description, and nothing behind it yet."""
    web = FastAPI(
        title="plant3d-sync",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        dependencies=[Depends(only_known)],
    )
    for part in (sync, conflicts, plans, waiting, looking, service):
        web.include_router(part.router)
    web.openapi = lambda: description(web)  # type: ignore[method-assign]
    return web


ANSWER_SECONDS = 10.0
"""How long a request waits for one answer of PostgreSQL before it is told to come again."""


@asynccontextmanager
async def _lifespan(web: FastAPI) -> AsyncIterator[None]:
    yield
    web.state.watch.close()
    web.state.context.bell.close()


def refuse_weak(app: App) -> None:
    """Do not start with what anybody can look up. Raises ConfigError `weak_secrets`."""
    found = weak_points(app.settings, app.config, app.environ)
    if found and not app.settings.debug:
        listed = "; ".join(found)
        raise ConfigError(
            f"The service would be open to anybody: {listed}. Nothing was started.",
            hint="Set real secrets and a login with few rights (or DEBUG=true on a machine of your own).",
            code="weak_secrets",
            details={"problems": found},
        )


def check_web_settings(settings: Settings) -> list[ConfigError]:
    """Everything that `create_app` would refuse about rates, origins, names of hosts and proxies."""
    found: list[ConfigError] = []
    for check in (
        lambda: RateLimits(settings.p3dsync_rate_limit),
        lambda: _origins(settings),
        lambda: _names(settings),
        lambda: trusted_proxies(settings.p3dsync_trusted_proxies),
    ):
        try:
            check()
        except ConfigError as error:
            found.append(error)
    return found


def _origins(settings: Settings) -> list[str]:
    origins = [origin.strip() for origin in settings.p3dsync_cors_origins.split(",") if origin.strip()]
    if any("*" in origin for origin in origins):
        raise ConfigError(
            "P3DSYNC_CORS_ORIGINS must name origins, not `*`. Nothing was started.",
            hint="List them: https://synapse.example.com,https://other.example.com",
            code="settings_invalid",
        )
    wrong = [origin for origin in origins if not ORIGIN.fullmatch(origin)]
    if wrong:
        raise ConfigError(
            f"P3DSYNC_CORS_ORIGINS holds what is no origin: {', '.join(wrong)}. Nothing was started.",
            hint="An origin is scheme and host, and the port if it is unusual: https://synapse.example.com",
            code="settings_invalid",
        )
    return origins


def _add_cors(web: FastAPI, settings: Settings) -> None:
    origins = _origins(settings)
    if not origins:
        return
    web.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=[
            HEADER,
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "Last-Event-ID",
            "X-Request-ID",
        ],
        expose_headers=["ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Request-ID"],
        max_age=600,
    )


ORIGIN = re.compile(r"https?://[^/\s,?#@]+")
"""A browser sends nothing behind host and port, so that anything more would match no browser."""

HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:]+\]")


def _names(settings: Settings) -> list[str]:
    names = [name.strip().lower() for name in settings.p3dsync_allowed_hosts.split(",") if name.strip()]
    wrong = [name for name in names if not HOST_NAME.fullmatch(name)]
    if wrong:
        raise ConfigError(
            f"P3DSYNC_ALLOWED_HOSTS holds what is no name of a host: {', '.join(wrong)}. Nothing was started.",
            hint="List names or addresses without scheme and port: sync.example.com,*.example.org,10.0.0.7",
            code="settings_invalid",
        )
    return names


def _add_known_hosts(web: FastAPI, settings: Settings) -> None:
    names = _names(settings)
    if names:
        web.add_middleware(KnownHosts, names=names)
