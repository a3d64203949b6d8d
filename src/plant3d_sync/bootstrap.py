"""The only place that turns settings into objects."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace
from pydantic import SecretStr

from plant3d_sync import language, texts
from plant3d_sync.connectors.base import PlantSource, SynapsePort
from plant3d_sync.connectors.plant3d.reading.open import open_source
from plant3d_sync.connectors.plant3d.sqlserver_address import (
    from_variables,
    is_sqlserver,
    parse_address,
    with_driver,
)
from plant3d_sync.connectors.synapse.address import root_of
from plant3d_sync.connectors.synapse.client import SynapseClient
from plant3d_sync.connectors.synapse.exchange import Timeouts
from plant3d_sync.errors import ConfigError, NotFoundError
from plant3d_sync.mapping.compile import compile_rules
from plant3d_sync.mapping.file import MappingFile, load_mapping, stock_text, token_of
from plant3d_sync.model.catalog import Catalog
from plant3d_sync.model.moment import EPOCH_TICKS, TICKS
from plant3d_sync.model.plan import Limit, Limits, MissingPolicy
from plant3d_sync.model.rules import ClassRule, ConflictPolicy, DriftPolicy, RuleSet
from plant3d_sync.model.side import Direction, WriteMode
from plant3d_sync.regularfile import read_limited
from plant3d_sync.run.project import (
    POLICY_DIGITS,
    BackupMade,
    Progress,
    Project,
    ProjectConfig,
    World,
    Writer,
    no_progress,
)
from plant3d_sync.settings import (
    ConfigFile,
    ProjectFile,
    Settings,
    config_path,
    default_state_url,
    learn_secrets,
    load_config,
    load_settings,
    unset_names,
)
from plant3d_sync.state import State, links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.tally import CALLS, Counts
from plant3d_sync.words import said
from plant3d_sync.yamlfile import LARGEST_FILE

if TYPE_CHECKING:
    from plant3d_sync.connectors.synapse_v02.client import SynapseV02

T = TypeVar("T")

BACKUP_SECONDS = 3600
"""How long a backup made by SQL Server itself may take before we stop waiting for it."""

Hearing = Callable[[str, Mapping[str, object]], None]
"""Told the name of an event and its facts."""


def once(make: Callable[[App], T]) -> cached_property[T]:
    """Made when first asked for. Threads that ask at the same moment get the same one: since Python 3.12
    `cached_property` alone lets each make its own.
    """

    def made(app: App) -> T:
        with app.making:
            if make.__name__ not in app.__dict__:
                app.__dict__[make.__name__] = make(app)
            found: T = app.__dict__[make.__name__]
            return found

    return cached_property(wraps(make)(made))


@dataclass
class App:
    """Settings, configuration and what is made from them, lazily."""

    settings: Settings
    config: ConfigFile
    base_dir: Path
    environ: Mapping[str, str]
    file: Path | None = None
    """The configuration file that was read."""
    heard: Hearing | None = None
    """Hears of every call to SYNAPSE, as `SynapseClient` tells it."""
    clock: Callable[[], float] = time.time
    """The one clock of this process, in POSIX seconds; a command that may find no state asks it too."""

    making: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False, compare=False)
    _said: tuple[bytes, Mapping[str, WriteMode]] = field(
        default=(b"", {}), init=False, repr=False, compare=False
    )

    @once
    def state(self) -> State:
        """The state database, schema checked."""
        state = State(self.state_url)
        state.ready()
        return state

    @property
    def kept_state(self) -> State:
        """The state for a command that asks for something in it: none is made, an empty one in memory answers.

        What such a command asks for cannot be there then, and it says so as it does of any unknown id.
        """
        return self.state if self._state_is_kept else self.no_state

    @once
    def _state_is_kept(self) -> bool:
        """Whether there is a state database that was ever used. Raises as `state` does."""
        state = State(self.state_url)
        try:
            name = state.url.database or ""
            if state.dialect == "sqlite" and not name.startswith("file:"):
                return Path(name).is_file() and Path(name).stat().st_size > 0
            return state.schema_version() is not None
        finally:
            state.close()

    @once
    def no_state(self) -> State:
        """A state in memory, of a project that never ran."""
        state = State("sqlite://")
        state.ready()
        return state

    @property
    def state_url(self) -> str:
        """Where the state is: STATE_DB_URL, else the file, else the user's state directory."""
        if self.settings.state_db_url is not None:
            return self.settings.state_db_url.get_secret_value()
        return self._beside_the_file(self.config.state_db_url) or default_state_url()

    def _beside_the_file(self, url: str | None) -> str | None:
        """A relative path in the file means the file's folder, as every other one there does.

        A state database that was made in the current folder under the former rule stays in use.
        """
        prefix = "sqlite:///"
        path = Path((url or "").removeprefix(prefix))
        if not url or not url.startswith(prefix) or path.is_absolute() or str(path) in (".", ":memory:"):
            return url
        beside = self.base_dir / path
        return url if path.is_file() and not beside.is_file() else f"{prefix}{beside.as_posix()}"

    @property
    def language(self) -> str:
        """What to speak where nobody asks for another language: P3DSYNC_LANGUAGE, else the file, else English."""
        return language.known(self.settings.p3dsync_language or self.config.language) or language.DEFAULT

    def world(self, progress: Progress = no_progress) -> World:
        """State, clock and ids."""
        return self._world(self.state, progress)

    def looking(self, progress: Progress = no_progress) -> World:
        """The same for a command that stores nothing: no state database is made for it."""
        return self._world(self.kept_state, progress)

    def _world(self, state: State, progress: Progress) -> World:
        return World(
            state=state,
            clock=self.clock,
            progress=progress,
            lease_seconds=self.settings.p3dsync_lease_seconds,
        )

    # ------------------------------------------------------------------ projects

    def project_name(self, name: str) -> str:
        """The configured name of a project given by name or SYNAPSE UUID. Raises NotFoundError."""
        if name in self.config.projects:
            return name
        for configured, entry in self.config.projects.items():
            if entry.synapse_project_id.lower() == name.lower():
                return configured
        known = ", ".join(sorted(self.config.projects))
        if not known:
            unset = ", ".join(unset_names(self.settings, self.config, self.environ))
            raise NotFoundError(
                f"There is no project {said(name)}: none is configured"
                f"{f'. Not set: {unset}' if unset else ''}. Nothing was done.",
                hint="Without a configuration file the variables make one project, `default`; with one, name projects "
                "under `projects:`.",
                code="project_unknown",
            )
        raise NotFoundError(
            f"There is no project {said(name)} in the configuration. Nothing was done.",
            hint=f"Configured projects: {known}.",
            code="project_unknown",
        )

    def project_config(self, name: str) -> ProjectConfig:
        """One project's configuration as the use cases know it."""
        return _project_config(name, self.config.projects[self.project_name(name)], self)

    def project_names(self, *, active_only: bool = False) -> list[str]:
        """Configured projects."""
        return [name for name, entry in self.config.projects.items() if entry.active or not active_only]

    def source(self, name: str) -> PlantSource:
        """The Plant 3D database of a project."""
        config = self.project_config(name)
        return open_source(
            config.source,
            deadline=self.settings.p3dsync_source_deadline_seconds,
            allow_copy=config.allow_copy,
        )

    def synapse(
        self, name: str, request_id: str | None = None, *, counts: Counts | None = None
    ) -> SynapsePort:
        """SYNAPSE for a project, however its Plant 3D database is named. `counts`: where its calls are counted."""
        name = self.project_name(name)
        project = self.config.projects[name].synapse_project_id
        seconds = self.settings.p3dsync_http_timeout_seconds
        url = self.synapse_url()
        timeout = Timeouts(connect=min(10.0, seconds), read=seconds, write=seconds)
        heard = _hearing(None if counts is None else _count_calls(counts), self.heard)
        settings = self.settings

        def contract(key: SecretStr | None = None) -> SynapseClient:
            return SynapseClient(
                url,
                key or self.synapse_key(),
                project,
                retry_attempts=settings.sync_retry_attempts,
                retry_delay=settings.sync_retry_delay_seconds,
                timeout=timeout,
                deadline=seconds * 2,
                request_id=request_id,
                on_event=heard,
            )

        def v02() -> SynapseV02:
            from plant3d_sync.connectors.synapse_v02.client import SynapseV02, missing_login

            if not settings.synapse_user:
                raise missing_login("SYNAPSE_USER")
            if settings.synapse_password is None:
                raise missing_login("SYNAPSE_PASSWORD")
            return SynapseV02(
                url,
                settings.synapse_user,
                settings.synapse_password,
                project,
                identities=lambda: self._identities(name),
                requests_per_second=self.config.synapse.requests_per_second,
                retry_attempts=settings.sync_retry_attempts,
                retry_delay=settings.sync_retry_delay_seconds,
                timeout=timeout,
                deadline=seconds * 2,
                request_id=request_id,
                on_event=heard,
            )

        if self.config.synapse.api == "v0.2":
            return v02()
        if not self._may_be_v02:
            return contract()
        from plant3d_sync.connectors.synapse_v02.auto import AutoSynapse

        asking = contract if self._has_key() else lambda: contract(SecretStr("none"))
        return AutoSynapse(asking, contract, v02, url)

    @property
    def _may_be_v02(self) -> bool:
        """Whether SYNAPSE 0.2 may be what answers; its client is imported for nobody else."""
        api = self.config.synapse.api
        return api == "v0.2" or (api != "contract" and bool(self.settings.synapse_user))

    def _identities(self, name: str) -> dict[str, str]:
        """asset id -> identity of the project's pairs; none while there is no state."""
        if not self._state_is_kept:
            return {}
        with self.state.read() as connection:
            known = project_state.get(connection, name)
            return {} if known is None else links.identities(connection, known.number)

    def _has_key(self) -> bool:
        try:
            self.synapse_key()
        except ConfigError:
            return False
        return True

    def synapse_url(self) -> str:
        """Root of the SYNAPSE API."""
        url = self.config.synapse.url or self.settings.synapse_api_url
        if not url:
            raise ConfigError(
                "No SYNAPSE address is configured. Nothing was done.",
                hint="Set `synapse: {url: …}` in the configuration file, or SYNAPSE_API_URL.",
                code="synapse_url_missing",
            )
        root_of(url)
        return url

    def synapse_key(self) -> SecretStr:
        """The service key."""
        name = self.config.synapse.api_key_env
        value = self.environ.get(name)
        if not value and name == "SYNAPSE_API_KEY" and self.settings.synapse_api_key is not None:
            return self.settings.synapse_api_key
        if not value:
            raise ConfigError(
                f"The SYNAPSE key is not set: {name} is empty. Nothing was done.",
                hint=f"Put the service key into {name} (or {name}_FILE); a SYNAPSE 0.2 without the integration API takes "
                "SYNAPSE_USER and SYNAPSE_PASSWORD instead.",
                code="synapse_key_missing",
            )
        wrong = texts.fault(value)
        if wrong:
            raise ConfigError(
                f"The SYNAPSE key in {name} {wrong}. Nothing was done.",
                hint=f"Put the service key into {name} again, without anything around it.",
                code="settings_invalid",
            )
        return SecretStr(value)

    def project(
        self,
        name: str,
        *,
        request_id: str | None = None,
        mapping_files: Sequence[str] = (),
        synapse: SynapsePort | None = None,
    ) -> Project:
        """Everything needed to run one project. `mapping_files`: another mapping than the configured one, to try it.
        `synapse`: another SYNAPSE than the configured one.
        """
        name = self.project_name(name)
        config = replace(self.project_config(name), write=self.write_mode(name))
        if mapping_files:
            config = replace(config, mapping=tuple(mapping_files))
        mapping = MappingCache(config.mapping, self.base_dir)
        counts = Counts()
        synapse = synapse or self.synapse(name, request_id, counts=counts)

        def rules(catalog: Catalog) -> RuleSet:
            asks = self._may_be_v02 and _is_v02(synapse, catalog)
            return _with_policies(mapping.compile(catalog), config, asks=asks)

        return Project(
            config=config,
            source=self.source(name),
            synapse=synapse,
            counts=counts,
            rules=rules,
            mapping_token=lambda: mapping.token() + _policy_token(config),
            batch_size=self.settings.sync_batch_size,
            writer=self._writer(config) if config.write is WriteMode.SQL else None,
            backup=self._backup(config) if config.write is WriteMode.SQL else None,
            drop_backup=_drop_backup,
            prune_backups=self._prune_backups(config),
            doors=_doors(config) if config.write is WriteMode.SQL else None,
            neighbours=self._neighbours(name),
            may_write=lambda: self.write_mode(name) is WriteMode.SQL,
        )

    def write_mode(self, name: str) -> WriteMode:
        """How values may get into Plant 3D at this moment: as it was at the start, or less, by what the file says now.

        Whoever says `off` is heard at once; more than at the start takes a restart. Where the file cannot be read, or does
        not name the project any more, nothing is written.
        """
        mode, unreadable = self._written(name)
        if unreadable is not None:
            from plant3d_sync.logs import get_logger

            get_logger().warning(
                "config.unreadable", project=name, code=unreadable.error_code, reason=unreadable.message
            )
        return mode

    def write_stopped(self, name: str) -> ConfigError | None:
        """What is wrong with the configuration file, where that keeps this project from being written to."""
        return self._written(name)[1]

    def _written(self, name: str) -> tuple[WriteMode, ConfigError | None]:
        began = WriteMode(self.config.projects[name].write)
        if self.file is None or began is WriteMode.OFF:
            return began, None
        try:
            said_now = self._write_modes(self.file).get(name, WriteMode.OFF)
        except ConfigError as error:
            return WriteMode.OFF, error
        return min(began, said_now, key=list(WriteMode).index), None

    def _write_modes(self, file: Path) -> Mapping[str, WriteMode]:
        """What the configuration file says of each project at this moment; understood anew only if its bytes changed."""
        try:
            data = read_limited(file, LARGEST_FILE)
        except (OSError, ValueError):
            data = b""  # `load_config` says what is wrong with it
        if not data or self._said[0] != data:
            now, _folder = load_config(file, self.settings)
            self._said = data, {name: WriteMode(entry.write) for name, entry in now.projects.items()}
        return self._said[1]

    def _neighbours(self, name: str) -> frozenset[str]:
        """Other configured projects on the same SYNAPSE project."""
        mine = self.config.projects[name].synapse_project_id.lower()
        return frozenset(
            other
            for other, entry in self.config.projects.items()
            if other != name and entry.synapse_project_id.lower() == mine
        )

    def _writer(self, config: ProjectConfig) -> Callable[[Catalog, RuleSet, float], Writer]:
        def make(catalog: Catalog, rules: RuleSet, ahead: float) -> Writer:
            from plant3d_sync.connectors.plant3d.mounts import may_hang
            from plant3d_sync.connectors.plant3d.writing.drawings import DrawingLocks
            from plant3d_sync.connectors.plant3d.writing.writer import PlantWriter
            from plant3d_sync.connectors.plant3d.writing.writer_apart import ApartWriter

            options: dict[str, Any] = {
                "catalog": catalog,
                "allowed": pushable_columns(catalog, rules),
                "drawings": DrawingLocks(
                    drawings_folder(config), unseen_counts_as_open=config.drawings_unseen_are_open
                ),
                "clock": partial(utc_ticks, ahead),
                "synced": config.allow_synced_folder,
                "strong_login": config.allow_strong_login,
            }
            if is_sqlserver(config.source) or may_hang(*_written_places(config)):
                return ApartWriter(config.source, name=self.source(config.name).name, **options)
            return PlantWriter(config.source, **options)

        return make

    def _backup(self, config: ProjectConfig) -> Callable[[str], BackupMade]:
        def make(_run_id: str) -> BackupMade:
            from plant3d_sync.connectors.plant3d.elsewhere import written_elsewhere
            from plant3d_sync.connectors.plant3d.writing.backup import LONGEST, make_backup

            if is_sqlserver(config.source):
                return written_elsewhere(
                    self.source(config.name).name, _server_backup, config, seconds=BACKUP_SECONDS
                )

            folder = self.backup_folder(config)
            made = written_elsewhere(
                config.source,
                partial(
                    make_backup,
                    config.source,
                    folder,
                    project=config.name,
                    keep=None,
                    deadline=self.settings.p3dsync_source_deadline_seconds,
                ),
                seconds=LONGEST,
                places=[config.source, folder],
            )
            return BackupMade(path=str(made.path), bytes=made.bytes, sha256=made.sha256)

        return make

    def _prune_backups(self, config: ProjectConfig) -> Callable[[BackupMade, frozenset[str]], list[str]]:
        def prune(made: BackupMade, empty: frozenset[str]) -> list[str]:
            from plant3d_sync.connectors.plant3d.elsewhere import written_elsewhere
            from plant3d_sync.connectors.plant3d.writing.backup import LONGEST, prune_backups

            if config.source.startswith("mssql"):
                return []  # the server's files are not ours to remove
            folder = self.backup_folder(config)
            removed = written_elsewhere(
                str(folder),
                partial(
                    prune_backups,
                    folder,
                    config.name,
                    config.keep_backups,
                    spare=Path(made.path),
                    empty=frozenset(map(Path, empty)),
                ),
                seconds=LONGEST,
                places=[folder],
            )
            return list(map(str, removed))

        return prune

    def backup_folder(self, config: ProjectConfig) -> Path:
        """Where backups of the Plant 3D database go: configured, else next to the state database."""
        if config.backups:
            return Path(os.path.abspath(self.base_dir / config.backups))
        database = self.state.url.database if self.state.dialect == "sqlite" else None
        folder = Path(database).parent if database else self.base_dir
        return folder / "plant3d-backups" / config.name


