from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping import Severity, check_mapping, compile_rules, load_mapping
from plant3d_sync.mapping.translate import iso_time
from plant3d_sync.model.catalog import Catalog, Column
from plant3d_sync.model.record import PlantItem, Value
from plant3d_sync.model.rules import RuleSet, Translated
from plant3d_sync.model.side import Entity, Owner
from tests.support.catalogs import catalog, column, item, plant


def compiled(folder: Path, text: str = "", project: Catalog | None = None, *, stock: bool = True) -> RuleSet:
    sources = ["stock"] if stock else []
    if text:
        (folder / "mine.yml").write_text("version: 1\n" + text, encoding="utf-8")
        sources.append("mine.yml")
    return compile_rules(load_mapping(sources, base_dir=folder), project or plant())


def translated(rules: RuleSet, one: PlantItem) -> Translated:
    return rules.translate[one.class_name](one)


def x_of(
    folder: Path, options: str, values: dict[str, Value], *, unknown: tuple[str, ...] = ()
) -> Translated:
    rules = compiled(
        folder,
        f"classes: {{Vessel: {{entity: equipment, fields: {{attributes.x: {options}}}}}}}",
        stock=False,
    )
    return translated(rules, item("Vessel", values, unknown=frozenset(unknown)))


# ---------------------------------------------------------------- classes


def test_stock_makes_the_four_kinds_and_leaves_the_rest_out(tmp_path: Path) -> None:
    kinds = {name: rule.entity for name, rule in compiled(tmp_path).classes.items()}
    assert kinds == {
        "Equipment": Entity.EQUIPMENT,
        "Tanks": Entity.EQUIPMENT,
        "Vessel": Entity.EQUIPMENT,
        "Filters": Entity.EQUIPMENT,
        "HandValves": Entity.VALVES,
        "GateValve": Entity.VALVES,
        "Instrumentation": Entity.INSTRUMENTS,
        "InlineInstruments": Entity.INSTRUMENTS,
        "ControlValve": Entity.INSTRUMENTS,
        "PipeLineGroup": Entity.LINES,
    }


