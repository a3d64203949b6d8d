"""What happens to a database on SQL Server under the service: clocks, failovers, settings that are switched, other names.

On the executing endpoint (`tests.support.tsql_server`) with both drivers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_sqlserver_journeys import HOUR, Site, equipment, site_on
from tests.support.mssql import DRIVERS
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import Rows
from tests.support.wayback import at_rest, cell, push, small_plant, user_describes
from tests.support.world import NAME

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS[:2])]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="mishaps") as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dcf = tmp_path_factory.mktemp("samples") / "small.dcf"
    small_plant(dcf)
    return dcf


@pytest.fixture
def site(tmp_path: Path, small: Path, synapse: RunningSynapse, driver: str) -> Iterator[Site]:
    yield from site_on(tmp_path, small, synapse, driver)


# ---------------------------------------------------------------- clocks


def stamp(site: Site, pnpid: int) -> int:
    ((ticks,),) = site.world.sql("SELECT PnPTimestamp FROM PnPBase WHERE PnPID = ?", pnpid)
    return int(ticks)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_write_is_never_stamped_ahead_of_the_servers_clock_nor_of_ours(site: Site, hours: int) -> None:
    """A stamp of the future would hide the next save of a designer from everybody whose cache holds ours."""
    site.server.clock_apart = hours * 3600.0
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "stamped")
    assert push(site.world)["writes"]["plant3d"] == 1
    ahead = (stamp(site, pnpid) - site.server.clock_told[-1]) / HOUR
    assert abs(ahead - min(0, -hours)) < 0.1, ahead
    at_rest(site.world)


def test_doctor_tells_of_a_server_whose_clock_is_not_ours(site: Site) -> None:
    def told() -> list[tuple[str, str]]:
        checks = site.world.cli("doctor", NAME).json["checks"]
        return [(one["result"], one["code"] or "") for one in checks if one["check"] == "server clock"]

    assert told() == [("ok", "")]
    site.server.clock_apart = -3600.0
    assert told() == [("warning", "source_clock_skew")]


def test_a_server_that_does_not_tell_its_clock_is_written_to_by_ours(site: Site) -> None:
    site.server.instead = lambda sql: Rows([("", str)], [["noon"]]) if "SYSUTC" in sql else None
    site.world.pulled()
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "stamped")
    assert push(site.world)["writes"]["plant3d"] == 1
    assert cell(site.world, pnpid) == "stamped"
