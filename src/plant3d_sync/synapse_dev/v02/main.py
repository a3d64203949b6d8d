"""Starts the double of 0.2: one process, one ready line on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import sys
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from plant3d_sync.errors import ConfigError
from plant3d_sync.synapse_dev.main import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    SHUTDOWN_SECONDS,
    open_socket,
    signals_end_quietly,
)
from plant3d_sync.synapse_dev.server import uuid_text
from plant3d_sync.synapse_dev.v02.app import Backend, Double
from plant3d_sync.synapse_dev.v02.traps import Traps

DEFAULT_USER: Final = "sync@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A double whose socket accepts connections already; `serve` starts answering them."""

    url: str
    user: str
    password: str
    project: str
    backend: Backend
    double: Double
    runner: uvicorn.Server
    socket: socket.socket

    def line(self) -> str:
        """What a client needs to know, as one line of JSON."""
        return json.dumps(
            {"url": self.url, "user": self.user, "password": self.password, "projects": [self.project]}
        )

    def serve(self) -> None:
        """Answer until `stop` or a signal."""
        try:
            self.runner.run(sockets=[self.socket])
        finally:
            self.socket.close()

    def stop(self) -> None:
        """End `serve` after the requests under way; callable from any thread."""
        self.runner.should_exit = True


def listen(
    *,
    host: str = DEFAULT_HOST,
    port: int = 0,
    project: str | None = None,
    user: str = DEFAULT_USER,
    password: str | None = None,
    traps: Traps | None = None,
) -> Running:
    """A 0.2 with one user and one project, and a socket that listens. Raises ConfigError."""
    wanted = None if project is None else uuid_text(project)
    if project is not None and wanted is None:
        raise ConfigError(
            "--project is not a UUID. The server was not started.",
            hint="Give a UUID such as 0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11, or leave it out.",
            code="synapse_dev_project",
        )
    backend = Backend(traps)
    word = password or secrets.token_urlsafe(12)
    backend.add_user(user, word)
    made = backend.add_project(wanted)
    transports: dict[tuple[str, int], asyncio.Transport] = {}

    class Protocol(H11Protocol):
        """Keeps its connections where the double can cut them."""

        def connection_made(self, transport: Any) -> None:
            peer = transport.get_extra_info("peername")
            transports[peer[0], peer[1]] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            peer = self.transport.get_extra_info("peername")
            transports.pop((peer[0], peer[1]), None)
            super().connection_lost(exc)

    def hang_up(client: tuple[str, int]) -> None:
        transport = transports.get((client[0], client[1]))
        if transport is not None:
            transport.close()

    double = Double(backend, hang_up)
    listener = open_socket(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        double,
        http=Protocol,
        log_level="critical",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
    )
    return Running(
        url=url,
        user=user,
        password=word,
        project=made,
        backend=backend,
        double=double,
        runner=uvicorn.Server(config),
        socket=listener,
    )


def run(*, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, project: str | None = None) -> None:
    """Serve until SIGTERM or SIGINT; everything is forgotten at exit. Raises `ConfigError` before anything listens."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    running = listen(host=host, port=port, project=project)
    print(running.line(), flush=True)
    with signals_end_quietly():
        running.serve()
