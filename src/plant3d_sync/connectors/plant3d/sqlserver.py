"""Plant 3D projects on SQL Server: one short pass over the needed tables into a local copy.

The database is not altered in any way (no snapshot isolation, no triggers, no change tracking): upgrades and
audits expect Autodesk's schema. So the pass runs under read committed, tables may differ by a moment, and the
pass is repeated while the newest `PnPTimestamp` moves. Everything after that is the same as for SQLite.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import import_module

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError

from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.copy import LocalCopy
from plant3d_sync.connectors.plant3d.guid import guid_bytes
from plant3d_sync.connectors.plant3d.names import quotable, quoted
from plant3d_sync.connectors.plant3d.snapshot import Snapshot
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from plant3d_sync.failpoints import failpoint

ODBC_DRIVER = "ODBC Driver 18 for SQL Server"
DEFAULT_PORT = 1433
MAX_PASSES = 5
LOGIN_TIMEOUT = 15
"""Seconds a connection may take to be made."""
LOCK_TIMEOUT_STATEMENT = "SET LOCK_TIMEOUT 10000"
"""Milliseconds one SELECT waits for somebody else's lock; then error 1222 and the next run tries again."""
SCHEMA = "dbo"
_ROWS = 1000
_LOGIN_FAILED = frozenset({18456, 18452, 18470, 18487, 18488})
_DATABASE_UNKNOWN = frozenset({4060, 911})
_RIGHTS_MISSING = frozenset({229, 230, 916})
_DRIVER_MODULES = {"pyodbc": "pyodbc", "pymssql": "pymssql"}
_SQLSTATE_NUMBERS = {"40001": 1205, "28000": 18456}
_ODBC_NUMBER = re.compile(r"\((\d+)\) \(SQL\w+\)")
_DBLIB_NUMBER = re.compile(r"DB-Lib error message (\d+)")
_NO_SERVER_STATES = ("08", "HYT", "IM")
"""SQLSTATE classes of the ODBC driver itself: connection, timeout, driver manager. Their number is not the server's."""
_ENCRYPTION_WORDS = ("certificate", "ssl provider", "encryption not supported", "tls")

CATALOGUE_TABLES = (
    "PnPDatabase",
    "PnPTables",
    "PnPProperties",
    "PnPTableAttributes",
    "PnPColumnAttributes",
    "PnPRelationshipTypes",
    "PnPRoleTypes",
    "PnPSys_PnPBase_PnPID",
    "PnPSys_RelationshipSystem_PnPID",
)
"""Tables that describe the others. What else is read follows from `PnPTables` and `PnPRelationshipTypes`."""

TABLES_STATEMENT = (
    "SELECT [TABLE_NAME], [COLUMN_NAME], [DATA_TYPE] FROM [INFORMATION_SCHEMA].[COLUMNS] "
    "WHERE [TABLE_SCHEMA] = 'dbo' ORDER BY [TABLE_NAME], [ORDINAL_POSITION]"
)
VIEWS_STATEMENT = "SELECT [TABLE_NAME] FROM [INFORMATION_SCHEMA].[VIEWS] WHERE [TABLE_SCHEMA] = 'dbo'"
NEWEST_STATEMENT = "SELECT MAX([PnPTimestamp]), COUNT(*) FROM [dbo].[PnPBase]"
DATABASES_STATEMENT = "SELECT [name] FROM [sys].[databases] WHERE HAS_DBACCESS([name]) = 1 ORDER BY [name]"


def sqlserver_url(
    host: str,
    port: int | None,
    name: str,
    user: str | None,
    password: str | None,
    driver: str = "pyodbc",
) -> str:
    """The SQLAlchemy URL for `PLANT3D_DB_HOST`, `_PORT`, `_NAME`, `_USER` and `_PASSWORD`.

    `driver`: `pyodbc` (default) or `pymssql`. Without a user the operating system's account is used.
    The text contains the password: hand it to `open_source`, never print it.
    """
    if driver not in _DRIVER_MODULES:
        raise ConfigError(
            f"There is no SQL Server driver {driver!r}. Nothing was read or written.",
            hint="Use pyodbc or pymssql.",
            code="driver_missing",
        )
    url = URL.create(
        f"mssql+{driver}",
        username=user,
        password=password,
        host=host,
        port=port or DEFAULT_PORT,
        database=name,
    )
    return url.render_as_string(hide_password=False)


