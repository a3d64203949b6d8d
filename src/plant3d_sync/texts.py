"""The door for texts from outside: configuration, variables, command lines, files. Looked at once, where they enter.

JSON writers put a character beyond U+FFFF down as two surrogates (`\\ud83d\\udd25`), and YAML readers leave it so: the
pair becomes the character it stands for. A surrogate alone is no character: no database, file name or network
takes it. It is refused here, with the place where it stands, as are NUL and the other control characters.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Any

from plant3d_sync.errors import ConfigError

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUL = re.compile("\x00")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_BYTE = range(0xDC80, 0xDD00)
"""Where Python keeps bytes of variables and arguments that are not UTF-8 (`surrogateescape`)."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def paired(text: str) -> str:
    """The text with every pair of surrogates as the one character it stands for."""
    return _PAIR.sub(_character, text)


def _character(pair: re.Match[str]) -> str:
    return pair.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def shown(text: str) -> str:
    """The text as a message can hold it: what is no character is written as its number."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def fault(text: str, *, controls: bool = True) -> str:
    """What is wrong with a text, as the rest of a sentence; empty if nothing is.

    `controls`: whether control characters other than NUL are refused too.
    """
    lone = _SURROGATE.search(text)
    if lone is not None:
        code, place = ord(lone.group()), lone.start() + 1
        if code in _BYTE:
            return f"holds the byte 0x{code - 0xDC00:02x} (character {place}), which is not UTF-8"
        return f"holds half of a character (a lone surrogate U+{code:04X}, character {place})"
    control = (_CONTROL if controls else _NUL).search(text)
    if control is not None:
        code, place = ord(control.group()), control.start() + 1
        name = {0: "a NUL", 10: "a line break", 13: "a line break"}.get(code, "a control")
        return f"holds {name} character (U+{code:04X}, character {place})"
    return ""


def cleaned(value: Any, problems: list[str], *, where: str = "") -> Any:
    """A tree of plain data with its texts paired; every text and key that has a fault adds a line to `problems`."""
    if isinstance(value, str):
        text = paired(value)
        wrong = fault(text)
        if wrong:
            problems.append(f"{where or 'the document'} {wrong}")
        return text
    if isinstance(value, Mapping):
        return dict(_entries(value, problems, where))
    if isinstance(value, list):
        return [cleaned(each, problems, where=f"{where}[{n}]") for n, each in enumerate(value)]
    return value


def _entries(value: Mapping[Any, Any], problems: list[str], where: str) -> Iterator[tuple[Any, Any]]:
    for key, each in value.items():
        name = (
            cleaned(key, problems, where=f"a name in {where}" if where else "a name")
            if _is_text(key)
            else key
        )
        yield name, cleaned(each, problems, where=f"{where}.{shown(str(name))}".lstrip("."))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


class NotText(ValueError):
    """Bytes of a file that are no text. `encoding`: what they should have been; `line`: where, from 1."""

    def __init__(self, encoding: str, line: int) -> None:
        super().__init__(f"line {line} is not {encoding} text; save it as UTF-8")
        self.encoding, self.line = encoding, line


def decoded(data: bytes) -> str:
    """The text of a file: UTF-8, or what its byte order mark says; the mark itself is left out.

    Raises NotText.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotText(encoding.upper().removesuffix("-SIG"), line) from error


def check_words(words: list[str]) -> list[str]:
    """The words of a command line, each paired. Raises ConfigError `text_invalid` naming the first bad one."""
    checked = [paired(word) for word in words]
    for number, word in enumerate(checked, 1):
        wrong = fault(word, controls=False)
        if wrong:
            raise ConfigError(
                f"Word {number} of the command line ({shown(word)}) {wrong}. Nothing was done.",
                hint="Type it in UTF-8; a file whose name is not UTF-8 has to be renamed.",
                code="text_invalid",
            )
    return checked
