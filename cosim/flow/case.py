"""A case of co-simulation on a dataflow engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...hw.emit import flow_verilog
from ...hw.probes import Probe
from ...sim.engine.loadstream import Sections
from ...sim.flow.config import FlowConfig
from ...sim.flow.machine import FlowMachine
from ...sim.flow.table import SlotTable
from ...sim.mapping import expected as flow_expected
from ...sim.mapping.program import FlowCycles, FlowProgram
from ...sim.mapping.replay_state import Cause
from ...sim.mapping.shipped import table_of
from ...sim.network.config import vit_only
from ...sim.network.network import IntNetwork
from ...sim.program.cycles import CycleEstimate, peak_macs, useful_macs
from ...sim.program.writes import Writes
from ..run import BaseCase
from ..session import Expected, Traces
from .order import order
from .probes import STALLS, TURN_PROBE, flow_probes
from .writes import FlowWrites


@dataclass(frozen=True)
class FlowEstimate(CycleEstimate):
    """Predicted counters of a run of a dataflow engine.

    Parameters
    ----------
    images, cycles, stall_pixels, array_busy, useful_macs, peak_macs
        As of `CycleEstimate`.
    stalls : dict of str to int
        As of `FlowCycles`.
    """

    stalls: dict[str, int]

    def stalled(self, cycles: int, waited: int) -> int:
        """Return the cycles that stalls of the ports cost: what the engine waits for a port overlaps with its work.

        Parameters
        ----------
        cycles, waited : int
            As of `CycleEstimate.stalled`.
        """
        return cycles - self.cycles


class FlowCase(BaseCase):
    """A case on a dataflow engine.

    Every named tensor is compared with stalls of the ports as well: operations come in the order of the slot table, and
    which turn of a lane takes the next image, the only thing that depends on when pixels come, is read off the engine.
    Cycles and stalls by cause are compared where no port stalls.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
    table : SlotTable, optional
        In place of the one that is shipped, or sought.
    verilog, stream, progress
        As of `BaseCase`.

    Attributes
    ----------
    program : FlowProgram
    """

    program: FlowProgram

    def __init__(
        self,
        network: IntNetwork,
        flow: FlowConfig,
        images: NDArray[np.uint8],
        *,
        table: SlotTable | None = None,
        verilog: str | None = None,
        stream: bytes | None = None,
        progress: Callable[[str], None] = lambda what: None,
    ):
        self.flow, self._table, self.in_flight = flow, table, flow.images
        super().__init__(network, FlowMachine(flow), images, verilog=verilog, stream=stream, progress=progress)

    @cached_property
    def cycles(self) -> FlowCycles:
        """When the images are answered if no stream ever stalls."""
        return self.program.cycles(len(self.images))

    @cached_property
    def estimate(self) -> FlowEstimate:
        """Cycles that the run takes with streams that never stall."""
        images, cycles = len(self.images), self.cycles
        return FlowEstimate(
            images=images,
            cycles=cycles.total,
            stall_pixels=0,
            array_busy=cycles.steps,
            useful_macs=images * useful_macs(self.program.layout.config),
            peak_macs=peak_macs(self.flow.engine),
            stalls=cycles.stalls,
        )

    @property
    def probes(self) -> list[Probe]:
        """What is compared."""
        return flow_probes(self.flow)

    def _compile(self) -> Sections:
        config = vit_only(self.network.config)
        self.program = FlowProgram(self.network, self.flow, self._table or table_of(config, self.flow))
        return self.program.words

    def _convert(self) -> str:
        return flow_verilog(self.flow)

    def _expected(self, *, stalls: bool) -> Expected:
        made = flow_expected.Expected(self.network, self.flow, self.reference.taps)

        def writes(traces: Traces) -> Iterator[tuple[int, Writes]]:
            taken = [bool(follows) for follows in traces[TURN_PROBE.name].keys[:, 0]]
            return FlowWrites(made).all(order(self.program, len(self.images), taken))

        return Expected(
            writes,
            self.reference.logits,
            {**self._registers, "ARRAY_BUSY": self.cycles.steps},
            self._axes,
            guides=(TURN_PROBE, STALLS),
            counters=_stalls,
            counted={} if stalls else self.cycles.stalls,
        )

    def _image_cycles(self) -> int:
        return max(self.cycles.answered)


def _stalls(traces: Traces) -> dict[str, int]:
    """Return the cycles without a step by cause, up to the last operation."""
    counts = traces[STALLS.name].keys
    return {cause.name.lower(): int(counts[-1, cause]) if len(counts) else 0 for cause in Cause}
