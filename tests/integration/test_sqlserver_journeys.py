"""Whole journeys on SQL Server's protocol beside the same project as a file: what is planned, written, undone.

Real drivers, real TDS, and a server that executes the statements (`tests.support.tsql_server`). It is no SQL Server: the
same journeys on a real one are in `test_sqlserver_real.py`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from plant3d_sync.bootstrap import make_app
from plant3d_sync.connectors.plant3d import sqlserver_drivers
from plant3d_sync.connectors.plant3d.sqlserver_address import parse_address
from plant3d_sync.connectors.plant3d.writing import write_sqlserver
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from tests.support.mssql import DRIVERS, url_for
from tests.support.mssql_real import connected
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import Answer, Drop, ServerError, Stall, TdsEndpoint
from tests.support.tsql_server import Rights, TsqlServer, as_a_server_holds_it
from tests.support.wayback import (
    at_rest,
    cell,
    changed_cells,
    description,
    kept,
    now,
    ok,
    push,
    small_plant,
    stamped,
    undone,
    user_describes,
    values_only,
)
from tests.support.world import NAME, World, new_world, template

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]

HOUR = 36_000_000_000
"""In ticks."""
TEXTS = [
    "L'eau d'appoint, 2 × 5 µm",
    "x" * 255,
    '100 %s and %(name)s of it\'s "so"',
    "pompe 🙂 長さ",
    "a ? b -- c ; d [e]",
]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="journeys") as running:
        yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@dataclass
class Site:
    """One project on the server, and the same in a file; each with a SYNAPSE project of its own."""

    server: TsqlServer
    endpoint: TdsEndpoint
    world: World
    file: World

    def grant(self) -> None:
        """An administrator runs the script that the program prints: its lines are all the login may write."""
        script = ok(self.world.cli("grants", NAME, "--role", "writer"))["script"]
        lines = re.findall(r"GRANT UPDATE ON OBJECT::\[dbo\]\.\[(\w+)\] \(([^)]+)\)", script)
        self.server.rights.updates = {
            (table.lower(), column.lower())
            for table, columns in lines
            for column in re.findall(r"\[([^\]]+)\]", columns)
        }

    def designer(self, *statements: str) -> None:
        """T-SQL by another client through the same driver."""
        with connected(parse_address(self.world.options["source"])) as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    def on_both(self, statement: str) -> None:
        """The same edit in both worlds, on the server as T-SQL."""
        self.designer(statement)
        self.file.change(statement.replace("[dbo].", "").replace("N'", "'"))


@pytest.fixture(scope="module")
def small(samples: Path) -> Path:
    """24 items of few classes."""
    dcf = samples / "small.dcf"
    small_plant(dcf)
    return dcf


@pytest.fixture
def site(tmp_path: Path, small: Path, synapse: RunningSynapse, driver: str) -> Iterator[Site]:
    yield from site_on(tmp_path, small, synapse, driver)


@pytest.fixture
def office(tmp_path: Path, samples: Path, synapse: RunningSynapse, driver: str) -> Iterator[Site]:
    """A sample of 60 items, in which people work."""
    yield from site_on(tmp_path, template(samples, items=60), synapse, driver)


def site_on(
    folder: Path,
    dcf: Path,
    synapse: RunningSynapse,
    driver: str,
    *,
    make: Callable[[Path], TsqlServer] = TsqlServer,
    **options: Any,
) -> Iterator[Site]:
    """Two worlds with the same project, one of them on the server that `make` makes of its file."""
    settings = {"write": "sql", "drawings_unseen": "closed", **options}
    world = new_world(folder / "server", synapse, dcf, **settings)
    file = new_world(folder / "file", synapse, dcf, **settings)
    server = make(world.dcf)
    with server.endpoint() as endpoint:
        world.configure(source=url_for(endpoint, driver))
        made = Site(server, endpoint, world, file)
        made.grant()
        yield made
        assert not endpoint.unexpected, endpoint.unexpected[:3]


def shown(world: World) -> list[dict[str, Any]]:
    """The assets without what differs between two SYNAPSE projects, nor when a row was saved."""
    kept_fields = ("tag", "asset_type", "asset_subtype", "description", "plant3d_id", "version")
    return sorted(
        (
            {name: one[name] for name in kept_fields}
            | {name: text for name, text in one["attributes"].items() if name != "plant3d_updated_at"}
            for one in world.assets()
        ),
        key=lambda one: (one["plant3d_id"] or "", one["tag"]),
    )


def equipment(world: World, count: int) -> list[int]:
    return [item.pnpid for item in world.items("equipment")[:count]]


def saved(pnpid: int, text: str) -> list[str]:
    """What Plant 3D sends when a description is saved."""
    return [
        f"UPDATE [dbo].[EngineeringItems] SET [Description] = N'{text}' WHERE [PnPID] = {pnpid}",
        "UPDATE [dbo].[PnPBase] SET [PnPTimestamp] = [PnPTimestamp] + 10000000, [PnPRevision] = [PnPRevision] + 1 "
        f"WHERE [PnPID] = {pnpid}",
    ]


def test_doctor_finds_nothing_to_repair_and_inspect_tells_what_it_tells_of_the_file(site: Site) -> None:
    checks = site.world.cli("doctor", NAME).json["checks"]
    bad = [one for one in checks if one["result"] not in ("ok", "skipped", "warning")]
    assert bad == []
    assert [one["result"] for one in checks if one["check"] == "rights"] == ["ok"]
    seen = [
        world.cli("inspect", str(world.options.get("source", world.dcf))).json
        for world in (site.world, site.file)
    ]
    assert seen[0]["engine"] == "sqlserver"
    for name in ("version", "classes_declared", "classes", "custom_columns", "drawings", "relations", "tags"):
        assert seen[0][name] == seen[1][name], name
    assert seen[0]["findings"] == seen[1]["findings"]


@pytest.mark.long
def test_a_dirty_project_is_planned_as_the_file_is(
    tmp_path: Path, samples: Path, synapse: RunningSynapse, driver: str
) -> None:
    dcf = tmp_path / "dirty.dcf"
    dcf.write_bytes(template(samples, items=200, dirty=0.05).read_bytes())
    as_a_server_holds_it(dcf)
    for site in site_on(tmp_path, dcf, synapse, driver):
        plans = [ok(world.cli("plan", NAME)) for world in (site.world, site.file)]
        for name in ("stats", "by_entity", "coverage", "findings_by_code", "planned_writes", "guards"):
            assert plans[0][name] == plans[1][name], name
        assert plans[0]["stats"]["findings"] > 5, "a sample without findings proves little"


def test_a_second_pull_writes_nothing_and_no_pull_touches_the_database(site: Site) -> None:
    before = kept(site.world)
    first, _ = site.world.pulled(), site.file.pulled()
    assert first["stats"]["created"] > 20
    assert shown(site.world) == shown(site.file)
    assert site.world.pulled("--full")["writes"] == {"synapse": 0, "plant3d": 0}
    assert changed_cells(before, site.world.dcf) == {}


@pytest.mark.long
def test_edits_of_a_designer_arrive_as_they_do_from_a_file(site: Site) -> None:
    for world in (site.world, site.file):
        world.pulled()
    for pnpid, text in zip(equipment(site.world, 3), ("Pompe n° 1 à l''eau", "🙂 emoji", "?"), strict=True):
        for statement in saved(pnpid, text):
            site.on_both(statement)
    reports = [world.pulled() for world in (site.world, site.file)]
    assert [one["stats"]["updated"] for one in reports] == [3, 3]
    assert shown(site.world) == shown(site.file)


def test_texts_of_every_kind_are_pushed_and_nothing_else_changes(site: Site) -> None:
    site.world.pulled()
    before, items = kept(site.world), equipment(site.world, len(TEXTS))
    for pnpid, text in zip(items, TEXTS, strict=True):
        user_describes(site.world, pnpid, text)
    assert push(site.world)["writes"]["plant3d"] == len(TEXTS)
    cells = changed_cells(before, site.world.dcf)
    assert {key[1]: value for key, value in values_only(cells).items()} == dict(
        zip(items, TEXTS, strict=True)
    )
    assert stamped(cells) == set(items)
    at_rest(site.world)
    parsed = {sql for sql, _ in site.endpoint.statements if "[dbo]" in sql or "HAS_PERMS" in sql}
    assert any("UPDATE [dbo]" in sql for sql in parsed)
    assert transact_sql(";\n".join(sorted(parsed)) + ";\n")


def test_a_text_longer_than_one_parameter_is_compared_pushed_and_undone_whole(site: Site) -> None:
    """4,000 units of UTF-16 are one: of a longer text FreeTDS' ODBC driver sends just so many, without a word."""
    old = ["🙂" * 2500, "x" + "🙂" * 3999, None, ""]
    new = ["y" * 4000, "🙂" * 4000, "z🙂" * 2000, "it's " + "?" * 3995]
    items = equipment(site.world, len(old))
    ends = []
    for world in (site.world, site.file):
        world.change("UPDATE PnPProperties SET Length = 9000 WHERE PropertyName = 'Description'")
        for pnpid, text in zip(items, old, strict=True):
            world.change("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", text, pnpid)
        world.pulled()
        for pnpid, text in zip(items, new, strict=True):
            user_describes(world, pnpid, text)
        pushed = push(world)
        assert [cell(world, pnpid) for pnpid in items] == new
        done = world.apply(undone(world, pushed["run_id"])["plan_id"])
        assert [cell(world, pnpid) for pnpid in items] == old
        ends.append((told(pushed)["writes"], done.code, done.json["writes"]))
    assert ends[0] == ends[1]


