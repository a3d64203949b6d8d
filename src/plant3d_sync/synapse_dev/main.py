"""Starts the reference server: one process, one ready line on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import sqlalchemy as sa
import uvicorn

from plant3d_sync.errors import ConfigError
from plant3d_sync.synapse_dev import keys
from plant3d_sync.synapse_dev.app import SYNAPSE_VERSION, create_app
from plant3d_sync.synapse_dev.dev import ensure_project
from plant3d_sync.synapse_dev.ledger import WriteLedger
from plant3d_sync.synapse_dev.server import Server, uuid_text
from plant3d_sync.synapse_dev.store import Store
from plant3d_sync.synapse_dev.tables import projects

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
KEY_VARIABLE = "SYNAPSE_API_KEY"
SHUTDOWN_SECONDS = 10

log = logging.getLogger("plant3d_sync.synapse_dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a client needs to know; printed as one JSON line."""

    url: str
    api_key: str
    projects: tuple[str, ...]

    def line(self) -> str:
        return json.dumps({"url": self.url, "api_key": self.api_key, "projects": list(self.projects)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A migrated server whose socket already accepts connections; `runner.run` starts answering them."""

    ready: Ready
    server: Server
    runner: uvicorn.Server
    socket: socket.socket

    def serve(self) -> None:
        """Answer until `stop` or a signal, then close the socket and the database."""
        try:
            self.runner.run(sockets=[self.socket])
        finally:
            self.socket.close()
            self.server.store.close()

    def stop(self) -> None:
        """End `serve` after the requests under way; callable from any thread."""
        self.runner.should_exit = True


def run(
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    db: str | None = None,
    api_key: str | None = None,
    project: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; without `db` everything is forgotten at exit.

    The key is `api_key`, else SYNAPSE_API_KEY, else a new one. `project` (a UUID) is created if it is not
    there; without it, an empty database gets one new project. Raises `ConfigError` before anything listens.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    listening = listen(host=host, port=port, db=db, api_key=api_key, project=project)
    print(listening.ready.line(), flush=True)
    with signals_end_quietly():
        listening.serve()


def listen(
    *,
    host: str = DEFAULT_HOST,
    port: int = 0,
    db: str | None = None,
    api_key: str | None = None,
    project: str | None = None,
) -> Listening:
    """Migrate the database, install key and project, and open the socket."""
    ledger = WriteLedger()
    server = Server(
        store=Store(db), ledger=ledger, version=SYNAPSE_VERSION, before_commit=stalling(stall_seconds())
    )
    server.store.migrate()
    key = api_key or os.environ.get(KEY_VARIABLE) or secrets.token_urlsafe(24)
    listed = prepare(server, key, project)
    listener = open_socket(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(server, ledger),
        log_level="warning",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
    )
    ready = Ready(url=url, api_key=key, projects=listed)
    return Listening(ready=ready, server=server, runner=uvicorn.Server(config), socket=listener)


def prepare(server: Server, key: str, project: str | None) -> tuple[str, ...]:
    """Make sure key and project exist; gives the ids of all projects, the asked one first."""
    wanted = None if project is None else uuid_text(project)
    if project is not None and wanted is None:
        raise ConfigError(
            "--project is not a UUID. The server was not started.",
            hint="Give a UUID such as 0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11, or leave it out.",
            code="synapse_dev_project",
        )
    with server.store.writing() as connection:
        keys.install_admin_key(connection, key)
        known = list(
            connection.scalars(sa.select(projects.c.id).order_by(projects.c.created_at, projects.c.id))
        )
        if wanted is None and not known:
            wanted = str(uuid.uuid4())
        if wanted is not None:
            ensure_project(connection, wanted, "default")
    others = [known_id for known_id in known if known_id != wanted]
    return (wanted, *others) if wanted is not None else tuple(others)


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; a taken port or unknown host is a `ConfigError`.

    Made as IPPROTO_TCP by name: asyncio switches off the 40 ms wait of small answers only for such sockets.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return listening_socket(family, kind, address)
    except OSError as error:
        raise ConfigError(
            f"The server cannot listen on {host}:{port} ({error.strerror}). It was not started.",
            hint="Choose another --port (0 takes a free one) or --host.",
            code="synapse_dev_port",
        ) from error


def listening_socket(family: int, kind: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would allow two servers on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def stall_seconds() -> float:
    """P3DSYNC_DEV_STALL_COMMIT, only under P3DSYNC_TEST=1: how long a batch waits before its commit."""
    if os.environ.get("P3DSYNC_TEST") != "1":
        return 0.0
    return float(os.environ.get("P3DSYNC_DEV_STALL_COMMIT") or 0)


def stalling(seconds: float) -> Callable[[], None]:
    """Kill tests only: hold the transaction open, say so on stderr, and let somebody kill the process."""

    def stall() -> None:
        if seconds:
            log.warning("stalling before commit")
            time.sleep(seconds)

    return stall


@contextmanager
def signals_end_quietly() -> Iterator[None]:
    """After a graceful shutdown uvicorn raises the signal once more; here that ends `run`, not the process."""

    def ignore(_signal: int, _frame: FrameType | None) -> None:
        return

    handled = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, ignore) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
