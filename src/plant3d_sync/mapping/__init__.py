"""The mapping: what Plant 3D classes and columns mean in SYNAPSE, as configuration."""

from __future__ import annotations

from plant3d_sync.mapping.compare import COMPARATORS, Comparator
from plant3d_sync.mapping.compile import (
    check_mapping,
    compile_rules,
    default_text,
    is_writable,
    why_not_writable,
)
from plant3d_sync.mapping.convert import CONVERTERS, Converter, ConvertError
from plant3d_sync.mapping.file import STOCK, MappingFile, Problem, Severity, load_mapping

__all__ = [
    "COMPARATORS",
    "CONVERTERS",
    "STOCK",
    "Comparator",
    "ConvertError",
    "Converter",
    "MappingFile",
    "Problem",
    "Severity",
    "check_mapping",
    "compile_rules",
    "default_text",
    "is_writable",
    "load_mapping",
    "why_not_writable",
]
