"""A mapping meets a catalog: which classes become assets, which columns really exist, what may be written.

Names that reach SQL later are only ever names found in the catalog; what a mapping names and a project lacks is
reported and left out.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import unicodedata
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping.compare import COMPARATORS
from plant3d_sync.mapping.convert import CONVERTERS
from plant3d_sync.mapping.file import (
    STOCK,
    ClassSpec,
    FieldEntry,
    FieldSpec,
    MappingFile,
    Mark,
    Problem,
    Severity,
    invalid,
    merged,
    nearest,
    with_text,
)
from plant3d_sync.mapping.translate import (
    CONST,
    ClassPlan,
    FieldPlan,
    Source,
    compile_class,
    compile_tag,
    of_segments,
)
from plant3d_sync.model.catalog import LINK_CLASSES, Catalog, Column
from plant3d_sync.model.reading import LineRule, Reading
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.rules import (
    INFORMATION,
    REGISTRY_TAG,
    BlankPolicy,
    ClassRule,
    ConflictPolicy,
    DriftPolicy,
    FieldRule,
    RuleSet,
    Translated,
)
from plant3d_sync.model.schema import Used
from plant3d_sync.model.side import ASSET_TYPES, Entity, Owner
from plant3d_sync.model.tags import TagRule
from plant3d_sync.words import said


def compile_rules(mapping: MappingFile, catalog: Catalog) -> RuleSet:
    """The mapping against one project. Raises ConfigError `mapping_invalid` for what cannot work in it."""
    return _Compiler(mapping, catalog).finish()


def check_mapping(mapping: MappingFile, catalog: Catalog | None) -> list[Problem]:
    """Everything worth saying about a mapping: errors, warnings, notes, and custom columns no field uses.

    Without a catalog nothing more than loading can be checked, and the list is empty.
    """
    if catalog is None:
        return []
    compiler = _Compiler(mapping, catalog)
    return [*compiler.problems, *compiler.summary(), *compiler.unused_columns()]


def is_writable(column: Column) -> bool:
    """Whether a service may ever write this column: plain text, shown, not computed, not a drawn symbol.

    Tag is composed by Plant 3D from other columns, and every column of PnPBase belongs to Plant 3D.
    """
    return not why_not_writable(column)


def why_not_writable(column: Column) -> str:
    """The reason in words, or an empty text when the column may be written."""
    if column.read_only:
        return "is read-only in Plant 3D"
    if column.hidden:
        return "is hidden in Plant 3D"
    if column.name.lower() == "tag":
        return "is composed by Plant 3D from other columns"
    if column.table_class.lower() == "pnpbase":
        return "belongs to Plant 3D's own bookkeeping"
    if column.symbol_select:
        return "switches the drawn symbol"
    return "" if column.type.lower().endswith("string") else f"holds {column.type}, not text"


def default_text(column: Column, default_is_empty: bool | None) -> str | None:
    """The text (stripped, lower case) that means "not filled in" in this column, or None.

    Columns with a pick list keep their default as a value ("New", "NO"), unless the mapping says otherwise.
    """
    if default_is_empty is False or column.default is None or not column.default.strip():
        return None
    if default_is_empty is None and (column.picklist is not None or column.symbol_select):
        return None
    return column.default.strip().lower()


class _Use(msgspec.Struct):
    """How the field of one class entry fared over all the classes that inherit it."""

    entry_class: str
    name: str
    spec: FieldSpec
    classes: list[str] = msgspec.field(default_factory=list)
    found: set[str] = msgspec.field(default_factory=set)
    writable: bool = False
    not_writable: list[str] = msgspec.field(default_factory=list)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """One field made from one entry and its columns; classes that inherit both share it. `kept`: keeps ids alive."""

    found: frozenset[str]
    kept: object
    rule: FieldRule | None = None
    plan: FieldPlan | None = None
    writable: bool = False
    not_writable: tuple[str, ...] = ()
    facts: tuple[object, ...] = ()


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a chain of class entries. `names`: its columns as written and in lower case."""

    name: str
    spec: FieldSpec
    use: _Use
    names: tuple[tuple[str, str], ...]


