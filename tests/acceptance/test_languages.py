"""A whole run in a made-up language: whatever is said to people and was not recognised stands out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import make_app
from plant3d_sync.language import PSEUDO, TOLD
from plant3d_sync.web.app import create_app
from tests.support.world import NAME, MakeWorld, World

COMMANDS = (
    ("doctor", NAME),
    ("pull", NAME, "--dry-run"),
    ("pull", NAME),
    ("findings", NAME),
    ("now", NAME),
    ("show", "nothing-of-this-name"),
    ("apply", "nothing-of-this-name"),
    ("links", "propose", NAME),
    ("runs", "no-such-project"),
    ("check-config",),
)


def sentences(document: Any) -> Iterator[str]:
    """Members of a JSON document that are said to people. A single word, a path, an address is a value."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in TOLD and isinstance(value, str):
                words = [word for word in value.split() if word.isalpha() and word.islower()]
                if len(words) > 1:
                    yield value
            else:
                yield from sentences(value)
    elif isinstance(document, list):
        for one in document:
            yield from sentences(one)


@pytest.fixture
def dirty(make_world: MakeWorld) -> World:
    return make_world(items=200, dirty=0.35, seed=3)


def test_no_sentence_of_a_run_over_a_dirty_project_escapes_translation(dirty: World) -> None:
    escaped, told = [], 0
    for words in COMMANDS:
        said = dirty.cli("--lang", PSEUDO, *words)
        for sentence in sentences(json.loads(said.out)):
            told += 1
            if "⟦" not in sentence:
                escaped.append((words, sentence))
    assert told > 100
    assert not escaped


def test_a_run_says_the_same_in_both_languages(dirty: World) -> None:
    english = dirty.cli("pull", NAME, "--dry-run").json
    french = dirty.cli("--lang", "fr", "pull", NAME, "--dry-run").json
    for name in ("stats", "by_entity", "outcome", "exit_code", "findings_by_code"):
        assert english.get(name) == french.get(name), name
    one, other = (dirty.cli(*lang, "findings", NAME).json["findings"] for lang in ((), ("--lang", "fr")))
    assert [item["code"] for item in one] == [item["code"] for item in other]


def test_the_api_answers_in_the_language_of_whoever_asks(
    dirty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in dirty.environment({}).items():
        monkeypatch.setenv(name, text)
    with TestClient(create_app(make_app(str(dirty.config)))) as client:
        english = client.get("/api/v1/sync/status").json()
        answer = client.get("/api/v1/sync/status", headers={"Accept-Language": "fr-CA,fr;q=0.9,en;q=0.5"})
        french = answer.json()
    assert answer.headers["Content-Language"] == "fr" and "Accept-Language" in answer.headers["Vary"]
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert (english["code"], english["status"]) == (french["code"], french["status"])
    assert english["detail"] != french["detail"] and french["detail"]


def test_the_language_of_the_settings_is_spoken_where_nobody_asks_for_one(
    dirty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty.top["language"] = "fr-CA"
    dirty.configure()
    for name, text in dirty.environment({}).items():
        monkeypatch.setenv(name, text)
    with TestClient(create_app(make_app(str(dirty.config)))) as client:
        french = client.get("/api/v1/sync/status").json()
        english = client.get("/api/v1/sync/status", headers={"Accept-Language": "en"}).json()
    assert english["detail"] != french["detail"]
