"""Steps of a plan while it is being made: the first few in memory, many in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import IO

from plant3d_sync.errors import RetryLaterError

IN_MEMORY = 2000
"""How many steps (about 2 MB) are kept in memory before a file is made."""
_TOGETHER = 100
"""Further ones that go into it in one call."""
_WITHOUT_BREAK = itemgetter(slice(None, -1))


class LineSpool:
    """A list of JSON lines that grows at its end; a line can be dropped, and all are read from first to last.

    The file has no name where the system allows it, and is gone with this object. Raises RetryLaterError
    `temp_full` when the temporary folder cannot take a line.
    """

    def __init__(self) -> None:
        self._head: list[bytes] = []
        self._later: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._count = 0
        self._dropped: set[int] = set()

    def append(self, line: bytes) -> None:
        """Add one line; it holds no line break (JSON never does)."""
        self._count += 1
        if self._count <= IN_MEMORY:
            self._head.append(line)
            return
        later = self._later
        later.append(line)
        if len(later) >= _TOGETHER:
            self._write_later()

    def _write_later(self) -> None:
        self._later.append(b"")  # the last line has a break too
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="plant3d-sync-plan-", buffering=1 << 16)  # noqa: SIM115
            self._file.write(b"\n".join(self._later))
        except OSError as error:
            raise _no_room(error) from error
        self._later.clear()

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
        every = chain(self._head, self._stored())
        if not self._dropped:
            return every
        return (line for index, line in enumerate(every) if index not in self._dropped)

    def _stored(self) -> Iterator[bytes]:
        if self._later:
            self._write_later()
        if self._file is None:
            return iter(())
        try:
            self._file.seek(0)
        except OSError as error:  # what is still buffered is written now
            raise _no_room(error) from error
        return map(_WITHOUT_BREAK, self._file)


def _no_room(error: OSError) -> RetryLaterError:
    return RetryLaterError(
        f"The plan could not be kept in the temporary folder ({error.strerror}). Nothing was written.",
        hint="Free space there, or let TMPDIR name another folder; then run again.",
        code="temp_full",
    )
