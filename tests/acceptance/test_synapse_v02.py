"""plant3d-sync with SYNAPSE 0.2 as it is: the whole journey on its double, traps and all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from plant3d_sync.connectors.synapse_v02.wire import SAVED_TYPES
from plant3d_sync.sample import edits
from plant3d_sync.state.store import State
from plant3d_sync.synapse_dev.v02.main import Running
from plant3d_sync.synapse_dev.v02.traps import Traps
from plant3d_sync.usecases import health
from plant3d_sync.usecases.status import read_status
from tests.support.journey import KILLED_AT, SETTINGS, Journey, Seen
from tests.support.synapse_dev import RunningSynapse
from tests.support.synapse_v02 import synapse_v02
from tests.support.world import NAME, MakeWorld, Row, World


@dataclass(frozen=True, slots=True, kw_only=True)
class V02Side:
    """People of a SYNAPSE 0.2; what the sync marked as archived is not among what they work with."""

    running: Running

    def rows(self) -> list[Row]:
        """The assets of the project."""
        return self.running.backend.assets(self.running.project)

    def live(self) -> Mapping[str, Seen]:
        return {
            row["tag"]: Seen(id=row["id"], tag=row["tag"], description=row["description"])
            for row in self.rows()
            if not ours(row).get("archived")
        }

    def describes(self, tag: str, text: str | None) -> None:
        self.running.backend.edit(self.live()[tag].id, description=text)

    def writes(self) -> int:
        return self.running.backend.writes


def ours(row: Row) -> dict[str, Any]:
    """What we keep in an asset."""
    found: dict[str, Any] = (row["mechanical"] or {}).get("plant3d_sync", {})
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """A world whose SYNAPSE is a 0.2."""

    world: World
    side: V02Side
    running: Running

    @property
    def traps(self) -> Traps:
        return self.running.backend.traps


MakeBoth = Callable[..., Both]


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with synapse_v02() as made:
        yield made


@pytest.fixture
def running(served: Running) -> Running:
    """The one server of this file, as if it had just been started, with a project that nobody knows."""
    backend = served.backend
    backend.traps.__init__()  # type: ignore[misc]
    backend.heap.rows.clear()
    backend.heap.tags.clear()
    backend.writes = backend.heap.stopped_at = 0
    for user in backend.users.values():
        user.active = True
    return replace(served, project=backend.add_project())


@pytest.fixture
def make_both(make_world: MakeWorld, running: Running) -> MakeBoth:
    def make(*, items: int = 60, api: str = "auto", **options: Any) -> Both:
        world = make_world(items=items, **options)
        world.synapse = RunningSynapse(url=running.url, api_key="", project=running.project)
        world.uuid, world.url = running.project, running.url
        world.env = {**world.env, "SYNAPSE_USER": running.user, "SYNAPSE_PASSWORD": running.password}
        world.top = {"synapse": {"url": running.url, "api": api, "requests_per_second": 0}}
        world.configure()
        return Both(world=world, side=V02Side(running=running), running=running)

    return make


def test_the_journey_on_synapse_0_2(make_both: MakeBoth) -> None:
    both = make_both(items=100, **SETTINGS)
    Journey(world=both.world, side=both.side, killed_at=KILLED_AT[:1]).whole()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_journey_of_five_thousand_on_synapse_0_2(make_both: MakeBoth) -> None:
    both = make_both(items=5000, **SETTINGS)
    Journey(world=both.world, side=both.side).whole()


def test_pages_that_lose_a_third_duplicate_nothing_delete_nothing_and_lose_no_edit(
    make_both: MakeBoth,
) -> None:
    both = make_both(items=300, **SETTINGS)
    both.traps.scan_threshold, both.traps.scan_granularity = 50, 10
    journey = Journey(world=both.world, side=both.side)
    assert both.world.cli("pull", NAME).code == 0
    made = len(both.side.rows())
    assert made > 150, "too small to lose anything"
    journey.at_rest()
    (pump,) = journey.items("pump", 0, 1)
    (valve,) = journey.items("valve", 0, 1)
    both.side.describes(str(pump.tag), "Écrit dans SYNAPSE")
    journey.redescribes(valve.pnpid, "Écrit dans Plant 3D")
    journey.now()
    journey.both_hold(pump.pnpid, "Écrit dans SYNAPSE")
    journey.both_hold(valve.pnpid, "Écrit dans Plant 3D")
    journey.at_rest()
    assert len(both.side.rows()) == made
    assert not any(ours(row).get("archived") for row in both.side.rows())


def test_a_500_that_was_committed_never_puts_an_old_text_back_into_plant_3d(make_both: MakeBoth) -> None:
    both = make_both(**SETTINGS)
    journey = Journey(world=both.world, side=both.side)
    journey.now()
    valves = journey.items("valve", 0, 4)
    for valve in valves:
        journey.redescribes(valve.pnpid, f"Neuf {valve.pnpid}")
    both.traps.harms += [("PATCH", "/assets/bulk", "committed_500")]
    journey.now(0, 3)
    journey.at_rest()
    for valve in valves:
        journey.both_hold(valve.pnpid, f"Neuf {valve.pnpid}")


def test_a_screen_that_puts_back_just_what_we_read_before_our_write_is_heard(make_both: MakeBoth) -> None:
    both = make_both(**SETTINGS)
    journey = Journey(world=both.world, side=both.side)
    journey.now()
    (valve,) = journey.items("valve", 0, 1)
    journey.redescribes(valve.pnpid, "Avant")
    journey.now()
    journey.now()
    before = both.running.backend.by_tag(both.running.project, str(valve.tag))
    journey.redescribes(valve.pnpid, "Neuf")
    journey.now()
    put_back = {name: before[name] for name in ("description", "mechanical")}
    both.running.backend.edit(before["id"], **put_back)
    journey.now()
    journey.both_hold(valve.pnpid, "Avant")
    journey.at_rest()


@pytest.mark.parametrize(
    ("call", "harm"),
    [
        (("PATCH", "/assets/bulk"), "lose_answer"),
        (("POST", "/assets/"), "committed_500"),
        pytest.param(("POST", "/assets/"), "lose_answer", marks=pytest.mark.long),
        pytest.param(("GET", "/assets/"), "refuse_503", marks=pytest.mark.long),
        pytest.param(("PATCH", "/assets/bulk"), "cut_before", marks=pytest.mark.long),
        pytest.param(("PATCH", "/assets/bulk"), "refuse_503", marks=pytest.mark.long),
        pytest.param(("POST", "/assets/"), "cut_before", marks=pytest.mark.long),
        pytest.param(("POST", "/assets/"), "refuse_503", marks=pytest.mark.long),
        pytest.param(("GET", "/assets/"), "cut_before", marks=pytest.mark.long),
    ],
)
def test_a_broken_call_is_made_good(make_both: MakeBoth, call: tuple[str, str], harm: str) -> None:
    both = make_both(**SETTINGS)
    journey = Journey(world=both.world, side=both.side)
    if call[0] != "POST":
        journey.now()
        (valve,) = journey.items("valve", 0, 1)
        journey.redescribes(valve.pnpid, "Neuf")
    both.traps.harms += [(*call, harm)]  # type: ignore[list-item]
    journey.now(0, 3)
    journey.now(0)
    journey.at_rest()
    assert len({row["tag"] for row in both.side.rows()}) == len(both.side.rows())
    assert not both.traps.harms, "the harm was not met"


KILLS = (
    ("pull.request_sent", 3),
    pytest.param("pull.receipts_stored", 1, marks=pytest.mark.long),
    pytest.param("pull.intent_stored", 2, marks=pytest.mark.long),
    pytest.param("pull.reply_received", 2, marks=pytest.mark.long),
    pytest.param("feed.page_stored", 1, marks=pytest.mark.long),
)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
@pytest.mark.parametrize(
    "first", [pytest.param(True, id="first pull", marks=pytest.mark.long), pytest.param(False, id="edits")]
)
@pytest.mark.parametrize(("point", "time"), KILLS)
def test_a_run_killed_anywhere_makes_nothing_twice_and_loses_no_edit(
    make_both: MakeBoth, point: str, time: int, first: bool
) -> None:
    both = make_both(items=40, **SETTINGS)
    world = both.world
    journey = Journey(world=world, side=both.side)
    valves = [item for item in edits.find(world.dcf, "HandValves") if item.tag]
    pumps = [item for item in edits.find(world.dcf, "Equipment") if item.tag and "?" not in item.tag]
    if not first:
        journey.now()
        edits.swap_tags(world.dcf, valves[0].pnpid, valves[1].pnpid)
        edits.add_item(world.dcf, valves[2].class_name, {"Tag": "HV-9999"})
        journey.redescribes(valves[3].pnpid, "Dit dans Plant 3D")
        both.side.describes(str(pumps[0].tag), "Dit dans SYNAPSE")
    ids = {tag: seen.id for tag, seen in both.side.live().items()}
    points = {"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:{time}:kill", "SYNC_BATCH_SIZE": "2"}
    dead = world.apart("now", NAME, env=points)
    assert dead.code == -9, f"{point} was not met: {dead.out} {dead.err}"
    journey.now(0, 3)
    journey.at_rest()
    live = both.side.live()
    identities = [ours(row)["plant3d_id"] for row in both.side.rows()]
    assert len(identities) == len(set(identities)), "made twice"
    drawn = {item.tag: item.description for item in (*edits.find(world.dcf, "HandValves"), *pumps)}
    assert {tag for tag in drawn if tag} <= set(live)
    if not first:
        assert live[str(valves[0].tag)].id == ids[str(valves[1].tag)]
        assert live[str(valves[1].tag)].id == ids[str(valves[0].tag)]
        journey.both_hold(valves[3].pnpid, "Dit dans Plant 3D")
        journey.both_hold(pumps[0].pnpid, "Dit dans SYNAPSE")


def test_a_stale_sheet_that_puts_our_part_back_or_away_is_repaired(make_both: MakeBoth) -> None:
    both = make_both(**SETTINGS)
    journey = Journey(world=both.world, side=both.side)
    journey.now()
    before = {row["id"]: row["mechanical"] for row in both.side.rows()}
    first, second = sorted(before)[:2]
    both.running.backend.edit(first, mechanical={"weightKg": 12})
    stale = {"weightKg": 7, "plant3d_sync": {**before[second]["plant3d_sync"], "attributes": {"size": "old"}}}
    both.running.backend.edit(second, mechanical=stale)
    journey.now(0, 3)
    after = {row["id"]: row["mechanical"] for row in both.side.rows()}
    assert len(after) == len(before)
    assert after[first] == {"weightKg": 12, **before[first]}
    assert {**after[second]["plant3d_sync"]["attributes"], "size": None} == {
        **before[second]["plant3d_sync"]["attributes"],
        "size": None,
    }
    assert after[second]["weightKg"] == 7
    journey.at_rest()


def test_a_poisoned_row_stops_neither_the_others_nor_itself_for_ever(make_both: MakeBoth) -> None:
    both = make_both(**SETTINGS)
    journey = Journey(world=both.world, side=both.side)
    journey.now()
    bad, good = journey.items("valve", 0, 2)
    row = both.side.live()[str(bad.tag)].id
    both.running.backend.heap.rows[row]["electrical"] = {"voltage": "690V"}
    for item in (bad, good):
        journey.redescribes(item.pnpid, f"Neuf {item.pnpid}")
    said = journey.now(3)
    assert [error["code"] for error in said["errors"]] == ["asset_unreadable"]
    journey.both_hold(good.pnpid, f"Neuf {good.pnpid}")
    both.running.backend.heap.rows[row]["electrical"] = {}
    journey.now()
    journey.both_hold(bad.pnpid, f"Neuf {bad.pnpid}")
    journey.at_rest()


def told_limits(world: World) -> dict[str, str]:
    """What the status says that this SYNAPSE cannot do: code -> sentence."""
    watched = health.Watched(name=NAME, active=True, interval=300.0)
    with closing(State(f"sqlite:///{world.state}")) as state, state.read() as connection:
        found = read_status(connection, watched, now=time.time())
    assert all("docs/howto/synapse-integration.md" in limit.hint for limit in found.limits)
    return {limit.code: limit.message for limit in found.limits}


def test_every_word_that_synapse_can_save_is_used_and_lines_are_said(make_both: MakeBoth) -> None:
    both = make_both(**SETTINGS)
    assert both.world.cli("pull", NAME).code == 0
    words = {row["type"] for row in both.side.rows()}
    assert {"INSTRUMENT", "VALVE", "PUMP", "TANK"} <= words
    limits = told_limits(both.world)
    assert list(limits) == ["synapse_no_times", "synapse_no_archive", "synapse_full_read", "synapse_types"]
    assert "newest-wins is impossible" in limits["synapse_no_times"]
    unsaved = sum(row["type"] not in SAVED_TYPES for row in both.side.rows())
    assert limits["synapse_types"].startswith(f"{unsaved} assets are of types")
    said = both.world.cli("doctor", NAME)
    lines = {line["check"]: line for line in said.json["checks"]}
    assert "no integration API" in lines["synapse contract"]["message"]
    assert lines["synapse types"]["message"] == limits["synapse_types"]
    assert said.code == 0, said.out


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SYNAPSE_PASSWORD": "wrong"}, "synapse_login_refused"),
        ({"SYNAPSE_USER": "nobody@example.com"}, "synapse_login_refused"),
        ({"SYNAPSE_PASSWORD": ""}, "synapse_login_missing"),
    ],
)
def test_a_login_that_does_not_work_is_told_before_any_write(
    make_both: MakeBoth, change: dict[str, str], code: str
) -> None:
    both = make_both()
    both.world.env = {**both.world.env, **change}
    said = both.world.cli("pull", NAME)
    assert (said.code, said.error) == (78, code), said.out
    assert both.side.rows() == []


def test_a_login_that_fails_for_now_is_tried_again_later(make_both: MakeBoth) -> None:
    both = make_both()
    both.traps.harms += [("POST", "/auth/login", "failed_500")] * 9
    said = both.world.cli("pull", NAME)
    assert (said.code, said.error) == (75, "synapse_unavailable"), said.out
    assert both.side.rows() == []
    both.traps.harms.clear()
    assert both.world.cli("pull", NAME).code == 0


def test_an_inactive_user_and_an_unknown_project_are_told_apart(make_both: MakeBoth) -> None:
    both = make_both()
    both.running.backend.users[both.running.user].active = False
    said = both.world.cli("pull", NAME)
    assert (said.code, said.error) == (78, "synapse_user_inactive")
    both.running.backend.users[both.running.user].active = True
    both.world.uuid = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
    both.world.configure()
    said = both.world.cli("pull", NAME)
    assert (said.code, said.error) == (78, "synapse_project_unknown")
    assert both.side.writes() == 0


def test_the_setting_v0_2_finds_it_and_a_token_that_ends_in_mid_run_is_renewed(make_both: MakeBoth) -> None:
    both = make_both(api="v0.2")
    both.traps.token_minutes = 1.01  # renewed a minute before its end: after half a second
    assert both.world.cli("pull", NAME).code == 0
    assert both.side.rows()


def test_a_project_of_the_integration_api_goes_on_where_it_was_taken_out_again(
    make_both: MakeBoth, reference_synapse: RunningSynapse
) -> None:
    both = make_both(**SETTINGS)
    world, backend = both.world, both.running.backend
    here = world.synapse, world.url, world.top
    reference_synapse.new_project(world.uuid)
    world.synapse, world.url, world.top = reference_synapse, reference_synapse.url, {}
    world.configure()
    assert world.cli("now", NAME).code == 0
    assert told_limits(world) == {}
    for asset in world.assets():
        backend.create(world.uuid, asset["tag"], id=asset["id"], description=asset["description"])
    world.synapse, world.url, world.top = here
    world.configure()
    before = {row["tag"]: row["id"] for row in both.side.rows()}
    journey = Journey(world=world, side=both.side)
    journey.now()
    assert {row["tag"]: row["id"] for row in both.side.rows()} == before
    assert all(ours(row).get("plant3d_id") for row in both.side.rows()), "our part is put back"
    assert "synapse_no_times" in told_limits(world)
    journey.at_rest()


def test_a_conflict_says_that_synapse_has_no_time_and_waits_whatever_the_policy_is(
    make_both: MakeBoth,
) -> None:
    both = make_both(**{**SETTINGS, "conflict": {"policy": "newest"}})
    journey = Journey(world=both.world, side=both.side)
    journey.now()
    (valve,) = journey.items("valve", 0, 1)
    journey.redescribes(valve.pnpid, "Dit dans Plant 3D")
    both.side.describes(str(valve.tag), "Dit dans SYNAPSE")
    journey.now(3)
    (conflict,) = both.world.conflicts()
    assert conflict["kind"] == "synapse_time_missing"
    assert journey.drawn(valve.pnpid).description == "Dit dans Plant 3D"
    assert both.side.live()[str(valve.tag)].description == "Dit dans SYNAPSE"
