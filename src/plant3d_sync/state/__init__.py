"""Our own database: links, bases, plans, intents, changes, conflicts, runs, audit, leases.

The truth about every run. Redis may vanish, processes may die; what is here decides what happens next.
"""

from sqlalchemy.engine import Connection

from plant3d_sync.state.store import State

__all__ = ["Connection", "State"]
