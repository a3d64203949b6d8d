"""Step 1: both sides as one run reads them, SYNAPSE's feed and one moment of Plant 3D, with the rules that fit both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import msgspec
from msgspec.structs import replace

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.run import preflight
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import Feed, Stop, go_on, read_feed
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.tally import LOCKS


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """What a run read, next to what was known before. `copied_after`: when the copy began (POSIX seconds); what it does not
    show yet happened after that. `signature`: the file's, None if it moved meanwhile.
    """

    known: ProjectState
    feed: Feed
    snapshot: PlantSnapshot
    signature: str | None
    copied_after: float
    rules: RuleSet

    def mapping_digest(self, project: Project) -> str:
        """Names the project's mapping and what it came to for this catalogue."""
        return f"{project.mapping_token()}:{self.rules.digest}"


def remembered(world: World, project: Project) -> ProjectState:
    """What is known of the project; of a new one nothing is, and nothing is stored."""
    with world.state.read() as connection:
        known = project_state.get(connection, project.name)
    return known or ProjectState(name=project.name, number=0)


def greet(project: Project, known: ProjectState) -> None:
    """Ask SYNAPSE who it is and what time it is there. Raises ConfigError if it is another project than we know."""
    preflight.check_synapse_project(project, known)
    known.skew = project.synapse.capabilities().skew_seconds


class Reader:
    """Reads both sides for one run. `keep`: what SYNAPSE shows is stored, as a dry run does not."""

    def __init__(
        self, world: World, project: Project, known: ProjectState, *, keep: bool, stop: Stop = go_on
    ) -> None:
        self._world = world
        self._project = project
        self._known = known
        self._keep = keep
        self._stop = stop

    def feed(self, *, full: bool) -> Feed:
        """SYNAPSE since the last read, or from the beginning."""
        with self._project.timed("read_synapse") if self._keep else nullcontext():
            return read_feed(
                self._world, self._project, self._known, full=full, keep=self._keep, stop=self._stop
            )

    @contextmanager
    def copied(self, feed: Feed) -> Iterator[Sides]:
        """With one moment of Plant 3D, as long as it is looked at."""
        project = self._project
        copied_after = self._world.clock()
        signature = project.source.signature()
        with project.timed("copy"):
            snapshot = project.source.snapshot()
        try:
            if snapshot.lock_ms > 0:
                project.counts.observe("lock", seconds=snapshot.lock_ms / 1000, bounds=LOCKS)
            if signature != project.source.signature():
                signature = None  # it moved while we copied: never take this for "unchanged"
            yield Sides(
                known=self._known,
                feed=feed,
                snapshot=snapshot,
                signature=signature,
                copied_after=copied_after,
                rules=project.rules(snapshot.catalog),
            )
        finally:
            snapshot.close()

    def fit(self, sides: Sides) -> Sides:
        """The same, with SYNAPSE read from the beginning if the rules ask for fields that were never kept."""
        preflight.check_neighbours(self._world, self._project, sides.snapshot.identity)
        if not _are_new(self._project, self._known, sides):
            return sides
        return replace(sides, feed=self.feed(full=True))


def asks_for_everything(project: Project, known: ProjectState, *, full: bool) -> bool:
    """A new mapping may need fields that were never kept: read SYNAPSE from the beginning."""
    if known.mapping_digest is None:
        return known.feed_cursor is None
    token = known.mapping_digest.split(":", 1)[0]
    return full or token != project.mapping_token()


def _are_new(project: Project, known: ProjectState, sides: Sides) -> bool:
    """Whether the project grew or lost a mapped column: what SYNAPSE holds in such a field was never kept."""
    if known.mapping_digest is None or sides.feed.reset:
        return False
    if known.mapping_version is None:
        return True  # a state of an earlier version, which passed such fields over
    return known.mapping_digest != sides.mapping_digest(project)
