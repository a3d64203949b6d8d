"""No side effect before it is known that something will be written, and no backup that pushes a real one out."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from plant3d_sync.connectors.plant3d.writing.backup import list_backups, make_backup, restore_backup
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.sample.project import write_project
from tests.support.wayback import both, cell, now, ok, push, refusals, user_describes
from tests.support.world import NAME, MakeWorld, Said, World


def backups(world: World) -> list[Path]:
    return [one.path for one in list_backups(world.folder / "plant3d-backups" / NAME, NAME)]


def noted(world: World) -> list[dict[str, Any]]:
    """Backups that our own state says are there."""
    return world.rows("SELECT run_id, path FROM backup WHERE removed_at IS NULL ORDER BY id")


def traces(world: World) -> dict[str, int]:
    tables = ("backup", "plant_write", "intent", "change")
    return {name: world.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in tables}


@pytest.fixture
def plant(tmp_path: Path, make_world: MakeWorld) -> World:
    """A pulled project with a folder of drawings and one real backup."""
    write_project(tmp_path / "plant", items=80)
    world = make_world(write="sql", drawings=str(tmp_path / "plant" / "PID DWG"), keep_backups=3)
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "Really written")
    assert push(world)["writes"]["plant3d"] == 1 and len(backups(world)) == 1
    return world


def drawing_lock(world: World) -> Path:
    folder = Path(world.options["drawings"])
    return folder.parent / "Project.xml.lock"


def test_pushes_that_wait_for_a_drawing_leave_no_trace_and_the_real_backup_stays(plant: World) -> None:
    (real,), lock = backups(plant), drawing_lock(plant)
    pnpid = plant.items("equipment")[1].pnpid
    user_describes(plant, pnpid, "Waits")
    lock.touch()
    before = traces(plant)
    for number in range(5):
        report = push(plant, code=3) if number % 2 else now(plant, code=3)
        assert refusals(report) == {pnpid: "project_settings_open"} and report["writes"]["plant3d"] == 0
    assert backups(plant) == [real] and traces(plant) == before
    lock.unlink()
    assert push(plant)["writes"]["plant3d"] == 1 and cell(plant, pnpid) == "Waits"
    assert real in backups(plant) and len(backups(plant)) == 2 == len(noted(plant))


def held(dcf: Path) -> sqlite3.Connection:
    """Plant 3D is about to save: readers go on, no other writer may begin."""
    connection = sqlite3.connect(dcf, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_pushes_into_a_locked_file_leave_no_trace(plant: World) -> None:
    pnpid = plant.items("equipment")[1].pnpid
    user_describes(plant, pnpid, "Locked out")
    before, kept = traces(plant), backups(plant)
    with closing(held(plant.dcf)):
        assert refusals(push(plant, code=3)) == {pnpid: "source_locked"}
    assert traces(plant) == before and backups(plant) == kept
    assert push(plant)["writes"]["plant3d"] == 1


def test_a_database_that_may_not_be_written_is_told_before_a_backup_is_made(plant: World) -> None:
    pnpid = plant.items("equipment")[1].pnpid
    user_describes(plant, pnpid, "Not here")
    plant.change("CREATE TRIGGER odd AFTER UPDATE ON PnPBase BEGIN SELECT 1; END")
    before, kept = traces(plant), backups(plant)
    for _ in range(2):
        said = plant.cli("push", NAME)
        assert (said.code, said.error) == (78, "source_has_triggers")
    assert traces(plant) == before and backups(plant) == kept


def test_a_value_that_plant_3d_holds_already_is_settled_without_a_backup(plant: World) -> None:
    pnpid = plant.items("equipment")[1].pnpid
    user_describes(plant, pnpid, "Typed on both sides")

    def typed() -> None:
        table = "EngineeringItems"
        plant.change(f"UPDATE {table} SET Description = ? WHERE PnPID = ?", "Typed on both sides", pnpid)

    kept = backups(plant)
    with acting("plant3d_sync.run.engine", "guards.passed", typed):
        assert push(plant)["outcome"] == "clean"
    assert both(plant, pnpid) == ("Typed on both sides",) * 2 and backups(plant) == kept


def acting(module: str, point: str, act: Callable[[], object]) -> Any:
    """Do this once when the run passes a named point."""
    from importlib import import_module

    loaded = import_module(module)
    original, done = loaded.failpoint, []

    def passing(name: str) -> None:
        if name == point and not done:
            done.append(name)
            act()
        original(name)

    return patch.object(loaded, "failpoint", passing)


def test_a_backup_that_no_write_followed_is_given_up_again(plant: World) -> None:
    """The drawing is opened between the look and the write."""
    pnpid, lock, kept = plant.items("equipment")[1].pnpid, drawing_lock(plant), backups(plant)
    user_describes(plant, pnpid, "Too late")
    with acting("plant3d_sync.run.write_plant3d", "push.intent_stored", lock.touch):
        assert refusals(push(plant, code=3)) == {pnpid: "project_settings_open"}
    assert backups(plant) == kept and len(noted(plant)) == 1
    assert plant.rows("SELECT count(*) AS n FROM backup WHERE removed_at IS NOT NULL") == [{"n": 1}]


def test_backups_of_an_older_release_that_no_write_followed_go_first(plant: World) -> None:
    """Ten of them lie there, newer than the one real backup."""
    (real,) = backups(plant)
    folder = real.parent
    for number in range(10):
        empty = folder / f"{NAME}-29990101T00{number:02d}00Z-1.dcf"
        shutil.copyfile(real, empty)
        with closing(sqlite3.connect(plant.state)) as connection, connection:
            connection.execute(
                "INSERT INTO run (id, project, direction, trigger, status, created_at) VALUES (?, ?, 'push', 'cli', "
                "'completed', 0)",
                (f"empty{number}", NAME),
            )
            connection.execute(
                "INSERT INTO plant_write (project, run_id, pnpid, table_name, column_name, status, at) "
                "VALUES (?, ?, 1, 'EngineeringItems', 'Description', 'waiting', 0)",
                (NAME, f"empty{number}"),
            )
            connection.execute(
                "INSERT INTO backup (project, run_id, path, created_at) VALUES (?, ?, ?, 0)",
                (NAME, f"empty{number}", str(empty)),
            )
    user_describes(plant, plant.items("equipment")[1].pnpid, "Written again")
    assert push(plant)["writes"]["plant3d"] == 1
    left = backups(plant)
    assert len(left) == 3 and real in left
    assert sorted(str(path) for path in left) == sorted(row["path"] for row in noted(plant))


def test_a_restore_that_could_not_be_made_leaves_no_safety_copy_behind(tmp_path: Path) -> None:
    report = write_project(tmp_path / "project", items=30)
    made = make_backup(report.database, tmp_path / "backups", project="p")
    with closing(sqlite3.connect(report.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM PnPBase").fetchone()
        with pytest.raises(RetryLaterError, match="as it was"):
            restore_backup(report.database, made, project="p", folder=tmp_path / "backups", deadline=0.2)
    assert [path.name for path in (tmp_path / "backups").glob("*.dcf")] == [made.path.name]


# ---------------------------------------------------------------- who else has the file


def in_dropbox(world: World) -> None:
    (world.folder / ".dropbox.cache").mkdir()


def conflicted(world: World) -> None:
    shutil.copyfile(world.dcf, world.folder / "ProcessPower (Anna's conflicted copy 2026-01-15).dcf")


SYNCED = pytest.mark.parametrize(
    ("make", "name"), [(in_dropbox, "dropbox"), (conflicted, "conflicted-copy")], ids=["folder", "copy"]
)


def sync_line(said: Said) -> dict[str, Any]:
    (line,) = [line for line in said.json["checks"] if line["check"] == "synchronised folder"]
    return line


@SYNCED
def test_direct_writing_beside_a_synchroniser_is_refused_unless_the_project_names_it(
    make_world: MakeWorld, make: Callable[[World], None], name: str
) -> None:
    world = make_world(write="sql", drawings_unseen="closed")
    world.pulled()
    make(world)
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "Beside it")
    bytes_before = world.fingerprint()
    said = world.cli("push", NAME)
    assert (said.code, said.error) == (78, "source_synced")
    assert name in said.json["error"]["hint"] and "Nothing was written" in said.json["error"]["message"]
    assert world.fingerprint() == bytes_before and backups(world) == []
    assert sync_line(world.cli("doctor", NAME))["result"] == "failed"
    world.configure(allow_synced_folder=[name])
    assert sync_line(world.cli("doctor", NAME))["result"] == "warning"
    assert ok(world.cli("push", NAME))["writes"]["plant3d"] == 1


@SYNCED
def test_a_backup_is_put_back_beside_a_synchroniser_only_where_the_project_names_it(
    make_world: MakeWorld, make: Callable[[World], None], name: str
) -> None:
    """A whole file is more than a cell: what holds for a push holds for it."""
    world = make_world(write="sql", drawings_unseen="closed")
    world.pulled()
    user_describes(world, world.items("equipment")[0].pnpid, "To be taken back")
    push(world)
    [backup] = backups(world)
    make(world)
    bytes_before = world.fingerprint()
    for words in ((), ("--yes",)):
        said = world.cli("restore", NAME, str(backup), *words)
        assert (said.code, said.error) == (78, "source_synced"), (
            "the proof does not promise what is then refused"
        )
    assert world.fingerprint() == bytes_before and backups(world) == [backup]
    world.configure(allow_synced_folder=[name])
    assert ok(world.cli("restore", NAME, str(backup), "--yes"))["restored"]


@SYNCED
@pytest.mark.parametrize("write", ["off", "workbook"])
def test_doctor_warns_in_every_mode_and_reading_goes_on(
    make_world: MakeWorld, make: Callable[[World], None], name: str, write: str
) -> None:
    world = make_world(write=write)
    assert sync_line(world.cli("doctor", NAME))["result"] == "ok"
    make(world)
    line = sync_line(world.cli("doctor", NAME))
    assert (line["result"], line["code"]) == ("warning", "source_synced") and line["hint"]
    assert world.pulled()["outcome"] == "clean"


def test_a_name_that_is_none_is_refused_with_the_names_there_are(make_world: MakeWorld) -> None:
    world = make_world(allow_synced_folder=["everything"])
    said = world.cli("pull", NAME)
    assert said.code == 78 and "onedrive" in said.json["error"]["message"]
