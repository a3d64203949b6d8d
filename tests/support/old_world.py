"""Worlds as version 86e46eb left them: how `tests/data/world-86e46eb.zip` was made, and how a test opens one.

The file holds, for each stage, the state database, the reference SYNAPSE's database and the Plant 3D database. It was
written once, with the program at commit 86e46eb, by `python -m tests.support.old_world tests/data/world-86e46eb.zip`
in a checkout of that commit to which only this file was added. It is never made anew: it is data of an older version.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from plant3d_sync.model.plan import Op
from plant3d_sync.sample import edits
from tests.support.dcf import Dcf
from tests.support.synapse_dev import RunningSynapse, synapse_in_thread
from tests.support.wayback import now, ok, planned, redescribed, retagged, undone, user_describes
from tests.support.world import NAME, Row, World, new_world

ARCHIVE = Path(__file__).parents[1] / "data" / "world-86e46eb.zip"
PROJECT = "4f0c2a86-3f5e-4c6b-9d3a-86e46eb00001"
KEY = "old-world-key"
OPTIONS = {
    "write": "sql",
    "drawings_unseen": "closed",
    "missing": {"reads": 2, "minutes": 0, "policy": "ask"},
}
STOCK = "stock-86e46eb.yml"
FILES = ("state.db", "synapse.db", "ProcessPower.dcf")
STAGES = ("waiting", "killed-pull", "killed-apply", "killed-push")
"""A plan waits with steps of every kind; a run, an application, a push died after its call and before its receipt."""

ALREADY_THERE = "HV-500"


def plant(path: Path) -> dict[str, int]:
    """A project of a dozen items with few columns. Name -> PnPID."""
    dcf = Dcf(path)
    drawing = dcf.add("PnPDrawings", PnPRelativePath="PID DWG\\A.dwg", **{"Dwg Name": "A.dwg"})
    items = {
        f"P-{number}": dcf.add("CentrifugalPump", Tag=f"P-{number}", Description=f"Pump {number}")
        for number in range(1, 10)
    }
    items |= {
        f"HV-{number}": dcf.add("GateValve", Tag=f"HV-{number}", Description=f"Valve {number}", Size='2"')
        for number in range(1, 6)
    }
    items["FT-1"] = dcf.add("FieldMountedDCS", Tag="FT-1", Description="Flow 1")
    dcf.draw(drawing, *items.values())
    return items


def rows_of(world: World, pnpid: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Every row of an item, to put it back after it was deleted."""
    with closing(sqlite3.connect(world.dcf)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = []
        for table in tables:
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            if "PnPID" in columns:
                query = f'SELECT * FROM "{table}" WHERE PnPID = ?'
                found += [(table, row) for row in connection.execute(query, (pnpid,))]
        return found


def put_back(world: World, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
    """A deleted item is back (an undo in Plant 3D)."""
    for table, row in rows:
        world.change(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', *row)


def history(world: World, items: dict[str, int]) -> None:
    """Runs that leave changes of every kind behind: created, updated, linked, archived, pushed, undone."""
    world.user_adds(tag="P-9", asset_type="Equipment", asset_subtype="Pump")
    world.user_adds(
        tag=ALREADY_THERE,
        asset_type="Valve",
        asset_subtype="Valve",
        plant3d_id=world.guid(items["HV-5"]),
        description="Typed in SYNAPSE",
    )
    world.pull()
    ok(world.cli("links", "accept", NAME))
    now(world, code=3)  # the two descriptions of the adopted pair differ: a question
    redescribed(world, items["P-1"], "From the designer")
    retagged(world, items["P-2"], "P-22")
    user_describes(world, items["P-3"], "From SYNAPSE")
    both_ways = now(world, code=3)
    plan = undone(world, both_ways["run_id"])
    ok(world.apply(plan["plan_id"]))  # P-1, P-2 and P-3 are held from now on
    edits.delete_item(world.dcf, items["HV-1"])
    for _ in range(2):
        touched(world, items["HV-2"])
        world.pull()
    ok(world.apply(planned(world, code=3)["plan_id"]), 3)


def touched(world: World, pnpid: int) -> None:
    """A designer saves an item without changing what is mapped."""
    world.change(
        "UPDATE PnPBase SET PnPTimestamp = PnPTimestamp + 10000000, PnPRevision = PnPRevision + 1 WHERE PnPID = ?",
        pnpid,
    )


def edited(world: World, items: dict[str, int], gone: list[tuple[str, tuple[Any, ...]]]) -> None:
    """Edits from which a plan with steps of every kind is made."""
    edits.delete_item(world.dcf, items["HV-4"])
    touched(world, items["P-4"])
    world.pull()  # HV-4: missing once
    redescribed(world, items["P-5"], "Edited in Plant 3D")
    user_describes(world, items["P-6"], "Edited in SYNAPSE")
    redescribed(world, items["P-7"], "The same on both sides")
    user_describes(world, items["P-7"], "The same on both sides")
    retagged(world, items["P-8"], "P-88")
    touched(world, items["HV-2"])
    edits.delete_item(world.dcf, items["HV-3"])
    put_back(world, gone)
    added = edits.add_item(world.dcf, "GateValve", {"Tag": "HV-600", "Description": "New"})
    edits.add_item(world.dcf, "GateValve", {"Tag": "HV-601", "Description": "New too"})
    world.user_adds(
        tag="HV-600",
        asset_type="Valve",
        asset_subtype="GateValve",
        plant3d_id=world.guid(added),
        description="New",
    )


def kinds_of(world: World, plan_id: str) -> set[str]:
    """The kinds of steps in a stored plan."""
    chunks = world.rows("SELECT lines FROM plan_chunk WHERE plan_id = ?", plan_id)
    return {line["op"] for chunk in chunks for line in json.loads(chunk["lines"])}


def kill(world: World, point: str, *words: str) -> None:
    """A command that ends at a point as a power cut would end it."""
    said = world.process(*words, env={"P3DSYNC_TEST": "1", "P3DSYNC_FAILPOINTS": f"{point}:1"})
    assert said.code == -signal.SIGKILL, (said.code, said.out, said.err)


def make(target: Path) -> None:
    """Write the archive. Needs a checkout of 86e46eb."""
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        folder = Path(name)
        template = folder / "template.dcf"
        items = plant(template)
        begun = folder / "begun"
        with synapse_in_thread(str(folder / "synapse.db"), api_key=KEY, project=str(PROJECT)) as synapse:
            world = opened(begun, synapse, template)
            gone = rows_of(world, items["HV-1"])
            history(world, items)
            edited(world, items, gone)
            plan: Row = planned(world, code=3)
            assert kinds_of(world, plan["plan_id"]) == set(Op), "a plan with steps of every kind"
        keep(archive, "waiting", begun, folder)
        dead = {
            "killed-pull": ("pull.reply_received", "now", NAME),
            "killed-apply": ("pull.reply_received", "apply", plan["plan_id"]),
            "killed-push": ("push.read_back", "now", NAME),
        }
        for stage, words in dead.items():
            with unpacked(Path(archive.filename or ""), "waiting", folder / stage, archive) as world:
                kill(world, *words)
            keep(archive, stage, folder / stage, folder / stage)


def opened(folder: Path, synapse: RunningSynapse, dcf: Path) -> World:
    """A world on this Plant 3D database in the project of the archive."""
    return new_world(folder, synapse, dcf, project=PROJECT, **OPTIONS)


def keep(archive: zipfile.ZipFile, stage: str, folder: Path, synapse: Path) -> None:
    """Put the three databases of a stage into the archive, ours and SYNAPSE's each as one compact file."""
    for name, place in (("state.db", folder), ("synapse.db", synapse)):
        whole = place / f"{name}.whole"
        with closing(sqlite3.connect(place / name)) as connection:
            connection.execute("VACUUM INTO ?", (str(whole),))
        archive.write(whole, f"{stage}/{name}")
    archive.write(folder / "ProcessPower.dcf", f"{stage}/ProcessPower.dcf")  # its change counter counts


@contextmanager
def unpacked(path: Path, stage: str, folder: Path, archive: zipfile.ZipFile | None = None) -> Iterator[World]:
    """A world of the archive, in a folder of its own, with a running SYNAPSE that holds what it held.

    Without `archive` the state database is brought to the schema of today, as an update does.
    """
    folder.mkdir(parents=True)
    source = archive or zipfile.ZipFile(path)
    for name in FILES:
        (folder / name).write_bytes(source.read(f"{stage}/{name}"))
    if archive is None:
        source.close()
    with synapse_in_thread(str(folder / "synapse.db"), api_key=KEY, project=PROJECT) as synapse:
        world = World(folder=folder, synapse=synapse, uuid=PROJECT, url=synapse.url)
        # the mapping it was planned with: a plan of another mapping is refused, and stock has grown since
        shutil.copy(path.parent / STOCK, folder / STOCK)
        world.configure(mapping=str(folder / STOCK), **OPTIONS)
        if archive is None:
            ok(world.cli("db", "upgrade"))
        yield world


if __name__ == "__main__":
    made = Path(sys.argv[1])
    part = made.with_suffix(".part")
    make(part)
    shutil.move(part, made)
