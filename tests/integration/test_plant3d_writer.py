"""Writing cells into a Plant 3D database: what changes, what never does, and what stops it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import mssql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from plant3d_sync.connectors.plant3d.mounts import mount_kind
from plant3d_sync.connectors.plant3d.writing import write_sqlserver
from plant3d_sync.connectors.plant3d.writing import writer as writing
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.write_sqlite import SqliteCells
from plant3d_sync.connectors.plant3d.writing.writer import HIGHEST_REVISION
from plant3d_sync.errors import ConfigError, RetryLaterError
from tests.support.plant_writing import NOW, Project, all_tables, differences, make_project, statuses


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("writing") / "project")


@pytest.fixture
def project(pristine: Project, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    shutil.copytree(pristine.folder, folder)
    return replace(pristine, folder=folder, database=folder / pristine.database.name)


# -- what a write is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["EngineeringItems", "PipeLineGroup"])
def test_a_write_changes_one_cell_and_the_stamp_of_its_item_and_nothing_else(
    project: Project, root: str
) -> None:
    cell = project.item(root)
    before = all_tables(project.database)
    [receipt] = project.write(cell)
    assert (receipt.status, receipt.value, receipt.timestamp) == ("applied", cell.new, NOW)
    changed = differences(before, all_tables(project.database))
    assert set(changed) == {root, "PnPBase"}
    [(old_base, new_base)] = changed["PnPBase"]
    assert new_base == (*old_base[:3], int(str(old_base[3])) + 1, old_base[4], NOW)
    [(old_row, new_row)] = changed[root]
    assert [(a, b) for a, b in zip(old_row, new_row, strict=True) if a != b] == [(cell.old, cell.new)]
    assert project.rows("PRAGMA integrity_check") == [("ok",)]
    assert not list(project.folder.glob("*-journal"))


def test_a_second_push_of_the_same_plan_writes_no_byte(project: Project) -> None:
    cells = project.items(5)
    project.write(*cells)
    before = project.database.read_bytes()
    assert statuses(project.write(*cells)) == [("found_applied", "")] * 5
    assert project.database.read_bytes() == before


def test_a_write_that_would_keep_the_lock_too_long_is_rolled_back_and_waits(project: Project) -> None:
    before = project.database.read_bytes()
    assert statuses(project.write(project.item(), hold_ms=-1)) == [("waiting", "source_slow")]
    assert project.database.read_bytes() == before


def test_what_ends_just_before_the_commit_leaves_the_file_as_it_was(project: Project) -> None:
    """As a writing process does that finds nobody who asked for it any more."""
    before = all_tables(project.database)

    def nobody_asks() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        project.write(project.item(), before_commit=nobody_asks)
    assert all_tables(project.database) == before


def test_an_item_with_two_rows_where_one_is_needed_is_refused(project: Project) -> None:
    """Only a database whose table lost its key can hold it."""
    cell = project.item()
    with closing(sqlite3.connect(project.database)) as connection:
        connection.executescript(
            "PRAGMA legacy_alter_table = ON; CREATE TABLE keyless AS SELECT * FROM EngineeringItems; "
            "DROP TABLE EngineeringItems; ALTER TABLE keyless RENAME TO EngineeringItems; "
            f"INSERT INTO EngineeringItems SELECT * FROM EngineeringItems WHERE PnPID = {cell.pnpid};"
        )
    [receipt] = project.write(cell)
    assert (receipt.status, receipt.code) == ("refused", "row_missing")
    assert "is kept: 2; exactly one is needed" in receipt.message  # nothing was tried and rolled back


def test_the_stamp_never_goes_backwards_and_the_revision_stays_in_its_column(project: Project) -> None:
    cell = project.item(expected_timestamp=NOW + 5_000)
    project.change(
        "UPDATE PnPBase SET PnPTimestamp = ?, PnPRevision = 32766 WHERE PnPID = ?", NOW + 5_000, cell.pnpid
    )
    [receipt] = project.write(cell)
    assert receipt.timestamp == NOW + 5_001
    assert project.rows("SELECT PnPRevision FROM PnPBase WHERE PnPID = ?", cell.pnpid) == [
        (HIGHEST_REVISION,)
    ]


def test_an_empty_value_is_written_as_null_and_null_is_replaced(project: Project) -> None:
    cell = project.item()
    [receipt] = project.write(replace(cell, new=None))
    assert receipt.status == "applied"
    assert project.rows("SELECT Description FROM EngineeringItems WHERE PnPID = ?", cell.pnpid) == [(None,)]
    again = project.item()
    assert again.old is None
    assert statuses(project.write(again)) == [("applied", "")]


def test_of_many_cells_one_poisoned_one_is_refused_and_the_others_land(project: Project) -> None:
    cells = project.items(40)
    cells[7] = replace(cells[7], new="zwei\nZeilen")
    found = statuses(project.write(*cells))
    assert found[7] == ("refused", "control_character")
    assert [one for index, one in enumerate(found) if index != 7] == [("applied", "")] * 39


# -- what may not be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"new": "x" * 256}, "too_long"),
        ({"new": "Zeile\rzwei"}, "control_character"),
        ({"new": "halbes \ud83d Zeichen"}, "control_character"),
        ({"column": "Comment"}, "not_allowed"),
        ({"column": "Status"}, "not_allowed"),
        ({"column": "ClassName"}, "read_only_column"),
        ({"column": "AcquisitionProperties"}, "read_only_column"),
        ({"column": "PnPGuid"}, "column_unknown"),
        ({"column": "Description] = 'x' --"}, "column_unknown"),
        ({"table_class": "PnPBase"}, "not_allowed"),
        ({"class_name": "NoSuchClass"}, "column_unknown"),
    ],
)
def test_what_the_rules_forbid_is_refused_and_nothing_is_written(
    project: Project, changes: dict[str, str], code: str
) -> None:
    before = project.database.read_bytes()
    assert statuses(project.write(project.item(**changes))) == [("refused", code)]
    assert project.database.read_bytes() == before


def test_an_allow_list_that_names_a_tag_cannot_open_it_because_the_writer_judges_the_column_itself(
    project: Project,
) -> None:
    [(pnpid,)] = project.rows("SELECT PnPID FROM Equipment ORDER BY PnPID LIMIT 1")
    cell = next(one for one in project.items(60) if one.pnpid == pnpid)
    before = project.database.read_bytes()
    for column, code in [("Tag", "composed_column"), ("Number", "tag_part")]:
        planned = replace(cell, table_class="Equipment", column=column)
        allowed = frozenset({("equipment", column.lower())})
        assert statuses(project.write(planned, allowed=allowed)) == [("refused", code)]
    assert project.database.read_bytes() == before


def test_a_column_the_item_acquires_since_the_plan_is_refused(project: Project) -> None:
    cell = project.item()
    project.change(
        "UPDATE EngineeringItems SET AcquisitionProperties = '#Size, Description' WHERE PnPID = ?", cell.pnpid
    )
    assert statuses(project.write(cell)) == [("refused", "acquired_column")]


def test_an_item_without_a_row_in_the_table_is_refused_and_none_is_inserted(project: Project) -> None:
    cell = project.item()
    project.change("DELETE FROM EngineeringItems WHERE PnPID = ?", cell.pnpid)
    before = all_tables(project.database)
    assert statuses(project.write(cell)) == [("refused", "row_missing")]
    assert differences(before, all_tables(project.database)) == {}


def test_a_column_that_is_gone_since_the_plan_is_refused(project: Project) -> None:
    cell = project.item()
    project.change("ALTER TABLE EngineeringItems RENAME COLUMN Description TO Beschreibung")
    assert statuses(project.write(cell)) == [("refused", "column_missing")]


# -- what moved since the plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("UPDATE EngineeringItems SET Description = 'edited' WHERE PnPID = ?", "value_moved"),
        (
            "UPDATE EngineeringItems SET Description = upper(Description) || ' ' WHERE PnPID = ?",
            "value_moved",
        ),
        ("UPDATE EngineeringItems SET Description = x'ff80' WHERE PnPID = ?", "value_moved"),
        ("UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 1 WHERE PnPID = ?", "stamp_moved"),
        ("UPDATE PnPBase SET PnPGuid = zeroblob(16) WHERE PnPID = ?", "item_replaced"),
        ("UPDATE PnPBase SET PnPClassName = 'GateValve' WHERE PnPID = ?", "item_replaced"),
        ("DELETE FROM PnPBase WHERE PnPID = ?", "item_gone"),
    ],
)
def test_what_moved_since_the_plan_is_not_overwritten(project: Project, sql: str, code: str) -> None:
    first, second = project.items(2)
    project.change(sql, first.pnpid)
    before = all_tables(project.database)
    found = project.write(first, second)
    assert statuses(found) == [("stale", code), ("applied", "")]
    touched = differences(before, all_tables(project.database))
    assert {len(rows) for rows in touched.values()} == {1}


def test_a_value_that_differs_only_in_case_is_another_value(project: Project) -> None:
    cell = project.item()
    assert cell.old is not None
    planned = replace(cell, old=cell.old.swapcase())
    assert statuses(project.write(planned)) == [("stale", "value_moved")]


def test_one_moved_cell_of_an_item_does_not_hold_up_its_other_cells(project: Project) -> None:
    first = project.item()
    second = replace(first, column="Comment", old="not what is there", new="x")
    allowed = frozenset({("engineeringitems", "description"), ("engineeringitems", "comment")})
    assert statuses(project.write(first, second, allowed=allowed)) == [
        ("applied", ""),
        ("stale", "value_moved"),
    ]


# -- who is in the way --------------------------------------------------------------------------------------------


@contextmanager
def other_program(path: Path, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that ran these statements and holds what they hold until the block ends."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for s in sys.argv[2:]: c.execute(s).fetchall()\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize(
    "holds",
    [("BEGIN EXCLUSIVE",), ("BEGIN IMMEDIATE",), ("BEGIN", "SELECT count(*) FROM PnPBase")],
    ids=["exclusive", "reserved", "a reader at our commit"],
)
def test_a_file_that_another_program_holds_waits_and_is_written_later(
    project: Project, holds: tuple[str, ...]
) -> None:
    cells = project.items(2)
    with project.writer(deadline_ms=30) as writer:
        with other_program(project.database, *holds):
            before = project.database.read_bytes()
            assert statuses(writer.write(cells)) == [("waiting", "source_locked")] * 2
            assert project.database.read_bytes() == before
        assert statuses(writer.write(cells)) == [("applied", "")] * 2


def test_a_journal_left_by_a_crashed_writer_is_left_to_plant_3d(project: Project) -> None:
    cell = project.item()
    spill = (
        "PRAGMA cache_size = 1",
        "BEGIN EXCLUSIVE",
        "UPDATE PnPBase SET PnPStatus = 1",
        "UPDATE EngineeringItems SET Comment = 'half'",
    )
    with other_program(project.database, *spill) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    journal = project.database.with_name(project.database.name + "-journal")
    before = project.database.read_bytes(), journal.read_bytes()
    assert before[1]
    with pytest.raises(RetryLaterError) as stopped:
        project.write(cell)
    assert stopped.value.error_code == "source_hot_journal"
    assert (project.database.read_bytes(), journal.read_bytes()) == before


def test_a_write_ahead_log_database_is_written_as_well(project: Project) -> None:
    project.change("PRAGMA journal_mode = WAL")
    assert statuses(project.write(project.item())) == [("applied", "")]


def drawing_of(project: Project, pnpid: int) -> Path:
    [(name,)] = project.rows(
        "SELECT DISTINCT d.[Dwg Name] FROM PnPDataLinks l JOIN PnPDrawings d ON d.PnPID = l.DwgId WHERE l.RowId = ?",
        pnpid,
    )
    return project.folder / "PID DWG" / str(name)


def test_an_open_drawing_makes_its_items_wait_and_names_drawing_and_user(project: Project) -> None:
    cells = project.items(60)
    lock = drawing_of(project, cells[0].pnpid).with_suffix(".DWL")
    lock.write_text("mtremblay\r\nPOSTE-12\r\n", encoding="utf-8")
    found = project.write(*cells)
    assert set(statuses(found)) == {("applied", ""), ("waiting", "drawing_open")}
    for cell, receipt in zip(cells, found, strict=True):
        assert (receipt.status == "waiting") == (drawing_of(project, cell.pnpid).stem == lock.stem)
    assert lock.stem in found[0].message
    assert "mtremblay" in found[0].message


def test_a_line_waits_while_the_drawing_of_one_of_its_segments_is_open(project: Project) -> None:
    line = project.item("PipeLineGroup")
    [(segment,), *_] = project.rows(
        "SELECT PipeLine FROM PipeLineGroupRelationship WHERE PipeLineGroup = ?", line.pnpid
    )
    assert project.rows("SELECT * FROM PnPDataLinks WHERE RowId = ?", line.pnpid) == []
    drawing_of(project, int(str(segment))).with_suffix(".dwl2").write_bytes(b"")
    assert statuses(project.write(line)) == [("waiting", "drawing_open")]


def test_a_project_of_2010_without_relative_paths_is_guarded_by_the_names_of_its_drawings(
    project: Project,
) -> None:
    cell = project.item()
    lock = drawing_of(project, cell.pnpid).with_suffix(".dwl")
    project.change("DROP VIEW PnPDrawings_PNP")
    for column in ("PnPRelativePath", "PnPType"):
        project.change(f"ALTER TABLE PnPDrawings DROP COLUMN {column}")
    lock.write_bytes(b"")
    assert statuses(project.write(cell)) == [("waiting", "drawing_open")]
    lock.unlink()
    assert statuses(project.write(cell)) == [("applied", "")]


def test_a_link_to_no_drawing_counts_as_a_drawing_nobody_can_see(project: Project) -> None:
    cell = project.item()
    project.change("UPDATE PnPDataLinks SET DwgId = 999999 WHERE RowId = ?", cell.pnpid)
    assert statuses(project.write(cell)) == [("waiting", "drawing_unseen")]


def test_drawings_that_cannot_be_seen_count_as_open_unless_the_project_says_otherwise(
    project: Project,
) -> None:
    cell = project.item()
    for folder in (None, project.folder / "elsewhere"):
        hidden = DrawingLocks(folder)
        assert statuses(project.write(cell, drawings=hidden)) == [("waiting", "drawing_folder_unseen")]
    trusted = DrawingLocks(None, unseen_counts_as_open=False)
    assert statuses(project.write(cell, drawings=trusted)) == [("applied", "")]


def test_a_drawing_opened_while_the_transaction_runs_rolls_it_back(project: Project) -> None:
    cell = project.item()
    lock = drawing_of(project, cell.pnpid).with_suffix(".dwl")

    def clock() -> int:  # asked between the two looks at the drawings
        lock.write_bytes(b"")
        return NOW

    before = all_tables(project.database)
    assert statuses(project.write(cell, clock=clock)) == [("waiting", "drawing_open")]
    assert all_tables(project.database) == before


def test_what_an_earlier_attempt_wrote_is_found_even_while_the_drawing_is_open(project: Project) -> None:
    cell = project.item()
    project.write(cell)
    drawing_of(project, cell.pnpid).with_suffix(".dwl").write_bytes(b"")
    assert statuses(project.write(cell)) == [("found_applied", "")]


# -- databases that are not written to at all ---------------------------------------------------------------------


def refusal(project: Project, **options: object) -> str:
    before = project.database.read_bytes()
    with pytest.raises(ConfigError) as stopped:
        project.write(project.item(), **options)
    assert project.database.read_bytes() == before
    assert stopped.value.hint
    assert "othing was written" in stopped.value.message
    return stopped.value.error_code


def test_a_read_only_file_is_refused(project: Project) -> None:
    project.database.chmod(0o444)
    assert refusal(project) == "source_read_only"


@pytest.mark.parametrize("kind", ["nobrl", "nolock", "unknown:9p"])
def test_a_mount_with_locks_nobody_can_trust_is_refused(project: Project, kind: str) -> None:
    assert refusal(project, mounts=lambda _path: kind) == "unsafe_mount"


def test_a_database_with_triggers_is_refused(project: Project) -> None:
    project.change(
        "CREATE TRIGGER t AFTER UPDATE ON EngineeringItems BEGIN UPDATE PnPBase SET PnPStatus = 1; END"
    )
    assert refusal(project) == "source_has_triggers"


@pytest.mark.parametrize("sign", ["CollaborationCache/plant", "vault"])
def test_a_working_copy_of_one_user_is_refused(project: Project, tmp_path: Path, sign: str) -> None:
    folder = tmp_path / sign
    shutil.copytree(project.folder, folder)
    if sign == "vault":
        (folder / "_V").mkdir()
    copied = replace(project, folder=folder, database=folder / project.database.name)
    assert refusal(copied) == "source_is_copy"


def test_a_file_replaced_while_the_push_runs_is_not_written(project: Project, tmp_path: Path) -> None:
    cells = project.items(2)
    other = tmp_path / "other.dcf"
    shutil.copy(project.database, other)
    with project.writer() as writer:
        assert statuses(writer.write(cells[:1])) == [("applied", "")]
        other.replace(project.database)
        before = project.database.read_bytes()
        assert statuses(writer.write(cells[1:])) == [("waiting", "source_replaced")]
    assert project.database.read_bytes() == before


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/good rw,relatime - cifs //srv/good rw,vers=3.1.1,cache=strict
31 22 0:41 / /mnt/lying rw,relatime - cifs //srv/lying rw,vers=3.0,nobrl
32 22 0:42 / /mnt/nfs\\040one rw,relatime - nfs4 srv:/x rw,vers=4.2,local_lock=none
33 22 0:43 / /mnt/old rw,relatime - nfs srv:/y rw,vers=3,nolock,local_lock=all
34 22 0:44 / /mnt/box rw,relatime - 9p share rw
35 30 0:45 / /mnt/good/deep rw,relatime - virtiofs x rw
broken line
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a mount table is a matter of Linux")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/plants/a.dcf", "local"),
        ("/mnt/good/a.dcf", "network"),
        ("/mnt/goodish/a.dcf", "local"),
        ("/mnt/lying/p/a.dcf", "nobrl"),
        ("/mnt/nfs one/a.dcf", "network"),
        ("/mnt/old/a.dcf", "nolock"),
        ("/mnt/box/a.dcf", "unknown:9p"),
        ("/mnt/good/deep/a.dcf", "unknown:virtiofs"),
    ],
)
def test_the_mount_table_tells_how_far_locks_reach(tmp_path: Path, path: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS, encoding="utf-8")
    assert mount_kind(Path(path), table=table) == kind


# -- killed at every step -----------------------------------------------------------------------------------------

KILLED_WRITER = """
import sys
from pathlib import Path
from tests.support.plant_writing import Project, discover
import sqlite3
connection = sqlite3.connect(sys.argv[1])
catalog = discover(connection).catalog
connection.close()
project = Project(folder=Path(sys.argv[1]).parent, database=Path(sys.argv[1]), catalog=catalog)
project.write(*project.items(2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    "point",
    [
        "push.before_begin",
        "push.begun",
        "push.expected_read",
        "push.updated",
        "push.before_commit",
        "push.committed",
        "push.read_back",
    ],
)
def test_killed_at_any_step_the_next_attempt_ends_as_if_nothing_had_happened(
    project: Project, tmp_path: Path, point: str
) -> None:
    cells = project.items(2)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project.folder, undisturbed)
    calm = replace(project, folder=undisturbed, database=undisturbed / project.database.name)
    calm.write(*cells)
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "P3DSYNC_TEST": "1",
        "P3DSYNC_FAILPOINTS": f"{point}:2",
        "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
    }
    command = [sys.executable, "-c", KILLED_WRITER, str(project.database)]
    killed = subprocess.run(command, env=environment, check=False, cwd=root)
    assert killed.returncode == -signal.SIGKILL
    found = statuses(project.write(*cells))
    after_commit = point in ("push.committed", "push.read_back")
    assert found == [("found_applied", ""), ("found_applied" if after_commit else "applied", "")]
    assert all_tables(project.database) == all_tables(calm.database)


