"""The mapping file: its shape, and loading it with the line and the nearest valid name in every error.

Files are composed into YAML nodes (nothing is ever constructed from a tag), checked against the pydantic models
below, and merged: a later file overrides an earlier one per class and per field.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec.structs import replace
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from plant3d_sync import texts
from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping.compare import COMPARATORS
from plant3d_sync.mapping.convert import CONVERTERS
from plant3d_sync.mapping.translate import DERIVED, is_derived
from plant3d_sync.model.rules import BlankPolicy, ConflictPolicy, DriftPolicy
from plant3d_sync.model.side import Entity, Owner
from plant3d_sync.model.tags import STOCK_PLACEHOLDERS
from plant3d_sync.regularfile import TooLarge, read_limited
from plant3d_sync.words import complaint, counted, said
from plant3d_sync.yamlfile import LARGEST_FILE, Beyond, check_limits

STOCK = "stock"
"""Name of the mapping that is shipped with the program."""

CANONICAL_FIELDS = ("tag", "description", "asset_type", "asset_subtype")
"""Fields a mapping may fill besides `attributes.<key>`; everything else of an asset belongs to SYNAPSE."""

_MOST_CLASSES = 2000
"""Classes of one file; a Plant 3D project declares a few hundred."""
_MOST_PROBLEMS = 200
"""How many problems of one file are reported; whoever made more repairs these and asks again."""


class Severity(StrEnum):
    """How bad a problem is. Only errors stop."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    SUGGESTION = "suggestion"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a mapping file. Line 0 stands for the file as a whole."""

    file: str
    line: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a mapping, with its place. `suggestion` is the nearest valid name or what to write."""

    severity: Severity
    code: str
    message: str
    file: str
    line: int = 0
    suggestion: str = ""

    @property
    def place(self) -> str:
        """The file, and the line if it is one of them."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def told(self) -> str:
        """What is wrong, for people."""
        return f"{self.message}, did you mean {self.suggestion}?" if self.suggestion else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.told}"

    def to_dict(self) -> dict[str, object]:
        """The problem as JSON."""
        return {
            "severity": self.severity.value,
            "code": self.code,
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "suggestion": self.suggestion,
        }


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name most like `name` (capitals do not count), or an empty text."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def invalid(problems: Sequence[Problem]) -> ConfigError:
    """One error that tells every problem, each with file and line."""
    count = counted(len(problems), f"{len(problems)} problem", f"{len(problems)} problems")
    return ConfigError(
        f"The mapping has {count}; nothing was read or written.\n" + "\n".join(map(str, problems)),
        hint="Correct the lines named above, then run `plant3d-sync mapping check FILE`.",
        code="mapping_invalid",
        details={"problems": [problem.to_dict() for problem in problems]},
    )


# ---------------------------------------------------------------- the shape


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


_Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, frozen=True, defer_build=True)


class FieldEntry(_Shape):
    """One field as written. Options left out keep what they were (when `column` is left out too) or the default."""

    column: _Names | None = None
    owner: Owner | None = None
    convert: str | None = None
    compare: str | None = None
    push: bool | None = None
    blank: BlankPolicy | None = None
    drift: DriftPolicy | None = None
    conflict: ConflictPolicy | None = None
    default_is_empty: bool | None = None


class ClassEntry(_Shape):
    """One class as written. `entity: none` leaves the class and everything below it out. `by`: what one line is."""

    entity: Entity | Literal["none"] | None = None
    by: Literal["number", "group"] | None = None
    fields: dict[str, FieldEntry | None] = {}


class MappingDocument(_Shape):
    """One mapping file as written."""

    version: int
    extends: _Names = []
    placeholders: list[str] | None = None
    classes: dict[str, ClassEntry] = {}


