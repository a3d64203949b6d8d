#!/usr/bin/env python3
"""Writes the modules that the contribution to SYNAPSE shares with the reference server. Standard library only.

    python3 contrib/build.py           write them
    python3 contrib/build.py --check   say which differ, and end with 1 if any does

The shared modules live once, in src/plant3d_sync/synapse_dev. What the contribution has of its own (its
database, its keys, its front end's calls) stands beside them in contrib/synapse/backend/app/integration.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "plant3d_sync" / "synapse_dev"
TARGET = ROOT / "contrib" / "synapse" / "backend" / "app" / "integration"
SHARED = (
    "assets", "batch", "callers", "decide", "feed", "fields", "items", "jsons", "openapi", "problems",
    "routes", "server", "single", "tags",
)  # fmt: skip
PACKAGE = ("plant3d_sync.synapse_dev", "app.integration")
HEAD = "# Made from plant3d-sync by its `dev.py contrib`: change it there.\n"


def built(name: str) -> str:
    """The module as it stands in SYNAPSE's package."""
    text = (SOURCE / f"{name}.py").read_text(encoding="utf-8")
    return HEAD + text.replace(*PACKAGE)


def different() -> list[str]:
    """Shared modules whose copy is missing or not what would be written now."""
    return [name for name in SHARED if read(TARGET / f"{name}.py") != built(name)]


def read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str]) -> int:
    found = different()
    if "--check" in arguments:
        for name in found:
            print(f"{TARGET / name}.py differs from {SOURCE / name}.py")
        return 1 if found else 0
    for name in found:
        (TARGET / f"{name}.py").write_text(built(name), encoding="utf-8", newline="\n")
    print(f"{len(found)} of {len(SHARED)} modules written to {TARGET.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
