"""A synthetic P&ID project database of a gold mine, with the real structure and hazards on request."""

from __future__ import annotations

from plant3d_sync.sample.generate import EPOCH, SampleReport, write_sample
from plant3d_sync.sample.schema import Style

__all__ = ["EPOCH", "SampleReport", "Style", "write_sample"]
