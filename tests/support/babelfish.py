"""The executing endpoint as Babelfish for PostgreSQL 4.3 would answer, where that differs from SQL Server.

Babelfish is no SQL Server, but people try this program on it. What differs here is taken from its sources and the
threads about them: statements that it refuses (CHECKSUM_AGG, BACKUP), one error number for everything that it has no
number for, rights on a schema that it does not tell, names in lower case in `sys.objects`, text as bytes of PostgreSQL's
encodings (UTF-16 came with 4.5), snapshot isolation that is always allowed, and a transaction that ends with the first
statement that fails in it.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.tds_endpoint import Answer, Login, ServerError, TdsEndpoint
from tests.support.tsql_server import Connection, Rights, TsqlServer, plain_text

NOT_MAPPED = 33557097
"""The number of every PostgreSQL error that has none of SQL Server's."""

_UNSUPPORTED = re.compile(r"\b(CHECKSUM_AGG|BINARY_CHECKSUM|BACKUP DATABASE|VIEW DEFINITION (?=ON))\b")
_MISSING = ("sys.system_views", "fn_listextendedproperty", "dm_exec_sessions")
_WORDS = {
    229: "permission denied for table {0}",
    230: "permission denied for table {0}",
    207: 'column "{0}" does not exist',
    208: 'relation "{0}" does not exist',
    1222: "canceling statement due to lock timeout",
    3906: "cannot execute UPDATE in a read-only transaction",
}
_KEPT = frozenset({911, 1205, 2627, 8152, 18456})
"""Numbers that it has as well."""


class BabelfishServer(TsqlServer):
    """One database on it. `dbo`: whether the login is the database's owner or sysadmin, who is told of every right."""

    def __init__(self, path: Path, rights: Rights | None = None) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
        super().__init__(path, rights)
        self.snapshots = True
        self.dbo = False
        self.refused: list[str] = []
        """Statements that it did not take."""

    def session(self, login: Login) -> Connection:
        """For `TdsEndpoint.sessions`."""
        return _Connection(self, login)

    def endpoint(self) -> TdsEndpoint:
        """An endpoint whose every connection talks to this database."""
        made = super().endpoint()
        made.unknown_database = ServerError(911, 'database "elsewhere" does not exist')
        return made


class _Connection(Connection):
    server: BabelfishServer
    aborted = False
    """Whether a statement failed in the transaction that the client takes for open."""

    def _describe(self, login: Login) -> None:
        super()._describe(login)
        self.db.execute("UPDATE sys.objects SET name = lower(name)")
        self.db.create_function("DATALENGTH", 1, lambda text: None if text is None else len(text))
        self.db.create_function("utf16", 1, _in_the_code_page)

    def _has_permission(self, securable: str | None, of_class: str, right: str, *sub: str) -> int | None:
        if sub:
            return super()._has_permission(securable, of_class, right, *sub)
        if of_class == "OBJECT":
            return super()._has_permission(securable, of_class, right)
        return int(self.server.dbo)

    def __call__(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        answer = super().__call__(sql, parameters)
        if isinstance(answer, ServerError):
            self._abort()
            return _told(answer)
        return answer

    def _answer(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        found = _UNSUPPORTED.search(sql)
        if found or any(name in sql for name in _MISSING):
            self.server.refused.append(sql)
            what = found[1] if found else "that"
            return ServerError(NOT_MAPPED, f"'{what}' is not currently supported in Babelfish")
        word = sql.split()[0].upper()
        if self.aborted and word in ("COMMIT", "ROLLBACK"):
            self.aborted = False
            number = 3902 if word == "COMMIT" else 3903
            return ServerError(number, f"{word} can only be used in transaction blocks")
        if word == "BEGIN":
            self.aborted = False
        return super()._answer(sql, parameters)

    def _abort(self) -> None:
        with self.lock:
            self.aborted = self.aborted or self.open or self.db.in_transaction
            self.open = False
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")


def _told(answer: ServerError) -> ServerError:
    if answer.number in _KEPT or answer.number == NOT_MAPPED:
        return answer
    words = _WORDS.get(answer.number)
    if words is None:
        return answer
    named = re.search(r"['(](?:no such \w+: )?(?:dbo\.)?([\w ]+)", answer.message)
    return ServerError(NOT_MAPPED, words.format(named[1].lower() if named else "x"), 16)


def _in_the_code_page(raw: bytes | None) -> bytes | None:
    """What `CAST(nvarchar AS varbinary)` gives before 4.5."""
    return None if raw is None else plain_text(raw).encode("cp1252", "replace")
