"""What commands print: data on stdout, everything else on stderr. Values from drawings are never markup."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from plant3d_sync.address import MASK
from plant3d_sync.errors import SyncError
from plant3d_sync.language import TOLD, heading, tr, tr_members
from plant3d_sync.words import bare


def print_json(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document."""
    text = orjson.dumps(
        tr_members(data, TOLD), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str
    )
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:  # a captured stdout
        sys.stdout.write(text.decode() + "\n")
    else:
        sys.stdout.flush()
        stream.write(text + b"\n")
    sys.stdout.flush()


def plain(value: object) -> str:
    """A value as one line of text; control characters (ESC included) become visible symbols."""
    return "".join(_visible(char) for char in bare(value))


def _visible(char: str) -> str:
    if ord(char) < 32:
        return chr(0x2400 + ord(char))
    if unicodedata.category(char) in ("Cc", "Cf", "Cs"):
        return "\ufffd"
    return char


def say(text: str) -> None:
    """One line for people on stdout, in their language."""
    put(tr(text))


def put(text: str) -> None:
    """One line on stdout that is in the reader's language already."""
    try:
        print(text)
    except UnicodeEncodeError:  # a Windows console with an old code page
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding))


def heads(*words: str) -> tuple[str, ...]:
    """Words that stand alone, as heads of columns do. `docs/texts.py` collects them."""
    return words


(COLON,) = heads(": ")
"""Between a label and what it is about; a language may want a blank before it."""


def labelled(label: str, about: object) -> str:
    """`label: about`, both in the reader's language already."""
    return f"{label}{heading(COLON)}{about}"


PHASES = heads("feed", "compare", "write", "push", "link")
"""What a run is at, as the progress line says it."""


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table, columns aligned, its heads in the reader's language."""
    headers = [heading(header) for header in headers]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max([len(header), *(len(row[index]) for row in cells)]) if cells else len(header)
        for index, header in enumerate(headers)
    ]
    for row in (headers, *cells):
        put("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    """One cell; a sentence of ours (never a single word, which may be a tag or a code) in the reader's language."""
    text = plain(value)
    return tr(text) if " " in text else text


def print_error(error: SyncError, *, as_json: bool) -> None:
    """An error for a person (stderr) and, if asked, for a script (stdout)."""
    first, *more = MASK.text(tr(error.message)).split("\n")
    sys.stderr.write(labelled(f"{tr('error')}[{error.error_code}]", plain(first)) + "\n")
    for line in more:  # indented, so that no value can pass for a line of ours
        sys.stderr.write(f"  {plain(line)}\n")
    if error.hint:
        hint = plain(MASK.text(tr(error.hint)))
        sys.stderr.write("  " + tr(f"what to do: {hint}") + "\n")
    if as_json:
        print_json({"error": MASK.value(error.to_dict())})


class ProgressLine:
    """Progress on stderr: a moving line on a terminal, else one line per phase or ten seconds."""

    def __init__(self) -> None:
        self._phase = ""
        self._last = 0.0
        self._terminal = sys.stderr.isatty()

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if phase == self._phase and now - self._last < (0.1 if self._terminal else 10.0):
            return
        if phase != self._phase and self._phase and self._terminal:
            sys.stderr.write("\n")
        self._phase, self._last = phase, now
        amount = f"{done}" if total is None else f"{done}/{total}"
        line = labelled(heading(phase), amount)
        sys.stderr.write(f"\r{line}   " if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def heard(self, name: str, facts: Mapping[str, object]) -> None:
        """Say of a call to SYNAPSE that has to be repeated why, and when it goes on."""
        if name != "synapse.retry":
            return
        self.close()
        self._phase = ""
        told = (
            f"SYNAPSE did not answer as it should ({plain(facts['reason'])}): "
            f"attempt {int(str(facts['attempt'])) + 1} of {facts['attempts']} in {facts['wait_seconds']:g} s"
        )
        sys.stderr.write(f"{tr(told)}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End the moving line."""
        if self._terminal and self._phase:
            sys.stderr.write("\n")
