"""The contribution, copied into a small host application of ours as its README says, running on a real PostgreSQL.

The host runs on this Python; P3DSYNC_TEST_CONTRIB_PYTHON names another one (3.10 with FastAPI 0.121, SQLAlchemy 2.0,
Alembic, orjson, uvicorn), and P3DSYNC_TEST_CONTRIB_DRIVER its PostgreSQL driver, such as psycopg2.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from tests.support.synapse_dev import RunningSynapse

ROOT = Path(__file__).resolve().parents[2]
BACKEND = ROOT / "contrib" / "synapse" / "backend"
HOST = Path(__file__).parent / "synapse_host"
MARK = "# CONTRIBUTION: the two lines go here"
TWO_LINES = 'from app.integration import integration_app\napp.mount("/api/v1/integration", integration_app)'
ADMIN_KEY = "administrator-of-the-host"
SECRET = "what-the-host-signs-its-logins-with"
REVISION_BEFORE = "e6461479a363"


@dataclass(slots=True, kw_only=True)
class Host:
    """A folder with host and contribution, on one database. `url` is psycopg's (no driver in the scheme)."""

    folder: Path
    url: str
    python: str = os.environ.get("P3DSYNC_TEST_CONTRIB_PYTHON", sys.executable)
    driver: str = os.environ.get("P3DSYNC_TEST_CONTRIB_DRIVER", "psycopg")
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What its processes see; nothing of ours is importable there."""
        address = make_url(self.url).set(drivername=f"postgresql+{self.driver}")
        kept = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        return {
            **kept,
            "HOST_DATABASE_URL": address.render_as_string(hide_password=False),
            "HOST_SECRET_KEY": SECRET,
            "HOST_ADMIN_KEY": ADMIN_KEY,
            "PYTHONUTF8": "1",
            **self.env,
        }

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A Python command in the backend's folder."""
        done = subprocess.run(
            [self.python, *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def alembic(self, *commands: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Their migration tool: one command after the other in one process, such as `upgrade head`."""
        # Not `-m alembic`: the folder `alembic` of the backend would be taken for the package.
        code = (
            "import sys; sys.path.pop(0); from alembic.config import main; sys.path.insert(0, '.')\n"
            "for command in sys.argv[1:]: main(argv=command.split())"
        )
        return self.run("-c", code, *commands, check=check)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Plain SQL, as a script or an administrator would send it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def add_key(self, *, key: str | None = None, scopes: str = "assets:read assets:sync") -> str:
        """A key by plain SQL, as the command line stores it."""
        key = key or uuid.uuid4().hex
        statement = (
            "INSERT INTO integration_keys (id, name, key_hash, scopes) VALUES (%s, 'plant3d-sync', %s, %s)"
        )
        self.sql(statement, uuid.uuid4().hex, hashlib.sha256(key.encode()).hexdigest(), scopes)
        return key

    @contextmanager
    def serving(self) -> Iterator[Serving]:
        """The application as a process."""
        process = subprocess.Popen(
            [self.python, "serve.py"],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, f"the host did not start: {process.stderr.read()}"
            yield Serving(url=f"http://127.0.0.1:{line.strip()}", process=process)
        finally:
            process.kill()
            process.wait(timeout=30)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A running host."""

    url: str
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=30)


def assembled(folder: Path, url: str, **options: Any) -> Host:
    """Copy the contribution into the host as its README says, and make the host's tables; nothing is migrated yet."""
    shutil.copytree(HOST, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BACKEND, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    main = folder / "app" / "main.py"
    text = main.read_text(encoding="utf-8")
    assert text.count(MARK) == 1
    main.write_text(text.replace(MARK, TWO_LINES), encoding="utf-8")
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    host = Host(folder=folder, url=address, **options)
    host.sql((HOST / "schema.sql").read_text(encoding="utf-8"))
    return host


def installed(folder: Path, url: str, **options: Any) -> Host:
    """`assembled`, stamped and migrated, with a key that may do everything."""
    host = assembled(folder, url, **options)
    host.alembic(f"stamp {REVISION_BEFORE}", "upgrade head")
    host.add_key(key=ADMIN_KEY)
    return host


@contextmanager
def running(host: Host) -> Iterator[RunningSynapse]:
    """The host as the tests know a SYNAPSE, with one project."""
    project = str(uuid.uuid4())
    host.sql("INSERT INTO projects (id, name) VALUES (%s, 'first')", project)
    with host.serving() as serving:
        yield RunningSynapse(url=serving.url, api_key=ADMIN_KEY, project=project)


def login(
    email: str, *, expires: float | None = None, secret: str = SECRET, **claims: object
) -> Mapping[str, str]:
    """The header of a person who logged in to the host."""
    body = {"sub": email, "exp": time.time() + 3600 if expires is None else expires, **claims}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, body)]
    signature = hmac.new(secret.encode(), ".".join(parts).encode(), "sha256").digest()
    return {"Authorization": f"Bearer {'.'.join([*parts, encoded(signature)])}"}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
