"""Everything that somebody may do. A move answers False where it is not possible now.

Each is one act of one person (or one command); a story is a sequence of them.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.support.dcf import Dcf
from tests.worlds import fast
from tests.worlds.world import POINTS, Typed, World

Move = Callable[[World, str], bool]


def _text(world: World, who: str) -> str:
    world.told.texts += 1
    return f"{who} {world.told.texts}"


# ---------------------------------------------------------------- in Plant 3D


def designer_types(world: World, tag: str) -> bool:
    if not world.is_drawn(tag):
        return False
    text = _text(world, "designer")
    world.saves(tag, "Description", text)
    world.told.words[tag, "description"] = Typed("plant3d", text)
    return True


def designer_types_a_maker(world: World, tag: str) -> bool:
    if not world.is_drawn(tag):
        return False
    text = _text(world, "maker")
    world.saves(tag, "Manufacturer", text)
    world.told.owned[tag, "Manufacturer"] = text
    return True


def old_session_saves(world: World, tag: str) -> bool:
    """A session that is open since the beginning saves its copy of the description; nobody typed it now."""
    if not world.is_drawn(tag) or world.cell(tag) == world.first[tag]:
        return False
    known = world.told.words.get((tag, "description"))
    if known is not None and known.side == "plant3d":
        known.counts = False  # another session of Plant 3D overwrote it there: no sync can know better
    world.saves(tag, "Description", world.first[tag])
    return True


def designer_deletes(world: World, tag: str) -> bool:
    if not world.is_drawn(tag):
        return False
    pnpid = world.items[tag][0]
    removed: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in names:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info([{table}])")]
            if "PnPID" not in columns:
                continue
            found = connection.execute(f"SELECT * FROM [{table}] WHERE PnPID = ?", (pnpid,)).fetchall()
            if found:
                removed[table] = columns, found
                connection.execute(f"DELETE FROM [{table}] WHERE PnPID = ?", (pnpid,))
    world.deleted[tag] = removed
    if (typed := _words_in_plant3d(world, tag)) is not None and typed.counts:
        typed.counts, typed.deleted = False, True  # the designer deleted them himself
    return True


def _words_in_plant3d(world: World, tag: str) -> Typed | None:
    known = world.told.words.get((tag, "description"))
    return known if known is not None and known.side == "plant3d" else None


def designer_brings_back(world: World, tag: str) -> bool:
    if world.is_drawn(tag) or tag not in world.deleted:
        return False
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        for table, (columns, rows) in world.deleted.pop(tag).items():
            names, marks = ", ".join(f"[{name}]" for name in columns), ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO [{table}] ({names}) VALUES ({marks})", rows)
    if (typed := _words_in_plant3d(world, tag)) is not None and typed.deleted:
        typed.counts, typed.deleted = True, False
    return True


def designer_draws_an_item(world: World, _tag: str) -> bool:
    """One more pump."""
    if "P-9" in world.items:
        return False
    text = _text(world, "designer")
    made = Dcf.existing(world.dcf).add("CentrifugalPump", Tag="P-9", Description=text, Manufacturer="KSB")
    world.knows("P-9", made)
    world.told.words["P-9", "description"] = Typed("plant3d", text)
    return True


# ---------------------------------------------------------------- in SYNAPSE


def _edits(world: World, tag: str, **values: Any) -> bool:
    row = world.asset(tag)
    if row is None:
        return False
    try:
        world.memory.user_edit(str(row["id"]), by="user:marie", **values)
    except ValueError:  # the tag is taken
        return False
    return True


def user_types(world: World, tag: str) -> bool:
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None:
        return False
    text = _text(world, "user")
    world.told.words[tag, "description"] = Typed("synapse", text)
    return _edits(world, tag, description=text)


def user_types_a_maker(world: World, tag: str) -> bool:
    """What Plant 3D owns: it is put back."""
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None:
        return False
    return _edits(world, tag, attributes={"manufacturer": _text(world, "not ours")})


def user_archives(world: World, tag: str) -> bool:
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None:
        return False
    world.told.archived.add(tag)
    return _edits(world, tag, deleted_at="2027-01-15T00:00:00Z")


def user_restores(world: World, tag: str) -> bool:
    row = world.asset(tag)
    if row is None or row["deleted_at"] is None or not _edits(world, tag, deleted_at=None):
        return False
    world.told.archived.discard(tag)
    return True


def synapse_loses_an_asset(world: World, tag: str) -> bool:
    """An operator purges a row, and declares that the history is broken."""
    row = world.asset(tag)
    if row is None:
        return False
    world.memory.purge(str(row["id"]))
    world.memory.new_epoch()
    world.told.unclear.add(tag)
    return True


# ---------------------------------------------------------------- commands


def command(*words: str) -> Move:
    def move(world: World, _tag: str) -> bool:
        world.cli(words[0], "mine", *words[1:])
        return True

    return move


def makes_a_plan(world: World, _tag: str) -> bool:
    world.plan = world.cli("plan", "mine").get("plan_id") or world.plan
    return True


def applies_the_plan(world: World, _tag: str) -> bool:
    if world.plan is None:
        return False
    world.cli("apply", world.plan)
    world.plan = None
    return True


def undoes_the_last_run(world: World, _tag: str) -> bool:
    """And applies that. What was put back is meant: no older words have to arrive any more."""
    if not world.ran:
        return False
    plan = world.cli("undo", world.ran[-1]).get("plan_id")
    if plan is None:
        return False
    for typed in world.told.words.values():
        typed.counts = False
    world.told.must_stay.clear()
    world.told.archived |= set(world.items)
    world.cli("apply", str(plan))
    return True


def resolves(choice: str) -> Move:
    def move(world: World, tag: str) -> bool:
        asked = [
            item
            for item in world.cli("conflicts", "mine").get("items", [])
            if item["plant3d_id"] == world.items[tag][1]
        ]
        for item in asked:
            world.cli("resolve", item["id"], choice, "--no-run")
            typed = world.told.words.get((tag, "description"))
            if typed is not None and world.code == 0:
                # a person decided: the other words do not count. Of a whole item he saw both
                typed.counts = typed.side == choice and item["field"] != "*"
            if world.code == 0:
                world.told.decided.add(tag)
        return bool(asked)

    return move


def puts_yesterdays_file_back(world: World, _tag: str) -> bool:
    """The first time it is kept, the second time put back."""
    kept = world.folder / "kept.dcf"
    if not kept.exists():
        shutil.copyfile(world.dcf, kept)
        return True
    shutil.move(kept, world.dcf)
    for (tag, _name), typed in world.told.words.items():
        if typed.side == "plant3d" and typed.counts and typed.arrived and world.held(tag) == typed.text:
            world.told.must_stay[tag] = typed.text
    world.told.unclear |= set(world.items)
    return True


def puts_yesterdays_state_back(world: World, _tag: str) -> bool:
    """The first time it is kept, the second time put back."""
    kept = world.folder / "kept.db"
    if not kept.exists():
        with closing(sqlite3.connect(world.state)) as one, closing(sqlite3.connect(kept)) as other:
            one.backup(other)
        return True
    fast.put_down(world.state)
    for path in world.folder.glob("state.db*"):
        path.unlink()
    shutil.move(kept, world.state)
    world.told.unclear |= set(world.items)
    world.plan = None
    world.ran.clear()
    return True


def another_mapping_and_back(world: World, _tag: str) -> bool:
    world.configure(mapping=None if "mapping" in world.options else ["stock", "./other.yml"])
    world.told.unclear |= set(world.items)
    return True


def another_way_of_writing(world: World, _tag: str) -> bool:
    order: list[str | None] = [None, "off", "workbook"]
    world.configure(write=order[(order.index(world.options.get("write")) + 1) % 3])
    return True


def a_workbook_goes_out_and_comes_back(world: World, _tag: str) -> bool:
    """The first time it is made, the second time a designer imports it."""
    if world.workbook is None:
        world.workbook = {tag: world.held(tag) for tag in world.items if world.asset(tag) is not None}
        world.cli("workbook", "mine", "-o", str(world.folder / "out.xlsx"))
        return True
    for tag, text in world.workbook.items():
        if world.is_drawn(tag) and text is not None and world.cell(tag) != text:
            world.saves(tag, "Description", text)
            world.told.unclear.add(tag)
    world.workbook = None
    return True


# ---------------------------------------------------------------- a run, and something in the middle of it


def between(point: str, inner: Move, *words: str) -> Move:
    """A command, and in the middle of it a move of a person."""

    def move(world: World, tag: str) -> bool:
        POINTS.at, POINTS.happens = point, lambda: _unless_locked(inner, world, tag)
        world.cli(words[0] if words else "now", "mine", *words[1:])
        return True

    return move


def _unless_locked(inner: Move, world: World, tag: str) -> None:
    with contextlib.suppress(sqlite3.OperationalError):  # Plant 3D cannot save now: nobody typed anything
        inner(world, tag)


def killed(point: str) -> Move:
    """A run that dies at a point, if it comes there."""

    def move(world: World, _tag: str) -> bool:
        POINTS.at, POINTS.happens = point, POINTS.dies
        world.cli("now", "mine")
        return True

    return move


PEOPLE: dict[str, Move] = {
    "the designer types": designer_types,
    "the user types": user_types,
    "the old session saves": old_session_saves,
    "the designer deletes the item": designer_deletes,
    "the designer brings the item back": designer_brings_back,
    "the user archives the asset": user_archives,
    "the user restores the asset": user_restores,
    "the designer types a maker": designer_types_a_maker,
    "the user types a maker": user_types_a_maker,
}
COMMANDS: dict[str, Move] = {
    "now": command("now"),
    "pull": command("pull"),
    "push": command("push"),
    "plan": makes_a_plan,
    "apply": applies_the_plan,
    "undo of the last run": undoes_the_last_run,
    "choose Plant 3D": resolves("plant3d"),
    "choose SYNAPSE": resolves("synapse"),
}
MIDDLE: dict[str, Move] = {
    f"now, and before it writes {name}": between("plan.stored", PEOPLE[name])
    for name in (
        "the designer types",
        "the user types",
        "the designer deletes the item",
        "the user archives the asset",
        "the user restores the asset",
    )
}
DEATHS: dict[str, Move] = {
    f"now, killed at {point}": killed(point)
    for point in ("pull.intent_stored", "pull.reply_received", "push.intent_stored", "push.committed")
}
SMALL: dict[str, Move] = {**PEOPLE, **COMMANDS, **MIDDLE, **DEATHS}
"""What is played in every order."""

RARE: dict[str, Move] = {
    "the designer draws P-9": designer_draws_an_item,
    "pull of valves": command("pull", "--entity-types", "valves"),
    "pull --full": command("pull", "--full"),
    "pull --dry-run": command("pull", "--dry-run"),
    "findings": command("findings"),
    "runs": command("runs"),
    "yesterday's file": puts_yesterdays_file_back,
    "yesterday's state": puts_yesterdays_state_back,
    "another mapping": another_mapping_and_back,
    "another way of writing": another_way_of_writing,
    "a workbook": a_workbook_goes_out_and_comes_back,
    "SYNAPSE loses the asset": synapse_loses_an_asset,
    **{
        f"now, at {point} {name}": between(point, PEOPLE[name])
        for point in ("source.copy_closed", "pull.intent_stored", "push.intent_stored", "push.committed")
        for name in ("the designer types", "the user types")
    },
    **{
        f"now, killed at {point}!": killed(point)
        for point in (
            "feed.page_stored",
            "plan.stored",
            "pull.before_bookkeeping",
            "pull.receipts_stored",
            "push.backup_verified",
            "push.read_back",
            "run.before_finish",
        )
    },
}
EVERY: dict[str, Move] = {**SMALL, **RARE}
"""What is drawn from at random."""

CARRIES_OUT = ("now", "pull", "push", "plan", "choose Plant 3D", "choose SYNAPSE", "findings", "runs")
"""Moves after which what a person decided still stands."""

PLAYED = {
    "pull": "pull",
    "push": "push",
    "now": "now",
    "plan": "plan",
    "apply": "apply",
    "runs": "runs",
    "findings": "findings",
    "conflicts": "choose Plant 3D",
    "resolve": "choose SYNAPSE",
    "undo": "undo of the last run",
    "workbook": "a workbook",
    "audit verify": "",
}
"""Command -> its move; "" is asked by the oracle at every rest."""

NOT_PLAYED = {
    "show": "reads one run or plan; test_what_people_read.py",
    "inspect": "reads the source only",
    "doctor": "writes nothing; test_doctor.py",
    "sample": "makes a database",
    "synapse-dev": "is the other side",
    "failpoints": "lists names",
    "demo": "makes a world of its own; test_demo.py",
    "conflict": "reads one conflict",
    "backups": "lists backups",
    "restore": "puts a file back as `yesterday's file` does; its own checks are in test_push_backups.py",
    "grants": "prints statements for SQL Server",
    "serve": "a service; its verbs are commands of the engine (test_over_http.py)",
    "worker": "a service; two workers on one project are test_jobs_nemesis.py",
    "scheduler": "a service; test_jobs_schedule.py",
    "up": "all services in one",
    "check-config": "reads the configuration",
    "links propose": "writes nothing",
    "links accept": "the worlds have no assets that nobody linked; test_preflight.py, story 20",
    "mapping check": "reads the mapping",
    "db upgrade": "test_old_state.py",
    "keys create": "no sync",
    "keys list": "no sync",
    "keys revoke": "no sync",
    "audit export": "reads; test_audit.py compares",
    "audit set-aside": "closes rows altered from outside, which no actor here does; test_forged_rows.py",
    "discard": "no move yet: a plan that nobody applies waits here; test_plans_that_wait.py",
    "acknowledge": "decides nothing; test_findings.py",
    "waiting": "reads; test_quarantine.py",
    "quarantine list": "reads; test_quarantine.py",
    "quarantine retry": "no move yet: SYNAPSE refuses nothing here; test_quarantine.py",
    "quarantine ignore": "no move yet: SYNAPSE refuses nothing here; test_quarantine.py",
    "mapping diff": "writes nothing; test_schema_steps.py",
    "mapping versions": "reads",
    "schema show": "reads",
    "schema accept": "no move yet: no actor changes the schema here; test_schema_steps.py",
    "settings show": "reads",
    "settings page": "reads",
}
"""Command -> why it has no move."""

VERBS = {
    "pull": "pull",
    "push": "push",
    "syncNow": "now",
    "makePlan": "plan",
    "applyPlan": "apply",
    "undoSync": "undo of the last run",
    "resolveConflict": "choose Plant 3D",
    "resolveConflicts": "choose SYNAPSE",
    "cancelSync": "no move: a run is cancelled by test_runs_end.py; killed at every point it is played here",
    "createKey": "no move: no sync",
    "revokeKey": "no move: no sync",
    "discardPlan": "no move: as the command `discard`",
    "acknowledgeFindings": "no move: as the command `acknowledge`",
    "retryQuarantined": "no move: as the command `quarantine retry`",
    "ignoreQuarantined": "no move: as the command `quarantine ignore`",
    "acceptSchema": "no move: as the command `schema accept`",
}
"""Operation of the API that changes something -> the move that stands for it (the queue carries out what the commands
do), or why there is none."""
