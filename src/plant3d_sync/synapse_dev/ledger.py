"""Counts what the integration API wrote since this process started, for "the second run writes nothing"."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import TypedDict

from plant3d_sync.synapse_dev.batch import STATUSES

RECENT = 100


class ProjectWrites(TypedDict):
    requests: int
    items: int
    effective: int


class WriteLedger:
    """Accepted write requests (batches and patches), their items, and how many assets really changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._items = self._effective = self._replays = 0
        self._by_project: dict[str, ProjectWrites] = {}
        self._by_status: Counter[str] = Counter()
        self._recent: deque[dict[str, object]] = deque(maxlen=RECENT)

    def wrote(self, *, project_id: str, request_id: str, key: str | None, counts: Mapping[str, int]) -> None:
        """Note one committed request; `key` is its idempotency key (None: a patch)."""
        items = sum(counts.values())
        effective = sum(counts.get(status, 0) for status in ("created", "updated", "archived"))
        with self._lock:
            self._requests += 1
            self._items += items
            self._effective += effective
            self._by_status.update(counts)
            project = self._by_project.setdefault(project_id, {"requests": 0, "items": 0, "effective": 0})
            project["requests"] += 1
            project["items"] += items
            project["effective"] += effective
            kept = {status: count for status, count in counts.items() if count}
            self._recent.append(
                {"request_id": request_id, "project_id": project_id, "key": key, "counts": kept}
            )

    def replayed(self) -> None:
        """Note a repeated request that was answered from its record."""
        with self._lock:
            self._replays += 1

    def report(self) -> dict[str, object]:
        with self._lock:
            return {
                "requests": self._requests,
                "replays": self._replays,
                "items": self._items,
                "effective": self._effective,
                "by_project": {project: dict(writes) for project, writes in self._by_project.items()},
                "by_status": {status: self._by_status[status] for status in STATUSES},
                "recent": list(self._recent),
            }
