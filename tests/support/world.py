"""A whole small world: a Plant 3D database, a SYNAPSE, a configuration file, a state database, and the command line.

`World.cli` runs a command in this process, `World.process` as a process of its own. The dumps show both sides and
our own memory without ids and times, so that two worlds with the same history compare equal.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import orjson
import yaml

import plant3d_sync
from plant3d_sync.cli.main import run
from plant3d_sync.model.fields import flat
from plant3d_sync.sample import edits, write_sample
from plant3d_sync.state.intents import fields_of
from tests.support.apart import command
from tests.support.faulty_http import Answer, ScriptedServer, Seen
from tests.support.state import empty_state
from tests.support.synapse_dev import RunningSynapse

NAME = "mine"
SOURCE = Path(plant3d_sync.__file__).parents[1]
ROOTS = {
    "equipment": "Equipment",
    "instruments": "Instrumentation",
    "valves": "HandValves",
    "lines": "PipeLineGroup",
}
UNTOUCHED = (
    "discipline_code",
    "parent_asset_id",
    "status",
    "fbs_code",
    "lbs_code",
    "wbs_code",
    "priority",
    "tags",
    "m_files_links",
    "workflow_status",
    "notes",
)
"""What SYNAPSE holds and no sync may touch."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command line answered. `json` is None when stdout was empty."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Row:
        """The one document on stdout."""
        document: Row = json.loads(self.out)
        return document

    @property
    def error(self) -> str:
        """The stable code of the error document."""
        return str(self.json["error"]["code"])


