"""What can go wrong, grouped by who can do something about it.

Five kinds. The shells (CLI, web, worker) translate the kinds, never single classes:

===================  =========  ==========  =============================================
kind                 HTTP       exit code   what helps
===================  =========  ==========  =============================================
`ConfigError`        500        78          somebody changes settings, mapping or rights
`RetryLaterError`    503        75          waiting: busy, down, locked
`SkipRecordError`    422        3           one record is set aside, the others go on
`NeedsPersonError`   409        3           somebody looks and chooses (`GuardStop`: 5)
`NotFoundError`      404        2           another name
===================  =========  ==========  =============================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class SyncError(Exception):
    """Base of every error that is ours: a sentence, a stable code, a way out.

    The message says what happened and what did not happen. `hint` says what to do.
    `code` is stable and is what scripts may rely on. `details` holds JSON-able facts.
    """

    code: ClassVar[str] = "sync_error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.error_code = code or type(self).code
        self.details: dict[str, object] = dict(details or {})

    def to_dict(self) -> dict[str, object]:
        """The error as JSON: code, message, hint, details."""
        return {
            "code": self.error_code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class ConfigError(SyncError):
    """Settings, mapping, credentials or the database itself are not what they must be."""

    code = "config"
    exit_code = 78
    http_status = 500


class StateRefused(ConfigError):
    """The state database is there and cannot be used as it is: its settings, our rights in it, or the file itself.

    A process that starts ends with it. One that runs already waits: an administrator may be at work on the database.
    """

    code = "state_unfit"
    http_status = 503


class RetryLaterError(SyncError):
    """Nothing is wrong with the request; the other side is busy or away. Try again later."""

    code = "retry_later"
    exit_code = 75
    http_status = 503


class SkipRecordError(SyncError):
    """One record cannot be handled. It is reported, the others go on."""

    code = "record"
    exit_code = 3
    http_status = 422


class NeedsPersonError(SyncError):
    """Retrying will not help; somebody has to look and choose."""

    code = "needs_person"
    exit_code = 3
    http_status = 409


class GuardStop(NeedsPersonError):
    """A guard stopped the run before its first write."""

    code = "guard"
    exit_code = 5


class NotFoundError(SyncError):
    """No such project, run, plan, item or command argument."""

    code = "not_found"
    exit_code = 2
    http_status = 404


class Interrupted(SyncError):
    """Ctrl-C in a command."""

    code = "interrupted"
    exit_code = 130


class LeaseLost(RetryLaterError):
    """Another run of this project took over; this one must not write any more."""

    code = "lease_lost"
