"""One cell that was read: is it what its column declares, and is there anything odd to tell people about?

SQLite enforces neither types nor lengths, and other people's SQL writes whatever it likes. A cell that
cannot be trusted becomes *unknown* (never "empty", never a change); an odd but readable one is kept.
"""

from __future__ import annotations

import math

import msgspec

from plant3d_sync.connectors.plant3d.guid import guid_text
from plant3d_sync.model.catalog import Column
from plant3d_sync.model.record import Value

INTEGERS = frozenset({"System.Int16", "System.Int32", "System.Int64", "System.Boolean"})


class BadText(bytes):
    """Bytes of a text cell that are not UTF-8."""


def decode_or_keep(raw: bytes) -> str | BadText:
    """Text factory for sqlite3: text, or its bytes when they are not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return BadText(raw)


class Oddity(msgspec.Struct, frozen=True):
    """What is odd about a cell: a stable code and the rest of a sentence about it."""

    code: str
    what: str
    hint: str


class Checked(msgspec.Struct, frozen=True):
    """A cell after the look: `known` is False when its content cannot be used at all."""

    known: bool
    value: Value = None
    oddities: tuple[Oddity, ...] = ()


_RETYPE = "Type the value again in Plant 3D."
_INVALID_UTF8 = Oddity("invalid_utf8", "is not valid text (not UTF-8), so it is unknown", _RETYPE)
_NUL = Oddity("nul_character", "contains a NUL character, so it is unknown", _RETYPE)
_INFINITY = Oddity("infinity", "is not a finite number, so it is unknown", "Correct the number in Plant 3D.")
_LINE_BREAK = Oddity(
    "line_break",
    "contains a line break",
    "Nothing to do if it is meant: the value arrives as it is. If not, remove it in the Data Manager.",
)
_BLANKS = Oddity("outer_blanks", "starts or ends with a blank", "Remove the blank in the Data Manager.")
_MOJIBAKE = Oddity(
    "mojibake", "looks like text that was decoded wrongly", "Type the special characters again in Plant 3D."
)


def check_cell(column: Column, value: object) -> Checked:
    """Whether the value is known, the value to use, and what is odd about it."""
    if value is None:
        return Checked(known=True)
    if isinstance(value, float) and not math.isfinite(value):
        return Checked(known=False, oddities=(_INFINITY,))
    if isinstance(value, BadText):
        return Checked(known=False, oddities=(_INVALID_UTF8,))
    if column.type == "System.Guid":
        text = guid_text(value)
        return Checked(known=True, value=text) if text else _wrong_type(column, value)
    if column.type == "System.Double":
        return (
            Checked(known=True, value=value)
            if isinstance(value, (int, float))
            else _wrong_type(column, value)
        )
    if column.type in INTEGERS:
        return _check_integer(column, value)
    return _check_text(column, value)


def holds_text(column: Column) -> bool:
    """Whether text without a NUL character is this column's value as it stands."""
    return column.type not in INTEGERS and column.type not in ("System.Guid", "System.Double")


def _wrong_type(column: Column, value: object) -> Checked:
    kind = {"str": "text", "bytes": "bytes", "int": "a number", "float": "a number"}.get(
        type(value).__name__, type(value).__name__
    )
    what = f"is {kind}, but the catalogue says {column.type.removeprefix('System.')}, so it is unknown"
    return Checked(known=False, oddities=(Oddity("wrong_type", what, _RETYPE),))


def _check_integer(column: Column, value: object) -> Checked:
    if isinstance(value, int):
        return Checked(known=True, value=value)
    if isinstance(value, float) and value.is_integer():
        return Checked(known=True, value=int(value))
    return _wrong_type(column, value)


def _check_text(column: Column, value: object) -> Checked:
    if isinstance(value, (int, float)):  # a number in a text column reads the same for people
        return Checked(known=True, value=str(value))
    if not isinstance(value, str):
        return _wrong_type(column, value)
    if "\x00" in value:
        return Checked(known=False, oddities=(_NUL,))
    return Checked(known=True, value=value, oddities=tuple(_oddities_of_text(column, value)))


def _oddities_of_text(column: Column, value: str) -> list[Oddity]:
    odd: list[Oddity] = []
    if "\n" in value or "\r" in value:
        odd.append(_LINE_BREAK)
    if value.strip() != value:
        odd.append(_BLANKS)
    if column.length and len(value) > column.length:
        what = f"has {len(value)} characters, the column allows {column.length}"
        odd.append(
            Oddity("too_long", what, "Shorten the value in Plant 3D; SQL Server would have refused it.")
        )
    if is_mojibake(value):
        odd.append(_MOJIBAKE)
    return odd


def is_mojibake(text: str) -> bool:
    """Whether the text is UTF-8 that somebody decoded as Windows-1252 or Latin-1 (`GOÂ±` for `GO±`)."""
    return not text.isascii() and any(_shrinks(text, encoding) for encoding in ("cp1252", "latin-1"))


def _shrinks(text: str, encoding: str) -> bool:
    try:
        return len(text.encode(encoding).decode("utf-8")) < len(text)
    except UnicodeError:
        return False
