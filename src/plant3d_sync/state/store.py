"""Opening the state database, transactions, and the schema's version."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.sqlitefile import sqlite_uri

BUSY_SECONDS = 20.0

UPGRADE_LOCK = 0x503344  # "P3D"
"""PostgreSQL's advisory lock of whoever changes the schema, until the end of that transaction."""


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
    PostgreSQL: read committed; rows that decide are taken by conditional UPDATE.
    """

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        self._prepare_sqlite_file()
        self.engine: Engine = _engine(self.url)
        self.dialect = self.engine.dialect.name

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

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction; commits at the end, rolls back on any error."""
        with _translated(self.shown), self.engine.connect() as connection:
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
        with _translated(self.shown), self.engine.connect() as connection:
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

    # ------------------------------------------------------------------ schema

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema to this version. Returns (before, after).

        Raises ConfigError for a newer database, RetryLaterError while a run is going: it would meet two schemas.
        """
        from alembic import command

        before = self.schema_version()
        if before is not None and before > SCHEMA:
            raise _another_version(before)
        if before is not None and before != SCHEMA:
            self._refuse_while_running()
        with _translated(self.shown):
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
        return before, self.head()

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

        with _translated(self.shown), self.engine.connect() as connection:
            version = MigrationContext.configure(connection).get_current_revision()
            connection.rollback()
            return version

    def head(self) -> str:
        """Revision this program needs."""
        from alembic.script import ScriptDirectory

        return str(ScriptDirectory.from_config(_alembic_config(self.url)).get_current_head())

    def ready(self) -> None:
        """Make sure the schema fits: an empty database is set up, an old one is refused with the command to run."""
        with _translated(self.shown), self.engine.connect() as connection:
            try:
                version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            except DBAPIError as error:
                if not _is_missing_table(error):
                    raise  # a database that does not answer now is not an empty one
                version = None
            finally:
                connection.rollback()
        if version == SCHEMA:
            return
        if version is None:
            self.upgrade()
            return
        raise _another_version(version)

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


SCHEMA = "0003"
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


def _engine(url: URL) -> Engine:
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
    if url.get_backend_name() != "postgresql":
        raise ConfigError(
            f"The state database must be SQLite or PostgreSQL, not {url.get_backend_name()}.",
            hint="STATE_DB_URL=sqlite:////abs/state.db or postgresql+psycopg://user@host/name",
            code="state_url",
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    """Driver errors of the state database become ours: busy or away is 75, full or broken is 78."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        lowered = text.lower()
        is_full = "full" in lowered and ("disk" in lowered or "database" in lowered)
        if is_full or getattr(error.orig, "sqlstate", None) == "53100":
            raise RetryLaterError(
                f"The state database is full ({shown}). Nothing more was written anywhere.",
                hint="Free space, then run again; the next run continues by itself.",
                code="state_full",
            ) from error
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise RetryLaterError(
                f"The state database cannot be used now ({shown}): {text}",
                hint="Check that it is running and reachable; the next run continues by itself.",
                code="state_unavailable",
            ) from error
        if isinstance(error, IntegrityError | DataError):
            raise ConfigError(
                f"The state database ({shown}) refused what was to be remembered: {text.strip()}. "
                "This step was taken back in it.",
                hint="No data should be able to cause this: please report it with this message. "
                "What was sent to SYNAPSE before is on record; the next run looks for it there.",
                code="state_refused",
            ) from error
        raise
