"""What goes wrong around a pull, one test a case: exit code, stable code, what was written, and that the next run heals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from plant3d_sync.cli.main import run
from plant3d_sync.model.plan import STAT_NAMES
from plant3d_sync.sample import edits
from plant3d_sync.state import store
from plant3d_sync.state.whose import holder_name
from tests.support import invariants
from tests.support.faulty_http import (
    Answer,
    Fault,
    FaultProxy,
    ScriptedServer,
    Seen,
    closed_port,
    json_answer,
    problem,
)
from tests.support.world import NAME, MakeWorld, Row, Said, World, recorded

ITEMS = 30
SHORT = {"P3DSYNC_SOURCE_DEADLINE_SECONDS": "0.3"}


@pytest.fixture
def small(make_world: MakeWorld) -> World:
    """Thirty items, nothing pulled yet."""
    return make_world(items=ITEMS)


def refused(world: World, said: Said, code: int, error: str, *, writes: int = 0) -> None:
    """The run ended so, said why and what to do, and wrote exactly that much."""
    assert (said.code, said.error) == (code, error), (said.code, said.out, said.err)
    document = said.json["error"]
    assert document["message"] and "Traceback" not in said.out + said.err
    assert f"error[{error}]" in said.err
    assert document["hint"], "an error says what to do"
    assert world.writes() == writes


RUN_KEYS = frozenset(
    [
        "run_id",
        "plan_id",
        "project",
        "direction",
        "status",
        "outcome",
        "dry_run",
        "started_at",
        "completed_at",
        "stats",
        "by_entity",
        "writes",
        "lock_ms",
        "guards",
        "waiting_for_person",
        "errors",
        "findings_by_code",
        "planned_writes",
        "unchanged_source",
    ]
)
"""Keys that the JSON of every run has, however it ended."""


def told_of(world: World, document: Row) -> None:
    """The document is whole, and `show` tells the same of the run."""
    shown = world.cli("show", document["run_id"]).json
    for told in (document, shown):
        assert told.keys() >= RUN_KEYS and set(STAT_NAMES) == set(told["stats"])
        assert told["started_at"] and told["completed_at"]
    names = RUN_KEYS - {"lock_ms"} | {"error"} & document.keys()
    assert {name: shown[name] for name in names} == {name: document[name] for name in names}


def healed(world: World) -> None:
    """The next run, with the fault gone, does everything that is left, and nothing twice."""
    world.pulled()
    assert len(world.live()) == len(world.assets()) == len(invariants.tagged_rows(world))
    invariants.all_hold(world)


def unchanged_memory(world: World, before: object) -> None:
    assert world.dump_links() == before


# ---------------------------------------------------------------- Plant 3D


def put_aside(world: World) -> Callable[[], None]:
    """Keep the database; the answer puts it back."""
    kept = world.folder.parent / "kept.dcf"
    shutil.copyfile(world.dcf, kept)

    def back() -> None:
        world.dcf.unlink(missing_ok=True)
        shutil.copyfile(kept, world.dcf)

    return back


def other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")


def is_gone(path: Path) -> None:
    path.unlink()


def is_empty(path: Path) -> None:
    path.write_bytes(b"")


def is_link_file(path: Path) -> None:
    path.write_text("Data Source=CAD-SQL;Initial Catalog=Mine_PnId", encoding="utf-8")


def is_cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "pulled_before",
    [pytest.param(False, id="first pull", marks=pytest.mark.long), pytest.param(True, id="later pull")],
)
@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (is_gone, "source_not_found"),
        (is_empty, "source_empty"),
        (other_database, "source_not_plant3d"),
        (is_link_file, "source_link_file"),
        (is_cut_off, "source_damaged"),
    ],
)
def test_a_file_that_is_no_plant_3d_database_ends_with_78(
    small: World, spoil: Callable[[Path], None], error: str, pulled_before: bool
) -> None:
    if pulled_before:
        small.pulled()
    before = small.dump_links() if pulled_before else []
    back = put_aside(small)
    spoil(small.dcf)
    refused(small, small.pull(), 78, error, writes=ITEMS if pulled_before else 0)
    unchanged_memory(small, before)
    back()
    healed(small)


def test_a_folder_without_the_database_ends_with_78_and_says_what_is_there(small: World) -> None:
    folder = small.folder / "Projet"
    folder.mkdir()
    (folder / "Misc.dcf").write_bytes(b"x")
    small.configure(source="Projet")
    said = small.pull()
    refused(small, said, 78, "source_not_found")
    assert "Misc.dcf" in said.json["error"]["message"]


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""

CRASH = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE EngineeringItems SET Description = 'not committed ' || hex(randomblob(400))")
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def held(path: Path, statement: str = "BEGIN EXCLUSIVE") -> Iterator[None]:
    """Another process holds the file until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), statement],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        process.communicate("\n", timeout=30)


