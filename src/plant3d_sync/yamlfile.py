"""YAML that somebody wrote, bounded before it is built: size, depth, keys, repeats by alias, length of one text.

A few hundred bytes of aliases and merges stand for billions of entries, and a depth of thousands ends the parser
itself. So the events of the text are counted first, each alias with what it repeats, before anything is built.
"""

from __future__ import annotations

from contextlib import suppress

import yaml

LARGEST_FILE = 1024 * 1024
"""Bytes of one file."""

DEEPEST = 50
"""Levels of nesting."""

MOST_ENTRIES = 50_000
"""Keys, values and list entries, repeats by aliases counted."""

LONGEST_TEXT = 65_536
"""Characters of one key or value."""


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where it is built in."""


class Beyond(ValueError):
    """A limit is passed; the text names it. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def check_limits(text: str) -> None:
    """Raise Beyond for the first limit that is passed. Builds nothing; what is no YAML is left to who builds it."""
    with suppress(yaml.YAMLError):
        _count(text)


def _count(text: str) -> None:
    weights: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, yaml.AliasEvent):
            total += weights.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if len(event.value) > LONGEST_TEXT:
                raise Beyond(
                    f"one text has {len(event.value):,} characters, at most {LONGEST_TEXT:,} are allowed",
                    line,
                )
            if event.anchor is not None:
                weights[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            total += 1
            open_nodes.append((event.anchor, total))
            if event.anchor is not None:
                weights[event.anchor] = MOST_ENTRIES + 1  # an alias inside of what it repeats has no end
            if len(open_nodes) > DEEPEST:
                raise Beyond(f"it is nested deeper than {DEEPEST} levels", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                weights[anchor] = total - before + 1
        if total > MOST_ENTRIES:
            raise Beyond(
                f"it holds more than {MOST_ENTRIES:,} keys and values, repeats by aliases counted", line
            )
