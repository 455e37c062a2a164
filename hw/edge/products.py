"""Sums of products of the patch embedding and of the classifier."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import CHOICES, SHARED_BITS
from ...sim.flow.edge import PIXEL_BITS, EdgeUnit
from ...sim.flow.edge_lines import PACES, EdgeLinesUnit, Line
from ...sim.flow.edge_settings import EDGE_SETTINGS, edge_setting_bits
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..flow.line_ports import line_ports
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, read_port
from .dense_block import Choose, DenseBlock
from .pair_block import PairBlock, Unpair
from .step_pace import StepPace
from .step_walk import StepWalk

_BITS = dict(EDGE_SETTINGS)
#: Multipliers of some chunks of a patch.
Block = DenseBlock | PairBlock


class Products(Component):
    """Pixels of the patches of a pass, or y, times a word of weights a step, for a group of channels after the other.

    Timing: the first step is one cycle after `patches` or `classify`, a step a cycle; see `EdgeUnit` for the stages.
        The sums of a group leave from the cycle after `captured` on, in their order: a chunk follows its place by
        `EdgeUnit.chunk_stage`, and `shift` in the same cycle lets the next one of the first patch, or of all others,
        follow. They wait, with the multipliers, `EdgeUnit.leave_cycles` or `channels` cycles behind a group's steps.
        With streamed `edge_weights` a step of the classifier is taken at its pace, when its word is there; and so is
        one of a pass with streamed `patch_weights`.
    Numerics: exact; sums fit `EdgeUnit.acc_bits`.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    patches, classify : In(1)
        Begin a pass, or the classes of an image; where not `active`.
    classes : In(1)
        It is classes that would begin in this cycle; known before it is known whether anything begins.
    settings : In
        `edge_setting_bits`.
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
    patch, chunk, shift : In
        Place of the chunk that leaves, a patch of the pass and a chunk of the group; the next one comes behind it.
    sums : Out
        What is there.
    classes_read, classes_given, patch_weights_read, patch_weights_given : Out(line_ports)
        With streamed `edge_weights`, and with streamed `patch_weights`: reader of the weights, and who takes them.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **line_ports(unit.flow, Out, *PACES),
                "patches": In(1),
                "classify": In(1),
                "classes": In(1),
                "settings": In(data.StructLayout(edge_setting_bits(unit.flow))),
                **{name: Out(1) for name in ("active", "patches_read", "y_read", "captured")},
                "pixel": Out(_BITS["patch_steps"]),
                "pixels": In(data.ArrayLayout(8, unit.patches)),
                "y": Out(read_port(unit.y_addr_bits, signed(unit.y_bits))),
                "patch": In(max(1, (unit.patches - 1).bit_length())),
                "chunk": In(max(1, (unit.group_chunks - 1).bit_length())),
                "shift": In(1),
                "sums": Out(unit.chunk * unit.acc_bits),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Walk, read inputs and weights, multiply; let the sums leave."""
        m = Module()
        u, settings = self.unit, self.settings
        m.submodules.walk = walk = StepWalk(waits=u.flow.edge_streamed)
        classifies = Signal()  # what was begun last
        with m.If(self.patches | self.classify):
            m.d.sync += connect(classifies, self.classes)
        m.d.comb += [
            walk.start.eq(self.patches | self.classify),
            *(
                getattr(walk, name).eq(Mux(self.classes, settings[f"class_{name}"], settings[f"patch_{name}"]))
                for name in ("groups", "steps", "cycles")
            ),
            walk.weight_start.eq(0 if u.flow.edge_streamed else Mux(self.classes, settings.class_weights, 0)),
            connect(self.active, walk.active),
            *(connect_address(self.pixel, walk.input), connect_address(self.y.addr, walk.input)),
            self.patches_read.eq(walk.final & ~classifies),
            self.y_read.eq(walk.final & classifies),
            self.captured.eq(delay_flag(m, walk.last, u.captured_stage, "captured_line")),
        ]
        first, *others = self._blocks(m, walk, classifies)
        self._leave(m, first, [block for blocks in others for block in blocks])
        return m

    def _weights(self, m: Module, walk: StepWalk, classifies: Signal) -> tuple[Value, Value]:
        """Return a step's weights behind `input_stage`, of a pass and of the classifier; let it wait for them."""
        flow = self.unit.flow
        if not flow.edge_streamed:
            loaded = self._loaded(m, walk)
            return loaded, loaded
        classes, goes = self._line(m, Line.CLASSES, walk.wants & classifies, self.classes_read, self.classes_given)
        patches: Value
        if flow.patch_streamed:
            ports = self.patch_weights_read, self.patch_weights_given
            patches, steps = self._line(m, Line.PATCH_WEIGHTS, walk.wants & ~classifies, *ports)
        else:
            patches, steps = self._loaded(m, walk), ~classifies
        m.d.comb += walk.goes.eq(goes | steps)
        return patches, classes

    def _loaded(self, m: Module, walk: StepWalk) -> Value:
        """Read the memory of weights."""
        m.submodules.dense_weights = memory = LoadableMemory(self.unit.load_memories["dense_weights"])
        m.d.comb += [
            *(connect(memory.load, self.load), connect(memory.bank, self.bank)),
            connect_address(memory.r_addr, delayed(m, walk.weight, self.unit.input_stage, "weight_delay")),
        ]
        return memory.r_data

    def _line(self, m: Module, line: Line, wants: Value, read: Any, given: Any) -> tuple[Value, Value]:
        """Take steps as their weights come, at the line's pace; return the weights, and that a step is taken."""
        unit, name = EdgeLinesUnit(self.unit.flow), line.name.lower()
        cycles, stage = self.settings[PACES[line]], self.unit.input_stage
        m.submodules[f"{name}_pace"] = pace = StepPace(len(cycles), len(given.level))
        step, takes = Signal.like(read.addr, name=f"{name}_step"), Signal(name=f"takes_{name}")
        m.d.comb += [
            *(connect(pace.pace, cycles), connect(pace.level, given.level), connect(pace.wants, wants)),
            *(takes.eq(pace.goes), connect(given.take, takes), given.count.eq(1), connect(given.waits, pace.waits)),
            connect(read.addr, delayed(m, step, stage + 1 - unit.read_cycles(line), f"{name}_delay")),
            connect(read.freed, delay_flag(m, takes, stage + 1, f"{name}_freed")),
        ]
        m.d.sync += step.eq(step + takes)
        return read.data, pace.goes

    def _blocks(self, m: Module, walk: StepWalk, classifies: Signal) -> list[list[Block]]:
        """Give inputs and weights, in `input_stage` and behind it, to the blocks of each patch; return all blocks."""
        u = self.unit
        y = delayed(m, self.y.data, u.input_stage - 1, "y_delay")
        flags = {name: delay_flag(m, getattr(walk, name), u.input_stage, f"{name}_line") for name in ("first", "en")}
        of_pass, of_classes = self._weights(m, walk, classifies)
        blocks: list[list[Block]] = []
        for patch in range(u.patches):
            pixel = self.pixels[patch]
            blocks.append([])
            for at in range(0, u.group_chunks, CHOICES):
                chunks = min(CHOICES, u.group_chunks - at)
                # The classifier uses the first patch, whose inputs and sums are wider.
                widths = (PIXEL_BITS, u.patch_bits) if patch else (u.y_bits, u.acc_bits)
                block: Block
                if patch and u.paired:
                    block = PairBlock(u, chunks)
                else:
                    block = DenseBlock(chunks, u.chunk, *widths, in_luts=not u.flow.products_per_dsp)
                m.submodules[f"block{patch}_{at // CHOICES}"] = block
                weights = of_pass if patch or of_classes is of_pass else Mux(classifies, of_classes, of_pass)
                lanes = slice(at * u.chunk * DENSE_WEIGHT_BITS, (at + chunks) * u.chunk * DENSE_WEIGHT_BITS)
                m.d.comb += [
                    block.input.eq(pixel if patch else Mux(classifies, y, pixel)),
                    connect(block.weights.as_value(), weights[lanes]),
                    *(connect(block.first, flags["first"]), connect(block.add, flags["en"])),
                ]
                blocks[-1].append(block)
        return blocks

    def _leave(self, m: Module, first: list[Block], others: list[Block]) -> None:
        """Chain the first patch's blocks, and all others; give the chunk that leaves the chain of its patch."""
        u = self.unit
        of_first = Signal(name="of_first")
        m.d.comb += of_first.eq(self.patch == 0)
        words = [_chain(m, first, self.shift & of_first, "first")]
        words += [_chain(m, others, self.shift & ~of_first, "others")] if others else []
        of_first_3 = delayed(m, of_first, 3, "of_first_delay")
        plain = Cat(_widened(words[0][lane], u.acc_bits) for lane in range(u.chunk))
        if u.paired:
            self._part(m, plain, words[1], of_first_3, others)
            return
        last = Cat(_widened(words[-1][lane], u.acc_bits) for lane in range(u.chunk))
        sums = Signal(len(plain), reset_less=True)
        m.d.sync += sums.eq(Mux(of_first_3, plain, last))
        m.d.comb += connect(self.sums, sums)

    def _part(self, m: Module, plain: Value, pairs: Value, of_first: Value, others: list[Block]) -> None:
        """Bring what is beside a chunk's pairs to them, and part them."""
        u = self.unit
        m.submodules.unpair = unpair = Unpair(u)
        width = unpair.group.pairs.as_value().shape().width
        word = Signal(width, name="word_4", reset_less=True)
        halves = Cat(
            _widened(half, u.acc_bits)
            for lane in range(u.chunk // 2)
            for half in (Cat(pairs[lane][:SHARED_BITS], Const(0, 1)).as_signed(), pairs[lane][SHARED_BITS:].as_signed())
        )
        m.d.sync += word.eq(Mux(of_first, plain, halves))
        m.submodules.choose = choose = Choose(len(beside_of(others[0])), len(others))
        patch, block = (Signal.like(choose.number, name=name, reset_less=True) for name in ("patch", "block"))
        number = Signal.like(choose.number, reset_less=True)
        m.d.sync += [
            patch.eq((self.patch - 1) * u.patch_blocks),
            block.eq(self.chunk >> (CHOICES - 1).bit_length()),
            number.eq(patch + block),
        ]
        m.d.comb += [
            *(block.chunk.eq(self.chunk[: (CHOICES - 1).bit_length()]) for block in others),
            connect(choose.number, delayed(m, number, 2, "number_delay")),
            *(choose.words[at].eq(beside_of(one)) for at, one in enumerate(others)),
            connect(unpair.group.pairs.as_value(), delayed(m, word, choose.latency_cycles, "word_delay")),
            Cat(unpair.group.overflows.as_value(), unpair.group.pixels).eq(choose.word),
            unpair.group.paired.eq(delayed(m, ~of_first, 1 + choose.latency_cycles, "paired_delay")),
            connect(self.sums, unpair.sums.as_value()),
        ]


def _chain(m: Module, blocks: list[Block], shift: Value, name: str) -> Any:
    """Chain blocks; return, registered, the chunk that leaves them."""
    for block, behind in pairwise(blocks):
        m.d.comb += connect(block.chain_in.as_value(), behind.chain.as_value())
    m.d.comb += [connect(block.shift, shift) for block in blocks]
    word = Signal.like(blocks[0].sums, name=f"{name}_3", reset_less=True)
    m.d.sync += connect(word.as_value(), blocks[0].sums.as_value())
    return word


def beside_of(block: Block) -> Value:
    """What is beside the sums of a `PairBlock`."""
    assert isinstance(block, PairBlock)
    return Cat(block.overflows.as_value(), block.pixels)


def _widened(number: Value, bits: int) -> Value:
    """A signed number of so many bits."""
    return Cat(number, number[-1].replicate(bits - len(number)))[:bits]
