"""Careful writing into a Plant 3D database on SQL Server, by the same recipe as for a `.dcf`.

Locks are taken by hints in the reads (UPDLOCK, HOLDLOCK on two rows by key) for the length of one item's
transaction; nothing of the database itself is altered, because Plant 3D's upgrades and audits expect its schema.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    NVARCHAR,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    SmallInteger,
    Unicode,
    Update,
    bindparam,
    cast,
    event,
    inspect,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql import column, quoted_name, table
from sqlalchemy.sql.expression import ColumnClause, FromClause, TableClause
from sqlalchemy.types import TypeEngine

from plant3d_sync.connectors.plant3d.drawing_names import (
    ANNOTATIONS,
    GROUPS,
    drawing_columns,
    drawing_names,
)
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.reading.sqlserver import engine_for
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import seen_from_master
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, parse_address
from plant3d_sync.connectors.plant3d.sqlserver_clock import server_ticks
from plant3d_sync.connectors.plant3d.sqlserver_drivers import (
    DEFAULT_LIMITS,
    Limits,
    recipe_for,
    untidy_errors,
)
from plant3d_sync.connectors.plant3d.sqlserver_errors import LOGIN_FAILED, moment_of, sql_error_number
from plant3d_sync.connectors.plant3d.writing.cells import BaseRow, Outcome
from plant3d_sync.connectors.plant3d.writing.grants import FIXED, PLACEHOLDER, fixed_columns
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from plant3d_sync.model.moment import TICKS

SCHEMA: Final = "dbo"
_BASE_COLUMNS: Final = 4
"""Columns of `PnPBase` that are read before the cells."""
_LONGEST_SENT: Final = 4000
"""Units of UTF-16 in one parameter; a longer one is not an nvarchar for each driver."""
STATEMENT_SECONDS: Final = 10
"""Silence of the server after which one statement of a write is given up."""
_LOCK_HINT: Final = "WITH (UPDLOCK, HOLDLOCK)"
_BUSY: Final = frozenset({1205, 1222, 3960})
"""Deadlock victim, lock request timeout, snapshot update conflict."""
_NO_RIGHT: Final = frozenset({229, 230})
_NO_SUCH: Final = frozenset({207, 208})
_TOO_LONG: Final = frozenset({2628, 8152})
_READ_ONLY: Final = frozenset({3906, 3908})
"""The database is read-only, or in emergency mode."""

TABLE_NAMES: Final = "SELECT [TABLE_NAME] FROM [INFORMATION_SCHEMA].[TABLES] WHERE [TABLE_SCHEMA] = 'dbo' AND [TABLE_TYPE] = 'BASE TABLE'"
_info: Final = table(
    "COLUMNS",
    *(column(name, Unicode()) for name in ("TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME")),
    schema="INFORMATION_SCHEMA",
)
TRIGGERS: Final = "SELECT t.[name] FROM sys.triggers AS t WHERE t.[is_disabled] = 0 AND t.[parent_class] = 1 ORDER BY t.[name]"


def writing_limits(deadline_ms: int) -> Limits:
    """Waits of a connection that writes: a lock is waited for as long as `deadline_ms`, whatever the statement."""
    return Limits(statement=STATEMENT_SECONDS, lock_ms=max(1, deadline_ms))


def _named(name: str, *columns: ColumnClause[Any]) -> TableClause:
    return table(quoted_name(name, True), *columns, schema=quoted_name(SCHEMA, True))


def _column(name: str, kind: type[TypeEngine[Any]] | None = None) -> ColumnClause[Any]:
    quoted = quoted_name(name, True)
    return column(quoted, kind()) if kind is not None else column(quoted)


def select_base(pnpid: int, *, lock: bool) -> Select[Any]:
    """The item's row in `PnPBase`."""
    base = _base_table()
    statement = select(base.c.PnPClassName, base.c.PnPGuid, base.c.PnPTimestamp, base.c.PnPRevision).where(
        base.c.PnPID == pnpid
    )
    return statement.with_hint(base, _LOCK_HINT, "mssql") if lock else statement


