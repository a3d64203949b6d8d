"""What a person sees who opens the service in a browser: a page, the API reference, nothing from elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import uvicorn

from plant3d_sync.model.limit import Limit
from plant3d_sync.state import projects as project_state
from plant3d_sync.web import pages
from tests.support.webapp import Desk, desk

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as made:
        yield made


def test_a_browser_is_told_what_this_is_where_the_docs_are_and_how_to_get_in(service: Desk) -> None:
    answer = service.client.get("/", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for part in ("plant3d-sync", 'href="/docs"', "keys create", "X-API-Key", '<html lang="en">'):
        assert part in answer.text
    assert service.client.head("/", headers={"Accept": BROWSER}).status_code == 200


LIMITS = [
    Limit(code="synapse_no_times", message="SYNAPSE 0.2.2 keeps no times.", hint="Install the API."),
    Limit(code="synapse_types", message="417 assets cannot be saved there.", hint="Install the API."),
]


def test_what_a_synapse_cannot_do_is_on_the_page_and_in_the_status(service: Desk) -> None:
    def page(lang: str) -> str:
        return service.client.get(f"/?lang={lang}", headers={"Accept": BROWSER}).text

    assert "What this SYNAPSE cannot do" not in page("en")
    assert service.get("/api/v1/sync/status", project_id="mine").json()["synapse_limits"] == []
    with service.state.write() as connection:
        project_state.ensure(connection, "mine")
        project_state.update(connection, "mine", probe={"limits": [limit.to_dict() for limit in LIMITS]})
    assert service.get("/api/v1/sync/status", project_id="mine").json()["synapse_limits"] == [
        limit.to_dict() for limit in LIMITS
    ]
    for part in (
        "What this SYNAPSE cannot do",
        "newest-wins is impossible",
        "cannot be saved",
        "howto/synapse-integration",
    ):
        assert part in page("en")
    assert "417" not in page("en"), "figures are for holders of a key"
    for part in ("Ce que ce SYNAPSE ne peut pas faire", "écrans de SYNAPSE", "synapse-integration.fr.md"):
        assert part in page("fr")
    assert "/health</a>\N{NO-BREAK SPACE}: l'état" in page("fr"), "French has a blank before a colon"
    assert "/health</a>: how" in page("en")


@pytest.mark.parametrize(
    ("asked", "lang"),
    [
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("de,fr;q=0.5", "fr"),
        ("de", "en"),
        ("", "en"),
        ("fr;q=0", "en"),
        ("fr;q=nonsense,en;q=0.1", "en"),
    ],
)
def test_the_page_speaks_the_language_of_the_browser(service: Desk, asked: str, lang: str) -> None:
    answer = service.client.get("/", headers={"Accept": BROWSER, "Accept-Language": asked})
    assert answer.headers["content-language"] == lang
    assert f'<html lang="{lang}">' in answer.text
    other = "en" if lang == "fr" else "fr"
    turned = service.client.get(f"/?lang={other}", headers={"Accept": BROWSER, "Accept-Language": asked})
    assert f'<html lang="{other}">' in turned.text


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "", "application/json,text/html;q=0.5", "text/html;q=0"]
)
def test_a_program_keeps_the_answers_it_got(service: Desk, accept: str) -> None:
    answer = service.client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    known = service.client.get("/", headers={"Accept": accept, **service.headers()})
    assert (known.status_code, known.json()["code"]) == (404, "not_found")


def test_pages_load_files_of_this_service_only_and_hold_no_script_themselves(service: Desk) -> None:
    for path in ("/", "/docs", "/docs/plain"):
        answer = service.client.get(path, headers={"Accept": BROWSER})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert not re.findall(r"<style|<script(?! src)|\son\w+=|style=", answer.text), path
        for loaded in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
            assert loaded.startswith(("/", "data:,")), loaded
            if loaded.startswith("/docs/"):
                found = service.client.get(loaded)
                assert found.status_code == 200, loaded
                assert found.headers["x-content-type-options"] == "nosniff"


def test_the_files_are_those_that_were_vendored_and_their_licence_is_there() -> None:
    folder = files("plant3d_sync.web").joinpath("static")
    said = folder.joinpath("README.md").read_text(encoding="utf-8")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        digest = hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest()
        assert f"{digest}  {name}" in said
    assert "Apache License" in folder.joinpath("swagger-ui.LICENSE").read_text(encoding="utf-8")
    assert folder.joinpath("swagger-ui-bundle.js.LICENSE.txt").is_file()
    assert not folder.joinpath("other").is_file()


def test_a_file_that_pages_do_not_load_is_not_served(service: Desk) -> None:
    assert service.client.get("/docs/README.md").status_code == 401
    for name in ("README.md", "..%2fpages.py", "swagger-ui.LICENSE"):
        assert service.client.get(f"/docs/{name}", headers=service.headers()).status_code == 404, name


def test_a_file_that_the_browser_has_is_not_sent_again(service: Desk) -> None:
    first = service.client.get("/docs/page.css")
    again = service.client.get("/docs/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_script_knows_where_the_description_is() -> None:
    script, _etag = pages.asset("reference.js")
    assert b"dataset.description" in script
    assert 'data-description="/docs/openapi.json?lang=en"' in pages.reference()


# ---------------------------------------------------------------- in a real browser

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    "--dump-dom",
]


@contextlib.contextmanager
def listening(service: Desk) -> Iterator[str]:
    """The service on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(service.web, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        limit = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < limit
            thread.join(timeout=0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def opened(url: str, folder: Path) -> tuple[str, list[str]]:
    """What a browser made of a page, and what it complained of."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_pages_and_complains_of_nothing(service: Desk, tmp_path: Path) -> None:
    service.well()
    with listening(service) as url:
        shown, complaints = opened(f"{url}/docs", tmp_path / "profile")
        assert complaints == []
        assert "Authorize" in shown and shown.count('class="opblock ') > 25
        welcome, complaints = opened(f"{url}/", tmp_path / "profile")
        assert complaints == [] and "How to get in" in welcome
