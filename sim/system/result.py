"""Results as dataclasses, and the one way from them to JSON: `to_dict` gives the fields by name, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

#: Metadata of a field that is left out where it is None; any other None is written, as a value that is unknown.
OPTIONAL = {"json": "optional"}
#: Metadata of a field whose own names take its place: another result, or a dictionary; nothing for None.
INLINE = {"json": "inline"}


class Result:
    """Base of a frozen dataclass that a command returns, or that stands in what it returns."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON, results in it as dictionaries too."""
        values: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]  # of a dataclass that derives from this
            value, how = getattr(self, field.name), field.metadata.get("json")
            if how == "optional" and value is None:
                continue
            values |= (plain(value) or {}) if how == "inline" else {field.name: plain(value)}
        return values


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: results as dictionaries, tuples as lists, paths as text."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
