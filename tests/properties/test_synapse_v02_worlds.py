"""Whatever people, bad connections and other runs do to a SYNAPSE 0.2: no edit is lost, nothing is told that is not so.

Batches of ours go through the real adapter to the double without a socket; a judge that looks into the table itself
compares what was told with what is there. Longer with P3DSYNC_LONG=1.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from plant3d_sync.connectors.base import AssetWrite, WriteResult
from plant3d_sync.connectors.synapse_v02 import read, wire
from plant3d_sync.errors import RetryLaterError
from plant3d_sync.synapse_dev.v02.store import Row, rule_broken
from tests.support.v02_promises import Scene, archive, ours, upsert

LONG = os.environ.get("P3DSYNC_LONG") == "1"
EXAMPLES, STEPS = (500, 40) if LONG else (40, 20)
KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
TAGS = st.sampled_from(["P-a", "P-b", "P-c", "P-d", "P-e", "P-f"])
TEXTS = st.sampled_from(["one", "two", "Vanne d'arrêt", "", None])
SIZES = st.sampled_from(["6", "8", None])
HARMS = st.lists(
    st.tuples(
        st.sampled_from([("POST", "/assets/"), ("PATCH", "/assets/bulk"), ("GET", "/assets/")]),
        st.sampled_from(["lose_answer", "cut_before", "committed_500", "failed_500", "refuse_503"]),
    ),
    max_size=3,
)
PICK = st.integers(0, 50)
DONE = ("created", "updated", "unchanged", "archived")
OTHERS = ("weightKg", "material")


class V02Worlds(RuleBasedStateMachine):
    """Each rule is something that happens."""

    @initialize(large=st.booleans())
    def begins(self, large: bool) -> None:
        read._WALKED.clear()
        self.scene = Scene()
        if large:
            self.scene.traps.scan_threshold, self.scene.traps.scan_granularity = 3, 2
        self.port = self.scene.client(page_size=2)
        self.seen: dict[str, int] = {}
        """Identity -> version of the description when we last looked."""
        self.looked: dict[str, str | None] = {}
        for number in range(3):
            self.scene.backend.create(self.scene.project, f"X-{number}")
        self.scene.send(*(upsert(key, tag=f"P-{key}", asset_type="Equipment") for key in "abcd"))
        self.we_read()

    # ------------------------------------------------------------------ people

    def pick(self, number: int) -> Row | None:
        rows = [row for row in self.scene.backend.heap.of(self.scene.project) if not row["deleted"]]
        return rows[number % len(rows)] if rows else None

    @rule(which=PICK, text=TEXTS)
    def a_person_describes(self, which: int, text: str | None) -> None:
        if (row := self.pick(which)) is not None:
            self.scene.backend.edit(row["id"], description=text)

    @rule(which=PICK, weight=st.integers(1, 9))
    def a_screen_keeps_a_weight(self, which: int, weight: int) -> None:
        if (row := self.pick(which)) is not None:
            self.scene.backend.edit(row["id"], mechanical={**(row["mechanical"] or {}), "weightKg": weight})

    @rule(which=PICK, wiped=st.booleans())
    def a_stale_sheet_puts_our_part_back_or_away(self, which: int, wiped: bool) -> None:
        row = self.pick(which)
        if row is not None and ours(row):
            kept = {name: value for name, value in row["mechanical"].items() if name != wire.NAMESPACE}
            old = {} if wiped else {wire.NAMESPACE: {**ours(row), "attributes": {"size": "old"}}}
            self.scene.links[row["id"]] = ours(row)["plant3d_id"]
            self.scene.backend.edit(row["id"], mechanical={**kept, **old})

    @rule(which=PICK)
    def an_import_poisons_a_row(self, which: int) -> None:
        if (row := self.pick(which)) is not None:
            row["electrical"] = {"voltage": "690V"}

    @rule()
    def somebody_repairs_the_rows(self) -> None:
        for row in self.scene.backend.heap.rows.values():
            row["electrical"] = {}

    @rule(tag=TAGS)
    def a_person_makes_an_asset(self, tag: str) -> None:
        if (self.scene.project, tag) not in self.scene.backend.heap.tags:
            self.scene.backend.create(self.scene.project, tag)

    @rule(which=PICK)
    def an_administrator_deletes(self, which: int) -> None:
        row = self.pick(which)
        if row is not None:
            self.scene.remove(row["id"])

    # ------------------------------------------------------------------ we

    @rule()
    def another_run_begins(self) -> None:
        self.port = self.scene.client(page_size=2)
        self.we_read()

    @rule()
    def we_read(self) -> None:
        pages = self.scene.pages(self.port)
        assets = [asset for page in pages for asset in page.assets]
        shown = [asset.asset_id for asset in assets]
        assert len(shown) == len(set(shown)), "an asset came twice"
        rows = [row for row in self.scene.backend.heap.of(self.scene.project) if not row["deleted"]]
        if pages[-1].proved:
            assert set(shown) == {row["id"] for row in rows if not rule_broken(row)}, "thought deleted"
        for asset in assets:
            if asset.plant3d_id:
                version = asset.field_info["description"].version
                assert version is not None
                self.seen[asset.plant3d_id] = version
                self.looked[asset.plant3d_id] = (
                    self.scene.backend.heap.rows[asset.asset_id]["description"] or None
                )

    @rule(
        items=st.dictionaries(KEYS, st.tuples(TAGS, TEXTS, SIZES), min_size=1, max_size=4),
        gone=st.none() | KEYS,
        harms=HARMS,
        blind=st.sampled_from([False, False, True]),
    )
    def we_write(self, items: dict[str, Any], gone: str | None, harms: Any, blind: bool) -> None:
        writes: list[AssetWrite] = []
        conditional = set()
        for key, (tag, text, size) in items.items():
            if key == gone:
                continue
            described = self.seen.get(key)
            if described is None or blind:
                writes.append(upsert(key, tag=tag, asset_type="Equipment", attributes__size=size))
            else:
                conditional.add(key)
                writes.append(upsert(key, tag=tag, description=text, described=described))
        if gone is not None:
            writes.append(archive(gone))
        before = {row["id"]: dict(row) for row in self.scene.backend.heap.of(self.scene.project)}
        self.scene.traps.harms[:] = [(*call, harm) for call, harm in harms]
        try:
            results = self.scene.send(*writes, port=self.port)
        except RetryLaterError:
            results = {}  # nothing is told of any item: the next run asks
        finally:
            self.scene.traps.harms.clear()
        self.judge(before, results, {write.plant3d_id: write for write in writes}, conditional)

    # ------------------------------------------------------------------ the judge

    def judge(
        self,
        before: dict[str, Row],
        results: dict[str, WriteResult],
        writes: dict[str, AssetWrite],
        conditional: set[str],
    ) -> None:
        rows = {row["id"]: row for row in self.scene.backend.heap.of(self.scene.project)}
        assert set(before) <= set(rows), "an asset was deleted by us"
        for asset_id, old in before.items():
            for name in OTHERS:
                mine, theirs = (row["mechanical"] or {} for row in (rows[asset_id], old))
                assert mine.get(name) == theirs.get(name), "what others keep was changed"
            said = ours(old).get("plant3d_id") or self.scene.links.get(asset_id)
            words = old["description"] or None
            if (rows[asset_id]["description"] or None) != words:
                assert said in conditional and self.looked.get(said) == words, (
                    "somebody's words were overwritten"
                )
            if said is None:
                assert rows[asset_id]["tag"] == old["tag"], "a stranger's asset was renamed"
        for key, result in results.items():
            if result.status not in DONE:
                continue
            assert result.asset_id is not None
            row = rows[result.asset_id]
            wanted = writes[key].set
            if writes[key].op == "archive":
                assert ours(row).get("archived") is True
                continue
            assert row["tag"] == wanted["tag"], "told, and not so"
            assert (ours(row).get("plant3d_id"), ours(row).get("archived")) == (key, None)
            if "description" in wanted:
                assert (row["description"] or None) == (wanted["description"] or None), "told, and not so"
            if "attributes.size" in wanted:
                assert ours(row).get("attributes", {}).get("size") == wanted["attributes.size"], (
                    "told, and not so"
                )

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            tags = [row["tag"] for row in self.scene.backend.heap.of(self.scene.project)]
            assert len(tags) == len(set(tags))
            claimed = [ours(row)["plant3d_id"] for row in self.scene.backend.heap.rows.values() if ours(row)]
            assert len(claimed) == len(set(claimed)), "an item was made twice"


def test_whatever_happens_to_a_synapse_0_2_no_edit_is_lost_and_nothing_is_made_twice() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        V02Worlds,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not LONG,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_WALKED", set())
