"""The way back in tests: what a push did to the Plant 3D database, edits on both sides, runs at a chosen time.

Nothing here shares code with the program: the database is compared cell by cell by plain SQL.
"""

from __future__ import annotations

import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec.structs import force_setattr

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.model.side import Direction
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from plant3d_sync.run.project import World as Clocked
from plant3d_sync.run.report import Report
from plant3d_sync.sample import edits
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, MakeWorld, Row, Said, World, new_world

HOUR = 3600.0
DAY = 24 * HOUR
STAMPS = ("PnPTimestamp", "PnPRevision")
DESCRIPTION_TABLE = {"lines": "PipeLineGroup"}

Cells = dict[tuple[str, int, str], tuple[Any, Any]]
"""(table, PnPID or row number, column) -> (before, after)."""


# ---------------------------------------------------------------- small worlds


def small_plant(path: Path) -> None:
    """A project of 24 items with few classes, so that a run takes a moment. The first pump holds its class default."""
    dcf = Dcf(path)
    drawing = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\A.dwg", **{"Dwg Name": "A.dwg"})
    dcf.attribute("CentrifugalPump", "Description", "VALUE", "PUMP")
    items = [
        dcf.add("CentrifugalPump", Tag=f"P-{number}", Description=f"Pump {number}" if number > 1 else "PUMP")
        for number in range(1, 11)
    ]
    items += [
        dcf.add("GateValve", Tag=f"HV-{number}", Description=f"Valve {number}", Size='2"')
        for number in range(1, 9)
    ]
    items += [
        dcf.add("FieldMountedDCS", Tag=f"FT-{number}", Description=f"Flow {number}") for number in range(1, 5)
    ]
    for number in range(1, 3):
        line = dcf.add(
            "PipeLineGroup", Tag=f"L-{number}", LineNumber=str(number), Description=f"Line {number}"
        )
        segment = dcf.add("Primary", Tag=f"L-{number}")
        dcf.relate("PipeLineGroupRelationship", PipeLineGroup=line, PipeLine=segment)
        items.append(segment)
    dcf.draw(drawing, *items)


@functools.cache
def _small_plant() -> bytes:
    """The small project, drawn once a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.dcf"
        small_plant(path)
        return path.read_bytes()


def small_worlds(folder: Path, synapse: RunningSynapse) -> MakeWorld:
    """`make_world(name=…, **project settings)` over the small project; it may be written to unless told otherwise."""
    template = folder / "small.dcf"
    template.write_bytes(_small_plant())

    def make(*, name: str = "world", **options: Any) -> World:
        return new_world(
            folder / name, synapse, template, **{"write": "sql", "drawings_unseen": "closed", **options}
        )

    return make


def retagged(world: World, pnpid: int, tag: str) -> None:
    """A designer gives an item of the small project another tag."""
    for table in ("Equipment", "HandValves", "Instrumentation"):
        world.change(f"UPDATE [{table}] SET Tag = ? WHERE PnPID = ?", tag, pnpid)
    world.change(
        "UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 10000000, PnPRevision = PnPRevision + 1 WHERE PnPID = ?",
        pnpid,
    )


# ---------------------------------------------------------------- the Plant 3D database


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table, its column names first, then its rows in a stable order; schema text included."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        found: dict[str, list[tuple[Any, ...]]] = {"sqlite_master": [("type", "name", "sql"), *schema]}
        for kind, raw, _sql in schema:
            if kind != b"table":
                continue
            rows = connection.execute(f'SELECT rowid, * FROM "{raw.decode()}" ORDER BY 1')
            head = tuple(column[0] for column in rows.description)
            found[raw.decode()] = [head, *rows.fetchall()]
    return found


def changed_cells(before: Path, after: Path) -> Cells:
    """What differs between two databases, cell by cell. A row or table too many shows as column `*`."""
    old, new = contents(before), contents(after)
    changed: Cells = {(name, 0, "*"): (name in old, name in new) for name in old.keys() ^ new.keys()}
    for name in old.keys() & new.keys():
        head = old[name][0]
        if head != new[name][0]:
            changed[name, 0, "*"] = (head, new[name][0])
            continue
        rows = ({row[0]: row for row in side[name][1:]} for side in (old, new))
        was, now = rows
        for key in was.keys() | now.keys():
            if key not in was or key not in now:
                changed[name, key, "*"] = (was.get(key), now.get(key))
                continue
            for column, one, other in zip(head, was[key], now[key], strict=True):
                if one != other:
                    changed[name, key, column] = (one, other)
    return changed


def values_only(cells: Cells) -> dict[tuple[str, int, str], str | None]:
    """New values of changed cells without stamps and revisions."""
    return {
        key: value.decode() if isinstance(value, bytes) else value
        for key, (_old, value) in cells.items()
        if key[2] not in STAMPS
    }


def stamped(cells: Cells) -> set[int]:
    """Items whose stamp and revision were raised, the revision by exactly one; anything else is an error."""
    items = {key[1] for key in cells if key[2] in STAMPS}
    for pnpid in items:
        old, new = cells["PnPBase", pnpid, "PnPRevision"]
        assert new == (old or 0) + 1, f"the revision of {pnpid} went from {old} to {new}"
        old, new = cells["PnPBase", pnpid, "PnPTimestamp"]
        assert new > (old or 0), f"the stamp of {pnpid} went from {old} to {new}"
    return items


def only_these(before: Path, world: World, wanted: dict[int, str | None]) -> None:
    """Nothing in the file differs but these descriptions, and the stamp and revision of just these items, once."""
    cells = changed_cells(before, world.dcf)
    found = {key[1]: value for key, value in values_only(cells).items()}
    assert found == wanted, f"cells differ: {values_only(cells)}"
    assert {key[2] for key in values_only(cells)} <= {"Description"}
    assert stamped(cells) == set(wanted), "stamp and revision of just these items"


def kept(world: World, name: str = "before.dcf") -> Path:
    """A copy of the database as it is now, outside the world's folder."""
    path = world.folder.parent / f"{world.folder.name}-{name}"
    shutil.copyfile(world.dcf, path)
    return path


