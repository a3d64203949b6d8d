"""Writing through the real drivers against the scripted endpoint: limits, rights, ways to the server, rollback.

Scripted claims about SQL Server: HAS_PERMS_BY_NAME answers 1, 0 or NULL, and NULL for a column in brackets; a deadlock
victim's transaction is gone, so ROLLBACK then meets error 3903. (Microsoft's documentation.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plant3d_sync.connectors.base import CellReceipt, CellWrite
from plant3d_sync.connectors.plant3d.reading.sqlserver import engine_for
from plant3d_sync.connectors.plant3d.sqlserver_drivers import Limits
from plant3d_sync.connectors.plant3d.writing import grants, write_sqlserver, writer
from plant3d_sync.connectors.plant3d.writing.backup import backup_on_server
from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter
from plant3d_sync.errors import ConfigError, RetryLaterError
from tests.support.catalogs import catalog
from tests.support.mssql import DRIVERS, url_for
from tests.support.tds_endpoint import Answer, Count, Rows, ServerError, Stall, TdsEndpoint, Told

WRITING = DRIVERS
"""FreeTDS through pyodbc prepares statements in a way that the endpoint does not script."""
pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", WRITING)]

CATALOG = catalog(
    ("PnPBase", None, "", []),
    ("EngineeringItems", "PnPBase", "Engineering Items", ["Description", "Comment"]),
)
ALLOWED = frozenset({("engineeringitems", "description"), ("engineeringitems", "comment")})
GUID = "00000000-0000-4000-8000-000000000007"
STAMP = 638947573946251024
WRITABLE = [
    ["EngineeringItems", "Description"],
    ["EngineeringItems", "Comment"],
    ["PnPBase", "PnPTimestamp"],
    ["PnPBase", "PnPRevision"],
]


@dataclass
class Server:
    """One item with two cells, and a login with some rights. `fail`: answers for statements that hold a word."""

    cells: dict[str, str] = field(default_factory=lambda: {"Description": "old", "Comment": "old"})
    stamp: int = STAMP
    powers: set[str] = field(default_factory=set)
    writable: list[list[str]] = field(default_factory=lambda: list(WRITABLE))
    fail: dict[str, Answer] = field(default_factory=dict)

    def __call__(self, sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        for word, answer in self.fail.items():
            if word in sql:
                return answer
        text = " ".join(sql.split())
        if "is_computed" in text:
            return Rows([("", str), ("", str), ("", str)], [])
        if "Updateability" in text:
            return Rows([("", str)], [["READ_WRITE"]])
        if "sys.columns" in text:
            return Rows([("", str), ("", str)], self.writable if "c.[name], 'COLUMN'" in text else [])
        if "HAS_PERMS_BY_NAME" in text or "MEMBER(" in text:
            said = [str(one) for one in parameters] + re.findall(r"'([^']*)'", text)
            granted = {"SELECT", "VIEW DEFINITION", *self.powers}
            return Rows([("", int)], [[int(any(one in granted for one in said))]])
        if "SYSUTCDATETIME" in text:
            return Rows([("", str)], [["2100-01-01T00:00:00.0000000"]])
        if "SUSER_SNAME" in text:
            return Rows([("", str)], [["p3dsync"]])
        if "sys.triggers" in text:
            return Rows([("", str)], [])
        if text == " ".join(write_sqlserver.TABLE_NAMES.split()):
            return Rows([("", str)], [["PnPBase"], ["EngineeringItems"]])
        if text.startswith("UPDATE"):
            return self._update(text, parameters)
        return self._select(text)

    def _update(self, text: str, parameters: tuple[Any, ...]) -> Answer:
        if "[PnPBase]" in text:
            self.stamp += 1
        else:
            cell = next(name for name in self.cells if f"SET [{name}]" in text)
            self.cells[cell] = "new"
        return Count(1)

    def _select(self, text: str) -> Answer | None:
        base = ["Vessel7", GUID, self.stamp, 0]
        head = [("c", str), ("g", str), ("s", int), ("r", int)]
        if "LEFT OUTER JOIN [dbo].[EngineeringItems]" in text:
            cells = re.findall(r"\[?t0\]?\.\[(\w+)\]", text.partition(" FROM ")[0])
            row = [7 if name == "PnPID" else self.cells[name] for name in cells]
            return Rows(
                [*head, *((n, int if n == "PnPID" else str) for n in cells)],
                [["EngineeringItems", *base[1:], *row]],
            )
        if "FROM [dbo].[PnPBase]" in text:
            return Rows(head, [["EngineeringItems", *base[1:]]])
        found = re.search(r"\[(Description|Comment)\]", text)
        return Rows([("v", str)], [[self.cells[found[1]]]]) if found else None


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def endpoint(server: Server) -> Iterator[TdsEndpoint]:
    with TdsEndpoint(server) as listening:
        yield listening


def write(
    endpoint: TdsEndpoint,
    driver: str,
    tmp_path: Path,
    *columns: str,
    strong_login: str | None = None,
    hold_ms: int = 1000,
) -> list[CellReceipt]:
    cells = [
        CellWrite(
            pnpid=7,
            plant3d_id=GUID,
            class_name="EngineeringItems",
            table_class="EngineeringItems",
            column=column,
            old="old",
            new="new",
            expected_timestamp=STAMP,
        )
        for column in columns or ("Description",)
    ]
    with PlantWriter(
        url_for(endpoint, driver),
        catalog=CATALOG,
        allowed=ALLOWED,
        drawings=DrawingLocks(tmp_path),
        clock=lambda: STAMP + 1,
        strong_login=strong_login,
        hold_ms=hold_ms,
    ) as opened:
        return opened.write(cells)


def test_a_cell_is_written_with_four_ways_to_the_server_under_the_lock(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path
) -> None:
    (receipt,) = write(endpoint, driver, tmp_path)
    assert (receipt.status, server.cells["Description"]) == ("applied", "new")
    sent = [sql for sql, _ in endpoint.statements]
    locked = next(n for n, sql in enumerate(sent) if "UPDLOCK" in sql)
    updated = max(n for n, sql in enumerate(sent) if sql.startswith("UPDATE") or "UPDATE [dbo]" in sql)
    assert updated - locked + 1 == 3, "one read and two updates; COMMIT is the fourth"
    assert sum("UPDLOCK" in sql for sql in sent) == 1


def test_each_further_cell_costs_one_way_more(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path
) -> None:
    receipts = write(endpoint, driver, tmp_path, "Description", "Comment")
    assert [one.status for one in receipts] == ["applied", "applied"]
    sent = [sql for sql, _ in endpoint.statements]
    assert sum("UPDLOCK" in sql for sql in sent) == 1
    assert sum("UPDATE [dbo]" in sql for sql in sent) == 3


@pytest.mark.parametrize(("hold_ms", "ends"), [(450, "applied"), (350, "waiting")])
def test_at_100_ms_a_way_two_cells_hold_the_lock_for_four_tenths_of_a_second(
    server: Server,
    endpoint: TdsEndpoint,
    driver: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hold_ms: int,
    ends: str,
) -> None:
    """The clock of the writer moves with every statement alone, by the delay of a slow line."""
    ticking = [0.0]

    def delayed(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        ticking[0] += 0.1
        return server(sql, parameters)

    endpoint.handler = delayed
    monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=lambda: ticking[0], sleep=time.sleep))
    receipts = write(endpoint, driver, tmp_path, "Description", "Comment", hold_ms=hold_ms)
    assert {one.status for one in receipts} == {ends}
    assert {one.code for one in receipts} <= {"", None, "source_slow"}


def test_every_connection_that_writes_waits_for_no_lock_longer_than_promised(
    endpoint: TdsEndpoint, driver: str, tmp_path: Path
) -> None:
    write(endpoint, driver, tmp_path)
    limits = [sql for sql, _ in endpoint.statements if "LOCK_TIMEOUT" in sql]
    assert limits
    assert all("SET LOCK_TIMEOUT 250" in sql for sql in limits)
    sent = [sql for sql, _ in endpoint.statements]
    first_read = next(n for n, sql in enumerate(sent) if "[dbo]." in sql)
    assert next(n for n, sql in enumerate(sent) if "LOCK_TIMEOUT" in sql) < first_read


@pytest.mark.parametrize("word", ["FROM [dbo].[PnPBase]", "UPDATE [dbo].[EngineeringItems]"])
def test_a_row_somebody_holds_makes_the_cell_wait_and_not_the_worker(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path, word: str
) -> None:
    server.fail[word] = ServerError(1222, "Lock request time out period exceeded.")
    (receipt,) = write(endpoint, driver, tmp_path)
    assert (receipt.status, receipt.code) == ("waiting", "source_locked")


def test_a_server_that_falls_silent_in_a_write_is_left(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_sqlserver, "STATEMENT_SECONDS", 1)
    server.fail["UPDATE [dbo].[EngineeringItems]"] = Stall()
    (receipt,) = write(endpoint, driver, tmp_path)
    assert receipt.status == "waiting"


@pytest.mark.parametrize("word", ["BEGIN TRAN", "COMMIT TRAN", "ROLLBACK TRAN"])
def test_a_server_that_falls_silent_where_a_transaction_begins_or_ends_is_left(
    server: Server,
    endpoint: TdsEndpoint,
    driver: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_sqlserver, "STATEMENT_SECONDS", 1)

    def silent(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if "FROM [dbo].[PnPBase]" in sql:  # the questions before have another limit
            server.fail[word] = Stall()
        return server(sql, parameters)

    endpoint.handler = silent
    with suppress(RetryLaterError):
        written = [one.status for one in write(endpoint, driver, tmp_path)] == ["applied"]
        assert word != "BEGIN TRAN" or not written, "what became of the others is looked at"
    assert endpoint.transactions == [], "the driver's own way has no limit with FreeTDS"


@pytest.mark.parametrize("number", [3903, 3943])
def test_a_deadlock_in_another_language_is_waited_out_and_not_a_traceback(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path, number: int
) -> None:
    def deadlock(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if "UPDATE [dbo].[PnPBase]" in sql:  # the transaction is gone, and with it what ROLLBACK could end
            server.fail["ROLLBACK"] = ServerError(number, "La requête ROLLBACK n'a pas de BEGIN", 16)
            return ServerError(1205, "La transaction a été bloquée", 13)
        return server(sql, parameters)

    endpoint.handler = deadlock
    (receipt,) = write(endpoint, driver, tmp_path)
    assert (receipt.status, receipt.code) == ("waiting", "source_locked")


# ---------------------------------------------------------------- rights


@pytest.mark.parametrize("power", ["sysadmin", "db_owner", "INSERT"])
def test_a_login_that_can_do_too_much_writes_nothing(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path, power: str
) -> None:
    server.powers.add(power)
    with pytest.raises(ConfigError) as caught:
        write(endpoint, driver, tmp_path)
    assert caught.value.error_code == "login_too_strong"
    assert "allow_strong_login: p3dsync" in caught.value.hint
    assert not any("UPDATE [dbo]" in sql for sql, _ in endpoint.statements)
    with pytest.raises(ConfigError):
        write(endpoint, driver, tmp_path, strong_login="somebody")
    assert write(endpoint, driver, tmp_path, strong_login="P3DSYNC")[0].status == "applied"


def test_a_column_too_many_stops_the_writer_as_well(
    server: Server, endpoint: TdsEndpoint, driver: str, tmp_path: Path
) -> None:
    server.writable.append(["PnPBase", "PnPGuid"])
    with pytest.raises(ConfigError) as caught:
        write(endpoint, driver, tmp_path)
    assert caught.value.error_code == "column_right_too_much"


def test_the_questions_of_rights_have_the_form_that_is_documented(
    server: Server, endpoint: TdsEndpoint, driver: str
) -> None:
    """A column in brackets, or a database name with a dot, would be answered NULL."""
    engine = engine_for(url_for(endpoint, driver))
    found = grants.check_rights(engine, catalog=CATALOG, allowed=ALLOWED, writer=True)
    assert [one.code for one in found] == ["rights_fit"]
    server.writable.remove(["EngineeringItems", "Comment"])
    (missing,) = grants.check_rights(engine, catalog=CATALOG, allowed=ALLOWED, writer=True)
    engine.dispose()
    assert missing.code == "column_right_missing"
    assert "GRANT UPDATE ON OBJECT::[dbo].[EngineeringItems] ([Comment])" in missing.hint
    assert not any("DB_NAME()" in sql and "HAS_PERMS" in sql for sql, _ in endpoint.statements)


def test_a_backup_that_never_ends_is_left(server: Server, endpoint: TdsEndpoint, driver: str) -> None:
    server.powers.add("BACKUP DATABASE")
    server.fail["BACKUP DATABASE ["] = Stall()
    engine = engine_for(url_for(endpoint, driver), limits=Limits(statement=1), autocommit=True)
    made = backup_on_server(engine, database="mine_PnId", file="D:\\a.bak")
    engine.dispose()
    assert not made.done


@pytest.mark.parametrize(
    ("end", "done"),
    [(ServerError(3013, "BACKUP DATABASE is terminating abnormally."), False), (Count(), True)],
    ids=["fails", "ends well"],
)
def test_a_backup_counts_when_its_last_message_was_heard_and_not_its_first(
    server: Server, endpoint: TdsEndpoint, driver: str, end: Answer, done: bool
) -> None:
    """SQL Server tells how many pages it has processed, and the end after that. (BACKUP, Microsoft's documentation.)"""
    server.powers.add("BACKUP DATABASE")
    server.fail["BACKUP DATABASE ["] = Told(["Processed 344 pages for database 'mine_PnId'"] * 3, end)
    engine = engine_for(url_for(endpoint, driver), limits=Limits(statement=5), autocommit=True)
    made = backup_on_server(engine, database="mine_PnId", file="D:\\a.bak")
    engine.dispose()
    assert made.done is done, made.reason
    assert done or "3013" in made.reason