def test_a_file_locked_by_another_process_is_tried_again_later(small: World) -> None:
    before = small.fingerprint()
    with held(small.dcf):
        said = small.pull(env=SHORT)
    refused(small, said, 75, "source_locked")
    assert small.fingerprint() == before
    (row,) = small.rows("SELECT status, outcome, error FROM run")
    assert (row["status"], row["outcome"]) == ("failed", "failed") and "source_locked" in row["error"]
    told_of(small, said.json)
    healed(small)


@pytest.mark.skipif(os.name != "posix", reason="needs a writer killed in mid-write")
def test_a_file_with_a_hot_journal_is_neither_read_nor_touched(small: World) -> None:
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(small.dcf)], check=False)
    journal = small.dcf.with_name(small.dcf.name + "-journal")
    assert crashed.returncode == -signal.SIGKILL and journal.stat().st_size > 0
    before = small.fingerprint(), journal.read_bytes()
    refused(small, small.pull(env=SHORT), 75, "source_hot_journal")
    assert (small.fingerprint(), journal.read_bytes()) == before
    small.change("UPDATE PnPDatabase SET DBID = DBID")  # Plant 3D opens it: rolled back by the first writer
    assert not journal.exists()
    healed(small)
    assert not any("not committed" in (asset["description"] or "") for asset in small.assets())


@pytest.mark.parametrize("kind", ["CollaborationCache", "_V"])
def test_a_collaboration_or_vault_copy_is_refused_unless_allowed(small: World, kind: str) -> None:
    if kind == "_V":
        (small.folder / "_V").mkdir()
        source = small.dcf.name
    else:
        folder = small.folder / kind / "Projet"
        folder.mkdir(parents=True)
        shutil.copyfile(small.dcf, folder / "ProcessPower.dcf")
        source = f"{kind}/Projet/ProcessPower.dcf"
    small.configure(source=source)
    refused(small, small.pull(), 78, "source_is_copy")
    small.configure(source=source, allow_copy=True)
    assert small.pulled()["stats"]["created"] == ITEMS


# ---------------------------------------------------------------- mapping and configuration


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "version: 1\nextends: stock\nclasses:\n  HandValves:\n    fields:\n      descriptoin: {column: Description}\n",
            "description",
        ),
        (
            "version: 1\nextends: stock\nclasses:\n  HandValves:\n    fields:\n      tag: {column: Tag, owner: plant4d}\n",
            "plant3d",
        ),
        ("version: 1\nextends: stock\nclasses: [\n", "mine.yml"),
    ],
)
def test_a_wrong_mapping_names_file_line_and_the_nearest_name(small: World, text: str, said: str) -> None:
    (small.folder / "mine.yml").write_text(text, encoding="utf-8")
    small.configure(mapping=["stock", "./mine.yml"])
    answer = small.pull()
    refused(small, answer, 78, "mapping_invalid")
    problem = next(line for line in answer.err.splitlines() if "mine.yml:" in line)
    assert said in answer.err and problem.startswith("  "), "each problem has a line of its own"
    small.configure(mapping=None)
    healed(small)


