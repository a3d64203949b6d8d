"""Everything that can be said about a configuration without connecting to anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from plant3d_sync.address import ESCAPES
from plant3d_sync.bootstrap import App
from plant3d_sync.cli.common import speaks
from plant3d_sync.connectors.plant3d.sqlserver_address import is_sqlserver, parse_address
from plant3d_sync.connectors.plant3d.sqlserver_drivers import recipe_for
from plant3d_sync.errors import ConfigError, SyncError
from plant3d_sync.jobqueue import make_bell
from plant3d_sync.mapping.file import Problem, load_mapping
from plant3d_sync.settings import (
    Settings,
    learn_secrets,
    load_config,
    read_settings,
    shared_projects,
    unset_names,
    weak_points,
)
from plant3d_sync.state.address import state_url


class Found(msgspec.Struct):
    """All problems in one go: nobody likes to repair one, start, and read the next."""

    problems: list[str] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    projects: list[str] = msgspec.field(default_factory=list)
    hint: str = "docs/reference/settings.md explains every name."

    def add(self, error: SyncError, prefix: str = "") -> None:
        """The single problems of an error, or its sentence. How an address is written stays the hint."""
        if ESCAPES in error.hint:
            self.hint = error.hint
        listed = error.details.get("problems")
        texts = [_told(one) for one in listed] if isinstance(listed, list) else [_shortened(error.message)]
        self.problems += [f"{prefix}{text}" for text in texts]


def _told(problem: object) -> str:
    """One of the single problems of an error: a text, or that of a mapping."""
    return str(msgspec.convert(problem, Problem) if isinstance(problem, dict) else problem)


def _shortened(message: str) -> str:
    """Without what did not happen, which is said once for the whole list; a message that ends otherwise is told whole."""
    head, cut, _rest = message.rpartition(". Nothing ")
    return head if cut else message


def check_configuration(config: str | None) -> Found:
    """Settings, configuration file, addresses, secrets, projects, mapping files."""
    found = Found()
    environ = dict(os.environ)
    settings = _settings(environ, found)
    try:
        file, base_dir = load_config(config, settings)
    except ConfigError as error:
        found.add(error)
        return found
    learn_secrets(settings, file, environ)
    app = App(settings=settings, config=file, base_dir=base_dir, environ=environ)
    speaks(app)
    found.projects = sorted(file.projects)
    _addresses(app, found)
    for name in file.projects:
        _project(app, name, found)
    shared = shared_projects(file)
    found.problems += shared
    found.warnings += [text for text in shared_projects(file, active_only=False) if text not in shared]
    weak = weak_points(settings, file, environ)
    if settings.debug:
        found.warnings += weak
    else:
        found.problems += weak
    if not file.projects:
        unset = ", ".join(unset_names(settings, file, environ))
        none = "no project is configured"
        found.warnings.append(f"no project is configured; not set: {unset}" if unset else none)
    return found


def _settings(environ: dict[str, str], found: Found) -> Settings:
    settings, problems = read_settings(environ)
    found.problems += problems
    return settings


def _addresses(app: App, found: Found) -> None:
    _address(
        found, "SYNAPSE_API_URL", app.config.synapse.url or app.settings.synapse_api_url, ("http", "https")
    )
    named = " ".join(found.problems)
    for name, ask in (
        ("SYNAPSE_API_URL", app.synapse_url),
        (app.config.synapse.api_key_env, app.synapse_key),
    ):
        try:
            ask()
        except ConfigError as error:
            if name not in named:  # it is set, and what is wrong with it is said already
                found.add(error)
    _web(app.settings, found)
    redis_url = app.settings.redis_url
    parsed: tuple[Callable[[], object], ...] = (
        lambda: make_bell(redis_url.get_secret_value() if redis_url else None).close(),
        lambda: state_url(app.state_url),
    )
    for parse in parsed:
        try:
            parse()
        except ConfigError as error:
            found.add(error)


def _web(settings: Settings, found: Found) -> None:
    """What the web service would refuse to start with."""
    from plant3d_sync.web.app import check_web_settings

    for error in check_web_settings(settings):
        found.add(error)


def _address(found: Found, name: str, value: str | None, schemes: tuple[str, ...]) -> None:
    if not value:
        return
    scheme = urlsplit(value).scheme
    if scheme not in schemes:
        found.problems.append(f"{name} must begin with {' or '.join(f'{one}://' for one in schemes)}")


def _project(app: App, name: str, found: Found) -> None:
    prefix = f"project {name}: "
    try:
        config = app.project_config(name)
    except ConfigError as error:
        found.add(error, prefix)
        return
    if is_sqlserver(config.source):
        _connection(config.source, prefix, found)
    elif "://" not in config.source and not Path(config.source).exists():
        found.warnings.append(f"{prefix}{config.source} is not there now")
    try:
        load_mapping(list(config.mapping), base_dir=app.base_dir)
    except SyncError as error:
        found.add(error, prefix)


def _connection(source: str, prefix: str, found: Found) -> None:
    """Whether a connection to SQL Server could be built here: address, module, ODBC driver, options."""
    try:
        recipe_for(parse_address(source))
    except ConfigError as error:
        found.add(error, prefix)
