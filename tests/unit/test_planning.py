"""From two sides to a plan: identity, tags, renames, absence, counts."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from plant3d_sync.model.link import Flip, Hold, InSynapse, Interval, LinkState, Missing, Open
from plant3d_sync.model.ours import Origin, Ours
from plant3d_sync.model.outcome import Resolution
from plant3d_sync.model.plan import Limit, Limits, MissingPolicy
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.rules import INFORMATION, ConflictPolicy, DriftPolicy, FieldRule, Translated
from plant3d_sync.model.side import Direction, Entity, Owner, WriteMode
from plant3d_sync.model.step import Update, from_text
from plant3d_sync.reconcile import advance
from plant3d_sync.reconcile.advance import value_pair
from plant3d_sync.reconcile.fields import FLIP_LIMIT
from plant3d_sync.reconcile.merge import is_blank
from plant3d_sync.reconcile.planning import Draft, Planner
from tests.support.builders import (
    WRITING,
    asset,
    balanced,
    catalog,
    codes,
    column,
    field_rules,
    item,
    knowledge,
    lines,
    link,
    plan,
    rule_set,
    translated,
    writes,
)


def order_of(draft: Draft) -> list[int]:
    return [line["pnpid"] for line in lines(draft, "update", "create", "archive")]


# ------------------------------------------------------------------ new items


def test_a_new_tagged_item_is_created_with_its_filled_fields_only() -> None:
    draft = plan([item(1, "P-1", "feed pump", spec="")])
    [line] = lines(draft)
    assert line["op"] == "create"
    assert line["set"] == {"tag": "P-1", "description": "feed pump"}
    assert (draft.stats.created, draft.stats.total, draft.writes["synapse"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "tag",
    [None, "", " ", "?", "P-?", "300-?-001", "NA", "hold", "N/A", "tbd", "TBA", "-", "--", "P-", "FT -", "#"],
)
def test_an_item_without_a_complete_tag_is_skipped_and_is_no_error(tag: str | None) -> None:
    draft = plan([item(1, tag, "feed pump")])
    assert not writes(draft)
    assert codes(draft) == ["untagged"]
    assert (draft.stats.skipped, draft.stats.errors) == (1, 0)


@pytest.mark.parametrize(
    ("tag", "code"), [("T" * 101, "tag_too_long"), ("P\n1", "invalid_tag"), ("P\u20281", "invalid_tag")]
)
def test_a_tag_synapse_cannot_hold_is_skipped_with_its_reason_and_is_no_error(tag: str, code: str) -> None:
    draft = plan([item(1, tag), item(2, "NA-1001"), item(3, "P-101-"), item(4, "0")])
    assert codes(draft) == [code]
    assert (draft.stats.skipped, draft.stats.errors) == (1, 0)
    assert order_of(draft) == [2, 3, 4], "odd, but tags"
    assert balanced(draft)


ALIKE = [
    ("P-101A", "P-101a", "LATIN SMALL LETTER A"),
    ("\u00c9-1", "E\u0301-1", "LATIN CAPITAL LETTER E WITH ACUTE"),
    ("P-101", "P\u2013101", "EN DASH"),
    ("P-101", "P\u2212101", "MINUS SIGN"),
    ("P 101", "P\u00a0101", "NO-BREAK SPACE"),
    ("P 101", "P  101", "SPACE"),
    ("P-101", "P-101\u200b", "ZERO WIDTH SPACE"),
    ("P-101", "\u0420-101", "CYRILLIC CAPITAL LETTER ER"),
    ("P-101", "\uff30-101", "FULLWIDTH LATIN CAPITAL LETTER P"),
]


@pytest.mark.parametrize(("one", "other", "character"), ALIKE)
def test_tags_that_read_the_same_are_never_created_silently(one: str, other: str, character: str) -> None:
    draft = plan([item(1, one), item(2, other), item(3, "P-3")])
    assert order_of(draft) == [3]
    assert codes(draft) == ["look_alike_tag", "look_alike_tag"]
    assert character.lower() in draft.findings[0].message
    assert balanced(draft)


@pytest.mark.parametrize(("one", "other", "character"), [*ALIKE, ("P-1O1", "P-101", "DIGIT ZERO")])
def test_an_unlinked_asset_whose_tag_reads_the_same_blocks_the_creation(
    one: str, other: str, character: str
) -> None:
    draft = plan([item(1, one), item(2, "P-3")], unlinked={other: ("asset-x", "Equipment")})
    assert order_of(draft) == [2]
    assert codes(draft) == ["look_alike_tag"]
    assert draft.findings[0].data["asset_id"] == "asset-x"
    assert character.lower() in draft.findings[0].message


def test_o_and_zero_in_two_items_of_plant_3d_are_told_and_both_are_created() -> None:
    draft = plan([item(1, "PI-101"), item(2, "P1-101")])
    assert order_of(draft) == [1, 2]
    assert codes(draft) == ["look_alike_tag", "look_alike_tag"]


def test_a_linked_item_goes_on_beside_a_new_one_whose_tag_reads_the_same() -> None:
    draft = plan([item(1, "P-1A", "new words"), item(2, "P-1a")], [link(item(1, "P-1A", "words"))])
    assert order_of(draft) == [1]
    assert {finding.pnpid for finding in draft.findings if finding.code == "look_alike_tag"} == {1, 2}
    assert balanced(draft)


@pytest.mark.parametrize("other", ["P-1O1", "p-101", "P\u2013101"])
def test_two_assets_of_synapse_that_read_the_same_are_told_when_one_has_the_tag_of_an_item(
    other: str,
) -> None:
    assets = {"P-101": ("asset-x", "Equipment"), other: ("asset-y", "Equipment")}
    draft = plan([item(1, "P-101")], unlinked=assets)
    assert codes(draft) == ["look_alike_tag", "unlinked_asset"]
    (told,) = [one for one in draft.findings if one.code == "look_alike_tag"]
    assert {told.tag, told.data["other_tag"]} == {"P-101", other}
    assert {told.data["asset_id"], told.data["other_asset_id"]} == {"asset-x", "asset-y"}
    assert "P-101" in told.message and other in told.message and "U+" in told.message
    assert balanced(draft)


def test_two_assets_that_read_the_same_are_told_where_no_item_has_either_tag() -> None:
    assets = {"P-101": ("asset-x", "Equipment"), "P-1O1": ("asset-y", "Equipment")}
    draft = plan([item(1, "P-7")], unlinked=assets)
    assert codes(draft) == ["look_alike_tag"] and order_of(draft) == [1]


def test_an_asset_that_reads_like_the_one_of_a_linked_item_is_told_and_the_item_goes_on() -> None:
    known = link(item(1, "P-1A", "words"))
    draft = plan([item(1, "P-1A", "new words")], [known], unlinked={"P-1a": ("asset-x", "Equipment")})
    assert order_of(draft) == [1]
    (told,) = draft.findings
    assert (told.code, told.tag, told.data["other"]) == ("look_alike_tag", "P-1a", 1)
    assert told.data["asset_id"] == "asset-x" and "P-1A" in told.message


def test_a_new_item_waits_beside_the_asset_of_one_that_is_missing_and_reads_the_same() -> None:
    draft = plan([item(2, "P-1a")], [link(item(1, "P-1A"))])
    assert not lines(draft, "create")
    (told,) = [one for one in draft.findings if one.code == "look_alike_tag"]
    assert told.pnpid == 2 and told.data["other"] == 1 and "SMALL LETTER A" in told.message.upper()
    assert balanced(draft)


def test_a_new_item_waits_beside_an_asset_that_carries_another_identity_and_reads_the_same() -> None:
    strays = {"00000000-0000-4000-8000-0000000000aa": ("asset-s", "P-1O1")}
    draft = plan([item(1, "P-101")], strays=strays)
    assert not lines(draft, "create")
    assert codes(draft) == ["asset_without_item", "look_alike_tag"]


def test_a_new_item_waits_beside_an_asset_that_a_person_keeps_and_reads_the_same() -> None:
    kept = replace(link(item(1, "P-1A")), state=LinkState.UNLINKED)
    draft = plan([item(2, "P-1a")], [kept])
    assert not lines(draft, "create")
    assert "look_alike_tag" in codes(draft)


def test_the_registry_tag_is_offered_and_not_used() -> None:
    draft = plan([item(1, "?", registry_tag="P-77")])
    assert not writes(draft)
    assert "P-77" in draft.findings[0].hint
    assert draft.findings[0].data == {"registry_tag": "P-77"}


def test_a_tag_whose_row_is_missing_is_unknown_not_empty() -> None:
    draft = plan([item(1, without=("Tag",))])
    assert codes(draft) == ["tag_unknown"]
    assert draft.stats.skipped == 1


def test_an_item_without_identity_is_an_error_of_its_row() -> None:
    draft = plan([item(1, "P-1", guid=""), item(2, "P-2")])
    assert codes(draft) == ["bad_guid"]
    assert order_of(draft) == [2]


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"tag": "P-1", "description": "d" * 4001}, "description", "too_long"),
        ({"tag": "P-1", "spec": "s" * 70_000}, "attributes", "attributes_too_large"),
    ],
)
def test_a_value_synapse_would_refuse_is_found_while_planning(
    wrong: dict[str, Any], field: str, code: str
) -> None:
    draft = plan([item(1, **wrong), item(2, "P-2")])
    assert [(error.field, error.code) for error in draft.errors] == [(field, code)]
    assert order_of(draft) == [2], "the other item lands"
    assert balanced(draft)


def test_an_unlinked_asset_with_the_tag_blocks_the_creation() -> None:
    draft = plan([item(1, "P-1"), item(2, "P-2")], unlinked={"P-1": ("asset-x", "Equipment")})
    assert order_of(draft) == [2]
    assert codes(draft) == ["unlinked_asset"]
    assert draft.findings[0].data["asset_id"] == "asset-x"


# ------------------------------------------------------------------ one tag, several items


def test_two_new_items_with_one_tag_are_both_skipped_and_name_each_other() -> None:
    draft = plan([item(1, "P-1"), item(2, "P-1"), item(3, "P-3")])
    assert order_of(draft) == [3]
    named = {finding.pnpid: finding.data["others"] for finding in draft.findings}
    assert named == {1: [2], 2: [1]}
    assert all(
        str(other) in finding.message for finding in draft.findings for other in finding.data["others"]
    )
    assert (draft.stats.created, draft.stats.skipped) == (1, 2)


def test_a_linked_item_that_shares_its_tag_is_skipped_with_all_its_changes() -> None:
    first = item(1, "P-1", "old")
    changed = item(1, "P-1", "new")
    bystander = link(item(9, "P-9"))
    draft = plan([changed, item(2, "P-1")], [link(first)], unchanged=[bystander])
    assert not writes(draft)
    assert (draft.stats.skipped, draft.stats.unchanged, draft.stats.updated) == (2, 1, 0)


def test_a_duplicate_that_was_skipped_already_is_not_counted_twice() -> None:
    bystander = link(item(9, "P-9"))
    draft = plan(
        [item(1, "P-1"), item(2, "P-1", "d" * 4001), item(3, "P-1")],
        unchanged=[bystander],
    )
    assert (draft.stats.total, draft.stats.unchanged, draft.stats.errors, draft.stats.skipped) == (4, 1, 1, 2)
    assert len([code for code in codes(draft) if code == "duplicate_tag"]) == 3


def test_a_rename_onto_a_used_tag_refuses_what_depends_on_it() -> None:
    """1 takes the tag of 2, 2 does not leave it; 3 wanted 1's tag and has to wait as well."""
    one, two, three = item(1, "A"), item(2, "B"), item(3, "C")
    hidden = link(two)  # 2 was not asked for, so its tag stays in SYNAPSE
    draft = plan(
        [item(1, "B2"), item(3, "A")],
        [link(one), link(three)],
        unlinked={"B2": ("asset-x", "Equipment")},
        unchanged=[hidden],
    )
    assert not writes(draft)
    assert {error.pnpid for error in draft.errors} == {1, 3}
    assert codes(draft) == ["tag_taken", "tag_taken"]
    assert balanced(draft)


