"""Sentences for people, in English and French: what was put into a template is found again, and nothing escapes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import orjson
import pytest

from docs import texts
from plant3d_sync import language
from plant3d_sync.cli import workbooks
from plant3d_sync.cli.main import run
from plant3d_sync.cli.output import ProgressLine
from plant3d_sync.connectors.plant3d.writing import workbook
from plant3d_sync.language import PSEUDO, Catalogue, accepted, known, of_environment, speaking, tr, tr_members
from plant3d_sync.usecases.conflicts import KINDS, SUGGESTED
from plant3d_sync.web import pages

ROOT = Path(__file__).resolve().parents[2]
PLURALS = {one.id: one.string for one in texts.catalogue("fr") if isinstance(one.id, tuple)}
HEADS = {str(one.id): str(one.string) for one in texts.catalogue("fr") if one.context == language.HEAD}
FRENCH = {
    str(one.id): str(one.string)
    for one in texts.catalogue("fr")
    if one.id and one.context is None and isinstance(one.id, str)
}
PLACES = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("fr_CA.UTF-8", "fr"),
        (" FR ", "fr"),
        ("en_US", "en"),
        ("C.UTF-8", None),
        ("POSIX", None),
        ("de", None),
        ("", None),
        (None, None),
    ],
)
def test_a_tag_names_a_language_we_speak(tag: str | None, meant: str | None) -> None:
    assert known(tag) == meant


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("de, en;q=0.3, fr;q=0.7", "fr"),
        ("de", None),
        ("fr;q=0, en", "en"),
        ("fr;q=x", None),
        ("*", None),
        (None, None),
        ("," * 5000, None),
    ],
)
def test_a_browser_gets_the_best_of_its_languages(header: str | None, meant: str | None) -> None:
    assert accepted(header) == meant


def test_the_environment_is_asked_in_the_order_of_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert of_environment() is None
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setenv("LC_ALL", "fr_CA.UTF-8")
    assert of_environment() == "fr"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert of_environment() is None, "C says nothing about a language"


def test_a_language_has_all_that_stands_outside_of_its_catalogue() -> None:
    """What to fill in for another one; see CONTRIBUTING.md."""
    spoken = set(language.LANGUAGES)
    assert {language.DEFAULT, *texts.PLURAL} == spoken
    assert {path.stem for path in language.LOCALE.glob("*.po")} == spoken - {language.DEFAULT}
    for page in (pages._WELCOME, pages._REFERENCE, pages._LIMITS):
        assert set(page) == spoken
    for words in (workbook._DRAWING_HEADERS, workbook._CLASS_HEADERS, workbook._WAS, workbook._EMPTY):
        assert set(words) == spoken
    assert set(get_args(workbook.Language)) == spoken


@pytest.mark.parametrize("spoken", language.LANGUAGES)
def test_a_workbook_speaks_every_language_of_the_program(spoken: str) -> None:
    assert workbooks.language_of(spoken) == spoken
    with speaking(spoken):
        assert workbooks.language_of(None) == spoken


def test_the_catalogue_knows_every_message_of_the_source_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "docs/texts.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `python docs/texts.py`, then translate:\n{done.stdout[-3000:]}"


@pytest.mark.parametrize("spoken", texts.PLURAL)
def test_a_translation_has_the_same_places_as_its_message(spoken: str) -> None:
    catalogue = texts.catalogue(spoken)
    wrong = {}
    for one in catalogue:
        both, forms = (one.id, one.string) if isinstance(one.id, tuple) else ((one.id,), (one.string,))
        if one.id and all(forms):
            assert len(forms) == (catalogue.num_plurals if len(both) > 1 else 1), one.id
            places = set(PLACES.findall(both[-1]))
            wrong |= {form: both for form in forms if set(PLACES.findall(form)) != places}
    assert not wrong


def test_every_message_that_lists_the_languages_names_each_of_them() -> None:
    lists = [
        message
        for _, message in texts.messages()
        if isinstance(message, str) and re.search(r"\ben(,| or) [a-z]{2}\b", message)
    ]
    assert len(lists) >= 4
    for message in lists:
        assert set(language.LANGUAGES) <= set(re.findall(r"\b[a-z]{2}\b", message)), message


def test_what_was_put_into_a_message_is_found_again() -> None:
    """Read back in the made-up language, every message is recognised, whatever stands in its places."""
    catalogue = Catalogue.read(PSEUDO)
    values = ["P-101", "l'eau (µ) 100 %", "0", "{brace}", "a, b and 3 more"]
    unknown = []
    for number, english in enumerate([*FRENCH, *(one for both in PLURALS for one in both)]):
        value = values[number % len(values)]
        filled = language._unescaped(
            PLACES.sub(lambda place, value=value: "7" if place[1] == "n" else value, english)  # type: ignore[misc]
        )
        if catalogue.said(filled) is None:
            unknown.append(filled)
    assert not unknown


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("0 rows were set aside.", "0 ligne a été mise de côté."),
        ("1 row was set aside.", "1 ligne a été mise de côté."),
        ("2 rows were set aside.", "2 lignes ont été mises de côté."),
        ("1,234 rows were set aside.", "1,234 lignes ont été mises de côté."),
        ("The mapping has 1 problem; nothing was read or written.",
         "La correspondance a 1 problème ; rien n'a été lu ni écrit."),
        ("control problems", "control problems"),
    ],
)  # fmt: skip
def test_each_language_has_its_own_form_for_a_number(english: str, french: str) -> None:
    """English says `0 rows`, French `0 ligne`: the form follows the number, not the English sentence."""
    with speaking("fr"):
        assert tr(english) == french


def test_no_message_says_a_number_with_a_plural_in_brackets() -> None:
    ours = [text for text in FRENCH if text not in texts.PARSER]
    said = [*ours, *FRENCH.values(), *(form for both, forms in PLURALS.items() for form in (*both, *forms))]
    assert [text for text in said if "(s)" in text] == []


def test_a_word_that_stands_alone_is_no_word_of_a_sentence() -> None:
    """The head of a column is translated, the same word as somebody's value is not."""
    with speaking("fr"):
        assert language.heading("tag") == "repère"
        assert tr("tag") == "tag"
    assert language.heading("tag") == "tag"


