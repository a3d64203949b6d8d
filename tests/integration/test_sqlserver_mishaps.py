"""What happens to a database on SQL Server under the service: clocks, failovers, settings that are switched, other names.

On the executing endpoint (`tests.support.tsql_server`) with both drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d.writing import write_sqlserver
from tests.integration.test_sqlserver_journeys import HOUR, Site, equipment, saved, site_on
from tests.support.mssql import DRIVERS
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.tds_endpoint import Answer, Drop, Rows, ServerError
from tests.support.wayback import (
    at_rest,
    cell,
    description,
    kept,
    now,
    ok,
    push,
    small_plant,
    undone,
    user_describes,
)
from tests.support.world import NAME

pytestmark = [pytest.mark.sqlserver, pytest.mark.parametrize("driver", DRIVERS)]


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


# ---------------------------------------------------------------- a failover that loses the last saves


def pushed(site: Site, count: int) -> tuple[list[int], Path]:
    """Items that a user described and that wait to be pushed, and what the replica holds."""
    site.world.configure(conflict={"policy": "newest"})
    site.world.pulled()
    items, replica = equipment(site.world, count), kept(site.world, "replica.dcf")
    for pnpid in items:
        user_describes(site.world, pnpid, f"ours {pnpid}")
    return items, replica


def lost_are_asked_about(site: Site, lost: list[int], written: list[int]) -> None:
    """A person is asked about what was written and is gone; the words of SYNAPSE stand, and go in again when he says so."""
    now(site.world, code=3)
    asked = ok(site.world.cli("conflicts", NAME))["items"]
    assert sorted(one["asset_tag"] for one in asked) == sorted(
        site.world.asset_of(pnpid)["tag"] for pnpid in lost
    )
    for pnpid in (*lost, *written):
        assert description(site.world, pnpid) == f"ours {pnpid}"
    for one in asked:
        ok(site.world.cli("resolve", one["id"], "synapse"))
    now(site.world)
    assert [cell(site.world, pnpid) for pnpid in (*lost, *written)] == [
        f"ours {pnpid}" for pnpid in (*lost, *written)
    ]
    at_rest(site.world)


@pytest.mark.parametrize("at", ["", "SELECT [PnPID]", "SELECT 0, COUNT_BIG(*)"])
def test_a_push_that_a_failover_lost_is_asked_about(site: Site, at: str) -> None:
    """Between two runs, or in the middle of the next one's reading, which then writes nothing."""
    items, replica = pushed(site, 3)
    assert push(site.world)["writes"]["plant3d"] == 3
    if at:
        site.server.instead = failing_over(site, replica, at)
        assert site.world.cli("now", NAME).code in (3, 75)
        assert site.server.era == 1
    else:
        site.server.fails_over(replica)
        site.server.cut()
    lost_are_asked_about(site, items, [])


def failing_over(site: Site, replica: Path, at: str, nth: int = 1) -> Callable[[str], Answer | None]:
    """At the nth statement that begins so. `after COMMIT`: at what is asked when the first cell is committed."""
    seen: list[str] = []

    def met(sql: str) -> Answer | None:
        if site.server.era:
            return None
        seen.append(sql)
        if at == "after COMMIT":
            updated = [place for place, one in enumerate(seen) if one.startswith("UPDATE [dbo].[PnPBase]")]
            ended = (
                [one for one in seen[updated[nth - 1] :] if one.startswith("COMMIT")]
                if len(updated) >= nth
                else []
            )
            over = bool(ended) and sql.startswith("SELECT")
        else:
            over = sql.startswith(at) and sum(one.startswith(at) for one in seen) == nth
        return site.server.fails_over(replica) if over else None

    return met


@pytest.mark.parametrize("at", ["UPDATE [dbo].[EngineeringItems]", "UPDATE [dbo].[PnPBase]", "after COMMIT"])
def test_a_failover_in_mid_push_loses_no_word(site: Site, at: str) -> None:
    """The first item was written, told as written, and is lost; the second is broken off; the others go into the replica."""
    items, replica = pushed(site, 4)
    site.server.instead = failing_over(site, replica, at, nth=2)
    assert push(site.world, code=3)["writes"]["plant3d"] == 3
    assert site.server.era == 1
    assert [cell(site.world, pnpid) for pnpid in items[2:]] == [f"ours {pnpid}" for pnpid in items[2:]]
    lost_are_asked_about(site, items[:1], items[1:])


def test_the_next_save_of_a_row_does_not_hide_that_a_failover_lost_our_cell(site: Site) -> None:
    """A designer saves another cell of it: its revision is what ours had been, and its stamp is later."""
    items, replica = pushed(site, 2)
    assert push(site.world)["writes"]["plant3d"] == 2
    later = [stamp(site, pnpid) + HOUR for pnpid in items]
    site.server.fails_over(replica)
    site.server.cut()
    for pnpid, ticks in zip(items, later, strict=True):
        site.world.change("UPDATE EngineeringItems SET Manufacturer = 'another' WHERE PnPID = ?", pnpid)
        site.world.change(
            "UPDATE PnPBase SET PnPTimestamp = ?, PnPRevision = PnPRevision + 1 WHERE PnPID = ?", ticks, pnpid
        )
    lost_are_asked_about(site, items, [])


