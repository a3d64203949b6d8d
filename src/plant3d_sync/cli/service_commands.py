"""serve, worker, scheduler, up; keys, audit, settings, check-config."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.cli.checking import check_configuration
from plant3d_sync.cli.common import CHOICES, JsonOption, app, speaks, wants_json
from plant3d_sync.cli.output import heads, labelled, print_json, put, say, table
from plant3d_sync.cli.settings_page import settings_page, settings_values
from plant3d_sync.errors import ConfigError
from plant3d_sync.language import tr
from plant3d_sync.logs import get_logger
from plant3d_sync.run.project import iso
from plant3d_sync.state import audit, keys, seals
from plant3d_sync.usecases.set_aside import set_aside
from plant3d_sync.words import counted
from plant3d_sync.worker.main import prepare, run_worker
from plant3d_sync.worker.process import Stop, wait_for_state
from plant3d_sync.worker.scheduler import run_scheduler

keys_app = typer.Typer(help="Keys for the web API.", no_args_is_help=True)
audit_app = typer.Typer(help="Who did what: check it, export it.", no_args_is_help=True)
settings_app = typer.Typer(help="What is set, and from where.", no_args_is_help=True)

HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on (P3DSYNC_HOST).")]
PortOption = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port (SERVICE_PORT); 0 takes a free one.")
]
ParentOption = Annotated[bool, typer.Option("--parent-pipe", hidden=True, help="End when stdin closes.")]

GRACE = 60.0
"""Seconds that processes of `up` get to reach a safe point before they are killed."""

PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before a process that ended by itself is started again."""

CALM = 60.0
"""A process that lived so long starts again without a pause."""

CONFIG_EXIT = 78


def serve(host: HostOption = None, port: PortOption = None, parent_pipe: ParentOption = False) -> None:
    """The web API. Needs no Plant 3D credentials: only the worker reaches Plant 3D.

    Example: plant3d-sync serve --port 8002
    """
    with app() as made:
        prepare(made)
        stop = Stop()
        stop.listen()
        if parent_pipe:
            stop.when_parent_ends()
        if not wait_for_state(lambda: made.state, stop):
            return
        _serve(
            made,
            host or made.settings.p3dsync_host,
            made.settings.service_port if port is None else port,
            stop,
        )


def _serve(made: App, host: str, port: int, stop: Stop) -> None:
    import socket

    import uvicorn

    from plant3d_sync.web.app import create_app
    from plant3d_sync.web.connections import server_config

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """`Stop` listens to signals, so that every process of ours ends the same way."""
            yield

    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise ConfigError(
            f"The web service cannot listen on {host}:{port} ({error.strerror}). Nothing was started.",
            hint="Another process may use the port; choose one with --port or SERVICE_PORT.",
            code="port_unavailable",
        ) from error
    with listening:
        web = create_app(made)
        server = Server(server_config(web))
        stop.then(web.state.context.ending.set)
        stop.then(lambda: setattr(server, "should_exit", True))
        name, chosen = listening.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        print(orjson.dumps({"url": f"http://{shown}:{chosen}"}).decode(), flush=True)
        get_logger().info("web.started", host=name, port=chosen)
        server.run(sockets=[listening])
        get_logger().info("web.stopped")


def worker(
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing is due.")] = False,
    parent_pipe: ParentOption = False,
) -> None:
    """Carry out runs that wait, one at a time; start several for more.

    Example: plant3d-sync worker --burst
    """
    with app() as made:
        run_worker(made, burst=burst, parent_pipe=parent_pipe)


def scheduler(parent_pipe: ParentOption = False) -> None:
    """Ask for a run of each active project every SYNC_INTERVAL_MINUTES. Two of them do no harm.

    Example: plant3d-sync scheduler
    """
    with app() as made:
        run_scheduler(made, parent_pipe=parent_pipe)


# ---------------------------------------------------------------- up