def test_a_missing_mapping_file_ends_with_78(small: World) -> None:
    small.configure(mapping=["stock", "./gone.yml"])
    answer = small.pull()
    assert answer.code == 78 and "gone.yml" in answer.json["error"]["message"]
    assert small.writes() == 0


def test_an_unknown_project_names_the_known_ones(small: World) -> None:
    answer = small.cli("pull", "yours")
    refused(small, answer, 2, "project_unknown")
    assert NAME in answer.json["error"]["hint"]


def test_a_project_is_found_by_its_synapse_id_too(small: World) -> None:
    assert small.cli("pull", small.uuid.upper()).code == 0


def test_an_unknown_entity_type_names_the_known_ones(small: World) -> None:
    answer = small.pull("--entity-types", "equipment,vavles")
    refused(small, answer, 2, "entity_type_unknown")
    assert "valves" in answer.json["error"]["hint"]


def test_a_missing_argument_or_unknown_option_is_a_usage_error(small: World) -> None:
    refused_words(small, small.cli("pull"), "project")
    refused_words(small, small.pull("--ful"), "--ful")
    refused_words(small, small.cli("pul", NAME), "pul")
    refused_words(small, small.cli("runs", NAME, "--limit", "many"), "--limit")
    assert small.writes() == 0


def refused_words(world: World, said: Said, word: str) -> None:
    assert (said.code, said.error) == (2, "usage"), (said.code, said.out, said.err)
    assert word in said.json["error"]["message"] and "--help" in said.json["error"]["hint"]
    assert "Usage:" in said.err


def test_json_asked_for_behind_the_command_is_answered_in_json_whatever_is_wrong(small: World) -> None:
    for words, error in (
        (["pull", NAME, "--entity-types", "x"], "entity_type_unknown"),
        (["pull", NAME, "--ful"], "usage"),
    ):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert run(["--config", str(small.config), *words, "--json"]) == 2
        assert json.loads(out.getvalue())["error"]["code"] == error


def test_an_unknown_plan_or_run_ends_with_2(small: World) -> None:
    refused(small, small.apply("nothing"), 2, "not_found")
    refused(small, small.cli("show", "nothing"), 2, "not_found")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [({"guardz": {}}, "guards"), ({"missing": {"read": 3}}, "reads"), ({"sorce": "x"}, "source")],
)
def test_a_wrong_name_in_the_configuration_shows_the_nearest_one(
    small: World, wrong: dict[str, object], near: str
) -> None:
    small.configure(**wrong)
    answer = small.pull()
    refused(small, answer, 78, "config_invalid")
    assert f"did you mean {near}?" in answer.json["error"]["message"]


def test_a_configuration_that_is_no_yaml_names_the_line(small: World) -> None:
    small.config.write_text("projects:\n  mine: [\n", encoding="utf-8")
    answer = small.pull()
    assert (answer.code, answer.error) == (78, "config_invalid")
    assert "plant3d-sync.yml:" in answer.json["error"]["message"]


def test_a_missing_configuration_file_ends_with_78(small: World) -> None:
    small.config.unlink()
    assert (small.pull().code, small.pull().error) == (78, "config_missing")


def test_a_missing_key_ends_with_78(small: World) -> None:
    refused(small, small.pull(env={"SYNAPSE_API_KEY": ""}), 78, "synapse_key_missing")


def test_an_unknown_setting_of_ours_shows_the_nearest_one(small: World) -> None:
    answer = small.pull(env={"P3DSYNC_LEASE_SECOND": "3"})
    refused(small, answer, 78, "settings_invalid")
    assert "P3DSYNC_LEASE_SECONDS" in answer.json["error"]["message"]


