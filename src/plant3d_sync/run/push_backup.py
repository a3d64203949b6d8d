"""The backup of one push: made when the first cell is about to be written, given up again if none was.

A backup of a push that wrote nothing is a copy of what is there anyway, and would push a real one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plant3d_sync.connectors.base import CellReceipt
from plant3d_sync.errors import ConfigError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.run.execution import Execution
from plant3d_sync.run.project import BackupMade
from plant3d_sync.state import backups

_MAYBE_WRITTEN = frozenset({"read_back_differs", "outcome_unknown"})
"""Codes of receipts after which the cell may have been written all the same."""


class PushBackup:
    """Before the first write `make_sure`, after each group `note`, at the end `settle`.

    Whoever is interrupted in between leaves a backup that `settle` of a later push removes before any real one.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._made: BackupMade | None = None
        self._wrote = False

    def make_sure(self) -> None:
        """No write without a verified backup. Raises ConfigError `no_backup`, RetryLaterError `backup_failed`."""
        if self._made is not None:
            return
        execution = self._execution
        project, world = execution.project, execution.world
        if project.backup is None:
            raise ConfigError("No backup place is configured. Nothing was written.", code="no_backup")
        failpoint("push.backup_begun")
        made = project.backup(execution.run_id)
        failpoint("push.backup_verified")
        with world.state.write() as connection:
            execution.lease.fence.check(connection)
            backups.record(
                connection,
                project.name,
                run_id=execution.run_id,
                path=made.path,
                size=made.bytes,
                sha256=made.sha256,
                at=world.clock(),
            )
        self._made = made

    def note(self, receipts: Iterable[Sequence[CellReceipt]]) -> None:
        """What became of a group of items."""
        self._wrote = self._wrote or any(
            answer.status == "applied" or answer.code in _MAYBE_WRITTEN
            for group in receipts
            for answer in group
        )

    def settle(self) -> None:
        """Keep the backup and drop what is too many, or give it up if nothing was written after it."""
        made, project, world = self._made, self._execution.project, self._execution.world
        if made is None:
            return
        removed: list[str] = []
        if not self._wrote and project.drop_backup is not None:
            project.drop_backup(made)
            removed = [made.path]
        elif self._wrote and project.prune_backups is not None:
            with world.state.read() as connection:
                empty = backups.without_write(connection, project.name)
            removed = project.prune_backups(made, empty)
        if removed:
            with world.state.write() as connection:
                backups.note_removed(connection, project.name, removed, at=world.clock())
