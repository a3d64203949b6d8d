"""What became of a batch whose answer was lost: when SYNAPSE is asked, how, and what is made of what it says.

The stories that rest on it are in `regressions.py`; that both SYNAPSEs answer so, in `test_synapse_ports.py`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from plant3d_sync.connectors.base import Batch
from plant3d_sync.connectors.memory import Delivery
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.state import State, intents
from plant3d_sync.state.lease import Fence
from tests.worlds import moves, oracle
from tests.worlds.play import Stage, act, stage
from tests.worlds.world import CLOCK, POINTS, World

TAG = "P-1"


@pytest.fixture(scope="module")
def on() -> Iterator[Stage]:
    with stage(TAG) as made:
        yield made


@pytest.fixture
def world(on: Stage) -> Iterator[World]:
    made = on.begin()
    yield made
    made.memory.on_send = None
    made.close()


def play(world: World, *names: str) -> None:
    for name in names:
        act(world, name, TAG)


def is_question(body: bytes) -> bool:
    return b"asked-" in body


def questions(world: World) -> list[Delivery]:
    return [one for one in world.memory.deliveries if is_question(one.body)]


def newest_intent(world: World) -> tuple[str, bytes]:
    (row,) = world.rows("SELECT status, body FROM intent WHERE side = 'synapse' ORDER BY id DESC LIMIT 1")
    return row["status"], row["body"]


OVERWRITTEN = ("the designer types a maker", "now, killed at pull.reply_received", "the user types a maker")
NEVER_SENT = ("the designer types a maker", "now, killed at pull.intent_stored", "the user types a maker")


@pytest.mark.parametrize("point", ["pull.intent_stored", "pull.reply_received"])
@pytest.mark.parametrize("who", ["nobody", "the user types"])
def test_where_what_is_seen_tells_nobody_is_asked(world: World, point: str, who: str) -> None:
    play(world, "the designer types a maker", f"now, killed at {point}")
    if who != "nobody" and point == "pull.reply_received":
        play(world, who)  # another field: what was sent still stands there
    play(world, "now")
    assert world.code == 0 and questions(world) == []


def test_a_batch_that_came_is_asked_about_once_and_its_history_is_whole(world: World) -> None:
    play(world, *OVERWRITTEN)
    before = len(world.memory.deliveries)
    play(world, "now")
    question, kept, again = world.memory.deliveries[before - 1 :][:1] + world.memory.deliveries[before:][:2]
    assert not is_question(question.body) and kept.replayed and kept.body == question.body
    assert questions(world) == [], "refused: nothing of it was taken"
    assert not again.replayed and again.key != kept.key
    written = world.rows("SELECT fields, outcome FROM change WHERE side = 'synapse' ORDER BY id DESC LIMIT 2")
    assert [row["outcome"] for row in written] == ["updated", "found_applied"]
    assert world.last["found_applied"] == {"synapse": 1, "plant3d": 0}
    assert newest_intent(world) == ("done", b"")


def test_a_batch_that_never_came_uses_up_its_key(world: World) -> None:
    play(world, *NEVER_SENT, "now")
    (question,) = questions(world)
    assert question.effective == 0 and question.statuses == {"error": 1}
    (row,) = world.rows("SELECT status, body, lines FROM intent WHERE idempotency_key = ?", question.key)
    assert tuple(row.values()) == ("never_received", b"", b"[]")
    state = State(f"sqlite:///{world.state}")
    with state.read() as connection:
        assert intents.is_used_up(connection, "mine", question.key)
        assert not intents.is_used_up(connection, "mine", world.memory.deliveries[-1].key)
        assert not intents.is_used_up(connection, "second", question.key)


def test_where_a_key_is_used_up_the_batch_goes_under_the_next_one_and_can_be_asked_about(
    world: World,
) -> None:
    """The same run, claimed again after it was killed, may mean to send the very same bytes."""
    act(world, "the designer types a maker", TAG)
    twin = world.copy(world.folder / "twin")
    twin.cli("now", "mine")
    body = twin.memory.deliveries[-1].body
    keys: list[str] = []

    def the_key_is_used_up() -> None:
        (run,) = world.rows("SELECT id FROM run ORDER BY seq DESC LIMIT 1")
        keys.append(hashed(world, run["id"], body))
        use_up(world, keys[0])
        POINTS.at, POINTS.happens, POINTS.met = "pull.reply_received", POINTS.dies, False

    POINTS.at, POINTS.happens = "pull.before_intent", the_key_is_used_up
    world.cli("now", "mine")
    keys.append(hashlib.sha256(keys[0].encode()).hexdigest())
    assert (world.memory.deliveries[-1].key, world.memory.deliveries[-1].body) == (keys[1], body)
    play(world, "the user types a maker", "now")
    assert world.code == 0 and world.last["found_applied"] == {"synapse": 1, "plant3d": 0}


def hashed(world: World, run_id: str, body: bytes) -> str:
    return hashlib.sha256(b"|".join((world.memory.project_id.encode(), run_id.encode(), body))).hexdigest()


def use_up(world: World, key: str) -> None:
    (held,) = world.rows("SELECT fence FROM lease")
    fence = Fence("mine", held["fence"])
    with State(f"sqlite:///{world.state}").write() as connection:
        number = intents.record(
            connection,
            fence,
            intents.Meant(run_id="r", plan_id="p", side="synapse", key=key, steps=[], at=CLOCK.now),
        )
        intents.close(connection, number, status=intents.NEVER_RECEIVED, at=CLOCK.now)


@pytest.mark.parametrize("story", [OVERWRITTEN, NEVER_SENT], ids=["came", "never came"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RetryLaterError("SYNAPSE is away.", code="synapse_unavailable"), 75),
        (RetryLaterError("It is still worked on.", code="synapse_unknown_outcome"), 75),
        (ConfigError("SYNAPSE refuses our key.", code="synapse_unauthorized", details={"status": 401}), 78),
    ],
    ids=["away", "in progress", "refused"],
)
def test_as_long_as_nobody_answers_nothing_is_decided(
    world: World, story: tuple[str, ...], error: Exception, code: int
) -> None:
    play(world, *story)
    held = world.held(TAG, "manufacturer")

    def fails(body: bytes, _key: str) -> None:
        if is_question(body):
            raise error

    world.memory.on_send = fails
    play(world, "now")
    assert world.code == code and world.held(TAG, "manufacturer") == held
    status, question = newest_intent(world)
    assert status == "open" and is_question(question)
    world.memory.on_send = None
    play(world, "now")
    assert world.code == 0 and newest_intent(world)[0] == "done"


def test_a_synapse_that_does_not_take_the_question_is_read_as_before(world: World) -> None:
    play(world, *OVERWRITTEN)

    def refuses(body: bytes, _key: str) -> None:
        if is_question(body):
            raise ConfigError(
                "Not that.", code="synapse_refused", details={"status": 422, "type": "validation"}
            )

    world.memory.on_send = refuses
    play(world, "now")
    assert world.code == 0 and world.held(TAG, "manufacturer") == world.cell(TAG, "manufacturer")
    (row,) = world.rows("SELECT idempotency_key AS key FROM intent WHERE status = 'not_applied'")
    state = State(f"sqlite:///{world.state}")
    with state.read() as connection:
        assert intents.is_used_up(connection, "mine", row["key"]), "a question was put under it"


@pytest.mark.parametrize("kept", ["a day later", "the clock went back", "keeps none"])
def test_where_the_answer_may_be_forgotten_nobody_is_asked(world: World, kept: str) -> None:
    play(world, *OVERWRITTEN)
    if kept == "keeps none":
        world.memory.idempotency_hours = 0
    CLOCK.now += {"a day later": 23.5 * 3600, "the clock went back": -7200.0}.get(kept, 0.0)
    sent: list[bytes] = []
    world.memory.on_send = lambda body, _key: sent.append(body)
    play(world, "now")
    assert not any(is_question(body) for body in sent)


def test_what_somebody_did_since_is_seen_after_the_kept_answer(world: World) -> None:
    """The run that read it in SYNAPSE's feed died before it came to ask: no feed shows it again."""
    play(world, *OVERWRITTEN, "the user types", "now, killed at feed.page_stored!", "push")
    assert world.last["found_applied"]["synapse"] == 1
    (text,) = [typed.text for typed in world.told.words.values()]
    assert world.cell(TAG) == world.held(TAG) == text
    play(world, "now")
    assert world.held(TAG, "manufacturer") == world.cell(TAG, "manufacturer")


