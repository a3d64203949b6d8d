"""What surrounds every request: its id, headers that browsers heed, the size of its body."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plant3d_sync.web.errors import Refused, refusal

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")

LIFE_SIGNS = ("/livez", "/healthz", "/readyz")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-store",
}
"""Added where the answer does not say otherwise."""


class Envelope:
    """Gives each request an id (the caller's if it is a plain word) and each answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("X-Request-ID", "")
        request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD as GET, without the body: the same status, the same headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. `state.head` says to whoever would answer for long that nobody reads it."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET", "state": {**scope.get("state", {}), "head": True}}
        await self._app(as_get, receive, send_without_body)


class KnownHosts:
    """Refuses calls under a name that the operator did not list, whatever key they bring.

    What only asks whether the process lives is answered under any name: such checks call by address.
    """

    def __init__(self, app: ASGIApp, *, names: Sequence[str]) -> None:
        self._app = app
        self._judge = TrustedHostMiddleware(self._known, allowed_hosts=names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in LIFE_SIGNS:
            await self._app(scope, receive, send)
            return
        verdict: dict[str, bool] = {}
        await self._judge({**scope, "verdict": verdict}, receive, _to_nobody)
        if verdict:
            await self._app(scope, receive, send)
            return
        refused = Refused(
            400,
            "host_refused",
            "This service does not answer under the name of the Host header.",
            hint="Call it by a name of P3DSYNC_ALLOWED_HOSTS, or add the name there.",
        )
        await refusal(Request(scope), refused)(scope, receive, send)

    @staticmethod
    async def _known(scope: Scope, _receive: Receive, _send: Send) -> None:
        scope["verdict"]["known"] = True


async def _to_nobody(_message: Message) -> None:
    """The library's own refusal is plain text; ours is sent in its place."""


class BodyLimit:
    """Refuses a body that says it is too large before reading it, and one that turns out to be while reading."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        if said.isascii() and said.isdigit() and (len(said) > 18 or int(said) > self._most):
            await refusal(Request(scope), self._too_large())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._most:
                    raise HTTPException(413)
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> Refused:
        return Refused(
            413, "body_too_large", f"The body is larger than {self._most} bytes.", hint="Send less at once."
        )
