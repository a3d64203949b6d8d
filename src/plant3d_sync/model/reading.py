"""What a mapping wants of a read, beyond the items themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.tags import STOCK, TagRule


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRule:
    """How the groups of one class get their line number.

    `columns`: columns the number may stand in. `number`: the number of a group of which those columns, its registry tag
    and the tag of its segments are known. `from_segments`: whether a segment's own tag is a number. `pushed`: columns
    that may be written, in lower case; what they hold is that of the row that stands for the line, and of no other group.
    """

    columns: tuple[str, ...]
    number: Callable[[PlantItem], str | None] = field(compare=False)
    from_segments: bool = False
    pushed: frozenset[str] = frozenset()


class KnownLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A line that has an asset. `pnpid`: the row that stood for it, `row_guid`: that row's PnPGuid.

    `identity`: PnPGuid by which SYNAPSE knows it. `tag`: its number when it was last compared. `members`: PnPIDs of its groups and
    segments. `live`: whether it is expected in Plant 3D; only such a line goes on by its number alone.
    """

    identity: str
    pnpid: int
    row_guid: str
    tag: str
    members: tuple[int, ...]
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one project is read.

    `tags`: which texts are tags, for the names of lines, ends and owners too. `registry`: classes whose tag may come
    from Plant 3D's registry. `lines`: classes of line groups of which one number is one item; of others each group is.
    `segment_columns`: columns of segments that a line is asked for, in lower case. `known_lines`: the lines that have an asset.
    """

    tags: TagRule = STOCK
    registry: frozenset[str] = frozenset()
    lines: Mapping[str, LineRule] = field(default_factory=dict)
    segment_columns: frozenset[str] = frozenset()
    known_lines: tuple[KnownLine, ...] = field(default=(), compare=False)

    def is_undrawn(self, item: PlantItem) -> bool:
        """Whether the item is a line by its number of which no segment is drawn: it is not there."""
        return not item.segments and item.class_name in self.lines


PLAIN = Reading()
"""As a project without a mapping is read."""