@pytest.mark.parametrize(
    ("sent", "by_us"),
    [("pull.reply_received", True), ("pull.intent_stored", False)],
    ids=["we did", "a user did"],
)
def test_an_asset_that_stands_archived_comes_back_with_its_item_only_if_we_archived_it(
    world: World, sent: str, by_us: bool
) -> None:
    play(world, "the designer deletes the item", f"now, killed at {sent}")
    play(world, *(() if by_us else ("the user archives the asset",)), "now")
    assert len(world.rows("SELECT id FROM change WHERE op = 'archive'")) == by_us
    play(world, "the designer brings the item back", "now")
    row = world.asset(TAG)
    assert row is not None and (row["deleted_at"] is None) == by_us


def test_an_archive_that_was_never_sent_does_not_count_as_made_where_nobody_can_be_asked(
    world: World,
) -> None:
    play(
        world,
        "the designer deletes the item",
        "now, killed at pull.intent_stored",
        "the user types",
        "a day passes",
    )
    play(world, "now")
    assert "found_applied" not in world.last and questions(world) == []


# ---------------------------------------------------------------- the answer is kept no more


TYPED_BACK = (
    "the designer types",
    "now, killed at pull.reply_received",
    "the user takes it back",
    "a day passes",
)


def asked(world: World) -> list[tuple[str, str]]:
    found = world.rows("SELECT field, kind FROM conflict WHERE status = 'pending' ORDER BY field")
    return [(row["field"], row["kind"]) for row in found]


