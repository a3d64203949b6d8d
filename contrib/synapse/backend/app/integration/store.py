"""Transactions on SYNAPSE's own engine."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.integration import theirs
from app.integration.problems import Problem

log = logging.getLogger("app.integration")

RETRYABLE = frozenset({"23505", "40001", "40P01"})
"""SQLSTATEs that say: another writer took the tag or the identity, or we stood in each other's way."""


class StillRunning(Exception):
    """The same piece of work is being done right now by another request."""


class Overtaken(Exception):
    """Another writer came between what was read and what was written; nothing was applied, try once more."""


class Store:
    """Opens transactions. The first one looks whether the database was migrated."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._guard = threading.Lock()
        self._checked = False
        self.on_create: dict[str, str] = {}

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent snapshot: what is read inside belongs together."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with connection.begin():
                self._prepare(connection)
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block and is rolled back by any exception."""
        try:
            with self._engine.connect() as connection:
                connection = connection.execution_options(
                    isolation_level="READ COMMITTED", integration_on_create=self.on_create
                )
                with connection.begin():
                    self._prepare(connection)
                    yield connection
        except DBAPIError as error:
            if sqlstate(error) in RETRYABLE:
                raise Overtaken from error
            raise

    @contextmanager
    def writing_once(self, work: str) -> Iterator[sa.Connection]:
        """As `writing`, but raises `StillRunning` if the same `work` is running elsewhere.

        The mark is a lock of the transaction: a killed server leaves none behind.
        """
        with self.writing() as connection:
            locked = connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": lock_number(work)})
            if not locked:
                raise StillRunning
            yield connection

    def look(self) -> str | None:
        """What the database lacks, or None; also None when it does not answer, which the first call tells."""
        try:
            with self.reading():
                return None
        except Problem as problem:
            return problem.detail
        except DBAPIError as error:
            log.warning("The database does not answer yet: %s.", type(error.orig).__name__)
            return None

    def _prepare(self, connection: sa.Connection) -> None:
        """Times are UTC on both ways, whatever the server's zone and whatever kind `deleted_at` is of."""
        connection.execute(sa.text("SET LOCAL TIME ZONE 'UTC'"))
        if self._checked:
            return
        with self._guard:
            fault = theirs.schema_fault(connection)
            if fault is not None:
                raise Problem(503, "not_installed", f"The integration API is not ready: {fault}.")
            self.on_create.update(theirs.on_create(connection))
            self._checked = True


def sqlstate(error: DBAPIError) -> str | None:
    """The five characters of PostgreSQL, from whichever driver."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def lock_number(text: str) -> int:
    """A 64-bit number for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
