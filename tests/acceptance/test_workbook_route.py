"""The workbook route: what SYNAPSE's users typed, in a workbook that a designer imports and accepts cell by cell."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pytest
from python_calamine import CalamineWorkbook

from plant3d_sync.sample import edits
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import (
    DAY,
    at_rest,
    bench,
    both,
    cell,
    description,
    kept,
    now,
    ok,
    only_these,
    push,
    redescribed,
    small_worlds,
    user_describes,
)
from tests.support.world import NAME, MakeWorld, Row, World

JUNE = 1_781_000_000.0


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project."""
    return small_worlds(tmp_path, reference_synapse)


@pytest.fixture
def world(make_small: MakeWorld) -> World:
    """A pulled project on the workbook route."""
    made = make_small(write="workbook")
    made.pulled()
    return made


def workbook(world: World, *words: str, name: str = "out.xlsx", code: int = 0) -> tuple[Row, Path]:
    out = world.folder / name
    return ok(world.cli("workbook", NAME, "-o", str(out), *words), code), out


def cells_of(path: Path) -> dict[int, dict[str, str]]:
    """PnPID -> header -> text, read by a library that did not write it."""
    found: dict[int, dict[str, str]] = {}
    book = CalamineWorkbook.from_path(path)
    for name in book.sheet_names:
        head, *rows = book.get_sheet_by_name(name).to_python()
        if "PnPID" not in head:
            continue
        for row in rows:
            values = dict(zip(head, row, strict=True))
            found[int(float(values["PnPID"]))] = {str(key): str(value) for key, value in values.items()}
    return found


def imported(world: World, path: Path, *accepted: int) -> None:
    """The designer imports the workbook and accepts the changes of these items only."""
    for pnpid, values in cells_of(path).items():
        if pnpid in accepted:
            header = next(name for name in values if name.lower().startswith("desc"))
            edits.set_value(world.dcf, pnpid, "Description", values[header])


def test_what_is_accepted_at_the_import_is_agreed_and_what_is_not_goes_on_waiting(world: World) -> None:
    accepted, left = (item.pnpid for item in world.items("equipment")[:2])
    line = world.items("lines")[0].pnpid
    for pnpid in (accepted, left, line):
        user_describes(world, pnpid, f"=Text {pnpid}")
    before = kept(world)
    report = push(world)
    assert report["writes"] == {"synapse": 0, "plant3d": 0} and report["push_stats"]["skipped"] == 3
    answer, path = workbook(world)
    assert answer["written"] == 3 and answer["refused"] == []
    only_these(before, world, {})
    imported(world, path, accepted, line)
    only_these(before, world, {accepted: f"=Text {accepted}", line: f"=Text {line}"})
    report = now(world)
    assert report["writes"] == {"synapse": 0, "plant3d": 0} and report["push_stats"]["skipped"] == 1
    assert both(world, accepted) == (f"=Text {accepted}",) * 2
    assert description(world, left) == f"=Text {left}" and cell(world, left) != f"=Text {left}"
    again, second = workbook(world, name="second.xlsx")
    assert again["written"] == 1 and set(cells_of(second)) == {left}
    imported(world, second, left)
    at_rest(world)
    nothing, _third = workbook(world, name="third.xlsx")
    assert nothing["written"] == 0


def test_the_workbook_holds_texts_not_formulas_in_a_sheet_per_class(world: World) -> None:
    pnpid = world.items("equipment")[0].pnpid
    valve = world.items("valves")[0].pnpid
    user_describes(world, pnpid, '=HYPERLINK("http://x")')
    user_describes(world, valve, "+1+1")
    answer, path = workbook(world)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["plant3d-sync", *answer["sheets"]] and len(answer["sheets"]) == 2
    formulas = [
        c.coordinate for sheet in book for row in sheet.iter_rows() for c in row if c.data_type == "f"
    ]
    assert formulas == []
    values = cells_of(path)
    assert set(values) == {pnpid, valve}
    assert '=HYPERLINK("http://x")' in values[pnpid].values() and "+1+1" in values[valve].values()


def test_the_first_sheet_tells_the_designer_in_french_who_wants_what(world: World) -> None:
    wanted, refused = (item.pnpid for item in world.items("equipment")[:2])
    old = [cell(world, pnpid) for pnpid in (wanted, refused)]
    user_describes(world, wanted, "Pompe de Marie", _by="user:marie")
    user_describes(world, refused, "x" * 400, _by="user:jo")
    _report, out = workbook(world, "--language", "fr", code=3)
    book = CalamineWorkbook.from_path(out)
    rows = [[str(part) for part in row] for row in book.get_sheet_by_name(book.sheet_names[0]).to_python()]
    (marie,) = [row for row in rows if "Pompe de Marie" in row]
    (jo,) = [row for row in rows if row[2] == str(refused)]
    assert marie[6].startswith("marie, 20") and marie[7].endswith("2")
    assert jo[1] == marie[1] and jo[3] == marie[3], "class and column by the names that Plant 3D shows"
    assert jo[5] == "x" * 400 and jo[6].startswith("jo, 20") and jo[7].startswith("400 caractère")
    assert [marie[4], jo[4]] == old and all(old), "and the old values stand beside"
    assert any("Importez-y ce classeur" in row[0] for row in rows)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_first_sheet_says_of_a_step_what_show_says(world: World, language: str) -> None:
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "Pompe de Marie")
    report, out = workbook(world, "--language", language)
    shown = world.cli("--lang", language, "show", str(report["plan_id"]), as_json=False).out
    first = CalamineWorkbook.from_path(out).get_sheet_by_name("plant3d-sync").to_python()
    (row,) = [row for row in first if "Pompe de Marie" in row]
    assert str(row[8]).startswith("push ") and "'Pompe de Marie'" in str(row[8])
    assert str(row[8]) in shown