def test_a_sentence_put_into_another_one_is_translated_too() -> None:
    messages = {
        "The tag {tag} is held. {end}": "L'étiquette {tag} est prise. {end}",
        "Nothing was done.": "Rien n'a été fait.",
    }
    assert (
        Catalogue(messages).said("The tag P-1 is held. Nothing was done.")
        == "L'étiquette P-1 est prise. Rien n'a été fait."
    )


def test_sentences_that_follow_one_another_are_translated_one_by_one() -> None:
    catalogue = Catalogue({"All was read.": "Tout a été lu.", "Nothing was done.": "Rien n'a été fait."})
    assert catalogue.said("All was read. Nothing was done.") == "Tout a été lu. Rien n'a été fait."
    assert catalogue.said("Somebody else's words.") is None


@pytest.mark.parametrize(
    "closing",
    [
        "Nothing was written for this item.",
        "The value was not written into Plant 3D.",
        "Nothing was written.",
    ],
)
def test_no_message_takes_the_sentence_behind_it_for_a_part_of_its_own(closing: str) -> None:
    """What ends with a parameter would: `{found} characters, the column holds {length}.` and what follows."""
    sentences = [one for one in FRENCH if one.endswith("}.")]
    assert len(sentences) > 40
    with speaking("fr"):
        for one in sentences:
            told = PLACES.sub("42", one).replace("{{", "{").replace("}}", "}")
            assert closing not in tr(f"{told} {closing}"), one


