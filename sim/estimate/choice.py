"""Chooses an engine for a network where the user names none: one made for the target, or the smallest that fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..engine.presets import engine_needs
from ..errors import BivitError
from ..flow.config import FlowConfig
from ..flow.presets import ABOUT, FLOW_ENGINES
from ..mapping.compiled import check_runs
from ..mapping.pass_limits import needs_that_count
from ..network.config import ModelConfig, ViTConfig
from ..network.formats import Formats
from .devices import Device
from .resources import estimate_resources, shares_text

#: Engine of who says nothing of a target, and that of a network with windows.
DEFAULT, DEFAULT_WINDOWS = "sim", "swin"


@dataclass(frozen=True)
class Choice:
    """An engine and what a user is to know of it.

    Attributes
    ----------
    name : str
        In `sim.flow.presets.FLOW_ENGINES`.
    flow : FlowConfig
        In the fabric of the target.
    warning : str
        Why it does not fit the target; empty where it does.
    """

    name: str
    flow: FlowConfig
    warning: str = ""


def too_small(config: ModelConfig, formats: Formats, flow: FlowConfig) -> str:
    """Return which limits of an engine a network exceeds; nothing where it runs on the engine.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig
    """
    try:
        check_runs(config, formats, flow)
    except BivitError as error:
        return str(error)
    return ""


def default_engine(config: ModelConfig) -> str:
    """Return the engine of who names neither an engine nor a target.

    Parameters
    ----------
    config : ModelConfig
    """
    return DEFAULT if isinstance(config, ViTConfig) else DEFAULT_WINDOWS


def engines_for(config: ModelConfig, formats: Formats) -> dict[str, FlowConfig]:
    """Return the named engines for a network's family that hold it, those with fewer products a cycle first.

    What windows take is wasted on a DeiT, so that none is chosen for it that has them, though it may run there.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats

    Raises
    ------
    BivitError
        When no named engine holds the network: which limits fail, and what an engine for it needs.
    """
    reason, windowed = "", not isinstance(config, ViTConfig)
    found: dict[str, FlowConfig] = {}
    suited = [(name, flow) for name, flow in FLOW_ENGINES.items() if (flow.windows is not None) == windowed]
    by_size = sorted(suited, key=lambda item: item[1].engine.rows * item[1].engine.columns)
    for name, flow in by_size:
        lacking = too_small(config, formats, flow)
        if lacking:
            reason = lacking
        else:
            found[name] = flow
    if found:
        return found
    largest, flow = by_size[-1]
    raise BivitError(
        f"no named engine holds this network; the largest of {', '.join(name for name, _ in by_size)} does not: "
        f"{reason}. {_larger(largest, flow, config, formats)}"
    )


def suited_engine(config: ModelConfig, formats: Formats, target: Device | None = None) -> Choice:
    """Return a named engine that holds a network and fits the target: the largest made for it, else the smallest.

    Larger is an array with more products a cycle. Where none that holds the network fits the target, the smallest
    that holds it is returned with a warning: the estimate then says by how much it does not fit. Without a target it is
    `default_engine`, where that holds the network.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    target : Device, optional
        None when left out.

    Raises
    ------
    BivitError
        When no named engine holds the network: which limits fail, and what an engine for it needs.
    """
    held = engines_for(config, formats)
    if target is not None:
        held = {name: flow.in_fabric(target.fabric) for name, flow in held.items()}
        made = [name for name in held if ABOUT[name].target == target.name]
        for name in (*reversed(made), *held):
            if estimate_resources(held[name], target).fits is not False:
                return Choice(name, held[name])
    elif (default := default_engine(config)) in held:
        return Choice(default, held[default])
    name, flow = next(iter(held.items()))
    return Choice(name, flow, "" if target is None else _excess(name, flow, target))


def _excess(name: str, flow: FlowConfig, target: Device) -> str:
    """Say what of the device an engine exceeds."""
    over = shares_text(estimate_resources(flow, target).beyond())
    return f"no named engine that holds this network fits {target.part}; the smallest, {name}, takes {over} of it"


def _larger(name: str, flow: FlowConfig, config: ModelConfig, formats: Formats) -> str:
    """Say which fields of a named engine to raise for a network, if that helps."""
    base = flow.engine
    raised: dict[str, Any] = {need: size for need, size in engine_needs(config).items() if size > getattr(base, need)}
    windows = dict[str, Any]()
    try:
        larger = replace(flow, engine=replace(base, **raised))
        if flow.windows is not None:
            asked = needs_that_count(config, larger).items()
            windows = {need: size for need, size in asked if size > getattr(flow.windows, need)}
            larger = replace(larger, windows=replace(flow.windows, **windows))
        check_runs(config, formats, larger)
    except BivitError as error:
        return f"Larger limits alone do not help: {error}"
    fields = ", ".join(f"{limit} {size}" for limit, size in raised.items())
    if windows:
        raised_too = ", ".join(f"{limit} {size}" for limit, size in windows.items())
        fields = " and ".join(filter(None, [fields and f"{fields} in `engine`", f"{raised_too} in `windows`"]))
    else:
        fields = f"{fields} in `engine`"
    return (
        f"Write one: `bivit generate --engine {name} --out out/larger` leaves engine.json; in a copy of it set "
        f"{fields}, and give the copy with --engine"
    )
