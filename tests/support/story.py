"""Words for stories: who types what where, which command runs when, and what must hold then.

A story knows the program only from outside: the command line, the HTTP API, SYNAPSE's API and plain SQL on the
Plant 3D database. What a story arranges is checked with `assert`; what the product promises is checked by `Then`,
which raises `BrokenPromise`. So an expected failure can never hide a story that was arranged wrongly.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openpyxl
import pytest
import yaml

from plant3d_sync.bootstrap import make_app
from plant3d_sync.errors import SyncError
from plant3d_sync.model.side import Direction
from plant3d_sync.run import write_plant3d as push
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Engine, Request
from tests.support.dcf import ROLES, Dcf
from tests.support.freezer import Freezer, Frozen
from tests.support.synapse_dev import RunningSynapse
from tests.support.world import NAME, Row, Said, World, new_world

Value = str | None

COLUMNS = {
    "description": "Description",
    "model": "ModelNumber",
    "manufacturer": "Manufacturer",
    "size": "Size",
}
"""Field of a story -> column of Plant 3D. Other names are columns themselves."""

ARCHIVING = {"reads": 1, "minutes": 0, "policy": "archive"}
"""What is gone is archived at the first read without it."""

OUR_POINTS = {"P3DSYNC_TEST": "1"}
ENDS_WELL = (0, 3, 5, 75, 78)
"""Exit codes of a command that understood what it was asked: done, with issues, guarded, busy, settings."""


class BrokenPromise(AssertionError):
    """The product did not do what it promises; the story itself was arranged rightly."""


def promise(holds: bool, otherwise: object) -> None:
    """Raise BrokenPromise unless it holds."""
    if not holds:
        raise BrokenPromise(str(otherwise))


# ---------------------------------------------------------------- the plant


def plant(path: Path, *, more_pumps: int = 0, model: bool = True) -> None:
    """P-1 … P-4, HV-1 … HV-3, FT-1, FT-2 and the line L-1. P-4 has no description yet.

    `model`: whether the project has the column ModelNumber at all. `more_pumps`: how many more, from P-100 on.
    """
    dcf = Dcf(path)
    if model:
        dcf.sql("INSERT INTO PnPProperties VALUES ('EngineeringItems', 'ModelNumber', 'System.String', 255)")
    drawing = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\A.dwg", **{"Dwg Name": "A.dwg"})
    items = [
        dcf.add(
            "CentrifugalPump",
            Tag=f"P-{number}",
            Description=f"Pump {number}, as drawn" if number < 4 else None,
            ModelNumber=f"M-{number}",
            Manufacturer="Sulzer",
        )
        for number in range(1, 5)
    ]
    items += [
        dcf.add("GateValve", Tag=f"HV-{number}", Description=f"Valve {number}, as drawn", Size='2"')
        for number in range(1, 4)
    ]
    items += [
        dcf.add("FieldMountedDCS", Tag=f"FT-{number}", Description=f"Flow {number}, as drawn")
        for number in range(1, 3)
    ]
    line = dcf.add("PipeLineGroup", Tag="L-1", LineNumber="1", Description="Line 1, as drawn")
    segment = dcf.add("Primary", Tag="L-1")
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=line, PipeLine=segment)
    dcf.draw(drawing, *items, segment)
    dcf.sql("UPDATE PnPSys_PnPBase_PnPID SET cnt = 1000")
    _clone(path, items[0], more_pumps)


def _clone(path: Path, pnpid: int, times: int) -> None:
    """More items like this pump, with identities, tags and descriptions of their own."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("PnPBase", "EngineeringItems", "Equipment", "Pumps", "CentrifugalPump"):
            found = connection.execute(f"SELECT * FROM [{table}] WHERE PnPID = ?", (pnpid,))
            names = [column[0] for column in found.description]
            row = dict(zip(names, found.fetchone(), strict=True))
            for number in range(100, 100 + times):
                changed = {
                    "PnPID": number,
                    "PnPGuid": uuid.UUID(int=number, version=4).bytes_le,
                    "Tag": f"P-{number}",
                    "Description": f"Pump {number}, as drawn",
                }
                values = [changed.get(name, row[name]) for name in names]
                connection.execute(f"INSERT INTO [{table}] VALUES ({', '.join('?' * len(names))})", values)


