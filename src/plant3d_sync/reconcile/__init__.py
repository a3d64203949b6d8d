"""The decisions: pure functions from what both sides hold to a plan. No clock, no ids, no I/O."""
