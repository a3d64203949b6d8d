"""A real SQL Server, where `P3D_TEST_MSSQL_URL` names one: databases of our own there, filled from a project file.

The login of the URL must be allowed to create databases and logins. Nothing but databases and logins whose names begin
with `p3dsync_test_` is made, changed or dropped; a URL that names another database is refused.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plant3d_sync.connectors.plant3d.names import bracketed
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, parse_address
from plant3d_sync.connectors.plant3d.sqlserver_drivers import Limits, recipe_for
from plant3d_sync.connectors.plant3d.sqlserver_errors import error_for
from tests.support.plant_server import TYPES

VARIABLE = "P3D_TEST_MSSQL_URL"
PREFIX = "p3dsync_test_"
ROWS = 200
LIMITS = Limits(login=30, statement=120, lock_ms=30_000)


class NotATestServer(Exception):
    """The URL points at somebody's database; nothing was touched."""


def named_server() -> ServerAddress | None:
    """What the variable names; None if it is not set. Raises NotATestServer."""
    url = os.environ.get(VARIABLE)
    if not url:
        return None
    address = parse_address(url)
    if address.database.lower() not in ("", "master") and not address.database.startswith(PREFIX):
        raise NotATestServer(
            f"{VARIABLE} names the database {address.database}. Nothing was touched. "
            f"Name `master`: the tests make databases of their own ({PREFIX}...)."
        )
    return address


def refuse_useless(server: ServerAddress) -> None:
    """Say at once, in words, why nothing can be tried there. Raises NotATestServer, without the password."""
    master = server.in_database("master")
    recipe = recipe_for(master)
    try:
        with connected(master) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'CREATE ANY DATABASE'), SUSER_SNAME()")
            may, login = cursor.fetchall()[0]
    except recipe.errors() as error:
        meant = error_for(error, master)
        raise NotATestServer(f"{VARIABLE}: {meant.message} {meant.hint}") from error
    if may != 1:
        raise NotATestServer(
            f"{VARIABLE}: the login {login} may not create databases on {master}. Nothing was made there. "
            "Name a login that may (dbcreator and securityadmin, or sa)."
        )


def create_statements(path: Path) -> Iterator[str]:
    """T-SQL that makes the tables of a project file and fills them, in batches of rows."""
    with closing(sqlite3.connect(path)) as db:
        names = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith("sqlite_")
        ]
        for name in names:
            columns = [(row[1], _kind(row[2])) for row in db.execute(f'PRAGMA table_info("{name}")')]
            declared = ", ".join(
                f"{bracketed(column)} {kind} {'NOT NULL PRIMARY KEY' if column == 'PnPID' else 'NULL'}"
                for column, kind in columns
            )
            yield f"CREATE TABLE [dbo].{bracketed(name)} ({declared})"
            heads = ", ".join(bracketed(column) for column, _ in columns)
            rows = db.execute(f'SELECT * FROM "{name}"')
            while some := rows.fetchmany(ROWS):
                values = ",\n".join(
                    f"({', '.join(literal(value, kind) for value, (_, kind) in zip(row, columns, strict=True))})"
                    for row in some
                )
                yield f"INSERT INTO [dbo].{bracketed(name)} ({heads}) VALUES\n{values}"


def _kind(declared: str) -> str:
    kind, _ = TYPES.get(declared.lower(), ("nvarchar", str))
    return "nvarchar(max)" if kind == "nvarchar" else kind


def literal(value: Any, kind: str) -> str:
    """A value as T-SQL writes it."""
    if value is None:
        return "NULL"
    if kind == "uniqueidentifier":
        return f"'{uuid.UUID(bytes_le=value) if isinstance(value, bytes) else value}'"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int | float):
        return repr(value)
    return "N'" + str(value).replace("'", "''") + "'"


@dataclass(frozen=True, kw_only=True)
class RealDatabase:
    """One database of ours on the server."""

    address: ServerAddress
    name: str

    @property
    def url(self) -> str:
        """For `source:`; holds the password."""
        return self.address.url

    def run(self, *statements: str) -> None:
        """Statements without rows, each for itself."""
        with connected(self.address) as connection:
            for statement in statements:
                _execute(connection, statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of one answer."""
        with connected(self.address) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    @contextmanager
    def login(self, script: Sequence[str], role: str) -> Iterator[str]:
        """The URL of a new login that has this role and nothing else. `script`: what makes the role."""
        name, password = f"{PREFIX}{secrets.token_hex(4)}", f"Aa1!{secrets.token_urlsafe(16)}"
        self.run(
            *script,
            f"CREATE LOGIN {bracketed(name)} WITH PASSWORD = N'{password}', CHECK_POLICY = OFF",
            f"CREATE USER {bracketed(name)} FOR LOGIN {bracketed(name)}",
            f"ALTER ROLE {bracketed(role)} ADD MEMBER {bracketed(name)}",
        )
        try:
            yield replace(self.address, user=name, password=password).url
        finally:
            self.run(f"DROP USER {bracketed(name)}", f"DROP LOGIN {bracketed(name)}")


@contextmanager
def database_of(server: ServerAddress, path: Path) -> Iterator[RealDatabase]:
    """The project file as a database on the server, gone afterwards."""
    name = PREFIX + secrets.token_hex(6)
    master = server.in_database("master")
    with connected(master) as connection:
        _execute(connection, f"CREATE DATABASE {bracketed(name)}")
    made = RealDatabase(address=server.in_database(name), name=name)
    try:
        made.run(*create_statements(path))
        yield made
    finally:
        with connected(master) as connection:
            with suppress(
                *recipe_for(master).errors()
            ):  # not every server knows it; DROP alone then has to do
                _execute(
                    connection, f"ALTER DATABASE {bracketed(name)} SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
                )
            _execute(connection, f"DROP DATABASE {bracketed(name)}")


@contextmanager
def connected(address: ServerAddress) -> Iterator[Any]:
    """A connection of the product's own making, in autocommit mode."""
    connection = recipe_for(address).connect(LIMITS)
    try:
        yield connection
    finally:
        connection.close()


def _execute(connection: Any, statement: str) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement)
