"""`python -m plant3d_sync.worker`."""

from __future__ import annotations

import sys

from plant3d_sync.worker.main import main

if __name__ == "__main__":
    sys.exit(main())
