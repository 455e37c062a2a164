"""Engines by name and from files, and in the logic that suits a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..engine.config import Fabric
from ..errors import check, near
from ..system.files import read_json
from ..system.typed import build
from .config import FlowConfig
from .presets import FLOW_ENGINES


def load_engine(name_or_path: str) -> FlowConfig:
    """Return a named engine, or read one from a JSON file.

    Parameters
    ----------
    name_or_path : str

    Raises
    ------
    BivitError
        When there is neither such a name nor such a file, or the file is not an engine.
    """
    if name_or_path in FLOW_ENGINES:
        return FLOW_ENGINES[name_or_path]
    path = Path(name_or_path)
    check(
        path.is_file(),
        f"there is no engine {name_or_path!r}: neither a file nor one of the names {', '.join(FLOW_ENGINES)}"
        f"{near(name_or_path, FLOW_ENGINES)}",
    )
    values = read_json(path, "an engine; write one with `bivit generate --engine NAME`")
    return engine_from_dict(values, f"engine configuration {path}")


def engine_from_dict(values: Any, what: str = "engine configuration") -> FlowConfig:
    """Build an engine from JSON values.

    Parameters
    ----------
    values : object
        With the array's own fields in a table `engine`.
    what : str
        Where they are from, for messages.

    Raises
    ------
    BivitError
        What is missing, unknown, mistyped or out of range.
    """
    flat = isinstance(values, dict) and "rows" in values and "engine" not in values
    check(
        not flat,
        f"{what} has `rows` at its top, where a table `engine` must stand with all that the array is; "
        "`bivit generate --engine NAME` writes engine.json to begin with",
    )
    return build(FlowConfig, values, what)


def fabric_for(flow: FlowConfig, name_or_path: str, fabric: Fabric) -> FlowConfig:
    """Return an engine written in the logic that suits a device, where its name or its file leaves that open.

    Parameters
    ----------
    flow : FlowConfig
        What `load_engine` gave for the name.
    name_or_path : str
        A name leaves the fabric open, and so does a file without that field.
    fabric : {"lut6", "lut4"}
    """
    says = name_or_path not in FLOW_ENGINES and "fabric" in read_json(name_or_path, "an engine")["engine"]
    return flow if says else flow.in_fabric(fabric)
