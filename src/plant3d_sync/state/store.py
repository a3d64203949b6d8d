"""Opening the state database, transactions, and the schema's version."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from plant3d_sync.address import without
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.lookup import UnknownName, addresses
from plant3d_sync.sqlitefile import sqlite_uri
from plant3d_sync.state import trouble
from plant3d_sync.state.address import state_url
from plant3d_sync.state.tables import metadata

BUSY_SECONDS = 20.0

ANSWER_SECONDS = 120.0
"""How long PostgreSQL may take for one statement. The longest of ours, on ten million rows, take seconds."""

UPGRADE_SECONDS = 3600.0
"""The same while the schema is changed, or another process changes it."""

UPGRADE_LOCK = 0x503344  # "P3D"
"""PostgreSQL's advisory lock of whoever changes the schema, until the end of that transaction."""

_UPGRADES = threading.Lock()
"""Alembic keeps the database that it works on in a module: one thread of a process at a time."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection, its name apart (`plant3d_sync.lookup`)."""

CONNECT = {"connect_timeout": CONNECT_SECONDS, "client_encoding": "utf8"}
"""With the encoding said, a database of another one can be asked which it is."""

POOL_SECONDS = 5.0
"""How long a thread waits for one of the connections of this process."""

_FITNESS = """
SELECT current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') AS read_only, current_schema()::text AS folder,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create
"""
_CLOSED = sa.text(
    """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname = ANY(:names)
  AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
"""
)

OURS = frozenset({"alembic_version", "lease", "intent"})
"""Tables that every state database of ours has had, whatever its version."""


def refuse_foreign_file(path: Path) -> None:
    """A file that is not empty must be a state database of ours, else it is left untouched (a Plant 3D database, say).

    Raises ConfigError `state_not_ours`, RetryLaterError `state_unavailable` when it cannot be looked at now.
    """
    try:
        if not path.is_file() or path.stat().st_size == 0:
            return
        with closing(sqlite3.connect(sqlite_uri(path), uri=True, timeout=5.0)) as looking:
            rows = looking.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.OperationalError as error:
        raise RetryLaterError(
            f"The state database {path} cannot be looked at now: {error}. Nothing was done.",
            hint="Check the file and its rights; if it is no state database of ours, name another place.",
            code="state_unavailable",
        ) from error
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise trouble.damaged(str(path), str(error)) from error
        raise _not_ours(path, f"it cannot be read as one ({error})") from error
    names = {name for (name,) in rows}
    if names and not names >= OURS:
        is_plant = "PnPBase" in names or "PnPTables" in names
        raise _not_ours(path, "it is a Plant 3D database" if is_plant else "it holds other tables")


def _not_ours(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} is not a state database of plant3d-sync: {why}. Nothing was read from it or written to it.",
        hint="Let STATE_DB_URL or state_db_url name a file of its own; a new one is made by `plant3d-sync db upgrade`.",
        code="state_not_ours",
    )


