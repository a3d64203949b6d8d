"""Comparators by meaning. Each one is a key function; two values are the same when their keys are equal.

Building comparators from keys makes every one of them reflexive, symmetric and transitive.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable

import msgspec

from plant3d_sync.mapping.convert import parse_decimal, plain_text, split_list, split_measure
from plant3d_sync.model.record import Value
from plant3d_sync.model.rules import INFORMATION


class Comparator(msgspec.Struct, frozen=True, kw_only=True):
    """One named way to compare: `key` says what a value means, `same` whether two mean the same."""

    name: str
    key: Callable[[Value], Hashable]
    same: Callable[[Value, Value], bool]
    help: str


def text_key(value: Value) -> str:
    """Empty = nothing, CRLF = LF, outer blanks and blanks at line ends do not count, Unicode in form NFC."""
    text = plain_text(value)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in text:
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text).strip()


def _caseless_key(value: Value) -> str:
    return unicodedata.normalize("NFC", text_key(value).casefold())


def _number_key(value: Value) -> Hashable:
    number = parse_decimal(value)
    return text_key(value) if number is None else number


def _exact_key(value: Value) -> Hashable:
    if value is None or value == "":
        return None
    return type(value) is bool, value if value == value else "not a number"


def _list_key(value: Value) -> Hashable:
    return tuple(sorted(text_key(part) for part in split_list(plain_text(value))))


def _measure_key(value: Value) -> Hashable:
    parts = split_measure(plain_text(value))
    return text_key(value) if parts is None else (parts[0], "".join(text_key(parts[1]).split()))


def _comparator(name: str, key: Callable[[Value], Hashable], help_text: str) -> Comparator:
    def same(a: Value, b: Value) -> bool:
        return key(a) == key(b)

    return Comparator(name=name, key=key, same=same, help=help_text)


COMPARATORS: dict[str, Comparator] = {
    comparator.name: comparator
    for comparator in (
        _comparator("text", text_key, "empty = nothing, CRLF = LF, outer blanks ignored, Unicode NFC"),
        _comparator("caseless", _caseless_key, "as text, capitals ignored"),
        _comparator("number", _number_key, "12.50 = 12.5 = 12,5; as text when it is no number"),
        _comparator("exact", _exact_key, "equal in every character and type; empty text = nothing"),
        _comparator("list", _list_key, "same parts in any order"),
        _comparator("measure", _measure_key, "same number and same unit: 12,50 bar = 12.5bar"),
        _comparator(
            INFORMATION,
            lambda value: None,
            "never compared: written along with another field, never by itself",
        ),
    )
}
"""Every comparator by its name in the mapping."""
