"""From a raw Plant 3D item to canonical fields. Pure; everything that can be decided once per class is.

What a candidate column gives:

- unknown (the item has no row at that level, or the cell could not be read): the field stays absent, because an
  unknown value is never a change;
- empty (nothing, blank, or equal to the default of the class, which means "not filled in"): the next candidate;
- filled: that is the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from plant3d_sync.errors import SkipRecordError
from plant3d_sync.mapping.convert import CONVERTERS, plain_text
from plant3d_sync.mapping.isa import UNKNOWN, full_name, function_letters
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.rules import REGISTRY_TAG, Translated
from plant3d_sync.model.tags import TagRule

CONST = "@const:"
"""Prefix of a fixed text: `@const:Pump`."""

SEGMENTS, SEGMENT_LIST = "@segments:", "@segment_list:"
"""Prefixes of what the columns of its segments say of a line."""

_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)

DERIVED: dict[str, str] = {
    "@class": "name of the item's class",
    "@class_label": "label of the item's class as Plant 3D shows it",
    "@drawing": "number of the drawing that shows the item",
    "@drawing_title": "title of that drawing",
    "@line": "tags of the lines the item is on, joined by `; `",
    "@from": "tag of the item a line comes from (relations, not text columns)",
    "@to": "tag of the item a line goes to",
    "@owner": "tag of the item that owns this one",
    "@loop": "loop of the item",
    "@segment_tag": "the one complete tag common to all segments of a line group",
    SEGMENTS + "COLUMN": "the value common to all segments of a line, else the different ones joined by `; `",
    SEGMENT_LIST
    + "COLUMN,COLUMN": "one entry for each segment of a line, joined by `; `, its values by ` | `",
    REGISTRY_TAG: "tag in Plant 3D's tag registry",
    "@modified": "when Plant 3D last stored the row, ISO 8601 in UTC",
    "@pnpid": "PnPID of the item",
    "@isa_letters": "function letters by ISA-5.1 from the column Type, else from the tag; else Unknown",
    "@isa_name": "full name of those letters; else Unknown",
    CONST + "TEXT": "a fixed text",
}
"""Names a mapping may use like columns, with their meaning."""

_FROM_ITEM: dict[str, Callable[[PlantItem], Value]] = {
    "@drawing": lambda item: item.drawing,
    "@drawing_title": lambda item: item.drawing_title,
    "@line": lambda item: "; ".join(item.lines) if item.lines else None,
    "@from": lambda item: item.from_tag,
    "@to": lambda item: item.to_tag,
    "@owner": lambda item: item.owner,
    "@loop": lambda item: item.loop,
    "@segment_tag": lambda item: item.segment_tag,
    REGISTRY_TAG: lambda item: item.registry_tag,
    "@modified": lambda item: iso_time(item.timestamp),
    "@pnpid": lambda item: item.pnpid,
}


def is_derived(name: str) -> bool:
    """Whether an `@` name is one we know; a fixed text must not be empty."""
    if name.startswith(CONST):
        return bool(name.removeprefix(CONST).strip())
    if name.startswith((SEGMENTS, SEGMENT_LIST)):
        return all(of_segments(name))
    return name in DERIVED


def of_segments(name: str) -> tuple[str, ...]:
    """The columns of segments, in lower case, that an `@segments:` or `@segment_list:` name asks for; else none."""
    if name.startswith(SEGMENTS):
        return (name.removeprefix(SEGMENTS).strip().lower(),)
    if name.startswith(SEGMENT_LIST):
        return tuple(one.strip().lower() for one in name.removeprefix(SEGMENT_LIST).split(","))
    return ()


def iso_time(ticks: int) -> str | None:
    """.NET ticks (100 ns since year 1, UTC) as ISO 8601 to the second; None when they are no date."""
    if ticks <= 0:
        return None
    minutes, seconds = divmod(ticks // 10_000_000, 60)
    start = _minute(minutes)
    return None if start is None else f"{start}{seconds:02d}Z"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str | None:
    """Minutes since year 1 as ISO 8601 up to the seconds; None for no date. Rows are saved in stretches of work."""
    try:
        return (_YEAR_ONE + timedelta(minutes=minutes)).isoformat()[:17]
    except OverflowError:
        return None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of one field, for one class.

    `name`: a column as the catalog spells it, or an `@` name. `default`: text (stripped, without case) that means
    "not filled in". `target`: column that would be written when the value came from here.
    """

    name: str
    target: str
    default: str | None = None

    @property
    def derived(self) -> bool:
        """Whether this is not a column."""
        return self.name.startswith("@")


class FieldPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one field of one class is filled. `target`: column to write when every candidate is empty."""

    field: str
    sources: tuple[Source, ...]
    convert: str
    target: str


class ClassPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How items of one class are translated. `type_column`: where ISA letters are looked for after the tag."""

    class_name: str
    label: str
    fields: tuple[FieldPlan, ...]
    type_column: str | None
    tags: TagRule


class _Missing:
    """Marks a column that an item does not have; distinct from an empty one."""


_MISSING = _Missing()

_Found = tuple[Value, str]
"""A value and the column to write it back to."""
_Resolver = Callable[[PlantItem, Mapping[str, Value]], _Found | None]
"""Gives the raw value of a field, or None when it is unknown. May look at the fields found so far (the tag)."""
_FoundTag = tuple[Value, str, bool]
"""As `_Found` for the tag, and whether it is known to be one."""
_TagResolver = Callable[[PlantItem], _FoundTag | None]
_Getter = Callable[[PlantItem, Mapping[str, Value]], "Value | _Missing"]


def compile_class(plan: ClassPlan) -> Callable[[PlantItem], Translated]:
    """The function that translates items of one class. Built once, called for every item."""
    tag: tuple[str, _TagResolver] | None = None
    plain: list[tuple[str, str]] = []
    derived: list[tuple[str, Callable[[PlantItem], Value]]] = []
    constants: dict[str, Value] = {}
    resolvers: list[tuple[str, str, _Resolver, Callable[[Value], Value] | None]] = []
    targets = {one.field: one.target for one in plan.fields if one.target}
    for one in sorted(plan.fields, key=lambda each: each.field != "tag"):
        if _is_usual_tag(one):
            tag = one.target, _tag_resolver(one, plan)
            continue
        first = one.sources[0] if len(one.sources) == 1 else None
        simple = first is not None and one.convert == "text" and one.field != "tag"
        if first is not None and simple and not first.derived and first.default is None:
            plain.append((one.field, first.name))
        elif first is not None and simple and first.name in _FROM_ITEM:
            derived.append((one.field, _FROM_ITEM[first.name]))
        elif first is not None and simple and _constant(first.name, plan) is not None:
            constants[one.field] = _constant(first.name, plan)
        else:
            convert = None if one.convert == "text" else CONVERTERS[one.convert].to_field
            resolvers.append((one.field, one.target, _resolver(one, plan), convert))
    return _translator(tag, tuple(plain), tuple(derived), constants, tuple(resolvers), targets)


def compile_tag(plan: ClassPlan) -> Callable[[PlantItem], str | None]:
    """The function that gives the tag alone of items of one class, None without a usable one."""
    usable = plan.tags.usable
    own = next((one for one in plan.fields if one.field == "tag"), None)
    if own is None or not _is_usual_tag(own):
        translate = compile_class(replace(plan, fields=() if own is None else (own,)))
        return lambda item: usable(translate(item).fields.get("tag"))
    resolve = _tag_resolver(own, plan)

    def tag(item: PlantItem) -> str | None:
        found = resolve(item)
        if found is None:
            return None
        return found[0] if found[2] and type(found[0]) is str else usable(found[0])

    return tag


def _is_usual_tag(one: FieldPlan) -> bool:
    """Whether this is the tag, and nothing is converted on the way."""
    return one.field == "tag" and one.convert == "text"


