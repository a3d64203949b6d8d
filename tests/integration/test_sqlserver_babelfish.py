"""Whole journeys on the executing endpoint with the answers of Babelfish 4.3, where people try this program on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from plant3d_sync.connectors.plant3d.reading.sqlserver import engine_for
from plant3d_sync.connectors.plant3d.sqlserver_address import parse_address
from plant3d_sync.connectors.plant3d.writing import write_sqlserver
from plant3d_sync.connectors.plant3d.writing.grants import UPDATABLE_QUERY
from plant3d_sync.connectors.plant3d.writing.write_sqlserver import SqlServerCells
from tests.integration.test_sqlserver_journeys import (
    TEXTS,
    Site,
    equipment,
    saved,
    shown,
    site_on,
)
from tests.support.babelfish import BabelfishServer
from tests.support.mssql import DRIVERS
from tests.support.mssql_real import connected
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import Answer, Drop, ServerError, Stall
from tests.support.wayback import (
    at_rest,
    cell,
    changed_cells,
    description,
    kept,
    now,
    push,
    small_plant,
    undone,
    user_describes,
)
from tests.support.world import NAME

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="babelfish") as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dcf = tmp_path_factory.mktemp("samples") / "small.dcf"
    small_plant(dcf)
    return dcf


@pytest.fixture
def site(tmp_path: Path, small: Path, synapse: RunningSynapse, driver: str) -> Iterator[Site]:
    yield from site_on(tmp_path, small, synapse, driver, make=BabelfishServer)


def test_texts_arrive_as_from_the_file_and_a_second_pull_writes_nothing(site: Site) -> None:
    """Its bytes of a text are in a code page, and DATALENGTH counts UTF-8: neither says what is stored."""
    for pnpid, text in zip(equipment(site.world, 4), TEXTS[1:], strict=True):
        for world in (site.world, site.file):
            world.change("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", text, pnpid)
    before = kept(site.world)
    site.world.pulled()
    site.file.pulled()
    assert shown(site.world) == shown(site.file)
    assert site.world.pulled("--full")["writes"] == {"synapse": 0, "plant3d": 0}
    assert changed_cells(before, site.world.dcf) == {}


def test_doctor_of_the_login_of_the_script_finds_nothing_to_repair(site: Site) -> None:
    """HAS_PERMS_BY_NAME says 0 of the schema, although the login reads every table: as where an administrator granted
    reading table by table.
    """
    checks = site.world.cli("doctor", NAME).json["checks"]
    assert [one for one in checks if one["result"] == "failed"] == []
    seen = [
        world.cli("inspect", str(world.options.get("source", world.dcf))).json
        for world in (site.world, site.file)
    ]
    assert seen[0]["findings"] == seen[1]["findings"]


def test_a_push_writes_its_cells_and_nothing_else_and_comes_to_rest(site: Site) -> None:
    site.world.pulled()
    before, items = kept(site.world), equipment(site.world, len(TEXTS))
    for pnpid, text in zip(items, TEXTS, strict=True):
        user_describes(site.world, pnpid, text)
    assert push(site.world)["writes"]["plant3d"] == len(TEXTS)
    assert {key[1] for key in changed_cells(before, site.world.dcf)} == set(items)
    assert [cell(site.world, pnpid) for pnpid in items] == TEXTS
    at_rest(site.world)


def test_a_row_that_somebody_holds_lets_the_cell_wait(site: Site) -> None:
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits for the other")
    with connected(parse_address(site.world.options["source"])) as designer:
        for statement in ("BEGIN TRANSACTION", *saved(pnpid, "by the designer")):
            designer.cursor().execute(statement)
        held = site.world.cli("push", NAME)
        assert held.code == 3 and "source_locked" in held.out, held.out
        designer.cursor().execute("ROLLBACK TRANSACTION")
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_login_that_may_only_read_is_told_so_by_each_cell(site: Site) -> None:
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "nobody may write this")
    site.server.rights.updates = set()
    said = site.world.cli("push", NAME)
    assert said.code == 3 and "no_right" in said.out, said.out
    site.grant()
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_table_that_may_not_be_read_is_no_passing_fault(site: Site) -> None:
    site.server.rights.unreadable = frozenset({"PnPDataLinks"})
    said = site.world.pull()
    assert (said.code, said.json["error"]["code"]) == (78, "source_unreadable")


def test_a_moment_in_which_no_writer_is_let_in_ends_the_transaction_and_no_run(site: Site) -> None:
    """The driver's own ROLLBACK then meets 3903, in words that it does not know."""
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits")
    moment = ServerError(976, "what the server says of its moment")
    site.server.instead = lambda sql: moment if sql == write_sqlserver.TABLE_NAMES else None
    said = site.world.cli("push", NAME)
    assert said.code == 75 and "source_away" in said.out, said.out + said.err
    assert "Traceback" not in said.out + said.err
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 1