def test_every_wrong_setting_is_named_at_once(small: World) -> None:
    answer = small.pull(env={"SYNC_BATCH_SIZE": "many", "SYNC_RETRY_ATTEMPTS": "0"})
    refused(small, answer, 78, "settings_invalid")
    assert "SYNC_BATCH_SIZE" in answer.err and "SYNC_RETRY_ATTEMPTS" in answer.err


# ---------------------------------------------------------------- SYNAPSE refuses or is away


def test_synapse_down_ends_with_75(small: World) -> None:
    url = small.url
    small.through(f"http://127.0.0.1:{closed_port()}")
    said = small.pull()
    refused(small, said, 75, "synapse_unavailable")
    assert "(no connection): attempt 2 of 2 in 0 s" in said.err, "nobody waits without being told why"
    assert said.json["plan_id"] is None and said.json["writes"] == {"synapse": 0, "plant3d": 0}
    told_of(small, said.json)
    small.through(url)
    healed(small)


def test_a_wrong_key_ends_with_78_and_is_tried_once(small: World) -> None:
    with recorded(small):
        asked: list[str] = []
        url = small.url
        with ScriptedServer(
            lambda seen: (asked.append(seen.target), problem(401, "unauthorized"))[1]
        ) as server:
            small.through(server.url)
            refused(small, small.pull(), 78, "synapse_unauthorized")
        small.through(url)
    assert len(asked) == 1, "no hammering"
    refused(small, small.pull(env={"SYNAPSE_API_KEY": "another-key-entirely"}), 78, "synapse_unauthorized")
    assert all("another-key-entirely" not in said.out + said.err for said in small.heard)
    healed(small)


def test_a_key_of_another_project_ends_with_78(small: World) -> None:
    with small.synapse.client(small.uuid) as client:
        made = client.post(
            "/dev/keys",
            json={"name": "other", "scopes": ["assets:read", "assets:sync"], "projects": [str(uuid.uuid4())]},
        )
        made.raise_for_status()
    refused(small, small.pull(env={"SYNAPSE_API_KEY": made.json()["key"]}), 78, "synapse_forbidden")
    healed(small)


def test_a_key_that_may_only_read_ends_with_78_before_anything_is_written(small: World) -> None:
    with small.synapse.client(small.uuid) as client:
        made = client.post("/dev/keys", json={"name": "reader", "scopes": ["assets:read"]})
        made.raise_for_status()
    refused(small, small.pull(env={"SYNAPSE_API_KEY": made.json()["key"]}), 78, "synapse_forbidden")
    healed(small)


def test_a_project_that_synapse_does_not_know_ends_with_78(small: World) -> None:
    small.configure(synapse_project_id=str(uuid.uuid4()))
    refused(small, small.pull(), 78, "synapse_project_unknown")


def only_batches(answer: Answer) -> Callable[[Seen, Answer], Answer]:
    """Everything passes but the answer to a batch."""
    return lambda seen, real: answer if seen.method == "POST" else real


@contextmanager
def not_delivered(world: World, answer: Answer, *, batches_only: bool = True) -> Iterator[list[Seen]]:
    """A server that answers so without applying anything."""
    refused_requests: list[Seen] = []
    with recorded(world) as recorder:

        def front(seen: Seen) -> Answer:
            if batches_only and seen.method != "POST":
                return recorder(seen)
            refused_requests.append(seen)
            return answer

        url = world.url
        with ScriptedServer(front) as server:
            world.through(server.url)
            yield refused_requests
            world.through(url)


@pytest.mark.parametrize(
    "status", [500, *(pytest.param(code, marks=pytest.mark.long) for code in (502, 503))]
)
@pytest.mark.parametrize("batches_only", [True, False], ids=["batch", "everything"])
def test_a_server_error_ends_with_75_after_the_retries(small: World, status: int, batches_only: bool) -> None:
    with not_delivered(small, problem(status, "internal"), batches_only=batches_only) as asked:
        refused(small, small.pull(), 75, "synapse_unknown_outcome" if batches_only else "synapse_unavailable")
    assert len(asked) == 2, "two attempts are configured"
    assert len({(seen.body, seen.headers.get("idempotency-key")) for seen in asked}) == 1, "one body, one key"
    healed(small)


