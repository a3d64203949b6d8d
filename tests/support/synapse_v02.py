"""The double of SYNAPSE 0.2: in a thread of the test, or without any socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

import httpx2

from plant3d_sync.synapse_dev.v02.app import BASE, PROXY_PAGE, Ask, Backend, Reply, crash
from plant3d_sync.synapse_dev.v02.main import Running, listen
from plant3d_sync.synapse_dev.v02.traps import Traps

PASSWORD = "open sesame"


@contextmanager
def synapse_v02(traps: Traps | None = None, *, project: str | None = None) -> Iterator[Running]:
    """A 0.2 that answers; its people act through `running.backend`."""
    running = listen(project=project, password=PASSWORD, traps=traps)
    thread = threading.Thread(target=running.serve, name="synapse-0.2")
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(timeout=30)


def logged_in(running: Running, project: str | None = None) -> httpx2.Client:
    """A client that does no more than 0.2 asks for."""
    with httpx2.Client(base_url=running.url, trust_env=False) as client:
        form = {"username": running.user, "password": running.password}
        token = client.post("/api/v1/auth/login", data=form).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "X-Project-ID": project or running.project}
    return httpx2.Client(base_url=running.url + "/api/v1", headers=headers, trust_env=False, timeout=30)


def poison(running: Running, asset_id: str) -> None:
    """As a CSV import does that brings a voltage the API's own rules refuse."""
    running.backend.heap.rows[asset_id]["electrical"] = {"voltage": "690V"}


def repair(running: Running, asset_id: str) -> None:
    """A person puts a poisoned row right."""
    running.backend.heap.rows[asset_id]["electrical"] = {}


class Direct(httpx2.BaseTransport):
    """Calls answered by a backend in the caller's own thread, one at a time, with the harms of its traps.

    `before` and `after` are called with method and path: what other people do just then.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self._turn = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer, or break the connection."""
        path = request.url.path
        short = path.removeprefix(BASE)
        ask = Ask(
            method=request.method,
            path=path,
            query=parse_qs(request.url.query.decode()),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.read(),
        )
        with self._turn:
            harm = self.backend.traps.next_harm(ask.method, short)
            if harm == "cut_before":
                raise httpx2.RemoteProtocolError("cut", request=request)
            if harm == "refuse_503":
                return _response(Reply(status=503, body=PROXY_PAGE, media="text/html"))
            if harm == "failed_500":
                return _response(crash())
            self.backend.calls.append((ask.method, short))
            self.before(ask.method, short)
            reply = self.backend.answer(ask)
            self.after(ask.method, short)
        if harm == "lose_answer":
            raise httpx2.RemoteProtocolError("cut", request=request)
        return _response(crash() if harm == "committed_500" else reply)


def _response(reply: Reply) -> httpx2.Response:
    return httpx2.Response(
        reply.status,
        headers={"content-type": reply.media, **reply.headers},
        stream=httpx2.ByteStream(reply.body),
    )
