"""The hand-tuned floor: what the machine allows when a pull does nothing but move the data.

One raw sqlite3 cursor; class by class from the base tables, leaf first, with outer joins, plus drawing, line and end
look-ups; one function from row to document; orjson; one bare keep-alive socket; batches of 500. Its only state is a
watermark, the newest `PnPTimestamp` seen. It validates, retries, links, detects deletions and logs nothing, and what it
maps is written into the code: it is a yardstick, not an alternative.

It sends the documents that the stock mapping makes of a clean sample, field for field; `bench/pull.py` compares them at
the sink. With `--bare` it maps nothing: every filled column goes as it is (cheaper, and not what anybody wants to read).

    python bench/floor.py SOURCE.dcf http://127.0.0.1:PORT PROJECT_ID WATERMARK_FILE [--bare]
"""

from __future__ import annotations

import http.client
import importlib.util
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

BATCH = 500
TICKS_AT_1970 = 621_355_968_000_000_000  # .NET ticks (100 ns since year 1) at the Unix epoch
ENTITIES = {
    "Equipment": "Equipment",
    "Instrumentation": "Instrument",
    "HandValves": "Valve",
    "PipeLineGroup": "Line",
}
# Field -> columns, the first filled one counts. A text equal to the default of its class is not filled in.
COMMON = {
    "manufacturer": ("Manufacturer",), "model": ("ModelNumber",), "status": ("Status",),
}  # fmt: skip
FIELDS: dict[str, dict[str, tuple[str, ...]]] = {
    "Equipment": COMMON | {
        "area": ("Area",), "type": ("Type",), "number": ("Number",), "spec": ("EquipmentSpec",),
        "size": ("Size", "Diameter", "Capacity"), "rating": ("Rating",),
    },
    "Instrument": COMMON | {
        "area": ("Area",), "type": ("Type",), "loop": ("LoopNumber",), "location": ("Location",), "size": ("Size",),
        "range": ("Range",), "setpoint": ("SetPoint",), "normally": ("Normally",), "failure": ("Failure",),
    },
    "Valve": COMMON | {
        "type": ("ValveCode", "Code"), "number": ("Number",), "spec": ("Spec",), "size": ("Size",),
        "rating": ("Rating",), "normally": ("Normally",), "failure": ("Failure",),
    },
    "Line": {
        "line_number": ("LineNumber",), "spec": ("NominalSpec", "Spec"), "size": ("NominalSize", "Size"),
        "service": ("Service",), "status": ("Status",),
    },
}  # fmt: skip
# Columns that `--bare` places otherwise, or that are of no interest to an asset.
PLACED = {
    "PnPID", "PnPClassName", "PnPStatus", "PnPRevision", "PnPGuid", "PnPTimestamp", "Tag", "Description",
    "ClassName", "FlagValue", "AcquisitionProperties", "ParamOnLine", "SpecPartGuid",
}  # fmt: skip

Row = tuple[Any, ...]


Document = dict[str, Any]


def main(source: str, url: str, project: str, watermark_file: Path, *flags: str) -> int:
    since = int(watermark_file.read_text()) if watermark_file.exists() else -1
    database = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    newest = database.execute('select max("PnPTimestamp") from "PnPBase"').fetchone()[0] or 0
    if newest > since:
        send(url, project, documents(database, since, BareItems if "--bare" in flags else Items))
        watermark_file.write_text(str(newest))
    return 0


# --- reading ---------------------------------------------------------------------------------------


def documents(
    database: sqlite3.Connection, since: int, kind: Callable[[sqlite3.Connection, set[str]], Any]
) -> Iterator[Document]:
    parents = dict(database.execute('select "TableName", "BaseTable" from "PnPTables"'))
    tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    changed = changed_ids(database, since) if since >= 0 else None
    items = kind(database, tables)
    for name in leaf_classes(database, parents, tables):
        chain = [name, *ancestors(name, parents)]
        entity = next((ENTITIES[link] for link in chain if link in ENTITIES), None)
        ids = None if changed is None else changed.get(name)
        if entity is None or (changed is not None and not ids):
            continue
        columns, query = class_query(database, [link for link in chain if link in tables], name)
        to_document = items.mapper(entity, name, chain, columns)
        for row in rows(database, query, ids):
            document = to_document(row)
            if document is not None:
                yield document


def ancestors(name: str, parents: dict[str, str | None]) -> Iterator[str]:
    step = parents.get(name)
    while step:
        yield step
        step = parents.get(step)


def leaf_classes(database: sqlite3.Connection, parents: dict[str, str | None], tables: set[str]) -> list[str]:
    present = database.execute('select distinct "PnPClassName" from "PnPBase"').fetchall()
    return [name for (name,) in present if name in parents and name in tables]


