"""The reference SYNAPSE server: the target contract as a small app of its own, for demos and tests."""
