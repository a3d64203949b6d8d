"""One package per system: the only code that knows its SQL or its API."""
