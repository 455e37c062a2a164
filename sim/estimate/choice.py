"""Chooses an engine for a network where the user names none: the smallest named one that holds it and fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..flow.config import FlowConfig
from ..mapping.choice import engines_for
from ..network.config import ModelConfig
from ..network.formats import Formats
from .devices import Device
from .resources import estimate_resources


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


def smallest_engine(config: ModelConfig, formats: Formats, target: Device | None = None) -> Choice:
    """Return the smallest named engine that holds a network and fits the target.

    Smaller is an array with fewer products a cycle. Where none that holds the network fits the target, the smallest
    that holds it is returned with a warning: the estimate then says by how much it does not fit.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    target : Device, optional
        Any when left out.

    Raises
    ------
    BivitError
        When the accelerator does not run this family, or no named engine holds the network: which limits fail, and
        what an engine for it needs.
    """
    held = engines_for(config, formats)
    if target is not None:
        held = {name: replace(flow, engine=replace(flow.engine, fabric=target.fabric)) for name, flow in held.items()}
        for name, flow in held.items():
            if estimate_resources(flow, target).fits is not False:
                return Choice(name, flow)
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