def _translator(
    tag: tuple[str, _TagResolver] | None,
    plain: tuple[tuple[str, str], ...],
    derived: tuple[tuple[str, Callable[[PlantItem], Value]], ...],
    constants: dict[str, Value],
    resolvers: tuple[tuple[str, str, _Resolver, Callable[[Value], Value] | None], ...],
    targets: dict[str, str],
) -> Callable[[PlantItem], Translated]:
    def translate(item: PlantItem) -> Translated:
        fields = constants.copy()
        columns = targets
        problems: list[tuple[str, str, str]] = []
        is_tagged = False
        if tag is not None and (found_tag := tag[1](item)) is not None:
            fields["tag"], source, is_tagged = found_tag
            if source != tag[0]:
                columns = targets.copy()
                columns["tag"] = source
        values, unknown = item.values, item.unknown
        for name, column in plain if not unknown else [one for one in plain if one[1] not in unknown]:
            try:
                value = values[column]
            except KeyError:
                continue
            fields[name] = None if type(value) is str and (not value or value.isspace()) else value
        for name, from_item in derived:
            value = from_item(item)
            fields[name] = None if not value or (type(value) is str and value.isspace()) else value
        for name, target, resolve, convert in resolvers:
            found = resolve(item, fields)
            if found is None:
                continue
            value, source = found
            if convert is not None and value is not None:
                try:
                    value = convert(value)
                except SkipRecordError as error:
                    problems.append((name, error.error_code, error.message))
                    continue
                if type(value) is str and (not value or value.isspace()):
                    value = None
            fields[name] = value
            if source != target:
                if columns is targets:
                    columns = targets.copy()
                columns[name] = source
        return Translated(
            fields=fields, columns=columns, problems=tuple(problems) if problems else (), is_tagged=is_tagged
        )

    return translate


def _constant(name: str, plan: ClassPlan) -> Value:
    if name == "@class":
        return plan.class_name
    if name == "@class_label":
        return plan.label or plan.class_name
    return name.removeprefix(CONST).strip() if name.startswith(CONST) else None


def _resolver(one: FieldPlan, plan: ClassPlan) -> _Resolver:
    """First filled candidate of one field; unknown as soon as an undecided one is unknown."""
    getters = _getters(one, plan)
    when_empty: Value = UNKNOWN if any(source.name.startswith("@isa_") for source in one.sources) else None
    if one.field == "tag":
        resolve_tag = _tag_resolver(one, plan)
        return lambda item, fields: None if (found := resolve_tag(item)) is None else found[:2]
    if not any(source.derived for source in one.sources):
        return _column_resolver(one)

    def resolve(item: PlantItem, fields: Mapping[str, Value]) -> _Found | None:
        for get, target in getters:
            value = get(item, fields)
            if isinstance(value, _Missing):
                return None
            if value is not None:
                return value, target
        return when_empty, one.target

    return resolve


def _getters(one: FieldPlan, plan: ClassPlan) -> tuple[tuple[_Getter, str], ...]:
    return tuple((_getter(source, plan), source.target) for source in one.sources)


def _column_resolver(one: FieldPlan) -> _Resolver:
    """As `_resolver` for a field that only columns fill, without a call for each."""
    columns = tuple((source.name, source.default, source.target) for source in one.sources)
    nothing: _Found = (None, one.target)

    def resolve(item: PlantItem, fields: Mapping[str, Value]) -> _Found | None:
        values, unknown = item.values, item.unknown
        for column, default, target in columns:
            if column in unknown:
                return None
            value = values.get(column, _MISSING)
            if value is None:
                continue
            if type(value) is str:
                text = value.strip()
            elif isinstance(value, _Missing):
                return None
            else:
                text = plain_text(value).strip()
            if text and (default is None or text.lower() != default):
                return value, target
        return nothing

    return resolve


