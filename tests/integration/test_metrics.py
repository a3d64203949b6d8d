"""What is counted where it happens: real runs with real trouble, and the figures in the text of a scrape."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import App
from plant3d_sync.errors import LeaseLost
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.sample import edits
from plant3d_sync.state import audit, keys, retention, tally
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.tables import audit as audit_table
from plant3d_sync.state.tables import lease
from plant3d_sync.web import create_app
from plant3d_sync.worker.main import Worker
from plant3d_sync.worker.scheduler import verify_when_due
from tests.support.asking import enqueue
from tests.support.jobs import Plant, Queueing, build_plant, together
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.webapp import MINE, Desk, desk

ITEMS = 40
ROOT = Path(__file__).resolve().parents[2]
Samples = dict[str, float]


@pytest.fixture(scope="module")
def synapse() -> Iterator[RunningSynapse]:
    with synapse_in_thread() as running:
        yield running


@pytest.fixture
def plant(tmp_path: Path, synapse: RunningSynapse) -> Plant:
    return build_plant(tmp_path, synapse, ["mine"], items=ITEMS)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


@contextmanager
def opened(plant: Plant) -> Iterator[App]:
    app = plant.app()
    try:
        yield app
    finally:
        app.state.close()


def pull(plant: Plant, direction: str = "pull") -> None:
    with opened(plant) as app:
        enqueue(app.world(), "mine", direction, by="test")
        Worker(app).work(burst=True)


def scraped(plant: Plant) -> Samples:
    """What a web process that starts now tells, less the prefix."""
    with opened(plant) as app:
        with app.state.write() as connection:
            _id, key = keys.create(
                connection, f"scraper {uuid.uuid4().hex}", ["read"], now=app.world().clock(), by="test"
            )
        with TestClient(create_app(app)) as client:
            return samples(client.get("/metrics", headers={"X-API-Key": key}).text)


def samples(text: str) -> Samples:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("plant3d_sync_"): float(value) for name, _, value in lines}


def mine(name: str, **labels: str) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in sorted({**labels, "project": "mine"}.items()))
    return f"{name}{{{inner}}}"


def test_runs_count_their_records_phases_calls_and_locks_once_and_for_good(plant: Plant) -> None:
    pull(plant)
    pull(plant)  # nothing changed: neither copied nor compared
    found = scraped(plant)
    expected = {
        mine("records_total", direction="pull", operation="created"): ITEMS,
        mine("records_total", direction="pull", operation="unchanged"): ITEMS,
        mine("phase_duration_seconds_count", phase="read_synapse"): 2,
        mine("phase_duration_seconds_count", phase="copy"): 1,
        mine("phase_duration_seconds_count", phase="compare"): 1,
        mine("phase_duration_seconds_count", phase="write"): 1,
        mine("source_lock_hold_seconds_count"): 1,
        mine("coverage_ratio", class_kind="valves"): 1,
        mine("echo_writes_total"): 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    calls = mine("upstream_requests_total", outcome="2xx", side="synapse")
    assert found[calls] >= 4  # capabilities and changes twice, a batch
    assert (
        found[mine("upstream_request_duration_seconds_count", outcome="2xx", side="synapse")] == found[calls]
    )
    assert found[mine("upstream_request_duration_seconds_sum", outcome="2xx", side="synapse")] > 0
    bounds = [found[mine("source_lock_hold_seconds_bucket", le=str(bound))] for bound in tally.LOCKS]
    assert bounds == sorted(bounds) and set(bounds) <= {0, 1}
    with opened(plant) as app:
        retention.prune(app.state, now=app.world().clock() + 1e9, days=1)
    kept = scraped(plant)
    assert kept.get(mine("runs_total", direction="pull", outcome="clean")) is None, "its rows are gone"
    assert {name: kept.get(name) for name in expected} == expected


def test_a_guard_that_stops_is_counted_by_its_name(plant: Plant) -> None:
    pull(plant)
    plant.options["mine"] = {"guards": {"update": [0.0, 0]}}
    plant.write_config()
    valve = edits.find(plant.folder / "mine.dcf", "HandValves")[0]
    edits.set_value(plant.folder / "mine.dcf", valve.pnpid, "Description", "Vanne neuve")
    pull(plant)
    found = scraped(plant)
    assert found[mine("guard_stops_total", guard="update")] == 1
    assert mine("records_total", direction="pull", operation="updated") not in found, "nothing was written"


def test_a_plant_3d_file_that_stays_locked_is_counted(plant: Plant) -> None:
    plant.env["P3DSYNC_SOURCE_DEADLINE_SECONDS"] = "0.2"
    with closing(sqlite3.connect(plant.folder / "mine.dcf", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pull(plant)
    assert scraped(plant)[mine("source_busy_total")] == 1


def test_calls_that_nobody_answers_are_counted_although_the_run_waits(plant: Plant) -> None:
    text = plant.config.read_text(encoding="utf-8")
    plant.config.write_text(text.replace(plant.synapse.url, "http://127.0.0.1:9"), encoding="utf-8")
    pull(plant)
    assert scraped(plant)[mine("upstream_requests_total", outcome="no_answer", side="synapse")] >= 1


def run_with(plant: Plant, at: str, do: Callable[[App], object]) -> None:
    """A run of both directions in whose course something happens once, when it is at this phase."""
    happened: list[object] = []
    with opened(plant) as app:

        def progress(phase: str, _done: int, _total: int | None) -> None:
            if phase == at and not happened:
                happened.append(phase)
                do(app)

        Engine(app.world(progress), app.project("mine")).run(Request())
    assert happened


def test_a_run_that_was_overtaken_is_counted_with_its_refused_write(plant: Plant) -> None:
    def overtake(app: App) -> None:
        with app.state.write() as connection:
            connection.execute(sa.update(lease).values(fence=lease.c.fence + 1))

    with pytest.raises(LeaseLost):
        run_with(plant, "compare", overtake)
    found = scraped(plant)
    assert (found[mine("lease_lost_total")], found[mine("fenced_writes_total")]) == (1, 1)


def test_writes_that_came_too_late_and_writes_that_changed_nothing_are_counted(plant: Plant) -> None:
    pull(plant)
    dcf = plant.folder / "mine.dcf"
    pumps = edits.find(dcf, "Equipment")
    edits.set_value(dcf, pumps[0].pnpid, "Description", "From the designer")
    edits.set_value(dcf, pumps[1].pnpid, "Manufacturer", "ACME")
    assets = {asset["tag"]: asset for asset in plant.assets("mine")}
    meanwhile = {
        str(pumps[0].tag): {"description": "From a user, just now"},
        str(pumps[1].tag): {"attributes": {"manufacturer": "ACME"}},
    }

    def edit(_app: App) -> None:
        with plant.synapse.client(plant.projects["mine"]) as client:
            for tag, values in meanwhile.items():
                asset = assets[tag]
                answer = client.patch(
                    f"/dev/projects/{plant.projects['mine']}/assets/{asset['id']}", json=values
                )
                answer.raise_for_status()

    run_with(plant, "compare", edit)
    found = scraped(plant)
    assert found[mine("compare_and_set_misses_total")] == 2, "both rested on versions that moved"
    assert found.get(mine("echo_writes_total"), 0) == 0, "decided again, there was nothing left to write"


def test_counts_of_several_processes_at_once_add_up(jobs: Queueing) -> None:
    def count() -> None:
        counts = tally.Counts()
        counts.add("records", "pull", "created", by=2)
        with jobs.world.state.write() as connection:
            counts.store(connection, "p", 1.0)

    together(*[count] * 8)
    with jobs.world.state.read() as connection:
        assert tally.read(connection) == {"p": {("records", "pull", "created"): 16}}


def test_the_share_in_step_and_the_records_set_aside_are_those_of_the_last_complete_read(
    service: Desk,
) -> None:
    counts = {"total": 10, "unchanged": 7, "skipped": 1, "errors": 2, "findings": 3}
    with service.state.write() as connection:
        project_state.ensure(connection, MINE)
        project_state.update(connection, MINE, last_counts={"valves": counts})
    text = service.get("/metrics", "read").text
    found = samples(text)
    assert found[mine("coverage_ratio", class_kind="valves")] == 0.7
    assert text.count("# TYPE plant3d_sync_coverage_ratio ") == 1, "one family of one name"
    assert found[mine("quarantined_records", class_kind="valves")] == 0, (
        "what is refused is in the quarantine"
    )


# ---------------------------------------------------------------- the audit trail


def walked(service: Desk) -> Samples:
    """What a web process that starts now tells of the audit."""
    client = TestClient(create_app(service.app, world=service.world), base_url="http://plant3d-sync")
    text = client.get("/metrics", headers=service.headers("read")).text
    return {name: value for name, value in samples(text).items() if name.startswith("audit_ch")}


def test_a_changed_audit_entry_shows_after_the_next_daily_walk(service: Desk) -> None:
    for project in (MINE, "other"):
        with service.state.write() as connection:
            audit.append(connection, project, action="test", actor="test", at=1.0)
    service.headers("read")  # a key: the service's own chain
    assert walked(service) == {}, "nobody walked over the chains yet"
    assert verify_when_due(service.world) == 4
    assert verify_when_due(service.world) is None, "once a day"
    chains = {f'audit_chain_ok{{project="{name}"}}': 1.0 for name in (MINE, "other", "system")}
    assert walked(service) == {**chains, "audit_checked_timestamp_seconds": service.clock()}
    with service.state.engine.begin() as connection:
        for trigger in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")):
            connection.execute(sa.text(f'DROP TRIGGER "{trigger.name}"'))
        connection.execute(
            sa.update(audit_table).where(audit_table.c.project == MINE).values(body='{"action":"other"}')
        )
    service.clock.now += 86_400
    assert verify_when_due(service.world) == 4
    assert walked(service)[f'audit_chain_ok{{project="{MINE}"}}'] == 0
    assert walked(service)['audit_chain_ok{project="other"}'] == 1


# ---------------------------------------------------------------- the page


def test_the_page_names_every_metric_and_no_other(service: Desk) -> None:
    service.well()
    verify_when_due(service.world)
    text = service.get("/metrics", "read").text
    served = {
        name.removesuffix("_created")
        for name in re.findall(r"^# TYPE plant3d_sync_(\S+) (?:counter|gauge|histogram)$", text, re.MULTILINE)
    }
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    listing = page.split("## Metrics")[1].split("\n## ")[0].split("\n\n")[2]
    named = set(re.findall(r"`(\w+)`", listing))
    assert named == served
