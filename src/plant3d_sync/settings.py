"""What an operator may set: the variables of the user's plan, ours next to them, and the configuration file.

The plan's names stay bare (`PLANT3D_DB_HOST`, `SYNAPSE_API_URL`, `SYNC_BATCH_SIZE`, ...), as does
`STATE_DB_URL`; every other name of ours starts with `P3DSYNC_`. Secrets may come from a file: `<NAME>_FILE`.
Read once, in `bootstrap`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from plant3d_sync import texts
from plant3d_sync.address import MASK, secrets_in
from plant3d_sync.connectors.plant3d.sqlserver_address import ServerAddress, is_sqlserver, parse_address
from plant3d_sync.errors import ConfigError
from plant3d_sync.language import LANGUAGES, known
from plant3d_sync.model.coverage import WARN
from plant3d_sync.model.outcome import TOLERANCE
from plant3d_sync.regularfile import read_limited
from plant3d_sync.words import complaint, said
from plant3d_sync.yamlfile import LARGEST_FILE, Beyond, check_limits

SAMPLE_SECRETS = frozenset({"internal-service-key", "secret", "changeme", "password", "change-me"})
"""Values that stand in examples; a service that runs with one of them is open to anybody who read them."""

RESERVED_NAME = "system"
"""No project may be called so: the audit trail of the service itself is."""

SECRET_NAMES = (
    "SYNAPSE_API_KEY",
    "SYNAPSE_USER",
    "SYNAPSE_PASSWORD",
    "PLANT3D_DB_PASSWORD",
    "PLANT3D_DB_URL",
    "STATE_DB_URL",
    "REDIS_URL",
)


def spoken(tag: str | None) -> str | None:
    """The tag of a language that we speak, or None for none. Raises ValueError for another one."""
    if not tag:
        return None
    if known(tag) is None:
        raise ValueError(
            f"{said(tag)} is no language this program speaks; choose one of {', '.join(LANGUAGES)}"
        )
    return tag


class Settings(BaseModel):
    """Environment variables. Every field has a description: the settings page is generated from it."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, validate_default=True)

    service_name: Annotated[str, Field(description="Name in logs and metrics.")] = "plant3d-sync"
    service_port: Annotated[int, Field(ge=0, le=65535, description="Port of the web service.")] = 8002
    debug: Annotated[
        bool, Field(description="Allow sample secrets and an `sa` login. Never in production.")
    ] = False

    plant3d_db_host: Annotated[
        str | None,
        Field(
            description="SQL Server of the Plant 3D project, as its own tools name it: `HOST`, `HOST\\INSTANCE` or "
            "`HOST,PORT`."
        ),
    ] = None
    plant3d_db_port: Annotated[
        int,
        Field(
            ge=1,
            le=65535,
            description="SQL Server port. 1433 says nothing next to an instance or a port in PLANT3D_DB_HOST.",
        ),
    ] = 1433
    plant3d_db_name: Annotated[str | None, Field(description="Database name, usually `<project>_PnId`.")] = (
        None
    )
    plant3d_db_user: Annotated[
        str | None, Field(description="Login; a reader is enough unless `write: sql`.")
    ] = None
    plant3d_db_password: Annotated[SecretStr | None, Field(description="Its password.")] = None
    plant3d_db_driver: Annotated[
        str | None,
        Field(
            description="`pymssql`, `pyodbc`, or the name of an ODBC driver; without it, whichever is installed: "
            "Microsoft's, then FreeTDS, then pymssql (before FreeTDS where FREETDSCONF names a CA file)."
        ),
    ] = None
    plant3d_db_url: Annotated[
        SecretStr | None,
        Field(
            description="Path, SQLAlchemy URL or connection string of the Plant 3D database, in place of those above."
        ),
    ] = None

    synapse_api_url: Annotated[str | None, Field(description="Root of the SYNAPSE API.")] = None
    synapse_api_key: Annotated[SecretStr | None, Field(description="Service key; never logged.")] = None
    synapse_user: Annotated[
        str | None,
        Field(
            description="E-mail of the account in SYNAPSE 0.2, as SYNAPSE keeps it; not needed with the integration API."
        ),
    ] = None
    synapse_password: Annotated[SecretStr | None, Field(description="Its password; never logged.")] = None
    synapse_project_id: Annotated[
        str | None,
        Field(description="SYNAPSE project of the project `default` (without a configuration file)."),
    ] = None

    redis_url: Annotated[
        SecretStr | None,
        Field(description="Redis for the job bell. Without it the worker polls the run table."),
    ] = None

    sync_interval_minutes: Annotated[float, Field(gt=0, description="Minutes between scheduled runs.")] = 5
    sync_batch_size: Annotated[int, Field(ge=1, le=1000, description="Assets per call to SYNAPSE.")] = 500
    sync_retry_attempts: Annotated[int, Field(ge=1, le=20, description="Attempts of one call.")] = 3
    sync_retry_delay_seconds: Annotated[float, Field(ge=0, description="Pause between them.")] = 30

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="What is written at least.")
    ] = "INFO"
    log_format: Annotated[
        Literal["json", "console"], Field(description="One JSON object a line, or text.")
    ] = "json"

    state_db_url: Annotated[
        SecretStr | None,
        Field(
            description="Our state database: sqlite:////abs/state.db or postgresql://…; wins over the file."
        ),
    ] = None

    p3dsync_config: Annotated[str | None, Field(description="Configuration file.")] = None
    p3dsync_lease_seconds: Annotated[
        float, Field(ge=1, description="How long a silent run keeps its project.")
    ] = 30
    p3dsync_source_deadline_seconds: Annotated[
        float, Field(gt=0, description="How long to wait for a locked Plant 3D file.")
    ] = 30
    p3dsync_http_timeout_seconds: Annotated[
        float, Field(gt=0, description="Timeout of one call to SYNAPSE.")
    ] = 60
    p3dsync_run_deadline_minutes: Annotated[
        float, Field(gt=0, description="A run stops between batches after so long; the next one continues.")
    ] = 60
    p3dsync_retention_days: Annotated[
        int, Field(ge=1, description="Runs, plans and change entries older than this are pruned.")
    ] = 400
    p3dsync_cors_origins: Annotated[
        str, Field(description="Comma-separated origins that browsers may call from. Empty = closed.")
    ] = ""
    p3dsync_rate_limit: Annotated[str, Field(description="Requests per key and minute.")] = "600/minute"
    p3dsync_max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body.")] = 1_048_576
    p3dsync_host: Annotated[str, Field(description="Address the web service listens on.")] = "127.0.0.1"
    p3dsync_allowed_hosts: Annotated[
        str,
        Field(
            description="Comma-separated names under which the web service may be called (`Host` header), without port; "
            "`*.example.com` means every name below. Empty = any name."
        ),
    ] = ""
    p3dsync_trusted_proxies: Annotated[
        str,
        Field(
            description="Comma-separated addresses or networks of proxies whose `X-Forwarded-For` and `-Proto` are "
            "believed. Empty = nobody's, not even this machine's."
        ),
    ] = ""
    p3dsync_language: Annotated[
        str | None,
        Field(
            description="Language of what is said to people where nobody asks for another: en, fr, or a tag such as fr-CA."
        ),
    ] = None
    p3dsync_test: Annotated[bool, Field(description="Enables failpoints; for tests only.")] = False

    @field_validator("p3dsync_language")
    @classmethod
    def _language_we_speak(cls, value: str | None) -> str | None:
        return spoken(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _format_in_any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value


INTERNAL = frozenset(
    {
        "P3DSYNC_FAILPOINTS",
        "P3DSYNC_FAILPOINT_TRACE",
        "P3DSYNC_TEST_MAX_PAGES",
        "P3DSYNC_LONG",
        "P3DSYNC_VENV",
        "P3DSYNC_DEV_STALL_COMMIT",
        "P3DSYNC_CONFORMANCE_URL",
        "P3DSYNC_CONFORMANCE_KEY",
        "P3DSYNC_PUBLISH",
        "P3DSYNC_TMP_SIZE",
    }
)
"""Names that tests, tools and the compose file use."""


class GuardFile(BaseModel):
    """Guard limits: a guard stops when share AND count are both exceeded."""

    model_config = ConfigDict(extra="forbid")

    create: tuple[float, int] = (0.5, 500)
    update: tuple[float, int] = (0.3, 200)
    blank: tuple[float, int] = (0.1, 50)
    archive: tuple[float, int] = (0.1, 50)

    @field_validator("*", mode="before")
    @classmethod
    def _share_and_count(cls, value: Any, info: ValidationInfo) -> Any:
        """A percentage taken for a share would be a limit that nothing ever exceeds: the guard would be off."""
        default = list(cls.model_fields[str(info.field_name)].default)
        meant = f"write `[share, count]` such as {default}: 0.3 means 30 %"
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f"{said(value)} is no guard limit; {meant}")
        share, count = value
        if not _is_number(share) or not 0 <= share <= 1:
            raise ValueError(f"the share {said(share)} is not a number from 0 to 1; {meant}")
        if not _is_number(count) or count < 0 or count != count // 1:
            raise ValueError(f"the count {said(count)} is not a whole number from 0; {meant}")
        return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class MissingFile(BaseModel):
    """When an absent item counts as gone."""

    model_config = ConfigDict(extra="forbid")

    reads: int = Field(3, ge=1)
    minutes: float = Field(30.0, ge=0)
    policy: Literal["ask", "archive", "keep"] = "ask"


