"""Credits of the dataflow: tiles that are there, and slots that are free, of every ring."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.operation import Operands
from ...sim.timing.plan import TABLE_SETS
from ..flow.jobs import Credits
from ..parts.component import Component
from ..parts.connect import connect


def ring_slots(flow: FlowConfig) -> dict[str, int]:
    """Return what is counted, and how much of it there can be: `_full` begins with none, `_room` with all.

    Parameters
    ----------
    flow : FlowConfig
    """
    operands = Operands(flow)
    bits = {
        "query": operands.query_slots,
        **dict.fromkeys(("keys", "values"), operands.image_slots),
        "attention": flow.attention_slots,
        "context": flow.context_slots,
        "hidden": flow.hidden_slots,
    }
    norms = dict.fromkeys(("norm1", "norm2"), flow.norm_slots)
    sums = {"residual": flow.residual_slots, "head": flow.head_slots, "score": flow.score_slots}
    staging = dict.fromkeys(("staging1", "staging2"), flow.staging_slots)
    return {
        **{f"{name}_full": slots for name, slots in {**norms, **bits, "tables": TABLE_SETS}.items()},
        **{f"{name}_room": slots for name, slots in {**bits, **staging, **sums}.items()},
    }


class Ledger(Component):
    """A counter for each of `ring_slots`.

    Timing: as of `Credits`.

    Numerics: as of `Credits`.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    give, take : In
        By name: one more; one less.
    some_next : Out
        By name, whether there are any in the next cycle.
    """

    def __init__(self, flow: FlowConfig):
        self.slots = ring_slots(flow)
        flags = data.StructLayout(dict.fromkeys(self.slots, 1))
        super().__init__({"give": In(flags), "take": In(flags), "some_next": Out(flags)})

    def elaborate(self, platform: object) -> Module:
        """Build the counters."""
        m = Module()
        for name, most in self.slots.items():
            m.submodules[name] = counter = Credits(most, most if name.endswith("_room") else 0, early=True)
            m.d.comb += [
                connect(counter.give, self.give[name]),
                connect(counter.take, self.take[name]),
                connect(self.some_next[name], counter.some_next),
            ]
        return m
