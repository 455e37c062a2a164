"""How many cycles a run takes: exact for streams that never make the engine wait, and equal to its own counters."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.commands import JUMP_DELAY, Embed, Matmul
from ..engine.config import EngineConfig
from ..engine.pixel_model import strip_ready_times
from ..engine.words import WORD
from ..network.config import ViTConfig
from .compiler import Program

#: From the cycle of the start (0) to that in which the buffer begins to count, and the first operation is chosen.
_BUFFER = 1
_FIRST = JUMP_DELAY
#: From the cycle in which an operation is chosen to its issue.
_ISSUE = 1


@dataclass(frozen=True)
class CycleEstimate:
    """Predicted counters of one run of `images` images.

    Parameters
    ----------
    images : int
        Images of the run.
    cycles : int
        From the cycle after the start to that in which the last logit goes into the queue (register CYCLES).
    stall_pixels : int
        Cycles of these that wait for pixels; a stream that never waits still needs time to bring a strip.
    array_busy : int
        Cycles in which the array takes a step.
    useful_macs, peak_macs : int
        Binary products that the network needs, in all images; products that the array can do in one cycle.
    """

    images: int
    cycles: int
    stall_pixels: int
    array_busy: int
    useful_macs: int
    peak_macs: int

    @property
    def array_utilisation(self) -> float:
        """Useful products over those that the array could have done, 0 to 1."""
        return self.useful_macs / (self.cycles * self.peak_macs)

    def stalled(self, cycles: int, waited: int) -> int:
        """Return the cycles of a run that stalls of the ports explain.

        Parameters
        ----------
        cycles : int
            That the run took.
        waited : int
            In which the engine waited for pixels or for room for logits, as it counts.
        """
        # The estimate holds the time that a stream needs to bring the pixels even when it never stalls.
        return waited - self.stall_pixels

    @property
    def cycles_per_image(self) -> float:
        """Mean of the run."""
        return self.cycles / self.images


def estimate_cycles(program: Program, images: int) -> CycleEstimate:
    """Predict the engine's counters for `images` images with streams that are never late.

    The pixel source has a beat whenever the engine takes one, and the queue has room for the logits. The program's
    times are fixed; what is added is the time that a strip of pixels takes to come in, beat by beat.

    Parameters
    ----------
    program : Program
        Compiled program.
    images : int
        Images of the run, 1 or more.
    """
    # Strips are read before the blocks, whose section begins with the image.
    embeds = [entry for entry in program.sections.embed.entries if isinstance(entry.op.command, Embed)]
    beats = program.layout.strip_beats
    releases: list[int] = []
    start, stalled = _FIRST, 0
    for _ in range(images):
        for entry in embeds:
            due = start + entry.issue
            ready = _BUFFER + strip_ready_times(beats, [release - _BUFFER for release in releases])[-1]
            wait = max(0, ready - due)
            stalled += wait
            start += wait
            releases.append(due + wait + _ISSUE + entry.op.uses.activity.windows["strip"][1] - 1)
        last_start = start
        start += program.image_cycles
    return CycleEstimate(
        images=images,
        cycles=last_start + _ISSUE + program.logits_cycle,
        stall_pixels=stalled,
        array_busy=images * array_steps(program),
        useful_macs=images * useful_macs(program.layout.config),
        peak_macs=peak_macs(program.layout.engine),
    )


def useful_macs(config: ViTConfig) -> int:
    """Binary products of one image that the network needs, without any padding of tokens, channels or bits."""
    n, d, m = config.num_tokens, config.embed_dim, config.hidden_dim
    return config.depth * (n * d * (4 * d + 2 * m) + 2 * n * n * d)


def array_steps(program: Program) -> int:
    """Cycles of one image in which the array takes a step."""
    return sum(
        section.repeat * entry.op.command.steps
        for section in program.sections
        for entry in section.entries
        if isinstance(entry.op.command, Matmul)
    )


def peak_macs(engine: EngineConfig) -> int:
    """Binary products of one cycle of a full array."""
    return engine.rows * engine.columns * WORD