def test_a_rename_onto_the_tag_of_an_unlinked_asset_is_refused() -> None:
    draft = plan([item(1, "B")], [link(item(1, "A"))], unlinked={"B": ("asset-x", "Equipment")})
    assert not writes(draft)
    assert codes(draft) == ["tag_taken"]


def test_two_items_that_swap_their_tags_are_renamed_and_nothing_is_created() -> None:
    one, two = item(1, "A"), item(2, "B")
    draft = plan([item(1, "B"), item(2, "A")], [link(one), link(two)])
    assert {line["pnpid"]: (line["old_tag"], line["set"]["tag"]) for line in lines(draft)} == {
        1: ("A", "B"),
        2: ("B", "A"),
    }
    assert (draft.stats.updated, draft.stats.created, draft.stats.archived) == (2, 0, 0)


def test_a_chain_of_renames_releases_each_tag_before_it_is_taken() -> None:
    before = [item(1, "A"), item(2, "B"), item(3, "C")]
    after = [item(1, "B"), item(2, "C"), item(3, "D"), item(4, "A")]
    for seen in permutations(after):
        draft = plan(seen, [link(one) for one in before])
        assert order_of(draft) == [3, 2, 1, 4]


def test_a_cycle_of_three_stays_together() -> None:
    before = [item(1, "A"), item(2, "B"), item(3, "C"), item(7, "X")]
    after = [item(1, "B"), item(7, "Y"), item(2, "C"), item(3, "A")]
    for seen in permutations(after):
        draft = plan(seen, [link(one) for one in before])
        order = order_of(draft)
        cycle = [order.index(pnpid) for pnpid in (1, 2, 3)]
        assert max(cycle) - min(cycle) == 2


