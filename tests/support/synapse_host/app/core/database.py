"""The engine, where the contribution looks for it."""

import os

import sqlalchemy as sa

engine = sa.create_engine(os.environ["HOST_DATABASE_URL"], pool_size=20, max_overflow=20)