# -- SQL Server: the same recipe through its own statements -------------------------------------------------------


@pytest.fixture
def as_server(project: Project) -> Iterator[Engine]:
    """The engine of the SQL Server path over the same data, as schema `dbo`; locking hints are T-SQL only."""
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def attach(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("ATTACH DATABASE ? AS dbo", (str(project.database),))

    yield engine
    engine.dispose()


def test_on_sql_server_the_same_cells_change(project: Project, as_server: Engine) -> None:
    first, second, third = project.items(3)
    project.change("UPDATE EngineeringItems SET Description = 'edited' WHERE PnPID = ?", second.pnpid)
    planned = [first, second, replace(third, new="x" * 256)]
    before = all_tables(project.database)
    with project_server_writer(project, as_server) as write:
        found = write(planned)
    assert statuses(found) == [("applied", ""), ("stale", "value_moved"), ("refused", "too_long")]
    changed = differences(before, all_tables(project.database))
    assert {name: len(rows) for name, rows in changed.items()} == {"EngineeringItems": 1, "PnPBase": 1}
    with project_server_writer(project, as_server) as write:
        assert statuses(write([first])) == [("found_applied", "")]


@contextmanager
def project_server_writer(project: Project, engine: Engine) -> Iterator[Callable[..., list[object]]]:
    from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter
    from tests.support.plant_writing import ALLOWED

    with PlantWriter(
        engine, catalog=project.catalog, allowed=ALLOWED, drawings=project.locks(), clock=lambda: NOW
    ) as writer:
        yield writer.write


@pytest.mark.parametrize(
    ("lost", "found"), [("after", ("applied", "")), ("before", ("waiting", "connection_lost"))]
)
def test_a_connection_lost_around_commit_is_settled_by_looking(
    project: Project, lost: str, found: tuple[str, str]
) -> None:
    class Cut(sqlite3.Connection):
        def commit(self) -> None:
            if lost == "after":
                super().commit()
            elif not self.in_transaction:
                return
            raise sqlite3.OperationalError("the connection was cut")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", factory=Cut)
        connection.execute("ATTACH DATABASE ? AS dbo", (str(project.database),))
        return connection

    engine = create_engine("sqlite://", creator=connect)
    cell = project.item()
    with project_server_writer(project, engine) as write:
        assert statuses(write([cell])) == [found]
    engine.dispose()
    stored = project.rows("SELECT Description FROM EngineeringItems WHERE PnPID = ?", cell.pnpid)
    assert stored == [(cell.new if lost == "after" else cell.old,)]
    assert statuses(project.write(cell)) == [("found_applied" if lost == "after" else "applied", "")]


def test_a_server_that_is_gone_is_not_asked_again_for_each_item(project: Project) -> None:
    """Microsoft's driver uses up its whole login time each time: 500 items would take two hours."""
    asked: list[int] = []

    class Cut(sqlite3.Connection):
        def commit(self) -> None:
            if self.in_transaction:
                asked.append(0)
                raise sqlite3.OperationalError("the connection was cut")

    def connect() -> sqlite3.Connection:
        if asked:
            asked.append(len(asked))
            raise sqlite3.OperationalError("nobody answers")
        connection = sqlite3.connect(":memory:", factory=Cut)
        connection.execute("ATTACH DATABASE ? AS dbo", (str(project.database),))
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    with project_server_writer(project, engine) as write:
        found = statuses(write(project.items(6)))
    assert found == [("waiting", "outcome_unknown" if n == 0 else "connection_lost") for n in range(6)]
    assert asked == [0, 1, 2], "the look after COMMIT, and one question before the next item"


def test_a_server_that_answers_again_is_asked_for_the_items_after_the_one_that_lost_it(
    project: Project,
) -> None:
    cut: list[int] = []

    class Cut(sqlite3.Connection):
        def commit(self) -> None:
            if self.in_transaction and len(cut) < 2:
                cut.append(1)
                raise sqlite3.OperationalError("the connection was cut")
            super().commit()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", factory=Cut)
        connection.execute("ATTACH DATABASE ? AS dbo", (str(project.database),))
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    with project_server_writer(project, engine) as write:
        found = statuses(write(project.items(4)))
    assert found == [("waiting", "connection_lost")] * 2 + [("applied", "")] * 2


class DriverError(Exception):
    """As the drivers of SQL Server raise: a number first (pymssql), or SQLSTATE and text (pyodbc)."""


def odbc(state: str, number: int) -> DriverError:
    return DriverError(
        state, f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server] text ({number}) (SQLExecDirectW)"
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DriverError(1205, b"deadlock"), "waiting", "source_locked"),
        (odbc("40001", 1205), "waiting", "source_locked"),
        (odbc("42000", 1222), "waiting", "source_locked"),
        (odbc("HYT00", 0), "waiting", "connection_lost"),
        (odbc("42000", 3960), "waiting", "source_locked"),
        (odbc("42000", 229), "refused", "no_right"),
        (odbc("42S22", 207), "refused", "column_missing"),
        (odbc("22001", 2628), "refused", "too_long"),
        (odbc("28000", 18456), "waiting", "source_login_failed"),
        (DriverError(4060, b"cannot open"), "waiting", "source_away"),
        (odbc("42000", 9002), "waiting", "source_away"),
        (odbc("HY000", 983), "waiting", "source_away"),
        (odbc("42000", 547), "refused", "sql_error"),
        (DriverError("08S01", "Communication link failure"), "waiting", "connection_lost"),
    ],
)
def test_errors_of_sql_server_are_told_apart_by_number(error: Exception, status: str, code: str) -> None:
    store = write_sqlserver.SqlServerCells(create_engine("sqlite://"), deadline_ms=1, owned=True)
    wrapped = DBAPIError("UPDATE", {}, error, connection_invalidated=code == "connection_lost")
    outcome = store.judge(wrapped)
    assert (outcome.status, outcome.code) == (status, code)