def test_a_hundred_renames_create_and_archive_nothing() -> None:
    before = [item(n, f"T-{n}") for n in range(100)]
    after = [item(n, f"T-{n + 1}") for n in range(100)]
    draft = plan(after, [link(one) for one in before])
    assert (draft.stats.updated, draft.stats.created, draft.stats.archived) == (100, 0, 0)
    assert not draft.errors


def test_the_tag_of_an_archived_item_can_be_used_again() -> None:
    gone = link(
        item(1, "A"),
        state=LinkState.PENDING,
        missing=Missing(
            since="1970-01-01T00:00:00+00:00",
            reads=3,
            last_counted="1970-01-01T00:00:00+00:00",
            signature=None,
        ),
    )
    draft = plan([item(2, "A")], [gone], missing=MissingPolicy(policy="archive", minutes=0))
    assert [(line["op"], line["pnpid"]) for line in lines(draft)] == [("archive", 1), ("create", 2)]


def test_a_tag_is_refused_while_its_missing_holder_waits_for_a_person() -> None:
    draft = plan([item(2, "A")], [link(item(1, "A"))])
    assert codes(draft) == ["missing", "tag_taken"]
    assert not writes(draft)
    assert "PnPID 1" in draft.errors[0].message


def test_an_item_that_lost_its_tag_keeps_synapse_s_tag_for_as_long_as_it_lasts() -> None:
    before = item(1, "P-1", "old")
    draft = plan([item(1, "?", "new")], [link(before)])
    [line] = lines(draft, "update")
    assert line["set"] == {"description": "new"}
    assert "tag_lost" in codes(draft)
    assert line["after"]["pending"] == {"tag": {"why": "tag_lost"}}, (
        "stays open, so that every run says it again"
    )


def test_a_value_that_cannot_be_translated_stays_open_and_changes_nothing() -> None:
    before = item(1, "P-1", flow="12")
    draft = plan([item(1, "P-1", flow="a lot")], [link(before)])
    assert not writes(draft)
    assert codes(draft) == ["not_a_number"]
    assert lines(draft)[0]["after"]["pending"] == {"attributes.flow": {"why": "not_a_number"}}


def test_a_field_that_was_not_read_is_not_a_change() -> None:
    draft = plan([item(1, "P-1", without=("Remark", "Spec"))], [link(item(1, "P-1", "kept", spec="CS"))])
    assert not writes(draft)


# ------------------------------------------------------------------ identity


def test_a_guid_on_another_row_is_refused_and_is_not_an_absence() -> None:
    moved = structs.replace(item(5, "P-1"), guid=item(1).guid)
    draft = plan([moved], [link(item(1, "P-1"))])
    assert codes(draft) == ["identity_mismatch"]
    assert not lines(draft), "neither written, nor counted as missing"


MISSED = Missing(since="2026-03-08T06:00:00Z", reads=1, last_counted="2026-03-08T06:00:00Z", signature=None)


@pytest.mark.parametrize(
    "now",
    [
        structs.replace(item(5, "P-1"), guid=item(1).guid),
        item(1, "P-1", class_name="Gauge"),
        item(1, "P-1", "x" * 4001),
        item(1, None),
        item(1, "P-1"),
    ],
    ids=["another row", "another kind", "a value that is refused", "no tag", "as it was"],
)
def test_an_item_that_was_missed_and_is_there_is_named_whatever_is_decided(now: PlantItem) -> None:
    known = link(
        item(1, "P-1"),
        state=LinkState.MISSING,
        missing=MISSED,
    )
    draft = plan([now], [known])
    assert draft.there == {known.plant3d_id}
    assert plan([], [known]).there == plan([now], [link(item(1, "P-1"))]).there == frozenset()


def test_an_item_that_could_not_be_read_whole_is_there() -> None:
    known = link(item(1, "P-1"), state=LinkState.MISSING)
    planner = Planner(rule_set(), knowledge())
    planner.set_aside([known])
    assert planner.finish().there == {known.plant3d_id}


@pytest.mark.parametrize("linked", [False, True])
def test_two_rows_with_one_pnpid_and_one_guid_are_set_aside(linked: bool) -> None:
    twice = structs.replace(item(1, "P-1"), sharing=(1, 1))
    draft = plan([twice, twice], [link(item(1, "P-1"))] if linked else [])
    assert codes(draft) == ["duplicate_guid", "duplicate_guid"]
    assert not lines(draft)


@pytest.mark.parametrize("state", [LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING])
def test_a_row_with_another_guid_than_its_link_is_refused(state: LinkState) -> None:
    draft = plan([item(1, "P-1", guid="f" * 32)], [link(item(1, "P-1"), state=state)])
    assert codes(draft) == ["identity_mismatch"]
    assert not lines(draft)


def test_a_row_id_of_an_archived_link_may_be_used_again() -> None:
    draft = plan([item(1, "P-1", guid="f" * 32)], [link(item(1, "P-0"), state=LinkState.ARCHIVED)])
    assert [line["op"] for line in lines(draft)] == ["create"]


def test_an_item_that_became_another_kind_is_refused_and_a_class_change_is_told() -> None:
    kind = plan([item(1, "P-1", class_name="Gauge")], [link(item(1, "P-1"))])
    assert codes(kind) == ["kind_changed"]
    same_kind = plan([item(1, "P-1", class_name="Vessel")], [link(item(1, "P-1"))])
    assert codes(same_kind) == ["class_changed"]


def test_an_asset_that_carries_the_identity_is_adopted_and_never_created_again() -> None:
    one = item(1, "P-1", "ours")
    held = asset(link(one), description="theirs", attributes_spec="CS")
    draft = plan([one], [], [held], unlinked={"P-1": (held.asset_id, "Equipment")})
    [line] = lines(draft)
    assert (line["op"], line["asset_id"]) == ("adopt", held.asset_id)
    assert "set" not in line, "a first sync erases nothing: description differs, spec is blank in Plant 3D"
    assert [conflict.kind for conflict in draft.conflicts] == ["first_sync_differs"]
    assert line["after"]["base_set"]["tag"] == "P-1"


