"""Fields whose value in SYNAPSE we never kept: the asset is read before anything is decided about them."""

from __future__ import annotations

from typing import Final

from plant3d_sync.connectors.base import SynapsePort
from plant3d_sync.model.link import Link, LinkState
from plant3d_sync.model.record import Asset, PlantItem
from plant3d_sync.model.rules import RuleSet

MOST_READS: Final = 200
"""Assets read one by one in a run. A changed mapping reads the whole feed; only what that run could not compare is left."""


class UnreadFields:
    """Reads assets of which some field is unknown, a limited number in a run; the next run goes on."""

    def __init__(self, synapse: SynapsePort, rules: RuleSet, most: int = MOST_READS) -> None:
        self._synapse = synapse
        self._rules = rules
        self._left = most

    def asset_of(self, link: Link, item: PlantItem) -> Asset | None:
        """The asset as SYNAPSE holds it now, if the link lacks a field that Plant 3D's side may decide; else None."""
        if link.state is LinkState.ARCHIVED or link.archived_in_synapse or not self._lacks(link, item):
            return None
        if self._left <= 0:
            return None
        self._left -= 1
        return self._synapse.get(link.asset_id)

    def _lacks(self, link: Link, item: PlantItem) -> bool:
        if link.base is None:
            return False
        held = link.synapse_fields()
        wanted = self._rules.classes[item.class_name].groups.of_us - held.keys()
        return bool(wanted) and not self._rules.translate[item.class_name](item).fields.keys().isdisjoint(
            wanted
        )
