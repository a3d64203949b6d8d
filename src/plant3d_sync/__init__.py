"""Keeps an AutoCAD Plant 3D P&ID project and SYNAPSE in step.

Read both sides, decide in pure code, show the decision, write it, and only then remember it.
"""

from __future__ import annotations

__version__ = "0.1.0"
