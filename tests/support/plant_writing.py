"""A small project on disk, and what tests of writing need to know about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from plant3d_sync.connectors.base import CellReceipt, CellWrite
from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.connectors.plant3d.reading.catalog import discover
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.sample.project import write_project

NOW = 639_000_000_000_000_000
"""Ticks of a day in 2025, later than every stamp of a sample."""

ALLOWED = frozenset({("engineeringitems", "description"), ("pipelinegroup", "description")})

Tables = dict[str, list[tuple[object, ...]]]


class Project(msgspec.Struct, frozen=True, kw_only=True):
    folder: Path
    database: Path
    catalog: Catalog

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> None:
        """As any other program with an SQL tool would."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute(sql, values)
            connection.commit()

    def items(self, count: int, class_root: str = "EngineeringItems") -> list[CellWrite]:
        """Planned changes of the description of the first `count` items of a class."""
        rows = self.rows(
            f"SELECT b.PnPID, b.PnPGuid, b.PnPClassName, b.PnPTimestamp, t.Description FROM PnPBase b "
            f"JOIN [{class_root}] t ON t.PnPID = b.PnPID ORDER BY b.PnPID LIMIT ?",
            count,
        )
        return [
            CellWrite(
                pnpid=int(str(pnpid)),
                plant3d_id=guid_text(guid),
                class_name=str(name),
                table_class=class_root,
                column="Description",
                old=None if old is None else str(old),
                new=f"Pompe à eau n° {pnpid}",
                expected_timestamp=int(str(stamp)),
            )
            for pnpid, guid, name, stamp, old in rows
        ]

    def item(self, class_root: str = "EngineeringItems", **changes: object) -> CellWrite:
        return replace(self.items(1, class_root)[0], **changes)  # type: ignore[arg-type]

    def locks(self) -> DrawingLocks:
        return DrawingLocks(self.folder)

    @contextmanager
    def writer(self, **options: object) -> Iterator[PlantWriter]:
        settings: dict[str, object] = {
            "catalog": self.catalog,
            "allowed": ALLOWED,
            "drawings": self.locks(),
            "clock": lambda: NOW,
            "mounts": lambda _path: "local",
            **options,
        }
        with PlantWriter(self.database, **settings) as writer:  # type: ignore[arg-type]
            yield writer

    def write(self, *cells: CellWrite, **options: object) -> list[CellReceipt]:
        with self.writer(**options) as writer:
            return writer.write(cells)


def make_project(folder: Path, *, items: int = 60) -> Project:
    report = write_project(folder, items=items)
    with closing(sqlite3.connect(report.database)) as connection:
        catalog = discover(connection).catalog
    return Project(folder=folder, database=report.database, catalog=catalog)


def all_tables(path: Path) -> Tables:
    """Everything in the database, table by table, and its schema."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {
            name: sorted(connection.execute(f"SELECT * FROM [{name}]").fetchall(), key=repr) for name in names
        }
        tables["(schema)"] = sorted(connection.execute("SELECT * FROM sqlite_master").fetchall(), key=repr)
    return tables


def differences(
    before: Tables, after: Tables
) -> dict[str, list[tuple[tuple[object, ...], tuple[object, ...]]]]:
    """Per table the rows that changed, old and new side by side; fails when rows came or went."""
    found = {}
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        assert len(old) == len(new), name
        gone = [row for row in old if row not in new]
        come = [row for row in new if row not in old]
        if gone or come:
            found[name] = list(zip(gone, come, strict=True))
    return found


def statuses(receipts: Sequence[CellReceipt]) -> list[tuple[str, str]]:
    return [(receipt.status, receipt.code) for receipt in receipts]
