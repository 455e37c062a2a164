"""Chooses an engine for a network where the user names none: one made for the target, or the smallest that fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..engine.limits import needs
from ..errors import BivitError
from ..flow.config import FlowConfig
from ..flow.presets import ABOUT, FLOW_ENGINES
from ..mapping.layout import check_fits
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.formats import Formats
from .devices import Device
from .resources import estimate_resources

#: Engine of who says nothing of a target.
DEFAULT = "sim"


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


def too_small(config: ViTConfig, formats: Formats, flow: FlowConfig) -> str:
    """Return which limits of an engine a network exceeds; nothing where it runs on the engine.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    flow : FlowConfig
    """
    try:
        check_fits(config, formats, flow)
    except BivitError as error:
        return str(error)
    return ""


def engines_for(config: ModelConfig, formats: Formats) -> dict[str, FlowConfig]:
    """Return the named engines that hold a network, those with fewer products a cycle first.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats

    Raises
    ------
    BivitError
        When the accelerator does not run this family, or no named engine holds the network: which limits fail, and what
        an engine for it needs.
    """
    shape, reason = vit_only(config), ""
    found: dict[str, FlowConfig] = {}
    by_size = sorted(FLOW_ENGINES.items(), key=lambda item: item[1].engine.rows * item[1].engine.columns)
    for name, flow in by_size:
        lacking = too_small(shape, formats, flow)
        if lacking:
            reason = lacking
        else:
            found[name] = flow
    if found:
        return found
    largest, flow = by_size[-1]
    raise BivitError(
        f"no named engine holds this network; the largest of {', '.join(name for name, _ in by_size)} does not: "
        f"{reason}. {_larger(largest, flow, shape, formats)}"
    )


def suited_engine(config: ModelConfig, formats: Formats, target: Device | None = None) -> Choice:
    """Return a named engine that holds a network and fits the target: the largest made for it, else the smallest.

    Larger is an array with more products a cycle. Where none that holds the network fits the target, the smallest
    that holds it is returned with a warning: the estimate then says by how much it does not fit. Without a target it is
    `DEFAULT`, where that holds the network.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    target : Device, optional
        None when left out.

    Raises
    ------
    BivitError
        When the accelerator does not run this family, or no named engine holds the network: which limits fail, and
        what an engine for it needs.
    """
    held = engines_for(config, formats)
    if target is not None:
        held = {name: flow.in_fabric(target.fabric) for name, flow in held.items()}
        made = [name for name in held if ABOUT[name].target == target.name]
        for name in (*reversed(made), *held):
            if estimate_resources(held[name], target).fits is not False:
                return Choice(name, held[name])
    elif DEFAULT in held:
        return Choice(DEFAULT, held[DEFAULT])
    name, flow = next(iter(held.items()))
    return Choice(name, flow, "" if target is None else _excess(name, flow, target))


def _excess(name: str, flow: FlowConfig, target: Device) -> str:
    """Say what of the device an engine exceeds."""
    shares = estimate_resources(flow, target).utilisation
    over = [f"{what[:-1].upper()} {share:.0f} %" for what, share in shares.items() if share is not None and share > 100]
    return (
        f"no named engine that holds this network fits {target.part}; the smallest, {name}, takes {', '.join(over)} "
        "of it"
    )


def _larger(name: str, flow: FlowConfig, config: ViTConfig, formats: Formats) -> str:
    """Say which fields of a named engine to raise for a network, if that helps."""
    base = flow.engine
    raised: dict[str, Any] = {limit: size for limit, (_, size) in needs(config).items() if size > getattr(base, limit)}
    try:
        check_fits(config, formats, replace(flow, engine=replace(base, **raised)))
    except BivitError as error:
        return f"Larger limits alone do not help: {error}"
    fields = ", ".join(f"{limit} {size}" for limit, size in raised.items())
    return (
        f"Write one: `bivit generate --engine {name} --out out/larger` leaves engine.json; in a copy of it set "
        f"{fields} in `engine`, and give the copy with --engine"
    )
