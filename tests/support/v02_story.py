"""Stories whose SYNAPSE is a 0.2: its people act on the double, in the words of every other story."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plant3d_sync.synapse_dev.v02.main import Running
from tests.support.freezer import Freezer
from tests.support.state import empty_state
from tests.support.story import ARCHIVING, Story
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import Row, World


@dataclass(slots=True, kw_only=True)
class V02World(World):
    """A world on a SYNAPSE 0.2."""

    running: Running

    def assets(self) -> list[Row]:
        """Every asset in the form of the contract; what we marked as archived is archived."""
        return [shown(row) for row in self.running.backend.assets(self.uuid)]

    def writes(self) -> int:
        """Calls that changed an asset."""
        return self.running.backend.writes

    def user_edits(self, asset_id: str, **values: Any) -> Row:
        """Somebody changes an asset in a screen of SYNAPSE."""
        values.pop("_by", None)
        return self.running.backend.edit(asset_id, **values)

    def user_adds(self, **values: Any) -> Row:
        """Somebody makes an asset in a screen of SYNAPSE."""
        kind = str(values.pop("asset_type", "PUMP"))
        asset_id = self.running.backend.create(self.uuid, values.pop("tag"), kind, **values)
        return shown(self.running.backend.heap.rows[asset_id])


def shown(row: Row) -> Row:
    """An asset of 0.2 as the contract would show it."""
    ours = (row["mechanical"] or {}).get("plant3d_sync", {})
    return {
        **row,
        "plant3d_id": ours.get("plant3d_id"),
        "attributes": ours.get("attributes", {}),
        "deleted_at": "marked" if ours.get("archived") else None,
    }


def v02_story(folder: Path, running: Running, template: Path, freezer: Freezer, **options: Any) -> Story:
    """A story before its first run, in a project of its own. `options`: settings of the project."""
    folder.mkdir(parents=True)
    here = replace(running, project=running.backend.add_project())
    world = V02World(
        folder=folder,
        synapse=RunningSynapse(url=here.url, api_key="", project=here.project),
        uuid=here.project,
        url=here.url,
        options={"write": "sql", "drawings_unseen": "closed", "missing": ARCHIVING, **options},
        top={"synapse": {"url": here.url, "api": "v0.2", "requests_per_second": 0}},
        env={"SYNAPSE_USER": here.user, "SYNAPSE_PASSWORD": here.password},
        running=here,
    )
    shutil.copyfile(template, world.dcf)
    world.state.write_bytes(empty_state())
    world.configure()
    return Story(world=world, freezer=freezer)
