"""Named converters between a raw Plant 3D value and a canonical value, each with its inverse.

The list is closed: a mapping names a converter, it never contains an expression. Every converter keeps this law:
`to_field(to_cell(value, current))` means the same as `value`, and `to_cell` gives `current` back whenever `current`
already means `value`, so that stored text is never rewritten only because it normalises equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from plant3d_sync.errors import SkipRecordError
from plant3d_sync.model.record import Value
from plant3d_sync.words import said

_BLANKS_IN_NUMBERS = str.maketrans("", "", " \t\u00a0\u202f\u2009'")
_LARGEST_EXACT = 2**53


class ConvertError(SkipRecordError):
    """One value is not what its converter expects. The field is left out, the item goes on."""

    code = "not_convertible"


class Converter(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of functions.

    `to_field`: filled raw value -> canonical value; raises ConvertError.
    `to_cell`: (canonical value, text now in the cell) -> text to store; None empties the cell.
    `compare`: name of the comparator that fits, used when the mapping names none.
    """

    name: str
    to_field: Callable[[Value], Value]
    to_cell: Callable[[Value, str | None], str | None]
    compare: str
    help: str


# ---------------------------------------------------------------- numbers


def parse_decimal(value: Value) -> Decimal | None:
    """The number a value means, or None if it is not a number or could mean two.

    Accepts a decimal point or a decimal comma, blanks and apostrophes between digits, and thousands separators when
    the other separator is the decimal one (`1,250.5`, `1.250,5`) or when they repeat (`1,250,000`). `1,250` could be
    either and is refused; `1.250` is one and a quarter; truth values are no numbers.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    return _decimal_of_text(value.strip().translate(_BLANKS_IN_NUMBERS))


def _decimal_of_text(text: str) -> Decimal | None:
    sign = text[:1] if text[:1] in ("+", "-") else ""
    body = text[len(sign) :]
    if not body or not body.isascii() or not all(c.isdigit() or c in ".," for c in body):
        return None
    plain = _with_point(body)
    if plain is None:
        return None
    try:
        return Decimal(sign + plain)
    except InvalidOperation:
        return None


def _with_point(body: str) -> str | None:
    """Digits with separators -> digits with at most one point, or None when it is no number or ambiguous."""
    commas, points = body.count(","), body.count(".")
    if commas and points:
        decimal = max(",", ".", key=body.rfind)
        group = "." if decimal == "," else ","
        whole, _, rest = body.rpartition(decimal)
        return f"{whole.replace(group, '')}.{rest}" if _grouped(whole, group) and rest.isdigit() else None
    separator = "," if commas else "."
    if commas + points > 1:
        return body.replace(separator, "") if _grouped(body, separator) else None
    if commas:
        whole, _, rest = body.partition(",")
        if len(rest) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0"):
            return None
        return f"{whole or '0'}.{rest or '0'}" if whole or rest else None
    return body if body != "." else None


def _grouped(text: str, separator: str) -> bool:
    first, *others = text.split(separator)
    return 1 <= len(first) <= 3 and all(len(part) == 3 for part in others)


def _plain_number(number: Decimal) -> int | float | None:
    """The int or float that means exactly this number, or None when it has too many digits for either."""
    if number == number.to_integral_value() and abs(number) < _LARGEST_EXACT:
        return int(number)
    short = float(number)
    return short if math.isfinite(short) and Decimal(repr(short)) == number else None


def _number(value: Value) -> Value:
    number = parse_decimal(value)
    if number is None:
        raise ConvertError(
            f"{said(value)} is not a number, or could mean two different ones.",
            hint="Correct the value in Plant 3D, or map the field without `convert: number`.",
            code="not_a_number",
        )
    short = _plain_number(number)
    if short is None:
        raise ConvertError(
            f"{said(value)} has more digits than a number can carry exactly.",
            hint="Map the field without `convert: number`; the text is then kept as it is.",
            code="number_too_precise",
        )
    return short


def _integer(value: Value) -> Value:
    number = _number(value)
    if not isinstance(number, int):
        raise ConvertError(
            f"{said(value)} is not a whole number.",
            hint="Correct the value in Plant 3D, or use `convert: number`.",
            code="not_a_whole_number",
        )
    return number


def number_text(value: Value) -> str:
    """A number as plain digits with a decimal point, never with an exponent."""
    number = parse_decimal(value)
    if number is None:
        raise ConvertError(f"{said(value)} is not a number.", code="not_a_number")
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number_cell(value: Value, current: str | None) -> str | None:
    if value is None:
        return None
    if current is not None and parse_decimal(current) == parse_decimal(value):
        return current
    return number_text(value)


# ---------------------------------------------------------------- text


def _text(value: Value) -> Value:
    return None if isinstance(value, str) and not value.strip() else value


def plain_text(value: Value) -> str:
    """Any value as text: numbers without an exponent, truth values as `true` and `false`, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return number_text(value)


