"""kill -9 at every step of a pull: the next run ends where an undisturbed one would have.

The killed run is a real process that sends itself SIGKILL at a named point; nothing of it tidies up. Then runs follow
until they have nothing to write, and both sides, links, bases, conflicts, changes and audit are compared with an
undisturbed history of the same inputs, less ids and times.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.failpoints import PULL_POINTS
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.sample import edits
from tests.support import invariants
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, SOURCE, MakeWorld, World, new_world, template

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")

AFTER_A_CRASH = "recover.receipts_stored"
"""Passed only by a run that finds another one's open intent."""

WRITING = (
    "pull.before_intent",
    "pull.intent_stored",
    "pull.request_sent",
    "pull.reply_received",
    "pull.receipts_stored",
)


def edit_nothing(dcf: Path) -> None:
    """The items are all new."""


def edit(dcf: Path) -> None:
    """An update, a rename, a swap, a new item, a deletion, and one half of a conflict."""
    valves, gone = edits.find(dcf, "HandValves"), edits.find(dcf, "Instrumentation")[0]
    edits.set_value(dcf, valves[0].pnpid, "Description", "Vanne neuve")
    edits.rename_tag(dcf, valves[1].pnpid, "HV-8000")
    edits.swap_tags(dcf, valves[2].pnpid, valves[3].pnpid)
    edits.add_item(dcf, "GateValve", {"Tag": "HV-9000"})
    edits.delete_item(dcf, gone.pnpid)
    edits.set_value(dcf, valves[4].pnpid, "Description", "texte de Plant 3D")


def prepare_first_pull(world: World, edited: Path) -> None:
    """A handful of new items in batches of two."""
    world.env["SYNC_BATCH_SIZE"] = "2"


def prepare_edits(world: World, edited: Path) -> None:
    """A settled pull, then the designers' edits, a drift in SYNAPSE, and the other half of the conflict."""
    world.configure(missing={"reads": 1, "minutes": 0, "policy": "archive"}, guards={"archive": [0.9, 50]})
    world.pulled()
    world.env["SYNC_BATCH_SIZE"] = "2"
    drifted, disputed = world.items("equipment")[0], world.items("valves")[4]
    shutil.copyfile(edited, world.dcf)
    world.user_edits(world.asset_of(drifted.pnpid)["id"], attributes={"area": "999"})
    world.user_edits(world.asset_of(disputed.pnpid)["id"], description="texte de SYNAPSE")


@dataclass(frozen=True)
class Scenario:
    """Inputs before the run that is killed. `code`: how it ends when nobody kills it."""

    name: str
    items: int
    edit: Callable[[Path], None]
    prepare: Callable[[World, Path], None]
    code: int


FIRST = Scenario("first", 5, edit_nothing, prepare_first_pull, 0)
EDITS = Scenario("edits", 40, edit, prepare_edits, 3)
SCENARIOS = {scenario.name: scenario for scenario in (FIRST, EDITS)}


@dataclass
class Undisturbed:
    """What a run that nobody kills passes and leaves."""

    points: Counter[str] = field(default_factory=Counter)
    dump: dict[str, Any] = field(default_factory=dict)
    writes: int = 0


