"""The web service under bad company: callers who never end a request, never read, or mean two things at once."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from plant3d_sync import logs
from plant3d_sync.errors import ConfigError
from plant3d_sync.web import create_app
from plant3d_sync.web.connections import Limits, server_config, trusted_proxies
from tests.support.jobs import wait_until
from tests.support.webapp import configured, desk

HANG = 30.0
"""Seconds after which a test says that a connection was left open."""

QUICK = Limits(head=0.3, body=0.3, reading=0.3, idle=1)
LONG = Limits()


@dataclass(frozen=True)
class Running:
    """A web server of this process, with an application that says what it was asked."""

    port: int
    server: uvicorn.Server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANG)

    def said_to(self, *pieces: bytes) -> bytes:
        """Everything that is answered until the connection is ended from there."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_to_end(connection)

    @property
    def open(self) -> int:
        return len(self.server.server_state.connections)


def read_to_end(connection: socket.socket) -> bytes:
    told = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            told += piece
    return told


async def _livez(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("alive")


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def _much(_request: Request) -> StreamingResponse:
    async def pieces() -> Any:
        for _ in range(2000):
            yield b"x" * 65536

    return StreamingResponse(pieces())


@contextmanager
def serving(limits: Limits) -> Iterator[Running]:
    app = Starlette(
        routes=[
            Route("/livez", _livez),
            Route("/echo", _echo, methods=["GET", "POST"]),
            Route("/much", _much),
        ]
    )
    with application(app, limits) as running:
        yield running


@contextmanager
def application(app: Any, limits: Limits) -> Iterator[Running]:
    server = uvicorn.Server(server_config(app, limits))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started, what="connections")
        try:
            yield Running(listening.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(HANG)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def quick() -> Iterator[Running]:
    with serving(QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def patient() -> Iterator[Running]:
    with serving(LONG) as running:
        yield running


HALF = {
    "nothing": b"",
    "half a line": b"GET /liv",
    "a head without its end": b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Pad: ",
    "a body that does not come": b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nfew",
    "a chunk that does not come": b"POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF.keys())
def test_a_request_that_does_not_end_is_answered_408_and_its_connection_closed(
    quick: Running, sent: bytes
) -> None:
    told = quick.said_to(sent)
    assert told.rpartition(b"HTTP/1.1 ")[2].startswith(b"408 "), told
    assert json.loads(told.rpartition(b"\r\n\r\n")[2])["code"] == "request_too_slow"
    wait_until(lambda: quick.open == 0, what="connections")


def test_a_second_request_that_does_not_end_is_closed_too(quick: Running) -> None:
    told = quick.said_to(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\nGET /li")
    assert told.endswith(b"alive")
    with quick.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /li")
        assert b"408 Request Timeout" in read_to_end(connection)


def test_a_byte_now_and_then_does_not_put_the_end_off(quick: Running) -> None:
    with quick.connect() as connection:
        sent = 0
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /livez HTTP/1.1\r\nX-Slow: " + b"a" * 5000:
                connection.sendall(bytes([byte]))
                sent += 1
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if connection.recv(1000):
                        break
        assert sent < 1000


def test_a_caller_who_does_not_read_loses_the_connection(quick: Running) -> None:
    with quick.connect() as connection:
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: here\r\n\r\n")
        wait_until(lambda: quick.open == 1, what="connections")
        wait_until(lambda: quick.open == 0, what="connections")


def test_a_connection_without_a_further_request_is_closed_and_a_further_one_is_served(quick: Running) -> None:
    asked = http.client.HTTPConnection("127.0.0.1", quick.port, timeout=HANG)
    for _ in range(3):
        asked.request("POST", "/echo", body=b"12345")
        assert asked.getresponse().read() == b"5 bytes"
    wait_until(lambda: quick.open == 0, what="connections")


TWO_ENDS = {
    "a length beside an encoding": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "an encoding beside a length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 30\r\n",
    "two equal lengths": b"Content-Length: 4\r\nContent-Length: 4\r\n",
    "two lengths in one line": b"Content-Length: 4, 4\r\n",
    "two lengths in another case": b"Content-Length: 4\r\ncontent-length: 4\r\n",
    "a signed length": b"Content-Length: +4\r\n",
    "a length in hexadecimal": b"Content-Length: 0x4\r\n",
    "a space before the colon": b"Content-Length : 4\r\n",
    "an unknown encoding": b"Transfer-Encoding: identity\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a disguised encoding": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 4\r\n",
}


@pytest.mark.parametrize("framing", TWO_ENDS.values(), ids=TWO_ENDS.keys())
def test_a_body_whose_end_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    patient: Running, framing: bytes
) -> None:
    smuggled = b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: here\r\n\r\n"
    told = patient.said_to(b"POST /echo HTTP/1.1\r\nHost: here\r\n" + framing + b"\r\n" + smuggled)
    assert told.startswith(b"HTTP/1.1 400 "), told
    assert told.count(b"\r\n\r\n") == 1
    assert b"connection: close" in told.lower()
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


def test_an_encoding_in_http_1_0_is_refused_too(patient: Running) -> None:
    told = patient.said_to(b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400 ")


def test_each_of_the_two_framings_alone_is_served(patient: Running) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
    assert patient.said_to(head + b"Content-Length: 4\r\n\r\nfour").endswith(b"4 bytes")
    assert patient.said_to(head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n").endswith(
        b"4 bytes"
    )


# ---------------------------------------------------------------- places


def whole(connection: socket.socket, path: bytes = b"/livez") -> bytes:
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    return read_to_end(connection)


def test_half_requests_keep_no_whole_one_out(patient: Running) -> None:
    with serving(Limits(most=20, spare=5)) as small, contextlib.ExitStack() as kept:
        for _ in range(60):
            half = kept.enter_context(small.connect())
            half.sendall(b"GET /livez HTTP/1.1\r\n")
        with small.connect() as connection:
            assert whole(connection, b"/echo").endswith(b"0 bytes")
        assert small.open <= 25


def test_beyond_the_bound_signs_of_life_are_answered_and_the_rest_is_told_to_wait() -> None:
    with serving(Limits(most=3, spare=2)) as small, contextlib.ExitStack() as kept:
        for _ in range(3):
            busy = kept.enter_context(small.connect())
            busy.sendall(b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nf")
        wait_until(lambda: small.open == 3 and not places(small).waiting, what="connections")
        with small.connect() as connection:
            told = whole(connection, b"/echo")
        assert told.startswith(b"HTTP/1.1 503 ") and b"retry-after: 5" in told
        with small.connect() as connection:
            assert whole(connection).endswith(b"alive")


def test_beyond_the_last_place_a_connection_is_closed_at_once() -> None:
    with serving(Limits(most=2, spare=1)) as small, contextlib.ExitStack() as kept:
        for taken in (1, 2, 3):
            busy = kept.enter_context(small.connect())
            busy.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nf")
            wait_until(
                lambda taken=taken: small.open == taken and not places(small).waiting,  # type: ignore[misc]
                what="a connection that holds its place",
            )
        with small.connect() as connection:
            assert read_to_end(connection) == b""


def places(running: Running) -> Any:
    return running.server.config.http_protocol_class.places  # type: ignore[union-attr]


def test_what_ends_connections_is_told_once_with_its_number(
    patient: Running, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    kept = logging.getLogger().handlers
    logs.configure(stream=stream)
    try:
        with serving(Limits(head=0.05)) as running:
            for _ in range(30):
                running.said_to(b"GET /x")
            for _ in range(30):
                running.said_to(b"\x00\x00\r\n\r\n")
    finally:
        logging.getLogger().handlers = kept
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len([line for line in lines if line["event"] == "web.connections_ended"]) == 1


# ---------------------------------------------------------------- who is calling


def test_the_word_of_a_proxy_counts_only_if_it_is_configured_and_loopback_is_not_by_itself(
    tmp_path: Path,
) -> None:
    for trusted, seen in (("", "127.0.0.1"), ("127.0.0.1", "9.9.9.9"), ("10.0.0.0/8", "127.0.0.1")):
        app = configured(tmp_path, P3DSYNC_TRUSTED_PROXIES=trusted)
        web = create_app(app)
        told: list[str] = []

        @web.middleware("http")
        async def note(request: Request, go_on: Any, told: list[str] = told) -> Any:
            told.append(request.client.host if request.client else "?")
            return await go_on(request)

        # what was added last stands outside: put it within the proxy's layer again
        web.user_middleware.append(web.user_middleware.pop(0))
        with TestClient(web, client=("127.0.0.1", 5)) as client:
            client.get("/livez", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"})
        assert told == [seen], trusted
        app.state.close()


@pytest.mark.parametrize("word", ["*", "proxy.example", "0.0.0.0/0", "::/0", "10.0.0.7:80"])
def test_a_proxy_is_named_by_its_address_and_not_everybody_is_one(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trusted_proxies(word)
    assert caught.value.error_code == "settings_invalid" and "P3DSYNC_TRUSTED_PROXIES" in caught.value.message
    with pytest.raises(ConfigError):
        create_app(configured(tmp_path, P3DSYNC_TRUSTED_PROXIES=word))


@pytest.mark.parametrize("path", ["/health", "/api/v1/projects", "/metrics", "/nothing/here"])
def test_wrong_keys_are_limited_on_every_path_that_looks_at_them(tmp_path: Path, path: str) -> None:
    with desk(tmp_path) as service:
        answers = [service.client.get(path, headers={"X-API-Key": f"p3s_{n:012}_x"}) for n in range(80)]
        assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) > 0
        assert sum(answer.status_code == 429 for answer in answers) >= 20
        assert service.client.get("/health").status_code == 200
        assert service.get("/health").json()["projects"] is not None


def test_a_body_that_ends_in_the_middle_is_no_fault_of_the_service(tmp_path: Path) -> None:
    """Whoever goes away leaves no traceback in the log of the real application."""
    stream = io.StringIO()
    with desk(tmp_path) as service:
        key = service.key()
        kept = logging.getLogger().handlers
        logs.configure(stream=stream)
        try:
            with application(service.web, QUICK) as running:
                head = f"POST /api/v1/sync/pull HTTP/1.1\r\nHost: here\r\nX-API-Key: {key}\r\n".encode()
                told = running.said_to(
                    head + b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
                )
                assert b"HTTP/1.1 408 " in told
                with running.connect() as gone:
                    gone.sendall(head + b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{")
                wait_until(lambda: not running.server.server_state.tasks, what="the end of the requests")
        finally:
            logging.getLogger().handlers = kept
    assert "Traceback" not in stream.getvalue()
