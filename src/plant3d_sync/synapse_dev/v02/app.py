"""SYNAPSE 0.2 over HTTP: its calls, its answers, and how it fails."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import hmac
import io
import logging
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson
from starlette.types import Message, Receive, Scope, Send

from plant3d_sync.synapse_dev.v02 import store
from plant3d_sync.synapse_dev.v02.store import Heap, Integrity, Row, Unserialisable
from plant3d_sync.synapse_dev.v02.traps import Harm, Traps

TITLE: Final = "AXOIQ SYNAPSE API"
BASE: Final = "/api/v1"
WITH_SLASH: Final = frozenset({"/assets", "/locations", "/cables", "/actions", "/logs", "/search"})
WITHOUT_SLASH: Final = frozenset(
    {"/assets/bulk", "/auth/login", "/projects/projects", "/import_export/export"}
)
PROXY_PAGE: Final = b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"

_KNOWN: Final = re.compile(
    r"/(assets/[^/]*|projects/projects(/[^/]+(/assets)?)?|admin/stats|import_export/export)"
)

log = logging.getLogger("plant3d_sync.synapse_dev.v02")

PACES: Final = {"POST": 0.0155, "PUT": 0.0189, "GET": 0.0107, "list": 0.010, "export": 0.010, "PATCH": 0.010}
PACE_OF_A_ROW: Final = {"list": 0.00012, "export": 0.0006, "PATCH": 0.0042}
"""Seconds that the real backend spends on a call and on each asset in it, server and database together."""


class Crash(Exception):
    """Ends a call as an error nobody foresaw does: 500 in plain text."""


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer. `crashes`: the server closes the connection after it."""

    status: int = 200
    body: bytes = b""
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    crashes: bool = False
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class User:
    """An account."""

    password: str
    active: bool = True


def json_reply(content: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status=status, body=orjson.dumps(content), headers=headers)


def detail(status: int, text: str, **more: object) -> Reply:
    return json_reply({"detail": text, **more}, status)


def crash() -> Reply:
    return Reply(status=500, body=b"Internal Server Error", media="text/plain", crashes=True)


