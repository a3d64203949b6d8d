"""How a service that cannot start, or has to end, says so: as a line of its log where nobody reads its terminal."""

from __future__ import annotations

import os
import sys

from plant3d_sync.errors import SyncError
from plant3d_sync.logs import configure, get_logger


def tell(error: SyncError | None = None) -> bool:
    """Write the error (None: the exception that is being handled) as one line of JSON; False if text is wanted.

    LOG_FORMAT says which. Where it is not set, a person at a terminal gets text.
    """
    form = os.environ.get("LOG_FORMAT", "").strip().lower()
    if form == "console" or (not form and sys.stderr.isatty()):
        return False
    configure(form="json")
    if error is None:
        get_logger().critical("process.crashed", exc_info=True, exit_code=1)
    else:
        facts = {"code": error.error_code, "message": error.message, "hint": error.hint}
        get_logger().error("process.failed", exit_code=error.exit_code, **facts)
    return True