# ---------------------------------------------------------------- after merging


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One field of one class after all files were merged. `marks`: option -> place that decided it."""

    entry: FieldEntry
    mark: Mark
    marks: Mapping[str, Mark]

    def at(self, option: str) -> Mark:
        """Where this option was written; the field itself when it was not."""
        return self.marks.get(option, self.mark)

    def adjusted(self, later: FieldSpec) -> FieldSpec:
        """This field with the options of `later`, which names no column of its own."""
        return FieldSpec(
            entry=self.entry.model_copy(update=later.entry.model_dump(exclude_unset=True)),
            mark=later.mark,
            marks={**self.marks, **later.marks},
        )


class ClassSpec(msgspec.Struct, kw_only=True):
    """One class after all files were merged. A field that is None was removed on purpose."""

    name: str
    mark: Mark
    entity: Entity | Literal["none"] | None = None
    by: Literal["number", "group"] | None = None
    fields: dict[str, FieldSpec | None] = msgspec.field(default_factory=dict)


class MappingFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole mapping, all files merged, not yet compared with any project.

    `classes`: lower-cased class name -> what was written about it. `sources`: the files, first to last.
    `token`: hash of the texts of all of them, as they were read.
    """

    classes: Mapping[str, ClassSpec]
    placeholders: tuple[str, ...]
    sources: tuple[str, ...]
    token: str

    def canonical(self) -> dict[str, object]:
        """The mapping as plain data without places, the same however it was spread over files."""
        return {
            "placeholders": sorted(self.placeholders),
            "classes": {
                key: {
                    "entity": spec.entity,
                    **({} if spec.by is None else {"by": spec.by}),
                    "fields": {
                        name: None if one is None else one.entry.model_dump(mode="json", exclude_none=True)
                        for name, one in spec.fields.items()
                    },
                }
                for key, spec in self.classes.items()
            },
        }


def load_mapping(sources: Sequence[str | Path], *, base_dir: Path) -> MappingFile:
    """Read mappings, later ones overriding earlier ones per class and per field.

    `sources`: "stock" or paths, relative ones from `base_dir`. A file's `extends` is read before the file, each file
    once; one that extends itself, directly or through others, is an error. Raises ConfigError `mapping_invalid` that
    names every problem of every file.
    """
    loader = _Loader()
    if not sources:
        loader.problem("missing", Mark(file="mapping"), "no mapping file is named; name at least `stock`")
    for source in sources:
        loader.load(source, base_dir, Mark(file=str(source)))
    if loader.problems:
        raise invalid(loader.sorted_problems())
    return MappingFile(
        classes=loader.classes,
        placeholders=tuple(dict.fromkeys(word.strip().upper() for word in loader.placeholders)),
        sources=tuple(loader.labels),
        token=token_of(loader.texts),
    )


def with_text(mapping: MappingFile, text: str) -> MappingFile:
    """The mapping with one more file of this text behind it. Raises ConfigError `mapping_invalid`."""
    loader = _Loader()
    loader.classes = copy.deepcopy(dict(mapping.classes))
    loader.placeholders = list(mapping.placeholders)
    loader.load_text("a suggestion", text)
    if loader.problems:
        raise invalid(loader.sorted_problems())
    return replace(mapping, classes=loader.classes)


def token_of(texts: Sequence[str]) -> str:
    """Hash of the texts of mapping files, in the order in which they are read."""
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(b"%d:" % len(text))
        digest.update(text.encode())
    return digest.hexdigest()


def stock_text() -> str:
    """The mapping that is shipped."""
    return resources.files("plant3d_sync.mapping").joinpath("stock.yml").read_text(encoding="utf-8")