class ConflictFile(BaseModel):
    """What to do when both sides changed a shared field."""

    model_config = ConfigDict(extra="forbid")

    policy: Literal["newest", "ask"] = "newest"
    tolerance_seconds: float | None = Field(None, ge=0)

    @property
    def tolerance(self) -> float:
        """How far another machine's clock may be off, seconds."""
        return TOLERANCE if self.tolerance_seconds is None else self.tolerance_seconds


class CoverageFile(BaseModel):
    """How much of what the mapping's classes hold has to arrive."""

    model_config = ConfigDict(extra="forbid")

    warn: float = Field(WARN, ge=0, le=1)


class SynapseFile(BaseModel):
    """How to reach SYNAPSE. The key itself never stands in the file."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = None
    api_key_env: str = "SYNAPSE_API_KEY"
    api: Literal["auto", "contract", "v0.2"] = "auto"
    requests_per_second: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 25.0


SyncedFolder = Literal[
    "onedrive",
    "desktop-connector",
    "dropbox",
    "nextcloud",
    "icloud",
    "google-drive",
    "syncthing",
    "cloud-files",
    "conflicted-copy",
]
"""What keeps a folder in step with other machines; a project may allow direct writing next to it by name."""


class ProjectFile(BaseModel):
    """One project in the configuration file."""

    model_config = ConfigDict(extra="forbid")

    synapse_project_id: str
    source: str | None = None
    mapping: list[str] = Field(default_factory=lambda: ["stock"])
    active: bool = True
    write: Literal["off", "workbook", "sql"] = "off"
    drawings: str | None = None
    drawings_unseen: Literal["open", "closed"] = "open"
    backups: str | None = None
    keep_backups: int = Field(10, ge=1)
    allow_copy: bool = False
    allow_strong_login: str | None = None
    allow_synced_folder: list[SyncedFolder] = Field(default_factory=list)
    missing: MissingFile = MissingFile()
    guards: GuardFile = GuardFile()
    conflict: ConflictFile = ConflictFile()
    drift: dict[str, Literal["restore", "propose", "ignore"]] = Field(default_factory=dict)
    interval_minutes: float | None = Field(None, gt=0)
    direction: Literal["pull", "push", "both"] = "pull"
    workbook_days: float = Field(14.0, gt=0)
    coverage: CoverageFile = CoverageFile()

    @field_validator("synapse_project_id")
    @classmethod
    def _is_uuid(cls, value: str) -> str:
        if not _uuid(value):
            raise ValueError(f"{said(value)} is not a UUID; copy the UUID of the project from SYNAPSE")
        return value

    @field_validator("write", mode="before")
    @classmethod
    def _yaml_off(cls, value: Any) -> Any:
        """YAML 1.1 reads a bare `off` as false."""
        return "off" if value is False else value

    @field_validator("mapping", "allow_synced_folder", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class ConfigFile(BaseModel):
    """The whole configuration file."""

    model_config = ConfigDict(extra="forbid")

    state_db_url: str | None = None
    language: str | None = None
    synapse: SynapseFile = SynapseFile()
    projects: dict[str, ProjectFile] = Field(default_factory=dict)

    @field_validator("language")
    @classmethod
    def _language_we_speak(cls, value: str | None) -> str | None:
        return spoken(value)

    @field_validator("projects")
    @classmethod
    def _not_the_services_own_name(cls, projects: dict[str, ProjectFile]) -> dict[str, ProjectFile]:
        """The audit trail keeps what concerns no single project under this name."""
        taken = [name for name in projects if name.casefold() == RESERVED_NAME]
        if taken:
            raise ValueError(
                f"`{taken[0]}` is the name of the service's own audit trail; choose another name"
            )
        return projects


def _uuid(text: str) -> str:
    """A UUID in its usual spelling; empty if it is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def shared_projects(config: ConfigFile, *, active_only: bool = True) -> list[str]:
    """One sentence for each SYNAPSE project that several projects name."""
    names: dict[str, list[str]] = {}
    for name, entry in config.projects.items():
        if entry.active or not active_only:
            names.setdefault(_uuid(entry.synapse_project_id), []).append(name)
    return [
        f"projects {', '.join(sorted(same))} have one synapse_project_id ({project}): a tag that one of them brought is "
        "refused to the others"
        for project, same in names.items()
        if len(same) > 1
    ]