def engine_for(url: str | URL, *, login_timeout: int = LOGIN_TIMEOUT) -> Engine:
    """The one place that makes an engine for SQL Server, with encryption on.

    pyodbc: Microsoft's ODBC Driver 18 with `Encrypt=yes`, the certificate is checked. pymssql:
    `encryption='require'` (the certificate is not checked by that driver unless FREETDSCONF names a CA file)
    and full datetime2. Options given in the URL win. Raises ConfigError `driver_missing`, `source_url`.
    """
    made = _parsed(url)
    driver = made.get_driver_name()
    module = _DRIVER_MODULES.get(driver)
    if module is None:
        raise _driver_missing(driver, "it is not supported")
    try:
        import_module(module)
    except ImportError as error:  # not installed, or a system library it needs is not
        raise _driver_missing(driver, str(error)) from error
    if driver == "pymssql":
        arguments: dict[str, object] = {
            "use_datetime2": True,
            "login_timeout": login_timeout,
            "appname": "plant3d-sync",
        }
        if "encryption" not in made.query:
            arguments["encryption"] = "require"
        return create_engine(made, connect_args=arguments, pool_pre_ping=True, hide_parameters=True)
    extra = {
        key: value
        for key, value in (("driver", ODBC_DRIVER), ("Encrypt", "yes"), ("APP", "plant3d-sync"))
        if key.lower() not in {given.lower() for given in made.query}
    }
    if made.username is None and "trusted_connection" not in {given.lower() for given in made.query}:
        extra["Trusted_Connection"] = "yes"
    return create_engine(
        made.update_query_dict(extra),
        connect_args={"timeout": login_timeout},
        pool_pre_ping=True,
        hide_parameters=True,
    )


def _parsed(url: str | URL) -> URL:
    try:
        made = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "The database URL cannot be understood. Nothing was read or written.",
            hint="Write mssql+pyodbc://USER:PASSWORD@HOST:1433/DATABASE, with special characters "
            "of the password percent-encoded.",
            code="source_url",
        ) from error
    return made.set(drivername="mssql+pyodbc") if made.drivername == "mssql" else made


def _driver_missing(driver: str, why: str) -> ConfigError:
    return ConfigError(
        f"The SQL Server driver {driver} cannot be used: {why}. Nothing was read or written.",
        hint="Install it with: pip install 'plant3d-sync[sqlserver]'. pyodbc also needs unixODBC and the "
        f"package msodbcsql18 ({ODBC_DRIVER}) of Microsoft.",
        code="driver_missing",
        details={"driver": driver},
    )


def sql_error_number(error: BaseException) -> int | None:
    """SQL Server's error number of a driver's exception, or None.

    The drivers disagree on classes (a deadlock is an OperationalError here, a plain Error there), so callers
    decide by number. pymssql: first argument. pyodbc: `(1205) (SQLExecDirectW)` in the text, else the SQLSTATE.
    """
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    arguments = original.args
    first = arguments[0] if arguments else None
    if isinstance(first, tuple) and first:
        return _dblib_number(first)
    if isinstance(first, int):
        return _dblib_number(arguments)
    if isinstance(first, str) and first.startswith(_NO_SERVER_STATES):
        return None
    found = _ODBC_NUMBER.findall(str(original))
    if found:
        return int(found[-1])
    return _SQLSTATE_NUMBERS.get(first) if isinstance(first, str) else None


def _dblib_number(arguments: tuple[object, ...]) -> int | None:
    """The number of a pymssql error.

    When no connection could be made, pymssql may report the number of an *earlier* failure in the same process;
    then the text holds only words of its own library, whose number is the true one.
    """
    number = arguments[0]
    words = arguments[1] if len(arguments) > 1 else ""
    own = _DBLIB_NUMBER.match(words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words))
    if own:
        return int(own[1])
    return number if isinstance(number, int) else None


def _sqlstate(error: BaseException) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first = original.args[0] if original.args else ""
    return first if isinstance(first, str) and len(first) == 5 else ""


