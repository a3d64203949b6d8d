"""What is said to people, in their language: the last step before a text leaves the program.

Inside, every sentence is English and made from a template (`"The tag {tag} is also on {names}. {end}"`). The template is
the identity of the message, what was put in are its parameters; both can be read back from the sentence, also from one
that was stored long ago. A message that says a number has two templates (`words.counted`); which form another language
uses is decided by that language's rule and the number that was read back. Catalogues (`locale/LANGUAGE.po`) say each
template in another language. Nothing above the edges (command line, API, workbook) knows that there are languages. Codes, names of JSON members, logs and metrics stay
English. See `docs/adr/0025-a-sentence-is-its-template.md`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

LOCALE: Final = Path(__file__).parent / "locale"
DEFAULT: Final = "en"
LANGUAGES: Final = ("en", "fr")
PSEUDO: Final = "qps"
"""A made-up language for tests: every sentence that was recognised stands in ⟦brackets⟧, what was put in in ⟨these⟩."""
VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")

_current: ContextVar[str] = ContextVar("language", default=DEFAULT)
_PLACE = re.compile(r"\{(\w+)\}")
NUMBER: Final = "n"
"""A place that only a number fills: the one that the plural forms of a message follow."""
HEAD: Final = "head"
"""Context (`msgctxt`) of words that stand alone."""
_DEPTH: Final = 2
_SENTENCES: Final = 8
"""How deep a sentence may stand in another one, and how many may follow one another."""
_BESIDE: Final = " · "
_NAME = re.compile(r"\S+")
_LISTED = "; "
_LONGEST: Final = 20
_PIECES: Final = 3
"""How many problems of a list are told apart, and how often the mark between them may stand in one."""
_SPLIT = re.compile(r"(?<=[.!?])\s+")


def known(tag: str | None) -> str | None:
    """`fr-CA`, `fr_CA.UTF-8`, `FR` -> `fr`; None for a language that we do not speak, and for `C`, which is none."""
    name = re.split(r"[-_.@]", (tag or "").strip().lower(), maxsplit=1)[0]
    return name if name in (*LANGUAGES, PSEUDO) else None


def of_environment() -> str | None:
    """What `LC_ALL`, `LC_MESSAGES` and `LANG` say, the first one that is set; None if they say nothing we know."""
    return next((known(os.environ[name]) for name in VARIABLES if os.environ.get(name)), None)


def accepted(header: str | None) -> str | None:
    """The best of an `Accept-Language` header that we speak, None if there is none."""
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate((header or "").split(",")[:20]):
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        language = known(tag)
        if language is not None and weight > 0:
            wishes.append((-weight, place, language))
    return min(wishes)[2] if wishes else None


def current() -> str:
    """The language of this command or request."""
    return _current.get()


def choose(language: str) -> None:
    """Speak this language from now on, in this context."""
    _current.set(language)


@contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Speak this language inside; None changes nothing."""
    if language is None:
        yield
        return
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def tr(text: str) -> str:
    """A text of ours in the language of this context; what no template made stays as it is."""
    language = _current.get()
    return text if language == DEFAULT or not text else _translated(language, text)


def heading(word: str) -> str:
    """A word of ours that stands alone (the head of a column, a phase) in the language of this context.

    Such words are looked up apart from sentences: the same word as a value of a sentence is somebody's own.
    """
    language = _current.get()
    return word if language == DEFAULT else catalogue(language).heads.get(word, word)


