"""The memory image of streamed weights: what must lie where in the memory beside the engine."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from ..engine.words import WORD
from ..flow.edge import EdgeUnit
from ..flow.edge_lines import LINE_SHIFT, EdgeLinesUnit, Line
from ..flow.settings import weight_bases
from ..flow.weight_stream import IMAGE_ALIGNMENT, WEIGHT_PARTS, WeightStreamUnit
from ..network.config import vit_only
from .edge_words import class_words, position_words
from .layout import FlowLayout
from .program import FlowProgram
from .words import LAYERS, block_words

#: Bits of a checksum: the low half of each 64 bits of the beat that checks a part.
_CRC_BITS = 32


def weight_image(program: FlowProgram) -> bytes:
    """Return the memory image of a network's weights.

    See `sim.flow.weight_stream.WeightStreamUnit` for the blocks, and `sim.flow.edge_lines.EdgeLinesUnit` for what lies
    behind them.

    Parameters
    ----------
    program : FlowProgram
        For an engine with streamed weights.
    """
    unit, layout = WeightStreamUnit(program.flow), program.layout
    words = block_words(program.network, program.flow)["weights"][0]
    bases, step = weight_bases(layout.shape), len(words) // layout.config.depth
    network, image = program.settings["network"], bytearray(unit.image_bytes(layout.shape))
    for number, place in enumerate(part_places(layout)):
        block, part = divmod(number, len(WEIGHT_PARTS))
        first = block * step + bases[WEIGHT_PARTS[part]]
        size = layout.shape.operations[WEIGHT_PARTS[part]] * layout.shape.steps[WEIGHT_PARTS[part]]
        data = b"".join(word.to_bytes(layout.columns * WORD // 8, "little") for word in words[first : first + size])
        data += _check(data, unit.lanes, network ^ number)
        image[place : place + len(data)] = data
    return bytes(image) + (_lines(program) if program.flow.edge_streamed else b"")


def _lines(program: FlowProgram) -> bytes:
    """Classifier and positions, burst by burst."""
    unit, edge, network = EdgeLinesUnit(program.flow), EdgeUnit(program.flow), program.settings["network"]
    words = {Line.CLASSES: class_words, Line.POSITIONS: position_words}
    found = bytearray()
    for line in Line:
        size, bits = unit.burst_words(line), unit.word_beats(line) * program.flow.memory_bits
        every = words[line](program.network, edge)
        for number, at in enumerate(range(0, len(every), size)):
            data = b"".join(word.to_bytes(bits // 8, "little") for word in every[at : at + size])
            data += _check(data, program.flow.memory_bits // WORD, network ^ number ^ line << LINE_SHIFT)
            found += data.ljust(unit.burst_bytes, b"\0")
    return bytes(found)


def part_places(layout: FlowLayout) -> list[int]:
    """Return the first byte of each part, in the order in which they are read.

    Parameters
    ----------
    layout : FlowLayout
    """
    unit, shape = WeightStreamUnit(layout.flow), layout.shape
    blocks = range(layout.config.depth)
    return [block * unit.block_bytes(shape) + place for block in blocks for place in unit.offsets(shape).values()]


def weight_map(program: FlowProgram) -> dict[str, Any]:
    """Return where everything lies in the memory image, for who must put it there.

    Parameters
    ----------
    program : FlowProgram
    """
    unit, layout = WeightStreamUnit(program.flow), program.layout
    stage = vit_only(program.network.config).stages[0]
    beats, parts = unit.beats(layout.shape), len(WEIGHT_PARTS)

    def entry(number: int, place: int) -> dict[str, Any]:
        block, part = stage.blocks[number // parts].name, WEIGHT_PARTS[number % parts]
        return {"layer": f"{block}.{LAYERS[part]}", "byte": place, "beats": beats[part]}

    edge = _line_map(program) if program.flow.edge_streamed else {}
    return {
        "bytes": unit.image_bytes(layout.shape),
        "alignment": IMAGE_ALIGNMENT,
        "beat_bytes": unit.beat_bytes,
        "pass_bytes": unit.pass_bytes(layout.shape),
        "images_a_pass": program.flow.images,
        "parts": [entry(number, place) for number, place in enumerate(part_places(layout))],
        **edge,
    }


def _line_map(program: FlowProgram) -> dict[str, Any]:
    """Where lines lie, and the bytes of all."""
    unit, config = EdgeLinesUnit(program.flow), program.network.config

    def entry(line: Line, place: int) -> dict[str, Any]:
        size = {"words": unit.words(line, config), "word_beats": unit.word_beats(line)}
        size |= {"burst_words": unit.burst_words(line), "bursts": unit.bursts(line, config)}
        return {"line": line.name.lower(), "byte": place * unit.burst_bytes, "beats": unit.beats(line, config), **size}

    return {
        "bytes": unit.image_bytes(config),
        "image_bytes": unit.read_bytes(config),
        "lines": [entry(line, place) for line, place in unit.places(config).items()],
    }


def _check(data: bytes, lanes: int, tag: int) -> bytes:
    """Return the beat that checks a part, or a burst of a line."""
    columns = np.frombuffer(data, "<u8").reshape(-1, lanes)
    sums = [zlib.crc32(np.ascontiguousarray(columns[:, lane]).tobytes()) for lane in range(lanes)]
    return b"".join((tag << _CRC_BITS | one).to_bytes(WORD // 8, "little") for one in sums)
