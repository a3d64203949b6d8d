"""Whole journeys on the executing endpoint with the answers of Babelfish 4.3, where people try this program on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_sqlserver_journeys import (
    TEXTS,
    Site,
    equipment,
    shown,
    site_on,
)
from tests.support.babelfish import BabelfishServer
from tests.support.mssql import DRIVERS
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.wayback import changed_cells, kept, small_plant

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS[:2])]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread(api_key="babelfish") as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dcf = tmp_path_factory.mktemp("samples") / "small.dcf"
    small_plant(dcf)
    return dcf


@pytest.fixture
def site(tmp_path: Path, small: Path, synapse: RunningSynapse, driver: str) -> Iterator[Site]:
    yield from site_on(tmp_path, small, synapse, driver, make=BabelfishServer)


def test_texts_arrive_as_from_the_file_and_a_second_pull_writes_nothing(site: Site) -> None:
    """Its bytes of a text are in a code page, and DATALENGTH counts UTF-8: neither says what is stored."""
    for pnpid, text in zip(equipment(site.world, 4), TEXTS[1:], strict=True):
        for world in (site.world, site.file):
            world.change("UPDATE EngineeringItems SET Description = ? WHERE PnPID = ?", text, pnpid)
    before = kept(site.world)
    site.world.pulled()
    site.file.pulled()
    assert shown(site.world) == shown(site.file)
    assert site.world.pulled("--full")["writes"] == {"synapse": 0, "plant3d": 0}
    assert changed_cells(before, site.world.dcf) == {}