def server_statements() -> dict[str, str]:
    dialect = mssql.dialect(paramstyle="named")
    made = {
        "read item": write_sqlserver.select_item(
            7, [("EngineeringItems", "Description", "a]b"), ("Tëst", "x")]
        ),
        "read base": write_sqlserver.select_base(7, lock=True),
        "read cell": write_sqlserver.select_cell("Brass Nº", "Désignation [x", 7, lock=True),
        "write cell": write_sqlserver.update_cell("EngineeringItems", "Description", 7, "old", "new"),
        "write empty cell": write_sqlserver.update_cell("EngineeringItems", "From", 7, None, None),
        "write long cell": write_sqlserver.update_cell(
            "EngineeringItems", "Description", 7, "x" * 4001, "y" * 9000
        ),
        "write base": write_sqlserver.update_base(7, 1, 2, 3),
        "read drawings": write_sqlserver.select_drawings(7, ("PnPID", "Dwg Name")),
        "read relation": write_sqlserver.select_related(
            "PipeLineGroupRelationship", "PipeLineGroup", "PipeLine", 7
        ),
    }
    texts = {
        name: re.sub(r"(?<!:):(\w+)", r"@\1", str(one.compile(dialect=dialect))) for name, one in made.items()
    }
    return {**texts, "triggers": write_sqlserver.TRIGGERS}