@dataclass(slots=True, kw_only=True)
class World:
    """Everything one test may touch. `options`: the project's settings; `top`: settings above the projects."""

    folder: Path
    synapse: RunningSynapse
    uuid: str
    url: str
    options: Row = field(default_factory=dict)
    top: Row = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    heard: list[Said] = field(default_factory=list)

    # ------------------------------------------------------------------ places

    @property
    def dcf(self) -> Path:
        """The Plant 3D database."""
        return self.folder / "ProcessPower.dcf"

    @property
    def state(self) -> Path:
        """Our state database."""
        return self.folder / "state.db"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "plant3d-sync.yml"

    def configure(self, **options: Any) -> None:
        """Change the project's settings (None takes one away) and write the file."""
        self.options = {name: value for name, value in (self.options | options).items() if value is not None}
        project = {"synapse_project_id": self.uuid, "source": self.dcf.name, **self.options}
        document = {
            "state_db_url": f"sqlite:///{self.state}",
            "synapse": {"url": self.url},
            "projects": {NAME: project},
            **self.top,
        }
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")

    def without_state(self) -> World:
        """As on a machine where no command has run yet."""
        self.state.unlink()
        return self

    def through(self, url: str) -> None:
        """Reach SYNAPSE at another address from now on."""
        self.url = url
        self.configure()

    # ------------------------------------------------------------------ the command line

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a command sees besides the machine's own variables."""
        return {
            "SYNAPSE_API_KEY": self.synapse.api_key,
            "SYNC_RETRY_DELAY_SECONDS": "0",
            "SYNC_RETRY_ATTEMPTS": "2",
            "P3DSYNC_HTTP_TIMEOUT_SECONDS": "120",
            **self.env,
            **env,
        }

    def cli(self, *words: str, env: Mapping[str, str] | None = None, as_json: bool = True) -> Said:
        """Run a command in this process, with --json unless it is to speak to people."""
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        variables = {name: text for name, text in self.environment(env or {}).items() if text}
        with (
            patch.dict(os.environ, variables),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            if (env or {}).get("SYNAPSE_API_KEY") == "":
                os.environ.pop("SYNAPSE_API_KEY", None)
            code = run(["--config", str(self.config), *(["--json"] if as_json else []), *words])
            out.flush()
        said = Said(code=code, out=out.buffer.getvalue().decode(), err=err.getvalue())  # type: ignore[attr-defined]
        self.heard.append(said)
        return said

    def process(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """Run a command as a process of its own with --json. A process killed by signal 9 ends with -9."""
        done = subprocess.run(
            [sys.executable, "-m", "plant3d_sync", "--config", str(self.config), "--json", *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **self.environment(env or {})},
            timeout=120,
            check=False,
        )
        said = Said(code=done.returncode, out=done.stdout, err=done.stderr)
        self.heard.append(said)
        return said

    def apart(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """As `process`, but forked: for a run that is killed, which costs no start of a program then."""
        folder = self.folder / "apart"
        folder.mkdir(exist_ok=True)
        code, out, err = command(
            ["--config", str(self.config), "--json", *words],
            {**os.environ, **self.environment(env or {})},
            folder,
        )
        said = Said(code=code, out=out, err=err)
        self.heard.append(said)
        return said

    def pull(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """`pull mine`."""
        return self.cli("pull", NAME, *words, env=env)

    def pulled(self, *words: str, code: int = 0) -> Row:
        """`pull mine`, which must end with this exit code; its report."""
        said = self.pull(*words)
        assert said.code == code, (said.code, said.out, said.err)
        return said.json

    def apply(self, plan_id: str, *words: str) -> Said:
        """`apply PLAN`."""
        return self.cli("apply", plan_id, *words)

    # ------------------------------------------------------------------ Plant 3D

    def items(self, entity: str) -> list[edits.Found]:
        """Tagged items of a kind, by PnPID."""
        found = edits.find(self.dcf, ROOTS[entity])
        return [item for item in found if item.tag and "?" not in item.tag]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the Plant 3D database by plain SQL."""
        with closing(sqlite3.connect(self.dcf)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Change the Plant 3D database as any other program would."""
        with closing(sqlite3.connect(self.dcf)) as connection, connection:
            connection.execute(statement, values)

    def guid(self, pnpid: int) -> str:
        """The identity of an item, lower case with hyphens."""
        ((raw,),) = self.sql("SELECT PnPGuid FROM PnPBase WHERE PnPID = ?", pnpid)
        return str(uuid.UUID(bytes_le=raw)) if isinstance(raw, bytes) else str(uuid.UUID(str(raw)))

    def guids(self) -> dict[int, str]:
        """PnPID -> identity of everything."""
        rows = self.sql("SELECT PnPID, PnPGuid FROM PnPBase WHERE PnPGuid IS NOT NULL")
        return {
            pnpid: str(uuid.UUID(bytes_le=raw))
            for pnpid, raw in rows
            if isinstance(raw, bytes) and len(raw) == 16
        }

    def fingerprint(self) -> str:
        """Of the bytes of the Plant 3D database."""
        return hashlib.sha256(self.dcf.read_bytes()).hexdigest()

    # ------------------------------------------------------------------ SYNAPSE

    def client(self) -> httpx2.Client:
        """A client of this project with every right. No certificates are loaded: it only speaks plain HTTP."""
        headers = {"X-API-Key": self.synapse.api_key, "X-Project-ID": self.uuid}
        return httpx2.Client(base_url=self.synapse.url, headers=headers, timeout=60, verify=False)

    def writes(self) -> int:
        """How many assets the sync really changed in SYNAPSE so far."""
        with self.client() as client:
            report = client.get("/dev/writes").json()
        return int(report["by_project"].get(self.uuid, {}).get("effective", 0))

    def assets(self) -> list[Row]:
        """Every asset, archived ones too."""
        with self.client() as client:
            answer = client.get(f"/dev/projects/{self.uuid}/assets")
            answer.raise_for_status()
            items: list[Row] = answer.json()["items"]
            return items

    def live(self) -> dict[str, Row]:
        """Live assets by tag."""
        return {asset["tag"]: asset for asset in self.assets() if asset["deleted_at"] is None}

    def asset_of(self, pnpid: int) -> Row:
        """The one asset that carries an item's identity."""
        guid = self.guid(pnpid)
        (found,) = [asset for asset in self.assets() if asset["plant3d_id"] == guid]
        return found

    def user_edits(self, asset_id: str, **values: Any) -> Row:
        """Somebody changes an asset in SYNAPSE."""
        with self.client() as client:
            answer = client.patch(f"/dev/projects/{self.uuid}/assets/{asset_id}", json=values)
            assert answer.status_code == 200, answer.text
            asset: Row = answer.json()
            return asset

    def user_adds(self, **values: Any) -> Row:
        """Somebody creates an asset in SYNAPSE."""
        with self.client() as client:
            answer = client.post(f"/dev/projects/{self.uuid}/assets", json=values)
            assert answer.status_code == 201, answer.text
            asset: Row = answer.json()
            return asset

    # ------------------------------------------------------------------ our state

    def rows(self, statement: str, *values: object) -> list[Row]:
        """Read our state by plain SQL."""
        with closing(sqlite3.connect(self.state)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, values)]

    def link_of(self, pnpid: int) -> Row:
        """The link of an item."""
        (found,) = self.rows("SELECT * FROM link WHERE pnpid = ?", pnpid)
        return found

    def findings(self, code: str | None = None) -> list[Row]:
        """Open findings."""
        found = self.rows("SELECT code, pnpid, data FROM finding WHERE closed_at IS NULL")
        return [row | {"data": json.loads(row["data"])} for row in found if code in (None, row["code"])]

    def conflicts(self, status: str = "pending") -> list[Row]:
        """Conflicts in this status."""
        found = self.rows("SELECT * FROM conflict WHERE status = ? ORDER BY seq", status)
        return [row | {"data": json.loads(row["data"])} for row in found]

    def every_table(self, *, but: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """The whole state database, table by table."""
        with closing(sqlite3.connect(self.state)) as connection:
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
                )
            ]
            return {
                name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for name in names
                if name not in but
            }

    # ------------------------------------------------------------------ dumps without ids and times

    def dump(self) -> Row:
        """Both sides and our memory: what an undisturbed and a disturbed history must have in common."""
        return {
            "plant3d": self.fingerprint(),
            "synapse": self.dump_synapse(),
            "links": self.dump_links(),
            "conflicts": self.dump_conflicts(),
            "changes": self.dump_changes(),
            "findings": sorted((row["code"], row["pnpid"] or 0) for row in self.findings()),
            "open_intents": self.rows("SELECT count(*) AS n FROM intent WHERE status = 'open'")[0]["n"],
            "tag_history": sorted(
                (row["old_tag"], row["new_tag"])
                for row in self.rows("SELECT old_tag, new_tag FROM tag_history")
            ),
        }

    def dump_synapse(self) -> list[Row]:
        """Assets by identity; the version tells how often each was really changed."""
        kept = ("plant3d_id", "tag", "asset_type", "asset_subtype", "description", "attributes", "version")
        dumped = [
            {name: asset[name] for name in (*kept, *UNTOUCHED)}
            | {"archived": asset["deleted_at"] is not None}
            for asset in self.assets()
        ]
        return sorted(dumped, key=lambda asset: (asset["plant3d_id"] or "", asset["tag"]))

    def dump_links(self) -> list[Row]:
        """Links with their bases."""
        assets = {asset["id"]: asset for asset in self.assets()}
        dumped = []
        for row in self.rows("SELECT * FROM link ORDER BY pnpid"):
            asset = assets.get(row["asset_id"])
            same = (
                "pnpid",
                "plant3d_id",
                "class_name",
                "entity",
                "tag",
                "state",
                "gone_in_synapse",
                "drawing",
            )
            parsed = {
                name: json.loads(row[name]) if row[name] else None
                for name in ("base", "base_plant", "synapse_delta", "pending", "holds", "flips", "missing")
            }
            parsed["base"] = flat(parsed["base"]) if parsed["base"] else parsed["base"]
            dumped.append(
                {name: row[name] for name in same}
                | parsed
                | {
                    "digest": row["digest"].hex() if row["digest"] else None,
                    "observed": sorted(json.loads(row["observed"] or "{}")),
                    "missing": parsed["missing"][1] if parsed["missing"] else None,
                    "version_known": asset is not None and row["asset_version"] == asset["version"],
                    "right_asset": asset is not None and asset["plant3d_id"] == row["plant3d_id"],
                }
            )
        return dumped

    def dump_conflicts(self) -> list[Row]:
        """Conflicts with their values."""
        rows = self.rows("SELECT * FROM conflict ORDER BY plant3d_id, field")
        return [
            {name: row[name] for name in ("plant3d_id", "field", "kind", "status", "resolution")}
            | {name: json.loads(row["data"]).get(name) for name in ("base", "plant3d", "synapse")}
            for row in rows
        ]

    def dump_changes(self) -> list[tuple[int, str, str]]:
        """What was written, once per effective write: (PnPID, operation, fields with old and new value).

        Which rule decided is left out: it may be another one when a run was done in two parts.
        """
        rows = self.rows("SELECT pnpid, op, fields FROM change")
        return sorted(
            (
                row["pnpid"],
                row["op"],
                orjson.dumps(fields_of(row["op"], row["fields"]), option=orjson.OPT_SORT_KEYS).decode(),
            )
            for row in rows
        )


# ---------------------------------------------------------------- making worlds

_templates: dict[tuple[int, float, int], Path] = {}


def template(cache: Path, *, items: int, dirty: float = 0.0, seed: int = 0) -> Path:
    """A sample database of this kind with a small catalogue, written once per test process."""
    key = (items, dirty, seed)
    if key not in _templates:
        path = cache / f"{uuid.uuid4().hex}.dcf"
        write_sample(path, items=items, dirty=dirty, seed=seed)
        _forget_classes(path)
        _templates[key] = path
    return _templates[key]


ADDED_BY_TESTS = ("GateValve", "HorizontalCentrifugalPump")


def _forget_classes(path: Path) -> None:
    """Leave out of the catalogue what no item is of: each run reads all seven hundred classes, and few say something."""
    with closing(sqlite3.connect(path)) as connection, connection:
        bases = dict(connection.execute("SELECT TableName, BaseTable FROM PnPTables"))
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        used = {name for (name,) in connection.execute("SELECT DISTINCT PnPClassName FROM PnPBase")}
        kept: set[str | None] = set()
        for name in (used | tables | {*ROOTS.values(), *ADDED_BY_TESTS}) & bases.keys():
            above: str | None = name
            while above is not None and above not in kept:
                kept.add(above)
                above = bases[above]
        gone = [(name,) for name in bases if name not in kept]
        for table in ("PnPTables", "PnPProperties", "PnPTableAttributes", "PnPColumnAttributes"):
            connection.executemany(f"DELETE FROM {table} WHERE TableName = ?", gone)  # noqa: S608


def new_world(
    folder: Path, synapse: RunningSynapse, dcf: Path, *, project: str | None = None, **options: Any
) -> World:
    """A world with its own SYNAPSE project, a copy of this Plant 3D database, and a state in which nothing is yet."""
    folder.mkdir(parents=True, exist_ok=True)
    made = World(folder=folder, synapse=synapse, uuid=synapse.new_project(project), url=synapse.url)
    shutil.copyfile(dcf, made.dcf)
    made.state.write_bytes(empty_state())  # what the first command would make, made once
    made.configure(**options)
    return made


MakeWorld = Callable[..., World]


# ---------------------------------------------------------------- a recorder before SYNAPSE


@dataclass(slots=True)
class Recorder:
    """Passes requests on to SYNAPSE and notes every batch at the moment it is made.

    `unintended`: batches for which the state held no open intent under the current fence at that moment, or
    whose key is not the hash of project, run and body.
    `edit` may change the answer, `request` the body, before it goes on.
    """

    world: World
    batches: list[Row] = field(default_factory=list)
    unintended: list[str] = field(default_factory=list)
    edit: Callable[[Seen, Answer], Answer] | None = None
    request: Callable[[Seen], bytes] | None = None

    def __call__(self, seen: Seen) -> Answer:
        if seen.method == "POST" and seen.target.endswith("/assets/batch"):
            self._note(seen)
        body = self.request(seen) if self.request else seen.body
        dropped = ("host", "connection", "content-length", "accept-encoding")
        headers = {name: text for name, text in seen.headers.items() if name not in dropped}
        with self.world.client() as client:
            client.headers.clear()
            reply = client.request(seen.method, seen.target, content=body, headers=headers)
        answer = Answer(
            status=reply.status_code,
            body=reply.content,
            headers={
                name: text
                for name, text in reply.headers.items()
                if name.lower() in ("x-request-id", "retry-after", "idempotency-replayed", "date")
            },
        )
        return self.edit(seen, answer) if self.edit else answer

    def _note(self, seen: Seen) -> None:
        key = seen.headers.get("idempotency-key", "")
        self.batches.append(seen.json)
        fences = self.world.rows("SELECT fence FROM lease")
        found = self.world.rows(
            "SELECT fence, run_id FROM intent WHERE idempotency_key = ? AND status = 'open'", key
        )
        parts = (self.world.uuid, found[0]["run_id"]) if len(found) == 1 else ("", "")
        made_of = b"|".join([*(part.encode() for part in parts), seen.body])
        if (
            len(found) != 1
            or found[0]["fence"] != fences[0]["fence"]
            or key != hashlib.sha256(made_of).hexdigest()
        ):
            self.unintended.append(key)


@contextmanager
def recorded(world: World) -> Iterator[Recorder]:
    """Let this world reach SYNAPSE through a recorder."""
    recorder = Recorder(world)
    before = world.url
    with ScriptedServer(recorder) as server:
        world.through(server.url)
        try:
            yield recorder
        finally:
            world.through(before)
