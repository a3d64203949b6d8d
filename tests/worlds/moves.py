"""Everything that somebody may do. A move answers False where it is not possible now.

Each is one act of one person (or one command); a story is a sequence of them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.support.dcf import ROLES, Dcf
from tests.worlds import fast
from tests.worlds.world import (
    CLOCK,
    FIELDS,
    LATE,
    NAMES,
    POINTS,
    PROJECTS,
    STRICT,
    TABLES,
    Typed,
    Value,
    World,
    filled,
)

Move = Callable[[World, str], bool]


def _text(world: World, who: str) -> str:
    world.told.texts += 1
    return f"{who} {world.told.texts}"


# ---------------------------------------------------------------- in Plant 3D


def designer_types(world: World, tag: str, name: str = "description") -> bool:
    if not world.is_drawn(tag):
        return False
    text = _text(world, "designer")
    world.writes(tag, name, text)
    world.told.words[tag, name] = Typed("plant3d", text)
    return True


def designer_types_a_model(world: World, tag: str) -> bool:
    """The second shared field, an attribute in SYNAPSE."""
    return designer_types(world, tag, "model")


def designer_empties(world: World, tag: str) -> bool:
    if not world.is_drawn(tag) or not world.cell(tag):
        return False
    for column in world.columns(tag, "description"):
        world.saves(tag, column, None, TABLES.get(column, "EngineeringItems"))
    world.told.words[tag, "description"] = Typed("plant3d", None, counts=_is_remembered(world, tag))
    return True


def _is_remembered(world: World, tag: str) -> bool:
    """Whether our state knows what both sides agreed on: else nobody can tell a field that was emptied from one that never
    held anything.
    """
    known = "SELECT 1 FROM link WHERE plant3d_id = ? AND base LIKE '%\"description\"%'"
    return world.state.exists() and bool(world.rows(known, world.items[tag][1]))


def designer_types_an_awkward_tag(world: World, tag: str) -> bool:
    """One that SYNAPSE does not take; the second time it is mended."""
    if not world.is_drawn(tag):
        return False
    now = "P" * 130 if world.tag_of(tag) == tag else tag
    world.tags(tag, now)
    return True


def designer_renames(world: World, tag: str) -> bool:
    """To a tag of its own; the second time back."""
    if not world.is_drawn(tag):
        return False
    world.tags(tag, f"{tag}-N" if world.tag_of(tag) == tag else tag)
    return True


def designer_swaps_tags(world: World, tag: str) -> bool:
    other = next((one for one in world.items if one != tag and world.is_drawn(one)), None)
    if other is None or not world.is_drawn(tag):
        return False
    mine, others = world.tag_of(tag), world.tag_of(other)
    world.tags(tag, others)
    world.tags(other, mine)
    return True


def designer_types_a_maker(world: World, tag: str) -> bool:
    if not world.is_drawn(tag):
        return False
    text = _text(world, "maker")
    world.saves(tag, "Manufacturer", text)
    world.told.owned[tag, "manufacturer"] = text
    return True


def designer_fills_a_new_column(world: World, tag: str) -> bool:
    """Project Setup gives the project a column that the mapping names all along; a designer fills it."""
    if not world.is_drawn(tag):
        return False
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(EngineeringItems)")]
        if "Rating" not in columns:
            connection.execute(
                "INSERT INTO PnPProperties VALUES ('EngineeringItems', 'Rating', 'System.String', 255)"
            )
            connection.execute(
                "ALTER TABLE EngineeringItems ADD COLUMN [Rating] VarChar (255) collate nocase"
            )
            connection.execute("UPDATE PnPDatabase SET MetadataRevision = MetadataRevision + 1")
    text = _text(world, "rating")
    world.saves(tag, "Rating", text)
    world.told.owned[tag, "rating"] = text
    return True


def designer_copies_the_row(world: World, tag: str) -> bool:
    """The same identity under another number."""
    if not world.is_drawn(tag):
        return False
    old, guid = world.items[tag]
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        new = _next_number(world)
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in names:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info([{table}])")}
            for column in ("PnPID", "RowId"):
                if column in columns:
                    connection.execute(
                        f"UPDATE [{table}] SET [{column}] = ? WHERE [{column}] = ?", (new, old)
                    )
        connection.execute(
            "UPDATE PnPBase SET PnPTimestamp = ?, PnPRevision = PnPRevision + 1 WHERE PnPID = ?",
            (CLOCK.ticks(), new),
        )
    world.items[tag] = new, guid
    world.told.numbers.setdefault(tag, set()).add(old)
    world.told.relinked.discard(tag)
    return True


def designer_empties_all(world: World, _tag: str) -> bool:
    return any([designer_empties(world, tag) for tag in world.items])


def designer_types_everywhere(world: World, _tag: str) -> bool:
    return any([designer_types(world, tag) for tag in world.items])


def old_session_saves(world: World, tag: str) -> bool:
    """A session that is open since the beginning saves its copy of the description; nobody typed it now."""
    if not world.is_drawn(tag) or world.cell(tag) == world.first[tag]:
        return False
    _overwritten_in_plant3d(world, tag)
    world.saves(tag, "Description", world.first[tag])
    return True


def _overwritten_in_plant3d(world: World, tag: str) -> None:
    """A save that nobody typed there and then: no sync can know a designer's words better."""
    known = world.told.words.get((tag, "description"))
    if known is not None and known.side == "plant3d":
        known.counts = False


