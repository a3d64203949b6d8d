"""Who may come in, and what for.

Every address needs a key unless it stands in `OPEN`: the gate stands in front of all routes, so a forgotten
declaration closes a route, it does not open it. What a key may do is declared per route by `Needs`.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import limits
import msgspec
from fastapi import Header, Request, Security
from fastapi.security import APIKeyHeader
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.state import keys
from plant3d_sync.state.keys import ApiKey
from plant3d_sync.web.context import Context
from plant3d_sync.web.errors import Refused, refusal
from plant3d_sync.web.pages import ASSETS, wants_html
from plant3d_sync.words import said

PAGES = frozenset({"/docs", "/docs/plain", "/docs/openapi.json", *(f"/docs/{name}" for name in ASSETS)})
"""What a browser opens before anybody has given it a key: the API reference and its files."""

OPEN = frozenset({"/livez", "/readyz", "/healthz", "/health"}) | PAGES
"""Addresses that answer without a key."""

HEADER = "X-API-Key"
FAILURES = limits.parse("60/minute")
"""How many wrong keys one address may present."""

T = TypeVar("T")
_log = logging.getLogger("plant3d_sync.web")
_scheme = APIKeyHeader(
    name=HEADER, scheme_name="ApiKey", auto_error=False, description="`plant3d-sync keys create` makes one."
)


class RateLimits:
    """Requests per key, and wrong keys per address. Kept in this process's memory."""

    def __init__(self, text: str) -> None:
        try:
            self._per_key = limits.parse(text)
        except ValueError as error:
            raise ConfigError(
                f"P3DSYNC_RATE_LIMIT is not a rate: {said(text)}. Nothing was started.",
                hint="Write it like 600/minute.",
                code="settings_invalid",
            ) from error
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def request(self, key: ApiKey) -> None:
        """Count a request. Refuses 429."""
        self._hit(self._per_key, "key", key.key_id)

    def failure(self, scope: Scope) -> None:
        """Count a wrong key. Refuses 429."""
        client = scope.get("client")
        self._hit(FAILURES, "wrong", _neighbourhood(client[0] if client else "?"))

    def _hit(self, limit: limits.RateLimitItem, kind: str, name: str) -> None:
        if self._limiter.hit(limit, kind, name):
            return
        reset = self._limiter.get_window_stats(limit, kind, name).reset_time
        seconds = max(1, round(reset - time.time()))
        raise Refused(
            429,
            "too_many_requests",
            f"More than {limit.amount} requests per {limit.get_expiry()} seconds.",
            hint="Wait as long as Retry-After says.",
            headers={"Retry-After": str(seconds)},
        )


def _neighbourhood(host: str) -> str:
    """An IPv6 caller has 2^64 addresses to choose from: those of one network count together."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class Gate:
    """The layer in front of all routes: key, then rate."""

    def __init__(self, app: ASGIApp, *, context: Callable[[], Context], rates: RateLimits) -> None:
        self._app = app
        self._context = context
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http" or scope["path"] in OPEN or _browser_at_the_door(scope):
            await self._app(scope, receive, send)
            return
        try:
            key = await run_in_threadpool(self._admit, scope)
        except (Refused, RetryLaterError) as error:
            await refusal(Request(scope), _as_refusal(error))(scope, receive, send)
            return
        scope.setdefault("state", {})["key"] = key
        await self._app(scope, receive, send)
        await run_in_threadpool(self._remember_use, key)

    def _admit(self, scope: Scope) -> ApiKey:
        context = self._context()
        presented = Headers(scope=scope).get(HEADER)
        if not presented:
            raise no_key()
        key = context.verify(presented)
        if key is None:
            self._rates.failure(scope)
            raise no_key()
        self._rates.request(key)
        return key

    def _remember_use(self, key: ApiKey) -> None:
        context = self._context()
        now = context.clock()
        if key.last_used_at is not None and now - key.last_used_at < keys.HOUR:
            return
        try:
            with context.state.write() as connection:
                keys.used(connection, key.key_id, now=now)
        except RetryLaterError as error:
            _log.warning("the hour of use of key %s was not stored: %s", key.key_id, error.error_code)


def _browser_at_the_door(scope: Scope) -> bool:
    """A browser opens the bare address: it is told what this is. A program still is asked for its key."""
    headers = Headers(scope=scope)
    return scope["path"] == "/" and HEADER not in headers and wants_html(headers.get("accept", ""))


def _as_refusal(error: Refused | RetryLaterError) -> Refused:
    if isinstance(error, Refused):
        return error
    return Refused(
        503,
        error.error_code,
        "The state database cannot be used now.",
        hint="Try again in a moment; nothing has to be repaired.",
        headers={"Retry-After": "5"},
    )


def no_key() -> Refused:
    """401: the same for no key, a wrong one, an expired one and a revoked one."""
    return Refused(
        401,
        "unauthorized",
        "This needs a valid API key.",
        hint=f"Send it in the header {HEADER}; `plant3d-sync keys create` makes one.",
        headers={"WWW-Authenticate": "ApiKey"},
    )


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request by somebody who may make it."""

    context: Context
    key: ApiKey
    request: Request
    idempotency_key: str | None = None

    @property
    def by(self) -> str:
        """Who, for the audit."""
        return f"key:{self.key.key_id}:{self.key.name}"

    @property
    def request_id(self) -> str:
        """The id of this request."""
        return str(self.request.state.request_id)

    def found(self, thing: T | None, project: str | None, what: str, name: object) -> T:
        """The object with an id; 404 unless it is there and the key may see it (`Context.found`)."""
        return self.context.found(self.key, thing, project, what, name)

    def project(self, asked: str) -> str:
        """The configured name of a project; 404 unless the key may see it."""
        return self.context.project(self.key, asked)


class Needs:
    """Dependency of a route: the scope it needs (None: any valid key)."""

    def __init__(self, scope: str | None) -> None:
        self.scope = scope

    def __call__(self, request: Request, _key: Annotated[str | None, Security(_scheme)] = None) -> Call:
        """The request with its key. Refuses 403 a key without the scope."""
        return self.call(request)

    def call(self, request: Request, idempotency_key: str | None = None) -> Call:
        """Check the scope."""
        key = getattr(request.state, "key", None)
        if not isinstance(key, ApiKey):
            raise no_key()
        if self.scope is not None and self.scope not in key.scopes:
            raise Refused(
                403,
                "scope_missing",
                f"This key lacks the scope `{self.scope}`.",
                hint=f"Ask for a key with `--scopes {self.scope}`.",
            )
        return Call(
            context=request.app.state.context, key=key, request=request, idempotency_key=idempotency_key
        )


class Decides(Needs):
    """`Needs` of a POST: takes an `Idempotency-Key` too."""

    def __call__(
        self,
        request: Request,
        _key: Annotated[str | None, Security(_scheme)] = None,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=128,
                pattern=r"^[\x21-\x7e]+$",
                description="Send the same key again to get the stored answer instead of a second effect.",
            ),
        ] = None,
    ) -> Call:
        """The request with its key. Refuses 403 a key without the scope."""
        return self.call(request, idempotency_key)
