"""The door for texts: what passes, what is put together, what is refused and how it is named."""

from __future__ import annotations

import codecs

import pytest

from plant3d_sync.connectors.plant3d.reading.sqlserver_values import converter_for
from plant3d_sync.errors import ConfigError
from plant3d_sync.texts import NotText, check_words, cleaned, decoded, fault, paired, shown

FIRE = "\U0001f525"


def test_a_pair_of_surrogates_is_the_character_it_stands_for() -> None:
    assert paired("a\ud83d\udd25b\ud83d\udd25") == f"a{FIRE}b{FIRE}"
    assert paired("\udd25\ud83d") == "\udd25\ud83d", "the wrong way round it stands for nothing"
    assert paired(f"é {FIRE}") == f"é {FIRE}"


@pytest.mark.parametrize("text", ["", "é", FIRE, "P-101±", "a b", "\u00a0", "\ufffd"])
def test_texts_pass(text: str) -> None:
    assert fault(text) == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ab\ud83d", "U+D83D, character 3"),
        ("\udcff", "byte 0xff"),
        ("a\x00", "NUL character (U+0000, character 2)"),
        ("a\nb", "line break"),
        ("\x1b[31m", "control character (U+001B"),
        ("\x85", "U+0085"),
        ("\u2028", "U+2028"),
        ("\ufffe", "U+FFFE"),
    ],
)
def test_what_is_no_text_is_named(text: str, named: str) -> None:
    assert named in fault(text)


def test_line_breaks_may_be_allowed_but_never_nul_or_half_a_character() -> None:
    assert fault("a\nb", controls=False) == ""
    assert "NUL" in fault("\n\x00", controls=False)
    assert "U+D83D" in fault("\n\ud83d", controls=False)


def test_a_tree_is_cleaned_and_every_fault_has_its_place() -> None:
    problems: list[str] = []
    tree = {"a": ["ok", "\ud83d\udd25", {"b": "\ud83d"}], "\udd25": 1, "n": None, "t": True, 5: "x"}
    got = cleaned(tree, problems)
    assert got["a"][1] == FIRE and got["n"] is None and got["t"] is True and got[5] == "x"
    assert [problem.split(" holds")[0] for problem in problems] == ["a[2].b", "a name"]
    for problem in problems:
        problem.encode()


def test_a_file_is_decoded_by_its_mark_and_else_as_utf_8() -> None:
    assert decoded("é".encode()) == "é"
    assert decoded(codecs.BOM_UTF8 + b"a") == "a"
    assert decoded("é".encode("utf-16")) == "é"
    assert decoded(codecs.BOM_UTF16_BE + "é".encode("utf-16-be")) == "é"
    with pytest.raises(NotText, match="line 2 is not UTF-8"):
        decoded(b"ok\ncaf\xe9")


def test_a_message_can_hold_what_is_no_character() -> None:
    assert shown("a\ud83d") == "a\\ud83d"


def test_the_words_of_a_command_line() -> None:
    assert check_words(["a", "\ud83d\udd25", "two\nlines"]) == ["a", FIRE, "two\nlines"]
    with pytest.raises(ConfigError, match="Word 2") as refused:
        check_words(["a", "x\udcff"])
    refused.value.message.encode()


def test_half_a_character_in_a_cell_of_sql_server_makes_the_cell_unknown_not_the_run_fail() -> None:
    convert = converter_for([("Description", "nvarchar")], as_bytes=True)
    cells = ["a" + FIRE, "a\ud83d", "é"]
    stored = convert([[cell.encode("utf-16-le", "surrogatepass")] for cell in cells])
    assert [row[0] for row in stored] == [f"a{FIRE}".encode(), b"a\xed\xa0\xbd", "é".encode()]
