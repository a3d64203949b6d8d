"""The host application: a page of its own, and what people and administrators do, by plain SQL.

Nothing here goes through the contribution: the database alone has to keep its promises.
"""

import json
import os
import uuid

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from app.core.database import engine

app = FastAPI(title="host")
# CONTRIBUTION: the two lines go here

ADMIN_KEY = os.environ["HOST_ADMIN_KEY"]
WORDS = {"status": "lifecycle_status"}
PLAIN = {"tag", "asset_type", "asset_subtype", "description", "plant3d_id", "priority", "notes", "fbs_code", "lbs_code",
         "wbs_code", "workflow_status", "discipline_code", "parent_asset_id", "status", "type", "area"}  # fmt: skip


def admin(request: Request) -> None:
    if request.headers.get("x-api-key") != ADMIN_KEY:
        raise HTTPException(403)


def ledger() -> object:
    from app.integration import server

    return server.ledger


@app.get("/health")
def health() -> object:
    return {"status": "healthy"}


@app.post("/dev/projects")
async def add_project(request: Request) -> Response:
    admin(request)
    body = await request.json()
    project = body.get("id") or str(uuid.uuid4())
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO projects (id, name) VALUES (:id, 'dev') ON CONFLICT DO NOTHING"),
            {"id": project},
        )
    return JSONResponse({"id": project}, 201)


@app.post("/dev/keys")
async def add_key(request: Request) -> Response:
    """By plain SQL, as the command line of the contribution would."""
    admin(request)
    from app.integration.callers import hashed

    body = await request.json()
    key = uuid.uuid4().hex
    row = {"id": uuid.uuid4().hex, "name": body["name"], "hash": hashed(key), "scopes": " ".join(body["scopes"]),
           "projects": json.dumps(body["projects"]) if body.get("projects") else None,
           "expires": body.get("expires_at")}  # fmt: skip
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO integration_keys (id, name, key_hash, scopes, projects, expires_at) VALUES"
                " (:id, :name, :hash, :scopes, CAST(:projects AS jsonb), CAST(:expires AS timestamptz))"
            ),
            row,
        )
    return JSONResponse({"id": row["id"], "key": key}, 201)


@app.get("/dev/writes")
def writes(request: Request) -> Response:
    admin(request)
    return JSONResponse(ledger().report())


@app.get("/dev/projects/{project}/assets")
def list_assets(request: Request, project: str) -> Response:
    admin(request)
    return Response(json.dumps({"items": everything(project)}), media_type="application/json")


def everything(project: str) -> list:
    from app.integration import queries, server

    with server.store.reading() as connection:
        found = queries.assets_after(connection, project, 0, 1_000_000)
    import orjson

    return [json.loads(orjson.dumps(asset.wire())) for asset in found]


def one(project: str, asset_id: str) -> object:
    (found,) = [asset for asset in everything(project) if asset["id"] == asset_id]
    return found


@app.post("/dev/projects/{project}/assets")
async def add_asset(request: Request, project: str) -> Response:
    """As SYNAPSE's own POST: its own columns only, the rest is the database's work."""
    admin(request)
    body = await request.json()
    asset_id = str(uuid.uuid4())
    with engine.begin() as connection:
        sign(connection, body)
        connection.execute(
            sa.text(
                "INSERT INTO assets (id, tag, type, description, project_id, data_status)"
                " VALUES (:id, :tag, :type, :description, :project, 'FRESH_IMPORT')"
            ),
            {"id": asset_id, "tag": body["tag"], "type": body.get("asset_type", "Equipment"),
             "description": body.get("description"), "project": project},
        )  # fmt: skip
    return JSONResponse(one(project, asset_id), 201)


def sign(connection: sa.Connection, body: dict) -> None:
    connection.execute(
        sa.text("SELECT set_config('synapse.actor', :by, true)"), {"by": body.pop("_by", "user:dev")}
    )


@app.patch("/dev/projects/{project}/assets/{asset_id}")
async def edit_asset(request: Request, project: str, asset_id: str) -> Response:
    admin(request)
    body = await request.json()
    moment = body.pop("_at", None)
    with engine.begin() as connection:
        sign(connection, body)
        for name, value in body.items():
            where = {"id": asset_id, "value": value}
            if name == "deleted_at":
                statement = "deleted_at = " + ("now()" if value else "NULL")
                where.pop("value")
            elif name in ("attributes", "tags", "m_files_links"):
                statement = (
                    f"{name} = "
                    + ("attributes || " if name == "attributes" else "")
                    + "CAST(:value AS jsonb)"
                )
                where["value"] = json.dumps(value)
            else:
                assert name in PLAIN, name
                statement = f"{WORDS.get(name, name)} = :value"
            connection.execute(sa.text(f"UPDATE assets SET {statement} WHERE id = :id"), where)
        if moment is not None:  # what no user can do: another time, with the rules of the database asleep
            connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(
                sa.text("UPDATE assets SET description_at = CAST(:at AS timestamptz) WHERE id = :id"),
                {"at": moment, "id": asset_id},
            )
    return JSONResponse(one(project, asset_id))


@app.delete("/dev/projects/{project}/assets/{asset_id}")
def purge(request: Request, project: str, asset_id: str) -> Response:
    admin(request)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM assets WHERE id = :id"), {"id": asset_id})
    return Response(status_code=204)


@app.post("/dev/projects/{project}/new-epoch")
def new_epoch(request: Request, project: str) -> Response:
    admin(request)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE integration_projects SET epoch = :epoch WHERE project_id = :project"),
            {"epoch": uuid.uuid4().hex, "project": project},
        )
    return JSONResponse({})
