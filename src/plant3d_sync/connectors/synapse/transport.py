"""A transport whose calls end at a deadline, even if the other side sends one byte a second.

The timeouts of httpx2 count from byte to byte; a slow or hostile peer can hold a call forever this way. Here every
read and write of the connection gets at most the time that is left of the call. Nor does it hold a run that is
to end: waiting is cut into pieces, and between two of them the run's clock is looked at.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

from plant3d_sync import patience

PIECE = 16_384
"""Bytes written at once: as many as a socket that takes anything at all takes without waiting."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


def tls_for(url: str, ca_file: str | None) -> ssl.SSLContext | None:
    """What certificates of this address are checked by; None without https. `ca_file`: PEM, instead of the system's."""
    if not url.startswith("https:"):
        return None
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return httpx2.create_ssl_context(trust_env=False)


class Deadline(threading.local):
    """When the call of this thread must be over, on the monotonic clock; None between calls."""

    until: float | None = None

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic

    def left(self, timeout: float | None) -> float | None:
        """The smaller of `timeout` and the time left, in seconds. Raises httpcore2.ReadTimeout when it is over."""
        if self.until is None:
            return timeout
        left = self.until - self._monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("deadline of the call")
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore2.NetworkStream):
    """A connection that watches the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline.left(timeout)
        while True:
            patience.look(patience.GRACE)
            step = patience.STEP if left is None else min(patience.STEP, left)
            try:
                return self._inner.read(max_bytes, step)
            except httpcore2.ReadTimeout:
                if left is not None:
                    left -= step
                    if left <= 0:
                        raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            left = self._deadline.left(timeout)
            self._wait_until_writable(left)
            self._inner.write(buffer[start : start + PIECE], left)

    def _wait_until_writable(self, left: float | None) -> None:
        connection = self._inner.get_extra_info("socket")
        poll = getattr(select, "poll", None)
        if connection is None or poll is None:  # Windows: the timeout of the call ends it
            return
        ready = poll()
        ready.register(connection, select.POLLOUT)
        while not ready.poll(patience.STEP * 1000):
            patience.look(patience.GRACE)
            if left is not None:
                left -= patience.STEP
                if left <= 0:
                    raise httpcore2.WriteTimeout("the peer takes nothing")

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Opens connections that watch the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._inner = httpcore2.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(timeout)

        def connect() -> httpcore2.NetworkStream:
            return self._inner.connect_tcp(host, port, left, local_address, socket_options)

        return _Stream(_elsewhere(connect), self._deadline)


def _elsewhere(connect: Callable[[], httpcore2.NetworkStream]) -> httpcore2.NetworkStream:
    """Connect in a thread that can be left behind: neither the look-up of a name nor a connect can be interrupted."""
    made: Future[httpcore2.NetworkStream] = Future()

    def work() -> None:
        try:
            made.set_result(connect())
        except (httpcore2.TimeoutException, httpcore2.NetworkError, OSError, ValueError) as error:
            made.set_exception(error)
        finally:
            made.cancel()  # whatever else happened, nobody waits without end

    threading.Thread(target=work, name="connect", daemon=True).start()
    while True:
        try:
            return made.result(patience.STEP)
        except FutureTimeout:
            if made.done():
                raise
        try:
            patience.look()
        except Exception:
            made.add_done_callback(_close)
            raise


def _close(late: Future[httpcore2.NetworkStream]) -> None:
    if late.exception() is None:
        late.result().close()


@contextmanager
def _translated() -> Iterator[None]:
    """httpcore2's errors as httpx2's errors of the same name."""
    try:
        yield
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        kind: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise kind(str(error)) from error


class _Body(httpx2.SyncByteStream):
    def __init__(self, inner: Iterable[bytes]) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._inner

    def close(self) -> None:
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


class DeadlineTransport(httpx2.BaseTransport):
    """HTTP/1.1 without proxies, redirects or environment; certificates are always verified.

    Connections rest at most 4 seconds: less than uvicorn's 5, so that a resting one is not closed under us.
    """

    def __init__(self, deadline: Deadline, tls: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls, max_connections=4, keepalive_expiry=4.0, network_backend=_Backend(deadline)
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request and hand back the answer, its body unread."""
        with _translated():
            answer = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        if not isinstance(answer.stream, Iterable):
            raise httpx2.TransportError("an answer without a readable body")
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Give connections back."""
        self._pool.close()
