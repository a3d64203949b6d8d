"""Plant 3D: open a project database, copy one moment of it, discover its classes, read its items."""

from __future__ import annotations

from plant3d_sync.connectors.plant3d.copy import file_guard
from plant3d_sync.connectors.plant3d.guid import guid_bytes, guid_text
from plant3d_sync.connectors.plant3d.inspect import inspect_source
from plant3d_sync.connectors.plant3d.open import SqliteSource, copy_kind, open_source
from plant3d_sync.connectors.plant3d.snapshot import Snapshot

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