class State:
    """The state database: one engine, short transactions.

    SQLite: WAL, `synchronous=FULL` (an intent must survive a power cut), `BEGIN IMMEDIATE` for writers.
    PostgreSQL: what is read is of one moment (repeatable read); writers read committed, and rows that decide are taken
    by conditional UPDATE.
    """

    def __init__(self, url: str) -> None:
        self.url: URL = state_url(url)
        self._prepare_sqlite_file()
        self._answer_seconds = ANSWER_SECONDS
        self.engine: Engine = _engine(self.url, self.shown, lambda: self._answer_seconds)
        self.dialect = self.engine.dialect.name
        self._reading = (
            self.engine.execution_options(isolation_level="REPEATABLE READ")
            if self.dialect == "postgresql"
            else self.engine
        )
        self._looked_at = False

    def _prepare_sqlite_file(self) -> None:
        name = self.url.database
        if self.url.get_backend_name() != "sqlite" or not name or name == ":memory:":
            return
        folder = Path(name).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder of the state database cannot be made: {folder} ({error.strerror}). Nothing was done.",
                hint="Set STATE_DB_URL or state_db_url to a place that can be written.",
                code="state_unavailable",
            ) from error
        refuse_foreign_file(Path(name))

    def answer_within(self, seconds: float) -> None:
        """How long PostgreSQL may take for one statement from now on; then it is RetryLaterError `state_unavailable`."""
        self._answer_seconds = seconds
        if self.dialect == "postgresql":
            self.engine.dispose()  # connections made before have another bound

    @property
    def shown(self) -> str:
        """The address without its password, and without parameters, which may hold one."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    def hidden(self, text: str) -> str:
        """A driver's text without our password."""
        given = [value for name, value in self.url.query.items() if "pass" in name.lower()]
        return without(text, self.url.password, *(one for one in given if isinstance(one, str)))

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """A driver's errors become ours (see `plant3d_sync.state.trouble`)."""
        try:
            yield
        except DBAPIError as error:
            ours = trouble.translated(error, self.shown, self.hidden)
            if ours is None:
                raise
            raise ours from error
        except PoolTimeoutError as error:
            raise trouble.too_busy(self.shown) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction; commits at the end, rolls back on any error."""
        with self._translating(), self.engine.connect() as connection:
            if self.dialect == "sqlite":
                _plainly(connection, "BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    _roll_back(connection)
                    raise
                _plainly(connection, "COMMIT")
            else:
                with connection.begin():
                    yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: a single moment of the state."""
        with self._translating(), self._reading.connect() as connection:
            if self.dialect == "sqlite":
                _plainly(connection, "BEGIN")
                try:
                    yield connection
                finally:
                    _roll_back(connection)
            else:
                with connection.begin():
                    yield connection

    def now_sql(self) -> sa.ColumnElement[float]:
        """The database's own clock in POSIX seconds: leases use no other."""
        if self.dialect == "sqlite":
            return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double())
        return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double())

    def clock(self) -> float:
        """The time by the database's own clock, in POSIX seconds."""
        with self.read() as connection:
            return float(connection.execute(sa.select(self.now_sql())).scalar() or 0.0)

    # ------------------------------------------------------------------ schema

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema to this version. Returns (before, after).

        Raises ConfigError for a newer database, RetryLaterError while a run is going: it would meet two schemas.
        """
        before = self.schema_version()
        if before is not None and before > SCHEMA:
            raise _another_version(before)
        if before is not None and before != SCHEMA:
            self._refuse_while_running()
        usual = self._answer_seconds
        self.answer_within(UPGRADE_SECONDS)
        try:
            self._upgrade()
        finally:
            self.answer_within(usual)
        return before, self.head()

    def _upgrade(self) -> None:
        from alembic import command

        with self._translating(), _UPGRADES:
            config = _alembic_config(self.url)
            with self.engine.connect() as connection:
                config.attributes["connection"] = connection
                if self.dialect == "sqlite":
                    # one transaction for all tables: a start killed half-way leaves an empty database
                    _plainly(connection, "BEGIN IMMEDIATE")
                else:
                    # three processes start at once on a new machine: one makes the tables, the others find them
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
                command.upgrade(config, "head")
                connection.commit()

    def _refuse_while_running(self) -> None:
        with self.read() as connection:
            held = connection.execute(
                sa.text("SELECT project FROM lease WHERE holder IS NOT NULL AND expires_at > :now"),
                {"now": connection.execute(sa.select(self.now_sql())).scalar()},
            ).scalars()
            names = ", ".join(sorted(held))
        if names:
            raise RetryLaterError(
                f"A run is going ({names}). The state database was not changed.",
                hint="Stop worker, scheduler and web service, wait half a minute, then run it again.",
                code="project_busy",
            )

    def schema_version(self) -> str | None:
        """Revision the database is at, None for an empty one."""
        from alembic.runtime.migration import MigrationContext

        with self._translating(), self.engine.connect() as connection:
            version = MigrationContext.configure(connection).get_current_revision()
            connection.rollback()
            return version

    def head(self) -> str:
        """Revision this program needs."""
        from alembic.script import ScriptDirectory

        return str(ScriptDirectory.from_config(_alembic_config(self.url)).get_current_head())

    def ready(self) -> None:
        """Make sure the schema fits: an empty database is set up, an old one is refused with the command to run."""
        with self._translating(), self.engine.connect() as connection:
            try:
                version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            except DBAPIError as error:
                if not _is_missing_table(error):
                    raise  # a database that does not answer now is not an empty one
                version = None
            finally:
                connection.rollback()
            if not self._looked_at and version in (SCHEMA, None):
                self._look(connection, empty=version is None)
        if version == SCHEMA:
            return
        if version is None:
            self.upgrade()
            return
        raise _another_version(version)

    def look(self) -> None:
        """Whether the database is fit for us: its encoding, and what our login may do in it. Writes nothing.

        Raises StateRefused with the way to correct it, RetryLaterError when it cannot be asked now.
        """
        version = self.schema_version()
        with self._translating(), self.engine.connect() as connection:
            self._look(connection, empty=version is None)

    def _look(self, connection: Connection, *, empty: bool) -> None:
        """Asked once: neither changes under a database that is in use, and what does is reported by the statement."""
        if self.dialect == "postgresql":
            try:
                self._look_at_server(connection, empty=empty)
            finally:
                connection.rollback()
        self._looked_at = True

    def _look_at_server(self, connection: Connection, *, empty: bool) -> None:
        row = connection.exec_driver_sql(_FITNESS).one()
        encoding = row.encoding.decode() if isinstance(row.encoding, bytes) else str(row.encoding)
        if encoding.upper() not in ("UTF8", "UTF-8"):
            raise trouble.wrong_encoding(self.shown, encoding)
        if row.standby or row.read_only == "on":
            raise trouble.read_only(self.shown)
        if row.folder is None:
            raise trouble.no_rights(self.shown, "no schema of its search_path is there or may be used")
        if empty and not row.may_create:
            raise trouble.no_rights(self.shown, f"it may not create tables in the schema {row.folder}")
        if empty:
            return
        names = [table.name for table in metadata.sorted_tables]
        closed = connection.execute(_CLOSED, {"names": names}).scalars().all()
        if closed:
            raise trouble.no_rights(self.shown, f"it may not read and write {', '.join(sorted(closed))}")

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _roll_back(connection: Connection) -> None:
    """End a SQLite transaction; SQLite itself has ended it already after a full disk and some other errors."""
    raw = connection.connection.dbapi_connection
    if raw is not None and raw.in_transaction:
        _plainly(connection, "ROLLBACK")


def _plainly(connection: Connection, statement: str) -> None:
    """Begin or end a SQLite transaction straight at the driver; its errors look like SQLAlchemy's own."""
    raw: Any = connection.connection.driver_connection
    try:
        raw.execute(statement)
    except sqlite3.Error as error:
        kind = OperationalError if isinstance(error, sqlite3.OperationalError) else DBAPIError
        raise kind(statement, None, error) from error


