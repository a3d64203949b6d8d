"""Pages that a person can open in a browser: what this is, and the API reference. Nothing from other servers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load: files of this service. No script and no style stands in a page itself."""

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "reference.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
"""Files that pages load, with their media types."""

_HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs/page.css">'
)

_WELCOME = {
    "en": {
        "what": "Keeps AutoCAD Plant 3D P&amp;ID projects and SYNAPSE in step, both ways. This address is its web service: "
        "programs talk to it, and the command <code>plant3d-sync</code> does on the machine where it runs.",
        "docs": "Where the documentation is",
        "reference": "The API reference: every address, with a field for the key, to try it out",
        "plain": "the same on one page, without scripts",
        "colon": ":",
        "health": "how the service is (JSON)",
        "folder": "Guides and every command, setting and error: the folder <code>docs/</code> of the program.",
        "limits": "What this SYNAPSE cannot do",
        "how": "Installing the integration API in SYNAPSE removes this: <code>docs/howto/synapse-integration.md</code>.",
        "in": "How to get in",
        "key": "Everything but the health checks needs a key. On the machine of the service, make one:",
        "send": "Then send it in the header <code>X-API-Key</code>, or put it into the field "
        "<b>Authorize</b> of the API reference. It is shown once.",
        "other": '<a href="/?lang=fr" hreflang="fr" lang="fr">Français</a>',
    },
    "fr": {
        "what": "Tient à jour, dans les deux sens, les projets P&amp;ID d'AutoCAD Plant 3D et SYNAPSE. Cette adresse est son "
        "service web : les programmes lui parlent, de même que la commande <code>plant3d-sync</code> sur sa machine.",
        "docs": "Où est la documentation",
        "reference": "La référence de l'API : chaque adresse, avec un champ pour la clé, à essayer (les boutons sont en anglais)",
        "plain": "la même sur une page, sans script",
        "colon": "\N{NO-BREAK SPACE}:",
        "health": "l'état du service (JSON)",
        "folder": "Guides, commandes, réglages et erreurs : le dossier <code>docs/</code> du programme.",
        "limits": "Ce que ce SYNAPSE ne peut pas faire",
        "how": "Installer l'API d'intégration dans SYNAPSE y remédie : <code>docs/howto/synapse-integration.fr.md</code>.",
        "in": "Comment entrer",
        "key": "Tout demande une clé, sauf les contrôles de santé. Sur la machine du service, en créer une :",
        "send": "Puis l'envoyer dans l'en-tête <code>X-API-Key</code>, ou la mettre dans le champ <b>Authorize</b> de la "
        "référence de l'API. Elle n'est montrée qu'une fois.",
        "other": '<a href="/?lang=en" hreflang="en" lang="en">English</a>',
    },
}

_REFERENCE = {
    "en": {
        "bare": "without scripts",
        "scripts": 'This page needs JavaScript; <a href="/docs/plain">this one</a> does not.',
        "keyed": "with a field for the key",
        "whole": "The whole description for tools:",
        "heads": "<th>name<th>in<th>default<th>meaning",
    },
    "fr": {
        "bare": "sans script",
        "scripts": 'Cette page demande JavaScript ; <a href="/docs/plain">celle-ci</a> s\'en passe.',
        "keyed": "avec un champ pour la clé",
        "whole": "La description entière, pour les outils :",
        "heads": "<th>nom<th>dans<th>défaut<th>sens",
    },
}

_LIMITS = {
    "en": {
        "synapse_no_times": "SYNAPSE 0.2 keeps no times: newest-wins is impossible, a field that both sides changed goes to a "
        "person.",
        "synapse_no_archive": "An archive is only a mark: SYNAPSE goes on showing the asset.",
        "synapse_full_read": "Everything is read in each run.",
        "synapse_types": "Lines and other equipment cannot be saved in SYNAPSE's own screens, so their descriptions cannot be "
        "edited there; <code>plant3d-sync doctor</code> counts them.",
    },
    "fr": {
        "synapse_no_times": "SYNAPSE 0.2 ne garde aucune heure : « le plus récent gagne » est impossible, un champ modifié des "
        "deux côtés attend une personne.",
        "synapse_no_archive": "Une archive n'est qu'une marque : SYNAPSE continue de montrer l'actif.",
        "synapse_full_read": "Chaque exécution relit tout.",
        "synapse_types": "Les lignes et autres équipements ne peuvent pas être enregistrés dans les écrans de SYNAPSE ; leur "
        "description ne s'y modifie donc pas. <code>plant3d-sync doctor</code> les compte.",
    },
}
"""What a SYNAPSE may not be able to do, by code. Numbers and projects are for holders of a key."""


