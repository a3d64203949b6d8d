"""What the history says of a step once it is done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plant3d_sync.model.record import Asset, Value
from plant3d_sync.model.step import Archive, Create, ToSynapse
from plant3d_sync.state import intents
from plant3d_sync.state.codec import dump
from plant3d_sync.state.intents import ChangeRow


class Call(msgspec.Struct, frozen=True):
    """One call to SYNAPSE, as the history names it: number of the project, run, intent, POSIX seconds."""

    number: int
    run_id: str
    intent_id: int
    at: float


def change_row(
    call: Call, step: ToSynapse, outcome: str, *, link_id: int | None, asset: Asset | None
) -> ChangeRow:
    """The change entry of one written asset: field -> [old, new as read back, the rule that decided]."""
    sent: Mapping[str, Value] = {} if isinstance(step, Archive) else step.set
    was: Mapping[str, Value] = {} if isinstance(step, Create | Archive) else step.was
    why: Mapping[str, str] = {} if isinstance(step, Create) else step.why
    fields = {
        name: [was.get(name), asset.fields.get(name) if asset is not None else value]
        for name, value in sent.items()
    }
    return {
        "project": call.number,
        "run_id": call.run_id,
        "intent_id": call.intent_id,
        "link_id": link_id,
        "pnpid": step.pnpid,
        "tag": asset.tag if asset is not None and asset.tag else step.tag,
        "side": "synapse",
        "op": step.op.value,
        "outcome": outcome,
        "fields": dump(intents.fields_with_why(fields, why)) or "{}",
        "at": call.at,
    }
