"""Follow one weight bit from the checkpoint to the Verilog and on to the sum, with its value in every file.

    python examples/weight_bit.py            check that docs/walkthrough.md says the same
    python examples/weight_bit.py --write    write docs/walkthrough.md

The network is untrained, with fixed random weights; what happens to the bit is the same. A stop names the file of the
function or unit that it is about, so a page whose files have moved is found.
"""

import inspect
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Signal
from amaranth.sim import Simulator

import bivit
from bivit.hw import engine_verilog
from bivit.hw.array.array_path import ArrayPath
from bivit.hw.array.matmul import Matmul
from bivit.hw.array.operand_store import OperandStore
from bivit.hw.array.sum_array import SumArray
from bivit.hw.loader import Loader
from bivit.hw.parts.memory import LoadableMemory
from bivit.hw.parts.popcount import Features
from bivit.hw.parts.xnor_dot import XnorDot
from bivit.hw.slots.stream_unit import StreamUnit
from bivit.model import BiViT, Checkpoint, export_network, load_checkpoint, load_dataset, save_checkpoint
from bivit.model.data.dataset import take
from bivit.model.vit.fold import flips
from bivit.model.vit.layers import BinaryLinear
from bivit.sim import (
    EngineConfig,
    FlowConfig,
    FlowProgram,
    IntNetwork,
    compile_network,
    load_engine,
    load_network,
    preset,
    save_network,
)
from bivit.sim.bits import WORD_BITS, pack
from bivit.sim.engine.loadstream import BEAT_BYTES, build_stream
from bivit.sim.engine.pipeline import XNOR_DOT_CYCLES
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import Part, Stream
from bivit.sim.mapping.layout import FlowLayout
from bivit.sim.mapping.words import flow_words

ROOT = Path(bivit.__file__).resolve().parent
PAGE = Path(__file__).resolve().parent.parent / "docs" / "walkthrough.md"

#: The bit: block, output channel of q (in head 1), input channel.
BLOCK, OUTPUT, INPUT = 1, 70, 100
LAYER = f"blocks.{BLOCK}.attn.qkv"
ENGINE = "sim"
#: Where it is in its row: the word, and the bit of the word.
WORD, PLACE = divmod(INPUT, WORD_BITS)


@dataclass
class Walk:
    """Stops in the order of the walk: the file, and what happens to the bit there."""

    stops: list[tuple[str, str]] = field(default_factory=list)

    def stop(self, where: Any, what: str) -> None:
        """Add a stop in the file of a function or class."""
        self.stops.append((file_of(where), what))

    def lines(self) -> list[str]:
        """The stops as a numbered list."""
        return [f"{number}. `{file}`: {what}" for number, (file, what) in enumerate(self.stops, start=1)]


def file_of(where: Any) -> str:
    """The file of a function or class, from the root of the repository."""
    return Path(inspect.getfile(inspect.unwrap(where))).resolve().relative_to(ROOT).as_posix()


def make_model() -> BiViT:
    """A Bi-ViT with fixed weights, one gamma of norm1 negative so that folding it can be seen."""
    torch.manual_seed(0)
    model = BiViT(preset("digits"))
    with torch.no_grad():
        model.get_submodule(f"blocks.{BLOCK}.norm1").weight[INPUT] = -1.0
    return model


def in_torch(walk: Walk, folder: Path) -> IntNetwork:
    """Stops in model/: checkpoint, fold, export; the integer network."""
    save_checkpoint(Checkpoint(make_model(), seed=0), folder / "student.safetensors")
    model = load_checkpoint(folder / "student.safetensors", kind="binary").model
    assert isinstance(model, BiViT)
    latent = float(model.state_dict()[f"{LAYER}.weight"][OUTPUT, INPUT])
    sign = 1 if latent >= 0 else -1
    flip = int(flips(model.get_submodule(f"blocks.{BLOCK}.norm1").weight)[INPUT])
    network = export_network(model, take(load_dataset("digits", "train"), 16).images)
    walk.stop(
        load_checkpoint,
        f"reads `{LAYER}.weight`, float32. Row {OUTPUT}, column {INPUT} holds the latent weight **{latent:.6f}**.",
    )
    walk.stop(
        flips,
        f"gamma of `blocks.{BLOCK}.norm1` in channel {INPUT} is negative here, so the norm's sign turns round, and the "
        f"column of every weight behind it: **{flip:+d}**.",
    )
    walk.stop(
        export_network,
        f"the weight's sign, as `{file_of(BinaryLinear)}` takes it in the forward pass with sign(0) = +1, times that: "
        f"{sign:+d} times {flip:+d} is **{sign * flip:+d}**, the bit **{int(sign * flip > 0)}**.",
    )
    return network


