"""The messages of the program, collected from its source, and the catalogues in which they are translated.

    python docs/texts.py            bring locale/*.po up to date; new messages come without a translation
    python docs/texts.py --check    say what is missing or not used any more, and end with 1

A message is a text with at least two words in a module that speaks to people, or whatever is said as a line (`say(…)`).
What an f-string puts in becomes a named place: `f"The tag {said(tag)}"` is `The tag {tag}`. `counted(found, f"{found} row", f"{found} rows")` is one message with
plural forms, in which the number is the place `{n}`. Words that stand alone (`heads(…)`, the first list of `table(…)`) have
the context `head`. What the description of the API says is taken from that description.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from plant3d_sync.language import HEAD, NUMBER, Plural
from plant3d_sync.web.app import with_routes
from plant3d_sync.web.description import told

Message = str | Plural
Known = tuple[str | None, Message]
"""Context and text."""

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "plant3d_sync"
LOCALE = SOURCE / "locale"
SILENT = (
    "synapse_dev/", "sample/__", "sample/c", "sample/e", "sample/h", "sample/pl", "sample/s", "sample/w", "state/migrations/", "state/tables.py", "web/schemas", "web/metrics.py", "web/pages.py",
    "connectors/memory.py", "mapping/isa.py", "failpoints.py", "language.py", "logs.py",
)  # fmt: skip
"""Modules that say nothing to people, or only in English (metrics, logs, names of letters), or that hold both languages
(pages), or of which the description of the API says what there is to say (schemas)."""
PLURAL = {"fr": "nplurals=2; plural=(n > 1);"}
"""The forms that a number asks for, in the form of gettext: French says `0 repère`, `1 repère`, `2 repères`."""
HEADER = """\
# Messages of plant3d-sync.
msgid ""
msgstr ""
"Language: {language}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plural}\\n"

"""
_SQL = re.compile(
    r"\s*(SELECT|UPDATE|INSERT|DELETE|CREATE|WITH|PRAGMA|ALTER|SET|FROM|WHERE|BEGIN|GRANT|AND|OR|JOIN|LEFT|ORDER|GROUP|DROP|IF|"
    r"COMMIT|EXEC|VALUES|ROLLBACK|DENY)\b(?! [a-z])|UPDATE [a-z_]+ SET "
)
_CODE = re.compile(
    r"\]\(|(?s:SELECT .*FROM)|</?[a-z]+[^>]*>|\\\\[ds]|julianday|\(\?[:P]|application/|HAS_PERMS|PnPID\]|==|::|page_size|shrink_memory|<\?xml"
)
"""What no sentence holds: SQL, HTML, patterns."""
_CLOSING = re.compile(r"(?<=[.!?] )Nothing (else )?was [a-z]+( or [a-z]+)?\.$")
"""The last sentence of a message, which is said by itself as well: what stands before it may be told alone."""
_WORDS = re.compile(r"[A-Za-z][a-z']+")
SHORT = (
    "to SYNAPSE",
    "open     {tag} · {name} · {plant3d} / {synapse} · {why}",
    "error {number}",
    "Plan",
    "Run",
    "error",
    "what to do",
    "nothing",
    "since",
    "never",
    "Wrote",
    "{head} of {project} ({direction}): {outcome}.",
    "Findings: {found}; {command}",
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
    "{message} (and {n} more)",
    "{one}, or: {other}",
    "must be {expected}",
    "A project",
    "(or `{name}_FILE`)",
    "Database name, usually `<project>_PnId`.",
)
"""What is too short to be known for a message, or is put together from pieces."""
API = "web/description.py"
PARSER = (
    "Show this message and exit.",
    "Install completion for the current shell.",
    "Show completion for the current shell, to copy it or customize the installation.",
    "Try '{command} --help' for help.",
    "Error: {message}",
    "No such option: {name}",
    "No such option: {name}.",
    "No such option: {name} (Possible options: {names})",
    "No such option: {name} (Possible options: {names}).",
    "No such command {name}.",
    "No such command {name}. Did you mean {names}?",
    "Missing command.",
    "Missing argument {name}.",
    "Missing option {name}.",
    "Choose from:",
    "Got unexpected extra argument(s) ({words})",
    "Got unexpected extra argument(s) ({words}).",
    "Option {name} requires an argument.",
    "Option {name} requires {many} arguments.",
    "Option {name} does not take a value.",
    "Argument {name} takes {many} values.",
    "Invalid value for {name}: {message}",
    "Invalid value for {name}: {message}.",
    "Invalid value: {message}",
    "Invalid value: {message}.",
    "default: {value}",
    "env var: {name}",
)
SYSTEM = (
    "No such file or directory", "Permission denied", "Operation not permitted", "Read-only file system",
    "No space left on device", "Disk quota exceeded", "Is a directory", "Not a directory", "File exists",
    "Device or resource busy", "Input/output error", "File name too long", "Too many open files",
    "Stale file handle", "Connection timed out", "Connection refused", "Connection reset by peer", "Broken pipe",
    "No route to host", "Network is unreachable", "Address already in use", "Cannot assign requested address",
    "Name or service not known", "Temporary failure in name resolution", "No address associated with hostname",
)  # fmt: skip
"""What the operating system says, as a reason inside a message of ours."""
YAML = (
    "expected {what}, but got {found}",
    "expected {what}, but found {found}",
    "could not find expected ':'",
    "mapping values are not allowed here",
    "block sequence entries are not allowed here",
    "found character {char} that cannot start any token",
    "found unexpected end of stream",
    "found undefined alias {name}",
    "did not find expected {what}",
    "found unknown escape character {char}",
)
"""What the reader of YAML says, the same way."""
PARSER_HEADS = (
    "Usage:", "Arguments:", "Options:", "Commands:", "Example:", "COMMAND [ARGS]...", "required",
    "<str>", "<int>", "<int range>", "<float>", "<float range>", "<path>",
)  # fmt: skip
"""What the parser of the command line says, which has no catalogue of its own (`cli/spoken.py`)."""
ENUMERATED = ("error", "warning", "suggestion", "info", "findings")
"""Words of enumerations and of counts that stand alone."""
_HELP = re.compile(r"cli/(main|\w+_commands)\.py")
"""Where the first words of a function are the help of a command."""


def messages() -> dict[Known, list[str]]:
    """Context and template -> modules in which it stands."""
    found: dict[Known, list[str]] = {
        (None, one): ["docs/texts.py"] for one in (*SHORT, *PARSER, *SYSTEM, *YAML)
    }
    found |= {(HEAD, one): ["docs/texts.py"] for one in (*PARSER_HEADS, *ENUMERATED)}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(SILENT):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts: list[Known] = [(None, text) for text in _templates(tree)]
            texts += [(None, text) for text in (_help(tree) if _HELP.fullmatch(name) else ())]
            texts += [(HEAD, word) for word in _heads(tree)]
            for text in texts:
                places = found.setdefault(text, [])
                if name not in places:
                    places.append(name)
    closings = {last for _, text in found if isinstance(text, str) and (last := _CLOSING.search(text))}
    found |= {(None, last[0]): ["docs/texts.py"] for last in closings}
    for text in told(with_routes().openapi()):
        places = found.setdefault((None, text.replace("{", "{{").replace("}", "}}")), [])
        places += [] if API in places else [API]
    return found


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _heads(tree: ast.Module) -> Iterator[str]:
    """Words that stand alone: heads of columns, phases."""
    lists = [call.args for call in _calls(tree, "heads")]
    lists += [list(pair.elts[:1]) for pair in _columns(tree)]
    lists += [call.args[0].elts for call in _calls(tree, "table") if isinstance(call.args[0], ast.List)]
    for words in lists:
        for word in words:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value.strip():
                yield word.value


def _columns(tree: ast.Module) -> Iterator[ast.Tuple]:
    """`(head, member)` of a list of columns (`_EACH`, `_GROUP`)."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id in ("_EACH", "_GROUP")
            and isinstance(node.value, ast.Tuple)
        ):
            yield from (pair for pair in node.value.elts if isinstance(pair, ast.Tuple))


