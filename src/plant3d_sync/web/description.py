"""The description of the API (OpenAPI), and what it says to people in their language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from plant3d_sync.language import speaking, tr
from plant3d_sync.web.schemas import Problem

ABOUT: Final = (
    "Keeps AutoCAD Plant 3D P&ID projects and SYNAPSE in step. Every call needs an API key in X-API-Key. "
    "Errors are application/problem+json: what happened, what did not happen, what to do."
)
_TOLD: Final = ("summary", "description")


def description(web: FastAPI) -> dict[str, Any]:
    """The description, with the problem schema that every refusal refers to. Made once."""
    if web.openapi_schema is None:
        document = get_openapi(
            title=web.title,
            version=web.version,
            description=web.description,
            routes=web.routes,
            tags=[
                {"name": "sync", "description": "Ask for runs, watch and stop them."},
                {"name": "conflicts", "description": "Fields that both sides changed."},
                {"name": "plans", "description": "What would be written, before it is."},
                {"name": "waiting", "description": "What waits for a person, and refused rows."},
                {"name": "projects", "description": "Projects and their mapping."},
                {"name": "findings", "description": "What people should look at."},
                {"name": "items", "description": "Linked pairs and their provenance."},
                {"name": "admin", "description": "Audit and keys."},
                {"name": "service", "description": "The service itself."},
            ],
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        web.openapi_schema = document
    return web.openapi_schema


def described(document: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The description with its texts in this language; names, codes and examples are the same in every one."""
    with speaking(language):
        return {name: _in_language(name, value) for name, value in document.items()}


def _in_language(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return "\n\n".join(tr(one) for one in _paragraphs(value)) if name in _TOLD else value
    if isinstance(value, Mapping):
        return {key: _in_language(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_in_language("", each) for each in value]
    return value


def told(document: Any) -> Iterator[str]:
    """Each paragraph that a description says to people."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name in _TOLD and isinstance(value, str):
                yield from _paragraphs(value)
            else:
                yield from told(value)
    elif isinstance(document, list):
        for one in document:
            yield from told(one)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(one.split()) for one in text.split("\n\n")]