def in_file(walk: Walk, network: IntNetwork, folder: Path) -> tuple[IntNetwork, int]:
    """Stops in sim/ up to the network file; the network that was read, and the word with the bit."""
    save_network(network, folder / "network.safetensors")
    network = load_network(folder / "network.safetensors")
    word = int(network.tensors[f"{LAYER}.weight"][OUTPUT, WORD])
    walk.stop(pack, f"input channel {INPUT} is bit {INPUT} % 64 = {PLACE} of word {INPUT} // 64 = {WORD} of a row.")
    walk.stop(
        load_network,
        f"in the network file `{LAYER}.weight[{OUTPUT}, {WORD}]` is `0x{word:016x}`; its bit {PLACE} is "
        f"**{word >> PLACE & 1}**.",
    )
    return network, word


def in_program(walk: Walk, network: IntNetwork, flow: FlowConfig, expected: int) -> tuple[int, int]:
    """Stops in sim/ from the compiler to the load stream; address and word of the memory `weights`."""
    program = compile_network(network, flow)
    address, column, number = placed(program)
    machine, sections = FlowMachine(flow), program.words
    memory = machine.load_memories["weights"]
    word = sections["weights"][0][address]
    assert word >> column * WORD_BITS & (1 << WORD_BITS) - 1 == expected
    stream = build_stream(machine, sections)
    (start,) = [at.start() for at in re.finditer(re.escape(word.to_bytes(memory.beats * BEAT_BYTES, "little")), stream)]
    beat = start // BEAT_BYTES + column
    data = int.from_bytes(stream[beat * BEAT_BYTES : (beat + 1) * BEAT_BYTES], "little")
    place = column * WORD_BITS + PLACE
    walk.stop(
        FlowLayout,
        f"on the engine `{ENGINE}` channel {OUTPUT} of q is column {column} of operation {number} of the stream qkv, "
        f"and word {WORD} of that operation in block {BLOCK} is word **{address}** of the memory `weights`.",
    )
    walk.stop(
        flow_words,
        f"a word of `weights` holds 64 bits of each of {flow.engine.columns} output channels, so the bit is bit "
        f"{column}*64 + {PLACE} = {place} of it: **{word >> place & 1}**.",
    )
    walk.stop(
        build_stream,
        f"the word travels as {memory.beats} beats of 64 bits. Beat {beat:,} of the stream is `0x{data:016x}`; its bit "
        f"{PLACE} is **{data >> PLACE & 1}**.",
    )
    return address, word


def placed(program: FlowProgram) -> tuple[int, int, int]:
    """Where the program puts the bit: word of the memory `weights`, column of the array, operation of the stream."""
    layout = program.layout
    for number in range(layout.shape.operations[Stream.QKV]):
        made = layout.made(Stream.QKV, number)
        if made.part is Part.QUERY and OUTPUT in made.channels:
            address = layout.weights_addr(BLOCK, Stream.QKV, number) + WORD
            column = made.channels.index(OUTPUT)
            assert column == OUTPUT % layout.columns
            return address, column, number
    raise AssertionError(f"no operation makes channel {OUTPUT} of q")


def in_memory(walk: Walk, flow: FlowConfig, address: int, word: int) -> int:
    """Stops in hw/ up to the memory, run in Amaranth's simulator: what it reads at the address."""
    memory = FlowMachine(flow).load_memories["weights"]
    got = loaded_word(flow, address, word)
    text = verilog.convert(LoadableMemory(memory), emit_src=False, strip_internal_attrs=True)
    assert address < memory.depths[0]
    declaration = re.findall(r"reg \[\d+:0\] \w+ \[\d+:0\];", text)[0]
    assert got == word
    column = OUTPUT % flow.engine.columns
    place = column * WORD_BITS + PLACE
    walk.stop(
        Loader,
        f"puts each beat on the load bus with memory {memory.id} (`weights`), word {address} and its number in the "
        f"word: beat {column} of it has the bit, and when the stream's CRC is right the engine has a network.",
    )
    walk.stop(
        LoadableMemory,
        f"collects the beats of the word and writes it; read at {address}, bit {place} is **{got >> place & 1}**. "
        f"In the Verilog (`{file_of(engine_verilog)}` writes it) this is `{declaration}` in the module "
        "`bivit_engine_core_array_weights`.",
    )
    return got


