"""How many cycles a run takes: exact for streams that never make the engine wait, and equal to its own counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..engine.words import WORD
from ..flow.config import FlowConfig
from ..flow.table import SlotTable
from ..network.config import ViTConfig
from .pass_program import PassProgram
from .program import FlowProgram, flow_cycles


@dataclass(frozen=True)
class CycleEstimate:
    """Predicted counters of one run of `images` images.

    Parameters
    ----------
    images : int
        Images of the run.
    cycles : int
        From the cycle after the start to that in which the last logit goes into the queue (register CYCLES).
    array_busy : int
        Cycles in which the array takes a step.
    useful_macs, peak_macs : int
        Binary products that the network needs, in all images; products that the array can do in one cycle.
    stalls : mapping of str to int
        Cycles without a step by `sim.timing.replay_state.Cause`, up to the last operation.
    """

    images: int
    cycles: int
    array_busy: int
    useful_macs: int
    peak_macs: int
    stalls: Mapping[str, int]

    @property
    def array_utilisation(self) -> float:
        """Useful products over those that the array could have done, 0 to 1."""
        return self.useful_macs / (self.cycles * self.peak_macs)

    @property
    def cycles_per_image(self) -> float:
        """Mean of the run."""
        return self.cycles / self.images


def estimate_cycles(program: FlowProgram | PassProgram, images: int) -> CycleEstimate:
    """Predict the engine's counters for `images` images with streams that are never late.

    The pixel source has a beat whenever the engine takes one, and the queue has room for the logits.

    Parameters
    ----------
    program : FlowProgram
        Compiled network.
    images : int
        Images of the run, 1 or more.
    """
    found = program.cycles(images)
    return CycleEstimate(
        images=images,
        cycles=found.total,
        array_busy=found.steps,
        useful_macs=images * program.useful_macs,
        peak_macs=peak_macs(program.flow),
        stalls=found.stalls,
    )


def long_run_cycles(config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int = 8) -> float:
    """Return the cycles from image to image in a long run: what images behind the first ones take, each.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int
        That are before those which count; twice as many count.

    Raises
    ------
    BivitError
        When the table locks up.
    """
    first, all_ = (flow_cycles(config, flow, table, count).total for count in (images, 3 * images))
    return (all_ - first) / (2 * images)


def useful_macs(config: ViTConfig) -> int:
    """Binary products of one image that the network needs, without any padding of tokens, channels or bits."""
    n, d, m = config.num_tokens, config.embed_dim, config.hidden_dim
    return config.depth * (n * d * (4 * d + 2 * m) + 2 * n * n * d)


def peak_macs(flow: FlowConfig) -> int:
    """Binary products of one cycle of a full array."""
    return flow.engine.rows * flow.engine.columns * WORD