def designer_deletes(world: World, tag: str) -> bool:
    if not world.is_drawn(tag):
        return False
    removed: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        drawn = connection.execute("SELECT PnPID FROM PnPDataLinks WHERE RowId = ?", (world.items[tag][0],))
        gone = ", ".join(str(each) for each in [world.items[tag][0], *(row[0] for row in drawn)])
        for table in names:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info([{table}])")]
            if "PnPID" not in columns or table in ROLES:
                continue
            found = connection.execute(f"SELECT * FROM [{table}] WHERE PnPID IN ({gone})").fetchall()
            if found:
                removed[table] = columns, found
                connection.execute(f"DELETE FROM [{table}] WHERE PnPID IN ({gone})")
    world.deleted[tag] = removed
    world.told.deleted.setdefault(tag, CLOCK.now)
    world.told.deleted_with.pop(tag, None)
    for typed in _words_in_plant3d(world, tag):
        if typed.counts:
            typed.counts, typed.deleted = False, True  # the designer deleted them himself
    return True


def _words_in_plant3d(world: World, tag: str) -> list[Typed]:
    return [one for (of, _name), one in world.told.words.items() if of == tag and one.side == "plant3d"]


def designer_brings_back(world: World, tag: str) -> bool:
    if world.is_drawn(tag) or tag not in world.deleted:
        return False
    with closing(sqlite3.connect(world.dcf, timeout=0)) as connection, connection:
        for table, (columns, rows) in world.deleted.pop(tag).items():
            names, marks = ", ".join(f"[{name}]" for name in columns), ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO [{table}] ({names}) VALUES ({marks})", rows)
    for typed in _words_in_plant3d(world, tag):
        if typed.deleted:
            typed.counts, typed.deleted = True, False
    return True


def _next_number(world: World) -> int:
    """Plant 3D counts on: it never gives a number twice, not even that of an item that was deleted."""
    removed = [
        row[columns.index("PnPID")]
        for tables in world.deleted.values()
        for columns, rows in tables.values()
        for row in rows
    ]
    ((most,),) = world.sql("SELECT max(PnPID) FROM PnPBase")
    return max(most, *removed) + 1 if removed else int(most) + 1


def _draws(world: World, **cells: str) -> int:
    dcf = Dcf.existing(world.dcf)
    return dcf.add("CentrifugalPump", pnpid=_next_number(world), Tag="P-9", Manufacturer="KSB", **cells)


def designer_draws_an_item(world: World, _tag: str) -> bool:
    """One more pump."""
    if "P-9" in world.items:
        return False
    text = _text(world, "designer")
    made = _draws(world, **{world.columns("P-9", "description")[0]: text})
    world.knows("P-9", made)
    world.told.words["P-9", "description"] = Typed("plant3d", text)
    return True


def designer_draws_an_item_without_words(world: World, _tag: str) -> bool:
    """One more pump, which has no description yet."""
    if "P-9" in world.items:
        return False
    made = _draws(world)
    world.knows("P-9", made)
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


