"""The drivers of SQL Server that work on this machine, and addresses of the scripted endpoint for each."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.sqlserver_address import from_variables
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from tests.support.tds_endpoint import TdsEndpoint


def sqlserver_url(
    host: str,
    port: int | None,
    name: str,
    user: str | None,
    password: str | None,
    driver: str | None = "pyodbc",
) -> str:
    """The URL that the plan's variables make."""
    return from_variables(host, port, name, user, password, driver).url


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
