"""Whether anything happened on SQL Server is asked in a few rows, and a slot in which nothing did reads no more.

Scripted claims about SQL Server: COUNT_BIG and SUM of decimals are exact; BINARY_CHECKSUM moves when a value of a row
does, but CHECKSUM_AGG of a table need not when rows exchange values. (Microsoft's documentation.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d.reading.sqlserver import DAY, SqlServerSource
from tests.support.dcf import Dcf
from tests.support.mssql import DRIVERS, url_for
from tests.support.plant_server import PlantServer
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import TdsEndpoint
from tests.support.world import NAME, new_world

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    built = Dcf(tmp_path / "ProcessPower.dcf")
    drawing = built.add("PnPDrawings", PnPType="DWG", PnID="PID-1")
    pumps = [built.add("CentrifugalPump", Tag=f"P-{n}", Description=f"Pump {n}", D1=str(n)) for n in range(3)]
    segments = [built.add("Primary", Tag=f"L-{n}") for n in range(2)]
    for segment, pump in zip(segments, pumps, strict=False):
        built.relate("LineStartAsset", Line=segment, Asset=pump)
    built.draw(drawing, *pumps, *segments)
    return built


@pytest.fixture
def server(dcf: Dcf) -> PlantServer:
    return PlantServer(dcf.path)


@pytest.fixture
def endpoint(server: PlantServer) -> Iterator[TdsEndpoint]:
    with TdsEndpoint(server) as listening:
        yield listening


def pumps(server: PlantServer) -> list[int]:
    columns, rows = server.tables["CentrifugalPump"]
    at = [name for name, _ in columns].index("PnPID")
    return sorted(row[at] for row in rows)


def saves(server: PlantServer) -> None:
    """Two designers exchange two texts; the clock of one of them is behind."""
    one, other = pumps(server)[:2]
    for item, text, ticks in ((one, "1", 1000), (other, "0", -1000)):
        server.set("CentrifugalPump", item, D1=text)
        row = server.row("PnPBase", item)
        assert row is not None
        stamp, revision = row["PnPTimestamp"] + ticks, row["PnPRevision"] + 1
        server.set("PnPBase", item, PnPTimestamp=stamp, PnPRevision=revision)


def relations_exchanged(server: PlantServer) -> None:
    """Two lines begin at each other's pump now."""
    columns, rows = server.tables["LineStartAsset"]
    at = [name for name, _ in columns].index("Asset")
    rows[0][at], rows[1][at] = rows[1][at], rows[0][at]


def a_script_writes_without_a_stamp(server: PlantServer) -> None:
    server.set("CentrifugalPump", pumps(server)[0], D1="by a script")


def an_item_goes(server: PlantServer) -> None:
    gone = pumps(server)[0]
    for table in ("PnPBase", "CentrifugalPump"):
        server.delete(table, gone)


def a_column_comes(server: PlantServer) -> None:
    server.columns.append(["CentrifugalPump", "Own", "nvarchar"])
    server.tables["CentrifugalPump"][0].append(("Own", str))
    for row in server.tables["CentrifugalPump"][1]:
        row.append(None)


@pytest.mark.parametrize(
    "move", [saves, relations_exchanged, a_script_writes_without_a_stamp, an_item_goes, a_column_comes]
)
def test_a_look_moves_with_everything_that_moves_and_only_then(
    server: PlantServer, endpoint: TdsEndpoint, driver: str, move: Callable[[PlantServer], None]
) -> None:
    source = SqlServerSource(url_for(endpoint, driver), clock=lambda: 10.0 * DAY)
    before = source.signature()
    assert before and source.signature() == before
    move(server)
    assert source.signature() not in (before, None)


def test_a_look_is_believed_for_a_day_and_no_answer_is_none(endpoint: TdsEndpoint, driver: str) -> None:
    url, now = url_for(endpoint, driver), [10.0 * DAY]
    source = SqlServerSource(url, clock=lambda: now[0], deadline=3)
    before = source.signature()
    now[0] += DAY
    assert source.signature() not in (before, None)
    endpoint.__exit__()
    assert source.signature() is None


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="quiet") as running:
        yield running


def test_a_slot_in_which_nothing_moved_reads_no_table_although_something_waits(
    tmp_path: Path, dcf: Dcf, server: PlantServer, endpoint: TdsEndpoint, driver: str, synapse: RunningSynapse
) -> None:
    server.set("Equipment", pumps(server)[1], Tag="P-0")  # two items with one tag wait for a person
    world = new_world(tmp_path / "world", synapse, dcf.path, source=url_for(endpoint, driver))
    runs = [world.cli("now", NAME) for _ in range(3)]
    del endpoint.statements[:]
    quiet = world.cli("now", NAME)
    assert quiet.json.get("unchanged_source") is True, [each.out for each in (*runs, quiet)]
    assert quiet.json["stats"]["skipped"] == 2, quiet.out
    assert not [sql for sql, _ in endpoint.statements if sql.startswith("SELECT [PnPID]")]
    saves(server)
    assert world.cli("now", NAME).json["unchanged_source"] is False