def test_an_asset_archived_in_synapse_is_left_alone() -> None:
    one = item(1, "P-1", "old")
    known = link(one)
    changed = item(1, "P-1", "new")
    now = plan([changed], [known], [asset(known, archived=True)])
    later = plan([changed], [link(one, in_synapse=InSynapse.ARCHIVED)])
    ours = plan([changed], [link(one, state=LinkState.ARCHIVED, in_synapse=InSynapse.ARCHIVED)])
    for draft in (now, later, ours):
        assert not writes(draft)
        assert codes(draft) == ["archived_in_synapse"]
        assert [conflict.kind for conflict in draft.conflicts] == ["archived_in_synapse"]
        assert draft.stats.conflicts == 1
        assert balanced(draft)


def test_a_write_rests_on_the_version_that_this_run_read() -> None:
    known = link(item(1, "P-1", "old"))
    draft = plan([item(1, "P-1", "new")], [known], [replace(asset(known), version=7)])
    [line] = writes(draft)
    assert (line["op"], line["asset_version"]) == ("update", 7)


def test_an_asset_that_we_archived_and_a_person_restored_is_merged_like_any_other() -> None:
    draft = plan([item(1, "P-1", "new")], [link(item(1, "P-1", "old"), state=LinkState.ARCHIVED)])
    [line] = writes(draft)
    assert (line["op"], line["set"]) == ("update", {"description": "new"})


def test_an_asset_whose_item_is_back_is_merged_with_what_people_typed_meanwhile() -> None:
    one = item(1, "P-1", "old")
    since = Missing(
        since="1970-01-01T00:00:00+00:00", reads=3, last_counted="1970-01-01T00:00:00+00:00", signature=None
    )
    known = link(
        one,
        state=LinkState.ARCHIVED,
        in_synapse=InSynapse.ARCHIVED,
        missing=since,
        synapse_delta={"description": "typed meanwhile"},
    )
    draft = plan([one], [known], direction=Direction.PULL)
    [line] = writes(draft)
    assert line["op"] == "restore" and line.get("asset_version") == known.asset_version
    assert "description" not in line.get("set", {}), "the user's words stand"
    assert line["after"]["pending"]["description"]["why"] == "waits_for_push"


def test_an_asset_whose_archive_was_put_back_stays_archived_though_its_item_lives() -> None:
    one = item(1, "P-1", "old")
    since = Missing(
        since="1970-01-01T00:00:00+00:00", reads=3, last_counted="1970-01-01T00:00:00+00:00", signature=None
    )
    archived = {"state": LinkState.ARCHIVED, "in_synapse": InSynapse.ARCHIVED, "missing": since}
    undone = {"*": Hold(side="synapse", value=None, kept=None)}
    assert [line["op"] for line in writes(plan([one], [link(one, **archived)]))] == ["restore"]
    assert not writes(plan([one], [link(one, **archived, holds=undone)]))


def test_what_synapse_owns_is_written_neither_at_birth_nor_when_an_asset_lives_again() -> None:
    born = writes(plan([item(1, "P-1", note="of the drawing")]))
    assert [line["op"] for line in born] == ["create"] and "attributes.note" not in born[0]["set"]
    one = item(1, "P-1", note="of the drawing")
    since = Missing(
        since="1970-01-01T00:00:00+00:00", reads=3, last_counted="1970-01-01T00:00:00+00:00", signature=None
    )
    base = {"tag": "P-1", "description": None, "attributes.note": "of SYNAPSE"}
    known = link(one, base=base, state=LinkState.ARCHIVED, in_synapse=InSynapse.ARCHIVED, missing=since)
    [line] = writes(plan([one], [known]))
    assert line["op"] == "restore" and "attributes.note" not in line.get("set", {})


def test_the_tag_of_an_asset_archived_in_synapse_is_free() -> None:
    draft = plan([item(1, "P-2"), item(2, "P-1")], [link(item(1, "P-1"), in_synapse=InSynapse.ARCHIVED)])
    assert order_of(draft) == [2]


# ------------------------------------------------------------------ absence


def test_a_missing_item_is_asked_about_and_archived_only_by_policy() -> None:
    known = link(item(1, "A"))
    asked: list[str] = []
    for policy in ("ask", "archive", "keep"):
        waiting = replace_missing(known, reads=2)
        draft = plan([], [waiting], missing=MissingPolicy(reads=3, policy=policy), now=50_000.0)
        [line] = lines(draft)
        asked.append(f"{policy}: {line['op']} {line.get('needs')} {draft.stats.archived}")
    assert asked == ["ask: archive person 0", "archive: archive None 1", "keep: missing None 0"]


def replace_missing(known: Any, reads: int) -> Any:
    known.state = LinkState.MISSING
    known.missing = Missing(
        since="1970-01-01T00:00:00+00:00",
        reads=reads,
        last_counted="1970-01-01T00:00:00+00:00",
        signature=None,
    )
    return known


def test_an_absence_is_counted_once_against_the_guard_even_if_one_read_is_enough() -> None:
    known = [link(item(n, f"T-{n}")) for n in range(4)]
    draft = plan([], known, missing=MissingPolicy(reads=1, minutes=0, policy="archive"))
    assert draft.tally.gone.total() == 4
    assert draft.stats.archived == 4


def test_gone_here_and_edited_there_is_a_conflict_and_no_archive() -> None:
    known = replace_missing(link(item(1, "A", "x"), synapse_delta={"description": "edited"}), reads=5)
    draft = plan([], [known], missing=MissingPolicy(policy="archive"), now=50_000.0)
    assert not writes(draft)
    assert [conflict.kind for conflict in draft.conflicts] == ["gone_from_plant3d"]
    assert "edited" in str(draft.conflicts[0].synapse)


def test_an_item_that_reappears_is_active_again_without_a_write() -> None:
    one = item(1, "A")
    draft = plan([one], [replace_missing(link(one), reads=2)])
    [line] = lines(draft)
    assert line["op"] == "touch"
    assert "missing" not in line["after"]


def test_a_class_that_left_the_mapping_is_out_not_archived() -> None:
    known = [link(item(n, f"T-{n}", class_name="Gauge")) for n in range(3)]
    draft = plan(
        [], known, rules=rule_set(classes=("Pump",)), missing=MissingPolicy(reads=1, policy="archive")
    )
    assert not writes(draft)
    assert {line["after"]["state"] for line in lines(draft)} == {"out"}
    again = plan([item(9, "T-1")], known, rules=rule_set(classes=("Pump",)))
    assert codes(again) == ["tag_taken"], "the unlinked asset still holds its tag in SYNAPSE"


