"""What can go wrong with SYNAPSE 0.2, in words for people."""

from __future__ import annotations

from typing import Final

from plant3d_sync.connectors.synapse.errors import outcome
from plant3d_sync.errors import ConfigError, RetryLaterError
from plant3d_sync.model.limit import Limit
from plant3d_sync.words import counted

HOW_TO_GET_THE_API: Final = (
    "Installing the integration API in SYNAPSE removes this limit: docs/howto/synapse-integration.md."
)


def limit(code: str, message: str) -> Limit:
    """Something that SYNAPSE 0.2 cannot do."""
    return Limit(code=code, message=message, hint=HOW_TO_GET_THE_API)


def unsaved(count: int) -> str:
    """Of how many assets the words in `type` are none that SYNAPSE's screens send back."""
    return counted(
        count,
        f"{count} asset is of a type that SYNAPSE's own screens cannot save (a line, other equipment): its description "
        "cannot be edited there.",
        f"{count} assets are of types that SYNAPSE's own screens cannot save (lines, other equipment): their descriptions "
        "cannot be edited there.",
    )


def login_refused(url: str, user: str) -> ConfigError:
    """401, at the login or after a fresh one."""
    return ConfigError(
        f"SYNAPSE at {url} does not accept the login of {user} (401). Nothing was read and nothing was written.",
        code="synapse_login_refused",
        hint="Correct SYNAPSE_USER (the e-mail, in small letters as SYNAPSE keeps it) and SYNAPSE_PASSWORD "
        "(or SYNAPSE_PASSWORD_FILE).",
        details={"status": 401},
    )


def user_inactive(url: str, user: str) -> ConfigError:
    """400 `Inactive user`."""
    return ConfigError(
        f"The account {user} of SYNAPSE at {url} is not active. Nothing was read and nothing was written.",
        code="synapse_user_inactive",
        hint="Have the account activated in SYNAPSE, or set SYNAPSE_USER to another one.",
        details={"status": 400},
    )


def login_unusable(url: str, status: int) -> ConfigError:
    """A login that answers something else than a token."""
    return ConfigError(
        f"The login of SYNAPSE at {url} answered {status} without a token. Nothing was read and nothing was written.",
        code="synapse_refused",
        hint="Is SYNAPSE_API_URL the root of a SYNAPSE 0.2 backend?",
        details={"status": status},
    )


def not_v02(url: str, status: int, title: str) -> ConfigError:
    """`synapse.api: v0.2`, and something else answers."""
    said = f"calls itself {title[:60]!r}" if title else f"does not describe itself ({status})"
    return ConfigError(
        f"What answers at {url} {said}: this is not SYNAPSE 0.2. Nothing was read and nothing was written.",
        code="synapse_no_contract",
        hint="Check SYNAPSE_API_URL (the root of the backend, without /api/v1), or set `synapse: {api: auto}`.",
        details={"status": status},
    )


def gave_up(url: str, reason: str, applied: bool | None) -> RetryLaterError:
    """Repeats did not help. `applied`: whether a write may have been done; None for a read."""
    return RetryLaterError(
        f"SYNAPSE at {url}: {reason}. {outcome(applied)}",
        code="synapse_unknown_outcome" if applied else "synapse_unavailable",
        hint="The next run asks SYNAPSE what became of it and continues by itself."
        if applied
        else "Is SYNAPSE running and reachable? The next run continues by itself.",
        details={"reason": reason, **({} if applied is None else {"may_have_been_applied": applied})},
    )
