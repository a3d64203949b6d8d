"""The reference page of settings, made from the models, and the values in force."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from plant3d_sync.address import shown
from plant3d_sync.bootstrap import App
from plant3d_sync.cli.output import heads
from plant3d_sync.language import heading, tr
from plant3d_sync.settings import (
    SECRET_NAMES,
    ConfigFile,
    ConflictFile,
    GuardFile,
    MissingFile,
    ProjectFile,
    Settings,
    SynapseFile,
    config_path,
)
from plant3d_sync.words import bare

MEANINGS: dict[str, str] = {
    "state_db_url": "Our state database, unless STATE_DB_URL is set. A relative path (`sqlite:///state.db`) means the file's folder.",
    "language": "Language of what is said to people where nobody asks for another (`fr-CA`), unless P3DSYNC_LANGUAGE is set.",
    "synapse": "How to reach SYNAPSE, below.",
    "projects": "Projects by name, below.",
    "synapse.url": "Root of the SYNAPSE API, in place of SYNAPSE_API_URL.",
    "synapse.api_key_env": "Name of the variable that holds the service key. The key itself never stands in the file.",
    "synapse.api": "Which SYNAPSE: with the integration API (`contract`), 0.2 as it is (`v0.2`), or whichever answers "
    "(`auto`: by its capabilities, then by the title in `/openapi.json`).",
    "synapse.requests_per_second": "How many calls a second SYNAPSE 0.2 gets at most; 0 for no limit. Its proxy lets 30 through.",
    "project.synapse_project_id": "UUID of the project in SYNAPSE; each active project has its own.",
    "project.allow_synced_folder": "Programs that may keep the database's folder in step although `write: sql` writes into it; "
    "empty: none.",
    "project.source": "Project folder, `ProcessPower.dcf`, or URL of the database, in place of PLANT3D_DB_*.",
    "project.mapping": "Mapping files over one another; `stock` is the built-in one.",
    "project.active": "Whether the scheduler runs it.",
    "project.write": "How values get into Plant 3D: not at all, by a workbook, or directly.",
    "project.drawings": "Folder of the drawings, to see which are open; else the folder of the database file.",
    "project.drawings_unseen": "Whether a drawing whose state cannot be seen counts as open.",
    "project.backups": "Folder of the backups made before each direct write.",
    "project.keep_backups": "How many backups stay.",
    "project.allow_strong_login": "SQL Server login that may write although it can do more than it needs; else it does "
    "not write.",
    "project.allow_copy": "Read one user's working copy of a collaboration or Vault project all the same.",
    "project.missing": "When an absent item counts as gone, below.",
    "project.guards": "When a run stops before its first write, below.",
    "project.conflict": "What to do when both sides changed a shared field, below.",
    "project.drift": "Per field: what to do when a side changed a field that it does not own.",
    "project.interval_minutes": "Minutes between scheduled runs, in place of SYNC_INTERVAL_MINUTES.",
    "project.direction": "What a scheduled run does.",
    "project.coverage": "How much of what the mapping's classes hold has to arrive.",
    "coverage.warn": "Share (0 to 1) of the mapped items below which a run ends `with_issues` and health is degraded.",
    "project.workbook_days": "Days until a workbook that nobody imported is proposed again.",
    "missing.reads": "Complete reads in a row without the item.",
    "missing.minutes": "Minutes between the first and the last of them.",
    "missing.policy": "Then: ask a person, archive in SYNAPSE, or keep.",
    "guards.create": "`[share, count]`: a run stops when it would create more than both. The share is 0 to 1: 0.3 means 30 %.",
    "guards.update": "The same for updates.",
    "guards.blank": "The same for fields that become empty.",
    "guards.archive": "The same for archived assets.",
    "conflict.policy": "The newest wins if both clocks can be trusted, or a person is asked.",
    "conflict.tolerance_seconds": "How far the clock of another machine may be off. Without it: 120 s for a workstation, 3 s for a SYNAPSE whose "
    "clock keeps its distance to ours; at least 2 s in any case. Changes closer together are never decided by time.",
}
"""What each name of the configuration file means."""

PARTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("The file", "", ConfigFile),
    ("`synapse:`", "synapse.", SynapseFile),
    ("A project", "project.", ProjectFile),
    ("`missing:` of a project", "missing.", MissingFile),
    ("`guards:` of a project", "guards.", GuardFile),
    ("`conflict:` of a project", "conflict.", ConflictFile),
)

_INTRODUCTION = (
    "Made by `plant3d-sync settings page` from the program itself; do not edit it by hand.",
    "Values come from the environment; the configuration file (`--config`, `P3DSYNC_CONFIG`, or `plant3d-sync.yml` in the\n"
    "current folder) describes the projects. Secrets may come from a file: `<NAME>_FILE` holds its path. An unknown name\n"
    "that begins with `P3DSYNC_` is an error, so a typo is found at the start. `plant3d-sync check-config` names\n"
    "every problem at once, `plant3d-sync settings show` tells the values in force and where they come from.",
    "Every text is looked at where it enters: variables, the configuration file, mapping files, secrets and command lines\n"
    "are UTF-8 (a file with a byte order mark may be UTF-16). Half a character (a lone surrogate), NUL and, in settings, line\n"
    "breaks and other control characters are refused with exit code 78 and the place where they stand. Characters that a JSON\n"
    "library wrote as two halves (`\\ud83d\\udd25`) are put together.",
    "The service refuses to start with the secrets of the examples or the login `sa`, unless `DEBUG=true`.",
    "Settings are read at the start. After a change restart web service, worker and scheduler. One thing is heard without that: who\n"
    "takes `write: sql` back in the configuration file (`off`, `workbook`, or the whole project). The file is read again before each\n"
    "run and before each group of cells is written; a run that is writing then ends with `write_off`. So it is where the file cannot be\n"
    "read. What else the file says, `write: sql` too, counts after a restart; `GET /projects` shows what is in force.",
    "Each active project needs a `synapse_project_id` of its own. Where two share one, a tag that one of them brought is refused\n"
    "to the other, item by item; nothing is overwritten. So it is an error of `check-config` and a warning of `doctor`, and runs\n"
    "are not stopped, unless both bring copies of one database: then the second is refused (`source_shared`).",
)
"""Paragraphs before the tables."""

_HEADS = heads("Name", "Type", "Default", "Meaning")
_TITLES = heads("Settings", "Environment")
_KINDS = {
    str: heads("text"),
    int: heads("whole number"),
    float: heads("number"),
    bool: heads("true or false"),
    SecretStr: heads("secret"),
    BaseModel: heads("section"),
}
"""What a value is, in words."""
_REQUIRED = heads("required")


def settings_page() -> str:
    """The page, Markdown, in the language of this context."""
    title, environment = map(heading, _TITLES)
    rows = [
        f"| `{name.upper()}`{_or_file(name.upper())} | {_type(info.annotation)} | {_default(info)} "
        f"| {tr(info.description or '')} |"
        for name, info in Settings.model_fields.items()
    ]
    parts = [f"# {title}", *map(tr, _INTRODUCTION), f"## {environment}", _table(rows)]
    parts.append(f"## {tr('Configuration file')}")
    for name, prefix, model in PARTS:
        rows = [
            f"| `{field}` | {_type(info.annotation)} | {_default(info)} | {tr(MEANINGS[prefix + field])} |"
            for field, info in model.model_fields.items()
        ]
        parts += [f"### {tr(name)}", _table(rows)]
    return "\n\n".join(parts) + "\n"


def _or_file(name: str) -> str:
    """That a secret may come from a file."""
    return " " + tr(f"(or `{name}_FILE`)") if name in SECRET_NAMES else ""


def _table(rows: Sequence[str]) -> str:
    return "\n".join(["| " + " | ".join(map(heading, _HEADS)) + " |", "|---|---|---|---|", *rows])


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return _type(next(one for one in arguments if one is not type(None)))
    if origin is tuple:
        return f"`[{_type(float)}, {_type(float)}]`"
    if origin is list:
        return tr(f"list of {_type(arguments[0])}")
    if origin is dict:
        return tr(f"names with {_type(arguments[1])}")
    kind = BaseModel if isinstance(annotation, type) and issubclass(annotation, BaseModel) else annotation
    (word,) = _KINDS[kind]
    return heading(word)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return heading(_REQUIRED[0])
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or value == [] or value == {} or isinstance(value, BaseModel):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return f"`[{', '.join(str(one) for one in value)}]`"
    return f"`{value}`"


def settings_values(app: App, option: str | None = None) -> list[dict[str, str]]:
    """Name, value and origin of every setting in force, then of everything the configuration file says.

    `option`: the file that `--config` named. Secrets are hidden.
    """
    settings, environ = app.settings, app.environ
    values = []
    for name in Settings.model_fields:
        upper, value = name.upper(), getattr(settings, name)
        origin = "environment" if environ.get(upper) else "default"
        if origin == "default" and upper in SECRET_NAMES and environ.get(upper + "_FILE"):
            origin = f"file {environ[upper + '_FILE']}"
        told = "***" if isinstance(value, SecretStr) else shown(bare(value))
        values.append({"name": upper, "value": told, "from": origin})
    overruled = _overruled(app, option)
    return [one | overruled.get(one["name"], {}) for one in values] + _file_values(app)


def _overruled(app: App, option: str | None) -> dict[str, dict[str, str]]:
    """Variables whose value in force is not the one of the environment."""
    found: dict[str, dict[str, str]] = {}
    if app.file is not None and app.config.synapse.url:
        found["SYNAPSE_API_URL"] = {"value": app.config.synapse.url, "from": f"file {app.file}"}
    if app.settings.state_db_url is None:
        origin = f"file {app.file}" if app.config.state_db_url else "default"
        found["STATE_DB_URL"] = {"value": app.state_url, "from": origin}
    key = app.config.synapse.api_key_env
    if key != "SYNAPSE_API_KEY":
        held = bool(app.environ.get(key))
        found["SYNAPSE_API_KEY"] = {"value": "***" if held else "", "from": f"environment ({key})"}
    if app.file is not None:
        _path, origin = config_path(option, app.settings)
        found["P3DSYNC_CONFIG"] = {"value": str(app.file), "from": origin}
    return {name: {**one, "value": shown(one["value"])} for name, one in found.items()}


def _file_values(app: App) -> list[dict[str, str]]:
    """What the file says itself, by the path of its names."""
    if app.file is None:
        return []
    said = app.config.model_dump(mode="json", exclude_unset=True)
    return [
        {"name": name, "value": shown(bare(value)), "from": f"file {app.file}"}
        for name, value in _leaves(said)
    ]


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if isinstance(one, Mapping):
            yield from _leaves(one, f"{path}{name}.")
        else:
            yield f"{path}{name}", one
