"""The query of a request: a parameter that the address does not know is refused, not ignored."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from plant3d_sync.web.errors import Refused, unknown_name

PAGES = frozenset({"/", "/docs", "/docs/plain", "/docs/openapi.json"})
"""Pages for people: what a mail program appends to a link does no harm there. And what they show."""


async def only_known(request: Request) -> None:
    """Dependency of every route. Refuses 422 a query parameter that would otherwise be ignored silently.

    Asynchronous: a dependency that is not takes a thread, and the signs of life have to answer without one.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or route.path in PAGES:
        return
    known = sorted(
        {one.alias for one in get_flat_params(route.dependant) if isinstance(one.field_info, Query)}
    )
    wrong = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if not wrong:
        return
    errors = [
        {"field": name, "where": "query", "message": unknown_name(name, known), "code": "extra_forbidden"}
        for name in wrong
    ]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise Refused(
        422,
        "validation",
        f"{wrong[0]}: {errors[0]['message']}{more}",
        hint=f"Parameters of this address: {', '.join(known) or 'none'}.",
        errors=errors,
    )
