"""Rows of `PnPBase` of links and registry entries, which are counted by the server instead of being read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.connectors.plant3d.reading.sqlserver_links import counting_statement
from tests.support.dcf import Dcf
from tests.support.mssql import DRIVERS, url_for
from tests.support.plant_server import PlantServer
from tests.support.tds_endpoint import Answer, ServerError, TdsEndpoint

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]

LINKS = ("pnpdatalinks", "pnptagregistry")


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    built = Dcf(tmp_path / "ProcessPower.dcf")
    first, second = (built.add("PnPDrawings", PnPType="DWG", PnID=f"PID-{n}") for n in (1, 2))
    pumps = [built.add("CentrifugalPump", Tag=f"P-{n}") for n in range(4)]
    built.draw(first, *pumps[:2])
    built.draw(second, *pumps[2:])
    for n, pump in enumerate(pumps):
        built.register(f"P-{n}", pump)
    return built


def served(
    dcf: Dcf, prepare: Callable[[PlantServer, TdsEndpoint], None] = lambda *_: None
) -> Iterator[TdsEndpoint]:
    server = PlantServer(dcf.path)
    with TdsEndpoint(server) as endpoint:
        prepare(server, endpoint)
        yield endpoint


def read(endpoint: TdsEndpoint, driver: str) -> Snapshot:
    snapshot = open_source(url_for(endpoint, driver)).snapshot()
    assert isinstance(snapshot, Snapshot)
    return snapshot


def told(snapshot: Snapshot) -> dict[str, Any]:
    """Everything that depends on rows of links, and closes the snapshot."""
    with snapshot:
        items = [item for batch in snapshot.scan(["CentrifugalPump"], {}) for item in batch.changed]
        return {
            "items": [(item.pnpid, item.drawing) for item in items],
            "findings": sorted((f.code, f.message, f.pnpid) for f in snapshot.findings()),
            "classes": {name: count for name, count in snapshot.class_counts().items() if count},
            "identity": (snapshot.identity.rows, snapshot.identity.newest_timestamp),
        }


def rows_of(dcf: Dcf, link: str) -> list[int]:
    return [pnpid for (pnpid,) in dcf.sql(f'SELECT "PnPID" FROM "{link}" ORDER BY 1')]


def asked_whole(endpoint: TdsEndpoint) -> list[str]:
    """Statements that bring rows of `PnPBase` of a link class."""
    return [
        sql
        for sql, _ in endpoint.statements
        if "[PnPGuid]" in sql and "FROM [dbo].[PnPBase]" in sql and "[PnPClassName] IN" in sql
    ]


def test_the_rows_of_a_sound_project_are_counted_and_none_of_them_is_read(dcf: Dcf, driver: str) -> None:
    for endpoint in served(dcf):
        assert told(read(endpoint, driver)) == told(open_source(dcf.path).snapshot())
        assert counting_statement(LINKS) in [sql for sql, _ in endpoint.statements]
        assert asked_whole(endpoint) == []


def drop_row(dcf: Dcf) -> None:
    dcf.sql('DELETE FROM "PnPDataLinks" WHERE "PnPID" = ?', rows_of(dcf, "PnPDataLinks")[0])


def drop_base(dcf: Dcf) -> None:
    dcf.sql('DELETE FROM "PnPBase" WHERE "PnPID" = ?', rows_of(dcf, "PnPTagRegistry")[0])


def both_ways(dcf: Dcf) -> None:
    """As many rows as there should be, but not the same ones."""
    first, second = rows_of(dcf, "PnPDataLinks")[:2]
    dcf.sql('DELETE FROM "PnPDataLinks" WHERE "PnPID" = ?', first)
    dcf.sql('DELETE FROM "PnPBase" WHERE "PnPID" = ?', second)


def a_pump_with_the_id_of_a_link(dcf: Dcf) -> None:
    """Two such valves are in a real project [seen: DMPP]."""
    pump, link = rows_of(dcf, "CentrifugalPump")[0], rows_of(dcf, "PnPDataLinks")[1]
    dcf.sql('UPDATE "Pumps" SET "PnPID" = ? WHERE "PnPID" = ?', link, pump)


def a_link_with_the_id_of_a_pump(dcf: Dcf) -> None:
    pump, link = rows_of(dcf, "CentrifugalPump")[0], rows_of(dcf, "PnPDataLinks")[1]
    dcf.sql('UPDATE "PnPDataLinks" SET "PnPID" = ? WHERE "PnPID" = ?', pump, link)


def no_rows_at_all(dcf: Dcf) -> None:
    dcf.sql('DELETE FROM "PnPBase" WHERE "PnPClassName" = \'PnPTagRegistry\'')


def the_newest_row_is_a_link(dcf: Dcf) -> None:
    link = rows_of(dcf, "PnPTagRegistry")[-1]
    dcf.sql('UPDATE "PnPBase" SET "PnPTimestamp" = "PnPTimestamp" + 600000000 WHERE "PnPID" = ?', link)


@pytest.mark.parametrize(
    "damage",
    [
        drop_row,
        drop_base,
        both_ways,
        a_pump_with_the_id_of_a_link,
        a_link_with_the_id_of_a_pump,
        no_rows_at_all,
        the_newest_row_is_a_link,
    ],
)
def test_a_project_with_odd_rows_tells_what_the_file_tells(
    dcf: Dcf, driver: str, damage: Callable[[Dcf], None]
) -> None:
    damage(dcf)
    for endpoint in served(dcf):
        assert told(read(endpoint, driver)) == told(open_source(dcf.path).snapshot())


def test_where_the_server_does_not_count_every_row_is_read(dcf: Dcf, driver: str) -> None:
    def counts_nothing(server: PlantServer, endpoint: TdsEndpoint) -> None:
        server.answers[counting_statement(LINKS)] = ServerError(8115, "Arithmetic overflow")

    for endpoint in served(dcf, counts_nothing):
        assert told(read(endpoint, driver)) == told(open_source(dcf.path).snapshot())
        assert len(asked_whole(endpoint)) == len(LINKS)


def redrawn(server: PlantServer, links: list[int]) -> None:
    """An item moves to the other drawing: its link names that one from now on."""
    server.set("PnPDataLinks", links[0], DwgId=server.tables["PnPDrawings"][1][1][0])


def deleted(server: PlantServer, links: list[int]) -> None:
    server.delete("PnPDataLinks", links[0])
    server.delete("PnPBase", links[0])


def added(server: PlantServer, links: list[int]) -> None:
    base, link = server.row("PnPBase", links[0]), server.row("PnPDataLinks", links[0])
    assert base is not None and link is not None
    server.insert("PnPBase", **{**base, "PnPID": 9000})
    server.insert("PnPDataLinks", **{**link, "PnPID": 9000, "DwgId": server.tables["PnPDrawings"][1][1][0]})


@pytest.mark.parametrize("change", [redrawn, deleted, added])
@pytest.mark.parametrize("when", ["EngineeringItems", "PnPDataLinks", "Pumps", "counted"])
def test_a_link_that_changes_meanwhile_is_as_it_is_at_the_end(
    dcf: Dcf, driver: str, change: Callable[[PlantServer, list[int]], None], when: str
) -> None:
    """`when`: before its table is read, just then, after it, after the server has counted."""
    links, done = rows_of(dcf, "PnPDataLinks"), []

    def prepare(server: PlantServer, endpoint: TdsEndpoint) -> None:
        def work(table: str) -> None:
            if table == when and not done:
                done.append(True)
                change(server, links)
                row = server.row("PnPBase", links[1])
                assert row is not None
                server.set("PnPBase", links[1], PnPRevision=row["PnPRevision"] + 1)

        def answered(sql: str, parameters: tuple[Any, ...]) -> Answer | None:
            answer = server(sql, parameters)
            if sql == counting_statement(LINKS):
                work("counted")
            return answer

        server.before = work
        endpoint.handler = answered

    for endpoint in served(dcf, prepare):
        seen = told(read(endpoint, driver))
        assert done
        assert seen == told(read(endpoint, driver)), "what a reading tells that nobody disturbs"
