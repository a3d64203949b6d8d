"""Prometheus metrics, read from the state database when they are asked for: right with any number of processes.

Sums over runs are kept and carried on: only runs that ended since the last scrape are read. What no table tells is
counted where it happens and stored with it (`plant3d_sync.state.tally`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from plant3d_sync import __version__
from plant3d_sync.model.run import RunStatus
from plant3d_sync.model.side import Direction
from plant3d_sync.state import Connection, audit, gauges, tally, waiting
from plant3d_sync.state import quarantine as refused_rows
from plant3d_sync.state.store import SCHEMA
from plant3d_sync.usecases.status import read_components
from plant3d_sync.web.context import Context

CACHED_SECONDS = 10.0
BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds; upper bounds of the run durations."""

P = "plant3d_sync_"


class _Sum(msgspec.Struct):
    """Ended runs of one project, direction and outcome."""

    count: int = 0
    seconds: float = 0.0
    within: list[int] = msgspec.field(default_factory=lambda: [0] * len(BUCKETS))


class Metrics:
    """Collects the metrics of one process's scrapes. What was read is good for ten seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str, str], _Sum] = {}
        self._read_up_to = 0
        self._cached: list[Metric] = []
        self._cached_at = -CACHED_SECONDS

    def render(self, visible: Iterable[str]) -> bytes:
        """The text of a scrape: metrics of the service and of these projects."""
        names = set(visible)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Only(self._fresh(), names))
        return generate_latest(registry)

    def _fresh(self) -> list[Metric]:
        with self._lock:
            if time.monotonic() - self._cached_at >= CACHED_SECONDS:
                with self._context.state.read() as connection:
                    self._carry_on(connection)
                    self._cached = list(self._collect(connection))
                self._cached_at = time.monotonic()
            return self._cached

    def _carry_on(self, connection: Connection) -> None:
        """Add the runs that ended since, up to the oldest one that is not over."""
        up_to = gauges.ended_up_to(connection)
        if up_to <= self._read_up_to:
            return
        for row in gauges.ended(connection, after=self._read_up_to, up_to=up_to, bounds=BUCKETS):
            kept = self._sums.setdefault((row.project, row.direction, row.outcome), _Sum())
            kept.count += row.count
            kept.seconds += row.seconds
            kept.within = [old + more for old, more in zip(kept.within, row.within, strict=True)]
        self._read_up_to = up_to

    def _collect(self, connection: Connection) -> Iterator[Metric]:
        now = self._context.clock()
        yield from self._runs()
        yield from self._expected()
        yield from _projects(connection)
        yield from _going(connection, now)
        yield from _waiting_for_people(connection, now)
        yield from _backups(connection)
        yield from _service(connection)
        yield from _counted(connection)
        yield from _coverage(connection)
        yield from _audited(connection)

    def _runs(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            P + "runs", "Runs that ended.", labels=["project", "direction", "outcome"]
        )
        durations = HistogramMetricFamily(
            P + "run_duration_seconds", "Time from start to end.", labels=["project", "direction", "outcome"]
        )
        for labels, kept in sorted(self._sums.items()):
            total.add_metric(labels, kept.count)
            buckets = [(str(bound), count) for bound, count in zip(BUCKETS, kept.within, strict=True)]
            durations.add_metric(labels, [*buckets, ("+Inf", kept.count)], sum_value=kept.seconds)
        yield total
        yield durations

    def _expected(self) -> Iterator[Metric]:
        """What the schedule owes: there from the start, so that a success that never came is missed too."""
        interval = GaugeMetricFamily(
            P + "schedule_interval_seconds",
            "How often a run of this direction should succeed; active projects only.",
            labels=["project", "direction"],
        )
        for name in sorted(self._context.app.project_names(active_only=True)):
            watched = self._context.watched(name)
            both = (Direction.PULL, Direction.PUSH)
            for direction in both if watched.direction is Direction.BOTH else (watched.direction,):
                interval.add_metric([name, direction.value], watched.interval)
        yield interval


class _Only:
    """A collector that shows what belongs to no project, or to one of these."""

    def __init__(self, metrics: list[Metric], projects: set[str]) -> None:
        self._metrics = metrics
        self._projects = projects

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        for metric in self._metrics:
            shown = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            shown.samples = [
                sample
                for sample in metric.samples
                if "project" not in sample.labels or sample.labels["project"] in self._projects
            ]
            yield shown


def _projects(connection: Connection) -> Iterator[Metric]:
    success = GaugeMetricFamily(
        P + "run_last_success_timestamp_seconds",
        "When a run last succeeded; the alert computes the age.",
        labels=["project", "direction"],
    )
    skew = GaugeMetricFamily(
        P + "clock_skew_seconds", "SYNAPSE's clock minus ours.", labels=["project", "side"]
    )
    lag = GaugeMetricFamily(
        P + "workstation_lag_seconds",
        "How far behind a workstation's clock was ever shown to be, at most, until somebody has it forgotten.",
        labels=["project"],
    )
    for row in gauges.projects(connection):
        for direction, at in (("pull", row.pull_ok_at), ("push", row.push_ok_at)):
            if at is not None:
                success.add_metric([row.name, direction], at)
        if row.skew is not None:
            skew.add_metric([row.name, "synapse"], row.skew)
        if row.plant_lag is not None:
            lag.add_metric([row.name], row.plant_lag)
    yield success
    yield skew
    yield lag


def _going(connection: Connection, now: float) -> Iterator[Metric]:
    in_progress = GaugeMetricFamily(
        P + "run_in_progress_seconds", "How long the running run has been going.", labels=["project"]
    )
    waiting = GaugeMetricFamily(P + "queue_waiting_runs", "Runs that wait.", labels=["project"])
    for name, status, count, started in gauges.live_runs(connection):
        if status == RunStatus.QUEUED:
            waiting.add_metric([name], count)
        elif started is not None:
            in_progress.add_metric([name], max(now - started, 0.0))
    yield in_progress
    yield waiting


def _waiting_for_people(connection: Connection, now: float) -> Iterator[Metric]:
    conflicts = GaugeMetricFamily(
        P + "conflicts_open", "Conflicts that wait for a decision.", labels=["project"]
    )
    oldest = GaugeMetricFamily(P + "conflict_oldest_seconds", "Age of the oldest one.", labels=["project"])
    for name, count, since in gauges.pending_conflicts(connection):
        conflicts.add_metric([name], count)
        oldest.add_metric([name], max(now - since, 0.0))
    plans = GaugeMetricFamily(
        P + "plan_pending", "Plans stopped by a guard or not yet applied.", labels=["project"]
    )
    plan_age = GaugeMetricFamily(P + "plan_oldest_seconds", "Age of the oldest one.", labels=["project"])
    for name, count, since in gauges.waiting_plans(connection):
        plans.add_metric([name], count)
        plan_age.add_metric([name], max(now - since, 0.0))
    drift = GaugeMetricFamily(
        P + "drift_fields", "Fields edited on the side that does not own them.", labels=["project"]
    )
    found = GaugeMetricFamily(
        P + "findings_open", "Findings of the last complete run, by code.", labels=["project", "code"]
    )
    for name, code, count in gauges.open_findings(connection):
        found.add_metric([name, code], count)
        if code == "drift":
            drift.add_metric([name], count)
    yield from (conflicts, oldest, plans, plan_age, drift, found)
    yield from _waiting(connection, now)


def _waiting(connection: Connection, now: float) -> Iterator[Metric]:
    """As the command `waiting` counts; every kind is there from the start."""
    count = GaugeMetricFamily(
        P + "waiting_for_person", "What no run settles by itself.", labels=["project", "kind"]
    )
    age = GaugeMetricFamily(
        P + "waiting_oldest_seconds", "Age of the oldest of a kind.", labels=["project", "kind"]
    )
    for name in (known.name for known in gauges.projects(connection)):
        found = waiting.oldest(connection, name)
        for kind in waiting.KINDS:
            number, since = found.get(kind, (0, None))
            count.add_metric([name, kind], number)
            if since is not None:
                age.add_metric([name, kind], max(now - since, 0.0))
    yield count
    yield age


def _backups(connection: Connection) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        P + "backup_last_success_timestamp_seconds",
        "When Plant 3D's database was last backed up.",
        labels=["project"],
    )
    size = GaugeMetricFamily(P + "backup_bytes", "Bytes of all kept backups.", labels=["project"])
    for name, at, total in gauges.backups(connection):
        last.add_metric([name], at)
        size.add_metric([name], total)
    yield last
    yield size


def _service(connection: Connection) -> Iterator[Metric]:
    seen = read_components(connection)
    for name, text, at in (
        ("worker_last_seen_timestamp_seconds", "When a worker last showed itself.", seen.worker),
        ("scheduler_last_tick_timestamp_seconds", "When a scheduler last showed itself.", seen.scheduler),
    ):
        if at is not None:
            yield GaugeMetricFamily(P + name, text, value=at)
    entries = CounterMetricFamily(P + "audit_entries", "Entries of the audit.", labels=["project"])
    by_project: Counter[str] = Counter()
    for chain, entries_of_it in gauges.audit_chains(connection):
        by_project[audit.project_of(chain)] += entries_of_it
    for name, number in by_project.items():
        entries.add_metric([name], number)
    yield entries
    info = GaugeMetricFamily(P + "build_info", "What runs.", labels=["version", "schema"])
    info.add_metric([__version__, SCHEMA], 1)
    yield info


# ---------------------------------------------------------------- what was counted where it happened

PLAIN = {
    "echo_writes": "Writes to SYNAPSE that changed nothing, since it held the values already. Should not grow.",
    "compare_and_set_misses": "Conditional writes refused because the value had moved since the plan.",
    "source_busy": "Runs that gave up for the moment because the Plant 3D database was busy.",
    "lease_lost": "Runs that stopped because another one had taken the project over.",
    "fenced_writes": "Writes to our own memory refused because another run had taken the project over.",
}
"""Counters without labels of their own; every project shows them, from 0 on."""

LABELLED = {
    "records": ("Records of runs that came to their end.", ["direction", "operation"]),
    "guard_stops": ("Runs that a guard stopped before the first write.", ["guard"]),
}

DURATIONS = {
    "phase": (
        "phase_duration_seconds",
        "Time of a phase of a run that came to its end.",
        ["phase"],
        tally.PHASES,
    ),
    "lock": (
        "source_lock_hold_seconds",
        "How long a run kept the Plant 3D file locked to copy it.",
        [],
        tally.LOCKS,
    ),
    "upstream": (
        "upstream_request_duration_seconds",
        "Calls to SYNAPSE by runs, every attempt by itself.",
        ["side", "outcome"],
        tally.CALLS,
    ),
}


def _counted(connection: Connection) -> Iterator[Metric]:
    stored = tally.read(connection)
    names = sorted(known.name for known in gauges.projects(connection))
    for name, text in PLAIN.items():
        plain = CounterMetricFamily(P + name, text, labels=["project"])
        for one in names:
            plain.add_metric([one], stored.get(one, {}).get((name,), 0))
        yield plain
    for name, (text, labels) in LABELLED.items():
        labelled = CounterMetricFamily(P + name, text, labels=["project", *labels])
        for one, counts in sorted(stored.items()):
            for key, number in sorted(counts.items()):
                if key[0] == name:
                    labelled.add_metric([one, *key[1:]], number)
        yield labelled
    requests = CounterMetricFamily(
        P + "upstream_requests", "Calls to SYNAPSE by runs.", labels=["project", "side", "outcome"]
    )
    for kind, (name, text, labels, bounds) in DURATIONS.items():
        durations = HistogramMetricFamily(P + name, text, labels=["project", *labels])
        for one, counts in sorted(stored.items()):
            for key in sorted({key[:-1] for key in counts if key[0] == kind}):
                buckets = _buckets(counts, key, bounds)
                durations.add_metric([one, *key[1:]], buckets, sum_value=counts.get((*key, "sum"), 0.0))
                if kind == "upstream":
                    requests.add_metric([one, *key[1:]], buckets[-1][1])
        yield durations
    yield requests


def _buckets(
    counts: Mapping[tally.Key, float], key: tally.Key, bounds: Sequence[float]
) -> list[tuple[str, float]]:
    """Counts up to each bound, the last one without bound."""
    found, total = [], 0.0
    for bound in [*map(str, bounds), "+Inf"]:
        total += counts.get((*key, bound), 0)
        found.append((bound, total))
    return found


def _coverage(connection: Connection) -> Iterator[Metric]:
    aside = GaugeMetricFamily(
        P + "quarantined_records",
        "Refused rows that nobody left alone, as the command `quarantine list` shows them.",
        labels=["project", "class_kind"],
    )
    share = GaugeMetricFamily(
        P + "coverage_ratio",
        "Share of the items of the mapping's classes that the last complete run handed over, between 0 and 1.",
        labels=["project", "class_kind"],
    )
    left = GaugeMetricFamily(
        P + "not_handed_over_records",
        "Items of the mapping's classes that the last complete run did not hand over.",
        labels=["project", "class_kind", "reason"],
    )
    refused = refused_rows.counts(connection)
    for known in gauges.projects(connection):
        name = known.name
        for entity, counts in sorted(known.last_counts.items()):
            aside.add_metric([name, entity], refused.get((name, entity), 0))
            covered = counts.get("coverage")
            if covered is not None and covered["share"] is not None:
                share.add_metric([name, entity], covered["share"])
                for reason, count in covered["reasons"].items():
                    left.add_metric([name, entity, reason], count)
            elif covered is None and counts["total"]:  # counted by an earlier version
                share.add_metric([name, entity], counts["unchanged"] / counts["total"])
    yield aside
    yield share
    yield left


def _audited(connection: Connection) -> Iterator[Metric]:
    """As the last daily walk found the chains; nothing before the first one."""
    checked = audit.last_check(connection)
    if checked is None:
        return
    whole = GaugeMetricFamily(
        P + "audit_chain_ok", "1 if the audit chain held when last walked over.", labels=["project"]
    )
    names = {audit.project_of(chain) for chain, _entries in gauges.audit_chains(connection)}
    for name in sorted(names | set(checked.broken)):
        whole.add_metric([name], 0 if name in checked.broken else 1)
    yield whole
    yield GaugeMetricFamily(
        P + "audit_checked_timestamp_seconds",
        "When the audit chains were last walked over.",
        value=checked.at,
    )
