"""What may be handed to it as text: each attack ends at once, in one line that names the limit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plant3d_sync.errors import ConfigError
from plant3d_sync.mapping import load_mapping
from plant3d_sync.settings import Settings, load_config

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="FIFO, device and links as on POSIX")
PATIENCE = 30.0
"""Seconds in which everything that was handed to it has ended."""


def laughs(depth: int = 12, width: int = 9) -> str:
    """Lists of lists by aliases: `width ** depth` entries in a few hundred bytes."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines) + "\n"


def merges(depth: int = 20) -> str:
    """Each mapping merges the one before twice."""
    lines = ["m0: &m0 {k: v}"]
    lines += [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: v}}" for n in range(1, depth)]
    return "\n".join(lines) + "\n"


ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    "aliases of aliases": (laughs, "50,000 keys and values"),
    "merges of merges": (merges, "50,000 keys and values"),
    "an alias inside of what it repeats": (lambda: "a: &a [*a]\n", "50,000 keys and values"),
    "a text of 10 MB": (lambda: "a: " + "x" * 10_000_000 + "\n", "at most 1048576 are read"),
    "a text of half a MB": (lambda: "a: " + "x" * 500_000 + "\n", "at most 65,536 are allowed"),
    "a million keys": (lambda: "".join(f"k{n}: 1\n" for n in range(1_000_000)), "at most 1048576 are read"),
    "as many keys as fit": (lambda: "".join(f"{n}: \n" for n in range(120_000)), "50,000 keys and values"),
    "a depth of 10,000": (lambda: "[" * 10_000 + "]" * 10_000, "deeper than 50 levels"),
    "a depth of 10,000 without an end": (lambda: "{a: " * 10_000, "deeper than 50 levels"),
}


def fails(folder: Path, what: str, kind: str) -> ConfigError:
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        if kind == "configuration":
            load_config(folder / what, Settings())
        else:
            load_mapping([what], base_dir=folder)
    assert time.monotonic() - started < PATIENCE
    assert len(caught.value.message) < 1000
    return caught.value


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["configuration", "mapping"])
def test_a_text_beyond_a_limit_is_refused_with_the_limit(tmp_path: Path, kind: str, attack: str) -> None:
    make, limit = ATTACKS[attack]
    (tmp_path / "it.yml").write_text(make(), encoding="utf-8")
    assert limit in fails(tmp_path, "it.yml", kind).message


@pytest.mark.parametrize(("count", "limit"), [(20_000, "50,000 keys and values"), (2001, "at most 2,000")])
def test_thousands_of_classes_are_refused_with_the_limit(tmp_path: Path, count: int, limit: str) -> None:
    classes = "".join(f"  C{n}: {{entity: none}}\n" for n in range(count))
    (tmp_path / "it.yml").write_text(f"version: 1\nclasses:\n{classes}", encoding="utf-8")
    assert limit in fails(tmp_path, "it.yml", "mapping").message


def test_as_many_mistakes_as_fit_into_a_file_are_told_in_time(tmp_path: Path) -> None:
    keys = "".join(f"clases{n}: 1\n" for n in range(5_000))
    (tmp_path / "it.yml").write_text(f"version: 1\n{keys}", encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(ConfigError):
        load_mapping(["it.yml"], base_dir=tmp_path)
    assert time.monotonic() - started < PATIENCE


def circle(folder: Path) -> Path:
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    return folder / "one"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


ODD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pipe": (pipe, "a pipe"),
    "a device": (lambda _: Path("/dev/zero"), "a device"),
    "a folder": (lambda folder: folder, "a folder"),
    "a link in a circle": (circle, "symbolic links"),
}


@POSIX
@pytest.mark.parametrize("what", ODD_FILES)
@pytest.mark.parametrize("kind", ["configuration", "mapping", "extended mapping"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str, what: str) -> None:
    make, says = ODD_FILES[what]
    named = str(make(tmp_path))
    if kind == "extended mapping":
        (tmp_path / "it.yml").write_text(f"version: 1\nextends: {named}\n", encoding="utf-8")
        named = "it.yml"
    assert says in fails(tmp_path, named, kind).message
