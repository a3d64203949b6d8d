"""Three hundred sources that are no healthy file: each is read or refused by an error of ours, and left as it was."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import open_source
from plant3d_sync.connectors.plant3d.reading.copy import fill_copy
from plant3d_sync.errors import SyncError
from tests.support.dcf import Dcf

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="FIFO, device and links as on POSIX")
SEEDS = range(320)
PAGE = 4096
OURS = {2, 3, 5, 75, 78}
"""Exit codes of errors that are ours."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    dcf = Dcf(tmp_path_factory.mktemp("healthy") / "ProcessPower.dcf")
    for number in range(30):
        dcf.add("CentrifugalPump", Tag=f"P-{number}", Description="words " * 20)
    return dcf.path.read_bytes()


Damage = Callable[[random.Random, bytearray], None]


def noise_in_pages(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 20)):
        start = chance.randrange(0, len(data) // PAGE) * PAGE + (100 if chance.random() < 0.3 else 0)
        data[start : start + PAGE] = chance.randbytes(len(data[start : start + PAGE]))


def flipped_bytes(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 400)):
        data[chance.randrange(100, len(data))] = chance.randrange(256)


def a_wrong_header(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(16, 100)] = chance.randrange(256)


def another_length(chance: random.Random, data: bytearray) -> None:
    if chance.random() < 0.5:
        del data[chance.randrange(0, len(data)) :]
    else:
        data += chance.randbytes(chance.randrange(1, 3 * PAGE))


def a_promise_of_40_gb(chance: random.Random, data: bytearray) -> None:
    data[28:32] = (10_000_000 + chance.randrange(1000)).to_bytes(4, "big")
    if chance.random() < 0.5:
        data[92:96] = chance.randbytes(4)


def swapped_pages(chance: random.Random, data: bytearray) -> None:
    one, two = (chance.randrange(1, len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE], data[two : two + PAGE] = data[two : two + PAGE], data[one : one + PAGE]


def a_wal_flag(chance: random.Random, data: bytearray) -> None:
    data[18] = data[19] = 2
    if chance.random() < 0.5:
        flipped_bytes(chance, data)


DAMAGES: tuple[Damage, ...] = (
    noise_in_pages,
    flipped_bytes,
    a_wrong_header,
    another_length,
    a_promise_of_40_gb,
    swapped_pages,
    a_wal_flag,
)


def read_all(path: Path) -> None:
    snapshot = open_source(path, deadline=10).snapshot()
    try:
        for _ in snapshot.scan(sorted(snapshot.catalog.classes), {}):
            pass
        snapshot.findings()
    finally:
        snapshot.close()


@pytest.mark.parametrize("block", range(8))
def test_a_damaged_file_is_read_or_refused_and_nothing_is_left_beside_it(
    healthy: bytes, tmp_path: Path, block: int
) -> None:
    path = tmp_path / "ProcessPower.dcf"
    refused = 0
    for seed in SEEDS[block::8]:
        chance = random.Random(seed)
        data = bytearray(healthy)
        DAMAGES[seed // 8 % len(DAMAGES)](chance, data)
        path.write_bytes(data)
        try:
            read_all(path)
        except SyncError as error:
            refused += 1
            assert error.exit_code in OURS, f"seed {seed}: {error.error_code}"
        assert os.listdir(tmp_path) == [path.name], f"seed {seed} left something beside the source"
        assert path.read_bytes() == data, f"seed {seed} changed the source"
    assert refused > 5


@pytest.mark.parametrize("on_a_share", [False, True])
def test_what_lies_behind_the_database_is_not_read(
    healthy: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_a_share: bool
) -> None:
    """40 GB behind it held the lock for the whole deadline, in every run."""
    monkeypatch.setattr("plant3d_sync.connectors.plant3d.reading.copy.may_hang", lambda *_: on_a_share)
    path, copy = tmp_path / "ProcessPower.dcf", tmp_path / "copy"
    path.write_bytes(healthy)
    os.truncate(path, 40 * 2**30)
    copy.touch()
    fill_copy(path, copy, deadline=600)
    assert copy.read_bytes() == healthy


def test_a_healthy_file_with_a_wal_flag_is_read_and_nothing_is_left_beside_it(
    healthy: bytes, tmp_path: Path
) -> None:
    data = bytearray(healthy)
    data[18] = data[19] = 2
    path = tmp_path / "ProcessPower.dcf"
    path.write_bytes(data)
    snapshot = open_source(path).snapshot()
    assert snapshot.counts(["CentrifugalPump"]) == {"CentrifugalPump": 30}
    snapshot.close()
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("relation", "one", "other"),
    [
        ("LineStartAsset", "Line", "Asset"),
        ("LineInlineAsset", "Asset", "Line"),
        ("PipeLineGroupRelationship", "PipeLine", "PipeLineGroup"),
    ],
)
def test_an_item_with_very_many_relations_is_read_and_told(
    tmp_path: Path, relation: str, one: str, other: str, count: int
) -> None:
    dcf = Dcf(tmp_path / "ProcessPower.dcf")
    pump, line, segment = (
        dcf.add("CentrifugalPump", Tag="P-1"),
        dcf.add("PipeLineGroup", Tag="L-1"),
        dcf.add("Primary"),
    )
    dcf.relate("PipeLineGroupRelationship", PipeLineGroup=line, PipeLine=segment)
    dcf.relate("LineStartAsset", Line=segment, Asset=pump)
    dcf.relate("LineInlineAsset", Line=segment, Asset=pump)
    item = pump if one == "Asset" else segment
    with closing(sqlite3.connect(dcf.path)) as database:
        rows = ((item, 10**6 + number) for number in range(count))
        database.executemany(f"INSERT INTO {relation} ({one}, {other}) VALUES (?, ?)", rows)
        database.commit()
    with open_source(dcf.path).snapshot() as snapshot:
        assert sum(len(batch.changed) for batch in snapshot.scan(sorted(snapshot.catalog.classes), {})) == 3
        findings = snapshot.findings()
    told = [finding for finding in findings if finding.code == "relations_too_many"]
    assert [(finding.pnpid, finding.data["relation"]) for finding in told] == [(item, relation)]
    assert len(findings) < 1100, "of rows that lead nowhere only the first are listed"
    assert max(len(str(finding)) for finding in findings) < 20_000


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "ProcessPower.dcf")
    return folder / "ProcessPower.dcf"


def circle(folder: Path) -> Path:
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    return folder / "one"


@POSIX
@pytest.mark.parametrize(
    "make", [pipe, circle, lambda _: Path("/dev/zero")], ids=["pipe", "circle", "device"]
)
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = open_source(make(tmp_path))
    assert source.signature() is None
    with pytest.raises(SyncError) as caught:
        source.snapshot()
    assert caught.value.error_code == "source_no_file"