def test_control_valves_become_valves_where_the_mapping_says_so(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {ControlValve: {entity: valves}}")
    assert rules.classes["ControlValve"].entity is Entity.VALVES
    assert rules.classes["InlineInstruments"].entity is Entity.INSTRUMENTS
    assert translated(rules, item("ControlValve", {"Tag": "FV-1"})).fields["asset_type"] == "Valve"


@pytest.mark.parametrize("name", ["PnPDataLinks", "pnptagregistry"])
def test_rows_that_only_join_objects_are_never_handed_over(tmp_path: Path, name: str) -> None:
    """On SQL Server they are counted and not read one by one, so a file may not hand them over either."""
    project = catalog(
        ("PnPBase", None, "", ["PnPClassName"]),
        ("PnPDataLinks", "PnPBase", "", ["RowId", "DwgId"]),
        ("PnPTagRegistry", "PnPBase", "", ["Tag", "RowId"]),
    )
    rules = compiled(tmp_path, f"classes:\n  {name}: {{entity: equipment}}\n", project)
    assert not {one.lower() for one in rules.classes} & {"pnpdatalinks", "pnptagregistry"}
    assert [one for one in rules.own_warnings if "nothing of it is handed over" in one]


def test_entity_none_leaves_a_class_and_all_below_it_out(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Tanks: {entity: none}}")
    assert "Tanks" not in rules.classes and "Vessel" not in rules.classes and "Filters" in rules.classes


def test_a_class_inside_an_excluded_one_can_come_back(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Tanks: {entity: none}, Vessel: {entity: equipment}}")
    assert "Tanks" not in rules.classes and "Vessel" in rules.classes


def test_a_sub_class_overrides_one_field_and_inherits_the_others(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Vessel: {fields: {description: {column: D1, owner: shared}}}}")
    assert rules.classes["Vessel"].fields["description"].columns == ("D1",)
    assert rules.classes["Tanks"].fields["description"].columns == ("Description",)
    assert rules.classes["Vessel"].fields["attributes.spec"].columns == ("EquipmentSpec",)


def test_a_sub_class_without_a_column_adjusts_what_it_inherits(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Vessel: {fields: {tag: {drift: propose}}}}")
    assert rules.classes["Vessel"].fields["tag"].drift == "propose"
    assert rules.classes["Vessel"].fields["tag"].columns == ("Tag", "@registry_tag")
    assert rules.classes["Tanks"].fields["tag"].drift == "restore"


def test_a_field_set_to_null_is_gone_below_that_class(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Tanks: {fields: {attributes.area: null}}}")
    assert "attributes.area" not in rules.classes["Vessel"].fields
    assert "attributes.area" in rules.classes["Filters"].fields


def test_the_fineness_of_a_filter_is_not_taken_for_a_rating(tmp_path: Path) -> None:
    assert "attributes.rating" not in compiled(tmp_path).classes["Filters"].fields


def test_class_and_column_names_are_found_without_case_and_kept_as_the_catalog_spells_them(
    tmp_path: Path,
) -> None:
    text = "classes: {vessel: {entity: equipment, fields: {attributes.v: {column: volume}}}}"
    rules = compiled(tmp_path, text, stock=False)
    assert rules.classes["Vessel"].fields["attributes.v"].columns == ("VOLUME",)


def test_a_field_whose_columns_a_class_lacks_is_left_alone_there(tmp_path: Path) -> None:
    rules = compiled(tmp_path)
    assert "attributes.size" in rules.classes["ControlValve"].fields
    assert "attributes.size" not in rules.classes["Instrumentation"].fields
    assert "attributes.size" not in translated(rules, item("Instrumentation", {"Tag": "FT-1"})).fields


def test_a_class_without_tag_column_gives_no_tag(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Vessel: {entity: equipment}}", stock=False)
    assert translated(rules, item("Vessel", {"Tag": "V-1"})).fields == {
        "asset_type": "Equipment",
        "tag": None,
    }


# ---------------------------------------------------------------- what the project lacks


def test_what_the_project_lacks_is_a_warning_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = "classes:\n  Vesel: {entity: equipment}\n  Vessel:\n    fields:\n      attributes.v: {column: VOLUM}\n"
    rules = compiled(tmp_path, text)
    assert any(
        w.startswith("mine.yml:3: the project lacks the class 'Vesel'") and w.endswith("did you mean Vessel?")
        for w in rules.warnings
    )
    assert any(
        w.startswith("mine.yml:6: the project lacks 'VOLUM'") and w.endswith("did you mean VOLUME?")
        for w in rules.warnings
    )


def test_a_missing_candidate_is_told_for_the_own_file_but_not_for_stock(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {Vessel: {fields: {attributes.v: {column: [VOLUM, VOLUME]}}}}")
    assert any("lacks 'VOLUM' below Vessel; the other columns" in warning for warning in rules.warnings)
    assert not any("'Diameter'" in warning or "'Size'" in warning for warning in rules.warnings)


def test_a_file_of_ones_own_that_sounds_like_the_shipped_one_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "stock:ours.yml"
    try:
        path.write_text("version: 1\nclasses: {Vesel: {entity: equipment}}\n", encoding="utf-8")
    except OSError:
        pytest.skip("this system allows no such name")
    rules = compile_rules(load_mapping(["stock", path.name], base_dir=tmp_path), plant())
    assert ["'Vesel'" in warning for warning in rules.own_warnings] == [True]


def test_stock_warns_of_nothing_but_what_this_project_lacks(tmp_path: Path) -> None:
    lacking = {warning.split("lacks ")[1].split(";")[0] for warning in compiled(tmp_path).warnings}
    assert lacking == {
        "'Location' below Instrumentation",
        "'Range' below Instrumentation",
        "'SetPoint' below Instrumentation",
        "'Normally' below Instrumentation",
        "'Rating' below Equipment",
        "'Rating' below HandValves",
        "'Failure' below HandValves",
        "'Service' below PipeLineGroup",
        "'Status' below PipeLineGroup",
    }


def test_custom_columns_that_no_field_uses_are_suggested(tmp_path: Path) -> None:
    found = check_mapping(load_mapping(["stock"], base_dir=tmp_path), plant())
    suggested = [one.message for one in found if one.severity is Severity.SUGGESTION]
    assert len(suggested) == 2
    assert (
        "Vessel.D1" in suggested[0]
        and '`attributes.volume: {column: "VOLUME", owner: plant3d}`' in suggested[1]
    )


def test_a_suggested_key_keeps_words_with_accents_whole(tmp_path: Path) -> None:
    project = plant()
    columns = dict(project.columns)
    own = {
        name.lower(): Column(name=name, table_class="Vessel", custom=True) for name in ("N\u00b0 s\u00e9rie",)
    }
    columns["Vessel"] = {**columns["Vessel"], **own}
    found = check_mapping(load_mapping(["stock"], base_dir=tmp_path), replace(project, columns=columns))
    assert any("`attributes.n_serie:" in one.message for one in found)


def test_what_is_suggested_is_a_valid_mapping_that_replaces_nothing(tmp_path: Path) -> None:
    """Pasted as shown: each key once, none that the mapping has, all with names a mapping accepts."""
    project = plant()
    columns = dict(project.columns)
    own = {
        name.lower(): Column(name=name, table_class="Vessel", custom=True)
        for name in ("#Status", "Status #", "Größe", "D1", "d 1", "名前")
    }
    columns["Vessel"] = {**columns["Vessel"], **own}
    found = check_mapping(load_mapping(["stock"], base_dir=tmp_path), replace(project, columns=columns))
    lines = [
        match.group(1)
        for one in found
        if one.severity is Severity.SUGGESTION and (match := re.search(r"`(attributes\..*)`", one.message))
    ]
    keys = [line.split(":")[0] for line in lines]
    assert len(set(keys)) == len(keys) >= len(own)
    assert "attributes.status" not in keys, "the stock mapping has it"
    pasted = "classes:\n  Vessel:\n    fields:\n" + "".join(f"      {line}\n" for line in lines)
    compiled(tmp_path, pasted, replace(project, columns=columns))


def test_a_key_that_the_mapping_has_anywhere_is_not_suggested_again(tmp_path: Path) -> None:
    """Also where the class that has it is none of this project's, or says that it does without."""
    text = "version: 1\nextends: stock\nclasses:\n  Filters:\n    fields:\n      attributes.d1: null\n"
    (tmp_path / "mine.yml").write_text(text, encoding="utf-8")
    found = check_mapping(load_mapping(["mine.yml"], base_dir=tmp_path), plant())
    suggested = [one.message for one in found if one.severity is Severity.SUGGESTION]
    assert "`attributes.d1_2:" in suggested[0]


def test_a_suggestion_that_the_mapping_would_refuse_is_not_shown_as_one(tmp_path: Path) -> None:
    """Each is pasted, read and compiled before it is shown: a column cannot be named like a source of ours."""
    project = plant()
    columns = dict(project.columns)
    columns["Vessel"] = {
        **columns["Vessel"],
        "@mine": Column(name="@mine", table_class="Vessel", custom=True),
    }
    found = check_mapping(load_mapping(["stock"], base_dir=tmp_path), replace(project, columns=columns))
    suggested = [one.message for one in found if one.severity is Severity.SUGGESTION]
    assert len(suggested) == 3
    assert [one for one in suggested if "`" not in one] == [
        "the project's own column Vessel.@mine is not used, and no field of a mapping can be written for it"
    ]


def test_without_a_catalog_there_is_nothing_more_to_check(tmp_path: Path) -> None:
    assert check_mapping(load_mapping(["stock"], base_dir=tmp_path), None) == []


# ---------------------------------------------------------------- what must not be written


def refused(folder: Path, text: str, project: Catalog | None = None) -> list[tuple[object, object]]:
    with pytest.raises(ConfigError) as caught:
        compiled(folder, text, project)
    assert caught.value.error_code == "mapping_invalid"
    found = caught.value.details["problems"]
    assert isinstance(found, list)
    return [(problem["line"], problem["code"]) for problem in found]


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("BodyType", "ControlValve"),
        ("FlagValue", "Vessel"),
        ("PnPClassName", "Vessel"),
        ("NumberOfTrays", "Vessel"),
    ],
)
def test_a_shared_field_on_a_column_nobody_may_write_is_refused_with_its_line(
    tmp_path: Path, name: str, class_name: str
) -> None:
    text = f"classes:\n  {class_name}:\n    fields:\n      attributes.x: {{column: {name}, owner: shared}}\n"
    assert refused(tmp_path, text) == [(5, "not_writable")]


