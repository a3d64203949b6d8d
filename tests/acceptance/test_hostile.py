"""Whatever is handed to a command: it ends in time, with an exit code of ours, without a traceback, and leaves nothing beside the
source. Generators, by seed: configurations, mappings, workbooks, answers of SYNAPSE, and damaged databases.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pytest

from plant3d_sync.mapping.file import stock_text
from tests.properties.test_damaged_sources import DAMAGES
from tests.support.faulty_http import Answer, Seen
from tests.support.synapse_dev import RunningSynapse
from tests.support.wayback import small_worlds
from tests.support.world import NAME, SOURCE, MakeWorld, Said, World, recorded

OURS = {0, 2, 3, 5, 75, 78}
LONGEST = 30.0
LARGEST_MIB = 300
MANY = [pytest.param(block, marks=pytest.mark.long) for block in range(1, 8)]
BLOCKS = [0, *MANY]
"""Of each generator one block of cases in every run, the others in long ones."""

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "x" * 70_000,
    "\0",
    "../../etc/passwd",
    "=1+1",
    "\ud7ff",
    [],
    {},
    [[[[]]]],
    {"$ref": "#"},
    "2026-13-45",
    "9999999999999999999999",
    float(2**53),
    ["a"] * 1000,
)


@pytest.fixture
def make_small(tmp_path: Path, reference_synapse: RunningSynapse) -> MakeWorld:
    return small_worlds(tmp_path, reference_synapse)


def judged(said: Said, began: float, what: object) -> str:
    text = said.out + said.err
    assert said.code in OURS, f"{what}: {said.code} {text[-3000:]}"
    assert "Traceback" not in text and "internal_error" not in text, f"{what}: {text[-3000:]}"
    assert time.monotonic() - began < LONGEST, what
    return str(said.code)


def bent(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """The same value with something in it that does not belong there."""
    if isinstance(value, dict) and value and (depth == 0 or chance.random() < 0.85):
        changed = dict(value)
        key = chance.choice(list(changed))
        match chance.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[chance.choice(["", "id", "\0", "x" * 300])] = chance.choice(ODD)
            case _:
                changed[key] = bent(chance, changed[key], depth + 1)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.85:
        changed_list = list(value)
        place = chance.randrange(len(changed_list))
        match chance.randrange(5):
            case 0:
                del changed_list[place]
            case 1:
                changed_list += changed_list[place : place + 1] * chance.choice([1, 50])
            case _:
                changed_list[place] = bent(chance, changed_list[place], depth + 1)
        return changed_list
    return chance.choice(ODD)


def scrambled(chance: random.Random, text: str) -> str:
    """A YAML text with lines moved, doubled, cut, indented and replaced by what YAML can do."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(lines))
        match chance.randrange(7):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[chance.randrange(len(lines))])
            case 2:
                lines[place] = " " * chance.randrange(9) + lines[place].strip()
            case 3:
                lines[place] = lines[place][: chance.randrange(len(lines[place]) + 1)]
            case 4:
                lines[place] += chance.choice(
                    [" &a [*a]", " !!python/object:os.system x", " {", " |", " %", "\t", " *b"]
                )
            case 5:
                head = lines[place].partition(":")[0]
                lines[place] = (
                    f"{head}: {chance.choice(['~', '[]', '{}', '.inf', '0x', '2026-13-45', 'y' * 70_000, '- -'])}"
                )
            case _:
                lines[place] = "<<: " + lines[place].strip()
        lines = lines or ["x: y"]
    return "\n".join(lines)


@pytest.mark.parametrize("block", BLOCKS)
def test_configurations_and_mappings(make_small: MakeWorld, block: int) -> None:
    world = make_small(mapping=["mapping.yml"])
    mapping = world.folder / "mapping.yml"
    texts = {world.config: world.config.read_text(), mapping: stock_text()}
    for seed in range(block * 20, block * 20 + 20):
        chance = random.Random(seed)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        target = chance.choice(list(texts))
        target.write_text(scrambled(chance, texts[target]), encoding="utf-8")
        words = ("check-config",) if target is world.config else ("mapping", "check", str(mapping))
        began = time.monotonic()
        judged(world.cli(*words), began, f"seed {seed} {target.name}")


