"""What `inspect` says to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plant3d_sync.cli.output import heads, plain, put, say, table
from plant3d_sync.language import heading

DRAWINGS_SHOWN = 40
YES, NO = heads("yes", "no")


def show_inspection(document: Mapping[str, Any]) -> None:
    """One source in tables: what it is, its classes, columns, drawings, relations, tags, and what is odd."""
    say(f"Source: {plain(document['source'])}")
    engine, journal, version = document["engine"], document["journal_mode"], plain(document["version"])
    say(f"Engine: {engine}" if journal is None else f"Engine: {engine}, journal: {journal}")
    say(f"Version: {version}" if version else "Version: not stored")
    say(f"Held for {document['lock_ms']} ms.")
    for name, value in document["identity"].items():
        if value is not None:
            put(f"{name}: {plain(value)}")
    _classes(document["classes"], document["classes_declared"])
    _columns(document["custom_columns"])
    _drawings(document["drawings"])
    _relations(document["relations"])
    say("")
    say(f"Tags: {_counts(document['tags'])}")
    _findings(document["findings"])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{heading(name)} {count}" for name, count in counts.items())


def _title(text: str) -> None:
    say("")
    say(text)


def _classes(classes: Sequence[Mapping[str, Any]], declared: int) -> None:
    _title(f"Classes in use: {len(classes)} of {declared}. Tags per class, where it has a tag:")
    states = heads("complete", "placeholder", "empty", "unknown")
    table(
        ["class", "label", "items", *states, "under"],
        [
            [
                entry["class"],
                entry["label"],
                entry["count"],
                *((entry.get("tags") or {}).get(state) for state in states),
                " > ".join(entry["path"][1:-1]),
            ]
            for entry in classes
        ],
    )


def _columns(columns: Sequence[Mapping[str, Any]]) -> None:
    _title(f"Columns the project added: {len(columns)}.")
    if columns:
        table(
            ["class", "column", "label", "type", "picklist", "read only", "filled", "examples", "in"],
            [
                [
                    entry["class"],
                    entry["column"],
                    entry["label"],
                    entry["type"],
                    entry["picklist"],
                    heading(YES if entry["read_only"] else NO),
                    f"{entry['filled']}/{entry['items']}",
                    " | ".join(entry["examples"]),
                    entry["example_class"],
                ]
                for entry in columns
            ],
        )


def _drawings(drawings: Sequence[Mapping[str, Any]]) -> None:
    _title(f"Drawings: {len(drawings)}.")
    if drawings:
        table(
            ["PnPID", "number", "title", "links"],
            [
                [entry["pnpid"], entry["number"], entry["title"], entry["links"]]
                for entry in drawings[:DRAWINGS_SHOWN]
            ],
        )
    if len(drawings) > DRAWINGS_SHOWN:
        say(f"… and {len(drawings) - DRAWINGS_SHOWN} more (--json has them all)")


def _relations(relations: Mapping[str, int]) -> None:
    used = {name: count for name, count in relations.items() if count}
    _title(f"Relations in use: {len(used)}.")
    if used:
        table(["relation", "rows"], list(used.items()))
    empty = ", ".join(plain(name) for name in relations if name not in used)
    if empty:
        say(f"Without rows: {empty}")


def _findings(kinds: Sequence[Mapping[str, Any]]) -> None:
    say(f"Findings: {sum(entry['count'] for entry in kinds)}.")
    for entry in kinds:
        say(f"  {entry['code']}: {entry['count']}")
        for example in entry["examples"]:
            say(f"    {plain(example['message'])}")
        if entry["count"] > len(entry["examples"]):
            say(f"    … and {entry['count'] - len(entry['examples'])} more")
        if entry["hint"]:
            say(f"    what to do: {plain(entry['hint'])}")