def test_the_same_field_is_fine_when_it_is_not_pushed(tmp_path: Path) -> None:
    text = "classes: {ControlValve: {fields: {attributes.x: {column: BodyType, owner: shared, push: false}}}}"
    assert compiled(tmp_path, text).classes["ControlValve"].fields["attributes.x"].push is False


def test_two_fields_written_to_one_column_are_refused_once(tmp_path: Path) -> None:
    text = "classes:\n  Equipment:\n    fields:\n      attributes.x: {column: description, owner: shared}\n"
    assert refused(tmp_path, text) == [(5, "two_fields_one_column")]


def test_two_fields_may_read_one_column(tmp_path: Path) -> None:
    text = "classes: {Equipment: {fields: {attributes.x: {column: Description, owner: plant3d}}}}"
    assert "attributes.x" in compiled(tmp_path, text).classes["Vessel"].fields


def test_one_field_cannot_be_compared_in_two_ways(tmp_path: Path) -> None:
    text = "classes:\n  Vessel:\n    fields:\n      attributes.area: {convert: number}\n"
    assert refused(tmp_path, text) == [(5, "two_comparators")]


@pytest.mark.parametrize(
    "field",
    [
        "tag: {compare: information}",
        "asset_subtype: {column: Tag, compare: information}",
        "attributes.x: {column: Tag, owner: synapse, compare: information}",
        "attributes.x: {column: Description, owner: shared, push: false, compare: information}",
    ],
)
def test_only_an_attribute_that_plant3d_owns_can_be_information(tmp_path: Path, field: str) -> None:
    text = f"classes:\n  Equipment:\n    fields:\n      {field}\n"
    assert (5, "not_information") in refused(tmp_path, text)