def test_a_value_the_column_cannot_hold_is_left_out_and_told(world: World) -> None:
    bad, good = (item.pnpid for item in world.items("equipment")[:2])
    user_describes(world, bad, "x" * 300)
    user_describes(world, good, "Good")
    said = world.cli("workbook", NAME, "-o", str(world.folder / "out.xlsx"))
    assert set(cells_of(world.folder / "out.xlsx")) == {good}
    assert "too_long" in said.out and said.code == 3


def test_if_every_value_is_refused_the_workbook_says_so(world: World) -> None:
    user_describes(world, world.items("equipment")[0].pnpid, "x" * 300)
    out = world.folder / "out.xlsx"
    answer = world.cli("workbook", NAME, "-o", str(out)).json
    assert (answer["path"], answer["written"], len(answer["errors"])) == (str(out), 0, 1)
    assert openpyxl.load_workbook(out).sheetnames == ["plant3d-sync"]


def test_the_plan_of_a_workbook_waits_for_nobody(world: World) -> None:
    user_describes(world, world.items("equipment")[0].pnpid, "Wanted")
    answer, _out = workbook(world)
    assert world.cli("runs", NAME).json["plans"] == []
    assert world.cli("show", answer["plan_id"]).json["settled"]["why"] == "in_workbook"
    waiting = world.cli("waiting", NAME).json["counts"]
    assert {kind for kind, count in waiting.items() if count} <= {"workbook", "total"}


def test_making_the_workbook_changes_nothing_but_the_file_the_plan_and_what_we_offered(world: World) -> None:
    user_describes(world, world.items("equipment")[0].pnpid, "New")
    ours = ("plan", "plan_chunk", "plant_write", "audit", "audit_head")  # what is stored is sealed
    before = world.fingerprint(), world.assets(), world.every_table(but=ours)
    workbook(world)
    assert (world.fingerprint(), world.assets(), world.every_table(but=ours)) == before
    assert [row["status"] for row in world.rows("SELECT status FROM plant_write")] == ["workbook"]


def test_a_designer_who_types_something_else_instead_makes_a_conflict(make_small: MakeWorld) -> None:
    world = make_small(write="workbook", conflict={"policy": "ask"})
    world.pulled()
    pnpid = world.items("equipment")[0].pnpid
    user_describes(world, pnpid, "User's")
    push(world)
    workbook(world)
    redescribed(world, pnpid, "Designer's")
    now(world, code=3)
    (found,) = world.conflicts()
    assert (found["data"]["plant3d"], found["data"]["synapse"]) == ("Designer's", "User's")


def test_a_cell_that_waits_too_long_for_its_import_becomes_a_question(make_small: MakeWorld) -> None:
    world = make_small(write="workbook", workbook_days=14)
    pnpid = world.items("equipment")[0].pnpid
    with bench(world, at=JUNE) as at:
        at.run()
        user_describes(world, pnpid, "Waiting", _at=at.clock.iso(60))
        for _day in range(3):
            at.clock.at += 4 * DAY
            at.run()
        assert world.conflicts() == [], "twelve days are not too long"
        at.clock.at += 8 * DAY
        at.run()
        (found,) = world.conflicts()
        assert found["kind"] == "workbook_timeout" and "waiting for an import" in json.dumps(found["data"])
        redescribed(world, pnpid, "Waiting")
        at.clock.at += DAY
        at.run()
    assert world.conflicts() == [] and both(world, pnpid) == ("Waiting", "Waiting")


@pytest.mark.parametrize("choice", ["plant3d", "synapse"])
def test_the_question_about_a_cell_that_waited_too_long_can_be_answered(
    make_small: MakeWorld, choice: str
) -> None:
    world = make_small(write="workbook", workbook_days=1)
    pnpid = world.items("lines")[0].pnpid
    redescribed(world, pnpid, "Before")
    with bench(world, at=JUNE) as at:
        at.run()
        user_describes(world, pnpid, "Waiting", _at=at.clock.iso(60))
        for _day in range(2):
            at.clock.at += 4 * DAY
            at.run()
    (found,) = world.conflicts()
    answer = ok(world.cli("resolve", found["id"], choice))
    if choice == "plant3d":
        assert both(world, pnpid) == ("Before", "Before")
        assert answer["applied_to"] == {"plant3d": "applied", "synapse": "applied"}
    else:
        assert both(world, pnpid) == ("Before", "Waiting")
        assert answer["applied_to"] == {"plant3d": "waiting", "synapse": "applied"}
        now(world)
        assert world.conflicts() == [], "not asked again"
        redescribed(world, pnpid, "Waiting")
    at_rest(world)
    assert ok(world.cli("conflict", found["id"]))["carried_out"] is True


def test_an_unknown_language_is_refused(world: World) -> None:
    assert world.cli("workbook", NAME, "-o", str(world.folder / "x.xlsx"), "--language", "tlh").code == 2