@pytest.mark.parametrize("name", server_statements())
def test_the_statements_for_sql_server_parse_as_transact_sql(name: str) -> None:
    assert parses(server_statements()[name])


def test_the_statements_for_sql_server_lock_the_rows_they_compare_and_name_their_schema() -> None:
    made = server_statements()
    assert "WITH (UPDLOCK, HOLDLOCK)" in made["read base"]
    assert "WITH (UPDLOCK, HOLDLOCK)" in made["read cell"]
    assert made["read item"].count("WITH (UPDLOCK, HOLDLOCK)") == 3
    assert re.sub(r"\s+", " ", made["write cell"]).startswith(
        "UPDATE [dbo].[EngineeringItems] SET [Description]=@"
    )
    assert "[Description] IS NULL" not in made["write cell"]
    assert "[From] IS NULL" in made["write empty cell"]


@pytest.mark.parametrize("text", ["x" * 4001, "🙂" * 4000, "z🙂" * 3000])
def test_no_parameter_is_longer_than_each_driver_sends_and_the_pieces_are_the_text(text: str) -> None:
    made = write_sqlserver.update_cell("EngineeringItems", "Description", 7, text, text)
    sent = [
        one for one in made.compile(dialect=mssql.dialect(paramstyle="named")).params.values() if one != 7
    ]
    assert "".join(sent) == text * 2
    assert max(len(one.encode("utf-16-le")) for one in sent) <= 8000


