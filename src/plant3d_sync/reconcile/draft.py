"""A finished plan before it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Protocol

import msgspec

from plant3d_sync.model.conflict import ConflictDraft
from plant3d_sync.model.plan import GuardHit, RowError, Stats, Tally
from plant3d_sync.model.record import Finding

_LINES_AT_ONCE = 100
_DIGITS = 32
"""Of a fingerprint: half of the digest's, as many as it always had."""


class LineList(Protocol):
    """A list of JSON lines that may live outside of memory. Setting an index to b"" drops that line."""

    def append(self, line: bytes, /) -> None:
        """Add one line."""
        ...

    def __setitem__(self, index: int, line: bytes, /) -> None:
        """Drop one line."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """The lines in order; a dropped one is left out or empty."""
        ...


class Pile:
    """Steps of one kind in the order they were decided, and of which item each is, so that one can be withdrawn.

    It keeps the place of a step, never the step: `lines` may live outside of memory.
    """

    __slots__ = ("_count", "_lines", "_places")

    def __init__(self, lines: LineList) -> None:
        self._lines, self._count = lines, 0
        self._places: dict[str, dict[int, int]] = {}

    def add(self, line: bytes) -> None:
        """Add a step that is never withdrawn."""
        self._lines.append(line)
        self._count += 1

    def put(self, entity: str, pnpid: int, line: bytes) -> None:
        """Add the step of an item."""
        try:
            self._places[entity][pnpid] = self._count
        except KeyError:
            self._places[entity] = {pnpid: self._count}
        self._count += 1
        self._lines.append(line)

    def withdraw(self, entity: str, pnpid: int) -> None:
        """Leave the item's step out of the plan, if it has one."""
        place = self._places.get(entity, {}).pop(pnpid, None)
        if place is not None:
            self._lines[place] = b""

    def __contains__(self, pnpid: object) -> bool:
        """Whether the item has a step."""
        return any(pnpid in places for places in self._places.values())

    def kinds(self) -> dict[int, str]:
        """The items that have a step, with their kinds."""
        return {pnpid: entity for entity, places in self._places.items() for pnpid in places}

    def count(self, entity: str) -> int:
        """How many items of a kind have a step."""
        return len(self._places.get(entity, ()))

    def __iter__(self) -> Iterator[bytes]:
        """The steps that are left, as JSON."""
        return iter(self._lines)


class Lines:
    """All steps of a plan in the order of writing, one pile after the other. `seed`: what the fingerprint begins with."""

    def __init__(self, piles: Sequence[Iterable[bytes]], seed: str) -> None:
        self._piles = tuple(piles)
        digest = hashlib.sha256(seed.encode())
        self._count = 0
        lines = iter(self)
        while piece := list(islice(lines, _LINES_AT_ONCE)):
            self._count += len(piece)
            digest.update(b"".join(piece))
        self.fingerprint = digest.hexdigest()[:_DIGITS]

    def __iter__(self) -> Iterator[bytes]:
        """The lines."""
        return filter(None, chain.from_iterable(self._piles))

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def clear(self) -> None:
        """Forget them: they are stored."""
        self._piles, self._count = (), 0


class Draft(msgspec.Struct):
    """A finished plan before it is stored. `lines` are its steps, JSON bytes in the order of writing."""

    lines: Lines
    stats: Stats
    by_entity: dict[str, Stats]
    push_stats: Stats
    tally: Tally
    guards: list[GuardHit]
    errors: list[RowError]
    findings: list[Finding]
    conflicts: list[ConflictDraft]
    work_items: list[dict[str, object]]
    fingerprint: str
    writes: dict[str, int]
    waiting: int
    waiting_for_person: dict[str, int]
    """Operation -> steps that only a person carries out, by applying the plan."""
    remembered: int = 0
    """Steps that only update what is remembered."""
    examined: frozenset[tuple[str, str]] = frozenset()
    """Open questions whose own item was compared: asked again, or answered. The others stay as they are."""
    fates: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What became of the choices that were looked at: conflict id -> FOLLOWED, or why the choice is void."""
    reasons: Mapping[str, Mapping[str, int]] = msgspec.field(default_factory=dict)
    """Entity -> code -> items that are skipped or set aside for it."""
    not_handed_over: Mapping[int, str] = msgspec.field(default_factory=dict)
    """Those items, by PnPID -> the code."""
    lag: float = 0.0
    """How far behind a workstation was shown to be by this read, at most (seconds); 0.0: none was."""
    lag_shown_by: tuple[int, str] | None = None
    """PnPID and tag of the row that shows it."""
    uncompared: frozenset[str] = frozenset()
    """Identities that this read did not compare: absent, or set aside with an error or a finding of the row."""
    there: frozenset[str] = frozenset()
    """Identities of items that were missed, or could not be read whole, and are there, whatever is decided about them."""