class Child(msgspec.Struct):
    """A process of `up`, started again when it ends by itself."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    again_at: float = 0.0
    last_code: int | None = msgspec.field(default=None)

    def start(self, now: float) -> None:
        """With a pipe to its stdin: when it closes, the child ends."""
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE)
        self.started = now

    def look(self, now: float) -> None:
        """Start it again if it ended."""
        if self.process is None:
            if now >= self.again_at:
                self.start(now)
            return
        code = self.process.poll()
        if code is None:
            return
        self.close_pipe()
        self.process, self.last_code = None, code
        self.failures = 0 if now - self.started > CALM else self.failures + 1
        self.again_at = now + PAUSES[min(max(self.failures, 1), len(PAUSES)) - 1]
        get_logger().error("process.ended", process=self.name, code=code, again_in=self.again_at - now)

    def close_pipe(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


def up(host: HostOption = None, port: PortOption = None) -> None:
    """Web API, worker and scheduler on one machine, with no server to set up. Ctrl-C ends them all.

    Example: plant3d-sync up --port 8002
    """
    with app() as made:
        prepare(made)
        stop = Stop()
        stop.listen()
        # one process sets an empty database up, before three use it
        if not wait_for_state(lambda: made.state, stop):
            return
    web = (["--host", host] if host else []) + (["--port", str(port)] if port is not None else [])
    children = [Child("web", _command("serve", *web)), Child("worker", _command("worker"))]
    children.append(Child("scheduler", _command("scheduler")))
    try:
        while not stop.wait(0.25):
            now = time.monotonic()
            for child in children:
                child.look(now)
                if child.last_code == CONFIG_EXIT:
                    raise ConfigError(
                        f"The {child.name} process refused to start; its message stands above. All were stopped.",
                        hint="`plant3d-sync check-config` names every problem.",
                        code="process_refused",
                    )
    finally:
        _end(children)


def _command(*arguments: str) -> list[str]:
    config = ["--config", str(Path(CHOICES.config).absolute())] if CHOICES.config else []
    return [sys.executable, "-m", "plant3d_sync", *config, *arguments, "--parent-pipe"]


def _end(children: list[Child]) -> None:
    for child in children:
        child.close_pipe()
    limit = time.monotonic() + GRACE
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(timeout=max(0.1, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            get_logger().error("process.killed", process=child.name)
            child.process.kill()
            child.process.wait()


# ---------------------------------------------------------------- keys


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What or who uses it.")],
    scopes: Annotated[str, typer.Option("--scopes", help="Of read,sync,resolve,write,admin.")],
    project: Annotated[
        list[str] | None, typer.Option("--project", help="Only this project; may be given several times.")
    ] = None,
    expires_days: Annotated[float | None, typer.Option("--expires-days", help="Days until it ends.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it once; only its hash is kept.

    Example: plant3d-sync keys create dashboard --scopes read
    """
    as_json = wants_json(json)
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with app() as made:
        projects = [made.project_name(one) for one in project] if project else None
        with made.state.write() as connection:
            key_id, key = keys.create(
                connection, name, wanted, projects=projects, expires_days=expires_days, now=time.time()
            )
    if as_json:
        print_json({"id": key_id, "key": key})
    else:
        say(key)
        told = tr(f"Key {key_id}. It is shown this once; send it as the header X-API-Key.")
        sys.stderr.write(f"{told}\n")


@keys_app.command("list")
def keys_list(json: JsonOption = False) -> None:
    """Every key, without its secret.

    Example: plant3d-sync keys list
    """
    as_json = wants_json(json)
    with app() as made, made.kept_state.read() as connection:
        items = [_key_document(key) for key in keys.list_keys(connection)]
    if as_json:
        print_json({"items": items, "total": len(items)})
    else:
        headers = heads("id", "name", "scopes", "projects", "expires_at", "revoked_at", "last_used_at")
        rows = [
            [", ".join(value) if isinstance(value := item[name], list) else value for name in headers]
            for item in items
        ]
        table(headers, rows)


def _key_document(key: keys.ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "projects": None if key.projects is None else list(key.projects),
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
    }


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="Id from `keys list`.")], json: JsonOption = False
) -> None:
    """End a key at once.

    Example: plant3d-sync keys revoke 4fd1c0a2
    """
    as_json = wants_json(json)
    with app() as made, made.kept_state.write() as connection:
        item = _key_document(keys.revoke(connection, key_id, now=time.time()))
    if as_json:
        print_json(item)
    else:
        say(f"Key {item['id']} ({item['name']}) ended at {item['revoked_at']}.")


# ---------------------------------------------------------------- audit


