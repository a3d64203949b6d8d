"""An HTTP server that does what a test tells it, and a TCP proxy that loses, repeats and breaks what passes.

Standard library only. `ScriptedServer` answers from a list of steps, one a request, then from its `app`; every
request is kept. `FaultProxy` stands before any server; each connection to it meets the next fault.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import orjson

Fault = Literal["none", "lose_reply", "twice", "cut_reply", "reset_reply", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        value: dict[str, object] = orjson.loads(self.body)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `cut`: close after so many bytes of the body. `reset`: with RST instead of FIN.

    `drip`: seconds before each byte, head included. `announce`: whether a Content-Length is sent.
    `endless`: after the body, so many more bytes of blanks. `silent`: close without a byte.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    cut: int | None = None
    reset: bool = False
    drip: float | None = None
    endless: int = 0
    silent: bool = False
    announce: bool = True


def json_answer(value: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names with `_` for `-`."""
    return Answer(
        status=status,
        body=orjson.dumps(value),
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


def problem(status: int, kind: str, detail: str = "no", **headers: str) -> Answer:
    """A refusal as the contract words it."""
    return json_answer({"type": kind, "detail": detail, "request_id": "r-1"}, status, **headers)


Step = Answer | Callable[[Seen], Answer]


class ScriptedServer:
    """Answers each request by the next step, and by `app` when the steps are used up. Use as a context."""

    def __init__(self, app: Callable[[Seen], Answer] | None = None) -> None:
        self.app = app or (lambda seen: problem(404, "not_found"))
        self.steps: list[Step] = []
        self.seen: list[Seen] = []
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        _unblock(self.port)
        self._thread.join()

    def _accept(self) -> None:
        for connection in _connections(self._socket, self._closing):
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            seen = read_request(connection)
            if seen is None:
                return
            self.seen.append(seen)
            step = self.steps.pop(0) if self.steps else self.app
            self._send(connection, step if isinstance(step, Answer) else step(seen))

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        if answer.silent:
            return _hang_up(connection, answer.reset)
        head = [f"HTTP/1.1 {answer.status} X", f"Content-Type: {answer.kind}", "Connection: close"]
        if answer.announce:
            head.append(f"Content-Length: {len(answer.body) + answer.endless}")
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        raw = ("\r\n".join(head) + "\r\n\r\n").encode()
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        if answer.drip is not None:
            for byte in raw + body:
                if self._closing.wait(answer.drip):
                    return None
                connection.sendall(bytes([byte]))
        else:
            connection.sendall(raw + body)
        for _ in range(answer.endless // 65536):
            connection.sendall(b" " * 65536)
        return _hang_up(connection, answer.reset)


class FaultProxy:
    """Passes HTTP on to another port; each connection meets the next of `faults`, then none.

    `lose_reply`: the server's answer is read whole and thrown away. `twice`: the request is delivered twice and
    the second answer passed on. `cut_reply`, `reset_reply`: half of the answer. `refuse`: nothing gets through.
    `delivered` counts the requests the server really got.
    """

    def __init__(self, port: int, faults: list[Fault] | None = None) -> None:
        self.faults: list[Fault] = list(faults or [])
        self.delivered = 0
        self._target = port
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        _unblock(self.port)
        self._thread.join()

    def _accept(self) -> None:
        for connection in _connections(self._socket, self._closing):
            fault = self.faults.pop(0) if self.faults else "none"
            threading.Thread(target=self._pass_on, args=(connection, fault), daemon=True).start()

    def _pass_on(self, connection: socket.socket, fault: Fault) -> None:
        with connection, contextlib.suppress(OSError):
            if fault == "refuse":
                return _hang_up(connection, True)
            raw = read_raw_request(connection)
            if raw is None:
                return None
            if fault == "twice":
                self._exchange(raw)
            answer = self._exchange(raw)
            if fault == "lose_reply":
                return _hang_up(connection, True)
            half = fault in ("cut_reply", "reset_reply")
            connection.sendall(answer[: len(answer) - 20] if half else answer)
            return _hang_up(connection, fault == "reset_reply")

    def _exchange(self, raw: bytes) -> bytes:
        """One request to the server on a connection of its own, and its whole answer."""
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            self.delivered += 1
            return b"".join(iter(lambda: server.recv(65536), b""))


def read_raw_request(connection: socket.socket) -> bytes | None:
    """A request with its whole body (Content-Length only), or None if the peer went away."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return head + b"\r\n\r\n" + body


def read_request(connection: socket.socket) -> Seen | None:
    """A request, parsed."""
    raw = read_raw_request(connection)
    if raw is None:
        return None
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in rest)}
    return Seen(method=method, target=target, headers=headers, body=body)


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _connections(listener: socket.socket, closing: threading.Event) -> Iterator[socket.socket]:
    with listener:
        while True:
            connection, _ = listener.accept()
            if closing.is_set():
                connection.close()
                return
            yield connection


def _unblock(port: int) -> None:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()


def _hang_up(connection: socket.socket, reset: bool) -> None:
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
