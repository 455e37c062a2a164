"""Random dataflow engines, networks that fit them, and slot tables: everything from its least size on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any, NamedTuple

import numpy as np
from extremes import ENDS, extreme_network, tied_network
from shapes import TINY, random_images

from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.words import ceil_div
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import BURST_BEATS, LEFT_OUT, MEMORY_BITS, FlowConfig, Weights
from bivit.sim.flow.operation import Operands
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import GRAIN, Places, SlotTable, slot_table
from bivit.sim.flow.weight_stream import WeightStreamUnit
from bivit.sim.mapping.compiled import Program
from bivit.sim.mapping.greedy import block_table
from bivit.sim.mapping.program import FlowCycles, FlowProgram
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference
from bivit.sim.timing.plan import Edge, plan_of

#: Rings by the fewest slots that they may have.
_RINGS = {"residual": 2, "head": 2, "score": 2, "attention": 2, "norm": 2, "context": 1, "hidden": 1, "staging": 2}
#: Most rows of arrays of so many columns: what Verilator builds in half a minute.
_ROWS = {8: 5, 16: 3, 32: 2, 64: 1}
#: Formats beside the default ones: narrow, and with the other extremes of shifts.
_FORMATS = (
    Formats(),
    Formats(residual_bits=12, residual_frac_bits=6, norm_shift=0, theta_bits=12, theta_frac_bits=4, mean_shift=4),
    Formats(residual_bits=24, norm_shift=5, qk_scale_bits=5, scale_bits=12, head_m=30, head_frac_bits=6),
)
#: Prefix tokens of networks.
_PREFIXES = ({}, {"class_token": True}, {"class_token": True, "dist_token": True})
#: Most steps of the array for all images of a trial.
_MOST_STEPS = 3_000


class _Size(NamedTuple):
    """Sizes of an image."""

    patch: int
    grid: int
    chans: int

    @property
    def tokens(self) -> int:
        return self.grid**2

    def fits(self, engine: EngineConfig | None) -> bool:
        """Whether patches and rows of patches fit an engine, and rows are whole beats."""
        dim = self.patch**2 * self.chans
        strip = self.grid * dim
        return engine is None or (
            dim <= engine.max_patch_dim and strip <= engine.max_strip_bytes and strip % engine.pixel_bytes == 0
        )


_SIZES = [_Size(*size) for size in product((1, 2, 3, 4), range(1, 9), (1, 2, 3))]


def random_engine(chance: Random) -> FlowConfig:
    """An engine whose every field is anything, and which is small enough to be built in a minute."""
    columns = chance.choice((8,) * 8 + (16,) * 4 + (32, 64))
    rows = chance.choice((1, *chance.choices(range(1, _ROWS[columns] + 1), k=2), _ROWS[columns]))
    lanes = chance.choice([count for count in (8, 16, 32, 64) if count <= columns])
    drain = chance.choice((1, rows, chance.randint(1, rows)))
    sides = [side for side in range(1, drain + 1) if drain % side == 0]

    def of_rows(most: int = 1 << 10) -> int:
        parts = [columns // part for part in (1, 2, 4, 8, 16, 32, 64) if part <= columns]
        return chance.choice([count for count in parts + [columns * side for side in sides] if count <= most])

    channels = lanes * chance.randint(1, max(1, 64 // lanes))
    slots = {f"{ring}_slots": _slots(least, chance) for ring, least in _RINGS.items()}
    array = _array(chance, rows=rows, columns=columns, lanes=lanes)
    return FlowConfig(
        engine=array,
        drain_rows=drain,
        norm_lanes=of_rows(),
        head_norm_lanes=of_rows(64),
        softmax_lanes=of_rows(),
        value_rows=chance.choice([count for count in (1, 2, 4, 8, 64) if count <= columns]),
        images=chance.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 8)),
        dense_patches=chance.randint(1, max(1, min(9, 72 // channels))),
        dense_channels=chance.choice((0, channels)),
        products_per_dsp=chance.choice((1, 2, 2)) if array.fabric == "lut6" else 1,
        **slots,
    )


def with_fewer_units(flow: FlowConfig, chance: Random) -> FlowConfig:
    """The engine without HeadNorm, softmax, or both, with few lanes at the edge, and products in look-up tables."""
    lanes = chance.choice((2, 2, 4))
    array = replace(flow.engine, lanes=lanes, dense_lanes=lanes)
    left_out = chance.choice((("head_norm_lanes",), ("softmax_lanes",), (*LEFT_OUT,)))
    few = {"dense_channels": lanes * chance.randint(1, 8), "products_per_dsp": chance.choice((0, 0, 1))}
    return replace(flow, engine=array, **few, **dict.fromkeys(left_out, 0))


def with_streamed_weights(flow: FlowConfig, chance: Random, configs: Sequence[ModelConfig] = ()) -> FlowConfig:
    """The engine with weights that are streamed, by a port of any width; half of them with those of the edge.

    Half of these read the patch embedding as well. With windows an engine has the least ring for these networks, or a
    larger one.
    """
    bits, windows = chance.choice(MEMORY_BITS), flow.windows
    edge: Weights = chance.choice(("resident", "streamed"))
    if windows:
        together = min(windows.images, flow.images)
        streamed = replace(flow, weights="streamed", memory_bits=bits, windows=replace(windows, images=together))
        least = max(WeightStreamUnit(streamed).ring_words(config) for config in configs)
        ring = 1 << (least - 1).bit_length() + chance.choice((0, 0, 1))
        held = replace(streamed, windows=replace(streamed.windows, ring_words=ring))
    else:
        banks = chance.randint(1, max(2, flow.images))
        held = replace(flow, weights="streamed", memory_bits=bits, edge_banks=banks)
    patches: Weights = chance.choice(("resident", edge))
    return replace(held, edge_weights=edge, patch_weights=patches)


def with_little_memory(flow: FlowConfig, chance: Random) -> FlowConfig:
    """The engine with little of what it holds: mostly no bank of x beside those in flight, few passes of pixels.

    The largest row of patches of a `random_config` has room, whatever patch of a pass it begins with. Where one image
    is in flight, streamed weights are mostly in a ring, in which the blocks of most networks have room.
    """
    row = ceil_div(flow.dense_patches - 1 + max(size.grid for size in _SIZES), flow.dense_patches)
    banks = chance.choice((0, 0, flow.edge_banks))
    ring = 0
    if flow.streamed and flow.images == 1 and not flow.windows:
        burst = ceil_div(BURST_BEATS, WeightStreamUnit(flow).word_beats)
        words = max(2 * burst, burst + Operands(flow).weight_place // chance.choice((1, 1, 2)))
        ring = 1 << (words - 1).bit_length()
    return replace(flow, edge_banks=banks, patch_slots=chance.choice((0, row, row + 1)), ring_words=ring)


def _slots(least: int, chance: Random) -> int:
    return chance.choice((least, least, least + 1, 3, 4, 5, 16))


def _array(chance: Random, *, rows: int, columns: int, lanes: int) -> EngineConfig:
    """The array and its limits: what a network needs that fills them, or more."""
    largest = random_config(chance, lanes=lanes)
    strip = largest.img_size * largest.patch_size * largest.in_chans
    pixel_bytes = chance.choice([count for count in (1, 2, 4, 8) if strip % count == 0])

    def up(size: int, step: int) -> int:
        return -(-size // step) * step + step * chance.choice((0, 0, 0, 1))

    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=lanes,
        max_tokens=up(largest.num_tokens, 1),
        max_embed_dim=up(largest.embed_dim, lanes),
        max_hidden_dim=up(largest.hidden_dim, lanes),
        max_heads=up(largest.num_heads, 1),
        max_depth=up(largest.depth, 1),
        max_classes=up(largest.num_classes, 1),
        max_patch_dim=up(largest.patch_dim, 1),
        max_strip_bytes=up(strip, pixel_bytes),
        program_words=1024,
        pixel_bytes=pixel_bytes,
        fabric=chance.choice(("lut6", "lut4")),
        queue_logits=max(3, largest.num_classes + 1) + chance.choice((0, 1, 500)),
        formats=chance.choice((_FORMATS[0], *_FORMATS)),
    )


def random_config(chance: Random, *, lanes: int = 8, within: EngineConfig | None = None) -> ViTConfig:
    """A network of any mode, with sizes that fill nothing evenly; one in four fills an engine's limits, if any."""
    full = within is not None and chance.randrange(4) == 0
    most_embed = within.max_embed_dim if within else max(lanes, chance.choice((16, 48, 96, 136)))
    most_heads = within.max_heads if within else chance.choice((1, 2, 3, 6))
    widths = [
        (heads, head)
        for heads in range(1, most_heads + 1)
        for head in range(8, 65, 8)
        if heads * head <= most_embed and heads * head % lanes == 0
    ]
    heads, head = max(widths, key=lambda width: width[0] * width[1]) if full else chance.choice(widths)
    embed = heads * head
    most_hidden = within.max_hidden_dim if within else 160
    hidden = [size for size in range(8, most_hidden + 1, 8) if int(embed * (size / embed)) == size]
    most_tokens = within.max_tokens if within else chance.choice((3, 11, 27, 68))
    shapes = [
        (prefix, size)
        for prefix, size in product(_PREFIXES, _SIZES)
        if size.tokens + len(prefix) <= most_tokens and size.fits(within)
    ]
    prefix, size = max(shapes, key=lambda shape: shape[1].tokens) if full else chance.choice(shapes)
    classes = [count for count in (1, 2, 3, 11, 21) if within is None or count <= within.max_classes]
    mean = "dist_token" not in prefix and chance.randrange(3) == 0
    return replace(
        TINY,
        img_size=size.patch * size.grid,
        patch_size=size.patch,
        in_chans=size.chans,
        embed_dim=embed,
        num_heads=heads,
        depth=within.max_depth if full and within else chance.randint(1, within.max_depth if within else 4),
        num_classes=within.max_classes if full and within else chance.choice(classes),
        mlp_ratio=(hidden[-1] if full else chance.choice(hidden)) / embed,
        norm_mode=chance.choice(("layernorm", "mean")),
        qk_mode=chance.choice(("layernorm", "threshold")),
        attn_mode=chance.choice(("softmax", "score")),
        pool="token" if prefix and not mean else "mean",
        **prefix,
    )


