"""A creation read as text says, sends and remembers what the same creation taken apart does."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plant3d_sync.connectors.base import AssetWrite, Creation, Echo
from plant3d_sync.connectors.synapse import wire
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.fields import flat, grouped
from plant3d_sync.model.link import Open
from plant3d_sync.model.record import Asset, FieldInfo, Value
from plant3d_sync.model.step import (
    AfterCreation,
    Create,
    base_text,
    blank_text,
    document,
    from_text,
    to_text,
    values_text,
)
from plant3d_sync.reconcile.advance import created
from plant3d_sync.state.intents import fields_of
from plant3d_sync.state.links import CREATED_COLUMNS, created_rows, key_of, to_row

NASTY = [
    '"',
    "\\",
    ',"set":{',
    '"attributes.a":',
    ',"tag":"',
    "attributes.",
    "attributes.x",
    ":",
    ":foo",
    "}}",
    '":',
    ',"base_set":',
    "é",
    "\n",
    "{",
    ",",
]
PLAIN_WORDS = st.sampled_from(
    ["attributes.", "attributes.x", ":", ":foo", "b", "x:", ":attributes.", "P-1", ""]
)
WORDS = (
    PLAIN_WORDS
    | st.lists(st.sampled_from([*NASTY, "P-1", "50", " "]), min_size=1, max_size=5).map("".join)
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
)
VALUES = (
    WORDS | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
NAMES = st.sampled_from(
    ["size", "a.b", "set", "tag", "description", 'q"uote', "é", "base_set", "A", "_"]
).map("attributes.".__add__) | WORDS.filter(bool).map("attributes.".__add__)
FIELDS = st.builds(
    lambda attributes, plain, tag: {**attributes, **plain, "tag": tag},
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.dictionaries(st.sampled_from(["asset_type", "asset_subtype", "description"]), WORDS),
    WORDS,
)
BLANKS = st.lists(NAMES | st.sampled_from(["description", "asset_subtype"]), max_size=4, unique=True)


def line_of(fields: dict[str, Value], blank: list[str], pending: bool) -> tuple[dict[str, Any], bytes]:
    """A creation as the planner makes it, and as text."""
    line: dict[str, Any] = {
        "op": "create",
        "entity": "equipment",
        "pnpid": 5,
        "id": "guid",
        "class": "Pump",
        "tag": fields["tag"],
    }
    after: dict[str, Any] = {"digest": "00ff", "ticks": 7, "revision": 2}
    if pending:
        after["pending"] = {"attributes.set": {"why": "unread"}}
    empty = dict.fromkeys((name for name in blank if name not in fields), None)
    if empty:
        after["base_set"] = empty
    step = Create(
        entity="equipment",
        pnpid=5,
        plant3d_id="guid",
        class_name="Pump",
        tag=str(fields["tag"]),
        after=AfterCreation(
            digest="00ff",
            ticks=7,
            revision=2,
            pending={"attributes.set": Open(why="unread")} if pending else {},
        ),
        text=values_text(grouped(fields)),
    )
    if empty:
        step.after.blank = blank_text(empty)
    return {**line, "after": after, "set": fields}, to_text(step)


@given(fields=FIELDS, blank=BLANKS, pending=st.booleans())
@example(fields={"tag": "P-1", "attributes.size": "50"}, blank=["attributes.size"], pending=False)
@example(fields={"tag": "P-1"}, blank=["description"], pending=True)
def test_a_line_read_as_text_says_what_the_whole_line_says(
    fields: dict[str, Value], blank: list[str], pending: bool
) -> None:
    line, text = line_of(fields, blank, pending)
    assert orjson.loads(text) == {**line, "set": grouped(fields)}
    for stored in (text, orjson.dumps(line)):  # of this version, and of one that did not group
        (step,) = from_text(b"[%b]" % stored)
        assert isinstance(step, Create)
        assert document(step) == line
        assert (step.set, step.after.base_set) == (fields, line["after"].get("base_set", {}))
        assert step.is_usual is not pending
        agreed = {**fields, **line["after"].get("base_set", {})}
        assert flat(orjson.loads(base_text(bytes(step.text), bytes(step.after.blank)))) == agreed


@given(fields=FIELDS, blank=BLANKS)
@example(fields={"tag": "P-1", "attributes.size": "50"}, blank=["attributes.size"])
def test_a_pair_stored_as_text_is_remembered_as_the_same_pair_stored_as_values(
    fields: dict[str, Value], blank: list[str]
) -> None:
    _line, text = line_of(fields, blank, pending=False)
    (step,) = from_text(b"[%b]" % text)
    assert isinstance(step, Create)
    info = FieldInfo(version=1, updated_at="2026-01-02T03:04:05Z", by="us")
    echo = Echo(plant3d_id="guid", asset_id="a", version=1, seq=9, description=info)
    asset = Asset(
        asset_id="a",
        plant3d_id="guid",
        version=1,
        seq=9,
        archived=False,
        fields=fields,
        field_info={"description": info},
    )
    (row,) = created_rows([step], [echo], first=5, number=1, run_id="r")
    assert [CREATED_COLUMNS[n] for n in (2, 11, 15)] == ["pnpid", "tag", "base"], (
        "what the audit covers of it"
    )
    stored = dict(zip(CREATED_COLUMNS, row, strict=True))
    assert fields_of("create", str(stored["base"])) == {
        name: [None, value] for name, value in fields.items()
    }, "what the history tells of it"
    whole = to_row(created(step, asset, link_id=5)) | {"id": 5, "project": 1, "run_id": "r"}
    assert flat(orjson.loads(str(stored.pop("base")))) == orjson.loads(whole.pop("base"))
    assert stored.pop("guid_key") == key_of("guid")
    assert {name: value for name, value in whole.items() if value is not None} == {
        **{name: value for name, value in stored.items() if value is not None},
        "gone_in_synapse": 0,
        "went_back": 0,
    }


@given(fields=FIELDS)
def test_an_item_sent_as_text_is_the_item_sent_as_values(fields: dict[str, Value]) -> None:
    of_values = AssetWrite(op="upsert", plant3d_id="guid", set=fields, if_version=0)
    of_text = Creation("guid", bytes(values_text(grouped(fields))))
    assert wire.encode_batch([of_text]) == wire.encode_batch([of_values])


STRANGE = st.sampled_from(["b", "attributesx", ":b", "b:", "attributes.", "zzz", "notes"])


def said(write: AssetWrite | Creation) -> bytes | str:
    try:
        return wire.encode_batch([write]).body
    except ConfigError as error:
        return error.error_code


@given(fields=FIELDS, strange=st.dictionaries(STRANGE, WORDS, max_size=2))
@example(fields={"tag": "P", "attributes.a": "attributes.x", "attributes.b": ":foo"}, strange={})
@example(fields={"tag": "P", "attributes.0": "/", "attributes.c": ":"}, strange={"b": "attributes.x"})
@example(fields={"tag": "P", "attributes.a": "attributes."}, strange={})
@example(fields={"tag": "P", "attributes.a": "", "attributes.:x": "1", "attributes.y:": "2"}, strange={})
def test_text_is_sent_or_refused_just_as_values_are(
    fields: dict[str, Value], strange: dict[str, Value]
) -> None:
    every = {**fields, **strange}
    of_values = AssetWrite(op="upsert", plant3d_id="guid", set=every, if_version=0)
    assert said(Creation("guid", bytes(values_text(grouped(every))))) == said(of_values)
    assert said(Creation("guid", bytes(values_text(every)))) == said(of_values), (
        "as an older version stored it"
    )


@pytest.mark.parametrize(
    "name", ["notes", "priority", "set", "aaa", "attributes.", "attributesx", "zzz", "description2"]
)
def test_a_field_that_a_sync_must_not_write_is_refused_as_text_too(name: str) -> None:
    fields: dict[str, Value] = {"tag": "P-1", "attributes.size": "50", "description": "x", name: "1"}
    text = bytes(values_text(grouped(fields)))
    with pytest.raises(ConfigError) as caught:
        wire.encode_batch([Creation("guid", text)])
    assert caught.value.error_code == "field_not_writable"


USUAL = {
    "op": "create",
    "entity": "equipment",
    "pnpid": 5,
    "id": "guid",
    "class": "Pump",
    "tag": "P-1",
    "after": {"digest": "00ff", "ticks": 7, "revision": 2},
    "set": {"tag": "P-1"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"link_id": 3},
        {
            "after": {
                "digest": "00ff",
                "ticks": 7,
                "revision": 2,
                "pending": {"description": {"why": "unread"}},
            }
        },
        {"after": {"digest": "00ff"}},
    ],
)
def test_a_line_with_anything_unusual_is_no_plain_creation(change: dict[str, object]) -> None:
    usual, other = from_text(orjson.dumps([USUAL, {**USUAL, **change}]))
    assert isinstance(usual, Create) and isinstance(other, Create)
    assert usual.is_usual and not other.is_usual