def _text_cell(value: Value, current: str | None) -> str | None:
    text = plain_text(value)
    return text or None


def _upper(value: Value) -> Value:
    return value.strip().upper() if isinstance(value, str) else value


def _upper_cell(value: Value, current: str | None) -> str | None:
    if current is not None and _upper(current) == value:
        return current
    return _text_cell(value, current)


_ARRAY: Final = msgspec.json.Decoder(list[str | int | float | bool | None])


def _array(text: str) -> list[str | int | float | bool | None] | None:
    """The values of an array of SYNAPSE, which comes as JSON; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        return _ARRAY.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return None


def split_list(text: str) -> list[str]:
    """The parts of a list written with semicolons or line breaks, or of an array; outer blanks and empty parts dropped."""
    array = _array(text)
    if array is None:
        return _parts(text.replace("\r\n", ";").replace("\n", ";").replace("\r", ";").split(";"))
    return _parts(plain_text(value) for value in array)


def _parts(texts: Iterable[str]) -> list[str]:
    return [text.strip() for text in texts if text.strip()]


def _list(value: Value) -> Value:
    text = plain_text(value)
    parts = split_list(text)
    listed = "; ".join(parts)
    if split_list(listed) != parts or any(
        _is_structure(one) for one in (text, listed) if _array(one) is None
    ):
        raise ConvertError(
            f"{said(value)} is an object, or has a part that is a list itself.",
            hint="Write a list of texts and numbers, or map the field without `convert: list`.",
            code="not_a_list",
        )
    return listed or None


def _list_cell(value: Value, current: str | None) -> str | None:
    listed = _list(value)
    if current is not None and split_list(current) == split_list(plain_text(value)):
        return current
    return _text_cell(listed, current)


def _is_structure(text: str) -> bool:
    """Whether it is an object or an array in JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


# ---------------------------------------------------------------- yes and no

_WORD_PAIRS = (
    ("true", "false"),
    ("yes", "no"),
    ("oui", "non"),
    ("vrai", "faux"),
    ("1", "0"),
    ("y", "n"),
    ("o", "n"),
    ("on", "off"),
)
_MEANING = {word: flag for pair in _WORD_PAIRS for word, flag in zip(pair, (True, False), strict=True)}


def _yes_no(value: Value) -> Value:
    if isinstance(value, bool):
        return value
    flag = _MEANING.get(plain_text(value).strip().lower())
    if flag is None:
        raise ConvertError(
            f"{said(value)} is neither yes nor no.",
            hint="Use TRUE/FALSE, Yes/No, Oui/Non or 1/0, or map the field without `convert: yes_no`.",
            code="not_yes_or_no",
        )
    return flag


