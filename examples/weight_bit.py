"""Follow one weight bit from the checkpoint to the Verilog, with its value at each stop.

    python examples/weight_bit.py            check that docs/walkthrough.md says the same
    python examples/weight_bit.py --write    write docs/walkthrough.md

The network is untrained, with fixed random weights; what happens to the bit is the same.
"""

import re
import sys
import tempfile
from pathlib import Path

import torch
from amaranth.back import verilog

from bivit.hw.parts.memory import LoadableMemory
from bivit.model.data.dataset import take
from bivit.model.data.open import load_dataset
from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.files.export import export_network
from bivit.model.vit.fold import flips
from bivit.model.vit.vit import BiViT
from bivit.sim.bits import WORD_BITS
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.loadstream import BEAT_BYTES, build_stream
from bivit.sim.engine.presets import load_engine
from bivit.sim.network.file import load_network, save_network
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.presets import preset
from bivit.sim.program.compiler import compile_network
from bivit.sim.program.graph import Param
from bivit.sim.program.load_words import Words, load_words

PAGE = Path(__file__).resolve().parent.parent / "docs" / "walkthrough.md"

#: The bit: block, output channel of q (in head 1), input channel.
BLOCK, OUTPUT, INPUT = 1, 70, 100
LAYER = f"blocks.{BLOCK}.attn.qkv"
ENGINE = "digits"


def make_model() -> BiViT:
    """A Bi-ViT with fixed weights, one gamma of norm1 negative so that folding it can be seen."""
    torch.manual_seed(0)
    model = BiViT(preset("digits"))
    with torch.no_grad():
        model.get_submodule(f"blocks.{BLOCK}.norm1").weight[INPUT] = -1.0
    return model


def in_torch(model: BiViT, folder: Path) -> tuple[list[str], IntNetwork]:
    """Stops in model/: checkpoint, layer, export."""
    save_checkpoint(Checkpoint(model, seed=0), folder / "student.safetensors")
    loaded = load_checkpoint(folder / "student.safetensors", kind="binary").model
    assert isinstance(loaded, BiViT)
    latent = float(loaded.state_dict()[f"{LAYER}.weight"][OUTPUT, INPUT])
    sign = 1 if latent >= 0 else -1
    flip = int(flips(loaded.get_submodule(f"blocks.{BLOCK}.norm1").weight)[INPUT])
    network = export_network(loaded, take(load_dataset("digits", "train"), 16).images)
    stops = [
        f"`model/files/checkpoint.py` reads `{LAYER}.weight`, float32. Row {OUTPUT}, column {INPUT} holds the "
        f"latent weight **{latent:.6f}**.",
        f"`model/vit/layers.py`: in the forward pass `BinaryLinear` uses its sign, sign(0) = +1: **{sign:+d}**.",
        f"`model/files/export.py`: gamma of `blocks.{BLOCK}.norm1` in channel {INPUT} is negative here, so the norm's "
        f"sign turns round and the column is negated with it: {sign:+d} times {flip:+d} is **{sign * flip:+d}**, the "
        f"bit **{int(sign * flip > 0)}**.",
    ]
    return stops, network


def in_sim(network: IntNetwork, folder: Path) -> tuple[list[str], int]:
    """Stops in sim/: bit order, network file, address, load stream; also the bit itself."""
    save_network(network, folder / "network.safetensors")
    row = load_network(folder / "network.safetensors").tensors[f"{LAYER}.weight"][OUTPUT]
    word, place = divmod(INPUT, WORD_BITS)
    bit = int(row[word]) >> place & 1
    engine = load_engine(ENGINE)
    program = compile_network(network, engine)
    layout, memory = program.layout, engine.load_memories["weights"]
    head, channel = divmod(OUTPUT, network.config.head_dim)
    group, column = layout.qkv_group(0, head, channel // engine.columns), channel % engine.columns
    address = program.place.param(Param("weights", "attn.qkv", group), BLOCK) + word
    place_in_word = column * WORD_BITS + place
    words = load_words(network, program)
    assert words["weights"][0][address] >> place_in_word & 1 == bit
    beat = address * memory.beats + column
    start = section_start(engine, words) + beat * BEAT_BYTES
    data = int.from_bytes(build_stream(engine, words)[start : start + BEAT_BYTES], "little")
    assert data == int(row[word])
    stops = [
        f"`sim/bits.py`: input channel {INPUT} is bit {INPUT} % 64 = {place} of word {INPUT} // 64 = {word} of a row.",
        f"`sim/network/file.py`: in the network file `{LAYER}.weight[{OUTPUT}, {word}]` is `0x{int(row[word]):016x}`; "
        f"its bit {place} is **{bit}**.",
        f"`sim/program/place.py`: on the engine `{ENGINE}` a word of the memory `weights` holds 64 bits of each of "
        f"{engine.columns} output channels. Channel {OUTPUT} of q is column {column} of group {group}; "
        f"word {word} of block {BLOCK} is address **{address}**, bit {column}*64 + {place} = **{place_in_word}**.",
        f"`sim/engine/loadstream.py`: the word travels as {memory.beats} beats of 64 bits. Beat **{beat:,}** of the "
        f"section `weights` is `0x{data:016x}`; its bit {place} is **{data >> place & 1}**.",
    ]
    return stops, bit


def section_start(engine: EngineConfig, words: Words) -> int:
    """First byte after the header of the section `weights`: magic, length and engine, then section after section."""
    beats = 3
    for name, runs in words.items():
        if name == "weights":
            return (beats + 1) * BEAT_BYTES
        beats += sum(1 + len(run) * engine.load_memories[name].beats for run in runs.values())
    raise KeyError("weights")


def in_hardware() -> list[str]:
    """Stops in hw/: memory and dot unit, as they appear in the Verilog."""
    engine = load_engine(ENGINE)
    text = verilog.convert(LoadableMemory(engine.load_memories["weights"]), emit_src=False, strip_internal_attrs=True)
    (declaration,) = re.findall(r"reg \[\d+:0\] \w+ \[\d+:0\];", text)
    return [
        "`hw/parts/memory.py`: the loader writes the word into the bank that is not in use; `hw/emit.py` writes it to "
        f"the module `bivit_engine.datapath.weights` as `{declaration}`, both banks in one. The same word is a line of "
        "`memories/weights.hex`.",
        f"`hw/units/xnor_dot.py`: when the sequencer issues this tile, the word is read, and the dot units of column "
        f"{OUTPUT % engine.columns}, one for each of {engine.rows} tokens, compare it with the token's 64 activation "
        "bits: equal bits count.",
    ]


def make_page() -> str:
    """The walkthrough as Markdown."""
    with tempfile.TemporaryDirectory() as name:
        stops, network = in_torch(make_model(), Path(name))
        more, bit = in_sim(network, Path(name))
    stops += [*more, *in_hardware()]
    lines = [
        "# One weight bit, from the checkpoint to the Verilog",
        "",
        "Written by `python examples/weight_bit.py --write`; a test checks that it is still true. "
        f"The bit: `{LAYER}.weight`, output channel {OUTPUT}, input channel {INPUT}.",
        "",
        *(f"{number}. {stop}" for number, stop in enumerate(stops, start=1)),
        "",
        f"The bit that the checkpoint's number became is the bit that the hardware reads: **{bit}**.",
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
