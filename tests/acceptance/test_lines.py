"""A line is what carries one line number: what arrives, what it is told by, and how it lives on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping import load_mapping
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, World, new_world

Row = dict[str, Any]


class Plant:
    """A project with nothing but lines, and the world around it. `group` draws a line group with these segments."""

    def __init__(self, folder: Path, synapse: RunningSynapse, **options: Any) -> None:
        folder.mkdir(parents=True)
        self.made = Dcf(folder / "new.dcf")
        for name in ("Size", "Spec", "InsulationType", "DesignPressure"):
            self.made.column("PipeLines", name)
        for name in ("NominalSize", "NominalSpec", "Service"):
            self.made.column("PipeLineGroup", name)
        self.drawing = self.made.add("PnPDrawings", PnPType="DWG", PnID="D-1")
        # so that the tables are there, as in a project that once had a line
        self.group(None, {})
        self._options, self._folder, self._synapse = options, folder, synapse
        self.segments: dict[int, list[int]] = {}
        self._world: World | None = None

    def group(self, tag: str | None, *segments: Row, **values: Any) -> int:
        group = self.made.add("PipeLineGroup", Tag=tag, **values)
        for one in segments:
            self.segment(group, **one)
        return group

    def segment(self, group: int | None, *, without: tuple[str, ...] = (), **values: Any) -> int:
        segment = self.made.add("Primary", without=without, **values)
        self.made.draw(self.drawing, segment)
        if group is not None:
            self.made.relate("PipeLineGroupRelationship", PipeLineGroup=group, PipeLine=segment)
        return segment

    def deleted(self, *rows: int) -> None:
        """Items deleted in Plant 3D, their relations with them."""
        for row in rows:
            for table in ("PnPBase", "EngineeringItems", "Lines", "PipeLines", "Primary", "PipeLineGroup"):
                self.made.sql(f"DELETE FROM [{table}] WHERE PnPID = ?", row)
            self.made.sql(
                "DELETE FROM PipeLineGroupRelationship WHERE PipeLineGroup = ? OR PipeLine = ?", row, row
            )

    def segments_of(self, group: int) -> list[int]:
        rows = self.made.sql(
            "SELECT PipeLine FROM PipeLineGroupRelationship WHERE PipeLineGroup = ? ORDER BY 1", group
        )
        return [row for (row,) in rows]

    def retag(self, group: int, tag: str) -> None:
        """The whole line gets another number."""
        self.made.sql("UPDATE PipeLineGroup SET Tag = ? WHERE PnPID = ?", tag, group)
        for segment in self.segments_of(group):
            self.made.sql("UPDATE PipeLines SET Tag = ? WHERE PnPID = ?", tag, segment)

    @property
    def world(self) -> World:
        if self._world is None:
            self._world = new_world(self._folder / "world", self._synapse, self.made.path, **self._options)
            self.made.path = self._world.dcf
        return self._world

    def pulled(self, *words: str) -> Row:
        return self.world.pulled(*words)

    def live(self) -> dict[str, Row]:
        """Tag -> asset."""
        return self.world.live()


@pytest.fixture
def drawn(tmp_path: Path, reference_synapse: RunningSynapse) -> Callable[..., Plant]:
    return lambda **options: Plant(tmp_path / "lines", reference_synapse, **options)


def attributes(asset: Row) -> Row:
    found: Row = asset["attributes"]
    return found


# ---------------------------------------------------------------- what is one line


@pytest.mark.parametrize("on_groups", [True, False])
def test_one_number_on_three_groups_is_one_asset(drawn: Callable[..., Plant], on_groups: bool) -> None:
    plant = drawn()
    for size in ("100", "80", "100"):
        plant.group("L-1" if on_groups else "?", {"Tag": "L-1", "Size": size, "Spec": "CS150"})
    report = plant.pulled()
    assert set(plant.live()) == {"L-1"} and report["by_entity"]["lines"]["created"] == 1
    found = attributes(plant.live()["L-1"])
    assert (found["size"], found["spec"]) == ("100; 80", "CS150")
    assert plant.world.findings("duplicate_tag") == []
    assert report["coverage"]["by_entity"]["lines"]["reasons"]["same_line"] == 2
    assert plant.pulled()["writes"]["synapse"] == 0, "nothing moved"


def test_each_group_is_a_line_where_the_mapping_says_so(drawn: Callable[..., Plant], tmp_path: Path) -> None:
    mapping = tmp_path / "by-group.yml"
    mapping.write_text("version: 1\nextends: stock\nclasses: {PipeLineGroup: {by: group}}\n")
    plant = drawn(mapping=[str(mapping)])
    for number in (1, 2):
        plant.group("L-1", {"Tag": f"L-{number}"})
    plant.pulled()
    assert plant.live() == {} and len(plant.world.findings("duplicate_tag")) == 2


def test_a_group_says_its_own_size_before_its_segments_do(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    plant.group("L-1", {"Tag": "L-1", "Size": "80", "Spec": "CS150"}, NominalSize="100")
    plant.pulled()
    found = attributes(plant.live()["L-1"])
    assert (found["size"], found["spec"]) == ("100", "CS150")


def test_what_one_group_of_a_line_leaves_empty_its_others_say(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    plant.group("L-1", {"Tag": "L-1"})
    plant.group("L-1", {"Tag": "L-1"}, Service="CW")
    plant.pulled()
    assert attributes(plant.live()["L-1"])["service"] == "CW"


def test_a_number_without_a_segment_is_not_drawn(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    plant.group("L-1")
    plant.group("L-2", {"Tag": "L-2"})
    plant.group("L-2")
    report = plant.pulled()
    assert set(plant.live()) == {"L-2"}
    reasons = report["coverage"]["by_entity"]["lines"]["reasons"]
    assert reasons == {"line_not_drawn": 1, "same_line": 1, "untagged": 1}
    (told,) = [f for f in plant.world.findings("line_not_drawn") if f["data"]["tag"] == "L-1"]
    assert "L-1" in told["data"]["message"]


def test_a_line_whose_segments_are_gone_is_missing_and_comes_back(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    group = plant.group("L-1", {"Tag": "L-1"})
    plant.pulled()
    plant.deleted(*plant.segments_of(group))
    report = plant.pulled()
    assert report["stats"]["missing"] == 1 and plant.world.link_of(group)["state"] == "missing"
    (told,) = plant.world.findings("missing")
    assert "No segment carries the line number L-1" in told["data"]["message"]
    covered = report["coverage"]["by_entity"]["lines"]
    assert covered["reasons"]["line_not_drawn"] == 1 and "not_read" not in covered["reasons"]
    assert covered["handed_over"] + sum(covered["reasons"].values()) == covered["whole"]
    plant.segment(group, Tag="L-1")
    plant.pulled()
    assert plant.world.link_of(group)["state"] == "active" and plant.world.findings("missing") == []


def test_two_numbers_in_one_group_are_two_lines_and_a_finding(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    group = plant.group("?", {"Tag": "L-1", "Size": "25"}, {"Tag": "L-2", "Size": "50"})
    plant.pulled()
    sizes = {tag: attributes(asset)["size"] for tag, asset in plant.live().items()}
    assert sizes == {"L-1": "25", "L-2": "50"}
    (told,) = plant.world.findings("several_line_numbers")
    assert told["pnpid"] == group and told["data"]["data"]["numbers"] == ["L-1", "L-2"]
    assert plant.pulled()["writes"]["synapse"] == 0


def test_a_number_that_stands_on_segments_without_a_group_is_a_line(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    plant.segment(None, Tag="L-1", Size="25")
    plant.segment(None, Tag="L-1", Size="25")
    plant.pulled()
    assert attributes(plant.live()["L-1"])["size"] == "25"
    assert plant.pulled()["writes"]["synapse"] == 0


# ---------------------------------------------------------------- what its segments say


def test_a_mapping_reaches_every_column_of_the_segments(drawn: Callable[..., Plant], tmp_path: Path) -> None:
    mapping = tmp_path / "segments.yml"
    mapping.write_text(
        "version: 1\nextends: stock\nclasses: {PipeLineGroup: {fields: {"
        'attributes.insulation: {column: "@segments:InsulationType"}, '
        'attributes.design_pressure: {column: "@segments:DesignPressure"}, '
        'attributes.line_list: {column: "@segment_list:Size,Spec"}}}}\n'
    )
    plant = drawn(mapping=[str(mapping)])
    plant.group(
        "L-1",
        {"Tag": "L-1", "Size": "100", "Spec": "CS150", "InsulationType": "HC", "DesignPressure": "16"},
        {"Tag": "L-1", "Size": "80", "InsulationType": "HC"},
    )
    plant.pulled()
    found = attributes(plant.live()["L-1"])
    assert (found["insulation"], found["design_pressure"]) == ("HC", "16")
    assert found["line_list"] == "100 | CS150; 80 | "


def test_a_change_of_one_segment_arrives(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    group = plant.group("L-1", {"Tag": "L-1", "Size": "100"}, {"Tag": "L-1", "Size": "100"})
    plant.pulled()
    plant.made.sql("UPDATE PipeLines SET Size = '80' WHERE PnPID = ?", plant.segments_of(group)[0])
    assert plant.pulled()["writes"]["synapse"] == 1
    assert attributes(plant.live()["L-1"])["size"] == "100; 80"


def test_a_segment_that_cannot_be_read_changes_nothing(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    group = plant.group("L-1", {"Tag": "L-1", "Size": "100"}, {"Tag": "L-1", "Size": "80"})
    plant.pulled()
    plant.made.sql("DELETE FROM PipeLines WHERE PnPID = ?", plant.segments_of(group)[0])
    plant.pulled()
    assert attributes(plant.live()["L-1"])["size"] == "100; 80", "unknown is never a change"


def test_a_name_of_a_segments_column_that_the_project_lacks_is_told(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    plant.group("L-1", {"Tag": "L-1"})
    mapping = plant.world.folder / "wrong.yml"
    mapping.write_text(
        "version: 1\nextends: stock\nclasses: {PipeLineGroup: {fields: {"
        'attributes.x: {column: "@segments:Nowhere"}}}}\n'
    )
    said = plant.world.cli("mapping", "check", str(mapping), "--source", str(plant.world.dcf))
    assert said.code == 78 and "@segments:Nowhere" in said.out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PipeLineGroup: {by: segment}", "one of number, group"),
        ('PipeLineGroup: {fields: {attributes.x: {column: "@segments:"}}}', "unknown name"),
    ],
)
def test_what_a_mapping_says_wrongly_of_lines_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "m.yml").write_text(f"version: 1\nclasses: {{{text}}}\n")
    with pytest.raises(ConfigError) as refused:
        load_mapping(["m.yml"], base_dir=tmp_path)
    assert told in str(refused.value) and "m.yml:2" in str(refused.value)


def test_only_line_groups_are_told_by_their_number(drawn: Callable[..., Plant], tmp_path: Path) -> None:
    mapping = tmp_path / "pumps.yml"
    mapping.write_text("version: 1\nextends: stock\nclasses: {Equipment: {by: number}}\n")
    assert "no class of line groups" in drawn(mapping=[str(mapping)]).world.pull().out


# ---------------------------------------------------------------- how it lives on


def test_a_line_keeps_its_asset_while_one_of_its_groups_lives(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    first = plant.group("L-1", {"Tag": "L-1"}, Description="As drawn")
    second = plant.group("L-1", {"Tag": "L-1"}, Description="Its other half")
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    plant.deleted(first, *plant.segments_of(first))
    report = plant.pulled()
    assert report["errors"] == [] and report["stats"]["missing"] == 0
    assert plant.live()["L-1"]["id"] == asset
    assert plant.world.link_of(second)["state"] == "active", "the other group stands for the line now"
    assert plant.pulled()["writes"]["synapse"] == 0


def test_a_line_drawn_anew_takes_its_asset_over(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    old = plant.group("L-1", {"Tag": "L-1"})
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    plant.deleted(old, *plant.segments_of(old))
    plant.group("L-1", {"Tag": "L-1", "Size": "25"})
    report = plant.pulled()
    assert report["stats"]["created"] == 0 and report["stats"]["missing"] == 0 and report["errors"] == []
    assert plant.live()["L-1"]["id"] == asset and attributes(plant.live()["L-1"])["size"] == "25"
    assert plant.pulled()["writes"]["synapse"] == 0


def test_a_line_that_comes_back_before_it_is_archived_takes_its_asset_over(
    drawn: Callable[..., Plant],
) -> None:
    plant = drawn()
    old = plant.group("L-1", {"Tag": "L-1"})
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    plant.deleted(old, *plant.segments_of(old))
    assert plant.pulled()["stats"]["missing"] == 1
    plant.group("?", {"Tag": "L-1"})
    report = plant.pulled()
    assert report["stats"]["created"] == report["stats"]["missing"] == 0
    assert plant.live()["L-1"]["id"] == asset


def test_a_new_number_of_a_line_renames_its_asset(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    groups = [plant.group("L-1", {"Tag": "L-1"}) for _ in range(2)]
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    for group in groups:
        plant.retag(group, "L-9")
    assert plant.pulled()["stats"]["created"] == 0
    assert {tag: one["id"] for tag, one in plant.live().items()} == {"L-9": asset}


@pytest.mark.parametrize("renumbered", [0, 1])
def test_a_line_that_is_divided_keeps_its_asset_where_its_number_stays(
    drawn: Callable[..., Plant], renumbered: int
) -> None:
    plant = drawn()
    groups = [plant.group("L-1", {"Tag": "L-1"}) for _ in range(2)]
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    plant.retag(groups[renumbered], "L-2")
    report = plant.pulled()
    assert report["stats"]["created"] == 1 and report["errors"] == []
    assert set(plant.live()) == {"L-1", "L-2"} and plant.live()["L-1"]["id"] == asset
    again = plant.pulled()
    assert again["writes"]["synapse"] == 0 and again["errors"] == []
    plant.retag(groups[renumbered], "L-3")
    report = plant.pulled()
    assert set(plant.live()) == {"L-1", "L-3"} and report["errors"] == [] and report["stats"]["created"] == 0


def test_two_lines_that_become_one_keep_the_asset_of_the_number(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    kept, joined = plant.group("L-1", {"Tag": "L-1"}), plant.group("L-2", {"Tag": "L-2"})
    plant.pulled()
    asset = plant.live()["L-1"]["id"]
    plant.retag(joined, "L-1")
    report = plant.pulled()
    assert report["errors"] == [] and report["stats"]["missing"] == 1
    assert plant.live()["L-1"]["id"] == asset
    assert (
        plant.world.link_of(kept)["state"] == "active" and plant.world.link_of(joined)["state"] == "missing"
    )


def test_two_lines_swap_their_numbers_as_before(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    one, two = plant.group("L-1", {"Tag": "L-1"}), plant.group("L-2", {"Tag": "L-2"})
    plant.pulled()
    before = {tag: asset["id"] for tag, asset in plant.live().items()}
    plant.retag(one, "L-2")
    plant.retag(two, "L-1")
    assert plant.pulled()["errors"] == []
    after = {tag: asset["id"] for tag, asset in plant.live().items()}
    assert after == {"L-1": before["L-2"], "L-2": before["L-1"]}


def test_what_was_linked_by_groups_goes_on_by_numbers(drawn: Callable[..., Plant], tmp_path: Path) -> None:
    mapping = tmp_path / "mine.yml"
    mapping.write_text("version: 1\nextends: stock\nclasses: {PipeLineGroup: {by: group}}\n")
    plant = drawn(mapping=[str(mapping)])
    plant.group("L-1", {"Tag": "L-1"})
    later = plant.group("L-2", {"Tag": "L-2"})
    plant.pulled()
    plant.group("L-2", {"Tag": "L-2"})  # found twice by groups, so nothing was done with it
    plant.pulled()
    before = {tag: asset["id"] for tag, asset in plant.live().items()}
    plant.world.configure(mapping=None)
    report = plant.pulled()
    assert report["stats"]["created"] == report["stats"]["missing"] == report["stats"]["archived"] == 0
    assert {tag: asset["id"] for tag, asset in plant.live().items()} == before
    assert plant.world.link_of(later)["state"] == "active" and plant.world.findings("duplicate_tag") == []


# ---------------------------------------------------------------- the way back


def test_the_description_of_a_line_goes_to_the_group_that_stands_for_it(drawn: Callable[..., Plant]) -> None:
    plant = drawn(write="sql", drawings_unseen="closed")
    first = plant.group("L-1", {"Tag": "L-1"}, Description="As drawn")
    second = plant.group("L-1", {"Tag": "L-1"}, Description="Its other half")
    plant.pulled()
    assert plant.live()["L-1"]["description"] == "As drawn"
    plant.world.user_edits(plant.live()["L-1"]["id"], description="Cooling water")
    assert plant.world.cli("push", NAME).code == 0
    texts = dict(plant.made.sql("SELECT PnPID, Description FROM PipeLineGroup WHERE Tag = 'L-1'"))
    assert texts == {first: "Cooling water", second: "Its other half"}
    plant.deleted(first, *plant.segments_of(first))
    plant.pulled()
    plant.world.user_edits(plant.live()["L-1"]["id"], description="Chilled water")
    pushed = plant.world.cli("push", NAME)
    assert pushed.code == 0 and pushed.json["writes"]["plant3d"] == 1, pushed.out
    assert plant.made.sql("SELECT Description FROM PipeLineGroup WHERE PnPID = ?", second) == [
        ("Chilled water",)
    ]
    (run,) = plant.world.rows("SELECT id FROM run WHERE direction = 'push' ORDER BY seq DESC LIMIT 1")
    undo = plant.world.cli("undo", run["id"])
    assert plant.world.apply(undo.json["plan_id"]).code == 0
    assert plant.made.sql("SELECT Description FROM PipeLineGroup WHERE PnPID = ?", second) != [
        ("Chilled water",)
    ]


def test_an_asset_of_synapse_is_linked_to_a_line_of_several_groups(drawn: Callable[..., Plant]) -> None:
    plant = drawn()
    for _ in range(2):
        plant.group("?", {"Tag": "L-1"})
    plant.group("L-7")
    for tag in ("L-1", "L-7"):
        plant.world.user_adds(tag=tag, asset_type="Line")
    proposed = plant.world.cli("links", "propose", NAME).json
    assert [pair["tag"] for pair in proposed["pairs"]] == ["L-1"], "L-7 is not drawn"
    assert plant.world.cli("links", "accept", NAME).code == 0
    report = plant.pulled()
    assert report["errors"] == [] and report["stats"]["created"] == 0


def test_numbers_on_segments_of_a_project_without_any_line_group_make_lines(
    make_world: Callable[..., World],
) -> None:
    """A traceback once: no group could say of which class such a line is."""
    world = make_world(items=20)
    for (name,) in world.sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'PipeLineGroup'"
    ):
        world.change(f"DELETE FROM {name}")
    world.change("DELETE FROM PnPBase WHERE PnPClassName = 'PipeLineGroup'")
    world.change("DELETE FROM PipeLineGroupRelationship")
    said = world.pull()
    assert said.code in (0, 3), said.err
    assert said.json["status"] == "completed"


# ---------------------------------------------------------------- what lines are made of is ours


def two_written_lines(drawn: Callable[..., Plant]) -> tuple[Plant, int, int]:
    """Two lines of which a user describes the second; nothing was pushed yet."""
    plant = drawn(write="sql", drawings_unseen="closed")
    one = plant.group("L-1", {"Tag": "L-1"}, Description="First")
    two = plant.group("L-2", {"Tag": "L-2"}, Description="Second")
    plant.pulled()
    plant.world.user_edits(plant.live()["L-2"]["id"], description="Cooling water")
    return plant, one, two


FORGED_LINES = {
    "another row stands for it": "UPDATE line_members SET row_guid ="
    " (SELECT row_guid FROM line_members AS o WHERE o.plant3d_id <> line_members.plant3d_id)",
    "it is made of other rows": "UPDATE line_members SET members ="
    " (SELECT members FROM line_members AS o WHERE o.plant3d_id <> line_members.plant3d_id)",
    "a row is gone": "DELETE FROM line_members WHERE plant3d_id = (SELECT min(plant3d_id) FROM line_members)",
    "a row is too many": "INSERT INTO line_members SELECT project, 'forged', row_guid, members FROM line_members LIMIT 1",
    "it is of another project": "UPDATE line_members SET project = project + 1",
}


@pytest.mark.parametrize(
    "how",
    [
        one if one == "another row stands for it" else pytest.param(one, marks=pytest.mark.long)
        for one in FORGED_LINES
    ],
)
def test_a_forged_row_leads_no_value_into_the_row_of_another_line(
    drawn: Callable[..., Plant], how: str
) -> None:
    plant, one, two = two_written_lines(drawn)
    world = plant.world
    assert world.cli("audit", "verify").code == 0
    with closing(sqlite3.connect(world.state)) as connection:
        assert connection.execute(FORGED_LINES[how]).rowcount > 0
        connection.commit()
    before = world.fingerprint(), world.writes()
    said = world.cli("push", NAME)
    assert (said.code, said.error) == (3, "row_altered"), said.out
    assert (world.fingerprint(), world.writes()) == before
    named = world.cli("audit", "verify")
    assert (named.code, named.error) == (78, "audit_broken") and "line_members" in named.out
    assert world.cli("audit", "set-aside").code == 0
    assert world.cli("audit", "verify").code == 0
    assert plant.pulled()["errors"] == []
    pushed = world.cli("push", NAME)
    assert pushed.code == 0, pushed.out
    texts = dict(plant.made.sql("SELECT PnPID, Description FROM PipeLineGroup WHERE Tag IS NOT NULL"))
    assert (texts[one], texts[two]) == ("First", "Cooling water")


def test_a_seal_of_lines_that_was_cut_off_refuses_too(drawn: Callable[..., Plant]) -> None:
    plant, _one, _two = two_written_lines(drawn)
    with closing(sqlite3.connect(plant.world.state)) as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        for table in ("audit", "audit_head"):
            assert connection.execute(f"DELETE FROM {table} WHERE project = 'lines:{NAME}'").rowcount > 0
        connection.commit()
    said = plant.world.cli("push", NAME)
    assert (said.code, said.error) == (3, "row_altered"), said.out


def test_a_seal_of_lines_that_was_altered_breaks_its_chain(drawn: Callable[..., Plant]) -> None:
    plant, _one, _two = two_written_lines(drawn)
    with closing(sqlite3.connect(plant.world.state)) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute(
            'UPDATE audit SET body = replace(body, \'"digest":"\', \'"digest":"0\') WHERE project = ?',
            [f"lines:{NAME}"],
        )
        connection.commit()
    said = plant.world.cli("push", NAME)
    assert said.error == "row_altered" and "does not hold" in said.json["error"]["message"]
    assert plant.world.cli("audit", "verify").code == 78
