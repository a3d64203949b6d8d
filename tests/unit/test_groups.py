"""The fields of a class are grouped once; what is asked of an item asks the groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plant3d_sync.model.fields import attribute_field, attribute_key, flat, grouped
from plant3d_sync.model.rules import INFORMATION, ClassRule, FieldRule
from plant3d_sync.model.side import Entity, Owner

SAVED = "attributes.plant3d_updated_at"
RULE = ClassRule(
    class_name="Pump",
    entity=Entity.EQUIPMENT,
    fields={
        one.field: one
        for one in (
            FieldRule(field="tag", owner=Owner.PLANT3D, columns=("Tag",)),
            FieldRule(field="description", owner=Owner.SHARED, columns=("Description",)),
            FieldRule(field="attributes.note", owner=Owner.SYNAPSE, columns=("Note",)),
            FieldRule(field=SAVED, owner=Owner.PLANT3D, columns=("@modified",), compare=INFORMATION),
        )
    },
)
KEYS = st.text(min_size=1, max_size=5)
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
FIELDS = st.dictionaries(
    st.sampled_from(["tag", "asset_type", "description"]) | KEYS.map("attributes.".__add__), VALUES
)


def test_every_field_is_decided_by_us_or_by_synapse() -> None:
    groups = RULE.groups
    assert groups.of_us | groups.of_synapse == RULE.fields.keys()
    assert groups.of_us & groups.of_synapse == set()
    assert groups.of_synapse == {"attributes.note"}


def test_every_field_is_compared_or_goes_along() -> None:
    groups = RULE.groups
    assert groups.information == (SAVED,)
    assert list(groups.compared) == [name for name in RULE.fields if name != SAVED]


def test_attributes_have_their_keys_and_columns_none() -> None:
    assert RULE.groups.attributes == {"attributes.note": "note", SAVED: "plant3d_updated_at"}
    assert attribute_key("attributes.a.b") == "a.b" and attribute_field("a.b") == "attributes.a.b"
    assert attribute_key("attributes.") is None and attribute_key("tag") is None


def test_a_class_is_grouped_once() -> None:
    assert RULE.groups is RULE.groups


@given(FIELDS)
def test_fields_grouped_and_flat_again_are_the_same_fields(fields: dict[str, object]) -> None:
    assert flat(grouped(fields)) == fields  # type: ignore[arg-type]
    assert flat(fields) == fields  # type: ignore[arg-type]
