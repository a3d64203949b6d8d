"""Lines by number, between the reader that finds them and the state that remembers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.state import Connection, lines
from plant3d_sync.state.lines import Made
from plant3d_sync.state.links import Brief


def reading_of(
    connection: Connection,
    project: str,
    number: int,
    rules: RuleSet,
    briefs: Iterable[Brief] | None = None,
) -> Reading:
    """How to read a project of which some lines are known: each keeps its identity while a member of it lives.

    `briefs`: all links of the project, where they were read already. Raises NeedsPersonError `row_altered`.
    """
    reading = rules.reading
    if not reading.lines:
        return reading
    return replace(reading, known_lines=lines.known(connection, project, number, reading.lines, briefs))


def made_of(items: Iterable[PlantItem], reading: Reading) -> dict[str, Made]:
    """What the lines among these items are made of, as far as that is not what is known of them."""
    found: dict[str, Made] = {}
    for item in items:
        if item.class_name in reading.lines and item.segments and item.guid:
            members = tuple(dict.fromkeys((item.pnpid, *item.groups, *item.segments)))
            found[item.guid] = Made(item.row_guid or item.guid, members)
    if found:
        for one in reading.known_lines:
            if found.get(one.identity) == (one.row_guid, one.members):
                del found[one.identity]
    return found
