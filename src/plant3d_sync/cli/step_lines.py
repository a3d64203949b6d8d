"""A change of the schema that waits, in sentences: the same for `doctor`, `mapping check`, `schema show` and a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plant3d_sync.cli.output import plain
from plant3d_sync.model.schema import StepDocument

NAMED = 10
"""Items that are named; the rest is counted."""


def step_lines(step: StepDocument | None) -> list[str]:
    """What changed with how many items that concerns, and which items enter or leave; nothing if no step waits."""
    if not step:
        return []
    lines: list[str] = [
        f"{plain(change['message'])} Items concerned: {change['items']}." for change in step["changes"]
    ]
    if step["enter"]["count"]:
        enter = some(step["enter"])
        lines.append(f"Items that enter what the mapping brings: {enter}.")
    if step["leave"]["count"]:
        leave = some(step["leave"])
        lines.append(f"Items that leave what the mapping brings: {leave}.")
    return lines


def some(items: Mapping[str, Any]) -> str:
    """How many, and the first tags."""
    tags = ", ".join(plain(item["tag"] or f"PnPID {item['pnpid']}") for item in items["items"][:NAMED])
    left = items["count"] - NAMED
    more = f" and {left} more" if left > 0 else ""
    return f"{items['count']}" + (f" ({tags}{more})" if tags else "")