def unset_names(settings: Settings, config: ConfigFile, environ: Mapping[str, str]) -> list[str]:
    """The variables that the project `default` (without a configuration file) still lacks."""
    database = {"PLANT3D_DB_HOST": settings.plant3d_db_host, "PLANT3D_DB_NAME": settings.plant3d_db_name}
    lacking = [name for name, value in database.items() if not value]
    if settings.plant3d_db_url is not None:
        lacking = []
    elif len(lacking) == len(database):
        lacking = ["PLANT3D_DB_URL (PLANT3D_DB_HOST + PLANT3D_DB_NAME)"]
    key = config.synapse.api_key_env
    needed = {
        "SYNAPSE_PROJECT_ID": settings.synapse_project_id,
        "SYNAPSE_API_URL": config.synapse.url or settings.synapse_api_url,
        key: environ.get(key)
        or (key == "SYNAPSE_API_KEY" and settings.synapse_api_key)
        or (config.synapse.api != "contract" and settings.synapse_user),
    }
    return [name for name, value in needed.items() if not value] + lacking


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises ConfigError naming every problem at once."""
    settings, problems = read_settings(environ)
    if problems:
        listed = "; ".join(problems)
        raise ConfigError(
            f"The settings are not usable: {listed}. Nothing was started.",
            hint="`plant3d-sync check-config` lists every setting; docs/reference/settings.md explains them.",
            code="settings_invalid",
            details={"problems": problems},
        )
    return settings


def read_settings(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """The settings as far as they can be used (what is wrong has its default), and every problem."""
    given = os.environ if environ is None else environ
    env = {name.upper(): text for name, text in given.items()} | dict(given)
    MASK.forget()
    problems = _unknown_names(given)
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        upper = name.upper()
        if env.get(upper):
            values[name] = _variable(upper, env[upper], problems)
        elif upper in SECRET_NAMES and env.get(upper + "_FILE"):
            secret = _secret_file(upper, _variable(f"{upper}_FILE", env[f"{upper}_FILE"], problems), problems)
            values[name] = _variable(f"The content of {upper}_FILE", secret, problems)
    for name in values.keys() & {name.lower() for name in SECRET_NAMES} - {"synapse_user"}:
        value = str(values[name])
        MASK.know(*(secrets_in(value) if "://" in value else [value]))
    try:
        return Settings.model_validate(values), problems
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors()}
        problems += [
            f"{'.'.join(str(part) for part in item['loc']).upper()} {complaint(item)}"
            for item in error.errors()
        ]
    usable = {name: value for name, value in values.items() if name not in wrong}
    return Settings.model_validate(usable), problems


def _variable(name: str, value: str, problems: list[str]) -> str:
    """A variable's text; a password may hold what looks like a control character."""
    text = texts.paired(value)
    wrong = texts.fault(text, controls=name not in ("PLANT3D_DB_PASSWORD", "SYNAPSE_PASSWORD"))
    if wrong:
        problems.append(f"{name} {wrong}")
        return ""
    return text


