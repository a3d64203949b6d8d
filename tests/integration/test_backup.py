"""Backups: complete or absent, proved before they count, kept for a while, and really put back."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine

from plant3d_sync import patience
from plant3d_sync.connectors.plant3d.writing.backup import (
    backup_on_server,
    backup_statement,
    list_backups,
    make_backup,
    restore_backup,
)
from plant3d_sync.errors import ConfigError, NeedsPersonError, NotFoundError, RetryLaterError
from tests.support.plant_writing import Project, all_tables, make_project


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("backups") / "project", items=30)


@pytest.fixture
def project(pristine: Project, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    shutil.copytree(pristine.folder, folder)
    return replace(pristine, folder=folder, database=folder / pristine.database.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def test_a_backup_holds_everything_and_leaves_the_source_alone(project: Project, folder: Path) -> None:
    before = project.database.read_bytes()
    made = make_backup(project.database, folder, project="Mine d'or")
    assert all_tables(made.path) == all_tables(project.database)
    assert project.database.read_bytes() == before
    assert list_backups(folder, "Mine d'or") == [made]
    assert sorted(path.name for path in folder.iterdir()) == [made.path.name, made.path.name + ".sha256"]


class Ends(Exception):
    """What a run ends with in these tests."""


def asked(work: Callable[[], object], *, but: int) -> int:
    """Do it as a run that must end at its look at the clock after so many; how often it looked."""
    looks = 0

    def ended() -> Exception | None:
        nonlocal looks
        looks += 1
        return Ends() if looks > but else None

    try:
        with patience.held(patience.Patience(ended)):
            work()
    except Ends:
        return looks
    return looks


def test_a_backup_looks_at_the_clock_of_its_run_while_it_copies_proves_and_sums_up(
    project: Project, folder: Path
) -> None:
    def backed_up() -> object:
        return make_backup(project.database, folder, project="mine")

    whole = asked(backed_up, but=1000)
    assert whole >= 3 and len(list_backups(folder, "mine")) == 1
    kept = sorted(folder.iterdir())
    for number in range(whole):
        assert asked(backed_up, but=number) >= number + 1
        assert sorted(folder.iterdir()) == kept, "nothing half-made is left"


def test_who_waits_for_a_locked_database_looks_at_the_clock_of_its_run(
    project: Project, folder: Path
) -> None:
    with closing(sqlite3.connect(project.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        looks = asked(lambda: make_backup(project.database, folder, project="mine", deadline=30), but=1)
    assert looks >= 2 and list_backups(folder, "mine") == []


def test_only_the_newest_backups_are_kept_and_other_projects_keep_theirs(
    project: Project, folder: Path
) -> None:
    other = make_backup(project.database, folder, project="a-b")
    made = [make_backup(project.database, folder, project="a", keep=3) for _ in range(5)]
    assert [one.path for one in list_backups(folder, "a")] == [one.path for one in reversed(made[2:])]
    assert list_backups(folder, "a-b") == [other]
    assert len(list(folder.iterdir())) == 8


def test_a_write_ahead_log_database_is_backed_up_into_a_single_file(project: Project, folder: Path) -> None:
    with closing(sqlite3.connect(project.database)) as designer:
        designer.execute("PRAGMA journal_mode = WAL")
        designer.execute("UPDATE PnPBase SET PnPStatus = 0")
        designer.commit()
        made = make_backup(project.database, folder, project="p")
        assert all_tables(made.path) == all_tables(project.database)
    assert len(list(folder.iterdir())) == 2


LIMITED = """
import resource, signal, sys
from pathlib import Path
from plant3d_sync.connectors.plant3d.writing.backup import make_backup
from plant3d_sync.errors import RetryLaterError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    make_backup(Path(sys.argv[1]), Path(sys.argv[2]), project="p")
except RetryLaterError as error:
    print(error.error_code, "nothing was written" in error.message)