def user_takes_it_back(world: World, tag: str) -> bool:
    """Types again what stood there in the beginning. Where both sides agreed on just that last, and a designer typed
    something since, or deleted the item, only the designer edited.
    """
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None or row["description"] == world.first[tag]:
        return False
    first = world.first[tag]
    agreed = world.told.deleted_with.get(tag, world.told.agreed.get(tag, first))
    nothing = agreed == first != world.cell(tag)
    world.told.words[tag, "description"] = Typed("synapse", first, counts=not nothing)
    return _edits(world, tag, description=world.first[tag])


def user_empties_all(world: World, _tag: str) -> bool:
    return any([user_empties(world, tag) for tag in world.items])


def user_types_everywhere(world: World, _tag: str) -> bool:
    return any([user_types(world, tag) for tag in world.items])


def user_restores_and_types(world: World, tag: str) -> bool:
    """One act, between two steps of a run."""
    return user_restores(world, tag) and user_types(world, tag)


def user_types_two_lines(world: World, tag: str) -> bool:
    """Into a field whose cell takes one: the write into Plant 3D is refused."""
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None:
        return False
    text = _text(world, "first line\nuser")
    world.told.words[tag, "description"] = Typed("synapse", text)
    return _edits(world, tag, description=text)


def user_types_a_model(world: World, tag: str) -> bool:
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None:
        return False
    text = _text(world, "user")
    world.told.words[tag, "model"] = Typed("synapse", text)
    return _edits(world, tag, attributes={"model": text})


def user_empties(world: World, tag: str) -> bool:
    row = world.asset(tag)
    if row is None or row["deleted_at"] is not None or not row["description"]:
        return False
    world.told.words[tag, "description"] = Typed("synapse", None, counts=_is_remembered(world, tag))
    return _edits(world, tag, description=None)


def user_adds_what_is_not_drawn_yet(world: World, _tag: str) -> bool:
    """An asset that carries the tag a designer will draw."""
    if any(row["tag"] == "P-9" for row in world.memory.rows()) or "P-9" in world.items:
        return False
    world.memory.user_create("P-9", description="before it was drawn", by="user:marie")
    return True


def user_purges(world: World, tag: str) -> bool:
    """Physically, and nobody declares anything."""
    row = world.asset(tag)
    if row is None:
        return False
    world.memory.purge(str(row["id"]))
    world.told.unclear.add(tag)
    world.told.purged = True
    return True


def puts_yesterdays_synapse_back(world: World, _tag: str) -> bool:
    """The first time it is kept, the second time put back, and the history declared broken."""
    if world.kept_synapse is None:
        world.kept_synapse = pickle.dumps(vars(world.memory))
        return True
    sent = world.memory.deliveries
    back = filled(world.kept_synapse)
    back.deliveries = sent
    back._epoch = world.memory._epoch
    back.new_epoch()
    world.synapse[PROJECTS["mine"]], world.kept_synapse = back, None
    for (_tag, name), typed in world.told.words.items():
        if typed.side == "synapse" or world.held(_tag, name) != typed.text:
            typed.counts = typed.counts and typed.side == "plant3d"
    world.told.archived |= set(world.items)
    world.told.rolled_back = True
    return True


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


def user_types_and_archives(world: World, tag: str) -> bool:
    """One act: what he typed last is seen by nobody but him."""
    return user_types(world, tag) and user_archives(world, tag)


def user_takes_the_archive_back_and_forth(world: World, tag: str) -> bool:
    return user_restores(world, tag) and user_archives(world, tag)


def synapse_forgets_its_answers(world: World, _tag: str) -> bool:
    """A day passes, and the server keeps an answer no longer than it must."""
    CLOCK.now += 86_400.0
    world.memory.forget_answers()
    return True


# ---------------------------------------------------------------- commands


def command(*words: str) -> Move:
    def move(world: World, _tag: str) -> bool:
        world.cli(*_with_project(words))
        return True

    return move


def _with_project(words: tuple[str, ...]) -> tuple[str, ...]:
    at = 1 if len(words) == 1 or words[1].startswith("-") else 2
    return *words[:at], "mine", *words[at:]


def limited(*words: str) -> Move:
    """A run that looks at this item's asset, or at its kind, only."""

    def move(world: World, tag: str) -> bool:
        row = world.asset(tag)
        if row is None:
            return False
        kind = "valves" if tag.startswith("HV") else "equipment"
        world.cli(words[0], "mine", words[1], str(row["id"]) if words[1] == "--asset-ids" else kind)
        return True

    return move


