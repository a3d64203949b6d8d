"""What we know of a SYNAPSE 0.2 project since the last full read, our own writes included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping

import msgspec
import orjson

from plant3d_sync.connectors.synapse_v02.wire import Raw

_KEPT = ("id", "tag", "type", "description", "mechanical")
_LONG_AGO = -1e9


class _Entry(msgspec.Struct, gc=False):
    """One asset; `text` holds it as JSON, which is a fifth of the memory. Empty for one that cannot be shown."""

    tag: str
    text: bytes
    read_at: float


class Index:
    """Assets by id, by tag and by identity. Used by several threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._tags: dict[str, str] = {}
        self._identities: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()
        self.is_filled = False

    def __len__(self) -> int:
        return len(self._entries)

    def fill(
        self, rows: Mapping[str, Raw], unshown: Mapping[str, Raw], owners: Mapping[str, str], at: float
    ) -> None:
        """Replace everything by one full read. `owners`: identity -> asset id."""
        with self._lock:
            self._entries = {one: _entry(row, at) for one, row in rows.items()}
            for asset_id, flat in unshown.items():
                self._entries[asset_id] = _Entry(flat["tag"], b"", _LONG_AGO)
            self._tags = {entry.tag: asset_id for asset_id, entry in self._entries.items()}
            self._owners = dict(owners)
            self._identities = {asset_id: plant3d_id for plant3d_id, asset_id in owners.items()}
            self.is_filled = True

    def put(self, row: Raw, plant3d_id: str | None = None) -> None:
        """An asset as it was just read or answered."""
        with self._lock:
            asset_id = row["id"]
            old = self._entries.get(asset_id)
            if old is not None and self._tags.get(old.tag) == asset_id:
                del self._tags[old.tag]
            self._entries[asset_id] = _entry(row, self._monotonic())
            self._tags[row["tag"]] = asset_id
            if plant3d_id is not None:
                self._owners[plant3d_id] = asset_id
                self._identities[asset_id] = plant3d_id

    def forget(self, asset_id: str) -> None:
        """An asset that is not there any more."""
        with self._lock:
            old = self._entries.pop(asset_id, None)
            if old is not None and self._tags.get(old.tag) == asset_id:
                del self._tags[old.tag]
            plant3d_id = self._identities.pop(asset_id, None)
            if plant3d_id is not None:
                self._owners.pop(plant3d_id, None)

    def age(self, asset_id: str) -> None:
        """What we know of it may be old."""
        entry = self._entries.get(asset_id)
        if entry is not None:
            entry.read_at = _LONG_AGO

    def has(self, asset_id: str) -> bool:
        """Whether there is such an asset, as far as we know."""
        return asset_id in self._entries

    def row(self, asset_id: str) -> Raw | None:
        """The asset as last read; None if it is not there or cannot be shown."""
        entry = self._entries.get(asset_id)
        if entry is None or not entry.text:
            return None
        row: Raw = orjson.loads(entry.text)
        return row

    def count_but(self, types: Collection[str]) -> int:
        """How many assets that can be shown have another `type` than these."""
        with self._lock:
            texts = [entry.text for entry in self._entries.values() if entry.text]
        return sum(orjson.loads(text)["type"] not in types for text in texts)

    def is_fresh(self, asset_id: str, seconds: float) -> bool:
        """Whether it was read within the last seconds."""
        entry = self._entries.get(asset_id)
        return entry is not None and self._monotonic() - entry.read_at < seconds

    def holder(self, tag: str) -> str | None:
        """Who has this tag, whether shown, archived or hidden."""
        return self._tags.get(tag)

    def identity(self, asset_id: str) -> str | None:
        """The identity of an asset of ours."""
        return self._identities.get(asset_id)

    def asset_of(self, plant3d_id: str) -> str | None:
        """The asset that has this identity."""
        return self._owners.get(plant3d_id)

    def is_free(self, asset_id: str) -> bool:
        """Whether it can be shown and belongs to no item."""
        entry = self._entries.get(asset_id)
        return entry is not None and bool(entry.text) and asset_id not in self._identities


def _entry(row: Raw, at: float) -> _Entry:
    return _Entry(row["tag"], orjson.dumps({name: row.get(name) for name in _KEPT}), at)