def ticks_now() -> int:
    """Now, as Plant 3D stamps its rows: 100 ns since the year 1."""
    return int((datetime.now(UTC) - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() * 10_000_000)


def guid_text(raw: object) -> str:
    """The identity as SYNAPSE holds it."""
    return str(uuid.UUID(bytes_le=raw)) if isinstance(raw, bytes) else str(uuid.UUID(str(raw)))


@dataclass(slots=True)
class Copy:
    """A copy of the database file, as a backup of the file server or another machine would hold it."""

    path: Path


@dataclass(slots=True)
class Deleted:
    """Rows of an item that was deleted, table by table, with their column names."""

    rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]]


# ---------------------------------------------------------------- who takes part


@dataclass(slots=True)
class Designer:
    """Works in Plant 3D: plain SQL on its database, one transaction a save."""

    story: Story

    def types(self, tag: str, column: str, text: Value) -> None:
        """Change a cell and save: the row's stamp and revision move."""
        self.saves({(tag, column): text})

    def saves(self, cells: Mapping[tuple[str, str], Value]) -> None:
        """Several cells in one save."""
        with self._transaction() as connection:
            for (tag, name), text in cells.items():
                self._write(connection, self.story.items[tag], COLUMNS.get(name, name), text)
                self.story.typed("plant3d", tag, name, text)

    def retags(self, tag: str, new: Value) -> None:
        """Give an item another tag. The story goes on calling it by its old name."""
        with self._transaction() as connection:
            self._write(connection, self.story.items[tag], "Tag", new)

    def saves_an_old_session(self, tag: str, column: str, text: Value) -> None:
        """A session that is open since long ago saves its copy of the row; nobody typed anything."""
        with self._transaction() as connection:
            self._write(connection, self.story.items[tag], COLUMNS.get(column, column), text)

    def adds(self, tag: str, class_name: str = "CentrifugalPump", **cells: Value) -> None:
        """Draw a new item."""
        values = {COLUMNS.get(name, name): text for name, text in cells.items()}
        pnpid = Dcf.existing(self.story.world.dcf).add(class_name, Tag=tag, **values)
        self.story.knows(tag, pnpid)
        for name, text in cells.items():
            self.story.typed("plant3d", tag, name, text)

    def deletes(self, tag: str) -> Deleted:
        """Delete an item; what is returned can be brought back."""
        pnpid = self.story.items[tag]
        removed: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
        with self._transaction() as connection:
            drawn = connection.execute("SELECT PnPID FROM PnPDataLinks WHERE RowId = ?", (pnpid,)).fetchall()
            gone = ", ".join(str(each) for each in [pnpid, *(row[0] for row in drawn)])
            for table, columns in _tables_with(connection, "PnPID").items():
                if table in ROLES:
                    continue  # a relation counts its own PnPIDs
                found = connection.execute(f"SELECT * FROM [{table}] WHERE PnPID IN ({gone})").fetchall()
                if found:
                    removed[table] = (columns, found)
                    connection.execute(f"DELETE FROM [{table}] WHERE PnPID IN ({gone})")
        assert removed, f"there was no {tag}"
        return Deleted(removed)

    def brings_back(self, deleted: Deleted) -> None:
        """Undo a deletion: the very same rows are there again."""
        with self._transaction() as connection:
            for table, (columns, rows) in deleted.rows.items():
                names, marks = ", ".join(f"[{name}]" for name in columns), ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO [{table}] ({names}) VALUES ({marks})", rows)

    def copies_file(self) -> Copy:
        """Keep a copy of the database file."""
        path = self.story.world.folder / f"copy-{len(list(self.story.world.folder.glob('copy-*')))}.dcf"
        shutil.copyfile(self.story.world.dcf, path)
        return Copy(path)

    def puts_back(self, copy: Copy) -> None:
        """The copy takes the place of the database."""
        shutil.copyfile(copy.path, self.story.world.dcf)

    def saves_again(self, tag: str) -> None:
        """Save an item without changing a cell."""
        with self._transaction() as connection:
            self._stamp(connection, self.story.items[tag])

    def redraws(self, tag: str) -> None:
        """The row is copied: the same identity under another PnPID."""
        old = self.story.items[tag]
        ((new,),) = self.story.world.sql("SELECT max(PnPID) + 1 FROM PnPBase")
        with self._transaction() as connection:
            for table in _tables_with(connection, "PnPID"):
                if table in ROLES:
                    continue
                connection.execute(f"UPDATE [{table}] SET PnPID = ? WHERE PnPID = ?", (new, old))
            for table in _tables_with(connection, "RowId"):
                connection.execute(f"UPDATE [{table}] SET RowId = ? WHERE RowId = ?", (new, old))
            self._stamp(connection, new)
        self.story.items[tag] = new

    def adds_column(self, table: str, column: str) -> None:
        """Project Setup: the project gets another property."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO PnPProperties VALUES (?, ?, 'System.String', 255)", (table, column)
            )
            connection.execute(f"ALTER TABLE [{table}] ADD COLUMN [{column}] VarChar (255) collate nocase")
            connection.execute("UPDATE PnPDatabase SET MetadataRevision = MetadataRevision + 1")

    def imports(self, workbook: Path) -> None:
        """Import a workbook in the Data Manager and accept every description."""
        book = openpyxl.load_workbook(workbook, read_only=True)
        texts: dict[int, Value] = {}
        for sheet in book:
            head, *rows = sheet.iter_rows(values_only=True)
            if "PnPID" not in head:
                continue
            for row in rows:
                cells = dict(zip(head, row, strict=True))
                texts[int(cells["PnPID"])] = cells["Description"]
        book.close()
        assert texts, f"{workbook} holds nothing"
        with self._transaction() as connection:
            for pnpid, text in texts.items():
                self._write(connection, pnpid, "Description", text)

    @contextmanager
    def loses_a_row(self, tag: str, table: str = "EngineeringItems") -> Iterator[None]:
        """One row of an item is missing for a while, so what it holds cannot be read."""
        pnpid = self.story.items[tag]
        with self._transaction() as connection:
            row = connection.execute(f"SELECT * FROM [{table}] WHERE PnPID = ?", (pnpid,)).fetchone()
            connection.execute(f"DELETE FROM [{table}] WHERE PnPID = ?", (pnpid,))
        yield
        with self._transaction() as connection:
            connection.execute(f"INSERT INTO [{table}] VALUES ({', '.join('?' * len(row))})", row)

    @contextmanager
    def holds_the_file(self) -> Iterator[None]:
        """Plant 3D is in the middle of something: the file can be read but not written."""
        with closing(sqlite3.connect(self.story.world.dcf, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def shuts_the_file(self) -> Iterator[None]:
        """Plant 3D is in the middle of a save: the file can be neither read nor written."""
        with closing(sqlite3.connect(self.story.world.dcf, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    # -- the file

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.story.world.dcf)) as connection, connection:
            yield connection

    def _write(self, connection: sqlite3.Connection, pnpid: int, column: str, text: Value) -> None:
        owners = connection.execute("SELECT TableName FROM PnPProperties WHERE PropertyName = ?", (column,))
        there = _tables_with(connection, "PnPID")
        changed = sum(
            connection.execute(f"UPDATE [{table}] SET [{column}] = ? WHERE PnPID = ?", (text, pnpid)).rowcount
            for (table,) in owners.fetchall()
            if table in there
        )
        assert changed == 1, f"{changed} rows hold {column} of {pnpid}"
        self._stamp(connection, pnpid)

    def _stamp(self, connection: sqlite3.Connection, pnpid: int) -> None:
        done = connection.execute(
            "UPDATE PnPBase SET PnPTimestamp = max(?, PnPTimestamp + 1), PnPRevision = PnPRevision + 1 "
            "WHERE PnPID = ?",
            (ticks_now(), pnpid),
        )
        assert done.rowcount == 1


def _tables_with(connection: sqlite3.Connection, column: str) -> dict[str, list[str]]:
    """Tables that have this column, with all their columns."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info([{name}])")] for name in names}
    return {name: columns for name, columns in found.items() if column in columns}


