"""A full read of SYNAPSE 0.2 that is proved, or says that it is not.

The list has no order: on a large table each page counts from another place, so pages lose assets and give others
twice, and the number of rows is right all the same. Only distinct ids against a count tell. Where pages lose rows,
asking for the first page again and again walks the table. The CSV export is complete and shows what the list cannot.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final
from urllib.parse import quote

import msgspec

from plant3d_sync.connectors.synapse import errors as contract_errors
from plant3d_sync.connectors.synapse_v02 import errors, wire
from plant3d_sync.connectors.synapse_v02.http import CONNECTIONS, Http, Reply
from plant3d_sync.connectors.synapse_v02.wire import Raw

PAGE: Final = 1000
MOST_SINGLES: Final = 2000
"""Assets read one by one in a full read; a read that lacks more is not complete."""
NO_NEWS: Final = 3
"""Calls of a walk that may bring nothing new before it ends."""
_WALK_LIMIT: Final = 20
"""Calls of a walk for each page that the table has; it needs one and a half."""
_PIECES: Final = 8
_LIST_ROW: Final = 0.012
"""What an asset in a list costs the server, in single reads."""

_WALKED: set[tuple[str, str]] = set()
"""Addresses and projects whose pages lost rows, as this process met them: read by a walk from the beginning."""


class Reading(msgspec.Struct, kw_only=True):
    """What one full read brought. `hidden`: soft-deleted ids; `poisoned`: ids that SYNAPSE cannot show, with the flat
    fields of the export. `complete`: what is in none of the three is not there.
    """

    rows: dict[str, Raw] = msgspec.field(default_factory=dict)
    hidden: dict[str, Raw] = msgspec.field(default_factory=dict)
    poisoned: dict[str, Raw] = msgspec.field(default_factory=dict)
    complete: bool = False
    how: str = "pages"


class Reader:
    """Reads one project."""

    def __init__(
        self, http: Http, *, page: int = PAGE, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._page_size = page
        self.monotonic = monotonic

    # ---------------------------------------------------------------- everything

    def everything(self) -> Reading:
        """All assets of the project; repeated once if somebody writes meanwhile."""
        reading = self._once()
        if not reading.complete:
            again = self._once()
            again.rows = {**reading.rows, **again.rows} if not again.complete else again.rows
            reading = again
        return reading

    def _once(self) -> Reading:
        before = self.count()
        reading = Reading()
        walks = (self._http.url, self._http.project_id) in _WALKED
        whole = True
        if not walks:
            whole = self._pages(reading)
            after = self.count()
            if whole and before is not None and len(reading.rows) == before == after:
                reading.complete = True
                return reading
        if whole and (walks or before is None or len(reading.rows) < before):
            self._walk(reading, before)
            if before is not None and len(reading.rows) == before == self.count():
                _WALKED.add((self._http.url, self._http.project_id))
                reading.how, reading.complete = "walk", True
                return reading
        self._by_export(reading)
        return reading

    def count(self) -> int | None:
        """How many assets the project has, soft-deleted ones included; None if SYNAPSE does not say."""
        reply = self._http.get("/admin/stats")
        value = reply.json() if reply.status == 200 else None
        if not isinstance(value, dict):
            return None
        for part in (value, *(inner for inner in value.values() if isinstance(inner, dict))):
            for name in ("assets", "total_assets", "asset_count", "assets_count"):
                if type(part.get(name)) is int:
                    return int(part[name])
        return None

    def _pages(self, reading: Reading) -> bool:
        """One pass by offset. False if a part of it cannot be shown."""
        skip, whole = 0, True
        while True:
            got, good = self._part(skip, self._page_size)
            reading.rows.update((row["id"], row) for row in got)
            whole = whole and good
            if good and len(got) < self._page_size:
                return whole
            skip += self._page_size
            if not good and not got and self._page_is_past_the_end(skip):
                return False

    def _page_is_past_the_end(self, skip: int) -> bool:
        reply = self._list(skip, 1)
        return reply.status == 200 and not _assets(reply)

    def _part(self, skip: int, limit: int) -> tuple[list[Raw], bool]:
        """Rows of a part of the list; a part with a row that cannot be shown is cut smaller and smaller."""
        reply = self._list(skip, limit)
        if reply.status == 200:
            return self._read(reply), True
        if reply.status != 500:
            raise self._unusable(reply)
        if limit == self._page_size:
            self.alive()
        if limit == 1:
            return [], False
        rows: list[Raw] = []
        step = max(1, -(-limit // _PIECES))
        for start in range(skip, skip + limit, step):
            got, _ = self._part(start, min(step, skip + limit - start))
            rows += got
        return rows, False

    def _walk(self, reading: Reading, count: int | None) -> None:
        """Ask for the first page until nothing new comes: each scan starts where the last one stopped."""
        quiet = calls = 0
        pages = (count or len(reading.rows)) // self._page_size + 1
        while quiet < NO_NEWS and (count is None or len(reading.rows) < count):
            calls += 1
            if calls > _WALK_LIMIT * pages + NO_NEWS:
                return
            reply = self._list(0, self._page_size)
            if reply.status != 200:
                return
            known = len(reading.rows)
            reading.rows.update((row["id"], row) for row in self._read(reply))
            quiet = quiet + 1 if len(reading.rows) == known else 0

    def _by_export(self, reading: Reading) -> None:
        """The ids of the export say what is missing; each of those is read by itself."""
        before = self.count()
        exported = self.exported()
        reading.how = "export"
        missing = [asset_id for asset_id in exported if asset_id not in reading.rows]
        if len(missing) > MOST_SINGLES:
            return
        for asset_id, reply in self._singles(missing):
            value = reply.json() if reply.status == 200 else None
            if isinstance(value, dict) and wire.is_asset(value):
                reading.rows[asset_id] = value
            elif reply.status == 404:
                reading.hidden[asset_id] = exported[asset_id]
            elif reply.status == 500:
                reading.poisoned[asset_id] = exported[asset_id]
            else:
                raise self._unusable(reply)
        gone = [asset_id for asset_id in reading.rows if asset_id not in exported]
        for asset_id in gone:
            del reading.rows[asset_id]
        after = self.count()
        reading.complete = before == after and (after is None or after == len(exported))

    def exported(self) -> dict[str, Raw]:
        """id -> flat fields, of every asset, hidden and unreadable ones included."""
        reply = self._http.get("/import_export/export")
        if reply.status != 200:
            raise self._unusable(reply)
        table = csv.DictReader(io.StringIO(reply.body.decode("utf-8", "replace"), newline=""))
        found: dict[str, Raw] = {}
        for line in table:
            if line.get("id"):
                found[line["id"]] = {
                    "id": line["id"],
                    "tag": line.get("tag") or "",
                    "description": line.get("description") or None,
                    "type": line.get("type") or "",
                }
        return found

    # ---------------------------------------------------------------- some of it

    def single(self, asset_id: str) -> Reply:
        """One asset, as SYNAPSE answers: 200, 404, or 500 for one that it cannot show."""
        reply = self._http.get(f"/assets/{quote(asset_id, safe='')}")
        if reply.status not in (200, 404, 500):
            raise self._unusable(reply)
        if reply.status == 200 and not wire.is_asset(reply.json()):
            raise errors.gave_up(self._http.url, "an unusable answer: not an asset", None)
        return reply

    def some(self, asset_ids: Sequence[str], total: int) -> Iterator[tuple[str, Raw | None, int]]:
        """Each of these as it is now: id, the asset or None, and the status. The cheaper of two ways is taken."""
        wanted = set(asset_ids)
        pages = total // self._page_size + 1
        if len(wanted) > CONNECTIONS and pages + total * _LIST_ROW < len(wanted):
            for start in range(0, total + 1, self._page_size):
                reply = self._list(start, self._page_size)
                if reply.status != 200:
                    break
                for row in self._read(reply):
                    if row["id"] in wanted:
                        wanted.discard(row["id"])
                        yield row["id"], row, 200
        for asset_id, reply in self._singles([one for one in asset_ids if one in wanted]):
            value = reply.json() if reply.status == 200 else None
            yield asset_id, value if isinstance(value, dict) else None, reply.status

    def _singles(self, asset_ids: Iterable[str]) -> list[tuple[str, Reply]]:
        ids = list(dict.fromkeys(asset_ids))
        if len(ids) < 2:
            return [(one, self.single(one)) for one in ids]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            futures = [pool.submit(copy_context().run, self.single, one) for one in ids]
            try:
                return [(one, future.result()) for one, future in zip(ids, futures, strict=True)]
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    # ---------------------------------------------------------------- the beginning

    def alive(self) -> None:
        """The project is there and the database answers. Raises ConfigError for an unknown project."""
        reply = self._http.get(f"/projects/projects/{self._http.project_id}")
        if reply.status == 404:
            raise contract_errors.project_unknown(
                self._http.url, self._http.project_id, None, {"status": reply.status}
            )
        if reply.status != 200:
            raise self._unusable(reply)

    def _list(self, skip: int, limit: int) -> Reply:
        return self._http.get("/assets/", {"skip": str(skip), "limit": str(limit)})

    def _read(self, reply: Reply) -> list[Raw]:
        rows = _assets(reply)
        if not all(wire.is_asset(row) for row in rows):
            raise errors.gave_up(self._http.url, "an unusable answer: not a list of assets", None)
        return rows

    def _unusable(self, reply: Reply) -> Exception:
        if reply.status >= 500:
            return errors.gave_up(self._http.url, f"it answered {reply.status}", None)
        return contract_errors.refused(
            self._http.url, reply.status, reply.detail[:200], None, {"status": reply.status}
        )


def _assets(reply: Reply) -> list[Raw]:
    value = reply.json()
    return value if isinstance(value, list) else [{}]


def by_identity(
    rows: Mapping[str, Raw], project_id: str, known: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """asset id -> identity, and identity -> asset id. `known`: asset id -> identity by our own links.

    The link table knows best; then what the asset says of itself. Of two assets that claim one identity (somebody copied
    one of ours, namespace and all) the linked one has it, else the one whose id we chose.
    """
    owner: dict[str, str] = {}
    for asset_id, plant3d_id in known.items():
        if asset_id in rows:
            owner[plant3d_id] = asset_id
    linked = {asset_id: plant3d_id for plant3d_id, asset_id in owner.items()}
    claims: dict[str, list[str]] = {}
    for asset_id, row in rows.items():
        ours = None if asset_id in linked else wire.namespace_of(row)
        if ours is not None and ours["plant3d_id"] not in owner:
            claims.setdefault(ours["plant3d_id"], []).append(asset_id)
    for plant3d_id, claimants in claims.items():
        chosen = wire.asset_id_of(project_id, plant3d_id)
        owner[plant3d_id] = chosen if chosen in claimants else min(claimants)
    return {asset_id: plant3d_id for plant3d_id, asset_id in owner.items()}, owner