def _secret_file(name: str, path: str, problems: list[str]) -> str:
    try:
        return texts.decoded(read_limited(path, LARGEST_FILE)).strip() if path else ""
    except OSError as error:
        problems.append(f"{name}_FILE cannot be read: {error.strerror}")
    except ValueError as error:
        problems.append(f"{name}_FILE: {error}")
    return ""


def _unknown_names(env: Mapping[str, str]) -> list[str]:
    known = {name.upper() for name in Settings.model_fields}
    ours = {name for name in known if name.startswith("P3DSYNC_")} | INTERNAL
    documented = sorted(name.removeprefix("P3DSYNC_") for name in ours - INTERNAL - {"P3DSYNC_TEST"})
    problems = []
    for name in sorted(env):
        if not name.startswith("P3DSYNC_") or name in ours or name.startswith("P3DSYNC_TEST"):
            continue
        near = difflib.get_close_matches(name.removeprefix("P3DSYNC_"), documented, n=1)
        problems.append(
            f"{name} is not a setting; did you mean P3DSYNC_{near[0]}?"
            if near
            else f"{name} is not a setting"
        )
    return problems


HERE = "plant3d-sync.yml"
"""The configuration file of the current folder, if no other is named."""


def config_path(path: str | Path | None, settings: Settings) -> tuple[Path | None, str]:
    """The configuration file in force, None if there is none, and who named it."""
    if path:
        named = settings.p3dsync_config == str(path)
        return Path(path), "environment" if named else "--config"
    if settings.p3dsync_config:
        return Path(settings.p3dsync_config), "environment"
    return (Path(HERE), "current folder") if Path(HERE).is_file() else (None, "default")


