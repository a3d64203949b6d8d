"""One line of `doctor`, and short ways to make one."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

import msgspec
from msgspec.structs import replace

from plant3d_sync.errors import SyncError

CLOCK_WARNING: Final = 30.0
"""Seconds between our clock and another one from which times mislead."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, how it stands, and what to do. `exit_code` is 0 unless `result` is `failed`."""

    check: str
    result: Literal["ok", "warning", "failed", "skipped"]
    message: str
    hint: str = ""
    code: str = ""
    exit_code: int = 0
    project: str | None = None

    def of(self, project: str) -> Self:
        """The same line, told of one project."""
        return replace(self, project=project)

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            "check": self.check,
            "project": self.project,
            "result": self.result,
            "message": self.message,
            "hint": self.hint,
            "code": self.code,
            "exit_code": self.exit_code,
        }


def ok(check: str, message: str) -> Line:
    """All is well."""
    return Line(check=check, result="ok", message=message)


def skipped(check: str, message: str = "not checked: see above") -> Line:
    """Not looked at, and why."""
    return Line(check=check, result="skipped", message=message)


def warning(check: str, message: str, hint: str, code: str) -> Line:
    """A run works, but somebody should know."""
    return Line(check=check, result="warning", message=message, hint=hint, code=code)


def failed(check: str, message: str, hint: str, code: str, exit_code: int) -> Line:
    """A run would end with this exit code."""
    return Line(check=check, result="failed", message=message, hint=hint, code=code, exit_code=exit_code)


def from_error(check: str, error: SyncError) -> Line:
    """The error a run would meet here."""
    return failed(check, error.message, error.hint, error.error_code, error.exit_code)
