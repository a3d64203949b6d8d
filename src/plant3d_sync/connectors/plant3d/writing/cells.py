"""What the writer needs from a database, whichever engine it is: a few reads, two updates, one transaction."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Status = Literal["applied", "found_applied", "stale", "refused", "waiting"]

GROUPS: Final = (
    ("PipeLineGroupRelationship", "PipeLineGroup", "PipeLine"),
    ("SignalLineGroupRelationship", "SignalLineGroup", "SignalLine"),
)
"""Relations of groups, which have no link to a drawing of their own: (table, role of the group, role of the segment)."""

ANNOTATIONS: Final = ("AnnotationRelationship", "Annotated", "Annotation")
"""Annotations that show an item; they may lie on another drawing than the item."""

UNKNOWN_DRAWING: Final = "(a drawing that is not in the project's list)"


_FILE_COLUMNS: Final = ("PnPRelativePath", "Dwg Name", "Path")
"""Where a drawing's file is named, best first. Projects of 2010 have no relative path and no `PnPType`."""


DRAWING_COLUMNS: Final = ("PnPID", "PnPType", *_FILE_COLUMNS)
"""The columns of `PnPDrawings` that say where a drawing lies."""


def drawing_columns(present: Container[str]) -> tuple[str, ...]:
    """The columns of `PnPDrawings` to read, of those this project has (lower-cased)."""
    return ("PnPID", *(name for name in ("PnPType", *_FILE_COLUMNS) if name.lower() in present))


def drawing_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """What to look for beside lock files: path or file name of each drawing, sorted. Folders are none.

    A link to a drawing that is not in the list, or has no name, is a drawing nobody can see.
    """
    found: set[str] = set()
    for row in rows:
        if row["PnPID"] is not None and str(row.get("PnPType")).upper() == "FOLDER":
            continue
        names = (row.get(name) for name in _FILE_COLUMNS if row["PnPID"] is not None)
        found.add(next((text for text in names if isinstance(text, str) and text.strip()), UNKNOWN_DRAWING))
    return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRow:
    """The `PnPBase` row of one item as stored. `timestamp` and `revision` are raw: NULL is None."""

    class_name: str
    guid: str
    timestamp: object
    revision: object


class Outcome(Exception):
    """This item ends here: roll back and report."""

    def __init__(self, status: Status, code: str, message: str) -> None:
        super().__init__(message)
        self.status: Status = status
        self.code = code
        self.message = message


class CellReads(Protocol):
    """Reads, in or outside a transaction. May raise one of the store's `errors`."""

    def base(self, pnpid: int) -> BaseRow | None:
        """The item's row in `PnPBase`."""
        ...

    def cell(self, table: str, column: str, pnpid: int) -> Sequence[object]:
        """The stored values of one cell: one normally, none when the item has no row in that table."""
        ...


class CellStore(CellReads, Protocol):
    """One database open for careful writing. All methods but `judge` may raise one of `errors`."""

    name: str
    errors: tuple[type[Exception], ...]

    def close(self) -> None:
        """Give the connection back."""
        ...

    def guard(self) -> AbstractContextManager[None]:
        """Hold around one item: nothing else in this process touches the source meanwhile."""
        ...

    def ready(self) -> None:
        """Look once more, without a lock, whether this is the file to write to. Raises Outcome."""
        ...

    def drawings(self, pnpid: int) -> Sequence[str]:
        """Drawings that show the item: relative path, else name. Outside a transaction."""
        ...

    def begin(self) -> None:
        """Take the write lock, waiting a moment at most."""
        ...

    def prefetch(self, pnpid: int, places: Sequence[tuple[str, str]]) -> None:
        """Read the item's base row and these cells (table, column) in one go, under the lock, for `base` and `cell`.

        Only worth something where each question is a way over a network; a file may do nothing.
        """
        ...

    def set_cell(self, table: str, column: str, pnpid: int, old: object, new: str | None) -> int:
        """Change one cell that still holds `old`. Returns the number of rows changed."""
        ...

    def set_base(self, pnpid: int, old_stamp: object, stamp: int, revision: int) -> int:
        """Raise stamp and revision of an item whose stamp is still `old_stamp`. Returns the rows changed."""
        ...

    def commit(self) -> None:
        """Make it so."""
        ...

    def rollback(self) -> None:
        """Undo what is not committed. Never raises one of `errors`; safe without a transaction."""
        ...

    def fresh(self) -> AbstractContextManager[CellReads]:
        """Read again what is stored now, independently of the connection that wrote."""
        ...

    def judge(self, error: Exception) -> Outcome:
        """What an error of the engine means for the item."""
        ...
