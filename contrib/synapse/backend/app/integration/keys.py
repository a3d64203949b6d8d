"""Who calls: API keys of services (only hashes are stored), and SYNAPSE's own login tokens with their roles.

    python -m app.integration.keys create NAME --scopes assets:read assets:sync --project UUID --days 365
    python -m app.integration.keys list
    python -m app.integration.keys revoke ID
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hmac
import secrets
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from app.integration import theirs
from app.integration.callers import READ, SYNC, Caller, expired_key, hashed, invalid_token, unknown_key
from app.integration.problems import Problem

FIND = sa.text("SELECT name, scopes, projects, expires_at <= now() FROM integration_keys WHERE key_hash = :hash")


def caller_of_key(connection: sa.Connection, key: str) -> Caller:
    """The owner of the key; unknown or expired is 401."""
    row = connection.execute(FIND, {"hash": hashed(key)}).one_or_none()
    if row is None:
        raise unknown_key()
    name, scopes, projects, expired = row
    if expired:
        raise expired_key()
    allowed = None if projects is None else frozenset(projects)
    return Caller(name=name, author=f"integration:{name}", scopes=frozenset(scopes.split()), projects=allowed)


def caller_of_token(connection: sa.Connection, authorization: str) -> Caller:
    """The person behind one of SYNAPSE's login tokens: administrators and engineers write, all others read."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise invalid_token("Send Authorization: Bearer, or an API key as X-API-Key.")
    email = email_of(token.strip(), theirs.find_secret())
    try:
        person = theirs.person_of(connection, email)
    except ProgrammingError as error:
        message = "Logins cannot be checked: theirs.py expects a table users with email, role and is_active."
        raise Problem(503, "not_installed", message) from error
    if person is None:
        raise invalid_token("This login is not valid.")
    if not person.active:
        raise Problem(403, "user_inactive", "This account is not active.")
    writes = person.role in theirs.ROLES_THAT_WRITE
    scopes = frozenset({READ, SYNC} if writes else {READ})
    return Caller(name=f"user:{email}", author=f"user:{email}", scopes=scopes, projects=None)


def email_of(token: str, secret: str) -> str:
    """The subject of a token that SYNAPSE signed (HS256) and that has not expired; anything else is 401."""
    try:
        head, body, signature = token.split(".")
        signed = hmac.new(secret.encode(), f"{head}.{body}".encode(), "sha256").digest()
        header, claims = orjson.loads(decoded(head)), orjson.loads(decoded(body))
        good = header["alg"] == "HS256" and hmac.compare_digest(signed, decoded(signature))
        email, expires = claims["sub"], float(claims["exp"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise invalid_token("This login is not valid.") from error
    if not good or not isinstance(email, str) or "\x00" in email:
        raise invalid_token("This login is not valid.")
    if expires <= time.time():
        raise invalid_token("This login has expired.")
    return email


def decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


# --- the command line ----------------------------------------------------------------------------------


def create(
    connection: sa.Connection, name: str, scopes: Sequence[str], projects: Sequence[str] | None, days: int | None
) -> tuple[str, str]:
    """Store a new key; gives its id and the key, which cannot be read again."""
    known = set(connection.scalars(sa.text("SELECT id FROM projects")))
    for project in projects or ():
        if project not in known:
            raise SystemExit(f"There is no project {project}. No key was made.")
    key, key_id = secrets.token_urlsafe(32), str(uuid.uuid4())
    expires = None if days is None else datetime.now(timezone.utc) + timedelta(days=days)
    connection.execute(
        sa.text(
            "INSERT INTO integration_keys (id, name, key_hash, scopes, projects, expires_at)"
            " VALUES (:id, :name, :hash, :scopes, CAST(:projects AS jsonb), :expires)"
        ),
        {
            "id": key_id,
            "name": name,
            "hash": hashed(key),
            "scopes": " ".join(scopes),
            "projects": None if projects is None else orjson.dumps(list(projects)).decode(),
            "expires": expires,
        },
    )
    return key_id, key


def main(arguments: Sequence[str]) -> int:
    """Make, list and revoke keys in SYNAPSE's database."""
    top = argparse.ArgumentParser(prog="python -m app.integration.keys", description=main.__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    making = commands.add_parser("create", help="make a key and print it once")
    making.add_argument("name", help="who will use it, such as plant3d-sync; it signs the changes")
    making.add_argument("--scopes", nargs="+", choices=(READ, SYNC), default=[READ, SYNC])
    making.add_argument("--project", action="append", help="only this project (repeat for more); default: all")
    making.add_argument("--days", type=int, help="days until it expires; default: never")
    commands.add_parser("list", help="keys without their secrets")
    revoking = commands.add_parser("revoke", help="end a key at once")
    revoking.add_argument("id")
    options = top.parse_args(arguments)
    with theirs.find_engine().begin() as connection:
        if options.command == "create":
            key_id, key = create(connection, options.name, options.scopes, options.project, options.days)
            print(f"id:  {key_id}\nkey: {key}\nIt is shown this once: keep it where plant3d-sync reads SYNAPSE_API_KEY.")
        elif options.command == "list":
            for row in connection.execute(sa.text("SELECT id, name, scopes, projects, expires_at FROM integration_keys")):
                print(*(("" if value is None else value) for value in row), sep="\t")
        else:
            statement = sa.text("DELETE FROM integration_keys WHERE id = :id")
            if connection.execute(statement, {"id": options.id}).rowcount == 0:
                print(f"There is no key {options.id}. Nothing was changed.", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
