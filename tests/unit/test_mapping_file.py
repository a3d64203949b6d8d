from __future__ import annotations

from pathlib import Path

import pytest

from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping import MappingFile, load_mapping

PINNED = """\
version: 1
extends: stock
classes: {Equipment: {entity: equipment, fields: {tag: {column: Tag, owner: plant3d},
    description: {column: [D1, Description], owner: shared}, attributes.spec: {column: EquipmentSpec, owner: plant3d}}}}
"""


def load(folder: Path, text: str, *before: str) -> MappingFile:
    (folder / "mine.yml").write_text(text, encoding="utf-8")
    return load_mapping([*before, "mine.yml"], base_dir=folder)


def problems(folder: Path, text: str) -> list[dict[str, object]]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.error_code == "mapping_invalid"
    found = caught.value.details["problems"]
    assert isinstance(found, list) and found
    for problem in found:
        assert f"{problem['file']}:{problem['line']}: {problem['message']}" in caught.value.message
    return found


def told(folder: Path, text: str) -> set[tuple[int, str, str]]:
    return {(p["line"], p["code"], p["suggestion"]) for p in problems(folder, text)}  # type: ignore[misc]


def one_field(options: str, name: str = "attributes.x") -> str:
    return (
        f"version: 1\nclasses:\n  Equipment:\n    entity: equipment\n    fields:\n      {name}: {options}\n"
    )


def test_the_pinned_example_loads_and_keeps_the_rest_of_stock(tmp_path: Path) -> None:
    mapping = load(tmp_path, PINNED)
    assert mapping.sources == ("stock", "mine.yml")
    description = mapping.classes["equipment"].fields["description"]
    assert description is not None and description.entry.column == ["D1", "Description"]
    assert "attributes.area" in mapping.classes["equipment"].fields
    assert mapping.classes["handvalves"].entity == "valves"


def test_stock_is_read_once_when_it_is_named_and_extended(tmp_path: Path) -> None:
    assert load(tmp_path, PINNED, "stock").sources == ("stock", "mine.yml")


def test_the_shipped_example_loads() -> None:
    root = Path(__file__).resolve().parents[2]
    assert load_mapping(["mappings/example.yaml"], base_dir=root).sources == (
        "stock",
        "mappings/example.yaml",
    )


@pytest.mark.parametrize(
    ("options", "code", "suggestion"),
    [
        ("{colum: Tag}", "unknown_key", "column"),
        ("{column: Tag, owner: plant3}", "unknown_value", "plant3d"),
        ("{column: X, convert: numbr}", "unknown_convert", "number"),
        ("{column: X, compare: txt}", "unknown_compare", "text"),
        ("{column: '@drawng'}", "unknown_derived", "@drawing"),
        ("{column: '@const:'}", "unknown_derived", "@const:TEXT"),
        ("{column: X, drift: restor}", "unknown_value", "restore"),
        ("{column: X, blank: keeep}", "unknown_value", "keep"),
        ("{column: X, conflict: newer}", "unknown_value", "newest"),
        ("{column: 'a]b'}", "bad_column", ""),
        ("{column: []}", "wrong_type", ""),
        ("{column: true}", "wrong_type", ""),
        ("{column: X, push: maybe}", "wrong_type", ""),
        ("{column: X, owner: plant3d, push: true}", "not_writable", ""),
        ("{column: X, owner: synapse, push: true}", "not_writable", ""),
        ("{column: Tag, owner: shared}", "not_writable", ""),
        ("Tag", "wrong_type", ""),
    ],
)
def test_a_wrong_option_is_named_with_its_line_and_the_nearest_name(
    tmp_path: Path, options: str, code: str, suggestion: str
) -> None:
    assert (6, code, suggestion) in told(tmp_path, one_field(options))


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("tagg", "tag"), ("descripton", "description"), ("rating", "attributes.rating"), ("attributes.a.b", "")],
)
def test_an_unknown_field_is_named_with_the_nearest_one(tmp_path: Path, name: str, suggestion: str) -> None:
    assert told(tmp_path, one_field("{column: X}", name)) == {(6, "unknown_field", suggestion)}


@pytest.mark.parametrize("name", ["tag", "asset_subtype", "asset_type"])
def test_a_field_that_plant3d_composes_cannot_be_shared(tmp_path: Path, name: str) -> None:
    assert told(tmp_path, one_field("{column: X, owner: shared}", name)) == {(6, "not_writable", "")}


