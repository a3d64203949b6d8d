"""SQL Server through the real drivers against a scripted endpoint, and every statement through Microsoft's parser.

What is scripted here is a claim about SQL Server (names as in the SQLite files, types as Autodesk's schema has
them: bigint, int, smallint, nvarchar, uniqueidentifier, bit, float; INFORMATION_SCHEMA and error numbers as
Microsoft documents them). It has not been tried against a real server.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading import (
    sqlserver,
    sqlserver_layout,
    sqlserver_links,
    sqlserver_read,
)
from plant3d_sync.connectors.plant3d.reading.sqlserver import list_databases
from plant3d_sync.connectors.plant3d.sqlserver_address import parse_address
from plant3d_sync.connectors.plant3d.sqlserver_browser import instance_port
from plant3d_sync.connectors.plant3d.sqlserver_drivers import choose_driver, encryption_of
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from tests.support.certificates import certificate, context_of
from tests.support.dcf import Dcf
from tests.support.mssql import DRIVERS, error_of, url_for
from tests.support.plant_server import PlantServer
from tests.support.tds_endpoint import Drop, ScriptedBrowser, ServerError, TdsEndpoint

CLASSES = ["CentrifugalPump", "GateValve", "PipeLineGroup"]


pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    built = Dcf(tmp_path / "ProcessPower.dcf")
    drawing = built.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
    pump = built.add(
        "CentrifugalPump", Tag="P-1", Description="Pompe d'alimentation é", ParamOnLine=0.25, FlagValue=3
    )
    valve = built.add("GateValve", Tag="V-1", Size="", without=["InLineAssets"])
    segment, group = built.add("Primary", Tag="L-1"), built.add("PipeLineGroup", Tag="?")
    built.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)
    built.relate("LineInlineAsset", Line=segment, Asset=valve)
    built.draw(drawing, pump, valve, segment)
    return built


@pytest.fixture
def script(dcf: Dcf) -> PlantServer:
    return PlantServer(dcf.path)


@pytest.fixture
def endpoint(script: PlantServer) -> Iterator[TdsEndpoint]:
    with TdsEndpoint(script) as listening:
        yield listening


@pytest.fixture(autouse=True)
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_project_on_sql_server_reads_like_the_same_project_in_a_file(
    dcf: Dcf, endpoint: TdsEndpoint, driver: str, private_temp: Path
) -> None:
    source = open_source(url_for(endpoint, driver))
    on_server, in_file = source.snapshot(), open_source(dcf.path).snapshot()
    from_server, from_file = (
        [i for b in s.scan(CLASSES, {}) for i in b.changed] for s in (on_server, in_file)
    )
    assert from_server == from_file
    assert [f.code for f in on_server.findings()] == [f.code for f in in_file.findings()]
    assert on_server.identity.dbid == in_file.identity.dbid
    assert (on_server.identity.engine, on_server.identity.change_counter) == ("sqlserver", None)
    on_server.close()
    in_file.close()
    assert endpoint.unexpected == [] or all(s.startswith("EXEC") for s in endpoint.unexpected)
    assert list(private_temp.iterdir()) == []


def test_login_database_and_password_arrive_as_given(endpoint: TdsEndpoint, driver: str) -> None:
    open_source(url_for(endpoint, driver)).snapshot().close()
    login = endpoint.logins[0]
    assert (login.user, login.password, login.app) == ("reader", "p@ss/w:rd", "plant3d-sync")


def test_a_named_instance_is_found_through_the_browser(script: PlantServer, driver: str) -> None:
    with TdsEndpoint(script, host="127.0.0.19") as endpoint:
        with ScriptedBrowser({"SQLEXPRESS": endpoint.port}, host="127.0.0.19") as browser:
            url = url_for(endpoint, driver, server="127.0.0.19\\SQLEXPRESS")
            open_source(url).snapshot().close()
            assert instance_port("127.0.0.19", "sqlexpress", timeout=5) == endpoint.port
        assert [name.upper() for name in browser.asked].count("SQLEXPRESS") >= 2
        assert endpoint.logins[0].database == "mine_PnId"


def test_a_port_beside_the_instance_asks_nobody(script: PlantServer, driver: str) -> None:
    with TdsEndpoint(script, host="127.0.0.20") as endpoint:
        url = url_for(endpoint, driver, server=f"tcp:127.0.0.20\\SQLEXPRESS,{endpoint.port}")
        open_source(url).snapshot().close()
        assert endpoint.logins


def test_a_server_with_an_ipv6_address_is_reached(script: PlantServer, driver: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with TdsEndpoint(script, host="::1") as endpoint:
        open_source(url_for(endpoint, driver)).snapshot().close()
        assert endpoint.logins


def test_only_plain_selects_of_the_projects_tables_are_sent(endpoint: TdsEndpoint, driver: str) -> None:
    open_source(url_for(endpoint, driver)).snapshot().close()
    data = [sql for sql, _ in endpoint.statements if "[dbo]" in sql]
    assert data
    assert all(
        re.fullmatch(r"SELECT [^;]+ FROM \[dbo\]\.\[\w+\](?: WHERE [^;]+)?( GROUP BY \[PnPClassName\])?", sql)
        for sql in data
    )
    assert not any("_PNP" in sql for sql in data)


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [
        (1205, "source_busy", RetryLaterError),
        (1222, "source_busy", RetryLaterError),
        (229, "source_unreadable", ConfigError),
        (208, "source_busy", RetryLaterError),
        (976, "source_away", RetryLaterError),
    ],
)
def test_an_error_in_mid_read_is_told_by_its_number(
    script: PlantServer,
    endpoint: TdsEndpoint,
    driver: str,
    number: int,
    code: str,
    kind: type[SyncError],
    private_temp: Path,
) -> None:
    script.failing["EngineeringItems"] = ServerError(number)
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == (code, kind)
    assert ("secondary replica" in error.message) == (number == 976)
    assert list(private_temp.iterdir()) == []


@pytest.mark.parametrize("code", ["source_login_failed", "source_database_unknown"])
def test_a_refused_login_and_an_unknown_database_say_which(
    endpoint: TdsEndpoint, driver: str, code: str
) -> None:
    if code == "source_login_failed":
        endpoint.login_error = ServerError(18456, "scripted refusal", 14)
    else:
        endpoint.databases = ("master", "theirs_PnId")
    program = (
        "import sys\nfrom plant3d_sync.connectors.plant3d import open_source\n"
        "from plant3d_sync.errors import ConfigError\n"
        "try: open_source(sys.argv[1]).snapshot()\nexcept ConfigError as e: print(e.error_code, e.message)"
    )
    # In a process of its own: pymssql repeats the number of an earlier failed login of the same process.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, url_for(endpoint, driver)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split(" ")[0] == code, done.stderr
    assert "p@ss" not in done.stdout + done.stderr


def test_an_earlier_failed_login_is_not_told_again_when_the_server_is_away(
    endpoint: TdsEndpoint, driver: str
) -> None:
    url = url_for(endpoint, driver)
    endpoint.login_error = ServerError(18456, "scripted refusal", 14)
    error_of(url)
    endpoint.__exit__()
    assert isinstance(error_of(url, deadline=1), RetryLaterError)


def test_a_refused_login_is_told_again_after_another_connection_was_found_dead(
    script: PlantServer, driver: str
) -> None:
    pymssql = pytest.importorskip("pymssql")
    refuses = ServerError(18456, "scripted refusal", 14)
    with TdsEndpoint(script, login_error=refuses) as endpoint:
        assert error_of(url_for(endpoint, driver)).error_code == "source_login_failed"
    with TdsEndpoint(script) as before:
        lost = pymssql.connect(
            server="127.0.0.1", port=str(before.port), user="u", password="p", encryption="off"
        )
    with pytest.raises(pymssql.Error):
        lost.cursor().execute("SELECT 1")
    lost.close()
    with TdsEndpoint(script, login_error=refuses) as endpoint:
        assert error_of(url_for(endpoint, driver)).error_code == "source_login_failed"


def test_a_connection_lost_in_mid_read_is_tried_again_later(
    script: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    script.failing["EngineeringItems"] = Drop()
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == ("source_away", RetryLaterError)


def test_a_server_that_is_not_there_is_tried_again_later(endpoint: TdsEndpoint, driver: str) -> None:
    url = url_for(endpoint, driver)
    endpoint.__exit__()
    assert isinstance(error_of(url, deadline=1), RetryLaterError)


def test_by_default_nothing_is_said_in_clear(endpoint: TdsEndpoint, driver: str) -> None:
    with pytest.raises((ConfigError, RetryLaterError)) as caught:
        open_source(url_for(endpoint, driver, clear=False)).snapshot()
    assert endpoint.logins == []
    assert "TLS" in str(caught.value.hint)


@pytest.mark.parametrize("known", [True, False], ids=["ours", "a stranger's"])
def test_a_certificate_is_checked_where_we_say_so(
    endpoint: TdsEndpoint, driver: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CA file of FREETDSCONF (or SSL_CERT_FILE for Microsoft's driver) knows the server, or another one."""
    made, key = certificate(tmp_path, "localhost")
    endpoint.tls = context_of(made, key)
    authorities = made if known else certificate(tmp_path, "stranger")[0]
    conf = tmp_path / "freetds.conf"
    conf.write_text(f"[global]\nca file = {authorities}\n", encoding="utf-8")
    monkeypatch.setenv("FREETDSCONF", str(conf))
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    url = url_for(endpoint, driver, clear=False).replace("127.0.0.1", "localhost")
    address = parse_address(url)
    level = encryption_of(address, choose_driver(address)).level
    assert level == ("unverified" if driver == "freetds" else "verified")
    if known or level == "unverified":
        open_source(url).snapshot().close()
        assert endpoint.logins
    else:
        error_of(url)
        assert endpoint.logins == [], "the password went to a server that nobody knows"