def test_options_without_any_column_to_adjust_are_refused(tmp_path: Path) -> None:
    text = "classes:\n  Vessel:\n    fields:\n      attributes.x: {owner: plant3d}\n"
    assert refused(tmp_path, text) == [(5, "column_missing")]


def test_push_false_keeps_a_shared_field_out_of_plant3d(tmp_path: Path) -> None:
    rules = compiled(tmp_path, "classes: {EngineeringItems: {fields: {description: {push: false}}}}")
    assert rules.classes["Vessel"].fields["description"].push is False


def test_only_shared_writable_text_is_pushed_by_default(tmp_path: Path) -> None:
    rules = compiled(tmp_path)
    pushed = {name for rule in rules.classes.values() for name, one in rule.fields.items() if one.push}
    shared = {
        name
        for rule in rules.classes.values()
        for name, one in rule.fields.items()
        if one.owner is Owner.SHARED
    }
    assert pushed == shared == {"description"}


# ---------------------------------------------------------------- candidates


def test_the_first_filled_candidate_wins_and_says_where_it_came_from(tmp_path: Path) -> None:
    options = "{column: [D1, VOLUME], owner: shared}"
    first = x_of(tmp_path, options, {"D1": "a", "VOLUME": "b"})
    assert (first.fields["attributes.x"], first.columns["attributes.x"]) == ("a", "D1")
    second = x_of(tmp_path, options, {"D1": "  ", "VOLUME": "b"})
    assert (second.fields["attributes.x"], second.columns["attributes.x"]) == ("b", "VOLUME")


