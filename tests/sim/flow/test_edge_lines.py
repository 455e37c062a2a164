"""What the edge reads of a memory: sizes, the pace of steps, and engines that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from engines import streamed_flow
from shapes import TOKENS
from windowed import tiny_swin, windowed_for

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import BURST_BEATS, MEMORY_BITS
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_lines import PACES, EdgeLinesUnit, Line
from bivit.sim.flow.edge_settings import edge_setting_bits, edge_settings
from bivit.sim.flow.machine import FlowMachine, load_memories
from bivit.sim.mapping.edge_words import position_words
from bivit.sim.mapping.loads import loads_of, memory_bytes
from bivit.sim.network.random import random_network


def flow(**more: Any) -> Any:
    return streamed_flow(**{"edge_weights": "streamed", **more})


def test_what_is_streamed_is_not_loaded() -> None:
    """And the engine is another one, by its number; one without the field keeps its number."""
    memories, before = load_memories(flow()), load_memories(streamed_flow())
    assert "positions" in before
    assert "positions" not in memories
    assert memories["dense_weights"].depth < before["dense_weights"].depth
    assert FlowMachine(flow()).fingerprint() != FlowMachine(streamed_flow()).fingerprint()


@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_bursts_hold_whole_words_and_their_check(bits: int) -> None:
    unit = EdgeLinesUnit(flow(memory_bits=bits, patch_weights="streamed"))
    assert unit.lines == tuple(Line)
    for line in unit.lines:
        size = unit.burst_words(line)
        assert size * unit.word_beats(line) + 1 <= BURST_BEATS < (size + 1) * unit.word_beats(line) + 1
        assert unit.bursts(line, TOKENS) == -(-unit.words(line, TOKENS) // size)
        assert unit.ring(line).depth >= unit.soon(line) > size


@pytest.mark.parametrize("patches", ["resident", "streamed"])
@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_settings_fit_their_bits(bits: int, patches: str) -> None:
    unit = flow(memory_bits=bits, patch_weights=patches)
    values, widths = edge_settings(TOKENS, unit, 1), edge_setting_bits(unit)
    assert set(values) == set(widths)
    assert all(value.bit_length() <= widths[name] for name, value in values.items())
    assert "class_weights" not in widths


@pytest.mark.parametrize("line", PACES)
def test_steps_take_no_more_than_the_blocks_leave(line: Line) -> None:
    """A wider port has fewer beats a word, and more of its time is left; of a pass a word may have several steps."""
    units = [EdgeLinesUnit(flow(memory_bits=bits, patch_weights="streamed")) for bits in MEMORY_BITS]
    paces, slowest = [unit.pace(line, TOKENS) for unit in units], [unit.most_pace(line) for unit in units]
    assert paces == sorted(paces, reverse=True)
    assert all(1 <= pace <= most for pace, most in zip(paces, slowest, strict=True))
    assert (line is Line.CLASSES) == (paces[-1] > 1)


def test_an_image_reads_its_lines_once() -> None:
    unit = flow()
    lines = sum(EdgeLinesUnit(unit).beats(line, TOKENS) for line in EdgeLinesUnit(unit).lines)
    assert memory_bytes(TOKENS, unit) == memory_bytes(TOKENS, streamed_flow()) + 16 * lines
    assert loads_of(TOKENS, unit).cycles["memory"] > loads_of(TOKENS, streamed_flow()).cycles["memory"]
    assert loads_of(TOKENS, unit).cycles["dense"] > loads_of(TOKENS, streamed_flow()).cycles["dense"]


def test_every_pass_reads_the_patch_embedding() -> None:
    """Nine patches, four side by side: three passes, of which a word of two steps ends with each."""
    unit, before = flow(patch_weights="streamed", dense_patches=4, dense_channels=8), flow(dense_channels=8)
    lines = EdgeLinesUnit(unit)
    assert (lines.word_steps(Line.PATCH_WEIGHTS), lines.line_passes(TOKENS)) == (2, 1)
    beats = 3 * lines.beats(Line.PATCH_WEIGHTS, TOKENS)
    assert memory_bytes(TOKENS, unit) == memory_bytes(TOKENS, before) + 16 * beats
    assert "dense_weights" not in load_memories(unit)
    assert "dense_weights" in load_memories(before)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edge_weights": "elsewhere"}, "edge_weights must be resident or streamed, got 'elsewhere'"),
        ({"weights": "resident"}, "edge_weights must be resident where weights are, got streamed; stream both"),
        ({"patch_weights": "elsewhere"}, "patch_weights must be resident or streamed, got 'elsewhere'"),
        (
            {"patch_weights": "streamed", "edge_weights": "resident"},
            "patch_weights must be resident where edge_weights are, got streamed; stream both",
        ),
        ({"dense_channels": 512, "memory_bits": 64}, "dense_channels must be at most 504 where edge_weights are"),
    ],
)
def test_engines_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        flow(**fields)


def test_networks_whose_patches_are_normalised_have_no_positions() -> None:
    """Their line is empty, and what the edge waits for is 0; a DeiT on the same engine has both lines."""
    swin = tiny_swin()
    windowed = windowed_for([swin, TOKENS], columns=8, norm_lanes=8, rows=4)
    streamed = replace(windowed, weights="streamed", edge_weights="streamed")
    unit, names = EdgeLinesUnit(streamed), ("bursts", "rest", "prefix", "pass", "last")
    assert (unit.words(Line.POSITIONS, swin), unit.bursts(Line.POSITIONS, swin)) == (0, 0)
    assert unit.places(swin)[Line.CLASSES] == unit.places(swin)[Line.POSITIONS]
    found = edge_settings(swin, streamed, 1)
    assert [found[f"positions_{name}"] for name in names] == [0] * 5
    assert found["classes_rest"] > 0
    assert position_words(random_network(swin, seed=1), EdgeUnit(streamed)) == []
    found = edge_settings(TOKENS, streamed, 1)
    assert all(found[f"positions_{name}"] > 0 for name in ("rest", "prefix", "pass", "last"))
    assert found["class_pace"] == unit.pace(Line.CLASSES, TOKENS)
    assert 2 <= unit.pace(Line.CLASSES, swin) <= unit.most_pace(Line.CLASSES)
