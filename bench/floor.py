"""The hand-tuned floor: what the machine allows when a pull does nothing but move the data.

One raw sqlite3 cursor; class by class from the base tables, leaf first, with outer joins, plus drawing and
line look-ups; one function from row to document (about 20 fields); orjson; one bare keep-alive socket;
batches of 500. Its only state is a watermark, the newest `PnPTimestamp` seen. It validates, retries,
links, detects deletions and logs nothing: it is a yardstick, not an alternative.

    python bench/floor.py SOURCE.dcf http://127.0.0.1:PORT PROJECT_ID WATERMARK_FILE
"""

from __future__ import annotations

import http.client
import sqlite3
import sys
import uuid
from collections.abc import Iterable, Iterator
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
# Columns with a place of their own in the document, or of no interest to an asset.
PLACED = {
    "PnPID", "PnPClassName", "PnPStatus", "PnPRevision", "PnPGuid", "PnPTimestamp", "Tag", "Description",
    "ClassName", "FlagValue", "AcquisitionProperties", "ParamOnLine", "SpecPartGuid",
}  # fmt: skip

Row = tuple[Any, ...]


def main(source: str, url: str, project: str, watermark_file: Path) -> int:
    since = int(watermark_file.read_text()) if watermark_file.exists() else -1
    database = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    newest = database.execute('select max("PnPTimestamp") from "PnPBase"').fetchone()[0] or 0
    if newest > since:
        send(url, project, documents(database, since))
        watermark_file.write_text(str(newest))
    return 0


# --- reading ---------------------------------------------------------------------------------------


def documents(database: sqlite3.Connection, since: int) -> Iterator[dict[str, Any]]:
    parents = dict(database.execute('select "TableName", "BaseTable" from "PnPTables"'))
    tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    changed = changed_ids(database, since) if since >= 0 else None
    drawings = drawing_of_item(database, tables)
    lines, groups = line_of_item(database, tables), group_of_line(database, tables)
    for name in leaf_classes(database, parents, tables):
        chain = [name, *ancestors(name, parents)]
        entity = next((ENTITIES[link] for link in chain if link in ENTITIES), None)
        ids = None if changed is None else changed.get(name)
        if entity is None or (changed is not None and not ids):
            continue
        columns, query = class_query(database, [link for link in chain if link in tables], name)
        to_document = mapper(entity, name, columns, drawings, lines, groups)
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


def line_of_item(database: sqlite3.Connection, tables: set[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for table in ("LineEndAsset", "LineStartAsset", "LineInlineAsset"):  # inline is the best answer: last
        if table in tables:
            found.update(database.execute(f'select "Asset", "Line" from "{table}"'))
    return found


def group_of_line(database: sqlite3.Connection, tables: set[str]) -> dict[int, str]:
    if not {"PipeLineGroupRelationship", "PipeLineGroup"} <= tables:
        return {}
    return dict(
        database.execute(
            'select r."PipeLine", g."Tag" from "PipeLineGroupRelationship" r'
            ' join "PipeLineGroup" g on g.PnPID = r."PipeLineGroup"'
        )
    )


# --- mapping and sending -----------------------------------------------------------------------------


def mapper(
    entity: str,
    class_name: str,
    columns: list[str],
    drawings: dict[int, str],
    lines: dict[int, int],
    groups: dict[int, str],
) -> Any:
    place = {column: number for number, column in enumerate(columns)}
    class_at = place["PnPClassName"]
    tag_at, guid_at, time_at = place["Tag"], place["PnPGuid"], place["PnPTimestamp"]
    description_at, revision_at = place.get("Description"), place["PnPRevision"]
    others = [(column, number) for column, number in place.items() if column not in PLACED]

    def to_document(row: Row) -> dict[str, Any] | None:
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


def send(url: str, project: str, items: Iterator[dict[str, Any]]) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"))
    batch: list[dict[str, Any]] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            post(connection, project, batch)
            batch = []
    if batch:
        post(connection, project, batch)
    connection.close()


def post(connection: http.client.HTTPConnection, project: str, batch: list[dict[str, Any]]) -> None:
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
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])))
