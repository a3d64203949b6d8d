"""Writes the reference pages that follow from the program: commands, error codes and settings.

    python docs/generate.py            writes docs/reference/cli.md, error-codes.md and settings.md, and what
                                       docs/explanation/what-we-promise.md says of promises, tests and breaks

tests/unit/test_docs.py fails while a page differs from what this would write.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "plant3d_sync"
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from plant3d_sync import errors  # noqa: E402
from plant3d_sync.cli.main import GROUPS  # noqa: E402
from plant3d_sync.cli.settings_page import settings_page  # noqa: E402, F401
from tests.mutants.breaks import Break, all_breaks, promises  # noqa: E402
from tests.worlds import amounts  # noqa: E402

PAGES = {"cli.md": "cli_page", "error-codes.md": "error_page", "settings.md": "settings_page"}

# ---------------------------------------------------------------- commands


@dataclass(frozen=True)
class Entry:
    """One command: its words, its help, its parameters."""

    words: str
    command: Any

    @property
    def text(self) -> str:
        """Help without the example, on as many lines as were written."""
        return (self.command.help or "").partition("Example:")[0].strip()

    @property
    def example(self) -> str:
        """What stands after `Example:`, without a line break."""
        return " ".join((self.command.help or "").partition("Example:")[2].split())


def commands() -> list[Entry]:
    """Every command that is not hidden, groups opened, in the order of the program."""
    whole = typer.Typer(rich_markup_mode=None)
    for name in GROUPS:
        import_module(f"plant3d_sync.cli.{name}").register(whole)
    return list(_walk("", typer.main.get_command(whole)))


def _walk(words: str, command: Any) -> Iterator[Entry]:
    children = getattr(command, "commands", None)
    if children is None:
        yield Entry(words.strip(), command)
        return
    for name, child in children.items():
        if not child.hidden:
            yield from _walk(f"{words} {name}", child)


def cli_page() -> str:
    """docs/reference/cli.md."""
    lines = [
        "# Commands",
        "",
        "Made by `docs/generate.py` from the program itself; do not edit it by hand.",
        "",
        "After `plant3d-sync` come `--config FILE`, if needed, and the command. With `--json` a command prints one JSON document on stdout and progress on",
        "stderr. Exit codes: [exit-codes.md](exit-codes.md).",
    ]
    for entry in commands():
        lines += ["", f"## {entry.words}", "", *entry.text.splitlines(), ""]
        lines += ["```sh", entry.example, "```"]
        rows = [
            _row(parameter) for parameter in entry.command.params if not getattr(parameter, "hidden", False)
        ]
        rows = [row for row in rows if row]
        if rows:
            lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _row(parameter: Any) -> str:
    text = str(getattr(parameter, "help", None) or "").replace("|", "\\|")
    if parameter.param_type_name == "argument":
        return f"| `{parameter.name.upper()}` | {text} |"
    if parameter.name == "help":
        return ""
    default = parameter.default
    shown = (
        ""
        if default in (None, False) or callable(default)
        else f" Default: `{getattr(default, 'value', default)}`."
    )
    return f"| `{', '.join(parameter.opts)}` | {text}{shown} |".replace("  ", " ")


# ---------------------------------------------------------------- error codes


@dataclass(frozen=True, order=True)
class Raised:
    """One place that raises one of our errors under a code."""

    code: str
    kind: str
    message: str
    hint: str


def kinds() -> dict[str, type[errors.SyncError]]:
    """Our error classes by name, also those that a module makes out of them for itself."""
    modules = [vars(errors)]
    for path in sorted(SOURCE.rglob("errors.py")):
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        modules.append(vars(importlib.import_module(name)))
    found = {name: kind for module in modules for name, kind in module.items() if isinstance(kind, type)}
    return {name: kind for name, kind in found.items() if issubclass(kind, errors.SyncError)}


def raised() -> list[Raised]:
    """Every code that is written beside one of our errors, with its words. Values show as `…`."""
    known = kinds()
    found: set[Raised] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
                found |= set(_raised(node, node.func.id, known[node.func.id]))
    return sorted(found)


def _raised(node: ast.Call, name: str, kind: type[errors.SyncError]) -> Iterator[Raised]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    message = _text(node.args[0]) if node.args else ""
    codes = _codes(given["code"]) if "code" in given else [kind.code]
    for code in codes:
        yield Raised(code, name, message, _text(given["hint"]) if "hint" in given else "")


def _codes(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*_codes(node.body), *_codes(node.orelse)]
    return []


def _text(node: ast.expr) -> str:
    """A text as it will read, with `…` where a value comes in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.IfExp):
        return _text(node.body)  # the first of both
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted":
        return _text(node.args[2])  # as it reads of more than one
    return "…"


def error_page() -> str:
    """docs/reference/error-codes.md."""
    lines = [
        "# Error codes",
        "",
        "Made by `docs/generate.py` from the program itself; do not edit it by hand.",
        "",
        "A code is stable; the words may change. `…` stands for a value. The kind says who can do something: see",
        '[exit-codes.md](exit-codes.md). With `--json` the error is `{"error": {"code", "message", "hint", "details"}}`.',
        "",
        "| code | exit | what happened | what to do |",
        "|---|---|---|---|",
    ]
    by_code: dict[str, list[Raised]] = {}
    for one in raised():
        by_code.setdefault(one.code, []).append(one)
    known = kinds()
    for code, places in sorted(by_code.items()):
        exits = ", ".join(str(number) for number in sorted({known[place.kind].exit_code for place in places}))
        messages = _distinct([place.message for place in places])
        hints = _distinct([place.hint for place in places])
        lines.append(f"| `{code}` | {exits} | {'<br>'.join(messages)} | {'<br>'.join(hints)} |")
    return "\n".join(lines) + "\n"


