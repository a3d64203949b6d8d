"""What one connection may take: time for a request to arrive, a place, and a clear end of its body.

The web server has no limit of its own for a request that never ends. So its protocol is given clocks: for the head,
for the body, and for a caller who does not read the answer. There is a bound of connections, and whoever has not sent a
whole head yet gives up a place first: a thousand half requests cannot keep out one whole one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import msgspec
import orjson
import uvicorn
from msgspec.structs import replace
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from plant3d_sync.errors import ConfigError
from plant3d_sync.logs import get_logger
from plant3d_sync.words import said

if TYPE_CHECKING:
    from uvicorn.server import ServerState

PROBES = frozenset({"/livez", "/healthz", "/readyz", "/health"})
"""What is answered although every place is taken: who watches the service must not take it for dead."""

ACCEPTED_AT_ONCE = 100
"""Connections taken from the system between two looks at the bound; also how many may wait there."""

_SPARE_FILES = 200
"""Open files that are left for everything but connections."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds for a head, for a body, for a caller who reads nothing, between two requests; and how many connections.

    `most`: connections that are served; `spare`: further ones, which only get the answers of `PROBES`.
    """

    head: float = 10.0
    body: float = 60.0
    reading: float = 60.0
    idle: int = 5
    most: int = 400
    spare: int = 50

    def within_open_files(self) -> Limits:
        """The same with no more connections than this process may have files open."""
        try:
            import resource
        except ImportError:  # Windows has no such limit
            return self
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY:
            return self
        room = max(10, allowed - self.spare - ACCEPTED_AT_ONCE - _SPARE_FILES)
        return replace(self, most=min(self.most, room))


class Places(msgspec.Struct):
    """Who is connected to this process. `waiting`: those without a whole request, the longest first."""

    limits: Limits
    held: set[Connection] = msgspec.field(default_factory=set)
    waiting: dict[Connection, None] = msgspec.field(default_factory=dict)
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    said_at: float | None = None

    def take(self, connection: Connection) -> str:
        """A place: `served`, `probe` (only signs of life are answered) or `none`."""
        if len(self.held) >= self.limits.most and self.waiting:
            first = next(iter(self.waiting))
            first.give_up("its place was needed")
        if len(self.held) >= self.limits.most + self.limits.spare:
            self.tell("closed at once: every place is taken")
            return "none"
        kind = "served" if len(self.held) < self.limits.most else "probe"
        self.held.add(connection)
        return kind

    def leave(self, connection: Connection) -> None:
        """The place is free again."""
        self.held.discard(connection)
        self.waiting.pop(connection, None)

    def tell(self, why: str) -> None:
        """Log that connections were ended, and why: once a minute, with their numbers."""
        self.ended[why] = self.ended.get(why, 0) + 1
        now = time.monotonic()
        if self.said_at is not None and now - self.said_at < 60.0:
            return
        ended, self.ended, self.said_at = self.ended, {}, now
        get_logger().warning("web.connections_ended", ended=ended, open=len(self.held))


class OneFraming(h11.Connection):
    """Refuses a request whose end could be read in two ways: a proxy before us may have read it in the other one."""

    def next_event(self) -> Any:
        """The next event. Raises RemoteProtocolError for more than one length, or a length next to an encoding."""
        at_a_head = self.their_state is h11.IDLE
        before = self.trailing_data[0] if at_a_head else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            _refuse_two_framings(event, before[: len(before) - len(self.trailing_data[0])])
        return event


def _refuse_two_framings(request: h11.Request, head: bytes) -> None:
    names = [line.partition(b":")[0].strip().lower() for line in head.split(b"\n")[1:]]
    lengths = [value for name, value in request.headers if name == b"content-length"]
    encoded = any(name == b"transfer-encoding" for name, _value in request.headers)
    if encoded and (lengths or request.http_version < b"1.1"):
        raise h11.RemoteProtocolError("Transfer-Encoding next to Content-Length, or in HTTP/1.0")
    if names.count(b"content-length") > 1 or any(b"," in line for line in _lines(head, b"content-length")):
        raise h11.RemoteProtocolError("more than one Content-Length")


def _lines(head: bytes, name: bytes) -> Iterable[bytes]:
    return (line for line in head.split(b"\n")[1:] if line.partition(b":")[0].strip().lower() == name)


class Connection(H11Protocol):
    """One connection, with clocks. `places`: those of the whole process."""

    places: Places

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = OneFraming(h11.SERVER, config.h11_max_incomplete_event_size or 16 * 1024)
        self._limits = self.places.limits
        self._clock: asyncio.TimerHandle | None = None
        self._clock_of: str | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._refused = False

    # ------------------------------------------------------------------ places

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or end it."""
        self.transport = transport
        place = self.places.take(self)
        if place == "none":
            self._refused = True
            transport.abort()
            return
        if place == "probe":
            self.app = _only_probes(self.app)
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_clock()
        self._stop_reading_clock()
        self.places.leave(self)
        if not self._refused:
            super().connection_lost(exc)

    def give_up(self, why: str) -> None:
        """End it at once."""
        self.places.tell(why)
        self.places.leave(self)
        self.transport.abort()

    # ------------------------------------------------------------------ clocks

    def handle_events(self) -> None:
        """What was received; then the clock of what is to come."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """The answer is out: the next head may come."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """One clock at a time. It is not set back by a byte: it is for the whole head, or the whole body."""
        state = self.conn.their_state
        waits = state is h11.IDLE
        if waits and self not in self.places.waiting and self in self.places.held:
            self.places.waiting[self] = None
        elif not waits:
            self.places.waiting.pop(self, None)
        part = self._awaited(state)
        if part == self._clock_of:
            return
        self._stop_clock()
        if part is not None and not self.transport.is_closing():
            seconds = self._limits.head if part == "head" else self._limits.body
            self._clock, self._clock_of = self.loop.call_later(seconds, self._too_late, part), part

    def _awaited(self, state: Any) -> str | None:
        """What is on its way. Between two requests the server's own clock runs, until the first byte of the next."""
        if state is h11.SEND_BODY:
            return "body"
        if state is h11.IDLE and self.timeout_keep_alive_task is None:
            return "head"
        return None

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = self._clock_of = None

    def _too_late(self, part: str) -> None:
        self._clock = self._clock_of = None
        if self.transport.is_closing():
            return
        self.places.tell(f"the {part} of a request took too long")
        seconds = self._limits.head if part == "head" else self._limits.body
        self._answer(
            HTTPStatus.REQUEST_TIMEOUT,
            "request_too_slow",
            f"The {part} of the request did not arrive within {seconds:g} seconds.",
            "Send the request again, whole.",
        )

    def pause_writing(self) -> None:
        """The caller does not read."""
        super().pause_writing()
        self._stop_reading_clock()
        self._unread = self.loop.call_later(self._limits.reading, self.give_up, "the answer was not read")

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._stop_reading_clock()
        super().resume_writing()

    def _stop_reading_clock(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # ------------------------------------------------------------------ refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request that can be read in one way only, and end the connection."""
        self._answer(
            HTTPStatus.BAD_REQUEST,
            "bad_request",
            f"{msg} It is no HTTP request, or its end could be read in two ways.",
            "Send HTTP/1.1 with at most one Content-Length, and none next to Transfer-Encoding.",
        )

    def _answer(self, status: HTTPStatus, code: str, detail: str, hint: str) -> None:
        """The last answer of this connection, if none was begun."""
        self._stop_clock()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = orjson.dumps(_problem(status, code, detail, hint))
            headers = [
                ("content-type", "application/problem+json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # whoever still reads the body is told that there is no more
            cycle.message_event.set()
        self.transport.close()


def _problem(status: HTTPStatus, code: str, detail: str, hint: str) -> Mapping[str, object]:
    return {
        "type": f"urn:plant3d-sync:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "hint": hint,
        "did_not_happen": "Nothing was done.",
        "errors": [],
    }


def _only_probes(app: ASGIApp) -> ASGIApp:
    """The application for a caller beyond the bound."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await app(scope, receive, send)
            return
        body = orjson.dumps(
            _problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too_many_connections",
                "The service has as many connections as it takes.",
                "Wait as long as Retry-After says, and keep fewer connections open.",
            )
        )
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"5"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def server_config(web: Callable[..., Any], limits: Limits | None = None) -> uvicorn.Config:
    """The web server's configuration: our protocol, one place list, and no header of a proxy believed by itself."""
    chosen = (limits or Limits()).within_open_files()
    protocol = type("LimitedConnection", (Connection,), {"places": Places(chosen)})
    return uvicorn.Config(
        web,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `create_app` believes those that are configured
        timeout_keep_alive=chosen.idle,
        timeout_graceful_shutdown=10,
        backlog=ACCEPTED_AT_ONCE,
        lifespan="auto",
    )


def trusted_proxies(text: str) -> list[str]:
    """The addresses whose X-Forwarded-* is believed. Raises ConfigError `settings_invalid` for what is no address."""
    found: list[str] = []
    for word in (one.strip() for one in text.split(",")):
        if not word:
            continue
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError as error:
            raise ConfigError(
                f"P3DSYNC_TRUSTED_PROXIES holds what is no address: {said(word)}. Nothing was started.",
                hint="List addresses or networks: 10.0.0.7,172.18.0.0/16,127.0.0.1. A name is not believed: it may be "
                "given to somebody else.",
                code="settings_invalid",
            ) from error
        if network.prefixlen == 0:
            raise ConfigError(
                f"P3DSYNC_TRUSTED_PROXIES would believe everybody: {said(word)}. Nothing was started.",
                hint="Name the proxy's own address or network.",
                code="settings_invalid",
            )
        found.append(str(network.network_address) if network.num_addresses == 1 else str(network))
    return found
