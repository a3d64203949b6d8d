"""The connector on a real SQL Server, item by item beside the same project in a file.

Runs where `P3D_TEST_MSSQL_URL` names a server (`mssql://USER:PASSWORD@HOST/master`); the tests make databases of their
own there and drop them. Without it nothing here is shown, and the summary of the run says so.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, parse_address
from plant3d_sync.connectors.plant3d.writing.grants import READER_ROLE, WRITER_ROLE, grant_script
from plant3d_sync.errors import SyncError
from plant3d_sync.sample.generate import write_sample
from tests.support import mssql_real
from tests.support.mssql import DRIVERS, url_for
from tests.support.mssql_real import (
    PREFIX,
    VARIABLE,
    NotATestServer,
    RealDatabase,
    connected,
    create_statements,
    database_of,
    literal,
    named_server,
    refuse_useless,
)
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import Rows, ServerError, TdsEndpoint
from tests.support.world import NAME, World, new_world

ITEMS = 150
ALLOWED = frozenset({("engineeringitems", "description"), ("pipelinegroup", "description")})


# ---------------------------------------------------------------- what can be shown without a server


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "ProcessPower.dcf"
    write_sample(path, items=ITEMS)
    return path


def test_a_database_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mssql+pymssql://sa:secret@127.0.0.1/Mine_PnId")
    with pytest.raises(NotATestServer, match="Mine_PnId"):
        named_server()
    monkeypatch.setenv(VARIABLE, f"mssql+pymssql://sa:secret@127.0.0.1/{PREFIX}1")
    assert named_server() is not None
    monkeypatch.delenv(VARIABLE)
    assert named_server() is None


@pytest.mark.sqlserver
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_on_which_nothing_can_be_made_is_refused_in_words(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that may not create databases, one that is refused, and nobody at that address."""

    def answers(sql: str, _parameters: tuple[Any, ...]) -> Rows | None:
        return Rows([("", int), ("", str)], [[0, "reader"]]) if "CREATE ANY DATABASE" in sql else None

    with TdsEndpoint(answers) as endpoint:
        address = parse_address(url_for(endpoint, driver))
        with pytest.raises(NotATestServer, match="reader may not create databases"):
            refuse_useless(address)
        endpoint.login_error = ServerError(18456, "Login failed for user 'reader'.", 14)
        with pytest.raises(NotATestServer, match="refused the login") as refused:
            refuse_useless(address)
    monkeypatch.setattr(
        mssql_real, "LIMITS", replace(mssql_real.LIMITS, login=2)
    )  # Microsoft's driver uses it up
    with pytest.raises(NotATestServer, match="connection lost or not possible|error 20009") as away:
        refuse_useless(address)
    assert "p@ss" not in f"{refused.value}{away.value}"


