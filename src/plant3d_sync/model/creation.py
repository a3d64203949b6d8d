"""The line of a creation as text: read in parts, so that a first pull need not take apart what it passes on.

A first pull is nearly all creations. What such a line sets goes to SYNAPSE, into the base and into the history just
as it stands, so its text is cut out and used; only the rest of the line is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from plant3d_sync.model.record import Value

_NOTHING: Final = msgspec.Raw(b"{}")


class AfterCreation(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What the link remembers of the item. `base_set`: the fields known to be empty, as JSON."""

    digest: str
    ticks: int
    base_set: msgspec.Raw = _NOTHING


class CreationLine(
    msgspec.Struct,
    gc=False,
    tag_field="op",
    tag="create",
    forbid_unknown_fields=True,
    rename={"plant3d_id": "id", "class_name": "class", "fields": "set"},
):
    """The usual line of a creation: a new pair with nothing open. `fields`: what it sets, JSON with sorted keys."""

    entity: str
    pnpid: int
    plant3d_id: str
    class_name: str
    tag: str
    after: AfterCreation
    fields: msgspec.Raw
    drawing: str | None = None


_LINES: Final = msgspec.json.Decoder(list[CreationLine])


def creation_line(
    line: Mapping[str, object], after: Mapping[str, object], values: Mapping[str, Value]
) -> bytes:
    """The text of a creation: `line`, then `after`, then what is set, keys sorted."""
    text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return b'%b,"set":%b}' % (orjson.dumps({**line, "after": after})[:-1], text)


def creations_of(lines: bytes) -> list[CreationLine] | None:
    """A JSON list of lines that are all usual creations; None for any other list."""
    try:
        return _LINES.decode(lines)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def in_full(line: CreationLine) -> dict[str, Any]:
    """The same line with everything taken apart, as any other line of a plan."""
    after: dict[str, object] = {"digest": line.after.digest, "ticks": line.after.ticks}
    blank = orjson.loads(bytes(line.after.base_set))
    if blank:
        after["base_set"] = blank
    whole: dict[str, Any] = {
        "op": "create",
        "entity": line.entity,
        "pnpid": line.pnpid,
        "id": line.plant3d_id,
        "class": line.class_name,
        "tag": line.tag,
        "after": after,
        "set": orjson.loads(bytes(line.fields)),
    }
    if line.drawing is not None:
        whole["drawing"] = line.drawing
    return whole


def base_text(sent: bytes, blank: bytes) -> str:
    """What a created pair agrees on, as JSON: what was set, and what is known to be empty."""
    return (sent[:-1] + b"," + blank[1:] if len(blank) > len(b"{}") else sent).decode()
