"""Engines by name, which are the files of the folder `engines`, and from files, in the logic that suits a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.config import Fabric
from ..errors import check, near
from ..system.files import read_json
from ..system.sources import PACKAGE
from ..system.typed import build
from .config import FlowConfig

#: Where they lie.
ENGINES_FOLDER = PACKAGE / "engines"
#: File of an engine in the folder of a command that wrote one.
_IN_FOLDER = "engine.json"
#: Their names, in the order of lists.
_NAMES = (
    *("sim", "ecp5_25", "digits", "ecp5_45", "ulx3s", "arty", "kv260", "zcu102", "base_zcu102", "vck190", "latency"),
    *("swin", "swin_zcu102", "swin_u50"),
)


@dataclass(frozen=True, kw_only=True)
class About:
    """What an engine is for.

    Parameters
    ----------
    text : str
        A sentence.
    target : str, optional
        Device that it is made for, a name of `sim.estimate.devices`; none in particular when None.
    networks : tuple of str
        Presets that it is made for; whatever fits its limits runs on it.
    why : str
        How its shape was found.
    """

    text: str
    target: str | None
    networks: tuple[str, ...]
    why: str


def _read(name: str) -> tuple[About, FlowConfig]:
    path = ENGINES_FOLDER / f"{name}.json"
    values = read_json(path, "a named engine")
    return build(About, values.pop("about"), f"`about` of {path}"), build(FlowConfig, values, str(path))


_READ = {name: _read(name) for name in _NAMES}
#: What each named engine is for, and the engine.
ABOUT: dict[str, About] = {name: about for name, (about, _) in _READ.items()}
FLOW_ENGINES: dict[str, FlowConfig] = {name: flow for name, (_, flow) in _READ.items()}


def load_engine(name_or_path: str) -> FlowConfig:
    """Return a named engine, or read one from a JSON file or the `engine.json` of a folder.

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
    path = engine_file(name_or_path)
    check(
        path.is_file() or not Path(name_or_path).is_dir(),
        f"{name_or_path} is a folder without {_IN_FOLDER}; `bivit explore` and `bivit generate` write one",
    )
    check(
        path.is_file(),
        f"there is no engine {name_or_path!r}: neither a file nor one of the names {', '.join(FLOW_ENGINES)}"
        f"{near(name_or_path, FLOW_ENGINES)}",
    )
    values = read_json(path, "an engine; write one with `bivit generate --engine NAME`")
    return engine_from_dict(values, f"engine configuration {path}")


def engine_file(path: str) -> Path:
    """Return the file of an engine: the path itself, or in a folder its `engine.json`."""
    return Path(path) / _IN_FOLDER if Path(path).is_dir() else Path(path)


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
    says = name_or_path not in FLOW_ENGINES and "fabric" in read_json(engine_file(name_or_path), "an engine")["engine"]
    return flow if says else flow.in_fabric(fabric)
