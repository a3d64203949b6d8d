"""Conflicts: list them, show one, and let a person choose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict

import msgspec

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import known
from plant3d_sync.model.record import Value
from plant3d_sync.model.side import Side
from plant3d_sync.run.project import World, iso
from plant3d_sync.state import Connection, State, audit, links, seals
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.words import said

CHOICES = ("plant3d", "synapse", "manual")

KINDS = {
    "both_changed": "Both sides changed the field since they last agreed.",
    "first_sync_differs": "The two sides never agreed on this field and hold different values.",
    "flip_flop": "The field was written back and forth between the same two values; it is frozen.",
    "reverted": "Plant 3D holds again what it held before we wrote there: a session that was still open may have saved "
    "its old copy, or a designer put it back. Neither value is written until somebody decides; reopen the drawing first.",
    "older_copy": "The item's row in Plant 3D is of an earlier day than we have seen it: an older copy of the database was "
    "put back. Its value is nobody's edit; neither value is written until somebody decides.",
    "older_synapse": "The asset is an earlier version than we have seen: a backup of SYNAPSE was restored. Its value is "
    "nobody's edit; neither value is written until somebody decides.",
    "other_row": "Another group stands for the line in Plant 3D since the question came up. What is shown as Plant 3D's value "
    "stood in the group that is gone; it is written into the other one if it is chosen.",
    "choice_void": "A person decided, and before that was carried out one side took back what the decision was made on. It is "
    "void; neither value is written until somebody decides.",
    "answer_lost": "The value of Plant 3D was sent to SYNAPSE, the answer was lost, and SYNAPSE does not keep it any more. The "
    "asset was changed since and holds the old value: it was typed back, or the new one never arrived.",
    "mapping_changed": "The mapping takes the field from another place in Plant 3D, which nobody edited, and the field was "
    "edited in SYNAPSE.",
    "compared_otherwise": "Both sides agreed on two spellings that counted as the same; the mapping tells them apart now. "
    "Nobody edited the field.",
    "archived_in_synapse": "The asset is archived in SYNAPSE while the item lives in Plant 3D.",
    "gone_from_plant3d": "The item is gone from Plant 3D while the asset was edited in SYNAPSE.",
    "shows_through": "The field was emptied in SYNAPSE, and in Plant 3D another column of it stands behind the one that would "
    "be emptied. Nothing is written; choose Plant 3D's value, or have a designer empty both columns.",
    "workbook_timeout": "The value has waited too long for an import into Plant 3D.",
    "blank_against_edit": "One side was emptied and the other was edited.",
    "changed_at_about_the_same_time": "Both sides changed the field, too close together to say which was last.",
    "plant3d_change_not_observed": "Both sides changed the field; when Plant 3D's did is not known.",
    "our_clock_went_back": "Both sides changed the field; our own clock was set back meanwhile, so no time counts.",
    "synapse_time_missing": "Both sides changed the field; SYNAPSE does not say when.",
    "clock_skew_unknown": "Both sides changed the field; how far SYNAPSE's clock is off is not known yet.",
    "synapse_time_implausible": "Both sides changed the field; SYNAPSE's time for it cannot be right.",
}
"""What each kind of conflict means, in words."""

SUGGESTED = {
    "plant3d_saved_later": "By what both sides say, the row in Plant 3D was saved after the edit in SYNAPSE. That proves "
    "nothing: a row is also saved for other reasons.",
    "synapse_edited_later": "By what both sides say, SYNAPSE was edited after the row in Plant 3D was saved; one of the two "
    "clocks may be wrong.",
    "plant3d_changed_later": "Plant 3D was changed later.",
    "synapse_changed_later": "SYNAPSE was changed later.",
    "says_more": "No time says which was last; this side holds the longer text.",
    "nobody_edited_plant3d": "Nobody edited Plant 3D.",
    "the_other_side_is_newer": "The other side is of an earlier day.",
    "perhaps_typed_back": "Somebody may have typed the old value back in SYNAPSE.",
    "put_back_after_our_write": "What Plant 3D holds is older than what was written there.",
    "frozen_after_put_back": "Plant 3D put our write back more than once.",
}
"""Why a side is suggested, in words."""


class ConflictDocument(TypedDict):
    """A question as people and programs see it; its members are those of the interface."""

    id: str
    project_id: str
    asset_id: str | None
    plant3d_id: str | None
    asset_tag: str
    field: str
    kind: str
    explanation: str
    base_value: Value
    has_base: bool | None
    plant3d_value: Value
    synapse_value: Value
    plant3d_updated_at: str | None
    synapse_updated_at: str | None
    plant3d_seen: list[str | None] | None
    synapse_seen: list[str | None] | None
    plant3d_by: str | None
    synapse_by: str | None
    drawing: str | None
    suggested_resolution: str
    suggested_reason: str | None
    suggested_explanation: str | None
    status: str
    detected_at: str | None
    resolution: str | None
    applied_value: Value
    note: str | None
    resolved_by: str | None
    resolved_at: str | None
    carried_out: bool
    void_reason: str | None
    version: int


class Resolved(TypedDict):
    """A stored choice: the value, and how far it got on each side."""

    status: str
    applied_value: Value
    applied_to: dict[str, str]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which conflicts are looked for; None means any. `tag` may hold `*` and `?`."""

    status: str = "pending"
    field: str | None = None
    tag: str | None = None
    kind: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the status is asked for."""
        return (self.field, self.tag, self.kind) != (None, None, None)

    def fits(self, row: conflict_state.ConflictRow) -> bool:
        """Whether it is one of those, whatever its status."""
        return (
            self.field in (None, row["field"])
            and self.kind in (None, row["kind"])
            and (self.tag is None or finding_state.fits(row["asset_tag"], self.tag))
        )


PENDING = Wanted()


def list_conflicts(
    state: State, project: str | None, wanted: Wanted = PENDING, *, limit: int = 100, offset: int = 0
) -> tuple[list[ConflictDocument], int]:
    """Conflicts, oldest first, and how many match."""
    if not wanted.is_narrow:
        with state.read() as connection:
            rows, total = conflict_state.conflicts(
                connection, project, status=wanted.status, limit=limit, offset=offset
            )
        return [conflict_document(row) for row in rows], total
    with state.read() as connection:
        rows, _total = conflict_state.conflicts(connection, project, status=wanted.status, limit=1_000_000)
    found = [row for row in rows if wanted.fits(row)]
    return [conflict_document(row) for row in found[offset : offset + limit]], len(found)


def find_conflict(state: State, conflict_id: str) -> ConflictDocument | None:
    """One conflict as a document, None if there is none."""
    with state.read() as connection:
        row = conflict_state.get_conflict(connection, conflict_id)
    return None if row is None else conflict_document(row)


def get_conflict(state: State, conflict_id: str) -> ConflictDocument:
    """One conflict as a document. Raises NotFoundError."""
    found = find_conflict(state, conflict_id)
    if found is None:
        raise NotFoundError(f"There is no conflict {conflict_id}.", hint="`plant3d-sync conflicts PROJECT`")
    return found


def conflict_document(row: conflict_state.ConflictRow) -> ConflictDocument:
    """The plan's fields and ours: base, both values, both times, both authors where known, a suggestion with its reason.

    `plant3d_updated_at` is the row's `PnPTimestamp`; it dates the row, not the field. `plant3d_seen` is the interval
    on our own clock in which the field changed: [last seen unchanged, first seen changed].
    """
    data = row["data"]
    return {
        "id": row["id"],
        "project_id": row["project"],
        "asset_id": row["asset_id"],
        "plant3d_id": row["plant3d_id"],
        "asset_tag": row["asset_tag"],
        "field": row["field"],
        "kind": row["kind"],
        "explanation": KINDS.get(row["kind"], row["kind"]),
        "base_value": data.get("base"),
        "has_base": data.get("has_base"),
        "plant3d_value": data.get("plant3d"),
        "synapse_value": data.get("synapse"),
        "plant3d_updated_at": ticks_iso(data.get("plant3d_ticks")),
        "synapse_updated_at": data.get("synapse_at"),
        "plant3d_seen": _interval(data.get("plant3d_seen")),
        "synapse_seen": _interval(data.get("synapse_seen")),
        "plant3d_by": None,
        "synapse_by": data.get("synapse_by"),
        "drawing": data.get("drawing"),
        "suggested_resolution": data.get("suggestion") or "manual",
        "suggested_reason": data.get("suggestion_reason"),
        "suggested_explanation": SUGGESTED.get(data.get("suggestion_reason") or ""),
        "status": row["status"],
        "detected_at": iso(row["detected_at"]),
        "resolution": row["resolution"],
        "applied_value": row["chosen"],
        "note": row["note"],
        "resolved_by": row["resolved_by"],
        "resolved_at": iso(row["resolved_at"]),
        "carried_out": row["carried_out"],
        "void_reason": row["void"],
        "version": row["version"],
    }


def _interval(seen: Sequence[float | None] | None) -> list[str | None] | None:
    return [iso(seen[0]), iso(seen[1])] if seen else None


def ticks_iso(ticks: int | None) -> str | None:
    """.NET ticks (100 ns since year 1, UTC) as RFC 3339; None for none or nonsense."""
    if not ticks or ticks < 0:
        return None
    try:
        when = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None
    return when.isoformat().replace("+00:00", "Z")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a person chose. `resolution`: one of `CHOICES`; `manual_value`: the value of a choice by hand."""

    resolution: str
    manual_value: Value = None
    note: str | None = None

    def check(self) -> None:
        """Raise NotFoundError `resolution_unknown` for a word that is none."""
        if self.resolution not in CHOICES:
            raise NotFoundError(
                f"{said(self.resolution)} is not a resolution. Nothing was decided.",
                hint="plant3d, synapse or manual.",
                code="resolution_unknown",
            )

    def value_for(self, row: conflict_state.ConflictRow) -> Value:
        """The value that it means; of a whole item, the side. Raises NotFoundError `resolution_unknown`."""
        if row["field"] != WHOLE:
            sides = {"plant3d": row["data"].get("plant3d"), "synapse": row["data"].get("synapse")}
            return sides.get(self.resolution, self.manual_value)
        if self.resolution == "manual":
            raise NotFoundError(
                "A whole item cannot be resolved by hand. Nothing was decided.",
                hint="Choose plant3d or synapse.",
                code="resolution_unknown",
            )
        return self.resolution


