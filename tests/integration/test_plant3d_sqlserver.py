"""SQL Server through the real drivers against a scripted endpoint, and every statement through Microsoft's parser.

What is scripted here is a claim about SQL Server (names as in the SQLite files, types as Autodesk's schema has
them: bigint, int, smallint, nvarchar, uniqueidentifier, bit, float; INFORMATION_SCHEMA and error numbers as
Microsoft documents them). It has not been tried against a real server.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from plant3d_sync.connectors.plant3d import list_databases, open_source, sqlserver_url
from plant3d_sync.connectors.plant3d import sqlserver as under_test
from plant3d_sync.connectors.plant3d.sqlserver_browser import instance_port
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from tests.support.dcf import Dcf
from tests.support.tds_endpoint import Answer, Drop, Rows, ScriptedBrowser, ServerError, TdsEndpoint

TYPES: dict[str, tuple[str, type]] = {
    "integer": ("bigint", int),
    "int": ("int", int),
    "smallint": ("smallint", int),
    "bit": ("bit", bool),
    "double": ("float", float),
    "guid": ("uniqueidentifier", uuid.UUID),
}
CLASSES = ["CentrifugalPump", "GateValve", "PipeLineGroup"]


def odbc_driver() -> str | None:
    """Microsoft's ODBC driver from PyPI (for tests only), if pyodbc works on this machine."""
    try:
        importlib.import_module("pyodbc")
        package = importlib.import_module("mssql_python_odbc")
    except ImportError:
        return None
    assert package.__file__
    machine = "x86_64" if sys.maxsize > 2**32 else "x86"
    found = sorted(
        Path(package.__file__).parent.glob(f"libs/linux/debian_ubuntu/{machine}/lib/libmsodbcsql-18*")
    )
    return str(found[0]) if found else None


