"""Sums of products of the patch embedding and of the classifier."""

from __future__ import annotations

from itertools import cycle

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import CHOICES, PIXEL_BITS, EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, read_port
from .dense_block import Choose, DenseBlock
from .pair_block import PairBlock, Unpair, group_layout
from .step_walk import StepWalk

_BITS = dict(EDGE_SETTINGS)


class Products(Component):
    """Pixels of the patches of a pass, or y, times a word of weights a step, for a group of channels after the other.

    Timing: the first step is one cycle after `patches` or `classify`, a step a cycle; see `EdgeUnit` for the stages.
        A chunk follows its place by `EdgeUnit.chunk_stage`, and is right from the cycle after `captured` on until as
        many cycles after the next `captured`.
    Numerics: exact; sums fit `EdgeUnit.acc_bits`.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    patches, classify : In(1)
        Begin a pass, or the classes of an image; where not `active`.
    settings : In
        `EDGE_SETTINGS`.
    active : Out(1)
        A group is at work.
    pixel, pixels : Out, In
        Number of a pixel of the patches; these, `EdgeUnit.input_stage` cycles later.
    y : Out(read_port)
        Reader of y, one cycle of latency.
    patches_read, y_read : Out(1)
        The last pixels of a pass, or the last y, are being read.
    captured : Out(1)
        The sums of a group can be addressed from the next cycle on.
    patch, chunk : In
        Of the sums, a patch of the pass and a chunk of the group.
    sums : Out
        What is there.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                "patches": In(1),
                "classify": In(1),
                "settings": In(data.StructLayout(_BITS)),
                **{name: Out(1) for name in ("active", "patches_read", "y_read", "captured")},
                "pixel": Out(_BITS["patch_steps"]),
                "pixels": In(data.ArrayLayout(8, unit.patches)),
                "y": Out(read_port(unit.y_addr_bits, signed(unit.y_bits))),
                "patch": In(max(1, (unit.patches - 1).bit_length())),
                "chunk": In(max(1, (unit.group_chunks - 1).bit_length())),
                "sums": Out(unit.chunk * unit.acc_bits),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Walk, read inputs and weights, multiply; choose a chunk of all sums."""
        m = Module()
        u, settings = self.unit, self.settings
        m.submodules.walk = walk = StepWalk()
        classifies = Signal()  # what was begun last
        with m.If(self.patches | self.classify):
            m.d.sync += connect(classifies, self.classify)
        m.d.comb += [
            walk.start.eq(self.patches | self.classify),
            *(
                getattr(walk, name).eq(Mux(self.classify, settings[f"class_{name}"], settings[f"patch_{name}"]))
                for name in ("groups", "steps", "cycles")
            ),
            walk.weight_start.eq(Mux(self.classify, settings.class_weights, 0)),
            connect(self.active, walk.active),
            *(connect_address(self.pixel, walk.input), connect_address(self.y.addr, walk.input)),
            self.patches_read.eq(walk.final & ~classifies),
            self.y_read.eq(walk.final & classifies),
            self.captured.eq(delay_flag(m, walk.last, u.captured_stage, "captured_line")),
        ]
        blocks = self._blocks(m, walk, classifies)
        if u.paired:
            m.submodules.unpair = unpair = Unpair(u)
            m.d.comb += connect(self.sums, unpair.sums.as_value())
            self._choose(m, [group_of(u, one) for one in blocks], unpair.group.as_value())
        else:
            self._choose(m, [_widened(one.sums, one.acc_bits, u.acc_bits) for one in blocks], self.sums)
        return m

    def _blocks(self, m: Module, walk: StepWalk, classifies: Signal) -> list[DenseBlock | PairBlock]:
        """Give inputs and weights, in `input_stage`, to the blocks of each patch; return all blocks."""
        u = self.unit
        m.submodules.dense_weights = memory = LoadableMemory(u.load_memories["dense_weights"])
        y = delayed(m, self.y.data, u.input_stage - 1, "y_delay")
        first = delay_flag(m, walk.first, u.input_stage, "first_line")
        last = delay_flag(m, walk.last, u.input_stage, "last_line")
        m.d.comb += [
            *(connect(memory.load, self.load), connect(memory.bank, self.bank)),
            connect_address(memory.r_addr, delayed(m, walk.weight, u.input_stage - 1, "weight_delay")),
        ]
        blocks: list[DenseBlock | PairBlock] = []
        for patch in range(u.patches):
            pixel = self.pixels[patch]
            for at in range(0, u.group_chunks, CHOICES):
                chunks = min(CHOICES, u.group_chunks - at)
                # The classifier uses the first patch, whose inputs and sums are wider.
                widths = (PIXEL_BITS, u.patch_bits) if patch else (u.y_bits, u.acc_bits)
                paired = bool(patch) and u.paired
                block = PairBlock(u, chunks) if paired else DenseBlock(chunks, u.chunk, *widths)
                m.submodules[f"block{patch}_{at // CHOICES}"] = block
                lanes = slice(at * u.chunk * DENSE_WEIGHT_BITS, (at + chunks) * u.chunk * DENSE_WEIGHT_BITS)
                m.d.comb += [
                    block.input.eq(pixel if patch else Mux(classifies, y, pixel)),
                    connect(block.weights.as_value(), memory.r_data[lanes]),
                    *(block.first.eq(first), block.last.eq(last)),
                    block.chunk.eq(self.chunk[: (CHOICES - 1).bit_length()]),
                ]
                blocks.append(block)
        return blocks

    def _choose(self, m: Module, words: list[Value], chosen: Value) -> None:
        """Number of the block, beside the block's own choice, then of all blocks' words one."""
        u = self.unit
        m.submodules.choose = choose = Choose(len(words[0]), len(words))
        patch, block = Signal.like(choose.number, reset_less=True), Signal.like(choose.number, reset_less=True)
        number = Signal.like(choose.number, reset_less=True)
        m.d.sync += [
            patch.eq(self.patch * u.patch_blocks),
            block.eq(self.chunk >> (CHOICES - 1).bit_length()),
            number.eq(patch + block),
        ]
        m.d.comb += [connect(choose.number, number), connect(chosen, choose.word)]
        for at, word in enumerate(words):
            m.d.comb += choose.words[at].eq(word)


def group_of(unit: EdgeUnit, block: DenseBlock | PairBlock) -> Value:
    """Sums of a block as `group_layout`."""
    if isinstance(block, PairBlock):
        return block.sums.as_value()
    pairs = _widened(block.sums, block.acc_bits, unit.pair_bits, unit.acc_bits)
    return Cat(pairs, Const(0, group_layout(unit).size - len(pairs)))


def _widened(sums: Value, bits: int, *wide: int) -> Value:
    """Sums of so many bits, sign-extended to these widths in turn."""
    parts = [sums.word_select(k, bits) for k in range(len(sums) // bits)]
    return Cat(Cat(part, part[-1].replicate(to - bits)) for part, to in zip(parts, cycle(wide), strict=False))
