"""The documentation page: made from the OpenAPI document, no script, nothing from other servers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#eee;padding:0 .2rem}h3 code{font-size:1rem}table{border-collapse:collapse}"
    "td,th{border:1px solid #bbb;padding:.2rem .5rem;text-align:left;vertical-align:top}"
)


def docs_page(document: Mapping[str, Any]) -> str:
    """One page of HTML listing every operation."""
    info = document["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description') or '')}</p>"
        "<p>The whole description for tools: <a href=/api/v1/openapi.json><code>/api/v1/openapi.json</code></a></p>"
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    return "".join(parts) + "</html>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = [
        (p["name"], p["in"], str(p.get("schema", {}).get("default", "")), p.get("description") or "")
        for p in operation.get("parameters", [])
    ]
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    answers = "".join(
        f"<li><code>{escape(status)}</code> {escape(answer.get('description') or '')}</li>"
        for status, answer in operation["responses"].items()
    )
    head = f"<table><tr><th>name<th>in<th>default<th>meaning</tr>{table}</table>" if rows else ""
    return (
        f"<h3 id={escape(str(operation.get('operationId')), quote=True)}>"
        f"<code>{method.upper()} {escape(path)}</code></h3>"
        f"<p><b>{escape(operation.get('summary') or '')}.</b> {escape(operation.get('description') or '')}</p>"
        f"{head}<ul>{answers}</ul>"
    )
