"""Every refusal as `application/problem+json` (RFC 9457): what happened, what did not, what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from plant3d_sync.errors import RetryLaterError, SyncError

PROBLEM = "application/problem+json"

_log = logging.getLogger("plant3d_sync.web")

STATUS_OF_CODE = {
    "conflict_moved": 412,
    "plan_moved": 412,
    "run_waiting": 409,
    "scope_unknown": 422,
    "resolution_unknown": 422,
}
"""Codes whose answer is not the one of their kind of error."""

_STATE_ADVICE = "Try again in a moment; nothing has to be repaired."


class Refused(Exception):
    """A request the web service itself turns down. Nothing was done.

    `code` is stable; `headers` go into the answer; `extra` are further members of the problem.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, object]] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.errors = [dict(error) for error in errors]
        self.extra = dict(extra or {})


def unknown_project(name: str, visible: Sequence[str]) -> Refused:
    """404 for a project that does not exist or that the key may not see; the two look the same."""
    return Refused(
        404,
        "project_unknown",
        f"There is no project {name!r}.",
        hint=f"Projects of this key: {', '.join(sorted(visible)) or 'none'}.",
    )


def not_found(what: str, name: object) -> Refused:
    """404 for an object that does not exist or belongs to a project the key may not see."""
    return Refused(
        404, "not_found", f"There is no {what} {name}.", hint="Take the id from the list of this project."
    )


def wrong_field(name: str, message: str, code: str = "value_error", *, where: str = "body") -> Refused:
    """422 that names one field."""
    return Refused(
        422,
        "validation",
        f"{name}: {message}",
        hint="Correct the named field and send the request again.",
        errors=[{"field": name, "where": where, "message": message, "code": code}],
    )


def problem_body(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    did_not_happen: str | None = None,
    errors: Sequence[Mapping[str, object]] = (),
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The members of a problem. `extra` never replaces one of them."""
    body: dict[str, object] = {
        **(extra or {}),
        "type": f"urn:plant3d-sync:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
        "request_id": request_id(request),
        "hint": hint,
        "errors": [dict(error) for error in errors],
    }
    if did_not_happen:
        body["did_not_happen"] = did_not_happen
    return body


def request_id(request: Request) -> str:
    """The id of this request; given by the caller or made by the outermost layer."""
    return str(getattr(request.state, "request_id", ""))


def problem(body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    return Response(
        dump(body), status_code=int(str(body["status"])), media_type=PROBLEM, headers=dict(headers or {})
    )


def dump(value: object) -> bytes:
    """JSON; text that is not valid Unicode is shown with replacement marks rather than refused."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_readable(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_readable(name)): _readable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(one) for one in value]
    return value if value is None or isinstance(value, int | float | bool) else str(value)


# ---------------------------------------------------------------- handlers


def install(web: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    web.add_exception_handler(Refused, _on_refused)
    web.add_exception_handler(SyncError, _on_sync_error)
    web.add_exception_handler(RequestValidationError, _on_invalid)
    web.add_exception_handler(ResponseValidationError, _on_bug)
    web.add_exception_handler(HTTPException, _on_http)
    web.add_exception_handler(Exception, _on_bug)


def refusal(request: Request, error: Refused) -> Response:
    """A refusal as an answer."""
    body = problem_body(
        request,
        error.status,
        error.code,
        error.detail,
        hint=error.hint,
        did_not_happen="Nothing was done.",
        errors=error.errors,
        extra=error.extra,
    )
    return problem(body, error.headers)


def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(request, error)


def _on_sync_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SyncError)
    status = STATUS_OF_CODE.get(error.error_code, error.http_status)
    detail, hint = error.message, error.hint
    if error.error_code.startswith("state_"):
        _log.error("state database: %s", error.message)
        detail, hint = "The state database cannot be used now. Nothing was done.", _STATE_ADVICE
    headers = {"Retry-After": "5"} if isinstance(error, RetryLaterError) else {}
    current = error.details.get("current")
    if status == 412 and isinstance(current, dict):
        headers["ETag"] = f'"{current.get("version")}"'
    body = problem_body(request, status, error.error_code, detail, hint=hint, extra=error.details)
    return problem(body, headers)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(item) for item in error.errors()]
    first = errors[0] if errors else {"field": "body", "message": "not readable"}
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    body = problem_body(
        request,
        422,
        "validation",
        f"{first['field']}: {first['message']}{more}",
        hint="Correct the named fields and send the request again.",
        did_not_happen="Nothing was done.",
        errors=errors,
    )
    return problem(body)


def _field_error(item: Mapping[str, Any]) -> dict[str, object]:
    """One wrong field, without its value: a secret sent to the wrong place must not come back."""
    where, *path = [str(part) for part in item["loc"]] or ["body"]
    return {
        "field": ".".join(path) or where,
        "where": where,
        "message": str(item["msg"]).removeprefix("Value error, "),
        "code": str(item["type"]),
    }


_HTTP_CODES = {
    400: ("bad_request", "The request cannot be read.", "Send JSON."),
    404: ("not_found", "There is nothing at this address.", "GET /docs lists the addresses."),
    405: ("method_not_allowed", "This address does not know this method.", "GET /docs lists the methods."),
    413: ("body_too_large", "The body is too large.", "Send less at once."),
}


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = _HTTP_CODES.get(error.status_code)
    code, detail, hint = known or (f"http_{error.status_code}", str(error.detail), "")
    body = problem_body(
        request, error.status_code, code, detail, hint=hint, did_not_happen="Nothing was done."
    )
    return problem(body, error.headers)


def _on_bug(request: Request, error: Exception) -> Response:
    """500: the text of the error stays in the log, for it may hold what nobody outside should see."""
    _log.error("request %s failed", request_id(request), exc_info=error)
    body = problem_body(
        request,
        500,
        "internal",
        "The service has a fault and could not answer.",
        hint="Report the request id; the log holds the cause.",
    )
    return problem(body, {"X-Request-ID": request_id(request)})
