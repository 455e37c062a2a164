"""Accelerators to compare: published ones with the source of every number, and this engine, by its estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...sim.engine.words import WORD
from ...sim.estimate.devices import Device, device
from ...sim.estimate.resources import estimate_resources, images_per_s
from ...sim.explore.aim import Aim
from ...sim.explore.search import explore
from ...sim.flow.config import FlowConfig
from ...sim.flow.presets import FLOW_ENGINES, engine_from_dict
from ...sim.mapping.cycles import peak_macs, useful_macs
from ...sim.mapping.shipped import shipped_cycles
from ...sim.network.formats import Formats
from ...sim.network.presets import vit_preset
from ...sim.system.files import read_json, write_json
from ...sim.system.typed import build

_DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Published accelerators, and engines that searches have found, in the repository.
RIVALS, EXPLORED = _DOCS / "rivals.json", _DOCS / "explored.json"
#: Networks, by the names of their work, and named engines with devices that they are estimated on.
_WORK = {"deit_tiny": "DeiT-Tiny", "deit_small": "DeiT-Small", "deit_base": "DeiT-Base"}
_NAMED = (
    ("deit_tiny", "zcu102", "zu9eg"),
    ("deit_tiny", "zcu102", "xcvc1902"),
    ("deit_tiny", "kv260", "k26"),
    ("deit_small", "vck190", "xcvc1902"),
)
#: Networks and devices that an engine is sought for.
_SOUGHT = (("deit_tiny", "zu9eg"), ("deit_small", "zu9eg"), ("deit_base", "xcvc1902"), ("deit_base", "xcu250"))


@dataclass(frozen=True)
class Number:
    """A number, None where it is unknown; how it is known, and where it is from: a source or a command."""

    value: float | None
    kind: str
    source: str


@dataclass(frozen=True)
class Accelerator:
    """An accelerator on a device with some work.

    Parameters
    ----------
    name, device, work : str
        Work is a network, or what else is computed.
    bits : str
        Of weights and activations.
    numbers : dict of str to Number
        By measure: a name of `comparison.MEASURES`.
    ours : bool
    """

    name: str
    device: str
    work: str
    bits: str
    numbers: dict[str, Number]
    ours: bool = False


@dataclass(frozen=True)
class Found:
    """An engine that a search has found: what for, by which command, its file, cycles from image to image."""

    net: str
    target: str
    command: str
    engine: dict[str, Any]
    interval_cycles: float


def rivals() -> list[Accelerator]:
    """Return published accelerators.

    Raises
    ------
    BivitError
        When a number has no kind or source, or a name is unknown.
    """
    return [_rival(values) for values in read_json(RIVALS, "published accelerators")]


def _rival(values: dict[str, Any]) -> Accelerator:
    where = f"{RIVALS.name}, {values.get('name')}"
    numbers = {name: build(Number, one, f"{name} of {where}") for name, one in values["numbers"].items()}
    return Accelerator(**{**values, "numbers": numbers})


def ours() -> Iterator[Accelerator]:
    """Yield this engine: named ones, and those that were found for a network and a device."""
    for net, name, target in _NAMED:
        found = shipped_cycles(vit_preset(net), FLOW_ENGINES[name])
        assert found is not None
        command = f"bivit estimate {net} --engine {name} --target {target}"
        yield _estimated(f"`{name}`", net, FLOW_ENGINES[name], device(target), found[1], command)
    for one in kept():
        flow = engine_from_dict(one.engine, EXPLORED.name)
        name = f"{flow.engine.rows}x{flow.engine.columns}x{WORD}, weights {flow.weights}"
        yield _estimated(name, one.net, flow, device(one.target), one.interval_cycles, one.command)


def kept() -> list[Found]:
    """Return the engines that searches have found, as they are kept."""
    return [build(Found, values, EXPLORED.name) for values in read_json(EXPLORED, "engines that were found")]


def sought(net: str, target: str) -> Found:
    """Return what a search finds now.

    Parameters
    ----------
    net, target : str
        A preset, and a device.
    """
    best = explore(device(target), Aim((vit_preset(net),), Formats())).best
    command = f"bivit explore {net} --target {target}"
    return Found(net, target, command, asdict(best.point.flow), best.interval_cycles)


def search_anew() -> None:
    """Write what searches find now."""
    write_json(EXPLORED, [asdict(sought(net, target)) for net, target in _SOUGHT])


def _estimated(name: str, net: str, flow: FlowConfig, on: Device, interval: float, command: str) -> Accelerator:
    """This engine on a device: exact cycles, the clock of the device's family, estimated resources."""
    config, report = vit_preset(net), estimate_resources(flow, on)
    speed = images_per_s(interval, on.clock_mhz)
    luts, grid = report.total_of("luts"), report.units["grid"].luts
    gops = 2 * useful_macs(config) * speed / 1e9
    weakest = "assumed" if any(row.kind == "assumed" for row in report.rows) else "estimated"
    clock, cells = f"ours, clock {on.clock_kind}", f"ours, LUT {weakest}"
    values: dict[str, tuple[float | None, str]] = {
        "images_per_s": (speed, clock),
        "gops": (gops, clock),
        "luts": (luts, cells),
        "gops_per_klut": (None if luts is None else gops / luts * 1000, f"{clock}, LUT {weakest}"),
        "luts_per_mac": (None if grid is None else grid / peak_macs(flow), cells),
        "utilisation_percent": (100 * useful_macs(config) / (interval * peak_macs(flow)), "ours, cycles exact"),
    }
    numbers = {name: Number(value, kind, f"`{command}`") for name, (value, kind) in values.items()}
    board = on.part.partition("(")[2].rstrip(")") or on.part
    fullest = max(percent for percent in report.utilisation.values() if percent is not None)
    place = f"{board}, {on.clock_mhz:g} MHz, {fullest:.0f} % full"
    return Accelerator(f"this engine, {name}", place, _WORK[net], "W1A1", numbers, ours=True)