def resolve_conflict(
    world: World,
    conflict_id: str,
    choice: Choice,
    *,
    by: str = "cli",
    version: int | None = None,
    write_mode: str = "off",
) -> Resolved:
    """Store a person's choice; the next run carries it out on both sides.

    The choice is bound to the two values it was made between and is void once a side moves elsewhere.
    Raises NotFoundError; NeedsPersonError `conflict_moved` when somebody decided or a side moved since `version`.
    """
    choice.check()
    with world.state.write() as connection:
        row = conflict_state.get_conflict(connection, conflict_id)
        if row is None:
            raise NotFoundError(f"There is no conflict {conflict_id}. Nothing was decided.")
        seals.check_choices(
            connection, row["project"], conflict_id=conflict_id, nothing="Nothing was decided.", writing=True
        )
        if row["status"] != "pending" or (version is not None and version != row["version"]):
            raise _moved(row)
        chosen = choice.value_for(row)
        now = world.clock()
        what = conflict_state.Chosen(
            resolution=choice.resolution, value=chosen, note=choice.note, by=by, at=now
        )
        if not conflict_state.choose(connection, conflict_id, what, version=row["version"]):
            # somebody decided while we looked: tell what they decided
            raise _moved(conflict_state.get_conflict(connection, conflict_id) or row)
        _audit_choice(connection, row, choice, chosen, by=by, at=now)
        project_state.update(connection, row["project"], force_compare=True)
    failpoint("resolve.stored")
    return {
        "status": "resolved",
        "applied_value": chosen,
        "applied_to": applied_to(world.state, conflict_id, write_mode),
    }