def select_cell(name: str, cell: str, pnpid: int, *, lock: bool) -> Select[Any]:
    """One cell of one table."""
    key, value = _column("PnPID", BigInteger), _column(cell, Unicode)
    target = _named(name, key, value)
    statement = select(value).where(key == pnpid)
    return statement.with_hint(target, _LOCK_HINT, "mssql") if lock else statement


def select_item(pnpid: int, wanted: Sequence[Sequence[str]]) -> Select[Any]:
    """One item under the lock, in one row: its base row, then for each of `wanted` (table, columns) key and cells.

    The key is NULL where the item has no row in that table.
    """
    base = _base_table()
    columns: list[ColumnElement[Any]] = [
        base.c.PnPClassName,
        base.c.PnPGuid,
        base.c.PnPTimestamp,
        base.c.PnPRevision,
    ]
    joined: FromClause = base
    tables: list[FromClause] = [base]
    for number, (name, *cells) in enumerate(wanted):
        made = _named(name, _column("PnPID", BigInteger), *(_column(cell, Unicode) for cell in cells))
        other = made.alias(f"t{number}")
        joined = joined.outerjoin(other, other.c.PnPID == pnpid)
        columns += [other.c.PnPID, *(other.c[cell] for cell in cells)]
        tables.append(other)
    statement = select(*columns).select_from(joined).where(base.c.PnPID == pnpid)
    for one in tables:
        statement = statement.with_hint(one, _LOCK_HINT, "mssql")
    return statement


def _base_of(row: Sequence[Any] | None) -> BaseRow | None:
    if row is None:
        return None
    return BaseRow(class_name=str(row[0]), guid=guid_text(row[1]), timestamp=row[2], revision=row[3])


def update_cell(name: str, cell: str, pnpid: int, old: object, new: str | None) -> Update:
    """Change one cell that still holds `old` (the comparison follows the collation; the exact one was made before)."""
    key, value = _column("PnPID", BigInteger), _column(cell, Unicode)
    target = _named(name, key, value)
    wanted: BindParameter[int] = bindparam(
        f"{cell}_key", pnpid
    )  # named after the key, it would meet a column PnPID_1
    return update(target).where(key == wanted, _same(value, old)).values({value: _sent(new)})


def update_base(pnpid: int, old_stamp: object, stamp: int, revision: int) -> Update:
    """Raise stamp and revision of one item whose stamp is still `old_stamp`."""
    base = _base_table()
    return (
        update(base)
        .where(base.c.PnPID == pnpid, _same(base.c.PnPTimestamp, old_stamp))
        .values({base.c.PnPTimestamp: stamp, base.c.PnPRevision: revision})
    )


def _base_table() -> TableClause:
    return _named(
        "PnPBase",
        _column("PnPID", BigInteger),
        _column("PnPClassName"),
        _column("PnPGuid"),
        _column("PnPTimestamp", BigInteger),
        _column("PnPRevision", SmallInteger),
    )


def _same(value: ColumnElement[Any], wanted: object) -> ColumnElement[bool]:
    return value.is_(None) if wanted is None else value == _sent(wanted)


def _sent(value: object) -> Any:
    """A value as it goes out: NULL as that word, a long text in pieces that the server puts together.

    Of a parameter FreeTDS' ODBC driver sends 4000 units of UTF-16 and not one more, without a word. Of a NULL Microsoft's
    asks the server for its type, once more under the lock.
    """
    if value is None:
        return null()
    if not isinstance(value, str) or len(value.encode("utf-16-le", "surrogatepass")) <= 2 * _LONGEST_SENT:
        return value
    half = _LONGEST_SENT // 2  # an emoji is two units, and is never cut
    first, *others = (value[start : start + half] for start in range(0, len(value), half))
    # without a length it is nvarchar(max), and so is what is joined to it
    whole: ColumnElement[str] = cast(literal(first, Unicode()), NVARCHAR())
    for one in others:
        whole = whole + literal(one, Unicode())
    return whole