def test_an_emptied_description_is_written_without_a_question_under_the_lock(site: Site) -> None:
    """Of a parameter that is NULL, Microsoft's driver asks the server for the type."""
    site.world.pulled()
    _, pnpid = equipment(site.world, 2)
    user_describes(site.world, pnpid, "")
    assert push(site.world)["writes"]["plant3d"] == 1
    assert cell(site.world, pnpid) is None
    begun = [sql for sql, _ in site.endpoint.statements]
    under = begun[len(begun) - begun[::-1].index("BEGIN TRANSACTION") :]
    assert not any("sp_describe" in sql for sql in under), under


def test_where_transactions_begin_by_themselves_a_push_is_written_for_everybody(site: Site) -> None:
    """`user options` may say so for connections of DB-Library; two have begun then, and one COMMIT ends none."""
    site.server.implicit = True
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "for everybody")
    assert push(site.world)["writes"]["plant3d"] == 1
    assert cell(site.world, pnpid) == "for everybody"
    assert site.endpoint.transactions == [], "a driver's own way to begin or to end has no limit everywhere"


def transact_sql(text: str) -> bool:
    """Whether Microsoft's parser takes it; True where that is not installed."""
    parser = shutil.which("maxdop", path=str(Path(sys.executable).parent)) or shutil.which("maxdop")
    if parser is None:
        return True
    command = [parser, "--parser-version", "2019"]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False).returncode == 0


