"""The messages of the program, collected from its source, and the catalogues in which they are translated.

    python docs/texts.py            bring locale/*.po up to date; new messages come without a translation
    python docs/texts.py --check    say what is missing or not used any more, and end with 1

A message is a text with at least two words in a module that speaks to people. What an f-string puts in becomes a named
place: `f"The tag {said(tag)}"` is `The tag {tag}`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "plant3d_sync"
LOCALE = SOURCE / "locale"
SILENT = (
    "synapse_dev/", "sample/", "state/migrations/", "state/tables.py", "web/schemas", "web/metrics.py", "web/openapi",
    "connectors/memory.py", "mapping/isa.py", "failpoints.py", "language.py", "logs.py",
)  # fmt: skip
"""Modules that say nothing to people, or only in English: documents of the API, metrics, logs, names of letters."""
_SQL = re.compile(
    r"\s*(SELECT|UPDATE|INSERT|DELETE|CREATE|WITH|PRAGMA|ALTER|SET|FROM|WHERE|BEGIN|GRANT|AND|OR|JOIN|LEFT|ORDER|GROUP|DROP|IF|"
    r"COMMIT|EXEC|VALUES|ROLLBACK|DENY)\b(?! [a-z])"
)
_CODE = re.compile(
    r"\]\(|(?s:SELECT .*FROM)|</?[a-z]+[^>]*>|\\\\[ds]|julianday|\(\?[:P]|application/|HAS_PERMS|PnPID\]|==|::"
)
"""What no sentence holds: SQL, HTML, patterns."""
_WORDS = re.compile(r"[A-Za-z][a-z']+")
SHORT = (
    "Plan",
    "Run",
    "error",
    "what to do",
    "nothing",
    "since",
    "never",
    "Wrote",
    "{head} of {project} ({direction}): {outcome}.",
    "Findings: {findings} ({listed}); {command}",
    "Findings: {findings} ({listed}).",
    "Findings: {findings}.",
    "Runs: {total}.",
    "{handed_over} of {whole} ({share} %); the rest: {rest}",
    "{handed_over} of {whole} ({share} %)",
    "Would hand over: {found}.",
    "Handed over: {found}.",
    "Missing from Plant 3D: {missing} ({join})",
    "Missing from Plant 3D: {missing}",
    "error: {message}",
    "{message} Skipped.",
)
"""What is too short to be known for a message, or is put together from pieces."""
_HELP = (
    "cli/main.py",
    "cli/sync_commands.py",
    "cli/tool_commands.py",
    "cli/way_back_commands.py",
    "cli/service_commands.py",
)
"""Where the first words of a function are the help of a command."""


def messages() -> dict[str, list[str]]:
    """Template -> modules in which it stands."""
    found: dict[str, list[str]] = {one: ["docs/texts.py"] for one in SHORT}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(SILENT):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for text in (*_templates(tree), *(_help(tree) if name in _HELP else ())):
                places = found.setdefault(text, [])
                if name not in places:
                    places.append(name)
    return found


def _templates(tree: ast.Module) -> Iterator[str]:
    aside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            aside.add(id(node.value))  # docstrings
        if isinstance(node, ast.JoinedStr):
            aside.update(id(part) for part in node.values if isinstance(part, ast.Constant))
            for part in node.values:  # what formats a value is no text
                if isinstance(part, ast.FormattedValue) and part.format_spec is not None:
                    aside.update(id(one) for one in ast.walk(part.format_spec))
    for node in ast.walk(tree):
        if id(node) in aside or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        text = _template(node).strip()
        if is_message(text):
            yield text


def _help(tree: ast.Module) -> Iterator[str]:
    """Paragraphs that `--help` shows, without the examples."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            for part in (ast.get_docstring(node) or "" if _is_command(node) else "").split("\n\n"):
                if part and not part.startswith("Example"):
                    yield " ".join(part.split()).replace("{", "{{").replace("}", "}}")


def _is_command(node: ast.FunctionDef) -> bool:
    """Commands take their words as annotated options, or are made one by a decorator."""
    typed = any("typer" in ast.unparse(one) for one in node.decorator_list) or any(
        ".command(" in ast.unparse(one) or ".callback(" in ast.unparse(one) for one in node.decorator_list
    )
    shown = ("Annotated", "JsonOption", "ProjectArgument")
    return (
        typed
        or node.name in ("serve", "scheduler", "up")
        or any(
            one.annotation is not None and ast.unparse(one.annotation).startswith(shown)
            for one in node.args.args
        )
    )


def is_message(text: str) -> bool:
    """Whether a text of the source is said to people."""
    bare = re.sub(r"\{\w*\}", " ", text)
    return (
        " " in text
        and not text.startswith("# ")
        and len(_WORDS.findall(bare)) > 1
        and not _SQL.match(text)
        and not _CODE.search(text)
    )


def _template(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value.replace("{", "{{").replace("}", "}}") if isinstance(node.value, str) else ""
    parts: list[str] = []
    names: dict[str, str] = {}
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value).replace("{", "{{").replace("}", "}}"))
        elif isinstance(part, ast.FormattedValue):
            expression = ast.unparse(part.value)
            if expression not in names:
                names[expression] = _free(_name(part.value), set(names.values()))
            parts.append("{" + names[expression] + "}")
    return "".join(parts)


def _name(node: ast.expr) -> str:
    """A short name for what is put in: the last word of the expression."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
        return _name(node.args[0])
    words = re.findall(r"[A-Za-z_]+", re.sub(r"\(.*|\[[^A-Za-z]*\]", " ", ast.unparse(node)))
    word = words[-1].strip("_").lower() if words else "value"
    return word or "value"


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while (made := name if number == 2 and name not in taken else f"{name}_{number}") in taken:
        number += 1
    return made


def catalogue(language: str) -> Catalog:
    """What is translated so far."""
    path = LOCALE / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def main(arguments: list[str]) -> int:
    """See the top of this file."""
    wanted, code = messages(), 0
    for language in ("fr",):
        old = catalogue(language)
        have = {str(one.id): str(one.string) for one in old if one.id and one.string}
        missing = [text for text in wanted if not have.get(text)]
        unused = [text for text in have if text not in wanted]
        if "--check" in arguments:
            for text in missing:
                print(f"{language}: not translated: {text}")
            for text in unused:
                print(f"{language}: not used any more: {text}")
            code |= bool(missing or unused)
            continue
        new = Catalog(
            locale=language,
            project="plant3d-sync",
            header_comment="# Messages of plant3d-sync.",
            creation_date=None,
        )
        for text, places in sorted(wanted.items(), key=lambda item: (item[1][0], item[0])):
            new.add(text, have.get(text, ""), auto_comments=places)
        with (LOCALE / f"{language}.po").open("wb") as file:
            write_po(file, new, width=0, omit_header=True)
        print(
            f"{language}: {len(wanted)} messages, {len(missing)} without a translation, {len(unused)} dropped"
        )
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
