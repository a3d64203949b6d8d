"""The database behind the server: SQLite (a file, or memory) or PostgreSQL, and its transactions.

A writer holds the project's counter row before it touches an asset, so a smaller `seq` never becomes visible
after a larger one was read. On SQLite there is one writer at a time anyway (`BEGIN IMMEDIATE`).
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from plant3d_sync.errors import ConfigError
from plant3d_sync.synapse_dev import tables

SQLITE_BUSY_MS = 30_000


class StillRunning(Exception):
    """The same piece of work is being done right now by another request."""


class Overtaken(Exception):
    """Another writer came between what was read and what was written; nothing was applied, try once more.

    Here nobody can: a writer holds its project.
    """


class Store:
    """Opens transactions. Without `db` everything is in memory and forgotten at exit."""

    def __init__(self, db: str | None = None) -> None:
        self.url = database_url(db)
        self.on_sqlite = self.url.get_backend_name() == "sqlite"
        self._in_memory = self.on_sqlite and not self.url.database
        self._engine = self._open()
        self._one_connection = threading.Lock()
        self._one_writer = threading.Lock()
        self._running: set[str] = set()
        self._running_guard = threading.Lock()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent snapshot: what is read inside belongs together."""
        with self._sole_connection(), self._engine.connect() as connection:
            if not self.on_sqlite:
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block and is rolled back by any exception."""
        writer = self._one_writer if self.on_sqlite else nullcontext()
        with writer, self._sole_connection(), self._engine.connect() as connection:
            connection = connection.execution_options(p3d_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def writing_once(self, work: str) -> Iterator[sa.Connection]:
        """As `writing`, but raises `StillRunning` if the same `work` is running elsewhere.

        The mark dies with the process (SQLite) or with the transaction's connection (PostgreSQL), so a killed
        server leaves no stuck mark behind.
        """
        if not self.on_sqlite:
            with self.writing() as connection:
                if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(lock_number(work)))):
                    raise StillRunning
                yield connection
            return
        with self._running_guard:
            if work in self._running:
                raise StillRunning
            self._running.add(work)
        try:
            with self.writing() as connection:
                yield connection
        finally:
            with self._running_guard:
                self._running.discard(work)

    def migrate(self) -> None:
        """Create the tables, or refuse a database of another schema version, or a file that is not ours."""
        self._refuse_foreign_file()
        try:
            with self.writing() as connection:
                if not self.on_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_number("migrate"))))
                tables.metadata.create_all(connection)
                version = connection.scalar(sa.select(tables.schema_info.c.version))
                if version is None:
                    connection.execute(tables.schema_info.insert().values(version=tables.SCHEMA_VERSION))
        except SQLAlchemyError as error:
            raise ConfigError(
                f"The database of the reference server cannot be used ({type(error).__name__}). "
                "The server was not started.",
                hint="Check --db: a file in a folder you may write to, or a postgresql:// address that answers.",
                code="synapse_dev_db",
            ) from error
        if version not in (None, tables.SCHEMA_VERSION):
            raise ConfigError(
                f"The database has schema {version}, this server knows {tables.SCHEMA_VERSION}. Nothing was changed.",
                hint="Use another --db.",
                code="synapse_dev_db",
            )

    def _refuse_foreign_file(self) -> None:
        """A file with tables of somebody else (a Plant 3D database, say) is not even opened for writing."""
        name = self.url.database
        if not self.on_sqlite or self._in_memory or not name or not Path(name).is_file():
            return
        try:
            looking = sqlite3.connect(f"{Path(name).absolute().as_uri()}?mode=ro", uri=True)
            with closing(looking):
                names = [row[0] for row in looking.execute("SELECT name FROM sqlite_master")]
        except sqlite3.Error as error:
            names, reason = [""], str(error)
        else:
            reason = "it holds other tables"
        if names and tables.schema_info.name not in names:
            raise ConfigError(
                f"{name} is not a database of the reference server ({reason}). It was not touched.",
                hint="Let --db name a file of its own; a new one is made.",
                code="synapse_dev_db",
            )

    def _sole_connection(self) -> AbstractContextManager[object]:
        """An in-memory database lives in one connection, which is then used by one thread at a time."""
        return self._one_connection if self._in_memory else nullcontext()

    def _open(self) -> sa.Engine:
        if not self.on_sqlite:
            return sa.create_engine(
                self.url, hide_parameters=True, pool_size=20, max_overflow=20, pool_pre_ping=True
            )
        if self._in_memory:
            arguments = {"check_same_thread": False}
            engine = sa.create_engine(
                self.url, hide_parameters=True, poolclass=StaticPool, connect_args=arguments
            )
        else:
            engine = sa.create_engine(self.url, hide_parameters=True, pool_size=20, max_overflow=20)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine


def _prepare_sqlite(connection: sa.engine.interfaces.DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Transactions are begun by `_begin_sqlite`, not by the driver; readers do not block the writer."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout = {SQLITE_BUSY_MS}", "journal_mode = WAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("p3d_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def database_url(db: str | None) -> URL:
    """`--db`: nothing (memory), a file, or a SQLite or PostgreSQL address."""
    if db is None or db == ":memory:":
        return make_url("sqlite://")
    if "://" not in db:
        return URL.create("sqlite", database=str(Path(db).expanduser().absolute()))
    try:
        url = make_url(db)
    except ArgumentError as error:
        raise _unusable_url() from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url.set(database=None) if url.database == ":memory:" else url
    raise _unusable_url()


def _unusable_url() -> ConfigError:
    return ConfigError(
        "The reference server cannot use this database address. The server was not started.",
        hint="Give --db a file name, sqlite:////folder/file.db or postgresql://user@host/name.",
        code="synapse_dev_db",
    )


def lock_number(text: str) -> int:
    """A 64-bit number for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
