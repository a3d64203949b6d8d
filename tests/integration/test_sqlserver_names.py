"""Names that somebody may give on SQL Server: columns that are written, databases, logins, passwords.

On the executing endpoint (`tests.support.tsql_server`) with both drivers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.sqlserver_address import from_variables, parse_address
from plant3d_sync.connectors.plant3d.writing.write_sqlserver import SqlServerCells
from tests.support.mssql import DRIVERS, url_for
from tests.support.tds_endpoint import TdsEndpoint
from tests.support.tsql_server import Rights, TsqlServer
from tests.support.wayback import small_plant

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]

COLUMNS = (
    *(
        "Slope %",
        "100%s",
        "%d",
        "Temp :C",
        "Ratio (:x)",
        "a?b",
        "it's",
        'q"r',
        "x]y",
        "x[y",
        "a--b",
        "a/*b",
        "a;b",
        "a.b",
    ),
    *(
        "back\\slash :z",
        "1º Área",
        "日本",
        "🙂",
        "From",
        " lead",
        "trail ",
        "a\tb",
        "t0",
        "param_1",
        "PnPID_1",
    ),
)
PLACEHOLDER = "%(x)s"
DATABASES = (
    "Mine.Plant_PnId",
    "Mi]ne[_PnId",
    'O\'Brien "x"_PnId',
    "a;b={c}d_PnId",
    "100%/a?b#c&d_PnId",
    "Été 日本_PnId",
)
USERS = ("me@corp.example", "a/b:c", "100%", "a;b={x}", "é x'y", 'a]b"c')
PASSWORDS = ("".join(map(chr, range(33, 127))), "p%41ss", "{pw}", "}", ";PWD=x", "é日本🙂", "a\\", "'x'")
PNPID = 2


@pytest.fixture
def dcf(tmp_path: Path) -> Path:
    path = tmp_path / "small.dcf"
    small_plant(path)
    with closing(sqlite3.connect(path)) as db:
        for name in (*COLUMNS, PLACEHOLDER):
            db.execute(f"ALTER TABLE EngineeringItems ADD COLUMN {quoted(name)} TEXT")
    return path


@pytest.fixture
def endpoint(dcf: Path) -> Iterator[TdsEndpoint]:
    with TsqlServer(dcf, Rights(updates=None)).endpoint() as running:
        yield running


def test_a_cell_is_written_whatever_its_column_is_called(
    endpoint: TdsEndpoint, dcf: Path, driver: str
) -> None:
    cells = SqlServerCells.open(url_for(endpoint, driver), deadline_ms=500)
    places = ("EngineeringItems", "Description"), ("Equipment", "Tag")
    try:
        for number, column in enumerate(COLUMNS):
            text = f"{number} %s :x '{column}'"
            cells.begin()
            cells.prefetch(PNPID, [("EngineeringItems", column), *places])
            assert list(cells.cell("EngineeringItems", column, PNPID)) == [None]
            assert cells.set_cell("EngineeringItems", column, PNPID, None, text) == 1
            assert cells.set_cell("EngineeringItems", column, PNPID, text, f"{text}!") == 1
            cells.commit()
            with closing(sqlite3.connect(dcf)) as db:
                rows = db.execute(f"SELECT {quoted(column)} FROM EngineeringItems WHERE PnPID = {PNPID}")
                assert rows.fetchone() == (f"{text}!",), column
        why = cells.fixed("EngineeringItems", PLACEHOLDER)
        assert (why is None) == (driver != "pymssql"), "pymssql would put a value into the name"
    finally:
        cells.close()


def test_databases_and_logins_are_reached_by_any_name_and_any_password(
    endpoint: TdsEndpoint, driver: str
) -> None:
    options = parse_address(url_for(endpoint, driver))
    tries = [(one, "reader", "p@ss") for one in DATABASES]
    tries += [("Mine_PnId", one, "p@ss") for one in USERS]
    tries += [("Mine_PnId", "reader", one) for one in PASSWORDS]
    for database, user, password in tries:
        address = from_variables(endpoint.host, endpoint.port, database, user, password, options.driver)
        address = replace(address, odbc_driver=options.odbc_driver, options=options.options)
        del endpoint.logins[:]
        open_source(address.url).probe()  # type: ignore[attr-defined]
        (login,) = endpoint.logins
        assert (login.database, login.user, login.password) == (database, user, password)