def makes_a_plan_of_a_pull(world: World, _tag: str) -> bool:
    world.plan = world.cli("plan", "mine", "--direction", "pull").get("plan_id") or world.plan
    return True


def applies_approving_guards(world: World, _tag: str) -> bool:
    """What a guard stopped, if something was stopped; else the plan that waits."""
    plan = world.plan or world.last.get("plan_id")
    if plan is None:
        return False
    world.cli("apply", plan, "--approve-guards")
    if world.code in (0, 3) and "yesterday's file" in world.told.moves:
        world.told.must_stay.clear()  # a person said that the older copy counts
    world.plan = None
    return True


def discards_the_plan(world: World, _tag: str) -> bool:
    if world.plan is None:
        return False
    world.cli("discard", world.plan)
    world.plan = None
    return True


def undoes_the_first_run(world: World, tag: str) -> bool:
    """An older one than the last."""
    return len(world.ran) > 1 and _undoes(world, world.ran[0])


def undoes_two_runs(world: World, _tag: str) -> bool:
    """Both undos are planned before either is applied."""
    wrote = [run for run in world.ran if world.done.get(run)][-2:]
    return len(wrote) == 2 and _undoes(world, *wrote)


def toggles(**options: Any) -> Move:
    """An administrator sets these, and the next time takes them back."""

    def move(world: World, _tag: str) -> bool:
        now = {name: None if name in world.options else value for name, value in options.items()}
        world.configure(**now)
        return True

    return move


def links_accepted(world: World, _tag: str) -> bool:
    world.cli("links", "accept", "mine")
    left_out = "P" if world.options.get("mapping") == ["./without.yml"] else "-"  # those are not offered now
    followed = {tag for tag in world.items if not tag.startswith(left_out) and world.is_drawn(tag)}
    world.told.relinked |= followed
    for tag in followed:
        if world.code == 0 and world.told.numbers.get(tag):
            world.told.deleted.pop(tag, None)  # a person accepted that it stands in another row: it is there
    return True


def others_are_saved(world: World, tag: str) -> bool:
    """Another item, three times."""
    other = next((one for one in world.items if one != tag and world.is_drawn(one)), None)
    return other is not None and all([designer_types_a_maker(world, other) for _ in range(3)])


def three_saves_within_seconds(world: World, tag: str) -> bool:
    """Another item is saved, and pulled, three times; no half hour passes."""
    other = next((one for one in world.items if one != tag and world.is_drawn(one)), None)
    if other is None:
        return False
    for _ in range(3):
        designer_types_a_maker(world, other)
        world.cli("pull", "mine")
    return True


