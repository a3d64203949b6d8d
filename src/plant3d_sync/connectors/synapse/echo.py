"""The answer to a batch, read briefly: creations that SYNAPSE holds just as they were sent come as an `Echo`.

Fast because the members of an asset that nobody asks for are not made into objects; equal to `wire.read_results` by
`tests/unit/test_wire_echo.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import orjson

from plant3d_sync.connectors.base import Echo, Sent, WriteResult
from plant3d_sync.connectors.synapse.errors import WireError
from plant3d_sync.connectors.synapse.wire import DEEPEST, LARGEST, info_of, load, read_results
from plant3d_sync.model.record import FieldInfo

_OPENED_BY_ECHO: Final = 5
"""Brackets that an echo opens at the least: the entry's, its asset's, `attributes`, `field_info`, `description`."""
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class _Info(msgspec.Struct, gc=False):
    version: int
    updated_at: str
    by: str


class _Held(msgspec.Struct, gc=False):
    """The members of an asset that we use; the others are not even made into objects."""

    id: str
    project_id: str
    plant3d_id: str | None
    version: int
    seq: int
    tag: str
    asset_type: str
    asset_subtype: str | None
    description: str | None
    attributes: msgspec.Raw
    deleted_at: str | None
    field_info: msgspec.Raw


class _Entry(msgspec.Struct, gc=False):
    index: int
    plant3d_id: str
    status: str
    asset: _Held | None = None
    linked: bool = False
    restored: bool = False
    code: str | None = None
    field: str | None = None
    message: str | None = None
    other: msgspec.Raw | None = None


class _Answer(msgspec.Struct, gc=False):
    results: list[_Entry]


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_FIELD_INFO: Final = msgspec.json.Decoder(dict[str, _Info])


def read_briefly(
    body: bytes, ids: Sequence[str], project_id: str, sent: Sequence[Sent]
) -> tuple[list[WriteResult | Echo], int]:
    """As `read_results`; an item that was created and is held exactly as `sent` comes as an `Echo`, for a third of the
    cost. Anything else is read in full. Raises WireError as `load`.
    """
    try:
        answers = _briefly(body, ids, project_id, sent)
    except (msgspec.MsgspecError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError):
        answers = None
    return _in_full(body, ids, project_id) if answers is None else (answers, 0)


def _briefly(
    body: bytes, ids: Sequence[str], project_id: str, sent: Sequence[Sent]
) -> list[WriteResult | Echo] | None:
    """One answer for each item, or None if the entries are not those of the items in the order sent."""
    if not body.isascii():
        body.decode()  # members that are skipped are not looked at
    entries = _ANSWER.decode(body).results
    if len(entries) != len(ids):
        return None
    answers: list[WriteResult | Echo] = []
    whole: list[WriteResult] = []
    for index, (entry, item) in enumerate(zip(entries, sent, strict=True)):
        plant3d_id = entry.plant3d_id
        if entry.index != index or plant3d_id != ids[index]:
            return None
        asset = entry.asset
        if asset is not None and asset.plant3d_id == plant3d_id and _is_plain_creation(entry):
            info = _info_as_sent(asset, item, project_id)
            if info is not None:
                answers.append(Echo(plant3d_id, asset.id, asset.version, asset.seq, info))
                continue
        if not whole:
            whole = read_results(load(body), ids, project_id)[0]
        answers.append(whole[index])
    if not whole and _is_too_deep(body, len(answers)):
        return None
    return answers


def _is_too_deep(body: bytes, echoes: int) -> bool:
    """Whether an answer of nothing but this many echoes is nested deeper than `load` reads. How deep the brief
    reader goes into members that it skips depends on the Python that runs it, and is no bound.
    """
    # as `count`, which looks at one byte after the other, in a tenth of the time
    opened = 2 * len(body) - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))
    if opened - (echoes - 1) * _OPENED_BY_ECHO <= DEEPEST:
        return False  # as cheap as can be, and the usual answer
    brackets = _TEXT.sub(b"", body).translate(_ONE_KIND, delete=_NO_BRACKETS)
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"")  # the innermost level of each
        if not brackets:
            return False
    return True


def _in_full(body: bytes, ids: Sequence[str], project_id: str) -> tuple[list[WriteResult | Echo], int]:
    results, extra = read_results(load(body), ids, project_id)
    return list(results), extra


def _is_plain_creation(entry: _Entry) -> bool:
    return entry.status == "created" and not (
        entry.linked
        or entry.restored
        or entry.code
        or entry.field
        or entry.message
        or entry.other is not None
    )


def _info_as_sent(asset: _Held, item: Sent, project_id: str) -> FieldInfo | None:
    """Version, time and author of the description, if the asset is just what was sent and all of it as the contract
    has it; None says nothing about what it is instead.
    """
    version, tag = asset.version, asset.tag
    if not (
        tag
        and (tag, asset.asset_type, asset.asset_subtype or None, asset.description or None) == item.columns
        and asset.deleted_at is None
        and asset.id
        and 1 <= version <= LARGEST
        and 1 <= asset.seq <= LARGEST
        and (asset.project_id == project_id or asset.project_id.lower() == project_id)
        and _same_attributes(bytes(asset.attributes), item.attributes)
    ):
        return None
    latest, description = _described(bytes(asset.field_info))
    return description if latest <= version else None


_NO_INFO: Final = (0, None)


@lru_cache(maxsize=64)
def _described(text: bytes) -> tuple[int, FieldInfo | None]:
    """The largest version of any field, and the description's entry; None if any is not as the contract has it.

    The assets of one batch mostly share this.
    """
    try:
        entries = _FIELD_INFO.decode(text)
        infos = {name: info_of(one.version, one.updated_at, one.by) for name, one in entries.items()}
    except (WireError, msgspec.MsgspecError, UnicodeDecodeError):
        return _NO_INFO
    if "description" not in infos or any(one.version < 1 for one in infos.values()):
        return _NO_INFO
    return max(one.version for one in infos.values()), infos["description"]


def _same_attributes(held: bytes, sent: bytes) -> bool:
    """Whether two JSON objects are one, to the type of each number; mostly they are the same bytes. `sent` is sorted."""
    if held == sent:
        return True
    return orjson.dumps(orjson.loads(held), option=orjson.OPT_SORT_KEYS) == (sent or b"{}")
