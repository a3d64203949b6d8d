"""A row that was refused: by SYNAPSE, by Plant 3D, or before it was offered to either."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, assert_never

import msgspec
import orjson
from msgspec import UNSET

from plant3d_sync.model.plan import RowError
from plant3d_sync.model.step import Absent, Adopt, Archive, Create, Push, Restore, Settle, Step, Touch, Update

OF_IDENTITY: Final = frozenset({"bad_guid", "duplicate_guid", "identity_mismatch", "kind_changed"})
"""Codes of which an item has one at a time: why it cannot be told which asset is its own."""


class Key(NamedTuple):
    """Which refusal it is."""

    pnpid: int
    field: str
    code: str


class Ignored(msgspec.Struct, frozen=True, kw_only=True):
    """A person left the row alone: who, when (POSIX seconds), why."""

    by: str
    at: float
    reason: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the quarantine.

    `digest`: of what was refused; once that moves, the row is tried at once. `offered`: the other side refused it, so it is
    held back until `next_try_at` (POSIX seconds); else every comparison finds out. `ignored`: None unless a person said so.
    """

    number: int
    key: Key
    into: str
    digest: str
    offered: bool
    attempts: int
    next_try_at: float
    error: RowError
    entity: str = ""
    ignored: Ignored | None = None


def offer_of(step: Step) -> bytes:
    """A digest of what a step offers to the other side; equal as long as neither the values nor the target moved."""
    match step:
        case Create() | Update() | Restore() | Adopt():
            version = None if isinstance(step, Create) else step.asset_version
            facts: list[object] = [step.op.value, dict(step.set), version]
        case Archive():
            facts = [step.op.value, step.asset_version]
        case Push():
            cells = [[cell.table_class, cell.column, cell.new, cell.ticks] for cell in step.cells]
            facts = [step.op.value, cells]
        case Settle() | Touch() | Absent():
            return b""
        case _:
            assert_never(step)
    return hashlib.blake2b(_text(facts), digest_size=16).digest()


def digest_of(error: RowError) -> str:
    """Of what an error is about: what was offered, else the two values, else its words."""
    if error.offer:
        return error.offer.hex()
    known = [value for value in (error.plant3d, error.synapse) if value is not UNSET]
    facts: list[object] = [error.field, known] if known else [error.message]
    return hashlib.blake2b(_text(facts), digest_size=16).hexdigest()


def key_of(error: RowError) -> Key | None:
    """Which refusal it is; None for an error that is about no row."""
    if error.pnpid is None:
        return None
    return Key(error.pnpid, (error.field or "")[:200], error.code[:60])


def _text(facts: list[object]) -> bytes:
    return orjson.dumps(
        facts, option=orjson.OPT_SORT_KEYS, default=lambda one: one.encode("utf-8", "replace").hex()
    )
