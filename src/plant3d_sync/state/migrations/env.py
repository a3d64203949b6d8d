"""Alembic environment; the connection comes from `State.upgrade`."""

from __future__ import annotations

from alembic import context

from plant3d_sync.state.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    from sqlalchemy import create_engine

    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise RuntimeError("Run migrations through `plant3d-sync db upgrade`.")
    connection = create_engine(url).connect()

context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
