"""integration API: versions, numbers and times of assets held by the database

Revision ID: 7c1d5e0a9b42
Revises: e6461479a363
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "7c1d5e0a9b42"
down_revision = "e6461479a363"
branch_labels = None
depends_on = None

COLUMNS = (
    "plant3d_id varchar(128)",
    "asset_type varchar(50)",
    "asset_subtype varchar(100)",
    "attributes jsonb NOT NULL DEFAULT '{}'",
    "discipline_code varchar(50)",
    "parent_asset_id varchar REFERENCES assets(id) ON DELETE SET NULL",
    "lifecycle_status varchar(20) NOT NULL DEFAULT 'Design'"
    " CHECK (lifecycle_status IN ('Design', 'Installed', 'Decommissioned'))",
    "fbs_code varchar(50)",
    "lbs_code varchar(50)",
    "wbs_code varchar(50)",
    "priority smallint CHECK (priority BETWEEN 1 AND 5)",
    "tags jsonb NOT NULL DEFAULT '[]'",
    "m_files_links jsonb NOT NULL DEFAULT '[]'",
    "workflow_status varchar(100)",
    "notes text",
    "created_at timestamptz NOT NULL DEFAULT now()",
    "updated_at timestamptz NOT NULL DEFAULT now()",
    "version bigint NOT NULL DEFAULT 1",
    "seq bigint",
    "description_version bigint NOT NULL DEFAULT 1",
    "description_at timestamptz NOT NULL DEFAULT now()",
    "description_by text NOT NULL DEFAULT 'synapse'",
    "live_tag varchar GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN tag END) STORED",
)
NAMES = tuple(column.split()[0] for column in COLUMNS)

TABLES = """
CREATE TABLE integration_projects (
  project_id varchar PRIMARY KEY REFERENCES projects(id) ON DELETE CASCADE,
  seq bigint NOT NULL DEFAULT 0,
  epoch varchar(32) NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''));
CREATE TABLE integration_keys (
  id varchar PRIMARY KEY, name text NOT NULL, key_hash varchar(64) NOT NULL UNIQUE, scopes text NOT NULL,
  projects jsonb, expires_at timestamptz);
CREATE TABLE integration_answers (
  project_id varchar NOT NULL REFERENCES projects(id) ON DELETE CASCADE, caller text NOT NULL,
  key varchar(128) NOT NULL, body_hash varchar(64) NOT NULL, answer bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (project_id, caller, key));
CREATE INDEX ix_integration_answers_created ON integration_answers (created_at);
"""

NAMESPACE = "plant3d_sync"
"""Where plant3d-sync keeps its part of an asset in SYNAPSE 0.2: a member of `mechanical`."""

KNOWN_TO_THE_SYNC = """
UPDATE assets AS a SET plant3d_id = f.plant3d_id, asset_type = f.asset_type, asset_subtype = f.asset_subtype,
    attributes = CAST(f.attributes AS jsonb),
    deleted_at = CASE WHEN f.archived THEN coalesce(a.deleted_at, now()) ELSE a.deleted_at END
  FROM (SELECT * FROM unnest(
    CAST(:ids AS varchar[]), CAST(:plant3d_ids AS varchar[]), CAST(:asset_types AS varchar[]),
    CAST(:asset_subtypes AS varchar[]), CAST(:attributes AS varchar[]), CAST(:archived AS boolean[])))
    AS f (id, plant3d_id, asset_type, asset_subtype, attributes, archived)
  WHERE a.id = f.id
"""
CHUNK = 5000

NUMBERS = """
INSERT INTO integration_projects (project_id) SELECT id FROM projects;
WITH numbered AS (SELECT id, row_number() OVER (PARTITION BY project_id ORDER BY id) AS n FROM assets)
  UPDATE assets SET seq = numbered.n FROM numbered WHERE numbered.id = assets.id;
UPDATE integration_projects p
  SET seq = coalesce((SELECT max(seq) FROM assets a WHERE a.project_id = p.project_id), 0);