"""


def run(code: str, *arguments: Path, failpoints: str = "") -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
        "P3DSYNC_TEST": "1",
        "P3DSYNC_FAILPOINTS": failpoints,
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_leaves_no_half_backup(project: Project, folder: Path) -> None:
    ended = run(LIMITED, project.database, folder)
    assert ended.stdout.split() == ["backup_failed", "True"], ended.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(("point", "backups"), [("push.backup_begun", 0), ("push.backup_verified", 1)])
def test_a_killed_backup_is_complete_or_absent(
    project: Project, folder: Path, point: str, backups: int
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from plant3d_sync.connectors.plant3d.writing.backup import make_backup\n"
        "make_backup(Path(sys.argv[1]), Path(sys.argv[2]), project='p')"
    )
    assert run(code, project.database, folder, failpoints=f"{point}:1").returncode == -signal.SIGKILL
    found = list_backups(folder, "p")
    assert len(found) == backups
    for one in found:
        restore_backup(project.database, one, check_only=True)
    make_backup(project.database, folder, project="p")
    assert len(list_backups(folder, "p")) == backups + 1


def test_a_backup_folder_that_is_a_file_stops_the_push(project: Project, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x", encoding="ascii")
    with pytest.raises(RetryLaterError) as stopped:
        make_backup(project.database, blocked, project="p")
    assert stopped.value.error_code == "backup_failed"


def test_a_source_with_a_damaged_page_makes_no_backup_that_counts(project: Project, folder: Path) -> None:
    [(root,)] = project.rows("SELECT rootpage FROM sqlite_master WHERE name = 'PnPBase'")
    with project.database.open("r+b") as stream:
        stream.seek((int(str(root)) - 1) * 4096)
        stream.write(b"\xff" * 64)
    with pytest.raises((RetryLaterError, ConfigError)) as stopped:
        make_backup(project.database, folder, project="p")
    assert stopped.value.error_code in ("backup_failed", "source_damaged")
    assert list(folder.iterdir()) == []


def test_a_source_whose_index_disagrees_with_its_table_makes_no_backup_that_counts(
    project: Project, folder: Path
) -> None:
    project.change("CREATE INDEX stamps ON PnPBase (PnPTimestamp)")
    [(root,)] = project.rows("SELECT rootpage FROM sqlite_master WHERE name = 'stamps'")
    with project.database.open("r+b") as stream:
        stream.seek((int(str(root)) - 1) * 4096)
        stream.write(b"\x0a" + bytes(7))  # an empty leaf: readable, and wrong
    with pytest.raises(RetryLaterError) as stopped:
        make_backup(project.database, folder, project="p")
    assert stopped.value.error_code == "backup_failed"
    assert list(folder.iterdir()) == []


def test_a_locked_source_is_given_up_within_the_deadline(project: Project, folder: Path) -> None:
    with closing(sqlite3.connect(project.database, isolation_level=None)) as plant3d:
        plant3d.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryLaterError) as stopped:
            make_backup(project.database, folder, project="p", deadline=0.05)
    assert stopped.value.error_code == "source_locked"
    assert list(folder.iterdir()) == []


def test_a_restore_puts_back_every_row_and_keeps_what_it_replaced(project: Project, folder: Path) -> None:
    original = all_tables(project.database)
    made = make_backup(project.database, folder, project="p")
    project.change("UPDATE EngineeringItems SET Description = 'wrong'")
    project.change("DELETE FROM PnPTagRegistry")
    spoiled = all_tables(project.database)
    report = restore_backup(project.database, made)
    assert all_tables(project.database) == original
    assert report.restored
    assert report.changed_tables == ("EngineeringItems", "PnPTagRegistry")
    assert report.safety is not None
    assert all_tables(report.safety.path) == spoiled
    restore_backup(project.database, report.safety)
    assert all_tables(project.database) == spoiled


def test_a_proof_changes_no_byte(project: Project, folder: Path) -> None:
    made = make_backup(project.database, folder, project="p")
    project.change("UPDATE EngineeringItems SET Description = 'later'")
    before, names = project.database.read_bytes(), sorted(folder.iterdir())
    report = restore_backup(project.database, made.path, check_only=True)
    assert not report.restored
    assert report.changed_tables == ("EngineeringItems",)
    assert (project.database.read_bytes(), sorted(folder.iterdir())) == (before, names)


def test_a_reader_during_the_restore_keeps_it_out_and_sees_no_half_state(
    project: Project, folder: Path
) -> None:
    made = make_backup(project.database, folder, project="p")
    project.change("UPDATE EngineeringItems SET Description = 'later'")
    before = project.database.read_bytes()
    code = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN'); c.execute('SELECT count(*) FROM PnPBase').fetchall()\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(project.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        with pytest.raises(RetryLaterError) as stopped:
            restore_backup(project.database, made, deadline=0.2)
        reader.kill()
    assert stopped.value.error_code == "source_locked"
    assert project.database.read_bytes() == before


@pytest.mark.parametrize(
    ("lock", "code"),
    [
        ("PID DWG/P-100-001.dwl", "drawing_open"),
        ("Project.xml.lock", "project_settings_open"),
        ("PnIdPart.xml.plck", "project_settings_open"),
    ],
)
def test_nothing_is_restored_while_somebody_works(
    project: Project, folder: Path, lock: str, code: str
) -> None:
    made = make_backup(project.database, folder, project="p")
    (project.folder / lock).write_bytes(b"")
    before = project.database.read_bytes()
    with pytest.raises(NeedsPersonError) as stopped:
        restore_backup(project.database, made)
    assert stopped.value.error_code == code
    assert project.database.read_bytes() == before


def test_an_altered_backup_is_not_put_back(project: Project, folder: Path) -> None:
    made = make_backup(project.database, folder, project="p")
    with closing(sqlite3.connect(made.path)) as connection:
        connection.execute("UPDATE EngineeringItems SET Description = 'forged'")
        connection.commit()
    with pytest.raises(NeedsPersonError) as stopped:
        restore_backup(project.database, made.path)
    assert stopped.value.error_code == "backup_damaged"


def test_a_backup_of_another_project_is_not_put_back(project: Project, folder: Path) -> None:
    made = make_backup(project.database, folder, project="p")
    project.change("UPDATE PnPDatabase SET DBID = zeroblob(16)")
    with pytest.raises(NeedsPersonError) as stopped:
        restore_backup(project.database, made)
    assert stopped.value.error_code == "backup_other_database"


def test_a_backup_that_does_not_exist_is_named(project: Project, folder: Path) -> None:
    with pytest.raises(NotFoundError):
        restore_backup(project.database, folder / "none.dcf")


def test_a_server_without_the_right_says_so_and_shows_the_statement() -> None:
    statement = backup_statement("pl]ant_PnId", r"D:\b\it's.bak")
    assert statement == (
        r"BACKUP DATABASE [pl]]ant_PnId] TO DISK = N'D:\b\it''s.bak' WITH COPY_ONLY, INIT, CHECKSUM"
    )
    answer = backup_on_server(create_engine("sqlite://"), database="x", file="y")  # a server that refuses
    assert not answer.done
    assert answer.reason
