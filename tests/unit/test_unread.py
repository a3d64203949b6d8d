"""Fields that came into the mapping later: SYNAPSE's side is read before anything is decided."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from plant3d_sync.model.link import LinkState
from plant3d_sync.run.unread import UnreadFields
from tests.support.builders import asset, codes, item, link, plan, rule_set, writes

DRAWN = item(1, "P-1", "agreed", spec="from the drawing")


class Shelf:
    """A SYNAPSE that is only asked for assets one by one."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get(self, asset_id: str) -> Any:
        self.read.append(asset_id)
        return asset_id


def without(*names: str, **more: Any) -> Any:
    """The link of the item, made before these fields came into the mapping."""
    held = link(DRAWN, **more)
    return replace(held, base={name: value for name, value in (held.base or {}).items() if name not in names})


def reads(*links: Any, most: int = 200) -> list[str]:
    shelf = Shelf()
    unread = UnreadFields(cast("Any", shelf), rule_set(), most)
    for one in links:
        unread.asset_of(one, DRAWN)
    return shelf.read


@pytest.mark.parametrize(
    ("held", "read"),
    [
        (without(), []),
        (without("attributes.spec"), ["asset-1"]),
        (without("attributes.note"), []),  # SYNAPSE's own: nothing of Plant 3D decides it
        (replace(without("attributes.spec"), synapse_delta={"attributes.spec": "x"}), []),
        (replace(without("attributes.spec"), state=LinkState.ARCHIVED), []),
        (link(DRAWN, base=None), []),
    ],
)
def test_an_asset_is_read_when_a_field_of_it_was_never_kept(held: Any, read: list[str]) -> None:
    assert reads(held) == read


def test_a_run_reads_a_limited_number() -> None:
    assert len(reads(*[without("attributes.spec")] * 3, most=2)) == 2


def test_until_it_was_read_the_item_counts_as_not_compared() -> None:
    held = without("attributes.spec")
    draft = plan([DRAWN], [held])
    assert not writes(draft) and codes(draft) == []
    assert draft.uncompared == {DRAWN.guid}


@pytest.mark.parametrize(
    ("in_synapse", "sent"),
    [(None, "from the drawing"), ("from the drawing", None), ("typed in SYNAPSE", "from the drawing")],
)
def test_once_it_was_read_the_field_is_merged_as_in_a_first_sync(in_synapse: Any, sent: Any) -> None:
    """Plant 3D owns it here: its value wins, and what it overwrites is in the history."""
    held = without("attributes.spec")
    draft = plan([DRAWN], [held], [asset(held, attributes_spec=in_synapse)])
    assert [line["set"] for line in writes(draft)] == ([{"attributes.spec": sent}] if sent else [])
    assert draft.uncompared == frozenset()
