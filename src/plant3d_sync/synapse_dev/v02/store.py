"""The assets of a SYNAPSE 0.2, in memory: one heap over all projects, unique tags, no time, no version.

The order of the heap is what lists show. An update moves its row to the end, as PostgreSQL writes a new version of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plant3d_sync.synapse_dev.v02.traps import Traps

Row = dict[str, Any]

SAVED_TYPES: Final = ("INSTRUMENT", "MOTOR", "VALVE", "CONTROL_SYSTEM", "PUMP", "TANK")
IO_TYPES: Final = (
    *("AI", "AO", "DI", "DO", "PROFIBUS", "ETHERNET", "HARDWIRED", "PROFINET", "ETHERNET_IP", "MODBUS_TCP"),
)
DATA_STATUSES: Final = ("FRESH_IMPORT", "IN_REVIEW", "VALIDATED", "ERROR")
VOLTAGES: Final = frozenset(("120v", "240v", "480v", "600v", "4160v", "24vdc", "120vac"))
TEXTS: Final = (
    "id",
    "tag",
    "type",
    "description",
    "area",
    "system",
    "ioType",
    "manufacturerPartId",
    "locationId",
    "packageId",
    "dataStatus",
)
OBJECTS: Final = ("mechanical", "electrical", "process", "purchasing")
SHOWN: Final = (*TEXTS, *OBJECTS)
EXPORTED: Final = {
    "id": "id",
    "tag": "tag",
    "description": "description",
    "type": "type",
    "area": "area",
    "system": "system",
    "io_type": "ioType",
    "manufacturer_part_id": "manufacturerPartId",
    "location_id": "locationId",
}
EXPORTED_KEYS: Final = (
    ("electrical", "voltage"),
    ("electrical", "powerKW"),
    ("electrical", "loadType"),
    ("process", "fluid"),
    ("process", "minRange"),
    ("process", "maxRange"),
    ("process", "units"),
    ("purchasing", "workPackageId"),
    ("purchasing", "status"),
)


class Integrity(Exception):
    """A constraint of the database, in its words."""


class Unserialisable(Exception):
    """A stored row that the answer's own rules refuse: a poisoned row."""


