"""The script of least rights on SQL Server, and the questions asked about a login."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from plant3d_sync.connectors.plant3d.writing import grants
from plant3d_sync.connectors.plant3d.writing.backup import backup_statement
from plant3d_sync.errors import RetryLaterError
from tests.support.catalogs import catalog, column

CATALOG = catalog(
    ("PnPBase", None, "", []),
    ("EngineeringItems", "PnPBase", "Engineering Items", ["Description", "Comment"]),
    ("Vessel", "EngineeringItems", "Vessel", ["Tag", column("Désignation [1]", custom=True)]),
    ("PipeLineGroup", "PnPBase", "Pipe Line Group", ["Description", "Tag"]),
)
STOCK = frozenset({("engineeringitems", "description"), ("pipelinegroup", "description")})
EXACT = {
    ("EngineeringItems", "Description"),
    ("PipeLineGroup", "Description"),
    ("PnPBase", "PnPTimestamp"),
    ("PnPBase", "PnPRevision"),
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "sqlserver-grants.sql"


def parses(statement: str) -> bool:
    tool = shutil.which(
        "maxdop", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if tool is None:
        pytest.skip("maxdop (T-SQL parser) is not installed")
    command = [tool, "--parser-version", "2019"]
    return (
        subprocess.run(command, input=statement, text=True, capture_output=True, check=False).returncode == 0
    )


def test_the_script_grants_the_allowed_columns_and_nothing_else() -> None:
    script = grants.grant_script(CATALOG, STOCK, reader="plant\\reader", writer="push]er")
    granted = sorted(line for line in script.splitlines() if line.startswith("GRANT"))
    assert granted == [
        "GRANT SELECT ON SCHEMA::[dbo] TO [p3dsync_reader];",
        "GRANT SELECT ON SCHEMA::[dbo] TO [p3dsync_writer];",
        "GRANT UPDATE ON OBJECT::[dbo].[EngineeringItems] ([Description]) TO [p3dsync_writer];",
        "GRANT UPDATE ON OBJECT::[dbo].[PipeLineGroup] ([Description]) TO [p3dsync_writer];",
        "GRANT UPDATE ON OBJECT::[dbo].[PnPBase] ([PnPTimestamp], [PnPRevision]) TO [p3dsync_writer];",
        "GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO [p3dsync_reader];",
        "GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO [p3dsync_writer];",
    ]
    assert parses(script)


def test_a_tag_in_the_allow_list_gets_no_right() -> None:
    allowed = {
        ("vessel", "tag"),
        ("vessel", "désignation [1]"),
        ("pipelinegroup", "tag"),
        ("pnpbase", "pnpguid"),
    }
    script = grants.grant_script(CATALOG, allowed)
    assert "[Tag]" not in script
    assert "PnPGuid" not in script
    assert "[dbo].[Vessel] ([Désignation [1]]])" in script
    assert parses(script)


def test_the_script_in_the_documentation_is_the_one_the_program_makes() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == grants.grant_script(CATALOG, STOCK)


def test_the_questions_and_the_backup_parse_as_transact_sql() -> None:
    queries = [value for name, value in vars(grants).items() if name.endswith("_QUERY")]
    assert len(queries) == 9
    for query in [*queries, backup_statement("plant_PnId", r"D:\backup\a.bak")]:
        assert parses(re.sub(r":(\w+)", r"@\1", query)), query


@contextmanager
def server(
    *,
    columns: set[tuple[str, str]],
    powers: Mapping[str, int] | None = None,
    login: str = "p3dsync",
    fixed: Collection[tuple[str, str, str]] = (),
    updateability: str = "READ_WRITE",
    tables: Mapping[str, int] | None = None,
) -> Iterator[Engine]:
    """A database that answers the questions as SQL Server would for a login with these rights."""
    can = {"SELECT": 1, "VIEW DEFINITION": 1, **(powers or {})}
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def answers(connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function("SUSER_SNAME", 0, lambda: login)
        connection.create_function("IS_SRVROLEMEMBER", 1, lambda name: can.get(name, 0))
        connection.create_function("IS_ROLEMEMBER", 1, lambda name: can.get(name, 0))
        connection.create_function("HAS_PERMS_BY_NAME", 3, lambda _thing, _kind, name: can.get(name, 0))
        connection.create_function("DB_NAME", 0, lambda: "plant_PnId")
        connection.create_function("DATABASEPROPERTYEX", 2, lambda _name, _what: updateability)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def updatable(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: object,
        _context: object,
        _many: bool,
    ) -> tuple[str, object]:
        if statement == grants.FIXED_QUERY:
            listed = " UNION ALL ".join(
                f"SELECT '{table}', '{name}', '{why}'" for table, name, why in sorted(fixed)
            )
            return listed or "SELECT 1, 1, 1 WHERE 0", parameters
        if statement == grants.READABLE_QUERY:
            listed = " UNION ALL ".join(f"SELECT '{table}', {may}" for table, may in (tables or {}).items())
            return listed or "SELECT 1, 1 WHERE 0", parameters
        if "sys.columns" in statement:
            listed = " UNION ALL ".join(f"SELECT '{table}', '{name}'" for table, name in sorted(columns))
            return listed or "SELECT 1, 1 WHERE 0", parameters
        return statement, parameters

    yield engine
    engine.dispose()


def codes(engine: Engine, *, writer: bool) -> list[str]:
    return [
        f"{one.level} {one.code}"
        for one in grants.check_rights(engine, catalog=CATALOG, allowed=STOCK, writer=writer)
    ]


def test_a_login_with_exactly_the_rights_it_needs_is_green() -> None:
    with server(columns=EXACT) as engine:
        assert codes(engine, writer=True) == ["green rights_fit"]
    with server(columns=set()) as engine:
        assert codes(engine, writer=False) == ["green rights_fit"]


@pytest.mark.parametrize(
    "power", ["sysadmin", "db_owner", "db_datawriter", "INSERT", "DELETE", "CREATE TABLE"]
)
def test_a_login_that_can_do_more_is_red(power: str) -> None:
    with server(columns=EXACT, powers={power: 1}) as engine:
        assert codes(engine, writer=True) == ["red login_too_strong"]


def test_the_administrator_is_red_even_if_the_server_hides_his_roles() -> None:
    with server(columns=EXACT, login="SA") as engine:
        assert codes(engine, writer=True) == ["red login_too_strong"]


def test_a_column_too_many_or_too_few_is_red() -> None:
    with server(columns=EXACT | {("PnPBase", "PnPGuid")}) as engine:
        assert codes(engine, writer=True) == ["red column_right_too_much"]
    with server(columns=EXACT - {("PnPBase", "PnPRevision")}) as engine:
        assert codes(engine, writer=True) == ["red column_right_missing"]
    with server(columns=EXACT) as engine:
        assert codes(engine, writer=False) == ["red column_right_too_much"]


@pytest.mark.parametrize("why", ["computed", "identity", "rowversion", "view"])
def test_a_column_that_only_the_server_writes_is_amber_and_needs_no_right(why: str) -> None:
    column = ("EngineeringItems", "Description")
    with server(columns=EXACT - {column}, fixed=[(*column, why)]) as engine:
        assert codes(engine, writer=True) == ["amber column_fixed", "green rights_fit"]


def test_a_database_that_is_read_only_is_red() -> None:
    with server(columns=EXACT, updateability="READ_ONLY") as engine:
        assert "red source_read_only" in codes(engine, writer=True)


def test_a_login_without_the_schema_is_red_only_if_it_may_not_read_each_table() -> None:
    """An administrator may grant SELECT table by table; the reading does not mind, until there is another table."""
    powers = {"SELECT": 0}
    with server(columns=EXACT, powers=powers, tables={"PnPBase": 1, "PnPTables": 1}) as engine:
        assert codes(engine, writer=True) == ["amber reads_by_table", "green rights_fit"]
    with server(columns=EXACT, powers=powers, tables={"PnPBase": 1, "PnPDataLinks": 0}) as engine:
        (found,) = grants.check_rights(engine, catalog=CATALOG, allowed=STOCK, writer=True)
        assert (found.level, found.code) == ("red", "cannot_read")
        assert "PnPDataLinks" in found.message
    with server(columns=EXACT, powers=powers, tables={}) as engine:
        assert codes(engine, writer=True) == ["red cannot_read"]


def test_a_login_that_cannot_see_triggers_is_amber() -> None:
    with server(columns=EXACT, powers={"VIEW DEFINITION": 0}) as engine:
        assert codes(engine, writer=True) == ["amber cannot_see_triggers", "green rights_fit"]


def test_a_server_that_cannot_be_asked_is_no_permission() -> None:
    with pytest.raises(RetryLaterError) as stopped:
        codes(create_engine("sqlite://"), writer=True)
    assert stopped.value.error_code == "source_away"