def test_a_cell_that_is_emptied_needs_no_parameter_whose_type_a_driver_asks_for() -> None:
    made = write_sqlserver.update_cell("EngineeringItems", "Description", 7, None, None)
    assert list(made.compile(dialect=mssql.dialect(paramstyle="named")).params.values()) == [7]


def test_the_parser_of_transact_sql_does_refuse_what_is_wrong() -> None:
    assert not parses("UPDATE [dbo].[T] SET WHERE x = 1")
    assert not parses("SELECT 1 FROM t LIMIT 5")


def parses(statement: str) -> bool:
    tool = shutil.which(
        "maxdop", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if tool is None:
        pytest.skip("maxdop (T-SQL parser) is not installed")
    command = [tool, "--parser-version", "2019"]
    return (
        subprocess.run(command, input=statement, text=True, capture_output=True, check=False).returncode == 0
    )


def test_the_file_is_not_held_between_two_items(project: Project) -> None:
    cells = project.items(2)
    with project.writer() as writer:
        writer.write(cells[:1])
        with closing(sqlite3.connect(project.database, timeout=0)) as designer:
            designer.execute(
                "UPDATE EngineeringItems SET Comment = 'mine' WHERE PnPID = ?", (cells[1].pnpid,)
            )
            designer.commit()
        assert statuses(writer.write(cells[1:])) == [("applied", "")]


# ---------------------------------------------------------------- others want to save too


class Watch:
    """A clock that moves only while the lock is held or somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.held: list[tuple[float, float]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_push_of_many_cells_leaves_a_gap_that_a_client_of_100_ms_cannot_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", items=120)
    watch, commit = Watch(), SqliteCells.commit

    def commit_slowly(store: SqliteCells) -> None:
        commit(store)
        watch.held.append((watch.now, watch.now + 0.012))
        watch.now += 0.012

    monkeypatch.setattr(SqliteCells, "commit", commit_slowly)
    monkeypatch.setattr(writing, "time", watch)
    receipts = project.write(*project.items(100))
    assert [receipt.status for receipt in receipts] == ["applied"] * 100
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(watch.held)]
    between = [i for i, gap in enumerate(gaps) if gap >= 0.025]
    assert len(between) > 10, "no gap between the transactions"
    longest = max(watch.held[b][1] - watch.held[a + 1][0] for a, b in itertools.pairwise([-1, *between]))
    assert longest <= 0.1 - 0.025, "a client that looks every 25 ms may find the file locked for 100 ms"


def test_a_push_that_is_slow_by_itself_does_not_wait_in_addition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", items=60)
    watch = Watch()
    slept: list[float] = []
    monkeypatch.setattr(watch, "sleep", slept.append)
    monkeypatch.setattr(writing, "time", watch)
    with project.writer() as writer:
        for cell in project.items(30):
            assert writer.write([cell])[0].status == "applied"
            watch.now += 0.2  # the state database, or a slow disk
    assert slept == []