def test_when_all_candidates_are_empty_the_first_writable_column_is_the_one_to_write(tmp_path: Path) -> None:
    found = x_of(
        tmp_path, "{column: ['@class_label', ClassName, D1, VOLUME], owner: shared, convert: text}", {}
    )
    assert found.fields["attributes.x"] == "Vessel"
    found = x_of(
        tmp_path,
        "{column: [ClassName, D1, VOLUME], owner: shared}",
        {"ClassName": "", "D1": None, "VOLUME": ""},
    )
    assert (found.fields["attributes.x"], found.columns["attributes.x"]) == (None, "D1")


def test_a_value_from_a_read_only_column_is_written_to_the_writable_one_in_front_of_it(
    tmp_path: Path,
) -> None:
    found = x_of(tmp_path, "{column: [D1, ClassName], owner: shared}", {"D1": "", "ClassName": "Tank"})
    assert (found.fields["attributes.x"], found.columns["attributes.x"]) == ("Tank", "D1")


def test_an_unknown_candidate_makes_the_field_unknown_only_while_nothing_is_decided(tmp_path: Path) -> None:
    options = "{column: [D1, VOLUME]}"
    assert "attributes.x" not in x_of(tmp_path, options, {"VOLUME": "b"}, unknown=("D1",)).fields
    assert x_of(tmp_path, options, {"D1": "a"}, unknown=("VOLUME",)).fields["attributes.x"] == "a"
    assert "attributes.x" not in x_of(tmp_path, options, {"D1": ""}, unknown=("VOLUME",)).fields


@pytest.mark.parametrize("options", ["{column: D1}", "{column: D1, convert: upper}"])
def test_an_unknown_column_leaves_the_field_absent_even_if_a_value_is_at_hand(
    tmp_path: Path, options: str
) -> None:
    assert "attributes.x" not in x_of(tmp_path, options, {"D1": "a"}, unknown=("D1",)).fields
    assert "attributes.x" not in x_of(tmp_path, options, {}).fields


@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0", "ENGINEERING ITEMS", " engineering items "])
def test_nothing_blank_and_the_class_default_are_not_filled_in(tmp_path: Path, value: str | None) -> None:
    rules = compiled(tmp_path)
    fields = translated(rules, item("GateValve", {"Tag": "V-1", "Description": value})).fields
    assert fields["description"] is None


def test_a_pick_list_keeps_its_default_as_a_value(tmp_path: Path) -> None:
    fields = translated(compiled(tmp_path), item("GateValve", {"Status": "New", "Normally": "NO"})).fields
    assert (fields["attributes.status"], fields["attributes.normally"]) == ("New", "NO")


def test_default_is_empty_switches_the_rule_off_and_on(tmp_path: Path) -> None:
    text = (
        "classes: {EngineeringItems: {fields: {description: {default_is_empty: false},"
        " attributes.status: {default_is_empty: true}}}}"
    )
    values: dict[str, Value] = {"Status": "new", "Description": "ENGINEERING ITEMS"}
    fields = translated(compiled(tmp_path, text), item("GateValve", values)).fields
    assert (fields["attributes.status"], fields["description"]) == (None, "ENGINEERING ITEMS")


def test_stored_text_is_not_rewritten(tmp_path: Path) -> None:
    fields = translated(compiled(tmp_path), item("Vessel", {"Tag": "V-1", "Description": " a\r\nb "})).fields
    assert fields["description"] == " a\r\nb "


def test_a_value_that_cannot_be_converted_is_a_problem_and_leaves_the_field_absent(tmp_path: Path) -> None:
    found = x_of(tmp_path, "{column: VOLUME, convert: number}", {"VOLUME": "about 5"})
    assert "attributes.x" not in found.fields
    assert [(name, code) for name, code, _ in found.problems] == [("attributes.x", "not_a_number")]
    assert (
        x_of(tmp_path, "{column: VOLUME, convert: number}", {"VOLUME": "12,50"}).fields["attributes.x"]
        == 12.5
    )
    assert x_of(tmp_path, "{column: VOLUME, convert: number}", {"VOLUME": ""}).fields["attributes.x"] is None


