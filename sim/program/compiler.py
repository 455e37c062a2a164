"""The compiler: a network's shape and an engine become a program with the issue time of every operation.

In stages, each a value that can be printed: graphs of tasks, their place, the schedule of each section, and the
instructions. No program leaves here whose schedule and addresses have not been checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine.commands import JUMP_DELAY, Output
from ..engine.config import EngineConfig
from ..engine.instructions import Instruction
from ..errors import check
from ..network.config import ModelConfig, vit_only
from ..network.formats import Formats
from .check import check_capacity, check_schedule
from .encode import Section, Sections, encode_core, encode_edge
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
    sections : Sections
        Graph and schedule of each section of an image.
    instructions, edge_instructions : tuple of Instruction
        What the sequencers of the core and of the edge walk.
    """

    layout: Layout
    place: Place
    sections: Sections
    instructions: tuple[Instruction, ...]
    edge_instructions: tuple[Instruction, ...]

    @property
    def image_cycles(self) -> int:
        """Cycles from the first issue of one image to that of the next, if no stream ever stalls."""
        return self.sections.starts()[-1] + self.sections.answer.length_cycles

    @property
    def logits_cycle(self) -> int:
        """Cycle in which the last logit is queued, from the first issue of its image, if no stream ever stalls."""
        output = next(entry for entry in self.unrolled() if isinstance(entry.op.command, Output))
        return output.issue + output.op.uses.activity.windows["logits.write"][1] - 1

    def unrolled(self) -> Iterator[Scheduled]:
        """All operations of one image, issue cycles from the first one's, blocks numbered."""
        for section, start in zip(self.sections, self.sections.starts(), strict=True):
            for number in range(section.repeat):
                block = number if section is self.sections.block else None
                first = start + number * section.length_cycles
                yield from (Scheduled(entry.op, entry.issue + first, block) for entry in section.entries)

    def words(self) -> list[int]:
        """Instruction words of the core's program memory."""
        return [instruction.encode() for instruction in self.instructions]

    def edge_words(self) -> list[int]:
        """Instruction words of the edge's program memory."""
        return [instruction.encode() for instruction in self.edge_instructions]

    def __str__(self) -> str:
        stages = [*(section.graph for section in self.sections), self.place, *self.sections]
        return "\n\n".join(
            [
                f"{len(self.instructions)} + {len(self.edge_instructions)} instructions, {self.image_cycles} cycles",
                *map(str, stages),
            ]
        )


def compile_network(
    network: IntNetwork, engine: EngineConfig, *, policy: Policy | None = None, fill_gaps: bool = False
) -> Program:
    """Compile an integer network for `engine`; see `compile_program`."""
    shift = int(network.tensors["patch_embed.proj.shift"][0])
    config, formats = network.config, network.formats
    return compile_program(config, formats, engine, patch_shift=shift, policy=policy, fill_gaps=fill_gaps)


def compile_program(
    config: ModelConfig,
    formats: Formats,
    engine: EngineConfig,
    *,
    patch_shift: int = 1,
    policy: Policy | None = None,
    fill_gaps: bool = False,
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
    fill_gaps : bool
        Whether operations of the core, which nothing stalls, may use a port before others that were issued earlier.
        Those of the edge, which waits for pixels and for room for logits, never do.

    Raises
    ------
    BivitError
        When the network is of another family than `vit`, or does not fit the engine, naming the limit.
    """
    layout = Layout(vit_only(config), formats, engine)
    place = Place(layout)
    embed, block, last, answer = network_graphs(layout, patch_shift)
    edge, core = _Compiled(place, policy, may_stall=True), _Compiled(place, policy, may_stall=False, fill=fill_gaps)
    sections = Sections(
        embed=edge.section(embed, closing=0),
        block=core.section(block, repeat=layout.config.depth),
        last=core.section(last, closing=0),
        answer=edge.section(answer),
    )
    program = Program(layout, place, sections, encode_core(sections, place.block_steps()), encode_edge(sections))
    for what, found, field, most in (
        ("core", program.instructions, "program_words", engine.program_words),
        ("edge", program.edge_instructions, "edge_words", engine.edge_words),
    ):
        check(
            len(found) <= most,
            f"the program of the {what} has {len(found)} instructions, the engine holds {most} ({field}); "
            "choose an engine with more rows or a larger program memory",
        )
    return program


@dataclass(frozen=True)
class _Compiled:
    """Makes the sections of one process: what streams can stall may not fill gaps."""

    place: Place
    policy: Policy | None
    may_stall: bool
    fill: bool = False

    def section(self, graph: Graph, *, repeat: int = 1, closing: int = JUMP_DELAY) -> Section:
        """Place, schedule and check the tasks of a section."""
        place = self.place
        ops = [place.realise(task) for task in graph.tasks]
        placed = schedule(ops, self.policy, may_stall=self.may_stall or not self.fill)
        check_schedule(placed, may_stall=self.may_stall, listed=graph.tasks)
        steps = {memory: place.block_words(memory) for memory in place.params}
        check_capacity(place.engine, ops, steps, repeat)
        return Section(graph, tuple(placed), repeat, closing)
