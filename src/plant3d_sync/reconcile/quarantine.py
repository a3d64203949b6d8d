"""What was refused before: not offered again before its time, and not told as an error where a person left it alone.

Only the refused step waits. Every other decision about the item, and every other item, goes on; what moved since is
another offer and is tried at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace as with_values

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.refused import Refused, digest_of, key_of, offer_of
from plant3d_sync.model.step import Push, Step
from plant3d_sync.reconcile.case import NO_AMOUNTS, Amounts, Decision, Fate

IGNORED = "ignored"
"""Code of the finding about a refused row that a person left alone."""


class Quarantine(msgspec.Struct, frozen=True):
    """What is known of refused rows when a plan is made. `all_due`: everything is offered again that nobody ignores."""

    rows: Mapping[int, Sequence[Refused]] = msgspec.field(default_factory=dict)
    now: float = 0.0
    all_due: bool = False

    def settle(self, pnpid: int, decision: Decision) -> Decision:
        """The decision about an item without the steps that wait, and with what is reported of them."""
        known = self.rows.get(pnpid)
        if not known:
            return decision
        kept: list[Step] = []
        told: list[Refused] = []
        for step in decision.steps:
            refused = self._waits(known, step)
            told += refused
            if not refused:
                kept.append(step)
        errors = [*decision.errors, *(with_values(one.error, held=True) for one in told)]
        left, ignored = self._sort(known, errors)
        ignored += [one for one in known if one not in ignored and _is_unseen(one, decision)]
        if len(kept) == len(decision.steps) and not ignored:
            return decision
        return self._without(decision, kept, left, ignored)

    def ignored(self, error: RowError) -> Refused | None:
        """The row of the quarantine by which a person left this very error alone."""
        for one in self.rows.get(error.pnpid or 0, ()):
            if one.ignored is not None and one.key == key_of(error) and one.digest == digest_of(error):
                return one
        return None

    def _waits(self, known: Sequence[Refused], step: Step) -> list[Refused]:
        """The refusals of just this step, if it is not offered now."""
        offer = offer_of(step).hex()
        refused = [one for one in known if one.offered and offer and one.digest == offer]
        due = any(
            one.ignored is None and (self.all_due or self.now >= one.next_try_at - 0.001) for one in refused
        )
        return [] if due else refused

    def _sort(
        self, known: Sequence[Refused], errors: Sequence[RowError]
    ) -> tuple[list[RowError], list[Refused]]:
        """Errors that are reported, and refusals that a person left alone."""
        left: list[RowError] = []
        ignored: list[Refused] = []
        for error in errors:
            found = self.ignored(error)
            if found is None:
                left.append(error)
            else:
                ignored.append(found)
        return left, ignored

    def _without(
        self,
        decision: Decision,
        kept: Sequence[Step],
        errors: Sequence[RowError],
        ignored: Sequence[Refused],
    ) -> Decision:
        dropped = [step for step in decision.steps if step not in kept]
        held = any(not isinstance(step, Push) for step in dropped)
        pushed = any(isinstance(step, Push) for step in dropped)
        amounts = decision.amounts
        fate, push = decision.fate, decision.push
        refused_here = held or fate is Fate.ERRORS
        if held:
            amounts = Amounts(push_updates=amounts.push_updates, push_blanks=amounts.push_blanks)
        if pushed:
            amounts = msgspec.structs.replace(amounts, push_updates=0, push_blanks=0)
        if fate is not None and refused_here:
            fate = Fate.ERRORS if any(error.into == "synapse" for error in errors) else Fate.SKIPPED
        if push is not None and (pushed or push is Fate.ERRORS):
            push = Fate.ERRORS if any(error.into == "plant3d" for error in errors) else Fate.SKIPPED
        return msgspec.structs.replace(
            decision,
            steps=tuple(kept),
            errors=tuple(errors),
            findings=(*decision.findings, *map(told_of, ignored)),
            fate=fate,
            push=push,
            archived=decision.archived and not held,
            released=None if held else decision.released,
            waits=True,
            uncompared=decision.uncompared or held,
            amounts=amounts if fate is not None else NO_AMOUNTS,
        )


def _is_unseen(one: Refused, decision: Decision) -> bool:
    """Whether a person left the row alone and its item was compared, but for just this field: what was said stands."""
    names = decision.looked_at
    return (
        one.ignored is not None
        and bool(one.key.field)
        and bool(names)
        and not {WHOLE, one.key.field} & {*names}
    )


NOTHING_REFUSED = Quarantine()


def told_of(one: Refused) -> Finding:
    """What is said of a row that a person left alone, in place of the error."""
    by = one.ignored
    if by is None:
        raise AssertionError("only of rows that somebody ignores")
    day = datetime.fromtimestamp(by.at, UTC).date().isoformat()
    return Finding(
        code=IGNORED,
        message=f"Left alone since {day} by {by.by} ({by.reason}): {one.error.message}",
        hint="It is tried again at once when the value moves, or by `plant3d-sync quarantine retry`.",
        pnpid=one.key.pnpid,
        class_name=one.error.class_name,
        column=one.key.field or None,
        tag=one.error.tag,
        data={"code": one.key.code, "quarantine": one.number},
    )