@audit_app.command("verify")
def audit_verify(
    against: Annotated[
        Path | None, typer.Option("--against", help="An export kept elsewhere: is all of it still here?")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Walk every chain of the audit trail, and recompute the digest of every row that may lead to a write.

    Exit code 78 if an entry was changed, removed or moved, or a row is not what was stored (`row_altered`).
    Rows older than these digests are counted as `not_covered`.

    A trail that was restored from a backup is sound in itself: only an export kept elsewhere shows what is gone.

    Example: plant3d-sync audit verify --against audit.jsonl
    """
    as_json = wants_json(json)
    with app() as made:
        state = made.kept_state
        with state.read() as connection:
            found = seals.verify(connection)
            count, broken = found.entries, found.broken
            if against is not None:
                broken += audit.compare(connection, _exported(against))
        with state.write() as connection:
            audit.keep_check(connection, count, broken, time.time())
    places = [_place(item) for item in broken]
    if broken:
        first, more = broken[0], len(broken) - 1
        raise ConfigError(
            f"The audit trail does not hold: {first.project}, {first}, and {more} more. Nothing was changed."
            if more
            else f"The audit trail does not hold: {first.project}, {first}. Nothing was changed.",
            hint="The state database was restored from a backup, or somebody wrote into it from outside. "
            "Compare with an export or a backup.",
            code="audit_broken",
            details={"entries": count, "broken": places, "not_covered": found.not_covered},
        )
    if as_json:
        print_json({"entries": count, "broken": [], "not_covered": found.not_covered})
        return
    say(counted(count, f"{count} entry, every chain whole.", f"{count} entries, every chain whole."))
    if found.not_covered:
        older = ", ".join(f"{table} {number}" for table, number in sorted(found.not_covered.items()))
        say(f"not_covered, being older than the seals (nobody can say whether they were altered): {older}")


@audit_app.command("set-aside")
def audit_set_aside(json: JsonOption = False) -> None:
    """Close every row that `audit verify` names, so that none of them leads to a write and the runs go on.

    A plan is superseded, a choice void, a request ended, a key revoked; what a call may have written is compared
    anew. Change entries stay named, and their runs cannot be undone. A backup from before is the better way.

    Example: plant3d-sync audit set-aside
    """
    as_json = wants_json(json)
    with app() as made:
        found = set_aside(made.world(), by="cli")
    if as_json:
        print_json({"set_aside": [_place(item) for item in found]})
        return
    for item in found:
        put(labelled(item.project, tr(item.what)))
    aside = counted(len(found), f"{len(found)} row was set aside.", f"{len(found)} rows were set aside.")
    say(aside if found else "Every row is as it was stored.")


def _place(item: audit.Broken) -> dict[str, object]:
    place: dict[str, object] = {
        "project": item.project,
        "seq": item.seq,
        "what": item.what,
        "code": item.code,
    }
    return place if item.row is None else {**place, "table": item.table, "row": item.row}


def _exported(path: Path) -> Iterator[dict[str, object]]:
    """Entries of a file that `audit export` wrote."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                entry = orjson.loads(line)
                if not isinstance(entry, dict) or not {"project", "seq", "hash"} <= entry.keys():
                    raise ConfigError(
                        f"Line {number} of {path} is no entry of an audit export. Nothing was compared.",
                        hint="Give a file that `plant3d-sync audit export --output FILE` wrote.",
                        code="audit_export_invalid",
                    )
                yield entry
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(
            f"The audit export cannot be read: {path} ({error}). Nothing was compared.",
            hint="Give a file that `plant3d-sync audit export --output FILE` wrote.",
            code="audit_export_invalid",
        ) from error


@audit_app.command("export")
def audit_export(
    output: Annotated[Path | None, typer.Option("--output", help="File to write; else stdout.")] = None,
) -> None:
    """Every entry, one JSON object a line, in the order of its chain.

    Example: plant3d-sync audit export --output audit.jsonl
    """
    with app() as made, made.kept_state.read() as connection:
        if output is None:
            for entry in audit.export(connection):
                sys.stdout.buffer.write(orjson.dumps(entry) + b"\n")
            return
        with output.open("wb") as stream:
            for entry in audit.export(connection):
                stream.write(orjson.dumps(entry) + b"\n")


# ---------------------------------------------------------------- settings


def check_config(json: JsonOption = False) -> None:
    """Every problem of settings, configuration and mapping at once; connects to nothing. Exit code 78 if any.

    Example: plant3d-sync check-config
    """
    as_json = wants_json(json)
    found = check_configuration(CHOICES.config)
    if found.problems:
        count, listed = len(found.problems), "; ".join(found.problems)
        raise ConfigError(
            counted(
                count,
                f"{count} problem: {listed}. Nothing was started.",
                f"{count} problems: {listed}. Nothing was started.",
            ),
            hint=found.hint,
            code="config_invalid",
            details={"problems": found.problems},
        )
    if as_json:
        print_json({"problems": [], "projects": found.projects, "warnings": found.warnings})
        return
    for warning in found.warnings:
        sys.stderr.write(tr(f"note: {warning}") + "\n")
    say(f"The configuration is usable. Projects: {', '.join(found.projects) or 'none'}.")


@settings_app.command("show")
def settings_show(json: JsonOption = False) -> None:
    """Every setting with its value and where it comes from; secrets are hidden.

    Example: plant3d-sync settings show
    """
    as_json = wants_json(json)
    made = make_app(CHOICES.config)
    speaks(made)
    values = settings_values(made, CHOICES.config)
    if as_json:
        print_json({"settings": values})
    else:
        table(("name", "value", "from"), [(item["name"], item["value"], item["from"]) for item in values])


@settings_app.command("page")
def settings_page_command() -> None:
    """The reference page of all settings (docs/reference/settings.md).

    Example: plant3d-sync settings page
    """
    sys.stdout.write(settings_page())


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, worker, scheduler, up):
        cli.command()(command)
    cli.command("check-config")(check_config)
    cli.add_typer(keys_app, name="keys")
    cli.add_typer(audit_app, name="audit")
    cli.add_typer(settings_app, name="settings")
