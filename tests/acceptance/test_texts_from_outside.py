"""Texts from outside are looked at where they enter: a pair of surrogates is a character, half of one is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.webapp import desk
from tests.support.world import NAME, SOURCE, MakeWorld, Said, World

FIRE = "\U0001f525"
COMMANDS = [("check-config",), ("doctor", NAME), ("pull", NAME), ("settings", "show")]


@pytest.fixture
def small(make_world: MakeWorld) -> World:
    return make_world(items=20)


def as_json(world: World, **project: object) -> None:
    """The configuration as a JSON library writes it: everything beyond ASCII as `\\uXXXX`, in halves if need be."""
    document = {
        "state_db_url": f"sqlite:///{world.state}",
        "synapse": {"url": world.url},
        "projects": {NAME: {"synapse_project_id": world.uuid, "source": world.dcf.name} | project},
    }
    world.config.write_text(json.dumps(document), encoding="ascii")


def refused(said: Said, *facts: str) -> None:
    assert "Traceback" not in said.err, said.err
    assert said.code == 78, (said.code, said.out, said.err)
    text = json.dumps(said.json["error"], ensure_ascii=False)
    assert all(fact in text for fact in facts), text


def test_a_path_with_an_emoji_works_as_a_json_library_writes_it(small: World) -> None:
    small.dcf.rename(small.folder / f"plant {FIRE}.dcf")
    as_json(small, source=f"plant {FIRE}.dcf")
    assert "\\ud83d\\udd25" in small.config.read_text(encoding="ascii")
    for words in COMMANDS:
        said = small.cli(*words)
        assert said.code in (0, 1) and "Traceback" not in said.err, (words, said.out, said.err)
    assert small.pull().code == 0
    assert len(small.live()) > 0


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("source", "plant \ud83d.dcf", "U+D83D"),
        ("source", "plant \udd25\ud83d.dcf", "U+DD25"),
        ("source", "plant\x00.dcf", "NUL"),
        ("mapping", ["stock", "a\nb.yml"], "line break"),
        ("drift", {"desc\ud83d": "restore"}, "U+D83D"),
    ],
    ids=["half", "halves the wrong way round", "NUL", "line break", "name"],
)
def test_what_is_no_text_in_the_configuration_is_named(
    small: World, words: tuple[str, ...], name: str, value: object, fact: str
) -> None:
    as_json(small, **{name: value})
    refused(small.cli(*words), f"projects.{NAME}.{name}", fact)


@pytest.mark.parametrize(
    "data",
    [b"projects: {p: {source: caf\xe9}}\n", b"\xff\xfe\x00", b"when: 2024-99-99\n", b"[" * 5000],
    ids=["latin-1", "half of UTF-16", "a date that is none", "endless nesting"],
)
def test_a_configuration_that_cannot_be_read_as_text_is_refused(small: World, data: bytes) -> None:
    small.config.write_bytes(data)
    refused(small.cli("check-config"), "not")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_configuration(small: World, encoding: str) -> None:
    small.config.write_bytes(small.config.read_text(encoding="utf-8").encode(encoding))
    assert small.pull().code == 0


def test_half_a_character_in_a_mapping_is_named_with_its_line(small: World) -> None:
    text = '{"version": 1,\n "extends": "stock",\n "classes": {"Pumps\\ud83d": {"entity": "equipment"}}}'
    (small.folder / "own.yml").write_text(text, encoding="ascii")
    small.configure(mapping=["own.yml"])
    refused(small.cli("check-config"), "U+D83D", "own.yml:3")
    refused(small.pull(), "U+D83D", "own.yml:3")


@pytest.mark.skipif(os.name != "posix", reason="only here are variables and arguments bytes")
@pytest.mark.parametrize(
    ("variable", "argument"),
    [
        (b"P3DSYNC_CONFIG", None),
        (b"SYNAPSE_API_URL", None),
        (b"SYNAPSE_API_KEY", None),
        (None, b"no\xffsuch"),
    ],
)
def test_bytes_that_are_no_text_in_variables_and_arguments_are_named(
    small: World, variable: bytes | None, argument: bytes | None
) -> None:
    environ = {
        **os.environb,
        b"PYTHONPATH": os.fsencode(SOURCE),
        b"SYNAPSE_API_KEY": b"k",
        b"PYTHONUTF8": b"1",
    }
    if variable is not None:
        environ[variable] = b"bad\xff"
    words = [b"--config", os.fsencode(small.config)] if variable != b"P3DSYNC_CONFIG" else []
    done = subprocess.run(
        [sys.executable, "-m", "plant3d_sync", *words, b"--json", b"pull", argument or NAME.encode()],
        capture_output=True,
        cwd=small.folder,
        env=environ,
        timeout=120,
        check=False,
    )
    said = Said(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())
    refused(said, "0xff", variable.decode() if variable else "Word 5")


@pytest.mark.parametrize("secret", [b"\xff\xfe\xfd", b"caf\xe9", b"a\nb"])
def test_a_secret_file_that_is_no_text_is_named(small: World, tmp_path: Path, secret: bytes) -> None:
    (tmp_path / "key").write_bytes(secret)
    said = small.cli("pull", NAME, env={"SYNAPSE_API_KEY": "", "SYNAPSE_API_KEY_FILE": str(tmp_path / "key")})
    refused(said, "SYNAPSE_API_KEY_FILE")
    assert secret.decode("latin-1") not in said.out + said.err


@pytest.mark.parametrize(
    "text", [b"\\ud83d", b"a\\u0000b", b"\xed\xa0\xbd"], ids=["half", "NUL", "not UTF-8"]
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/sync/pull", b'{"project_id": "%s"}'),
        ("/api/v1/sync/push", b'{"project_id": "mine", "asset_ids": ["%s"]}'),
        ("/api/v1/keys", b'{"name": "%s", "scopes": ["read"]}'),
        ("/api/v1/conflicts/CONFLICT/resolve", b'{"resolution": "manual", "manual_value": "%s"}'),
        ("/api/v1/conflicts/CONFLICT/resolve", b'{"resolution": "plant3d", "note": "%s"}'),
        ("/api/v1/sync/pull", b'{"project_id": "mine", "%s": 1}'),
    ],
)
def test_the_web_service_refuses_a_body_that_holds_no_text(
    tmp_path: Path, path: str, body: bytes, text: bytes
) -> None:
    with desk(tmp_path) as service:
        address = path.replace("CONFLICT", service.conflict()) if "CONFLICT" in path else path
        headers = service.headers(**{"Content-Type": "application/json"})
        answer = service.client.post(address, content=body.replace(b"%s", text), headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "validation"