SCHEMA = "0016"
"""Head revision; a test compares it with the migrations. Revisions are numbers of four digits, the newest highest."""


def _another_version(version: str) -> ConfigError:
    """The schema and this program do not belong together: which of the two has to move."""
    if version > SCHEMA:
        return ConfigError(
            f"The state database is at schema {version}, this program needs {SCHEMA}. Nothing was done.",
            hint="A newer plant3d-sync brought the database there: use that version here too, or restore the backup.",
            code="schema_version",
        )
    return ConfigError(
        f"The state database is at schema {version}, this program needs {SCHEMA}. Nothing was done.",
        hint="Run `plant3d-sync db upgrade` (back the database up first).",
        code="schema_version",
    )


def _is_missing_table(error: DBAPIError) -> bool:
    """Whether a table that was asked for does not exist (PostgreSQL: 42P01)."""
    return getattr(error.orig, "sqlstate", None) == "42P01" or "no such table" in str(error.orig)


def _alembic_config(url: URL) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return config


def _engine(url: URL, shown: str, answer_seconds: Callable[[], float]) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

        @sa.event.listens_for(engine, "connect")
        def _pragmas(raw: Any, _record: Any) -> None:
            raw.isolation_level = None
            cursor = raw.cursor()
            cursor.execute("PRAGMA page_size=8192")  # of a new file; a link with its base is about 900 bytes
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA cache_size=-4000")  # KiB
            cursor.execute("PRAGMA wal_autocheckpoint=2000")  # pages: 16 MiB
            pages = (
                os.environ.get("P3DSYNC_TEST_MAX_PAGES") if os.environ.get("P3DSYNC_TEST") == "1" else None
            )
            if pages:
                cursor.execute(f"PRAGMA max_page_count={int(pages)}")
            cursor.close()

        return engine
    from plant3d_sync.state.bounded import LINE, BoundedConnection

    line = {name: value for name, value in LINE.items() if name not in url.query}
    engine = sa.create_engine(
        url, pool_pre_ping=True, pool_timeout=POOL_SECONDS, connect_args={**CONNECT, **line}
    )

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, given: Any, options: dict[str, Any]) -> Any:
        """With a bound for each wait, the one for the name server too."""
        find_server(options)
        made = BoundedConnection.connect(*given, **options)
        made.answer_seconds = answer_seconds()
        return made

    def find_server(options: dict[str, Any]) -> None:
        if "hostaddr" in options or not options.get("host"):
            return
        try:
            found = [(name, addresses(name)) for name in str(options["host"]).split(",")]
        except UnknownName as error:
            raise trouble.unknown_name(shown, str(error)) from error
        if all(name == answer[0] for name, answer in found):
            return
        _tell_addresses(options, found)

    return engine


def _tell_addresses(options: dict[str, Any], found: list[tuple[str, list[str]]]) -> None:
    """Every address of every host, each with its host's name (for certificates) and port."""
    ports = str(options.get("port", "")).split(",")
    if len(ports) == 1:
        ports *= len(found)
    every = [(name, ip, port) for (name, ips), port in zip(found, ports, strict=True) for ip in ips]
    options["host"] = ",".join(name for name, _, _ in every)
    options["hostaddr"] = ",".join(ip for _, ip, _ in every)
    if any(port for _, _, port in every):
        options["port"] = ",".join(port for _, _, port in every)
