"""One project, one writer: a lease with heartbeat and fence.

The fence grows with every take-over and is checked inside each writing transaction, so a process that
was away too long cannot write any more. Expiry is judged by the database's clock. A lease whose holder
is provably gone (`plant3d_sync.state.whose`) is taken over at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from plant3d_sync.errors import LeaseLost, RetryLaterError, SyncError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.state.store import State
from plant3d_sync.state.tables import lease
from plant3d_sync.state.whose import holder_name, is_alive

DEFAULT_SECONDS = 30.0

LONGEST = 900.0
"""Seconds. A lease of another machine that seems to last longer was taken before the database's clock was set back."""


def is_held(holder: str | None, expires_at: float, now: float, seconds: float) -> bool:
    """Whether a lease of this length holds; both times are the database's."""
    if not holder or expires_at <= now:
        return False
    alive = is_alive(holder)
    return expires_at <= now + max(LONGEST, 2 * seconds) if alive is None else alive


class Fence(msgspec.Struct, frozen=True):
    """Proof that a run may write: the project and its lease's counter."""

    project: str
    number: int

    def check(self, connection: Connection) -> None:
        """Refuse the transaction unless this fence is still the newest. Raises LeaseLost."""
        found = connection.execute(_STILL_OURS, {"whose": self.project, "number": self.number})
        if found.rowcount != 1:
            raise LeaseLost(
                f"Another run of {self.project} took over. This one stopped and wrote nothing more.",
                hint="Look at the newer run; nothing has to be repaired.",
                details={"fenced": True},
            )

    def holds(self, connection: Connection) -> bool:
        """Whether this fence is still the newest, at the moment of asking; `check` is what a write relies on."""
        return connection.execute(_LOOK, {"whose": self.project, "number": self.number}).first() is not None


_OURS = sa.update(lease).where(
    lease.c.project == sa.bindparam("whose"), lease.c.fence == sa.bindparam("number")
)
_STILL_OURS = _OURS.where(lease.c.holder.is_not(None)).values(fence=lease.c.fence)
_LOOK = sa.select(lease.c.fence).where(
    lease.c.project == sa.bindparam("whose"),
    lease.c.fence == sa.bindparam("number"),
    lease.c.holder.is_not(None),
)
_GIVEN_BACK = _OURS.values(holder=None, expires_at=0.0)


class _Timed(msgspec.Struct, frozen=True):
    """Statements that read the database's clock, which each dialect spells its own way."""

    look: sa.Select[Any]
    take: sa.Update
    renew: sa.Update


_TIMED: dict[str, _Timed] = {}


def _timed(state: State) -> _Timed:
    if state.dialect not in _TIMED:
        now = state.now_sql()
        until = now + sa.bindparam("seconds", type_=sa.Double())
        _TIMED[state.dialect] = _Timed(
            look=sa.select(lease.c.holder, lease.c.fence, lease.c.expires_at, now.label("now")).where(
                lease.c.project == sa.bindparam("whose")
            ),
            take=_OURS.values(holder=sa.bindparam("by"), fence=lease.c.fence + 1, expires_at=until),
            renew=_OURS.values(expires_at=until),
        )
    return _TIMED[state.dialect]


class Lease:
    """Take, keep and give back the lease of one project. Use as a context manager."""

    def __init__(
        self,
        state: State,
        project: str,
        run_id: str,
        *,
        seconds: float = DEFAULT_SECONDS,
        on_beat: Callable[[], None] | None = None,
    ) -> None:
        self._state = state
        self._project = project
        self._holder = holder_name(run_id)
        self._seconds = seconds
        self._on_beat = on_beat
        self._stop = threading.Event()
        self.lost = threading.Event()
        self._thread: threading.Thread | None = None
        self.fence = Fence(project, 0)

    def __enter__(self) -> Lease:
        self.fence = Fence(self._project, self._take())
        failpoint("lease.taken")
        self._thread = threading.Thread(target=self._beat, name=f"lease-{self._project}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self._seconds)
        self._release()
        failpoint("lease.released")

    def _take(self) -> int:
        statements = _timed(self._state)
        with self._state.write() as connection:
            row = connection.execute(statements.look, {"whose": self._project}).first()
            if row is None:
                try:
                    connection.execute(
                        sa.insert(lease).values(
                            project=self._project,
                            holder=self._holder,
                            fence=1,
                            expires_at=self._state.now_sql() + self._seconds,
                        )
                    )
                except sa.exc.IntegrityError as error:
                    raise self._busy("another run") from error
                return 1
            if is_held(row.holder, row.expires_at, row.now, self._seconds):
                raise self._busy(f"run {orjson.loads(row.holder).get('run')}")
            taken = connection.execute(
                statements.take,
                {"whose": self._project, "number": row.fence, "by": self._holder, "seconds": self._seconds},
            )
            if taken.rowcount != 1:
                raise self._busy("another run")
            return int(row.fence) + 1

    def _busy(self, who: str) -> RetryLaterError:
        return RetryLaterError(
            f"{self._project} is being synchronised by {who}. This run did nothing.",
            hint="Wait for it (`plant3d-sync runs`), then run again.",
            code="project_busy",
        )

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                if not self._renew():
                    self.lost.set()
                    return
                if self._on_beat is not None:
                    self._on_beat()
            except SyncError:
                continue  # the state database is away for a moment; the fence decides, not this thread

    def _renew(self) -> bool:
        with self._state.write() as connection:
            done = connection.execute(
                _timed(self._state).renew,
                {"whose": self._project, "number": self.fence.number, "seconds": self._seconds},
            )
            return done.rowcount == 1

    def _release(self) -> None:
        with self._state.write() as connection:
            connection.execute(_GIVEN_BACK, {"whose": self._project, "number": self.fence.number})
