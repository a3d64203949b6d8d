"""A real project database, if there is one: `P3D_TEST_REAL_DCF=path`. Counts must equal plain SQL on the file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import Snapshot, inspect_source, open_source

REAL = os.environ.get("P3D_TEST_REAL_DCF", "")
pytestmark = [
    pytest.mark.realfile,
    pytest.mark.skipif(not REAL, reason="no real database: set P3D_TEST_REAL_DCF=path/to/ProcessPower.dcf"),
]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A copy of the real file, whose bytes must be the same afterwards."""
    path = tmp_path / "ProcessPower.dcf"
    path.write_bytes(Path(REAL).read_bytes())
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    yield path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.fixture
def snapshot(source: Path) -> Iterator[Snapshot]:
    opened = open_source(source).snapshot()
    assert isinstance(opened, Snapshot)
    yield opened
    opened.close()


def plain(path: Path, statement: str) -> dict[str, int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return dict(db.execute(statement).fetchall())


def test_every_item_of_every_class_is_read_once(source: Path, snapshot: Snapshot) -> None:
    expected = plain(source, "SELECT PnPClassName, count(*) FROM PnPBase GROUP BY 1")
    classes = [name for name in snapshot.catalog.classes if expected.get(name)]
    read: dict[str, int] = {}
    ids: set[int] = set()
    for batch in snapshot.scan(classes, {}):
        for item in batch.changed:
            read[item.class_name] = read.get(item.class_name, 0) + 1
            ids.add(item.pnpid)
    assert read == {name: expected[name] for name in classes}
    assert len(ids) == sum(read.values())
    assert snapshot.identity.rows == sum(expected.values())


def test_a_second_reading_finds_everything_unchanged(snapshot: Snapshot) -> None:
    classes = [n for n, count in snapshot.counts(list(snapshot.catalog.classes)).items() if count]
    known = {i.pnpid: i.digest for b in snapshot.scan(classes, {}) for i in b.changed}
    assert [i for b in snapshot.scan(classes, known) for i in b.changed] == []


def test_tags_equal_the_class_tables_where_their_row_exists(source: Path, snapshot: Snapshot) -> None:
    for table in ("Equipment", "HandValves", "Instrumentation", "PipeLineGroup"):
        if not (snapshot.catalog.find(table) and snapshot.catalog.classes[table].has_table):
            continue
        with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as db:
            expected = dict(
                db.execute(
                    f"SELECT t.PnPID, t.Tag FROM [{table}] t JOIN PnPBase b ON b.PnPID = t.PnPID"
                ).fetchall()
            )
        for batch in snapshot.scan(list(snapshot.catalog.descendants(table)), {}):
            for item in batch.changed:
                if "Tag" not in item.unknown:
                    assert item.values["Tag"] == expected[item.pnpid]
                else:
                    assert item.pnpid not in expected


def test_inspect_goes_through(source: Path) -> None:
    report = inspect_source(open_source(source))
    assert report["classes"]
