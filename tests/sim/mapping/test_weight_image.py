"""The memory image of streamed weights: every word where it must be, and what checks each part."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from engines import ALL_STREAMED, streamed_flow, tiny_flow, tiny_table
from shapes import TOKENS
from windowed import tiny_swin, windowed_for

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import BURST_BEATS, MEMORY_BITS, FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_lines import LINE_SHIFT, EdgeLinesUnit, Line
from bivit.sim.flow.matmul import MatmulUnit
from bivit.sim.flow.operation import Operands
from bivit.sim.flow.settings import WEIGHT_PARTS, weight_bases, weight_words
from bivit.sim.flow.streams import Stream
from bivit.sim.flow.weight_stream import MERGING, WeightPart, WeightStreamUnit
from bivit.sim.mapping.cycles import long_run_cycles
from bivit.sim.mapping.edge_words import patch_words
from bivit.sim.mapping.loads import loads_of, memory_gb_s, with_late_weights, with_memory
from bivit.sim.mapping.pass_limits import check_windows, windows_needs
from bivit.sim.mapping.pass_program import PassProgram, compile_passes
from bivit.sim.mapping.program import FlowProgram, compile_network
from bivit.sim.mapping.weight_image import line_words, weight_image, weight_map
from bivit.sim.mapping.words import block_words
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network

NETWORK = random_network(TOKENS, seed=3)


def program(**more: object) -> FlowProgram:
    return compile_network(NETWORK, streamed_flow(**more), tiny_table(TOKENS))


@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_every_word_lies_in_its_part(bits: int) -> None:
    """Read as the engine reads it: beats of a part, low bits first, into words; then the checks."""
    made = program(memory_bits=bits)
    layout, unit = made.layout, WeightStreamUnit(made.flow)
    words = block_words(NETWORK, made.flow)["weights"][0]
    for number, part in enumerate(unit.parts(TOKENS)):
        block, kind = divmod(number, len(WEIGHT_PARTS))
        stream = WEIGHT_PARTS[kind]
        first, size = (
            layout.weights_addr(block, stream, 0),
            layout.shape.operations[stream] * layout.shape.steps[stream],
        )
        assert (part.kind, part.ends) == (kind, kind == 3)
        assert part.word == first - layout.weights_addr(block, Stream.PROJ, 0)
        check_part(made, number, part, words[first : first + size])


def check_part(made: FlowProgram | PassProgram, number: int, part: WeightPart, words: list[int]) -> None:
    """Read a part, and what checks it."""
    unit, image = WeightStreamUnit(made.flow), weight_image(made)
    assert part.byte % (BURST_BEATS * unit.beat_bytes) == 0
    size, word_bytes = (part.beats - 1) * unit.beat_bytes, made.flow.engine.columns * 8
    data = image[part.byte : part.byte + size]
    assert [int.from_bytes(data[at : at + word_bytes], "little") for at in range(0, size, word_bytes)] == words
    assert len(words) == part.words
    check = image[part.byte + size : part.byte + size + unit.beat_bytes]
    for lane in range(unit.lanes):
        column = b"".join(data[at + 8 * lane : at + 8 * lane + 8] for at in range(0, size, unit.beat_bytes))
        tag = made.settings["network"] ^ number
        assert check[8 * lane : 8 * lane + 8] == zlib.crc32(column).to_bytes(4, "little") + tag.to_bytes(4, "little")


SWIN = tiny_swin(depths=(2, 1, 2))
SWIN_NETWORK = random_network(SWIN, seed=4)
RESIDENT = windowed_for([SWIN], rows=2, columns=8, norm_lanes=4)
WINDOWED = replace(RESIDENT, weights="streamed", memory_bits=64)


def test_the_parts_of_a_swin_lie_one_behind_the_other_as_they_are_read() -> None:
    """Pass by pass the words of resident weights, in a block qkv first."""
    made, resident = compile_passes(SWIN_NETWORK, WINDOWED), compile_passes(SWIN_NETWORK, RESIDENT)
    words, found = resident.words["weights"][0], [*enumerate(WeightStreamUnit(WINDOWED).parts(SWIN))]
    assert [part.kind for _, part in found] == [0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 3]
    assert [number for number, part in found if part.ends] == [3, 7, 8, 12, 13, 17, 21]
    place = 0
    for one, streamed in zip(resident.passes, made.passes, strict=True):
        block, begins = weight_words(one.shape), place
        for number in range(one.view.depth):
            for stream in (Stream.QKV,) if one.view.merge else WEIGHT_PARTS:
                first = one.bases.weights + number * block + weight_bases(one.shape, RESIDENT)[stream]
                at, part = found.pop(0)
                assert part.kind == (MERGING if one.view.merge else WEIGHT_PARTS.index(stream))
                # Where the slots look for it: blocks of the pass before, and of this one.
                assert begins + number * block + part.word == place
                assert streamed.settings.get(f"{stream.name.lower()}_weights") == part.word
                place += part.words
                check_part(
                    made, at, part, words[first : first + one.shape.operations[stream] * one.shape.steps[stream]]
                )
        assert streamed.settings["pass_weights"] == (place - begins) % (1 << Operands(WINDOWED).fields["w_addr"])
    assert not found
    assert place == len(words)


@pytest.mark.parametrize("patches", ["resident", "streamed"])
@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_every_word_of_the_edge_lies_in_its_burst(bits: int, patches: str) -> None:
    """Behind the blocks, where the map says: whole words, then the check of the burst, which names line and burst."""
    made = program(memory_bits=bits, edge_weights="streamed", patch_weights=patches)
    image, unit, found = weight_image(made), EdgeLinesUnit(made.flow), weight_map(made)
    assert found["bytes"] == len(image) == unit.image_bytes(TOKENS)
    assert image[: made.flow.memory_bits] == weight_image(program(memory_bits=bits))[: made.flow.memory_bits]
    beat = bits // 8
    for entry, line in zip(found["lines"], unit.lines, strict=True):
        assert entry["line"] == line.name.lower()
        assert entry["byte"] % (BURST_BEATS * beat) == 0
        words, size = line_words(NETWORK, EdgeUnit(made.flow), line), entry["word_beats"] * beat
        assert entry["words"] == len(words)
        for number in range(entry["bursts"]):
            at = entry["byte"] + number * BURST_BEATS * beat
            here = words[number * entry["burst_words"] : (number + 1) * entry["burst_words"]]
            data = image[at : at + len(here) * size]
            assert [int.from_bytes(data[k : k + size], "little") for k in range(0, len(data), size)] == here
            check, tag = image[at + len(data) :][:beat], made.settings["network"] ^ number ^ line << LINE_SHIFT
            for lane in range(0, beat, 8):
                column = b"".join(data[k + lane : k + lane + 8] for k in range(0, len(data), beat))
                assert check[lane : lane + 4] == zlib.crc32(column).to_bytes(4, "little")
                assert check[lane + 4 : lane + 8] == tag.to_bytes(4, "little")


@pytest.mark.parametrize("bits", MEMORY_BITS)
@pytest.mark.parametrize("patch_size", [2, 3])
def test_words_of_the_patch_embedding_hold_whole_passes(bits: int, patch_size: int) -> None:
    """As many as it takes to end with a word; steps lie side by side, in the order in which a pass takes them."""
    made = program(memory_bits=bits, **ALL_STREAMED)
    unit, edge = EdgeLinesUnit(made.flow), EdgeUnit(made.flow)
    network = random_network(replace(TOKENS, img_size=6, patch_size=patch_size), seed=2)
    steps, words = patch_words(network, edge), line_words(network, edge, Line.PATCH_WEIGHTS)
    size, width = unit.word_steps(Line.PATCH_WEIGHTS), unit.step_bits(Line.PATCH_WEIGHTS)
    passes = unit.line_passes(network.config)
    assert size == max(1, bits // width)
    assert size * len(words) == passes * len(steps)
    assert passes == 1 or passes // 2 * len(steps) % size
    found = [word >> at * width & (1 << width) - 1 for word in words for at in range(size)]
    assert found == steps * passes
    assert unit.words(Line.PATCH_WEIGHTS, network.config) == len(words)


def test_a_ring_holds_any_four_parts_that_follow_each_other_and_a_burst() -> None:
    assert WINDOWED.windows is not None
    need, unit = windows_needs(SWIN, WINDOWED)["ring_words"], WeightStreamUnit(WINDOWED)
    parts = unit.parts(SWIN)
    beats = [part.beats for part in parts]
    most = max(sum(four) for four in zip(beats, beats[1:], beats[2:], beats[3:], strict=False))
    least = -(-(most + BURST_BEATS) // unit.word_beats)
    assert need == 1 << (least - 1).bit_length()
    assert sum(part.words for part in parts[-4:]) < least  # a block of the last stage
    ring = WINDOWED.windows.ring_words
    assert ring == 2 * need
    assert MatmulUnit(WINDOWED).memories["weights"].depth == ring == 1 << ring.bit_length() - 1
    small = need // 2
    with pytest.raises(BivitError, match=rf"too small: windows.ring_words is {small}, the network needs {need}$"):
        check_windows(SWIN, Formats(), ringed(small))
    check_windows(SWIN, Formats(), ringed(2 * small))
    check_windows(SWIN, Formats(), replace(RESIDENT, windows=replace(WINDOWED.windows, ring_words=0)))


def ringed(words: int) -> FlowConfig:
    assert WINDOWED.windows is not None
    return replace(WINDOWED, windows=replace(WINDOWED.windows, ring_words=words, weight_words=1))


def test_the_map_names_every_layer() -> None:
    made, unit = program(), WeightStreamUnit(streamed_flow())
    found = weight_map(made)
    assert found["bytes"] == len(weight_image(made)) == unit.image_bytes(TOKENS)
    assert [part["beats"] for part in found["parts"]] == [part.beats for part in unit.parts(TOKENS)]
    assert found["parts"][5]["layer"] == "blocks.1.attn.proj"
    assert "weights" not in made.words
    swin = weight_map(compile_passes(SWIN_NETWORK, WINDOWED))
    assert [part["layer"] for part in swin["parts"][7:10]] == [
        "layers.0.blocks.1.mlp.fc2",
        "layers.1.downsample.reduction",
        "layers.1.blocks.0.attn.qkv",
    ]
    assert swin["images_a_pass"] == 2


@pytest.mark.parametrize("flow", [streamed_flow(), WINDOWED], ids=["deit", "swin"])
def test_the_list_says_how_long_parts_are_and_where_they_go(flow: FlowConfig) -> None:
    """Word by word, and what has no room in its field is refused."""
    unit, config = WeightStreamUnit(flow), SWIN if flow.windows else TOKENS
    parts, words = unit.parts(config), unit.list_words(config)
    for number, (part, word) in enumerate(zip(parts, words, strict=True)):
        for name, bits in unit.fields.items():
            value = number == len(parts) - 1 if name == "final" else getattr(part, name, 0)
            assert word & (1 << bits) - 1 == value
            word >>= bits
        assert word == 0
    if flow.windows:
        with pytest.raises(BivitError, match=r"parts.beats has \d+ bits and cannot hold"):
            WeightStreamUnit(ringed(1)).list_words(config)


def test_an_image_more_takes_what_it_takes_with_resident_weights() -> None:
    """Of two that share a pass each; the port's load is that of the beats, and more bits make it less."""
    table = tiny_table(TOKENS)
    interval = long_run_cycles(TOKENS, tiny_flow(), table)
    assert long_run_cycles(TOKENS, streamed_flow(), table) == interval
    loads = {bits: loads_of(TOKENS, streamed_flow(memory_bits=bits)).cycles["memory"] for bits in MEMORY_BITS}
    assert sorted(loads.values(), reverse=True) == list(loads.values())
    assert loads[64] > 3 * loads[256]
    unit = WeightStreamUnit(streamed_flow())
    assert memory_gb_s(TOKENS, streamed_flow(), 2e6) == pytest.approx(unit.pass_bytes(TOKENS) / 1e3)
    swin = WeightStreamUnit(WINDOWED).pass_bytes(SWIN)
    assert loads_of(SWIN, WINDOWED).cycles["memory"] == -(-swin // 8 // 2)  # two images go together
    assert memory_gb_s(SWIN, WINDOWED, 2e6) == pytest.approx(swin / 1e3)


def test_weights_that_are_late_cost_what_their_block_does_not_cover() -> None:
    """Of equal blocks the slower of both counts."""
    flow = streamed_flow()
    assert with_late_weights(TOKENS, flow, 900.0, 800.0) == pytest.approx(900.0)
    assert with_late_weights(TOKENS, flow, 900.0, 1800.0) == pytest.approx(1800.0)


def test_into_a_ring_weights_come_as_far_ahead_as_it_has_room() -> None:
    """Never faster than the array and than the memory; the larger the ring, the closer to that."""
    rings = [64, 128, 1 << 14]
    for interval, memory in ((1e6, 100.0), (100.0, 1e6)):
        assert with_late_weights(SWIN, ringed(1 << 14), interval, memory) == pytest.approx(1e6, rel=1e-3)
    found = [with_late_weights(SWIN, ringed(words), 3000.0, 2900.0) for words in rings]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.05 * found[-1]
    assert found[-1] == pytest.approx(3000.0)


def test_a_memory_that_is_slower_than_its_port_binds() -> None:
    """Of a megabyte a second an image takes as long as its share of the bytes; where nobody knows, the port counts."""
    flow = streamed_flow()
    loads = loads_of(TOKENS, flow)
    assert with_memory(loads, TOKENS, flow, None, 100.0) == loads
    assert with_memory(loads, TOKENS, flow, 1000.0, 100.0) == loads
    slow = with_memory(loads, TOKENS, flow, 1e-3, 100.0)
    share = WeightStreamUnit(flow).pass_bytes(TOKENS) / flow.images
    assert slow.binds == "memory"
    assert slow.bound == pytest.approx(share / 1e6 * 100e6, abs=1)
    assert with_memory(loads_of(TOKENS, tiny_flow()), TOKENS, tiny_flow(), 1e-3, 100.0).binds != "memory"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "elsewhere"}, "weights must be resident or streamed, got 'elsewhere'"),
        ({"memory_bits": 96}, "memory_bits must be one of 64, 128, 256, 512, got 96"),
        ({"edge_banks": 4, "images": 3}, "edge_banks must be 0 to 3, got 4"),
    ],
)
def test_engines_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        streamed_flow(**fields)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"ring_words": 0}, "windows.ring_words must be 1 or more where weights are streamed, got 0"),
        ({"images": 3}, r"windows.images must be at most images \(2\) where weights are streamed, got 3"),
    ],
)
def test_windows_out_of_range_are_refused(limits: dict[str, int], message: str) -> None:
    assert RESIDENT.windows is not None
    flow = replace(RESIDENT, windows=replace(RESIDENT.windows, **limits))
    with pytest.raises(BivitError, match=message):
        replace(flow, weights="streamed")


def test_a_ring_is_a_power_of_two() -> None:
    with pytest.raises(BivitError, match=r"windows\.ring_words must be a power of two, got 96"):
        ringed(96)
