"""The line of a creation as text: read in parts, so that a first pull need not take apart what it passes on.

A first pull is nearly all creations. What such a line sets goes to SYNAPSE, into the base and into the history just
as it stands, so its text is cut out and used; only the rest of the line is parsed. The layout that allows this is made
by `creation_line` and checked by `lean_line`; a line of any other layout is parsed whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from plant3d_sync.model.record import Value

_START = b'{"op":"create",'
_AFTER = b',"after":'
_SET = b',"set":'
_BLANK = b',"base_set":'

SET = "set_text"
"""Key of a lean line: what it sets, as JSON with sorted keys (bytes)."""
BLANK = "blank_text"
"""Key of a lean line: the fields known to be empty, as JSON (bytes; b"" for none)."""


def creation_line(
    line: Mapping[str, object], after: Mapping[str, object], values: Mapping[str, Value]
) -> bytes:
    """The text of a creation: first `line`, which begins with `op`, then `after`, then what is set, keys sorted.

    A `base_set` must be the last member of `after`.
    """
    text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return b"".join((orjson.dumps(line)[:-1], _AFTER, orjson.dumps(after), _SET, text, b"}"))


def lean_line(text: bytes) -> dict[str, Any]:
    """One line of a plan. A creation comes without `set` and `after.base_set`, and with their texts instead.

    Quotes inside values carry a backslash; a line with any backslash is parsed whole, so what is searched for here
    can only be structure. Raises JSONDecodeError for what is no line at all.
    """
    if not text.startswith(_START) or b"\\" in text:
        return _whole(text)
    head, found, rest = text.partition(_SET)
    if not found or not head.endswith(b"}") or not rest.endswith(b"}}"):
        return _whole(text)
    front, found, blank = head.partition(_BLANK)
    try:
        line: dict[str, Any] = orjson.loads(front + b"}}" if found else head + b"}")
    except orjson.JSONDecodeError:
        return _whole(text)
    line[SET] = rest[:-1]
    line[BLANK] = b"" if blank == b"{}}" else blank[:-1]
    return line


def _whole(text: bytes) -> dict[str, Any]:
    line: dict[str, Any] = orjson.loads(text)
    return line


def in_full(line: dict[str, Any]) -> dict[str, Any]:
    """The same line with `set` and `after.base_set` as objects, in place."""
    if SET in line:
        line["set"] = orjson.loads(line.pop(SET))
        blank = line.pop(BLANK)
        if blank:
            line["after"]["base_set"] = orjson.loads(blank)
    return line


def base_text(line: Mapping[str, Any]) -> str:
    """What a created pair agrees on, as JSON: what was set, and what is known to be empty."""
    if SET not in line:
        blank = line["after"].get("base_set")
        return orjson.dumps({**line["set"], **blank} if blank else line["set"]).decode()
    sent: bytes = line[SET]
    blank_text: bytes = line[BLANK]
    return (sent[:-1] + b"," + blank_text[1:] if blank_text else sent).decode()