def test_after_a_rollback_of_what_the_server_had_ended_there_is_a_transaction_again(site: Site) -> None:
    """Without one each statement that follows would be written at once."""
    (pnpid,) = equipment(site.world, 1)
    before = cell(site.world, pnpid)
    engine = engine_for(site.world.options["source"])
    try:
        with engine.connect() as connection:
            with pytest.raises(DBAPIError):
                connection.exec_driver_sql("SELECT [a] FROM [dbo].[nowhere]")
            connection.rollback()
            connection.exec_driver_sql(saved(pnpid, "never committed")[0])
    finally:
        engine.dispose()
    assert cell(site.world, pnpid) == before


def test_a_connection_that_ends_at_its_rollback_ends_no_run(site: Site) -> None:
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits")
    failed: list[str] = []

    def ends(sql: str) -> Answer | None:
        if sql == write_sqlserver.TABLE_NAMES and not failed:
            failed.append(sql)
            return ServerError(976, "what the server says of its moment")
        return Drop() if failed and "ROLLBACK" in sql else None

    site.server.instead = ends
    said = site.world.cli("push", NAME)
    assert failed and said.code == 75, said.out + said.err
    assert "Traceback" not in said.out + said.err
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_wrong_database_name_is_told_from_a_wrong_password(site: Site) -> None:
    site.endpoint.databases = ("master", "elsewhere_PnId")
    said = site.world.pull()
    assert (said.code, said.json["error"]["code"]) == (78, "source_database_unknown")
    (line,) = [one for one in site.world.cli("doctor", NAME).json["checks"] if one["check"] == "snapshot"]
    assert line["code"] == "source_database_unknown"
    site.endpoint.login_error = ServerError(18456, "Login failed for user 'reader'", 14)
    assert site.world.pull().json["error"]["code"] == "source_login_failed"


def test_a_table_that_the_login_does_not_see_is_no_empty_one(site: Site) -> None:
    site.world.pulled()
    site.server.rights.hidden = frozenset({"PnPDataLinks"})
    said = site.world.pull("--full")
    assert (said.code, said.json["error"]["code"]) == (78, "source_unreadable")


def test_a_save_in_mid_read_is_seen_one_run_later_and_sums_that_are_refused_cost_a_reading(
    site: Site,
) -> None:
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    before, saves = description(site.world, pnpid), [0]

    def designer(sql: str) -> None:
        if "[EngineeringItems]" in sql and not saves[0]:
            saves[0] += 1
            site.designer(*saved(pnpid, "saved in mid-read"))

    site.server.rights.updates = None
    site.world.configure(write="off")
    site.server.before = designer
    assert now(site.world)["unchanged_source"] is False
    assert (saves[0], description(site.world, pnpid)) == (1, before), "one moment, the one of the beginning"
    now(site.world)
    assert description(site.world, pnpid) == "saved in mid-read"
    assert any("CHECKSUM_AGG" in sql for sql in site.server.refused)


def test_the_question_for_the_rights_on_every_column_may_take_longer_than_a_statement_of_a_write(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of columns are asked, each by a function; a cell is still given up after its own time."""
    monkeypatch.setattr(write_sqlserver, "STATEMENT_SECONDS", 1)
    (pnpid,) = equipment(site.world, 1)

    def asked(engine: Engine) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(UPDATABLE_QUERY)

    site.server.instead = lambda sql: time.sleep(2.5) if sql == UPDATABLE_QUERY else None
    cells = SqlServerCells.open(site.world.options["source"], deadline_ms=500, permit=asked)
    try:
        site.server.instead = lambda sql: Stall(attention=True) if "[Description]" in sql else None
        began = time.monotonic()
        with pytest.raises(cells.errors):
            cells.cell("EngineeringItems", "Description", pnpid)
        assert time.monotonic() - began < 30, "not as long as a question of the beginning"
    finally:
        cells.close()


def test_a_push_is_undone_but_for_what_was_edited_since(site: Site) -> None:
    items = equipment(site.world, 3)
    before = [cell(site.world, pnpid) for pnpid in items]
    site.world.pulled()
    for pnpid in items:
        user_describes(site.world, pnpid, f"pushed {pnpid}")
    run = push(site.world)["run_id"]
    site.designer(*saved(items[2], "the designer went on"))
    done = site.world.apply(undone(site.world, run)["plan_id"])
    assert done.json["writes"]["plant3d"] == 2, done.out
    assert [cell(site.world, pnpid) for pnpid in items] == [*before[:2], "the designer went on"]