@dataclass(slots=True)
class User:
    """Works in SYNAPSE."""

    story: Story
    name: str = "user:marie"

    def types(self, tag: str, field: str, text: Value) -> None:
        """Change a field: `description`, or the name of an attribute."""
        values: Row = {field: text} if field in ("description", "notes") else {"attributes": {field: text}}
        self.story.edit_asset(self.story.asset(tag)["id"], _by=self.name, **values)
        self.story.typed("synapse", tag, field, text)

    def empties(self, tags: Iterable[str]) -> None:
        """Clear the description of many assets."""
        self.overwrites(tags, None)

    def overwrites(self, tags: Iterable[str], text: Value) -> None:
        """Give many assets the same description."""
        ids = {asset["plant3d_id"]: asset["id"] for asset in self.story.world.assets()}
        with self.story.world.client() as client:
            for tag in tags:
                path = f"/dev/projects/{self.story.world.uuid}/assets/{ids[self.story.guids[tag]]}"
                client.patch(path, json={"description": text}).raise_for_status()
                self.story.typed("synapse", tag, "description", text)

    def purges(self, tag: str) -> None:
        """Remove an asset for good."""
        with self.story.world.client() as client:
            path = f"/dev/projects/{self.story.world.uuid}/assets/{self.story.asset(tag)['id']}"
            client.delete(path).raise_for_status()

    def archives(self, tag: str) -> None:
        """Archive an asset."""
        self.story.edit_asset(self.story.asset(tag)["id"], deleted_at=True)

    def unarchives(self, tag: str) -> None:
        """An archived asset lives again."""
        self.story.edit_asset(self.story.asset(tag)["id"], deleted_at=None)

    def adds(self, tag: str, description: Value = None, asset_type: str = "Equipment") -> Row:
        """Create an asset that no item of Plant 3D is linked with."""
        return self.story.world.user_adds(tag=tag, description=description, asset_type=asset_type)


