"""What can be a tag, and which tags look alike.

Reading, naming the ends of lines, finding duplicates, the tag registry, `inspect` and sending all ask here, so that one
text is a tag everywhere or nowhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

MAX_TAG = 100
"""Characters of a tag that SYNAPSE holds (contract D.2)."""

STOCK_PLACEHOLDERS = ("?", "NA", "N/A", "HOLD", "TBD", "TBA", "TBC", "-")
"""Words drafters write instead of a tag. `?` is Plant 3D's own sign of an unfilled part and always counts."""


class Unusable(StrEnum):
    """Why a text cannot be a tag."""

    EMPTY = "empty"
    PLACEHOLDER = "placeholder"
    CONTROL = "control"
    TOO_LONG = "too_long"


_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_ONLY_A_PREFIX = re.compile(r"[^\W\d_]+\s*[-_./\\:+\s]+")
"""Letters with a separator and nothing behind it: the number is still to come (`P-`)."""

_GOOD = re.compile(r"(?=[^0-9]{0,99}[0-9])[!->@-~](?:[ ->@-~]{0,98}[!->@-~])?").fullmatch
"""What nearly all tags are: printable ASCII without outer blanks and `?`, short enough, with a number. Nothing can be wrong
with it, unless a placeholder has a number too."""


@dataclass(frozen=True)
class TagRule:
    """Which texts are tags in one project. `placeholders`: words (any case) that stand for a tag still to come."""

    placeholders: tuple[str, ...] = STOCK_PLACEHOLDERS
    _words: frozenset[str] = field(init=False, repr=False, compare=False)
    _numbered: frozenset[str] = field(init=False, repr=False, compare=False)
    """Those of the words that `_GOOD` lets pass."""

    def __post_init__(self) -> None:
        words = frozenset(word.strip().casefold() for word in self.placeholders)
        object.__setattr__(self, "_words", words)
        object.__setattr__(self, "_numbered", frozenset(filter(_GOOD, words)))

    def problem(self, text: str) -> Unusable | None:
        """Why this text is no tag, None if it is one. Outer blanks do not count."""
        if _GOOD(text):  # the rest of the function says the same, at seven times the price
            return Unusable.PLACEHOLDER if text.casefold() in self._numbered else None
        text = text.strip()
        if not text:
            return Unusable.EMPTY
        if "?" in text or text.casefold() in self._words or _is_unfilled(text):
            return Unusable.PLACEHOLDER
        if not text.isprintable() and control_character(text) is not None:
            return Unusable.CONTROL
        return Unusable.TOO_LONG if len(text) > MAX_TAG else None

    def usable(self, value: object) -> str | None:
        """The tag without outer blanks, or None when the value is no tag."""
        if not isinstance(value, str):
            return None
        if _GOOD(value) and not self._numbered:
            return value
        return value.strip() if self.problem(value) is None else None


STOCK = TagRule()
"""The rule of a project whose mapping says nothing about placeholders."""


def _is_unfilled(text: str) -> bool:
    return not any(map(str.isalnum, text)) or _ONLY_A_PREFIX.fullmatch(text) is not None


def control_character(text: str) -> str | None:
    """The first line break or other control character of a text."""
    return next((char for char in text if unicodedata.category(char) in _CONTROL), None)


# ---------------------------------------------------------------- tags that look alike

_DASHES = dict.fromkeys(map(ord, "\u2212\u00ad\u02d7\u2043\ufe63\uff0d\u30fc"), "-")
_TWINS = str.maketrans(
    # Greek and Cyrillic capitals that a reader cannot tell from Latin ones
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0408\u0405\u04ae",
    "ABEZHIKMNOPTYXABEKMHOPCTXIJSY",
)
_AS_DIGITS = str.maketrans("OI", "01")


def look_alike_key(tag: str) -> str:
    """A text that is the same for tags which a reader takes for one another.

    Capitals, composed accents, full width, kinds of dash and blank, invisible characters, and Greek and Cyrillic twins
    of Latin letters make no difference.
    """
    if tag.isascii():
        return " ".join(tag.upper().split())
    text = unicodedata.normalize("NFKC", tag.translate(_DASHES))
    text = "".join("-" if unicodedata.category(c) == "Pd" else c for c in text if not _invisible(c))
    return " ".join(unicodedata.normalize("NFKC", text.upper()).translate(_TWINS).split())


def misread_key(key: str) -> str:
    """A look-alike key that is also the same for O and 0, and for I and 1."""
    return key.translate(_AS_DIGITS)


_AT_ONCE = 1000
"""Tags whose keys are made together: one text of all of them would be the largest thing a run of many items holds."""
_UNUSUAL = ("  ", " \n", "\n ", "\n\n")


def _is_as_it_is(text: str) -> bool:
    """Lines of printable ASCII without outer or double blanks: of such texts only the capitals count."""
    return (
        text.isascii()
        and text == text.strip()
        and not any(one in text for one in _UNUSUAL)
        and text.replace("\n", "").isprintable()
    )


def misread_keys(tags: Sequence[str]) -> list[str]:
    """The `misread_key` of the look-alike key of each tag, all at once if they are as tags usually are."""
    keys: list[str] = []
    for start in range(0, len(tags), _AT_ONCE):
        keys += _keys_of_some(tags[start : start + _AT_ONCE])
    return keys


def _keys_of_some(tags: Sequence[str]) -> list[str]:
    text = "\n".join(tags)
    if _is_as_it_is(text):
        keys = misread_key(text.upper()).split("\n")
        if len(keys) == len(tags):
            return keys
    return [misread_key(look_alike_key(tag)) for tag in tags]


def _invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def telling_apart(one: str, other: str) -> str:
    """In words, the first character that differs in two tags: `'0' U+0030 (DIGIT ZERO) against 'O' U+004F (...)`."""
    position = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if position is None:
        position = min(len(one), len(other))
    while position > 0 and any(
        unicodedata.combining(text[position : position + 1] or "a") for text in (one, other)
    ):
        position -= 1
    mine, theirs = _named(one, position), _named(other, position)
    return f"{mine} against {theirs} at character {position + 1}"


def _named(text: str, position: int) -> str:
    if position >= len(text):
        return "nothing"
    end = position + 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    char = text[position:end]  # with the accents that are characters of their own
    shown = f"'{char}' " if char.isprintable() and not char.isspace() else ""
    codes = " ".join(f"U+{ord(one):04X}" for one in char)
    return f"{shown}{codes} ({', '.join(unicodedata.name(one, 'no name').lower() for one in char)})"
