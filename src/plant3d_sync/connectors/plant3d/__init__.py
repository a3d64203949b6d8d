"""Plant 3D: one wing reads a project, the other one writes into it; what both need stands here, at the door."""

from __future__ import annotations

from plant3d_sync.connectors.plant3d.guid import guid_bytes, guid_text
from plant3d_sync.connectors.plant3d.reading.copy import file_guard
from plant3d_sync.connectors.plant3d.reading.inspect import inspect_source
from plant3d_sync.connectors.plant3d.reading.open import SqliteSource, copy_kind, open_source
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot

__all__ = [
    "Snapshot",
    "SqliteSource",
    "copy_kind",
    "file_guard",
    "guid_bytes",
    "guid_text",
    "inspect_source",
    "open_source",
]
