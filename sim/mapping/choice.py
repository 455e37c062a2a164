"""Chooses an engine for a network where the user names none: the named ones that hold it, the smallest first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..engine.limits import needs
from ..errors import BivitError
from ..flow.config import FlowConfig
from ..flow.presets import FLOW_ENGINES
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.formats import Formats
from .layout import check_fits


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
        try:
            check_fits(shape, formats, flow)
        except BivitError as error:
            reason = str(error)
        else:
            found[name] = flow
    if found:
        return found
    largest, flow = by_size[-1]
    raise BivitError(
        f"no named engine holds this network; the largest of {', '.join(name for name, _ in by_size)} does not: "
        f"{reason}. {_larger(largest, flow, shape, formats)}"
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
