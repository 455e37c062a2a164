"""The compiler: a network's shape and an engine become a program with the issue time of every operation.

In stages, each a value that can be printed: graphs of tasks, their place, the schedule of each section, and the
instructions. No program leaves here whose schedule and addresses have not been checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine.commands import Instruction, Output
from ..engine.config import EngineConfig
from ..errors import check
from ..network.config import ModelConfig, vit_only
from ..network.formats import Formats
from .check import check_capacity, check_schedule
from .encode import Section, Sections, encode
from .graph import Graph
from .layout import Layout
from .place import Place
from .schedule import Policy, Scheduled, schedule
from .tasks import network_graphs

if TYPE_CHECKING:  # compiling needs shapes only, and starts without the reference and its kernels
    from ..network.network import IntNetwork


@dataclass(frozen=True)
class Program:
    """A compiled program: what each stage of the compiler made.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.
    place : Place
        Where values and parameters lie.
    sections : tuple of Section
        Before the blocks, one block, after the blocks: graph and schedule.
    instructions : tuple of Instruction
        What the sequencer walks.
    """

    layout: Layout
    place: Place
    sections: Sections
    instructions: tuple[Instruction, ...]

    @property
    def image_cycles(self) -> int:
        """Cycles from the first issue of one image to that of the next, if no stream ever stalls."""
        return sum(section.length_cycles * section.repeat for section in self.sections)

    @property
    def logits_cycle(self) -> int:
        """Cycle in which the last logit is queued, from the first issue of its image, if no stream ever stalls."""
        output = next(entry for entry in self.unrolled() if isinstance(entry.op.command, Output))
        return output.issue + output.op.uses.activity.windows["logits.write"][1] - 1

    def unrolled(self) -> Iterator[Scheduled]:
        """All operations of one image, issue cycles from the first one's, blocks numbered."""
        start, blocks = 0, self.sections[1]
        for section in self.sections:
            for number in range(section.repeat):
                block = number if section is blocks else None
                yield from (Scheduled(entry.op, entry.issue + start, block) for entry in section.entries)
                start += section.length_cycles

    def words(self) -> list[int]:
        """Instruction words of the program memory."""
        return [instruction.encode() for instruction in self.instructions]

    def __str__(self) -> str:
        stages = [*(section.graph for section in self.sections), self.place, *self.sections]
        return "\n\n".join([f"{len(self.instructions)} instructions, {self.image_cycles} cycles", *map(str, stages)])


def compile_network(network: IntNetwork, engine: EngineConfig, *, policy: Policy | None = None) -> Program:
    """Compile an integer network for `engine`; see `compile_program`."""
    shift = int(network.tensors["patch_embed.proj.shift"][0])
    return compile_program(network.config, network.formats, engine, patch_shift=shift, policy=policy)


def compile_program(
    config: ModelConfig,
    formats: Formats,
    engine: EngineConfig,
    *,
    patch_shift: int = 1,
    policy: Policy | None = None,
    may_stall: bool = True,
) -> Program:
    """Compile a network of `config` for `engine`; times do not depend on `patch_shift` or any other parameter.

    An operation starts as soon as its operands are there and its ports are free. Between blocks the engine drains.

    Parameters
    ----------
    config, formats, engine : ModelConfig, Formats, EngineConfig
        Shape of the network, and what it runs on.
    patch_shift : int
        Shift of the patch embedding, n (semantics.md, 1).
    policy : Policy, optional
        Which ready operation is issued next; without it, the one that is listed next.
    may_stall : bool
        Whether the engine may pause between any two issues of a block; if not, gaps of ports are filled. The edges
        may always: they wait for pixels, and for room for logits.

    Raises
    ------
    BivitError
        When the network is of another family than `vit`, or does not fit the engine, naming the limit.
    """
    layout = Layout(vit_only(config), formats, engine)
    place = Place(layout)
    before, block, after = network_graphs(layout, patch_shift)
    sections = (
        _section(before, place, policy),
        _section(block, place, policy, repeat=layout.config.depth, may_stall=may_stall),
        _section(after, place, policy),
    )
    instructions = encode(sections, place.block_steps())
    check(
        len(instructions) <= engine.program_words,
        f"the program has {len(instructions)} instructions, the engine holds {engine.program_words} (program_words); "
        "choose an engine with more rows or a larger program memory",
    )
    return Program(layout, place, sections, instructions)


def _section(graph: Graph, place: Place, policy: Policy | None, *, repeat: int = 1, may_stall: bool = True) -> Section:
    """Place, schedule and check the tasks of a section."""
    ops = [place.realise(task) for task in graph.tasks]
    placed = schedule(ops, policy, may_stall=may_stall)
    check_schedule(placed, may_stall=may_stall, listed=graph.tasks)
    steps = {memory: place.block_words(memory) for memory in place.params}
    check_capacity(place.engine, ops, steps, repeat)
    return Section(graph, tuple(placed), repeat)
