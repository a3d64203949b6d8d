"""What the client of SYNAPSE makes of everything that can go wrong between it and SYNAPSE."""

from __future__ import annotations

import gzip
import socket
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from plant3d_sync.connectors.base import AssetWrite, Batch, CursorReset
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse.probe import probe
from plant3d_sync.errors import ConfigError, RetryLaterError, SkipRecordError, SyncError
from tests.support.faulty_http import (
    Answer,
    Fault,
    FaultProxy,
    ScriptedServer,
    Seen,
    Step,
    closed_port,
    json_answer,
    problem,
)

PROJECT = "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11"
CANARY = "canary-key-7e1f0c55"
MOMENT = "2026-01-15T14:03:22.401377Z"
NOW = datetime(2026, 1, 15, 14, 3, 22, tzinfo=UTC)


def asset(number: int, plant3d_id: str, **members: object) -> dict[str, object]:
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "project_id": PROJECT,
        "plant3d_id": plant3d_id,
        "version": 1,
        "seq": number,
        "tag": f"P-{number}",
        "asset_type": "Equipment",
        "asset_subtype": None,
        "description": None,
        "attributes": {"size": '6"'},
        "deleted_at": None,
        "field_info": {"description": {"version": 1, "updated_at": MOMENT, "by": "integration:x"}},
        **members,
    }


class SmallSynapse:
    """Takes batches: each new id becomes an asset, each key is applied once. Counts what it committed."""

    def __init__(self) -> None:
        self.assets: dict[str, dict[str, object]] = {}
        self.commits = 0
        self.answers: dict[str, Answer] = {}

    def __call__(self, seen: Seen) -> Answer:
        if seen.target.startswith("/api/v1/integration/capabilities"):
            return capabilities()
        if seen.target.startswith("/api/v1/integration/assets/batch"):
            return self.batch(seen)
        if seen.target.startswith("/api/v1/integration/assets/changes"):
            return page(list(self.assets.values()), "c1", more=False)
        return problem(404, "not_found")

    def batch(self, seen: Seen) -> Answer:
        key = seen.headers["idempotency-key"]
        if key not in self.answers:
            self.commits += 1
            self.answers[key] = json_answer({"results": self.results(seen)})
        return self.answers[key]

    def results(self, seen: Seen) -> list[dict[str, object]]:
        results: list[dict[str, object]] = []
        items = seen.json["items"]
        assert isinstance(items, list)
        for index, item in enumerate(items):
            plant3d_id = item["plant3d_id"]
            status = "unchanged" if plant3d_id in self.assets else "created"
            stored = self.assets.setdefault(plant3d_id, asset(len(self.assets) + 1, plant3d_id))
            results.append({"index": index, "plant3d_id": plant3d_id, "status": status, "asset": stored})
        return results


def capabilities(**members: object) -> Answer:
    return json_answer(
        {
            "contract": "1.0",
            "synapse_version": "0.3.0",
            "server_time": MOMENT,
            "limits": {"max_batch_items": 1000, "max_body_bytes": 5242880, "max_page": 1000},
            "writable_fields": ["tag", "asset_type", "asset_subtype", "description", "attributes"],
            "shared_fields": ["description"],
            "owned_attribute_keys": [],
            **members,
        }
    )


def page(assets: list[dict[str, object]], cursor: str, *, more: bool) -> Answer:
    entries = [{"seq": entry["seq"], "change": "upsert", "asset": entry} for entry in assets]
    return json_answer({"items": entries, "next_cursor": cursor, "has_more": more, "max_seq": 9})


