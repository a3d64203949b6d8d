"""What needs no server: URLs, error numbers of the drivers, passwords that never show."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.sqlserver_errors import sql_error_number
from plant3d_sync.errors import ConfigError
from tests.support.mssql import sqlserver_url


def test_the_url_of_the_plans_variables_keeps_any_password() -> None:
    url = sqlserver_url("srv", None, "mine_PnId", "dom\\me", "p@:/ %")
    source = open_source(url)
    assert source.name == "mssql+pyodbc://dom%5Cme:***@srv:1433/mine_PnId"


def test_an_unknown_driver_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        sqlserver_url("srv", 1433, "db", "u", "p", driver="odbc")
    assert "pymssql" in caught.value.hint


@pytest.mark.parametrize("url", ["mssql+pyodbc://u:p@h:notaport/db", "mssql+nothing://u:secret@h/db"])
def test_a_url_that_cannot_work_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(url).snapshot()
    assert "secret" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ((1205, b"deadlock"), 1205),
        (((18456, b"login"), "x"), 18456),
        (((18456, b"DB-Lib error message 20009, x\nDB-Lib error message 20009, x\n"),), 20009),
        (((18456, b"DB-Lib error message 20018, x\nDB-Lib error message 20002, x\n"),), 18456),
        (
            (
                (
                    18456,
                    b"DB-Lib error message 20047, x\nDB-Lib error message 20018, x\nDB-Lib error message 20002",
                ),
            ),
            18456,
        ),
        (
            (
                (
                    18456,
                    b"DB-Lib error message 20047, x\nDB-Lib error message 20017, x\nDB-Lib error message 20002",
                ),
            ),
            20017,
        ),
        ((20047, b"DB-Lib error message 20047, x\n"), 20047),
        (
            (
                "40001",
                "[40001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]x (1205) (SQLExecDirectW)",
            ),
            1205,
        ),
        (("42000", "[42000] ...[SQL Server]conflict (3960) (SQLExecDirectW)"), 3960),
        (("28000", "[28000] login failed for user"), 18456),
        (
            (
                "08004",
                "[08004] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]x (911) (SQLDriverConnect)",
            ),
            911,
        ),
        (
            (
                "28000",
                "[28000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Login failed for user 'me'. (18456) "
                "(SQLDriverConnect); [28000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Cannot open database "
                '"x" requested by the login. The login failed. (4060)',
            ),
            4060,
        ),
        (("08001", "[08001] TCP Provider: no (10061) (SQLDriverConnect)"), None),
        (("HYT00", "[HYT00] Login timeout expired (0) (SQLDriverConnect)"), None),
        (("Cannot commit transaction: (9002, b'the log is full')",), 9002),
        (
            (
                "42000",
                "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]canceling statement due to lock timeout "
                "(33557097) (SQLExecDirectW)",
            ),
            1222,
        ),
        ((33557097, b"permission denied for table pnpbaseDB-Lib error message 20018, severity 16:\n"), 229),
        ((33557097, b'relation "dbo.pnp base" does not exist'), 208),
        ((33557097, b'column "tag" does not exist'), 207),
        ((33557097, b"could not serialize access due to concurrent update"), 3960),
        ((33557097, b"invalid byte sequence"), 33557097),
        (
            (
                "HY000",
                "[HY000] [Microsoft][ODBC Driver 18 for SQL Server]SSPI Provider: No Kerberos credentials available "
                "(default cache: FILE:/tmp/krb5cc_0) (458752) (SQLDriverConnect)",
            ),
            18452,
        ),
        (((911, b"DB-Lib error message 20018, severity 14:\nDB-Lib error message 20002, x\n"),), 18456),
        (((911, b"DB-Lib error message 20018, severity 16:\nDB-Lib error message 20002, x\n"),), 911),
        (("something else",), None),
        ((), None),
    ],
)
def test_the_number_of_the_server_is_found_in_any_drivers_error(
    arguments: tuple[object, ...], number: int | None
) -> None:
    original = Exception(*arguments)
    assert sql_error_number(original) == number
    assert sql_error_number(DBAPIError("SELECT 1", None, original)) == number
