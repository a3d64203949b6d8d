"""A small application of our own in the place of SYNAPSE's backend: its tables as documented, nothing of its code."""