def random_parameters(config: ViTConfig, formats: Formats, chance: Random) -> IntNetwork:
    """Parameters as of a trained network, with ties, or at the ends of their ranges."""
    seed, kind = chance.randrange(1 << 30), chance.randrange(4)
    if kind == 0:
        return extreme_network(config, chance.choice(ENDS), seed, formats)
    found = random_network(config, formats, seed=seed)
    return tied_network(found, seed) if kind == 1 else found


def spread_table(shape: TileShape, chance: Any) -> SlotTable:
    """A table in which streams begin one behind the other, at any distance that needs few slots."""
    tile = GRAIN * shape.tile_steps
    distance = chance.choice((2, 4, 5))  # tenths of a tile
    phase = {stream: number * tile * distance // 10 for number, stream in enumerate(Stream)}
    return slot_table(shape, Places(phase, dict.fromkeys(Stream, max(1, tile * (distance * 10 - 3) // 100)), {}))


def random_table(config: ViTConfig, flow: FlowConfig, chance: Random) -> SlotTable:
    """A table for several images, or one that is a block long for one: then scores wait for all tiles of a block."""
    if flow.images > 1:
        return spread_table(TileShape(config, flow.engine.rows, flow.engine.columns), chance)
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    edge = Edge(embed=1, tail=1, classify=1, banks=16)
    deep = plan_of(replace(config, depth=7), flow, empty, 2, edge=edge)
    return block_table(deep, chance.sample(list(Stream), len(Stream)))


@dataclass(frozen=True)
class Trial:
    """A network with its images and table, and what must come."""

    seed: int
    program: Program
    images: np.ndarray
    logits: np.ndarray
    cycles: FlowCycles
    saturations: int


def trial(flow: FlowConfig, seed: int) -> Trial | None:
    """The trial of a seed, or none where the network does not fit or the table locks up with rings this small."""
    chance = Random(seed)
    config = random_config(chance, lanes=flow.engine.lanes, within=flow.engine)
    modes = {field: mode for lanes, (field, mode) in LEFT_OUT.items() if getattr(flow, lanes) == 0}
    config = replace(config, **modes)
    try:
        table = random_table(config, flow, chance)
        network = random_parameters(config, flow.engine.formats, chance)
        found = of_network(network, flow, table, chance.randint(1, flow.images + 3), seed)
    except BivitError:
        return None
    return found if found.cycles.steps <= _MOST_STEPS else None


def of_network(
    network: IntNetwork,
    flow: FlowConfig,
    table: SlotTable,
    images: int,
    seed: int = 0,
    draw: Callable[[ModelConfig, int, int], np.ndarray] = random_images,
) -> Trial:
    """The trial of a network, with images that are drawn from the seed."""
    program = FlowProgram(network, flow, table)
    cycles = program.cycles(images)
    assert program.words
    drawn = draw(program.layout.config, images, seed)
    reference = run_reference(network, drawn, threads=1)
    return Trial(seed, program, drawn, reference.logits, cycles, reference.saturations)


def trials(flow: FlowConfig, seed: int, count: int) -> Sequence[Trial]:
    """Trials of an engine, so many, from a seed on; fewer where hardly any table runs on it."""
    found: list[Trial] = []
    for number in range(seed, seed + 20 * count):
        if len(found) == count:
            break
        if (one := trial(flow, number)) is not None:
            found.append(one)
    return found
