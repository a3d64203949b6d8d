"""`python -m plant3d_sync` is `plant3d-sync`."""

from __future__ import annotations

from plant3d_sync.cli.main import main

if __name__ == "__main__":
    main()