@pytest.mark.long
def test_a_conflict_is_asked_through_three_runs_and_arrives_when_it_is_decided(site: Site) -> None:
    site.world.configure(conflict={"policy": "ask"})
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    site.designer(*saved(pnpid, "the designer''s"))
    user_describes(site.world, pnpid, "the user's")
    for _ in range(3):
        now(site.world, code=3)
        assert len(site.world.conflicts()) == 1
    (found,) = ok(site.world.cli("conflicts", NAME))["items"]
    ok(site.world.cli("resolve", found["id"], "synapse"))
    now(site.world)
    assert cell(site.world, pnpid) == description(site.world, pnpid) == "the user's"
    at_rest(site.world)


def test_an_undo_puts_back_what_was_pushed_but_for_what_was_edited_since(site: Site) -> None:
    items = equipment(site.world, 3)
    before = [cell(site.world, pnpid) for pnpid in items]
    runs = []
    for world in (site.world, site.file):
        world.pulled()
        for pnpid in items:
            user_describes(world, pnpid, f"pushed {pnpid}")
        runs.append(push(world)["run_id"])
    for statement in saved(items[2], "the designer went on"):
        site.on_both(statement)
    ends = []
    for world, run in zip((site.world, site.file), runs, strict=True):
        done = world.apply(undone(world, run)["plan_id"])
        assert done.json["writes"]["plant3d"] == 2, done.out
        assert [cell(world, pnpid) for pnpid in items] == [*before[:2], "the designer went on"]
        ends.append((done.code, done.json["outcome"]))
    assert ends[0] == ends[1]