def test_translating_one_item_does_not_change_what_the_next_one_gets(tmp_path: Path) -> None:
    rules = compiled(
        tmp_path, "classes: {Vessel: {fields: {description: {column: [D1, Description], owner: shared}}}}"
    )
    first = translated(rules, item("Vessel", {"D1": "", "Description": "x"}))
    second = translated(rules, item("Vessel", {"D1": "y", "Description": "x"}))
    assert (first.columns["description"], second.columns["description"]) == ("Description", "D1")


# ---------------------------------------------------------------- tags and derived values


@pytest.mark.parametrize(
    ("tag", "segment_tag", "expected", "source"),
    [
        ("150-PW-1", None, "150-PW-1", "Tag"),
        (" 150-PW-1 ", None, "150-PW-1", "Tag"),
        ("?", "150-PW-2", "150-PW-2", "@segment_tag"),
        ("na", "150-PW-2", "150-PW-2", "@segment_tag"),
        (None, "150-PW-2", "150-PW-2", "@segment_tag"),
        ("?-PW-?", None, "?-PW-?", "Tag"),
        ("", None, None, "Tag"),
    ],
)
def test_the_tag_of_a_line_is_its_groups_else_the_segments(
    tmp_path: Path, tag: str | None, segment_tag: str | None, expected: str | None, source: str
) -> None:
    one = item("PipeLineGroup", {"Tag": tag}, segment_tag=segment_tag)
    found = translated(compiled(tmp_path), one)
    assert (found.fields["tag"], found.columns["tag"]) == (expected, source)


def test_a_tag_whose_level_is_missing_is_unknown_and_so_are_its_letters(tmp_path: Path) -> None:
    one = item("ControlValve", {}, unknown=frozenset({"Tag", "Type", "Area", "LoopNumber"}))
    fields = translated(compiled(tmp_path), one).fields
    assert not {"tag", "asset_subtype", "attributes.instrument_type"} & set(fields)


@pytest.mark.parametrize(
    ("tag", "kind", "letters", "name"),
    [
        ("300-FT-001", "PT", "PT", "Pressure Transmitter"),
        ("300-FT-001", "thing", "FT", "Flow Transmitter"),
        ("300-FT-001", None, "FT", "Flow Transmitter"),
        ("300-001", "PT", "PT", "Pressure Transmitter"),
        ("300-001", "thing", "Unknown", "Unknown"),
        ("300-001", None, "Unknown", "Unknown"),
        (None, "LIT", "LIT", "Level Indicating Transmitter"),
    ],
)
def test_instrument_letters_come_from_the_recorded_type_then_from_the_tag(
    tmp_path: Path, tag: str | None, kind: str | None, letters: str, name: str
) -> None:
    fields = translated(compiled(tmp_path), item("ControlValve", {"Tag": tag, "Type": kind})).fields
    assert (fields["asset_subtype"], fields["attributes.instrument_type"]) == (letters, name)


def test_derived_values_come_from_the_relations(tmp_path: Path) -> None:
    names = [
        "class",
        "class_label",
        "drawing",
        "drawing_title",
        "line",
        "from",
        "to",
        "owner",
        "loop",
        "pnpid",
        "modified",
    ]
    fields = ", ".join(f"attributes.{name}: {{column: '@{name}'}}" for name in names)
    text = f"classes: {{Vessel: {{entity: equipment, fields: {{{fields}, attributes.c: {{column: '@const: a b '}}}}}}}}"
    one = item(
        "Vessel",
        {},
        drawing="D-1",
        drawing_title="Area 300",
        lines=("L-1", "L-2"),
        from_tag="P-1",
        to_tag="P-2",
        owner="V-2",
        loop="101",
        timestamp=621_355_968_000_000_000,
    )
    found = translated(compiled(tmp_path, text, stock=False), one).fields
    assert {name.removeprefix("attributes."): value for name, value in found.items()} == {
        "asset_type": "Equipment",
        "tag": None,
        "class": "Vessel",
        "class_label": "Vessel",
        "drawing": "D-1",
        "drawing_title": "Area 300",
        "line": "L-1; L-2",
        "from": "P-1",
        "to": "P-2",
        "owner": "V-2",
        "loop": "101",
        "pnpid": 7,
        "modified": "1970-01-01T00:00:00Z",
        "c": "a b",
    }