class Backend:
    """A SYNAPSE 0.2: users, projects, assets, and what people do in its screens."""

    def __init__(self, traps: Traps | None = None) -> None:
        self.traps = traps or Traps()
        self.heap = Heap(self.traps)
        self.users: dict[str, User] = {}
        self.calls: list[tuple[str, str]] = []
        """Method and path of every call that reached the backend."""
        self.writes = 0
        """Calls that changed an asset."""
        self.clock: Callable[[], float] = time.time
        self._secret = secrets.token_bytes(32)
        self._served = 0

    # ---------------------------------------------------------------- what people and other programs do

    def add_user(self, email: str, password: str, *, active: bool = True) -> None:
        """An account that may do everything, as every account of 0.2."""
        self.users[email] = User(password=password, active=active)

    def add_project(self, project: str | None = None) -> str:
        """An empty project."""
        made = project or str(uuid.uuid4())
        self.heap.projects.setdefault(made, "dev")
        return made

    def create(self, project: str, tag: str, kind: str = "PUMP", **members: Any) -> str:
        """A person makes an asset."""
        return str(self.heap.insert(project, {"tag": tag, "type": kind, **members})["id"])

    def edit(self, asset_id: str, **members: Any) -> Row:
        """A person changes some fields (or a script, past all rules)."""
        return self.heap.update(self.heap.rows[asset_id], members)

    def hide(self, asset_id: str) -> None:
        """Soft-delete: gone from list and GET, still in the count and the export, its tag still taken."""
        self.heap.rows[asset_id]["deleted"] = True

    def assets(self, project: str) -> list[Row]:
        """What the table holds of a project, the soft-deleted rows left out; copies."""
        return [dict(row) for row in self.heap.of(project) if not row["deleted"]]

    def by_tag(self, project: str, tag: str) -> Row:
        """The row with this tag."""
        return dict(self.heap.rows[self.heap.tags[project, tag]])

    # ---------------------------------------------------------------- one request

    def answer(self, ask: Ask) -> Reply:
        """Answer a request, errors and all."""
        self._served += 1
        redirect = self._redirect(ask)
        if redirect is not None:
            return redirect
        try:
            return self._route(ask)
        except Integrity as error:
            return detail(409, str(error), type="integrity_error")
        except (Crash, Unserialisable):
            return crash()

    def _redirect(self, ask: Ask) -> Reply | None:
        path = ask.path.removeprefix(BASE)
        wrong = path in WITH_SLASH or (path.endswith("/") and path[:-1] in WITHOUT_SLASH)
        if not wrong or not ask.path.startswith(BASE):
            return None
        if not self.traps.redirects_slashes:
            return detail(404, "Not Found")
        other = ask.path.rstrip("/") if path.endswith("/") else ask.path + "/"
        return Reply(status=307, headers={"location": f"http://{ask.headers.get('host', '')}{other}"})

    def _route(self, ask: Ask) -> Reply:
        path = ask.path
        if path == "/openapi.json":
            return json_reply({"openapi": "3.1.0", "info": {"title": TITLE, "version": self.traps.version}})
        if path == "/health":
            return json_reply({"status": "healthy"})
        if not path.startswith(BASE + "/"):
            return detail(404, "Not Found")
        path = path.removeprefix(BASE)
        if path == "/auth/login":
            return self._login(ask)
        if _KNOWN.fullmatch(path) is None:
            return detail(404, "Not Found")
        refusal = self._stopped(ask)
        if refusal is not None:
            return refusal
        if path == "/projects/projects":
            return json_reply([self._project(one) for one in self.heap.projects])
        if path.startswith("/projects/projects/"):
            return self._projects(ask, path.removeprefix("/projects/projects/"))
        project = ask.headers.get("x-project-id")
        if not project:
            return invalid(["header", "X-Project-ID"], "Field required", "missing")
        if path == "/admin/stats":
            return json_reply({"project_id": project, "assets": sum(1 for _ in self.heap.of(project))})
        if path == "/import_export/export":
            return self._export(project)
        return self._assets(ask, path, project)

    # ---------------------------------------------------------------- accounts

    def _login(self, ask: Ask) -> Reply:
        if ask.method != "POST":
            return detail(405, "Method Not Allowed")
        form = ask.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        given = parse_qs(ask.body.decode(errors="replace")) if form else {}
        if "username" not in given or "password" not in given:
            return invalid(["body", "username"], "Field required", "missing")
        name = given["username"][0]
        user = self.users.get(name)
        if user is None or user.password != given["password"][0]:
            return denied("Incorrect email or password")
        claims = {"sub": name, "exp": int(self.clock() + self.traps.token_minutes * 60)}
        return json_reply({"access_token": self._token(claims), "token_type": "bearer"})

    def _token(self, claims: Mapping[str, object]) -> str:
        body = b".".join(_encoded(orjson.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return (body + b"." + _encoded(hmac.digest(self._secret, body, hashlib.sha256))).decode()

    def _stopped(self, ask: Ask) -> Reply | None:
        """The refusal of a caller who is not logged in, or not active."""
        scheme, _, token = ask.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return denied("Not authenticated")
        head, _, signature = token.rpartition(".")
        good = _encoded(hmac.digest(self._secret, head.encode(), hashlib.sha256)).decode()
        if not hmac.compare_digest(signature, good):
            return denied("Could not validate credentials")
        claims = orjson.loads(_decoded(head.partition(".")[2]))
        user = self.users.get(claims["sub"])
        if user is None or claims["exp"] <= self.clock():
            return denied("Could not validate credentials")
        return None if user.active else detail(400, "Inactive user")

    # ---------------------------------------------------------------- projects

    def _project(self, project: str) -> Row:
        return {"id": project, "name": self.heap.projects[project], "status": "ACTIVE"}

    def _projects(self, ask: Ask, rest: str) -> Reply:
        project, _, below = rest.partition("/")
        if project not in self.heap.projects:
            return missing("Project", project)
        if below == "assets" and ask.method == "DELETE":
            count = self.heap.remove_all(project)
            return json_reply({"status": "success", "assets_deleted": count, "project_id": project})
        if below or ask.method != "GET":
            return detail(405, "Method Not Allowed")
        return json_reply(self._project(project))

    # ---------------------------------------------------------------- assets

    def _assets(self, ask: Ask, path: str, project: str) -> Reply:
        asset_id = unquote(path.removeprefix("/assets/"))
        match ask.method, asset_id:
            case "GET", "":
                return self._list(ask, project)
            case "POST", "":
                return self._create(ask, project)
            case "PATCH", "bulk":
                return self._bulk(ask, project)
            case "GET", _:
                row = self.heap.live(project, asset_id)
                return json_reply(store.shown(row)) if row else missing("Asset", asset_id)
            case "PUT", _:
                return self._put(ask, project, asset_id)
        return detail(405, "Method Not Allowed")

    def _list(self, ask: Ask, project: str) -> Reply:
        numbers: dict[str, int] = {}
        for name, usual, least, most in (("skip", 0, 0, None), ("limit", 100, 1, 1000)):
            given = ask.query.get(name, [str(usual)])[-1]
            if not given.isdigit() or int(given) < least or (most is not None and int(given) > most):
                return invalid(["query", name], "Input should be in range", "range")
            numbers[name] = int(given)
        if numbers["skip"] >= 2**63:
            return crash()
        rows = self.heap.page(project, numbers["skip"], numbers["limit"])
        reply = json_reply([store.shown(row) for row in rows])
        reply.rows = len(rows)
        return reply

    def _create(self, ask: Ask, project: str) -> Reply:
        values = _object(ask.body)
        if values is None:
            return invalid(["body"], "Input should be an object", "dict_type")
        wrong = self._wrong(values, ["body"], saving=False)
        if wrong is not None:
            return wrong
        for name in ("tag", "type"):
            if not isinstance(values.get(name), str):
                return invalid(["body", name], "Field required", "missing")
        row = self.heap.insert(project, values)
        self.writes += 1
        return json_reply(store.shown(row), 201)

    def _put(self, ask: Ask, project: str, asset_id: str) -> Reply:
        values = _object(ask.body)
        if values is None:
            return invalid(["body"], "Input should be an object", "dict_type")
        wrong = self._wrong(values, ["body"], saving=True)
        if wrong is not None:
            return wrong
        row = self.heap.live(project, asset_id)
        if row is None:
            return missing("Asset", asset_id)
        return self._saved([row], lambda: [self.heap.update(row, values)], one=True)

    def _bulk(self, ask: Ask, project: str) -> Reply:
        try:
            items = orjson.loads(ask.body)
        except orjson.JSONDecodeError:
            return invalid(["body"], "JSON decode error", "json_invalid")
        if not isinstance(items, list):
            return invalid(["body"], "Input should be a list", "list_type")
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                return invalid(["body", index, "id"], "Field required", "missing")
            wrong = self._wrong(item, ["body", index], saving=True)
            if wrong is not None:
                return wrong
        touched = [row for item in items if (row := self.heap.rows.get(item["id"])) is not None]
        reply = self._saved(touched, lambda: self.heap.bulk(project, items), one=False)
        reply.rows = len(items)
        return reply

    def _saved(self, touched: Sequence[Row], write: Callable[[], list[Row]], *, one: bool) -> Reply:
        """Write, then build the answer: what fails in the second half was done all the same."""
        poisoned = not self.traps.commits_before_500 and any(store.rule_broken(row) for row in touched)
        if poisoned:
            raise Crash
        rows = write()
        self.writes += 1
        shown = [store.shown(row) for row in rows]
        return json_reply(shown[0] if one else shown)

    def _wrong(self, values: Row, place: list[str | int], *, saving: bool) -> Reply | None:
        """The refusal of a value, as both create and save know it."""
        for name, value in values.items():
            if name in store.TEXTS and not (value is None or isinstance(value, str)):
                return invalid([*place, name], "Input should be a valid string", "string_type")
            if name in store.OBJECTS and not (value is None or isinstance(value, dict)):
                return invalid([*place, name], "Input should be a valid dictionary", "dict_type")
            if isinstance(value, str) and "\x00" in value:
                raise Crash
            if name == "tag" and isinstance(value, str) and len(value) > 2_600:
                raise Crash
            if name not in store.SHOWN and name != "project_id" and not self.traps.drops_unknown_fields:
                return invalid([*place, name], "Extra inputs are not permitted", "extra_forbidden")
        for name, words in (("ioType", store.IO_TYPES), ("dataStatus", store.DATA_STATUSES)):
            if values.get(name) is not None and values[name] not in words:
                return invalid([*place, name], "Input is not one of the words", "enum")
        kind = values.get("type")
        if saving and kind is not None and kind not in store.SAVED_TYPES and self.traps.six_types_on_save:
            return invalid([*place, "type"], "Input is not one of the words", "enum")
        fault = store.rule_broken(values)
        return invalid([*place, fault[0]], fault[1], "value_error") if fault else None

    def _export(self, project: str) -> Reply:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([*store.EXPORTED, *(".".join(pair) for pair in store.EXPORTED_KEYS)])
        rows = list(self.heap.of(project))
        for row in rows:
            flat = [row[name] for name in store.EXPORTED.values()]
            writer.writerow(flat + [(row[part] or {}).get(key) for part, key in store.EXPORTED_KEYS])
        return Reply(body=text.getvalue().encode(), media="text/csv; charset=utf-8", rows=len(rows))

    # ---------------------------------------------------------------- how long, and whether at all

    def seconds_of(self, ask: Ask, reply: Reply) -> float:
        """How long the real backend takes for this call."""
        kind = ask.method
        if ask.method == "GET" and ask.path == BASE + "/assets/":
            kind = "list"
        elif ask.path.endswith("/export"):
            kind = "export"
        return PACES.get(kind, 0.01) + reply.rows * PACE_OF_A_ROW.get(kind, 0.0)

    def recycles(self) -> bool:
        """Whether the worker goes just now; the request is not looked at."""
        after = self.traps.recycle_after
        if after is None or self._served < after:
            return False
        self._served = 0
        return True


def invalid(loc: Sequence[str | int], message: str, kind: str) -> Reply:
    """422 as the framework words it."""
    entry = {"type": kind, "loc": list(loc), "msg": message, "input": None}
    return json_reply({"detail": [entry], "message": "Validation Error"}, 422)


def missing(kind: str, asset_id: str) -> Reply:
    return detail(404, f"{kind} not found", type="not_found", resource_type=kind, id=asset_id)


def denied(text: str) -> Reply:
    reply = detail(401, text)
    reply.headers = {"www-authenticate": "Bearer"}
    return reply


def _object(body: bytes) -> Row | None:
    if b"NaN" in body:
        raise Crash
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Limit:
    """A token bucket as the proxy's: `rate` a second, `burst` at once."""

    def __init__(self, traps: Traps) -> None:
        self._traps = traps
        self._level, self._at = 0.0, time.monotonic()

    def passes(self) -> bool:
        """Whether one more request passes now."""
        rate = self._traps.requests_per_second
        if rate is None:
            return True
        now = time.monotonic()
        self._level = max(0.0, self._level - (now - self._at) * rate)
        self._at = now
        if self._level > self._traps.burst:
            return False
        self._level += 1
        return True


class Double:
    """The ASGI application: proxy, worker and backend in one. `hang_up(client)` cuts a connection."""

    def __init__(self, backend: Backend, hang_up: Callable[[tuple[str, int]], None]) -> None:
        self.backend = backend
        self.released = asyncio.Event()
        self._hang_up = hang_up
        self._limit = Limit(backend.traps)
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        ask = await _read(scope, receive)
        backend = self.backend
        if not self._limit.passes():
            await _send(send, Reply(status=503, body=PROXY_PAGE, media="text/html"))
            return
        harm = backend.traps.next_harm(ask.method, ask.path.removeprefix(BASE))
        if harm == "cut_before" or backend.recycles():
            await self._cut(scope)
            return
        if harm == "refuse_503":
            await _send(send, Reply(status=503, body=PROXY_PAGE, media="text/html"))
            return
        if harm == "stall":
            await self.released.wait()
        await self._work(ask, harm, scope, send)

    async def _work(self, ask: Ask, harm: Harm | None, scope: Scope, send: Send) -> None:
        backend = self.backend
        backend.calls.append((ask.method, ask.path.removeprefix(BASE)))
        reply = crash() if harm == "failed_500" else backend.answer(ask)
        if backend.traps.paced:
            async with self._turn:
                await asyncio.sleep(backend.seconds_of(ask, reply))
        if harm == "lose_answer":
            await self._cut(scope)
            return
        if harm == "committed_500":
            reply = crash()
        await _send(send, reply)
        if reply.crashes:
            log.info("%s %s ended with 500", ask.method, ask.path)
            if backend.traps.cuts_after_500:
                await self._cut(scope)

    async def _cut(self, scope: Scope) -> None:
        self._hang_up(scope["client"])
        for _ in range(3):  # let the server learn that nobody listens any more
            await asyncio.sleep(0)


async def _read(scope: Scope, receive: Receive) -> Ask:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return Ask(
        method=scope["method"],
        path=scope["path"],
        query=parse_qs(scope["query_string"].decode("latin-1")),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _send(send: Callable[[Message], Awaitable[None]], reply: Reply) -> None:
    headers = [(b"content-type", reply.media.encode()), (b"content-length", str(len(reply.body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
