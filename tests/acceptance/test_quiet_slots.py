"""A slot in which nothing moved reads nothing, also when something waits; each thing that moves wakes it again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from plant3d_sync.bootstrap import make_app
from plant3d_sync.connectors.base import PlantSnapshot, PlantSource
from plant3d_sync.errors import SyncError
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.run.report import Report
from plant3d_sync.sample import edits
from plant3d_sync.state.quarantine import LOOK_AGAIN_SECONDS, retry_after
from plant3d_sync.usecases.conflicts import Choice, resolve_conflict
from tests.support.faulty_http import Seen
from tests.support.wayback import cell, redescribed, user_describes
from tests.support.world import NAME, MakeWorld, World, recorded

START = 1_770_000_000.0
MINUTE = 60.0
DAY = 86_400.0


@dataclass
class Counted:
    """The real source; counts how often it is opened."""

    real: PlantSource
    opened: int = 0

    @property
    def name(self) -> str:
        return self.real.name

    def signature(self) -> str | None:
        return self.real.signature()

    def snapshot(self) -> PlantSnapshot:
        self.opened += 1
        return self.real.snapshot()


@dataclass
class Slots:
    """Runs slot after slot as the schedule does, on a clock that only tests move."""

    world: World
    direction: Direction = Direction.BOTH
    now: float = START
    reports: list[Report] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def engine(self) -> tuple[Engine, Counted]:
        app = make_app(self.world.config, self.world.environment({}))
        project = app.project(NAME)
        source = Counted(project.source)
        project.source = source
        world = app.world()
        world.clock = self.clock
        return Engine(world, project), source

    def slot(self, **asked: Any) -> tuple[Report, int]:
        """One run, and how often it opened the source."""
        engine, source = self.engine()
        direction = asked.pop("direction", self.direction)
        report = engine.run(Request(asked=Asked(direction=direction, **asked), trigger="schedule", by="slot"))
        self.reports.append(report)
        return report, source.opened

    def woken(self, **asked: Any) -> Report:
        report, opened = self.slot(**asked)
        assert opened == 1 and not report.unchanged_source, "it must compare"
        return report

    def quiet(self, **asked: Any) -> Report:
        report, opened = self.slot(**asked)
        assert opened == 0 and report.unchanged_source is True, "it must read nothing"
        return report

    def comes_to_rest(self) -> Report:
        """Slots until one is quiet; at most two compare what does not move."""
        for _ in range(3):
            report, opened = self.slot()
            if not opened:
                return report
        raise AssertionError("it never comes to rest")


# ---------------------------------------------------------------- what may wait


def duplicate(slots: Slots) -> None:
    first, second = slots.world.items("valves")[:2]
    slots.world.change("UPDATE HandValves SET Tag = ? WHERE PnPID = ?", first.tag, second.pnpid)


def refused_value(slots: Slots) -> None:
    edits.set_value(slots.world.dcf, slots.world.items("valves")[0].pnpid, "Description", "x" * 4001)


def unlinked_asset(slots: Slots) -> None:
    world = slots.world
    world.user_adds(tag="HV-8888", asset_type="Valve")
    edits.add_item(world.dcf, "GateValve", {"Tag": "HV-8888"})


def absence(slots: Slots) -> None:
    edits.delete_item(slots.world.dcf, slots.world.items("valves")[0].pnpid)


def conflict(slots: Slots) -> None:
    pnpid = slots.world.items("valves")[0].pnpid
    user_describes(slots.world, pnpid, "Theirs")
    redescribed(slots.world, pnpid, "Ours")


def guarded(slots: Slots) -> None:
    for item in slots.world.items("valves")[:8]:
        redescribed(slots.world, item.pnpid, f"Mass {item.pnpid}")


def switched_off(slots: Slots) -> None:
    user_describes(slots.world, slots.world.items("valves")[0].pnpid, "Not yet allowed")


def value_for_workbook(slots: Slots) -> None:
    switched_off(slots)


def drawing_open(slots: Slots) -> None:
    switched_off(slots)
    (slots.world.folder / "Project.xml.lock").touch()


def too_long_for_plant3d(slots: Slots) -> None:
    user_describes(slots.world, slots.world.items("valves")[0].pnpid, "x" * 400)


KINDS: dict[str, tuple[Callable[[Slots], None], dict[str, Any], int]] = {
    "duplicate tag": (duplicate, {}, 0),
    "refused value": (refused_value, {}, 3),
    "unlinked asset": (unlinked_asset, {}, 0),
    "absence": (absence, {"missing": {"reads": 2, "minutes": 600}}, 0),
    "conflict": (conflict, {"conflict": {"policy": "ask"}}, 3),
    "guard": (guarded, {"guards": {"update": [0.05, 3]}}, 5),
    "write off": (switched_off, {}, 0),
    "workbook": (value_for_workbook, {"write": "workbook"}, 0),
    "drawing open": (drawing_open, {"write": "sql", "drawings_unseen": "closed"}, 3),
    "refused by Plant 3D": (too_long_for_plant3d, {"write": "sql", "drawings_unseen": "closed"}, 3),
}
"""Kind -> what makes it, settings of the project, exit code of the run that meets it."""


@pytest.fixture
def waits(make_world: MakeWorld) -> Callable[..., Slots]:
    """A project at rest in which this kind of thing waits."""

    def make(kind: str, **options: Any) -> Slots:
        begin, needed, code = KINDS[kind]
        mapping = {"mapping": ["stock", "own.yml"]}
        world = make_world(**{**mapping, **needed, **options, "active": True})
        (world.folder / "own.yml").write_text(yaml.safe_dump({"version": 1}), encoding="utf-8")
        slots = Slots(world)
        slots.woken()
        slots.quiet()
        begin(slots)
        assert slots.woken().exit_code == code
        return slots

    return make


def same(report: Report) -> tuple[Any, ...]:
    """What a quiet slot must repeat."""
    standing = ("skipped", "errors", "conflicts", "missing", "findings")
    return (
        report.outcome,
        report.exit_code,
        {name: report.stats[name] for name in standing},
        {kind: {name: stats[name] for name in standing[:-1]} for kind, stats in report.by_entity.items()},
        {name: (report.push_stats or {}).get(name) for name in ("skipped", "errors")},
        report.findings_by_code,
        report.waiting_for_person,
        [hit.to_dict() for hit in report.guards],
        sorted((error.code, error.pnpid, error.message) for error in report.errors),
    )


def stored(world: World) -> dict[str, Any]:
    """What people look at between two runs."""
    return {
        name: world.rows(f"SELECT * FROM {name} ORDER BY 1")
        for name in ("finding", "conflict", "work_item", "plan", "link", "audit", "backup", "run_error")
    }


QUICK = (
    "duplicate tag",
    "conflict",
    "absence",
    "workbook",
)  # one of each cause; all of them in the long part


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS]
)
def test_a_slot_in_which_nothing_moved_reads_nothing_and_says_the_same(
    waits: Callable[..., Slots], kind: str
) -> None:
    slots = waits(kind)
    decided = slots.reports[-1]
    writes, before = slots.world.writes(), stored(slots.world)
    for _ in range(3):
        slots.now += 5 * MINUTE
        report = slots.quiet()
        assert same(report) == same(decided)
        assert report.decided_by == decided.run_id and report.writes == {"synapse": 0, "plant3d": 0}
        assert report.plan_id == (decided.plan_id if kind == "guard" else None)
    assert slots.world.writes() == writes and stored(slots.world) == before
    shown = slots.world.cli("show", str(report.run_id)).json
    assert (shown["outcome"], shown["stats"]) == (report.outcome, report.stats)
    assert [error["code"] for error in shown["errors"]] == [error.code for error in report.errors]


def a_row_changes(slots: Slots) -> None:
    redescribed(slots.world, slots.world.items("equipment")[0].pnpid, f"At {slots.now}")


def an_asset_changes(slots: Slots) -> None:
    asset = slots.world.asset_of(slots.world.items("equipment")[0].pnpid)
    slots.world.user_edits(asset["id"], notes=f"At {slots.now}")


def the_mapping_changes(slots: Slots) -> None:
    own = slots.world.folder / "own.yml"
    own.write_text(own.read_text(encoding="utf-8") + "# another day\n", encoding="utf-8")


def a_setting_changes(slots: Slots) -> None:
    slots.world.configure(workbook_days=33)


def a_run_fails(slots: Slots) -> None:
    kept = slots.world.dcf.read_bytes()
    state = slots.world.dcf.stat()
    slots.world.dcf.write_bytes(b"")
    with pytest.raises(SyncError):
        slots.slot(full=True)
    slots.world.dcf.write_bytes(kept)
    os.utime(slots.world.dcf, ns=(state.st_atime_ns, state.st_mtime_ns))


def a_part_is_looked_at(slots: Slots) -> None:
    asset = slots.world.asset_of(slots.world.items("equipment")[0].pnpid)["id"]
    slots.woken(only_assets=frozenset({asset}))


def the_clock_is_set_back(slots: Slots) -> None:
    slots.now -= 30 * MINUTE


def a_day_passes(slots: Slots) -> None:
    slots.now += LOOK_AGAIN_SECONDS


MOVES = (
    a_row_changes,
    an_asset_changes,
    the_mapping_changes,
    a_setting_changes,
    a_run_fails,
    a_part_is_looked_at,
    the_clock_is_set_back,
    a_day_passes,
)


ONE_OF_EACH = ("conflict",)  # the others prove the same of the same memory, in the long part


@pytest.mark.parametrize(
    "kind", [kind if kind in ONE_OF_EACH else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS]
)
def test_each_single_thing_that_moves_wakes_it(waits: Callable[..., Slots], kind: str) -> None:
    slots = waits(kind)
    for move in MOVES:
        slots.comes_to_rest()
        slots.now += MINUTE
        move(slots)
        _report, opened = slots.slot()
        assert opened == 1, move.__name__
    slots.comes_to_rest()
    slots.woken(direction=Direction.PULL)
    slots.comes_to_rest()
    slots.woken(full=True)


def test_without_anything_that_waits_every_direction_is_quiet(make_world: MakeWorld) -> None:
    slots = Slots(make_world())
    slots.woken()
    for direction in Direction:
        assert slots.quiet(direction=direction).outcome == "clean"
    slots.now += 40 * DAY
    slots.quiet()


# ---------------------------------------------------------------- what each waits for


def test_the_ladder_of_absence_goes_on_at_its_dates_and_is_carried_out(make_world: MakeWorld) -> None:
    world = make_world(missing={"reads": 3, "minutes": 30, "policy": "archive"})
    slots = Slots(world)
    slots.woken()
    gone = world.items("valves")[0].pnpid
    asset = world.asset_of(gone)["id"]
    edits.delete_item(world.dcf, gone)
    assert slots.woken().stats["missing"] == 1
    compared = 0
    for _ in range(12):
        slots.now += 5 * MINUTE
        compared += slots.slot()[1]
    (archived,) = [one for one in world.assets() if one["id"] == asset]
    assert archived["deleted_at"] is not None, "an hour after it went"
    assert compared == 2, "one look for each step"
    slots.comes_to_rest()


def test_a_workbook_that_nobody_imports_becomes_a_question_at_its_age(waits: Callable[..., Slots]) -> None:
    slots = waits("workbook", workbook_days=0.5)
    slots.now += 0.5 * DAY - MINUTE
    assert slots.quiet().stats["conflicts"] == 0
    slots.now += 2 * MINUTE
    assert slots.woken().stats["conflicts"] == 1
    assert slots.comes_to_rest().exit_code == 3


def test_a_drawing_that_is_closed_wakes_it_and_the_value_is_written(waits: Callable[..., Slots]) -> None:
    slots = waits("drawing open")
    slots.quiet()
    (slots.world.folder / "Project.xml.lock").unlink()
    assert slots.woken().writes["plant3d"] == 1
    assert cell(slots.world, slots.world.items("valves")[0].pnpid) == "Not yet allowed"
    assert slots.comes_to_rest().exit_code == 0


def test_a_drawing_that_is_opened_while_the_run_looks_is_seen_when_it_is_closed(
    make_world: MakeWorld,
) -> None:
    slots = Slots(make_world(write="sql", drawings_unseen="closed"))
    slots.woken()
    switched_off(slots)
    lock = slots.world.folder / "Project.xml.lock"
    with acting("guards.passed", lock.touch):
        assert slots.woken().exit_code == 3
    assert slots.comes_to_rest().exit_code == 3
    lock.unlink()
    assert slots.woken().writes["plant3d"] == 1


def acting(point: str, act: Callable[[], object]) -> Any:
    """Do this once when a run passes a named point."""
    import plant3d_sync.run.engine as module

    original, done = module.failpoint, []

    def passing(name: str) -> None:
        if name == point and not done:
            done.append(name)
            act()
        original(name)

    return patch.object(module, "failpoint", passing)


def choose(slots: Slots, resolution: str, value: str | None = None) -> None:
    engine, _source = slots.engine()
    (row,) = slots.world.conflicts()
    resolve_conflict(engine._world, row["id"], Choice(resolution=resolution, manual_value=value))


@pytest.mark.parametrize("during", [False, True], ids=["between runs", "while a run ends"])
def test_a_word_of_a_person_is_carried_out_by_the_next_slot(
    waits: Callable[..., Slots], during: bool
) -> None:
    slots = waits("conflict", write="sql", drawings_unseen="closed")
    pnpid = slots.world.items("valves")[0].pnpid
    slots.quiet()
    if during:
        redescribed(slots.world, slots.world.items("equipment")[0].pnpid, "Something else to do")
        with acting("guards.passed", lambda: choose(slots, "synapse")):
            slots.woken()
    else:
        choose(slots, "synapse")
    slots.woken()
    assert cell(slots.world, pnpid) == "Theirs"
    assert slots.comes_to_rest().exit_code == 0


def test_a_third_value_reaches_both_sides_although_nothing_moves_in_between(
    waits: Callable[..., Slots],
) -> None:
    slots = waits("conflict", write="sql", drawings_unseen="closed")
    pnpid = slots.world.items("valves")[0].pnpid
    choose(slots, "manual", "A third one")
    slots.woken()
    slots.woken()
    assert cell(slots.world, pnpid) == slots.world.asset_of(pnpid)["description"] == "A third one"
    assert slots.comes_to_rest().exit_code == 0


def test_an_approved_guard_wakes_it(waits: Callable[..., Slots]) -> None:
    slots = waits("guard")
    plan = str(slots.quiet().plan_id)
    assert slots.world.apply(plan, "--approve-guards").code == 0
    slots.now = 4_000_000_000.0  # the command line knows only the real clock
    assert slots.woken().exit_code == 0
    slots.quiet()


def test_linking_wakes_it(waits: Callable[..., Slots]) -> None:
    slots = waits("unlinked asset")
    slots.quiet()
    assert slots.world.cli("links", "accept", NAME).code == 0
    assert slots.woken().by_entity["valves"]["skipped"] == 0


def test_a_locked_file_is_tried_again_in_every_slot(make_world: MakeWorld) -> None:
    world = make_world(write="sql", drawings_unseen="closed")
    slots = Slots(world)
    slots.woken()
    switched_off(slots)
    with closing(sqlite3.connect(world.dcf, isolation_level=None)) as designer:
        designer.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            slots.now += 5 * MINUTE
            assert [error.code for error in slots.woken().errors] == ["source_locked"]
    slots.now += 5 * MINUTE
    assert slots.woken().writes["plant3d"] == 1


def test_what_synapse_refuses_is_offered_again_at_growing_distances(make_world: MakeWorld) -> None:
    world = make_world()
    slots = Slots(world)
    slots.woken()
    pnpid = world.items("valves")[0].pnpid
    redescribed(world, pnpid, "Refused for a while")
    refusing = [True]

    def request(seen: Seen) -> bytes:
        """SYNAPSE gets a value it must refuse in place of ours."""
        if refusing[0] and b"Refused for a while" in seen.body:
            return seen.body.replace(b"Refused for a while", b"y" * 4001)
        return seen.body

    with recorded(world) as recorder:
        recorder.request = request
        offered = []
        for _ in range(30):
            report, opened = slots.slot()
            assert report.exit_code == 3
            if opened:
                offered.append((slots.now - START) / MINUTE)
            slots.now += 5 * MINUTE
        assert offered[:3] == [0, 5, 10] and 4 <= len(offered) <= 7, offered
        refusing[0] = False
        slots.now += 60 * MINUTE
        slots.woken()
        assert world.asset_of(pnpid)["description"] == "Refused for a while"
        assert slots.comes_to_rest().exit_code == 0


def test_the_distances_grow_up_to_an_hour() -> None:
    assert [retry_after(tries) / MINUTE for tries in (1, 2, 3, 4, 5, 6, 50)] == [0, 5, 10, 20, 40, 60, 60]


def test_the_hazards_of_a_real_database_are_quiet(make_world: MakeWorld) -> None:
    slots = Slots(make_world(items=300, dirty=0.2))
    decided = slots.woken()
    report = slots.comes_to_rest()
    assert report.stats["skipped"] == decided.stats["skipped"] > 0
    for _ in range(3):
        slots.now += 5 * MINUTE
        slots.quiet()
