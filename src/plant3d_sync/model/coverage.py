"""How much of what a mapping asks for arrives: handed over / what its classes hold, and why the rest does not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import floor
from typing import TypedDict

import msgspec

SAME_LINE = "same_line"
"""Reason of rows that are part of another item: line groups with one number. They are neither missing nor a second item."""

NOT_DRAWN = "line_not_drawn"
"""Reason of lines without a segment."""

WARN = 0.5
"""Share below which a project is in trouble, unless its `coverage: {warn: …}` says otherwise."""


class CoverageDocument(TypedDict):
    """The JSON form: `share` is None where there is nothing to hand over."""

    whole: int
    handed_over: int
    share: float | None
    reasons: dict[str, int]


class ProjectCoverageDocument(CoverageDocument):
    """The JSON form of `ProjectCoverage`."""

    warn: float
    below: bool
    by_entity: dict[str, CoverageDocument]


class Coverage(msgspec.Struct, kw_only=True):
    """Of one kind of asset, or of all. whole = handed_over + the sum of `reasons` (code -> items)."""

    whole: int = 0
    handed_over: int = 0
    reasons: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """Between 0 and 1, rounded down so that it is never better than it is; None where nothing was asked for."""
        items = self._items
        return floor(self.handed_over / items * 10_000) / 10_000 if items else None

    def is_below(self, warn: float) -> bool:
        """Whether less arrives than the project's floor."""
        return self._items > 0 and self.handed_over < warn * self._items

    @property
    def _items(self) -> int:
        """What there is to hand over: rows of one line count once."""
        return self.whole - self.reasons.get(SAME_LINE, 0)

    def to_dict(self) -> CoverageDocument:
        """As in JSON, the largest reason first."""
        return {
            "whole": self.whole,
            "handed_over": self.handed_over,
            "share": self.share,
            "reasons": dict(sorted(self.reasons.items(), key=lambda each: (-each[1], each[0]))),
        }

    @classmethod
    def from_dict(cls, data: CoverageDocument) -> Coverage:
        """What `to_dict` gave."""
        return cls(whole=data["whole"], handed_over=data["handed_over"], reasons=dict(data["reasons"]))

    @classmethod
    def total(cls, parts: Iterable[Coverage]) -> Coverage:
        """Of all kinds together."""
        whole = cls()
        for part in parts:
            whole.whole += part.whole
            whole.handed_over += part.handed_over
            for code, count in part.reasons.items():
                whole.reasons[code] = whole.reasons.get(code, 0) + count
        return whole

    def said(self) -> str:
        """In words: `47 of 879 (5 %); the rest: untagged 524, tag_unknown 308`."""
        share = "" if self.share is None else f" ({floor(self.share * 100)} %)"
        rest = ", ".join(f"{code} {count}" for code, count in self.to_dict()["reasons"].items())
        return f"{self.handed_over} of {self.whole}{share}" + (f"; the rest: {rest}" if rest else "")


class ProjectCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Of a project as a run left it, by kind of asset. `warn`: the share below which it is in trouble."""

    warn: float
    by_entity: Mapping[str, Coverage]

    @property
    def whole(self) -> Coverage:
        """Of all kinds together."""
        return Coverage.total(self.by_entity.values())

    @property
    def below(self) -> bool:
        """Whether less arrives than the project's floor."""
        return self.whole.is_below(self.warn)

    def of(self, entities: Collection[str]) -> ProjectCoverage:
        """Of these kinds only."""
        return ProjectCoverage(
            warn=self.warn,
            by_entity={name: self.by_entity[name] for name in self.by_entity if name in entities},
        )

    def to_dict(self) -> ProjectCoverageDocument:
        """As in JSON."""
        return {
            **self.whole.to_dict(),
            "warn": self.warn,
            "below": self.below,
            "by_entity": {name: part.to_dict() for name, part in self.by_entity.items()},
        }

    @classmethod
    def from_dict(cls, data: ProjectCoverageDocument) -> ProjectCoverage:
        """What `to_dict` gave."""
        return cls(
            warn=data["warn"],
            by_entity={name: Coverage.from_dict(part) for name, part in data["by_entity"].items()},
        )


def settled(
    stats: Mapping[str, int],
    planned: Mapping[str, int],
    whole: int,
    same_line: int = 0,
    undrawn: int = 0,
) -> Coverage:
    """Of one kind of asset after its run.

    `planned`: reasons the plan gave; items of which a write failed since are `not_written`, items of a mapped class
    that were not compared at all are `not_read`. `same_line`: rows that are part of another item. `undrawn`: lines
    with an asset of which no segment is drawn any more: they count as missing.
    """
    reasons = {code: count for code, count in planned.items() if count}
    failed = stats["skipped"] + stats["errors"] - sum(reasons.values())
    if failed > 0:
        reasons["not_written"] = failed
    if same_line:
        reasons[SAME_LINE] = same_line
    if undrawn:
        reasons[NOT_DRAWN] = reasons.get(NOT_DRAWN, 0) + undrawn
    accounted = stats["total"] + same_line + undrawn
    whole = max(whole, accounted)
    if whole > accounted:
        reasons["not_read"] = whole - accounted
    return Coverage(whole=whole, handed_over=whole - sum(reasons.values()), reasons=reasons)
