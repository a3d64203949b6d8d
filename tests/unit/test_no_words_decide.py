"""What is done never hangs on the words of a message: they are translated and reworded, and hold names of others.

An error carries what others decide by: a number, a code, a field.
"""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError, OperationalError

import plant3d_sync
from plant3d_sync.cli.checking import Found
from plant3d_sync.connectors.plant3d.errors import undecoded
from plant3d_sync.connectors.plant3d.sqlserver_errors import LOGIN_FAILED
from plant3d_sync.connectors.plant3d.writing.write_sqlserver import SqlServerCells
from plant3d_sync.errors import ConfigError, RetryLaterError, StateRefused
from plant3d_sync.mapping.file import Problem, Severity, invalid
from plant3d_sync.state import trouble
from plant3d_sync.state.store import refuse_foreign_file

SOURCE = Path(plant3d_sync.__file__).parent
NUMBERS = [*sorted(LOGIN_FAILED), 1205, 3906, 9002, 229, 207, 2628, 50000, None]


@pytest.mark.parametrize("name", ["plant on SQL01", "plant named Nothing on SQL01"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_database_that_cannot_be_written_says_once_that_nothing_was(name: str, number: int | None) -> None:
    store = SqlServerCells(create_engine("sqlite://"), deadline_ms=1, owned=True, name=name)
    error = OperationalError("x", {}, Exception(number, "whatever the server says"))
    said = store._whole(error).message
    assert said.count("Nothing was written") == 1, said


def test_a_problem_of_the_settings_is_told_whole_but_for_what_is_said_once_of_all() -> None:
    found = Found()
    found.add(ConfigError("The folder P:\\A. Nothing\\B is not there. Nothing was read."))
    found.add(ConfigError("The folder P:\\A. Nothing\\B is not there. It was left."))
    assert found.problems == [
        "The folder P:\\A. Nothing\\B is not there",
        "The folder P:\\A. Nothing\\B is not there. It was left.",
    ]


def test_each_problem_of_a_mapping_is_told_and_no_line_of_another_error_is_lost() -> None:
    one = Problem(severity=Severity.ERROR, code="x", message="no such field", file="m.yml", line=3)
    found = Found()
    found.add(invalid([one, one]), "project mine: ")
    found.add(ConfigError("The file a\nb.yml is not usable."))
    assert found.problems == [
        "project mine: m.yml:3: no such field",
        "project mine: m.yml:3: no such field",
        "The file a\nb.yml is not usable.",
    ]


def of_sqlite(statement: str, path: Path | str = ":memory:") -> sqlite3.DatabaseError:
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.DatabaseError) as caught:
        db.execute("CREATE TABLE IF NOT EXISTS t (a TEXT)")
        db.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
        db.execute(statement).fetchall()
    return caught.value


def test_a_text_that_is_no_unicode_is_told_from_a_name_that_sounds_like_it() -> None:
    assert undecoded(of_sqlite("SELECT a FROM t"))
    assert not undecoded(of_sqlite("SELECT could_not_decode FROM t"))


def damaged(path: Path) -> Path:
    """A file of SQLite whose first page says so, and nothing else is true."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")
        db.commit()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    return path


def test_a_damaged_state_database_is_told_from_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(StateRefused) as broken:
        refuse_foreign_file(damaged(tmp_path / "state.db"))
    assert broken.value.error_code == "state_damaged"
    other = tmp_path / "malformed.db"
    other.write_bytes(b"a letter " * 1000)
    with pytest.raises(ConfigError) as foreign:
        refuse_foreign_file(other)
    assert foreign.value.error_code == "state_not_ours"


class Told(sqlite3.OperationalError):
    """An error of SQLite with its number, in the words of nobody."""

    def __init__(self, number: int) -> None:
        super().__init__("x")
        self.sqlite_errorcode = number


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "state_full"),
        (sqlite3.SQLITE_READONLY, "state_read_only"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "state_read_only"),
        (sqlite3.SQLITE_CORRUPT, "state_damaged"),
        (sqlite3.SQLITE_NOTADB, "state_damaged"),
        (sqlite3.SQLITE_BUSY, "state_unavailable"),
    ],
)
def test_the_state_database_is_judged_by_the_number_of_sqlite(number: int, code: str) -> None:
    meant = trouble.translated(OperationalError("x", {}, Told(number)), "state.db", str)
    assert meant is not None
    assert meant.error_code == code


def test_a_path_that_sounds_like_a_full_disk_fills_no_state_database() -> None:
    named = sqlite3.OperationalError("unable to open database file: /full disk/state.db")
    named.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    meant = trouble.translated(DatabaseError("x", {}, named), "state.db", str)
    assert isinstance(meant, RetryLaterError | None)
    assert meant is None or meant.error_code != "state_full"


# ---------------------------------------------------------------- the whole source

NO_NUMBER = {
    "cli/checking.py": {". Nothing "},
    "state/store.py": {"no such table"},
    "connectors/synapse_v02/http.py": {"inactive"},
    "connectors/synapse_v02/write.py": {"assets_pkey"},
    "connectors/plant3d/sqlserver_errors.py": {
        "[FreeTDS]",
        "[SQL Server]",
        "[SQL Server]Cannot open database",
        "Can't open lib",
    },
}
"""Words of others that come without a number, or are a name and no sentence; and one that only shortens a list."""
CUTS = {
    "split",
    "replace",
    "partition",
    "rpartition",
    "startswith",
    "endswith",
    "removesuffix",
    "find",
    "index",
}


def of_a_message(node: ast.expr) -> bool:
    """Whether this is the text of an error: `error.message`, `str(error)`, with whatever is done to it."""
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and one.attr in ("message", "hint", "detail"):
            return True
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "str" and one.args:
            named = one.args[0].attr if isinstance(one.args[0], ast.Attribute) else None
            if named == "orig" or (isinstance(one.args[0], ast.Name) and "err" in one.args[0].id):
                return True
        if isinstance(one, ast.Name) and one.id in ("message", "lowered", "words"):
            return True
    return False


def a_word(node: Any) -> str | None:
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return text if sum(char.isalpha() for char in text) > 3 and not text.startswith("--") else None


def words_that_decide(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = node.left, node.comparators[0]
            word = a_word(left) if isinstance(node.ops[0], ast.In | ast.NotIn) else None
            if word and of_a_message(right):
                yield word
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CUTS:
            word = a_word(node.args[0]) if node.args else None
            if word and of_a_message(node.func.value):
                yield word


def test_nowhere_in_the_source_does_a_word_of_a_message_decide() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), word)
        for path in SOURCE.rglob("*.py")
        for word in words_that_decide(ast.parse(path.read_text(encoding="utf-8")))
    }
    allowed = {(name, word) for name, words in NO_NUMBER.items() for word in words}
    assert found <= allowed, sorted(found - allowed)
    assert found == allowed, f"no longer there: {sorted(allowed - found)}"