def export_like(rows: int = 30) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Pumps"
    for row in range(rows):
        sheet.append([f"cell {row}-{column}" if row else f"PnPID {column}" for column in range(6)])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def hostile_workbook(chance: random.Random, whole: bytes) -> bytes:
    data = bytearray(whole)
    kind = chance.randrange(5)
    if kind == 0:
        for _ in range(chance.randint(1, 60)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    if kind == 1:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 2:
        return chance.randbytes(chance.randrange(1, 5000))
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = chance.choice(old.namelist())
        for name in old.namelist():
            part = bytearray(old.read(name))
            if name == chosen and kind == 3:
                for _ in range(chance.randint(1, 30)):
                    part[chance.randrange(len(part))] = chance.randrange(256)
            elif name == chosen:
                extra = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
                part = bytearray(chance.choice([b"", extra, b" " * 60_000_000, bytes(part) + bytes(part)]))
            if chance.random() < 0.95:
                new.writestr(name, bytes(part))
    return target.getvalue()


@pytest.mark.parametrize("block", BLOCKS)
def test_workbooks(make_small: MakeWorld, block: int) -> None:
    world = make_small(write="workbook")
    world.pulled()
    whole, export = export_like(), world.folder / "export.xlsx"
    for seed in range(block * 15, block * 15 + 15):
        export.write_bytes(hostile_workbook(random.Random(seed), whole))
        began = time.monotonic()
        said = world.cli("workbook", NAME, "--from", str(export), "-o", str(world.folder / f"out{seed}.xlsx"))
        judged(said, began, f"seed {seed}")


class Liar:
    """Changes one early answer for certain, and each other one now and then."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._first = self._chance.randrange(5)
        self._count = -1

    def __call__(self, _seen: Seen, answer: Answer) -> Answer:
        self._count += 1
        if self._count != self._first and self._chance.random() < 0.8:
            return answer
        try:
            value = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return answer
        body = orjson.dumps(bent(self._chance, value), option=orjson.OPT_NON_STR_KEYS)
        return Answer(status=self._chance.choice([answer.status] * 6 + [200, 409, 500]), body=body)


@pytest.mark.parametrize("block", BLOCKS)
def test_answers_of_synapse(make_small: MakeWorld, block: int) -> None:
    found: Counter[str] = Counter()
    for seed in range(block * 12, block * 12 + 12):
        world = make_small(name=f"lied{seed}")
        with recorded(world) as recorder:
            recorder.edit = Liar(seed)
            for words in (("pull", NAME), ("now", NAME)):
                began = time.monotonic()
                found[judged(world.cli(*words, env={"SYNC_RETRY_ATTEMPTS": "1"}), began, f"seed {seed}")] += 1
        shutil.rmtree(world.folder)
    assert len(found) > 1, found


@pytest.mark.skipif(sys.platform == "win32", reason="measures processes as on POSIX")
@pytest.mark.parametrize("block", [pytest.param(block, marks=pytest.mark.long) for block in range(8)])
def test_damaged_databases_as_processes(make_small: MakeWorld, block: int) -> None:
    world = make_small()
    healthy = world.dcf.read_bytes()
    beside = set(os.listdir(world.dcf.parent))
    for seed in range(block * 10, block * 10 + 10):
        chance = random.Random(seed)
        data = bytearray(healthy)
        DAMAGES[seed % len(DAMAGES)](chance, data)
        world.dcf.write_bytes(data)
        words = chance.choice([("pull", NAME), ("doctor", NAME), ("inspect", str(world.dcf)), ("plan", NAME)])
        began = time.monotonic()
        said, mib = measured(world, *words)
        judged(said, began, f"seed {seed} {words}")
        assert mib < LARGEST_MIB, f"seed {seed} {words}: {mib} MiB"
        new = set(os.listdir(world.dcf.parent)) - beside
        assert not {name for name in new if name.startswith(world.dcf.name)}, f"seed {seed} left {new}"
        assert world.dcf.read_bytes() == data, f"seed {seed} changed the source"


LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024))
sys.exit(code)
"""
"""Small itself: what a process is started from counts as held by it, and a test process is large."""


def measured(world: World, *words: str) -> tuple[Said, int]:
    """A command as a process, and the most memory it held."""
    held = world.folder / "held"
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, str(held), sys.executable, "-m", "plant3d_sync"]
        + ["--config", str(world.config), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **world.environment({})},
        timeout=120,
        check=False,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr), int(held.read_text())
