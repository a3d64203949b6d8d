"""Laws of converters and comparators, on values nobody thought of."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from plant3d_sync.errors import SkipRecordError
from plant3d_sync.mapping import COMPARATORS, CONVERTERS, ConvertError
from plant3d_sync.mapping.convert import Converter, parse_decimal
from plant3d_sync.model.record import Value
from plant3d_sync.reconcile.merge import is_blank
from plant3d_sync.reconcile.spelling import spelled

BLANKS = st.text(alphabet=" \t\r\n\u00a0", max_size=3)
NUMERALS = st.text(alphabet="0123456789.,+- '\u00a0", max_size=12)
WORDS = st.sampled_from(
    [
        *("TRUE", "no", "Oui", "FAUX", "1", "0", "12,50 bar(g)", "85 °C", "185 °F", "a; b;;c", "DN 150"),
        *('["a", "b"]', '["a; b", 1]', '["a;b"]', '[["a"]]', '{"a": "b;c"}', "[a; b]", '["a";"b"]'),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=30), NUMERALS, WORDS, st.builds(lambda a, b, c: a + b + c, BLANKS, WORDS, BLANKS)
)
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(), TEXTS
)
CELLS = st.one_of(st.none(), TEXTS)


@pytest.mark.parametrize("name", CONVERTERS)
@given(raw=TEXTS, current=CELLS)
@example(raw="12,50", current="12.5")
@example(raw="0", current="0,0")
@example(raw="Oui", current="non")
@example(raw="185 °F", current="85")
def test_a_value_written_and_read_back_means_the_same(name: str, raw: str, current: str | None) -> None:
    converter = CONVERTERS[name]
    if not raw.strip():
        return
    try:
        value = converter.to_field(raw)
    except ConvertError:
        return
    cell = converter.to_cell(value, current)
    again = converter.to_field(cell) if cell is not None else None
    assert COMPARATORS[converter.compare].same(again, value)


@pytest.mark.parametrize("name", CONVERTERS)
@given(raw=TEXTS)
@example(raw="12,50")
@example(raw=" 1'250.0 ")
@example(raw="oUi")
@example(raw="a;b ; c")
def test_a_cell_that_already_means_the_value_keeps_its_text(name: str, raw: str) -> None:
    converter = CONVERTERS[name]
    if not raw.strip():
        return
    try:
        value = converter.to_field(raw)
    except ConvertError:
        return
    if value is not None:
        assert converter.to_cell(value, raw) == raw


@given(
    number=st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False))
)
@example(number=1e300)
@example(number=5e-324)
@example(number=-0.0)
def test_a_number_from_synapse_survives_the_way_through_text(number: int | float) -> None:
    converter = CONVERTERS["number"]
    cell = converter.to_cell(number, None)
    assert cell is not None and "e" not in cell.lower()
    assert COMPARATORS["number"].same(cell, number)


@given(whole=st.integers(-999999, 999999), cents=st.integers(0, 99))
def test_point_and_comma_are_the_same_number(whole: int, cents: int) -> None:
    assert (
        parse_decimal(f"{whole},{cents:02}")
        == parse_decimal(f"{whole}.{cents:02}")
        == Decimal(f"{whole}.{cents:02}")
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12,50", "12.5"),
        ("12.50", "12.5"),
        ("1,250.5", "1250.5"),
        ("1.250,5", "1250.5"),
        ("1 250,5", "1250.5"),
        ("1\u202f250", "1250"),
        ("1'250", "1250"),
        ("1,250,000", "1250000"),
        ("0,250", "0.25"),
        ("1.250", "1.25"),
        ("-3", "-3"),
        ("+3.", "3"),
        (",5", "0.5"),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: str) -> None:
    assert parse_decimal(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    ["1,250", "12,34,567", "1.2.3", "1e5", "", "-", ".", ",", "1-2", "１２", "NaN", "Infinity", "5 bar"],
)
def test_what_is_no_number_or_could_be_two_is_refused(text: str) -> None:
    assert parse_decimal(text) is None
    with pytest.raises(ConvertError):
        CONVERTERS["number"].to_field(text)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("number", "12345678901234567890,5", "number_too_precise"),
        ("integer", "1.5", "not_a_whole_number"),
        ("yes_no", "maybe", "not_yes_or_no"),
        ("celsius", "5 bar", "not_a_temperature"),
    ],
)
def test_what_a_converter_cannot_take_has_a_stable_code(name: str, value: str, code: str) -> None:
    with pytest.raises(ConvertError) as caught:
        CONVERTERS[name].to_field(value)
    assert caught.value.error_code == code


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("integer", "12.0", 12),
        ("yes_no", " Oui ", True),
        ("yes_no", "OFF", False),
        ("list", "a ;; b\r\nc", "a; b; c"),
        ("upper", " ab ", "AB"),
        ("celsius", "85", 85),
        ("celsius", "212 °F", 100),
        ("celsius", "373.15 K", 100),
        ("measure", "12,50 bar", "12,50 bar"),
    ],
)
def test_a_converter_gives_this_value(name: str, raw: str, value: Value) -> None:
    found = CONVERTERS[name].to_field(raw)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("value", "current", "cell"),
    [
        (True, "FALSE", "TRUE"),
        (False, "Oui", "Non"),
        (True, "no", "yes"),
        (False, "1", "0"),
        (True, None, "TRUE"),
        (True, "Oui", "Oui"),
    ],
)
def test_yes_and_no_keep_the_words_of_the_cell(value: bool, current: str | None, cell: str) -> None:
    assert CONVERTERS["yes_no"].to_cell(value, current) == cell


@pytest.mark.parametrize(
    ("value", "current", "cell"),
    [
        ('["b", "c"]', "a;b", "b; c"),
        ('["b", "a"]', "b;a", "b;a"),
        ('["a", 2]', None, "a; 2"),
        ('["a"', None, '["a"'),
        ("{a}; b", None, "{a}; b"),
    ],
)
def test_an_array_is_written_as_its_parts(value: str, current: str | None, cell: str) -> None:
    assert CONVERTERS["list"].to_cell(value, current) == cell


@pytest.mark.parametrize("value", ['{"a": 1}', '[["a"], "b"]', '[{"a": "x; y"}]'])
def test_what_is_no_list_of_values_is_not_written_into_a_cell(value: str) -> None:
    with pytest.raises(ConvertError) as caught:
        CONVERTERS["list"].to_cell(value, "a; b")
    assert caught.value.error_code == "not_a_list"


@pytest.mark.parametrize("name", COMPARATORS)
@given(value=VALUES)
def test_every_value_is_the_same_as_itself(name: str, value: Value) -> None:
    assert COMPARATORS[name].same(value, value)


@pytest.mark.parametrize("name", COMPARATORS)
@given(a=VALUES, b=VALUES)
def test_sameness_has_no_direction(name: str, a: Value, b: Value) -> None:
    assert COMPARATORS[name].same(a, b) == COMPARATORS[name].same(b, a)


@pytest.mark.parametrize("name", ["text", "caseless", "number", "list", "measure"])
@given(text=TEXTS)
def test_outer_blanks_and_kinds_of_line_ends_do_not_count(name: str, text: str) -> None:
    unix = text.replace("\r\n", "\n").replace("\r", "\n")
    assert COMPARATORS[name].same(unix.replace("\n", "\r\n"), f"  {unix} ")


@pytest.mark.parametrize(
    ("name", "a", "b", "same"),
    [
        ("text", None, "", True),
        ("text", None, "  ", True),
        ("text", "a\r\nb", "a\nb", True),
        ("text", "a\rb", "a\nb", True),
        ("text", "a ", "a", True),
        ("text", "a \nb", "a\nb", True),
        ("text", "e\u0301", "é", True),
        ("text", "a", "A", False),
        ("text", "12.50", "12.5", False),
        ("text", 5, "5", True),
        ("caseless", "Straße", "STRASSE", True),
        ("caseless", "a", "b", False),
        ("number", "12,50", 12.5, True),
        ("number", 12, 12.0, True),
        ("number", "1,250", "1250", False),
        ("number", True, 1, False),
        ("number", None, 0, False),
        ("exact", "a ", "a", False),
        ("exact", True, 1, False),
        ("exact", None, "", True),
        ("list", "a; b", "b;a", True),
        ("list", "a", "a;a", False),
        ("list", '["b", "a"]', "a; b", True),
        ("list", '["a; b"]', "a; b", False),
        ("list", '["a", null, 12.5, true, " "]', "a; 12.5; true", True),
        ("list", "[]", None, True),
        ("list", "[a; b]", "b]; [a", True),
        ("measure", "12,50 bar", "12.5bar", True),
        ("measure", "12 bar", "12 barg", False),
        ("measure", "12 bar", "12", False),
    ],
)
def test_a_comparator_says_this(name: str, a: Value, b: Value, same: bool) -> None:
    assert COMPARATORS[name].same(a, b) is same


@pytest.mark.parametrize("name", CONVERTERS)
@given(value=VALUES, now=CELLS, choices=st.lists(TEXTS, max_size=4))
@example(value=False, now="Oui", choices=[])
@example(value=True, now=None, choices=["Yes", "No"])
@example(value=12.5, now="12,50", choices=[])
@example(value=1.125, now="1,250", choices=[])
def test_what_is_put_into_a_cell_reads_as_the_value_or_is_refused(
    name: str, value: Value, now: str | None, choices: list[str]
) -> None:
    converter = CONVERTERS[name]
    same = COMPARATORS[converter.compare].same
    try:
        cell = spelled(value, now, spelling=converter, plain=name == "text", same=same, choices=choices)
    except ConvertError:
        return
    except SkipRecordError as error:
        assert error.error_code == "not_convertible"
        return
    assert cell.text is None or isinstance(cell.text, str)
    if cell.reads is UNSET:
        assert cell.text == value
        return
    again = converter.to_field(cell.text) if cell.text and cell.text.strip() else None
    assert same(again, value) and same(cell.reads, again)
    if cell.text not in choices and not is_blank(value):
        assert not any(_means(one, value, converter) for one in choices)


def _means(text: str, value: Value, converter: Converter) -> bool:
    try:
        return bool(text.strip()) and COMPARATORS[converter.compare].same(converter.to_field(text), value)
    except ConvertError:
        return False


@pytest.mark.parametrize(("value", "stored"), [(True, "Yes"), (False, "No")])
def test_of_a_selection_list_the_choice_that_means_the_value_is_stored(value: bool, stored: str) -> None:
    cell = spelled(
        value,
        None,
        spelling=CONVERTERS["yes_no"],
        plain=False,
        same=COMPARATORS["exact"].same,
        choices=("Unknown", "Yes", "No"),
    )
    assert (cell.text, cell.reads) == (stored, value)
