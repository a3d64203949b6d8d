"""The web service: the plan's API, health, metrics. It reads and writes the state database and nothing else."""

from plant3d_sync.web.app import create_app

__all__ = ["create_app"]