def loaded_word(flow: FlowConfig, address: int, word: int) -> int:
    """Load one word of `weights` through the loader, and read it."""
    m, machine = Module(), FlowMachine(flow)
    m.submodules.loader = loader = Loader(machine)
    m.submodules.weights = weights = LoadableMemory(machine.load_memories["weights"])
    m.d.comb += [weights.load.eq(loader.load), loader.idle.eq(1), weights.r_addr.eq(address)]
    stream = build_stream(machine, {"weights": {address: [word]}})
    read = []

    async def bench(ctx: Any) -> None:
        ctx.set(loader.beats.valid, 1)
        for at in range(0, len(stream), BEAT_BYTES):
            ctx.set(loader.beats.payload.data, int.from_bytes(stream[at : at + BEAT_BYTES], "little"))
            ctx.set(loader.beats.payload.last, at + BEAT_BYTES == len(stream))
            await ctx.tick().until(loader.beats.ready)
        ctx.set(loader.beats.valid, 0)
        await ctx.tick().repeat(4)
        assert ctx.get(loader.loads_ok) == 1
        read.append(ctx.get(weights.r_data))

    simulate(m, bench)
    return read[0]


def in_array(walk: Walk, flow: FlowConfig, stored: int) -> int:
    """Stops from the memory to the sum of one dot unit; the bit, as it counts there."""
    column = OUTPUT % flow.engine.columns
    word = stored >> column * WORD_BITS & (1 << WORD_BITS) - 1
    ones = (1 << WORD_BITS) - 1
    equal = [dot_sum(flow.engine, ones ^ flip, word) for flip in (0, 1 << PLACE)]
    bit = (equal[0] - equal[1] + 1) // 2
    assert abs(equal[0] - equal[1]) == 1
    walk.stop(StreamUnit, "the operation of the slot that passes says where its words of weights begin.")
    walk.stop(Matmul, "walks through the operation's steps; the word's address is one of them.")
    walk.stop(ArrayPath, "gives the address to the memory, and the word, one cycle later, to the store of operands.")
    walk.stop(OperandStore, "chooses it as the operand of the columns, since the operation's are no keys or values.")
    walk.stop(SumArray, f"column {column} takes its 64 bits, for all of {flow.engine.rows} tokens.")
    walk.stop(
        Features,
        f"parities of its bits, made once for the {flow.engine.rows} dot units of the column, halve what each counts.",
    )
    walk.stop(
        XnorDot,
        f"counts where activations and weights are equal. With all activations 1 the step counts {equal[0]}; with a 0 "
        f"in channel {INPUT} it counts {equal[1]}: the bit is **{bit}**.",
    )
    return bit


def dot_sum(engine: EngineConfig, activations: int, weights: int) -> int:
    """One step of one dot unit."""
    m = Module()
    m.submodules.dot = dot = XnorDot(engine.fabric, engine.acc_bits)
    features, operands = Features(engine.fabric), (Signal(WORD_BITS), Signal(WORD_BITS))
    for operand, name, port in zip(operands, "aw", (dot.a, dot.w), strict=True):
        levels, top = features.first_stage(m, operand, name, weights=name == "w")
        m.d.comb += port.eq(features.second_stage(m, levels, top, name, weights=name == "w"))
    m.d.comb += dot.first.eq(1)
    sums = []

    async def bench(ctx: Any) -> None:
        ctx.set(Cat(*operands), activations | weights << WORD_BITS)
        await ctx.tick().repeat(XNOR_DOT_CYCLES)
        sums.append(ctx.get(dot.o))

    simulate(m, bench)
    return sums[0]


def simulate(design: Module, bench: Any) -> None:
    """Run a bench against a design with one clock."""
    simulator = Simulator(design)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def make_page() -> str:
    """The walkthrough as Markdown."""
    walk, flow = Walk(), load_engine(ENGINE)
    with tempfile.TemporaryDirectory() as name:
        network, row_word = in_file(walk, in_torch(walk, Path(name)), Path(name))
    address, word = in_program(walk, network, flow, row_word)
    stored = in_memory(walk, flow, address, word)
    to_verilog = len({file for file, _ in walk.stops})
    bit = in_array(walk, flow, stored)
    lines = [
        "# One weight bit, from the checkpoint to the Verilog",
        "",
        "Written by `python examples/weight_bit.py --write`; a test checks that it is still true. "
        f"The bit: `{LAYER}.weight`, output channel {OUTPUT}, input channel {INPUT}. It passes {to_verilog} files from "
        f"the checkpoint to the memory in the Verilog, and {len({file for file, _ in walk.stops})} to the sum that it "
        "counts in.",
        "",
        *walk.lines(),
        "",
        f"The bit that the checkpoint's number became is the bit that the hardware counts: **{bit}**.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or check it."""
    page = make_page()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
        print(f"wrote {PAGE}")
    elif PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE} is not what this example makes; run it with --write")
    else:
        print(f"{PAGE} is true")


if __name__ == "__main__":
    main()
