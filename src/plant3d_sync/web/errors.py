"""Every refusal as `application/problem+json` (RFC 9457): what happened, what did not, what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from plant3d_sync.address import MASK
from plant3d_sync.errors import StateRefused, SyncError
from plant3d_sync.web.schemas import NO_NUL
from plant3d_sync.words import complaint, nearest, said

PROBLEM = "application/problem+json"

_log = logging.getLogger("plant3d_sync.web")

STATUS_OF_CODE = {
    "conflict_moved": 412,
    "plan_moved": 412,
    "run_waiting": 409,
    "scope_unknown": 422,
    "key_name_invalid": 422,
    "key_name_reserved": 422,
    "resolution_unknown": 422,
}
"""Codes whose answer is not the one of their kind of error."""

_STATE_ADVICE = "Try again in a moment; nothing has to be repaired."
_STATE_REFUSED = (
    "Somebody has to look at the state database; the log of the service says what is wrong with it."
)


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
        f"There is no project {said(name)}.",
        hint=f"Projects of this key: {', '.join(sorted(visible)) or 'none'}.",
    )


def not_found(what: str, name: object) -> Refused:
    """404 for an object that does not exist or belongs to a project the key may not see: see `Context.found`."""
    told = {
        "run": f"There is no run {name}.",
        "plan": f"There is no plan {name}.",
        "conflict": f"There is no conflict {name}.",
        "item": f"There is no item {name}.",
        "key": f"There is no key {name}.",
        "row": f"There is no row {name}.",
    }
    return Refused(404, "not_found", told[what], hint="Take the id from the list of this project.")


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
        **MASK.value(extra or {}),
        "type": f"urn:plant3d-sync:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": MASK.text(detail),
        "instance": request.url.path,
        "code": code,
        "request_id": request_id(request),
        "hint": MASK.text(hint),
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
    """Answer every error of the application as a problem.

    Asynchronous, all of them: an ordinary function would wait for a thread, and a probe may refuse while all are busy.
    """
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


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(request, error)


async def _on_sync_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SyncError)
    status = STATUS_OF_CODE.get(error.error_code, error.http_status)
    detail, hint = error.message, error.hint
    if error.error_code.startswith("state_"):
        _log.error("state database: %s", error.message)
        detail = "The state database cannot be used now. Nothing was done."
        hint = _STATE_REFUSED if isinstance(error, StateRefused) else _STATE_ADVICE
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    current = error.details.get("current")
    if status == 412 and isinstance(current, dict):
        headers["ETag"] = f'"{current.get("version")}"'
    body = problem_body(request, status, error.error_code, detail, hint=hint, extra=error.details)
    return problem(body, headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = field_errors(error.errors(), error.body, _names_of_body(request))
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


def field_errors(
    items: Sequence[Mapping[str, Any]], body: object, names: Sequence[str] = ()
) -> list[dict[str, object]]:
    """The wrong fields in words for people, without their values: a secret sent to the wrong place must not come back.

    `body`: what was sent, to tell its fields from the parser's own words for them. `names`: fields that it may have.
    Several complaints about one field (one for each kind of value that it may have) become one.
    """
    found: dict[tuple[str, str], dict[str, object]] = {}
    complaints: dict[tuple[str, str], list[str]] = {}
    for item in items:
        where, *path = item["loc"] or ["body"]
        kind = str(item["type"])
        field = (
            str(where)
            if kind == "json_invalid"
            else _field_name(path, body, absent=kind == "missing" or where != "body") or str(where)
        )
        message = _words(item, kind, field, names)
        said = complaints.setdefault((str(where), field), [])
        if message not in said:
            said.append(message)
        found.setdefault(
            (str(where), field), {"field": field, "where": str(where), "message": "", "code": kind}
        )
        found[str(where), field]["message"] = ", or: ".join(said)
    return list(found.values())


def _field_name(path: Sequence[object], body: object, *, absent: bool) -> str:
    """Names and numbers that lead to the field in what was sent; whatever follows is not the sender's.

    `absent`: the field itself was not sent, or not in the body.
    """
    parts: list[str] = []
    for n, part in enumerate(path):
        inside = (isinstance(body, Mapping) and part in body) or (
            isinstance(body, list) and isinstance(part, int) and part < len(body)
        )
        if not inside:
            if absent or n == 0:
                parts.append(str(part))
            break
        parts.append(str(part))
        body = body[part]  # type: ignore[index]
    return ".".join(parts)


def _words(item: Mapping[str, Any], kind: str, field: str, names: Sequence[str]) -> str:
    if kind == "extra_forbidden":
        return unknown_name(field.rpartition(".")[2], names)
    if kind == "json_invalid":
        at = item["loc"][-1]
        return f"is not JSON from character {at} on" if isinstance(at, int) else "is not JSON"
    if kind == "string_pattern_mismatch" and item.get("ctx", {}).get("pattern") == NO_NUL:
        return "must not hold the character NUL"
    return complaint(item)


def unknown_name(name: str, known: Sequence[str]) -> str:
    """That a name is not known, and the nearest one that is."""
    near = nearest(name, known)
    return f"is not known here; did you mean {near}?" if near else "is not known here"


def _names_of_body(request: Request) -> list[str]:
    """Every name that the body of this address may have, at any depth."""
    field = getattr(request.scope.get("route"), "body_field", None)
    names: set[str] = set()
    todo = [] if field is None else [field.field_info.annotation]
    while todo:
        kind = todo.pop()
        todo += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel) and not names.issuperset(kind.model_fields):
            names.update(kind.model_fields)
            todo += [one.annotation for one in kind.model_fields.values()]
    return sorted(names)


_HTTP_CODES = {
    400: ("bad_request", "The request cannot be read.", "Send JSON."),
    404: ("not_found", "There is nothing at this address.", "GET /docs lists the addresses."),
    405: ("method_not_allowed", "This address does not know this method.", "GET /docs lists the methods."),
    413: ("body_too_large", "The body is too large.", "Send less at once."),
}


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = _HTTP_CODES.get(error.status_code)
    code, detail, hint = known or (f"http_{error.status_code}", str(error.detail), "")
    body = problem_body(
        request, error.status_code, code, detail, hint=hint, did_not_happen="Nothing was done."
    )
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    return problem(body, headers)


def allowed_methods(request: Request) -> list[str]:
    """Every method that this address knows; whatever answers GET answers HEAD."""
    methods: set[str] = set()
    todo: list[Any] = list(request.app.routes)
    while todo:
        route = todo.pop()
        if (inside := getattr(route, "original_router", None)) is not None:
            todo += inside.routes
        elif route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


async def _on_bug(request: Request, error: Exception) -> Response:
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
