"""From a schedule to the instructions that the sequencer walks: delays, the block's loop, the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..engine.commands import MIN_DELAY, End, Instruction, Loop
from .graph import Graph
from .schedule import Scheduled, length


@dataclass(frozen=True)
class Section:
    """Operations that start from an idle engine, `repeat` times: those before the blocks, of a block, or after."""

    graph: Graph
    entries: tuple[Scheduled, ...]
    repeat: int = 1

    @cached_property
    def length_cycles(self) -> int:
        """Cycles from the section's first issue to the next section's."""
        # The section's own last instruction (loop or end) is issued one MIN_DELAY before the next section begins.
        return max(length(self.entries), self.entries[-1].issue + MIN_DELAY) + MIN_DELAY

    def __str__(self) -> str:
        head = f"{self.graph.name}: {len(self.entries)} operations, {self.length_cycles} cycles, {self.repeat} times"
        return "\n".join([head, *map(str, self.entries)])


Sections = tuple[Section, Section, Section]


def encode(sections: Sections, steps: Mapping[str, int]) -> tuple[Instruction, ...]:
    """Write the sections one after another, each ended by the instruction that goes on from it.

    Parameters
    ----------
    sections : tuple of Section
        Before the blocks, one block, after the blocks.
    steps : dict of str to int
        Words from one block's parameters to the next one's, by field of `Loop`.
    """
    before, block, after = sections
    program = _timed(before, None)
    program += _timed(block, Instruction(Loop(target=len(program), count=block.repeat, **steps)))
    return (*program, *_timed(after, Instruction(End())))


def _timed(section: Section, closing: Instruction | None) -> list[Instruction]:
    """Turn issue times into delays."""
    entries = section.entries
    closing_issue = section.length_cycles - (MIN_DELAY if closing else 0)
    issues = [*(entry.issue for entry in entries), closing_issue]
    program = [
        Instruction(entry.op.command, later - entry.issue) for entry, later in zip(entries, issues[1:], strict=True)
    ]
    return program + ([closing] if closing else [])
