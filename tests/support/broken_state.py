"""State databases that fail while a run goes on: a statement, a commit, the room, the connection.

The faults sit at the driver and at the socket, below everything of ours.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.state import State
from tests.support.world import World

Kind = Literal["locked", "full", "gone", "marked"]
MARK = "this transaction is cut"
"""What a marked connection says, for a proxy that listens."""


@dataclass(slots=True)
class Trouble:
    """What goes wrong at the statement number `at` (from 1, commits count too) of this thread.

    `locked`: that statement is refused; with `lasting` every later one too. `full`: from that statement on the
    database cannot grow (SQLite). `gone`: the server ends the connection before that statement (PostgreSQL).
    `marked`: before that statement its connection says `MARK` (PostgreSQL).
    With `meanwhile` nothing goes wrong: it is called before that statement.
    """

    at: int = 0
    kind: Kind = "locked"
    lasting: bool = False
    meanwhile: Callable[[], object] | None = None
    said: list[str] = field(default_factory=list)
    met: bool = False
    thread: int = field(default_factory=threading.get_ident)

    def meets(self, statement: str) -> bool:
        """Count a statement; whether the trouble is there now."""
        if threading.get_ident() != self.thread or statement.startswith("PRAGMA"):
            return False
        self.said.append(statement)
        now = len(self.said) == self.at or (self.lasting and 0 < self.at < len(self.said))
        self.met = self.met or now
        if now and self.meanwhile is not None:
            self.meanwhile()
            return False
        return now


def _sqlite(trouble: Trouble) -> type[sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *given: Any) -> Any:
            self._before(sql)
            return super().execute(sql, *given)

        def executemany(self, sql: str, *given: Any) -> Any:
            self._before(sql)
            return super().executemany(sql, *given)

        def _before(self, sql: str) -> None:
            if not trouble.meets(sql):
                return
            if trouble.kind == "locked":
                raise sqlite3.OperationalError("database is locked")
            limit(self.connection)

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

        def execute(self, sql: str, *given: Any) -> Any:
            return self.cursor().execute(sql, *given)

    def limit(connection: sqlite3.Connection) -> None:
        """Not one page more: what SQLite does on a full disk."""
        plain = sqlite3.Cursor(connection)
        (pages,) = plain.execute("PRAGMA page_count").fetchone()
        plain.execute(f"PRAGMA max_page_count={pages}")

    return Connection


def _postgresql(trouble: Trouble) -> type[psycopg.Connection[Any]]:
    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *given: Any, **more: Any) -> Any:
            cut(self.connection, str(query))
            return super().execute(query, *given, **more)

        def executemany(self, query: Any, *given: Any, **more: Any) -> Any:
            cut(self.connection, str(query))
            return super().executemany(query, *given, **more)

    class Connection(psycopg.Connection[Any]):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            self.cursor_factory = Cursor

        def commit(self) -> None:
            cut(self, "COMMIT")
            super().commit()

    def cut(connection: Any, statement: str) -> None:
        if trouble.meets(statement):
            if trouble.kind == "marked":
                psycopg.Cursor(connection).execute(f"SELECT '{MARK}'")
                return
            info = connection.info
            with psycopg.connect(
                host=info.host, port=info.port, user=info.user, password=info.password, dbname="postgres"
            ) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (info.backend_pid,))

    return Connection


def troubled(state: State, trouble: Trouble) -> None:
    """Let every connection of this state meet the trouble."""

    if state.dialect == "postgresql":  # the first one that connects counts, and that is to be ours
        state.engine.dialect.dispatch.do_connect.clear()

    @sa.event.listens_for(state.engine, "do_connect")
    def connect(_dialect: Any, _record: Any, given: Any, options: dict[str, Any]) -> Any:
        if state.dialect == "sqlite":
            options["factory"] = _sqlite(trouble)
            return None
        return _postgresql(trouble).connect(*given, **options)


@contextmanager
def in_trouble(world: World, trouble: Trouble) -> Iterator[App]:
    """The program of this world, whose state database has this trouble. The schema is looked at first, as always."""
    app = make_app(world.config, world.environment({}))
    state = State(app.state_url)
    troubled(state, trouble)
    app.__dict__["state"] = state
    try:
        yield app
    finally:
        state.close()


# ---------------------------------------------------------------- a proxy before PostgreSQL

When = Literal["before", "half", "after"]


class CommitProxy:
    """Passes PostgreSQL's protocol on, and cuts the connection at a COMMIT (`cut_transaction`, `cut`).

    `before`: the COMMIT never reaches the server. `half`: half of the message does. `after`: the server has done
    it, and its answer never comes. Use as a context; `commits` counts those that were asked for.
    """

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self.when: When = "before"
        self._mark: bytes | None = None
        self.at = 0
        self.commits = 0
        self.cuts = 0
        self._closing = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        proxied = self._target.set(
            drivername="postgresql+psycopg", host="127.0.0.1", port=self.port, query=plain
        )
        self.url = proxied.render_as_string(hide_password=False)

    def cut_transaction(self, mark: str, when: When) -> None:
        """Count anew; the first commit of a transaction with such a statement is cut, whatever other threads commit."""
        self.commits, self.cuts, self.when, self.at, self._mark = 0, 0, when, 0, mark.encode()

    def cut(self, at: int, when: When) -> None:
        """Count anew; the commit with this number is cut, none for 0. For one thread: of several, any may be met."""
        self.commits, self.cuts, self.when, self.at, self._mark = 0, 0, when, at, None

    def __enter__(self) -> CommitProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._socket.accept()
            if self._closing:
                client.close()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        folder = self._target.query.get("host")
        if self._target.host or not isinstance(folder, str):
            return socket.create_connection((self._target.host or "127.0.0.1", self._target.port or 5432))
        one = socket.socket(socket.AF_UNIX)
        one.connect(f"{folder}/.s.PGSQL.{self._target.port or 5432}")
        return one

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        swallow = threading.Event()
        """Set: the server's answers are read and go nowhere."""
        answered = threading.Event()
        back = threading.Thread(target=self._back, args=(server, client, swallow, answered), daemon=True)
        back.start()
        with client, server, contextlib.suppress(OSError):
            start, marked = True, False
            for message in _messages(client):
                marked = marked or (self._mark is not None and self._mark in message)
                if not start and message[:1] == b"Q" and message[5:].upper().startswith(b"COMMIT"):
                    self.commits += 1
                    if marked or self.commits == self.at:
                        self._mark, self.at = None, 0
                        self._cut(client, server, message, swallow, answered)
                        return
                start = False
                server.sendall(message)

    def _cut(
        self,
        client: socket.socket,
        server: socket.socket,
        message: bytes,
        swallow: threading.Event,
        answered: threading.Event,
    ) -> None:
        if self.when == "half":
            server.sendall(message[: len(message) // 2])
        elif self.when == "after":
            swallow.set()
            server.sendall(message)
            assert answered.wait(30), "the server did not answer to COMMIT"
        self.cuts += 1
        _reset(client)
        server.shutdown(socket.SHUT_RDWR)

    def _back(
        self,
        server: socket.socket,
        client: socket.socket,
        swallow: threading.Event,
        answered: threading.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(65536):
                if swallow.is_set():
                    answered.set()
                else:
                    client.sendall(chunk)


def _messages(client: socket.socket) -> Iterator[bytes]:
    """What a client sends, message by message; the first has no kind."""
    head = 0
    while True:
        first = _exactly(client, head + 4)
        if first is None:
            return
        (length,) = struct.unpack("!i", first[head:])
        rest = _exactly(client, length - 4)
        if rest is None:
            return
        yield first + rest
        head = 1


def _exactly(client: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        chunk = client.recv(count - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def _reset(connection: socket.socket) -> None:
    """Hang up with RST, as a broken line does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()
