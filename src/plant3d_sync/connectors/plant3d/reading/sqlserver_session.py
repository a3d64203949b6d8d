"""One connection to SQL Server for reading: plain statements in, rows out, and no wait without an end.

It talks to the driver directly. What SQLAlchemy would ask on its own (versions, isolation levels) is neither needed
nor always allowed, and names go into statements as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Final

from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress
from plant3d_sync.connectors.plant3d.sqlserver_drivers import Limits, recipe_for
from plant3d_sync.connectors.plant3d.sqlserver_errors import (
    database_closed,
    database_unknown,
    error_for,
    sql_error_number,
)
from plant3d_sync.errors import SyncError

ROWS: Final = 1000
"""Rows taken from the driver at a time."""

STATE_STATEMENT: Final = "SELECT [state_desc], [user_access_desc] FROM [sys].[databases]"

Row = Sequence[Any]


class Session:
    """A connection in autocommit mode; entering it connects. Raises ConfigError or RetryLaterError for whatever
    the driver or the server says.
    """

    def __init__(self, address: ServerAddress, *, limits: Limits) -> None:
        self.address = address
        self._limits = limits
        self._recipe = recipe_for(address)
        self._connection: Any = None

    @property
    def lossy(self) -> bool:
        """Whether the driver puts `?` in place of text it cannot convert, without a word.

        pymssql does, where FreeTDS makes UTF-8 of it. Through pyodbc it hands over UTF-16 as it came.
        """
        return self._recipe.chosen.module == "pymssql"

    def __enter__(self) -> Session:
        try:
            self._connection = self._recipe.connect(self._limits)
        except self._errors as error:
            meant = error_for(error, self.address)
            if meant.error_code in ("source_login_failed", "source_database_unknown"):
                meant = seen_from_master(self.address, sql_error_number(error), limits=self._limits) or meant
            raise meant from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        with suppress(Exception):  # whatever a broken connection says at its end changes nothing any more
            connection.close()

    def run(self, statement: str) -> None:
        """A statement without rows."""
        try:
            self._set_limit()
            with _closing(self._connection.cursor()) as cursor:
                cursor.execute(statement)
        except self._errors as error:
            raise error_for(error, self.address) from error

    def all(self, statement: str) -> list[Row]:
        """Every row of a short answer."""
        return [row for rows in self.pieces(statement) for row in rows]

    def pieces(self, statement: str) -> Iterator[list[Row]]:
        """The rows of a long answer, piece by piece; use them up before the next statement.

        Raises UnicodeDecodeError for text that is no Unicode (half a surrogate pair), where the driver tells it.
        """
        try:
            self._set_limit()
            with _closing(self._connection.cursor()) as cursor:
                cursor.execute(statement)
                yield from self._recipe.pieces(self._connection, cursor, ROWS)
        except self._errors as error:
            raise error_for(error, self.address) from error

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return self._recipe.errors()

    def _set_limit(self) -> None:
        """Again before every statement: with pymssql another thread may have set it since."""
        self._recipe.limit(self._connection, self._limits.statement)


def seen_from_master(address: ServerAddress, number: int | None, *, limits: Limits) -> SyncError | None:
    """What it means that the database did not let this login in, if `master` does; None if that does not either.

    SQL Server refuses the login as well where only the database's name is wrong, or the database is not open to
    anybody now, and some drivers tell only that.
    """
    if address.database.lower() in ("", "master"):
        return None
    recipe = recipe_for(address.in_database("master"))
    try:
        connection = recipe.connect(limits)
    except recipe.errors():
        return None
    words = address.database.replace("'", "''")
    # who may not ask for the state is told of the name
    with closing(connection), suppress(*recipe.errors()):
        cursor = connection.cursor()
        cursor.execute(f"{STATE_STATEMENT} WHERE [name] = N'{words}'")
        for state, access in cursor.fetchall():
            if (state, access) != ("ONLINE", "MULTI_USER"):
                return database_closed(address, str(state), str(access), number=number)
    return database_unknown(address, number=number)


class _closing:
    """Close a cursor; a failing close never hides the error that led to it."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __enter__(self) -> Any:
        return self._cursor

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._cursor.close()
