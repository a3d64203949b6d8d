"""Plans that look like an accident are stopped before the first write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import fields, replace

from plant3d_sync.cli.workbooks import PUSHED
from plant3d_sync.model.link import Open
from plant3d_sync.model.plan import GuardHit, Limit, Limits, Tally
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.model.side import WriteMode
from plant3d_sync.model.step import Cell
from plant3d_sync.reconcile import guard
from plant3d_sync.reconcile.guard import (
    AMOUNTS,
    check_amounts,
    check_identity,
    check_older,
    check_synapse,
    newly_pushed,
)
from plant3d_sync.settings import GuardFile

LIMITS = Limits(
    create=Limit(share=0.5, count=500),
    update=Limit(share=0.3, count=200),
    blank=Limit(share=0.1, count=50),
    archive=Limit(share=0.1, count=50),
)
KNOWN = SourceIdentity(
    dbid="11111111-0000-0000-0000-000000000000",
    pnpid_counter=5000,
    change_counter=77,
    signature="s",
    newest_timestamp=1,
    rows=100,
)


@pytest.mark.parametrize(
    ("name", "field", "share", "count"),
    [
        ("create", "creates", 0.5, 500),
        ("update", "updates", 0.3, 200),
        ("blank", "blanks", 0.1, 50),
        ("archive", "gone", 0.1, 50),
    ],
)
def test_a_guard_stops_only_when_share_and_count_are_both_exceeded(
    name: str, field: str, share: float, count: int
) -> None:
    def hits(links: int, actual: int) -> list[str]:
        tally = Tally(links=links, links_of={"equipment": links})
        setattr(tally, field, Counter(equipment=actual))
        return [hit.name for hit in check_amounts(tally, LIMITS, first_sync=False)]

    small = 10  # the share is exceeded, the count is not
    assert hits(small, small) == []
    large = int((count + 1) / share) * 10  # the count is exceeded, the share is not
    assert hits(large, count + 1) == []
    border = round(count / share)  # exactly at both limits
    assert hits(border, count) == []
    assert hits(border - 5, count + 1) == [name]


@pytest.mark.parametrize("links", [0, 2])
def test_before_the_first_pull_came_to_its_end_there_is_nothing_to_compare_with(links: int) -> None:
    tally = Tally(links=links, creates=Counter(equipment=50_000))
    assert check_amounts(tally, LIMITS, first_sync=True) == []


def test_a_hit_says_what_is_allowed_what_was_found_and_that_nothing_was_written() -> None:
    [hit] = check_amounts(Tally(links=1000, gone=Counter(equipment=400)), LIMITS, first_sync=False)
    assert hit.to_dict() == {
        "name": "archive",
        "limit": "10% and 50",
        "actual": "400 of 1000 (40%)",
        "message": "400 of 1000 linked items are gone from Plant 3D. Nothing was written.",
    }


def test_every_exceeded_guard_is_named() -> None:
    tally = Tally(
        links=1000,
        creates=Counter(equipment=600),
        updates=Counter(equipment=400),
        blanks=Counter(equipment=300),
        gone=Counter(equipment=200),
    )
    assert [hit.name for hit in check_amounts(tally, LIMITS, first_sync=False)] == [
        "create",
        "update",
        "blank",
        "archive",
    ]


@pytest.mark.parametrize(
    ("name", "field", "share", "count"),
    [("push_update", "push_updates", 0.3, 200), ("push_blank", "push_blanks", 0.1, 50)],
)
def test_the_way_into_plant3d_has_the_same_limits(name: str, field: str, share: float, count: int) -> None:
    def hits(links: int, actual: int) -> list[str]:
        tally = Tally(links=links, links_of={"equipment": links})
        setattr(tally, field, Counter(equipment=actual))
        return [hit.name for hit in check_amounts(tally, LIMITS, first_sync=False)]

    border = round(count / share)
    assert hits(border, count) == []
    assert hits(border - 5, count + 1) == [name]


def test_one_kind_of_asset_emptied_in_plant3d_stops_the_run_although_it_is_a_small_share_of_all() -> None:
    tally = Tally(
        links=10_060,
        links_of={"equipment": 60, "instrument": 10_000},
        push_blanks=Counter(equipment=60, instrument=51),
    )
    [hit] = check_amounts(tally, LIMITS, first_sync=False)
    assert (hit.name, hit.actual) == ("push_blank", "60 of 60 (100%)")
    assert hit.message.startswith(
        "60 of 60 items of the kind equipment would lose a filled value in Plant 3D."
    )


@pytest.mark.parametrize(
    ("name", "field", "count"),
    [
        ("create", "creates", 501),
        ("update", "updates", 201),
        ("blank", "blanks", 51),
        ("archive", "gone", 51),
    ],
)
def test_one_kind_of_asset_stops_the_run_into_synapse_too(name: str, field: str, count: int) -> None:
    tally = Tally(links=20_000, links_of={"lines": count, "instruments": 20_000 - count, "valves": 0})
    setattr(tally, field, Counter(lines=count, instruments=count, valves=count))
    [hit] = check_amounts(tally, LIMITS, first_sync=False)
    assert (hit.name, hit.actual) == (name, f"{count} of {count} (100%)")
    assert " of the kind lines " in hit.message


def test_both_kinds_together_exceed_what_none_does_alone() -> None:
    tally = Tally(
        links=100,
        links_of={"equipment": 50, "instrument": 50},
        push_blanks=Counter(equipment=30, instrument=30),
    )
    assert [hit.actual for hit in check_amounts(tally, LIMITS, first_sync=False)] == ["60 of 100 (60%)"]


@pytest.mark.parametrize(
    ("mode", "why", "synapse", "counted"),
    [
        (WriteMode.OFF, None, "new", False),
        (WriteMode.SQL, None, "new", True),
        (WriteMode.SQL, "push_sql", "new", True),
        (WriteMode.WORKBOOK, None, "new", True),
        (WriteMode.WORKBOOK, "waits_for_push", "new", True),
        (WriteMode.WORKBOOK, "push_workbook", "new", False),
        (WriteMode.WORKBOOK, "push_workbook", "older", True),
    ],
)
def test_a_cell_counts_when_it_would_be_written_or_newly_go_into_a_workbook(
    mode: WriteMode, why: str | None, synapse: str, counted: bool
) -> None:
    cell = Cell(
        field="description",
        column="Description",
        table_class="EngineeringItems",
        old="old",
        new="new",
        ticks=1,
        plant3d="old",
        synapse="new",
    )
    pending = {"description": Open(why=why, plant3d="old", synapse=synapse)} if why else {}
    assert bool(newly_pushed([cell], pending, mode)) is counted


def test_the_first_contact_has_no_identity_to_compare_with() -> None:
    assert check_identity(None, KNOWN) == []


def test_the_same_or_a_grown_database_passes() -> None:
    assert check_identity(KNOWN, KNOWN) == []
    assert check_identity(KNOWN, replace(KNOWN, pnpid_counter=5001, change_counter=78, rows=90)) == []


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        (
            replace(KNOWN, dbid="22222222-0000-0000-0000-000000000000", pnpid_counter=1, change_counter=1),
            ["database_id"],
        ),
        (replace(KNOWN, pnpid_counter=4999), ["pnpid_counter"]),
        (replace(KNOWN, change_counter=76), ["change_counter"]),
        (replace(KNOWN, pnpid_counter=4999, change_counter=76), ["pnpid_counter", "change_counter"]),
    ],
)
def test_another_or_an_older_database_is_refused_with_the_reason(
    seen: SourceIdentity, names: list[str]
) -> None:
    hits = check_identity(KNOWN, seen)
    assert [hit.name for hit in hits] == names
    assert all("Nothing was written" in hit.message for hit in hits)


def test_a_change_counter_is_compared_only_with_one_of_the_same_engine() -> None:
    on_server = replace(KNOWN, engine="sqlserver", change_counter=None)
    assert check_identity(KNOWN, on_server) == []
    assert check_identity(on_server, replace(KNOWN, change_counter=1)) == []
    assert check_identity(KNOWN, replace(on_server, change_counter=1)) == []


def test_a_synapse_that_lost_most_assets_stops_the_run() -> None:
    assert check_synapse(links=1000, missing_assets=100, limits=LIMITS) == []
    assert check_synapse(links=40, missing_assets=40, limits=LIMITS) == []
    [hit] = check_synapse(links=1000, missing_assets=101, limits=LIMITS)
    assert (hit.name, hit.actual) == ("synapse_lost", "101 of 1000 (10%)")
    assert check_synapse(links=0, missing_assets=0, limits=LIMITS) == []


# ---------------------------------------------------------------- is anything left out?

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "guards.md"
COUNTED = [one.name for one in fields(Tally) if isinstance(getattr(Tally(), one.name), Counter)]


def amounts(counted: str) -> list[GuardHit]:
    tally = Tally(links=1000, links_of={"equipment": 1000})
    setattr(tally, counted, Counter(equipment=1000))
    return check_amounts(tally, Limits(), first_sync=False)


def every_hit() -> Iterator[GuardHit]:
    for counted in COUNTED:
        yield from amounts(counted)
    yield from check_older(Tally(links=1000, older_rows=1000, older_assets=1000))
    yield from check_identity(KNOWN, replace(KNOWN, dbid="22222222-0000-0000-0000-000000000000"))
    yield from check_identity(KNOWN, replace(KNOWN, pnpid_counter=1, change_counter=1))
    yield from check_synapse(links=1000, missing_assets=1000, limits=Limits())


def rows() -> dict[str, str]:
    """Guard -> when it stops, as the page says."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = line.strip("| ").split(" | ")
        if len(cells) == 3 and cells[0].startswith("`"):
            found |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1])
    return found


