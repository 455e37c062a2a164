"""What the edge reads of a memory: sizes, the pace of the classifier, and engines that are refused."""

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
from bivit.sim.flow.edge_lines import EdgeLinesUnit, Line
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
    unit = EdgeLinesUnit(flow(memory_bits=bits))
    for line in Line:
        size = unit.burst_words(line)
        assert size * unit.word_beats(line) + 1 <= BURST_BEATS < (size + 1) * unit.word_beats(line) + 1
        assert unit.bursts(line, TOKENS) == -(-unit.words(line, TOKENS) // size)
        assert unit.ring(line).depth >= unit.soon(line) > size


@pytest.mark.parametrize("bits", MEMORY_BITS)
def test_settings_fit_their_bits(bits: int) -> None:
    unit = flow(memory_bits=bits)
    values, widths = edge_settings(TOKENS, unit, 1), edge_setting_bits(unit)
    assert set(values) == set(widths)
    assert all(value.bit_length() <= widths[name] for name, value in values.items())
    assert "class_weights" not in widths


def test_the_classifier_takes_no_more_than_the_blocks_leave() -> None:
    """A wider port has fewer beats a word, and more of its time is left."""
    paces = [EdgeLinesUnit(flow(memory_bits=bits)).pace(TOKENS) for bits in MEMORY_BITS]
    assert paces == sorted(paces, reverse=True)
    slowest = [EdgeLinesUnit(flow(memory_bits=bits)).most_pace for bits in MEMORY_BITS]
    assert all(2 <= pace <= most for pace, most in zip(paces, slowest, strict=True))


def test_an_image_reads_its_lines_once() -> None:
    unit = flow()
    lines = sum(EdgeLinesUnit(unit).beats(line, TOKENS) for line in Line)
    assert memory_bytes(TOKENS, unit) == memory_bytes(TOKENS, streamed_flow()) + 16 * lines
    assert loads_of(TOKENS, unit).cycles["memory"] > loads_of(TOKENS, streamed_flow()).cycles["memory"]
    assert loads_of(TOKENS, unit).cycles["dense"] > loads_of(TOKENS, streamed_flow()).cycles["dense"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edge_weights": "elsewhere"}, "edge_weights must be resident or streamed, got 'elsewhere'"),
        ({"weights": "resident"}, "edge_weights must be resident where weights are, got streamed; stream both"),
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
    assert found["class_pace"] == unit.pace(TOKENS)
    assert 2 <= unit.pace(swin) <= unit.most_pace