def test_kinds_that_were_not_asked_for_are_not_touched_and_not_counted() -> None:
    gauge, pump = item(1, "G-1", class_name="Gauge"), item(2, "P-1")
    draft = plan(
        [gauge, pump], [link(item(3, "G-3", class_name="Gauge"))], entities=frozenset({Entity.EQUIPMENT})
    )
    assert [line["pnpid"] for line in lines(draft)] == [2]
    assert draft.stats.total == 1
    assert set(draft.by_entity) == {"equipment"}


# ------------------------------------------------------------------ edits on both sides


def test_different_fields_edited_on_both_sides_are_no_conflict() -> None:
    before = link(item(1, "P-1", "old", spec="CS"))
    draft = plan(
        [item(1, "P-1", "old", spec="SS")],
        [before],
        [asset(before, description="edited")],
        direction=Direction.BOTH,
        write_mode=WriteMode.SQL,
    )
    assert [line["set"] for line in lines(draft, "update")] == [{"attributes.spec": "SS"}]
    assert [cell["new"] for cell in lines(draft, "push")[0]["cells"]] == ["edited"]
    assert not draft.conflicts


def test_a_pull_leaves_synapse_s_edit_of_a_shared_field_waiting_for_a_push() -> None:
    before = link(item(1, "P-1", "old"))
    draft = plan([item(1, "P-1", "old")], [before], [asset(before, description="edited")])
    assert not writes(draft)
    assert lines(draft)[0]["after"]["pending"]["description"]["why"] == "waits_for_push"


def test_a_push_leaves_plant3d_s_edit_waiting_for_a_pull_and_writes_nothing_into_synapse() -> None:
    draft = plan(
        [item(1, "P-1", "new"), item(2, "P-2")], [link(item(1, "P-1", "old"))], direction=Direction.PUSH
    )
    assert not writes(draft)
    assert lines(draft)[0]["after"]["pending"]["description"]["why"] == "waits_for_pull"


def test_a_push_may_be_limited_to_some_assets() -> None:
    known = [link(item(n, f"P-{n}", "old")) for n in (1, 2)]
    draft = plan(
        [item(n, f"P-{n}", "old") for n in (1, 2)],
        known,
        [asset(one, description="edited") for one in known],
        direction=Direction.PUSH,
        write_mode=WriteMode.SQL,
        only_assets=frozenset({"asset-2"}),
    )
    assert [line["pnpid"] for line in lines(draft, "push")] == [2]


@pytest.mark.parametrize(
    ("mode", "stats"), [(WriteMode.SQL, (1, 0)), (WriteMode.WORKBOOK, (0, 1)), (WriteMode.OFF, (0, 1))]
)
def test_only_the_direct_way_counts_as_written(mode: WriteMode, stats: tuple[int, int]) -> None:
    before = link(item(1, "P-1", "old"))
    draft = plan(
        [item(1, "P-1", "old")],
        [before],
        [asset(before, description="edited")],
        direction=Direction.PUSH,
        write_mode=mode,
    )
    assert (draft.push_stats.updated, draft.push_stats.skipped) == stats
    assert lines(draft, "push")[0].get("needs") == (None if mode is WriteMode.SQL else f"write_{mode.value}")


def test_a_cell_that_may_not_be_written_becomes_a_work_item_and_an_error() -> None:
    before = link(item(1, "P-1", "old"))
    narrow = catalog(*(column(name, length=6) for name in ("Tag", "Remark", "Spec", "Note", "Flow")))
    draft = plan(
        [item(1, "P-1", "old")],
        [before],
        [asset(before, description="far too long")],
        direction=Direction.PUSH,
        write_mode=WriteMode.SQL,
        catalog=narrow,
    )
    assert not lines(draft, "push")
    assert codes(draft) == ["too_long"]
    assert draft.work_items[0]["drawing"] == "PID-001"
    assert draft.push_stats.errors == 1


def test_an_edit_of_a_field_that_cannot_be_pushed_names_the_drawing() -> None:
    before = link(item(1, "P-1", note="old"))
    draft = plan([item(1, "P-1", note="old")], [before], [asset(before, attributes_note="new")])
    assert not writes(draft)
    assert draft.work_items[0]["field"] == "attributes.note"
    assert "PID-001" in str(draft.work_items[0]["what"])


@pytest.mark.parametrize(
    ("policy", "written", "finding"),
    [(DriftPolicy.RESTORE, 1, ["drift"]), (DriftPolicy.PROPOSE, 0, ["drift"]), (DriftPolicy.IGNORE, 0, [])],
)
def test_drift_follows_its_policy(policy: DriftPolicy, written: int, finding: list[str]) -> None:
    spec = FieldRule(field="attributes.spec", owner=Owner.PLANT3D, columns=("Spec",), drift=policy)
    before = link(item(1, "P-1", spec="CS"))
    draft = plan(
        [item(1, "P-1", spec="CS")],
        [before],
        [asset(before, attributes_spec="SS")],
        rules=rule_set(field_rules(spec=spec)),
    )
    assert len(writes(draft)) == written
    assert codes(draft) == finding
    if written:
        assert writes(draft)[0]["was"] == {"attributes.spec": "SS"}


def test_a_tag_edited_in_synapse_is_put_back_from_the_tag_it_has_now() -> None:
    before = link(item(1, "A"))
    draft = plan([item(1, "A")], [before], [asset(before, tag="Z")])
    [line] = lines(draft)
    assert (line["old_tag"], line["set"]["tag"]) == ("Z", "A")


EPOCH, SECOND = 621_355_968_000_000_000, 10_000_000
BOTH = {"p": Interval(at_base=100.0, away=200.0), "s": Interval(at_base=300.0, away=400.0)}


def both_edited(**more: Any) -> Draft:
    before = link(item(1, "P-1", "old"), **more.pop("link", {}))
    return plan([item(1, "P-1", "plant")], [before], [asset(before, description="synapse")], **more)


def test_both_sides_edited_in_one_poll_is_a_conflict_with_all_its_facts() -> None:
    draft = both_edited(last_plant3d_read=9_700.0, last_synapse_read=9_700.0)
    [conflict] = draft.conflicts
    assert not writes(draft)
    assert (conflict.base, conflict.plant3d, conflict.synapse) == ("old", "plant", "synapse")
    assert conflict.plant3d_seen == Interval(at_base=9_700.0, away=10_000.0)
    assert conflict.suggestion in ("plant3d", "synapse")
    assert draft.stats.conflicts == 1
    assert lines(draft)[0]["after"]["pending"]["description"]["why"] == "conflict"


