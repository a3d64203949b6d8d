"""Steps of a plan while it is being made: the first few in memory, many in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

from plant3d_sync.errors import RetryLaterError

IN_MEMORY = 2000
"""How many steps (about 2 MB) are kept in memory before a file is made."""


class LineSpool:
    """A list of JSON lines that grows at its end; a line can be dropped, and all are read from first to last.

    The file has no name where the system allows it, and is gone with this object. Raises RetryLaterError
    `temp_full` when the temporary folder cannot take a line.
    """

    def __init__(self) -> None:
        self._head: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._count = 0
        self._dropped: set[int] = set()

    def append(self, line: bytes) -> None:
        """Add one line; it holds no line break (JSON never does)."""
        if self._count < IN_MEMORY:
            self._head.append(line)
        else:
            self._write(line)
        self._count += 1

    def _write(self, line: bytes) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="plant3d-sync-plan-", buffering=1 << 16)  # noqa: SIM115
            self._file.write(line + b"\n")
        except OSError as error:
            raise _no_room(error) from error

    def __setitem__(self, index: int, line: bytes) -> None:
        """Drop a line: nothing but the empty line can take its place."""
        if line or not 0 <= index < self._count:
            raise IndexError(index)
        self._dropped.add(index)

    def __len__(self) -> int:
        """Lines that were added, dropped ones included: the index of the next one."""
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """The lines that were not dropped, in order."""
        dropped = self._dropped
        for index, line in enumerate(self._head):
            if index not in dropped:
                yield line
        if self._file is None:
            return
        try:
            self._file.seek(0)
        except OSError as error:  # what is still buffered is written now
            raise _no_room(error) from error
        for index, line in enumerate(self._file, len(self._head)):
            if index not in dropped:
                yield line[:-1]


def _no_room(error: OSError) -> RetryLaterError:
    return RetryLaterError(
        f"The plan could not be kept in the temporary folder ({error.strerror}). Nothing was written.",
        hint="Free space there, or let TMPDIR name another folder; then run again.",
        code="temp_full",
    )
