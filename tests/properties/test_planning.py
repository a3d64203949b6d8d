"""Properties of every plan: counts add up, the order of reading does not matter, applying it makes it quiet."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from plant3d_sync.model.link import InSynapse, Link, LinkState, Missing
from plant3d_sync.model.plan import MissingPolicy
from plant3d_sync.model.reading import LineRule, Reading
from plant3d_sync.model.record import Asset, PlantItem
from plant3d_sync.model.rules import REGISTRY_TAG, Translated
from plant3d_sync.model.side import Direction, Entity, WriteMode
from plant3d_sync.reconcile.planning import Draft, Planner
from tests.support.builders import (
    asset,
    balanced,
    guid_of,
    item,
    knowledge,
    lines,
    link,
    plan,
    rule_set,
    translated,
    writes,
)
from tests.support.two_sides import TwoSides

EXAMPLES = 3000 if os.environ.get("P3DSYNC_LONG") == "1" else 250
EASY = settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
)

TAGS = st.sampled_from(["A", "B", "C", "D", "E", "?", "", None, "T" * 101])
TEXTS = st.sampled_from(["one", "two", " two", "", None, "x" * 4001])
CLASS_NAMES = st.sampled_from(["Pump", "Vessel", "Gauge"])
LONG_AGO = Missing(
    since="1970-01-01T00:00:00+00:00", reads=2, last_counted="1970-01-01T00:00:00+00:00", signature=None
)

World = tuple[list[PlantItem], list[Link], list[Asset], dict[str, Any]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Items, links that may be old, wrong or gone, assets with edits, and settings."""
    items, links, news = [], [], []
    taken: set[str] = set()
    for pnpid in range(1, draw(st.integers(1, 7))):
        before = item(
            pnpid,
            f"{draw(TAGS) or 'N'}{pnpid}" if draw(st.booleans()) else "ABCDEFG"[pnpid],
            draw(TEXTS),
            class_name=draw(CLASS_NAMES),
        )
        if draw(st.booleans()) and before.values["Tag"] not in taken and len(str(before.values["Tag"])) < 100:
            taken.add(str(before.values["Tag"]))
            state = draw(st.sampled_from(list(LinkState)))
            known = link(
                before,
                state=state,
                base=draw(st.sampled_from(["agreed", None])),
                missing=LONG_AGO if state in (LinkState.MISSING, LinkState.PENDING) else None,
                in_synapse=InSynapse(int(draw(st.booleans()) and draw(st.booleans()))),
                synapse_delta=draw(st.sampled_from([{}, {"description": "edited"}])),
            )
            links.append(known)
            if draw(st.booleans()):
                news.append(asset(known, archived=draw(st.booleans()), description=draw(TEXTS)))
        if draw(st.integers(0, 9)) > 0:
            changed = item(
                pnpid,
                draw(st.sampled_from([before.values["Tag"], draw(TAGS)])),
                draw(TEXTS),
                class_name=draw(st.sampled_from([before.class_name, draw(CLASS_NAMES)])),
                guid=draw(st.sampled_from([guid_of(pnpid)] * 8 + ["", guid_of(90 + pnpid)])),
                flow=draw(st.sampled_from([None, "1", "much"])),
            )
            items.append(changed)
    more: dict[str, Any] = {
        "direction": draw(st.sampled_from(list(Direction))),
        "entities": draw(st.sampled_from([frozenset(Entity), frozenset({Entity.EQUIPMENT})])),
        "write_mode": draw(st.sampled_from(list(WriteMode))),
        "missing": MissingPolicy(
            reads=draw(st.integers(1, 3)), policy=draw(st.sampled_from(["ask", "archive", "keep"]))
        ),
        "unlinked": draw(st.sampled_from([{}, {"C": ("x", "Equipment")}])),
    }
    return items, links, news, more


@EASY
@given(worlds())
def test_the_counts_of_every_plan_add_up_and_agree_with_its_lines(world: World) -> None:
    items, links, news, more = world
    draft = plan(items, links, news, **more)
    assert balanced(draft)
    asked = [
        one
        for one in items
        if {"Gauge": Entity.INSTRUMENTS}.get(one.class_name, Entity.EQUIPMENT) in more["entities"]
    ]
    assert draft.stats.total == len(asked)
    assert draft.stats.created == len(lines(draft, "create"))
    assert draft.stats.updated == len(
        [line for line in writes(draft) if line["op"] not in ("create", "archive")]
    )
    assert draft.stats.archived == len([line for line in lines(draft, "archive") if not line.get("needs")])
    assert draft.stats.conflicts == len(draft.conflicts)
    assert draft.tally.creates.total() == draft.stats.created
    assert draft.tally.updates.total() == draft.stats.updated
    wrong = {error.pnpid for error in draft.errors if error.field is None or error.code != "no_column"}
    assert draft.stats.errors <= len(wrong)
    assert len({line["pnpid"] for line in writes(draft)}) == len(writes(draft)), "one item, one write"