def _templates(tree: ast.Module) -> Iterator[Message]:
    aside: set[int] = set()
    for call in _calls(tree, "counted"):
        number, *both = call.args
        assert all(isinstance(text, ast.Constant | ast.JoinedStr) for text in both), ast.unparse(call)
        one, many = (_template(text, number).strip() for text in both)  # type: ignore[arg-type]
        assert f"{{{NUMBER}}}" in many, f"the number is not in {many!r}"
        aside.update(id(text) for text in both)
        yield one, many
    for call in _calls(tree, "heads"):
        aside.update(id(word) for word in call.args)
    for call in _calls(tree, "table"):
        aside.update(id(node) for node in ast.walk(call.args[0]))
    aside.update(id(pair.elts[0]) for pair in _columns(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            aside.add(id(node.value))  # docstrings
        if isinstance(node, ast.JoinedStr):
            aside.update(id(part) for part in node.values if isinstance(part, ast.Constant))
            for part in node.values:  # what formats a value is no text
                if isinstance(part, ast.FormattedValue) and part.format_spec is not None:
                    aside.update(id(one) for one in ast.walk(part.format_spec))
    lines = {id(text) for call in _calls(tree, "say") for text in _either(call.args[0])}
    for node in ast.walk(tree):
        if id(node) in aside or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        text = _template(node).strip()
        if is_message(text) or (id(node) in lines and _WORDS.search(_bare(text))):
            yield text


def _either(node: ast.expr) -> Iterator[ast.expr]:
    """A text, or each of those that one is chosen from."""
    if isinstance(node, ast.IfExp):
        yield from _either(node.body)
        yield from _either(node.orelse)
    else:
        yield node


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
    return (
        " " in text
        and not text.startswith("# ")
        and len(_WORDS.findall(_bare(text))) > 1
        and not _SQL.match(text)
        and not _CODE.search(text)
    )


def _bare(text: str) -> str:
    """Without its places."""
    return re.sub(r"\{\w*\}", " ", text)


def _template(node: ast.Constant | ast.JoinedStr, number: ast.expr | None = None) -> str:
    if isinstance(node, ast.Constant):
        return node.value.replace("{", "{{").replace("}", "}}") if isinstance(node.value, str) else ""
    parts: list[str] = []
    names: dict[str, str] = {} if number is None else {ast.unparse(number): NUMBER}
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
    for language in PLURAL:
        have = {(one.context, one.id): one.string for one in catalogue(language) if one.id}
        have = {known: text for known, text in have.items() if text and all(text)}
        missing = [text for text in wanted if text not in have]
        unused = [text for text in have if text not in wanted]
        if "--check" in arguments:
            for _, text in missing:
                print(f"{language}: not translated: {text}")
            for _, text in unused:
                print(f"{language}: not used any more: {text}")
            code |= bool(missing or unused)
            continue
        header = HEADER.format(language=language, plural=PLURAL[language]).encode()
        new = read_po(BytesIO(header), locale=language)
        for (context, text), places in sorted(wanted.items(), key=lambda item: (item[1][0], str(item[0]))):
            new.add(text, have.get((context, text), ""), auto_comments=places, context=context)
        with (LOCALE / f"{language}.po").open("wb") as file:
            file.write(header)
            write_po(file, new, width=0, omit_header=True)
        print(
            f"{language}: {len(wanted)} messages, {len(missing)} without a translation, {len(unused)} dropped"
        )
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