def test_the_statements_that_fill_a_database_parse_as_transact_sql(sample: Path) -> None:
    tool = shutil.which(
        "maxdop", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if tool is None:
        pytest.skip("maxdop (T-SQL parser) is not installed")
    made = list(create_statements(sample))
    text = ";\n".join(made)
    done = subprocess.run(
        [tool, "--parser-version", "2019"], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sum(one.startswith("CREATE TABLE") for one in made) > 50
    assert literal("l'eau", "nvarchar") == "N'l''eau'"


# ---------------------------------------------------------------- with one


@pytest.fixture(scope="module")
def server() -> ServerAddress:
    address = named_server()
    if address is None:
        pytest.skip(f"{VARIABLE} names no SQL Server: nothing of this ran against a real one")
    refuse_useless(address)
    return address


@pytest.fixture
def database(server: ServerAddress, sample: Path) -> Iterator[RealDatabase]:
    with database_of(server, sample) as made:
        yield made


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def twins(
    tmp_path: Path, synapse: RunningSynapse, sample: Path, database: RealDatabase
) -> tuple[World, World]:
    """One project on the server, the same in a file; each with a SYNAPSE project of its own."""
    options: dict[str, Any] = {
        "write": "sql",
        "drawings_unseen": "closed",
        "allow_strong_login": _login(database),
    }
    on_server = new_world(tmp_path / "server", synapse, sample, source=database.url, **options)
    in_file = new_world(tmp_path / "file", synapse, sample, write="sql", drawings_unseen="closed")
    return on_server, in_file


def _login(database: RealDatabase) -> str:
    return str(database.rows("SELECT SUSER_SNAME()")[0][0])


def everything(source: str | Path) -> tuple[list[Any], list[str], Any]:
    with open_source(str(source)).snapshot() as snapshot:
        classes = sorted(snapshot.catalog.classes)
        items = [item for batch in snapshot.scan(classes, {}) for item in batch.changed]
        return (
            sorted(items, key=lambda item: item.pnpid),
            sorted(one.code for one in snapshot.findings()),
            snapshot.identity.dbid,
        )


def shown(world: World) -> list[dict[str, Any]]:
    """The assets without what differs between two SYNAPSE projects."""
    kept = ("tag", "description", "asset_type", "attributes", "plant3d_id")
    return sorted(
        ({name: one.get(name) for name in kept} for one in world.assets()), key=lambda one: one["tag"]
    )


def test_every_item_is_the_one_of_the_file(database: RealDatabase, sample: Path) -> None:
    assert everything(database.url) == everything(sample)


def test_pulled_edited_pushed_and_undone_as_with_the_file(
    twins: tuple[World, World], database: RealDatabase
) -> None:
    reports = []
    for world in twins:
        first = world.pulled()
        again = world.pulled()
        assert again["writes"] == {"synapse": 0, "plant3d": 0}
        pump = world.items("equipment")[0]
        asset = world.asset_of(pump.pnpid)
        world.user_edits(asset["id"], description="déplacée à l'étage, 2 × 5 µm")
        pushed = world.cli("push", NAME).json
        assert pushed["writes"]["plant3d"] == 1, pushed
        assert world.cli("now", NAME).json["writes"] == {"synapse": 0, "plant3d": 0}
        undone = world.apply(world.cli("undo", pushed["run_id"]).json["plan_id"]).json
        assert undone["writes"]["plant3d"] == 1, undone
        reports.append((first["stats"], pushed["push_stats"], undone["outcome"], pump.pnpid))
    assert reports[0] == reports[1]
    assert shown(twins[0]) == shown(twins[1])
    pnpid = reports[0][-1]
    text = database.rows(f"SELECT [Description] FROM [dbo].[EngineeringItems] WHERE [PnPID] = {pnpid}")[0][0]
    assert text == twins[1].sql("SELECT Description FROM EngineeringItems WHERE PnPID = ?", pnpid)[0][0]


def test_the_reader_of_the_script_reads_and_the_server_refuses_it_a_write(
    database: RealDatabase, sample: Path
) -> None:
    with database.login(_script(sample, "reader"), READER_ROLE) as url:
        assert everything(url) == everything(sample)
        with pytest.raises(Exception, match="UPDATE"), connected(parse_address(url)) as connection:
            connection.cursor().execute("UPDATE [dbo].[EngineeringItems] SET [Description] = N'x'")


def test_the_writer_of_the_script_may_write_what_is_allowed_and_nothing_else(
    tmp_path: Path, synapse: RunningSynapse, database: RealDatabase, sample: Path
) -> None:
    with database.login(_script(sample, "writer"), WRITER_ROLE) as url:
        world = new_world(
            tmp_path / "writer", synapse, sample, source=url, write="sql", drawings_unseen="closed"
        )
        world.pulled()
        checks = world.cli("doctor", NAME).out
        assert "login_too_strong" not in checks and "column_right" not in checks, checks
        asset = world.asset_of(world.items("equipment")[0].pnpid)
        world.user_edits(asset["id"], description="par le script")
        assert world.cli("push", NAME).json["writes"]["plant3d"] == 1
        with pytest.raises(Exception, match="UPDATE"), connected(parse_address(url)) as connection:
            connection.cursor().execute("UPDATE [dbo].[EngineeringItems] SET [Comment] = N'x'")


def test_a_row_somebody_holds_lets_the_push_wait_and_ends_no_run(
    twins: tuple[World, World], database: RealDatabase
) -> None:
    world = twins[0]
    world.pulled()
    pump = world.items("equipment")[0]
    world.user_edits(world.asset_of(pump.pnpid)["id"], description="verrouillée")
    with connected(database.address) as designer:
        designer.cursor().execute(
            f"BEGIN TRANSACTION; UPDATE [dbo].[EngineeringItems] SET [Description] = N'mine' WHERE [PnPID] = {pump.pnpid}"
        )
        began = time.monotonic()
        pushed = world.cli("push", NAME)
        assert time.monotonic() - began < 60, "nobody waits without an end"
        assert pushed.json["writes"]["plant3d"] == 0
        designer.cursor().execute("ROLLBACK TRANSACTION")
    assert world.cli("push", NAME).json["writes"]["plant3d"] == 1


def test_a_read_that_meets_a_lock_ends_with_its_reason(database: RealDatabase) -> None:
    with connected(database.address) as designer:
        designer.cursor().execute(
            "BEGIN TRANSACTION; SELECT COUNT(*) FROM [dbo].[EngineeringItems] WITH (TABLOCKX, HOLDLOCK)"
        )
        began = time.monotonic()
        if not database.rows(
            "SELECT is_read_committed_snapshot_on FROM sys.databases WHERE database_id = DB_ID()"
        )[0][0]:
            with pytest.raises(SyncError) as caught:
                open_source(database.url, deadline=20).snapshot()
            assert caught.value.error_code == "source_busy"
        assert time.monotonic() - began < 120
        designer.cursor().execute("ROLLBACK TRANSACTION")


def test_two_clients_an_hour_apart_saving_all_the_time_never_make_a_mixture(database: RealDatabase) -> None:
    """Each save gives one item the same word in two tables and a stamp by its own clock."""
    pumps = [
        row[0]
        for row in database.rows(
            "SELECT TOP 8 e.[PnPID] FROM [dbo].[Equipment] AS e JOIN [dbo].[EngineeringItems] AS i ON i.[PnPID] = e.[PnPID] "
            "ORDER BY e.[PnPID]"
        )
    ]
    column = database.rows(
        "SELECT TOP 1 [COLUMN_NAME] FROM [INFORMATION_SCHEMA].[COLUMNS] WHERE [TABLE_NAME] = 'Equipment' "
        "AND [DATA_TYPE] = 'nvarchar' ORDER BY [ORDINAL_POSITION]"
    )[0][0]
    over, saves, failed = threading.Event(), [0], list[BaseException]()

    def designer(behind: int) -> None:
        try:
            saving(behind)
        except Exception as error:  # noqa: BLE001 - told at the end, by the test
            failed.append(error)
            over.set()

    def saving(behind: int) -> None:
        dice = random.Random(behind)
        with connected(database.address) as connection:
            while not over.is_set():
                saves[0] += 1
                word, item = f"state {saves[0]}", dice.choice(pumps)
                connection.cursor().execute(
                    f"BEGIN TRANSACTION; "
                    f"UPDATE [dbo].[EngineeringItems] SET [Description] = N'{word}' WHERE [PnPID] = {item}; "
                    f"UPDATE [dbo].[Equipment] SET [{column}] = N'{word}' WHERE [PnPID] = {item}; "
                    f"UPDATE [dbo].[PnPBase] SET [PnPTimestamp] = [PnPTimestamp] - {behind} + {saves[0]}, "
                    f"[PnPRevision] = [PnPRevision] + 1 WHERE [PnPID] = {item}; COMMIT TRANSACTION"
                )
                over.wait(0.05)

    threads = [threading.Thread(target=designer, args=(behind,)) for behind in (0, 36_000_000_000)]
    for one in threads:
        one.start()
    try:
        while saves[0] < 200 and not over.is_set():
            items, _, _ = everything(database.url)
            for item in items:
                said = {str(item.values.get(name)) for name in ("Description", column)}
                if item.pnpid in pumps and any(one.startswith("state") for one in said):
                    assert len(said) == 1, f"half of the old and half of the new: {said}"
    finally:
        over.set()
        for one in threads:
            one.join()
    assert failed == [], "a client of the test was refused a save"


def _script(sample: Path, role: Any) -> list[str]:
    with open_source(str(sample)).snapshot() as snapshot:
        text = grant_script(snapshot.catalog, ALLOWED, role=role)
    return [part for part in re.split(r"(?m)^GO\s*$", text) if part.strip()]
