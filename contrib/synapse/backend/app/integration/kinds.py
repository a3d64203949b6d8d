"""The word that SYNAPSE's own screens know for a kind of asset."""

from __future__ import annotations

SAVED_BY_SCREENS = ("INSTRUMENT", "MOTOR", "VALVE", "CONTROL_SYSTEM", "PUMP", "TANK")
"""The six words that `PUT /assets/{id}` and the bulk call accept; an asset of another type cannot be saved there."""

MACHINES = ("PUMP", "TANK", "MOTOR")


def type_word(asset_type: str, asset_subtype: str | None) -> str:
    """What goes into `assets.type` beside the contract's own pair.

    One of the six where there is one, so that the asset can be edited in SYNAPSE's screens; else the asset type in
    capitals.
    """
    word = asset_type.strip().upper().replace(" ", "_")[:50]
    if word == "EQUIPMENT" and asset_subtype:
        subtype = asset_subtype.upper().replace("-", " ").replace("_", " ")
        for machine in MACHINES:
            if machine in subtype:
                return machine
    return word