def _tag_resolver(one: FieldPlan, plan: ClassPlan) -> _TagResolver:
    """First usable tag; else the first text that is none, so that the reason of skipping can show it.

    A candidate that cannot be read leaves the tag unknown, unless the mapping names the registry further on: what
    Plant 3D itself registered for the item is its tag. The tag is given without outer blanks, which SYNAPSE refuses;
    it is never written back, and a tag from the registry says so by its column.
    """
    candidates = tuple(
        (get, REGISTRY_TAG if source.name == REGISTRY_TAG else target, source.name == REGISTRY_TAG)
        for (get, target), source in zip(_getters(one, plan), one.sources, strict=True)
    )

    first = one.sources[0] if one.sources else None
    at_once = first.name if first is not None and not first.derived and first.default is None else ""
    first_target = candidates[0][1] if candidates else ""
    tags, no_fields = plan.tags, dict[str, Value]()
    usable = tags.usable

    def resolve(item: PlantItem) -> _FoundTag | None:
        text = item.values.get(at_once)
        if type(text) is str and at_once not in item.unknown and usable(text) == text:
            return text, first_target, True  # nearly always; what follows comes to the same
        unusable: _FoundTag | None = None
        unread = False
        for get, column, is_registry in candidates:
            if unread and not is_registry:
                continue
            value = get(item, no_fields)
            if value is None:
                continue
            if isinstance(value, _Missing):
                unread = True
                continue
            text = value.strip() if type(value) is str else plain_text(value).strip()
            if tags.problem(text) is None:
                return text, column, True
            unusable = unusable or (text, column, False)
        if item.number is not None:  # a line by its number, which stands on its other groups or its segments
            return item.number, "@segment_tag", False
        return None if unread else unusable or (None, one.target, False)

    return resolve


def _getter(source: Source, plan: ClassPlan) -> _Getter:
    if not source.derived:
        return _column_getter(source.name, source.default)
    if source.name in ("@isa_letters", "@isa_name"):
        return _isa_getter(plan, named=source.name == "@isa_name")
    if source.name in _FROM_ITEM:
        from_item = _FROM_ITEM[source.name]
        return lambda item, fields: _filled(from_item(item))
    if of_segments(source.name):
        return _segments_getter(of_segments(source.name), listed=source.name.startswith(SEGMENT_LIST))
    constant = _constant(source.name, plan)
    return lambda item, fields: constant


def _filled(value: Value) -> Value:
    return None if not value or (type(value) is str and value.isspace()) else value


def _column_getter(column: str, default: str | None) -> _Getter:
    def get(item: PlantItem, fields: Mapping[str, Value]) -> Value | _Missing:
        if column in item.unknown:
            return _MISSING
        value = item.values.get(column, _MISSING)
        if value is None:
            return None
        if type(value) is str:
            text = value.strip()
        elif isinstance(value, _Missing):
            return value
        else:
            text = plain_text(value).strip()
        return None if not text or (default is not None and text.lower() == default) else value

    return get


def _segments_getter(columns: tuple[str, ...], *, listed: bool) -> _Getter:
    """What the segments of a line hold; unknown as soon as one of them cannot be read."""

    def get(item: PlantItem, fields: Mapping[str, Value]) -> Value | _Missing:
        values = item.segment_values
        if values is None or not item.segments:
            return None
        if any(column not in values for column in columns):
            return _MISSING
        texts = [[_text(value) for value in values[column]] for column in columns]
        if listed:
            return "; ".join(" | ".join(entry) for entry in zip(*texts, strict=True))
        return "; ".join(sorted({text for text in texts[0] if text})) or None

    return get


def _text(value: Value) -> str:
    return "" if value is None else plain_text(value).strip()


def _isa_getter(plan: ClassPlan, *, named: bool) -> _Getter:
    """Function letters from the column Type when it holds a valid code, else from the tag: a record beats a guess."""
    of_type = _column_getter(plan.type_column, None) if plan.type_column else None

    def get(item: PlantItem, fields: Mapping[str, Value]) -> Value | _Missing:
        letters = None
        if of_type is not None:
            value = of_type(item, fields)
            if isinstance(value, _Missing):
                return value
            letters = function_letters(value)
        if letters is None:
            if "tag" not in fields:
                return _MISSING
            letters = function_letters(fields["tag"])
        if letters is None:
            return None
        return full_name(letters) if named else letters

    return get