@dataclass
class MappingCache:
    """A project's mapping, read once: a run keeps the mapping it began with, whatever happens to the files."""

    sources: tuple[str, ...]
    base_dir: Path

    def __post_init__(self) -> None:
        self._mapping: MappingFile | None = None
        self._compiled: tuple[Catalog, RuleSet] | None = None

    def token(self) -> str:
        """Hash of all files involved, as they were read. The shipped mapping alone is not parsed for it."""
        if self._mapping is None and self.sources == ("stock",):
            return token_of([stock_text()])
        return self._read().token

    def _read(self) -> MappingFile:
        if self._mapping is None:
            self._mapping = load_mapping(list(self.sources), base_dir=self.base_dir)
        return self._mapping

    def compile(self, catalog: Catalog) -> RuleSet:
        """The rules for one catalog."""
        if self._compiled is not None and self._compiled[0] is catalog:
            return self._compiled[1]
        rules = compile_rules(self._read(), catalog)
        self._compiled = (catalog, rules)
        return rules


def _hearing(*those: Hearing | None) -> Hearing | None:
    """One listener for all of them, None if nobody listens."""
    listeners = [one for one in those if one is not None]

    def hear(name: str, facts: Mapping[str, object]) -> None:
        for listener in listeners:
            listener(name, facts)

    return hear if listeners else None


