"""A scheduled pull starts every few minutes: it imports and makes what a pull needs, and nothing for other commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plant3d_sync.cli.main import DAILY, UsageProblem, command_line, run

NOT_FOR_A_PULL = (
    "alembic",
    "fastapi",
    "openpyxl",
    "psycopg",
    "redis",
    "rq",
    "structlog",
    "sqlalchemy.dialects.postgresql",
    "plant3d_sync.cli.write_back_commands",
    "plant3d_sync.connectors.plant3d.writing.writer",
    "plant3d_sync.connectors.synapse_v02",
    "plant3d_sync.sample",
    "plant3d_sync.synapse_dev",
    "plant3d_sync.usecases.findings",
    "plant3d_sync.usecases.findings_export",
    "plant3d_sync.usecases.linking",
    "plant3d_sync.usecases.naming",
    "plant3d_sync.web",
    "plant3d_sync.worker",
)


def test_a_pull_loads_nothing_that_only_other_commands_need() -> None:
    code = (
        "import sys; from plant3d_sync.cli.main import run; "
        "assert run(['pull', '--help']) == 0; "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "plant3d_sync.run.engine" in loaded  # what a pull is made of is there, help or not
    assert sorted(loaded.intersection(NOT_FOR_A_PULL)) == []


@pytest.mark.parametrize("name", sorted(DAILY))
def test_a_daily_command_is_parsed_alone_as_among_all_others(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["version-of-nothing"]) == 2  # every group is there now
    everything = command_line([])
    capsys.readouterr()
    assert set(command_line([name]).commands) == {name}
    assert set(everything.commands) > DAILY
    for words in ([name, "--help"], [name, "--no-such-option"], ["--json", name, "--no-such-option"]):
        alone = run(words), *capsys.readouterr()
        if words[-1] == "--help":
            everything.main(args=words, prog_name="plant3d-sync", standalone_mode=False)
            assert alone[0] == 0 and alone[1] == capsys.readouterr().out != ""
        else:
            with pytest.raises(UsageProblem) as refused:
                everything.main(args=words, prog_name="plant3d-sync", standalone_mode=False)
            assert alone[0] == 2 and refused.value.format_message() in alone[2]


def test_what_parses_a_command_is_made_once_for_each_language(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, set[str]] = {}
    for words in (["pull", "--help"], ["--lang", "fr", "pull", "--help"]) * 2:
        assert run(words) == 0
        told.setdefault(words[0], set()).add(capsys.readouterr().out)
    assert command_line(["pull"]) is command_line(["pull", "mine", "--json"])
    assert [len(one) for one in told.values()] == [1, 1] and told["pull"] != told["--lang"]
