"""`dev.py` sets up from the lock alone, quietly, and says what failed when pip fails. With the real pip."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

import dev


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only package index, and an environment of its own, not yet made."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", dev.os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{folder} {tmp_path / 'an-index-that-is-gone'}")
    monkeypatch.setenv("P3DSYNC_VENV", str(tmp_path / "environment"))
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    return folder


def add_wheel(folder: Path, name: str, version: str, *requirements: str) -> str:
    """Write a package that holds nothing; its line of a lock comes back."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Provides-Extra: more"]
    files = {
        f"{info}/METADATA": "\n".join([*metadata, *(f"Requires-Dist: {one}" for one in requirements), ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def write_lock(folder: Path, *lines: str) -> Path:
    lock = folder / "some.lock"
    lock.write_text("".join(lines), encoding="utf-8")
    return lock


def test_a_lock_without_extras_installs_also_after_a_newer_version_came_out(
    wheels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What broke the set-up of every fresh machine: pip 23.2.1 resolved `inner[more]` and took the newer one."""
    lines = [add_wheel(wheels, "outer", "1.0", "inner[more]>=1"), add_wheel(wheels, "inner", "1.0")]
    add_wheel(wheels, "inner", "2.0")
    dev.make_venv()
    capfd.readouterr()
    dev.install(write_lock(tmp_path, *lines))
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["Installing some.lock (about a minute; later calls skip this)."]


def test_what_the_lock_lacks_is_named_and_is_not_fetched(wheels: Path, tmp_path: Path) -> None:
    line = add_wheel(wheels, "outer", "1.0", "inner>=1")
    add_wheel(wheels, "inner", "1.0")
    dev.make_venv()
    with pytest.raises(dev.SetupError, match="outer 1.0 requires inner, which is not installed") as raised:
        dev.install(write_lock(tmp_path, line))
    assert "the lock is wrong" in str(raised.value)


@pytest.fixture
def ready_pip(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of these tests, for installations that fail before anything is installed."""
    monkeypatch.setenv("P3DSYNC_VENV", sys.prefix)
    return wheels


def failure(lock: Path) -> str:
    with pytest.raises(dev.SetupError) as raised:
        dev.install(lock)
    text = str(raised.value)
    assert text.startswith("Installing some.lock failed.")
    assert "WARNING" not in text
    assert "pip itself is missing" not in text
    return text


def test_a_changed_package_is_refused_and_the_reason_is_shown(ready_pip: Path, tmp_path: Path) -> None:
    line = add_wheel(ready_pip, "outer", "1.0")
    text = failure(write_lock(tmp_path, line[:-5] + "0000\n"))
    assert "outer" in text
    assert "is not the one that was locked" in text


def test_a_package_that_the_index_lacks_is_named(ready_pip: Path, tmp_path: Path) -> None:
    text = failure(write_lock(tmp_path, f"no-such-thing==1.0 --hash=sha256:{'0' * 64}\n"))
    assert "No matching distribution found for no-such-thing==1.0" in text
    assert "The index does not have this package" in text


def test_an_index_that_cannot_be_reached_is_said(
    ready_pip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    text = failure(write_lock(tmp_path, f"no-such-thing==1.0 --hash=sha256:{'0' * 64}\n"))
    assert "The package index cannot be reached" in text


def test_without_an_error_line_the_last_lines_are_shown() -> None:
    shown = dev.useful_part("WARNING: something old\nCollecting outer\n\nTraceback\nKeyError: 'x'\n")
    assert shown.split("\n") == ["  Traceback", "  KeyError: 'x'"]
    assert dev.useful_part("WARNING: Retrying\n") == "  WARNING: Retrying"
