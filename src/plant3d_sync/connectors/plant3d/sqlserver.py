"""Plant 3D projects on SQL Server: one short pass over the needed tables into a local copy.

The database is not altered in any way (no snapshot isolation, no triggers, no change tracking): upgrades and
audits expect Autodesk's schema. So the pass runs under read committed, tables may differ by a moment, and the
pass is repeated while the newest `PnPTimestamp` moves. Everything after that is the same as for SQLite.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from plant3d_sync import texts
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.copy import LocalCopy
from plant3d_sync.connectors.plant3d.guid import guid_bytes
from plant3d_sync.connectors.plant3d.names import quotable, quoted
from plant3d_sync.connectors.plant3d.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, from_variables, parse_address
from plant3d_sync.connectors.plant3d.sqlserver_drivers import recipe_for
from plant3d_sync.connectors.plant3d.sqlserver_errors import error_for
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.failpoints import failpoint

MAX_PASSES = 5
LOGIN_TIMEOUT = 15
"""Seconds a connection may take to be made."""
LOCK_TIMEOUT_STATEMENT = "SET LOCK_TIMEOUT 10000"
"""Milliseconds one SELECT waits for somebody else's lock; then error 1222 and the next run tries again."""
SCHEMA = "dbo"
_ROWS = 1000
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
    driver: str | None = "pyodbc",
) -> str:
    """The SQLAlchemy URL for `PLANT3D_DB_HOST`, `_PORT`, `_NAME`, `_USER`, `_PASSWORD` and `_DRIVER`.

    `driver`: `pyodbc`, `pymssql`, the name of an ODBC driver, or None for whichever is installed. Without a user the
    operating system's account is used. The text contains the password: hand it to `open_source`, never print it.
    Raises ConfigError `source_url`, `driver_missing`.
    """
    return from_variables(host, port, name, user, password, driver).url


def engine_for(where: str | URL | ServerAddress, *, login_timeout: int = LOGIN_TIMEOUT) -> Engine:
    """The one place that makes an engine for SQL Server, with encryption on.

    Microsoft's ODBC driver: `Encrypt=yes`, the certificate is checked. FreeTDS, alone or as pymssql: encryption is
    required; the certificate is checked if FREETDSCONF names a CA file. Options given in the URL win. The engine's own
    URL holds neither address nor password. Raises ConfigError `driver_missing`, `source_url`.
    """
    address = where if isinstance(where, ServerAddress) else parse_address(where)
    recipe = recipe_for(address)

    def connect() -> Any:
        return recipe.connect(login_timeout=login_timeout)

    return create_engine(
        f"mssql+{recipe.chosen.module}://", creator=connect, pool_pre_ping=True, hide_parameters=True
    )


@contextmanager
def _connected(engine: Engine, address: ServerAddress) -> Iterator[Connection]:
    """A connection that reads; errors of the driver become ours."""
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    except DBAPIError as error:
        raise error_for(error, address) from error
    except (
        InvalidRequestError
    ) as error:  # how SQLAlchemy says that the connection went away while it was set up
        raise RetryLaterError(
            f"The connection to {address} was lost. Nothing was written.",
            hint="The next run tries again. If it lasts, `doctor` checks host, port, encryption and login.",
            code="source_away",
        ) from error


def list_databases(url: str | URL | ServerAddress) -> list[str]:
    """Databases on that server which this login may open, candidates for `PLANT3D_DB_NAME`."""
    address = url if isinstance(url, ServerAddress) else parse_address(url)
    engine = engine_for(address.in_database("master"))
    try:
        with _connected(engine, address) as connection:
            return [str(row[0]) for row in connection.execute(text(DATABASES_STATEMENT)).all()]
    finally:
        engine.dispose()


class SqlServerSource:
    """A P&ID database on SQL Server. There is no cheap test for "nothing happened"."""

    engine_name = "sqlserver"

    def __init__(self, url: str | URL, *, deadline: float = 30.0) -> None:
        self.address = parse_address(url)
        self.name = str(self.address)
        self.deadline = deadline

    def signature(self) -> str | None:
        """None: the server has no counter that one may ask without reading."""
        return None

    def snapshot(self) -> Snapshot:
        """Transfer the needed tables in one pass, again while the newest timestamp moves (at most five times).

        Raises ConfigError `driver_missing`, `source_login_failed`, `source_database_unknown`,
        `source_not_plant3d`, `source_unreadable`; RetryLaterError `source_busy`, `source_away`.
        """
        engine = engine_for(self.address, login_timeout=max(1, min(LOGIN_TIMEOUT, int(self.deadline))))
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
                with _connected(engine, self.address) as connection:
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


def _storable(text: str) -> str | bytes:
    """Text for the copy. Half a character (nvarchar takes it) cannot be text there: its bytes make the cell unknown."""
    whole = text if text.isascii() else texts.paired(text)
    try:
        whole.encode()
    except UnicodeEncodeError:
        return whole.encode("utf-8", "surrogatepass")
    return whole


def _stored(value: object, kind: str) -> object:
    """A driver's value as SQLite keeps it: GUIDs (one driver gives text) as 16 bytes in .NET order, bit as 0 or 1."""
    if kind == "uniqueidentifier":
        return guid_bytes(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, (int, float, bytes)):
        return value
    return str(value)