def comparable(draft: Draft) -> Any:
    """A plan without any order."""

    def sort(values: Any) -> Any:
        return sorted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values)

    return (
        sort(lines(draft)),
        draft.stats.to_dict(),
        sort(error.to_dict() for error in draft.errors),
        sort((finding.code, finding.pnpid, finding.tag) for finding in draft.findings),
        sort(conflict.to_dict() for conflict in draft.conflicts),
        sort(draft.work_items),
        [hit.to_dict() for hit in draft.guards],
    )


@EASY
@given(worlds(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_reading(world: World, random: Any) -> None:
    items, links, news, more = world
    shuffled, other_links = list(items), list(links)
    random.shuffle(shuffled)
    random.shuffle(other_links)
    one, two = plan(items, links, news, **more), plan(shuffled, other_links, news, **more)
    assert comparable(one) == comparable(two)


@EASY
@given(worlds(), st.booleans(), st.booleans())
def test_new_items_seen_together_come_to_what_each_of_them_comes_to(
    world: World, of_number: bool, of_registry: bool
) -> None:
    items, _links, _news, more = world
    rules = rule_set()
    if of_number:  # no pump has a segment: as lines by their number, none of them is there
        lines_by_number = {"Pump": LineRule(columns=("Tag",), number=lambda _item: None)}
        rules = replace(rules, reading=Reading(lines=lines_by_number))
    if of_registry:
        in_registry = {name: _from_registry for name in rules.classes}
        rules = replace(rules, translate=in_registry)
    if items and more["unlinked"]:  # one of several rows with one PnPGuid
        items[0].sharing = (items[0].pnpid, 99)
    one, together = Planner(rules, knowledge(**more)), Planner(rules, knowledge(**more))
    for item_ in items:
        one.see(item_, None, None)
    together.see_new(items)
    assert vars_of(together.finish()) == vars_of(one.finish())


def _from_registry(of: PlantItem) -> Translated:
    found = translated(of)
    return Translated(
        fields=found.fields, columns={**found.columns, "tag": REGISTRY_TAG}, problems=found.problems
    )


def vars_of(draft: Draft) -> dict[str, Any]:
    return {
        one.name: getattr(draft, one.name) for one in msgspec.structs.fields(draft) if one.name != "lines"
    } | {"lines": list(draft.lines)}


@EASY
@given(worlds())
def test_a_tag_is_given_to_one_item_only_and_released_before_it_is_taken(world: World) -> None:
    items, links, news, more = world
    draft = plan(items, links, news, **more)
    given_tags = [line["set"]["tag"] for line in writes(draft) if "tag" in line.get("set", {})]
    assert len(given_tags) == len(set(given_tags))
    renames = [(line.get("old_tag"), line["set"]["tag"]) for line in writes(draft) if line.get("old_tag")]
    for position, (_old, new) in enumerate(renames):
        later = [old for old, _ in renames[position + 1 :]]
        if new in later:  # only inside a cycle, which is written in one batch
            assert _closes_a_cycle(new, renames[position][0], dict(renames))


def _closes_a_cycle(start: str, end: str | None, renames: dict[str | None, str]) -> bool:
    current: str | None = start
    for _ in renames:
        if current == end:
            return True
        current = renames.get(current)
    return False


@EASY
@given(worlds())
def test_what_is_not_ours_is_never_written(world: World) -> None:
    items, links, news, more = world
    draft = plan(items, links, news, **more)
    for line in lines(draft, "update"):
        assert "attributes.note" not in line["set"]
    for line in lines(draft, "push"):
        assert {cell["field"] for cell in line["cells"]} <= {"description"}
    if more["direction"] is Direction.PUSH:
        assert writes(draft) == []
    if more["direction"] is Direction.PULL:
        assert lines(draft, "push") == []


@settings(EASY, max_examples=EXAMPLES // 5)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", "D", "?", None]),
            st.sampled_from(["one", "a very long text", None]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["A", "B", "C", "D", "E"])), max_size=6),
)
def test_a_plan_that_was_applied_leaves_nothing_to_write(
    placed: list[tuple[Any, Any]], renamed: list[tuple[int, str]]
) -> None:
    world = TwoSides()
    numbers = [world.draws(tag, text) for tag, text in placed]
    world.run()
    for which, tag in renamed:
        world.edits_plant(numbers[which % len(numbers)], "Tag", tag)
    world.run()
    second = world.run()
    assert writes(second) == []
    assert lines(second, "push") == []
    assert writes(world.plan(full=True)) == []
    assert len(world.synapse) == len(world.created)