def cell(world: World, pnpid: int) -> str | None:
    """The description of an item in Plant 3D, by plain SQL."""
    for table in ("EngineeringItems", "PipeLineGroup"):
        rows = world.sql(f"SELECT Description FROM {table} WHERE PnPID = ?", pnpid)
        if rows:
            value: str | None = rows[0][0]
            return value
    raise AssertionError(f"no row for {pnpid}")


def revision(world: World, pnpid: int) -> int:
    """How often the item was saved, as Plant 3D counts."""
    ((found,),) = world.sql("SELECT PnPRevision FROM PnPBase WHERE PnPID = ?", pnpid)
    return int(found or 0)


def redescribed(world: World, pnpid: int, text: str | None) -> None:
    """A designer changes the description in Plant 3D."""
    edits.set_value(world.dcf, pnpid, "Description", text)


# ---------------------------------------------------------------- SYNAPSE's side


def user_describes(world: World, pnpid: int, text: str | None, **more: Any) -> Row:
    """Somebody changes the description in SYNAPSE. `_at`, `_by`: when and who."""
    return world.user_edits(world.asset_of(pnpid)["id"], description=text, **more)


def description(world: World, pnpid: int) -> str | None:
    """SYNAPSE's description of an item."""
    text: str | None = world.asset_of(pnpid)["description"]
    return text


def both(world: World, pnpid: int) -> tuple[str | None, str | None]:
    """The description in Plant 3D and in SYNAPSE."""
    return cell(world, pnpid), description(world, pnpid)


# ---------------------------------------------------------------- commands


def ok(said: Said, code: int = 0) -> Row:
    """The document of a command that must end with this exit code."""
    assert said.code == code, (said.code, said.out, said.err)
    return said.json


def push(world: World, *words: str, code: int = 0) -> Row:
    """`push mine`."""
    return ok(world.cli("push", NAME, *words), code)


def now(world: World, *words: str, code: int = 0) -> Row:
    """`now mine`."""
    return ok(world.cli("now", NAME, *words), code)


def planned(world: World, *words: str, code: int = 0) -> Row:
    """`plan mine`."""
    return ok(world.cli("plan", NAME, *words), code)


def undone(world: World, run_id: str, *words: str) -> Row:
    """`undo RUN`."""
    return ok(world.cli("undo", run_id, *words))


def refusals(report: Row) -> dict[int, str]:
    """PnPID -> code of the items a run could not do."""
    return {error["pnpid"]: error["code"] for error in report["errors"]}


def at_rest(world: World) -> None:
    """The next runs, in full and both ways, write nothing anywhere, and nobody is left half-done."""
    bytes_before, writes_before = world.fingerprint(), world.writes()
    for report in (world.pulled("--full"), now(world)):
        assert report["writes"] == {"synapse": 0, "plant3d": 0}, report
    assert (world.fingerprint(), world.writes()) == (bytes_before, writes_before), "a later run wrote"
    assert world.rows("SELECT id FROM intent WHERE status = 'open'") == []


# ---------------------------------------------------------------- runs at a chosen time


@dataclass
class Clock:
    """Our clock in a test: POSIX seconds, moved by hand."""

    at: float

    def __call__(self) -> float:
        return self.at

    def iso(self, offset: float = 0.0) -> str:
        """This moment (plus `offset` seconds) as RFC 3339."""
        return datetime.fromtimestamp(self.at + offset, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Bench:
    """One project run in this process at the times of `clock`; `skew` is what we believe of SYNAPSE's clock."""

    world: World
    app: App
    clock: Clock
    skew: float | None = 0.0

    def run(self, direction: Direction = Direction.BOTH, **asked: Any) -> Report:
        """One run as the scheduler makes it."""
        return self._engine().run(Request(asked=Asked(direction=direction, **asked)))

    def apply(self, plan_id: str) -> Report:
        """Apply a stored plan."""
        return self._engine().apply(plan_id, approve_guards=False, request=Request())

    def clocked(self) -> Clocked:
        """State and clock for use cases."""
        return Clocked(state=self.app.state, clock=self.clock)

    def _engine(self) -> Engine:
        project = self.app.project(NAME)
        capabilities = project.synapse.capabilities()
        force_setattr(capabilities, "skew_seconds", self.skew)
        return Engine(self.clocked(), project)


@contextmanager
def bench(world: World, *, at: float, skew: float | None = 0.0) -> Iterator[Bench]:
    """Run this world in process, from this moment on."""
    with patch.dict("os.environ", world.environment({})):
        app = make_app(world.config)
        try:
            yield Bench(world=world, app=app, clock=Clock(at=at), skew=skew)
        finally:
            app.state.close()


Check = Callable[[World], None]