@pytest.mark.long
def test_a_read_that_is_cut_anywhere_writes_nothing_and_the_next_run_is_whole(site: Site) -> None:
    seen: list[str] = []
    site.server.before = seen.append
    ok(site.world.cli("plan", NAME))
    site.server.before = lambda _sql: None
    reads = [sql for sql in dict.fromkeys(seen) if sql.startswith("SELECT")]
    for sql in reads[:: max(1, len(reads) // 10)][:10]:
        site.server.instead = {sql: Drop()}.get
        assert site.world.pull().code == 75
    site.server.instead = {}.get
    assert site.world.writes() == 0
    site.world.pulled()
    site.file.pulled()
    assert shown(site.world) == shown(site.file)


def test_a_login_that_may_only_read_pulls_and_its_push_writes_nothing(site: Site) -> None:
    site.server.rights.updates = set()
    site.world.pulled()
    before, (pnpid,) = kept(site.world), equipment(site.world, 1)
    user_describes(site.world, pnpid, "nobody may write this")
    pushed = site.world.cli("push", NAME)
    assert pushed.code != 0, pushed.out
    assert (
        "GRANT UPDATE ON OBJECT::[dbo].[EngineeringItems] ([Description])"
        in site.world.cli("doctor", NAME).out
    )
    assert changed_cells(before, site.world.dcf) == {}
    site.grant()
    assert push(site.world)["writes"]["plant3d"] == 1


def test_the_grant_script_is_enough_to_write_and_lets_no_other_column_through(site: Site) -> None:
    """Nor does anything ask for what a hardened server shows to administrators only (`sys.dm_exec_sessions`)."""
    denied = ServerError(297, "The user does not have permission to perform this action.")
    site.server.instead = lambda sql: denied if "dm_exec" in sql or "transaction_isolation" in sql else None
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "by the script")
    assert push(site.world)["writes"]["plant3d"] == 1
    with pytest.raises(Exception, match="UPDATE permission"):
        site.designer(f"UPDATE [dbo].[EngineeringItems] SET [Supplier] = N'x' WHERE [PnPID] = {pnpid}")


@pytest.mark.long
def test_a_login_with_rights_too_many_writes_only_where_the_project_names_it(site: Site) -> None:
    site.server.rights = Rights(updates=None, powers=frozenset({"db_owner"}))
    site.world.pulled()
    before, (pnpid,) = kept(site.world), equipment(site.world, 1)
    user_describes(site.world, pnpid, "by a strong login")
    refused = site.world.cli("push", NAME)
    assert (refused.code, "login_too_strong" in refused.out) == (78, True), refused.out
    assert changed_cells(before, site.world.dcf) == {}
    site.world.configure(allow_strong_login="reader")
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_deadlock_told_in_another_language_lets_the_cell_wait_until_the_next_push(site: Site) -> None:
    """The transaction is gone, and the driver's own ROLLBACK meets words it does not know."""
    site.world.pulled()
    before, (pnpid,) = kept(site.world), equipment(site.world, 1)
    user_describes(site.world, pnpid, "after the deadlock")
    victims: list[str] = []

    def french(sql: str) -> Answer | None:
        if "UPDATE [dbo].[PnPBase]" in sql:
            victims.append(sql)
            return ServerError(1205, "La transaction a été bloquée", 13)
        if victims and "ROLLBACK" in sql:
            return ServerError(3903, "La requête ROLLBACK TRANSACTION n'a pas de BEGIN", 16)
        return None

    site.server.instead = french
    said = site.world.cli("push", NAME)
    assert victims, "no statement met the deadlock"
    assert said.code == 3, said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert changed_cells(before, site.world.dcf) == {}
    site.server.instead = lambda _sql: None
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_read_may_last_longer_than_its_deadline_while_rows_come(office: Site) -> None:
    """Each statement is answered within the deadline; together they take longer, and rows moved its end."""
    slow: list[str] = []

    def late(sql: str) -> None:
        if re.search(r"FROM \[dbo\]\.\[PnP(RoleTypes|Sys_|TableAttributes)", sql) and "COUNT_BIG" not in sql:
            slow.append(sql)
            time.sleep(0.6)

    office.server.before = late
    ok(office.world.cli("now", NAME, env={"P3DSYNC_SOURCE_DEADLINE_SECONDS": "1"}))
    assert len(slow) >= 3, "the read was no longer than its deadline"


# ---------------------------------------------------------------- a database that is not as Plant 3D made it


def only_reads_refused(site: Site, code: str) -> str:
    """A push that writes nothing; what it said."""
    before = kept(site.world)
    said = site.world.cli("push", NAME)
    assert said.code != 0, said.out
    assert code in said.out + said.err, said.out + said.err
    assert changed_cells(before, site.world.dcf) == {}
    assert "Traceback" not in said.out + said.err
    return said.out + said.err


def test_a_read_only_database_is_read_and_the_push_says_why_it_wrote_nothing(site: Site) -> None:
    site.server.updateability = "READ_ONLY"
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits for the primary")
    said = only_reads_refused(site, "source_read_only")
    assert "READ_WRITE" in said
    assert not any(sql.startswith("UPDATE") for sql, _ in site.endpoint.statements), "it was not even tried"
    (check,) = [
        one
        for one in site.world.cli("doctor", NAME).json["checks"]
        if one["check"] == "rights" and one["result"] == "failed"
    ]
    assert "read-only" in check["message"]
    site.server.updateability = "READ_WRITE"
    assert push(site.world)["writes"]["plant3d"] == 1


def test_a_database_that_becomes_read_only_in_mid_push_lets_the_cells_wait(site: Site) -> None:
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits")
    became = ServerError(3906, "Failed to update database because the database is read-only.")
    site.server.instead = lambda sql: became if sql.startswith("UPDATE") else None
    only_reads_refused(site, "source_read_only")
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 1


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (9002, "full"),
        (983, "replica"),
        (596, "ended"),
        (701, "memory"),
        (927, "restored"),
        (3952, "isolation"),
        (3967, "isolation"),
    ],
)
def test_a_server_that_cannot_write_now_lets_the_cells_wait_and_says_why(
    site: Site, number: int, word: str
) -> None:
    """The log is full, the availability group fails over, an administrator ends the session: no fault of the cell, so no
    quarantine with waits that grow.
    """
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits")
    moment = ServerError(number, "what the server says of its moment")
    site.server.instead = lambda sql: moment if sql.startswith("UPDATE") else None
    assert word in only_reads_refused(site, "source_away")
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 1


def told(report: dict[str, Any]) -> dict[str, Any]:
    """What a run says that does not depend on where the project is kept."""
    return {name: report[name] for name in ("stats", "findings_by_code", "writes", "errors", "guards")}


def both_run(site: Site) -> dict[str, Any]:
    """A run of each: they say the same, and SYNAPSE holds the same after it."""
    on_server, on_file = (world.cli("now", NAME) for world in (site.world, site.file))
    assert (on_server.code, told(on_server.json)) == (on_file.code, told(on_file.json))
    assert shown(site.world) == shown(site.file)
    return told(on_server.json)