class SqlServerReads:
    """Reads of single rows on one connection."""

    def __init__(self, connection: Connection, *, lock: bool = False) -> None:
        self.connection = connection
        self.lock = lock

    def base(self, pnpid: int) -> BaseRow | None:
        """See `CellReads`."""
        row = self.connection.execute(select_base(pnpid, lock=self.lock)).fetchone()
        return _base_of(row)

    def cell(self, table: str, column: str, pnpid: int) -> Sequence[object]:
        """See `CellReads`."""
        found = self.connection.execute(select_cell(table, column, pnpid, lock=self.lock)).fetchall()
        return [row[0] for row in found]


class SqlServerCells:
    """A SQL Server database open for writing single cells. One connection per item, given back after it."""

    errors: tuple[type[Exception], ...] = (SQLAlchemyError,)

    def __init__(
        self,
        engine: Engine,
        *,
        deadline_ms: int,
        owned: bool,
        name: str = "",
        address: ServerAddress | None = None,
    ) -> None:
        self.engine = engine
        self._address = address
        self.errors = (SQLAlchemyError, *untidy_errors(engine.dialect.driver))
        self.name = name or engine.url.render_as_string(hide_password=True)
        self._deadline_ms = deadline_ms
        self._owned = owned
        self._current: Connection | None = None
        self._held: dict[tuple[str, str], Sequence[object]] | None = None
        """Cells of the item in the open transaction, read under its lock; None outside."""
        self._held_base: BaseRow | None = None
        self._doubtful = False
        """Whether a connection was lost since the server last answered."""
        self._gone: Outcome | None = None
        """Why nothing more is asked of the server."""
        self._tables: frozenset[str] = frozenset()
        self._fixed: dict[tuple[str, str], str] = {}
        self._drawing_columns: frozenset[str] = frozenset()
        self._patience = DEFAULT_LIMITS.statement
        """Seconds of silence after which a statement is given up: what is asked once of all columns may take longer."""
        self._told_clock: tuple[int, float] | None = None
        """The server's clock in ticks, and our monotonic one at that moment."""

    @classmethod
    def open(
        cls,
        spec: str | Path | Engine,
        *,
        deadline_ms: int,
        permit: Callable[[Engine], None] | None = None,
    ) -> SqlServerCells:
        """Connect once and check the database as a whole. Raises what `PlantWriter` lists.

        `permit`: asks the server whether this login may write here, and raises if it may not.
        """
        owned = not isinstance(spec, Engine)
        if isinstance(spec, Engine):
            store = cls(spec, deadline_ms=deadline_ms, owned=owned)
        else:
            address = parse_address(str(spec))
            engine = engine_for(address, limits=writing_limits(deadline_ms))
            store = cls(engine, deadline_ms=deadline_ms, owned=owned, name=str(address), address=address)
            limit = recipe_for(address).limit
            event.listen(engine, "checkout", lambda raw, *_: limit(raw, store._patience))
        engine = store.engine
        try:
            with engine.connect() as connection:
                store._tables = _table_names(connection)
                store._drawing_columns = _column_names(connection, "PnPDrawings", store._tables)
                _refuse_triggers(connection, store.name)
                if engine.dialect.name == "mssql":
                    store._fixed = fixed_columns(connection)
                    store._ask_the_clock(connection)
            if permit is not None and engine.dialect.name == "mssql":
                permit(engine)
            store._patience = STATEMENT_SECONDS
        except (SQLAlchemyError, SyncError) as error:
            if owned:
                engine.dispose()
            if isinstance(error, SyncError):
                raise
            raise store._whole(error) from error
        if "pnpbase" not in store._tables:
            raise ConfigError(
                f"{store.name} is not a Plant 3D P&ID database: it has no table PnPBase. Nothing was written.",
                hint="Plant 3D keeps one database per part; the P&ID one is named <prefix>_PnId.",
                code="source_not_plant3d",
            )
        return store

    def _ask_the_clock(self, connection: Connection) -> None:
        asked_at = time.monotonic()
        ticks = server_ticks(connection)
        self._told_clock = None if ticks is None else (ticks, asked_at)

    def close(self) -> None:
        """See `CellStore`."""
        self.rollback()
        if self._owned:
            self.engine.dispose()

    def guard(self) -> AbstractContextManager[None]:
        """See `CellStore`: connections of one process do not disturb each other here."""
        return nullcontext()

    def ready(self) -> None:
        """See `CellStore`. After a connection was lost the server is asked once whether it is there, not by each item."""
        self.rollback()
        if self._doubtful and self._gone is None:
            try:
                with self.engine.connect() as connection:
                    connection.exec_driver_sql("SELECT 1")
            except self.errors as error:
                meaning = self.judge(error)
                self._gone = meaning if meaning.status == "waiting" else None  # any other answer is one
            self._doubtful = False
        if self._gone is not None:
            raise Outcome(
                self._gone.status, self._gone.code, f"{self._gone.message} This item was not tried then."
            )

    def now(self) -> int | None:
        """See `CellStore`: as it was told at the beginning, and what has passed since."""
        if self._told_clock is None:
            return None
        ticks, at = self._told_clock
        return ticks + int((time.monotonic() - at) * TICKS)

    def fixed(self, table: str, column: str) -> str | None:
        """See `CellStore`."""
        why = self._fixed.get((table.lower(), column.lower()))
        if (
            why is None
            and self.engine.dialect.driver == "pymssql"
            and PLACEHOLDER.search(f"{table} {column}")
        ):
            why = "placeholder"
        return None if why is None else FIXED.get(why, why)

    def base(self, pnpid: int) -> BaseRow | None:
        """See `CellReads`."""
        if self._held is not None:
            return self._held_base
        with self._reading() as reads:
            return reads.base(pnpid)

    def cell(self, table: str, column: str, pnpid: int) -> Sequence[object]:
        """See `CellReads`."""
        held = None if self._held is None else self._held.get((table.lower(), column.lower()))
        if held is not None:
            return held
        with self._reading() as reads:
            return reads.cell(table, column, pnpid)

    def drawings(self, pnpid: int) -> Sequence[str]:
        """See `CellStore`."""
        with self.engine.connect() as connection:
            ids = {pnpid}
            for relation, group, member in GROUPS:
                ids |= self._related(connection, relation, group, member, {pnpid})
            ids |= self._related(connection, *ANNOTATIONS, ids)
            if not {"pnpdatalinks", "pnpdrawings"} <= self._tables:
                return []
            columns = drawing_columns(self._drawing_columns)
            return drawing_names(
                dict(zip(columns, row, strict=True))
                for one in sorted(ids)
                for row in connection.execute(select_drawings(one, columns)).fetchall()
            )

    def begin(self) -> None:
        """See `CellStore`. The lock itself is taken by the reads that follow."""
        self.rollback()
        self._current = self.engine.connect()
        self._current.begin()  # now, so that this way to the server is not one of those under the lock
        if self._current.dialect.name == "mssql" and not self._owned:  # ours have it since they were made
            self._current.execute(text(f"SET LOCK_TIMEOUT {int(self._deadline_ms)}"))

    def prefetch(self, pnpid: int, places: Sequence[tuple[str, str]]) -> None:
        """See `CellStore`: one way to the server instead of one for every cell."""
        wanted: dict[str, list[str]] = {}
        for name, cell in places:
            columns = wanted.setdefault(name.lower(), [name])
            if cell.lower() not in {one.lower() for one in columns[1:]}:
                columns.append(cell)
        row = self._open().execute(select_item(pnpid, list(wanted.values()))).fetchone()
        self._held_base, self._held = _base_of(row), {}
        if row is None:
            return
        position = _BASE_COLUMNS
        for name, *cells in wanted.values():
            present = row[position] is not None
            for offset, cell in enumerate(cells, 1):
                self._held[name.lower(), cell.lower()] = [row[position + offset]] if present else []
            position += 1 + len(cells)

    def set_cell(self, table: str, column: str, pnpid: int, old: object, new: str | None) -> int:
        """See `CellStore`."""
        return int(self._open().execute(update_cell(table, column, pnpid, old, new)).rowcount)

    def set_base(self, pnpid: int, old_stamp: object, stamp: int, revision: int) -> int:
        """See `CellStore`."""
        return int(self._open().execute(update_base(pnpid, old_stamp, stamp, revision)).rowcount)

    def commit(self) -> None:
        """See `CellStore`. A session in which it failed is closed: what it left open ends so, and nobody looks through it."""
        current = self._open()
        try:
            current.commit()
        except self.errors:
            with suppress(Exception):
                current.invalidate()
            raise
        self._give_back()

    def rollback(self) -> None:
        """See `CellStore`."""
        if self._current is None:
            return
        try:
            self._current.rollback()
        except self.errors:
            with suppress(Exception):
                self._current.invalidate()  # the server rolls back a lost session by itself
        self._give_back()

    @contextmanager
    def fresh(self) -> Iterator[SqlServerReads]:
        """See `CellStore`."""
        with self.engine.connect() as connection:
            yield SqlServerReads(connection)

    def judge(self, error: Exception) -> Outcome:
        """See `CellStore`. By error number: the class of exception differs from driver to driver."""
        number = sql_error_number(error)
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if number in _BUSY:
            return Outcome(
                "waiting",
                "source_locked",
                f"Another session holds the item (SQL Server error {number}). Nothing was written; it is tried again.",
                tells_all=True,
            )
        if number in LOGIN_FAILED:
            if self._gone is None:  # each try counts towards the lock of the account
                self._gone = self._why_refused(number)
            return self._gone
        if number in _READ_ONLY:
            return Outcome(
                "waiting",
                "source_read_only",
                f"{self.name} is read-only now (error {number}). Nothing was written; it is tried again.",
                tells_all=True,
            )
        moment = moment_of(number)
        if moment is not None:
            return Outcome(
                "waiting",
                "source_away",
                f"{self.name} cannot be written to now: {moment} (error {number}). Nothing was written; it is tried again.",
                tells_all=True,
            )
        if number in _NO_RIGHT:
            return Outcome(
                "refused",
                "no_right",
                f"The login may not update this cell (error {number}). Nothing was written. Run the grant script.",
                tells_all=True,
            )
        if number in _NO_SUCH:
            return Outcome(
                "refused",
                "column_missing",
                f"The database lacks a table or column of the plan (error {number}).",
            )
        if number in _TOO_LONG:
            return Outcome(
                "refused", "too_long", f"The column is shorter than the catalogue says (error {number})."
            )
        if lost or number is None:
            self._doubtful = True
            return Outcome("waiting", "connection_lost", f"The connection to {self.name} was lost.")
        return Outcome(
            "refused",
            "sql_error",
            f"SQL Server refused the write (error {number}). Nothing was written.",
            tells_all=True,
        )

    def _why_refused(self, number: int | None) -> Outcome:
        """Some drivers tell a database that is closed, or has another name now, as a refused login."""
        if self._address is not None:
            seen = seen_from_master(self._address, number, limits=writing_limits(self._deadline_ms))
            if seen is not None:
                return Outcome("waiting", "source_away", seen.message, tells_all=True)
        return Outcome("waiting", "source_login_failed", f"{self.name} refused the login (error {number}).")

    def _open(self) -> Connection:
        if self._current is None:
            raise RuntimeError("no transaction is open")
        return self._current

    def _give_back(self) -> None:
        current, self._current = self._current, None
        self._held, self._held_base = None, None
        if current is not None:
            current.close()

    @contextmanager
    def _reading(self) -> Iterator[SqlServerReads]:
        """Locking reads inside the item's transaction, plain ones outside."""
        if self._current is not None:
            yield SqlServerReads(self._current, lock=True)
        else:
            with self.engine.connect() as connection:
                yield SqlServerReads(connection)

    def _related(
        self, connection: Connection, relation: str, one: str, other: str, ids: set[int]
    ) -> set[int]:
        if relation.lower() not in self._tables:
            return set()
        found: set[int] = set()
        for pnpid in ids:
            rows = connection.execute(select_related(relation, one, other, pnpid)).fetchall()
            found |= {row[0] for row in rows if isinstance(row[0], int)}
        return found

    def _whole(self, error: SQLAlchemyError) -> SyncError:
        """The error of ours for a database that cannot be used at all."""
        meaning = self.judge(error)
        said = meaning.message if meaning.tells_all else f"{meaning.message} Nothing was written."
        if meaning.status == "waiting" and meaning.code != "source_login_failed":
            return RetryLaterError(
                said,
                hint="Check that the server is up and reachable; the next run tries again.",
                code=meaning.code,
            )
        return ConfigError(
            said,
            hint="Check PLANT3D_DB_USER and PLANT3D_DB_PASSWORD, and the rights of the writer's login.",
            code=meaning.code,
        )