def test_the_later_of_two_edits_seen_apart_wins() -> None:
    open_fields = {"description": Open(why="x", plant3d="plant", synapse="synapse")}
    draft = both_edited(
        link={"observed": {"description": BOTH}, "pending": open_fields},
        direction=Direction.BOTH,
        write_mode=WriteMode.SQL,
    )
    assert [cell["new"] for cell in lines(draft, "push")[0]["cells"]] == ["synapse"]


@pytest.mark.parametrize("first", ["the quarrel", "the row that shows it"])
def test_a_clock_that_this_very_read_shows_to_be_behind_decides_nothing(first: str) -> None:
    """Another row was saved 400 s before we last saw it unsaved."""
    open_fields = {"description": Open(why="x", plant3d="plant", synapse="synapse")}
    quarrel = link(item(1, "P-1", "old"), observed={"description": BOTH}, pending=open_fields)
    other = link(item(2, "P-2", "old"), ticks=EPOCH + 9_000 * SECOND)
    items = [item(1, "P-1", "plant"), item(2, "P-2", "new", timestamp=EPOCH + 9_300 * SECOND)]
    draft = plan(
        items if first == "the quarrel" else items[::-1],
        [quarrel, other],
        [asset(quarrel, description="synapse")],
        direction=Direction.BOTH,
        write_mode=WriteMode.SQL,
        last_plant3d_read=9_700.0,
    )
    assert draft.lag == 700.0
    assert lines(draft, "push") == [] and [one.field for one in draft.conflicts] == ["description"]
    assert balanced(draft)


def test_a_row_that_was_saved_again_before_its_relations_changed_shows_no_clock_behind() -> None:
    """A relation stamps no row, and nobody compared the row when it was saved without a change."""
    before = item(1, "P-1", "words")
    known = link(before, ticks=EPOCH + 1_000 * SECOND, digest=b"other relations")
    now = item(1, "P-1", "words", timestamp=EPOCH + 5_000 * SECOND)
    assert plan([now], [known], last_plant3d_read=9_700.0).lag == 0.0
    typed = item(1, "P-1", "other words", timestamp=EPOCH + 5_000 * SECOND)
    assert plan([typed], [known], last_plant3d_read=9_700.0).lag == 5_000.0


def test_a_second_edit_of_a_side_is_not_dated_by_its_first() -> None:
    """Plant 3D was seen away long ago with another value: its last edit may be as new as SYNAPSE's."""
    open_fields = {"description": Open(why="waits_for_pull", plant3d="an earlier edit")}
    seen = {"description": {"p": Interval(at_base=100.0, away=200.0)}}
    draft = both_edited(
        link={"observed": seen, "pending": open_fields}, last_plant3d_read=9_000.0, last_synapse_read=9_000.0
    )
    assert not writes(draft)
    assert len(draft.conflicts) == 1


SAVED = FieldRule(field="attributes.flow", owner=Owner.PLANT3D, columns=("Flow",), compare=INFORMATION)


def informed(link_: dict[str, Any] | None = None, **changes: object) -> Draft:
    """An item whose `flow` is information only, saved again since the last run, with these changes."""
    before = item(1, "P-1", "feed pump", flow="1")
    rules = replace(
        rule_set(field_rules(flow=SAVED)), same={**rule_set().same, SAVED.field: lambda _a, _b: True}
    )
    now = item(1, "P-1", **{"description": "feed pump", "flow": "2", **changes})
    return plan([now], [link(before, **(link_ or {}))], rules=rules)


def test_information_makes_no_update_by_itself() -> None:
    draft = informed()
    assert writes(draft) == []
    assert draft.stats.unchanged == 1


def test_information_goes_along_with_what_changed() -> None:
    [line] = writes(informed(spec="CS150"))
    assert line["set"] == {"attributes.spec": "CS150", "attributes.flow": "2"}
    assert line["was"]["attributes.flow"] == "1"
    assert line["why"]["attributes.flow"] == "information"


def test_information_that_somebody_typed_in_synapse_waits_for_nothing() -> None:
    draft = informed(
        {"synapse_delta": {SAVED.field: "typed"}, "pending": {SAVED.field: Open(why="conflict")}}
    )
    assert writes(draft) == [] and draft.conflicts == []
    [line] = lines(draft)
    assert line["after"]["base_set"] == {SAVED.field: "typed"}
    assert "pending" not in line["after"] and SAVED.field in line["after"]["ends"]


def test_information_that_is_emptied_is_no_value_that_somebody_loses() -> None:
    draft = informed(spec="CS150", flow=None)
    [line] = writes(draft)
    assert line["set"]["attributes.flow"] is None and draft.tally.blanks.total() == 0


def test_information_that_was_never_read_in_synapse_is_not_written_over() -> None:
    base = {"tag": "P-1", "description": "feed pump", "attributes.spec": None}
    [line] = writes(informed({"base": base}, spec="CS150"))
    assert line["set"] == {"attributes.spec": "CS150"}


def test_ask_leaves_even_a_clear_order_to_a_person_with_a_suggestion() -> None:
    description = FieldRule(
        field="description", owner=Owner.SHARED, columns=("Remark",), push=True, conflict=ConflictPolicy.ASK
    )
    open_fields = {"description": Open(why="x", plant3d="plant", synapse="synapse")}
    draft = both_edited(
        rules=rule_set(field_rules(d=description)),
        link={"observed": {"description": BOTH}, "pending": open_fields},
    )
    assert draft.conflicts[0].suggestion == "synapse"
    assert draft.conflicts[0].suggestion_reason == "synapse_changed_later"


def choice(chosen: str) -> dict[str, Any]:
    one = Resolution(conflict_id="k", plant3d_value="plant", synapse_value="synapse", chosen=chosen, by="eve")
    return {"resolutions": {(1001, "description"): one}}


def test_a_third_value_chosen_by_hand_does_not_become_the_base_before_both_hold_it() -> None:
    draft = both_edited(**choice("by hand"))
    [line] = writes(draft)
    assert line["set"] == {"description": "by hand"}
    assert line["after"]["pending"]["description"]["why"] == "resolving"
    plant = both_edited(**choice("plant"))
    assert "pending" not in writes(plant)[0]["after"], "both hold it after the write"


def test_a_field_that_flips_between_two_values_is_frozen_and_explained() -> None:
    """Another program keeps rewriting what we write."""
    flips: dict[str, Flip] = {}
    written = 0
    for _ in range(FLIP_LIMIT + 5):
        before = link(item(1, "P-1", spec="CS"), flips=flips)
        draft = plan([item(1, "P-1", spec="CS")], [before], [asset(before, attributes_spec="SS")])
        for line in writes(draft):
            written += 1
            flips = {name: Flip(*flip) for name, flip in line["after"]["flips"].items()}
    assert written == FLIP_LIMIT
    assert [conflict.kind for conflict in draft.conflicts] == ["flip_flop"]