def test_another_database_is_not_a_plant_3d_project(
    script: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    script.columns = [["invoices", "id", "int"]]
    assert error_of(url_for(endpoint, driver)).error_code == "source_not_plant3d"


def test_the_databases_of_a_server_can_be_listed(endpoint: TdsEndpoint, driver: str) -> None:
    assert list_databases(url_for(endpoint, driver)) == ["mine_PnId", "mine_Piping"]
    assert endpoint.logins[0].database in ("master", "")


def test_microsofts_parser_accepts_every_statement(endpoint: TdsEndpoint, driver: str) -> None:
    parser = shutil.which("maxdop", path=str(Path(sys.executable).parent)) or shutil.which("maxdop")
    if parser is None:
        pytest.skip("maxdop (Microsoft's T-SQL parser) is not installed")

    def accepts(sql: str) -> bool:
        command = [parser, "--parser-version", "2019"]
        return subprocess.run(command, input=sql, text=True, capture_output=True, check=False).returncode == 0

    assert not accepts("SELECT [a] FROM [t] LIMIT 5"), "a parser that accepts everything proves nothing"
    open_source(url_for(endpoint, driver)).snapshot().close()
    assert open_source(url_for(endpoint, driver)).signature()
    list_databases(url_for(endpoint, driver))
    sent = {sql for sql, _ in endpoint.statements if "[" in sql and not sql.startswith("EXEC")}
    sent |= {
        sqlserver_read.BEGIN_SNAPSHOT,
        sqlserver_read.END_SNAPSHOT,
        sqlserver_read.MARKS_STATEMENT,
        sqlserver_read.MARKS_STATEMENT + sqlserver_layout.where_class_is_not(sqlserver_layout.LINK_CLASSES),
        sqlserver_links.counting_statement(sqlserver_layout.LINK_CLASSES),
        sqlserver_read.RELATIONS_IN_USE_STATEMENT,
    }
    sent |= {
        sqlserver_read.where_ids("x", [1]).replace(" WHERE", "SELECT 1 WHERE"),
        sqlserver.PRESENT_STATEMENT,
    }
    assert sent >= {
        sqlserver.DATABASES_STATEMENT,
        sqlserver_layout.TABLES_STATEMENT,
    }
    batch = ";\n".join(sorted(sent)) + ";\n"
    assert accepts(batch), batch
