"""Rows and assets of an earlier day: what is evidence of a copy, and what a plan makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from plant3d_sync.model.link import Hold, Open
from plant3d_sync.model.outcome import Resolution
from plant3d_sync.model.plan import Tally
from plant3d_sync.model.side import Direction
from plant3d_sync.reconcile.advance import seen
from plant3d_sync.reconcile.guard import check_older
from plant3d_sync.reconcile.older import OLDER_COPY, OLDER_SYNAPSE, row_went_back
from plant3d_sync.reconcile.planning import Draft
from tests.support.builders import asset, item, lines, link, plan, writes

STAMP = 638_000_000_000_000_000
HOUR = 36_000_000_000
OLD, NEW = "as it was drawn", "newer"


def linked(**more: Any) -> Any:
    """A pair that agreed on the newer text; its row was in revision 3."""
    return link(item(1, "P-1", NEW), ticks=STAMP, revision=3, **more)


def row(description: str = OLD, *, stamp: int = 0, revision: int = 3) -> Any:
    return item(1, "P-1", description, timestamp=STAMP + stamp, revision=revision)


def asked(draft: Draft) -> list[tuple[str, str]]:
    return [(conflict.field, conflict.kind) for conflict in draft.conflicts]


@pytest.mark.parametrize(
    ("stamp", "revision", "back"),
    [
        (-1, 3, True),
        (-1, 2, True),
        (HOUR, 2, True),  # saved once since it was put back, in a session with fewer revisions
        (0, 3, False),
        (HOUR, 3, False),  # the session that created it: the revision stays
        (HOUR, 4, False),
        (-HOUR, 4, False),  # a clock that is an hour behind raises the revision all the same
    ],
)
def test_a_row_is_older_by_its_revision_then_by_its_stamp(stamp: int, revision: int, back: bool) -> None:
    assert row_went_back(linked(), row(stamp=stamp, revision=revision)) is back
    draft = plan([row(stamp=stamp, revision=revision)], [linked()])
    assert asked(draft) == ([("description", OLDER_COPY)] if back else [])
    assert bool(writes(draft)) is not back


@pytest.mark.parametrize("unknown", ["ticks", "revision"])
def test_a_link_of_an_earlier_version_has_no_evidence(unknown: str) -> None:
    old_state = replace(linked(), **{unknown: None})
    assert not row_went_back(old_state, row(stamp=-HOUR, revision=1))


def test_fields_that_an_older_row_holds_unchanged_are_carried_on() -> None:
    held = linked(synapse_delta={"description": "typed in SYNAPSE"})
    draft = plan([row(NEW, stamp=-HOUR, revision=2)], [held], direction=Direction.BOTH)
    assert asked(draft) == []
    assert [line["op"] for line in lines(draft, "push")] == ["push"]


def test_the_question_stays_when_something_else_of_the_item_is_saved() -> None:
    first = plan([row(stamp=-HOUR, revision=2)], [linked()])
    (step,) = lines(first)
    assert step["after"]["pending"]["description"]["no_edit"] == OLDER_COPY
    later = replace(
        linked(),
        ticks=STAMP - HOUR,
        revision=2,
        pending={"description": Open(why="conflict", plant3d=OLD, synapse=NEW, no_edit=OLDER_COPY)},
    )
    saved = row(stamp=HOUR, revision=3)
    again = plan([saved], [later])
    assert asked(again) == [("description", OLDER_COPY)]
    assert (first.tally.older_rows, again.tally.older_rows) == (1, 0), "told once, so approved once"


def test_what_is_typed_over_an_older_value_is_an_edit() -> None:
    held = replace(
        linked(),
        ticks=STAMP - HOUR,
        revision=2,
        pending={"description": Open(why="conflict", plant3d=OLD, synapse=NEW, no_edit=OLDER_COPY)},
    )
    draft = plan([row("typed on the copy", stamp=HOUR, revision=3)], [held])
    assert [line["set"] for line in lines(draft, "update")] == [{"description": "typed on the copy"}]


def test_a_choice_for_the_tag_of_synapse_waits_for_a_designer() -> None:
    """Plant 3D owns the tag and nothing is pushed into it: the choice is neither void nor carried out yet."""
    held = linked()
    back = item(1, "P-0", NEW, timestamp=STAMP - HOUR, revision=2)
    choice = Resolution(conflict_id="c", plant3d_value="P-0", synapse_value="P-1", chosen="P-1", by="anna")
    draft = plan([back], [held], resolutions={(held.link_id, "tag"): choice})
    assert not writes(draft)
    assert dict(draft.fates) == {}
    (step,) = lines(draft)
    assert step["after"]["pending"]["tag"]["no_edit"] == OLDER_COPY


# ---------------------------------------------------------------- SYNAPSE


def backup(held: Any, description: str, version: int) -> Any:
    return replace(asset(held, description=description), version=version)


@pytest.mark.parametrize(("version", "told"), [(6, ["undo_lost"]), (8, [])])
def test_a_backup_of_synapse_that_brings_back_what_was_undone_is_told(version: int, told: list[str]) -> None:
    """Both sides hold the same again; a user who types it again raises the version."""
    hold = Hold(side="synapse", value=NEW, kept=OLD)
    held = linked(asset_version=7, holds={"description": hold}, synapse_delta={"description": OLD})
    draft = plan([row(NEW)], [held], assets=[backup(held, NEW, version)])
    assert [finding.code for finding in draft.findings] == told
    assert not writes(draft)


def test_an_asset_in_an_earlier_version_is_no_edit() -> None:
    held = linked(asset_version=7)
    draft = plan([row(NEW)], [held], assets=[backup(held, OLD, 6)])
    assert asked(draft) == [("description", OLDER_SYNAPSE)]
    assert not writes(draft)
    assert draft.tally.older_assets == 1


def test_an_asset_that_was_made_again_is_another_one() -> None:
    held = linked(asset_version=7)
    made_again = replace(backup(held, OLD, 1), asset_id="asset-made-again")
    draft = plan([row(NEW)], [held], assets=[made_again])
    assert asked(draft) == []


def test_an_older_asset_is_remembered_by_whoever_read_it() -> None:
    """The run that read it may write nothing; the next one reads the feed from where it ended."""
    held = linked(asset_version=7)
    read = seen(held, backup(held, OLD, 6), at=2.0, last_read=1.0)
    assert (read.went_back, read.asset_version) == (True, 6)
    again = seen(read, backup(read, OLD, 7), at=3.0, last_read=2.0)
    assert again.went_back, "until it is compared"
    draft = plan([row(NEW)], [read])
    assert asked(draft) == [("description", OLDER_SYNAPSE)]


def test_what_is_typed_after_the_backup_is_an_edit() -> None:
    held = replace(
        linked(asset_version=6),
        pending={"description": Open(why="conflict", plant3d=NEW, synapse=OLD, no_edit=OLDER_SYNAPSE)},
        synapse_delta={"description": OLD},
    )
    still = plan([row(NEW)], [held])
    assert asked(still) == [("description", OLDER_SYNAPSE)]
    assert still.tally.older_assets == 0
    typed = plan(
        [row(NEW)], [replace(held, synapse_delta={"description": "typed after"})], direction=Direction.BOTH
    )
    assert [line["op"] for line in lines(typed, "push")] == ["push"]


# ---------------------------------------------------------------- many


@pytest.mark.parametrize(
    ("rows", "assets", "links", "names"),
    [
        (11, 0, 100, ["older_copy"]),
        (0, 11, 100, ["older_synapse"]),
        (10, 10, 100, []),
        (11, 11, 10_000, []),
        (300, 300, 10_000, ["older_copy", "older_synapse"]),
    ],
)
def test_many_that_went_back_at_once_stop_the_run(
    rows: int, assets: int, links: int, names: list[str]
) -> None:
    hits = check_older(Tally(links=links, older_rows=rows, older_assets=assets))
    assert [hit.name for hit in hits] == names
