"""The sample database has the structure of a real one, is reproducible and reports what it planted."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plant3d_sync.errors import ConfigError, NeedsPersonError, NotFoundError
from plant3d_sync.sample import SampleReport, edits, write_sample
from plant3d_sync.sample.hazards import HAZARDS
from plant3d_sync.sample.project import write_project

ITEMS = 600


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return write_sample(tmp_path_factory.mktemp("clean") / "clean.dcf", items=ITEMS, seed=3)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return write_sample(tmp_path_factory.mktemp("dirty") / "dirty.dcf", items=ITEMS, dirty=0.2, seed=3)


@pytest.fixture
def editable(clean: SampleReport, tmp_path: Path) -> Path:
    path = tmp_path / "editable.dcf"
    path.write_bytes(clean.path.read_bytes())
    return path


def rows(path: Path, sql: str, *values: object) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


def one(path: Path, sql: str, *values: object) -> object:
    return rows(path, sql, *values)[0][0]


def tables(path: Path) -> set[str]:
    return {name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def class_paths(path: Path) -> dict[str, list[str]]:
    bases = dict(rows(path, "SELECT TableName, BaseTable FROM PnPTables"))

    def path_of(name: str | None) -> Iterator[str]:
        while name:
            yield name
            name = bases[name]

    return {name: list(path_of(name))[::-1] for name in bases}


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return [
            *(repr(r) for r in connection.execute("SELECT type, name, sql FROM sqlite_master")),
            *(repr((t, r)) for t in sorted(tables(path)) for r in connection.execute(f"SELECT * FROM [{t}]")),
        ]


# --- structure --------------------------------------------------------------------------------------


def test_the_file_is_a_rollback_journal_database_with_pages_of_4096_bytes(clean: SampleReport) -> None:
    head = clean.path.read_bytes()[:100]

    assert head[:16] == b"SQLite format 3\0"
    assert int.from_bytes(head[16:18], "big") == 4096
    assert (head[18], head[19]) == (1, 1)


def test_no_triggers_and_no_foreign_keys_are_declared(clean: SampleReport) -> None:
    ddl = [
        str(sql).upper() for (sql,) in rows(clean.path, "SELECT sql FROM sqlite_master WHERE sql NOT NULL")
    ]

    assert not [sql for sql in ddl if "TRIGGER" in sql or "REFERENCES" in sql]


def test_the_catalogue_holds_hundreds_of_classes_and_only_the_root_is_abstract(clean: SampleReport) -> None:
    assert one(clean.path, "SELECT count(*) FROM PnPTables") == 712
    assert rows(clean.path, "SELECT TableName FROM PnPTables WHERE Abstract = 'TRUE'") == [("PnPBase",)]
    assert one(clean.path, "SELECT count(*) FROM PnPTables WHERE PhysicalName <> TableName") == 0


def test_the_database_row_says_regular_version_2_and_data_revision_0(clean: SampleReport) -> None:
    ((dbid, kind, version, data),) = rows(
        clean.path, "SELECT DBID, DBType, Version, DataRevision FROM PnPDatabase"
    )

    assert (kind, version, data) == ("Regular", 2, 0)
    assert uuid.UUID(bytes_le=dbid).version == 4


def test_no_class_repeats_a_column_of_an_ancestor(clean: SampleReport) -> None:
    own: dict[str, set[str]] = {}
    for table, column in rows(
        clean.path, "SELECT TableName, PropertyName FROM PnPProperties WHERE PropertyName <> 'PnPID'"
    ):
        own.setdefault(table, set()).add(column)
    for name, path in class_paths(clean.path).items():
        columns = [c for level in path for c in own.get(level, ())]
        assert len(columns) == len(set(columns)), name


def test_every_table_has_the_columns_the_catalogue_says(clean: SampleReport) -> None:
    for table in tables(clean.path) & set(class_paths(clean.path)):
        said = {
            c
            for (c,) in rows(clean.path, "SELECT PropertyName FROM PnPProperties WHERE TableName = ?", table)
        }
        assert {r[1] for r in rows(clean.path, f"PRAGMA table_info([{table}])")} == said


def test_declared_types_are_those_of_a_project(clean: SampleReport) -> None:
    base = {r[1]: r[2] for r in rows(clean.path, "PRAGMA table_info(PnPBase)")}
    ddl = str(one(clean.path, "SELECT sql FROM sqlite_master WHERE name = 'EngineeringItems'"))

    assert base["PnPGuid"] == "GUID"
    assert base["PnPTimestamp"].lower() == "integer"
    assert "[Description] VarChar (255) collate nocase" in ddl


def test_a_class_has_a_table_only_when_it_or_a_descendant_has_instances(clean: SampleReport) -> None:
    paths = class_paths(clean.path)
    used = {
        level for (c,) in rows(clean.path, "SELECT DISTINCT PnPClassName FROM PnPBase") for level in paths[c]
    }

    assert tables(clean.path) & set(paths) == used
    assert "Compressors" not in used
    assert len(paths) > 5 * len(used)


def test_a_class_without_a_table_has_no_view_and_every_table_has_one(clean: SampleReport) -> None:
    views = {n for (n,) in rows(clean.path, "SELECT name FROM sqlite_master WHERE type = 'view'")}
    relations = {n for (n,) in rows(clean.path, "SELECT RelationshipTypeName FROM PnPRelationshipTypes")}

    assert {f"{t}_PNP" for t in tables(clean.path) & (set(class_paths(clean.path)) | relations)} == views


def test_every_item_has_a_row_at_every_level_and_no_row_is_foreign(clean: SampleReport) -> None:
    paths = class_paths(clean.path)
    expected: dict[str, set[int]] = {}
    for pnpid, name in rows(clean.path, "SELECT PnPID, PnPClassName FROM PnPBase"):
        for level in paths[name]:
            expected.setdefault(level, set()).add(pnpid)
    for table, ids in expected.items():
        assert {i for (i,) in rows(clean.path, f"SELECT PnPID FROM [{table}]")} == ids, table


def test_the_inner_join_views_show_every_row_of_a_clean_sample(clean: SampleReport) -> None:
    for table in tables(clean.path) & set(class_paths(clean.path)):
        direct = one(clean.path, f"SELECT count(*) FROM [{table}]")
        assert one(clean.path, f"SELECT count(*) FROM [{table}_PNP]") == direct


def test_every_relation_stands_twice_in_the_index_and_leads_to_items(clean: SampleReport) -> None:
    ids = {i for (i,) in rows(clean.path, "SELECT PnPID FROM PnPBase")}
    total = 0
    for relation, role in rows(clean.path, "SELECT RelationshipTypeName, RoletypeName FROM PnPRoleTypes"):
        if relation in tables(clean.path):
            found = [i for (i,) in rows(clean.path, f"SELECT [{role}] FROM [{relation}]")]
            assert set(found) <= ids
            total += len(found)

    assert one(clean.path, "SELECT count(*) FROM PnPRowRelations") == total > 0


def test_guids_are_version_4_in_dotnet_byte_order_and_unique(clean: SampleReport) -> None:
    guids = [uuid.UUID(bytes_le=g) for (g,) in rows(clean.path, "SELECT PnPGuid FROM PnPBase")]

    assert {g.version for g in guids} == {4}
    assert len(set(guids)) == len(guids)


def test_the_counters_stand_above_every_id_and_gaps_are_normal(clean: SampleReport) -> None:
    highest, count = rows(clean.path, "SELECT max(PnPID), count(*) FROM PnPBase")[0]
    counter = one(clean.path, "SELECT cnt FROM PnPSys_PnPBase_PnPID")

    assert counter % 100 == 0 and counter >= highest > count
    assert one(clean.path, "SELECT cnt FROM PnPSys_RelationshipSystem_PnPID") % 100 == 0


def test_every_asset_of_a_clean_sample_has_a_unique_complete_registered_tag(clean: SampleReport) -> None:
    tags = [
        row
        for table in ("Equipment", "Instrumentation", "HandValves", "PipeLineGroup")
        for row in rows(clean.path, f"SELECT PnPID, Tag FROM [{table}]")
    ]
    registry = dict(rows(clean.path, "SELECT RowId, Tag FROM PnPTagRegistry"))

    assert len(tags) == ITEMS == len({t.lower() for _, t in tags})
    assert not [t for _, t in tags if "?" in t or t != t.strip()]
    assert {i: registry.get(i) for i, _ in tags} == dict(tags)


def test_a_good_share_of_descriptions_is_filled_and_the_rest_is_the_class_default(
    clean: SampleReport,
) -> None:
    defaults = dict(
        rows(
            clean.path,
            "SELECT TableName, AttributeValue FROM PnPColumnAttributes "
            "WHERE ColumnName = 'Description' AND AttributeName = 'VALUE'",
        )
    )
    found = edits.find(clean.path, "HandValves") + edits.find(clean.path, "Instrumentation")
    filled = [f for f in found if f.description != defaults[f.class_name]]

    assert defaults["GateValve"] == "GATE VALVE"
    assert 0.5 < len(filled) / len(found) < 0.7
    assert any("Transmetteur" in str(f.description) for f in filled)
    assert any("transmitter" in str(f.description) for f in filled)


def test_customer_columns_hold_accents_and_blanks_and_are_marked_as_new(clean: SampleReport) -> None:
    custom = {
        c
        for (c,) in rows(
            clean.path, "SELECT ColumnName FROM PnPColumnAttributes WHERE AttributeName = 'ISNEWCREATION'"
        )
    }

    assert {"ACME_Description", "ACME Matière", "ACME N° série"} <= custom
    assert one(clean.path, "SELECT count(*) FROM HandValves WHERE [ACME Matière] NOT NULL") > 0
    assert "ACME_Épaississeur" in tables(clean.path)


def test_every_drawn_item_has_one_link_to_a_real_drawing(clean: SampleReport) -> None:
    drawings = {i for (i,) in rows(clean.path, "SELECT PnPID FROM PnPDrawings WHERE PnPType = 'DWG'")}
    links = rows(clean.path, "SELECT RowId, DwgId FROM PnPDataLinks")
    drawn = {i for (i,) in rows(clean.path, "SELECT PnPID FROM EngineeringItems")}

    assert len(links) == len({row for row, _ in links})
    assert drawn <= {row for row, _ in links}
    assert {d for _, d in links} < drawings
    assert len(drawings) == clean.drawings
    assert one(clean.path, "SELECT count(*) FROM PnPDrawings WHERE PnPType = 'FOLDER'") == 1


# --- counts and determinism -------------------------------------------------------------------------


@pytest.mark.parametrize("items", [1, 2, 33, 701])
def test_the_number_of_assets_is_exact_by_plain_sql(tmp_path: Path, items: int) -> None:
    report = write_sample(tmp_path / "s.dcf", items=items)
    paths = class_paths(report.path)
    found = dict.fromkeys(report.by_entity, 0)
    for (name,) in rows(report.path, "SELECT PnPClassName FROM PnPBase"):
        for entity, root in zip(
            found, ("Equipment", "Instrumentation", "HandValves", "PipeLineGroup"), strict=True
        ):
            found[entity] += root in paths[name]

    assert found == report.by_entity
    assert sum(found.values()) == items == report.items
    assert one(report.path, "SELECT count(*) FROM PnPBase") == report.pnpbase_rows


def test_there_are_four_to_six_base_rows_per_item(clean: SampleReport) -> None:
    assert 4 <= clean.pnpbase_rows / ITEMS <= 6


def test_the_same_arguments_give_the_same_content_and_another_seed_another(tmp_path: Path) -> None:
    first = write_sample(tmp_path / "a.dcf", items=120, dirty=0.3, seed=5)
    second = write_sample(tmp_path / "b.dcf", items=120, dirty=0.3, seed=5)
    other = write_sample(tmp_path / "c.dcf", items=120, dirty=0.3, seed=6)

    assert content(first.path) == content(second.path)
    assert first.hazard_ids == second.hazard_ids
    assert content(first.path) != content(other.path)


def test_an_existing_target_is_refused_and_untouched(tmp_path: Path) -> None:
    target = tmp_path / "mine.dcf"
    target.write_bytes(b"precious")

    with pytest.raises(ConfigError) as caught:
        write_sample(target, items=5)

    assert caught.value.error_code == "target_exists"
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_sample(tmp_path / "no" / "mine.dcf", items=5)

    assert caught.value.error_code == "target_folder_missing"


@pytest.mark.parametrize("arguments", [{"items": 0}, {"dirty": 1.5}, {"dirty": -0.1}])
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as caught:
        write_sample(tmp_path / "s.dcf", **arguments)  # type: ignore[arg-type]

    assert caught.value.error_code == "sample_arguments"
    assert list(tmp_path.iterdir()) == []


def test_a_written_sample_leaves_no_other_file(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.dcf", items=5)

    assert [p.name for p in tmp_path.iterdir()] == ["s.dcf"]


# --- the old style ----------------------------------------------------------------------------------


def test_a_project_of_2010_lacks_nocase_and_the_newer_columns_and_tables(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "old.dcf", items=80, style="2010").path
    ddl = " ".join(str(s).lower() for (s,) in rows(path, "SELECT sql FROM sqlite_master"))
    columns = {r[1] for r in rows(path, "PRAGMA table_info(EngineeringItems)")}

    assert int.from_bytes(path.read_bytes()[16:18], "big") == 1024
    assert "nocase" not in ddl
    assert not columns & {"Status", "ParamOnLine"}
    assert "PnPProjectVariables" not in {n for (n,) in rows(path, "SELECT TableName FROM PnPTables")}
    assert "LineEndLine" not in tables(path)
    assert len(rows(path, "SELECT 1 FROM PnPRelationshipTypes")) == 16
    assert len(rows(path, "PRAGMA table_info(PnPDrawings)")) < 10


# --- hazards ----------------------------------------------------------------------------------------


def test_the_share_of_hazards_is_planted_exactly_and_each_kind_occurs(dirty: SampleReport) -> None:
    assert sum(dirty.hazards.values()) == ITEMS * 0.2
    assert set(dirty.hazards) == set(HAZARDS)
    assert sum(dirty.by_entity.values()) == ITEMS


def test_a_clean_sample_reports_no_hazard(clean: SampleReport) -> None:
    assert clean.hazards == {} and clean.hazard_ids == {}


def test_reported_ids_are_as_many_as_planted(dirty: SampleReport) -> None:
    for name, count in dirty.hazards.items():
        ids = dirty.hazard_ids[name]
        assert len(ids) == (2 * count if name == "duplicate_tag" else count), name


_TAGS = (
    "(SELECT PnPID, Tag FROM Equipment UNION ALL SELECT PnPID, Tag FROM Instrumentation "
    "UNION ALL SELECT PnPID, Tag FROM HandValves UNION ALL SELECT PnPID, Tag FROM PipeLineGroup)"
)
_ASSETS = (
    "(SELECT b.PnPID, t.Tag, b.PnPID IN (SELECT PnPID FROM EngineeringItems) AS e FROM PnPBase b "
    f"JOIN {_TAGS} t ON t.PnPID = b.PnPID WHERE b.PnPClassName NOT LIKE 'PnP%')"
)
HAZARD_SQL = {
    "row_zero": f"SELECT PnPID FROM {_TAGS} WHERE PnPID = 0",
    "class_row_without_base": f"SELECT PnPID FROM {_TAGS} WHERE PnPID > 0 AND PnPID NOT IN (SELECT PnPID FROM PnPBase)",
    "foreign_class_row": "SELECT PnPID FROM HandValves WHERE PnPID IN (SELECT PnPID FROM PnPDataLinks)",
    "missing_middle_row": "SELECT PnPID FROM EngineeringItems WHERE PnPID NOT IN (SELECT PnPID FROM Lines) "
    "AND PnPID NOT IN (SELECT PnPID FROM Nozzles) AND PnPID NOT IN (SELECT PnPID FROM Reducers) "
    f"AND PnPID NOT IN (SELECT PnPID FROM {_TAGS})",
    "null_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag IS NULL",
    "empty_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag = ''",
    "placeholder_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag IN ('NA', 'HOLD')",
    "question_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag LIKE '%?%' AND e",
    "group_tag_unfilled": "SELECT PnPID FROM PipeLineGroup WHERE Tag = '?'",
    "tag_zero": f"SELECT PnPID FROM {_ASSETS} WHERE Tag = '0'",
    "non_ascii_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag LIKE '%±%'",
    "sentence_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag LIKE 'SELON %'",
    "duplicate_tag": f"SELECT PnPID FROM {_ASSETS} WHERE Tag LIKE '%-%' AND Tag NOT LIKE '%?%' AND Tag IN "
    f"(SELECT Tag FROM {_ASSETS} GROUP BY Tag HAVING count(*) > 1)",
    "line_break": "SELECT PnPID FROM EngineeringItems WHERE instr(Description, char(10)) "
    "UNION SELECT PnPID FROM PipeLineGroup WHERE instr(Description, char(10))",
    "mojibake": "SELECT PnPID FROM EngineeringItems WHERE instr(Description, 'Ã©')",
    "invalid_utf8": "SELECT PnPID FROM EngineeringItems WHERE instr(CAST(Description AS BLOB), x'FF')",
    "nul_character": "SELECT PnPID FROM EngineeringItems WHERE instr(CAST(Description AS BLOB), x'00')",
    "text_too_long": "SELECT PnPID FROM EngineeringItems WHERE length(Description) > 255",
    "registry_dangling": "SELECT PnPID FROM PnPTagRegistry WHERE RowId NOT IN (SELECT PnPID FROM PnPBase)",
    "registry_differs": f"SELECT a.PnPID FROM {_ASSETS} a JOIN PnPTagRegistry r ON r.RowId = a.PnPID "
    "WHERE r.Tag <> a.Tag",
    "segment_in_two_groups": "SELECT PipeLine FROM PipeLineGroupRelationship GROUP BY 1 HAVING count(*) > 1",
    "group_without_segments": "SELECT PnPID FROM PipeLineGroup WHERE PnPID IN (SELECT PnPID FROM PnPBase) AND PnPID NOT IN "
    "(SELECT PipeLineGroup FROM PipeLineGroupRelationship)",
    "unknown_class": "SELECT PnPID FROM PnPBase WHERE PnPClassName NOT IN (SELECT TableName FROM PnPTables)",
    "class_without_table": "SELECT PnPID FROM PnPBase WHERE PnPClassName IN (SELECT TableName FROM PnPTables) "
    "AND PnPClassName NOT IN (SELECT name FROM sqlite_master WHERE type = 'table')",
    "missing_drawing": "SELECT RowId FROM PnPDataLinks WHERE DwgId NOT IN (SELECT PnPID FROM PnPDrawings)",
    "drawing_number_empty": "SELECT PnPID FROM PnPDrawings WHERE PnPType = 'DWG' AND coalesce(PnID, '') = ''",
    "size_notation": """SELECT PnPID FROM InLineAssets WHERE Size IN ('DN15', '1/2"', '?', 'NA', 'HOLD')""",
    "outer_blanks": f"SELECT PnPID FROM {_ASSETS} WHERE Tag <> trim(Tag) "
    "UNION SELECT PnPID FROM EngineeringItems WHERE Description LIKE '  %'",
}


@pytest.mark.parametrize("name", sorted(HAZARD_SQL))
def test_plain_sql_finds_exactly_the_planted_hazards(dirty: SampleReport, name: str) -> None:
    assert sorted(i for (i,) in rows(dirty.path, HAZARD_SQL[name])) == sorted(dirty.hazard_ids[name])


@pytest.mark.parametrize("name", sorted(set(HAZARD_SQL) - {"duplicate_tag"}))
def test_a_clean_sample_has_none_of_the_hazards(clean: SampleReport, name: str) -> None:
    assert rows(clean.path, HAZARD_SQL[name]) == []


def test_a_planted_line_has_more_end_assets_than_a_clean_one(dirty: SampleReport) -> None:
    for segment in dirty.hazard_ids["line_with_several_ends"]:
        assert one(dirty.path, "SELECT count(*) FROM LineEndAsset WHERE Line = ?", segment) >= 2


def test_items_missing_from_the_registry_keep_their_complete_tag(dirty: SampleReport) -> None:
    for pnpid in dirty.hazard_ids["registry_missing"]:
        assert one(dirty.path, "SELECT count(*) FROM PnPTagRegistry WHERE RowId = ?", pnpid) == 0
        assert one(dirty.path, f"SELECT Tag FROM {_ASSETS} WHERE PnPID = ?", pnpid)


def test_more_hazards_than_items_plants_what_fits(tmp_path: Path) -> None:
    report = write_sample(tmp_path / "s.dcf", items=40, dirty=1.0)

    assert 0 < sum(report.hazards.values()) <= 40
    assert sum(report.by_entity.values()) == 40


# --- edits ------------------------------------------------------------------------------------------


def stamp(path: Path, pnpid: int) -> tuple:
    return rows(path, "SELECT PnPTimestamp, PnPRevision FROM PnPBase WHERE PnPID = ?", pnpid)[0]


def test_a_changed_value_raises_the_timestamp_and_the_revision(editable: Path) -> None:
    item = edits.find(editable, "Equipment")[0]
    before = stamp(editable, item.pnpid)

    edits.set_value(editable, item.pnpid, "Description", "Nouvelle description")

    assert edits.find(editable, tag=item.tag)[0].description == "Nouvelle description"
    after = stamp(editable, item.pnpid)
    assert after[0] > before[0] and after[1] == before[1] + 1


def test_an_unknown_column_or_item_is_refused(editable: Path) -> None:
    item = edits.find(editable, "Equipment")[0]

    with pytest.raises(NotFoundError):
        edits.set_value(editable, item.pnpid, "Nonsense", "x")
    with pytest.raises(NotFoundError):
        edits.set_value(editable, 999_999_999, "Description", "x")


def test_a_renamed_tag_carries_its_parts_and_the_registry(editable: Path) -> None:
    item = edits.find(editable, "Instrumentation")[0]

    edits.rename_tag(editable, item.pnpid, "300-PDIT-998")

    assert rows(editable, "SELECT Tag, Area, Type FROM Instrumentation WHERE PnPID = ?", item.pnpid) == [
        ("300-PDIT-998", "300", "PDIT")
    ]
    assert one(editable, "SELECT Tag FROM PnPTagRegistry WHERE RowId = ?", item.pnpid) == "300-PDIT-998"


def test_a_renamed_line_renames_its_segments(editable: Path) -> None:
    line = edits.find(editable, "PipeLineGroup")[0]

    edits.rename_tag(editable, line.pnpid, "50-CS150-PW-99901")

    tags = rows(
        editable,
        "SELECT DISTINCT s.Tag FROM PipeLines s JOIN PipeLineGroupRelationship r ON r.PipeLine = s.PnPID "
        "WHERE r.PipeLineGroup = ?",
        line.pnpid,
    )
    assert tags == [("50-CS150-PW-99901",)]
    assert one(editable, "SELECT LineNumber FROM PipeLineGroup WHERE PnPID = ?", line.pnpid) == "99901"


def test_a_taken_tag_is_refused_and_nothing_changes(editable: Path) -> None:
    first, second = edits.find(editable, "HandValves")[:2]
    before = content(editable)

    with pytest.raises(NeedsPersonError) as caught:
        edits.rename_tag(editable, first.pnpid, second.tag)

    assert caught.value.error_code == "tag_taken"
    assert content(editable) == before


def test_swapped_tags_are_swapped_in_the_registry_too(editable: Path) -> None:
    first, second = edits.find(editable, "HandValves")[:2]

    edits.swap_tags(editable, first.pnpid, second.pnpid)

    registry = dict(rows(editable, "SELECT RowId, Tag FROM PnPTagRegistry"))
    assert (registry[first.pnpid], registry[second.pnpid]) == (second.tag, first.tag)
    assert edits.find(editable, tag=first.tag)[0].pnpid == second.pnpid


@pytest.mark.parametrize("class_name", ["Equipment", "HandValves", "Instrumentation", "PipeLineGroup"])
def test_a_deleted_item_leaves_nothing_behind(editable: Path, class_name: str) -> None:
    item = edits.find(editable, class_name)[0]

    edits.delete_item(editable, item.pnpid)

    ids = {i for (i,) in rows(editable, "SELECT PnPID FROM PnPBase")}
    assert item.pnpid not in ids
    for table in tables(editable) & set(class_paths(editable)):
        assert {i for (i,) in rows(editable, f"SELECT PnPID FROM [{table}]")} <= ids, table
    assert {i for (i,) in rows(editable, "SELECT RowId FROM PnPDataLinks")} <= ids
    assert {i for (i,) in rows(editable, "SELECT RowId FROM PnPTagRegistry")} <= ids
    assert {i for (i,) in rows(editable, "SELECT ROWID FROM PnPRowRelations")} <= ids
    assert one(editable, "SELECT count(*) FROM PnPTombstone") == 0


def test_an_added_item_of_a_new_class_makes_its_tables_and_is_visible_in_the_view(editable: Path) -> None:
    drawing = one(editable, "SELECT PnPID FROM PnPDrawings WHERE PnPType = 'DWG' LIMIT 1")
    counter = one(editable, "SELECT cnt FROM PnPSys_PnPBase_PnPID")
    assert "ScrewCompressor" not in tables(editable)

    pnpid = edits.add_item(editable, "ScrewCompressor", {"Tag": "700-CP-001", "Area": "700"}, drawing)

    assert pnpid == counter + 1
    row = "SELECT Tag, ClassName, Description, Status FROM ScrewCompressor_PNP WHERE PnPID = ?"
    assert rows(editable, row, pnpid) == [("700-CP-001", "Screw Compressor", "SCREW COMPRESSOR", "New")]
    assert one(editable, "SELECT DwgId FROM PnPDataLinks WHERE RowId = ?", pnpid) == drawing
    assert one(editable, "SELECT Tag FROM PnPTagRegistry WHERE RowId = ?", pnpid) == "700-CP-001"


def test_another_line_changes_relations_only(editable: Path) -> None:
    asset, segment = edits.find(editable, "HandValves")[0].pnpid, edits.find(editable, "PipeLines")[-1].pnpid
    before = stamp(editable, asset)

    edits.change_line(editable, asset, segment)

    assert rows(editable, "SELECT Line FROM LineInlineAsset WHERE Asset = ?", asset) == [(segment,)]
    assert stamp(editable, asset) == before


# --- the project folder -----------------------------------------------------------------------------


def test_a_project_folder_holds_the_database_and_a_file_per_drawing(tmp_path: Path) -> None:
    report = write_project(tmp_path / "mine", items=30)
    names = {
        str(p).replace("\\", "/")
        for (p,) in rows(report.database, "SELECT PnPRelativePath FROM PnPDrawings WHERE PnPType = 'DWG'")
    }

    assert names == {p.relative_to(report.folder).as_posix() for p in report.drawings}
    assert all(p.is_file() for p in report.drawings)
    assert (report.folder / "Project.xml").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_existing_project_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_project(tmp_path)

    assert caught.value.error_code == "target_exists"