def test_a_database_restored_under_the_service_is_compared_as_a_restored_file_is(site: Site) -> None:
    both_run(site)
    backups = [(world, kept(world)) for world in (site.world, site.file)]
    for pnpid in equipment(site.world, 3):
        for statement in saved(pnpid, "after the backup"):
            site.on_both(statement)
    assert both_run(site)["writes"]["synapse"] == 3
    for world, backup in backups:
        with closing(sqlite3.connect(backup)) as old, closing(sqlite3.connect(world.dcf)) as db:
            old.backup(db)
    assert [both_run(site)["stats"]["conflicts"] for _ in range(2)] == [3, 3]


def test_texts_that_the_collation_takes_for_equal_are_not(site: Site) -> None:
    """Tags that differ in case or in a blank at the end, and a text pushed over one that differs in case only."""
    both_run(site)
    first, lower, blank, other = equipment(site.world, 4)
    for world in (site.world, site.file):
        (row,) = world.sql("SELECT Tag FROM Equipment WHERE PnPID = ?", first)
        world.change("UPDATE Equipment SET Tag = ? WHERE PnPID = ?", row[0].lower(), lower)
        world.change("UPDATE Equipment SET Tag = ? WHERE PnPID = ?", f"{row[0]} ", blank)
    for statement in [*saved(lower, "x"), *saved(blank, "blanks at its end  "), *saved(other, "leading")]:
        site.on_both(statement)
    found = both_run(site)["findings_by_code"]
    assert (found["look_alike_tag"], found["duplicate_tag"]) == (2, 2)
    for text in ("Leading", "LEADING"):
        for world in (site.world, site.file):
            user_describes(world, other, text)
        assert both_run(site)["writes"]["plant3d"] == 1
        assert cell(site.world, other) == cell(site.file, other) == text


def test_a_column_that_is_renamed_and_named_back_between_two_runs_costs_nothing(site: Site) -> None:
    both_run(site)
    kinds, table = site.server.kinds, "engineeringitems"
    kinds[table, "beschreibung"] = kinds[table, "description"]
    for was, named, missing in (("Description", "Beschreibung", 1), ("Beschreibung", "Description", 0)):
        for world in (site.world, site.file):
            world.change(f"ALTER TABLE EngineeringItems RENAME COLUMN {was} TO {named}")
        said = both_run(site)
        assert (said["findings_by_code"].get("column_missing", 0), said["writes"]["synapse"]) == (missing, 0)


def test_a_server_that_goes_away_in_mid_push_is_asked_once_more_and_not_by_each_item(site: Site) -> None:
    site.world.pulled()
    items = equipment(site.world, 5)
    for number, pnpid in enumerate(items):
        user_describes(site.world, pnpid, f"text {number}")
    after: list[str] = []

    def away(sql: str) -> Answer | None:
        if after or sql.startswith("UPDATE"):
            after.append(sql)
            return Drop()
        return None

    site.server.instead = away
    only_reads_refused(site, "connection_lost")
    assert len(after) == 2, "the one that lost it, and one question whether it is there"
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 5


def test_a_refused_login_is_tried_once_a_run_and_once_for_its_cause(site: Site) -> None:
    """A password that was changed on the server and not here yet: six tries a run would lock the account by the first."""
    site.world.pulled()
    site.endpoint.login_error = ServerError(18456, "Login failed for user 'reader'.", 14)
    for words in (("now", NAME), ("push", NAME), ("pull", NAME)):
        del site.endpoint.logins[:]
        refused = site.world.cli(*words)
        assert (refused.code, refused.json["error"]["code"]) == (78, "source_login_failed")
        assert [login.database.lower() for login in site.endpoint.logins] == ["mine_pnid", "master"]


@pytest.mark.parametrize(("number", "code"), [(9002, "source_away"), (1205, "source_locked")])
def test_a_commit_that_fails_leaves_no_transaction_open_and_is_never_told_as_written(
    site: Site, number: int, code: str
) -> None:
    """What the server leaves open would show the new value to whoever looks through the same session."""
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "committed by the second run")
    written: list[str] = []

    def at_commit(sql: str) -> Answer | None:
        if sql.startswith("UPDATE"):
            written.append(sql)
        return ServerError(number, "said at COMMIT") if written and sql.startswith("COMMIT") else None

    site.server.instead = at_commit
    only_reads_refused(site, code)
    site.server.instead = {}.get
    assert now(site.world)["writes"]["plant3d"] == 1
    assert cell(site.world, pnpid) == "committed by the second run"
    at_rest(site.world)


