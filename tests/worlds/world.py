"""A whole world in one process: a Plant 3D database and a state database on disk, SYNAPSE in memory, one virtual clock.

Commands go through the command line, without a process of their own. Between two steps of a run anybody may act, and
a run may die at any failpoint: from that moment it can store nothing more, as a dead process could not.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import sqlite3
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from plant3d_sync import failpoints
from plant3d_sync.bootstrap import App
from plant3d_sync.cli.main import run
from plant3d_sync.connectors.memory import MemorySynapse
from plant3d_sync.run.project import World as Ports
from plant3d_sync.state import State
from tests.support.dcf import Dcf
from tests.worlds import fast

Row = dict[str, Any]
Value = str | None

PROJECTS = {name: f"0000000{n}-0000-4000-8000-00000000a55e" for n, name in enumerate(("mine", "second"), 1)}
TAGS = ("P-1", "P-2", "HV-1")
CELLS = {
    "description": "Description",
    "model": "ModelNumber",
    "manufacturer": "Manufacturer",
    "rating": "Rating",
}
"""Field -> column. Description and model are shared, the others are Plant 3D's; the project lacks the rating at first."""
NAMES = {"description": "description", "model": "attributes.model"}
"""Shared field -> what the program calls it."""
FIELDS = {**NAMES, "manufacturer": "attributes.manufacturer"}
SHARED_MODEL = {
    "EngineeringItems": {"fields": {"attributes.model": {"column": "ModelNumber", "owner": "shared"}}}
}
TAGGED = {"P": "Equipment", "H": "HandValves"}
"""First letter of a tag -> the table that holds it."""
TABLES = {"D1": "CentrifugalPump"}
"""Column -> its table; the others stand in EngineeringItems."""
DESCRIBED_BY = {"./elsewhere.yml": ("D1",), "./first.yml": ("D1", "Description")}
"""Mapping -> the columns of a pump's description, where they are others."""
MAPPINGS = {
    "mine.yml": SHARED_MODEL,
    "elsewhere.yml": {
        **SHARED_MODEL,
        "CentrifugalPump": {"fields": {"description": {"column": "D1", "owner": "shared"}}},
    },
    "first.yml": {
        **SHARED_MODEL,
        "CentrifugalPump": {"fields": {"description": {"column": ["D1", "Description"], "owner": "shared"}}},
    },
    "without.yml": {**SHARED_MODEL, "CentrifugalPump": {"entity": "none"}},
}
"""The mapping, and others: the description of pumps comes from elsewhere, or from elsewhere first; no pumps."""
LOOKS = frozenset({"now", "pull", "push"})
"""Commands that read all of Plant 3D."""
ENDED = 0, 3
"""Exit codes of runs that came to their end: well, or with rows in error."""
RUNS = frozenset({"now", "pull", "push", "apply"})
"""Commands that write."""
STRICT = {"create": [0.0, 9], "update": [0.0, 2], "blank": [0.0, 1], "archive": [0.0, 1]}
"""Guards for a plant of three items: what an administrator may set."""
LATE = {"reads": 3, "minutes": 30, "policy": "archive"}
"""An item that is missing is archived, but not before half an hour lies between the reads."""
BEGINNING = 1_800_000_000.0
BETWEEN_MOVES = 600.0
"""Seconds that pass with each move: who was later is known."""


class Killed(BaseException):
    """The process died here."""