@pytest.mark.parametrize(
    ("text", "line", "code", "suggestion"),
    [
        ("classes: {}\n", 1, "missing", ""),
        ("version: 2\n", 1, "version", ""),
        ("version: 1\nclases: {}\n", 2, "unknown_key", "classes"),
        ("version: 1\nextends: stok\n", 2, "not_readable", "stock"),
        ("version: 1\nclasses:\n  Equipment: {entity: equipmnt}\n", 3, "unknown_value", "equipment"),
        ("version: 1\nclasses:\n  Equipment: {feilds: {}}\n", 3, "unknown_key", "fields"),
        ("version: 1\nclasses:\n  Pumps: null\n", 3, "wrong_type", ""),
        ("version: 1\nversion: 1\n", 2, "duplicate", ""),
        ("version: 1\nclasses:\n  Equipment: {}\n  equipment: {}\n", 4, "duplicate", ""),
        ("version: 1\nclasses: [Equipment]\n", 2, "wrong_type", ""),
        ("- version: 1\n", 1, "wrong_type", ""),
        ("version: 1\nclasses: {\n", 3, "yaml", ""),
        ("version: 1\nclasses: !!python/object:os.system {}\n", 2, "yaml", ""),
        ("version: 1\nclasses: !mine {}\n", 2, "yaml", ""),
        ("version: 1\nclasses: &a {x: *a}\n", 2, "too_large", ""),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(
    tmp_path: Path, text: str, line: int, code: str, suggestion: str
) -> None:
    assert (line, code, suggestion) in told(tmp_path, text)


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text("version: 1\nclases: {}\n", encoding="utf-8")
    found = problems(tmp_path, "version: 3\nextends: base.yml\n" + one_field("{colum: X}").split("\n", 1)[1])
    assert [(p["file"], p["line"]) for p in found] == [("base.yml", 2), ("mine.yml", 1), ("mine.yml", 7)]


@pytest.mark.parametrize("content", [b"", b"# nothing\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yml").write_bytes(content)
    with pytest.raises(ConfigError, match="empty"):
        load_mapping(["mine.yml"], base_dir=tmp_path)


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_bytes(b"version: 1\n# \xe9l\xe9ment\n")
    with pytest.raises(ConfigError, match="mine.yml:2: the file is not UTF-8"):
        load_mapping(["mine.yml"], base_dir=tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the mapping 'none.yml'"):
        load_mapping(["none.yml"], base_dir=tmp_path)


def test_yaml_that_multiplies_itself_is_refused(tmp_path: Path) -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too_large" in {code for _, code, _ in told(tmp_path, "\n".join(lines))}


def test_yaml_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("version: " + "[" * 5000, encoding="utf-8")
    with pytest.raises(ConfigError, match="mapping has"):
        load_mapping(["mine.yml"], base_dir=tmp_path)


def test_words_that_yaml_takes_for_truth_values_are_column_names_here(tmp_path: Path) -> None:
    mapping = load(tmp_path, one_field("{column: [NO, On, 12, yes]}"))
    spec = mapping.classes["equipment"].fields["attributes.x"]
    assert spec is not None and spec.entry.column == ["NO", "On", "12", "yes"]


def test_a_field_with_a_column_replaces_and_one_without_adjusts(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(
        one_field("{column: X, owner: plant3d, drift: propose}"), encoding="utf-8"
    )
    adjusted = load(tmp_path, "extends: base.yml\n" + one_field("{blank: keep}")).classes["equipment"].fields
    spec = adjusted["attributes.x"]
    assert spec is not None
    assert (spec.entry.column, spec.entry.drift, spec.entry.blank) == (["X"], "propose", "keep")
    replaced = load(tmp_path, "extends: base.yml\n" + one_field("{column: Y}")).classes["equipment"].fields
    spec = replaced["attributes.x"]
    assert spec is not None
    assert (spec.entry.column, spec.entry.drift) == (["Y"], None)


def test_a_later_file_overrides_whatever_the_capitals_of_the_class(tmp_path: Path) -> None:
    mapping = load(tmp_path, "version: 1\nclasses: {EQUIPMENT: {entity: none}}\n", "stock")
    assert mapping.classes["equipment"].entity == "none"


def test_a_file_that_two_others_extend_is_read_once(tmp_path: Path) -> None:
    for name in ("left.yml", "right.yml"):
        (tmp_path / name).write_text("version: 1\nextends: base.yml\n", encoding="utf-8")
    (tmp_path / "base.yml").write_text("version: 1\n", encoding="utf-8")
    text = "version: 1\nextends: [left.yml, right.yml]\n"
    assert load(tmp_path, text).sources == ("base.yml", "left.yml", "right.yml", "mine.yml")


@pytest.mark.parametrize("itself", ["mine.yml", "./mine.yml", "[stock, mine.yml]"])
def test_a_file_that_extends_itself_is_refused_with_the_line(tmp_path: Path, itself: str) -> None:
    (problem,) = problems(tmp_path, f"version: 1\nextends: {itself}\n")
    assert (problem["file"], problem["line"], problem["code"]) == ("mine.yml", 2, "extends_itself")


def test_files_that_extend_each_other_are_refused_where_the_circle_closes(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text("version: 1\n\nextends: third.yml\n", encoding="utf-8")
    (tmp_path / "third.yml").write_text("extends: mine.yml\nversion: 1\n", encoding="utf-8")
    (problem,) = problems(tmp_path, "version: 1\nextends: other.yml\n")
    assert (problem["file"], problem["line"], problem["code"]) == ("third.yml", 1, "extends_itself")
    assert problem["message"] == "mine.yml extends itself through other.yml, third.yml"


def test_placeholders_replace_the_stock_ones_but_the_question_mark_stays(tmp_path: Path) -> None:
    assert load(tmp_path, "version: 1\nextends: stock\nplaceholders: [tbd]\n").placeholders == ("?", "TBD")
