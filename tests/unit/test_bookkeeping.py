"""What a link remembers of a freshly created pair."""

from __future__ import annotations

from typing import Any

import orjson

from plant3d_sync.model.link import Open
from plant3d_sync.model.record import Asset, FieldInfo
from plant3d_sync.model.step import AfterCreation, Create, values_text
from plant3d_sync.usecases.bookkeeping import created_link


def _step(**after: Any) -> Create:
    return Create(
        entity="valves",
        pnpid=7,
        plant3d_id="guid-7",
        class_name="GateValve",
        tag="HV-7",
        text=values_text({"tag": "HV-7", "attributes.size": "50"}),
        after=AfterCreation(digest="00ff", ticks=1, **after),
    )


def _asset(**fields: Any) -> Asset:
    held = {"tag": "HV-7", "attributes.size": "50", "description": None, **fields}
    info = {"description": FieldInfo(version=1, updated_at="2026-01-01T00:00:00Z", by="sync")}
    return Asset(
        asset_id="a", plant3d_id="guid-7", version=1, seq=1, archived=False, fields=held, field_info=info
    )


def test_a_field_left_empty_at_creation_is_agreed_to_be_empty_so_filling_it_in_is_a_change() -> None:
    row, _ = created_link(
        _step(blank=values_text({"description": None})), _asset(), link_id=1, number=1, run_id="r"
    )
    base = orjson.loads(row["base"])
    assert base == {"tag": "HV-7", "attributes.size": "50", "description": None}
    assert "base_plant" not in row


def test_a_field_that_could_not_be_read_stays_open_and_gets_no_base() -> None:
    step = _step(pending={"attributes.spec": Open(why="unread")})
    row, _ = created_link(step, _asset(**{"attributes.spec": "CS300"}), link_id=1, number=1, run_id="r")
    assert "attributes.spec" not in orjson.loads(row["base"])
    assert orjson.loads(row["pending"]) == {"attributes.spec": {"why": "unread"}}
    assert orjson.loads(row["synapse_delta"]) == {"attributes.spec": "CS300"}


def test_a_value_that_synapse_altered_keeps_plant_3d_s_spelling_beside_the_base() -> None:
    row, _ = created_link(_step(), _asset(**{"attributes.size": "50.0"}), link_id=1, number=1, run_id="r")
    assert orjson.loads(row["base"])["attributes.size"] == "50.0"
    assert orjson.loads(row["base_plant"]) == {"attributes.size": "50"}
