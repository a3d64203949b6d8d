"""Plant 3D projects on SQL Server: engines for writing and asking, and the source that is read.

The database is not altered in any way (no snapshot isolation, no triggers, no change tracking): upgrades and
audits expect Autodesk's schema. How it is read whole all the same: `sqlserver_read`.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable

from sqlalchemy import URL, Engine, create_engine

from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.elsewhere import in_a_thread
from plant3d_sync.connectors.plant3d.reading.copy import LocalCopy
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.reading.sqlserver_look import look
from plant3d_sync.connectors.plant3d.reading.sqlserver_read import Reading, Taken
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import Session
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, parse_address
from plant3d_sync.connectors.plant3d.sqlserver_drivers import (
    DEFAULT_LIMITS,
    Limits,
    recipe_for,
    transactions_in_words,
)
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.failpoints import failpoint

DATABASES_STATEMENT = "SELECT [name] FROM [sys].[databases] WHERE HAS_DBACCESS([name]) = 1 ORDER BY [name]"
PRESENT_STATEMENT = (
    "SELECT [TABLE_NAME] FROM [INFORMATION_SCHEMA].[TABLES] "
    "WHERE [TABLE_SCHEMA] = 'dbo' AND [TABLE_NAME] IN ('PnPBase', 'PnPTables')"
)
DAY = 86_400
"""Seconds for which one look is believed."""
LONGEST_SILENCE = 60
"""Seconds a server may take to say anything at all."""


def engine_for(
    where: str | URL | ServerAddress, *, limits: Limits = DEFAULT_LIMITS, autocommit: bool = False
) -> Engine:
    """The one place that makes an engine for SQL Server, with encryption on and every wait limited.

    Microsoft's ODBC driver: `Encrypt=yes`, the certificate is checked. FreeTDS, alone or as pymssql: encryption is
    required; the certificate is checked if FREETDSCONF names a CA file. Options given in the URL win. The engine's own
    URL holds neither address nor password. Raises ConfigError `driver_missing`, `source_url`.
    """
    address = where if isinstance(where, ServerAddress) else parse_address(where)
    recipe = recipe_for(address)
    engine = create_engine(
        f"mssql+{recipe.chosen.module}://",
        creator=lambda: recipe.connect(limits),
        pool_pre_ping=True,
        hide_parameters=True,
    )
    transactions_in_words(engine.dialect, autocommit=autocommit)
    return engine


def list_databases(url: str | URL | ServerAddress) -> list[str]:
    """Databases on that server which this login may open, candidates for `PLANT3D_DB_NAME`."""
    address = url if isinstance(url, ServerAddress) else parse_address(url)
    with Session(address.in_database("master"), limits=DEFAULT_LIMITS) as session:
        return [str(row[0]) for row in session.all(DATABASES_STATEMENT)]


class SqlServerSource:
    """A P&ID database on SQL Server. `clock`: POSIX seconds."""

    engine_name = "sqlserver"

    def __init__(
        self, url: str | URL, *, deadline: float = 30.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self.address = parse_address(url)
        self.name = str(self.address)
        self.deadline = deadline

    def signature(self) -> str | None:
        """What the server says of every table in a few rows, good for the day; see `sqlserver_look`.

        None when it cannot be asked now: the reading that follows says why. Raises ConfigError `source_login_failed`: a
        reading would be refused as well, and each try counts towards the lock of the account.
        """
        seen = in_a_thread(self.name, self._looked, math.inf)
        return None if seen is None else f"{seen}:{int(self._clock() // DAY)}"

    def _looked(self) -> str | None:
        try:
            with Session(self.address, limits=self._limits()) as session:
                return look(session)
        except (ConfigError, RetryLaterError) as error:
            if error.error_code == "source_login_failed":
                raise
            return None

    def probe(self) -> None:
        """Log in and see that it is a P&ID database, without reading it. Raises what `snapshot` raises."""
        with Session(self.address, limits=self._limits()) as session:
            present = {str(row[0]).lower() for row in session.all(PRESENT_STATEMENT)}
        missing = [name for name in ("PnPTables", "PnPBase") if name.lower() not in present]
        if missing:
            raise errors.not_plant3d(self.name, missing)

    def snapshot(self) -> Snapshot:
        """Transfer the needed tables; what moves meanwhile is read again alone, or named as unsettled.

        Raises ConfigError `driver_missing`, `source_login_failed`, `source_database_unknown`, `source_encryption`,
        `source_not_plant3d`, `source_unreadable`; RetryLaterError `source_busy`, `source_away`.
        """
        started = time.monotonic()
        copy = LocalCopy()
        done = False
        try:
            taken = in_a_thread(self.name, lambda: self._transferred(copy, started), math.inf)
            copy.open()
            done = True
        except sqlite3.Error as error:
            raise errors.from_sqlite(error, "the local copy", 0.0) from error
        finally:
            if not done:
                copy.close()
        return Snapshot.open(
            copy,
            name=self.name,
            lock_ms=(time.monotonic() - started) * 1000,
            engine=self.engine_name,
            change_counter=None,
            signature=None,
            copy_kind=None,
            unsettled=taken.unsettled,
            unreadable=taken.unreadable,
            twice=taken.twice,
        )

    def _transferred(self, copy: LocalCopy, started: float) -> Taken:
        """Fill the copy; every statement has an end of its own."""
        with Session(self.address, limits=self._limits()) as session:
            failpoint("source.copy_begun")
            reading = Reading(session, copy, self.name, until=started + self.deadline, deadline=self.deadline)
            taken = reading.take()
        failpoint("source.copy_closed")
        return taken

    def _limits(self) -> Limits:
        """No single wait is longer than the whole reading may be."""
        whole = max(1, math.ceil(self.deadline))
        silence = min(LONGEST_SILENCE, whole)
        return Limits(
            login=min(DEFAULT_LIMITS.login, whole),
            statement=silence,
            lock_ms=min(DEFAULT_LIMITS.lock_ms, silence * 500),
        )
