"""A link whose item a complete read did not show."""

from __future__ import annotations

from msgspec.structs import replace

from plant3d_sync.model.conflict import ARCHIVED_IN_SYNAPSE, GONE_FROM_PLANT3D, WHOLE
from plant3d_sync.model.link import Link, LinkState, Missing
from plant3d_sync.model.plan import MissingPolicy
from plant3d_sync.model.record import Finding
from plant3d_sync.model.side import Entity
from plant3d_sync.model.step import Absent, After, Archive, head
from plant3d_sync.reconcile import missing, questions
from plant3d_sync.reconcile.case import FOLLOWED, ITEM_GONE, SIDE_MOVED, Amounts, Decision
from plant3d_sync.reconcile.context import Context

_HERE = (LinkState.ACTIVE, LinkState.OUT)
"""States of a link whose item was not missed before."""

_WITHOUT_ITEM = {
    LinkState.ARCHIVED: (
        "restored_without_item",
        "Archived because its item is gone from Plant 3D, and restored in SYNAPSE since. Left alone.",
    ),
    LinkState.UNLINKED: (
        "kept_without_item",
        "The item is gone from Plant 3D; a person chose to keep the asset. Left alone.",
    ),
}
"""Links that are done with, as long as their asset lives: code and sentence of the finding."""

_NOTHING = Decision(uncompared=True, looked_at=(WHOLE,))


def decide(link: Link, on: Context, *, older: bool = False) -> Decision:
    """Missed, archived, asked about, or done with. `older`: this read showed rows of an earlier day.

    A line that is missed since the mapping tells lines apart otherwise is archived by a person only.
    """
    if link.class_name not in on.rules.classes:
        if link.state is LinkState.OUT or link.state in _WITHOUT_ITEM:  # what a person said of it stands
            return _NOTHING
        return replace(_NOTHING, steps=(_absent(link, After(state=LinkState.OUT)),))
    if link.state in _WITHOUT_ITEM:
        return _lives_without_item(link)
    if (
        link.archived_in_synapse or link.lost_in_synapse
    ):  # gone on both sides: nothing is left to do or to ask
        return replace(
            _NOTHING,
            steps=(_absent(link, After(state=LinkState.ARCHIVED)),),
            released=link.tag,
            ends_questions=True,
        )
    if WHOLE in link.holds:
        told = _finding(
            link,
            "missing",
            "Not in Plant 3D. Archiving it was undone, so the asset stays.",
            "Archive it in SYNAPSE if it is not needed any more.",
        )
        return replace(_NOTHING, missing=True, findings=(told,))
    return _missed(link, on, older)


def _missed(link: Link, on: Context, older: bool) -> Decision:
    """Once more not seen: counted, and archived or asked about when that was often and long enough."""
    policy = on.know.missing
    absence = missing.step(
        state=link.state,
        missing=link.missing,
        policy=policy,
        now=on.know.now_iso,
        signature=on.know.signature,
        older=older,
    )
    since, edited = absence.missing, dict(link.synapse_delta)
    by_mapping = on.kind(link.class_name).entity is Entity.LINES and on.redefined(
        link, link.class_name, "tag"
    )
    after = After(state=absence.state, missing=since)
    told = _finding(
        link,
        "missing",
        f"Not in Plant 3D since {since.since} (counted reads: {since.reads}).{_of_line(link, on)}",
        _hint(policy, since, by_mapping=by_mapping),
    )
    choice = on.choice(link, GONE_FROM_PLANT3D)
    choices = on.void(link, ARCHIVED_IN_SYNAPSE, ITEM_GONE)
    if choice is not None:
        void = choice.synapse_value != questions.in_words(edited)
        choices += ((choice.conflict_id, SIDE_MOVED if void else FOLLOWED),)
        choice = None if void else choice
    missed = replace(
        _NOTHING,
        missing=True,
        waits=True,
        findings=(told,),
        choices=choices,
        amounts=Amounts(gone=link.state in _HERE),
    )
    if choice is not None and choice.chosen == "synapse":
        return replace(missed, steps=(_absent(link, After(state=LinkState.UNLINKED)),))
    if choice is not None:
        return _archive(missed, link, after, "resolved", unattended=True)
    if absence.archive and not edited:
        unattended = absence.unattended and not by_mapping
        return _archive(missed, link, after, "missing_confirmed", unattended=unattended)
    asked = (questions.gone_from_plant3d(link, edited),) if absence.archive else ()
    return replace(missed, steps=(_absent(link, after),), conflicts=asked)


def _of_line(link: Link, on: Context) -> str:
    return (
        f" No segment carries the line number {link.tag}."
        if link.class_name in on.rules.reading.lines
        else ""
    )


def _hint(policy: MissingPolicy, since: Missing, *, by_mapping: bool) -> str:
    if since.older:
        return (
            "Rows of the database went back to an earlier day: perhaps it was drawn after that day. "
            "Nothing is archived before a person applies the plan."
        )
    if by_mapping:
        return (
            "The mapping tells lines apart otherwise than when it was compared: perhaps it is part of another line now. "
            "Nothing is archived before a person applies the plan."
        )
    return "Nothing is archived before a person applies the plan." if policy.policy == "ask" else ""


def _archive(missed: Decision, link: Link, after: After, why: str, *, unattended: bool) -> Decision:
    step = Archive(**head(link), after=after, needs=None if unattended else "person", why={WHOLE: why})
    if not unattended:
        return replace(missed, steps=(step,))
    return replace(
        missed,
        steps=(step,),
        archived=True,
        released=link.tag,
        ends_questions=True,
        amounts=Amounts(gone=1),  # whether or not it was counted as it went missing, and once
    )


def _absent(link: Link, after: After) -> Absent:
    return Absent(**head(link), after=after)


def _lives_without_item(link: Link) -> Decision:
    """A person keeps the asset of an item that is gone: said in every run, nothing is done."""
    if link.archived_in_synapse or link.lost_in_synapse:
        return _NOTHING
    code, message = _WITHOUT_ITEM[link.state]
    told = _finding(
        link,
        code,
        message,
        "Archive the asset in SYNAPSE if it is not needed any more.",
        {"plant3d_id": link.plant3d_id, "asset_id": link.asset_id},
    )
    return replace(_NOTHING, findings=(told,))


def _finding(
    link: Link, code: str, message: str, hint: str, data: dict[str, object] | None = None
) -> Finding:
    return Finding(
        code=code,
        message=message,
        hint=hint,
        pnpid=link.pnpid,
        class_name=link.class_name,
        tag=link.tag,
        data=data or {},
    )
