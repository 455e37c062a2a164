"""The jobs that slots give ResidualAdd and HeadNorm, with the Eps of their norm."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.head_norm import head_unit
from ...sim.flow.memories import core_memories
from ...sim.flow.residual_add import ResidualAddUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS


class UnitJobs(Component):
    """Two registers and the memory of Eps between the slots and the units' queues.

    Timing: a job is put `sim.timing.plan.JOB_CYCLES` after its slot; one a cycle, of one of the units.

    Numerics: none.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    add_en, add, head_en, head : In
        A slot passes that gives a job: its fields, all but Eps.
    eps_addr : In
        Word of the job's Eps.
    add_put, add_job, head_put, head_job : Out
        Jobs for the units.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, flow: FlowConfig):
        self.memory = core_memories(flow)["norm_eps"]
        add, head = data.StructLayout(ResidualAddUnit(flow).job), data.StructLayout(head_unit(flow).job)
        super().__init__(
            {
                "add_en": In(1),
                "add": In(add),
                "head_en": In(1),
                "head": In(head),
                "eps_addr": In(max(1, (self.memory.depth - 1).bit_length())),
                "add_put": Out(1),
                "add_job": Out(add),
                "head_put": Out(1),
                "head_job": Out(head),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register the fields (1), read Eps, and register them again beside it (2)."""
        m = Module()
        m.submodules.norm_eps = eps = LoadableMemory(self.memory)
        address = Signal.like(self.eps_addr, reset_less=True)
        m.d.sync += connect(address, self.eps_addr)
        m.d.comb += [
            *(connect(eps.load, self.load), connect(eps.bank, self.bank)),
            connect_address(eps.r_addr, address),
        ]
        self._registers(m, eps, self.add_en, self.add, self.add_put, self.add_job)
        self._registers(m, eps, self.head_en, self.head, self.head_put, self.head_job)
        return m

    @staticmethod
    def _registers(m: Module, eps: LoadableMemory, en: Value, given: data.View, put: Value, job: data.View) -> None:
        """A job's way to its unit."""
        first = Signal(given.shape(), reset_less=True)
        second = Signal(given.shape(), reset_less=True)
        there = Signal()
        m.d.sync += [
            *(connect(first.as_value(), given.as_value()), connect(second.as_value(), first.as_value())),
            *(connect(there, en), connect(put, there)),
        ]
        m.d.comb += [job.eq(second), job.eps.eq(eps.r_data[: len(job.eps)])]
