"""A plan: every write with its reason, as data, before the first write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from plant3d_sync.model.record import Value


class Op(StrEnum):
    """What one step of a plan does."""

    CREATE = "create"  # a new asset in SYNAPSE
    ADOPT = "adopt"  # link an asset that already carries this identity (or tag, when accepted)
    UPDATE = "update"  # write fields to SYNAPSE
    PUSH = "push"  # write cells into Plant 3D
    ARCHIVE = "archive"  # the item is gone for good
    RESTORE = "restore"  # bring an archived asset back
    SETTLE = "settle"  # no write; the base moves
    TOUCH = "touch"  # no write, no base; only what we saw is remembered
    MISSING = "missing"  # not seen in this read


class PlanStatus(StrEnum):
    """Life of a plan."""

    DRAFT = "draft"
    GUARDED = "guarded"
    APPROVED = "approved"
    APPLYING = "applying"
    APPLIED = "applied"
    EXPIRED = "expired"  # its rules or its database are others now, so it cannot be applied any more
    SUPERSEDED = (
        "superseded"  # a later run decided it anew, it was discarded, or its application ended half-way
    )


class GuardHit(msgspec.Struct, frozen=True, kw_only=True):
    """A guard that stops a plan. `limit` and `actual` are for people: counts, shares or identities."""

    name: str
    limit: str
    actual: str
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        """As in the JSON of a run."""
        return {"name": self.name, "limit": self.limit, "actual": self.actual, "message": self.message}


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """One row that could not be handled. The others went on.

    `plant3d`, `synapse`: the two values of the field, where they are known. `into`: the side that was to be written.
    `offer`: a digest of what was offered to that side and refused by it; empty for what was refused before that.
    `held`: it was refused before and was not offered again this time. These five stay inside.
    """

    code: str
    message: str
    hint: str = ""
    plant3d_id: str | None = None
    pnpid: int | None = None
    class_name: str | None = None
    tag: str | None = None
    field: str | None = None
    plant3d: Value | UnsetType = UNSET
    synapse: Value | UnsetType = UNSET
    into: str = "synapse"
    offer: bytes = b""
    held: bool = False

    def to_dict(self) -> dict[str, object]:
        """As in the JSON of a run."""
        return {
            "plant3d_id": self.plant3d_id,
            "pnpid": self.pnpid,
            "class": self.class_name,
            "tag": self.tag,
            "field": self.field,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


class Stats(msgspec.Struct, kw_only=True):
    """Counts of one run. total = created + updated + unchanged + skipped + errors."""

    total: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    errors: int = 0
    archived: int = 0
    conflicts: int = 0
    missing: int = 0
    findings: int = 0

    def plus(self, other: Stats) -> Stats:
        """Both together."""
        return Stats(
            total=self.total + other.total,
            created=self.created + other.created,
            updated=self.updated + other.updated,
            unchanged=self.unchanged + other.unchanged,
            skipped=self.skipped + other.skipped,
            errors=self.errors + other.errors,
            archived=self.archived + other.archived,
            conflicts=self.conflicts + other.conflicts,
            missing=self.missing + other.missing,
            findings=self.findings + other.findings,
        )

    def decided_anew(self) -> Stats:
        """What a second decision about some items adds: their total, absences and findings were counted by the first."""
        return replace(self, total=0, missing=0, findings=0)

    def to_dict(self) -> dict[str, int]:
        """As in the JSON of a run."""
        return asdict(self)


STAT_NAMES = Stats.__struct_fields__


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A guard stops when the share AND the count are both exceeded."""

    share: float
    count: int

    def exceeded(self, actual: int, of: int) -> bool:
        """Whether `actual` of `of` existing records is more than allowed. `of` = 0 never exceeds."""
        return of > 0 and actual > self.count and actual / of > self.share


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Guard limits of a project."""

    create: Limit = Limit(share=0.5, count=500)
    update: Limit = Limit(share=0.3, count=200)
    blank: Limit = Limit(share=0.1, count=50)
    archive: Limit = Limit(share=0.1, count=50)


class Tally(msgspec.Struct, kw_only=True):
    """What a plan would do, for the guards. `links` = live links before the plan.

    By kind of asset: `links_of` = live links; `creates`, `updates`, `blanks` (assets that would lose a filled value) and
    `gone` (items not in Plant 3D any more) = what would change in SYNAPSE; `push_updates` = items of which cells would be
    written into Plant 3D (or put into a workbook now), `push_blanks` = those of them that would lose a filled value.
    `older_rows`, `older_assets`: links that were found with a copy of an earlier day for the first time.
    """

    links: int = 0
    links_of: Mapping[str, int] = msgspec.field(default_factory=dict)
    creates: Counter[str] = msgspec.field(default_factory=Counter)
    updates: Counter[str] = msgspec.field(default_factory=Counter)
    blanks: Counter[str] = msgspec.field(default_factory=Counter)
    gone: Counter[str] = msgspec.field(default_factory=Counter)
    push_updates: Counter[str] = msgspec.field(default_factory=Counter)
    push_blanks: Counter[str] = msgspec.field(default_factory=Counter)
    older_rows: int = 0
    older_assets: int = 0


class MissingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When absence counts: `reads` complete reads, of a changed source or at least `minutes` apart, and at least
    `minutes` between the first and the last of them.

    `policy`: ask (a person applies the plan), archive (the next run does), keep (never).
    """

    reads: int = 3
    minutes: float = 30.0
    policy: str = "ask"