def class_query(database: sqlite3.Connection, chain: list[str], name: str) -> tuple[list[str], str]:
    """Leaf first; a missing middle level leaves its columns empty instead of losing the item.

    No condition on the class: SQLite would then scan the whole of PnPBase for each class.
    """
    columns: list[str] = ["PnPID"]
    selected = ["t0.PnPID"]
    joins = f'"{chain[0]}" t0'
    for number, table in enumerate(chain):
        if number:
            joins += f' left join "{table}" t{number} on t{number}.PnPID = t0.PnPID'
        for _, column, *_ in database.execute(f'pragma table_info("{table}")'):
            if column not in columns:
                columns.append(column)
                selected.append(f't{number}."{column}"')
    return columns, f"select {', '.join(selected)} from {joins}"


def rows(database: sqlite3.Connection, query: str, ids: list[int] | None) -> Iterable[Row]:
    if ids is None:
        yield from database.execute(query)
        return
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        yield from database.execute(f"{query} where t0.PnPID in ({','.join('?' * len(part))})", part)


def changed_ids(database: sqlite3.Connection, since: int) -> dict[str, list[int]]:
    """One scan of PnPBase; nothing there is indexed but PnPID."""
    found: dict[str, list[int]] = {}
    query = 'select "PnPClassName", "PnPID" from "PnPBase" where "PnPTimestamp" > ?'
    for name, pnpid in database.execute(query, (since,)):
        found.setdefault(name, []).append(pnpid)
    return found


def drawing_of_item(database: sqlite3.Connection, tables: set[str]) -> dict[int, str]:
    if not {"PnPDataLinks", "PnPDrawings"} <= tables:
        return {}
    names = dict(database.execute('select "PnPID", coalesce("PnID", "Dwg Name") from "PnPDrawings"'))
    links = database.execute('select "RowId", "DwgId" from "PnPDataLinks"')
    return {item: names[drawing] for item, drawing in links if drawing in names}


def pairs(database: sqlite3.Connection, tables: set[str], table: str, key: str, value: str) -> list[Any]:
    return database.execute(f'select "{key}", "{value}" from "{table}"').fetchall() if table in tables else []


def grouped(database: sqlite3.Connection, tables: set[str], *relation: str) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for key, value in pairs(database, tables, *relation):
        found.setdefault(key, []).append(value)
    return found


def tags_of(database: sqlite3.Connection, tables: set[str]) -> dict[int, str]:
    """Tags of everything that can name a line or its end."""
    found: dict[int, str] = {}
    for table in tables:
        if any(column == "Tag" for _, column, *_ in database.execute(f'pragma table_info("{table}")')):
            query = f'select PnPID, "Tag" from "{table}" where "Tag" <> \'\' and "Tag" not like \'%?%\''
            if table != "PnPTagRegistry":
                found.update(database.execute(query))
    return found


# --- mapping ---------------------------------------------------------------------------------------