class Pauses:
    """Stands in for sleep: notes how long the client would have waited."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SmallSynapse()) as running:
        yield running


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def client_for(
    url: str,
    pauses: Pauses,
    *,
    deadline: float = 30.0,
    max_reply_bytes: int = 2_000_000,
    events: list[tuple[str, Mapping[str, object]]] | None = None,
) -> SynapseClient:
    def note(name: str, facts: Mapping[str, object]) -> None:
        if events is not None:
            events.append((name, facts))

    return SynapseClient(
        url,
        CANARY,
        PROJECT,
        sleep=pauses,
        deadline=deadline,
        max_reply_bytes=max_reply_bytes,
        clock=lambda: NOW,
        request_id="run-1",
        on_event=note,
    )


@pytest.fixture
def client(server: ScriptedServer, pauses: Pauses) -> Iterator[SynapseClient]:
    made = client_for(server.url, pauses)
    yield made
    made.close()


def pumps(count: int = 2) -> list[AssetWrite]:
    return [
        AssetWrite(op="upsert", plant3d_id=f"guid-{n}", set={"tag": f"P-{n}", "asset_type": "Equipment"})
        for n in range(count)
    ]


def synapse(server: ScriptedServer) -> SmallSynapse:
    assert isinstance(server.app, SmallSynapse)
    return server.app


# ---------------------------------------------------------------- what a repeat heals

HEALED: dict[str, Answer] = {
    "500": problem(500, "internal"),
    "502 from a proxy": Answer(status=502, kind="text/html", body=b"<html>bad gateway</html>"),
    "503": problem(503, "busy"),
    "408": problem(408, "timeout"),
    "429": problem(429, "rate_limited"),
    "request in progress": problem(409, "request_in_progress"),
    "closed without a byte": Answer(silent=True),
    "reset without a byte": Answer(silent=True, reset=True),
    "reset in mid-body": Answer(body=b'{"results": [' + b" " * 500 + b"]}", cut=40, reset=True),
    "closed in mid-body": Answer(body=b'{"results": [' + b" " * 500 + b"]}", cut=40),
    "truncated JSON with a right length": Answer(body=b'{"results": [{"index": 0,'),
    "NaN in JSON": Answer(body=b'{"results": [], "max_seq": NaN}'),
    "invalid UTF-8": Answer(body=b'{"results": ["\xff"]}'),
    "no results at all": json_answer({"ok": True}),
    "a list": json_answer([1, 2]),
    "204": Answer(status=204, body=b""),
    "202": json_answer({"queued": True}, 202),
    "compressed without being asked": Answer(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b" * 50),
}


@pytest.mark.parametrize("fault", HEALED)
def test_a_passing_fault_is_repeated_with_the_same_key_and_body(
    fault: str, server: ScriptedServer, client: SynapseClient, pauses: Pauses
) -> None:
    server.steps = [HEALED[fault]]
    batch = client.encode(pumps()).in_full()
    results = client.send(batch, key="k-1")
    assert [result.status for result in results] == ["created", "created"]
    assert [seen.body for seen in server.seen] == [batch.body] * 2
    assert [seen.headers["idempotency-key"] for seen in server.seen] == ["k-1", "k-1"]
    assert pauses.taken == [30.0]
    assert synapse(server).commits == 1


@pytest.mark.parametrize("fault", HEALED)
def test_a_lasting_fault_ends_after_three_tries_and_says_whether_the_batch_may_have_been_applied(
    fault: str, server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [HEALED[fault]] * 9
    with pytest.raises(RetryLaterError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    refused = fault in ("408", "429")
    assert caught.value.error_code == ("synapse_unavailable" if refused else "synapse_unknown_outcome")
    assert caught.value.details["may_have_been_applied"] is not refused
    assert caught.value.details["attempts"] == len(server.seen) == 3
    assert synapse(server).commits == 0


@pytest.mark.parametrize("fault", ["lose_reply", "cut_reply", "reset_reply"])
def test_an_answer_lost_after_the_commit_leads_to_one_effective_write(
    fault: Fault, server: ScriptedServer, pauses: Pauses
) -> None:
    with FaultProxy(server.port, [fault, fault]) as proxy:
        client = client_for(proxy.url, pauses)
        results = client.send(client.encode(pumps()).in_full(), key="k-1")
        client.close()
    assert [result.status for result in results] == ["created", "created"]
    assert proxy.delivered == 3
    assert synapse(server).commits == 1


def test_answers_lost_for_good_are_an_unknown_outcome_and_never_a_failure(
    server: ScriptedServer, pauses: Pauses
) -> None:
    with FaultProxy(server.port, ["lose_reply"] * 3) as proxy:
        client = client_for(proxy.url, pauses)
        with pytest.raises(RetryLaterError) as caught:
            client.send(client.encode(pumps()).in_full(), key="k-1")
        client.close()
    assert caught.value.error_code == "synapse_unknown_outcome"
    assert caught.value.details["may_have_been_applied"] is True
    assert synapse(server).commits == 1


def test_a_request_delivered_twice_is_applied_once(server: ScriptedServer, pauses: Pauses) -> None:
    with FaultProxy(server.port, ["twice"]) as proxy:
        client = client_for(proxy.url, pauses)
        results = client.send(client.encode(pumps()).in_full(), key="k-1")
        client.close()
    assert [result.status for result in results] == ["created", "created"]
    assert (proxy.delivered, synapse(server).commits) == (2, 1)


def test_a_500_after_the_commit_is_repeated_and_answered_from_memory(
    server: ScriptedServer, client: SynapseClient
) -> None:
    def commit_then_fail(seen: Seen) -> Answer:
        server.app(seen)
        return problem(500, "internal")

    server.steps = [commit_then_fail]
    assert [result.status for result in client.send(client.encode(pumps()).in_full(), key="k-1")] == [
        "created"
    ] * 2
    assert synapse(server).commits == 1


def test_nobody_listening_means_that_nothing_was_applied(pauses: Pauses) -> None:
    client = client_for(f"http://127.0.0.1:{closed_port()}", pauses)
    with pytest.raises(RetryLaterError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    assert caught.value.error_code == "synapse_unavailable"
    assert caught.value.details["may_have_been_applied"] is False
    assert pauses.taken == [30.0, 30.0]


def test_a_refused_key_after_a_lost_answer_still_says_that_the_batch_may_be_there(
    server: ScriptedServer, client: SynapseClient
) -> None:
    def commit_then_vanish(seen: Seen) -> Answer:
        server.app(seen)
        return Answer(silent=True)

    server.steps = [commit_then_vanish, problem(401, "unauthorized")]
    with pytest.raises(ConfigError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    assert caught.value.error_code == "synapse_unauthorized"
    assert caught.value.details["may_have_been_applied"] is True
    assert "not known" in caught.value.message


def test_an_answer_of_one_byte_at_a_time_ends_at_the_deadline_of_the_call(
    server: ScriptedServer, pauses: Pauses
) -> None:
    client = client_for(server.url, pauses, deadline=0.4)
    server.steps = [Answer(drip=0.05)] * 3
    with pytest.raises(RetryLaterError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    client.close()
    assert caught.value.error_code == "synapse_unknown_outcome"
    assert "in time" in caught.value.message


def test_a_body_of_one_byte_at_a_time_ends_at_the_deadline_of_the_call(
    server: ScriptedServer, pauses: Pauses
) -> None:
    client = client_for(server.url, pauses, deadline=0.4)

    def slow_page(seen: Seen) -> Answer:
        return Answer(body=page([], "c", more=False).body, drip=0.02)

    server.steps = [slow_page] * 3
    with pytest.raises(RetryLaterError) as caught:
        next(client.changes(None))
    client.close()
    assert caught.value.error_code == "synapse_unavailable"


@pytest.mark.timeout(120)
def test_a_server_that_says_nothing_at_all_is_left_at_the_deadline_of_the_call(
    server: ScriptedServer, pauses: Pauses
) -> None:
    client = client_for(server.url, pauses, deadline=0.3)
    server.steps = [Answer(drip=3600.0)] * 3
    with pytest.raises(RetryLaterError, match="in time"):
        next(client.changes(None))
    client.close()


# ---------------------------------------------------------------- Retry-After

IN_40_SECONDS = format_datetime(NOW + timedelta(seconds=40), usegmt=True)
RETRY_AFTER = {"7": 7.0, "0": 0.0, IN_40_SECONDS: 40.0, "soon": 30.0, "-5": 30.0, "": 30.0}


@pytest.mark.parametrize("header", RETRY_AFTER)
def test_retry_after_is_honoured_in_seconds_or_as_a_date_and_ignored_when_meaningless(
    header: str, server: ScriptedServer, client: SynapseClient, pauses: Pauses
) -> None:
    server.steps = [problem(429, "rate_limited", Retry_After=header)]
    client.send(client.encode(pumps()).in_full(), key="k-1")
    assert pauses.taken == [RETRY_AFTER[header]]


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_of_ten_hours_is_handed_to_the_run_at_once(
    status: int, server: ScriptedServer, client: SynapseClient, pauses: Pauses
) -> None:
    server.steps = [problem(status, "busy", Retry_After="36000")]
    with pytest.raises(RetryLaterError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    assert caught.value.details["retry_after"] == 36000.0
    assert pauses.taken == []
    assert len(server.seen) == 1


# ---------------------------------------------------------------- what no repeat heals

HTML = Answer(kind="text/html; charset=utf-8", body=b"<html>Sign in</html>")
FINAL: dict[str, tuple[Answer, str]] = {
    "401": (problem(401, "unauthorized"), "synapse_unauthorized"),
    "401 as a page": (Answer(status=401, kind="text/html", body=b"<html>"), "synapse_unauthorized"),
    "403": (problem(403, "project_forbidden"), "synapse_forbidden"),
    "unknown project": (problem(404, "project_not_found"), "synapse_project_unknown"),
    "no such operation": (json_answer({"detail": "Not Found"}, 404), "synapse_no_contract"),
    "413": (problem(413, "batch_too_large"), "batch_too_large"),
    "413 of a proxy": (Answer(status=413, kind="text/html", body=b"<html>"), "batch_too_large"),
    "422": (problem(422, "validation_error", "items: too long"), "synapse_refused"),
    "key reused": (problem(422, "idempotency_key_reused"), "synapse_refused"),
    "400": (problem(400, "bad_request"), "synapse_refused"),
    "409 of another kind": (problem(409, "tag_taken"), "synapse_refused"),
    "307": (Answer(status=307, headers={"Location": "http://evil.example/x?token=1"}), "synapse_redirect"),
    "302 without a target": (Answer(status=302), "synapse_redirect"),
    "a login page": (HTML, "synapse_not_json"),
    "JSON said to be text": (Answer(kind="text/plain", body=b'{"results": []}'), "synapse_not_json"),
}


@pytest.mark.parametrize("case", FINAL)
def test_what_a_repeat_cannot_heal_is_asked_once_and_named(
    case: str, server: ScriptedServer, client: SynapseClient, pauses: Pauses
) -> None:
    answer, code = FINAL[case]
    server.steps = [answer]
    with pytest.raises(ConfigError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    assert caught.value.error_code == code
    assert caught.value.hint
    assert caught.value.details["may_have_been_applied"] is (code == "synapse_not_json")
    assert len(server.seen) == 1
    assert pauses.taken == []


@pytest.mark.parametrize("case", FINAL)
def test_reading_stops_with_the_same_words_as_writing(
    case: str, server: ScriptedServer, client: SynapseClient
) -> None:
    answer, code = FINAL[case]
    server.steps = [answer]
    with pytest.raises(ConfigError) as caught:
        next(client.changes(None))
    assert caught.value.error_code == code
    assert "may_have_been_applied" not in caught.value.details


def test_the_server_s_own_words_are_kept(server: ScriptedServer, client: SynapseClient) -> None:
    server.steps = [problem(422, "validation_error", "items: 1 to 1000 expected")]
    with pytest.raises(ConfigError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    assert "items: 1 to 1000 expected" in caught.value.message
    assert caught.value.details["request_id"] == "run-1.1"
    assert caught.value.details["synapse_request_id"] == "r-1"


def test_a_redirect_to_another_host_is_not_followed_and_the_key_stays_here(
    server: ScriptedServer, client: SynapseClient
) -> None:
    with ScriptedServer(SmallSynapse()) as elsewhere:
        server.steps = [Answer(status=307, headers={"Location": f"{elsewhere.url}/login?session=abc"})]
        with pytest.raises(ConfigError) as caught:
            client.capabilities()
        assert elsewhere.seen == []
    assert "session" not in caught.value.message
    assert caught.value.details["target"] == "http://127.0.0.1"


def test_a_proxy_named_in_the_environment_is_not_used(
    server: ScriptedServer, client: SynapseClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert client.capabilities().contract == "1.0"


# ---------------------------------------------------------------- answers that do not fit


def answered(server: ScriptedServer, change: str) -> None:
    """Let the server commit, then spoil its list of results."""

    def spoil(seen: Seen) -> Answer:
        results = synapse(server).results(seen)
        if change == "fewer":
            results.pop(1)
        if change == "none":
            results.clear()
        if change == "other order":
            results.reverse()
        if change == "extra":
            stranger = {"index": 7, "plant3d_id": "x", "status": "created", "asset": asset(77, "x")}
            results.insert(0, stranger)
        if change == "same twice":
            results.append(dict(results[0]))
        if change == "swapped ids":
            results[0]["plant3d_id"], results[1]["plant3d_id"] = "guid-1", "guid-0"
        if change == "asset of another item":
            results[1]["asset"] = results[0]["asset"]
        if change == "no echo":
            del results[1]["asset"]
        if change == "unknown status":
            results[1]["status"] = "queued"
        if change == "version is text":
            results[1]["asset"] = asset(2, "guid-1", version="1")
        if change == "another project":
            results[1]["asset"] = asset(2, "guid-1", project_id="0f6b6a0e-6a0e-4b53-9d0f-000000000000")
        return json_answer({"results": results})

    server.steps = [spoil]


UNFIT = {
    "fewer": ["created", "unknown", "created"],
    "none": ["unknown", "unknown", "unknown"],
    "other order": ["created", "created", "created"],
    "extra": ["created", "created", "created"],
    "same twice": ["created", "created", "created"],
    "swapped ids": ["unknown", "unknown", "created"],
    "asset of another item": ["created", "unknown", "created"],
    "no echo": ["created", "unknown", "created"],
    "unknown status": ["created", "unknown", "created"],
    "version is text": ["created", "unknown", "created"],
    "another project": ["created", "unknown", "created"],
}


@pytest.mark.parametrize("change", UNFIT)
def test_each_item_without_a_sound_result_of_its_own_is_unknown(
    change: str, server: ScriptedServer, client: SynapseClient
) -> None:
    answered(server, change)
    results = client.send(client.encode(pumps(3)).in_full(), key="k-1")
    assert [result.plant3d_id for result in results] == ["guid-0", "guid-1", "guid-2"]
    assert [result.status for result in results] == UNFIT[change]
    assert all((result.asset is None) == (result.status == "unknown") for result in results)


def test_results_of_things_never_sent_are_ignored_and_told(server: ScriptedServer, pauses: Pauses) -> None:
    events: list[tuple[str, Mapping[str, object]]] = []
    client = client_for(server.url, pauses, events=events)
    answered(server, "extra")
    client.send(client.encode(pumps(3)).in_full(), key="k-1")
    client.close()
    assert [facts["extra"] for name, facts in events if name == "synapse.extra_results"] == [1]


def test_a_reply_of_200_megabytes_is_given_up_at_the_limit(server: ScriptedServer, pauses: Pauses) -> None:
    events: list[tuple[str, Mapping[str, object]]] = []
    client = client_for(server.url, pauses, max_reply_bytes=1_000_000, events=events)
    server.steps = [Answer(endless=200 * 1024 * 1024)] * 3
    with pytest.raises(RetryLaterError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    client.close()
    assert "more than 1000000 bytes" in caught.value.message
    assert caught.value.error_code == "synapse_unknown_outcome"


def test_a_compressed_answer_is_not_unpacked(server: ScriptedServer, client: SynapseClient) -> None:
    bomb = gzip.compress(b'{"results": []}' + b" " * 50_000_000)
    server.steps = [Answer(headers={"Content-Encoding": "gzip"}, body=bomb)] * 3
    with pytest.raises(RetryLaterError, match="compressed, not asked for"):
        client.send(client.encode(pumps()).in_full(), key="k-1")


# ---------------------------------------------------------------- the change feed


def test_pages_are_fetched_only_when_asked_for(server: ScriptedServer, client: SynapseClient) -> None:
    server.steps = [
        page([asset(1, "a")], "c1", more=True),
        page([], "c2", more=True),
        page([asset(3, "b")], "c3", more=False),
    ]
    pages = client.changes(None)
    assert [found.plant3d_id for found in next(pages).assets] == ["a"]
    assert len(server.seen) == 1
    assert [one.next_cursor for one in pages] == ["c2", "c3"]
    assert [seen.target.partition("cursor=")[2] for seen in server.seen] == ["", "c1", "c2"]


BROKEN_PAGES = {
    "the same cursor with more to come": page([], "c0", more=True),
    "no cursor": json_answer({"items": [], "has_more": False, "max_seq": 1}),
    "has_more as text": json_answer({"items": [], "has_more": "no", "next_cursor": "c", "max_seq": 1}),
    "sequence going back": page([asset(5, "a"), asset(4, "b")], "c", more=False),
    "an asset twice at one sequence": page([asset(5, "a"), asset(5, "a")], "c", more=False),
    "an asset of another project": page([asset(5, "a", project_id="x")], "c", more=False),
    "a version that is true": page([asset(5, "a", version=True)], "c", more=False),
    "a description that is a number": page([asset(5, "a", description=7)], "c", more=False),
    "no field_info": page([asset(5, "a", field_info={})], "c", more=False),
    "a time that is none": page(
        [asset(5, "a", field_info={"description": {"version": 1, "updated_at": "today", "by": "x"}})],
        "c",
        more=False,
    ),
    "an archived asset called upsert": page([asset(5, "a", deleted_at=MOMENT)], "c", more=False),
}


@pytest.mark.parametrize("case", BROKEN_PAGES)
def test_a_page_that_breaks_the_contract_is_never_handed_on(
    case: str, server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [BROKEN_PAGES[case]] * 3
    with pytest.raises(RetryLaterError) as caught:
        next(client.changes("c0"))
    assert caught.value.error_code == "synapse_bad_answer"
    assert len(server.seen) == 3


def test_a_feed_that_goes_in_circles_is_left(server: ScriptedServer, client: SynapseClient) -> None:
    server.steps = [page([], cursor, more=True) for cursor in ("c1", "c2", "c1", "c1", "c1")]
    with pytest.raises(RetryLaterError, match="same cursor"):
        list(client.changes(None))


def test_a_feed_that_is_empty_for_ever_is_left(server: ScriptedServer, client: SynapseClient) -> None:
    server.app = lambda seen: page([], f"c{len(server.seen)}", more=True)
    with pytest.raises(RetryLaterError, match="empty pages"):
        list(client.changes(None))


def endless(
    seen: Seen, *, totals: dict[str, int] | None = None, max_seq: int = 9, empty: bool = False
) -> Answer:
    """A page that goes on: new assets under new numbers, or now and then none, and always a new cursor."""
    at = int(parse_qs(urlsplit(seen.target).query).get("cursor", ["0"])[0])
    limit = 1 if empty else 1000
    entries = [
        {"seq": number, "change": "upsert", "asset": asset(number, f"item-{number}")}
        for number in range(at + 1, at + 1 + (0 if empty and at % 3 else limit))
    ]
    body: dict[str, object] = {
        "items": entries,
        "next_cursor": str(at + max(1, len(entries))),
        "has_more": True,
        "max_seq": max_seq,
    }
    return json_answer({**body, "totals": totals} if totals else body)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "said that there are 9"),
        ({"max_seq": 10**15, "totals": {"live": 5, "archived": 2, "linked": 0}}, "said that there are 7"),
        ({"max_seq": 10**15, "empty": True}, "empty pages"),
    ],
)
def test_a_feed_that_goes_on_far_beyond_what_synapse_said_it_holds_is_left(
    server: ScriptedServer, client: SynapseClient, said: dict[str, Any], told: str
) -> None:
    server.app = lambda seen: endless(seen, **said)
    entries = 0
    with pytest.raises(RetryLaterError, match=told) as caught:
        for found in client.changes(None):
            entries += len(found.assets)
            assert entries < 100_000, "it would read for ever"
    assert caught.value.error_code == "synapse_answer_unusable"
    assert caught.value.details["pages"] == len(server.seen)


def test_a_feed_that_grows_while_it_is_read_comes_to_its_end(
    server: ScriptedServer, client: SynapseClient
) -> None:
    """Users go on working: more than was promised is no fault as long as it ends."""
    server.steps = [
        page([asset(1, "a")], "c1", more=True),
        *(page([asset(n, f"i{n}")], f"c{n}", more=n < 60) for n in range(2, 61)),
    ]
    assert sum(len(found.assets) for found in client.changes(None)) == 60
    assert ["include=totals" in seen.target for seen in server.seen[:3]] == [False, True, False]


@pytest.mark.parametrize("answer", [problem(410, "cursor_reset"), problem(400, "invalid_cursor")])
def test_a_cursor_synapse_does_not_know_means_reading_again_from_the_beginning(
    answer: Answer, server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [answer]
    with pytest.raises(CursorReset):
        next(client.changes("old"))


def test_a_410_without_a_cursor_is_refused_instead_of_read_again_for_ever(
    server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [problem(410, "cursor_reset")]
    with pytest.raises(ConfigError) as caught:
        next(client.changes(None))
    assert caught.value.error_code == "synapse_refused"


# ---------------------------------------------------------------- capabilities


@pytest.mark.parametrize("contract", ["2.0", "0.9", "1", "one", "1.0-beta"])
def test_another_version_of_the_contract_is_refused(
    contract: str, server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [capabilities(contract=contract)]
    with pytest.raises(ConfigError) as caught:
        client.capabilities()
    assert caught.value.error_code == "synapse_contract"


def test_synapse_0_2_is_named_as_such(server: ScriptedServer, client: SynapseClient) -> None:
    server.steps = [json_answer({"detail": "Not Found"}, 404)]
    with pytest.raises(ConfigError, match=r"SYNAPSE 0\.2") as caught:
        client.capabilities()
    assert caught.value.error_code == "synapse_no_contract"


def test_skew_is_taken_against_the_middle_of_the_call(server: ScriptedServer) -> None:
    moments = iter([NOW, NOW + timedelta(seconds=4)])
    client = SynapseClient(server.url, CANARY, PROJECT, clock=lambda: next(moments))
    server.steps = [capabilities(server_time="2026-01-15T14:03:30Z")]
    assert client.capabilities().skew_seconds == 6.0
    client.close()


def test_capabilities_are_asked_once(server: ScriptedServer, client: SynapseClient) -> None:
    assert client.capabilities() == client.capabilities()
    assert len(server.seen) == 1


# ---------------------------------------------------------------- what we send


def test_the_same_writes_give_the_same_bytes_whatever_their_order_of_fields(client: SynapseClient) -> None:
    one = AssetWrite(op="upsert", plant3d_id="a", set={"tag": "P", "attributes.b": 1, "attributes.a": ""})
    two = AssetWrite(op="upsert", plant3d_id="a", set={"attributes.a": None, "attributes.b": 1, "tag": "P"})
    assert client.encode([one]) == client.encode([two])
    assert b'"attributes":{"a":null,"b":1}' in client.encode([one]).body


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, "lone \ud800 surrogate"])
def test_a_value_json_cannot_hold_is_refused_by_item_instead_of_sent_as_null(
    value: float | str, client: SynapseClient
) -> None:
    bad = AssetWrite(op="upsert", plant3d_id="guid-bad", set={"attributes.size": value})
    with pytest.raises(SkipRecordError) as caught:
        client.encode([*pumps(), bad])
    assert caught.value.details == {"plant3d_id": "guid-bad", "field": "attributes.size"}


@pytest.mark.parametrize("name", ["priority", "notes", "attributes", "attributes.", "id"])
def test_a_field_that_belongs_to_synapse_never_leaves_this_program(name: str, client: SynapseClient) -> None:
    with pytest.raises(ConfigError) as caught:
        client.encode([AssetWrite(op="upsert", plant3d_id="a", set={name: 1})])
    assert caught.value.error_code == "field_not_writable"


def test_a_batch_above_the_limit_is_refused_before_it_is_sent(server: ScriptedServer, pauses: Pauses) -> None:
    client = client_for(server.url, pauses)
    server.steps = [capabilities(limits={"max_batch_items": 1000, "max_body_bytes": 300, "max_page": 1000})]
    client.capabilities()
    with pytest.raises(ConfigError) as caught:
        client.encode(pumps(9))
    assert caught.value.error_code == "batch_too_large"
    client.close()


def test_one_item_above_the_limit_is_set_aside_by_name(client: SynapseClient) -> None:
    huge = AssetWrite(op="upsert", plant3d_id="guid-huge", set={"description": "x" * 6_000_000})
    with pytest.raises(SkipRecordError) as caught:
        client.encode([huge])
    assert caught.value.details["plant3d_id"] == "guid-huge"


def test_a_stored_body_is_sent_as_it_is_by_a_later_process(
    server: ScriptedServer, client: SynapseClient, pauses: Pauses
) -> None:
    body = client.encode(pumps()).body
    later = client_for(server.url, pauses)
    results = later.send(Batch.of(body), key="k-1")
    later.close()
    assert [result.plant3d_id for result in results] == ["guid-0", "guid-1"]
    assert server.seen[-1].body == body


def test_every_call_carries_project_key_and_a_request_id_of_the_run(
    server: ScriptedServer, client: SynapseClient
) -> None:
    client.capabilities()
    client.send(client.encode(pumps()).in_full(), key="k-1")
    assert [seen.headers["x-request-id"] for seen in server.seen] == ["run-1.1", "run-1.2"]
    assert {seen.headers["x-api-key"] for seen in server.seen} == {CANARY}
    assert {seen.headers["x-project-id"] for seen in server.seen} == {PROJECT}
    assert {seen.headers["accept-encoding"] for seen in server.seen} == {"identity"}
    assert client.last_request_id == "run-1.2"


# ---------------------------------------------------------------- secrets


def everything_said(error: BaseException) -> str:
    """All texts that hang on an error: its chain, arguments and attributes, and the local variables of every frame
    but the test's own (a log with local variables would show those too)."""
    texts: list[str] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        waiting += [one.__cause__, one.__context__]
        texts += [repr(one), repr(one.args), repr(vars(one))]
        request = getattr(one, "_request", None)
        texts.append(repr(getattr(request, "headers", "")))
        stack = traceback.TracebackException.from_exception(one, capture_locals=True)
        texts += [repr(frame) + repr(frame.locals) for frame in stack.stack if frame.filename != __file__]
    return "\n".join(texts)


