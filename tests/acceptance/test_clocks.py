"""The worst lag of a workstation: who showed it, and how it is forgotten once the clock is right."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from plant3d_sync.bootstrap import utc_ticks
from plant3d_sync.model.side import Direction
from plant3d_sync.sample import edits
from tests.acceptance.test_schema_steps import served
from tests.support.wayback import bench, user_describes
from tests.support.world import NAME, MakeWorld, World

TICKS = 10_000_000
EPOCH = 621_355_968_000_000_000


@pytest.fixture
def behind(settled: World) -> World:
    """A designer saved with a clock that is twenty minutes behind, after a run had seen the row."""
    item = settled.items("equipment")[0]
    ticks = int((time.time() - 1200) * TICKS) + EPOCH
    with closing(sqlite3.connect(settled.dcf)) as connection, connection:
        connection.execute(
            "UPDATE PnPBase SET PnPTimestamp = ? WHERE PnPID = ?", (ticks - 600 * TICKS, item.pnpid)
        )
    settled.pulled("--full")
    edits.set_value(settled.dcf, item.pnpid, "Description", "saved by a clock that is behind")
    settled.change("UPDATE PnPBase SET PnPTimestamp = ? WHERE PnPID = ?", ticks, item.pnpid)
    settled.pulled()
    return settled


def test_the_lag_is_shown_with_the_row_that_showed_it_and_forgotten_with_a_reason(behind: World) -> None:
    item = behind.items("equipment")[0]
    known = behind.cli("clocks", "show", NAME).json
    lag = known["workstation_lag"]
    assert (lag["pnpid"], lag["tag"]) == (item.pnpid, item.tag) and lag["run_id"] and lag["seen_at"]
    assert known["plant3d_tolerance_seconds"] == lag["seconds"] > known["tolerance_seconds"] == 120
    said = behind.cli("clocks", "forget", NAME, "--reason", " ")
    assert said.code != 0 and said.error == "reason_missing"
    assert behind.cli("clocks", "show", NAME).json == known, "nothing was done"

    done = behind.cli("clocks", "forget", NAME, "--reason", "PC-12 follows NTP now").json
    assert done["forgotten"] == lag
    report = behind.pulled()
    assert not report["unchanged_source"], "the next run compares"
    now = behind.cli("clocks", "show", NAME).json
    assert now["workstation_lag"] is None and now["plant3d_tolerance_seconds"] == 120
    again = behind.cli("clocks", "forget", NAME, "--reason", "twice")
    assert again.error == "clocks_no_lag"
    assert behind.cli("audit", "verify").code == 0


def test_an_administrator_forgets_it_by_the_api_and_the_audit_says_who_and_why(behind: World) -> None:
    address = f"/api/v1/projects/{NAME}/clocks"
    with served(behind) as client:
        seen = client.get(address).json()["workstation_lag"]
        assert client.post(f"{address}/forget", json={}).status_code == 422
        done = client.post(f"{address}/forget", json={"reason": "PC-12 follows NTP now"})
        assert done.status_code == 200 and done.json()["workstation_lag"] is None
        assert client.post(f"{address}/forget", json={"reason": "twice"}).status_code == 404
        entries = client.get("/api/v1/audit", params={"project_id": NAME, "action": "clocks.*"}).json()[
            "items"
        ]
        assert "plant3d_sync_workstation_lag_seconds{" not in client.get("/metrics").text
    assert [one["action"] for one in entries] == ["clocks.lag_forgotten", "clocks.lag_seen"]
    assert entries[0]["actor"].startswith("key:") and "PC-12 follows NTP now" in str(entries[0])
    assert str(seen["pnpid"]) in str(entries[1])


@pytest.mark.parametrize("skew", [-3600.0, 3600.0, None])
def test_what_is_pushed_into_a_file_is_never_stamped_ahead_of_a_clock_that_is_known(
    make_world: MakeWorld, skew: float | None
) -> None:
    """Our clock may be the wrong one: a stamp of the future would hide the next save of a designer from his colleagues."""
    world = make_world(write="sql", drawings_unseen="closed")
    with bench(world, at=time.time(), skew=skew) as at_work:
        at_work.run(Direction.PULL)
        pnpid = world.items("equipment")[0].pnpid
        user_describes(world, pnpid, "stamped")
        before = utc_ticks()
        assert at_work.run().writes["plant3d"] == 1
        ((stamp,),) = world.sql("SELECT PnPTimestamp FROM PnPBase WHERE PnPID = ?", pnpid)
        apart = int(min(0.0, skew or 0.0) * TICKS)
        assert before + apart <= stamp <= utc_ticks() + apart