def test_a_login_that_is_refused_in_mid_push_is_not_tried_again_by_each_item(site: Site) -> None:
    """Its password was changed and its sessions ended: a try for each item would lock the account. One more asks for the
    cause.
    """
    site.world.pulled()
    items = equipment(site.world, 5)
    for number, pnpid in enumerate(items):
        user_describes(site.world, pnpid, f"text {number}")
    before: list[int] = []

    def away(sql: str) -> Answer | None:
        if not sql.startswith("UPDATE"):
            return None
        before.append(len(site.endpoint.logins))
        site.endpoint.login_error = ServerError(18456, "Login failed for user 'reader'.", 14)
        return Drop()

    site.server.instead = away
    only_reads_refused(site, "source_login_failed")
    assert [login.database.lower() for login in site.endpoint.logins[before[0] :]] == ["mine_pnid", "master"]
    site.server.instead, site.endpoint.login_error = {}.get, None
    assert push(site.world)["writes"]["plant3d"] == 5


@pytest.mark.parametrize("number", [4060, 976, 18401, 945])
def test_a_server_that_lets_no_writer_in_now_is_tried_again(site: Site, number: int) -> None:
    """Between the reading, which worked, and the writing."""
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "waits")
    moment = ServerError(number, "what the server says of its moment")
    site.server.instead = lambda sql: moment if sql == write_sqlserver.TABLE_NAMES else None
    only_reads_refused(site, "source_away")
    assert site.world.cli("push", NAME).code == 75
    site.server.instead = {}.get
    assert push(site.world)["writes"]["plant3d"] == 1


@pytest.mark.parametrize("why", ["is_computed", "is_identity"])
def test_a_column_that_the_server_makes_is_not_written_and_doctor_says_so(site: Site, why: str) -> None:
    """The other cells go on."""
    site.server.fixed = {("EngineeringItems", "Description"): why}
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    checks = [one for one in site.world.cli("doctor", NAME).json["checks"] if one["check"] == "rights"]
    assert [one["result"] for one in checks] == ["warning", "ok"], checks
    assert "EngineeringItems.Description" in checks[0]["message"]
    user_describes(site.world, pnpid, "nobody can write this")
    only_reads_refused(site, "column_fixed")
    assert not any(sql.startswith("UPDATE") and "[Description]" in sql for sql, _ in site.endpoint.statements)


def test_a_view_in_a_tables_place_is_read_as_the_table_and_never_written(
    tmp_path: Path, small: Path, synapse: RunningSynapse, driver: str
) -> None:
    """Beside it lies a view as Plant 3D makes them, which nobody reads."""
    dcf = tmp_path / "with-view.dcf"
    shutil.copyfile(small, dcf)
    with closing(sqlite3.connect(dcf)) as db:
        db.execute("ALTER TABLE EngineeringItems RENAME TO EngineeringItemsData")
        db.execute("CREATE VIEW EngineeringItems AS SELECT * FROM EngineeringItemsData")
        db.execute("CREATE VIEW Equipment_PNP AS SELECT * FROM Equipment")
    world = new_world(tmp_path / "server", synapse, dcf, write="sql", drawings_unseen="closed")
    file = new_world(tmp_path / "file", synapse, small, write="sql", drawings_unseen="closed")
    server = TsqlServer(world.dcf)
    with server.endpoint() as endpoint:
        world.configure(source=url_for(endpoint, driver))
        site = Site(server, endpoint, world, file)
        site.grant()
        world.pulled()
        file.pulled()
        assert shown(world) == shown(file)
        assert not any("Equipment_PNP" in sql for sql, _ in endpoint.statements)
        asset = world.assets()[0]
        world.user_edits(asset["id"], description="into the view")
        only_reads_refused(site, "column_fixed")
        assert "its table is a view" in world.cli("doctor", NAME).out
        assert not endpoint.unexpected, endpoint.unexpected[:3]


def test_on_a_case_sensitive_server_every_name_is_spelled_as_it_was_made(site: Site) -> None:
    site.server.case_sensitive = True
    site.world.pulled()
    site.file.pulled()
    assert shown(site.world) == shown(site.file)
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "in exact letters")
    run = push(site.world)
    assert run["writes"]["plant3d"] == 1
    assert site.world.apply(undone(site.world, run["run_id"])["plan_id"]).json["writes"]["plant3d"] == 1
    assert [one for one in site.world.cli("doctor", NAME).json["checks"] if one["result"] == "failed"] == []


def test_an_emoji_cut_in_half_costs_its_cell_and_nothing_else(site: Site) -> None:
    """As nvarchar(255) cuts it; the same as from the file, with both drivers."""
    (pnpid,) = equipment(site.world, 1)
    cut = "cut \ud83d".encode("utf-8", "surrogatepass")
    for world in (site.world, site.file):
        world.change("UPDATE EngineeringItems SET Description = CAST(? AS TEXT) WHERE PnPID = ?", cut, pnpid)
    seen = [world.pull() for world in (site.world, site.file)]
    assert [one.code for one in seen] == [0, 0], seen[0].out + seen[0].err
    assert shown(site.world) == shown(site.file)
    codes = [[one["code"] for one in world.findings("invalid_utf8")] for world in (site.world, site.file)]
    assert codes[0] == codes[1] != []


