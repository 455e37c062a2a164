"""Chooses an engine for a network where the user names none: the smallest shipped one that holds it and fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..engine.config import EngineConfig
from ..engine.limits import needs
from ..engine.presets import ENGINES
from ..errors import BivitError
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.formats import Formats
from ..program.compiler import compile_program
from .devices import Device
from .resources import estimate_resources

#: A program memory that no program of a network within the limits of `EngineConfig` exceeds.
_MOST_WORDS = 65536
_MOST_EDGE_WORDS = 1024


@dataclass(frozen=True)
class Choice:
    """An engine and what a user is to know of it.

    Attributes
    ----------
    name : str
        In `sim.engine.presets.ENGINES`.
    engine : EngineConfig
        In the fabric of the target.
    warning : str
        Why it does not fit the target; empty where it does.
    """

    name: str
    engine: EngineConfig
    warning: str = ""


def smallest_engine(config: ModelConfig, formats: Formats, target: Device | None = None) -> Choice:
    """Return the smallest shipped engine that holds a network and fits the target.

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
        When the accelerator does not run this family, or no shipped engine holds the network: which limits fail, and
        what an engine for it needs.
    """
    shape = vit_only(config)
    by_size = sorted(ENGINES, key=lambda name: ENGINES[name].rows * ENGINES[name].columns)
    held: list[str] = []
    reason = ""
    for name in by_size:
        try:
            compile_program(shape, formats, ENGINES[name])
        except BivitError as error:
            reason = str(error)
            continue
        if target is None:
            return Choice(name, ENGINES[name])
        suited = replace(ENGINES[name], fabric=target.fabric)
        if estimate_resources(suited, target).fits is not False:
            return Choice(name, suited)
        held.append(name)
    if held:
        assert target is not None
        smallest = replace(ENGINES[held[0]], fabric=target.fabric)
        return Choice(held[0], smallest, _excess(held[0], smallest, target))
    raise BivitError(
        f"no shipped engine holds this network; the largest of {', '.join(by_size)} does not: {reason}. "
        f"{_larger(by_size[-1], shape, formats)}"
    )


def _excess(name: str, engine: EngineConfig, target: Device) -> str:
    """Say what of the device an engine exceeds."""
    shares = estimate_resources(engine, target).utilisation
    over = [f"{what[:-1].upper()} {share:.0f} %" for what, share in shares.items() if share is not None and share > 100]
    return (
        f"no shipped engine that holds this network fits {target.part}; the smallest, {name}, takes {', '.join(over)} "
        "of it"
    )


def _larger(name: str, config: ViTConfig, formats: Formats) -> str:
    """Say which fields of a shipped engine to raise for a network, if that helps."""
    base = ENGINES[name]
    raised: dict[str, Any] = {limit: size for limit, (_, size) in needs(config).items() if size > getattr(base, limit)}
    try:
        large = replace(base, **raised, program_words=_MOST_WORDS, edge_words=_MOST_EDGE_WORDS)
        program = compile_program(config, formats, large)
    except BivitError as error:
        return f"Larger limits alone do not help: {error}"
    for field, found in (("program_words", program.instructions), ("edge_words", program.edge_instructions)):
        if len(found) > getattr(base, field):
            raised[field] = len(found)
    fields = ", ".join(f"{limit} {size}" for limit, size in raised.items())
    return (
        f"Write one: `bivit generate --engine {name} --out out/larger` leaves engine.json; in a copy of it set "
        f"{fields}, and give the copy with --engine"
    )