@pytest.mark.parametrize("case", ["500", "reset in mid-body", "401 echoing", "422 echoing", "HTML", "nobody"])
def test_the_key_is_in_no_message_repr_event_or_chain(
    case: str, server: ScriptedServer, pauses: Pauses
) -> None:
    events: list[tuple[str, Mapping[str, object]]] = []
    url = f"http://127.0.0.1:{closed_port()}" if case == "nobody" else server.url
    client = client_for(url, pauses, events=events)
    answers = {
        "401 echoing": problem(401, CANARY, f"the key {CANARY} is unknown", Location=CANARY),
        "422 echoing": problem(422, "x", f"X-API-Key: {CANARY}"),
        "HTML": Answer(kind=f"text/{CANARY}", body=CANARY.encode()),
    }
    spoiled: list[Step] = [answers.get(case) or HEALED.get(case, HTML)] * 3
    server.steps = spoiled
    with pytest.raises(SyncError) as caught:
        client.send(client.encode(pumps()).in_full(), key="k-1")
    client.close()
    said = everything_said(caught.value) + repr(client) + repr(events) + repr(caught.value.to_dict())
    assert CANARY not in said
    assert "SynapseClient" in said


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "clé"])
def test_a_key_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SynapseClient("http://127.0.0.1:1", key, PROJECT)
    assert caught.value.error_code == "synapse_key_invalid"
    assert not key or key not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "x" * 64,
        "ftp://x",
        "synapse",
        "http://",
        "http://u:canary@h",
        "http://h?x=canary",
        "http://h:99999",
    ],
)
def test_an_unusable_address_is_refused_without_echoing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SynapseClient(url, CANARY, PROJECT)
    assert caught.value.error_code == "synapse_url"
    assert "canary" not in repr(caught.value.to_dict())


