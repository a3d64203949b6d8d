"""Answers in the language of whoever asks: `Accept-Language`, else the settings.

A sentence in a JSON document is put into that language, whichever route made it; codes, names and values are not.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plant3d_sync.language import DEFAULT, TOLD, accepted, speaking, tr_members

_KINDS = ("application/json", "application/problem+json")
_OF_THEIR_OWN = ("/api/v1/openapi.json", "/docs/openapi.json")
"""Answers that their route has put into a language already."""


class Languages:
    """Holds a JSON answer back until it is whole, and says its sentences in the language of the request."""

    def __init__(self, app: ASGIApp, *, default: Callable[[], str]) -> None:
        self._app = app
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["path"] in _OF_THEIR_OWN:
            await self._app(scope, receive, send)
            return
        language = accepted(Headers(scope=scope).get("Accept-Language")) or self._default()
        if language == DEFAULT:
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def send_translated(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if kind.partition(";")[0] in _KINDS:
                    start = message
                    return
            elif message["type"] == "http.response.body" and start is not None:
                parts.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = _translated(b"".join(parts), language)
                headers = MutableHeaders(scope=start)
                headers["Content-Language"] = language
                headers.add_vary_header("Accept-Language")
                if parts and body:
                    headers["Content-Length"] = str(len(body))
                await send(start)
                start = None
                await send({**message, "body": body})
                return
            await send(message)

        await self._app(scope, receive, send_translated)


def _translated(body: bytes, language: str) -> bytes:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:  # the empty body of an answer to HEAD
        return body
    with speaking(language):
        return orjson.dumps(tr_members(document, TOLD))