def test_honest_edits_never_freeze_a_field() -> None:
    flips: dict[str, Flip] = {}
    for n in range(FLIP_LIMIT * 3):
        draft = plan([item(1, "P-1", f"text {n + 1}")], [link(item(1, "P-1", f"text {n}"), flips=flips)])
        [line] = writes(draft)
        flips = {name: Flip(*flip) for name, flip in line["after"]["flips"].items()}


def put_back(**more: Any) -> Draft:
    """SYNAPSE's `new` was written over `old`, and Plant 3D holds `old` again."""
    known = link(item(1, "P-1", "new"), **more)
    return plan([item(1, "P-1", "old")], [known], write_mode=WriteMode.SQL, direction=Direction.BOTH)


def test_a_value_put_back_over_our_write_is_counted_once_and_asked() -> None:
    flips = {"description": Flip(1, value_pair("old", "new"), "plant3d", 0)}
    for _ in range(3):
        draft = put_back(flips=flips)
        assert not writes(draft)
        assert [conflict.kind for conflict in draft.conflicts] == ["reverted"]
        [line] = lines(draft)
        kept = line["after"].get("flips") or {name: list(flip) for name, flip in flips.items()}
        flips = {name: Flip(*flip) for name, flip in kept.items()}
        assert flips["description"][2:] == ("reverted", 1)


@pytest.mark.parametrize(
    "flip",
    [
        Flip(1, value_pair("old", "new"), "synapse", 0),
        Flip(1, value_pair("older", "new"), "plant3d", 0),
        Flip(1, value_pair("old", "new")),
    ],
    ids=["SYNAPSE was written last", "Plant 3D held something else before", "a state of an older version"],
)
def test_another_value_in_plant3d_is_a_designers_edit(flip: Flip) -> None:
    draft = put_back(flips={"description": flip})
    assert [line["set"] for line in writes(draft)] == [{"description": "old"}]
    assert draft.conflicts == []


def test_a_hold_outlives_a_read_in_which_its_field_could_not_be_read() -> None:
    hold = Hold(side="synapse", value="new", kept="old")
    unread = item(1, "P-2", without=["Remark"], unknown=frozenset({"Remark"}))
    known = link(item(1, "P-1", "new"), holds={"description": hold}, synapse_delta={"description": "old"})
    draft = plan([unread], [known])
    [step] = [step for step in from_text(b"[%b]" % b",".join(draft.lines)) if isinstance(step, Update)]
    assert step.set == {"tag": "P-2"}
    moved = advance.written(known, step, asset(known, tag="P-2", description="old"))
    assert moved.holds == {"description": hold}


def test_a_held_field_stays_held_and_says_so() -> None:
    hold = Hold(side="synapse", value="new", kept="old")
    draft = plan(
        [item(1, "P-1", "new")],
        [link(item(1, "P-1", "new"), holds={"description": hold}, synapse_delta={"description": "old"})],
    )
    assert not writes(draft)
    assert lines(draft)[0]["after"]["holds"] == {"description": ["synapse", "new", "old"]}


# ------------------------------------------------------------------ counts and order


def test_an_altered_value_is_agreed_on_once_and_then_quiet() -> None:
    """SYNAPSE cut the text: the base is what it stored, Plant 3D's spelling is remembered beside it."""
    one = item(1, "P-1", "a long text")
    known = link(one, base={"tag": "P-1", "description": "a long"}, base_plant={"description": "a long text"})
    draft = plan([one], [known])
    assert [line["op"] for line in lines(draft)] == ["touch"]


def test_the_remembered_spelling_goes_when_both_sides_hold_the_same_again() -> None:
    one = item(1, "P-1", "a long")
    known = link(one, base={"tag": "P-1", "description": "a long"}, base_plant={"description": "a long text"})
    [line] = lines(plan([one], [known]))
    assert line["after"]["base_set"] == {"description": "a long"}


def test_a_guard_stops_mass_changes_and_says_how_many() -> None:
    before = [item(n, f"T-{n}", "old") for n in range(20)]
    limits = Limits(
        update=Limit(share=0.3, count=5), blank=Limit(share=0.1, count=5), archive=Limit(share=0.1, count=5)
    )
    changed = plan(
        [item(n, f"T-{n}", "new") for n in range(20)], [link(one) for one in before], limits=limits
    )
    blanked = plan([item(n, f"T-{n}", None) for n in range(20)], [link(one) for one in before], limits=limits)
    vanished = plan([item(0, "T-0", "old")], [link(one) for one in before], limits=limits)
    assert [hit.name for hit in changed.guards] == ["update"]
    assert [hit.name for hit in blanked.guards] == ["update", "blank"]
    assert [hit.name for hit in vanished.guards] == ["archive"]


def test_the_first_sync_has_no_create_guard() -> None:
    limits = Limits(create=Limit(share=0.1, count=2))
    assert not plan([item(n, f"T-{n}") for n in range(20)], limits=limits).guards
    hits = plan(
        [item(n, f"T-{n}") for n in range(20)], unchanged=[link(item(99, "T-99"))], limits=limits
    ).guards
    assert [hit.name for hit in hits] == ["create"]


def test_same_input_same_fingerprint_and_another_mapping_another_one() -> None:
    items = [item(1, "P-1", "x"), item(2, "P-2")]
    other = replace(rule_set(), digest="other rules")
    assert plan(items).fingerprint == plan(items).fingerprint
    assert plan(items).fingerprint != plan(items, rules=other).fingerprint


def test_every_kind_of_line_is_known_to_the_tests() -> None:
    assert set(WRITING) == {"create", "update", "archive", "restore"}


def test_what_is_gone_on_both_sides_needs_no_write_and_no_question() -> None:
    draft = plan(
        [], [link(item(1, "A"), in_synapse=InSynapse.ARCHIVED)], missing=MissingPolicy(policy="archive")
    )
    [line] = lines(draft)
    assert (line["op"], line["after"]) == ("missing", {"state": "archived"})
    assert not codes(draft)


# ------------------------------------------------------------------ what stands behind a column


def _one_behind_the_other(first: Value, behind: Value, **more: Any) -> Draft:
    """The description of P-1 is taken from Remark, else from Note; SYNAPSE holds another one now."""

    def either(of: PlantItem) -> Translated:
        plain = translated(of)
        column = "Remark" if not is_blank(of.values["Remark"]) or not of.values["Note"] else "Note"
        fields = {**plain.fields, "description": of.values[column]}
        return Translated(fields=fields, columns={**plain.columns, "description": column})

    made = rule_set()
    rules = replace(made, translate=dict.fromkeys(made.translate, either))
    one = item(1, "P-1", first, note=behind)
    known = link(one, base=either(one).fields)
    more.setdefault("direction", Direction.BOTH)
    return plan([one], [known], [asset(known, description=more.pop("typed"))], rules=rules, **more)