def test_a_server_error_in_the_middle_keeps_what_was_written(make_world: MakeWorld) -> None:
    world = make_world(items=ITEMS)
    world.env["SYNC_BATCH_SIZE"] = "10"
    passed: list[Seen] = []
    with recorded(world) as recorder:

        def edit(seen: Seen) -> Answer:
            if seen.method == "POST":
                passed.append(seen)
                if len(passed) > 1:
                    return problem(500, "internal")
            return recorder(seen)

        url = world.url
        with ScriptedServer(edit) as server:
            world.through(server.url)
            said = world.pull()
            refused(world, said, 75, "synapse_unknown_outcome", writes=10)
            world.through(url)
    document = said.json
    assert (document["status"], document["outcome"]) == ("failed", "failed")
    assert document["plan_id"] and document["writes"] == {"synapse": 10, "plant3d": 0}
    assert (document["stats"]["total"], document["stats"]["created"]) == (ITEMS, 10)
    assert sum(stats["created"] for stats in document["by_entity"].values()) == 10
    assert document["planned_writes"] == {"synapse": ITEMS, "plant3d": 0}
    told_of(world, document)
    assert len(world.rows("SELECT id FROM link")) == 10
    healed(world)


def test_a_500_after_the_commit_is_unknown_and_found_applied_by_the_next_run(small: World) -> None:
    with recorded(small) as recorder:
        recorder.edit = only_batches(problem(500, "internal"))
        said = small.pull()
    refused(small, said, 75, "synapse_unknown_outcome", writes=ITEMS)
    assert "not known" in said.json["error"]["message"]
    assert small.rows("SELECT id FROM link") == []
    report = small.pulled()
    assert (report["stats"]["created"], report["writes"]["synapse"]) == (0, 0)
    assert report["found_applied"] == {"synapse": ITEMS, "plant3d": 0}
    assert small.cli("show", report["run_id"]).json["found_applied"] == report["found_applied"]
    assert {row["outcome"] for row in small.rows("SELECT outcome FROM change")} == {"found_applied"}
    healed(small)


def test_a_500_after_the_commit_of_an_update_is_found_applied_too(small: World) -> None:
    small.pulled()
    valve = small.items("valves")[0]
    edits.rename_tag(small.dcf, valve.pnpid, "HV-8000")
    with recorded(small) as recorder:
        recorder.edit = only_batches(problem(500, "internal"))
        assert small.pull().code == 75
    written = small.writes()
    small.pulled()
    assert small.writes() == written
    assert [row["new_tag"] for row in small.rows("SELECT new_tag FROM tag_history")] == ["HV-8000"]
    healed(small)


def test_an_update_whose_answer_was_lost_and_that_a_user_overwrote_is_asked_about_over_the_wire(
    small: World,
) -> None:
    """One question under the key of the batch, then the batch for its kept answer: neither changes anything."""
    small.pulled()
    valve = small.items("valves")[0]
    edits.rename_tag(small.dcf, valve.pnpid, "HV-8000")
    with recorded(small) as recorder:
        recorder.edit = only_batches(problem(500, "internal"))
        assert small.pull().code == 75
        sent = recorder.batches[-1]
        (asset,) = [one for one in small.live().values() if one["tag"] == "HV-8000"]
        small.user_edits(asset["id"], tag="HV-9000")
        recorder.edit = None
        before = len(recorder.batches)
        report = small.pulled()
        question, kept, again = recorder.batches[before:]
    assert [item["op"] for item in question["items"]] == ["archive"] and kept == sent
    assert again["items"][0]["set"]["tag"] == "HV-8000"
    assert report["found_applied"] == {"synapse": 1, "plant3d": 0}
    moved = small.rows(
        "SELECT outcome FROM change WHERE pnpid = ? AND op = 'update' ORDER BY id", valve.pnpid
    )
    assert [row["outcome"] for row in moved] == ["found_applied", "updated"]
    healed(small)


