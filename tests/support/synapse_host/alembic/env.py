"""As an application's own environment: online, on its own engine."""

from alembic import context
from app.core.database import engine

with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