def test_where_snapshots_are_allowed_saves_in_mid_read_are_seen_one_run_later(site: Site) -> None:
    with closing(sqlite3.connect(site.world.dcf)) as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    site.server.snapshots = True
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    before, saves = description(site.world, pnpid), [0]

    def designer(sql: str) -> None:
        if "[EngineeringItems]" in sql and not saves[0]:
            saves[0] += 1
            site.designer(*saved(pnpid, "saved in mid-read"))

    site.server.rights.updates = None
    site.world.configure(write="off")
    site.server.before = designer
    site.world.pulled("--full")
    assert (saves[0], description(site.world, pnpid)) == (1, before), "one moment, the one of the beginning"
    assert site.world.findings("item_unsettled") == []
    site.world.pulled()
    assert description(site.world, pnpid) == "saved in mid-read"


# ---------------------------------------------------------------- every statement may be the one that is held up


def kind_of(sql: str) -> str:
    """The statement without its names, numbers and texts, lists of columns shortened to one."""
    bare = re.sub(r"\[(?:[^\]]|\]\])+\]|@P\d+|N?'(?:[^']|'')*'|\b-?\d+\b", "_", " ".join(sql.split()))
    bare = re.sub(r"(?:AS )?_(?:\._)*", "_", bare)
    return re.sub(r"((?:CAST\()?_[^,]{0,40}, )+", "_, ", bare)[:160]


def kinds_sent(site: Site) -> dict[str, tuple[str, ...]]:
    """What a doctor and a run that writes both ways send to the database, each kind once, and the command that sends it."""
    passing = re.compile(r"USE |.*sp_datatype_info", re.IGNORECASE)
    found: dict[str, tuple[str, ...]] = {}
    user_describes(site.world, equipment(site.world, 1)[0], "first")
    for words in (("doctor", NAME), ("now", NAME)):
        del site.endpoint.statements[:]
        site.world.cli(*words)
        sent = [sql for sql, _ in site.endpoint.statements if not passing.match(sql)]
        found |= {kind_of(sql): words for sql in sent}
    assert len(found) > 12, found
    return found


def every_kind(site: Site, answer: Answer, *, part: int = 0, parts: int = 1) -> None:
    """Answer one kind of statement after the other so: every command ends, in words; then all is as it should be."""
    site.world.pulled()
    pnpid = equipment(site.world, 1)[0]
    for number, (kind, words) in enumerate(list(kinds_sent(site).items())[part::parts]):
        user_describes(site.world, pnpid, f"text {number}")
        met: list[str] = []

        def held(sql: str, kind: str = kind, met: list[str] = met) -> Answer | None:
            if kind_of(sql) != kind:
                return None
            met.append(sql)
            return answer

        site.server.instead = held
        said = site.world.cli(*words)
        assert said.code in (0, 3, 75, 78), (kind, said.code, said.out)
        assert "Traceback" not in said.err + said.out
        assert met, kind
        site.server.instead = {}.get
    user_describes(site.world, pnpid, "last")
    now(site.world)
    assert cell(site.world, pnpid) == description(site.world, pnpid) == "last"
    at_rest(site.world)


@pytest.mark.long
@pytest.mark.parametrize("number", [1205, 1222])
def test_a_lock_or_a_deadlock_that_any_statement_meets_is_waited_out(site: Site, number: int) -> None:
    every_kind(site, ServerError(number, "Lock request time out period exceeded, or a deadlock."))


@pytest.mark.long
def test_a_connection_that_is_cut_at_any_statement_as_when_the_server_restarts_is_made_again(
    site: Site,
) -> None:
    every_kind(site, Drop())


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
def test_a_server_that_falls_silent_at_any_statement_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(write_sqlserver, "STATEMENT_SECONDS", 1)
    limits = sqlserver_drivers.DEFAULT_LIMITS  # of doctor's questions
    before = msgspec.structs.asdict(limits)
    for name, value in (("login", 5), ("statement", 1), ("lock_ms", 500)):
        msgspec.structs.force_setattr(limits, name, value)
    site.world.env["P3DSYNC_SOURCE_DEADLINE_SECONDS"] = "1"
    try:
        every_kind(site, Stall(attention=True), part=part, parts=3)
    finally:
        for name, value in before.items():
            msgspec.structs.force_setattr(limits, name, value)


# ---------------------------------------------------------------- while people work


