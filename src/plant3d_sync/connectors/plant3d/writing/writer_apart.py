"""The writer for what lies on a share: the same `PlantWriter`, in a process that can be killed.

Killed in the middle of a transaction it leaves what a crash leaves: before SQLite's COMMIT nothing, in it a journal from
which the next one who opens the file for writing puts everything back. The intent stored before says which cells to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from plant3d_sync import patience
from plant3d_sync.connectors.base import CellReceipt, CellWrite
from plant3d_sync.connectors.plant3d import helper
from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter

T = TypeVar("T")

CALL_SECONDS: Final = 30.0
"""How long one item may take; its transaction is given up much earlier by itself."""


class ApartWriter:
    """Stands for a `PlantWriter` in a helper: made with the same options, which are pickled, and raising the same errors.
    `name`: the database, for people.

    Besides these each call raises RetryLaterError `source_silent` or `source_helper`, and what the run of this thread must end
    with. What became of the item is not known then.
    """

    def __init__(self, source_spec: str | Path, *, name: str, **options: object) -> None:
        self._spec = source_spec
        self._name = name
        self._options = options
        self._helper: helper.Helper | None = None

    def __enter__(self) -> ApartWriter:
        self._helper = helper.take(self._name)
        try:
            self._call(_enter, self._spec, self._options)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._helper is not None and self._helper.usable():
                self._call(_leave)
        finally:
            self._leave()

    def _leave(self) -> None:
        asked, self._helper = self._helper, None
        if asked is not None:
            helper.give_back(asked, self._name)

    def look(self, cells: Sequence[CellWrite]) -> list[CellReceipt] | None:
        """See `PlantWriter`."""
        return self._call(_look, list(cells))

    def write(self, cells: Sequence[CellWrite]) -> list[CellReceipt]:
        """See `PlantWriter`."""
        return self._call(_write, list(cells))

    def _call(self, function: Callable[..., T], *arguments: object) -> T:
        if self._helper is None:
            raise RuntimeError("ApartWriter is used inside its `with` block")
        with helper.failures(self._name, writes=True):
            return self._helper.call(
                function, *arguments, seconds=CALL_SECONDS + helper.SPARE, grace=patience.GRACE
            )


# -- in the helper ------------------------------------------------------------------------------------------------

_open: list[PlantWriter] = []


def _enter(spec: str | Path, options: dict[str, Any]) -> None:
    _open[:] = [PlantWriter(spec, before_commit=helper.end_if_alone, **options).__enter__()]


def _look(cells: Sequence[CellWrite]) -> list[CellReceipt] | None:
    return _open[0].look(cells)


def _write(cells: Sequence[CellWrite]) -> list[CellReceipt]:
    return _open[0].write(cells)


def _leave() -> None:
    _open.pop().__exit__(None, None, None)
