"""The web service in process: two projects, a clock to turn, keys on demand. No worker unless a test plays one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
import yaml
from fastapi import FastAPI
from starlette.testclient import TestClient

from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.model.plan import RowError
from plant3d_sync.run.project import World
from plant3d_sync.state import State, audit, keys, quarantine, runs
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.codec import dump
from plant3d_sync.state.links import key_of
from plant3d_sync.state.runs import Run, StoredPlan
from plant3d_sync.state.tables import change, component, link, tag_history
from plant3d_sync.state.tables import run as run_table
from plant3d_sync.web import create_app
from tests.support.state import empty_state

MINE, OTHER = "mine", "other"
UUIDS = {MINE: "0f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c11", OTHER: "1f6b6a0e-6a0e-4b53-9d0f-7a1d5f0a9c22"}
SECRET = "canary-synapse-key-5d41402abc4b2a76"


@dataclass(slots=True)
class Clock:
    """Time that moves when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, kw_only=True)
class Desk:
    """The service, a client, and ways to put facts into its state database."""

    app: App
    web: FastAPI
    client: TestClient
    clock: Clock
    world: World
    made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return self.world.state

    def key(
        self,
        *scopes: str,
        projects: Sequence[str] | None = None,
        days: float | None = None,
        name: str = "tester",
    ) -> str:
        """A fresh key (kept per wish, so that asking twice costs nothing). The first of a name carries it as it is."""
        wish = (scopes, tuple(projects) if projects else None, days, name)
        if wish not in self.made:
            alike = sum(1 for made in self.made if made[3] == name)
            with self.state.write() as connection:
                _id, self.made[wish] = keys.create(
                    connection,
                    f"{name} {alike}" if alike else name,
                    scopes or keys.SCOPES,
                    projects=projects,
                    expires_days=days,
                    now=self.clock(),
                    by="test",
                )
        return self.made[wish]

    def actor(self, *scopes: str, name: str = "tester") -> str:
        """How the audit names the key with this wish."""
        wish = next(made for made in self.made if made[3] == name and (made[0] == scopes or not scopes))
        with self.state.read() as connection:
            key = keys.get(connection, self.made[wish].split("_")[1])
        assert key is not None
        return f"key:{key.key_id}:{key.name}"

    def headers(self, *scopes: str, projects: Sequence[str] | None = None, **more: str) -> dict[str, str]:
        return {"X-API-Key": self.key(*scopes, projects=projects), **more}

    def get(self, path: str, *scopes: str, **params: object) -> Any:
        return self.client.get(
            path, params={k: v for k, v in params.items() if v is not None}, headers=self.headers(*scopes)
        )

    def post(
        self, path: str, body: object = None, *scopes: str, headers: dict[str, str] | None = None
    ) -> Any:
        return self.client.post(path, json=body, headers={**self.headers(*scopes), **(headers or {})})

    # ------------------------------------------------------------------ facts

    def run(
        self, project: str = MINE, *, status: str = "completed", outcome: str | None = "clean", **more: Any
    ) -> str:
        """A run as it would have been left by a worker."""
        run_id = uuid.uuid4().hex
        with self.state.write() as connection:
            project_state.ensure(connection, project)
            runs.insert(
                connection,
                Run(
                    run_id=run_id,
                    project=project,
                    direction=more.pop("direction", "pull"),
                    trigger="api",
                    status=status,
                    options={"queued": True, "entity_types": ["equipment"], "full": False},
                    created_at=self.clock(),
                    started_at=None if status == "queued" else self.clock(),
                    heartbeat_at=self.clock(),
                ),
            )
            values = {"outcome": outcome if status == "completed" else None, **more}
            if status in ("completed", "failed"):
                values.setdefault("completed_at", self.clock())
            runs.update(connection, run_id, **values)
        return run_id

    def end(self, run_id: str, **values: Any) -> None:
        """What a worker does at the end of a run."""
        with self.state.write() as connection:
            done = {"status": "completed", "outcome": "clean", "completed_at": self.clock(), **values}
            runs.update(connection, run_id, **done)

    def event(self, run_id: str, name: str, **data: object) -> None:
        with self.state.write() as connection:
            runs.event(connection, run_id, name, self.clock(), **data)

    def statuses(self, project: str = MINE) -> list[str]:
        with self.state.read() as connection:
            rows = connection.execute(
                sa.select(run_table.c.status).where(run_table.c.project == project).order_by(run_table.c.seq)
            )
            return [row[0] for row in rows]

    def sign_of_life(self, kind: str) -> None:
        with self.state.write() as connection:
            connection.execute(sa.delete(component).where(component.c.name == kind))
            connection.execute(sa.insert(component).values(name=kind, kind=kind, seen_at=self.clock()))

    def probed(
        self, project: str = MINE, *, plant3d: bool = True, synapse: bool = True, **more: object
    ) -> None:
        """What the worker's probe stores."""
        with self.state.write() as connection:
            project_state.ensure(connection, project)
            answers = {
                side: {"ok": ok, "checked_at": self.clock(), "code": None if ok else "down", "message": None}
                for side, ok in (("plant3d", plant3d), ("synapse", synapse))
            }
            project_state.update(connection, project, probe={**answers, **more})

    def well(self, *projects: str) -> None:
        """Everything as it should be, at this moment."""
        for kind in ("worker", "scheduler"):
            self.sign_of_life(kind)
        for project in projects or (MINE, OTHER):
            self.probed(project)
            with self.state.write() as connection:
                project_state.update(connection, project, pull_ok_at=self.clock())

    def plan(self, project: str = MINE, *, status: str = "draft", lines: int = 2) -> str:
        plan_id = uuid.uuid4().hex
        guards = [{"name": "create", "limit": "500", "actual": "900", "message": "too many"}]
        stored = StoredPlan(
            plan_id=plan_id,
            project=project,
            direction="pull",
            status=status,
            created_at=self.clock(),
            created_by="test",
            run_id=None,
            fingerprint="f" * 32,
            mapping_digest="m",
            identity=None,
            signature=None,
            header={
                "stats": {"total": lines, "updated": lines},
                "guards": guards if status == "guarded" else [],
            },
            lines=lines,
            chunks=(lines + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES,
        )
        line = {"op": "update", "entity": "equipment", "class": "Pump", "after": {"digest": "00"}}
        line |= {
            "set": {"description": "new"},
            "was": {"description": "old"},
            "why": {"description": "changed"},
        }
        rows = [orjson.dumps({**line, "pnpid": n, "id": f"g-{n}", "tag": f"P-{n}"}) for n in range(lines)]
        with self.state.write() as connection:
            project_state.ensure(connection, project)
            runs.put_plan(connection, stored, rows)
        return plan_id

    def conflict(
        self,
        project: str = MINE,
        *,
        tag: str | None = None,
        field: str = "description",
        suggestion: str = "plant3d",
        kind: str = "both_changed",
        why: str = "newest",
    ) -> str:
        tag = tag or f"P-{uuid.uuid4().hex[:6]}"
        draft = {
            "plant3d_id": f"guid-{tag}",
            "asset_id": f"asset-{tag}",
            "link_id": None,
            "tag": tag,
            "field": field,
            "kind": kind,
            "base": "old",
            "has_base": True,
            "plant3d": "from Plant 3D",
            "synapse": "from SYNAPSE",
            "plant3d_ticks": 639_000_000_000_000_000,
            "synapse_at": "2026-11-01T10:00:00Z",
            "synapse_by": "lise",
            "suggestion": suggestion,
            "suggestion_reason": why,
        }
        with self.state.write() as connection:
            project_state.ensure(connection, project)
            [made] = conflict_state.sync_conflicts(
                connection,
                project,
                conflict_state.Comparison(
                    run_id="r",
                    at=self.clock(),
                    drafts=[draft],
                    examined=lambda _row: False,
                    fates={},
                    planned_choices=(),
                ),
                new_id=lambda: uuid.uuid4().hex,
            )
        return made

    def refused(self, project: str = MINE, *, tag: str = "P-102") -> int:
        """A row in quarantine."""
        error = RowError(
            plant3d_id=str(uuid.uuid4()),
            pnpid=900_001,
            tag=tag,
            field="description",
            code="too_long",
            message="300 characters do not fit.",
            into="plant3d",
        )
        with self.state.write() as connection:
            number = project_state.ensure(connection, project).number
            quarantine.keep(
                connection,
                number,
                project,
                quarantine.Looked(errors=[error], at=self.clock(), entity_of={}, drawing_of={}, settled=()),
            )
            return max(row.id for row in quarantine.rows_of(connection, number))

    def linked(self, project: str = MINE, *, tag: str = "P-101", former: str | None = None) -> int:
        """A linked pair with one change, optionally renamed from a former tag."""
        with self.state.write() as connection:
            number = project_state.ensure(connection, project).number
            known = connection.execute(sa.select(sa.func.count()).select_from(link)).scalar() or 0
            link_id = project_state.link_id(number, int(known) + 1)
            connection.execute(
                sa.insert(link).values(
                    id=link_id,
                    project=number,
                    pnpid=link_id % 1000,
                    plant3d_id=f"guid-{link_id}",
                    guid_key=key_of(f"guid-{link_id}"),
                    class_name="Pump",
                    entity="equipment",
                    asset_id=f"asset-{link_id}",
                    asset_version=1,
                    tag=tag,
                    state="active",
                    base=dump({"tag": tag, "description": "old"}),
                    synapse_delta=dump({"description": "from SYNAPSE"}),
                    pending=dump(
                        {"description": {"why": "conflict", "p": "from Plant 3D", "s": "from SYNAPSE"}}
                    ),
                )
            )
            connection.execute(
                sa.insert(change).values(
                    project=number,
                    run_id="r1",
                    intent_id=1,
                    link_id=link_id,
                    pnpid=link_id % 1000,
                    tag=tag,
                    side="synapse",
                    op="create",
                    outcome="applied",
                    fields=dump({"description": [None, "old"]}),
                    at=self.clock(),
                )
            )
            if former:
                connection.execute(
                    sa.insert(tag_history).values(
                        project=number,
                        link_id=link_id,
                        old_tag=former,
                        new_tag=tag,
                        at=self.clock(),
                        run_id="r1",
                    )
                )
        return link_id

    def audited(self) -> list[dict[str, object]]:
        with self.state.read() as connection:
            return [
                entry
                for chain in (MINE, OTHER, keys.AUDIT_CHAIN)
                for entry in audit.entries(connection, chain)
            ]


def configured(folder: Path, *, write: str = "off", **environ: str) -> App:
    """Two projects; their Plant 3D files do not exist and SYNAPSE's port is closed: the web needs neither.

    `write`: of `MINE`; the other one is never written.
    """
    document = {
        "state_db_url": f"sqlite:///{folder / 'state.db'}",
        "synapse": {"url": "http://127.0.0.1:9"},
        "projects": {
            name: {
                "synapse_project_id": uid,
                "source": f"{name}-is-not-there.dcf",
                "write": write if name == MINE else "off",
            }
            for name, uid in UUIDS.items()
        },
    }
    path = folder / "plant3d-sync.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return make_app(path, {"SYNAPSE_API_KEY": SECRET, **environ})


@contextmanager
def desk(folder: Path, *, state: State | None = None, write: str = "off", **environ: str) -> Iterator[Desk]:
    """The service as a client sees it. Faults of the service are answers here, as they are outside."""
    if not (folder / "state.db").exists():
        (folder / "state.db").write_bytes(empty_state())
    app = configured(folder, write=write, **environ)
    clock = Clock()
    world = World(state=state or app.state, clock=clock)
    web = create_app(app, world=world, poll=0.01)
    with TestClient(web, raise_server_exceptions=False, base_url="http://plant3d-sync") as client:
        yield Desk(app=app, web=web, client=client, clock=clock, world=world)
    app.state.close()