def test_every_check_is_asked_here() -> None:
    assert {name for name in vars(guard) if name.startswith("check_")} == {
        "check_amounts",
        "check_older",
        "check_identity",
        "check_synapse",
    }


@pytest.mark.parametrize("counted", COUNTED)
def test_whatever_is_counted_stops_a_run_by_one_guard_by_amount(counted: str) -> None:
    [hit] = amounts(counted)
    assert hit.name in AMOUNTS


def test_every_guard_by_amount_counts_something() -> None:
    assert {hit.name for counted in COUNTED for hit in amounts(counted)} == AMOUNTS


def test_every_limit_is_a_setting_of_the_same_name_and_default() -> None:
    written = {
        name: Limit(share=share, count=count) for name, (share, count) in GuardFile().model_dump().items()
    }
    assert written == {one.name: getattr(Limits(), one.name) for one in fields(Limits)}


def test_a_workbook_asks_every_guard_about_what_reaches_plant3d() -> None:
    assert set(PUSHED) == {name for name in AMOUNTS if name.startswith("push_")}


def test_every_guard_stands_on_its_page_with_its_limit_and_no_other() -> None:
    hits = {hit.name: hit for hit in every_hit()}
    said = rows()
    assert said.keys() == hits.keys()
    for name, hit in hits.items():
        limit = re.fullmatch(r"(\d+)% and (\d+)", hit.limit)
        if limit is not None:
            assert f"more than {limit[1]} % and more than {limit[2]} " in said[name], name


def test_the_example_of_the_page_sets_every_limit() -> None:
    text = PAGE.read_text(encoding="utf-8")
    [example] = re.findall(r"guards: \{(.*)\}", text)
    assert re.findall(r"(\w+): \[", example) == [one.name for one in fields(Limits)]
