"""The drivers of SQL Server that work on this machine, and addresses of the scripted endpoint for each."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.sqlserver_address import from_variables
from plant3d_sync.errors import ConfigError, RetryLaterError, SyncError
from tests.support import odbc_manager
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


def odbc_driver() -> tuple[str, str]:
    """Microsoft's ODBC driver from PyPI (for tests only), and why it cannot be used here, else nothing."""
    try:
        package = importlib.import_module("mssql_python_odbc")
    except ImportError as error:
        return "", str(error)
    assert package.__file__
    machine = "arm64" if platform.machine() == "aarch64" else platform.machine()
    libraries = Path(package.__file__).parent / "libs"
    found = sorted(libraries.glob(f"linux/debian_ubuntu/{machine}/lib/libmsodbcsql-18*"))
    if not found:
        return "", f"mssql-python-odbc has no driver for {sys.platform} on {platform.machine()}"
    missing = odbc_manager.provide(str(found[0]))
    if not missing:
        try:
            importlib.import_module("pyodbc")
        except ImportError as error:
            missing = str(error)
    return str(found[0]), missing


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


ODBC, WHY_NO_ODBC = odbc_driver()
DRIVERS = [
    pytest.param("pymssql", marks=pytest.mark.skipif(not has("pymssql"), reason="pymssql is not installed")),
    pytest.param(
        "pyodbc",
        marks=pytest.mark.skipif(bool(WHY_NO_ODBC), reason=f"Microsoft's ODBC driver: {WHY_NO_ODBC}"),
    ),
    pytest.param(
        "freetds",
        marks=pytest.mark.skipif(
            not freetds_registered(), reason="FreeTDS' ODBC driver is not registered (Debian: tdsodbc)"
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
        url = url.update_query_dict({"driver": ODBC, **({"Encrypt": "no"} if clear else {})})
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