def _count_calls(counts: Counts) -> Callable[[str, Mapping[str, object]], None]:
    """Hears of every call to SYNAPSE: how it ended (the kind of status, or no answer) and how long it took."""

    def hear(name: str, facts: Mapping[str, object]) -> None:
        if name != "synapse.call":
            return
        status = facts.get("status")
        outcome = f"{status // 100}xx" if isinstance(status, int) else "no_answer"
        seconds = float(str(facts["milliseconds"])) / 1000
        counts.observe("upstream", "synapse", outcome, seconds=seconds, bounds=CALLS)

    return hear


def pushable_columns(catalog: Catalog, rules: RuleSet) -> frozenset[tuple[str, str]]:
    """(class that owns the column, column), lower-cased, of everything the mapping lets into Plant 3D."""
    allowed: set[tuple[str, str]] = set()
    for rule in rules.classes.values():
        for field_rule in rule.fields.values():
            if not field_rule.push:
                continue
            for name in field_rule.columns:
                column = catalog.column(rule.class_name, name)
                if column is not None:
                    allowed.add((column.table_class.lower(), column.name.lower()))
    return frozenset(allowed)


def drawings_folder(config: ProjectConfig) -> Path | None:
    """Where the project's drawings lie: configured, else the folder of the database file."""
    if config.drawings:
        return Path(config.drawings)
    if "://" in config.source:
        return None
    from plant3d_sync.connectors.plant3d.elsewhere import elsewhere
    from plant3d_sync.connectors.plant3d.reading.open import LOOK_SECONDS

    path = Path(config.source)
    given = elsewhere(config.source, os.path.isdir, path, seconds=LOOK_SECONDS, places=[path])
    return path if given else path.parent