@pytest.mark.parametrize(
    "choice", ["choose Plant 3D", "choose SYNAPSE", "the user types", "the designer types"]
)
def test_the_old_value_typed_back_over_a_write_nobody_answered_for_is_asked_about(
    world: World, choice: str
) -> None:
    play(world, *TYPED_BACK)
    for _ in range(2):
        play(world, "now")
        assert (world.cell(TAG), world.held(TAG)) == ("designer 1", "P-1, as drawn")
        assert asked(world) == [("description", "answer_lost")]
    play(world, choice, "now")
    if (
        choice == "the designer types"
    ):  # SYNAPSE's value did not move: the question is the same, with his new words
        assert asked(world) == [("description", "answer_lost")]
        assert world.held(TAG) == "P-1, as drawn"
        return
    assert asked(world) == []
    expected = {"choose Plant 3D": "designer 1", "choose SYNAPSE": "P-1, as drawn"}.get(choice, "user 2")
    assert world.cell(TAG) == world.held(TAG) == expected
    oracle.judge(world)


def types_back_in_the_model(world: World) -> None:
    row = world.asset(TAG)
    assert row is not None
    world.memory.user_edit(str(row["id"]), by="user:marie", attributes={"model": f"model of {TAG}"})


@pytest.mark.parametrize("sent", [True, False])
def test_an_attribute_typed_back_is_asked_about_too(world: World, sent: bool) -> None:
    point = "pull.reply_received" if sent else "pull.intent_stored"
    play(world, "the designer types a model", f"now, killed at {point}")
    if not sent:
        play(world, "the user types a model")
    types_back_in_the_model(world)
    play(world, "a day passes", "now")
    assert asked(world) == [("attributes.model", "answer_lost")]
    assert (world.cell(TAG, "model"), world.held(TAG, "model")) == ("designer 1", f"model of {TAG}")


def test_one_edit_of_a_field_we_do_not_know_is_not_our_write_and_its_end(world: World) -> None:
    play(world, "the designer types a model", "now, killed at pull.intent_stored")
    row = world.asset(TAG)
    assert row is not None
    world.memory.user_edit(str(row["id"]), by="user:marie", status="Demolished")
    play(world, "a day passes", "now")
    assert asked(world) == [] and world.held(TAG, "model") == "designer 1"


