"""A whole run in a made-up language: whatever is said to people and was not recognised stands out. And one journey in
both languages: the same structure, and nothing left in English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from starlette.testclient import TestClient

from docs import generate
from plant3d_sync.bootstrap import make_app
from plant3d_sync.cli.main import run
from plant3d_sync.language import PSEUDO, TOLD, catalogue
from plant3d_sync.web import description, pages
from plant3d_sync.web.app import create_app, with_routes
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import redescribed, retagged, small_worlds, user_describes
from tests.support.world import NAME, MakeWorld, Said, World

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
TO_PEOPLE = (
    *COMMANDS,
    ("findings", NAME, "--each"),
    ("runs", NAME),
    ("waiting", NAME),
    ("conflicts", NAME),
    ("quarantine", "list", NAME),
    ("mapping", "diff", NAME),
    ("schema", "show", NAME),
    ("backups", NAME),
    ("audit", "verify"),
    ("mapping", "check", "stock"),
    ("mapping", "versions", NAME),
    ("quarantine", "retry", NAME, "--all"),
    ("quarantine", "ignore", NAME, "1", "--reason", "x"),
    ("keys", "list"),
    ("db", "upgrade"),
    ("settings", "show"),
    ("resolve", "nothing-of-this-name", "synapse"),
    ("restore", NAME, "/nowhere"),
    ("grants", NAME),
)
HEADS = {word for word in catalogue(PSEUDO).heads if word.islower() and word.isalpha()}
LOWER = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b")
VALUES = re.compile(r"'[^']*'|`[^`]*`|plant3d-sync [^⟧]*|\w+(?: \d+, \w+)* \d+")
"""Text in quotes, commands, and counts by code are the same in every language."""


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


def outside(text: str) -> Iterator[str]:
    """What of a text in the made-up language no message made: around ⟦messages⟧, and what was put into them."""
    open_, piece = [""], ""
    for char in text:
        if char in "⟦⟨":
            if open_[-1] != "⟦":
                yield piece
            open_.append(char)
            piece = ""
        elif char in "⟧⟩" and len(open_) > 1:
            if open_.pop() == "⟨":
                yield piece
            piece = ""
        else:
            piece += char
    yield piece


def escaped(line: str) -> list[str]:
    """Words of a line that stand there in English: two small words in a row, or the head of a column."""
    found = []
    for piece in outside(line):
        bare = VALUES.sub("", piece)
        heads = HEADS.intersection(bare.split()) if "⟦" in line else set()
        found += [piece] if LOWER.search(bare) or heads else []
    return found


@pytest.fixture
def dirty(make_world: MakeWorld) -> World:
    return make_world(items=120, dirty=0.5, seed=3)


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    return small_worlds(tmp_path, reference_synapse)


def test_the_search_for_english_finds_it() -> None:
    assert escaped("the run was ended")
    assert escaped("⟦The tag ⟨of this pump⟩ is held.⟧")
    assert escaped("⟦class⟧  column")
    assert not escaped("⟦The tag ⟨'of this pump'⟩ is held. ⟨⟦Nothing was done.⟧⟩⟧ plant3d-sync runs mine")


# ---------------------------------------------------------------- what libraries say in our place

OF_THE_PARSER = re.compile(
    r"\b(Usage|Options|Arguments|Commands|Example|COMMAND|Error|Try|required|default|env var)\b|<\w[\w ]*>"
)


def blocks(text: str) -> Iterator[str]:
    """A help by its paragraphs, and by the rows of its lists, each unfolded to one line.

    The list of commands has the first sentence of a message alone.
    """
    for block in text.split("\n\n"):
        rows = re.split(r"\n  (?=\S)", block) if not block.startswith(" ") else [block]
        yield from (" ".join(row.split()) + "⟧" * (row.count("⟦") - row.count("⟧")) for row in rows)


def english(text: str) -> list[str]:
    """What of a help, or of a mistake that the parser shows, stands there in English."""
    found = []
    for row in blocks(text):
        pieces = [VALUES.sub("", piece) for piece in outside(row)]
        found += [row for piece in pieces if LOWER.search(piece) or OF_THE_PARSER.search(piece)]
    return found


def test_the_search_for_the_words_of_the_parser_finds_them() -> None:
    assert english("Usage: plant3d-sync runs {project}")
    assert english("⟦Options:⟧\n  --limit <int>  [⟦default ⟨20⟩⟧]")
    assert english("⟦Options:⟧\n  --help  Show this message and exit.")
    assert not english("⟦Options:⟧\n  --limit ⟦<int>⟧  ⟦How many\n                   at most.⟧")


def test_no_word_of_any_help_escapes(capfd: pytest.CaptureFixture[str]) -> None:
    commands = [entry.words.split() for entry in generate.commands()]
    groups = {words[0] for words in commands if len(words) > 1}
    found = []
    for words in ([], *([group] for group in sorted(groups)), *commands):
        assert run(["--lang", PSEUDO, *words, "--help"]) == 0
        found += [(" ".join(words), row) for row in english(capfd.readouterr().out)]
    assert len(commands) > 40
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "", "frob", "pulll", "pull", "pull a b", "pull x --frob", "pull x --fulll", "runs x --limit abc", "runs x --limit 0",
        "runs x --limit", "pull x --full=3", "links", "links frob", "doctor --direction x", "resolve 1",
    ],
)  # fmt: skip
def test_no_word_of_a_command_line_that_was_not_understood_escapes(
    capfd: pytest.CaptureFixture[str], line: str
) -> None:
    code = run(["--lang", PSEUDO, *line.split()])
    out, err = capfd.readouterr()
    assert code == 2 and err, out
    assert english(err) == []
    run(["--json", "--lang", PSEUDO, *line.split()])
    told = json.loads(capfd.readouterr().out)["error"]
    assert [text for text in (told["message"], told["hint"]) if english(text)] == []


def test_whoever_names_no_command_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    for line in (["--json"], ["--json", "links"]):
        assert run(line) == 2
        assert json.loads(capfd.readouterr().out)["error"]["message"] == "Missing command. Nothing was done."


def test_a_value_that_cannot_be_is_told_in_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "x", "--limit", "abc"]) == 2
    assert "Error: Invalid value for '--limit': must be a whole number\n" in capfd.readouterr().err


def test_no_text_of_the_description_of_the_api_escapes() -> None:
    described = description.described(with_routes().openapi(), PSEUDO)
    told = list(description.told(described))
    assert len(told) > 300
    assert [text for text in told if not text.startswith("⟦") or escaped(text)] == []


def test_a_description_in_another_language_has_the_same_names(
    dirty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in dirty.environment({}).items():
        monkeypatch.setenv(name, text)
    key = dirty.cli("keys", "create", "tester", "--scopes", "read").json["key"]
    with TestClient(create_app(make_app(str(dirty.config)))) as client:
        page = client.get("/docs?lang=fr").text
        [address] = re.findall(r'data-description="([^"]+)"', page)
        of_page = client.get(address, headers={"Accept-Language": "en"})
        for_tools = client.get("/api/v1/openapi.json", headers={"Accept-Language": "fr-CA", "X-API-Key": key})
        english = client.get("/docs/openapi.json").json()
    assert of_page.headers["Content-Language"] == for_tools.headers["Content-Language"] == "fr"
    assert of_page.json() == for_tools.json() != english

    def names(document: Any) -> Any:
        if isinstance(document, dict):
            return {
                name: names(value)
                for name, value in document.items()
                if name not in ("summary", "description") or not isinstance(value, str)
            }
        return [names(one) for one in document] if isinstance(document, list) else document

    assert names(for_tools.json()) == names(english)


# ---------------------------------------------------------------- whole runs


def test_no_sentence_of_a_run_over_a_dirty_project_escapes_translation(dirty: World) -> None:
    found, told, lines = [], 0, 0
    for words in COMMANDS:
        said = dirty.cli("--lang", PSEUDO, *words)
        for sentence in sentences(json.loads(said.out)):
            told += 1
            if "⟦" not in sentence or escaped(sentence):
                found.append((words, sentence))
    for words in TO_PEOPLE:
        said = dirty.cli("--lang", PSEUDO, *words, as_json=False)
        for line in (said.out + said.err).splitlines():
            lines += 1
            found += [(words, line)] if escaped(line) else []
    assert told > 100 and lines > 100
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "projects: 3\nsynapse: {url: x}\nfoo: 1\n",
        "projects: {mine: {keep_backup: 3, guards: {create: [2, x]}, write: direct}}\n",
        "projects: {mine: {source: nowhere, mapping: [nowhere.yml]}}\n",
        "projects: {mine: {source: nowhere, mapping: [bad.yml]}}\n",
        "projects: [b\n",
        "language: tlh\n",
        "state_db_url: nonsense\n",
    ],
)
def test_no_word_about_a_configuration_that_is_wrong_escapes(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "p.yml"
    file.write_text(text, encoding="utf-8")
    (tmp_path / "bad.yml").write_text("clases: {}\nclasses:\n  Pump: {fields: {tag: {column: 3}}}\n")
    found = []
    for words in (["check-config"], ["pull", NAME], ["settings", "show"]):
        run(["--lang", PSEUDO, "--config", str(file), *words])
        out, err = capfd.readouterr()
        found += [line for line in (out + err).splitlines() if escaped(line)]
    assert found == []


def test_inspect_says_what_a_file_is_in_the_language_asked_for(dirty: World) -> None:
    out = dirty.cli("--lang", PSEUDO, "inspect", str(dirty.dcf), as_json=False).out
    assert "⟦Engine" in out and "⟦Tags" in out and "⟦Without rows" in out


def test_no_sentence_of_an_export_escapes(dirty: World, tmp_path: Path) -> None:
    dirty.pull()
    path = tmp_path / "findings.xlsx"
    dirty.cli("--lang", PSEUDO, "findings", NAME, "--export", str(path))
    book = openpyxl.load_workbook(path)
    cells = [str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row if cell.value]
    heads = [str(cell.value) for sheet in book for cell in sheet[1]]
    assert len(cells) > 200 and all(head.startswith("⟦") for head in heads)
    assert [cell for cell in cells if escaped(cell)] == []
    assert all(sheet.title.startswith("⟦") for sheet in book)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/sync/status", None),
        ("GET", "/api/v1/nothing", None),
        ("DELETE", "/api/v1/sync/status", None),
        ("GET", f"/api/v1/projects/{NAME}", None),
        ("GET", "/api/v1/plans/nothing-of-this-name", None),
        ("POST", "/api/v1/sync/pull", {"project": NAME}),
        ("POST", "/api/v1/sync/pull", "x" * 1_100_000),
        ("POST", "/api/v1/sync/pull", {"entity_types": ["pumps"]}),
        ("POST", "/api/v1/sync/pull", "not json"),
    ],
)
def test_no_sentence_of_a_refusal_escapes(
    dirty: World, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: object
) -> None:
    for name, text in dirty.environment({}).items():
        monkeypatch.setenv(name, text)
    key = dirty.cli("keys", "create", "tester", "--scopes", "read,sync").json["key"]
    with TestClient(create_app(make_app(str(dirty.config)))) as client:
        for headers in ({}, {"X-API-Key": key}):
            answer = client.request(
                method,
                path,
                headers={"Accept-Language": PSEUDO, "Content-Type": "application/json", **headers},
                content=body if isinstance(body, str) else json.dumps(body) if body else None,
            )
            assert answer.status_code >= 400 or path.endswith(("status", NAME)), answer.text
            told = [
                sentence for sentence in sentences(answer.json()) if "⟦" not in sentence or escaped(sentence)
            ]
            assert told == []


def test_a_page_says_the_same_in_both_languages_and_no_english_in_french() -> None:
    for texts in (pages._WELCOME, pages._REFERENCE, pages._LIMITS):
        assert texts["en"].keys() == texts["fr"].keys()
    document = description.described(with_routes().openapi(), "fr")
    for page in (pages.welcome("1", "fr", list(pages._LIMITS["en"])), pages.reference("fr")):
        english = [
            text
            for texts in (pages._WELCOME, pages._REFERENCE, pages._LIMITS)
            for text in texts["en"].values()
        ]
        assert 'lang="fr"' in page
        assert [text for text in english if len(text.split()) > 1 and text in page] == []
    plain = pages.plain_reference(document, "fr")
    assert "Appliquer un plan" in plain and "Aucune clé valide." in plain and "<th>nom" in plain


# ---------------------------------------------------------------- one journey, both languages

SAME = frozenset(
    {
        "code", "op", "status", "outcome", "direction", "trigger", "field", "class", "column", "entity", "result", "check",
        "level", "kind", "exit_code", "needs", "why_code", "suggested", "side",
    }
)  # fmt: skip
"""Members that are codes: the very same in every language."""


def shape(document: Any, name: str = "") -> Any:
    """A document without its values: members, order, codes; a sentence is only known to be one."""
    if isinstance(document, dict):
        return {key: shape(value, key) for key, value in sorted(document.items())}
    if isinstance(document, list):
        return [shape(one, name) for one in document]
    if isinstance(document, bool) or name in SAME or document is None:
        return document
    return type(document).__name__


def journey(world: World, lang: str) -> Iterator[tuple[str, Said]]:
    """A pull, edits on both sides, a plan looked at, a run, a question, a workbook, mistakes: for programs and for people."""

    def said(*words: str) -> Iterator[tuple[str, Said]]:
        yield words[0], world.cli("--lang", lang, *words)
        if words[0] not in ("pull", "now", "plan", "workbook"):
            yield f"{words[0]} (people)", world.cli("--lang", lang, *words, as_json=False)

    yield from said("doctor", NAME)
    yield from said("pull", NAME)
    valves = world.items("valves")
    redescribed(world, valves[0].pnpid, "Seen by a designer")
    user_describes(world, valves[0].pnpid, "Seen by a user")
    user_describes(world, valves[1].pnpid, "Only a user")
    retagged(world, valves[2].pnpid, "HV-7777")
    [plan] = said("plan", NAME)
    yield plan
    yield from said("show", plan[1].json["plan_id"])
    yield from said("now", NAME)
    for words in (
        ("runs", NAME), ("conflicts", NAME), ("waiting", NAME), ("findings", NAME), ("quarantine", "list", NAME),
        ("links", "propose", NAME), ("schema", "show", NAME), ("mapping", "diff", NAME), ("check-config",),
        ("show", "no-such-plan"), ("resolve", "999", "plant3d"), ("runs", "no-such-project"), ("apply", "no-such-plan"),
    ):  # fmt: skip
        yield from said(*words)
    yield from said("workbook", NAME, "-o", str(world.folder / "cells.xlsx"))


def sheets(path: Path) -> dict[str, list[list[object]]]:
    return {
        sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()]
        for sheet in openpyxl.load_workbook(path)
    }


def test_one_journey_has_the_same_structure_in_both_languages_and_no_english_in_french(
    make_small: MakeWorld,
) -> None:
    english_world, french_world = (make_small(name=name, write="workbook") for name in ("english", "french"))
    english, french = list(journey(english_world, "en")), list(journey(french_world, "fr"))
    assert [name for name, _ in english] == [name for name, _ in french]
    untranslated = []
    for (name, one), (_, other) in zip(english, french, strict=True):
        assert one.code == other.code, (name, one.out, other.out)
        if "(people)" in name:
            assert len(one.out.splitlines()) == len(other.out.splitlines()), (name, one.out, other.out)
            continue
        assert shape(json.loads(one.out)) == shape(json.loads(other.out)), name
        told = set(sentences(json.loads(one.out)))
        untranslated += [(name, text) for text in sentences(json.loads(other.out)) if text in told]
    assert untranslated == []
    one, other = (sheets(world.folder / "cells.xlsx") for world in (english_world, french_world))
    assert list(one) == list(other)
    for title, rows in one.items():
        assert [len(row) for row in rows] == [len(row) for row in other[title]], title
        assert [[value is None for value in row] for row in rows] == [
            [value is None for value in row] for row in other[title]
        ]
    guide = [str(row[0]) for row in one["plant3d-sync"]], [str(row[0]) for row in other["plant3d-sync"]]
    assert not set(filter(lambda text: len(text.split()) > 3, guide[0])) & set(guide[1])


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