# ---------------------------------------------------------------- digest


def test_the_digest_is_the_same_however_the_mapping_is_spread_over_files(tmp_path: Path) -> None:
    text = "classes: {Vessel: {fields: {attributes.v: {column: VOLUME, owner: plant3d}}}}"
    assert (
        compiled(tmp_path, text).digest == compiled(tmp_path, "extends: stock\n" + text, stock=False).digest
    )


@pytest.mark.parametrize(
    "text",
    [
        "placeholders: [TBD]",
        "classes: {Vessel: {fields: {tag: {drift: ignore}}}}",
        "classes: {Vessel: {entity: none}}",
        "classes: {Vessel: {fields: {attributes.area: null}}}",
    ],
)
def test_a_changed_mapping_changes_the_digest(tmp_path: Path, text: str) -> None:
    assert compiled(tmp_path, text).digest != compiled(tmp_path).digest


def small(*more: str, label: str = "Equipment", **options: object) -> Catalog:
    return catalog(
        ("EngineeringItems", None, "Items", [column("Description", **options)]),
        ("Equipment", "EngineeringItems", label, ["Tag", *more]),
    )


def test_only_the_parts_of_the_catalog_that_matter_change_the_digest(tmp_path: Path) -> None:
    before = compiled(tmp_path, "", small(default="A")).digest
    assert compiled(tmp_path, "", small(default="A")).digest == before
    assert compiled(tmp_path, "", small(default="B")).digest != before
    assert compiled(tmp_path, "", small(default="A", length=80)).digest != before
    assert compiled(tmp_path, "", small(default="A", label="Machines")).digest != before
    assert compiled(tmp_path, "", small("Colour", default="A")).digest == before


def test_the_digest_is_that_of_earlier_versions_or_each_item_would_be_compared_after_an_upgrade(
    tmp_path: Path,
) -> None:
    text = "classes: {EngineeringItems: {entity: equipment, fields: {attributes.größe: {column: Description, owner: plant3d}}}}"
    assert (
        compiled(tmp_path, text, small(default="Ä"), stock=False).digest == "3fb18c6c1ef6b0425eff610c81d1d6dd"
    )


# ---------------------------------------------------------------- nothing but blanks


@pytest.mark.parametrize("blank", ["", " ", "\u00a0\t", None])
def test_a_field_is_filled_or_empty_but_never_blank(tmp_path: Path, blank: Value) -> None:
    """The planner and SYNAPSE take what a translation gives for a value."""
    rules = compiled(
        tmp_path,
        "classes: {Equipment: {fields: {attributes.code: {column: [Code, '@owner'], convert: upper},"
        " attributes.pick: {column: '@drawing_title'}, attributes.two: {column: [Type, '@loop']}}}}",
    )
    for name in rules.classes:
        columns: dict[str, Value] = dict.fromkeys(plant().columns[name], blank)
        one = item(name, columns, drawing=blank, drawing_title=blank, owner=blank, loop=blank)
        for field, value in translated(rules, one).fields.items():
            assert value is None or not isinstance(value, str) or value.strip(), (name, field)


@pytest.mark.parametrize(
    ("ticks", "shown"),
    [
        (-1, None),
        (0, None),
        (1, "0001-01-01T00:00:00Z"),
        (637_134_336_009_999_999, "2020-01-01T00:00:00Z"),
        (637_134_336_010_000_000, "2020-01-01T00:00:01Z"),
        (3_155_378_975_999_999_999, "9999-12-31T23:59:59Z"),
        (3_155_378_976_000_000_000, None),
        (2**63 - 1, None),
        (2**80, None),
    ],
)
def test_ticks_are_shown_to_the_second_and_only_as_a_date(ticks: int, shown: str | None) -> None:
    assert iso_time(ticks) == shown