class _Loader:
    """Collects classes and problems over all files."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.classes: dict[str, ClassSpec] = {}
        self.placeholders: list[str] = list(STOCK_PLACEHOLDERS)
        self.labels: list[str] = []
        self.texts: list[str] = []
        self._seen: set[str] = set()
        self._open: dict[str, str] = {}

    def problem(self, code: str, mark: Mark, message: str, suggestion: str = "") -> None:
        self.problems.append(
            Problem(
                severity=Severity.ERROR,
                code=code,
                message=message,
                file=mark.file,
                line=mark.line,
                suggestion=suggestion,
            )
        )

    def load(self, source: str | Path, base_dir: Path, named_at: Mark) -> None:
        """Read one source and what it extends; a source met before is not read again."""
        is_stock = str(source) == STOCK
        path = base_dir / Path(source).expanduser()
        identity = STOCK if is_stock else os.path.realpath(path)
        if identity in self._open:
            chain = list(self._open)
            through = [self._open[one] for one in chain[chain.index(identity) + 1 :]]
            by = f" through {', '.join(through)}" if through else ""
            self.problem("extends_itself", named_at, f"{self._open[identity]} extends itself{by}")
            return
        if identity in self._seen:
            return
        self._seen.add(identity)
        text = stock_text() if is_stock else self._file_text(path, str(source), named_at)
        if text is None:
            return
        self.texts.append(text)
        tree = _read_tree(str(source), text, self)
        if tree is None:
            return
        if _too_many_classes(tree, self):
            return
        self._open[identity] = str(source)
        for position, other in enumerate(_extended(tree.data)):
            self.load(other, path.parent, tree.nearest_mark(("extends", position)))
        del self._open[identity]
        document = self._shaped(tree)
        if document is not None:
            self.labels.append(tree.file)
            self._merge(document, tree)

    def load_text(self, label: str, text: str) -> None:
        """Read a text that extends nothing."""
        tree = _read_tree(label, text, self)
        document = self._shaped(tree) if tree is not None else None
        if tree is not None and document is not None:
            self._merge(document, tree)

    def sorted_problems(self) -> list[Problem]:
        """Every problem once, in the order of the files and their lines."""
        files = list(dict.fromkeys(problem.file for problem in self.problems))
        return sorted(dict.fromkeys(self.problems), key=lambda each: (files.index(each.file), each.line))

    def _file_text(self, path: Path, label: str, named_at: Mark) -> str | None:
        try:
            data = read_limited(path, LARGEST_FILE)
        except OSError as error:
            similar = nearest(label, [STOCK])
            self.problem(
                "not_readable",
                named_at,
                f"cannot read the mapping {said(label)} ({error.strerror})",
                similar,
            )
            return None
        except TooLarge as error:
            self.problem("too_large", Mark(file=label), f"the file is too large: {error}")
            return None
        try:
            return texts.decoded(data)
        except texts.NotText as error:
            message = f"the file is not {error.encoding} text; save it as UTF-8"
            self.problem("not_utf8", Mark(file=label, line=error.line), message)
            return None

    def _shaped(self, tree: _Tree) -> MappingDocument | None:
        before = len(self.problems)
        document: MappingDocument | None = None
        try:
            document = MappingDocument.model_validate(tree.data)
        except ValidationError as errors:
            for error in errors.errors(include_url=False)[:_MOST_PROBLEMS]:
                code, message, suggestion = _explain(
                    error["type"], error["loc"], complaint(error), error.get("input")
                )
                self.problem(code, tree.nearest_mark(error["loc"]), message, suggestion)
        _check_names(tree, self)
        return document if len(self.problems) == before else None

    def _merge(self, document: MappingDocument, tree: _Tree) -> None:
        if document.placeholders is not None:
            self.placeholders = ["?", *document.placeholders]
        for name, entry in document.classes.items():
            spec = self.classes.get(name.lower())
            mark = tree.mark("classes", name)
            if spec is None:
                spec = self.classes[name.lower()] = ClassSpec(name=name, mark=mark)
            elif spec.mark.file == STOCK:
                spec.mark = mark
            if entry.entity is not None:
                spec.entity = entry.entity
            if entry.by is not None:
                spec.by = entry.by
            for field_name, field_entry in entry.fields.items():
                spec.fields[field_name] = merged(
                    spec.fields.get(field_name), _field_spec(field_entry, tree, name, field_name)
                )


def merged(earlier: FieldSpec | None, later: FieldSpec | None) -> FieldSpec | None:
    """What holds when `later` overrides `earlier`: with a column it replaces, without one it adjusts options."""
    if later is None or earlier is None or later.entry.column is not None:
        return later
    return earlier.adjusted(later)


def _field_spec(entry: FieldEntry | None, tree: _Tree, class_name: str, name: str) -> FieldSpec | None:
    if entry is None:
        return None
    path = ("classes", class_name, "fields", name)
    return FieldSpec(
        entry=entry,
        mark=tree.mark(*path),
        marks={option: tree.mark(*path, option) for option in entry.model_fields_set},
    )


# ---------------------------------------------------------------- YAML with lines

_Path = tuple[str | int, ...]


class _Tree(msgspec.Struct, kw_only=True):
    """One file as plain data, with the line of every key and value."""

    file: str
    data: object
    lines: dict[_Path, int]

    def mark(self, *path: str | int) -> Mark:
        return Mark(file=self.file, line=self.lines.get(path, 0))

    def nearest_mark(self, path: _Path) -> Mark:
        """The place of a path, or of the nearest thing around it that was really written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.mark(*path[:length])
        return Mark(file=self.file, line=1)