"""

CONSTRAINTS = """
ALTER TABLE assets DROP CONSTRAINT uix_project_tag;
ALTER TABLE assets ADD CONSTRAINT uix_project_tag UNIQUE (live_tag, project_id) DEFERRABLE INITIALLY IMMEDIATE;
CREATE UNIQUE INDEX uix_asset_plant3d_id ON assets (project_id, plant3d_id) WHERE plant3d_id IS NOT NULL;
CREATE INDEX ix_asset_project_seq ON assets (project_id, seq);
CREATE INDEX ix_asset_no_seq ON assets (project_id) WHERE seq IS NULL;
CREATE INDEX ix_asset_parent ON assets (parent_asset_id) WHERE parent_asset_id IS NOT NULL;
"""

# Times, versions and numbers are the database's: whatever a writer sends for them is put back. The images of the
# rows are compared (*<>), because JSON of SYNAPSE may hold what to_jsonb() refuses (a NUL character).
FUNCTIONS = """
CREATE FUNCTION integration_asset_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  actor text := coalesce(nullif(current_setting('synapse.actor', true), ''), 'synapse');
  was assets%ROWTYPE;
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.version := 1; NEW.seq := NULL; NEW.created_at := clock_timestamp(); NEW.updated_at := NEW.created_at;
    NEW.description_version := 1; NEW.description_at := NEW.created_at; NEW.description_by := actor;
    RETURN NEW;
  END IF;
  IF pg_trigger_depth() > 1 AND OLD.seq IS NULL AND NEW.seq IS NOT NULL THEN
    RETURN NEW;  -- integration_asset_seq() gives the number
  END IF;
  NEW.version := OLD.version; NEW.seq := OLD.seq; NEW.created_at := OLD.created_at;
  NEW.updated_at := OLD.updated_at; NEW.description_version := OLD.description_version;
  NEW.description_at := OLD.description_at; NEW.description_by := OLD.description_by;
  was := OLD;
  was.live_tag := NULL;  -- a generated column is not computed yet in NEW
  IF NEW *<> was THEN
    NEW.version := OLD.version + 1; NEW.seq := NULL;
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at);
    IF NEW.description IS DISTINCT FROM OLD.description THEN
      NEW.description_version := NEW.version; NEW.description_at := NEW.updated_at; NEW.description_by := actor;
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION integration_asset_seq() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last bigint; waiting bigint;
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.project_id IS DISTINCT FROM NEW.project_id THEN
    UPDATE integration_projects SET epoch = replace(gen_random_uuid()::text, '-', '')
      WHERE project_id = OLD.project_id;  -- it is gone from there
  END IF;
  PERFORM 1 FROM assets WHERE id = NEW.id AND project_id = NEW.project_id AND seq IS NULL;
  IF NOT FOUND THEN
    RETURN NULL;  -- numbered with another row of this transaction, or deleted since
  END IF;
  INSERT INTO integration_projects AS p (project_id) VALUES (NEW.project_id)
    ON CONFLICT (project_id) DO UPDATE SET seq = p.seq RETURNING p.seq INTO last;  -- others wait here
  WITH numbered AS (
    SELECT id, row_number() OVER (ORDER BY updated_at, id) AS n FROM assets
      WHERE project_id = NEW.project_id AND seq IS NULL)
    UPDATE assets AS a SET seq = last + numbered.n FROM numbered WHERE a.id = numbered.id;
  GET DIAGNOSTICS waiting = ROW_COUNT;
  UPDATE integration_projects SET seq = last + waiting WHERE project_id = NEW.project_id;
  RETURN NULL;
END $$;

CREATE FUNCTION integration_asset_purged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE integration_projects SET epoch = replace(gen_random_uuid()::text, '-', '')
    WHERE project_id IN (SELECT DISTINCT project_id FROM gone);
  RETURN NULL;
END $$;

CREATE FUNCTION integration_assets_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE integration_projects SET epoch = replace(gen_random_uuid()::text, '-', '');
  RETURN NULL;
END $$;

CREATE FUNCTION integration_project_made() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO integration_projects (project_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
"""

TRIGGERS = """
CREATE TRIGGER integration_asset_version BEFORE INSERT OR UPDATE ON assets
  FOR EACH ROW EXECUTE FUNCTION integration_asset_version();
CREATE CONSTRAINT TRIGGER integration_asset_seq_new AFTER INSERT ON assets DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION integration_asset_seq();
CREATE CONSTRAINT TRIGGER integration_asset_seq AFTER UPDATE ON assets DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.version IS DISTINCT FROM NEW.version) EXECUTE FUNCTION integration_asset_seq();
CREATE TRIGGER integration_asset_purged AFTER DELETE ON assets REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION integration_asset_purged();
CREATE TRIGGER integration_assets_emptied AFTER TRUNCATE ON assets
  FOR EACH STATEMENT EXECUTE FUNCTION integration_assets_emptied();
CREATE TRIGGER integration_project_made AFTER INSERT ON projects
  FOR EACH ROW EXECUTE FUNCTION integration_project_made();
