"""The nouns. Frozen dataclasses and enums; the standard library only."""
