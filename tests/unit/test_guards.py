"""Plans that look like an accident are stopped before the first write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plant3d_sync.model.plan import Limit, Limits, Tally
from plant3d_sync.model.record import SourceIdentity
from plant3d_sync.reconcile.guard import check_amounts, check_identity, check_synapse

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
        tally = Tally(links=links)
        setattr(tally, field, actual)
        return [hit.name for hit in check_amounts(tally, LIMITS, first_sync=False)]

    small = 10  # the share is exceeded, the count is not
    assert hits(small, small) == []
    large = int((count + 1) / share) * 10  # the count is exceeded, the share is not
    assert hits(large, count + 1) == []
    border = round(count / share)  # exactly at both limits
    assert hits(border, count) == []
    assert hits(border - 5, count + 1) == [name]


def test_with_no_links_there_is_nothing_to_compare_with() -> None:
    assert check_amounts(Tally(creates=50_000), LIMITS, first_sync=True) == []


def test_a_hit_says_what_is_allowed_what_was_found_and_that_nothing_was_written() -> None:
    [hit] = check_amounts(Tally(links=1000, gone=400), LIMITS, first_sync=False)
    assert hit.to_dict() == {
        "name": "archive",
        "limit": "10% and 50",
        "actual": "400 of 1000 (40%)",
        "message": "400 of 1000 linked items are gone from Plant 3D. Nothing was written.",
    }


def test_every_exceeded_guard_is_named() -> None:
    tally = Tally(links=1000, creates=600, updates=400, blanks=300, gone=200)
    assert [hit.name for hit in check_amounts(tally, LIMITS, first_sync=False)] == [
        "create",
        "update",
        "blank",
        "archive",
    ]


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


def test_a_synapse_that_lost_most_assets_stops_the_run() -> None:
    assert check_synapse(links=1000, missing_assets=100, limits=LIMITS) == []
    assert check_synapse(links=40, missing_assets=40, limits=LIMITS) == []
    [hit] = check_synapse(links=1000, missing_assets=101, limits=LIMITS)
    assert (hit.name, hit.actual) == ("synapse_lost", "101 of 1000 (10%)")
    assert check_synapse(links=0, missing_assets=0, limits=LIMITS) == []
