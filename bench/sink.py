"""A local HTTP sink: enough of SYNAPSE's integration contract to be pulled into, as cheap as can be.

One process, one asyncio loop, assets in a dict. It answers capabilities, batches (created, updated,
unchanged; `reply` minimal or full), the change feed, one asset, and the idempotency replay of the last
requests. It checks no rule of the contract beyond that: correctness is the reference server's business.

    python bench/sink.py [--port 0] [--cost-ms 0] [--feed echo|empty]

`--cost-ms` is the stated cost of a request: the answer waits that long, as a backend that far away would.
When ready it prints one JSON line {"url", "cost_ms", "feed"}. Beside the contract:
GET /bench/counts -> {requests, batches, items, created, updated, unchanged, archived, feed_pages};
GET /bench/documents -> {digest} of what was written into all assets;
POST /bench/reset forgets everything.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import signal
import sys
import uuid
from bisect import bisect_right
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import orjson

PREFIX = "/api/v1/integration"
KEPT_ANSWERS = 16
COUNTS = ("requests", "batches", "items", "created", "updated", "unchanged", "archived", "feed_pages")
REASONS = {200: "OK", 304: "Not Modified", 404: "Not Found", 411: "Length Required", 422: "Unprocessable"}

Answer = tuple[int, dict[str, Any]]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Project:
    """The assets of one project, and the order in which they last changed."""

    def __init__(self, project_id: str) -> None:
        self.id = project_id
        self.assets: dict[str, dict[str, Any]] = {}
        self.by_id: dict[str, dict[str, Any]] = {}
        self.order: list[tuple[int, str]] = []  # (seq, plant3d_id); stale entries are skipped when read
        self.seq = 0
        self.answers: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def touch(self, asset: dict[str, Any], time: str) -> None:
        self.seq += 1
        asset["seq"] = self.seq
        asset["updated_at"] = time
        self.order.append((self.seq, asset["plant3d_id"]))

    def create(self, plant3d_id: str, fields: dict[str, Any], time: str) -> dict[str, Any]:
        asset: dict[str, Any] = {
            "id": str(uuid.uuid4()), "project_id": self.id, "plant3d_id": plant3d_id, "version": 1, "seq": 0,
            "tag": fields.get("tag"), "asset_type": fields.get("asset_type"),
            "asset_subtype": fields.get("asset_subtype"), "description": fields.get("description"),
            "attributes": {k: v for k, v in (fields.get("attributes") or {}).items() if v is not None},
            "discipline_code": None, "parent_asset_id": None, "status": "Design", "fbs_code": None,
            "lbs_code": None, "wbs_code": None, "priority": None, "tags": [], "m_files_links": [],
            "workflow_status": None, "notes": None, "created_at": time, "updated_at": time,
            "deleted_at": None,
            "field_info": {"description": {"version": 1, "updated_at": time, "by": "integration:bench"}},
        }  # fmt: skip
        self.assets[plant3d_id] = asset
        self.by_id[asset["id"]] = asset
        self.touch(asset, time)
        return asset

    def write(self, item: dict[str, Any], time: str) -> tuple[str, dict[str, Any] | None]:
        """Carry out one item; (status, asset), the asset None when there is none."""
        asset = self.assets.get(item["plant3d_id"])
        if item["op"] == "archive":
            return self.archive(asset, time)
        fields = item.get("set") or {}
        if asset is None:
            return "created", self.create(item["plant3d_id"], fields, time)
        return ("updated" if self.update(asset, fields, time) else "unchanged"), asset

    def archive(self, asset: dict[str, Any] | None, time: str) -> tuple[str, dict[str, Any] | None]:
        if asset is None:
            return "error", None
        if asset["deleted_at"]:
            return "unchanged", asset
        asset["deleted_at"] = time
        asset["version"] += 1
        self.touch(asset, time)
        return "archived", asset

    def update(self, asset: dict[str, Any], fields: dict[str, Any], time: str) -> bool:
        changed = False
        for name, value in fields.items():
            if name == "attributes":
                changed |= merge_patch(asset["attributes"], value or {})
            elif asset[name] != value:
                asset[name] = value
                changed = True
                if name == "description":
                    info = {"version": asset["version"] + 1, "updated_at": time, "by": "integration:bench"}
                    asset["field_info"] = {"description": info}
        if changed:
            asset["version"] += 1
            self.touch(asset, time)
        return changed

    def page(self, after: int, limit: int) -> tuple[list[dict[str, Any]], int, bool]:
        """(entries, last position, more): assets at their latest `seq`, after a position, in order."""
        entries: list[dict[str, Any]] = []
        place = bisect_right(self.order, (after, "\uffff"))
        while place < len(self.order) and len(entries) < limit:
            seq, key = self.order[place]
            asset = self.assets[key]
            if asset["seq"] == seq:
                change = "archive" if asset["deleted_at"] else "upsert"
                entries.append({"seq": seq, "change": change, "asset": asset})
            after = seq
            place += 1
        return entries, after, place < len(self.order)


def merge_patch(held: dict[str, Any], patch: dict[str, Any]) -> bool:
    changed = False
    for key, value in patch.items():
        if value is None:
            changed |= held.pop(key, None) is not None
        elif held.get(key) != value:
            held[key] = value
            changed = True
    return changed


class Sink:
    """Routes and counters."""

    def __init__(self, *, feed: str) -> None:
        self.feed = feed
        self.reset()

    def reset(self) -> None:
        self.projects: dict[str, Project] = {}
        self.counts = dict.fromkeys(COUNTS, 0)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        path, _, query = target.partition("?")
        if path == "/bench/counts":
            return 200, dict(self.counts)
        if path == "/bench/documents":
            return 200, {"digest": self.digest()}
        if path == "/bench/reset":
            self.reset()
            return 200, {}
        self.counts["requests"] += 1
        project_id = headers.get("x-project-id", "")
        project = self.projects.setdefault(project_id, Project(project_id))
        match method, path.removeprefix(PREFIX):
            case "GET", "/capabilities":
                return 200, self.capabilities()
            case "POST", "/assets/batch":
                return self.batch(project, headers.get("idempotency-key", ""), body)
            case "GET", "/assets/changes":
                return self.changes(project, dict(part.split("=", 1) for part in query.split("&") if part))
            case "GET", rest if rest.removeprefix("/assets/") in project.by_id:
                return 200, project.by_id[rest.removeprefix("/assets/")]
            case _:
                return 404, problem("not_found", f"{method} {path} is not part of this sink.")

    def digest(self) -> str:
        """One text for what a pull wrote into all assets; an empty attribute is none."""
        names = ("plant3d_id", "tag", "asset_type", "asset_subtype", "description", "attributes")
        total = hashlib.sha256()
        for _, project in sorted(self.projects.items()):
            for _, asset in sorted(project.assets.items()):
                total.update(orjson.dumps({name: asset[name] for name in names}, option=orjson.OPT_SORT_KEYS))
        return total.hexdigest()

    def capabilities(self) -> dict[str, Any]:
        return {
            "contract": "1.0", "synapse_version": "bench", "server_time": now(),
            "limits": {"max_batch_items": 1000, "max_body_bytes": 5_242_880, "max_page": 1000,
                       "idempotency_hours": 24},
            "writable_fields": ["tag", "asset_type", "asset_subtype", "description", "attributes"],
            "shared_fields": ["description"], "owned_attribute_keys": [],
        }  # fmt: skip

    def batch(self, project: Project, key: str, body: bytes) -> Answer:
        if key in project.answers:
            return 200, project.answers[key]
        request = orjson.loads(body)
        full = request.get("reply") == "full"
        counts = dict.fromkeys(("created", "updated", "unchanged", "archived", "conflict", "error"), 0)
        time = now()
        results = []
        for index, item in enumerate(request["items"]):
            status, asset = project.write(item, time)
            counts[status] += 1
            results.append(result_of(index, item, status, asset, full=full))
        self.counts["batches"] += 1
        self.counts["items"] += len(results)
        for name in ("created", "updated", "unchanged", "archived"):
            self.counts[name] += counts[name]
        answer = {"request_id": "bench", "counts": counts, "max_seq": project.seq, "results": results}
        project.answers[key] = answer
        while len(project.answers) > KEPT_ANSWERS:
            project.answers.popitem(last=False)
        return 200, answer

    def changes(self, project: Project, query: dict[str, str]) -> Answer:
        self.counts["feed_pages"] += 1
        after = int(query.get("cursor", "c0")[1:])
        entries: list[dict[str, Any]] = []
        more = False
        if self.feed == "echo":
            entries, after, more = project.page(after, int(query.get("limit", "500")))
        answer: dict[str, Any] = {
            "items": entries, "next_cursor": f"c{after}", "has_more": more, "max_seq": project.seq,
        }  # fmt: skip
        if query.get("include") == "totals":
            archived = sum(1 for asset in project.assets.values() if asset["deleted_at"])
            total = len(project.assets)
            answer["totals"] = {"live": total - archived, "archived": archived, "linked": total}
        return 200, answer


def result_of(
    index: int, item: dict[str, Any], status: str, asset: dict[str, Any] | None, *, full: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "plant3d_id": item["plant3d_id"], "status": status}
    if "ref" in item:
        result["ref"] = item["ref"]
    if asset is None:
        return result | {"code": "not_found", "message": "No such asset."}
    result.update(id=asset["id"], version=asset["version"], seq=asset["seq"])
    if full:
        result["asset"] = asset
    return result


def problem(kind: str, detail: str) -> dict[str, Any]:
    return {"type": kind, "detail": detail, "request_id": "bench"}


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and Content-Length bodies; nothing else is spoken here."""

    def __init__(self, sink: Sink, cost: float) -> None:
        self.sink, self.cost = sink, cost
        self.buffer = bytearray()
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.busy:
            self.next_request()

    def next_request(self) -> None:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if "transfer-encoding" in headers:
            self.send((411, problem("length_required", "Chunked bodies are not read here.")))
            self.transport.close()
            return
        stop = end + 4 + int(headers.get("content-length", "0"))
        if len(self.buffer) < stop:
            return
        body = bytes(self.buffer[end + 4 : stop])
        del self.buffer[:stop]
        answer = self.sink.answer(method, target, headers, body)
        if self.cost and not target.startswith("/bench/"):
            self.busy = True
            asyncio.get_running_loop().call_later(self.cost, self.send_and_continue, answer)
        else:
            self.send_and_continue(answer)

    def send_and_continue(self, answer: Answer) -> None:
        self.busy = False
        self.send(answer)
        self.next_request()

    def send(self, answer: Answer) -> None:
        status, content = answer
        body = orjson.dumps(content)
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"X-Request-ID: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)


async def serve(port: int, cost_ms: float, feed: str) -> None:
    sink = Sink(feed=feed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(sink, cost_ms / 1000), "127.0.0.1", port)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(orjson.dumps({"url": url, "cost_ms": cost_ms, "feed": feed}).decode(), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--cost-ms", type=float, default=0.0, help="stated cost of a request, in ms")
    parser.add_argument("--feed", choices=["echo", "empty"], default="echo", help="what the feed tells")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.port, options.cost_ms, options.feed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