def wants_html(accept: str) -> bool:
    """Whether a browser asks: it names HTML, and not JSON rather than it."""
    weights = {"text/html": 0.0, "application/json": 0.0}
    for kind, weight in _weighed(accept):
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
    return weights["text/html"] > 0 and weights["text/html"] >= weights["application/json"]


def _weighed(header: str) -> list[tuple[str, float]]:
    """The values of an Accept header with their weights (`q`)."""
    found = []
    for part in header.split(","):
        name, *parameters = (one.strip().lower() for one in part.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            found.append((name, float(weight)))
        except ValueError:
            found.append((name, 0.0))
    return found


def page(html: str, *, lang: str = "en") -> Response:
    """A page with the headers of every page."""
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
        "Content-Language": lang,
        "Vary": "Accept, Accept-Language",
    }
    return HTMLResponse(html, headers=headers)


def welcome(version: str, lang: str, limits: Sequence[str] = ()) -> str:
    """What somebody sees who opens the service's address. `limits`: codes of what a SYNAPSE of ours cannot do."""
    text, words = _WELCOME[lang], _LIMITS[lang]
    told = "".join(f"<li>{words[code]}</li>" for code in limits if code in words)
    if told:
        told = f"<h2>{text['limits']}</h2><ul>{told}</ul><p>{text['how']}</p>"
    return (
        f'<!doctype html><html lang="{lang}"><head><title>plant3d-sync</title>{_HEAD}</head><body class="plain"><main>'
        f"<p>{text['other']}</p><h1>plant3d-sync {escape(version)}</h1><p>{text['what']}</p>"
        f"<h2>{text['docs']}</h2><ul>"
        f'<li><a href="/docs">{text["reference"]}</a> (<a href="/docs/plain">{text["plain"]}</a>)</li>'
        f"<li>{text['folder']}</li>"
        f'<li><a href="/health">/health</a>{text["colon"]} {text["health"]}</li></ul>'
        f"{told}<h2>{text['in']}</h2><p>{text['key']}</p>"
        "<pre>plant3d-sync keys create NAME --scopes read</pre>"
        f"<p>{text['send']}</p></main></body></html>"
    )


def reference(lang: str = "en") -> str:
    """The API reference, drawn by Swagger UI, whose own labels are English, from the description in this language."""
    text = _REFERENCE[lang]
    return (
        f'<!doctype html><html lang="{lang}"><head><title>plant3d-sync API</title>{_HEAD}'
        '<link rel="stylesheet" href="/docs/swagger-ui.css">'
        '<script src="/docs/swagger-ui-bundle.js" defer></script><script src="/docs/reference.js" defer></script>'
        f'</head><body><header><a href="/">plant3d-sync</a> · <a href="/docs/plain">{text["bare"]}</a></header>'
        f'<main class="wide" id="reference" data-description="/docs/openapi.json?lang={lang}">'
        f"<noscript><p>{text['scripts']}</p></noscript>"
        "</main></body></html>"
    )


@cache
def asset(name: str) -> tuple[bytes, str]:
    """A file that pages load, and its ETag."""
    content = files("plant3d_sync.web").joinpath("static", name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def asset_answer(name: str, request: Request) -> Response:
    """The file; 304 when the browser has it already."""
    content, etag = asset(name)
    headers = {"ETag": etag, "Cache-Control": "public, max-age=3600"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=ASSETS[name], headers=headers)


def plain_reference(document: Mapping[str, Any], lang: str = "en") -> str:
    """One page of HTML listing every operation, without a script. `document`: in that language already."""
    info, text = document["info"], _REFERENCE[lang]
    parts = [
        f'<!doctype html><html lang="{lang}"><head><title>{escape(info["title"])}</title>{_HEAD}</head>'
        f'<body class="plain"><main><p><a href="/">plant3d-sync</a> · <a href="/docs">{text["keyed"]}</a></p>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description') or '')}</p>"
        f'<p>{text["whole"]} <a href="/docs/openapi.json"><code>/api/v1/openapi.json</code></a></p>'
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation, text["heads"]))
    return "".join(parts) + "</main></body></html>"


def _operation(path: str, method: str, operation: Mapping[str, Any], heads: str) -> str:
    rows = [
        (p["name"], p["in"], str(p.get("schema", {}).get("default", "")), p.get("description") or "")
        for p in operation.get("parameters", [])
    ]
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    answers = "".join(
        f"<li><code>{escape(status)}</code> {escape(answer.get('description') or '')}</li>"
        for status, answer in operation["responses"].items()
    )
    head = f"<table><tr>{heads}</tr>{table}</table>" if rows else ""
    return (
        f"<h3 id={escape(str(operation.get('operationId')), quote=True)}>"
        f"<code>{method.upper()} {escape(path)}</code></h3>"
        f"<p><b>{escape(operation.get('summary') or '')}.</b> "
        f"{escape(operation.get('description') or '')}</p>"
        f"{head}<ul>{answers}</ul>"
    )