def _yes_no_cell(value: Value, current: str | None) -> str | None:
    """The word for a truth value, in the words and capitals the cell uses now."""
    if value is None:
        return None
    flag = bool(_yes_no(value))
    now = (current or "").strip()
    if now and _MEANING.get(now.lower()) is flag:
        return current
    pair = next((pair for pair in _WORD_PAIRS if now.lower() in pair), None)
    if pair is None:
        return "TRUE" if flag else "FALSE"
    word = pair[0] if flag else pair[1]
    if now.isupper():
        return word.upper()
    return word.capitalize() if now[:1].isupper() else word


# ---------------------------------------------------------------- temperature and other measures


def split_measure(text: str) -> tuple[Decimal, str] | None:
    """`12,50 bar(g)` -> (12.50, "bar(g)"); None when the text does not begin with one clear number."""
    stripped = text.strip()
    end = 0
    for end, char in enumerate(stripped + "|"):  # noqa: B007  (the position of the first other character is wanted)
        if not (char in "+-.,'\u00a0\u202f\u2009 " or (char.isascii() and char.isdigit())):
            break
    number = parse_decimal(stripped[:end])
    return None if number is None else (number, stripped[end:].strip())


_TO_CELSIUS: dict[str, Callable[[Decimal], Decimal]] = {
    "": lambda t: t,
    "c": lambda t: t,
    "f": lambda t: (t - 32) * 5 / 9,
    "k": lambda t: t - Decimal("273.15"),
}


def _celsius(value: Value) -> Value:
    """A temperature as a number in °C. Text without a unit is °C because the mapping says so."""
    parts = split_measure(plain_text(value))
    unit = "" if parts is None else parts[1].replace("°", "").replace("deg", "").strip().lower()
    turn = _TO_CELSIUS.get(unit)
    if parts is None or turn is None:
        raise ConvertError(
            f"{said(value)} is not a temperature in °C, °F or K.",
            hint="Correct the value in Plant 3D, or use `convert: measure`, which keeps the text.",
            code="not_a_temperature",
        )
    return (
        _plain_number(round(turn(parts[0]), 6).normalize())
        if unit in ("f", "k")
        else _number(number_of(parts[0]))
    )


def number_of(number: Decimal) -> str:
    """A decimal as plain digits, so that it can be read by the number converter without loss."""
    return format(number, "f")


def _celsius_cell(value: Value, current: str | None) -> str | None:
    if value is None:
        return None
    if current is not None:
        try:
            if _celsius(current) == value:
                return current
        except ConvertError:
            pass  # what is in the cell is no temperature, so it cannot mean the same: it is replaced
    return f"{number_text(value)} °C"


CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        Converter(
            name="text", to_field=_text, to_cell=_text_cell, compare="text", help="the value as it is stored"
        ),
        Converter(
            name="upper", to_field=_upper, to_cell=_upper_cell, compare="caseless", help="text in capitals"
        ),
        Converter(
            name="number",
            to_field=_number,
            to_cell=_number_cell,
            compare="number",
            help="a number; decimal point or comma",
        ),
        Converter(
            name="integer", to_field=_integer, to_cell=_number_cell, compare="number", help="a whole number"
        ),
        Converter(
            name="yes_no",
            to_field=_yes_no,
            to_cell=_yes_no_cell,
            compare="exact",
            help="TRUE/FALSE, Yes/No, Oui/Non, Vrai/Faux, 1/0",
        ),
        Converter(
            name="list",
            to_field=_list,
            to_cell=_list_cell,
            compare="list",
            help="parts separated by semicolons or line breaks; in SYNAPSE also an array",
        ),
        Converter(
            name="measure",
            to_field=_text,
            to_cell=_text_cell,
            compare="measure",
            help="a number with its unit, kept as text and compared by meaning",
        ),
        Converter(
            name="celsius",
            to_field=_celsius,
            to_cell=_celsius_cell,
            compare="number",
            help="a temperature in °C (text in °F or K is converted)",
        ),
    )
}
"""Every converter by its name in the mapping."""