def tr_members(document: Any, names: frozenset[str]) -> Any:
    """A JSON document whose members of these names, at any depth, are translated."""
    if _current.get() == DEFAULT:
        return document
    if isinstance(document, Mapping):
        return {
            key: _told(value)
            if key in names and isinstance(value, str | list)
            else value
            if key in VALUES
            else _sides(value, names)
            if key == CONNECTIONS and isinstance(value, Mapping)
            else tr_members(value, names)
            for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [tr_members(one, names) for one in document]
    return document


def _sides(document: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """What is known of each side by its name, which elsewhere names somebody's value."""
    return {side: tr_members(found, names) for side, found in document.items()}


def _told(value: str | list[Any]) -> str | list[Any]:
    if isinstance(value, str):
        return tr(value)
    return [tr(one) if isinstance(one, str) else tr_members(one, TOLD) for one in value]


TOLD: Final = frozenset(
    {
        "message",
        "hint",
        "detail",
        "sentences",
        "title",
        "did_not_happen",
        "explanation",
        "suggested_explanation",
    }
)
"""Members of our JSON documents that are sentences for people."""
VALUES: Final = frozenset(
    {"attributes", "fields", "values", "set", "was", "base", "plant3d", "synapse", "data"}
)
"""Members that hold somebody's values, whatever these are called."""
CONNECTIONS: Final = "connections"
"""The member with an answer of each side."""


# ---------------------------------------------------------------- sentences and their templates


Plural = tuple[str, str]
"""A message that says a number: its text for one, and for any other number."""
FormOf = Callable[[int], int]


def _only_form(_number: int) -> int:
    return 0


class Template:
    """One message: its English text with `{names}`, and the same in the other language, in each of its forms.

    Fast because a text is first searched for the longest piece that every filling has in common, and only a template
    whose piece is there is made a pattern.
    """

    def __init__(self, text: str, *forms: str, form: FormOf = _only_form) -> None:
        """`form`: which of several forms a number takes; the number is the parameter `n`."""
        self.text = text
        self.forms = forms
        self.weight = len(_PLACE.sub("", text))
        self.piece = max((_unescaped(piece) for piece in _PLACE.split(text)[::2]), key=len)
        self._form = form

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the parameters again. A name that stands twice has to be the same twice."""
        parts: list[str] = []
        seen: set[str] = set()
        end = 0
        for place in _PLACE.finditer(self.text):
            parts.append(re.escape(_unescaped(self.text[end : place.start()])))
            name = place[1]
            anything = r"\d[\d,]*" if name == NUMBER else ".*?"  # never over the end of a line
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{anything})")
            seen.add(name)
            end = place.end()
        parts.append(re.escape(_unescaped(self.text[end:])))
        return re.compile("".join(parts))

    def values(self, text: str) -> dict[str, str] | None:
        """The parameters with which this template says the text; None if it does not."""
        if self.piece not in text:
            return None
        found = self.pattern.fullmatch(text)
        return None if found is None else found.groupdict()

    def filled(self, values: Mapping[str, str]) -> str:
        """The other text with these parameters."""
        other = self.forms[0]
        if len(self.forms) > 1:
            number = int(values.get(NUMBER, "1").replace(",", ""))
            other = self.forms[self._form(number)]
        return _unescaped(_PLACE.sub(lambda place: values.get(place[1], place[0]), other))


def _escaped(texts: Sequence[str]) -> list[str]:
    return [text.replace("{", "{{").replace("}", "}}") for text in texts]


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


class Catalogue:
    """The templates of one language. `heads`: words that stand alone."""

    def __init__(
        self,
        messages: Mapping[str, str],
        *,
        plurals: Mapping[Plural, Sequence[str]] | None = None,
        form: FormOf = _only_form,
        heads: Mapping[str, str] | None = None,
    ) -> None:
        self.heads = heads or {}
        self.plain = {
            _unescaped(one): _unescaped(other) for one, other in messages.items() if not _PLACE.search(one)
        }
        self._by_word: dict[str, list[Template]] = {}
        self.templates = [Template(one, other) for one, other in messages.items() if _PLACE.search(one)]
        for both, forms in (plurals or {}).items():
            self.templates += [Template(one, *forms, form=form) for one in both]
        for template in sorted(self.templates, key=lambda one: -one.weight):
            self._by_word.setdefault(_first_word(template.text), []).append(template)

    @classmethod
    def read(cls, language: str) -> Catalogue:
        """From `locale/`. What is not translated stays English."""
        import gettext

        from babel.messages.pofile import read_po

        name = "fr" if language == PSEUDO else language
        with (LOCALE / f"{name}.po").open("rb") as file:
            catalogue = read_po(file, locale=name)
        messages: dict[str, str] = {}
        plurals: dict[Plural, Sequence[str]] = {}
        heads: dict[str, str] = {}
        for one in catalogue:
            if not one.id or one.fuzzy:
                continue
            if isinstance(one.id, tuple):
                english, forms = (one.id[0], one.id[1]), tuple(one.string or ())
                plurals[english] = forms if all(forms) else english
            else:
                (heads if one.context == HEAD else messages)[str(one.id)] = str(one.string or one.id)
        if language == PSEUDO:
            messages, heads = ({text: _pseudo(text) for text in of} for of in (messages, heads))
            plurals = {both: tuple(_pseudo(text) for text in both) for both in plurals}
        return cls(messages, plurals=plurals, form=gettext.c2py(catalogue.plural_expr), heads=heads)

    def said(self, text: str, depth: int = 0) -> str | None:
        """The text in this language; None if no template made it, nor its sentences one by one."""
        plain = self.plain.get(text)
        if plain is not None:
            return plain
        ends = [gap.span() for gap in _SPLIT.finditer(text)][:_SENTENCES]
        if ends and (last := self.plain.get(text[ends[-1][1] :])) is not None:
            # said by itself: a parameter at the end of what stands before it would take it for its own
            end, start = ends[-1]
            ours = self._whole(text, depth, ending=text[start:])  # unless it belongs to the message itself
            if ours is not None:
                return ours
            before = self.said(text[:end], depth)
            if before is not None:
                return before + text[end:start] + last
        if _LISTED in text and depth <= _DEPTH:
            listed = self._listed(text.split(_LISTED)[:_LONGEST], depth)
            if listed is not None and len(listed) > 1:
                return _LISTED.join(listed)
        whole = self._whole(text, depth) or (self._clause(text, depth) if depth else None)
        if whole is not None or depth > _DEPTH:
            return whole
        if _BESIDE in text:  # a line of a list: what, where, why
            parts = text.split(_BESIDE)
            said = [self.said(part, depth + 1) for part in parts]
            if any(said):
                return _BESIDE.join(new or old for new, old in zip(said, parts, strict=True))
        name, colon, rest = text.partition(": ")
        if colon and _NAME.fullmatch(name):  # `field: what is wrong with it`
            wrong = self.said(rest, depth + 1)
            if wrong is not None:
                return name + colon + wrong
        for end, start in reversed(ends):
            first = self._whole(text[:end], depth)
            if first is not None:
                rest = text[start:]
                return first + text[end:start] + (self.said(rest, depth + 1) or rest)
        return None

    def _listed(self, parts: Sequence[str], depth: int) -> list[str] | None:
        """`one problem; another one`, each by itself; a problem may hold the mark that stands between two of them."""
        for count in range(1, min(len(parts), _PIECES) + 1):
            first = _LISTED.join(parts[:count])
            said = self._whole(first, depth) or self._clause(first, depth)
            if said is None:
                continue
            rest = self._listed(parts[count:], depth) if parts[count:] else []
            if rest is not None:
                return [said, *rest]
        return None

    def _clause(self, text: str, depth: int) -> str | None:
        """`field: what is wrong with it`, or a message without what it says of what did not happen."""
        name, colon, rest = text.partition(": ")
        if colon and _NAME.fullmatch(name) and (wrong := self._whole(rest, depth)) is not None:
            return name + colon + wrong
        for template in self._cut:
            found = template.values(text)
            if found is not None:
                return template.filled({name: self._value(value, depth) for name, value in found.items()})
        return None

    @functools.cached_property
    def _cut(self) -> list[Template]:
        """Messages without their last sentence, if that is a message too (`Nothing was done.`), and without the full stop."""
        found = []
        for template in self.templates + [Template(*_escaped(both)) for both in self.plain.items()]:
            before, _, last = template.text.rpartition(". ")
            told = self.plain.get(last)
            words = len(
                _PLACE.sub("", before).split()
            )  # of its own: what has hardly any would be found everywhere
            if told is not None and words > 2 and len(template.forms) == 1:
                found.append(
                    Template(before, template.forms[0].removesuffix(told).rstrip().removesuffix("."))
                )
        return sorted(found, key=lambda one: -one.weight)

    def _whole(self, text: str, depth: int, ending: str = "") -> str | None:
        """By one template, which has to end with these words of its own."""
        plain = self.plain.get(text)
        if plain is not None:
            return plain
        for word in dict.fromkeys((_first_word(text), "")):
            for template in self._by_word.get(word, ()):
                if not template.text.endswith(ending) or (ending and template.weight <= len(ending) + 2):
                    continue  # `{what} Nothing was done.` says no more than what it ends with
                found = template.values(text)
                if found is not None:
                    return template.filled({name: self._value(value, depth) for name, value in found.items()})
        return None

    def _value(self, value: str, depth: int) -> str:
        """What was put in; a sentence of ours is said too, with the blanks around it."""
        bare = value.strip()
        if depth >= _DEPTH or (" " not in bare and bare not in self.plain):
            return value
        start = value.index(bare) if bare else 0
        said = self.said(bare, depth + 1)
        return value if said is None else value[:start] + said + value[start + len(bare) :]


def _pseudo(text: str) -> str:
    return f"⟦{_PLACE.sub(lambda place: f'⟨{place[0]}⟩', text)}⟧"


def _first_word(text: str) -> str:
    """What a text begins with up to its first blank, if no parameter stands in it."""
    word = text.split(" ", 1)[0]
    return "" if "{" in word or "}" in word else word


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language, read once."""
    return Catalogue.read(language)


@functools.lru_cache(maxsize=8192)
def _translated(language: str, text: str) -> str:
    body = text.lstrip()
    indent = text[: len(text) - len(body)]
    said = catalogue(language).said(body)
    if said is None and "\n" in body:
        return indent + "\n".join(_translated(language, line) for line in body.split("\n"))
    return indent + (said or body)
