"""From a schedule to the instructions that the two sequencers walk: delays, the block's loop, where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..engine.commands import JUMP_DELAY, MIN_DELAY, End, Loop, Tell, Wait
from ..engine.instructions import Instruction
from .graph import Graph
from .schedule import Scheduled, length

#: From the cycle in which one process tells to that in which the first operation of the other is chosen: the flag, the
#: other's `wait`, and the delay behind it.
HANDOVER = 1 + MIN_DELAY


@dataclass(frozen=True)
class Section:
    """Operations of one process that start when all before them have ended, `repeat` times.

    Parameters
    ----------
    graph : Graph
        What is to be done.
    entries : tuple of Scheduled
        When it is.
    repeat : int
        How often.
    closing : int
        Cycles from the section's own last instruction to what follows; 0 where the process tells.
    """

    graph: Graph
    entries: tuple[Scheduled, ...]
    repeat: int = 1
    closing: int = JUMP_DELAY

    @cached_property
    def length_cycles(self) -> int:
        """Cycles from the section's first issue to the next section's, or to the cycle in which the process tells."""
        return max(length(self.entries), self.entries[-1].issue + MIN_DELAY) + self.closing

    def __str__(self) -> str:
        head = f"{self.graph.name}: {len(self.entries)} operations, {self.length_cycles} cycles, {self.repeat} times"
        return "\n".join([head, *map(str, self.entries)])


class Sections(NamedTuple):
    """An image in the order of time; where the process changes, `HANDOVER` cycles pass.

    The edge embeds, the core goes through the blocks and the last norm, the edge answers.
    """

    embed: Section
    block: Section
    last: Section
    answer: Section

    def starts(self) -> tuple[int, int, int, int]:
        """First cycle of each section, from the first of the image; of a block, that of its first repetition."""
        block = self.embed.length_cycles + HANDOVER
        last = block + self.block.length_cycles * self.block.repeat
        return 0, block, last, last + self.last.length_cycles + HANDOVER


def encode_core(sections: Sections, steps: Mapping[str, int]) -> tuple[Instruction, ...]:
    """Write the core's program: wait for an image, go through its blocks and the last norm, tell.

    Parameters
    ----------
    sections : Sections
        Of the image.
    steps : dict of str to int
        Words from one block's parameters to the next one's, by field of `Loop`.
    """
    program = [Instruction(Wait())]
    program += _timed(sections.block, Instruction(Loop(target=len(program), count=sections.block.repeat, **steps)))
    return (*program, *_timed(sections.last, Instruction(Tell())), Instruction(End()))


def encode_edge(sections: Sections) -> tuple[Instruction, ...]:
    """Write the edge's program: embed an image, tell, wait for its last norm, answer."""
    embed, answer = _timed(sections.embed, Instruction(Tell())), _timed(sections.answer, Instruction(End()))
    return (*embed, Instruction(Wait()), *answer)


def _timed(section: Section, last: Instruction) -> list[Instruction]:
    """Turn issue times into delays; `last` ends the section."""
    entries = section.entries
    issues = [*(entry.issue for entry in entries), section.length_cycles - section.closing]
    program = [
        Instruction(entry.op.command, later - entry.issue) for entry, later in zip(entries, issues[1:], strict=True)
    ]
    return [*program, last]