"""

DOWN = """
DROP TRIGGER integration_project_made ON projects;
DROP TRIGGER integration_assets_emptied ON assets;
DROP TRIGGER integration_asset_purged ON assets;
DROP TRIGGER integration_asset_seq ON assets;
DROP TRIGGER integration_asset_seq_new ON assets;
DROP TRIGGER integration_asset_version ON assets;
DROP FUNCTION integration_project_made();
DROP FUNCTION integration_assets_emptied();
DROP FUNCTION integration_asset_purged();
DROP FUNCTION integration_asset_seq();
DROP FUNCTION integration_asset_version();
DROP TABLE integration_answers;
DROP TABLE integration_keys;
DROP TABLE integration_projects;
ALTER TABLE assets DROP CONSTRAINT uix_project_tag;
"""

# 0.2 keeps a tag occupied by an archived row: one that another row holds too is renamed on the way back.
OLD_TAGS = """
UPDATE assets AS a SET tag = a.tag || ' (archived ' || left(a.id, 8) || ')'
  WHERE a.deleted_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM assets AS b WHERE b.project_id = a.project_id AND b.tag = a.tag AND b.id <> a.id
      AND (b.deleted_at IS NULL OR b.id < a.id));
ALTER TABLE assets ADD CONSTRAINT uix_project_tag UNIQUE (tag, project_id);
"""


def upgrade() -> None:
    refuse_what_does_not_fit(op.get_bind())
    op.execute("ALTER TABLE assets " + ", ".join(f"ADD COLUMN {column}" for column in COLUMNS))
    take_over(op.get_bind())
    for statements in (TABLES, NUMBERS, CONSTRAINTS, FUNCTIONS, TRIGGERS):
        op.execute(statements)


def downgrade() -> None:
    op.execute(DOWN)
    op.execute("ALTER TABLE assets " + ", ".join(f"DROP COLUMN {name}" for name in reversed(NAMES)))
    op.execute(OLD_TAGS)


def take_over(connection: sa.Connection) -> None:
    """Assets that plant3d-sync made or linked through SYNAPSE 0.2 keep identity, type, attributes and archive."""
    found = list(of_the_sync(connection))
    for start in range(0, len(found), CHUNK):
        part = found[start : start + CHUNK]
        connection.execute(sa.text(KNOWN_TO_THE_SYNC), {name: [row[name] for row in part] for name in part[0]})


def of_the_sync(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """What the sync noted in `mechanical`. Of assets that claim one identity (somebody copied one, notes and all) the
    one has it whose id plant3d-sync chose, else the one with the lowest id; the others stay as they are.
    """
    statement = sa.text(
        "SELECT id, project_id, CAST(mechanical AS text) FROM assets"
        " WHERE deleted_at IS NULL AND CAST(mechanical AS text) LIKE :mark ORDER BY id"
    )
    claims: dict[tuple[str, str], dict[str, Any]] = {}
    for asset_id, project_id, text in connection.execute(statement, {"mark": f'%"{NAMESPACE}"%'}):
        noted = noted_in(text)
        if noted is None:
            continue
        claim = project_id, noted["plant3d_ids"]
        if claim not in claims or asset_id == chosen_id(*claim):
            claims[claim] = {"ids": asset_id, **noted}
    yield from claims.values()


def noted_in(text: str) -> dict[str, Any] | None:
    """The sync's part of a `mechanical`, or None where it is not as the sync writes it."""
    try:
        mechanical = json.loads(text)
    except ValueError:
        return None
    noted = mechanical.get(NAMESPACE) if isinstance(mechanical, dict) else None
    identity = noted.get("plant3d_id") if isinstance(noted, dict) else None
    if not isinstance(identity, str) or not 0 < len(identity) <= 128 or "\x00" in identity:
        return None
    attributes = noted.get("attributes")
    written = json.dumps(attributes if isinstance(attributes, dict) else {})
    return {
        "plant3d_ids": identity,
        "asset_types": short(noted.get("asset_type"), 50),
        "asset_subtypes": short(noted.get("asset_subtype"), 100),
        "attributes": "{}" if "\\u0000" in written else written,
        "archived": noted.get("archived") is True,
    }


def short(value: object, longest: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= longest and "\x00" not in value else None


def chosen_id(project_id: str, plant3d_id: str) -> str | None:
    """The id that plant3d-sync gives to an asset that it makes."""
    try:
        return str(uuid.uuid5(uuid.UUID(project_id), plant3d_id))
    except ValueError:
        return None


def refuse_what_does_not_fit(connection: sa.Connection) -> None:
    """Say in one sentence what is not as it must be, before anything is changed."""
    inspector = sa.inspect(connection)
    for table in ("projects", "assets"):
        if not inspector.has_table(table):
            raise RuntimeError(f"There is no table {table}; make SYNAPSE's own tables first. Nothing was changed.")
    there = {column["name"] for column in inspector.get_columns("assets")}
    if taken := sorted(there.intersection(NAMES)):
        raise RuntimeError(
            f"assets has columns of these names already: {', '.join(taken)}. Nothing was changed. "
            "If the integration API was installed by hand, stamp this revision instead of running it."
        )
    constraints = {constraint["name"] for constraint in inspector.get_unique_constraints("assets")}
    if "uix_project_tag" not in constraints:
        raise RuntimeError("assets has no unique constraint uix_project_tag to replace. Nothing was changed.")