def has(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def freetds_registered() -> bool:
    try:
        return "FreeTDS" in importlib.import_module("pyodbc").drivers()
    except ImportError:
        return False


ODBC = odbc_driver()
DRIVERS = [
    pytest.param("pymssql", marks=pytest.mark.skipif(not has("pymssql"), reason="pymssql is not installed")),
    pytest.param(
        "pyodbc", marks=pytest.mark.skipif(not ODBC, reason="pyodbc, unixODBC or the ODBC driver is missing")
    ),
    pytest.param(
        "freetds",
        marks=pytest.mark.skipif(
            not freetds_registered(), reason="pyodbc, or FreeTDS' ODBC driver (tdsodbc), is missing"
        ),
    ),
]
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


class Script:
    """Answers made from a test database: named tables row by row, nothing that needs SQL to be understood."""

    def __init__(self, dcf: Dcf) -> None:
        self.answers: dict[str, Answer] = {}
        self.columns: list[list[str]] = []
        self.newest: Callable[[], int] = lambda: 42
        for (table,) in dcf.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            self._add(dcf, table)
        self.columns.append(["GateValve_PNP", "PnPID", "bigint"])

    def _add(self, dcf: Dcf, table: str) -> None:
        columns: list[tuple[str, type]] = []
        for _, name, declared, *_ in dcf.sql(f"PRAGMA table_info([{table}])"):
            kind, python = TYPES.get(declared.lower(), ("nvarchar", str))
            self.columns.append([table, name, kind])
            columns.append((name, python))
        rows = [
            [
                uuid.UUID(bytes_le=v) if k is uuid.UUID and v is not None else v
                for (_, k), v in zip(columns, row, strict=True)
            ]
            for row in dcf.sql(f"SELECT * FROM [{table}]")
        ]
        names = ", ".join(f"[{name}]" for name, _ in columns)
        self.answers[f"SELECT {names} FROM [dbo].[{table}]"] = Rows(columns, rows)

    def __call__(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if sql == under_test.TABLES_STATEMENT:
            return Rows([("TABLE_NAME", str), ("COLUMN_NAME", str), ("DATA_TYPE", str)], self.columns)
        if sql == under_test.VIEWS_STATEMENT:
            return Rows([("TABLE_NAME", str)], [["GateValve_PNP"]])
        if sql == under_test.NEWEST_STATEMENT:
            return Rows([("", int), ("", int)], [[self.newest(), 3]])
        if sql == under_test.DATABASES_STATEMENT:
            return Rows([("name", str)], [["mine_PnId"], ["mine_Piping"]])
        if sql in self.answers:
            return self.answers[sql]
        part = re.fullmatch(r"SELECT (\[\w+\](?:, \[\w+\])*) FROM \[dbo\]\.\[(\w+)\]", sql)
        return self._part(part[1], part[2]) if part else None

    def _part(self, wanted: str, table: str) -> Answer | None:
        """Some columns of a table that is scripted whole."""
        whole = next((a for s, a in self.answers.items() if s.endswith(f".[{table}]")), None)
        if not isinstance(whole, Rows):
            return whole
        names = [name for name, _ in whole.columns]
        order = [names.index(name.strip("[]")) for name in wanted.split(", ")]
        return Rows([whole.columns[i] for i in order], [[row[i] for i in order] for row in whole.rows])


@pytest.fixture
def script(dcf: Dcf) -> Script:
    return Script(dcf)


@pytest.fixture
def endpoint(script: Script) -> Iterator[TdsEndpoint]:
    with TdsEndpoint(script) as listening:
        yield listening


@pytest.fixture(autouse=True)
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def url_for(endpoint: TdsEndpoint, driver: str, *, clear: bool = True, server: str = "") -> str:
    """The endpoint has no TLS, so tests that are not about it switch encryption off in the URL."""
    host = server or f"[{endpoint.host}]" * (":" in endpoint.host) or endpoint.host
    module = "pymssql" if driver == "pymssql" else "pyodbc"
    port = 1433 if server else endpoint.port
    url = make_url(sqlserver_url(host, port, "mine_PnId", "reader", "p@ss/w:rd", module))
    if driver == "pyodbc":
        url = url.update_query_dict({"driver": str(ODBC), **({"Encrypt": "no"} if clear else {})})
    elif driver == "freetds":
        url = url.update_query_dict({"driver": "FreeTDS", **({"Encryption": "off"} if clear else {})})
    elif clear:
        url = url.update_query_dict({"encryption": "off"})
    return url.render_as_string(hide_password=False)


def error_of(url: str, *, deadline: float = 20) -> SyncError:
    with pytest.raises((ConfigError, RetryLaterError)) as caught:
        open_source(url, deadline=deadline).snapshot()
    assert "p@ss" not in str(caught.value.to_dict())
    assert caught.value.hint
    return caught.value


def test_a_project_on_sql_server_reads_like_the_same_project_in_a_file(
    dcf: Dcf, endpoint: TdsEndpoint, driver: str, private_temp: Path
) -> None:
    source = open_source(url_for(endpoint, driver))
    assert source.signature() is None
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


def test_a_named_instance_is_found_through_the_browser(script: Script, driver: str) -> None:
    with TdsEndpoint(script, host="127.0.0.19") as endpoint:
        with ScriptedBrowser({"SQLEXPRESS": endpoint.port}, host="127.0.0.19") as browser:
            url = url_for(endpoint, driver, server="127.0.0.19\\SQLEXPRESS")
            open_source(url).snapshot().close()
            assert instance_port("127.0.0.19", "sqlexpress", timeout=5) == endpoint.port
        assert [name.upper() for name in browser.asked].count("SQLEXPRESS") >= 2
        assert endpoint.logins[0].database == "mine_PnId"


def test_a_port_beside_the_instance_asks_nobody(script: Script, driver: str) -> None:
    with TdsEndpoint(script, host="127.0.0.20") as endpoint:
        url = url_for(endpoint, driver, server=f"tcp:127.0.0.20\\SQLEXPRESS,{endpoint.port}")
        open_source(url).snapshot().close()
        assert endpoint.logins


def test_a_server_with_an_ipv6_address_is_reached(script: Script, driver: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with TdsEndpoint(script, host="::1") as endpoint:
        open_source(url_for(endpoint, driver)).snapshot().close()
        assert endpoint.logins


def test_only_plain_selects_of_the_projects_tables_are_sent(endpoint: TdsEndpoint, driver: str) -> None:
    open_source(url_for(endpoint, driver)).snapshot().close()
    data = [sql for sql, _ in endpoint.statements if "[dbo]" in sql]
    assert data
    assert all(re.fullmatch(r"SELECT [^;]+ FROM \[dbo\]\.\[\w+\]", sql) for sql in data)
    assert not any("_PNP" in sql for sql in data)


def test_the_pass_is_repeated_while_somebody_works(
    script: Script, endpoint: TdsEndpoint, driver: str
) -> None:
    stamps = iter([1, 2, 3, 4, 5, 5])
    script.newest = lambda: next(stamps)
    open_source(url_for(endpoint, driver)).snapshot().close()
    assert next(stamps, None) is None


def test_a_project_that_never_stands_still_is_tried_again_later(
    script: Script, endpoint: TdsEndpoint, driver: str, private_temp: Path
) -> None:
    stamps = iter(range(1000))
    script.newest = lambda: next(stamps)
    assert error_of(url_for(endpoint, driver)).error_code == "source_busy"
    assert next(stamps) == 2 * under_test.MAX_PASSES
    assert list(private_temp.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [
        (1205, "source_busy", RetryLaterError),
        (1222, "source_busy", RetryLaterError),
        (229, "source_unreadable", ConfigError),
        (208, "source_not_plant3d", ConfigError),
    ],
)
def test_an_error_in_mid_read_is_told_by_its_number(
    script: Script,
    endpoint: TdsEndpoint,
    driver: str,
    number: int,
    code: str,
    kind: type[SyncError],
    private_temp: Path,
) -> None:
    statement = next(s for s in script.answers if s.endswith(".[EngineeringItems]"))
    script.answers[statement] = ServerError(number)
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == (code, kind)
    assert list(private_temp.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(18456, "source_login_failed"), (4060, "source_database_unknown")]
)
def test_a_refused_login_and_an_unknown_database_say_which(
    endpoint: TdsEndpoint, driver: str, number: int, code: str
) -> None:
    endpoint.login_error = ServerError(number, "scripted refusal", 14)
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


def test_a_connection_lost_in_mid_read_is_tried_again_later(
    script: Script, endpoint: TdsEndpoint, driver: str
) -> None:
    statement = next(s for s in script.answers if s.endswith(".[EngineeringItems]"))
    script.answers[statement] = Drop()
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == ("source_away", RetryLaterError)


def test_a_server_that_is_not_there_is_tried_again_later(endpoint: TdsEndpoint, driver: str) -> None:
    url = url_for(endpoint, driver)
    endpoint.__exit__()
    assert isinstance(error_of(url, deadline=1), RetryLaterError)


def test_by_default_nothing_is_said_in_clear(endpoint: TdsEndpoint, driver: str) -> None:
    with pytest.raises((ConfigError, RetryLaterError)):
        open_source(url_for(endpoint, driver, clear=False)).snapshot()
    assert endpoint.logins == []


def test_another_database_is_not_a_plant_3d_project(
    script: Script, endpoint: TdsEndpoint, driver: str
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
    list_databases(url_for(endpoint, driver))
    sent = {sql for sql, _ in endpoint.statements if "[" in sql and not sql.startswith("EXEC")}
    sent.add(under_test.LOCK_TIMEOUT_STATEMENT)
    assert sent >= {under_test.NEWEST_STATEMENT, under_test.DATABASES_STATEMENT, under_test.TABLES_STATEMENT}
    batch = ";\n".join(sorted(sent)) + ";\n"
    assert accepts(batch), batch
