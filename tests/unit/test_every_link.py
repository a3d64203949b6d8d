"""Every link is accounted for: out of the mapping and back, archived and restored by somebody."""

from __future__ import annotations

import pytest

from plant3d_sync.model.link import InSynapse, LinkState
from plant3d_sync.model.plan import MissingPolicy
from plant3d_sync.reconcile.planning import Draft
from tests.support.builders import codes, item, lines, link, plan, rule_set, writes

NOT_PUMPS = ("Vessel", "Gauge")
AT_ONCE = MissingPolicy(reads=1, minutes=0, policy="archive")


def states(draft: Draft) -> list[str]:
    return [line["after"].get("state", "active") for line in lines(draft)]


@pytest.mark.parametrize("state", [LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING])
def test_a_link_whose_class_leaves_the_mapping_has_a_state_of_its_own(state: LinkState) -> None:
    draft = plan([], [link(item(1, "P-1"), state=state)], rules=rule_set(classes=NOT_PUMPS), missing=AT_ONCE)
    assert states(draft) == ["out"]
    assert not writes(draft) and codes(draft) == []


def test_it_stays_there_without_a_word() -> None:
    draft = plan([], [link(item(1, "P-1"), state=LinkState.OUT)], rules=rule_set(classes=NOT_PUMPS))
    assert lines(draft) == [] and codes(draft) == []


def test_back_in_the_mapping_its_item_is_compared() -> None:
    drawn = item(1, "P-1", "edited while it was out")
    held = link(item(1, "P-1", "agreed"), state=LinkState.OUT, digest=b"")
    draft = plan([drawn], [held])
    assert [line["set"] for line in lines(draft, "update")] == [{"description": "edited while it was out"}]
    assert states(draft) == ["active"]


def test_back_in_the_mapping_its_item_is_missing_like_any_other() -> None:
    held = link(item(1, "P-1"), state=LinkState.OUT)
    asked = plan([], [held])
    assert (states(asked), codes(asked), asked.tally.gone.total()) == (["missing"], ["missing"], 1)
    archived = plan([], [held], missing=AT_ONCE)
    assert [line["op"] for line in writes(archived)] == ["archive"]
    assert archived.tally.gone.total() == 1, "counted once"


def test_what_was_edited_in_synapse_meanwhile_is_a_question() -> None:
    held = link(item(1, "P-1"), state=LinkState.OUT, synapse_delta={"description": "typed while it was out"})
    draft = plan([], [held], missing=AT_ONCE)
    assert not writes(draft)
    assert [conflict.kind for conflict in draft.conflicts] == ["gone_from_plant3d"]


@pytest.mark.parametrize(
    ("state", "code"),
    [(LinkState.ARCHIVED, "restored_without_item"), (LinkState.UNLINKED, "kept_without_item")],
)
@pytest.mark.parametrize("where", [InSynapse.LIVE, InSynapse.ARCHIVED, InSynapse.ARCHIVED_TOLD])
def test_an_asset_that_a_person_keeps_without_its_item_is_told(
    state: LinkState, code: str, where: InSynapse
) -> None:
    draft = plan([], [link(item(1, "P-1"), state=state, in_synapse=where)], missing=AT_ONCE)
    assert codes(draft) == ([code] if where is InSynapse.LIVE else [])
    assert lines(draft) == [], "and left alone"


def test_an_asset_with_an_identity_of_ours_and_no_item_is_told() -> None:
    drawn = item(1, "P-1", "drawn")
    draft = plan([drawn], strays={drawn.guid: ("asset-1", "P-1"), "gone": ("asset-2", "P-2")})
    assert [(one.code, one.tag) for one in draft.findings] == [("asset_without_item", "P-2")]
