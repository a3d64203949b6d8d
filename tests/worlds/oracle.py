"""What must hold once everybody rests. Knows nothing of the program but its commands, its tables and both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.worlds.world import BETWEEN_MOVES, CLOCK, LATE, NAMES, World

RUNS_TO_REST = 4
GUARDED = 5


class Broken(AssertionError):
    """A promise does not hold."""


def judge(world: World) -> None:
    """Come to rest, then ask every question. Raises Broken with all answers that are wrong."""
    wrong = list(_rest(world))
    looked = world.code != GUARDED
    if looked:
        wrong += _quiet(world)
        wrong += _listed(world)
    trail = list(_audited(world))
    with world.looking():
        wrong += _asked_all(world, looked=looked)
    if wrong or trail:
        raise Broken("; ".join([*wrong, *trail]))


def _asked_all(world: World, *, looked: bool) -> list[str]:
    """Every question about how both sides and the state stand now."""
    wrong = [*_words(world), *_owners(world), *_both_sides(world)] if looked else []
    return [
        *wrong,
        *world.told.wrong,
        *_decided(world),
        *_undone(world),
        *_relinked(world),
        *_archived_unseen(world),
        *_other_plants(world),
        *_kept(world),
        *_identities(world),
        *_nothing_open(world),
        *_history(world),
    ]


def _rest(world: World) -> Iterator[str]:
    left_out = world.options.get("mapping") == ["./without.yml"]
    world.configure(write="sql", drift=None, synapse_project_id=None, guards=None)
    if left_out:
        world.configure(mapping=None)
    if world.options.get("missing") == LATE:
        world.configure(missing=None)
    if world.told.purged:
        world.cli("pull", "mine", "--full")
    quiet = 0
    for _ in range(RUNS_TO_REST):
        CLOCK.now += BETWEEN_MOVES
        world.queue_goes_on()
        sides = _sides(world)
        said = world.cli("now", "mine")
        world.errors = list(said.get("errors", ()))
        if world.code not in (0, 3, GUARDED):
            yield f"a run at rest ended with {world.code}: {said}"
            return
        if world.code == GUARDED:
            return
        if said["writes"] == {"synapse": 0, "plant3d": 0}:
            if _sides(world) != sides:
                yield "a run that says it wrote nothing changed a side"
            quiet += 1
        waits = world.rows(
            "SELECT 1 FROM run WHERE status = 'queued'"
        )  # for this run to settle what another one left
        if (world.code == 0 and not waits) or quiet > 1:  # after a row error the next run decides anew
            return
    yield f"after {RUNS_TO_REST} runs it still writes {said['writes']}"


def _quiet(world: World) -> Iterator[str]:
    """A run that ended well left nothing to do: one that looks at everything writes nothing, nor do those after it. These
    look at nothing any more: at the latest the second, which has decided both ways.
    """
    sides = _sides(world)
    for words in (("pull", "mine", "--full"), ("now", "mine"), ("now", "mine")):
        CLOCK.now += BETWEEN_MOVES
        said = world.cli(*words)
        world.errors += said.get("errors", ())
        if any(said.get("writes", {"": 1}).values()):
            yield f"`{' '.join(words)}` after rest writes {said.get('writes')}"
        if _sides(world) != sides:
            yield f"`{' '.join(words)}` after rest changed a side"
        if words[0] == "now" and (said.get("unchanged_source") or world.code != 0):
            return
    if world.lists:
        yield "nothing moves, and each run compares everything again"


def _sides(world: World) -> tuple[bytes, int]:
    return world.dcf.read_bytes(), world.memory.effective_writes


def _words(world: World) -> Iterator[str]:
    """The last words of a person hold on both sides, or a person is asked and sees them."""
    history = "\n".join(row["fields"] for row in world.rows("SELECT fields FROM change"))
    asked = world.rows("SELECT plant3d_id, field, status, data FROM conflict")
    everywhere = history + "\n".join(row["data"] for row in asked)
    for (tag, name), typed in world.told.words.items():
        text = typed.text or ""
        values = world.cell(tag, name) or "", world.held(tag, name) or ""
        if text not in values and text not in everywhere and tag not in world.told.unclear and typed.counts:
            yield f"{text!r} ({name} of {tag}) stands nowhere any more: {values}"
            continue
        if not typed.counts or tag in world.told.unclear or not _lives_on_both(world, tag):
            continue
        pending = [
            row
            for row in asked
            if row["status"] == "pending"
            and row["plant3d_id"] == world.items[tag][1]
            and row["field"] in (NAMES[name], "*")
        ]
        if pending:
            if not any(text in row["data"] for row in pending) and text not in values:
                yield f"the question about {name} of {tag} does not show {text!r}: {pending}"
        elif values != (text, text) and not _in_error(world, tag) and not _left_alone(world, tag):
            yield f"{text!r} was typed last into {name} of {tag}, and the sides hold {values} without a question"


def _in_error(world: World, tag: str, code: str = "") -> bool:
    """Whether the last runs say that they could not do the item."""
    guid = world.items[tag][1]
    return any(guid in (said := json.dumps(one)) and code in said for one in world.errors)


def _left_alone(world: World, tag: str) -> bool:
    """Whether a person left alone what is refused of the item: `quarantine list` shows it with his reason."""
    refused = world.rows("SELECT 1 FROM quarantine WHERE pnpid = ?", world.items[tag][0])
    return bool(refused) and bool(
        world.rows("SELECT 1 FROM acknowledgement WHERE kind = 'quarantine' AND ended_at IS NULL")
    )


def _other_plants(world: World) -> Iterator[str]:
    """Nothing of a copy, or of another SYNAPSE project, comes over."""
    cells = [world.cell(tag) for tag in world.items if world.is_drawn(tag)]
    everywhere = json.dumps(world.memory.rows())
    for text in world.told.never:
        if text in everywhere or text in cells:
            yield f"{text!r} came over, which was typed into a copy of the project or into another plant"


def _archived_unseen(world: World) -> Iterator[str]:
    """An asset whose user typed something that never reached Plant 3D is not archived by a run without a question."""
    for (tag, _name), typed in world.told.words.items():
        row = world.asset(tag)
        if (
            row is None
            or row["deleted_at"] is None
            or tag in world.told.archived
            or tag in world.told.unclear
        ):
            continue
        if typed.side == "synapse" and typed.counts and not typed.arrived:
            yield f"the asset of {tag} was archived over {typed.text!r}"


def _decided(world: World) -> Iterator[str]:
    """What a person decided is not asked again."""
    for tag, name in world.told.decided:
        if found := world.rows(
            "SELECT field, kind FROM conflict WHERE status = 'pending' AND plant3d_id = ? AND field = ?",
            world.items[tag][1],
            name,
        ):
            yield f"a person decided about {tag} and is asked again: {found}"


def _undone(world: World) -> Iterator[str]:
    """What was put back stays as it was before the run that was undone."""
    for (tag, name), before in world.told.undone.items():
        if tag in world.told.unclear or not _lives_on_both(world, tag):
            continue
        now = world.cell(tag, name), world.held(tag, name)
        if now != before and not _asked(world, tag):
            yield f"{name} of {tag} was put back to {before}, and the sides hold {now}"


def _relinked(world: World) -> Iterator[str]:
    """The hint that an error gives helps."""
    for tag in world.told.relinked:
        if world.is_drawn(tag) and _in_error(world, tag, "identity_mismatch"):
            yield f"{tag} was accepted under its other number, and the error stays"


def _listed(world: World) -> Iterator[str]:
    """What was refused stands in the list of what waits until it is settled, or a person left it alone; nothing else does."""
    pending = world.rows("SELECT id FROM conflict WHERE status = 'pending' AND project = 'mine'")
    refused = world.rows("SELECT pnpid FROM quarantine")
    if not world.lists or not (pending or refused or world.errors or world.told.left_alone):
        return
    said = world.cli("waiting", "mine")
    by_kind: dict[str, list[Any]] = {}
    for item in said["items"]:
        by_kind.setdefault(item["kind"], []).append(item)
    if sorted(item["id"] for item in by_kind.get("conflict", ())) != sorted(row["id"] for row in pending):
        yield f"asked are {pending}, and what waits is {by_kind.get('conflict')}"
    amounts = {kind: len(found) for kind, found in by_kind.items()}
    if {kind: count for kind, count in said["counts"].items() if count and kind != "total"} != amounts:
        yield f"what waits is counted as {said['counts']}, and listed are {amounts}"
    waits = {item["pnpid"] for item in by_kind.get("quarantine", ())}
    in_error = {one["pnpid"] for one in world.errors if one.get("pnpid") is not None}
    if waits != in_error:
        yield f"refused are {world.errors}, and what waits is {by_kind.get('quarantine')}"
    for tag in world.told.left_alone:
        if world.items[tag][0] in waits | in_error:
            yield f"what was refused of {tag} was left alone, and is told again: {world.errors}"


def _asked(world: World, tag: str) -> bool:
    return bool(
        world.rows("SELECT 1 FROM conflict WHERE status = 'pending' AND plant3d_id = ?", world.items[tag][1])
    )


def _kept(world: World) -> Iterator[str]:
    """Words of a designer that had reached SYNAPSE stay there when an older copy of the file is put back.

    A row that was saved there as often as the one we know, and later, cannot be told from one in which a designer took
    his words back.
    """
    for tag, text in world.told.must_stay.items():
        if world.told.saved_since[tag] >= world.told.saves_behind.get(tag, 1):
            continue
        typed = world.told.words.get((tag, "description"))
        if typed is None or typed.text != text or not _lives_on_both(world, tag) or world.held(tag) == text:
            continue
        if not world.rows(
            "SELECT 1 FROM conflict WHERE plant3d_id = ? AND data LIKE ?", world.items[tag][1], f"%{text}%"
        ):
            yield f"an older copy overwrote {text!r} of {tag} with {world.held(tag)!r}"


def _lives_on_both(world: World, tag: str) -> bool:
    row = world.asset(tag)
    return world.is_drawn(tag) and row is not None and row["deleted_at"] is None


def _owners(world: World) -> Iterator[str]:
    """Nothing is written that nobody owns."""
    undone = any(move.startswith("undo") for move in world.told.moves)  # what an undo put back stays
    for (tag, name), text in world.told.owned.items():
        if world.is_drawn(tag) and tag not in world.told.unclear:
            held = world.cell(tag, name)
            if held != text:
                yield f"{name} of {tag} is {held!r} in Plant 3D, where the designer left {text!r}"
            if (
                _lives_on_both(world, tag)
                and not undone
                and not _in_error(world, tag)
                and world.held(tag, name) != text
            ):
                yield f"SYNAPSE holds {world.held(tag, name)!r} as {name} of {tag}, Plant 3D {text!r}"
    for tag in world.items:
        row = world.asset(tag)
        if row is not None and row["notes"] not in (f"notes of {tag}", None):
            yield f"the notes of {tag} are {row['notes']!r}"


def _both_sides(world: World) -> Iterator[str]:
    """Equal, or in a list that a person can see."""
    for tag in world.items:
        row = world.asset(tag)
        if _lives_on_both(world, tag):
            row_tag = None if row is None else row["tag"]
            sides = {name: (world.cell(tag, name), world.held(tag, name)) for name in NAMES}
            sides["tag"] = world.tag_of(tag), row_tag
            apart = {name: both for name, both in sides.items() if (both[0] or None) != (both[1] or None)}
            if not apart:
                continue
            what = f"of {tag} the sides hold {apart}"
        elif world.is_drawn(tag) or (row is not None and row["deleted_at"] is None):
            what = f"{tag} lives on one side only"
        else:
            continue
        if not _told(world, tag):
            yield f"{what}, and no list tells it"


def _told(world: World, tag: str) -> bool:
    pnpid, guid = world.items[tag]
    asked = world.rows("SELECT 1 FROM conflict WHERE status = 'pending' AND plant3d_id = ?", guid)
    found = [
        row
        for row in world.rows("SELECT pnpid, data FROM finding WHERE closed_at IS NULL")
        if row["pnpid"] in {pnpid, *world.told.numbers.get(tag, ())} or guid in row["data"]
    ]
    holds = world.rows("SELECT 1 FROM link WHERE plant3d_id = ? AND holds NOT IN ('', '{}')", guid)
    return bool(asked or found or holds or _in_error(world, tag) or _left_alone(world, tag))


def _identities(world: World) -> Iterator[str]:
    for tag in world.items:
        live = [row for row in world.assets(tag) if row["deleted_at"] is None]
        if len(live) > 1 or (len(world.assets(tag)) > 1 and tag not in world.told.unclear):
            yield f"{tag} has {len(world.assets(tag))} assets"


def _nothing_open(world: World) -> Iterator[str]:
    for what, statement in (
        ("open intents", "SELECT id FROM intent WHERE status = 'open'"),
        ("runs that go on", "SELECT id FROM run WHERE status IN ('running', 'queued')"),
        ("runs that ended without an outcome", "SELECT id FROM run WHERE outcome IS NULL"),
        ("leases", "SELECT project FROM lease WHERE holder IS NOT NULL"),
        ("plans half applied", "SELECT id FROM plan WHERE status IN ('applying', 'approved')"),
    ):
        if found := world.rows(statement):
            yield f"{what}: {found}"
    beside = [path.name for path in world.folder.glob(world.dcf.name + "-*")]
    if beside:
        yield f"files beside the database: {beside}"


def _audited(world: World) -> Iterator[str]:
    if world.cli("audit", "verify") and world.code != 0:
        yield "the audit trail does not hold"


def _history(world: World) -> Iterator[str]:
    if "yesterday's state" in world.told.moves or world.told.rolled_back:
        return
    (row,) = world.rows(
        "SELECT count(*) AS n, coalesce(sum(outcome = 'found_applied'), 0) AS found FROM change "
        "WHERE side = 'synapse' AND outcome != 'unchanged'"
    )
    written = world.memory.effective_writes
    # after a crash a person may have done just what we meant to do: nobody can tell who did it
    if not row["n"] - row["found"] <= written <= row["n"]:
        yield f"{row['n']} changes are recorded ({row['found']} found), SYNAPSE counted {written}"