Killing = Callable[..., World]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The database before and after the edits, one for all worlds of a scenario: edits hold times and new ids."""
    folder = tmp_path_factory.mktemp("kill")
    made = {}
    for name, scenario in SCENARIOS.items():
        before, after = template(folder, items=scenario.items), folder / f"{name}-edited.dcf"
        shutil.copyfile(before, after)
        scenario.edit(after)
        made[name] = (before, after)
    return made


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    reference_synapse: RunningSynapse,
    files: dict[str, tuple[Path, Path]],
) -> Iterator[dict[str, Undisturbed]]:
    """Every scenario once, undisturbed."""
    found = {}
    for name, scenario in SCENARIOS.items():
        world = new_world(tmp_path_factory.mktemp(name), reference_synapse, files[name][0])
        scenario.prepare(world, files[name][1])
        trace = world.folder / "trace"
        said = world.apart("pull", NAME, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINT_TRACE": str(trace)})
        assert said.code == scenario.code, (said.code, said.out, said.err)
        points = Counter(trace.read_text(encoding="ascii").split())
        trace.unlink()
        to_rest(world, scenario)
        found[name] = Undisturbed(points=points, dump=world.dump(), writes=world.writes())
    yield found


@pytest.fixture
def prepared(
    tmp_path: Path, reference_synapse: RunningSynapse, files: dict[str, tuple[Path, Path]]
) -> Killing:
    """A fresh world of a scenario, ready for the run that is killed."""

    def make(scenario: Scenario, number: int) -> World:
        before, after = files[scenario.name]
        world = new_world(tmp_path / f"{scenario.name}-{number}", reference_synapse, before)
        scenario.prepare(world, after)
        return world

    return make


def kill_at(world: World, point: str, count: int) -> None:
    said = world.apart("pull", NAME, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:{count}"})
    assert said.code == -signal.SIGKILL, (point, count, said.code, said.out, said.err)
    invariants.writes_had_intents(world)
    invariants.one_asset_per_identity(world)


def to_rest(world: World, scenario: Scenario) -> int:
    """Run until a run writes nothing; at most two runs write. Returns how many runs it took."""
    for number in range(1, 4):
        before = world.writes()
        said = world.pull()
        assert said.code == scenario.code, (said.code, said.out, said.err)
        if world.writes() == before:
            return number
    raise AssertionError("it still writes after two runs")


def assert_as_if_nothing_had_died(world: World, expected: Undisturbed, where: str) -> None:
    invariants.history_adds_up(world)
    now = world.dump()
    for part, value in expected.dump.items():
        assert now[part] == value, f"{part} differs after a kill at {where}"
    assert world.writes() == expected.writes, f"a cell was written twice after a kill at {where}"
    invariants.changes_match_synapse(world)
    invariants.audit_tells_everything(world)
    invariants.bases_were_shared(world)
    invariants.no_run_is_stuck(world)
    invariants.source_is_sound(world)
    invariants.no_secret_was_told(world)


def kill_and_compare(
    make: Killing, scenario: Scenario, expected: Undisturbed, point: str, count: int
) -> None:
    world = make(scenario, count)
    kill_at(world, point, count)
    to_rest(world, scenario)
    assert_as_if_nothing_had_died(world, expected, f"{point}:{count} of {scenario.name}")


def test_every_point_of_a_pull_is_passed_by_some_scenario(undisturbed: dict[str, Undisturbed]) -> None:
    passed = {point for one in undisturbed.values() for point in one.points}
    assert passed | {AFTER_A_CRASH} == set(PULL_POINTS)


@pytest.mark.parametrize(
    "point",
    [
        point if number % 3 == 0 else pytest.param(point, marks=pytest.mark.long)
        for number, point in enumerate(point for point in PULL_POINTS if point != AFTER_A_CRASH)
    ],
)
def test_a_pull_of_edits_killed_at_a_point_ends_as_if_nothing_had_died(
    prepared: Killing, undisturbed: dict[str, Undisturbed], point: str
) -> None:
    kill_and_compare(prepared, EDITS, undisturbed["edits"], point, 1)


@pytest.mark.parametrize(
    "point",  # the edits above pass every point; of a first pull one before and one after the write stand for all
    [
        point
        if point in ("pull.before_intent", "pull.reply_received")
        else pytest.param(point, marks=pytest.mark.long)
        for point in WRITING
    ],
)
def test_a_first_pull_killed_at_its_second_batch_ends_as_if_nothing_had_died(
    prepared: Killing, undisturbed: dict[str, Undisturbed], point: str
) -> None:
    kill_and_compare(prepared, FIRST, undisturbed["first"], point, 2)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize(
    "second",
    [
        AFTER_A_CRASH,
        *(pytest.param(name, marks=pytest.mark.long) for name in ("feed.page_stored", "plan.stored")),
    ],
)
def test_a_run_that_repairs_may_be_killed_too(
    prepared: Killing, undisturbed: dict[str, Undisturbed], scenario: Scenario, second: str
) -> None:
    world = prepared(scenario, 1)
    kill_at(world, "pull.reply_received", 1)
    kill_at(world, second, 1)
    to_rest(world, scenario)
    assert_as_if_nothing_had_died(world, undisturbed[scenario.name], f"{second} after a kill")


def test_a_change_in_synapse_that_a_dead_run_had_read_is_not_forgotten(make_world: MakeWorld) -> None:
    """The feed's cursor has moved past it, and the source did not change."""
    world = make_world(items=10)
    world.pulled()
    drifted = world.assets()[0]
    world.user_edits(drifted["id"], attributes={"class": "nonsense"})
    kill_at(world, "feed.page_stored", 1)
    world.pulled()
    (now,) = [asset for asset in world.assets() if asset["id"] == drifted["id"]]
    assert now["attributes"] == drifted["attributes"]
    invariants.all_hold(world)