def _written_places(config: ProjectConfig) -> list[str]:
    """What a push asks, or changes, while it holds the database."""
    return [config.source, *([config.drawings] if config.drawings else [])]


def utc_ticks(ahead: float = 0.0) -> int:
    """Now in .NET ticks: 100 ns steps since year 1, UTC. `PnPTimestamp` counts so.

    `ahead`: seconds by which this machine's clock is ahead of another one, by which it is told instead.
    """
    return time.time_ns() // 100 + EPOCH_TICKS - int(ahead * TICKS)


def _doors(config: ProjectConfig) -> Callable[[], str]:
    """Tells when a drawing is opened or closed."""

    def look() -> str:
        from plant3d_sync.connectors.plant3d.elsewhere import elsewhere
        from plant3d_sync.connectors.plant3d.reading.open import LOOK_SECONDS
        from plant3d_sync.connectors.plant3d.writing.drawings import token_of_doors

        folder = drawings_folder(config)
        return elsewhere(
            f"the drawings of {config.name}",
            token_of_doors,
            folder,
            seconds=LOOK_SECONDS,
            places=[folder] if folder else [],
        )

    return look


def _server_backup(config: ProjectConfig) -> BackupMade:
    """SQL Server: the row-level journal of before-images is always kept; a copy-only backup where the login may."""
    from plant3d_sync.connectors.plant3d.reading.sqlserver import engine_for
    from plant3d_sync.connectors.plant3d.sqlserver_drivers import Limits
    from plant3d_sync.connectors.plant3d.writing.backup import backup_on_server

    if not config.backups:
        return BackupMade(path="journal of before-images (plant_write)", bytes=0, sha256="")
    address = parse_address(config.source)
    engine = engine_for(address, limits=Limits(statement=BACKUP_SECONDS), autocommit=True)
    try:
        database = address.database
        file = f"{config.backups.rstrip('/')}/{config.name}-{int(time.time())}.bak"
        made = backup_on_server(engine, database=database, file=file)
    finally:
        engine.dispose()
    return BackupMade(path=file if made.done else f"journal only ({made.reason})", bytes=0, sha256="")


