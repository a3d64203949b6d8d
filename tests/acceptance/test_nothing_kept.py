"""Who asks for something that cannot be there makes no state database: a mistyped id leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import small_worlds
from tests.support.world import NAME, MakeWorld


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    """Worlds over a small project, on a machine where no command has run."""
    made = small_worlds(tmp_path, reference_synapse)
    return lambda **options: made(**options).without_state()


@pytest.mark.parametrize(
    "words",
    [
        ("show", "7f3a9c"),
        ("apply", "7f3a9c"),
        ("undo", "7f3a9c"),
        ("conflict", "7f3a9c"),
        ("resolve", "7f3a9c", "synapse", "--note", "why"),
        ("keys", "revoke", "7f3a9c"),
        ("discard", "7f3a9c"),
    ],
    ids=lambda words: words[0],
)
def test_an_unknown_id_makes_no_state_database(make_small: MakeWorld, words: tuple[str, ...]) -> None:
    world = make_small()
    assert not world.state.exists()
    said = world.cli(*words)
    assert said.code == 2, (said.code, said.out, said.err)
    assert "7f3a9c" in said.json["error"]["message"]
    assert list(world.folder.glob(f"{world.state.name}*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("runs", NAME),
        ("findings", NAME),
        ("waiting", NAME),
        ("quarantine", "list", NAME),
        ("conflicts", NAME),
        ("resolve", "--all", "synapse", "--project", NAME),
        ("keys", "list"),
    ],
    ids=lambda words: words[0],
)
def test_a_list_of_what_was_never_kept_is_empty_and_makes_no_state_database(
    make_small: MakeWorld, words: tuple[str, ...]
) -> None:
    world = make_small()
    said = world.cli(*words)
    assert (said.code, said.json["total"]) == (0, 0)
    assert not world.state.exists()


def test_an_audit_trail_that_was_never_kept_is_whole_and_makes_no_state_database(
    make_small: MakeWorld, tmp_path: Path
) -> None:
    world = make_small()
    said = world.cli("audit", "verify")
    assert (said.code, said.json) == (0, {"entries": 0, "broken": [], "not_covered": {}})
    assert not world.state.exists()
    world.pulled()
    exported = tmp_path / "audit.jsonl"
    assert world.cli("audit", "export", "--output", str(exported)).code == 0
    world.state.rename(tmp_path / "gone.db")
    said = world.cli("audit", "verify", "--against", str(exported))
    assert (said.code, said.error) == (78, "audit_broken"), "what is gone is told all the same"
    assert list(world.folder.glob(f"{world.state.name}*")) == []


def test_what_is_kept_is_found_as_before(make_small: MakeWorld) -> None:
    world = make_small()
    run = world.pulled()["run_id"]
    assert world.cli("show", run).json["run_id"] == run
    assert world.cli("runs", NAME).json["total"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("schema", "show", NAME),
        ("mapping", "check", "mine.yml", "--project", NAME),
        ("mapping", "diff", NAME),
        ("links", "propose", NAME),
        ("doctor", NAME),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_a_look_at_a_project_that_never_ran_makes_no_state_database(
    make_small: MakeWorld, words: tuple[str, ...]
) -> None:
    world = make_small()
    (world.folder / "mine.yml").write_text("version: 1\nextends: stock\n", encoding="utf-8")
    said = world.cli(*(str(world.folder / word) if word == "mine.yml" else word for word in words))
    assert said.code == 0, (said.code, said.out, said.err)
    assert list(world.folder.glob(f"{world.state.name}*")) == []