@pytest.mark.parametrize(
    ("first", "behind", "typed", "asked"),
    [
        ("first", "behind", None, True),
        ("first", "behind", "  ", True),
        ("first", None, None, False),
        ("first", "behind", "another", False),
        (None, "behind", None, False),
        (None, "behind", "another", False),
    ],
)
@pytest.mark.parametrize("direction", [Direction.BOTH, Direction.PUSH, Direction.PULL])
def test_a_cell_is_not_emptied_where_another_one_would_show_through(
    first: Value, behind: Value, typed: Value, asked: bool, direction: Direction
) -> None:
    draft = _one_behind_the_other(first, behind, typed=typed, write_mode=WriteMode.SQL, direction=direction)
    pushed = [line for line in lines(draft) if line["op"] == "push"]
    assert [conflict.kind for conflict in draft.conflicts] == (["shows_through"] if asked else [])
    assert bool(pushed) is (not asked and direction is not Direction.PULL)
    if asked:
        assert "behind" in draft.conflicts[0].suggestion_reason


def test_who_chooses_the_empty_value_nevertheless_is_told_that_a_designer_must_empty_both() -> None:
    choice = Resolution(conflict_id="c", plant3d_value="first", synapse_value=None, chosen=None, by="x")
    draft = _one_behind_the_other(
        "first",
        "behind",
        typed=None,
        write_mode=WriteMode.SQL,
        resolutions={(1001, "description"): choice},
    )
    assert [error.code for error in draft.errors] == ["shows_through"]
    assert not draft.conflicts
    assert not [line for line in lines(draft) if line["op"] == "push"]
    assert len(draft.work_items) == 1


# ------------------------------------------------------------------ copies of what is ours


@pytest.mark.parametrize(
    ("value", "ticks", "op", "asked"),
    [
        ("drawn", 1, None, ["reverted"]),
        ("first", 1, None, ["reverted"]),
        ("typed", 1, "update", []),
        ("late", 9, "push", []),
    ],
)
@pytest.mark.parametrize("conflict", ConflictPolicy)
def test_an_older_value_of_ours_is_asked_about_and_a_late_write_is_put_right(
    value: str, ticks: int, op: str | None, asked: list[str], conflict: ConflictPolicy
) -> None:
    known = [
        Ours("Pump", "Remark", "drawn", Origin.REPLACED, 1.0),
        Ours("Pump", "Remark", "late", Origin.WRITTEN, 1.0, 9),
        Ours("Pump", "Remark", "first", Origin.WRITTEN, 1.0, 2),
        Ours("Pump", "Remark", "second", Origin.WRITTEN, 2.0, 3),
    ]
    fields = field_rules(
        description=FieldRule(
            field="description", owner=Owner.SHARED, columns=("Remark",), push=True, conflict=conflict
        )
    )
    draft = plan(
        [item(1, "P-1", value, timestamp=ticks)],
        [link(item(1, "P-1", "second"))],
        ours={1: known},
        rules=rule_set(fields),
        direction=Direction.BOTH,
        write_mode=WriteMode.SQL,
    )
    assert [conflict.kind for conflict in draft.conflicts] == asked
    ops = [line["op"] for line in lines(draft) if line["op"] in ("update", "push")]
    assert ops == ([op] if op else [])
    if op == "push":
        [push] = [line for line in lines(draft) if line["op"] == "push"]
        assert (push["cells"][0]["new"], push["why"]) == ("second", {"description": "late_write_of_ours"})


@pytest.mark.parametrize(("held", "asked"), [(None, ["reverted"]), ("typed", ["first_sync_differs"])])
def test_an_old_value_of_ours_fills_no_blank_of_an_asset_that_is_adopted(
    held: Value, asked: list[str]
) -> None:
    known = [
        Ours("Pump", "Remark", "first", Origin.WRITTEN, 1.0, 2),
        Ours("Pump", "Remark", "second", Origin.WRITTEN, 2.0, 3),
    ]
    pump = item(1, "P-1", "first", timestamp=4)
    found = asset(link(pump), description=held)
    draft = plan([pump], assets=[found], ours={1: known}, direction=Direction.BOTH, write_mode=WriteMode.SQL)
    assert [conflict.kind for conflict in draft.conflicts] == asked
    assert not writes(draft), "neither side is written"
    [edited] = lines(plan([pump], assets=[found]), "adopt")
    assert ("description" in edited.get("set", {})) is (held is None), "what a designer typed fills it"


def test_a_value_that_is_not_emptied_after_all_is_not_counted_as_emptied() -> None:
    """Two items share a tag, so nothing is written for either: the guard against emptied values counts neither."""
    one, two = item(1, "P-1", "feed pump"), item(2, "P-2", "spare pump")
    draft = plan(
        [item(1, "P-3", None), item(2, "P-3", None)],
        [link(one, base="agreed"), link(two, base="agreed")],
    )
    assert draft.stats.skipped == 2
    assert not writes(draft)
    assert draft.tally.blanks.total() == 0


def test_an_item_whose_value_is_refused_counts_as_not_compared_and_its_questions_stay() -> None:
    one = item(1, "P-1", "x" * 4001)
    asked = frozenset({(one.guid, "description")})
    draft = plan([one], [link(item(1, "P-1", "old"))], questions=asked)
    assert codes(draft) == ["too_long"]
    assert draft.uncompared == {one.guid}
    assert (one.guid, "description") not in draft.examined


def test_a_question_about_a_field_that_cannot_be_read_goes_on_waiting() -> None:
    asked = Open(why="conflict", plant3d="p", synapse="s")
    known = link(item(1, "P-1", "old"), pending={"description": asked}, synapse_delta={"description": "s"})
    assert plan([item(1, "P-1", without=("Remark",))], [known]).waiting == 1


@pytest.mark.parametrize(
    ("held", "fate"),
    [("s", ""), ("typed since", "a side moved elsewhere"), ("p", "both sides agree on another value")],
)
def test_what_became_of_a_choice_is_said(held: str, fate: str) -> None:
    known = link(item(1, "P-1", "old"), synapse_delta={"description": held})
    choice = Resolution(conflict_id="c", plant3d_value="p", synapse_value="s", chosen="third", by="eve")
    draft = plan([item(1, "P-1", "p")], [known], resolutions={(known.link_id, "description"): choice})
    assert draft.fates == {"c": fate}
