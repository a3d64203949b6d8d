"""Read one Plant 3D database on SQL Server into a local copy, whole while people work in it.

Where the database allows snapshot isolation, all of it is read in one SNAPSHOT transaction. Where it does not, the
tables are read one after the other under read committed. The server counts and sums `PnPBase` and the relations before
and after; where anything moved, it is found item by item: stamp and revision of every row of `PnPBase`, and every row of
the relations. What moved is read again alone until two readings in a row are equal; what never is, is named as unsettled
and left for the next run. No setting of the database is altered.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Final, TypeVar

import msgspec

from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.names import bracketed, quoted
from plant3d_sync.connectors.plant3d.reading.copy import LocalCopy
from plant3d_sync.connectors.plant3d.reading.sqlserver_layout import (
    ROOT,
    Layout,
    Table,
    layout_of,
    select_statement,
    where_class_is,
    where_class_is_not,
)
from plant3d_sync.connectors.plant3d.reading.sqlserver_links import counting_statement, stand_in, stored
from plant3d_sync.connectors.plant3d.reading.sqlserver_look import sums_of
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import Row, Session
from plant3d_sync.connectors.plant3d.reading.sqlserver_values import (
    TEXT_KINDS,
    WIDE_KINDS,
    Converter,
    converter_for,
    declaration,
    rows_with_lost_text,
)
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.model.catalog import LINK_CLASSES

MAX_ROUNDS: Final = 6
"""Readings of an item that moves, before it is left for the next run."""
BLOCK: Final = 500
"""Ids in one statement."""
TOGETHER: Final = 50
"""Rows that one statement puts into the copy: a statement a row costs a third more."""
MOST_VALUES: Final = 30_000
"""Values of one statement; SQLite takes 32,766."""
SECONDS_PER_ROW: Final = 0.001
"""How far one row moves the end of a reading: nobody waits for us on SQL Server, so it may last as long as rows come."""
DEADLOCKS: Final = 3
"""How often one table is begun again after a deadlock or a lock that was not given."""

MARKS_STATEMENT: Final = "SELECT [PnPID], [PnPTimestamp], [PnPRevision] FROM [dbo].[PnPBase]"
_MARKS: Final = ("PnPTimestamp", "PnPRevision")
ISOLATION_STATEMENT: Final = (
    "SELECT [snapshot_isolation_state] FROM [sys].[databases] WHERE [database_id] = DB_ID()"
)
BEGIN_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION"
END_SNAPSHOT: Final = "COMMIT TRANSACTION; SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
RIGHTS_STATEMENT: Final = "SELECT HAS_PERMS_BY_NAME(N'dbo', N'SCHEMA', N'SELECT'), HAS_PERMS_BY_NAME(N'dbo', N'SCHEMA', N'VIEW DEFINITION')"
RELATIONS_IN_USE_STATEMENT: Final = "SELECT DISTINCT [RelationshipTypeName] FROM [dbo].[PnPRowRelations]"
WIDE_STATEMENT: Final = "SELECT DATALENGTH([t]), CAST([t] AS varbinary(max)) FROM (SELECT CAST(N'ab' AS nvarchar(2)) AS [t]) AS [s]"
_AS_UTF16: Final = (4, b"a\0b\0")
"""What SQL Server answers to it."""

_SNAPSHOT_ON = 1
_DEADLOCK = 1205
_LOCKED = frozenset({_DEADLOCK, 1222})
_NO_SNAPSHOT = frozenset({1205, 3951, 3952, 3957, 3958, 3961, 3966, 3967})
"""Errors of a database that does not let this transaction be a snapshot after all, or has no room for versions of rows."""

Mark = tuple[object, object]
T = TypeVar("T")


class Taken(msgspec.Struct):
    """What reading gave besides the copy: ids of items that never stood still, and whether it was one moment."""

    unsettled: frozenset[int] = frozenset()
    one_moment: bool = False
    again: int = 0
    """Items that were read again."""
    unreadable: Sequence[tuple[str, str]] = ()
    """Tables and columns that were left out for their names."""
    twice: Sequence[tuple[str, str, str]] = ()
    """Tables and columns that were left out because another one, the last of each, differs in case only."""


class Reading:
    """One reading of the whole database. `until`: monotonic time at which it is given up."""

    def __init__(
        self, session: Session, copy: LocalCopy, name: str, *, until: float, deadline: float
    ) -> None:
        self.session = session
        self.copy = copy
        self.name = name
        self.until = until
        self.deadline = deadline
        self.layout = Layout({})
        self._sums: list[Row] | None = None
        """Counts and sums from before the first row was read."""
        self._converters: dict[tuple[str, bool], Converter] = {}
        self._utf16: bool | None = None
        self._made: list[str] = []
        """Link classes whose rows of `PnPBase` were made here, so that nothing but their ids and class is the server's."""
        self._one_moment = False
        """Whether a snapshot transaction is open; a deadlock ends it, so nothing can be repeated in it."""

    def take(self) -> Taken:
        """Fill the copy.

        Raises ConfigError `source_not_plant3d`, `source_unreadable`; RetryLaterError `source_busy`, `source_away`.
        """
        with closing(self.copy.writable()) as target:
            if self._snapshot_allowed():
                try:
                    self._one_moment = True
                    self.session.run(BEGIN_SNAPSHOT)
                    self._lay_out()
                    self._read_all(target)
                    self._one_moment = False
                    self.session.run(END_SNAPSHOT)
                    self._refuse_hidden_tables(target)
                    return self._taken(one_moment=True)
                except (RetryLaterError, ConfigError) as error:
                    if error.details.get("number") not in _NO_SNAPSHOT:
                        raise
                    self._one_moment = False
                    self.session.run("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
                    self.session.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    _empty(target)
            self._lay_out()
            self._sums = self._summed()
            self._read_all(target)
            self._refuse_hidden_tables(target)
            return self._settle(target)

    def _taken(
        self, *, unsettled: frozenset[int] = frozenset(), one_moment: bool = False, again: int = 0
    ) -> Taken:
        return Taken(
            unsettled=unsettled,
            one_moment=one_moment,
            again=again,
            unreadable=self.layout.unreadable,
            twice=self.layout.twice,
        )

    def _snapshot_allowed(self) -> bool:
        rows = self.session.all(ISOLATION_STATEMENT)
        return bool(rows) and rows[0][0] == _SNAPSHOT_ON

    # ------------------------------------------------------------ the first pass

    def _lay_out(self) -> None:
        self.layout = self._repeated(lambda: layout_of(self.session))
        missing = [table for table in ("PnPTables", "PnPBase") if table.lower() not in self.layout.tables]
        if missing:
            raise errors.not_plant3d(self.name, missing)

    def _read_all(self, target: sqlite3.Connection) -> None:
        for name in self.layout.needed():
            self._transfer(target, name)
        if self.layout.links:
            self._add_links(target)

    def _transfer(self, target: sqlite3.Connection, name: str) -> None:
        """One table, whole; from its beginning again when the server chose us to end a deadlock."""
        table = self.layout.tables[name]
        declared = ", ".join(declaration(column, kind) for column, kind in table.declared)
        target.execute(f"CREATE TABLE {quoted(table.name)} ({declared})")

        def filled() -> None:
            try:
                self._fill(target, table)
            except RetryLaterError:
                target.execute("ROLLBACK")
                raise

        self._repeated(filled)

    def _repeated(self, piece: Callable[[], T]) -> T:
        """What this piece of work gives, begun again after a deadlock or a lock that was not given."""
        for _ in range(DEADLOCKS):
            try:
                return piece()
            except RetryLaterError as error:
                number = error.details.get("number")
                if number not in _LOCKED or (self._one_moment and number == _DEADLOCK):
                    raise
        return piece()

    def _rows(self, pieces: Callable[[], Iterator[list[Row]]]) -> list[Row]:
        return self._repeated(lambda: [row for rows in pieces() for row in rows])

    def _fill(self, target: sqlite3.Connection, table: Table) -> None:
        target.execute("BEGIN")
        doubtful: list[int] = []
        broken = False
        try:
            for rows in self._plain_pieces(table, doubtful):
                insert(target, table, rows)
        except UnicodeError:  # the driver, or SQLite, met text that is none
            broken = True
        if broken or (doubtful and table.key is None):
            target.execute(f"DELETE FROM {quoted(table.name)}")
            for rows in self._pieces(table, as_bytes=True):
                insert(target, table, rows, as_bytes=True)
        elif doubtful:
            for ids in blocks(doubtful):
                for rows in self._pieces(table, where_ids("PnPID", ids), as_bytes=True):
                    insert(target, table, rows, as_bytes=True)
        target.execute("COMMIT")

    def _plain_pieces(self, table: Table, doubtful: list[int]) -> Iterator[list[Row]]:
        """Rows with text as the driver makes it. `doubtful` gets the ids of rows whose text may not be the stored one."""
        wide = [i for i, (_, kind) in enumerate(table.columns) if kind in WIDE_KINDS]
        if not self.session.lossy or not wide or not self._bytes_are_utf16():
            yield from self._pieces(table)
            return
        for rows in self._pieces(table, lengths=True):
            for row in rows_with_lost_text(rows, wide):
                doubtful.append(row[table.key] if table.key is not None else 0)
            yield [row[:-1] for row in rows]

    def _pieces(
        self, table: Table, where: str | None = None, *, as_bytes: bool = False, lengths: bool = False
    ) -> Iterator[list[Row]]:
        """Rows of a table as SQLite keeps them. `as_bytes`: text as the UTF-8 that it is, valid or not."""
        convert = self._converter(table, as_bytes)
        rows_of = table.where if where is None else where
        in_bytes = as_bytes and self._bytes_are_utf16()
        statement = table.select(rows_of, as_bytes=in_bytes, lengths=lengths)
        for rows in self.session.pieces(statement):
            self.until += len(rows) * SECONDS_PER_ROW
            if time.monotonic() > self.until:
                raise errors.server_slow(self.name, self.deadline)
            yield convert(rows)

    def _bytes_are_utf16(self) -> bool:
        """Whether the bytes of a text are UTF-16, as SQL Server keeps it; asked once.

        Servers that speak its protocol (Babelfish before 4.5) give them in another encoding, in which not every text
        fits; they hold no text that a driver could lose, so theirs is taken as the driver makes it.
        """
        if self._utf16 is None:
            rows = self._repeated(lambda: self.session.all(WIDE_STATEMENT))
            self._utf16 = [tuple(row) for row in rows] == [_AS_UTF16]
        return self._utf16

    def _converter(self, table: Table, as_bytes: bool) -> Converter:
        key = (table.name, as_bytes)
        if key not in self._converters:
            self._converters[key] = converter_for(table.columns, as_bytes=as_bytes)
        return self._converters[key]

    def _add_links(self, target: sqlite3.Connection) -> None:
        """The rows of `PnPBase` that were left out, made from the links themselves where that can be."""
        self._made = []
        statement = counting_statement(self.layout.links)
        try:
            counted = {
                str(name).lower(): (count, newest)
                for name, count, newest in self._rows(lambda: self.session.pieces(statement))
            }
        except (RetryLaterError, ConfigError):  # then each row is read; a server that is away shows there
            if self._one_moment:
                raise
            counted = None
        for link in self.layout.links:
            count, newest = (counted or {}).get(LINK_CLASSES[link].lower(), (0, None))
            if counted is not None and stand_in(target, self.layout, link, count, newest):
                self._made.append(link)
            else:
                self._read_base_of(target, link)

    def _read_base_of(self, target: sqlite3.Connection, link: str) -> None:
        base = self.layout.tables[ROOT]

        def filled() -> None:
            target.execute("BEGIN")
            try:
                for rows in self._pieces(base, where_class_is([link]), as_bytes=True):
                    insert(target, base, rows, as_bytes=True)
            finally:  # begun again, it replaces what is there
                target.execute("COMMIT")

        self._repeated(filled)

    def _refuse_hidden_tables(self, target: sqlite3.Connection) -> None:
        """A table that has rows by what the others say, and that this login does not see, is no empty table."""
        base = self.layout.tables[ROOT]
        if not base.has("PnPClassName"):
            return
        used = [row[0] for row in target.execute(f"SELECT DISTINCT [PnPClassName] FROM {quoted(base.name)}")]
        expected = {
            table: name for name in used if isinstance(name, str) for table in self._expected_tables(name)
        }
        hidden = sorted(table for table in expected if table not in self.layout.tables)
        hidden += [name for name in self._relations_in_use() if name.lower() not in self.layout.tables]
        if not hidden or self._sees_everything():
            return
        raise errors.hidden_tables(self.name, hidden)

    def _expected_tables(self, class_name: str) -> list[str]:
        found: list[str] = []
        current: str | None = class_name.lower()
        while (
            current is not None and current in self.layout.classes and len(found) <= len(self.layout.classes)
        ):
            base, table = self.layout.classes[current]
            found.append(table)
            current = base
        return found

    def _relations_in_use(self) -> list[str]:
        table = self.layout.tables.get("pnprowrelations")
        if table is None or not table.has("RelationshipTypeName"):
            return []
        rows = self._rows(lambda: self.session.pieces(RELATIONS_IN_USE_STATEMENT))
        return [str(row[0]) for row in rows if row[0]]

    def _sees_everything(self) -> bool:
        """Whether what this login does not see is not there: it may read the schema, and see every definition."""
        return all(one == 1 for one in self.session.all(RIGHTS_STATEMENT)[0])

    # ------------------------------------------------------------ what moved meanwhile

    def _settle(self, target: sqlite3.Connection) -> Taken:
        """Read again what moved, until it stands still or it is time to leave it."""
        if self._sums is not None and self._sums == self._summed():
            return self._taken()
        moving = self._moved(target)
        again = len(moving)
        before: dict[int, Bundle] = {}
        for _ in range(MAX_ROUNDS):
            if not moving or time.monotonic() > self.until:
                break
            seen = self._bundles(target, sorted(moving))
            settled = {item for item, bundle in seen.items() if before.get(item) == bundle}
            for bundle in seen.values():
                self._replace(target, bundle)
            moving -= settled
            before = seen
        return self._taken(unsettled=frozenset(moving), again=again)

    def _summed(self) -> list[Row] | None:
        """Counts and sums of `PnPBase` and the relations; None where the server does not tell them now."""
        names = [ROOT, *sorted(self.layout.relations & self.layout.tables.keys())]
        try:
            return sums_of(self.session, self.layout, names)
        except (
            RetryLaterError,
            ConfigError,
        ):  # then every item is compared; a server that is away shows there
            return None

    def _moved(self, target: sqlite3.Connection) -> set[int]:
        """Items whose mark or whose relations are not what they were when the reading began."""
        base = self.layout.tables[ROOT]
        if not all(
            base.has(name) for name in _MARKS
        ):  # then nothing tells which item moved: each is looked at
            ids = self._rows(lambda: self.session.pieces(select_statement(base.name, ["PnPID"])))
            there = target.execute(f"SELECT [PnPID] FROM {quoted(base.name)}").fetchall()
            return {row[0] for row in (*ids, *there)}
        stamps = [f"[{name}]" for name in _MARKS]
        read = where_class_is_not(self._made)
        now: dict[int, Mark] = {
            item: (stamp, revision)
            for item, stamp, revision in self._rows(lambda: self.session.pieces(MARKS_STATEMENT + read))
        }
        moved: set[int] = set()
        for item, stamp, revision in target.execute(
            f"SELECT [PnPID], {', '.join(stamps)} FROM {quoted(base.name)}{read}"
        ):
            if now.pop(item, None) != (stamp, revision):
                moved.add(item)
        moved |= now.keys()
        for name in sorted(self.layout.relations & self.layout.tables.keys()):
            moved |= self._moved_relations(target, self.layout.tables[name])
        for link in self.layout.links:
            moved |= self._moved_links(target, link)
        return moved

    def _moved_links(self, target: sqlite3.Connection, link: str) -> set[int]:
        """Links that are not what they were: their marks are missing here or younger than they are, so all of each is
        compared.
        """
        table = self.layout.tables[link]
        key = table.key or 0

        def compared() -> set[int]:
            left, moved = stored(target, self.layout, link), set()
            for rows in self._pieces(table, as_bytes=True):
                for row in map(tuple, rows):
                    if row in left:
                        left.discard(row)
                    else:
                        moved.add(row[key])
            return {one for one in (*moved, *(row[key] for row in left)) if isinstance(one, int)}

        return self._repeated(compared)

    def _moved_relations(self, target: sqlite3.Connection, table: Table) -> set[int]:
        roles = self.layout.roles(table.name.lower())
        if not roles:
            return set()
        keys = [name for name, _ in table.columns if name.lower() == "pnpid"]
        columns = ", ".join(quoted(name) for name in (*keys, *roles))
        before = {tuple(row) for row in target.execute(f"SELECT {columns} FROM {quoted(table.name)}")}
        statement = select_statement(table.name, (*keys, *roles))
        now = {tuple(row) for row in self._rows(lambda: self.session.pieces(statement))}
        return {one for row in before ^ now for one in row[len(keys) :] if isinstance(one, int)}

    def _bundles(self, target: sqlite3.Connection, items: Sequence[int]) -> dict[int, Bundle]:
        """Everything stored of these items now: their rows at every level, and their relations."""
        found = {item: Bundle(item) for item in items}
        for ids in blocks(items):
            classes = self._rows_of(ROOT, "PnPID", ids, found)
            for name in self._tables_of(classes):
                self._rows_of(name, "PnPID", ids, found)
            for name in sorted(self.layout.relations & self.layout.tables.keys()):
                for role in self.layout.roles(name):
                    self._rows_of(name, role, ids, found)
        return found

    def _tables_of(self, classes: Iterable[str]) -> list[str]:
        names = dict.fromkeys(table for one in sorted(classes) for table in self.layout.chain(one))
        return [name for name in names if name != ROOT]

    def _rows_of(self, name: str, key: str, ids: Sequence[int], found: Mapping[int, Bundle]) -> set[str]:
        """Add the rows whose `key` is one of these ids to their bundles. Returns the classes met."""
        table = self.layout.tables[name]
        at = next(i for i, (column, _) in enumerate(table.columns) if column.lower() == key.lower())
        kind = next(
            (i for i, (column, _) in enumerate(table.columns) if column.lower() == "pnpclassname"), None
        )
        classes: set[str] = set()
        for row in self._rows(lambda: self._pieces(table, where_ids(key, ids), as_bytes=True)):
            found[row[at]].rows.setdefault(name, set()).add(tuple(row))
            if kind is not None and isinstance(row[kind], bytes):
                classes.add(row[kind].decode("utf-8", "replace"))
        return classes

    def _replace(self, target: sqlite3.Connection, bundle: Bundle) -> None:
        """Put what was read of one item in place of what the copy holds of it."""
        target.execute("BEGIN")
        for name in self.layout.item_tables():
            self._delete(target, name, "PnPID", bundle.item)
        for name in self.layout.relations & self.layout.tables.keys():
            for role in self.layout.roles(name):
                self._delete(target, name, role, bundle.item)
        for name, rows in bundle.rows.items():
            insert(target, self.layout.tables[name], list(rows), as_bytes=True)
        target.execute("COMMIT")

    def _delete(self, target: sqlite3.Connection, name: str, key: str, item: int) -> None:
        target.execute(
            f"DELETE FROM {quoted(self.layout.tables[name].name)} WHERE {quoted(key)} = ?", (item,)
        )


class Bundle(msgspec.Struct):
    """Everything of one item, as read in one round."""

    item: int
    rows: dict[str, set[tuple[object, ...]]] = msgspec.field(default_factory=dict)
    """Table -> rows: those of the item itself, and those of relations that name it."""


def insert(target: sqlite3.Connection, table: Table, rows: Sequence[Row], *, as_bytes: bool = False) -> None:
    """Put rows into the copy. `as_bytes`: text columns come as UTF-8 bytes and are stored as text."""
    marks = ", ".join(
        "CAST(? AS TEXT)" if as_bytes and kind in TEXT_KINDS else "?" for _, kind in table.columns
    )
    columns = ", ".join(quoted(name) for name, _ in table.columns)
    head = f"INSERT OR REPLACE INTO {quoted(table.name)} ({columns}) VALUES "
    together = min(TOGETHER, MOST_VALUES // len(table.columns))
    whole = len(rows) - len(rows) % together if together > 1 else 0
    many = head + ", ".join([f"({marks})"] * together)
    for start in range(0, whole, together):
        target.execute(many, list(chain.from_iterable(rows[start : start + together])))
    target.executemany(f"{head}({marks})", rows[whole:])


def blocks(items: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ids in portions for one statement."""
    for start in range(0, len(items), BLOCK):
        yield items[start : start + BLOCK]


def where_ids(key: str, ids: Sequence[int]) -> str:
    """The rows with one of these ids; they are numbers read from the database."""
    return f" WHERE {bracketed(key)} IN ({', '.join(str(int(one)) for one in ids)})"


def _empty(target: sqlite3.Connection) -> None:
    """Forget what was copied."""
    if target.in_transaction:
        target.execute("ROLLBACK")
    for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        target.execute(f"DROP TABLE {quoted(name)}")
