"""How much arrives is never said to be better than it is, and whatever does not arrive has its reason."""

from __future__ import annotations

from plant3d_sync.model.coverage import SAME_LINE, Coverage, settled

STATS = {"total": 10, "created": 6, "updated": 0, "unchanged": 0, "skipped": 3, "errors": 1}


def test_a_share_is_rounded_down() -> None:
    assert Coverage(whole=20_000, handed_over=19_999).share == 0.9999
    assert Coverage(whole=3, handed_over=2).share == 0.6666
    assert Coverage().share is None


def test_rows_of_one_line_are_one_item() -> None:
    lines = Coverage(whole=5, handed_over=3, reasons={SAME_LINE: 2})
    assert lines.share == 1.0 and not lines.is_below(1.0)


def test_a_project_on_its_floor_is_not_below_it() -> None:
    half = Coverage(whole=10, handed_over=5)
    assert not half.is_below(0.5) and half.is_below(0.51)


def test_a_write_that_failed_is_a_reason_of_its_own() -> None:
    found = settled(STATS, {"untagged": 3}, 10)
    assert (found.handed_over, found.reasons) == (6, {"untagged": 3, "not_written": 1})


def test_what_was_not_looked_at_is_a_reason_of_its_own() -> None:
    found = settled(STATS, {"untagged": 4}, 15, same_line=2)
    assert found.reasons == {"untagged": 4, SAME_LINE: 2, "not_read": 3}
    assert found.whole == 15 == found.handed_over + sum(found.reasons.values())


def test_reasons_of_all_kinds_add_up() -> None:
    part = Coverage(whole=4, handed_over=1, reasons={"untagged": 3})
    assert Coverage.total([part, part]) == Coverage(whole=8, handed_over=2, reasons={"untagged": 6})


def test_a_line_with_an_asset_of_which_no_segment_is_drawn_is_not_drawn_and_not_unread() -> None:
    found = settled(STATS, {"untagged": 4}, 12, undrawn=2)
    assert "not_read" not in found.reasons and found.whole == found.handed_over + sum(found.reasons.values())
