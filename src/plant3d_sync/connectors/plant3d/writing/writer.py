"""Write planned text cells into a Plant 3D database, so that nothing else in it can change.

The recipe, per item: only UPDATE of existing rows, only columns of the allow list, one short transaction that first
re-reads the old value and `PnPBase.PnPTimestamp` and stops when either moved, exactly one row at each step, and the
stamp and revision of the item raised as Plant 3D does, so that its local caches see the change. Never INSERT or
DELETE: Plant 3D's audits remove objects whose rows do not fit. Drawings that show the value look old until Plant 3D
redraws their annotations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from sqlalchemy.engine import Engine

from plant3d_sync.connectors.base import CellReceipt, CellWrite
from plant3d_sync.connectors.plant3d.mounts import mount_kind
from plant3d_sync.connectors.plant3d.names import quotable
from plant3d_sync.connectors.plant3d.sqlserver_address import is_sqlserver
from plant3d_sync.connectors.plant3d.writing.cells import BaseRow, CellReads, CellStore, Outcome, Status
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.write_sqlite import SqliteCells
from plant3d_sync.errors import RetryLaterError, SyncError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.catalog import Catalog, Column
from plant3d_sync.model.cells import allowed_column, check_cell
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.words import said

HIGHEST_REVISION: Final = 32_766
"""`PnPRevision` is a 16-bit column; it is raised up to here and then left alone."""

BURST: Final = 0.04
GAP: Final = 0.05
"""Seconds of transactions in a row on a file, and of the pause behind them. None is begun that would last beyond them, as the
last ones did: on a slow disk each has its pause.

Who waits for a locked SQLite file looks again after 1, 2, 5, 10, 15, 20 and then every 25 ms, and is no queue: between two
of our transactions it would never look. A pause longer than 25 ms is always seen, also by a client with 100 ms, and one
of twice that still is when somebody else saves in it.
"""

_FORGETS: Final = 0.9
"""What is left of a long transaction's memory after another one: one slow moment of the disk is forgotten after some ten."""

_HIGHEST_STAMP: Final = 2**63 - 1
_ACQUISITION: Final = "AcquisitionProperties"


class _Item(msgspec.Struct):
    """The cells of one item that may be written, on their way through one transaction."""

    cells: list[CellWrite]
    columns: list[Column]
    tables: list[str]
    drawings: Sequence[str] = ()
    done: dict[str, CellReceipt] = msgspec.field(default_factory=dict)
    stamp: int | None = None
    committing: bool = False
    worth_it: bool = False
    """Nothing seen without writing stands against writing at least one of the cells."""

    @property
    def pnpid(self) -> int:
        return self.cells[0].pnpid

    def parts(self) -> list[tuple[CellWrite, Column, str]]:
        return list(zip(self.cells, self.columns, self.tables, strict=True))