@pytest.mark.parametrize("fault", ["lose_reply", "cut_reply", "reset_reply", "twice"])
def test_a_disturbed_answer_is_asked_again_with_the_same_key(small: World, fault: Fault) -> None:
    port = urlsplit(small.url).port
    assert port is not None
    url = small.url
    with FaultProxy(port, ["none", "none", fault]) as proxy:
        small.through(proxy.url)
        report = small.pulled()
    small.through(url)
    assert report["stats"]["created"] == ITEMS and small.writes() == ITEMS
    healed(small)


@pytest.mark.parametrize("fault", ["lose_reply", "cut_reply"])
def test_an_answer_that_never_comes_whole_ends_with_75_and_is_accounted_for(
    small: World, fault: Fault
) -> None:
    port = urlsplit(small.url).port
    assert port is not None
    url = small.url
    with FaultProxy(port, ["none", "none", fault, fault]) as proxy:
        small.through(proxy.url)
        said = small.pull()
    small.through(url)
    refused(small, said, 75, "synapse_unknown_outcome", writes=ITEMS)
    assert small.pulled()["writes"]["synapse"] == 0
    healed(small)


def test_a_slow_server_ends_with_75_within_the_deadline(small: World) -> None:
    with not_delivered(small, Answer(body=b"{}" * 200, drip=0.05)):
        begun = time.monotonic()
        said = small.pull(env={"P3DSYNC_HTTP_TIMEOUT_SECONDS": "0.4"})
        assert time.monotonic() - begun < 60, "the deadline of a call ends a dripping answer"
    refused(small, said, 75, "synapse_unknown_outcome")
    healed(small)


