"""Settings of the edge: what the patch embedding, the last norm and the classifier must know of a network."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Literal

from ..engine.words import ceil_div
from ..errors import check
from ..network.config import ModelConfig
from .config import FlowConfig
from .edge import EdgeUnit
from .edge_lines import PACES, EdgeLinesUnit, Line
from .patch_norm import PatchNormUnit

#: Settings of the edge of every engine, name and bits.
#: Pixels: beats of a row of patches and rows of patches of an image (also patches in a row); bytes that go into a patch
#: together, and how many such pieces a row of a patch has; rows of a patch; words and slots of the ring of patches.
#: Patch embedding: passes and patches of an image; groups of channels, steps and cycles of a group; chunks of a token;
#: prefix tokens; words from one row group of x to the next; n - 1.
#: Classifier: the same, its classes and its first word of weights.
#: Last norm: rows, tokens that are summed for a row, shift behind that, channels; these and `row_stride` are those of
#: the last stage, in a network with stages.
EDGE_SETTINGS = (
    ("strip_beats", 17),
    ("strips", 8),
    ("piece_bytes", 5),
    ("row_pieces", 10),
    ("patch_rows", 10),
    ("patch_words", 10),
    ("pass_slots", 12),
    ("passes", 12),
    ("patches", 12),
    ("patch_groups", 8),
    ("patch_steps", 10),
    ("patch_cycles", 14),
    ("channel_chunks", 11),
    ("prefix", 2),
    ("row_stride", 11),
    ("patch_shift", 6),
    ("class_groups", 10),
    ("class_steps", 12),
    ("class_cycles", 12),
    ("class_weights", 20),
    ("classes", 12),
    ("head_rows", 2),
    ("pool_tokens", 12),
    ("pool_shift", 6),
    ("channels", 11),
)


def edge_setting_bits(flow: FlowConfig) -> dict[str, int]:
    """Return the settings of an engine's edge by name, in the order of their words, and their bits.

    With windows, `patch_norm`: patches have no positions and are normalised, else the other way round; tokens of an
    image in the first stage, words and channels of each, and cycles from one to the next. With streamed `edge_weights`
    no first word of the classifier's weights, but cycles of its step, and of one of the patch embedding where that is
    streamed; of each line its place, its last burst, and the words of that, 0 of a line without any; positions of all
    prefix tokens, of a pass, and of the last one.

    Parameters
    ----------
    flow : FlowConfig
    """
    found = dict(EDGE_SETTINGS)
    if flow.edge_streamed:
        del found["class_weights"]
        found |= _line_bits(flow)
    return found | _patch_norm_bits(flow)


def edge_settings(config: ModelConfig, flow: FlowConfig, patch_shift: int) -> dict[str, int]:
    """Return the values of `edge_setting_bits` for a network.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        With windows, where patches are normalised.
    patch_shift : int
        n of the patch embedding, 1 to 40.

    Raises
    ------
    BivitError
        When the ring of patches is too small for a row of patches, or the engine for an image of tokens.
    """
    unit = EdgeUnit(flow)
    engine, grid = flow.engine, config.grid_size
    row_bytes = config.patch_size * config.in_chans
    piece = gcd(row_bytes, engine.pixel_bytes)
    patch_words = ceil_div(config.patch_dim, engine.pixel_bytes)
    slots, needed = unit.ring_words // patch_words, unit.strip_passes(grid)
    larger = "patch_slots" if flow.patch_slots else "max_strip_bytes or max_patch_dim"
    check(
        slots >= needed,
        f"the ring of patches holds {slots} x {flow.dense_patches} patches of {config.patch_dim} bytes, a row of "
        f"{grid} patches takes {needed}; generate the engine with a larger {larger}",
    )
    steps = config.head_rows * config.num_features
    return {
        "strip_beats": config.img_size * row_bytes // engine.pixel_bytes,
        "strips": grid,
        "piece_bytes": piece,
        "row_pieces": row_bytes // piece,
        "patch_rows": config.patch_size,
        "patch_words": patch_words,
        "pass_slots": slots,
        "passes": ceil_div(grid**2, flow.dense_patches),
        "patches": grid**2,
        "patch_groups": ceil_div(config.embed_dim, flow.dense_channels),
        "patch_steps": config.patch_dim,
        "patch_cycles": config.patch_dim + unit.leave_cycles,
        "channel_chunks": config.embed_dim // unit.chunk,
        "prefix": config.num_prefix_tokens,
        "row_stride": unit.row_stride(config.num_features),
        "patch_shift": patch_shift - 1,
        "class_groups": ceil_div(config.num_classes, flow.dense_channels),
        "class_steps": steps,
        "class_cycles": steps + flow.dense_channels,
        **_classifier(config, flow),
        "classes": config.num_classes,
        "head_rows": config.head_rows,
        "pool_tokens": config.stages[-1].blocks[-1].tokens if config.mean_pool else 1,
        "pool_shift": engine.formats.norm_shift + (config.pool_shift if config.mean_pool else 0),
        "channels": config.num_features,
        **_patch_norm(config, flow),
    }


def group_spans(values: Mapping[str, int], kind: Literal["patch", "class"]) -> tuple[int, int]:
    """Return the cycles from a group's first step to its last one, both included, and from group to group.

    Parameters
    ----------
    values : mapping of str to int
        `edge_settings` of a network.
    kind : {"patch", "class"}
        Of the patch embedding, or of the classifier.
    """
    steps = (values[f"{kind}_steps"] - 1) * values.get(f"{kind}_pace", 1) + 1
    return steps, steps + values[f"{kind}_cycles"] - values[f"{kind}_steps"]


def _patch_norm_bits(flow: FlowConfig) -> dict[str, int]:
    """Settings that only engines with windows have."""
    if flow.windows is None:
        return {}
    unit = PatchNormUnit(flow)
    most = {
        "patch_norm": 1,
        "patch_norm_tokens": flow.windows.image_tokens,
        "patch_norm_words": unit.most_words,
        "patch_norm_pace": unit.pace(unit.most_words),
        "patch_norm_channels": unit.most_channels,
    }
    return {name: value.bit_length() for name, value in most.items()}


def _line_bits(flow: FlowConfig) -> dict[str, int]:
    """Settings of what the edge reads of a memory."""
    unit, engine = EdgeLinesUnit(flow), flow.engine
    most = {
        Line.CLASSES: ceil_div(engine.max_classes, flow.dense_channels) * 2 * engine.max_embed_dim,
        Line.POSITIONS: engine.max_tokens * ceil_div(engine.max_embed_dim, EdgeUnit(flow).chunk),
        # A line of several passes is in words what one pass is in steps, at most.
        Line.PATCH_WEIGHTS: ceil_div(engine.max_embed_dim, flow.dense_channels) * engine.max_patch_dim,
    }
    taken = unit.most_taken.bit_length()
    found = {PACES[line]: unit.most_pace(line).bit_length() for line in unit.lines if line in PACES}
    for line in unit.lines:
        name, words, size = line.name.lower(), most[line], unit.burst_words(line)
        found |= {f"{name}_place": unit.place_bits, f"{name}_bursts": (words // size).bit_length() or 1}
        found |= {f"{name}_rest": size.bit_length()}
    return found | dict.fromkeys(("positions_prefix", "positions_pass", "positions_last"), taken)


def _classifier(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Where the classifier's weights are: behind those of patches, or in a memory beside the engine."""
    if not flow.edge_streamed:
        return {"class_weights": ceil_div(config.embed_dim, flow.dense_channels) * config.patch_dim}
    unit, patches, chunks = EdgeLinesUnit(flow), config.grid_size**2, config.embed_dim // EdgeUnit(flow).chunk
    found = {PACES[line]: unit.pace(line, config) for line in unit.lines if line in PACES}
    for line, place in unit.places(config).items():
        name, last = line.name.lower(), max(0, unit.bursts(line, config) - 1)
        rest = unit.words(line, config) - last * unit.burst_words(line)
        found |= {f"{name}_place": place, f"{name}_bursts": last, f"{name}_rest": rest}
    sizes = {
        "prefix": config.num_prefix_tokens,
        "pass": flow.dense_patches,
        "last": (patches - 1) % flow.dense_patches + 1,
    }
    each = 0 if config.patch_norm else chunks
    return found | {f"positions_{name}": tokens * each for name, tokens in sizes.items()}


def _patch_norm(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Settings of engines with windows."""
    if flow.windows is None:
        check(
            not config.patch_norm,
            f"patches of a {config.family} are normalised, which takes an engine with windows; got one without",
        )
        return {}
    tokens, most = config.num_tokens, flow.windows.image_tokens
    check(
        tokens <= most,
        f"the engine is too small: tokens of an image at most {most} (windows.image_tokens), the network has {tokens}",
    )
    unit, words = PatchNormUnit(flow), EdgeUnit(flow).row_stride(config.embed_dim)
    if not config.patch_norm:
        return dict.fromkeys(_patch_norm_bits(flow), 0)
    check(
        words <= unit.most_words,
        f"the engine is too small: words of a token of the first stage at most {unit.most_words} (windows.x_words over "
        f"windows.image_tokens), the network has {words}",
    )
    return {
        "patch_norm": 1,
        "patch_norm_tokens": tokens,
        "patch_norm_words": words,
        "patch_norm_pace": unit.pace(words),
        "patch_norm_channels": config.embed_dim,
    }
