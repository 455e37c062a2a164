"""The compiler: a network's shape and an engine become a program with the issue time of every operation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..engine.commands import MIN_DELAY, End, Instruction, Loop, Matmul, Output
from ..engine.config import EngineConfig
from ..engine.words import WORD
from ..errors import BivitError
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.formats import Formats
from .layout import Layout
from .operations import Operations
from .schedule import Op, Scheduled, check_schedule, length, schedule

if TYPE_CHECKING:  # compiling needs shapes only, and starts without the reference and its kernels
    from ..network.network import IntNetwork


@dataclass(frozen=True)
class Section:
    """Operations that start from an idle engine, `repeat` times: those before the blocks, of a block, or after."""

    entries: tuple[Scheduled, ...]
    length_cycles: int
    repeat: int = 1


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Parameters
    ----------
    layout : Layout
        Network shape, engine, and addresses.
    sections : tuple of Section
        Before the blocks, one block, after the blocks.
    instructions : tuple of Instruction
        What the sequencer walks.
    """

    layout: Layout
    sections: tuple[Section, Section, Section]
    instructions: tuple[Instruction, ...]

    @property
    def image_cycles(self) -> int:
        """Cycles from the first issue of one image to that of the next, if no stream ever stalls."""
        return sum(section.length_cycles * section.repeat for section in self.sections)

    @property
    def logits_cycle(self) -> int:
        """Cycle in which the last logit is queued, from the first issue of its image, if no stream ever stalls."""
        before, block, after = self.sections
        start = before.length_cycles * before.repeat + block.length_cycles * block.repeat
        output = next(entry for entry in after.entries if isinstance(entry.op.command, Output))
        return start + output.issue + output.op.activity.windows["logits.write"][1] - 1

    def unrolled(self) -> list[Scheduled]:
        """All operations of one image, issue cycles from the first one's, blocks numbered."""
        entries, start, blocks = [], 0, self.sections[1]
        for section in self.sections:
            for k in range(section.repeat):
                block = k if section is blocks else None
                for entry in section.entries:
                    entries.append(Scheduled(replace(entry.op, block=block), entry.issue + start))
                start += section.length_cycles
        return entries

    def words(self) -> list[int]:
        """Instruction words of the program memory."""
        return [instruction.encode() for instruction in self.instructions]


def compile_network(network: IntNetwork, engine: EngineConfig) -> Program:
    """Compile an integer network for `engine`; see `compile_program`."""
    shift = int(network.tensors["patch_embed.proj.shift"][0])
    return compile_program(network.config, network.formats, engine, patch_shift=shift)


def compile_program(config: ModelConfig, formats: Formats, engine: EngineConfig, *, patch_shift: int = 1) -> Program:
    """Compile a network of `config` for `engine`; times do not depend on `patch_shift` or any other parameter.

    The schedule is in order, one tile at a time on the array; an operation starts as soon as its operands are there
    and its ports are free. Between blocks the engine drains. No program leaves here whose schedule `check_schedule`
    has not looked at.

    Raises
    ------
    BivitError
        When the network is of another family than `vit`, or does not fit the engine, naming the limit.
    """
    config = vit_only(config)
    layout = Layout(config, formats, engine)
    operations = Operations(layout, patch_shift)
    before = _section(operations.before())
    block = _section(operations.block(), repeat=config.depth)
    after = _section(operations.after())
    sections = (before, block, after)
    instructions = _instructions(sections, layout)
    if len(instructions) > engine.program_words:
        raise BivitError(
            f"the program has {len(instructions)} instructions, the engine holds {engine.program_words} "
            "(program_words); "
            "choose an engine with more rows or a larger program memory"
        )
    return Program(layout, sections, instructions)


def _section(ops: list[Op], repeat: int = 1) -> Section:
    placed = schedule(ops)
    check_schedule(placed)
    # The section's own last instruction (loop or end) is issued one MIN_DELAY before the next section begins.
    cycles = max(length(placed), placed[-1].issue + MIN_DELAY) + MIN_DELAY
    return Section(tuple(placed), cycles, repeat)


def _instructions(sections: tuple[Section, Section, Section], layout: Layout) -> tuple[Instruction, ...]:
    """Write the sections one after another, each ended by the instruction that goes on from it."""
    before, block, after = sections
    program = _timed(before, None)
    loop = Instruction(Loop(target=len(program), count=block.repeat, **layout.block_steps()))
    program += _timed(block, loop)
    program += _timed(after, Instruction(End()))
    return tuple(program)


def _timed(section: Section, closing: Instruction | None) -> list[Instruction]:
    """Turn issue times into delays."""
    entries = section.entries
    closing_issue = section.length_cycles - (MIN_DELAY if closing else 0)
    issues = [*(entry.issue for entry in entries), closing_issue]
    program = [
        Instruction(entry.op.command, later - entry.issue) for entry, later in zip(entries, issues[1:], strict=True)
    ]
    return program + ([closing] if closing else [])


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
