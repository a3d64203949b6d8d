"""What can go wrong on the way to SYNAPSE, in words for people.

Nothing here holds a request: the key is in its headers. Errors are raised outside of `except` blocks, so that no
driver error (which holds the request) hangs on them as cause or context.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from plant3d_sync.errors import ConfigError, RetryLaterError


class WireError(ValueError):
    """An answer (or a stored body) that breaks the contract. Its text never holds a value of a row."""


class Transient(Exception):
    """One exchange failed in a way that a repeat with the same key and body may heal.

    `delivered`: whether SYNAPSE may have got (and applied) the request. `code`: how the failure is called after
    the last attempt. `retry_after`: seconds SYNAPSE asks us to wait, None if it did not say.
    """

    def __init__(
        self,
        reason: str,
        *,
        delivered: bool,
        code: str = "synapse_unavailable",
        status: int | None = None,
        retry_after: float | None = None,
        patient: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delivered = delivered
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.patient = patient


class Stop(Exception):
    """Carries the final error of a call out of the retries (it is raised again outside, without a chain)."""

    def __init__(self, error: Exception) -> None:
        super().__init__("stop")
        self.error = error


def untrusted(url: str, error: BaseException) -> ConfigError | None:
    """The error of a certificate that is not trusted, if that is behind this one: it will not heal by waiting."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    return ConfigError(
        f"The certificate of {url} is not trusted ({cause.verify_message}). Nothing was sent.",
        code="synapse_tls",
        hint="Install the company's root certificate on this machine, or correct SYNAPSE_API_URL.",
        details={"reason": cause.verify_message},
    )


Details = Mapping[str, object]


def outcome(may_have_been_applied: bool | None) -> str:
    """The sentence about what did not happen. None: the call only reads."""
    if may_have_been_applied is None:
        return "Nothing was read."
    if may_have_been_applied:
        return "Whether the batch was applied is not known."
    return "Nothing of the batch was applied."


def unauthorized(url: str, applied: bool | None, details: Details) -> ConfigError:
    """401: no key, an unknown one, an expired one. Never repeated, so that nothing locks us out."""
    return ConfigError(
        f"SYNAPSE at {url} does not accept our key (401). {outcome(applied)}",
        code="synapse_unauthorized",
        hint="Set SYNAPSE_API_KEY to a valid, unexpired key with the scopes assets:read and assets:sync.",
        details=details,
    )


def forbidden(url: str, project: str, applied: bool | None, details: Details) -> ConfigError:
    """403: the key is known but may not do this, or not in this project."""
    return ConfigError(
        f"SYNAPSE at {url} refuses our key for project {project} (403). {outcome(applied)}",
        code="synapse_forbidden",
        hint="Give the key the scopes assets:read and assets:sync and this project.",
        details=details,
    )


def no_contract(url: str, applied: bool | None, details: Details) -> ConfigError:
    """404 of the API itself: SYNAPSE 0.2 has none of these operations."""
    return ConfigError(
        f"There is no integration API at {url} (404): SYNAPSE 0.2 without the integration API, or a wrong "
        f"address. {outcome(applied)}",
        code="synapse_no_contract",
        hint="Check SYNAPSE_API_URL (the root, without /api/v1). For SYNAPSE 0.2 as it is, set SYNAPSE_USER and "
        "SYNAPSE_PASSWORD; how to install the integration API there: docs/howto/synapse-integration.md.",
        details=details,
    )


def other_contract(url: str, contract: str) -> ConfigError:
    """Another major version of the contract."""
    return ConfigError(
        f"SYNAPSE at {url} speaks version {contract[:40]} of the integration contract, this program speaks 1.x. "
        "Nothing was read.",
        code="synapse_contract",
        hint="Update plant3d-sync or SYNAPSE so that both speak the same major version.",
        details={"contract": contract[:40]},
    )


def project_unknown(url: str, project: str, applied: bool | None, details: Details) -> ConfigError:
    """404 `project_not_found`."""
    return ConfigError(
        f"SYNAPSE at {url} knows no project {project}. {outcome(applied)}",
        code="synapse_project_unknown",
        hint="Correct synapse_project_id (SYNAPSE_PROJECT_ID): the UUID of the project in SYNAPSE.",
        details=details,
    )


def too_large(url: str, applied: bool | None, details: Details) -> ConfigError:
    """413, of SYNAPSE or of a proxy before it."""
    return ConfigError(
        f"SYNAPSE at {url}, or a proxy before it, finds the batch too large (413). {outcome(applied)}",
        code="batch_too_large",
        hint="Lower SYNC_BATCH_SIZE, or raise the limit of the proxy (nginx: client_max_body_size) to 5 MB.",
        details=details,
    )


def redirected(url: str, target: str, applied: bool | None, details: Details) -> ConfigError:
    """3xx. Never followed: the key would go to an address nobody configured."""
    where = f" to {target}" if target else ""
    return ConfigError(
        f"SYNAPSE at {url} redirects us{where}; it was not followed and the key went nowhere else. {outcome(applied)}",
        code="synapse_redirect",
        hint="Set SYNAPSE_API_URL to the final address (often https instead of http).",
        details=details,
    )


def not_json(url: str, kind: str, applied: bool | None, details: Details) -> ConfigError:
    """200 with something else than JSON: a login page, a captive portal, the user interface."""
    return ConfigError(
        f"{url} answered with {kind or 'no content type'} instead of JSON: a login page, or not SYNAPSE's API. "
        f"{outcome(applied)}",
        code="synapse_not_json",
        hint="Check SYNAPSE_API_URL: it must be the backend, not the user interface or a login proxy.",
        details=details,
    )


def refused(url: str, status: int, words: str, applied: bool | None, details: Details) -> ConfigError:
    """Any other 4xx: our request and this SYNAPSE do not understand each other."""
    said = f": {words}" if words else "."
    return ConfigError(
        f"SYNAPSE at {url} refused the request ({status}){said} {outcome(applied)}",
        code="synapse_refused",
        hint="Repeating will not help. Compare the versions of SYNAPSE and plant3d-sync; quote the request id.",
        details=details,
    )


def gave_up(url: str, code: str, reason: str, applied: bool | None, details: Details) -> RetryLaterError:
    """The retries of one call are used up, or SYNAPSE asks for a longer pause than we wait."""
    hint = "Is SYNAPSE running and reachable? The next run continues by itself."
    if applied:
        hint = "The next run asks SYNAPSE what became of it and continues by itself."
    return RetryLaterError(
        f"SYNAPSE at {url}: {reason}. {outcome(applied)}", code=code, hint=hint, details=details
    )