# ---------------------------------------------------------------- doctor


def test_the_probe_of_a_sound_synapse_has_only_good_lines(
    server: ScriptedServer, client: SynapseClient
) -> None:
    checks = probe(client)
    assert [check.name for check in checks] == [
        "address", "name", "connection", "encryption", "contract", "key", "project", "clock",
    ]  # fmt: skip
    assert [check.status for check in checks if check.status not in ("ok", "skipped")] == []


PROBED = {
    "project": problem(404, "project_not_found"),
    "key": problem(401, "unauthorized"),
}


@pytest.mark.parametrize("name", PROBED)
def test_the_probe_names_the_first_thing_that_is_wrong_and_its_cure(
    name: str, server: ScriptedServer, client: SynapseClient
) -> None:
    server.steps = [capabilities(), PROBED[name]]
    failed = [check for check in probe(client) if check.status == "failed"]
    assert [check.name for check in failed] == [name]
    assert failed[0].hint


def test_the_probe_tells_a_closed_port_from_a_wrong_name(
    pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = probe(client_for(f"http://127.0.0.1:{closed_port()}", pauses))
    assert [check.name for check in closed if check.status == "failed"] == ["connection"]
    assert {check.status for check in closed[3:]} == {"skipped"}

    def unknown_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_name)
    nowhere = probe(client_for("http://no-such-host.invalid", pauses))
    assert [check.name for check in nowhere if check.status == "failed"] == ["name"]
    assert pauses.taken == []


def test_the_probe_warns_of_a_clock_that_is_far_off(server: ScriptedServer, client: SynapseClient) -> None:
    server.steps = [capabilities(server_time="2026-01-15T15:03:22Z")]
    clock = next(check for check in probe(client) if check.name == "clock")
    assert clock.status == "warning"
    assert "3600" in clock.message
