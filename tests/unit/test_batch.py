"""A batch is a value, made of a plan's steps in portions or read back from what was stored."""

from __future__ import annotations

import pytest

from plant3d_sync.connectors.base import AssetWrite, Batch
from plant3d_sync.connectors.synapse import wire
from plant3d_sync.errors import ConfigError
from plant3d_sync.model.link import Open
from plant3d_sync.model.plan import Op
from plant3d_sync.model.step import AfterCreation, Archive, Create, Push, Settle, Step, Update, values_text
from plant3d_sync.run.portions import QUIET_AT_ONCE, Memories, Pushes, Writes, portions

WRITES = [AssetWrite(op="upsert", plant3d_id=f"guid-{n}", set={"tag": f"P-{n}"}) for n in range(3)]


def whose(number: int) -> dict[str, object]:
    return {
        "entity": "valves",
        "pnpid": number,
        "plant3d_id": f"guid-{number}",
        "class_name": "GateValve",
        "tag": f"HV-{number}",
    }


def update(number: int, *, old: str | None = None, new: str = "x") -> Update:
    return Update(**whose(number), old_tag=old, set={"tag": new})


def cut(*steps: Step, size: int = 2, approved: bool = False) -> list[tuple[str, list[int]]]:
    """The kinds of portions, and of whom they are."""
    halves = (steps[: len(steps) // 2], steps[len(steps) // 2 :])
    found = portions([lambda half=half: half for half in halves], size, approved=approved)
    return [(type(one).__name__, [step.pnpid for step in one.steps]) for one in found]


def test_a_batch_read_back_is_the_batch_that_was_made_but_for_what_it_sends() -> None:
    made = wire.encode_batch(WRITES)
    assert made.ids == ("guid-0", "guid-1", "guid-2") and len(made.sent) == 3
    assert Batch.of(made.body) == made.in_full()


@pytest.mark.parametrize(
    "stored", [b"", b"{}", b"[1]", b'{"items":[]}', b'{"items":[{"op":"upsert"}]}', b"\xff"]
)
def test_a_stored_body_that_is_no_batch_is_told_and_not_sent(stored: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        Batch.of(stored)
    assert caught.value.error_code == "intent_unreadable"


def test_a_batch_and_a_portion_do_not_change() -> None:
    with pytest.raises(AttributeError):
        wire.encode_batch(WRITES).body = b""  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Writes([], []).steps = []  # type: ignore[misc]


def test_steps_are_done_in_portions_and_those_into_plant_3d_at_the_end() -> None:
    push = Push(**whose(9))
    assert cut(update(1), push, Settle(**whose(2)), update(3), update(4)) == [
        ("Writes", [1, 3]),
        ("Writes", [4]),
        ("Memories", [2]),
        ("Pushes", [9]),
    ]


def test_a_chain_of_renames_is_not_cut() -> None:
    chain = [update(n, old=f"T-{n}", new=f"T-{n + 1}") for n in range(5)]
    assert cut(*chain) == [("Writes", [0, 1, 2, 3, 4])]


def creation(number: int, **after: object) -> Create:
    seen = AfterCreation(digest="00", ticks=1, **after)
    return Create(**whose(number), after=seen, text=values_text({"tag": f"HV-{number}"}))


def test_a_creation_with_something_open_takes_the_short_way_from_no_other() -> None:
    opened = {"pending": {"description": Open(why="unread")}}
    steps = [creation(1), creation(2, **opened), creation(3), creation(4, **opened), creation(5)]
    assert cut(*steps) == [("Writes", [2, 4]), ("Writes", [1, 3]), ("Writes", [5])]
    assert cut(*steps, size=3) == [("Writes", [1, 3, 5]), ("Writes", [2, 4])]


def test_what_needs_a_person_is_written_only_when_one_applies_the_plan() -> None:
    archive = Archive(**whose(1), needs="person")
    assert archive.op is Op.ARCHIVE
    assert cut(archive) == [("Memories", [1])]
    assert cut(archive, approved=True) == [("Writes", [1])]


def test_many_quiet_steps_are_remembered_as_they_come() -> None:
    quiet = [Settle(**whose(n)) for n in range(QUIET_AT_ONCE + 1)]
    kinds = [(kind, len(who)) for kind, who in cut(update(-1), *quiet)]
    assert kinds == [("Memories", QUIET_AT_ONCE), ("Writes", 1), ("Memories", 1)]


def test_an_intent_can_point_at_the_steps_of_a_portion() -> None:
    steps = [update(1), Settle(**whose(2)), update(3), update(4)]
    (writes, rest) = portions([lambda: steps[:2], lambda: steps[2:]], 9, approved=False)
    assert isinstance(writes, Writes) and isinstance(rest, Memories)
    assert [list(run) for run in writes.refs] == [[0, 0, 1], [1, 0, 2]]
    assert not isinstance(rest, Pushes)