def test_a_message_that_ends_with_a_known_sentence_is_not_cut_before_it() -> None:
    """A shorter message about any kind of thing would take the rest of this one for a name."""
    with speaking("fr"):
        told = tr("There is no project 'x' in the configuration. Nothing was done.")
    assert told == "Il n'y a pas de projet 'x' dans la configuration. Rien n'a été fait."


def test_why_an_item_was_skipped_is_translated_to_its_last_word() -> None:
    with speaking("fr"):
        told = tr("No segment of this line group is drawn, and it has no number. Skipped.")
    assert "Skipped" not in told and told.endswith("Omis.")


def test_codes_names_and_values_stay_as_they_are() -> None:
    document = {
        "code": "untagged",
        "tag": "Nothing was done.",
        "errors": [{"message": "Nothing was done.", "hint": "", "field": "tag"}],
        "attributes": {"title": "Nothing was done."},
    }
    with speaking("fr"):
        said = tr_members(document, language.TOLD)
    assert said["attributes"] == document["attributes"]
    assert said["code"] == "untagged" and said["tag"] == "Nothing was done."
    assert said["errors"][0] == {"message": FRENCH["Nothing was done."], "hint": "", "field": "tag"}
    assert tr_members(document, language.TOLD) is document


def test_what_is_said_of_a_connection_is_translated_though_it_stands_under_the_name_of_a_side() -> None:
    document = {
        "connections": {"plant3d": {"status": "error", "message": "never checked"}},
        "plant3d": {"message": "never checked"},
    }
    with speaking("fr"):
        said = tr_members(document, language.TOLD)
    assert said["connections"]["plant3d"] == {"status": "error", "message": FRENCH["never checked"]}
    assert said["plant3d"] == document["plant3d"]


