"""A machine starts everything at once: a process waits for a state database that is not ready yet."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.state.store import UPGRADE_LOCK
from plant3d_sync.worker.process import Stop, wait_for_state
from tests.support import postgres
from tests.support.jobs import wait_until

COMMANDS = {
    "web": ["plant3d_sync", "serve", "--port", "0"],
    "worker": ["plant3d_sync.worker"],
    "scheduler": ["plant3d_sync", "scheduler"],
}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as uri:
        yield uri


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def start(name: str, url: str, folder: Path) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("P3DSYNC_", "PLANT3D_"))}
    settings = {
        "STATE_DB_URL": url,
        "LOG_FORMAT": "json",
        "SYNAPSE_PROJECT_ID": "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11",
    }
    return subprocess.Popen(
        [sys.executable, "-m", *COMMANDS[name]],
        cwd=folder,
        env={**kept, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The log line of this event. Fails with all that was said if the process ends before."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("event") == event:
                return entry
    raise AssertionError(f"ended with {process.wait()} without {event}: " + "".join(said))


def end(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    return process.returncode


class Relay:
    """A port that answers for a PostgreSQL server, wherever that listens."""

    def __init__(self, port: int, uri: str) -> None:
        url = make_url(uri)
        host = str(url.query.get("host", url.host))
        self._unix = (
            f"{host}/.s.PGSQL.{url.port or url.query.get('port', 5432)}" if host.startswith("/") else None
        )
        self._target = (host, url.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                if self._unix:
                    there = socket.socket(socket.AF_UNIX)
                    there.connect(self._unix)
                else:
                    there = socket.create_connection(self._target)
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listening.close()


@POSIX
@pytest.mark.parametrize(
    "name", [name if name == "worker" else pytest.param(name, marks=pytest.mark.long) for name in COMMANDS]
)
def test_a_process_that_comes_before_its_database_waits_and_then_works(
    name: str, server: str, tmp_path: Path
) -> None:
    port = closed_port()
    with postgres.empty_database(server) as url:
        through = make_url(url).set(host="127.0.0.1", port=port, query={})
        process = start(name, through.render_as_string(hide_password=False), tmp_path)
        relay = None
        try:
            said = read_until(process, "state.waiting")
            assert said["code"] == "state_unavailable"
            assert "again_in" in said
            relay = Relay(port, server)
            read_until(process, f"{name}.started")
            assert end(process) == 0
        finally:
            process.kill()
            process.communicate()
            if relay is not None:
                relay.close()


@POSIX
@pytest.mark.parametrize(
    "name", [name if name == "worker" else pytest.param(name, marks=pytest.mark.long) for name in COMMANDS]
)
def test_a_process_that_waits_ends_when_asked(name: str, tmp_path: Path) -> None:
    process = start(name, f"postgresql://someone:pw@127.0.0.1:{closed_port()}/state", tmp_path)
    try:
        read_until(process, "state.waiting")
        assert end(process) == 0
    finally:
        process.kill()
        process.communicate()


def test_an_empty_database_is_set_up_by_one_of_those_that_start_together(server: str, tmp_path: Path) -> None:
    """The others wait for it; before, they ended with `duplicate key value violates unique constraint`."""
    with postgres.empty_database(server) as url, sa.create_engine(url).connect() as watching:
        watching.execute(sa.select(sa.func.pg_advisory_lock(UPGRADE_LOCK)))
        processes = [start("scheduler", url, tmp_path) for _ in range(2)]
        try:
            waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            wait_until(lambda: watching.execute(waiting).scalar() == 2, what="both wait")
            watching.execute(sa.select(sa.func.pg_advisory_unlock(UPGRADE_LOCK)))
            for process in processes:
                read_until(process, "scheduler.started")
                assert end(process) == 0
        finally:
            for process in processes:
                process.kill()
                process.communicate()


class Impatient(Stop):
    """Counts the seconds that somebody would have waited."""

    waited = 0.0

    def wait(self, seconds: float) -> bool:
        self.waited += seconds
        return self.is_set()


def test_waiting_has_an_end_that_tells_what_stood_in_the_way() -> None:
    def away() -> None:
        raise RetryLaterError("The state database cannot be used now.", code="state_unavailable")

    stop = Impatient()
    with pytest.raises(RetryLaterError, match="cannot be used now"):
        wait_for_state(away, stop, patience=100)
    assert 80 < stop.waited <= 100


def test_what_does_not_pass_by_itself_is_not_waited_for() -> None:
    def wrong() -> None:
        raise ConfigError("The password is wrong.", code="state_refused")

    stop = Impatient()
    with pytest.raises(ConfigError):
        wait_for_state(wrong, stop)
    assert stop.waited == 0
