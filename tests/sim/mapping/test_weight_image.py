"""The memory image of streamed weights: every word where it must be, and what checks each part."""

from __future__ import annotations

import zlib

import pytest
from engines import streamed_flow, tiny_flow, tiny_table
from shapes import TOKENS

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import MEMORY_BITS
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_lines import LINE_SHIFT, EdgeLinesUnit, Line
from bivit.sim.flow.settings import BEATS
from bivit.sim.flow.weight_stream import BURST_BEATS, WEIGHT_PARTS, WeightStreamUnit
from bivit.sim.mapping.cycles import long_run_cycles
from bivit.sim.mapping.edge_words import class_words, position_words
from bivit.sim.mapping.loads import loads_of, memory_gb_s, with_memory
from bivit.sim.mapping.program import FlowProgram, compile_network
from bivit.sim.mapping.weight_image import part_places, weight_image, weight_map
from bivit.sim.mapping.words import block_words
from bivit.sim.network.random import random_network

NETWORK = random_network(TOKENS, seed=3)


def program(**more: object) -> FlowProgram:
    return compile_network(NETWORK, streamed_flow(**more), tiny_table(TOKENS))


@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_every_word_lies_in_its_part(bits: int) -> None:
    """Read as the engine reads it: beats of a part, low bits first, into words; then the checks."""
    made = program(memory_bits=bits)
    image, layout, unit = weight_image(made), made.layout, WeightStreamUnit(made.flow)
    words, word_bytes = block_words(NETWORK, made.flow)["weights"][0], layout.columns * 8
    beats = unit.beats(layout.shape)
    for number, place in enumerate(part_places(layout)):
        block, part = divmod(number, len(WEIGHT_PARTS))
        stream = WEIGHT_PARTS[part]
        assert place % (BURST_BEATS * unit.beat_bytes) == 0
        size = (beats[stream] - 1) * unit.beat_bytes
        data, check = image[place : place + size], image[place + size : place + size + unit.beat_bytes]
        first = layout.weights_addr(block, stream, 0)
        found = [int.from_bytes(data[at : at + word_bytes], "little") for at in range(0, size, word_bytes)]
        assert found == words[first : first + len(found)]
        assert len(found) == layout.shape.operations[stream] * layout.shape.steps[stream]
        for lane in range(bits // 64):
            column = b"".join(data[at + 8 * lane : at + 8 * lane + 8] for at in range(0, size, unit.beat_bytes))
            tag = made.settings["network"] ^ number
            assert check[8 * lane : 8 * lane + 8] == zlib.crc32(column).to_bytes(4, "little") + tag.to_bytes(
                4, "little"
            )


@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_every_word_of_the_edge_lies_in_its_burst(bits: int) -> None:
    """Behind the blocks, where the map says: whole words, then the check of the burst, which names line and burst."""
    made = program(memory_bits=bits, edge_weights="streamed")
    image, unit, found = weight_image(made), EdgeLinesUnit(made.flow), weight_map(made)
    assert found["bytes"] == len(image) == unit.image_bytes(TOKENS)
    assert image[: made.flow.memory_bits] == weight_image(program(memory_bits=bits))[: made.flow.memory_bits]
    lines = {Line.POSITIONS: position_words, Line.CLASSES: class_words}
    beat = bits // 8
    for entry, line in zip(found["lines"], Line, strict=True):
        assert entry["line"] == line.name.lower()
        assert entry["byte"] % (BURST_BEATS * beat) == 0
        words, size = lines[line](NETWORK, EdgeUnit(made.flow)), entry["word_beats"] * beat
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


def test_the_settings_and_the_map_say_how_long_parts_are() -> None:
    made = program()
    unit = WeightStreamUnit(made.flow)
    beats = unit.beats(made.layout.shape)
    assert {name: made.settings[name] for name in BEATS.values()} == {BEATS[part]: beats[part] for part in WEIGHT_PARTS}
    assert max(beats.values()) <= unit.most_beats()
    found = weight_map(made)
    assert found["bytes"] == len(weight_image(made)) == unit.image_bytes(made.layout.shape)
    assert [part["beats"] for part in found["parts"][:4]] == [beats[part] for part in WEIGHT_PARTS]
    assert "weights" not in made.words


def test_an_image_more_takes_what_it_takes_with_resident_weights() -> None:
    """Of two that share a pass each; the port's load is that of the beats, and more bits make it less."""
    table = tiny_table(TOKENS)
    interval = long_run_cycles(TOKENS, tiny_flow(), table)
    assert long_run_cycles(TOKENS, streamed_flow(), table) == interval
    loads = {bits: loads_of(TOKENS, streamed_flow(memory_bits=bits)).cycles["memory"] for bits in MEMORY_BITS}
    assert sorted(loads.values(), reverse=True) == list(loads.values())
    assert loads[64] > 3 * loads[256]
    unit, shape = WeightStreamUnit(streamed_flow()), program().layout.shape
    assert memory_gb_s(TOKENS, streamed_flow(), 2e6) == pytest.approx(unit.pass_bytes(shape) / 1e3)


def test_a_memory_that_is_slower_than_its_port_binds() -> None:
    """Of a megabyte a second an image takes as long as its share of the bytes; where nobody knows, the port counts."""
    flow = streamed_flow()
    loads = loads_of(TOKENS, flow)
    assert with_memory(loads, TOKENS, flow, None, 100.0) == loads
    assert with_memory(loads, TOKENS, flow, 1000.0, 100.0) == loads
    slow = with_memory(loads, TOKENS, flow, 1e-3, 100.0)
    share = WeightStreamUnit(flow).pass_bytes(program().layout.shape) / flow.images
    assert slow.binds == "memory"
    assert slow.bound == pytest.approx(share / 1e6 * 100e6, abs=1)
    assert with_memory(loads_of(TOKENS, tiny_flow()), TOKENS, tiny_flow(), 1e-3, 100.0).binds != "memory"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "elsewhere"}, "weights must be resident or streamed, got 'elsewhere'"),
        ({"memory_bits": 96}, "memory_bits must be one of 64, 128, 256, 512, got 96"),
        ({"edge_banks": 4, "images": 3}, "edge_banks must be 1 to 3, got 4"),
    ],
)
def test_engines_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        streamed_flow(**fields)