def _audit_choice(
    connection: Connection,
    row: conflict_state.ConflictRow,
    choice: Choice,
    chosen: Value,
    *,
    by: str,
    at: float,
) -> None:
    audit.append(
        connection,
        row["project"],
        action="conflict.resolved",
        actor=by,
        at=at,
        conflict=row["id"],
        field=row["field"],
        tag=row["asset_tag"],
        resolution=choice.resolution,
        chosen=chosen,
        note=choice.note,
        plant3d=row["data"].get("plant3d"),
        synapse=row["data"].get("synapse"),
    )


def _moved(row: conflict_state.ConflictRow) -> NeedsPersonError:
    return NeedsPersonError(
        "The conflict was decided or one side moved since it was shown. Nothing was decided.",
        hint="Look at the new values and choose again.",
        code="conflict_moved",
        details={"current": conflict_document(row)},
    )


def applied_to(state: State, conflict_id: str, write_mode: str) -> dict[str, str]:
    """How far a choice got: applied, waiting, off (writing into Plant 3D is not allowed), or void: a side moved."""
    with state.read() as connection:
        row = conflict_state.get_conflict(connection, conflict_id)
        link = (
            links.by_ids(connection, [row["link_id"]]).get(row["link_id"])
            if row is not None and row["link_id"]
            else None
        )
    if row is None:
        raise NotFoundError(f"There is no conflict {conflict_id}.")
    if row["void"]:
        return {Side.PLANT3D.value: "void", Side.SYNAPSE.value: "void"}
    if row["field"] == WHOLE:
        done = "applied" if row["carried_out"] else "waiting"
        return {Side.PLANT3D.value: "applied", Side.SYNAPSE.value: done}
    chosen, data, name = row["chosen"], row["data"], row["field"]
    if row["carried_out"]:
        return {Side.PLANT3D.value: "applied", Side.SYNAPSE.value: "applied"}
    plant3d = data.get("plant3d")
    synapse = data.get("synapse")
    if link is not None:
        entry = link.pending.get(name)
        if entry is not None:
            plant3d, synapse = known(entry.plant3d), known(entry.synapse)
        synapse = link.synapse_fields().get(name, synapse)
    waiting = "off" if write_mode == "off" else "waiting"
    return {
        Side.PLANT3D.value: "applied" if plant3d == chosen else waiting,
        Side.SYNAPSE.value: "applied" if synapse == chosen else "waiting",
    }
