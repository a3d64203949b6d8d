"""The alert rules: they name metrics that are served, and they fire on what is missing, not only on what is wrong.

The expressions are tried with Prometheus' own `promtool` where it is installed (Debian: package `prometheus`), or where
`P3DSYNC_TEST_PROMTOOL` names it; elsewhere those tests are skipped and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plant3d_sync.worker.scheduler import verify_when_due
from tests.support.webapp import MINE, OTHER, Desk, desk

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/alerts.yml"
HOUR = 60  # samples: one a minute
SILENT, NEVER = "Plant3dSyncSilent", "Plant3dSyncNeverSucceeded"
Series = dict[str, str]
"""By the names of `KNOWN`: values as promtool writes them."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def exposed(service: Desk) -> str:
    text: str = service.get("/metrics", "read").text
    return text


def test_every_rule_names_metrics_that_are_served_and_has_a_chapter_in_the_handbook(service: Desk) -> None:
    service.well()
    verify_when_due(service.world)
    served = set(re.findall(r"^# TYPE (plant3d_sync_\S+) ", exposed(service), re.MULTILINE))
    named = {name for rule in rules() for name in re.findall(r"plant3d_sync_\w+", rule["expr"])}
    assert named <= served, named - served
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/howto/deploy.md").read_text("utf-8"), re.MULTILINE)
    chapters = {heading.lower().replace(" ", "-") for heading in headings}
    for rule in rules():
        page, _, chapter = rule["annotations"]["runbook"].partition("#")
        assert (page, chapter in chapters) == ("docs/howto/deploy.md", True), rule["alert"]


def test_what_a_schedule_owes_is_told_from_the_start_and_only_for_projects_that_are_switched_on(
    service: Desk,
) -> None:
    projects = service.app.config.projects
    projects[MINE].direction, projects[OTHER].direction = "both", "push"
    owed = "plant3d_sync_schedule_interval_seconds"
    lines = [line for line in exposed(service).splitlines() if line.startswith(owed)]
    assert lines == [
        f'{owed}{{direction="pull",project="{MINE}"}} 300.0',
        f'{owed}{{direction="push",project="{MINE}"}} 300.0',
        f'{owed}{{direction="push",project="{OTHER}"}} 300.0',
    ]
    projects[MINE].active = projects[OTHER].active = False
    service.web.state.metrics._cached_at = float("-inf")  # what was read is good for ten seconds
    assert f"{owed}{{" not in exposed(service)


# ---------------------------------------------------------------- the expressions, by Prometheus itself


@pytest.fixture(scope="module")
def promtool() -> str:
    found = os.environ.get("P3DSYNC_TEST_PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("promtool is not installed (Debian: package prometheus): the alert rules were NOT tried")
    return found


KNOWN = {
    "UP": 'plant3d_sync_build_info{instance="a"}',
    "OWED": 'plant3d_sync_schedule_interval_seconds{instance="a", project="p", direction="pull"}',
    "SUCCESS": 'plant3d_sync_run_last_success_timestamp_seconds{instance="a", project="p", direction="pull"}',
    "SKEW": 'plant3d_sync_clock_skew_seconds{instance="a", project="p", side="synapse"}',
    "WAITS": 'plant3d_sync_waiting_oldest_seconds{instance="a", project="p", kind="quarantine"}',
    "AUDIT": "plant3d_sync_audit_checked_timestamp_seconds",
    "WORKER": "plant3d_sync_worker_last_seen_timestamp_seconds",
    "TICK": "plant3d_sync_scheduler_last_tick_timestamp_seconds",
}
LASTS = f"x{4 * 24 * HOUR}"


def firing(promtool: str, folder: Path, at: str, **series: str) -> set[str]:
    """Alerts that fire at this time (`90m`) when the series have these values, one a minute from 0 on."""
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": KNOWN[name], "values": values} for name, values in series.items()
                ],
                "alert_rule_test": [
                    {"eval_time": at, "alertname": rule["alert"], "exp_alerts": []} for rule in rules()
                ],
            }
        ],
    }
    path = folder / "rules-test.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "SUCCESS" in said or "FAILED" in said, said
    return set(re.findall(r"alertname: ?(\w+)", said)) if done.returncode else set()


WELL = {"UP": f"1{LASTS}", "WORKER": f"0+60{LASTS}", "TICK": f"0+60{LASTS}", "AUDIT": f"0+60{LASTS}"}
"""A service whose processes show themselves all the time."""


def test_the_rules_are_rules(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("series", "at", "expected"),
    [
        ({"OWED": f"300{LASTS}", "SUCCESS": f"0+60{LASTS}"}, "1d", set()),
        ({"OWED": f"300{LASTS}", "SUCCESS": f"60{LASTS}"}, "50m", set()),
        ({"OWED": f"300{LASTS}", "SUCCESS": f"60{LASTS}"}, "70m", {SILENT}),
        ({"OWED": f"7200{LASTS}", "SUCCESS": f"60{LASTS}"}, "5h", set()),
        ({"OWED": f"7200{LASTS}", "SUCCESS": f"60{LASTS}"}, "7h", {SILENT}),
        ({"OWED": f"300{LASTS}"}, "50m", set()),
        ({"OWED": f"300{LASTS}"}, "61m", {NEVER}),
        ({"SUCCESS": f"60{LASTS}"}, "61m", {"Plant3dSyncNothingConfigured"}),
        ({"OWED": f"300{LASTS}", "SUCCESS": f"0+60{LASTS}", "SKEW": f"300{LASTS}"}, "1h", {"Plant3dSyncClocksDiffer"}),
        ({"OWED": f"300{LASTS}", "SUCCESS": f"0+60{LASTS}", "WAITS": f"700000{LASTS}"}, "1h", {"Plant3dSyncWaitsForPerson"}),
        ({"OWED": f"300{LASTS}", "SUCCESS": f"0+60{LASTS}", "WAITS": f"600000{LASTS}"}, "1h", set()),
    ],
    ids=[
        "all is well",
        "a pause",
        "silence",
        "a long interval",
        "silence of a long interval",
        "a first pull that takes its time",
        "a project that never succeeded",
        "a project that is switched off",
        "clocks apart",
        "something waits for a week",
        "something waits for some days",
    ],
)  # fmt: skip
def test_silence_and_what_never_came_are_alarms_and_a_project_that_is_switched_off_is_none(
    promtool: str, tmp_path: Path, series: Series, at: str, expected: set[str]
) -> None:
    assert firing(promtool, tmp_path, at, **WELL, **series) == expected


@pytest.mark.parametrize(
    ("missing", "alert"),
    [
        ("UP", "Plant3dSyncNotScraped"),
        ("WORKER", "Plant3dSyncWorkerGone"),
        ("TICK", "Plant3dSyncSchedulerGone"),
        ("AUDIT", "Plant3dSyncAuditUnchecked"),
    ],
)
def test_what_is_not_there_at_all_is_an_alarm(
    promtool: str, tmp_path: Path, missing: str, alert: str
) -> None:
    series = {**WELL, "OWED": f"300{LASTS}", "SUCCESS": f"0+60{LASTS}"}
    del series[missing]
    assert firing(promtool, tmp_path, "3h", **series) == {alert}


def test_a_project_that_is_switched_off_has_no_clocks_to_set(promtool: str, tmp_path: Path) -> None:
    series = {**WELL, "SUCCESS": f"0+60{LASTS}", "SKEW": f"300{LASTS}"}
    assert firing(promtool, tmp_path, "30m", **series) == set()
