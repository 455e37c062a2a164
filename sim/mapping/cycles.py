"""How many cycles a run takes: exact for streams that never make the engine wait, and equal to its own counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..engine.words import WORD
from ..flow.config import FlowConfig
from ..flow.streams import TileShape
from ..flow.table import SlotTable
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.formats import Formats
from ..network.stage_view import stage_views
from .pass_program import PassSchedule, schedule_of
from .program import FlowProgram, flow_cycles
from .shipped import shipped_cycles, table_of

#: Images of a long run, of one with one image in flight, and of one with one image in the engine.
_LONG_RUN, _LONG_RUN_ALONE, _LONG_RUN_IN_TURN = 200, 48, 12
#: How often a pattern must be there in the second half of a run.
_REPEATS = 3


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


def estimate_cycles(program: FlowProgram | PassSchedule, images: int) -> CycleEstimate:
    """Predict the engine's counters for `images` images with streams that are never late.

    The pixel source has a beat whenever the engine takes one, and the queue has room for the logits.

    Parameters
    ----------
    program : FlowProgram or PassSchedule
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


def long_run_cycles(config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int | None = None) -> float:
    """Return the cycles from image to image in a long run, when what happens repeats itself.

    Images follow each other in a pattern of one or several; where none is found, it is the mean of its second half.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int, optional
        Of the run; by default many, fewer where one is in flight, behind which each does as the one before.

    Raises
    ------
    BivitError
        When the table locks up.
    """
    alone = _LONG_RUN_ALONE if flow.edge_banks else _LONG_RUN_IN_TURN
    answered = flow_cycles(config, flow, table, images or (_LONG_RUN if flow.images > 1 else alone)).answered
    return repeated(answered[: -flow.images - flow.edge_banks])  # those behind have no images that hinder them


def repeated(times: Sequence[int]) -> float:
    """Return the mean distance of the times behind the first half: in its pattern, where that repeats itself.

    Parameters
    ----------
    times : sequence of int
        Three or more.

    Examples
    --------
    >>> repeated([0, 90, 100, 103, 110, 113, 120, 123, 130, 133, 140, 143, 150])
    5.0
    """
    apart = [after - before for before, after in pairwise(times)]
    rest = apart[len(apart) // 2 :]
    periods = range(1, len(rest) // _REPEATS + 1)
    period = next((one for one in periods if rest[one:] == rest[:-one]), len(rest))
    return sum(rest[:period]) / period


def interval_of(program: FlowProgram | PassSchedule) -> float:
    """Return the cycles from image to image in a long run of a program: as `long_run_cycles`, in whole groups.

    Parameters
    ----------
    program : FlowProgram or PassSchedule

    Raises
    ------
    BivitError
        When a table locks up.
    """
    if isinstance(program, FlowProgram):
        return long_run_cycles(program.layout.config, program.flow, program.table)
    return _interval(lambda count: program.cycles(count).total, 2 * program.group)


def speed_of(config: ModelConfig, formats: Formats, flow: FlowConfig) -> tuple[int, float]:
    """Return the cycles of one image, and of an image among others, of a network on an engine that runs it.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig

    Raises
    ------
    BivitError
        When a table locks up.
    """
    found = shipped_cycles(config, flow)
    if found is not None:
        return found
    if flow.windows is not None:
        schedule = schedule_of(config, formats, flow)
        return schedule.cycles(1).total, interval_of(schedule)
    shape = vit_only(config)
    table = table_of(shape, flow)
    return flow_cycles(shape, flow, table, 1).total, long_run_cycles(shape, flow, table)


def _interval(total: Callable[[int], int], images: int) -> float:
    """Return the cycles an image of those that come behind the first ones, by the cycles of a run of so many."""
    return (total(3 * images) - total(images)) / (2 * images)


def useful_macs(config: ModelConfig) -> int:
    """Binary products of one image that the network needs, without any padding of tokens, channels or bits."""
    # Rows and columns of an array only pad.
    return sum(view.depth * view.windows * TileShape(view, 1, 1).useful for view in stage_views(config))


def peak_macs(flow: FlowConfig) -> int:
    """Binary products of one cycle of a full array."""
    return flow.engine.rows * flow.engine.columns * WORD
