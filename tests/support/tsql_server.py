"""A server that executes the statements this program sends: real drivers, real TDS, the project file as its tables.

It is no SQL Server. The T-SQL that this program (and a designer of the tests) sends is so plain that SQLite runs it once
names, `N''` and lock hints are spelled its way; `dbo`, `INFORMATION_SCHEMA` and `sys` are attached databases, the rights
functions answer from `Rights`. Every connection has transactions of its own; a reader never waits for a writer, a writer
waits for another one as long as LOCK_TIMEOUT says, for the whole database and not for two rows, then gets error 1222.
What a statement means to SQL Server beyond that (collations, row locks, isolation, triggers) is not shown by it.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.plant_server import TYPES, summed
from tests.support.tds_endpoint import (
    Answer,
    Count,
    Drop,
    Login,
    Rows,
    ServerError,
    TdsEndpoint,
    starting_answers,
)

_TOKEN = re.compile(r"(N?'(?:[^']|'')*')|(\[(?:[^\]]|\]\])+\])|((?:(?!N')[^'\[])+|.)", re.DOTALL)
_HINT = re.compile(r"\bWITH \((?:UPDLOCK|HOLDLOCK|, )+\)")
_JOINED = re.compile(r"(?<=max\)\)) \+ (?=@P|$)|(?<=@P\d) \+ (?=@P)|(?<=@P\d\d) \+ (?=@P)|^ \+ $")
"""Between the pieces of a long text, parameters or literals."""
_AS_BYTES = re.compile(r'CAST\(("(?:[^"]|"")+") AS (varbinary\(max\)|binary\(16\))\)')
_LENGTH = re.compile(r'DATALENGTH\(("(?:[^"]|"")+")\)')
_UPDATED = re.compile(r'UPDATE "dbo"\."((?:[^"]|"")+)" SET (.+?)(?: WHERE |$)', re.DOTALL)
_COLUMN_SET = re.compile(r'(?:^|, )"((?:[^"]|"")+)"\s*=')
_FROM = re.compile(r'(?:FROM|JOIN) "dbo"\."((?:[^"]|"")+)"')
_RUNS = re.compile(r"\s*(SELECT|UPDATE|INSERT|DELETE)\b", re.IGNORECASE)


@dataclass(kw_only=True)
class Rights:
    """What a login may do. `updates`: (table, column) it may change, None for every one; `hidden`: tables it does not see."""

    updates: set[tuple[str, str]] | None = field(default_factory=set)
    hidden: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    """Tables that it sees and may not read."""
    on_schema: bool = True
    """Whether reading is granted on the schema, and not table by table."""
    powers: frozenset[str] = frozenset()
    """Server and database roles, and rights on the schema or the database beyond SELECT and VIEW DEFINITION."""

    def may(self, table: str, column: str) -> bool:
        """Whether this cell may be changed."""
        return self.updates is None or (table.lower(), column.lower()) in self.updates


class TsqlServer:
    """One database. `before` is called ahead of every SELECT of its tables, in the thread of that connection."""

    def __init__(self, path: Path, rights: Rights | None = None) -> None:
        self.path = path
        self.rights = rights or Rights()
        self.before: Callable[[str], None] = lambda _sql: None
        self.instead: Callable[[str], Answer | None] = lambda _sql: None
        """Statements with an answer of their own, asked first."""
        self.case_sensitive = False
        """Whether a name that is not spelled as it was made names nothing."""
        self.snapshots = False
        """Whether the database allows snapshot isolation; then the file is in WAL mode, and a reader sees one moment."""
        self.implicit = False
        """Whether `user options` let a transaction begin by itself, so that BEGIN TRANSACTION makes two of them."""
        self.updateability = "READ_WRITE"
        self.era = 0
        """How often it failed over."""
        self._replica: Path | None = None
        self.clock_apart = 0.0
        """Seconds by which the server's clock is ahead of this machine's."""
        self.clock_told: list[int] = []
        """What it said of its clock, in ticks."""
        self.fixed: dict[tuple[str, str], str] = {}
        """Columns (table, column) that the server computes or numbers: "is_computed", "is_identity"."""
        self.kinds: dict[tuple[str, str], str] = {}
        with closing(sqlite3.connect(path)) as db:
            found = db.execute(
                "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            )
            self.types = {name: kind for name, kind in found if not name.startswith("sqlite_")}
            self.tables = list(self.types)
            for table in self.tables:
                for _, name, declared, *_ in db.execute(f'PRAGMA table_info("{table}")'):
                    kind = TYPES.get(declared.lower(), ("nvarchar", str))[0]
                    self.kinds[table.lower(), name.lower()] = kind

    def fails_over(self, replica: Path) -> Drop:
        """Every connection is cut, and from then on what this copy holds answers: the last saves never reached it."""
        self._replica, self.era = replica, self.era + 1
        return Drop()

    def cut(self) -> None:
        """A connection has ended, and with it its transaction."""
        replica, self._replica = self._replica, None
        if replica is not None:
            with closing(sqlite3.connect(replica)) as old, closing(sqlite3.connect(self.path)) as db:
                old.backup(db)

    def session(self, login: Login) -> Connection:
        """For `TdsEndpoint.sessions`."""
        return Connection(self, login)

    def endpoint(self) -> TdsEndpoint:
        """An endpoint whose every connection talks to this database."""
        return TdsEndpoint(lambda _sql, _parameters: None, sessions=self.session)


class Connection:
    """One login: a SQLite connection with the database as `dbo`."""

    def __init__(self, server: TsqlServer, login: Login) -> None:
        self.server = server
        self.era = server.era
        self.open = 0
        """Transactions of T-SQL within each other; SQLite's begins with the first statement that locks."""
        self.implicit = server.implicit
        self.lock = threading.Lock()
        self.db = db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db.text_factory = plain_text
        db.execute("ATTACH ? AS dbo", (str(server.path),))
        db.execute("ATTACH ':memory:' AS INFORMATION_SCHEMA")
        db.execute("ATTACH ':memory:' AS sys")
        self._describe(login)

    def close(self) -> None:
        """The server rolls back whatever a connection leaves open."""
        with self.lock:
            self.db.close()
        self.server.cut()

    def _describe(self, login: Login) -> None:
        db, server, rights = self.db, self.server, self.server.rights
        run = db.execute
        run("CREATE TABLE INFORMATION_SCHEMA.TABLES (TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE)")
        run(
            "CREATE TABLE INFORMATION_SCHEMA.COLUMNS (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, ORDINAL_POSITION)"
        )
        run(
            "CREATE TABLE sys.databases (name, database_id, snapshot_isolation_state, state_desc, user_access_desc)"
        )
        run("CREATE TABLE sys.triggers (name, is_disabled, parent_class)")
        run("CREATE TABLE sys.objects (object_id, name, type, schema_id)")
        run("CREATE TABLE sys.columns (object_id, name, is_computed, is_identity, system_type_id)")
        run(
            "INSERT INTO sys.databases VALUES (?, 5, ?, 'ONLINE', 'MULTI_USER')",
            (login.database, int(server.snapshots)),
        )
        for number, table in enumerate(server.tables):
            if table in rights.hidden:
                continue
            view = server.types[table] == "view"
            run(
                "INSERT INTO INFORMATION_SCHEMA.TABLES VALUES ('dbo', ?, ?)",
                (table, "VIEW" if view else "BASE TABLE"),
            )
            run("INSERT INTO sys.objects VALUES (?, ?, ?, 1)", (number, table, "V" if view else "U"))
            for at, name, *_ in run(f'PRAGMA dbo.table_info("{table}")').fetchall():
                run(
                    "INSERT INTO INFORMATION_SCHEMA.COLUMNS VALUES ('dbo', ?, ?, ?, ?)",
                    (table, name, server.kinds[table.lower(), name.lower()], at),
                )
                kind = server.kinds[table.lower(), name.lower()]
                fixed = server.fixed.get((table, name))
                run(
                    "INSERT INTO sys.columns VALUES (?, ?, ?, ?, ?)",
                    (number, name, int(fixed == "is_computed"), int(fixed == "is_identity"), kind),
                )
        db.create_function("DB_ID", 0, lambda: 5)
        db.create_function("HAS_DBACCESS", 1, lambda _name: 1)
        db.create_function("SUSER_SNAME", 0, lambda: login.user)
        db.create_function("SCHEMA_NAME", -1, lambda *_number: "dbo")
        db.create_function("DB_NAME", 0, lambda: login.database)
        db.create_function("TYPE_NAME", 1, lambda kind: kind)
        db.create_function("DATABASEPROPERTYEX", 2, lambda _name, _of: server.updateability)
        db.create_function("QUOTENAME", 1, lambda name: f"[{name}]")
        db.create_function("IS_SRVROLEMEMBER", 1, lambda name: int(name in rights.powers))
        db.create_function("IS_ROLEMEMBER", 1, lambda name: int(name in rights.powers))
        db.create_function("HAS_PERMS_BY_NAME", -1, self._has_permission)
        db.create_function("DATALENGTH", 1, lambda text: None if text is None else len(_utf16(text)))
        db.create_function("utf16", 1, _utf16)
        db.create_function("guid16", 1, lambda raw: one.bytes_le if (one := _guid(raw)) else None)

    def _has_permission(self, securable: str | None, of_class: str, right: str, *sub: str) -> int | None:
        if of_class == "OBJECT" and not sub:
            return int(
                bool(securable) and securable.split(".")[-1].strip("[]") not in self.server.rights.unreadable
            )
        if sub:
            table, (column, _kind) = securable.split(".")[-1].strip("[]") if securable else "", sub
            return None if column.startswith("[") else int(self.server.rights.may(table, column))
        reading = of_class == "SCHEMA" and right in ("SELECT", "VIEW DEFINITION")
        return int(
            right in self.server.rights.powers
            or (reading and self.server.rights.on_schema and not self.server.rights.hidden)
        )

    # ------------------------------------------------------------ statements

    def __call__(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if self.era != self.server.era:
            return Drop()
        answer = self.server.instead(sql)
        if answer is not None:
            return answer
        with self.lock:
            return self._answer(sql.strip().removesuffix(";"), parameters)

    def _answer(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if "SET IMPLICIT_TRANSACTIONS OFF" in sql:
            self.implicit = False
        found = re.search(r"SET LOCK_TIMEOUT (\d+)", sql)
        if found:
            self.db.execute(f"PRAGMA busy_timeout = {found[1]}")
            return Count()
        word = sql.upper()
        if "ISOLATION LEVEL SNAPSHOT" in word:
            self.db.execute("BEGIN")
            return Count()
        if word.startswith("BEGIN TRAN"):
            self.open += 2 if self.implicit and not self.open else 1
            return Count()
        if word.startswith(("COMMIT", "ROLLBACK", "IF @@TRANCOUNT > 0")):
            return self._end("COMMIT" if word.startswith("COMMIT") else "ROLLBACK")
        asked_by_drivers = starting_answers(sql)
        if asked_by_drivers is not None or not _RUNS.match(sql):
            return asked_by_drivers
        if "SYSUTCDATETIME()" in sql:
            return self._clock()
        if "COUNT_BIG(*)" in sql:
            return self._summed(sql)
        if "FROM [dbo]." in sql:
            self.server.before(sql)
        return self._executed(translated(sql), parameters, locks="UPDLOCK" in sql)

    def _clock(self) -> Answer:
        """As CONVERT with style 126 writes it: hundreds of nanoseconds behind the second."""
        moment = datetime.now(UTC) + timedelta(seconds=self.server.clock_apart)
        self.server.clock_told.append(ticks_of(moment))
        return Rows([("", str)], [[f"{moment:%Y-%m-%dT%H:%M:%S.%f}0"]])

    def _end(self, word: str) -> Answer:
        self.open = max(0, self.open - 1) if word == "COMMIT" else 0
        if self.open:
            return Count()
        if self.db.in_transaction:
            try:
                self.db.execute(word)
            except sqlite3.OperationalError:  # a reader of this moment; SQL Server's would not be in the way
                self.db.execute("ROLLBACK")
                return ServerError(1222, "Lock request time out period exceeded.")
        return Count()

    def _executed(self, sql: str, parameters: tuple[Any, ...], *, locks: bool) -> Answer | None:
        refused = self._refused(sql) or self._misspelled(sql)
        if refused is not None:
            return refused
        values = {f"P{number}": value for number, value in enumerate(parameters, 1)}
        reads = sql.lstrip()[:6].upper() == "SELECT"
        try:
            if self.open and (locks or not reads) and not self.db.in_transaction:
                self.db.execute("BEGIN IMMEDIATE")
            cursor = self.db.execute(sql, values)
            rows = cursor.fetchall()
        except sqlite3.OperationalError as error:
            return _server_error(str(error))
        return (
            self._typed(sql, [one[0] for one in cursor.description], rows)
            if reads
            else Count(cursor.rowcount)
        )

    def _misspelled(self, sql: str) -> ServerError | None:
        """A name of this database in other letters than its own."""
        if not self.server.case_sensitive:
            return None
        known = {*self.server.tables, "dbo", "INFORMATION_SCHEMA", "TABLES", "COLUMNS", "sys"}
        for schema, table in [("dbo", one) for one in self.server.tables] + [
            ("INFORMATION_SCHEMA", "TABLES"),
            ("INFORMATION_SCHEMA", "COLUMNS"),
            *(("sys", one) for one in ("databases", "triggers", "objects", "columns")),
        ]:
            known |= {row[1] for row in self.db.execute(f'PRAGMA "{schema}".table_info("{table}")')}
        folded = {one.lower() for one in known}
        for name in re.findall(r'"((?:[^"]|"")+)"', sql):
            if name not in known and name.lower() in folded:
                return ServerError(208, f"Invalid object name '{name}'.")
        return None

    def _refused(self, sql: str) -> ServerError | None:
        updated = _UPDATED.match(sql)
        if updated and self.server.updateability == "READ_ONLY":
            return ServerError(3906, "Failed to update database because the database is read-only.")
        if updated:
            for column in _COLUMN_SET.findall(updated[2]):
                if not self.server.rights.may(updated[1], column):
                    return ServerError(230, f"The UPDATE permission was denied on the column '{column}'", 14)
        for table in _FROM.findall(sql):
            if table in self.server.rights.hidden | self.server.rights.unreadable:
                return ServerError(229, f"The SELECT permission was denied on the object '{table}'", 14)
        return None

    def _typed(self, sql: str, names: Sequence[str], rows: list[Any]) -> Rows:
        """Every column in one type of TDS: a GUID and a bit as declared, all else as its values are."""
        tables = [one.lower() for one in _FROM.findall(sql)]
        columns: list[tuple[str, type]] = []
        converts: list[Callable[[Any], Any] | None] = []
        for place, name in enumerate(names):
            declared = {self.server.kinds.get((table, name.lower())) for table in tables}
            found = {type(row[place]) for row in rows} - {type(None)}
            kind, convert = _kind(declared, found)
            columns.append(("" if "(" in name else name, kind))
            converts.append(convert)
        if any(converts):
            rows = [
                [one if one is None or not to else to(one) for one, to in zip(row, converts, strict=True)]
                for row in rows
            ]
        return Rows(columns, rows)

    def _summed(self, sql: str) -> Answer | None:
        def named(table: str) -> tuple[list[str], list[Any]] | None:
            if table not in self.server.tables:
                return None
            cursor = self.db.execute(f'SELECT * FROM dbo."{table}"')
            return [one[0] for one in cursor.description], cursor.fetchall()

        return summed(sql, named)


def ticks_of(moment: datetime) -> int:
    """.NET ticks, as Plant 3D stamps rows."""
    since = moment - datetime(1, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10_000_000 + since.microseconds * 10


def translated(sql: str) -> str:
    """The statement as SQLite spells it: names in double quotes, text without N, no lock hints."""
    made = "".join(_pieces(sql.replace("QUOTENAME('dbo') + '.' + ", "'[dbo].' || ")))
    made = _LENGTH.sub(r"DATALENGTH(CAST(\1 AS BLOB))", made)
    return _AS_BYTES.sub(
        lambda m: f"guid16({m[1]})" if m[2].startswith("bin") else f"utf16(CAST({m[1]} AS BLOB))", made
    )


def _pieces(sql: str) -> Iterator[str]:
    for text, name, other in _TOKEN.findall(sql):
        if text:
            yield text.removeprefix("N")
        elif name:
            yield '"' + name[1:-1].replace("]]", "]").replace('"', '""') + '"'
        else:
            yield _JOINED.sub(" || ", _HINT.sub("", other).replace("ISNULL(", "ifnull(")).replace(
                "AS NVARCHAR(max))", "AS TEXT)"
            )


def _kind(declared: set[str | None], found: set[type]) -> tuple[type, Callable[[Any], Any] | None]:
    if "uniqueidentifier" in declared:
        return uuid.UUID, _guid
    if "bit" in declared and found <= {int}:
        return bool, bool
    if found <= {int} and found:
        return int, None
    if found <= {int, float} and found:
        return float, float
    if found == {bytes}:
        return bytes, None
    return str, str if found - {str} else None


def _server_error(said: str) -> ServerError:
    if "locked" in said:
        return ServerError(1222, "Lock request time out period exceeded.")
    if "no such table" in said:
        return ServerError(208, f"Invalid object name ({said})")
    if "no such column" in said:
        return ServerError(207, f"Invalid column name ({said})")
    return ServerError(50000, said)


def plain_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # what no nvarchar can hold
        return raw.decode("utf-8", "replace")


def _utf16(raw: bytes | None) -> bytes | None:
    """What nvarchar holds of a text; SQLite gives no function a text that is no UTF-8, so it comes as bytes."""
    return None if raw is None else plain_text(raw).encode("utf-16-le", "surrogatepass")


def _guid(raw: Any) -> uuid.UUID | None:
    """None too for what no uniqueidentifier can hold."""
    try:
        return uuid.UUID(bytes_le=raw) if isinstance(raw, bytes) else uuid.UUID(str(raw))
    except ValueError:
        return None


def as_a_server_holds_it(path: Path) -> None:
    """Make every text of a project file one that nvarchar can hold: bytes that are no UTF-8 become the sign for that."""
    with closing(sqlite3.connect(path)) as db, db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in db.execute(f'PRAGMA table_info("{table}")').fetchall():
                rows = db.execute(
                    f'SELECT rowid, CAST("{column}" AS BLOB) FROM "{table}" WHERE typeof("{column}") = \'text\''
                ).fetchall()
                for row, raw in rows:
                    text = raw.decode("utf-8", "replace")
                    if text.encode() != raw:
                        db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (text, row))
