"""The server's tables: assets, one counter row per project, API keys, idempotency records."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

SCHEMA_VERSION = 1

schema_info = sa.Table("synapse_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

projects = sa.Table(
    "synapse_projects",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("created_at", sa.String(27), nullable=False),
)

# `live_tag` is the tag while the asset is live and NULL once archived, which makes a plain unique index say
# "tags are unique among live assets" on every database.
assets = sa.Table(
    "synapse_assets",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.ForeignKey(projects.c.id), nullable=False),
    sa.Column("plant3d_id", sa.String(128)),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("tag", sa.String(100), nullable=False),
    sa.Column("live_tag", sa.String(100)),
    sa.Column("asset_type", sa.String(50), nullable=False),
    sa.Column("asset_subtype", sa.String(100)),
    sa.Column("description", sa.Text),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("discipline_code", sa.Text),
    sa.Column("parent_asset_id", sa.String(36)),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("fbs_code", sa.String(50)),
    sa.Column("lbs_code", sa.String(50)),
    sa.Column("wbs_code", sa.String(50)),
    sa.Column("priority", sa.Integer),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("m_files_links", sa.Text, nullable=False),
    sa.Column("workflow_status", sa.Text),
    sa.Column("notes", sa.Text),
    sa.Column("created_at", sa.String(27), nullable=False),
    sa.Column("updated_at", sa.String(27), nullable=False),
    sa.Column("deleted_at", sa.String(27)),
    sa.Column("description_version", sa.BigInteger, nullable=False),
    sa.Column("description_at", sa.String(27), nullable=False),
    sa.Column("description_by", sa.Text, nullable=False),
    sa.UniqueConstraint("project_id", "plant3d_id", name="synapse_assets_plant3d_id"),
    sa.UniqueConstraint("project_id", "live_tag", name="synapse_assets_live_tag"),
    sa.UniqueConstraint("project_id", "seq", name="synapse_assets_seq"),
)

api_keys = sa.Table(
    "synapse_api_keys",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("projects", sa.Text),  # JSON list of project ids; NULL means every project
    sa.Column("expires_at", sa.String(27)),
)

idempotency = sa.Table(
    "synapse_idempotency",
    metadata,
    sa.Column("project_id", sa.String(36), primary_key=True),
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.String(27), nullable=False, index=True),
)