class PlantWriter:
    """Writes into one Plant 3D database; a context manager, which checks the database as a whole on the way in.

    `source_spec`: project folder, `.dcf` file, SQLAlchemy URL, or an engine. `allowed`: lower-cased (class that
    declares the column, column) pairs that the mapping lets be written. `clock`: .NET ticks (UTC) now.
    `deadline_ms`: the longest wait for the write lock, and `hold_ms` the longest time it is kept before it is given
    up again; Plant 3D cannot save meanwhile. `mounts`: says how far file locks reach (see `mount_kind`). `synced`:
    names of synchronised folders (see `sync_signs`) that the file may lie in all the same.

    `strong_login`: name of the SQL Server login that may write although it can do more than it needs. `before_commit` is called
    ahead of each COMMIT.

    Entering raises ConfigError `login_too_strong`, `column_right_too_much`, `source_not_found`, `source_is_copy`, `source_read_only`, `unsafe_mount`,
    `source_synced`, `source_has_triggers`, `source_not_plant3d`, `source_login_failed`, or RetryLaterError `source_hot_journal`,
    `source_locked`; nothing was written then. `write` itself answers with receipts only.
    """

    def __init__(
        self,
        source_spec: str | Path | Engine,
        *,
        catalog: Catalog,
        allowed: frozenset[tuple[str, str]],
        drawings: DrawingLocks,
        clock: Callable[[], int],
        deadline_ms: int = 250,
        hold_ms: int = 1000,
        mounts: Callable[[Path], str] = mount_kind,
        synced: frozenset[str] = frozenset(),
        strong_login: str | None = None,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = source_spec
        self._catalog = catalog
        self._allowed = allowed
        self._locks = drawings
        self._clock = clock
        self._strong_login = strong_login
        self._before_commit = before_commit
        self._deadline_ms = deadline_ms
        self._hold_ms = hold_ms
        self._mounts = mounts
        self._synced = synced
        self._store: CellStore | None = None
        self._lockable = False
        self._burst_since = 0.0
        self._worked_at = float("-inf")
        self._usual = 0.0

    def __enter__(self) -> PlantWriter:
        self._store = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _open(self) -> CellStore:
        if isinstance(self._spec, Engine) or is_sqlserver(str(self._spec)):
            from plant3d_sync.connectors.plant3d.writing.grants import refuse_strong_login
            from plant3d_sync.connectors.plant3d.writing.write_sqlserver import SqlServerCells

            return SqlServerCells.open(
                self._spec,
                deadline_ms=self._deadline_ms,
                permit=lambda engine: refuse_strong_login(
                    engine, catalog=self._catalog, allowed=self._allowed, tolerated=self._strong_login
                ),
            )
        return SqliteCells.open(
            self._spec, deadline_ms=self._deadline_ms, mounts=self._mounts, synced=self._synced
        )

    def write(self, cells: Sequence[CellWrite]) -> list[CellReceipt]:
        """Write these cells, one transaction per item; one receipt per cell, in their order.

        The cells of one item that may be written are written together or not at all. Nothing is retried here.
        """
        groups: dict[int, list[int]] = {}
        for position, cell in enumerate(cells):
            groups.setdefault(cell.pnpid, []).append(position)
        receipts: dict[int, CellReceipt] = {}
        for positions in groups.values():
            item, refused = self._sorted_out([cells[position] for position in positions])
            if item.cells:
                self._let_others_in()
                began = time.monotonic()
                self._transaction(item, self._steps)
                self._worked_at = time.monotonic()
                self._usual = max(self._worked_at - began, self._usual * _FORGETS)
            receipts.update(zip(positions, self._receipts_of(item, refused), strict=True))
        return [receipts[position] for position in range(len(cells))]

    def _let_others_in(self) -> None:
        """Pause after a burst of transactions on a file, unless something else made a pause already."""
        if not isinstance(self._store, SqliteCells):
            return
        now = time.monotonic()
        if now - self._worked_at >= GAP:
            self._burst_since = now
        elif now - self._burst_since + self._usual > BURST:
            time.sleep(GAP)
            self._burst_since = time.monotonic()

    def look(self, cells: Sequence[CellWrite]) -> list[CellReceipt] | None:
        """What `write` would answer for the cells of one item if it wrote none of them; None if it would write one.

        Writes nothing. The write lock is taken once, and given back at once, to see that it can be had.
        """
        item, refused = self._sorted_out(cells)
        if item.cells:
            self._transaction(item, self._look)
        return None if item.worth_it else self._receipts_of(item, refused)

    # -- one item ---------------------------------------------------------------------------------

    def _sorted_out(self, cells: Sequence[CellWrite]) -> tuple[_Item, dict[int, CellReceipt]]:
        """The cells that may be written, and the receipts of the others by position."""
        refused: dict[int, CellReceipt] = {}
        item = _Item(cells=[], columns=[], tables=[])
        for index, cell in enumerate(cells):
            try:
                if any(cell.column.lower() == other.column.lower() for other in item.cells):
                    raise Outcome("refused", "cell_repeated", f"{cell.column} of this item is planned twice.")
                column = self._permitted(cell)
                self._check_value(cell, {})
            except Outcome as outcome:
                refused[index] = _receipt(cell, outcome)
            else:
                item.cells.append(cell)
                item.columns.append(column)
                item.tables.append(self._table(column))
        return item, refused

    def _receipts_of(self, item: _Item, refused: dict[int, CellReceipt]) -> list[CellReceipt]:
        written = iter([item.done[cell.column] for cell in item.cells])
        count = len(item.cells) + len(refused)
        return [refused[index] if index in refused else next(written) for index in range(count)]

    def _permitted(self, cell: CellWrite) -> Column:
        """The column, if this cell may be written at all: allow list of the mapping, kind of the column, real column."""
        column, why = allowed_column(self._catalog, cell.class_name, cell.column)
        if column is None:
            raise Outcome("refused", why, f"{cell.class_name}.{cell.column} may never be written ({why}).")
        key = (column.table_class.lower(), column.name.lower())
        if key not in self._allowed or cell.table_class.lower() != key[0]:
            raise Outcome(
                "refused",
                "not_allowed",
                f"The mapping does not let {column.table_class}.{column.name} be written. It was not written.",
            )
        table = self._catalog.find(column.table_class)
        present = self._catalog.physical_columns.get(column.table_class)
        if table is None or not quotable(table.physical) or not quotable(column.name):
            raise Outcome(
                "refused", "column_unknown", f"{cell.table_class}.{cell.column} cannot be addressed."
            )
        if present is not None and column.name.lower() not in present and column.name not in present:
            raise Outcome(
                "refused",
                "column_missing",
                f"The table {table.physical} has no column {column.name}, though the catalogue lists it.",
            )
        fixed = self._need_store().fixed(table.physical, column.name)
        if fixed is not None:
            raise Outcome(
                "refused",
                "column_fixed",
                f"{table.physical}.{column.name} cannot be written: {fixed}. It was not written.",
            )
        return column

    def _check_value(self, cell: CellWrite, values: dict[str, Value]) -> None:
        item = PlantItem(
            pnpid=cell.pnpid,
            guid=cell.plant3d_id,
            class_name=cell.class_name,
            timestamp=cell.expected_timestamp,
            revision=0,
            values=values,
        )
        problem = check_cell(self._catalog, item, cell.column, cell.new)
        if problem is not None:
            raise Outcome("refused", problem[0], problem[1])

    def _table(self, column: Column) -> str:
        table = self._catalog.find(column.table_class)
        assert table is not None  # allowed_column found the column through it
        return table.physical

    def _transaction(self, item: _Item, steps: Callable[[CellStore, _Item], None]) -> None:
        """Take the steps for one item; afterwards each of its cells has a receipt, unless they were only looked at."""
        store = self._need_store()
        try:
            with store.guard():
                outcome = self._try(store, item, steps)
        except SyncError as error:  # a connection that cannot be had any more: the other items say the same
            status: Status = "waiting" if isinstance(error, RetryLaterError) else "refused"
            outcome = Outcome(status, error.error_code, error.message)
        for cell in item.cells:
            item.done.setdefault(cell.column, _receipt(cell, outcome or _unwritten(cell)))

    def _need_store(self) -> CellStore:
        if self._store is None:
            raise RuntimeError("PlantWriter.write is called inside its `with` block")
        return self._store

    def _try(
        self, store: CellStore, item: _Item, steps: Callable[[CellStore, _Item], None]
    ) -> Outcome | None:
        """Run the transaction. Returns what ended it early for the cells that have no receipt yet."""
        try:
            steps(store, item)
        except Outcome as outcome:
            store.rollback()
            return outcome
        except store.errors as error:
            store.rollback()
            return self._after_error(store, item, error)
        return None

    def _steps(self, store: CellStore, item: _Item) -> None:
        store.ready()
        if self._all_found(store, item):
            return
        item.drawings = store.drawings(item.pnpid)
        self._no_drawing_open(item)
        failpoint("push.before_begin")
        store.begin()
        began = time.monotonic()
        failpoint("push.begun")
        store.prefetch(item.pnpid, self._places(item))
        writing = self._expected(store, item)
        failpoint("push.expected_read")
        if not writing:
            store.rollback()
            return
        self._update(store, item, writing)
        failpoint("push.updated")
        self._no_drawing_open(item)
        held_ms = (time.monotonic() - began) * 1000
        if held_ms > self._hold_ms:
            raise Outcome(
                "waiting",
                "source_slow",
                f"The write lock was held for {held_ms:.0f} ms (limit {self._hold_ms}), so the change was rolled back "
                "to let Plant 3D work. Run this service nearer to the database.",
            )
        failpoint("push.before_commit")
        self._before_commit()
        item.committing = True
        store.commit()
        failpoint("push.committed")
        self._read_back(store, item)
        failpoint("push.read_back")

    def _places(self, item: _Item) -> list[tuple[str, str]]:
        """Table and column of everything that is looked at under the lock."""
        places = [(table, column.name) for _cell, column, table in item.parts()]
        column = self._catalog.column(item.cells[0].class_name, _ACQUISITION)
        table = self._catalog.find(column.table_class) if column is not None else None
        if column is not None and table is not None and table.has_table:
            places.append((table.physical, column.name))
        return places

    def _look(self, store: CellStore, item: _Item) -> None:
        """The steps up to the first write, without it."""
        store.ready()
        if self._all_found(store, item):
            return
        item.drawings = store.drawings(item.pnpid)
        self._no_drawing_open(item)
        writing = self._expected(store, item)
        if writing and not self._lockable:
            store.rollback()  # ends the reads
            store.begin()
            self._lockable = True
        store.rollback()
        item.worth_it = bool(writing)

    def _all_found(self, store: CellStore, item: _Item) -> bool:
        """Whether an earlier attempt has done it all: then not even a lock is taken."""
        base = store.base(item.pnpid)
        if base is None or _moved_identity(item.cells[0], base) is not None:
            return False
        found: dict[str, CellReceipt] = {}
        for cell, column, table in item.parts():
            stored = store.cell(table, column.name, item.pnpid)
            if len(stored) != 1 or not _holds(stored[0], cell.new):
                return False
            found[cell.column] = _found(cell, base)
        item.done.update(found)
        return True

    def _no_drawing_open(self, item: _Item) -> None:
        code, message = self._locks.check(item.drawings)
        if code:
            raise Outcome("waiting", code, message)

    def _expected(self, store: CellStore, item: _Item) -> list[tuple[CellWrite, Column, str, object]]:
        """Re-read under the lock; what is left to write, with the value stored now. The rest gets its receipt."""
        base = store.base(item.pnpid)
        if base is None:
            raise Outcome("stale", "item_gone", f"The item {item.pnpid} is no longer in the database.")
        moved = _moved_identity(item.cells[0], base)
        if moved is not None:
            raise moved
        acquisition = self._acquisition(store, item)
        writing: list[tuple[CellWrite, Column, str, object]] = []
        for cell, column, table in item.parts():
            try:
                stored = self._compare(store, cell, column, table, base, acquisition)
            except Outcome as outcome:
                item.done[cell.column] = (
                    _found(cell, base) if outcome.status == "found_applied" else _receipt(cell, outcome)
                )
            else:
                writing.append((cell, column, table, stored))
        return writing

    def _acquisition(self, store: CellStore, item: _Item) -> dict[str, Value]:
        """The item's list of columns filled from other objects, as it is now."""
        column = self._catalog.column(item.cells[0].class_name, _ACQUISITION)
        table = self._catalog.find(column.table_class) if column is not None else None
        if column is None or table is None or not table.has_table:
            return {}
        stored = store.cell(table.physical, column.name, item.pnpid)
        listed = stored[0] if len(stored) == 1 else None
        return {_ACQUISITION: listed} if isinstance(listed, str) else {}

    def _compare(
        self,
        store: CellStore,
        cell: CellWrite,
        column: Column,
        table: str,
        base: BaseRow,
        acquisition: dict[str, Value],
    ) -> object:
        rows = store.cell(table, column.name, cell.pnpid)
        if len(rows) != 1:
            raise Outcome(
                "refused",
                "row_missing",
                f"Rows of the item in {table}, where {column.name} is kept: {len(rows)}; exactly one is needed. "
                "Nothing was written. The project audit of Plant 3D may repair it.",
            )
        stored = rows[0]
        if _holds(stored, cell.new):
            raise Outcome("found_applied", "", "")
        if not _holds(stored, cell.old):
            raise Outcome(
                "stale",
                "value_moved",
                f"{column.name} holds {said(stored)} now, not {said(cell.old)}; it was not overwritten.",
            )
        if (base.timestamp or 0) != cell.expected_timestamp:
            raise Outcome(
                "stale",
                "stamp_moved",
                "The item was changed in Plant 3D after the plan was made; nothing was written. Plan again.",
            )
        self._check_value(cell, acquisition)
        return stored

    def _update(
        self, store: CellStore, item: _Item, writing: Sequence[tuple[CellWrite, Column, str, object]]
    ) -> None:
        base = store.base(item.pnpid)
        if base is None:
            raise Outcome("stale", "item_gone", f"The item {item.pnpid} is no longer in the database.")
        stamp, revision = self._raised(base)
        for cell, _column, _table, stored in writing:
            changed = self._set_cell(store, cell, stored)
            if changed != 1:
                raise Outcome(
                    "refused",
                    "row_missing",
                    f"The update of {cell.column} did not meet exactly one row (rows met: {changed}); it was rolled back.",
                )
        changed = store.set_base(item.pnpid, base.timestamp, stamp, revision)
        if changed != 1:
            raise Outcome(
                "stale",
                "stamp_moved",
                f"The stamp of the item moved during the write ({changed} rows met); it was rolled back.",
            )
        item.stamp = stamp

    def _set_cell(self, store: CellStore, cell: CellWrite, stored: object) -> int:
        """The only place where a cell is changed. Ownership is checked once more, whoever called."""
        column = self._permitted(cell)
        return store.set_cell(self._table(column), column.name, cell.pnpid, stored, cell.new)

    def _raised(self, base: BaseRow) -> tuple[int, int]:
        """Stamp and revision after the write: never backwards, never out of the column's range."""
        old, revision = base.timestamp or 0, base.revision or 0
        if not isinstance(old, int) or not isinstance(revision, int) or not 0 <= old < _HIGHEST_STAMP:
            raise Outcome(
                "refused",
                "bad_timestamp",
                f"PnPTimestamp or PnPRevision of the item is not a usable number ({said(old)}, {said(revision)}). "
                "Nothing was written.",
            )
        return max(self._now(), old + 1), (revision + 1 if revision < HIGHEST_REVISION else revision)

    def _now(self) -> int:
        """Ticks by our clock, or by the server's if that is behind ours.

        Plant 3D refreshes a copy of a row only from a newer stamp: one of the future would hide the next save of a designer.
        """
        ours, servers = self._clock(), self._need_store().now()
        return ours if servers is None else min(ours, servers)

    # -- afterwards -------------------------------------------------------------------------------

    def _read_back(self, store: CellStore, item: _Item) -> None:
        with store.fresh() as reads:
            self._receipts_from(reads, item)

    def _receipts_from(self, reads: CellReads, item: _Item) -> None:
        """Receipts of the cells just written, from what is stored now."""
        base = reads.base(item.pnpid)
        for cell, column, table in item.parts():
            if cell.column in item.done:
                continue
            rows = reads.cell(table, column.name, item.pnpid)
            stored = rows[0] if len(rows) == 1 else None
            if base is not None and len(rows) == 1 and _holds(stored, cell.new):
                item.done[cell.column] = CellReceipt(
                    pnpid=cell.pnpid,
                    column=cell.column,
                    status="applied",
                    value=cell.new,
                    timestamp=_stamp(base),
                )
            else:
                item.done[cell.column] = CellReceipt(
                    pnpid=cell.pnpid,
                    column=cell.column,
                    status="stale",
                    code="read_back_differs",
                    message=f"After the write {cell.column} holds {said(stored)}, not what was written. "
                    "Somebody else writes to this item; it is compared again at the next run.",
                    value=stored if isinstance(stored, str) else None,
                    timestamp=_stamp(base) if base is not None else None,
                )

    def _after_error(self, store: CellStore, item: _Item, error: Exception) -> Outcome:
        """Before COMMIT nothing can have happened. From COMMIT on only a look tells."""
        meaning = store.judge(error)
        if not item.committing:
            return meaning
        try:
            with store.fresh() as reads:
                base = reads.base(item.pnpid)
                if base is not None and base.timestamp == item.stamp:
                    self._receipts_from(reads, item)
                    return meaning
        except store.errors as again:
            store.judge(again)  # a refused login is not tried by the next item too
            return Outcome(
                "waiting",
                "outcome_unknown",
                f"The connection failed at COMMIT ({meaning.message}) and the cell could not be read again. The next "
                "attempt looks first and does not write twice.",
            )
        return meaning


def _moved_identity(cell: CellWrite, base: BaseRow) -> Outcome | None:
    """Whether the row is another item than the plan means (ids are re-used after a restore or in another copy)."""
    if base.guid == cell.plant3d_id.strip().lower() and base.class_name.lower() == cell.class_name.lower():
        return None
    return Outcome(
        "stale",
        "item_replaced",
        f"PnPID {cell.pnpid} is now {base.class_name} {base.guid}, not {cell.class_name} {cell.plant3d_id}. "
        "Nothing was written.",
    )


def _holds(stored: object, wanted: str | None) -> bool:
    """Exact comparison; NULL and the empty text are the same nothing."""
    if wanted is None or wanted == "":
        return stored is None or stored == ""
    return isinstance(stored, str) and stored == wanted


def _stamp(base: BaseRow) -> int | None:
    return base.timestamp if isinstance(base.timestamp, int) else None


def _found(cell: CellWrite, base: BaseRow) -> CellReceipt:
    return CellReceipt(
        pnpid=cell.pnpid,
        column=cell.column,
        status="found_applied",
        message="The cell holds the planned value already; nothing was written.",
        value=cell.new,
        timestamp=_stamp(base),
    )


def _receipt(cell: CellWrite, outcome: Outcome) -> CellReceipt:
    status: Status = outcome.status
    return CellReceipt(
        pnpid=cell.pnpid, column=cell.column, status=status, code=outcome.code, message=outcome.message
    )


def _unwritten(cell: CellWrite) -> Outcome:
    return Outcome(
        "waiting", "outcome_unknown", f"What became of {cell.column} could not be told; look again."
    )
