"""Tables of the state database. Times are POSIX seconds (float, UTC); JSON is UTF-8 text written by orjson.

Keys that scale: integers, narrow, in the order of insertion. See docs/reference/state.md.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.Text()
Name = sa.String(200)
Id = sa.String(40)
Word = sa.String(60)
Time: sa.Double[float] = sa.Double()

project = sa.Table(
    "project",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("synapse_project_id", Id),
    sa.Column("identity", Json),
    sa.Column("signature", sa.Text),
    sa.Column("mapping_digest", sa.String(128)),
    sa.Column("mapping_version", sa.Integer),
    sa.Column("feed_cursor", sa.Text),
    sa.Column("feed_read_at", Time),
    sa.Column("plant_read_at", Time),
    sa.Column("pull_ok_at", Time),
    sa.Column("push_ok_at", Time),
    sa.Column("last_counts", Json),
    sa.Column("waiting", sa.Integer, nullable=False, server_default="0"),
    sa.Column("force_compare", sa.Integer, nullable=False, server_default="0"),
    sa.Column("skew", Time),
    sa.Column("plant_lag", Time),
    sa.Column("next_link", BigInt, nullable=False, server_default="1"),
    sa.Column("probe", Json),
    sa.Column("standing", Json),
    sa.Column("stirs", sa.Integer, nullable=False, server_default="0"),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("project", Name, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("fence", BigInt, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
)

link = sa.Table(
    "link",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("project", sa.Integer, nullable=False),
    sa.Column("pnpid", BigInt, nullable=False),
    sa.Column("plant3d_id", sa.String(128), nullable=False),
    sa.Column("class_name", Name, nullable=False),
    sa.Column("entity", Word, nullable=False),
    sa.Column("asset_id", Id, nullable=False),
    sa.Column("asset_version", BigInt, nullable=False),
    sa.Column("description_version", BigInt),
    sa.Column("description_at", sa.String(40)),
    sa.Column("description_by", Name),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("state", Word, nullable=False),
    sa.Column("gone_in_synapse", sa.Integer, nullable=False, server_default="0"),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("ticks", BigInt),
    sa.Column("revision", sa.Integer),
    sa.Column("looked_at", Time),
    sa.Column("mapping_version", sa.Integer),
    sa.Column("went_back", sa.Integer, nullable=False, server_default="0"),
    sa.Column("base", Json),
    sa.Column("base_plant", Json),
    sa.Column("synapse_delta", Json),
    sa.Column("pending", Json),
    sa.Column("observed", Json),
    sa.Column("holds", Json),
    sa.Column("flips", Json),
    sa.Column("missing", Json),
    sa.Column("drawing", sa.Text),
    sa.Column("run_id", Id),
    sa.Column("guid_key", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("project", "guid_key"),
    sa.Index("ix_link_project_pnpid", "project", "pnpid"),
    # Few rows are in these two: their migration makes them partial. Said here it would load PostgreSQL's dialect each start.
    sa.Index("ix_link_open", "project"),
    sa.Index("ix_link_archive", "project"),
)

catalogue = sa.Table(
    "catalogue",
    metadata,
    sa.Column("project", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("accepted", Json, nullable=False),
    sa.Column("accepted_at", Time, nullable=False),
    sa.Column("accepted_by", Name, nullable=False),
    sa.Column("step", Json),
    sa.Column("offered", Json),
)

line_members = sa.Table(
    "line_members",
    metadata,
    sa.Column("project", sa.Integer, primary_key=True),
    sa.Column("plant3d_id", sa.String(128), primary_key=True),
    sa.Column("row_guid", sa.String(128), nullable=False),
    sa.Column("members", Json, nullable=False),
)

definitions = sa.Table(
    "definitions",
    metadata,
    sa.Column("project", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("fields", Json, nullable=False),
)

tag_history = sa.Table(
    "tag_history",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", sa.Integer, nullable=False),
    sa.Column("link_id", BigInt, nullable=False),
    sa.Column("old_tag", sa.Text, nullable=False),
    sa.Column("new_tag", sa.Text, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("run_id", Id),
    sa.Index("ix_tag_history_old", "project", "old_tag"),
    sa.Index("ix_tag_history_link", "link_id"),
)

unlinked_asset = sa.Table(
    "unlinked_asset",
    metadata,
    sa.Column("project", sa.Integer, primary_key=True),
    sa.Column("asset_id", Id, primary_key=True),
    sa.Column("plant3d_id", sa.String(128)),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("asset_type", sa.Text),
    sa.Column("version", BigInt, nullable=False),
    sa.Column("archived", sa.Integer, nullable=False),
    sa.Column("fields", Json, nullable=False),
    sa.Column("info", Json),
    sa.Index("ix_unlinked_asset_plant3d", "project", "plant3d_id"),
)

plan = sa.Table(
    "plan",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("direction", Word, nullable=False),
    sa.Column("status", Word, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("created_by", Name),
    sa.Column("run_id", Id),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("mapping_digest", sa.String(128), nullable=False),
    sa.Column("identity", Json),
    sa.Column("signature", sa.Text),
    sa.Column("header", Json, nullable=False),
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("applied_at", Time),
    sa.Column("applied_by", Name),
    sa.Column("undo_of", Id),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Index("ix_plan_project_created", "project", "created_at"),
)

plan_chunk = sa.Table(
    "plan_chunk",
    metadata,
    sa.Column("plan_id", Id, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("lines", sa.LargeBinary, nullable=False),
    sa.Column("applied", sa.Integer, nullable=False, server_default="0"),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("seq", BigInt, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("direction", Word, nullable=False),
    sa.Column("trigger", Word, nullable=False),
    sa.Column("requested_by", Name),
    sa.Column("request_id", Name),
    sa.Column("status", Word, nullable=False),
    sa.Column("outcome", Word),
    sa.Column("dry_run", sa.Integer, nullable=False, server_default="0"),
    sa.Column("options", Json),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("started_at", Time),
    sa.Column("completed_at", Time),
    sa.Column("heartbeat_at", Time),
    sa.Column("fence", BigInt),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_try_at", Time),
    sa.Column("plan_id", Id),
    sa.Column("phase", Word),
    sa.Column("phase_done", sa.Integer),
    sa.Column("phase_total", sa.Integer),
    sa.Column("cancel_requested", sa.Integer, nullable=False, server_default="0"),
    sa.Column("stats", Json),
    sa.Column("result", Json),
    sa.Column("error", Json),
    sa.Column("errors_total", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_run_project_seq", "project", "seq"),
    sa.Index("ix_run_status", "status", "project"),
)

run_error = sa.Table(
    "run_error",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("data", Json, nullable=False),
)

run_event = sa.Table(
    "run_event",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("event", Word, nullable=False),
    sa.Column("data", Json),
    sa.Index("ix_run_event_run", "run_id", "id"),
)

slot = sa.Table(
    "slot",
    metadata,
    sa.Column("project", Name, primary_key=True),
    sa.Column("slot", BigInt, primary_key=True),
    sa.Column("run_id", Id),
    sa.Column("at", Time, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
)

intent = sa.Table(
    "intent",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("plan_id", Id, nullable=False),
    sa.Column("side", Word, nullable=False),
    sa.Column("fence", BigInt, nullable=False),
    sa.Column("idempotency_key", sa.String(128), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("lines", sa.LargeBinary, nullable=False),
    sa.Column("status", Word, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("done_at", Time),
    sa.Index("ix_intent_open", "project", "status"),
    sa.Index("ix_intent_run", "run_id"),
)

change = sa.Table(
    "change",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", sa.Integer, nullable=False),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("intent_id", BigInt, nullable=False),
    sa.Column("link_id", BigInt),
    sa.Column("pnpid", BigInt, nullable=False),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("side", Word, nullable=False),
    sa.Column("op", Word, nullable=False),
    sa.Column("outcome", Word, nullable=False),
    sa.Column("fields", Json, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Index("ix_change_link", "link_id"),
    sa.Index("ix_change_run", "run_id"),
)

finding = sa.Table(
    "finding",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", sa.Integer, nullable=False),
    sa.Column("key", sa.String(40), nullable=False),
    sa.Column("code", Word, nullable=False),
    sa.Column("pnpid", BigInt),
    sa.Column("data", Json, nullable=False),
    sa.Column("first_seen", Time, nullable=False),
    sa.Column("closed_at", Time),
    sa.Index("ix_finding_open", "project", "closed_at", "code"),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", sa.Integer, nullable=False),
    sa.Column("pnpid", BigInt, nullable=False),
    sa.Column("field", Name, nullable=False),
    sa.Column("code", Word, nullable=False),
    sa.Column("side", Word, nullable=False),
    sa.Column("entity", Word),
    sa.Column("data", Json, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_at", Time, nullable=False),
    sa.Column("last_at", Time, nullable=False),
    sa.Column("next_try_at", Time, nullable=False),
    sa.UniqueConstraint("project", "pnpid", "field", "code"),
)

acknowledgement = sa.Table(
    "acknowledgement",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("kind", Word, nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("said_by", Name, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("until", Time),
    sa.Column("ended_at", Time),
    sa.Column("ended_why", Word),
    sa.Index("ix_acknowledgement_open", "project", "kind", "ended_at"),
)

conflict = sa.Table(
    "conflict",
    metadata,
    sa.Column("seq", BigInt, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("link_id", BigInt),
    sa.Column("plant3d_id", sa.String(128)),
    sa.Column("asset_id", Id),
    sa.Column("asset_tag", sa.Text),
    sa.Column("field", Name, nullable=False),
    sa.Column("kind", Word, nullable=False),
    sa.Column("status", Word, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("detected_at", Time, nullable=False),
    sa.Column("detected_run", Id),
    sa.Column("resolution", Word),
    sa.Column("chosen", Json),
    sa.Column("note", sa.Text),
    sa.Column("resolved_by", Name),
    sa.Column("resolved_at", Time),
    sa.Column("carried_out", sa.Integer, nullable=False, server_default="1"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Index("ix_conflict_status", "project", "status", "seq"),
    sa.Index("ix_conflict_link", "link_id", "field"),
)

work_item = sa.Table(
    "work_item",
    metadata,
    sa.Column("project", sa.Integer, primary_key=True),
    sa.Column("pnpid", BigInt, primary_key=True),
    sa.Column("field", Name, primary_key=True),
    sa.Column("data", Json, nullable=False),
    sa.Column("first_seen", Time, nullable=False),
)

plant_write = sa.Table(
    "plant_write",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("intent_id", BigInt),
    sa.Column("pnpid", BigInt, nullable=False),
    sa.Column("table_name", Name, nullable=False),
    sa.Column("column_name", Name, nullable=False),
    sa.Column("old_value", sa.Text),
    sa.Column("new_value", sa.Text),
    sa.Column("old_ticks", BigInt),
    sa.Column("new_ticks", BigInt),
    sa.Column("status", Word, nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Index("ix_plant_write_run", "run_id"),
    sa.Index("ix_plant_write_item", "project", "pnpid"),
    sa.Index("ix_plant_write_intent", "intent_id"),
)

backup = sa.Table(
    "backup",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("run_id", Id),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("bytes", BigInt),
    sa.Column("sha256", sa.String(64)),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("removed_at", Time),
    sa.Index("ix_backup_project", "project", "created_at"),
)

mapping_version = sa.Table(
    "mapping_version",
    metadata,
    sa.Column("project", Name, primary_key=True),
    sa.Column("digest", sa.String(128), primary_key=True),
    sa.Column("first_used", Time, nullable=False),
    sa.Column("sources", Json, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("project", Name, nullable=False),
    sa.Column("seq", BigInt, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("prev", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.UniqueConstraint("project", "seq"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("project", Name, primary_key=True),
    sa.Column("seq", BigInt, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", Name, nullable=False),
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("projects", Json),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("created_by", Name),
    sa.Column("expires_at", Time),
    sa.Column("revoked_at", Time),
    sa.Column("last_used_at", Time),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("caller", Name, primary_key=True),
    sa.Column("route", Name, nullable=False),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("status_code", sa.Integer),
    sa.Column("answer", Json),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_idempotency_created", "created_at"),
)

component = sa.Table(
    "component",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("kind", Word, nullable=False),
    sa.Column("seen_at", Time, nullable=False),
    sa.Column("data", Json),
)