def _distinct(texts: list[str]) -> list[str]:
    cleaned = [re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;") for text in texts]
    return list(dict.fromkeys(text for text in cleaned if text and text != "…"))


# ---------------------------------------------------------------- promises

PROMISES = ROOT / "docs" / "explanation" / "what-we-promise.md"
MADE = "<!-- made by docs/generate.py from the tests: do not edit by hand -->"
END = "<!-- end -->"


def promise_page(text: str) -> str:
    """docs/explanation/what-we-promise.md with what is made of it made anew: promises, worlds, breaks."""
    done = ""
    for made in (_promises(), _worlds(), _breaks()):
        before, _, rest = text.partition(MADE)
        done += f"{before}{MADE}\n{made}{END}"
        text = rest.partition(END)[2]
    return done + text


TESTS = ROOT / "tests"


def long_tests(files: str, names: str = "test_") -> int:
    """How many tests of these files and names run, whole or in part, with `dev.py test --long` only."""
    count = 0
    for path in TESTS.rglob(files):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        whole = any(isinstance(node, ast.Assign) and _is_long(node) for node in tree.body)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith(names):
                count += whole or any(map(_is_long, node.decorator_list))
    return count


def _is_long(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr == "long" for one in ast.walk(node))


def long_tests_of(known: dict[str, str], mine: list[Break]) -> int:
    """The same of a promise: of the files that are named, of the tests of its breaks, and of the kind of its stories."""
    files = set(re.findall(r"`(test_\w+\.py)`", known["held"]))
    named = {
        (Path(file).name, name)
        for one in mine
        for file, _, name in (test.partition("::") for test in one.tests)
    }
    files |= {file for file, name in named if not name}
    alone = sum(long_tests(file, name) for file, name in named if name and file not in files)
    kinds = re.findall(r"siblings of kind (\d+)", known["held"])
    of_kind = sum(long_tests("test_*.py", f"test_kind_{int(kind):02}_") for kind in kinds)
    return sum(map(long_tests, files)) + alone + of_kind


def _worlds() -> str:
    lines = [
        "| what | runs with |",
        "|---|---|",
        f"| {amounts.SEEDS:,} random worlds; every order of {amounts.CORE_LENGTH} of the core moves; every story that ever "
        "failed; the 29 stories that broke an early version | `python3 dev.py test` |",
        f"| {amounts.LONG_SEEDS - amounts.SEEDS:,} more; every order of {amounts.LONG_CORE_LENGTH} of the core moves, of "
        f"{amounts.SMALL_LENGTH} of all small moves, and of each theme, equal situations met once "
        "| `python3 dev.py test --long` |",
        '| any number | `python -m tests.worlds --seeds 5000 --workers 2`, `--length 3`, `--theme all`, `--story "now; the '
        'user types; …"` |',
        "",
    ]
    lines += [
        "| worlds | how many | processor time | a second on one core | found |",
        "|---|---|---|---|---|",
    ]
    for one in tomllib.loads((TESTS / "worlds" / "figures.toml").read_text(encoding="utf-8"))["figure"]:
        each = one["seconds"] / one["worlds"]
        lines.append(
            f"| {one['what']} | {one['worlds']:,} | {one['seconds']:,.0f} s | {1 / each:.1f} | {one['found']} |"
        )
    return "\n".join(lines) + "\n"


def _promises() -> str:
    of: dict[str, list[Break]] = {}
    for one in all_breaks():
        of.setdefault(one.promise, []).append(one)
    lines = ["| promise | how it is kept | held by | breaks | only `--long` shows |", "|---|---|---|---|---|"]
    for key, known in promises().items():
        mine = of.get(key, [])
        files = sorted({Path(test.partition("::")[0]).name for one in mine for test in one.tests})
        held = [known["held"], *(f"`{name}`" for name in files if name not in known["held"])]
        count = f"[{len(mine)}](#{key})" if mine else "0"
        slow = long_tests_of(known, mine)
        only = f"{known['long']} ({slow} test{'s' * (slow > 1)})" if slow else ""
        lines.append(f"| {known['promise']} | {known['how']} | {', '.join(held)} | {count} | {only} |")
    return "\n".join(lines) + "\n"


def _breaks() -> str:
    lines = []
    for key, known in promises().items():
        mine = [one for one in all_breaks() if one.promise == key]
        if mine:
            lines += ["", f'<a id="{key}"></a>**{known["promise"]}**', ""]
        for one in mine:
            name = one.name.replace("<", "&lt;")
            lines.append(f"- {name} (`{one.where}`)" + (f": {one.equivalent}" if one.equivalent else ""))
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> text."""
    return {name: globals()[function]() for name, function in PAGES.items()}


def main() -> int:
    for name, text in pages().items():
        (ROOT / "docs" / "reference" / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"docs/reference/{name}")
    PROMISES.write_text(promise_page(PROMISES.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    print(PROMISES.relative_to(ROOT).as_posix())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