# ---------------------------------------------------------------- a database that is closed, renamed, or another one


def closed(site: Site, state: tuple[str, str] | None, at: str) -> None:
    """From this statement on the database lets nobody in; pymssql hears of the login only. None: it has another name."""

    def met(sql: str) -> Answer | None:
        if "state_desc" in sql:
            return Rows([("", str), ("", str)], [list(state)] if state else [])
        if not sql.startswith(at) or site.endpoint.databases:
            return None
        site.endpoint.databases = ("master",)
        return Drop()

    site.server.instead = met


@pytest.mark.parametrize("state", [("ONLINE", "SINGLE_USER"), ("RESTORING", "MULTI_USER"), None])
@pytest.mark.parametrize("at", ["UPDATE", write_sqlserver.TABLE_NAMES])
def test_a_database_that_closes_under_a_push_is_no_wrong_password(
    site: Site, state: tuple[str, str] | None, at: str
) -> None:
    """Nobody looks for a password that is right; the cells wait, and are written once it is open again."""
    site.world.pulled()
    items = equipment(site.world, 3)
    for pnpid in items:
        user_describes(site.world, pnpid, f"ours {pnpid}")
    closed(site, state, at)
    said = site.world.cli("push", NAME)
    assert site.endpoint.databases, "nothing closed"
    assert said.code in (3, 75), said.out
    assert "source_away" in said.out or "connection_lost" in said.out, said.out
    assert "source_login_failed" not in said.out, said.out
    site.server.instead, site.endpoint.databases = {}.get, None
    assert now(site.world)["writes"]["plant3d"] == 3
    at_rest(site.world)


def test_a_login_that_is_refused_between_two_items_is_asked_for_once(site: Site) -> None:
    """Each refusal counts towards the lock of the account: one on the database, one on master for the cause."""
    site.world.pulled()
    for pnpid in equipment(site.world, 5):
        user_describes(site.world, pnpid, f"ours {pnpid}")
    before: list[int] = []

    def met(sql: str) -> Answer | None:
        if sql.startswith("UPDATE [dbo].[PnPBase]") and not before:
            before.append(0)
        elif (
            before == [0] and "[dbo]" in sql
        ):  # the first item is written; its sessions end, and the password is another
            site.endpoint.login_error = ServerError(18456, "Login failed for user 'reader'.", 14)
            before[:] = [len(site.endpoint.logins)]
            return Drop()
        return None

    site.server.instead = met
    assert push(site.world, code=3)["writes"]["plant3d"] <= 1
    assert [one.database.lower() for one in site.endpoint.logins[before[0] :]] == ["mine_pnid", "master"]
    site.server.instead, site.endpoint.login_error = {}.get, None
    now(site.world)
    at_rest(site.world)


def test_a_database_under_another_name_is_the_project_it_was(site: Site) -> None:
    site.world.pulled()
    site.world.configure(source=site.world.options["source"].replace("mine_PnId", "Renamed_PnId"))
    (pnpid,) = equipment(site.world, 1)
    user_describes(site.world, pnpid, "by its other name")
    assert now(site.world)["writes"] == {"synapse": 0, "plant3d": 1}
    at_rest(site.world)


@pytest.mark.parametrize("compared", [False, True])
def test_an_undo_that_a_failover_lost_is_told_and_can_be_done_again(site: Site, compared: bool) -> None:
    """Both sides hold the same again, so that nothing would be asked: but nobody took the undo back."""
    items, _ = pushed(site, 2)
    before = [cell(site.world, pnpid) for pnpid in items]
    run = push(site.world)["run_id"]
    now(site.world)
    replica = kept(site.world, "with-the-push.dcf")
    assert site.world.apply(undone(site.world, run)["plan_id"]).json["writes"]["plant3d"] == 2
    assert [cell(site.world, pnpid) for pnpid in items] == before
    if compared:
        assert now(site.world)["findings_by_code"] == {"kept_by_undo": 2}
    site.server.fails_over(replica)
    site.server.cut()
    assert now(site.world)["findings_by_code"] == {"undo_lost": 2}
    assert now(site.world)["findings_by_code"] == {}
    assert site.world.apply(undone(site.world, run)["plan_id"]).json["writes"]["plant3d"] == 2
    assert [cell(site.world, pnpid) for pnpid in items] == before


def test_what_was_undone_and_a_designer_types_again_is_his_word(site: Site) -> None:
    (pnpid,), _ = pushed(site, 1)
    run = push(site.world)["run_id"]
    assert site.world.apply(undone(site.world, run)["plan_id"]).json["writes"]["plant3d"] == 1
    site.designer(*saved(pnpid, f"ours {pnpid}"))
    assert now(site.world)["findings_by_code"] == {}
    at_rest(site.world)