def _drop_backup(made: BackupMade) -> None:
    """Remove a backup file of ours; what SQL Server keeps, or notes, is not ours to remove."""
    from plant3d_sync.connectors.plant3d.elsewhere import written_elsewhere
    from plant3d_sync.connectors.plant3d.writing.backup import LONGEST, remove_backup

    if made.sha256:
        path = Path(made.path)
        written_elsewhere(made.path, remove_backup, path, seconds=LONGEST, places=[path])


def _policy_token(config: ProjectConfig) -> str:
    text = f"{config.conflict_policy}|{sorted(config.drift.items())}|{config.write}"
    return hashlib.blake2b(text.encode(), digest_size=POLICY_DIGITS // 2).hexdigest()


_SAVED_KINDS = {
    "pump": "PUMP",
    "pumps": "PUMP",
    "tank": "TANK",
    "tanks": "TANK",
    "motor": "MOTOR",
    "motors": "MOTOR",
}
"""Plant 3D classes and what SYNAPSE 0.2's own screens call what stands below them."""


def type_words(catalog: Catalog) -> dict[str, str]:
    """Label of a class -> SYNAPSE 0.2's word for it, by the class it descends from."""
    words: dict[str, str] = {}
    for found in catalog.classes.values():
        for ancestor in catalog.chain(found.name):
            word = _SAVED_KINDS.get(ancestor.lower())
            if word is not None:
                words[found.label or found.name] = word
                break
    return words


def _is_v02(synapse: SynapsePort, catalog: Catalog) -> bool:
    """Whether SYNAPSE 0.2 answers, which is told what the project's classes are called there."""
    from plant3d_sync.connectors.synapse_v02.auto import AutoSynapse
    from plant3d_sync.connectors.synapse_v02.client import SynapseV02

    if isinstance(synapse, SynapseV02 | AutoSynapse):
        synapse.learn_words(type_words(catalog))
    return isinstance(synapse, SynapseV02) or (isinstance(synapse, AutoSynapse) and synapse.is_v02)


def _with_policies(rules: RuleSet, config: ProjectConfig, *, asks: bool = False) -> RuleSet:
    """The project's drift and conflict policies over the mapping's. `asks`: SYNAPSE keeps no times, so a person decides."""
    ask = asks or config.conflict_policy == "ask"
    if not ask and not config.drift:
        return rules
    classes: dict[str, ClassRule] = {}
    for name, rule in rules.classes.items():
        fields = {}
        for field_name, field_rule in rule.fields.items():
            drift = config.drift.get(field_name)
            changed = replace(field_rule, drift=DriftPolicy(drift)) if drift else field_rule
            if ask:
                changed = replace(changed, conflict=ConflictPolicy.ASK)
            fields[field_name] = changed
        classes[name] = replace(rule, fields=fields)
    return replace(rules, classes=classes)


def _project_config(name: str, entry: ProjectFile, app: App) -> ProjectConfig:
    return ProjectConfig(
        name=name,
        synapse_project_id=entry.synapse_project_id,
        source=_source(entry, app),
        mapping=tuple(entry.mapping),
        active=entry.active,
        write=WriteMode(entry.write),
        drawings=os.path.abspath(app.base_dir / entry.drawings) if entry.drawings else None,
        drawings_unseen_are_open=entry.drawings_unseen == "open",
        backups=entry.backups,
        keep_backups=entry.keep_backups,
        allow_copy=entry.allow_copy,
        allow_strong_login=entry.allow_strong_login,
        allow_synced_folder=frozenset(entry.allow_synced_folder),
        missing=MissingPolicy(
            reads=entry.missing.reads, minutes=entry.missing.minutes, policy=entry.missing.policy
        ),
        limits=Limits(
            **{
                name: Limit(share=share, count=count)
                for name, (share, count) in entry.guards.model_dump().items()
            }
        ),
        conflict_policy=entry.conflict.policy,
        tolerance_seconds=entry.conflict.tolerance_seconds,
        drift=dict(entry.drift),
        interval_minutes=entry.interval_minutes,
        direction=Direction(entry.direction),
        workbook_days=entry.workbook_days,
        coverage_warn=entry.coverage.warn,
    )


def _source(entry: ProjectFile, app: App) -> str:
    settings = app.settings
    given = entry.source
    if not given and settings.plant3d_db_url is not None:
        given = settings.plant3d_db_url.get_secret_value()
    if given and is_sqlserver(given):
        return with_driver(parse_address(given), settings.plant3d_db_driver).url
    if given:
        return given if "://" in given else os.path.abspath(app.base_dir / given)
    if settings.plant3d_db_host and settings.plant3d_db_name:
        password = settings.plant3d_db_password
        return from_variables(
            settings.plant3d_db_host,
            settings.plant3d_db_port,
            settings.plant3d_db_name,
            settings.plant3d_db_user,
            password.get_secret_value() if password else None,
            settings.plant3d_db_driver,
        ).url
    raise ConfigError(
        "The project has no Plant 3D database. Nothing was done.",
        hint="Set `source:` in the configuration file, or PLANT3D_DB_HOST and PLANT3D_DB_NAME (or PLANT3D_DB_URL).",
        code="source_missing",
    )


def make_app(config: str | Path | None = None, environ: Mapping[str, str] | None = None) -> App:
    """Read settings and configuration. Connects to nothing."""
    env = dict(os.environ if environ is None else environ)
    settings = load_settings(env)
    file, base_dir = load_config(config, settings)
    learn_secrets(settings, file, env)
    path, _origin = config_path(config, settings)
    return App(settings=settings, config=file, base_dir=base_dir, environ=env, file=path)
