"""An answer read briefly says what the same answer read in full says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from plant3d_sync.connectors.base import AssetWrite, Echo, WriteResult
from plant3d_sync.connectors.synapse import echo, wire
from plant3d_sync.connectors.synapse.errors import WireError
from plant3d_sync.model.fields import grouped
from plant3d_sync.model.step import AfterCreation, Create, values_text
from plant3d_sync.run.write_synapse import in_full

PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
FIELDS = {
    "tag": "P-1",
    "asset_type": "Equipment",
    "asset_subtype": "Pump",
    "attributes.size": "50",
    "attributes.n": 2,
}
Answer = dict[str, Any]


def step(number: int) -> Create:
    return Create(
        entity="equipment",
        pnpid=number,
        plant3d_id=f"guid-{number}",
        class_name="Pump",
        tag=f"P-{number}",
        text=values_text(grouped({**FIELDS, "tag": f"P-{number}"})),
        after=AfterCreation(),
    )


STEPS = [step(number) for number in range(3)]
WRITES = [AssetWrite(op="upsert", plant3d_id=one.plant3d_id, set=one.set, if_version=0) for one in STEPS]
IDS = [write.plant3d_id for write in WRITES]


def answer() -> Answer:
    """What SYNAPSE says when it created all three as sent."""
    results = []
    for number, one in enumerate(STEPS):
        asset = {
            "id": f"asset-{number}",
            "project_id": PROJECT,
            "plant3d_id": one.plant3d_id,
            "version": 1,
            "seq": number + 1,
            "tag": one.set["tag"],
            "asset_type": "Equipment",
            "asset_subtype": "Pump",
            "description": None,
            "attributes": {"size": "50", "n": 2},
            "deleted_at": None,
            "priority": 3,
            "field_info": {
                "description": {"version": 1, "updated_at": "2026-01-02T03:04:05Z", "by": "integration:x"}
            },
        }
        results.append({"index": number, "plant3d_id": one.plant3d_id, "status": "created", "asset": asset})
    return {"results": results}


def briefly(raw: object) -> list[WriteResult | Echo]:
    sent = wire.encode_batch(WRITES).sent
    return echo.read_briefly(orjson.dumps(raw), IDS, PROJECT, sent)[0]


def test_an_asset_held_as_sent_is_told_in_brief() -> None:
    answers = briefly(answer())
    assert [type(one) for one in answers] == [Echo, Echo, Echo]
    assert in_full(STEPS, answers) == wire.read_results(answer(), IDS, PROJECT)[0]


def _set(**changes: object) -> Callable[[Answer], None]:
    def change(entry: Answer) -> None:
        entry["asset"].update(changes)

    return change


def _drop(name: str) -> Callable[[Answer], None]:
    def change(entry: Answer) -> None:
        del entry["asset"][name]

    return change


def _entry(**changes: object) -> Callable[[Answer], None]:
    def change(entry: Answer) -> None:
        entry.update(changes)

    return change


INFO = {"version": 1, "updated_at": "2026-01-02T03:04:05Z", "by": "integration:x"}


@pytest.mark.parametrize(
    "change",
    [
        _set(tag="P-01"),
        _set(tag=""),
        _set(tag=None),
        _set(asset_type="Valve"),
        _set(asset_subtype=None),
        _set(asset_subtype=""),
        _set(description="filled in by a rule of SYNAPSE"),
        _set(description=7),
        _set(attributes={"size": "50"}),
        _set(attributes={"size": "50", "n": 3}),
        _set(attributes={"size": "50", "n": 2, "more": "x"}),
        _set(attributes={"size": "50", "n": 2, "empty": ""}),
        _set(attributes=None),
        _set(deleted_at="2026-01-02T03:04:05Z"),
        _set(plant3d_id="guid-9"),
        _set(project_id="another"),
        _set(project_id=None),
        _set(version=0),
        _set(version="1"),
        _set(seq=None),
        _set(id=""),
        _set(id=4),
        _set(field_info={}),
        _set(field_info={"description": {**INFO, "version": 2}}),
        _set(field_info={"description": {**INFO, "updated_at": "yesterday"}}),
        _set(field_info=None),
        *map(_drop, ("id", "project_id", "tag", "attributes", "deleted_at", "field_info", "seq")),
        _entry(status="updated"),
        _entry(status="unchanged"),
        _entry(status="conflict", code="version"),
        _entry(status="error", code="tag_taken", asset=None),
        _entry(status="done"),
        _entry(linked=True),
        _entry(message="the tag was trimmed"),
        _entry(asset=None),
        _entry(asset=[]),
        _entry(index=7),
        _entry(plant3d_id="guid-9"),
    ],
)
def test_whatever_is_not_just_what_was_sent_is_toldin_full(change: Callable[[Answer], None]) -> None:
    raw = answer()
    change(raw["results"][1])
    answers = briefly(copy.deepcopy(raw))
    assert type(answers[1]) is WriteResult
    assert in_full(STEPS, answers) == wire.read_results(raw, IDS, PROJECT)[0]


def test_one_altered_asset_leaves_the_others_in_brief() -> None:
    raw = answer()
    raw["results"][1]["asset"]["attributes"]["n"] = 3
    assert [type(one) for one in briefly(raw)] == [Echo, WriteResult, Echo]


def test_entries_out_of_order_or_missing_are_toldin_full() -> None:
    for order in ([2, 0, 1], [0, 1], [0, 0, 1, 2]):
        raw = answer()
        raw["results"] = [raw["results"][number] for number in order]
        assert in_full(STEPS, briefly(raw)) == wire.read_results(raw, IDS, PROJECT)[0]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"{",
        b'{"results": 7}',
        orjson.dumps(answer())[:-1],
        orjson.dumps(answer()).replace(b"integration:x", b"\xff"),
        orjson.dumps(answer()).replace(b'"priority":3', b'"priority":NaN'),
        orjson.dumps(answer()).replace(b'"priority":3', b'"priority":"\xc3"'),
    ],
)
def test_what_is_no_answer_is_refused_as_when_readin_full(broken: bytes) -> None:
    sent = wire.encode_batch(WRITES).sent
    with pytest.raises(WireError) as full:
        wire.read_results(wire.load(broken), IDS, PROJECT)
    with pytest.raises(WireError) as brief:
        echo.read_briefly(broken, IDS, PROJECT, sent)
    assert str(brief.value) == str(full.value)


def test_the_order_of_attributes_does_not_matter() -> None:
    raw = answer()
    raw["results"][0]["asset"]["attributes"] = {"size": "50", "n": 2}
    raw["results"][1]["asset"]["attributes"] = {"n": 2, "size": "50"}
    assert [type(one) for one in briefly(raw)] == [Echo, Echo, Echo]


@pytest.mark.parametrize(
    "change", [_set(project_id=PROJECT.upper()), _set(description=""), _entry(linked=False)]
)
def test_harmless_differences_are_still_told_in_brief(change: Callable[[Answer], None]) -> None:
    raw = answer()
    change(raw["results"][1])
    answers = briefly(copy.deepcopy(raw))
    assert [type(one) for one in answers] == [Echo, Echo, Echo]
    assert in_full(STEPS, answers) == wire.read_results(raw, IDS, PROJECT)[0]


def raw_answer(member: bytes, value: bytes) -> bytes:
    """The answer with one member of the second asset replaced, as bytes: not all of it can be said by a dumper."""
    raw = answer()
    raw["results"][1]["asset"][member.decode()] = "HERE"
    return orjson.dumps(raw).replace(b'"HERE"', value)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (b"attributes", b'{"size":"50","n":2.0}'),
        (b"attributes", b'{"size":"50","n":true}'),
        (b"attributes", b'{"size":"50","n":1e999}'),
        (b"attributes", b'{"size":"50","n":' + b"9" * 400 + b"}"),
        (b"attributes", b"[" * 1100 + b"]" * 1100),
        (b"attributes", b'{"n":' + b"[" * 1100 + b"]" * 1100 + b"}"),
        (b"field_info", b'{"description":' + b"[" * 1100 + b"]" * 1100 + b"}"),
        (b"priority", b"[" * 1100 + b"]" * 1100),
        (b"version", b"9223372036854775808"),
        (b"seq", b"9223372036854775808"),
        (b"version", b"1" + b"0" * 40),
    ],
)
def test_a_strange_member_is_said_or_refused_as_the_whole_answer_is(member: bytes, value: bytes) -> None:
    body = raw_answer(member, value)
    sent = wire.encode_batch(WRITES).sent
    try:
        whole = wire.read_results(wire.load(body), IDS, PROJECT)[0]
    except WireError:
        with pytest.raises(WireError):
            echo.read_briefly(body, IDS, PROJECT, sent)
        return
    answers = echo.read_briefly(body, IDS, PROJECT, sent)[0]
    assert type(answers[1]) is WriteResult
    assert in_full(STEPS, answers) == whole


def nested(levels: int) -> bytes:
    """A value this many levels deep, with brackets in texts that are no levels and cancel none."""
    return rb'{"]\\\"}":[' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2) + b"]}" * (levels // 2)


@pytest.mark.parametrize("more", [b"", b',"lists":[' + b",".join([b"[]"] * 2000) + b"]"])
@pytest.mark.parametrize("levels", [1, 800, wire.DEEPEST - 5, wire.DEEPEST - 4, wire.DEEPEST - 3, 1100, 1101])
def test_both_readers_have_one_bound_of_nesting(levels: int, more: bytes) -> None:
    """Four levels lie around a member of an asset; many brackets side by side are no nesting."""
    body = raw_answer(b"priority", nested(levels) + more)
    sent = wire.encode_batch(WRITES).sent
    if levels + 4 > wire.DEEPEST:
        with pytest.raises(WireError):
            wire.load(body)
        with pytest.raises(WireError):
            echo.read_briefly(body, IDS, PROJECT, sent)
        return
    answers = echo.read_briefly(body, IDS, PROJECT, sent)[0]
    assert in_full(STEPS, answers) == wire.read_results(wire.load(body), IDS, PROJECT)[0]
    if levels < 900:
        assert [type(one) for one in answers] == [Echo, Echo, Echo]


def test_a_number_is_as_sent_only_with_its_type() -> None:
    raw = answer()
    raw["results"][1]["asset"]["attributes"]["n"] = 2.0
    result = briefly(raw)[1]
    assert isinstance(result, WriteResult) and result.asset is not None
    assert type(result.asset.fields["attributes.n"]) is float