def test_a_killed_run_is_shown_as_failed_once_another_one_took_over(make_world: MakeWorld) -> None:
    world = make_world(items=5)
    kill_at(world, "plan.stored", 1)
    (killed,) = world.rows("SELECT id, status FROM run")
    assert killed["status"] == "running"
    world.pulled()
    shown = world.cli("show", killed["id"]).json
    assert (shown["status"], shown["outcome"], shown["error"]["code"]) == ("failed", "failed", "abandoned")
    nothing = dict.fromkeys(STAT_NAMES, 0) | {"total": 5}
    assert shown["stats"] == nothing and shown["writes"] == {"synapse": 0, "plant3d": 0}
    kinds = shown["by_entity"].values()
    assert {name: sum(kind[name] for kind in kinds) for name in STAT_NAMES} == nothing
    assert (shown["guards"], shown["errors"], shown["findings_by_code"]) == ([], [], {})
    assert shown["planned_writes"] == {"synapse": 5, "plant3d": 0}, "what it meant to do"
    assert shown["unchanged_source"] is False


@pytest.mark.long
@pytest.mark.parametrize("point", [point for point in PULL_POINTS if point != AFTER_A_CRASH])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_a_pull_killed_at_every_passage_of_a_point_ends_as_if_nothing_had_died(
    prepared: Killing, undisturbed: dict[str, Undisturbed], scenario: Scenario, point: str
) -> None:
    expected = undisturbed[scenario.name]
    for count in range(1, expected.points[point] + 1):
        kill_and_compare(prepared, scenario, expected, point, count)


def test_a_first_pull_that_was_killed_goes_on_without_the_create_guard(make_world: MakeWorld) -> None:
    """The assets it made before are links by now, and most are still to be created."""
    world = make_world(guards={"create": [0.1, 5]})
    world.env["SYNC_BATCH_SIZE"] = "20"
    said = world.apart(
        "pull", NAME, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": "pull.receipts_stored:1"}
    )
    assert said.code == -signal.SIGKILL and len(world.live()) == 20
    assert world.pulled()["outcome"] == "clean"
    assert len(world.live()) == 80
    for number in range(10):
        edits.add_item(world.dcf, "GateValve", {"Tag": f"HV-90{number:02d}"})
    assert world.pull().code == 5, "from now on it is on"


def ended_at(world: World, point: str, number: signal.Signals) -> tuple[int, dict[str, Any]]:
    """Pull, and send the signal at this point; exit code and the document on stdout."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plant3d_sync", "--config", str(world.config), "--json", "pull", NAME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=world.folder,
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            **world.environment({"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:stop"}),
        },
    )
    os.waitpid(process.pid, os.WUNTRACED)  # it has stopped
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err, err
    return process.returncode, json.loads(out)


@pytest.mark.parametrize(
    ("point", "number", "written"),
    [
        ("plan.stored:1", signal.SIGINT, 0),
        ("pull.receipts_stored:2", signal.SIGINT, 4),
        ("pull.reply_received:2", signal.SIGTERM, 2),
    ],
)
def test_a_pull_that_is_asked_to_end_says_what_it_had_done_and_the_next_one_does_the_rest(
    prepared: Killing, undisturbed: dict[str, Undisturbed], point: str, number: signal.Signals, written: int
) -> None:
    world = prepared(FIRST, 1)
    code, document = ended_at(world, point, number)
    assert (code, document["error"]["code"]) == (130, "interrupted")
    assert (document["status"], document["outcome"]) == ("failed", "cancelled")
    assert document["plan_id"] and document["started_at"] and document["completed_at"]
    assert document["writes"] == {"synapse": written, "plant3d": 0}
    assert document["stats"]["created"] == written
    shown = world.cli("show", document["run_id"]).json
    for name in (
        "run_id",
        "plan_id",
        "status",
        "outcome",
        "completed_at",
        "stats",
        "by_entity",
        "writes",
        "error",
    ):
        assert shown[name] == document[name], name
    assert world.rows("SELECT holder FROM lease") == [{"holder": None}]
    to_rest(world, FIRST)
    assert_as_if_nothing_had_died(world, undisturbed["first"], f"{number.name} at {point}")


def test_ctrl_c_after_the_last_word_leaves_the_run_as_it_ended(make_world: MakeWorld) -> None:
    world = make_world(items=5)
    code, document = ended_at(world, "lease.released:1", signal.SIGINT)
    assert (code, document["status"], document["outcome"]) == (130, "completed", "clean")
    assert document["writes"] == {"synapse": 5, "plant3d": 0}
    assert world.cli("show", document["run_id"]).json["status"] == "completed"