@dataclass
class Designers:
    """Clients that save through the driver while runs go on: two columns in two tables, and a stamp by their own clock."""

    site: Site
    items: list[int]
    every: float
    saves: int = 0

    def __enter__(self) -> Designers:
        self.over, self.counting, self.failed = threading.Event(), threading.Lock(), []
        self.threads = [
            threading.Thread(target=self._save_on, args=(behind,), daemon=True) for behind in (0, HOUR)
        ]
        for one in self.threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for one in self.threads:
            one.join(30)
        assert self.failed == []

    def _save_on(self, behind: int) -> None:
        dice = random.Random(behind)
        with connected(parse_address(self.site.world.options["source"])) as connection:
            while not self.over.wait(self.every):
                with self.counting:
                    self.saves += 1
                    word = f"state {self.saves}"
                pnpid = dice.choice(self.items)
                try:
                    for statement in (
                        "BEGIN TRANSACTION",
                        f"UPDATE [dbo].[EngineeringItems] SET [Manufacturer] = N'{word}' WHERE [PnPID] = {pnpid}",
                        f"UPDATE [dbo].[Equipment] SET [EquipmentSpec] = N'{word}' WHERE [PnPID] = {pnpid}",
                        f"UPDATE [dbo].[PnPBase] SET [PnPTimestamp] = [PnPTimestamp] - {behind} + {self.saves}, "
                        f"[PnPRevision] = [PnPRevision] + 1 WHERE [PnPID] = {pnpid}",
                        "COMMIT TRANSACTION",
                    ):
                        connection.cursor().execute(statement)
                except Exception as error:  # noqa: BLE001 - told at the end, by the test
                    self.failed.append(repr(error))
                    return


def mixtures(world: World) -> list[Any]:
    """Assets that hold half of one save and half of another."""
    pairs = [(one["attributes"].get("manufacturer"), one["attributes"].get("spec")) for one in world.assets()]
    return [pair for pair in pairs if str(pair[0]).startswith("state") and pair[0] != pair[1]]


def prepared(site: Site, count: int) -> list[int]:
    """Items whose two columns begin equal."""
    items = equipment(site.world, count)
    for pnpid in items:
        for world in (site.world, site.file):
            world.change("UPDATE EngineeringItems SET Manufacturer = 'state 0' WHERE PnPID = ?", pnpid)
            world.change("UPDATE Equipment SET EquipmentSpec = 'state 0' WHERE PnPID = ?", pnpid)
    site.server.rights.updates = None
    site.world.configure(write="off")
    return items


@pytest.mark.long
def test_two_clients_an_hour_apart_save_200_times_during_runs_and_no_asset_is_a_mixture(office: Site) -> None:
    items = prepared(office, 6)
    runs = 0
    with Designers(office, items, every=0.05) as designers:
        while designers.saves < 200 or runs < 5:
            said = office.world.pull()
            assert said.code in (0, 3), said.out  # 3: what it names was left for the next run
            assert mixtures(office.world) == []
            runs += 1
    office.world.pulled()
    assert mixtures(office.world) == []
    for pnpid in items:
        asset = office.world.asset_of(pnpid)["attributes"]
        ((maker,),) = office.world.sql("SELECT Manufacturer FROM EngineeringItems WHERE PnPID = ?", pnpid)
        assert asset["manufacturer"] == asset["spec"] == maker
    assert office.world.pulled("--full")["writes"] == {"synapse": 0, "plant3d": 0}


@pytest.mark.long
def test_with_a_save_every_second_each_of_five_runs_ends_complete_but_for_what_it_names(office: Site) -> None:
    items = prepared(office, 6)
    office.world.pulled()
    with Designers(office, items, every=1.0) as designers:
        for _ in range(5):
            report = office.world.pulled("--full")
            named = {one["pnpid"] for one in office.world.findings("item_unsettled")}
            assert report["stats"]["errors"] == 0
            assert report["stats"]["total"] + len(named) >= len(office.world.assets())
            assert mixtures(office.world) == []
            designers.over.wait(1.0)
        assert designers.saves > 0
    office.world.pulled()
    assert mixtures(office.world) == []


# ---------------------------------------------------------------- a backup by the server


def test_a_backup_that_the_server_never_answers_ends_with_the_runs_deadline(site: Site) -> None:
    site.world.configure(backups="D:\\backups")
    site.server.rights.powers = frozenset({"BACKUP DATABASE"})
    site.world.pulled()
    before, (pnpid,) = kept(site.world), equipment(site.world, 1)
    user_describes(site.world, pnpid, "kept for later")
    request = Request(asked=Asked(direction=Direction.BOTH), deadline=time.monotonic() + 600)

    def silent(sql: str) -> Answer | None:
        if not sql.startswith("BACKUP DATABASE ["):
            return None
        msgspec.structs.force_setattr(
            request, "deadline", time.monotonic() + 1
        )  # met while it waits, not before
        return Stall()

    site.server.instead = silent
    with patch.dict(os.environ, site.world.environment({})):
        app = make_app(site.world.config)
        with pytest.raises(RetryLaterError) as late:
            Engine(app.world(), app.project(NAME)).run(request)
        app.state.close()
    assert late.value.error_code == "deadline"
    assert any(sql.startswith("BACKUP DATABASE [") for sql, _ in site.endpoint.statements)
    assert changed_cells(before, site.world.dcf) == {}
    site.server.instead = {}.get
    site.world.configure(backups=None)
    assert push(site.world)["writes"]["plant3d"] == 1
