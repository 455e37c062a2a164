"""Streamed weights at the slots: who waits for some, and who is the first one with those of a block."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.operation import Operands
from ...sim.flow.settings import WEIGHT_PARTS
from ...sim.flow.weight_stream import MERGING, WeightStreamUnit
from ...sim.timing.replay_state import Cause
from ..parts.connect import connect


def weights_ports(flow: FlowConfig) -> dict[str, wiring.Member]:
    """Return the ports of streamed weights, see `Slots`.

    Parameters
    ----------
    flow : FlowConfig
    """
    if not flow.streamed:
        return {}
    kinds = WeightStreamUnit(flow).kinds
    ring = {"weights_read": Out(Operands(flow).fields["steps"])} if flow.weight_ring else {}
    return {"weights_there": In(kinds), "weights_opened": Out(kinds), "weights_wait": Out(1), **ring}


def weights_missing(slots: Any, unit: Any) -> Value:
    """Return whether the next slot of a stream begins with weights that are not there.

    Parameters
    ----------
    slots : Slots
    unit : StreamUnit
        Of one of `WEIGHT_PARTS`.
    """
    kind = WEIGHT_PARTS.index(unit.stream)
    there = slots.weights_there[kind]
    if slots.flow.windows and kind == 0:
        there = Mux(slots.settings.merges, slots.weights_there[MERGING], there)
    # Whoever begins with a block's weights comes back a round later: a register more makes no difference.
    return unit.coming.opens & _leads(slots.flow, unit) & ~there


def last_read(m: Module, slots: Any, works: Value) -> tuple[Value, Value]:
    """Return whether the slot that passes is the last one that reads its weights, and how many words these are.

    The count is held until the operation has read them: what has nothing to do may pass before that.

    Parameters
    ----------
    m : Module
    slots : Slots
        Of an engine with a ring of weights.
    works : Value
        By stream, its slot passes and has something to do.
    """
    held, flags = Signal(len(slots.weights_read), name="words_held", reset_less=True), []
    for unit in (slots.streams[part] for part in WEIGHT_PARTS):
        with m.If(works[unit.stream]):
            m.d.sync += connect(held, unit.op.steps)
        flags.append(works[unit.stream] & is_last(slots.flow, unit))
    return Cat(*flags).any(), held


def is_last(flow: FlowConfig, unit: Any) -> Value:
    """Return whether a stream's next slot is in the last tile of a block, or of the last window of a round.

    Parameters
    ----------
    flow : FlowConfig
        With a ring of weights.
    unit : StreamUnit
    """
    found: Value = unit.in_last_tile & unit.record.closes if flow.windows else unit.in_last_tile
    return found


def tell_weights(m: Module, slots: Any, take: Value, missing: list[dict[Cause, Signal]]) -> None:
    """Tell who begins with a block's weights, and that some are missing.

    Parameters
    ----------
    m : Module
    slots : Slots
    take : Value
        By stream, its slot passes.
    missing : list of dict
        What each stream waits for.
    """
    opened = []
    for part in WEIGHT_PARTS:
        unit = slots.streams[part]
        opened.append(take[part] & unit.opens & _leads(slots.flow, unit))
    if slots.flow.windows:
        # In a patch merging no stream but the first one of these has work.
        merges = slots.settings.merges
        opened = [opened[0] & ~merges, *opened[1:], opened[0] & merges]
    # Whose turn is not known may be told of a turn before.
    waits = (missing[part][Cause.MEMORY] & ~missing[part][Cause.TURN] for part in WEIGHT_PARTS)
    m.d.sync += [
        slots.weights_opened.eq(Cat(*opened)),
        slots.weights_wait.eq((Cat(*waits) & Cat(*(slots.table.hand[part] for part in WEIGHT_PARTS))).any()),
    ]


def _leads(flow: FlowConfig, unit: Any) -> Value:
    """Whether a stream's turn, if it has work, is the first one with a block's weights."""
    if flow.windows:
        opens: Value = unit.record.opens
        return opens
    # Lanes go side by side, and the first one has an image where any has.
    return (unit.turn == 0) | (unit.turn == flow.images)