def spoken_by(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> tuple[int, dict[str, object], str]:
    code = run(list(words))
    out, err = capfdbinary.readouterr()
    return code, orjson.loads(out), err.decode()


def test_a_command_speaks_the_language_of_its_option_and_of_the_environment(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "plant3d-sync.yml"
    file.write_text(f"state_db_url: sqlite:///{tmp_path}/state.db\n", encoding="utf-8")
    command = ("--config", str(file), "--json", "runs", "nowhere")
    _, english, _ = spoken_by(capfdbinary, *command)
    _, french, told = spoken_by(capfdbinary, "--lang", "fr-CA", *command)
    assert french["error"]["code"] == english["error"]["code"]  # type: ignore[index]
    assert french["error"]["message"] != english["error"]["message"]  # type: ignore[index]
    assert "nowhere" in french["error"]["message"] and "nowhere" in told  # type: ignore[index]
    monkeypatch.setenv("LC_ALL", "fr_CA.UTF-8")
    assert spoken_by(capfdbinary, *command)[1] == french
    assert spoken_by(capfdbinary, "--lang", "en", *command)[1] == english
    monkeypatch.delenv("LC_ALL")
    file.write_text(file.read_text(encoding="utf-8") + "language: fr-CA\n", encoding="utf-8")
    assert spoken_by(capfdbinary, *command)[1] == french
    assert language.current() == language.DEFAULT, "one command's language is not the next one's"


def test_a_language_nobody_speaks_here_is_a_mistake_of_usage(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    code, document, _ = spoken_by(capfdbinary, "--json", "--lang", "tlh", "runs", "mine")
    assert (code, document["error"]["code"]) == (2, "usage")  # type: ignore[index]


def test_help_is_told_in_french(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--lang", "fr", "pull", "--help"]) == 0
    french = capfd.readouterr().out
    assert run(["pull", "--help"]) == 0
    assert french != capfd.readouterr().out
    assert tr("Nothing was done.") == "Nothing was done."


def test_a_question_is_explained_in_the_language_of_whoever_asks() -> None:
    document = {"explanation": KINDS["both_changed"], "suggested_explanation": SUGGESTED["says_more"]}
    with language.speaking("fr"):
        said = language.tr_members(document, language.TOLD)
    assert said["explanation"].startswith("Les deux côtés ont modifié")
    assert said["suggested_explanation"].startswith("Aucune date ne dit")


# ---------------------------------------------------------------- what a French user met


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("Plan 7f3a is closed: somebody discarded it. Nothing was written.",
         "Le plan 7f3a est fermé : quelqu'un l'a écarté. Rien n'a été écrit."),
        ("plant3d-sync.yml is not usable: projects: must hold names with values; foo is not a name of the configuration. "
         "Nothing was done.",
         "plant3d-sync.yml n'est pas utilisable : projects: doit contenir des noms avec des valeurs; foo n'est pas un nom de la "
         "configuration. Rien n'a été fait."),
        ("The mapping has 2 problems; nothing was read or written.\nm.yml:1: unknown key 'clases', did you mean classes?",
         "La correspondance a 2 problèmes ; rien n'a été lu ni écrit.\nm.yml:1: clé inconnue 'clases' ; vouliez-vous dire classes ?"),
        ("cannot read the mapping 'm.yml' (Permission denied)", "la correspondance 'm.yml' ne peut pas être lue (accès refusé)"),
        ("open     HV-1 · description · nothing / 'x' · conflict", "ouvert   HV-1 · description · rien / 'x' · conflict"),
    ],
)  # fmt: skip
def test_a_reason_a_list_and_each_line_are_translated_by_themselves(english: str, french: str) -> None:
    with speaking("fr"):
        assert tr(english) == french


def test_a_label_has_the_colon_of_its_language(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("fr", "en"):
        with speaking(name):
            ProgressLine()("feed", 3, 9)
    assert capsys.readouterr().err == "lecture de SYNAPSE : 3/9\nfeed: 3/9\n"


def _english_colons(tree: ast.AST) -> list[str]:
    """Texts that say something in the reader's language, then a colon as English has it, and are no message themselves."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and texts._template(node).strip() not in FRENCH:
            spoken = False
            for part in node.values:
                spoken |= any(
                    isinstance(one, ast.Name) and one.id in ("heading", "tr") for one in ast.walk(part)
                )
                if spoken and isinstance(part, ast.Constant) and str(part.value).startswith(":"):
                    found.append(ast.unparse(node))
    return found


def test_no_text_has_an_english_colon_behind_what_was_translated() -> None:
    assert _english_colons(ast.parse("put(f'{heading(phase)}: {amount}')"))
    assert _english_colons(ast.parse("put(f'{tr(since)} {moment}: {amount}')"))
    assert not _english_colons(ast.parse("put(f'{place}: {tr(message)}')"))
    found = {
        path.name: colons
        for path in (texts.SOURCE / "cli").glob("*.py")
        if (colons := _english_colons(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert not found


def _chain(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _chain(node.left) + _chain(node.right)
    return [node]


def _glued(tree: ast.Module) -> list[str]:
    """Texts that are put together with `+` from pieces that are no sentences."""
    found, inside = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and id(node) not in inside:
            inside |= {id(one) for one in ast.walk(node)}
            said = [
                texts._template(one) for one in _chain(node) if isinstance(one, ast.Constant | ast.JoinedStr)
            ]
            pieces = [
                text for text in said if texts.is_message(text) and not text.strip().endswith((".", ".\n"))
            ]
            found += [ast.unparse(node)] if pieces else []
    return found


def test_no_message_is_glued_together() -> None:
    """The catalogue knows whole messages: of one that is put together at run time, each piece would be looked up alone."""
    assert _glued(ast.parse("say('The settings are wrong: ' + '; '.join(wrong))"))
    assert not _glued(ast.parse("say(why.message + ' Nothing was written.')"))
    known = (
        "cli/settings_page.py",
        "cli/render.py",
        "cli/waiting_commands.py",
        "model/coverage.py",
    )  # texts.SHORT
    glued = {
        name: found
        for path in sorted(texts.SOURCE.rglob("*.py"))
        if not (name := path.relative_to(texts.SOURCE).as_posix()).startswith((*texts.SILENT, *known))
        and (found := _glued(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert not glued
