"""One moment of one Plant 3D database, read from a local copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from plant3d_sync import patience
from plant3d_sync.connectors.base import ItemBatch
from plant3d_sync.connectors.plant3d import errors
from plant3d_sync.connectors.plant3d.drawing_names import DRAWING_COLUMNS, drawing_names
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.reading import hazards
from plant3d_sync.connectors.plant3d.reading.catalog import (
    ROOT,
    Discovery,
    discover,
    named_twice,
    unusable_name,
)
from plant3d_sync.connectors.plant3d.reading.copy import LocalCopy, insert_all
from plant3d_sync.connectors.plant3d.reading.reader import Scan
from plant3d_sync.connectors.plant3d.reading.relations import (
    GROUP_RELATION,
    Drawing,
    Relations,
    load_drawings,
    load_relations,
    several_drawings,
    text_rows,
)
from plant3d_sync.model.reading import PLAIN, Reading
from plant3d_sync.model.record import Finding, SourceIdentity

_ASKED = 500
"""Classes that one statement names."""
_FindingKey = tuple[str, int | None, str | None, str | None, str]


class Snapshot:
    """A `PlantSnapshot`. Nothing here touches the source any more. Close it to remove the copy."""

    def __init__(
        self,
        copy: LocalCopy,
        *,
        name: str,
        lock_ms: float,
        identity: SourceIdentity,
        discovery: Discovery,
        journal_mode: str | None = None,
        unsettled: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self.journal_mode = journal_mode
        """Of the source file: "rollback" or "wal"; None on SQL Server."""
        self.identity = identity
        self.unsettled = unsettled
        """PnPIDs of items that did not stand still while they were read."""
        self.lock_ms = lock_ms
        self.discovery = discovery
        self.catalog = discovery.catalog
        self._copy = copy
        self._reading = PLAIN
        self._class_counts: dict[str | None, int] | None = None
        self._relations: Relations | None = None
        self._drawings: dict[int, Drawing] | None = None
        self._missing_levels: set[str] = set()
        self.folded: dict[str, int] = {}
        self._findings: dict[_FindingKey, Finding] = {}
        for finding in discovery.findings:
            self._note(finding)
        for pnpid in sorted(unsettled):
            self._note(_unsettled(pnpid))

    @classmethod
    def open(
        cls,
        copy: LocalCopy,
        *,
        name: str,
        lock_ms: float,
        engine: str,
        change_counter: int | None,
        signature: str | None,
        copy_kind: str | None,
        journal_mode: str | None = None,
        unsettled: frozenset[int] = frozenset(),
        unreadable: Sequence[tuple[str, str]] = (),
        twice: Sequence[tuple[str, str, str]] = (),
        changed_at: float | None = None,
    ) -> Snapshot:
        """Discover the catalog and the identity of a copy. The copy is removed if that fails.

        `unreadable`: tables and columns of the source that are not in the copy for their names; `twice`: those of which
        another one, the last of each, is there that differs in case only.

        Raises ConfigError `source_not_plant3d`; RetryLaterError `source_damaged`.
        """
        done = False
        try:
            discovery = discover(copy.tolerant)
            missing = [
                f"{table}.{column}"
                for table, column in (("PnPTables", "TableName"), (ROOT, "PnPID"), (ROOT, "PnPClassName"))
                if discovery.table_column(table, column) is None
            ]
            if missing:
                raise errors.not_plant3d(name, missing)
            identity = replace(
                _identity(copy.tolerant, discovery, engine, change_counter, signature, copy_kind),
                changed_at=changed_at,
            )
            done = True
        except errors.UNREADABLE as error:
            raise errors.from_sqlite(error, name, 0.0) from error
        finally:
            if not done:
                copy.close()
        snapshot = cls(
            copy,
            name=name,
            lock_ms=lock_ms,
            identity=identity,
            discovery=discovery,
            journal_mode=journal_mode,
            unsettled=unsettled,
        )
        for table, column in unreadable:
            snapshot._note(unusable_name(table, column, read=False))
        for table, column, kept in twice:
            snapshot._note(named_twice(table, column, kept))
        return snapshot

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a plain question to the copy. Text that is not UTF-8 is replaced, never an error.

        Raises RetryLaterError `source_damaged`, as every other question to the snapshot does.
        """
        with self._readable():
            return self._copy.tolerant.execute(statement).fetchall()

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Rows of `PnPBase` per concrete class asked (in any case; answered as asked). 0 for lazy ones."""
        counted: dict[str, int] = {}
        for spelling, count in self.class_counts().items():
            if spelling is not None:
                counted[spelling.lower()] = counted.get(spelling.lower(), 0) + count
        return {name: counted.get(name.lower(), 0) for name in classes}

    def class_counts(self) -> Mapping[str | None, int]:
        """Rows of `PnPBase` per class as spelled there, every class, those the catalogue does not know too."""
        if self._class_counts is None:
            column = self.discovery.table_column(ROOT, "PnPClassName")
            counts: dict[str | None, int] = {}
            for name, count in self.ask(
                f"SELECT {column}, count(*) FROM {self.discovery.table(ROOT)} GROUP BY {column}"
            ):
                counts[name] = counts.get(name, 0) + count
            self._class_counts = counts
        return self._class_counts

    def column_values(self, classes: Collection[str], column: str) -> dict[int, object]:
        """PnPID -> what the items of these classes hold in a column, own or inherited. Without the items whose row is missing."""
        spelled = [one for spellings in self._spellings(list(classes)).values() for one in spellings]
        tables = {
            found.table_class: found.name
            for name in classes
            if (found := self.catalog.column(name, column)) is not None
        }
        key, of = (self.discovery.table_column(ROOT, name) for name in ("PnPID", "PnPClassName"))
        values: dict[int, object] = {}
        for table_class, name in sorted(tables.items()):
            table = self.discovery.table(table_class)
            own, value = (self.discovery.table_column(table_class, one) for one in ("PnPID", name))
            if table is None or own is None or value is None:
                continue
            for start in range(0, len(spelled), _ASKED):
                piece = spelled[start : start + _ASKED]
                statement = (
                    f"SELECT b.{key}, t.{value} FROM {self.discovery.table(ROOT)} AS b JOIN {table} AS t "
                    f"ON t.{own} = b.{key} WHERE b.{of} IN ({', '.join('?' * len(piece))})"
                )
                with self._readable():
                    values.update(text_rows(self._copy.connection, self._copy.tolerant, statement, piece))
        return values

    def relations(self) -> Relations:
        """The relations in use, read once."""
        if self._relations is None:
            with self._readable():
                self._relations = load_relations(
                    self._copy.connection, self._copy.tolerant, self.discovery, self._reading.tags
                )
            for finding in self._relations.findings:
                self._note(finding)
        return self._relations

    def drawings(self) -> Mapping[int, Drawing]:
        """Drawings (number, title, id) by PnPID, folders left out."""
        if self._drawings is None:
            with self._readable():
                self._drawings = load_drawings(self._copy.tolerant, self.discovery)
        return self._drawings

    def drawings_of(self, pnpids: Collection[int]) -> dict[int, str]:
        """The drawings of these items by number, several joined by "; "; a line group's are those of its segments."""
        wanted = [one for one in pnpids if -(2**63) <= one < 2**63]
        if not wanted:
            return {}
        with self._readable():
            return self._drawings_of(wanted)

    def _drawings_of(self, wanted: Sequence[int]) -> dict[int, str]:
        column = self.discovery.table_column
        links, row, dwg = (
            self.discovery.table("PnPDataLinks"),
            column("PnPDataLinks", "RowId"),
            column("PnPDataLinks", "DwgId"),
        )
        if links is None or row is None or dwg is None:
            return {}
        run = self._copy.connection.execute
        self._note_told(wanted)
        drawn = list(
            run(f"SELECT l.{row}, l.{dwg} FROM temp.told AS t CROSS JOIN {links} AS l ON l.{row} = t.pnpid")
        )
        name, group, segment = GROUP_RELATION
        groups, of, part = self.discovery.table(name), column(name, group), column(name, segment)
        if groups is not None and of is not None and part is not None:
            drawn += run(
                f"SELECT g.{of}, l.{dwg} FROM temp.told AS t CROSS JOIN {groups} AS g ON g.{of} = t.pnpid "
                f"JOIN {links} AS l ON l.{row} = g.{part}"
            )
        known = self.drawings()
        several: dict[int, list[Drawing]] = {}
        for item, drawing in drawn:
            if drawing in known:
                several.setdefault(item, []).append(known[drawing])
        found = {item: several_drawings(of_item)[0] for item, of_item in several.items()}
        return {item: number for item, number in found.items() if number}

    def classes_of(self, pnpids: Collection[int]) -> dict[int, str]:
        """The classes of these rows; one that is not there, or that is no text, is left out."""
        wanted = [one for one in pnpids if -(2**63) <= one < 2**63]
        base, of = self.discovery.table("PnPBase"), self.discovery.table_column("PnPBase", "PnPClassName")
        key = self.discovery.table_column("PnPBase", "PnPID")
        if not wanted or base is None or of is None or key is None:
            return {}
        with self._readable():
            self._note_told(wanted)
            rows = self._copy.connection.execute(
                f"SELECT b.{key}, CAST(b.{of} AS BLOB) FROM temp.told AS t CROSS JOIN {base} AS b ON b.{key} = t.pnpid"
            )
            named = {pnpid: raw.decode("utf-8", "replace") for pnpid, raw in rows if raw}
        return {pnpid: name for pnpid, name in named.items() if "\ufffd" not in name}

    def _note_told(self, wanted: Sequence[int]) -> None:
        copy = self._copy.connection
        copy.execute("CREATE TEMP TABLE IF NOT EXISTS told (pnpid INTEGER PRIMARY KEY)")
        copy.execute("DELETE FROM temp.told")
        insert_all(copy, "INSERT OR IGNORE INTO temp.told VALUES (?)", zip(wanted, strict=True))

    def drawing_files(self) -> list[str]:
        """Path or file name of every drawing, by which a push looks for its lock files."""
        name = self.discovery.table("PnPDrawings")
        if name is None:
            return []
        found = {one: self.discovery.table_column("PnPDrawings", one) for one in DRAWING_COLUMNS}
        columns = {one: column for one, column in found.items() if column is not None}
        if "PnPID" not in columns:
            return []
        rows = self.ask(f"SELECT {', '.join(columns.values())} FROM {name}")
        return drawing_names(dict(zip(columns, row, strict=True)) for row in rows)

    def scan(
        self, classes: Sequence[str], known: Mapping[int, bytes], reading: Reading = PLAIN
    ) -> Iterator[ItemBatch]:
        """Every item of these concrete classes, once, ordered by class (as asked) and PnPID, about 500 a batch.

        Only `PnPBase` decides which items exist. Unknown class names are ignored. Raises RetryLaterError
        `source_damaged` if the copy turns out to be unreadable half-way.
        """
        if reading != self._reading:
            self._reading, self._relations = reading, None
        scan = Scan(
            self._copy.connection,
            self._copy.tolerant,
            self.discovery,
            self.relations(),
            self.drawings(),
            self._note,
            reading,
            self.class_counts().keys(),
        )
        batches = scan.run(self._spellings(classes), known)
        try:
            while True:
                with self._readable():
                    batch = next(batches, None)
                if batch is None:
                    break
                patience.look()
                yield self._set_aside(batch)
        finally:
            self._missing_levels |= scan.missing_levels
            self.folded = scan.folded

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Whatever reads the copy does it in here: damage may show in any page of it."""
        try:
            yield
        except errors.UNREADABLE as error:
            raise errors.from_sqlite(error, self.name, 0.0) from error

    def _set_aside(self, batch: ItemBatch) -> ItemBatch:
        """The same batch, with the items nobody can speak for in a list of their own."""
        if self.unsettled:
            batch.unsettled = [one for one in batch.unchanged if one in self.unsettled]
            batch.unsettled += [item.pnpid for item in batch.changed if item.pnpid in self.unsettled]
            batch.unchanged = [one for one in batch.unchanged if one not in self.unsettled]
            batch.changed = [item for item in batch.changed if item.pnpid not in self.unsettled]
        return batch

    def _spellings(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """Class as the catalogue spells it -> its spellings in `PnPBase`."""
        wanted: dict[str, list[str]] = {}
        for name in classes:
            cls = self.catalog.find(name)
            if cls is not None:
                wanted.setdefault(cls.name, [])
        lower = {name.lower(): name for name in wanted}
        for spelling in self.class_counts():
            name_found = lower.get(spelling.lower()) if spelling is not None else None
            if spelling is not None and name_found is not None:
                wanted[name_found].append(spelling)
        return wanted

    def findings(self) -> Sequence[Finding]:
        """What is odd: whole-database hazards plus what the scans so far met, each once."""
        with self._readable():
            for finding in hazards.whole_database(
                self._copy.tolerant,
                self.discovery,
                self.relations(),
                self.class_counts(),
                self._missing_levels,
                self._reading,
            ):
                self._note(finding)
        self._relations = None  # large, and seldom asked for after this; read again if they are
        return tuple(self._findings.values())

    def _note(self, finding: Finding) -> None:
        key = (finding.code, finding.pnpid, finding.class_name, finding.column, finding.message)
        self._findings.setdefault(key, finding)

    def close(self) -> None:
        """Remove the local copy."""
        self._copy.close()


def _unsettled(pnpid: int) -> Finding:
    return Finding(
        code="item_unsettled",
        message=f"The item {pnpid} was saved again and again while it was read, so what it holds is unknown this time. "
        "Nothing was done with it.",
        pnpid=pnpid,
        hint="Nothing to do: the next run reads it again.",
    )


def _identity(
    connection: sqlite3.Connection,
    discovery: Discovery,
    engine: str,
    change_counter: int | None,
    signature: str | None,
    copy_kind: str | None,
) -> SourceIdentity:
    stamp, base = discovery.table_column(ROOT, "PnPTimestamp") or "NULL", discovery.table(ROOT)
    top, rows = connection.execute(f"SELECT max({stamp}), count(*) FROM {base}").fetchone()
    if not isinstance(top, int | None):  # whatever is no number of ticks comes behind those that are
        whole = f"max(CASE WHEN typeof({stamp}) = 'integer' THEN {stamp} END)"
        (top,) = connection.execute(f"SELECT {whole} FROM {base}").fetchone()
    counter = _one(connection, discovery, "PnPSys_PnPBase_PnPID", "cnt")
    return SourceIdentity(
        dbid=guid_text(_one(connection, discovery, "PnPDatabase", "DBID")),
        pnpid_counter=counter if isinstance(counter, int) else 0,
        change_counter=change_counter,
        signature=signature,
        newest_timestamp=top or 0,
        rows=rows,
        engine=engine,
        copy_kind=copy_kind,
    )


def _one(connection: sqlite3.Connection, discovery: Discovery, table: str, column: str) -> object:
    """The largest value of a one-row table, None when table, column or row is absent."""
    name, quoted_column = discovery.table(table), discovery.table_column(table, column)
    if name is None or quoted_column is None:
        return None
    found: object = connection.execute(f"SELECT max({quoted_column}) FROM {name}").fetchone()[0]
    return found