@dataclass(slots=True)
class Heap:
    """All rows of the table, in the order in which a scan meets them."""

    traps: Traps
    rows: dict[str, Row] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    stopped_at: int = 0
    """Where the last scan of the table stopped, as the next one learns it."""

    def page(self, project: str, skip: int, limit: int) -> list[Row]:
        """`OFFSET skip LIMIT limit` without an order: counted from wherever this scan begins."""
        found: list[Row] = []
        rows = list(self.rows.values())
        synchronized = self.traps.scan_threshold is not None and len(rows) > self.traps.scan_threshold
        start = min(self.stopped_at, len(rows)) if synchronized else 0
        at = start
        for step in range(len(rows)):
            at = (start + step) % len(rows)
            row = rows[at]
            if row["project_id"] != project or row["deleted"]:
                continue
            if skip:
                skip -= 1
                continue
            found.append(row)
            if len(found) == limit:
                break
        else:
            at = start
        if synchronized:
            grain = max(1, self.traps.scan_granularity)
            self.stopped_at = at // grain * grain if at - start >= grain or at < start else at
        return found

    def of(self, project: str) -> Iterator[Row]:
        """Every row of a project, soft-deleted ones included."""
        return (row for row in self.rows.values() if row["project_id"] == project)

    def live(self, project: str, asset_id: str) -> Row | None:
        """The row that the asset calls see."""
        row = self.rows.get(asset_id)
        return row if row and row["project_id"] == project and not row["deleted"] else None

    def insert(self, project: str, values: Mapping[str, Any]) -> Row:
        """A new row. Raises Integrity."""
        asset_id = values["id"] if values.get("id") is not None else str(uuid.uuid4())
        if project not in self.projects:
            raise Integrity('violates foreign key constraint "assets_project_id_fkey"')
        if asset_id in self.rows:
            raise Integrity('duplicate key value violates unique constraint "assets_pkey"')
        if (project, values["tag"]) in self.tags:
            raise Integrity('duplicate key value violates unique constraint "uix_project_tag"')
        self.check_references(values)
        row: Row = dict.fromkeys(SHOWN)
        row.update({name: value for name, value in values.items() if name in SHOWN})
        row.update(id=asset_id, project_id=project, deleted=False)
        row["dataStatus"] = row["dataStatus"] or "FRESH_IMPORT"
        self.rows[asset_id] = row
        self.tags[project, row["tag"]] = asset_id
        return row

    def update(self, row: Row, values: Mapping[str, Any]) -> Row:
        """Write the names given. Raises Integrity, and then nothing of this row is written."""
        for name in ("tag", "type"):
            if name in values and values[name] is None:
                raise Integrity(f'null value in column "{name}" violates not-null constraint: {row}')
        self.check_references(values)
        project = row["project_id"]
        tag = values.get("tag", row["tag"])
        if self.tags.get((project, tag), row["id"]) != row["id"]:
            raise Integrity('duplicate key value violates unique constraint "uix_project_tag"')
        del self.tags[project, row["tag"]]
        row.update({name: value for name, value in values.items() if name in SHOWN and name != "id"})
        self.tags[project, tag] = row["id"]
        if self.traps.updates_move_rows:
            self.rows[row["id"]] = self.rows.pop(row["id"])
        return row

    @staticmethod
    def check_references(values: Mapping[str, Any]) -> None:
        """There are no locations and packages here."""
        for name, constraint in (
            ("locationId", "assets_location_id_fkey"),
            ("packageId", "assets_package_id_fkey"),
        ):
            if values.get(name) is not None:
                raise Integrity(f'violates foreign key constraint "{constraint}"')

    def bulk(self, project: str, items: Iterable[Mapping[str, Any]]) -> list[Row]:
        """All or nothing. Flushed in the order of the primary keys, whatever order was asked for; ids that are not
        there are left out without a word.
        """
        known: list[tuple[Row, Mapping[str, Any]]] = []
        for item in items:
            row = self.rows.get(item["id"])
            if row is not None and row["project_id"] == project:
                known.append((row, item))
            elif not self.traps.skips_unknown_ids:
                raise Integrity(f"no such asset: {item['id']}")
        before = {row["id"]: dict(row) for row, _ in known}
        try:
            for row, item in sorted(known, key=lambda pair: str(pair[0]["id"])):
                self.update(row, item)
        except Integrity:
            for asset_id in before:
                row = self.rows[asset_id]
                self.tags.pop((project, row["tag"]), None)
            for asset_id, old in before.items():
                self.rows[asset_id].update(old)
                self.tags[project, old["tag"]] = asset_id
            raise
        return [row for row, _ in known]

    def remove_all(self, project: str) -> int:
        """Purge a project, as `DELETE /projects/projects/{id}/assets` does."""
        gone = [row["id"] for row in self.of(project)]
        for asset_id in gone:
            row = self.rows.pop(asset_id)
            del self.tags[project, row["tag"]]
        return len(gone)


def shown(row: Row) -> Row:
    """A row as the API answers it. Raises Unserialisable for a poisoned one."""
    fault = rule_broken(row)
    if fault:
        raise Unserialisable(fault[1])
    return {name: row[name] for name in (*SHOWN, "project_id")}


def rule_broken(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The member and the rule that its content breaks; requests and answers are held to the same ones."""
    electrical, process = values.get("electrical"), values.get("process")
    if isinstance(electrical, dict) and electrical.get("voltage") is not None:
        voltage = electrical["voltage"]
        if not isinstance(voltage, str) or voltage.replace(" ", "").lower() not in VOLTAGES:
            return "electrical", "voltage is not one of the known ones"
    if isinstance(process, dict):
        low, high = (_number(process.get(name)) for name in ("minRange", "maxRange"))
        if low is not None and high is not None and low >= high:
            return "process", "minRange must be less than maxRange"
    return None


def _number(value: object) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(str(value))
    except ValueError:
        return None
