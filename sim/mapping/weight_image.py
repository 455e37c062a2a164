"""The memory image of streamed weights: what must lie where in the memory beside the engine."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..engine.fields import pack_fields
from ..engine.words import WORD
from ..flow.edge import EdgeUnit
from ..flow.edge_lines import LINE_SHIFT, EdgeLinesUnit, Line
from ..flow.settings import WEIGHT_PARTS
from ..flow.weight_stream import IMAGE_ALIGNMENT, WeightStreamUnit
from ..network.config import ModelConfig
from ..network.network import IntNetwork
from .compiled import Program
from .edge_words import LINE_STEPS
from .words import LAYERS

#: Bits of a checksum: the low half of each 64 bits of the beat that checks a part.
_CRC_BITS = 32


def weight_image(program: Program) -> bytes:
    """Return the memory image of a network's weights.

    See `sim.flow.weight_stream.WeightStreamUnit` for the blocks, and `sim.flow.edge_lines.EdgeLinesUnit` for what lies
    behind them.

    Parameters
    ----------
    program : Program
        For an engine with streamed weights.
    """
    unit, config = WeightStreamUnit(program.flow), program.network.config
    word_bytes = unit.word_beats * unit.beat_bytes
    network, image = program.settings["network"], bytearray(unit.image_bytes(config))
    words, first, size = program.weights, 0, 0
    for number, part in enumerate(unit.parts(config)):
        at = first + part.word
        data = b"".join(word.to_bytes(word_bytes, "little") for word in words[at : at + part.words])
        data += _check(data, unit.lanes, network ^ number)
        image[part.byte : part.byte + len(data)] = data
        size += part.words
        if part.ends:
            first, size = first + size, 0
    return bytes(image) + (_lines(program) if program.flow.edge_streamed else b"")


def _lines(program: Program) -> bytes:
    """What the edge reads, burst by burst."""
    unit, edge, network = EdgeLinesUnit(program.flow), EdgeUnit(program.flow), program.settings["network"]
    found = bytearray()
    for line in unit.lines:
        size, bits = unit.burst_words(line), unit.word_beats(line) * program.flow.memory_bits
        every = line_words(program.network, edge, line)
        for number, at in enumerate(range(0, len(every), size)):
            data = b"".join(word.to_bytes(bits // 8, "little") for word in every[at : at + size])
            data += _check(data, program.flow.memory_bits // WORD, network ^ number ^ line << LINE_SHIFT)
            found += data.ljust(unit.burst_bytes, b"\0")
    return bytes(found)


def line_words(network: IntNetwork, unit: EdgeUnit, line: Line) -> list[int]:
    """Return the words of a line, in the order in which they are used.

    Parameters
    ----------
    network : IntNetwork
    unit : EdgeUnit
        With streamed `edge_weights`.
    line : Line
        One of the engine's.
    """
    lines, steps = EdgeLinesUnit(unit.flow), LINE_STEPS[line](network, unit)
    if line is Line.PATCH_WEIGHTS:
        steps *= lines.line_passes(network.config)
    size, bits = lines.word_steps(line), lines.step_bits(line)
    return [pack_fields(steps[at : at + size], bits, line.name.lower()) for at in range(0, len(steps), size)]


def weight_map(program: Program) -> dict[str, Any]:
    """Return where everything lies in the memory image, for who must put it there.

    Parameters
    ----------
    program : Program
    """
    unit, config = WeightStreamUnit(program.flow), program.network.config
    named = zip(_layers(config), unit.parts(config), strict=True)
    return {
        "bytes": unit.image_bytes(config),
        "alignment": IMAGE_ALIGNMENT,
        "beat_bytes": unit.beat_bytes,
        "pass_bytes": unit.pass_bytes(config),
        "images_a_pass": program.flow.together,
        "parts": [{"layer": layer, "byte": part.byte, "beats": part.beats} for layer, part in named],
        **(_line_map(program) if program.flow.edge_streamed else {}),
    }


def _line_map(program: Program) -> dict[str, Any]:
    """Where lines lie, and the bytes of all."""
    unit, config = EdgeLinesUnit(program.flow), program.network.config

    def entry(line: Line, place: int) -> dict[str, Any]:
        size = {"words": unit.words(line, config), "word_beats": unit.word_beats(line)}
        size |= {"burst_words": unit.burst_words(line), "bursts": unit.bursts(line, config)}
        if line is Line.PATCH_WEIGHTS:
            size |= {"word_steps": unit.word_steps(line), "passes": unit.line_passes(config)}
        return {"line": line.name.lower(), "byte": place * unit.burst_bytes, "beats": unit.beats(line, config), **size}

    return {
        "bytes": unit.image_bytes(config),
        "line_bytes": unit.read_bytes(config),
        "lines": [entry(line, place) for line, place in unit.places(config).items()],
    }


def _layers(config: ModelConfig) -> Iterator[str]:
    """Yield the name of each part's layer."""
    for stage in config.stages:
        if stage.merge is not None:
            yield f"{stage.merge.name}.reduction"
        for block in stage.blocks:
            yield from (f"{block.name}.{LAYERS[part]}" for part in WEIGHT_PARTS)


def _check(data: bytes, lanes: int, tag: int) -> bytes:
    """Return the beat that checks a part, or a burst of a line."""
    columns = np.frombuffer(data, "<u8").reshape(-1, lanes)
    sums = [zlib.crc32(np.ascontiguousarray(columns[:, lane]).tobytes()) for lane in range(lanes)]
    return b"".join((tag << _CRC_BITS | one).to_bytes(WORD // 8, "little") for one in sums)
