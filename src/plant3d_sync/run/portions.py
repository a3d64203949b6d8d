"""The steps of a plan in the portions in which they are carried out: values, so that a test can look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

import msgspec

from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Create,
    Push,
    Quiet,
    Restore,
    Settle,
    Step,
    ToSynapse,
    Touch,
    Update,
)

MAX_STRETCH = 1000
"""A chain of renames is never cut below this many items (SYNAPSE judges tags on the state after a batch)."""

QUIET_AT_ONCE = 1000
"""Steps that are only remembered, in one transaction."""

Chunk = Callable[[], Sequence[Step]]
"""Gives the steps of one chunk of a plan."""

Placed = tuple[int, int, ToSynapse]
"""A step behind its chunk and its place in it."""


class Writes(msgspec.Struct, frozen=True):
    """The steps of one call to SYNAPSE. `refs`: where in the plan they stand, as runs [chunk, first, behind the last].

    `creations`: the same steps, if all of them are usual creations.
    """

    steps: Sequence[ToSynapse]
    refs: Sequence[Sequence[int]]
    creations: Sequence[Create] | None = None

    @classmethod
    def of(cls, placed: Sequence[Placed]) -> Writes:
        """These steps, each behind its chunk and its place in it."""
        refs: list[list[int]] = []
        for chunk, index, _step in placed:
            if refs and refs[-1][0] == chunk and refs[-1][2] == index:
                refs[-1][2] = index + 1
            else:
                refs.append([chunk, index, index + 1])
        steps = [step for _chunk, _index, step in placed]
        return cls(steps, refs, usual_creations(steps))


def usual_creations(steps: Sequence[Step]) -> list[Create] | None:
    """These steps, if all of them are usual creations."""
    found = [step for step in steps if type(step) is Create and step.is_usual]
    return found if len(found) == len(steps) else None


class Memories(msgspec.Struct, frozen=True):
    """Steps that are remembered together and written nowhere."""

    steps: Sequence[Quiet]


class Pushes(msgspec.Struct, frozen=True):
    """The steps into Plant 3D, which come after all others."""

    steps: Sequence[Push]


Portion = Writes | Memories | Pushes


def portions(chunks: Sequence[Chunk], size: int, *, approved: bool) -> Iterator[Portion]:
    """The steps of a plan in the portions in which they are done: `size` for a call to SYNAPSE, unless a chain of renames
    would be cut. `approved`: steps that need a person are carried out. Creations with something open go together, by
    themselves: each would take the short way from all others of its batch.
    """
    heaps = _Heaps(size, approved)
    for number, chunk in enumerate(chunks):
        steps = chunk()
        if len(steps) == size and not heaps.writes:
            creations = usual_creations(steps)
            if creations is not None:  # as a first pull has them, chunk after chunk
                yield Writes(creations, [[number, 0, size]], creations)
                continue
        for index, step in enumerate(steps):
            full = heaps.put(number, index, step)
            if full is not None:
                yield full
    yield from heaps.left()


class _Heaps(msgspec.Struct):
    """Steps that wait until their portion is full."""

    size: int
    approved: bool
    writes: list[Placed] = msgspec.field(default_factory=list)
    apart: list[Placed] = msgspec.field(default_factory=list)
    quiet: list[Quiet] = msgspec.field(default_factory=list)
    pushed: list[Push] = msgspec.field(default_factory=list)

    def put(self, number: int, index: int, step: Step) -> Portion | None:
        """One more step, with its chunk and its place in it; the portion that is full now, if one is."""
        if type(step) is Create and step.is_usual:  # nearly all that a first pull has
            return self._write((number, index, step))
        match step:
            case Push():
                self.pushed.append(step)
                return None
            case Archive() if step.needs is not None and not self.approved:
                return self._remember(step)
            case Adopt() if not step.set:
                return self._remember(step)
            case Settle() | Touch() | Absent():
                return self._remember(step)
            case Create():
                return self._write_apart((number, index, step))
            case Update() | Restore() | Archive() | Adopt():
                return self._write((number, index, step))
            case _:
                assert_never(step)

    def left(self) -> Iterator[Portion]:
        """What is left at the end; the steps into Plant 3D come last."""
        for writes in (self.writes, self.apart):
            if writes:
                yield Writes.of(writes)
        if self.quiet:
            yield Memories(self.quiet)
        if self.pushed:
            yield Pushes(self.pushed)

    def _write(self, placed: Placed) -> Portion | None:
        full = None
        if len(self.writes) >= self.size and not _belongs_with(
            self.writes[-1][2], placed[2], len(self.writes)
        ):
            full, self.writes = Writes.of(self.writes), []
        self.writes.append(placed)
        return full

    def _write_apart(self, placed: Placed) -> Portion | None:
        self.apart.append(placed)
        if len(self.apart) < self.size:
            return None
        full, self.apart = Writes.of(self.apart), []
        return full

    def _remember(self, step: Quiet) -> Portion | None:
        self.quiet.append(step)
        if len(self.quiet) < QUIET_AT_ONCE:
            return None
        full, self.quiet = Memories(self.quiet), []
        return full


def _belongs_with(last: ToSynapse, step: ToSynapse, length: int) -> bool:
    """Whether two renames must travel in one batch: one takes the tag the other gives away."""
    if length >= MAX_STRETCH or not isinstance(step, Update | Adopt) or not isinstance(last, Update | Adopt):
        return False
    if step.old_tag is None or last.old_tag is None:
        return False
    return last.old_tag == step.set["tag"] or step.old_tag == last.set["tag"]