def _read_tree(label: str, text: str, loader: _Loader) -> _Tree | None:
    try:
        if label != STOCK:
            check_limits(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        loader.problem(
            "yaml", Mark(file=label, line=line), f"not valid YAML: {error.problem or error.context}"
        )
        return None
    except yaml.YAMLError as error:
        loader.problem("yaml", Mark(file=label), f"not valid YAML: {str(error).splitlines()[0]}")
        return None
    except Beyond as error:
        loader.problem("too_large", Mark(file=label, line=error.line), str(error))
        return None
    if node is None:
        loader.problem("empty", Mark(file=label), "the file is empty; it must at least say `version: 1`")
        return None
    walker = _Walker(label, loader)
    data = walker.value(node, ())
    if walker.failed:
        return None
    return _Tree(file=label, data=data, lines=walker.lines)


def _too_many_classes(tree: _Tree, loader: _Loader) -> bool:
    classes = tree.data.get("classes") if isinstance(tree.data, dict) else None
    if not isinstance(classes, dict) or len(classes) <= _MOST_CLASSES:
        return False
    message = f"the file names {len(classes):,} classes, at most {_MOST_CLASSES:,} are allowed"
    loader.problem("too_large", tree.nearest_mark(("classes",)), message)
    return True


class _Walker:
    """Turns YAML nodes into plain data. Only true, false, null and short whole numbers are anything but text:
    words such as NO, On or Yes are column names and values here, not truth values."""

    def __init__(self, label: str, loader: _Loader) -> None:
        self.label = label
        self.loader = loader
        self.lines: dict[_Path, int] = {}
        self.failed = False
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: _Path) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._open:
            self._fail(node, "too_large", "the file repeats itself without end (anchors and aliases)")
            return None
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
            self._fail(node, "yaml", f"the YAML tag {said(node.tag)} is not allowed here")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._checked(node, _scalar(node))
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, position)) for position, child in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _checked(self, node: yaml.ScalarNode, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = texts.paired(value)
        wrong = texts.fault(text, controls=False)
        if wrong:
            self._fail(node, "text_invalid", f"the text {texts.shown(text)!r} {wrong}")
        return text

    def _mapping(self, node: yaml.Node, path: _Path) -> dict[str, object]:
        found: dict[str, object] = {}
        lowered: dict[str, str] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fail(key_node, "yaml", "a key must be a plain word")
                continue
            key = str(self._checked(key_node, str(key_node.value)))
            if key.lower() in lowered:
                first = self.lines[(*path, lowered[key.lower()])]
                mark = Mark(file=self.label, line=key_node.start_mark.line + 1)
                self.loader.problem(
                    "duplicate", mark, f"{said(key)} is written twice here, first in line {first}"
                )
                continue
            lowered[key.lower()] = key
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, (*path, key))
        return found

    def _fail(self, node: yaml.Node, code: str, message: str) -> None:
        if not (self.failed and code == "too_large"):
            self.loader.problem(code, Mark(file=self.label, line=node.start_mark.line + 1), message)
        self.failed = True


def _scalar(node: yaml.ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("", "~", "null"):
        return None
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < 10 and str(int(text)) == text else text
    )


# ---------------------------------------------------------------- what is wrong with it

_KEYS_AT: dict[int, tuple[str, ...]] = {
    1: tuple(MappingDocument.model_fields),
    3: tuple(ClassEntry.model_fields),
    5: tuple(FieldEntry.model_fields),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "owner": tuple(Owner),
    "blank": tuple(BlankPolicy),
    "drift": tuple(DriftPolicy),
    "conflict": tuple(ConflictPolicy),
    "entity": (*Entity, "none"),
    "by": ("number", "group"),
}


