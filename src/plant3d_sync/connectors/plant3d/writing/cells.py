"""What the writer needs from a database, whichever engine it is: a few reads, two updates, one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

Status = Literal["applied", "found_applied", "stale", "refused", "waiting"]


class BaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """The `PnPBase` row of one item as stored. `timestamp` and `revision` are raw: NULL is None."""

    class_name: str
    guid: str
    timestamp: object
    revision: object


class Outcome(Exception):
    """This item ends here: roll back and report. `tells_all`: the message says already that nothing was written."""

    def __init__(self, status: Status, code: str, message: str, *, tells_all: bool = False) -> None:
        super().__init__(message)
        self.status: Status = status
        self.code = code
        self.message = message
        self.tells_all = tells_all


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

    def now(self) -> int | None:
        """The time by the clock of the server that keeps the database, in ticks; None where there is no such clock."""
        ...

    def fixed(self, table: str, column: str) -> str | None:
        """Why no write can change this column, or ours shall not; None if it may be."""
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
