"""Random engines with windows, and small Swins and DeiTs for each: everything from its least size on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

from flow_random import Trial, random_parameters, random_table
from shapes import random_images
from small_flow import small_flow

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.streams import Stream
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping.greedy import block_table
from bivit.sim.mapping.pass_limits import check_windows, with_windows
from bivit.sim.mapping.pass_program import PassProgram
from bivit.sim.mapping.passes import passes_of
from bivit.sim.network.config import ModelConfig, SwinConfig, ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.stage_view import StageView, stage_views
from bivit.sim.reference.run import run_reference
from bivit.sim.timing.plan import Edge, plan_of

#: Networks that an engine is made for, and most tokens of an image.
_NETWORKS, _MOST_TOKENS = 6, 144
#: How often two rows of x are side by side, where that goes; how often biases are held as tables.
_WIDE, _TABLES = 0.4, 0.4
#: Most steps of the array for all images of a trial.
_MOST_STEPS = 6_000


def random_swin(chance: Random, columns: int) -> SwinConfig:
    """A Swin of one to three stages, whose channels a patch merging can put side by side in so many columns."""
    stages, window = chance.choice((1, 2, 2, 3)), chance.choice((2, 2, 3, 4))
    grid = chance.choice([window * scale for scale in (1, 2, 3, 4) if (window * scale) % 2 ** (stages - 1) == 0])
    grid = grid if grid >= window * 2 ** (stages - 1) and grid**2 <= _MOST_TOKENS else window * 2 ** (stages - 1)
    heads = chance.choice((1, 1, 2))
    dim = chance.choice([8 * part for part in (1, 2, 3, 4) if heads * 8 * part <= 32])
    embed = heads * dim if stages == 1 else max(columns, heads * dim // columns * columns)
    heads = heads if embed % (8 * heads) == 0 else 1
    patch = chance.choice((1, 2))
    return SwinConfig(
        img_size=grid * patch,
        patch_size=patch,
        in_chans=chance.choice((1, 3)) if patch == 1 else 1,
        num_classes=chance.choice((1, 3, 5)),
        embed_dim=embed,
        depths=tuple(chance.randint(1, 3 if stages == 1 else 2) for _ in range(stages)),
        num_heads=tuple(heads << number for number in range(stages)),
        window_size=window,
        mlp_ratio=chance.choice((1.0, 2.0, 4.0)),
        norm_mode=chance.choice(("layernorm", "mean")),
        qk_mode=chance.choice(("layernorm", "threshold")),
        attn_mode=chance.choice(("softmax", "score")),
    )


def random_deit(chance: Random) -> ViTConfig:
    """A DeiT of a few tokens."""
    heads = chance.choice((1, 2, 3))
    token = chance.choice((True, False))
    return ViTConfig(
        img_size=2 * chance.randint(1, 4),
        patch_size=2,
        in_chans=1,
        num_classes=chance.choice((1, 4)),
        embed_dim=heads * 8 * chance.choice((1, 2)),
        depth=chance.randint(1, 3),
        num_heads=heads,
        class_token=token,
        pool="token" if token else "mean",
        norm_mode=chance.choice(("layernorm", "mean")),
        qk_mode=chance.choice(("layernorm", "threshold")),
        attn_mode=chance.choice(("softmax", "score")),
    )


def random_windowed(chance: Random) -> tuple[FlowConfig, Sequence[ModelConfig]]:
    """An engine with windows, and the networks that it is made for."""
    columns = chance.choice((8, 8, 8, 16, 32))
    configs: list[ModelConfig] = [random_deit(chance)]
    while len(configs) < _NETWORKS:
        try:
            configs.append(random_swin(chance, columns))
        except BivitError:
            continue
    rows = chance.randint(1, {8: 4, 16: 3, 32: 2}[columns])
    drain = chance.choice((1, rows))
    base = small_flow()
    array = replace(
        base.engine,
        rows=rows,
        columns=columns,
        lanes=8,
        dense_lanes=8,
        program_words=1 << 14,
        pixel_bytes=1,
        queue_logits=64,
        fabric=chance.choice(("lut6", "lut4")),
    )

    def lanes(most: int = columns) -> int:
        return chance.choice([columns // part for part in (1, 2, 4, 8) if columns // part <= most])

    shape = replace(
        base,
        engine=array,
        drain_rows=drain,
        norm_lanes=lanes(),
        head_norm_lanes=lanes(),
        softmax_lanes=lanes(),
        value_rows=1,
        dense_channels=0,
        images=chance.choice((1, 2, 2, 3, 4)),
        edge_banks=chance.choice((1, 2)),
        load_banks=1,
    )
    group = chance.randint(1, 4)
    if drain % 2 == 0 and chance.random() < _WIDE:
        try:
            flow = with_windows(replace(shape, norm_lanes=2 * columns), *configs, images=group)
        except BivitError:
            flow = with_windows(shape, *configs, images=group)  # not every network's rows can be side by side
    else:
        flow = with_windows(shape, *configs, images=group)
    flow = replace(flow, edge_banks=chance.choice((0, flow.edge_banks, flow.edge_banks)))
    return _with_table(flow, configs, chance)


def _with_table(
    flow: FlowConfig, configs: Sequence[ModelConfig], chance: Random
) -> tuple[FlowConfig, Sequence[ModelConfig]]:
    """Some of the engines, with a table of biases for each head, for those networks that have windows of one side."""
    assert flow.windows is not None
    side = chance.choice([block.window for config in configs for block in config.blocks if block.window])
    if chance.random() > _TABLES:
        return flow, configs
    same = [config for config in configs if {block.window for block in config.blocks} <= {None, side}]
    held = replace(flow, windows=replace(flow.windows, bias_window=side))
    return with_windows(held, *same, images=flow.windows.images), same


#: Makes a network of random numbers.
Draw = Callable[[ModelConfig, Formats, Random], IntNetwork]


def windowed_trial(
    configs: Sequence[ModelConfig], flow: FlowConfig, seed: int, draw: Draw = random_parameters
) -> Trial | None:
    """The trial of a seed, or none where a table locks up."""
    chance = Random(seed)
    config = chance.choice(configs)
    images = chance.randint(1, 6)
    try:
        check_windows(config, flow.engine.formats, flow)
        tables = [_table(view, flow, chance) for view in stage_views(config) if view.merge is None]
        network = draw(config, flow.engine.formats, chance)
        program = PassProgram(config, flow, passes_of(config, network.formats, flow, tables), network)
        cycles = program.cycles(images)
        program.verify()
        assert program.words
    except BivitError:
        return None
    if cycles.steps > _MOST_STEPS:
        return None
    drawn = random_images(config, images, seed)
    reference = run_reference(network, drawn, threads=1)
    return Trial(seed, program, drawn, reference.logits, cycles, reference.saturations)


def windowed_trials(
    configs: Sequence[ModelConfig], flow: FlowConfig, seed: int, count: int, draw: Draw = random_parameters
) -> Sequence[Trial]:
    """Trials of an engine, so many, from a seed on; fewer where hardly any table runs on it."""
    one = partial(windowed_trial, configs, flow, draw=draw)
    found = [trial for trial in (one(number) for number in range(seed, seed + 4 * count)) if trial is not None]
    return found[:count]


def _table(view: StageView, flow: FlowConfig, chance: Random) -> SlotTable:
    """A random table of a stage's blocks."""
    if flow.images > 1 or view.chained:
        return random_table(view, flow, chance)
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    edge = Edge(embed=1, tail=1, classify=1, banks=16)
    many = plan_of(replace(view, depth=1), flow, empty, 8, edge=edge)
    return block_table(many, chance.sample(list(Stream), len(Stream)))