def load_config(path: str | Path | None, settings: Settings) -> tuple[ConfigFile, Path]:
    """The configuration file (or what the environment says without one), and the folder paths are relative to."""
    chosen, _origin = config_path(path, settings)
    if chosen is None:
        return _from_environment(settings), Path.cwd()
    try:
        text = texts.decoded(read_limited(chosen, LARGEST_FILE))
        check_limits(text)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(
            f"The configuration file {chosen} cannot be read ({error.strerror}). Nothing was done.",
            hint="Give it with --config or P3DSYNC_CONFIG.",
            code="config_missing",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{chosen}:{mark.line + 1}" if mark else str(chosen)
        raise ConfigError(
            f"{where}: not valid YAML: {getattr(error, 'problem', error)}. Nothing was done.",
            code="config_invalid",
        ) from error
    except ValueError as error:
        place = f"{chosen}:{error.line}" if isinstance(error, Beyond) else str(chosen)
        raise ConfigError(
            f"{place} is not usable: {error}. Nothing was done.",
            hint="docs/reference/settings.md lists every name.",
            code="config_invalid",
        ) from error
    wrong: list[str] = []
    raw = texts.cleaned(raw, wrong)
    if wrong:
        listed = "; ".join(wrong)
        raise ConfigError(
            f"{chosen} is not usable: {listed}. Nothing was done.",
            hint="Type these texts again; in JSON a character such as an emoji is written as two halves, \\ud83d\\udd25.",
            code="config_invalid",
            details={"problems": wrong},
        )
    try:
        return ConfigFile.model_validate(raw or {}), Path(os.path.realpath(chosen)).parent
    except ValidationError as error:
        problems = [_config_problem(item) for item in error.errors()]
        listed = "; ".join(problems)
        raise ConfigError(
            f"{chosen} is not usable: {listed}. Nothing was done.",
            hint="docs/reference/settings.md lists every name.",
            code="config_invalid",
            details={"problems": problems},
        ) from error


def _config_problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{where or 'the file'}: {complaint(item)}"
    names: set[str] = set()
    for model in (ConfigFile, ProjectFile, SynapseFile, GuardFile, MissingFile, ConflictFile):
        names |= set(model.model_fields)
    near = difflib.get_close_matches(str(item["loc"][-1]), sorted(names), n=1)
    if near:
        return f"{where} is not a name of the configuration; did you mean {near[0]}?"
    return f"{where} is not a name of the configuration"


def _from_environment(settings: Settings) -> ConfigFile:
    """Without a file, the plan's variables make one project named `default`."""
    if not settings.synapse_project_id:
        return ConfigFile(synapse=SynapseFile(url=settings.synapse_api_url))
    if not _uuid(settings.synapse_project_id):
        problem = f"SYNAPSE_PROJECT_ID: {said(settings.synapse_project_id)} is not a UUID"
        raise ConfigError(
            f"The settings are not usable: {problem}. Nothing was started.",
            hint="Copy the UUID of the project from SYNAPSE.",
            code="settings_invalid",
            details={"problems": [problem]},
        )
    return ConfigFile(
        synapse=SynapseFile(url=settings.synapse_api_url),
        projects={"default": ProjectFile(synapse_project_id=settings.synapse_project_id)},
    )


def default_state_url() -> str:
    """SQLite in the user's state directory."""
    folder = Path(platformdirs.user_state_dir("plant3d-sync", appauthor=False))
    return f"sqlite:///{(folder / 'state.db').as_posix()}"


def weak_points(settings: Settings, config: ConfigFile, key_env: Mapping[str, str]) -> list[str]:
    """Sample secrets and logins that can do everything: reasons not to start unless DEBUG."""
    found = []
    secrets = {
        "SYNAPSE_API_KEY": key_env.get(config.synapse.api_key_env, ""),
        "SYNAPSE_PASSWORD": settings.synapse_password.get_secret_value() if settings.synapse_password else "",
        "PLANT3D_DB_PASSWORD": settings.plant3d_db_password.get_secret_value()
        if settings.plant3d_db_password
        else "",
    }
    addresses = server_addresses(settings, config)
    secrets |= {f"the password in {name}": address.password or "" for name, address in addresses.items()}
    found += [
        f"{name} is the value of the examples" for name, value in secrets.items() if value in SAMPLE_SECRETS
    ]
    users = {"PLANT3D_DB_USER": settings.plant3d_db_user}
    users |= {f"the login in {name}": address.user for name, address in addresses.items()}
    found += [
        f"{name} is `sa`, which may do everything"
        for name, user in users.items()
        if (user or "").lower() == "sa"
    ]
    return found


def learn_secrets(settings: Settings, config: ConfigFile, environ: Mapping[str, str]) -> None:
    """Let this process hide, in whatever it prints, every secret of its settings and its configuration."""
    held = (settings.synapse_api_key, settings.synapse_password, settings.plant3d_db_password)
    MASK.know(*(secret.get_secret_value() for secret in held if secret is not None))
    MASK.know(environ.get(config.synapse.api_key_env))
    urls = (settings.state_db_url, settings.redis_url, settings.plant3d_db_url)
    texts = [url.get_secret_value() for url in urls if url is not None]
    texts += [settings.synapse_api_url or "", config.synapse.url or "", config.state_db_url or ""]
    texts += [entry.source or "" for entry in config.projects.values()]
    texts += settings.p3dsync_cors_origins.split(",")
    texts.append(f"mssql://{settings.plant3d_db_host}" if "@" in (settings.plant3d_db_host or "") else "")
    for text in texts:
        MASK.know(*secrets_in(text))
    for address in server_addresses(settings, config).values():
        MASK.know(*address.secrets())


def server_addresses(settings: Settings, config: ConfigFile) -> dict[str, ServerAddress]:
    """The SQL Server addresses that stand whole in one text, by where they stand. Those not understood are left out."""
    texts = {f"projects.{name}.source": entry.source or "" for name, entry in config.projects.items()}
    if settings.plant3d_db_url is not None:
        texts["PLANT3D_DB_URL"] = settings.plant3d_db_url.get_secret_value()
    found: dict[str, ServerAddress] = {}
    for name, text in texts.items():
        if is_sqlserver(text):
            with contextlib.suppress(ConfigError):  # `check-config` tells it, with the project's name
                found[name] = parse_address(text)
    return found