def test_an_answer_with_fewer_items_than_sent_leaves_the_others_unknown_until_looked_at(small: World) -> None:
    def half(seen: Seen, real: Answer) -> Answer:
        if seen.method != "POST":
            return real
        content = orjson.loads(real.body)
        content["results"] = content["results"][: ITEMS // 2]
        return json_answer(content)

    with recorded(small) as recorder:
        recorder.edit = half
        said = small.pull()
    assert said.code == 3, said.out
    assert {error["code"] for error in said.json["errors"]} == {"unknown_outcome"}
    assert len(said.json["errors"]) == ITEMS - ITEMS // 2 and small.writes() == ITEMS
    invariants.totals_add_up(said.json)
    assert small.pulled()["writes"]["synapse"] == 0
    healed(small)


def test_a_login_page_ends_with_78(small: World) -> None:
    page = Answer(body=b"<html>log in</html>", kind="text/html")
    with not_delivered(small, page, batches_only=False):
        refused(small, small.pull(), 78, "synapse_not_json")
    with not_delivered(small, page):
        said = small.pull()
        refused(small, said, 78, "synapse_not_json")
    healed(small)


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(small: World) -> None:
    with ScriptedServer() as elsewhere:
        answer = Answer(status=307, headers={"Location": elsewhere.url + "/api"})
        with not_delivered(small, answer, batches_only=False):
            refused(small, small.pull(), 78, "synapse_redirect")
        assert elsewhere.seen == []
    healed(small)


def test_429_is_waited_for_when_short_and_put_off_when_long(small: World) -> None:
    with recorded(small) as recorder:
        first: list[Seen] = []

        def front(seen: Seen) -> Answer:
            if seen.method == "POST" and not first:
                first.append(seen)
                return problem(429, "rate_limited", Retry_After="0")
            return recorder(seen)

        url = small.url
        with ScriptedServer(front) as server:
            small.through(server.url)
            assert small.pulled()["stats"]["created"] == ITEMS
        small.through(url)
    edits.set_value(small.dcf, small.items("valves")[0].pnpid, "Description", "neuf")
    with not_delivered(small, problem(429, "rate_limited", Retry_After="36000")) as asked:
        begun = time.monotonic()
        said = small.pull()
        assert time.monotonic() - begun < 60, "ten hours are not waited for"
    assert said.code == 75 and len(asked) == 1, said.out
    assert small.writes() == ITEMS
    healed(small)


def test_one_item_that_synapse_refuses_does_not_stop_the_others(small: World) -> None:
    culprit = small.guid(small.items("valves")[0].pnpid)

    def spoil(seen: Seen) -> bytes:
        if seen.method != "POST":
            return seen.body
        content = orjson.loads(seen.body)
        for item in content["items"]:
            if item["plant3d_id"] == culprit:
                item["set"]["unheard_of"] = 1
        return orjson.dumps(content)

    with recorded(small) as recorder:
        recorder.request = spoil
        said = small.pull()
    assert said.code == 3, said.out
    (error,) = said.json["errors"]
    assert error["plant3d_id"] == culprit and error["hint"]
    assert said.json["stats"]["created"] == small.writes() == ITEMS - 1
    invariants.totals_add_up(said.json)
    assert small.pulled()["stats"]["created"] == 1
    healed(small)


# ---------------------------------------------------------------- our state database


def test_a_locked_state_database_ends_with_75_and_writes_nothing(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.pulled("--dry-run")
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.2)
    with held(small.state, "BEGIN IMMEDIATE"):
        refused(small, small.pull(), 75, "state_unavailable")
    healed(small)


def test_a_state_database_locked_in_mid_run_stops_before_the_next_write(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.env["SYNC_BATCH_SIZE"] = "10"
    small.pulled("--dry-run")
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.2)
    lock: list[sqlite3.Connection] = []

    def lock_after_the_first_batch(seen: Seen, real: Answer) -> Answer:
        if seen.method == "POST" and not lock:
            connection = sqlite3.connect(small.state, isolation_level=None, check_same_thread=False)
            connection.execute("BEGIN IMMEDIATE")
            lock.append(connection)
        return real

    with recorded(small) as recorder:
        recorder.edit = lock_after_the_first_batch
        said = small.pull()
    lock[0].close()
    refused(small, said, 75, "state_unavailable", writes=10)
    assert small.pull().error == "project_busy", "the lease could not be given back either"
    with closing(sqlite3.connect(small.state)) as connection, connection:
        connection.execute("UPDATE lease SET expires_at = 0")  # half a minute later
    healed(small)


def pages(world: World) -> int:
    with closing(sqlite3.connect(world.state)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


@pytest.mark.parametrize(
    "room", [6, *(pytest.param(room, marks=pytest.mark.long) for room in (0, 1, 3, 10, 15, 20))]
)
def test_a_full_state_database_stops_the_run_and_no_write_is_lost(small: World, room: int) -> None:
    small.env["SYNC_BATCH_SIZE"] = "10"
    small.pulled("--dry-run")
    limit = {"P3DSYNC_TEST": "1", "P3DSYNC_TEST_MAX_PAGES": str(pages(small) + room)}
    said = small.pull(env=limit)
    if said.code:
        assert (said.code, said.error) == (75, "state_full"), said.out
    written = small.writes()
    invariants.writes_had_intents(small)
    assert written in (0, 10, 20, 30)
    healed(small)
    assert small.writes() == ITEMS


def test_a_project_in_use_by_a_living_run_is_left_to_it(small: World) -> None:
    small.pulled()
    with closing(sqlite3.connect(small.state)) as connection, connection:
        connection.execute(
            "UPDATE lease SET holder = ?, expires_at = ?", (holder_name("other-run"), time.time() + 3600)
        )
    said = small.pull()
    refused(small, said, 75, "project_busy", writes=ITEMS)
    assert "other-run" in said.json["error"]["message"]
    with closing(sqlite3.connect(small.state)) as connection, connection:
        connection.execute("UPDATE lease SET holder = NULL, expires_at = 0")
    healed(small)


def test_a_state_of_another_version_is_refused_with_the_command_to_run(small: World) -> None:
    small.pulled()
    with closing(sqlite3.connect(small.state)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    said = small.pull()
    refused(small, said, 78, "schema_version", writes=ITEMS)
    assert "db upgrade" in said.json["error"]["hint"]


def test_a_state_in_a_place_that_cannot_be_written_ends_with_an_error(small: World) -> None:
    (small.folder / "a-file").write_text("", encoding="utf-8")
    said = small.pull(env={"STATE_DB_URL": f"sqlite:///{small.folder}/a-file/state.db"})
    assert said.code in (75, 78) and said.error == "state_unavailable", said.out
    assert small.writes() == 0


def test_a_real_process_ends_with_the_same_codes(small: World) -> None:
    done = small.process("pull", NAME)
    assert done.code == 0 and done.json["stats"]["created"] == ITEMS
    small.configure(source="gone.dcf")
    failed = small.process("pull", NAME)
    assert (failed.code, failed.error) == (78, "source_not_found")
    assert small.process("pull", "yours").code == 2


def test_links_accepted_without_an_answer_are_found_by_the_next_pull(small: World) -> None:
    valves = small.items("valves")[:3]
    for item in valves:
        small.user_adds(tag=item.tag, asset_type="Valve", priority=2)
    assert small.pulled()["stats"]["created"] == ITEMS - 3
    with recorded(small) as recorder:
        recorder.edit = only_batches(problem(500, "internal"))
        said = small.cli("links", "accept", NAME)
    refused(small, said, 75, "synapse_unknown_outcome", writes=ITEMS)
    invariants.no_run_is_stuck(small)
    assert small.rows("SELECT id FROM run WHERE status = 'running'") == []
    small.pulled()
    assert {small.link_of(item.pnpid)["entity"] for item in valves} == {"valves"}
    assert {small.asset_of(item.pnpid)["priority"] for item in valves} == {2}
    edits.set_value(small.dcf, valves[0].pnpid, "Status", "Demolished")
    assert small.pulled()["stats"]["updated"] == 1
    healed(small)


def test_a_state_address_that_names_the_plant_3d_file_is_refused_before_anything(small: World) -> None:
    before = small.dcf.read_bytes()
    for words in (("pull", NAME), ("db", "upgrade"), ("runs", NAME), ("plan", NAME)):
        said = small.cli(*words, env={"STATE_DB_URL": f"sqlite:///{small.dcf}"})
        assert (said.code, said.error) == (78, "state_not_ours"), said.out
    assert small.cli("doctor", NAME, env={"STATE_DB_URL": f"sqlite:///{small.dcf}"}).code == 78
    assert small.dcf.read_bytes() == before and small.writes() == 0
    assert not list(small.folder.glob("ProcessPower.dcf-*"))


def test_a_class_name_that_is_no_text_stops_no_other_item(make_world: MakeWorld) -> None:
    world = make_world(items=60)
    lost = world.items("valves")[0].pnpid
    with closing(sqlite3.connect(world.dcf)) as project, project:
        project.execute("UPDATE PnPBase SET PnPClassName = CAST(x'56e9' AS TEXT) WHERE PnPID = ?", (lost,))
        project.execute(
            "INSERT INTO PnPDataLinks (PnPID, RowId, DwgId) SELECT max(PnPID) + 50, ?, 999999999 FROM PnPBase",
            (lost,),
        )
    said = world.pull()
    assert said.json["outcome"] in ("clean", "with_issues"), said.out
    assert len(world.assets()) == 59
    told = world.cli("findings", NAME, "--code", "dangling_link").json["findings"]
    assert [one["pnpid"] for one in told] == [lost], "a finding about that very row"