class _Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain of class entries comes to, nearest first, for all the classes that inherit just those.

    `lower`: every name of a column that decides what its classes become, in lower case -> places of the entries that name
    it. `uses`: as `RuleSet.uses`. `named`: each column of it, also in lower case. `pushing`: what of it is written.
    """

    specs: tuple[ClassSpec, ...]
    entity: Entity | None
    by: Literal["number", "group"]
    fields: Mapping[str, FieldSpec | None]
    entries: tuple[_Entry, ...]
    lower: Mapping[str, frozenset[int]]
    uses: dict[str, tuple[str, ...]]
    named: Mapping[str, str]
    pushing: frozenset[str]


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a class becomes. `columns`: those of `chain.lower`, by which a class below differs or does not.

    `made`: of each entry of the chain. `used`: column -> its facts, as `Used.columns`.
    """

    chain: _Chain
    columns: tuple[Column | None, ...]
    made: tuple[_Made, ...]
    rules: Mapping[str, FieldRule]
    plans: tuple[FieldPlan, ...]
    facts: tuple[object, ...]
    type_column: str | None
    used: Mapping[str, list[object] | None]


def _make_field(name: str, spec: FieldSpec, candidates: tuple[tuple[str, Column | None], ...]) -> _Made:
    entry = spec.entry
    present = [(each, column) for each, column in candidates if each.startswith("@") or column is not None]
    found = frozenset(each for each, _ in present)
    if not present:
        return _Made(found=found, kept=(spec, candidates))
    owner = entry.owner or Owner.PLANT3D
    writable = any(column is not None and is_writable(column) for _, column in present)
    reasons = [f"{column.name} {why_not_writable(column)}" for _, column in present if column is not None]
    convert = entry.convert or "text"
    return _Made(
        found=found,
        kept=(spec, candidates),
        rule=FieldRule(
            field=name,
            owner=owner,
            columns=tuple(column.name if column is not None else each for each, column in present),
            convert=convert,
            compare=entry.compare or CONVERTERS[convert].compare,
            push=owner is Owner.SHARED and entry.push is not False and writable,
            blank=entry.blank or BlankPolicy.ALLOW,
            drift=entry.drift or DriftPolicy.RESTORE,
            conflict=entry.conflict or ConflictPolicy.NEWEST,
        ),
        plan=_field_plan(name, convert, present, entry.default_is_empty),
        writable=writable,
        not_writable=() if writable else tuple(reasons),
        facts=tuple(_column_facts(name, column) for _, column in present if column is not None),
    )


class _Translators(dict[str, Callable[[PlantItem], Translated]]):
    """class name -> its translator, made when it is first asked for: few of the mapped classes have items."""

    def __init__(self, plans: Mapping[str, ClassPlan]) -> None:
        super().__init__()
        self._plans = plans

    def __missing__(self, name: str) -> Callable[[PlantItem], Translated]:
        made = self[name] = compile_class(self._plans[name])
        return made


class _Definitions:
    """Where each field's value comes from, as a short digest; most classes share their plans."""

    def __init__(self, plans: Mapping[str, ClassPlan], by_group: Container[str]) -> None:
        self._plans = plans
        self._by_group = by_group
        self._of: dict[str, dict[str, str]] = {}
        self._made: dict[FieldPlan, str] = {}

    def __call__(self, class_name: str, name: str) -> str:
        known = self._of.get(class_name)
        if known is None:
            plans = self._plans[class_name].fields
            known = self._of[class_name] = {plan.field: self._digest(plan) for plan in plans}
            if class_name in self._by_group:  # what one line is, is said by its number and by this
                known["tag"] = known.get("tag", "") + "/group"
        return known.get(name, "")

    def _digest(self, plan: FieldPlan) -> str:
        made = self._made.get(plan)
        if made is None:
            text = repr((plan.convert, [source.name for source in plan.sources]))
            made = self._made[plan] = blake2b(text.encode(), digest_size=6).hexdigest()
        return made


