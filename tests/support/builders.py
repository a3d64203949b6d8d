"""Small worlds for the tests of the decision core: one class, five fields, two sides as dictionaries."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from plant3d_sync.model.catalog import Catalog, Column, PlantClass
from plant3d_sync.model.fields import flat
from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.ours import Ours
from plant3d_sync.model.record import Asset, FieldInfo, PlantItem, Value
from plant3d_sync.model.rules import ClassRule, FieldRule, RuleSet, Translated
from plant3d_sync.model.side import Direction, Entity, Owner
from plant3d_sync.reconcile.planning import Draft, Knowledge, Planner

COLUMNS = {
    "tag": "Tag",
    "description": "Remark",
    "attributes.spec": "Spec",
    "attributes.note": "Note",
    "attributes.flow": "Flow",
}
CLASSES = {"Pump": Entity.EQUIPMENT, "Vessel": Entity.EQUIPMENT, "Gauge": Entity.INSTRUMENTS}


def meaning(value: Value) -> str:
    return "" if value is None else str(value).strip()


def same(one: Value, two: Value) -> bool:
    return meaning(one) == meaning(two)


def guid_of(pnpid: int) -> str:
    return f"00000000-0000-0000-0000-{pnpid:012d}"


def column(name: str, **more: Any) -> Column:
    return Column(name=name, table_class=more.pop("table_class", "Pump"), **more)


def catalog(*columns: Column, picklists: Mapping[str, tuple[str, ...]] | None = None) -> Catalog:
    own = columns or tuple(column(name) for name in COLUMNS.values())
    return Catalog(
        classes={
            name: PlantClass(name=name, base=None, label=name, physical=name, has_table=True)
            for name in CLASSES
        },
        columns={name: {one.name.lower(): one for one in own} for name in CLASSES},
        picklists=picklists or {},
    )


def field_rules(**changes: FieldRule) -> dict[str, FieldRule]:
    """tag, spec, flow: Plant 3D's. description: shared and pushed. note: SYNAPSE's, not pushed."""
    rules = {
        name: FieldRule(field=name, owner=Owner.PLANT3D, columns=(COLUMNS[name],))
        for name in ("tag", "attributes.spec", "attributes.flow")
    }
    rules["description"] = FieldRule(field="description", owner=Owner.SHARED, columns=("Remark",), push=True)
    rules["attributes.note"] = FieldRule(field="attributes.note", owner=Owner.SYNAPSE, columns=("Note",))
    return rules | {rule.field: rule for rule in changes.values()}


def translated(item: PlantItem) -> Translated:
    """Columns into fields; a column the item does not have is unknown. `Flow` must be a number."""
    fields: dict[str, Value] = {}
    problems: list[tuple[str, str, str]] = []
    for name, source in COLUMNS.items():
        if source not in item.values:
            continue
        value = item.values[source]
        if source == "Flow" and isinstance(value, str) and not value.replace(".", "").isdigit():
            problems.append((name, "not_a_number", f"{value!r} is not a number."))
            continue
        fields[name] = None if value == "" else value
    return Translated(fields=fields, columns=dict(COLUMNS), problems=tuple(problems))


def rule_set(
    fields: Mapping[str, FieldRule] | None = None, classes: Iterable[str] = tuple(CLASSES)
) -> RuleSet:
    chosen = dict(fields or field_rules())
    return RuleSet(
        classes={name: ClassRule(class_name=name, entity=CLASSES[name], fields=chosen) for name in classes},
        digest="rules",
        translate={name: translated for name in classes},
        same=dict.fromkeys(chosen, same),
    )


def item(pnpid: int, tag: Value = None, description: Value = None, **more: Any) -> PlantItem:
    """A pump. `spec`, `note`, `flow` are columns; anything else is a member of the item."""
    values: dict[str, Value] = {"Tag": tag, "Remark": description}
    for name in ("spec", "note", "flow"):
        values[name.capitalize()] = more.pop(name, None)
    for name in more.pop("without", ()):
        del values[name]
    values.update(more.pop("values", {}))
    return PlantItem(
        pnpid=pnpid,
        guid=more.pop("guid", guid_of(pnpid)),
        class_name=more.pop("class_name", "Pump"),
        timestamp=more.pop("timestamp", 638_000_000_000_000_000 + pnpid),
        revision=more.pop("revision", 1),
        values=values,
        drawing=more.pop("drawing", "PID-001"),
        digest=hashlib.blake2b(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), digest_size=16).digest(),
        **more,
    )


def link(of: PlantItem, *, base: Mapping[str, Value] | None | str = "agreed", **more: Any) -> Link:
    """The link of an item that both sides agree on, unless something else is said."""
    fields = translated(of).fields
    return Link(
        link_id=more.pop("link_id", 1000 + of.pnpid),
        pnpid=more.pop("pnpid", of.pnpid),
        plant3d_id=more.pop("plant3d_id", of.guid),
        class_name=more.pop("class_name", of.class_name),
        entity=more.pop("entity", CLASSES.get(of.class_name, Entity.EQUIPMENT).value),
        asset_id=more.pop("asset_id", f"asset-{of.pnpid}"),
        asset_version=more.pop("asset_version", 1),
        description_version=1,
        tag=more.pop("tag", str(fields.get("tag"))),
        digest=more.pop("digest", of.digest),
        base=fields if base == "agreed" else base,  # type: ignore[arg-type]
        **more,
    )


def asset(of: Link, *, archived: bool = False, stamp: str | None = None, **fields: Value) -> Asset:
    """The asset of a link as SYNAPSE holds it now; keyword names use `_` for the dot."""
    held = of.synapse_fields() | {
        name.replace("attributes_", "attributes."): value for name, value in fields.items()
    }
    info = {"description": FieldInfo(version=2, updated_at=stamp, by="sam")} if stamp else {}
    return Asset(
        asset_id=of.asset_id,
        plant3d_id=of.plant3d_id,
        version=of.asset_version + 1,
        seq=1,
        archived=archived,
        fields=held,
        field_info=info,
    )


def knowledge(**more: Any) -> Knowledge:
    now = more.pop("now", 10_000.0)
    return Knowledge(
        now=now,
        now_iso=datetime.fromtimestamp(now, UTC).isoformat(),
        direction=more.pop("direction", Direction.PULL),
        entities=more.pop("entities", frozenset(Entity)),
        catalog=more.pop("catalog", None) or catalog(),
        **more,
    )


def announce(planner: Planner, links: Collection[Link]) -> None:
    """Tell the planner which links are live."""
    live = [one for one in links if one.state in (LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING)]
    kept = {one.tag: one.pnpid for one in links if one.state is LinkState.UNLINKED}
    planner.known_links({one.tag: one.pnpid for one in live}, Counter(one.entity for one in live), kept)


def plan(
    items: Iterable[PlantItem],
    links: Iterable[Link] = (),
    assets: Iterable[Asset] = (),
    *,
    rules: RuleSet | None = None,
    unchanged: Iterable[Link] = (),
    ours: Mapping[int, Sequence[Ours]] | None = None,
    **more: Any,
) -> Draft:
    """What the planner makes of a complete read: links without an item are gone, except `unchanged` ones."""
    planner = Planner(rules or rule_set(), knowledge(**more))
    links, unchanged = list(links), list(unchanged)
    announce(planner, (*links, *unchanged))
    planner.see_unchanged(unchanged)
    by_guid = {known.plant3d_id: known for known in links}
    by_pnpid = {known.pnpid: known for known in links}
    news = {one.plant3d_id: one for one in assets}
    seen: set[int] = set()
    for one in items:
        known_link = by_guid.get(one.guid)
        other = by_pnpid.get(one.pnpid) if known_link is None else None
        planner.see(one, known_link, news.get(one.guid), other, (ours or {}).get(one.pnpid, ()))
        seen.add(one.pnpid)
    for known in links:
        if known.pnpid not in seen:
            planner.gone(known)
    return planner.finish()


def lines(draft: Draft, *ops: str) -> list[dict[str, Any]]:
    """The plan's lines, only of these operations if any are named."""
    every = [orjson.loads(line) for line in draft.lines]
    every = [{**line, "set": flat(line["set"])} if line["op"] == "create" else line for line in every]
    return [line for line in every if not ops or line["op"] in ops]


WRITING = ("create", "update", "archive", "restore")


def writes(draft: Draft) -> list[dict[str, Any]]:
    """Lines that change something in SYNAPSE."""
    return [line for line in lines(draft, *WRITING, "adopt") if line["op"] in WRITING or line.get("set")]


def codes(draft: Draft) -> list[str]:
    """Codes of errors and findings, sorted."""
    return sorted([error.code for error in draft.errors] + [finding.code for finding in draft.findings])


def balanced(draft: Draft) -> bool:
    """total = created + updated + unchanged + skipped + errors, with no negative count, per entity and in all."""
    for stats in (draft.stats, *draft.by_entity.values()):
        parts = (stats.created, stats.updated, stats.unchanged, stats.skipped, stats.errors)
        if min(parts) < 0 or sum(parts) != stats.total:
            return False
    return True
