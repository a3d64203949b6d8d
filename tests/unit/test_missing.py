"""A missing item is a question: it is counted, waits, and becomes an archive line only in the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plant3d_sync.model.link import LinkState, Missing
from plant3d_sync.model.plan import MissingPolicy
from plant3d_sync.reconcile.missing import Absence, step

START = datetime(2026, 3, 8, 6, 0, tzinfo=UTC)


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


def reads(policy: MissingPolicy, *seen: tuple[float, str | None]) -> list[Absence]:
    """Reads at these minutes, each with the signature of the source."""
    steps: list[Absence] = []
    missing: Missing | None = None
    state = LinkState.ACTIVE
    for minutes, signature in seen:
        absence = step(state=state, missing=missing, policy=policy, now=at(minutes), signature=signature)
        state, missing = absence.state, absence.missing
        steps.append(absence)
    return steps


def test_three_reads_of_a_changed_source_within_half_an_hour_prove_no_absence() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (1, "b"), (2, "c"), (29.9, "d"))
    assert {absence.state for absence in steps} == {LinkState.MISSING}
    assert not any(absence.archive for absence in steps)
    assert steps[-1].missing.reads == 4


def test_half_an_hour_with_a_single_read_proves_no_absence_either() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (45, "b"))
    assert [absence.state for absence in steps] == [LinkState.MISSING] * 2


def test_three_reads_of_a_changed_source_over_half_an_hour_make_it_pending() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (1, "b"), (30, "c"))
    assert [absence.state for absence in steps] == [LinkState.MISSING, LinkState.MISSING, LinkState.PENDING]
    assert [absence.archive for absence in steps] == [False, False, True]


def test_reading_the_same_file_again_and_again_does_not_count() -> None:
    steps = reads(MissingPolicy(), *[(n, "a") for n in range(29)])
    assert {absence.missing.reads for absence in steps} == {1}
    assert not any(absence.archive for absence in steps)


def test_an_unchanged_source_counts_every_half_hour() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (29.9, "a"), (30, "a"), (59, "a"), (60, "a"))
    assert [absence.missing.reads for absence in steps] == [1, 1, 2, 2, 3]
    assert steps[-1].archive


def test_without_a_signature_only_time_counts() -> None:
    """SQL Server gives no cheap token of "nothing happened"."""
    steps = reads(MissingPolicy(), (0, None), (5, None), (10, None), (30, None), (60, None))
    assert [absence.missing.reads for absence in steps] == [1, 1, 1, 2, 3]
    moved_while_copied = reads(MissingPolicy(), (0, "a"), (5, None), (10, None))
    assert [absence.missing.reads for absence in moved_while_copied] == [1, 1, 1]


def test_a_clock_that_goes_back_counts_nothing() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (-60, "a"), (-600, "a"))
    assert {absence.missing.reads for absence in steps} == {1}


@pytest.mark.parametrize("offset", ["-05:00", "+02:00"])
def test_times_in_another_offset_count_the_same(offset: str) -> None:
    known = Missing(since=at(0), reads=1, last_counted=at(0), signature="a")
    hours = int(offset[:3])
    local = (START + timedelta(hours=hours, minutes=31)).replace(tzinfo=None).isoformat() + offset
    absence = step(state=LinkState.MISSING, missing=known, policy=MissingPolicy(), now=local, signature="a")
    assert absence.missing.reads == 2


@pytest.mark.parametrize(
    ("policy", "archive", "unattended"),
    [("ask", True, False), ("archive", True, True), ("keep", False, False)],
)
def test_only_the_policy_archive_lets_a_run_archive_by_itself(
    policy: str, archive: bool, unattended: bool
) -> None:
    last = reads(MissingPolicy(policy=policy), (0, "a"), (1, "b"), (30, "c"))[-1]
    assert (last.archive, last.unattended) == (archive, unattended)
    assert last.state is LinkState.PENDING


def test_the_first_absence_is_remembered_for_good() -> None:
    steps = reads(MissingPolicy(), (0, "a"), (1, "b"), (2, "c"), (3, "d"))
    assert {absence.missing.since for absence in steps} == {at(0)}
    assert steps[-1].missing.last_counted == at(3)


def test_the_number_of_reads_is_the_policy_s() -> None:
    assert reads(MissingPolicy(reads=1, minutes=0), (0, "a"))[0].archive
    many = reads(MissingPolicy(reads=5, minutes=0), *[(n, str(n)) for n in range(5)])
    assert [absence.archive for absence in many] == [False] * 4 + [True]


def test_what_an_older_copy_lacks_is_archived_by_a_person_only_however_long_it_is_gone() -> None:
    policy = MissingPolicy(reads=1, minutes=0, policy="archive")
    first = step(state=LinkState.ACTIVE, missing=None, policy=policy, now=at(0), signature="a", older=True)
    later = step(state=first.state, missing=first.missing, policy=policy, now=at(60), signature="b")
    assert [(one.archive, one.unattended) for one in (first, later)] == [(True, False)] * 2
    usual = step(state=LinkState.ACTIVE, missing=None, policy=policy, now=at(0), signature="a")
    assert usual.unattended