class _Compiler:
    """Walks the catalog once, collecting rules, problems and what the digest must cover."""

    def __init__(self, mapping: MappingFile, catalog: Catalog) -> None:
        self.mapping = mapping
        self.catalog = catalog
        self.problems: list[Problem] = []
        self.rules: dict[str, ClassRule] = {}
        self.plans: dict[str, ClassPlan] = {}
        self._uses: dict[tuple[str, str], _Use] = {}
        self._compare: dict[str, tuple[str, Mark]] = {}
        self._touched: dict[str, list[object]] = {}
        self._made: dict[tuple[object, ...], _Made] = {}
        self._by_number: list[str] = []
        self._by_group: list[str] = []
        self._uses_of: dict[str, dict[str, tuple[str, ...]]] = {}
        self._used: dict[str, Used] = {}
        self._chains: dict[tuple[int, ...], _Chain] = {}
        self._shapes: dict[str, _Shape] = {}
        self._facts_used: dict[tuple[int, bool], list[object]] = {}
        self._segment_columns: dict[str, bool] = {}
        self._reading = Reading(tags=TagRule(mapping.placeholders))
        self._check_classes()
        for name in catalog.classes:
            self._compile(name)
        for use in self._uses.values():
            self._judge(use)

    # ------------------------------------------------------------ results

    def finish(self) -> RuleSet:
        """The rules, or the error that names everything that is wrong."""
        errors = [problem for problem in self.problems if problem.severity is Severity.ERROR]
        if errors:
            raise invalid(errors)
        canonical = self.mapping.canonical()
        warnings = [problem for problem in self.problems if problem.severity is Severity.WARNING]
        return RuleSet(
            classes=self.rules,
            digest=self._digest(canonical),
            translate=_Translators(self.plans),
            same={name: COMPARATORS[compare].same for name, (compare, _) in self._compare.items()},
            reading=dataclasses.replace(
                self._reading,
                registry=frozenset(
                    name for name, rule in self.rules.items() if REGISTRY_TAG in rule.fields["tag"].columns
                ),
                lines={name: self._line_rule(name) for name in self._by_number},
                segment_columns=frozenset(name for name, has in self._segment_columns.items() if has),
            ),
            source={"files": list(self.mapping.sources), **canonical},
            used=self._used,
            uses=self._uses_of,
            warnings=tuple(str(one) for one in warnings),
            own_warnings=tuple(str(one) for one in warnings if one.file != STOCK),
            definition=_Definitions(self.plans, frozenset(self._by_group)),
            spellings=CONVERTERS,
        )

    def _digest(self, canonical: Mapping[str, object]) -> str:
        """Of both as one JSON text, which is never held as a whole."""
        encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode
        made = blake2b(b'{"catalog": {', digest_size=16)
        for at, name in enumerate(sorted(self._touched)):
            text = f"{', ' if at else ''}{encode(name)}: {encode(self._touched[name])}"
            made.update(text.encode("utf-8", "surrogatepass"))
        made.update(f'}}, "mapping": {encode(canonical)}}}'.encode("utf-8", "surrogatepass"))
        return made.hexdigest()

    def summary(self) -> list[Problem]:
        """How many classes become which kind of asset."""
        file = self.mapping.sources[-1]
        kinds = {entity: sum(rule.entity is entity for rule in self.rules.values()) for entity in Entity}
        listed = ", ".join(f"{entity.value} {count}" for entity, count in kinds.items())
        text = f"classes that become assets: {listed}"
        return [_problem(Severity.INFO, "summary", text, Mark(file=file))]

    def unused_columns(self) -> list[Problem]:
        """Columns the project added to mapped classes and no field uses, once per class that declares them."""
        used: set[tuple[str, str]] = set()
        custom: dict[tuple[str, str], Column] = {}
        for name, rule in self.rules.items():
            wanted = {column for one in rule.fields.values() for column in one.columns}
            for column in self.catalog.columns.get(name, {}).values():
                key = (column.table_class, column.name)
                if column.name in wanted:
                    used.add(key)
                elif column.custom and not column.hidden:
                    custom.setdefault(key, column)
        taken = {field_name.lower() for rule in self.rules.values() for field_name in rule.fields}
        taken |= {name.lower() for spec in self.mapping.classes.values() for name in spec.fields}
        keys: dict[str, str] = {}
        for _owner, name in sorted(custom):
            if name not in keys:
                keys[name] = _free_key(name, taken)
                taken.add(f"attributes.{keys[name]}")
        wanted_columns = [key for key in sorted(custom) if key not in used]
        fields = {
            (owner, name): f"attributes.{keys[name]}: "
            f"{{column: {json.dumps(name, ensure_ascii=False)}, owner: plant3d}}"
            for owner, name in wanted_columns
        }
        valid = self._valid_suggestions(fields)
        return [
            _problem(
                Severity.SUGGESTION,
                "unused_column",
                f"the project's own column {owner}.{name} is not used; "
                f"`{fields[owner, name]}` under {owner} would bring it to SYNAPSE"
                if (owner, name) in valid
                else f"the project's own column {owner}.{name} is not used, and no field of a mapping can be written for it",
                Mark(file=self.mapping.sources[-1]),
            )
            for (owner, name) in wanted_columns
        ]

    def _valid_suggestions(self, fields: Mapping[tuple[str, str], str]) -> set[tuple[str, str]]:
        """Those that the mapping takes as they stand: pasted, read and compiled, all at once or else one by one."""
        if not fields or not self._breaks(fields):
            return set(fields)
        return {key for key, line in fields.items() if not self._breaks({key: line})}

    def _breaks(self, fields: Mapping[tuple[str, str], str]) -> bool:
        """Whether the mapping has more errors once these fields are pasted into it."""
        under: dict[str, list[str]] = {}
        for (owner, _name), line in fields.items():
            under.setdefault(owner, []).append(line)
        text = (
            "version: 1\n"
            + "classes:\n"
            + "".join(
                f"  {json.dumps(owner, ensure_ascii=False)}:\n    fields:\n"
                + "".join(f"      {line}\n" for line in lines)
                for owner, lines in under.items()
            )
        )
        try:
            tried = _Compiler(with_text(self.mapping, text), self.catalog)
        except ConfigError:
            return True
        return tried._errors() > self._errors()

    def _errors(self) -> int:
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    # ------------------------------------------------------------ one class

    def _check_classes(self) -> None:
        for spec in self.mapping.classes.values():
            if self.catalog.find(spec.name) is not None:
                if spec.by is not None and not self._is_line_group(spec.name):
                    message = f"`by` says what one line is, and {spec.name} is no class of line groups"
                    self.problems.append(_problem(Severity.ERROR, "by_without_line", message, spec.mark))
                if spec.name.lower() in LINK_CLASSES and spec.entity not in (None, "none"):
                    message = f"the rows of {spec.name} join objects to something and are none; nothing of it is handed over"
                    self.problems.append(_problem(Severity.WARNING, "class_joins", message, spec.mark))
                continue
            stock = spec.mark.file == STOCK
            severity = Severity.INFO if stock and spec.entity is None else Severity.WARNING
            self.problems.append(
                _problem(
                    severity,
                    "class_missing",
                    f"the project lacks the class {said(spec.name)}; what is said about it has no effect",
                    spec.mark,
                    "" if stock else nearest(spec.name, self.catalog.classes),
                )
            )

    def _compile(self, name: str) -> None:
        chain = self._chain(
            [
                self.mapping.classes[link.lower()]
                for link in self.catalog.chain(name)
                if link.lower() in self.mapping.classes
            ]
        )
        if chain.entity is None or name.lower() in LINK_CLASSES:
            return
        if self._is_line_group(name):
            (self._by_number if chain.by == "number" else self._by_group).append(name)
        for one in chain.entries:
            one.use.classes.append(name)
        cls = self.catalog.classes[name]
        shape = self._shapes[name] = self._make_shape(name, chain, self._shapes.get(cls.base or ""))
        self.rules[name] = ClassRule(class_name=name, entity=chain.entity, fields=shape.rules)
        self.plans[name] = ClassPlan(
            class_name=name,
            label=cls.label,
            fields=shape.plans,
            type_column=shape.type_column,
            tags=self._reading.tags,
        )
        self._touched[name] = [*shape.facts, chain.entity.value, cls.label, shape.type_column]
        if chain.uses:
            self._uses_of[name] = chain.uses
            self._used[name] = Used(base=cls.base, columns=shape.used)

    def _chain(self, specs: Sequence[ClassSpec]) -> _Chain:
        """These entries, nearest class first, as one; made once, since most classes share theirs with others."""
        key = tuple(map(id, specs))
        known = self._chains.get(key)
        if known is not None:
            return known
        entity = next((spec.entity for spec in specs if spec.entity is not None), None)
        fields: dict[str, FieldSpec | None] = {}
        entries: list[_Entry] = []
        if entity is not None and entity != "none":
            owners: dict[str, str] = {}
            for spec in reversed(specs):
                for field_name, one in spec.fields.items():
                    fields[field_name] = merged(fields.get(field_name), one)
                    owners[field_name] = spec.name
            for name, field_spec in fields.items():
                if field_spec is not None:
                    use = _Use(owners[name], name, field_spec)
                    entries.append(
                        _Entry(
                            name=name,
                            spec=field_spec,
                            use=self._uses.setdefault((owners[name], name), use),
                            names=tuple(
                                (each, each.lower())
                                for each in field_spec.entry.column or ()
                                if self._has_segment_columns(each)
                            ),
                        )
                    )
        uses = {one.name: _named(one.spec.entry) for one in entries}
        lower: dict[str, set[int]] = {"type": set()}
        for place, entry in enumerate(entries):
            for each in (*(each for _, each in entry.names), *map(str.lower, uses[entry.name])):
                lower.setdefault(each, set()).add(place)
        made = self._chains[key] = _Chain(
            specs=tuple(specs),
            entity=None if entity == "none" else entity,
            by=next((spec.by for spec in specs if spec.by is not None), "number"),
            fields=fields,
            entries=tuple(entries),
            lower={each: frozenset(places) for each, places in lower.items()},
            uses=uses,
            named={each: each.lower() for named in uses.values() for each in named},
            pushing=frozenset(
                each
                for one in entries
                if one.spec.entry.owner is Owner.SHARED and one.spec.entry.push is not False
                for each in uses[one.name]
            ),
        )
        return made

    def _is_line_group(self, name: str) -> bool:
        return any(link.lower() == "pipelinegroup" for link in self.catalog.chain(name))

    def _line_rule(self, name: str) -> LineRule:
        """How groups of this class get their number: by the tag of the mapping, whatever it is made of."""
        plan = self.plans[name]
        rule = self.rules[name]
        pushed = {
            source.target.lower()
            for one in plan.fields
            if rule.fields[one.field].push
            for source in one.sources
        }
        return LineRule(
            columns=tuple(one for one in rule.fields["tag"].columns if not one.startswith("@")),
            number=compile_tag(plan),
            from_segments="@segment_tag" in rule.fields["tag"].columns,
            pushed=frozenset(pushed),
        )

    def _has_segment_columns(self, name: str) -> bool:
        """Whether the project's segments have what an `@segments:` name asks for; remembered for reading."""
        if not name.startswith("@"):
            return True
        asked = of_segments(name)
        for one in asked:
            if one not in self._segment_columns:
                columns = [
                    column
                    for of_class in self.catalog.descendants("PipeLines")
                    if (column := self.catalog.column(of_class, one)) is not None
                ]
                self._segment_columns[one] = bool(columns)
                facts = sorted({str(_column_facts(one, column)) for column in columns})
                self._touched.setdefault("@segments", []).append(facts)
        return all(self._segment_columns[one] for one in asked)

    def _make_shape(self, name: str, chain: _Chain, above: _Shape | None) -> _Shape:
        """What a class becomes. Of `above`, its base class, all that their common columns decide is taken over."""
        of_class = self._columns_of(name)
        columns = tuple([of_class.get(one) for one in chain.lower])
        made: list[_Made] = []
        if above is not None and above.chain is chain:
            moved = [
                place
                for places, mine, theirs in zip(chain.lower.values(), columns, above.columns, strict=True)
                if mine is not theirs
                for place in places
            ]
            made.extend(above.made)
            for place in set(moved):
                made[place] = self._make_entry(chain.entries[place], of_class)
        else:
            made.extend([self._make_entry(entry, of_class) for entry in chain.entries])
        rules: dict[str, FieldRule] = {}
        plans: list[FieldPlan] = []
        facts: list[object] = []
        if "asset_type" not in chain.fields and chain.entity is not None:
            rules["asset_type"] = FieldRule(
                field="asset_type", owner=Owner.PLANT3D, columns=(CONST + ASSET_TYPES[chain.entity],)
            )
            plans.append(_asset_type(chain.entity))
            self._compare.setdefault("asset_type", ("text", Mark(file=STOCK)))
        for one in made:
            if one.rule is not None and one.plan is not None:
                rules[one.rule.field] = one.rule
                plans.append(one.plan)
                facts.extend(one.facts)
        if "tag" not in rules:
            rules["tag"] = FieldRule(field="tag", owner=Owner.PLANT3D, columns=())
            plans.append(FieldPlan(field="tag", sources=(), convert="text", target=""))
            self._compare.setdefault("tag", ("text", Mark(file=STOCK)))
        self._check_targets(name, rules, plans, chain.fields)
        kind = of_class.get("type")
        return _Shape(
            chain=chain,
            columns=columns,
            made=tuple(made),
            rules=rules,
            plans=tuple(plans),
            facts=tuple(facts),
            type_column=kind.name if kind else None,
            used=self._facts_of(chain, dict(zip(chain.lower, columns, strict=True))),
        )

    def _make_entry(self, entry: _Entry, columns: Mapping[str, Column]) -> _Made:
        name, spec, use = entry.name, entry.spec, entry.use
        candidates = tuple([(each, columns.get(lower)) for each, lower in entry.names])
        key = (name, id(spec), *[id(column) for _, column in candidates])
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = _make_field(name, spec, candidates)
        use.found |= made.found
        if made.rule is not None and made.plan is not None:
            use.writable = use.writable or made.writable
            use.not_writable += made.not_writable
            self._check_compare(name, made.rule.compare, spec)
            self._check_information(name, made.rule, spec)
        return made

    def _facts_of(
        self, chain: _Chain, columns: Mapping[str, Column | None]
    ) -> dict[str, list[object] | None]:
        """What the mapping uses of the catalogue in a class; classes that inherit a column share its facts."""
        facts: dict[str, list[object] | None] = {}
        for one, lower in chain.named.items():
            column = self._segment_column(one) if one.startswith("@") else columns[lower]
            if column is None:
                facts[one] = None
                continue
            pushed = one in chain.pushing
            key = (id(column), pushed)
            made = self._facts_used.get(key)
            if made is None:
                values = self.catalog.picklists.get(column.picklist or "", ()) if pushed else ()
                made = self._facts_used[key] = [*_column_facts(one, column)[2:], list(values)]
            facts[one] = made
        return facts

    def _segment_column(self, name: str) -> Column | None:
        """The column of the segments that an `@segments:` name asks for, as the topmost class of them has it."""
        return next(
            (
                column
                for of_class in self.catalog.descendants("PipeLines")
                for one in of_segments(name)
                if (column := self.catalog.column(of_class, one)) is not None
            ),
            None,
        )

    def _columns_of(self, class_name: str) -> Mapping[str, Column]:
        cls = self.catalog.find(class_name)
        return self.catalog.columns.get(cls.name, {}) if cls else {}

    def _check_compare(self, name: str, compare: str, spec: FieldSpec) -> None:
        known, place = self._compare.setdefault(name, (compare, spec.at("compare")))
        if known == compare:
            return
        mark = spec.at("compare") if "compare" in spec.marks else spec.at("convert")
        message = (
            f"{name} is compared as {compare} here and as {known} in {place.file}:{place.line}; "
            "one field needs one comparator in all classes (set `compare` on both)"
        )
        self._add_once(_problem(Severity.ERROR, "two_comparators", message, mark))

    def _check_information(self, name: str, rule: FieldRule, spec: FieldSpec) -> None:
        if rule.compare != INFORMATION or (rule.owner is Owner.PLANT3D and name.startswith("attributes.")):
            return
        message = (
            f"{name} cannot be compared as {INFORMATION}: nothing would see an edit of it. "
            "Only an attribute that Plant 3D owns may go along unseen"
        )
        self._add_once(_problem(Severity.ERROR, "not_information", message, spec.at("compare")))

    def _check_targets(
        self,
        class_name: str,
        rules: Mapping[str, FieldRule],
        plans: Iterable[FieldPlan],
        fields: Mapping[str, FieldSpec | None],
    ) -> None:
        """Two fields must not be written to one column: each run would undo the other's value."""
        taken: dict[str, str] = {}
        for plan in plans:
            if not rules[plan.field].push:
                continue
            for column in dict.fromkeys([plan.target, *(source.target for source in plan.sources)]):
                other = taken.setdefault(column, plan.field)
                spec = fields.get(plan.field)
                if other == plan.field or spec is None or column.startswith("@"):
                    continue
                message = (
                    f"{other} and {plan.field} would both be written to {class_name}.{column}; "
                    "set `push: false` on one of them"
                )
                self._add_once(
                    _problem(Severity.ERROR, "two_fields_one_column", message, spec.at("column")),
                    by_place=True,
                )

    def _add_once(self, problem: Problem, *, by_place: bool = False) -> None:
        """Sub-classes repeat what their parent already said."""
        same = (problem.code, problem.file, problem.line) if by_place else problem
        for known in self.problems:
            if same == ((known.code, known.file, known.line) if by_place else known):
                return
        self.problems.append(problem)

    # ------------------------------------------------------------ one field of one class entry

    def _judge(self, use: _Use) -> None:
        """What the mapping names but the project lacks, and what it wants written but must not be."""
        entry, spec = use.spec.entry, use.spec
        label = f"{use.entry_class}.{use.name}"
        if entry.column is None:
            message = f"{label} names no column, and there is no mapped base class that does"
            self.problems.append(_problem(Severity.ERROR, "column_missing", message, spec.mark))
            return
        missing = [each for each in entry.column if each not in use.found]
        place = spec.at("column")
        if len(missing) == len(entry.column):
            names = " or ".join(repr(each) for each in missing)
            own = place.file != STOCK
            effect = (
                "nothing there would have a tag" if use.name == "tag" else f"{use.name} is left alone there"
            )
            message = f"the project lacks {names} below {use.entry_class}; {effect}"
            severity = Severity.ERROR if own and use.name == "tag" else Severity.WARNING
            suggestion = self._nearest_column(missing[0], use.classes) if own else ""
            self.problems.append(_problem(severity, "column_missing", message, place, suggestion))
        elif place.file != STOCK:
            for each in missing:
                message = f"the project lacks {said(each)} below {use.entry_class}; the other columns of {use.name} are used"
                suggestion = self._nearest_column(each, use.classes, besides=use.found)
                self.problems.append(
                    _problem(Severity.WARNING, "candidate_missing", message, place, suggestion)
                )
        wants_push = entry.owner is Owner.SHARED and entry.push is not False
        if wants_push and use.not_writable and not use.writable:
            message = f"{label} is shared, but {use.not_writable[0]}; write `owner: plant3d` or `push: false`"
            self.problems.append(_problem(Severity.ERROR, "not_writable", message, spec.at("owner")))

    def _nearest_column(self, name: str, classes: Iterable[str], *, besides: Collection[str] = ()) -> str:
        names = {column.name for one in classes for column in self.catalog.columns.get(one, {}).values()}
        return nearest(name, names.difference(besides))


