"""What every request needs: the state database, the configuration, the bell, a few shared limits."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import msgspec

from plant3d_sync.bootstrap import App
from plant3d_sync.jobqueue import Bell
from plant3d_sync.model.side import Direction
from plant3d_sync.run.project import World
from plant3d_sync.settings import ProjectFile
from plant3d_sync.state import State, keys
from plant3d_sync.state.keys import ApiKey
from plant3d_sync.usecases.health import Watched
from plant3d_sync.web.counts import RunCounts
from plant3d_sync.web.errors import not_found, unknown_project

WAITERS = 16
"""How many requests may wait for a run at once; further ones are answered 202 immediately."""

WAITERS_OF_A_KEY = 8

STREAMS = 64
"""How many event streams may be open in one process."""

STREAMS_OF_A_KEY = 16

T = TypeVar("T")
Place = Literal["taken", "full", "share"]


class Places:
    """A fixed number of places, and how many of them one key may hold; whoever finds none is told so at once."""

    def __init__(self, number: int, share: int) -> None:
        self._number = number
        self._share = share
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, who: str) -> Place:
        """`taken`; `share` when this key holds its share already; `full` when all places are taken."""
        with self._lock:
            if self._held[who] >= self._share:
                return "share"
            if self._held.total() >= self._number:
                return "full"
            self._held[who] += 1
            return "taken"

    def give_back(self, who: str) -> None:
        """Leave the place."""
        with self._lock:
            self._held[who] -= 1
            if self._held[who] <= 0:
                del self._held[who]

    @contextmanager
    def one(self, who: str) -> Iterator[Place]:
        """Hold a place for the block, if there is one."""
        place = self.take(who)
        try:
            yield place
        finally:
            if place == "taken":
                self.give_back(who)


class Context(msgspec.Struct, kw_only=True):
    """Shared by all requests of one process. `poll`: seconds between looks at a run somebody waits for."""

    app: App
    world: World
    bell: Bell
    poll: float = 0.2
    counts: RunCounts = msgspec.field(default_factory=RunCounts)
    waiters: Places = msgspec.field(default_factory=lambda: Places(WAITERS, WAITERS_OF_A_KEY))
    streams: Places = msgspec.field(default_factory=lambda: Places(STREAMS, STREAMS_OF_A_KEY))
    ending: threading.Event = msgspec.field(default_factory=threading.Event)
    """Set when this process was asked to end: nobody waits for a run any more."""

    @property
    def queue_kind(self) -> Literal["embedded", "redis"]:
        """How workers hear of a run."""
        return "redis" if self.bell.kind == "redis" else "embedded"

    @property
    def state(self) -> State:
        """The state database."""
        return self.world.state

    @property
    def clock(self) -> Callable[[], float]:
        """Now in POSIX seconds."""
        return self.world.clock

    def entry(self, name: str) -> ProjectFile:
        """A project's configuration."""
        return self.app.config.projects[name]

    def write_mode(self, name: str) -> str:
        """How values may get into a project's Plant 3D database at this moment."""
        return self.app.write_mode(name).value

    def watched(self, name: str) -> Watched:
        """What is expected of a project."""
        entry = self.entry(name)
        stopped = self.app.write_stopped(name)
        minutes = entry.interval_minutes or self.app.settings.sync_interval_minutes
        return Watched(
            name=name,
            active=entry.active,
            interval=minutes * 60.0,
            skew_allowed=entry.conflict.tolerance,
            direction=Direction(entry.direction),
            coverage_warn=entry.coverage.warn,
            config_error="" if stopped is None else stopped.message,
        )

    def visible(self, key: ApiKey) -> list[str]:
        """Configured projects a key may see."""
        return [name for name in self.app.project_names() if may_see(key, name)]

    def project(self, key: ApiKey, asked: str) -> str:
        """The configured name of a project given by name or SYNAPSE UUID. Refuses 404 what the key may not see."""
        visible = self.visible(key)
        if asked in visible:
            return asked
        for name in visible:
            if self.entry(name).synapse_project_id.lower() == asked.lower():
                return name
        raise unknown_project(asked, visible)

    def found(self, key: ApiKey, thing: T | None, project: str | None, what: str, name: object) -> T:
        """The object somebody asked for by its id. `project`: whose it is, None if that was looked at already.

        Refuses 404 when it is not there, when the key may not see its project, when that is not configured any more:
        the only place where such an answer is made, so that none tells which of them it was.
        """
        known = project is None or (project in self.app.config.projects and may_see(key, project))
        if thing is None or not known:
            raise not_found(what, name)
        return thing

    def verify(self, presented: str) -> ApiKey | None:
        """The key somebody presents, None unless it is good."""
        with self.state.read() as connection:
            return keys.verify(connection, presented, now=self.clock())


def may_see(key: ApiKey, project: str) -> bool:
    """Whether a key is good for a project."""
    return key.projects is None or project in key.projects