class Clock:
    """One for everybody."""

    now = BEGINNING

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def ticks(self) -> int:
        """As Plant 3D stamps its rows."""
        return int((self.moment() - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() * 10_000_000)


CLOCK = Clock()


class Points:
    """What happens at the steps of the run that is under way."""

    def __init__(self) -> None:
        self.at: str = ""
        self.happens: Callable[[], None] | None = None
        self.met = False
        self.dead = False

    def get(self, name: str, otherwise: Any) -> Any:
        """A failpoint is passed."""
        if name == self.at and self.happens is not None and not self.met:
            self.met = True
            self.happens()
        return otherwise

    def forget(self) -> None:
        self.at, self.happens, self.met, self.dead = "", None, False, False

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Another process: what happens at its steps is its own affair."""
        before = self.at, self.happens, self.met, self.dead
        self.forget()
        try:
            yield
        finally:
            self.at, self.happens, self.met, self.dead = before

    def dies(self) -> None:
        self.dead = True
        raise Killed


POINTS = Points()


@dataclass(slots=True)
class Typed:
    """The last words of a person about a field of an item, and whether they have to arrive."""

    side: str
    text: Value
    counts: bool = True
    deleted: bool = False
    arrived: bool = False
    """Whether both sides held them once."""


@dataclass(slots=True)
class Told:
    """What people did: what the oracle judges by. Nothing in here comes from the program."""

    words: dict[tuple[str, str], Typed] = field(default_factory=dict)
    """(item, field) -> the last edit of a person."""
    agreed: dict[str, Value] = field(default_factory=dict)
    """Item -> the description that both sides held last at the end of a command."""
    owned: dict[tuple[str, str], Value] = field(default_factory=dict)
    """(item, column that is Plant 3D's) -> what a designer left there."""
    texts: int = 0
    moves: list[str] = field(default_factory=list)
    decided: set[tuple[str, str]] = field(default_factory=set)
    """(item, field) about which a person decided, and nobody did anything there since."""
    archived: set[str] = field(default_factory=set)
    """Items whose asset a person archived."""
    undone: dict[tuple[str, str], tuple[Value, Value]] = field(default_factory=dict)
    """(item, field) -> what the two sides held before a run that was undone; nobody did anything else since."""
    deleted: dict[str, float] = field(default_factory=dict)
    """Item -> when a designer deleted it. Back and gone again between two runs is one absence: no run can know of two."""
    deleted_with: dict[str, Value] = field(default_factory=dict)
    """Item -> the description it held when a designer deleted it, once SYNAPSE held the same at the end of a command."""
    numbers: dict[str, set[int]] = field(default_factory=dict)
    """Item -> the numbers it had in Plant 3D before: a list may know it under one of them."""
    relinked: set[str] = field(default_factory=set)
    """Items that stand under another number in Plant 3D, which a person accepted."""
    wrong: list[str] = field(default_factory=list)
    """What was seen to be wrong on the way."""
    must_stay: dict[str, Value] = field(default_factory=dict)
    """Item -> words of a designer that SYNAPSE held when an older copy of the file was put back."""
    saved_since: Counter[str] = field(default_factory=Counter)
    """Item -> how often it was saved in Plant 3D since an older copy was put back."""
    saves_behind: dict[str, int] = field(default_factory=dict)
    """Item -> how many saves the older copy lacked of those we knew of."""
    never: set[str] = field(default_factory=set)
    """Texts of another plant: SYNAPSE must not hold them."""
    purged: bool = False
    """Whether an asset was removed and no feed tells: only a run that compares everything can know."""
    rolled_back: bool = False
    """Whether SYNAPSE was put back to an earlier moment."""
    left_alone: set[str] = field(default_factory=set)
    """Items of which a person left alone what was refused, and nobody did anything since."""
    unclear: set[str] = field(default_factory=set)
    """Items of which a person rolled something back: nobody can say which words still count."""


class World:
    """One plant, one or two projects, one SYNAPSE."""

    lists = True
    """Whether the program lists what waits; an earlier version does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.synapse = {uid: MemorySynapse(project_id=uid, now=_now) for uid in PROJECTS.values()}
        self.options: Row = {}
        self.beside: Row = {}
        """Other projects of the configuration."""
        self.told = Told()
        self.items: dict[str, tuple[int, str]] = {}
        self.deleted: dict[str, dict[str, tuple[list[str], list[tuple[Any, ...]]]]] = {}
        self.first: dict[str, Value] = {}
        """Item -> the description that a session holds which is open since the beginning."""
        self.plan: str | None = None
        self.ran: list[str] = []
        self.done: dict[str, dict[tuple[str, str], tuple[Any, Any]]] = {}
        """Run -> (item, field) -> what the sides held before it and after it, where that differs."""
        self.workbook: dict[str, Value] | None = None
        self.kept_synapse: bytes | None = None
        self.last: Row = {}
        self.errors: list[Row] = []
        """What the last runs could not do."""
        self.code = 0
        self.over_http = False
        """Whether what is said now is said to the API."""
        self._looks: dict[Path, sqlite3.Connection] | None = None
        self._seen: dict[str, dict[int, Row]] = {}
        """Table -> its rows by number, as long as the file is as it was at the last look."""
        self._seen_at: tuple[object, ...] = ()

    # ------------------------------------------------------------------ places

    @property
    def dcf(self) -> Path:
        return self.folder / "ProcessPower.dcf"

    @property
    def state(self) -> Path:
        return self.folder / "state.db"

    @property
    def memory(self) -> MemorySynapse:
        return self.synapse[PROJECTS["mine"]]

    def configure(self, **options: Any) -> None:
        """Settings of the project (None takes one away)."""
        self.options = {name: value for name, value in (self.options | options).items() if value is not None}
        project = {
            "synapse_project_id": PROJECTS["mine"],
            "source": self.dcf.name,
            "mapping": ["./mine.yml"],
            "drawings_unseen": "closed",
            "missing": {"reads": 1, "minutes": 0, "policy": "archive"},
            "write": "sql",
            **self.options,
        }
        document = {
            "state_db_url": f"sqlite:///{self.state}",
            "synapse": {"url": "http://127.0.0.1:9"},
            "projects": {"mine": project, **self.beside},
        }
        (self.folder / "plant3d-sync.yml").write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML

    # ------------------------------------------------------------------ Plant 3D, by plain SQL

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._opened(self.dcf) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Nobody acts meanwhile: a database that is looked at is opened once."""
        if self._looks is not None:
            yield
            return
        self._looks = {}
        if (now := self._stands()) != self._seen_at:
            self._seen, self._seen_at = {}, now
        try:
            yield
        finally:
            for connection in self._looks.values():
                connection.close()
            self._looks = None

    def _stands(self) -> tuple[object, ...]:
        """The file with its change counter: another one after each commit."""
        with self.dcf.open("rb") as file:
            counter, found = file.read(28)[24:], os.fstat(file.fileno())
        return counter, found.st_ino, found.st_size, found.st_mtime_ns

    def _opened(self, path: Path) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        if self._looks is None:
            return closing(sqlite3.connect(path, timeout=0))
        if path not in self._looks:
            self._looks[path] = sqlite3.connect(path, timeout=0)
        return contextlib.nullcontext(self._looks[path])

    def _row(self, table: str, tag: str) -> Row:
        """The item's row of a table; nothing where it has none."""
        number = self.items[tag][0]
        if self._looks is None:
            with self.looking():
                return self._row(table, tag)
        if table not in self._seen:
            cursor = self._opened(self.dcf).__enter__().execute(f"SELECT * FROM [{table}]")
            names = [name for name, *_ in cursor.description]
            at = names.index("PnPID")
            self._seen[table] = {row[at]: dict(zip(names, row, strict=True)) for row in cursor}
        return self._seen[table].get(number, {})

    def columns(self, tag: str, name: str) -> tuple[str, ...]:
        """The columns of a field as the mapping has it now; the first that is filled counts."""
        if name != "description" or not tag.startswith("P"):
            return (CELLS[name],)
        (mapping,) = self.options.get("mapping", [""])
        return DESCRIBED_BY.get(mapping, (CELLS[name],))

    def cell(self, tag: str, name: str = "description") -> Value:
        for column in self.columns(tag, name):
            held = self._row(TABLES.get(column, "EngineeringItems"), tag).get(
                column
            )  # an older file lacks it
            if held:
                return str(held)
        return None

    def last_cell(self, tag: str) -> Value:
        """The description of an item that was deleted, as it held it then."""
        for column in self.columns(tag, "description"):
            names, rows = self.deleted.get(tag, {}).get(TABLES.get(column, "EngineeringItems"), ([], []))
            if column in names and rows and (held := rows[0][names.index(column)]):
                return str(held)
        return None

    def writes(self, tag: str, name: str, text: Value) -> None:
        """A designer saves a field where it stands: in its first filled column, else in its first."""
        columns = self.columns(tag, name)
        held = [self._row(TABLES.get(one, "EngineeringItems"), tag)[one] for one in columns]
        column = next((one for one, value in zip(columns, held, strict=True) if value), columns[0])
        self.saves(tag, column, text, TABLES.get(column, "EngineeringItems"))

    def sides(self) -> dict[tuple[str, str], tuple[Value, Value]]:
        """What both sides hold in each field of each item; under "*" whether the item and the asset live."""
        found: dict[tuple[str, str], tuple[Any, Any]] = {}
        with self.looking():
            for tag in self.items:
                row = self.asset(tag)
                found[tag, "*"] = self.is_drawn(tag), row is not None and row["deleted_at"] is None
                for name in ("description", "model", "manufacturer"):
                    found[tag, name] = self.cell(tag, name), self.held(tag, name)
        return found

    def tag_of(self, tag: str) -> Value:
        """The item's tag now: it began with `tag`."""
        return self._row(TAGGED[tag[0]], tag).get("Tag")

    def tags(self, tag: str, text: str) -> None:
        """A designer gives it another tag."""
        self.saves(tag, "Tag", text, TAGGED[tag[0]])

    def is_drawn(self, tag: str) -> bool:
        return bool(self._row("PnPBase", tag))

    def saves(self, tag: str, column: str, text: Value, table: str = "EngineeringItems") -> None:
        """One cell and the stamp of its row, as Plant 3D saves it."""
        pnpid = self.items[tag][0]
        self.told.saved_since[tag] += 1
        with closing(sqlite3.connect(self.dcf, timeout=0)) as connection, connection:
            connection.execute(f"UPDATE [{table}] SET [{column}] = ? WHERE PnPID = ?", (text, pnpid))
            connection.execute(
                "UPDATE PnPBase SET PnPTimestamp = max(?, PnPTimestamp + 1), PnPRevision = PnPRevision + 1 "
                "WHERE PnPID = ?",
                (CLOCK.ticks(), pnpid),
            )

    def knows(self, tag: str, pnpid: int) -> None:
        """An item that was drawn."""
        ((raw,),) = self.sql("SELECT PnPGuid FROM PnPBase WHERE PnPID = ?", pnpid)
        self.items[tag] = pnpid, _guid(raw)
        self.first[tag] = self.cell(tag)
        self.told.owned[tag, "manufacturer"] = self.cell(tag, "manufacturer")

    # ------------------------------------------------------------------ SYNAPSE

    def assets(self, tag: str) -> list[Row]:
        """Every asset that carries the item's identity: to look at, not to change."""
        return [row for row in self.memory._by_seq() if row["plant3d_id"] == self.items[tag][1]]

    def asset(self, tag: str) -> Row | None:
        found = self.assets(tag)
        return found[0] if found else None

    def held(self, tag: str, name: str = "description") -> Value:
        row = self.asset(tag)
        value: Value = None if row is None else row[name] if name in row else row["attributes"].get(name)
        return value

    # ------------------------------------------------------------------ our state, by plain SQL

    def rows(self, statement: str, *values: object) -> list[Row]:
        with self._opened(self.state) as connection:
            cursor = connection.cursor()
            cursor.row_factory = sqlite3.Row  # type: ignore[assignment]
            return [dict(row) for row in cursor.execute(statement, values)]

    # ------------------------------------------------------------------ the command line

    def cli(self, *words: str) -> Row:
        """A command, or the same over the API; what it answered. It may die where `POINTS` says."""
        self.code, answer = -9, {}
        alone = POINTS.happens is None
        before = self.sides() if words[0] in RUNS or self.over_http else {}
        try:
            with current(self), _unheard():
                self.code, answer = self._asks(*words) if self.over_http else self._types(*words)
        except Killed:
            fast.put_down(self.state)
            with closing(sqlite3.connect(self.state)) as connection, connection:
                connection.execute("UPDATE lease SET expires_at = 0")
        finally:
            POINTS.forget()
        with self.looking():
            for (tag, name), typed in self.told.words.items():
                typed.arrived |= self.cell(tag, name) == typed.text == self.held(tag, name)
            for tag in self.items:
                if (held := self.held(tag)) is not None and held == self.cell(tag):
                    self.told.agreed[tag] = held
                if self.is_drawn(tag):
                    if before.get((tag, "*"), (False,))[0] and words[0] in LOOKS and self.code in ENDED:
                        self.told.deleted.pop(tag, None)
                elif held == self.last_cell(tag):
                    self.told.deleted_with[tag] = held
        ran = answer.get("run_id") if words[0] in RUNS else answer.get("ran")
        if ran and words[0] != "plan":
            self.last = answer
            self.ran.append(ran)
            if alone:
                self._watch(ran, before, unattended=words[0] != "apply")
        return answer

    def _types(self, *words: str) -> tuple[int, Row]:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(out):
            code = run(["--config", str(self.folder / "plant3d-sync.yml"), "--json", *words])
        out.flush()
        text = out.buffer.getvalue()  # type: ignore[attr-defined]
        return code, json.loads(text) if text else {}

    def _asks(self, *words: str) -> tuple[int, Row]:
        from tests.worlds.over_http import (
            Caller,
        )  # the web service: whoever plays without it need not load it

        return Caller(self.folder).asks(*words)

    def queue_goes_on(self) -> None:
        """A worker carries out what waits since somebody asked for it over the API."""
        if self.state.exists() and self.rows("SELECT 1 FROM run WHERE status = 'queued'"):
            from tests.worlds.over_http import Caller

            with current(self), _unheard():
                Caller(self.folder).work()

    def _watch(
        self, run_id: str, before: dict[tuple[str, str], tuple[Any, Any]], *, unattended: bool
    ) -> None:
        """What a run did, as both sides show it; nobody acted beside it."""
        after = self.sides()
        changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        self.done[run_id] = changed
        for tag in {tag for tag, name in changed if name == "*" and not after[tag, "*"][1]}:
            if after[tag, "*"][0] and not (self.told.moves and self.told.moves[-1].startswith("undo")):
                self.told.wrong.append(f"the asset of {tag} was archived, and its item lives")
            if self.options.get("missing") == LATE and CLOCK.now < self.told.deleted.get(tag, 0.0) + 1800:
                self.told.wrong.append(
                    f"the asset of {tag} was archived before its item was missing for half an hour"
                )
        if (
            self.options.get("guards") != STRICT
            or not unattended
            or any("choose" in one for one in self.told.moves)
        ):
            return
        for side, name in enumerate(("Plant 3D", "SYNAPSE")):
            theirs = {
                key: (then[side], now[side])
                for key, (then, now) in changed.items()
                if then[side] != now[side] and key[1] != "*" and all(before[key[0], "*"])
            }
            emptied = {tag for (tag, _field), (then, now) in theirs.items() if then and not now}
            for what, items, limit in (
                ("emptied", emptied, 1),
                ("changed", {tag for tag, _field in theirs}, 2),
            ):
                if len(items) > limit:
                    self.told.wrong.append(
                        f"{name}: {len(items)} items were {what}, and the guard says {limit}"
                    )

    # ------------------------------------------------------------------ copies of the whole

    def close(self) -> None:
        """The world ends."""
        fast.put_down(self.state)
        shutil.rmtree(self.folder, ignore_errors=True)

    def copy(self, folder: Path) -> World:
        """The same world in another folder: what happens there happens only there."""
        folder.mkdir(parents=True, exist_ok=True)
        fast.put_down(self.state)
        for path in self.folder.iterdir():
            if path.is_file() and not path.name.startswith("state.db-"):
                shutil.copyfile(path, folder / path.name)
        twin = World(folder)
        names = (
            "options",
            "beside",
            "kept_synapse",
            "told",
            "items",
            "deleted",
            "first",
            "plan",
            "ran",
            "done",
            "workbook",
            "last",
            "code",
        )
        kept = {name: getattr(self, name) for name in names}
        vars(twin).update(pickle.loads(pickle.dumps(kept)))  # noqa: S301 - quicker than a deep copy, of our own
        twin.synapse = {uid: copied(one) for uid, one in self.synapse.items()}
        twin.configure()
        return twin


def copied(synapse: MemorySynapse) -> MemorySynapse:
    """The same SYNAPSE once more."""
    return filled(pickle.dumps(vars(synapse)))


def filled(content: bytes) -> MemorySynapse:
    """A SYNAPSE with this content."""
    made = MemorySynapse.__new__(MemorySynapse)
    vars(made).update(pickle.loads(content))  # noqa: S301 - of our own
    return made


def _now() -> datetime:
    return CLOCK.moment()


_worlds: list[World] = []


@contextmanager
def current(world: World) -> Iterator[None]:
    """Commands reach this world's SYNAPSE."""
    _worlds.append(world)
    try:
        yield
    finally:
        _worlds.pop()


@contextmanager
def _unheard() -> Iterator[None]:
    """What the program writes for people and into its log."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


@contextmanager
def ports() -> Iterator[None]:
    """The program with the adapters of a world: its clock, its SYNAPSE in memory, its deaths."""

    def synapse(app: App, name: str, *_given: Any, **_more: Any) -> MemorySynapse:
        return _worlds[-1].synapse[app.config.projects[app.project_name(name)].synapse_project_id]

    def world(app: App, progress: Any = None) -> Ports:
        more = {} if progress is None else {"progress": progress}
        return Ports(state=app.state, clock=lambda: CLOCK.now, **more)

    write = State.write

    @contextmanager
    def writes_while_it_lives(state: State) -> Iterator[Any]:
        if POINTS.dead:
            raise Killed
        with write(state) as connection:
            yield connection

    kept = os.environ.get("SYNAPSE_API_KEY")
    os.environ["SYNAPSE_API_KEY"] = "worlds"
    actors: list[fast.Patch] = [
        (App, "synapse", synapse),
        (App, "world", world),
        (State, "write", writes_while_it_lives),
        (failpoints, "_armed", POINTS),
    ]
    try:
        with fast.patched([*actors, *fast.patches()]):
            yield
    finally:
        os.environ.pop("SYNAPSE_API_KEY")
        if kept is not None:
            os.environ["SYNAPSE_API_KEY"] = kept


@contextmanager
def somewhere() -> Iterator[Path]:
    """A folder for worlds: in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="p3dsync-worlds-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    ) as name:
        before, tempfile.tempdir = tempfile.tempdir, name  # private copies of a run, too
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = before


def beginning(folder: Path, *, tags: tuple[str, ...] = TAGS) -> World:
    """A world whose two sides agree: these items were drawn and pulled once."""
    folder.mkdir(parents=True, exist_ok=True)
    CLOCK.now = BEGINNING
    world = World(folder)
    dcf = Dcf(world.dcf)
    dcf.sql("INSERT INTO PnPProperties VALUES ('EngineeringItems', 'ModelNumber', 'System.String', 255)")
    with dcf.at_once():
        ids = [
            dcf.add(
                "GateValve" if tag.startswith("HV") else "CentrifugalPump",
                Tag=tag,
                Description=f"{tag}, as drawn",
                Manufacturer="Sulzer",
                ModelNumber=f"model of {tag}",
                **({} if tag.startswith("HV") else {"D1": f"{tag}, as D1 says"}),
            )
            for tag in tags
        ]
        drawing = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\A.dwg", **{"Dwg Name": "A.dwg"})
        dcf.draw(drawing, *ids)
        dcf.sql("UPDATE PnPSys_PnPBase_PnPID SET cnt = 1000")
    for tag, pnpid in zip(tags, ids, strict=True):
        world.knows(tag, pnpid)
    for name, classes in MAPPINGS.items():
        document = {"version": 1, "extends": "stock", "classes": classes}
        (folder / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    world.configure()
    world.cli("now", "mine")
    assert world.code == 0, world.last
    for tag in tags:
        row = world.asset(tag)
        assert row is not None
        world.memory.user_edit(str(row["id"]), notes=f"notes of {tag}")
    world.cli("now", "mine")
    assert world.code == 0, world.last
    return world


def _guid(raw: object) -> str:
    return str(uuid.UUID(bytes_le=raw)) if isinstance(raw, bytes) else str(uuid.UUID(str(raw)))