def select_related(relation: str, one: str, other: str, pnpid: int) -> Select[Any]:
    """Ids in role `other` of the relations whose role `one` is this item."""
    key, value = _column(one, BigInteger), _column(other, BigInteger)
    return select(value).select_from(_named(relation, key, value)).where(key == pnpid)


def select_drawings(pnpid: int, names: Sequence[str]) -> Select[Any]:
    """The drawings that link to this row; all columns are NULL for a link to nowhere. `names`: with `PnPID`."""
    links = _named("PnPDataLinks", _column("RowId", BigInteger), _column("DwgId", BigInteger))
    drawings = _named("PnPDrawings", *(_column(name) for name in names))
    joined = links.outerjoin(drawings, drawings.c.PnPID == links.c.DwgId)
    return select(*(drawings.c[name] for name in names)).select_from(joined).where(links.c.RowId == pnpid)


def _table_names(connection: Connection) -> frozenset[str]:
    if connection.dialect.name == "mssql":
        rows = connection.exec_driver_sql(TABLE_NAMES).fetchall()
        return frozenset(str(row[0]).lower() for row in rows)
    return frozenset(name.lower() for name in inspect(connection).get_table_names(schema=SCHEMA))


def _column_names(connection: Connection, name: str, tables: frozenset[str]) -> frozenset[str]:
    if name.lower() not in tables:
        return frozenset()
    if connection.dialect.name == "mssql":
        statement = select(_info.c.COLUMN_NAME).where(_info.c.TABLE_SCHEMA == SCHEMA)
        statement = statement.where(_info.c.TABLE_NAME == name)  # noqa: SIM300
        return frozenset(str(row[0]).lower() for row in connection.execute(statement).fetchall())
    return frozenset(str(one["name"]).lower() for one in inspect(connection).get_columns(name, schema=SCHEMA))


def _refuse_triggers(connection: Connection, name: str) -> None:
    if connection.dialect.name != "mssql":
        return
    triggers = [str(row[0]) for row in connection.execute(text(TRIGGERS)).fetchall()]
    if triggers:
        raise ConfigError(
            f"{name} has triggers ({', '.join(triggers[:5])}), so an update could change more than its cell. "
            "Nothing was written.",
            hint="Plant 3D makes no triggers: find out who added them, and remove them or write by workbook.",
            code="source_has_triggers",
        )
