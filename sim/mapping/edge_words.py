"""Words of a network for the memories of the edge of a dataflow engine: what the load stream carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine.fields import pack_field, pack_fields
from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.edge_lines import Line
from ..flow.edge_settings import edge_settings
from ..network.config import ModelConfig
from ..network.formats import DENSE_WEIGHT_BITS, EPS_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from ..network.network import IntNetwork
from ..network.stage_view import token_places
from .layout import token_words

_Array = np.ndarray[Any, Any]


class _Column(NamedTuple):
    """Values of one field of the structs of a word, an element a lane."""

    name: str
    values: _Array
    bits: int


def edge_words(network: IntNetwork, flow: FlowConfig) -> dict[str, list[int]]:
    """Return the words of the edge's memories by name, each from its word 0 on; of those that the network uses.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
        An engine that it fits.

    Raises
    ------
    BivitError
        When a value does not fit its field: which one, its range, what was got.
    """
    tensors, unit = network.tensors, EdgeUnit(flow)
    scale, bias = (tensors[f"patch_embed.proj.{name}"] for name in ("scale", "bias"))
    return {
        **_weights(network, unit),
        "patch_params": _chunks(
            [
                _Column("patch_embed.proj.bias", bias, PATCH_BIAS_BITS),
                _Column("patch_embed.proj.scale", scale, PATCH_SCALE_BITS),
            ],
            unit.chunk,
        ),
        **_added(network, unit),
        **({"patch_places": _places(network.config, unit)} if flow.windows else {}),
        "head_bias": [pack_field(value, HEAD_BIAS_BITS, "head.bias", signed=True) for value in tensors["head.bias"]],
        "last_eps": [pack_field(tensors["norm.eps"][0], EPS_BITS, "norm.eps")],
    }


def network_settings(network: IntNetwork, flow: FlowConfig) -> dict[str, int]:
    """Return the values of `edge_setting_bits` for a network.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
        An engine that it fits.
    """
    return edge_settings(network.config, flow, int(network.tensors["patch_embed.proj.shift"].reshape(-1)[0]))


def class_words(network: IntNetwork, unit: EdgeUnit) -> list[int]:
    """Return the words of the classifier's weights, in the order in which they are used.

    Parameters
    ----------
    network : IntNetwork
    unit : EdgeUnit
    """
    return list(_dense(network, "head.weight", unit.channels))


def patch_words(network: IntNetwork, unit: EdgeUnit) -> list[int]:
    """Return the words of the patch embedding's weights, in the order in which a pass uses them, a step each.

    Parameters
    ----------
    network : IntNetwork
    unit : EdgeUnit
    """
    return list(_dense(network, "patch_embed.proj.weight", unit.channels))


def position_words(network: IntNetwork, unit: EdgeUnit) -> list[int]:
    """Return the words of P, in the order in which chunks leave; none where patches are normalised.

    Parameters
    ----------
    network : IntNetwork
    unit : EdgeUnit
    """
    config, bits = network.config, network.formats.residual_bits
    if config.patch_norm:
        return []
    positions = network.tensors["pos_embed"].reshape(config.num_tokens, config.embed_dim)
    placed = np.concatenate([positions[token, at : at + unit.chunk] for token, at in _order(config, unit)])
    return _chunks([_Column("pos_embed", placed, bits)], unit.chunk)


#: What is taken step by step, or chunk by chunk, of what is streamed; of the patch embedding a pass.
LINE_STEPS = {Line.POSITIONS: position_words, Line.CLASSES: class_words, Line.PATCH_WEIGHTS: patch_words}


def _weights(network: IntNetwork, unit: EdgeUnit) -> dict[str, list[int]]:
    """Weights of the patch embedding, and behind them those of the classifier; of both what is not streamed."""
    classes = [] if unit.flow.edge_streamed else class_words(network, unit)
    return {} if unit.flow.patch_streamed else {"dense_weights": [*patch_words(network, unit), *classes]}


def _added(network: IntNetwork, unit: EdgeUnit) -> dict[str, list[int]]:
    """Positions, where none are streamed, or what normalises patches."""
    if network.config.patch_norm:
        return _patch_norm(network, unit)
    return {} if unit.flow.edge_streamed else {"positions": position_words(network, unit)}


def _patch_norm(network: IntNetwork, unit: EdgeUnit) -> dict[str, list[int]]:
    """G and B' of each word of a token, 0 where it has no channel; Eps."""
    tensors, formats, name = network.tensors, network.formats, "patch_embed.norm"
    padding = unit.row_stride(network.config.embed_dim) * unit.columns - network.config.embed_dim
    columns = [
        _Column(f"{name}.{part}", np.pad(tensors[f"{name}.{part}"], (0, padding)), bits)
        for part, bits in (("scale", formats.scale_bits), ("bias", formats.residual_bits))
    ]
    eps = pack_field(tensors[f"{name}.eps"][0], EPS_BITS, f"{name}.eps")
    return {"patch_norm": _chunks(columns, unit.columns), "patch_eps": [eps]}


def _places(config: ModelConfig, unit: EdgeUnit) -> list[int]:
    """First word of each token in its bank, in raster order."""
    found: list[int] = token_words(config, unit.flow, 0)[token_places(config, 0)].tolist()
    return found


def _order(config: ModelConfig, unit: EdgeUnit) -> Iterable[tuple[int, int]]:
    """Token and first channel of each chunk, in the order in which chunks leave."""
    channels = range(0, config.embed_dim, unit.chunk)
    yield from ((token, at) for token in range(config.num_prefix_tokens) for at in channels)
    for first in range(config.num_prefix_tokens, config.num_tokens, unit.patches):
        tokens = range(first, min(first + unit.patches, config.num_tokens))
        for group in range(0, config.embed_dim, unit.channels):
            inside = range(group, min(group + unit.channels, config.embed_dim), unit.chunk)
            yield from ((token, at) for token in tokens for at in inside)


def _dense(network: IntNetwork, name: str, channels: int) -> Iterable[int]:
    """Word: int8 weights of one input for each channel of a group; group by group."""
    matrix = network.tensors[name]
    for at in range(0, matrix.shape[0], channels):
        rows = matrix[at : at + channels]
        yield from (pack_fields(rows[:, k], DENSE_WEIGHT_BITS, name, signed=True) for k in range(matrix.shape[1]))


def _chunks(columns: Sequence[_Column], lanes: int) -> list[int]:
    """Pack columns side by side, so many elements a word, as an array of structs."""
    words, width = [], sum(column.bits for column in columns)
    for at in range(0, len(columns[0].values), lanes):
        word, shift = 0, 0
        for column in columns:
            for lane in range(lanes):
                field = pack_field(column.values[at + lane], column.bits, column.name, signed=True)
                word |= field << (lane * width + shift)
            shift += column.bits
        words.append(word)
    return words