# ---------------------------------------------------------------- commands


@dataclass(slots=True)
class Runs:
    """The command line. A command that does not understand what it was asked, or falls over, ends the story."""

    story: Story

    def command(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """Any command line."""
        said = self.story.world.cli(*words, env=env)
        assert said.code in ENDS_WELL, (words, said.code, said.out, said.err)
        return said

    def now(self, project: str = NAME, *, env: Mapping[str, str] | None = None) -> Said:
        """`now`: pull and push in one run."""
        return self.command("now", project, env=env)

    def pull(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """`pull`."""
        return self.command("pull", NAME, *words, env=env)

    def push(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """`push`."""
        return self.command("push", NAME, *words, env=env)

    def plan(self, *words: str) -> str:
        """`plan`; the id of the stored plan."""
        return str(self.command("plan", NAME, *words).json["plan_id"])

    def apply(self, plan_id: str, *words: str) -> Said:
        """`apply`."""
        return self.command("apply", plan_id, *words)

    def undo(self, ran: Said) -> Said:
        """`undo` of what this run did: a plan."""
        return self.command("undo", ran.json["run_id"])

    def undone(self, ran: Said) -> Said:
        """`undo` and `apply`."""
        return self.apply(self.undo(ran).json["plan_id"])

    def resolve(
        self, tag: str, choice: str, field: str = "description", *, carry_out: bool = True, value: str = ""
    ) -> Said:
        """A person decides the pending conflict of this field."""
        words = [] if carry_out else ["--no-run"]
        return self.command(
            "resolve",
            self.story.the_conflict(tag, field)["id"],
            choice,
            *(["--value", value] if value else []),
            *words,
        )

    @contextmanager
    def between(self, *words: str, at: str = "plan.stored") -> Iterator[Frozen]:
        """A run (`now` unless told) stands still after its plan was stored and before it writes; then it goes on."""
        points = {**OUR_POINTS, "P3DSYNC_FAILPOINTS": f"{at}:1:stop"}
        frozen = self.story.freezer.start(self.story.world, *(words or ("now", NAME)), env=points)
        assert frozen.frozen, f"{at} was not met: {frozen.said()}"
        yield frozen
        said = frozen.go_on()
        assert said.code in ENDS_WELL, (words, said.code, said.out, said.err)

    def killed(self, at: str, *words: str) -> None:
        """A run (`now` unless told) dies at this point as in a power cut."""
        points = {**OUR_POINTS, "P3DSYNC_FAILPOINTS": f"{at}:1:kill"}
        dead = self.story.freezer.start(self.story.world, *(words or ("now", NAME)), env=points)
        assert dead.code == -9, f"{at} was not met: {dead.said()}"

    @contextmanager
    def overtaken(self, at: str, *, dies_at: str = "") -> Iterator[None]:
        """A run stands still at this point until its lease has run out, and another run takes over.

        Then it goes on, and dies at `dies_at`: nobody hears of what it wrote meanwhile.
        """
        self.story.world.env["P3DSYNC_LEASE_SECONDS"] = "2"
        dies = f",{dies_at}:1:kill" if dies_at else ""
        points = {**OUR_POINTS, "P3DSYNC_FAILPOINTS": f"{at}:1:stop{dies}"}
        frozen = self.story.freezer.start(self.story.world, "now", NAME, env=points)
        assert frozen.frozen, f"{at} was not met: {frozen.said()}"
        yield
        self.takes_over()
        said = frozen.go_on()
        assert not dies_at or said.code == -9, f"{dies_at} was not met: {said}"

    def cut(self, phase: str, direction: Direction = Direction.BOTH, *, after: int = 1) -> None:
        """A run of the schedule whose time is over once it has done so much of a phase: compare, write or push.

        It writes one item at a time.
        """
        world = self.story.world
        app = make_app(world.config, world.environment({"SYNC_BATCH_SIZE": "1"}))
        request = Request(asked=Asked(direction=direction), trigger="schedule", by="schedule", deadline=inf)

        def progress(name: str, done: int, _total: int) -> None:
            if name == phase and done >= after:
                request.deadline = 0.0

        ours = app.world()
        ours.progress = progress
        with patch.object(push, "GROUP", 1), pytest.raises(SyncError) as ended:
            Engine(ours, app.project(NAME)).run(request)
        assert ended.value.error_code == "deadline", ended.value

    def takes_over(self) -> Said:
        """`now`, again and again until the lease of a run that stands still has run out."""
        until = time.monotonic() + 60
        while (said := self.now()).code == 75:
            assert time.monotonic() < until, said
        return said


# ---------------------------------------------------------------- what must hold


@dataclass(slots=True)
class Then:
    """The promises, as a person could check them."""

    story: Story

    def plant3d_holds(self, tag: str, text: Value, field: str = "description") -> None:
        """The cell in Plant 3D."""
        found = self.story.cell(tag, field)
        promise(same(found, text), f"Plant 3D holds {found!r} in {field} of {tag}, not {text!r}")

    def synapse_holds(self, tag: str, text: Value, field: str = "description") -> None:
        """The field in SYNAPSE."""
        found = self.story.held(tag, field)
        promise(same(found, text), f"SYNAPSE holds {found!r} in {field} of {tag}, not {text!r}")

    def both_sides_hold(self, tag: str, text: Value, field: str = "description") -> None:
        """Both sides agree on this."""
        self.plant3d_holds(tag, text, field)
        self.synapse_holds(tag, text, field)

    def is_asked(self, tag: str, field: str = "description", *words: str) -> None:
        """A pending conflict of this field (or of the whole item) asks a person, and shows these words."""
        found = self.story.conflicts(tag, field)
        promise(bool(found), f"nobody is asked about {field} of {tag}: {self.story.values_of(tag, field)}")
        for text in words:
            promise(text in dumped(found), f"the question does not show {text!r}: {found}")

    def is_not_asked(self, tag: str, field: str = "description") -> None:
        """Nothing is left to decide."""
        found = self.story.conflicts(tag, field)
        promise(not found, f"still asked: {found}")

    def arrived_or_asked(self, tag: str, text: Value, field: str = "description") -> None:
        """What somebody typed stands on both sides, or a person is asked and sees it."""
        if self.story.conflicts(tag, field):
            self.is_asked(tag, field, *([text] if text else []))
        else:
            self.both_sides_hold(tag, text, field)

    def kept_or_asked(self, tag: str, text: str, field: str = "description") -> None:
        """A user's words stand in SYNAPSE, or a person is asked and sees them."""
        if self.story.conflicts(tag, field):
            self.is_asked(tag, field, text)
        else:
            self.synapse_holds(tag, text, field)

    def lives(self, tag: str) -> None:
        """The asset is not archived."""
        promise(self.story.asset(tag)["deleted_at"] is None, f"the asset of {tag} is archived")

    def is_archived(self, tag: str) -> None:
        """The asset is archived."""
        promise(self.story.asset(tag)["deleted_at"] is not None, f"the asset of {tag} still lives")

    def was_stopped(self, said: Said) -> None:
        """The command refused before it wrote anything."""
        promise(said.code in (2, 3, 5, 78), f"it went through with exit code {said.code}: {said.out}")
        writes = said.json.get("writes") or {"synapse": 0, "plant3d": 0}
        promise(not any(writes.values()), f"it was stopped, but wrote: {said.out}")

    def is_told(self, tag: str) -> None:
        """A list that people read names this item: findings, conflicts or row errors of the last run."""
        promise(self.story.told(tag), f"no list tells of {tag}")

    def history_shows(self, *words: str) -> None:
        """What a run overwrote stands in its changes."""
        shown = "\n".join(self.story.changes_shown())
        for text in words:
            promise(text in shown, f"{text!r} was overwritten and no run tells it")

    # -- the general oracle

    def all_is_well(self, *, but: Iterable[tuple[str, str]] = (), runs: int = 3) -> None:
        """No word is lost, and at rest both sides are equal or a list tells the difference.

        `but`: fields that stay apart because a person wanted it (an undo), with `write: off`.
        """
        self.story.comes_to_rest(runs)
        self.no_word_is_lost()
        assets = {asset["plant3d_id"]: asset for asset in self.story.world.assets()}
        for tag, guid in self.story.guids.items():
            self._agrees(tag, assets.get(guid), {field for name, field in but if name == tag})

    def no_word_is_lost(self) -> None:
        """Whatever a person typed last in a field stands on a side, in a conflict, in the history or in a backup."""
        words = dict(self.story.words)
        for page in self.story.everything_shown():
            words = {key: text for key, text in words.items() if text not in page}
            if not words:
                return
        lost = [
            f"{text!r} ({field} of {tag}, on the side of {side})"
            for (side, tag, field), text in words.items()
        ]
        promise(not lost, f"in no table any more: {'; '.join(lost)}")

    def _agrees(self, tag: str, asset: Row | None, but: set[str]) -> None:
        story = self.story
        there = story.is_drawn(tag)
        if story.last_code == 5:
            return  # a guard tells
        if there and asset is not None and asset["deleted_at"] is None:
            for field in story.compared:
                if field in but or story.cell(tag, field, absent="(no column)") == "(no column)":
                    continue
                values = story.cell(tag, field), field_of(asset, field)
                promise(
                    same(*values) or story.told(tag),
                    f"apart for good, told nowhere: {field} of {tag}: {values}",
                )
        elif there or (asset is not None and asset["deleted_at"] is None):
            promise(
                "*" in but or story.told(tag),
                f"{tag} lives on one side only, told nowhere: in Plant 3D {there}, in SYNAPSE {asset}",
            )


def same(one: object, other: object) -> bool:
    """Equal, where nothing and an empty text are the same."""
    return (one or None) == (other or None)


def field_of(asset: Row, name: str) -> Value:
    """A field of an asset, or an attribute of this name."""
    value: Value = asset[name] if name in asset else asset["attributes"].get(name)
    return value


def dumped(document: object) -> str:
    """JSON with readable characters."""
    return json.dumps(document, ensure_ascii=False)


# ---------------------------------------------------------------- the story


class SecondWorld(World):
    """The second project of the same configuration file: only its Plant 3D database is another one."""

    @property
    def dcf(self) -> Path:
        """Its database."""
        return self.folder / "second" / "ProcessPower.dcf"


@dataclass(slots=True)
class Story:
    """One plant, one SYNAPSE project, and what everybody typed."""

    world: World
    freezer: Freezer
    items: dict[str, int] = field(default_factory=dict)
    guids: dict[str, str] = field(default_factory=dict)
    words: dict[tuple[str, str, str], str] = field(default_factory=dict)
    compared: dict[str, list[str]] = field(default_factory=lambda: {"description": ["Description"]})
    """Fields both sides share, with the candidate columns in their order."""
    last_code: int = 0

    def __post_init__(self) -> None:
        rows = self.world.sql("SELECT PnPID, PnPClassName FROM PnPBase")
        tags: dict[int, str] = {}
        for table in ("Equipment", "HandValves", "Instrumentation", "PipeLineGroup"):
            tags |= dict(self.world.sql(f"SELECT PnPID, Tag FROM [{table}]"))
        for pnpid, _name in rows:
            if pnpid in tags:
                self.knows(tags[pnpid], pnpid)

    @property
    def designer(self) -> Designer:
        """Whoever works in Plant 3D."""
        return Designer(self)

    @property
    def user(self) -> User:
        """Whoever works in SYNAPSE."""
        return User(self)

    @property
    def run(self) -> Runs:
        """The command line."""
        return Runs(self)

    @property
    def then(self) -> Then:
        """What must hold."""
        return Then(self)

    @property
    def cast(self) -> tuple[Designer, User, Runs, Then]:
        """All four."""
        return self.designer, self.user, self.run, self.then

    # -- settings

    def settings(self, **options: Any) -> None:
        """Change settings of the project."""
        self.world.configure(**options)

    def mapping(self, classes: Mapping[str, Any] | None, **compared: list[str]) -> None:
        """A mapping over the stock one, or the stock one alone. `compared`: candidate columns of shared fields."""
        path = self.world.folder / "mine.yml"
        if classes is None:
            self.world.configure(mapping=None)
        else:
            path.write_text(yaml.safe_dump({"version": 1, "extends": "stock", "classes": dict(classes)}))
            self.world.configure(mapping=["stock", "./mine.yml"])
        self.compared |= compared

    def shares_model(self) -> None:
        """The mapping shares `attributes.model` with SYNAPSE."""
        rule = {"attributes.model": {"column": "ModelNumber", "owner": "shared"}}
        self.mapping({"EngineeringItems": {"fields": rule}}, model=["ModelNumber"])

    def loses_its_state(self) -> None:
        """The state database is gone."""
        for path in self.world.folder.glob("state.db*"):
            path.unlink()

    def keeps_its_state(self) -> Path:
        """A copy of the state database, as a nightly backup makes it."""
        day = len(list(self.world.folder.glob("state-of-*")))
        kept = self.world.folder / f"state-of-{day}"
        with closing(sqlite3.connect(self.world.state)) as one, closing(sqlite3.connect(kept)) as other:
            one.backup(other)
        return kept

    def puts_its_state_back(self, kept: Path) -> None:
        """An administrator puts that copy in the place of the state database."""
        self.loses_its_state()
        shutil.copyfile(kept, self.world.state)

    def backups(self) -> list[str]:
        """Backups of Plant 3D that pushes made, oldest first."""
        items = self.world.cli("backups", NAME).json["items"]
        return [item["path"] for item in sorted(items, key=lambda item: (item["created_at"], item["path"]))]

    def another_synapse_project(self) -> World:
        """A SYNAPSE project of another plant."""
        world = replace(self.world, uuid=self.world.synapse.new_project(), options={}, top={}, heard=[])
        world.folder = self.world.folder / "foreign"
        return world

    def points_at(self, synapse_project: str) -> str:
        """The configuration names another SYNAPSE project; returns the one it named before."""
        before, self.world.uuid = self.world.uuid, synapse_project
        self.world.configure()
        return before

    def second_project(self, copy: Copy) -> Story:
        """The configuration gets a second project on the same SYNAPSE project, with this copy as its source."""
        (self.world.folder / "second").mkdir()
        moved = copy.path.rename(self.world.folder / "second" / "ProcessPower.dcf")
        common = {"synapse_project_id": self.world.uuid, **self.world.options}
        self.world.top["projects"] = {
            NAME: {"source": self.world.dcf.name, **common},
            "second": {"source": str(moved.relative_to(self.world.folder)), **common},
        }
        self.world.configure()
        other = SecondWorld(
            **{name: getattr(self.world, name) for name in ("folder", "synapse", "uuid", "url", "options")},
            top=self.world.top,
            env=self.world.env,
            heard=self.world.heard,
        )
        return Story(world=other, freezer=self.freezer)

    # -- what people typed

    def knows(self, tag: str, pnpid: int) -> None:
        """Remember an item by its first tag."""
        ((raw,),) = self.world.sql("SELECT PnPGuid FROM PnPBase WHERE PnPID = ?", pnpid)
        self.items[tag], self.guids[tag] = pnpid, guid_text(raw)

    def typed(self, side: str, tag: str, field: str, text: Value) -> None:
        """The last words of a person in this field of this side; what he replaced himself is gone."""
        if text is None:
            self.words.pop((side, tag, field), None)
        else:
            self.words[side, tag, field] = text

    # -- Plant 3D

    def is_drawn(self, tag: str) -> bool:
        """Whether the item is in Plant 3D."""
        return bool(self.world.sql("SELECT 1 FROM PnPBase WHERE PnPID = ?", self.items[tag]))

    def cell(self, tag: str, field: str = "description", *, absent: Value = None) -> Value:
        """The first filled column of a field, else None; `absent` if the item has none of them."""
        value, found = None, False
        for column in self.compared.get(field, [COLUMNS.get(field, field)]):
            for (table,) in self.world.sql(
                "SELECT TableName FROM PnPProperties WHERE PropertyName = ?", column
            ):
                if not self.world.sql("SELECT 1 FROM sqlite_master WHERE name = ?", table):
                    continue
                rows = self.world.sql(f"SELECT [{column}] FROM [{table}] WHERE PnPID = ?", self.items[tag])
                found = found or bool(rows)
                value = value or (rows[0][0] if rows else None)
        return value if found else absent

    # -- SYNAPSE

    def edit_asset(self, asset_id: str, **values: Any) -> None:
        """As a user does."""
        self.world.user_edits(asset_id, **values)

    def asset_or_none(self, tag: str) -> Row | None:
        """The asset that carries the item's identity, archived ones too."""
        found = [asset for asset in self.world.assets() if asset["plant3d_id"] == self.guids[tag]]
        assert len(found) < 2, found
        return found[0] if found else None

    def asset(self, tag: str) -> Row:
        """The asset that carries the item's identity."""
        found = self.asset_or_none(tag)
        assert found is not None, f"SYNAPSE has no asset of {tag}"
        return found

    def held(self, tag: str, field: str = "description") -> Value:
        """A field of the asset."""
        return field_of(self.asset(tag), field)

    def values_of(self, tag: str, field: str) -> tuple[Value, Value]:
        """Plant 3D's value and SYNAPSE's."""
        asset = self.asset_or_none(tag)
        return self.cell(tag, field), None if asset is None else self.held(tag, field)

    # -- what people read

    def conflicts(self, tag: str, field: str = "description", status: str = "pending") -> list[Row]:
        """Conflicts of this field, or of the whole item."""
        names = (field, f"attributes.{field}", "*")
        items = self.world.cli("conflicts", NAME, "--status", status).json["items"]
        return [item for item in items if item["plant3d_id"] == self.guids[tag] and item["field"] in names]

    def the_conflict(self, tag: str, field: str = "description") -> Row:
        """The one pending conflict."""
        (found,) = self.conflicts(tag, field)
        return found

    def told(self, tag: str) -> bool:
        """Whether conflicts, findings, row errors or the guards of the last run name the item."""
        findings = self.world.cli("findings", NAME).json["findings"]
        conflicts = self.world.cli("conflicts", NAME).json["items"]
        (last, *_) = self.world.cli("runs", NAME, "--limit", "1").json["items"]
        errors = self.world.cli("show", last["run_id"]).json.get("errors") or []
        asset = self.asset_or_none(tag)
        marks = {self.guids[tag], self.items[tag], tag, *([asset["id"], asset["tag"]] if asset else [])}
        return any(
            not marks.isdisjoint(
                item.get(name) for name in ("pnpid", "plant3d_id", "tag", "asset_tag", "asset_id")
            )
            for item in [*findings, *conflicts, *errors]
        )

    def in_workbook(self, workbook: Path) -> set[str]:
        """Every text of a workbook."""
        book = openpyxl.load_workbook(workbook, read_only=True)
        found = {str(value) for sheet in book for row in sheet.iter_rows(values_only=True) for value in row}
        book.close()
        return found

    def comes_to_rest(self, runs: int) -> None:
        """`now` until nothing is written any more."""
        for _ in range(runs):
            said = self.run.now()
            self.last_code = said.code
            if said.code in (0, 3) and said.json["writes"] == {"synapse": 0, "plant3d": 0}:
                return
        promise(
            self.last_code == 5 or self.last_code == 78,
            f"after {runs} runs it still writes: {self.world.heard[-1].out}",
        )

    def everything_shown(self) -> Iterator[str]:
        """Both sides, conflicts, backups of Plant 3D, findings, and the changes of every run: a text each."""
        yield dumped(self.world.assets())
        kept = [
            p for p in self.world.folder.rglob("*.dcf") if "backup" in str(p) or p.parent.name == "second"
        ]
        for path in [self.world.dcf, *kept]:
            yield texts_of(path)
        for words in (("conflicts", NAME, "--status", "all"), ("findings", NAME)):
            yield dumped(self.world.cli(*words).json)
        yield from self.changes_shown()

    def changes_shown(self) -> Iterator[str]:
        """The changes of every run, newest first."""
        for ran in self.world.cli("runs", NAME, "--limit", "100").json["items"]:
            yield dumped(self.world.cli("show", ran["run_id"], "--changes").json)


def texts_of(path: Path) -> str:
    """Every text of the items of a Plant 3D database."""
    with closing(sqlite3.connect(path)) as connection:
        tables = _tables_with(connection, "PnPID")
        rows = [row for table in tables for row in connection.execute(f"SELECT * FROM [{table}]")]
    return "\n".join(str(value) for row in rows for value in row if isinstance(value, str))


# ---------------------------------------------------------------- a SYNAPSE that is restored from a backup


@dataclass(slots=True)
class Restorable:
    """A SYNAPSE of its own whose database an administrator backs up and puts back."""

    story: Story
    database: Path

    def backs_up(self) -> Path:
        """Copy SYNAPSE's database."""
        backup = self.database.with_suffix(".backup")
        _copied(self.database, backup)
        return backup

    def restores(self, backup: Path, *, new_epoch: bool = True) -> None:
        """Put the copy back; the administrator declares a new epoch, as the contract asks."""
        _copied(backup, self.database)
        if new_epoch:
            with self.story.world.client() as client:
                client.post(f"/dev/projects/{self.story.world.uuid}/new-epoch").raise_for_status()


def _copied(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


Tell = Callable[..., Story]


def new_story(
    folder: Path, synapse: RunningSynapse, template: Path, freezer: Freezer, **options: Any
) -> Story:
    """A story before its first run. `options`: settings of the project."""
    settings = {"write": "sql", "drawings_unseen": "closed", "missing": ARCHIVING, **options}
    world = new_world(folder, synapse, template, **settings)
    return Story(world=world, freezer=freezer)
