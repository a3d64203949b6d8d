"""Starts the host on a free port: says the port on stdout, then serves until it is ended.

The contribution's log is replaced by the counting ledger of the reference server, where the tests can import it.
"""

import os
import socket
import sys
import threading
from collections import Counter

import app.integration
import uvicorn
from app.main import app as host


class Counting:
    """What was written through the integration API, as the /dev helpers tell it."""

    def __init__(self):
        self.lock, self.projects, self.replays, self.statuses = threading.Lock(), {}, 0, Counter()

    def wrote(self, *, project_id, request_id, key, counts):
        with self.lock:
            self.statuses.update(counts)
            project = self.projects.setdefault(project_id, {"requests": 0, "items": 0, "effective": 0})
            project["requests"] += 1
            project["items"] += sum(counts.values())
            project["effective"] += sum(counts.get(name, 0) for name in ("created", "updated", "archived"))

    def replayed(self):
        with self.lock:
            self.replays += 1

    def report(self):
        return {"by_project": self.projects, "replays": self.replays, "by_status": self.statuses}


object.__setattr__(app.integration.server, "ledger", Counting())
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(os.environ.get("HOST_PORT", "0"))))
listener.listen(256)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(host, log_level="warning", access_log=False, lifespan="off")
uvicorn.Server(config).run(sockets=[listener])
sys.exit(0)
