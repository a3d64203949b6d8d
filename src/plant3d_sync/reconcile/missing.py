"""A missing item is a question, not a deletion."""

from __future__ import annotations

import msgspec

from plant3d_sync.model.link import LinkState, Missing
from plant3d_sync.model.moment import moment, posix
from plant3d_sync.model.plan import MissingPolicy


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """What one more read without the item means."""

    state: LinkState
    missing: Missing
    archive: bool
    """Whether an archive step belongs in the plan."""
    unattended: bool
    """Whether an unattended run may carry the archive out."""


def step(
    *,
    state: LinkState,
    missing: Missing | None,
    policy: MissingPolicy,
    now: str,
    signature: str | None,
    older: bool = False,
) -> Absence:
    """Count one complete read that did not show the item. `now` is UTC in ISO form.

    A read counts when the source changed since the last counted one, or at least `policy.minutes` passed.
    After `policy.reads` counted reads, and not before `policy.minutes` lie between the first read without the item
    and this one, the item is pending; from then on the plan holds an archive step, which an unattended run carries
    out only under the policy "archive". `older`: the read showed rows of an earlier day: what an older copy lacks is
    archived by a person only. Count and duration both hold: three saves within a minute prove no absence.
    """
    if missing is None:
        missing = Missing(since=now, reads=1, last_counted=now, signature=signature, older=older)
    elif _counts(missing, policy, now, signature):
        reads, older = missing.reads + 1, missing.older or older
        missing = Missing(
            since=missing.since, reads=reads, last_counted=now, signature=signature, older=older
        )
    pending = missing.reads >= policy.reads and _minutes(missing.since, now) >= policy.minutes
    return Absence(
        state=LinkState.PENDING if pending else LinkState.MISSING,
        missing=missing,
        archive=pending and policy.policy != "keep",
        unattended=policy.policy == "archive" and not missing.older,
    )


def next_step(missing: Missing, policy: MissingPolicy) -> float:
    """When a read of a source that did not change next brings an item that is missed, and not yet pending, a step on.

    POSIX seconds. Later reads of the same source change nothing before that.
    """
    last = missing.last_counted if missing.reads < policy.reads else missing.since
    return posix(last) + policy.minutes * 60


def _counts(missing: Missing, policy: MissingPolicy, now: str, signature: str | None) -> bool:
    if signature is not None and signature != missing.signature:
        return True
    return _minutes(missing.last_counted, now) >= policy.minutes


def _minutes(since: str, now: str) -> float:
    """Minutes between two ISO times; negative when the clock was set back."""
    return (moment(now) - moment(since)).total_seconds() / 60
