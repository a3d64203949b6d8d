"""One project at run time: its configuration and the objects that reach both sides."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

import msgspec

from plant3d_sync.connectors.base import CellReceipt, CellWrite, PlantSource, SynapsePort
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.coverage import WARN
from plant3d_sync.model.plan import Limits, MissingPolicy
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.side import Direction, WriteMode
from plant3d_sync.state import State
from plant3d_sync.state.tally import PHASES, Counts


class Writer(Protocol):
    """Writes cells into Plant 3D, one transaction per item."""

    def __enter__(self) -> Self:
        """Check the database as a whole."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    def look(self, cells: Sequence[CellWrite]) -> list[CellReceipt] | None:
        """Receipts of the cells of one item if none of them would be written now, None if one would. Writes nothing."""
        ...

    def write(self, cells: Sequence[CellWrite]) -> list[CellReceipt]:
        """One receipt per cell, in order."""
        ...


POLICY_DIGITS = 8
"""How many characters at the end of a mapping token stand for the project's own policies."""


class BackupMade(msgspec.Struct, frozen=True, kw_only=True):
    """A verified backup of the Plant 3D database."""

    path: str
    bytes: int
    sha256: str


class ProjectConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about one project."""

    name: str
    synapse_project_id: str
    source: str
    mapping: tuple[str, ...] = ("stock",)
    active: bool = True
    write: WriteMode = WriteMode.OFF
    drawings: str | None = None
    drawings_unseen_are_open: bool = True
    backups: str | None = None
    keep_backups: int = 10
    allow_copy: bool = False
    allow_strong_login: str | None = None
    """SQL Server login that may write although it can do more than it needs."""
    allow_synced_folder: frozenset[str] = frozenset()
    missing: MissingPolicy = MissingPolicy()
    limits: Limits = Limits()
    conflict_policy: str = "newest"
    tolerance_seconds: float | None = None
    drift: Mapping[str, str] = msgspec.field(default_factory=dict)
    interval_minutes: float | None = None
    direction: Direction = Direction.PULL
    workbook_days: float = 14.0
    coverage_warn: float = WARN


class Project(msgspec.Struct, kw_only=True):
    """A project with everything needed to run it.

    `rules`: compiles the mapping against a catalog. `mapping_token`: cheap hash of the mapping's files.
    `writer` and `backup` are None where nothing may be written directly; a writer is told by how many seconds our clock is
    ahead of SYNAPSE's. `drop_backup` removes a backup that no write
    followed. `prune_backups` removes the backups that are too many, those it is given (paths) first, never the one just
    made; it returns the paths it removed.
    """

    config: ProjectConfig
    source: PlantSource
    synapse: SynapsePort
    rules: Callable[[Catalog], RuleSet]
    mapping_token: Callable[[], str]
    batch_size: int = 500
    writer: Callable[[Catalog, RuleSet, float], Writer] | None = None
    backup: Callable[[str], BackupMade] | None = None
    neighbours: frozenset[str] = frozenset()
    """Other configured projects on the same SYNAPSE project."""
    drop_backup: Callable[[BackupMade], None] | None = None
    prune_backups: Callable[[BackupMade, frozenset[str]], list[str]] | None = None
    doors: Callable[[], str] | None = None
    """A token that changes when a drawing is opened or closed; None where nothing is written directly."""
    may_write: Callable[[], bool] = lambda: True
    """Whether cells may be written directly at this moment: somebody may have said `write: off` since the run began."""
    counts: Counts = msgspec.field(default_factory=Counts)
    """What this object's runs counted and did not store yet."""

    @property
    def name(self) -> str:
        """The configured name."""
        return self.config.name

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count how long a phase of a run takes, if it comes to its end."""
        started = time.monotonic()
        yield
        self.counts.observe("phase", phase, seconds=time.monotonic() - started, bounds=PHASES)


Progress = Callable[[str, int, int | None], None]
"""Called with phase, done, total."""


def no_progress(_phase: str, _done: int, _total: int | None) -> None:
    """Says nothing."""


class World(msgspec.Struct, kw_only=True):
    """State, clock and ids: what every use case needs."""

    state: State
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    progress: Progress = no_progress
    lease_seconds: float = 30.0

    def now_iso(self) -> str:
        """Now in UTC, ISO form."""
        return iso(self.clock()) or ""


def iso(seconds: float | None) -> str | None:
    """POSIX seconds as RFC 3339 in UTC, None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