def _named(entry: FieldEntry) -> tuple[str, ...]:
    """The columns that a field really reads, `Type` among them where function letters may stand there."""
    columns = entry.column or ()
    named = tuple(each for each in columns if not each.startswith("@") or of_segments(each))
    return (*named, "Type") if any(each.startswith("@isa_") for each in columns) else named


def _asset_type(entity: Entity) -> FieldPlan:
    name = CONST + ASSET_TYPES[entity]
    return FieldPlan(
        field="asset_type", sources=(Source(name=name, target=name),), convert="text", target=name
    )


def _field_plan(
    name: str, convert: str, present: list[tuple[str, Column | None]], default_is_empty: bool | None
) -> FieldPlan:
    """Candidates with their defaults and the column a value from each would be written back to.

    A value is written where it came from. If that cannot be written (an `@` name, a read-only column), the first
    writable column in front of it is, since a filled one there wins.
    """
    sources: list[Source] = []
    writable = ""
    for each, column in present:
        own = column.name if column is not None else each
        if column is not None and is_writable(column):
            writable = writable or own
            target = own
        else:
            target = writable or own
        default = default_text(column, default_is_empty) if column is not None else None
        sources.append(Source(name=own, target=target, default=default))
    return FieldPlan(field=name, sources=tuple(sources), convert=convert, target=writable or sources[0].name)


def _column_facts(field_name: str, column: Column) -> list[object]:
    """What the meaning of a field depends on; a change of any of it forces a full compare."""
    return [
        field_name,
        column.name,
        column.table_class,
        column.type,
        column.length,
        column.default,
        column.read_only,
        column.hidden,
        column.picklist,
        column.symbol_select,
    ]


def _free_key(column: str, taken: Collection[str]) -> str:
    """A key for a column's attribute that a mapping accepts and that no field of the mapping has."""
    plain = unicodedata.normalize("NFKD", column.casefold())
    words = "".join(
        char if char.isascii() and char.isalnum() else " "
        for char in plain
        if not unicodedata.combining(char)  # "série" is one word: serie
    ).split()
    key = base = "_".join(words) or "value"
    for number in itertools.count(2):
        if f"attributes.{key}" not in taken:
            break
        key = f"{base}_{number}"
    return key


def _problem(severity: Severity, code: str, message: str, mark: Mark, suggestion: str = "") -> Problem:
    return Problem(
        severity=severity, code=code, message=message, file=mark.file, line=mark.line, suggestion=suggestion
    )


__all__ = ["check_mapping", "compile_rules", "default_text", "is_writable", "why_not_writable"]
