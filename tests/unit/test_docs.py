"""Documentation is tested: what it names exists, what exists is named, what is generated is current."""

from __future__ import annotations

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import generate, texts
from plant3d_sync import errors
from plant3d_sync.mapping import COMPARATORS, CONVERTERS, load_mapping
from plant3d_sync.settings import ConfigFile
from plant3d_sync.state.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
COMMANDS = {entry.words: entry for entry in generate.commands()}
TWINS = ("quickstart.md", "explanation/what-it-does-to-your-project.md")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def typed_lines(page: Path) -> list[str]:
    """Every `plant3d-sync …` of the shell blocks of a page, without the comment behind it."""
    lines = [
        line.split(" #")[0].split("  ")[0].strip()
        for block in blocks(page, "sh")
        for line in block.splitlines()
    ]
    return [line.removeprefix("plant3d-sync ") for line in lines if line.startswith("plant3d-sync ")]


def mentioned_lines(page: Path) -> list[str]:
    """Every `plant3d-sync …` in running text; arguments may be left out there."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`plant3d-sync ([^`\n]+)`", text)


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_and_an_example_of_itself(words: str) -> None:
    entry = COMMANDS[words]
    assert len(entry.text) > 10, "no help"
    assert words in entry.example, "no example, or the example of another command"
    understand(entry.example.removeprefix("plant3d-sync "))


def understand(line: str, *, complete: bool = True) -> None:
    """Fail unless the command and every option on this line exist, with enough arguments if it is `complete`."""
    given = [word for word in shlex.split(line) if word not in ("[…]", "…")]
    while given[0] in ("--config", "--json"):
        given = given[2:] if given[0] == "--config" else given[1:]
    words = next((" ".join(given[:n]) for n in (2, 1) if " ".join(given[:n]) in COMMANDS), None)
    if words is None and not complete:
        assert given[0] in {known.split()[0] for known in COMMANDS}, f"no such command: plant3d-sync {line}"
        return
    assert words is not None, f"no such command: plant3d-sync {line}"
    parameters: list[Any] = list(COMMANDS[words].command.params)
    asked, count = split(given[len(words.split()) :], parameters)
    known = {name for parameter in parameters for name in parameter.opts} | {"--help"}
    assert asked <= known, f"no such option: plant3d-sync {line}"
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    most = float("inf") if any(one.nargs == -1 for one in arguments) else len(arguments)
    least = sum(one.required for one in arguments) if complete and "--help" not in asked else 0
    assert least <= count <= most, f"wrong number of arguments: plant3d-sync {line}"


def split(words: list[str], parameters: list[Any]) -> tuple[set[str], int]:
    """The options on a command line, and how many arguments stand beside them."""
    flags = {
        name for parameter in parameters if getattr(parameter, "is_flag", False) for name in parameter.opts
    }
    asked: set[str] = set()
    count, skip = 0, False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            asked.add(word.partition("=")[0])
            skip = "=" not in word and word not in flags | {"--help"}
        else:
            count += 1
    return asked, count


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_of_a_page_can_be_typed(page: Path) -> None:
    for line in typed_lines(page):
        understand(line)
    for line in mentioned_lines(page):
        understand(line, complete=False)


def test_the_readme_shows_the_two_commands_and_only_tasks_that_exist() -> None:
    import dev

    shown = [
        line.split("#")[0].strip()
        for block in blocks(ROOT / "README.md", "sh")
        for line in block.splitlines()
    ]
    assert "python3 dev.py demo" in shown
    assert "python3 dev.py test" in shown
    for page in PAGES:
        for task in re.findall(r"python3 dev\.py (\w+)", page.read_text(encoding="utf-8")):
            assert task in dev.COMMANDS, f"{name_of(page)}: dev.py {task}"


# ---------------------------------------------------------------- generated pages


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generate.pages()[name], "run: python docs/generate.py"


def test_the_tables_of_promises_are_current() -> None:
    written = generate.PROMISES.read_text(encoding="utf-8")
    assert written == generate.promise_page(written), "run: python docs/generate.py"


def test_what_only_the_long_suite_shows_is_said_of_the_promises_that_it_shows_something_of() -> None:
    breaks = generate.all_breaks()
    for key, known in generate.promises().items():
        slow = generate.long_tests_of(known, [one for one in breaks if one.promise == key])
        assert bool(known.get("long")) == bool(slow), f"{key}: {slow} tests run with --long only"


def test_every_exit_code_of_an_error_is_on_the_page() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row for row in (line.strip("| ").split(" | ") for line in text.splitlines()) if len(row) == 5
    }
    for name, kind in generate.kinds().items():
        if kind.__module__ == errors.__name__:
            row = rows[str(kind.exit_code)]
            assert f"`{name}`" in row[2], name
            assert str(kind.http_status) in row[3], name


def test_every_table_of_the_state_is_on_the_page_and_no_other() -> None:
    text = (DOCS / "reference" / "state.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(metadata.tables)


@pytest.mark.parametrize(("title", "names"), [("Converters", CONVERTERS), ("Comparators", COMPARATORS)])
def test_every_converter_and_comparator_is_on_the_page_of_mappings_and_no_other(
    title: str, names: dict[str, object]
) -> None:
    text = (DOCS / "reference" / "mapping.md").read_text(encoding="utf-8")
    [chapter] = re.findall(rf"^### {title}\n(.*?)^##", text, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \|", chapter, re.MULTILINE) == list(names)


# ---------------------------------------------------------------- words, files, links


RETIRED = {
    r"\b[Tt]ie[sd]?\b(?! rule| In)|\btied\b|\btying\b": "link",
    r"\badopt(s|ed|ing|ions?)\b": "link (the step is `Adopt`)",
    r"\b[Ww]ay back\b|way_back": "writing back to Plant 3D, write-back",
    r"\bplan'?s? lines?\b|\blines? of (a|the|this) plan\b|\b(show|list)s? every line\b": "step",
    r"^\s*\"\"\"So many|At most so many|[Aa]fter so many": "How many ...; after this many",
    r"(?<![\w{.])[Bb]eside\b(?! =|\.is_file|\.as_posix|\}| /)": "next to, besides, compared with",
    r"\bfor ever\b": "forever",
    r"\bslip of the pen\b|\bslips? in the\b": "typo, mistake",
    r"\b(puts?|putting) (it|them|the \w+) right\b|\b(is|are) put right\b": "correct",
    r"\b[Gg]ets on\b|as long as it gets": "makes progress",
    r"\b(overwritten|believed|changes?|moves?) unseen\b": "silently, without a look",
    r"goes the long way|goes the careful way": "is read in full",
    r"tells? (every|all) (slips?|mistakes?)|\btold at once\b": "reports",
    r"\b(secret|password|key) is told\b": "is revealed",
    r"\bis said (on|in) (the|this|that|\[)": "is described",
}
"""Words that were used for a thing which has another name, with the one to use."""


@pytest.mark.parametrize(
    "place",
    [page for page in PAGES if "fr" not in page.relative_to(ROOT).parts and ".fr." not in page.name]
    + sorted(path for path in (ROOT / "src").rglob("*.py")),
    ids=name_of,
)
def test_one_word_per_thing(place: Path) -> None:
    text = place.read_text(encoding="utf-8")
    found = {
        hit.group().strip(): better
        for word, better in RETIRED.items()
        for hit in re.finditer(word, text, re.MULTILINE)
    }
    assert not found, f"say it so: {found}"


RETIRED_FR = {
    r"\blignes? d(u|'un|es) plans?\b": "étape",
    r"\bétiquettes? (de|d'un|du) (élément|pompe|vanne|repère)": "repère",
    r"\bappari(er|é|és|ement)\b|\bjumel|\bliaisons?\b|\badopt(er|é|ion)\b": "lien, lier",
    r"\bmappings?\b": "correspondance",
    r"\b(assets?|findings?|drawings?|workbooks?)\b(?!:)": "actif, constat, dessin, classeur",
    r"\bdessinateurs?\b": "concepteur",
}
"""The same in French, outside of names that are code."""
CODE_OF_FRENCH = re.compile(
    r"^ *```.*?^ *```|`[^`]*`|\{\w+\}|plant3d-sync( [\w-]+)+|\]\([^)]*\)|--[\w-]+|[\w./-]+\.(md|py|yml|xlsx|po)\b",
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.parametrize(
    "place",
    [page for page in PAGES if "fr" in page.relative_to(ROOT).parts or ".fr." in page.name],
    ids=name_of,
)
def test_one_word_per_thing_in_french(place: Path) -> None:
    text = CODE_OF_FRENCH.sub("", place.read_text(encoding="utf-8"))
    found = {hit[0]: better for word, better in RETIRED_FR.items() for hit in re.finditer(word, text)}
    assert not found, f"say it so: {found}"


def test_one_word_per_thing_in_what_is_said_in_french() -> None:
    found = []
    for one in texts.catalogue("fr"):
        for text in one.string if isinstance(one.string, tuple) else (one.string or "",):
            plain = CODE_OF_FRENCH.sub("", str(text))
            found += [(text, better) for word, better in RETIRED_FR.items() if re.search(word, plain)]
    assert not found


def test_every_file_that_a_recipe_names_exists() -> None:
    """CONTRIBUTING.md: paths from the folder of the project; a bare file name is of the folder named before it."""
    missing, folder, seen = [], "", 0
    for word in re.findall(r"`([^`\n]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        path = word.removeprefix("python ").split(" ")[0]
        if not re.fullmatch(r"[\w./-]+(/|\.(py|md|yml|po|toml))", path) or path.startswith("page"):
            continue
        seen += 1
        if path.endswith("/"):
            folder = path
        if (
            not (ROOT / path).exists()
            and not (ROOT / folder / path).exists()
            and not list((ROOT / "src").rglob(path))
        ):
            missing.append(path)
    assert seen > 50
    assert missing == []


def test_every_name_that_a_recipe_gives_is_made_somewhere() -> None:
    """CONTRIBUTING.md: types and constants; which of them is a step says the model."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {one for one in re.findall(r"`([A-Za-z_]\w*)`", text) if one != one.lower()}
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("src/plant3d_sync", "docs", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    made = set(re.findall(r"^(?:class |type )?(\w+)\b(?:\(.*\))?:?.*", source, re.MULTILINE))
    assert len(names) > 15
    assert sorted(names - made) == []


def test_the_classes_of_the_glossary_exist_in_the_model() -> None:
    known = {
        name
        for module in sorted((ROOT / "src" / "plant3d_sync" / "model").glob("*.py"))
        for name, found in vars(import_module(f"plant3d_sync.model.{module.stem}")).items()
        if inspect.isclass(found)
    }
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z]\w+)`", text))
    assert len(named) > 10
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name_of(page)}: {target}"


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [
        name_of(page) for page in DOCS.rglob("*.md") if f"({page.relative_to(DOCS).as_posix()})" not in index
    ]
    assert [name for name in missing if name != "docs/index.md"] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_yaml_on_a_page_is_a_configuration_or_a_mapping_that_loads(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "yaml"):
        data = yaml.safe_load(block)
        if "projects" in data or "synapse" in data:
            ConfigFile.model_validate(data)
        elif "version" in data and "classes" in data:
            (tmp_path / "mine.yml").write_text(block, encoding="utf-8")
            load_mapping(["mine.yml"], base_dir=tmp_path)


def test_the_example_mapping_loads() -> None:
    load_mapping(["example.yaml"], base_dir=ROOT / "mappings")


@pytest.mark.parametrize("twin", TWINS)
def test_a_french_page_shows_the_same_commands_and_files_as_its_english_twin(twin: str) -> None:
    english, french = DOCS / twin, DOCS / "fr" / twin
    assert typed_lines(french) == typed_lines(english) != []
    assert blocks(french, "yaml") == blocks(english, "yaml")
    headings = [
        len(re.findall(r"^## ", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in (english, french)
    ]
    assert headings[0] == headings[1]