def error_for(error: DBAPIError, url: URL) -> SyncError:
    """What an error of the server or of the connection means for this source. The URL is shown without password."""
    number, name = sql_error_number(error), shown(url)
    details: dict[str, object] = {"number": number, "source": name}
    if number in _LOGIN_FAILED:
        return ConfigError(
            f"SQL Server refused the login {url.username!r} for {name}. Nothing was read or written.",
            hint="Check PLANT3D_DB_USER and PLANT3D_DB_PASSWORD; the login needs db_datareader on the database.",
            code="source_login_failed",
            details=details,
        )
    if number in _DATABASE_UNKNOWN:
        return ConfigError(
            f"SQL Server has no database {url.database!r} that this login may open ({name}). "
            "Nothing was read or written.",
            hint="The P&ID database is usually named PREFIX_PnId. `doctor` lists the databases this login sees.",
            code="source_database_unknown",
            details=details,
        )
    if number in _RIGHTS_MISSING:
        return ConfigError(
            f"The login {url.username!r} may not read a table of {name}. Nothing was written.",
            hint="Give the login db_datareader on the database.",
            code="source_unreadable",
            details=details,
        )
    if _sqlstate(error) == "IM002" or "Can't open lib" in str(error.orig):
        return _driver_missing(ODBC_DRIVER, "it is not installed")
    if _sqlstate(error).startswith("08") and any(
        word in str(error.orig).lower() for word in _ENCRYPTION_WORDS
    ):
        return ConfigError(
            f"No encrypted connection to {name} could be made: {_last_sentence(error)}. Nothing was read or written.",
            hint="Let the server offer TLS with a certificate this machine trusts (SSL_CERT_FILE names a CA file).",
            code="source_encryption",
            details=details,
        )
    if number == 208:
        return errors.not_plant3d(name, ["PnPTables or PnPBase"])
    return RetryLaterError(
        f"Reading {name} failed ({'error ' + str(number) if number else 'connection lost or not possible'}). "
        "Nothing was written.",
        hint="The next run tries again. If it lasts, `doctor` checks host, port, encryption and login.",
        code="source_busy" if number in (1205, 1222) else "source_away",
        details=details,
    )


def _last_sentence(error: DBAPIError) -> str:
    """The driver's own words, without its brackets and numbers. Never contains the connection string."""
    words = str(error.orig.args[-1] if error.orig is not None and error.orig.args else error.orig)
    return _ODBC_NUMBER.sub("", words.rpartition("]")[2]).strip(" .;")


def shown(url: URL) -> str:
    """The URL for people: no password, no options."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def _connected(engine: Engine, url: URL) -> Iterator[Connection]:
    """A connection that reads; errors of the driver become ours."""
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    except DBAPIError as error:
        raise error_for(error, url) from error
    except (
        InvalidRequestError
    ) as error:  # how SQLAlchemy says that the connection went away while it was set up
        raise RetryLaterError(
            f"The connection to {shown(url)} was lost. Nothing was written.",
            hint="The next run tries again. If it lasts, `doctor` checks host, port, encryption and login.",
            code="source_away",
        ) from error


def list_databases(url: str | URL) -> list[str]:
    """Databases on that server which this login may open, candidates for `PLANT3D_DB_NAME`."""
    made = _parsed(url)
    engine = engine_for(made.set(database="master"))
    try:
        with _connected(engine, made) as connection:
            return [str(row[0]) for row in connection.execute(text(DATABASES_STATEMENT)).all()]
    finally:
        engine.dispose()


class SqlServerSource:
    """A P&ID database on SQL Server. There is no cheap test for "nothing happened"."""

    engine_name = "sqlserver"

    def __init__(self, url: str | URL, *, deadline: float = 30.0) -> None:
        self.url = _parsed(url)
        self.name = shown(self.url)
        self.deadline = deadline

    def signature(self) -> str | None:
        """None: the server has no counter that one may ask without reading."""
        return None

    def snapshot(self) -> Snapshot:
        """Transfer the needed tables in one pass, again while the newest timestamp moves (at most five times).

        Raises ConfigError `driver_missing`, `source_login_failed`, `source_database_unknown`,
        `source_not_plant3d`, `source_unreadable`; RetryLaterError `source_busy`, `source_away`.
        """
        engine = engine_for(self.url, login_timeout=max(1, min(LOGIN_TIMEOUT, int(self.deadline))))
        try:
            copy, pass_ms = self._quiet_pass(engine)
        finally:
            engine.dispose()
        return Snapshot.open(
            copy,
            name=self.name,
            lock_ms=pass_ms,
            engine=self.engine_name,
            change_counter=None,
            signature=None,
            copy_kind=None,
        )

    def _quiet_pass(self, engine: Engine) -> tuple[LocalCopy, float]:
        """A copy during whose making the newest timestamp stood still, or the last of five tries' error."""
        until = time.monotonic() + self.deadline
        for _ in range(MAX_PASSES):
            started = time.monotonic()
            copy = LocalCopy()
            done = False
            try:
                with _connected(engine, self.url) as connection:
                    connection.execute(text(LOCK_TIMEOUT_STATEMENT))
                    failpoint("source.copy_begun")
                    before = _newest(connection)
                    transfer(connection, copy, self.name, until=until, deadline=self.deadline)
                    moved = _newest(connection) != before
                failpoint("source.copy_closed")
                if not moved:
                    copy.open()
                    done = True
                    return copy, (time.monotonic() - started) * 1000
            except sqlite3.Error as error:
                raise errors.from_sqlite(error, "the local copy", 0.0) from error
            finally:
                if not done:
                    copy.close()
        raise RetryLaterError(
            f"{self.name} kept changing during {MAX_PASSES} readings. Nothing was written.",
            hint="Somebody is working in the project. The next run tries again.",
            code="source_busy",
            details={"passes": MAX_PASSES},
        )


