"""How values and complaints are told to people: in words of JSON and of everyday, never in those of Python."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def said(value: object) -> str:
    """A value inside a sentence: text in quotes, nothing as `nothing`, everything else as in JSON."""
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return bare(value)
    text = "".join(char if char.isprintable() else _escaped(char) for char in value)
    return f"'{text}'"


def counted(number: int, one: str, many: str) -> str:
    """What is said of one, and of any other number. Both are whole messages; other languages have their own forms."""
    return one if number == 1 else many


def bare(value: object) -> str:
    """A value alone: text as it is, nothing as empty text, everything else as in JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1]


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant, None if none is near."""
    lowered = name.lower()
    for one in known:
        low = one.lower()
        if low == lowered or low.startswith(f"{lowered}_") or low.endswith(f"_{lowered}"):
            return one
    close = difflib.get_close_matches(lowered, known, n=1)
    return close[0] if close else None


_PLAIN_WORDS = {
    "missing": "is needed",
    "none_required": "may be null",
    "model_type": "must hold names with values",
    "model_attributes_type": "must hold names with values",
    "dict_type": "must hold names with values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
}
"""What pydantic calls otherwise: its own words name Python's types."""


def complaint(item: Mapping[str, Any]) -> str:
    """One error of pydantic in words for people. It never holds the wrong value, which may be a secret."""
    text = _PLAIN_WORDS.get(str(item["type"])) or _limit(str(item["type"]), item.get("ctx") or {})
    if text is not None:
        return text
    text = str(item["msg"]).removeprefix("Value error, ")
    for theirs in ("Input should", "String should", "List should", "Dictionary should"):
        text = text.replace(theirs, "must")
    return text


def _limit(kind: str, of: Mapping[str, Any]) -> str | None:
    """What a value has to be, where pydantic names the bound; None for any other complaint."""
    match kind:
        case "literal_error" | "enum":
            expected = str(of["expected"])
            choices = expected.replace(" or ", ", ")
            return f"must be {expected}" if choices == expected else f"must be one of {choices}"
        case "greater_than":
            return f"must be greater than {of['gt']}"
        case "greater_than_equal":
            return f"must be greater than or equal to {of['ge']}"
        case "less_than":
            return f"must be less than {of['lt']}"
        case "less_than_equal":
            return f"must be less than or equal to {of['le']}"
        case "string_too_short":
            least = int(of["min_length"])
            return counted(
                least, f"must have at least {least} character", f"must have at least {least} characters"
            )
        case "string_too_long":
            most = int(of["max_length"])
            return counted(
                most, f"must have at most {most} character", f"must have at most {most} characters"
            )
        case "too_short":
            least = int(of["min_length"])
            return counted(least, f"must have at least {least} entry", f"must have at least {least} entries")
        case "too_long":
            most = int(of["max_length"])
            return counted(most, f"must have at most {most} entry", f"must have at most {most} entries")
        case _:
            return None