def _explain(kind: str, loc: _Path, text: str, given: object) -> tuple[str, str, str]:
    """(code, message, suggestion) for one complaint of pydantic, in our words."""
    names = [part for part in loc if isinstance(part, str)]
    key = names[-1] if names else ""
    option = next((name for name in reversed(names) if name in _CHOICES), "")
    where = _where(loc)
    if kind == "extra_forbidden":
        valid = _KEYS_AT.get(len(loc), ())
        return "unknown_key", f"unknown key {said(key)}{where}", nearest(key, valid)
    if kind in ("enum", "literal_error") and option:
        choices = ", ".join(_CHOICES[option])
        message = f"unknown {option} {said(given)}{_where(loc[: loc.index(option) + 1])} (one of {choices})"
        return "unknown_value", message, nearest(str(given), _CHOICES[option])
    if kind == "missing":
        return (
            "missing",
            f"{said(key)} is missing{where}; write `version: 1`"
            if key == "version"
            else f"{said(key)} is missing{where}",
            "",
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        wrong = f"{key or 'the file'!s}{where} must hold `key: value` lines, not {said(given)}"
        left_out = len(loc) == 2 and given is None
        return "wrong_type", f"{wrong}; write `entity: none` to leave a class out" if left_out else wrong, ""
    return "wrong_type", f"{said(key)}{where} is {said(given)}: it {text}", ""


def _where(loc: _Path) -> str:
    """` of Equipment.tag` for a path inside a class."""
    names = [str(part) for part in loc]
    if len(names) < 3 or names[0] != "classes":
        return ""
    return f" of {names[1]}.{names[3]}" if len(names) > 4 and names[2] == "fields" else f" of {names[1]}"


def _check_names(tree: _Tree, loader: _Loader) -> None:
    """Everything that can be wrong without looking at a project: version and names from closed lists."""
    root = tree.data
    if not isinstance(root, dict):
        return
    version = root.get("version")
    if version is not None and version != 1:
        loader.problem(
            "version",
            tree.mark("version"),
            f"version {said(version)} is not known; this program reads version 1",
        )
    for class_name, body in _items(root.get("classes")):
        if not class_name.strip():
            loader.problem("unknown_name", tree.mark("classes", class_name), "a class needs a name")
        for name, options in _items(body.get("fields") if isinstance(body, dict) else None):
            path = ("classes", class_name, "fields", name)
            _check_field_name(name, tree.mark(*path), loader)
            if isinstance(options, dict):
                _check_options(tree, path, f"{class_name}.{name}", options, loader)


def _extended(data: object) -> list[str]:
    """What a file extends, read before its shape is checked, so that the problems of all files are reported at once."""
    named = _as_list(data.get("extends")) if isinstance(data, dict) else None
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []


def _items(value: object) -> Iterable[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def is_attribute_key(key: str) -> bool:
    """Whether a key fits under `attributes`: up to 100 letters, digits, `_` and `-`."""
    return 0 < len(key) <= 100 and key.replace("_", "a").replace("-", "a").isalnum()


def _check_field_name(name: str, mark: Mark, loader: _Loader) -> None:
    if name in CANONICAL_FIELDS:
        return
    if name.startswith("attributes."):
        if not is_attribute_key(name.removeprefix("attributes.")):
            loader.problem(
                "unknown_field", mark, f"{said(name)}: an attribute is letters, digits, _ and -, at most 100"
            )
        return
    close = nearest(name, CANONICAL_FIELDS)
    if not close and is_attribute_key(name):
        close = f"attributes.{name}"
    valid = ", ".join(CANONICAL_FIELDS)
    loader.problem(
        "unknown_field", mark, f"unknown field {said(name)} (valid: {valid}, attributes.<name>)", close
    )


def _check_options(tree: _Tree, path: _Path, label: str, options: dict[str, object], loader: _Loader) -> None:
    closed = (("convert", "converter", tuple(CONVERTERS)), ("compare", "comparator", tuple(COMPARATORS)))
    for option, noun, valid in closed:
        given = options.get(option)
        if isinstance(given, str) and given not in valid:
            message = f"unknown {noun} {said(given)} of {label} (one of {', '.join(valid)})"
            loader.problem(f"unknown_{option}", tree.mark(*path, option), message, nearest(given, valid))
    columns = _as_list(options.get("column"))
    names = [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []
    for position, name in enumerate(names):
        mark = tree.nearest_mark((*path, "column", position))
        if name.startswith("@") and not is_derived(name):
            loader.problem(
                "unknown_derived", mark, f"unknown name {said(name)} in {label}", nearest(name, DERIVED)
            )
        elif not name.strip() or "]" in name or "\x00" in name:
            loader.problem("bad_column", mark, f"{said(name)} in {label} cannot be the name of a column")
    _check_ownership(tree, path, label, names, options, loader)


def _check_ownership(
    tree: _Tree, path: _Path, label: str, names: Sequence[str], options: dict[str, object], loader: _Loader
) -> None:
    """Refuse, with the line, what must never be written into Plant 3D."""
    field_name = str(path[-1])
    owner = options.get("owner")
    if options.get("push") is True and owner in (Owner.PLANT3D.value, Owner.SYNAPSE.value):
        message = f"{label} is owned by {owner} and cannot be pushed; only `owner: shared` fields can"
        loader.problem("not_writable", tree.mark(*path, "push"), message)
    if owner != Owner.SHARED.value and options.get("push") is not True:
        return
    place = tree.mark(*path, "owner" if owner == Owner.SHARED.value else "push")
    if field_name in ("tag", "asset_type", "asset_subtype"):
        message = f"{label} cannot be shared: {field_name} comes from Plant 3D and is never written back"
        loader.problem("not_writable", place, f"{message}; write `owner: plant3d`")
    elif options.get("push") is not False and any(name.lower() == "tag" for name in names):
        message = f"{label} would write the column Tag, which Plant 3D composes from other columns"
        loader.problem("not_writable", place, f"{message}; write `owner: plant3d`")
