"""What a run says of itself is stored and repeated to the letter, and what was stored before is read."""

from __future__ import annotations

import msgspec
import pytest

from plant3d_sync.model.coverage import Coverage, ProjectCoverage
from plant3d_sync.model.plan import STAT_NAMES, GuardHit
from plant3d_sync.model.tally import Counts
from plant3d_sync.run.report import Report, always
from plant3d_sync.run.standing import Standing
from plant3d_sync.state.runs import counts_of

NOTHING = dict.fromkeys(STAT_NAMES, 0)
VALVES = {"whole": 4, "handed_over": 1, "share": 0.25, "reasons": {"untagged": 3}}
STORED = {
    "run_id": "r",
    "plan_id": "p",
    "at": 1770000000.5,
    "signature": "s",
    "settings": "d",
    "doors": None,
    "stirs": 10,
    "direction": "both",
    "waiting": 5,
    "due_at": None,
    "told": {
        "outcome": "guarded",
        "by_entity": {"valves": NOTHING | {"total": 4, "skipped": 3}},
        "push_stats": NOTHING,
        "push_only": NOTHING,
        "waiting_for_person": {"archive": 2},
        "guards": [{"name": "update", "limit": "1", "actual": "4", "message": "Many."}],
        "errors": 2,
        "coverage": {**VALVES, "warn": 0.5, "below": True, "by_entity": {"valves": VALVES}},
        "schema_step": {
            "step": "5b1a",
            "since": "2026-11-27T10:00:00Z",
            "changes": [
                {
                    "kind": "column_changed",
                    "message": "The column Size of GateValve changed.",
                    "column": "Size",
                    "classes": ["GateValve"],
                    "fields": ["attributes.size"],
                    "before": {"length": 10},
                    "after": None,
                    "items": 4,
                }
            ],
            "enter": {"count": 1, "items": [{"pnpid": 7, "tag": None, "class": "GateValve"}]},
            "leave": {"count": 0, "items": []},
        },
        "planned_writes": {"synapse": 4, "plant3d": 0},
    },
}
"""As the version before this test stored it (no member has moved since)."""


def test_a_decision_is_read_and_stored_to_the_letter() -> None:
    decided = Standing.of(STORED)
    assert decided is not None
    assert decided.told.guards == [GuardHit(name="update", limit="1", actual="4", message="Many.")]
    assert msgspec.json.encode(decided) == msgspec.json.encode(STORED)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {name: value for name, value in STORED.items() if name != "told"},
        STORED | {"of_tomorrow": 1},
        STORED | {"told": {"outcome": "clean"}},
        STORED | {"stirs": "many"},
    ],
)
def test_a_decision_of_another_version_does_not_stand(stored: dict[str, object]) -> None:
    assert Standing.of(stored) is None


def test_a_decision_from_before_the_schema_was_looked_at_stands() -> None:
    told = {name: value for name, value in STORED["told"].items() if name != "schema_step"}  # type: ignore[attr-defined]
    decided = Standing.of(STORED | {"told": told})
    assert decided is not None and decided.told.schema_step is None


def test_coverage_is_read_and_told_to_the_letter() -> None:
    coverage = ProjectCoverage(
        warn=0.5, by_entity={"valves": Coverage(whole=4, handed_over=1, reasons={"untagged": 3})}
    )
    document = STORED["told"]["coverage"]  # type: ignore[index]
    assert msgspec.json.encode(coverage.to_dict()) == msgspec.json.encode(document)
    assert ProjectCoverage.from_dict(coverage.to_dict()) == coverage
    assert coverage.of(["lines"]).to_dict()["whole"] == 0


def test_every_run_has_the_members_that_only_some_have_something_to_say_about() -> None:
    told = Report(project="mine", direction="pull").to_dict()
    assert list(told)[-4:] == list(always()) and {name: told[name] for name in always()} == always()


def test_members_of_some_runs_are_left_out_where_there_is_nothing_to_say() -> None:
    some = {"decided_by": "r", "for_workbook": 2, "written_before": 3, "found_applied": {"synapse": 1}}
    report = Report(project="mine", direction="both", decided_by="r", for_workbook=2, written_before=3)
    report.found_applied = {"synapse": 1}
    told = report.to_dict()
    assert told.items() >= some.items()
    assert not {"schema_step", "work_items"} & told.keys()


def test_counts_are_those_of_the_directions_that_a_run_had() -> None:
    assert counts_of({"continued_by": "r"}) == Counts(stats=NOTHING)
    pull = counts_of({"stats": NOTHING, "by_entity": {}, "push_stats": None})
    assert "push_stats" not in pull.document() and "pull_stats" not in pull.document()