@pytest.mark.parametrize(
    "story",
    [
        ("now, killed at pull.reply_received", "the user types a maker"),
        ("now, killed at pull.intent_stored", "the user types a maker"),
        ("now, killed at pull.intent_stored", "the user types a maker", "the user types a maker"),
        ("now, killed at pull.intent_stored",),
    ],
    ids=["it stands", "one edit of another field", "two edits of another field", "nobody"],
)
def test_what_is_surely_not_typed_back_is_not_asked_about(world: World, story: tuple[str, ...]) -> None:
    play(world, "the designer types", *story, "a day passes", "now")
    assert asked(world) == [] and world.held(TAG) == "designer 1"


def test_other_words_of_a_user_over_a_write_nobody_answered_for_are_an_edit_as_ever(world: World) -> None:
    play(
        world,
        "the designer types",
        "now, killed at pull.reply_received",
        "the user types",
        "a day passes",
        "now",
    )
    assert world.held(TAG) == "user 2" and world.cell(TAG) == "designer 1"
    assert asked(world) == [("description", "changed_at_about_the_same_time")], (
        "newer words are an edit as ever"
    )


@pytest.mark.parametrize("lives", [True, False])
def test_an_archive_or_a_restore_that_was_taken_back_is_not_made_again(world: World, lives: bool) -> None:
    if lives:
        play(
            world,
            "the designer deletes the item",
            "now, killed at pull.reply_received",
            "the user restores the asset",
        )
    else:
        play(world, "the designer deletes the item", "now", "the designer brings the item back")
        play(world, "now, killed at pull.reply_received", "the user archives the asset")
    play(world, "a day passes")
    for _ in range(3):
        play(world, "now")
        row = world.asset(TAG)
        assert row is not None and (row["deleted_at"] is None) == lives
    oracle.judge(world)


@pytest.mark.parametrize("user", ["the user types a maker", "the user types"])
def test_an_archive_that_was_surely_never_made_is_decided_as_ever(world: World, user: str) -> None:
    play(
        world,
        "the designer deletes the item",
        "now, killed at pull.intent_stored",
        user,
        user,
        "a day passes",
        "now",
    )
    kinds = [kind for _field, kind in asked(world)]
    assert kinds == ["gone_from_plant3d"], "what a user typed meanwhile is not archived without a question"


def test_a_batch_that_cannot_be_made_again_is_not_sent_again(world: World) -> None:
    """Another version of the program would make other bytes: the key tells."""
    play(world, *OVERWRITTEN)
    sent: list[bytes] = []
    world.memory.on_send = lambda body, _key: sent.append(body)
    (first,) = [one for one in world.memory.deliveries if one.effective][-1:]
    encode = world.memory.encode
    otherwise = (b'"reply":"full"', b'"reply": "full"')
    world.memory.encode = lambda writes: Batch.of(encode(writes).body.replace(*otherwise))  # type: ignore[method-assign]
    play(world, "now")
    assert first.body not in sent and not any(is_question(body) for body in sent)
    assert newest_intent(world)[0] == "done"


def test_a_run_that_slept_while_another_one_asked_about_its_batch_writes_nothing(world: World) -> None:
    """It wakes up and sends: SYNAPSE refuses the batch, because the question came under its key."""

    def another_run(there: World, tag: str) -> bool:
        with closing(sqlite3.connect(there.state)) as connection, connection:
            connection.execute("UPDATE lease SET expires_at = 0")
        moves.user_types_a_maker(there, tag)
        POINTS.at = ""
        there.cli("now", "mine")
        assert there.code == 0 and newest_intent(there)[0] == "done"
        return True

    act(world, "the designer types a maker", TAG)
    POINTS.at, POINTS.happens = "pull.intent_stored", lambda: another_run(world, TAG)
    said = world.cli("now", "mine")
    assert world.code == 75 and "took over" in json.dumps(said)
    assert world.held(TAG, "manufacturer") == world.cell(TAG, "manufacturer")
    assert len(questions(world)) == 1


def test_the_key_of_a_batch_is_the_hash_of_project_run_and_body(world: World) -> None:
    """So that a batch made again is proved to be the one that was sent."""
    play(world, "the designer types a maker", "now")
    newest = world.memory.deliveries[-1]
    assert newest.key == hashed(world, world.last["run_id"], newest.body)