def while_plant3d_is_busy(world: World, _tag: str) -> bool:
    """The file can be read but not written while the run works."""
    kept = os.environ.get("P3DSYNC_SOURCE_DEADLINE_SECONDS")
    os.environ["P3DSYNC_SOURCE_DEADLINE_SECONDS"] = "0.1"
    try:
        with closing(sqlite3.connect(world.dcf, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            world.cli("now", "mine")
            connection.execute("ROLLBACK")
    finally:
        del os.environ["P3DSYNC_SOURCE_DEADLINE_SECONDS"]
        if kept is not None:
            os.environ["P3DSYNC_SOURCE_DEADLINE_SECONDS"] = kept
    return True


def state_is_lost(world: World, _tag: str) -> bool:
    """The state database is gone; the next run adopts what it finds. What was emptied and did not arrive counts no more."""
    for typed in world.told.words.values():
        typed.counts = typed.counts and (typed.text is not None or typed.arrived)
    fast.put_down(world.state)
    for path in world.folder.glob("state.db*"):
        path.unlink()
    world.plan = None
    world.ran.clear()
    world.done.clear()
    world.told.rolled_back = True  # no history counts any more
    return True


def refused_rows(verb: str) -> Move:
    """A person tries again what SYNAPSE refused, or says that it is left alone."""

    def move(world: World, _tag: str) -> bool:
        refused = world.cli("quarantine", "list", "mine").get("items", [])
        words = ["--reason", "as agreed"] if verb == "ignore" else []
        for row in refused:
            world.cli("quarantine", verb, "mine", str(row["id"]), *words)
            if verb == "ignore" and world.code == 0 and _was_seen(world, "*"):
                world.told.left_alone |= {of for of, known in world.items.items() if known[0] == row["pnpid"]}
        return bool(refused)

    return move


def over_http(inner: Move) -> Move:
    """The same, asked through the API; a worker carries out what that queues."""

    def move(world: World, tag: str) -> bool:
        world.over_http = True
        try:
            return inner(world, tag)
        finally:
            world.over_http = False

    return move


def asks_and_takes_it_back(world: World, _tag: str) -> bool:
    """A run that was asked for over the API is cancelled before a worker takes it."""
    world.cli("cancelled", "mine")
    return True


def points_elsewhere_and_back(world: World, _tag: str) -> bool:
    """The project is pointed at another project of SYNAPSE, which has an asset of that tag, and pointed back."""
    if (
        world.told.rolled_back and not world.ran
    ):  # without a state, its first run would bind it to the other one
        return False
    text = _text(world, "of another plant")
    with contextlib.suppress(ValueError):  # it has one already
        world.synapse[PROJECTS["second"]].user_create(str(world.tag_of(_tag)), description=text)
        world.told.never.add(text)
    world.configure(synapse_project_id=PROJECTS["second"])
    world.cli("now", "mine")
    world.cli("links", "accept", "mine")
    world.configure(synapse_project_id=None)
    return True


def a_copy_becomes_a_project(world: World, tag: str) -> bool:
    """A copy of the file, one value changed, for the same SYNAPSE project: the run of another project."""
    if not world.is_drawn(tag):
        return False
    text = _text(world, "maker of a copy")
    shutil.copyfile(world.dcf, world.folder / "copy.dcf")
    with closing(sqlite3.connect(world.folder / "copy.dcf")) as connection, connection:
        connection.execute(
            "UPDATE EngineeringItems SET Manufacturer = ? WHERE PnPID = ?", (text, world.items[tag][0])
        )
        connection.execute(
            "UPDATE PnPBase SET PnPTimestamp = ?, PnPRevision = PnPRevision + 1 WHERE PnPID = ?",
            (CLOCK.ticks(), world.items[tag][0]),
        )
    settings = {
        "synapse_project_id": PROJECTS["mine"],
        "source": "copy.dcf",
        "mapping": ["./mine.yml"],
        "write": "sql",
        "drawings_unseen": "closed",
    }
    world.beside = {"copy": settings}
    world.configure()
    kept = world.last, list(world.ran)
    world.cli("now", "copy")
    nobody_knows = (
        world.told.rolled_back and not kept[1]
    )  # the state is lost, and the project did not run since
    if world.held(tag, "manufacturer") == text and not nobody_knows:
        world.told.wrong.append(f"a copy of the file overwrote the maker of {tag}")
    world.last, world.ran = kept
    world.beside = {}
    world.configure()
    return True


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
    return bool(world.ran) and _undoes(world, _last_that_wrote(world))


def _last_that_wrote(world: World) -> str:
    return next((run for run in reversed(world.ran) if world.done.get(run)), world.ran[-1])


def undo_that_dies(world: World, _tag: str) -> bool:
    """The same; the run that applies it is killed before it hears what SYNAPSE made of it."""
    return bool(world.ran) and _undoes(world, _last_that_wrote(world), dies_at="pull.reply_received")


def _undoes(world: World, *runs: str, dies_at: str = "") -> bool:
    said = [answer for run in runs if "plan_id" in (answer := world.cli("undo", run))]
    if not said:
        return False
    now, back = world.sides(), {}
    stays = {
        (answer["run_id"], entry["pnpid"], entry["field"])
        for answer in said
        for entry in answer["left_alone"]
    }
    for run in reversed(runs):
        if run not in world.done:  # somebody acted while it worked: nobody can say which words it carried
            for typed in world.told.words.values():
                typed.counts = False
        did = world.done.get(run, {})
        whole = {tag for tag, name in did if name == "*"}
        for tag in whole:
            _words_of(world, tag, counts=False)
        for key, (before, after) in did.items():
            if key[0] in whole:
                continue
            if now[key] == after and (run, world.items[key[0]][0], FIELDS[key[1]]) not in stays:
                if before[0] == before[1] or after[0] == after[1]:  # else something waited: it crosses
                    back[key] = before
                if key in world.told.words and not _still_wait(world, key, before, after):
                    world.told.words[key].counts = False
    world.told.must_stay.clear()
    world.told.archived |= set(world.items)
    codes = set()
    for answer in said:
        if dies_at:
            POINTS.at, POINTS.happens = dies_at, POINTS.dies
        world.cli("apply", answer["plan_id"])
        codes.add(world.code)
    undone = {key for run in runs for key in world.done.get(run, {})}
    for of, name in [*world.told.undone]:
        if not undone.isdisjoint({(of, name), (of, "*")}):
            del world.told.undone[of, name]  # what an earlier undo put back there is taken back
    if codes == {0} and len(said) == len(runs):
        world.told.undone |= back
    return True


def _still_wait(
    world: World, key: tuple[str, str], before: tuple[Value, Value], after: tuple[Value, Value]
) -> bool:
    """Whether a person typed there, and the run that is undone did not carry it: then it still has to arrive."""
    typed = world.told.words.get(key)
    if typed is None or not typed.counts:
        return False
    own = ("plant3d", "synapse").index(typed.side)
    return all(both[own] == typed.text != both[1 - own] for both in (before, after))


def _words_of(world: World, tag: str, *, counts: bool) -> None:
    for (of, _name), typed in world.told.words.items():
        if of == tag:
            typed.counts = counts


def resolves(choice: str) -> Move:
    def move(world: World, tag: str) -> bool:
        asked = [
            item
            for item in world.cli("conflicts", "mine").get("items", [])
            if item["plant3d_id"] == world.items[tag][1]
        ]
        world.told.undone.clear()
        for item in asked:
            world.cli("resolve", item["id"], choice, "--no-run")
            for (of, name), typed in world.told.words.items():
                if of == tag and world.code == 0 and item["field"] in (NAMES[name], "*"):
                    # a person decided: the other words do not count. Of a whole item he saw both
                    typed.counts = typed.side == choice and item["field"] != "*"
            if world.code == 0 and _was_seen(world, item["field"]):
                world.told.decided.add((tag, item["field"]))
        return bool(asked)

    return move


def _was_seen(world: World, field: str) -> bool:
    """Whether a run came after the last act of a person that concerns the question: what moved since voids a choice."""
    for name in reversed(world.told.moves[:-1]):
        if name in ("now", "pull"):
            return True
        if name not in CARRIES_OUT and (field == "*" or name not in ELSEWHERE):
            return False
    return False


def puts_yesterdays_file_back(world: World, _tag: str) -> bool:
    """The first time it is kept, the second time put back."""
    kept = world.folder / "kept.dcf"
    if not kept.exists():
        shutil.copyfile(world.dcf, kept)
        return True
    shutil.move(kept, world.dcf)
    world.told.saved_since.clear()
    known = (
        {}
        if not world.state.exists()
        else {
            row["plant3d_id"]: row["revision"] or 0
            for row in world.rows("SELECT plant3d_id, revision FROM link")
        }
    )
    world.told.saves_behind = {
        tag: known.get(guid, 0) - world._row("PnPBase", tag).get("PnPRevision", 0)
        for tag, (_number, guid) in world.items.items()
    }
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
    world.told.deleted |= dict.fromkeys(world.items, 0.0)  # since when it is missed there, nobody knows
    world.plan = None
    world.ran.clear()
    world.done.clear()
    return True


def another_mapping_and_back(name: str) -> Move:
    def move(world: World, _tag: str) -> bool:
        world.configure(mapping=None if "mapping" in world.options else [f"./{name}"])
        for (_item, field), typed in world.told.words.items():
            if field == "description" and (typed.side == "plant3d" or typed.arrived):
                typed.counts = False  # they stand in a column that is not the field's any more
        return True

    return move


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
            _overwritten_in_plant3d(world, tag)
            world.saves(tag, "Description", text)
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


def another_worker(world: World, _tag: str) -> bool:
    """The lease of the run that is under way is over; a run of somebody else begins and ends."""
    with closing(sqlite3.connect(world.state)) as connection, connection:
        connection.execute("UPDATE lease SET expires_at = 0")
    with POINTS.apart():
        world.cli("now", "mine")
    return True


def a_person_chooses(choice: str) -> Move:
    """In another process, while a run works."""

    def move(world: World, tag: str) -> bool:
        with POINTS.apart():
            return resolves(choice)(world, tag)

    return move


def user_takes_it_back_and_another_worker(world: World, tag: str) -> bool:
    done = user_takes_it_back(world, tag)
    return another_worker(world, tag) and done


def user_types_and_another_worker(world: World, tag: str) -> bool:
    done = user_types(world, tag)
    return another_worker(world, tag) and done


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
CORE = (
    "the designer types",
    "the user types",
    "the designer deletes the item",
    "the designer brings the item back",
    "the user archives the asset",
    "now",
    "undo of the last run",
    "now, and before it writes the user types",
)
"""What is played in every order already by the ordinary suite, and in longer orders."""

RARE: dict[str, Move] = {
    "the designer draws P-9": designer_draws_an_item,
    "pull of valves": command("pull", "--entity-types", "valves"),
    "pull --full": command("pull", "--full"),
    "pull --dry-run": command("pull", "--dry-run"),
    "findings": command("findings"),
    "runs": command("runs"),
    "yesterday's file": puts_yesterdays_file_back,
    "yesterday's state": puts_yesterdays_state_back,
    "another mapping": another_mapping_and_back("elsewhere.yml"),
    "another first column": another_mapping_and_back("first.yml"),
    "the designer types a model": designer_types_a_model,
    "the user types a model": user_types_a_model,
    "the user types two lines": user_types_two_lines,
    "now, and before it writes the user types a model": between("plan.stored", user_types_a_model),
    "now, and before it writes the designer types a model": between("plan.stored", designer_types_a_model),
    "the designer empties the description": designer_empties,
    "the user empties the description": user_empties,
    "the designer renames the item": designer_renames,
    "the designer swaps tags": designer_swaps_tags,
    "the designer types an awkward tag": designer_types_an_awkward_tag,
    "the user purges the asset": user_purges,
    "the user adds P-9": user_adds_what_is_not_drawn_yet,
    "links accept": links_accepted,
    "schema accept": command("schema", "accept"),
    "discard": discards_the_plan,
    "apply, approving guards": applies_approving_guards,
    "undo of the first run": undoes_the_first_run,
    "plan of a pull": makes_a_plan_of_a_pull,
    "push of the asset": limited("push", "--asset-ids"),
    "pull of its kind": limited("pull", "--entity-types"),
    "conflicts are asked about": toggles(conflict={"policy": "ask"}),
    "missing items are asked about": toggles(missing={"reads": 2, "minutes": 15, "policy": "ask"}),
    "drift is proposed": toggles(drift={"attributes.manufacturer": "propose"}),
    "drift is ignored": toggles(drift={"attributes.manufacturer": "ignore"}),
    "another SYNAPSE project": points_elsewhere_and_back,
    "a copy of the file": a_copy_becomes_a_project,
    "yesterday's SYNAPSE": puts_yesterdays_synapse_back,
    **{
        f"now, frozen at {point}, and another run": between(point, another_worker)
        for point in ("plan.stored", "pull.intent_stored", "push.intent_stored", "push.before_begin")
    },
    **{
        f"now, frozen at {point}, the user types and another run": between(
            point, user_types_and_another_worker
        )
        for point in ("plan.stored", "push.before_begin")
    },
    "now, frozen at push.before_begin, the user takes it back and another run": between(
        "push.before_begin", user_takes_it_back_and_another_worker
    ),
    **{
        f"now, and before it writes a person chooses {side}": between("plan.stored", a_person_chooses(choice))
        for side, choice in (("Plant 3D", "plant3d"), ("SYNAPSE", "synapse"))
    },
    "now, and before it writes the user restores and types": between("plan.stored", user_restores_and_types),
    "the user takes it back": user_takes_it_back,
    "another mapping without pumps": another_mapping_and_back("without.yml"),
    "the designer fills a new column": designer_fills_a_new_column,
    "the designer copies the row": designer_copies_the_row,
    "the designer draws P-9 without words": designer_draws_an_item_without_words,
    "the designer empties all descriptions": designer_empties_all,
    "the designer types everywhere": designer_types_everywhere,
    "the user empties all descriptions": user_empties_all,
    "the user types everywhere": user_types_everywhere,
    "guards are strict": toggles(guards=STRICT),
    "missing items are archived late": toggles(missing=LATE),
    "others are saved": others_are_saved,
    "three saves within seconds": three_saves_within_seconds,
    "now, while Plant 3D is busy": while_plant3d_is_busy,
    "the state is lost": state_is_lost,
    "undo of the last two runs": undoes_two_runs,
    "quarantine retry": refused_rows("retry"),
    "quarantine ignore": refused_rows("ignore"),
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
TOLD: dict[str, Move] = {
    "the user types and archives": user_types_and_archives,
    "the user restores and archives": user_takes_the_archive_back_and_forth,
    "a day passes": synapse_forgets_its_answers,
    "undo of the last run, killed at pull.reply_received": undo_that_dies,
    **{
        f"now, killed at {point}": killed(point)
        for point in ("recover.question_stored", "recover.question_answered", "recover.answer_read")
    },
}
"""What only told stories have; nothing of it is drawn at random."""

OVER_HTTP = ", over the API"
SAID: dict[str, Move] = {
    name + OVER_HTTP: over_http({**SMALL, **RARE}[name])
    for name in (
        "now",
        "pull",
        "pull of valves",
        "pull of its kind",
        "pull --full",
        "pull --dry-run",
        "push",
        "push of the asset",
        "plan",
        "plan of a pull",
        "apply",
        "apply, approving guards",
        "discard",
        "undo of the last run",
        "undo of the first run",
        "undo of the last two runs",
        "choose Plant 3D",
        "choose SYNAPSE",
        "quarantine retry",
        "quarantine ignore",
        "schema accept",
    )
} | {"a run is asked for and cancelled" + OVER_HTTP: over_http(asks_and_takes_it_back)}
"""What may as well be asked of the service."""

EVERY: dict[str, Move] = {**SMALL, **RARE, **TOLD, **SAID}

CARRIES_OUT = (
    "now",
    "pull",
    "push",
    "plan",
    "choose Plant 3D",
    "choose SYNAPSE",
    "findings",
    "runs",
    "quarantine ignore",
)
"""Moves after which what a person decided still stands."""
ELSEWHERE = (
    "the designer types an awkward tag",
    "the designer renames the item",
    "the designer types a maker",
    "the user types a maker",
    "now, and before it writes a person chooses Plant 3D",
    "now, and before it writes a person chooses SYNAPSE",
)
"""Moves after which what a person decided about a shared field still stands."""

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
    "discard": "discard",
    "links accept": "links accept",
    "schema accept": "schema accept",
    "audit verify": "",
    "quarantine retry": "quarantine retry",
    "quarantine ignore": "quarantine ignore",
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
    "serve": "a service; what it is asked is played in this process (`SAID`)",
    "worker": "a service; it carries out what the API is asked; two on one project are test_jobs_nemesis.py",
    "scheduler": "a service; test_jobs_schedule.py",
    "up": "all services in one",
    "check-config": "reads the configuration",
    "links propose": "writes nothing",
    "mapping check": "reads the mapping",
    "db upgrade": "test_old_state.py",
    "keys create": "no sync",
    "keys list": "no sync",
    "keys revoke": "no sync",
    "audit export": "reads; test_audit.py compares",
    "audit set-aside": "closes rows altered from outside, which no actor here does; test_forged_rows.py",
    "acknowledge": "decides nothing; test_findings.py",
    "waiting": "reads; test_quarantine.py",
    "quarantine list": "reads; test_quarantine.py",
    "mapping diff": "writes nothing; test_schema_steps.py",
    "mapping versions": "reads",
    "schema show": "reads",
    "clocks show": "reads",
    "clocks forget": "one clock is everybody's here, and never behind; test_clocks.py",
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
    "resolveConflicts": "no move: many decisions at once are those one by one; test_web_decisions.py",
    "cancelSync": "a run is asked for and cancelled",
    "createKey": "no move: no sync",
    "revokeKey": "no move: no sync",
    "acknowledgeFindings": "no move: as the command `acknowledge`",
    "retryQuarantined": "quarantine retry",
    "ignoreQuarantined": "quarantine ignore",
    "discardPlan": "discard",
    "acceptSchema": "schema accept",
    "forgetLag": "no move: as the command `clocks forget`",
}
"""Operation of the API that changes something -> the move in which it is called, or why there is none."""
