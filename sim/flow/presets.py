"""Named engines: the files of the folder `engines`, each with what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.files import read_json
from ..system.sources import PACKAGE
from ..system.typed import build
from .config import FlowConfig

#: Where they lie.
ENGINES_FOLDER = PACKAGE / "engines"
#: Their names, in the order of lists.
_NAMES = (
    *("sim", "digits", "ecp5_45", "ulx3s", "arty", "kv260", "zcu102", "base_zcu102", "vck190", "latency"),
    *("swin", "swin_zcu102"),
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