class Items:
    """The documents of the stock mapping."""

    def __init__(self, database: sqlite3.Connection, tables: set[str]) -> None:
        def related(table: str, key: str, value: str) -> dict[int, list[int]]:
            return grouped(database, tables, table, key, value)

        self.tags = tags_of(database, tables)
        self.drawings = drawing_of_item(database, tables)
        self.group_of = dict(
            pairs(database, tables, "PipeLineGroupRelationship", "PipeLine", "PipeLineGroup")
        )
        self.segments_in = related("PipeLineGroupRelationship", "PipeLineGroup", "PipeLine")
        self.starts = related("LineStartAsset", "Line", "Asset")
        self.ends = related("LineEndAsset", "Line", "Asset")
        self.start_lines = related("LineStartLine", "Line1", "Line2")
        self.end_lines = related("LineEndLine", "Line1", "Line2")
        self.nozzles = related("LineNozzle", "Line", "Nozzle")
        self.owner_of = dict(pairs(database, tables, "AssetOwnership", "Owned", "Owner"))
        self.owners = set(self.owner_of.values())
        self.lines = self.lines_of_items(database, tables)
        attributes = (
            'select upper("TableName"), "AttributeValue" from "PnPTableAttributes" where "AttributeName" = ?'
        )
        self.labels = dict(database.execute(attributes, ("DisplayName",)))
        self.defaults = self.column_defaults(database)
        self.letters, self.full_name = isa_functions()

    def lines_of_items(self, database: sqlite3.Connection, tables: set[str]) -> dict[int, str]:
        """Item -> tags of its lines. Drafters fill the three relations differently; their union counts."""
        several: dict[int, set[str]] = {}
        found: dict[int, str] = {}
        for table in ("LineInlineAsset", "LineStartAsset", "LineEndAsset"):
            for item, segment in pairs(database, tables, table, "Asset", "Line"):
                group = self.group_of.get(segment)
                tag = self.tags.get(group) if group is not None else None
                if tag is not None and found.setdefault(item, tag) != tag:
                    several.setdefault(item, {found[item]}).add(tag)
        return found | {item: "; ".join(sorted(tags)) for item, tags in several.items()}

    @staticmethod
    def column_defaults(database: sqlite3.Connection) -> dict[tuple[str, str], str]:
        """(class, column) -> text that means "not filled in"; a default out of a pick list is a value."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for table, column, name, value in database.execute(
            'select "TableName", "ColumnName", upper("AttributeName"), "AttributeValue" from "PnPColumnAttributes"'
            " where upper(\"AttributeName\") in ('VALUE', 'PICKLISTNAME', 'PICKLISTTYPE')"
        ):
            found.setdefault((table, column), {})[name] = value or ""
        return {
            key: named["VALUE"].strip().lower()
            for key, named in found.items()
            if named.get("VALUE", "").strip()
            and not named.get("PICKLISTNAME")
            and named.get("PICKLISTTYPE", "").strip().lower() != "symbolselect"
        }

    def mapper(
        self, entity: str, class_name: str, chain: list[str], columns: list[str]
    ) -> Callable[[Row], Document | None]:
        place = {column: number for number, column in enumerate(columns)}

        def candidates(names: tuple[str, ...]) -> list[tuple[int, str | None]]:
            return [
                (place[name], next((d for c in chain if (d := self.defaults.get((c, name)))), None))
                for name in names
                if name in place
            ]

        fields = {name: candidates(names) for name, names in FIELDS[entity].items()}
        if "Filters" in chain:
            fields.pop("rating", None)
        plain = [(name, c[0][0]) for name, c in fields.items() if len(c) == 1 and c[0][1] is None]
        chosen = [(name, c) for name, c in fields.items() if len(c) > 1 or (c and c[0][1] is not None)]
        description = candidates(("Description",))
        class_at, tag_at, guid_at = place["PnPClassName"], place["Tag"], place["PnPGuid"]
        time_at = place["PnPTimestamp"]
        type_at = place.get("Type", class_at)
        label = self.labels.get(class_name.upper(), class_name)
        drawing_of, lines_of = self.drawings.get, self.lines.get
        letters_of, full_name = self.letters, self.full_name

        def to_document(row: Row) -> Document | None:
            tag = row[tag_at]
            if not tag or "?" in tag or row[class_at] != class_name:
                return None
            pnpid = row[0]
            attributes = {name: row[number] for name, number in plain if row[number] not in (None, "")}
            for name, places in chosen:
                for number, default in places:
                    value = row[number]
                    if value and value.strip().lower() != default:
                        attributes[name] = value
                        break
            attributes["class"] = class_name
            saved = (row[time_at] - TICKS_AT_1970) // 10_000_000
            attributes["plant3d_updated_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(saved))
            values = {"tag": tag, "asset_type": entity, "attributes": attributes}
            if entity == "Line":
                self.add_line(pnpid, attributes)
            else:
                drawing, line = drawing_of(pnpid), lines_of(pnpid)
                if drawing is not None:
                    attributes["drawing_ref"] = drawing
                if line is not None:
                    attributes["line_number"] = line
                if entity == "Instrument":
                    letters = letters_of(tag) or letters_of(row[type_at]) or "Unknown"
                    values["asset_subtype"] = letters
                    attributes["instrument_type"] = full_name(letters) if letters != "Unknown" else letters
                else:
                    values["asset_subtype"] = label
            for number, default in description:
                value = row[number]
                if value and value.strip().lower() != default:
                    values["description"] = value
            return {"op": "upsert", "plant3d_id": str(uuid.UUID(bytes_le=row[guid_at])), "set": values}

        return to_document

    def add_line(self, group: int, attributes: dict[str, Any]) -> None:
        """Drawing and ends of a line, from its segments."""
        segments = self.segments_in.get(group, ())
        numbers = {self.drawings[segment] for segment in segments if segment in self.drawings}
        if numbers:
            attributes["drawing_ref"] = "; ".join(sorted(numbers))
        starts = {asset for segment in segments for asset in self.starts.get(segment, ())}
        ends = {asset for segment in segments for asset in self.ends.get(segment, ())}
        first = self.names(starts - ends) or self.other_lines(self.start_lines, segments)
        last = self.names(ends - starts) or self.other_lines(self.end_lines, segments)
        if bool(first) != bool(last):
            loose = {nozzle for segment in segments for nozzle in self.nozzles.get(segment, ())}
            rest = self.names(loose - starts - ends) - first - last
            first, last = first or rest, last or rest
        if first:
            attributes["from"] = "; ".join(sorted(first))
        if last:
            attributes["to"] = "; ".join(sorted(last))

    def names(self, assets: Iterable[int]) -> set[str]:
        """Tags of the equipment among them (a nozzle counts as its owner), else of the others."""
        standing, sitting = set[str](), set[str]()
        for asset in assets:
            owner = self.owner_of.get(asset)
            tag = (self.tags.get(owner) if owner is not None else None) or self.tags.get(asset)
            if tag:
                (standing if owner is not None or asset in self.owners else sitting).add(tag)
        return standing or sitting

    def other_lines(self, relation: dict[int, list[int]], segments: Iterable[int]) -> set[str]:
        others = {line for segment in segments for line in relation.get(segment, ())}.difference(segments)
        groups = {self.group_of.get(line) for line in others}
        return {self.tags[group] for group in groups if group is not None and group in self.tags}


def isa_functions() -> tuple[Callable[[Any], str | None], Callable[[str], str]]:
    """Function letters of a tag and their full name: the same functions as the mapping, taken from their file alone."""
    path = Path(__file__).resolve().parents[1] / "src/plant3d_sync/mapping/isa.py"
    spec = importlib.util.spec_from_file_location("isa", path)
    assert spec is not None and spec.loader is not None
    isa = importlib.util.module_from_spec(spec)
    sys.modules["isa"] = isa
    spec.loader.exec_module(isa)
    return isa.function_letters, isa.full_name


class BareItems:
    """Every filled column as it is."""

    def __init__(self, database: sqlite3.Connection, tables: set[str]) -> None:
        self.drawings = drawing_of_item(database, tables)
        self.lines: dict[int, int] = {}
        for table in ("LineEndAsset", "LineStartAsset", "LineInlineAsset"):  # inline is the best answer: last
            self.lines.update(pairs(database, tables, table, "Asset", "Line"))
        tags = (
            dict(database.execute('select PnPID, "Tag" from "PipeLineGroup"'))
            if "PipeLineGroup" in tables
            else {}
        )
        relation = pairs(database, tables, "PipeLineGroupRelationship", "PipeLine", "PipeLineGroup")
        self.groups = {segment: tags.get(group) for segment, group in relation}

    def mapper(
        self, entity: str, class_name: str, chain: list[str], columns: list[str]
    ) -> Callable[[Row], Document | None]:
        place = {column: number for number, column in enumerate(columns)}
        class_at = place["PnPClassName"]
        tag_at, guid_at, time_at = place["Tag"], place["PnPGuid"], place["PnPTimestamp"]
        description_at, revision_at = place.get("Description"), place["PnPRevision"]
        others = [(column, number) for column, number in place.items() if column not in PLACED]
        drawings, lines, groups = self.drawings, self.lines, self.groups

        def to_document(row: Row) -> Document | None:
            tag = row[tag_at]
            if not tag or "?" in tag or row[class_at] != class_name:
                return None
            pnpid = row[0]
            attributes = {column: row[number] for column, number in others if row[number] not in (None, "")}
            attributes["class"] = class_name
            attributes["pnpid"] = pnpid
            attributes["revision"] = row[revision_at]
            attributes["modified"] = (row[time_at] - TICKS_AT_1970) // 10_000_000
            drawing = drawings.get(pnpid)
            if drawing is not None:
                attributes["drawing_ref"] = drawing
            line = lines.get(pnpid)
            if line is not None:
                attributes["line_pnpid"] = line
                group = groups.get(line)
                if group is not None:
                    attributes["line_number"] = group
            return {
                "op": "upsert",
                "plant3d_id": str(uuid.UUID(bytes_le=row[guid_at])),
                "set": {
                    "tag": tag,
                    "asset_type": entity,
                    "asset_subtype": class_name,
                    "description": None if description_at is None else row[description_at],
                    "attributes": attributes,
                },
            }

        return to_document


# --- sending ---------------------------------------------------------------------------------------


def send(url: str, project: str, items: Iterator[Document]) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"))
    batch: list[Document] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            post(connection, project, batch)
            batch = []
    if batch:
        post(connection, project, batch)
    connection.close()


def post(connection: http.client.HTTPConnection, project: str, batch: list[Document]) -> None:
    headers = {
        "Content-Type": "application/json",
        "X-Project-ID": project,
        "X-API-Key": "bench",
        "Idempotency-Key": uuid.uuid4().hex,
    }
    body = orjson.dumps({"items": batch})
    connection.request("POST", "/api/v1/integration/assets/batch", body, headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"The sink answered {answer.status}; the measurement is void.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), *sys.argv[5:]))