def _newest(connection: Connection) -> tuple[object, object]:
    row = connection.execute(text(NEWEST_STATEMENT)).one()
    return row[0], row[1]


def transfer(connection: Connection, copy: LocalCopy, name: str, *, until: float, deadline: float) -> None:
    """Copy every table that the project's catalogue names and that exists, with plain SELECTs.

    Raises ConfigError `source_not_plant3d`, RetryLaterError `source_busy` when `until` (monotonic) is passed.
    """
    columns = _existing_tables(connection)
    missing = [table for table in ("PnPTables", "PnPBase") if table.lower() not in columns]
    if missing:
        raise errors.not_plant3d(name, missing)
    with closing(copy.writable()) as target:
        for table in _needed(connection, columns):
            _transfer_table(connection, target, *columns[table], name=name, until=until, deadline=deadline)


def _existing_tables(connection: Connection) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Lower-cased base table -> (name, [(column, SQL Server type)]). Views (`_PNP`) are left out."""
    views = {str(row[0]).lower() for row in connection.execute(text(VIEWS_STATEMENT)).all()}
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for table, column, kind in connection.execute(text(TABLES_STATEMENT)).all():
        if table.lower() not in views and quotable(table) and quotable(column):
            found.setdefault(table.lower(), (table, []))[1].append((column, kind.lower()))
    return found


def _needed(connection: Connection, existing: Mapping[str, tuple[str, list[tuple[str, str]]]]) -> list[str]:
    """Lower-cased names of the tables to copy: the catalogue and whatever it names, if it exists."""
    wanted = {name.lower() for name in CATALOGUE_TABLES}
    for table, columns in (
        ("pnptables", ("TableName", "PhysicalName")),
        ("pnprelationshiptypes", ("RelationshipTypeName", "PhysicalName")),
    ):
        if table in existing:
            present = {column.lower() for column, _ in existing[table][1]}
            asked = [column for column in columns if column.lower() in present]
            for row in connection.execute(text(select_statement(existing[table][0], asked))).all():
                wanted.update(str(value).lower() for value in row if value)
    return sorted(wanted & existing.keys())


def select_statement(table: str, columns: Iterable[str]) -> str:
    """The only kind of statement sent for data: named columns of one table of `dbo`, nothing else."""
    return f"SELECT {', '.join(quoted(column) for column in columns)} FROM [{SCHEMA}].{quoted(table)}"


def _transfer_table(
    connection: Connection,
    target: sqlite3.Connection,
    table: str,
    columns: Sequence[tuple[str, str]],
    *,
    name: str,
    until: float,
    deadline: float,
) -> None:
    declared = ", ".join(_declaration(column, kind) for column, kind in columns)
    target.execute(f"CREATE TABLE {quoted(table)} ({declared})")
    statement = f"INSERT INTO {quoted(table)} VALUES ({', '.join('?' * len(columns))})"
    kinds = [kind for _, kind in columns]
    result = connection.execution_options(stream_results=True).execute(
        text(select_statement(table, (column for column, _ in columns)))
    )
    with closing(result):
        target.execute("BEGIN")
        for rows in result.partitions(_ROWS):
            if time.monotonic() > until:
                raise errors.busy(name, deadline)
            target.executemany(
                statement, ([_stored(v, k) for v, k in zip(row, kinds, strict=True)] for row in rows)
            )
        target.execute("COMMIT")


def _declaration(column: str, kind: str) -> str:
    if column.lower() == "pnpid":
        return f"{quoted(column)} INTEGER PRIMARY KEY"
    affinity = {
        "nvarchar": "TEXT",
        "varchar": "TEXT",
        "nchar": "TEXT",
        "char": "TEXT",
        "uniqueidentifier": "BLOB",
    }
    whole = {"bigint": "INTEGER", "int": "INTEGER", "smallint": "INTEGER", "bit": "INTEGER", "float": "REAL"}
    collation = " COLLATE NOCASE" if kind in ("nvarchar", "varchar") else ""
    return f"{quoted(column)} {affinity.get(kind) or whole.get(kind) or 'BLOB'}{collation}"


def _stored(value: object, kind: str) -> object:
    """A driver's value as SQLite keeps it: GUIDs (one driver gives text) as 16 bytes in .NET order, bit as 0 or 1."""
    if kind == "uniqueidentifier":
        return guid_bytes(value)
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    return str(value)
