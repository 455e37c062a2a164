"""Where a tile of the staged x begins."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

from ...sim.flow.config import FlowConfig
from ...sim.flow.residual_add import ResidualAddUnit
from .jobs import scaled


def staged_base(flow: FlowConfig, slot: Value, channels: Value) -> Value:
    """Return the first word of a slot of the staged x.

    A tile of a patch merging, whose rows are wider than those of any block, has the room of two slots: those of norm2
    are of no other use there.

    Parameters
    ----------
    flow : FlowConfig
    slot, channels : Value
        Number of the slot; channels of a row.
    """
    of_slot = scaled(slot, flow.staged_tiles, ResidualAddUnit(flow).staged_words)
    if flow.windows is None:
        return of_slot
    return Mux(channels > flow.engine.max_embed_dim, of_slot << 1, of_slot)
