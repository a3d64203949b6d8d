"""A read that is whole while people work, through the real drivers against the scripted endpoint.

Scripted claims about SQL Server: under read committed a SELECT shows what is committed when it runs; a snapshot
transaction shows one moment; sys.databases says whether the database allows it; a deadlock is error 1205, a lock that
is not given 1222; a table without any right on it is not listed in INFORMATION_SCHEMA; HAS_PERMS_BY_NAME answers 1, 0 or
NULL. (Microsoft's documentation.)
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading import sqlserver_read
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import STATE_STATEMENT
from plant3d_sync.errors import ConfigError, RetryLaterError
from tests.support.dcf import Dcf
from tests.support.mssql import DRIVERS, error_of, url_for
from tests.support.plant_server import PlantServer
from tests.support.tds_endpoint import Answer, Rows, ServerError, Stall, TdsEndpoint

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]

HOUR = 36_000_000_000
"""In ticks."""
PUMPS = 8


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    built = Dcf(tmp_path / "ProcessPower.dcf")
    drawing = built.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
    pumps = [
        built.add(
            "CentrifugalPump", Tag=f"P-{n}", Description=f"state 0 of {n}", Power="state 0", D1="state 0"
        )
        for n in range(PUMPS)
    ]
    segment, group = built.add("Primary", Tag="L-1"), built.add("PipeLineGroup", Tag="L-1")
    built.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)
    built.relate("LineStartAsset", Line=segment, Asset=pumps[0])
    built.draw(drawing, *pumps, segment)
    return built


@pytest.fixture
def server(dcf: Dcf) -> PlantServer:
    return PlantServer(dcf.path)


@pytest.fixture
def endpoint(server: PlantServer) -> Iterator[TdsEndpoint]:
    with TdsEndpoint(server) as listening:
        yield listening


def pumps_of(server: PlantServer) -> list[int]:
    columns, rows = server.tables["CentrifugalPump"]
    at = [name for name, _ in columns].index("PnPID")
    return [row[at] for row in rows]


def save(server: PlantServer, item: int, state: int, *, behind: int) -> None:
    """One designer saves one pump: three tables and the stamp, by a clock that may be behind."""
    server.set("EngineeringItems", item, Description=f"state {state} of it")
    server.set("Pumps", item, Power=f"state {state}")
    server.set("CentrifugalPump", item, D1=f"state {state}")
    row = server.row("PnPBase", item)
    assert row is not None
    server.set(
        "PnPBase", item, PnPTimestamp=row["PnPTimestamp"] - behind + state, PnPRevision=row["PnPRevision"] + 1
    )


def read(endpoint: TdsEndpoint, driver: str) -> Snapshot:
    snapshot = open_source(url_for(endpoint, driver)).snapshot()
    assert isinstance(snapshot, Snapshot)
    return snapshot


def items_of(snapshot: Snapshot, *classes: str) -> dict[int, Any]:
    return {item.pnpid: item for batch in snapshot.scan(classes, {}) for item in batch.changed}


def states(item: Any) -> set[str]:
    """The states that the three tables of one pump show: one when it is whole."""
    return {str(item.values[name])[:8].strip() for name in ("Description", "Power", "D1")}


def test_a_save_by_a_clock_that_is_behind_leaves_no_half_item(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    item, saved = pumps_of(server)[2], []

    def work(table: str) -> None:
        if table == "Equipment" and not saved:  # after CentrifugalPump, before Pumps and EngineeringItems
            saved.append(True)
            save(server, item, 7, behind=HOUR)

    server.before = work
    snapshot = read(endpoint, driver)
    assert states(items_of(snapshot, "CentrifugalPump")[item]) == {"state 7"}
    assert snapshot.unsettled == frozenset()
    snapshot.close()


def test_two_clocks_an_hour_apart_and_two_hundred_saves_never_make_a_mixture(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """Two clients save all through the readings; every reading ends, and is complete but for what it names."""
    dice, saves = random.Random(17), 0
    pumps, quiet = pumps_of(server), pumps_of(server)[-1]

    def work(_table: str) -> None:
        nonlocal saves
        if dice.random() < 0.25:
            saves += 1
            save(server, dice.choice(pumps[:-1]), saves, behind=HOUR if saves % 2 else 0)

    server.before = work
    readings = named = 0
    while saves < 200:
        snapshot = read(endpoint, driver)
        found = items_of(snapshot, "CentrifugalPump")
        assert set(found) | snapshot.unsettled >= set(pumps), "nobody is missing"
        assert quiet in found
        assert all(len(states(item)) == 1 for item in found.values())
        codes = [one.pnpid for one in snapshot.findings() if one.code == "item_unsettled"]
        assert sorted(codes) == sorted(snapshot.unsettled)
        named += len(codes)
        readings += 1
        snapshot.close()
    assert readings > 5


def test_an_item_that_never_stands_still_is_named_and_the_others_are_read(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    item, count = pumps_of(server)[0], 0

    def work(_table: str) -> None:
        nonlocal count
        count += 1
        save(server, item, count, behind=HOUR)

    server.before = work
    snapshot = read(endpoint, driver)
    found = items_of(snapshot, "CentrifugalPump")
    assert snapshot.unsettled == {item}
    assert item not in found
    assert len(found) == PUMPS - 1
    batches = list(snapshot.scan(["CentrifugalPump"], {}))
    assert [one for batch in batches for one in batch.unsettled] == [item]
    snapshot.close()


def test_items_made_and_deleted_meanwhile_are_as_they_are_at_the_end(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    pumps, done = pumps_of(server), []

    def work(table: str) -> None:
        if table == "PnPDrawings" and not done:
            done.append(True)
            for name in ("CentrifugalPump", "Pumps", "Equipment", "EngineeringItems", "PnPBase"):
                server.delete(name, pumps[0])
            base = server.row("PnPBase", pumps[1])
            assert base is not None
            server.insert("PnPBase", **{**base, "PnPID": 900, "PnPTimestamp": 1})
            for name in ("EngineeringItems", "Equipment", "Pumps", "CentrifugalPump"):
                server.insert(name, PnPID=900, Tag="P-NEW")

    server.before = work
    snapshot = read(endpoint, driver)
    found = items_of(snapshot, "CentrifugalPump")
    assert pumps[0] not in found
    assert found[900].values["Tag"] == "P-NEW"
    snapshot.close()


def test_a_relation_that_changes_meanwhile_is_seen_though_no_stamp_moves(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    pumps, done = pumps_of(server), []

    def work(table: str) -> None:
        if table == "Pumps" and not done:
            done.append(True)
            server.tables["LineStartAsset"][1][0][:] = [
                pumps[1] if value == pumps[0] else value for value in server.tables["LineStartAsset"][1][0]
            ]

    server.before = work
    snapshot = read(endpoint, driver)
    group = next(iter(items_of(snapshot, "PipeLineGroup").values()))
    assert group.from_tag == "P-1"
    snapshot.close()


def test_stamps_that_two_items_exchange_meanwhile_are_noticed(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """Count, sums and checksum of PnPBase are as before: only which item has which stamp moved."""
    one, other = pumps_of(server)[1:3]
    done: list[bool] = []

    def work(table: str) -> None:
        if table == "Equipment" and not done:  # after CentrifugalPump, before Pumps and EngineeringItems
            done.append(True)
            rows = [server.row("PnPBase", item) for item in (one, other)]
            assert rows[0] is not None and rows[1] is not None
            for item, row in zip((one, other), reversed(rows), strict=True):
                save(server, item, 9, behind=0)
                server.set("PnPBase", item, PnPTimestamp=row["PnPTimestamp"], PnPRevision=row["PnPRevision"])

    for item, stamp in ((one, 1000), (other, 2000)):
        server.set("PnPBase", item, PnPTimestamp=stamp)
    server.before = work
    snapshot = read(endpoint, driver)
    found = items_of(snapshot, "CentrifugalPump")
    assert states(found[one]) == states(found[other]) == {"state 9"}
    snapshot.close()


def test_where_nothing_moved_no_stamp_and_no_relation_is_asked_again(
    endpoint: TdsEndpoint, driver: str
) -> None:
    read(endpoint, driver).close()
    sent = [sql for sql, _ in endpoint.statements]
    assert not any(sql.startswith(sqlserver_read.MARKS_STATEMENT) for sql in sent)
    assert sum("FROM [dbo].[LineStartAsset]" in sql and "COUNT_BIG" not in sql for sql in sent) == 1
    summed = [n for n, sql in enumerate(sent) if "COUNT_BIG(*)" in sql]
    whole = [n for n, sql in enumerate(sent) if sql.startswith("SELECT [PnPID]")]
    assert summed[0] < whole[0] <= whole[-1] < summed[-1], "before the first row and after the last"


def test_a_server_that_sums_nothing_is_compared_item_by_item(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    item, saved = pumps_of(server)[2], []

    def work(table: str) -> None:
        if table == "Equipment" and not saved:
            saved.append(True)
            save(server, item, 7, behind=HOUR)

    def no_sums(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        return ServerError(8115, "Arithmetic overflow") if "COUNT_BIG" in sql else server(sql, parameters)

    server.before = work
    endpoint.handler = no_sums
    snapshot = read(endpoint, driver)
    assert states(items_of(snapshot, "CentrifugalPump")[item]) == {"state 7"}
    assert any(sql.startswith(sqlserver_read.MARKS_STATEMENT) for sql, _ in endpoint.statements)
    snapshot.close()


def test_columns_that_nobody_asks_are_not_read(endpoint: TdsEndpoint, driver: str) -> None:
    """Of an item every column is asked, since its digest is of all; of what only describes or joins, what is used."""
    read(endpoint, driver).close()
    sent = [sql for sql, _ in endpoint.statements if "COUNT_BIG" not in sql]
    asked = {
        table: {
            name for sql in sent if f"FROM [dbo].[{table}]" in sql for name in re.findall(r"\[(\w+)\]", sql)
        }
        for table in ("PnPBase", "LineStartAsset", "PnPProperties", "PnPDataLinks")
    }
    assert asked["PnPBase"] >= {"PnPID", "PnPClassName", "PnPGuid", "PnPRevision", "PnPTimestamp"}
    assert "PnPStatus" not in asked["PnPBase"]
    assert asked["LineStartAsset"] == {"dbo", "LineStartAsset", "PnPID", "Line", "Asset"}
    assert asked["PnPProperties"] >= {"TableName", "PropertyName", "PropertyType", "Length"}
    assert "Expression" not in asked["PnPProperties"]
    assert asked["PnPDataLinks"] == {"dbo", "PnPDataLinks", "PnPID", "RowId", "DwgId"}


def test_one_moment_is_read_where_the_database_allows_it(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    server.isolation = 1
    read(endpoint, driver).close()
    sent = [sql for sql, _ in endpoint.statements]
    begun, ended = sent.index(sqlserver_read.BEGIN_SNAPSHOT), sent.index(sqlserver_read.END_SNAPSHOT)
    data = [n for n, sql in enumerate(sent) if "FROM [dbo].[EngineeringItems]" in sql]
    assert data == [n for n in data if begun < n < ended]
    assert data
    assert not any("ALTER" in sql for sql in sent)


@pytest.mark.parametrize(
    "at", ["ISOLATION LEVEL SNAPSHOT", "INFORMATION_SCHEMA", "FROM [dbo].[Pumps]", "COMMIT TRANSACTION; SET"]
)
@pytest.mark.parametrize("number", [3952, 3958, 3966, 3967])
def test_a_snapshot_that_is_refused_after_all_is_read_the_other_way(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, number: int, at: str
) -> None:
    """Not allowed any more; or tempdb has no room for the versions of rows, which may last for days."""
    server.isolation, failed = 1, []

    def once(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if at in sql and not failed:
            failed.append(True)
            return ServerError(number, "Snapshot isolation transaction failed accessing database")
        return server(sql, parameters)

    endpoint.handler = once
    snapshot = read(endpoint, driver)
    assert len(items_of(snapshot, "CentrifugalPump")) == PUMPS
    assert failed
    snapshot.close()


@pytest.mark.parametrize("number", [1205, 1222])
def test_a_deadlock_or_a_lock_repeats_the_table_and_not_the_run(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, number: int
) -> None:
    failed: list[int] = []

    def twice(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if "FROM [dbo].[EngineeringItems]" in sql and len(failed) < 2:
            failed.append(number)
            return ServerError(number, "Transaction was deadlocked")
        return server(sql, parameters)

    endpoint.handler = twice
    snapshot = read(endpoint, driver)
    assert len(items_of(snapshot, "CentrifugalPump")) == PUMPS
    snapshot.close()


@pytest.mark.parametrize("number", [1205, 1222])
@pytest.mark.parametrize(
    "word", [" IN (", "SELECT [PnPID], [PnPTimestamp], [PnPRevision]", "INFORMATION_SCHEMA"]
)
def test_a_deadlock_while_something_is_read_again_repeats_that_piece(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, number: int, word: str
) -> None:
    item, saved, failed = pumps_of(server)[2], [], set()

    def work(table: str) -> None:
        if table == "Equipment" and not saved:
            saved.append(True)
            save(server, item, 7, behind=HOUR)

    def once_each(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        if word in sql and sql not in failed and not sql.startswith("SELECT [TABLE_NAME] FROM"):
            failed.add(sql)
            return ServerError(number, "Transaction was deadlocked")
        return server(sql, parameters)

    server.before = work
    endpoint.handler = once_each
    snapshot = read(endpoint, driver)
    assert failed
    assert states(items_of(snapshot, "CentrifugalPump")[item]) == {"state 7"}
    snapshot.close()


# ---------------------------------------------------------------- no wait without an end


def test_every_connection_limits_its_waits_before_its_first_question(
    endpoint: TdsEndpoint, driver: str
) -> None:
    read(endpoint, driver).close()
    sent = [sql for sql, _ in endpoint.statements]
    limited = next(n for n, sql in enumerate(sent) if "SET LANGUAGE us_english; SET LOCK_TIMEOUT " in sql)
    asked = next(n for n, sql in enumerate(sent) if "FROM [" in sql and "sp_" not in sql)
    assert limited < asked


@pytest.mark.parametrize("attention", [True, False], ids=["busy", "dead"])
@pytest.mark.parametrize("when", ["before", "amid"])
def test_a_server_that_falls_silent_is_left_after_the_deadline(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, when: str, attention: bool
) -> None:
    columns, _ = server.tables["EngineeringItems"]
    begun = Rows([*columns, ("", int)][: len(columns) + (driver != "pyodbc")], []) if when == "amid" else None
    server.failing["EngineeringItems"] = Stall(rows=begun, attention=attention)
    assert left_with(url_for(endpoint, driver)) in ("source_away", "source_busy")


def test_a_server_that_falls_silent_right_behind_the_login_is_left(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """pyodbc asks Microsoft's driver there for the sizes of types, and neither puts a limit to it."""

    def silent(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
        begins = "sp_datatype_info" in sql or sql.startswith("SET LANGUAGE")
        return Stall() if begins else server(sql, parameters)

    endpoint.handler = silent
    assert left_with(url_for(endpoint, driver)) in ("source_away", "source_silent")


def left_with(url: str) -> str:
    """The code with which a read ends whose deadline is a second."""
    said: list[str] = []

    def run() -> None:
        try:
            open_source(url, deadline=1).snapshot()
        except RetryLaterError as error:
            said.append(error.error_code)

    waiting = threading.Thread(target=run, daemon=True)
    waiting.start()
    waiting.join(30)  # the drivers themselves wait some seconds for the end of what they gave up
    assert len(said) == 1, "it still waits"
    return said[0]


def test_rows_that_keep_coming_move_the_deadline(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlserver_read, "SECONDS_PER_ROW", 3600.0)
    open_source(url_for(endpoint, driver), deadline=0.001).snapshot().close()
    monkeypatch.setattr(sqlserver_read, "SECONDS_PER_ROW", -3600.0)
    error = error_of(url_for(endpoint, driver))
    assert error.error_code == "source_busy"
    assert "millisecond a row" in error.message


# ---------------------------------------------------------------- a database that lets nobody in


@pytest.mark.parametrize(
    ("state", "code", "kind"),
    [
        (["RESTORING", "MULTI_USER"], "source_away", RetryLaterError),
        (["OFFLINE", "MULTI_USER"], "source_away", RetryLaterError),
        (["ONLINE", "SINGLE_USER"], "source_away", RetryLaterError),
        (["ONLINE", "MULTI_USER"], "source_database_unknown", ConfigError),
        (None, "source_database_unknown", ConfigError),
    ],
)
def test_a_database_that_is_closed_is_told_from_one_that_is_not_there(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, state: list[str] | None, code: str, kind: type
) -> None:
    """The login meets 4060 and 18456 in every case; `sys.databases` shows names and states to every login."""
    endpoint.databases = ("master",)
    question = f"{STATE_STATEMENT} WHERE [name] = N'mine_PnId'"
    server.answers[question] = Rows([("", str), ("", str)], [state] if state else [])
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == (code, kind)
    if kind is RetryLaterError:
        assert (state or [])[0 if state and state[0] != "ONLINE" else 1] in error.message


# ---------------------------------------------------------------- a database that is not as Plant 3D made it


def test_a_column_dropped_in_mid_read_ends_the_run_and_says_so(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """Between the list of columns and the reading of the table: the next run finds another list."""
    gone = "CentrifugalPump"
    server.failing[gone] = ServerError(207, "Invalid column name 'D1'.")
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == ("source_busy", RetryLaterError)
    assert "dropped or renamed while it was read" in error.message
    assert "Nothing was written" in error.message
    del server.failing[gone]
    server.columns = [row for row in server.columns if row[:2] != [gone, "D1"]]
    snapshot = read(endpoint, driver)
    assert items_of(snapshot, gone).keys() == set(pumps_of(server))
    snapshot.close()


def test_without_stamps_each_item_is_looked_at_again_when_anything_moved(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """PnPBase as a view that leaves the stamps out: no item is half of the old and half of the new all the same."""
    columns, rows = server.tables["PnPBase"]
    places = [at for at, (name, _) in enumerate(columns) if name not in ("PnPTimestamp", "PnPRevision")]
    server.tables["PnPBase"] = ([columns[at] for at in places], [[row[at] for at in places] for row in rows])
    server.columns = [row for row in server.columns if row[1] not in ("PnPTimestamp", "PnPRevision")]
    item, done = pumps_of(server)[0], []

    def work(table: str) -> None:
        if table == "Equipment" and not done:  # after CentrifugalPump, before Pumps and EngineeringItems
            done.append(True)
            for name, column in (
                ("EngineeringItems", "Description"),
                ("Pumps", "Power"),
                ("CentrifugalPump", "D1"),
            ):
                server.set(name, item, **{column: "state 5"})
            server.insert("LineStartAsset", PnPID=991, Line=item, Asset=item)

    server.before = work
    snapshot = read(endpoint, driver)
    assert states(items_of(snapshot, "CentrifugalPump")[item]) == {"state 5"}
    snapshot.close()


def test_names_that_differ_only_in_case_cost_themselves_and_nothing_else(
    dcf: Dcf, server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    """As a case-sensitive database may have them: the table is the one of the catalogue, wherever the other one sorts."""
    others = [["CENTRIFUGALPUMP", "PnPID", "bigint"], ["CENTRIFUGALPUMP", "TAG", "nvarchar"]]
    server.columns = [*others, *server.columns]
    at = next(n for n, row in enumerate(server.columns) if row[:2] == ["CentrifugalPump", "D1"])
    server.columns.insert(at + 1, ["CentrifugalPump", "d1", "nvarchar"])
    snapshot, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
    assert items_of(snapshot, "CentrifugalPump") == items_of(in_file, "CentrifugalPump")  # type: ignore[arg-type]
    more = [one for one in snapshot.findings() if one.code == "column_case_clash"]
    assert {(one.class_name, one.column) for one in more} == {
        ("CENTRIFUGALPUMP", None),
        ("CentrifugalPump", "d1"),
    }
    assert all("differs from it only in case" in one.message for one in more)
    assert [one for one in snapshot.findings() if one not in more] == list(in_file.findings())
    snapshot.close()
    in_file.close()


# ---------------------------------------------------------------- rights


def test_a_table_that_is_denied_is_named(server: PlantServer, endpoint: TdsEndpoint, driver: str) -> None:
    server.failing["EngineeringItems"] = ServerError(
        229, "The SELECT permission was denied on the object 'EngineeringItems', database 'mine_PnId'.", 14
    )
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == ("source_unreadable", ConfigError)
    assert "may not read EngineeringItems of" in error.message


def test_a_table_the_login_may_not_see_is_not_an_empty_one(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    server.hide("PnPDataLinks")
    server.rights = [0, 0]
    error = error_of(url_for(endpoint, driver))
    assert (error.error_code, type(error)) == ("source_unreadable", ConfigError)
    assert "pnpdatalinks" in error.message.lower()
    assert "grants" in error.hint


def test_a_relation_the_login_may_not_see_is_not_an_empty_one(
    dcf: Dcf, server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    server.columns.append(["PnPRowRelations", "RelationshipTypeName", "nvarchar"])
    server.answers[sqlserver_read.RELATIONS_IN_USE_STATEMENT] = Rows(
        [("RelationshipTypeName", str)], [["LineStartAsset"]]
    )
    server.hide("LineStartAsset")
    server.rights = [0, 1]
    assert error_of(url_for(endpoint, driver)).error_code == "source_unreadable"


def test_a_damaged_project_is_read_by_a_login_that_sees_everything(
    server: PlantServer, endpoint: TdsEndpoint, driver: str
) -> None:
    server.hide("Pumps")
    snapshot = read(endpoint, driver)
    assert len(items_of(snapshot, "CentrifugalPump")) == PUMPS
    assert "class_without_table" in {one.code for one in snapshot.findings()}
    snapshot.close()


# ---------------------------------------------------------------- names and cells

ODD_NAMES = [
    "Temp :C",
    "Ratio (:x)",
    "back\\:slash",
    "Slope %",
    "100%s",
    "%(x)s",
    "a?b",
    "it's",
    'say "x"',
    "a--b",
    "a;b",
    "x]y",
    "[z]",
    "1º Área",
    "長さ",
    "From",
    "emoji 🙂",
]


def test_every_column_name_survives_as_in_a_file(dcf: Dcf, tmp_path: Path, driver: str) -> None:
    dcf.declare("OddPump", "CentrifugalPump", dict.fromkeys(ODD_NAMES, "String"))
    dcf.add("OddPump", Tag="P-99")
    for name in ODD_NAMES:
        quoted = '"' + name.replace('"', '""') + '"'
        dcf.sql(f"UPDATE OddPump SET {quoted} = ?", f"value of {name}")
    with TdsEndpoint(PlantServer(dcf.path)) as endpoint:
        on_server, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
        (item,) = items_of(on_server, "OddPump").values()
        assert {name: item.values[name] for name in ODD_NAMES} == {n: f"value of {n}" for n in ODD_NAMES}
        assert [i for b in in_file.scan(["OddPump"], {}) for i in b.changed] == [item]
        assert [f.code for f in on_server.findings()] == [f.code for f in in_file.findings()]
        on_server.close()
        in_file.close()


KINDS = {
    "datetime2": "CONVERT(nvarchar(40), [Odd], 121)",
    "datetimeoffset": "CONVERT(nvarchar(40), [Odd], 121)",
    "time": "CONVERT(nvarchar(40), [Odd], 121)",
    "geometry": "CAST([Odd] AS nvarchar(max))",
    "their_own": "CAST([Odd] AS nvarchar(max))",
    "": "CAST([Odd] AS nvarchar(max))",
    "sql_variant": "CAST([Odd] AS nvarchar(4000))",
    "decimal": "[Odd]",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_a_kind_that_drivers_refuse_is_asked_for_as_text(
    dcf: Dcf, driver: str, kind: str
) -> None:
    """ODBC types -155 (datetimeoffset) and -151 (geometry, a type of a site's own) end pyodbc's whole answer with HY106."""
    dcf.declare("OddPump", "CentrifugalPump", {"Odd": "String"})
    dcf.add("OddPump", Tag="P-99", Odd="2026-11-27 22:40:00.1234567 +01:00")
    server = PlantServer(dcf.path)
    server.columns = [[t, c, kind if c == "Odd" else k] for t, c, k in server.columns]
    with TdsEndpoint(server) as endpoint:
        on_server, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
        assert items_of(on_server, "OddPump") == items_of(in_file, "OddPump")  # type: ignore[arg-type]
        asked = [sql for sql, _ in endpoint.statements if sql.endswith("FROM [dbo].[OddPump]")]
        assert any(f"[PnPID], {KINDS[kind]}" in sql for sql in asked)
        on_server.close()
        in_file.close()


@pytest.mark.parametrize("length", [4000, 4001, 70_000])
def test_a_text_of_any_length_is_read_whole(dcf: Dcf, driver: str, length: int) -> None:
    text = ("wörter 長さ " * 7000)[:length]
    pump = dcf.sql("SELECT PnPID FROM CentrifugalPump")[0][0]
    dcf.sql("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", text, pump)
    with TdsEndpoint(PlantServer(dcf.path)) as endpoint:
        on_server, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
        assert items_of(on_server, "CentrifugalPump") == items_of(in_file, "CentrifugalPump")  # type: ignore[arg-type]
        on_server.close()
        in_file.close()


@pytest.mark.parametrize("isolation", [0, 1])
def test_a_name_with_nul_costs_its_column_and_nothing_else(
    dcf: Dcf, server: PlantServer, endpoint: TdsEndpoint, driver: str, isolation: int
) -> None:
    server.isolation = isolation
    server.columns.append(["CentrifugalPump", "Nul\x00name", "nvarchar"])
    snapshot, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
    assert items_of(snapshot, "CentrifugalPump").keys() == set(pumps_of(server))
    more = [one for one in snapshot.findings() if one.code == "unusable_name"]
    assert [(one.class_name, one.column) for one in more] == [("CentrifugalPump", r"Nul\0name")]
    assert "is not read" in more[0].message
    assert [one for one in snapshot.findings() if one not in more] == list(in_file.findings())
    snapshot.close()
    in_file.close()


@pytest.mark.parametrize(
    "text",
    [
        "cut \ud83d",
        "\ude42 low",
        "mid \ud800 dle?",
        "nul \x00 here",
        "?",
        "why? ok",
        "whole 🙂 pair",
        "\ufffd",
    ],
    ids=["high", "low", "middle", "nul", "mark", "question", "emoji", "replacement"],
)
def test_every_text_is_read_as_in_a_file(dcf: Dcf, driver: str, text: str) -> None:
    pump = dcf.sql("SELECT PnPID FROM CentrifugalPump")[0][0]
    raw = text.encode("utf-8", "surrogatepass")
    dcf.sql("UPDATE EngineeringItems SET Description = CAST(? AS TEXT) WHERE PnPID = ?", raw, pump)
    with TdsEndpoint(PlantServer(dcf.path)) as endpoint:
        on_server, in_file = read(endpoint, driver), open_source(dcf.path).snapshot()
        from_server = [i for b in on_server.scan(["CentrifugalPump"], {}) for i in b.changed]
        from_file = [i for b in in_file.scan(["CentrifugalPump"], {}) for i in b.changed]
        assert from_server == from_file
        assert [f.code for f in on_server.findings()] == [f.code for f in in_file.findings()]
        on_server.close()
        in_file.close()
